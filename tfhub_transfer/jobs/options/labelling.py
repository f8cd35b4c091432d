"""The options of the command that asks which texts to label."""

import dataclasses
from pathlib import Path
from typing import ClassVar

from tfhub_transfer.incoming import ranges
from tfhub_transfer.jobs.options.declaring import PAIR, Form, Trust, option

TASKS = ("classification", "multi-label")
FORMATS = ("csv", "label-studio", "doccano")


@dataclasses.dataclass(frozen=True)
class LabelJob(Form, Trust):
    """The options of `label`.

    Attributes:
        GROUPS: Those that are for labels that are given elsewhere.
    """

    GROUPS: ClassVar[dict[str, tuple[str, ...]]] = {"other tools": ("format", "answers", "label")}

    data: str = option(help="a table, or texts line by line: a .txt file", metavar="FILE")
    output: Path = option(
        help="a .csv, .tsv or .jsonl file of texts and labels; one that `label` began is gone on "
        "with",
        metavar="FILE",
    )
    task: str = option("classification", "default: %(default)s", choices=TASKS)
    labels: str | None = option(
        None, "the classes, with commas between; default: any that are typed", metavar="A,B,C"
    )
    budget: int | None = option(
        None, "end with so many labels; default: with the texts", metavar="N", within=ranges.SIZE
    )
    batch: int = option(20, "chosen at a time; default %(default)s", within=ranges.BATCH)
    text: str | None = option(
        None, "default: text, or text_a and text_b of pairs", metavar="COLUMN"
    )
    text_pair: str | None = option(None, PAIR, metavar="COLUMN")
    strategy: str = option(
        "auto",
        "how texts are chosen; default: typical ones, and later close calls",
        choices=("auto", "typical", "margin", "clustered-margin", "random"),
    )
    random_share: float = option(
        0.1,
        "of the texts, drawn at random to measure; default %(default)s",
        metavar="X",
        within=(0.0, ranges.BELOW_ONE),
        closed=True,
    )
    encoder: str = option(
        "auto", "or what `train` wrote; default: %(default)s, packaged", metavar="NAME|HANDLE|DIR"
    )
    seed: int = option(0, "default %(default)s", metavar="N", within=ranges.SEED)
    format: str | None = option(
        None,
        "write a batch to a file beside the output, to be labelled there",
        choices=FORMATS,
    )
    answers: str | None = option(
        None, "such a file come back: CSV, JSON of Label Studio, JSON lines", metavar="FILE"
    )
    label: str | None = option(None, "of the answers; default: label, or labels", metavar="COLUMN")
