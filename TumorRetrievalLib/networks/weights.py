"""Models on disk: a folder with `weights.safetensors` and its contract, `model.json`.

The contract says everything that a user of the weights must know: architecture and its arguments, channels, spacing,
normalisation, labels, how the weights were trained, how good they were found to be, and their checksum. Nothing here
can execute code from a file.
"""

import hashlib
import importlib
import json
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors.torch import load as parse_safetensors
from safetensors.torch import save as to_safetensors
from torch import nn

from TumorRetrievalLib.errors import WeightsError
from TumorRetrievalLib.imaging.atomic import atomic_file, make_folder
from TumorRetrievalLib.networks.device import choose_device

WEIGHTS_NAME = "weights.safetensors"
CONTRACT_NAME = "model.json"
FORMAT = 1
_PACKAGE = "TumorRetrievalLib.networks"

REGISTRY = {
    "default": "default:DefaultNetwork",
    "pisov": "pisov:PisovNetwork",
    "mask_autoencoder": "autoencoder:MaskAutoencoder",
    "plgg": "plgg:PlggNetwork",
    "med3d-unet": "med3d:Med3dUNet",
    "slices_best": "slices:SliceNetwork",
    "slices_paper": "slices:PaperSliceNetwork",
}
"""Architecture -> file and class of this package; imported when a model needs it, as MONAI takes seconds to load."""

# Above this rounding error, as a share of its largest number, a kernel keeps float32. Half precision rounds by at most
# 2^-11 of a number, unless the number overflows it or, being tiny like its whole kernel, falls below its range.
HALF_TOLERANCE = 2**-11

WAY_OUT = "Install the tool again to get the bundled model back, or name another model folder."


@dataclass(frozen=True, eq=False)
class LoadedModel:
    """A network that is ready to use.

    :param network: in eval mode on `device`, without gradients, float32.
    :param contract: the content of `model.json`.
    :param sha256: of the weight file; together with the contract it identifies what made a vector.
    :param device: where the network is.
    """

    network: nn.Module
    contract: dict
    sha256: str
    device: torch.device


def save_model(folder: Path | str, network: nn.Module, contract: dict) -> Path:
    """Writes a network and its contract; both files appear completely or not at all.

    The kernels of convolutions and linear layers are stored as float16 where no number in them changes by more than
    2^-11 of the kernel's largest (checked here, kernel by kernel); everything else, which is small, as float32.
    Loading always gives float32.

    :param folder: made if it is not there; an older model in it is replaced.
    :param network: of a class in REGISTRY.
    :param contract: plain JSON values: channels, spacing_mm, normalisation, labels, embedding, training, quality...
        The keys format, architecture, arguments and weights_sha256 are filled in here.
    :returns: the folder.
    :raises CannotWrite: if the disk is full or the folder is read-only.
    """
    folder = Path(folder)
    make_folder(folder)
    stored = {name: _compact(tensor.detach().cpu().contiguous()) for name, tensor in network.state_dict().items()}
    weights = to_safetensors(stored)
    identity = {
        "format": FORMAT,
        "architecture": _name_of(network),
        "arguments": network.arguments,
        "weights_sha256": hashlib.sha256(weights).hexdigest(),
    }
    document = identity | contract | identity
    # The contract goes last: until it is replaced, it refuses the new weights by their checksum.
    with atomic_file(folder / WEIGHTS_NAME) as path:
        path.write_bytes(weights)
    with atomic_file(folder / CONTRACT_NAME) as path:
        path.write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")
    return folder


def load_model(folder: Path | str, device: torch.device | str | None = None) -> LoadedModel:
    """Reads a model that :func:`save_model` wrote.

    :param device: None = CUDA if there is one, else the CPU.
    :raises WeightsError: if a file is missing, damaged, or not what the contract says.
    """
    folder = Path(folder)
    contract = _read_contract(folder / CONTRACT_NAME)
    weights = _read_weights(folder / WEIGHTS_NAME, contract)
    network = _build(contract, folder)
    _require_same_tensors(network.state_dict(), weights, folder)
    network.load_state_dict({name: tensor.to(network.state_dict()[name].dtype) for name, tensor in weights.items()})
    device = choose_device(str(device) if device is not None else None)
    network = network.to(device, memory_format=torch.channels_last_3d).eval().requires_grad_(False)
    return LoadedModel(network, contract, contract["weights_sha256"], device)


def start_from(network: nn.Module, folder: Path | str) -> str:
    """Gives a network the weights of a stored model of the same architecture and arguments, to train them further.

    :returns: the SHA-256 of those weights.
    :raises WeightsError: if there is no usable model in `folder`, or it is of another architecture.
    """
    model = load_model(folder, "cpu")
    own = {"architecture": _name_of(network), "arguments": network.arguments}
    stored = {key: model.contract[key] for key in own}
    if json.dumps(own, sort_keys=True) != json.dumps(stored, sort_keys=True):
        raise WeightsError(
            f"The training cannot start from {folder}: that is {stored['architecture']} with {stored['arguments']}, "
            f"and this recipe trains {own['architecture']} with {own['arguments']}. Name a model of the same recipe."
        )
    network.load_state_dict(model.network.state_dict())
    return model.sha256


def _compact(tensor: torch.Tensor) -> torch.Tensor:
    """A kernel in float16 if that changes nothing measurable; anything else as it is."""
    if tensor.dtype != torch.float32 or tensor.ndim < 2 or tensor.numel() == 0:
        return tensor
    half = tensor.half()
    error = (half.float() - tensor).abs().max()
    return half if error <= HALF_TOLERANCE * tensor.abs().max() else tensor


def _name_of(network: nn.Module) -> str:
    kind = type(network)
    for name, place in REGISTRY.items():
        if f"{kind.__module__}:{kind.__name__}" == f"{_PACKAGE}.{place}":
            return name
    raise WeightsError(f"{type(network).__name__} is not in the registry of networks, so it could not be loaded again.")


def _read_contract(path: Path) -> dict:
    try:
        contract = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise WeightsError(f"There is no model in {path.parent}: {path.name} is missing. {WAY_OUT}") from error
    except (OSError, ValueError, RecursionError) as error:
        raise WeightsError(f"The model contract {path} cannot be read: {error}. {WAY_OUT}") from error
    needed = ("format", "architecture", "arguments", "weights_sha256")
    missing = [key for key in needed if key not in contract] if isinstance(contract, dict) else list(needed)
    if missing:
        raise WeightsError(f"The model contract {path} lacks {', '.join(missing)}. {WAY_OUT}")
    if contract["format"] != FORMAT:
        raise WeightsError(
            f"The model in {path.parent} has format {contract['format']}; this version reads format {FORMAT}. "
            f"Use the version of the tool that wrote it, or another model."
        )
    return contract


def _read_weights(path: Path, contract: dict) -> dict[str, torch.Tensor]:
    try:
        content = path.read_bytes()
    except FileNotFoundError as error:
        raise WeightsError(f"The weights {path} are missing. {WAY_OUT}") from error
    except OSError as error:
        raise WeightsError(f"The weights {path} cannot be read: {error}. {WAY_OUT}") from error
    found = hashlib.sha256(content).hexdigest()
    if found != contract["weights_sha256"]:
        raise WeightsError(
            f"The weights {path} are damaged or belong to another contract: their SHA-256 is {found[:12]}..., and "
            f"{CONTRACT_NAME} expects {str(contract['weights_sha256'])[:12]}.... {WAY_OUT}"
        )
    try:
        return parse_safetensors(content)
    except Exception as error:  # the parser is foreign code with its own kinds of errors
        raise WeightsError(f"The weights {path} are not a safetensors file: {error}. {WAY_OUT}") from error


def _build(contract: dict, folder: Path) -> nn.Module:
    place = REGISTRY.get(contract["architecture"]) if isinstance(contract["architecture"], str) else None
    if place is None:
        known = ", ".join(REGISTRY)
        raise WeightsError(
            f"The model in {folder} has the unknown architecture {contract['architecture']!r} (known: {known}). "
            f"Use a newer version of the tool, or another model."
        )
    module, kind = place.split(":")
    network = getattr(importlib.import_module(f"{_PACKAGE}.{module}"), kind)
    try:
        return network(**contract["arguments"])
    except Exception as error:  # whatever the constructor dislikes about foreign arguments
        raise WeightsError(
            f"The model contract in {folder} has arguments that {contract['architecture']} does not take: {error}. "
            f"{WAY_OUT}"
        ) from error


def _require_same_tensors(expected: dict, found: dict, folder: Path) -> None:
    missing, surplus = expected.keys() - found.keys(), found.keys() - expected.keys()
    wrong = [name for name in expected.keys() & found.keys() if expected[name].shape != found[name].shape]
    problems = [
        f"{what}: {', '.join(sorted(names)[:3])}{'...' if len(names) > 3 else ''}"
        for what, names in (("missing", missing), ("surplus", surplus), ("of another shape", wrong))
        if names
    ]
    if problems:
        raise WeightsError(f"The weights in {folder} do not fit their architecture ({'; '.join(problems)}). {WAY_OUT}")
