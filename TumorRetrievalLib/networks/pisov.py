"""The network of Pisov et al., "Brain Tumor Image Retrieval via Multitask Learning" (2018), section 2."""

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from TumorRetrievalLib.networks.batch import Output
from TumorRetrievalLib.networks.blocks import TaskHeads, roi_pool
from TumorRetrievalLib.networks.device import mixed_precision

REDUCTION = 4
TASKS = {"type": 3, "area": 11, "left_right": 2, "front_rear": 2, "upper_lower": 2}


class PisovNetwork(nn.Module):
    """T1c in; one tumor mask, and an embedding and a class per task for every box out.

    As published: two convolutions, max pooling by 4, residual blocks, upsampling by 4, all kernels 3x3x3 with padding
    1, which gives a feature map of 64 channels at full resolution; a segmentation head of one residual block on all of
    it; RoiPool (global max over the box's slice of the feature map) and one linear layer for each task. The pooled
    vector is the embedding.

    What the paper leaves open, and what is done here:

    - the numbers inside Figure 1: every layer of the backbone has `channels` channels, the first convolution included;
    - the number of residual blocks: 6;
    - the inside of a residual block: pre-activation, (batch norm, ReLU, convolution) twice, with a 1x1x1 convolution
      as shortcut where the number of channels changes, as in the authors' later public code;
    - what stands between the two first convolutions: batch norm and ReLU;
    - the kind of upsampling: trilinear. Crops are padded at the end to a multiple of 4 and the feature map is cut back.

    :param channels: of the feature map; the paper compares 32, 64 and 96 (Table 2) and settles on 64.
    :param blocks: number of residual blocks at the reduced resolution.
    :param tasks: name -> number of classes.
    """

    def __init__(self, channels: int = 64, blocks: int = 6, tasks: Mapping[str, int] | None = None):
        super().__init__()
        tasks = dict(TASKS if tasks is None else tasks)
        self.arguments = {"channels": channels, "blocks": blocks, "tasks": tasks}
        self.prepare = nn.Sequential(
            nn.Conv3d(1, channels, 3, padding=1, bias=False),
            nn.BatchNorm3d(channels),
            nn.ReLU(inplace=True),
            nn.Conv3d(channels, channels, 3, padding=1),
        )
        self.blocks = nn.Sequential(*(PaperResBlock(channels, channels) for _ in range(blocks)))
        self.segment = PaperResBlock(channels, 1)
        self.heads = TaskHeads(channels, tasks)

    def forward(self, image: torch.Tensor, boxes: torch.Tensor) -> Output:
        """
        :param image: (B, 1, X, Y, Z), T1c.
        :param boxes: int64 (N, 7), see :class:`Batch`.
        """
        features = self.features(image)
        embedding = roi_pool(features, boxes).float()
        with torch.autocast(image.device.type, enabled=False):
            labels = self.heads(embedding)
        return Output(self.segment(features).float(), embedding, labels)

    def features(self, image: torch.Tensor) -> torch.Tensor:
        """(B, 1, X, Y, Z) -> (B, channels, X, Y, Z), what the heads share."""
        padding = [amount for size in reversed(image.shape[2:]) for amount in (0, -size % REDUCTION)]
        reduced = functional.max_pool3d(self.prepare(functional.pad(image, padding)), REDUCTION)
        full = functional.interpolate(self.blocks(reduced), scale_factor=REDUCTION, mode="trilinear")
        return full[:, :, : image.shape[2], : image.shape[3], : image.shape[4]]


class PaperResBlock(nn.Module):
    """(Batch norm, ReLU, 3x3x3 convolution) twice beside a shortcut."""

    def __init__(self, inputs: int, outputs: int):
        super().__init__()
        self.change = nn.Sequential(
            nn.BatchNorm3d(inputs),
            nn.ReLU(inplace=True),
            nn.Conv3d(inputs, outputs, 3, padding=1, bias=False),
            nn.BatchNorm3d(outputs),
            nn.ReLU(inplace=True),
            nn.Conv3d(outputs, outputs, 3, padding=1),
        )
        self.shortcut = nn.Identity() if inputs == outputs else nn.Conv3d(inputs, outputs, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(B, inputs, X, Y, Z) -> (B, outputs, X, Y, Z)."""
        return self.shortcut(x) + self.change(x)


@torch.inference_mode()
def read_patch(network: PisovNetwork, image: np.ndarray, boxes: Sequence) -> tuple[np.ndarray, np.ndarray]:
    """What a trained network says about a patch.

    :param image: normalised T1c, float32 (X, Y, Z).
    :param boxes: half-open voxel ranges i0, i1, j0, j1, k0, k1 of each tumor.
    :returns: the embeddings of the boxes, float32 (boxes, channels), and the tumor mask, bool (X, Y, Z).
    """
    device = next(network.parameters()).device
    rows = torch.tensor([[0, *box] for box in boxes], dtype=torch.int64).reshape(-1, 7)
    with mixed_precision(device):
        output = network(torch.from_numpy(image)[None, None].to(device), rows)
    return output.embedding.cpu().numpy(), (output.masks[0, 0] > 0).cpu().numpy()
