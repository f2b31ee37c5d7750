"""Samples from patients made by hand, so that no atlas is needed."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from TumorRetrievalLib.cohort.labels import TYPES
from TumorRetrievalLib.imaging.intensity import HIGHEST, LOWEST
from TumorRetrievalLib.synthesis.bank import CROP, Drawing
from TumorRetrievalLib.synthesis.raster import ENHANCING, OEDEMA, Geometry
from TumorRetrievalLib.synthesis.surroundings import Surroundings
from TumorRetrievalLib.training.samples import (
    ENHANCEMENT,
    TASKS,
    UNKNOWN,
    PaintedCrops,
    SampleMix,
    assemble,
    collate,
    drawn_box,
    painted_batches,
)

ALWAYS_CORE = SampleMix(no_flair=0.0, no_box=0.0, around_core=1.0, healthy=0.0, together=0.0)
CENTRES = {1: (28, 36, 36), 2: (54, 20, 50)}


def patient() -> Geometry:
    """Two tumors in a ball of white matter: number 1, larger, towards the first axis' start."""
    index = torch.from_numpy(np.indices((CROP,) * 3)).float()

    def ball(centre, radius):
        return (index - torch.tensor(centre, dtype=torch.float32)[:, None, None, None]).square().sum(0) < radius**2

    label, lesion = torch.zeros((CROP,) * 3, dtype=torch.uint8), torch.zeros((CROP,) * 3, dtype=torch.uint8)
    for number, radius in ((1, 8), (2, 5)):
        swollen = ball(CENTRES[number], radius + 5)
        label[swollen], lesion[swollen] = OEDEMA, number
        label[ball(CENTRES[number], radius)] = ENHANCING
    brain = ball((36, 36, 36), 34)
    white = brain.float()
    nothing = torch.zeros_like(white)
    around = Surroundings(nothing, nothing, torch.zeros_like(label))
    return Geometry(nothing, white, nothing, label, lesion, (label > 0).float(), brain, around)


class OnePatient:
    """A bank that holds one patient."""

    drawing = Drawing(1, "metastasis", "ring", 1, 1.5, (0.0, 0.0, 0.0))

    def __init__(self):
        self.geometry = patient()

    def seeds(self):
        return [1]

    def read(self, seed):
        return self.drawing, self.geometry


@pytest.fixture(scope="module")
def bank():
    return OnePatient()


@pytest.fixture(scope="module")
def samples(bank):
    """Sixteen samples of 48 voxels with everything in the default mix."""
    crops = PaintedCrops(bank, crop=48, seed=3)
    return [crops[number] for number in range(16)]


def inside(box) -> tuple[slice, ...]:
    return tuple(slice(a, b) for a, b in zip(box[::2], box[1::2], strict=True))


def assembled(bank, seed, mix=ALWAYS_CORE):
    """A sample from one painted image whose intensity tells the voxel's place along the first axis."""
    ramp = torch.linspace(1, 2, CROP)[:, None, None].expand((CROP,) * 3) * bank.geometry.brain
    return assemble(bank.drawing, bank.geometry, {"t1c": ramp, "flair": ramp}, np.random.default_rng(seed), mix)


def test_a_numbered_sample_repeats_exactly_also_for_a_new_loader(bank, samples):
    image, masks, box, labels = PaintedCrops(bank, crop=48, seed=3)[5]

    assert torch.equal(image, samples[5][0])
    assert torch.equal(masks, samples[5][1])
    assert (box, labels) == samples[5][2:]


def test_samples_of_other_numbers_and_other_seeds_differ(bank, samples):
    assert not torch.equal(samples[5][0], samples[6][0])
    assert not torch.equal(samples[5][0], PaintedCrops(bank, crop=48, seed=4)[5][0])


def test_a_sample_has_four_channels_two_masks_and_a_class_for_every_task(samples):
    for image, masks, box, labels in samples:
        assert image.shape == (4, 48, 48, 48) and image.dtype == torch.float32
        assert masks.shape == (2, 48, 48, 48)
        assert set(masks.unique().tolist()) <= {0.0, 1.0}
        assert all(0 <= low < high <= 48 for low, high in zip(box[::2], box[1::2], strict=True))
        known = {"type": TYPES.index("metastasis"), "enhancement": ENHANCEMENT.index("ring")}
        assert labels == (known if masks.any() else dict.fromkeys(known, UNKNOWN))
        assert all(label < TASKS[task] for task, label in labels.items())


def test_images_are_normalised_as_for_a_users_scan(samples):
    for image, *_ in samples:
        assert LOWEST <= float(image[:2].min()) <= float(image[:2].max()) <= HIGHEST


def test_a_core_is_part_of_the_whole_tumor(samples):
    for _, masks, *_ in samples:
        assert bool((masks[1] >= masks[0]).all())


def test_the_box_holds_its_target_up_to_what_a_careless_hand_leaves_out(bank):
    for around, mask in ((1.0, 0), (0.0, 1)):
        for seed in range(40):
            image, masks, box, _ = assembled(bank, seed, SampleMix(0.0, 0.0, around))
            held = float(masks[mask][inside(box)].sum() / masks[mask].sum())
            shown = image[2 + mask]

            assert held > 0.85
            assert not image[3 - mask].any()
            assert bool((shown[inside(box)] == 1).all()) and float(shown.sum()) == float(shown[inside(box)].sum())


def test_most_boxes_hold_all_of_their_target_and_are_not_much_larger(bank):
    rng = np.random.default_rng(0)
    mask = (bank.geometry.core & (bank.geometry.lesion == 1)).numpy()
    tight = 15
    boxes = np.array([drawn_box(mask, rng) for _ in range(300)])
    sizes = boxes[:, 1::2] - boxes[:, ::2]
    complete = [mask[inside(box)].sum() == mask.sum() for box in boxes]

    assert 0.5 < np.mean(complete) < 0.98
    assert sizes.min() >= tight * 0.65
    assert sizes.max() <= tight * 1.75
    assert 1.0 < sizes.mean() / tight < 1.25


def test_a_box_drawn_at_the_edge_stays_in_the_crop():
    mask = np.zeros((20, 20, 20), bool)
    mask[:3, 17:, 9] = True
    rng = np.random.default_rng(0)

    for _ in range(100):
        box = drawn_box(mask, rng)
        assert all(0 <= low < high <= 20 for low, high in zip(box[::2], box[1::2], strict=True))


def test_a_target_that_is_out_of_sight_gets_a_box_in_the_middle():
    box = drawn_box(np.zeros((20, 20, 20), bool), np.random.default_rng(0))

    assert all(low <= 11 and high >= 9 for low, high in zip(box[::2], box[1::2], strict=True))


def test_a_mirrored_sample_mirrors_images_masks_and_box_alike(bank):
    mirrored = []
    for seed in range(12):
        image, masks, box, _ = assembled(bank, seed)
        middle = np.argwhere(masks[0].numpy()).mean(axis=0)
        where_the_ramp_says = float(image[0][masks[0] > 0].mean())
        mirrored.append(bool(middle[0] > CROP / 2))

        expected = CROP - 1 - CENTRES[1][0] if mirrored[-1] else CENTRES[1][0]
        assert middle == pytest.approx((expected, *CENTRES[1][1:]), abs=0.3)
        assert [(a + b) / 2 for a, b in zip(box[::2], box[1::2], strict=True)] == pytest.approx(middle + 0.5, abs=3.6)
        # The tumor lies on the dark side of the ramp, wherever that side has gone.
        assert where_the_ramp_says < 0
    assert 2 < sum(mirrored) < 10


def test_with_a_box_only_its_tumor_is_asked_for_and_without_one_every_tumor_in_sight(bank):
    prompted = assembled(bank, 1)
    unprompted = assembled(bank, 1, SampleMix(no_flair=0.0, no_box=1.0, around_core=1.0, healthy=0.0, together=0.0))

    assert float(prompted[1][0].sum()) == float((bank.geometry.core & (bank.geometry.lesion == 1)).sum())
    assert float(unprompted[1][0].sum()) == float(bank.geometry.core.sum())
    assert not unprompted[0][2:].any()


def test_one_box_may_enclose_several_tumors_and_then_all_of_them_are_asked_for(bank):
    _, masks, box, _ = assembled(bank, 1, replace(ALWAYS_CORE, together=1.0))

    assert torch.equal(masks[0].sum(), bank.geometry.core.sum().float())
    assert float(masks[0][inside(box)].sum()) > 0.8 * float(masks[0].sum())


def test_in_a_healthy_brain_there_is_no_box_nothing_to_outline_and_no_type(bank):
    image, masks, _, labels = PaintedCrops(bank, 48, mix=replace(ALWAYS_CORE, healthy=1.0))[0]

    assert image[0].any()
    assert not image[2:].any() and not masks.any()
    assert set(labels.values()) == {UNKNOWN}


def test_a_missing_flair_is_an_empty_channel(bank):
    image = assembled(bank, 1, SampleMix(no_flair=1.0, no_box=0.0, healthy=0.0))[0]

    assert image[0].any()
    assert not image[1].any()


def test_the_tumor_in_the_box_does_not_set_the_scale(bank):
    dim = (
        torch.where(bank.geometry.brain, 1.0, 0.0)
        + 0.1 * torch.rand((CROP,) * 3, generator=torch.Generator().manual_seed(0)) * bank.geometry.brain
    )
    bright = torch.where(bank.geometry.core & (bank.geometry.lesion == 1), 50.0, dim)

    def image(painted):
        return assemble(
            bank.drawing, bank.geometry, {"t1c": painted, "flair": dim}, np.random.default_rng(1), ALWAYS_CORE
        )[0][0]

    outside = assembled(bank, 1)[0][2] == 0
    assert torch.equal(image(dim)[outside], image(bright)[outside])


def test_a_batch_numbers_its_boxes_by_sample(samples):
    batch = collate(samples[:3])

    assert batch.image.shape == (3, 4, 48, 48, 48)
    assert batch.boxes.tolist() == [[n, *samples[n][2]] for n in range(3)]
    assert set(batch.labels) == set(TASKS)
    assert bool(batch.mask_known.all())


def test_a_resumed_training_goes_on_with_the_samples_that_come_next(bank):
    crops = PaintedCrops(bank, crop=24, seed=9)
    batches = painted_batches(crops, batch_size=2, workers=0)
    from_start, resumed = batches(0), batches(1)
    next(from_start)

    assert torch.equal(next(resumed).image, next(from_start).image)
