"""A trained network for slices, ready to be asked."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from TumorRetrievalLib.errors import WeightsError
from TumorRetrievalLib.networks.slices import PaperSliceNetwork, SliceNetwork, whole_slices
from TumorRetrievalLib.networks.weights import LoadedModel, load_model

_AT_ONCE = 64


@dataclass(frozen=True, eq=False)
class SliceAnswer:
    """What was said about n slices.

    :param types: probabilities in the order of `SLICE_TYPES`, float32 (n, 4).
    :param masks: probability of tumor, float32 (n, 128, 128); None from a network without a decoder.
    """

    types: np.ndarray
    masks: np.ndarray | None


def load_slice_model(folder: Path | str, device: str | None = None) -> LoadedModel:
    """`weights.load_model` of a network for slices.

    :raises WeightsError: if there is no usable model, or one for something else.
    """
    model = load_model(folder, device)
    if not isinstance(model.network, PaperSliceNetwork | SliceNetwork):
        raise WeightsError(f"The model in {folder} is not one for slices, but {model.contract['architecture']!r}.")
    return model


@torch.inference_mode()
def ask(network: PaperSliceNetwork | SliceNetwork, images: np.ndarray, boxes: np.ndarray | None = None) -> SliceAnswer:
    """Types and tumors of slices. Ours is asked twice, about each slice and its mirror image, and the mean counts.

    :param images: (n, 128, 128), n at least 1, background 0; for the paper's network 0..255.
    :param boxes: int (n, 4), half-open pixel ranges of the rows and columns in which the tumor lies; None where that is
        not known. The paper's network does not look at them.
    """
    device = next(network.parameters()).device
    prepared, places = network.prepare(images), whole_slices(len(images))
    if boxes is not None:
        places[:, 1:] = torch.from_numpy(np.asarray(boxes, np.int64))
    network.eval()
    types, masks = [], []
    for start in range(0, len(images), _AT_ONCE):
        part = slice(start, start + _AT_ONCE)
        answers = [_answer(network, prepared[part].to(device), places[part])]
        if isinstance(network, SliceNetwork):
            answers.append(_mirrored_answer(network, prepared[part].to(device), places[part]))
        types.append(torch.stack([answer[0] for answer in answers]).mean(dim=0))
        masks.append(torch.stack([answer[1] for answer in answers]).mean(dim=0))
    chances = torch.cat(masks).cpu().numpy()
    return SliceAnswer(torch.cat(types).cpu().numpy(), chances[:, 0] if chances.shape[1] else None)


def _answer(network, images: torch.Tensor, boxes: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    output = network(images, boxes)
    return output.labels["type"].softmax(dim=1), output.masks.sigmoid()


def _mirrored_answer(network, images: torch.Tensor, boxes: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    mirrored = boxes.clone()
    mirrored[:, 3], mirrored[:, 4] = images.shape[3] - boxes[:, 4], images.shape[3] - boxes[:, 3]
    types, masks = _answer(network, images.flip(3), mirrored)
    return types, masks.flip(3)
