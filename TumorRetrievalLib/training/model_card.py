"""The card of a model: what it was trained on, for how long, how good it was found to be, and where it fails.

Made from the run itself and kept beside the weights as `model_card.json`; `report.model_card_page` makes a page of it.
"""

import json
from collections.abc import Sequence
from pathlib import Path

from TumorRetrievalLib.imaging.atomic import atomic_file
from TumorRetrievalLib.training.trainer import TrainingRun

CARD_NAME = "model_card.json"


def model_card(run: TrainingRun, *, data: str, metrics: dict[str, dict], failures: Sequence[str]) -> dict:
    """The card as plain JSON values.

    :param data: what the network was trained on, in words.
    :param metrics: name -> `mean`, `low`, `high`, `n`, as `intervals.mean_with_interval` gives them.
    :param failures: where the model is known to fail, in sentences.
    """
    recipe = run.recipe
    return {
        "name": f"{recipe.name}-{run.steps}",
        "recipe": recipe.name,
        "data": data,
        "seed": recipe.seed,
        "parameters": sum(weight.numel() for weight in run.network.parameters()),
        "steps": run.steps,
        "crops": run.crops,
        "batch": f"{recipe.batch_size} x {' x '.join(map(str, recipe.edges))} voxels",
        "hours": round(run.seconds / 3600, 3),
        "device": run.device,
        "samples_per_second": round(run.crops / run.seconds, 3) if run.seconds else None,
        "final_loss": run.log[-1]["loss"] if run.log else None,
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
