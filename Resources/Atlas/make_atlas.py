"""Makes the atlas of this folder from the copy of MNI152 that the PyPI package nilearn carries.

    python Resources/Atlas/make_atlas.py

It copies the 2009a nonlinear symmetric T1, gray matter and white matter templates (1 mm, uint8, skull-stripped) byte
for byte, after checking that they are what the library expects, and writes SHA256SUMS beside them. nilearn itself is
not needed to use the result, and is not imported here: only its files are read.
"""

import hashlib
import sys
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

import nibabel
import numpy as np

HERE = Path(__file__).resolve().parent
SOURCE = "nilearn/datasets/data/mni_icbm152_{}_tal_nlin_sym_09a_converted.nii.gz"
TARGETS = {"t1": "mni152_t1.nii.gz", "gm": "mni152_gray.nii.gz", "wm": "mni152_white.nii.gz"}
SHAPE = (197, 233, 189)
FIRST_VOXEL_RAS_MM = (-98, -134, -72)
KEPT_AS_IT_IS = ("LICENSE.txt",)


def main() -> None:
    """Copies, checks and sums up; ends with a message where nilearn is missing or carries something else."""
    try:
        nilearn = distribution("nilearn")
    except PackageNotFoundError:
        sys.exit("The templates come with nilearn. Install it for this one step: python -m pip install --no-deps nilearn")
    for name, target in TARGETS.items():
        source = Path(str(nilearn.locate_file(SOURCE.format(name))))
        if not source.is_file():
            sys.exit(f"nilearn {nilearn.version} does not carry {source.name}; versions 0.8 to 0.14 do.")
        check_template(source)
        (HERE / target).write_bytes(source.read_bytes())
    write_checksums([*TARGETS.values(), *KEPT_AS_IT_IS])
    print(f"Atlas from nilearn {nilearn.version} written to {HERE}")


def check_template(path: Path) -> None:
    """Ends the program unless the file is a 1 mm uint8 template that is the same on the left and on the right."""
    image = nibabel.load(path)
    expected = np.eye(4)
    expected[:3, 3] = FIRST_VOXEL_RAS_MM
    if image.shape != SHAPE or image.get_data_dtype() != np.uint8 or not np.array_equal(image.affine, expected):
        sys.exit(f"{path.name} is not the 1 mm uint8 template of shape {SHAPE} that the library expects.")
    data = np.asanyarray(image.dataobj)
    if not np.array_equal(data, data[::-1]):
        sys.exit(f"{path.name} is not symmetric about x = 0.")


def write_checksums(names: list[str]) -> None:
    """SHA256SUMS in the format of the command `sha256sum`."""
    lines = [f"{hashlib.sha256((HERE / name).read_bytes()).hexdigest()}  {name}\n" for name in sorted(names)]
    (HERE / "SHA256SUMS").write_text("".join(lines), encoding="ascii")


if __name__ == "__main__":
    main()
