"""The card of a model: what it was trained on, for how long, how good it was found to be, and where it fails.

Made from the run itself and kept beside the weights as `model_card.json`; `report.model_card_page` makes a page of it.
"""

import json
from collections.abc import Sequence
from pathlib import Path

from torch import nn

from TumorRetrievalLib.imaging.atomic import atomic_file

CARD_NAME = "model_card.json"


def model_card(
    network: nn.Module, provenance: dict, *, data: str, metrics: dict[str, dict], failures: Sequence[str]
) -> dict:
    """The card as plain JSON values.

    :param network: the result.
    :param provenance: how it was trained: `TrainingRun.provenance()` or `EpochRun.provenance()`.
    :param data: what the network was trained on, in words.
    :param metrics: name -> `mean`, `low`, `high`, `n`, as `intervals.mean_with_interval` gives them.
    :param failures: where the model is known to fail, in sentences.
    """
    recipe, steps = provenance["recipe"], provenance.get("steps")
    crop = recipe.get("crop")
    edges = [crop] * 3 if isinstance(crop, int) else crop
    return {
        "name": recipe["name"] if steps is None else f"{recipe['name']}-{steps}",
        "recipe": recipe["name"],
        "data": data,
        "seed": recipe["seed"],
        "parameters": sum(weight.numel() for weight in network.parameters()),
        "steps": steps,
        "epochs": provenance.get("epochs"),
        "crops": provenance.get("crops"),
        "started_from": provenance.get("started_from"),
        "batch": f"{recipe['batch_size']}" + (f" x {' x '.join(map(str, edges))} voxels" if edges else ""),
        "hours": round(provenance["minutes"] / 60, 3),
        "device": provenance["device"],
        "samples_per_second": provenance.get("crops_per_second"),
        "final_loss": provenance["final"].get("loss"),
        "metrics": metrics,
        "known_failures": list(failures),
        "research_use_only": True,
    }


def write_card(folder: Path, card: dict) -> Path:
    """Writes the card into a model's folder; whole or not at all."""
    path = Path(folder) / CARD_NAME
    with atomic_file(path) as temporary:
        temporary.write_text(json.dumps(card, indent=2) + "\n", encoding="utf-8")
    return path
