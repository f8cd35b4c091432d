"""Scores made to mean what they say: a temperature, and what is added for each class.

A softmax or sigmoid trained to the end is surer than it should be. One number, by which all logits
are divided, mends most of it and changes no answer (Guo et al. 2017, "On Calibration of Modern
Neural Networks"); one more for each class mends classes that are given too often (Alexandari et
al. 2020, "Maximum Likelihood with Bias-Corrected Calibration"). Both are the likeliest given the
validation split and a prior of no change; which of them is kept is judged by cross-validation.
"""

import dataclasses
from collections.abc import Mapping
from typing import Any, Literal, TypeAlias

import numpy as np
import scipy.optimize
from sklearn.model_selection import KFold, StratifiedKFold

# What makes shares of logits: one of all classes, or one of each class by itself.
Link: TypeAlias = Literal["softmax", "sigmoid"]
# Rows to fit to, and rows to judge by.
_Folds: TypeAlias = "list[tuple[np.ndarray, ...]]"
# What is recorded of it: JSON.
Told: TypeAlias = dict[str, Any]
FOLDS = 5
# Rows of the validation split below which nothing is fitted.
LEAST = 20
# Scores in float32 end here; a logit is no surer than that.
_SURE = 1e-30
_SURE_OF_ONE = 1e-7
# By so much temperatures may be off from 1 either way.
_MOST_LOG = float(np.log(50.0))
NONE, TEMPERATURE, BIASED = "none", "temperature", "temperature and bias"


@dataclasses.dataclass(frozen=True)
class Scaling:
    """What logits become: `logit / temperature + bias`.

    Attributes:
        temperature: Above 0; above 1 where the model was too sure.
        bias: What is added for each class, or nothing.
        mark: Of the weights that hold it; of others it says nothing.
    """

    temperature: float = 1.0
    bias: tuple[float, ...] = ()
    mark: str = ""

    @classmethod
    def from_config(cls, config: Mapping[str, Any] | None) -> "Scaling | None":
        """Makes it again from its fields; `None` of `None`."""
        if config is None:
            return None
        bias = tuple(map(float, config["bias"]))
        return cls(float(config["temperature"]), bias, str(config["mark"]))

    def __str__(self) -> str:
        said = f"all logits divided by {self.temperature:.2f}"
        if not self.bias:
            return said
        return f"{said}, {min(self.bias):+.2f} to {max(self.bias):+.2f} added for each class"

    def applied(self, scores: np.ndarray, link: Link) -> np.ndarray:
        """What scores `[n, classes]` become.

        Args:
            scores: Shares, as the model gave them before.
            link: What made them.
        """
        return _shares(logits(scores, link) / self.temperature + self._biases(scores), link)

    def undone(self, scores: np.ndarray, link: Link) -> np.ndarray:
        """What scores `[n, classes]` were.

        Args:
            scores: Shares, as the model gives them now.
            link: What made them.
        """
        return _shares((logits(scores, link) - self._biases(scores)) * self.temperature, link)

    def _biases(self, scores: np.ndarray) -> np.ndarray:
        return np.array(self.bias) if self.bias else np.zeros(scores.shape[-1])


@dataclasses.dataclass(frozen=True)
class Choice:
    """What was fitted, and what each way is worth.

    Attributes:
        kept: `NONE`, `TEMPERATURE` or `BIASED`.
        scaling: The same in numbers; `None` of nothing.
        losses: The mean negative log-likelihood of each way on folds that it wasn't fitted to, in
            nats; empty if there were too few rows, or all of one class.
        rows: How many there were, of what belongs together.
    """

    kept: str
    scaling: Scaling | None
    losses: dict[str, float]
    rows: int


def why_not(told: Told) -> str | None:
    """Says why scores stayed as they were; `None` where they were scaled, or nobody tried.

    Args:
        told: What `calibrate` gives of a task.
    """
    if told.get("kept") != NONE:
        return None
    rows, losses = told["examples"], told["losses"]
    if not losses and rows >= LEAST:
        return f"scores aren't scaled: all {rows} validation examples have the same label"
    if not losses:
        return f"scores aren't scaled: {rows} validation examples are too few, {LEAST} it takes"
    others = ", ".join(f"{losses[way]:.3f} by {way}" for way in losses if way != NONE)
    return (
        f"scores aren't scaled: on rows left out of {rows} validation examples nothing helps for "
        f"sure (log loss {losses[NONE]:.3f} as they are, {others})"
    )


def logits(scores: np.ndarray, link: Link) -> np.ndarray:
    """What a softmax or sigmoid made scores `[n, classes]` of, float64; of a softmax but for a sum.

    Args:
        scores: Shares.
        link: What made them.
    """
    shares = np.asarray(scores, "float64")
    if link == "softmax":
        return np.log(np.maximum(shares, _SURE))
    shares = np.clip(shares, _SURE, 1.0 - _SURE_OF_ONE)
    return np.log(shares) - np.log1p(-shares)


def loss(scores: np.ndarray, truth: np.ndarray, link: Link) -> np.ndarray:
    """The negative log-likelihood of each row `[n]`, in nats, of a sigmoid the mean over classes.

    Args:
        scores: Shares `[n, classes]`.
        truth: A 0 or a 1 for each class `[n, classes]`.
        link: What made the shares.
    """
    return _loss(logits(scores, link), truth, link)


def fitted(scores: np.ndarray, truth: np.ndarray, link: Link, biased: bool) -> Scaling:
    """The likeliest scaling, beside a prior as heavy as one row.

    Args:
        scores: Shares `[n, classes]` of rows that the model wasn't trained on.
        truth: A 0 or a 1 for each class `[n, classes]`.
        link: What made the shares.
        biased: Whether each class has a number of its own too.
    """
    given = logits(scores, link)
    classes = given.shape[1] if biased else 0

    def target(found: np.ndarray) -> tuple[float, np.ndarray]:
        sharpness, bias = np.exp(found[0]), found[1:] if biased else 0.0
        made = given * sharpness + bias
        off = (_shares(made, link) - truth) / (len(given) * _terms(truth, link))
        slope = np.append((off * given).sum() * sharpness, off.sum(axis=0) if biased else [])
        value = _loss(made, truth, link).mean() + (found @ found) / (2 * len(given))
        return float(value), slope + found / len(given)

    # Of a class that is never there, or always, its rows don't tell by how much.
    free = [(None, None) if told else (0.0, 0.0) for told in _varies(truth)]
    bounds = [(-_MOST_LOG, _MOST_LOG), *free[:classes]]
    best = scipy.optimize.minimize(
        target, np.zeros(1 + classes), jac=True, method="L-BFGS-B", bounds=bounds
    ).x
    return Scaling(float(np.exp(-best[0])), tuple(map(float, best[1:])))


def chosen(
    scores: np.ndarray,
    truth: np.ndarray,
    link: Link,
    seed: int = 0,
    biases: bool = True,
    owners: np.ndarray | None = None,
) -> Choice:
    """What is fitted to a validation split, if it is better than nothing on folds left out of it.

    A temperature is kept if the mean loss of rows left out falls. Biases may change answers: they
    are kept beside it only if the loss falls by more than the standard error of that, and no fewer
    answers are right. Rows of one class say nothing of how sure to be of it, nor rows without a
    class how much it was given too often: then there is nothing, or are no biases.

    Args:
        scores: Shares `[n, classes]` of rows that the model wasn't trained on.
        truth: A 0 or a 1 for each class `[n, classes]`.
        link: What made the shares.
        seed: Seed of the folds.
        biases: Whether there may be biases.
        owners: A number for each row; rows of one number, as words of a sentence, are in one fold
            and count as one.
    """
    varies, count = _varies(truth), len(scores if owners is None else np.unique(owners))
    if count < LEAST or not varies.any():
        return Choice(NONE, None, {}, count)
    biases = biases and bool(link == "sigmoid" or varies.all())
    rows, made = {NONE: loss(scores, truth, link)}, scores
    for name in (TEMPERATURE, BIASED) if biases else (TEMPERATURE,):
        made = _left_out(scores, truth, link, name == BIASED, _folds(truth, link, seed, owners))
        rows[name] = loss(made, truth, link)
    kept = TEMPERATURE if rows[TEMPERATURE].mean() < rows[NONE].mean() else NONE
    if biases and _is_right(made, truth, link) >= _is_right(scores, truth, link):
        gained = rows[kept] - rows[BIASED]
        if gained.mean() > gained.std(ddof=1) / np.sqrt(len(gained)):
            kept = BIASED
    found = None if kept == NONE else fitted(scores, truth, link, kept == BIASED)
    return Choice(kept, found, {name: float(x.mean()) for name, x in rows.items()}, count)


def _left_out(
    scores: np.ndarray, truth: np.ndarray, link: Link, biased: bool, folds: _Folds
) -> np.ndarray:
    """The scores of each row, scaled as the other folds would have it."""
    made = np.empty(scores.shape)
    for others, own in folds:
        scaling = fitted(scores[others], truth[others], link, biased)
        made[own] = scaling.applied(scores[own], link)
    return made


def _is_right(scores: np.ndarray, truth: np.ndarray, link: Link) -> float:
    """The share of right answers; of a sigmoid, of each class."""
    if link == "softmax":
        return float((scores.argmax(axis=1) == truth.argmax(axis=1)).mean())
    return float(((scores >= 0.5) == (truth > 0.5)).mean())


def _folds(truth: np.ndarray, link: Link, seed: int, owners: np.ndarray | None) -> _Folds:
    if owners is not None:
        own = np.unique(owners, return_inverse=True)[1]
        found = KFold(FOLDS, shuffle=True, random_state=seed).split(np.arange(own.max() + 1))
        # Both sides hold numbers of owners.
        return [tuple(np.flatnonzero(np.isin(own, side)) for side in both) for both in found]
    classes = truth.argmax(axis=1)
    # Of a class that has fewer rows than there are folds some would have none.
    if link == "softmax" and min(np.bincount(classes)[np.unique(classes)]) >= FOLDS:
        return list(StratifiedKFold(FOLDS, shuffle=True, random_state=seed).split(truth, classes))
    return list(KFold(FOLDS, shuffle=True, random_state=seed).split(truth))


def _varies(truth: np.ndarray) -> np.ndarray:
    """Which classes some rows have and some haven't, bool `[classes]`."""
    found: np.ndarray = truth.min(axis=0) < truth.max(axis=0)
    return found


def _terms(truth: np.ndarray, link: Link) -> int:
    """Of how many terms the loss of a row is the mean."""
    return truth.shape[1] if link == "sigmoid" else 1


def _loss(given: np.ndarray, truth: np.ndarray, link: Link) -> np.ndarray:
    if link == "softmax":
        return np.logaddexp.reduce(given, axis=1) - (given * truth).sum(axis=1)
    return (np.logaddexp(0.0, given) - given * truth).mean(axis=1)


def _shares(given: np.ndarray, link: Link) -> np.ndarray:
    if link == "sigmoid":
        return np.exp(-np.logaddexp(0.0, -given))
    return np.exp(given - np.logaddexp.reduce(given, axis=1, keepdims=True))
