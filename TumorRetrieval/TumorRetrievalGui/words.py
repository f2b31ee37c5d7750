"""What the user reads for the library's names: the words of radiology."""

from TumorRetrievalGui.translation import _


def blockNames() -> dict[str, str]:
    """Block of the similarity -> what the user calls it, in the order in which they are shown."""
    return {"appearance": _("Appearance"), "type": _("Tumor type"), "position": _("Position"), "extent": _("Size")}


def percent(share: float) -> str:
    """A share of one as whole per cents."""
    return f"{100 * share:.0f} %"


def place(area: str, side: str) -> str:
    """Where a tumor lies."""
    return ", ".join(part for part in (area, side) if part) or _("place unknown")


def milliliters(volume: float | None) -> str:
    """A volume; one decimal place where that says something."""
    if volume is None:
        return _("size unknown")
    return f"{volume:.1f} ml" if volume < 10 else f"{volume:.0f} ml"


def isSynthetic(provenance: str) -> bool:
    """Whether a case was made by a program: the reader must know."""
    return provenance.startswith("synthetic")
