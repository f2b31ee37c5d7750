"""The rows of the tables of Pisov et al. 2018: channels, solved tasks, size."""

import pytest
import torch

from TumorRetrievalLib.errors import UnknownLabel
from TumorRetrievalLib.networks.weights import load_model
from TumorRetrievalLib.training import pisov
from TumorRetrievalLib.training.commands import train_recipe
from TumorRetrievalLib.training.pisov import SMALL, SPACING_MM, TASKS, pisov_recipe
from TumorRetrievalLib.training.recipes import PISOV


def test_with_all_tasks_and_the_published_size_it_is_the_papers_recipe():
    assert pisov_recipe("published", 64, TASKS) == PISOV


def test_the_small_size_sees_as_much_of_a_head_as_the_published_one():
    assert SMALL.crop * SPACING_MM["small"] == PISOV.crop * SPACING_MM["published"]


@pytest.mark.parametrize("tasks", [("segmentation",), ("type",), ("segmentation", "area")], ids=" and ".join)
def test_what_is_not_solved_gets_no_gradient(tasks, tmp_path, monkeypatch):
    monkeypatch.setattr(pisov, "SMALL", pisov.replace(SMALL, crop=16))

    model = load_model(train_recipe("pisov", tmp_path, steps=1, size="small", channels=4, tasks=tasks), "cpu")

    torch.manual_seed(SMALL.seed)
    classes = model.contract["arguments"]["tasks"]
    fresh = type(model.network)(4, tasks=classes).state_dict()
    moved = {name.split(".")[0] for name, value in model.network.named_parameters() if _differ(value, fresh[name])}
    assert ("segment" in moved) == ("segmentation" in tasks)
    assert set(classes) == set(tasks) - {"segmentation"} == set(model.contract["labels"])


def _differ(trained: torch.Tensor, fresh: torch.Tensor) -> bool:
    # Kernels are stored as float16, which moves a number by 2^-11 of itself; a step moves it by the learning rate.
    return bool(((trained - fresh).abs() > 2**-11 * fresh.abs() + 1e-7).any())


def test_the_contract_tells_channels_tasks_spacing_and_crop(tmp_path, monkeypatch):
    monkeypatch.setattr(pisov, "SMALL", pisov.replace(SMALL, crop=16))

    contract = load_model(train_recipe("pisov", tmp_path, steps=1, size="small", channels=4), "cpu").contract

    assert contract["solved_tasks"] == list(TASKS) and contract["arguments"]["channels"] == 4
    assert (contract["crop"], contract["spacing_mm"]) == (16, [3.0, 3.0])


def test_an_unknown_task_and_none_at_all_are_refused_with_the_known_ones():
    for tasks in (("type", "age"), ()):
        with pytest.raises(UnknownLabel, match="segmentation, type"):
            pisov_recipe("small", 64, tasks)
