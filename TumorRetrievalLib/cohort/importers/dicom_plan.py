"""What an import takes from each study: one T1 with contrast, at most one FLAIR and at most one mask."""

import re
from dataclasses import dataclass
from pathlib import Path

from TumorRetrievalLib.cohort.importers.dicom_choice import Choice, Undecided, choose_flair, choose_t1c
from TumorRetrievalLib.cohort.importers.dicom_studies import SEGMENTATION, Header, Study, find_studies, is_dicom
from TumorRetrievalLib.cohort.importers.findings import Problem
from TumorRetrievalLib.cohort.importers.folders import Walk

_MASK_FILE = re.compile(r"(.*[-_. ])?(seg|segm|segmentation|mask|gtv|tumou?r|labels?|roi)\.nii(\.gz)?", re.IGNORECASE)
_DICOM_FILE = (".dcm", ".dicom", ".ima")
_MOST_NAMED = 10


@dataclass(frozen=True)
class Plan:
    """What is taken from a study.

    :param mask: a DICOM SEG object if `mask_is_seg`, else a NIfTI file.
    """

    study: Study
    t1c: Choice
    flair: Choice | None
    mask: Path | None
    mask_is_seg: bool

    @property
    def choices(self) -> tuple[Choice, ...]:
        """The series that are taken."""
        return (self.t1c,) if self.flair is None else (self.t1c, self.flair)


def make_plans(root: Path) -> tuple[list[Plan], list[Problem]]:
    """A plan for every study that can be used, and why the others cannot."""
    walk = Walk(root)
    dicom, masks, damaged = [], [], set()
    for folder, files in walk:
        for path in files:
            if _MASK_FILE.fullmatch(path.name):
                masks.append(path)
            elif is_dicom(path):
                dicom.append(path)
            elif path.suffix.lower() in _DICOM_FILE:
                damaged.add(folder)
                walk.problems.append(Problem(path, "It is damaged or not DICOM. Export it again, or remove it."))
    before = len(walk.problems)
    studies = find_studies(dicom, walk.problems)
    damaged |= {problem.path.parent for problem in walk.problems[before:] if problem.path.is_file()}
    mask_of = _masks_of_studies(masks, studies, walk.problems)
    plans = []
    for study in studies:
        plan = _plan(study, mask_of.get(study.uid, []), damaged, walk.problems)
        (walk.problems if isinstance(plan, Problem) else plans).append(plan)
    return plans, walk.problems


def _masks_of_studies(masks: list[Path], studies: list[Study], problems: list[Problem]) -> dict[str, list[Path]]:
    """Each NIfTI mask goes to the only study whose folder holds it, or lies in the mask's folder."""
    found: dict[str, list[Path]] = {}
    for mask in masks:
        near = [
            study for study in studies if mask.is_relative_to(study.folder) or study.folder.is_relative_to(mask.parent)
        ]
        if len(near) == 1:
            found.setdefault(near[0].uid, []).append(mask)
        else:
            whose = "no study lies" if not near else f"{len(near)} studies lie"
            problems.append(Problem(mask, f"Whose mask it is cannot be told: {whose} beside it. Move it to its study."))
    return found


def _plan(study: Study, masks: list[Path], damaged: set[Path], problems: list[Problem]) -> Plan | Problem:
    segs = [series for series in study.series if series.header.sop_class in SEGMENTATION]
    drawn_on = frozenset(uid for series in segs for uid in series.header.referenced)
    t1c = choose_t1c(study, drawn_on)
    if isinstance(t1c, Undecided):
        return Problem(study.folder, _why(t1c, study, "T1 with contrast"))
    flair = choose_flair(study)
    if isinstance(flair, Undecided):
        if flair.candidates:
            problems.append(Problem(study.folder, _why(flair, study, "FLAIR") + " The study is taken without FLAIR."))
        flair = None
    for choice in (t1c, flair):
        if choice is not None and (bad := damaged & {path.parent for path in choice.series.files}):
            return Problem(bad.pop(), f"A damaged file lies among the slices of the series {choice.series.title}.")
    seg_files = [path for series in segs for path in series.files if _is_of(series.header, t1c.series.header)]
    strangers = [path for series in segs for path in series.files if path not in seg_files]
    problems += [Problem(path, "It was drawn on another series than the T1 with contrast.") for path in strangers]
    if len(seg_files) + len(masks) > 1:
        names = ", ".join(path.name for path in [*seg_files, *masks][:_MOST_NAMED])
        return Problem(study.folder, f"The study has several masks: {names}. Keep the one that is to be used.")
    mask = next(iter([*seg_files, *masks]), None)
    return Plan(study, t1c, flair, mask, bool(seg_files))


def _is_of(seg: Header, t1c: Header) -> bool:
    """Whether a segmentation was drawn on a series, or on another that shares its space."""
    return t1c.series in seg.referenced or (seg.frame != "" and seg.frame == t1c.frame)


def _why(undecided: Undecided, study: Study, what: str) -> str:
    shown = undecided.candidates or study.series
    titles = "; ".join(series.title for series in shown[:_MOST_NAMED])
    if undecided.candidates:
        return f"Several series could be the {what}: {titles}. Keep one of them in the archive."
    return f"No series is recognisably a {what}; there are: {titles}."
