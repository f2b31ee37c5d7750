from itertools import product

import numpy as np
import pytest
import torch

from TumorRetrievalLib.synthesis.fields import streams
from TumorRetrievalLib.synthesis.painting import Style, draw_style, paint
from TumorRetrievalLib.synthesis.raster import ENHANCING, NECROSIS, OEDEMA
from TumorRetrievalLib.synthesis.surroundings import AIR, BONE, FAT, FLUID, MARROW, MUSCLE

STYLES = [Style(*choices) for choices in product((False, True), repeat=3)]
PLAIN = Style(wide=False, head=False, artefacts=False)


def painted(geometry, axes, style, seed=1):
    with torch.inference_mode():
        return paint(geometry, axes, style, *streams(seed, "test"))


def away_from_tumor(geometry):
    return (geometry.white > 0.9) & (geometry.label == 0) & (geometry.around.vessels == 0)


@pytest.mark.parametrize("style", STYLES, ids=str)
def test_a_painted_scan_is_finite_and_never_negative(glioma, coarse_axes, style):
    for seed in range(3):
        for image in painted(glioma, coarse_axes, style, seed).values():
            assert image.shape == glioma.label.shape
            assert image.dtype == torch.float32
            assert bool(torch.isfinite(image).all())
            assert float(image.min()) >= 0
            assert float(image[glioma.brain].std()) > 0.05


@pytest.mark.parametrize("style", [style for style in STYLES if not style.head], ids=str)
def test_a_stripped_scan_is_zero_outside_the_brain_and_shows_the_whole_core(glioma, coarse_axes, style):
    for seed in range(3):
        for image in painted(glioma, coarse_axes, style, seed).values():
            assert not image[~glioma.brain].any()
            assert float((image[glioma.core] > 0).float().mean()) > 0.95


@pytest.mark.parametrize("style", [style for style in STYLES if style.head], ids=str)
def test_a_scan_with_the_head_shows_tissue_outside_the_brain(glioma, coarse_axes, style):
    scalp = glioma.around.head == FAT

    assert float(painted(glioma, coarse_axes, style)["t1c"][scalp].median()) > 0.3


def test_the_same_randomness_paints_the_same_scan(glioma, coarse_axes):
    style = Style(wide=True, head=True, artefacts=True)
    one, again, other = (painted(glioma, coarse_axes, style, seed)["t1c"] for seed in (1, 1, 2))

    assert torch.equal(one, again)
    assert not torch.equal(one, other)


def test_what_enhances_is_brighter_than_white_matter_on_t1c_and_oedema_on_flair(glioma, coarse_axes):
    scans = [painted(glioma, coarse_axes, PLAIN, seed) for seed in range(4)]
    white = away_from_tumor(glioma)

    def ratio(channel, label):
        return [float(s[channel][glioma.label == label].median() / s[channel][white].median()) for s in scans]

    assert np.mean(ratio("t1c", ENHANCING)) > 1.15
    assert min(ratio("flair", OEDEMA)) > 1.1
    assert max(ratio("t1c", OEDEMA)) < 1.05


def test_some_necrosis_is_as_dark_as_fluid_in_both_images_and_some_bleeds(glioma, coarse_axes):
    scans = [painted(glioma, coarse_axes, PLAIN, seed) for seed in range(40)]
    white, dead = away_from_tumor(glioma), glioma.label == NECROSIS
    level = {c: [s[c][dead] / s[c][white].median() for s in scans] for c in ("t1c", "flair")}

    cavities = [float(t.median()) < 0.45 and float(f.median()) < 0.5 for t, f in zip(*level.values(), strict=True)]
    bleeding = [float((t > 1.15).float().mean()) > 0.1 for t in level["t1c"]]
    assert 1 <= sum(cavities) <= 14
    assert 1 <= sum(bleeding) <= 12


def test_a_third_of_the_training_styles_is_wide_a_third_has_the_head_most_have_artefacts():
    rng = np.random.default_rng(0)
    drawn = [draw_style(rng) for _ in range(3000)]

    assert np.mean([s.wide for s in drawn]) == pytest.approx(0.35, abs=0.03)
    assert np.mean([s.head for s in drawn]) == pytest.approx(0.35, abs=0.03)
    assert np.mean([s.artefacts for s in drawn]) == pytest.approx(0.6, abs=0.03)


def test_distractors_stay_in_the_brain_and_the_head_outside_of_it(glioma):
    around = glioma.around

    assert 0 <= float(around.vessels.min()) <= float(around.vessels.max()) <= 1
    assert 0 <= float(around.spots.min()) <= float(around.spots.max()) <= 1
    assert around.vessels.any()
    assert not around.vessels[~glioma.brain].any() and not around.spots[~glioma.brain].any()
    assert bool((around.head[glioma.brain] == AIR).all())
    assert set(around.head.unique().tolist()) == {AIR, FLUID, BONE, MARROW, FAT, MUSCLE}


def test_a_skull_lies_between_the_top_of_the_brain_and_the_scalp(glioma, coarse_head):
    top = int(glioma.brain.any(0).any(0).nonzero().max())
    i, j = (int(values.float().mean()) for values in glioma.brain[:, :, top].nonzero(as_tuple=True))
    upward = glioma.around.head[i, j, top + 1 :].tolist()
    shells = [label for n, label in enumerate(upward) if n == 0 or label != upward[n - 1]]

    assert any(label in (BONE, MARROW) for label in shells)
    bone = max(n for n, label in enumerate(upward) if label in (BONE, MARROW))
    assert not any(label == FLUID for label in upward[bone:])
    assert all(label in (FAT, MUSCLE, AIR) for label in upward[bone + 1 :])
