"""Data flows one way: a room of the library knows only the rooms before it; heavy packages stay in their homes."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[4]
LIBRARY = ROOT / "TumorRetrievalLib"

COMMON = {"errors", "resources"}
"""Files of the library itself that every room may use."""

MAY_IMPORT = {
    "resources": {"imaging"},  # whose room asks it for nothing
    "imaging": set(),
    "cohort": {"imaging"},
    "registration": {"imaging"},
    "synthesis": {"imaging", "cohort", "registration"},
    "networks": {"imaging", "cohort"},
    "training": {"imaging", "cohort", "registration", "synthesis", "networks"},
    "retrieval": {"imaging", "cohort", "networks"},
    "growth": {"imaging", "cohort", "registration", "networks"},
    "scene": {"imaging"},
    "report": {"imaging", "cohort", "registration", "retrieval", "growth"},
}
MAY_IMPORT["engine"] = set(MAY_IMPORT)
MAY_IMPORT["evaluation"] = set(MAY_IMPORT)  # it measures what a user gets, so it stands behind the engine
MAY_IMPORT["worker"] = set(MAY_IMPORT) - {"evaluation"}
MAY_IMPORT["commands"] = set(MAY_IMPORT)
MAY_IMPORT["cli"] = set(MAY_IMPORT)

HOMES = {
    "torch": (
        *("networks/", "training/", "synthesis/", "growth/", "retrieval/embedder.py"),
        *("engine/doctor.py", "engine/processes.py"),  # they ask for devices and set the threads of processes
    ),
    "faiss": (
        *("retrieval/", "growth/latent_search"),
        *("engine/processes.py", "worker/tasks.py"),  # they import it before torch
    ),
    "dask": ("engine/cluster.py",),
    "qdrant_client": ("retrieval/qdrant_", "retrieval/open_index.py"),
    "slicer": ("scene/",),
    "vtk": ("scene/",),
    "qt": (),
    "ctk": (),
}
"""Package -> the only places of the library that import it."""

LIGHT_ROOMS = (
    "imaging", "cohort", "registration", "retrieval", "report", "engine", "worker", "commands", "cli",
)  # fmt: skip
"""Rooms whose files import heavy packages only where they use them: 3D Slicer's own process loads most of them."""

FOR_THE_WORKER = (
    "retrieval/embedder.py", "engine/", "worker/engine_tasks.py", "worker/growth_task.py", "worker/index_tasks.py",
)  # fmt: skip
"""Parts of these that read tumors with a network, and so load PyTorch: only a process of their own imports them."""

FOR_SLICER_ALL_THE_SAME = ("engine/doctor.py", "engine/__init__.py")

HEAVY = {
    "PIL", "SimpleITK", "contourpy", "faiss", "highdicom", "jinja2", "matplotlib", "monai", "nibabel", "numba",
    "pydicom", "sklearn", "torch",
}  # fmt: skip

NETWORK = {
    "aiohttp", "ftplib", "http", "httpx", "requests", "smtplib", "socket", "ssl", "urllib", "urllib3",
}  # fmt: skip

TALKS_TO_NOBODY = {
    "retrieval/store.py": {"urllib.parse.quote"},  # escapes a path
    "retrieval/writer_lock.py": {"socket"},  # asks for this computer's name
}


def library_files() -> list[Path]:
    return sorted(LIBRARY.rglob("*.py"))


def name_of(path: Path) -> str:
    return path.relative_to(LIBRARY).as_posix()


def room_of(path: Path) -> str:
    return path.relative_to(LIBRARY).parts[0].removesuffix(".py")


def imports_of(path: Path, *, at_the_top_only: bool = False) -> set[str]:
    """Full names of what a file imports; at the top means: whenever the file itself is imported."""
    found = set()

    def visit(node: ast.AST) -> None:
        for child in ast.iter_child_nodes(node):
            if at_the_top_only and isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
                continue
            if isinstance(child, ast.Import):
                found.update(alias.name for alias in child.names)
            elif isinstance(child, ast.ImportFrom):
                assert child.level == 0, f"{path} uses a relative import, which hides its direction"
                found.update(f"{child.module}.{alias.name}" for alias in child.names)
            visit(child)

    visit(ast.parse(path.read_text(encoding="utf-8")))
    return found


@pytest.mark.parametrize("path", library_files(), ids=name_of)
def test_a_room_imports_only_the_rooms_before_it(path):
    room = room_of(path)
    imported = {name.split(".")[1] for name in imports_of(path) if name.startswith("TumorRetrievalLib.")}
    rooms = {name for name in imported if (LIBRARY / name).is_dir() or (LIBRARY / f"{name}.py").is_file()} - {room}

    assert rooms <= MAY_IMPORT.get(room, set()) | COMMON


def test_every_room_has_its_rules():
    rooms = {room_of(path) for path in library_files()} - COMMON - {"__init__"}

    assert rooms <= set(MAY_IMPORT)


@pytest.mark.parametrize("path", library_files(), ids=name_of)
def test_a_heavy_package_is_imported_only_in_its_home(path):
    for package in {name.split(".")[0] for name in imports_of(path)} & set(HOMES):
        assert name_of(path).startswith(HOMES[package]) if HOMES[package] else False, package


@pytest.mark.parametrize("path", library_files(), ids=name_of)
def test_the_library_talks_to_no_network(path):
    imported = imports_of(path) - TALKS_TO_NOBODY.get(name_of(path), set())

    assert not {name for name in imported if name.split(".")[0] in NETWORK}


def light_files() -> list[Path]:
    loaded_when_used = {"retrieval/embedder.py", "retrieval/code_kernels.py"}
    return [path for path in library_files() if room_of(path) in LIGHT_ROOMS and name_of(path) not in loaded_when_used]


@pytest.mark.parametrize("path", light_files(), ids=name_of)
def test_a_file_of_a_light_room_imports_heavy_packages_only_inside_functions(path):
    assert not {name.split(".")[0] for name in imports_of(path, at_the_top_only=True)} & HEAVY


def test_loading_everything_that_slicer_loads_brings_in_nothing_heavy():
    files = [
        path
        for path in light_files()
        if not name_of(path).startswith(FOR_THE_WORKER) or name_of(path) in FOR_SLICER_ALL_THE_SAME
    ]
    modules = [".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__") for path in files]
    code = f"import importlib, sys\nfor name in {modules!r}: importlib.import_module(name)\nprint(*sys.modules)"

    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT).stdout

    assert not {name.split(".")[0] for name in loaded.split()} & HEAVY
