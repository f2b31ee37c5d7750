"""How alike the nearest neighbours of a tumor are: Table 4 of Pisov et al. 2018 on the patients of an index.

A fifth of the patients (drawn by patient and type, seeded) asks, the other four fifths answer; each label of a tumor is
predicted from its five nearest neighbours. The bundled network has seen none of the bundled index's patients. A
network that was trained on the patients of an index is asked by those that its training has kept back.
"""

import json
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np

from TumorRetrievalLib.cohort.case import Case, Tumor
from TumorRetrievalLib.cohort.splits import split_by_patient
from TumorRetrievalLib.engine.patient import open_patient, tumor_reader
from TumorRetrievalLib.engine.stability import distorted_inside
from TumorRetrievalLib.errors import Cancelled, InvalidBox, TumorRetrievalError, UnreadableFile
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
from TumorRetrievalLib.imaging.box import Box
from TumorRetrievalLib.imaging.resample import resample_labels
from TumorRetrievalLib.imaging.tumor_crop import Scan
from TumorRetrievalLib.resources import resource
from TumorRetrievalLib.retrieval.blocks import DEFAULT_LAYOUT, DEFAULT_WEIGHTS, EmbeddingLayout
from TumorRetrievalLib.retrieval.case_index import CaseIndex
from TumorRetrievalLib.retrieval.embedder import Reading, TumorReader
from TumorRetrievalLib.retrieval.embedding import TumorFacts, embed, model_identity

HELD_OUT = 0.2
PAPER = {
    "exact boxes": {"area": 0.58, "front_rear": 0.59, "left_right": 0.85, "upper_lower": 0.60, "type": 0.86,
                    "linear_size_rmse_mm": 2.11},
    "distorted boxes": {"area": 0.58, "front_rear": 0.59, "left_right": 0.85, "upper_lower": 0.60, "type": 0.84,
                        "linear_size_rmse_mm": 2.53},
}  # fmt: skip
"""Table 4 of the paper, measured on its own patients: to be read beside ours, not as the same measurement."""

SHARES = {"half of them": 1 / 2, "a quarter": 1 / 4, "an eighth": 1 / 8}
DRAWS = 4

_ATTEMPTS = 100

Progress = Callable[[float, str], None]
FactsAbout = Callable[[Reading, Box], TumorFacts]


def evaluate_retrieval(
    index: Path | None = None,
    model: Path | None = None,
    json_path: Path | None = None,
    seed: int = 0,
    queries: int | None = None,
    progress: Progress | None = None,
    asking: Path | None = None,
) -> dict:
    """kNN accuracy of each label and the error of the linear size, with exact and with distorted boxes.

    For the distorted boxes the scans are read, or made, again. What no tumor that asks, or none that answers, has a
    label for is left out and noted.

    :param index: folder of an index; the bundled one when None.
    :param queries: at most so many held-out cases; all when None.
    :param asking: `patients.json` of the training on one's own cases: those whom it has kept back ask.
    :returns: `ours` and, for comparison, each block alone, `chance` and the `paper`; each: name of the boxes -> score
        -> value. Sizes are the largest diameters in mm. `ours among fewer cases` tells by how much more cases help:
        share of the cases that answer -> score -> mean of several draws. `notes` are sentences about what is missing.
    :raises UnreadableFile: if the index has too few patients, or none of those that are to ask.
    """
    reader = tumor_reader(model)
    identity = model_identity(reader.model.contract)
    with CaseIndex.open(index or resource("Index"), identity) as opened:
        cases = {case_id: opened.get(case_id) for case_id in opened.case_ids()}
        vectors = {case_id: opened.vectors_of(case_id) for case_id in cases}
        layout = opened.layout
    questions, answers = _divided(list(cases.values()), seed, asking)
    questions, notes = questions[:queries], []
    again = _with_distorted_boxes(questions, reader, seed, progress, notes)
    gallery = _labelled(answers, vectors)
    of_boxes = {
        "exact boxes": _labelled(questions, vectors),
        "distorted boxes": _labelled([case for case in questions if case.id in again], again),
    }
    weightings = {"ours": dict(DEFAULT_WEIGHTS)} | {f"{name} alone": {name: 1.0} for name in DEFAULT_WEIGHTS}
    tables = {
        name: {kind: _score(those, gallery, layout, weights) for kind, those in of_boxes.items()}
        for name, weights in weightings.items()
    }
    exact = of_boxes["exact boxes"]
    tables["ours among fewer cases"] = _among_fewer(exact, answers, vectors, layout, seed)
    missing = [label for label in LABELS if label not in tables["ours"]["exact boxes"]]
    if missing:
        notes.append(f"Left out, as tumors without such a label ask or answer: {', '.join(missing)}.")
    synthetic = all(case.recipe is not None for case in cases.values())
    result = {
        "k": K,
        "seed": seed,
        "patients": "synthetic patients" if synthetic else "patients of this index",
        "gallery_tumors": len(gallery.sizes),
        "held_out_tumors": len(exact.sizes),
        **tables,
        "chance": {"most frequent label": chance(exact, gallery)},
        "paper": PAPER,
        "notes": notes,
        "model": reader.model.sha256,
    }
    if json_path is not None:
        with atomic_file(json_path) as temporary:
            temporary.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    return result


def _divided(cases: list[Case], seed: int, asking: Path | None) -> tuple[list[Case], list[Case]]:
    """Those that ask and those that answer."""
    cases = [case for case in cases if case.tumors]
    if asking is None:
        parts = split_by_patient(cases, {"gallery": 1 - HELD_OUT, "held out": HELD_OUT}, seed)
        questions, answers = parts["held out"], parts["gallery"]
    else:
        kept_back = _kept_back(asking)
        questions = [case for case in cases if case.patient in kept_back]
        answers = [case for case in cases if case.patient not in kept_back]
    if not questions or not answers:
        raise UnreadableFile(
            f"Of the patients of this index {len(questions)} cases would ask and {len(answers)} answer; both are "
            f"needed. Add cases to the index, or name the patients of this index with --asking."
        )
    return questions, answers


def _kept_back(path: Path) -> set[str]:
    try:
        return set(json.loads(Path(path).read_text(encoding="utf-8"))["held out"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        reason = f"{path} does not say which patients were kept back ({error})."
        raise UnreadableFile(f"{reason} Name the patients.json that a training on your cases has left.") from None


def _labelled(cases: list[Case], vectors: dict[str, np.ndarray]) -> Labelled:
    tumors = [tumor for case in cases for tumor in case.tumors]
    return Labelled(
        np.concatenate([vectors[case.id] for case in cases] or [np.zeros((0, DEFAULT_LAYOUT.size), np.float32)]),
        {label: np.array([getattr(tumor, label) for tumor in tumors], object) for label in LABELS},
        np.array([tumor.linear_size_mm for tumor in tumors], float),
    )


def _score(asking: Labelled, gallery: Labelled, layout: EmbeddingLayout, weights: dict[str, float]) -> dict[str, float]:
    """The scores of those tumors that have something to compare."""
    counted = [name in weights for name in layout.slices]
    asking, gallery = (
        some.only(layout.known_blocks(some.vectors)[:, counted].any(axis=1)) for some in (asking, gallery)
    )
    if not len(asking.sizes) or not len(gallery.sizes):
        return {}
    return score_neighbours(
        nearest(similarity_matrix(asking.vectors, gallery.vectors, layout, weights)), asking, gallery
    )


def _among_fewer(
    asking: Labelled, answers: list[Case], vectors: dict[str, np.ndarray], layout: EmbeddingLayout, seed: int
) -> dict[str, dict[str, float]]:
    """The scores where only a share of the patients that could answer is in the index."""
    table = {}
    for name, share in SHARES.items():
        parts = [split_by_patient(answers, {"in": share, "out": 1 - share}, seed + draw)["in"] for draw in range(DRAWS)]
        scores = [_score(asking, _labelled(part, vectors), layout, dict(DEFAULT_WEIGHTS)) for part in parts if part]
        shared = [label for label in scores[0] if all(label in one for one in scores)] if scores else []
        table[name] = {label: round(float(np.mean([one[label] for one in scores])), 3) for label in shared}
    return table


def _with_distorted_boxes(
    cases: list[Case], reader: TumorReader, seed: int, progress: Progress | None, notes: list[str]
) -> dict[str, np.ndarray]:
    """The embeddings that inaccurately drawn boxes lead to (Pisov et al. 2018, Eq. 2).

    :param notes: gets a sentence for each case whose scan cannot be read again.
    """
    rng = np.random.default_rng(seed)
    vectors = {}
    for number, case in enumerate(cases):
        if progress is not None:
            progress(number / len(cases), f"Distorted boxes: case {number + 1} of {len(cases)}")
        try:
            scan, facts_about = _seen_again(case)
            vectors[case.id] = np.array(
                [_distorted(tumor, scan, reader, rng, facts_about) for tumor in case.tumors], np.float32
            )
        except Cancelled:
            raise
        except TumorRetrievalError as error:
            notes.append(f"No distorted boxes for {case.id}: {error}")
    return vectors


def _seen_again(case: Case) -> tuple[Scan, FactsAbout]:
    """A case's scan, and what makes the facts about a tumor of a reading and its box."""
    if case.recipe is not None:
        from TumorRetrievalLib.synthesis.lesions import plan_case
        from TumorRetrievalLib.synthesis.scan import atlas_position, synthesize

        recipe = case.recipe
        made = synthesize(recipe.seed, recipe.tumor_type, recipe.lesion_count)
        plan = plan_case(recipe.seed, recipe.tumor_type, recipe.lesion_count)
        scan = Scan.of(made.t1c, made.flair, partial(resample_labels, made.brain))
        return scan, lambda reading, box: TumorFacts(
            reading.appearance, reading.types, atlas_position(plan, box.center), box.size
        )
    if case.t1c is None:
        raise UnreadableFile("the index keeps its labels only, and no scan.")
    patient = open_patient(case.t1c, case.flair)
    patient.register()
    return patient.scan, patient.facts_about


def _distorted(
    tumor: Tumor, scan: Scan, reader: TumorReader, rng: np.random.Generator, facts_about: FactsAbout
) -> np.ndarray:
    """The embedding of a tumor in a box that was drawn carelessly."""
    # Of a tumor without a core the index knows the box around everything.
    around = "whole" if tumor.core_ml == 0 else "core"
    for _ in range(_ATTEMPTS):
        box = distorted_inside(tumor.box, scan.t1c.grid, rng)
        try:
            reading = reader.read(scan, box, around)
        except InvalidBox:  # on background alone: nobody would draw it there
            continue
        return embed(facts_about(reading, box))
    raise InvalidBox(f"boxes like that of its tumor {tumor.id} lie on background alone.")
