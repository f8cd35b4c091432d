"""The options of the command that looks for what is wrong with data."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path

from tfhub_transfer.incoming import ranges
from tfhub_transfer.jobs.options.declaring import FOLDER, PAIR, Form, Trust, argument, option
from tfhub_transfer.jobs.options.training import TASKS


@dataclasses.dataclass(frozen=True)
class CheckJob(Form, Trust):
    """The options of `check`."""

    data: str = argument(
        help="labelled, as for training: CSV, TSV, JSONL, CoNLL, Parquet or tfds:NAME/SPLIT",
        metavar="FILE",
    )
    output: Path = option(help="suspects.csv, check.html and check.json", metavar="DIR")
    validation: str | None = option(
        None, "what training is judged by, to be looked at, too", metavar="FILE", sides=True
    )
    test: str | None = option(
        None, "what is measured on, to be looked at, too", metavar="FILE", sides=True
    )
    model: Path | None = option(
        None,
        "what `train` wrote: its answers say which labels of validation and test are in doubt",
        metavar="DIR",
    )
    task: str | None = option(None, "default: told by the labels", choices=TASKS[:-1])
    encoder: str = option(
        "auto",
        "of vectors; one that wasn't trained on these labels; default: %(default)s, packaged",
        metavar="NAME|HANDLE|DIR",
    )
    text: str | None = option(None, "default: text, or text_a and text_b", metavar="COLUMN")
    text_pair: str | None = option(None, PAIR, metavar="COLUMN")
    negative: str | None = option(None, "a third text, as for training", metavar="COLUMN")
    label: str | Sequence[str] | None = option(
        None, "default: label, or score; several of 0 and 1", metavar="COLUMN[,COLUMN]"
    )
    label_separator: str | None = option(
        None, "between names in a label of several; default |", metavar="TEXT"
    )
    class_names: str | Sequence[str] | None = option(
        None, "classes, in the order of numbers as labels", metavar="NAME,NAME"
    )
    sequence_length: int | None = option(
        None,
        "most tokens of a text; default: the model's, or as for training",
        metavar="N",
        within=ranges.SEQUENCE_LENGTH,
    )
    seed: int = option(
        0, "of folds and draws; default %(default)s", metavar="N", within=ranges.SEED
    )
    overwrite: bool = option(False, FOLDER)
