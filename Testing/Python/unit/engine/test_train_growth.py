import json

import pytest

from TumorRetrievalLib.engine import train_growth as module
from TumorRetrievalLib.engine.train_growth import train_growth
from TumorRetrievalLib.errors import UnknownLabel
from TumorRetrievalLib.growth.atlas import load_growth_atlas
from TumorRetrievalLib.growth.latent_search import LatentModels

# MONAI warns of its own dependencies when it is loaded.
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")


@pytest.fixture
def small_world(monkeypatch):
    """Tumors on 64^3 voxels and no process of their own to simulate them in."""
    from TumorRetrievalLib.growth.build import BuildPlan, simulate_shard
    from TumorRetrievalLib.growth.database import write_database

    atlas = load_growth_atlas(64)

    def build(path, atlas, count, plan, **_):
        database = simulate_shard(atlas, BuildPlan(plan.seed, shard=16), 0).first(count)
        write_database(path, database, level=1)
        return database

    monkeypatch.setattr(module, "load_growth_atlas", lambda: atlas)
    monkeypatch.setattr(module, "build_database", build)


def test_one_command_leaves_two_autoencoders_that_can_be_searched_with(tmp_path, small_world):
    said = []

    train_growth(
        "growth-vae8", tmp_path, edge=64, steps=2, tumors=11, progress=lambda f, message: said.append((f, message))
    )

    models = LatentModels.load(tmp_path, "cpu")
    assert models.whole.network.edge == 64 and models.core.network.arguments["latent"] == 8
    contract = json.loads((tmp_path / "core" / "model" / "model.json").read_text())
    assert contract["mask"] == "core" and contract["training"]["steps"] == 2
    assert contract["trained_on"].startswith("10 simulated tumors") and contract["quality"]["held_out_tumors"] == 1
    assert contract["training"]["recipe"]["task_weights"] == {"divergence": 0.001}
    assert (tmp_path / "whole" / "curves.png").exists()


def test_the_tumors_of_an_earlier_start_are_used_again(tmp_path, small_world, monkeypatch):
    first = module.training_tumors(tmp_path / "tumors.growth", 5)
    monkeypatch.setattr(module, "build_database", None)

    again = module.training_tumors(tmp_path / "tumors.growth", 5)

    assert (again.parameters == first.parameters).all()


@pytest.mark.parametrize(("name", "edge"), [("growth-gan", 64), ("growth-ae", 100)])
def test_a_recipe_that_does_not_exist_is_refused_with_those_that_do(tmp_path, name, edge):
    with pytest.raises(UnknownLabel, match="growth-vae8"):
        train_growth(name, tmp_path, edge=edge)
