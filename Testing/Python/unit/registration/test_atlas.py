"""The bundled atlas is the brain that it claims to be."""

import numpy as np
import pytest

from TumorRetrievalLib.registration.atlas import CSF, GRAY, WHITE, load_atlas


@pytest.fixture(scope="module")
def atlas():
    return load_atlas()


def at(volume, ras):
    return volume.data[tuple(np.round(volume.grid.to_voxel(ras)).astype(int))]


def test_the_atlas_is_a_brain_of_plausible_volume_centred_left_to_right(atlas):
    inside = atlas.grid.voxel_centres()[atlas.brain.data.ravel() > 0]

    assert 1700 < atlas.brain.volume_ml() < 2000
    assert inside[:, 0].mean() == pytest.approx(0.0, abs=1e-6)


def test_left_mirrors_right(atlas):
    for part in (atlas.t1, atlas.gray, atlas.white, atlas.brain, atlas.tissue):
        assert np.array_equal(part.data, part.data[::-1])


@pytest.mark.parametrize(
    ("structure", "ras", "tissue"),
    [
        ("body of the lateral ventricle", (12, -10, 26), CSF),
        ("genu of the corpus callosum", (0, 28, 6), WHITE),
        ("centrum semiovale", (26, -20, 34), WHITE),
        ("head of the caudate", (13, 12, 10), GRAY),
    ],
)
def test_tissues_lie_where_anatomy_puts_them(atlas, structure, ras, tissue):
    for side in (1, -1):
        assert at(atlas.tissue, np.multiply(ras, (side, 1, 1))) == tissue, structure


def test_the_three_fractions_fill_the_brain_and_nothing_else_is_fluid(atlas):
    inside = atlas.brain.data > 0
    total = atlas.csf.data + atlas.gray.data + atlas.white.data

    assert np.allclose(total[inside], 1.0, atol=0.01)
    assert not atlas.csf.data[~inside].any()
    assert set(np.unique(atlas.tissue.data)) == {0, CSF, GRAY, WHITE}


def test_the_shared_arrays_cannot_be_changed_by_accident(atlas):
    with pytest.raises(ValueError, match="read-only"):
        atlas.t1.data[0, 0, 0] = 1.0
    assert load_atlas() is atlas
