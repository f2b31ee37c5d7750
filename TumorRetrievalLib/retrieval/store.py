"""Cases and tumors as an SQLite database: the only place that speaks SQL, and only with parameters.

An open index works on a copy in memory, so it neither notices nor blocks what happens to the file. Row r of the
vectors belongs to the tumor whose `row` is r.
"""

import json
import sqlite3
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import NamedTuple
from urllib.parse import quote

import numpy as np

from TumorRetrievalLib.cohort.case import Case, MaskLabels, SyntheticRecipe, Tumor
from TumorRetrievalLib.cohort.labels import ALLOWED
from TumorRetrievalLib.errors import CannotWrite, IndexDamaged, InvalidBox
from TumorRetrievalLib.imaging.box import Box
from TumorRetrievalLib.retrieval.archive_paths import common_folder, relative_file, root_on_disk, stored_root
from TumorRetrievalLib.retrieval.filters import Filters
from TumorRetrievalLib.retrieval.index_manifest import WAY_OUT
from TumorRetrievalLib.retrieval.label_columns import RADIX, LabelColumns
from TumorRetrievalLib.retrieval.schema import bring_up_to_date, create_tables, require_tables

_TUMOR = (
    "id",
    "box",
    "type",
    "area",
    "left_right",
    "front_rear",
    "upper_lower",
    "linear_size_mm",
    "core_ml",
    "whole_ml",
    "atlas_mm",
    "marker",
)
_FILES = ("t1c", "flair", "mask")
_CASE = (
    "cases.id",
    "patient",
    *_FILES,
    "kept_mask",
    "mask_labels",
    "mask_origin",
    "voxels_sha256",
    "provenance",
    "recipe",
)
_MOST_PARAMETERS = 500
_NONSENSE = (ValueError, TypeError, KeyError, AttributeError, OverflowError, RecursionError)

MASKS = "masks"
"""The folder, in that of an index, of the masks that it keeps itself."""


class IndexedTumor(NamedTuple):
    """A tumor and where it is from: `place` counts the tumors of its case from 0."""

    case: str
    patient: str
    place: int
    record: Tumor


def empty_database() -> sqlite3.Connection:
    """A database in memory without cases."""
    database = sqlite3.connect(":memory:", check_same_thread=False)
    create_tables(database)
    return database


def load(path: Path, schema: int) -> sqlite3.Connection:
    """A copy in memory, with today's tables, of the database in a file, which is not touched.

    :param schema: the version of its tables.
    :raises IndexDamaged: if it is no database of ours.
    :raises FileNotFoundError: if there is no file.
    """
    if not path.exists():
        raise FileNotFoundError(path)
    # "immutable" promises that nobody writes to this file, which holds because each generation has its own; without it
    # SQLite would want to make a lock file, which a read-only folder forbids.
    place = path.absolute().as_posix()
    uri = f"file://{'' if place.startswith('/') else '/'}{quote(place)}?mode=ro&immutable=1"
    database = sqlite3.connect(":memory:", check_same_thread=False)
    try:
        with closing(sqlite3.connect(uri, uri=True)) as file:
            file.backup(database)
        # Takes a tenth of the time that opening takes, and afterwards no query meets a broken page.
        (check,) = database.execute("PRAGMA quick_check(1)").fetchone()
        if check != "ok":
            raise ValueError(check)
        require_tables(database, schema, path)
        bring_up_to_date(database, schema, path.parent)
        counts(database)
    except (sqlite3.Error, ValueError) as error:
        database.close()
        if not path.exists():
            raise FileNotFoundError(path) from error
        raise IndexDamaged(f"{path} cannot be read as a database of cases ({error}). {WAY_OUT}") from error
    except IndexDamaged:
        database.close()
        raise
    return database


def save(database: sqlite3.Connection, path: Path) -> None:
    """Write the database, packed, into an empty file.

    :raises CannotWrite: if that fails.
    """
    try:
        database.execute("VACUUM INTO ?", (str(path),))
    except sqlite3.Error as error:
        raise CannotWrite(f"{path.parent} cannot be written: {error}. Free space or check permissions.") from error


def changed_copy(database: sqlite3.Connection, change: Callable[[sqlite3.Connection], None]) -> sqlite3.Connection:
    """A copy in memory with a change made to it; the original stays as it is."""
    copy = sqlite3.connect(":memory:", check_same_thread=False)
    try:
        database.backup(copy)
        with copy:
            change(copy)
    except BaseException:
        copy.close()
        raise
    return copy


def counts(database: sqlite3.Connection) -> tuple[int, int]:
    """The numbers of cases and tumors."""
    return database.execute("SELECT (SELECT count(*) FROM cases), (SELECT count(*) FROM tumors)").fetchone()


def count_by_type(database: sqlite3.Connection) -> dict[str, int]:
    """Tumor type -> number of tumors; a missing type counts as "unknown"."""
    sql = "SELECT coalesce(type, 'unknown'), count(*) FROM tumors GROUP BY 1 ORDER BY 1"
    return dict(database.execute(sql).fetchall())


def case_ids(database: sqlite3.Connection) -> list[str]:
    """The ids of all cases, in order."""
    return [case_id for (case_id,) in database.execute("SELECT id FROM cases ORDER BY id")]


def has_case(database: sqlite3.Connection, case_id: str) -> bool:
    """Whether there is such a case."""
    return database.execute("SELECT 1 FROM cases WHERE id = ?", (case_id,)).fetchone() is not None


def rows_of_case(database: sqlite3.Connection, case_id: str) -> list[int]:
    """The rows of a case's tumors, in the order of its tumors."""
    sql = "SELECT row FROM tumors WHERE case_id = ? ORDER BY place"
    return [row for (row,) in database.execute(sql, (case_id,))]


def label_columns(database: sqlite3.Connection) -> LabelColumns:
    """The labels of all tumors."""
    number, parameters = "0", []
    for label, radix in reversed(RADIX.items()):
        cases = " ".join(f"WHEN ? THEN {digit}" for digit in range(1, radix))
        number = f"({number} * {radix} + CASE {label} {cases} ELSE 0 END)"
        parameters += ALLOWED[label]
    # The parameters stand in the order of the text: the innermost label, which is the last one, comes first.
    rows = database.execute(f"SELECT {number}, coalesce(core_ml, -1.0) FROM tumors ORDER BY row", parameters)
    table = np.fromiter(rows, dtype=[("number", np.uint16), ("core_ml", np.float64)])
    return LabelColumns(table["number"].copy(), np.where(table["core_ml"] < 0, np.nan, table["core_ml"]))


def rows_left_out(database: sqlite3.Connection, filters: Filters) -> np.ndarray:
    """The rows of the patients and cases that a filter leaves out, in any order; shape (m,), int64."""
    # One parameter for a whole list: SQLite limits their number, and archives have many patients.
    among = "(SELECT value FROM json_each(?))"
    sql = (
        f"SELECT row FROM tumors WHERE case_id IN {among} OR case_id IN (SELECT id FROM cases WHERE patient IN {among})"
    )
    parameters = [json.dumps(filters.exclude_cases), json.dumps(filters.exclude_patients)]
    return np.fromiter((row for (row,) in database.execute(sql, parameters)), dtype=np.int64)


def rank_of_ids(database: sqlite3.Connection) -> np.ndarray:
    """For each row its rank in the order of (case id, place in the case); shape (n,), int64."""
    rows = database.execute("SELECT row FROM tumors ORDER BY case_id, place")
    order = np.fromiter((row for (row,) in rows), dtype=np.int64)
    rank = np.empty_like(order)
    rank[order] = np.arange(len(order))
    return rank


def read_tumors(database: sqlite3.Connection, rows: list[int]) -> list[IndexedTumor]:
    """The tumors of some rows, in that order."""
    found = {}
    for start in range(0, len(rows), _MOST_PARAMETERS):
        some = rows[start : start + _MOST_PARAMETERS]
        marks = ", ".join("?" * len(some))
        sql = (
            f"SELECT row, case_id, patient, place, {', '.join(f'tumors.{name}' for name in _TUMOR)} "
            f"FROM tumors JOIN cases ON cases.id = case_id WHERE row IN ({marks})"
        )
        with _understanding("a tumor"):
            for row, case_id, patient, place, *values in database.execute(sql, some):
                found[row] = IndexedTumor(case_id, patient, place, _tumor(values))
    with _understanding("a tumor"):
        return [found[row] for row in rows]


def read_case(database: sqlite3.Connection, case_id: str, folder: Path) -> Case | None:
    """A case with its tumors; None if there is none of that id.

    :param folder: of the index, which the paths of its files start from.
    :raises IndexDamaged: if what is stored about it makes no sense.
    """
    with _understanding(f"the case {case_id!r}"):
        return _case(database, case_id, folder)


@contextmanager
def _understanding(what: str) -> Iterator[None]:
    """Whatever can be wrong with a record that has the right columns and was put there by somebody else."""
    try:
        yield
    except (*_NONSENSE, sqlite3.Error, InvalidBox) as error:
        raise IndexDamaged(f"The index says something about {what} that makes no sense ({error}). {WAY_OUT}") from error


def _case(database: sqlite3.Connection, case_id: str, folder: Path) -> Case | None:
    sql = f"SELECT {', '.join(_CASE)}, root FROM cases LEFT JOIN archives ON archives.id = archive WHERE cases.id = ?"
    record = database.execute(sql, (case_id,)).fetchone()
    if record is None:
        return None
    *values, root = record
    known = dict(zip((name.removeprefix("cases.") for name in _CASE), values, strict=True))
    files = {name: known.pop(name) for name in _FILES}
    paths = {name: None if file is None else root_on_disk(root, folder) / file for name, file in files.items()}
    kept_mask, labels, recipe = (known.pop(name) for name in ("kept_mask", "mask_labels", "recipe"))
    if kept_mask is not None:
        paths["mask"] = kept_mask_path(folder, kept_mask)
    return Case(
        **known,
        **paths,
        mask_labels=None if labels is None else MaskLabels(**json.loads(labels)),
        recipe=None if recipe is None else SyntheticRecipe(**json.loads(recipe)),
        tumors=tuple(tumor.record for tumor in read_tumors(database, rows_of_case(database, case_id))),
    )


def kept_mask_path(folder: Path, sha256: str) -> Path:
    """Where an index keeps a mask that the network has drawn; it is named by its content."""
    return folder / MASKS / f"{sha256}.nii.gz"


def kept_masks(database: sqlite3.Connection) -> set[str]:
    """The SHA-256 of every mask that the index keeps itself."""
    return {sha256 for (sha256,) in database.execute("SELECT kept_mask FROM cases WHERE kept_mask IS NOT NULL")}


def case_of_voxels(database: sqlite3.Connection) -> dict[str, str]:
    """SHA-256 of a scan's voxels -> id of its case, for every scan of which it is known."""
    return dict(database.execute("SELECT voxels_sha256, id FROM cases WHERE voxels_sha256 IS NOT NULL"))


def roots(database: sqlite3.Connection) -> dict[str, int]:
    """Root of each archive, as it is stored -> the number of its cases."""
    sql = "SELECT root, count(*) FROM archives JOIN cases ON archive = archives.id GROUP BY root ORDER BY root"
    return dict(database.execute(sql).fetchall())


def replace_roots(database: sqlite3.Connection, new: dict[str, str]) -> None:
    """Give archives other roots; those that become equal become one.

    :param new: root as it is stored -> the one that takes its place.
    """
    old_ids = dict(database.execute("SELECT root, id FROM archives"))
    target = {number: new.get(root, root) for root, number in old_ids.items()}
    database.execute("UPDATE archives SET root = 'old ' || id")
    chosen: dict[str, int] = {}
    for number, root in target.items():
        if root in chosen:
            database.execute("UPDATE cases SET archive = ? WHERE archive = ?", (chosen[root], number))
            database.execute("DELETE FROM archives WHERE id = ?", (number,))
        else:
            chosen[root] = number
            database.execute("UPDATE archives SET root = ? WHERE id = ?", (root, number))


def insert(
    database: sqlite3.Connection,
    cases: Iterable[Case],
    first_row: int,
    folder: Path,
    root: Path | None = None,
    masks: Mapping[str, str] | None = None,
) -> None:
    """Add cases; their tumors get the rows from `first_row` on.

    :param folder: of the index.
    :param root: the folder that the cases' files lie in; None: the deepest that holds them all.
    :param masks: case id -> SHA-256 of a mask that the index keeps in the place of the case's own.
    :raises ValueError: if a file does not lie there.
    """
    cases, masks = list(cases), masks or {}
    archive = None
    own_files = [path for case in cases for path in _files_of(case, case.id in masks) if path is not None]
    if own_files:
        root = common_folder(own_files) if root is None else root
        stored = stored_root(root, folder)
        database.execute("INSERT OR IGNORE INTO archives (root) VALUES (?)", (stored,))
        (archive,) = database.execute("SELECT id FROM archives WHERE root = ?", (stored,)).fetchone()
    row = first_row
    for case in cases:
        paths = _files_of(case, case.id in masks)
        files = [None if path is None else relative_file(path, root) for path in paths]
        as_json = [None if one is None else json.dumps(asdict(one)) for one in (case.mask_labels, case.recipe)]
        values = {
            **dict(zip(_FILES, files, strict=True)),
            "archive": archive if any(files) else None,
            "id": case.id,
            "patient": case.patient,
            "kept_mask": masks.get(case.id),
            "mask_labels": as_json[0],
            "mask_origin": case.mask_origin,
            "voxels_sha256": case.voxels_sha256,
            "provenance": case.provenance,
            "recipe": as_json[1],
        }
        database.execute(
            f"INSERT INTO cases ({', '.join(values)}) VALUES ({', '.join('?' * len(values))})", list(values.values())
        )
        for place, tumor in enumerate(case.tumors):
            values = (row, case.id, place, *_values(tumor))
            database.execute(f"INSERT INTO tumors VALUES ({', '.join('?' * len(values))})", values)
            row += 1


def _files_of(case: Case, without_mask: bool) -> list[Path | None]:
    return [case.t1c, case.flair, None if without_mask else case.mask]


def remove(database: sqlite3.Connection, case_ids: Iterable[str], kept: np.ndarray) -> None:
    """Delete cases and close the gaps in the rows.

    :param kept: the rows that stay, ascending; they become 0, 1, 2, ...
    """
    keys = [(case_id,) for case_id in case_ids]
    database.executemany("DELETE FROM tumors WHERE case_id = ?", keys)
    database.executemany("DELETE FROM cases WHERE id = ?", keys)
    database.execute("DELETE FROM archives WHERE id NOT IN (SELECT archive FROM cases WHERE archive IS NOT NULL)")
    moved = [(-1 - new, old) for new, old in enumerate(kept.tolist()) if new != old]
    # By way of negative numbers, so that no two tumors have the same row in between.
    database.executemany("UPDATE tumors SET row = ? WHERE row = ?", moved)
    database.execute("UPDATE tumors SET row = -1 - row WHERE row < 0")


def problem_with(database: sqlite3.Connection) -> str | None:
    """What is wrong with the database, in words; None if nothing is."""
    check = database.execute("PRAGMA integrity_check").fetchone()[0]
    if check != "ok":
        return f"the database is broken ({check})"
    if database.execute("PRAGMA foreign_key_check").fetchone() is not None:
        return "a tumor belongs to no case"
    lowest, highest, number = database.execute("SELECT min(row), max(row), count(*) FROM tumors").fetchone()
    if number and (lowest != 0 or highest != number - 1):
        return "the tumors' rows have gaps"
    return None


def _values(tumor: Tumor) -> list:
    known = {name: getattr(tumor, name) for name in _TUMOR}
    if tumor.box is not None:
        known["box"] = json.dumps([tumor.box.center.tolist(), tumor.box.size.tolist(), tumor.box.axes.tolist()])
    if tumor.atlas_mm is not None:
        known["atlas_mm"] = json.dumps(tumor.atlas_mm)
    return list(known.values())


def _tumor(values: list) -> Tumor:
    known = dict(zip(_TUMOR, values, strict=True))
    if known["box"] is not None:
        known["box"] = Box(*json.loads(known["box"]))
    if known["atlas_mm"] is not None:
        known["atlas_mm"] = tuple(json.loads(known["atlas_mm"]))
    return Tumor(**known)
