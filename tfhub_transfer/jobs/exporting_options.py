"""The options of the commands that make exports."""

import dataclasses
from pathlib import Path

from tfhub_transfer.jobs.options import Trust, argument, option


@dataclasses.dataclass(frozen=True)
class ExportJob(Trust):
    """The options of `export`."""

    folder: Path = argument(help="what `train` wrote, or a .keras file", metavar="DIR")
    output: Path = option(
        help="a folder of versions, which gets the next one: 1, 2, ...", metavar="SERVING"
    )
    precision: str = option("auto", choices=("auto", "float32", "bfloat16", "int8"))
    top_k: int | None = option(
        None, help="give the K likeliest classes too, not only all", metavar="K"
    )
    keep: int | None = option(
        None,
        help="remove older versions that this package wrote, but for the N newest",
        metavar="N",
    )
