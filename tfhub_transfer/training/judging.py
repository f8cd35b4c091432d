"""What training is judged by, and whether what a user compiled can train at all."""

import functools
from collections.abc import Callable, Mapping
from typing import TypeAlias

import keras
import tensorflow as tf

from tfhub_transfer import progress
from tfhub_transfer.errors import InputError, one_line
from tfhub_transfer.models import compiling
from tfhub_transfer.models.transfer import TransferModel
from tfhub_transfer.optimization import optimizers
from tfhub_transfer.optimization.schedules import WarmUpLinearDecay
from tfhub_transfer.private import keras_layers
from tfhub_transfer.shapes import Logs
from tfhub_transfer.tasks.layouts import Rows
from tfhub_transfer.training import epochs, headlines

# As many rows show whether loss and metrics take what the model gives.
_ROWS = 4
_MOST_REASON = 300

# The name of a value that training reports, or what makes one of all of them.
Monitor: TypeAlias = str | Callable[[Logs], float]


def monitor(model: TransferModel) -> tuple[Monitor, str]:
    """What the epochs of a model are judged by, and which way it improves.

    Args:
        model: The model; a user may have compiled it anew, with metrics of their own.

    Returns:
        That of the task where the model reports it or answers tell it, or the loss on the
        validation split, which every model reports.
    """
    name, mode = model.task.monitor
    if headlines.of_task(model.task):
        return name, mode
    own = _own(model)
    reported = {"loss", *compiling.metric_names(own)}
    if not own or (isinstance(name, str) and name.removeprefix("val_") in reported):
        return name, mode
    return "val_loss", "min"


def head_monitor(model: TransferModel) -> tuple[Monitor, str]:
    """What the epochs of a head alone are judged by.

    The loss, because a share of a small validation split moves in jumps; but of tags and the like
    most of the loss is about what no answer holds.

    Args:
        model: The model of one task.
    """
    return monitor(model) if headlines.of_task(model.task) else ("val_loss", "min")


def described(model: TransferModel, found: dict[str, headlines.Headline]) -> dict[str, object]:
    """What a training's record says of how its epochs are judged.

    Args:
        model: The model.
        found: The headlines that its answers are judged by, by the task's name.
    """
    name = monitor(model)[0]
    drawn = {task: [len(each.examples), each.of] for task, each in found.items()}
    metric = name if isinstance(name, str) else "the tasks' mean"
    return {"metric": metric, **({"examples": drawn.get("", drawn)} if drawn else {})}


def reported(model: TransferModel, found: dict[str, headlines.Headline]) -> set[str]:
    """The names of all values that the training of one task reports.

    Args:
        model: The model.
        found: The headlines that its answers are judged by.
    """
    usual = model.layout.objective.measures()
    names = {"loss", *compiling.metric_names(list((_own(model) or usual).values()))}
    layers = keras_layers.layers_of(model)[1:]  # its own are those that it was compiled with
    names |= {metric.name for layer in layers for metric in layer.metrics}
    names |= {*model.task.sampled_names}
    return names | {f"val_{name}" for name in names} | {each.name for each in found.values()}


def _own(model: TransferModel) -> dict[str, object]:
    """The metrics of the user's own, if the model was compiled with such."""
    return compiling.metrics_of_ones_own(model, model.layout.objective.measures())


def _told(model: TransferModel, judge: Monitor, logs: Logs) -> dict[str, float]:
    """What is told of an epoch: what the model is judged by, or each of its tasks, by its name."""
    if isinstance(judge, str):
        return {judge: logs[judge]} if judge in logs else {}
    return model.task.headlines(logs)


def shown(
    model: TransferModel, stage: progress.Stage, verbose: int | str = 1
) -> epochs.EpochsShown:
    """What shows the epochs of a stage of training.

    Args:
        model: The model, of which all or a part trains.
        stage: The stage.
        verbose: As in `Plan`.
    """
    tell = functools.partial(_told, model, monitor(model)[0])
    return epochs.EpochsShown(stage, tell, lines=epochs.show(verbose) == 2)


def require_trainable(model: TransferModel, rows: Rows, learning_rate: float | None = None) -> None:
    """Refuses, before anything trains, what can't work with what the model was compiled with.

    Args:
        model: The model.
        rows: Some examples, cut into rows.
        learning_rate: The rate to train at, if not the optimizer's own.

    Raises:
        InputError: If loss or metrics don't take the task's labels and answers, a metric goes by
            the name of what judges, or the optimizer's rate follows a schedule of its own.
    """
    schedule = optimizers.rate(model.optimizer)
    if learning_rate is not None and callable(schedule) and not _can_peak(schedule):
        raise InputError(
            "the optimizer's learning rate follows a schedule of its own, which takes no other "
            "rate; leave `Plan(learning_rate=...)` out, or compile with a number. "
            f"Received: {learning_rate} and {type(schedule).__name__}"
        )
    own = _own(model)
    _require_own_names(model, own)
    # The task's own fit its labels and answers, so there is nothing to try.
    if not own and _kinds(model.loss) == _kinds(model.layout.objective.loss()):
        return
    try:
        model.evaluate(model.preprocess(rows, _ROWS, shuffle=False).take(1), verbose=0)
    except Exception as error:  # of any kind: losses and metrics are anyone's code
        raise InputError(
            f"the loss and metrics that the model was compiled with don't take what the "
            f"{model.task.name} task gives them; compile with others, or build the model anew. "
            f"Received: {one_line(_reason(error), _MOST_REASON)}"
        ) from error


def _require_own_names(model: TransferModel, own: Mapping[str, object]) -> None:
    """Refuses metrics of the user's own that would be taken for what the model is judged by."""
    for task, part in model.parts.items():
        given = [each.get(task) if isinstance(each, Mapping) else each for each in own.values()]
        usual = list(part.layout.objective.measures().values())
        judge = part.task.monitor[0]
        reserved = {"loss", judge.removeprefix("val_"), judge, "val_loss"}
        for name in sorted(reserved & compiling.others(given, usual).keys()):
            raise InputError(
                f"what Keras reports as {judge!r} judges the {part.task.name} task, and a loss "
                "that is no number ends training: another metric by such a name would be taken for "
                f"that; give it a `name` of its own. Received: a metric named {name!r}"
            )


def _kinds(loss: object) -> object:
    """The class of a loss; of several tasks those of their losses, by name."""
    if isinstance(loss, Mapping):
        return {name: type(each) for name, each in loss.items()}
    return type(loss)


def _reason(error: Exception) -> str:
    """What an error says; TensorFlow puts the way to it first, and a node's name last."""
    text = str(error)
    if isinstance(error, tf.errors.OpError):
        text = ([line for line in text.split("[[{{")[0].splitlines() if line.strip()] or [""])[-1]
    return text or type(error).__name__


def _can_peak(schedule: object) -> bool:
    return isinstance(schedule, (WarmUpLinearDecay, keras.Variable))
