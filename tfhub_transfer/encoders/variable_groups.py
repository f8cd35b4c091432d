"""The variables of TF Hub models in groups: embeddings, layers, pooler.

The only file that knows the names of variables inside TF Hub models.
"""

import re
from collections.abc import Sequence
from typing import Any

import keras
import tensorflow as tf

from tfhub_transfer.errors import InputError

_LAYER = re.compile(r"(?:^|[/_])(?:layer|block|group)_?(\d+)(?:/|$)")
_POOLER = re.compile(r"pooler")
_EMBEDDINGS = re.compile(r"embedding")
POSITIONS = re.compile(r"position_embedding")


def specs(variables: list[tf.Variable], loaded: Any, captured: set[int]) -> list[dict[str, Any]]:
    """Name, shape, dtype of each variable, and whether training can change what is computed."""
    declared = getattr(loaded, "trainable_variables", None)
    if declared is None:
        allowed = {id(v) for v in variables if v.trainable}
    else:
        allowed = {id(v) for v in declared if isinstance(v, tf.Variable)}
    return [
        {
            "name": v.name.split(":")[0],
            "shape": v.shape.as_list(),
            "dtype": v.dtype.name,
            "trainable": v.dtype.is_floating and id(v) in allowed and _reaches(v, captured),
        }
        for v in variables
    ]


def _reaches(variable: tf.Variable, captured: set[int]) -> bool:
    """Whether the call reads the variable: a masked-language head, for one, does not."""
    components = getattr(variable, "values", (variable,))
    return any(id(v) in captured for v in (variable, *components))


def group(
    weights: list[keras.Variable], specs: list[dict[str, Any]]
) -> list[tuple[str, list[keras.Variable]]]:
    """Sorts trainable variables into embeddings, layers, what is shared or unknown, and pooler."""
    groups: dict[tuple[int, int], tuple[str, list[keras.Variable]]] = {}
    single = sum(spec["trainable"] for spec in specs) == 1
    for weight, spec in zip(weights, specs):
        if spec["trainable"]:
            rank, name = ((0, 0), "embeddings") if single else _place(spec["name"])
            groups.setdefault(rank, (name, []))[1].append(weight)
    return [groups[rank] for rank in sorted(groups)]


def _place(name: str) -> tuple[tuple[int, int], str]:
    layer = _LAYER.search(name)
    if _POOLER.search(name):
        return (3, 0), "pooler"
    if layer and "inner_group" not in name:
        return (1, int(layer[1])), f"layer_{layer[1]}"
    if _EMBEDDINGS.search(name):
        return (0, 0), "embeddings"
    return (2, 0), "layers"


class Unread:
    """The groups that a head doesn't read, frozen; they thaw again when another head reads them."""

    def __init__(self) -> None:
        self.names: tuple[str, ...] = ()
        self._flags: dict[str, list[bool]] = {}

    def change(
        self, names: tuple[str, ...], groups: list[tuple[str, list[keras.Variable]]]
    ) -> None:
        """Freezes these groups, and leaves those that were among them as they were before.

        Args:
            names: Names of groups.
            groups: All groups with their variables.
        """
        for name, variables in groups:
            if name in names and name not in self.names:
                self._flags[name] = [variable.trainable for variable in variables]
            flags = [False] * len(variables) if name in names else self._flags.pop(name, [])
            for variable, flag in zip(variables, flags):
                variable.trainable = flag
        self.names = names


def require_names(names: Sequence[Any], groups: Sequence[tuple[str, Any]]) -> None:
    """Refuses what names no group, lest it be left in silently.

    Args:
        names: What is given.
        groups: Those that there are.

    Raises:
        InputError: If one is no group's name.
    """
    known = [name for name, _ in groups]
    for each in names:
        if each not in known:
            raise InputError(
                "groups go by their names, one after the other: "
                f"`encoder.leave_out({', '.join(map(repr, known[:2]))})`; there are "
                f"{', '.join(known) or 'none'}. Received: {each!r:.80}"
            )
