"""What the user has set once for all scans, kept in Slicer's own settings."""

import qt
import slicer

from TumorRetrievalGui.signals import Signal

_DEFAULTS = {"device": "", "index": "", "model": ""}


class Settings:
    """Device, index folder and model folder; "" stands for what the tool chooses by itself."""

    def __init__(self):
        self._store = slicer.app.userSettings()
        self._values = {
            name: str(self._store.value(f"TumorRetrieval/{name}", default) or default)
            for name, default in _DEFAULTS.items()
        }
        self.changed = Signal()

    @property
    def device(self) -> str:
        """What computes: "cpu", "cuda" or ""."""
        return self._values["device"]

    @property
    def index(self) -> str:
        """A folder."""
        return self._values["index"]

    @property
    def model(self) -> str:
        """A folder."""
        return self._values["model"]

    def arguments(self, *names: str) -> dict[str, str]:
        """What differs from the defaults, as the worker's tasks take it. :param names: the arguments of the task."""
        return {name: self._values[name] for name in names if self._values[name]}

    def keep(self, name: str, value: str) -> bool:
        """Remember a value. :returns: False if it could not be written, and is remembered in this session only."""
        self._values[name] = value
        self._store.setValue(f"TumorRetrieval/{name}", value)
        self._store.sync()
        self.changed.emit()
        return self._store.status() == qt.QSettings.NoError
