"""Weak spots: groups of test examples that are answered worse than the others, and by how much."""

import math
from collections.abc import Mapping, Sequence

import numpy as np
import scipy.stats

from tfhub_transfer.data import Examples
from tfhub_transfer.errors import InputError
from tfhub_transfer.evaluation import slicing
from tfhub_transfer.evaluation.slicing import Group
from tfhub_transfer.reporting import metrics, paired
from tfhub_transfer.reporting.contents import Prediction, WeakSpot, WeakSpots
from tfhub_transfer.reporting.metrics import Resampled
from tfhub_transfer.reporting.reports import Report
from tfhub_transfer.reporting.standings import Faults, Standing

# Chance makes a group that is looked at as bad less often than this.
LEVEL = 0.05
# Words that are shown; groups of so many rows, or fewer, are drawn so often.
_WORDS, _FEW, _DRAWS = 10, 200, 9999
# Beyond so many rows a mean is distributed normally, and resampling takes long.
_MANY = 2000


def add(
    report: Report, examples: Examples, given: Mapping[str, Sequence[object]], seed: int
) -> None:
    """Adds its weak spots to a report.

    Args:
        report: It has its predictions.
        examples: The test split, of which they are.
        given: Columns to group by beside what texts say, from `slicing.columns`.
        seed: Seed of what is drawn.

    Raises:
        InputError: If columns are given and no number tells what each example costs.
    """
    faults = faults_of(report.standing, report.predictions)
    if faults is None:
        _without(report, list(given))
        return
    texts = [" ".join(own) for own in zip(*examples.texts)]
    groups = [*slicing.groups_of_columns(given), *slicing.groups_of_texts(texts)]
    low = report.standing.less_is_better(faults.number)
    report.weak_spots = found(faults, groups, low, seed)
    told = {spot["by"] for spot in report.weak_spots.get("rows", [])}
    for column in given:
        by = slicing.column_named(column)
        if by not in told:
            names = [group.name for group in groups if group.by == by]
            report.notes.append(f"no slices by {column}: {_why_not(names, faults.number)}")


def _without(report: Report, columns: list[str]) -> None:
    """Refuses slices that nothing could tell; says it where only these answers can't."""
    name = _number_of(report.standing, report.predictions)
    if columns and not name and report.standing.faults is None:
        raise InputError(
            f"the {report.task} task has no number that each example tells by itself, to compare "
            f"slices by; leave `slices` (`--slice`) out. Received: {', '.join(columns)}"
        )
    if columns:  # not an error: a model was trained, and its report is as good without
        number = f" ({name})" if name else ""
        report.notes.append(
            f"no slices by {', '.join(columns)}: not every answer costs a finite number from 0 "
            f"on{number}"
        )


def _why_not(names: Sequence[str], number: str) -> str:
    """Why groups of these names, all of a column, aren't compared."""
    if len(names) > 1:
        return f"all that {number} counts is in one of their groups"
    return (
        f"no value is in {slicing.LEAST_OF_VALUE} rows"
        if list(names) == [slicing.OTHERS]
        else "all rows have one value"
    )


def faults_of(standing: Standing, rows: Sequence[Prediction]) -> Faults | None:
    """What each example costs the number that groups are compared by; `None` if nothing says it.

    Args:
        standing: How the task stands in reports.
        rows: Answers, as `predictions.rows` has them.
    """
    if standing.faults is not None:
        return standing.faults(rows)
    name = _number_of(standing, rows)
    column = paired.numbers_of(rows, (name,)) if name else None
    if column is None:
        return None
    lost = column[:, 0] if standing.less_is_better(name) else 1 - column[:, 0]
    return Faults(name, lost, np.ones(len(lost))) if (lost >= 0).all() else None


def _number_of(standing: Standing, rows: Sequence[Prediction]) -> str:
    """The number that groups are compared by where it is a mean; empty where rows have none."""
    wanted = standing.by_row or standing.judged
    return next((each for each in wanted if rows and each in rows[0]), "")


def found(faults: Faults, groups: Sequence[Group], low: bool, seed: int = 0) -> WeakSpots:
    """Groups beside all other examples, those first that cost most.

    Whether a group is worse by chance alone is told by drawing as many of all examples: exactly
    where each is right or wrong (Fisher's exact test), else by 9999 draws, of more than 200 rows
    by the normal distribution. For every group that is looked at counts as one more try, by
    Holm 1979, "A Simple Sequentially Rejective Multiple Test Procedure", which asks nothing of how
    groups go together: words by themselves, and all other groups, each at half of the level.

    Args:
        faults: What each example costs.
        groups: The groups; none is all examples.
        low: Whether less of the number is better.
        seed: Seed of what is drawn.

    Returns:
        What is found: of all groups but those by words, of these the worst.
    """
    known = [each for each in groups if _is_told(faults, each.rows)]
    if not known:
        return {}
    chances = _by_chance(faults, [each.rows for each in known], seed)
    spots = [
        _spot(faults, each, low, chance)
        for each, *chance in zip(known, chances, _corrected_apart(known, chances), strict=True)
    ]
    shown = _shown(spots)
    for place in shown:
        ends = _interval(faults, known[place].rows, low, seed)
        spots[place]["low"], spots[place]["high"] = ends or (None, None)
    order = sorted(shown, key=lambda place: (-spots[place]["harm"], place))
    return {
        "number": faults.number,
        "whole": _value(faults, np.ones(len(faults.lost), bool), low),
        "looked_at": len(known),
        "rows": [spots[place] for place in order],
    }


def _is_told(faults: Faults, rows: np.ndarray) -> bool:
    """Whether a group and the others each have something to lose."""
    return bool(faults.of[rows].sum() > 0 and faults.of[~rows].sum() > 0)


def _value(faults: Faults, rows: np.ndarray, low: bool) -> float:
    rate = float(faults.lost[rows].sum() / faults.of[rows].sum())
    return rate if low else faults.best - rate


def _spot(faults: Faults, group: Group, low: bool, chance: Sequence[float]) -> WeakSpot:
    own, rest = (_value(faults, rows, low) for rows in (group.rows, ~group.rows))
    below = own - rest if low else rest - own
    lost = float(faults.lost.sum())
    return {
        "by": group.by,
        "group": group.name,
        "count": int(group.rows.sum()),
        "value": own,
        "low": None,
        "high": None,
        "rest": rest,
        "below": below,
        "harm": below * float(faults.of[group.rows].sum()) / lost if lost else 0.0,
        "p": chance[0],
        "p_corrected": chance[1],
        "beyond_chance": chance[1] < LEVEL,
    }


def _shown(spots: Sequence[WeakSpot]) -> list[int]:
    """The places of all spots but those of words, and of the worst of these."""
    words = [place for place, spot in enumerate(spots) if spot["by"] == slicing.WORD]
    worse = [place for place in words if spots[place]["harm"] > 0]
    worst = sorted(worse, key=lambda place: (spots[place]["p"], -spots[place]["harm"]))[:_WORDS]
    return sorted({*range(len(spots))} - {*words} | {*worst})


def corrected(chances: Sequence[float]) -> list[float]:
    """Probabilities of several tries, each for being the first of them to come out (Holm 1979).

    Args:
        chances: Of each try, how likely it comes out so by chance alone.

    Example:

    >>> corrected([0.01, 0.04, 0.03])
    [0.03, 0.06, 0.06]
    """
    order = np.argsort(chances, kind="stable")
    raised = np.array(chances)[order] * np.arange(len(order), 0, -1)
    result = np.empty(len(order))
    result[order] = np.minimum(np.maximum.accumulate(raised), 1.0)
    return [float(each) for each in result]


def _corrected_apart(groups: Sequence[Group], chances: Sequence[float]) -> list[float]:
    """Words by themselves: a hundred of them would hide what somebody asked for.

    Either is one more try (Bonferroni), so that in all chance has its way no more often than said.
    """
    of_words = np.array([each.by == slicing.WORD for each in groups])
    found, sides = np.empty(len(groups)), (of_words, ~of_words)
    for side in sides:
        found[side] = corrected(np.array(chances)[side].tolist())
    return [float(each) for each in np.minimum(found * sum(map(np.any, sides)), 1)]


def _by_chance(faults: Faults, groups: Sequence[np.ndarray], seed: int) -> list[float]:
    """How likely as many of all examples, drawn at random, are as bad as each group."""
    lost, count = faults.lost, len(faults.lost)
    if np.isin(lost, (0, 1)).all() and (faults.of == 1).all():
        every = int(lost.sum())
        return [
            float(scipy.stats.hypergeom.sf(lost[rows].sum() - 1, count, every, rows.sum()))
            for rows in groups
        ]
    above = lost - faults.of * (lost.sum() / faults.of.sum())
    drawn = above[np.random.default_rng(seed).integers(0, count, (_DRAWS, _FEW))].cumsum(axis=1)
    return [_by_draws(above, rows, drawn) for rows in groups]


def _by_draws(above: np.ndarray, rows: np.ndarray, drawn: np.ndarray) -> float:
    """The chance of a sum of rows, by the smaller side: what one has more, the other has less.

    Drawn rows may come twice, so that their sums vary more, by a factor that is known.
    """
    count, mine = len(above), int(rows.sum())
    few, side = min((mine, 1.0), (count - mine, -1.0))
    total, narrower = float(above[rows].sum()), math.sqrt((count - few) / (count - 1))
    if few > _FEW:
        spread = float(above.std()) * math.sqrt(few) * narrower
        return float(scipy.stats.norm.sf(total / spread)) if spread else 1.0
    # Equal sums are equal in whatever order they were added up.
    as_bad = side * drawn[:, few - 1] * narrower >= total - 1e-9 * np.abs(above).sum()
    return float((1 + as_bad.sum()) / (1 + _DRAWS))


def _interval(faults: Faults, rows: np.ndarray, low: bool, seed: int) -> tuple[float, float] | None:
    """Wilson's of shares, else by the bootstrap; of many rows by the normal distribution."""
    lost, of, value = faults.lost[rows], faults.of[rows], _value(faults, rows, low)
    if np.isin(lost, (0, 1)).all() and (of == 1).all():
        return metrics.wilson(value, len(lost))
    if len(lost) > _MANY:
        odd = lost - of * (lost.sum() / of.sum())
        wide = metrics.NORMAL * float(odd.std() / of.mean()) / math.sqrt(len(lost))
        return value - wide, value + wide

    def resampled(weights: np.ndarray) -> Resampled:
        rates = metrics.ratio(weights @ lost, weights @ of)
        return {"rate": rates if low else faults.best - rates}

    return metrics.intervals(resampled, len(lost), seed).get("rate")
