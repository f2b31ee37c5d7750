"""What a training did: one JSON object per line, and the same as a picture."""

import json
from pathlib import Path

from TumorRetrievalLib.imaging.atomic import atomic_file
from TumorRetrievalLib.training.team import this_team
from TumorRetrievalLib.training.tensorboard import Board

LOG_NAME = "log.jsonl"
CURVES_NAME = "curves.png"


class TrainingLog:
    """Averages of what was measured in each step, written as lines of `log.jsonl` and for TensorBoard.

    In a team of processes the leader alone writes.

    :param folder: where the log is.
    :param last_step: rows after this step are dropped: they tell of steps that a crash has undone.
    """

    def __init__(self, folder: Path, last_step: int):
        self.path = folder / LOG_NAME
        self.rows = [row for row in read_log(folder) if row["step"] <= last_step]
        self._board = None
        if this_team().leads:
            with atomic_file(self.path) as path:
                path.write_text("".join(json.dumps(row) + "\n" for row in self.rows), encoding="utf-8")
            self._board = Board(folder, last_step)
        self._sums: dict[str, list[float]] = {}

    def add(self, values: dict[str, float]) -> None:
        """Takes note of one step."""
        for name, value in values.items():
            self._sums.setdefault(name, []).append(value)

    def flush(self, step: int, facts: dict[str, float]) -> dict | None:
        """Writes the averages since the last call as one row with `facts`; returns it, None if nothing happened."""
        if not self._sums:
            return None
        averages = {name: sum(values) / len(values) for name, values in self._sums.items()}
        row = {"step": step, **{name: round(value, 6) for name, value in (facts | averages).items()}}
        if self._board is not None:
            with self.path.open("a", encoding="utf-8") as file:
                file.write(json.dumps(row) + "\n")
            self._board.add(row)
        self.rows.append(row)
        self._sums = {}
        return row

    def close(self) -> None:
        """After the last row."""
        if self._board is not None:
            self._board.close()


def read_log(folder: Path) -> list[dict]:
    """The rows of the log in `folder`; a last line that a crash cut short is left out."""
    path = folder / LOG_NAME
    rows = []
    for line in path.read_text(encoding="utf-8").splitlines() if path.exists() else []:
        try:
            rows.append(json.loads(line))
        except json.JSONDecodeError:
            break
    return rows


def draw_curves(folder: Path, rows: list[dict]) -> None:
    """Draws every measured value over the steps into `curves.png`."""
    from matplotlib.figure import Figure

    names = [name for name in (rows[-1] if rows else ()) if name not in ("step", "seconds", "share")]
    if not names:
        return
    columns = 3
    lines = -(-len(names) // columns)
    figure = Figure(figsize=(4 * columns, 2.6 * lines), layout="constrained")
    for axes, name in zip(figure.subplots(lines, columns, squeeze=False).flat, names, strict=False):
        points = [(row["step"], row[name]) for row in rows if name in row]
        axes.plot(*zip(*points, strict=True), linewidth=1)
        axes.set_title(name.replace("_", " "), fontsize=10)
        axes.grid(alpha=0.3)
    for axes in figure.axes[len(names) :]:
        axes.remove()
    with atomic_file(folder / CURVES_NAME) as path:
        figure.savefig(path, format="png", dpi=80)
