"""The one interface of tasks: labels, head, loss, metrics, decoding."""

import abc
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from typing import Any, ClassVar

import keras
import numpy as np
import tensorflow as tf

from tfhub_transfer.data import Examples
from tfhub_transfer.errors import InputError, placed
from tfhub_transfer.heads.settings import Head
from tfhub_transfer.incoming import choices, values
from tfhub_transfer.incoming.ranges import MOST
from tfhub_transfer.shapes import Logs
from tfhub_transfer.tasks.conformal import Limits
from tfhub_transfer.tasks.reportable import KerasOwn, Monitor, Readable, Reported
from tfhub_transfer.tasks.temperatures import Scaling
from tfhub_transfer.tasks.trial import Answers, Cut, Laid

# What a configuration has beside arguments of the constructor.
_KNOWN: Mapping[str, Any] = {"calibration": Scaling, "limits": Limits}
_LEARNED = ("learned", *_KNOWN)


class Task(Reported, abc.ABC):
    """What a model is trained to answer.

    A task turns labels into arrays (`encode`), vectors into answers (`outputs`) and answers into
    what a user reads (`decode`), and brings the loss and metrics that fit. `adapt` learns what it
    must know of the labels (class names, scale) from the training split. `layout` names how texts
    become what the encoder reads, in `tasks.layouts`. What reports ask of it is in
    `Reported`. A task of one's own is given to `build_model` as it is; `register` gives it a place
    among those that the command line knows.
    """

    name: ClassVar[str]
    needs_tokens: ClassVar[bool] = False
    layout: ClassVar[str] = "whole"
    # Arguments of the constructor that `adapt` learns where they aren't given.
    learns: ClassVar[tuple[str, ...]] = ("class_names",)
    # Whether there are layers between the encoder's vectors and the answer, to be trained first.
    has_head: ClassVar[bool] = True
    needs_labels: bool = True
    # Whether the loss is a mean over the units of all rows, not over rows.
    loss_by_unit: ClassVar[bool] = False
    # What tells a good epoch: a value that Keras reports, or what makes one of all of them.
    monitor: Monitor = ("val_loss", "min")
    # Which such value would be of whole answers, which no mean over batches is (`whole_measure`).
    whole_answers: ClassVar[str | None] = None
    # Whether it is several tasks, and what it is given and gives goes by their names.
    several: ClassVar[bool] = False
    # The most tokens of a row where nobody says; the preprocessor's own default if there is none.
    sequence_length: ClassVar[int | None] = None
    # Most epochs of the head on the frozen encoder; `fine_tune`'s own number if there is none.
    head_epochs: ClassVar[int | None] = None
    # The peak rates of a narrow BERT and of embeddings that thaw; the usual ones if there are none.
    narrow_rate: ClassVar[float | None] = None
    embedding_rate: ClassVar[float | None] = None
    # Which settings of a `Head` it heeds.
    head_settings: ClassVar[tuple[str, ...]] = ("pooling", "block", "hidden_units", "dropout", "l2")
    # The peak rate of the head on a frozen encoder, if it isn't the usual one; and the share of its
    # steps in which the rate rises, to fall from then on, if it isn't to stay the same.
    head_rate: ClassVar[float | None] = None
    head_warmup: ClassVar[float | None] = None
    # What the head's rate is times the encoder's, while both train.
    head_factor: ClassVar[float] = 1.0
    # Options of the command line beside those of every task: arguments of the constructor, and
    # whether there is a third text, and weights of classes.
    options: ClassVar[tuple[str, ...]] = ()
    # What the columns of the task's data are called where nobody says, by the option.
    usual_columns: ClassVar[dict[str, str]] = {}
    # The column of texts whose rows stay together when data are split, if pairs have one.
    kept_together: ClassVar[str | None] = None
    # Whether a blank label says something, as that a text has none of several classes.
    takes_blank: ClassVar[bool] = False
    # The API of TF Serving that an export's answers suit beside `predict`: "classify", where
    # `scores` are of `class_names`, "regress", where `score` is a number; neither, if "".
    api: ClassVar[str] = ""
    # How it looks for its answers, if it searches for them: a frozen dataclass, which may be set.
    search: Any = None

    copies: bool = False  # pieces of the text, so that it reads more of a row than others do
    pair: bool = False  # also of one that calls no other constructor

    def __init__(self, pair: bool = False) -> None:
        self.pair = choices.flag("pair", pair)

    class_names: list[str] | None = None
    # What stands between names in a label of several, where that was said.
    label_separator: str | None = None
    # Whether `adapt` learned the names of classes, so that their order says nothing of numbers.
    learned: bool = False

    @property
    def parts(self) -> Mapping[str, "Task"]:
        """The tasks that it consists of, by name: itself, without a name, unless it is several."""
        return {"": self}

    @property
    def losses(self) -> tuple[str, ...]:
        """Losses that learn from data of one form and are judged alike, its own the first."""
        return ()

    def with_loss(self, loss: str) -> "Task":
        """Such a task as this that learns by another of its `losses`.

        Args:
            loss: Its name.
        """
        raise NotImplementedError

    def apart(self, given: object) -> Mapping[str, object]:
        """What is given for the task, by the names of its `parts`.

        Args:
            given: Examples, rows, or anything else; of several tasks `{name: given}`.
        """
        return {"": given}

    @property
    def one_row(self) -> bool:
        """Whether an example is always one row, and its answer that row's.

        Such tasks read one text or a pair, whichever the data have; they are trained on streams,
        and learn from the answers of other models.
        """
        return self.layout == "whole"

    @property
    @abc.abstractmethod
    def is_adapted(self) -> bool:
        """Whether the task knows its labels, so that a head can be built."""

    @abc.abstractmethod
    def adapt(self, labels: Sequence[object]) -> "Task":
        """Learns class names or scale from training labels `[n]`; returns the task itself."""

    @abc.abstractmethod
    def encode(self, labels: Sequence[object]) -> np.ndarray:
        """Turns labels `[n]` as read from a file into the array that the loss wants."""

    def read_labels(self, labels: Sequence[object]) -> Sequence[object]:
        """Labels `[n]` in the plainest form that the task takes, whatever form they have.

        Raises:
            InputError: If one is of no form that the task knows.
        """
        return list(labels)

    def class_weights(self, labels: Sequence[object]) -> dict[int, float]:
        """Weights that make every class count the same, for `Plan` or Keras' `fit`.

        Args:
            labels: Those of the training split.

        Returns:
            The weight of each class by its place in `class_names`:
            `n / (classes that occur * n of the class)`.

        Raises:
            InputError: If the task isn't one of a single class for each text.
        """
        raise InputError(
            "class weights are for tasks where each text has one class; leave them out. "
            f"Received: the {self.name} task"
        )

    @classmethod
    def claims(cls, texts: Sequence[object], labels: Sequence[object]) -> bool:
        """Whether data are of a form that only tasks of this layout have.

        Args:
            texts: The first column of texts of some rows.
            labels: Their labels.
        """
        return False

    # What rows are that the task claims, in words.
    claimed: ClassVar[str] = ""

    def reads_like(self, kind: "type[Task]") -> bool:
        """Whether what another kind of task `claims` may as well be data of this one."""
        # Whole sentences would be taken for names of classes; other tasks read or refuse them.
        named = "class_names" in self.options and "label_separator" not in self.options
        return self.layout == kind.layout or ("vocabulary" in kind.learns and not named)

    def example_label(self) -> object:
        """Some label that the task takes, in place of one that isn't known."""
        return self.class_names[0] if self.class_names else 0.0

    def doubts(self) -> list[str]:
        """What speaks against this task for the labels that it has learned, one line each."""
        return []

    def check_class_weights(self, weights: object) -> None:
        """Raises `InputError` unless there is a weight for the place of each class.

        Args:
            weights: What Keras is to be given, `{place in class_names: weight}`.
        """
        self.class_weights([])

    def check(self, examples: Examples) -> None:
        """Raises `InputError` if the labels of examples don't fit, before anything is built."""
        with placed(examples):
            self.encode(examples.labels)

    def check_training(self, examples: Examples) -> None:
        """Raises `InputError` if examples to train on don't suit."""
        self.check(examples)

    def check_texts(self, columns: int) -> None:
        """Raises `InputError` if an example of a pair task doesn't have so many texts."""
        if columns != 2:
            raise InputError(
                f"the {self.name} task compares two texts; leave the third (`negative`) out. "
                f"Received: {columns} columns of texts"
            )

    @abc.abstractmethod
    def outputs(self, features: keras.KerasTensor, head: Head) -> keras.KerasTensor:
        """Builds the last layers: features `[batch, dimension]` to answers."""

    @abc.abstractmethod
    def loss(self) -> KerasOwn:
        """The loss that fits `encode` and `outputs`."""

    @abc.abstractmethod
    def metrics(self) -> Sequence[KerasOwn]:
        """Fresh metrics to watch while training."""

    def measures(self) -> dict[str, object]:
        """What `keras.Model.compile` takes besides optimizer and loss."""
        return {"metrics": self.metrics()}

    def worth(self, value: float) -> float:
        """What `monitor` gave, as what is more the better, so that it can be put beside others'.

        Args:
            value: The number.
        """
        return value if self.monitor[1] == "max" else -value

    def whole_measure(
        self, layout: Laid, examples: Examples, rows: Cut
    ) -> Callable[[Sequence[np.ndarray]], float]:
        """What makes the number `whole_answers` of a model's scores, while it still trains.

        Args:
            layout: The model's layout.
            examples: What the model is judged by.
            rows: The same in rows.

        Returns:
            Takes the scores of the units of each row.
        """
        raise NotImplementedError

    # How many examples of the validation split are answered after each epoch, for `sampled`.
    samples: ClassVar[int] = 0

    @property
    def sampled_names(self) -> tuple[str, ...]:
        """The names of the numbers that `sampled` gives."""
        return ()

    def sampled(
        self, examples: Examples, answer: Callable[[Examples], Answers]
    ) -> dict[str, float]:
        """Numbers of whole answers that are shown along, and judge nothing; none, unless said.

        Args:
            examples: Some of the validation split.
            answer: Gives the model's readable answers.
        """
        return {}

    def headlines(self, logs: Logs) -> dict[str, float]:
        """What each of several tasks is judged by, by its name; nothing of a task alone.

        Args:
            logs: What Keras reports at the end of an epoch.
        """
        return {}

    def answer(self, scores: tf.Tensor) -> dict[str, tf.Tensor]:
        """Model outputs `[n, ...]` to what an export answers, as graph code; `scores`, unless said.

        Tasks whose layout has answers of its own, as tags of words have, don't need it.
        """
        return {"scores": scores}

    @property
    def runs_again(self) -> bool:
        """Whether `answers` may ask the model more than once."""
        return type(self).answers is not Task.answers

    def answers(
        self, run: Callable[..., tf.Tensor], texts: Sequence[tf.Tensor]
    ) -> Mapping[str, tf.Tensor]:
        """Texts to answers by name, in as many runs of the model as they need: one, unless said.

        A task of its own may ask again what the model says of other texts, such as longer or masked
        ones. Everything that answers comes here: `predict_text`, `predict_scores`, `evaluate`. An
        answer then needs `scores` or `score`, which `measure` and `decode` read.

        Args:
            run: Takes columns of texts, lists or tensors `[rows]` of any number of rows, and gives
                the model's scores of them, float32 `[rows, ...]`.
            texts: The columns that are asked `[n]`.
        """
        return self.answer(run(*texts))

    def served(
        self, run: Callable[..., tf.Tensor], texts: Sequence[tf.Tensor]
    ) -> Mapping[str, tf.Tensor]:
        """As `answers`, for exports; a task that runs again writes it anew, as graph code.

        Args:
            run: As for `answers`, of tensors alone.
            texts: As for `answers`.
        """
        return self.answer(run(*texts))

    @property
    def is_servable(self) -> bool:
        """Whether an export can answer as the model does."""
        return not self.runs_again or type(self).served is not Task.served

    def readable(self, found: Mapping[str, tf.Tensor]) -> list[Readable]:
        """What `answer` gave as one readable answer for each text.

        Args:
            found: Arrays `[n, ...]` by name; those of `decode` are `scores`, or `score`.

        Raises:
            InputError: If it has neither, or `decode` answers more or fewer texts.
        """
        scores = self.scores_in(found)
        made = self.decode(scores)
        if len(made) != len(scores):
            raise InputError(
                "`decode` of a task gives one answer to each text, in their order. "
                f"Received: {len(made):,} of {len(scores):,} from {type(self).__name__}"
            )
        return made

    def scores_in(self, found: Mapping[str, tf.Tensor]) -> np.ndarray:
        """What `decode` and `measure` read of what `answer` gave `[n, ...]`.

        Args:
            found: As for `readable`.

        Raises:
            InputError: If it has neither `scores` nor `score`.
        """
        name = next((name for name in ("score", "scores") if name in found), None)
        if name is None:
            raise InputError(
                f"`answer` of the {self.name} task must give `scores`, or `score`, from which "
                f"`decode` reads. Received: {', '.join(found)}"
            )
        return np.asarray(found[name])

    def tune(self, examples: Examples, predict: Callable[[], list[Readable]]) -> None:
        """Settles, once training is over, what is chosen by answers to the validation split.

        Most tasks have nothing of the kind.

        Args:
            examples: The validation split.
            predict: Gives the model's readable answers to it.
        """
        return

    @abc.abstractmethod
    def decode(self, scores: np.ndarray) -> list[Readable]:
        """Turns model outputs `[n, ...]` into one readable answer for each text."""

    @abc.abstractmethod
    def get_config(self) -> dict[str, object]:
        """The constructor's arguments, as JSON."""

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> "Task":
        """Makes the task again from `get_config`."""
        # No argument of a constructor: whoever gives names has not had them learned.
        said = {name: each for name, each in config.items() if name not in _LEARNED}
        task = cls(**said)
        task.learned = bool(config.get("learned", False))
        for name, kind in _KNOWN.items():
            setattr(task, name, kind.from_config(config.get(name)))
        return task

    def learned_config(self) -> dict[str, object]:
        """What `get_config` says of learned names, and of what validation said of scores."""
        found = {n: asdict(value) for n in _KNOWN if (value := getattr(self, n)) is not None}
        return {**({"learned": True} if self.learned else {}), **found}

    def as_options(self) -> dict[str, object]:
        """What was said to the task, as its `options` of the command line; `None` of what wasn't.

        Names of classes that it learned aren't said, so that they are learned again.
        """
        said = {name: value for name, value in self.get_config().items() if name in self.options}
        return {**said, "class_names": None} if self.learned and "class_names" in said else said

    def require_adapted(self) -> None:
        """Raises `InputError` if the labels aren't known yet."""
        if not self.is_adapted:
            config = self.get_config()
            given = [f"{key}={config[key]!r}" for key in self.learns if config[key] is not None]
            wanted = " and ".join(f"`{key}=...`" for key in self.learns)
            raise InputError(
                f"the {self.name} task doesn't know its labels: give it {wanted}, or call "
                f"`task.adapt(train.labels)` first. "
                f"Received: {type(self).__name__}({', '.join(given)})"
            )


def finite(label: object, task: str, most: float = MOST) -> float:
    """A label as a finite number.

    Args:
        label: As a file has it.
        task: The name of the task that asks.
        most: What it must be below, whatever its sign.

    Raises:
        InputError: If it is none.
    """
    value = values.number(label)
    if not abs(value) < math.inf:
        raise InputError(
            f"the {task} task needs finite numbers as labels; mend or drop the row, or choose "
            f"another label column or task. Received: {label!r}"
        )
    if not abs(value) < most:
        raise InputError(
            f"the {task} task needs labels below {most:g} here, be they positive or negative; if "
            f"it is no slip, divide all labels by a power of ten. Received: {label!r}"
        )
    return value
