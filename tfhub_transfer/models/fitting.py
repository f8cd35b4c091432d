"""What `fit`, `evaluate` and `predict` are given: ids, not texts; the schedule sized to a run."""

import inspect
from collections.abc import Callable, Mapping

import keras
import numpy as np
import tensorflow as tf

from tfhub_transfer.callbacks import own as own_callbacks
from tfhub_transfer.data.batching import weighed
from tfhub_transfer.errors import InputError
from tfhub_transfer.optimization.optimizers import rate
from tfhub_transfer.optimization.schedules import WarmUpLinearDecay
from tfhub_transfer.private import keras_training

_INSTEAD = {
    "fit": "make examples with `tt.data.read(file)` or `tt.data.Examples.from_lists(texts, labels)`"
    " and give these to `tt.fine_tune(model, train, validation)`, or `model.fit(model.preprocess("
    "train), epochs=3)`",
    "evaluate": "give examples to `tt.evaluate(model, examples)`, or `model.evaluate("
    "model.preprocess(examples, shuffle=False))`",
    "predict": "`model.predict_text(texts)` gives answers, `model.predict_scores(texts)` numbers",
}


def arguments(
    model: keras.Model, usual: Callable[..., object], *given: object, **named: object
) -> dict[str, object]:
    """What a model's `fit` is to give Keras', checked; its warm-up schedule is sized to the run.

    Args:
        model: A `TransferModel`.
        usual: `keras.Model.fit` of it.
        *given: What it was given.
        **named: What it was given by name.

    Raises:
        InputError: If it can't train so.
    """
    found = dict(inspect.signature(usual).bind(*given, **named).arguments)
    require_ids("fit", found.get("x"), found.get("validation_data"))
    own_callbacks.check(found.get("callbacks"), model.optimizer)
    keras_training.begin_anew(model)  # not where a backup began an earlier run
    if found.get("class_weight"):
        model.task.check_class_weights(found["class_weight"])
    batches = found.get("x")
    if isinstance(batches, tf.data.Dataset):
        found.setdefault("shuffle", False)  # `preprocess` shuffled; Keras can't and warns
        steps = found.get("steps_per_epoch") or int(batches.cardinality())
        past, skip = found.get("initial_epoch", 0), getattr(batches, "skip_passes", None)

        def begin(epoch: int) -> None:
            size_schedule(model.optimizer, steps * found.get("epochs", 1), steps * epoch)
            if skip is not None:
                skip(max(epoch - past, 0))  # which another process has trained on

        begin(past)
        if found.get("callbacks") is not None:
            found["callbacks"] = own_callbacks.going_on(found["callbacks"], begin)
        found |= weighed(batches, found.get("class_weight"))
    return found


def size_schedule(optimizer: keras.optimizers.Optimizer, steps: int, past: int = 0) -> None:
    """Makes a warm-up schedule last so many steps, of which some are past; below 0 if unknown."""
    schedule = rate(optimizer)
    if isinstance(schedule, WarmUpLinearDecay):
        each = optimizer.gradient_accumulation_steps or 1  # steps that `iterations` counts as one
        done = each * int(keras.ops.convert_to_numpy(optimizer.iterations))
        schedule.size(done - max(past, 0), steps if steps > 0 else None)


def require_ids(method: str, *given: object) -> None:
    """Refuses texts where a model takes what `preprocess` makes of them.

    Args:
        method: `"fit"`, `"evaluate"` or `"predict"`.
        *given: What it was given.

    Raises:
        InputError: If one of it is texts, in whatever form, or examples.
    """
    for each in given:
        if _is_text(each):
            kind = type(each).__name__
            raise InputError(
                f"`{method}` takes ids, which `preprocess` makes, not texts: {_INSTEAD[method]}. "
                f"Received: {kind}"
            )


def _is_text(given: object) -> bool:
    spec = getattr(given, "element_spec", None)
    if spec is not None:
        inputs = spec[0] if isinstance(spec, tuple) and spec else spec
        return any(getattr(each, "dtype", None) == tf.string for each in tf.nest.flatten(inputs))
    if isinstance(given, (str, bytes)) or hasattr(given, "texts") or hasattr(given, "with_rows"):
        return True
    if isinstance(given, Mapping):
        return any(map(_is_text, given.values()))
    if isinstance(given, (list, tuple)):
        # The first two tell, of `(x, y)` as of a list of texts, which may be long.
        return any(map(_is_text, given[:2]))
    if getattr(given, "dtype", None) == tf.string:
        return True
    column = getattr(given, "__getitem__", None)
    if hasattr(given, "columns") and hasattr(given, "dtypes") and column:  # a frame
        return any(map(_is_text, map(column, given.columns)))
    if hasattr(given, "dtype") and hasattr(given, "__array__"):
        array = np.asarray(given)
        return array.dtype.kind in "USO" and array.size > 0 and _is_text(array.ravel()[0])
    return False
