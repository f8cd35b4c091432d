"""Curves of training: those of one task among several, and those that a record holds."""

import math
from collections.abc import Collection, Mapping
from typing import TypeVar

# What stands among the curves and is none: where groups thawed, what was kept and why.
MARKS = ("thawed_groups", "best_epoch", "kept")
# Bounds of what is drawn: a record may be of another hand.
_MOST_EPOCHS = 100_000
_MOST_CURVES = 200

# Numbers; beside them pairs of numbers, places and words, under the names of `MARKS`.
Curves = dict[str, list[object]]
Value = TypeVar("Value")


def of_task(
    curves: Mapping[str, list[Value]], name: str, names: Collection[str]
) -> dict[str, list[Value]]:
    """The curves of one task out of those of several that were trained together.

    Keras puts a task's name before those of its numbers, and leaves it out where there is one task
    only.

    Args:
        curves: Lists of one value an epoch, such as `val_tags_accuracy`.
        name: The task's name.
        names: Those of all tasks.

    Returns:
        The same lists by the names that they have for a task alone, such as `val_accuracy`.

    Example:

    >>> of_task({"loss": [3.0], "tags_loss": [1.0], "val_tags_loss": [2.0]}, "tags", ["tags", "a"])
    {'loss': [1.0], 'val_loss': [2.0]}
    """
    found: dict[str, list[Value]] = {}
    for key, values in curves.items():
        plain = key.removeprefix("val_")
        before = key.removesuffix(plain)
        # Of `a` and `a_b` the longer one is meant by `a_b_loss`.
        owner = max((n for n in names if plain.startswith(f"{n}_")), key=len, default=None)
        if owner is None and len(names) == 1 and plain != "loss":
            found[key] = values
        elif owner == name:
            found[before + plain.removeprefix(f"{name}_")] = values
    return found


def of_record(value: object) -> Curves:
    """Curves as `train` recorded them; whatever is no curve, because of another hand, left out.

    Args:
        value: What stands in a record of the training in their place, if anything.
    """
    if not isinstance(value, dict):
        return {}
    found: Curves = {}
    for name, values in list(value.items())[:_MOST_CURVES]:
        if not isinstance(values, list) or len(values) > _MOST_EPOCHS:
            continue
        if all(map(_FITS.get(name, _is_number), values)):
            found[str(name)] = values
    return found


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


def _is_place(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _is_thawing(value: object) -> bool:
    return isinstance(value, list) and len(value) == 2 and all(map(_is_number, value))


_FITS = {
    "thawed_groups": _is_thawing,
    "best_epoch": _is_place,
    "kept": lambda value: isinstance(value, str),
}
