"""The options of `compare`."""

import dataclasses
from pathlib import Path

from tfhub_transfer.incoming import ranges
from tfhub_transfer.jobs.options.declaring import argument, option

_REPORT = "what `train`, `tune` or `evaluate` wrote"


@dataclasses.dataclass(frozen=True)
class CompareJob:
    """The options of `compare`."""

    first: Path = argument(help=_REPORT, metavar="DIR")
    second: Path = argument(help=f"the other: {_REPORT}", metavar="DIR")
    output: Path | None = option(
        None,
        "all answers that changed: a .jsonl, .csv, .tsv or .parquet file",
        metavar="FILE",
    )
    show: int = option(
        5, "answers that changed, shown; default %(default)s", metavar="N", within=(0, 1000)
    )
    seed: int = option(0, "of the bootstrap; default %(default)s", metavar="N", within=ranges.SEED)
    overwrite: bool = option(False, "replace a FILE that is there")
