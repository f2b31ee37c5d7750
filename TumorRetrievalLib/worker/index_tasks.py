"""The worker's tasks about indexes: build one of an archive, add or remove cases, and say what one holds."""

from TumorRetrievalLib.cohort.case import MASK_ORIGINS
from TumorRetrievalLib.cohort.labels import TYPES
from TumorRetrievalLib.engine.add_patient import NewCase, add_patient
from TumorRetrievalLib.engine.archive import ReadWith, add_cases, build_archive_index, plan_build
from TumorRetrievalLib.engine.index_care import index_facts, remove_cases
from TumorRetrievalLib.errors import InvalidRequest
from TumorRetrievalLib.resources import resource
from TumorRetrievalLib.worker import arguments as read
from TumorRetrievalLib.worker.arguments import Arguments
from TumorRetrievalLib.worker.tasks import Progress, Task


def index_build(given: dict, progress: Progress) -> dict:
    """Index an archive.

    Arguments: `archive` (folder or manifest), `index` (folder), `dry_run` (true: only say what would be done), `model`,
    `device`, `workers`.

    :returns: as `engine.archive.build_archive_index`, or `plan_build`.
    """
    arguments = Arguments(given)
    archive, folder = arguments.needed("archive", read.path), arguments.needed("index", read.path)
    dry_run, using = arguments.get("dry_run", bool, False), _using(arguments)
    arguments.done()
    return plan_build(archive, folder, progress) if dry_run else build_archive_index(archive, folder, using, progress)


def index_add(given: dict, progress: Progress) -> dict:
    """Add cases to an index.

    Arguments: `index` (folder), `cases` (folders or manifests), `model`, `device`, `workers`.

    :returns: as `engine.archive.build_archive_index`.
    """
    arguments = Arguments(given)
    folder, cases = arguments.needed("index", read.path), arguments.needed("cases", _texts)
    using = _using(arguments)
    arguments.done()
    return add_cases(folder, [read.path(case) for case in cases], using, progress)


def index_add_patient(given: dict, progress: Progress) -> dict:
    """Copy a patient's scan and outlines into an index, and add them as a case.

    Arguments: `index` (folder; the index is made if it is not there), `case` and `patient` (ids), `t1c`, `mask` and
    `flair` (files), `type`, `mask_origin`, `model`, `device`.

    :returns: as `engine.archive.build_archive_index`.
    """
    arguments = Arguments(given)
    folder, t1c, mask = (arguments.needed(name, read.path) for name in ("index", "t1c", "mask"))
    new = NewCase(
        arguments.needed("case", read.text),
        arguments.needed("patient", read.text),
        t1c,
        mask,
        arguments.get("flair", read.path),
        arguments.get("type", _tumor_type),
        arguments.get("mask_origin", _mask_origin, "network"),
    )
    using = _using(arguments)
    arguments.done()
    return add_patient(folder, new, using, progress)


def index_remove(given: dict, progress: Progress) -> dict:
    """Remove cases from an index. Arguments: `index` (folder), `cases` (ids).

    :returns: as `engine.index_care.remove_cases`.
    """
    arguments = Arguments(given)
    folder, cases = arguments.needed("index", read.path), arguments.needed("cases", _texts)
    arguments.done()
    return remove_cases(folder, cases, progress)


def index_stats(given: dict, progress: Progress) -> dict:
    """What an index holds. Arguments: `index` (folder; the bundled one where absent).

    :returns: as `engine.index_care.index_facts`.
    """
    arguments = Arguments(given)
    folder = arguments.get("index", read.path) or resource("Index")
    arguments.done()
    return index_facts(folder)


def _using(arguments: Arguments) -> ReadWith:
    return ReadWith(
        arguments.get("model", read.path), arguments.get("device", read.text), arguments.get("workers", read.count, 1)
    )


def _tumor_type(value) -> str:
    return _one_of(TYPES, value)


def _mask_origin(value) -> str:
    return _one_of(MASK_ORIGINS, value)


def _one_of(allowed: tuple[str, ...], value) -> str:
    if value not in allowed:
        raise ValueError(f"it is one of {', '.join(allowed)}")
    return value


def _texts(value) -> list[str]:
    if not isinstance(value, list) or not value:
        raise InvalidRequest("The request needs `cases`, a list of at least one.")
    return [read.text(one) for one in value]


TASKS: dict[str, Task] = {
    "index_build": index_build,
    "index_add": index_add,
    "index_add_patient": index_add_patient,
    "index_remove": index_remove,
    "index_stats": index_stats,
}
