"""A box around several tumors: each is outlined by itself, and what lies between them stays out."""

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from TumorRetrievalLib.engine.in_box import read_in_box
from TumorRetrievalLib.engine.outline import Outline, join, merge
from TumorRetrievalLib.errors import InvalidBox
from TumorRetrievalLib.imaging.box import Box
from TumorRetrievalLib.imaging.tumor_crop import crop_spacing
from TumorRetrievalLib.imaging.volume import Grid, Volume
from TumorRetrievalLib.retrieval.embedder import Reading

LEFT, RIGHT = np.array((-26.0, 10.0, 5.0)), np.array((24.0, 2.0, -6.0))
UPRIGHT = Grid.around((0.0, 0.0, 0.0), 1.5, (80, 80, 80))
TURNED = np.eye(4)
TURNED[:3, :3] = Rotation.from_rotvec((0.2, -0.3, 0.4)).as_matrix() @ np.diag((-1.4, 1.5, 2.5))
TURNED[:3, 3] = (12, -8, 4) - TURNED[:3, :3] @ np.array((45, 42, 26))
OBLIQUE_LEFT_HANDED = Grid((92, 86, 54), TURNED)


class Filler:
    """Told of a box it fills it from end to end; not told, it sees balls, and its voxels blur them."""

    def __init__(self, *balls: tuple[np.ndarray, float], blur: float = 0.0, beside_the_head: bool = False):
        self.balls, self.blur, self.beside_the_head = balls, blur, beside_the_head
        self.boxes: list[Box] = []

    def threshold(self, mask: str, around: str) -> float:
        return 0.5

    def seen_without_box(self, box, around, reading, untold):
        told = reading.whole.data > 0.5
        return float((untold.whole.data > 0.5)[told].mean())

    def read(self, scan, box, around):
        if self.beside_the_head and self.boxes:
            raise InvalidBox("The box holds nothing but background.")
        self.boxes.append(box)
        cube = Grid.around(box.center, crop_spacing(box, around), (64, 64, 64))
        inside = (np.abs((cube.voxel_centres() - box.center) @ box.axes) <= box.size / 2).all(axis=1)
        return answer(cube, inside)

    def read_untold(self, scan, box, around, reading):
        cube = reading.whole.grid
        reach = self.blur * cube.spacing[0]
        distances = [np.linalg.norm(cube.voxel_centres() - c, axis=1) - radius - reach for c, radius in self.balls]
        return answer(cube, np.min(distances, axis=0) <= 0)


def answer(cube: Grid, inside: np.ndarray) -> Reading:
    chance = Volume(0.98 * inside.reshape(cube.shape).astype(np.float32), cube.affine)
    return Reading(chance, chance, {"metastasis": 1.0}, np.ones(4) / 2)


def outlined(reader: Filler, box: Box, grid: Grid = UPRIGHT, around: str = "core"):
    found = read_in_box(None, box, around, reader, grid)
    core, whole = merge([found.outline], grid)
    return found, (core if around == "core" else whole).data > 0


def ball(center: np.ndarray, radius: float, grid: Grid) -> np.ndarray:
    return (np.linalg.norm(grid.voxel_centres() - center, axis=1) <= radius).reshape(grid.shape)


AROUND_BOTH = Box.aligned((LEFT + RIGHT) / 2, np.abs(RIGHT - LEFT) + 22)


@pytest.mark.parametrize("around", ["core", "whole"])
@pytest.mark.parametrize("grid", [UPRIGHT, OBLIQUE_LEFT_HANDED], ids=["upright", "oblique, left-handed"])
def test_each_of_two_tumors_in_a_box_is_outlined_on_its_own_side(grid, around):
    reader = Filler((LEFT, 10.0), (RIGHT, 7.0))

    found, mask = outlined(reader, AROUND_BOTH, grid, around)

    assert len(found.boxes) == 2 and len(reader.boxes) == 3
    assert mask[ball(LEFT, 9.0, grid)].all() and mask[ball(RIGHT, 6.0, grid)].all()
    for box, center in zip(found.boxes, (LEFT, RIGHT), strict=True):
        np.testing.assert_allclose(box.center, center, atol=2.5)
    between = ball((LEFT + RIGHT) / 2, 8.0, grid)
    assert not mask[between].any(), "as the network filled it"
    assert found.reading.core.data[32, 32, 32] > 0.5, "the answer about the box as it was drawn is kept"
    as_drawn = reader.seen_without_box(None, around, found.reading, reader.read_untold(None, None, None, found.reading))
    assert as_drawn < 0.15 and found.seen > 0.3, "a ball fills half of its own box"


def test_one_tumor_is_outlined_as_its_box_was_drawn():
    reader = Filler((LEFT, 10.0))
    box = Box.aligned(LEFT, (22, 22, 22))

    found, mask = outlined(reader, box)

    assert not found.boxes and [drawn.size.tolist() for drawn in reader.boxes] == [[22, 22, 22]]
    assert mask[ball(LEFT, 10.0, UPRIGHT)].all()


def test_a_second_look_parts_what_a_distant_one_sees_as_one():
    neighbour = RIGHT + (0, 0, 29.0)
    reader = Filler((LEFT, 8.0), (RIGHT, 7.0), (neighbour, 7.0), blur=2.0)
    box = Box.aligned((0, 6, 7), (120, 60, 66))

    found, mask = outlined(reader, box)

    assert len(found.boxes) == 3 and not mask[ball((RIGHT + neighbour) / 2, 2.0, UPRIGHT)].any()


def test_what_seems_to_lie_beside_the_head_leaves_the_outline_of_the_drawn_box():
    found, mask = outlined(Filler((LEFT, 10.0), (RIGHT, 7.0), beside_the_head=True), AROUND_BOTH)

    assert not found.boxes and mask[ball((LEFT + RIGHT) / 2, 8.0, UPRIGHT)].all()


def test_of_very_many_tumors_the_largest_are_outlined():
    places = [np.array((x, y, z), float) for x in (-30, -10, 10, 30) for y in (-30, 0, 30) for z in (-25, 0, 25)]
    reader = Filler(*((place, 3.0 + (index % 3)) for index, place in enumerate(places)))

    found, _ = outlined(reader, Box.aligned((0, 0, 0), (80, 80, 70)))

    assert len(found.boxes) == 12 and min(box.size.min() for box in reader.boxes) > 7, "none of radius 3"


def test_joined_outlines_are_what_merging_makes_of_them():
    def part(begin: int, end: int) -> Outline:
        filled = np.ones((end - begin,) * 3, bool)
        return Outline((slice(begin, end),) * 3, filled & False, filled, 0.0, float(filled.sum()) * UPRIGHT.voxel_ml)

    several = [part(10, 20), part(15, 30)]

    joined = join(several, UPRIGHT)

    for one, expected in zip(merge([joined], UPRIGHT), merge(several, UPRIGHT), strict=True):
        assert np.array_equal(one.data, expected.data)
    assert joined.whole_ml == pytest.approx(merge(several, UPRIGHT)[1].volume_ml()) and joined.core_ml == 0
    assert joined.region == (slice(10, 30),) * 3 and join(several[:1], UPRIGHT) is several[0]


def test_the_bundled_model_parts_two_metastases_and_outlines_them_better():
    from functools import partial

    from TumorRetrievalLib.engine.outline import outline_tumor
    from TumorRetrievalLib.engine.patient import tumor_reader
    from TumorRetrievalLib.evaluation.segmentation import dice, drawn_box
    from TumorRetrievalLib.imaging.resample import resample_labels
    from TumorRetrievalLib.imaging.tumor_crop import Scan
    from TumorRetrievalLib.synthesis.scan import synthesize

    made, reader = synthesize(9_500_028, "metastasis", 2), tumor_reader(None, "cpu")
    scan, grid = Scan.of(made.t1c, made.flair, partial(resample_labels, made.brain)), made.t1c.grid
    truth = made.core.data > 0
    box = drawn_box(truth, grid)

    found = read_in_box(scan, box, "core", reader, grid)

    as_drawn = outline_tumor(found.reading, box, "core", reader, grid)
    parted, one = (dice(merge([each], grid)[0].data > 0, truth) for each in (found.outline, as_drawn))
    assert len(found.boxes) == 2 and parted > one + 0.1
