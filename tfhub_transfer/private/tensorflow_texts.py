"""What tensorflow-text does with texts, without what it checks of its own answers."""

import tensorflow as tf
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
