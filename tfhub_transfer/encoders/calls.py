"""What an encoder is given: ids, or texts as code points or strings; and what it gives."""

from typing import TypeAlias, TypeGuard

import keras
import numpy as np
import numpy.typing as npt
import tensorflow as tf

from tfhub_transfer.errors import InputError
from tfhub_transfer.incoming import values, wording
from tfhub_transfer.shapes import Features

# What Keras passes while it builds a model stands for what TensorFlow computes with.
Tensor: TypeAlias = "tf.Tensor | keras.KerasTensor"
# Ids or code points by name; of texts, code points or strings alone too.
Inputs: TypeAlias = "Features | Tensor"
# By name; `encoder_outputs` is a list, of an output of each layer.
Outputs: TypeAlias = "dict[str, Tensor]"

BERT_INPUTS = ("input_word_ids", "input_mask", "input_type_ids")
CODE_POINTS = "code_points"
# What is made beside ids and read by heads alone (`joining.WORD_STARTS`).
BESIDE = "word_starts"
# Before the number of a layer whose output is given instead of being computed.
LAYER_OUTPUTS = "encoder_outputs"


def boundary_input(layer: int) -> str:
    """The key under which an `Encoder` takes the output of a layer, and runs only those above."""
    return f"{LAYER_OUTPUTS}.{layer}"


def checked(inputs: object, dialect: str) -> Inputs:
    """What an encoder is called with, in the form that it computes with.

    Args:
        inputs: Ids by name, or the three in a list; strings or code points.
        dialect: The encoder's, `"bert"` or `"text"`.

    Raises:
        InputError: If it isn't what an encoder of that dialect reads. Here, because what is raised
            while Keras calls a layer gets a page of explanations.
    """
    if dialect == "bert":
        return _checked_ids(inputs)
    if isinstance(inputs, dict):
        if set(inputs) != {CODE_POINTS}:
            raise InputError(
                f"this encoder reads texts: a tensor of strings, or of their {CODE_POINTS}. "
                f"Received: {described(inputs)}"
            )
        return inputs
    points = "int" in dtype(inputs) and rank(inputs) in (2, 3)
    return inputs if points else as_texts(inputs)


def is_tensor(given: object) -> TypeGuard[Tensor]:
    """Whether it is a tensor, of TensorFlow's own or one of a model that Keras builds."""
    return tf.is_tensor(given) or isinstance(given, keras.KerasTensor)


def as_texts(given: object) -> Tensor:
    """Texts as a tensor of strings `[batch]`, or `[batch, 1]`.

    Args:
        given: A list, array or series of strings, or of bytes in UTF-8; a tensor of TensorFlow or
            of Keras, which stays as it is.

    Raises:
        InputError: If it is something else, such as one string, or a text is missing.

    Example:

    >>> as_texts(np.array(["a good film", "bad"])).shape
    TensorShape([2])
    """
    if isinstance(given, (str, bytes)):
        raise InputError(
            f"texts go in a list; put a single one in brackets. Received: {given[:60]!r}"
        )
    if is_tensor(given):
        dense = not isinstance(given, (tf.RaggedTensor, tf.SparseTensor))
        flat = rank(given) in (None, 1) or (rank(given) == 2 and given.shape[-1] == 1)
        if dtype(given) != "string" or not (flat and dense):
            symbolic = isinstance(given, keras.KerasTensor)
            hint = ', such as `keras.Input((), dtype="string")`' if symbolic else ""
            raise InputError(f"expected texts, strings [batch]{hint}. Received: {described(given)}")
        return given
    rows = [_text(row, number) for number, row in enumerate(wording.listed(given), start=1)]
    return tf.constant(rows, tf.string)


def _text(row: object, number: int) -> str:
    place, value = f"row {number} of the texts", row if type(row) is str else values.alone(row)
    if isinstance(value, bytes):
        try:
            value = value.decode("utf-8")
        except UnicodeDecodeError as error:
            raise InputError(
                f"{place}: bytes must be UTF-8 ({error}). Received: {value[:60]!r}"
            ) from error
    return wording.require_text(value, place)


def rank(tensor: Tensor) -> int | None:
    """The number of axes of a tensor, where that is known before it runs."""
    return tensor.shape.rank if isinstance(tensor.shape, tf.TensorShape) else len(tensor.shape)


def dtype(given: object) -> str:
    """The name of what an array or a tensor holds; nothing of what is neither."""
    held = getattr(given, "dtype", "")
    return str(getattr(held, "name", held))


def _checked_ids(inputs: object) -> Features:
    if isinstance(inputs, (list, tuple)) and len(inputs) == len(BERT_INPUTS):
        inputs = dict(zip(BERT_INPUTS, inputs))  # as the first versions of TF Hub had them
    expected = f"ids, {{{', '.join(BERT_INPUTS)}}}, each of whole numbers [batch, length]"
    if not isinstance(inputs, dict):
        raise InputError(
            f"this encoder reads no text but {expected}; a preprocessor makes them, such as that "
            f"of `model.preprocess`. Received: {described(inputs)}"
        )
    inputs = {name: value for name, value in inputs.items() if name != BESIDE}
    absent = [name for name in BERT_INPUTS[:2] if name not in inputs]
    odd = [n for n in inputs if n not in BERT_INPUTS and not str(n).startswith(LAYER_OUTPUTS)]
    # Not the outputs of layers, which are vectors.
    wrong = [n for n in BERT_INPUTS if n in inputs and not _is_ids(inputs[n])]
    if absent or odd or wrong:
        raise InputError(
            f"this encoder reads {expected}; only input_type_ids may be left out, they are 0 then. "
            f"Received: {described(inputs)}"
        )
    return inputs


def _is_ids(value: "Tensor | npt.ArrayLike") -> bool:
    held = str(getattr(value, "dtype", None) or np.asarray(value).dtype)
    return "int" in held and len(
        np.shape(value) if not hasattr(value, "shape") else value.shape
    ) in (2, 3)


def described(inputs: object) -> str:
    """What was given, on one line, without its numbers."""
    if isinstance(inputs, dict):
        return ", ".join(f"{name}: {described(value)}" for name, value in inputs.items()) or "{}"
    if hasattr(inputs, "dtype"):
        return f"{dtype(inputs)} {list(getattr(inputs, 'shape', ()))}"
    return repr(inputs)[:60]


def with_types(inputs: Inputs) -> Inputs:
    """Ids of one text each have type 0, where nobody says."""
    name = BERT_INPUTS[2]
    if not isinstance(inputs, dict) or CODE_POINTS in inputs or name in inputs:
        return inputs
    return {**inputs, name: tf.zeros_like(inputs[BERT_INPUTS[0]])}


def ids_of(inputs: Inputs) -> Tensor:
    """The ids or code points among the inputs, whose shape is that of all."""
    if not isinstance(inputs, dict):
        return keras.tree.flatten(inputs)[0]
    return inputs[CODE_POINTS if CODE_POINTS in inputs else BERT_INPUTS[0]]


def merge_rows(inputs: Inputs) -> Inputs:
    """`[batch, texts, ...]` to `[batch * texts, ...]`, everywhere."""

    def merged(tensor: tf.Tensor) -> tf.Tensor:
        flat = tf.reshape(tensor, tf.concat([[-1], tf.shape(tensor)[2:]], axis=0))
        return tf.ensure_shape(flat, [None, *tensor.shape[2:]])

    return tf.nest.map_structure(merged, inputs)


def split_rows(outputs: Outputs, rows: tf.Tensor) -> Outputs:
    """`[batch * texts, ...]` to `[batch, texts, ...]`, everywhere."""

    def apart(tensor: tf.Tensor) -> tf.Tensor:
        whole = tf.reshape(tensor, tf.concat([rows, tf.shape(tensor)[1:]], axis=0))
        return tf.ensure_shape(whole, [None, None, *tensor.shape[1:]])

    return tf.nest.map_structure(apart, outputs)


def as_strings(inputs: Inputs) -> tf.Tensor:
    """Strings `[batch]` of such, or `[batch, 1]`, or of code points `[batch, length]`, 0 behind.

    NUL characters become spaces.
    """
    inputs = inputs[CODE_POINTS] if isinstance(inputs, dict) else inputs
    inputs = tf.convert_to_tensor(inputs)
    if inputs.dtype == tf.string:
        # As `preprocess` has it of code points, whose 0 is padding; NumPy drops those at the end.
        return tf.strings.regex_replace(tf.reshape(inputs, [-1]), r"\x00", " ")
    points = tf.RaggedTensor.from_tensor(tf.cast(inputs, tf.int32), padding=0)
    return tf.strings.unicode_encode(points, "UTF-8")
