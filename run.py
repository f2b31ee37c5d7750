#!/usr/bin/env python3
"""Sets the project up and runs it, with nothing but Python: `python3 run.py demo | app | cli | test | bench`.

Needs only the standard library. The packages in constraints.txt go into `.venv` beside this file; what is already
there is kept, so a set-up that was interrupted goes on where it stopped, and a changed constraints.txt is followed.
"""

import sys

if sys.version_info < (3, 10):  # noqa: UP036 - the one line that an older Python has to reach
    sys.exit(f"TumorRetrieval needs Python 3.10 or newer; this is {sys.version.split()[0]} ({sys.executable}).")

import ctypes.util
import hashlib
import json
import os
import shutil
import subprocess
import time
import webbrowser
from pathlib import Path

ROOT = Path(__file__).resolve().parent
VENV = ROOT / ".venv"
PYTHON = VENV / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
PINS = ROOT / "constraints.txt"
STAMP = VENV / "constraints.sha256"
BENCHMARKS = ROOT / "Testing" / "Benchmarks"
DEMO = ROOT / "Resources" / "SampleCases" / "demo.json"

# Slicer's rings open windows and measure how long these keep a user waiting: nothing runs beside them.
RINGS = {"unit": ("-n", "2"), "data": ("-n", "2"), "scene": (), "gui": ()}
SLICER_LIBRARIES = {
    "EGL": "libegl1 libegl-mesa0",
    "GL": "libgl1 libgl1-mesa-dri libglx-mesa0",
    "xkbcommon": "libxkbcommon0",
    "fontconfig": "libfontconfig1 fonts-dejavu-core",
    "dbus-1": "libdbus-1-3",
}
"""What Slicer's views and Qt need of a Linux system: shared library -> Debian packages. pip cannot install these."""

USAGE = """usage: python3 run.py COMMAND

  demo                 find the cases most similar to a bundled sample scan, open the report, and save a picture of
                       the same search in the panel of the 3D Slicer extension
  app [SCAN]           the module of the 3D Slicer extension in a small window of its own: a stand-in, not 3D Slicer;
                       `app --screenshot FILE` saves a picture where there is no display
  cli ARGS...          the command tumor-retrieval; `cli --help` lists what it does
  test [ARGS...]       check the code with ruff and run the tests; ARGS go to pytest
  bench [NAMES...]     run the benchmarks, or only those named

The first call of any of them sets up .venv: several minutes, and at least 2 GB of disk (more where PyTorch comes with
CUDA)."""


def main(arguments: list[str]) -> int:
    """Run one command.

    :returns: the exit code for the shell.
    """
    commands = {"demo": demo, "app": app, "cli": cli, "test": test, "bench": bench}
    if not arguments or arguments[0] not in commands:
        asked_for_help = bool(arguments) and arguments[0] in ("-h", "--help", "help")
        print(USAGE, file=sys.stdout if asked_for_help else sys.stderr)
        return 0 if asked_for_help else 2
    set_up()
    return commands[arguments[0]](arguments[1:])


def set_up() -> None:
    """Make `.venv` hold what constraints.txt says, unless it does already.

    Nothing is ever deleted here: another program may be running from that environment at this moment.
    """
    wanted = hashlib.sha256(PINS.read_bytes()).hexdigest()
    if PYTHON.exists() and _stamp() == wanted:
        return
    if not _usable(PYTHON):
        _make_environment()
    if not _usable(PYTHON):
        sys.exit(
            f"{PYTHON} does not start, has no pip, or is older than Python 3.10. If no other program uses {VENV}, "
            f"delete that folder and call run.py again."
        )
    print(f"Installing the packages of constraints.txt into {VENV}; this takes several minutes, once.", file=sys.stderr)
    STAMP.unlink(missing_ok=True)
    started = time.monotonic()
    code = subprocess.call([PYTHON, "-m", "pip", "install", "--disable-pip-version-check", "-r", PINS])
    if code != 0:
        sys.exit(_why_pip_fails(code))
    STAMP.write_text(wanted, encoding="utf-8")
    print(f"Set up in {time.monotonic() - started:.0f} s.", file=sys.stderr)


def _stamp() -> str:
    """The checksum of the constraints.txt that the last finished set-up installed, or "" if there was none."""
    try:
        return STAMP.read_text(encoding="utf-8").strip()
    except OSError:
        return ""


def _usable(python: Path) -> bool:
    """Whether an environment's own interpreter starts, is new enough and has pip."""
    check = "import sys, pip; sys.exit(sys.version_info < (3, 10))"
    try:
        return subprocess.run([python, "-c", check], capture_output=True, check=False).returncode == 0
    except OSError:
        return False


def _make_environment() -> None:
    """A new `.venv`, or the rest of one whose making was interrupted."""
    print(f"Making the environment {VENV}.", file=sys.stderr)
    if subprocess.call([sys.executable, "-m", "venv", VENV]) != 0:
        sys.exit(
            f"{sys.executable} could not make a virtual environment in {VENV}. On Debian and Ubuntu install the "
            f"package python3-venv; otherwise look at the message above, and check that the folder can be written."
        )


def _why_pip_fails(code: int) -> str:
    free_gb = shutil.disk_usage(ROOT).free / 1e9
    return (
        f"\npip ended with code {code}; its reason is above. What it has installed so far is kept, and the next call "
        f"of run.py goes on from there.\n"
        f"  - No network, or a proxy: pip reads HTTPS_PROXY and its own pip.conf.\n"
        f"  - No network at all: run `pip download -r constraints.txt -d wheels` on a machine of this kind that has "
        f"one, bring the folder here, and set PIP_NO_INDEX=1 and PIP_FIND_LINKS=wheels.\n"
        f"  - No version found: this is Python {sys.version_info[0]}.{sys.version_info[1]}; 3.11 to 3.13 have every "
        f"package.\n"
        f"  - Disk: {free_gb:.1f} GB are free here."
    )


def _run(*arguments) -> int:
    """Run the environment's Python with the project importable, in the folder of the user."""
    # Not `pip install -e`: that would fetch a build backend, and would name this folder inside the environment.
    paths = [str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(paths)}
    try:
        return subprocess.call([PYTHON, *arguments], env=environment)
    except KeyboardInterrupt:  # the child has had the same Ctrl-C and has said what there was to say
        return 130


def cli(arguments: list[str]) -> int:
    """The command tumor-retrieval."""
    return _run("-m", "TumorRetrievalLib.cli", *arguments)


def app(arguments: list[str]) -> int:
    """The module of the 3D Slicer extension, in a stand-in for Slicer made for trying and testing it."""
    if not _have_slicer_libraries():
        print(
            f"The window needs these system libraries, which are missing: {', '.join(_missing_libraries())}.\n"
            f"On Debian or Ubuntu:  sudo apt-get install {' '.join(_slicer_packages())}",
            file=sys.stderr,
        )
        return 1
    return _run("-m", "Testing.SlicerHost", *arguments)


def demo(arguments: list[str]) -> int:
    """Find similar cases for the bundled sample scan and open the report."""
    if arguments:
        print("demo takes no arguments; `run.py cli find --help` says how to use a scan of your own.", file=sys.stderr)
        return 2
    sample = json.loads(DEMO.read_text(encoding="utf-8"))
    scans = [DEMO.parent / sample["t1c"], "--flair", DEMO.parent / sample["flair"]]
    out = ROOT / "demo_result"
    code = cli(["find", *scans, *(f"--box={box}" for box in sample["boxes"]), "-k", "5", "--out", out])
    if code == 0:
        _take_picture_of_panel(sample, out / "panel.png")
    if code == 0 and _has_a_screen():
        webbrowser.open((out / "report.html").as_uri())
    return code


def _take_picture_of_panel(sample: dict, picture: Path) -> None:
    """The same search in the panel of the 3D Slicer extension, where the system can draw its views."""
    if sys.platform.startswith("linux") and _missing_libraries():
        print(f"No picture of the panel: {', '.join(_missing_libraries())} are missing (see `app`).", file=sys.stderr)
        return
    scans = [DEMO.parent / sample["t1c"], picture, "--flair", DEMO.parent / sample["flair"]]
    _run("-m", "Testing.panel_picture", *scans, *(f"--box={box}" for box in sample["boxes"]))


def _has_a_screen() -> bool:
    """Without one, `webbrowser` may start a text browser that waits for keys."""
    if sys.platform.startswith("linux") and not (os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")):
        return False
    return sys.stdout.isatty()


def test(arguments: list[str]) -> int:
    """Ruff, then pytest; the first failure decides the exit code, but everything always runs.

    Each ring has a process of its own: PyTorch, Slicer's scene and Qt do not meet in one anywhere else either.
    """
    # Two processes with two threads each would spend their time waiting for each other.
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    codes = [_run("-m", "ruff", "check", ROOT)]
    rings = [arguments] if arguments else [[*options, ROOT / "Testing" / "Python" / r] for r, options in RINGS.items()]
    if not _have_slicer_libraries():
        left_out = _without_slicer()
        rings = [ring for ring in rings if ring[-1] not in left_out]
    for ring in rings:
        codes.append(_run("-m", "pytest", "--rootdir", ROOT, "-c", ROOT / "pyproject.toml", *ring))
    return next((code for code in codes if code), 0)


def _have_slicer_libraries() -> bool:
    """Whether the system has what Slicer's views need; on Debian and Ubuntu root gets it installed."""
    if not sys.platform.startswith("linux") or not _missing_libraries():
        return True
    if os.geteuid() == 0 and shutil.which("apt-get"):
        print("Installing the system libraries that the tests of Slicer's views need.", file=sys.stderr)
        quiet = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
        subprocess.call(["apt-get", "update", "-qq"], env=quiet)
        subprocess.call(["apt-get", "install", "-y", "-qq", "--no-install-recommends", *_slicer_packages()], env=quiet)
    return not _missing_libraries()


def _missing_libraries() -> list[str]:
    return [name for name in SLICER_LIBRARIES if ctypes.util.find_library(name) is None]


def _slicer_packages() -> list[str]:
    return [package for packages in SLICER_LIBRARIES.values() for package in packages.split()]


def _without_slicer() -> list[Path]:
    """The rings that need those libraries; that they are left out is said loudly."""
    missing, packages = ", ".join(_missing_libraries()), " ".join(_slicer_packages())
    print(
        f"\nLEFT OUT: all tests of Slicer's scene and panels, because these system libraries are missing: {missing}.\n"
        f"On Debian or Ubuntu:  sudo apt-get install {packages}\n",
        file=sys.stderr,
    )
    return [ROOT / "Testing" / "Python" / ring for ring in ("scene", "gui")]


def bench(names: list[str]) -> int:
    """Run the benchmarks one after the other: every file of Testing/Benchmarks that starts with `bench_`."""
    known = {path.stem.removeprefix("bench_"): path for path in sorted(BENCHMARKS.glob("bench_*.py"))}
    unknown = [name for name in names if name not in known]
    if unknown:
        print(f"No benchmark is called {', '.join(unknown)}; there are: {', '.join(known)}.", file=sys.stderr)
        return 2
    codes = [_run(known[name]) for name in names or known]
    return next((code for code in codes if code), 0)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
