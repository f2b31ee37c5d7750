"""Writes the file lists of the two CMakeLists.txt: run it after adding, moving or removing a file.

A file that is missing there works in a checkout and is absent after installation, so a test compares the lists with
the tree.
"""

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]

LISTS = {
    "CMakeLists.txt": ("LIBRARY_SCRIPTS", "LIBRARY_RESOURCES"),
    "TumorRetrieval/CMakeLists.txt": ("MODULE_SCRIPTS", "MODULE_RESOURCES"),
}


NOT_OURS = {"CMakeLists.txt", "writer.lock", "parts"}
"""Names of what is no part of the extension: left by writers of an index, or by a build that was stopped."""


def wanted(name: str, root: Path = ROOT) -> list[str]:
    """What a list should hold: paths relative to its CMakeLists.txt, sorted."""
    if name == "LIBRARY_SCRIPTS":
        return _files(root, "TumorRetrievalLib", scripts=True)
    if name == "LIBRARY_RESOURCES":
        # The scripts beside the bundled data made it once; they are not needed to use it.
        return _files(root, "TumorRetrievalLib", scripts=False) + _files(root, "Resources", scripts=False)
    return _files(root / "TumorRetrieval", ".", scripts=name == "MODULE_SCRIPTS")


def _files(base: Path, folder: str, *, scripts: bool) -> list[str]:
    paths = (path.relative_to(base) for path in (base / folder).rglob("*") if path.is_file())
    kept = [
        path.as_posix()
        for path in paths
        if "__pycache__" not in path.parts
        and not any(part in NOT_OURS or part.endswith(".parts") for part in path.parts)
        and not path.name.startswith(".")
        and (path.suffix == ".py") == scripts
    ]
    return sorted(kept)


def listed(name: str, text: str) -> list[str]:
    """What a list holds in the text of its CMakeLists.txt."""
    return _pattern(name).search(text)[1].split()


def updated(text: str, names: tuple[str, ...]) -> str:
    """The text of a CMakeLists.txt with its lists brought up to date."""
    for name in names:
        lines = "".join(f"  {path}\n" for path in wanted(name))
        text = _pattern(name).sub(lambda _, name=name, lines=lines: f"set({name}\n{lines}  )", text)
    return text


def _pattern(name: str) -> re.Pattern:
    return re.compile(rf"set\({name}\n(.*?)  \)", re.DOTALL)


if __name__ == "__main__":
    for file, names in LISTS.items():
        path = ROOT / file
        path.write_text(updated(path.read_text(encoding="utf-8"), names), encoding="utf-8")
