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
        help="the folder of a Hugging Face BERT or one of its like, or a text file of word vectors",
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
    prompt: str | None = option(
        None,
        "what precedes a text by itself: the name of one of a sentence-transformers folder's "
        'prompts, or any text, "" for none; default: what the folder says',
        metavar="TEXT",
    )
    overwrite: bool = option(False, FOLDER)
