"""Files of word vectors, as GloVe, word2vec and fastText write them in text."""

import zlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from tfhub_transfer.errors import InputError
from tfhub_transfer.storage import opening


def _lines(source: Path) -> Iterator[tuple[int, str]]:
    """Number and text of each line; only a line feed ends one, other separators may be words."""
    number = 0
    try:
        with opening.open_maybe_gzipped(source) as file:
            for number, line in enumerate(file, start=1):
                yield number, line.decode("utf-8").strip(" \t\r\n")
    except UnicodeDecodeError as error:
        raise InputError(
            f"Word vectors must be UTF-8 text ({error.reason}); binary formats have to be exported "
            "as text "
            f"first. Received: line {number} of {source}"
        ) from error
    except (OSError, EOFError, zlib.error) as error:
        raise InputError(
            f"The word vectors can't be read to the end ({error}). Received: {source} after line "
            f"{number}"
        ) from error


def read_word_vectors(source: Path, max_words: int | None) -> tuple[list[str], np.ndarray]:
    """The words of a file and their vectors, float32 [words, width].

    Args:
        source: Text, also gzipped: a word and its numbers on each line.
        max_words: Of how many words; of all if not given.

    Raises:
        InputError: A line is malformed (the message has its number), the file is empty or ends
            early, or a number is out of range.
    """
    found: dict[str, np.ndarray] = {}
    width, promised, rows = 0, None, 0
    for number, line in _lines(source):
        fields = line.split(" ")
        if number == 1 and len(fields) == 2 and all(field.isdecimal() for field in fields):
            promised, width = int(fields[0]), int(fields[1])
            continue
        width = width or len(fields) - 1
        word, vector = _word_and_vector(fields, width, f"line {number} of {source}")
        rows += 1
        found.setdefault(word, vector)
        if len(found) == max_words:
            break
    else:
        # Only of a file that was read to its end is the number of rows known.
        if promised is not None and rows != promised:
            raise InputError(
                f"The file's first line promises {promised} words; it may be truncated. "
                f"Received: {rows} words in {source}"
            )
    if not found:
        raise InputError(f"A file of word vectors must have at least one. Received: {source}")
    return list(found), np.stack(list(found.values()))


def _word_and_vector(fields: list[str], width: int, where: str) -> tuple[str, np.ndarray]:
    # Some files have words with spaces in them, so the numbers are counted from the right.
    word = " ".join(fields[:-width]) if width else ""
    try:
        # What float32 can't hold becomes infinite, and is refused below.
        with np.errstate(over="ignore"):
            vector = np.array([float(field) for field in fields[-width:]], np.float32)
    except ValueError:
        vector = np.full(width, np.nan, np.float32)
    if not word or not np.isfinite(vector).all():
        raise InputError(
            f"Each line of word vectors must be a word and {max(width, 1)} finite numbers, divided "
            "by single "
            f"spaces. Received: {' '.join(fields)[:40]!r} at {where}"
        )
    return word, vector
