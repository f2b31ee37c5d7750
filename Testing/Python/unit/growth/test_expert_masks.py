"""Expert masks keep their place and their size on the way into the atlas."""

import numpy as np
import pytest

from TumorRetrievalLib.errors import UnreadableFile
from TumorRetrievalLib.growth.expert_masks import SRI24_TO_MNI152, read_expert_masks
from TumorRetrievalLib.imaging.volume import Grid

GRID = Grid.around((18.0, -18.0, 20.0), 1.79, (128, 128, 128))


def masks_file(path, labels):
    np.savez(path, seg=labels, id=np.array([f"patient {n}" for n in range(len(labels))]))
    return path


@pytest.mark.parametrize("resolution", [(128, 128, 128), (240, 240, 155), (60, 60, 31)])
def test_a_tumor_keeps_its_place_and_size_at_any_resolution(tmp_path, resolution):
    # A block of BraTS voxels: i runs to the left from 0, j to the back from 239, k upwards.
    low, high = np.array((60, 100, 60)), np.array((92, 132, 90))
    full = np.zeros((240, 240, 155), np.uint8)
    full[60:92, 100:132, 60:90] = 2
    full[60:92, 100:132, 60:75] = 4
    # As the file of the 120 masks was made: from end to end, each voxel the nearest one's label.
    kept = [np.rint(np.linspace(0, n - 1, m)).astype(int) for n, m in zip(full.shape, resolution, strict=True)]
    labels = full[np.ix_(*kept)][None]

    (mask,) = read_expert_masks(masks_file(tmp_path / "masks.npz", labels), GRID)

    middle = (low + high - 1) / 2
    sri24 = np.array((-middle[0], 239 - middle[1], middle[2], 1.0))
    assert mask.name == "patient 0"
    centre = GRID.to_world(np.argwhere(mask.whole)).mean(axis=0)
    np.testing.assert_allclose(centre, (SRI24_TO_MNI152 @ sri24)[:3], atol=1.0)
    assert centre[0] > 10  # i = 76 of 240 is on the patient's right
    expected = np.prod(high - low) * np.linalg.det(SRI24_TO_MNI152) / 1000
    assert mask.whole.sum() * GRID.voxel_ml == pytest.approx(expected, rel=0.08)
    assert np.all(mask.core <= mask.whole)
    assert mask.core.sum() / mask.whole.sum() == pytest.approx(0.5, abs=0.06)


def test_only_as_many_as_wanted_are_read(tmp_path):
    path = masks_file(tmp_path / "masks.npz", np.zeros((3, 16, 16, 16), np.uint8))

    assert [m.name for m in read_expert_masks(path, GRID, limit=2)] == ["patient 0", "patient 1"]


@pytest.mark.parametrize(
    "content",
    [
        {"seg": np.zeros((2, 8, 8, 8), np.uint8)},
        {"seg": np.zeros((2, 8, 8), np.uint8), "id": np.array(["a", "b"])},
        {"seg": np.zeros((2, 8, 8, 8)), "id": np.array(["a", "b"])},
        {"seg": np.zeros((2, 8, 8, 8), np.uint8), "id": np.array(["a"])},
        {"seg": np.array([None]), "id": np.array(["a"])},
        {"seg": np.zeros((1, 8, 8, 1), np.uint8), "id": np.array(["a"])},
    ],
    ids=["no names", "no volumes", "no labels", "too few names", "objects", "flat"],
)
def test_files_that_hold_something_else_are_refused(tmp_path, content):
    np.savez(tmp_path / "masks.npz", **content)

    with pytest.raises(UnreadableFile):
        read_expert_masks(tmp_path / "masks.npz", GRID)


def test_files_that_are_no_archives_are_refused(tmp_path):
    (tmp_path / "masks.npz").write_bytes(b"PK\x03\x04 not really")
    for name in ("masks.npz", "missing.npz"):
        with pytest.raises(UnreadableFile):
            read_expert_masks(tmp_path / name, GRID)
