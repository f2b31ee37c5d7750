"""The growth commands pass on what they were told, and say what one scan cannot tell."""

import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pytest

RESULT = {
    "notes": ["Only the affine alignment was used."],
    "dice": {"retrieval": {"core": 0.6, "whole": 0.7, "combined": 1.3}, "refined": None,
             "in_patient": {"core": 0.61, "whole": 0.69, "combined": 1.3}},
    "parameters": {"lambda_mm2": 4.256, "tau": 13.5},
    "files": {"report": "growth.html"},
}  # fmt: skip
MEASURED = {
    "masks": 12,
    "database_size": 500,
    "combined_dice": {"retrieval": {"mean": 1.3, "core": 0.6, "whole": 0.7}},
    "methods": {"exact": {"top1": 1.0, "median_ms": 0.4}},
}


@pytest.fixture
def asked(monkeypatch):
    """What each engine was asked, by the name of its function."""
    known = {}

    def engine(module_name, answers):
        module = ModuleType(module_name)
        for name, answer in answers.items():

            def note(*arguments, name=name, answer=answer, progress=None, **named):
                known[name] = (arguments, named)
                progress(0.5, "Working")
                return answer

            setattr(module, name, note)
        if "fit_growth" in answers:
            module.GrowthRequest = module.GrowthOptions = lambda **named: SimpleNamespace(**named)
        monkeypatch.setitem(sys.modules, module_name, module)

    engine("TumorRetrievalLib.engine.growth", {"fit_growth": RESULT})
    made = {"tumors": 50, "megabytes": 0.05, "seconds": 3.2}
    engine("TumorRetrievalLib.engine.simulate", {"simulate_tumors": made})
    engine("TumorRetrievalLib.evaluation.growth", {"evaluate_growth": MEASURED})
    return known


def test_growth_takes_two_masks_and_all_its_options(call, asked):
    code, _, _ = call(
        *(
            "growth",
            "t1.nii.gz",
            "--flair",
            "fl.nii.gz",
            "--core",
            "c.nii.gz",
            "--whole",
            "w.nii.gz",
            "--out",
            "result",
        ),
        *("-k", "7", "--database", "my.growth", "--no-refine", "--no-deformable", "--device", "cpu"),
    )

    ((request,), _) = asked["fit_growth"]
    assert code == 0
    assert (request.t1c, request.flair, request.out) == (Path("t1.nii.gz"), Path("fl.nii.gz"), Path("result"))
    assert (request.core, request.whole, request.box) == (Path("c.nii.gz"), Path("w.nii.gz"), None)
    assert vars(request.options) == {
        "k": 7, "database": Path("my.growth"), "refined": False, "deformable": False,
    }  # fmt: skip


def test_growth_takes_a_box_and_refines_and_bends_unless_told_otherwise(call, asked):
    code, _, _ = call("growth", "t1.nii.gz", "--box=-30,20,25,40,41,42", "--around", "whole", "--out", "result")

    ((request,), _) = asked["fit_growth"]
    assert code == 0
    assert request.box.size.tolist() == [40, 41, 42] and request.around == "whole" and request.core is None
    assert vars(request.options) == {"k": 15, "database": None, "refined": True, "deformable": True}


def test_growth_says_the_overlap_lambda_and_tau_and_that_the_rest_is_unknown(call, asked):
    _, said, progress = call("growth", "t1.nii.gz", "--box=-30,20,25,40,41,42", "--out", "result")

    assert "1.300" in said and "4.26 mm^2" in said and "13.5" in said
    assert "cannot be told from one scan" in said
    assert str(Path("result") / "growth.html") in said
    assert "Only the affine alignment was used." in progress


@pytest.mark.parametrize(
    "where",
    [(), ("--core", "c.nii.gz"), ("--core", "c.nii.gz", "--whole", "w.nii.gz", "--box=1,2,3,4,5,6"),
     ("--whole", "w.nii.gz", "--box=1,2,3,4,5,6"), ("--box=1,2,3",)],
    ids=["nothing", "half of the masks", "box and masks", "box and a mask", "half of a box"],
)  # fmt: skip
def test_a_tumor_that_is_not_said_or_said_twice_is_wrong_usage(call, asked, where):
    code, _, _ = call("growth", "t1.nii.gz", "--out", "result", *where)

    assert code == 2 and not asked


def test_simulate_passes_on_count_seed_and_workers(call, asked):
    code, said, progress = call("simulate", "--count", "50", "--out", "my.growth", "--seed", "3", "--workers", "2")

    assert code == 0
    assert asked["simulate_tumors"] == (
        (Path("my.growth"), 50),
        {"seed": 3, "snapshots": 4, "t1": None, "tissue": None, "workers": 2, "scheduler": None},
    )
    assert "50 tumors" in said and "Working" in progress


def test_another_atlas_takes_both_of_its_files(call, asked):
    code, _, _ = call("simulate", "--count", "50", "--out", "my.growth", "--t1", "sri24.nii.gz")

    assert code == 2 and not asked


def test_evaluate_growth_passes_on_its_files_and_shows_the_scores(call, asked):
    code, said, _ = call(
        *("evaluate", "growth", "--masks", "m.npz", "--database", "my.growth", "--limit", "12", "--json", "out.json")
    )

    assert code == 0
    ((masks, database), named) = asked["evaluate_growth"]
    assert (masks, database, named["limit"], named["json_path"]) == (
        Path("m.npz"), Path("my.growth"), 12, Path("out.json"),
    )  # fmt: skip
    assert named["refined"] and named["models"] == []
    assert "12 masks" in said and "1.300" in said and "exact" in said
