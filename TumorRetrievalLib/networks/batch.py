"""The one form in which data reaches a network, and the one form in which it answers."""

from dataclasses import dataclass, fields, replace

import torch


@dataclass(frozen=True, eq=False)
class Batch:
    """Crops of scans with the truth about them.

    :param image: float32 (B, C, X, Y, Z); what the channels mean is the network's business.
    :param masks: float32 (B, M, X, Y, Z), 0 or 1.
    :param boxes: int64 (N, 7), one row per tumor: its sample, then i0, i1, j0, j1, k0, k1 as half-open voxel ranges
        in the crop.
    :param labels: task -> int64 (N,), the class of every tumor, -1 where it is not known.
    :param mask_known: bool (B, M), whether the truth of that mask is known.
    """

    image: torch.Tensor
    masks: torch.Tensor
    boxes: torch.Tensor
    labels: dict[str, torch.Tensor]
    mask_known: torch.Tensor

    def to(self, device: torch.device | str) -> "Batch":
        """The same batch on another device."""
        tensors = {field.name: getattr(self, field.name) for field in fields(self) if field.name != "labels"}
        moved = {name: tensor.to(device, non_blocking=True) for name, tensor in tensors.items()}
        labels = {task: tensor.to(device, non_blocking=True) for task, tensor in self.labels.items()}
        return replace(self, labels=labels, **moved)

    def __len__(self) -> int:
        return self.image.shape[0]


@dataclass(frozen=True, eq=False)
class Output:
    """What a network says about a batch.

    :param masks: logits, float32 (B, M, X, Y, Z).
    :param embedding: float32 (N, E), one vector per box.
    :param labels: task -> logits, float32 (N, classes).
    """

    masks: torch.Tensor
    embedding: torch.Tensor
    labels: dict[str, torch.Tensor]
