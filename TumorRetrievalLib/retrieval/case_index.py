"""The case index: known cases, found by the similarity of their tumors.

The truth is an SQLite file of cases and tumors and a file of vectors, one per tumor. What search needs is built from
them in memory, so an index that is open stays what it was when it was opened, whatever a writer does to the files.
"""

import sqlite3
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np

from TumorRetrievalLib.cohort.case import Case
from TumorRetrievalLib.errors import (
    CannotWrite,
    CaseAlreadyIndexed,
    UnknownCase,
)
from TumorRetrievalLib.retrieval import generations, store
from TumorRetrievalLib.retrieval.archive_paths import root_on_disk, stored_root
from TumorRetrievalLib.retrieval.best_search import best_search
from TumorRetrievalLib.retrieval.blocks import DEFAULT_LAYOUT, EmbeddingLayout, block_shares, similarities
from TumorRetrievalLib.retrieval.filters import Filters
from TumorRetrievalLib.retrieval.hit import Hit
from TumorRetrievalLib.retrieval.index_manifest import LOCK, MANIFEST, Manifest, read_manifest
from TumorRetrievalLib.retrieval.vector_search import VectorSearch
from TumorRetrievalLib.retrieval.verification import verify_index
from TumorRetrievalLib.retrieval.writer_lock import WriterLock

_FILTERS_KEPT = 4
_SCORED_AT_ONCE = 1 << 16
_NO_ROWS = np.zeros(0, dtype=np.int64)


class CaseIndex:
    """Cases with their tumors, on disk and searchable. Made by `create` or `open`; `close` it, or use `with`."""

    def __init__(
        self,
        folder: Path,
        manifest: Manifest,
        database: sqlite3.Connection,
        vectors: np.ndarray,
        lock: WriterLock | None,
        search: type[VectorSearch] | None,
    ):
        self.folder = folder
        self.manifest = manifest
        self.layout = EmbeddingLayout(manifest.blocks)
        self._database = database
        self._vectors = vectors
        self._lock = lock
        self._make_search = search or best_search
        self._forget_what_was_derived()

    @classmethod
    def create(
        cls,
        folder,
        model_hash: str,
        layout: EmbeddingLayout = DEFAULT_LAYOUT,
        *,
        search: type[VectorSearch] | None = None,
    ) -> "CaseIndex":
        """A new, empty index, open for writing.

        :param folder: where it will be; made if it is not there.
        :param model_hash: names the model and preprocessing whose embeddings it will hold.
        :param search: which search to use; None: FAISS where it is installed, else NumPy.
        :raises CannotWrite: if there is an index already, or the folder cannot be written.
        :raises IndexBusy: if another process is making it.
        """
        manifest = Manifest(0, model_hash, layout.blocks, layout.hash, cases=0, tumors=0)
        vectors = np.zeros((0, layout.size), dtype=np.float32)
        return cls._make(Path(folder), manifest, store.empty_database(), vectors, search, replace_old=False)

    @classmethod
    def open(
        cls,
        folder,
        expected_model_hash: str | None = None,
        *,
        writable: bool = False,
        search: type[VectorSearch] | None = None,
    ) -> "CaseIndex":
        """An index from disk, with every byte compared to its checksums.

        :param expected_model_hash: the model and preprocessing in use; None: any.
        :param writable: hold the writer's lock until `close`. Readers need no permission to write.
        :param search: which search to use; None: FAISS where it is installed, else NumPy.
        :raises UnreadableFile: if there is no index.
        :raises IndexDamaged: if a file is missing, changed, or not what it should be.
        :raises IndexOfAnotherModel: if its vectors were made by another model, preprocessing or layout.
        :raises IndexBusy: if `writable` and another process is writing to it.
        """
        folder = Path(folder)
        read_manifest(folder)  # says that there is no index before a lock file is left in its place
        lock = WriterLock(folder / LOCK) if writable else None
        try:
            manifest, database, vectors = generations.load(folder)
            generations.require_model(folder, manifest, expected_model_hash)
            if writable:
                generations.clear_litter(folder)
                generations.clear_masks(folder, database)
            return cls(folder, manifest, database, vectors, lock, search)
        except BaseException:
            if lock is not None:
                lock.release()
            raise

    @classmethod
    def _make(
        cls, folder: Path, manifest: Manifest, database, vectors, search, replace_old: bool, masks: Iterable[Path] = ()
    ) -> "CaseIndex":
        """Write an index into a folder; one that is there is refused, or replaced in one step."""
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise CannotWrite(f"{folder} cannot be made: {error.strerror or error}. Choose another folder.") from error
        lock = WriterLock(folder / LOCK)
        try:
            if (folder / MANIFEST).exists() and not replace_old:
                raise CannotWrite(f"{folder} holds a case index already. Open that one, or choose another folder.")
            for mask in masks:
                generations.keep_mask(folder, mask)
            manifest = generations.commit(folder, manifest, database, vectors)
            return cls(folder, manifest, database, vectors, lock, search)
        except BaseException:
            lock.release()
            raise

    def close(self) -> None:
        """Give back the memory, and the writer's lock."""
        self._database.close()
        if self._lock is not None:
            self._lock.release()

    def __enter__(self) -> "CaseIndex":
        return self

    def __exit__(self, *_):
        self.close()

    def __len__(self) -> int:
        """The number of tumors."""
        return self.manifest.tumors

    def __contains__(self, case_id: str) -> bool:
        return store.has_case(self._database, case_id)

    def case_ids(self) -> list[str]:
        """The ids of all cases, in order."""
        return store.case_ids(self._database)

    def get(self, case_id: str) -> Case:
        """A case with all its tumors.

        :raises UnknownCase: if the index has no such case.
        """
        case = store.read_case(self._database, case_id, self.folder)
        if case is None:
            raise UnknownCase(f"The index {self.folder} has no case {case_id!r}.")
        return case

    def vectors_of(self, case_id: str) -> np.ndarray:
        """The embeddings of a case's tumors, in the order of its tumors; shape (tumors, D), float32."""
        return self._vectors[store.rows_of_case(self._database, case_id)]

    def stats(self) -> dict:
        """How much the index holds, of what, and made by what: plain values, ready for JSON."""
        return {
            "cases": self.manifest.cases,
            "tumors": self.manifest.tumors,
            "types": store.count_by_type(self._database),
            "generation": self.manifest.generation,
            "model": self.manifest.model_hash,
            "blocks": dict(self.manifest.blocks),
            "search": self._search.name,
        }

    # Searching

    def search(
        self,
        vectors: np.ndarray,
        k: int,
        filters: Filters | None = None,
        weights: Mapping[str, float] | None = None,
    ) -> list[list[Hit]]:
        """The k most similar tumors of each query: exact, the best first, equal ones in the order of their cases' ids.

        :param vectors: embeddings of the tumors asked about, shape (q, D).
        :param k: how many; fewer come back if the index has no more that match.
        :param filters: which tumors may be found; None: all.
        :param weights: block -> weight; None: `DEFAULT_WEIGHTS`.
        :returns: one list for each query.
        :raises NothingToCompare: if a query has no block with a weight.
        :raises ValueError: if the shape of `vectors`, k or a weight makes no sense.
        """
        if k < 1:
            raise ValueError(f"k must be at least 1, not {k}.")
        queries = [self.layout.query_vector(embedding, weights) for embedding in self.layout.check(vectors)]
        if not queries:
            return []
        # A tumor without a block shares that block's weight among the others. That rescales the scores of all tumors
        # with the same blocks alike and so keeps their order: each such subset is searched by itself.
        found = [
            self._search.candidates(np.array(queries, dtype=np.float32), k, subset)
            for blocks, subset in self._subsets(filters or Filters())
            if blocks & np.bitwise_or.reduce(self._bits_of_blocks(np.array(queries)))
        ]
        return [
            self._ranked(query, np.concatenate([_NO_ROWS, *rows]), k)
            for query, *rows in zip(queries, *found, strict=True)
        ]

    def _ranked(self, query: np.ndarray, rows: np.ndarray, k: int) -> list[Hit]:
        if len(rows) > _SCORED_AT_ONCE:  # that many tie, for example when only the predicted type counts
            starts = range(0, len(rows), _SCORED_AT_ONCE)
            parts = [rows[start : start + _SCORED_AT_ONCE] for start in starts]
            rows = np.concatenate([part[self._best(query, part, k)[0]] for part in parts])
        best, scores, shares = self._best(query, rows, k)
        tumors = store.read_tumors(self._database, rows[best].tolist())
        return [
            Hit(tumor.case, score, dict(zip(self.layout.names, its_shares, strict=True)), *tumor[1:])
            for tumor, score, its_shares in zip(tumors, scores.tolist(), shares.tolist(), strict=True)
        ]

    def _best(self, query: np.ndarray, rows: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Where among `rows` the k best are, the best first, with their scores and the shares of their blocks."""
        shares = block_shares(query, self._vectors[rows], self.layout)
        scores = similarities(shares)
        order = np.lexsort((self._rank_of_ids[rows], -scores))[:k]
        order = order[np.isfinite(scores[order])]
        return order, scores[order], shares[order]

    def _subsets(self, filters: Filters) -> list[tuple[int, object]]:
        """What a filter lets through, one subset of the search for each set of known blocks: (its bits, subset).

        The subset None is everything.
        """
        search = self._search
        if filters not in self._kept_subsets:
            if filters == Filters() and len(self._patterns) == 1:
                subsets = [(self._patterns[0], None)]
            else:
                rows = self._matching_rows(filters)
                parts = [(bits, rows[self._pattern_of_row[rows] == bits]) for bits in self._patterns]
                subsets = [(bits, search.subset(part)) for bits, part in parts if len(part)]
            self._kept_subsets[filters] = subsets
            if len(self._kept_subsets) > _FILTERS_KEPT:
                self._kept_subsets.popitem(last=False)
        self._kept_subsets.move_to_end(filters)
        return self._kept_subsets[filters]

    def _matching_rows(self, filters: Filters) -> np.ndarray:
        """The rows that a filter lets through, ascending; shape (m,), int64."""
        if self._label_columns is None:
            self._label_columns = store.label_columns(self._database)
        keep = self._label_columns.matching(filters)
        if filters.exclude_patients or filters.exclude_cases:
            keep[store.rows_left_out(self._database, filters)] = False
        return np.flatnonzero(keep)

    def _forget_what_was_derived(self) -> None:
        self._built_search = None
        self._label_columns = None
        self._kept_subsets = OrderedDict()

    @property
    def _search(self) -> VectorSearch:
        if self._built_search is None:
            self._built_search = self._make_search(self._vectors)
            self._vectors = self._built_search.vectors  # one copy is enough
            self._pattern_of_row = self._bits_of_blocks(self._vectors)
            self._patterns = np.unique(self._pattern_of_row)
            self._rank_of_ids = store.rank_of_ids(self._database)
        return self._built_search

    def _bits_of_blocks(self, vectors: np.ndarray) -> np.ndarray:
        """Which blocks each vector has, as bits of a number; shape (n,)."""
        return self.layout.known_blocks(vectors) @ (1 << np.arange(len(self.layout.blocks)))

    # Writing

    def add(
        self,
        cases: Iterable[Case],
        vectors: Iterable[np.ndarray],
        *,
        root: Path | None = None,
        masks: Mapping[str, Path] | None = None,
    ) -> None:
        """Add cases; all of them or, if anything fails, none. Each call writes the index anew, so add many at a time.

        :param cases: cases that are not in the index.
        :param vectors: for each case the embeddings of its tumors, shape (tumors, D).
        :param root: the folder of the archive that the cases' files lie in; None: the deepest that holds them all.
        :param masks: case id -> a mask (.nii.gz) that the index keeps a copy of, in the place of the case's own.
        :raises CaseAlreadyIndexed: if a case is in the index, or twice among `cases`.
        :raises CannotWrite: if the disk is full or read-only.
        :raises ValueError: if vectors and tumors do not fit together, or a file does not lie below `root`.
        """
        self._require_writable()
        cases = list(cases)
        parts = [self.layout.check(part) for part in vectors]
        if [len(case.tumors) for case in cases] != [len(part) for part in parts]:
            raise ValueError("Every case needs one vector for each of its tumors.")
        seen = set()
        for case in cases:
            if case.id in seen or case.id in self:
                raise CaseAlreadyIndexed(
                    f"The case {case.id!r} is in the index already. Remove it first to replace it."
                )
            seen.add(case.id)
        try:
            kept = {case_id: generations.keep_mask(self.folder, mask) for case_id, mask in (masks or {}).items()}
            self._write(
                self.manifest.cases + len(cases),
                lambda database: store.insert(database, cases, len(self), self.folder, root, kept),
                np.concatenate([self._vectors, *parts]),
            )
        except BaseException:
            generations.clear_masks(self.folder, self._database)
            raise

    def remove(self, case_ids: Iterable[str]) -> None:
        """Remove cases; all of them or, if anything fails, none.

        :raises UnknownCase: if one is not in the index.
        :raises CannotWrite: if the disk is full or read-only.
        """
        case_ids = sorted(set(case_ids))
        rows = [row for case_id in case_ids for row in store.rows_of_case(self._database, self.get(case_id).id)]
        kept = np.delete(np.arange(len(self)), rows)
        self._write(
            self.manifest.cases - len(case_ids),
            lambda database: store.remove(database, case_ids, kept),
            self._vectors[kept],
        )

    def roots(self) -> dict[str, int]:
        """Where archives lie, as the index keeps it (see `archive_paths`) -> the number of their cases."""
        return store.roots(self._database)

    def move_roots(self, new: Mapping[str, str]) -> None:
        """Say where archives lie now.

        :param new: root, as `roots` gives it -> the new one, as `archive_paths.stored_root` makes it.
        :raises CannotWrite: if the disk is full or read-only.
        """
        self._write(self.manifest.cases, lambda database: store.replace_roots(database, new), self._vectors)

    def case_of_voxels(self) -> dict[str, str]:
        """SHA-256 of a scan's voxels -> id of the case whose scan it is."""
        return store.case_of_voxels(self._database)

    def _require_writable(self) -> None:
        if self._lock is None:
            raise CannotWrite(f"The index {self.folder} is open for reading only. Open it with writable=True.")

    def _write(self, cases: int, change: Callable, vectors: np.ndarray) -> None:
        self._require_writable()
        database = store.changed_copy(self._database, change)
        try:
            manifest = replace(self.manifest, cases=cases, tumors=len(vectors))
            self.manifest = generations.commit(self.folder, manifest, database, vectors)
        except BaseException:
            database.close()
            raise
        self._database.close()
        self._database, self._vectors = database, vectors
        self._forget_what_was_derived()

    def snapshot(self, folder, *, replace_old: bool = False) -> None:
        """Copy the index, as it was when opened or last written, into a folder of its own: a complete index.

        :param replace_old: an index that is there already is replaced in one step; a reader finds the old or the new.
        :raises CannotWrite: if there is an index already that must not be replaced, or the folder cannot be written.
        :raises IndexBusy: if another process is writing there.
        """
        folder = Path(folder)
        roots = {root: stored_root(root_on_disk(root, self.folder), folder) for root in self.roots()}
        copy = store.changed_copy(self._database, lambda database: store.replace_roots(database, roots))
        masks = [store.kept_mask_path(self.folder, sha256) for sha256 in store.kept_masks(copy)]
        CaseIndex._make(folder, self.manifest, copy, self._vectors, None, replace_old, masks).close()

    def verify(self) -> None:
        """Read every byte on disk again and look whether cases, tumors and vectors fit together.

        :raises IndexDamaged: if they do not; the message says where.
        :raises UnreadableFile: if the index is gone.
        """
        verify_index(self.folder)
