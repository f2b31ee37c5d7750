"""How often "nothing similar" is said, rightly and wrongly: boxes on tumors, and boxes where there is none."""

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from TumorRetrievalLib.engine.familiar import LEAST_SEEN
from TumorRetrievalLib.engine.in_box import read_in_box
from TumorRetrievalLib.engine.outline import core_box
from TumorRetrievalLib.engine.patient import Patient, tumor_reader
from TumorRetrievalLib.engine.stability import distorted_inside
from TumorRetrievalLib.errors import InvalidBox
from TumorRetrievalLib.evaluation.nonsense import clouds_like, healthy_box, noise_like, trunk
from TumorRetrievalLib.evaluation.segmentation import OEDEMA, drawn_box, folders_with_masks, read_case
from TumorRetrievalLib.imaging.atomic import atomic_file
from TumorRetrievalLib.imaging.box import Box
from TumorRetrievalLib.imaging.resample import resample_labels
from TumorRetrievalLib.imaging.tumor_crop import Scan
from TumorRetrievalLib.resources import resource
from TumorRetrievalLib.retrieval.case_index import CaseIndex
from TumorRetrievalLib.retrieval.embedder import TumorReader
from TumorRetrievalLib.retrieval.embedding import TumorFacts, embed, model_identity
from TumorRetrievalLib.retrieval.familiarity import best_match
from TumorRetrievalLib.synthesis.lesions import plan_case
from TumorRetrievalLib.synthesis.scan import atlas_position, synthesize

FIRST_SEED = 500_000
"""Of synthetic patients that neither the training nor the bundled index has seen."""
KINDS = (("metastasis", 1), ("meningioma", 1), ("schwannoma", 1), ("glioma", 1), ("metastasis", 2))
"""Type and number of tumors of the synthetic patients, in turn."""
HEALTHY_PER_SCAN, HEALTHY_PER_PATIENT = 4, 2
_LARGEST_HEALTHY_MM = 40.0

Progress = Callable[[float, str], None]


@dataclass(frozen=True, eq=False)
class Asked:
    """One box.

    :param kind: the row of the table.
    :param to_atlas: tells where a point (RAS mm) lies in MNI152 mm, or None where that is not known.
    """

    kind: str
    scan: Scan
    box: Box
    around: str
    to_atlas: Callable[[np.ndarray], np.ndarray | None]


def evaluate_familiarity(
    cases: Path | None = None,
    patients: int = 60,
    index: Path | None = None,
    model: Path | None = None,
    json_path: Path | None = None,
    seed: int = 0,
    progress: Progress | None = None,
) -> dict:
    """Count, for each kind of box, how often nothing in the index may be called similar.

    :param cases: real scans with masks, as in `evaluate_segmentation`; without it synthetic patients alone.
    :param patients: synthetic patients.
    :returns: `table`: kind of box -> `boxes`, and how many of them are called so `by the index`, `by the model`, and
        `by either`. See `engine.familiar`.
    :raises UnreadableFile: if no case has a segmentation.
    """
    reader, rng = tumor_reader(model), np.random.default_rng(seed)
    table: dict[str, dict[str, int]] = {}
    with CaseIndex.open(index or resource("Index"), model_identity(reader.model.contract)) as opened:
        for share, asked in _boxes(cases, patients, rng):
            if progress is not None:
                progress(share, asked.kind)
            try:
                rare, unseen = _verdict(asked, reader, opened)
            except InvalidBox:  # on background alone: `find` refuses it
                continue
            row = table.setdefault(asked.kind, dict.fromkeys(("boxes", "by the index", "by the model", "by either"), 0))
            for name, counts in zip(row, (True, rare, unseen, rare or unseen), strict=True):
                row[name] += counts
    result = {"table": table, "seed": seed, "least_seen": LEAST_SEEN, "model": reader.model.sha256}
    if json_path is not None:
        with atomic_file(json_path) as temporary:
            temporary.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    return result


def _verdict(asked: Asked, reader: TumorReader, index: CaseIndex) -> tuple[bool, bool]:
    """Whether the best match is too poor, and whether the model sees too little without the box."""
    grid = asked.scan.t1c.grid
    found = read_in_box(asked.scan, asked.box, asked.around, reader, grid)
    box = core_box(asked.box, asked.around, found.outline, grid)
    place = asked.to_atlas(box.center)
    facts = TumorFacts(found.reading.appearance, found.reading.types, place, np.abs(box.axes) @ box.size)
    return best_match(index, embed(facts)).rare, found.seen < LEAST_SEEN


def _boxes(cases: Path | None, patients: int, rng: np.random.Generator) -> Iterator[tuple[float, Asked]]:
    """Every box, and how far through they are."""
    folders = [] if cases is None else folders_with_masks(cases)
    total = len(folders) + patients
    for number, folder in enumerate(folders):
        for asked in _on_real_scan(folder, rng):
            yield number / total, asked
    for number in range(patients):
        for asked in _on_synthetic_patient(number, rng):
            yield (len(folders) + number) / total, asked


def _on_real_scan(folder: Path, rng: np.random.Generator) -> Iterator[Asked]:
    patient, labels = read_case(folder)
    grid, scan, place = patient.t1c.grid, patient.scan, patient.to_atlas
    whole, core = labels.data > 0, (labels.data > 0) & (labels.data != OEDEMA)
    around_core = drawn_box(core, grid)
    if around_core is None:
        return
    yield Asked("real glioma, box around the core", scan, around_core, "core", place)
    yield Asked("real glioma, box around everything", scan, drawn_box(whole, grid), "whole", place)
    size = np.minimum(np.abs(around_core.axes) @ around_core.size, _LARGEST_HEALTHY_MM)
    for _ in range(HEALTHY_PER_SCAN):
        healthy = healthy_box(patient.t1c.data > 0, whole, grid, size, rng)
        if healthy is not None:
            yield Asked("healthy place in a real scan", scan, healthy, "core", place)
    yield Asked("noise in place of a real scan", _noise(patient, rng), around_core, "core", place)


def _noise(patient: Patient, rng: np.random.Generator) -> Scan:
    t1c = noise_like(patient.t1c, rng)
    noise = Scan.of(t1c, None if patient.flair is None else noise_like(patient.flair, rng))
    return noise if patient.scan.brain_on is None else noise.with_brain(patient.scan.brain_on)


def _on_synthetic_patient(number: int, rng: np.random.Generator) -> Iterator[Asked]:
    tumor_type, count = KINDS[number % len(KINDS)]
    seed = FIRST_SEED + number
    made, plan = synthesize(seed, tumor_type, count), plan_case(seed, tumor_type, count)
    grid, brain_on, place = made.t1c.grid, partial(resample_labels, made.brain), partial(atlas_position, plan)
    scan = Scan.of(made.t1c, made.flair, brain_on)
    for tumor in made.tumors:
        yield Asked("synthetic tumor", scan, tumor.box, "core", place)
        distorted = distorted_inside(tumor.box, grid, rng)
        yield Asked("synthetic tumor, distorted box", scan, distorted, "core", place)
    if not made.tumors:
        return
    box = made.tumors[0].box
    for _ in range(HEALTHY_PER_PATIENT):
        size = np.minimum(box.size, _LARGEST_HEALTHY_MM)
        healthy = healthy_box(made.brain.data > 0, made.whole.data > 0, grid, size, rng)
        if healthy is not None:
            yield Asked("healthy place beside a synthetic tumor", scan, healthy, "core", place)
    if number % 3 == 0:
        for kind, like in (("noise", noise_like), ("clouds", clouds_like)):
            images = [like(image, rng) for image in (made.t1c, made.flair)]
            yield Asked(f"{kind} in place of a synthetic scan", Scan.of(*images, brain_on), box, "core", place)
        elsewhere = Box.aligned(rng.uniform((-40, -40, -40), (40, 10, 40)), box.size)
        yield Asked("trunk with organs, T1 alone", Scan.of(trunk(grid, rng)), elsewhere, "core", _unknown)


def _unknown(_point: np.ndarray) -> None:
    """What nobody can bring to the atlas has no place."""
