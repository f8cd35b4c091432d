"""The first stage: the head, or that of each task, on a frozen encoder."""

import dataclasses
import time
from collections.abc import Sequence

import numpy as np

from tfhub_transfer import progress
from tfhub_transfer.callbacks.best_weights import KeepBest
from tfhub_transfer.data import Stream
from tfhub_transfer.optimization import planning
from tfhub_transfer.tasks.layouts import Rows
from tfhub_transfer.training import feeding, following, judging, reused_heads
from tfhub_transfer.training.epochs import show
from tfhub_transfer.training.history import State
from tfhub_transfer.training.outcome import Outcome
from tfhub_transfer.training.stages import FROZEN_BATCH, Feed, Stage, Training

HEAD_BATCH = 64
# So many rows make batches of that size; of fewer the batches are half as large.
_MANY = 100 * HEAD_BATCH

Curves = dict[str, list[float]]


class Head(Stage):
    """Trains the head with the encoder frozen, until validation stops improving.

    Args:
        task: The task, among several.

    Attributes:
        value: What its task is judged by, after its best epoch.
    """

    def __init__(self, task: str = "") -> None:
        self.task = task
        self.name = f"{task} head" if task else "head"
        self.value: float | None = None

    def run(self, training: Training) -> float | None:
        """As `Stage.run`; of one task among several nobody knows what that makes of them all."""
        if not self.task:
            self.value = _train(training, self.name, "")
            return self.value
        part = training.part(self.task)
        # Each task's model was compiled without XLA; users ask for it on the whole one.
        part.model.jit_compile = training.model.jit_compile
        with progress.titled(self.task):
            self.value = _train(part, self.name, f"{self.task}: ")
        _take_up(training, self.task, part)
        return None

    def risen(self, training: Training) -> float:
        """The value as a number that rises the better it is, as the mean of several tasks wants it.

        Args:
            training: That of all tasks.
        """
        assert self.value is not None
        return training.model.task.tasks[self.task].worth(self.value)

    def state(self) -> State:
        return {"value": self.value}

    def restore(self, state: State) -> None:
        self.value = state["value"]


class Standing(Stage):
    """Tells what a model is worth with the encoder frozen, where no head alone says so.

    Args:
        heads: The stages of the tasks' heads, whose mean it is where it can be.
    """

    name = "standing"

    def __init__(self, heads: Sequence[Head] = ()) -> None:
        self._heads = heads

    def run(self, training: Training) -> float | None:
        """As `Stage.run`."""
        model, heads = training.model, self._heads
        values = [head.risen(training) for head in heads if head.value is not None]
        # Another stage among them leaves weights that no head has judged.
        alone = training.stages[: training.done] == [*heads]
        if values and alone and judging.monitor(model) == model.task.monitor:
            return float(np.mean(values))
        started = time.perf_counter()
        model.encoder.trainable = False
        value = training.judge()
        seconds = training.history.seconds
        seconds["head"] = seconds.get("head", 0.0) + time.perf_counter() - started
        return value


def _train(training: Training, name: str, before: str) -> float:
    started = training.started()
    model, history = training.model, training.history
    model.encoder.trainable = False
    keep = training.keep(name, *judging.head_monitor(model))
    if model.has_fixed_features and isinstance(training.train, Rows):
        curves = _on_vectors(training, training.train, keep)
    else:
        curves = _on_tokens(training, keep)
    history.add(curves)
    history.head_epochs = len(curves["loss"])
    # Features have seconds of their own.
    history.seconds["head"] = time.perf_counter() - started - history.seconds.get("features", 0)
    outcome = _outcome(training, keep, curves)
    history.outcomes.append(outcome)
    if show(training.plan.verbose):
        if history.truncation and history.truncation.texts:
            progress.say(f"At {model.sequence_length} tokens {history.truncation}")
        spent, pace = time.perf_counter() - started, training.watch.pace()
        progress.say(outcome.lines(spent, before, pace))
    return outcome.value


def _outcome(training: Training, keep: KeepBest, curves: Curves) -> Outcome:
    """What is told of it: what the model is judged by, though the loss may have chosen."""
    metric, _ = judging.monitor(training.model)
    assert isinstance(metric, str)  # of one task
    kept = keep.best_epoch or 0
    return Outcome("head", metric, len(curves["loss"]), kept + 1, float(curves[metric][kept]))


def _take_up(training: Training, task: str, part: Training) -> None:
    """Adds what was done for one task to the history of all."""
    history, own = training.history, part.history
    history.plan[f"{task} head"] = own.plan["head"]
    history.tasks[task] = own
    history.outcomes += [
        dataclasses.replace(outcome, stage=f"{task} {outcome.stage}") for outcome in own.outcomes
    ]
    for stage, seconds in own.seconds.items():
        history.seconds[stage] = history.seconds.get(stage, 0.0) + seconds


def _on_vectors(training: Training, train: Rows, keep: KeepBest) -> Curves:
    """A head that reads one vector a text, on stored ones."""
    model, plan, history = training.model, training.plan, training.history
    started = time.perf_counter()
    splits, features = (train, training.validation), []
    with progress.stage("Features", sum(map(len, splits)), "examples"):
        for rows in splits:
            with progress.part(worth=len(rows)):
                features.append(following.features(model, rows))
            # The first is that of the texts to train on.
            history.truncation = history.truncation or model.truncation
    history.seconds["features"] = time.perf_counter() - started
    targets = [model.layout.objective.targets(rows.examples) for rows in splits]
    batch_size = batch_size_for(len(train))
    steps = -(-len(train) // batch_size)
    batches, pass_steps = reused_heads.of_vectors(features[0], targets[0], batch_size, plan.seed)
    judged, _ = reused_heads.of_vectors(features[1], targets[1], batch_size)
    planned = planning.head_on_vectors(steps, plan.head_epochs, plan.patience)
    rate = planning.head_rate(model.task, plan.head_learning_rate)
    planned = training.begin(planned, "head", rate, keep)
    # As many steps at once as make an epoch: each costs less than what Python does between two.
    with reused_heads.model_of(training, min(steps, planning.HEAD_STEPS)) as (head, told):
        judges = [*told, *training.judges()]
        feed = Feed(head, batches, judged, judges, rows=len(train), steps=pass_steps)
        return training.run_epochs(feed, planned, keep, "Head", lines=False)


def _on_tokens(training: Training, keep: KeepBest) -> Curves:
    """A head that reads token vectors: on stored ones, or through the encoder for fewer epochs."""
    model, plan, history, rows = training.model, training.plan, training.history, training.train
    size = FROZEN_BATCH if isinstance(rows, Stream) else batch_size_for(len(rows))
    stored = feeding.above_boundary(training, rows, size)
    if stored is None:
        feed = feeding.through_encoder(training, rows, size)
        history.truncation = feed.truncation
    else:
        assert isinstance(rows, Rows)  # of a stream nothing is stored
        feed, history.truncation = stored, model.count_truncation(rows)
    steps, given = int(feed.batches.cardinality()), (plan.head_epochs, plan.patience)
    planned = planning.head_on_tokens(model.task, steps, stored is not None, *given)
    rate = planning.head_rate(model.task, plan.head_learning_rate)
    planned = training.begin(planned, "head", rate, keep)
    made = feeding.compiled(
        training, lambda: stored.model if stored else model.once_more(), steps=planned.steps
    )
    return training.run_epochs(dataclasses.replace(feed, model=made), planned, keep, "Head")


def batch_size_for(rows: int) -> int:
    """Rows in a batch of a head on a frozen encoder, of so many in all."""
    return HEAD_BATCH if rows > _MANY else HEAD_BATCH // 2
