import hashlib
import os
import subprocess
import sys

import numpy as np
import pytest
import torch

from TumorRetrievalLib.cohort.labels import describe_position
from TumorRetrievalLib.imaging.volume import Grid
from TumorRetrievalLib.synthesis.scan import CENTER_RAS, SHAPE, SPACING_MM, synthesize

COARSE = Grid.around(CENTER_RAS, 4.0, (45, 54, 45))


@pytest.fixture(scope="module")
def metastases():
    """A patient with ten tumors."""
    return synthesize(1, "metastasis", 10, grid=COARSE)


@pytest.fixture
def several_threads():
    usual = torch.get_num_threads()
    torch.set_num_threads(usual + 2)
    yield
    torch.set_num_threads(usual)


def digest(scan) -> str:
    parts = (scan.t1c, scan.flair, scan.core, scan.whole, scan.brain)
    return hashlib.sha256(b"".join(part.data.tobytes() for part in parts)).hexdigest()


def test_the_same_seed_gives_the_same_scan_bit_for_bit(metastases):
    assert digest(synthesize(1, "metastasis", 10, grid=COARSE)) == digest(metastases)


def test_another_process_makes_the_same_scan_bit_for_bit(metastases):
    program = (
        f"import sys; sys.path[:0] = {[p for p in sys.path if p]!r}\n"
        f"import hashlib, torch; torch.set_num_threads({torch.get_num_threads()})\n"
        "from TumorRetrievalLib.imaging.volume import Grid\n"
        "from TumorRetrievalLib.synthesis.scan import CENTER_RAS, synthesize\n"
        "scan = synthesize(1, 'metastasis', 10, grid=Grid.around(CENTER_RAS, 4.0, (45, 54, 45)))\n"
        "parts = (scan.t1c, scan.flair, scan.core, scan.whole, scan.brain)\n"
        "print(hashlib.sha256(b''.join(part.data.tobytes() for part in parts)).hexdigest())"
    )
    environment = {**os.environ, "PYTHONHASHSEED": "123"}
    answer = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, env=environment)

    assert answer.stdout.strip() == digest(metastases), answer.stderr


def test_with_other_threads_only_the_last_bit_of_an_intensity_may_differ(metastases, several_threads):
    again = synthesize(1, "metastasis", 10, grid=COARSE)

    for mask in ("core", "whole", "brain"):
        assert np.array_equal(getattr(again, mask).data, getattr(metastases, mask).data)
    for image in ("t1c", "flair"):
        assert np.allclose(getattr(again, image).data, getattr(metastases, image).data, rtol=1e-6, atol=1e-6)


def test_another_seed_gives_another_scan(metastases):
    assert digest(synthesize(2, "metastasis", 10, grid=COARSE)) != digest(metastases)


def test_every_tumor_asked_for_is_in_the_scan(metastases):
    assert [tumor.number for tumor in metastases.tumors] == list(range(1, 11))
    assert {tumor.tumor_type for tumor in metastases.tumors} == {"metastasis"}


def test_the_tumors_cores_are_the_scans_core_with_nothing_shared_or_left_over(metastases):
    assert np.array_equal(sum(tumor.core.data.astype(int) for tumor in metastases.tumors), metastases.core.data)
    assert np.array_equal(sum(tumor.whole.data.astype(int) for tumor in metastases.tumors), metastases.whole.data)


def test_every_core_lies_in_its_whole_tumor_and_every_tumor_in_the_brain(metastases):
    for tumor in metastases.tumors:
        assert np.all(tumor.whole.data[tumor.core.data > 0])
    assert np.all(metastases.brain.data[metastases.whole.data > 0])


def test_a_tumors_box_holds_its_core_and_touches_it_on_every_side(metastases):
    for tumor in metastases.tumors:
        hull = tumor.box.voxel_hull(COARSE)
        inside = tumor.core.data[hull]

        assert inside.sum() == tumor.core.data.sum()
        assert all(inside.take(end, axis).any() for axis in range(3) for end in (0, -1))


def test_a_tumor_planned_on_the_left_of_the_atlas_appears_on_the_patients_left(metastases):
    lateral = [tumor for tumor in metastases.tumors if abs(tumor.atlas_mm[0]) > 20]

    assert {np.sign(tumor.atlas_mm[0]) for tumor in lateral} == {-1, 1}
    for tumor in lateral:
        seen = COARSE.to_world(np.argwhere(tumor.core.data)).mean(axis=0)
        side = describe_position(tumor.atlas_mm).left_right
        assert side == ("left" if seen[0] < 0 else "right")


def test_the_scan_shows_enhancing_tumors_brighter_than_the_brain_around_them(metastases):
    brain = (metastases.brain.data > 0) & (metastases.whole.data == 0)
    level = np.median(metastases.t1c.data[brain])

    brighter = [metastases.t1c.data[tumor.core.data > 0].max() > 1.2 * level for tumor in metastases.tumors]
    assert sum(brighter) >= 9


def test_a_scan_is_skull_stripped_unless_the_head_is_asked_for(metastases):
    outside = metastases.brain.data == 0
    with_head = synthesize(1, "metastasis", 10, head=True, grid=COARSE)

    assert not metastases.t1c.data[outside].any()
    assert np.median(with_head.t1c.data[outside]) >= 0
    assert (with_head.t1c.data[outside] > 0.3).mean() > 0.1
    assert np.array_equal(with_head.core.data, metastases.core.data)


def test_a_whole_scan_is_made_at_a_millimetre_and_a_half_with_the_same_tumor_as_a_coarse_one():
    whole, coarse = synthesize(1, "schwannoma"), synthesize(1, "schwannoma", grid=COARSE)

    assert whole.t1c.shape == SHAPE
    assert whole.t1c.grid.spacing == pytest.approx([SPACING_MM] * 3)
    assert np.linalg.norm(whole.tumors[0].atlas_mm - coarse.tumors[0].atlas_mm) < 4
    assert np.linalg.norm(whole.tumors[0].box.center - coarse.tumors[0].box.center) < 4
