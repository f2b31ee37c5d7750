"""From a case of an archive to what an index keeps of it: its tumors, measured, named by their place, and embedded."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial

import numpy as np

from TumorRetrievalLib.cohort.case import Case, MaskLabels, SyntheticRecipe, Tumor
from TumorRetrievalLib.cohort.foci import find_foci, masks_of
from TumorRetrievalLib.cohort.labels import describe_position
from TumorRetrievalLib.cohort.measure import measure_tumor
from TumorRetrievalLib.engine.in_box import read_in_box
from TumorRetrievalLib.engine.outline import merge
from TumorRetrievalLib.engine.parts import EmbeddedCase
from TumorRetrievalLib.engine.patient import Patient, open_patient
from TumorRetrievalLib.engine.unprompted import SMALLEST_ML, suggest_tumors
from TumorRetrievalLib.errors import InvalidBox, InvalidImage
from TumorRetrievalLib.imaging.box import Box
from TumorRetrievalLib.imaging.files import read_labels
from TumorRetrievalLib.imaging.resample import resample_labels
from TumorRetrievalLib.imaging.tumor_crop import Scan, voxels_inside
from TumorRetrievalLib.imaging.volume import LabelMap, Volume
from TumorRetrievalLib.retrieval.blocks import DEFAULT_LAYOUT
from TumorRetrievalLib.retrieval.embedder import TumorReader
from TumorRetrievalLib.retrieval.embedding import TumorFacts, embed

Progress = Callable[[float, str], None]

SYNTHETIC = "synthetic: made from the MNI152 atlas, no patient"
"""Where the synthetic cases are from."""

NETWORK_LABELS = MaskLabels(core=(1,), whole=(1, 2), scheme="outlined by the network: 1 core, 2 oedema")
"""The meaning of the masks that this tool draws itself."""


@dataclass(frozen=True, eq=False)
class _Drawn:
    """Where a case's tumors are.

    :param core: :param whole: on the scan's grid.
    :param made: whether the network has drawn them.
    """

    core: LabelMap
    whole: LabelMap
    made: bool


def embed_case(case: Case, reader: TumorReader, progress: Progress | None = None) -> EmbeddedCase:
    """Read a case's scan, bring it to the atlas, find its tumors in its mask, and read each of them.

    Without a mask the network draws one: in the boxes that the case names, or else in the whole brain. What is
    already known of a tumor stays; what the mask and the atlas say is added; a type that nobody has said stays unknown.

    :raises TumorRetrievalError: with what is wrong with the case and what to do.
    """
    if case.t1c is None and case.recipe is not None:
        return _embed_recipe(case, reader)
    report = progress or (lambda fraction, message: None)
    report(0.0, f"{case.id}: reading the scan")
    patient = open_patient(case.t1c, case.flair)
    patient.register(lambda f, _: report(0.1 + 0.4 * f, f"{case.id}: bringing the scan to the atlas"))
    report(0.5, f"{case.id}: reading the tumors")
    drawn = _drawn_by_somebody(case, patient) or _drawn_by_the_network(
        case, patient, reader, lambda f, _: report(0.5 + 0.4 * f, f"{case.id}: outlining tumors")
    )
    tumors, vectors = [], []
    for tumor, around in _tumors_of(case, drawn):
        reading = reader.read(patient.scan, tumor.box, around)
        facts = patient.facts_about(reading, tumor.box)
        tumors.append(_with_place(tumor, facts.atlas_mm))
        vectors.append(embed(facts))
    embedded = replace(case, tumors=tuple(tumors), voxels_sha256=voxels_sha256(patient.t1c))
    notes = [*patient.notes, *reader.notes]
    report(1.0, f"{case.id}: done")
    if not drawn.made:
        return EmbeddedCase(embedded, _rows(vectors), notes=notes)
    labels = LabelMap(
        np.where(drawn.core.data, 1, np.where(drawn.whole.data, 2, 0)).astype(np.uint8), drawn.core.affine
    )
    embedded = replace(embedded, mask=None, mask_labels=NETWORK_LABELS, mask_origin="network")
    return EmbeddedCase(embedded, _rows(vectors), labels, notes)


def voxels_sha256(scan: Volume) -> str:
    """A name for a scan's content: the same for the same voxels, however the file is packed."""
    digest = hashlib.sha256(str(scan.shape).encode())
    digest.update(np.ascontiguousarray(scan.data, dtype="<f4"))
    return digest.hexdigest()


def embed_synthetic(recipe: SyntheticRecipe, case_id: str, reader: TumorReader) -> EmbeddedCase:
    """Make a synthetic case and read each of its tumors in the box around its core."""
    from TumorRetrievalLib.synthesis.scan import synthesize

    made = synthesize(recipe.seed, recipe.tumor_type, recipe.lesion_count)
    scan = Scan.of(made.t1c, made.flair, partial(resample_labels, made.brain))
    tumors, vectors = [], []
    for tumor in made.tumors:
        size = measure_tumor(tumor.core)
        reading = reader.read(scan, tumor.box, "core")
        vectors.append(embed(TumorFacts(reading.appearance, reading.types, tumor.atlas_mm, tumor.box.size)))
        known = Tumor(
            id=str(tumor.number),
            box=tumor.box,
            type=tumor.tumor_type,
            linear_size_mm=size.linear_size_mm,
            core_ml=size.volume_ml,
            whole_ml=tumor.whole.volume_ml(),
        )
        tumors.append(_with_place(known, tumor.atlas_mm))
    case = Case(id=case_id, patient=case_id, tumors=tuple(tumors), provenance=SYNTHETIC, recipe=recipe)
    return EmbeddedCase(case, _rows(vectors))


def _embed_recipe(case: Case, reader: TumorReader) -> EmbeddedCase:
    embedded = embed_synthetic(case.recipe, case.id, reader)
    provenance = case.provenance if case.provenance.startswith("synthetic") else SYNTHETIC
    return replace(embedded, case=replace(embedded.case, patient=case.patient, provenance=provenance))


def _drawn_by_somebody(case: Case, patient: Patient) -> _Drawn | None:
    if case.mask is None:
        return None
    labels = read_labels(case.mask)
    patient.t1c.require_same_grid(labels, f"The mask {case.mask}")
    core, whole = masks_of(labels, case.mask_labels)
    if not whole.data.any():
        raise InvalidImage(f"{case.mask} marks no tumor: none of its labels is one of a tumor. Draw it, or say so.")
    return _Drawn(core, whole, made=False)


def _drawn_by_the_network(case: Case, patient: Patient, reader: TumorReader, progress: Progress) -> _Drawn:
    grid = patient.t1c.grid
    boxes = [tumor.box for tumor in case.tumors if tumor.box is not None]
    if boxes:
        outlines = [read_in_box(patient.scan, box, "core", reader, grid).outline for box in boxes]
        return _Drawn(*merge(outlines, grid), made=True)
    found = suggest_tumors(patient, reader, progress)
    if not any(focus.core_ml >= SMALLEST_ML for focus in find_foci(found.core, found.whole)):
        raise InvalidImage(
            f"{case.t1c} has no mask, and the network finds no tumor of at least {SMALLEST_ML} ml in it. Draw a mask, "
            f"or name a box in a CSV manifest."
        )
    return _Drawn(found.core, found.whole, made=True)


def _tumors_of(case: Case, drawn: _Drawn) -> list[tuple[Tumor, str]]:
    """The tumors with their boxes and sizes, and what each box is around ("core" or "whole")."""
    if case.tumors and all(tumor.box is not None for tumor in case.tumors):
        return [(_measured_in_box(tumor, drawn), "core") for tumor in case.tumors]
    if len(case.tumors) > 1:
        raise InvalidBox(f"The case {case.id} names {len(case.tumors)} tumors, and not every one has a box. Add them.")
    known = case.tumors[0] if case.tumors else Tumor()
    foci = find_foci(drawn.core, drawn.whole, SMALLEST_ML) if drawn.made else find_foci(drawn.core, drawn.whole)
    return [
        (
            _with_sizes(
                replace(known, id=str(number), box=focus.size.box), focus.linear_size_mm, focus.core_ml, focus.whole_ml
            ),
            focus.around,
        )
        for number, focus in enumerate(foci, start=1)
    ]


def _measured_in_box(tumor: Tumor, drawn: _Drawn) -> Tumor:
    """A tumor with what the masks say within its box; what was said before stays."""
    inside = voxels_inside(_a_little_larger(tumor.box, drawn.core), drawn.core.grid)
    core, whole = (LabelMap((mask.data != 0) & inside, mask.affine) for mask in (drawn.core, drawn.whole))
    if not core.data.any():
        return tumor
    size = measure_tumor(core)
    return _with_sizes(tumor, size.linear_size_mm, size.volume_ml, whole.volume_ml())


def _a_little_larger(box: Box, mask: LabelMap) -> Box:
    # By half a voxel, so that a box that just encloses the mask loses no voxel to rounding.
    return Box(box.center, box.size + mask.grid.spacing.max() / 2, box.axes)


def _with_sizes(tumor: Tumor, linear_size_mm: float | None, core_ml: float, whole_ml: float) -> Tumor:
    measured = {"linear_size_mm": linear_size_mm, "core_ml": core_ml, "whole_ml": whole_ml}
    return replace(tumor, **{name: value for name, value in measured.items() if getattr(tumor, name) is None})


def _with_place(tumor: Tumor, atlas_mm: np.ndarray | None) -> Tumor:
    """A tumor with the names of its place; those that somebody has given stay."""
    if atlas_mm is None:
        return tumor
    said = {name: value for name, value in vars(describe_position(atlas_mm)).items() if getattr(tumor, name) is None}
    return replace(tumor, **said, atlas_mm=tuple(float(number) for number in atlas_mm))


def _rows(vectors: list[np.ndarray]) -> np.ndarray:
    return np.array(vectors, np.float32).reshape(len(vectors), DEFAULT_LAYOUT.size)
