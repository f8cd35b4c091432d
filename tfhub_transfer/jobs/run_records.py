"""What a run recorded of itself, given back to models and reports."""

import json
from typing import Any

from tfhub_transfer.models.transfer import TransferModel
from tfhub_transfer.reporting.reports import jsonable
from tfhub_transfer.training import histories

# What reports have elsewhere.
_TOLD = ("history", "histories", "outcomes", "seconds", "profile", "alone")


def as_text(record: dict[str, Any]) -> str:
    """A record as its file holds it."""
    return json.dumps(jsonable(record), indent=1) + "\n"


def curves(model: TransferModel) -> dict[str, Any]:
    """The curves of a training as a record has them: those of each of several tasks, too.

    Args:
        model: The model that was trained.
    """
    found: dict[str, Any] = {"history": model.history_}
    if model.task.several:
        found["histories"] = {name: single.history_ for name, single in model.parts.items()}
    return found


def recall(model: TransferModel, record: dict[str, Any]) -> None:
    """Gives a model that was loaded back the curves of its training.

    Args:
        model: The model; of several tasks each gets its own.
        record: What its training recorded; nothing, where there is no record.
    """
    model.history_ = histories.of_record(record.get("history"))
    if model.task.several:
        known = record.get("histories")
        for name, single in model.parts.items():
            own = known.get(name) if isinstance(known, dict) else None
            single.history_ = histories.of_record(own)


def describe(report: Any, record: dict[str, Any]) -> None:
    """Adds to a report, or to those of several tasks, how and on what was trained.

    Args:
        report: A `Report` or a `JointReport`.
        record: What the training recorded.
    """
    known = {name: value for name, value in record.items() if name not in _TOLD}
    profile = record.get("profile", "")
    for name, single in report.reports.items() if hasattr(report, "reports") else [("", report)]:
        own = profile.get(name, "") if isinstance(profile, dict) else profile
        single.setup, single.profile = known, own if isinstance(own, str) else ""
