"""What is not similar to anything is said, with the reason."""

from functools import partial

import numpy as np
import pytest

from TumorRetrievalLib.engine.familiar import LEAST_SEEN, Familiarity
from TumorRetrievalLib.engine.in_box import read_in_box
from TumorRetrievalLib.engine.patient import tumor_reader
from TumorRetrievalLib.evaluation.nonsense import noise_like
from TumorRetrievalLib.imaging.resample import resample_labels
from TumorRetrievalLib.imaging.tumor_crop import Scan
from TumorRetrievalLib.retrieval.familiarity import BestMatch


@pytest.mark.parametrize(
    ("match", "seen", "words"),
    [
        (BestMatch(0.95, 40.0), 0.9, None),
        (BestMatch(0.95, None), 0.9, None),
        (BestMatch(0.71, 0.3), 0.9, "only 0.3 % of the index's own tumors"),
        (BestMatch(0.95, 40.0), 0.04, "sees only 4% of this as a tumor"),
        (BestMatch(None, None), 0.9, "no tumor that can be compared"),
    ],
)
def test_the_reader_is_told_when_nothing_is_similar_and_why(match, seen, words):
    familiarity = Familiarity(match, seen)

    warning = familiarity.warning(2)
    assert familiarity.similar is familiarity.described()["similar"] is (words is None)
    assert warning is None if words is None else words in warning and "box 2" in warning


def test_the_bundled_model_sees_a_tumor_without_its_box_and_none_in_noise():
    from TumorRetrievalLib.synthesis.scan import synthesize

    made, reader = synthesize(500_001, "meningioma", 1), tumor_reader(None, "cpu")
    rng, (tumor,) = np.random.default_rng(0), made.tumors

    seen = []
    for images in ((made.t1c, made.flair), (noise_like(made.t1c, rng), noise_like(made.flair, rng))):
        scan = Scan.of(*images, partial(resample_labels, made.brain))
        seen.append(read_in_box(scan, tumor.box, "core", reader, made.t1c.grid).seen)

    assert seen[0] > LEAST_SEEN > seen[1]
