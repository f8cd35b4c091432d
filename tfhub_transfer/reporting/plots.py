"""Plots of a report, each a PNG as bytes. No state is shared with a user's own matplotlib."""

import functools
import io
import os
from collections.abc import Iterable, Sequence
from typing import Literal

import numpy as np
from matplotlib import font_manager
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import LinearSegmentedColormap, PowerNorm
from matplotlib.figure import Figure
from matplotlib.ft2font import FT2Font
from matplotlib.text import Text
from matplotlib.ticker import MaxNLocator

from tfhub_transfer.errors import InputError, one_line
from tfhub_transfer.reporting.contents import Bins, Calibration, Curve, History, Thresholds
from tfhub_transfer.storage import atomic, opening

BLUE, ORANGE, GREY, INK = "#2563a8", "#d9772b", "#8a8f98", "#22272e"
# Told apart also by the colour-blind (Okabe and Ito 2008), yellow left out.
_COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9", "#e69f00", "#555555", "#7b3fa0")
MOST_CURVES = len(_COLOURS)
_MOST_CELLS_WITH_TEXT = 20
_MOST_NAMES = 80
_PAIRS_SHOWN = 15
_LONGEST_NAME = 26
_BLUES = LinearSegmentedColormap.from_list("tfhub_transfer", ["#ffffff", "#9cc3e6", "#123f73"])
DASHES = (0, (2, 2))
_NAMES = {"precision": "precision", "recall": "recall", "f1": "F1"}
# The one family that always comes with matplotlib, so that it is known which signs it has.
_FAMILY = "DejaVu Sans"


def _figure(
    width: float, height: float, columns: int = 1, width_ratios: list[float] | None = None
) -> tuple[Figure, np.ndarray]:
    figure = Shown(figsize=(width, height), layout="constrained", facecolor="white")
    FigureCanvasAgg(figure)
    grid = figure.subplots(1, columns, squeeze=False, width_ratios=width_ratios)[0]
    for axes in grid:
        clean(axes)
    return figure, grid


def clean(axes: Axes) -> None:
    """Axes with few lines, all of them grey."""
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color(GREY)
    axes.tick_params(color=GREY, labelsize=9)
    axes.grid(color="#d8dce2", linewidth=0.6)
    axes.set_axisbelow(True)


def caption(axes: Axes, title: str, across: str, up: str) -> None:
    """What axes show, and by what, across and up."""
    axes.set_title(title, loc="left", fontsize=11, fontweight="bold", color=INK)
    axes.set_xlabel(across, color=INK)
    axes.set_ylabel(up, color=INK)


def png(figure: Figure) -> bytes:
    """A figure as a picture."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=130)
    return buffer.getvalue()


@functools.cache
def _font() -> FT2Font:
    return font_manager.get_font(font_manager.findfont(_FAMILY))


def printable(name: str, number: int, most: int = _LONGEST_NAME) -> str:
    """A class name as a plot can show it: one short line of signs that the font has.

    A sign without a glyph (emoji, Chinese) becomes a box, and a name of nothing but such signs the
    class's number, as it stands in the report's table of classes.

    Example:

    >>> printable("交易", 3), printable("card  lost", 4)
    ('#3', 'card lost')
    """
    line = " ".join(name.split())
    shown = "".join(c if c.isprintable() and _font().get_char_index(ord(c)) else "□" for c in line)
    if not shown.strip("□ "):
        return f"#{number}"
    return shown if len(shown) <= most else shown[: most - 1] + "…"


def as_written(texts: Iterable[Text]) -> None:
    """Shows texts as they are: dollar signs in names of classes are no formulas."""
    for text in texts:
        text.set_parse_math(False)
        text.set_fontfamily(_FAMILY)


def confusion(matrix: np.ndarray, names: list[str], pairs: list[tuple[int, int, int]]) -> bytes:
    """Rows are true classes, columns predicted ones; shade is the share of the row.

    Up to 20 classes have their counts in the cells; with more, the pairs that are confused most
    are listed beside the picture.

    Args:
        matrix: Counts `[true, predicted]`.
        names: The classes.
        pairs: `(true, predicted, count)` of what is confused most, most first.
    """
    count = len(names)
    if count <= _MOST_CELLS_WITH_TEXT:
        side = 3.0 + 0.45 * count
        figure, grid = _figure(side + 0.9, side)
        _heat(grid[0], matrix, names, 9)
        _counts(grid[0], matrix)
        return png(figure)
    figure, grid = _figure(17.0, 11.0, 2, width_ratios=[2.6, 1])
    _heat(grid[0], matrix, names, max(5.0, min(9.0, 560 / count)))
    _pairs(grid[1], pairs[:_PAIRS_SHOWN], names)
    return png(figure)


def _heat(axes: Axes, matrix: np.ndarray, names: list[str], size: float) -> None:
    # A root, because a class confused once in twenty should still be seen.
    shade = PowerNorm(0.6, 0, 1)
    picture = axes.imshow(_shares(matrix), cmap=_BLUES, norm=shade, aspect="equal")
    axes.grid(False)
    axes.spines[:].set_visible(False)
    bar = axes.figure.colorbar(picture, ax=axes, shrink=0.6, pad=0.02)
    bar.outline.set_visible(False)
    bar.set_label("share of the true class", color=INK)
    ticks = np.arange(0, len(names), -(-len(names) // _MOST_NAMES))
    shown = [printable(names[i], int(i)) for i in ticks]
    axes.set_xticks(ticks, shown, fontsize=size)
    axes.set_yticks(ticks, shown, fontsize=size)
    if max(map(len, shown)) * len(names) > 24:
        upright = len(names) > 8
        for text in axes.get_xticklabels():
            text.set(rotation=90 if upright else 40, ha="right", rotation_mode="anchor")
            text.set_verticalalignment("center" if upright else "top")
    axes.tick_params(length=0)
    as_written([*axes.get_xticklabels(), *axes.get_yticklabels()])
    caption(axes, "Confusion matrix", "predicted", "true")


def _shares(matrix: np.ndarray) -> np.ndarray:
    shares: np.ndarray = matrix / np.maximum(matrix.sum(axis=1, keepdims=True), 1)
    return shares


def _counts(axes: Axes, matrix: np.ndarray) -> None:
    shares = _shares(matrix)
    for row, column in zip(*np.nonzero(matrix)):
        # On darker ground ink can't be read.
        colour = "white" if shares[row, column] > 0.4 else INK
        count = str(int(matrix[row, column]))
        axes.text(column, row, count, ha="center", va="center", color=colour, size=9)


def _pairs(axes: Axes, pairs: list[tuple[int, int, int]], names: list[str]) -> None:
    caption(axes, "Confused most: true → predicted", "texts", "")
    axes.grid(axis="y", visible=False)
    axes.spines["left"].set_visible(False)
    axes.set_yticks([])
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=5))
    if not pairs:
        axes.text(0.5, 0.5, "nothing confused", ha="center", transform=axes.transAxes, color=GREY)
        return
    counts = [count for _, _, count in pairs]
    bars = axes.barh(np.arange(len(pairs)), counts, color=ORANGE, height=0.22)
    axes.bar_label(bars, padding=4, fontsize=9, color=INK)
    for row, (true, guess, _) in enumerate(pairs):
        line = f"{printable(names[true], true, 34)} → {printable(names[guess], guess, 34)}"
        as_written([axes.text(0, row - 0.22, line, fontsize=8.5, color=INK, va="bottom")])
    axes.set(ylim=(_PAIRS_SHOWN - 0.4, -0.75), xlim=(0, max(counts) * 1.12))


def roc_and_pr(curves: Sequence[Curve]) -> bytes | None:
    """ROC and precision-recall curves side by side, from `metrics.curves`; `None` without any."""
    if not curves:
        return None
    figure, (roc, precision) = _figure(11, 4.9, 2)
    handles, texts = [], []
    for colour, curve in zip(_COLOURS, curves):
        line = {"color": colour, "linewidth": 1.7}
        handles += roc.plot(curve["false_positive_rate"], curve["true_positive_rate"], **line)
        # As steps: between two points the precision isn't what a straight line says.
        precision.step(curve["recall"], curve["precision"], where="post", **line)
        name = printable(curve["class"], curve["number"])
        texts.append(f"{name}  {curve['roc_auc']:.3f} / {curve['pr_auc']:.3f}")
    roc.plot([0, 1], [0, 1], color=GREY, linestyle=DASHES, linewidth=1)
    for axes in (roc, precision):
        axes.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.04))
        axes.set_box_aspect(1)
    caption(roc, "ROC", "false positive rate", "true positive rate")
    caption(precision, "Precision and recall", "recall", "precision")
    # Handles and texts apart: a legend leaves out labels of lines that begin with `_`.
    legend = figure.legend(
        handles,
        texts,
        title="class  ROC / PR area",
        loc="outside right center",
        fontsize=9,
        title_fontsize=9,
        frameon=False,
    )
    as_written(legend.get_texts())
    return png(figure)


def reliability(bins: Calibration) -> bytes:
    """Accuracy against confidence, above how often each occurs (Guo et al. 2017, figure 1).

    On the diagonal the scores mean what they say; below it the model is surer than it should be.
    Where the diagonal goes through an interval, the answers are too few to tell.

    Args:
        bins: From `metrics.calibration`, with what `confidence_bins.pooled` gave as `pooled`.
    """
    figure = Figure(figsize=(5.4, 5.8), layout="constrained", facecolor="white")
    FigureCanvasAgg(figure)
    axes, counts = figure.subplots(2, 1, sharex=True, height_ratios=[3.6, 1])
    clean(axes)
    clean(counts)
    pooled: Bins = bins["pooled"]
    confidence, accuracy = np.array(pooled["confidence"]), np.array(pooled["accuracy"])
    wide = np.maximum([accuracy - pooled["low"], pooled["high"] - accuracy], 0.0)
    axes.plot([0, 1], [0, 1], color=GREY, linestyle=DASHES, linewidth=1, label="calibrated")
    line = {"color": BLUE, "linewidth": 1.4, "marker": "o", "capsize": 3, "ecolor": ORANGE}
    axes.errorbar(confidence, accuracy, wide, label="this model, 95 % interval", **line)
    if before := bins.get("before"):
        drawn = before["pooled"]
        plain = {"color": GREY, "linewidth": 1.2, "marker": "s", "markersize": 4}
        label = f"before its scores were scaled ({before['ece']:.3f})"
        axes.plot(drawn["confidence"], drawn["accuracy"], label=label, **plain)
    axes.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.04))
    axes.legend(frameon=False, loc="upper left", fontsize=9)
    caption(axes, _reliability_title(bins), "", "accuracy")
    bars = counts.bar(confidence, pooled["count"], width=0.03, color=BLUE, alpha=0.75)
    counts.bar_label(bars, fontsize=7, color=INK)
    counts.margins(y=0.3)
    counts.yaxis.set_major_locator(MaxNLocator(integer=True, nbins=3))
    caption(counts, "", "confidence", "answers")
    return png(figure)


def _reliability_title(bins: Calibration) -> str:
    """The error, and that of the bins drawn where it is another: small bins are off by chance."""
    pooled = bins["pooled"]
    gaps = np.abs(np.subtract(pooled["accuracy"], pooled["confidence"]))
    shown, drawn = f"{bins['ece']:.3f}", f"{np.average(gaps, weights=pooled['count']):.3f}"
    besides = "" if drawn == shown else f",\n{drawn} in the bins drawn here"
    return f"Reliability (expected calibration error {shown}{besides})"


def thresholds(found: Thresholds) -> bytes:
    """Precision, recall and F1 against the score from which on an answer is given.

    Args:
        found: From `operating_points.table`.
    """
    figure, (axes,) = _figure(7.2, 4.2)
    places = [point["threshold"] for point in found["points"]]
    columns: tuple[tuple[Literal["precision", "recall", "f1"], str], ...]
    columns = (("precision", BLUE), ("recall", ORANGE), ("f1", GREY))
    for name, colour in columns:
        known = [point[name] for point in found["points"]]
        values = [np.nan if value is None else value for value in known]
        axes.plot(places, values, color=colour, marker="o", markersize=3, label=_NAMES[name])
    if found["own"] is not None:
        axes.axvline(found["own"], color=INK, linestyle=DASHES, linewidth=1.1, label="now")
    axes.set(ylim=(-0.02, 1.04))
    axes.legend(frameon=False, fontsize=9)
    caption(axes, "", "answered from this score on", "")
    title = printable(found["of"], 1, 60)
    style = {"loc": "left", "fontsize": 11, "fontweight": "bold", "color": INK}
    as_written([axes.set_title(title, **style)])
    return png(figure)


def selective(right: np.ndarray, confidence: np.ndarray, taken: float, asked: float) -> bytes:
    """Accuracy of the surest answers against which share of all they are (Geifman, El-Yaniv 2017).

    Args:
        right: Whether each answer is right `[n]`.
        confidence: Its score `[n]`.
        taken: The share that is accepted.
        asked: How accurate accepted answers were to be.
    """
    figure, (axes,) = _figure(7.2, 4.2)
    places, accuracy = accuracy_of_surest(right, confidence)
    axes.plot(places, accuracy, color=BLUE, linewidth=1.6, label="the surest so far")
    axes.axhline(asked, color=GREY, linestyle=DASHES, linewidth=1.1, label="asked for")
    axes.axvline(taken, color=INK, linestyle=DASHES, linewidth=1.1, label="accepted")
    axes.set(xlim=(0.0, 1.02))
    axes.legend(frameon=False, fontsize=9)
    caption(axes, "Accuracy of the surest answers", "share of all answers", "accuracy")
    return png(figure)


def accuracy_of_surest(right: np.ndarray, confidence: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Which shares of answers can be taken, the surest first, and how many of them are right.

    Args:
        right: Whether each answer is right `[n]`.
        confidence: Its score `[n]`; equal ones are taken together.

    Returns:
        Shares and accuracies `[m]`.

    Example:

    >>> accuracy_of_surest(np.array([True, False, True]), np.array([0.9, 0.5, 0.5]))
    (array([0.33333333, 1.        ]), array([1.        , 0.66666667]))
    """
    order = np.argsort(-confidence, kind="stable")
    counts = np.arange(1, len(order) + 1)
    last = np.append(np.diff(confidence[order]) != 0, True)
    hits = np.cumsum(right[order])
    return counts[last] / len(order), hits[last] / counts[last]


def scatter(labels: np.ndarray, scores: np.ndarray) -> bytes:
    """Predicted against true scores `[n]`, and the distribution of the residuals."""
    figure, (axes, residuals) = _figure(10.4, 4.9, 2)
    low, high = min(labels.min(), scores.min()), max(labels.max(), scores.max())
    margin = 0.04 * (high - low) or 0.5
    ends = [low - margin, high + margin]
    axes.plot(ends, ends, color=GREY, linestyle=DASHES, linewidth=1, label="exact")
    fade = float(np.clip(15 / np.sqrt(len(labels)), 0.15, 0.7))
    axes.scatter(labels, scores, s=16, color=BLUE, alpha=fade, linewidths=0)
    axes.set(xlim=ends, ylim=ends)
    axes.set_box_aspect(1)
    axes.legend(frameon=False, loc="upper left", fontsize=9)
    caption(axes, "Predicted against true", "true", "predicted")
    error = scores - labels
    reach = float(np.abs(error).max()) or 0.5
    # An odd number, so that one bar stands around 0.
    bins = int(np.clip(np.sqrt(len(error)), 7, 41)) // 2 * 2 + 1
    residuals.hist(error, bins=np.linspace(-reach, reach, bins + 1), color=BLUE, alpha=0.75)
    residuals.axvline(0, color=GREY, linestyle=DASHES, linewidth=1)
    mean = float(error.mean())
    residuals.axvline(mean, color=ORANGE, linewidth=1.6, label=f"mean {mean:+.3g}")
    residuals.yaxis.set_major_locator(MaxNLocator(integer=True))
    residuals.legend(frameon=False, fontsize=9)
    caption(residuals, "Residuals", "predicted minus true", "texts")
    return png(figure)


def curves(history: History) -> bytes | None:
    """Training and validation curves, with a line wherever more of the encoder thawed.

    Args:
        history: Lists of one value an epoch, `val_` before the names of those of validation;
            `thawed_groups` holds `(epochs done by then, number of groups thawed)`, `best_epoch`
            the place of the epoch whose weights were kept, or nothing.

    Returns:
        The picture, or `None` if there is nothing to draw.
    """
    figure = curves_figure(history)
    return None if figure is None else png(figure)


class Shown(Figure):
    """A figure that notebooks show, also where no other part of matplotlib was imported."""

    def _repr_png_(self) -> bytes:
        return png(self)


def write(figure: Figure, path: str | os.PathLike[str]) -> None:
    """Writes a figure as a file, whole or not at all.

    Args:
        figure: The figure.
        path: A file whose name ends in what matplotlib knows, such as `.png`.

    Raises:
        InputError: If it can't be written.
    """
    try:
        with atomic.file(opening.path_of(path)) as scratch:
            figure.savefig(scratch, dpi=130)
    except (OSError, ValueError) as error:
        raise InputError(
            "the picture can't be written; expected a name that ends in .png, .svg or .pdf. "
            f"Received: {os.fspath(path)} ({one_line(str(error), 200)})"
        ) from error


def learning_rates_figure(
    rates: np.ndarray, losses: np.ndarray, smoothed: np.ndarray, suggestion: float | None
) -> Figure:
    """Loss against learning rate, with the rate that is suggested.

    Args:
        rates: The rate of each step, ascending.
        losses: The loss of each.
        smoothed: The same smoothed.
        suggestion: The rate to mark, if there is one.
    """
    figure, [axes] = _figure(6.4, 4.2)
    axes.plot(rates, losses, color=ORANGE, linewidth=0.8, alpha=0.6, label="of a batch")
    axes.plot(rates, smoothed, color=BLUE, linewidth=1.8, label="smoothed")
    axes.set_xscale("log")
    # A single batch that goes through the roof would flatten all that there is to see.
    low, high = float(np.min(losses)), float(np.max(smoothed))
    margin = 0.05 * (high - low) or 0.05
    axes.set_ylim(low - margin, high + margin)
    if suggestion is not None:
        label = f"suggestion {suggestion:.1e}"
        axes.axvline(suggestion, color=GREY, linestyle=DASHES, linewidth=1.1, label=label)
    caption(axes, "Learning rate", "learning rate", "loss")
    axes.legend(frameon=False, fontsize=9)
    return figure


def curves_figure(history: History) -> Figure | None:
    """What `curves` draws, as a figure.

    Args:
        history: As for `curves`.
    """
    marks = ("thawed_groups", "best_epoch", "kept")
    curves = {k: np.asarray(v, dtype=float) for k, v in history.items() if k not in marks}
    known = {k: v for k, v in curves.items() if np.isfinite(v).any()}
    shown = list(dict.fromkeys(k.removeprefix("val_") for k in known))
    # Without validation the training alone is better than no picture.
    shown = [k for k in shown if f"val_{k}" in known] or shown
    if not shown:
        return None
    figure, grid = _figure(5.2 * len(shown), 4.0, len(shown))
    for axes, key in zip(grid, shown):
        for name, colour, label in ((key, ORANGE, "training"), (f"val_{key}", BLUE, "validation")):
            if name in known:
                epochs = np.arange(1, len(known[name]) + 1)
                axes.plot(epochs, known[name], color=colour, marker="o", markersize=4, label=label)
        _thaws(axes, history.get("thawed_groups", []))
        for place in np.asarray(history.get("best_epoch", []), dtype=int):
            line = known.get(f"val_{key}", known.get(key, np.empty(0)))
            if place < len(line):
                axes.plot(place + 1, line[place], **_KEPT)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=8, min_n_ticks=1))
        caption(axes, key.replace("_", " "), "epoch", "")
        axes.legend(frameon=False, fontsize=9)
    return figure


# A ring around the epoch whose weights the model has.
_KEPT: dict[str, object] = {
    "marker": "o",
    "markersize": 11,
    "markerfacecolor": "none",
    "markeredgecolor": BLUE,
    "linestyle": "none",
    "label": "kept",
}


def _thaws(axes: Axes, thawed: Sequence[object]) -> None:
    """One line for each epoch in which groups thawed, with their number from the top."""
    groups = {float(epoch): int(count) for epoch, count in np.asarray(thawed).reshape(-1, 2)}
    for number, (epoch, count) in enumerate(sorted(groups.items())):
        label = None if number else "groups thawed from the top"
        # Groups thaw between two epochs.
        axes.axvline(epoch + 0.5, color=GREY, linestyle=DASHES, linewidth=1.1, label=label)
        axes.annotate(
            str(count),
            (epoch + 0.5, 1),
            (2, -9),
            xycoords=("data", "axes fraction"),
            textcoords="offset points",
            fontsize=8,
            color=GREY,
        )
