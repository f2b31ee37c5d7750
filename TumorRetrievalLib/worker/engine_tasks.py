"""The user's tasks, as the worker does them: arguments in, engine called, answer in words of JSON.

What takes long to load stays loaded between the requests: the model (`engine.patient`), the atlas, the last index, and
the last searches.
"""

from collections import OrderedDict
from pathlib import Path

from TumorRetrievalLib.cohort.case import Tumor
from TumorRetrievalLib.engine.find import FindRequest, described_hit, find_similar, prepare_folder
from TumorRetrievalLib.engine.known_cases import load_known_case
from TumorRetrievalLib.engine.patient import tumor_reader
from TumorRetrievalLib.engine.rerank import QUERY_FILE, Query, rerank
from TumorRetrievalLib.engine.segment import SegmentRequest, segment_brain
from TumorRetrievalLib.errors import InvalidRequest
from TumorRetrievalLib.imaging.files import write_labels, write_volume
from TumorRetrievalLib.registration.atlas import load_atlas
from TumorRetrievalLib.resources import resource
from TumorRetrievalLib.retrieval.case_index import CaseIndex
from TumorRetrievalLib.retrieval.embedding import model_identity
from TumorRetrievalLib.retrieval.filters import Filters
from TumorRetrievalLib.retrieval.index_manifest import MANIFEST
from TumorRetrievalLib.worker import arguments as read
from TumorRetrievalLib.worker.arguments import Arguments
from TumorRetrievalLib.worker.growth_task import TASKS as GROWTH_TASKS
from TumorRetrievalLib.worker.tasks import Progress, Task

_QUERIES_KEPT = 16


class _Warm:
    """What stays loaded from one request to the next."""

    def __init__(self):
        self._index: tuple[tuple, CaseIndex] | None = None
        self._queries: OrderedDict[tuple, Query] = OrderedDict()

    def index(self, folder: Path, model: str | None) -> CaseIndex:
        """An index, checked and opened once, until somebody writes to it.

        :param model: the model whose vectors it has to hold; None: any.
        """
        state = (folder, _state_of(folder / MANIFEST))
        opened = self._index[1] if self._index is not None and self._index[0] == state else None
        if opened is None or model not in (None, opened.manifest.model_hash):
            opened = CaseIndex.open(folder, model)
            if self._index is not None:
                self._index[1].close()
            self._index = (state, opened)
        return opened

    def query(self, folder: Path) -> Query:
        """The search whose result lies in a folder."""
        state = (folder, _state_of(folder / QUERY_FILE))
        if state not in self._queries:
            self._queries[state] = Query.kept(folder)
        self._queries.move_to_end(state)
        while len(self._queries) > _QUERIES_KEPT:
            self._queries.popitem(last=False)
        return self._queries[state]


_warm = _Warm()


def _state_of(path: Path) -> tuple | None:
    """Changes whenever a file does."""
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_ino, status.st_mtime_ns, status.st_size


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
        device=arguments.get("device", read.text),
    )
    arguments.done()
    result = find_similar(request, progress)
    _warm.query(request.out)
    return result


def look_again(given: dict, progress: Progress) -> dict:
    """Rank again for a tumor of an earlier search.

    Arguments: `result` (the folder of that search), `tumor` (number of the box, from 0), `k`, `filters`, `weights`,
    `more` and `less` (tumors of the index, of whose kind the user wants more or fewer).

    :returns: `hits`, as in result.json.
    """
    arguments = Arguments(given)
    folder, tumor = arguments.needed("result", read.path), arguments.get("tumor", read.row, 0)
    k = arguments.get("k", read.count, 5)
    filters, weights = arguments.get("filters", read.filters), arguments.get("weights", read.weights)
    liked, disliked = arguments.get("more", read.tumors, []), arguments.get("less", read.tumors, [])
    arguments.done()
    query = _warm.query(folder)
    if tumor >= len(query.embeddings):
        raise InvalidRequest(f"The search in {folder} had {len(query.embeddings)} boxes; there is no number {tumor}.")
    index = _warm.index(query.index, query.model)
    embedding = query.embeddings[tumor]
    hits = rerank(index, embedding, k, filters=filters, factors=weights, liked=liked, disliked=disliked)
    return {"hits": [described_hit(hit) for hit in hits]}


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
    """Write a known case as files that can be shown.

    Arguments: `case` (id), `out` (folder), `index` (folder; the bundled one where absent).

    :returns: `files` (t1c and, where the case has them, flair, core, whole: names in `out`), `tumors`, `patient`,
        `provenance`.
    """
    arguments = Arguments(given)
    case_id, out = arguments.needed("case", read.text), arguments.needed("out", read.path)
    folder = arguments.get("index", read.path) or resource("Index")
    arguments.done()
    record = _warm.index(folder, None).get(case_id)
    prepare_folder(out)
    progress(0.1, f"Making {case_id} ready to show")
    images = load_known_case(record)
    progress(0.6, f"Making {case_id} ready to show")
    files = {}
    writers = {"t1c": write_volume, "flair": write_volume, "core": write_labels, "whole": write_labels}
    for name, write in writers.items():
        image = getattr(images, name)
        # Not compressed: that takes longer than the rest, and the files are read once.
        if image is not None:
            files[name] = f"{name}.nii"
            write(out / files[name], image)
    tumors = [_described_tumor(tumor) for tumor in record.tumors]
    return {"files": files, "tumors": tumors, "patient": record.patient, "provenance": images.provenance}


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
    "segment": segment,
    "case": case,
    **GROWTH_TASKS,
}
