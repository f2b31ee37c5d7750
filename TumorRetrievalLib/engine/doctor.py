"""What is installed, and whether it is what it should be."""

import importlib.metadata
import json
import os
import platform
import shutil
from pathlib import Path

from TumorRetrievalLib import __version__
from TumorRetrievalLib.errors import TumorRetrievalError
from TumorRetrievalLib.imaging.atomic import sha256_of
from TumorRetrievalLib.resources import CHECKSUMS, bundled_folder, listed_files, require_checksum

PACKAGES = (
    "contourpy",
    "faiss-cpu",
    "highdicom",
    "jinja2",
    "matplotlib",
    "monai",
    "nibabel",
    "numba",
    "numpy",
    "pillow",
    "pydicom",
    "rich",
    "safetensors",
    "scikit-learn",
    "scipy",
    "SimpleITK",
    "torch",
    "typer",
    "zstandard",
)
"""The distributions that the library imports, as pyproject.toml names them."""

REPLACEABLE = {"faiss-cpu"}
"""Packages that something else stands in for: NumPy does exact search where there is no wheel of faiss."""


def examine(*, probe_devices: bool = True) -> dict:
    """Look at everything that a query needs, without running one.

    :param probe_devices: ask PyTorch for GPUs; this imports it, which 3D Slicer's own process must not do.
    :returns: `ok`, `problems` (sentences), `version`, `python`, `platform`, `packages` (name -> version or None),
        `devices` (name -> what it is), `files` (bundled file -> "ok" or what is wrong), `models` and `indexes`
        (name -> facts and `state`), `free_disk_gb`.
    """
    packages = {name: _version_of(name) for name in PACKAGES}
    files, models, indexes = _bundled_files(), _models(), _indexes()
    missing = [name for name, version in packages.items() if version is None and name not in REPLACEABLE]
    problems = [f"The package {name} is not installed." for name in missing]
    problems += [f"{name}: {state}" for name, state in files.items() if state != "ok"]
    for kind, found in (("model", models), ("index", indexes)):
        problems += [f"The {kind} {name}: {facts['state']}" for name, facts in found.items() if facts["state"] != "ok"]
        if not found:
            problems.append(f"No {kind} is installed.")
    return {
        "ok": not problems,
        "problems": problems,
        "version": __version__,
        "python": platform.python_version(),
        "platform": platform.platform(),
        "packages": packages,
        "devices": _devices() if probe_devices and packages["torch"] else {},
        "files": files,
        "models": models,
        "indexes": indexes,
        "free_disk_gb": round(shutil.disk_usage(Path.home()).free / 1e9, 1),
    }


def as_rows(examination: dict) -> list[tuple[str, str, str, bool]]:
    """The same for a table: (section, item, what was found, whether that is well)."""
    rows = [
        ("system", "TumorRetrieval", examination["version"], True),
        ("system", "Python", examination["python"], True),
        ("system", "platform", examination["platform"], True),
        ("system", "free disk", f"{examination['free_disk_gb']} GB", True),
    ]
    rows += [("device", name, text, True) for name, text in examination["devices"].items()]
    for name, version in examination["packages"].items():
        replaced = version is None and name in REPLACEABLE
        text = version or ("not installed; NumPy is used" if replaced else "not installed")
        rows.append(("package", name, text, version is not None or replaced))
    rows += [("file", name, state, state == "ok") for name, state in examination["files"].items()]
    for section, key in (("model", "models"), ("index", "indexes")):
        for name, facts in examination[key].items():
            text = ", ".join(f"{label} {value}" for label, value in facts.items() if label != "state")
            well = facts["state"] == "ok"
            rows.append((section, name, text if well else facts["state"], well))
        if not examination[key]:
            rows.append((section, "none", "not installed", False))
    return rows


def as_text(examination: dict) -> str:
    """The same as plain lines, for a place that cannot draw a table."""
    rows = as_rows(examination)
    return "\n".join(f"{'    ' if well else 'BAD '}{section:8} {item:32} {text}" for section, item, text, well in rows)


def _version_of(distribution: str) -> str | None:
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return None


def _devices() -> dict[str, str]:
    import torch

    devices = {"cpu": f"{os.cpu_count()} cores, {torch.get_num_threads()} threads for networks"}
    for index in range(torch.cuda.device_count()):
        properties = torch.cuda.get_device_properties(index)
        devices[f"cuda:{index}"] = f"{properties.name}, {properties.total_memory / 1e9:.0f} GB"
    return devices


def _bundled_files() -> dict[str, str]:
    """Every bundled file that is listed with its checksum; a list that is missing or damaged stands for its folder."""
    root = bundled_folder()
    if root is None or not (root / "Atlas").is_dir():
        return {"Atlas": "missing; install the tool again"}
    states = {}
    files = (path for path in root.rglob("*") if path.is_file() and "__pycache__" not in path.parts)
    for folder in sorted({path.parent for path in files}):
        try:
            names = listed_files(folder)
        except TumorRetrievalError as error:
            states[(folder / CHECKSUMS).relative_to(root).as_posix()] = str(error)
            continue
        states |= {(folder / name).relative_to(root).as_posix(): _state_of(folder / name) for name in names}
    return states


def _state_of(path: Path) -> str:
    if not path.is_file():
        return "missing; install the tool again"
    try:
        require_checksum(path)
    except TumorRetrievalError:
        return "damaged or changed (another SHA-256); install the tool again"
    return "ok"


def _models() -> dict[str, dict]:
    """Every bundled model, by the name of its folder."""
    root = bundled_folder()
    contracts = sorted((root / "Models").glob("*/model.json")) if root else []
    return {path.parent.name: _model_facts(path) for path in contracts}


def _model_facts(contract_path: Path) -> dict:
    """Facts from the contract; the weights are hashed but not loaded, so that this works without PyTorch."""
    try:
        contract = json.loads(contract_path.read_text(encoding="utf-8"))
        expected = contract["weights_sha256"]
        facts = {"architecture": contract["architecture"], "sha256": expected[:12]}
        found = sha256_of(contract_path.with_name("weights.safetensors"))
    except (OSError, ValueError, KeyError, TypeError) as error:
        return {"state": f"its contract cannot be read ({error}); install the tool again"}
    except TumorRetrievalError as error:
        return {"state": str(error)}
    return facts | {"state": "ok" if found == expected else "its weights are damaged (another SHA-256)"}


def _indexes() -> dict[str, dict]:
    """The bundled case index, if there is one."""
    root = bundled_folder()
    if root is None or not (root / "Index").is_dir():
        return {}
    return {"bundled": _index_facts(root / "Index", root / "Models" / "default" / "model.json")}


def _index_facts(folder: Path, contract_path: Path) -> dict:
    """Facts from the index, every byte of which is compared with its checksums."""
    from TumorRetrievalLib.retrieval.case_index import CaseIndex
    from TumorRetrievalLib.retrieval.embedding import model_identity
    from TumorRetrievalLib.retrieval.numpy_search import NumpySearch

    facts: dict = {}
    try:
        # NumPy's search, because that of FAISS must not be loaded into 3D Slicer's own process.
        with CaseIndex.open(folder, search=NumpySearch) as index:
            index.verify()
            stats = index.stats()
            facts = {"cases": stats["cases"], "tumors": stats["tumors"], "model": stats["model"][:12]}
            contract = json.loads(contract_path.read_text(encoding="utf-8"))
            fits = stats["model"] == model_identity(contract)
    except TumorRetrievalError as error:
        return {"state": str(error)}
    except (OSError, ValueError, KeyError, TypeError) as error:
        return facts | {"state": f"the model that made it cannot be read ({error})"}
    return facts | {"state": "ok" if fits else "made by another model than the bundled one; build it again"}
