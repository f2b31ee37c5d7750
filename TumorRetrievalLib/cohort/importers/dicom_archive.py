"""DICOM studies as an archive: which series and masks are used, and, on import, their de-identified copies.

The dry run and the import read the same voxels in the same way; the import also writes. Cases of a dry run carry
numbers; those of an import carry hashes, and their files hold no text from the headers.
"""

import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from TumorRetrievalLib.cohort.case import Case, MaskLabels
from TumorRetrievalLib.cohort.importers.deidentify import METHOD, Hasher, load_salt
from TumorRetrievalLib.cohort.importers.dicom_images import Mask, read_nifti_mask, read_seg_mask, read_series
from TumorRetrievalLib.cohort.importers.dicom_plan import Plan, make_plans
from TumorRetrievalLib.cohort.importers.findings import Archive, Problem, Progress, in_words
from TumorRetrievalLib.errors import CannotWrite, TumorRetrievalError
from TumorRetrievalLib.imaging.atomic import atomic_file
from TumorRetrievalLib.imaging.files import write_labels, write_volume
from TumorRetrievalLib.imaging.volume import Volume

RECORD = "deidentification.json"
"""Written last: a case with it is complete."""
_SUSPICIOUS = 5
_PROVENANCE = "DICOM, de-identified on import"


@dataclass(frozen=True, eq=False)
class _Images:
    t1c: Volume
    flair: Volume | None
    mask: Mask | None


def list_dicom(root: Path, *, progress: Progress | None = None) -> Archive:
    """The studies in a folder as an import would take them. Nothing is written, and no case can be indexed yet."""
    plans, problems = make_plans(root)
    cases, patients = [], {}
    for number, plan in _with_progress(plans, progress):
        try:
            images = _read(plan)
        except TumorRetrievalError as error:
            problems.append(Problem(plan.study.folder, str(error)))
            continue
        patient = patients.setdefault(plan.study.patient, f"patient {len(patients) + 1}")
        cases.append(_previewed(f"study {number}", patient, plan, images))
    notes = ["Dry run: an import names cases and patients by hashes.", *_notes(plans, cases)]
    return Archive("dicom", tuple(cases), tuple(problems), tuple(notes))


def import_dicom(root: Path, into: Path, *, salt_file: Path, progress: Progress | None = None) -> Archive:
    """De-identified copies of the studies in a folder.

    A study that was imported whole is not converted again.

    :param into: gets a folder per case, with `t1c.nii.gz`, where there are such `flair.nii.gz` and `mask.nii.gz`, and
        the record of the de-identification.
    :param salt_file: see `deidentify.load_salt`.
    :raises CannotWrite: if `into` lies inside `root`, the disk is full or there is no permission.
    """
    into = Path(into)
    if into.resolve().is_relative_to(root.resolve()):
        raise CannotWrite(f"{into} lies inside the archive {root}. Choose a folder outside of it.")
    hasher = Hasher(load_salt(salt_file))
    plans, problems = make_plans(root)
    cases = []
    for _, plan in _with_progress(plans, progress):
        try:
            cases.append(_imported(plan, into, hasher))
        except CannotWrite:
            raise
        except TumorRetrievalError as error:
            problems.append(Problem(plan.study.folder, str(error)))
    return Archive("dicom", tuple(cases), tuple(problems), tuple(_notes(plans, cases)))


def _with_progress(plans: list[Plan], progress: Progress | None) -> Iterator[tuple[int, Plan]]:
    for number, plan in enumerate(plans, start=1):
        if progress is not None:
            progress((number - 1) / len(plans), f"Study {number} of {len(plans)}")
        yield number, plan


def _read(plan: Plan) -> _Images:
    t1c = read_series(plan.t1c.series)
    flair = mask = None
    if plan.flair is not None:
        flair = read_series(plan.flair.series)
        t1c.require_overlap(flair, "The FLAIR", "the T1 with contrast")
    if plan.mask is not None:
        mask = (read_seg_mask if plan.mask_is_seg else read_nifti_mask)(plan.mask, t1c.grid)
    return _Images(t1c, flair, mask)


def _previewed(name: str, patient: str, plan: Plan, images: _Images) -> Case:
    return Case(
        id=name,
        patient=patient,
        t1c=plan.t1c.series.header.path.parent,
        flair=None if plan.flair is None else plan.flair.series.header.path.parent,
        mask=plan.mask,
        mask_labels=None if images.mask is None else images.mask.meaning,
        mask_origin=None if images.mask is None else images.mask.origin,
        provenance="; ".join(f"{choice.series.title} ({choice.told_by})" for choice in plan.choices),
    )


def _imported(plan: Plan, into: Path, hasher: Hasher) -> Case:
    name = f"case-{hasher('study', plan.study.uid)}"
    patient = f"patient-{hasher('patient', plan.study.patient)}"
    folder = into / name
    source = _source(plan, hasher)
    record = _read_record(folder)
    if record is None or record["source"] != source:
        record = _write(folder, _read(plan), plan, source)
    files = {role: folder / f"{role}.nii.gz" for role in ("t1c", "flair", "mask") if role in record["files"]}
    meaning = record["mask_labels"]
    return Case(
        id=name,
        patient=patient,
        **files,
        mask_labels=None if meaning is None else MaskLabels(**meaning),
        mask_origin=record["mask_origin"],
        provenance=_PROVENANCE,
    )


def _source(plan: Plan, hasher: Hasher) -> dict:
    """What a case was made from, so that whoever has the salt can find it again."""
    paths = [path for choice in plan.choices for path in choice.series.files]
    paths += [] if plan.mask is None else [plan.mask]
    return {
        "study": hasher("study", plan.study.uid),
        "series": [hasher("series", choice.series.header.series) for choice in plan.choices],
        "files": sorted(hasher("file", path.name) for path in paths),
    }


def _write(folder: Path, images: _Images, plan: Plan, source: dict) -> dict:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / RECORD).unlink(missing_ok=True)
    except OSError as error:
        raise CannotWrite(f"{folder} cannot be written: {error.strerror or error}.") from error
    write_volume(folder / "t1c.nii.gz", images.t1c)
    files = ["t1c"]
    if images.flair is not None:
        write_volume(folder / "flair.nii.gz", images.flair)
        files.append("flair")
    if images.mask is not None:
        write_labels(folder / "mask.nii.gz", images.mask.labels)
        files.append("mask")
    record = {
        "deidentification": METHOD,
        "told_by": [choice.told_by for choice in plan.choices],
        "files": files,
        "mask_labels": None if images.mask is None else vars(images.mask.meaning),
        "mask_origin": None if images.mask is None else images.mask.origin,
        "source": source,
    }
    with atomic_file(folder / RECORD) as temporary:
        temporary.write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")
    return record


def _read_record(folder: Path) -> dict | None:
    """The record of a complete import; None where there is none, or a file that it names is gone."""
    try:
        record = json.loads((folder / RECORD).read_text(encoding="utf-8"))
        whole = all((folder / f"{role}.nii.gz").is_file() for role in record["files"])
        return record if whole and {"source", "mask_labels", "mask_origin"} <= record.keys() else None
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None


def _notes(plans: list[Plan], cases: list[Case]) -> list[str]:
    told = Counter(choice.told_by for plan in plans for choice in plan.choices)
    notes = [f"{count} series: {words}." for words, count in told.items()]
    schemes = Counter(in_words(case.mask_labels) for case in cases if case.mask_labels is not None)
    notes += [f"{count} masks were read as {words}." for words, count in schemes.items()]
    for role, words in (("flair", "no FLAIR"), ("mask", "no mask")):
        without = sum(getattr(case, role) is None for case in cases)
        if without:
            notes.append(f"{without} of {len(cases)} cases have {words}.")
    if len(cases) >= _SUSPICIOUS and len({case.patient for case in cases}) == 1:
        notes.append(
            f"All {len(cases)} cases have one PatientID, so they count as one patient. If the archive was anonymised "
            f"like that, give its patients ids of their own first: an audit parts cases by patient."
        )
    notes.append("Headers, dates and names are left behind. Faces are not removed from the voxels.")
    return notes
