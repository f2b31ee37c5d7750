"""A strict stand-in for the Qt side of 3D Slicer, for tests and for trying the module without Slicer.

The scene, the nodes, the logics, the displayable managers and `slicer.util` are Slicer's own, from the wheel
slicer-core. `qt`, `ctk`, the qMRML widgets, the layout manager and the application object are stand-ins made with
PySide6. They are stricter than the real ones: what PythonQt would only print to the console raises here.

A green run on this host means "consistent with MRML and with our model of Slicer's Qt side", no more. It is no
replacement for a run in the desktop application.
"""
