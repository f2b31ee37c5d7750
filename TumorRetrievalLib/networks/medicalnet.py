"""Reads the checkpoints of MedicalNet into its encoders, and accounts for every tensor in them.

MedicalNet (Chen et al. 2019) publishes `resnet_10.pth` and so on: pickles of {"state_dict": {"module.conv1.weight":
...}}, the names of a network wrapped for several GPUs, some with the segmentation head of its training. They are read
with `weights_only=True`, which runs no code from the file.
"""

import pickle
import re
from pathlib import Path

import torch

from TumorRetrievalLib.errors import WeightsError
from TumorRetrievalLib.networks.med3d import Med3dUNet, MedicalNetEncoder

LEFT_OUT = re.compile(r"conv_seg\.\d+\.\w+")
"""The segmentation head of MedicalNet's own training: the one part of a checkpoint that has no place here."""


def load_medicalnet(network: Med3dUNet, path: Path | str) -> list[str]:
    """Puts a MedicalNet checkpoint into each encoder of a network.

    :returns: the names of the tensors that were left out, all of them of `LEFT_OUT`.
    :raises WeightsError: if the file is missing, damaged, would run code, or is not exactly an encoder of this depth.
    """
    weights, left_out = read_medicalnet(path, network.arguments["depth"])
    for encoder in network.encoders.values():
        encoder.load_state_dict(weights)
    return left_out


def read_medicalnet(path: Path | str, depth: int) -> tuple[dict[str, torch.Tensor], list[str]]:
    """The tensors of an encoder of a depth, by the encoder's names, and the names of what was left out.

    Counters of batch norm (`num_batches_tracked`), which old versions of PyTorch did not save, may be absent.

    :raises WeightsError: see :func:`load_medicalnet`.
    """
    path = Path(path)
    found, left_out = {}, []
    for name, tensor in _state_dict(path).items():
        plain = name.removeprefix("module.")
        if LEFT_OUT.fullmatch(plain):
            left_out.append(name)
        elif plain in found:
            raise WeightsError(f"{path} holds {plain} twice, with and without the prefix 'module.'. {_WAY_OUT}")
        else:
            found[plain] = tensor
    expected = MedicalNetEncoder(depth).state_dict()
    for name, tensor in expected.items():
        if name.endswith("num_batches_tracked"):
            found.setdefault(name, tensor)
    _require_same(expected, found, path, depth)
    return found, left_out


_WAY_OUT = "Get the file from MedicalNet again, or leave --checkpoint out to train without it."


def _state_dict(path: Path) -> dict[str, torch.Tensor]:
    try:
        stored = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise WeightsError(f"There is no checkpoint {path}. {_WAY_OUT}") from None
    except pickle.UnpicklingError as error:
        reason = "it holds something else than tensors" if "weights_only" in str(error).lower() else "it is damaged"
        raise WeightsError(f"The checkpoint {path} was not read: {reason}. {_WAY_OUT}") from error
    except Exception as error:  # torch raises many kinds, depending on which byte is broken
        raise WeightsError(f"The checkpoint {path} is damaged or no checkpoint of PyTorch. {_WAY_OUT}") from error
    weights = stored.get("state_dict", stored) if isinstance(stored, dict) else None
    if not isinstance(weights, dict) or not weights:
        raise WeightsError(f"{path} holds no dictionary of weights. {_WAY_OUT}")
    wrong = [name for name, value in weights.items() if not (isinstance(name, str) and isinstance(value, torch.Tensor))]
    if wrong:
        raise WeightsError(f"{path} holds under {wrong[0]!r} something that is no tensor. {_WAY_OUT}")
    return weights


def _require_same(expected: dict, found: dict, path: Path, depth: int) -> None:
    problems = {
        "missing": expected.keys() - found.keys(),
        "unknown": found.keys() - expected.keys(),
        "of another shape": {n for n in expected.keys() & found.keys() if expected[n].shape != found[n].shape},
        "not finite": {n for n, tensor in found.items() if tensor.is_floating_point() and not tensor.isfinite().all()},
    }
    said = [
        f"{len(names)} {what} ({', '.join(sorted(names)[:3])}{', ...' if len(names) > 3 else ''})"
        for what, names in problems.items()
        if names
    ]
    if said:
        raise WeightsError(f"{path} is not a MedicalNet ResNet-{depth}: of its tensors {'; '.join(said)}. {_WAY_OUT}")
