"""Reports of searches by KerasTuner's own tuners."""

import json
from pathlib import Path
from typing import Any

import keras_tuner
import pytest

import tfhub_transfer as tt


class Quick(keras_tuner.RandomSearch):
    """Trials that train nothing."""

    def run_trial(self, trial: Any, *given: Any, **more: Any) -> float:
        if trial.trial_id == "2":
            raise keras_tuner.errors.FailedTrialError("it fell apart")
        return float(trial.hyperparameters.values["share"])


def _space(hp: Any) -> None:
    hp.Float("rate", 1e-4, 1e-2, sampling="log")
    hp.Float("share", 0.0, 1.0)


def test_any_tuner_has_a_report(tmp_path: Path) -> None:
    tuner = Quick(
        _space, keras_tuner.Objective("value", "min"), 5, seed=1, directory=tmp_path / "search"
    )
    with pytest.raises(tt.InputError, match="no trial of this search is over; call"):
        tt.tuning.report_of(tuner)
    tuner.search(verbose=0)
    report = tt.tuning.report_of(tuner)
    search = report.search
    assert search.low and search.log == {"rate"} and report.default is None
    assert [trial.name for trial in search.trials] == ["0", "1", "2", "3", "4"]
    assert [trial.reason for trial in search.failed] == ["it fell apart"]
    [best] = tuner.oracle.get_best_trials(1)
    assert report.best is not None and report.best.score == best.score
    assert report.best.values == best.hyperparameters.values
    page = report.save(tmp_path / "page" / "tuning.html")
    assert "it fell apart" in page.read_text("utf-8")
    with pytest.raises(tt.InputError, match="expected a tuner of KerasTuner's"):
        tt.tuning.report_of(json)  # type: ignore[arg-type]
