"""Notifications between objects that are no Qt objects."""

from collections.abc import Callable


class Signal:
    """Calls whoever is connected, in the order in which they connected."""

    def __init__(self):
        self._slots: list[Callable] = []

    def connect(self, slot: Callable) -> None:
        """Call `slot` at each emit from now on."""
        self._slots.append(slot)

    def emit(self, *arguments) -> None:
        """Tell everyone."""
        for slot in list(self._slots):
            slot(*arguments)
