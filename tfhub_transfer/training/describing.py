"""What decides what an object does, as JSON can say it, alike in two processes if it does the same.

Names that Keras counts up, addresses, and what was made on the way are no part of it.
"""

import functools
import os
import re
import sys
import types
from collections.abc import Iterator, Mapping

import keras
import numpy as np

from tfhub_transfer.shapes import Json

# Containers and objects in each other; what lies deeper goes by its class.
_DEPTH = 12
# What Keras notes of objects while they are used.
_USED = ("name", "built", "dtype")
# What they hold is told elsewhere, or is too much; names in their configurations count up.
_BY_CLASS = (keras.Layer, keras.Variable, keras.callbacks.Callback, types.ModuleType)
_NOT_INTO = ("tensorflow", "torch", "jax")
# Whose code goes by its version, or is that of Python.
_LIBRARIES = {*_NOT_INTO, "keras", "numpy", "tfhub_transfer", *sys.stdlib_module_names}
_PLAIN = (bool, int, float, str, tuple, list, dict, frozenset, set, np.ndarray, np.generic)


def described(value: object) -> Json:
    """What decides what an object does.

    Args:
        value: Any object: plain, in containers, with a `get_config`, a function, or of a class of
            users' own, of which attributes and code are told.

    Example:

    >>> described({1: (0.5, None)})
    {'1': [0.5, None]}
    """
    return _Walk().at(value, 0)


def code_of(kind: type) -> dict[str, object]:
    """Methods, and plain values, of a class and its bases, without those of libraries.

    Args:
        kind: Any class.
    """
    found: dict[str, object] = {}
    for each in kind.__mro__:
        if each.__module__.partition(".")[0] in _LIBRARIES:
            continue
        for name, value in vars(each).items():
            method = getattr(value, "fget", getattr(value, "__func__", value))
            plain = isinstance(method, _PLAIN) and not name.startswith("__")
            if plain or isinstance(method, types.FunctionType):
                found[f"{each.__qualname__}.{name}"] = method
    return found


class _Walk:
    """Goes through an object, into each other one of them once."""

    def __init__(self) -> None:
        # Themselves too, so that nothing new gets the number of what has gone.
        self._seen: dict[int, object] = {}

    def at(self, value: object, depth: int) -> Json:
        if value is None or isinstance(value, bool | int | str):
            return value
        if isinstance(value, float):
            return value if np.isfinite(value) else str(value)  # nan is unlike itself
        if isinstance(value, np.ndarray | np.generic):
            return self.at(value.tolist(), depth)
        if _is_value(value):
            return self.at(keras.ops.convert_to_numpy(value), depth)
        if depth >= _DEPTH:
            return _class(value)
        if isinstance(value, Mapping):
            return {str(_item(key)): self.at(each, depth + 1) for key, each in value.items()}
        if isinstance(value, list | tuple):
            return [self.at(each, depth + 1) for each in value]
        if isinstance(value, set | frozenset):
            return [*sorted(str(self.at(each, depth + 1)) for each in value)]
        if isinstance(value, os.PathLike):
            return str(value)
        if id(value) in self._seen:
            return _class(value)
        self._seen[id(value)] = value
        return self._object(value, depth + 1)

    def _object(self, value: object, depth: int) -> Json:
        if isinstance(value, type):
            return f"{value.__module__}.{value.__qualname__}"
        if isinstance(value, types.FunctionType):
            return self._function(value, depth)
        if isinstance(value, types.CodeType):
            return self.at([value.co_code.hex(), value.co_names, value.co_consts], depth)
        if isinstance(value, types.MethodType):
            return [self.at(value.__self__, depth), value.__name__]
        if isinstance(value, functools.partial):
            return self.at([value.func, value.args, value.keywords], depth)
        name = _class(value)
        if hasattr(value, "python_function"):  # as `tf.function` has it
            return self.at(value.python_function, depth)
        if isinstance(value, _BY_CLASS) or name.partition(".")[0] in _NOT_INTO:
            return name
        code = code_of(type(value))
        told = {"code": self.at(code, depth)} if code else {}
        return {"class": name, **told, **self._inside(value, depth)}

    def _inside(self, value: object, depth: int) -> dict[str, Json]:
        config, found = _config(value), dict[str, Json]()
        if config is not None:
            found["config"] = self.at(_without_counts(config), depth)
        if not hasattr(value, "__dict__"):
            said = repr(value)
            return found if " at 0x" in said else {**found, "value": said}
        if _class(value).startswith("keras."):
            return found  # the configuration says all
        for key, each in vars(value).items():
            if key not in _USED and not (config is not None and key.startswith("_")):
                found[key] = self.at(each, depth)
        return found

    def _function(self, function: types.FunctionType, depth: int) -> Json:
        given = [function.__defaults__, function.__kwdefaults__]
        around = [_content(cell) for cell in function.__closure__ or ()]
        name = f"{function.__module__}.{function.__qualname__}"
        beside = dict(_globals(function, function.__code__))
        return self.at([name, function.__code__, given, around, beside], depth)


def _globals(function: types.FunctionType, code: types.CodeType) -> Iterator[tuple[str, object]]:
    """What a function reads around it: plain values, and functions beside it."""
    for name in code.co_names:
        found = function.__globals__.get(name)
        beside = isinstance(found, types.FunctionType) and found.__module__ == function.__module__
        if beside or isinstance(found, _PLAIN) or _is_value(found):
            yield name, found
    for inner in code.co_consts:
        if isinstance(inner, types.CodeType):
            yield from _globals(function, inner)


def _is_value(found: object) -> bool:
    return hasattr(found, "numpy") and bool(keras.ops.is_tensor(found))


def _config(value: object) -> Mapping[str, object] | None:
    """What `get_config` says; of an optimizer in another, too. `None` if it says nothing."""
    try:
        config = value.get_config()  # type: ignore[attr-defined]
        inner = getattr(value, "inner_optimizer", None)
        return dict(config) if inner is None else {**config, "inner_optimizer": inner}
    # Whatever a class of users' own does there.
    except Exception:
        return None


def _without_counts(config: object) -> object:
    """A configuration whose names are without the numbers that Keras adds where it makes them."""
    if isinstance(config, Mapping):
        return {key: _without_count(key, value) for key, value in config.items()}
    return [*map(_without_counts, config)] if isinstance(config, list | tuple) else config


def _without_count(key: object, value: object) -> object:
    named = key == "name" and isinstance(value, str)
    return re.sub(r"_\d+$", "", str(value)) if named else _without_counts(value)


def _content(cell: types.CellType) -> object:
    try:
        return cell.cell_contents
    except ValueError:  # nothing yet
        return None


def _item(key: object) -> object:
    return key.item() if isinstance(key, np.generic) else key


def _class(value: object) -> str:
    return f"{type(value).__module__}.{type(value).__qualname__}"
