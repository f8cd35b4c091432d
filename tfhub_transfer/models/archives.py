"""What a `.keras` file must be before Keras opens it; files are sent by others.

Nothing here runs, links or allocates what the file says: the archive, its configuration and the
shapes of its stored weights are only looked at.
"""

import contextlib
import io
import math
import re
import stat
import zipfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import IO, Protocol, TypeAlias

import h5py
import keras
import numpy as np
import tensorflow as tf

from tfhub_transfer.encoders import recorded
from tfhub_transfer.errors import InputError
from tfhub_transfer.incoming import choices
from tfhub_transfer.storage import opening, records

CONFIG, METADATA, WEIGHTS = "config.json", "metadata.json", "model.weights.h5"
_ENCODER, _PREPROCESSOR = "assets/layers/encoder/", "assets/preprocessor/"
_NEEDED = (CONFIG, METADATA, WEIGHTS, f"{_ENCODER}saved_model.pb")
# What else there may be: a model of several tasks keeps a preprocessor for each, and what it saw
# and how far texts lie from that.
_ASSETS = re.compile(r"assets/(layers/encoder|(models/\w+/)?(preprocessor|seen|scope))/")
_PART = re.compile(r"[^\x00-\x1f\x7f/\\:]{1,255}")
_ZIP = b"PK\x03\x04"
_MOST_MEMBERS = 1000
_CHUNK = 1 << 20
# Where classes and functions of Keras may come from that a saved model of this package names: what
# it is compiled with. Its layers are made by the package, so no layer is ever named.
_KERAS_MODULES = (
    "keras.activations",
    "keras.initializers",
    "keras.losses",
    "keras.metrics",
    "keras.optimizers",
    "keras.optimizers.schedules",
    "keras.regularizers",
)
_KERAS_OBJECTS = {("keras", "DTypePolicy")}
_MOST_OBJECTS = 100_000
# Shape and type of an array.
Stored: TypeAlias = "tuple[tuple[int, ...], np.dtype]"
# Variables that a model may have beside those in its file: an optimizer that never ran keeps up to
# three numbers for each weight, and small ones, such as counters, cost nothing worth counting.
_TIMES_STORED, _BESIDE = 5, 1 << 20


class Archive:
    """A `.keras` file that was checked, with what it was checked for.

    Attributes:
        stored: Bytes of weights in it.
    """

    def __init__(self, path: Path, stored: int) -> None:
        self.path, self.stored = path, stored

    @contextlib.contextmanager
    def budget(self) -> Iterator[None]:
        """While it is open, variables may take no more memory than the file's weights account for.

        Raises:
            InputError: Instead of making a variable that is too large.
        """
        left = _TIMES_STORED * self.stored + _BESIDE

        def creator(next_creator: Callable[..., tf.Variable], **given: object) -> tf.Variable:
            nonlocal left
            left -= _size(given.get("initial_value"))
            if left < 0:
                raise InputError(
                    "the sizes in the file's configuration ask for more memory than the weights "
                    f"stored in it account for. Received: {self.path}"
                )
            return next_creator(**given)

        with tf.variable_creator_scope(creator):
            yield


def check(path: Path, kind: type, trust_code: bool = False) -> Archive:
    """Checks a `.keras` file that `model.save` is said to have written.

    Args:
        path: The file.
        kind: The class of model that it must hold.
        trust_code: Whether its configuration may name classes and functions of any kind.

    Raises:
        InputError: If it is damaged, holds another kind of model, or what no such file holds.
    """
    try:
        with opening.open_file(path) as file, zipfile.ZipFile(file) as archive:
            members = _members(archive, path)
            _check_ends(file, archive, path)
            _check_sums(archive, path)
            config = records.parse(archive.read(CONFIG), f"{path} ({CONFIG})")
            _check_kind(config, kind, path)
            if not choices.flag("trust_code", trust_code):
                _check_objects(config, path)
            _check_names(members, path)
            stored = _check_weights(_Window(file, members[WEIGHTS]), config, path)
    except InputError:
        raise
    except Exception as error:  # of zipfile, zlib, h5py: a dozen kinds, all meaning "damaged"
        raise InputError(_damaged(path, error)) from error
    return Archive(path, stored)


def _damaged(path: Path, error: object) -> str:
    reason = " ".join(str(error).split())[:200]
    return (
        "the file is damaged or isn't a model that `model.save` wrote; take it from its source "
        f"again. Received: {path} ({reason})"
    )


# The archive -----------------------------------------------------------------------------------


def _members(archive: zipfile.ZipFile, path: Path) -> dict[str, zipfile.ZipInfo]:
    """The members by name; nothing is read yet."""
    found = archive.infolist()
    if len(found) > _MOST_MEMBERS:
        raise _refused(path, f"{len(found)} members")
    if CONFIG not in archive.namelist():
        raise InputError(_damaged(path, f"it has no {CONFIG}"))
    for member in found:
        # `filename` is cut at a NUL byte, which would hide the rest.
        name, mode = member.orig_filename, member.external_attr >> 16
        if any(not _PART.fullmatch(p) or p in (".", "..") for p in name.split("/")):
            raise _refused(path, f"a member named {name[:80]!r}")
        # What wasn't written on Unix has no mode.
        if stat.S_IFMT(mode) not in (0, stat.S_IFREG):
            raise _refused(path, f"a member that is no plain file, {name!r}")
        # Keras stores members as they are, so one that unpacks to more is not its work.
        if member.compress_type != zipfile.ZIP_STORED or member.file_size != member.compress_size:
            raise _refused(path, f"a compressed member, {name!r}")
    if len({member.filename for member in found}) < len(found):
        raise _refused(path, "two members of one name")
    if sum(member.file_size for member in found) > path.stat().st_size:
        raise _refused(path, "members that overlap")
    return {member.filename: member for member in found}


def _check_ends(file: IO[bytes], archive: zipfile.ZipFile, path: Path) -> None:
    """Refuses a file that is an archive and something else too, such as a script before it."""
    file.seek(0)
    first = min(member.header_offset for member in archive.infolist())
    if first or file.read(len(_ZIP)) != _ZIP or archive.comment:
        raise _refused(path, "something before or after the archive")


def _refused(path: Path, what: str) -> InputError:
    return InputError(
        f"the archive holds what Keras never writes, {what}, and was refused; save the model again "
        f"with `model.save`. Received: {path}"
    )


def _check_sums(archive: zipfile.ZipFile, path: Path) -> None:
    """Reads every member to its end, where `zipfile` compares its checksum."""
    for member in archive.infolist():
        with archive.open(member) as opened:
            while opened.read(_CHUNK):
                pass


def _check_names(members: dict[str, zipfile.ZipInfo], path: Path) -> None:
    for name in members:
        if name not in _NEEDED and not _ASSETS.match(name):
            raise _refused(path, f"a member named {name[:80]!r}")
    for name in (*_NEEDED, f"{_PREPROCESSOR}preprocessor.json"):
        if name not in members:
            raise InputError(_damaged(path, f"it has no {name}"))


# The configuration -----------------------------------------------------------------------------


def _check_kind(config: Mapping[str, object], kind: type, path: Path) -> None:
    found = _registered(config.get("registered_name"))
    if not (isinstance(found, type) and issubclass(found, kind)):
        raise InputError(
            "the file holds another kind of Keras model; load it with `keras.saving.load_model`. "
            f"Received: {path} ({str(config.get('class_name'))[:60]})"
        )


def _registered(name: object) -> object:
    return keras.saving.get_registered_object(name) if isinstance(name, str) else None


def _check_objects(config: dict[str, object], path: Path) -> None:
    """Refuses classes and functions that are neither the package's, nor the caller's, nor harmless.

    The caller's are those registered with Keras; none is imported because a file names it.
    """
    waiting: list[dict[str, object] | list[object]] = [config]
    while waiting:
        each = waiting.pop()
        inner = list(each.values()) if isinstance(each, dict) else each
        waiting += [one for one in inner if isinstance(one, (dict, list))]
        if isinstance(each, dict) and "class_name" in each and not _is_known(each):
            kind = each["class_name"]
            what = (each.get("module"), each.get("config") if kind == "function" else kind)
            name = ".".join(str(part) for part in what if part is not None)
            raise InputError(
                f"the file names {name[:80]!r}, which may run code and is no part of a model of "
                "this package; if you trust who made it, load it with `trust_code=True` "
                f"(`--trust-code`). Received: {path}"
            )


def _is_known(config: Mapping[str, object]) -> bool:
    name, module = config["class_name"], config.get("module")
    if name == "function":
        name = config.get("config")
        return _registered(name) is not None or module in (*_KERAS_MODULES, "builtins")
    found = _registered(config.get("registered_name"))
    if found is not None:
        # A known registered name must not vouch for another class.
        return getattr(found, "__name__", None) == name
    return module in _KERAS_MODULES or (module, name) in _KERAS_OBJECTS


# The weights -----------------------------------------------------------------------------------


class _Buffer(Protocol):
    """Memory to be filled; `collections.abc.Buffer` from Python 3.12 on."""

    def __buffer__(self, flags: int, /) -> memoryview: ...


# h5py goes to and fro, for which `zipfile` may read a member from its beginning again.
class _Window(io.RawIOBase):
    """A member that is stored as it is, read in place."""

    def __init__(self, file: IO[bytes], member: zipfile.ZipInfo) -> None:
        file.seek(member.header_offset)
        # Behind its 30 bytes stand name and extra field, whose lengths are at 26 and 28.
        header = file.read(30)
        lengths = (int.from_bytes(header[at : at + 2], "little") for at in (26, 28))
        self._first = member.header_offset + len(header) + sum(lengths)
        self._file, self._size, self._at = file, member.file_size, 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        self._at = offset + (0, self._at, self._size)[whence]
        return self._at

    def readinto(self, buffer: _Buffer) -> int:
        view = memoryview(buffer).cast("B")
        self._file.seek(self._first + self._at)
        count = max(0, min(len(view), self._size - self._at))
        data = self._file.read(count)
        view[: len(data)] = data
        self._at += len(data)
        return len(data)


def _check_weights(window: _Window, config: dict[str, object], path: Path) -> int:
    """Compares what the configuration says of the encoder with what is stored; bytes of it all."""
    with h5py.File(window, "r") as file:
        found = dict(_datasets(file, path))
    stored = sum(math.prod(shape) * dtype.itemsize for shape, dtype in found.values())
    if stored > path.stat().st_size:
        raise InputError(_damaged(path, "its weights are larger than the file"))
    for place, (wanted, kind) in enumerate(_encoder_variables(config, f"{path} ({CONFIG})")):
        name = f"layers/encoder/vars/{place}"
        shape, dtype = found.get(name, ((), np.dtype("V0")))
        if shape != wanted:
            raise InputError(
                "the shapes in the file's configuration aren't those of the weights stored in it. "
                f"Received: {path} ({name}: {list(wanted)})"
            )
        # HDF5 knows no bfloat16, and has it as two bytes.
        if dtype.kind != "V" and dtype.name != kind:
            raise InputError(
                "the types in the file's configuration aren't those of the weights stored in it. "
                f"Received: {path} ({name}: {kind}, stored as {dtype.name})"
            )
    return stored


def _datasets(file: h5py.File, path: Path) -> Iterator[tuple[str, Stored]]:
    """Name, shape and type of each array; none of them is read, no link is followed."""
    waiting, seen, groups = [("", file)], 0, set()
    while waiting:
        place, group = waiting.pop()
        for name in group:
            seen += 1
            if seen > _MOST_OBJECTS or not isinstance(group.get(name, getlink=True), h5py.HardLink):
                raise _refused(path, "weights with links")
            item = group[name]
            if isinstance(item, h5py.Group):
                address = h5py.h5o.get_info(item.id).addr
                if address in groups:
                    raise _refused(path, "weights with links")
                groups.add(address)
                waiting.append((f"{place}{name}/", item))
            else:
                yield f"{place}{name}", _backed(item, path)


def _backed(item: h5py.Dataset, path: Path) -> Stored:
    """Shape and type of an array whose every number lies in the file."""
    plain = isinstance(item, h5py.Dataset) and item.chunks is None and not item.external
    if not plain or item.is_virtual or item.dtype.kind not in "fiubV":
        raise _refused(path, "weights that aren't plain arrays of numbers")
    if item.id.get_storage_size() != item.size * item.dtype.itemsize:
        raise InputError(_damaged(path, f"{item.name} isn't stored whole"))
    return item.shape, item.dtype


def _encoder_variables(config: dict[str, object], source: str) -> list[tuple[tuple[int, ...], str]]:
    """Shape and type that the configuration records of each of the encoder's variables."""
    encoder = records.take(config, "config", dict, source, {}).get("encoder")
    inner = encoder.get("config") if isinstance(encoder, dict) else None
    return [(tuple(each["shape"]), each["dtype"]) for each in recorded.check(inner, source)]


def _size(value: object) -> int:
    """Bytes of what a variable is to begin with; a function of it is traced, not run."""
    found: tf.Tensor = value
    if callable(value):
        with tf.Graph().as_default():
            found = tf.convert_to_tensor(value())
    return math.prod(found.shape) * found.dtype.size if tf.is_tensor(found) else 0
