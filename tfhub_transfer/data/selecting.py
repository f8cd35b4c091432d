"""Which rows of a table are meant."""

from collections.abc import Iterable, Mapping

from tfhub_transfer.errors import InputError
from tfhub_transfer.incoming import ranges, values


def share(index: object, count: object) -> tuple[int, int]:
    """The rows `index`, `index + count`, and so on, as a start and a step.

    Args:
        index: Which of the shares, from 0.
        count: How many shares there are.

    Raises:
        InputError: If there is no such share, or less than one.

    Example:

    >>> share(1, 4)
    (1, 4)
    """
    step = ranges.whole_number("count", count, *ranges.SIZE)
    return ranges.whole_number("index", index, 0, step - 1), step


def row_numbers(given: object, count: int) -> list[int]:
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
    if isinstance(found, list):
        # Not by `isinstance`, to which a boolean is a whole number too.
        kinds = {type(each) for each in found}
        if kinds == {bool} and len(found) == count:
            return [row for row, chosen in enumerate(found) if chosen]
        if kinds <= {int} and all(-count <= each < count for each in found):
            return found
    shown = str(given) if len(str(given)) < 80 else f"{str(given)[:80]}…"
    raise InputError(
        f"rows are chosen by a slice, by a list of numbers from 0 to {count - 1}, or of one "
        f"boolean for each of {count}. Received: {' '.join(shown.split())}"
    )
