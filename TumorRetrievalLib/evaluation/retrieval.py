"""How alike the nearest neighbours of a tumor are: Table 4 of Pisov et al. 2018 on held-out synthetic patients.

The network has seen none of the index's patients. A fifth of them (drawn by patient and type, seeded) asks, the other
four fifths answer; each label of a tumor is predicted from its five nearest neighbours.
"""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np

from TumorRetrievalLib.cohort.case import Case
from TumorRetrievalLib.cohort.splits import split_by_patient
from TumorRetrievalLib.engine.patient import tumor_reader
from TumorRetrievalLib.engine.stability import distorted_inside
from TumorRetrievalLib.errors import UnreadableFile
from TumorRetrievalLib.evaluation.neighbours import (
    LABELS,
    K,
    Labelled,
    chance,
    nearest,
    score_neighbours,
    similarity_matrix,
)
from TumorRetrievalLib.imaging.atomic import atomic_file
from TumorRetrievalLib.imaging.resample import resample_labels
from TumorRetrievalLib.imaging.tumor_crop import Scan
from TumorRetrievalLib.resources import resource
from TumorRetrievalLib.retrieval.blocks import DEFAULT_WEIGHTS
from TumorRetrievalLib.retrieval.case_index import CaseIndex
from TumorRetrievalLib.retrieval.embedder import TumorReader
from TumorRetrievalLib.retrieval.embedding import TumorFacts, embed, model_identity

HELD_OUT = 0.2
PAPER = {
    "exact boxes": {"area": 0.58, "front_rear": 0.59, "left_right": 0.85, "upper_lower": 0.60, "type": 0.86,
                    "linear_size_rmse_mm": 2.11},
    "distorted boxes": {"area": 0.58, "front_rear": 0.59, "left_right": 0.85, "upper_lower": 0.60, "type": 0.84,
                        "linear_size_rmse_mm": 2.53},
}  # fmt: skip
"""Table 4 of the paper, measured on its own patients: to be read beside ours, not as the same measurement."""

Progress = Callable[[float, str], None]


def evaluate_retrieval(
    index: Path | None = None,
    model: Path | None = None,
    json_path: Path | None = None,
    seed: int = 0,
    queries: int | None = None,
    progress: Progress | None = None,
) -> dict:
    """kNN accuracy of each label and the error of the linear size, with exact and with distorted boxes.

    :param index: folder of an index of synthetic cases; the bundled one when None.
    :param queries: at most so many held-out cases; all when None.
    :returns: `ours` and, for comparison, each block alone, `chance` and the `paper`; each: name of the boxes -> score
        -> value. Sizes are the largest diameters in mm.
    """
    reader = tumor_reader(model)
    identity = model_identity(reader.model.contract)
    with CaseIndex.open(index or resource("Index"), identity) as opened:
        cases = {case_id: opened.get(case_id) for case_id in opened.case_ids()}
        vectors = {case_id: opened.vectors_of(case_id) for case_id in cases}
        layout = opened.layout
    parts = split_by_patient(cases.values(), {"gallery": 1 - HELD_OUT, "held out": HELD_OUT}, seed)
    asking = parts["held out"][:queries]
    if any(case.recipe is None for case in asking):
        raise UnreadableFile("This evaluation needs an index of synthetic cases, such as the bundled one.")
    gallery = _labelled(parts["gallery"], vectors)
    exact = _labelled(asking, vectors)
    distorted = _labelled(asking, _with_distorted_boxes(asking, reader, seed, progress))
    weightings = {"ours": dict(DEFAULT_WEIGHTS)} | {f"{name} alone": {name: 1.0} for name in DEFAULT_WEIGHTS}
    tables = {
        name: {
            kind: score_neighbours(
                nearest(similarity_matrix(those.vectors, gallery.vectors, layout, weights)), those, gallery
            )
            for kind, those in (("exact boxes", exact), ("distorted boxes", distorted))
        }
        for name, weights in weightings.items()
    }
    result = {
        "k": K,
        "seed": seed,
        "gallery_tumors": len(gallery.sizes),
        "held_out_tumors": len(exact.sizes),
        **tables,
        "chance": {"most frequent label": chance(exact, gallery)},
        "paper": PAPER,
        "model": reader.model.sha256,
    }
    if json_path is not None:
        with atomic_file(json_path) as temporary:
            temporary.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    return result


def _labelled(cases: list[Case], vectors: dict[str, np.ndarray]) -> Labelled:
    tumors = [tumor for case in cases for tumor in case.tumors]
    return Labelled(
        np.concatenate([vectors[case.id] for case in cases]),
        {label: np.array([getattr(tumor, label) for tumor in tumors]) for label in LABELS},
        np.array([tumor.linear_size_mm for tumor in tumors], float),
    )


def _with_distorted_boxes(
    cases: list[Case], reader: TumorReader, seed: int, progress: Progress | None
) -> dict[str, np.ndarray]:
    """The embeddings that inaccurately drawn boxes lead to (Pisov et al. 2018, Eq. 2)."""
    from TumorRetrievalLib.synthesis.lesions import plan_case
    from TumorRetrievalLib.synthesis.scan import atlas_position, synthesize

    rng = np.random.default_rng(seed)
    vectors = {}
    for number, case in enumerate(cases):
        if progress is not None:
            progress(number / len(cases), f"Distorted boxes: case {number + 1} of {len(cases)}")
        recipe = case.recipe
        made = synthesize(recipe.seed, recipe.tumor_type, recipe.lesion_count)
        plan = plan_case(recipe.seed, recipe.tumor_type, recipe.lesion_count)
        scan = Scan.of(made.t1c, made.flair, lambda grid, brain=made.brain: resample_labels(brain, grid))
        rows = []
        for tumor in case.tumors:
            box = distorted_inside(tumor.box, scan.t1c.grid, rng)
            reading = reader.read(scan, box, "core")
            place = atlas_position(plan, box.center)
            rows.append(embed(TumorFacts(reading.appearance, reading.types, place, box.size)))
        vectors[case.id] = np.array(rows)
    return vectors
