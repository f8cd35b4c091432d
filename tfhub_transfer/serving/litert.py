"""Models out for LiteRT (TensorFlow Lite): ids in and scores out, on phones and small machines."""

import re
import warnings
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from tfhub_transfer import progress, runtime
from tfhub_transfer.errors import InputError
from tfhub_transfer.graphs import portable, surgery
from tfhub_transfer.incoming import choices, ranges
from tfhub_transfer.models import answers
from tfhub_transfer.models.transfer import TransferModel
from tfhub_transfer.runtime import precision_choice
from tfhub_transfer.serving import elsewhere, side_files
from tfhub_transfer.serving.elsewhere import Run
from tfhub_transfer.serving.signatures import with_arguments
from tfhub_transfer.shapes import Features
from tfhub_transfer.storage import opening, retention
from tfhub_transfer.storage.scratch import temporary
from tfhub_transfer.texts.joining import WORD_STARTS

FLOAT32, FLOAT16, INT8, ALL = "float32", "float16", "int8", "all"
_CALIBRATED = "int8_calibrated"
FILES = "*.tflite"
PRECISIONS = (FLOAT32, FLOAT16, INT8, ALL)
MASK = "input_mask"
_SIGNATURE = "serving_default"
# Rows of which half tell the range of activations; more of them hardly change it.
_MOST_ROWS = 400
# Of these so many are answered, to see that it can.
_TRIED = 20
_FORMS: portable.Forms = {"EnsureShape": tf.identity, "Erf": portable.erf}
_WHOLE: portable.Forms = {
    **_FORMS,
    "Erf": portable.erf_without_division,
    "RealDiv": portable.quotient_without_division,
}


def export_litert(
    model: TransferModel,
    folder: str | Path,
    precision: str = FLOAT32,
    calibration: Any = None,
    keep: int | None = None,
) -> Path:
    """Writes the next version of a model for LiteRT, with all that is needed to ask it.

    `float32.tflite`, or by another precision, has the signature `serving_default`: one row of ids
    of any length, `input_word_ids`, `input_mask` and `input_type_ids` int32 `[1, length]`, for
    words and sentences also `word_starts` int32 `[1, units]`, in towers `[1, 2, length]`; to
    `scores` float32 `[1, ...]`, as the model itself gives them, for similarity vectors of length 1
    `[1, 2, dimension]`. A model of several tasks gives `NAME_scores` for each.
    `model.json` says what it reads and gives, with the settings of the task; `wordpiece.py`, in
    plain Python, makes the ids with `vocab.txt`; `labels.txt` has the classes.

    Args:
        model: A trained model, with an encoder of word pieces.
        folder: The model's folder; versions are numbered folders in it, `1` first.
        precision: `"float32"` answers as the model does; `"float16"` is half as large, `"int8"` a
            quarter: weights are whole numbers, what is computed with them depends on each text.
            `"all"` writes a file of each.
        calibration: Texts, as for `predict_text`, or `Examples`; by name for several tasks. With
            these `"int8"` computes in whole numbers throughout, as some accelerators want it, in
            ranges that these texts show, which costs more accuracy; it takes ids without padding
            alone, whose mask it can't tell.
        keep: As of `export_saved_model`.

    Returns:
        The folder of the version, which appears whole or not at all.

    Raises:
        InputError: If the encoder reads texts, the model has an operation that LiteRT lacks, such
            as the loop of an LSTM, `calibration` isn't for `"int8"`, it's given for towers, or
            `folder` can't be written.

    Example:

    >>> export_litert(model, "out/litert", "int8")
    PosixPath('out/litert/1')
    """
    choices.one_of("precision", precision, PRECISIONS)
    keep = None if keep is None else ranges.whole_number("keep", keep, *ranges.VERSIONS)
    if calibration is not None and precision not in (INT8, ALL):
        raise InputError(
            "`calibration` (`--calibrate`) is for `precision` int8 or all; leave it out. "
            f"Received: precision={precision!r}"
        )
    retention.require_alike(opening.path_of(folder), FILES)
    side_files.check(model, "LiteRT")
    if calibration is not None and side_files.is_apart(model.layout.inputs(model.encoder)):
        raise InputError(
            "in towers the shorter text is padded, which whole numbers throughout can't hide; "
            "leave `calibration` (`--calibrate`) out. "
            f"Received: the {model.task.name} task in towers"
        )
    rows = [] if calibration is None else _of_one_length(list(_rows(model, calibration)))
    made = _converted(model, _wanted(precision, bool(rows)), rows)

    def write(scratch: Path) -> None:
        for name, content in made.items():
            (scratch / f"{name}.tflite").write_bytes(content)
        files = {f"{name}.tflite": {"bytes": len(content)} for name, content in made.items()}
        side_files.write(model, scratch, files)

    return versions_of(folder, write, keep)


def versions_of(folder: str | Path, write: Callable[[Path], None], keep: int | None) -> Path:
    """Writes the next version, whole or not at all, and removes what is older than the newest.

    Args:
        folder: That of the versions.
        write: Fills the empty folder that it is given.
        keep: How many stay; all if `None`.

    Raises:
        InputError: If it can't be written.
    """
    try:
        return retention.next_version(opening.path_of(folder), write, keep)
    except OSError as error:
        raise InputError(f"the export failed. Received: {folder} ({error})") from error


def load(file: Path) -> Run:
    """What a file answers, asked row by row.

    Args:
        file: A `.tflite` that `export_litert` wrote.

    Returns:
        Takes ids `[rows, ...]` by name, and gives scores of each row `[rows, ...]` by name.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it will move to a package of its own
        asked = tf.lite.Interpreter(str(file)).get_signature_runner(_SIGNATURE)

    def run(ids: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        rows = len(next(iter(ids.values())))
        made = [
            # What it gives is its own memory, which the next row takes.
            {k: v.copy() for k, v in asked(**_row(ids, row)).items()}
            for row in range(rows)
        ]
        return {name: np.concatenate([each[name] for each in made]) for name in made[0]}

    return run


def _row(ids: Mapping[str, np.ndarray], row: int) -> dict[str, np.ndarray]:
    """One row without the padding behind it.

    What whole numbers hold of scores in attention has no room for that which hides padding.
    """
    one = {name: value[row : row + 1] for name, value in ids.items()}
    length = max(1, int(one[MASK].sum(axis=-1).max()))
    # Units have a length of their own, and an answer each.
    return {n: value if n == WORD_STARTS else value[..., :length] for n, value in one.items()}


def _wanted(precision: str, calibrated: bool) -> list[str]:
    if precision == ALL:
        return [FLOAT32, FLOAT16, INT8, *([_CALIBRATED] if calibrated else [])]
    return [_CALIBRATED if precision == INT8 and calibrated else precision]


def _rows(model: TransferModel, given: Any) -> Iterator[dict[str, np.ndarray]]:
    """Rows of texts as a model's inputs `[1, ...]`, what only another task reads being empty."""
    texts = given if model.task.several else {"": given}
    for name, each in texts.items():
        part = model.parts[name]
        asked = part.layout.in_units(answers.asked(part.layout, each))
        columns = part.cut(asked).examples.texts
        for row in _evenly(len(columns[0])):
            made = part.layout.batch(*(tf.constant([column[row]]) for column in columns))
            yield _row(elsewhere.filled(side_files.input_specs(model, 1), made), 0)


def _of_one_length(rows: list[dict[str, np.ndarray]]) -> list[dict[str, np.ndarray]]:
    """Those of median length or more, cut to it: between two lengths the converter trips."""
    lengths = [row[MASK].shape[-1] for row in rows]
    length = sorted(lengths)[len(lengths) // 2]

    def cut(name: str, value: np.ndarray) -> np.ndarray:
        if name == WORD_STARTS:
            return np.where(value < length, value, 0)[..., :length]
        return np.concatenate([value[..., : length - 1], value[..., -1:]], axis=-1)

    return [
        {name: cut(name, value) for name, value in row.items()}
        for row, own in zip(rows, lengths)
        if own >= length
    ]


def _evenly(count: int) -> list[int]:
    """Which of so many rows are looked at."""
    return sorted({*np.linspace(0, count - 1, min(count, _MOST_ROWS)).astype(int).tolist()})


def _converted(
    model: TransferModel, wanted: list[str], rows: list[dict[str, np.ndarray]]
) -> dict[str, bytes]:
    """The files' contents by precision."""
    made = {}
    with temporary() as scratch, progress.part("LiteRT", len(wanted)) as steps:
        for name in wanted:
            graph = scratch / ("whole" if name == _CALIBRATED else "plain")
            if not graph.exists():
                _write_graph(model, graph, _WHOLE if name == _CALIBRATED else _FORMS)
            made[name] = _convert(graph, name, rows)
            steps.add()
    if _CALIBRATED in made:
        _require_numbers(made[_CALIBRATED], rows)
    return made


def _require_numbers(content: bytes, rows: list[dict[str, np.ndarray]]) -> None:
    """Refuses what fails, or gives no numbers, of texts that it was calibrated with."""
    with temporary() as scratch:
        file = scratch / "whole.tflite"
        file.write_bytes(content)
        run = load(file)
        try:
            found = [run(row) for row in rows[:_TRIED]]
            reason = "answers that are no numbers"
        except (RuntimeError, ValueError) as error:
            found, reason = [], " ".join(str(error).split())[:200]
    if not found or not all(np.isfinite(x).all() for each in found for x in each.values()):
        raise InputError(
            "LiteRT can't compute this model in whole numbers throughout; leave `calibration` "
            f"(`--calibrate`) out. Received: {reason}"
        )


def _write_graph(model: TransferModel, folder: Path, forms: portable.Forms) -> None:
    """A SavedModel of plain operations, in float32: what the converter reads."""
    specs = side_files.input_specs(model, 1)

    def call(ids: Features) -> Mapping[str, tf.Tensor]:
        return side_files.named_scores(model, ids)

    try:
        with runtime.precision(FLOAT32), precision_choice.without_gradients():
            plain = portable.rewritten(call, specs, [w.value for w in model.weights], forms)
    except surgery.NotFlat as error:
        raise InputError(
            "LiteRT takes models that only compute, without loops; train with another `block` "
            f"(`--block`), or export with `export_saved_model`. Received: {error}"
        ) from error
    served = tf.Module()
    served.call = tf.function(
        with_arguments(plain, list(specs)), input_signature=[*specs.values()], autograph=False
    )
    traced = served.call.get_concrete_function()
    served.read = [*traced.variables]
    tf.saved_model.save(served, str(folder), signatures={_SIGNATURE: traced})


def _convert(graph: Path, precision: str, rows: list[dict[str, np.ndarray]]) -> bytes:
    converter = tf.lite.TFLiteConverter.from_saved_model(str(graph))
    if precision != FLOAT32:
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
    if precision == FLOAT16:
        converter.target_spec.supported_types = [tf.float16]
    if precision == _CALIBRATED:
        converter.representative_dataset = lambda: iter(rows)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            content: bytes = converter.convert()
    except Exception as error:  # of a class that is private
        lacking = re.findall(r"TF Select ops: (.+)", str(error))
        reason = ", ".join(lacking) or " ".join(str(error).split())[:200]
        raise InputError(
            "LiteRT lacks operations of this model; export it with `export_saved_model`, or train "
            f"with another encoder or block. Received: {reason}"
        ) from error
    return content
