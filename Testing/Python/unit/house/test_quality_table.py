"""Every bundled model has its card with the page, and the README's quality table is what the cards say."""

import json
import sys
from pathlib import Path

import pytest

from TumorRetrievalLib.report.model_card_page import PAGE_NAME, render_card
from TumorRetrievalLib.training.model_card import CARD_NAME

ROOT = Path(__file__).resolve().parents[4]
sys.path.insert(0, str(ROOT / "Testing"))
from update_quality_table import MARKERS, MODELS, README, quality_table, updated  # noqa: E402

sys.path.pop(0)


@pytest.mark.parametrize(
    "model", sorted(path for path in MODELS.iterdir() if path.is_dir()), ids=lambda path: path.name
)
def test_a_bundled_model_has_a_card_of_its_weights_and_the_page_shows_it(model):
    """`evaluate ... --note-in MODEL_FOLDER` makes both."""
    card = json.loads((model / CARD_NAME).read_text(encoding="utf-8"))

    assert card["weights_sha256"] == json.loads((model / "model.json").read_text(encoding="utf-8"))["weights_sha256"]
    assert (model / PAGE_NAME).read_text(encoding="utf-8") == render_card(card)


def test_the_readme_says_what_the_cards_say():
    """Run `python Testing/update_quality_table.py` when this fails."""
    text = README.read_text(encoding="utf-8")

    assert updated(text, quality_table()) == text


def test_another_score_in_a_card_changes_the_readme_and_nothing_else_of_it(tmp_path):
    def table_of(mean):
        scores = {"core": {"model": {"mean": mean, "low": mean - 0.05, "high": 1.0, "n": 8}, "paper": {"mean": None}}}
        entry = {"title": "Outlines", "about": "Eight scans.", "command": "evaluate x", "scores": scores}
        (tmp_path / "small").mkdir(exist_ok=True)
        (tmp_path / "small" / CARD_NAME).write_text(json.dumps({"measured": {"x": entry}}))
        return quality_table(tmp_path)

    old, new = (updated(f"Before.\n{MARKERS[0]}\n\n{MARKERS[1]}\nAfter.", table_of(mean)) for mean in (0.8, 0.9))

    assert "| core | .80 (.75 to 1.00) |  |" in old and "    python3 run.py cli evaluate x" in old
    assert "(model `small`)" in old and ".90 (.85 to 1.00)" in new
    assert updated(old, table_of(0.9)) == new and new.startswith("Before.\n") and new.endswith("\nAfter.")


def test_a_readme_without_a_place_for_the_table_is_refused():
    with pytest.raises(ValueError, match="lacks the comments"):
        updated(f"Text {MARKERS[0]}", "table")
