"""KerasTuner's tuners as `tune` runs them: each trial noted, time kept, reasons in a line."""

import contextlib
import dataclasses
import functools
import gc
import io
import math
import time
import warnings
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import keras_tuner

from tfhub_transfer import progress
from tfhub_transfer.errors import InputError
from tfhub_transfer.incoming import ranges, usual
from tfhub_transfer.jobs.options.tuning import TRIALS, TuneJob
from tfhub_transfer.jobs.saying import say
from tfhub_transfer.jobs.searches.limits import Cut, Ending, Limits
from tfhub_transfer.jobs.searches.notes import PROJECT, TrialNotes
from tfhub_transfer.jobs.searches.worker import Remote
from tfhub_transfer.optimization import planning
from tfhub_transfer.private import keras_tuner_grid, keras_tuner_hyperband
from tfhub_transfer.reporting import searches
from tfhub_transfer.storage import budget
from tfhub_transfer.tuning import TransferHyperModel, records, trials

KINDS = {
    "bayesian": keras_tuner.BayesianOptimization,
    "random": keras_tuner.RandomSearch,
    "hyperband": keras_tuner.Hyperband,
    "grid": keras_tuner.GridSearch,
}
# What follows the search beside training and measuring, times what goes before it: files are read
# and the model is built once more, exported, its report drawn. It was 2.0 to 3.5 for 1,000 rows of
# SST-2 on a machine whose load changed meanwhile, with both packaged encoders.
_AFTER = 3.0
# Draws in place of a trial that doesn't fit; that many of twelve depths miss the one that does with
# a probability of 2e-4, and take milliseconds.
_DRAWS = 100
# The tuners whose trials may be any: a grid's are in order, and Hyperband's go on behind others.
_FREE = ("random", "bayesian")
# Of the trials of a Bayesian search so many are drawn at random, to begin with: as SMAC's default
# has it (Lindauer et al. 2022). KerasTuner's own is three times as many as there are settings,
# which of 20 trials over our 14 settings leaves none to be chosen by what is known.
_AT_RANDOM = 0.25
# Epochs of `Hyperband`'s longest trials, at least: of fewer there is nothing to choose between.
_FEWEST_EPOCHS = 3


def search(
    job: TuneJob,
    hypermodel: TransferHyperModel,
    objective: keras_tuner.Objective,
    notes: TrialNotes,
    times: tuple[float, float],
    ending: Ending,
    serve: Callable[..., None] | None = None,
) -> keras_tuner.Tuner:
    """Goes through the trials that there is time for.

    Args:
        job: What to do.
        hypermodel: What makes and trains each trial.
        objective: What they are judged by.
        notes: Where each is noted; those that are there aren't trained again.
        times: When the command began, and when it read its files, by `time.monotonic`.
        ending: What is known of the measuring of the test split.
        serve: What deals them out to other processes, instead of training them here; called with
            the oracle, what tells whether there is time, and what is to be called behind each.

    Raises:
        InputError: If none came to an end.
    """
    spent = max((float(each["ended"]) for each in notes.trials), default=0.0)
    last, opening = (2 if job.refit else 1) / hypermodel.trainings, time.monotonic() - times[1]
    most = job.trials if job.trials or job.minutes else TRIALS
    ending = dataclasses.replace(ending, last=last, beside=_AFTER * opening)
    limits = Limits(most, job.minutes, times[0], spent, ending, cuts=serve is None)
    made = _tuner(_Noted, job, hypermodel, objective, notes.place, limits.trials)
    made.notes, made.limits, hypermodel.keeps_weights = notes, limits, job.tuner == "hyperband"
    made.limits.taken = made.taken()
    if limits.cuts and job.tuner in _FREE:
        made.oracle.populate_space = _InTime(made.oracle, limits, notes)
    if not limits.leaves_time(notes.trials):
        made.stop()
    with progress.stage("Trials", limits.trials, final=False) as stage:
        made.stage = stage
        stage.done, stage.ends = len(notes.trials), limits.ends
        with _told_of_mistakes(notes.place), _collected_before():
            if serve is None:
                made.search(verbose=0)
            else:
                made.oracle.verbose = 0
                made.save()
                leaves_time = functools.partial(limits.leaves_time, notes.trials)
                serve(made.oracle, leaves_time, made.over)
    if not any(each["status"] == "COMPLETED" for each in notes.trials):
        reason = next((each["reason"] for each in notes.trials if each.get("reason")), "no trial")
        raise InputError(
            f"none of {len(notes.trials)} trials came to an end; search lower rates. "
            f"Received: {reason}"
        )
    return made


def work(
    job: TuneJob,
    hypermodel: TransferHyperModel,
    remote: Remote,
    scratch: Path,
    shared: Path | None,
) -> None:
    """Trains the trials that a chief deals out.

    Args:
        job: What to do, as the chief was told it.
        hypermodel: As the chief has it.
        remote: What asks the chief.
        scratch: A folder of one's own.
        shared: The chief's, if it is seen from here, for weights that later trials go on with.

    Raises:
        InputError: If there is a mistake in what it was told.
    """
    made = _tuner(_Apart, job, hypermodel, remote.objective, scratch, None)
    made.oracle = remote
    hypermodel.keeps_weights = shared is not None and job.tuner == "hyperband"
    made.directory = str(shared or scratch)
    try:
        with _told_of_mistakes(shared or scratch), _collected_before():
            made.search(verbose=0)
    except InputError as error:
        remote.say_mistake(str(error))
        raise


@contextlib.contextmanager
def _told_of_mistakes(place: Path) -> Iterator[None]:
    """Around a search: mistakes are ours to tell, and some warnings of KerasTuner's nobody's."""
    with warnings.catch_warnings():
        # Weights alone come back, to go on with; and of few trials little can be told.
        known = ("Skipping variable loading for optimizer", "The optimal value found for")
        for said in (*known, "All-NaN axis encountered"):  # which is told as a failed trial
            warnings.filterwarnings("ignore", said)
        try:
            yield
        except (keras_tuner.errors.FatalError, OSError) as error:
            if budget.is_full(error):
                raise InputError(
                    "no space is left on the disk for what a search notes and keeps; make room, "
                    "and the same command goes on behind the trials that are noted. "
                    f"Received: {place}"
                ) from error
            if isinstance(error, OSError):
                raise
            raise InputError(str(error)) from error


@contextlib.contextmanager
def _collected_before() -> Iterator[None]:
    """Around a search: KerasTuner collects garbage twice a trial, and looks through TensorFlow too.

    What is there by now is left out of that, which took half a second of each.
    """
    _leave_out()
    try:
        yield
    finally:
        gc.unfreeze()


def _leave_out() -> None:
    gc.collect()
    gc.freeze()


def longest(rows: int) -> int:
    """Epochs of `Hyperband`'s longest trials: as many as a training has where nobody says.

    Args:
        rows: What is trained on.
    """
    planned = planning.thawed(-(-rows // usual.BATCH_SIZE), None, None)
    return max(_FEWEST_EPOCHS, planned.epochs * planned.passes)


def _tuner(
    own: type,
    job: TuneJob,
    hypermodel: TransferHyperModel,
    objective: keras_tuner.Objective,
    place: Path,
    most_trials: int | None,
) -> Any:
    """The tuner, going on where its files are."""
    kind: Any = type("Own", (own, KINDS[job.tuner]), {})
    most: dict[str, Any] = {"max_trials": most_trials}
    if job.tuner == "hyperband":  # which goes round and round, until it is stopped
        most = {"max_epochs": longest(hypermodel.rows), "hyperband_iterations": None}
    with contextlib.redirect_stdout(io.StringIO()):  # it says that it reloads
        made = kind(
            hypermodel,
            objective=objective,
            # KerasTuner takes 0 for none; above the last one NumPy knows none.
            seed=job.seed % ranges.SEED[1] + 1,
            directory=str(place),
            project_name=PROJECT,
            # A trial that falls apart says nothing of the next one.
            max_consecutive_failed_trials=10**9,
            **most,
        )
    made.oracle.max_trials = most_trials
    if job.tuner == "grid":
        made.oracle.populate_space = _Grid(made.oracle)
    if job.tuner == "bayesian":
        made.oracle.num_initial_points = math.ceil(_AT_RANDOM * (most_trials or TRIALS))
        made.oracle.populate_space = _Untried(made.oracle)
    made.oracle.populate_space = _DefaultsFirst(made.oracle)
    return made


class _Grid:
    """All combinations in their order, whoever trains them, and wherever a search goes on."""

    def __init__(self, oracle: Any) -> None:
        self._oracle, self._first = oracle, oracle.populate_space

    def __call__(self, trial_id: str) -> dict[str, Any]:
        oracle = self._oracle
        if not oracle.start_order:
            found: dict[str, Any] = self._first(trial_id)
            return found
        last = oracle.trials[oracle.start_order[-1]].hyperparameters.values
        values = keras_tuner_grid.next_combination(oracle, last)
        if values is None:
            return {"status": "IDLE" if oracle.ongoing_trials else "STOPPED", "values": None}
        return {"status": "RUNNING", "values": values}


class _Untried:
    """Draws a trial at random in place of a Bayesian one that was tried already.

    A Gaussian process may hold the same values for the best again and again, of few choices above
    all, and goes on when all of them were tried.
    """

    def __init__(self, oracle: Any) -> None:
        self._oracle, self._draw = oracle, oracle.populate_space

    def __call__(self, trial_id: str) -> dict[str, Any]:
        oracle = self._oracle
        found: dict[str, Any] = self._draw(trial_id)
        tried = (each.hyperparameters.values for each in oracle.trials.values())
        if found["status"] != "RUNNING" or found["values"] not in tried:
            return found
        points, oracle.num_initial_points = oracle.num_initial_points, math.inf
        try:
            other: dict[str, Any] = self._draw(trial_id)
        finally:
            oracle.num_initial_points = points
        return other


class _DefaultsFirst:
    """The first trial is the defaults from its beginning: what is drawn beside it knows them."""

    def __init__(self, oracle: Any) -> None:
        self._oracle, self._draw = oracle, oracle.populate_space

    def __call__(self, trial_id: str) -> dict[str, Any]:
        found: dict[str, Any] = self._draw(trial_id)
        if found["status"] == "RUNNING" and not self._oracle.start_order:
            hp = self._oracle.get_space()
            hp.values = found["values"]
            found["values"] = trials.defaults(hp)
        return found


class _InTime:
    """Draws another trial in place of one that there is no time for, while a shorter one may fit.

    Else a search ended with the first draw that was too long: of 4 minutes 3 were taken.
    """

    def __init__(self, oracle: Any, limits: Limits, notes: TrialNotes) -> None:
        self._oracle, self._draw = oracle, oracle.populate_space
        self._limits, self._notes = limits, notes

    def __call__(self, trial_id: str) -> dict[str, Any]:
        found: dict[str, Any] = self._draw(trial_id)
        if found["status"] != "RUNNING" or self._fits(found["values"]):
            return found
        known = [each.hyperparameters.values for each in self._oracle.trials.values()]
        # As often as it is asked: what would be the best to try is the same again.
        others = keras_tuner.oracles.RandomSearchOracle(
            objective=self._oracle.objective,
            hyperparameters=self._oracle.get_space(),
            seed=self._oracle.seed + len(known),
        )
        for _ in range(_DRAWS):
            drawn: dict[str, Any] = others.populate_space(trial_id)
            values = drawn["values"]
            if drawn["status"] == "RUNNING" and values not in known and self._fits(values):
                return drawn
        return found

    def _fits(self, values: Mapping[str, Any]) -> bool:
        return self._limits.leaves_time(self._notes.trials, values)


class _Reasoned:
    """What is added to a tuner of KerasTuner's: a trial that fails says why in a line."""

    _reason: str | None

    def run_trial(self, trial: Any, *given: Any, **more: Any) -> Any:
        self._reason = None
        run: Any = super().run_trial  # type: ignore[misc]
        try:
            return run(trial, *given, **more)
        except Exception as error:
            if budget.is_full(error):  # to KerasTuner a failed trial, as all that follow would be
                raise keras_tuner.errors.FatalError(str(error)) from error
            if not isinstance(error, keras_tuner.errors.FailedTrialError):
                raise
            # Raised further, KerasTuner would print a traceback.
            self._reason = str(error)
            return self._worst()

    def _worst(self) -> dict[str, float]:
        objective = self.oracle.objective  # type: ignore[attr-defined]
        return {objective.name: math.inf if objective.direction == "min" else -math.inf}

    def on_trial_end(self, trial: Any) -> None:
        if searches.is_first(trial.trial_id):
            _leave_out()  # what was traced for it, which later ones have a use for
        if self._reason is not None:
            trial.status, trial.message = "FAILED", self._reason


class _Apart(_Reasoned):
    """A tuner whose trials another process notes."""

    def on_trial_end(self, trial: Any) -> None:
        super().on_trial_end(trial)
        self.oracle.end_trial(trial)  # type: ignore[attr-defined]


class _Noted(_Reasoned):
    """A tuner whose trials are noted here, whoever trains them."""

    notes: TrialNotes
    limits: Limits
    stage: progress.Stage
    _begun: bool

    def on_trial_begin(self, trial: Any) -> None:
        self._started = time.monotonic()

    def run_trial(self, trial: Any, *given: Any, **more: Any) -> Any:
        over = self.notes.trials
        self._begun = self.limits.leaves_time(over, trial.hyperparameters.values)
        if not self._begun:
            self._reason = "no time was left"
            return self._worst()
        if not self.limits.cuts:
            return super().run_trial(trial, *given, **more)
        cut = Cut(self.limits, over)
        found = super().run_trial(trial, *given, **{**more, "callbacks": [cut]})
        self._begun = not cut.is_late
        return found

    def on_trial_end(self, trial: Any) -> None:
        super().on_trial_end(trial)
        self.oracle.end_trial(trial)  # type: ignore[attr-defined]
        if not self._begun:  # which isn't noted: with more time the same command begins it
            self.stop()
            return
        self.over(trial.trial_id, time.monotonic() - self._started)

    def over(self, trial_id: str, seconds: float) -> None:
        """Notes a trial that is over.

        Args:
            trial_id: Its number.
            seconds: How long it took.
        """
        self.save()  # type: ignore[attr-defined]
        found = self.oracle.get_trial(trial_id)  # type: ignore[attr-defined]
        record = {**records.of_trial(found), "seconds": seconds, "ended": self.limits.elapsed}
        self.notes.note(record)
        if self.hypermodel.keeps_weights:  # type: ignore[attr-defined]
            self._forget_weights()
        self.limits.taken = self.taken()
        self.stage.add()
        say(_line(record, self.oracle.objective.name))  # type: ignore[attr-defined]
        if least := self.limits.minutes_at_least(self.notes.trials):
            say(
                f"WARNING: this trial, which is what `train` does, and the last training take some "
                f"{least:.1f} minutes together: more than `--minutes`, so no other trial follows"
            )
        if not self.limits.leaves_time(self.notes.trials):
            self.stop()

    def _forget_weights(self) -> None:
        """Removes those that no later round goes on with: an encoder is large."""
        oracle = self.oracle  # type: ignore[attr-defined]
        self.notes.forget_weights({*oracle.end_order} - keras_tuner_hyperband.may_go_on(oracle))

    def taken(self) -> str | None:
        """The trial that would be taken now; `None`, where none has come to its end."""
        if not trials.completed(self):
            return None
        name: str = self.hypermodel.best(self).trial  # type: ignore[attr-defined]
        return name

    def stop(self) -> None:
        """Lets no other trial begin."""
        oracle = self.oracle  # type: ignore[attr-defined]
        oracle.max_trials = max(1, len(oracle.trials))


def _line(record: Mapping[str, Any], judge: str) -> str:
    told = ", ".join(f"{name} {_short(v)}" for name, v in record["values"].items())
    result = f"{judge} {scored(record)}" if record["status"] == "COMPLETED" else "failed"
    reason = f": {record['reason']}" if record.get("reason") else ""
    name = record["trial"] + (", the defaults" if searches.is_first(record["trial"]) else "")
    return f"Trial {name}: {result}, {record['seconds']:.1f} s ({told}){reason}"


def scored(record: Mapping[str, Any]) -> str:
    """The score of a trial as it is said, with its spread if it has one.

    Args:
        record: What is known of the trial.
    """
    spread = record["spread"]
    return f"{record['score']:.4f}" + ("" if spread is None else f" (spread {spread:.4f})")


def _short(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
