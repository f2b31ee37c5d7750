"""Several processes train one network."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from TumorRetrievalLib.training.samples import count_from
from TumorRetrievalLib.training.team import this_team

MEMBER = """
import itertools, json, sys
from dataclasses import replace
import torch
from torch import nn
from test_memory_and_numbers import Small, TINY, batch_of
from TumorRetrievalLib.networks.batch import Output
from TumorRetrievalLib.training.samples import count_from
from TumorRetrievalLib.training.team import this_team
from TumorRetrievalLib.training.trainer import train

recipe, seen = replace(TINY, batch_size=1, crop=8, max_minutes=0.05, max_steps=None), []

class WithUntaughtHead(Small):
    def __init__(self):
        super().__init__()
        self.head = nn.Linear(1, 3)

    def forward(self, image, boxes):
        output = super().forward(image, boxes)
        return Output(output.masks, output.embedding, {"type": self.head(output.embedding)})

def batches(step):
    for number in count_from(step):
        seen.append(number)
        batch = batch_of(recipe)
        yield replace(batch, image=batch.image * (1 + number % 5))

team = this_team()
torch.manual_seed(0)
run = train(WithUntaughtHead(), batches, recipe, sys.argv[1])
weights = torch.cat([weight.flatten() for weight in run.network.parameters()]).tolist()
said = {"weights": weights, "seen": seen[:3], "steps": run.steps, "crops": run.crops, "device": run.device}
print(json.dumps(said), file=open(f"{sys.argv[1]}/member{team.rank}.json", "w"))
"""


def test_two_processes_take_different_batches_keep_the_same_weights_and_stop_together(tmp_path):
    script = tmp_path / "member.py"
    script.write_text(MEMBER)
    here, root = Path(__file__).parent, Path(__file__).parents[4]
    started = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]
    environment = {
        "PYTHONPATH": f"{here}:{root}",
        "OMP_NUM_THREADS": "1",
        "PATH": "/usr/bin:/bin",
        "HOME": str(tmp_path),
    }

    done = subprocess.run([*started, script, tmp_path], env=environment, capture_output=True, text=True, timeout=300)

    assert done.returncode == 0, done.stderr
    first, second = (json.loads((tmp_path / f"member{rank}.json").read_text()) for rank in (0, 1))
    assert first["weights"] == second["weights"] and first["steps"] == second["steps"]
    assert first["seen"] == [0, 2, 4] and second["seen"] == [1, 3, 5]
    assert first["crops"] == 2 * first["steps"] and first["device"].endswith("x 2")
    steps = [json.loads(line)["step"] for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert steps == sorted(set(steps)) and steps[-1] == first["steps"]


@pytest.fixture
def second_of_four(monkeypatch):
    for name, value in (("RANK", "1"), ("WORLD_SIZE", "4"), ("LOCAL_RANK", "1")):
        monkeypatch.setenv(name, value)
    this_team.cache_clear()
    yield
    this_team.cache_clear()


def test_each_member_of_a_team_makes_every_nth_batch_also_after_a_resume(second_of_four):
    numbers = count_from(step=10)

    assert [next(numbers) for _ in range(3)] == [41, 45, 49]


def test_a_process_alone_leads_and_makes_every_batch():
    numbers = count_from(step=10)

    assert this_team().leads and [next(numbers) for _ in range(3)] == [10, 11, 12]
