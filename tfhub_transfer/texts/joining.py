"""Lists of words, and of sentences, as one text that says where each of them ends."""

import dataclasses
from collections.abc import Sequence

from tfhub_transfer.errors import InputError

# Between the words of a text that comes in words: to every tokenizer a space like any other.
WORD_END = "\u2028"
# Behind a word that is a list by itself, where it could be taken for a text: a space as well.
ALONE = "\u2029"
# The model's input with the place of each word's first piece, 0 where there is no word.
WORD_STARTS = "word_starts"


class Joined(str):
    """Words or sentences in one string, which says that the marks in it are no part of a text."""

    __slots__ = ()


def plain(text: str) -> str:
    """A text that isn't a list of words."""
    return text.replace(WORD_END, " ").replace(ALONE, " ")


def join_words(words: Sequence[str]) -> Joined:
    """One text of words that `split_words` tells apart again.

    Example:

    >>> split_words(join_words(["U.S.", "wins"])), split_words(join_words(["U.S."]))
    (['U.S.', 'wins'], ['U.S.'])
    """
    joined = WORD_END.join(map(plain, words))
    # One sign, or letters and digits of ASCII, are one word as a plain text, too.
    single = len(words) == 1 and len(joined) > 1 and not (joined.isascii() and joined.isalnum())
    return Joined(joined + ALONE if single else joined)


def require_last(words: Sequence[str], place: str) -> None:
    """Raises `InputError` if the last of several words is empty, as padding is.

    Args:
        words: Those of a text.
        place: How to name it in a message.
    """
    if len(words) > 1 and not words[-1]:
        raise InputError(
            f"{place}: the last word of a list can't be empty, which stands for no word; leave "
            f"padding out, and its tags. Received: {list(words)[-3:]}"
        )


def split_words(text: str) -> list[str]:
    """The words of a text that `join_words` made."""
    return text.removesuffix(ALONE).split(WORD_END)


def padded(rows: Sequence[Sequence[str]]) -> list[list[str]]:
    """Lists of words as exports take them, `[n, most]`: with empty ones behind the last of each.

    Example:

    >>> padded([["a", "b"], ["c"], []])
    [['a', 'b'], ['c', ''], ['', '']]
    """
    most = max(map(len, rows), default=0)
    return [[*row, *[""] * (most - len(row))] for row in rows]


def is_listed(text: str) -> bool:
    """Whether a text is words that `join_words` put together, and not a plain one."""
    return WORD_END in text or ALONE in text


def spaced(text: str) -> str:
    """A text to read: words that `join_words` put together with spaces between."""
    return " ".join(split_words(text)) if is_listed(text) else text


@dataclasses.dataclass(frozen=True)
class Segmentation:
    """What data has as one word, although there is punctuation in it (see `tasks.segmentation`).

    Attributes:
        shapes: Shapes of words that are one.
        words: Words that are one although their shape isn't among these.
        apart: What isn't one although its shape is.
        negation: Whether "didn't" is "did" and "n't".
    """

    shapes: tuple[str, ...] = ()
    words: tuple[str, ...] = ()
    apart: tuple[str, ...] = ()
    negation: bool = False
