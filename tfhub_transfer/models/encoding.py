"""Texts to vectors, by whatever has an encoder in it."""

import io
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO, TypeAlias, TypedDict, cast

import numpy as np

from tfhub_transfer import data, progress, runtime
from tfhub_transfer.data import reading
from tfhub_transfer.data.usual_columns import TEXT
from tfhub_transfer.encoders import registry
from tfhub_transfer.encoders.encoder import Encoder
from tfhub_transfer.encoders.preprocessing import Truncation
from tfhub_transfer.errors import InputError
from tfhub_transfer.models.building import build_model, load_model
from tfhub_transfer.models.transfer import EVALUATION_BATCH, TransferModel
from tfhub_transfer.reporting.contents import LearningCurve
from tfhub_transfer.storage import atomic, opening, records
from tfhub_transfer.tasks import Regression
from tfhub_transfer.texts import joining

MODEL_FILE = "model.keras"
RECORD_FILE = "training.json"
_GRAPH = "saved_model.pb"
_NPY = b"\x93NUMPY"


class ColumnNames(TypedDict, total=False):
    """What columns of a file are called, by what they hold, as `data.read` takes it."""

    text: str | None
    text_pair: str | None
    negative: str | None
    label: str | Sequence[str] | None


class Record(TypedDict, total=False):
    """What a training records of itself; of one that was read only the first three are checked.

    Attributes:
        arguments: The options of the job.
        columns: The names of the columns; of several tasks such names for each.
        precision: What the model computes in.
        seed: What everything started from.
        measured: What `--precision auto` was decided by.
        versions: Of the libraries.
        encoder: Handle, fingerprint before the training, and what it was tuned from.
        truncation: How much of the texts was cut off.
        padding: The share of padding among the tokens.
        seconds: Of each stage.
        plan: What was planned, in words.
        outcomes: What became of each stage.
        calibration: How scores of classes were scaled, and what rows left out say of it.
        limits: What `conformalize` found, and on how many rows.
        scope: What `learn_scope` was asked of.
        history: The curves.
        histories: Those of each of several tasks.
        profile: The data on one screen; of several tasks one for each.
        alone: What each of several tasks reached by itself.
        learning_curve: What more labels would bring.
    """

    arguments: Mapping[str, object]
    columns: "ColumnNames | Mapping[str, ColumnNames]"
    precision: str
    seed: int
    measured: Mapping[str, object] | None
    versions: Mapping[str, object]
    encoder: Mapping[str, object]
    truncation: Mapping[str, object] | None
    padding: float | None
    seconds: dict[str, float]
    plan: Mapping[str, object]
    outcomes: Sequence[object]
    calibration: object
    learning_curve: LearningCurve | None
    limits: object
    scope: object
    history: object
    histories: object
    profile: object
    alone: dict[str, dict[str, object]]


# Whatever texts can be encoded with.
Encodes: TypeAlias = registry.Named | Encoder | TransferModel


def encode_text(
    source: Encodes,
    texts: Iterable[str],
    normalize: bool = False,
    batch_size: int = EVALUATION_BATCH,
    trust_code: bool = False,
) -> np.ndarray:
    """The vector of each text, without a task in between.

    Args:
        source: A model, a `.keras` file or the folder that `train` wrote, or an encoder, also by
            its name, handle or folder.
        texts: Single texts.
        normalize: Whether to give vectors of length 1, whose products are cosines, so that a
            search is one matrix product. A similarity model's are so in any case.
        batch_size: Rows in a batch.
        trust_code: Whether a SavedModel may hold operations that do more than compute; see
            `Encoder`.

    Returns:
        Float32 `[n, dimension]`.

    Raises:
        InputError: If there is no such model or encoder, or no text.

    Example:

    >>> library = encode_text("auto", ["How do I pay?", "Where is my parcel?"], normalize=True)
    >>> (library @ encode_text("auto", ["paying"], normalize=True).T).argmax(axis=0)
    array([0])
    """
    return vector_model(source, trust_code).encode_text(texts, batch_size, normalize)


@progress.stage("Loading", final=False)
def vector_model(source: Encodes, trust_code: bool = False, pair: bool = False) -> TransferModel:
    """A model that encodes as `source` does; of an encoder one without a task.

    Args:
        source: As for `encode_text`.
        trust_code: As for `encode_text`.
        pair: Whether the model of an encoder reads pairs of texts; one that is a model already
            stays as it is.

    Raises:
        InputError: If there is no such model or encoder.
    """
    if isinstance(source, TransferModel):
        return source
    if not isinstance(source, Encoder):
        file = None if isinstance(source, registry.EncoderSource) else model_file(source)
        if file is not None:
            return load_model(file, trust_code)
        source = Encoder(source, trust_code=trust_code)
    # Any task, it isn't asked.
    return build_model(source, Regression(mean=0.0, deviation=1.0, pair=pair))


def model_file(source: str | os.PathLike[str]) -> Path | None:
    """The file of the model that something names; `None` if it names an encoder.

    Args:
        source: A `.keras` file, the folder that `train` wrote, or an encoder.
    """
    path = opening.path_of(source)
    within = path / MODEL_FILE
    if within.exists():
        return within
    return path if str(source).endswith(".keras") else None


class Vectors:
    """Vectors of every text of a file, or of standard input, in order and without holding it.

    Going through it once gives chunks of texts, each with its vectors float32 `[n, dimension]`.

    Args:
        model: What encodes.
        chunks: The texts.
        normalize: As for `encode_text`.
        precision: What the model computes in.
        read: The table that the texts come from, if it is one.

    Attributes:
        source: What is read.
        cut: How much of the texts was cut off so far.
    """

    def __init__(
        self,
        model: TransferModel,
        source: str | data.File,
        chunks: Iterator[list[str]],
        normalize: bool = False,
        precision: str = "auto",
        read: data.Stream | None = None,
    ) -> None:
        self.source, self.cut = source, Truncation(0, 0, 0)
        self._read, self._length = read, model.sequence_length
        self._made = self._encoded(model, chunks, normalize, precision)

    def __iter__(self) -> Iterator[tuple[list[str], np.ndarray]]:
        return self._made

    @property
    def notes(self) -> list[str]:
        """What a reader of the vectors must know, of those so far."""
        notes = list(self._read.notes) if self._read else []
        return [*notes, f"at {self._length} tokens {self.cut}"] if self.cut.texts else notes

    def _encoded(
        self, model: TransferModel, chunks: Iterator[list[str]], normalize: bool, precision: str
    ) -> Iterator[tuple[list[str], np.ndarray]]:
        for texts in chunks:
            # Not beyond a yield: whoever reads has their own.
            with progress.step("Encoding"), runtime.precision(precision, model.encoder.dimension):
                vectors = model.encode_text(texts, normalize=normalize)
            self.cut += model.truncation or Truncation(0, len(texts), 0)
            yield texts, vectors


def encode_file(
    source: str,
    file: str | data.File,
    text: str | None = None,
    normalize: bool = False,
    trust_code: bool = False,
) -> Vectors:
    """Vectors of every text of a file, or of standard input, in order and without holding it.

    Args:
        source: As for `encode_text`.
        file: A table as for training, a `.txt` file with one text a line, or `-` for the lines of
            standard input.
        text: The table's column of texts; the training's if not given, if there is one of its name,
            else `text`.
        normalize: As for `encode_text`.
        trust_code: As for `encode_text`.

    Returns:
        The vectors, computed while they are gone through.

    Raises:
        InputError: If one of them is unusable.
    """
    record = read_record(opening.path_of(source))
    trained = text_column(record)
    if reading.is_lines(file):
        if text:
            reading.refuse_columns([text], file)
        read, chunks = None, reading.line_chunks(file, columns=[trained])
    else:
        table = reading.Table(file, reading.Asked(labels=False))
        usual = next((name for name in (trained, TEXT) if name and table.holds(name)), None)
        read = data.stream(table, text=text or usual, require_label=False)
        chunks = _column(read)
    model = vector_model(source, trust_code)
    return Vectors(model, file, chunks, normalize, precision_of(record), read)


def write_vectors(
    chunks: Iterable[tuple[list[str], np.ndarray]],
    output: Path,
    overwrite: bool = False,
    inputs: Sequence[str] = (),
) -> int:
    """Writes vectors as a `.npy` file, float32 `[n, dimension]`, whole or not at all.

    Args:
        chunks: What `encode_file` gives.
        output: The file, for `numpy.load`.
        overwrite: Whether a `.npy` file that is there may be replaced.
        inputs: What is read, which is never replaced.

    Returns:
        How many vectors there are.

    Raises:
        InputError: If it isn't named `.npy`, is there already, can't be written, or there are no
            texts.
    """
    if output.suffix != ".npy" or output.is_dir():
        raise InputError(f"the output must be a `.npy` file. Received: {output}")
    atomic.check_file(output, _NPY, overwrite, inputs)
    try:
        with atomic.file(output) as scratch:
            count = _write_rows(chunks, scratch)
            if not count:
                raise InputError("expected at least one text. Received: none")
    except OSError as error:
        raise InputError(f"the file can't be written. Received: {output} ({error})") from error
    return count


def _write_rows(chunks: Iterable[tuple[list[str], np.ndarray]], path: Path) -> int:
    """Writes vectors as they come, so that no more than a chunk of them is in memory."""
    count = width = 0
    with (
        open(path, "wb") as file,
        progress.stage("Encoding", unit="texts", final=False) as stage,
    ):
        _write_shape(file, count, width)
        for _, vectors in chunks:
            file.write(np.ascontiguousarray(vectors, "<f4").data)
            count, width = count + len(vectors), vectors.shape[1]
            stage.add(len(vectors))
        file.seek(0)
        _write_shape(file, count, width)
    return count


def _write_shape(file: IO[bytes], count: int, width: int) -> None:
    """How a `.npy` file begins; as long whatever the shape, as NumPy leaves room for large ones."""
    header = io.BytesIO()
    told = {"descr": "<f4", "fortran_order": False, "shape": (count, width)}
    np.lib.format.write_array_header_1_0(header, told)
    file.write(header.getvalue())


def read_record(folder: Path) -> Record:
    """What `train` recorded beside a model; nothing if it recorded nothing.

    Args:
        folder: The folder of the model.

    Raises:
        InputError: If the record is damaged.
    """
    path = folder / RECORD_FILE
    if not path.exists():
        return {}
    try:
        known = records.read(path)
        for key in ("columns", "arguments"):
            records.take(known, key, dict, path)
        _check_columns(known.get("columns") or {}, path)
        runtime.check_precision(records.take(known, "precision", str, path, "auto"))
    except InputError as error:
        raise InputError(
            f"the record of the training is damaged; give the `.keras` file itself ({error})"
        ) from error
    return cast(Record, {key: value for key, value in known.items() if value is not None})


def precision_of(record: Record) -> str:
    """What a model computes in: as in its training, so that answers are those of its export.

    Args:
        record: What its training recorded; nothing, where there is no record.
    """
    return record.get("precision", "auto")


def no_model(folder: Path) -> InputError:
    """What to raise of a folder that isn't one of a model: what it is instead, and what to give.

    Args:
        folder: What was given.
    """
    what = f"no {MODEL_FILE} there"
    if not folder.exists():
        what = "no such folder"
    elif any((folder / name).is_file() for name in (_GRAPH, f"1/{_GRAPH}")):
        what = "this is an encoder or an export, which is no model to train or measure"
    elif (folder / "report.json").is_file():
        what = "this is a report"
    # An export's version lies two folders below the model's.
    for around in folder.parents[:2]:
        if (around / MODEL_FILE).is_file():
            return InputError(f"{what}; the model is in {around}: give that. Received: {folder}")
    return InputError(
        f"{what}; expected a folder that `tfhub-transfer train` wrote, or a `.keras` file. "
        f"Received: {folder}"
    )


def _check_columns(columns: Mapping[str, object], path: Path) -> None:
    """Names of columns by what they hold; of several tasks such names by task."""
    for name, column in columns.items():
        if isinstance(column, dict):
            _check_columns(column, path)
        elif name not in ColumnNames.__annotations__ or not (
            isinstance(column, str | None) or (name == "label" and _are_names(column))
        ):
            raise InputError(f"a column's name is expected. Received: {name}: {column!r} in {path}")


def _are_names(column: object) -> bool:
    """Whether it is what Python may give for several label columns."""
    return isinstance(column, list) and all(isinstance(each, str) for each in column)


def _column(stream: data.Stream) -> Iterator[list[str]]:
    if stream.is_pair:
        raise InputError(
            "one column of texts is encoded: name it with `text` (`--text`). "
            f"Received: {stream.source}, which has pairs"
        )
    return (list(map(joining.spaced, chunk.texts[0])) for chunk in stream)


def text_column(record: Record) -> str | None:
    """The column of texts that a model was trained on, if it has one.

    Args:
        record: What its training recorded.
    """
    column = record.get("columns", {}).get("text")
    return column if isinstance(column, str) else None
