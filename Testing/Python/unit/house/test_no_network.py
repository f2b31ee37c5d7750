"""Nothing is sent anywhere: the tool works with every way out of the process closed."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[4]

# Python reports every use of a socket to its audit hooks, which cannot be removed again. Through the environment the
# same holds in each process that the tool starts. Asking for this computer's own name stays allowed.
CLOSED = """
import os, sys

def refuse(event, details):
    if event.startswith("socket.") and event not in ("socket.__new__", "socket.gethostname"):
        with open(os.environ["ATTEMPTS"], "a") as log:
            print(event, details, file=log)
        raise OSError(f"the network is closed: {event}")

sys.addaudithook(refuse)
"""

WHOLE_STORY = """
import importlib, pkgutil, sys
import TumorRetrievalLib

# The files of `scene` can be imported in 3D Slicer only; they import nothing but slicer and vtk.
for module in pkgutil.walk_packages(TumorRetrievalLib.__path__, "TumorRetrievalLib."):
    if ".scene" not in module.name and not module.name.endswith("__main__"):
        importlib.import_module(module.name)

from TumorRetrievalLib.cli import app
app(["doctor"], standalone_mode=False)
app(sys.argv[1:], standalone_mode=False)
"""


@pytest.fixture
def closed(tmp_path):
    """A function that runs Python without a network: exit code, error output, and what was tried all the same."""
    folder = tmp_path / "closed"
    folder.mkdir()
    (folder / "sitecustomize.py").write_text(CLOSED, encoding="utf-8")
    attempts = tmp_path / "attempts.txt"
    paths = os.pathsep.join([str(folder), str(ROOT)])
    environment = {**os.environ, "PYTHONPATH": paths, "ATTEMPTS": str(attempts)}

    def run(*arguments) -> tuple[int, str, str]:
        command = [sys.executable, *map(str, arguments)]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, cwd=tmp_path)
        return done.returncode, done.stderr, attempts.read_text() if attempts.exists() else ""

    return run


@pytest.mark.parametrize(
    "code",
    [
        "import socket; socket.create_connection(('127.0.0.1', 9))",
        "import urllib.request; urllib.request.urlopen('http://example.org')",
        "import socket; socket.socket(type=socket.SOCK_DGRAM).sendto(b'x', ('127.0.0.1', 9))",
        "import subprocess, sys; sys.exit(subprocess.call([sys.executable, '-c', 'import socket; "
        "socket.gethostbyname(chr(97))']))",
    ],
)
def test_a_program_that_wants_out_is_caught(closed, code):
    exit_code, _, attempts = closed("-c", code)

    assert exit_code != 0
    assert attempts.startswith("socket.")


def test_every_module_doctor_and_a_search_with_its_report_work_without_a_network(
    closed, sample, tiny_model, tiny_index, tmp_path
):
    box = ",".join(str(number) for number in [*sample["box"].center, *sample["box"].size])
    scans = (sample["t1c"], "--flair", sample["flair"], f"--box={box}", "-k", "2")
    tiny = ("--model", tiny_model, "--index", tiny_index)

    exit_code, errors, attempts = closed("-c", WHOLE_STORY, "find", *scans, *tiny, "--out", tmp_path / "result")

    assert attempts == ""
    assert exit_code == 0, errors
    assert (tmp_path / "result" / "report.html").exists()
