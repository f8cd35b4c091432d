"""Learning rate range tests: how the loss takes rates from far too low to far too high."""

import contextlib
import gc
import random
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, cast

import keras
import numpy as np
import tensorflow as tf

from tfhub_transfer import progress, runtime
from tfhub_transfer.callbacks.thawing import ProgressiveUnfreezing
from tfhub_transfer.data import Examples, Stream, streamed, weighing
from tfhub_transfer.data.passes import Epochs
from tfhub_transfer.encoders.encoder import frozen_as_it_was
from tfhub_transfer.errors import InputError
from tfhub_transfer.incoming import ranges, usual
from tfhub_transfer.models.transfer import TransferModel, require_model
from tfhub_transfer.optimization import optimizers
from tfhub_transfer.runtime import cluster
from tfhub_transfer.shapes import Logs
from tfhub_transfer.tasks.layouts import Rows, balance
from tfhub_transfer.training import feeding, finetuning, following, judging
from tfhub_transfer.training.epochs import show
from tfhub_transfer.training.heads import batch_size_for
from tfhub_transfer.training.stages import FROZEN_BATCH, Plan, by_task, planned
from tfhub_transfer.training.unfreezing import groups_to_thaw
from tfhub_transfer.tuning.found_rates import LearningRates, Watched, steepest

# Of a head the usual rate is 5e-3, of encoders 5e-5 to 6e-3.
_HEAD, _THAWED = (1e-5, 10.0), (1e-7, 1.0)
STEPS = 100
_LEAST_STEPS, _MOST_STEPS = 10, 100_000


@streamed.errors_alone()
def find_learning_rate(
    model: TransferModel,
    train: Examples | Stream | Mapping[str, Examples],
    unfreeze: str | int = "none",
    rates: Sequence[float] | None = None,
    steps: int = STEPS,
    batch_size: int | None = None,
    plan: Plan | None = None,
) -> LearningRates:
    """Tests a range of learning rates on a model, which it leaves exactly as it was.

    The range test of Smith 2017 ("Cyclical learning rates for training neural networks",
    https://arxiv.org/abs/1506.01186): each step trains at a higher rate than the one before, by the
    same factor, and the loss tells which rates teach. What trains is what `fine_tune` would train:
    the head by Adam on a frozen encoder, from stored vectors where there are some; or head and
    thawed groups together by the model's own optimizer, made anew, with `layer_decay`. It ends
    early where the loss diverges.

    The suggestion is the rate at which the smoothed loss falls steepest, less the steps that an
    average is late. Smith reads the ends of the range by eye, others take a tenth of the rate of
    the lowest loss, or a point of the longest fall: the steepest point needs no such factor, and
    doesn't move with where the loss ends or how far the range reaches. It tells the decade.

    Args:
        model: From `build_model`. For thawed groups one whose head is trained, by `fine_tune` with
            `unfreeze="none"`, as it is when they thaw; or what a new head learns hides the rest.
        train: Training examples, as for `fine_tune`.
        unfreeze: `"none"` for the head, `"auto"`, `"all"` or a number of groups from the top, all
            of which train from the first step on.
        rates: The lowest and the highest rate; 1e-5 and 10 for the head, 1e-7 and 1 for thawed
            groups if not given.
        steps: How many steps; rows come again as often as it takes.
        batch_size: Rows in a batch; as `fine_tune` has it if not given.
        plan: Of it `layer_decay`, `class_weight`, `boundary`, `seed` and `verbose`.

    Returns:
        Rates, losses and the suggestion, for `Plan(head_learning_rate=...)` or
        `Plan(learning_rate=...)`; it can `plot`.

    Raises:
        InputError: If an argument is out of range, the examples don't suit the model, or the loss
            is no finite number at the first step already.

    Example:

    >>> found = find_learning_rate(model, train, steps=40)
    >>> len(found.rates) == len(found.losses) <= 40
    True
    """
    require_model(model)
    plan = planned(plan)
    steps = ranges.whole_number("steps", steps, _LEAST_STEPS, _MOST_STEPS)
    batch_size = ranges.given(ranges.whole_number, "batch_size", batch_size, *ranges.BATCH_SIZE)
    finetuning.require_usable(model, plan, cast(Examples, train))
    width = model.encoder.dimension
    with (
        runtime.precision_of_all(model.distribute_strategy, "auto", width),
        frozen_as_it_was(model.encoder),
        progress.shown(show(plan.verbose) > 0),
    ):
        model.encoder.mark_unread(*model.unread_groups)
        groups = groups_to_thaw(model.encoder, unfreeze)
        _require_trained(model, groups)
        tried = _rates(rates, _THAWED if groups else _HEAD, steps)
        with _left_as_it_was(model, groups):
            model.encoder.freeze_to(-groups if groups else len(model.encoder.layer_groups))
            watched = _trained(model, train, groups, tried, batch_size, plan)
    return _found(watched, tried, groups)


def _require_trained(model: TransferModel, groups: int) -> None:
    if groups:
        optimizers.require(model.optimizer)
    elif not model.task.has_head:
        raise InputError(
            f"the {model.task.name} task has no head, so that nothing trains while the encoder is "
            "frozen; say what thaws, such as `unfreeze='auto'`. Received: none of the groups"
        )


def _rates(given: Sequence[float] | None, usual_ones: tuple[float, float], steps: int) -> Any:
    """The rate of each step, float64 `[steps]`."""
    try:
        low, high = usual_ones if given is None else given
    except (TypeError, ValueError):
        raise InputError(
            "`rates` are two numbers, the lowest and the highest, such as (1e-6, 1.0). "
            f"Received: {given!r:.80}"
        ) from None
    low = ranges.real_number("rates", low, *ranges.LEARNING_RATE)
    high = ranges.real_number("rates", high, *ranges.LEARNING_RATE)
    if not low < high:
        raise InputError(
            "`rates` go from a lower to a higher one, such as (1e-6, 1.0). "
            f"Received: {low:g} and {high:g}"
        )
    return np.geomspace(low, high, steps)


def _found(watched: Watched, tried: np.ndarray, groups: int) -> LearningRates:
    losses, smoothed = np.array(watched.losses), np.array(watched.smoothed)
    rates = tried[: len(losses)]
    if not len(losses):
        raise InputError(
            "the loss is no finite number at the first step, before anything was learned: build "
            "the model anew, or look at the labels and weights. Received: a loss of the first batch"
        )
    trained = f"the top {groups} of the encoder's groups" if groups else "the head"
    found = steepest(rates, losses, smoothed)
    return LearningRates(rates, losses, smoothed, found, watched.diverged, trained)


# What trains -------------------------------------------------------------------------------------


def _trained(
    model: TransferModel,
    train: Any,
    groups: int,
    rates: np.ndarray,
    batch_size: int | None,
    plan: Plan,
) -> Watched:
    train = weighing.taught(train)
    rows = train if isinstance(train, Stream) else model.cut(train)
    if not isinstance(rows, Stream):
        judging.require_trainable(model, rows)
    if model.task.several:
        rows = cast(Rows, balance(by_task(rows), model.task.alpha, plan.seed))
    size = batch_size or _batch_size(rows, groups)
    made, batches = _fed(model, rows, groups, size, plan)
    thawing = [_all_at_once(groups, plan)] if groups else []
    with progress.stage("Learning rates", len(rates), final=False) as stage:
        ramp = _Ramp(rates, stage)
        _run(model, made, batches, plan, [*thawing, ramp])
    return ramp.watched


def _batch_size(rows: Rows | Stream, groups: int) -> int:
    if groups:
        return usual.BATCH_SIZE
    return FROZEN_BATCH if isinstance(rows, Stream) else batch_size_for(feeding.count(rows))


def _all_at_once(groups: int, plan: Plan) -> ProgressiveUnfreezing:
    """As `fine_tune` thaws, with rates by layer, but from the first step on."""
    made = ProgressiveUnfreezing(0, 1, groups, layer_decay=plan.layer_decay)
    made.epochs_per_group = 0.0
    return made


def _fed(
    model: TransferModel, rows: Rows | Stream, groups: int, size: int, plan: Plan
) -> tuple[keras.Model, tf.data.Dataset]:
    """A model over the layers that are to train, with an optimizer of its own, and its batches."""
    lowest = 1e-7  # set anew before each step
    with model.distribute_strategy.scope():
        if groups:
            optimizer = optimizers.alike(model.optimizer, lowest)
        else:
            optimizer = keras.optimizers.Adam(lowest, name=optimizers.named(keras.optimizers.Adam))
    if not groups and model.has_fixed_features and isinstance(rows, Rows):
        features = following.features(model, rows)
        targets = model.layout.objective.targets(rows.examples)
        batches = feeding.of_vectors(features, targets, size, plan.seed)
        make = model.head_model
    else:
        make, batches = _above(model, rows, size, plan)
    with model.distribute_strategy.scope():
        made = make()
        model.compile_alike(made, optimizer, 1, measured=False)
    return made, batches


def _above(model: TransferModel, rows: Rows | Stream, size: int, plan: Plan) -> Any:
    """What makes a model of all that trains and of what it stands on, and batches for it."""
    boundary = model.boundary() if plan.boundary else None
    if boundary is not None and not isinstance(rows, Stream):
        stored = boundary.store(model.to_ids(rows))
        if cluster.everywhere(model.distribute_strategy, stored is not None):
            assert stored is not None
            batches, _ = stored.batches(size, plan.seed, model.replicas_of_shapes)
            return lambda: model.model_above(boundary), batches
    batches = model.preprocess(rows, size, seed=plan.seed)
    return model.once_more, batches


def _run(
    model: TransferModel,
    made: keras.Model,
    batches: tf.data.Dataset,
    plan: Plan,
    callbacks: list[keras.callbacks.Callback],
) -> None:
    """One epoch of as many passes over the rows as the steps take, which ends when they end."""
    order = cast(Epochs, getattr(batches, "epochs"))  # noqa: B009  of no type that is known
    steps = next(len(each.rates) for each in callbacks if isinstance(each, _Ramp))
    given = order.again(-(-steps // max(order.batches, 1)))
    order.begin(0)
    fed = model.layout.objective.fed(given, plan.class_weight)
    try:
        made.fit(**fed, epochs=1, shuffle=False, callbacks=callbacks, verbose=0)
    finally:
        # Keras' iterator, ended in the middle, goes in circles; without its dataset it would warn.
        gc.collect()


class _Ramp(keras.callbacks.Callback):
    """Sets the rate of each step, and takes down the loss of its batch."""

    def __init__(self, rates: np.ndarray, stage: progress.Stage) -> None:
        super().__init__()
        self.rates, self.watched, self._stage = rates, Watched(len(rates)), stage
        self._steps = 0

    def on_train_batch_begin(self, batch: int, logs: Logs | None = None) -> None:
        self.model.optimizer.learning_rate = float(self.rates[self._steps])
        self.model.reset_metrics()  # or Keras would report the mean of all batches so far

    def on_train_batch_end(self, batch: int, logs: Logs | None = None) -> None:
        self.watched.add(float((logs or {})["loss"]))
        self._steps += 1
        self._stage.add()
        if self.watched.diverged or self._steps == len(self.rates):
            self.model.stop_training = True


# What stays as it was ----------------------------------------------------------------------------


@contextlib.contextmanager
def _left_as_it_was(model: TransferModel, groups: int) -> Iterator[None]:
    """Gives a model, and what draws random numbers, the numbers back that they had.

    Args:
        model: The model, whose optimizer and train step nobody touches here.
        groups: How many of the encoder's groups may train; the others can't change.
    """
    encoder = model.encoder
    still = {id(weight) for weight in encoder.named_weights().values()}
    tops = encoder.layer_groups[-groups:] if groups else []
    still -= {id(weight) for _, weights in tops for weight in weights}
    numbers = [(v, v.numpy()) for v in model.variables if id(v) not in still]
    told, drawn = (model.truncation, model.padding), (random.getstate(), np.random.get_state())
    try:
        yield
    finally:
        for variable, value in numbers:
            variable.assign(value)
        model.truncation, model.padding = told
        random.setstate(drawn[0])
        np.random.set_state(drawn[1])
