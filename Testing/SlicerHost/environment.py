"""What has to be in the environment before Qt and VTK are loaded."""

import os
import sys

WINDOW, OFFSCREEN = "window", "offscreen"


def prepare() -> str:
    """Choose how Qt and VTK draw: in windows where there is a display, else in memory.

    Whatever the user has set already is kept. The views themselves are always rendered in memory, so that no second
    OpenGL surface has to live inside a Qt window.

    :returns: `WINDOW` or `OFFSCREEN`.
    """
    if sys.platform.startswith("linux"):
        os.environ.setdefault("VTK_DEFAULT_OPENGL_WINDOW", "vtkEGLRenderWindow")
        if not (os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")):
            os.environ.setdefault("QT_QPA_PLATFORM", OFFSCREEN)
    return OFFSCREEN if os.environ.get("QT_QPA_PLATFORM") == OFFSCREEN else WINDOW
