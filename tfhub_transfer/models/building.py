"""Encoder and task to a compiled Keras model, new or out of a file."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

import keras
import tensorflow as tf

from tfhub_transfer import runtime
from tfhub_transfer.encoders import registry
from tfhub_transfer.encoders.binding import graphs_from_file
from tfhub_transfer.encoders.encoder import Encoder
from tfhub_transfer.encoders.preprocessing import make_preprocessor
from tfhub_transfer.errors import InputError
from tfhub_transfer.heads.settings import Head
from tfhub_transfer.incoming import choices
from tfhub_transfer.incoming import usual as usual_numbers
from tfhub_transfer.models import archives
from tfhub_transfer.models.multitask import MultiTaskModel
from tfhub_transfer.models.transfer import TransferModel
from tfhub_transfer.optimization import optimizers, planning
from tfhub_transfer.optimization.schedules import WarmUpLinearDecay
from tfhub_transfer.runtime import replicas
from tfhub_transfer.storage import opening
from tfhub_transfer.tasks import MultiTask, Task

# Those that train with warm-up, decay and clipping as the usual one, which comes first.
OPTIMIZERS = ("adamw", "lamb", "lars", "lion", "adafactor", "nadam", "rmsprop", "sgd")
# Characters of what Keras says went wrong, which may quote a whole configuration.
_MOST_REASON = 600


def build_model(
    encoder: registry.Named | Encoder,
    task: Task | Mapping[str, Task],
    head: Head | Mapping[str, Head] | None = None,
    optimizer: str | keras.optimizers.Optimizer | None = None,
    loss: str | keras.Loss | None = None,
    preprocessor: str | None = None,
    sequence_length: int | None = None,
) -> TransferModel:
    """Builds and compiles a model of a frozen TF Hub encoder with the head of a task.

    Args:
        encoder: A handle (see `Encoder`), `"auto"` for the packaged one, a
            `registry.EncoderSource`, or an `Encoder`: that one where it needs `trust_code`.
        task: What to answer; it must know its labels (`task.adapt(train.labels)`). Several tasks,
            `{name: task}`, or a `MultiTask` of them, make a `MultiTaskModel`.
        head: Layers between encoder and answer; `Head()` if not given. One for all tasks, or
            `{name: head}`.
        optimizer: Any Keras optimizer, by name or object. AdamW with warm-up and linear decay if
            not given; `"lamb"` and `"lars"` scale layer by layer for large batches.
        loss: Any Keras loss, by name or object; the task's own if not given.
        preprocessor: Handle or folder of a TF Hub preprocessor, if not the encoder's own.
        sequence_length: The most tokens of a text; if not given 256 (384 for questions), or the
            encoder's limit.

    Returns:
        A compiled functional `keras.Model` whose inputs hold no strings.

    Raises:
        InputError: If the encoder can't serve the task, or the labels aren't known.

    Example:

    >>> model = build_model("auto", Classification(["negative", "positive"]))
    >>> [answer] = model.predict_text(["What a lovely film"])
    >>> sorted(answer["scores"])
    ['negative', 'positive']
    """
    if not isinstance(task, (Task, Mapping)):
        raise InputError(
            "expected a task, such as `tasks.Classification(class_names=[...])`, or several, "
            f"`{{name: task}}`. Received: {task!r}"
        )
    task = task if isinstance(task, Task) else MultiTask(task)
    if ([*task.parts] == [""]) == task.several:
        raise InputError(
            "a task is alone, its only part, which has no name, or it is several, each by its name,"
            " as in a `MultiTask`. "
            f"Received: {type(task).__name__} of several={task.several} and parts {[*task.parts]}"
        )
    task.require_adapted()
    heads = _heads(task, head)
    if not isinstance(encoder, Encoder):
        source = registry.source_of(encoder)
        if task.needs_tokens or any(each.needs_tokens for each in heads.values()):
            # Before `Encoder`, which takes time to make.
            registry.require_token_vectors(source, task.name)
        encoder = Encoder(source)
    if sequence_length is None and task.sequence_length is not None:
        sequence_length = min(filter(None, (task.sequence_length, encoder.max_sequence_length)))
    made = make_preprocessor(encoder, preprocessor, sequence_length)
    model: TransferModel = (
        MultiTaskModel(encoder, cast(MultiTask, task), heads, made)
        if task.several
        else TransferModel(encoder, task, heads[""], made)
    )
    for part in model.parts.values():
        part.layout.warm_start(part)
    model.compile(
        optimizer=optimizers.get(optimizer) or default_optimizer(encoder),
        loss=task.loss() if loss is None else loss,
        **task.measures(),
        # XLA over a SavedModel recompiles at every step; it is on only where asked for.
        jit_compile=compiles(encoder, "auto"),
    )
    return model


def compiles(encoder: Encoder, jit: str) -> bool:
    """Whether steps of a model are compiled with XLA; see `runtime.use_jit`.

    Args:
        encoder: The encoder of the model.
        jit: `"auto"`, `"on"` or `"off"`.

    Raises:
        InputError: If the encoder can't be compiled.
    """
    asked, strategy = runtime.use_jit(jit), tf.distribute.get_strategy()
    replicas.require_one_device(asked, strategy)
    # A TPU runs what XLA has compiled, whether anybody asked for that or not.
    on_tpu = isinstance(strategy, tf.distribute.TPUStrategy)
    if (asked or on_tpu) and encoder.dialect == "text":
        raise InputError(
            "XLA can't compile a text-embedding encoder, which works on strings; without a TPU "
            f"give `--jit off`, or use a BERT-like encoder. Received: {encoder.handle}"
        )
    return asked


def _heads(task: Task, head: Head | Mapping[str, Head] | None) -> dict[str, Head]:
    """A head for each name of a task; a task alone has none."""
    names = list(task.parts)
    given = list(head.values()) if isinstance(head, Mapping) else [head or Head()]
    odd = [each for each in given if not isinstance(each, Head)]
    if odd:
        raise InputError(
            f"expected a head, such as `Head(pooling='mean')`. Received: {str(odd[0])[:80]!r}"
        )
    if task.several and any(each.towers for each in given):
        raise InputError(
            "tasks that learn together read a pair as one; train two towers alone. "
            "Received: a head with towers=True"
        )
    if not isinstance(head, Mapping):
        return {name: head or Head() for name in names}
    if not set(head) <= set(names) or names == [""]:
        raise InputError(
            "heads go by the names of several tasks"
            f"{', ' + ', '.join(names) if names != [''] else '; give one task one head'}. "
            f"Received: {', '.join(map(repr, head))}"
        )
    return {name: head.get(name, Head()) for name in names}


def default_optimizer(
    encoder: Encoder,
    learning_rate: float | None = None,
    name: str = OPTIMIZERS[0],
    warmup: float = usual_numbers.WARMUP,
) -> keras.optimizers.Optimizer:
    """AdamW with warm-up and linear decay (Devlin et al. 2019), at the rate that suits an encoder.

    Args:
        encoder: The encoder that is to thaw.
        learning_rate: The highest rate, if not the usual: 1e-4 for a BERT up to 512 wide, 5e-5 for
            a wider one, 6e-3 for embeddings alone; `fine_tune` knows better ones for some tasks.
        name: Another of `OPTIMIZERS`, with the same schedule, decay and clipping.
        warmup: Share of the steps that the warm-up takes.

    Raises:
        InputError: If a number is out of range, or it is another optimizer.
    """
    choices.one_of("optimizer", name, OPTIMIZERS)
    usual = learning_rate is None
    rate = planning.usual_rate(encoder)[0] if learning_rate is None else learning_rate
    schedule = WarmUpLinearDecay(rate, warmup, usual=usual)
    kind: Any = type(optimizers.get(name))
    # Decay and clipping are those that BERT was trained with.
    return kind(schedule, weight_decay=0.01, global_clipnorm=1.0)


def load_model(path: str | Path, trust_code: bool = False) -> TransferModel:
    """Loads a model that `model.save("... .keras")` wrote: weights, graph, vocabulary and task.

    Nothing that the file names is imported, downloaded or run before it was checked.

    Args:
        path: The `.keras` file.
        trust_code: Whether the file may run code, such as a `Lambda`, with all the rights that you
            have. Only for files whose maker you trust.

    Raises:
        InputError: If the file is missing or damaged, isn't a saved `TransferModel`, or may run
            code.

    Example:

    >>> model = load_model("out/model.keras")
    >>> model.predict_text(["What a lovely film"])
    [{'label': ..., 'scores': {'negative': ..., 'positive': ...}}]
    """
    path = opening.path_of(path)
    if (path / "model.weights.h5").is_file():
        raise InputError(
            "this is a `.keras` file that was unpacked; give the file, or pack it again, with "
            f"`zip -0 -r ../model.keras .` inside of it. Received: {path}"
        )
    if not path.is_file() or path.suffix != ".keras":
        within = next(path.glob("*.keras"), None) if path.is_dir() else None
        hint = f", such as {within}" if within else ""
        what = "this is no model file" if path.exists() else "no such model file"
        raise InputError(f"{what}; expected a `.keras` file{hint}. Received: {path}")
    archive = archives.check(path, TransferModel, trust_code)
    try:
        with archive.budget(), graphs_from_file():
            return keras.saving.load_model(path, safe_mode=not trust_code)
    except Exception as error:  # Keras raises a dozen kinds, all meaning that the file is no good
        raise InputError(_not_loadable(path, error)) from error


def write_encoder(path: Path, folder: Path) -> None:
    """Writes the encoder in a `.keras` file as a folder of its own, as `Encoder.save` does.

    Args:
        path: The file.
        folder: The folder to write.

    Raises:
        InputError: If the file isn't a model that loads safely, or nothing can be written.
    """
    try:
        load_model(path).encoder.save(folder)
    except InputError as error:
        if "trust_code" not in str(error):
            raise
        raise InputError(
            "an encoder is made without asking of what is safe alone; if you trust its maker: "
            f"`tt.load_model(file, trust_code=True).encoder.save(folder)`. Received: {error}"
        ) from error


# `encoders` is a floor below and may not import this, so it is told.
registry.register_converter("trained", write_encoder)


def _not_loadable(path: Path, error: Exception) -> str:
    # Keras wraps what went wrong in one object into a page on all of them.
    within = re.search(r"Example error message for [^\n]*\n\n(.*?)\n\nList of", str(error), re.S)
    reason = " ".join((within[1] if within else str(error) or type(error).__name__).split())
    return (
        f"the file is damaged or isn't a model that `model.save` wrote. Received: {path} "
        f"({reason[:_MOST_REASON]})"
    )
