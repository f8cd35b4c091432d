"""Plots of a search, each a PNG as bytes."""

import math
from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.cm import ScalarMappable
from matplotlib.colors import LinearSegmentedColormap, Normalize
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from tfhub_transfer.reporting import plots
from tfhub_transfer.reporting.plots import BLUE, DASHES, GREY, INK, ORANGE, printable
from tfhub_transfer.reporting.searches import Effects, Search, Setting, Trial, percent

Style: TypeAlias = dict[str, Any]

RED = "#b3261e"
# Light up to where scores are good, so that of many trials those are seen.
_SCORES = LinearSegmentedColormap.from_list(
    "tfhub_transfer_scores", [(0.0, "#dfe7ef"), (0.6, "#9cc3e6"), (1.0, "#123f73")]
)
# Further from the middle half than so many times its width a score would press all others together.
_FAR = 3.0
_LONGEST_TICK = 12
_MOST_TICKS = 9
_MOST_SPREADS = 30
_PANELS_ACROSS = 3
_HOUR, _MINUTE = 3600.0, 60.0
_DEFAULT: Style = {"marker": "D", "color": ORANGE, "markeredgecolor": "white", "linestyle": "none"}
_BEST: Style = {
    "marker": "o",
    "markersize": 11,
    "markerfacecolor": "none",
    "markeredgecolor": INK,
    "markeredgewidth": 1.4,
    "linestyle": "none",
}


def over_time(search: Search) -> bytes:
    """The score of each trial at its end, and the best until then as steps.

    Args:
        search: What a search found.
    """
    return plots.png(over_time_figure(search))


def over_time_figure(search: Search) -> Figure:
    """What `over_time` draws, as a figure."""
    figure, (axes,) = _figure(9.2, 4.4)
    places, across = _times(search)
    low, high = _window(search)
    scores = np.array([np.nan if t.score is None else t.score for t in search.trials])
    inside = (scores >= low) & (scores <= high)
    errors = [0.0 if trial.error is None else trial.error for trial in search.trials]
    bars = np.where(inside, errors, 0.0)
    if bars.any():
        style: Style = {"fmt": "none", "ecolor": BLUE, "elinewidth": 1.0, "alpha": 0.5}
        axes.errorbar(places, scores, bars, label="standard error", **style)
        ends = np.concatenate([(scores - bars)[inside], (scores + bars)[inside]])
        low, high = min(low, float(ends.min())), max(high, float(ends.max()))
    axes.plot(places[inside], scores[inside], "o", color=BLUE, markersize=5, alpha=0.75)
    best = np.array([np.nan if b is None else b for b in search.best_so_far()])
    axes.step(places, best, where="post", color=INK, linewidth=1.5, label="best so far")
    _set_window(axes, low, high)
    _at_the_edge(axes, places, scores, search)
    _mark(axes, search, lambda trial: float(places[search.trials.index(trial)]))
    axes.set_xlim(left=0)
    if across == "trial":
        axes.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=10, min_n_ticks=1))
    plots.caption(axes, "", across, "")
    _name(axes, search)
    axes.legend(frameon=False, fontsize=9, loc="center left", bbox_to_anchor=(1.0, 0.5))
    return figure


def parallel(search: Search, settings: Sequence[Setting]) -> bytes | None:
    """A line a trial over the values of its settings, as dark as its score is good.

    Where a trial has no such setting its line is broken.

    Args:
        search: What a search found.
        settings: What trials differ in, from left to right.

    Returns:
        The picture, or `None` if there is nothing to draw.
    """
    if not settings or not search.completed:
        return None
    return plots.png(parallel_figure(search, settings))


def parallel_figure(search: Search, settings: Sequence[Setting]) -> Figure:
    """What `parallel` draws, as a figure."""
    width = float(np.clip(1.25 * (len(settings) + 1) + 1.5, 6.5, 14.0))
    figure, (axes,) = _figure(width, 5.0)
    heights = np.stack([_height(each) for each in settings], axis=1)
    low, high = _window(search)
    shade = Normalize(low, high)
    for trial in search.failed:
        line = [*heights[search.trials.index(trial)], np.nan]
        axes.plot(line, color=RED, linewidth=0.9, linestyle=DASHES, marker="x", markersize=4)
    for trial in reversed(search.ranked):
        share = _scaled(_score(trial), low, high)
        line = [*heights[search.trials.index(trial)], share]
        good = 1.0 - share if search.low else share
        style: Style = {"color": _SCORES(good), "linewidth": 1.1, "marker": "o", "markersize": 2.5}
        if trial is search.default:
            style |= {"color": ORANGE, "linewidth": 2.0, "zorder": 4.0, "label": "default"}
        elif trial is search.best:
            style |= {"color": INK, "linewidth": 2.2, "zorder": 5.0, "label": "best"}
        axes.plot(line, **style)
    _upright(axes, search, settings, (low, high))
    if search.failed:
        style = {"color": RED, "linewidth": 0.9, "linestyle": DASHES, "marker": "x"}
        axes.plot([], [], label="failed", **style)
    axes.legend(frameon=False, fontsize=9, loc="lower left", bbox_to_anchor=(0, 1.0), ncols=3)
    bar = figure.colorbar(
        ScalarMappable(shade, _SCORES.reversed() if search.low else _SCORES), ax=axes, pad=0.02
    )
    bar.outline.set_visible(False)
    plots.as_written([bar.ax.set_ylabel(printable(search.objective, 0), color=INK)])
    return figure


def effects(search: Search, settings: Sequence[Setting], found: Effects) -> bytes | None:
    """The score against each setting, a panel each.

    Args:
        search: What a search found.
        settings: What trials differ in, in the order of the panels.
        found: How much each setting does.

    Returns:
        The picture, or `None` if there is nothing to draw.
    """
    if not settings or not search.completed:
        return None
    return plots.png(effects_figure(search, settings, found))


def effects_figure(search: Search, settings: Sequence[Setting], found: Effects) -> Figure:
    """What `effects` draws, as a figure."""
    across = min(_PANELS_ACROSS, len(settings))
    down = -(-len(settings) // across)
    figure = plots.Shown(
        figsize=(3.7 * across + 0.6, 2.9 * down), layout="constrained", facecolor="white"
    )
    FigureCanvasAgg(figure)
    grid = figure.subplots(down, across, squeeze=False, sharey=True)
    for place, axes in enumerate(grid.flat):
        if place >= len(settings):
            axes.set_axis_off()
            continue
        plots.clean(axes)
        _panel(axes, search, settings[place])
        share = found.shares.get(settings[place].name)
        beside = "" if share is None else f"   {percent(share)}"
        title = f"{printable(settings[place].name, place + 1)}{beside}"
        style: Style = {"loc": "left", "fontsize": 10, "fontweight": "bold", "color": INK}
        plots.as_written([axes.set_title(title, **style)])
        if place % across == 0:
            _name(axes, search)
    handles, names = grid[0][0].get_legend_handles_labels()
    figure.legend(handles, names, loc="outside lower center", ncols=6, frameon=False, fontsize=9)
    return figure


def spreads(search: Search) -> bytes | None:
    """The scores of the trainings of each trial around their mean, the best trial at the top.

    Args:
        search: What a search found.

    Returns:
        The picture, or `None` if no trial was trained more than once.
    """
    several = [trial for trial in search.ranked if len(trial.scores) > 1]
    if not several:
        return None
    shown = several[:_MOST_SPREADS]
    if search.default in several and search.default not in shown:
        shown = [*shown[:-1], search.default]
    figure, (axes,) = _figure(8.0, 1.6 + 0.24 * len(shown))
    for row, trial in enumerate(shown):
        colour = ORANGE if trial is search.default else BLUE
        axes.plot(
            trial.scores, [row] * len(trial.scores), "o", color=colour, markersize=4, alpha=0.5
        )
        style: Style = {
            "fmt": "|",
            "color": colour,
            "capsize": 3,
            "markersize": 11,
            "linewidth": 1.4,
        }
        axes.errorbar([_score(trial)], [row], xerr=[trial.error or 0.0], **style)
    names = [f"{t.name} (default)" if t is search.default else t.name for t in shown]
    axes.set_yticks(range(len(shown)), [printable(name, 0) for name in names], fontsize=8)
    axes.set_ylim(len(shown) - 0.4, -0.6)
    plots.caption(axes, "", "", "trial")
    plots.as_written([axes.set_xlabel(printable(search.objective, 0), color=INK)])
    plots.as_written(axes.get_yticklabels())
    return plots.png(figure)


# Pieces -----------------------------------------------------------------------------------------


def _figure(width: float, height: float) -> tuple[Figure, list[Axes]]:
    figure = plots.Shown(figsize=(width, height), layout="constrained", facecolor="white")
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    plots.clean(axes)
    return figure, [axes]


def _score(trial: Trial) -> float:
    """The score of a trial that came to an end."""
    assert trial.score is not None
    return trial.score


def _name(axes: Axes, search: Search) -> None:
    plots.as_written([axes.set_ylabel(printable(search.objective, 0), color=INK)])


def _times(search: Search) -> tuple[np.ndarray, str]:
    """When trials ended, in a fitting unit; which one it was, where nobody knows."""
    ends = [trial.ended for trial in search.trials if trial.ended is not None]
    if len(ends) < len(search.trials):
        return np.arange(1.0, len(search.trials) + 1), "trial"
    last = max(ends, default=0.0)
    for unit, name in ((_HOUR, "hours"), (_MINUTE, "minutes")):
        if last >= 2 * unit:
            return np.array(ends) / unit, name
    return np.array(ends), "seconds"


def _window(search: Search) -> tuple[float, float]:
    """The scores that are drawn: all but those that are far worse than most."""
    scores = np.array([trial.score for trial in search.completed], dtype=float)
    if not len(scores):
        return 0.0, 1.0
    low, high = float(scores.min()), float(scores.max())
    first, third = np.quantile(scores, (0.25, 0.75))
    wide = third - first
    if wide > 0 and search.low:
        high = float(scores[scores <= third + _FAR * wide].max())
    elif wide > 0:
        low = float(scores[scores >= first - _FAR * wide].min())
    if search.default is not None and search.default.score is not None:
        low, high = min(low, search.default.score), max(high, search.default.score)
    return (low, high) if high > low else (low - 0.5, high + 0.5)


def _set_window(axes: Axes, low: float, high: float) -> None:
    margin = 0.1 * (high - low)
    axes.set_ylim(low - 1.4 * margin, high + margin)


def _scaled(score: float, low: float, high: float) -> float:
    return float(np.clip((score - low) / (high - low), 0.0, 1.0))


def _at_the_edge(axes: Axes, places: np.ndarray, scores: np.ndarray, search: Search) -> None:
    """Marks failed trials, and those that are too bad to be drawn, where the axes end."""
    low, high = _window(search)
    failed = np.isnan(scores)
    outside = (scores < low) | (scores > high)
    edge: Style = {"transform": axes.get_xaxis_transform(), "clip_on": False, "linestyle": "none"}
    if failed.any():
        where = np.full(failed.sum(), 0.02)
        style: Style = {"marker": "x", "color": RED, "markersize": 7, "label": "failed"}
        axes.plot(places[failed], where, **style, **edge)
    if outside.any():
        where = np.full(outside.sum(), 0.98 if search.low else 0.06)
        marker = "^" if search.low else "v"
        style = {"marker": marker, "color": GREY, "markersize": 6, "label": "far worse"}
        axes.plot(places[outside], where, **style, **edge)


def _mark(axes: Axes, search: Search, place: Callable[[Trial], float]) -> None:
    """Marks the default and the best."""
    default, best = search.default, search.best
    if default is not None and default.score is not None:
        axes.axhline(default.score, color=ORANGE, linestyle=DASHES, linewidth=1.1)
        axes.plot([place(default)], [default.score], label="default", markersize=8, **_DEFAULT)
    if best is not None:
        axes.plot([place(best)], [_score(best)], label="best", **_BEST)


def _height(setting: Setting) -> np.ndarray:
    """Where the values of a setting stand, from 0 to 1."""
    if setting.choices is not None:
        most = max(1, len(setting.choices) - 1)
        # Lines through one place lie beside each other.
        beside = (_beside(len(setting.numbers)) - 0.5) * min(0.08, 0.5 / most)
        heights: np.ndarray = setting.numbers / most + beside
        return heights
    numbers = np.log10(setting.numbers) if setting.log else setting.numbers
    low, high = np.nanmin(numbers), np.nanmax(numbers)
    heights = (numbers - low) / ((high - low) or 1.0)
    return heights


def _beside(count: int) -> np.ndarray:
    """Places from 0 to 1, neighbours far apart: the golden section's."""
    return (np.arange(count) * 0.6180339887) % 1.0


def _upright(
    axes: Axes, search: Search, settings: Sequence[Setting], ends: tuple[float, float]
) -> None:
    """The axes of parallel coordinates, with what their places mean."""
    names = [printable(each.name, place + 1) for place, each in enumerate(settings)]
    names.append(printable(search.objective, 0))
    axes.set_xticks(range(len(names)), names, fontsize=9)
    if max(map(len, names)) * len(names) > 11 * 8:
        for text in axes.get_xticklabels():
            text.set(rotation=25, ha="right", rotation_mode="anchor")
    plots.as_written(axes.get_xticklabels())
    axes.set_yticks([])
    axes.grid(False)
    axes.spines[:].set_visible(False)
    axes.set(ylim=(-0.08, 1.08), xlim=(-0.3, len(settings) + 0.3))
    for place, each in enumerate([*settings, None]):
        axes.axvline(place, color=GREY, linewidth=1.0, zorder=0)
        for height, said in _ticks(each) if each is not None else _score_ticks(*ends):
            text = axes.text(place + 0.06, height, said, fontsize=7.5, color=INK, va="center")
            text.set_bbox({"facecolor": "white", "alpha": 0.75, "pad": 0.6, "linewidth": 0})
            text.set_zorder(6)
            plots.as_written([text])


def _score_ticks(low: float, high: float) -> list[tuple[float, str]]:
    return [(at, f"{low + at * (high - low):.4g}") for at in (0.0, 0.5, 1.0)]


def _ticks(setting: Setting) -> list[tuple[float, str]]:
    """Heights of some values, and the values."""
    if setting.choices is not None:
        most = max(1, len(setting.choices) - 1)
        step = -(-len(setting.choices) // _MOST_TICKS)
        places = range(0, len(setting.choices), step)
        return [(place / most, _said(setting.choices[place], place)) for place in places]
    low, high = float(np.nanmin(setting.numbers)), float(np.nanmax(setting.numbers))
    middle = math.sqrt(low * high) if setting.log else (low + high) / 2
    return [(at, f"{value:.3g}") for at, value in ((0.0, low), (0.5, middle), (1.0, high))]


def _said(choice: float | str, place: int) -> str:
    if isinstance(choice, str):
        return printable(choice, place + 1, _LONGEST_TICK)
    return f"{choice:.4g}"


def _panel(axes: Axes, search: Search, setting: Setting) -> None:
    """The score of trials against their values of a setting."""
    low, high = _window(search)
    numbers = setting.numbers.copy()
    if setting.choices is not None:
        numbers += (_beside(len(numbers)) - 0.5) * 0.4
    elif setting.log:
        axes.set_xscale("log")
    scores = np.array([np.nan if t.score is None else t.score for t in search.trials])
    inside = (scores >= low) & (scores <= high)
    fade = float(np.clip(6 / math.sqrt(len(numbers)), 0.3, 0.8))
    axes.plot(
        numbers[inside], scores[inside], "o", color=BLUE, markersize=4, alpha=fade, label="trial"
    )
    if setting.choices is not None:
        _medians(axes, setting, scores)
        places = range(0, len(setting.choices), -(-len(setting.choices) // _MOST_TICKS))
        said = [_said(setting.choices[place], place) for place in places]
        axes.set_xticks(places, said, fontsize=8)
        axes.set_xlim(-0.6, len(setting.choices) - 0.4)
        if sum(map(len, said)) > 32:
            for text in axes.get_xticklabels():
                text.set(rotation=35, ha="right", rotation_mode="anchor")
        plots.as_written(axes.get_xticklabels())
    _set_window(axes, low, high)
    _at_the_edge(axes, numbers, scores, search)
    _mark(axes, search, lambda trial: float(numbers[search.trials.index(trial)]))


def _medians(axes: Axes, setting: Setting, scores: np.ndarray) -> None:
    assert setting.choices is not None
    for place in range(len(setting.choices)):
        mine = scores[(setting.numbers == place) & ~np.isnan(scores)]
        if len(mine) > 1:
            middle = float(np.median(mine))
            label = None if axes.get_legend_handles_labels()[1][1:] else "median"
            axes.plot(
                [place - 0.3, place + 0.3], [middle] * 2, color=INK, linewidth=1.6, label=label
            )
