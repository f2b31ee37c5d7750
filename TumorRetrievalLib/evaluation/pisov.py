"""Tables 2, 3 and 4 and Figures 4 and 5 of Pisov et al. 2018, with networks trained here, on synthetic patients.

A held-out fifth of the cohort asks, the other four fifths, on which the networks are trained, answer; neighbours are
those whose embeddings have the smallest Euclidean distance. Our own embedding is asked on the same patches and boxes.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from TumorRetrievalLib.engine.patient import tumor_reader
from TumorRetrievalLib.errors import UnreadableFile, WeightsError
from TumorRetrievalLib.evaluation.neighbours import (
    LABELS,
    K,
    Labelled,
    chance,
    nearest,
    score_neighbours,
    similarity_matrix,
)
from TumorRetrievalLib.evaluation.paper_patients import BOXES, Arrays, Cohort, PaperPatient, kept, read_patient
from TumorRetrievalLib.evaluation.pisov_figures import draw_figure_4, draw_figure_5
from TumorRetrievalLib.evaluation.retrieval import PAPER as PAPER_TABLE_4
from TumorRetrievalLib.evaluation.runs import models_in
from TumorRetrievalLib.evaluation.segmentation import dice
from TumorRetrievalLib.imaging.atomic import atomic_file, make_folder
from TumorRetrievalLib.imaging.intensity import normalise_crop
from TumorRetrievalLib.imaging.resample import resample_labels
from TumorRetrievalLib.imaging.tumor_crop import Scan
from TumorRetrievalLib.imaging.volume import LabelMap, Volume
from TumorRetrievalLib.networks.pisov import PisovNetwork, read_patch
from TumorRetrievalLib.networks.weights import CONTRACT_NAME, LoadedModel, load_model
from TumorRetrievalLib.retrieval.blocks import DEFAULT_LAYOUT, EmbeddingLayout
from TumorRetrievalLib.retrieval.embedder import TumorReader
from TumorRetrievalLib.retrieval.embedding import TumorFacts, embed, model_identity
from TumorRetrievalLib.training.commands import TRAINED_ON, train_recipe
from TumorRetrievalLib.training.paper_samples import COHORT
from TumorRetrievalLib.training.pisov import SEGMENTATION, TASKS

ALL = "all-64"
ROWS = {
    ALL: (64, TASKS),
    "type-64": (64, ("type",)),
    "all-32": (32, TASKS),
    "all-96": (96, TASKS),
    "seg-type-64": (64, (SEGMENTATION, "type")),
    "area-64": (64, ("area",)),
    "seg-64": (64, (SEGMENTATION,)),
    "seg-area-64": (64, (SEGMENTATION, "area")),
    "all-but-seg-64": (64, tuple(task for task in TASKS if task != SEGMENTATION)),
}
"""Name of a training -> its channels and tasks, in the order in which the tables need them most."""

COLUMNS = ("area", "front_rear", "left_right", "upper_lower", "type", "linear_size_rmse_mm")
TABLES = {
    "table_2": {
        "32 channels": ("all-32", (0.55, 0.45, 0.95, 0.47, 0.89, 2.05)),
        "64 channels": (ALL, (0.58, 0.59, 0.85, 0.60, 0.86, 2.11)),
        "96 channels": ("all-96", (0.58, 0.68, 0.89, 0.67, 0.87, 2.11)),
    },
    "table_3": {
        "All": (ALL, (0.585, 0.591, 0.854, 0.600, 0.865, 2.108)),
        "Seg, Anatomical": ("seg-area-64", (0.538, 0.455, 0.642, 0.467, 0.845, 2.123)),
        "Anatomical": ("area-64", (0.700, 0.636, 0.618, 0.400, 0.804, 2.589)),
        "Seg, Type": ("seg-type-64", (0.392, 0.545, 0.504, 0.600, 0.851, 1.698)),
        "Only Seg": ("seg-64", (0.323, 0.591, 0.610, 0.467, 0.757, 1.720)),
        "All but Seg": ("all-but-seg-64", (0.646, 0.545, 0.992, 0.467, 0.845, 2.454)),
        "Type": ("type-64", (0.485, 0.455, 0.618, 0.600, 0.858, 3.340)),
    },
}
"""Row of a table -> the training it shows, and the paper's figures in the order of `COLUMNS`, on its own patients.

The paper gives no Dice, and Figure 4 as a picture only.
"""
MOST_NEIGHBOURS = 20
"""Of Figure 4."""

Progress = Callable[[float, str], None]
Read = Callable[[PaperPatient, tuple[str, ...]], Arrays]


@dataclass(frozen=True, eq=False)
class Embedded:
    """The cohort as one network sees it.

    :param gallery: the tumors that answer, with exact boxes.
    :param asking: name of the boxes -> the tumors that ask.
    :param dice: mean over the patches of the held-out patients; None from a network that was not taught to outline.
    :param layout: of embeddings whose blocks are compared, as ours; None where the Euclidean distance counts.
    """

    gallery: Labelled
    asking: dict[str, Labelled]
    dice: float | None
    layout: EmbeddingLayout | None

    def scores(self, boxes: str, k: int = K) -> dict[str, float]:
        """What the k nearest neighbours say about the held-out tumors."""
        asking = self.asking[boxes]
        return score_neighbours(nearest(self._similarity(asking), k), asking, self.gallery)

    def _similarity(self, asking: Labelled) -> np.ndarray:
        from scipy.spatial.distance import cdist

        if self.layout is None:
            return -cdist(asking.vectors, self.gallery.vectors)
        return similarity_matrix(asking.vectors, self.gallery.vectors, self.layout)


def evaluate_pisov(
    runs: Path,
    out: Path,
    json_path: Path | None = None,
    *,
    patients: int = COHORT,
    cases: Path | None = None,
    minutes_each: float | None = None,
    size: str | None = None,
    model: Path | None = None,
    device: str | None = None,
    progress: Progress | None = None,
) -> dict:
    """Measure the networks that `train pisov` has left, and draw Figures 4 and 5.

    :param runs: a folder that holds their folders, at any depth. That of all tasks with 64 channels must be there.
    :param out: folder for the pictures.
    :param patients: how many of the 989 are looked at, a fifth of them held out; the same for all networks.
    :param cases: where painted patients and their embeddings are kept; None = in `runs`.
    :param minutes_each: first train what `runs` lacks of `ROWS`, so many minutes each.
    :param size: of those trainings: "published" or "small"; None = as published where there is a GPU.
    :param model: ours, for comparison; the bundled one when None.
    :returns: `table_2` and `table_3` (row -> "paper" and "retrained", None where it is not trained), `table_4`
        (embedding -> boxes -> scores), `figure_4` (embedding -> K -> scores), `cohort`, `runs` and `model`.
    :raises UnreadableFile: if that model is missing, or two models are of the same row, or of different sizes.
    :raises WeightsError: if one was trained on other patients than the synthetic ones.
    """
    runs, out = Path(runs), Path(out)
    report = progress or (lambda fraction, message: None)
    if minutes_each is not None:
        _train_missing(runs, minutes_each, size, lambda f, m: report(0.5 * f, m))
    trained = _trained(runs, device)
    contract = trained[ALL].contract
    cohort = Cohort(patients, int(contract["crop"]), float(contract["spacing_mm"][0]))
    reader = tumor_reader(model, device)
    readings: dict[str, tuple[str, Read]] = {
        name: (loaded.sha256, partial(_read_with_network, loaded)) for name, loaded in trained.items()
    }
    readings["ours"] = (model_identity(reader.model.contract), partial(_read_with_ours, reader))
    embedded = {}
    for number, (name, (identity, read)) in enumerate(readings.items()):

        def told(f: float, message: str, done: int = number, name: str = name) -> None:
            report(0.5 + 0.5 * (done + f) / len(readings), f"{name}: {message}")

        layout = DEFAULT_LAYOUT if name == "ours" else None
        embedded[name] = _embedded(cohort, Path(cases or runs / "patients"), identity, read, layout, told)
    result = _tables(cohort, trained, embedded) | {"model": reader.model.sha256}
    make_folder(out)
    draw_figure_4(out / "figure_4.png", result["figure_4"], result["table_4"]["paper"][BOXES[0]])
    draw_figure_5(out / "figure_5.png", embedded[ALL].asking[BOXES[0]])
    if json_path is not None:
        with atomic_file(json_path) as temporary:
            temporary.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    return result


def rows_of(result: dict, table: str) -> dict[str, dict[str, float | None]]:
    """A table of the result as rows for a screen: the paper's figures, and below them ours."""
    if table == "table_4":
        return {f"{name}, {boxes}": row for name, found in result[table].items() for boxes, row in found.items()}
    return {
        f"{row}, {name}": scores or {}
        for row, found in result[table].items()
        for name, scores in found.items()
    }  # fmt: skip


def _train_missing(runs: Path, minutes: float, size: str | None, report: Progress) -> None:
    missing = [name for name in ROWS if not (runs / name / "model" / CONTRACT_NAME).exists()]
    for number, name in enumerate(missing):

        def told(f: float, message: str, done: int = number, name: str = name) -> None:
            report((done + f) / len(missing), f"{name}: {message}")

        channels, tasks = ROWS[name]
        train_recipe("pisov", runs / name, minutes=minutes, size=size, channels=channels, tasks=tasks, progress=told)


def _trained(runs: Path, device: str | None) -> dict[str, LoadedModel]:
    """Name of a row -> its network, in the order of ROWS."""
    way_out = "Make them with --minutes-each, or one by one with `train pisov`."
    names = {row: name for name, row in ROWS.items()}
    found: dict[str, LoadedModel] = {}
    for folder in models_in(runs, "pisov", way_out):
        loaded = load_model(folder, device)
        if loaded.contract.get("trained_on") != TRAINED_ON:
            raise WeightsError(
                f"The model in {folder} was trained on other patients than these synthetic ones. With an index of "
                f"your own cases `evaluate retrieval --index` measures on them."
            )
        name = names.get((loaded.contract["arguments"]["channels"], tuple(loaded.contract.get("solved_tasks", ()))))
        if name in found:
            raise UnreadableFile(f"{runs} holds two models of the row {name}; keep one.")
        if name is not None:
            found[name] = loaded
    if ALL not in found:
        raise UnreadableFile(f"{runs} holds no model with 64 channels that has learned all tasks. {way_out}")
    if len({(loaded.contract["crop"], loaded.contract["spacing_mm"][0]) for loaded in found.values()}) > 1:
        raise UnreadableFile(f"The models in {runs} are of different sizes and cannot be compared; keep one size.")
    return {name: found[name] for name in ROWS if name in found}


def _embedded(
    cohort: Cohort, cases: Path, identity: str, read: Read, layout: EmbeddingLayout | None, report: Progress
) -> Embedded:
    folder = cases / f"embedded-{identity[:16]}-{cohort.name}"
    numbers = [*cohort.gallery, *cohort.held_out]
    seen: dict[int, Arrays] = {}
    for done, number in enumerate(numbers):
        report(done / len(numbers), f"patient {done + 1} of {len(numbers)}")
        seen[number] = kept(folder / f"{number}.npz", partial(_seen, number, cohort, cases, read))

    def labelled(part: range, boxes: str) -> Labelled:
        columns = {name: np.concatenate([seen[number][name] for number in part]) for name in (boxes, *LABELS, "sizes")}
        return Labelled(columns[boxes], {label: columns[label] for label in LABELS}, columns["sizes"])

    overlaps = np.concatenate([seen[number].get("dice", np.zeros(0)) for number in cohort.held_out])
    return Embedded(
        labelled(cohort.gallery, BOXES[0]),
        {boxes: labelled(cohort.held_out, boxes) for boxes in BOXES},
        round(float(overlaps.mean()), 3) if len(overlaps) else None,
        layout,
    )


def _seen(number: int, cohort: Cohort, cases: Path, read: Read) -> Arrays:
    """A patient's tumors as a network sees them, and the truth about them."""
    patient = read_patient(cases, number, cohort)
    kinds = BOXES if number in cohort.held_out else BOXES[:1]
    return read(patient, kinds) | patient.labels | {"sizes": patient.sizes}


def _read_with_network(loaded: LoadedModel, patient: PaperPatient, kinds: tuple[str, ...]) -> Arrays:
    """The pooled features of every box; and the Dice of every patch, from a network that was taught to outline."""
    network: PisovNetwork = loaded.network
    vectors = {kind: np.zeros((len(patient.sizes), network.arguments["channels"]), np.float32) for kind in kinds}
    overlaps = []
    for patch, grid in enumerate(patient.grids):
        raw, core = patient.images[patch], patient.cores[patch]
        image = normalise_crop(raw, raw > 0, patient.brains[patch], np.zeros(raw.shape, bool))
        tumors = np.flatnonzero(patient.patch_of == patch)
        hulls = [patient.boxes[kind][tumor].voxel_hull(grid) for kind in kinds for tumor in tumors]
        boxes = [[bound for part in hull for bound in (part.start, part.stop)] for hull in hulls]
        found, mask = read_patch(network, image, boxes)
        for number, kind in enumerate(kinds):
            vectors[kind][tumors] = found[number * len(tumors) : (number + 1) * len(tumors)]
        overlaps.append(dice(mask, core))
    outlines = SEGMENTATION in loaded.contract["solved_tasks"]
    return vectors | ({"dice": np.array(overlaps, float)} if outlines else {})


def _read_with_ours(reader: TumorReader, patient: PaperPatient, kinds: tuple[str, ...]) -> Arrays:
    """The embeddings of every box, as `find` makes them from a T1c alone."""
    scans = []
    for patch, grid in enumerate(patient.grids):
        brain = LabelMap(patient.brains[patch], grid.affine)
        scans.append(Scan.of(Volume(patient.images[patch], grid.affine), None, partial(resample_labels, brain)))
    vectors = {kind: np.zeros((len(patient.sizes), DEFAULT_LAYOUT.size), np.float32) for kind in kinds}
    for kind in kinds:
        for tumor, (patch, box) in enumerate(zip(patient.patch_of, patient.boxes[kind], strict=True)):
            reading = reader.read(scans[patch], box, "core")
            place = patient.atlas_mm[kind][tumor]
            vectors[kind][tumor] = embed(TumorFacts(reading.appearance, reading.types, place, box.size))
    return vectors


def _tables(cohort: Cohort, trained: dict[str, LoadedModel], embedded: dict[str, Embedded]) -> dict:
    scores = {name: {**embedded[name].scores(BOXES[0]), "dice": embedded[name].dice} for name in trained}
    two_and_three = {
        table: {
            row: {"paper": dict(zip(COLUMNS, paper, strict=True)), "retrained": scores.get(name)}
            for row, (name, paper) in rows.items()
        }
        for table, rows in TABLES.items()
    }
    compared = {"retrained": embedded[ALL], "ours": embedded["ours"]}
    first = embedded[ALL]
    return {
        "k": K,
        "cohort": {
            "patients": cohort.patients,
            "gallery_tumors": len(first.gallery.sizes),
            "held_out_tumors": len(first.asking[BOXES[0]].sizes),
            "crop": cohort.crop,
            "spacing_mm": cohort.spacing,
        },
        **two_and_three,
        "table_4": {
            "paper": PAPER_TABLE_4,
            **{name: {boxes: one.scores(boxes) for boxes in BOXES} for name, one in compared.items()},
            "most frequent label": {BOXES[0]: chance(first.asking[BOXES[0]], first.gallery)},
        },
        "figure_4": {
            name: {str(k): one.scores(BOXES[0], k) for k in range(1, MOST_NEIGHBOURS + 1)}
            for name, one in compared.items()
        },
        "runs": {
            name: {
                "steps": loaded.contract["training"]["steps"],
                "minutes": loaded.contract["training"]["minutes"],
                "sha256": loaded.sha256,
            }
            for name, loaded in trained.items()
        },
    }
