"""Pieces that the networks share."""

from collections.abc import Mapping

import torch
from torch import nn
from torch.nn import functional

from TumorRetrievalLib.networks.norm import GroupNorm


class ResBlock(nn.Module):
    """A pre-activation residual block of two 3x3x3 convolutions with a single GroupNorm.

    One normalisation instead of two saves a tenth of the time on a CPU. The second convolution starts small, so that a
    fresh network is close to the identity and large learning rates are safe from the first step.

    :param channels: of the input and of the output.
    :param groups: of the GroupNorm.
    """

    def __init__(self, channels: int, groups: int = 8):
        super().__init__()
        self.norm = GroupNorm(groups, channels)
        self.first = nn.Conv3d(channels, channels, 3, padding=1, bias=False)
        self.second = nn.Conv3d(channels, channels, 3, padding=1, bias=False)
        with torch.no_grad():
            self.second.weight.mul_(0.3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(B, C, X, Y, Z) -> the same shape."""
        inner = functional.relu_(self.first(functional.relu_(self.norm(x))))
        return self.second(inner) + x


def space_to_depth(x: torch.Tensor) -> torch.Tensor:
    """(B, C, X, Y, Z) -> (B, 8C, X/2, Y/2, Z/2): every 2x2x2 block of voxels becomes channels, nothing is lost.

    The result lies in memory as channels_last_3d, which is what convolutions want, after a single copy.
    """
    b, c, i, j, k = x.shape
    blocks = x.reshape(b, c, i // 2, 2, j // 2, 2, k // 2, 2)
    last = blocks.permute(0, 2, 4, 6, 1, 3, 5, 7).reshape(b, i // 2, j // 2, k // 2, c * 8)
    return last.permute(0, 4, 1, 2, 3)


def depth_to_space(x: torch.Tensor) -> torch.Tensor:
    """The inverse of :func:`space_to_depth`."""
    b, c, i, j, k = x.shape
    blocks = x.reshape(b, c // 8, 2, 2, 2, i, j, k)
    return blocks.permute(0, 1, 5, 2, 6, 3, 7, 4).reshape(b, c // 8, i * 2, j * 2, k * 2)


def roi_pool(features: torch.Tensor, boxes: torch.Tensor, stride: int = 1) -> torch.Tensor:
    """The largest value of every channel inside each box (Pisov et al. 2018, section 2.2).

    A cell of the feature map counts when the box touches it, so that even a box smaller than a cell has one.

    :param features: (B, C, X, Y, Z).
    :param boxes: int64 (N, 7): sample, then three half-open voxel ranges of the input image.
    :param stride: input voxels per cell of the feature map.
    :returns: (N, C), differentiable.
    """
    shape = features.shape[2:]
    pooled = []
    for sample, *ranges in boxes.tolist():
        cells = []
        for low, high, size in zip(ranges[0::2], ranges[1::2], shape, strict=True):
            start = min(max(low // stride, 0), size - 1)
            stop = min(max(-(-high // stride), start + 1), size)
            cells.append(slice(start, stop))
        pooled.append(features[sample, :, cells[0], cells[1], cells[2]].amax(dim=(1, 2, 3)))
    return torch.stack(pooled) if pooled else features.new_zeros((0, features.shape[1]))


class TaskHeads(nn.Module):
    """One linear layer per classification task.

    :param features: length of the vectors that are classified.
    :param tasks: name -> number of classes.
    """

    def __init__(self, features: int, tasks: Mapping[str, int]):
        super().__init__()
        self.tasks = tuple(tasks)
        # The suffix keeps a task called "type" apart from nn.Module.type.
        self.layers = nn.ModuleDict({f"{task}_head": nn.Linear(features, classes) for task, classes in tasks.items()})

    def forward(self, vectors: torch.Tensor) -> dict[str, torch.Tensor]:
        """(N, features) -> task -> logits (N, classes)."""
        return {task: self.layers[f"{task}_head"](vectors) for task in self.tasks}
