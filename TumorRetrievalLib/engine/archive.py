"""A hospital's own cases: listed in their archive, read one by one, and kept in an index.

Nothing in an archive is ever changed. A case that cannot be used is named with the reason and never stops the others.
"""

import os
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from TumorRetrievalLib.cohort.case import Case
from TumorRetrievalLib.cohort.importers.archive import import_archive, list_archive
from TumorRetrievalLib.cohort.importers.findings import Archive, Problem
from TumorRetrievalLib.engine.copied_scans import forget_scans, require_own_scans, scans_folder
from TumorRetrievalLib.engine.embed_case import embed_case, voxels_sha256
from TumorRetrievalLib.engine.index_care import require_own_index
from TumorRetrievalLib.engine.parts import Parts, keep_part, mask_of_part, read_part
from TumorRetrievalLib.engine.patient import tumor_reader
from TumorRetrievalLib.engine.processes import side_by_side
from TumorRetrievalLib.errors import Cancelled, CannotWrite, TumorRetrievalError, WeightsError
from TumorRetrievalLib.imaging.files import read_volume
from TumorRetrievalLib.retrieval.case_index import CaseIndex
from TumorRetrievalLib.retrieval.embedding import model_identity
from TumorRetrievalLib.retrieval.index_manifest import MANIFEST

Progress = Callable[[float, str], None]

_LISTED, _READ = 0.1, 0.97
"""Where the steps end on the way from 0 to 1."""


@dataclass(frozen=True)
class ReadWith:
    """With what cases are read.

    :param model: folder; the bundled one when None.
    :param device: "cpu", "cuda"...; a GPU if there is one when None.
    :param workers: processes; one per core when None, one on a GPU. One works within this process.
    """

    model: Path | None = None
    device: str | None = None
    workers: int | None = None


@dataclass(frozen=True)
class _Work:
    """One case to read, and where it is kept when it has been."""

    case: Case
    part: Path


@dataclass
class _Outcome:
    """What became of an archive."""

    archive: Archive
    added: list[str] = field(default_factory=list)
    already: list[str] = field(default_factory=list)
    outlined: list[str] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def plan_build(archive: Path, into: Path, progress: Progress | None = None) -> dict:
    """What `build_archive_index` would do; nothing is written and no case is embedded.

    :returns: the archive's report (`kind`, `cases`, `problems`, `notes`) and `already`, the ids that are indexed.
    """
    report = list_archive(archive, progress=progress).as_report()
    indexed: set[str] = set()
    if (Path(into) / MANIFEST).exists():
        with CaseIndex.open(into) as index:
            indexed = {row["case"] for row in report["cases"] if row["case"] in index}
    return {**report, "already": sorted(indexed)}


def build_archive_index(
    archive: Path, into: Path, using: ReadWith | None = None, progress: Progress | None = None
) -> dict:
    """Index every case of an archive that is not in the index yet; the index is made if it is not there.

    A build that was stopped or killed goes on where it was. The index changes once, when all cases have been read.

    :param archive: a CSV manifest, or a folder. Of DICOM studies the index gets copies without the patient's identity;
        the secret that names are hashed with lies beside the index, in a file of its name that ends in `.salt`.
    :param into: folder of the index.
    :param progress: called with a fraction and a message; whatever it raises stops the work.
    :returns: `added`, `already` and `network_masks` (ids), `problems` (rows of `path` and `reason`), `notes`, `kind`,
        `seconds` and `index` (its stats).
    :raises InvalidRequest: if it is the bundled index.
    :raises UnreadableFile: if there is no archive.
    :raises IndexOfAnotherModel: if the index is one of another model.
    :raises IndexBusy: :raises CannotWrite: if it cannot be written.
    """
    return _index_all([Path(archive)], Path(into), using or ReadWith(), progress, make=True)


def add_cases(
    index: Path, cases: Sequence[Path], using: ReadWith | None = None, progress: Progress | None = None
) -> dict:
    """Add cases to an index that is there: each a folder of a case, or a manifest or folder of several.

    Arguments, result and errors as in `build_archive_index`.
    """
    return _index_all([Path(case) for case in cases], Path(index), using or ReadWith(), progress, make=False)


def _index_all(archives: list[Path], into: Path, using: ReadWith, progress: Progress | None, *, make: bool) -> dict:
    began = time.perf_counter()
    require_own_index(into)
    report = progress or (lambda fraction, message: None)
    fresh = make and not (into / MANIFEST).exists()
    if fresh:
        require_own_scans(into, besides=archives)
    report(0.0, "Loading the model")
    reader = tumor_reader(using.model, using.device)
    identity = model_identity(reader.model.contract)
    index = CaseIndex.create(into, identity) if fresh else CaseIndex.open(into, identity, writable=True)
    with index:
        outcomes = []
        for number, path in enumerate(archives):

            def step(fraction: float, message: str, number: int = number) -> None:
                report((number + fraction) / len(archives), message)

            found = import_archive(
                path,
                scans_folder(into),
                salt_file=into.with_name(f"{into.name}.salt"),
                progress=lambda f, m, step=step: step(_LISTED * f, m),
            )
            outcome = _Outcome(found, problems=list(found.problems), notes=list(found.notes))
            copied = found.kind == "dicom" or scans_folder(into) in path.parents
            root = scans_folder(into) if copied else _root_of(path)
            _index_archive(index, outcome, root, using, reader.device.type, step)
            outcomes.append(outcome)
        forget_scans(into, keep=index.case_ids())
        stats = index.stats()
    report(1.0, "Done")
    return {
        "kind": ", ".join(dict.fromkeys(outcome.archive.kind for outcome in outcomes)),
        **{name: [one for outcome in outcomes for one in getattr(outcome, name)] for name in ("added", "already")},
        "network_masks": [one for outcome in outcomes for one in outcome.outlined],
        "problems": [{"path": str(one.path), "reason": one.reason} for out in outcomes for one in out.problems],
        "notes": [note for outcome in outcomes for note in outcome.notes],
        "seconds": round(time.perf_counter() - began, 1),
        "index": stats,
    }


def _index_archive(
    index: CaseIndex, outcome: _Outcome, root: Path, using: ReadWith, device: str, report: Progress
) -> None:
    parts = Parts(index.folder, index.manifest.model_hash)
    wanted = []
    for case in outcome.archive.cases:
        if case.id not in index:
            wanted.append(_Work(case, parts.path(case)))
        elif _same_scan(case, index.get(case.id)):
            outcome.already.append(case.id)
        else:
            reason = f"Another case is indexed as {case.id}: its scan differs. Rename one, or remove that one first."
            outcome.problems.append(Problem(case.t1c, reason))
    missing = [work for work in wanted if not work.part.exists()]
    done = len(wanted) - len(missing)
    for problem in _read_all(missing, using, device, lambda f, m: report(_LISTED + (_READ - _LISTED) * f, m)):
        if problem is not None:
            outcome.problems.append(problem)
    report(
        _READ, f"Writing the index ({done} of {len(wanted)} cases were read before)" if done else "Writing the index"
    )
    _add_parts(index, [work for work in wanted if work.part.exists()], root, outcome)
    parts.clear()


def _read_all(missing: list[_Work], using: ReadWith, device: str, report: Progress) -> Iterator[Problem | None]:
    """Read the cases, in no certain order; what goes wrong with one comes as a problem."""
    workers = min(len(missing), using.workers or (1 if device == "cuda" else os.cpu_count() or 1))
    if workers <= 1:
        for number, work in enumerate(missing):
            yield _read_and_keep(work, using, lambda f, m, number=number: report((number + f) / len(missing), m))
        return
    finished = side_by_side(partial(_read_and_keep, using=using), missing, workers)
    for number, problem in enumerate(finished, start=1):
        report(number / len(missing), f"{number} of {len(missing)} cases")
        yield problem


def _read_and_keep(work: _Work, using: ReadWith, progress: Progress | None = None) -> Problem | None:
    """The work on one case; what is wrong with it, if it cannot be used."""
    try:
        reader = tumor_reader(using.model, using.device)
        keep_part(work.part, embed_case(work.case, reader, progress))
    except (Cancelled, CannotWrite, WeightsError):
        raise  # not this case's fault
    except TumorRetrievalError as error:
        return Problem(work.case.t1c or Path(work.case.id), str(error))
    except (ValueError, ArithmeticError, IndexError, KeyError, RuntimeError) as error:
        reason = f"It could not be read ({type(error).__name__}: {error}). Please report this."
        return Problem(work.case.t1c or Path(work.case.id), reason)
    return None


def _add_parts(index: CaseIndex, finished: list[_Work], root: Path, outcome: _Outcome) -> None:
    """Put what has been read into the index, in one step; a scan that is there under another name is left out."""
    case_of = index.case_of_voxels()
    embedded, masks = [], {}
    for work in finished:
        one = read_part(work.part)
        twin = case_of.get(one.case.voxels_sha256)
        if twin is not None:
            reason = f"Its scan is that of the case {twin}, voxel by voxel, so it is not indexed again. Remove one."
            outcome.problems.append(Problem(work.case.t1c, reason))
            continue
        if one.case.voxels_sha256 is not None:
            case_of[one.case.voxels_sha256] = one.case.id
        if mask_of_part(work.part).exists() and one.case.mask_origin == "network" and one.case.mask is None:
            masks[one.case.id] = mask_of_part(work.part)
        embedded.append(one)
        outcome.notes += [f"{one.case.id}: {note}" for note in one.notes]
    if embedded:
        index.add([one.case for one in embedded], [one.vectors for one in embedded], root=root, masks=masks)
    outcome.added += [one.case.id for one in embedded]
    outcome.outlined += list(masks)


def _same_scan(listed: Case, indexed: Case) -> bool:
    if listed.t1c is None or indexed.voxels_sha256 is None:
        return listed.recipe == indexed.recipe
    same_file = indexed.t1c is not None and os.path.realpath(listed.t1c) == os.path.realpath(indexed.t1c)
    return same_file or voxels_sha256(read_volume(listed.t1c)) == indexed.voxels_sha256


def _root_of(archive: Path) -> Path:
    """The folder that the files of an archive lie in."""
    return archive.parent if archive.is_file() else archive
