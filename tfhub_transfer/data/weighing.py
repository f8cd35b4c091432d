"""How much each row teaches: weights of rows as people give them, and as a loss takes them."""

import dataclasses
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import ClassVar, Protocol, TypeGuard, TypeVar, overload

import numpy as np

from tfhub_transfer.errors import InputError
from tfhub_transfer.incoming import values

WEIGHT = "weight"
# The column of weights that are 1 in the mean of all rows, of which these are some.
RELATIVE = "relative weight"
# Of weights that are further apart the small ones vanish in float32.
_MOST = 1e30


class _Weighed(Protocol):
    """Examples that may have weights, as `data.Examples` does."""

    __dataclass_fields__: ClassVar[dict[str, dataclasses.Field[object]]]

    @property
    def columns(self) -> dict[str, list[object]]: ...

    @property
    def weight(self) -> str | None: ...

    @property
    def weights(self) -> list[float] | None: ...

    def __getitem__(self, rows: Sequence[bool]) -> "_Weighed": ...


class _Rows(Protocol):
    """Rows that were cut from examples, as `tasks.layout.Rows` has them."""

    __dataclass_fields__: ClassVar[dict[str, dataclasses.Field[object]]]

    @property
    def examples(self) -> _Weighed: ...

    @property
    def owners(self) -> np.ndarray: ...


_T = TypeVar("_T")
_R = TypeVar("_R", bound=_Rows)


def number(value: object, place: str) -> float:
    """A weight as a number.

    Args:
        value: As a file or a list has it.
        place: Where it stands, for the message.

    Raises:
        InputError: If it is no finite number from 0 on.

    Example:

    >>> number("0.5", "row 1")
    0.5
    """
    plain = values.alone(value)
    found = math.nan if isinstance(plain, (bool, bytes, list)) else values.number(plain)
    if not 0 <= found < _MOST:
        raise InputError(
            f"{place} must hold a weight: a number from 0 on, 0 for a row that teaches nothing. "
            f"Received: {'nothing' if values.is_nothing(plain) else repr(value)}"
        )
    return found + 0.0  # -0.0 says of a row that it isn't there


def relative(
    weights: Iterable[object], counts: np.ndarray | Sequence[float] | None = None
) -> np.ndarray:
    """Weights of rows whose mean is 1, so that the learning rate means what it does without.

    Args:
        weights: Numbers from 0 on `[n]`.
        counts: How often each row counts in the mean that the loss is, such as its words `[n]`;
            alike if not given.

    Returns:
        Float32 `[n]`.

    Raises:
        InputError: If they are all 0.

    Example:

    >>> relative([1, 3]).tolist(), relative([1, 3], counts=[3, 1]).tolist()
    ([0.5, 1.5], [0.6666666865348816, 2.0])
    """
    given = np.array([number(each, "each row") for each in weights], "float64")
    mean = float(np.average(given, weights=counts)) if len(given) else 0.0
    if not mean > 0:
        raise InputError("at least one row must have a weight above 0. Received: weights of 0")
    return (given / mean).astype("float32")


def column_of(source: object) -> str | None:
    """The column of weights that a source has without being asked: tf.data's third element.

    Args:
        source: What examples are read from.
    """
    spec = getattr(source, "element_spec", None)
    return WEIGHT if isinstance(spec, tuple) and len(spec) == 3 else None


@overload
def taught(examples: dict[str, _T]) -> dict[str, _T]: ...
@overload
def taught(examples: _T) -> _T: ...
def taught(examples: object) -> object:
    """Examples without those whose weight is 0, from which nothing is learned.

    Args:
        examples: `Examples`, or several by name; anything else stays as it is.

    Raises:
        InputError: If none is left.
    """
    if isinstance(examples, dict):
        return {name: taught(each) for name, each in examples.items()}
    if not _are_examples(examples) or examples.weights is None:
        return examples
    weights = examples.weights
    # For its refusal, where all are 0.
    relative(weights)
    return examples[[weight > 0 for weight in weights]] if not all(weights) else examples


@overload
def without(examples: dict[str, _T]) -> dict[str, _T]: ...
@overload
def without(examples: _T) -> _T: ...
def without(examples: object) -> object:
    """Examples that all count alike, as those that a model is judged by do.

    Args:
        examples: `Examples`, or several by name; anything else stays as it is.
    """
    if isinstance(examples, dict):
        return {name: without(each) for name, each in examples.items()}
    if not _are_examples(examples) or examples.weights is None:
        return examples
    return dataclasses.replace(examples, weight=None)


def _are_examples(examples: object) -> TypeGuard[_Weighed]:
    """Whether they are examples; a `Stream` of them isn't, which has no list of weights."""
    return hasattr(examples, "weights") and hasattr(examples, "columns")


def spread(rows: _R, examples: _Weighed) -> _R:
    """Rows that weigh as much as the examples that they are of.

    Args:
        rows: `tasks.layouts.Rows`.
        examples: What they were cut from.
    """
    if examples.weights is None:
        return rows
    column = [examples.weights[owner] for owner in rows.owners]
    name = RELATIVE if is_relative(examples) else WEIGHT
    columns = {**rows.examples.columns, name: column}
    return dataclasses.replace(
        rows, examples=dataclasses.replace(rows.examples, columns=columns, weight=name)
    )


@overload
def among_all(given: Mapping[str, _T], counts: np.ndarray | None = None) -> dict[str, _T]: ...
@overload
def among_all(given: _T, counts: np.ndarray | None = None) -> _T: ...
def among_all(given: object, counts: np.ndarray | None = None) -> object:
    """Rows whose weights stay relative to all of them in whatever share of them.

    Args:
        given: `Examples`, or `tasks.layouts.Rows`, or several by name; anything else stays as it
            is, as what has no weights does.
        counts: As for `relative`; of several by name each row counts once.

    Raises:
        InputError: If all weights are 0.
    """
    if isinstance(given, Mapping):
        return {name: among_all(each) for name, each in given.items()}
    if _are_rows(given):
        return dataclasses.replace(given, examples=among_all(given.examples, counts))
    if not _are_examples(given) or given.weights is None or is_relative(given):
        return given
    columns = {**given.columns, RELATIVE: relative(given.weights, counts).tolist()}
    return dataclasses.replace(given, columns=columns, weight=RELATIVE)


def are_weighed(given: object) -> bool:
    """Whether rows have weights, or some of several by name.

    Args:
        given: As for `among_all`.
    """
    if isinstance(given, Mapping):
        return any(map(are_weighed, given.values()))
    found = given.examples if _are_rows(given) else given
    return _are_examples(found) and found.weights is not None


def is_relative(examples: _Weighed) -> bool:
    """Whether weights are relative to more rows than these, as `among_all` made them."""
    return examples.weight == RELATIVE


def _are_rows(given: object) -> TypeGuard[_Rows]:
    return hasattr(given, "examples") and hasattr(given, "owners")
