"""The network of Epstein & Shimshi, "Transfer learning for 3d MRI images brain tumor segmentation" (2021): Med3D
encoders beside a U-Net.

Med3D (Chen et al. 2019, "Med3D: Transfer Learning for 3D Medical Image Analysis") published its weights as MedicalNet.
`medicalnet.py` reads them.
"""

import torch
from monai.networks.nets.resnet import ResNet, get_medicalnet_pretrained_resnet_args
from torch import nn
from torch.nn import functional

from TumorRetrievalLib.networks.batch import Output
from TumorRetrievalLib.networks.norm import GroupNorm

MODALITIES = ("t1c", "flair")
"""What the shared data has. The paper feeds T1, T1c, T2 and FLAIR."""
REGIONS = ("whole_tumor", "tumor_core", "enhancing")
"""The masks, nested as BraTS does: WT, TC and ET."""

LAYERS = {10: (1, 1, 1, 1), 18: (2, 2, 2, 2), 50: (3, 4, 6, 3)}
"""Depth of a MedicalNet encoder -> its blocks. Those of 50 are bottlenecks of three convolutions."""
WIDTHS = (64, 128, 256, 512)
REDUCTION = 8
"""MedicalNet's encoders end at an eighth of the resolution."""


class MedicalNetEncoder(ResNet):
    """MONAI's ResNet as MedicalNet built it: one channel in, dilated instead of strided in its last two stages.

    Its parameters are named and shaped as in MedicalNet's checkpoints. MONAI's own ResNet also loads them, but halves
    the resolution twice more; the published weights were trained with dilations 2 and 4 there.

    Where the number of channels changes, depth 18 pads with zeros instead of convolving (shortcut type A), and no
    gradient passes through that shortcut: so it is in MedicalNet and in MONAI.

    :param depth: 10, 18 or 50.
    """

    def __init__(self, depth: int):
        bias, shortcut = get_medicalnet_pretrained_resnet_args(depth)
        super().__init__(
            block="bottleneck" if depth >= 50 else "basic",
            layers=list(LAYERS[depth]),
            block_inplanes=list(WIDTHS),
            n_input_channels=1,
            conv1_t_stride=2,
            shortcut_type=shortcut,
            bias_downsample=bias,
            feed_forward=False,
        )
        for stage, dilation in ((self.layer3, 2), (self.layer4, 4)):
            for convolution in (part for part in stage.modules() if isinstance(part, nn.Conv3d)):
                if convolution.kernel_size == (3, 3, 3):
                    convolution.dilation = convolution.padding = (dilation,) * 3
        expansion = 4 if depth >= 50 else 1
        self.outputs = WIDTHS[-1] * expansion

    def _make_layer(self, block, planes, blocks, spatial_dims, shortcut_type, stride=1, norm="batch"):
        strided = stride if planes < WIDTHS[2] else 1
        return super()._make_layer(block, planes, blocks, spatial_dims, shortcut_type, strided, norm)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(B, 1, X, Y, Z) -> (B, outputs, X/8, Y/8, Z/8), rounded up."""
        x = self.maxpool(self.act(self.bn1(self.conv1(x))))
        return self.layer4(self.layer3(self.layer2(self.layer1(x))))


class Med3dUNet(nn.Module):
    """T1c and FLAIR in; whole tumor, tumor core and enhancing tumor out.

    As published: each modality goes through a Med3D encoder, and the results are concatenated; beside it the images
    themselves are convolved and downsampled, concatenated with the encoders' result where the sizes meet, and brought
    back by transposed convolutions, concatenations and double convolutions, three times, to full resolution.

    What is different here, and why:

    - two modalities instead of four: the real scans at hand have T1c and FLAIR;
    - the paper reduces each encoder to four channels by Med3D's segmentation head, and names that loss of information
      as its probable weakness: here the head is left out, and a 1x1x1 convolution brings all channels to `width * 4`;
    - the encoders then end at an eighth of the resolution, so the images are downsampled three times, not twice;
    - what the paper does not give: `width` channels at full resolution, doubled with each halving; GroupNorm.

    :param depth: of the encoders: 10, 18 or 50.
    :param width: channels of the U-Net at full resolution, a multiple of 8.
    :param frozen: the encoders are not trained, and their batch norm keeps the statistics that it came with.
    """

    def __init__(self, depth: int = 10, width: int = 16, frozen: bool = False):
        super().__init__()
        self.arguments = {"depth": depth, "width": width, "frozen": frozen}
        self.frozen = frozen
        self.encoders = nn.ModuleDict({name: MedicalNetEncoder(depth) for name in MODALITIES})
        outputs = sum(encoder.outputs for encoder in self.encoders.values())
        widths = (width, 2 * width, 4 * width)
        self.gather = nn.Conv3d(outputs, widths[2], 1)
        self.encode = nn.ModuleList(
            DoubleConvolution(into, out) for into, out in zip((len(MODALITIES), *widths[:2]), widths, strict=True)
        )
        self.bottom = DoubleConvolution(2 * widths[2], widths[2])
        self.up = nn.ModuleList(
            nn.ConvTranspose3d(into, out, 2, stride=2)
            for into, out in zip((widths[2], widths[2], widths[1]), widths[::-1], strict=True)
        )
        self.decode = nn.ModuleList(DoubleConvolution(2 * out, out) for out in widths[::-1])
        self.masks = nn.Conv3d(width, len(REGIONS), 1)
        # Nearly everything is background: starting there spares the first hundred steps. The features are never
        # negative, so a region whose few weights begin below zero stays background until all have been carried across,
        # and in a short training that never happened (measured: the whole tumor, Dice 0). So all begin above.
        nn.init.constant_(self.masks.bias, -3.0)
        with torch.no_grad():
            self.masks.weight.abs_()
        if frozen:
            self.encoders.requires_grad_(False)

    def train(self, mode: bool = True) -> "Med3dUNet":
        """Training mode; frozen encoders stay as they are."""
        super().train(mode)
        if self.frozen:
            self.encoders.eval()
        return self

    def forward(self, image: torch.Tensor, boxes: torch.Tensor) -> Output:
        """
        :param image: (B, 2, X, Y, Z), T1c and FLAIR, each size a multiple of 8.
        :param boxes: not used: the whole image is outlined.
        :returns: masks (B, 3, X, Y, Z) in the order of REGIONS; embedding (B, 4 * width), the mean of the bottom.
        """
        seen = [encoder(image[:, n : n + 1]) for n, encoder in enumerate(self.encoders.values())]
        x, skipped = image, []
        for encode in self.encode:
            x = encode(x)
            skipped.append(x)
            x = functional.max_pool3d(x, 2)
        x = self.bottom(torch.cat([x, self.gather(torch.cat(seen, dim=1))], dim=1))
        embedding = x.float().mean(dim=(2, 3, 4))
        for up, decode in zip(self.up, self.decode, strict=True):
            x = decode(torch.cat([up(x), skipped.pop()], dim=1))
        return Output(self.masks(x).float(), embedding, {})


class DoubleConvolution(nn.Sequential):
    """(3x3x3 convolution, GroupNorm, ReLU) twice."""

    def __init__(self, inputs: int, outputs: int):
        super().__init__(
            nn.Conv3d(inputs, outputs, 3, padding=1, bias=False),
            GroupNorm(8, outputs),
            nn.ReLU(inplace=True),
            nn.Conv3d(outputs, outputs, 3, padding=1, bias=False),
            GroupNorm(8, outputs),
            nn.ReLU(inplace=True),
        )
