"""Texts of a class drawn together: the loss, which texts meet in a batch, what that is worth."""

import math
from collections.abc import Iterator
from typing import Any

import keras
import numpy as np
from sklearn.linear_model import LogisticRegression

# Of Khosla et al. 2020; cosines go from -1 to 1, of which a softmax can't tell anything by itself.
TEMPERATURE = 0.1
# Texts in a batch, and of a class in it: two at least, or nothing draws them together.
BATCH, OF_CLASS = 32, 4
# The inverse penalty of logistic regression on unit vectors; at 1 it underfits a few texts a class.
_INVERSE_PENALTY = 10.0
_MOST_STEPS = 300


@keras.saving.register_keras_serializable(package="tfhub_transfer")
class SupervisedContrastive(keras.losses.Loss):
    """Each text of a batch must tell the others of its class from all the rest.

    Khosla et al. 2020, "Supervised Contrastive Learning", the second equation: the mean over the
    others of its class of the negative logarithm of the share that each has in a softmax of the
    cosines to all others. Reads unit vectors `[batch, d]` and numbers of classes `[batch]`. The
    loss is a mean over the texts that have another of their class in the batch.

    Args:
        temperature: Divides the cosines.
        name: The loss' name.
    """

    def __init__(self, temperature: float = TEMPERATURE, name: str = "loss", **kwargs: Any) -> None:
        super().__init__(name=name, **kwargs)
        self.temperature = temperature

    def call(self, y_true: keras.KerasTensor, y_pred: keras.KerasTensor) -> keras.KerasTensor:
        ops = keras.ops
        classes = ops.reshape(ops.cast(y_true, "int32"), (-1,))
        itself = ops.eye(ops.shape(y_pred)[0], dtype=y_pred.dtype)
        alike = ops.cast(classes[:, None] == classes[None], y_pred.dtype) - itself
        near = ops.matmul(y_pred, ops.transpose(y_pred)) / self.temperature
        # Far below any cosine, and finite, since infinity times the 0 of `alike` is no number.
        shares = ops.log_softmax(near - 1e9 * itself, axis=-1)
        others = ops.sum(alike, axis=-1)
        own = -ops.sum(alike * shares, axis=-1) / ops.maximum(others, 1.0)
        # Keras takes the mean over all texts; those that are alone in their class say nothing.
        told = ops.cast(others > 0, y_pred.dtype)
        return own * ops.cast(ops.size(told), y_pred.dtype) / ops.maximum(ops.sum(told), 1.0)

    def get_config(self) -> dict[str, object]:
        return {**super().get_config(), "temperature": self.temperature}


def draws(classes: np.ndarray, steps: int, seed: int) -> Iterator[np.ndarray]:
    """Which texts meet in each step: some of each of several classes, or all of a small one.

    Classes come in turn: each before any comes again. Few classes have more texts each.

    Args:
        classes: The class of each text, int `[n]`.
        steps: How many batches.
        seed: Seed of the drawing.

    Returns:
        Row numbers of each batch, at most `BATCH`.
    """
    random = np.random.default_rng(seed)
    members = [np.flatnonzero(classes == each) for each in np.unique(classes)]
    many = min(len(members), BATCH // OF_CLASS)
    turn: list[int] = []
    for _ in range(steps):
        while len(turn) < many:
            # None twice in a batch, where one turn ends and the next begins.
            turn += sorted(random.permutation(len(members)).tolist(), key=turn.__contains__)
        chosen, turn = turn[:many], turn[many:]
        yield np.concatenate([random.permutation(members[c])[: BATCH // many] for c in chosen])


def folds(classes: np.ndarray, count: int, seed: int) -> np.ndarray:
    """The fold of each text, int `[n]`: of each class as many in each, or one more.

    Args:
        classes: The class of each text, int `[n]`.
        count: How many folds.
        seed: Seed of the drawing.
    """
    random, found = np.random.default_rng(seed), np.empty(len(classes), int)
    # Where one class ends the next goes on, so that the folds are of one size.
    order = np.argsort(classes + random.random(len(classes)) / 2, kind="stable")
    found[order] = np.arange(len(classes)) % count
    return found


def right(
    known: np.ndarray, classes: np.ndarray, asked: np.ndarray, truth: np.ndarray
) -> np.ndarray:
    """Which texts logistic regression answers rightly that has learned from others, bool `[n]`.

    Args:
        known: Unit vectors of the others `[m, d]`.
        classes: Their classes `[m]`.
        asked: Unit vectors of the texts `[n, d]`.
        truth: Their classes `[n]`.
    """
    if len(np.unique(classes)) == 1:
        return np.asarray(truth == classes[0])
    fitted = LogisticRegression(C=_INVERSE_PENALTY, max_iter=_MOST_STEPS).fit(known, classes)
    return np.asarray(fitted.predict(asked) == truth)


def surely_worse(without: np.ndarray, tried: np.ndarray) -> bool:
    """Whether fewer are right with what was tried, by more than one standard error.

    Of few texts a difference is chance more often than not, and texts drawn together have gained
    wherever that was measured: what says nothing doesn't speak against it.

    Args:
        without: Which texts are right without it, bool `[n]`.
        tried: The same with it.

    Example:

    >>> surely_worse(np.array([True, True, False]), np.array([True, False, True]))
    False
    """
    gained = tried.astype(float) - without
    return bool(gained.mean() < -gained.std(ddof=1) / math.sqrt(len(gained)))
