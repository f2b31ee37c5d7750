"""The mirror image of a tumor: the same tumor on the other side of the brain."""

import numpy as np

from TumorRetrievalLib.retrieval.blocks import EmbeddingLayout
from TumorRetrievalLib.retrieval.kernel_features import place_of, position_features

_TO_THE_OTHER_SIDE = np.array((-1.0, 1.0, 1.0))
"""The atlas is symmetric: its midline is the plane x = 0 mm (Resources/Labels/sides.json)."""


def mirrored(embedding: np.ndarray, layout: EmbeddingLayout) -> np.ndarray:
    """The embedding of a tumor's mirror image in the atlas, shape (D,), float32.

    Only the place changes: appearance, type and size of a tumor have no side. A place that is unknown stays unknown.

    :param embedding: of one tumor, shape (D,); its position block is that of a place.
    """
    image = np.array(embedding, dtype=np.float32)
    part = layout.slices.get("position")
    if part is not None and image[part].any():
        image[part] = position_features(place_of(image[part]) * _TO_THE_OTHER_SIDE)
    return image
