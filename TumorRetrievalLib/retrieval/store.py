"""Cases and tumors as an SQLite database: the only place that speaks SQL, and only with parameters.

An open index works on a copy in memory, so it neither notices nor blocks what happens to the file. Row r of the
vectors belongs to the tumor whose `row` is r.
"""

import json
import sqlite3
from collections.abc import Callable, Iterable
from contextlib import closing
from dataclasses import asdict
from pathlib import Path
from typing import NamedTuple
from urllib.parse import quote

import numpy as np

from TumorRetrievalLib.cohort.case import Case, SyntheticRecipe, Tumor
from TumorRetrievalLib.errors import CannotWrite, IndexDamaged
from TumorRetrievalLib.imaging.box import Box
from TumorRetrievalLib.retrieval.filters import Filters
from TumorRetrievalLib.retrieval.index_manifest import WAY_OUT

_SCHEMA = """
CREATE TABLE cases (
    id TEXT PRIMARY KEY NOT NULL,
    patient TEXT NOT NULL,
    t1c TEXT,
    flair TEXT,
    mask TEXT,
    provenance TEXT NOT NULL,
    recipe TEXT
) WITHOUT ROWID;
CREATE TABLE tumors (
    row INTEGER PRIMARY KEY,
    case_id TEXT NOT NULL REFERENCES cases(id),
    place INTEGER NOT NULL,
    id TEXT NOT NULL,
    box TEXT,
    type TEXT,
    area TEXT,
    left_right TEXT,
    front_rear TEXT,
    upper_lower TEXT,
    linear_size_mm REAL,
    core_ml REAL,
    whole_ml REAL,
    atlas_mm TEXT,
    UNIQUE (case_id, place),
    UNIQUE (case_id, id)
);
"""

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
)
_MOST_PARAMETERS = 500


class IndexedTumor(NamedTuple):
    """A tumor and where it is from: `place` counts the tumors of its case from 0."""

    case: str
    patient: str
    place: int
    record: Tumor


def empty_database() -> sqlite3.Connection:
    """A database in memory without cases."""
    database = sqlite3.connect(":memory:", check_same_thread=False)
    database.executescript(_SCHEMA)
    return database


def load(path: Path) -> sqlite3.Connection:
    """A copy in memory of the database in a file, which is not touched.

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
        counts(database)
    except sqlite3.Error as error:
        database.close()
        if not path.exists():
            raise FileNotFoundError(path) from error
        raise IndexDamaged(f"{path} cannot be read as a database of cases ({error}). {WAY_OUT}") from error
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


def matching_rows(database: sqlite3.Connection, filters: Filters) -> np.ndarray:
    """The rows that a filter lets through, ascending; shape (m,), int64."""
    condition, parameters = filters.condition()
    sql = f"SELECT row FROM tumors WHERE {condition} ORDER BY row"
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
        for row, case_id, patient, place, *values in database.execute(sql, some):
            found[row] = IndexedTumor(case_id, patient, place, _tumor(values))
    return [found[row] for row in rows]


def read_case(database: sqlite3.Connection, case_id: str) -> Case | None:
    """A case with its tumors; None if there is none of that id."""
    sql = "SELECT patient, t1c, flair, mask, provenance, recipe FROM cases WHERE id = ?"
    record = database.execute(sql, (case_id,)).fetchone()
    if record is None:
        return None
    patient, *paths, provenance, recipe = record
    return Case(
        case_id,
        patient,
        *(None if path is None else Path(path) for path in paths),
        tumors=tuple(found.record for found in read_tumors(database, rows_of_case(database, case_id))),
        provenance=provenance,
        recipe=None if recipe is None else SyntheticRecipe(**json.loads(recipe)),
    )


def insert(database: sqlite3.Connection, cases: Iterable[Case], first_row: int) -> None:
    """Add cases; their tumors get the rows from `first_row` on."""
    row = first_row
    for case in cases:
        # Absolute, because the index may be read from another working folder.
        paths = [None if path is None else str(Path(path).absolute()) for path in (case.t1c, case.flair, case.mask)]
        recipe = None if case.recipe is None else json.dumps(asdict(case.recipe))
        values = (case.id, case.patient, *paths, case.provenance, recipe)
        database.execute("INSERT INTO cases VALUES (?, ?, ?, ?, ?, ?, ?)", values)
        for place, tumor in enumerate(case.tumors):
            values = (row, case.id, place, *_values(tumor))
            database.execute(f"INSERT INTO tumors VALUES ({', '.join('?' * len(values))})", values)
            row += 1


def remove(database: sqlite3.Connection, case_ids: Iterable[str], kept: np.ndarray) -> None:
    """Delete cases and close the gaps in the rows.

    :param kept: the rows that stay, ascending; they become 0, 1, 2, ...
    """
    keys = [(case_id,) for case_id in case_ids]
    database.executemany("DELETE FROM tumors WHERE case_id = ?", keys)
    database.executemany("DELETE FROM cases WHERE id = ?", keys)
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
