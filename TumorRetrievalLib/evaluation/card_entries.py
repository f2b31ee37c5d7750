"""What an evaluation has measured, as an entry of a model's card (`training.model_card`).

An entry has a `title`; `about`, what was measured on what; the `command` that measures it again; and `scores`: name of
a row -> name of a column -> `mean`, `low`, `high`, `n`, the last three None where the result does not say them.
"""

import numpy as np

from TumorRetrievalLib.evaluation.neighbours import LABELS
from TumorRetrievalLib.evaluation.segmentation import MARGIN
from TumorRetrievalLib.training.intervals import mean_over_splits, mean_with_interval


def segmentation_entry(result: dict, command: str) -> dict:
    """The entry of `evaluate_segmentation`.

    :param command: what a user types, without what only says where the result is kept.
    """
    rows = result["cases"].values()

    def over_cases(score: str) -> dict:
        return mean_with_interval([row[score] for row in rows])

    core = {"ellipsoid in the box": "ellipsoid_core_in_box", "Otsu in the box": "otsu_core_in_box"}
    whole = {"ellipsoid in the box": "ellipsoid_whole_in_box", "Otsu in the box": "otsu_whole_in_box"}
    table = {
        "tumor core in its box, T1c and FLAIR": {"model": "core_in_box"} | core,
        "tumor core in its box, T1c alone": {"model": "core_in_box_t1c_only"} | core,
        "whole tumor in its box": {"model": "whole_in_box"} | whole,
        "tumor core without a box": {"model": "core_without_box"},
        "whole tumor without a box": {"model": "whole_without_box"},
        "boxes suggested where no tumor is, per scan": {"model": "false_boxes"},
    }
    return {
        "title": "Outlines on real scans",
        "about": f"Mean Dice over {len(rows)} scans of patients, none of them trained on, in boxes {MARGIN:.0%} larger "
        "than the expert's mask, and without a box.",
        "command": command,
        "scores": {
            row: {column: over_cases(score) for column, score in columns.items()} for row, columns in table.items()
        },
    }


def retrieval_entry(result: dict, command: str) -> dict:
    """The entry of `evaluate_retrieval`; see `segmentation_entry`."""
    n = result["held_out_tumors"]
    # How many of a hospital's tumors have a label is not said, so there the shares stand without an interval.
    known = n if result["patients"] == "synthetic patients" else None
    columns = {
        "ours": (result["ours"]["exact boxes"], known),
        "ours, distorted boxes": (result["ours"]["distorted boxes"], known),
        "appearance alone": (result["appearance alone"]["exact boxes"], known),
        "most frequent label": (result["chance"]["most frequent label"], known),
        "Pisov et al.": (result["paper"]["exact boxes"], None),
        "Pisov et al., distorted": (result["paper"]["distorted boxes"], None),
    }
    # A hospital's index may lack a label, or have it in some cases only.
    names = {
        label: label.replace("_", " / ") for label in LABELS if all(label in values for values, _ in columns.values())
    }
    scores = {
        words: {column: _share(values[label], tumors) for column, (values, tumors) in columns.items()}
        for label, words in names.items()
    }
    if all("linear_size_rmse_mm" in values for values, _ in columns.values()):
        scores["linear size, error in mm (RMSE)"] = {
            column: _value(values["linear_size_rmse_mm"], tumors) for column, (values, tumors) in columns.items()
        }
    return {
        "title": f"Retrieval on {result['patients']}",
        "about": f"Labels predicted from the {result['k']} most similar cases: {n} tumors of held-out "
        f"{result['patients']} ask, {result['gallery_tumors']} answer. Pisov et al.: their Table 4, on their own "
        "patients.",
        "command": command,
        "scores": scores,
    }


def slices_entry(result: dict, command: str) -> dict:
    """The entry of `evaluate_slices`: of trained weights, or of networks trained for a protocol."""
    if "trainings" in result:
        parts = list(result["trainings"].values())
        about = f"{result['slices']} slices of {result['data']}; networks trained as this one. {result['note']}"
    elif "not_trained_on" in result:
        parts = [result["not_trained_on"]]
        about = f"Those {parts[0]['slices']} slices of {result['data']} that were not trained on."
    else:
        parts = [result]
        about = f"{result['slices']} slices of {result['data']}. {result['note']}"
    if len(parts) == 1:
        about += " The slices of one patient are alike, so the intervals are too narrow."

    def over_parts(measure: str) -> dict:
        if len(parts) > 1:
            return mean_over_splits([part[measure] for part in parts])
        return parts[0]["intervals"][measure]

    rows = {"type, accuracy": "accuracy", "outline, intersection over union": "iou", "outline, Dice": "dice"}
    return {
        "title": "Type and outline on single slices",
        "about": about,
        "command": command,
        "scores": {row: {"model": over_parts(measure)} for row, measure in rows.items()},
    }


def _share(share: float, n: int | None) -> dict:
    """A share of n, of which only the mean is known: it says which of them were right, up to their order."""
    return _value(share, n) if n is None else mean_with_interval(np.arange(n) < round(share * n))


def _value(value: float, n: int | None) -> dict:
    return {"mean": value, "low": None, "high": None, "n": n}
