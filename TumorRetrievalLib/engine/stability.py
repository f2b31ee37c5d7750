"""How much the list of similar cases depends on the hand that drew the box.

The box is drawn again a few times, a little differently, as Pisov et al. 2018 distort boxes (Eq. 2); each of them is
read and looked up like the first. A case that stays in the list whatever the box is not there by chance.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from TumorRetrievalLib.engine.outline import core_box, outline_tumor
from TumorRetrievalLib.engine.patient import Patient, open_patient, tumor_reader
from TumorRetrievalLib.engine.rerank import Query, TumorId, block_weights, embedding_of, moved, rerank
from TumorRetrievalLib.errors import InvalidBox, InvalidRequest
from TumorRetrievalLib.imaging.box import Box
from TumorRetrievalLib.imaging.volume import Grid
from TumorRetrievalLib.registration.alignment import AtlasAlignment
from TumorRetrievalLib.retrieval.blocks import block_shares, similarities
from TumorRetrievalLib.retrieval.case_index import CaseIndex
from TumorRetrievalLib.retrieval.embedder import TumorReader
from TumorRetrievalLib.retrieval.embedding import embed
from TumorRetrievalLib.retrieval.filters import Filters
from TumorRetrievalLib.retrieval.ranking import nearest_tumors

JITTERS = 10
"""How often a box is drawn again: "9 of 10" is easily said, and takes seconds without a GPU."""
_ATTEMPTS = 100

Progress = Callable[[float, str], None]


@dataclass(frozen=True, eq=False)
class HitStability:
    """What became of a similar case when the box was drawn again.

    :param case: :param tumor: which tumor of the index.
    :param kept: with how many of the boxes its patient was among the k most similar ones.
    :param scores: its similarity with each box, shape (number of boxes,).
    """

    case: str
    tumor: str
    kept: int
    scores: np.ndarray

    def in_words(self) -> str:
        """As the report says it."""
        return f"stays in {self.kept} of {len(self.scores)} boxes"

    def described(self) -> dict:
        """As result.json shows it; the spread is the standard deviation of the similarity."""
        return {"kept": self.kept, "boxes": len(self.scores), "score_spread": round(float(np.std(self.scores)), 4)}


def distorted_inside(box: Box, grid: Grid, rng: np.random.Generator) -> Box:
    """A distorted box that still touches the scan.

    :raises InvalidBox: if the box lies so far out that none is found.
    """
    for _ in range(_ATTEMPTS):
        distorted = box.distorted(rng)
        try:
            distorted.voxel_hull(grid)
        except InvalidBox:
            continue
        return distorted
    raise InvalidBox("The box hardly touches the scan, so no other like it can be drawn. Draw it on the tumor.")


def jittered_embeddings(
    patient: Patient,
    box: Box,
    around: str,
    reader: TumorReader,
    *,
    count: int = JITTERS,
    seed: int = 0,
    progress: Progress | None = None,
) -> np.ndarray:
    """The embeddings of boxes drawn a little differently around the same tumor, shape (count, D).

    One after the other: on a CPU a batch of cubes is no faster, and in between the user can stop it.

    :param seed: the same seed gives the same boxes.
    :raises InvalidBox: if hardly any box like this one lies on the head.
    """
    rng = np.random.default_rng(seed)
    grid = patient.t1c.grid
    rows = []
    for _ in range(count * _ATTEMPTS):
        if len(rows) == count:
            return np.array(rows)
        if progress is not None:
            progress(len(rows) / count, f"Box {len(rows) + 1} of {count}")
        other = distorted_inside(box, grid, rng)
        try:
            reading = reader.read(patient.scan, other, around)
        except InvalidBox:  # on background alone: nobody would draw it there
            continue
        outline = None if around == "core" else outline_tumor(reading, other, around, reader, grid)
        rows.append(embed(patient.facts_about(reading, core_box(other, around, outline, grid))))
    raise InvalidBox("Boxes like this one lie on background alone. Draw the box on the tumor.")


def stability(
    index: CaseIndex,
    embeddings: np.ndarray,
    shown: Sequence[TumorId],
    k: int,
    *,
    filters: Filters | None = None,
    factors: Mapping[str, float] | None = None,
    liked: Sequence[TumorId] = (),
    disliked: Sequence[TumorId] = (),
) -> list[HitStability]:
    """How often each shown tumor's patient stays among the k most similar ones, and how its similarity varies.

    :param embeddings: of the boxes drawn again, shape (n, D).
    :param k: the length of the list; the other arguments are those of `engine.rerank.rerank`.
    """
    weights = block_weights(factors or {})
    targets = [moved(index, embedding, liked, disliked) for embedding in embeddings]
    lists = [
        {hit.patient for hit in nearest_tumors(index, target, k, filters=filters, weights=weights)}
        for target in targets
    ]
    queries = [index.layout.query_vector(target, weights) for target in targets]

    def scores_of(tumor: TumorId) -> np.ndarray:
        vector = embedding_of(index, *tumor)[None]
        return np.array([similarities(block_shares(query, vector, index.layout))[0] for query in queries])

    return [
        HitStability(case, tumor, sum(index.get(case).patient in found for found in lists), scores_of((case, tumor)))
        for case, tumor in shown
    ]


def patient_of_search(query: Query, t1c: Path, flair: Path | None) -> Patient:
    """The scans of an earlier search, placed in the atlas as they were then."""
    patient = open_patient(t1c, flair)
    if query.patient_to_atlas is not None:
        patient.place(AtlasAlignment.remembered(query.patient_to_atlas))
    return patient


def check_search(
    query: Query,
    tumor: int,
    index: CaseIndex,
    t1c: Path,
    flair: Path | None = None,
    *,
    k: int,
    model: Path | None = None,
    device: str | None = None,
    count: int = JITTERS,
    progress: Progress | None = None,
    **wishes,
) -> list[HitStability]:
    """Draw the box of an earlier search again and see which of its k most similar cases stay.

    :param tumor: which of the search's boxes.
    :param t1c: :param flair: the scans of that search.
    :param wishes: `filters`, `factors`, `liked`, `disliked` as in `engine.rerank.rerank`.
    :returns: one entry for each of the k, in their order.
    :raises InvalidRequest: if the search does not know its box.
    """
    if tumor >= len(query.boxes):
        raise InvalidRequest("This search was kept without its boxes, so they cannot be drawn again. Search again.")
    report = progress or (lambda fraction, message: None)
    report(0.0, "Reading the scan")
    reader = tumor_reader(model, device)
    patient = patient_of_search(query, t1c, flair)
    embeddings = jittered_embeddings(
        patient, query.boxes[tumor], query.around, reader, count=count, progress=lambda f, m: report(0.1 + 0.9 * f, m)
    )
    hits = rerank(index, query.embeddings[tumor], k, **wishes)
    return stability(index, embeddings, [(hit.case, hit.tumor) for hit in hits], k, **wishes)
