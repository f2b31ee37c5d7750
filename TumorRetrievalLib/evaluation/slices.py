"""How well slices are told apart and their tumors outlined, in the protocol of the paper and on unseen patients."""

import json
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np

from TumorRetrievalLib.errors import InvalidRequest
from TumorRetrievalLib.imaging.atomic import atomic_file
from TumorRetrievalLib.networks.slice_reader import SliceAnswer, ask, load_slice_model
from TumorRetrievalLib.networks.slices import SLICE_TYPES, weights_in_keras
from TumorRetrievalLib.resources import is_bundled, resource
from TumorRetrievalLib.training.intervals import mean_with_interval
from TumorRetrievalLib.training.slice_data import (
    DIGEST_LENGTH,
    SliceSet,
    patient_folds,
    random_fifth,
    random_folds,
    read_slices,
)
from TumorRetrievalLib.training.slices import fit_slices

Progress = Callable[[float, str], None]

PROTOCOLS = ("patients", "random")
PAPER_FOLDS = 5
PAPER = {
    "accuracy": 0.9599, "precision": 0.9614, "recall": 0.9587, "iou": 0.4609, "accuracy_single_task": 0.9587,
    "parameters": 608_645, "parameters_single_task": 362_020,
}  # fmt: skip
"""Tables 1 and 2 of the paper, test set: random slices of two data sets, to be read beside ours."""

_NOTES = {
    "patients": "Every fold's patients were seen by no network that was tested on them.",
    "random": (
        "The protocol of the paper: a random fifth of the slices is the test. Other slices of the same patients were "
        "trained on, so these figures say little about a new patient."
    ),
}


def evaluate_slices(
    data: Path,
    *,
    network: str = "best",
    protocol: str | None = None,
    model: Path | None = None,
    runs: Path | None = None,
    limit: int | None = None,
    json_path: Path | None = None,
    progress: Progress | None = None,
) -> dict:
    """Accuracy of the type and overlap of the masks.

    :param data: a file of slices, see `training.slice_data.read_slices`.
    :param network: "paper" or "best".
    :param protocol: "patients" or "random": networks are trained for it, which takes long. None: trained weights are
        measured on all of `data`, and apart on those slices that they were not trained on; and where there are none,
        the networks are trained, by patients if the file divides them.
    :param model: folder of the trained weights; the bundled ones, if there are any, when None.
    :param runs: folder in which the trainings of a protocol are kept, and go on if they were interrupted.
    :param limit: only the first so many trainings of the protocol.
    :returns: `accuracy`, `iou` (mean over the slices with a mask), `parameters` (as Keras counts), `per_class`,
        `slices` (tested), and more; with a protocol means over its trainings, their spread in `sd`, and each in
        `trainings`.
    :raises InvalidSlices: if the file cannot be used.
    """
    slices = read_slices(data)
    model = model or (None if protocol else _bundled(network))
    if model is None and protocol is None:
        protocol = "random" if slices.folds is None or len(np.unique(slices.folds)) < 2 else "patients"
    if protocol is None:
        result = _measure_trained(slices, model)
    elif protocol in PROTOCOLS:
        with tempfile.TemporaryDirectory() as temporary:
            folder = Path(runs) if runs is not None else Path(temporary)
            result = _cross_validate(slices, network, protocol, folder, limit, progress)
    else:
        raise InvalidRequest(f"There is no protocol {protocol!r}. They are: {', '.join(PROTOCOLS)}.")
    result = {"network": network, "data": Path(data).name, **result, "paper": PAPER}
    if json_path is not None:
        with atomic_file(json_path) as temporary:
            temporary.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    return result


def _bundled(network: str) -> Path | None:
    """The folder of the weights that come with the library; None where there are none."""
    return resource("Models", f"slices-{network}") if is_bundled("Models", f"slices-{network}") else None


def _measure_trained(slices: SliceSet, folder: Path) -> dict:
    trained = load_slice_model(folder)
    answer = ask(trained.network, slices.images)
    stored = trained.contract.get("slice_digests", "")
    known = {stored[start : start + DIGEST_LENGTH] for start in range(0, len(stored), DIGEST_LENGTH)}
    fresh = np.array([digest not in known for digest in slices.digests()])
    seen = int((~fresh).sum())
    result = {
        "protocol": "trained weights",
        "model": trained.contract.get("name"),
        "trained_on": trained.contract.get("trained_on", "not stated"),
        "parameters": weights_in_keras(trained.network),
        "slices": len(slices),
        "slices_trained_on": seen,
        "note": f"{seen} of these {len(slices)} slices were trained on"
        + (", so these figures say nothing about new patients." if seen else "."),
        **scores(slices, answer),
    }
    if seen and fresh.any():
        result["not_trained_on"] = {"slices": int(fresh.sum()), **scores(slices.take(fresh), _part(answer, fresh))}
    return result


def _cross_validate(
    slices: SliceSet, network: str, protocol: str, folder: Path, limit: int | None, progress: Progress | None
) -> dict:
    slices.require_trainable()
    plan = list(_plan(slices, network, protocol).items())[:limit]
    trainings, parameters = {}, 0
    for number, (name, (train, validate, test)) in enumerate(plan):

        def told(fraction: float, message: str, number: int = number, name: str = name) -> None:
            if progress is not None:
                progress((number + fraction) / len(plan), f"{name}: {message}")

        validation = None if validate is None else slices.take(validate)
        run = folder / f"{network} {protocol} {name}"
        trained = fit_slices(network, slices.take(train), run, validation=validation, progress=told)
        tested = slices.take(test)
        trainings[name] = {"slices": len(test), **scores(tested, ask(trained.network, tested.images))}
        parameters = weights_in_keras(trained.network)
    mean, sd = _summary(list(trainings.values()))
    tested = len(np.unique(np.concatenate([test for _, (_, _, test) in plan])))
    return {"protocol": protocol, "note": _NOTES[protocol], "parameters": parameters, "slices": tested, **mean,
            "sd": sd, "trainings": trainings}  # fmt: skip


def _plan(slices: SliceSet, network: str, protocol: str) -> dict[str, tuple[np.ndarray, np.ndarray | None, np.ndarray]]:
    """Name of a training -> places of the slices to train on, to validate on (None: as the network likes), to test on.

    The paper tests five networks, each trained on four fifths of the remaining slices, on one random fifth. Ours needs
    no slices for validation and is trained once, on all that remain.
    """
    if protocol == "patients":
        return {name: (train, None, test) for name, (train, test) in patient_folds(slices).items()}
    remaining, test = random_fifth(len(slices), seed=0)
    if network == "best":
        return {"four fifths": (remaining, None, test)}
    folds = random_folds(remaining, PAPER_FOLDS, seed=0)
    return {f"fold {n}": (train, validate, test) for n, (train, validate) in enumerate(folds, start=1)}


def scores(slices: SliceSet, answer: SliceAnswer) -> dict:
    """What is measured on slices whose type and, for some, mask are known.

    :returns: `accuracy`; `precision` and `recall`, means over the types that occur; `iou` and `dice`, means over the
        slices with a mask; `iou_pooled`, of all their pixels together (None without masks); `intervals`: accuracy, IoU
        and Dice with their intervals over the slices; `per_class`: type -> `slices`, `recall`, `precision`, `iou`;
        `confusion`: true type -> found type -> slices.
    """
    found = answer.types.argmax(axis=1)
    iou, pooled = _overlaps(slices, answer)
    overlaps = iou[~np.isnan(iou)]
    per_class = {}
    for place, name in enumerate(SLICE_TYPES):
        mine, called = slices.labels == place, found == place
        if not mine.any():
            continue
        right = int((mine & called).sum())
        per_class[name] = {
            "slices": int(mine.sum()),
            "recall": _rounded(right / mine.sum()),
            "precision": _rounded(right / called.sum()) if called.any() else None,
            "iou": _mean(iou[mine]),
        }
    confusion = {
        name: {other: int(((slices.labels == i) & (found == j)).sum()) for j, other in enumerate(SLICE_TYPES)}
        for i, name in enumerate(SLICE_TYPES)
        if name in per_class
    }
    return {
        "accuracy": _rounded(np.mean(found == slices.labels)),
        "precision": _rounded(np.mean([row["precision"] or 0.0 for row in per_class.values()])),
        "recall": _rounded(np.mean([row["recall"] for row in per_class.values()])),
        "iou": _mean(iou),
        "dice": _mean(2 * iou / (1 + iou)),
        "iou_pooled": pooled,
        "intervals": {
            "accuracy": mean_with_interval(found == slices.labels),
            "iou": mean_with_interval(overlaps),
            "dice": mean_with_interval(2 * overlaps / (1 + overlaps)),
        },
        "per_class": per_class,
        "confusion": confusion,
    }


def _overlaps(slices: SliceSet, answer: SliceAnswer) -> tuple[np.ndarray, float | None]:
    """Intersection over union of every slice (NaN where its mask is not known), and of all pixels together."""
    iou = np.full(len(slices), np.nan)
    known = slices.mask_known & slices.masks.any(axis=(1, 2))
    if answer.masks is None or not known.any():
        return iou, None
    truth, found = slices.masks[known], answer.masks[known] > 0.5
    shared, either = (truth & found).sum(axis=(1, 2)), (truth | found).sum(axis=(1, 2))
    iou[known] = shared / either
    return iou, _rounded(shared.sum() / either.sum())


def _part(answer: SliceAnswer, which: np.ndarray) -> SliceAnswer:
    return SliceAnswer(answer.types[which], None if answer.masks is None else answer.masks[which])


def _summary(rows: list[dict]) -> tuple[dict, dict]:
    """Means and standard deviations over trainings; classes and confusions are put together."""
    numbers = [name for name, value in rows[0].items() if isinstance(value, float)]
    mean = {name: _rounded(np.mean([row[name] for row in rows])) for name in numbers}
    sd = {name: _rounded(np.std([row[name] for row in rows], ddof=1)) for name in numbers} if len(rows) > 1 else {}
    per_class = {}
    for name in {name for row in rows for name in row["per_class"]}:
        mine = [row["per_class"][name] for row in rows if name in row["per_class"]]
        means = {key: _mean(np.array([one[key] for one in mine], float)) for key in ("recall", "precision", "iou")}
        per_class[name] = {"slices": sum(one["slices"] for one in mine), **means}
    return mean | {"per_class": {name: per_class[name] for name in SLICE_TYPES if name in per_class}}, sd


def _mean(values: np.ndarray) -> float | None:
    known = values[~np.isnan(values)]
    return _rounded(known.mean()) if known.size else None


def _rounded(value: float) -> float:
    return round(float(value), 4)
