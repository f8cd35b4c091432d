"""How far a model's scores are from those of a teacher, as graph code."""

import tensorflow as tf

# Shares below count as this much: their logarithms would outweigh all others.
_LEAST = 1e-6


def of_shares(wanted: tf.Tensor, made: tf.Tensor, temperature: float) -> tf.Tensor:
    """Kullback-Leibler divergence of scores that add up to 1 `[..., classes]`: `[...]`.

    At a temperature, times its square, as in Hinton et al. 2015.

    Args:
        wanted: The teacher's scores.
        made: The model's.
        temperature: Divides the logits, which are the logarithms but for a constant.
    """
    logs = [
        tf.nn.log_softmax(tf.math.log(tf.maximum(shares, _LEAST)) / temperature)
        for shares in (wanted, made)
    ]
    # The square makes up for gradients that shrink so (section 2 of the paper).
    return temperature**2 * tf.reduce_sum(tf.exp(logs[0]) * (logs[0] - logs[1]), axis=-1)


def of_chances(wanted: tf.Tensor, made: tf.Tensor, temperature: float) -> tf.Tensor:
    """The mean of it over classes, each of which is given or not: `[..., classes]` to `[...]`."""
    theirs, own = (tf.stack([scores, 1.0 - scores], axis=-1) for scores in (wanted, made))
    return tf.reduce_mean(of_shares(theirs, own, temperature), axis=-1)
