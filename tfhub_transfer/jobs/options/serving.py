"""The options of the command that serves."""

import dataclasses
from pathlib import Path

from tfhub_transfer.jobs.options.declaring import Trust, argument, option


@dataclasses.dataclass(frozen=True)
class ServeJob(Trust):
    """The options of `serve`."""

    folder: Path = argument(help="what `train` or `export` wrote, or a .keras file", metavar="DIR")
    host: str = option("127.0.0.1", "0.0.0.0 for all that can reach it", metavar="ADDRESS")
    port: int = option(8501, "default %(default)s; 0: any that is free", within=(0, 65_535))
    name: str | None = option(
        None, "the model's, in paths; default: that of a kit beside the export, or model"
    )
    batch_size: int = option(
        64, "most texts that are answered at once; default %(default)s", within=(1, 4096)
    )
    timeout: float = option(
        60.0, "seconds that an answer may take; default %(default)s", within=(0.0, 3600.0)
    )
