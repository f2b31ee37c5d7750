"""The user's tasks, as the worker does them: arguments in, engine called, answer in words of JSON.

What takes long to load stays loaded between the requests: the model (`engine.patient`), the atlas, the last index, and
the last searches.
"""

from collections import OrderedDict
from pathlib import Path

import numpy as np

from TumorRetrievalLib.cohort.case import Tumor
from TumorRetrievalLib.engine.described import described_case, described_hit
from TumorRetrievalLib.engine.find import FindRequest, find_similar, prepare_folder
from TumorRetrievalLib.engine.index_map import map_of, positions_of
from TumorRetrievalLib.engine.known_cases import KnownCase, load_known_case
from TumorRetrievalLib.engine.patient import tumor_reader
from TumorRetrievalLib.engine.rerank import QUERY_FILE, Query
from TumorRetrievalLib.engine.search import Wishes, search, search_together
from TumorRetrievalLib.engine.segment import SegmentRequest, segment_brain
from TumorRetrievalLib.engine.stability import JITTERS, check_search
from TumorRetrievalLib.errors import InvalidRequest, RegistrationFailed
from TumorRetrievalLib.imaging.atomic import file_state
from TumorRetrievalLib.imaging.files import write_labels, write_volume
from TumorRetrievalLib.imaging.volume import Volume
from TumorRetrievalLib.registration.affine import register_to_atlas
from TumorRetrievalLib.registration.atlas import load_atlas
from TumorRetrievalLib.resources import resource
from TumorRetrievalLib.retrieval.case_index import CaseIndex
from TumorRetrievalLib.retrieval.embedding import model_identity
from TumorRetrievalLib.retrieval.filters import Filters
from TumorRetrievalLib.retrieval.index_manifest import MANIFEST
from TumorRetrievalLib.retrieval.open_index import open_index
from TumorRetrievalLib.worker import arguments as read
from TumorRetrievalLib.worker.arguments import Arguments
from TumorRetrievalLib.worker.growth_task import TASKS as GROWTH_TASKS
from TumorRetrievalLib.worker.index_tasks import TASKS as INDEX_TASKS
from TumorRetrievalLib.worker.tasks import Progress, Task

_QUERIES_KEPT = 16
_PLACES_KEPT = 1000


class _Warm:
    """What stays loaded from one request to the next."""

    def __init__(self):
        self._index: tuple[tuple, CaseIndex] | None = None
        self._queries: OrderedDict[tuple, Query] = OrderedDict()
        self._places: OrderedDict[tuple, np.ndarray | None] = OrderedDict()

    def index(self, folder: Path, model: str | None) -> CaseIndex:
        """An index, checked and opened once, until somebody writes to it.

        :param model: the model whose vectors it has to hold; None: any.
        """
        state = (folder, file_state(folder / MANIFEST))
        opened = self._index[1] if self._index is not None and self._index[0] == state else None
        if opened is None or model not in (None, opened.manifest.model_hash):
            opened = open_index(folder, model)
            if self._index is not None:
                self._index[1].close()
            self._index = (state, opened)
        return opened

    def query(self, folder: Path) -> Query:
        """The search whose result lies in a folder."""
        state = (folder, file_state(folder / QUERY_FILE))
        if state not in self._queries:
            self._queries[state] = Query.kept(folder)
        self._queries.move_to_end(state)
        while len(self._queries) > _QUERIES_KEPT:
            self._queries.popitem(last=False)
        return self._queries[state]

    def case_to_atlas(self, folder: Path, case_id: str, t1c: Volume, progress: Progress) -> np.ndarray | None:
        """Where a case lies in the atlas, shape (4, 4); None if it could not be brought there."""
        key = (folder, file_state(folder / MANIFEST), case_id)
        if key not in self._places:
            try:
                alignment = register_to_atlas(t1c, progress=lambda f, _: progress(0.6 + 0.4 * f, "Finding its place"))
                self._places[key] = alignment.patient_to_atlas
            except RegistrationFailed:
                self._places[key] = None
            while len(self._places) > _PLACES_KEPT:
                self._places.popitem(last=False)
        return self._places[key]


_warm = _Warm()


def warm_up(given: dict, progress: Progress) -> dict:
    """Load what the first search would have to wait for.

    Arguments: `model` and `index`, folders, the bundled ones where absent; `device`.

    :returns: `device`, `model` (what it is), `index` (what it holds).
    """
    arguments = Arguments(given)
    model, device = arguments.get("model", read.path), arguments.get("device", read.text)
    folder = arguments.get("index", read.path) or resource("Index")
    arguments.done()
    progress(0.0, "Loading the model")
    reader = tumor_reader(model, device)
    progress(0.5, "Opening the case index")
    index = _warm.index(folder, model_identity(reader.model.contract))
    progress(0.7, "Loading the atlas")
    load_atlas()
    progress(1.0, "Ready")
    contract = {key: reader.model.contract.get(key) for key in ("name", "architecture", "trained_on", "weights_sha256")}
    return {"device": str(reader.device), "model": contract, "index": {**index.stats(), "folder": str(folder)}}


def find(given: dict, progress: Progress) -> dict:
    """Find similar cases: the arguments are the fields of `engine.find.FindRequest`.

    :returns: the content of result.json.
    """
    arguments = Arguments(given)
    request = FindRequest(
        t1c=arguments.needed("t1c", read.path),
        out=arguments.needed("out", read.path),
        flair=arguments.get("flair", read.path),
        boxes=arguments.get("boxes", read.boxes, []),
        mask=arguments.get("mask", read.path),
        around=arguments.get("around", read.text, "core"),
        k=arguments.get("k", read.count, 5),
        index=arguments.get("index", read.path),
        model=arguments.get("model", read.path),
        filters=arguments.get("filters", read.filters, Filters()),
        weights=arguments.get("weights", read.weights, {}),
        liked=arguments.get("like", read.names, []),
        disliked=arguments.get("unlike", read.names, []),
        mirrored=arguments.get("mirrored", read.flag, False),
        look_alikes=arguments.get("look_alikes", read.flag, False),
        together=arguments.get("together", read.flag, False),
        one_per=arguments.get("one_per", read.one_per, "patient"),
        report=arguments.get("report", read.flag, True),
        device=arguments.get("device", read.text),
    )
    arguments.done()
    result = find_similar(request, progress)
    _warm.query(request.out)
    return result


def look_again(given: dict, progress: Progress) -> dict:
    """Rank again for a tumor of an earlier search.

    Arguments: `result` (the folder of that search), `tumor` (number of the box, from 0), `k`, `filters`, `weights`,
    `more` and `less` (tumors of the index, of whose kind the user wants more or fewer), `mirrored`, `look_alikes`,
    `one_per`; or `together`, which ranks the cases for all boxes of that search.

    :returns: `hits`, as in result.json; with `look_alikes`, also `look_alikes_of`; with `together`, also `together`.
    """
    arguments = Arguments(given)
    folder, tumor = arguments.needed("result", read.path), arguments.get("tumor", read.row, 0)
    k = arguments.get("k", read.count, 5)
    together = arguments.get("together", read.flag, False)
    wishes = _wishes(arguments)
    arguments.done()
    query = _warm.query(folder)
    if tumor >= len(query.embeddings):
        raise InvalidRequest(f"The search in {folder} had {len(query.embeddings)} boxes; there is no number {tumor}.")
    index = _warm.index(query.index, query.model)
    if together:
        cases = search_together(index, query.embeddings, k, wishes)
        partners = [case.pairs[tumor] for case in cases if tumor in case.pairs]
        return {"hits": [described_hit(hit) for hit in partners], "together": [described_case(hit) for hit in cases]}
    answer = search(index, query.embeddings[tumor], k, wishes)
    left_out = {"look_alikes_of": answer.look_alikes_of} if wishes.look_alikes else {}
    return {"hits": [described_hit(hit) for hit in answer.hits], **left_out}


def _wishes(arguments: Arguments) -> Wishes:
    """What decides the order of a list."""
    return Wishes(
        filters=arguments.get("filters", read.filters, Filters()),
        factors=arguments.get("weights", read.weights, {}),
        liked=tuple(arguments.get("more", read.tumors, [])),
        disliked=tuple(arguments.get("less", read.tumors, [])),
        mirrored=arguments.get("mirrored", read.flag, False),
        look_alikes=arguments.get("look_alikes", read.flag, False),
        one_per=arguments.get("one_per", read.one_per, "patient"),
    )


def check_boxes(given: dict, progress: Progress) -> dict:
    """Draw the box of an earlier search again, a little differently, and see which of its similar cases stay.

    Arguments: those of `rerank`, and `t1c` and `flair`, the scans of that search, `model`, `device`, and `boxes`, how
    often the box is drawn.

    :returns: `hits`: for each of the `k` listed tumors its `case`, `tumor`, and what result.json calls its `stability`.
    """
    arguments = Arguments(given)
    folder, tumor = arguments.needed("result", read.path), arguments.get("tumor", read.row, 0)
    t1c, flair = arguments.needed("t1c", read.path), arguments.get("flair", read.path)
    model, device = arguments.get("model", read.path), arguments.get("device", read.text)
    k, count = arguments.get("k", read.count, 5), arguments.get("boxes", read.count, JITTERS)
    wishes = _wishes(arguments)
    arguments.done()
    query = _warm.query(folder)
    index = _warm.index(query.index, query.model)
    checked = check_search(
        query, tumor, index, t1c, flair, k=k, model=model, device=device, count=count, progress=progress,
        filters=wishes.filters, factors=wishes.factors, liked=wishes.liked, disliked=wishes.disliked,
    )  # fmt: skip
    return {"hits": [{"case": one.case, "tumor": one.tumor, "stability": one.described()} for one in checked]}


def map_tumors(given: dict, progress: Progress) -> dict:
    """The map of an index, and where the tumors of an earlier search lie on it.

    Arguments: `index` (folder; the bundled one where absent), `result` (folder of a search; its index is shown then),
    `also` (tumors of the index whose place is wanted even if they are not on the map).

    :returns: `tumors` (a list of `case`, `tumor`, `type`, `area`, `left_right` for each point), `points`, `queries`
        (one for each box of the search) and `also` (lists of two coordinates from -1 to 1); `known`, how many tumors
        the index holds.
    """
    arguments = Arguments(given)
    folder, searched = arguments.get("index", read.path), arguments.get("result", read.path)
    also = arguments.get("also", read.tumors, [])
    arguments.done()
    query = None if searched is None else _warm.query(searched)
    index = _warm.index(query.index, query.model) if query else _warm.index(folder or resource("Index"), None)
    known = map_of(index, progress)
    tumors = [
        [case_id, tumor.id, tumor.type or "", tumor.area or "", tumor.left_right or ""]
        for case_id, tumor in known.tumors
    ]
    places = {"points": known.points, "queries": known.place(query.embeddings) if query else np.zeros((0, 2)),
              "also": positions_of(index, known, also)}  # fmt: skip
    rounded = {name: np.round(place.astype(float), 4).tolist() for name, place in places.items()}
    return {"tumors": tumors, "known": len(index), **rounded}


def segment(given: dict, progress: Progress) -> dict:
    """Outline tumors in the whole brain: the arguments are the fields of `engine.segment.SegmentRequest`.

    :returns: the content of segment.json.
    """
    arguments = Arguments(given)
    request = SegmentRequest(
        t1c=arguments.needed("t1c", read.path),
        out=arguments.needed("out", read.path),
        flair=arguments.get("flair", read.path),
        model=arguments.get("model", read.path),
        device=arguments.get("device", read.text),
    )
    arguments.done()
    return segment_brain(request, progress)


def case(given: dict, progress: Progress) -> dict:
    """Write a known case as files that can be shown, and say where it lies in the atlas.

    Arguments: `case` (id), `out` (folder; nothing is written where it is absent), `index` (folder; the bundled one
    where absent), `atlas` (whether the way to the atlas is wanted: a registration, the first time it is asked for).

    :returns: `files` (t1c and, where the case has them, flair, core, whole: names in `out`), `tumors`, `patient`,
        `provenance`; and `case_to_atlas`, case RAS mm -> MNI152 mm (4 x 4), null where it is unknown or not wanted.
    """
    arguments = Arguments(given)
    case_id, out = arguments.needed("case", read.text), arguments.get("out", read.path)
    folder = arguments.get("index", read.path) or resource("Index")
    aligned = arguments.get("atlas", read.flag, False)
    arguments.done()
    record = _warm.index(folder, None).get(case_id)
    if out is not None:
        prepare_folder(out)
    progress(0.1, f"Making {case_id} ready to show")
    images = load_known_case(record)
    progress(0.6, f"Making {case_id} ready to show")
    files = {} if out is None else _written(images, out)
    to_atlas = _warm.case_to_atlas(folder, case_id, images.t1c, progress) if aligned else None
    tumors = [_described_tumor(tumor) for tumor in record.tumors]
    shown = {"files": files, "tumors": tumors, "patient": record.patient, "provenance": images.provenance}
    return {**shown, "case_to_atlas": None if to_atlas is None else to_atlas.tolist()}


def _written(images: KnownCase, out: Path) -> dict[str, str]:
    """Write a case's images into a folder. :returns: image -> its file."""
    files = {}
    writers = {"t1c": write_volume, "flair": write_volume, "core": write_labels, "whole": write_labels}
    for name, write in writers.items():
        image = getattr(images, name)
        # Not compressed: that takes longer than the rest, and the files are read once.
        if image is not None:
            files[name] = f"{name}.nii"
            write(out / files[name], image)
    return files


def _described_tumor(tumor: Tumor) -> dict:
    names = ("id", "type", "area", "left_right", "front_rear", "upper_lower", "linear_size_mm", "core_ml", "whole_ml")
    box = tumor.box
    shown = None if box is None else {
        "center_ras": box.center.tolist(), "size_mm": box.size.tolist(), "axes": box.axes.tolist()
    }  # fmt: skip
    position = None if tumor.atlas_mm is None else list(tumor.atlas_mm)
    return {**{name: getattr(tumor, name) for name in names}, "box": shown, "atlas_mm": position}


TASKS: dict[str, Task] = {
    "warm_up": warm_up,
    "find": find,
    "rerank": look_again,
    "stability": check_boxes,
    "map": map_tumors,
    "segment": segment,
    "case": case,
    **GROWTH_TASKS,
    **INDEX_TASKS,
}
