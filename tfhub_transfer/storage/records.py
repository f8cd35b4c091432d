"""JSON from files that others may have made: of bounded size and depth, and of the right type."""

import itertools
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import UnionType
from typing import Any, TypeVar, overload

from tfhub_transfer.errors import InputError
from tfhub_transfer.storage import opening

Kind = TypeVar("Kind")
Default = TypeVar("Default")

# A configuration of a model with 100,000 labels has some megabytes.
MOST_BYTES = 64 << 20
# The deepest that this package or Hugging Face writes is about 12.
MOST_DEPTH = 64


def read(path: Path) -> dict[str, Any]:
    """The object in a JSON file.

    Args:
        path: The file.

    Raises:
        InputError: If it can't be read, or isn't JSON with an object in it.
    """
    return parse(_bytes(path), str(path))


def read_list(path: Path) -> list[Any]:
    """The list in a JSON file.

    Args:
        path: The file.

    Raises:
        InputError: If it can't be read, or isn't JSON with a list in it.
    """
    found = _parsed(_bytes(path), str(path))
    if not isinstance(found, list):
        raise InputError(f"a JSON file with a list in it is expected. Received: {path}")
    return found


def _bytes(path: Path) -> bytes:
    try:
        # One byte more than there may be, which tells `_parsed` that it is too large.
        return opening.read_bytes(path, MOST_BYTES + 1)
    except OSError as error:
        raise InputError(f"the file can't be read ({error.strerror}). Received: {path}") from error


def parse(data: bytes, source: str) -> dict[str, Any]:
    """The object that JSON text holds.

    Args:
        data: The text, UTF-8.
        source: What to call it in a message.

    Raises:
        InputError: If it is too large, too deep, damaged, or holds something else.
    """
    found = _parsed(data, source)
    if not isinstance(found, dict):
        raise InputError(f"a JSON file with an object in it is expected. Received: {source}")
    return found


def _parsed(data: bytes, source: str) -> Any:
    if len(data) > MOST_BYTES:
        raise InputError(
            f"a JSON file of at most {MOST_BYTES >> 20} MB is expected. Received: {source}"
        )
    try:
        # What Windows writes may begin with a mark of its order of bytes.
        found = json.loads(data.decode("utf-8-sig"), object_pairs_hook=once)
    except (ValueError, RecursionError) as error:
        reason = " ".join(str(error).split())[:120]
        raise InputError(
            f"the file is damaged: readable JSON is expected ({reason}). Received: {source}"
        ) from error
    if _is_deeper(found, MOST_DEPTH):
        raise InputError(
            f"JSON of at most {MOST_DEPTH} levels is expected; the file is damaged, or made to "
            f"exhaust its reader. Received: {source}"
        )
    return found


def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """A JSON object, whose names must differ; JSON itself would take the last of two.

    Args:
        pairs: Its names and values, as `json.loads` gives them to an `object_pairs_hook`.

    Raises:
        ValueError: If two have one name.
    """
    found = dict(pairs)
    if len(found) < len(pairs):
        names = sorted(name for name, _ in pairs)
        twice = next(one for one, other in itertools.pairwise(names) if one == other)
        raise ValueError(f"{twice[:60]} more than once")
    return found


@overload
def take(
    record: Mapping[str, object], key: str, kind: type[Kind], source: object
) -> Kind | None: ...


@overload
def take(
    record: Mapping[str, object], key: str, kind: type[Kind], source: object, default: Default
) -> Kind | Default: ...


@overload
def take(
    record: Mapping[str, object], key: str, kind: UnionType, source: object, default: object = None
) -> Any: ...


def take(
    record: Mapping[str, object],
    key: str,
    kind: type | UnionType,
    source: object,
    default: object = None,
) -> object:
    """One value of an object, of the type that it must have; the default where there is none.

    Args:
        record: The object.
        key: The value's name.
        kind: A type, or a union of types; `bool` counts as no `int`.
        source: What to call the object in a message.
        default: What stands for a value that is missing or null.

    Raises:
        InputError: If the value is of another type.
    """
    value = record.get(key)
    if value is None:
        return default
    if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
        wanted = getattr(kind, "__name__", str(kind))
        raise InputError(
            f"{key!r} must be of type {wanted}; the file is damaged or was made by something "
            f"else. Received: {str(value)[:60]!r} in {source}"
        )
    return value


def _is_deeper(found: object, levels: int) -> bool:
    # Level by level: what calls itself would fail on what is to be refused.
    layer: list[object] = [found]
    for _ in range(levels):
        layer = [
            inner for each in layer for inner in _parts(each) if isinstance(inner, (dict, list))
        ]
        if not layer:
            return False
    return True


def _parts(found: object) -> Iterable[object]:
    if isinstance(found, dict):
        return found.values()
    return found if isinstance(found, list) else ()
