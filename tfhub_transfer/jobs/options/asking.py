"""The options of the commands that ask: `evaluate`, `predict`, `encode`."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

from tfhub_transfer.incoming import ranges
from tfhub_transfer.jobs.options.declaring import (
    FOLDER,
    SLICE,
    Columns,
    Drawn,
    Form,
    Searched,
    Sharded,
    Trust,
    argument,
    names_of,
    option,
)

_MODEL = "what `train` wrote, or a .keras file"
_SOURCE = "a table as for training, or texts line by line: a .txt file, or standard input (default)"
_LINES = "default: JSON lines on stdout"
STANDARD_INPUT = "-"
_SHARDS = {"shards": names_of(Sharded)}


@dataclasses.dataclass(frozen=True)
class EvaluateJob(Columns, Form, Searched, Trust):
    """The options of `evaluate`."""

    folder: Path = argument(help=_MODEL, metavar="DIR")
    data: str = option(help="labelled, as for training", metavar="FILE", sides=True)
    output: Path = option(help="the report", metavar="DIR")
    negative: str | None = option(None, "a third text, as for training", metavar="COLUMN")
    slice: str | Sequence[str] | None = option(None, SLICE, metavar="COLUMN[,COLUMN]")
    overwrite: bool = option(False, FOLDER)


@dataclasses.dataclass(frozen=True)
class PredictJob(Columns, Form, Drawn, Sharded, Trust):
    """The options of `predict`.

    Attributes:
        GROUPS: Those of shards.
    """

    GROUPS: ClassVar[dict[str, tuple[str, ...]]] = _SHARDS

    folder: Path = argument(help=_MODEL, metavar="DIR")
    source: str = argument(STANDARD_INPUT, _SOURCE, metavar="FILE|-")
    task: str | None = option(None, "of a model of several tasks", metavar="NAME")
    neighbours: int | None = option(
        None,
        "beside each answer, the N labelled texts that are nearest to it",
        metavar="N",
        within=ranges.NEIGHBOURS,
    )
    neighbours_from: str | None = option(
        None,
        "labelled, as for training; default: the training's own, if it is still there",
        metavar="FILE",
        sides=True,
    )
    descriptions: Path | None = option(
        None,
        "classes of which nothing is labelled yet, in JSON, a text or several by class: DIR is an "
        "encoder then, and the nearest is the answer",
        metavar="FILE",
    )
    output: Path | None = option(
        None,
        f"a .jsonl, .csv, .tsv or .parquet file, of shards a folder; {_LINES}",
        metavar="FILE",
    )
    overwrite: bool = option(False, "replace the output")


@dataclasses.dataclass(frozen=True)
class EncodeJob(Form, Sharded, Trust):
    """The options of `encode`.

    Attributes:
        GROUPS: Those of shards.
    """

    GROUPS: ClassVar[dict[str, tuple[str, ...]]] = _SHARDS

    model: str = argument(help="what `train` wrote, or an encoder", metavar="DIR|ENCODER")
    source: str = argument(STANDARD_INPUT, _SOURCE, metavar="FILE|-")
    text: str | None = option(
        None, "of a table; default: the training's, else text", metavar="COLUMN"
    )
    normalize: bool = option(False, "to length 1, so that products are cosines")
    output: Path | None = option(
        None, f"a .npy file, of shards a folder; {_LINES}", metavar="vectors.npy"
    )
    overwrite: bool = option(False, "replace the output")
