"""A model's card as a page: what `training.model_card` has written, for readers."""

from pathlib import Path

from TumorRetrievalLib.imaging.atomic import atomic_file

PAGE_NAME = "model_card.html"

_FACTS = (
    ("recipe", "Recipe"),
    ("data", "Trained on"),
    ("attribution", "Attribution"),
    ("started_from", "Started from weights"),
    ("seed", "Seed"),
    ("parameters", "Parameters"),
    ("steps", "Steps"),
    ("epochs", "Epochs"),
    ("crops", "Samples seen"),
    ("batch", "Batch"),
    ("hours", "Hours"),
    ("device", "Device"),
    ("samples_per_second", "Samples per second"),
    ("final_loss", "Loss at the end"),
)


def write_card_page(folder: Path, card: dict) -> Path:
    """Writes `model_card.html` into a model's folder: one file that needs nothing else, whole or not at all.

    :param card: the content of `model_card.json`.
    :raises CannotWrite: if the disk is full or the folder cannot be written.
    """
    path = Path(folder) / PAGE_NAME
    html = render_card(card)
    with atomic_file(path) as temporary:
        temporary.write_text(html, encoding="utf-8")
    return path


def render_card(card: dict) -> str:
    """The page as HTML text."""
    from jinja2 import Environment, PackageLoader, StrictUndefined

    pages = Environment(
        loader=PackageLoader("TumorRetrievalLib.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    pages.filters["number"] = _number
    facts = [(words, card[name]) for name, words in _FACTS if card.get(name) not in (None, "")]
    own = {name.replace("_", " "): {"mean": metric} for name, metric in card["metrics"].items()}
    tables = [{"title": "By the training itself", "about": "", "command": "", "scores": own}] if own else []
    tables += [
        entry | {"command": f"python3 run.py cli {entry['command']}"} for entry in card.get("measured", {}).values()
    ]
    return pages.get_template("model_card.html.j2").render(
        card=card, facts=facts, tables=[_laid_out(t) for t in tables]
    )


def _laid_out(entry: dict) -> dict:
    """An entry of measured scores with its `columns`, and in `rows` the score of each, None where there is none."""
    columns = list(dict.fromkeys(column for scores in entry["scores"].values() for column in scores))
    rows = {name: [scores.get(column) for column in columns] for name, scores in entry["scores"].items()}
    return entry | {"columns": columns, "rows": rows}


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.3f}"
