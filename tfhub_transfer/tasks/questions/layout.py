"""Questions and contexts to windows of both that fit, and scores of windows to answers.

Everything between is TensorFlow, so that an exported model does with plain strings what
`predict_text` does. Offsets count Unicode code points, as Python's strings do.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

import keras
import numpy as np
import tensorflow as tf

from tfhub_transfer.data import Examples, require_examples
from tfhub_transfer.encoders.encoder import Encoder
from tfhub_transfer.encoders.token_counts import most_pieces
from tfhub_transfer.errors import InputError
from tfhub_transfer.heads import layers
from tfhub_transfer.runtime.masking import NEVER
from tfhub_transfer.tasks import segmentation, units
from tfhub_transfer.tasks.layout import Inputs, Layout, Rows, of_rows
from tfhub_transfer.tasks.questions import answers, spans
from tfhub_transfer.tasks.questions.task import END, START
from tfhub_transfer.texts import splitting
from tfhub_transfer.texts.joining import is_listed, split_words

# Below every margin: that of a context without words, which has no answer.
NO_MARGIN = -1000.0
# Questions that are cut into windows at once: each of them has several windows in memory.
_CHUNK = 2048


class _State(NamedTuple):
    """What `answer` must know of the contexts: their words' places, and the windows' words."""

    contexts: tf.Tensor
    starts: tf.RaggedTensor
    ends: tf.RaggedTensor
    slices: spans.Slices


class Windows(Layout):
    """A row is a question with a window of its context; its units are no answer and the words."""

    by_unit = True

    @property
    def signature(self) -> tuple[str, ...]:
        return ("question", "context")

    def features(
        self, encoder: Encoder, encoded: layers.Encoded, inputs: Inputs
    ) -> keras.KerasTensor:
        return layers.word_vectors(encoder, encoded, inputs, self.head)

    def check(self, examples: Examples) -> None:
        require_examples(examples)
        if not examples.is_pair:
            raise InputError(
                f"the {self.task.name} task reads questions with their contexts; give two columns, "
                "`question` and `context`, or named with `text` and `text_pair` (`--text`, "
                "`--text-pair`). Received: one column of texts"
            )
        if len(examples.texts) > 2:
            raise InputError(
                "a question has one context; leave the third column (`negative`) out. "
                "Received: three columns of texts"
            )
        for kind, column in zip(self.signature, examples.texts):
            listed = next((text for text in column if is_listed(text)), None)
            if listed is not None:
                raise InputError(
                    f"a {kind} must be a text, not a list, or places in it mean nothing; join it "
                    f"with spaces. Received: {split_words(listed)[:3]}"
                )

    def cut(self, examples: Examples) -> Rows:
        if examples.target:
            self.task.check(examples)
        asked: list[str] = []
        parts: list[str] = []
        codes: list[np.ndarray] = []
        owners = [np.zeros(0, np.int64)]
        for start in range(0, len(examples), _CHUNK):
            chunk = examples[start : start + _CHUNK]
            rows, state = self.prepare(*(tf.constant(texts, tf.string) for texts in chunk.texts))
            for column, made in zip((asked, parts), rows):
                column += [text.decode("utf-8") for text in made.numpy()]
            owners.append(state.slices.owners.numpy().astype(np.int64) + start)
            codes += _codes(chunk.labels, state) if chunk.target else []
        made = of_rows([asked, parts], codes if examples.target else None)
        return Rows(made, np.concatenate(owners), len(examples))

    def join(self, scores: Iterable[np.ndarray], rows: Rows) -> list[list[np.ndarray]]:
        """Of each question the scores of its windows, one array `[candidates, 2]` each."""
        found: list[list[np.ndarray]] = [[] for _ in range(rows.count)]
        for owner, window in zip(rows.owners, scores):
            found[owner].append(window)
        return found

    def unit_labels(self, label: np.ndarray) -> list[str]:
        """Of no answer, and of each word, whether the answer starts or ends there."""
        names = {START: "start", END: "end", START + END: "start and end"}
        return [names.get(int(code), "") for code in label]

    def lost(self, rows: Rows, lost: np.ndarray) -> np.ndarray:
        """As much as a window did: each of them holds the same question, and may the same words."""
        most = np.zeros(rows.count)
        np.maximum.at(most, rows.owners, lost)
        return most

    def prepare(self, *texts: tf.Tensor) -> tuple[tuple[tf.Tensor, ...], _State]:
        questions, contexts = texts
        preprocessor = self.preprocessor
        room = preprocessor.room(2)  # [CLS] question [SEP] window [SEP]
        found, starts, ends = segmentation.split(splitting.plain(contexts))
        counts = tf.cast(preprocessor.pieces(found.flat_values).row_lengths(), tf.int32)
        # Of a longer word the rest is left out when it is packed, so it takes no more room.
        counts = found.with_values(tf.minimum(counts, most_pieces(room)))
        asked = preprocessor.tokenize(questions).row_lengths()
        slices = spans.cut(counts, asked, room)
        inside = tf.gather(found.flat_values, tf.ragged.range(slices.first, slices.end))
        rows = tf.gather(questions, slices.owners), units.join(inside)
        return rows, _State(contexts, starts, ends, slices)

    def answer(self, state: _State, scores: tf.Tensor | tf.RaggedTensor) -> dict[str, tf.Tensor]:
        """The answer of each question.

        Args:
            state: What `prepare` gave.
            scores: Of the candidates of each window, `[windows, candidates, 2]`.

        Returns:
            Each `[n]`: `answer`, empty if there is none; `score`, its probability; `start` and
            `end` in the context, -1 if there is none; `margin`, the score of the best span less
            that of no answer, which decides, and `NO_MARGIN` where a context has no words.
        """
        task = self.task
        dense = scores.to_tensor() if isinstance(scores, tf.RaggedTensor) else scores
        silent = bool(task.unanswerable)
        found = spans.best(dense, state.slices, task.max_answer_words, silent)
        given = found.margin > (task.threshold if silent else NEVER / 2)
        # A context without words has nothing to answer, whatever the threshold.
        given &= found.margin > NEVER / 2
        start = tf.where(given, _place(state.starts, found.first), 0)
        end = tf.where(given, _place(state.ends, found.last), 0)
        quiet = tf.exp(found.null_log_score) if silent else tf.zeros_like(found.margin)
        return {
            "answer": tf.strings.substr(state.contexts, start, end - start, unit="UTF8_CHAR"),
            "score": tf.where(given, tf.exp(found.log_score), quiet),
            "start": tf.where(given, start, -1),
            "end": tf.where(given, end, -1),
            "margin": tf.where(found.margin > NEVER / 2, found.margin, NO_MARGIN),
        }

    def readable(self, found: Mapping[str, tf.Tensor]) -> list[dict[str, object]]:
        columns = {name: np.asarray(values).tolist() for name, values in found.items()}
        columns["answer"] = [answer.decode("utf-8") for answer in columns["answer"]]
        return [dict(zip(columns, row)) for row in zip(*columns.values())]


def _place(places: tf.RaggedTensor, word: tf.Tensor) -> tf.Tensor:
    """The place of each word; 0 where a text has none, whose word's number may be too high."""
    known = tf.pad(places.flat_values, [[0, 1]])
    return tf.gather(known, tf.minimum(word, tf.size(known) - 1))


def _codes(labels: Sequence[object], state: _State) -> list[np.ndarray]:
    """What each candidate of each window is (see `QuestionAnswering.encode`)."""
    bounds = state.starts.row_splits.numpy()
    starts, ends = state.starts.flat_values.numpy(), state.ends.flat_values.numpy()
    chosen = np.full((len(labels), 2), -1)
    for row, label in enumerate(labels):
        begin, end = bounds[row], bounds[row + 1]
        found = word_span(answers.of_label(label), starts[begin:end], ends[begin:end])
        if found is not None:
            chosen[row] = np.add(found, begin)
    slices = state.slices
    first, after, owners = (x.numpy() for x in (slices.first, slices.end, slices.owners))
    span = chosen[owners]
    # The answer is in a window with all of its words, or it isn't; no answer stands at place 0.
    inside = (span[:, 0] >= first) & (span[:, 1] < after)
    candidates = np.where(inside[:, None], span - first[:, None] + 1, 0)
    codes = [np.zeros(count, np.int32) for count in after - first + 1]
    for of_window, (start, last) in zip(codes, candidates):
        of_window[start] += START
        of_window[last] += END
    return codes


def word_span(
    found: Sequence[answers.Span], starts: np.ndarray, ends: np.ndarray
) -> tuple[int, int] | None:
    """First and last word of an answer; `None` if there is none.

    Of several answers it is the first that begins and ends where words do; if none does, the words
    that the first one touches.

    Args:
        found: Texts and offsets of the answers.
        starts: Where each word of the context starts `[words]`.
        ends: Where it ends.
    """
    touched = []
    for text, place in found:
        begin = place + len(text) - len(text.lstrip())
        end = place + len(text.rstrip())
        first = int(np.searchsorted(ends, begin, side="right"))
        last = int(np.searchsorted(starts, end, side="left")) - 1
        if first > last:
            continue
        if starts[first] == begin and ends[last] == end:
            return first, last
        touched.append((first, last))
    return touched[0] if touched else None
