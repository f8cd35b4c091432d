"""Head first on frozen features, then the encoder's groups from the top."""

import dataclasses
import functools
import time
from collections.abc import Callable
from typing import Any, ClassVar

import keras
import numpy as np
import tensorflow as tf

from tfhub_transfer import progress, runtime
from tfhub_transfer.callbacks import own as own_callbacks
from tfhub_transfer.callbacks.thawing import FiniteLoss, KeepBest, ProgressiveUnfreezing
from tfhub_transfer.data import Examples, Stream, streamed, weighing
from tfhub_transfer.data.batching import ready, weighed
from tfhub_transfer.encoders.encoder import Encoder
from tfhub_transfer.errors import InputError
from tfhub_transfer.incoming import choices, ranges, usual
from tfhub_transfer.models.fitting import size_schedule
from tfhub_transfer.models.transfer import TransferModel
from tfhub_transfer.optimization import planning
from tfhub_transfer.tasks.layouts import Rows, balance
from tfhub_transfer.training import headlines, judging
from tfhub_transfer.training.epochs import show
from tfhub_transfer.training.history import History
from tfhub_transfer.training.stages import NOTHING, Outcome, thawed_words

FROZEN_BATCH, HEAD_BATCH = 64, 64
# Each thawing traces the train step anew, which costs as much as many steps.
STAGE_STEPS = 8

# Rows to train on, rows to judge by, and what these are judged by beside what Keras reports.
Splits = tuple[Any, Any, dict[str, headlines.Headline]]


@dataclasses.dataclass(frozen=True)
class Plan:
    """The finer settings of `fine_tune`.

    Args:
        learning_rate: Peak rate of the stage with a thawed encoder; if not given the optimizer's
            own, or what suits task and encoder where nobody chose an optimizer.
        head_learning_rate: Rate of the head on frozen features; 5e-3 if not given.
        head_epochs: Most epochs of the head on frozen features, which stop early; if not given as
            many as the rows need (see `docs/training.md`).
        unfreezing_epochs: Epochs over which the groups thaw, one after the other; all at once
            where that would leave a group fewer than 8 steps.
        layer_decay: Factor on the learning rate for each group further down.
        patience: Epochs without improvement before a stage ends; if not given half of its epochs,
            3 at least, and of a head on stored vectors as many as make 60 steps.
        class_weight: Weight of each class, `{place in class_names: weight}`, as
            `task.class_weights(train.labels)` gives them.
        boundary: Whether layers that stay frozen throughout run once for each text, not once for
            each step (see `boundary.Boundary`).
        seed: Seed of the shuffling.
        verbose: 0 silent; 1 a line a stage, which shows on a terminal how far it is; 2 also a line
            an epoch, but for heads on stored vectors; `"auto"` 1 on a terminal and 2 elsewhere.

    Raises:
        InputError: If a number is none, or out of range.
    """

    learning_rate: float | None = None
    head_learning_rate: float | None = None
    head_epochs: int | None = None
    unfreezing_epochs: float = 0.3
    layer_decay: float = 0.9
    patience: int | None = None
    class_weight: dict[int, float] | None = None
    boundary: bool = True
    seed: int = 0
    verbose: Any = "auto"
    _throughout: ClassVar[tuple[keras.callbacks.Callback, ...]] = ()

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
        object.__setattr__(self, "boundary", choices.flag("boundary", self.boundary))
        settle("seed", ranges.whole_number, *ranges.SEED)


@dataclasses.dataclass(frozen=True)
class _Staged(Plan):
    """A plan with the callbacks of the user, in the form in which each stage takes them."""

    _throughout: tuple[keras.callbacks.Callback, ...] = ()  # type: ignore[misc]


@streamed.errors_alone()
def fine_tune(
    model: TransferModel,
    train: Examples | Stream,
    validation: Examples,
    epochs: int | None = None,
    unfreeze: str | int = "auto",
    batch_size: int = usual.BATCH_SIZE,
    plan: Plan | None = None,
    callbacks: Any = None,
) -> History:
    """Trains a model: the head on frozen features first, then the encoder group by group.

    In the first stage each text passes through the frozen encoder once, and the head trains on
    the stored vectors until validation stops improving. In the second the encoder's groups thaw
    from the top. Each stage ends with the weights that were best on validation.

    Args:
        model: From `build_model`.
        train: Training examples; a `Stream` for files larger than memory.
        validation: Examples to judge by.
        epochs: Epochs of the second stage; if not given as many as the rows need, at least 4. Of
            few rows an epoch is then several passes over them (see `docs/training.md`).
        unfreeze: `"none"` for the head alone, a number of groups from the top, `"all"`, or
            `"auto"`: all but a BERT's embeddings, which cost a third of each step and seldom gain.
        batch_size: Rows in a batch of the second stage.
        plan: Finer settings.
        callbacks: Keras callbacks, which reach every stage: the head (of each task, one after the
            other), then what thaws. A stage is a training of its own to them, with the model that
            trains then, whose weights are the whole one's; epochs count on through the stages.
            `ModelCheckpoint` saves the whole model.

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
    epochs = ranges.given(ranges.whole_number, "epochs", epochs, *ranges.EPOCHS)
    batch_size = ranges.whole_number("batch_size", batch_size, *ranges.BATCH_SIZE)
    _require_usable(model, train, validation, plan)
    own_callbacks.check_stages(callbacks, model.optimizer, groups > 0, len(model.parts))
    throughout = (own_callbacks.Throughout(callbacks, model),) if callbacks else ()
    plan = _Staged(**vars(plan), _throughout=throughout)
    train, validation = weighing.taught(train), weighing.without(validation)
    model.layout.learn(train)
    judged = model.cut(validation)
    with progress.shown(show(plan.verbose) > 0), progress.stage("Preparing", final=False):
        model.preprocess(judged, batch_size)  # bad labels come to light before anything trains
        judging.require_trainable(model, judged, plan.learning_rate)
    rows: Any = train if isinstance(train, Stream) else model.cut(train)
    found = headlines.find(model, validation, judged, plan.seed)
    if not model.task.several:
        own_callbacks.check_names(callbacks, judging.reported(model, found))
    if not isinstance(train, Stream):
        model.training_examples = train
    _remember(model, train, validation)
    history = History(plan={"judged_by": judging.described(model, found)})
    with (
        progress.shown(show(plan.verbose) > 0),
        runtime.precision("auto", model.encoder.dimension),
    ):
        if model.task.several:
            best = _train_heads(model, (rows, judged, found), plan, history)
            rows = balance(rows, model.task.alpha, plan.seed)
        elif model.task.has_head:
            best = _train_head(model, (rows, judged, found), plan, history)
        else:
            best = _judge(model, judged, history)
        if groups:
            size = epochs, groups, batch_size
            _thaw_from_top(model, (rows, judged, found), size, plan, best, history)
        elif not history.outcomes and show(plan.verbose):
            progress.say(f"WARNING: {NOTHING}")
        _tune(model, validation)
    _note(model, history)
    return history


def _require_usable(model: TransferModel, train: Any, validation: Any, plan: Plan) -> None:
    """Refuses before any work what would fail in the middle of it."""
    if isinstance(train, Stream) and not model.task.one_row:
        raise InputError(
            f"the {model.task.name} task is trained from memory: read the file with `data.read`. "
            "Received: a stream"
        )
    if plan.class_weight:
        model.task.check_class_weights(plan.class_weight)
    for examples in (train, validation):
        if not isinstance(examples, Stream):
            _check(model, examples)


def _note(model: TransferModel, history: History) -> None:
    """Leaves the curves with the model, for its report."""
    history.add_joint()
    model.history_ = history.to_dict()
    for name, own in history.tasks.items():
        model.parts[name].history_ = own.to_dict()


def _remember(model: TransferModel, train: Any, validation: Any) -> None:
    """Notes which texts the model has seen, so that a test can be looked through for them."""
    taught, judged = model.task.apart(train), model.task.apart(validation)
    for name, single in model.parts.items():
        chunks = taught[name] if isinstance(taught[name], Stream) else [taught[name]]
        seen = single.seen_texts.with_texts("train", (chunk.texts for chunk in chunks))
        single.seen_texts = seen.with_texts("validation", [judged[name].texts])


def _check(model: TransferModel, examples: Any) -> None:
    """Refuses examples that no stage could train on or judge by."""
    model.layout.check(examples)
    for each in model.task.apart(examples).values():
        if not len(each):
            raise InputError(
                "expected examples to train on and to judge by, at least one each. Received: none"
            )
    model.task.check_training(examples)


def _tune(model: TransferModel, validation: Any) -> None:
    """Lets each task settle what it chooses by its answers to the validation split."""
    judged = model.task.apart(validation)
    for name, single in model.parts.items():
        texts = list(zip(*judged[name].texts))
        with progress.stage("Settling on validation", final=False):
            single.task.tune(judged[name], functools.partial(single.predict_text, texts))


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
    model: TransferModel, splits: Splits, plan: Plan, history: History, name: str = ""
) -> float:
    """Trains the head with the encoder frozen; returns the best value on validation."""
    started = time.perf_counter()
    model.encoder.trainable = False
    keep = KeepBest(*judging.head_monitor(model))
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
        progress.say(history.outcomes[-1].lines(spent, f"{name}{': ' * bool(name)}"))
    return best


def _note_head(
    model: TransferModel, keep: KeepBest, curves: dict[str, list[float]], history: History
) -> float:
    metric = judging.monitor(model)[0]
    kept = keep.best_epoch or 0
    value = float(curves[metric][kept])
    history.outcomes.append(Outcome("head", metric, len(curves["loss"]), kept + 1, value))
    return value


def _train_heads(model: TransferModel, splits: Splits, plan: Plan, history: History) -> float:
    """As `_train_head` for each task: as long as the encoder is frozen, none touches another."""
    values = []
    for name, single in model.parts.items():
        own, single.jit_compile = History(), model.jit_compile
        found = {"": splits[2][name]} if name in splits[2] else {}
        with progress.titled(name):
            value = _train_head(single, (splits[0][name], splits[1][name], found), plan, own, name)
        history.plan[f"{name} head"] = own.plan["head"]
        values.append(value if single.task.monitor[1] == "max" else -value)
        history.tasks[name] = own
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
    model: TransferModel, splits: Splits, plan: Plan, keep: KeepBest, history: History
) -> dict[str, list[float]]:
    started = time.perf_counter()
    features, counts = [], [len(rows) for rows in splits[:2]]
    with progress.stage("Features", sum(counts), "examples"):
        for rows, count in zip(splits, counts):
            with progress.part(worth=count):
                features.append(model.compute_features(rows))
            history.truncation = history.truncation or model.truncation
    history.seconds["features"] = time.perf_counter() - started
    labels = [model.layout.targets(rows.examples) for rows in splits[:2]]
    batch_size = HEAD_BATCH if len(splits[0]) > 100 * HEAD_BATCH else HEAD_BATCH // 2
    steps = -(-len(splits[0]) // batch_size)
    head = _compiled(model, model.head_model, plan, min(steps, planning.HEAD_STEPS))
    planned = planning.head_on_vectors(steps, plan.head_epochs, plan.patience)
    _begin(planned, "head", planning.head_rate(plan.head_learning_rate), keep, history)
    with progress.stage("Head", final=False) as stage:
        return head.fit(
            **weighed(_rows(features[0], labels[0], batch_size, plan.seed), plan.class_weight),
            validation_data=_rows(features[1], labels[1], batch_size),
            epochs=planned.epochs,
            shuffle=False,  # they are
            callbacks=[FiniteLoss(), *plan._throughout, keep, judging.shown(model, stage)],
            verbose=0,
        ).history


def _rows(
    features: np.ndarray, labels: Any, batch_size: int, seed: int | None = None
) -> tf.data.Dataset:
    """Batches of stored vectors, shuffled anew in every epoch if there is a seed."""
    wanted = labels if isinstance(labels, tuple) else (labels,)  # with weights of rows
    numbers = tf.data.Dataset.range(len(features))
    if seed is not None:
        numbers = numbers.shuffle(len(features), seed=seed)
    numbers = numbers.batch(batch_size)
    if not isinstance(features, np.memmap):
        held = tf.constant(features)
        return ready(
            numbers.map(lambda n: (tf.gather(held, n), *(tf.gather(each, n) for each in wanted)))
        )

    def read(rows: tf.Tensor) -> tf.Tensor:
        found = tf.numpy_function(lambda n: features[n], [rows], tf.float32)
        return tf.ensure_shape(found, (None, features.shape[1]))

    return ready(numbers.map(lambda n: (read(n), *(tf.gather(each, n) for each in wanted))))


def _fit_frozen(
    model: TransferModel, splits: Splits, plan: Plan, keep: KeepBest, history: History
) -> dict[str, list[float]]:
    """A head that reads token vectors: on stored ones, or through the encoder for fewer epochs."""
    size = FROZEN_BATCH
    if not isinstance(splits[0], Stream) and len(splits[0]) <= 100 * HEAD_BATCH:
        size = HEAD_BATCH // 2
    stored = _above_boundary(model, splits, size, plan, history)
    if stored is None:
        model.trace_for_replicas()
        batches = model.preprocess(splits[0], size, seed=plan.seed)
        history.truncation = None if isinstance(splits[0], Stream) else model.truncation
        validation = model.preprocess(splits[1], FROZEN_BATCH)
        judge = headlines.Judge(splits[2])
    else:
        _, batches, validation, judge = stored
        history.truncation, history.padding = model.count_truncation(splits[0]), None
    steps, given = int(batches.cardinality()), (plan.head_epochs, plan.patience)
    planned = planning.head_on_tokens(model.task, steps, stored is not None, *given)
    _begin(planned, "head", planning.head_rate(plan.head_learning_rate), keep, history)
    head = _compiled(model, lambda: stored[0] if stored else _again(model), plan)
    with progress.stage("Head", final=False) as stage:
        shown = judging.shown(model, stage, plan.verbose)
        return head.fit(
            **weighed(_repeated(batches, planned), plan.class_weight),
            validation_data=validation,
            epochs=planned.epochs,
            shuffle=False,  # they are
            callbacks=[FiniteLoss(), judge, *plan._throughout, keep, shown],
            verbose=0,
        ).history


def _begin(
    stage: planning.Stage,
    name: str,
    rate: tuple[float | None, str],
    keep: KeepBest,
    history: History,
) -> planning.Stage:
    """Notes the plan of a stage, and tells it to what keeps its best epoch."""
    keep.patience, keep.start_from_epoch = stage.patience, stage.start_from_epoch
    chosen = {**stage.chosen_by, "learning_rate": rate[1]}
    stage = dataclasses.replace(stage, learning_rate=rate[0], chosen_by=chosen)
    judge = keep.monitor if isinstance(keep.monitor, str) else "the tasks' mean"
    history.plan[name] = {**dataclasses.asdict(stage), "judged_by": judge}
    return stage


def _repeated(batches: tf.data.Dataset, stage: planning.Stage) -> tf.data.Dataset:
    """The batches of an epoch, which may be several passes; each shuffles anew."""
    return batches.repeat(stage.passes) if stage.passes > 1 else batches


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
        optimizer = keras.optimizers.Adam(plan.head_learning_rate or planning.HEAD_RATE)
        model.compile_alike(made, optimizer, steps_at_once)
    return made


def _thaw_from_top(
    model: TransferModel,
    splits: Splits,
    size: tuple[int | None, int, int],
    plan: Plan,
    best: float,
    history: History,
) -> None:
    started = time.perf_counter()
    epochs, groups, batch_size = size
    rate = planning.set_rate(model, plan.learning_rate)
    model.encoder.freeze_to(-groups)
    trained, batches, validation, judge = _above_boundary(
        model, splits, batch_size, plan, history
    ) or _whole(model, splits, batch_size, plan, history)
    monitor, mode = judging.monitor(model)
    keep = KeepBest(monitor, mode, initial=best)
    planned = planning.thawed(int(batches.cardinality()), epochs, plan.patience)
    planned = _begin(planned, "fine_tuning", rate, keep, history)
    batches = _repeated(batches, planned)
    if show(plan.verbose):
        progress.say(f"Top {groups} of the encoder's groups: {planned}")
    pace = plan.unfreezing_epochs / groups
    unfreezing = ProgressiveUnfreezing(
        start_epoch=0,
        epochs_per_group=pace if pace * int(batches.cardinality()) >= STAGE_STEPS else 1e-6,
        num_groups=groups,
        layer_decay=plan.layer_decay,
    )
    size_schedule(model.optimizer, planned.steps)
    with progress.stage(thawed_words(groups), final=False) as stage:
        shown = judging.shown(model, stage, plan.verbose)
        curves = trained.fit(
            **weighed(batches, plan.class_weight),
            validation_data=validation,
            epochs=planned.epochs,
            shuffle=False,  # they are
            callbacks=[FiniteLoss(), judge, unfreezing, *plan._throughout, keep, shown],
            verbose=0,
        ).history
    offset = history.head_epochs
    history.thawed_groups = [(offset + at, count) for at, count in unfreezing.thawed_at]
    history.add(curves)
    history.seconds["fine_tuning"] = time.perf_counter() - started
    history.outcomes.append(_outcome_of_thawing(keep, len(curves["loss"]), groups, best))
    if show(plan.verbose):
        progress.say(history.outcomes[-1].lines(history.seconds["fine_tuning"]))


def _outcome_of_thawing(keep: KeepBest, epochs: int, groups: int, before: float) -> Outcome:
    metric = keep.monitor if isinstance(keep.monitor, str) else "the tasks' mean"
    kept = None if keep.best_epoch is None else keep.best_epoch + 1
    value = before if keep.best is None else keep.best
    return Outcome("fine_tuning", metric, epochs, kept, value, before, keep.tried, groups)


def _whole(
    model: TransferModel,
    splits: Splits,
    batch_size: int,
    plan: Plan,
    history: History,
) -> tuple[keras.Model, Any, Any, headlines.Judge]:
    batches = model.preprocess(splits[0], batch_size, seed=plan.seed)
    history.padding = None if isinstance(splits[0], Stream) else model.padding
    sizes = dict.fromkeys(splits[2], 0)
    validation = model.preprocess(splits[1], FROZEN_BATCH)
    return model, batches, validation, headlines.Judge(splits[2], sizes=sizes)


def _above_boundary(
    model: TransferModel,
    splits: Splits,
    batch_size: int,
    plan: Plan,
    history: History,
) -> tuple[keras.Model, Any, Any, headlines.Judge] | None:
    """The thawed top as a model of its own, with batches of what the frozen layers give it."""
    boundary = model.boundary() if plan.boundary and not isinstance(splits[0], Stream) else None
    if boundary is None:
        return None
    batches = []
    with progress.stage("Token vectors", unit="rows") as stage:
        ids = [model.to_ids(rows) for rows in splits[:2]]
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
        above = model.model_above(boundary)
    judged = model.task.apart(splits[1])
    sizes = {name: len(judged[name]) for name in model.parts}  # in the order of the rows
    assert stored is not None  # the last one is that of the rows to judge by
    return above, *batches, headlines.Judge(splits[2], stored.answering(above), sizes)
