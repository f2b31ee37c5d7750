from TumorRetrievalLib.report.model_card_page import render_card, write_card_page

CARD = {
    "name": "plgg-40", "recipe": "plgg", "data": "20 <b>patients</b>", "seed": 0, "parameters": 7, "steps": 40,
    "crops": 80, "batch": "2 x 8 x 8 x 8 voxels", "hours": 0.25, "device": "CPU", "samples_per_second": 1.5,
    "final_loss": 0.5, "known_failures": ["It fails on spots."], "research_use_only": True,
    "metrics": {
        "test_dice": {"mean": 0.7312, "low": 0.65, "high": 0.81, "n": 12},
        "recall": {"mean": 0.5, "low": None, "high": None, "n": 1},
    },
}  # fmt: skip


def test_the_page_shows_every_fact_each_metric_with_its_interval_and_the_failures():
    page = render_card(CARD)

    for text in ("plgg-40", "0.25", "CPU", "1.5", "0.731", "0.650 to 0.810", "<td>12</td>", "It fails on spots."):
        assert text in page
    assert "<dd>0</dd>" in page


def test_what_comes_from_a_manifest_cannot_change_the_page():
    assert "<b>patients</b>" not in render_card(CARD)


def test_a_card_without_metrics_says_that_nothing_has_been_measured(tmp_path):
    page = write_card_page(tmp_path, CARD | {"metrics": {}})

    assert "Nothing has been measured" in page.read_text()


def test_the_page_shows_what_was_measured_later_column_by_column_with_its_command():
    score = {"mean": 0.81, "low": 0.7, "high": 0.9, "n": 8}
    entry = {
        "title": "Outlines on real scans", "about": "Eight <scans>.", "command": "evaluate segmentation --cases scans",
        "scores": {"core": {"model": score, "ellipsoid": score | {"mean": 0.69}}, "alone": {"model": score}},
    }  # fmt: skip

    page = render_card(CARD | {"measured": {"segmentation": entry}})

    for text in ("Outlines on real scans", "Eight &lt;scans&gt;.", "0.810", "0.690", '<th scope="col">ellipsoid</th>'):
        assert text in page
    assert "<code>python3 run.py cli evaluate segmentation --cases scans</code>" in page
