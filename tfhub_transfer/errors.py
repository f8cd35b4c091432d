"""The one exception that means "the user can mend this"."""


class InputError(ValueError):
    """A mistake in what the user gave: a file, a column, a handle, an option.

    Its message is one line that says what is wrong, what was expected, how to mend it and what was
    received. The command line prints that line alone and exits with status 2; from Python it is an
    ordinary `ValueError`.

    Example:

    >>> raise InputError("`epochs` must be at least 1. Received: epochs=0")
    Traceback (most recent call last):
        ...
    tfhub_transfer.errors.InputError: `epochs` must be at least 1. Received: epochs=0
    """
