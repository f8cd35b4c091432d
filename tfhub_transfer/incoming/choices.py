"""Words that users give, each one of a few."""

from tfhub_transfer.errors import InputError


def one_of(argument: str, value: str, choices: tuple[str, ...]) -> None:
    """Raises `InputError` if an argument's value is none of its choices."""
    if value not in choices:
        raise InputError(f"`{argument}` must be one of {', '.join(choices)}. Received: {value!r}")
