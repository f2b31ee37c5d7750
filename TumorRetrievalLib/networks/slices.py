"""Networks for single slices: the one of Mueller Ferreira et al. (2024), and a stronger one for the same task.

Both outline the tumor in a 128 x 128 slice of a contrast-enhanced T1 and tell which of `SLICE_TYPES` the slice shows.
"""

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from TumorRetrievalLib.networks.batch import Output
from TumorRetrievalLib.networks.norm import GroupNorm

EDGE = 128
"""Pixels along an edge of a slice."""

BLOCKS = 2
"""Residual blocks at each resolution on the way down, but for the finest: there they cost most and tell least."""

SLICE_TYPES = ("none", "meningioma", "glioma", "pituitary adenoma")
"""What a slice can show, in the order of both networks' output and of the labels in a file of slices."""


class _FlatNetwork(nn.Module):
    """A network of 2D convolutions, under whatever moves networks of volumes."""

    def to(self, *args, memory_format: torch.memory_format | None = None, **kwargs) -> "_FlatNetwork":
        """`nn.Module.to`, with channels_last for channels_last_3d, which only volumes can have."""
        if memory_format is None:
            return super().to(*args, **kwargs)
        return super().to(*args, memory_format=torch.channels_last, **kwargs)


class PaperSliceNetwork(_FlatNetwork):
    """The network of Mueller Ferreira et al., "Multi-task model for classification and segmentation of brain tumors".

    As published (CBIS 2024, Methods): five blocks of a 3x3 convolution, batch norm and max pooling by two with 8, 16,
    32, 64 and 128 filters; from there a Dense layer of 128, dropout of one half and a Dense layer of 4; and a decoder
    of five blocks with 128, 64, 32, 16 and 8 filters in which upsampling by two stands in the place of pooling, and a
    1x1 convolution. Without skip connections. 608,645 weights, and 362,020 without the decoder, as
    :func:`weights_in_keras` counts them.

    What the paper leaves open, and what is done here as Keras, which the authors used, does it by default: ReLU after
    every convolution and the first Dense layer; weights drawn by Glorot's rule; batch norm with momentum .99 and an
    epsilon of .001; upsampling by repetition.

    :param outline: False leaves out the decoder: the paper's single-task network.
    """

    def __init__(self, outline: bool = True):
        super().__init__()
        self.arguments = {"outline": outline}
        self.encoder = nn.Sequential()
        for before, width in zip((1, 8, 16, 32, 64), (8, 16, 32, 64, 128), strict=True):
            self.encoder.extend((_keras_block(before, width), nn.MaxPool2d(2)))
        self.classify = nn.Sequential(
            nn.Flatten(), nn.Linear(128 * 4 * 4, 128), nn.ReLU(), nn.Dropout(0.5), nn.Linear(128, len(SLICE_TYPES))
        )
        self.decoder = nn.Sequential()
        if outline:
            for before, width in zip((128, 128, 64, 32, 16), (128, 64, 32, 16, 8), strict=True):
                self.decoder.extend((_keras_block(before, width), nn.Upsample(scale_factor=2)))
            self.decoder.append(nn.Conv2d(8, 1, 1))
        for module in self.modules():
            if isinstance(module, nn.Conv2d | nn.Linear):
                nn.init.xavier_uniform_(module.weight)
                nn.init.zeros_(module.bias)

    @staticmethod
    def prepare(images: np.ndarray) -> torch.Tensor:
        """Slices (n, 128, 128), 0..255, as the network takes them: float32 (n, 1, 128, 128), 0..1."""
        return torch.from_numpy(images[:, None].astype(np.float32) / 255)

    def forward(self, image: torch.Tensor, boxes: torch.Tensor | None = None) -> Output:
        """
        :param image: as from :meth:`prepare`.
        :param boxes: not looked at; the trainer gives them to every network.
        :returns: masks (B, 1, 128, 128), or (B, 0, 128, 128) without a decoder; the label "type" of every slice.
        """
        features = self.encoder(_channels_last(image))
        embedding = self.classify[:3](features)
        masks = self.decoder(features) if len(self.decoder) else image[:, :0]
        return Output(masks.float(), embedding.float(), {"type": self.classify[3:](embedding).float()})


def weights_in_keras(network: nn.Module) -> int:
    """How many weights Keras would report: a batch norm's running mean and variance count like its scale and shift."""
    running = sum(b.numel() for name, b in network.named_buffers() if name.endswith(("running_mean", "running_var")))
    return sum(weights.numel() for weights in network.parameters()) + running


def _keras_block(before: int, width: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(before, width, 3, padding=1), nn.ReLU(inplace=True), nn.BatchNorm2d(width, eps=1e-3, momentum=0.01)
    )


@dataclass(frozen=True, eq=False)
class SliceOutput(Output):
    """What :class:`SliceNetwork` says.

    :param cells: logits of the type at every place of the map at a quarter of its resolution, (B, 4, n, n).
    """

    cells: torch.Tensor


class SliceNetwork(_FlatNetwork):
    """A residual U-shaped network that looks for the type where it sees the tumor.

    Blocks of 2x2 pixels become channels at once and the mask is unfolded from channels at the end, so that no
    convolution runs at full resolution. The mask, made soft and limited to the drawn box where there is one, then says
    which features count: their means over the tumor at every resolution, and the mean of the coarsest over the whole
    slice (which tells axial from sagittal, and low from high), decide on the type. A network that pools blindly learns
    instead which head it has seen before.

    :param widths: channels at 1/2, 1/4, 1/8 and 1/16 of the resolution, multiples of 8.
    :param edge: pixels along an edge at which it works, a multiple of 16. With 96, the slice is made coarser at the
        start and the mask finer at the end, and a network is trained in little more than half of the time.
    """

    def __init__(self, widths: tuple[int, int, int, int] = (16, 40, 80, 144), edge: int = 96):
        super().__init__()
        self.arguments = {"widths": list(widths), "edge": edge}
        self.edge = edge
        steps = list(pairwise(widths))
        self.stem = nn.Conv2d(4, widths[0], 3, padding=1)
        self.encoders = nn.ModuleList(
            nn.Sequential(*(FlatResBlock(width) for _ in range(BLOCKS if level else 0)))
            for level, width in enumerate(widths)
        )
        self.downs = nn.ModuleList(nn.Conv2d(fine, coarse, 2, stride=2) for fine, coarse in steps)
        self.ups = nn.ModuleList(nn.ConvTranspose2d(coarse, fine, 2, stride=2) for fine, coarse in steps)
        self.decoders = nn.ModuleList(FlatResBlock(fine) for fine, _ in steps)
        self.norm = GroupNorm(8, widths[0])
        self.mask = nn.Conv2d(widths[0], 4, 3, padding=1)
        self.cells = nn.Conv2d(widths[1], len(SLICE_TYPES), 1)
        described = sum(widths) + widths[-1]
        self.describe = nn.Sequential(
            nn.LayerNorm(described), nn.Dropout(0.3), nn.Linear(described, 96), nn.ReLU(), nn.Dropout(0.3)
        )
        self.classify = nn.Linear(96, len(SLICE_TYPES))
        nn.init.constant_(self.mask.bias, -3.0)  # nearly everything is background

    @staticmethod
    def prepare(images: np.ndarray) -> torch.Tensor:
        """Slices (n, 128, 128), of any scale, as the network takes them: float32 (n, 1, 128, 128), 0..2.

        The median of the head, or of the brain where the skull was taken off, becomes one third.
        """
        prepared = np.zeros(images.shape, np.float32)
        for image, out in zip(np.asarray(images, np.float32), prepared, strict=True):
            tissue = image[image > 0.1 * np.percentile(image, 99)]
            if tissue.size:
                np.clip(image / (3 * np.median(tissue)), 0, 2, out=out)
        return torch.from_numpy(prepared[:, None])

    def forward(self, image: torch.Tensor, boxes: torch.Tensor) -> SliceOutput:
        """
        :param image: as from :meth:`prepare`.
        :param boxes: int64 (B, 5): for every slice, in order, its number and the half-open pixel ranges of its rows and
            columns in which the tumor lies; the whole slice where that is not known.
        """
        seen = functional.interpolate(image, (self.edge, self.edge), mode="bilinear", antialias=True)
        x = self.stem(_channels_last(functional.pixel_unshuffle(seen, 2)))
        levels = []
        for level, encoder in enumerate(self.encoders):
            x = encoder(x)
            levels.append(x)
            if level < len(self.downs):
                x = self.downs[level](x)
        for level in reversed(range(len(self.ups))):
            x = self.decoders[level](self.ups[level](x) + levels[level])
            levels[level] = x
        masks = functional.pixel_shuffle(self.mask(functional.relu(self.norm(levels[0]))), 2).float()
        masks = functional.interpolate(masks, image.shape[2:], mode="bilinear")
        attention = masks.detach().sigmoid() * inside_boxes(boxes, image)
        pooled = [_mean_over(features.float(), attention) for features in levels]
        with torch.autocast(image.device.type, enabled=False):
            embedding = self.describe(torch.cat([*pooled, levels[-1].float().mean(dim=(2, 3))], dim=1))
            labels = {"type": self.classify(embedding)}
        return SliceOutput(masks, embedding, labels, self.cells(levels[1]).float())


class FlatResBlock(nn.Module):
    """`blocks.ResBlock` in two dimensions: pre-activation, two 3x3 convolutions, one GroupNorm, a small second step.

    :param channels: of the input and of the output, a multiple of 8.
    """

    def __init__(self, channels: int):
        super().__init__()
        self.norm = GroupNorm(8, channels)
        self.first = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.second = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        with torch.no_grad():
            self.second.weight.mul_(0.3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(B, C, H, W) -> the same shape."""
        return self.second(functional.relu_(self.first(functional.relu_(self.norm(x))))) + x


def whole_slices(count: int) -> torch.Tensor:
    """The boxes of slices in which nobody drew one, int64 (count, 5)."""
    boxes = torch.tensor([[0, 0, EDGE, 0, EDGE]]).repeat(count, 1)
    boxes[:, 0] = torch.arange(count)
    return boxes


def inside_boxes(boxes: torch.Tensor, image: torch.Tensor) -> torch.Tensor:
    """1 inside the box of every slice, 0 outside; (B, 1, H, W).

    :param boxes: int64 (B, 5), as in :meth:`SliceNetwork.forward`.
    """
    rows, columns = (torch.arange(size, device=image.device) for size in image.shape[2:])
    _, top, bottom, left, right = (edge[:, None] for edge in boxes.to(image.device).T)
    inside = ((rows >= top) & (rows < bottom))[:, :, None] & ((columns >= left) & (columns < right))[:, None, :]
    return inside[:, None].float()


def _mean_over(features: torch.Tensor, attention: torch.Tensor) -> torch.Tensor:
    """Mean of (B, C, h, w) weighted by (B, 1, H, W); (B, C). Where nothing counts, everything counts a little."""
    weights = functional.adaptive_avg_pool2d(attention, features.shape[2:]) + 1e-4
    return (features * weights).sum(dim=(2, 3)) / weights.sum(dim=(2, 3))


def _channels_last(image: torch.Tensor) -> torch.Tensor:
    """In memory as 2D convolutions on a CPU want it."""
    return image.contiguous(memory_format=torch.channels_last)
