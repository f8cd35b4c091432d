"""The options of `tune`: how to search, beside those of the data."""

import dataclasses
import time
from typing import ClassVar

from tfhub_transfer.incoming import ranges
from tfhub_transfer.jobs.options.declaring import Form, Trust, option
from tfhub_transfer.jobs.options.training import Labelled, Refitted, Settled, Start

TUNERS = ("bayesian", "random", "hyperband", "grid")
TRIALS = 20


@dataclasses.dataclass(frozen=True, init=False, repr=False, eq=False)
class Searching:
    """What is searched, how, and how long."""

    tuner: str = option(TUNERS[0], "default %(default)s", choices=TUNERS)
    trials: int | None = option(
        None,
        f"default {TRIALS}, or as many as `--minutes` leaves time for",
        metavar="N",
        within=ranges.TRIALS,
    )
    minutes: float | None = option(
        None, "for all of it, the last training too", metavar="X", within=ranges.MINUTES
    )
    folds: int | None = option(
        None,
        "parts of training and validation split together, each of which judges once; default: the "
        "validation split judges",
        metavar="K",
        within=ranges.FOLDS,
    )
    seeds: int = option(
        1,
        "trainings of each trial, or of each of its folds; default %(default)s",
        metavar="N",
        within=ranges.SEEDS,
    )
    search: str | None = option(
        None,
        "what to search, by the names of options of `train`, with commas; default: unfreeze, "
        "learning_rate, layer_decay, batch_size, pooling, hidden_units, dropout, "
        "head_learning_rate and towers, as far as encoder and task have them",
        metavar="NAME,NAME",
    )
    range: tuple[str, ...] | None = option(
        None,
        "search numbers in a range, such as learning_rate=1e-5:1e-3:log, or with a step "
        "dropout=0:0.4:0.2",
        metavar="NAME=LOW:HIGH",
    )
    choice: tuple[str, ...] | None = option(
        None, "search these values, such as pooling=mean,first", metavar="NAME=VALUE,VALUE"
    )
    fix: tuple[str, ...] | None = option(
        None, "leave at this value, such as dropout=0.1", metavar="NAME=VALUE"
    )
    objective: str | None = option(
        None,
        "what trials are judged by, as Keras calls it, such as val_loss; default: by task",
        metavar="METRIC",
    )
    workers: int = option(
        1,
        "on this machine, each with trials of its own, beside a chief: see docs/tuning.md; default "
        "%(default)s, without a chief",
        metavar="N",
        within=ranges.WORKERS,
    )


@dataclasses.dataclass(frozen=True)
class TuneJob(Searching, Labelled, Refitted, Form, Start, Settled, Trust):
    """The options of `tune`; see `tfhub-transfer tune --help`.

    Attributes:
        asked_at: When it was made, by `time.monotonic`: by the command line before all that takes
            long to import, which is part of `minutes`, too.
    """

    def __post_init__(self) -> None:
        object.__setattr__(self, "asked_at", time.monotonic())

    asked_at: ClassVar[float]  # no option
