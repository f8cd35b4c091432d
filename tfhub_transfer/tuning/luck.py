"""How much of what trials differ by is luck, and which of them is the best in spite of it."""

import dataclasses
import math
from collections.abc import Sequence

import numpy as np

# Fewer numbers have no spread.
_FEWEST = 2


@dataclasses.dataclass(frozen=True)
class Scored:
    """What is known of a trial that came to its end.

    Attributes:
        trial: What it is called.
        scores: What each of its trainings was judged by: of each fold with each seed, in the order
            of all trials.
        groups: How many groups of the encoder it thaws.
    """

    trial: str
    scores: tuple[float, ...]
    groups: int

    @property
    def score(self) -> float:
        """The mean."""
        return float(np.mean(self.scores))

    @property
    def spread(self) -> float | None:
        """The standard deviation of the scores; `None` of a single one."""
        return spread(self.scores)

    @property
    def standard_error(self) -> float | None:
        """That of the mean; `None` of a single score."""
        return standard_error(self.scores)


@dataclasses.dataclass(frozen=True)
class Choice:
    """The trial that is chosen, and why.

    Attributes:
        trial: What it is called.
        reason: In a sentence.
    """

    trial: str
    reason: str


def spread(scores: Sequence[float]) -> float | None:
    """The standard deviation of what the trainings of a trial were judged by.

    Args:
        scores: What each was.

    Returns:
        Of as many less one as there are; `None` of fewer than two.
    """
    return float(np.std(scores, ddof=1)) if len(scores) >= _FEWEST else None


def standard_error(scores: Sequence[float]) -> float | None:
    """The standard error of the mean of these; `None` of fewer than two.

    Folds share most of what they train on, so it is rather too small (Bengio and Grandvalet 2004,
    https://jmlr.org/papers/v5/grandvalet04a.html); some folds are harder than others for all
    trials, so between trials it is rather too large.

    Args:
        scores: As for `spread`.
    """
    found = spread(scores)
    return None if found is None else found / math.sqrt(len(scores))


def choose(trials: Sequence[Scored], direction: str) -> Choice:
    """The trial to take.

    The best is that with the best bound: its mean less its standard error, or more where less is
    better. Of those whose mean is within one standard error of its mean, that which thaws the
    fewest groups is taken (the rule of one standard error: Breiman et al. 1984, section 3.4.3), and
    of several such that with the best bound. So what is taken is never worse than any other trial
    by more than that one's standard error.

    Args:
        trials: All that came to their end, one at least, in their order.
        direction: `"max"` or `"min"`.
    """
    sign = 1.0 if direction == "max" else -1.0

    def bound(each: Scored) -> float:
        return sign * each.score - (each.standard_error or 0.0)

    best = max(trials, key=bound)
    if best.standard_error is None:
        return Choice(best.trial, "the best score; each is a single number, part of which is luck")
    least = bound(best)
    tied = [each for each in trials if sign * each.score >= least]
    taken = min(tied, key=lambda each: (each.groups, -bound(each)))
    if taken is best:
        way = "less" if direction == "max" else "plus"
        return Choice(best.trial, f"the best mean {way} its standard error")
    return Choice(
        taken.trial,
        f"within one standard error of trial {best.trial}, and it thaws {taken.groups} groups, not "
        f"{best.groups}",
    )


def noise(trials: Sequence[Sequence[float]]) -> float | None:
    """The share of the variance between trials' means that luck alone would bring.

    What a fold or a seed adds for all trials alike is taken out, as it moves none past another: the
    variance that is left within trials, over the number of trainings, is what luck adds to that of
    the means (two-way analysis of variance without replication, Fisher 1925).

    Args:
        trials: The scores of each, in one order.

    Returns:
        From 0 to 1; `None` of fewer than two trials, or trials of a single score each.
    """
    if len(trials) < _FEWEST or any(len(each) < _FEWEST for each in trials):
        return None
    scores = np.asarray(trials, float)
    count, trainings = scores.shape
    means = scores.mean(axis=1)
    between = float(means.var(ddof=1))
    rest = scores - means[:, None] - scores.mean(axis=0) + scores.mean()
    within = float((rest**2).sum()) / ((count - 1) * (trainings - 1))
    if not between:
        return 1.0 if within else None
    return min(1.0, within / trainings / between)
