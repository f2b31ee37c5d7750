"""The map of the known cases: fetched when it is looked at, with the patient's tumor and the similar cases marked."""

from dataclasses import dataclass, field

from TumorRetrievalGui.results_logic import Hit, ResultsLogic
from TumorRetrievalGui.settings import Settings
from TumorRetrievalGui.signals import Signal
from TumorRetrievalGui.tasks import Failure, Task, Tasks


@dataclass(frozen=True, eq=False)
class CaseMap:
    """Known tumors in the plane.

    :param hits: the tumor of each point, as a hit that was not ranked.
    :param points: where each lies, from -1 to 1.
    :param queries: where the patient's tumors lie, one for each box.
    :param known: how many tumors the index holds; only some of very many are points.
    :param numbers: key of a tumor -> number of its point.
    """

    hits: list[Hit]
    points: list[list[float]]
    queries: list[list[float]]
    known: int
    numbers: dict[tuple, int] = field(default_factory=dict)

    @classmethod
    def of(cls, answer: dict, also: list[Hit]) -> "CaseMap":
        """A map as the worker tells it. :param also: the tumors whose places were asked for besides."""
        names = ("case", "tumor", "type", "area", "left_right")
        facts = [dict(zip(names, tumor, strict=True), score=0.0, blocks={}) for tumor in answer["tumors"]]
        hits, points = [Hit.of(one) for one in facts], list(answer["points"])
        known = {tuple(hit.key) for hit in hits}
        for hit, point in zip(also, answer["also"], strict=True):
            if tuple(hit.key) not in known:
                hits.append(hit)
                points.append(point)
        numbers = {tuple(hit.key): number for number, hit in enumerate(hits)}
        return cls(hits, points, answer["queries"], answer["known"], numbers)


class MapLogic:
    """What the panel of the map does.

    :param results: the list whose cases are marked.
    """

    def __init__(self, results: ResultsLogic, tasks: Tasks, settings: Settings):
        self.results = results
        self._tasks, self._settings = tasks, settings
        self._task: Task | None = None
        self._isWanted = self._gaveUp = False
        self._mapOf: tuple | None = None
        self.map: CaseMap | None = None
        self.fraction, self.message = 0.0, ""
        self.failure: Failure | None = None
        #: Anything that the panel shows has changed.
        self.changed = Signal()
        results.changed.connect(self._listChanged)

    @property
    def isRunning(self) -> bool:
        """Whether the map is on its way."""
        return self._task is not None

    def setWanted(self, wanted: bool) -> None:
        """Whether somebody looks at the map; nothing is fetched for nobody."""
        self._isWanted = wanted
        if wanted:
            self.again()
        else:
            self.cancel()

    def again(self) -> None:
        """Look at the map, also after a failure or a stop."""
        self._gaveUp = False
        self._listChanged()

    def forget(self) -> None:
        """The known cases have changed: draw another map when it is looked at."""
        self._mapOf = None
        self.again()

    def cancel(self) -> None:
        """Stop drawing it."""
        if self._task is not None:
            self._task.cancel()

    def marks(self) -> dict[int, int]:
        """Number of a point -> rank of the listed case that it is, from 1."""
        if self.map is None:
            return {}
        ranks = {tuple(hit.key): rank for rank, hit in enumerate(self.results.hits, start=1)}
        return {self.map.numbers[key]: rank for key, rank in ranks.items() if key in self.map.numbers}

    def query(self) -> list[float] | None:
        """Where the tumor lies that the list is about."""
        queries, number = self.map.queries if self.map else [], self.results.parameters.tumor
        return queries[number] if number < len(queries) else None

    def _listChanged(self) -> None:
        if self._isWanted and not (self._gaveUp or self.isRunning or self.results.isRanking) and self._isOutdated():
            self._ask()
        self.changed.emit()

    def _isOutdated(self) -> bool:
        """Whether there is no map, or it is one of another search, or a listed case is not on it."""
        return self._mapOf != self._source() or any(tuple(hit.key) not in self.map.numbers for hit in self.results.hits)

    def _source(self) -> tuple:
        return self.results.parameters.search, self._settings.index

    def _ask(self) -> None:
        also, source = self.results.hits, self._source()
        searched = {"result": str(self.results.searchFolder())} if self.results.parameters.search else {}
        arguments = {
            **self._settings.arguments("index"),
            **searched,
            "also": [{"case": hit.case, "tumor": hit.tumor} for hit in also],
        }

        def show(answer: dict) -> None:
            self._task, self.message = None, ""
            self.map, self._mapOf = CaseMap.of(answer, also), source
            self._listChanged()

        self.failure, self.fraction, self.message = None, 0.0, ""
        self._task = self._tasks.ask("map", arguments, done=show, failed=self._failed, progress=self._tell)

    def _tell(self, fraction: float, message: str) -> None:
        self.fraction, self.message = fraction, message
        self.changed.emit()

    def _failed(self, failure: Failure) -> None:
        self._task, self.message, self._gaveUp = None, "", True
        self.failure = None if failure.cancelled else failure
        self.changed.emit()
