"""How much each row teaches: weights of rows as people give them, and as a loss takes them."""

import dataclasses
import decimal
import math
import numbers
from typing import Any

import numpy as np

from tfhub_transfer.errors import InputError
from tfhub_transfer.incoming import values

WEIGHT = "weight"
# Of weights that are further apart the small ones vanish in float32.
_MOST = 1e30


def number(value: Any, place: str) -> float:
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
    found = math.nan
    plain = values.alone(value)
    if isinstance(plain, (str, numbers.Real, decimal.Decimal)) and not isinstance(plain, bool):
        try:
            found = float(plain)
        except (ValueError, OverflowError):
            found = math.nan
    if not 0 <= found < _MOST:
        raise InputError(
            f"{place} must hold a weight: a number from 0 on, 0 for a row that teaches nothing. "
            f"Received: {'nothing' if values.is_nothing(plain) else repr(value)}"
        )
    return found


def relative(weights: Any, counts: Any = None) -> np.ndarray:
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


def column_of(source: Any) -> str | None:
    """The column of weights that a source has without being asked: tf.data's third element.

    Args:
        source: What examples are read from.
    """
    spec = getattr(source, "element_spec", None)
    return WEIGHT if isinstance(spec, tuple) and len(spec) == 3 else None


def taught(examples: Any) -> Any:
    """Examples without those whose weight is 0, from which nothing is learned.

    Args:
        examples: `Examples`, or several by name; anything else stays as it is.

    Raises:
        InputError: If none is left.
    """
    if isinstance(examples, dict):
        return {name: taught(each) for name, each in examples.items()}
    weights = getattr(examples, "weights", None)
    if weights is None or not hasattr(examples, "columns"):
        return examples
    relative(weights)
    return examples[[weight > 0 for weight in weights]] if not all(weights) else examples


def without(examples: Any) -> Any:
    """Examples that all count alike, as those that a model is judged by do.

    Args:
        examples: `Examples`, or several by name; anything else stays as it is.
    """
    if isinstance(examples, dict):
        return {name: without(each) for name, each in examples.items()}
    if getattr(examples, "weights", None) is None:
        return examples
    return dataclasses.replace(examples, weight=None)


def spread(rows: Any, examples: Any) -> Any:
    """Rows that weigh as much as the examples that they are of.

    Args:
        rows: `tasks.layouts.Rows`.
        examples: What they were cut from.
    """
    if examples.weights is None:
        return rows
    column = [examples.weights[owner] for owner in rows.owners]
    columns = {**rows.examples.columns, WEIGHT: column}
    return dataclasses.replace(
        rows, examples=dataclasses.replace(rows.examples, columns=columns, weight=WEIGHT)
    )
