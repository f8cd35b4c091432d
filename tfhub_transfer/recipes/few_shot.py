"""Few labels: before the head learns, the encoder draws texts of a class together."""

import copy
import math
import time
from collections.abc import Callable, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tfhub_transfer import progress
from tfhub_transfer.callbacks.best_weights import FiniteLoss
from tfhub_transfer.data import Stream
from tfhub_transfer.encoders.encoder import frozen_as_it_was
from tfhub_transfer.errors import InputError
from tfhub_transfer.incoming import choices, wording
from tfhub_transfer.models.building import default_optimizer
from tfhub_transfer.models.fitting import size_schedule
from tfhub_transfer.models.transfer import TransferModel
from tfhub_transfer.optimization import planning
from tfhub_transfer.recipes import contrasts
from tfhub_transfer.runtime import cluster
from tfhub_transfer.tasks.layouts import Rows
from tfhub_transfer.training.epochs import show
from tfhub_transfer.training.outcome import FEW_SHOT, Outcome
from tfhub_transfer.training.stages import Stage, Training
from tfhub_transfer.training.unfreezing import groups_to_thaw

MODES = ("auto", "on", "off")
# Training texts a class, in the mean, below which `auto` tries it.
FEW = 64
# Steps, of few and of many texts; between them each text is seen some eight times. And folds: two
# have half of the texts to learn from, but three would take twice as long.
FEWEST_STEPS, STEPS, PASSES, FOLDS = 8, 40, 8, 2
# The share of the texts that none of is cut; one long text makes all of its batch as long.
_UNCUT = 95
_LEAST_LENGTH = 8
# Texts that are encoded at once to be compared.
_ROWS = 64


def first(mode: str = "auto") -> Callable[[list[Stage]], list[Stage]]:
    """For `Plan(stages=...)`: the usual stages with `FewShot` before them.

    Args:
        mode: As for `FewShot`; `"off"` leaves it out.

    Raises:
        InputError: If it is none of `MODES`.

    Example:

    >>> plan = tt.Plan(stages=first("on"), seed=1)
    """
    choices.one_of("few_shot", mode, MODES)
    return lambda usual: usual if mode == "off" else [FewShot(mode), *usual]


class FewShot(Stage):
    """Draws the vectors of a class's texts together, and those of other classes apart.

    Supervised contrastive learning (Khosla et al. 2020) over the encoder's layers, all but a BERT's
    embeddings, in 8 to 40 steps on up to 32 texts each; as SetFit (Tunstall et al. 2022) does with
    pairs. The head and what thaws train afterwards as ever, from there.

    With `"auto"` it is tried where there are fewer than 64 training texts a class, and kept unless
    by two-fold cross-validation fewer of them are answered rightly with it than without, by more
    than one standard error of the difference: each fold by logistic regression on vectors of an
    encoder that hasn't seen it. Weights of rows count for what trains afterwards alone, but for
    rows of weight 0, which nothing learns from.

    Args:
        mode: `"auto"`, or `"on"` to do it unjudged.

    Raises:
        InputError: If it is neither; in training, if it is `"on"` and the task isn't one class for
            a whole single text, the head has layers that read token vectors, nothing of the
            encoder can be trained, no class has two texts, the texts are a stream, or several
            devices or processes train.
    """

    name = FEW_SHOT

    def __init__(self, mode: str = "auto") -> None:
        choices.one_of("few_shot", mode, MODES[:2])
        self.mode = mode

    def run(self, training: Training) -> None:
        """As `Stage.run`; what it makes of the model the head will say."""
        started, ends = time.perf_counter(), training.plan.ends
        if ends is not None and self.name not in ends:
            return  # it was left out when validation still judged, and this was decided
        if self.mode == "on":
            require(training.model, training.train)
        against = unsuitable(training.model, training.train) or self._needless(training)
        if against is not None:
            if show(training.plan.verbose):
                progress.say(wording.wrapped(f"Few-shot stage left out: {against}"))
            return
        assert isinstance(training.train, Rows)
        with (
            frozen_as_it_was(training.model.encoder),
            progress.stage("Drawing texts of a class together", final=False) as stage,
        ):
            made = Contrast(training.model, training.train, training.plan.seed)
            forced = self.mode == "on" or ends is not None
            outcome = made.forced(stage) if forced else made.judged(stage)
        self._tell(training, outcome, made, time.perf_counter() - started)

    def _needless(self, training: Training) -> str | None:
        """Says that there are more texts than it is tried for; `None` if there aren't."""
        mean = len(training.train) / len(training.model.task.class_names)
        if self.mode == "on" or training.plan.ends is not None or mean < FEW:
            return None
        return f"it is for fewer than {FEW} training texts a class. Received: {mean:,.0f}"

    def _tell(self, training: Training, outcome: Outcome, made: "Contrast", seconds: float) -> None:
        history = training.history
        history.plan[self.name] = {
            "epochs": 1,
            "steps": made.steps,
            "learning_rate": made.rate[0],
            "chosen_by": {"learning_rate": made.rate[1]},
            "judged_by": "cross-validation" if outcome.before is not None else "nothing",
        }
        history.outcomes.append(outcome)
        history.seconds[self.name] = seconds
        if show(training.plan.verbose):
            progress.say(outcome.lines(seconds))


def require(model: TransferModel, train: Any) -> None:
    """Refuses what texts of a class can't be drawn together of.

    Args:
        model: The model.
        train: What it is to be trained on; of several tasks by name.

    Raises:
        InputError: If they can't.
    """
    against = unsuitable(model, train)
    if against is not None:
        what, received = against.split(" Received: ", 1)
        raise InputError(
            "texts of a class can't be drawn together here, as `--few-shot on` would: "
            f"{what.rstrip('.')}; leave that at auto or off. Received: {received}"
        )


def unsuitable(model: TransferModel, train: Any) -> str | None:
    """What stands against drawing texts of a class together, in words; `None` if nothing does.

    Args:
        model: The model.
        train: What it is to be trained on.
    """
    task = model.task
    if task.several or task.calibrated_by != "softmax" or not task.one_row:
        return f"it needs one class for each text. Received: the {task.name} task"
    if task.pair:
        return "it is for single texts. Received: pairs"
    if not model.has_fixed_features:
        return (
            "it trains the encoder's own vectors of texts. Received: a head that reads token "
            f"vectors, pooling={model.head.pooling!r}, block={model.head.block!r}"
        )
    if not model.encoder.layer_groups:
        return f"it trains the encoder. Received: {model.encoder.handle}, of which nothing can be"
    if isinstance(train, Stream):
        return f"texts of a class must be in memory. Received: a stream of {len(train):,} rows"
    of = model.distribute_strategy
    if of.num_replicas_in_sync > 1 or cluster.place(of).count > 1:
        return "it trains on one device. Received: several"
    counts = np.unique(task.encode(_examples(train).labels), return_counts=True)[1]
    if len(counts) < 2 or counts.max() < 2:
        told = f"{len(counts)} class{'' if len(counts) == 1 else 'es'}"
        most = counts.max(initial=0)
        return (
            f"it needs two classes, and two texts of one. Received: {told}, {most} at most of one"
        )
    return None


def steps(count: int) -> int:
    """In how many steps so many texts are drawn together.

    Args:
        count: How many texts.

    Example:

    >>> [steps(16), steps(64), steps(1000)]
    [8, 16, 40]
    """
    return min(max(FEWEST_STEPS, math.ceil(PASSES * count / contrasts.BATCH)), STEPS)


def _longer(count: int) -> float:
    """How much longer fewer steps are: 8 would go less than half as far as 40 of the same rate."""
    return math.sqrt(STEPS / count)


def _examples(train: Any) -> Any:
    return train.examples if isinstance(train, Rows) else train


class Contrast:
    """The encoder of a model while it draws texts of a class together.

    Args:
        model: The model; its encoder's groups thaw, all but a BERT's embeddings.
        rows: The texts with their labels.
        seed: Seed of all that is drawn.

    Attributes:
        steps: How many steps it trains on all the texts.
        rate: The peak of the learning rate in these, and what chose it.
    """

    def __init__(self, model: TransferModel, rows: Rows, seed: int) -> None:
        encoder, self._seed = model.encoder, seed
        encoder.freeze_to(-groups_to_thaw(encoder, "auto"))
        self._classes = np.asarray(model.task.encode(rows.examples.labels))
        self._layout, self._texts = model.layout, rows.examples.texts
        self._ids = self._cut()
        self.steps = steps(len(self._classes))
        usual, chosen = planning.usual_rate(encoder, [model.task])
        self.rate = usual * _longer(self.steps), chosen
        with model.distribute_strategy.scope():
            unit = keras.layers.UnitNormalization(dtype="float32", name="unit")(model.features)
            self._model = keras.Model(model.inputs, unit, name="contrast")
            # Without XLA, which would compile every shape of a batch.
            self._model.compile(
                default_optimizer(encoder, self.rate[0]),
                contrasts.SupervisedContrastive(),
                jit_compile=False,
                run_eagerly=model.run_eagerly,
            )
            self._model.optimizer.build(self._model.trainable_variables)
        self._start = [(v, keras.ops.convert_to_numpy(v)) for v in self._variables()]

    def forced(self, stage: progress.Stage) -> Outcome:
        """Trains, whatever comes of it.

        Args:
            stage: What shows how far it is.
        """
        stage.total = self.steps
        loss = self.train(np.arange(len(self._classes)), stage)
        return Outcome(FEW_SHOT, "loss", 0, 1, loss)

    def judged(self, stage: progress.Stage) -> Outcome:
        """Trains, unless that is worse by cross-validation; if it is, all is as it was.

        Args:
            stage: What shows how far it is.
        """
        stage.total = self.steps + FOLDS * steps(len(self._classes) * (FOLDS - 1) // FOLDS)
        right = self.cross_validated(stage)
        without, tried = (float(each.mean()) for each in right)
        if contrasts.surely_worse(*right):
            return Outcome(FEW_SHOT, "accuracy", 0, None, without, without, tried)
        self.train(np.arange(len(self._classes)), stage)
        return Outcome(FEW_SHOT, "accuracy", 0, 1, tried, without, tried)

    def train(self, rows: np.ndarray, stage: progress.Stage | None = None) -> float:
        """Draws some of the texts together; the loss in the mean of the steps.

        Args:
            rows: Which of the texts, int `[n]`.
            stage: What shows how far it is.

        Raises:
            InputError: If the loss is no finite number.
        """
        count = steps(len(rows))
        chosen = [rows[each] for each in contrasts.draws(self._classes[rows], count, self._seed)]
        size_schedule(self._model.optimizer, count)
        callbacks: list[keras.callbacks.Callback] = [FiniteLoss()]
        callbacks += [] if stage is None else [_Counted(stage)]
        told = self._model.fit(
            self._batches(chosen), epochs=1, verbose=0, shuffle=False, callbacks=callbacks
        )
        return float(told.history["loss"][-1])

    def vectors(self, rows: np.ndarray) -> np.ndarray:
        """Unit vectors of some of the texts `[n, d]`.

        Args:
            rows: Which of the texts, int `[n]`.
        """
        chosen = [rows[at : at + _ROWS] for at in range(0, len(rows), _ROWS)]
        return np.asarray(self._model.predict(self._batches(chosen), verbose=0))

    def reset(self) -> None:
        """Everything is again what it was before any step."""
        for variable, value in self._start:
            variable.assign(value)

    def cross_validated(self, stage: progress.Stage) -> tuple[np.ndarray, np.ndarray]:
        """Which texts are answered rightly where their fold was left out; all is as it was then.

        Args:
            stage: What shows how far it is.

        Returns:
            Without and with it, bool `[n]` each.
        """
        classes, rows = self._classes, np.arange(len(self._classes))
        fold = contrasts.folds(classes, FOLDS, self._seed)
        before = self.vectors(rows)
        found = np.empty((2, len(rows)), bool)
        for each in range(FOLDS):
            known, asked = rows[fold != each], rows[fold == each]
            self.train(known, stage)
            after = self.vectors(rows)
            self.reset()
            for way, made in enumerate((before, after)):
                given = made[known], classes[known], made[asked], classes[asked]
                found[way, asked] = contrasts.right(*given)
        return found[0], found[1]

    def _cut(self) -> dict[str, tf.RaggedTensor]:
        """Ids of the texts, of which the longest are cut."""
        preprocessor = self._layout.preprocessor
        ids, _ = preprocessor.encode_and_count(self._texts)
        if preprocessor.dialect != "bert":
            return ids
        lengths = next(iter(ids.values())).row_lengths().numpy()
        most = max(_LEAST_LENGTH, int(np.ceil(np.percentile(lengths, _UNCUT))))
        if lengths.max() <= most:
            return ids
        shorter = copy.copy(preprocessor)
        shorter.sequence_length = most
        return shorter.encode_and_count(self._texts)[0]

    def _batches(self, chosen: Sequence[np.ndarray]) -> tf.data.Dataset:
        rows = tf.RaggedTensor.from_row_lengths(np.concatenate(chosen), list(map(len, chosen)))
        classes = tf.constant(self._classes)

        def join(batch: tf.Tensor) -> tuple[dict[str, tf.Tensor], tf.Tensor]:
            picked = {key: tf.gather(value, batch) for key, value in self._ids.items()}
            return self._layout.pad(picked), tf.gather(classes, batch)

        return tf.data.Dataset.from_tensor_slices(rows).map(join).prefetch(1)

    def _variables(self) -> list[Any]:
        """Weights, where random numbers stand, and the optimizer's."""
        of_layers = [each for layer in self._model.layers for each in layer.variables]
        return [*of_layers, *self._model.optimizer.variables]


class _Counted(keras.callbacks.Callback):
    """Counts steps as those of a stage."""

    def __init__(self, stage: progress.Stage) -> None:
        super().__init__()
        self._stage = stage

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        """As Keras does."""
        self._stage.add(1)
