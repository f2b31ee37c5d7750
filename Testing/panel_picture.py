"""A picture of the module at the end of a search, taken in the stand-in for 3D Slicer (Testing/SlicerHost).

`run.py demo` ends with it, and the pictures of the README are made with it. The worker, the model and the cases are
the real ones; the window is not 3D Slicer.
"""

import argparse
import sys
import time
from pathlib import Path

from Testing.SlicerHost.environment import prepare

_MODULE = Path(__file__).resolve().parents[1] / "TumorRetrieval" / "TumorRetrieval.py"
_LONGEST_S = 600


def main(arguments: list[str] | None = None) -> int:
    """Search, compare, take the picture.

    :returns: the exit code.
    """
    parser = argparse.ArgumentParser(prog="panel_picture.py", description=__doc__.splitlines()[0])
    parser.add_argument("t1c", type=Path)
    parser.add_argument("picture", type=Path, help="the PNG to write")
    parser.add_argument("--flair", type=Path)
    parser.add_argument("--box", action="append", required=True, help="R,A,S,dR,dA,dS in mm, around the enhancing core")
    parser.add_argument("--growth", action="store_true", help="fit a growth simulation, and show the panel at its end")
    parser.add_argument("--map", action="store_true", help="draw the map of the known cases, and show the panel there")
    parser.add_argument("--views", action="store_true", help="show the views before the comparison")
    parser.add_argument("--size", type=int, nargs=2, default=(1440, 900), metavar=("WIDTH", "HEIGHT"))
    options = parser.parse_args(arguments)
    prepare()
    from Testing.SlicerHost import host

    host.start()
    host.load_module(_MODULE)
    try:
        trouble = _search(options)
        host.screenshot(options.picture, *options.size)
    finally:
        host.open_module(_MODULE.stem).cleanup()
        host.stop()
    print(trouble or f"The panel in a stand-in for 3D Slicer: {options.picture}", file=sys.stderr)
    return 1 if trouble else 0


def _search(options) -> str:
    """Do what a user does, up to the compared cases. :returns: what went wrong, or ""."""
    from Testing.SlicerHost import host
    from Testing.SlicerHost.__main__ import show_scan
    from TumorRetrievalLib.imaging.box import parse_box

    panel = host.open_module(_MODULE.stem).panel
    from TumorRetrievalGui.box_logic import addBox

    host.slicer.app.window.resize(*options.size)
    host.slicer.app.window.show()
    parameters = panel.query.parameters
    parameters.flair = show_scan(options.flair) if options.flair else None
    parameters.t1c = show_scan(options.t1c)
    for box in options.box:
        addBox(parameters, parse_box(box))
    panel.query.inputsChanged()
    if reason := panel.query.whyNotFind():
        return reason
    panel.query.find()
    _wait(lambda: panel.query.failure or panel.compare.failure or _all_is_shown(panel))
    failure = panel.query.failure or panel.compare.failure
    if failure is None and options.views:
        panel.compare.close()
    if failure is None and options.map:
        failure = _draw_map(panel)
    if failure is None and options.growth:
        failure = _grow(panel)
    return failure.message if failure else ""


def _grow(panel):
    """Fit a growth simulation and bring its panel into sight. :returns: the failure, or None."""
    panel.growth.startFit(bent=True)
    _wait(lambda: not panel.growth.isFitting)
    _scroll_to(panel.growthPanel.widget)
    return panel.growth.failure


def _draw_map(panel):
    """Have the map drawn and bring it into sight. :returns: the failure, or None."""
    panel.mapPanel.ui.mapSection.collapsed = False
    _wait(lambda: panel.map.map is not None or panel.map.failure)
    _scroll_to(panel.mapPanel.widget)
    return panel.map.failure


def _scroll_to(widget) -> None:
    from Testing.SlicerHost import host

    host.settle()
    host.slicer.app.window.panel.verticalScrollBar().setValue(widget.y)


def _all_is_shown(panel) -> bool:
    table = panel.resultsPanel.table
    return panel.compare.isOpen and not panel.compare.isLoading and all(map(table.hasPicture, panel.results.hits))


def _wait(condition) -> None:
    """Let events happen until something is so, but not for ever."""
    from Testing.SlicerHost import host

    deadline = time.monotonic() + _LONGEST_S
    while not condition() and time.monotonic() < deadline:
        host.settle()
        time.sleep(0.01)


if __name__ == "__main__":
    sys.exit(main())
