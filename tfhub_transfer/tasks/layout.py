"""The one interface of layouts: texts to rows, scores of rows to answers."""

import contextlib
import dataclasses
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from typing import Any, ClassVar, TypeAlias

import keras
import numpy as np
import tensorflow as tf

from tfhub_transfer.data import Examples, Stream, batching, require_examples
from tfhub_transfer.data.examples import Column
from tfhub_transfer.data.usual_columns import LABEL, TEXT, TEXT_A, TEXT_B, TEXT_C
from tfhub_transfer.encoders.encoder import CODE_POINTS, Encoder
from tfhub_transfer.encoders.loading import BERT_INPUTS
from tfhub_transfer.encoders.preprocessing import TextPreprocessor
from tfhub_transfer.errors import InputError
from tfhub_transfer.heads import layers
from tfhub_transfer.heads.settings import Head
from tfhub_transfer.incoming import wording
from tfhub_transfer.runtime.tracing import Repeated
from tfhub_transfer.storage import names
from tfhub_transfer.tasks.base import Task
from tfhub_transfer.tasks.objective import Objective
from tfhub_transfer.tasks.reportable import Joined, Readable, Scores
from tfhub_transfer.texts import splitting
from tfhub_transfer.texts.joining import WORD_STARTS, is_listed, split_words

Inputs = dict[str, keras.KerasTensor]
# What `prepare` hands to `answer`; nobody else looks into it.
State: TypeAlias = Any


@dataclasses.dataclass(frozen=True)
class Rows:
    """What an encoder reads at once; an example has one row or more.

    Attributes:
        examples: The rows, as examples: columns of texts, and labels for `Task.encode`.
        owners: The example that each row is of, int64 `[rows]`.
        count: The number of examples.
    """

    examples: Examples
    owners: np.ndarray
    count: int

    def __len__(self) -> int:
        return len(self.examples)


@dataclasses.dataclass(frozen=True)
class Ids:
    """Rows as what a model reads, not yet padded.

    Attributes:
        columns: Ragged int32 ids `[rows, (length)]` by the name of the model's input; in towers
            `[rows, texts, (length)]`.
        lost: How many tokens each row lost, int `[rows]`.
        labels: What the loss wants, one for each row; a pair with the weights of rows, if they
            have any; `None` without labels.
        digest: What the rows are, for caches.
        beside: The length of what is read beside the columns `[rows]`, if anything is.
    """

    columns: dict[str, tf.RaggedTensor]
    lost: np.ndarray
    labels: Any
    digest: bytes
    beside: np.ndarray | None = None

    @property
    def lengths(self) -> np.ndarray:
        """The length of each row `[rows]`."""
        return self.with_beside(batching.longest(self.columns))

    def with_beside(self, lengths: np.ndarray) -> np.ndarray:
        """Lengths of rows `[rows]`, where what is read beside them may be longer."""
        return lengths if self.beside is None else np.maximum(lengths, self.beside)


class Layout:
    """How the texts of a task become rows that an encoder reads, and scores of rows answers.

    Args:
        task: The task.
        head: What stands between the encoder and the answer.

    Attributes:
        by_unit: Whether scores are those of units inside of a row, as words are. Such a row's
            text holds its units with `joining.WORD_END` between them.
        preprocessor: Set once the model has one.
        prepare_again: `prepare`, for who may call it many times.
        answer_again: `answer` likewise.
    """

    by_unit: ClassVar[bool] = False
    # Whether an export takes words too, in the place of plain texts.
    takes_words: ClassVar[bool] = False
    # Answers that an export pads, by the one that says how many there are of each text.
    counted: ClassVar[Mapping[str, tuple[str, ...]]] = {}

    # Each layout asks what its own kind of task has.
    task: Any

    def __init__(self, task: Task, head: Head) -> None:
        if self.by_unit and task.runs_again:
            raise InputError(
                "a task whose rows have units can't answer in several runs itself, as its layout "
                f"puts units together: write `answers` of a layout. Received: the {task.name} task"
            )
        self.task, self.head = task, head
        self._preprocessor: TextPreprocessor | None = None
        self._taught: Objective | None = None
        self.prepare_again = Repeated(self.prepare, self._settings)
        self.answer_again = Repeated(self.answer, self._settings)

    def _settings(self) -> dict[str, object]:
        """What `prepare` and `answer` depend on beside what they are given."""
        # What is set on a task later, a threshold say, must reach what became a graph.
        return {**vars(self.task), "preprocessor": self._preprocessor}

    @property
    def preprocessor(self) -> TextPreprocessor:
        """What turns texts into ids."""
        if self._preprocessor is None:
            raise InputError(
                "the model has no preprocessor; load it whole from a `.keras` file, or make one "
                "with `build_model`. Received: a model that was made otherwise"
            )
        return self._preprocessor

    @property
    def objective(self) -> Objective:
        """What the model is trained for: what its task asks, unless a recipe says otherwise."""
        # Made anew each time, as another task may be put in the place of this one.
        return self._taught or Objective(self.task)

    @objective.setter
    def objective(self, taught: Objective | None) -> None:
        """Puts another in its place, or the task's own back (`None`)."""
        self._taught = taught

    def adopt(self, preprocessor: TextPreprocessor) -> None:
        """Takes a preprocessor into use, and tells it whether units are to be told apart."""
        preprocessor.by_word = self.by_unit
        self._preprocessor = preprocessor

    @property
    def takes_lists(self) -> bool:
        """Whether a text may come as a list, put together as `joining.join_words` does."""
        return self.by_unit

    @property
    def signature(self) -> tuple[str, ...]:
        """Names of the strings that an exported model takes."""
        return ("text",)

    # Inside of the Keras model -----------------------------------------------------------------

    def inputs(self, encoder: Encoder) -> Inputs:
        """The inputs of a model, by name."""
        more = int_inputs([WORD_STARTS]) if self.by_unit else {}
        return {**encoder_inputs(encoder), **more}

    def encode(self, encoder: Encoder, inputs: Inputs) -> layers.Encoded:
        """Runs the encoder on a model's inputs."""
        return layers.encode(encoder, inputs)

    def features(
        self, encoder: Encoder, encoded: layers.Encoded, inputs: Inputs
    ) -> keras.KerasTensor:
        """What the head starts from, of what `encode` gave.

        Raises:
            InputError: If the encoder can't give it.
        """
        raise NotImplementedError

    def hidden(self, features: keras.KerasTensor) -> keras.KerasTensor:
        """What the task's answer is made of, of `features`."""
        return layers.hidden(features, self.head) if self.task.has_head else features

    def asked_inputs(self, encoder: Encoder) -> Inputs:
        """Those of `inputs` that a question has; what only teaches isn't among them."""
        return self.inputs(encoder)

    @property
    def ids_depend_on(self) -> Hashable:
        """What the same texts are other ids by, with the same preprocessor."""
        return type(self).__name__

    @property
    def teaching(self) -> tuple[str, ...]:
        """The names of these inputs that only teach, each `[batch, length]`."""
        return ()

    @property
    def limited(self) -> str | None:
        """The input that says how much each answer may be at most, where exports may be told so.

        An int32 `[batch, 1]` beside those of `asked_inputs`; below 1 it says nothing.
        """
        return None

    @property
    def asked_how(self) -> Hashable:
        """What `respond` depends on that may be set on a task later."""
        return None

    def rows_at_once(self, encoder: Encoder, rows: int) -> int:
        """How many rows `respond` is given at a time, where memory would hold so many's ids.

        Args:
            encoder: The model's encoder.
            rows: As many as there would be.
        """
        return rows

    def respond(self, model: keras.Model, inputs: Mapping[str, tf.Tensor]) -> tf.Tensor:
        """What a model answers, as graph code.

        Args:
            model: The whole model.
            inputs: Ids by the names of `asked_inputs`.
        """
        return model(inputs, training=False)

    @contextlib.contextmanager
    def shaken(self, model: keras.Model, most: float, seed: int) -> Iterator[bool]:
        """While it lasts, numbers are off by about as much as rounding, where answers hang on that.

        Args:
            model: The whole model.
            most: What is rounding.
            seed: Of chance.

        Yields:
            Whether they are: where answers are no more than numbers, their difference says it all.
        """
        yield False

    def warm_start(self, model: keras.Model) -> None:
        """Gives a new model's layers above the encoder weights of it, where that is how they begin.

        Args:
            model: The whole model.
        """
        return

    @property
    def has_fixed_features(self) -> bool:
        """Whether `features` depend on the encoder alone and are one vector, so can be stored."""
        return False

    # Examples to rows and back -----------------------------------------------------------------

    def check(self, examples: Examples) -> None:
        """Raises `InputError` if the columns of texts don't suit."""
        require_examples(examples)
        if examples.is_pair != self.task.pair:
            raise InputError(
                f"{self._wanted()}. Received: {len(examples.texts)} text column(s) in "
                f"{examples.source}"
            )
        listed = [text for column in examples.texts for text in column if is_listed(text)]
        if listed and not self.by_unit:
            words = split_words(listed[0])
            raise InputError(
                f"the {self.task.name} task reads texts, not lists of words; join them with "
                f"spaces. Received: {words[:5]}"
            )

    def _wanted(self) -> str:
        """Which columns of texts the model reads, said to who gave others."""
        names = "with `text` (`--text`)"
        wanted = f"single texts; give one column of them, called `text` or named {names}"
        if self.task.pair:
            names = "with `text` and `text_pair` (`--text`, `--text-pair`)"
            wanted = f"pairs of texts; give two columns, `text_a` and `text_b` or named {names}"
        told = "pair" in self.task.get_config()
        other = f"; or build one with a task of `pair={not self.task.pair}`" if told else ""
        return f"the model was built for {wanted}{other}"

    def learn(self, examples: Examples | Rows | Stream) -> None:
        """Takes from examples to train on what the answers to plain texts depend on."""

    def in_units(self, examples: Examples) -> Examples:
        """Texts that a model is asked for its scores, as those that it is trained on."""
        return examples

    def cut(self, examples: Examples) -> Rows:
        """Examples to rows that fit."""
        return Rows(examples, np.arange(len(examples)), len(examples))

    def lost(self, rows: Rows, lost: np.ndarray) -> np.ndarray:
        """How many tokens each example lost `[n]`, of how many each row did `[rows]`."""
        return np.bincount(rows.owners, lost, rows.count)

    def unit_labels(self, label: Any) -> list[str]:
        """The label of a row as one text for each of its units, empty where there is nothing."""
        return [str(each) for each in label]

    def encode_and_count(
        self, texts: Sequence[Sequence[str]]
    ) -> tuple[dict[str, tf.RaggedTensor], np.ndarray]:
        """Rows to ids, and the number of tokens that each lost (see `TextPreprocessor`)."""
        return self.preprocessor.encode_and_count(texts)

    def to_ids(self, rows: Rows) -> Ids:
        """Rows to ids and labels.

        Raises:
            InputError: If a label is unknown to the task.
        """
        examples = rows.examples
        labels = self.objective.targets(examples)
        columns, lost = self.encode_and_count(examples.texts)
        # The same texts are other ids in another layout.
        digest = names.digests(examples.texts).tobytes() + type(self).__name__.encode()
        return Ids(columns, lost, labels, digest)

    def pad(
        self, encoded: dict[str, tf.RaggedTensor], lengths: np.ndarray | None = None
    ) -> dict[str, tf.Tensor]:
        """Ids of some rows to one batch (see `TextPreprocessor`)."""
        return self.preprocessor.pad(encoded, lengths)

    def labels_length(
        self, labels: tf.RaggedTensor, inputs: Mapping[str, tf.Tensor], lengths: np.ndarray | None
    ) -> tf.Tensor:
        """What labels of units are padded to: as the ids are, unless said.

        Args:
            labels: Those of a batch.
            inputs: What the model reads of it, padded.
            lengths: To what ids are padded, as for `pad`.
        """
        return tf.shape(next(iter(inputs.values())))[1]

    def taught(self, inputs: Mapping[str, tf.Tensor], labels: tf.Tensor) -> Mapping[str, tf.Tensor]:
        """The inputs of a batch with what teaches among them.

        Args:
            inputs: Ids by the names of `asked_inputs`.
            labels: As the loss is given them.
        """
        return inputs

    def batch(self, *texts: tf.Tensor, lengths: np.ndarray | None = None) -> dict[str, tf.Tensor]:
        """Texts of rows, one string tensor `[rows]` a column, to one batch, as graph code.

        Args:
            *texts: The columns.
            lengths: What to pad to, as for `pad`.
        """
        return self.preprocessor(*texts, lengths=lengths)

    def batch_of_single(self, text: tf.Tensor) -> dict[str, tf.Tensor]:
        """Single texts `[n]` to a batch for the model's own inputs, of which `encode` is made."""
        return self.preprocessor(text)

    def vectors(self, pooled: tf.Tensor) -> tf.Tensor:
        """The encoder's vectors of texts `[..., dimension]`, as `encode_text` gives them."""
        return pooled

    def join(self, scores: Scores, rows: Rows) -> Joined:
        """Scores of rows to scores of examples."""
        return scores

    # Answers: graph code, the same for `predict_text` and for exports ----------------------------

    def plain(self, *texts: tf.Tensor) -> tuple[tf.Tensor, ...]:
        """Texts `[n]` that come to an exported model, and are no lists of words, for `prepare`."""
        return tuple(map(splitting.plain, texts))

    def prepare(self, *texts: tf.Tensor) -> tuple[tuple[tf.Tensor, ...], State]:
        """Plain texts `[n]` to the columns of rows `[rows]`, and what `answer` needs to know."""
        return texts, None

    def answer(self, state: State, scores: tf.Tensor) -> Mapping[str, tf.Tensor]:
        """Scores of rows to answers by name, each a tensor `[n, ...]` or ragged `[n, (m)]`.

        Args:
            state: What `prepare` gave.
            scores: Float32 `[rows, ...]`; of units ragged `[rows, (units), ...]`.
        """
        own: Task = self.task
        return own.answer(scores)

    def answers(
        self, run: Callable[..., tf.Tensor], rows: Sequence[tf.Tensor], state: State
    ) -> Mapping[str, tf.Tensor]:
        """Rows to answers by name, in as many runs of the model as they need: one, unless said.

        What decodes step by step asks again here, with what `run` gave so far.

        Args:
            run: Takes columns of rows, lists or tensors `[rows]`, and gives scores as `answer`
                takes them.
            rows: The columns that `prepare` gave.
            state: What else it gave.
        """
        own: Task = self.task
        if own.runs_again:
            return own.answers(run, rows)
        answer: Callable[..., Mapping[str, tf.Tensor]]
        # Only units take thousands of small operations, for which a graph pays (`Repeated`).
        answer = self.answer_again if self.by_unit else self.answer
        return answer(state, run(*rows))

    def served(
        self, run: Callable[..., tf.Tensor], rows: Sequence[tf.Tensor], state: State
    ) -> Mapping[str, tf.Tensor]:
        """As `answers`, as graph code, for exports; a layout that runs again writes it anew."""
        own: Task = self.task
        return own.served(run, rows) if own.runs_again else self.answer(state, run(*rows))

    def require_servable(self) -> None:
        """Raises `InputError` if an export, which is a graph, couldn't answer as the model does."""
        runs = type(self).answers is not Layout.answers
        if not self.task.is_servable or (runs and type(self).served is Layout.served):
            raise InputError(
                f"the {self.task.name} task asks the model more than once: an export can only if "
                "its `served` says, as graph code, how; write that, or train with `--quick`, which "
                f"exports nothing. Received: {type(self.task).__name__}"
            )

    def readable(self, found: Mapping[str, tf.Tensor]) -> list[Readable]:
        """What `answer` gave as one dictionary for each text."""
        own: Task = self.task
        return own.readable(found)


def of_rows(columns: Sequence[Column], labels: Sequence[object] | None = None) -> Examples:
    """Examples of rows whose texts may hold several units, with `joining.WORD_END` between them.

    `Examples.from_lists` takes such marks for spaces, as they are in texts of users.

    Args:
        columns: One list of texts, two for pairs, three for triplets.
        labels: One for each row, as `Task.encode` takes them, if there are any.
    """
    given = dict(zip((TEXT,) if len(columns) == 1 else (TEXT_A, TEXT_B, TEXT_C), columns))
    if labels is None:
        return Examples(given)
    return Examples({**given, LABEL: list(labels)}, target=LABEL)


def asked(columns: Sequence[Column]) -> Examples:
    """As `of_rows`, of what users gave, which is checked.

    Raises:
        InputError: If columns differ in length, or a text isn't a string.
    """
    made = of_rows(columns)
    sizes = {name: len(column) for name, column in made.columns.items()}
    if len(set(sizes.values())) > 1:
        raise InputError(f"all columns must be of one length. Received: {sizes}")
    for name, column in made.columns.items():
        for row, value in enumerate(column, start=1):
            wording.require_text(value, f"row {row} of {name}")
    return made


def encoder_inputs(encoder: Encoder) -> Inputs:
    """What an encoder reads of single texts, by name."""
    return int_inputs([CODE_POINTS] if encoder.dialect == "text" else BERT_INPUTS)


def int_inputs(names: Sequence[str]) -> Inputs:
    """Keras inputs of int32 ids `[batch, length]`, by name."""
    return {name: keras.Input((None,), dtype="int32", name=name) for name in names}
