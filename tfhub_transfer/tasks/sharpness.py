"""One temperature for scores that are no shares of classes, chosen by trying one after another."""

from collections.abc import Callable
from typing import TypeAlias

import numpy as np
import scipy.optimize

from tfhub_transfer.tasks import temperatures
from tfhub_transfer.tasks.temperatures import Choice, Folds, Scaling

# Of a temperature the loss of each row `[n]`.
Losses: TypeAlias = Callable[[float], np.ndarray]
# Logarithms of temperatures that are tried first, a tenth apart: there may be several valleys.
_TRIED = np.linspace(-temperatures.MOST_LOG, temperatures.MOST_LOG, 80)


def one_temperature(losses: Losses, owners: np.ndarray, seed: int) -> Choice:
    """The likeliest temperature, if it is better than none on folds left out.

    Beside a prior as heavy as one row, as `temperatures.fitted`.

    Args:
        losses: What a temperature costs each row, in nats; of at least `temperatures.LEAST` rows.
        owners: A number for each row; rows of one number are in one fold, if there are as many
            numbers as folds.
        seed: Seed of the folds.
    """
    tried = np.stack([losses(float(np.exp(log))) for log in _TRIED])
    plain, made = losses(1.0), np.empty(len(owners))
    for others, own in _folds(owners, seed):
        made[own] = losses(_likeliest(losses, tried, others))[own]
    found = {temperatures.NONE: plain, temperatures.TEMPERATURE: made}
    means = {name: float(rows.mean()) for name, rows in found.items()}
    kept = min(means, key=lambda name: means[name])
    scaling = None
    if kept != temperatures.NONE:
        scaling = Scaling(_likeliest(losses, tried, np.arange(len(owners))))
    return Choice(kept, scaling, means, len(owners))


def _likeliest(losses: Losses, tried: np.ndarray, rows: np.ndarray) -> float:
    """The temperature of the least loss of some rows; what was tried says where to look."""
    weight = 2 * len(rows)

    def target(log: float) -> float:
        return float(losses(float(np.exp(log)))[rows].mean() + log**2 / weight)

    best = int(np.argmin(tried[:, rows].mean(axis=1) + _TRIED**2 / weight))
    around = _TRIED[max(best - 1, 0)], _TRIED[min(best + 1, len(_TRIED) - 1)]
    found = scipy.optimize.minimize_scalar(
        target, bounds=around, method="bounded", options={"xatol": 1e-5}
    )
    return float(np.exp(found.x))


def _folds(owners: np.ndarray, seed: int) -> Folds:
    # Of a single context, say, its questions are told apart instead.
    few = len(np.unique(owners)) < temperatures.FOLDS
    return temperatures.folds_of_owners(np.arange(len(owners)) if few else owners, seed)
