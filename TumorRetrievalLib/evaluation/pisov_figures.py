"""Figures 4 and 5 of Pisov et al. 2018 as pictures."""

from pathlib import Path

import numpy as np

from TumorRetrievalLib.evaluation.neighbours import LABELS, K, Labelled
from TumorRetrievalLib.imaging.atomic import atomic_file

SIZE_SCORE = "linear_size_rmse_mm"
PERPLEXITY = 30.0
MARKERS = "o^sDv"


def draw_figure_4(path: Path, curves: dict[str, dict[str, dict[str, float]]], paper: dict[str, float]) -> None:
    """What the K nearest neighbours say, against K; a star is the paper's own figure for K = 5.

    :param curves: embedding -> K -> score -> value; the second embedding is dotted.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 5.5), layout="constrained")
    accuracy, error = figure.subplots(1, 2)
    for number, score in enumerate((*LABELS, SIZE_SCORE)):
        axes, color = (error, "black") if score == SIZE_SCORE else (accuracy, f"C{number}")
        for style, (name, by_k) in zip("-:", curves.items(), strict=True):
            points = [(int(k), scores[score]) for k, scores in by_k.items()]
            axes.plot(*zip(*points, strict=True), style, color=color, label=f"{score.replace('_', ' ')}, {name}")
        axes.plot([K], [paper[score]], "*", color=color, markersize=11)
    accuracy.set_ylabel("accuracy")
    error.set_ylabel("RMSE of the linear size (mm)")
    for axes in (accuracy, error):
        axes.set_xlabel("K nearest neighbours")
        axes.set_xticks(range(0, 21, 5))
        axes.grid(alpha=0.3)
        _legend_below(axes, 2)
    figure.suptitle("Synthetic patients, held out. Stars: the paper's figures, on its own patients.", fontsize=10)
    _save(figure, path)


def draw_figure_5(path: Path, tumors: Labelled) -> None:
    """The embeddings in the plane (t-SNE), coloured by type, by area and by linear size; markers are types."""
    from matplotlib.figure import Figure
    from sklearn.manifold import TSNE

    perplexity = min(PERPLEXITY, (len(tumors.sizes) - 1) / 3)
    points = TSNE(perplexity=perplexity, random_state=0).fit_transform(tumors.vectors)
    figure = Figure(figsize=(15, 6), layout="constrained")
    by_type, by_area, by_size = figure.subplots(1, 3)
    types = sorted(set(tumors.labels["type"]))
    for axes, label in ((by_type, "type"), (by_area, "area")):
        for number, value in enumerate(sorted(set(tumors.labels[label]))):
            some = tumors.labels[label] == value
            _scatter(axes, points, tumors, types, some, color=f"C{number}" if number < 10 else "black", label=value)
        _legend_below(axes, 3)
        axes.set_title(label)
    everything = np.ones(len(points), bool)
    shown = _scatter(by_size, points, tumors, types, everything, vmin=tumors.sizes.min(), vmax=tumors.sizes.max())
    figure.colorbar(shown, ax=by_size, label="linear size (mm)")
    by_size.set_title("linear size")
    figure.suptitle("Held-out synthetic tumors. Markers: " + _in_words(types), fontsize=10)
    _save(figure, path)


def _legend_below(axes, columns: int) -> None:
    """Below, because points and curves lie anywhere."""
    axes.legend(fontsize=7, loc="upper center", bbox_to_anchor=(0.5, -0.12), ncols=columns)


def _in_words(types: list[str]) -> str:
    names = {"o": "circle", "^": "triangle", "s": "square", "D": "diamond", "v": "triangle down"}
    return ", ".join(f"{names[marker]} {name}" for marker, name in zip(MARKERS, types, strict=False))


def _scatter(axes, points: np.ndarray, tumors: Labelled, types: list[str], some: np.ndarray, **style):
    """Points with the marker of their type; the label of the legend is given once."""
    shown = None
    for marker, name in zip(MARKERS, types, strict=False):
        chosen = some & (tumors.labels["type"] == name)
        if chosen.any():
            colors = {} if "color" in style else {"c": tumors.sizes[chosen], "cmap": "viridis"}
            shown = axes.scatter(*points[chosen].T, s=22, marker=marker, **colors, **style)
            style.pop("label", None)
    return shown


def _save(figure, path: Path) -> None:
    with atomic_file(path) as temporary:
        figure.savefig(temporary, format="png", dpi=110)
