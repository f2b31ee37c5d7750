"""What all panels need: loading a .ui file, and buttons that say why they cannot be pressed."""

from pathlib import Path

import slicer.util

_UI = Path(__file__).resolve().parents[1] / "Resources" / "UI"


def loadPanel(name: str, layout):
    """Load Resources/UI/<name>.ui and add it to a layout.

    :returns: the widget, and an object with its named children as attributes.
    """
    widget = slicer.util.loadUI(str(_UI / f"{name}.ui"))
    layout.addWidget(widget)
    return widget, slicer.util.childWidgetVariables(widget)


def allow(widget, whyNot: str, tip: str = "") -> None:
    """Enable a widget, or disable it with the reason as its tooltip.

    :param whyNot: the reason; "" enables the widget.
    :param tip: what the tooltip says while it is enabled.
    """
    widget.enabled = not whyNot
    widget.toolTip = whyNot or tip


class Quiet:
    """A guard for the time in which a program and not the user changes widgets: `if quiet: return` in every slot."""

    def __init__(self):
        self._depth = 0

    def __enter__(self):
        self._depth += 1

    def __exit__(self, *_):
        self._depth -= 1

    def __bool__(self):
        return self._depth > 0

    def forEver(self) -> None:
        """From now on nothing is the user's doing: the panel is going away."""
        self._depth += 1
