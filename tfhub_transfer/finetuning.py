"""Head first on frozen features, then the encoder's groups from the top."""

import dataclasses
import time
from collections.abc import Callable, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tfhub_transfer import history_table, judging, optimizers, progress, ranges, runtime
from tfhub_transfer.batching import ready
from tfhub_transfer.callbacks import FiniteLoss, KeepBest, ProgressiveUnfreezing
from tfhub_transfer.data import Examples, Stream
from tfhub_transfer.encoder import Encoder
from tfhub_transfer.epochs import show
from tfhub_transfer.errors import InputError
from tfhub_transfer.layouts import Rows, balance
from tfhub_transfer.models import TransferModel, size_schedule
from tfhub_transfer.multitask import MultiTaskModel
from tfhub_transfer.preprocessing import Truncation
from tfhub_transfer.schedules import WarmUpLinearDecay
from tfhub_transfer.stages import Outcome, best_epoch, thawed_words

FROZEN_BATCH, HEAD_BATCH = 64, 64
FROZEN_EPOCHS, STORED_EPOCHS = 3, 10
# A head needs some hundred steps however few the rows, and patience to match.
HEAD_STEPS, HEAD_PATIENCE_STEPS = 400, 60
# Each thawing traces the train step anew, which costs as much as many steps.
STAGE_STEPS = 8


@dataclasses.dataclass(frozen=True)
class Plan:
    """The finer settings of `fine_tune`.

    Args:
        learning_rate: Peak rate of the stage with a thawed encoder; the optimizer's own if not
            given.
        head_learning_rate: Rate of the head on frozen features.
        head_epochs: Most epochs of the head on frozen features, which stop early; 30 if not given,
            or as many as make 400 steps.
        unfreezing_epochs: Epochs over which the groups thaw, one after the other; all at once
            where that would leave a group fewer than 8 steps.
        layer_decay: Factor on the learning rate for each group further down.
        patience: Epochs without improvement before a stage ends.
        class_weight: Weight of each class, `{place in class_names: weight}`, as
            `task.class_weights(train.labels)` gives them.
        boundary: Whether layers that stay frozen throughout run once for each text, not once for
            each step (see `boundary.Boundary`).
        seed: Seed of the shuffling.
        verbose: 0 silent; 1 a line a stage, which shows on a terminal how far it is; 2 also a line
            an epoch; `"auto"` 1 on a terminal and 2 elsewhere.

    Raises:
        InputError: If a number is none, or out of range.
    """

    learning_rate: float | None = None
    head_learning_rate: float = 5e-3
    head_epochs: int | None = None
    unfreezing_epochs: float = 0.3
    layer_decay: float = 0.9
    patience: int = 3
    class_weight: dict[int, float] | None = None
    boundary: bool = True
    seed: int = 0
    verbose: Any = "auto"

    def __post_init__(self) -> None:
        def settle(name: str, parse: Callable[..., Any], *bounds: Any) -> None:
            value = getattr(self, name)
            if value is not None:
                object.__setattr__(self, name, parse(name, value, *bounds))

        settle("learning_rate", ranges.real_number, *ranges.LEARNING_RATE)
        settle("head_learning_rate", ranges.real_number, *ranges.LEARNING_RATE)
        settle("head_epochs", ranges.whole_number, *ranges.EPOCHS)
        settle("unfreezing_epochs", ranges.real_number, 0.0, ranges.EPOCHS[1])
        settle("layer_decay", ranges.real_number, 0.0, 1.0)
        settle("patience", ranges.whole_number, *ranges.EPOCHS)
        settle("seed", ranges.whole_number, *ranges.SEED)


@dataclasses.dataclass
class History(history_table.Told):
    """What `fine_tune` did; printed, a table of one screen.

    Attributes:
        history: Curves, one value an epoch, the head's epochs first.
        seconds: Wall-clock seconds of each stage.
        thawed_groups: `(epoch, number of groups thawed from the top)` for the curves.
        head_epochs: How many of the epochs trained the head alone.
        outcomes: What each stage kept, and what it tried in vain.
        truncation: What was cut off the training texts; `None` for a `Stream`.
        padding: The share of padding among the tokens of the second stage's batches; `None` if
            there was no such stage, or for a `Stream`.
    """

    history: dict[str, list[float]] = dataclasses.field(default_factory=dict)
    seconds: dict[str, float] = dataclasses.field(default_factory=dict)
    thawed_groups: list[tuple[float, int]] = dataclasses.field(default_factory=list)
    head_epochs: int = 0
    outcomes: list[Outcome] = dataclasses.field(default_factory=list)
    truncation: Truncation | None = None
    padding: float | None = None

    @property
    def best_epoch(self) -> int | None:
        """The place in the curves, from 0, of the weights that the model ended with.

        `None` if no epoch of the curves gave them, as where the heads of several tasks, whose
        curves aren't here, were not beaten by training all together.
        """
        stages = [each for each in self.outcomes if each.stage in ("head", "fine_tuning")]
        return best_epoch(stages, self.head_epochs)

    def to_dict(self) -> dict[str, list[Any]]:
        """The curves with their marks, as `TransferModel.history_` keeps them."""
        return {
            **self.history,
            "thawed_groups": self.thawed_groups,
            "best_epoch": [] if self.best_epoch is None else [self.best_epoch],
            "kept": [str(outcome) for outcome in self.outcomes],
        }

    def add(self, curves: dict[str, list[float]]) -> None:
        """Appends the curves of one stage."""
        for key, values in curves.items():
            self.history.setdefault(key, []).extend(float(v) for v in values)


def fine_tune(
    model: TransferModel,
    train: Examples | Stream,
    validation: Examples,
    epochs: int = 4,
    unfreeze: str | int = "auto",
    batch_size: int = 32,
    plan: Plan | None = None,
) -> History:
    """Trains a model: the head on frozen features first, then the encoder group by group.

    In the first stage each text passes through the frozen encoder once, and the head trains on
    the stored vectors until validation stops improving. In the second the encoder's groups thaw
    from the top. Each stage ends with the weights that were best on validation.

    Args:
        model: From `build_model`.
        train: Training examples; a `Stream` for files larger than memory.
        validation: Examples to judge by.
        epochs: Epochs of the second stage.
        unfreeze: `"none"` for the head alone, a number of groups from the top, `"all"`, or
            `"auto"`: all but a BERT's embeddings, which cost a third of each step and seldom gain.
        batch_size: Rows in a batch of the second stage.
        plan: Finer settings.

    Returns:
        The curves, and the seconds of each stage.

    Raises:
        InputError: If an argument is out of range, or a label is unknown to the task; or, while it
            trains, if the loss is no finite number. The model is worthless then.

    Example:

    >>> history = fine_tune(model, train, validation, epochs=4)
    """
    plan = plan or Plan()
    model.encoder.mark_unread(*model.unread_groups)
    groups = groups_to_thaw(model.encoder, unfreeze)
    epochs = ranges.whole_number("epochs", epochs, *ranges.EPOCHS)
    batch_size = ranges.whole_number("batch_size", batch_size, *ranges.BATCH_SIZE)
    if isinstance(train, Stream) and model.task.layout != "whole":
        raise InputError(
            f"the {model.task.name} task is trained from memory: `read` the file. Received: Stream"
        )
    if plan.class_weight:
        model.task.check_class_weights(plan.class_weight)
    for examples in (train, validation):
        if not isinstance(examples, Stream):
            _check(model, examples)
    model.layout.learn(train)
    judged = model.cut(validation)
    with progress.shown(show(plan.verbose) > 0), progress.stage("Preparing", final=False):
        model.preprocess(judged, batch_size)  # bad labels come to light before anything trains
        judging.require_trainable(model, judged, plan.learning_rate)
    rows: Any = train if isinstance(train, Stream) else model.cut(train)
    if not isinstance(train, Stream):
        model.training_examples = train
    _remember(model, train, validation)
    history = History()
    with (
        progress.shown(show(plan.verbose) > 0),
        runtime.precision("auto", model.encoder.dimension),
    ):
        if isinstance(model, MultiTaskModel):
            best = _train_heads(model, (rows, judged), plan, history)
            rows = balance(rows, model.task.alpha, plan.seed)
        elif model.task.has_head:
            best = _train_head(model, (rows, judged), plan, history)
        else:
            best = _judge(model, judged, history)
        if groups:
            size = epochs, groups, batch_size
            _thaw_from_top(model, (rows, judged), size, plan, best, history)
        _tune(model, validation)
    model.history_ = history.to_dict()
    return history


def _remember(model: TransferModel, train: Any, validation: Any) -> None:
    """Notes which texts the model has seen, so that a test can be looked through for them."""
    if isinstance(model, MultiTaskModel):
        for name, single in model.models.items():
            _remember(single, train[name], validation[name])
        return
    chunks = train if isinstance(train, Stream) else [train]
    seen = model.seen_texts.with_texts("train", (chunk.texts for chunk in chunks))
    model.seen_texts = seen.with_texts("validation", [validation.texts])


def _check(model: TransferModel, examples: Any) -> None:
    """Refuses before any work what would fail in the middle of it."""
    model.layout.check(examples)
    for each in examples.values() if isinstance(examples, dict) else [examples]:
        if not len(each):
            raise InputError("expected examples to train on and to judge by. Received: none")
    model.task.check_training(examples)


def _tune(model: TransferModel, validation: Any) -> None:
    """Lets each task settle what it chooses by its answers to the validation split."""
    if isinstance(model, MultiTaskModel):
        for name, single in model.models.items():
            _tune(single, validation[name])
        return
    with progress.stage("Settling on validation", final=False):
        model.task.tune(validation, lambda: model.predict_text(list(zip(*validation.texts))))


def groups_to_thaw(encoder: Encoder, unfreeze: str | int) -> int:
    """How many of the encoder's groups `unfreeze` means.

    Args:
        encoder: The encoder.
        unfreeze: `"none"`, `"auto"`, `"all"`, or a number, also as a string.

    Raises:
        InputError: If it is none of these, or more than the encoder has.
    """
    names = [name for name, _ in encoder.layer_groups]
    if unfreeze == "none":
        return 0
    if unfreeze == "all":
        return len(names)
    if unfreeze == "auto":
        return sum(name != "embeddings" for name in names) or len(names)
    try:
        return ranges.whole_number("unfreeze", unfreeze, 0, len(names))
    except InputError as error:
        raise InputError(
            f"`unfreeze` must be none, auto, all or a number up to {len(names)}, the layer groups "
            f"of this encoder ({', '.join(names) or 'none can be trained'}). Received: {unfreeze!r}"
        ) from error


def _train_head(
    model: TransferModel, splits: tuple[Any, Rows], plan: Plan, history: History, name: str = ""
) -> float:
    """Trains the head with the encoder frozen; returns the best value on validation."""
    started = time.perf_counter()
    model.encoder.trainable = False
    # The loss, because accuracy on a small validation split moves in jumps.
    keep = KeepBest("val_loss", "min", patience=plan.patience)
    if model.has_fixed_features and not isinstance(splits[0], Stream):
        curves = _fit_on_features(model, splits, plan, keep, history)
    else:
        curves = _fit_frozen(model, splits, plan, keep, history)
    history.add(curves)
    history.head_epochs = len(curves["loss"])
    history.seconds["head"] = time.perf_counter() - started - history.seconds.get("features", 0)
    best = _note_head(model, keep, curves, history)
    if show(plan.verbose):
        if history.truncation and history.truncation.texts:
            progress.say(f"At {model.sequence_length} tokens {history.truncation}")
        spent = time.perf_counter() - started
        progress.say(f"{name}{': ' * bool(name)}{history.outcomes[-1]}, {spent:.1f} s")
    return best


def _note_head(
    model: TransferModel, keep: KeepBest, curves: dict[str, list[float]], history: History
) -> float:
    metric = judging.monitor(model)[0]
    kept = keep.best_epoch or 0
    value = float(curves[metric][kept])
    history.outcomes.append(Outcome("head", metric, len(curves["loss"]), kept + 1, value))
    return value


def _train_heads(
    model: MultiTaskModel, splits: tuple[Any, Any], plan: Plan, history: History
) -> float:
    """As `_train_head` for each task: as long as the encoder is frozen, none touches another."""
    values = []
    for name, single in model.models.items():
        own, single.jit_compile = History(), model.jit_compile
        with progress.titled(name):
            value = _train_head(single, (splits[0][name], splits[1][name]), plan, own, name)
        values.append(value if single.task.monitor[1] == "max" else -value)
        history.outcomes += [
            dataclasses.replace(outcome, stage=f"{name} {outcome.stage}")
            for outcome in own.outcomes
        ]
        for stage, seconds in own.seconds.items():
            history.seconds[stage] = history.seconds.get(stage, 0.0) + seconds
    if judging.monitor(model) != model.task.monitor:
        return _judge(model, splits[1], history)
    return float(np.mean(values))


def _judge(model: TransferModel, judged: Rows, history: History) -> float:
    """The value on validation of a model as it is, with the encoder frozen."""
    started = time.perf_counter()
    model.encoder.trainable = False
    batches = model.preprocess(judged, FROZEN_BATCH, shuffle=False)
    with progress.stage("Measuring on validation", final=False):
        found = model.evaluate(batches, verbose=0, return_dict=True)
    spent = time.perf_counter() - started
    history.seconds["head"] = history.seconds.get("head", 0.0) + spent
    return float(found[judging.monitor(model)[0].removeprefix("val_")])


def _fit_on_features(
    model: TransferModel, splits: Sequence[Rows], plan: Plan, keep: KeepBest, history: History
) -> dict[str, list[float]]:
    started = time.perf_counter()
    features, counts = [], [len(rows) for rows in splits]
    with progress.stage("Features", sum(counts), "examples"):
        for rows, count in zip(splits, counts):
            with progress.part(worth=count):
                features.append(model.compute_features(rows))
            history.truncation = history.truncation or model.truncation
    history.seconds["features"] = time.perf_counter() - started
    labels = [model.task.encode(rows.examples.labels) for rows in splits]
    batch_size = HEAD_BATCH if len(labels[0]) > 100 * HEAD_BATCH else HEAD_BATCH // 2
    steps = -(-len(labels[0]) // batch_size)
    head = _compiled(model, model.head_model, plan, min(steps, HEAD_STEPS))
    keep.patience = max(plan.patience, HEAD_PATIENCE_STEPS // steps)
    with progress.stage("Head", final=False) as stage:
        return head.fit(
            _rows(features[0], labels[0], batch_size, plan.seed),
            validation_data=_rows(features[1], labels[1], batch_size),
            epochs=plan.head_epochs or max(30, HEAD_STEPS // steps),
            shuffle=False,  # they are
            callbacks=[FiniteLoss(), keep, judging.shown(model, stage)],
            class_weight=plan.class_weight,
            verbose=0,
        ).history


def _rows(
    features: np.ndarray, labels: np.ndarray, batch_size: int, seed: int | None = None
) -> tf.data.Dataset:
    """Batches of stored vectors, shuffled anew in every epoch if there is a seed."""
    numbers = tf.data.Dataset.range(len(labels))
    if seed is not None:
        numbers = numbers.shuffle(len(labels), seed=seed)
    numbers = numbers.batch(batch_size)
    if not isinstance(features, np.memmap):
        held = tf.constant(features)
        return ready(numbers.map(lambda n: (tf.gather(held, n), tf.gather(labels, n))))

    def read(rows: tf.Tensor) -> tf.Tensor:
        found = tf.numpy_function(lambda n: features[n], [rows], tf.float32)
        return tf.ensure_shape(found, (None, features.shape[1]))

    return ready(numbers.map(lambda n: (read(n), tf.gather(labels, n))))


def _fit_frozen(
    model: TransferModel, splits: tuple[Any, Rows], plan: Plan, keep: KeepBest, history: History
) -> dict[str, list[float]]:
    """A head that reads token vectors: on stored ones, or through the encoder for fewer epochs."""
    stored = _above_boundary(model, splits, FROZEN_BATCH, plan, history)
    if stored is None:
        model.trace_for_replicas()
        batches = model.preprocess(splits[0], FROZEN_BATCH, seed=plan.seed)
        history.truncation = None if isinstance(splits[0], Stream) else model.truncation
        validation = model.preprocess(splits[1], FROZEN_BATCH)
    else:
        _, batches, validation = stored
        history.truncation, history.padding = model.count_truncation(splits[0]), None
    usual = FROZEN_EPOCHS if stored is None else STORED_EPOCHS
    head = _compiled(model, lambda: stored[0] if stored else _again(model), plan)
    with progress.stage("Head", final=False) as stage:
        return head.fit(
            batches,
            validation_data=validation,
            epochs=plan.head_epochs or model.task.head_epochs or usual,
            shuffle=False,  # they are
            callbacks=[FiniteLoss(), keep, judging.shown(model, stage, plan.verbose)],
            class_weight=plan.class_weight,
            verbose=0,
        ).history


def _again(model: TransferModel) -> keras.Model:
    """The same layers as another model."""
    return runtime.Replicated(model.inputs, model.outputs)


def _compiled(
    model: TransferModel,
    make: Callable[[], keras.Model],
    plan: Plan,
    steps_at_once: int | None = None,
) -> keras.Model:
    """Another model over the same layers, with an optimizer of its own."""
    if model.distribute_strategy.num_replicas_in_sync > 1:
        steps_at_once = 1  # of batches that are dealt out to replicas Keras can't take several
    with model.distribute_strategy.scope():
        made = make()
        optimizer = keras.optimizers.Adam(plan.head_learning_rate)
        model.compile_alike(made, optimizer, steps_at_once)
    return made


def _thaw_from_top(
    model: TransferModel,
    splits: tuple[Any, Rows],
    size: tuple[int, int, int],
    plan: Plan,
    best: float,
    history: History,
) -> None:
    started = time.perf_counter()
    epochs, groups, batch_size = size
    _set_rate(model, plan.learning_rate)
    model.encoder.freeze_to(-groups)
    trained, batches, validation = _above_boundary(
        model, splits, batch_size, plan, history
    ) or _whole(model, splits, batch_size, plan, history)
    pace = plan.unfreezing_epochs / groups
    unfreezing = ProgressiveUnfreezing(
        start_epoch=0,
        epochs_per_group=pace if pace * int(batches.cardinality()) >= STAGE_STEPS else 1e-6,
        num_groups=groups,
        layer_decay=plan.layer_decay,
    )
    size_schedule(model.optimizer, int(batches.cardinality()) * epochs)
    monitor, mode = judging.monitor(model)
    keep = KeepBest(monitor, mode, initial=best, patience=plan.patience)
    with progress.stage(thawed_words(groups), final=False) as stage:
        curves = trained.fit(
            batches,
            validation_data=validation,
            epochs=epochs,
            shuffle=False,  # they are
            callbacks=[FiniteLoss(), unfreezing, keep, judging.shown(model, stage, plan.verbose)],
            class_weight=plan.class_weight,
            verbose=0,
        ).history
    offset = history.head_epochs
    history.thawed_groups = [(offset + at, count) for at, count in unfreezing.thawed_at]
    history.add(curves)
    history.seconds["fine_tuning"] = time.perf_counter() - started
    history.outcomes.append(_outcome_of_thawing(keep, len(curves["loss"]), groups, best))
    if show(plan.verbose):
        progress.say(f"{history.outcomes[-1]}, {history.seconds['fine_tuning']:.1f} s")


def _outcome_of_thawing(keep: KeepBest, epochs: int, groups: int, before: float) -> Outcome:
    metric = keep.monitor if isinstance(keep.monitor, str) else "the tasks' mean"
    kept = None if keep.best_epoch is None else keep.best_epoch + 1
    value = before if keep.best is None else keep.best
    return Outcome("fine_tuning", metric, epochs, kept, value, before, keep.tried, groups)


def _whole(
    model: TransferModel,
    splits: tuple[Any, Rows],
    batch_size: int,
    plan: Plan,
    history: History,
) -> tuple[keras.Model, Any, Any]:
    batches = model.preprocess(splits[0], batch_size, seed=plan.seed)
    history.padding = None if isinstance(splits[0], Stream) else model.padding
    return model, batches, model.preprocess(splits[1], FROZEN_BATCH)


def _above_boundary(
    model: TransferModel,
    splits: tuple[Any, Rows],
    batch_size: int,
    plan: Plan,
    history: History,
) -> tuple[keras.Model, Any, Any] | None:
    """The thawed top as a model of its own, with batches of what the frozen layers give it."""
    boundary = model.boundary() if plan.boundary and not isinstance(splits[0], Stream) else None
    if boundary is None:
        return None
    batches = []
    with progress.stage("Token vectors", unit="rows") as stage:
        ids = [model.to_ids(rows) for rows in splits]
        stage.expect(sum(len(each.lost) for each in ids))
        for rows, each, size in zip(splits, ids, (batch_size, FROZEN_BATCH)):
            with progress.part(worth=len(each.lost)):
                stored = boundary.store(each)
            if stored is None:
                stage.final = False
                return None
            made, padding = stored.batches(size, plan.seed)
            batches.append(made)
            history.padding = padding if rows is splits[0] else history.padding
    with model.distribute_strategy.scope():
        return model.model_above(boundary), *batches


def _set_rate(model: TransferModel, learning_rate: float | None) -> None:
    if learning_rate is None:
        return
    schedule = optimizers.rate(model.optimizer)
    if isinstance(schedule, WarmUpLinearDecay):
        schedule.size(schedule.start, schedule.total_steps, learning_rate)
    else:
        model.optimizer.learning_rate = learning_rate
