"""The report is one honest file that opens anywhere."""

import base64
import io
import re
from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
import pytest
from PIL import Image

from TumorRetrievalLib.errors import Cancelled, CannotWrite
from TumorRetrievalLib.imaging.box import Box
from TumorRetrievalLib.imaging.volume import LabelMap, Volume
from TumorRetrievalLib.report.model import Report, ReportHit, ReportTumor
from TumorRetrievalLib.report.page import format_ml, render_report, write_report

AFFINE = np.diag([4.0, 4.0, 4.0, 1.0])
AFFINE[:3, 3] = -80
"""A head of 160 mm around the origin, voxels of 4 mm."""


def ball(center, radius: float) -> LabelMap:
    empty = LabelMap(np.zeros((41, 41, 41), np.uint8), AFFINE)
    distance = np.linalg.norm(empty.grid.voxel_centres() - center, axis=1)
    return LabelMap((distance < radius).reshape(empty.shape), AFFINE)


def head() -> Volume:
    return Volume(ball((0, 0, 0), 70).data * 100.0 + ball((30, 20, 10), 12).data * 150.0, AFFINE)


def a_hit(**changes) -> ReportHit:
    hit = ReportHit(
        case="case-7",
        tumor="case-7/1",
        score=0.75,
        blocks={"appearance": 0.4, "type": 0.2, "position": 0.1, "extent": 0.05},
        type="meningioma",
        area="right frontal",
        volume_ml=7.2,
        t1c=head(),
        flair=None,
        core=ball((30, 20, 10), 12),
        whole=None,
        center_ras=np.array([30.0, 20.0, 10.0]),
        provenance="synthetic, seed 7",
    )
    return replace(hit, **changes)


def a_report(*hits: ReportHit, **changes) -> Report:
    tumor = ReportTumor(
        box=Box.aligned((30, 20, 10), (30, 30, 30)),
        types={"glioma": 0.2, "meningioma": 0.8},
        area="right frontal",
        atlas_mm=np.array([28.0, 22.0, 12.0]),
        core_ml=7.0,
        whole_ml=21.0,
        hits=list(hits),
    )
    core, whole = ball((30, 20, 10), 12), ball((30, 20, 10), 20)
    return replace(Report("scan.nii.gz", head(), None, core, whole, [tumor]), **changes)


class _Page(HTMLParser):
    """Collects what a browser would load or run, and what a reader would read."""

    def __init__(self, html: str):
        super().__init__()
        self.tags, self.addresses, self.styles, self.text = [], [], [], ""
        self.feed(html)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.addresses += [value for name, value in attrs if name in ("src", "href", "action", "data", "srcset")]
        self.styles += [value for name, value in attrs if name == "style"]

    def handle_data(self, data):
        self.text += data


def pictures_of(html: str) -> list[np.ndarray]:
    found = re.findall(r'<image href="data:image/webp;base64,([^"]+)"', html)
    return [np.asarray(Image.open(io.BytesIO(base64.b64decode(text))).convert("L")) for text in found]


def test_the_file_loads_nothing_from_anywhere():
    html = render_report(a_report(a_hit()))
    page = _Page(html)

    assert "script" not in page.tags and "link" not in page.tags and "iframe" not in page.tags
    assert page.addresses and all(address.startswith("data:image/webp;base64,") for address in page.addresses)
    assert not re.search(r"url\(|@import|https?:", html)


def test_three_slices_of_the_patient_and_of_each_hit():
    html = render_report(a_report(a_hit(), a_hit(case="case-8")))

    assert len(pictures_of(html)) == 3 * 3


def test_each_hit_is_centred_on_its_own_lesion():
    elsewhere = np.array([-20.0, -30.0, -10.0])
    scan = Volume(ball((0, 0, 0), 70).data * 100.0 + ball(elsewhere, 12).data * 150.0, AFFINE)

    pictures = pictures_of(render_report(a_report(a_hit(t1c=scan, center_ras=elsewhere))))

    for picture in pictures:
        rows, columns = np.nonzero(picture > 200)
        assert (rows.mean(), columns.mean()) == pytest.approx((143.5, 143.5), abs=2)


def test_the_outlines_lie_where_the_lesion_is():
    html = render_report(a_report(a_hit()))
    paths = re.findall(r'<path class="outline core" d="M([^"]+)"', html)

    assert len(paths) == 6
    for path in paths:
        points = np.array([[float(v) for v in pair.split(",")] for pair in re.split(r"[ M]+", path)])
        assert points.mean(axis=0) == pytest.approx((85, 85), abs=2.5)
        assert np.ptp(points, axis=0) == pytest.approx((24, 24), abs=4)


def test_a_case_without_flair_says_so_beside_one_with_it():
    html = render_report(a_report(a_hit(), flair=head()))

    assert len(pictures_of(html)) == 3 + 3 + 3
    assert _Page(html).text.count("no FLAIR") == 3


def test_text_from_files_cannot_become_part_of_the_page():
    nasty = "<script>alert(1)</script>\"'><img src=x>"
    hit = a_hit(case=nasty, tumor=nasty, type=nasty, area=nasty, provenance=nasty)
    html = render_report(a_report(hit, scan_name=nasty, facts={nasty: nasty}, notes=[nasty]))

    page = _Page(html)

    assert "script" not in page.tags and "img" not in page.tags
    assert nasty in page.text


def test_shares_below_zero_are_drawn_left_of_zero_and_the_others_right():
    blocks = {"appearance": 0.5, "type": -0.2, "position": 0.1, "extent": -0.1}
    html = render_report(a_report(a_hit(blocks=blocks, score=0.3)))

    zero = float(re.search(r'class="zero" style="left:([\d.]+)%', html)[1])
    bars = {
        name: (float(left), float(width))
        for name, left, width in re.findall(r'class="part (\w+)" style="left:([\d.]+)%;width:([\d.]+)%"', html)
    }
    for name, share in blocks.items():
        left, width = bars[name]
        assert width == pytest.approx(abs(share) / 1.3 * 100, abs=0.02)
        assert left >= zero - 0.02 if share > 0 else left + width <= zero + 0.02


def test_the_bars_end_at_the_score():
    html = render_report(a_report(a_hit()))

    ends = [
        float(a) + float(b) for a, b in re.findall(r'class="part \w+" style="left:([\d.]+)%;width:([\d.]+)%"', html)
    ]

    assert max(ends) == pytest.approx(75, abs=0.05)


@pytest.mark.parametrize(
    ("origins", "sentence"),
    [
        (["synthetic, seed 1", "Synthetic"], "The known cases are synthetic"),
        (["synthetic, seed 1", "our archive"], "Some of the known cases are synthetic"),
        (["our archive"], None),
    ],
)
def test_synthetic_cases_are_called_synthetic(origins, sentence):
    text = _Page(render_report(a_report(*[a_hit(provenance=origin) for origin in origins]))).text

    assert sentence in text if sentence else "synthetic" not in text


def test_research_use_is_said_once_and_nothing_is_called_a_diagnosis():
    text = _Page(render_report(a_report(a_hit()))).text.lower()

    assert text.count("research use only") == 1
    assert "diagnos" not in text


def test_no_hits_leave_a_sentence_and_the_patients_pictures():
    html = render_report(a_report())

    assert "No case in the index passes the filters." in html
    assert len(pictures_of(html)) == 3


def test_unknown_labels_are_called_unknown():
    text = _Page(render_report(a_report(a_hit(type="", area="", volume_ml=None)))).text

    assert "type unknown" in text and "area unknown" in text and "None" not in text


def test_a_huge_box_still_fits_its_picture():
    report = a_report(a_hit())
    wide = replace(report.tumors[0], box=Box.aligned((0, 0, 0), (160, 200, 150)))

    html = render_report(replace(report, tumors=[wide]))

    edge = float(re.search(r'viewBox="0 0 ([\d.]+)', html)[1])
    assert edge > np.hypot(160, 200)


def test_cancelling_leaves_no_file(tmp_path):
    def stop(fraction, message):
        raise Cancelled("The report was stopped.")

    with pytest.raises(Cancelled):
        write_report(tmp_path / "report.html", a_report(a_hit()), progress=stop)

    assert not list(tmp_path.iterdir())


def test_progress_rises_to_one(tmp_path):
    seen = []

    write_report(tmp_path / "report.html", a_report(a_hit()), progress=lambda fraction, message: seen.append(fraction))

    assert seen == sorted(seen) and seen[-1] == 1.0
    assert (tmp_path / "report.html").read_text(encoding="utf-8").startswith("<!doctype html>")


def test_a_folder_that_cannot_be_written_is_a_plain_error(tmp_path):
    with pytest.raises(CannotWrite):
        write_report(tmp_path / "missing" / "report.html", a_report())


@pytest.mark.parametrize(("ml", "text"), [(0.123, "0.12 ml"), (4.26, "4.3 ml"), (42.4, "42 ml"), (None, "")])
def test_volumes_carry_as_many_digits_as_they_deserve(ml, text):
    assert format_ml(ml) == text
