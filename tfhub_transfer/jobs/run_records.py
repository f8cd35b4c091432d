"""What a run recorded of itself, given back to models and reports."""

import json

from tfhub_transfer.models.encoding import Record
from tfhub_transfer.models.transfer import TransferModel
from tfhub_transfer.reporting.joint_reports import JointReport
from tfhub_transfer.reporting.reports import Report, jsonable
from tfhub_transfer.training import histories

# What reports have elsewhere.
_TOLD = ("history", "histories", "outcomes", "seconds", "profile", "alone", "learning_curve")


def as_text(record: Record) -> str:
    """A record as its file holds it."""
    return json.dumps(jsonable(record), indent=1) + "\n"


def curves(model: TransferModel) -> Record:
    """The curves of a training as a record has them: those of each of several tasks, too.

    Args:
        model: The model that was trained.
    """
    found: Record = {"history": model.history_}
    if model.task.several:
        found["histories"] = {name: single.history_ for name, single in model.parts.items()}
    return found


def recall(model: TransferModel, record: Record) -> None:
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


def describe(report: Report | JointReport, record: Record) -> None:
    """Adds to a report, or to those of several tasks, how and on what was trained.

    Args:
        report: The report.
        record: What the training recorded.
    """
    known = {name: value for name, value in record.items() if name not in _TOLD}
    profile = record.get("profile", "")
    reports = report.reports if isinstance(report, JointReport) else {"": report}
    for name, single in reports.items():
        own = profile.get(name, "") if isinstance(profile, dict) else profile
        single.setup, single.profile = known, own if isinstance(own, str) else ""
