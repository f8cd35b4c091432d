"""Groups of test examples: by values of columns, the length of texts, their language, a word."""

import collections
import contextlib
import dataclasses
import datetime
import math
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence, Set
from typing import TypeAlias

import numpy as np
from sklearn.feature_extraction.text import CountVectorizer

from tfhub_transfer.data import Examples
from tfhub_transfer.errors import InputError
from tfhub_transfer.incoming import values
from tfhub_transfer.texts import languages, scripts

# What to group by: names of columns, or their cells by name.
Asked: TypeAlias = str | Sequence[str] | Mapping[str, Sequence[object]] | None
# Rows of a group that nobody named; of a value that is no "other one".
LEAST, LEAST_OF_VALUE = 20, 5
# Values of a column that stand by themselves; of more numbers or dates there are quarters.
_MOST_VALUES = 20
_QUARTERS = (0.25, 0.5, 0.75)
# Words that are looked for, in at most this share of the texts. Of more rows counting takes long.
_WORDS, _MOST_TEXTS, _MOST_ROWS = 100, 0.5, 200_000
# With what follows an apostrophe, so that "isn't" is no "isn" and "t".
_A_WORD = r"(?u)\b\w+(?:['’]\w+)*\b"
BLANK, OTHERS, NO_LETTERS = "(blank)", "(other values)", "no letters"
SCRIPT, LANGUAGE, WORD = "script", "detected language", "word"
_IN_WORDS, _IN_CHARACTERS = "length in words", "length in characters"


@dataclasses.dataclass(frozen=True)
class Group:
    """Examples that have something in common.

    Attributes:
        by: What: a column's name, a length, `SCRIPT`, `LANGUAGE`, `WORD`.
        name: Its value.
        rows: Which examples these are, bool `[n]`.
    """

    by: str
    name: str
    rows: np.ndarray


def columns(examples: Examples, asked: Asked) -> dict[str, list[object]]:
    """The columns that examples are to be grouped by.

    Args:
        examples: The test split.
        asked: Names of its columns, as a list or with commas between; or `{name: values}` or a
            table, with a value for each example; or nothing.

    Raises:
        InputError: If there is no such column, or it holds what can't be told apart.
    """
    names = values.column_names(asked)
    if names is not None:
        given = {str(name): _listed(values.column(asked, name), name) for name in names}
    else:
        given = {name: _column(examples, name) for name in named(asked, examples.columns)}
    for name, cells in given.items():
        if len(cells) != len(examples):
            raise InputError(
                f"`slices` has a value for each example to evaluate on, which are {len(examples)}. "
                f"Received: {len(cells)} of {name!r}"
            )
        given[name] = list(map(values.alone, cells))
        for cell in given[name]:
            if isinstance(cell, (list, tuple, Mapping)):
                raise InputError(
                    "a column to slice by has one value in each row; name another one, or a part "
                    f"of its values behind a full stop. Received: {values.kind(cell)} in {name!r}"
                )
    return given


def _listed(cells: object, name: object) -> list[object]:
    with contextlib.suppress(TypeError):  # as an array of no dimension raises
        if isinstance(cells, Iterable) and not isinstance(cells, (str, bytes, Mapping, Set)):
            return list(cells)
    raise InputError(
        "`slices` has a list for each name, with a value for each example. "
        f"Received: {values.kind(cells)} for {str(name)!r}"
    )


def named(asked: Asked, known: Collection[str]) -> list[str]:
    """The names of columns that are asked for, each once.

    Args:
        asked: As of `columns`.
        known: Names that there are, which may hold a comma, or spaces around.

    Raises:
        InputError: If these are no names.
    """
    if asked is None:
        return []
    found = values.plain(asked)
    if not isinstance(found, (str, list)) or isinstance(asked, Set):
        raise InputError(
            "`slices` are names of columns, or a dictionary of their values by name. "
            f"Received: {values.kind(asked)}"
        )
    if isinstance(found, str):
        found = [found] if found in known else found.split(",")
    names = (str(name) for name in found)
    return list(dict.fromkeys(name if name in known else name.strip() for name in names))


def _column(examples: Examples, name: str) -> list[object]:
    ours = {"text", "text_a", "text_b", "text_c", examples.target, examples.weight}
    held = {column: cells for column, cells in examples.columns.items() if column not in ours}
    if name in held:
        return held[name]
    top = name.partition(".")[0]
    with contextlib.suppress(KeyError):
        if top in held:
            return [None if c is None else values.part({top: c}, name) for c in held[top]]
    how = (
        f"slice by one of {', '.join(map(repr, held))}" if held else "it has no other; leave it out"
    )
    raise InputError(
        f"{examples.source} has no column {name!r} beside texts and labels; {how} (`slices`, "
        f"`--slice`). Received: {name!r}"
    )


def columns_of_tasks(
    parts: Mapping[str, Examples], asked: Asked
) -> dict[str, dict[str, list[object]]]:
    """As `columns`, of several tasks: of each those that it has.

    Args:
        parts: The test split of each task.
        asked: Names of columns, each of which a task must have.

    Raises:
        InputError: If there is no such column.
    """
    if isinstance(asked, Mapping):
        raise InputError(
            "of several tasks `slices` are names of columns that their examples have. Received: "
            f"values of {', '.join(map(repr, asked))}"
        )
    found: dict[str, dict[str, list[object]]] = {task: {} for task in parts}
    known = {column for own in parts.values() for column in own.columns}
    for name in named(asked, known):
        refused: list[InputError] = []
        for task, own in parts.items():
            try:
                found[task] |= columns(own, [name])
            except InputError as error:
                refused.append(error)
        if len(refused) == len(parts):
            raise refused[0]
    return found


def groups_of_columns(given: Mapping[str, Sequence[object]]) -> Iterator[Group]:
    """Groups by values of columns: the most frequent ones; quarters of many numbers or dates.

    Args:
        given: From `columns`.
    """
    for column, cells in given.items():
        by = column_named(column)
        names, order = _values(list(map(values.plain, cells)))
        for name in order:
            yield Group(by, name, names == name)


def column_named(name: str) -> str:
    """What groups of a column are by: its name, which what texts say of themselves may have.

    Args:
        name: The column's.
    """
    ours = (SCRIPT, LANGUAGE, WORD, _IN_WORDS, _IN_CHARACTERS)
    return f"column {name}" if name in ours else name


def _values(cells: list[object]) -> tuple[np.ndarray, list[str]]:
    """The name of each cell's group, and the names that occur, in their order."""
    blank = np.array([values.is_nothing(cell) for cell in cells], bool)
    ranges = _ranges([cell for cell, is_blank in zip(cells, blank) if not is_blank])
    if ranges is None:  # "NA" may be a value among others, and is none among numbers
        blank = np.array([values.is_blank(cell) for cell in cells], bool)
    filled = [cell for cell, is_blank in zip(cells, blank) if not is_blank]
    names = np.full(len(cells), BLANK, dtype=object)
    names[~blank] = ranges or _frequent([_spelled(cell) for cell in filled])
    return names, list(dict.fromkeys([*sorted(set(names[~blank]) - {OTHERS}), *names]))


def _spelled(value: object) -> str:
    whole = isinstance(value, float) and value.is_integer()
    return f"{value:.0f}" if whole else str(value).strip()


def _frequent(found: list[str]) -> list[str]:
    """Values, of which rare ones are one together."""
    counts = collections.Counter(found)
    order = sorted(counts, key=lambda name: (-counts[name], name))
    kept = {name for name in order[:_MOST_VALUES] if counts[name] >= LEAST_OF_VALUE}
    rare = len(counts) - len(kept)
    return [name if name in kept or rare == 1 else OTHERS for name in found]


def _ranges(cells: list[object]) -> list[str] | None:
    """Quarters of cells that are many different numbers, dates or times; `None` of others."""
    if len(set(map(str, cells))) <= _MOST_VALUES or any(isinstance(c, bool) for c in cells):
        return None
    for key in (values.number, _date, _time):
        keys = np.array(list(map(key, cells)))
        if not np.isnan(keys).any():
            return quarters(keys, [_spelled(cell) for cell in cells])
    return None


def _date(value: object) -> float:
    """A date as ISO 8601 writes it, in seconds; without a zone in UTC."""
    try:
        found = datetime.datetime.fromisoformat(str(value).strip())
    except ValueError:
        return math.nan
    return (found if found.tzinfo else found.replace(tzinfo=datetime.UTC)).timestamp()


def _time(value: object) -> float:
    """A span of time, or a time of the day, in seconds."""
    if isinstance(value, datetime.timedelta):
        return value.total_seconds()
    try:
        found = datetime.time.fromisoformat(str(value).strip())
    except ValueError:
        return math.nan
    return 3600 * found.hour + 60 * found.minute + found.second + found.microsecond / 1e6


def quarters(keys: np.ndarray, shown: Sequence[str]) -> list[str]:
    """Values in four parts of about as many, by what each goes from and to; equal ones together.

    Args:
        keys: What they are ordered by `[n]`.
        shown: The values in words.

    Example:

    >>> quarters(np.array([7, 1, 2, 3, 3]), ["7", "1", "2", "3", "3"])
    ['7', '1 to 2', '1 to 2', '3', '3']
    """
    cuts = np.unique(np.quantile(keys, _QUARTERS, method="inverted_cdf"))
    place = np.searchsorted(cuts, keys, side="left")
    order = np.argsort(keys, kind="stable")
    found = [""] * len(keys)
    for part in np.unique(place):
        mine = order[place[order] == part]
        low, high = shown[mine[0]], shown[mine[-1]]
        for row in mine:
            found[row] = low if low == high else f"{low} to {high}"
    return found


def groups_of_texts(texts: Sequence[str]) -> list[Group]:
    """Groups by the length of texts, script, language and words, each of `LEAST` examples or more.

    Args:
        texts: The texts; those of a pair as one.
    """
    found = [*_lengths(texts), *_scripts(texts), *_languages(texts), *_words(texts)]
    return [each for each in found if LEAST <= each.rows.sum() <= len(texts) - LEAST]


def _lengths(texts: Sequence[str]) -> Iterator[Group]:
    """Quarters by words; by characters of texts that write no spaces."""
    words = [len(text.split()) for text in texts]
    several = len(set(words)) > 1
    by, counts = (_IN_WORDS, words) if several else (_IN_CHARACTERS, list(map(len, texts)))
    names = np.array(quarters(np.array(counts), list(map(str, counts))), dtype=object)
    order = dict.fromkeys(dict(sorted(zip(counts, names))).values())
    return (Group(by, each, names == each) for each in order)


def _scripts(texts: Sequence[str]) -> Iterator[Group]:
    found = [scripts.of_text(text) for text in texts]
    names = np.array([NO_LETTERS if each is None else each.title() for each in found], dtype=object)
    return (Group(SCRIPT, each, names == each) for each in sorted(set(names)))


def _languages(texts: Sequence[str]) -> Iterator[Group]:
    """Languages by their codes, where there are several; texts of which nobody is sure in none."""
    if len(texts) > _MOST_ROWS:
        return
    names = np.array([languages.of_text(text) or "" for text in texts], dtype=object)
    told = [name for name in sorted({*names} - {""}) if (names == name).sum() >= LEAST]
    if len(told) > 1:
        yield from (Group(LANGUAGE, name, names == name) for name in told)


def _words(texts: Sequence[str]) -> Iterator[Group]:
    """The most frequent words, but for those of most texts; of two in the same texts the first."""
    if len(texts) > _MOST_ROWS:
        return
    reader = CountVectorizer(binary=True, token_pattern=_A_WORD, min_df=LEAST, max_df=_MOST_TEXTS)
    try:
        held = reader.fit_transform(texts).tocsc()
    except ValueError:  # as it says where no word is left
        return
    names = reader.get_feature_names_out()
    order = np.lexsort((np.arange(len(names)), -np.diff(held.indptr)))
    seen: set[bytes] = set()
    for word in order[:_WORDS]:
        rows = np.zeros(len(texts), bool)
        rows[held.indices[held.indptr[word] : held.indptr[word + 1]]] = True
        if rows.tobytes() not in seen:
            seen.add(rows.tobytes())
            yield Group(WORD, str(names[word]), rows)
