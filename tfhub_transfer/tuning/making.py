"""Models and trainings of trials: what `build_model` and `fine_tune` make of a trial's values."""

import copy
import dataclasses
from collections.abc import Collection, Mapping, Sequence
from typing import Any, TypeAlias

import keras
import keras_tuner
import tensorflow as tf

from tfhub_transfer import runtime
from tfhub_transfer.callbacks.best_weights import FellApart
from tfhub_transfer.encoders.encoder import Encoder
from tfhub_transfer.errors import InputError, one_line
from tfhub_transfer.heads.settings import Head
from tfhub_transfer.incoming import usual
from tfhub_transfer.models.building import build_model, default_optimizer
from tfhub_transfer.models.transfer import TransferModel
from tfhub_transfer.tasks import MultiTask, Task
from tfhub_transfer.training import finetuning, stages
from tfhub_transfer.training.stages import Plan
from tfhub_transfer.tuning import trials
from tfhub_transfer.tuning.repeats import Fold
from tfhub_transfer.tuning.space import AS_NEEDED, YES, Value

# Epochs as the tuner chooses them, how many of these there were, and `verbose`.
How: TypeAlias = tuple[int | None, int, int | str]
# What of `build_model` a search may be told beside what it chooses.
_BUILD = ("head", "loss", "preprocessor", "sequence_length")
_OF_HEADS = ("pooling", "block", "hidden_units", "dropout", "l2")
# What is drawn and is the task's own.
_OF_TASK = {"label_smoothing", "decoder_layers"}
_OF_OPTIMIZERS = {"learning_rate": "learning_rate", "warmup": "warmup", "optimizer": "name"}


class Pattern:
    """What all trials are as long as a search chooses nothing else.

    Args:
        task: The task, or several by name.
        plan: The finer settings of their trainings.
        build: What `build_model` is told.

    Attributes:
        task: The task, or several in one.
        plan: The finer settings.

    Raises:
        InputError: If one of them is nothing that a search may be told.
    """

    def __init__(
        self, task: Task | Mapping[str, Task], plan: Plan | None, build: Mapping[str, Any]
    ) -> None:
        self.task: Any = MultiTask(task) if isinstance(task, Mapping) else task
        self.plan = stages.planned(plan)
        _check(build, self.plan)
        self.head: Any = build.get("head")
        self._build = {name: value for name, value in build.items() if name != "head"}

    def model(
        self,
        encoder: Encoder,
        drawn: Mapping[str, Any],
        seed: int,
        left: Collection[str] = (),
    ) -> TransferModel:
        """A model of a trial, untrained.

        Args:
            encoder: What it is on.
            drawn: The trial's values, by the names in `SETTINGS`.
            seed: Of its first weights.
            left: The names of values that nobody chose: of several tasks each has its own.
        """
        runtime.seed_everything(seed)
        chosen = {name: value for name, value in drawn.items() if name not in left}
        task = self._task_of(chosen)
        given = {told: drawn[name] for name, told in _OF_OPTIMIZERS.items() if name in drawn}
        optimizer = default_optimizer(encoder, **given)
        return build_model(encoder, task, _heads(self.head, task, chosen), optimizer, **self._build)

    def _task_of(self, drawn: Mapping[str, Any]) -> Any:
        task = copy.deepcopy(self.task)  # which a training settles thresholds of
        if "loss" in drawn and drawn["loss"] != task.losses[0]:
            task = task.with_loss(drawn["loss"])
        for name in _OF_TASK & drawn.keys():
            for each in task.parts.values():
                if hasattr(each, name):
                    setattr(each, name, drawn[name])
        return task

    def train(
        self,
        model: TransferModel,
        fold: Fold,
        drawn: Mapping[str, Any],
        how: How,
        seed: int,
        callbacks: Sequence[keras.callbacks.Callback],
    ) -> finetuning.History:
        """Trains a trial's model as `fine_tune` does.

        Args:
            model: The model.
            fold: What it learns from and is judged by.
            drawn: The trial's values, with the groups that thaw as this model counts them.
            how: What the tuner says of it.
            seed: Of the shuffling.
            callbacks: The user's own.

        Raises:
            FailedTrialError: If it falls apart.
            FatalError: If there is a mistake, which ends the search.
        """
        epochs, initial_epoch, verbose = how
        epochs = epochs or drawn.get("epochs", AS_NEEDED) or None
        plan = self._plan_of(drawn, seed, verbose)
        if initial_epoch:
            assert epochs is not None
            plan = trials.continued(plan)
            epochs -= initial_epoch
        batch_size = drawn.get("batch_size", usual.BATCH_SIZE)
        return _fits(model, (*fold, epochs, drawn["unfreeze"], batch_size, plan), callbacks)

    def _plan_of(self, drawn: Mapping[str, Any], seed: int, verbose: int | str) -> Plan:
        return dataclasses.replace(
            self.plan,
            learning_rate=drawn.get("learning_rate"),
            layer_decay=drawn.get("layer_decay", self.plan.layer_decay),
            head_learning_rate=drawn.get("head_learning_rate", self.plan.head_learning_rate),
            seed=seed,
            verbose=verbose,
        )


def _check(build: Mapping[str, object], plan: Plan) -> None:
    odd = [name for name in build if name not in _BUILD]
    if odd:
        raise InputError(
            f"a search may be told {', '.join(_BUILD)} beside what it chooses; what it chooses is "
            f"in `space`. Received: {odd[0]}"
        )
    if plan.log_dir is not None:
        raise InputError(
            "all trials would write into one `log_dir`; leave it out of the plan, or give "
            f"`search` a callback of TensorBoard's. Received: log_dir={str(plan.log_dir)!r}"
        )


@trials.fatal_mistakes()
def _fits(
    model: TransferModel,
    given: tuple[Any, Any, int | None, int, int, Plan],
    callbacks: Sequence[keras.callbacks.Callback],
) -> finetuning.History:
    """Trains as `fine_tune` does; what falls apart is a failed trial, a mistake ends the search."""
    try:
        return finetuning.fine_tune(model, *given, callbacks=list(callbacks))
    except (FellApart, tf.errors.ResourceExhaustedError) as error:
        raise keras_tuner.errors.FailedTrialError(one_line(str(error))) from error


def _heads(
    given: Head | Mapping[str, Head] | None, task: Task, drawn: Mapping[str, Value]
) -> Head | dict[str, Head]:
    """The head, or that of each task, with what was drawn."""
    own: dict[str, Any] = {name: drawn[name] for name in _OF_HEADS if name in drawn}
    if "towers" in drawn:
        own["towers"] = drawn["towers"] == YES
    if isinstance(given, Mapping):
        heads = {**dict.fromkeys(task.parts, Head()), **given}
        return {name: dataclasses.replace(head, **own) for name, head in heads.items()}
    return dataclasses.replace(given or Head(), **own)
