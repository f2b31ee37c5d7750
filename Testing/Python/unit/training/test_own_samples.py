"""What a network is shown of a hospital's own scans: two tumors in a ball of even tissue, made by hand."""

import numpy as np
import pytest
import torch
from scipy import ndimage

from TumorRetrievalLib.imaging.intensity import HIGHEST, LOWEST
from TumorRetrievalLib.imaging.tumor_crop import CROP
from TumorRetrievalLib.imaging.volume import Grid, LabelMap, Volume
from TumorRetrievalLib.training.own_cases import OwnScan, OwnTumor
from TumorRetrievalLib.training.own_samples import OwnCrops, OwnPatches, own_batches, own_collate
from TumorRetrievalLib.training.samples import UNKNOWN, SampleMix

EDGE, SPACING = 56, 2.0
CENTRES, RADII = ((20, 28, 28), (40, 34, 28)), (5, 3)
SURE = {"no_flair": 0.0, "no_box": 0.0, "around_core": 1.0, "healthy": 0.0, "together": 0.0}


def scan_by_hand(whole_known=True, flair=True, types=(0, 1)) -> OwnScan:
    """Tumor 1 is the larger one and lies to the left."""
    index = np.indices((EDGE,) * 3)

    def distance(centre):
        return np.sqrt(((index - np.array(centre)[:, None, None, None]) ** 2).sum(0))

    grid = Grid.around((0, 0, 0), SPACING, (EDGE,) * 3)
    core, whole = np.zeros((2, EDGE, EDGE, EDGE), np.uint8)
    for number, (centre, radius) in enumerate(zip(CENTRES, RADII, strict=True), start=1):
        core[distance(centre) < radius] = number
        whole[distance(centre) < radius + 3] = number
    head = distance((EDGE / 2,) * 3) < 26
    image = np.where(head, 1 + 0.2 * np.random.default_rng(0).standard_normal(head.shape) + 2.0 * (core > 0), 0)
    regions = [{"core": region(core == n), "whole": region(whole == n)} for n in (1, 2)]
    labels = [{"type": kind, "area": 0, "left_right": n, "front_rear": 0, "upper_lower": 0}
              for n, kind in enumerate(types)]  # fmt: skip
    return OwnScan(
        Volume(image, grid.affine),
        Volume(image, grid.affine) if flair else None,
        (LabelMap(head, grid.affine),) * (2 if flair else 1),
        LabelMap(head, grid.affine),
        LabelMap(core, grid.affine),
        LabelMap(whole if whole_known else core, grid.affine),
        tuple(OwnTumor(one, where) for one, where in zip(labels, regions, strict=True)),
        whole_known,
    )


def region(mask) -> list[int]:
    taken = [np.flatnonzero(mask.any(axis=tuple(k for k in range(3) if k != axis))) for axis in range(3)]
    return [end for some in taken for end in (int(some[0]), int(some[-1]) + 1)]


class OneScan:
    """A store that holds one scan."""

    def __init__(self, scan):
        self.scan = scan

    def read(self, name):
        return self.scan


def crops(scan=None, changed=False, seed=0, **mix) -> OwnCrops:
    return OwnCrops(OneScan(scan or scan_by_hand()), [["a"]], seed=seed, mix=SampleMix(**SURE | mix), changed=changed)


def ml(mask, sample) -> float:
    return float(mask.sum()) * sample.spacing_mm**3 / 1000


def true_ml(radius) -> float:
    return 4 / 3 * np.pi * (radius * SPACING) ** 3 / 1000


def inside(box) -> tuple[slice, ...]:
    return tuple(slice(a, b) for a, b in zip(box[::2], box[1::2], strict=True))


def test_a_box_around_a_core_asks_for_that_tumor_alone():
    found = set()
    for number in range(8):
        sample = crops()[number]
        which = sample.labels["type"]
        found.add(which)
        assert ml(sample.masks[0], sample) == pytest.approx(true_ml(RADII[which]), rel=0.3)
        assert ml(sample.masks[1], sample) == pytest.approx(true_ml(RADII[which] + 3), rel=0.2)
        assert sample.masks[0][inside(sample.box)].sum() > 0.8 * sample.masks[0].sum()
        assert sample.image[2][inside(sample.box)].mean() > 0.5 and not sample.image[3].any()
        assert sample.image[2].sum() == sample.image[2][inside(sample.box)].sum()
        assert sample.labels["enhancement"] == UNKNOWN
        middle = np.array(sample.box).reshape(3, 2).mean(axis=1)
        assert np.abs(middle - CROP / 2).max() <= 1, "the cube is cut around the box"
    assert found == {0, 1}


def test_a_box_around_everything_is_the_other_channel_and_holds_the_oedema():
    sample = crops(around_core=0.0)[0]

    assert sample.image[3][inside(sample.box)].mean() > 0.5 and not sample.image[2].any()
    assert sample.masks[1][inside(sample.box)].sum() > 0.8 * sample.masks[1].sum()


def test_without_a_box_every_tumor_in_sight_is_asked_for():
    for number in range(4):
        sample = crops(no_box=1.0)[number]
        assert not sample.image[2:].any()
        if sample.spacing_mm == 2.0:
            assert ml(sample.masks[0], sample) > 0.9 * sum(map(true_ml, RADII)) * 0.8


def test_one_box_may_hold_both_tumors_whose_type_is_then_unknown_if_it_differs():
    sample, alike = crops(together=1.0)[0], crops(scan_by_hand(types=(1, 1)), together=1.0)[0]

    assert ml(sample.masks[0], sample) == pytest.approx(sum(map(true_ml, RADII)), rel=0.3)
    assert sample.labels["type"] == UNKNOWN and alike.labels["type"] == 1


def test_a_missing_flair_is_an_empty_channel_whether_drawn_so_or_never_scanned():
    for sample in (crops(no_flair=1.0)[0], crops(scan_by_hand(flair=False))[0]):
        assert sample.image[0].any() and not sample.image[1].any()
    assert crops()[0].image[1].any()


def test_a_cube_anywhere_in_the_head_has_no_box_and_no_type():
    sample = crops(healthy=1.0)[0]

    assert not sample.image[2:].any() and set(sample.labels.values()) == {UNKNOWN}


def test_where_oedema_was_never_drawn_the_whole_tumor_is_not_known_and_no_box_is_around_it():
    source = crops(scan_by_hand(whole_known=False), around_core=0.0)
    batch = own_collate([source[0], crops()[0]])

    assert batch.mask_known.tolist() == [[True, False], [True, True]]
    assert batch.image[0, 2].any() and not batch.image[0, 3].any()


def test_the_same_number_gives_the_same_sample_and_another_seed_another():
    one, again, other = crops(changed=True)[5], crops(changed=True)[5], crops(changed=True, seed=1)[5]

    assert np.array_equal(one.image, again.image) and np.array_equal(one.masks, again.masks) and one.box == again.box
    assert not np.array_equal(one.image, other.image)


def test_a_resumed_training_goes_on_with_the_samples_that_come_next():
    batches = own_batches(crops(changed=True), 1, workers=0)
    from_start, resumed = batches(0), batches(1)
    next(from_start)

    assert torch.equal(next(resumed).image, next(from_start).image)


def test_patients_lie_differently_and_some_are_mirrored_but_masks_and_images_stay_together():
    small_is_right_of_large = []
    for number in range(8):
        sample = crops(changed=True, no_box=1.0)[number]
        image, core = sample.image[0], sample.masks[0] > 0
        bright = image > 3
        assert image.min() >= LOWEST and image.max() <= HIGHEST
        assert (bright & core).sum() > 0.8 * core.sum(), "the core is bright where the mask is"
        tumors, count = ndimage.label(core)
        if count == 2:
            large, small = np.argsort(-np.bincount(tumors.ravel())[1:]) + 1
            middles = [np.argwhere(tumors == one)[:, 0].mean() for one in (large, small)]
            small_is_right_of_large.append(middles[1] > middles[0])
    assert 0 < sum(small_is_right_of_large) < len(small_is_right_of_large)


def test_where_memory_is_short_the_inner_part_of_the_cube_is_shown():
    whole = crops()[0]
    part = OwnCrops(OneScan(scan_by_hand()), [["a"]], crop=48, mix=SampleMix(**SURE), changed=False)[0]

    assert np.array_equal(part.image, whole.image[:, 8:56, 8:56, 8:56])
    assert part.box == [max(0, min(48, end - 8)) for end in whole.box]


def test_every_patient_is_shown_equally_often():
    source = OwnCrops(OneScan(scan_by_hand()), [["a"] * 9, ["b"]], mix=SampleMix(**SURE), changed=False)

    shown = [source[number].patient for number in range(16)]

    assert 3 < sum(shown) < 13


def test_a_patch_for_the_papers_network_holds_tight_boxes_with_type_and_place():
    patches = OwnPatches(OneScan(scan_by_hand()), [["a"]], crop=48, seed=1, spacing=2.0)
    boxed = 0
    for number in range(4):
        image, mask, boxes, labels = patches[number]
        assert image.shape == mask.shape == (1, 48, 48, 48) and len(boxes) == len(labels)
        for box, known in zip(boxes, labels, strict=True):
            part = mask[0][inside(box)]
            assert all(part.select(axis, at).any() for axis in range(3) for at in (0, -1))
            assert known["type"] == known["left_right"], "as made by hand"
            assert (float(part.sum()) > 250) == (known["type"] == 0), "tumor 1 is the larger one"
            boxed += 1
    assert boxed >= 4
    assert torch.equal(patches[2][0], patches[2][0])
