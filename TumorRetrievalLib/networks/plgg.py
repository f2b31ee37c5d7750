"""The network of Vafaeikia et al., "Improving the Segmentation of Pediatric Low-Grade Gliomas through Multitask
Learning" (2021), section 2."""

from itertools import pairwise

import torch
from torch import nn
from torch.nn import functional

from TumorRetrievalLib.networks.batch import Output
from TumorRetrievalLib.networks.norm import GroupNorm

MARKERS = ("BRAF V600E", "BRAF fusion", "other")
"""The genetic alterations that the paper tells apart, in the order of the network's output."""

BLOCKS = (1, 2, 2, 4)
"""Residual blocks of the encoder at 1/1, 1/2, 1/4 and 1/8 of the resolution, as in Myronenko 2018."""

HIDDEN = 128
"""Neurons between the bottleneck and the three markers."""


class PlggNetwork(nn.Module):
    """FLAIR in; the tumor's mask, and the genetic marker of each patch, out.

    As published: a 3D U-Net with residual blocks of 3x3x3 convolutions; 32 filters at first, doubled with each halving
    of the resolution; a decoder of the same pattern; a sigmoid at its end (here the logits come out); and a branch of
    fully connected layers at the bottleneck for the marker.

    What the paper leaves open, and what is done here:

    - depth, blocks and normalisation: those of Myronenko 2018, which it follows: four levels with 1, 2, 2 and 4 blocks
      of (GroupNorm, ReLU, convolution) twice, convolutions of stride 2 on the way down; on the way up a 1x1x1
      convolution, trilinear upsampling, the encoder's map added, and one block;
    - how a map becomes a vector for the fully connected layers: the mean and the largest value of each channel;
    - the branch: two layers, with 128 neurons between them.

    :param filters: at full resolution, a multiple of 8.
    :param markers: number of classes of the branch; 0 = none, the single-task network.
    """

    def __init__(self, filters: int = 32, markers: int = len(MARKERS)):
        super().__init__()
        self.arguments = {"filters": filters, "markers": markers}
        widths = [filters * 2**level for level in range(len(BLOCKS))]
        self.stem = nn.Conv3d(1, filters, 3, padding=1)
        self.down = nn.ModuleList(nn.Conv3d(narrow, wide, 3, stride=2, padding=1) for narrow, wide in pairwise(widths))
        self.encode = nn.ModuleList(
            nn.Sequential(*(NormedBlock(width) for _ in range(blocks)))
            for width, blocks in zip(widths, BLOCKS, strict=True)
        )
        self.narrow = nn.ModuleList(nn.Conv3d(wide, narrow, 1) for narrow, wide in pairwise(widths))
        self.decode = nn.ModuleList(NormedBlock(width) for width in widths[:-1])
        self.mask = nn.Conv3d(filters, 1, 1)
        self.marker = (
            nn.Sequential(nn.Linear(2 * widths[-1], HIDDEN), nn.ReLU(), nn.Linear(HIDDEN, markers)) if markers else None
        )

    def forward(self, image: torch.Tensor, boxes: torch.Tensor) -> Output:
        """
        :param image: (B, 1, X, Y, Z), FLAIR, each size a multiple of 8.
        :param boxes: not used: there is one answer per patch.
        :returns: masks (B, 1, X, Y, Z); embedding (B, 16 * filters), the bottleneck as a vector; the label "marker",
            logits (B, markers), where the network has the branch.
        """
        maps = [self.encode[0](self.stem(image))]
        for down, encode in zip(self.down, self.encode[1:], strict=True):
            maps.append(encode(down(maps[-1])))
        bottom = maps[-1].float()
        vector = torch.cat([bottom.mean(dim=(2, 3, 4)), bottom.amax(dim=(2, 3, 4))], dim=1)
        x = maps.pop()
        for narrow, decode in zip(reversed(self.narrow), reversed(self.decode), strict=True):
            x = decode(functional.interpolate(narrow(x), scale_factor=2, mode="trilinear") + maps.pop())
        with torch.autocast(image.device.type, enabled=False):
            labels = {} if self.marker is None else {"marker": self.marker(vector)}
        return Output(self.mask(x).float(), vector, labels)


class NormedBlock(nn.Module):
    """(GroupNorm, ReLU, 3x3x3 convolution) twice beside a shortcut."""

    def __init__(self, channels: int):
        super().__init__()
        self.change = nn.Sequential(
            GroupNorm(8, channels),
            nn.ReLU(inplace=True),
            nn.Conv3d(channels, channels, 3, padding=1, bias=False),
            GroupNorm(8, channels),
            nn.ReLU(inplace=True),
            nn.Conv3d(channels, channels, 3, padding=1, bias=False),
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(B, channels, X, Y, Z) -> the same shape."""
        return x + self.change(x)
