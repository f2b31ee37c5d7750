"""Small batches that networks and losses are tested with."""

import pytest
import torch

from TumorRetrievalLib.networks.batch import Batch


@pytest.fixture(autouse=True)
def seeded():
    torch.manual_seed(0)


@pytest.fixture
def batch():
    """Two crops of 16^3 with three tumors, everything known."""
    boxes = torch.tensor([[0, 2, 9, 3, 10, 4, 12], [0, 9, 14, 1, 5, 0, 6], [1, 4, 12, 4, 12, 4, 12]])
    image = torch.randn(2, 4, 16, 16, 16)
    masks = torch.zeros(2, 2, 16, 16, 16)
    for sample, i0, i1, j0, j1, k0, k1 in boxes.tolist():
        masks[sample, :, i0:i1, j0:j1, k0:k1] = 1
        image[sample, 0, i0:i1, j0:j1, k0:k1] += 3
        image[sample, 2, i0:i1, j0:j1, k0:k1] = 1
    labels = {"type": torch.tensor([0, 2, 4])}
    return Batch(image, masks, boxes, labels, torch.ones(2, 2, dtype=torch.bool))
