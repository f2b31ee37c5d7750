"""A CSV manifest as an archive: rows that are wrong, and files that cannot be used, are listed beside the cases."""

from pathlib import Path

from TumorRetrievalLib.cohort.case import Case
from TumorRetrievalLib.cohort.importers.examination import Examined, examine_all
from TumorRetrievalLib.cohort.importers.findings import Archive, Problem, Progress, in_words, some
from TumorRetrievalLib.cohort.label_schemes import knows
from TumorRetrievalLib.cohort.manifest import read_usable_cases


def list_manifest(path: Path, *, progress: Progress | None = None) -> Archive:
    """The cases of a manifest whose files can be used; its synthetic cases, which have no files, as they are.

    :raises ManifestError: if the file is no such table at all.
    """
    cases, errors = read_usable_cases(path)
    problems = [Problem(path, str(error)) for error in errors]
    with_files = [case for case in cases if case.t1c is not None]
    examined = {one.case.id: one for one in examine_all(with_files, problems, progress)}
    kept = []
    for case in cases:
        reason = _fault(case, examined.get(case.id))
        if reason is not None:
            problems.append(Problem(case.mask or path, reason))
        elif case.id in examined or case.recipe is not None:
            kept.append(case)
    return Archive("manifest", tuple(kept), tuple(problems), tuple(_notes(kept, examined)))


def _fault(case: Case, examined: Examined | None) -> str | None:
    if case.t1c is None and case.recipe is None:
        return f"The case {case.id} has neither a t1c nor a recipe: there is nothing to look at."
    if examined is None or case.mask_labels is None or knows(case.mask_labels, examined.labels):
        return None
    found = ", ".join(map(str, examined.labels[:20]))
    return f"The mask of {case.id} holds the labels {found}, which do not fit its mask_scheme, {_words(case)}."


def _notes(cases: list[Case], examined: dict[str, Examined]) -> list[str]:
    notes = []
    by_scheme: dict[str, list[Case]] = {}
    for case in cases:
        if case.mask_labels is not None and case.mask is not None:
            by_scheme.setdefault(_words(case), []).append(case)
    notes += [f"{some(members)}: the mask was read as {words}." for words, members in by_scheme.items()]
    unsaid = [case for case in cases if case.mask is not None and case.mask_labels is None]
    if unsaid:
        labels = sorted({label for case in unsaid for label in examined[case.id].labels})
        notes.append(
            f"{some(unsaid)}: mask_scheme is empty, so every label ({', '.join(map(str, labels[:20]))}) was read as "
            f"tumor core."
        )
    return notes


def _words(case: Case) -> str:
    return in_words(case.mask_labels)
