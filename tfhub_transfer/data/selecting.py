"""Which rows of a table are meant."""

from collections.abc import Iterable, Mapping
from typing import Any

from tfhub_transfer.errors import InputError
from tfhub_transfer.incoming import values


def row_numbers(given: Any, count: int) -> list[int]:
    """The rows that numbers, or one boolean a row, choose of so many.

    Args:
        given: A list, an array, a series, or whatever else can be gone through.
        count: How many rows there are.

    Raises:
        InputError: If there are more or fewer booleans than rows, or a number is none of a row.

    Example:

    >>> row_numbers([True, False, True], 3), row_numbers([-1, 0], 3)
    ([0, 2], [-1, 0])
    """
    found = values.plain(given)
    if not isinstance(found, (list, str, Mapping)) and isinstance(found, Iterable):
        found = [values.plain(each) for each in found]
    kinds = {type(each) for each in found} if isinstance(found, list) else {None}
    if kinds == {bool} and len(found) == count:
        return [row for row, chosen in enumerate(found) if chosen]
    if not kinds <= {int} or any(not -count <= each < count for each in found):
        shown = str(given) if len(str(given)) < 80 else f"{str(given)[:80]}…"
        raise InputError(
            f"rows are chosen by a slice, by a list of numbers from 0 to {count - 1}, or of one "
            f"boolean for each of {count}. Received: {' '.join(shown.split())}"
        )
    return found
