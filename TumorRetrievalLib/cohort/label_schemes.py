"""What the numbers in a mask mean: the conventions of BraTS, which changed over the years, and how to tell them apart.

Core means all that is neither background, oedema nor a cavity, in every convention. Sources: Menze et al. 2015 (four
labels, 2012-2016), Bakas et al. 2018 (1, 2, 4 from 2017 on), Baid et al. 2021, Karargyris et al. 2023 (enhancing tumor
moves to 3), de Verdier et al. 2024 (4 becomes the resection cavity), Kazerooni et al. 2024 (pediatric tumors).
"""

import re
from collections.abc import Iterable

from TumorRetrievalLib.cohort.case import MaskLabels

FOUR_LABELS = MaskLabels(core=(1, 3, 4), whole=(1, 2, 3, 4), scheme="BraTS 2013-2016")
ENHANCING_IS_4 = MaskLabels(core=(1, 4), whole=(1, 2, 4), scheme="BraTS 2017-2021")
ENHANCING_IS_3 = MaskLabels(core=(1, 3), whole=(1, 2, 3), scheme="BraTS 2021-2023")
CAVITY_IS_4 = MaskLabels(core=(1, 3), whole=(1, 2, 3), scheme="BraTS 2024, 4 is the resection cavity")
PEDIATRIC = MaskLabels(core=(1, 2, 3), whole=(1, 2, 3, 4), scheme="BraTS-PED 2024")
GROSS_TUMOR = MaskLabels(core=(1,), whole=(1,), scheme="BraTS-MEN-RT, gross tumor volume")
ONE_LABEL = MaskLabels(core=(1,), whole=(1,), scheme="tumor core alone")

ADULT = (ENHANCING_IS_3, ENHANCING_IS_4, FOUR_LABELS, CAVITY_IS_4)
"""What a mask may be in about which nothing else is known."""

SCHEMES = {
    "brats2013": FOUR_LABELS,
    "brats2017": ENHANCING_IS_4,
    "brats2021": ENHANCING_IS_3,
    "brats2024": CAVITY_IS_4,
    "brats-ped-2024": PEDIATRIC,
    "brats-men-rt": GROSS_TUMOR,
    "core": ONE_LABEL,
}
"""The names by which a manifest states a scheme."""

_LIST = r"\d{1,9}(?:,\d{1,9})*"
_OWN = re.compile(rf"core=(?P<core>(?:{_LIST})?) whole=(?P<whole>{_LIST})(?: # (?P<words>.+))?", re.ASCII)
_NO_TUMOR = {CAVITY_IS_4: {4}}


def knows(scheme: MaskLabels, labels: Iterable[int]) -> bool:
    """Whether each label of a mask has a meaning in the scheme; 0 is background in all of them.

    In a scheme of somebody's own, labels that it does not name are no tumor; but one at least must be.
    """
    labels = set(labels)
    if scheme not in SCHEMES.values():
        return not labels.isdisjoint(scheme.whole)
    return labels <= {0, *scheme.whole, *_NO_TUMOR.get(scheme, ())}


def settle(schemes: Iterable[MaskLabels], labels: Iterable[int]) -> tuple[MaskLabels, ...]:
    """The schemes that a mask can be in, one of each meaning.

    :param schemes: those that its name allows, the likeliest first.
    :param labels: that occur in it.
    :returns: none if no scheme knows all labels; more than one if they would make different tumors of them.
    """
    labels = set(labels)
    of_meaning: dict[tuple, MaskLabels] = {}
    for scheme in schemes:
        if knows(scheme, labels):
            meaning = (frozenset(labels & set(scheme.core)), frozenset(labels & set(scheme.whole)))
            of_meaning.setdefault(meaning, scheme)
    return tuple(of_meaning.values())


def parse_scheme(text: str) -> MaskLabels:
    """The scheme that `format_scheme` has written: a name of `SCHEMES`, or `core=1,3 whole=1,2,3 # words`.

    :raises ValueError: if it is neither.
    """
    if text in SCHEMES:
        return SCHEMES[text]
    found = _OWN.fullmatch(text)
    if found is None:
        raise ValueError(f"expected {', '.join(SCHEMES)}, or labels like core=1,3 whole=1,2,3, not {text[:80]!r}.")
    core, whole = ([int(label) for label in found[part].split(",") if label] for part in ("core", "whole"))
    return MaskLabels(core, whole, found["words"] or text)


def format_scheme(scheme: MaskLabels) -> str:
    """A scheme as the cell of a table."""
    for name, known in SCHEMES.items():
        if known == scheme:
            return name
    core, whole = (",".join(map(str, labels)) for labels in (scheme.core, scheme.whole))
    labels = f"core={core} whole={whole}"
    return labels if scheme.scheme == labels else f"{labels} # {scheme.scheme}"
