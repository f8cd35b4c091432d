"""Heads on stored vectors that train one after the other, with what was compiled for the first.

To build and trace what trains a head takes several times as long as to train it. So where many are
trained, as in a search, heads of one form, which differ in rates, dropout and first weights, train
in a model that all of them share: it takes a head's weights over and gives them back. What comes of
it is to the bit what it would be otherwise.
"""

import collections
import contextlib
import contextvars
import functools
import hashlib
import json
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tfhub_transfer.models import compiling
from tfhub_transfer.optimization import planning
from tfhub_transfer.private import keras_training
from tfhub_transfer.runtime import cluster, precision_choice
from tfhub_transfer.runtime.dropout import Dropout, DropoutAsSet
from tfhub_transfer.shapes import Logs
from tfhub_transfer.tasks.objective import Objective, Targets
from tfhub_transfer.training import feeding
from tfhub_transfer.training.stages import Training

# Forms of heads, and splits with their vectors, that are kept: those that were used last.
_MOST_FORMS, _MOST_SPLITS = 8, 12
# Bytes of the vectors of a split; larger ones take longer to train on than to make batches of.
_MOST_BYTES = 16_000_000
# Whose classes are known to be what their configurations say.
_KNOWN = ("keras", "tfhub_transfer")


class Reused:
    """What is kept from one head to the next."""

    def __init__(self) -> None:
        self._forms: collections.OrderedDict[str, _Shared] = collections.OrderedDict()
        self._splits: collections.OrderedDict[bytes, tf.data.Dataset] = collections.OrderedDict()

    def shared(self, form: str, make: Callable[[], "_Shared"]) -> "_Shared":
        """What trains heads of a form.

        Args:
            form: What tells it from others.
            make: Makes it.
        """
        found = self._forms.pop(form, None) or make()
        self._forms[form] = found
        while len(self._forms) > _MOST_FORMS:
            self._forms.popitem(last=False)
        return found

    def batches(self, split: bytes, make: Callable[[], tf.data.Dataset]) -> tf.data.Dataset:
        """The batches of a split.

        Args:
            split: What tells it, and how it is shuffled, from others.
            make: Makes them.
        """
        found = self._splits.pop(split, None) or make()
        self._splits[split] = found
        while len(self._splits) > _MOST_SPLITS:
            self._splits.popitem(last=False)
        return found


_among: contextvars.ContextVar[Reused | None] = contextvars.ContextVar("reused", default=None)


@contextlib.contextmanager
def among(heads: Reused) -> Iterator[None]:
    """While the body runs, this thread trains heads with what is kept, and keeps more.

    Args:
        heads: What is kept.
    """
    token = _among.set(heads)
    try:
        yield
    finally:
        _among.reset(token)


def of_vectors(
    features: np.ndarray, targets: Targets, batch_size: int, seed: int | None = None
) -> tuple[tf.data.Dataset, int | None]:
    """The batches of `feeding.of_vectors`; those of before, if they are of the same vectors.

    Args:
        features: As there; likewise the others.
        targets: What the loss wants.
        batch_size: Rows in a batch.
        seed: Of the shuffling.

    Returns:
        The batches; and how many of them are a pass, where they have no end.
    """
    kept, steps = _among.get(), -(-len(features) // batch_size)
    few = features.nbytes <= _MOST_BYTES and steps <= planning.HEAD_STEPS
    # Of plain numbers: no rows of words, no weights of rows, nothing that is mapped from a file.
    if (
        kept is None
        or not few
        or type(targets) is not np.ndarray
        or type(features) is not np.ndarray
    ):
        return feeding.of_vectors(features, targets, batch_size, seed), None
    digest = hashlib.sha256(f"{batch_size} {seed}".encode())
    for each in (features, targets):
        digest.update(f" {each.dtype} {each.shape} ".encode())
        digest.update(each.tobytes())
    make = functools.partial(feeding.of_few_vectors, features, targets, batch_size, seed)
    return kept.batches(digest.digest(), make), None if seed is None else steps


@contextlib.contextmanager
def model_of(
    training: Training, at_once: int
) -> Iterator[tuple[keras.Model, Sequence[keras.callbacks.Callback]]]:
    """The model in which a training's head is to train, in the body.

    Args:
        training: The training.
        at_once: Keras' `steps_per_execution`.

    Returns:
        The model, compiled; and what `fit` is to tell of it before all else.
    """
    kept = _among.get()
    with training.model.distribute_strategy.scope():  # in which its variables belong
        head = training.model.head_model()
    form = _form(training, head, at_once) if kept is not None else None
    if kept is None or form is None:
        yield feeding.compiled(training, lambda: head, at_once), []
        return
    shared = kept.shared(form, lambda: _Shared(training, head, at_once))
    with shared.in_place_of(head, feeding.head_rate(training)) as told:
        yield shared.model, [told]


class _Shared:
    """A model that trains in the place of heads of one form."""

    def __init__(self, training: Training, head: keras.Model, at_once: int) -> None:
        made = keras.models.clone_model(head, clone_function=_as_set)
        self.model = feeding.compiled(training, lambda: made, at_once)

    @contextlib.contextmanager
    def in_place_of(self, head: keras.Model, rate: float) -> Iterator[keras.callbacks.Callback]:
        """In the body it trains for a head, which then has its weights.

        Args:
            head: The head.
            rate: At which learning rate.
        """
        mine, its = _variables(self.model), _variables(head)
        for variable, value in zip(mine, its, strict=True):
            variable.assign(value)
        for layer, other in zip(self.model.layers, head.layers, strict=True):
            if isinstance(layer, DropoutAsSet):
                layer.set_rate(other.rate)
        for variable in self.model.optimizer.variables:  # Adam begins with nothing but zeros
            variable.assign(keras.ops.zeros_like(variable))
        self.model.optimizer.learning_rate = rate
        told = _GiveBack(mine, its)
        yield told
        told.give()


class _GiveBack(keras.callbacks.Callback):
    """Gives a head what was trained in its place, so that who asks the whole model finds it."""

    def __init__(self, mine: list[keras.Variable], its: list[keras.Variable]) -> None:
        super().__init__()
        self._pairs = list(zip(mine, its, strict=True))

    def give(self) -> None:
        """Gives it."""
        for value, variable in self._pairs:
            variable.assign(value)

    def on_train_batch_end(self, batch: int, logs: Logs | None = None) -> None:
        self.give()


def _variables(model: keras.Model) -> list[keras.Variable]:
    """Weights of layers, and where their random numbers come from."""
    return [variable for layer in model.layers for variable in layer.variables]


def _as_set(layer: keras.Operation) -> keras.Operation:
    if not isinstance(layer, keras.layers.Layer):
        return layer  # which has nothing of its own
    kind: Any = DropoutAsSet if type(layer) is Dropout else type(layer)
    return kind.from_config(layer.get_config())


def _form(training: Training, head: keras.Model, at_once: int) -> str | None:
    """What tells a head and how it is trained from others, but for numbers that may be set anew.

    `None` where a user's own code may do anything, or several devices train it.
    """
    model = training.model
    objective, of = model.layout.objective, model.distribute_strategy
    own = compiling.metrics_of_ones_own(model, objective.measures())
    if own or type(objective) is not Objective or training.checkpoint is not None:
        return None
    if of.num_replicas_in_sync > 1 or cluster.place(of).count > 1:
        return None
    parts = [model.task, model.loss, getattr(model.loss, "fn", model.task), *head.operations]
    if not all(map(_is_known, parts)):
        return None
    serialize = keras.saving.serialize_keras_object
    config = head.get_config()
    for each in config["layers"]:
        if each["config"].get("rate") and each["class_name"] == Dropout.__name__:
            each["config"]["rate"] = "some"
    compiled = [
        *(at_once, model.jit_compile, model.run_eagerly, precision_choice.surrounding()),
        keras_training.loss_weights_given(model),
    ]
    said = json.dumps([serialize(model.task), serialize(model.loss), compiled, config], default=str)
    for at, each in enumerate(head.operations):  # of two heads they have other names
        said = said.replace(json.dumps(each.name), f'"#{at}"')
    return said


def _is_known(part: object) -> bool:
    where = getattr(part, "__module__", None) or type(part).__module__
    return where.partition(".")[0] in _KNOWN
