"""A map of the index: every known tumor as a point, similar ones close together (Pisov et al. 2018, figure 5).

t-SNE of the embeddings, with their blocks weighted as the similarity weighs them by default: the squared distance of
two tumors is then twice what their similarity lacks to one. It takes tens of seconds and is kept in the user's cache,
for as long as the index and the weights are the same.

A tumor that is not on the map, such as the patient's, is placed without moving the others: in the median of its nearest
neighbours on the map, which is how Poličar et al. 2021 ("Embedding to reference t-SNE space", Machine Learning) place
new points; they then let each of them settle, which would say no more to a reader.
"""

import hashlib
import json
import multiprocessing
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from TumorRetrievalLib.cohort.case import Tumor
from TumorRetrievalLib.engine.known_cases import cache_folder
from TumorRetrievalLib.engine.rerank import TumorId, embedding_of
from TumorRetrievalLib.errors import CannotWrite, MissingPackage, UnreadableFile
from TumorRetrievalLib.imaging.arrays import read_array
from TumorRetrievalLib.imaging.atomic import atomic_file
from TumorRetrievalLib.retrieval.blocks import DEFAULT_WEIGHTS, EmbeddingLayout
from TumorRetrievalLib.retrieval.case_index import CaseIndex

MOST_TUMORS = 5000
"""Of a larger index, cases are drawn (seeded) until about so many tumors are on the map."""
MAP_VERSION = 1
"""Part of a kept map's name. Raise it whenever the same index would give another map."""
PERPLEXITY = 30.0
NEIGHBOURS = 10

_USUAL_S = 25.0
_LOOK_S = 0.2

Progress = Callable[[float, str], None]


@dataclass(frozen=True, eq=False)
class IndexMap:
    """Known tumors in the plane.

    :param tumors: (id of the case, tumor) of each point.
    :param embeddings: shape (n, D).
    :param points: shape (n, 2); the extent in both directions is at most from -1 to 1.
    """

    tumors: list[tuple[str, Tumor]]
    embeddings: np.ndarray
    points: np.ndarray
    layout: EmbeddingLayout

    def place(self, embeddings: np.ndarray) -> np.ndarray:
        """Where tumors would lie that may not be on the map, shape (m, 2).

        :param embeddings: shape (m, D). A block that a tumor does not have is left out of the comparison.
        """
        placed = []
        for embedding, known in zip(embeddings, self.layout.known_blocks(embeddings), strict=True):
            asked = np.repeat(known, [size for _, size in self.layout.blocks])
            wanted = as_distances(embedding[None], self.layout)[0]
            distances = (((self._features - wanted) * asked) ** 2).sum(axis=1)
            nearest = np.argsort(distances, kind="stable")[:NEIGHBOURS]
            # A tumor of the map itself stays where it is.
            same = distances[nearest[0]] < 1e-9
            placed.append(self.points[nearest[0]] if same else np.median(self.points[nearest], axis=0))
        return np.array(placed, dtype=float).reshape(-1, 2)

    @cached_property
    def _features(self) -> np.ndarray:
        return as_distances(self.embeddings, self.layout)


def as_distances(embeddings: np.ndarray, layout: EmbeddingLayout) -> np.ndarray:
    """Embeddings, shape (n, D), scaled block by block so that squared distances are 2 - 2 x similarity."""
    weights = np.array([DEFAULT_WEIGHTS.get(name, 0.0) for name in layout.names])
    sizes = [size for _, size in layout.blocks]
    return embeddings * np.repeat(np.sqrt(weights / weights.sum()), sizes).astype(np.float32)


def map_of(index: CaseIndex, progress: Progress | None = None) -> IndexMap:
    """The map of an index: the kept one, or made now.

    :param progress: called a few times a second; whatever it raises stops the work.
    :raises MissingPackage: if scikit-learn is not installed.
    """
    report = progress or (lambda fraction, message: None)
    report(0.0, "Looking up the known cases")
    tumors, embeddings = _on_the_map(index)
    path = cache_folder() / f"map-{_key(index)}.npy"
    points = _kept(path, len(tumors))
    if points is None:
        points = _normalised(_tsne_elsewhere(as_distances(embeddings, index.layout), report))
        _keep(path, points)
    report(1.0, "The map is ready")
    return IndexMap(tumors, embeddings, points, index.layout)


def _on_the_map(index: CaseIndex) -> tuple[list[tuple[str, Tumor]], np.ndarray]:
    """The tumors of all cases, or of as many cases as fit, with their embeddings."""
    case_ids = index.case_ids()
    if len(index) > MOST_TUMORS:
        drawn = np.random.default_rng(0).permutation(len(case_ids))[: MOST_TUMORS * len(case_ids) // len(index)]
        case_ids = [case_ids[number] for number in sorted(drawn)]
    tumors = [(case_id, tumor) for case_id in case_ids for tumor in index.get(case_id).tumors]
    parts = [index.vectors_of(case_id) for case_id in case_ids]
    return tumors, np.concatenate([np.zeros((0, index.layout.size), np.float32), *parts])


def _key(index: CaseIndex) -> str:
    """Names everything that decides where the points lie."""
    manifest = index.manifest
    parts = [MAP_VERSION, manifest.generation, manifest.model_hash, manifest.layout_hash, manifest.vectors_sha256,
             manifest.cases_sha256, dict(DEFAULT_WEIGHTS), PERPLEXITY, MOST_TUMORS]  # fmt: skip
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:20]


def _kept(path: Path, count: int) -> np.ndarray | None:
    """The points of a kept map; None if there is none, or it is damaged (it will be made again)."""
    try:
        points = read_array(path, "It will be made again.")
    except UnreadableFile:
        return None
    whole = points.shape == (count, 2) and points.dtype.kind == "f" and np.isfinite(points).all()
    return points if whole else None


def _keep(path: Path, points: np.ndarray) -> None:
    """Cache a map; a full or read-only disk only costs the next call its seconds."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with atomic_file(path) as temporary, open(temporary, "wb") as file:
            np.save(file, points)
    except (OSError, CannotWrite):
        return


def _normalised(points: np.ndarray) -> np.ndarray:
    """Around the origin, at one scale in both directions, from -1 to 1."""
    if len(points) == 0:
        return np.zeros((0, 2))
    middle = (points.min(axis=0) + points.max(axis=0)) / 2
    return (points - middle) / max(np.abs(points - middle).max(), 1e-9)


def _tsne_elsewhere(features: np.ndarray, report: Progress) -> np.ndarray:
    """t-SNE in a process of its own: it cannot be interrupted, and a process can be ended."""
    context = multiprocessing.get_context("spawn")
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=_send_tsne, args=(features, sender), daemon=True)
    process.start()
    sender.close()
    began = time.monotonic()
    try:
        while not receiver.poll(_LOOK_S):
            elapsed = time.monotonic() - began
            report(elapsed / (elapsed + _USUAL_S), f"Drawing the map of {len(features)} known tumors, once")
        answer = receiver.recv()
    except EOFError:
        raise MissingPackage("The map could not be drawn: its process ended. The log says why.") from None
    finally:
        process.terminate()
        process.join()
        receiver.close()
    if isinstance(answer, str):
        raise MissingPackage(f"The map needs the Python package scikit-learn, which cannot be loaded ({answer}).")
    return answer


def _send_tsne(features: np.ndarray, sender) -> None:
    """The work of that process."""
    try:
        sender.send(tsne(features))
    except ImportError as error:
        sender.send(str(error))


def tsne(features: np.ndarray) -> np.ndarray:
    """Points of the plane for rows of features, shape (n, 2): t-SNE begun at the principal components, seeded."""
    from sklearn.manifold import TSNE

    if len(features) < 4:  # too few for any neighbourhood
        return np.stack([np.arange(len(features), dtype=float), np.zeros(len(features))], axis=1)
    perplexity = min(PERPLEXITY, (len(features) - 1) / 3)
    return TSNE(2, perplexity=perplexity, init="pca", random_state=0).fit_transform(features)


def positions_of(index: CaseIndex, known: IndexMap, wanted: list[TumorId]) -> np.ndarray:
    """Where some tumors of the index lie, on the map or placed there; shape (m, 2).

    :raises UnknownCase: if one is not in the index.
    """
    rows = [embedding_of(index, *tumor) for tumor in wanted]
    return known.place(np.array(rows, np.float32).reshape(len(rows), index.layout.size))
