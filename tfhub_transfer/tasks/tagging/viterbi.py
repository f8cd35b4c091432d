"""Of all sequences of tags that a scheme allows the likeliest (Viterbi 1967), in TensorFlow.

Reports, `predict_text` and exports have it from here, so that what is judged is what is served.
"""

import numpy as np
import tensorflow as tf

from tfhub_transfer.runtime.masking import NEVER

# Below any probability that a softmax in float32 tells from 0; the logarithm of 0 is no number.
_LEAST = 1e-30
_Pair = tuple[tf.Tensor, tf.Tensor]


def best_tags(scores: tf.RaggedTensor, steps: np.ndarray) -> tf.Tensor:
    """The likeliest sequence of tags of each sentence, int32 `[all words]`.

    Where every sequence has a step that isn't allowed, one with the fewest of them.

    Args:
        scores: Probabilities `[n, (words), tags]`.
        steps: Which tag may follow which, from `schemes.allowed_steps`.

    Example:

    >>> scores = tf.ragged.constant([[[0.4, 0.6], [0.1, 0.9]]], ragged_rank=1)  # of O and I-a
    >>> steps = np.array([[1, 0, 0, 1], [1, 1, 0, 1], [1, 0, 0, 1], [0, 0, 0, 0]], bool)
    >>> best_tags(scores, steps).numpy().tolist()  # nothing begins with I-a, or goes from O to it
    [0, 0]
    """
    counts = tf.cast(scores.row_lengths(), tf.int32)
    # Padding is 1, whose logarithm adds nothing to a sum.
    dense = tf.pad(scores.to_tensor(1.0), [[0, 0], [0, 2], [0, 0]], constant_values=1.0)
    logs = tf.math.log(tf.maximum(dense, _LEAST))
    # Finite, so that among sequences that all break the scheme the fewest breaks win.
    cost = tf.constant(np.where(steps, 0.0, NEVER), tf.float32)
    # Behind the end of a sentence each tag comes from itself.
    stay = tf.range(tf.shape(logs)[2])[tf.newaxis]
    start = logs[:, :1] + cost[-2, :-2]
    logs = tf.concat([start, logs[:, 1:]], axis=1)

    def forward(state: _Pair, at: _Pair) -> _Pair:
        row, place = at
        ways = state[0][:, :, tf.newaxis] + cost[:-2, :-2]
        inside = (place < counts)[:, tf.newaxis]
        came = tf.argmax(ways, axis=1, output_type=tf.int32)
        best = tf.reduce_max(ways, axis=1) + row
        return tf.where(inside, best, state[0]), tf.where(inside, came, stay)

    # Every sentence is two words longer than it is, so that there is always a step to take.
    rows = tf.transpose(logs, [1, 0, 2])
    first = (rows[0], tf.zeros_like(rows[0], tf.int32) + stay)
    best, came = tf.scan(forward, (rows[1:], tf.range(1, tf.shape(rows)[0])), first)
    end = tf.argmax(best[-1] + cost[:-2, -1], axis=-1, output_type=tf.int32)

    def backward(tag: tf.Tensor, pointers: tf.Tensor) -> tf.Tensor:
        return tf.gather(pointers, tag, batch_dims=1)

    path = tf.scan(backward, came, end, reverse=True)
    whole = tf.transpose(tf.concat([path, end[tf.newaxis]], axis=0))
    return tf.RaggedTensor.from_tensor(whole, lengths=counts).flat_values
