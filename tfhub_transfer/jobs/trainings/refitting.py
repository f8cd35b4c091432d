"""A model trained once more, on the training and the validation split together."""

import copy
import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

from tfhub_transfer import data, progress, runtime
from tfhub_transfer.errors import InputError
from tfhub_transfer.jobs.options.training import TrainJob
from tfhub_transfer.jobs.three_splits import JointSplits, Splits
from tfhub_transfer.models.transfer import TransferModel
from tfhub_transfer.runtime import cluster
from tfhub_transfer.training.finetuning import History, fine_tune

# What judged, where it taught too, is no longer worth telling.
_OF_VALIDATION = "val_"


def require_possible(job: TrainJob) -> None:
    """Refuses what can't be trained once more.

    Args:
        job: What is to be done.

    Raises:
        InputError: If it can't.
    """
    said = None
    if job.alone:
        said = "--alone"
    elif job.workers > 1 or cluster.place().count > 1:
        said = "several processes"
    if job.refit and said:
        raise InputError(
            "`--refit` trains one model once more, in one process, on what judged it, too; leave "
            f"one of both out. Received: --refit and {said}"
        )


def pooled(splits: Splits | JointSplits) -> Splits | JointSplits:
    """The splits with all that isn't to be measured on as what teaches.

    Args:
        splits: As they were read.

    Raises:
        InputError: If training and validation split can't be put together.
    """
    require_weights_in_both(splits)
    together = {
        name: data.pool(own.train, own.validation) for name, own in splits.by_task().items()
    }
    train: Any = together if isinstance(splits, JointSplits) else together[""]
    return dataclasses.replace(splits, train=train)


def require_weights_in_both(splits: Splits | JointSplits) -> None:
    """Refuses to put what teaches by weights together with a file of which all rows count alike.

    Args:
        splits: As they were read.

    Raises:
        InputError: If the training split alone has weights.
    """
    for own in splits.by_task().values():
        if own.train.weight is not None and own.validation.weight is None:
            raise InputError(
                "a file to judge by is read without weights, so that with `--refit` or `--folds`, "
                "where its rows teach, too, they have none: leave `--validation` out, for which a "
                "tenth of the data is taken then, or `--weight`. "
                f"Received: weights in {own.train.source}, and {own.validation.source}"
            )


def again(
    judged: TransferModel,
    history: History,
    build: Callable[..., TransferModel],
    splits: Splits | JointSplits,
    how: Mapping[str, Any],
) -> tuple[TransferModel, History]:
    """Another model, as far trained as the judged one was where validation held it for best.

    Args:
        judged: The judged model.
        history: Of its training.
        build: Makes another such of a task and the source of an encoder.
        splits: As `pooled` has them.
        how: What `fine_tune` was told.

    Returns:
        The model, and its history: without values of the validation split, which it has learned.
    """
    ends, plan = history.ends, how["plan"]
    runtime.seed_everything(plan.seed)
    # With what its task settled on validation, while that was still unseen.
    model = build(copy.deepcopy(judged.task), judged.encoder.source)
    count = sum(len(own.train) for own in splits.by_task().values())
    told = ", ".join(f"{name} {share:.0%}" for name, share in ends.items())
    with progress.stage(
        f"Training and validation together: {count} examples ({told} of the epochs)"
    ):
        given: tuple[Any, Any] = splits.train, splits.validation
        # Curves for TensorBoard are those of the training that was judged.
        own = dataclasses.replace(plan, ends=ends, verbose=0, log_dir=None)
        found = fine_tune(model, *given, **{**how, "plan": own})
    _forget(found, model, judged)
    found.outcomes = history.outcomes  # which say what was judged
    return model, found


def _forget(history: History, model: TransferModel, judged: TransferModel) -> None:
    """Takes out what the validation split says of a model that has learned it."""
    history.rows = [_taught(row) for row in history.rows]
    pairs = [(model, judged), *zip(model.parts.values(), judged.parts.values())]
    for own, other in pairs:
        own.history_ = {**_taught(own.history_), "kept": other.history_["kept"]}


def _taught(found: Mapping[str, Any]) -> dict[str, Any]:
    return {name: each for name, each in found.items() if not name.startswith(_OF_VALIDATION)}
