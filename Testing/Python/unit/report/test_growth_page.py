"""The page about a growth simulation: masks and density where they are, numbers as they are, nothing claimed."""

import base64
import io
import re
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from TumorRetrievalLib.errors import Cancelled
from TumorRetrievalLib.imaging.volume import Grid, LabelMap, Volume
from TumorRetrievalLib.report.growth_page import GrowthReport, render_growth_report, write_growth_report

GRID = Grid.around((0.0, 0.0, 0.0), 3.0, (54, 60, 50))
TUMOR = (-30.0, 10.0, 5.0)


def distance_from(middle) -> np.ndarray:
    return np.linalg.norm(GRID.voxel_centres() - middle, axis=1).reshape(GRID.shape)


@pytest.fixture
def report():
    brain = distance_from((0, 0, 0)) < 68
    noise = np.random.default_rng(0).normal(100, 5, GRID.shape)
    from_tumor = distance_from(TUMOR)
    result = {
        "tumor": {"core_ml": 7.2, "whole_ml": 33.2, "masks_from": "files"},
        "parameters": {
            "origin_atlas_mm": [-30.0, 10.0, 5.0],
            "origin_patient_mm": [-31.0, 11.0, 6.0],
            "lambda_mm2": 4.25,
            "tau": 13.5,
            "same_tumor": [{"days": 100.0, "rho_per_day": 0.135, "d_mm2_per_day": 0.574},
                           {"days": 1000.0, "rho_per_day": 0.0135, "d_mm2_per_day": 0.0574}],
        },
        "dice": {
            "retrieval": {"core": 0.61, "whole": 0.72, "combined": 1.33},
            "refined": {"core": 0.75, "whole": 0.81, "combined": 1.56},
            "in_patient": {"core": 0.74, "whole": 0.8, "combined": 1.54},
        },
        "matches": [{"index": 3, "core": 0.61, "whole": 0.72, "combined": 1.33, "origin_atlas_mm": [-29.0, 9.0, 4.0],
                     "lambda_mm2": 3.5, "tau": 12.0}],
        "volumes_ml": {"density_from_0.2": 34.0, "density_from_0.6": 8.0},
        "registration": {"stage": "affine", "brain_overlap": 0.95},
        "database": {"file": "bundled", "tumors": 10000},
        "notes": ["The tumor has several foci."],
    }  # fmt: skip
    return GrowthReport(
        "patient <7>",
        Volume(np.where(brain, noise, 0), GRID.affine),
        Volume(np.where(brain, noise + 20, 0), GRID.affine),
        LabelMap(from_tumor < 12, GRID.affine),
        LabelMap(from_tumor < 20, GRID.affine),
        Volume(np.clip((28 - from_tumor) / 28, 0, 1), GRID.affine),
        Volume(np.clip((28 - from_tumor) / 100, 0, 1), GRID.affine),
        LabelMap(brain, GRID.affine),
        result,
    )


def test_the_page_says_what_was_found_and_what_one_scan_cannot_tell(report):
    page = render_growth_report(report)

    for text in ("patient &lt;7&gt;", "1.56", "1.33", "4.25", "13.5", "0.0135", "33 ml", "The tumor has several foci."):
        assert text in page
    assert "What it cannot tell: D, ρ and T alone" in page
    assert "For research use only" in page
    assert not re.search("recur|relapse|prognos|diagnos|invisible", page.lower())


def test_the_page_needs_neither_network_nor_scripts(report):
    page = render_growth_report(report)

    assert "<script" not in page and "http" not in page.replace("http-equiv", "")


def test_slices_show_masks_outlines_and_density_over_both_scans_and_surfaces_from_three_sides(report):
    labels = re.findall(r'aria-label="([^"]+)"', render_growth_report(report))

    for kind in ("T1 with contrast", "masks on T1 with contrast", "masks on FLAIR", "simulated cell density",
                 "spread over the best matches"):  # fmt: skip
        for orientation in ("axial", "coronal", "sagittal"):
            assert f"{kind}, {orientation}" in labels
    assert sum("seen from" in label for label in labels) == 6
    assert "The masks, seen from the patient&#39;s left" in labels


def test_the_density_of_a_tumor_on_the_left_is_bright_on_the_viewers_right(report):
    page = render_growth_report(report)
    svg = next(part for part in page.split("<svg")[1:] if "simulated cell density, axial" in part)
    heat = _decoded(re.search(r'class="heat" href="([^"]+)"', svg)[1])

    alpha = heat[..., 3].astype(float)
    columns = np.arange(alpha.shape[1]) - alpha.shape[1] / 2
    assert (alpha.sum(axis=0) * columns).sum() / alpha.sum() > 20


def test_without_flair_there_is_no_column_for_it(report):
    page = render_growth_report(replace(report, flair=None))

    assert "FLAIR" not in page.split("<footer>")[0].replace("research", "")
    assert "--columns:4" in page


def test_parameters_outside_the_literature_are_a_shape_and_not_a_growth(report):
    result = report.result | {"parameters": report.result["parameters"] | {"same_tumor": []}}

    assert "take the fit as a shape" in render_growth_report(replace(report, result=result))


def test_a_result_without_refinement_has_no_row_for_it(report):
    result = report.result | {"dice": report.result["dice"] | {"refined": None}}

    page = render_growth_report(replace(report, result=result))
    assert "best match" in page and "1.56" not in page


def test_it_is_written_whole_or_not_at_all(report, tmp_path):
    def stop(fraction, message):
        raise Cancelled("stopped")

    with pytest.raises(Cancelled):
        write_growth_report(tmp_path / "growth.html", report, stop)
    assert list(tmp_path.iterdir()) == []
    write_growth_report(tmp_path / "growth.html", report)
    assert (tmp_path / "growth.html").read_text(encoding="utf-8").endswith("</html>")


def _decoded(uri: str) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(uri.split(",", 1)[1]))).convert("RGBA"))
