"""Surfaces inside a head, seen from outside: a small renderer that needs no graphics card.

Parallel rays run through the images; where a ray first meets a surface, the light of a lamp beside the viewer decides
how bright it is. Translucent surfaces are denser towards their edges, as a soap bubble is.
"""

from dataclasses import dataclass

import numpy as np

from TumorRetrievalLib.imaging.volume import Volume

_STEP_MM = 2.0  # along a ray
_AMBIENT = 0.4
_LAMP = np.array((-0.35, -0.45, -0.82))  # the lamp's direction from a surface: left of, above and before it


@dataclass(frozen=True, eq=False)
class Surface:
    """Where an image passes a level.

    :param image: in RAS mm, smooth; inside the surface it is above the level.
    :param level: of the surface.
    :param color: red, green, blue, 0..1.
    :param opacity: 0..1, of a part that faces the viewer.
    """

    image: Volume
    level: float
    color: tuple[float, float, float]
    opacity: float


@dataclass(frozen=True)
class View:
    """Where the viewer stands.

    :param towards: direction of looking, RAS, any length.
    :param up: direction that is up in the picture, RAS; what of it lies along `towards` does not matter.
    """

    towards: tuple[float, float, float]
    up: tuple[float, float, float] = (0.0, 0.0, 1.0)

    def axes(self) -> np.ndarray:
        """Unit vectors towards the picture's right edge, its lower edge and away from the viewer, as rows."""
        away = np.asarray(self.towards, float) / np.linalg.norm(self.towards)
        right = np.cross(away, self.up)
        right /= np.linalg.norm(right)
        return np.stack([right, np.cross(away, right), away])

    def letters(self) -> tuple[str, str, str, str]:
        """Where the left, right, upper and lower edges lie in the patient; "" where an edge is oblique."""
        right, down, _ = self.axes()
        return tuple(_letter(direction) for direction in (-right, right, -down, down))


def render(surfaces: list[Surface], view: View, center, edge_mm: float, pixels: int) -> np.ndarray:
    """A picture of surfaces on black.

    :param center: RAS mm, what the picture is centred on, shape (3,).
    :param edge_mm: edge of the picture and depth of what is seen.
    :returns: uint8 (pixels, pixels, 3), rows from the top.
    """
    rays = _Rays(view, np.asarray(center, float), edge_mm, pixels)
    layers = [rays.meet(surface) for surface in surfaces]
    depths = np.stack([depth for depth, _, _ in layers])
    picture = np.zeros((pixels, pixels, 3))
    order = np.argsort(-depths, axis=0)
    for rank in range(len(layers)):
        for layer, (depth, color, alpha) in enumerate(layers):
            here = (order[rank] == layer) & np.isfinite(depth)
            picture[here] += alpha[here, None] * (color[here] - picture[here])
    return np.round(np.clip(picture, 0, 1) * 255).astype(np.uint8)


class _Rays:
    """Parallel rays through the pixels of a picture; arrays run down, to the right and away from the viewer."""

    def __init__(self, view: View, center: np.ndarray, edge_mm: float, pixels: int):
        axes = view.axes()
        self._steps_mm = np.array((edge_mm / pixels, edge_mm / pixels, _STEP_MM))
        self._shape = (pixels, pixels, int(edge_mm / _STEP_MM))
        self._matrix = axes[[1, 0, 2]].T * self._steps_mm
        self._origin = center - self._matrix @ ((np.array(self._shape) - 1) / 2)
        self._along: dict[int, np.ndarray] = {}

    def meet(self, surface: Surface) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Depth in mm (infinite where nothing is met), colour and opacity of every pixel."""
        values = self._values(surface.image)
        inside = values >= surface.level
        first, met = inside.argmax(axis=2), inside.any(axis=2)
        row, column = np.nonzero(met)
        after = first[met]
        value, before = values[row, column, after], values[row, column, np.maximum(after - 1, 0)]
        part = (value - surface.level) / np.maximum(value - before, 1e-6)
        place = after - np.clip(part, 0, 1)
        outwards = _normals(values, np.stack([row, column, place]), self._steps_mm)
        # The normals are (down, right, away); the lamp is given as (right, down, away).
        light = np.clip(outwards @ _LAMP[[1, 0, 2]], 0, 1)[:, None]
        grazing = 1 - np.abs(outwards[:, 2])
        depth, color, alpha = np.full(met.shape, np.inf), np.zeros((*met.shape, 3)), np.zeros(met.shape)
        depth[met] = place * _STEP_MM
        color[met] = np.array(surface.color) * (_AMBIENT + (1 - _AMBIENT) * light) + 0.2 * surface.opacity * light**24
        alpha[met] = np.clip(surface.opacity * (0.6 + 2.4 * grazing**2), 0, 1)
        return depth, color, alpha

    def _values(self, image: Volume) -> np.ndarray:
        """The image along the rays; kept, as one image can have several surfaces."""
        from scipy import ndimage

        if id(image) not in self._along:
            to_index = np.linalg.inv(image.affine)
            self._along[id(image)] = ndimage.affine_transform(
                image.data,
                to_index[:3, :3] @ self._matrix,
                to_index[:3, :3] @ self._origin + to_index[:3, 3],
                self._shape,
                order=1,
                cval=float(image.data.min()),
            )
        return self._along[id(image)]


def _normals(rays: np.ndarray, places: np.ndarray, steps_mm: np.ndarray) -> np.ndarray:
    """Unit vectors out of the surface at some places (3, n) of an image that is larger inside; shape (n, 3)."""
    from scipy import ndimage

    slopes = []
    for axis, step in enumerate(steps_mm):
        offset = np.zeros((3, 1))
        offset[axis] = 1.5 / step
        ends = [ndimage.map_coordinates(rays, places + sign * offset, order=1, mode="nearest") for sign in (1, -1)]
        slopes.append(ends[1] - ends[0])
    slopes = np.stack(slopes, axis=1).astype(float)
    return slopes / np.maximum(np.linalg.norm(slopes, axis=1, keepdims=True), 1e-9)


def _letter(direction: np.ndarray) -> str:
    axis = int(np.argmax(np.abs(direction)))
    if abs(direction[axis]) < 0.85:
        return ""
    return ("RL", "AP", "SI")[axis][int(direction[axis] < 0)]
