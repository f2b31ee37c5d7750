"""The models that trainings have left in a folder."""

import json
from pathlib import Path

from TumorRetrievalLib.errors import UnreadableFile


def models_in(runs: Path, architecture: str, way_out: str) -> list[Path]:
    """The folders of all models of an architecture in `runs`, at any depth, by name.

    :param way_out: how such models are made, as a sentence.
    :raises UnreadableFile: if there is none, or a contract cannot be read.
    """
    found = []
    for contract in sorted(runs.rglob("model.json")):
        try:
            if json.loads(contract.read_text(encoding="utf-8")).get("architecture") == architecture:
                found.append(contract.parent)
        except (OSError, ValueError, AttributeError) as error:
            raise UnreadableFile(f"{contract} is not a model's contract: {error}.") from None
    if not found:
        raise UnreadableFile(f"There is no model of `train {architecture}` in {runs}. {way_out}")
    return found
