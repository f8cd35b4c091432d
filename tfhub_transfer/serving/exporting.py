"""Models out as SavedModels for TF Serving, strings in and answers out."""

import functools
import weakref
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TypeAlias

import tensorflow as tf
import tensorflow_text  # noqa: F401  registers the ops of the preprocessor

from tfhub_transfer import progress, runtime
from tfhub_transfer.errors import InputError
from tfhub_transfer.graphs import folding, safety, surgery
from tfhub_transfer.incoming import choices, ranges
from tfhub_transfer.models import last_layer, scope
from tfhub_transfer.models.transfer import TransferModel, require_model
from tfhub_transfer.runtime import precision_choice
from tfhub_transfer.serving import searches, side_files, signatures, warm_up
from tfhub_transfer.serving.served import ENCODE, SIGNATURE, WORDS, labels_file, signature_of
from tfhub_transfer.serving.signatures import (
    MAX_LENGTH,
    TOP_K,
    Traceable,
    taking,
    traceable,
    with_arguments,
)
from tfhub_transfer.shapes import Features
from tfhub_transfer.storage import opening, retention
from tfhub_transfer.storage.scratch import temporary
from tfhub_transfer.texts import splitting

# Ids in the order of their names to scores, and vectors behind them.
Folded: TypeAlias = Callable[..., Sequence[tf.Tensor]]
_INT8 = "int8"


class _Served(tf.Module):
    """What is exported: models' own calls and preprocessor behind signatures with strings."""

    def __init__(
        self, model: TransferModel, labels: dict[str, str], folded: folding.Folded | None
    ) -> None:
        super().__init__()
        self._preprocessor = model.preprocessor
        self.labels = {name: tf.saved_model.Asset(path) for name, path in labels.items()}
        self._of = weakref.ref(model)
        # A folded graph takes them flat, as TensorFlow flattens dictionaries: by sorted keys.
        self._input_names, self._once = sorted(_asked(model)), sorted(_answered_once(model))
        self._folded: Folded | None = folded.function if folded else None
        # What is exported are the attributes: not the Keras model, which holds an optimizer too.
        self._weights = folded.variables if folded else []
        if len(self._once) < len(model.parts) or not folded:
            self._all_weights = [w.value for w in model.weights]
            self._graph = model.encoder.saved_model

    @property
    def _model(self) -> TransferModel:
        model = self._of()
        assert model is not None  # whoever exports it holds it
        return model

    def _run_folded(self, folded: Folded, inputs: Features) -> Sequence[tf.Tensor]:
        """Answers of all heads, by the order of their names, and the vectors."""
        # What only other heads read is empty.
        empty = tf.zeros_like(next(iter(inputs.values())))
        return folded(*(inputs.get(name, empty) for name in self._input_names))

    def _scores(self, name: str, *texts: tf.Tensor, **more: tf.Tensor) -> tf.Tensor:
        models = models_of(self._model)
        inputs = {**models[name].layout.batch(*texts), **more}
        if self._folded and name in self._once:
            return self._run_folded(self._folded, inputs)[self._once.index(name)]
        return models[name].scoped_answer(inputs)

    def answer(self, name: str, *texts: tf.Tensor) -> dict[str, tf.Tensor]:
        """Strings `[batch]` to a dictionary of answers of one signature, ragged ones padded."""
        return self._answers(name, *models_of(self._model)[name].layout.plain(*texts))

    def answer_words(self, name: str, tokens: tf.Tensor) -> dict[str, tf.Tensor]:
        """The same of words `[batch, words]`, with empty ones behind the last of each text."""
        return self._answers(name, splitting.joined(tokens))

    def answer_limited(self, name: str, text: tf.Tensor, most: tf.Tensor) -> dict[str, tf.Tensor]:
        """The same of answers with so many pieces at most, int32 `[batch]`."""
        layout = models_of(self._model)[name].layout
        assert layout.limited is not None
        more = {layout.limited: tf.cast(most, tf.int32)[:, None]}
        return self._answers(name, *layout.plain(text), **more)

    def _answers(self, name: str, *texts: tf.Tensor, **more: tf.Tensor) -> dict[str, tf.Tensor]:
        model = models_of(self._model)[name]
        beside: dict[str, tf.Tensor] = {}

        def run(*rows: tf.Tensor) -> tf.Tensor:
            scores, told = scope.apart(model.scope, self._scores(name, *rows, **more))
            beside.update(told)
            return scores

        rows, state = model.layout.prepare(*texts)
        found = {**model.layout.served(run, rows, state), **beside}
        return {
            key: tf.identity(value.to_tensor() if isinstance(value, tf.RaggedTensor) else value)
            for key, value in found.items()
        }

    def encode(self, text: tf.Tensor) -> dict[str, tf.Tensor]:
        """Strings `[batch]` to the encoder's vectors `[batch, dimension]`."""
        inputs = self._model.layout.batch_of_single(splitting.plain(text))
        if self._folded:
            vector = self._run_folded(self._folded, inputs)[-1]
        else:
            vector = self._model.vector(inputs)
        # Without the empty text that may have filled up a pair.
        each = tf.reshape(vector, [-1, vector.shape[-1]])[: tf.shape(text)[0]]
        return {"embedding": tf.identity(each)}

    def lengths(self, *texts: tf.Tensor) -> tf.Tensor:
        """Strings `[batch]` to the number of tokens `[batch]` of each, uncut."""
        return self._preprocessor.lengths(texts)


def models_of(model: TransferModel) -> dict[str, TransferModel]:
    """The model behind each signature that answers: of each task, where there are several."""
    return {name or SIGNATURE: part for name, part in model.parts.items()}


def require_exportable(model: TransferModel) -> None:
    """Raises `InputError` if an export couldn't answer as the model does.

    Args:
        model: Trained or not.
    """
    require_model(model)
    for part in model.parts.values():
        part.layout.require_servable()
    signatures.check_names({name: part.task for name, part in models_of(model).items()})


def _answered_once(model: TransferModel) -> dict[str, TransferModel]:
    """Those of `models_of` that only compute: what searches for texts holds loops."""
    return {n: part for n, part in models_of(model).items() if part.task.search is None}


def _folded(model: TransferModel, precision: str) -> folding.Folded | None:
    """Ids, in the order of their names, to scores and vectors, with weights as products want them.

    `None` if the model does more than compute, or only looks vectors up: then requests run it as it
    was loaded.
    """
    once = _answered_once(model)
    if len(once) < len(model.parts):
        _refuse_bytes(precision, "a task that searches for texts")
    if not model.encoder.is_contextual:
        _refuse_bytes(precision, model.encoder.handle)
    if not model.encoder.is_contextual or not once:
        return None
    spec = _asked(model)

    def both(inputs: Features) -> dict[str, list[tf.Tensor]]:
        ids = dict(inputs)
        if len(once) == len(model.parts):
            return {"made": tf.nest.flatten([model.scoped_answer(ids), model.vector(ids)])}
        answers = {name: part.scoped_answer(ids) for name, part in once.items()}
        return {"made": tf.nest.flatten([answers, model.vector(ids)])}

    # As at bfloat16, what comes behind the encoder's vectors is exact.
    low = [w.value for w in model.encoder.weights] if precision == _INT8 else []
    try:
        with progress.part("weights"):
            return folding.fold(both, spec, [w.value for w in model.weights], low)
    except surgery.NotFlat:
        _refuse_bytes(precision, model.encoder.handle)
        return None


def _asked(model: TransferModel) -> dict[str, tf.TensorSpec]:
    """What of a model's inputs a question has, by name, to what only computes."""
    return {
        name: tf.TensorSpec(tensor.shape, tensor.dtype, name=name)
        for part in _answered_once(model).values()
        for name, tensor in part.layout.asked_inputs(model.encoder).items()
    }


def _refuse_bytes(precision: str, received: str) -> None:
    if precision == _INT8:
        raise InputError(
            f"`{_INT8}` is for encoders whose graph multiplies with weights, once; give another "
            f"`precision`. Received: {received}"
        )


def export_saved_model(
    model: TransferModel,
    folder: str | Path,
    precision: str = "auto",
    top_k: int | None = None,
    keep: int | None = None,
) -> Path:
    """Writes the next version of a served model into a folder, for TF Serving.

    The signature `serving_default` takes `text` (or `text_a` and `text_b`), strings `[batch]`. It
    gives, for classification, `scores` float32 `[batch, classes]`, `label_id` int64 `[batch]` and
    `label` strings `[batch]`; for ordered classes `rank` in the place of `label_id`; for
    multi-label `scores`, `predicted` bool `[batch, classes]` and `label_names`; for regression and
    similarity `score` float32 `[batch]`. The signature `encode` takes `text` and gives `embedding`
    float32 `[batch, dimension]`, of length 1 for
    similarity. For tags of words it gives, each
    `[batch, most words]` and padded, `word`, `tag`, `score`, `start`, `end` (Unicode code points),
    with `word_count`; and where tags have a scheme, each `[batch, most entities]`, `entity`,
    `type`, `entity_score`, `entity_start`, `entity_end`, with `entity_count`; the signature `words`
    gives the same of `tokens`, strings `[batch, most words]` with empty ones behind the last word
    of each text, with places in the words joined by spaces. For questions it
    takes `question` and `context` and gives, each `[batch]`, `answer` (empty for none), `score`,
    `start` and `end` (Unicode code points, -1 for none) and `margin`. For summaries it takes
    `document` and gives, each `[batch, most chosen]` and padded, `sentence`, `score`, `start`,
    `end`, with `sentence_count`. Class names and vocabulary lie in `assets`.

    The signature `serialized` takes `examples`, serialized `tf.Example` strings `[batch]` with a
    string feature by the name of each of these inputs, and gives the same; one without is refused.
    Where answers are texts, `max_length` takes `text` and `max_length`, int32 `[batch]`, the most
    pieces of each answer (below 1: as many as ever), and gives the same as `serving_default`.
    For TF Serving's APIs of these names there are `classify`, where classes have scores (`inputs`,
    such examples, to `classes` strings and `scores` float32, both `[batch, classes]`), and
    `regress`, where the answer is a number (`inputs` to `outputs` float32 `[batch]`).

    A model of several tasks has, instead of `serving_default`, a signature by the name of each
    task, and with it `NAME_words`, `NAME_serialized` and so on.

    Args:
        model: A trained model.
        folder: The model's folder; versions are numbered folders in it, `1` first.
        precision: Of the exported model's matrix products. `"bfloat16"` also stores their weights
            so, which is fastest on a machine with bfloat16 units and slow on one without;
            `"float32"` runs well anywhere; `"auto"` as in `runtime.precision`, so for machines like
            this one. `"int8"` stores the encoder's matrices and words as bytes and multiplies
            bytes: for servers on x86 with VNNI alone (see `docs/serving.md`).
        top_k: Where classes have scores, how many of the likeliest to give, the likeliest first:
            `classify` gives these alone, and `top_k` takes what `serving_default` takes and gives
            `labels` strings, `label_ids` int64 and `scores` float32, all `[batch, top_k]`. Of
            several tasks one with fewer classes gives all.
        keep: How many versions to keep, the newest: older ones that this package wrote are removed
            once the new one is there. All, if not given.

    Returns:
        The folder of the version, which appears whole or not at all.

    Raises:
        InputError: If `folder` can't be written, the task asks the model more than once and
            doesn't say how a graph does, the encoder has nothing to be `"int8"`, no task has
            `top_k` classes, or two signatures would have one name.

    Example:

    >>> export_saved_model(model, "out/serving")
    PosixPath('out/serving/1')
    """
    require_exportable(model)
    last_layer.forget_void(model)
    top_k = signatures.check_top_k([part.task for part in model.parts.values()], top_k)
    keep = None if keep is None else ranges.whole_number("keep", keep, *ranges.VERSIONS)
    choices.one_of("precision", precision, (*precision_choice.PRECISIONS, _INT8))
    if precision != _INT8:
        precision = runtime.choose_precision(precision, model.encoder.dimension)
    retention.require_alike(opening.path_of(folder), safety.GRAPH_FILE)
    # Without matrix products there is nothing to gain.
    rounds = precision == "bfloat16" and model.encoder.is_contextual
    try:
        # A watcher takes numbered folders only, so the half-written version has another name.
        parent = opening.path_of(folder)
        with (
            runtime.precision("bfloat16" if rounds else "float32"),
            precision_choice.without_gradients(),
        ):
            return retention.next_version(
                parent, lambda scratch: _write(model, scratch, precision, top_k), keep
            )
    except (OSError, tf.errors.OpError) as error:  # TensorFlow has its own word for a full disk
        reason = " ".join(str(error).split())[:200]
        raise InputError(f"the export failed. Received: {folder} ({reason})") from error


def _write(model: TransferModel, folder: Path, precision: str, top_k: int | None) -> None:
    models = models_of(model)
    with temporary() as assets:
        served = _Served(model, _write_labels(models, assets), _folded(model, precision))
        traced, lengths = _signatures(served, models, top_k)
        functions = {}
        with progress.part("signatures", len(traced)) as steps:
            for name, each in traced.items():
                functions[name] = each.get_concrete_function()
                steps.add()
        # Not for TF Serving: `ServedModel` sorts by it.
        served.lengths_of = lengths
        with progress.part("files"):
            tf.saved_model.save(served, str(folder), signatures=functions)
            signatures.name_methods(folder, functions, models)
            _write_warm_up(functions, models, model.sequence_length, folder)
            searches.write(models, folder)


def _signatures(
    served: _Served, models: dict[str, TransferModel], top_k: int | None
) -> tuple[dict[str, Traceable], dict[str, Traceable]]:
    """What answers, by the name of its signature; and what counts tokens, by that of its task."""
    found, lengths = {ENCODE: taking(["text"], served.encode)}, {}
    for name, each in models.items():
        names = each.layout.signature
        plain = taking(names, functools.partial(served.answer, name))
        others = signatures.beside(name, each.task, plain, top_k)
        found |= {name: plain, **others}
        if each.layout.takes_words:
            words = tf.TensorSpec([None, None], tf.string, name="tokens")
            listed = with_arguments(functools.partial(served.answer_words, name), ["tokens"])
            found[signature_of(name, WORDS)] = traceable(listed, [words])
        if each.layout.limited is not None:
            limited = with_arguments(
                functools.partial(served.answer_limited, name), [*names, MAX_LENGTH]
            )
            numbers = tf.TensorSpec([None], tf.int32, name=MAX_LENGTH)
            texts = [tf.TensorSpec([None], tf.string, name=own) for own in names]
            found[signature_of(name, MAX_LENGTH)] = traceable(limited, [*texts, numbers])
        lengths[name] = taking(names, served.lengths)
        if signature_of(name, TOP_K) in others:
            lengths[signature_of(name, TOP_K)] = lengths[name]
    return found, lengths


def _write_warm_up(
    functions: Mapping[str, tf.types.experimental.ConcreteFunction],
    models: Mapping[str, TransferModel],
    most: int,
    folder: Path,
) -> None:
    """What TF Serving asks a version itself, before anybody else does."""
    features = {name: each.layout.signature for name, each in models.items()}
    examples = signatures.of_examples(features)
    taken = {name: tf.nest.flatten(f.structured_input_signature) for name, f in functions.items()}
    ranks = {
        name: {spec.name: spec.shape.rank for spec in specs}
        for name, specs in taken.items()
        # One with numbers calls the function of one that reads strings alone.
        if name not in examples and all(spec.dtype == tf.string for spec in specs)
    }
    asked = [*warm_up.requests(ranks, most)]
    asked += [each for name, each in examples.items() if name in functions]
    warm_up.write(folder / warm_up.FILE, asked)


def _write_labels(models: dict[str, TransferModel], folder: Path) -> dict[str, str]:
    """Files of class names, one a line, for the assets."""
    written = {}
    for name, model in models.items():
        if model.task.class_names:
            path = folder / labels_file(name)
            side_files.write_lines(path, model.task.class_names)
            written[name] = str(path)
    return written
