"""A software bill of materials: what this installation consists of, as CycloneDX 1.6 (https://cyclonedx.org).

It names the tool, every Python package that it needs, with version and licence, as they are installed here, and every
bundled file with its SHA-256. A hospital's security officer compares it with lists of known weaknesses.
"""

import hashlib
import importlib.metadata
import json
import re
import uuid
from collections.abc import Iterable
from datetime import datetime, timezone
from pathlib import Path

from TumorRetrievalLib import __version__
from TumorRetrievalLib.engine.doctor import PACKAGES
from TumorRetrievalLib.errors import MissingResource
from TumorRetrievalLib.resources import WAY_OUT, bundled_folder, listed_files, require_checksum

SPEC_VERSION = "1.6"
OPTIONAL = ("dask", "distributed", "qdrant-client", "tensorboard")
"""What the extras of pyproject.toml install for a user; named where they are installed."""

_LICENSE = "Apache-2.0"
_LICENSE_FILE = "LICENSE.txt"
_ROOT = "tumor-retrieval"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
_LONGEST_LICENSE_NAME = 100


def bill_of_materials() -> dict:
    """The bill of this installation, ready for JSON.

    :raises MissingResource: if a bundled file is missing, damaged, or not listed.
    """
    packages = _closure([*PACKAGES, *OPTIONAL])
    files = _bundled_files()
    direct = [_reference(packages[name]) for name in map(_plain, [*PACKAGES, *OPTIONAL]) if name in packages]
    components = [*(_package(package) for package in packages.values()), *files]
    content = {
        "components": components,
        "dependencies": [
            {"ref": _ROOT, "dependsOn": sorted(direct)},
            *(
                {
                    "ref": _reference(package),
                    "dependsOn": sorted({_reference(packages[name]) for name in _needs(package) if name in packages}),
                }
                for package in packages.values()
            ),
        ],
    }
    digest = hashlib.sha256(json.dumps(content, sort_keys=True).encode()).digest()
    return {
        "bomFormat": "CycloneDX",
        "specVersion": SPEC_VERSION,
        # Of the content: the same installation has the same number.
        "serialNumber": f"urn:uuid:{uuid.UUID(bytes=digest[:16], version=4)}",
        "version": 1,
        "metadata": {
            "timestamp": datetime.now(timezone.utc).isoformat(timespec="seconds"),
            "component": {
                "type": "application",
                "bom-ref": _ROOT,
                "name": "TumorRetrieval",
                "version": __version__,
                "licenses": [{"license": {"id": _LICENSE}}],
            },
        },
        **content,
    }


def _closure(names: Iterable[str]) -> dict[str, importlib.metadata.Distribution]:
    """The installed ones of some packages and of all that they need, by their plain names, in order."""
    found: dict[str, importlib.metadata.Distribution] = {}
    waiting = [_plain(name) for name in names]
    while waiting:
        name = waiting.pop()
        if name in found:
            continue
        try:
            found[name] = importlib.metadata.distribution(name)
        except importlib.metadata.PackageNotFoundError:
            continue  # an extra, or for another system or Python
        waiting += _needs(found[name])
    return dict(sorted(found.items()))


def _needs(package: importlib.metadata.Distribution) -> list[str]:
    """The plain names of what a package requires without any of its extras."""
    requirements = (text.partition(";") for text in package.requires or [])
    return [_plain(_NAME.match(text.strip())[0]) for text, _, marker in requirements if "extra" not in marker]


def _plain(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def _reference(package: importlib.metadata.Distribution) -> str:
    """A package URL (purl), which is also its name within the bill."""
    return f"pkg:pypi/{_plain(package.metadata['Name'])}@{package.version.replace('+', '%2B')}"


def _package(package: importlib.metadata.Distribution) -> dict:
    component = {
        "type": "library",
        "bom-ref": _reference(package),
        "name": package.metadata["Name"],
        "version": package.version,
        "purl": _reference(package),
    }
    licenses = _licenses(package.metadata)
    return component | ({"licenses": licenses} if licenses else {})


def _licenses(metadata) -> list[dict]:
    """What a package says of its licence: an SPDX expression, or names in its own words."""
    if metadata.get("License-Expression"):
        return [{"expression": metadata["License-Expression"]}]
    classifiers = (text for text in metadata.get_all("Classifier") or [] if text.startswith("License ::"))
    names = [text.split("::")[-1].strip() for text in classifiers]
    # Some packages put the whole text of the licence here.
    words = (metadata.get("License") or "").strip().splitlines()[:1]
    return [{"license": {"name": name[:_LONGEST_LICENSE_NAME]}} for name in names or words if name]


def _bundled_files() -> list[dict]:
    root = bundled_folder()
    if root is None:
        raise MissingResource(f"The bundled data is missing. {WAY_OUT}")
    files = (path for path in root.rglob("*") if path.is_file() and "__pycache__" not in path.parts)
    return [
        _file(root, folder / name)
        for folder in sorted({path.parent for path in files})
        for name in listed_files(folder)
    ]


def _file(root: Path, path: Path) -> dict:
    require_checksum(path)
    name = f"Resources/{path.relative_to(root).as_posix()}"
    own = path.with_name(_LICENSE_FILE)
    text = own.read_text(encoding="utf-8") if own.is_file() else None
    named = {"id": _LICENSE} if text is None else {"name": f"see {_LICENSE_FILE}", "text": {"content": text}}
    return {
        "type": "machine-learning-model" if path.suffix == ".safetensors" else "file",
        "bom-ref": name,
        "name": name,
        "version": __version__,
        "hashes": [{"alg": "SHA-256", "content": hashlib.sha256(path.read_bytes()).hexdigest()}],
        "licenses": [{"license": named}],
    }
