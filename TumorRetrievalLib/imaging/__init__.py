"""Volumes and their world coordinates, boxes, intensities, safe reading and writing."""
