"""What tensorflow-text does with texts, without what it checks of its own answers."""

import functools
import re
import typing
from pathlib import Path

import tensorflow as tf
import tensorflow_text
from tensorflow_text.python.ops import regex_split_ops


def split(
    texts: tf.Tensor, delimiter: str, kept: str
) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor, tf.Tensor]:
    """`tensorflow_text.regex_split_with_offsets` of texts `[n]`, before it makes rows of it.

    `regex_split_ops.gen_regex_split_ops.regex_split_with_offsets`, with tensorflow-text 2.21.
    Publicly its rows are checked three times by assertions, each a branch in the graph, which take
    longer to trace than all the rest; `tf.raw_ops` has no operations of libraries.

    Args:
        texts: Strings in UTF-8.
        delimiter: A pattern of what stands between pieces.
        kept: A pattern of delimiters that are pieces.

    Returns:
        The pieces of all texts, where each starts and ends in its text, in bytes, and where the
        rows split `[n + 1]`.
    """
    operation = regex_split_ops.gen_regex_split_ops.regex_split_with_offsets
    pieces, starts, ends, splits = operation(texts, f"({delimiter})", f"({kept})")
    return pieces, starts, ends, splits


@functools.cache
def names_of_operations() -> frozenset[str]:
    """The names of all operations that tensorflow-text adds to TensorFlow.

    `tensorflow_text/python/ops/_*.so`, with tensorflow-text 2.21, each loaded already. A process
    knows its operations, but not whose they are.
    """
    libraries = Path(tensorflow_text.__file__).parent.glob("python/ops/_*.so")
    found = (name for path in libraries for name in dir(tf.load_op_library(str(path))))
    # Names of their types, which the modules import or make, are none of operations.
    ours = (n for n in found if re.match("(?!TV_)[A-Z]", n) and not hasattr(typing, n))
    return frozenset(name.replace("TFText_", "TFText>") for name in ours)
