"""Numbers of a report by groups of examples: where a model is weak."""

import math
from collections.abc import Sequence

import numpy as np

from tfhub_transfer.reporting import metrics
from tfhub_transfer.reporting.contents import GroupRow, Slice
from tfhub_transfer.reporting.metrics import Resampled

# From so many rows on a mean is distributed normally, and resampling takes long.
_MANY = 2000
_LENGTHS = (5, 10, 20, 50, 100, 200, 400, 800)


def lengths(texts: Sequence[str]) -> tuple[list[str], list[str]]:
    """The group of each text by its words, and the groups that occur, the shortest first.

    Lengths go up in steps, at most five of them: where there is nobody, or few, steps are put
    together.

    Args:
        texts: Texts.

    Example:

    >>> lengths(["one two", "one " * 30])
    (['up to 5 words', 'over 5 words'], ['up to 5 words', 'over 5 words'])
    """
    words = np.array([len(text.split()) for text in texts])
    steps: list[int] = []
    for step in _LENGTHS:
        inside = (words <= step) & (words > (steps[-1] if steps else -1))
        if inside.any() and (words > step).any():
            steps.append(step)
    while len(steps) > 4:
        steps = _without_smallest(words, steps)
    bounds = [0, *steps]
    names = [f"{low + 1} to {high} words" for low, high in zip(bounds, steps)]
    names = ["up to" + names[0].partition(" to")[2], *names[1:]] if names else []
    names.append(f"over {steps[-1]} words" if steps else "all")
    return [names[place] for place in np.searchsorted(steps, words)], names


def _without_smallest(words: np.ndarray, steps: list[int]) -> list[int]:
    """One step less: the one above the group that has the fewest."""
    counts = np.bincount(np.searchsorted(steps, words), minlength=len(steps) + 1)
    place = min(int(counts.argmin()), len(steps) - 1)
    return steps[:place] + steps[place + 1 :]


def means(
    by: str,
    keys: tuple[Sequence[str], Sequence[str]],
    columns: dict[str, np.ndarray],
    seed: int = 0,
) -> list[Slice]:
    """Means of what each example contributes, group by group.

    Args:
        by: What tells the groups apart.
        keys: The group of each example, and the order of the groups.
        columns: By name of the number, what each example contributes `[n]`.
        seed: Seed of the bootstrap.

    Returns:
        `[{"by", "rows"}]`, with `group`, `count`, the numbers, and the 95 % interval `low` to
        `high` of the first number, for each group that occurs; nothing where there is only one.
    """
    rows: list[GroupRow] = []
    found = np.array(keys[0], dtype=object)
    for group in keys[1]:
        mine = found == group
        if mine.any():
            numbers = {name: float(column[mine].mean()) for name, column in columns.items()}
            interval = _interval(next(iter(columns.values()))[mine], seed)
            rows.append({"group": group, "count": int(mine.sum()), **numbers, **interval})
    return [{"by": by, "rows": rows}] if len(rows) > 1 else []


def _interval(values: np.ndarray, seed: int) -> dict[str, float]:
    """Of shares Wilson's, else by the bootstrap; of many by the normal distribution of means."""
    if np.isin(values, (0, 1)).all():
        return dict(zip(("low", "high"), metrics.wilson(float(values.mean()), len(values))))
    if len(values) > _MANY:
        mean = float(values.mean())
        wide = metrics.NORMAL * float(values.std()) / math.sqrt(len(values))
        return {"low": mean - wide, "high": mean + wide}

    def resampled(weights: np.ndarray) -> Resampled:
        return {"mean": weights @ values / weights.sum(axis=1)}

    found = metrics.intervals(resampled, len(values), seed).get("mean")
    return {"low": found[0], "high": found[1]} if found else {}
