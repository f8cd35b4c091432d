"""The options of the commands that make exports."""

import dataclasses
from pathlib import Path

from tfhub_transfer.incoming import ranges
from tfhub_transfer.jobs.options.declaring import (
    Columns,
    Form,
    Searched,
    Trust,
    argument,
    option,
)

SAVED_MODEL, LITERT, ONNX = "saved_model", "litert", "onnx"


@dataclasses.dataclass(frozen=True)
class ExportJob(Columns, Form, Searched, Trust):
    """The options of `export`."""

    folder: Path = argument(help="what `train` wrote, or a .keras file", metavar="DIR")
    output: Path = option(
        help="a folder of versions, which gets the next one: 1, 2, ...", metavar="SERVING"
    )
    precision: str = option(
        "auto", choices=("auto", "float32", "float16", "bfloat16", "int8", "all")
    )
    format: str = option(
        SAVED_MODEL,
        "for TF Serving, with texts in; or ids in: LiteRT for phones, ONNX",
        choices=(SAVED_MODEL, LITERT, ONNX),
    )
    data: str | None = option(
        None, "labelled: of ids in, how good each file is, beside the model", metavar="FILE"
    )
    calibrate: str | None = option(
        None, "labelled: of litert in int8, what whole numbers are to hold", metavar="FILE"
    )
    name: str | None = option(
        None, "what a server calls the model; default: as before, or the folder's", metavar="NAME"
    )
    top_k: int | None = option(
        None, "give the K likeliest classes too, not only all", metavar="K", within=ranges.CLASSES
    )
    keep: int | None = option(
        None,
        "remove older versions that this package wrote, but for the N newest",
        metavar="N",
        within=ranges.VERSIONS,
    )


@dataclasses.dataclass(frozen=True)
class CheckExportJob(Trust):
    """The options of `check-export`."""

    folder: Path = argument(help="what `train` wrote, or an export of --model", metavar="DIR")
    model: Path | None = option(
        None, "the model that was exported: what `train` wrote, or a .keras file", metavar="DIR"
    )
