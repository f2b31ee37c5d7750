import contextlib
import errno
import hashlib
import os
import stat
import subprocess
import sys
import textwrap

import pytest

from TumorRetrievalLib.errors import CannotWrite, UnreadableFile
from TumorRetrievalLib.imaging import atomic
from TumorRetrievalLib.imaging.atomic import atomic_file, sha256_of


def test_the_file_appears_with_its_whole_content_only_at_the_end(tmp_path):
    path = tmp_path / "result.json"

    with atomic_file(path) as temporary:
        temporary.write_text("half")
        assert not path.exists()
        temporary.write_text("whole")

    assert path.read_text() == "whole"
    assert [entry.name for entry in tmp_path.iterdir()] == ["result.json"]


def test_the_temporary_file_lies_in_the_same_folder_and_keeps_the_suffixes(tmp_path):
    with atomic_file(tmp_path / "scan.nii.gz") as temporary:
        assert temporary.parent == tmp_path
        assert temporary.name.endswith("scan.nii.gz")


@pytest.mark.parametrize("failure", [RuntimeError, KeyboardInterrupt])
def test_a_failure_or_an_interruption_while_writing_leaves_the_old_file_and_nothing_else(tmp_path, failure):
    path = tmp_path / "index.json"
    path.write_text("old")

    with contextlib.suppress(failure), atomic_file(path) as temporary:
        temporary.write_text("ne")
        raise failure

    assert path.read_text() == "old"
    assert [entry.name for entry in tmp_path.iterdir()] == ["index.json"]


@pytest.mark.parametrize(
    ("number", "says"),
    [(errno.ENOSPC, "disk is full"), (errno.EACCES, "no permission"), (errno.EROFS, "read-only"), (errno.EIO, "error")],
)
def test_what_the_system_refuses_is_said_in_words_and_leaves_the_old_file(tmp_path, monkeypatch, number, says):
    path = tmp_path / "index.json"
    path.write_text("old")

    def refuse(*_):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(atomic.os, "fsync", refuse)
    with pytest.raises(CannotWrite, match=f"index.json cannot be written.*{says}"), atomic_file(path) as temporary:
        temporary.write_text("new")

    assert path.read_text() == "old"
    assert [entry.name for entry in tmp_path.iterdir()] == ["index.json"]


def test_the_content_is_on_the_disk_before_the_file_gets_its_name(tmp_path, monkeypatch):
    steps = []
    monkeypatch.setattr(atomic.os, "fsync", lambda _: steps.append("flush"))
    real_replace = os.replace
    monkeypatch.setattr(atomic.os, "replace", lambda *names: (steps.append("rename"), real_replace(*names)))

    with atomic_file(tmp_path / "a"):
        pass

    assert steps[:2] == ["flush", "rename"]


def test_a_missing_folder_and_a_folder_in_the_way_are_named(tmp_path):
    (tmp_path / "taken").mkdir()

    with pytest.raises(CannotWrite, match="folder does not exist"), atomic_file(tmp_path / "no" / "file"):
        pass
    with pytest.raises(CannotWrite, match="taken"), atomic_file(tmp_path / "taken"):
        pass

    assert [entry.name for entry in tmp_path.iterdir()] == ["taken"]


@pytest.mark.skipif(sys.platform != "linux", reason="rlimits and user ids as on Linux")
@pytest.mark.parametrize("obstacle", ["full disk", "no permission"])
def test_a_real_refusal_of_the_system_leaves_no_part_of_a_scan(tmp_path, obstacle):
    # A file size limit acts like a full disk in the middle of a file. Root may write anywhere, so the child gives
    # that up before it tries.
    script = f"""
        import os, resource, sys
        import numpy as np
        import nibabel.nifti1
        from TumorRetrievalLib.errors import CannotWrite
        from TumorRetrievalLib.imaging.files import write_volume
        from TumorRetrievalLib.imaging.volume import Volume
        volume = Volume(np.random.default_rng(0).random((50, 50, 50), np.float32), np.eye(4))
        if {obstacle == "full disk"}:
            resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
        elif os.getuid() == 0:
            os.setgroups([]); os.setgid(65534); os.setuid(65534)
        try:
            write_volume(sys.argv[1], volume)
        except CannotWrite as error:
            print(error)
    """
    folder = tmp_path / "out"
    folder.mkdir()
    for parent in (folder, *folder.parents[:3]):
        with contextlib.suppress(OSError):
            parent.chmod(stat.S_IMODE(parent.stat().st_mode) | 0o011)  # so that nobody can at least look inside
    folder.chmod(0o555 if obstacle == "no permission" else 0o755)

    run = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script), str(folder / "scan.nii.gz")], capture_output=True, text=True
    )

    assert run.returncode == 0, run.stderr
    assert "scan.nii.gz cannot be written" in run.stdout
    assert list(folder.iterdir()) == []


def test_a_checksum_is_that_of_the_whole_file_and_a_missing_file_is_named(tmp_path):
    path = tmp_path / "weights"
    path.write_bytes(b"x" * 3_000_000)

    assert sha256_of(path) == hashlib.sha256(b"x" * 3_000_000).hexdigest()
    with pytest.raises(UnreadableFile, match="absent"):
        sha256_of(tmp_path / "absent")
