"""Whether the files of a case index are whole and fit together."""

from contextlib import closing
from pathlib import Path

import numpy as np

from TumorRetrievalLib.errors import IndexDamaged
from TumorRetrievalLib.imaging.atomic import sha256_of
from TumorRetrievalLib.retrieval import generations, store
from TumorRetrievalLib.retrieval.blocks import EmbeddingLayout
from TumorRetrievalLib.retrieval.index_manifest import WAY_OUT


def verify_index(folder: Path, *, every_record: bool = False) -> None:
    """Read every byte of an index, and look whether cases, tumors, vectors and masks fit together.

    :param every_record: also read each case and tumor as one: for an index that somebody else has written.
    :raises IndexDamaged: if they do not; the message says where.
    :raises UnreadableFile: if the index is gone.
    """
    manifest, database, vectors = generations.load(folder)
    with closing(database):
        problem = (
            store.problem_with(database)
            or _problem_with_vectors(vectors, EmbeddingLayout(manifest.blocks))
            or _problem_with_masks(folder, store.kept_masks(database))
        )
        if problem is None and every_record:
            problem = _problem_with_records(folder, database)
    if problem is not None:
        raise IndexDamaged(f"The index {folder} contradicts itself: {problem}. {WAY_OUT}")


def _problem_with_vectors(vectors: np.ndarray, layout: EmbeddingLayout) -> str | None:
    try:
        layout.check(vectors)
    except ValueError as error:
        return str(error)
    return None if np.all(np.isfinite(vectors)) else "a vector holds a number that is not finite"


def _problem_with_masks(folder: Path, kept: set[str]) -> str | None:
    for sha256 in sorted(kept):
        path = store.kept_mask_path(folder, sha256)
        if not path.is_file():
            return f"{path} is missing"
        if sha256_of(path) != sha256:
            return f"{path} fails its checksum"
    return None


def _problem_with_records(folder: Path, database) -> str | None:
    for case_id in store.case_ids(database):
        try:
            store.read_case(database, case_id, folder)
        except IndexDamaged as error:
            return str(error).removesuffix(f". {WAY_OUT}")
    return None
