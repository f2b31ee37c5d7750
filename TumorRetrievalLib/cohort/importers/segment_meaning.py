"""What a segment of a DICOM segmentation is: a part of the tumor core, oedema, the whole tumor, or no tumor."""

import re

from TumorRetrievalLib.imaging.dicom_seg import Segment

_CODES = {
    ("NCIt", "C113842"): "core",  # enhancing lesion
    ("NCIt", "C81175"): "core",  # non-enhancing lesion
    ("SCT", "6574001"): "core", ("SRT", "M-54000"): "core",  # necrosis
    ("SCT", "228791009"): "core",  # gross tumor volume
    ("SCT", "79654002"): "oedema", ("SRT", "M-36300"): "oedema",  # oedema
}  # fmt: skip
_GENERIC = {
    *[("SCT", code) for code in ("108369006", "4147007", "52988006", "86049000", "372087000", "14799000")],
    *[("SRT", code) for code in ("M-80003", "M-8FFFF", "M-03000", "M-01000", "M-80006")],
}
"""Neoplasm, mass, lesion: the tumor, but not which part of it."""

_WORDS = (
    (r"non ?tumou?r|cavity|brain ?mask|brain$|ventricle|skull|normal|healthy|csf|vessel", "no tumor"),
    (r"whole ?tumou?r|\bwt\b|flair", "whole"),
    (r"o?edema|\bed\b|\bsnfh\b|infiltrat", "oedema"),
    (r"core|enhanc|necro|\bn?et\b|\bnetc\b|\btc\b|\bncr\b|\bgtv\b|gross tumou?r|cyst", "core"),
)


def meaning_of(segment: Segment) -> str | None:
    """What a segment is: "core", "oedema", "whole", "no tumor"; None if neither its code nor its name says so.

    A code goes before the name. "Neoplasm", "mass" and "lesion" name no part: then the name decides, and where it
    says nothing either, the tumor core is meant.
    """
    for code in sorted(segment.codes):
        if code in _CODES:
            return _CODES[code]
    words = re.sub(r"[_\-\s]+", " ", segment.label.lower()).strip()
    for pattern, meaning in _WORDS:
        if re.search(pattern, words):
            return meaning
    return "core" if segment.codes & _GENERIC or re.search(r"tumou?r|lesion|neoplasm", words) else None
