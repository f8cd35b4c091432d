"""What answers are told: terms of a glossary, found in the texts that are asked, and a length."""

from collections.abc import Mapping, Sequence

import numpy as np
import tensorflow as tf

from tfhub_transfer.tasks.generation.constrained import Terms
from tfhub_transfer.tasks.generation.glossary import Glossary
from tfhub_transfer.tasks.generation.task import MISSING
from tfhub_transfer.tasks.layout import Ids, Inputs, Layout, Rows, State, int_inputs

# What of the glossary must be in an answer: numbers from 1, then 0.
TERMS = "terms"
# The most pieces of an answer.
LIMIT = "max_pieces"


class Told(Layout):
    """Gives a search what a glossary says of each text, and says which answers lack some of it.

    Only who asks has it: nothing is trained by a glossary, which may be another one each time.
    """

    _known: tuple[object, Glossary] | None = None

    @property
    def glossary(self) -> Glossary | None:
        """The task's, ready to be looked up."""
        pairs = self.task.search.glossary
        if not pairs:
            return None
        key = pairs, self.task.vocabulary
        if self._known is None or self._known[0] != key:
            with tf.init_scope():  # it is asked for while graphs are made, too
                self._known = key, Glossary(pairs, self.task.vocabulary)
        return self._known[1]

    def told_inputs(self) -> Inputs:
        """Inputs that a question has, of a glossary."""
        return int_inputs([TERMS]) if self.task.search.glossary else {}

    @property
    def limited(self) -> str | None:
        return LIMIT

    def most(self, inputs: Mapping[str, tf.Tensor]) -> tf.Tensor | None:
        """The most pieces of each answer to a batch, if that is said.

        Args:
            inputs: As of `terms`.
        """
        if LIMIT not in inputs:
            return None
        said = tf.reduce_max(inputs[LIMIT], axis=1)
        return tf.where(said < 1, self.task.search.max_length, said)

    def encode_and_count(
        self, texts: Sequence[Sequence[str]]
    ) -> tuple[dict[str, tf.RaggedTensor], np.ndarray]:
        encoded, lost = super().encode_and_count(texts)
        if glossary := self.glossary:
            encoded[TERMS] = glossary.find(tf.constant(list(texts[0]), tf.string))
        return encoded, lost

    def to_ids(self, rows: Rows) -> Ids:
        found = super().to_ids(rows)
        found.columns.pop(TERMS, None)
        return found

    def pad(
        self, encoded: dict[str, tf.RaggedTensor], lengths: np.ndarray | None = None
    ) -> dict[str, tf.Tensor]:
        read = {name: value for name, value in encoded.items() if name != TERMS}
        terms = {name: encoded[name].to_tensor() for name in encoded.keys() - read.keys()}
        return {**super().pad(read, lengths), **terms}

    def batch(self, *texts: tf.Tensor, lengths: np.ndarray | None = None) -> dict[str, tf.Tensor]:
        made = super().batch(*texts, lengths=lengths)
        glossary = self.glossary
        return {**made, TERMS: glossary.find(texts[0]).to_tensor()} if glossary else made

    def terms(self, inputs: Mapping[str, tf.Tensor]) -> Terms | None:
        """What the answers to a batch must hold.

        Args:
            inputs: What `respond` is given.
        """
        glossary = self.glossary
        if glossary is None:
            return None
        pieces = np.pad(glossary.pieces, [(1, 0), (0, 0)])
        closed = np.pad(glossary.closed, [(1, 0)])
        return Terms(
            tf.gather(tf.constant(pieces), inputs[TERMS]),
            tf.gather(tf.constant(closed), inputs[TERMS]),
            glossary.goes_on,
        )

    def prepare(self, *texts: tf.Tensor) -> tuple[tuple[tf.Tensor, ...], State]:
        rows, _ = super().prepare(*texts)
        return rows, rows[0]

    def answer(self, state: State, scores: tf.Tensor) -> Mapping[str, tf.Tensor]:
        found = super().answer(state, scores)
        glossary = self.glossary
        return {**found, MISSING: glossary.missing(state, found["text"])} if glossary else found
