"""Which series of a study is the T1 with contrast, and which the FLAIR: told by tags, or not at all.

A description goes before timing, because timing is alike before and after the contrast agent. What is left open is
a problem for a person, and never settled by guessing.
"""

import re
from dataclasses import dataclass

from TumorRetrievalLib.cohort.importers.dicom_studies import ENHANCED_MR, MR_IMAGE, Header, Series, Study

_FLAIR = re.compile(r"flair|dark fluid|\bt2f\b")
_T1 = re.compile(r"\bt1|mp ?rage|mp2rage|\bf?spgr|\bbravo\b|\bvibe\b|\bthrive\b|\btfe\b|\btfl\b")
_NEITHER = re.compile(
    r"\bt2|dwi|\bdti|diff|\badc\b|trace|\bswi|perf|\bdsc|\bdce|\bdyn|\basl\b|\btof\b|angio|\bmra\b|\bmrv\b|bold|fmri"
    r"|spectro|\bmrs\b|\bloc|scout|survey|calib|\bsub\b|subtr|\bmip\b|\bcb[vf]\b|\bmtt\b|\bttp\b|\bktrans\b|spine"
)
_BEFORE = re.compile(
    r"\bpre\b|\bpr[eé]contrast|\bwithout\b|\bw/o|\bnativ|\bnon contrast|\bno contrast|\bohne\b|\bsans\b|\bunenh"
)
_AFTER = re.compile(
    r"\bpost|\bgad|\bgd\b|contrast|kontrast|\bkm\b|\bmdc\b|\bce\b|\benhanced|\bt1 ?(c|ce|gd|km)\b|\+ ?(c|gd|gad|km)\b"
    r"|\bc ?\+|\bmprage ?c\b|dotarem|gadovist|prohance|multihance|magnevist|clariscan"
)
_NO_AGENT = {"", "NO", "NONE", "N/A", "NA", "WITHOUT", "0"}
_NOT_A_SCAN = {"LOCALIZER", "SUBTRACTION", "PROJECTION IMAGE", "MIP", "PHASE MAP", "PHASE", "P"}


@dataclass(frozen=True)
class Choice:
    """A series and what it was told by, in words without anything from its text."""

    series: Series
    told_by: str


@dataclass(frozen=True)
class Undecided:
    """Why no series could be chosen.

    :param candidates: none, or more than one.
    """

    candidates: tuple[Series, ...]


def choose_t1c(study: Study, preferred: frozenset[str] = frozenset()) -> Choice | Undecided:
    """The T1-weighted series after contrast agent.

    :param preferred: series that a segmentation was drawn on; one of them goes before the others.
    """
    found = []
    for series in _scans(study):
        weighting = _told_t1(series.header)
        agent = _told_agent(series.header)
        if weighting and agent:
            found.append(Choice(series, f"T1 by its {weighting}, contrast agent by its {agent}"))
    drawn_on = [choice for choice in found if choice.series.header.series in preferred]
    if len(drawn_on) == 1:
        return Choice(drawn_on[0].series, f"{drawn_on[0].told_by}; the segmentation was drawn on it")
    return _best(found)


def choose_flair(study: Study) -> Choice | Undecided:
    """The FLAIR series."""
    found = []
    for series in _scans(study):
        weighting = _told_flair(series.header)
        if weighting:
            found.append(Choice(series, f"FLAIR by its {weighting}"))
    return _best(found)


def _scans(study: Study) -> list[Series]:
    return [
        series
        for series in study.series
        if series.header.sop_class in (MR_IMAGE, *ENHANCED_MR) and not series.header.image_type & _NOT_A_SCAN
    ]


def _best(found: list[Choice]) -> Choice | Undecided:
    """The only candidate, or the only one that was acquired and not computed, or the only one acquired in 3D."""
    for narrower in (
        lambda header: True,
        lambda header: "DERIVED" not in header.image_type,
        lambda header: header.acquisition == "3D",
    ):
        kept = [choice for choice in found if narrower(choice.series.header)]
        if len(kept) == 1:
            return kept[0]
        found = kept or found
    return Undecided(tuple(choice.series for choice in found))


def _words(header: Header) -> str:
    text = header.description or header.protocol
    return re.sub(r"[_\-.,;:^()\[\]\s]+", " ", text.lower()).strip()


def _told_flair(header: Header) -> str | None:
    words = _words(header)
    if _FLAIR.search(words):
        return None if re.search(r"\bt1", words) else "description"
    if _T1.search(words) or _NEITHER.search(words):
        return None
    long_inversion = header.inversion_ms is not None and 1500 <= header.inversion_ms <= 3500
    return "timing" if long_inversion and header.echo_ms is not None and header.echo_ms >= 60 else None


def _told_t1(header: Header) -> str | None:
    words = _words(header)
    if _FLAIR.search(words) and not re.search(r"\bt1", words):
        return None
    if _NEITHER.search(words):
        return None
    if _T1.search(words):
        return "description"
    return "timing" if _has_t1_timing(header) else None


def _has_t1_timing(header: Header) -> bool:
    """Short echo, and the short repetition of a spin or gradient echo, or the inversion of an MP-RAGE."""
    if header.echo_ms is None or header.echo_ms > 30 or header.repetition_ms is None:
        return False
    if header.inversion_ms:
        return 300 <= header.inversion_ms <= 1300
    return header.repetition_ms <= (50 if "GR" in header.scanning else 1000)


def _told_agent(header: Header) -> str | None:
    """A description that says "before" outweighs the tag, which some scanners set for a whole examination."""
    words = _words(header)
    if _BEFORE.search(words):
        return None
    if _AFTER.search(words):
        return "description"
    return None if header.contrast.upper() in _NO_AGENT else "tag ContrastBolusAgent"
