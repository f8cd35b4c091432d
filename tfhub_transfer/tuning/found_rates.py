"""Losses against learning rates: smoothed, read for a suggestion, drawn."""

import dataclasses
import math
import os
from typing import TYPE_CHECKING

import numpy as np

from tfhub_transfer.reporting import plots

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# What of the smoothed loss the next batch leaves standing: it remembers some ten steps.
MEMORY = 0.9
# So many times the loss that there was at first, above the best: it won't come back from there.
_APART = 3.0
# Of the steps: while the first ones are all that is known, nothing has diverged.
_FIRST = 0.1
# Before so many steps the average is one of a few batches, and falls or rises with their luck.
_SETTLED = round(1.0 / (1.0 - MEMORY))
# So many steps the average is late: half of its weight is on older losses.
_LATE = round(math.log(0.5) / math.log(MEMORY))
# The slope is that over a decade, half of one to each side: of two steps it would be luck.
_HALF = 0.5
# What has fallen less than so many times the noise of the smoothed loss hasn't fallen.
_NOISES = 6.0


@dataclasses.dataclass(frozen=True, eq=False)
class LearningRates:
    """What a learning rate range test found.

    Attributes:
        rates: The rate of each step, ascending, float64 `[steps]`.
        losses: The loss of each step's batch before that step, float64 `[steps]`; a last one that
            is no finite number is left out.
        smoothed: An exponential moving average of these, corrected for its start, `[steps]`.
        suggestion: The rate at which the loss falls steepest; `None` if it falls nowhere
            by more than its noise.
        diverged: Whether the test ended early, because the loss grew beyond all bounds.
        trained: What trained, in words.
    """

    rates: np.ndarray
    losses: np.ndarray
    smoothed: np.ndarray
    suggestion: float | None
    diverged: bool
    trained: str

    def plot(self, path: str | os.PathLike[str] | None = None) -> "Figure":
        """Loss against rate as a figure of matplotlib, which notebooks show.

        Args:
            path: A file to write it to as well, such as `rates.png`.

        Raises:
            InputError: If the file can't be written.
        """
        figure = plots.learning_rates_figure(
            self.rates, self.losses, self.smoothed, self.suggestion
        )
        if path is not None:
            plots.write(figure, path)
        return figure

    def __repr__(self) -> str:
        found = "no suggestion, the loss fell nowhere by more than its noise"
        if self.suggestion is not None:
            found = f"suggestion {self.suggestion:.1e}"
        end = ", where the loss diverged" if self.diverged else ""
        return (
            f"{self.trained}: {found}; {len(self.rates)} steps at rates from {self.rates[0]:.1e} "
            f"to {self.rates[-1]:.1e}{end}"
        )


class Smoothing:
    """An exponential moving average, corrected for its start as Adam's moments are."""

    def __init__(self) -> None:
        self._sum, self._steps = 0.0, 0

    def add(self, loss: float) -> float:
        """The average with one more loss."""
        self._steps += 1
        self._sum = MEMORY * self._sum + (1.0 - MEMORY) * loss
        return self._sum / (1.0 - MEMORY**self._steps)


class Watched:
    """The losses so far, and whether they have diverged.

    Args:
        steps: How many there are to be.
    """

    def __init__(self, steps: int) -> None:
        self._first = max(2, math.ceil(_FIRST * steps))
        self._smoothing = Smoothing()
        self.losses: list[float] = []
        self.smoothed: list[float] = []
        self.diverged = False

    def add(self, loss: float) -> None:
        """Takes in the loss of one more step; one that is no finite number is the end."""
        if not math.isfinite(loss):
            self.diverged = True
            return
        self.losses.append(loss)
        self.smoothed.append(self._smoothing.add(loss))
        if len(self.losses) > self._first:
            usual = max(map(abs, self.smoothed[: self._first]))
            self.diverged = self.smoothed[-1] - min(self.smoothed) > _APART * usual


def steepest(rates: np.ndarray, losses: np.ndarray, smoothed: np.ndarray) -> float | None:
    """The rate at which the smoothed loss falls steepest, against the logarithm of the rate.

    On the way from its highest point before the lowest to the lowest: what rises and falls before
    and behind is noise, or divergence. The rate is that of so many steps earlier as the average is
    late.

    Args:
        rates: Ascending, each the same factor above the one before `[steps]`.
        losses: Of each.
        smoothed: The same smoothed.

    Returns:
        `None` if it falls nowhere by more than its noise.
    """
    first = min(_SETTLED, len(rates) // 4)
    if len(rates) < 3:
        return None
    low = first + int(np.argmin(smoothed[first:]))
    top = first + int(np.argmax(smoothed[first : low + 1]))
    if not smoothed[top] - smoothed[low] > _NOISES * _noise(losses[: low + 1]):
        return None
    x = np.log10(rates)
    width = max(1, round(_HALF / (x[1] - x[0])))
    places = np.arange(top, low + 1)
    before, behind = np.maximum(places - width, top), np.minimum(places + width, low)
    slopes = (smoothed[behind] - smoothed[before]) / (x[behind] - x[before])
    return float(rates[max(0, places[np.argmin(slopes)] - _LATE)])


def _noise(losses: np.ndarray) -> float:
    """The standard deviation of the moving average of losses that differ by their batches alone."""
    # Of the differences of neighbours, so that a fall is no noise.
    of_one = float(np.std(np.diff(losses))) / math.sqrt(2.0) if len(losses) > 2 else 0.0
    return of_one * math.sqrt((1.0 - MEMORY) / (1.0 + MEMORY))
