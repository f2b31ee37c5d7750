"""Results as MRML nodes: volumes, boxes, segmentations, aligned cases, growth maps, and the views that compare them.

The only room of the library that imports slicer and vtk, and it needs no more of Slicer than the scene: everything
takes the scene, or a node of it, and works without a window.
"""
