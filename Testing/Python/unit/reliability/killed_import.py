"""Run by a test in a process of its own: imports of DICOM studies that are killed, each at a later moment.

    python killed_import.py STUDIES FOLDER

Prints how often an import was killed before one came to its end.
"""

import os
import signal
import sys
from pathlib import Path

from TumorRetrievalLib.cohort.importers.archive import import_archive


def import_until(moment: int, studies: Path, folder: Path) -> None:
    """Import, and die without a word at the given moment.

    What is counted: each file is brought to the disk once before and once after it gets its name.
    """
    done = 0
    real = os.fsync

    def fsync(descriptor: int) -> None:
        nonlocal done
        done += 1
        if done == moment:
            os.kill(os.getpid(), signal.SIGKILL)
        real(descriptor)

    os.fsync = fsync
    import_archive(studies, folder / "copies", salt_file=folder / "salt")


if __name__ == "__main__":
    studies, folder = Path(sys.argv[1]), Path(sys.argv[2])
    moment = 0
    while True:
        moment += 1
        process = os.fork()
        if process == 0:
            import_until(moment, studies, folder)
            os._exit(0)
        if os.waitpid(process, 0)[1] == 0:
            break
    print(moment - 1)
