"""Scores made to mean what they say: a temperature, and what is added for each class.

A softmax or sigmoid trained to the end is surer than it should be. One number, by which all logits
are divided, mends most of it and changes no answer (Guo et al. 2017, "On Calibration of Modern
Neural Networks"); one more for each class mends classes that are given too often (Alexandari et
al. 2020, "Maximum Likelihood with Bias-Corrected Calibration"). Both are the likeliest given the
validation split and a prior of no change; which of them is kept is judged by cross-validation.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any, Literal, TypeAlias

import numpy as np
import scipy.optimize
from sklearn.model_selection import KFold, StratifiedKFold

# What makes shares of logits: one of all classes, one of each class by itself, of ordered classes
# the sigmoids of being above each but the last; or starts and ends of spans, which this module
# knows nothing of.
Link: TypeAlias = Literal["softmax", "sigmoid", "cumulative", "spans"]
# Rows to fit to, and rows to judge by.
Folds: TypeAlias = "list[tuple[np.ndarray, ...]]"
# What is recorded of it: JSON.
Told: TypeAlias = dict[str, Any]
FOLDS = 5
# Rows of the validation split below which nothing is fitted.
LEAST = 20
# Scores in float32 end here; a logit is no surer than that.
_SURE = 1e-30
_SURE_OF_ONE = 1e-7
# By so much temperatures may be off from 1 either way.
MOST_LOG = float(np.log(50.0))
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
        return _shares(logits(scores, link) / self.temperature + self._biases(), link)

    def undone(self, scores: np.ndarray, link: Link) -> np.ndarray:
        """What scores `[n, classes]` were.

        Args:
            scores: Shares, as the model gives them now.
            link: What made them.
        """
        return _shares((logits(scores, link) - self._biases()) * self.temperature, link)

    def _biases(self) -> np.ndarray:
        return np.array(self.bias or 0.0)


@dataclasses.dataclass(frozen=True)
class Choice:
    """What was fitted, and what each way is worth.

    Attributes:
        kept: `NONE`, `TEMPERATURE` or `BIASED`.
        scaling: The same in numbers; `None` of nothing.
        losses: The mean negative log-likelihood of each way on folds that it wasn't fitted to, in
            nats; empty if there were too few rows, or all of one class.
        rows: How many there were, of what belongs together.
        why: Why nothing was tried, where it isn't that all rows are too few, or of one class.
    """

    kept: str
    scaling: Scaling | None
    losses: dict[str, float]
    rows: int
    why: str = ""

    def told(self) -> Told:
        """All of it as JSON, to be recorded."""
        return {
            "kept": self.kept,
            "temperature": self.scaling.temperature if self.scaling else 1.0,
            "bias": list(self.scaling.bias) if self.scaling else [],
            "losses": self.losses,
            "examples": self.rows,
            **({"why": self.why} if self.why else {}),
        }


def why_not(told: Told) -> str | None:
    """Says why scores stayed as they were; `None` where they were scaled, or nobody tried.

    Args:
        told: What `calibrate` gives of a task.
    """
    if told.get("kept") != NONE:
        return None
    rows, losses = told["examples"], told["losses"]
    if told.get("why"):
        return f"scores aren't scaled: {told['why']}"
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
    """What scores `[n, classes]` were made of, float64; of a softmax but for a sum.

    Args:
        scores: Shares.
        link: What made them; of ordered classes it is `[n, classes - 1]`, by how much a text is
            above each threshold.
    """
    shares = np.asarray(scores, "float64")
    if link == "cumulative":
        # Sums from either end, so that neither is what rounding left of 1.
        below, above = shares.cumsum(axis=1)[:, :-1], shares[:, ::-1].cumsum(axis=1)[:, -2::-1]
        return np.log(np.maximum(above, _SURE)) - np.log(np.maximum(below, _SURE))
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
        off = _slopes(made, truth, link) / (len(given) * _terms(truth, link))
        slope = np.append((off * given).sum() * sharpness, off.sum(axis=0) if biased else [])
        value = _loss(made, truth, link).mean() + (found @ found) / (2 * len(given))
        return float(value), slope + found / len(given)

    # Of a class that is never there, or always, its rows don't tell by how much.
    free = [(None, None) if told else (0.0, 0.0) for told in _varies(truth)]
    bounds = [(-MOST_LOG, MOST_LOG), *free[:classes]]
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
    scores: np.ndarray, truth: np.ndarray, link: Link, biased: bool, folds: Folds
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


def folds_of_owners(owners: np.ndarray, seed: int) -> Folds:
    """Folds on one side of which all rows of an owner are.

    Args:
        owners: A number for each row `[n]`, of at least `FOLDS` owners.
        seed: Seed of the folds.
    """
    own = np.unique(owners, return_inverse=True)[1]
    found = KFold(FOLDS, shuffle=True, random_state=seed).split(np.arange(own.max() + 1))
    # Both sides hold numbers of owners.
    return [tuple(np.flatnonzero(np.isin(own, side)) for side in both) for both in found]


def some_rows(sizes: Sequence[int], most: int, seed: int) -> np.ndarray:
    """Rows drawn at random that have so many numbers together, in their order; at least one.

    Args:
        sizes: How many numbers each row has.
        most: How many they may have together.
        seed: Seed of what is drawn.
    """
    drawn = np.random.default_rng(seed).permutation(len(sizes))
    taken = np.searchsorted(np.cumsum(np.asarray(sizes)[drawn]), most, side="right")
    return np.sort(drawn[: max(1, taken)])


def _folds(truth: np.ndarray, link: Link, seed: int, owners: np.ndarray | None) -> Folds:
    if owners is not None:
        return folds_of_owners(owners, seed)
    classes = truth.argmax(axis=1)
    # Of a class that has fewer rows than there are folds some would have none.
    if link != "sigmoid" and min(np.bincount(classes)[np.unique(classes)]) >= FOLDS:
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
    if link == "cumulative":
        return -(_log_between(given) * truth).sum(axis=1)
    return (np.logaddexp(0.0, given) - given * truth).mean(axis=1)


def _slopes(given: np.ndarray, truth: np.ndarray, link: Link) -> np.ndarray:
    """By how much the loss of each row, times its terms, rises with what its shares are made of."""
    if link != "cumulative":
        return _shares(given, link) - truth
    above, below = _edges(given)
    odds = np.exp(below - above) / np.maximum(-np.expm1(below - above), _SURE)
    lower, upper = _share(-above) + odds, _share(below) + odds
    return upper[:, :-1] * truth[:, :-1] - lower[:, 1:] * truth[:, 1:]


def _log_between(given: np.ndarray) -> np.ndarray:
    """Logarithms of the shares of ordered classes `[n, classes]`, without cancellation."""
    above, below = _edges(given)
    gaps = np.log(np.maximum(-np.expm1(below - above), _SURE))
    return gaps - np.logaddexp(0.0, -above) - np.logaddexp(0.0, below)


def _edges(given: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """By how much a text is above the threshold below each class, and above that on top of it."""
    ends = np.full((len(given), 1), np.inf)
    return np.hstack([ends, given]), np.hstack([given, -ends])


def _share(given: np.ndarray) -> np.ndarray:
    return np.exp(-np.logaddexp(0.0, -given))


def _shares(given: np.ndarray, link: Link) -> np.ndarray:
    if link == "sigmoid":
        return _share(given)
    if link == "cumulative":
        return np.exp(_log_between(given))
    return np.exp(given - np.logaddexp.reduce(given, axis=1, keepdims=True))
