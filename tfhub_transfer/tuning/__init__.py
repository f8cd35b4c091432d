"""Before a search, a range of learning rates; searches with KerasTuner that share what they can."""

from tfhub_transfer.tuning.found_rates import LearningRates
from tfhub_transfer.tuning.hypermodel import TransferHyperModel
from tfhub_transfer.tuning.luck import Choice, Scored
from tfhub_transfer.tuning.range_tests import find_learning_rate
from tfhub_transfer.tuning.reports import report_of
from tfhub_transfer.tuning.space import SEARCHED, SETTINGS, Range

__all__ = [
    "SEARCHED",
    "SETTINGS",
    "Choice",
    "LearningRates",
    "Range",
    "Scored",
    "TransferHyperModel",
    "find_learning_rate",
    "report_of",
]
