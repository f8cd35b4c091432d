"""The one exception that means "the user can mend this", and text made fit for a terminal."""

import contextlib
import re
from collections.abc import Iterator, Sequence
from typing import Protocol

# Of a message, so that a label of a megabyte doesn't fill a screen.
MOST_CHARACTERS = 2000
# Control characters but tab and line feed; marks that turn or hide what is around them; lone halves
# of a character. Joiners (U+200C, U+200D) stay: emoji, Persian and Indic scripts need them.
_UNSEEN = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\xad\u061c\u200b\u200e\u200f\u2028-\u202e\u2060-\u2069"
    "\ufeff\ufff9-\ufffb\ud800-\udfff]"
)


class InputError(ValueError):
    """A mistake in what the user gave: a file, a column, a handle, an option.

    Its message is one line that says what is wrong, what was expected, how to mend it and what was
    received. The command line prints that line alone and exits with status 2; from Python it is an
    ordinary `ValueError`. Whatever a message quotes, it is printed as `one_line` makes it.

    Example:

    >>> raise InputError("`epochs` must be at least 1. Received: epochs=0")
    Traceback (most recent call last):
        ...
    tfhub_transfer.errors.InputError: `epochs` must be at least 1. Received: epochs=0
    """

    # TensorFlow, in `map` and in graphs, would make an error of its own of it, a page long.
    ag_pass_through = True

    def __str__(self) -> str:
        return one_line(super().__str__())


class Ended(Exception):
    """The end of a command whose exit status says something: that it may be tried again, say.

    Args:
        status: The exit status.
        message: What to say; nothing, where it was said already.
    """

    def __init__(self, status: int, message: str = "") -> None:
        super().__init__(status, message)
        self.status, self.message = status, message

    def __str__(self) -> str:
        return one_line(self.message)


class RowError(InputError):
    """A mistake in one of many rows, of which only who read them knows where they stand in a file.

    Args:
        what: What there are many of, such as "label".
        row: Its place among them, from 0.
        reason: What is wrong with it.

    Example:

    >>> str(RowError("label", 1, "it is missing"))
    'label 2: it is missing'
    """

    def __init__(self, what: str, row: int, reason: str) -> None:
        super().__init__(f"{what} {row + 1}: {reason}")
        self.what, self.row, self.reason = what, row, reason

    def __reduce__(self) -> tuple[object, ...]:
        # Exceptions are pickled with their message alone, of which this can't be made.
        return type(self), (self.what, self.row, self.reason)


class Placed(Protocol):
    """Rows of which is known where they stand in their source: `numbers`, if it has lines."""

    @property
    def numbers(self) -> Sequence[int] | None: ...

    def place(self, row: int) -> str:
        """Such as "reviews.csv, line 3"."""
        ...


@contextlib.contextmanager
def placed(examples: Placed) -> Iterator[None]:
    """Makes mistakes in rows say where these stand in the source, as "reviews.csv, line 3" does.

    Args:
        examples: `data.Examples`, whose rows are gone through inside.

    Raises:
        InputError: In the place of `RowError`.
    """
    try:
        yield
    except RowError as error:
        if examples.numbers is None:
            raise
        raise InputError(f"{examples.place(error.row)}: {error.reason}") from error


def visible(text: str) -> str:
    r"""A text from data as a terminal or a page may show it.

    Control characters, bidirectional and zero-width marks and lone surrogates are spelled as Python
    does. Line feeds, tabs and all ordinary Unicode stay.

    Args:
        text: Any text.

    Example:

    >>> print(visible("\x1b[31mred"), visible("naïve 🙂"))
    \x1b[31mred naïve 🙂
    """
    return _UNSEEN.sub(lambda found: _spelled(found.group()), text)


def one_line(text: str, most: int = MOST_CHARACTERS) -> str:
    r"""A `visible` text on one line, its middle cut out if it is long.

    Args:
        text: Any text.
        most: How many characters there may be.

    Example:

    >>> one_line("a label of " + 30 * "x", most=20)
    'a label of … xxxxxx'
    """
    line = " ".join(visible(text).split())
    if len(line) <= most:
        return line
    # The beginning says what is wrong, the end what was received; three are the dots and spaces.
    end = (most - 3) * 2 // 5
    return f"{line[: most - 3 - end]} … {line[len(line) - end :]}"


def _spelled(character: str) -> str:
    code = ord(character)
    return f"\\x{code:02x}" if code < 256 else f"\\u{code:04x}"
