"""De-identification: names become hashes with a secret of the hospital's own, and a record says what was done.

Nothing of a DICOM header is carried over but the geometry: voxels and their place are written into NIfTI files that
have no text in them. What the Basic Profile of DICOM PS3.15 (annex E) removes, replaces or empties is thereby gone,
including private attributes, overlays and dates. Faces stay in the voxels where the scan shows them.
"""

import hashlib
import hmac
import os
import re
import secrets
import stat
from pathlib import Path

from TumorRetrievalLib.errors import CannotWrite, UnreadableFile

_DIGITS = 16

METHOD = {
    "profile": "DICOM PS3.15 Basic Application Confidentiality Profile (113100)",
    "options_applied": [
        "113103 Clean Graphics: none are kept",
        "113104 Clean Structured Content: none is kept",
        "113105 Clean Descriptors: none are kept",
    ],
    "options_not_applied": [
        "113101 Clean Pixel Data: images with BurnedInAnnotation YES are refused instead",
        "113102 Clean Recognizable Visual Features: faces are not removed",
        "113106 Retain Longitudinal Temporal Information Full Dates",
        "113107 Retain Longitudinal Temporal Information Modified Dates",
        "113108 Retain Patient Characteristics",
        "113109 Retain Device Identity",
        "113110 Retain UIDs",
        "113111 Retain Safe Private",
        "113112 Retain Institution Identity",
    ],
    "names": f"HMAC-SHA256 with the hospital's own salt, first {_DIGITS} hexadecimal digits",
}
"""What is recorded beside every imported case."""


class Hasher:
    """Turns names into hashes that only whoever has the salt can make again.

    :param salt: see `load_salt`.
    """

    def __init__(self, salt: bytes):
        self._salt = salt

    def __call__(self, kind: str, name: str) -> str:
        """The hash of a name; the kind keeps a patient and a file of one name apart."""
        message = f"{kind}\n{name}".encode("utf-8", "surrogateescape")
        return hmac.new(self._salt, message, hashlib.sha256).hexdigest()[:_DIGITS]


def load_salt(path: Path) -> bytes:
    """The salt in a file that only its owner can read; made on the first call.

    Whoever has it can test whether a patient is in the index. Without it, the same studies get other names.

    :raises UnreadableFile: if it is damaged, or others can read it.
    :raises CannotWrite: if it cannot be made.
    """
    path = Path(path)
    try:
        descriptor = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
    except FileExistsError:
        return _read_salt(path)
    except OSError as error:
        raise CannotWrite(f"{path} cannot be written: {error.strerror or error}. Choose another folder.") from error
    salt = secrets.token_hex(32)
    with os.fdopen(descriptor, "w", encoding="ascii") as file:
        file.write(salt + "\n")
        file.flush()
        os.fsync(file.fileno())
    return bytes.fromhex(salt)


def _read_salt(path: Path) -> bytes:
    try:
        if os.name == "posix" and stat.S_IMODE(path.stat().st_mode) & 0o077:
            raise UnreadableFile(f"{path} holds a secret, and others may read it. Make it private: chmod 600.")
        text = path.read_bytes().decode("ascii", "replace").strip()
    except OSError as error:
        raise UnreadableFile(f"{path} cannot be read: {error.strerror or error}.") from error
    if not re.fullmatch(r"[0-9a-f]{64}", text):
        raise UnreadableFile(f"{path} holds no salt (64 hexadecimal digits). Restore it, or delete it to import anew.")
    return bytes.fromhex(text)
