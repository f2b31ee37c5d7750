"""What pyproject.toml asks for is what constraints.txt pins, and what is pinned is what the tests run with."""

import importlib.metadata
import re
import sys
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from TumorRetrievalLib.engine.doctor import PACKAGES

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).resolve().parents[4]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]


def pins() -> dict[str, str]:
    """Package -> the version that constraints.txt gives to this Python."""
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    requirements = [Requirement(line) for line in lines if line and not line.startswith("#")]
    valid = [r for r in requirements if r.marker is None or r.marker.evaluate()]
    assert all(re.fullmatch(r"==[\w.]+", str(r.specifier)) for r in valid), "a pin is not exact, or is of one build"
    return {canonicalize_name(r.name): str(r.specifier).removeprefix("==") for r in valid}


def direct() -> list[Requirement]:
    texts = PROJECT["dependencies"] + [text for extra in PROJECT["optional-dependencies"].values() for text in extra]
    return [r for r in map(Requirement, texts) if r.marker is None or r.marker.evaluate()]


def test_every_direct_dependency_is_pinned_within_its_bounds():
    pinned = pins()

    for requirement in direct():
        assert requirement.specifier.contains(pinned[canonicalize_name(requirement.name)]), requirement


def test_everything_that_the_dependencies_need_is_pinned_too():
    pinned, waiting, seen = pins(), [r.name for r in direct()], set()
    while waiting:
        name = canonicalize_name(waiting.pop())
        if name in seen:
            continue
        seen.add(name)
        for text in importlib.metadata.requires(name) or []:
            needed = Requirement(text)
            if needed.marker is None or needed.marker.evaluate({"extra": ""}):
                waiting.append(needed.name)
    # The parts of CUDA that PyTorch's Linux wheel asks for are pinned by that wheel itself.
    unpinned = {name for name in seen - pinned.keys() if not re.match(r"(nvidia-|cuda-|triton)", name)}

    assert unpinned == set()


def test_the_tests_run_with_the_pinned_versions():
    for name, version in pins().items():
        assert importlib.metadata.version(name).split("+")[0] == version, name


def test_doctor_looks_at_every_dependency():
    assert sorted(PACKAGES) == sorted(Requirement(text).name for text in PROJECT["dependencies"])
