"""Walking through an archive: every folder once, also where links lead in circles, and nothing that cannot be named."""

import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from TumorRetrievalLib.cohort.importers.findings import Problem


@dataclass
class Walk:
    """All folders of an archive with their files, in the order of their names.

    Links are followed, because archives are often made of them; a folder that has been seen is not entered again.

    :param problems: what could not be looked into; grows while walking.
    """

    root: Path
    problems: list[Problem] = field(default_factory=list)

    def __iter__(self) -> Iterator[tuple[Path, list[Path]]]:
        seen: set[tuple[int, int]] = set()
        waiting = [self.root]
        while waiting:
            folder = waiting.pop()
            try:
                identity = os.stat(folder)
                if (identity.st_dev, identity.st_ino) in seen:
                    continue
                seen.add((identity.st_dev, identity.st_ino))
                with os.scandir(folder) as entries:
                    found = sorted((entry.name, entry.is_dir()) for entry in entries if not entry.name.startswith("."))
            except OSError as error:
                self.problems.append(Problem(folder, f"It cannot be read: {error.strerror or error}."))
                continue
            nameable = [(name, is_folder) for name, is_folder in found if self._can_be_named(folder / name)]
            waiting += [folder / name for name, is_folder in reversed(nameable) if is_folder]
            yield folder, [folder / name for name, is_folder in nameable if not is_folder]

    def _can_be_named(self, path: Path) -> bool:
        if path.name.isprintable():
            return True
        self.problems.append(Problem(path, "Its name holds characters that are no text. Rename it."))
        return False
