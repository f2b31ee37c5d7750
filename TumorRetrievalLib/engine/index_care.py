"""What an index needs once it is there: cases removed for good, an archive found again, and to be told about."""

from collections.abc import Callable, Sequence
from pathlib import Path

from TumorRetrievalLib.engine.copied_scans import forget_scans
from TumorRetrievalLib.engine.known_cases import forget_cached
from TumorRetrievalLib.engine.parts import forget_parts
from TumorRetrievalLib.errors import CannotWrite, InvalidRequest, UnreadableFile
from TumorRetrievalLib.resources import is_bundled_index
from TumorRetrievalLib.retrieval import generations
from TumorRetrievalLib.retrieval.archive_paths import root_on_disk, stored_root
from TumorRetrievalLib.retrieval.case_index import CaseIndex

Progress = Callable[[float, str], None]


def require_own_index(folder: Path) -> None:
    """The index that comes with the tool is never changed: with its first change its checksums would refuse it.

    :raises InvalidRequest: if `folder` is that index.
    """
    if is_bundled_index(folder):
        raise InvalidRequest(
            f"The synthetic cases that come with the tool ({folder}) stay as they are. Make an index of your own: "
            f"`index build ARCHIVE --into FOLDER`."
        )


def remove_cases(folder: Path, case_ids: Sequence[str], progress: Progress | None = None) -> dict:
    """Remove cases from an index so that none of its files, and none of the cache, holds anything of them.

    The index is written anew without them, and older generations, kept masks, parts of stopped builds, cached scans
    and copies of DICOM studies go. The archive itself is not touched.

    :returns: `removed` (ids) and `index` (its stats).
    :raises InvalidRequest: if it is the bundled index.
    :raises UnknownCase: if one is not in the index; then nothing is removed.
    :raises CannotWrite: if that is not possible, or a file of an older generation could not be removed.
    """
    folder = Path(folder)
    require_own_index(folder)
    report = progress or (lambda fraction, message: None)
    report(0.0, "Opening the index")
    with CaseIndex.open(folder, writable=True) as index:
        cases = [index.get(case_id) for case_id in dict.fromkeys(case_ids)]
        report(0.3, f"Removing {len(cases)} case{'s' * (len(cases) != 1)}")
        # First what lies beside the index, so that a removal that was killed can be repeated.
        forget_parts(folder, [case.id for case in cases])
        for case in cases:
            forget_cached(case)
        gone = {case.id for case in cases}
        forget_scans(folder, keep=[case_id for case_id in index.case_ids() if case_id not in gone])
        index.remove(gone)
        left = generations.litter(folder)
        stats = index.stats()
    if left:
        names = ", ".join(path.name for path in left)
        raise CannotWrite(
            f"The cases are removed from the index, but {names} in {folder} hold the state before and could not be "
            f"deleted: another program has them open. Close it and delete them."
        )
    report(1.0, "Done")
    return {"removed": [case.id for case in cases], "index": stats}


def index_facts(folder: Path) -> dict:
    """What an index holds: its stats, and `archives`: where the scans lie, how many cases, and whether it is there."""
    folder = Path(folder)
    with CaseIndex.open(folder) as index:
        places = [(root_on_disk(root, folder), cases) for root, cases in index.roots().items()]
        archives = [{"folder": str(root), "cases": cases, "there": root.is_dir()} for root, cases in places]
        return {**index.stats(), "archives": archives}


def relocate_archive(folder: Path, new: Path, old: Path | None = None) -> dict:
    """Tell an index where its archive lies now.

    :param old: where the index thinks it lies, where there are several; see `index_facts`.
    :returns: `archives`, as in `index_facts`.
    :raises InvalidRequest: if it is the bundled index.
    :raises UnreadableFile: if there is no folder `new`, no such archive `old`, or the index names several archives.
    :raises CannotWrite: if the index cannot be written.
    """
    folder, new = Path(folder), Path(new)
    require_own_index(folder)
    if not new.is_dir():
        raise UnreadableFile(f"There is no folder {new}.")
    with CaseIndex.open(folder, writable=True) as index:
        known = {root_on_disk(root, folder): root for root in index.roots()}
        asked = list(known) if old is None else [root_on_disk(stored_root(old, folder), folder)]
        if len(asked) != 1 or asked[0] not in known:
            names = ", ".join(map(str, known)) or "none"
            raise UnreadableFile(f"Say which archive of {folder} has moved: --from FOLDER, one of {names}.")
        index.move_roots({known[asked[0]]: stored_root(new, folder)})
    return {"archives": index_facts(folder)["archives"]}
