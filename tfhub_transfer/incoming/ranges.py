"""Numbers that users give: parsed in one place, each within a range that makes sense."""

import math
import numbers
import re
from collections.abc import Callable
from typing import TypeVar

from tfhub_transfer.errors import InputError

Number = TypeVar("Number", int, float)

# What is beyond these is a slip of the finger, or would run until the end of days.
EPOCHS = (1, 100_000)
BATCH_SIZE = (1, 65_536)
WORKERS = (1, 64)
TRIALS = (1, 100_000)
FOLDS, SEEDS = (2, 1_000), (1, 1_000)
# What NumPy's `seed` takes, which `keras.utils.set_random_seed` calls.
SEED = (0, 2**32 - 1)
SIZE = (1, 10_000_000)
MINUTES = (0.0, 100_000.0)
LAYERS = (1, 1_000)
CLASSES, VERSIONS = (1, 1_000_000), (1, 10_000)
SEQUENCE_LENGTH = (8, 100_000)
LEARNING_RATE = (0.0, 1_000.0)
TEMPERATURE = (1.0, 1_000.0)
SHARE = (0.0, 1.0)
# For ranges without 1 itself: their upper ends belong to them.
BELOW_ONE = math.nextafter(1.0, 0.0)
MOST_STEPS = 10**12
WEIGHT = (0.0, 1e6)
# Of a search for texts: hypotheses, the power of a length, by what logarithms are divided.
BEAMS, LENGTH_PENALTY, DRAWING_TEMPERATURE = (1, 256), (0.0, 10.0), (0.01, 100.0)
COVERAGE_PENALTY = (0.0, 10.0)
# Pieces that a decoder's vocabulary may have, of which 256 are bytes; those of an answer; its
# layers.
PIECES, ANSWER, DECODER_LAYERS = (512, 64_000), (1, 512), (1, 6)
NEIGHBOURS = (1, 1_000)
# Texts to label at a time.
BATCH = (1, 10_000)
# About the largest float32.
MOST = 3e38
# More digits than any range has; of thousands `int` raises an error of its own.
_WHOLE = re.compile(r"\s*[+-]?[0-9]{1,30}\s*", re.ASCII)


def whole_number(name: str, value: object, least: int, most: int) -> int:
    """Returns a whole number within a range.

    Args:
        name: What the user calls it.
        value: A Python or NumPy whole number, or its digits.
        least: The smallest that is allowed.
        most: The largest that is allowed.

    Raises:
        InputError: If it is something else, also `True`, or outside of the range.

    Example:

    >>> whole_number("epochs", "3", 1, 100)
    3
    """
    found: int | None = None
    if isinstance(value, str):
        found = int(value) if _WHOLE.fullmatch(value) else None
    elif isinstance(value, numbers.Integral) and not isinstance(value, bool):
        found = int(value)
    if found is None or not least <= found <= most:
        raise InputError(
            f"`{name}` must be a whole number from {least:,} to {most:,}. Received: {value!r}"
        )
    return found


def real_number(name: str, value: object, above: float, most: float, closed: bool = False) -> float:
    """Returns a finite number within a range.

    Args:
        name: What the user calls it.
        value: A Python or NumPy number, or a string that spells one.
        above: It must be larger than this.
        most: The largest that is allowed.
        closed: Whether `above` itself is allowed too.

    Raises:
        InputError: If it is something else, also `True`, or outside of the range.

    Example:

    >>> real_number("share", "0.5", 0, 1)
    0.5
    """
    found = math.nan
    if isinstance(value, (str, numbers.Real)) and not isinstance(value, bool):
        try:
            found = float(value)
        # `OverflowError` of whole numbers with more than 308 digits.
        except (ValueError, OverflowError):
            found = math.nan
    if not (above < found <= most or (closed and found == above)):
        lower = f"from {above:g}" if closed else f"above {above:g}, up"
        upper = "below 1" if most == BELOW_ONE else f"{most:g}"
        raise InputError(f"`{name}` must be a number {lower} to {upper}. Received: {value!r}")
    return found


def given(
    parse: Callable[[str, object, Number, Number], Number],
    name: str,
    value: object,
    *bounds: Number,
) -> Number | None:
    """What one of the others returns, or `None` for an argument that wasn't given.

    Args:
        parse: `whole_number` or `real_number`.
        name: What the user calls the argument.
        value: Its value.
        *bounds: As of `parse`.

    Raises:
        InputError: As of `parse`.
    """
    return None if value is None else parse(name, value, *bounds)
