"""The search on masks that experts drew, and left staying left from a patient's mask to the simulated tumor."""

import numpy as np
import pytest

from TumorRetrievalLib.growth.atlas import load_growth_atlas
from TumorRetrievalLib.growth.build import BuildPlan, simulate_shard
from TumorRetrievalLib.growth.refine import refine
from TumorRetrievalLib.imaging.resample import resample_labels
from TumorRetrievalLib.imaging.volume import Grid, LabelMap


@pytest.fixture(scope="module")
def atlas():
    return load_growth_atlas(64)


@pytest.fixture(scope="module")
def database(atlas):
    return simulate_shard(atlas, BuildPlan(seed=1, shard=120), 0)


@pytest.fixture(scope="module")
def expert_masks(real_data, atlas) -> list[tuple[np.ndarray, np.ndarray]]:
    """Whole and core of BraTS patients, in the atlas by the middles of both brains: close enough to search with."""
    stored = np.load(real_data / "tumor_masks" / "brats20_seg_128.npz")
    masks = []
    for labels in stored["seg"][::12]:
        # BraTS arrays run to the left and to the back; the SRI24 brain is a tenth smaller than MNI152's.
        spacing = 1.1 * stored["spacing"].astype(float) * (-1, -1, 1)
        affine = np.diag((*spacing, 1.0))
        affine[:3, 3] = np.array((0.0, -18.0, 10.0)) - spacing * 63.5
        on_grid = resample_labels(LabelMap(labels, affine), Grid(atlas.grid.shape, atlas.affine)).data
        masks.append((on_grid > 0, (on_grid == 1) | (on_grid == 4)))
    return masks


@pytest.mark.parametrize("weights", [(1.0, 1.0), (1.0, 0.0), (0.0, 1.0), (2.0, 1.0)])
def test_real_masks_find_what_comparing_everything_finds(database, expert_masks, weights):
    whole_weight, core_weight = weights
    for whole, core in expert_masks:
        for k in (1, 15):
            found = database.search.search(whole, core, k, whole_weight=whole_weight, core_weight=core_weight)
            everything = database.search.search_everything(
                whole, core, k, whole_weight=whole_weight, core_weight=core_weight
            )
            np.testing.assert_array_equal(found.indices, everything.indices)
            np.testing.assert_array_equal(found.scores, everything.scores)


def test_left_stays_left_from_a_mask_to_its_match_and_its_fit(atlas, database, expert_masks):
    def side_of(mask):
        return atlas.grid.to_world(np.argwhere(mask).mean(axis=0))[0]

    sided = [(whole, core) for whole, core in expert_masks if abs(side_of(whole)) > 20]
    assert {np.sign(side_of(whole)) for whole, _ in sided} == {-1, 1}
    for whole, core in sided:
        best = int(database.search.search(whole, core, 1).indices[0])
        assert database.parameters_of(best).origin[0] * side_of(whole) > 0

    whole, core = sided[0]
    fit = refine(atlas, whole, core, [database.parameters_of(int(database.search.search(whole, core, 1).indices[0]))])
    assert side_of(fit.snapshot.density.data > 0.2) == pytest.approx(side_of(whole), abs=20)
