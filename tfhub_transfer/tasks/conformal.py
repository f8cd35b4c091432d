"""How far answers can be trusted: whether one is accepted, what may be right beside it.

All of it is read off rows that the model wasn't trained on, and holds for texts drawn as those
were: by a share of them that is right (selective classification, El-Yaniv and Wiener 2010, "On the
Foundations of Noise-free Selective Classification"), or by sets and intervals that hold the truth
so often (split conformal prediction, Vovk et al. 2005; Lei et al. 2018, "Distribution-Free
Predictive Inference for Regression"; one threshold for each class as in Sadinle et al. 2019, "Least
Ambiguous Set-Valued Classifiers with Bounded Error Levels").
"""

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

# Rows below which nothing is said.
LEAST = 20
# From where on no answer is accepted: no score is as high.
NEVER = 2.0


@dataclasses.dataclass(frozen=True)
class Limits:
    """What was read off rows left out.

    Attributes:
        accept_from: The score of the likeliest class from which it is accepted, if asked for.
        most_wrong: Which share of the accepted answers may be wrong, if asked for.
        cutoffs: The score from which each class may be right, if sets were asked for.
        half_width: Of an interval around a number, in its units, if one was asked for.
        coverage: How often sets and intervals are to hold the truth, if asked for.
        rows: How many rows it was read off.
        mark: Of the weights that were asked; of others it says nothing.
    """

    accept_from: float | None = None
    most_wrong: float | None = None
    cutoffs: tuple[float, ...] = ()
    half_width: float | None = None
    coverage: float | None = None
    rows: int = 0
    mark: str = ""

    @classmethod
    def from_config(cls, config: Mapping[str, Any] | None) -> "Limits | None":
        """Makes it again from its fields; `None` of `None`."""
        if config is None:
            return None
        return cls(**{**config, "cutoffs": tuple(map(float, config["cutoffs"]))})


def accepted_from(confidence: np.ndarray, right: np.ndarray, most_wrong: float) -> float:
    """The lowest score from which on no larger share of answers is wrong.

    Args:
        confidence: The score of each answer `[n]`.
        right: Whether each is right `[n]`.
        most_wrong: The share, 0 to below 1.

    Returns:
        Half-way between two scores; `NEVER`, if even the surest answers are wrong too often.

    Example:

    >>> round(accepted_from(np.array([0.9, 0.8, 0.6]), np.array([True, True, False]), 0.1), 2)
    0.7
    """
    order = np.argsort(-confidence, kind="stable")
    sure, wrong = confidence[order], np.cumsum(~right[order].astype(bool))
    good = wrong <= most_wrong * np.arange(1, len(sure) + 1) + 1e-9
    # Of equal scores all are accepted, or none.
    good[:-1] &= sure[:-1] != sure[1:]
    if not good.any():
        return NEVER
    last = int(np.flatnonzero(good)[-1])
    # Half-way to the next, so that rounding makes no other answer.
    return float((sure[last] + (sure[last + 1] if last + 1 < len(sure) else 0.0)) / 2)


def set_cutoffs(scores: np.ndarray, truth: np.ndarray, coverage: float) -> np.ndarray:
    """The score from which each class belongs to a set that holds the right one so often.

    Classes of too few rows to tell have one cutoff, of their rows together.

    Args:
        scores: `[n, classes]`.
        truth: The right classes `[n]`.
        coverage: The share of rows, of each class, whose set holds the right one, above 0 and
            below 1.

    Returns:
        Cutoffs `[classes]`; 0, which every score reaches, where `n` rows can't tell.
    """
    own = scores[np.arange(len(truth)), truth]
    return _cutoffs([own[truth == place] for place in range(scores.shape[1])], coverage)


def label_cutoffs(scores: np.ndarray, truth: np.ndarray, coverage: float) -> np.ndarray:
    """As `set_cutoffs`, of texts that may have any number of classes.

    Args:
        scores: `[n, classes]`.
        truth: Whether a text has a class, bool `[n, classes]`.
        coverage: The share of texts of each class whose set holds it, above 0 and below 1.

    Returns:
        Cutoffs `[classes]`; 0 as there.
    """
    return _cutoffs([own[there] for own, there in zip(scores.T, truth.T)], coverage)


def half_width(residuals: np.ndarray, coverage: float) -> float:
    """By how much an answer is off at most, so often.

    Args:
        residuals: By how much each is off `[n]`, of either sign.
        coverage: The share of rows, above 0 and below 1.

    Returns:
        The width, in the units of the residuals; infinity where `n` rows can't tell.
    """
    return -_lower_quantile(-np.abs(residuals), coverage, -math.inf)


def rows_needed(coverage: float | None) -> int:
    """How many rows there must be to say anything.

    Args:
        coverage: How often sets or intervals are to hold the truth, if there are to be any.
    """
    return max(LEAST, 0 if coverage is None else _rows_needed(coverage))


def _rows_needed(coverage: float) -> int:
    return math.ceil(round(coverage / (1.0 - coverage), 9))


def _cutoffs(of_each: Sequence[np.ndarray], coverage: float) -> np.ndarray:
    """The quantile of the scores of each class, of small ones together, or of all."""
    least = rows_needed(coverage)
    small = np.concatenate([own for own in of_each if len(own) < least] or [np.empty(0)])
    common = _lower_quantile(small if len(small) >= least else np.concatenate(of_each), coverage)
    return np.array(
        [_lower_quantile(own, coverage) if len(own) >= least else common for own in of_each]
    )


def _lower_quantile(values: np.ndarray, coverage: float, none: float = 0.0) -> float:
    """What the next value reaches so often, for certain: Vovk's quantile of `n + 1`."""
    rank = math.ceil(round((len(values) + 1) * coverage, 9))
    if rank > len(values):
        return none
    return float(np.sort(values)[::-1][rank - 1])
