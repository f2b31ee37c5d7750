"""The list of similar cases: what counts, what is shown, more or less like this. Every change re-ranks at once."""

from dataclasses import dataclass
from pathlib import Path

from TumorRetrievalGui.parameters import QueryParameters
from TumorRetrievalGui.query_logic import SEARCH_FILE
from TumorRetrievalGui.scan_files import ScanFiles
from TumorRetrievalGui.signals import Signal
from TumorRetrievalGui.tasks import Failure, Task, Tasks
from TumorRetrievalGui.translation import _

HITS = 12
"""How many similar cases are listed for each box."""
BLOCKS = ("appearance", "type", "position", "extent")
SIZE_FILTERS = ("smallest_ml", "largest_ml")


@dataclass(frozen=True)
class Hit:
    """One similar tumor.

    :param case: :param tumor: which tumor of the index it is.
    :param score: its similarity, at most 1.
    :param blocks: block -> its part of the similarity.
    :param kind: :param area: :param side: labels; "" where they are not known.
    :param volume_ml: of its core; None where it is not known.
    :param stays: with how many boxes it stays in the list, of how many that were drawn again; None before that.
    :param spread: by how much its similarity varied then (standard deviation).
    """

    case: str
    tumor: str
    score: float
    blocks: dict[str, float]
    kind: str
    area: str
    side: str
    volume_ml: float | None
    stays: tuple[int, int] | None = None
    spread: float = 0.0

    @classmethod
    def of(cls, answer: dict) -> "Hit":
        """A hit as the worker tells it."""
        stability = answer.get("stability")
        return cls(
            answer["case"],
            answer["tumor"],
            answer["score"],
            answer["blocks"],
            answer.get("type") or "",
            answer.get("area") or "",
            answer.get("left_right") or "",
            answer.get("volume_ml"),
            (stability["kept"], stability["boxes"]) if stability else None,
            stability["score_spread"] if stability else 0.0,
        )

    @property
    def key(self) -> list[str]:
        """Names the tumor in the index."""
        return [self.case, self.tumor]


class ResultsLogic:
    """What the results panel does.

    :param parameters: the scene's query; `setParameters` changes it.
    """

    def __init__(self, parameters: QueryParameters, tasks: Tasks, files: ScanFiles):
        self.parameters = parameters
        self._tasks = tasks
        self._files = files
        self._kept: tuple[str, Path] | None = None
        self._task: Task | None = None
        self._outdated = False
        self._indexChanged = False
        self.failure: Failure | None = None
        #: The list or what it depends on has changed.
        self.changed = Signal()

    def setParameters(self, parameters: QueryParameters) -> None:
        """Go over to another query (another scene)."""
        if self._task is not None:
            self._task.cancel()
        if parameters.node is not self.parameters.node:
            self._indexChanged = False
        self.parameters, self._outdated, self.failure = parameters, False, None
        self.changed.emit()

    @property
    def indexChanged(self) -> bool:
        """Whether the known cases have changed since the search that the list is of."""
        return self._indexChanged and bool(self.tumors)

    def noteIndex(self, *, changed: bool) -> None:
        """Remember that the known cases have changed, or that there is a search since."""
        self._indexChanged = changed
        self.changed.emit()

    @property
    def tumors(self) -> list[dict]:
        """The tumors of the answer, one per box."""
        answer = self.parameters.answer
        return answer["tumors"] if answer else []

    @property
    def tumor(self) -> dict | None:
        """The tumor that the list is about."""
        tumors, chosen = self.tumors, self.parameters.tumor
        return tumors[chosen] if chosen < len(tumors) else None

    @property
    def hits(self) -> list[Hit]:
        """The similar cases, the most similar first."""
        return [Hit.of(hit) for hit in self.tumor["hits"]] if self.tumor else []

    @property
    def notes(self) -> list[str]:
        """What the reader of the list has to know."""
        answer = self.parameters.answer
        return answer.get("notes", []) if answer else []

    def chooseTumor(self, number: int) -> None:
        """Show the list of another box."""
        if self.tumors and number != self.parameters.tumor:
            self.parameters.tumor = number
            self.rank()

    def setWeight(self, block: str, factor: float) -> None:
        """Let something count more or less. :param factor: on what it counts by default; 0 leaves it out."""
        weights = self.parameters.weights
        if weights.get(block, 1.0) != factor:
            self.parameters.weights = {**weights, block: factor}
            self.rank()

    def resetWeights(self) -> None:
        """Let everything count as it does by default."""
        self.parameters.weights = {}
        self.rank()

    def setFilter(self, name: str, value) -> None:
        """Show only some cases. :param value: a list of labels or a number of ml; None or [] shows all."""
        filters = {key: kept for key, kept in self.parameters.filters.items() if key != name}
        if value:
            filters[name] = value
        if filters != self.parameters.filters:
            self.parameters.filters = filters
            self.rank()

    def clearFilters(self) -> None:
        """Show cases of every kind."""
        if self.parameters.filters:
            self.parameters.filters = {}
            self.rank()

    def moreLike(self, hit: Hit) -> None:
        """Prefer tumors that resemble this one too."""
        self._judge(hit, "more")

    def lessLike(self, hit: Hit) -> None:
        """Avoid tumors that resemble this one."""
        self._judge(hit, "less")

    def opinionOf(self, hit: Hit) -> str:
        """What the user said about a case: "more", "less" or ""."""
        feedback = self.parameters.feedback
        return next((kind for kind in ("more", "less") if hit.key in feedback[kind]), "")

    def _judge(self, hit: Hit, kind: str) -> None:
        undone = self.opinionOf(hit) == kind
        feedback = {name: [key for key in keys if key != hit.key] for name, keys in self.parameters.feedback.items()}
        if not undone:  # saying the same twice takes it back
            feedback[kind].append(hit.key)
        self.parameters.feedback = feedback
        self.rank()

    @property
    def isRanking(self) -> bool:
        """Whether a new order is on its way."""
        return self._task is not None

    @property
    def hasFeedback(self) -> bool:
        """Whether the user has said more or less of any case."""
        return any(self.parameters.feedback.values())

    def forgetFeedback(self) -> None:
        """Take back every "more like this" and "less like this"."""
        self.parameters.feedback = {"more": [], "less": []}
        self.rank()

    def whyNotRank(self) -> str:
        """Why nothing can be ranked now; "" if it can."""
        if not self.tumors:
            return _("Find similar cases first.")
        if all(self.parameters.weights.get(block, 1.0) == 0 for block in BLOCKS):
            return _("Nothing counts: move at least one slider up.")
        return ""

    def rank(self) -> None:
        """Rank anew with the present choices. While an answer is awaited, only the newest wish is kept."""
        self.failure = None
        if not self.whyNotRank():
            if self._task is not None:
                self._outdated = True
            else:
                self._ask()
        self.changed.emit()

    def _ask(self) -> None:
        self._outdated = False
        parameters, number = self.parameters, self.parameters.tumor

        def show(result: dict) -> None:
            self._task = None
            if parameters.answer is not None:
                answer = parameters.answer
                answer["tumors"][number]["hits"] = result["hits"]
                parameters.answer = answer
            self._goOn()

        self._task = self._tasks.ask("rerank", self.wishes(), done=show, failed=self._failed)

    def wishes(self) -> dict:
        """Everything that decides the list, as the worker takes it."""
        parameters = self.parameters
        liked, disliked = (
            [{"case": case, "tumor": tumor} for case, tumor in parameters.feedback[kind]] for kind in ("more", "less")
        )
        return {
            "result": str(self.searchFolder()),
            "tumor": parameters.tumor,
            "weights": parameters.weights,
            "filters": parameters.filters,
            "more": liked,
            "less": disliked,
            "k": HITS,
        }

    def showStability(self, checked: list[dict]) -> None:
        """Remember what became of the listed cases when the box was drawn again; the next ranking forgets it."""
        answer = self.parameters.answer
        stability = {(one["case"], one["tumor"]): one["stability"] for one in checked}
        for hit in answer["tumors"][self.parameters.tumor]["hits"]:
            hit["stability"] = stability.get((hit["case"], hit["tumor"]))
        self.parameters.answer = answer
        self.changed.emit()

    def searchFolder(self) -> Path:
        """A folder with the search as the worker knows it, made anew for a scene that was read from a file."""
        search = self.parameters.search
        if self._kept is None or self._kept[0] != search:
            folder = self._files.newFolder("rank")
            (folder / SEARCH_FILE).write_text(search, encoding="utf-8")
            self._kept = (search, folder)
        return self._kept[1]

    def _failed(self, failure: Failure) -> None:
        self._task = None
        if not failure.cancelled:
            self.failure = failure
        self._goOn()

    def _goOn(self) -> None:
        if self._outdated and not self.whyNotRank():
            self._ask()
        self.changed.emit()
