"""Makes the sample case of `run.py demo`: a synthetic glioma patient whom neither training nor the index has seen.

Run from the project's folder: .venv/bin/python Resources/SampleCases/make_sample.py
"""

import hashlib
import json
import sys
from pathlib import Path

import numpy as np

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parents[1]))

SEED, TUMOR_TYPE = 7, "glioma"
LEVELS = 255 / 3.0
"""Gray levels per unit of white-matter intensity: bytes keep the sample small."""


def main() -> None:
    """Write the two scans, and where the box is."""
    import nibabel

    from TumorRetrievalLib.synthesis.scan import synthesize

    scan = synthesize(SEED, TUMOR_TYPE)
    for name, volume in (("t1c", scan.t1c), ("flair", scan.flair)):
        levels = np.clip(np.round(volume.data * LEVELS), 0, 255).astype(np.uint8)
        image = nibabel.Nifti1Image(levels, volume.affine)
        image.set_sform(volume.affine, code=1)
        image.set_qform(volume.affine, code=1)
        nibabel.save(image, HERE / f"sample_{name}.nii.gz")
    scans = sorted(HERE.glob("sample_*.nii.gz"))
    sums = "".join(f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path.name}\n" for path in scans)
    (HERE / "SHA256SUMS").write_text(sums, encoding="utf-8")
    box = scan.tumors[0].box
    drawn = [round(float(number), 1) for number in (*box.center, *(box.size + 2))]
    facts = {
        "about": "A synthetic patient, made from the MNI152 atlas (make_sample.py); no person was scanned.",
        "t1c": "sample_t1c.nii.gz",
        "flair": "sample_flair.nii.gz",
        "boxes": [",".join(map(str, drawn))],
    }
    (HERE / "demo.json").write_text(json.dumps(facts, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
