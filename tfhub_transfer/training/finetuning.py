"""Head first on frozen features, then the encoder's groups from the top."""

import dataclasses
import functools
import os
from pathlib import Path

from tfhub_transfer import progress, runtime
from tfhub_transfer.callbacks import own as own_callbacks
from tfhub_transfer.callbacks.best_weights import FellApart
from tfhub_transfer.data import Examples, Stream, streamed, weighing
from tfhub_transfer.errors import InputError
from tfhub_transfer.incoming import ranges, usual, wording
from tfhub_transfer.models import batches
from tfhub_transfer.models.transfer import TransferModel, require_model
from tfhub_transfer.runtime import cluster
from tfhub_transfer.training import (
    checkpoints,
    following,
    headlines,
    identity,
    judging,
    watching,
)
from tfhub_transfer.training.checkpoints import Checkpoint
from tfhub_transfer.training.epochs import show
from tfhub_transfer.training.heads import Head, Standing
from tfhub_transfer.training.history import History
from tfhub_transfer.training.outcome import NOTHING
from tfhub_transfer.training.stages import Plan, Stage, Training, planned
from tfhub_transfer.training.unfreezing import Thawing, groups_to_thaw


@streamed.errors_alone()
def fine_tune(
    model: TransferModel,
    train: Examples | Stream,
    validation: Examples,
    epochs: int | None = None,
    unfreeze: str | int = "auto",
    batch_size: int = usual.BATCH_SIZE,
    plan: Plan | None = None,
    callbacks: own_callbacks.Given = None,
    checkpoint: str | Path | Checkpoint | None = None,
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
        plan: Finer settings, and stages of one's own.
        callbacks: Keras callbacks, which reach every stage: the head (of each task, one after the
            other), then what thaws. A stage is a training of its own to them, with the model that
            trains then, whose weights are the whole one's; epochs count on through the stages.
            `ModelCheckpoint` saves the whole model.
        checkpoint: A folder in which to note how far training is, after each epoch that takes a
            second or more, and within one every ten minutes, beside a line an epoch in
            `history.csv`. Where a run was killed, the same call
            with a model built anew goes on there, to the same weights; the folder is gone at the
            end.

    Returns:
        The curves, and the seconds of each stage.

    Raises:
        InputError: If an argument is out of range, or a label is unknown to the task, or another
            process uses the checkpoint; or, while it trains, if the loss is no finite number. The
            model is worthless then.

    Example:

    >>> history = fine_tune(model, train, validation, epochs=4)
    """
    require_model(model)
    of = model.distribute_strategy
    plan = planned(plan)
    if cluster.place(of).index:
        plan = dataclasses.replace(plan, verbose=0, log_dir=None)  # the chief's are those of all
    model.encoder.mark_unread(*model.unread_groups)
    groups = groups_to_thaw(model.encoder, unfreeze)
    epochs = ranges.given(ranges.whole_number, "epochs", epochs, *ranges.EPOCHS)
    batch_size = ranges.whole_number("batch_size", batch_size, *ranges.BATCH_SIZE)
    stages = usual_stages(model, groups, epochs, batch_size)
    if checkpoint is not None:
        own_callbacks.check_going_on(callbacks)
    checkpoints.check_apart(checkpoint, plan.log_dir)
    with (
        runtime.precision_of_all(of, "auto", model.encoder.dimension),
        following.own_folder(of, checkpoint) as folder,
        checkpoints.open_for(folder) as notes,
    ):
        training = prepare(model, train, validation, plan, stages, callbacks)
        for part in model.parts.values():
            part.task.take_choices(None)
        if notes is not None or cluster.place(of).count > 1:
            _take_up(training, notes, train, validation)
        _watch(training, notes)
        with checkpoints.gone_with(notes, FellApart):
            while training.advance():
                pass
        return _finish(training, validation)


def _take_up(
    training: Training,
    notes: Checkpoint | None,
    train: Examples | Stream,
    validation: Examples,
) -> None:
    """Goes on where the notes of the same training say that it was interrupted, if they do."""
    facts = identity.of_model(training.model)
    facts |= identity.of_plan(training.plan, training.stages)
    facts |= identity.of_examples("the examples to train on", train)
    facts |= identity.of_examples("the examples to judge by", validation)
    if notes is None:
        following.require_alike(training.model.distribute_strategy, facts)
        return
    said = notes.begin(training, facts)
    training.checkpoint = notes
    if said and show(training.plan.verbose):
        progress.say(said)


def _watch(training: Training, notes: Checkpoint | None) -> None:
    """Has each epoch written down where it is asked for, and beside notes of how far it is."""
    if notes is not None:
        # Where it can't be, no notes can, which say so.
        training.watch.write(watching.CsvFile(notes.folder.place / watching.FILE, heard=False))
    if training.plan.log_dir is not None:
        folder = Path(os.path.abspath(training.plan.log_dir))  # the current one may change
        folder.mkdir(parents=True, exist_ok=True)
        training.watch.write(watching.CsvFile(folder / watching.FILE))
        training.watch.write(watching.Events(folder))


def usual_stages(
    model: TransferModel, groups: int, epochs: int | None, batch_size: int
) -> list[Stage]:
    """The stages of a training for which nobody says anything else.

    Args:
        model: The model.
        groups: How many of the encoder's groups thaw.
        epochs: How many epochs they train; if not given as many as the rows need.
        batch_size: Rows in a batch of these.
    """
    last = [Thawing(groups, epochs, batch_size)] if groups else []
    if model.task.several:
        # As long as the encoder is frozen, no task touches another.
        heads = [Head(name) for name in model.parts]
        return [*heads, Standing(heads), *last]
    return [Head() if model.task.has_head else Standing(), *last]


def prepare(
    model: TransferModel,
    train: Examples | Stream,
    validation: Examples,
    plan: Plan,
    usual: list[Stage],
    callbacks: own_callbacks.Given = None,
) -> Training:
    """Checks all that a training is given, before anything of it trains.

    Args:
        model: The model.
        train: Training examples.
        validation: Examples to judge by.
        plan: The finer settings.
        usual: The stages, if the plan doesn't name others.
        callbacks: Those of the user.

    Raises:
        InputError: If it can't train so.
    """
    stages = plan.arranged(usual)
    if plan.log_dir is not None:
        watching.check(Path(plan.log_dir))
    require_usable(model, plan, train, validation)
    thaws = any(not isinstance(stage, Head | Standing) for stage in stages)
    own_callbacks.check_stages(callbacks, model.optimizer, thaws, len(model.parts))
    throughout = [own_callbacks.Throughout(callbacks, model)] if callbacks else []
    train, validation = weighing.taught(train), weighing.without(validation)
    model.layout.learn(train)
    # Once for all stages: rows are what every one of them reads.
    judged = model.cut(validation)
    with progress.shown(show(plan.verbose) > 0), progress.stage("Preparing", final=False):
        model.layout.to_ids(judged)  # bad labels come to light before anything trains
        judging.require_trainable(model, judged, plan.learning_rate)
    rows = train if isinstance(train, Stream) else model.cut(train)
    found = headlines.find(model, validation, judged, plan.seed)
    if not model.task.several:
        own_callbacks.check_names(callbacks, judging.reported(model, found))
    if not isinstance(train, Stream):
        model.training_examples = train
    _remember(model, train, validation)
    history = History(plan={"judged_by": judging.described(model, found)})
    return Training(model, rows, judged, found, plan, throughout, history, stages)


def require_usable(
    model: TransferModel, plan: Plan, train: Examples | Stream, *judged: Examples
) -> None:
    """Refuses before any work what would fail in the middle of it.

    Args:
        model: The model.
        plan: The finer settings.
        train: Training examples.
        *judged: Examples to judge by.

    Raises:
        InputError: If it can't train on them.
    """
    if isinstance(train, Stream):
        batches.require_streamable(model.task)
    if plan.class_weight:
        model.task.check_class_weights(plan.class_weight)
    for examples in (train, *judged):
        if isinstance(examples, Stream):
            _require_rows(len(examples))
        else:
            _check(model, examples)


def _check(model: TransferModel, examples: Examples) -> None:
    """Refuses examples that no stage could train on or judge by."""
    model.layout.check(examples)
    for each in model.task.apart(examples).values():
        _require_rows(len(each))
    model.layout.objective.check(examples)


def _require_rows(count: int) -> None:
    if not count:
        raise InputError(
            "expected examples to train on and to judge by, at least one each. Received: none"
        )


def _remember(model: TransferModel, train: Examples | Stream, validation: Examples) -> None:
    """Notes which texts the model has seen, so that a test can be looked through for them."""
    taught, judged = model.task.apart(train), model.task.apart(validation)
    for name, single in model.parts.items():
        chunks = taught[name] if isinstance(taught[name], Stream) else [taught[name]]
        seen = single.seen_texts.with_texts("train", (chunk.texts for chunk in chunks))
        single.seen_texts = seen.with_texts("validation", [judged[name].texts])


def _finish(training: Training, validation: Examples) -> History:
    """Settles what is chosen last of all, and leaves the curves with the model."""
    model, history, verbose = training.model, training.history, training.plan.verbose
    if all(isinstance(stage, Standing) for stage in training.stages) and show(verbose):
        progress.say(wording.wrapped(f"WARNING: {NOTHING}"))
    if training.plan.ends is None:
        with progress.shown(show(verbose) > 0), runtime.precision("auto", model.encoder.dimension):
            _tune(model, validation)
    history.add_joint()
    model.history_ = history.to_dict()
    for name, own in history.tasks.items():
        model.parts[name].history_ = own.to_dict()
    return history


def _tune(model: TransferModel, validation: Examples) -> None:
    """Lets each task settle what it chooses by its answers to the validation split."""
    judged = model.task.apart(validation)
    for name, single in model.parts.items():
        texts = list(zip(*judged[name].texts))
        with progress.stage("Settling on validation", final=False):
            single.task.tune(judged[name], functools.partial(single.predict_text, texts))
