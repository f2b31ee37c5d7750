"""Alignments as ITK transform files, which 3D Slicer, ANTs and SimpleITK read.

ITK speaks LPS: its x and y run to the patient's left and back. Points in these files do too; the library's own RAS ends
here.
"""

import numpy as np

from TumorRetrievalLib.imaging.atomic import atomic_file
from TumorRetrievalLib.imaging.volume import Grid
from TumorRetrievalLib.registration.alignment import AtlasAlignment
from TumorRetrievalLib.registration.deformable import DeformableAlignment

_FLIP = np.diag([-1.0, -1.0, 1.0, 1.0])


def write_transforms(
    alignment: AtlasAlignment | DeformableAlignment, *, patient_to_atlas: object, atlas_to_patient: object
) -> None:
    """Two files, each mapping points one way; an image is resampled with the file that maps the other way.

    :param patient_to_atlas: :param atlas_to_patient: paths ending in .h5.
    :raises CannotWrite: if the disk is full or there is no permission.
    """
    import SimpleITK

    affine = alignment.affine if isinstance(alignment, DeformableAlignment) else alignment
    forth, back = SimpleITK.CompositeTransform(3), SimpleITK.CompositeTransform(3)
    forth.AddTransform(_affine(affine.patient_to_atlas))
    back.AddTransform(_affine(affine.atlas_to_patient))
    if isinstance(alignment, DeformableAlignment):
        # ITK applies the transform that was added last first.
        forth = SimpleITK.CompositeTransform(
            [_field(alignment.from_straight, alignment.grid), _affine(affine.patient_to_atlas)]
        )
        back.AddTransform(_field(alignment.to_straight, alignment.grid))
    for path, transform in ((patient_to_atlas, forth), (atlas_to_patient, back)):
        with atomic_file(path) as temporary:
            SimpleITK.WriteTransform(transform, str(temporary))


def _affine(matrix: np.ndarray):
    import SimpleITK

    lps = _FLIP @ matrix @ _FLIP
    return SimpleITK.AffineTransform(lps[:3, :3].ravel().tolist(), lps[:3, 3].tolist())


def _field(field: np.ndarray, grid: Grid):
    import SimpleITK

    # The array is turned about so that ITK's index runs along LPS: first and second axis reversed, as are the vectors.
    vectors = (field[:, ::-1, ::-1, :] * np.array([-1, -1, 1], field.dtype)[:, None, None, None]).astype(np.float64)
    image = SimpleITK.GetImageFromArray(np.ascontiguousarray(vectors.transpose(3, 2, 1, 0)), isVector=True)
    last = grid.to_world(np.array(grid.shape) - 1)
    first = grid.to_world((0, 0, 0))
    image.SetSpacing(grid.spacing.tolist())
    image.SetOrigin((-last[0], -last[1], first[2]))
    return SimpleITK.DisplacementFieldTransform(image)
