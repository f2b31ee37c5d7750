"""From what a request says in JSON to what the engine takes; what cannot be understood is named."""

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

from TumorRetrievalLib.errors import InvalidRequest
from TumorRetrievalLib.imaging.box import Box
from TumorRetrievalLib.retrieval.blocks import DEFAULT_WEIGHTS
from TumorRetrievalLib.retrieval.filters import Filters
from TumorRetrievalLib.retrieval.ranking import ONE_PER


class Arguments:
    """Reads a request's arguments one by one and refuses what is left over.

    :param given: as decoded from JSON; null is the same as absent.
    """

    def __init__(self, given: dict):
        self._given = {name: value for name, value in given.items() if value is not None}

    def needed(self, name: str, read: Callable[[Any], Any]):
        """A value that has to be there, made by `read`; likewise `get`, for one that may be absent.

        :raises InvalidRequest: if it is absent, or is not what `read` can read.
        """
        if name not in self._given:
            raise InvalidRequest(f"The request lacks `{name}`.")
        return self.get(name, read)

    def get(self, name: str, read: Callable[[Any], Any], default=None):
        if name not in self._given:
            return default
        value = self._given.pop(name)
        try:
            return read(value)
        except (TypeError, ValueError, LookupError, AttributeError, OverflowError) as error:
            raise InvalidRequest(f"The request's `{name}` cannot be {repr(value)[:200]} ({error}).") from error

    def done(self) -> None:
        """:raises InvalidRequest: if something was given that nobody has read."""
        if self._given:
            raise InvalidRequest(f"The request has unknown arguments: {', '.join(sorted(self._given))}.")


def text(value) -> str:
    """A text; nothing else is turned into one."""
    if not isinstance(value, str):
        raise TypeError("a text is needed")
    return value


def path(value) -> Path:
    """A file or folder."""
    return Path(text(value))


def count(value) -> int:
    """A whole number of at least one."""
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise ValueError("a whole number of at least 1 is needed")
    return value


def row(value) -> int:
    """A whole number of at least zero."""
    return count(value + 1) - 1


def flag(value) -> bool:
    """True or false; nothing else is turned into one."""
    if not isinstance(value, bool):
        raise TypeError("true or false is needed")
    return value


def boxes(value) -> list[Box]:
    """Boxes as `{"center_ras": [3], "size_mm": [3], "axes": [3][3]}`; without axes the edges run along R, A and S."""
    upright = ((1, 0, 0), (0, 1, 0), (0, 0, 1))
    return [Box(one["center_ras"], one["size_mm"], one.get("axes") or upright) for one in value]


def filters(value) -> Filters:
    """The fields of `Filters`, each a list or a number."""
    return Filters(**{name: tuple(given) if isinstance(given, list) else given for name, given in value.items()})


def weights(value) -> dict[str, float]:
    """Block -> factor."""
    factors = {name: float(factor) for name, factor in value.items()}
    if not set(factors) <= set(DEFAULT_WEIGHTS):
        raise ValueError(f"the blocks are {', '.join(DEFAULT_WEIGHTS)}")
    if not all(math.isfinite(factor) and factor >= 0 for factor in factors.values()):
        raise ValueError("factors are numbers of at least 0")
    return factors


def names(value) -> list[str]:
    """Texts in a list."""
    if not isinstance(value, list):
        raise TypeError("a list is needed")
    return [text(one) for one in value]


def one_per(value) -> str:
    """What a list shows once."""
    if value not in ONE_PER:
        raise ValueError(f"it is one of {', '.join(ONE_PER)}")
    return value


def tumors(value) -> list[tuple[str, str]]:
    """Tumors of the index as `{"case": id, "tumor": id}`."""
    return [(text(one["case"]), text(one["tumor"])) for one in value]
