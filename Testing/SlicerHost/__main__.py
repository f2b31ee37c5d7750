"""`python -m Testing.SlicerHost [SCAN]`: the module with its panel and views, without 3D Slicer."""

import argparse
import sys
from pathlib import Path

from Testing.SlicerHost.environment import OFFSCREEN, prepare

_ROOT = Path(__file__).resolve().parents[2]
_MODULE = _ROOT / "TumorRetrieval" / "TumorRetrieval.py"

_WHAT_IT_IS = (
    "This is the module of the 3D Slicer extension in a small host made for trying and testing it: Slicer's own scene, "
    "views and interaction, but a plain window around them. For research use only."
)


def main(arguments: list[str] | None = None) -> int:
    """Open the module, and the scan if one is given.

    :returns: the exit code.
    """
    parser = argparse.ArgumentParser(prog="run.py app", description=_WHAT_IT_IS)
    parser.add_argument("scan", nargs="?", type=Path, metavar="SCAN", help="a T1 with contrast: NIfTI or NRRD")
    parser.add_argument("--screenshot", type=Path, metavar="FILE", help="save a PNG of the window and end")
    parser.add_argument("--size", type=_size, default=(1280, 800), metavar="WxH", help="of the window (1280x800)")
    options = parser.parse_args(arguments)
    if options.scan and not options.scan.is_file():
        parser.error(f"there is no file {options.scan}")
    if prepare() == OFFSCREEN and not options.screenshot:
        parser.error("there is no display here; --screenshot FILE saves a picture instead")
    _show(options)
    return 0


def _size(text: str) -> tuple[int, int]:
    width, _, height = text.partition("x")
    try:
        return int(width), int(height)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not WIDTHxHEIGHT") from None


def _show(options) -> None:
    from PySide6.QtWidgets import QApplication

    from Testing.SlicerHost import host

    app = host.start(testing=options.screenshot is not None)
    host.load_module(_MODULE)
    host.open_module(_MODULE.stem)
    if options.scan:
        show_scan(options.scan)
    print(_WHAT_IT_IS, file=sys.stderr)
    if options.screenshot:
        host.screenshot(options.screenshot, *options.size)
    else:
        app.window.resize(*options.size)
        app.window.show()
        QApplication.exec()
    host.stop()


def show_scan(path: Path):
    """Load a scan and show it in all slice views, as dropping a file into Slicer does.

    :returns: its volume node.
    """
    import slicer.util

    node = slicer.util.loadVolume(str(path))
    slicer.util.setSliceViewerLayers(background=node, fit=True)
    return node


if __name__ == "__main__":
    sys.exit(main())
