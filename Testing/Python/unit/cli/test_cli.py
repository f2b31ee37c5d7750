"""The command line passes on what it was told, and speaks plainly when something is wrong."""

import json
import sys
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from TumorRetrievalLib import __version__
from TumorRetrievalLib.errors import UnreadableFile
from TumorRetrievalLib.retrieval.case_index import CaseIndex
from TumorRetrievalLib.retrieval.filters import Filters

HIT = {
    "case": "case-7",
    "tumor": "case-7/1",
    "score": 0.75,
    "blocks": {"appearance": 0.4, "type": 0.2, "position": 0.1, "extent": 0.05},
    "type": "meningioma",
    "area": "frontal lobe",
    "volume_ml": 7.2,
}
RESULT = {"tumors": [{"area": "frontal lobe", "core_ml": 7.0, "whole_ml": 21.0, "hits": [HIT]}], "notes": []}


@dataclass
class Engine:
    """An engine that notes what it was asked, and answers or fails as told."""

    request: object = None
    answer: object = None

    def find_similar(self, request, progress=None):
        self.request = request
        progress(0.5, "Segmenting")
        if isinstance(self.answer, BaseException):
            raise self.answer
        return self.answer or RESULT


@pytest.fixture
def engine(monkeypatch):
    @dataclass
    class FindRequest:
        t1c: Path
        flair: Path | None
        boxes: list
        mask: Path | None
        around: str
        k: int
        out: Path
        index: Path | None
        model: Path | None
        filters: Filters
        weights: dict
        liked: list
        disliked: list
        mirrored: bool
        look_alikes: bool
        together: bool
        one_per: str
        jitter: int
        growth: bool
        device: str | None

    engine = Engine()
    module = ModuleType("TumorRetrievalLib.engine.find")
    module.FindRequest, module.find_similar = FindRequest, engine.find_similar
    monkeypatch.setitem(sys.modules, module.__name__, module)
    return engine


def test_find_passes_on_everything_it_was_told(call, engine):
    code, _, _ = call(
        *("find", "t1.nii.gz", "--flair", "fl.nii.gz", "--box=-30,20,25,40,41,42", "--box=1,2,3,4,5,6", "-k", "3"),
        *("--out", "result", "--index", "idx", "--model", "net", "--type", "glioma", "--type", "metastasis"),
        *("--area", "frontal lobe", "--side", "left", "--weights", "position=2", "--weights", "type=0,extent=0.5"),
        *("--around", "whole", "--device", "cpu", "--growth"),
    )

    asked = engine.request
    assert code == 0
    assert (asked.t1c, asked.flair, asked.out) == (Path("t1.nii.gz"), Path("fl.nii.gz"), Path("result"))
    assert [box.size.tolist() for box in asked.boxes] == [[40, 41, 42], [4, 5, 6]]
    assert np.array_equal(asked.boxes[0].center, (-30, 20, 25))
    assert (asked.k, asked.around, asked.device, asked.mask) == (3, "whole", "cpu", None)
    assert (asked.index, asked.model) == (Path("idx"), Path("net"))
    assert asked.filters == Filters(types=("glioma", "metastasis"), areas=("frontal lobe",), left_right=("left",))
    assert asked.weights == {"position": 2.0, "type": 0.0, "extent": 0.5}
    assert asked.growth
    assert not (asked.mirrored or asked.look_alikes or asked.together or asked.liked or asked.disliked)
    assert asked.one_per == "patient"


def test_find_passes_on_how_it_shall_search(call, engine):
    code, _, _ = call(
        *("find", "t1.nii.gz", "--box=1,2,3,4,5,6", "--out", "result", "--like", "a/1", "--like", "b", "--unlike", "c"),
        *("--mirrored", "--look-alikes", "--one-per", "tumor", "--smallest-ml", "0.5", "--largest-ml", "20"),
        *("--side", "left", "--side", "right", "--side", "front", "--side", "upper"),
    )

    asked = engine.request
    assert code == 0
    assert (asked.liked, asked.disliked) == (["a/1", "b"], ["c"])
    assert asked.mirrored and asked.look_alikes and asked.one_per == "tumor"
    assert asked.filters == Filters(
        left_right=("left", "right"), front_rear=("front",), upper_lower=("upper",), smallest_ml=0.5, largest_ml=20
    )
    assert call("find", "t1.nii.gz", "--box=1,2,3,4,5,6", "--out", "r", "--together")[0] == 0
    assert engine.request.together


def test_look_alikes_of_several_boxes_together_are_wrong_usage(call, engine):
    code, _, error = call("find", "t1.nii.gz", "--box=1,2,3,4,5,6", "--out", "result", "--together", "--look-alikes")

    assert code == 2 and "--together" in error


def test_find_takes_its_boxes_from_a_mask(call, engine):
    code, _, _ = call("find", "t1.nii.gz", "--mask", "m.nii.gz", "--out", "result")

    assert code == 0
    assert engine.request.mask == Path("m.nii.gz") and engine.request.boxes == []
    assert (engine.request.k, engine.request.around, engine.request.filters) == (5, "core", Filters())
    assert not engine.request.growth


def test_find_shows_the_hits_and_where_the_report_is(call, engine):
    _, said, progress = call("find", "t1.nii.gz", "--box=1,2,3,4,5,6", "--out", "result")

    assert "case-7" in said and "meningioma" in said and "0.750" in said and "+0.400" in said
    assert str(Path("result") / "report.html") in said
    assert "50 % Segmenting" in progress


def test_filters_that_leave_nothing_are_said_in_words(call, engine):
    engine.answer = RESULT | {"tumors": [RESULT["tumors"][0] | {"hits": []}]}

    _, said, _ = call("find", "t1.nii.gz", "--box=1,2,3,4,5,6", "--out", "result")

    assert "No case in the index passes the filters." in said


def test_what_a_reader_must_know_is_said_beside_the_hits(call, engine):
    engine.answer = RESULT | {"notes": ["The place in the brain is unknown."]}

    _, said, error = call("find", "t1.nii.gz", "--box=1,2,3,4,5,6", "--out", "result")

    assert "Note: The place in the brain is unknown." in error and "Note" not in said


def test_a_suggested_box_can_be_pasted_into_find(call, monkeypatch):
    turned = [[0.8, -0.6, 0], [0.6, 0.8, 0], [0, 0, 1]]
    boxes = [
        {"center_ras": [1, 2, 3], "size_mm": [10, 20, 30], "axes": turned},
        {"center_ras": [-30.04, 20, 25], "size_mm": [40, 41, 42], "axes": np.eye(3).tolist()},
    ]
    asked = []
    module = ModuleType("TumorRetrievalLib.engine.segment")
    module.SegmentRequest = lambda **options: options
    answer = {"core_ml": 9.0, "whole_ml": 12.0, "boxes": boxes, "notes": []}
    module.segment_brain = lambda request, progress: asked.append(request) or answer
    monkeypatch.setitem(sys.modules, module.__name__, module)

    code, said, _ = call("segment", "t1.nii.gz", "--flair", "fl.nii.gz", "--out", "result")

    assert code == 0 and (asked[0]["t1c"], asked[0]["flair"]) == (Path("t1.nii.gz"), Path("fl.nii.gz"))
    assert said.splitlines()[1:] == ["--box=1.0,2.0,3.0,20.0,22.0,30.0", "--box=-30.0,20.0,25.0,40.0,41.0,42.0"]


def test_an_index_is_uploaded_to_the_address_that_is_named(call, monkeypatch, tmp_path):
    asked = []
    monkeypatch.setattr(
        "TumorRetrievalLib.retrieval.open_index.upload_index", lambda index, to: asked.append((len(index), to)) or 3
    )
    CaseIndex.create(tmp_path / "index", "m" * 64).close()

    code, said, _ = call("index", "upload", str(tmp_path / "index"), "--to", "qdrant://localhost/ours")

    assert code == 0 and asked == [(0, Path("qdrant://localhost/ours"))]
    assert said.strip() == "3 cases are now in qdrant://localhost:6333/ours."


def test_training_passes_on_its_budget(call, monkeypatch):
    asked = []
    module = ModuleType("TumorRetrievalLib.training.commands")
    module.train_recipe = lambda *names, **options: asked.append((names, options)) or Path("run/model")
    monkeypatch.setattr("TumorRetrievalLib.commands.train._show_card", lambda model: None)
    monkeypatch.setitem(sys.modules, module.__name__, module)

    code, said, _ = call("train", "pisov", "--out", "run", "--minutes", "1.5")

    assert code == 0 and str(Path("run/model")) in said
    assert asked[0][0] == ("pisov", Path("run"))
    assert (asked[0][1]["minutes"], asked[0][1]["steps"]) == (1.5, None)


def test_training_an_autoencoder_of_tumor_masks_passes_on_its_grid(call, monkeypatch):
    asked = []
    module = ModuleType("TumorRetrievalLib.engine.train_growth")
    module.train_growth = lambda *names, **options: asked.append((names, options))
    monkeypatch.setattr("TumorRetrievalLib.commands.train._show_card", lambda model: None)
    monkeypatch.setitem(sys.modules, module.__name__, module)

    code, said, _ = call("train", "growth-vae8", "--out", "run", "--grid", "64", "--steps", "9")

    assert code == 0 and str(Path("run/core/model")) in said
    assert asked[0][0] == ("growth-vae8", Path("run"))
    assert (asked[0][1]["edge"], asked[0][1]["minutes"], asked[0][1]["steps"]) == (64, None, 9)


def test_the_growth_table_is_shown_with_what_was_not_run(call, monkeypatch):
    asked = []
    part = {"masks": 3, "methods": {"ds64": {"top1": 0.875, "median_ms": 2.0}}}
    answer = {"database_size": 10, "synthetic": part, **part, "not_run": {"ae": "no weights were given"}}
    module = ModuleType("TumorRetrievalLib.evaluation.growth_table")
    module.evaluate_growth_table = lambda *files, **options: asked.append((files, options)) or answer
    monkeypatch.setitem(sys.modules, module.__name__, module)

    arguments = ("--database", "d.growth", "--masks", "m.npz", "--models", "a", "--models", "b", "--limit", "3")
    code, said, _ = call("evaluate", "growth-table", *arguments)

    assert code == 0 and "3 real tumors ask 10:" in said and "0.875" in said and "ae: not run" in said
    assert asked[0][0] == (Path("d.growth"),) and asked[0][1]["models"] == [Path("a"), Path("b")]
    assert (asked[0][1]["masks"], asked[0][1]["limit"], asked[0][1]["tumors"]) == (Path("m.npz"), 3, None)


@pytest.mark.parametrize(
    "arguments",
    [
        ["find", "t1.nii.gz", "--out", "r"],
        ["find", "t1.nii.gz", "--out", "r", "--box=1,2,3,4,5,6", "--mask", "m.nii.gz"],
        ["find", "t1.nii.gz", "--out", "r", "--box=1,2,3"],
        ["find", "t1.nii.gz", "--out", "r", "--box=1,2,3,0,5,6"],
        ["find", "t1.nii.gz", "--out", "r", "--box=1,2,3,4,5,6", "-k", "0"],
        ["find", "t1.nii.gz", "--out", "r", "--box=1,2,3,4,5,6", "--weights", "position"],
        ["find", "t1.nii.gz", "--out", "r", "--box=1,2,3,4,5,6", "--weights", "position=-1"],
        ["find", "t1.nii.gz", "--out", "r", "--box=1,2,3,4,5,6", "--weights", "position=nan"],
        ["find", "t1.nii.gz", "--out", "r", "--box=1,2,3,4,5,6", "--around", "skull"],
        ["nonsense"],
    ],
    ids=" ".join,
)
def test_wrong_usage_ends_with_2_before_anything_is_computed(call, engine, arguments):
    code, _, said = call(*arguments)

    assert code == 2
    assert said and "Traceback" not in said
    assert engine.request is None


def test_an_error_of_ours_is_one_short_block_and_ends_with_1(call, engine):
    engine.answer = UnreadableFile("t1.nii.gz is truncated [bold]: copy it again.")

    code, said, error = call("find", "t1.nii.gz", "--box=1,2,3,4,5,6", "--out", "result")

    assert (code, said) == (1, "")
    assert "Error: t1.nii.gz is truncated [bold]: copy it again." in error
    assert "Traceback" not in error


def test_ctrl_c_ends_with_130_and_one_word(call, engine):
    engine.answer = KeyboardInterrupt()

    code, _, error = call("find", "t1.nii.gz", "--box=1,2,3,4,5,6", "--out", "result")

    assert code == 130
    assert error.endswith("Stopped.\n") and "Traceback" not in error


def test_retrieval_scores_stand_beside_those_of_the_paper(call, monkeypatch):
    ours, paper = {"exact boxes": {"type": 0.9, "area": 0.7}}, {"exact boxes": {"type": 0.86}}
    asked = {}
    module = ModuleType("TumorRetrievalLib.evaluation.retrieval")
    answer = {"k": 5, "ours": ours, "paper": paper, "notes": [], "model": "abc"}
    module.evaluate_retrieval = lambda **options: asked.update(options) or answer
    monkeypatch.setitem(sys.modules, module.__name__, module)

    code, said, _ = call("evaluate", "retrieval", "--index", "idx", "--json", "r.json", "--queries", "9")

    assert code == 0
    assert (asked["index"], asked["json_path"], asked["queries"]) == (Path("idx"), Path("r.json"), 9)
    lines = [line.split() for line in said.splitlines()][1:]
    assert lines == [["ours,", "exact", "boxes", "0.900", "0.700"], ["paper,", "exact", "boxes", "0.860"]]


def test_the_papers_tables_are_shown_with_rows_that_were_not_trained_left_empty(call, monkeypatch):
    row = {"paper": {"type": 0.86}, "retrained": {"type": 0.8, "dice": 0.5}}
    answer = {
        "cohort": {"held_out_tumors": 3, "gallery_tumors": 12},
        "table_2": {"32 channels": {**row, "retrained": None}},
        "table_3": {"All": row},
        "table_4": {"ours": {"exact boxes": {"type": 0.9}}},
    }
    asked = {}
    monkeypatch.setattr(
        "TumorRetrievalLib.evaluation.pisov.evaluate_pisov",
        lambda *folders, **options: asked.update(options, folders=folders) or answer,
    )

    code, said, _ = call("evaluate", "pisov", "--runs", "r", "--out", "p", "--minutes-each", "2", "--size", "small")

    assert code == 0 and asked["folders"] == (Path("r"), Path("p"), None)
    assert (asked["minutes_each"], asked["size"], asked["patients"]) == (2.0, "small", 989)
    rows = [" ".join(line.split()) for line in said.splitlines()]
    assert rows[0].startswith("3 synthetic tumors ask 12")
    assert "32 channels, paper 0.860" in rows and "32 channels, retrained" in rows
    assert "All, retrained 0.800 0.500" in rows and "ours, exact boxes 0.900" in rows


def test_an_unknown_label_is_refused_with_the_allowed_ones(call, engine):
    code, _, error = call("find", "t1.nii.gz", "--box=1,2,3,4,5,6", "--out", "result", "--type", "gliom")

    assert code == 1 and engine.request is None
    assert "gliom" in error and "glioma" in error


@pytest.fixture
def index_folder(tmp_path):
    CaseIndex.create(tmp_path / "index", "model-a").close()
    return tmp_path / "index"


def test_index_stats_are_json(call, index_folder):
    code, said, _ = call("index", "stats", str(index_folder))

    assert code == 0
    assert json.loads(said)["model"] == "model-a"


def test_a_whole_index_is_said_to_be_whole_and_a_damaged_one_is_not(call, index_folder):
    assert call("index", "verify", str(index_folder))[0] == 0
    vectors = next(index_folder.glob("vectors-*.npy"))
    vectors.write_bytes(vectors.read_bytes()[:-1] + b"?")

    code, said, error = call("index", "verify", str(index_folder))

    assert (code, said) == (1, "") and "Error:" in error and "Traceback" not in error


def test_building_an_index_passes_on_its_options(call, monkeypatch):
    asked = {}
    module = ModuleType("TumorRetrievalLib.engine.build_index")
    module.build_bundled_index = lambda out, **options: asked.update(options, out=out) or {"cases": 3}
    monkeypatch.setitem(sys.modules, module.__name__, module)

    code, said, _ = call("index", "build-synthetic", "--out", "idx", "--model", "net", "--workers", "2")

    assert (code, json.loads(said)) == (0, {"cases": 3})
    assert (asked["out"], asked["model"], asked["workers"]) == (Path("idx"), Path("net"), 2)


def test_segmentation_scores_are_a_table_with_their_means(call, monkeypatch):
    scores = {"mean": {"core_in_box": 0.8}, "cases": {"a": {"core_in_box": 0.8}, "b": {"core_in_box": None}}}
    asked = {}
    module = ModuleType("TumorRetrievalLib.evaluation.segmentation")
    module.evaluate_segmentation = lambda cases, **options: asked.update(options, cases=cases) or scores
    monkeypatch.setitem(sys.modules, module.__name__, module)

    code, said, _ = call("evaluate", "segmentation", "--cases", "data", "--json", "s.json")

    assert code == 0
    assert (asked["cases"], asked["json_path"]) == (Path("data"), Path("s.json"))
    assert [line.split() for line in said.splitlines()][1:] == [["a", "0.800"], ["b"], ["mean", "0.800"]]


def test_the_version_is_the_librarys(call):
    assert call("--version") == (0, f"{__version__}\n", "")
