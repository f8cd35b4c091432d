"""What an encoder is given: ids, or texts as code points or strings."""

from typing import Any

import keras
import tensorflow as tf

BERT_INPUTS = ("input_word_ids", "input_mask", "input_type_ids")
CODE_POINTS = "code_points"


def ids_of(inputs: Any) -> Any:
    """The ids or code points among the inputs, whose shape is that of all."""
    if not isinstance(inputs, dict):
        return keras.tree.flatten(inputs)[0]
    return inputs[CODE_POINTS if CODE_POINTS in inputs else BERT_INPUTS[0]]


def merge_rows(inputs: Any) -> Any:
    """`[batch, texts, ...]` to `[batch * texts, ...]`, everywhere."""

    def merged(tensor: tf.Tensor) -> tf.Tensor:
        flat = tf.reshape(tensor, tf.concat([[-1], tf.shape(tensor)[2:]], axis=0))
        return tf.ensure_shape(flat, [None, *tensor.shape[2:]])

    return tf.nest.map_structure(merged, inputs)


def split_rows(outputs: Any, rows: tf.Tensor) -> Any:
    """`[batch * texts, ...]` to `[batch, texts, ...]`, everywhere."""

    def apart(tensor: tf.Tensor) -> tf.Tensor:
        whole = tf.reshape(tensor, tf.concat([rows, tf.shape(tensor)[1:]], axis=0))
        return tf.ensure_shape(whole, [None, None, *tensor.shape[1:]])

    return tf.nest.map_structure(apart, outputs)


def as_strings(inputs: Any) -> tf.Tensor:
    """Strings as they are; code points `[batch, length]`, padded with 0, joined to strings."""
    inputs = inputs[CODE_POINTS] if isinstance(inputs, dict) else inputs
    inputs = tf.convert_to_tensor(inputs)
    if inputs.dtype == tf.string:
        return inputs
    return tf.strings.unicode_encode(tf.RaggedTensor.from_tensor(inputs, padding=0), "UTF-8")
