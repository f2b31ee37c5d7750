"""The network behind the default preset: outlines the tumor in a box and describes how it looks."""

from collections.abc import Mapping

import torch
from torch import nn
from torch.nn import functional

from TumorRetrievalLib.networks.batch import Output
from TumorRetrievalLib.networks.blocks import ResBlock, TaskHeads, depth_to_space, roi_pool, space_to_depth
from TumorRetrievalLib.networks.norm import GroupNorm

CHANNELS = ("t1c", "flair", "box_core", "box_whole")
MASKS = ("tumor_core", "whole_tumor")
STRIDES = (2, 4, 8)

# An embedding has length one, so that cosine similarity is exactly the geometry the type head was trained in;
# a linear layer on it needs this factor to be able to be sure of a class.
EMBEDDING_SCALE = 8.0

# oneDNN's weight gradient of a 3x3x3 convolution in bfloat16 is wrong, at times NaN, when the first axis of the feature
# map has two cells (measured with torch 2.13 on AVX-512 BF16): the coarsest map needs three. Inference is not affected.
SMALLEST_TRAINING_CROP = 3 * STRIDES[-1]


class DefaultNetwork(nn.Module):
    """A small U-shaped residual network that works at half resolution and below.

    The 2x2x2 blocks of the input become channels at once and the masks are unfolded from channels at the end, so no
    convolution runs at full resolution; on two CPU cores this is what makes an answer, and training, fast.

    Input channels, in this order: T1c; FLAIR (all 0 = there is none); 1 inside the box around the tumor core; 1 inside
    the box around everything (both all 0 = no box was drawn). Outputs: the masks tumor core and whole tumor, and per
    box an appearance vector that carries the tumor's type. Where the tumor lies is not learned here.

    :param widths: channels at 1/2, 1/4 and 1/8 of the resolution, multiples of 8.
    :param embedding_size: E, length of the appearance vector.
    :param tasks: name -> number of classes; each gets one linear layer on the appearance vector.
    """

    def __init__(
        self,
        widths: tuple[int, int, int] = (32, 64, 96),
        embedding_size: int = 32,
        tasks: Mapping[str, int] | None = None,
    ):
        super().__init__()
        tasks = {"type": 5} if tasks is None else dict(tasks)
        self.arguments = {"widths": list(widths), "embedding_size": embedding_size, "tasks": tasks}
        fine, middle, coarse = widths
        self.stem = nn.Conv3d(len(CHANNELS) * 8, fine, 3, padding=1)
        self.encode_fine = ResBlock(fine)
        self.to_middle = nn.Conv3d(fine, middle, 2, stride=2)
        self.encode_middle = nn.Sequential(ResBlock(middle), ResBlock(middle))
        self.to_coarse = nn.Conv3d(middle, coarse, 2, stride=2)
        self.encode_coarse = nn.Sequential(ResBlock(coarse), ResBlock(coarse))
        self.from_coarse = nn.ConvTranspose3d(coarse, middle, 2, stride=2)
        self.decode_middle = ResBlock(middle)
        self.from_middle = nn.ConvTranspose3d(middle, fine, 2, stride=2)
        self.decode_fine = ResBlock(fine)
        self.norm = GroupNorm(8, fine)
        self.masks = nn.Conv3d(fine, len(MASKS) * 8, 3, padding=1)
        self.describe = nn.Sequential(
            nn.LayerNorm(fine + middle + coarse),
            nn.Linear(fine + middle + coarse, 96),
            nn.ReLU(),
            nn.Linear(96, embedding_size),
        )
        self.heads = TaskHeads(embedding_size, tasks)
        # Nearly everything is background: starting there spares the first hundred steps.
        nn.init.constant_(self.masks.bias, -2.0)

    def forward(self, image: torch.Tensor, boxes: torch.Tensor) -> Output:
        """
        :param image: (B, 4, X, Y, Z), each size a multiple of 8.
        :param boxes: int64 (N, 7), see :class:`Batch`.
        :raises ValueError: if a crop is too small to train on.
        """
        if self.training and min(image.shape[2:]) < SMALLEST_TRAINING_CROP:
            raise ValueError(f"Training needs crops of at least {SMALLEST_TRAINING_CROP} voxels along each axis.")
        fine = self.encode_fine(self.stem(space_to_depth(image)))
        middle = self.encode_middle(self.to_middle(fine))
        coarse = self.encode_coarse(self.to_coarse(middle))
        middle = self.decode_middle(self.from_coarse(coarse) + middle)
        fine = self.decode_fine(self.from_middle(middle) + fine)
        fine = functional.relu(self.norm(fine))
        masks = depth_to_space(self.masks(fine).float())
        pooled = [roi_pool(x, boxes, s).float() for x, s in zip((fine, middle, coarse), STRIDES, strict=True)]
        with torch.autocast(image.device.type, enabled=False):
            embedding = functional.normalize(self.describe(torch.cat(pooled, dim=1)), dim=1)
            labels = self.heads(EMBEDDING_SCALE * embedding)
        return Output(masks, embedding, labels)
