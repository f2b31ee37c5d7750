"""What happened, in lines that can be copied; the oldest are forgotten."""

import time
from collections import deque

from TumorRetrievalGui.signals import Signal

_MOST_LINES = 300


class Log:
    """The last messages of the module."""

    def __init__(self):
        self._lines: deque[str] = deque(maxlen=_MOST_LINES)
        self.changed = Signal()

    def add(self, message: str, details: str = "") -> None:
        """Note something. :param details: a traceback or the end of another log."""
        stamp = time.strftime("%H:%M:%S")
        for line in (f"{stamp}  {message}", *details.rstrip().splitlines()):
            self._lines.append(line)
        self.changed.emit()

    @property
    def text(self) -> str:
        """All lines."""
        return "\n".join(self._lines)
