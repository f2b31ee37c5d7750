"""From what is known about a tumor to its embedding, and the name of everything that decides what it means."""

import hashlib
import json
from dataclasses import dataclass

import numpy as np

from TumorRetrievalLib.retrieval.blocks import DEFAULT_LAYOUT, extent_features, position_features

PREPROCESSING = "crop-64/ordinary-tissue/1"
"""Names how a scan becomes the network's input (crop.py, intensity.py). Change it whenever that changes."""


@dataclass(frozen=True, eq=False)
class TumorFacts:
    """What an embedding is made of.

    :param appearance: from the network, shape (E,).
    :param types: tumor type -> probability, in the model's order.
    :param atlas_mm: middle of the box around the core, MNI152 mm; None if unknown.
    :param size_mm: edges of that box along R, A, S in mm, shape (3,).
    """

    appearance: np.ndarray
    types: dict[str, float]
    atlas_mm: np.ndarray | None
    size_mm: np.ndarray


def embed(facts: TumorFacts) -> np.ndarray:
    """The embedding in `DEFAULT_LAYOUT`, shape (D,), float32."""
    return DEFAULT_LAYOUT.combine(
        {
            "appearance": facts.appearance,
            "type": np.array(list(facts.types.values())),
            "position": None if facts.atlas_mm is None else position_features(facts.atlas_mm),
            "extent": extent_features(facts.size_mm),
        }
    )


def model_identity(contract: dict) -> str:
    """SHA-256 over weights, type calibration and preprocessing: only vectors of equal identity can be compared."""
    parts = [contract["weights_sha256"], contract.get("type_temperature", 1.0), contract.get("labels"), PREPROCESSING]
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()
