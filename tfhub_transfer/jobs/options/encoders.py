"""The options of the commands on encoders themselves: `encoders`, `convert`."""

import dataclasses
from pathlib import Path

from tfhub_transfer.incoming import ranges
from tfhub_transfer.jobs.options.declaring import FOLDER, Trust, argument, option


@dataclasses.dataclass(frozen=True)
class EncodersJob:
    """The options of `encoders`."""

    json: bool = option(False, "as JSON")


@dataclasses.dataclass(frozen=True)
class ConvertJob(Trust):
    """The options of `convert`."""

    source: Path = argument(
        help="the folder of a Hugging Face BERT, DistilBERT or ELECTRA, or a text file of word "
        "vectors",
        metavar="SOURCE",
    )
    output: Path = option(help="the encoder", metavar="DIR")
    method: str = option(
        "auto",
        "bert: whole; static: a table of word-piece vectors; vectors: of words; default: "
        "%(default)s",
        choices=("auto", "bert", "static", "vectors"),
    )
    dimension: int | None = option(None, "of a static encoder", metavar="N", within=ranges.SIZE)
    overwrite: bool = option(False, FOLDER)
