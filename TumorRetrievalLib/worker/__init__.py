"""The engine behind a pipe: a process of its own for the user's tasks, and the client that 3D Slicer talks through."""
