"""From what lies on a hospital's disk to a list of cases: folders named as in BraTS, a CSV manifest, DICOM studies."""
