"""Searches with KerasTuner that share what the trials of one encoder have in common."""

from tfhub_transfer.tuning.hypermodel import TransferHyperModel
from tfhub_transfer.tuning.luck import Choice, Scored
from tfhub_transfer.tuning.space import SEARCHED, SETTINGS, Range

__all__ = ["SEARCHED", "SETTINGS", "Choice", "Range", "Scored", "TransferHyperModel"]
