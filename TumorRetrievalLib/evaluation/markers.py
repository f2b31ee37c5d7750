"""Table 1 of Vafaeikia et al. 2021 beside ours: segmentation with and without the marker, over the six splits.

Every model is measured anew on the validation and test patients of its own split.
"""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np

from TumorRetrievalLib.engine.known_cases import cache_folder
from TumorRetrievalLib.errors import ManifestError, MissingResource, UnreadableFile, WeightsError
from TumorRetrievalLib.evaluation.runs import models_in
from TumorRetrievalLib.imaging.atomic import atomic_file
from TumorRetrievalLib.resources import resource

PAPER = {
    "validation": {
        "single task": (0.76, 0.75, 0.78, 0.79, 0.76, 0.76),
        "multitask": (0.82, 0.80, 0.78, 0.80, 0.77, 0.76),
    },
    "test": {
        "single task": (0.70, 0.76, 0.78, 0.73, 0.80, 0.70),
        "multitask": (0.83, 0.77, 0.80, 0.74, 0.80, 0.70),
    },
}
"""Mean Dice of each run: 311 patients of one hospital. How well markers were classified is not published."""

Progress = Callable[[float, str], None]


def evaluate_markers(
    runs: Path | None = None,
    data: str = "SYNTHETIC",
    cases: Path | None = None,
    json_path: Path | None = None,
    progress: Progress | None = None,
) -> dict:
    """Measure the models that `train plgg` has left.

    :param runs: a folder that holds their folders, at any depth; None = the bundled ones, if there are any.
    :param data: what they were trained on: a manifest, or SYNTHETIC.
    :param cases: where prepared scans are kept; None = in `runs`, or for the bundled models in the user's cache.
    :param json_path: also write the result there.
    :returns: `ours` (part -> "single task" or "multitask" -> `dice`, and for multitask `accuracy` and per marker `auc`
        and `recall`, each with its interval over the splits; `splits` lists the Dice of each), `paper`, `data`,
        `models`.
    :raises UnreadableFile: if there is no such model.
    :raises WeightsError: if a model was trained on other data than `data`.
    """
    from TumorRetrievalLib.networks.plgg import MARKERS
    from TumorRetrievalLib.networks.weights import load_model
    from TumorRetrievalLib.training.plgg import marker_data, measure_part
    from TumorRetrievalLib.training.task import SYNTHETIC, TrainingRequest

    if runs is None:
        runs, cases = _bundled(), cases or cache_folder() / "plgg"
    runs = Path(runs)
    folders = models_in(runs, "plgg", _HOW_TO_MAKE_THEM)
    report = progress or (lambda fraction, message: None)
    measured: dict[str, dict[str, dict[int, list[dict]]]] = {part: {} for part in PAPER}
    words, models = set(), {}
    for number, folder in enumerate(folders):
        loaded = load_model(folder)
        about = loaded.contract["data"]
        if about["synthetic"] != (data == SYNTHETIC):
            raise WeightsError(f"The model in {folder} was trained on other data ({loaded.contract['trained_on']}).")
        kind = "multitask" if loaded.contract["arguments"]["markers"] else "single task"
        request = TrainingRequest(
            out=runs, data=data, size=about["size"], split=about["split"], cases=cases,
            single_task=kind == "single task", patients=about["patients"] if about["synthetic"] else None,
        )  # fmt: skip

        def told(f: float, message: str, done: int = number, folder: Path = folder) -> None:
            report((done + f) / len(folders), f"{folder.parent.name}: {message}")

        prepared = marker_data(request, told)
        if sum(map(len, prepared.parts.values())) != about["patients"]:
            raise ManifestError(f"{data} has other patients than those ({about['patients']}) of {folder}.")
        for part in PAPER:
            by_split = measured[part].setdefault(kind, {})
            if about["split"] in by_split:
                raise UnreadableFile(f"{runs} holds two {kind} models of split {about['split']}; keep one.")
            by_split[about["split"]] = measure_part(loaded.network, prepared, part, told)
        words.add(loaded.contract["trained_on"])
        models[str(folder.relative_to(runs))] = loaded.sha256
    ours = {part: {kind: _summary(rows, MARKERS) for kind, rows in kinds.items()} for part, kinds in measured.items()}
    result = {"ours": ours, "paper": PAPER, "data": sorted(words), "models": models}
    if json_path is not None:
        with atomic_file(json_path) as temporary:
            temporary.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    return result


def table_of(result: dict) -> dict[str, dict[str, float | None]]:
    """The result as rows for a screen: each run of the paper beside ours, the means, and what only ours has."""
    columns = [(part, kind) for part in PAPER for kind in PAPER[part]]
    rows: dict[str, dict[str, float | None]] = {}
    for run in range(1, 7):
        paper = {f"{part}, {kind}": PAPER[part][kind][run - 1] for part, kind in columns}
        ours = {f"{part}, {kind}": _split(result, part, kind, run) for part, kind in columns}
        rows[f"Dice, run {run}, paper"] = paper
        if any(value is not None for value in ours.values()):
            rows[f"Dice, split {run}, ours"] = ours
    rows["Dice, mean, paper"] = {f"{part}, {kind}": float(np.mean(PAPER[part][kind])) for part, kind in columns}
    for bound in ("mean", "low", "high"):
        rows[f"Dice, {bound}, ours"] = {
            f"{part}, {kind}": result["ours"][part].get(kind, {}).get("dice", {}).get(bound) for part, kind in columns
        }
    several = {f"{part}, multitask": result["ours"][part].get("multitask", {}) for part in PAPER}
    names = dict.fromkeys(name for found in several.values() for name in found if name not in ("dice", "splits"))
    for name in names:
        rows[f"{name}, ours"] = {column: found.get(name, {}).get("mean") for column, found in several.items()}
    return rows


def area_under_curve(scores: np.ndarray, positive: np.ndarray) -> float | None:
    """The chance that a positive case has a higher score than a negative one (ties count half); None without both."""
    above, below = scores[positive], scores[~positive]
    if len(above) == 0 or len(below) == 0:
        return None
    wins = (above[:, None] > below).sum() + 0.5 * (above[:, None] == below).sum()
    return float(wins / (len(above) * len(below)))


def _split(result: dict, part: str, kind: str, run: int) -> float | None:
    return result["ours"][part].get(kind, {}).get("splits", {}).get(str(run))


def _bundled() -> Path:
    try:
        return resource("Models", "plgg")
    except MissingResource:
        raise UnreadableFile(f"No models of `train plgg` are bundled. {_HOW_TO_MAKE_THEM}") from None


_HOW_TO_MAKE_THEM = (
    "Make them with `train plgg --split 1 --out RUNS/multi1`, the same with --single-task, and so on for the splits up "
    "to 6, and name their folder: --runs RUNS."
)


def _summary(by_split: dict[int, list[dict]], markers: tuple[str, ...]) -> dict:
    from TumorRetrievalLib.training.intervals import mean_over_splits
    from TumorRetrievalLib.training.plgg import accuracy_of

    dice = {split: float(np.mean([row["dice"] for row in rows])) for split, rows in sorted(by_split.items())}
    summary = {
        "dice": mean_over_splits(list(dice.values())),
        "splits": {str(split): round(value, 4) for split, value in dice.items()},
    }
    if all(row["chances"] is None for rows in by_split.values() for row in rows):
        return summary
    accuracy = [float(np.mean(right)) if (right := accuracy_of(rows)) else None for rows in by_split.values()]
    summary["accuracy"] = mean_over_splits(accuracy)
    for index, marker in enumerate(markers):
        pairs = [_of_marker(rows, index) for rows in by_split.values()]
        summary[f"AUC, {marker}"] = mean_over_splits([auc for auc, _ in pairs])
        summary[f"recall, {marker}"] = mean_over_splits([recall for _, recall in pairs])
    return summary


def _of_marker(rows: list[dict], index: int) -> tuple[float | None, float | None]:
    """Of one marker in one split: the area under the ROC curve against the rest, and how much of it is recognised."""
    known = [row for row in rows if row["marker"] >= 0]
    chances = np.array([row["chances"] for row in known]).reshape(len(known), -1)
    truth = np.array([row["marker"] == index for row in known], bool)
    recall = float(np.mean(chances[truth].argmax(axis=1) == index)) if truth.any() else None
    return (area_under_curve(chances[:, index], truth) if len(known) else None), recall
