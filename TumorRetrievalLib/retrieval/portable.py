"""An index as one file, to be carried elsewhere: written by us, and read as if by somebody who means harm.

The file is a ZIP archive without compression, so a few kilobytes can never become gigabytes. Its first member,
`contents.json`, names every other one with its size and SHA-256. There are no scans in it, no salt, and no path but
those within an archive.
"""

import json
import re
import secrets
import shutil
import stat
import zipfile
from pathlib import Path

from TumorRetrievalLib.errors import CannotWrite, UnreadableFile
from TumorRetrievalLib.imaging.atomic import atomic_file, sha256_of
from TumorRetrievalLib.retrieval.archive_paths import stored_root
from TumorRetrievalLib.retrieval.case_index import CaseIndex
from TumorRetrievalLib.retrieval.index_manifest import LOCK, MANIFEST
from TumorRetrievalLib.retrieval.numpy_search import NumpySearch
from TumorRetrievalLib.retrieval.verification import verify_index

_CONTENTS = "contents.json"
_KIND = "TumorRetrieval index export"
_VERSION = 1
_MEMBER = re.compile(r"manifest\.json|cases-\d{1,9}\.sqlite|vectors-\d{1,9}\.npy|masks/[0-9a-f]{64}\.nii\.gz")
_MOST_MEMBERS = 10_000_000
_LARGEST_CONTENTS = 1_000_000_000
_CHUNK = 1 << 20


def export_index(folder: Path, file: Path) -> dict:
    """Write an index into one file, whole or not at all. The index stays as it is.

    :param file: replaced if it is there.
    :returns: `cases`, `tumors`, `bytes`.
    :raises UnreadableFile: :raises IndexDamaged: if there is no index, or it is damaged.
    :raises CannotWrite: if the disk is full or read-only.
    """
    folder, file = Path(folder), Path(file)
    # A copy beside the file: written like any index, and then nothing in it points to where it came from.
    copy = _new_folder_beside(file)
    try:
        with CaseIndex.open(folder, search=NumpySearch) as index:
            stats = index.stats()
            index.snapshot(copy)
        with CaseIndex.open(copy, writable=True, search=NumpySearch) as index:
            index.move_roots(dict.fromkeys(index.roots(), stored_root(copy, copy)))
        verify_index(copy)
        _pack(copy, file)
    finally:
        shutil.rmtree(copy, ignore_errors=True)
    return {"cases": stats["cases"], "tumors": stats["tumors"], "bytes": file.stat().st_size}


def import_index(file: Path, folder: Path) -> dict:
    """Make an index of an exported file. Everything is checked before anything is put in place.

    :param folder: where it will be; must not hold anything.
    :returns: the index's stats.
    :raises UnreadableFile: if the file is none of ours, is damaged, or holds what it must not.
    :raises IndexDamaged: if the index in it contradicts itself.
    :raises CannotWrite: if the folder holds something already, or the disk is full.
    """
    file, folder = Path(file), Path(folder)
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise CannotWrite(f"{folder} is there and not empty. Choose another folder for the imported index.")
    fresh = _new_folder_beside(folder)
    try:
        _unpack(file, fresh)
        verify_index(fresh, every_record=True)
        with CaseIndex.open(fresh, search=NumpySearch) as index:
            stats = index.stats()
        _put_in_place(fresh, folder)
    finally:
        shutil.rmtree(fresh, ignore_errors=True)
    return stats


def _new_folder_beside(place: Path) -> Path:
    fresh = place.absolute().with_name(f".tmp-{secrets.token_hex(4)}-index")
    try:
        fresh.mkdir(parents=True)
    except OSError as error:
        raise CannotWrite(f"{fresh.parent} cannot be written: {error.strerror or error}. Choose another.") from error
    return fresh


def _put_in_place(fresh: Path, folder: Path) -> None:
    try:
        if folder.exists():
            folder.rmdir()
        fresh.rename(folder)
    except OSError as error:
        raise CannotWrite(f"{folder} cannot be made: {error.strerror or error}. Choose another folder.") from error


def _pack(folder: Path, file: Path) -> None:
    names = sorted(
        path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file() and path.name != LOCK
    )
    members = [
        {"name": name, "bytes": (folder / name).stat().st_size, "sha256": sha256_of(folder / name)} for name in names
    ]
    contents = {"kind": _KIND, "version": _VERSION, "files": members}
    with atomic_file(file) as temporary, zipfile.ZipFile(temporary, "w", zipfile.ZIP_STORED) as archive:
        for name, data in [(_CONTENTS, json.dumps(contents).encode()), *((name, None) for name in names)]:
            # The time of packing is nobody's business, and without it the same index makes the same file.
            member = zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0))
            member.external_attr = (stat.S_IFREG | 0o644) << 16
            if data is not None:
                archive.writestr(member, data)
                continue
            member.file_size = (folder / name).stat().st_size
            with open(folder / name, "rb") as source, archive.open(member, "w") as target:
                shutil.copyfileobj(source, target, _CHUNK)


def _unpack(file: Path, folder: Path) -> None:
    try:
        with zipfile.ZipFile(file) as archive:
            expected = _checked_members(file, archive)
            for member in archive.infolist()[1:]:
                _extract(file, archive, member, folder, *expected[member.filename])
    except FileNotFoundError as error:
        raise UnreadableFile(f"{file} does not exist.") from error
    except (zipfile.BadZipFile, zipfile.LargeZipFile, EOFError, NotImplementedError, RuntimeError) as error:
        raise UnreadableFile(f"{file} is no exported index, or is damaged ({error}). Export it again.") from error
    except OSError as error:
        raise UnreadableFile(f"{file} cannot be read: {error.strerror or error}.") from error


def _checked_members(file: Path, archive: zipfile.ZipFile) -> dict[str, tuple[int, str]]:
    """What every member has to be: its size and SHA-256. Nothing has been unpacked before all names are known good."""
    members = archive.infolist()
    names = [member.filename for member in members]
    if not members or names[0] != _CONTENTS or len(members) > _MOST_MEMBERS or len(set(names)) < len(names):
        raise UnreadableFile(f"{file} is no exported index: it does not begin with {_CONTENTS}, or names a file twice.")
    if sum(member.file_size for member in members) > file.stat().st_size:
        raise UnreadableFile(f"{file} claims to hold more than its own size. It is damaged, or was made to do harm.")
    for member in members:
        kind = stat.S_IFMT(member.external_attr >> 16)
        plain = kind in (0, stat.S_IFREG) and member.compress_type == zipfile.ZIP_STORED and not member.flag_bits & 1
        # orig_filename is what the file says; zipfile cuts it at a null character.
        right_name = member.filename == member.orig_filename
        known = member.filename == _CONTENTS or _MEMBER.fullmatch(member.filename)
        if not (plain and right_name and known):
            raise UnreadableFile(f"{file} holds {member.orig_filename[:80]!r}, which no exported index does.")
    if members[0].file_size > _LARGEST_CONTENTS:
        raise UnreadableFile(f"{file} is no exported index: its {_CONTENTS} is too large.")
    try:
        contents = json.loads(archive.read(members[0]))
        kind, version = contents["kind"], contents["version"]
        expected = {str(one["name"]): (int(one["bytes"]), str(one["sha256"])) for one in contents["files"]}
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise UnreadableFile(f"{file}: its {_CONTENTS} cannot be understood ({error}). Export it again.") from error
    if kind != _KIND or version != _VERSION:
        raise UnreadableFile(f"{file} is of version {version!r} or of another kind; this version reads {_VERSION}.")
    if sorted(expected) != sorted(names[1:]) or MANIFEST not in expected:
        raise UnreadableFile(f"{file} does not hold the files that its {_CONTENTS} names. Export it again.")
    return expected


def _extract(
    file: Path, archive: zipfile.ZipFile, member: zipfile.ZipInfo, folder: Path, size: int, sha256: str
) -> None:
    target = folder / member.filename
    try:
        target.parent.mkdir(exist_ok=True)
        with archive.open(member) as source, open(target, "xb") as unpacked:
            shutil.copyfileobj(source, unpacked, _CHUNK)
    except OSError as error:
        raise CannotWrite(f"{target} cannot be written: {error.strerror or error}. Free some space.") from error
    if target.stat().st_size != size or sha256_of(target) != sha256:
        raise UnreadableFile(f"{file}: {member.filename} fails its checksum. Export or copy it again.")
