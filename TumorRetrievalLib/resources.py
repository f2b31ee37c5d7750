"""Finds the data that comes with the library: atlas, labels, models, index.

An installed package carries `Resources/` inside the library's folder; a checkout and the Slicer extension have it
beside that folder. Where a folder lists its files in SHA256SUMS, a file is handed out only if its sum is right.
"""

import hashlib
from functools import lru_cache
from pathlib import Path

from TumorRetrievalLib.errors import MissingResource

LIBRARY = Path(__file__).resolve().parent
CHECKSUMS = "SHA256SUMS"


def resource(*parts: str) -> Path:
    """The path of a bundled file or folder, for example `resource("Atlas", "mni152_t1.nii.gz")`.

    :raises MissingResource: if it is not there, or is not the file that was bundled.
    """
    places = [root / "Resources" for root in (LIBRARY, LIBRARY.parent)]
    for place in places:
        path = place.joinpath(*parts)
        if path.is_file():
            require_checksum(path)
            return path
        if path.is_dir():
            return path
    raise MissingResource(
        f"The bundled {'/'.join(parts)} is missing; looked in {' and '.join(str(place) for place in places)}. "
        f"Install the tool again."
    )


def require_checksum(path: Path) -> None:
    """Compares a file with the SHA256SUMS of its folder; a file that is not listed there passes.

    :raises MissingResource: if the sum is another one.
    """
    listing = path.with_name(CHECKSUMS)
    if path.name == CHECKSUMS or not listing.is_file():
        return
    expected = _listed_sums(listing, _stamp(listing)).get(path.name)
    if expected is not None and _sha256(path, _stamp(path)) != expected:
        raise MissingResource(
            f"The bundled file {path} is damaged or was changed (its SHA-256 is not the one in {listing.name}). "
            f"Install the tool again."
        )


def _stamp(path: Path) -> tuple[int, int]:
    """Changes whenever the file does, so that a sum is computed once per content and not once per call."""
    status = path.stat()
    return status.st_mtime_ns, status.st_size


@lru_cache(maxsize=32)
def _listed_sums(listing: Path, _stamp: tuple[int, int]) -> dict[str, str]:
    lines = (line.split(maxsplit=1) for line in listing.read_text(encoding="utf-8").splitlines() if line.strip())
    return {name.strip().lstrip("*"): digest for digest, name in lines}


@lru_cache(maxsize=256)
def _sha256(path: Path, _stamp: tuple[int, int]) -> str:
    digest = hashlib.sha256()
    with open(path, "rb") as stream:
        for block in iter(lambda: stream.read(1 << 20), b""):
            digest.update(block)
    return digest.hexdigest()
