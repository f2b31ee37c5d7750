"""Folders in the manner of BraTS: a case is a folder, or a prefix in a folder that holds several."""

from collections import defaultdict
from dataclasses import replace
from pathlib import Path

from TumorRetrievalLib.cohort.case import Case, MaskLabels, Tumor
from TumorRetrievalLib.cohort.importers.brats_names import (
    UNNAMED,
    Collection,
    FileName,
    collection_of,
    parse_file_name,
    patient_of,
)
from TumorRetrievalLib.cohort.importers.examination import Examined, examine_all
from TumorRetrievalLib.cohort.importers.findings import Archive, Problem, Progress, in_words, some
from TumorRetrievalLib.cohort.importers.folders import Walk
from TumorRetrievalLib.cohort.label_schemes import ONE_LABEL, knows, settle

_WANTED = {"t1c": "T1 with contrast (...t1c or ...t1ce, .nii or .nii.gz)", "flair": "FLAIR", "mask": "mask"}


def list_brats(root: Path, *, progress: Progress | None = None) -> Archive:
    """The cases in folders named like those of a BraTS collection, or holding `t1c`, `flair` and `seg`."""
    walk = Walk(root)
    named = [case for folder, files in walk for case in _cases_in(folder, files, walk.problems)]
    named = _without_twins(named, walk.problems)
    cases = _with_schemes(examine_all(named, walk.problems, progress), walk.problems)
    return Archive("brats", tuple(cases), tuple(walk.problems), tuple(_notes(cases)))


def _cases_in(folder: Path, files: list[Path], problems: list[Problem]) -> list[Case]:
    parsed = [(path, name) for path in files if (name := parse_file_name(path.name)) is not None]
    scans = [name for _, name in parsed if name.role == "t1c"]
    if len({name.case for name in scans}) < 2:
        groups = {_name_of(folder, scans): parsed}
    else:
        groups = defaultdict(list)
        for path, name in parsed:
            groups[name.case or folder.name].append((path, name))
    cases = []
    for name, members in groups.items():
        if members:
            case = _case(folder, name, members)
            (problems if isinstance(case, Problem) else cases).append(case)
    return cases


def _name_of(folder: Path, scans: list[FileName]) -> str:
    """A folder's only case is named by the folder, unless its files follow a known naming and the folder does not."""
    own = folder.resolve().name
    if scans and collection_of(own) is UNNAMED and collection_of(scans[0].case) is not UNNAMED:
        return scans[0].case
    return own


def _case(folder: Path, name: str, members: list[tuple[Path, FileName]]) -> Case | Problem:
    files = {}
    for role, wanted in _WANTED.items():
        paths = [path for path, file_name in members if file_name.role == role]
        if len(paths) > 1:
            names = ", ".join(path.name for path in paths)
            return Problem(folder, f"The case {name} has several files for its {wanted}: {names}. Keep one.")
        files[role] = paths[0] if paths else None
    if files["t1c"] is None:
        return Problem(folder, f"The case {name} has no {_WANTED['t1c']}.")
    if not name.strip():
        return Problem(folder, "The case has no name. Rename its folder.")
    collection = collection_of(name)
    tumors = () if collection.type is None else (Tumor(type=collection.type),)
    return Case(name, patient_of(name), **files, tumors=tumors, provenance=_provenance(collection))


def _provenance(collection: Collection) -> str:
    return "" if collection is UNNAMED else collection.title


def _without_twins(cases: list[Case], problems: list[Problem]) -> list[Case]:
    first: dict[str, Case] = {}
    for case in cases:
        if case.id in first:
            twin = first[case.id].t1c
            problems.append(Problem(case.t1c, f"{twin} is a case of the same name, {case.id}. Rename one of them."))
        first.setdefault(case.id, case)
    return list(first.values())


def _with_schemes(read: list[Examined], problems: list[Problem]) -> list[Case]:
    """The cases with the meaning of their masks.

    One collection is in one scheme: what a single mask leaves open (BraTS-PED changed its labels in 2024, not its
    names), another mask of the collection can settle.
    """
    labels_of: dict[Collection, set[int]] = defaultdict(set)
    for one in read:
        collection = collection_of(one.case.id)
        if any(knows(scheme, one.labels) for scheme in collection.schemes):
            labels_of[collection] |= set(one.labels)
    cases = []
    for one in read:
        collection = collection_of(one.case.id)
        together = one.labels if collection is UNNAMED else labels_of[collection]
        allowed = [scheme for scheme in collection.schemes if knows(scheme, together)] or collection.schemes
        meaning = _meaning(one, collection, allowed)
        if isinstance(meaning, Problem):
            problems.append(meaning)
        else:
            cases.append(replace(one.case, mask_labels=meaning))
    return cases


def _meaning(one: Examined, collection: Collection, allowed) -> MaskLabels | Problem | None:
    if one.case.mask is None:
        return None
    if collection is UNNAMED and len(one.labels) == 1:
        return ONE_LABEL if one.labels == (1,) else MaskLabels(one.labels, one.labels, ONE_LABEL.scheme)
    possible = settle(allowed, one.labels)
    if len(possible) == 1:
        return possible[0]
    found = ", ".join(map(str, one.labels[:20]))
    if possible:
        schemes = " and ".join(scheme.scheme for scheme in possible)
        reason = f"The labels {found} mean different things in {schemes}"
    else:
        schemes = ", ".join(scheme.scheme for scheme in collection.schemes)
        reason = f"The labels {found} do not fit {collection.title} ({schemes})"
    return Problem(one.case.mask, f"{reason}. State the right one in a CSV manifest, column mask_scheme.")


def _notes(cases: list[Case]) -> list[str]:
    notes = []
    schemes: dict[str, list[Case]] = defaultdict(list)
    for case in cases:
        if case.mask_labels is not None:
            schemes[in_words(case.mask_labels)].append(case)
    notes += [f"{some(members)}: the mask was read as {scheme}." for scheme, members in schemes.items()]
    without = [case for case in cases if case.mask is None]
    if without:
        notes.append(f"{some(without)}: there is no mask.")
    if len(without) < len(cases):
        notes.append("Folders do not say who drew a mask; a CSV manifest can (column mask_origin).")
    unknown = [case for case in cases if collection_of(case.id) is UNNAMED]
    if unknown:
        notes.append(
            f"{some(unknown)}: the name follows no known collection, so each counts as a patient of its own. "
            f"If a patient has several scans, say so in a CSV manifest, or they will find themselves."
        )
    untyped = [case for case in cases if not case.tumors]
    if untyped:
        notes.append(f"{some(untyped)}: the name does not state a tumor type; it stays unknown.")
    return notes
