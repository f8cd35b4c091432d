"""What is noted of a trial of KerasTuner's that is over."""

import math
from typing import Any

from tfhub_transfer.reporting import searches
from tfhub_transfer.tuning import luck, repeats, trials

# What KerasTuner's traceback has before the reason of a trial that fell apart.
_REASON = "FailedTrialError: "


def of_trial(trial: Any) -> dict[str, Any]:
    """What is known of a trial that is over, without numbers that JSON can't say.

    Args:
        trial: The trial, of any tuner.

    Returns:
        By the names in `trials.jsonl`, without `seconds` and `ended`, which KerasTuner doesn't
        note. One whose score is no number has failed; `reason` is there where there is one.
    """
    score = trial.score
    done = trial.status == searches.COMPLETED and math.isfinite(score)
    scores = trials.scores_of(trial) if done else ()
    told = repeats.without_scores(trials.metrics_of(trial)) if done else {}
    found = {
        "trial": trial.trial_id,
        "status": searches.COMPLETED if done else "FAILED",
        "score": score if done else None,
        "scores": [*scores],
        "spread": luck.spread(scores),
        "standard_error": luck.standard_error(scores),
        "values": dict(trial.hyperparameters.values),
        "metrics": {name: v if math.isfinite(v) else None for name, v in told.items()},
    }
    reason = _reason(trial.message or "")
    if not (done or reason or score is None):
        reason = f"its score is no number: {score}"
    return {**found, "reason": reason} if reason else found


def _reason(message: str) -> str:
    """Why a trial failed: the end of the traceback, if it is one that KerasTuner keeps."""
    lines = message.strip().splitlines()
    last = lines[-1] if lines else ""
    return last.partition(_REASON)[2] or last
