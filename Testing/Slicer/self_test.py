"""The module's self-test in desktop Slicer: `Slicer --testing --python-script Testing/Slicer/self_test.py`.

Not run on the machines on which this project is developed: they have no desktop Slicer. CHECKLIST.md beside this file
says what only a person can see.
"""

import sys
import traceback
from pathlib import Path

import qt
import slicer
import slicer.util

_ROOT = Path(__file__).resolve().parents[2]
_NAME = "TumorRetrieval"


def load_from_checkout() -> None:
    """Load the module from this checkout, unless it is installed."""
    if not hasattr(slicer.modules, _NAME.lower()):
        factory = slicer.app.moduleManager().factoryManager()
        factory.registerModule(qt.QFileInfo(str(_ROOT / _NAME / f"{_NAME}.py")))
        factory.loadModules([_NAME])


if __name__ == "__main__":
    try:
        load_from_checkout()
        getattr(sys.modules[_NAME], f"{_NAME}Test")().runTest()
    except Exception:
        traceback.print_exc()
        slicer.util.exit(1)
    else:
        print(f"{_NAME}: the self-test passed.")
        slicer.util.exit(0)
