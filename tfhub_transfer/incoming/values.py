"""Values as other libraries hold them, recognised by what they can do, as Python's own.

NumPy, pandas, pyarrow, TensorFlow and `datasets` are known by their protocols alone: none of the
last four has to be installed.
"""

import ast
import contextlib
import datetime
import decimal
import enum
import json
import math
import re
import warnings
from collections.abc import Mapping
from numbers import Real
from typing import Any, TypeAlias

import numpy as np

from tfhub_transfer.shapes import Row

# A value of a library that is known by what it can do, which a checker can't follow.
Foreign: TypeAlias = Any

# Longer cells are texts, no lists.
_MOST_CHARACTERS = 100_000
_BRACKETS = {"[": "]", "(": ")", "{": "}"}
# A string in quotes, which SQL doubles inside, or a word without, and the comma or space after it.
_ITEM = re.compile(
    r"""\s*("(?:[^"\\]|\\.|"")*"|'(?:[^'\\]|\\.|'')*'|[^\s,'"\[\](){}]+)"""
    r"""\s*(?:,|(?=\s|$|["']))""",
    re.S,
)
# How NumPy and Python write what holds a list.
_WRAPPED = re.compile(
    r"^(?:np\.|numpy\.)?(?:array|frozenset|set)\((.*?)(?:,\s*dtype=[\w'<>.]+)?\)$", re.S
)
_OF_R = re.compile(r"""^(?:c|list)\(((?=.*["',]).*)\)$|^(?:character\(0\)|list\(\))$""", re.S)
# PostgreSQL's arrays: what holds a space, a comma or a brace is in quotes.
_BRACED_ITEM = re.compile(r"""\s*("(?:[^"\\]|\\.)*"|[^\s,'"\\(){}\[\]:=]+)\s*(,|$)""", re.S)
_LOOSE = re.compile(
    r"""\s*("(?:[^"\\]|\\.|"")*"(?=\s*(?:,|$))|'(?:[^'\\]|\\.|'')*'(?=\s*(?:,|$))|[^,'"]*)\s*(?:,|$)"""
)
_NUMPY = re.compile(r"""\bnp\.\w+\(('[^']*'|"[^"]*"|[\w.+-]+)\)""")
# What pandas takes for missing in tables, R and spreadsheets among those who write it, and what
# databases write.
_NOTHING = frozenset(
    "NULL null NA N/A n/a <NA> #NA #N/A None NaT -nan -NaN 1.#IND -1.#IND 1.#QNAN -1.#QNAN "
    "\\N".split()
) | {"#N/A N/A"}
_WORDS = {"true": True, "false": False, "none": None, "null": None, "nan": None}


class NotFinite(float):
    """What a file of JSON has by the names `NaN`, `Infinity` and `-Infinity`, which Python writes.

    JSON has no such numbers, and NaN is what other sources have for nothing: this was spelled.
    """


def plain(value: object) -> object:
    """A value as Python's own numbers, strings, lists and dictionaries.

    Arrays, tensors, series, tuples and sets become lists, those of sets in alphabetical order.
    What a masked array hides is None, and NumPy's dates are Python's, whatever their unit. What is
    none of these stays as it is.

    Args:
        value: Anything.

    Example:

    >>> plain({"b", "a"}), plain(np.array([1, 0])), plain(np.str_("a"))
    (['a', 'b'], [1, 0], 'a')
    """
    # Not by `isinstance`: NumPy's strings and floats, and members of Enums, would pass.
    if value is None or type(value) in (str, int, float, bool):
        return value
    if isinstance(value, str):
        # Not `str(value)`, for which an Enum of strings has a word of its own.
        return str.__str__(value)
    if isinstance(value, Mapping):
        return {plain(key): plain(each) for key, each in value.items()}
    if isinstance(value, (set, frozenset)):
        return sorted(map(plain, value), key=str)
    if isinstance(value, (list, tuple)):
        return [plain(each) for each in value]
    if isinstance(value, enum.Enum) and isinstance(value, int):
        return int(value)
    return _foreign(value)


def _foreign(value: Foreign) -> object:
    if hasattr(value, "as_py"):  # pyarrow's scalars
        return plain(value.as_py())
    if hasattr(value, "to_list") and hasattr(value, "ragged_rank"):
        return decoded(value.to_list())
    if hasattr(value, "toarray"):  # a sparse matrix, or a row of one
        dense = np.asarray(value.toarray())
        return plain(dense[0] if dense.shape[0] == 1 else dense)
    if isinstance(value, np.generic) and value.dtype.kind not in "mM":
        return value.item()
    if hasattr(value, "__array__") and not is_missing(value):
        array = value if isinstance(value, np.ma.MaskedArray) else np.asarray(value)
        if array.dtype.kind in "mM":
            # Of nanoseconds NumPy has no date of Python's, and gives a number.
            array = array.astype(f"{array.dtype.kind}8[us]")
        made = array.tolist()
        return decoded(made) if type(made) is not type(value) else value
    return value


def decoded(value: object) -> object:
    """What an array or a column held; its strings may be bytes, as TensorFlow's are.

    Args:
        value: A value or a list of them. Bytes that aren't UTF-8 become half characters, which are
            refused wherever texts and labels are checked.
    """
    value = plain(value)
    if isinstance(value, list):
        return [decoded(each) for each in value]
    return value.decode("utf-8", errors="surrogateescape") if isinstance(value, bytes) else value


def is_missing(value: object) -> bool:
    """Whether a value stands for none: `None`, not a number, pandas' `NA` and `NaT`.

    Args:
        value: Anything.
    """
    # By name: pandas needn't be installed.
    if value is None or type(value).__name__ in ("NAType", "NaTType"):
        return True
    if isinstance(value, decimal.Decimal):
        return value.is_nan()
    return isinstance(value, (float, np.floating)) and bool(np.isnan(value))


def is_nothing(value: object) -> bool:
    r"""Whether a cell holds nothing: missing, blank, or a word that programs write then.

    Args:
        value: Anything.

    Example:

    >>> is_nothing(" "), is_nothing("NULL"), is_nothing("\\N"), is_nothing("none")
    (True, True, True, False)
    """
    if not isinstance(value, str):
        return is_missing(value)
    text = value.strip()
    return not text or text in _NOTHING or text.lower() == "nan"


def is_blank(value: object) -> bool:
    """Whether a cell is missing, or a string of spaces alone.

    Args:
        value: Anything.
    """
    return not value.strip() if isinstance(value, str) else is_missing(value)


def kind(value: object) -> str:
    """What a value is, in the words of a message.

    Example:

    >>> kind([1]), kind(None), kind({})
    ('a list', 'nothing', 'a dictionary')
    """
    if is_missing(value):
        return "nothing"
    names: tuple[tuple[type | tuple[type, ...], str], ...] = (
        (enum.Enum, "a member of an Enum"),
        (bytes, "bytes"),
        (str, "a string"),
        (bool, "a boolean"),
        (Mapping, "a dictionary"),
        ((list, tuple), "a list"),
        ((datetime.date, datetime.time, np.datetime64), "a date"),
        (datetime.timedelta, "a span of time"),
    )
    return next((name for kinds, name in names if isinstance(value, kinds)), type(value).__name__)


def alone(value: object) -> object:
    """The value that a list of one holds, as rows of an array `[n, 1]` do; others as they are.

    Example:

    >>> alone(np.array([2.5])), alone("a")
    (2.5, 'a')
    """
    value = plain(value)
    return value[0] if isinstance(value, list) and len(value) == 1 else value


def number(value: object) -> float:
    """A value as a number, of a list of one its own; NaN if it is none.

    Args:
        value: A Python or NumPy number, or text that spells one.

    Example:

    >>> number("0.5"), number([2]), number("two")
    (0.5, 2.0, nan)
    """
    found = alone(value)
    if not isinstance(found, (str, bytes, Real, decimal.Decimal)):
        return math.nan
    try:
        return float(found)
    except (ValueError, OverflowError):
        return math.nan


# Tables ------------------------------------------------------------------------------------------


def column_names(table: object) -> list[str] | None:
    """The names of a table's columns; `None` if it is no table.

    Tables are dictionaries, and what has named columns: those of pandas, Polars, pyarrow,
    `datasets`, and NumPy's structured arrays.

    Args:
        table: Anything.

    Example:

    >>> column_names({"text": ["a"]}), column_names(["a"])
    (['text'], None)
    """
    if isinstance(table, Mapping):
        return list(table)
    if isinstance(table, np.ndarray):
        return None if table.dtype.names is None else list(table.dtype.names)
    if not hasattr(table, "__getitem__"):
        return None
    for attribute in ("column_names", "columns"):
        names = getattr(table, attribute, None)
        if names is not None and not callable(names):
            return list(names)
    return None


def column(table: Foreign, name: str) -> object:
    """A column of what has `column_names`.

    Args:
        table: The table.
        name: One of its names.

    Example:

    >>> column({"text": ["a"]}, "text")
    ['a']
    """
    return table[name]


def part(row: Row, path: str) -> object:
    """The cell of a column, or what a path such as `review.text` leads to inside of one.

    Args:
        row: By the names of columns.
        path: The name, or names with dots between; of lists the place, from 0.

    Raises:
        KeyError: If a dictionary, or the row, lacks a name; of nothing every part is nothing.

    Example:

    >>> part({"review": {"text": "fine"}}, "review.text"), part({"a": [{"b": "c"}]}, "a.0.b")
    ('fine', 'c')
    """
    if path in row:
        return row[path]
    name, _, rest = path.partition(".")
    if not rest:
        raise KeyError(path)
    inner = row[name]
    if inner is None:
        return None
    if isinstance(inner, (list, tuple)):
        inner = {str(place): each for place, each in enumerate(inner)}
    if not isinstance(inner, Mapping):
        raise KeyError(path)
    return part(inner, rest)


# Lists that were written as text -----------------------------------------------------------------


def written(text: str) -> list[object] | None:
    """The list that a string spells, as JSON, Python, NumPy, SQL or R do; `None` if it spells none.

    That takes brackets around quoted strings, numbers and booleans, with commas or spaces between.

    Args:
        text: A cell of a table.

    Example:

    >>> written("['pos', 'film']"), written("[0 1 0]"), written("[see below]")
    (['pos', 'film'], [0, 1, 0], None)
    """
    text = text.strip()
    if len(text) > _MOST_CHARACTERS or not text.endswith((*_BRACKETS.values(),)):
        return None
    wrapped = _WRAPPED.match(text)
    text = wrapped.group(1).strip() if wrapped else text
    if of_r := _OF_R.match(text):
        text = f"[{of_r.group(1) or ''}]"
    if wrapped and not text:
        return []
    if text[0] not in _BRACKETS or _BRACKETS[text[0]] != text[-1]:
        return None
    if not wrapped and text[0] == "(" and len(text) > 2 and "," not in text:
        return None  # a word in parentheses is no tuple
    inner, place = _NUMPY.sub(r"\1", text[1:-1]).strip(), 0
    items: list[object] = []
    while place < len(inner):
        found = _ITEM.match(inner, place)
        item = None if found is None else _item(found.group(1))
        if found is None or item is None:
            return None
        items.append(item[0])
        place = found.end()
    return items


def braced(text: str) -> list[str | None] | None:
    """The list that a string spells as PostgreSQL writes arrays; `None` if it spells none.

    Args:
        text: A cell of a table.

    Example:

    >>> braced('{pos,"a film"}'), braced("{}"), braced("{see below}")
    (['pos', 'a film'], [], None)
    """
    text = text.strip()
    if len(text) > _MOST_CHARACTERS or text[:1] + text[-1:] != "{}":
        return None
    inner, place = text[1:-1].strip(), 0
    items: list[str | None] = []
    while place < len(inner):
        found = _BRACED_ITEM.match(inner, place)
        if found is None:
            return None
        word, place = found.group(1), found.end()
        is_quoted = word[0] == '"'
        items.append(
            re.sub(r"\\(.)", r"\1", word[1:-1]) if is_quoted else None if word == "NULL" else word
        )
    return None if inner.endswith(",") else items


def loose(inner: str) -> list[str] | None:
    r"""What stands between commas, with quotes around what needs them, as DuckDB writes lists.

    Args:
        inner: A list as text, without its brackets.

    Example:

    >>> loose("a, b c, 'it\\'s'")
    ['a', 'b c', "it's"]
    """
    found: list[str] = []
    place = 0
    while place < len(inner):
        match = _LOOSE.match(inner, place)
        if match is None:
            return None
        word, place = match.group(1), match.end()
        own = _unquoted(word) if word[:1] in ("'", '"') else (word.strip(),)
        if own is None:
            return None
        found.append(own[0])
    return found


def _item(word: str) -> tuple[object] | None:
    """The value of one item, in a tuple, as it may be None; nothing if it is a word like others."""
    if word[0] in "\"'":
        return _unquoted(word)
    if word.lower() in _WORDS:
        return (_WORDS[word.lower()],)
    try:
        return (int(word),)
    except ValueError:
        pass
    try:
        return (float(word),)
    except ValueError:
        return None


def _unquoted(word: str) -> tuple[str] | None:
    quote = word[0]
    if quote * 2 in word[1:-1]:
        word = f"{quote}{word[1:-1].replace(quote * 2, chr(92) + quote)}{quote}"
    if "\\" not in word:
        return (word[1:-1],)
    try:
        return (json.loads(word),)
    except ValueError:
        pass
    try:
        with warnings.catch_warnings():
            # Texts such as "\d" are data, and nobody's code.
            warnings.simplefilter("ignore", SyntaxWarning)
            return (ast.literal_eval(word),)
    except (ValueError, SyntaxError):
        return None


# How what holds names and numbers begins, and what has no end: a table may have cut it off.
_BEGUN = re.compile(
    r"""(?:\w+\()?[\[{][\s\[{(]*(?:["']|\d+\s*,\s*\d+\s*,)|(?:c|list)\(\s*(?:\w+\s*=\s*)?["']"""
)
_CUT = re.compile(r"[\[{][^\])}]*,[^\])}]*")
_COUNTED = re.compile(r"^(?:Counter|OrderedDict|defaultdict)\((?:<[^>]*>,\s*)?(\{.*\})\)$", re.S)


def spelled(text: str) -> list[object] | dict[object, object] | None:
    """The list or the dictionary that a string spells, in JSON or Python; `None` if neither.

    Args:
        text: A cell of a table.

    Example:

    >>> spelled("{'ham': 0, 'spam': 1}"), spelled("['a']"), spelled("{see below}")
    ({'ham': 0, 'spam': 1}, ['a'], None)
    """
    found = written(text)
    if found is not None:
        return found
    text = text.strip()
    counted = _COUNTED.match(text)
    value = literal(_NUMPY.sub(r"\1", counted.group(1) if counted else text))
    return value if isinstance(value, dict) else None


def literal(text: str) -> object:
    """What a string spells as a list or an object of JSON or Python; `None` if it spells none.

    Args:
        text: A cell of a table.
    """
    text = text.strip()
    if text[:1] not in ("[", "{") or len(text) > _MOST_CHARACTERS:
        return None
    # JSON first: Python knows no `true` and no `null`.
    with contextlib.suppress(ValueError, RecursionError):
        return json.loads(text)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", SyntaxWarning)
            return ast.literal_eval(text)
    # All that `literal_eval` raises by its documentation.
    except (ValueError, SyntaxError, TypeError, RecursionError, MemoryError):
        return None


def is_broken(text: str) -> bool:
    """Whether a string begins as a list or a dictionary does that was written as text.

    Args:
        text: A cell of a table which `spelled` can't read.

    Example:

    >>> is_broken('{"neg": 0.2, "po'), is_broken("[[0, 5, 'x']]"), is_broken("{unknown}")
    (True, True, False)
    """
    text = text.strip()
    return _BEGUN.match(text) is not None or _CUT.fullmatch(text) is not None


def written_objects(text: str) -> object:
    """What a string spells in JSON, if that is a list or an object; else the string itself.

    Args:
        text: A cell of a table.
    """
    if text.strip()[:1] not in ("[", "{"):
        return text
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return text
