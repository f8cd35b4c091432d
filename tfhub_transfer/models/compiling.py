"""What a user compiled a model with, for the models that train in its place, stage by stage."""

import contextlib
from collections.abc import Iterator, Mapping

import keras

from tfhub_transfer.errors import InputError
from tfhub_transfer.private import keras_training
from tfhub_transfer.tasks.objective import Objective


def metrics_of_ones_own(model: keras.Model, usual: Mapping[str, object]) -> dict[str, object]:
    """The metrics that a model was compiled with, if they aren't those of its task.

    Args:
        model: A compiled model.
        usual: What `Objective.measures` gives.

    Returns:
        `metrics` and `weighted_metrics`, as for `keras.Model.compile`; nothing if they are the
        task's.
    """
    given = keras_training.metrics_given(model)
    of_task = {key: usual.get(key) for key in given}
    own = set(metric_names(given)) != set(metric_names(of_task)) or others(given, of_task)
    return given if own else {}


def others(given: object, usual: object) -> dict[str, object]:
    """Metrics other than a task's, also where they go by a name of one of these.

    Args:
        given: Metrics, in any form that Keras takes.
        usual: Those of the task.

    Returns:
        By name. Keras' own spelling, such as `"accuracy"`, stands for the task's.
    """
    known: dict[str, list[object]] = {}  # several tasks may have metrics of one name
    for name, metric in _each(usual):
        known.setdefault(name, []).append(_made_as(metric))
    return {
        name: metric
        for name, metric in _each(given)
        if not (name in known and (isinstance(metric, str) or _made_as(metric) in known[name]))
    }


def metric_names(metrics: object) -> Iterator[str]:
    """The names of metrics, in any form that Keras takes."""
    return (name for name, _ in _each(metrics))


def _each(metrics: object) -> Iterator[tuple[str, object]]:
    """Metrics one by one, with their names."""
    if isinstance(metrics, Mapping):
        metrics = list(metrics.values())
    if isinstance(metrics, (list, tuple)):
        for each in metrics:
            yield from _each(each)
    elif isinstance(metrics, type):
        yield from _each(metrics())
    elif isinstance(metrics, str):
        yield metrics, metrics
    elif metrics is not None:
        bare = getattr(metrics, "__name__", type(metrics).__name__)
        yield str(getattr(metrics, "name", None) or keras_training.spelled(bare)), metrics


def _made_as(metric: object) -> object:
    """What two metrics have in common that measure the same: class, or function.

    Not settings: those of a task's own are what the task is set to when they are made.
    """
    if isinstance(metric, keras.Metric):
        config = metric.get_config()
        # Derived ones have functions of their own, and settings beside them.
        plain = type(metric) is keras.metrics.MeanMetricWrapper
        return type(metric), str(config["fn"]) if plain else ""
    # A task may make its function anew each time.
    names = [getattr(metric, name, None) for name in ("__module__", "__qualname__")]
    return tuple(names) if all(names) else metric


def _metrics_alone(usual: Mapping[str, object]) -> dict[str, object]:
    return {name: value for name, value in usual.items() if name != "loss_weights"}


def alike(
    model: keras.Model,
    other: keras.Model,
    optimizer: keras.optimizers.Optimizer,
    steps_at_once: int | None,
    measured: bool = True,
) -> None:
    """Compiles another model over the same layers with the loss and metrics of a `TransferModel`.

    Args:
        model: The model of encoder and task.
        other: The other model.
        optimizer: Its optimizer.
        steps_at_once: Keras' `steps_per_execution`; as the model's own if not given.
        measured: Whether it has metrics beside the loss, of which some may be objects of a user's.
    """
    usual = model.layout.objective.measures()
    metrics = {**_metrics_alone(usual), **metrics_of_ones_own(model, usual)} if measured else {}
    other.compile(
        optimizer,
        model.loss,
        jit_compile=model.jit_compile,
        run_eagerly=model.run_eagerly,
        steps_per_execution=steps_at_once or model.steps_per_execution,
        loss_weights=keras_training.loss_weights_given(model),
        **metrics,
    )


@contextlib.contextmanager
def learning(model: keras.Model, objective: Objective) -> Iterator[None]:
    """Compiles a `TransferModel` for another objective; in the end for that of its task again.

    Args:
        model: The model of encoder and task, which keeps its optimizer.
        objective: What it is trained for in the body.

    Raises:
        InputError: If the model has several tasks, each of which has its own.
    """
    if model.task.several:
        raise InputError(
            "each of several tasks has an objective of its own; change those of `model.parts`. "
            f"Received: {', '.join(model.parts)}"
        )
    try:
        # Inside of `try`: it puts the objective in place before it compiles, which may raise.
        _learn(model, objective)
        yield
    finally:
        _learn(model, None)


def _learn(model: keras.Model, objective: Objective | None) -> None:
    model.layout.objective = objective
    with model.distribute_strategy.scope():
        model.compile(
            model.optimizer,
            model.layout.objective.loss(),
            jit_compile=model.jit_compile,
            **model.layout.objective.measures(),
        )
