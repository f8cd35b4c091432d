"""What a saved model records of its encoder, checked before anything is made of it."""

from collections.abc import Sequence
from types import UnionType
from typing import TypeAlias, TypedDict, TypeVar

from tfhub_transfer.errors import InputError
from tfhub_transfer.storage import records

T = TypeVar("T")
# `[width]`, or of a vector for each token `[None, width]`; a list of such, one for each layer.
OutputShape: TypeAlias = "list[int | None] | list[list[int | None]]"


class VariableSpec(TypedDict):
    """A variable of the SavedModel; `trainable` says whether training can change what it gives."""

    name: str
    shape: list[int]
    dtype: str
    trainable: bool


class Spec(TypedDict):
    """All that a layer has to know of its SavedModel before that is there."""

    dialect: str
    outputs: dict[str, OutputShape]
    variables: list[VariableSpec]


DIALECTS = ("bert", "text")
_NUMBERS = ("float", "int", "uint", "bool", "bfloat")
# No graph has an output so wide; memory is asked for by such numbers.
_WIDEST = 1 << 20


def check(config: object, source: object) -> list[VariableSpec]:
    """Checks an encoder's configuration against what `Encoder.get_config` gives.

    Args:
        config: The configuration.
        source: What to call it in a message.

    Returns:
        Its variables, each with `name`, `shape`, `dtype` and `trainable`, in order of creation.

    Raises:
        InputError: If a part is missing or of a wrong type.
    """
    if not isinstance(config, dict):
        raise _damaged("config", config, source)
    spec = _needed(config, "spec", dict, source)
    _needed(config, "handle", str, source)
    _needed(config, "trainable", bool, source)
    for key in ("thawed", "left_out", "known"):
        if key == "known" and key not in config:
            continue  # it is younger than the others
        names: Sequence[object] = _needed(config, key, list | tuple, source)
        _require(all(isinstance(name, str) for name in names), key, names, source)
    dialect = _needed(spec, "dialect", str, source)
    _require(dialect in DIALECTS, "dialect", dialect, source)
    outputs = _needed(spec, "outputs", dict, source)
    wanted = ("default",) if dialect == "text" else ("pooled_output", "sequence_output")
    _require(any(key in outputs for key in wanted), "outputs", outputs, source)
    for key, shape in outputs.items():
        single = shape if isinstance(shape, list) and shape else [None]
        listed = single if isinstance(single[0], list) else [single]
        _require(all(map(_is_output, listed)), key, shape, source)
    variables = _needed(spec, "variables", list, source)
    for variable in variables:
        _require(_is_variable(variable), "variables", variable, source)
    return variables


def _is_output(shape: object) -> bool:
    """Whether it is `[width]` or `[null, width]`."""
    # By `type`, for `True` is an `int` to `isinstance`.
    if not isinstance(shape, list) or len(shape) not in (1, 2) or type(shape[-1]) is not int:
        return False
    return 1 <= shape[-1] <= _WIDEST and shape[:-1] in ([], [None])


def _is_variable(variable: object) -> bool:
    if not isinstance(variable, dict):
        return False
    name, shape, dtype = (variable.get(key) for key in ("name", "shape", "dtype"))
    return (
        isinstance(name, str)
        and isinstance(dtype, str)
        and dtype.rstrip("0123456789") in _NUMBERS
        and isinstance(variable.get("trainable"), bool)
        and isinstance(shape, list)
        and len(shape) <= 8
        and all(type(size) is int and size >= 0 for size in shape)
    )


def _needed(config: dict[str, object], key: str, kind: type[T] | UnionType, source: object) -> T:
    found: T | None = records.take(config, key, kind, source)
    if found is None:
        raise _damaged(key, None, source)
    return found


def _require(right: bool, key: str, found: object, source: object) -> None:
    if not right:
        raise _damaged(key, found, source)


def _damaged(key: str, found: object, source: object) -> InputError:
    return InputError(
        f"what is recorded of the encoder as {key!r} isn't what this package writes; the file "
        f"is damaged or was made by something else. Received: {str(found)[:60]!r} in {source}"
    )
