"""What a tuner of KerasTuner's found, as a report with a page."""

from typing import Any

import keras_tuner

from tfhub_transfer.errors import InputError
from tfhub_transfer.reporting import search_reports
from tfhub_transfer.reporting.search_reports import SearchReport
from tfhub_transfer.tuning import luck, records
from tfhub_transfer.tuning.hypermodel import TransferHyperModel


def report_of(tuner: keras_tuner.Tuner) -> SearchReport:
    """What a search found: scores, what each setting does, what the default got, why trials failed.

    Any tuner has such a report, also of another hypermodel; the default is known of
    `TransferHyperModel`, whose first trial it is. KerasTuner doesn't note how long trials took, so
    they stand in the order of their ends.

    Args:
        tuner: The tuner, once it has searched.

    Returns:
        The report; its `save` writes a page.

    Raises:
        InputError: If it is no tuner, or no trial is over.

    Example:

    >>> report_of(tuner).save("tuning.html")
    PosixPath('tuning.html')
    """
    oracle = getattr(tuner, "oracle", None)
    if oracle is None:
        raise InputError(
            "expected a tuner of KerasTuner's, which has searched. Received: "
            f"{type(tuner).__name__}"
        )
    over = [oracle.trials[name] for name in oracle.end_order if name in oracle.trials]
    if not over:
        raise InputError(
            "no trial of this search is over; call `search` first. Received: "
            f"{len(oracle.trials)} trials"
        )
    told = {
        "objective": oracle.objective.name,
        "direction": oracle.objective.direction,
        "log": logarithmic(tuner),
    }
    noted = [records.of_trial(trial) for trial in over]
    if isinstance(getattr(tuner, "hypermodel", None), TransferHyperModel):
        told["default"] = None  # the first one is it
        told["noise"] = luck.noise([each["scores"] for each in noted if each["scores"]])
    return search_reports.of_records(noted, told)


def logarithmic(tuner: Any) -> list[str]:
    """The settings of which each power of ten is as likely, by name.

    Args:
        tuner: The tuner.
    """
    space = tuner.oracle.get_space().space
    return sorted({each.name for each in space if getattr(each, "sampling", None) == "log"})
