"""What a report asks of a task: numbers, mistakes, rivals, words; with answers that suit any task.

A task of whole texts has labels `[n, ...]` as its `encode` makes them, and scores `[n, ...]` as its
`scores_of` does. What it doesn't say of them comes from its loss and its metrics.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, TypeAlias

import keras
import numpy as np
import tensorflow as tf

from tfhub_transfer.data import Examples
from tfhub_transfer.errors import InputError
from tfhub_transfer.private import keras_training
from tfhub_transfer.reporting import groups, metrics
from tfhub_transfer.reporting.metrics import BaselineAnswer, Numbers
from tfhub_transfer.reporting.reports import Report
from tfhub_transfer.reporting.standings import Standing
from tfhub_transfer.shapes import Array, Logs
from tfhub_transfer.tasks import temperatures
from tfhub_transfer.tasks.conformal import Limits
from tfhub_transfer.tasks.temperatures import Choice, Link, Scaling, Told
from tfhub_transfer.tasks.trial import Laid, Trial, worst

LOSS = "loss"
# Scores of all classes are among the predictions up to so many, rows times classes.
_MOST_SCORES = 1_000_000
# Answers are made readable some at a time: each holds the scores of all classes.
_AT_ONCE = 4096

# Scores of rows or examples; of units one array for each.
Scores: TypeAlias = np.ndarray | list[np.ndarray]
# Scores of examples, of which each may have several rows with units, one array for each of those.
Joined: TypeAlias = Scores | list[list[np.ndarray]]
# What a user reads: an answer, by the names of its parts.
Readable: TypeAlias = dict[str, object]
# A value that Keras reports, or what makes one of all of them; and whether it is to fall or rise.
Monitor: TypeAlias = tuple[str | Callable[[Logs], float], str]
# Whatever Keras takes for a loss or a metric: an object, a name, a function.
KerasOwn: TypeAlias = "keras.Loss | keras.metrics.Metric | Callable[..., tf.Tensor] | str"


def reduced(loss: KerasOwn, reduction: str | None) -> keras.Loss:
    """A loss, given as such, by name or as a function, that is reduced in another way.

    Args:
        loss: As `Task.loss` gives it.
        reduction: As Keras' losses take it; `None` for the loss of each example.
    """
    found = keras.losses.get(loss)
    if not isinstance(found, keras.Loss):
        return keras_training.as_loss(found, reduction)
    own = object.__new__(type(found))  # `copy` would save and load it
    own.__dict__.update(found.__dict__, reduction=reduction)
    return own


class Reported:
    """The side of a task that a report sees."""

    name: ClassVar[str]
    pair: bool
    class_names: list[str] | None
    # What makes its scores of logits, if these may be scaled so that scores mean what they say.
    calibrated_by: ClassVar[Link | None] = None
    # Whether each class may be scaled by a number of its own, which changes answers.
    calibrated_by_class: ClassVar[bool] = True
    # How they were scaled, once they are.
    calibration: Scaling | None = None
    # What `conformalize` can be asked for, of `coverage` and `abstain`; and what it found.
    promises: ClassVar[tuple[str, ...]] = ()
    limits: Limits | None = None
    # Whether a text, or pair, has one vector, of which `learn_scope` can be asked.
    scoped: ClassVar[bool] = False
    monitor: Monitor
    # Whether baselines learn from the training split, without which there are none.
    learned_baselines: ClassVar[bool] = True

    if TYPE_CHECKING:  # what `Task` says more of

        @property
        def one_row(self) -> bool: ...
        def encode(self, labels: Sequence[object]) -> np.ndarray: ...
        def decode(self, scores: np.ndarray) -> list[Readable]: ...
        def loss(self) -> KerasOwn: ...
        def metrics(self) -> Sequence[KerasOwn]: ...

    def _usual_standing(self) -> Standing:
        name, mode = self.monitor
        first = name.removeprefix("val_") if isinstance(name, str) else LOSS
        never = frozenset({"ece", *(metric.name for metric in self._metrics())})
        low = {first: mode == "min"} if isinstance(name, str) else {}
        return Standing(first, low, badness=LOSS, without_interval=never)

    # How the task stands in its reports, a `standings.Standing`. One that doesn't say is judged by
    # its `monitor`, and nothing is known of its metrics but their values.
    standing: Standing = property(_usual_standing)  # type: ignore[assignment]  # tasks name theirs

    def _metrics(self) -> list[keras.metrics.Metric]:
        return [_metric(metric) for metric in self.metrics()]

    # Confidence ------------------------------------------------------------------------------

    def confident_rows(
        self, scores: Joined, labels: Sequence[object], seed: int
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
        """What scores are scaled by: rows of one answer each.

        Args:
            scores: As `predict_scores` gives them.
            labels: What is right, of each example.
            seed: Seed of which rows are taken where there are more than it takes.

        Returns:
            Shares `[rows, classes]`, a 0 or a 1 for each of them, and which rows belong together,
            a number for each `[rows]`; `None` if each stands for itself.
        """
        shares, truth = np.asarray(scores), self.encode(labels)
        return shares, np.eye(shares.shape[1])[truth] if truth.ndim == 1 else truth, None

    def fit_scaling(
        self, layout: Laid, scores: Joined, examples: Examples, seed: int, biases: bool
    ) -> Choice:
        """What scores are to be scaled by, as the validation split has it.

        Args:
            layout: The model's.
            scores: As `predict_scores` gives them.
            examples: The validation split.
            seed: Seed of what is random.
            biases: Whether classes may have numbers of their own.
        """
        if self.calibrated_by is None:
            return Choice(temperatures.NONE, None, {}, len(examples))
        shares, truth, owners = self.confident_rows(scores, examples.labels, seed)
        biases = biases and self.calibrated_by_class
        return temperatures.chosen(shares, truth, self.calibrated_by, seed, biases, owners)

    def can_rescale(self, layers: Mapping[str, keras.layers.Layer]) -> bool:
        """Whether `rescale` knows what makes the scores, as it doesn't of layers of one's own.

        Args:
            layers: The model's, by name.
        """
        last = layers.get("scores")
        return isinstance(last, keras.layers.Dense) and last.use_bias

    def rescale(
        self, layers: Mapping[str, keras.layers.Layer], factor: float, added: np.ndarray
    ) -> None:
        """Makes logits what they are times a factor, in the weights of what makes them.

        Args:
            layers: The model's, by name.
            factor: Above 0.
            added: What is added then, for each class or to all.
        """
        layer = layers["scores"]
        kernel, bias = layer.get_weights()
        made = (bias * factor + added).astype(bias.dtype)
        layer.set_weights([kernel * np.float32(factor), made])

    def calibrate_answers(
        self, scores: Joined, labels: Sequence[object], scaling: Scaling | None, seed: int
    ) -> Told:
        """Chooses on validation, of scaled scores, what else turns them into answers; nothing.

        Args:
            scores: As `predict_scores` gave them before.
            labels: What is right, of each example.
            scaling: What they were scaled by then.
            seed: Seed of what is random.

        Returns:
            What was chosen, as JSON, to be recorded.
        """
        return {}

    def limits_of(self, scores: np.ndarray, truth: np.ndarray, **asked: float | None) -> Limits:
        """What `conformalize` reads off rows that the model wasn't trained on.

        Args:
            scores: As `scores_of` has them.
            truth: As `encode` has it.
            **asked: `coverage`, how often sets or intervals are to hold the truth, and `abstain`,
                which share of accepted answers may be wrong; either may be `None`.
        """
        raise NotImplementedError

    def trusted(self, scores: np.ndarray) -> Told:
        """What `limits` do to answers, as JSON; nothing more to tell.

        Args:
            scores: As `scores_of` has them.
        """
        return {}

    def take_choices(self, other: Any) -> None:
        """Takes what another task of the same kind chose by `calibrate_answers`; nothing.

        Args:
            other: The other task; `None` to forget what was chosen, as of other weights.
        """

    def before(self, scores: np.ndarray) -> np.ndarray | None:
        """What scores `[n, classes]` were before they were scaled; `None` if they aren't."""
        if self.calibration is None or self.calibrated_by is None:
            return None
        return self.calibration.undone(scores, self.calibrated_by)

    # Answers ---------------------------------------------------------------------------------

    def scores_of(self, outputs: Joined) -> Joined:
        """What `predict_scores` gives of what the model gave `[n, ...]`: the same, unless said."""
        return outputs

    def main_part(self, answer: Readable) -> object:
        """The part of a readable answer that is compared with what is right.

        Args:
            answer: From `decode`.
        """
        for part in ("label", "labels", "score"):
            if part in answer:
                return answer[part]
        return next(iter(answer.values()))

    def readable_label(self, encoded: Array) -> object:
        """A label as `decode` would answer, in whatever form it was given.

        Args:
            encoded: From `encode`, of one example.
        """
        if self.class_names and np.ndim(encoded) == 0:
            return self.class_names[int(encoded)]
        if np.ndim(encoded) == 0 and np.asarray(encoded).dtype.kind == "f":
            return float(str(encoded))  # 3.1 in float32 is 3.1 to its users
        return np.asarray(encoded).tolist()

    # Numbers ---------------------------------------------------------------------------------

    def report_on(self, trial: Trial) -> None:
        """Fills the report of a model with what its answers are worth.

        This is the way of tasks that give one answer to each example. Others have their own, in
        the `measures` of their folder.

        Args:
            trial: The report, the model, and what is put to it.
        """
        report, examples = trial.report, trial.examples
        if trial.model.layout.by_unit:
            raise InputError(
                "only the task can say what answers are worth that have units, as texts have words:"
                f" write its `report_on`. Received: the {self.name} task"
            )
        labels = np.asarray(self.encode(examples.labels))
        # A model that diverged gets a report too, in which such answers count as wrong.
        answered = trial.timed(lambda: trial.model.predict_scores(examples, allow_nan=True))
        scores = _finite(report, self, answered, labels)
        report.metrics = self.measure(labels, scores)
        missing = sorted(name for name, value in report.metrics.items() if value is None)
        if missing:
            report.notes.append(f"{', '.join(missing)}: not defined on this split")
        self.describe(report, labels, scores, trial.seed)
        _show_answers(self, trial, labels, (answered, scores))
        if trial.train is not None:
            _add_baselines(self, trial, trial.train)

    def _losses(self, labels: np.ndarray, scores: np.ndarray) -> np.ndarray:
        """The loss of each example, float64 `[n]`."""
        loss = reduced(self.loss(), None)
        each: np.ndarray = keras.ops.convert_to_numpy(loss(labels, scores)).astype("float64")
        means: np.ndarray = each.reshape(len(labels), -1).mean(axis=1)
        return means

    def measure(self, labels: np.ndarray, scores: np.ndarray) -> Numbers:
        """The numbers of a report: those that the task watches in training, unless it says others.

        Args:
            labels: What is right `[n, ...]`.
            scores: What was answered `[n, ...]`, of a model or of a baseline.
        """
        found: Numbers = {LOSS: float(self._losses(labels, scores).mean())}
        for metric in self._metrics():
            metric.update_state(labels, scores)
            found[metric.name] = float(metric.result())
        return {name: value if np.isfinite(value or 0.0) else None for name, value in found.items()}

    def contributions(self, labels: np.ndarray, scores: np.ndarray) -> dict[str, np.ndarray]:
        """What each example contributes to numbers that are means, float64 `[n]` each.

        The first of them is shown by groups of examples.
        """
        return {LOSS: self._losses(labels, scores)}

    def beside_answers(self, labels: np.ndarray, scores: np.ndarray) -> dict[str, np.ndarray]:
        """What else stands beside each answer in `predictions.jsonl`, `[n]` each."""
        return {}

    def badness(self, labels: np.ndarray, scores: np.ndarray) -> np.ndarray:
        """How bad each answer is `[n]`: 0 where it is right, the highest is the worst mistake.

        The loss, unless the task says more: it must if its loss isn't 0 where an answer is right.
        """
        # NaN is above nothing, so that such a row would be no mistake.
        losses: np.ndarray = np.nan_to_num(self._losses(labels, scores), nan=np.inf)
        return losses

    def not_answered(self, labels: np.ndarray, scores: np.ndarray, bad: np.ndarray) -> np.ndarray:
        """Scores to measure where some are no numbers, which must not count as right.

        Args:
            labels: What is right `[n, ...]`.
            scores: What was answered.
            bad: Which answers hold what is no finite number `[n]`.
        """
        return scores

    def describe(self, report: Report, labels: np.ndarray, scores: np.ndarray, seed: int) -> None:
        """Adds to a report what its numbers don't say: intervals, classes, plots.

        Args:
            report: It has its metrics.
            labels: What is right `[n, ...]`.
            scores: What was answered.
            seed: Seed of the bootstrap.
        """
        columns = self.contributions(labels, scores)
        if all(np.isfinite(column).all() for column in columns.values()):
            report.intervals = metrics.intervals(
                lambda w: {name: w @ each / w.sum(axis=1) for name, each in columns.items()},
                len(labels),
                seed,
            )

    def measure_rival(self, labels: np.ndarray, scores: np.ndarray) -> Numbers:
        """As `measure`, of a baseline's scores: without what was chosen for the model's own."""
        return self.measure(labels, scores)

    def baselines(
        self, texts: tuple[list[str], list[str]], labels: np.ndarray
    ) -> dict[str, BaselineAnswer]:
        """What models without transfer answer, as scores that `measure` takes.

        Args:
            texts: To train on `[n]`, and to answer `[m]`; texts of a pair are put together.
            labels: What is right of the former.

        Returns:
            Answers by the baseline's name; none, unless the task says which would be its rivals.
        """
        return {}

    # Other models ----------------------------------------------------------------------------

    def require_imitable(self) -> None:
        """Raises `InputError` if a model of the task can't learn from the answers of others."""
        if not self.one_row:
            raise InputError(
                f"distillation answers whole texts so far. Received: the task {self.name}"
            )
        some = np.full((1, len(self.class_names or [0])), 0.5, np.float32)
        self.divergence(some, some, 1.0)  # which tells a task that doesn't say

    def require_like(self, teacher: "Reported") -> None:
        """Raises `InputError` if the answers of another model aren't answers to this task.

        Args:
            teacher: The other model's task.
        """
        theirs, own = ((task.name, task.pair, task.class_names) for task in (teacher, self))
        if theirs != own:
            raise InputError(
                "teachers and student must have the same task, with the same classes in the same "
                f"order. Received: {theirs} and {own}"
            )

    def divergence(self, wanted: tf.Tensor, made: tf.Tensor, temperature: float) -> tf.Tensor:
        """How far a model's scores `[rows, ...]` are from a teacher's: `[rows]`, as graph code.

        Args:
            wanted: The teacher's.
            made: The model's.
            temperature: Of the answers (Hinton et al. 2015).

        Raises:
            InputError: If the task doesn't say, so that nothing can be distilled.
        """
        raise InputError(
            f"the {self.name} task doesn't say how far one answer is from another: write its "
            f"`divergence`, or train on labels. Received: {type(self).__name__}"
        )


def _metric(given: KerasOwn) -> keras.metrics.Metric:
    """A metric as an object, of a name or a function too."""
    if given in ("accuracy", "acc", "crossentropy", "ce"):
        raise InputError(
            "which of Keras' metrics that is depends on the loss; give the object, such as "
            f"`keras.metrics.BinaryAccuracy()`. Received: {given!r} among the task's metrics"
        )
    found = keras.metrics.get(given)
    if isinstance(found, keras.metrics.Metric):
        return found
    return keras.metrics.MeanMetricWrapper(found, name=found.__name__)


def _finite(report: Report, task: Reported, scores: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Answers that aren't numbers are noted; the task says what they count as."""
    bad = ~np.isfinite(scores.reshape(len(scores), -1)).all(axis=1)
    if not bad.any():
        return scores
    report.notes.append(
        f"{bad.sum()} of {len(bad)} answers aren't finite numbers; has the training diverged?"
    )
    return task.not_answered(labels, scores, bad)


def _show_answers(
    task: Reported, trial: Trial, labels: np.ndarray, found: tuple[np.ndarray, np.ndarray]
) -> None:
    """Adds each answer and the worst, and numbers by length; of answers as given and as counted."""
    report, (answered, scores) = trial.report, found
    true = [task.readable_label(label) for label in labels]
    parts = (scores[start : start + _AT_ONCE] for start in range(0, len(scores), _AT_ONCE))
    given = [task.main_part(answer) for part in parts for answer in task.decode(part)]
    # What counts as wrong where there is no answer is no answer for that.
    known = np.isfinite(answered.reshape(len(answered), -1)).all(axis=1)
    given = [answer if is_known else None for answer, is_known in zip(given, known)]
    badness = task.badness(labels, scores)
    report.mistakes = [
        trial.mistake(row, true[row], given[row], float(badness[row])) for row in worst(badness)
    ]
    numbers = task.contributions(labels, scores)
    if all(np.isfinite(column).all() for column in numbers.values()):
        keys = groups.lengths([" ".join(texts) for texts in zip(*trial.examples.texts)])
        report.slices = groups.means("length of the text", keys, numbers, trial.seed)
    trial.note_answers(true, given, {**numbers, **_shown_scores(report, answered)})
    for name, column in task.beside_answers(labels, scores).items():
        for row, value in zip(report.predictions, column.tolist()):
            row[name] = value


def _shown_scores(report: Report, scores: np.ndarray) -> Mapping[str, Array]:
    """What predictions say of scores `[n]` or `[n, classes]`."""
    if scores.ndim == 1:
        return {}
    if scores.size <= _MOST_SCORES:
        return {"scores": scores}
    report.notes.append(
        "predictions.jsonl has the highest score of each text only: of "
        f"{scores.shape[1]:,} classes and {len(scores):,} texts there are too many"
    )
    return {"score": scores.max(axis=1)}


def _add_baselines(task: Reported, trial: Trial, train: Examples) -> None:
    report, test = trial.report, trial.examples
    started = time.perf_counter()
    labels, truth = (np.asarray(task.encode(part.labels)) for part in (train, test))
    # A pair's texts are put together.
    rows = [[" ".join(texts) for texts in zip(*part.texts)] for part in (train, test)]
    answers = task.baselines((rows[0], rows[1]), labels)
    if not answers:
        report.notes.append(f"no baselines: the {task.name} task names none")
    for name, answer in answers.items():
        if answer.scores is not None:
            report.baselines[name] = task.measure_rival(truth, answer.scores)
        if answer.note:
            report.notes.append(f"baseline {name}: {answer.note}")
    report.seconds["baselines"] = time.perf_counter() - started
