"""What happens to a training when memory is short or numbers are lost."""

import itertools
from dataclasses import replace

import pytest
import torch
from torch import nn

from TumorRetrievalLib.errors import NotEnoughMemory, TrainingFailed, WeightsError
from TumorRetrievalLib.networks.batch import Batch, Output
from TumorRetrievalLib.training.checkpoint import read_checkpoint
from TumorRetrievalLib.training.recipes import MED3D, PLGG
from TumorRetrievalLib.training.trainer import train, train_within_memory

TINY = replace(MED3D, name="tiny", batch_size=4, crop=64, max_steps=3)


class Small(nn.Module):
    """One convolution and batch norm, on a device that holds so many voxels."""

    def __init__(self, room=10**9):
        super().__init__()
        self.room = room
        self.body = nn.Sequential(nn.Conv3d(1, 1, 3, padding=1), nn.BatchNorm3d(1))

    def forward(self, image, boxes):
        if image.numel() > self.room:
            raise torch.cuda.OutOfMemoryError("CUDA out of memory.")
        return Output(self.body(image), image.mean(dim=(1, 2, 3, 4))[:, None], {})


def batch_of(recipe, value=None):
    generator = torch.Generator().manual_seed(1)
    image = torch.randn(recipe.batch_size, 1, *recipe.edges, generator=generator)
    if value is not None:
        image = torch.full_like(image, value)
    known = torch.ones(recipe.batch_size, 1, dtype=torch.bool)
    return Batch(image, (image > 0).float(), torch.zeros((0, 7), dtype=torch.int64), {}, known)


def endless(recipe):
    return itertools.repeat(batch_of(recipe))


def test_the_batch_is_halved_first_and_then_the_crop_is_cut_and_at_last_nothing_is_left():
    sizes, recipe = [], replace(PLGG, batch_size=4)
    while recipe is not None:
        sizes.append((recipe.batch_size, recipe.edges))
        recipe = recipe.smaller()

    assert sizes[:4] == [(4, (128, 128, 112)), (2, (128, 128, 112)), (1, (128, 128, 112)), (1, (96, 96, 80))]
    assert sizes[-1] == (1, (32, 32, 32)) and all(edge % 8 == 0 for _, edges in sizes for edge in edges)


def test_a_training_that_does_not_fit_goes_on_smaller_and_says_so(tmp_path):
    said = []

    run = train_within_memory(Small(room=64**3), endless, TINY, tmp_path, progress=lambda f, m: said.append(m))

    assert run.steps == 3 and (run.recipe.batch_size, run.recipe.crop) == (1, 64)
    assert len(said) == 2 and "too small" in said[0] and "Going on with 2 x 64 x 64 x 64" in said[0]


def test_a_training_that_has_shrunk_is_continued_by_the_same_command(tmp_path):
    train_within_memory(Small(room=64**3), endless, TINY, tmp_path)

    run = train_within_memory(Small(room=64**3), endless, replace(TINY, max_steps=5), tmp_path)

    assert run.steps == 5 and run.recipe.batch_size == 1


def test_a_size_that_the_rule_does_not_make_is_still_another_recipe(tmp_path):
    train(Small(), endless(TINY), TINY, tmp_path)

    with pytest.raises(WeightsError, match="batch_size"):
        train(Small(), endless(TINY), replace(TINY, batch_size=3), tmp_path)


def test_where_nothing_fits_the_error_names_the_size_that_was_tried(tmp_path):
    with pytest.raises(NotEnoughMemory, match="1 crops of 32 x 32 x 32"):
        train_within_memory(Small(room=10), endless, TINY, tmp_path)


def test_other_errors_are_not_taken_for_a_lack_of_memory(tmp_path):
    def broken(image, boxes):
        raise RuntimeError("a bug")

    network = Small()
    network.forward = broken
    with pytest.raises(RuntimeError, match="a bug"):
        train_within_memory(network, endless, TINY, tmp_path)


def test_a_lost_training_keeps_the_last_good_weights_and_says_where(tmp_path):
    recipe = replace(TINY, batch_size=1, crop=32, max_steps=100)
    good, bad = batch_of(recipe), batch_of(recipe, torch.nan)
    reference = train(Small(), [good] * 5, replace(recipe, max_steps=5), tmp_path / "good").network

    torch.manual_seed(0)
    with pytest.raises(TrainingFailed, match=r"from step 5 on.*last good weights are in .*checkpoint\.pt"):
        train(Small(), itertools.chain([good] * 5, itertools.repeat(bad)), recipe, tmp_path / "lost")

    kept = read_checkpoint(tmp_path / "lost")["network"]
    assert all(tensor.isfinite().all() for tensor in kept.values())
    assert set(kept) == set(reference.state_dict())


def test_one_bad_batch_leaves_no_trace_in_the_running_means_of_batch_norm(tmp_path):
    recipe = replace(TINY, batch_size=1, crop=32, max_steps=6)
    good, bad = batch_of(recipe), batch_of(recipe, torch.nan)

    run = train(Small(), [good, good, bad, good, good, good], recipe, tmp_path)

    assert run.network.body[1].running_mean.isfinite().all()


def test_the_loss_curves_are_there_for_tensorboard_and_go_on_after_a_resume(tmp_path):
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    recipe = replace(TINY, batch_size=1, crop=32)
    train(Small(), endless(recipe), recipe, tmp_path)
    train(Small(), endless(recipe), replace(recipe, max_steps=5), tmp_path)

    events = EventAccumulator(str(tmp_path / "tensorboard")).Reload()
    assert [event.step for event in events.Scalars("loss")] == [3, 5]


def test_a_training_without_tensorboard_writes_its_own_log_all_the_same(tmp_path, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)

    run = train(Small(), endless(TINY), replace(TINY, batch_size=4), tmp_path)

    assert run.log and not (tmp_path / "tensorboard").exists()
