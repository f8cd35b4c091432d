"""Plots of a report, each a PNG as bytes. No state is shared with a user's own matplotlib."""

import io
from typing import Any

import numpy as np
import sklearn.metrics as sk
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

BLUE, ORANGE, GREY = "#2f6fb0", "#d9772b", "#8a8f98"
_MOST_CELLS_WITH_TEXT = 20
_MOST_CURVES = 8
_MOST_NAMES = 40


def _figure(width: float, height: float) -> tuple[Figure, Any]:
    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    _clean(axes)
    return figure, axes


def _clean(axes: Any) -> None:
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(alpha=0.25, linewidth=0.6)
    axes.set_axisbelow(True)


def _png(figure: Figure) -> bytes:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=130)
    return buffer.getvalue()


def confusion(matrix: np.ndarray, names: list[str]) -> bytes:
    """Rows are true classes, columns predicted ones; shade is the share of the row."""
    count = len(names)
    size = min(12.0, 2.8 + 0.45 * count)
    figure, axes = _figure(size + 0.8, size)
    share = matrix / np.maximum(matrix.sum(axis=1, keepdims=True), 1)
    image = axes.imshow(share, cmap="Blues", vmin=0, vmax=1)
    axes.grid(False)
    figure.colorbar(image, ax=axes, shrink=0.8, label="share of the true class")
    if count <= _MOST_CELLS_WITH_TEXT:
        for row, column in np.ndindex(count, count):
            colour = "white" if share[row, column] > 0.55 else "#30343a"
            axes.text(column, row, int(matrix[row, column]), ha="center", va="center", color=colour)
    step = max(1, count // _MOST_NAMES)
    ticks = np.arange(0, count, step)
    small = 9 if count <= _MOST_CELLS_WITH_TEXT else 6
    shown = [names[i] for i in ticks]
    axes.set_xticks(ticks, shown, rotation=45 if count < 12 else 90, ha="right", fontsize=small)
    axes.set_yticks(ticks, shown, fontsize=small)
    axes.set(xlabel="predicted", ylabel="true", title="Confusion")
    return _png(figure)


def roc_and_pr(truth: np.ndarray, scores: np.ndarray, names: list[str]) -> bytes | None:
    """ROC and precision-recall curves of the most frequent classes, one against the rest."""
    usable = [c for c in range(truth.shape[1]) if 0 < truth[:, c].sum() < len(truth)]
    usable = sorted(usable, key=lambda c: -truth[:, c].sum())[:_MOST_CURVES]
    if not usable:
        return None
    figure = Figure(figsize=(10, 4.4), layout="constrained")
    FigureCanvasAgg(figure)
    roc, precision = figure.subplots(1, 2)
    for column in usable:
        false, true, _ = sk.roc_curve(truth[:, column], scores[:, column])
        exact, found, _ = sk.precision_recall_curve(truth[:, column], scores[:, column])
        roc.plot(false, true, linewidth=1.5, label=names[column])
        precision.plot(found, exact, linewidth=1.5, label=names[column])
    roc.plot([0, 1], [0, 1], color=GREY, linestyle=":", linewidth=1)
    roc.set(xlabel="false positive rate", ylabel="true positive rate", title="ROC")
    precision.set(xlabel="recall", ylabel="precision", title="Precision and recall")
    for axes in (roc, precision):
        _clean(axes)
        axes.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.04))
    precision.legend(fontsize=8, frameon=False)
    return _png(figure)


def reliability(bins: dict[str, Any]) -> bytes:
    """Accuracy against confidence; on the diagonal the scores mean what they say."""
    figure, axes = _figure(5.2, 4.6)
    axes.plot([0, 1], [0, 1], color=GREY, linestyle=":", linewidth=1, label="calibrated")
    sizes = 20 + 260 * np.array(bins["count"]) / max(bins["count"])
    axes.plot(bins["confidence"], bins["accuracy"], color=BLUE, linewidth=1.2)
    axes.scatter(bins["confidence"], bins["accuracy"], s=sizes, color=BLUE, alpha=0.6)
    axes.set(xlim=(0, 1.03), ylim=(0, 1.03), xlabel="confidence", ylabel="accuracy")
    axes.set_title(f"Reliability (ECE {bins['ece']:.3f}; area: number of texts)")
    axes.legend(frameon=False, loc="upper left")
    return _png(figure)


def scatter(labels: np.ndarray, scores: np.ndarray) -> bytes:
    """Predicted against true scores."""
    figure, axes = _figure(5.2, 4.8)
    ends = [min(labels.min(), scores.min()), max(labels.max(), scores.max())]
    axes.plot(ends, ends, color=GREY, linestyle=":", linewidth=1)
    axes.scatter(labels, scores, s=12, color=BLUE, alpha=0.4, linewidths=0)
    axes.set(xlabel="true", ylabel="predicted", title="Predicted against true")
    return _png(figure)


def curves(history: dict[str, list[Any]]) -> bytes | None:
    """Training and validation curves, with a line wherever more of the encoder thawed."""
    shown = [k for k in history if f"val_{k}" in history]
    if not shown:
        return None
    figure = Figure(figsize=(5 * len(shown), 3.8), layout="constrained")
    FigureCanvasAgg(figure)
    for axes, key in zip(np.atleast_1d(figure.subplots(1, len(shown))), shown):
        _clean(axes)
        epochs = np.arange(1, len(history[key]) + 1)
        axes.plot(epochs, history[key], color=ORANGE, marker=".", label="training")
        axes.plot(epochs, history[f"val_{key}"], color=BLUE, marker=".", label="validation")
        starts = {epoch for epoch, _ in history.get("thawed_groups", [])}
        for start in sorted(starts):
            axes.axvline(start + 0.5, color=GREY, linestyle=":", linewidth=1)
        if starts:
            axes.plot([], [], color=GREY, linestyle=":", label="encoder thaws")
        axes.set(xlabel="epoch", title=key.replace("_", " "))
        axes.legend(frameon=False, fontsize=8)
    return _png(figure)
