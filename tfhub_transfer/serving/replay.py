"""Exports asked as a server asks them, in a process that can't import this package.

    python -I replay.py session|native FOLDER...

It is run by its path, by `checking`, and needs TensorFlow, tensorflow-text and NumPy alone. In
`session` the export is loaded by TensorFlow's session loader; in `native` by its C interface, in
`libtensorflow_cc.so`, with the libraries of tensorflow-text: no Python of either is imported.

Each folder holds `version/`, a copy of an export; files `NAME.records`, TFRecord files of
`PredictionLog`s, with what is expected of them in `NAME.npz`: arrays by `RECORD/OUTPUT`; and
`signatures.json`, the names of tensors, and how far numbers may be from what is expected. Each
check is one line of JSON on standard output: the folder, whether it passed, what was seen.
"""

import ctypes
import importlib.util
import json
import math
import resource
import struct
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

# The package whose exports these are must not be needed.
_BARRED = "tfhub_transfer"
_LENGTH, _VARINT = 2, 0
# Of numbers of fewer digits the better of two classes may be the other one, now and then; and of
# one text alone, which is all that a request may hold, the better of two answers worth the same.
_EXACT, _MOST_OTHER = 1e-3, 0.05


# What rows are called whose answers hang on rounding.
UNSTEADY = "unsteady"

# Requests ----------------------------------------------------------------------------------------


def _fields(message: bytes) -> Iterator[tuple[int, Any]]:
    """The fields of a protocol buffer: numbers, with whole numbers or bytes."""
    place = 0
    while place < len(message):
        tag, place = _number(message, place)
        if tag & 7 == _VARINT:
            value, place = _number(message, place)
            yield tag >> 3, value
        elif tag & 7 == _LENGTH:
            length, place = _number(message, place)
            yield tag >> 3, message[place : place + length]
            place += length
        else:
            raise ValueError(f"a field of kind {tag & 7}")


def _number(message: bytes, place: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = message[place]
        value |= (byte & 127) << shift
        place, shift = place + 1, shift + 7
        if byte < 128:
            return value, place


def _one(message: bytes, number: int) -> Any:
    return next((value for field, value in _fields(message) if field == number), b"")


def request(record: bytes) -> tuple[str, dict[str, np.ndarray]]:
    """The signature of a `PredictionLog`, and strings by the names of inputs.

    Args:
        record: A `predict_log`, `classify_log` or `regress_log`.
    """
    asked = _one(_one(record, 6), 1)
    if not asked:
        asked = _one(_one(record, 2) or _one(record, 3), 1)
        listed = _one(_one(asked, 2), 1)
        examples = [value for field, value in _fields(listed) if field == 1]
        return _one(_one(asked, 1), 3).decode(), {"inputs": np.array(examples, object)}
    inputs = {}
    for entry in (value for field, value in _fields(asked) if field == 2):
        tensor = _one(entry, 2)
        sizes = [_one(d, 1) or 0 for field, d in _fields(_one(tensor, 2)) if field == 2]
        strings = [value for field, value in _fields(tensor) if field == 8]
        # Where all are equal only the first is written.
        strings += strings[-1:] * (math.prod(sizes) - len(strings))
        inputs[_one(entry, 1).decode()] = np.array(strings, object).reshape(sizes)
    return _one(_one(asked, 1), 3).decode(), inputs


def records_of(path: Path) -> Iterator[bytes]:
    """The records of a TFRecord file, without a look at its checksums.

    Args:
        path: The file.
    """
    data, place = path.read_bytes(), 0
    while place < len(data):
        (length,) = struct.unpack_from("<Q", data, place)
        yield data[place + 12 : place + 12 + length]
        place += length + 16  # a checksum of four bytes behind each


# The session loader ------------------------------------------------------------------------------


class ByLoader:
    """An export in a session of TensorFlow's Python."""

    name = "session loader"

    def __init__(self, version: Path, signatures: dict[str, Any] | None = None) -> None:
        del signatures  # they are read from the graph
        import tensorflow as tf
        import tensorflow_text  # noqa: F401  registers its operations

        loader = tf.compat.v1.saved_model.loader
        self._session = tf.compat.v1.Session(graph=tf.Graph())
        with self._session.graph.as_default():
            self._signatures = loader.load(self._session, ["serve"], str(version)).signature_def

    def ask(self, signature: str, inputs: Mapping[str, Any]) -> dict[str, np.ndarray]:
        """What a signature gives for strings `[n]`, or `[n, words]`, by the names of its inputs."""
        asked = self._signatures[signature]
        given = {asked.inputs[name].name: value for name, value in inputs.items()}
        fetched = {name: tensor.name for name, tensor in asked.outputs.items()}
        answers: dict[str, np.ndarray] = self._session.run(fetched, given)
        return answers

    def close(self) -> None:
        """Gives its memory back."""
        self._session.close()


# The C interface ---------------------------------------------------------------------------------


class _Output(ctypes.Structure):
    """`TF_Output`: an operation, and which of its outputs."""

    _fields_ = [("operation", ctypes.c_void_p), ("index", ctypes.c_int)]


_POINTER, _INT, _TEXT = ctypes.c_void_p, ctypes.c_int, ctypes.c_char_p
_SIZE, _PLACES = ctypes.c_size_t, ctypes.POINTER(ctypes.c_int64)
_OUTPUTS, _POINTERS = ctypes.POINTER(_Output), ctypes.POINTER(ctypes.c_void_p)
# tensorflow/c/c_api.h, tf_tensor.h, tf_tstring.h: what each gives and takes.
_FUNCTIONS: dict[str, tuple[Any, ...]] = {
    "TF_Version": (_TEXT,),
    "TF_NewStatus": (_POINTER,),
    "TF_GetCode": (_INT, _POINTER),
    "TF_Message": (_TEXT, _POINTER),
    "TF_LoadLibrary": (_POINTER, _TEXT, _POINTER),
    "TF_NewGraph": (_POINTER,),
    "TF_NewSessionOptions": (_POINTER,),
    "TF_LoadSessionFromSavedModel": (
        *(_POINTER, _POINTER, _POINTER, _TEXT, ctypes.POINTER(_TEXT), _INT, _POINTER, _POINTER),
        _POINTER,
    ),
    "TF_GraphOperationByName": (_POINTER, _POINTER, _TEXT),
    "TF_SessionRun": (
        *(None, _POINTER, _POINTER, _OUTPUTS, _POINTERS, _INT, _OUTPUTS, _POINTERS, _INT),
        *(_POINTERS, _INT, _POINTER, _POINTER),
    ),
    "TF_CloseSession": (None, _POINTER, _POINTER),
    "TF_DeleteSession": (None, _POINTER, _POINTER),
    "TF_AllocateTensor": (_POINTER, _INT, _PLACES, _INT, _SIZE),
    "TF_DeleteTensor": (None, _POINTER),
    "TF_TensorData": (_POINTER, _POINTER),
    "TF_TensorType": (_INT, _POINTER),
    "TF_NumDims": (_INT, _POINTER),
    "TF_Dim": (ctypes.c_int64, _POINTER, _INT),
    "TF_StringInit": (None, _POINTER),
    "TF_StringCopy": (None, _POINTER, _TEXT, _SIZE),
    "TF_StringDealloc": (None, _POINTER),
    "TF_StringGetDataPointer": (_POINTER, _POINTER),
    "TF_StringGetSize": (_SIZE, _POINTER),
}
# `TF_DataType` of what signatures give; a string takes 24 bytes (`TF_TString`).
_STRING, _STRING_BYTES = 7, 24
_TYPES = {1: np.float32, 2: np.float64, 3: np.int32, 9: np.int64, 10: np.bool_}


class _Library:
    """TensorFlow's C interface, with tensorflow-text's operations; each call raises what fails."""

    def __init__(self) -> None:
        tensorflow, texts = _folder("tensorflow"), _folder("tensorflow_text")
        (path,) = tensorflow.glob("libtensorflow_cc.*")
        self._c = ctypes.CDLL(str(path), mode=ctypes.RTLD_GLOBAL)
        for name, (gives, *takes) in _FUNCTIONS.items():
            function = getattr(self._c, name)
            function.restype, function.argtypes = gives, takes
        self.status = self._c.TF_NewStatus()
        self.operations = sorted(texts.glob("python/ops/_*.so"))
        for each in self.operations:
            self("TF_LoadLibrary", str(each).encode(), self.status)

    def __call__(self, name: str, *arguments: Any) -> Any:
        """Calls a function; `self.status` among its arguments says whether it worked."""
        found = getattr(self._c, name)(*arguments)
        if self.status in arguments and self._c.TF_GetCode(self.status):
            raise RuntimeError(self._c.TF_Message(self.status).decode("utf-8", "replace"))
        return found


def _folder(package: str) -> Path:
    """Where a package is, which isn't imported."""
    spec = importlib.util.find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        raise RuntimeError(f"{package} isn't installed")
    return Path(spec.submodule_search_locations[0])


class ByC:
    """An export in a session of TensorFlow's C interface."""

    name = "C interface"
    _library: _Library | None = None

    def __init__(self, version: Path, signatures: dict[str, Any]) -> None:
        ByC._library = ByC._library or _Library()
        self._call, self._signatures = ByC._library, signatures
        self._graph = self._call("TF_NewGraph")
        tags = (_TEXT * 1)(b"serve")
        self._session = self._call(
            "TF_LoadSessionFromSavedModel",
            *(self._call("TF_NewSessionOptions"), None, str(version).encode(), tags, 1),
            *(self._graph, None, self._call.status),
        )

    def ask(self, signature: str, inputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        """What a signature gives."""
        asked = self._signatures[signature]
        names = sorted(asked["outputs"])
        given = [self._output(asked["inputs"][name]) for name in inputs]
        fetched = [self._output(asked["outputs"][name]) for name in names]
        values = (_POINTER * len(given))(*(self._tensor(each) for each in inputs.values()))
        found = (_POINTER * len(fetched))()
        try:
            self._call(
                "TF_SessionRun",
                *(self._session, None, (_Output * len(given))(*given), values, len(given)),
                *((_Output * len(fetched))(*fetched), found, len(fetched)),
                *(None, 0, None, self._call.status),
            )
            return {name: self._array(each) for name, each in zip(names, found) if each}
        finally:
            for each in (*values, *filter(None, found)):
                self._call("TF_DeleteTensor", each)

    def close(self) -> None:
        """Gives its memory back."""
        for name in ("TF_CloseSession", "TF_DeleteSession"):
            self._call(name, self._session, self._call.status)

    def _output(self, tensor: str) -> _Output:
        name, _, index = tensor.partition(":")
        operation = self._call("TF_GraphOperationByName", self._graph, name.encode())
        if not operation:
            raise RuntimeError(f"the graph has no {name}")
        return _Output(operation, int(index or 0))

    def _tensor(self, strings: np.ndarray) -> int:
        shape = (ctypes.c_int64 * strings.ndim)(*strings.shape)
        size = strings.size * _STRING_BYTES
        tensor: int = self._call("TF_AllocateTensor", _STRING, shape, strings.ndim, size)
        place = self._call("TF_TensorData", tensor)
        for number, each in enumerate(strings.ravel()):
            self._call("TF_StringInit", place + number * _STRING_BYTES)
            self._call("TF_StringCopy", place + number * _STRING_BYTES, each, len(each))
        return tensor

    def _array(self, tensor: int) -> np.ndarray:
        rank = self._call("TF_NumDims", tensor)
        shape = [self._call("TF_Dim", tensor, each) for each in range(rank)]
        kind, place = self._call("TF_TensorType", tensor), self._call("TF_TensorData", tensor)
        count = math.prod(shape)
        if kind == _STRING:
            strings = [self._string(place + each * _STRING_BYTES) for each in range(count)]
            return np.array(strings, object).reshape(shape)
        dtype = np.dtype(_TYPES[kind])
        content = ctypes.string_at(place, count * dtype.itemsize) if count else b""
        return np.frombuffer(content, dtype).reshape(shape)

    def _string(self, place: int) -> bytes:
        size = self._call("TF_StringGetSize", place)
        return ctypes.string_at(self._call("TF_StringGetDataPointer", place), size)


# Checks ------------------------------------------------------------------------------------------


def sizes(expected: Mapping[str, np.ndarray]) -> dict[str, float]:
    """How large numbers of each output are, at least 1: rounding grows with what they are made of.

    Of a margin, the difference of two logits, only those of other texts tell that.

    Args:
        expected: Arrays by `RECORD/OUTPUT`.
    """
    found: dict[str, float] = {}
    for name, values in expected.items():
        if values.dtype.kind == "f":
            output = name.partition("/")[2]
            found[output] = max(found.get(output, 1.0), float(np.abs(values).max(initial=0)))
    return found


def difference(
    found: dict[str, np.ndarray],
    wanted: dict[str, np.ndarray],
    most: float,
    of: Mapping[str, float] | None = None,
    texts: np.ndarray | None = None,
    unsteady: np.ndarray | None = None,
) -> float:
    """The largest difference of numbers, in parts of how large they are.

    Args:
        found: Arrays by the names of outputs.
        wanted: What was expected.
        most: What is rounding.
        of: As of `sizes`; 1 if not given.
        texts: A number for each row, the same where its texts are.
        unsteady: Rows that aren't compared, bool `[n]`, since two answers are equally good.

    Raises:
        ValueError: If it is more than `most`, or something else differs.
    """
    if set(found) != set(wanted):
        raise ValueError(f"gives {sorted(found)}, not {sorted(wanted)}")
    largest = 0.0
    for name, expected in wanted.items():
        if found[name].shape != expected.shape:
            raise ValueError(f"{name} is {found[name].shape}, not {expected.shape}")
        given, rows = found[name], texts
        if unsteady is not None:
            given, expected = given[~unsteady], expected[~unsteady]
            rows = None if texts is None else texts[~unsteady]
        if expected.dtype.kind == "f":
            far = np.abs(given - expected) / (of or {}).get(name, 1.0)
            here = float(far.max(initial=0))
            if not here <= most:  # NaN is none either
                raise ValueError(f"{name} differs by {here:.2g}; at most {most:.2g} is rounding")
            largest = max(largest, here)
            continue
        strings = expected.dtype.kind == "S"
        other = (given.astype(bytes) if strings else given) != expected
        if other.any() and not (most > _EXACT and _is_rounding(other, rows)):
            place = tuple(np.argwhere(other)[0])
            seen = np.asarray(given[place]).item()
            raise ValueError(f"{name} is {seen!r}, not {expected[place].item()!r}")
    return largest


def _is_rounding(other: np.ndarray, texts: np.ndarray | None) -> bool:
    """Whether so little is other that rounding explains it: few values, or those of one text.

    What they are worth is compared apart, so that text has two answers that are worth the same.
    """
    if other.sum() <= _MOST_OTHER * other.size:
        return True
    if texts is None or other.shape[:1] != texts.shape:
        return False
    return len({*texts[np.argwhere(other)[:, 0]]}) == 1


def _texts(inputs: Mapping[str, np.ndarray]) -> np.ndarray:
    """A number for each row of a request, the same where its texts are."""
    rows = [tuple(np.ravel(each).tolist() for each in row) for row in zip(*inputs.values())]
    known = {repr(row): number for number, row in enumerate(rows)}
    return np.array([known[repr(row)] for row in rows])


def check(folder: Path, kind: type[ByLoader] | type[ByC]) -> Iterator[tuple[bool, str]]:
    """Loads an export and asks it all that there is to ask, with a line for each check.

    Args:
        folder: As the module says.
        kind: How it is loaded.
    """
    told = json.loads((folder / "signatures.json").read_text(encoding="utf-8"))
    start = time.perf_counter()
    try:
        session = kind(folder / "version", told["signatures"])
    except Exception as error:  # whatever a loader raises, the check is what failed
        yield False, f"{kind.name}: doesn't load ({error})"
        return
    yield True, f"{kind.name}: loads in {time.perf_counter() - start:.2f} s"
    for path in sorted(folder.glob("*.records")):
        yield _replay(path, session, told["most"])
    session.close()


def _replay(path: Path, session: ByLoader | ByC, most: float) -> tuple[bool, str]:
    """Asks the requests of a file."""
    loaded = dict(np.load(path.with_suffix(".npz")))
    unsteady = {n: rows for n, rows in loaded.items() if n.startswith(f"{UNSTEADY}/")}
    expected = {name: values for name, values in loaded.items() if name not in unsteady}
    of = sizes(expected)
    what, largest, slowest, number = f"{session.name}: {path.stem}", 0.0, 0.0, 0
    try:
        for number, record in enumerate(records_of(path), start=1):
            signature, inputs = request(record)
            start = time.perf_counter()
            found = session.ask(signature, inputs)
            slowest = max(slowest, time.perf_counter() - start)
            names = (name.partition("/")[2] for name in expected if name.startswith(f"{number}/"))
            wanted = {name: expected[f"{number}/{name}"] for name in names}
            try:
                rows = unsteady.get(f"{UNSTEADY}/{number}")
                here = difference(found, wanted, most, of, _texts(inputs), rows)
                largest = max(largest, here)
            except ValueError as error:
                return False, f"{what}: request {number}, {signature}: {error}"
    except Exception as error:  # as above
        return False, f"{what}: request {number} isn't answered ({error})"
    if not number:
        return False, f"{what}: there are none"
    said = f"{number} requests answered as by the model, numbers within {largest:.1e}"
    if unsteady:
        count = sum(int(rows.sum()) for rows in unsteady.values())
        said += f", without {count} answers that hang on rounding"
    return True, f"{what}: {said}, the slowest in {slowest:.3f} s"


def _memory() -> int:
    """Bytes that this process had in memory at most."""
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def main(arguments: list[str]) -> None:
    """Checks folders, one after the other.

    Args:
        arguments: `session` or `native`, and the folders.
    """
    # Whatever asks for it gets an `ImportError`.
    sys.modules[_BARRED] = None  # type: ignore[assignment]
    kind: type[ByLoader] | type[ByC] = ByC if arguments[0] == "native" else ByLoader
    for folder in map(Path, arguments[1:]):
        for passed, text in check(folder, kind):
            _say(folder, passed, text)
        imported = [name for name in sys.modules if name.startswith(f"{_BARRED}.")]
        text = f"{kind.name}: without this package, in {_memory() / 1e6:.0f} MB at most"
        _say(folder, not imported, text)


def _say(folder: Path, passed: bool, text: str) -> None:
    print(json.dumps([str(folder), passed, text]), flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
