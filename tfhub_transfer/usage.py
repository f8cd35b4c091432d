"""How the command line reads its words, and says in one line which of them it can't read."""

import argparse
import difflib
import re
from collections.abc import Callable, Sequence
from typing import Any, NoReturn

from tfhub_transfer import ranges
from tfhub_transfer.errors import InputError

# How like two words must be, of 1, for one to be a slip of the finger for the other.
_LIKE = 0.75
# As `argparse` writes it.
_CHOICE = re.compile(r"^argument ([^:]*): invalid choice: (.*) \(choose from (.*)\)")


class Parser(argparse.ArgumentParser):
    """Says what is wrong in one line, as everything here does."""

    def error(self, message: str) -> NoReturn:
        """Raises `InputError` with what `argparse` found, in the words of this package.

        Args:
            message: As `argparse` says it.
        """
        # A message of ours names the option already.
        message = re.sub(r"^argument [^`:]*: (?=`)", "", message)
        message = _CHOICE.sub(_of_choices, message)
        message = re.sub(
            r"^argument ([^:]*): expected one argument", r"`\1` needs a value", message
        )
        raise InputError(f"{message}; `{self.prog} --help` lists what there is")

    def refuse(self, words: Sequence[str]) -> NoReturn:
        """Raises `InputError` of words that nothing is known by.

        Args:
            words: What is left of the command line.
        """
        option = next((word.split("=")[0] for word in words if word.startswith("-")), None)
        given = f"Received: {' '.join(words)}"
        if option is None:
            self.error(f"there is nothing else to name here; leave it out. {given}")
        known = re.findall(r"--[a-z-]+", self.format_usage())
        self.error(f"there is no option `{option}`{_meant(option, known)} {given}")


def _of_choices(found: re.Match[str]) -> str:
    """Of a value that is none of its choices."""
    name, value, listed = found.groups()
    choices = [each.strip("' ") for each in listed.split(",")]
    hint = _meant(value.strip("'"), choices)
    return f"`{name}` must be one of {', '.join(choices)}{hint} Received: {value}"


def _meant(word: str, known: Sequence[str]) -> str:
    """The end of a sentence: what may be meant by a word, if it is like one that is known."""
    near = difflib.get_close_matches(word, known, n=1, cutoff=_LIKE)
    return f"; did you mean {near[0]}?" if near else "."


def integer(name: str, bounds: tuple[int, int]) -> Callable[[str], int]:
    """What reads the value of an option that is a whole number.

    Args:
        name: The option.
        bounds: The smallest and the largest that is allowed.
    """

    def read(text: str) -> int:
        return _said(ranges.whole_number, name, text, *bounds)

    return read


def real(name: str, bounds: tuple[float, float], closed: bool = False) -> Callable[[str], float]:
    """What reads the value of an option that is a number.

    Args:
        name: The option.
        bounds: What it must be above, and the largest that is allowed.
        closed: Whether the lower bound itself is allowed too.
    """

    def read(text: str) -> float:
        return _said(ranges.real_number, name, text, *bounds, closed)

    return read


def _said(parse: Callable[..., Any], *given: Any) -> Any:
    try:
        return parse(*given)
    except InputError as error:
        raise argparse.ArgumentTypeError(str(error)) from error
