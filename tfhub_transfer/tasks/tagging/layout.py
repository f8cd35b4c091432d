"""A tag for each word: plain texts to words with their places, tags to entities.

Everything is TensorFlow, so that an exported model does with a plain string what `predict_text`
does. Offsets count Unicode code points, as Python's strings do.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Protocol, TypeAlias

import keras
import numpy as np
import tensorflow as tf

from tfhub_transfer.data import Examples, Stream
from tfhub_transfer.encoders.encoder import Encoder
from tfhub_transfer.heads import layers
from tfhub_transfer.tasks import segmentation, units
from tfhub_transfer.tasks.layout import Inputs, Layout, Rows, of_rows
from tfhub_transfer.tasks.reportable import Readable, Scores
from tfhub_transfer.tasks.segmentation import Places
from tfhub_transfer.tasks.tagging import schemes, viterbi
from tfhub_transfer.texts import joining
from tfhub_transfer.texts.joining import split_words

# A number for each unit, or how many there are.
Found: TypeAlias = "tf.RaggedTensor | tf.Tensor"
# What `answer` must know of texts: how they are spelled, their words' places, words of each row.
Placed: TypeAlias = "tuple[tf.Tensor, Places, tf.Tensor]"
# What an answer says of each word and of each entity, by how many there are.
COUNTED = {
    "word_count": ("word", "tag", "score", "start", "end"),
    "entity_count": ("entity", "type", "entity_score", "entity_start", "entity_end"),
}


class Schemed(Protocol):
    """A task of tags, as far as its answers ask it."""

    class_names: list[str] | None
    scheme: str | None


class Words(Layout):
    """A row is a sentence, or a part of one that is too long; its units are words."""

    by_unit = True
    takes_words = True
    counted = COUNTED

    def features(
        self, encoder: Encoder, encoded: layers.Encoded, inputs: Inputs
    ) -> keras.KerasTensor:
        return layers.word_vectors(encoder, encoded, inputs, self.head)

    def cut(self, examples: Examples) -> Rows:
        return units.cut_long(examples, self.preprocessor)

    def join(self, scores: Scores, rows: Rows) -> list[np.ndarray]:
        return units.joined(scores, rows)

    def learn(self, examples: Examples | Rows | Stream) -> None:
        """Takes what is one word from the words of the first examples that are trained on."""
        # A task of one's own may lack the attribute: then there is nothing to learn.
        if getattr(self.task, "segmentation", self) is None and isinstance(examples, Examples):
            self.task.segmentation = segmentation.learn(map(split_words, examples.texts[0]))

    def in_units(self, examples: Examples) -> Examples:
        """With plain texts split into words."""
        texts = tf.constant(examples.texts[0], tf.string)
        found = segmentation.split(texts, self.task.segmentation)[0].to_list()
        words = ([word.decode("utf-8") for word in row] for row in found)
        return of_rows([[joining.join_words(row) for row in words]])

    def prepare(self, *texts: tf.Tensor) -> tuple[tuple[tf.Tensor, ...], Placed]:
        places = segmentation.split(texts[0], getattr(self.task, "segmentation", None))
        rows = units.cut_rows(places[0], self.preprocessor)
        state = segmentation.spelled(texts[0]), places, rows.row_lengths()
        return (units.join(rows),), state

    def answer(self, state: Placed, scores: tf.RaggedTensor) -> dict[str, Found]:
        text, places, lengths = state
        return answer(self.task, text, places, units.of_units(scores, lengths).flat_values)

    def readable(self, found: Mapping[str, Found]) -> list[Readable]:
        return readable(found)


def answer(
    task: Schemed,
    texts: tf.Tensor,
    places: Places,
    scores: tf.Tensor,
) -> dict[str, Found]:
    """Tags of plain texts, and the entities that they spell.

    Args:
        task: A `TokenClassification`, whose scheme says which tags may follow which.
        texts: Texts `[n]`, as the places count them.
        places: What `segmentation.split` gave.
        scores: Probabilities `[all words, tags]`.

    Returns:
        Each `[n, (words)]`: `word`, `tag`, `score`, `start`, `end`; and where tags have a scheme,
        each `[n, (entities)]`: `entity`, `type`, `entity_score` (the mean of its words'),
        `entity_start`, `entity_end`; with the numbers of them, `word_count` and `entity_count`
        int64 `[n]`.
    """
    words, starts, ends = places
    names = task.class_names or []
    steps = schemes.allowed_steps(names, task.scheme)
    best = viterbi.best_tags(words.with_values(scores), steps)
    sure = tf.gather(scores, best, batch_dims=1)
    found = {
        "word": words,
        "tag": words.with_values(tf.gather(tf.constant(names), best)),
        "score": words.with_values(sure),
        "start": starts,
        "end": ends,
        "word_count": words.row_lengths(),
    }
    return found if task.scheme is None else {**found, **_entities(names, texts, found, best)}


def readable(found: Mapping[str, Found]) -> list[Readable]:
    """What `answer` gave, one dictionary a text: `words`, and `entities` where there are any."""
    ragged = {k: v for k, v in found.items() if isinstance(v, tf.RaggedTensor)}
    columns = {key: value.to_list() for key, value in ragged.items()}
    names = {"words": COUNTED["word_count"]}
    if "entity" in found:
        names["entities"] = COUNTED["entity_count"]
    keys = {"word": "text", "entity": "text"}
    return [
        {
            group: [
                {
                    keys.get(n, n.removeprefix("entity_")): v.decode("utf-8")
                    if isinstance(v, bytes)
                    else v
                    for n, v in zip(wanted, values)
                }
                for values in zip(*(columns[name][row] for name in wanted))
            ]
            for group, wanted in names.items()
        }
        for row in range(len(columns["word"]))
    ]


def _entities(
    names: Sequence[str], texts: tf.Tensor, found: Mapping[str, Found], tags: tf.Tensor
) -> dict[str, Found]:
    prefixes, kinds = zip(*map(schemes.split_tag, names))
    prefix, kind = (tf.gather(tf.constant(each), tags) for each in (prefixes, kinds))
    rows = found["word"].value_rowids()
    count = tf.size(prefix)
    # Without a word the one in front is too many.
    same_row = tf.concat([[False], tf.equal(rows[1:], rows[:-1])], axis=0)[:count]
    before = tf.concat([[schemes.OUTSIDE], prefix[:-1]], axis=0)[:count]
    kind_before = tf.concat([[""], kind[:-1]], axis=0)[:count]
    continues = (
        same_row
        & tf.equal(kind_before, kind)
        & tf.logical_not(_among(before, "OES"))
        & tf.logical_not(_among(prefix, "BS"))
    )
    inside = tf.not_equal(prefix, schemes.OUTSIDE)
    begins = inside & tf.logical_not(continues)
    number = tf.boolean_mask(tf.cumsum(tf.cast(begins, tf.int32)) - 1, inside)

    def of(name: str, gather: Callable[[tf.Tensor, tf.Tensor], tf.Tensor]) -> tf.Tensor:
        return gather(tf.boolean_mask(found[name].flat_values, inside), number)

    starts, ends = of("start", tf.math.segment_min), of("end", tf.math.segment_max)
    owners = tf.boolean_mask(rows, begins)
    spelled = tf.strings.substr(tf.gather(texts, owners), starts, ends - starts, unit="UTF8_CHAR")
    made = {
        "entity": spelled,
        "type": tf.boolean_mask(kind, begins),
        "entity_score": of("score", tf.math.segment_mean),
        "entity_start": starts,
        "entity_end": ends,
    }
    texts_given = tf.size(texts, out_type=tf.int64)
    rows_of = tf.RaggedTensor.from_value_rowids(spelled, owners, texts_given, validate=False)
    ragged = {key: rows_of.with_values(value) for key, value in made.items()}
    return {**ragged, "entity_count": ragged["entity"].row_lengths()}


def _among(prefix: tf.Tensor, letters: str) -> tf.Tensor:
    return tf.reduce_any([tf.equal(prefix, letter) for letter in letters], axis=0)
