"""The main job: from a scan and boxes to the most similar known cases."""

import json
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from itertools import zip_longest
from pathlib import Path

import numpy as np

from TumorRetrievalLib.cohort.labels import describe_position
from TumorRetrievalLib.engine.described import described_case, described_hit
from TumorRetrievalLib.engine.familiar import Familiarity
from TumorRetrievalLib.engine.in_box import read_in_box
from TumorRetrievalLib.engine.known_cases import KnownCase, in_parallel, load_if_possible
from TumorRetrievalLib.engine.outline import Outline, core_box, merge
from TumorRetrievalLib.engine.patient import Patient, StopWatch, open_patient, tumor_reader
from TumorRetrievalLib.engine.rerank import QUERY_FILE, Query
from TumorRetrievalLib.engine.search import Answer, Wishes, example_of, search, search_together
from TumorRetrievalLib.engine.slice_evidence import slice_evidence
from TumorRetrievalLib.engine.stability import HitStability, jittered_embeddings, stability
from TumorRetrievalLib.errors import CannotWrite, InvalidBox, InvalidRequest
from TumorRetrievalLib.imaging.atomic import atomic_file, make_folder
from TumorRetrievalLib.imaging.box import Box, boxes_around_components
from TumorRetrievalLib.imaging.files import read_labels, write_labels
from TumorRetrievalLib.imaging.volume import Grid, LabelMap
from TumorRetrievalLib.report.model import Report, ReportHit, ReportTumor
from TumorRetrievalLib.report.page import write_report
from TumorRetrievalLib.resources import resource
from TumorRetrievalLib.retrieval.case_index import CaseIndex, Hit
from TumorRetrievalLib.retrieval.embedder import Reading, TumorReader
from TumorRetrievalLib.retrieval.embedding import TumorFacts, embed, model_identity
from TumorRetrievalLib.retrieval.familiarity import best_match
from TumorRetrievalLib.retrieval.filters import Filters
from TumorRetrievalLib.retrieval.open_index import open_index
from TumorRetrievalLib.retrieval.together import CaseHit

Progress = Callable[[float, str], None]

MASKS = {"tumor_core": "tumor_core.nii.gz", "whole_tumor": "whole_tumor.nii.gz"}
"""Mask -> its file in the result's folder."""
RESULT = "result.json"
REPORT = "report.html"


@dataclass(frozen=True)
class FindRequest:
    """What a user asks for.

    :param boxes: drawn boxes, RAS mm; or none, and
    :param mask: a segmentation on the scan's grid, one box per connected part.
    :param around: "core" or "whole", what the boxes enclose.
    :param k: how many similar cases per box.
    :param out: folder for result.json, masks and report; made if it is not there.
    :param index: :param model: folders; the bundled ones when None.
    :param filters: which cases may be found.
    :param weights: block -> factor on its default weight; 2 makes it count double, 0 leaves it out.
    :param liked: :param disliked: cases of the index, or tumors (`CASE/TUMOR`), of whose kind the user wants more, or
        fewer.
    :param mirrored: :param look_alikes: :param one_per: see `engine.search.Wishes`.
    :param together: compare the boxes with each case as one set of tumors; see `retrieval.together`.
    :param jitter: how often each box is drawn again, a little differently, to see which cases stay in the list; see
        `engine.stability`.
    :param growth: whether the growth of gliomas is simulated too; see `engine.find_growth`.
    :param report: whether report.html is drawn, for which the images of every similar case have to be made or read.
    :param device: "cpu", "cuda"...; a GPU if there is one when None.
    """

    t1c: Path
    out: Path
    flair: Path | None = None
    boxes: list[Box] = field(default_factory=list)
    mask: Path | None = None
    around: str = "core"
    k: int = 5
    index: Path | None = None
    model: Path | None = None
    filters: Filters = field(default_factory=Filters)
    weights: dict[str, float] = field(default_factory=dict)
    liked: list[str] = field(default_factory=list)
    disliked: list[str] = field(default_factory=list)
    mirrored: bool = False
    look_alikes: bool = False
    together: bool = False
    one_per: str = "patient"
    jitter: int = 0
    growth: bool = False
    report: bool = True
    device: str | None = None

    def wishes(self, index: CaseIndex) -> Wishes:
        """What is to be found in an index.

        :raises UnknownCase: if an example is not in it.
        :raises InvalidRequest: if the wishes contradict each other.
        """
        if self.look_alikes and self.together:
            raise InvalidRequest("Look-alikes are found for single tumors: ask for them, or for all boxes together.")
        liked, disliked = (
            tuple(example_of(index, text) for text in examples) for examples in (self.liked, self.disliked)
        )
        return Wishes(self.filters, self.weights, liked, disliked, self.mirrored, self.look_alikes, self.one_per)


@dataclass(frozen=True, eq=False)
class FoundTumor:
    """One box, read and looked up.

    :param boxes_inside: of the tumors that were told apart in it; empty if none were.
    :param slices: see `engine.slice_evidence`.
    """

    box: Box
    reading: Reading
    outline: Outline
    boxes_inside: list[Box]
    facts: TumorFacts
    area: str
    answer: Answer
    familiarity: Familiarity
    slices: dict | None = None
    stability: list[HitStability] = field(default_factory=list)

    @property
    def hits(self) -> list[Hit]:
        """The similar cases' tumors."""
        return self.answer.hits


def find_similar(request: FindRequest, progress: Progress | None = None) -> dict:
    """Find the known cases most similar to the tumor in each box.

    Writes `result.json`, `tumor_core.nii.gz`, `whole_tumor.nii.gz` and, unless it is not wanted, `report.html` into
    `request.out`, and what `engine.rerank` needs to look again with other weights or filters.

    :param progress: called with a fraction and a message; whatever it raises stops the work.
    :returns: the content of result.json.
    :raises TumorRetrievalError: with what was wrong and what to do; nothing is half written then.
    """
    report = progress or (lambda fraction, message: None)
    watch = StopWatch()
    report(0.0, "Reading the scan")
    reader = watch.time("model", lambda: tumor_reader(request.model, request.device))
    patient = watch.time("read", lambda: open_patient(request.t1c, request.flair))
    boxes = _boxes(request, patient)
    for box in boxes:
        box.voxel_hull(patient.t1c.grid)
    prepare_folder(request.out)
    index_folder = request.index or resource("Index")
    identity = model_identity(reader.model.contract)
    index = watch.time("index", lambda: open_index(index_folder, identity))
    with index:
        wishes = request.wishes(index)
        report(0.1, "Bringing the scan to the atlas")
        watch.time("registration", lambda: patient.register(lambda f, m: report(0.1 + 0.3 * f, m)))
        report(0.4, "Reading the tumors")
        found = watch.time("tumors", lambda: [_find_one(patient, box, reader, index, request, wishes) for box in boxes])
        together = []
        if request.together:
            found, together = _all_together(found, index, request.k, wishes)
        if request.jitter:
            report(0.55, "Drawing the boxes again")
            found = watch.time("jitter", lambda: [_jittered(patient, one, reader, index, request) for one in found])
        cases = {}
        if request.report:
            report(0.6, "Making the similar cases ready to show")
            cases = watch.time("cases", lambda: _load_hits(index, found))
        facts = {"cases": index.stats()["cases"], "tumors": index.stats()["tumors"], "folder": str(index_folder)}
    report(0.75, "Writing the masks")
    _forget_earlier_result(request.out)
    core, whole = watch.time("masks", lambda: _write_masks(request.out, found, patient.t1c.grid))
    notes = [*patient.notes, *reader.notes, *_what_to_know(found)]
    grown = _grow(request, patient, found, notes, watch, lambda f, m: report(0.75 + 0.05 * f, m))
    if request.report:
        report(0.8, "Drawing the report")
        tumors = [_report_tumor(tumor, cases, growth) for tumor, growth in zip(found, grown, strict=True)]
        page = Report(
            patient.name, patient.t1c, patient.flair, core, whole, tumors, _report_facts(reader, facts, watch), notes
        )
        path = request.out / REPORT
        watch.time("report", lambda: write_report(path, page, lambda f, m: report(0.8 + 0.2 * f, m)))
    result = {
        **_result(request, patient, found, grown),
        **({"together": [described_case(hit) for hit in together]} if request.together else {}),
        "device": str(reader.device),
        "seconds": watch.seconds(),
        "model": {key: reader.model.contract.get(key) for key in ("name", "architecture", "weights_sha256")},
        "index": facts,
        "notes": notes,
    }
    embeddings = np.array([embed(tumor.facts) for tumor in found])
    Query(embeddings, Path(index_folder), identity, boxes, request.around, patient.patient_to_atlas).keep(request.out)
    with atomic_file(request.out / RESULT) as temporary:
        temporary.write_text(json.dumps(result, indent=2, allow_nan=False) + "\n", encoding="utf-8")
    report(1.0, "Done")
    return result


def _result(request: FindRequest, patient: Patient, found: list[FoundTumor], grown: list[dict | None]) -> dict:
    """What was found, as result.json says it."""
    to_atlas = patient.patient_to_atlas
    tumors = [
        _result_tumor(tumor) | ({"growth": growth} if growth else {})
        for tumor, growth in zip(found, grown, strict=True)
    ]
    return {
        "tumors": tumors,
        "around": request.around,
        "patient_to_atlas": None if to_atlas is None else to_atlas.tolist(),
        "masks": MASKS,
    }


def _write_masks(out: Path, found: list[FoundTumor], grid: Grid) -> tuple[LabelMap, LabelMap]:
    """Write the core and whole-tumor masks of all boxes on the scan's grid."""
    core, whole = merge([tumor.outline for tumor in found], grid)
    write_labels(out / MASKS["tumor_core"], core)
    write_labels(out / MASKS["whole_tumor"], whole)
    return core, whole


def prepare_folder(folder: Path) -> None:
    """Make the result's folder, before minutes are spent on what could not be written.

    :raises CannotWrite: if it cannot be made.
    """
    make_folder(folder)


def _forget_earlier_result(folder: Path) -> None:
    """From here to the new `result.json`, which comes last, nothing in the folder claims to be a result.

    :raises CannotWrite: if something of it cannot be removed.
    """
    for name in (RESULT, QUERY_FILE, REPORT):
        try:
            (folder / name).unlink(missing_ok=True)
        except OSError as error:
            raise CannotWrite(f"{folder / name} cannot be replaced: {error.strerror or error}.") from error


def _boxes(request: FindRequest, patient: Patient) -> list[Box]:
    if request.mask is None:
        if not request.boxes:
            raise InvalidBox("Draw at least one box around a tumor, or give a segmentation.")
        return list(request.boxes)
    mask = read_labels(request.mask)
    patient.t1c.require_same_grid(mask, f"The segmentation {request.mask}")
    return boxes_around_components(mask)


def _find_one(
    patient: Patient, box: Box, reader: TumorReader, index: CaseIndex, request: FindRequest, wishes: Wishes
) -> FoundTumor:
    inside = read_in_box(patient.scan, box, request.around, reader, patient.t1c.grid)
    reading, outline = inside.reading, inside.outline
    facts = patient.facts_about(reading, core_box(box, request.around, outline, patient.t1c.grid))
    embedding = embed(facts)
    answer = search(index, embedding, request.k, wishes)
    familiarity = Familiarity(best_match(index, embedding, wishes.weights, wishes.filters), inside.seen)
    area = "" if facts.atlas_mm is None else describe_position(facts.atlas_mm).area
    slices = slice_evidence(patient.t1c, box, request.device)
    return FoundTumor(box, reading, outline, inside.boxes, facts, area, answer, familiarity, slices)


def _all_together(
    found: list[FoundTumor], index: CaseIndex, k: int, wishes: Wishes
) -> tuple[list[FoundTumor], list[CaseHit]]:
    """The cases that resemble all boxes together; each tumor then shows its partners in those cases, in their order."""
    cases = search_together(index, np.array([embed(tumor.facts) for tumor in found]), k, wishes)
    partners = [[case.pairs[number] for case in cases if number in case.pairs] for number in range(len(found))]
    paired = [replace(tumor, answer=Answer(hits)) for tumor, hits in zip(found, partners, strict=True)]
    return paired, cases


def _what_to_know(found: list[FoundTumor]) -> list[str]:
    """Sentences about the hits that a reader must see."""
    warnings = [tumor.familiarity.warning(number) for number, tumor in enumerate(found, start=1)]
    several = [
        f"Box {number} seems to hold {len(tumor.boxes_inside)} tumors apart from each other. Each is outlined, but the "
        "similar cases are those of all of them in one box: draw a box around each to compare them one by one."
        for number, tumor in enumerate(found, start=1)
        if tumor.boxes_inside
    ]
    left_out = [
        f"Box {number}: these cases look alike but are of another type than the best match, a {name}."
        for number, tumor in enumerate(found, start=1)
        if (name := tumor.answer.look_alikes_of)
    ]
    return [warning for warning in warnings if warning] + several + left_out


def _jittered(
    patient: Patient, tumor: FoundTumor, reader: TumorReader, index: CaseIndex, request: FindRequest
) -> FoundTumor:
    """The same with how stable its hits are."""
    embeddings = jittered_embeddings(patient, tumor.box, request.around, reader, count=request.jitter)
    shown = [(hit.case, hit.tumor) for hit in tumor.hits]
    checked = stability(index, embeddings, shown, request.k, filters=request.filters, factors=request.weights)
    return replace(tumor, stability=checked)


def _grow(request: FindRequest, patient: Patient, found: list[FoundTumor], notes, watch, progress) -> list[dict | None]:
    """For each tumor its growth simulation, where one was asked for and could be made."""
    if not request.growth:
        return [None] * len(found)
    from TumorRetrievalLib.engine.find_growth import grow_gliomas

    tumors = [(tumor.reading.types, tumor.outline) for tumor in found]
    return watch.time("growth", lambda: grow_gliomas(patient, tumors, request.out, notes, progress))


def _load_hits(index: CaseIndex, found: list[FoundTumor]) -> dict[str, KnownCase]:
    ids = sorted({hit.case for tumor in found for hit in tumor.hits})
    records = [index.get(case_id) for case_id in ids]
    return dict(zip(ids, in_parallel([lambda r=record: load_if_possible(r) for record in records]), strict=True))


def _report_tumor(tumor: FoundTumor, cases: dict[str, KnownCase], growth: dict | None) -> ReportTumor:
    hits = [
        ReportHit(
            case=hit.case,
            tumor=hit.tumor,
            score=hit.score,
            blocks=hit.blocks,
            type=hit.record.type or "",
            area=hit.record.area or "",
            volume_ml=hit.record.core_ml,
            t1c=cases[hit.case].t1c,
            flair=cases[hit.case].flair,
            core=cases[hit.case].core,
            whole=cases[hit.case].whole,
            center_ras=np.asarray(hit.record.box.center),
            provenance=cases[hit.case].provenance,
            stability=stable.in_words() if stable else "",
        )
        for hit, stable in zip_longest(tumor.hits, tumor.stability)
    ]
    return ReportTumor(
        tumor.box,
        tumor.reading.types,
        tumor.area,
        tumor.facts.atlas_mm,
        tumor.outline.core_ml,
        tumor.outline.whole_ml,
        hits,
        growth=f"{growth['folder']}/growth.html" if growth else "",
        slices=tumor.slices,
    )


def _report_facts(reader: TumorReader, index: dict, watch: StopWatch) -> dict[str, str]:
    return {
        "Model": f"{reader.model.contract.get('name', 'unnamed')} ({reader.model.sha256[:12]})",
        "Trained on": str(reader.model.contract.get("trained_on", "not stated")),
        "Index": f"{index['cases']} cases with {index['tumors']} tumors",
        "Device": str(reader.device),
        "Time": f"{watch.total():.1f} s before this page was drawn",
    }


def _result_tumor(tumor: FoundTumor) -> dict:
    return {
        "box": _described_box(tumor.box),
        "types": {name: round(p, 4) for name, p in tumor.reading.types.items()},
        **({"slice_evidence": tumor.slices} if tumor.slices else {}),
        **({"boxes_inside": [_described_box(box) for box in tumor.boxes_inside]} if tumor.boxes_inside else {}),
        "area": tumor.area,
        "atlas_mm": None if tumor.facts.atlas_mm is None else _rounded(tumor.facts.atlas_mm),
        "core_ml": round(tumor.outline.core_ml, 3),
        "whole_ml": round(tumor.outline.whole_ml, 3),
        "hits": [
            described_hit(hit) | ({"stability": stable.described()} if stable else {})
            for hit, stable in zip_longest(tumor.hits, tumor.stability)
        ],
        "familiarity": tumor.familiarity.described(),
        **({"look_alikes_of": tumor.answer.look_alikes_of} if tumor.answer.look_alikes_of else {}),
    }  # fmt: skip


def _described_box(box: Box) -> dict:
    return {
        "center_ras": _rounded(box.center),
        "size_mm": _rounded(box.size),
        "axes": np.round(box.axes, 6).tolist(),
    }


def _rounded(point) -> list[float]:
    return [round(float(c), 2) for c in point]
