"""Building the index: nothing lost, nothing twice, whatever happens in between."""

import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from TumorRetrievalLib.engine.build_index import build_bundled_index
from TumorRetrievalLib.engine.embed_case import embed_synthetic
from TumorRetrievalLib.engine.known_cases import load_known_case
from TumorRetrievalLib.engine.patient import tumor_reader
from TumorRetrievalLib.errors import Cancelled, UnreadableFile
from TumorRetrievalLib.retrieval.case_index import CaseIndex
from TumorRetrievalLib.synthesis.cohort import bundled_cohort

BUILD = """
import sys
from pathlib import Path
from TumorRetrievalLib.engine.build_index import build_bundled_index
if __name__ == "__main__":
    build_bundled_index(Path(sys.argv[1]), Path(sys.argv[2]), workers=1, limit=1)
"""


def test_the_index_holds_the_cases_with_their_true_labels(tiny_index):
    with CaseIndex.open(tiny_index) as index:
        index.verify()
        case = index.get("SYN-SCH-0001")

    (tumor,) = case.tumors
    assert tumor.type == "schwannoma" and tumor.linear_size_mm > 0 and tumor.core_ml > 0
    assert np.sign(tumor.atlas_mm[0]) == (-1 if tumor.left_right == "left" else 1)
    assert case.provenance.startswith("synthetic")


def test_a_case_is_made_again_exactly_where_the_index_says_its_tumor_is(tiny_index):
    with CaseIndex.open(tiny_index) as index:
        case = index.get("SYN-GLI-0001")

    first, again = load_known_case(case), load_known_case(case)

    core = first.core.grid.to_world(np.argwhere(first.core.data))
    box = case.tumors[0].box
    assert box.contains(core).all()
    np.testing.assert_allclose(core.max(axis=0) - core.min(axis=0), box.size - 1.5, atol=1e-6)
    # The second one comes from the cache, which keeps 1/8192 steps.
    np.testing.assert_allclose(again.t1c.data, first.t1c.data, atol=1e-4)
    assert np.array_equal(again.whole.data, first.whole.data)


def test_a_damaged_cache_is_made_again(tiny_index, monkeypatch, tmp_path):
    monkeypatch.setenv("TUMOR_RETRIEVAL_CACHE", str(tmp_path))
    with CaseIndex.open(tiny_index) as index:
        case = index.get("SYN-GLI-0001")
    first = load_known_case(case)
    (kept,) = tmp_path.glob("*.npz")
    kept.write_bytes(kept.read_bytes()[:1000])

    assert np.array_equal(load_known_case(case).t1c.data, first.t1c.data)


def test_a_case_without_a_scan_says_so(tiny_index):
    from TumorRetrievalLib.cohort.case import Case, Tumor

    with pytest.raises(UnreadableFile, match="labels only"):
        load_known_case(Case("x", "x", tumors=(Tumor(type="glioma"),)))


def test_the_same_recipe_gives_the_same_vectors(tiny_model, tiny_index):
    recipe = next(one for one in bundled_cohort() if one.case_id == "SYN-GLI-0001")
    from TumorRetrievalLib.cohort.case import SyntheticRecipe

    short = SyntheticRecipe(recipe.seed, recipe.tumor_type, recipe.lesion_count)
    embedded = embed_synthetic(short, recipe.case_id, tumor_reader(tiny_model, "cpu"))

    with CaseIndex.open(tiny_index) as index:
        np.testing.assert_allclose(embedded.vectors, index.vectors_of("SYN-GLI-0001"), atol=1e-3)


def test_a_build_that_was_stopped_goes_on_where_it_was(tiny_model, tmp_path):
    def stop_at_once(_fraction, _message):
        raise Cancelled("stopped")

    with pytest.raises(Cancelled):
        build_bundled_index(tmp_path / "index", tiny_model, workers=1, limit=1, progress=stop_at_once)
    kept = sorted((tmp_path / "index" / "parts").glob("*.npz"))
    assert 1 <= len(kept) < 4

    seen = []
    stats = build_bundled_index(
        tmp_path / "index", tiny_model, workers=1, limit=1, progress=lambda f, m: seen.append(m)
    )

    assert stats["cases"] == 4 and len(seen) == 4 - len(kept)
    assert not (tmp_path / "index" / "parts").exists()


@pytest.mark.slow
def test_a_build_that_was_killed_loses_nothing_and_doubles_nothing(tiny_model, tmp_path):
    out = tmp_path / "index"
    for _ in range(6):
        child = subprocess.Popen([sys.executable, "-c", BUILD, out, tiny_model], start_new_session=True)
        time.sleep(9)
        if child.poll() is not None:
            break
        os.killpg(child.pid, signal.SIGKILL)
        child.wait()

    stats = build_bundled_index(out, tiny_model, workers=1, limit=1)

    assert stats["cases"] == 4
    with CaseIndex.open(out) as index:
        index.verify()
