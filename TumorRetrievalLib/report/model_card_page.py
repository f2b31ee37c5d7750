"""A model's card as a page: what `training.model_card` has written, for readers."""

from pathlib import Path

from TumorRetrievalLib.imaging.atomic import atomic_file

PAGE_NAME = "model_card.html"

_FACTS = (
    ("recipe", "Recipe"),
    ("data", "Trained on"),
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
    facts = [(words, card[name]) for name, words in _FACTS if card.get(name) is not None]
    return pages.get_template("model_card.html.j2").render(card=card, facts=facts)


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.3f}"
