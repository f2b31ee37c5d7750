import itertools
import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace

import pytest
import torch

from TumorRetrievalLib.errors import Cancelled, TrainingFailed, WeightsError
from TumorRetrievalLib.networks.batch import Batch
from TumorRetrievalLib.networks.default import DefaultNetwork
from TumorRetrievalLib.networks.pisov import PisovNetwork
from TumorRetrievalLib.training.checkpoint import load_averaged
from TumorRetrievalLib.training.recipes import DEFAULT, PISOV
from TumorRetrievalLib.training.trainer import train

SHORT = replace(DEFAULT, task_weights={"type": 0.2}, max_minutes=None, max_steps=12, warmup_steps=2)


def cube(number, channels=4):
    """A crop of 24^3 with a bright cube; how bright decides its type."""
    generator = torch.Generator().manual_seed(number)
    low = torch.randint(1, 13, (3,), generator=generator).tolist()
    kind = int(torch.randint(0, 3, (1,), generator=generator))
    image = 0.3 * torch.randn(1, channels, 24, 24, 24, generator=generator)
    masks = torch.zeros(1, 2, 24, 24, 24)
    inside = (..., *(slice(a, a + 10) for a in low))
    masks[inside] = 1
    image[:, 0][inside] += 1 + 2 * kind
    box = torch.tensor([[0, *(edge for a in low for edge in (a, a + 10))]])
    return Batch(image, masks, box, {"type": torch.tensor([kind])}, torch.ones(1, 2, dtype=torch.bool))


def cubes(step):
    return (cube(number) for number in itertools.count(step))


def tiny():
    torch.manual_seed(1)
    return DefaultNetwork(widths=(8, 8, 8), embedding_size=8, tasks={"type": 3})


def weights(network):
    return torch.cat([p.detach().flatten() for p in network.parameters()])


def stop_at(step):
    """A progress callback that cancels once `step` was taken."""

    def progress(fraction, message):
        if int(message.split()[1].rstrip(",")) >= step:
            raise Cancelled("stopped by the test")

    return progress


def test_the_network_learns_one_batch_by_heart(tmp_path):
    recipe = replace(SHORT, max_steps=60, learning_rate=1e-2, warmup_steps=5)

    run = train(tiny(), itertools.repeat(cube(3)), recipe, tmp_path)

    with torch.no_grad():
        output = run.network(cube(3).image, cube(3).boxes)
    truth = cube(3).masks > 0
    found = output.masks > 0
    assert 2 * (found & truth).sum() / (found.sum() + truth.sum()) > 0.95
    assert output.labels["type"].argmax(1) == cube(3).labels["type"]


def test_the_papers_recipe_learns_with_the_papers_network(tmp_path, monkeypatch):
    monkeypatch.setattr("TumorRetrievalLib.training.trainer.LOG_EVERY_STEPS", 5)
    one = cube(3, channels=1)
    batch = replace(one, masks=one.masks[:, :1], mask_known=one.mask_known[:, :1])
    torch.manual_seed(1)

    run = train(PisovNetwork(channels=8, blocks=1), itertools.repeat(batch), replace(PISOV, max_steps=25), tmp_path)

    assert run.log[-1]["segmentation"] < 0.5 * run.log[0]["segmentation"]


def test_a_resumed_training_ends_bit_for_bit_like_one_that_was_never_interrupted(tmp_path, monkeypatch):
    monkeypatch.setattr("TumorRetrievalLib.training.trainer.LOG_EVERY_STEPS", 5)
    whole = train(tiny(), cubes, SHORT, tmp_path / "whole")
    with pytest.raises(Cancelled):
        train(tiny(), cubes, SHORT, tmp_path / "parts", progress=stop_at(5))

    parts = train(tiny(), cubes, SHORT, tmp_path / "parts")

    assert torch.equal(weights(whole.network), weights(parts.network))
    assert whole.steps == parts.steps == 12 and parts.crops == 12
    assert [row["loss"] for row in whole.log] == [row["loss"] for row in parts.log]


def test_what_is_trained_after_the_last_checkpoint_is_lost_but_nothing_else(tmp_path, monkeypatch):
    """A kill -9, then the same command again."""
    script = (
        "import sys; sys.path.insert(0, sys.argv[2])\n"
        "from test_trainer import *\n"
        "train(tiny(), cubes, replace(SHORT, max_steps=100_000, checkpoint_minutes=0.005), sys.argv[1])\n"
    )
    here = os.path.dirname(__file__)
    child = subprocess.Popen([sys.executable, "-c", script, str(tmp_path), here], cwd=os.getcwd())
    try:
        deadline = time.monotonic() + 240
        while not (tmp_path / "checkpoint.pt").exists() and time.monotonic() < deadline:
            time.sleep(0.05)
        time.sleep(0.5)
    finally:
        child.send_signal(signal.SIGKILL)
        child.wait()
    saved = torch.load(tmp_path / "checkpoint.pt", weights_only=True)["step"]
    assert saved > 0

    run = train(tiny(), cubes, replace(SHORT, max_steps=saved + 10), tmp_path)

    assert run.steps == saved + 10
    steps = [row["step"] for row in run.log]
    assert steps == sorted(set(steps)) and steps[-1] == saved + 10


def test_a_training_with_a_time_limit_ends_in_time_with_a_decayed_rate(tmp_path):
    started = time.monotonic()

    run = train(tiny(), cubes, replace(SHORT, max_steps=None, max_minutes=0.02), tmp_path)

    assert 1.2 <= run.seconds < 10 and time.monotonic() - started < 20
    assert run.log[-1]["learning_rate"] < 0.02 * DEFAULT.learning_rate


def test_the_log_the_curves_and_the_running_average_are_there_after_each_training(tmp_path):
    run = train(tiny(), cubes, SHORT, tmp_path)

    assert [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()] == run.log
    assert {"loss", "dice_0", "dice_1", "bce", "type", "learning_rate"} <= run.log[-1].keys()
    assert (tmp_path / "curves.png").read_bytes().startswith(b"\x89PNG")
    other = DefaultNetwork(widths=(8, 8, 8), embedding_size=8, tasks={"type": 3})
    assert load_averaged(tmp_path, other) == 12
    assert torch.equal(weights(other), weights(run.network))


def test_the_result_is_the_average_of_the_weights_not_the_last_ones(tmp_path):
    network = tiny()

    run = train(network, cubes, SHORT, tmp_path)

    assert not torch.equal(weights(run.network), weights(network))


def test_provenance_can_be_stored_as_json(tmp_path):
    run = train(tiny(), cubes, SHORT, tmp_path)

    assert json.loads(json.dumps(run.provenance()))["recipe"]["name"] == "default"


def test_starting_again_forgets_the_checkpoint(tmp_path):
    train(tiny(), cubes, SHORT, tmp_path)

    run = train(tiny(), cubes, replace(SHORT, max_steps=3), tmp_path, resume=False)

    assert run.steps == 3 and [row["step"] for row in run.log] == [3]


def test_the_checkpoint_of_another_network_is_refused(tmp_path):
    train(tiny(), cubes, SHORT, tmp_path)

    with pytest.raises(WeightsError, match="another network"):
        train(DefaultNetwork(widths=(16, 8, 8)), cubes, SHORT, tmp_path)


def test_the_checkpoint_of_another_recipe_is_refused_and_the_difference_is_named(tmp_path):
    train(tiny(), cubes, SHORT, tmp_path)

    with pytest.raises(WeightsError, match="learning_rate"):
        train(tiny(), cubes, replace(SHORT, learning_rate=1.0), tmp_path)


def test_a_damaged_checkpoint_is_refused(tmp_path):
    train(tiny(), cubes, SHORT, tmp_path)
    path = tmp_path / "checkpoint.pt"
    path.write_bytes(path.read_bytes()[:1000])

    with pytest.raises(WeightsError, match="damaged"):
        train(tiny(), cubes, SHORT, tmp_path)


def test_a_checkpoint_that_would_run_code_is_refused(tmp_path):
    torch.save({"step": os.system}, tmp_path / "checkpoint.pt")

    with pytest.raises(WeightsError):
        train(tiny(), cubes, SHORT, tmp_path)


def test_batches_that_end_too_early_are_an_error_with_the_step(tmp_path):
    with pytest.raises(TrainingFailed, match="after 4 steps"):
        train(tiny(), [cube(n) for n in range(4)], SHORT, tmp_path)


def test_one_broken_batch_costs_one_step_and_not_the_training(tmp_path):
    broken = replace(cube(0), image=torch.full((1, 4, 24, 24, 24), torch.nan))
    batches = [cube(n) for n in range(5)] + [broken] + [cube(n) for n in range(6)]

    run = train(tiny(), batches, SHORT, tmp_path)

    assert run.steps == 12 and torch.isfinite(weights(run.network)).all()


def test_nothing_but_broken_batches_ends_the_training_with_a_reason(tmp_path):
    broken = replace(cube(0), image=torch.full((1, 4, 24, 24, 24), torch.nan))

    with pytest.raises(TrainingFailed, match="learning rate"):
        train(tiny(), itertools.repeat(broken), replace(SHORT, max_steps=100), tmp_path)
