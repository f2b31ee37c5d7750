"""The brain that every position refers to: MNI152 2009a, symmetric, 1 mm."""

from dataclasses import dataclass
from functools import cached_property, lru_cache

import numpy as np

from TumorRetrievalLib.imaging.volume import Grid, LabelMap, Volume
from TumorRetrievalLib.resources import resource

CSF, GRAY, WHITE = 1, 2, 3


@dataclass(frozen=True, eq=False)
class Atlas:
    """The template, skull-stripped, on one 1 mm RAS grid; the left is the mirror image of the right.

    :param t1: T1 intensity, 0 outside the brain, up to 255.
    :param gray: fraction of gray matter, 0..1.
    :param white: fraction of white matter, 0..1.
    :param brain: 1 where the T1 template is not 0: brain with its ventricles and the fluid in its sulci.
    """

    t1: Volume
    gray: Volume
    white: Volume
    brain: LabelMap

    @property
    def grid(self) -> Grid:
        """The grid that all of them share."""
        return self.t1.grid

    @cached_property
    def csf(self) -> Volume:
        """Fraction of cerebrospinal fluid, 0..1: what gray and white matter leave over inside the brain mask."""
        rest = np.clip(1.0 - self.gray.data - self.white.data, 0.0, 1.0) * (self.brain.data > 0)
        return Volume(_fixed(rest.astype(np.float32)), self.t1.affine)

    @property
    def brain_volume(self) -> Volume:
        """The brain mask as a scan of 0 and 1, for what interpolates."""
        return Volume(self.brain.data, self.brain.affine)

    @cached_property
    def tissue(self) -> LabelMap:
        """The largest of the three fractions inside the brain mask: 1 CSF, 2 gray matter, 3 white matter, 0 outside."""
        largest = np.argmax([self.csf.data, self.gray.data, self.white.data], axis=0).astype(np.uint8) + np.uint8(CSF)
        return LabelMap(_fixed(largest * self.brain.data), self.t1.affine)


@lru_cache(maxsize=1)
def load_atlas() -> Atlas:
    """The bundled atlas, read once per process; its arrays are shared and therefore read-only.

    :raises MissingResource: if its files are missing or damaged.
    """
    t1 = _read_template("mni152_t1.nii.gz", scale=1.0)
    gray, white = (_read_template(f"mni152_{name}.nii.gz", scale=1 / 255) for name in ("gray", "white"))
    brain = LabelMap(_fixed((t1.data > 0).astype(np.uint8)), t1.affine)
    return Atlas(t1, gray, white, brain)


def _read_template(name: str, scale: float) -> Volume:
    import nibabel

    image = nibabel.load(resource("Atlas", name))
    return Volume(_fixed(np.asarray(image.dataobj, dtype=np.float32) * np.float32(scale)), image.affine)


def _fixed(array: np.ndarray) -> np.ndarray:
    array.flags.writeable = False
    return array
