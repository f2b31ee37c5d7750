"""The case index on a Qdrant server, for what several machines share: it finds the same as `CaseIndex`, id for id.

A collection holds one point for each tumor (its embedding and labels), one for each case, and one that says what made
the embeddings. The server lists candidates with its exact search; they are scored here, as those of FAISS are.
"""

import contextlib
from collections.abc import Iterable, Iterator, Mapping

import numpy as np

from TumorRetrievalLib.cohort.case import Case
from TumorRetrievalLib.errors import (
    CannotWrite,
    CaseAlreadyIndexed,
    IndexDamaged,
    IndexOfAnotherModel,
    IndexUnreachable,
    UnknownCase,
    UnreadableFile,
)
from TumorRetrievalLib.retrieval import qdrant_records as records
from TumorRetrievalLib.retrieval.blocks import DEFAULT_LAYOUT, EmbeddingLayout, block_shares, similarities
from TumorRetrievalLib.retrieval.filters import COLUMNS, Filters
from TumorRetrievalLib.retrieval.hit import Hit
from TumorRetrievalLib.retrieval.index_manifest import Manifest
from TumorRetrievalLib.retrieval.vector_search import rounding_margin

_VECTOR = "embedding"
_SPARE, _MORE = 16, 4
_POINTS_AT_ONCE = 256


class QdrantIndex:
    """Cases with their tumors on a server. Made by `create` or `open`; `close` it, or use `with`.

    Unlike the index in a folder it has no generations: other writers' changes are seen at once, and whoever adds cases
    is cut off in the middle leaves whole cases, the last of which is taken back.

    :ivar folder: the address, for messages.
    """

    def __init__(self, client, collection: str, manifest: Manifest, folder: str):
        self._client, self._collection = client, collection
        self.manifest, self.folder = manifest, folder
        self.layout = EmbeddingLayout(manifest.blocks)

    @classmethod
    def create(
        cls,
        client,
        collection: str,
        model_hash: str,
        layout: EmbeddingLayout = DEFAULT_LAYOUT,
        *,
        folder: str = "qdrant",
    ) -> "QdrantIndex":
        """A new, empty index.

        :param client: a `qdrant_client.QdrantClient`; see `retrieval.qdrant_server` for one from an address.
        :raises CannotWrite: if there is such a collection.
        :raises IndexUnreachable: if the server does not answer.
        """
        from qdrant_client import models

        with _answering(folder):
            if client.collection_exists(collection):
                raise CannotWrite(f"{folder} exists already. Open it, or choose another name.")
            vectors = {_VECTOR: models.VectorParams(size=layout.size, distance=models.Distance.DOT)}
            client.create_collection(collection, vectors_config=vectors)
            if not _is_local(client):  # one that runs in this process has no indexes of payloads
                for key in ("kind", "case", "patient", *COLUMNS.values()):
                    client.create_payload_index(collection, key, models.PayloadSchemaType.KEYWORD)
                client.create_payload_index(collection, "blocks", models.PayloadSchemaType.INTEGER)
                client.create_payload_index(collection, "core_ml", models.PayloadSchemaType.FLOAT)
            said = {"kind": "manifest", "model_hash": model_hash, "layout_hash": layout.hash,
                    "layout": [list(block) for block in layout.blocks]}  # fmt: skip
            client.upsert(
                collection, [models.PointStruct(id=records.MANIFEST_POINT, vector={}, payload=said)], wait=True
            )
        return cls.open(client, collection, folder=folder)

    @classmethod
    def open(
        cls, client, collection: str, expected_model_hash: str | None = None, *, folder: str = "qdrant"
    ) -> "QdrantIndex":
        """An index that is there.

        :param expected_model_hash: the model and preprocessing in use; None: any.
        :raises UnreadableFile: if the collection is not there, or no index of cases.
        :raises IndexOfAnotherModel: if its vectors were made by another model, preprocessing or layout.
        :raises IndexUnreachable: if the server does not answer.
        """
        with _answering(folder):
            found = []
            if client.collection_exists(collection):
                found = client.retrieve(collection, [records.MANIFEST_POINT], with_payload=True)
        if not found:
            raise UnreadableFile(f"{folder} holds no case index. Check the address and the name of the collection.")
        said = found[0].payload
        blocks = tuple((str(name), int(size)) for name, size in said["layout"])
        made_by_us = EmbeddingLayout(blocks).hash == said["layout_hash"]
        if not made_by_us or expected_model_hash not in (None, said["model_hash"]):
            raise IndexOfAnotherModel(
                f"The vectors of the index {folder} were made by another model or version of TumorRetrieval "
                f"({said['model_hash'][:12]}). Use that one, or upload an index that was built with this one."
            )
        return cls(client, collection, Manifest(0, said["model_hash"], blocks, said["layout_hash"], 0, 0), folder)

    def close(self) -> None:
        """End the connection."""
        self._client.close()

    def __enter__(self) -> "QdrantIndex":
        return self

    def __exit__(self, *_):
        self.close()

    def __len__(self) -> int:
        """The number of tumors."""
        return self._count("tumor")

    def __contains__(self, case_id: str) -> bool:
        with _answering(self.folder):
            return bool(self._client.retrieve(self._collection, [records.case_point(case_id)], with_payload=False))

    def case_ids(self) -> list[str]:
        """The ids of all cases, in order."""
        return sorted(point.payload["case"] for point in self._all("case", ["case"]))

    def get(self, case_id: str) -> Case:
        """A case with all its tumors.

        :raises UnknownCase: if the index has no such case.
        """
        with _answering(self.folder):
            found = self._client.retrieve(self._collection, [records.case_point(case_id)], with_payload=True)
        if not found:
            raise UnknownCase(f"The index {self.folder} has no case {case_id!r}.")
        tumors = self._tumors_of(case_id, found[0].payload["tumors"])
        return records.case_of(found[0].payload, [records.tumor_of(point.payload) for point in tumors])

    def vectors_of(self, case_id: str) -> np.ndarray:
        """The embeddings of a case's tumors, in the order of its tumors; shape (tumors, D), float32."""
        return self._vectors(self._tumors_of(case_id, len(self.get(case_id).tumors)))

    def stats(self) -> dict:
        """How much the index holds, of what, and made by what: plain values, ready for JSON."""
        types: dict[str, int] = {}
        for point in self._all("tumor", ["type"]):
            name = point.payload.get("type", "unknown")
            types[name] = types.get(name, 0) + 1
        return {
            "cases": self._count("case"),
            "tumors": sum(types.values()),
            "types": dict(sorted(types.items())),
            "model": self.manifest.model_hash,
            "blocks": dict(self.manifest.blocks),
            "search": "qdrant",
        }

    # Searching

    def search(
        self,
        vectors: np.ndarray,
        k: int,
        filters: Filters | None = None,
        weights: Mapping[str, float] | None = None,
    ) -> list[list[Hit]]:
        """The k most similar tumors of each query; see `CaseIndex.search`."""
        if k < 1:
            raise ValueError(f"k must be at least 1, not {k}.")
        queries = [self.layout.query_vector(embedding, weights) for embedding in self.layout.check(vectors)]
        with _answering(self.folder):
            patterns = [hit.value for hit in self._client.facet(self._collection, "blocks", limit=1 << 10).hits]
            return [self._nearest(query, k, filters or Filters(), patterns) for query in queries]

    def _nearest(self, query: np.ndarray, k: int, filters: Filters, patterns: list[int]) -> list[Hit]:
        counted = _bits(self.layout, query[None])[0]
        points = [
            point
            for blocks in patterns
            if blocks & counted
            for point in self._candidates(query, k, records.conditions(filters, blocks))
        ]
        shares = block_shares(query, self._vectors(points), self.layout)
        scores = similarities(shares)
        order = sorted(
            np.flatnonzero(np.isfinite(scores)),
            key=lambda i: (-scores[i], points[i].payload["case"], points[i].payload["place"]),
        )
        return [
            Hit(
                points[i].payload["case"],
                float(scores[i]),
                dict(zip(self.layout.names, shares[i].tolist(), strict=True)),
                points[i].payload["patient"],
                points[i].payload["place"],
                records.tumor_of(points[i].payload),
            )
            for i in order[:k]
        ]

    def _candidates(self, query: np.ndarray, k: int, wanted) -> list:
        """Points that certainly contain the k best, and all that tie with the last of them within rounding."""
        from qdrant_client import models

        exact = None if _is_local(self._client) else models.SearchParams(exact=True)
        limit = k + _SPARE
        while True:
            found = self._client.query_points(
                self._collection, query=query.astype(np.float32).tolist(), using=_VECTOR, query_filter=wanted,
                limit=limit, search_params=exact, with_payload=True, with_vectors=[_VECTOR],
            ).points  # fmt: skip
            if len(found) < limit or found[-1].score < found[k - 1].score - rounding_margin(len(query)):
                return found
            limit *= _MORE

    # Writing

    def add(self, cases: Iterable[Case], vectors: Iterable[np.ndarray]) -> None:
        """Add cases; if anything fails, those that this call has added are removed again.

        :param vectors: for each case the embeddings of its tumors, shape (tumors, D).
        :raises CaseAlreadyIndexed: if a case is in the index, or twice among `cases`.
        :raises IndexUnreachable: if the server does not answer.
        :raises ValueError: if vectors and tumors do not fit together.
        """
        cases, parts = list(cases), [self.layout.check(part) for part in vectors]
        if [len(case.tumors) for case in cases] != [len(part) for part in parts]:
            raise ValueError("Every case needs one vector for each of its tumors.")
        seen: set[str] = set()
        for case in cases:
            if case.id in seen or case.id in self:
                raise CaseAlreadyIndexed(
                    f"The case {case.id!r} is in the index already. Remove it first to replace it."
                )
            seen.add(case.id)
        points = [point for case, part in zip(cases, parts, strict=True) for point in self._points(case, part)]
        try:
            with _answering(self.folder):
                for start in range(0, len(points), _POINTS_AT_ONCE):
                    self._client.upsert(self._collection, points[start : start + _POINTS_AT_ONCE], wait=True)
        except BaseException:
            with contextlib.suppress(IndexUnreachable):
                self._delete(seen)
            raise

    def _points(self, case: Case, vectors: np.ndarray) -> Iterator:
        from qdrant_client.models import PointStruct

        bits = _bits(self.layout, vectors)
        for place, vector in enumerate(vectors):
            payload = records.tumor_payload(case, place, int(bits[place]))
            yield PointStruct(
                id=records.tumor_point(case.id, place), vector={_VECTOR: vector.tolist()}, payload=payload
            )
        yield PointStruct(id=records.case_point(case.id), vector={}, payload=records.case_payload(case))

    def remove(self, case_ids: Iterable[str]) -> None:
        """Remove cases.

        :raises UnknownCase: if one is not in the index; then none is removed.
        """
        case_ids = sorted(set(case_ids))
        for case_id in case_ids:
            if case_id not in self:
                raise UnknownCase(f"The index {self.folder} has no case {case_id!r}.")
        self._delete(case_ids)

    def _delete(self, case_ids: Iterable[str]) -> None:
        from qdrant_client import models

        among = models.FieldCondition(key="case", match=models.MatchAny(any=sorted(case_ids)))
        with _answering(self.folder):
            selector = models.FilterSelector(filter=models.Filter(must=[among]))
            self._client.delete(self._collection, selector, wait=True)

    def verify(self) -> None:
        """Read every point and look whether cases, tumors and vectors fit together.

        :raises IndexDamaged: if they do not.
        """
        expected = {point.payload["case"]: point.payload["tumors"] for point in self._all("case", ["case", "tumors"])}
        found: dict[str, int] = {}
        for point in self._all("tumor", ["case"], vectors=True):
            found[point.payload["case"]] = found.get(point.payload["case"], 0) + 1
            try:
                sound = bool(np.isfinite(self.layout.check(self._vectors([point]))).all())
            except ValueError:
                sound = False
            if not sound:
                raise IndexDamaged(f"{self.folder}: a vector of the case {point.payload['case']!r} is damaged.")
        for case_id in sorted({*expected, *found}):
            if expected.get(case_id) != found.get(case_id, 0):
                raise IndexDamaged(
                    f"{self.folder}: the case {case_id!r} and its tumors do not fit together. Remove and add it anew."
                )

    # Reading points

    def _tumors_of(self, case_id: str, count: int) -> list:
        ids = [records.tumor_point(case_id, place) for place in range(count)]
        with _answering(self.folder):
            points = self._client.retrieve(self._collection, ids, with_payload=True, with_vectors=[_VECTOR])
        return sorted(points, key=lambda point: point.payload["place"])

    def _vectors(self, points: list) -> np.ndarray:
        rows = [point.vector[_VECTOR] for point in points]
        return np.array(rows, dtype=np.float32).reshape(len(rows), self.layout.size)

    def _all(self, kind: str, keys: list[str], *, vectors: bool = False) -> Iterator:
        offset = None
        while True:
            with _answering(self.folder):
                points, offset = self._client.scroll(
                    self._collection, scroll_filter=_kind(kind), limit=_POINTS_AT_ONCE, offset=offset,
                    with_payload=keys, with_vectors=[_VECTOR] if vectors else False,
                )  # fmt: skip
            yield from points
            if offset is None:
                return

    def _count(self, kind: str) -> int:
        with _answering(self.folder):
            return self._client.count(self._collection, count_filter=_kind(kind), exact=True).count


def _kind(kind: str):
    from qdrant_client import models

    return models.Filter(must=[models.FieldCondition(key="kind", match=models.MatchValue(value=kind))])


def _is_local(client) -> bool:
    """Whether it keeps its points in this process, as tests do."""
    return "local" in type(client._client).__module__


def _bits(layout: EmbeddingLayout, vectors: np.ndarray) -> np.ndarray:
    """Which blocks each vector has, as bits of a number; shape (n,)."""
    return layout.known_blocks(vectors) @ (1 << np.arange(len(layout.blocks)))


@contextlib.contextmanager
def _answering(folder: str) -> Iterator[None]:
    """:raises IndexUnreachable: instead of what the client raises when the server does not do what it is asked."""
    from qdrant_client.http.exceptions import ApiException

    try:
        yield
    except ApiException as error:
        raise IndexUnreachable(
            f"The index {folder} does not answer ({error}). Check address, key and server."
        ) from error
