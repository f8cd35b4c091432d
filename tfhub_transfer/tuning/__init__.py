"""Searches with KerasTuner that share what the trials of one encoder have in common."""

from tfhub_transfer.tuning.hypermodel import TransferHyperModel
from tfhub_transfer.tuning.reports import report_of
from tfhub_transfer.tuning.space import SEARCHED, SETTINGS, Range

__all__ = ["SEARCHED", "SETTINGS", "Range", "TransferHyperModel", "report_of"]
