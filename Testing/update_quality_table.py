"""Writes the quality table of README.md from the bundled models' cards: run it after a card has changed.

The part of README.md between the two comments MARKERS is replaced; a test compares it with the cards.
"""

import json
import textwrap
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
README = ROOT / "README.md"
MODELS = ROOT / "Resources" / "Models"
MARKERS = ("<!-- quality table: from the model cards -->", "<!-- end of the quality table -->")


def quality_table(models: Path = MODELS) -> str:
    """What every card in the folders of `models` says was measured after the training, as Markdown."""
    parts = []
    for path in sorted(models.glob("*/model_card.json")):
        card = json.loads(path.read_text(encoding="utf-8"))
        parts += [_measured(path.parent.name, entry) for entry in card.get("measured", {}).values()]
    return "\n".join(parts)


def _measured(model: str, entry: dict) -> str:
    scores = entry["scores"]
    columns = list(dict.fromkeys(column for row in scores.values() for column in row))
    rows = [[name, *(_cell(row.get(column)) for column in columns)] for name, row in scores.items()]
    lines = [_line(["", *columns]), _line(["---"] * (len(columns) + 1)), *map(_line, rows)]
    words = textwrap.fill(f"**{entry['title']}** (model `{model}`). {entry['about']}", 120, break_on_hyphens=False)
    return "\n".join([words, "", *lines, "", f"    python3 run.py cli {entry['command']}", ""])


def _line(cells: list[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _cell(score: dict | None) -> str:
    """The mean and, in brackets, its 95 % interval."""
    if score is None or score["mean"] is None:
        return ""
    interval = "" if score["low"] is None else f" ({_number(score['low'])} to {_number(score['high'])})"
    return _number(score["mean"]) + interval


def _number(value: float) -> str:
    """Two decimals; no zero before the point."""
    return f"{value:.2f}".removeprefix("0") if value < 1 else f"{value:.2f}"


def updated(text: str, table: str) -> str:
    """The text of the README with its quality table replaced.

    :raises ValueError: if it does not hold both markers.
    """
    before, begin, rest = text.partition(MARKERS[0])
    _, end, after = rest.partition(MARKERS[1])
    if not (begin and end):
        raise ValueError(f"README.md lacks the comments {MARKERS[0]} and {MARKERS[1]}.")
    return f"{before}{begin}\n{table}{end}{after}"


if __name__ == "__main__":
    README.write_text(updated(README.read_text(encoding="utf-8"), quality_table()), encoding="utf-8")
