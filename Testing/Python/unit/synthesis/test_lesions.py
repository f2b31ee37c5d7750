import numpy as np
import pytest

from TumorRetrievalLib.cohort.labels import TYPES
from TumorRetrievalLib.synthesis.fields import streams
from TumorRetrievalLib.synthesis.lesions import SELLA_ATLAS_MM, draw_lesion_count, plan_case
from TumorRetrievalLib.synthesis.scan import atlas_position


def places(plan) -> np.ndarray:
    """Middles of the main lobes in atlas mm, shape (n, 3)."""
    return np.array([atlas_position(plan, lesion.center) for lesion in plan.lesions])


def depths(plan) -> np.ndarray:
    """How deep the main lobes' middles lie below the brain's surface, mm."""
    import torch

    points = torch.tensor(np.array([lesion.center for lesion in plan.lesions]), dtype=torch.float32).T
    return plan.head.read(plan.head.depth, points[:, :, None, None]).numpy().ravel()


@pytest.mark.parametrize("tumor_type", TYPES)
def test_the_same_seed_gives_the_same_plan(plan_of, tumor_type):
    first, again = plan_of(tumor_type, 1), plan_case(1, tumor_type)

    assert len(first.lesions) == len(again.lesions) > 0
    for one, other in zip(first.lesions, again.lesions, strict=True):
        assert one.kind == other.kind
        assert np.array_equal(one.center, other.center)
        assert one.radius == other.radius


def test_schwannomas_sit_at_the_cerebellopontine_angle_of_either_side(plan_of):
    found = np.concatenate([places(plan_of("schwannoma", seed, 2)) for seed in (1, 2)])

    assert np.all(np.abs(np.abs(found[:, 0]) - 19) < 8)
    assert np.all(np.abs(found[:, 1] + 36) < 9)
    assert np.all(np.abs(found[:, 2] + 36.5) < 9)


def test_a_second_schwannoma_is_on_the_other_side(plan_of):
    found = [places(plan_of("schwannoma", seed, 2))[:, 0] for seed in (1, 2)]

    assert all(len(x) == 2 and x[0] * x[1] < 0 for x in found)


@pytest.mark.parametrize("seed", [1, 2, 4])
def test_a_pituitary_adenoma_rises_out_of_the_sella(plan_of, seed):
    plan = plan_of("pituitary adenoma", seed)
    (place,) = places(plan)

    assert np.linalg.norm((place - SELLA_ATLAS_MM)[:2]) < 9
    assert -6 < place[2] - SELLA_ATLAS_MM[2] < plan.lesions[0].radius + 4


def test_meningiomas_sit_at_the_dura(plan_of):
    for seed in (1, 2):
        plan = plan_of("meningioma", seed, 5)
        place = places(plan)
        at_the_surface = depths(plan) < 7
        at_the_falx = np.abs(place[:, 0]) < 8
        at_the_tentorium = (np.abs(place[:, 2] + 14) < 11) & (place[:, 1] < -34)

        assert len(place) == 5
        assert np.all(at_the_surface | at_the_falx | at_the_tentorium)


def test_gliomas_start_inside_the_brain_and_rarely_below_the_tentorium(plan_of):
    plans = [plan_of("glioma", seed) for seed in range(1, 6)]

    assert min(depths(plan)[0] for plan in plans) > 2
    assert sum(places(plan)[0, 2] > -30 for plan in plans) >= 4


def test_metastases_are_many_small_and_round(plan_of):
    plan = plan_of("metastasis", 1, 12)

    assert len(plan.lesions) == 12
    assert all(2.5 <= lesion.radius <= 20 and len(lesion.lobes) == 1 for lesion in plan.lesions)
    assert depths(plan).min() > -2


@pytest.mark.parametrize(("tumor_type", "count"), [("metastasis", 1), ("metastasis", 20), ("meningioma", 4)])
def test_a_patient_has_as_many_tumors_as_were_asked_for(plan_of, tumor_type, count):
    assert len(plan_of(tumor_type, 1, count).lesions) == count


def test_no_two_tumors_of_a_patient_touch(plan_of):
    lesions = plan_of("metastasis", 1, 20).lesions

    gaps = [np.linalg.norm(a.center - b.center) - a.radius - b.radius for a in lesions for b in lesions if a is not b]
    assert min(gaps) > 3


def test_some_gliomas_have_foci_apart_from_the_main_one_and_reach_as_far(plan_of):
    apart = []
    for seed in range(1, 41):
        lesion = plan_of("glioma", seed).lesions[0]
        (center, radius), *others = lesion.lobes
        gaps = [float(np.linalg.norm(c - center)) - radius - r for c, r in others]
        apart.append(any(gap > 0.1 * radius for gap in gaps))
        assert all(radius + gap + 2 * r <= lesion.radius + 1e-6 for gap, (_, r) in zip(gaps, others, strict=True))

    assert 2 <= sum(apart) <= 16


def test_a_head_without_room_gets_fewer_tumors_instead_of_running_forever(plan_of):
    assert 1 <= len(plan_of("pituitary adenoma", 1, 6).lesions) < 6


@pytest.mark.parametrize(("tumor_type", "mean"), [("metastasis", 4.1), ("meningioma", 1.2), ("schwannoma", 1.03)])
def test_counts_follow_the_means_of_the_papers_table(tumor_type, mean):
    rng, _ = streams(1, "counts")
    counts = [draw_lesion_count(tumor_type, rng) for _ in range(4000)]

    assert np.mean(counts) == pytest.approx(mean, rel=0.06)
    assert 1 <= min(counts) <= max(counts) <= 20


def test_only_what_grows_outside_the_brain_is_extra_axial(plan_of):
    outside = {t for t in TYPES if plan_of(t, 1).lesions[0].extra_axial}

    assert outside == {"meningioma", "schwannoma", "pituitary adenoma"}
