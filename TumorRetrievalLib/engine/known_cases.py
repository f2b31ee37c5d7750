"""The scans behind the index: read from their files, or, for synthetic cases, made again from their seeds."""

import contextlib
import os
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from TumorRetrievalLib.cohort.case import Case, SyntheticRecipe
from TumorRetrievalLib.cohort.foci import masks_of
from TumorRetrievalLib.errors import CannotWrite, InvalidImage, TumorRetrievalError, UnreadableFile
from TumorRetrievalLib.imaging.arrays import read_arrays
from TumorRetrievalLib.imaging.atomic import atomic_file
from TumorRetrievalLib.imaging.files import read_labels, read_volume
from TumorRetrievalLib.imaging.volume import LabelMap, Volume

SYNTHESIS_VERSION = 1
"""Part of a cached scan's name. Raise it whenever a seed would make another scan."""
CACHE_LIMIT_BYTES = 1_000_000_000


@dataclass(frozen=True, eq=False)
class KnownCase:
    """The images of a case in the index, all in one world space.

    :param t1c: None where it cannot be shown; the provenance then says why.
    :param flair: :param core: :param whole: None where the case has none.
    :param provenance: where the case is from, and who drew its outlines if no person did; begins with "synthetic" if it
        was not scanned.
    """

    t1c: Volume | None
    flair: Volume | None
    core: LabelMap | None
    whole: LabelMap | None
    provenance: str


def load_known_case(case: Case) -> KnownCase:
    """The images of a case: from its files, or made again from its recipe (at most two seconds) or the cache.

    :raises UnreadableFile: if a file is damaged or the archive has moved.
    :raises InvalidImage: if a file is no longer what it was.
    """
    if case.recipe is not None:
        return _synthetic_case(case.recipe, case.provenance)
    if case.t1c is None:
        raise UnreadableFile(f"The case {case.id} holds labels only: it has no scan to show.")
    for path in (case.t1c, case.flair, case.mask):
        if path is not None and not path.exists():
            raise UnreadableFile(
                f"The case {case.id} cannot be shown: there is no {path}. If its archive has moved, say where it is "
                f"now: tumor-retrieval index relocate INDEX FOLDER"
            )
    core, whole = (None, None) if case.mask is None else masks_of(read_labels(case.mask), case.mask_labels)
    flair = None if case.flair is None else read_volume(case.flair)
    return KnownCase(read_volume(case.t1c), flair, core, whole, _provenance(case))


def load_if_possible(case: Case) -> KnownCase:
    """The images of a case, or none of them and the reason: a case is similar whether or not its scan is at hand."""
    try:
        return load_known_case(case)
    except (UnreadableFile, InvalidImage) as error:
        said = _provenance(case)
        return KnownCase(None, None, None, None, f"{said}; {error}" if said else str(error))


def forget_cached(case: Case) -> None:
    """Remove what the cache holds of a case.

    :raises CannotWrite: if that is not possible.
    """
    if case.recipe is not None:
        path = _cached_path(case.recipe)
        try:
            path.unlink(missing_ok=True)
        except OSError as error:
            raise CannotWrite(f"{path} cannot be removed: {error.strerror or error}. Remove it.") from error


def _provenance(case: Case) -> str:
    drawn = "outlined by the network, not by a person" if case.mask_origin == "network" else ""
    return "; ".join(part for part in (case.provenance, drawn) if part)


def _synthetic_case(recipe: SyntheticRecipe, provenance: str) -> KnownCase:
    path = _cached_path(recipe)
    cached = _read_cached(path, provenance)
    if cached is not None:
        return cached
    from TumorRetrievalLib.synthesis.scan import synthesize

    scan = synthesize(recipe.seed, recipe.tumor_type, recipe.lesion_count)
    case = KnownCase(scan.t1c, scan.flair, scan.core, scan.whole, provenance)
    _keep(path, case)
    return case


def _cached_path(recipe: SyntheticRecipe) -> Path:
    name = f"v{SYNTHESIS_VERSION}-{recipe.seed}-{recipe.tumor_type.replace(' ', '-')}-{recipe.lesion_count}.npz"
    return cache_folder() / name


def in_parallel(loaders: list) -> list[KnownCase]:
    """Call several loaders side by side: most of their time is spent in code that releases Python's lock."""
    with ThreadPoolExecutor(max_workers=min(4, os.cpu_count() or 1)) as pool:
        return list(pool.map(lambda load: load(), loaders))


def cache_folder() -> Path:
    """Where scans that were made again are kept: TUMOR_RETRIEVAL_CACHE, or the user's cache folder."""
    chosen = os.environ.get("TUMOR_RETRIEVAL_CACHE")
    if chosen:
        return Path(chosen)
    if sys.platform == "win32":
        base = Path(os.environ.get("LOCALAPPDATA", Path.home() / "AppData" / "Local"))
    elif sys.platform == "darwin":
        base = Path.home() / "Library" / "Caches"
    else:
        base = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache"))
    return base / "tumor-retrieval" / "cases"


def _read_cached(path: Path, provenance: str) -> KnownCase | None:
    """A cached case; None if it is not there or not whole (it will be made again)."""
    try:
        stored = read_arrays(path, "It will be made again.")
        affine = stored["affine"]
        t1c, flair = (Volume(stored[name].astype(np.float32) / 8192, affine) for name in ("t1c", "flair"))
        core, whole = (LabelMap(stored["masks"] >> bit & 1, affine) for bit in (0, 1))
    except (ValueError, KeyError, TypeError, TumorRetrievalError):
        return None
    # Another process may have made room of it, and a cache that belongs to somebody else can only be read.
    with contextlib.suppress(OSError):
        os.utime(path)
    return KnownCase(t1c, flair, core, whole, provenance)


def _keep(path: Path, case: KnownCase) -> None:
    """Cache a case; a full or read-only disk only costs the next call its second."""
    scans = {
        name: np.clip(np.round(volume.data * 8192), 0, 65535).astype(np.uint16)
        for name, volume in (("t1c", case.t1c), ("flair", case.flair))
    }
    masks = (case.core.data > 0).astype(np.uint8) | ((case.whole.data > 0).astype(np.uint8) << 1)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with atomic_file(path) as temporary, open(temporary, "wb") as file:
            np.savez(file, masks=masks, affine=case.t1c.affine, **scans)
        _make_room(path.parent)
    except (OSError, CannotWrite):
        return


def _make_room(folder: Path) -> None:
    """Remove the cases that were not used for longest while the cache is above its limit."""
    files = sorted(folder.glob("v*.npz"), key=lambda file: file.stat().st_mtime, reverse=True)
    total = 0
    for file in files:
        total += file.stat().st_size
        if total > CACHE_LIMIT_BYTES:
            file.unlink(missing_ok=True)
