"""One writer at a time, and the others are told who it is."""

import errno
import os
import subprocess
import sys

import pytest

from TumorRetrievalLib.errors import CannotWrite, IndexBusy
from TumorRetrievalLib.retrieval.writer_lock import WriterLock


def test_the_second_writer_is_told_who_the_first_is(tmp_path):
    first = WriterLock(tmp_path / "writer.lock")

    with pytest.raises(IndexBusy, match=rf"written by process {os.getpid()} on .* since 20\d\d-"):
        WriterLock(tmp_path / "writer.lock")
    first.release()


def test_the_next_writer_may_write_when_the_first_is_done(tmp_path):
    for _ in range(3):
        lock = WriterLock(tmp_path / "writer.lock")
        lock.release()
        lock.release()


def test_a_killed_writer_leaves_no_lock(tmp_path):
    code = f"""
import sys, time
from pathlib import Path
from TumorRetrievalLib.retrieval.writer_lock import WriterLock
lock = WriterLock(Path({str(tmp_path / "writer.lock")!r}))
print("held", flush=True)
time.sleep(60)
"""
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as writer:
        assert writer.stdout.readline() == "held\n"
        with pytest.raises(IndexBusy, match=f"process {writer.pid} on"):
            WriterLock(tmp_path / "writer.lock")
        writer.kill()

    WriterLock(tmp_path / "writer.lock").release()


def test_a_lock_file_with_nonsense_in_it_does_not_hide_that_the_index_is_busy(tmp_path):
    path = tmp_path / "writer.lock"
    first = WriterLock(path)
    path.write_bytes(b"\xff[]")

    with pytest.raises(IndexBusy, match="written by another process"):
        WriterLock(path)
    first.release()


def test_a_read_only_folder_says_so(tmp_path, monkeypatch):
    def refuse(*_):
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    monkeypatch.setattr(os, "open", refuse)

    with pytest.raises(CannotWrite, match="Read-only file system"):
        WriterLock(tmp_path / "writer.lock")
