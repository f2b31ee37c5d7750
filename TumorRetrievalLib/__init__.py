"""Find brain tumors that look like this one: the library behind the 3D Slicer extension, usable without Slicer."""

__version__ = "0.1.0"
