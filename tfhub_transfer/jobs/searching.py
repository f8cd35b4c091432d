"""KerasTuner's tuners as `tune` runs them: each trial noted, time kept, reasons in a line."""

import contextlib
import io
import math
import time
import warnings
from collections.abc import Mapping
from typing import Any

import keras_tuner

from tfhub_transfer import progress
from tfhub_transfer.errors import InputError
from tfhub_transfer.incoming import usual
from tfhub_transfer.jobs.saying import say
from tfhub_transfer.jobs.trial_notes import Trial, TrialNotes
from tfhub_transfer.jobs.tuning_options import TRIALS, TuneJob
from tfhub_transfer.optimization import planning
from tfhub_transfer.tuning import TransferHyperModel, luck, repeats, trials
from tfhub_transfer.tuning.space import ENCODER

KINDS = {
    "bayesian": keras_tuner.BayesianOptimization,
    "random": keras_tuner.RandomSearch,
    "hyperband": keras_tuner.Hyperband,
    "grid": keras_tuner.GridSearch,
}
# What follows the search beside a training, times what goes before it: files are read and the model
# is built once more, measured and exported. It was 8 for 1,000 rows of SST-2, packaged encoder.
_AFTER = 8.0
# Epochs of `Hyperband`'s longest trials, at least: of fewer there is nothing to choose between.
_FEWEST_EPOCHS = 3


class Limits:
    """When a search ends.

    Args:
        trials: The most trials, if there is such a number.
        minutes: For all of it, the last training too.
        started: When this run began, by `time.monotonic`.
        spent: Seconds that earlier runs of the same search took.
        last: How many times as long as a trial the last training is.
        beside: Seconds for what else there is to do at the end.
    """

    def __init__(
        self,
        trials: int | None,
        minutes: float | None,
        started: float,
        spent: float = 0.0,
        last: float = 1.0,
        beside: float = 0.0,
    ) -> None:
        self.trials = trials if trials or minutes else TRIALS
        self._seconds = math.inf if minutes is None else 60.0 * minutes
        self._started, self._last, self._beside = started - spent, last, beside

    @property
    def elapsed(self) -> float:
        """Seconds that the search has taken so far, over all its runs."""
        return time.monotonic() - self._started

    def leaves_time(self, over: list[Trial], values: Mapping[str, Any] | None = None) -> bool:
        """Whether there is time for another trial, and for the last training.

        Args:
            over: What is known of the trials that are over.
            values: Those of the trial, if they are known: how far the encoder thaws says most of
                how long one takes. Else it may be as short as the shortest so far.
        """
        if not over:
            return True
        seconds = [float(each["seconds"]) for each in over]
        following = min(seconds)
        if values is not None:
            alike = [each for each in over if _depth(each["values"]) == _depth(values)]
            following = max([float(each["seconds"]) for each in alike] or seconds)
        # The last training is one of them again, perhaps of the longest.
        ahead = following + max(seconds) * self._last + self._beside
        return self.elapsed + ahead < self._seconds


def _depth(values: Mapping[str, Any]) -> dict[str, Any]:
    """How far the encoder thaws in a trial, and which, if there are several."""
    return {n: v for n, v in values.items() if n.startswith((ENCODER, "unfreeze"))}


def search(
    job: TuneJob,
    hypermodel: TransferHyperModel,
    objective: keras_tuner.Objective,
    notes: TrialNotes,
    started: float,
) -> keras_tuner.Tuner:
    """Goes through the trials that there is time for.

    Args:
        job: What to do.
        hypermodel: What makes and trains each trial.
        objective: What they are judged by.
        notes: Where each is noted; those that are there aren't trained again.
        started: When the command began, by `time.monotonic`.

    Raises:
        InputError: If none came to an end.
    """
    spent = max((float(each["ended"]) for each in notes.trials), default=0.0)
    last, opening = (2 if job.refit else 1) / hypermodel.trainings, time.monotonic() - started
    limits = Limits(job.trials, job.minutes, started, spent, last, _AFTER * opening)
    made = _tuner(job, hypermodel, objective, notes, limits)
    if not limits.leaves_time(notes.trials):
        made.stop()
    with warnings.catch_warnings(), progress.stage("Trials", limits.trials, final=False) as stage:
        # Weights alone come back, to go on with; and of few trials little can be told.
        for said in ("Skipping variable loading for optimizer", "The optimal value found for"):
            warnings.filterwarnings("ignore", said)
        made.stage = stage
        stage.done = len(notes.trials)
        try:
            made.search(verbose=0)
        except keras_tuner.errors.FatalError as error:
            raise InputError(str(error)) from error
    if not any(each["status"] == "COMPLETED" for each in notes.trials):
        reason = next((each["reason"] for each in notes.trials if each.get("reason")), "no trial")
        raise InputError(
            f"none of {len(notes.trials)} trials came to an end; search lower rates. "
            f"Received: {reason}"
        )
    return made


def longest(rows: int) -> int:
    """Epochs of `Hyperband`'s longest trials: as many as a training has where nobody says.

    Args:
        rows: What is trained on.
    """
    planned = planning.thawed(-(-rows // usual.BATCH_SIZE), None, None)
    return max(_FEWEST_EPOCHS, planned.epochs * planned.passes)


def _tuner(
    job: TuneJob,
    hypermodel: TransferHyperModel,
    objective: keras_tuner.Objective,
    notes: TrialNotes,
    limits: Limits,
) -> Any:
    """The tuner, going on where its files are."""
    kind: Any = type("Noted", (_Noted, KINDS[job.tuner]), {})
    most: dict[str, Any] = {"max_trials": limits.trials}
    if job.tuner == "hyperband":  # which goes round and round, until it is stopped
        most = {"max_epochs": longest(hypermodel.rows), "hyperband_iterations": None}
    with contextlib.redirect_stdout(io.StringIO()):  # it says that it reloads
        made = kind(
            hypermodel,
            objective=objective,
            seed=job.seed + 1,  # KerasTuner takes 0 for none
            directory=str(notes.place),
            project_name=notes.project.name,
            # A trial that falls apart says nothing of the next one.
            max_consecutive_failed_trials=10**9,
            **most,
        )
    made.oracle.max_trials = limits.trials
    made.notes, made.limits, made.keeps_weights = notes, limits, job.tuner == "hyperband"
    return made


class _Noted:
    """What is added to a tuner of KerasTuner's."""

    notes: TrialNotes
    limits: Limits
    stage: progress.Stage
    keeps_weights: bool

    def run_trial(self, trial: Any, *given: Any, **more: Any) -> Any:
        self._started, self._reason = time.monotonic(), None
        self._begun = self.limits.leaves_time(self.notes.trials, trial.hyperparameters.values)
        if not self._begun:
            self._reason = "no time was left"
            return self._worst()
        run: Any = super().run_trial  # type: ignore[misc]
        try:
            return run(trial, *given, **more)
        except keras_tuner.errors.FailedTrialError as error:
            # Raised further, KerasTuner would print a traceback.
            self._reason = str(error)
            return self._worst()

    def _worst(self) -> dict[str, float]:
        objective = self.oracle.objective  # type: ignore[attr-defined]
        return {objective.name: math.inf if objective.direction == "min" else -math.inf}

    def on_trial_end(self, trial: Any) -> None:
        if self._reason is not None:
            trial.status, trial.message = "FAILED", self._reason
        super().on_trial_end(trial)  # type: ignore[misc]
        if not self._begun:  # which isn't noted: with more time the same command begins it
            self.stop()
            return
        if not self.keeps_weights:
            for path in self.notes.project.glob(f"trial_{trial.trial_id}/*.h5"):
                path.unlink()
        found = self.oracle.get_trial(trial.trial_id)  # type: ignore[attr-defined]
        record = _record(found, time.monotonic() - self._started, self.limits.elapsed)
        self.notes.note(record)
        self.stage.add()
        say(_line(record, self.oracle.objective.name))  # type: ignore[attr-defined]
        if not self.limits.leaves_time(self.notes.trials):
            self.stop()

    def stop(self) -> None:
        """Lets no other trial begin."""
        oracle = self.oracle  # type: ignore[attr-defined]
        oracle.max_trials = max(1, len(oracle.trials))


def _record(trial: Any, seconds: float, ended: float) -> Trial:
    """What is known of a trial that is over."""
    done = trial.status == "COMPLETED"
    scores = trials.scores_of(trial) if done else ()
    found: Trial = {
        "trial": trial.trial_id,
        "status": trial.status,
        "score": trial.score,
        "scores": [*scores],
        "spread": luck.spread(scores),
        "standard_error": luck.standard_error(scores),
        "values": dict(trial.hyperparameters.values),
        "metrics": repeats.without_scores(trials.metrics_of(trial)) if done else {},
        "seconds": seconds,
        "ended": ended,
    }
    # The message of one that failed by another error ends with what that was.
    reason = (trial.message or "").strip().splitlines()[-1:]
    return {**found, "reason": reason[0]} if reason else found


def _line(record: Mapping[str, Any], judge: str) -> str:
    told = ", ".join(f"{name} {_short(v)}" for name, v in record["values"].items())
    result = f"{judge} {scored(record)}" if record["status"] == "COMPLETED" else "failed"
    reason = f": {record['reason']}" if record.get("reason") else ""
    return f"Trial {record['trial']}: {result}, {record['seconds']:.1f} s ({told}){reason}"


def scored(record: Mapping[str, Any]) -> str:
    """The score of a trial as it is said, with its spread if it has one.

    Args:
        record: What is known of the trial.
    """
    spread = record["spread"]
    return f"{record['score']:.4f}" + ("" if spread is None else f" (spread {spread:.4f})")


def _short(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
