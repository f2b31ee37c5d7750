"""The worker's tasks about indexes: build one of an archive, add cases, and say what one holds."""

from TumorRetrievalLib.engine.archive import ReadWith, add_cases, build_archive_index, plan_build
from TumorRetrievalLib.engine.index_care import index_facts, remove_cases
from TumorRetrievalLib.errors import InvalidRequest
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


def index_remove(given: dict, progress: Progress) -> dict:
    """Remove cases from an index. Arguments: `index` (folder), `cases` (ids).

    :returns: as `engine.index_care.remove_cases`.
    """
    arguments = Arguments(given)
    folder, cases = arguments.needed("index", read.path), arguments.needed("cases", _texts)
    arguments.done()
    return remove_cases(folder, cases, progress)


def index_stats(given: dict, progress: Progress) -> dict:
    """What an index holds. Arguments: `index` (folder).

    :returns: as `engine.index_care.index_facts`.
    """
    arguments = Arguments(given)
    folder = arguments.needed("index", read.path)
    arguments.done()
    return index_facts(folder)


def _using(arguments: Arguments) -> ReadWith:
    return ReadWith(
        arguments.get("model", read.path), arguments.get("device", read.text), arguments.get("workers", read.count, 1)
    )


def _texts(value) -> list[str]:
    if not isinstance(value, list) or not value:
        raise InvalidRequest("The request needs `cases`, a list of at least one.")
    return [read.text(one) for one in value]


TASKS: dict[str, Task] = {
    "index_build": index_build,
    "index_add": index_add,
    "index_remove": index_remove,
    "index_stats": index_stats,
}
