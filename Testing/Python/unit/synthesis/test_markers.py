"""The stand-in for genetic markers: a stated rule, kept."""

import numpy as np
import pytest

from TumorRetrievalLib.networks.plgg import MARKERS
from TumorRetrievalLib.synthesis import markers
from TumorRetrievalLib.synthesis.markers import SHARES, plan_marker_case

SEEDS = range(3_000_000, 3_000_040)


@pytest.fixture(scope="module")
def truthful_cases():
    """Marker -> plans, without the label noise."""
    patch = pytest.MonkeyPatch()
    patch.setattr(markers, "LABEL_NOISE", 0.0)
    cases = {name: [] for name in MARKERS}
    for seed in SEEDS:
        plan, marker = plan_marker_case(seed)
        cases[marker].append(plan)
    patch.undo()
    return cases


def in_atlas(plan):
    centre = np.append(plan.lesions[0].center, 1)
    return (plan.anatomy.affine_to_atlas() @ centre)[:3]


def test_the_markers_are_those_of_the_network_and_their_shares_add_up():
    assert tuple(SHARES) == MARKERS and sum(SHARES.values()) == pytest.approx(1)


def test_v600e_lies_in_a_hemisphere_and_fusion_low_or_near_the_midline(truthful_cases):
    # The head also bends, by a few mm, which the straight part of the map does not follow.
    for plan in truthful_cases["BRAF V600E"]:
        x, _, z = in_atlas(plan)
        assert abs(x) > 8 and z > -20
    for plan in truthful_cases["BRAF fusion"]:
        x, y, z = in_atlas(plan)
        assert z < 15 and (abs(x) < 20 or (z < -8 and y < -32))


def test_v600e_is_rough_and_lobed_and_fusion_round_and_sharply_bounded(truthful_cases):
    v600e = [plan.lesions[0] for plan in truthful_cases["BRAF V600E"]]
    fusion = [plan.lesions[0] for plan in truthful_cases["BRAF fusion"]]

    assert min(lesion.roughness for lesion in v600e) > max(lesion.roughness for lesion in fusion)
    assert all(len(lesion.lobes) >= 3 and lesion.oedema_mm >= 3 for lesion in v600e)
    assert all(len(lesion.lobes) == 1 and lesion.oedema_mm == 0 for lesion in fusion)


def test_the_same_seed_gives_the_same_patient():
    one, two = plan_marker_case(3_000_007), plan_marker_case(3_000_007)

    assert one[1] == two[1] and np.array_equal(one[0].lesions[0].center, two[0].lesions[0].center)


def test_about_a_tenth_of_the_markers_on_record_are_wrong(truthful_cases):
    right = {plan.seed: marker for marker, plans in truthful_cases.items() for plan in plans}

    wrong = sum(plan_marker_case(seed)[1] != right[seed] for seed in SEEDS)

    assert 1 <= wrong <= 10
