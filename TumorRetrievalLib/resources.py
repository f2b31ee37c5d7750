"""Finds the data that comes with the library: atlas, labels, models, index.

An installed package carries `Resources/` inside the library's folder; a checkout and the Slicer extension have it
beside that folder. Every folder in it lists its files with their SHA-256 in SHA256SUMS, and a file is handed out only
if it is listed there and is what was listed.
"""

import re
from functools import lru_cache
from pathlib import Path

from TumorRetrievalLib.errors import MissingResource
from TumorRetrievalLib.imaging.atomic import file_state, sha256_of

LIBRARY = Path(__file__).resolve().parent
CHECKSUMS = "SHA256SUMS"
WAY_OUT = "Install the tool again; in a checkout, restore the file."

_LINE = re.compile(r"([0-9a-f]{64})  ([^\s/\\]+)\n")


def resource(*parts: str) -> Path:
    """The path of a bundled file or folder, for example `resource("Atlas", "mni152_t1.nii.gz")`.

    :raises MissingResource: if it is not there, or it, or a file of the folder, is not what was bundled.
    """
    for place in _places():
        path = place.joinpath(*parts)
        if path.is_dir():
            for name in listed_files(path):
                require_checksum(path / name)
            return path
        if path.is_file():
            require_checksum(path)
            return path
    searched = " and ".join(str(place) for place in _places())
    raise MissingResource(f"The bundled {'/'.join(parts)} is missing; looked in {searched}. {WAY_OUT}")


def is_bundled(*parts: str) -> bool:
    """Whether a file or folder came with the library at all; whether it is intact, only :func:`resource` says."""
    return any(place.joinpath(*parts).exists() for place in _places())


def bundled_folder() -> Path | None:
    """The folder of all bundled data that is in use; None if there is none."""
    return next((place for place in _places() if place.is_dir()), None)


def is_bundled_index(folder: Path | str) -> bool:
    """Whether a folder is the index of synthetic cases that comes with the library, by whatever path it is named."""
    bundled = bundled_folder()
    return bundled is not None and Path(folder).resolve() == (bundled / "Index").resolve()


def listed_files(folder: Path) -> list[str]:
    """The names of the files that were bundled in a folder.

    :raises MissingResource: if there is no such list, or it is damaged.
    """
    return list(_sums_of(folder))


def require_checksum(path: Path) -> None:
    """Compares a bundled file with the list of its folder; the list itself is only looked at for its form.

    :raises MissingResource: if it is missing, is not listed, or has another SHA-256.
    """
    expected = _sums_of(path.parent)
    if path.name == CHECKSUMS:
        return
    if not path.is_file():
        raise MissingResource(f"The bundled file {path} is missing. {WAY_OUT}")
    if path.name not in expected:
        raise MissingResource(f"The file {path} was not bundled: {CHECKSUMS} beside it does not list it. {WAY_OUT}")
    if _sha256(path, file_state(path)) != expected[path.name]:
        raise MissingResource(
            f"The bundled file {path} is damaged or was changed (its SHA-256 is not the one in {CHECKSUMS}). {WAY_OUT}"
        )


def _places() -> list[Path]:
    return [root / "Resources" for root in (LIBRARY, LIBRARY.parent)]


def _sums_of(folder: Path) -> dict[str, str]:
    """Name -> SHA-256 of every file that was bundled in a folder."""
    listing = folder / CHECKSUMS
    if not listing.is_file():
        raise MissingResource(f"The list of bundled files {listing} is missing. {WAY_OUT}")
    return _parsed(listing, file_state(listing))


# Once per content and not once per call.
@lru_cache(maxsize=32)
def _parsed(listing: Path, _state: tuple) -> dict[str, str]:
    text = listing.read_bytes().decode("utf-8", errors="replace")
    if not re.fullmatch(f"({_LINE.pattern})+", text):
        raise MissingResource(f"The list of bundled files {listing} is damaged. {WAY_OUT}")
    return {name: digest for digest, name in _LINE.findall(text)}


@lru_cache(maxsize=256)
def _sha256(path: Path, _state: tuple) -> str:
    return sha256_of(path)
