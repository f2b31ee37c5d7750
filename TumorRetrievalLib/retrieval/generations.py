"""The files of a case index, and how they change: whole generations, and the manifest last.

A folder holds `cases-N.sqlite` and `vectors-N.npy` of the current generation N, and `manifest.json`, which names N and
the SHA-256 of both. A writer makes the files of generation N + 1 beside them and then replaces the manifest in one
step. So a reader finds generation N or N + 1, and a writer killed at any moment leaves N and some litter, which the
next one clears away. Masks that an index keeps lie in a folder of their own, named by their SHA-256; they are there
before a generation names them, and go when none does.
"""

import contextlib
import re
import shutil
import sqlite3
from dataclasses import replace
from pathlib import Path

import numpy as np

from TumorRetrievalLib.errors import CannotWrite, IndexDamaged, IndexOfAnotherModel, UnreadableFile
from TumorRetrievalLib.imaging.arrays import read_array
from TumorRetrievalLib.imaging.atomic import atomic_file, sha256_of
from TumorRetrievalLib.retrieval import store
from TumorRetrievalLib.retrieval.blocks import EmbeddingLayout
from TumorRetrievalLib.retrieval.index_manifest import (
    MANIFEST,
    SCHEMA_VERSION,
    WAY_OUT,
    Manifest,
    as_json,
    read_manifest,
)

_OUR_FILES = re.compile(
    r"(\.tmp-[0-9a-f]+-)?((cases|vectors)-(?P<number>\d+)\.(sqlite|sqlite-journal|npy)|manifest\.json)"
)

_OUR_MASKS = re.compile(r"(\.tmp-[0-9a-f]+-)?[0-9a-f]{64}\.nii\.gz")


def load(folder: Path) -> tuple[Manifest, sqlite3.Connection, np.ndarray]:
    """The current generation: manifest, database, and vectors of shape (tumors, D), their checksums compared.

    A writer may replace it meanwhile; then this is the next one.

    :raises UnreadableFile: if there is no index, or no permission to read it.
    :raises IndexDamaged: if a file is missing, changed, or not what the manifest says.
    """
    manifest = read_manifest(folder)
    while True:
        try:
            _check_files(folder, manifest)
            vectors = _read_vectors(manifest.vectors_path(folder))
            database = store.load(manifest.cases_path(folder), manifest.schema)
            break
        except FileNotFoundError as error:
            seen, manifest = manifest, read_manifest(folder)
            if manifest == seen:
                raise IndexDamaged(f"{error} is missing: the index is damaged. {WAY_OUT}") from error
    size = sum(size for _, size in manifest.blocks)
    fits = vectors.dtype == np.float32 and vectors.shape == (manifest.tumors, size)
    if not fits or store.counts(database) != (manifest.cases, manifest.tumors):
        database.close()
        raise IndexDamaged(f"The files of the index {folder} do not belong together. {WAY_OUT}")
    return manifest, database, vectors


def require_model(folder: Path, manifest: Manifest, expected_model_hash: str | None) -> None:
    """Refuse an index whose vectors cannot be compared with those made now.

    :param expected_model_hash: the model and preprocessing in use; None: any.
    :raises IndexOfAnotherModel: if they were made, or put together, in another way.
    """
    if EmbeddingLayout(manifest.blocks).hash != manifest.layout_hash:
        raise IndexOfAnotherModel(
            f"The vectors of the index {folder} were put together by another version of TumorRetrieval. "
            "Build the index again with this version."
        )
    if expected_model_hash is not None and manifest.model_hash != expected_model_hash:
        raise IndexOfAnotherModel(
            f"The vectors of the index {folder} were made by the model {manifest.model_hash[:12]}, but the model in "
            f"use is {expected_model_hash[:12]}. Use that model, or build the index again with this one."
        )


def commit(folder: Path, manifest: Manifest, database: sqlite3.Connection, vectors: np.ndarray) -> Manifest:
    """Write the next generation, make it the current one, and clear the older ones away; all or nothing.

    :param manifest: what it will say, apart from generation and checksums.
    :returns: the manifest as written.
    :raises CannotWrite: if the disk is full or the folder is read-only; the index is then what it was before.
    """
    manifest = replace(manifest, generation=_next_number(folder), schema=SCHEMA_VERSION)
    try:
        with atomic_file(manifest.cases_path(folder)) as temporary:
            store.save(database, temporary)
            cases_sha256 = sha256_of(temporary)
        with atomic_file(manifest.vectors_path(folder)) as temporary:
            with open(temporary, "wb") as file:
                np.save(file, vectors, allow_pickle=False)
            vectors_sha256 = sha256_of(temporary)
        manifest = replace(manifest, cases_sha256=cases_sha256, vectors_sha256=vectors_sha256)
        with atomic_file(folder / MANIFEST) as temporary:
            temporary.write_bytes(as_json(manifest))
        clear_masks(folder, database)
    finally:
        clear_litter(folder)
    return manifest


def keep_mask(folder: Path, mask: Path) -> str:
    """Copy a mask (.nii.gz) into an index's folder; it stays once a generation names it.

    :returns: its SHA-256, which names it from now on.
    :raises CannotWrite: if the disk is full or read-only.
    """
    sha256 = sha256_of(mask)
    kept = store.kept_mask_path(folder, sha256)
    if not kept.exists():
        try:
            kept.parent.mkdir(exist_ok=True)
        except OSError as error:
            raise CannotWrite(f"{kept.parent} cannot be made: {error.strerror or error}.") from error
        with atomic_file(kept) as temporary:
            shutil.copyfile(mask, temporary)
    return sha256


def clear_masks(folder: Path, database: sqlite3.Connection) -> None:
    """Remove the masks that no case has, and what killed writers left of them; only for the holder of the lock."""
    masks = folder / store.MASKS
    if not masks.is_dir():
        return
    wanted = {store.kept_mask_path(folder, sha256).name for sha256 in store.kept_masks(database)}
    for path in masks.iterdir():
        if path.name not in wanted and _OUR_MASKS.fullmatch(path.name):
            with contextlib.suppress(OSError):
                path.unlink()
    if not wanted:
        with contextlib.suppress(OSError):
            masks.rmdir()


def clear_litter(folder: Path) -> None:
    """Remove what earlier generations and failed or killed writers left; only for the holder of the lock."""
    for path in litter(folder):
        # On Windows a file that a reader has open stays until the next writer.
        with contextlib.suppress(OSError):
            path.unlink()


def litter(folder: Path) -> list[Path]:
    """The files of earlier generations, and of writers that failed or were killed."""
    try:
        manifest = read_manifest(folder)
    except (UnreadableFile, IndexDamaged):
        return []  # nothing tells what is litter
    current = {MANIFEST, manifest.cases_path(folder).name, manifest.vectors_path(folder).name}
    return [path for path in folder.iterdir() if path.name not in current and _OUR_FILES.fullmatch(path.name)]


def _next_number(folder: Path) -> int:
    """A generation that no file in the folder belongs to, not even one of a damaged index."""
    names = (_OUR_FILES.fullmatch(path.name) for path in folder.iterdir())
    return 1 + max((int(name["number"] or 0) for name in names if name), default=0)


def _read_vectors(path: Path) -> np.ndarray:
    """:raises FileNotFoundError: as `_check_files`. :raises IndexDamaged: if it is no file of an array."""
    try:
        return read_array(path, WAY_OUT)
    except UnreadableFile as error:
        if not path.exists():
            raise FileNotFoundError(path) from error
        raise IndexDamaged(str(error)) from error


def _check_files(folder: Path, manifest: Manifest) -> None:
    """Compare the files of a generation with their checksums.

    :raises FileNotFoundError: if one is not there: a writer may just have replaced this generation.
    :raises IndexDamaged: if one has changed.
    """
    for path, expected in (
        (manifest.cases_path(folder), manifest.cases_sha256),
        (manifest.vectors_path(folder), manifest.vectors_sha256),
    ):
        try:
            actual = sha256_of(path)
        except UnreadableFile as error:
            if not path.exists():
                raise FileNotFoundError(path) from error
            raise
        if actual != expected:
            raise IndexDamaged(f"{path} fails its checksum: the index is damaged. {WAY_OUT}")
