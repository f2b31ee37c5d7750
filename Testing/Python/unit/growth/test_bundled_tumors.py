"""The simulated tumors that come with the tool are those of its atlas and its solver."""

import numpy as np
import pytest

from TumorRetrievalLib.growth.atlas import load_growth_atlas
from TumorRetrievalLib.growth.build import CORE_ML, WHOLE_ML
from TumorRetrievalLib.growth.database import BUNDLED, bundled_database
from TumorRetrievalLib.growth.solver import simulate
from TumorRetrievalLib.resources import resource


def test_there_are_ten_thousand_of_realistic_sizes_in_twelve_megabytes():
    database = bundled_database()

    assert len(database) >= 10_000
    assert resource("Simulations", BUNDLED).stat().st_size <= 12e6
    for masks, (smallest, largest) in ((database.whole, WHOLE_ML), (database.core, CORE_ML)):
        volumes = masks.voxels * database.grid.voxel_ml
        assert volumes.min() >= smallest
        assert volumes.max() <= largest


@pytest.mark.parametrize("index", [0, 4321, 9999])
def test_growing_one_again_gives_its_masks(index):
    database, atlas = bundled_database(), load_growth_atlas()
    database.require_atlas(atlas)

    tumor = simulate(atlas, database.parameters_of(index))

    # To the bit where they were made; a processor that rounds otherwise may move a voxel of the border.
    for stored, grown in ((database.whole, tumor.whole), (database.core, tumor.core)):
        mask = stored.unpack(index, 128)
        shared = np.count_nonzero(mask & (grown.data != 0))
        assert 2 * shared / (mask.sum() + np.count_nonzero(grown.data)) > 0.999


def test_a_tumor_of_the_left_and_one_of_the_right_find_themselves():
    database = bundled_database()
    for side in (-1, 1):
        index = int(np.flatnonzero(np.sign(database.parameters[:, 0]) == side)[100])

        match = database.search.search(database.whole.unpack(index, 128), database.core.unpack(index, 128), 1)

        assert (match.indices[0], match.scores[0]) == (index, 2.0)
        place = database.grid.to_world(np.argwhere(database.whole.unpack(index, 128)).mean(axis=0))
        assert place[0] * side > 0
