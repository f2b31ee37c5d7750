"""The autoencoders of Rosier (2022, section 3.4): a tumor mask becomes a short vector, and the vector a mask again.

Figure 3 of the thesis names the layers but not their sizes. The sizes here are those of the author's public program.
"""

from dataclasses import dataclass

import torch
from torch import nn
from torch.nn import functional

from TumorRetrievalLib.networks.batch import Output

INNER_EDGE = 16
EDGES = (32, 64, 128)
LARGEST_LATENT = 4096


@dataclass(frozen=True, eq=False)
class Reconstruction(Output):
    """What an autoencoder says: `masks` are the logits of the reconstruction, `embedding` is the latent mean.

    :param log_variance: of the latent vector, float32 (B, latent); None where it has no variance.
    """

    log_variance: torch.Tensor | None


class MaskAutoencoder(nn.Module):
    """Strided convolutions down to 16^3, one linear layer to the latent vector, and the mirror image of both.

    Each of the steps down is a 3x3x3 convolution of stride 2 and one of stride 1, the steps having 1, 2, 3 times
    `channels` channels; each step up a transposed convolution and, but for the last, another convolution. GELU follows
    every layer except those that give the latent vector and the result. A variational autoencoder has a second linear
    layer beside the first, for the logarithm of the variance, and in training decodes a random draw.

    Numbers of weights with 24 channels, for the AE with 1024 latent dimensions, the VAE with 1024 and the VAE with 8:
    604,821,761, 906,812,673 and 7,918,865 with the published 128^3 voxels; 403,007,825, 604,335,441 and 5,072,225 with
    64^3. Nearly all of them are in the linear layers.

    A trained VAE describes a mask by the mean of its latent vector. (The author's program adds the standard deviation
    to it at that point, as MONAI's network does.)

    :param edge: voxels along an edge of the cubic mask: 128 as published; 64 and 32 have one and two steps less.
    :param latent: length of the latent vector.
    :param variational: whether it is a VAE.
    :param channels: of the first step.
    :raises ValueError: if there is no such network.
    """

    def __init__(self, edge: int = 128, latent: int = 1024, variational: bool = False, channels: int = 24):
        super().__init__()
        if edge not in EDGES or not 1 <= latent <= LARGEST_LATENT or not 1 <= channels <= 64:
            raise ValueError(
                f"an autoencoder has an edge of {EDGES}, 1 to {LARGEST_LATENT} latent dimensions and 1 to 64 channels, "
                f"not {edge}, {latent} and {channels}"
            )
        self.arguments = {"edge": edge, "latent": latent, "variational": variational, "channels": channels}
        self.edge = edge
        widths = [channels * step for step in range(1, EDGES.index(edge) + 2)]
        self._inner_shape = (widths[-1], INNER_EDGE, INNER_EDGE, INNER_EDGE)
        inner_size = widths[-1] * INNER_EDGE**3

        self.encoder = nn.Sequential()
        for before, width in zip([1, *widths], widths, strict=False):
            self.encoder.extend((nn.Conv3d(before, width, 3, stride=2, padding=1), nn.GELU()))
            self.encoder.extend((nn.Conv3d(width, width, 3, padding=1), nn.GELU()))
        self.mean = nn.Linear(inner_size, latent)
        self.log_variance = nn.Linear(inner_size, latent) if variational else None
        self.from_latent = nn.Linear(latent, inner_size)
        self.decoder = nn.Sequential()
        for width, after in zip(widths[:0:-1], widths[-2::-1], strict=True):
            self.decoder.extend((_twice_as_fine(width, after), nn.GELU()))
            self.decoder.extend((nn.Conv3d(after, after, 3, padding=1), nn.GELU()))
        self.decoder.append(_twice_as_fine(widths[0], 1))

    def forward(self, image: torch.Tensor, boxes: torch.Tensor | None = None) -> Reconstruction:
        """
        :param image: masks (B, 1, edge, edge, edge), 0..1.
        :param boxes: not looked at; the trainer gives them to every network.
        """
        features = self.encoder(image).flatten(1)
        mean = latent = self.mean(features).float()
        log_variance = None
        if self.log_variance is not None:
            log_variance = self.log_variance(features).float()
            if self.training:
                latent = mean + torch.exp(0.5 * log_variance) * torch.randn_like(mean)
        return Reconstruction(self.decode(latent), mean, {}, log_variance)

    def encode(self, image: torch.Tensor) -> torch.Tensor:
        """Masks (B, 1, edge, edge, edge) -> latent means (B, latent)."""
        return self.mean(self.encoder(image).flatten(1)).float()

    def decode(self, latent: torch.Tensor) -> torch.Tensor:
        """Latent vectors (B, latent) -> logits of masks (B, 1, edge, edge, edge)."""
        inner = functional.gelu(self.from_latent(latent)).unflatten(1, self._inner_shape)
        return self.decoder(inner).float()


def coarsened(masks: torch.Tensor, edge: int) -> torch.Tensor:
    """Masks (B, 1, n, n, n) on `edge`^3 voxels: the marked share of each block, so that no detail jumps.

    :raises ValueError: if n is not a multiple of `edge`.
    """
    if masks.shape[-1] % edge:
        raise ValueError(f"Masks of {masks.shape[-1]} voxels cannot be brought to {edge}.")
    return functional.avg_pool3d(masks.float(), masks.shape[-1] // edge)


def _twice_as_fine(before: int, after: int) -> nn.ConvTranspose3d:
    return nn.ConvTranspose3d(before, after, 3, stride=2, padding=1, output_padding=1)
