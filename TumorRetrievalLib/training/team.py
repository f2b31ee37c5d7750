"""Several processes that train one network together, one per GPU, as `torchrun` starts them.

`torchrun --nproc_per_node 4 -m TumorRetrievalLib.cli train ...` runs the same command four times and tells each its
number in the environment. Every process takes its own share of the batches; the gradients are averaged, so that the
weights stay the same in all of them. The first one writes the files and talks to the user.
"""

import gc
import os
from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import distributed, nn
from torch.nn.parallel import DistributedDataParallel

from TumorRetrievalLib.networks.device import choose_device


@dataclass(frozen=True)
class Team:
    """Which of how many processes this is.

    :param rank: 0 is the leader.
    :param size: 1 = this process trains alone.
    :param local_rank: number of this process on its computer, and of the GPU that it takes.
    """

    rank: int
    size: int
    local_rank: int

    @property
    def leads(self) -> bool:
        """Whether this process writes the files and reports."""
        return self.rank == 0

    def device(self) -> torch.device:
        """This process' own GPU, or the CPU; alone, the first GPU there is."""
        return choose_device(f"cuda:{self.local_rank}" if self.size > 1 else None)

    def shared(self, network: nn.Module, device: torch.device) -> nn.Module:
        """The network as it is called in training: its gradients are averaged over the team."""
        if self.size == 1:
            return network
        if not distributed.is_initialized():
            # Before the first message, or the processes of one computer would all take its first GPU.
            if device.type == "cuda":
                torch.cuda.set_device(device)
            distributed.init_process_group("nccl" if device.type == "cuda" else "gloo")
        places = [device] if device.type == "cuda" else None
        # A network may have parts that a batch does not reach (no labelled tumor in it).
        return DistributedDataParallel(network, device_ids=places, find_unused_parameters=True)

    def agreed(self, number: float, device: torch.device) -> float:
        """The leader's number, in all processes: clocks differ, and all must stop at the same step."""
        if self.size == 1:
            return number
        told = torch.tensor([number], dtype=torch.float64, device=device)
        distributed.broadcast(told, src=0)
        return float(told)

    def dissolve(self) -> None:
        """After the last step, when the leader alone has work left and nobody calls the shared network any more."""
        if self.size > 1 and distributed.is_initialized():
            distributed.barrier()
            # DistributedDataParallel has to be gone before the group: freed as the last to hold it, it waits for a
            # thread of the group that waits for Python (torch 2.13 with gloo; one run in five hung).
            gc.collect()
            distributed.destroy_process_group()


@lru_cache(maxsize=1)
def this_team() -> Team:
    """What torchrun has written into the environment; alone where it has not started this process."""
    number = {name: int(os.environ.get(name, default)) for name, default in _NAMES.items()}
    return Team(number["RANK"], number["WORLD_SIZE"], number["LOCAL_RANK"])


_NAMES = {"RANK": 0, "WORLD_SIZE": 1, "LOCAL_RANK": 0}
