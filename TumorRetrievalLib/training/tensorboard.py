"""The log of a training as TensorBoard files, where that package is installed.

It is an optional extra: `pip install TumorRetrievalLib[tensorboard]`.
"""

import importlib.util
from pathlib import Path

FOLDER = "tensorboard"


class Board:
    """Writes rows of the log into `FOLDER`; does nothing where there is no TensorBoard.

    :param last_step: what a crashed training has written after this step is hidden.
    """

    def __init__(self, folder: Path, last_step: int):
        self._writer = None
        if importlib.util.find_spec("tensorboard") is not None:
            from torch.utils.tensorboard import SummaryWriter

            self._writer = SummaryWriter(str(folder / FOLDER), purge_step=last_step + 1)

    def add(self, row: dict[str, float]) -> None:
        """One row of the log."""
        if self._writer is not None:
            for name, value in row.items():
                if name != "step":
                    self._writer.add_scalar(name, value, row["step"])

    def close(self) -> None:
        """Everything is on disk afterwards."""
        if self._writer is not None:
            self._writer.close()
