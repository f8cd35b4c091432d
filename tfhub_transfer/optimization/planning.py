"""How long and how fast each stage of training goes where nobody says: steps, not epochs.

What a model needs are steps: four epochs of 200 sentences are 28 of them, of 10,000 reviews 1,250.
So there is a least number of steps, and where an epoch has only a few, several passes over the rows
are one. The numbers were chosen by `benchmarks/defaults.py`; `benchmarks/README.md` has its table.
"""

import dataclasses
import math
from collections.abc import Sequence
from typing import Protocol

import keras

from tfhub_transfer.optimization import optimizers
from tfhub_transfer.optimization.schedules import WarmUpLinearDecay

# At 2e-3 embeddings alone were .012 below the best of the grid on average, .032 at most.
SMALL_BERT_RATE, LARGE_BERT_RATE, EMBEDDING_RATE = 1e-4, 5e-5, 6e-3
SMALL_BERT_DIMENSION = 512
# At 2e-3 a head on stored token vectors was worse, and its best came later.
HEAD_RATE = 5e-3
# A head needs some hundred steps however few the rows, and patience to match; each of them costs as
# much as a thawed one where every step runs through the encoder.
HEAD_STEPS, HEAD_PATIENCE_STEPS = 400, 60
VECTOR_EPOCHS, STORED_EPOCHS, FROZEN_EPOCHS = 30, 10, 3
# Steps through the encoder are dear: a head takes so many times fewer of them.
THROUGH_ENCODER = 4
# Steps of a head on token vectors before it may stop: at first every tag is the usual one.
HEAD_SETTLED_STEPS = 100
THAWED_STEPS, THAWED_EPOCHS, PATIENCE = 300, 4, 3
# Passes over the same few rows that are worth it, whatever the steps.
MOST_PASSES = 40
# So many steps at least between two looks at the validation split.
ROUND_STEPS = 24


class Learnt(Protocol):
    """What is asked of a task: its own number of epochs and rates, `None` for the usual ones."""

    @property
    def name(self) -> str: ...

    @property
    def head_epochs(self) -> int | None: ...

    @property
    def head_rate(self) -> float | None: ...

    @property
    def narrow_rate(self) -> float | None: ...

    @property
    def embedding_rate(self) -> float | None: ...


class Thawing(Protocol):
    """What is asked of an encoder: its groups from the bottom to the top, and how wide it is."""

    @property
    def layer_groups(self) -> list[tuple[str, list[keras.Variable]]]: ...

    @property
    def dimension(self) -> int: ...


@dataclasses.dataclass(frozen=True)
class Stage:
    """How long and how fast a stage trains.

    Attributes:
        epochs: The most epochs.
        passes: Over the rows in each of them.
        steps: In all, if it doesn't stop early.
        patience: Epochs without improvement before it stops.
        start_from_epoch: The first epoch, from 0, after which it may stop.
        learning_rate: The peak; `None` for a rate that a schedule of the user's own gives.
        chosen_by: What chose the epochs, and what the rate.
    """

    epochs: int
    passes: int
    steps: int
    patience: int
    start_from_epoch: int = 0
    learning_rate: float | None = None
    chosen_by: dict[str, str] = dataclasses.field(default_factory=dict)

    def __str__(self) -> str:
        passes = f" of {self.passes} passes" if self.passes > 1 else ""
        rate = "" if self.learning_rate is None else f" at rate {self.learning_rate:g}"
        plural = "" if self.epochs == 1 else "s"
        return f"up to {self.epochs} epoch{plural}{passes}, {self.steps} steps{rate}"


def head_on_vectors(steps: int, epochs: int | None, patience: int | None) -> Stage:
    """The plan for a head on one stored vector a text, whose epochs cost next to nothing.

    Args:
        steps: Of a pass over the rows.
        epochs: What the user wants, if anything.
        patience: Likewise.
    """
    if patience is None:
        patience = max(PATIENCE, HEAD_PATIENCE_STEPS // steps)
    if epochs is not None:
        return Stage(epochs, 1, epochs * steps, patience, chosen_by={"epochs": "user"})
    most = max(VECTOR_EPOCHS, HEAD_STEPS // steps)
    return Stage(most, 1, most * steps, patience, chosen_by={"epochs": _least(HEAD_STEPS)})


def head_on_tokens(
    task: Learnt, steps: int, stored: bool, epochs: int | None, patience: int | None
) -> Stage:
    """The plan for a head on token vectors.

    Args:
        task: The task, which may say how many epochs are worth it.
        steps: Of a pass over the rows.
        stored: Whether the vectors are; if not, each step runs through the whole encoder.
        epochs: What the user wants, if anything.
        patience: Likewise.
    """
    least = 1 if task.head_epochs else HEAD_STEPS if stored else HEAD_STEPS // THROUGH_ENCODER
    usual = task.head_epochs or (STORED_EPOCHS if stored else FROZEN_EPOCHS)
    return _stage(steps, epochs, patience, usual, least, HEAD_SETTLED_STEPS)


def thawed(steps: int, epochs: int | None, patience: int | None) -> Stage:
    """The plan for the encoder's top together with the head.

    Args:
        steps: Of a pass over the rows.
        epochs: What the user wants, if anything.
        patience: Likewise.
    """
    return _stage(steps, epochs, patience, THAWED_EPOCHS, THAWED_STEPS, 0)


def _stage(
    steps: int, epochs: int | None, patience: int | None, usual: int, least: int, settled: int
) -> Stage:
    steps = max(1, steps)
    if epochs is not None:
        found, start = patience, 0
        if found is None:
            found, start = _patience(epochs), settled // steps
        return Stage(epochs, 1, epochs * steps, found, start, chosen_by={"epochs": "user"})
    wanted = min(max(usual * steps, least), max(usual, MOST_PASSES) * steps)
    most = math.ceil(wanted / (steps * usual))  # of so few looks the best may be missed
    passes = max(1, min(math.ceil(ROUND_STEPS / steps), most))
    rounds = math.ceil(wanted / (passes * steps))
    why = f"{usual} epochs" if wanted == usual * steps else _least(least)
    if wanted < least:
        why = f"{MOST_PASSES} passes at most"
    start = settled // (passes * steps)
    found = _patience(rounds) if patience is None else patience
    return Stage(rounds, passes, rounds * passes * steps, found, start, chosen_by={"epochs": why})


def _patience(epochs: int) -> int:
    """Half of the epochs: the best often comes late, when the rate has fallen."""
    return max(PATIENCE, math.ceil(epochs / 2))


def _least(steps: int) -> str:
    return f"{steps} steps at least"


def head_rate(task: Learnt, given: float | None) -> tuple[float, str]:
    """The rate of a head on a frozen encoder, and what chose it.

    Args:
        task: The task, which may have a rate of its own.
        given: What the user wants, if anything.
    """
    if given is not None:
        return given, "user"
    return (HEAD_RATE, "usual") if task.head_rate is None else (task.head_rate, task.name)


def usual_rate(encoder: Thawing, tasks: Sequence[Learnt] = ()) -> tuple[float, str]:
    """The peak rate of an encoder that thaws, and what chose it.

    Args:
        encoder: The encoder.
        tasks: What it learns; the lowest of their rates counts.
    """
    if [name for name, _ in encoder.layer_groups] in ([], ["embeddings"]):
        return _lowest(tasks, "embedding_rate", EMBEDDING_RATE, "embeddings alone")
    if encoder.dimension > SMALL_BERT_DIMENSION:
        return LARGE_BERT_RATE, f"encoder: over {SMALL_BERT_DIMENSION} wide"
    kind = f"up to {SMALL_BERT_DIMENSION} wide"
    return _lowest(tasks, "narrow_rate", SMALL_BERT_RATE, kind)


def _lowest(tasks: Sequence[Learnt], name: str, usual: float, kind: str) -> tuple[float, str]:
    rates = {task.name: getattr(task, name) or usual for task in tasks}
    slowest = min(rates, key=lambda each: rates[each], default=None)
    rate = usual if slowest is None else rates[slowest]
    return rate, f"encoder: {kind}{'' if rate == usual else f' of {slowest}'}"


def set_rate(model: keras.Model, given: float | None) -> tuple[float | None, str]:
    """Sets the peak of a model's rate to what the user gives, or to the usual if nobody chose one.

    Args:
        model: A compiled `TransferModel`.
        given: The peak, if the user wants one.

    Returns:
        The peak, `None` where a schedule of the user's own has none; and what chose it.
    """
    schedule, chosen = optimizers.rate(model.optimizer), "user"
    if given is None and getattr(schedule, "usual", False):
        tasks = [*getattr(model.task, "tasks", {"": model.task}).values()]
        given, chosen = usual_rate(model.encoder, tasks)
    if isinstance(schedule, WarmUpLinearDecay):
        schedule.size(schedule.start, schedule.total_steps, given)
        return schedule.peak, chosen
    if given is not None:
        model.optimizer.learning_rate = given
        return given, chosen
    if schedule is None or (callable(schedule) and not isinstance(schedule, keras.Variable)):
        return None, chosen
    return float(keras.ops.convert_to_numpy(schedule)), chosen
