"""What Keras' layers know of each other, and say in no public way."""

import keras
from keras.src.backend.common import global_state


def layers_of(layer: keras.Layer) -> list[keras.Layer]:
    """All layers inside of a layer or a model, at any depth, with itself as the first.

    `Layer._flatten_layers`, with Keras 3.15.1. `Model.layers` has the outermost only, and a layer
    that holds others no public list of them.
    """
    return list(layer._flatten_layers())


def caller() -> keras.Layer | None:
    """The outermost layer or model whose call is traced, or runs, now.

    The `entry_layer` of `keras.src.backend.common.global_state`'s `current_call_ctx`, with Keras
    3.15.1. A layer isn't told who calls it.
    """
    context = global_state.get_global_attribute("current_call_ctx")
    return getattr(context, "entry_layer", None)


def take_strings(layer: keras.Layer) -> None:
    """Lets a layer be called with Python's own strings, or lists of them, as they are.

    `Layer._convert_input_args` and `_allow_non_tensor_positional_args`, with Keras 3.15.1, as
    Keras' own layers for texts set them.
    """
    layer._convert_input_args = False
    layer._allow_non_tensor_positional_args = True


def drop_by(attention: keras.layers.MultiHeadAttention, kind: type[keras.layers.Dropout]) -> None:
    """Lets attention drop by another class of layers.

    `MultiHeadAttention._dropout_layer`, with Keras 3.15.1, changes its class: once attention is
    built it takes no other layer, and before that it has none.

    Args:
        attention: Built.
        kind: A class that adds methods to Keras' own and nothing else.
    """
    attention._dropout_layer.__class__ = kind
