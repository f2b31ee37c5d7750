"""The card of a model: what it was trained on, for how long, how good it was found to be, and where it fails.

Made from the run itself and kept beside the weights as `model_card.json`; `evaluate ... --note-in` adds what it has
measured, and `report.model_card_page` makes a page of it. Not part of the contract (`model.json`): that says what a
program must know to use the weights, and stays as the training has left it.
"""

import json
from collections.abc import Sequence
from pathlib import Path

from torch import nn

from TumorRetrievalLib.errors import InvalidRequest, WeightsError
from TumorRetrievalLib.imaging.atomic import atomic_file
from TumorRetrievalLib.networks.weights import CONTRACT_NAME, load_model

CARD_NAME = "model_card.json"

KNOWN_FAILURES = {
    "default": (
        "What the training measures is of synthetic patients; scans of patients are measured apart.",
        "Small or patchy enhancement, several foci, and slices of several mm are outlined worst.",
        "Without a box, small tumors are often missed.",
        "The tumor type is learned from synthetic tumors and says little about real ones.",
    ),
    "slices-best": (
        "Nothing is measured by the training itself: `evaluate slices` does that.",
        "It knows meningioma, glioma and pituitary adenoma alone: any other tumor, a metastasis for one, is called one "
        "of these.",
        "Gliomas are outlined far worse than the other types.",
    ),
    "slices-paper": ("Nothing is measured by the training itself: `evaluate slices --protocol patients` does that.",),
}
"""Recipe -> where its results are known to fail, in sentences, if that does not depend on the data."""

NOT_STATED = ("Where it fails has not been written down.",)


def model_card(
    network: nn.Module,
    provenance: dict,
    *,
    data: str,
    metrics: dict[str, dict],
    failures: Sequence[str],
    attribution: str = "",
) -> dict:
    """The card as plain JSON values.

    :param network: the result.
    :param provenance: how it was trained: `TrainingRun.provenance()` or `EpochRun.provenance()`.
    :param data: what the network was trained on, in words.
    :param metrics: what the training itself has measured: name -> `mean`, `low`, `high`, `n`, as
        `intervals.mean_with_interval` gives them.
    :param failures: where the model is known to fail, in sentences.
    :param attribution: whose the data are, and under which licence.
    """
    recipe, steps = provenance["recipe"], provenance.get("steps")
    crop = recipe.get("crop")
    flat = not any(isinstance(part, nn.Conv3d) for part in network.modules())
    edges = [crop] * (2 if flat else 3) if isinstance(crop, int) else crop
    seen = f" x {' x '.join(map(str, edges))} {'pixels' if flat else 'voxels'}" if edges else ""
    return {
        "name": recipe["name"] if steps is None else f"{recipe['name']}-{steps}",
        "recipe": recipe["name"],
        "data": data,
        "attribution": attribution,
        "seed": recipe["seed"],
        "parameters": sum(weight.numel() for weight in network.parameters()),
        "steps": steps,
        "epochs": provenance.get("epochs"),
        "crops": provenance.get("crops"),
        "started_from": provenance.get("started_from"),
        "batch": f"{recipe['batch_size']}{seen}",
        "hours": round(provenance["minutes"] / 60, 3),
        "device": provenance.get("device"),
        "samples_per_second": provenance.get("crops_per_second"),
        "final_loss": provenance["final"].get("loss"),
        "metrics": metrics,
        "measured": {},
        "known_failures": list(failures),
        "research_use_only": True,
    }


def write_card(folder: Path, card: dict) -> Path:
    """Writes the card into a model's folder, with the checksum of the weights there; whole or not at all."""
    path = Path(folder) / CARD_NAME
    card = card | {"weights_sha256": _contract_in(folder)["weights_sha256"]}
    with atomic_file(path) as temporary:
        temporary.write_text(json.dumps(card, indent=2) + "\n", encoding="utf-8")
    return path


def read_card(folder: Path) -> dict:
    """The card in a model's folder; where there is none, one that is made from the model's contract.

    :raises WeightsError: if there is no model in the folder, its contract does not say how it was trained, or the card
        is damaged or of other weights.
    """
    path, weights = Path(folder) / CARD_NAME, _contract_in(folder)["weights_sha256"]
    if not path.exists():
        return card_of_contract(folder)
    try:
        card = json.loads(path.read_text(encoding="utf-8"))
        same = card.get("weights_sha256", weights) == weights
    except (OSError, ValueError, AttributeError) as error:
        raise WeightsError(f"The model card {path} is damaged ({error}). Delete it; it will be made again.") from error
    if not same:
        raise WeightsError(f"The model card {path} is of other weights. Delete it; it will be made again.")
    return card


def card_of_contract(folder: Path) -> dict:
    """The card of a model in a folder, made from its contract: the training's own measures without their intervals.

    :raises WeightsError: if there is no usable model, or its contract does not say how it was trained.
    """
    model = load_model(folder, "cpu")
    contract = model.contract
    try:
        recipe = contract["training"]["recipe"]["name"]
        return model_card(
            model.network,
            contract["training"],
            data=contract.get("trained_on", "not stated"),
            metrics={name: _mean_alone(value) for name, value in _means_in(contract).items()},
            failures=KNOWN_FAILURES.get(recipe, NOT_STATED),
            attribution=contract.get("attribution", ""),
        )
    except (KeyError, TypeError, AttributeError) as error:
        raise WeightsError(f"The contract in {folder} does not say how the model was trained ({error}).") from error


def require_same_weights(folder: Path, measured: Path) -> None:
    """Scores belong into the card of the model that is measured.

    :param folder: of the model whose card is to have them.
    :param measured: folder of the model that is measured.
    :raises InvalidRequest: if their weights differ.
    """
    if _contract_in(folder)["weights_sha256"] != _contract_in(measured)["weights_sha256"]:
        raise InvalidRequest(
            f"The model in {measured} would be measured, and {folder} holds another. Name the same folder with --model "
            f"and --note-in."
        )


def require_architecture(folder: Path, architecture: str) -> None:
    """Scores of networks that are trained for a measurement belong into the card of a model of their kind.

    :raises InvalidRequest: if the model in `folder` is of another architecture.
    """
    found = _contract_in(folder)["architecture"]
    if found != architecture:
        raise InvalidRequest(f"The model in {folder} is a {found}; {architecture} would be measured. Name another.")


def note_measured(folder: Path, name: str, entry: dict) -> dict:
    """Adds what an evaluation has measured to the card in a model's folder, in place of what it had measured before.

    :param name: of the evaluation.
    :param entry: see `evaluation.card_entries`.
    :returns: the card as it is now.
    :raises WeightsError: as :func:`read_card`.
    """
    card = read_card(folder)
    card["measured"] = card.get("measured", {}) | {name: entry}
    write_card(folder, card)
    return card


def _means_in(contract: dict) -> dict[str, float]:
    """What the training has measured, as a contract keeps it."""
    kept = contract.get("measured", {}) | contract.get("quality", {})
    return {name: value for name, value in kept.items() if isinstance(value, float)}


def _mean_alone(mean: float) -> dict:
    return {"mean": mean, "low": None, "high": None, "n": None}


def _contract_in(folder: Path) -> dict:
    path = Path(folder) / CONTRACT_NAME
    try:
        contract = json.loads(path.read_text(encoding="utf-8"))
        return {key: contract[key] for key in ("architecture", "weights_sha256")}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise WeightsError(f"There is no model in {folder}: {CONTRACT_NAME} cannot be read ({error}).") from error
