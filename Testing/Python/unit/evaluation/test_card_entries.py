"""What evaluations leave in a model's card."""

from TumorRetrievalLib.evaluation.card_entries import retrieval_entry, segmentation_entry
from TumorRetrievalLib.evaluation.neighbours import LABELS
from TumorRetrievalLib.evaluation.segmentation import SCORES


def test_outlines_are_noted_as_means_over_the_cases_with_intervals_beside_what_needs_no_network():
    cases = {f"case {n}": dict.fromkeys(SCORES, 0.5) | {"core_in_box": share} for n, share in enumerate((0.7, 0.9))}
    cases["case 0"]["core_without_box"] = None

    entry = segmentation_entry({"cases": cases}, "evaluate segmentation --cases scans")

    core = entry["scores"]["tumor core in its box, T1c and FLAIR"]
    assert core["model"] == {"mean": 0.8, "low": 0.7, "high": 0.9, "n": 2}
    assert core["ellipsoid in the box"]["mean"] == core["Otsu in the box"]["mean"] == 0.5
    assert entry["scores"]["tumor core without a box"]["model"]["n"] == 1
    assert entry["command"] == "evaluate segmentation --cases scans" and "over 2 scans" in entry["about"]


def test_shares_of_tumors_get_an_interval_and_the_papers_figures_none():
    row = dict.fromkeys(LABELS, 0.9) | {"linear_size_rmse_mm": 2.5}
    both = {"exact boxes": row, "distorted boxes": row | {"type": 0.5}}
    result = {
        "ours": both, "appearance alone": both, "paper": both, "chance": {"most frequent label": row},
        "k": 5, "patients": "synthetic patients", "held_out_tumors": 40, "gallery_tumors": 160,
    }  # fmt: skip

    entry = retrieval_entry(result, "evaluate retrieval")

    kind = entry["scores"]["type"]
    assert kind["ours"]["mean"] == 0.9 and 0.75 < kind["ours"]["low"] < 0.9 < kind["ours"]["high"] < 1
    assert kind["ours, distorted boxes"]["mean"] == 0.5 and kind["ours"]["n"] == 40
    assert kind["Pisov et al."] == {"mean": 0.9, "low": None, "high": None, "n": None}
    assert entry["scores"]["linear size, error in mm (RMSE)"]["ours"]["mean"] == 2.5


def test_of_a_hospitals_tumors_missing_labels_are_left_out_and_shares_stand_alone():
    both = {"exact boxes": {"type": 0.9}, "distorted boxes": {"type": 0.8}}
    result = {
        "ours": both, "appearance alone": both, "paper": both, "chance": {"most frequent label": {"type": 0.5}},
        "k": 5, "patients": "patients of this index", "held_out_tumors": 40, "gallery_tumors": 160,
    }  # fmt: skip

    entry = retrieval_entry(result, "evaluate retrieval --index own")

    assert list(entry["scores"]) == ["type"] and entry["title"] == "Retrieval on patients of this index"
    assert entry["scores"]["type"]["ours"] == {"mean": 0.9, "low": None, "high": None, "n": None}
