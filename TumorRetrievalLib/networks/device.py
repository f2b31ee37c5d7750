"""Where a network runs, and in which precision."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import TypeVar

import torch

T = TypeVar("T")


def choose_device(preferred: str | None = None) -> torch.device:
    """The device to compute on: `preferred` if it is there, else CUDA, else the CPU.

    A preferred CUDA device that this machine does not have is replaced by the CPU, so that one setting serves
    several machines.
    """
    wanted = torch.device(preferred or "cuda")
    return wanted if wanted.type == "cpu" or torch.cuda.is_available() else torch.device("cpu")


def has_fast_bfloat16(device: torch.device) -> bool:
    """Whether bfloat16 arithmetic is faster than float32 here; a CPU without AVX-512 BF16 or AMX only emulates it."""
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    # These are not public; a torch without them is asked nothing and counts as slow.
    checks = ("_is_avx512_bf16_supported", "_is_amx_tile_supported")
    return any(getattr(torch.cpu, check, bool)() for check in checks)


def half_precision(device: torch.device) -> torch.dtype | None:
    """The short type in which convolutions are fastest: bfloat16, float16 on a GPU that has no bfloat16, or none."""
    if has_fast_bfloat16(device):
        return torch.bfloat16
    return torch.float16 if device.type == "cuda" else None


def mixed_precision(device: torch.device) -> AbstractContextManager:
    """A context in which convolutions run in half precision where that is faster, and nothing changes where it is not.

    Training in float16 also needs its gradients scaled.
    """
    short = half_precision(device)
    return torch.autocast(device.type, dtype=short or torch.bfloat16, enabled=short is not None)


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error says that a GPU's memory, or the computer's, was too small."""
    # On the CPU it is a plain RuntimeError, of which torch gives only the text.
    return isinstance(error, torch.cuda.OutOfMemoryError | MemoryError) or (
        isinstance(error, RuntimeError) and "not enough memory" in str(error)
    )


def run_with_fallback(work: Callable[[torch.device], T], device: torch.device) -> tuple[T, str | None]:
    """Does `work` on a device, and on the CPU if the GPU's memory is too small for it.

    :param work: receives the device, and moves to it whatever it needs.
    :returns: the result, and a sentence for the user if the CPU had to step in.
    """
    try:
        return work(device), None
    except torch.cuda.OutOfMemoryError:
        if device.type == "cpu":
            raise
    # Only outside of the handler is the failed attempt's memory free: the exception holds its frames.
    torch.cuda.empty_cache()
    return work(torch.device("cpu")), f"The memory of {device} was too small, so this ran on the CPU (slower)."
