"""Writes SHA256SUMS into every folder of Resources: run it after adding, removing or changing a bundled file.

Bundled files are handed out only with the checksum that is listed beside them, so a test compares the lists with the
files. Look at the change before you commit it: it says which files users will be given from now on.
"""

import hashlib
from pathlib import Path

from update_cmake_lists import NOT_OURS

RESOURCES = Path(__file__).resolve().parents[1] / "Resources"
CHECKSUMS = "SHA256SUMS"


def is_bundled(path: Path) -> bool:
    """Whether a file below Resources is part of what is installed; the scripts that made the data are not."""
    names = path.relative_to(RESOURCES).parts
    ours = not any(name in NOT_OURS or name.endswith(".parts") for name in names)
    return ours and path.suffix != ".py" and "__pycache__" not in names and not path.name.startswith(".")


def wanted_lists() -> dict[Path, str]:
    """Each SHA256SUMS that should be there -> its content, in the format of the command `sha256sum`."""
    files = sorted(
        path for path in RESOURCES.rglob("*") if is_bundled(path) and path.is_file() and path.name != CHECKSUMS
    )
    lists: dict[Path, str] = {}
    for path in files:
        line = f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path.name}\n"
        lists[path.with_name(CHECKSUMS)] = lists.get(path.with_name(CHECKSUMS), "") + line
    return lists


if __name__ == "__main__":
    for listing, text in wanted_lists().items():
        listing.write_text(text, encoding="utf-8", newline="")
