"""What there is to know of KerasTuner's trials, and what it is told of them."""

import contextlib
import dataclasses
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from typing import Any

import keras
import keras_tuner

from tfhub_transfer.callbacks import own as own_callbacks
from tfhub_transfer.callbacks.best_weights import direction
from tfhub_transfer.data import Examples
from tfhub_transfer.encoders.encoder import Encoder
from tfhub_transfer.errors import InputError
from tfhub_transfer.models.transfer import TransferModel
from tfhub_transfer.reporting import searches
from tfhub_transfer.training import headlines, judging
from tfhub_transfer.training.heads import Standing
from tfhub_transfer.training.history import History
from tfhub_transfer.training.stages import FROZEN_BATCH, Plan, Stage
from tfhub_transfer.tuning import repeats

Callbacks = Sequence[keras.callbacks.Callback]

# What several tasks are worth together, which has no name in Keras' reports.
_MEAN = "val_mean"
# What `Hyperband` writes among the values of a trial.
_OF_TUNER = "tuner/"
# What makes a loss another number, in which a penalty is, too.
_LOSS, _OF_LOSS = "val_loss", ("loss", "label_smoothing", "l2")


class Depths:
    """How many groups thaw for a head that reads others than the default one.

    A depth is counted as that one counts; of others as many thaw as lie as far up, one at least.

    Args:
        encoder: As the head of the last model on it reads it, the default one.
    """

    def __init__(self, encoder: Encoder) -> None:
        self._names = [name for name, _ in encoder.layer_groups]
        self._read: dict[object, list[str]] = {}

    def knows(self, form: object) -> bool:
        """Whether a model with such a head was seen.

        Args:
            form: What of a head tells which groups it reads.
        """
        return form in self._read

    def note(self, form: object, encoder: Encoder) -> None:
        """Notes which groups a head reads.

        Args:
            form: As of `knows`.
            encoder: As the head reads it, whose model was built last.
        """
        self._read[form] = [name for name, _ in encoder.layer_groups]

    def of(self, form: object, depth: int) -> int:
        """How many groups thaw.

        Args:
            form: As of `knows`, of a head that was noted.
            depth: How many would, for the default head.
        """
        if not depth:
            return 0
        names, wanted = self._read[form], self._names[-depth:]
        lowest = next((at for at, name in enumerate(names) if name in wanted), len(names) - 1)
        return len(names) - lowest


def judge_of(model: TransferModel) -> tuple[str, str]:
    """The value that a model is judged by, and which way it improves.

    Args:
        model: The model.
    """
    name, mode = judging.monitor(model)
    named = name if isinstance(name, str) else _MEAN
    return named, direction(mode, named)


def reported(model: TransferModel) -> set[str]:
    """The names of the values of the validation split that a trial reports.

    Args:
        model: The model.
    """
    if model.task.several:
        return set()
    return {name for name in judging.reported(model, {}) if name.startswith("val_")}


def apart(callbacks: Callbacks) -> tuple[Callbacks, Callbacks]:
    """KerasTuner's own callbacks, and others."""
    found = own_callbacks.listed(callbacks)
    own = [each for each in found if type(each).__module__.startswith("keras_tuner.")]
    return own, [each for each in found if each not in own]


def is_first(own: Callbacks) -> bool:
    """Whether a trial is the first of a search.

    Args:
        own: KerasTuner's own callbacks, one of which knows the trial.
    """
    found = [each.trial for each in own if hasattr(each, "trial")]
    return bool(found) and searches.is_first(found[0].trial_id)


def judged_by(own: Callbacks) -> Any:
    """KerasTuner's objective of a search, as one of its callbacks knows it; `None` if none does.

    Args:
        own: KerasTuner's own callbacks.
    """
    return next((each.objective for each in own if hasattr(each, "objective")), None)


def fatal(message: str) -> keras_tuner.errors.FatalValueError:
    """A mistake, which ends the search: KerasTuner goes on after any other error.

    Args:
        message: The mistake.
    """
    return keras_tuner.errors.FatalValueError(message)


@contextlib.contextmanager
def fatal_mistakes() -> Iterator[None]:
    """Around what a tuner calls: a mistake of the user's ends the search."""
    try:
        yield
    except InputError as error:
        raise fatal(str(error)) from error


def require_comparable(
    searched: Collection[str], objective: Any, reported: Collection[str]
) -> None:
    """Refuses to judge by a loss trials of which each has another.

    Args:
        searched: The names of the settings that are searched.
        objective: KerasTuner's, which may be of several values.
        reported: The names of all values that a trial reports.

    Raises:
        InputError: If what is searched makes the loss another number.
    """
    moved = [name for name in _OF_LOSS if name in searched]
    named = [each.name for each in getattr(objective, "objectives", [objective])]
    if moved and _LOSS in named:
        others = ", ".join(sorted({*reported} - {_LOSS})) or "none"
        raise InputError(
            "each value of these makes the loss another number, by which trials can't be compared: "
            "leave them out of the search, or name another `objective` (`--objective`), of "
            f"{others}. Received: {_LOSS}, and a space of {', '.join(moved)}"
        )


def metrics_of(trial: Any) -> dict[str, float]:
    """All values that a trial of KerasTuner's was told, by name.

    Args:
        trial: The trial.
    """
    told = trial.metrics
    return {name: float(told.get_best_value(name)) for name in told.metrics}


def completed(tuner: Any) -> list[Any]:
    """The trials of a search that came to their end, in their order.

    Args:
        tuner: KerasTuner's.
    """
    known = tuner.oracle.trials
    found = [known[name] for name in tuner.oracle.start_order]
    return [each for each in found if each.status == "COMPLETED"]


def scores_of(trial: Any) -> tuple[float, ...]:
    """What each training of a trial of KerasTuner's was judged by.

    Args:
        trial: The trial, which came to its end.
    """
    return repeats.scores_of(metrics_of(trial)) or (float(trial.score),)


def of_hyperband(hp: Any) -> bool:
    """Whether the tuner chooses epochs by itself."""
    return f"{_OF_TUNER}epochs" in hp.values


def epochs_of(oracle: Any, trial: Any) -> int | None:
    """How many epochs `Hyperband` had a trial trained for, with those that it goes on behind.

    Args:
        oracle: That of the tuner.
        trial: One of its trials.

    Returns:
        `None` where it was as many as the rows need: with other tuners, and of the first trial and
        what goes on with its weights.
    """
    epochs = trial.hyperparameters.values.get(f"{_OF_TUNER}epochs")
    while (before := trial.hyperparameters.values.get(f"{_OF_TUNER}trial_id")) is not None:
        trial = oracle.get_trial(before)
    return int(epochs) if epochs and not searches.is_first(trial.trial_id) else None


def defaults(hp: Any) -> dict[str, Any]:
    """The default of each value of a trial that is active then, and what its tuner wrote.

    Args:
        hp: KerasTuner's `HyperParameters`.
    """
    found = hp.copy()
    found.values = {k: v for k, v in hp.values.items() if k.startswith(_OF_TUNER)}
    known = -1
    # As KerasTuner sends a space, what depends on others may stand before them.
    while known < len(found.values):
        known = len(found.values)
        for each in found.space:
            if found.is_active(each):
                found.values[each.name] = each.default
    return dict(found.values)


@contextlib.contextmanager
def told(
    own: Callbacks, model: TransferModel, keeps_weights: bool = True
) -> Iterator[Callable[[Mapping[str, float]], None]]:
    """Gives what tells KerasTuner's callbacks, once, what the whole model is worth in the end.

    They can't follow the stages of a training, in some of which another model trains: one of them
    saves the weights of the epoch that it hears of, for `get_best_models` and `Hyperband`.

    Args:
        own: The callbacks.
        model: The model.
        keeps_weights: Whether the one that saves weights is told too.
    """
    own = [each for each in own if keeps_weights or not hasattr(each, "filepath")]
    for each in own:
        each.set_model(model)

    def tell(found: Mapping[str, float]) -> None:
        for each in own:
            each.on_epoch_end(0, dict(found))

    try:
        yield tell
    finally:
        for each in own:  # or they would hold the model while the next one is built
            each.set_model(None)


def worth(
    model: TransferModel, history: History, validation: Examples, judge: str, seed: int
) -> dict[str, float]:
    """What a model is worth on validation, by the names of Keras' reports.

    Args:
        model: The model.
        history: What trained it.
        validation: What it was judged by.
        judge: The name of what it is judged by.
        seed: Of the draw of examples, if there are too many to judge by all answers.
    """
    place, curves = history.best_epoch, history.history
    if place is None or not history.outcomes:
        return measured(model, validation, judge, seed)
    found = {
        name: each[place]
        for name, each in curves.items()
        if name.startswith("val_") and len(each) == history.epochs
    }
    return {**found, judge: float(history.outcomes[-1].value)}


def measured(model: TransferModel, validation: Examples, judge: str, seed: int) -> dict[str, float]:
    """As `worth`, of a model as it is, which no epoch of a training left.

    Args:
        model: The model.
        validation: What it is judged by.
        judge: The name of that.
        seed: As of `worth`.
    """
    rows = model.cut(validation)
    batches = model.preprocess(rows, FROZEN_BATCH, shuffle=False)
    logs = model.evaluate(batches, verbose=0, return_dict=True)
    found = {f"val_{name}": float(value) for name, value in logs.items()}
    heads = headlines.find(model, validation, rows, seed)
    found |= headlines.Judge(heads, sizes=dict.fromkeys(heads, 0)).values()
    name, _ = judging.monitor(model)
    return found if isinstance(name, str) else {**found, judge: float(name(found))}


def continued(plan: Plan) -> Plan:
    """A plan that goes on with what an earlier trial has trained.

    The head is trained by then, and the encoder thaws at once. Where it stays frozen nothing is
    left to do but to measure.

    Args:
        plan: Of the trial.
    """

    def later(usual: list[Stage]) -> list[Stage]:
        arranged = plan.arranged(usual)
        return [each for each in arranged if each.name == "fine_tuning"] or [Standing()]

    return dataclasses.replace(plan, stages=later)
