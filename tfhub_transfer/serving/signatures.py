"""Signatures beside those that read strings: serialized examples, TF Serving's own requests."""

import inspect
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TypeAlias

import tensorflow as tf

from tfhub_transfer.errors import InputError
from tfhub_transfer.incoming import ranges
from tfhub_transfer.private import tensorflow_graphs
from tfhub_transfer.serving import warm_up
from tfhub_transfer.serving.served import EXAMPLES, INPUTS, WORDS, signature_of
from tfhub_transfer.tasks.base import Task

Traceable: TypeAlias = tf.types.experimental.PolymorphicFunction
Answers: TypeAlias = Mapping[str, tf.Tensor]
TOP_K, SERIALIZED, MAX_LENGTH = "top_k", "serialized", "max_length"
CLASSIFY, REGRESS = "classify", "regress"
# What TF Serving may look for in a signature that is asked by a request of either kind.
_METHODS = {
    CLASSIFY: tf.compat.v1.saved_model.signature_constants.CLASSIFY_METHOD_NAME,
    REGRESS: tf.compat.v1.saved_model.signature_constants.REGRESS_METHOD_NAME,
}


def check_top_k(tasks: Iterable[Task], top_k: int | None) -> int | None:
    """How many classes are to be given; `None` if nobody said.

    Args:
        tasks: All tasks of a model.
        top_k: As given.

    Raises:
        InputError: If no task has so many classes.
    """
    if top_k is None:
        return None
    most = max((_classes(task) for task in tasks), default=0)
    if not most:
        raise InputError(
            "`top_k` (`--top-k`) is for tasks that give each class a score, and this model has "
            f"none; leave it out. Received: {top_k!r}"
        )
    return ranges.whole_number("top_k", top_k, 1, most)


def check_names(tasks: Mapping[str, Task]) -> None:
    """Refuses tasks of which two would have signatures of one name.

    Args:
        tasks: The tasks, by the names of the signatures that read strings.

    Raises:
        InputError: If there are such.
    """
    kinds = (WORDS, SERIALIZED, TOP_K, MAX_LENGTH, *_METHODS)
    taken = {signature_of(name, kind): name for name in tasks for kind in kinds}
    for name in taken.keys() & tasks.keys():
        raise InputError(
            "an export's signatures are called by tasks, and by tasks with an ending such as "
            f"`_{SERIALIZED}`; name one of the tasks otherwise. Received: {taken[name]}, {name}"
        )


def beside(name: str, task: Task, plain: Traceable, top_k: int | None) -> dict[str, Traceable]:
    """What answers as a signature does, but is asked otherwise, by the names of the signatures.

    Each calls the function behind that signature, so that a graph has it once.

    Args:
        name: The signature, which reads strings.
        task: What it answers.
        plain: The function behind it, of strings `[batch]`.
        top_k: How many classes to give, the likeliest first; if `None`, all in their order.
    """
    answers = _of_examples(plain)
    found = {SERIALIZED: taking([EXAMPLES], answers)}
    shapes = plain.get_concrete_function().output_shapes
    if _gives_classes(task, shapes):
        most = min(top_k or _classes(task), _classes(task))

        def best(*texts: tf.Tensor) -> Answers:
            return _best(task, plain(*texts)["scores"], most)

        def classified(examples: tf.Tensor) -> Answers:
            scores = answers(examples)["scores"]
            return _classified(task, scores, None if top_k is None else most)

        found[CLASSIFY] = taking([INPUTS], classified)
        if top_k is not None:
            found[TOP_K] = taking([spec.name for spec in plain.input_signature], best)
    elif _gives_numbers(task, shapes):
        found[REGRESS] = taking([INPUTS], lambda given: {"outputs": answers(given)["score"]})
    return {signature_of(name, kind): function for kind, function in found.items()}


def name_methods(folder: Path, names: Iterable[str], tasks: Iterable[str]) -> None:
    """Says of an export's signatures which are for TF Serving's `classify` and `regress`.

    TensorFlow writes all of them as for `predict`, which servers may refuse to ask otherwise
    (`--enable_signature_method_name_check`).

    Args:
        folder: The export.
        names: Of all its signatures.
        tasks: Of those that read strings.
    """
    methods = {signature_of(task, kind): _METHODS[kind] for task in tasks for kind in _METHODS}
    methods = {name: methods[name] for name in names if name in methods}
    if methods:
        updater = tf.compat.v1.saved_model.signature_def_utils.MethodNameUpdater(str(folder))
        for name, method in methods.items():
            updater.replace_method_name(name, method)
        updater.save()
        tensorflow_graphs.write_fingerprint(folder)


def of_examples(features: Mapping[str, Sequence[str]]) -> dict[str, warm_up.Request]:
    """A request for each signature that reads examples, by its name; some there may not be.

    Args:
        features: What the signatures that read strings take, by their names.
    """
    kinds = {SERIALIZED: (warm_up.PREDICT, EXAMPLES)}
    kinds |= {CLASSIFY: (warm_up.CLASSIFY, INPUTS), REGRESS: (warm_up.REGRESS, INPUTS)}
    return {
        (called := signature_of(name, kind)): warm_up.of_examples(called, api, given, names)
        for name, names in features.items()
        for kind, (api, given) in kinds.items()
    }


def traceable(function: Callable[..., object], inputs: Sequence[tf.TensorSpec]) -> Traceable:
    """A `tf.function` without AutoGraph, which takes seconds to find nothing to rewrite here."""
    return tf.function(function, input_signature=inputs, autograph=False)


def with_arguments(function: Callable[..., object], names: Sequence[str]) -> Callable[..., object]:
    """The function with arguments of these names: TF Serving names inputs by them."""
    parameters = [inspect.Parameter(n, inspect.Parameter.POSITIONAL_OR_KEYWORD) for n in names]

    def named(*texts: tf.Tensor) -> object:
        return function(*texts)

    named.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    return named


def taking(names: Sequence[str], function: Callable[..., object]) -> Traceable:
    """A function of strings `[batch]` as a signature has it, with inputs of these names."""
    specs = [tf.TensorSpec([None], tf.string, name=name) for name in names]
    return traceable(with_arguments(function, names), specs)


def _of_examples(plain: Traceable) -> Callable[[tf.Tensor], Answers]:
    """The function of serialized `tf.Example`, whose features have the names of its inputs."""
    names = [spec.name for spec in plain.input_signature]
    # Without a default one that is missing is an error which names it, and no empty text.
    features = {name: tf.io.FixedLenFeature([], tf.string) for name in names}

    def answers(examples: tf.Tensor) -> Answers:
        found = tf.io.parse_example(examples, features)
        return plain(*(found[name] for name in names))

    return answers


def _best(task: Task, scores: tf.Tensor, most: int) -> Answers:
    found = tf.math.top_k(scores, most)
    ids = tf.cast(found.indices, tf.int64)
    return {"scores": found.values, "label_ids": ids, "labels": tf.gather(_names(task), ids)}


def _classified(task: Task, scores: tf.Tensor, most: int | None) -> Answers:
    if most is not None:
        found = _best(task, scores, most)
        return {"classes": found["labels"], "scores": found["scores"]}
    return {"classes": tf.tile(_names(task)[None], [tf.shape(scores)[0], 1]), "scores": scores}


def _classes(task: Task) -> int:
    """How many classes a task gives scores of."""
    return len(task.class_names or ()) if task.api == CLASSIFY else 0


def _names(task: Task) -> tf.Tensor:
    return tf.constant(task.class_names)


# A task of a user's own may inherit one of ours, and answer something else.


def _gives_classes(task: Task, shapes: Mapping[str, tf.TensorShape]) -> bool:
    found = shapes.get("scores")
    suits = found is not None and found.is_compatible_with([None, _classes(task)])
    return bool(_classes(task)) and suits


def _gives_numbers(task: Task, shapes: Mapping[str, tf.TensorShape]) -> bool:
    found = shapes.get("score")
    return task.api == REGRESS and found is not None and found.is_compatible_with([None])
