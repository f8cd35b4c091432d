"""A piece of the next word made of the vocabulary, or copied of the source: a pointer-generator."""

import dataclasses
import math
from typing import Any

import keras
import tensorflow as tf

from tfhub_transfer.runtime import full_precision
from tfhub_transfer.runtime.masking import NEVER

# The logarithm of a copy that can't be is this one's, and no infinity.
_TINY = 1e-30
# The score of what comes behind the last piece, to begin with: about as much as that of some
# hundred others, a text, together.
_GOING_ON = 7.0


@dataclasses.dataclass(frozen=True)
class Copyable:
    """What may be copied of each text.

    Attributes:
        keys: `[batch, source, width]`.
        sources: Ids `[batch, source]`.
        shown: Where there is something to copy, bool `[batch, source]`.
        same: 1.0 where what is shown (second axis) is the piece at a place (third axis).
    """

    keys: tf.Tensor
    sources: tf.Tensor
    shown: tf.Tensor
    same: tf.Tensor

    def of(self, texts: tf.Tensor) -> "Copyable":
        """That of some of the texts, by their numbers `[n]`."""
        parts = (self.keys, self.sources, self.shown, self.same)
        return Copyable(*(tf.gather(each, texts) for each in parts))


@dataclasses.dataclass(frozen=True)
class Made:
    """How likely pieces are at so many places, as logarithms `[n]`.

    Attributes:
        gold: The pieces that come.
        mean: The mean of all logarithms.
        best: The likeliest.
        normalizer: What is taken off a logit.
    """

    gold: tf.Tensor
    mean: tf.Tensor
    best: tf.Tensor
    normalizer: tf.Tensor


@keras.saving.register_keras_serializable(package="tfhub_transfer")
class Copier(keras.layers.Layer):
    """Mixes what is made with what is copied (See et al. 2017, "Get To The Point").

    Where it reads follows from an attention of its own, and how much counts what is copied from a
    gate. What it looks for at a place is what the memory says there, the piece itself, and the one
    before it, by what the decoder made of the text so far and by the last piece alone. It begins as
    one that goes on: behind what was just written comes what comes behind it in the source. So few
    texts teach it what else thousands would. All is computed with logarithms, and for the pieces of
    the source alone.

    Args:
        width: Of vectors and memory.
        vocabulary_size: How many pieces there are.
    """

    def __init__(self, width: int, vocabulary_size: int, **kwargs: Any) -> None:
        super().__init__(**{"dtype": full_precision.policy(), **kwargs})
        self.width, self.vocabulary_size = width, vocabulary_size
        going_on = keras.initializers.Identity((_GOING_ON / math.sqrt(width)) ** 0.5)
        self.query = full_precision.Dense(width, name="query")
        self.query_last = _plain(width, "query_last", going_on)
        self.key = full_precision.Dense(width, name="key")
        self.key_own = _plain(width, "key_own", "glorot_uniform")
        self.key_before = _plain(width, "key_before", going_on)
        self.gate = full_precision.Dense(1, name="gate")

    def build(self, shape: tuple[int | None, ...]) -> None:
        queries, keys = (self.query, self.query_last), (self.key, self.key_own, self.key_before)
        for dense in (*queries, *keys, self.gate):
            dense.build((None, None, self.width))

    def copyable(
        self,
        memory: tf.Tensor,
        present: tf.Tensor,
        sources: tf.Tensor,
        embedded: tf.Tensor,
        stood: tf.Tensor | None = None,
    ) -> Copyable:
        """What may be copied.

        Args:
            memory: `[batch, places, width]`.
            present: 1 where there is a memory, `[batch, places]`.
            sources: Ids `[batch, source]`, 0 at what must not be copied.
            embedded: The pieces' own vectors, `[batch, source, width]`.
            stood: At which place of the memory each piece stands, `[batch, source]`; at its own, if
                not given.
        """
        keys = self.key(memory)
        if stood is not None:
            keys, present = (tf.gather(each, stood, batch_dims=1) for each in (keys, present))
        shown = tf.logical_and(tf.cast(present, tf.bool), sources != 0)
        same = tf.logical_and(sources[:, :, None] == sources[:, None, :], shown[:, :, None])
        before = tf.pad(self.key_before(embedded)[:, :-1], [[0, 0], [1, 0], [0, 0]])
        keys = keys + self.key_own(embedded) + before
        return Copyable(keys, sources, shown, tf.cast(same, tf.float32))

    def all_pieces(
        self, vectors: tf.Tensor, last: tf.Tensor, made: tf.Tensor, copyable: Copyable
    ) -> tf.Tensor:
        """Logarithms of probabilities of the whole vocabulary, `[n, vocabulary]`.

        Args:
            vectors: As many for each text, those of one text side by side, `[n, width]`.
            last: The own vectors of the last pieces, `[n, width]`.
            made: Without copies, `[n, vocabulary]`.
            copyable: What may be copied.
        """
        vectors = self._by_text(vectors, copyable)
        shares, keep, copy = self._shares(vectors, self._by_text(last, copyable), copyable)
        size = tf.shape(shares)
        rows = size[0] * size[1]
        ids = tf.repeat(copyable.sources, size[1], axis=0)
        places = tf.stack([tf.broadcast_to(tf.range(rows)[:, None], tf.shape(ids)), ids], axis=-1)
        kept = made + tf.reshape(keep, [rows, 1])
        of_sources = tf.reshape(tf.gather_nd(kept, places), size)
        mixed = _either(of_sources, copy + _log(tf.matmul(shares, copyable.same)))
        # A piece that comes several times has the same at all of its places.
        return tf.tensor_scatter_nd_update(kept, places, tf.reshape(mixed, tf.shape(ids)))

    def scores(
        self,
        vectors: tf.Tensor,
        last: tf.Tensor,
        gold: tf.Tensor,
        made: Made,
        known: tuple[tf.Tensor, tf.Tensor],
        copyable: Copyable,
    ) -> Made:
        """What `made` becomes, without going through the whole vocabulary.

        Args:
            vectors: As many for each text, those of one text side by side, `[n, width]`.
            last: The own vectors of the pieces before them, `[n, width]`.
            gold: The pieces that come, `[n]`.
            made: What is known of them without copies.
            known: The vocabulary's vectors of the source, `[batch, source, width]`, which give the
                logits of its pieces, and their biases, `[batch, source]`.
            copyable: What may be copied.
        """
        vectors = self._by_text(vectors, copyable)
        shares, keep, copy = self._shares(vectors, self._by_text(last, copyable), copyable)
        size = tf.shape(shares)[:2]
        logits = tf.matmul(vectors, known[0], transpose_b=True) + known[1][:, None, :]
        kept = keep + logits - tf.reshape(made.normalizer, size)[..., None]
        mixed = _either(kept, copy + _log(tf.matmul(shares, copyable.same)))
        here = tf.reshape(gold, size)[..., None] == copyable.sources[:, None, :]
        at_gold = copy[..., 0] + _log(tf.reduce_sum(shares * tf.cast(here, tf.float32), -1))
        # Each piece of the source once, however often it comes.
        once = tf.maximum(tf.reduce_sum(copyable.same, 1), 1.0)
        once = tf.cast(copyable.shown, tf.float32) / once
        more = tf.reduce_sum((mixed - kept) * once[:, None, :], -1) / self.vocabulary_size
        keep, at_gold, more = (tf.reshape(each, [-1]) for each in (keep, at_gold, more))
        best = tf.reshape(tf.reduce_max(tf.stop_gradient(mixed), -1), [-1])
        return Made(
            gold=_either(keep + made.gold, at_gold),
            mean=made.mean + keep + more,
            best=tf.maximum(made.best + keep, best),
            normalizer=made.normalizer,
        )

    def _by_text(self, vectors: tf.Tensor, copyable: Copyable) -> tf.Tensor:
        return tf.reshape(vectors, [tf.shape(copyable.sources)[0], -1, self.width])

    def _shares(
        self, vectors: tf.Tensor, last: tf.Tensor, copyable: Copyable
    ) -> tuple[tf.Tensor, ...]:
        """Shares of the source's places, `[batch, n, source]`, and two logarithms `[batch, n, 1]`.

        They are those of what is made, and of what is copied.
        """
        queries = self.query(vectors) + self.query_last(last)
        scores = tf.matmul(queries, copyable.keys, transpose_b=True)
        scores *= 1.0 / math.sqrt(self.width)
        shown = copyable.shown[:, None, :]
        # Where nothing is shown nothing has a share.
        shares = tf.nn.softmax(tf.where(shown, scores, NEVER)) * tf.cast(shown, tf.float32)
        some = tf.reduce_any(copyable.shown, -1)[:, None, None]
        gate = tf.where(some, self.gate(vectors), NEVER)
        return shares, tf.math.log_sigmoid(-gate), tf.math.log_sigmoid(gate)


def _plain(width: int, name: str, initializer: Any) -> keras.layers.Layer:
    """A matrix, without a bias beside another's."""
    return full_precision.Dense(width, use_bias=False, kernel_initializer=initializer, name=name)


def _log(shares: tf.Tensor) -> tf.Tensor:
    return tf.math.log(tf.maximum(shares, _TINY))


def _either(one: tf.Tensor, other: tf.Tensor) -> tf.Tensor:
    """The logarithm of the sum of what two are logarithms of."""
    return tf.reduce_logsumexp(tf.stack([one, other]), 0)
