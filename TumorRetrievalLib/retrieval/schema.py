"""The tables of a case index, and how those of an earlier version become today's.

Version 1 knew absolute paths, and nothing about masks but their file. An index of an earlier version is read as it is
and becomes today's in memory; the first write puts that on disk.
"""

import sqlite3
from pathlib import Path

from TumorRetrievalLib.errors import IndexDamaged
from TumorRetrievalLib.retrieval.archive_paths import common_folder, relative_file, stored_root
from TumorRetrievalLib.retrieval.index_manifest import SCHEMA_VERSION, WAY_OUT

_TUMORS_1 = """CREATE TABLE tumors (
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
)"""

_TABLES_1 = {
    "cases": """CREATE TABLE cases (
    id TEXT PRIMARY KEY NOT NULL,
    patient TEXT NOT NULL,
    t1c TEXT,
    flair TEXT,
    mask TEXT,
    provenance TEXT NOT NULL,
    recipe TEXT
) WITHOUT ROWID""",
    "tumors": _TUMORS_1,
}

_TABLES_2 = {
    # Where the files of cases lie: relative to the index's folder, or absolute where that is impossible.
    "archives": """CREATE TABLE archives (
    id INTEGER PRIMARY KEY,
    root TEXT NOT NULL UNIQUE
)""",
    # t1c, flair and mask are relative to the archive; kept_mask names a file of the index's own folder of masks.
    "cases": """CREATE TABLE cases (
    id TEXT PRIMARY KEY NOT NULL,
    patient TEXT NOT NULL,
    archive INTEGER REFERENCES archives(id),
    t1c TEXT,
    flair TEXT,
    mask TEXT,
    kept_mask TEXT,
    mask_labels TEXT,
    mask_origin TEXT,
    voxels_sha256 TEXT,
    provenance TEXT NOT NULL,
    recipe TEXT
) WITHOUT ROWID""",
    "tumors": _TUMORS_1.replace("atlas_mm TEXT,", "atlas_mm TEXT,\n    marker TEXT,"),
}

_TABLES = {1: _TABLES_1, 2: _TABLES_2}


def create_tables(database: sqlite3.Connection) -> None:
    """The tables of today's version."""
    for sql in _TABLES[SCHEMA_VERSION].values():
        database.execute(sql)


def require_tables(database: sqlite3.Connection, schema: int, where: Path) -> None:
    """Whether a database holds the tables of its version and nothing else: no view or trigger of somebody's own.

    :raises IndexDamaged: if it does not.
    """
    found = dict(database.execute("SELECT name, sql FROM sqlite_master WHERE name NOT LIKE 'sqlite_autoindex_%'"))
    if found != _TABLES.get(schema):
        raise IndexDamaged(f"{where} holds other tables than a case index of schema {schema}. {WAY_OUT}")


def bring_up_to_date(database: sqlite3.Connection, schema: int, folder: Path) -> None:
    """Turn the tables of an earlier version into today's.

    :param database: a copy in memory.
    :param folder: of the index.
    """
    if schema == 1:
        with database:
            _from_1_to_2(database, folder)


def _from_1_to_2(database: sqlite3.Connection, folder: Path) -> None:
    for name in _TABLES_1:
        database.execute(f"ALTER TABLE {name} RENAME TO old_{name}")
    create_tables(database)
    columns = [name for _, name, *_ in database.execute("PRAGMA table_info(old_tumors)")]
    named = ", ".join(columns)
    database.execute(f"INSERT INTO tumors ({named}) SELECT {named} FROM old_tumors")
    database.execute(
        "INSERT INTO cases (id, patient, t1c, flair, mask, provenance, recipe) "
        "SELECT id, patient, t1c, flair, mask, provenance, recipe FROM old_cases"
    )
    for name in ("tumors", "cases"):
        database.execute(f"DROP TABLE old_{name}")
    with_files = database.execute("SELECT id, t1c, flair, mask FROM cases WHERE coalesce(t1c, flair, mask) IS NOT NULL")
    files_of = {case_id: files for case_id, *files in with_files}
    if not files_of:
        return
    root = common_folder(Path(file) for files in files_of.values() for file in files if file is not None)
    database.execute("INSERT INTO archives VALUES (1, ?)", (stored_root(root, folder),))
    for case_id, files in files_of.items():
        relative = [None if file is None else relative_file(Path(file), root) for file in files]
        database.execute(
            "UPDATE cases SET archive = 1, t1c = ?, flair = ?, mask = ? WHERE id = ?", (*relative, case_id)
        )
