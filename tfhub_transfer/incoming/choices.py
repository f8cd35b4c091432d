"""Words that users give, each one of a few, and flags."""

import numpy as np

from tfhub_transfer.errors import InputError


def one_of(argument: str, value: str, choices: tuple[str, ...]) -> None:
    """Raises `InputError` if an argument's value is none of its choices."""
    if value not in choices:
        raise InputError(f"`{argument}` must be one of {', '.join(choices)}. Received: {value!r}")


def flag(argument: str, value: object) -> bool:
    """Returns what is true or false; "no" is neither, though Python takes it for true.

    Args:
        argument: What the user calls it.
        value: `True` or `False`, of Python or NumPy, or 1 or 0.

    Raises:
        InputError: If it is something else.

    Example:

    >>> flag("pair", 1)
    True
    """
    if isinstance(value, (bool, np.bool_, int, np.integer)) and value in (0, 1):
        return bool(value)
    raise InputError(f"`{argument}` must be True or False. Received: {value!r}")
