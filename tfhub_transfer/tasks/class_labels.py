"""Which forms of labels tasks of classes take: every one to names of classes, or a refusal.

A form that isn't understood must not become the name of a class: the model would learn nonsense,
and be right about it.
"""

import collections
import decimal
import math
import re
import unicodedata
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import TypeVar

from tfhub_transfer.data import label_columns
from tfhub_transfer.errors import InputError, RowError
from tfhub_transfer.incoming import values
from tfhub_transfer.incoming.wording import class_name

SEPARATOR = "|"
# What separates names in many files, and may as well be part of a name.
_SUSPICIOUS = ",;"
# Such as Java writes of what has keys, and R of lists.
_OBJECT = re.compile(r"[\[{].*[:=,].*[\]}]", re.S)
_BOOLEANS = {"false": 0, "true": 1}
# What a name holds and nobody sees: joiners, marks of directions and byte orders, soft hyphens.
_UNSEEN = re.compile("[\u00ad\u200b-\u200f\u202a-\u202e\u2060-\u2064\u2066-\u206f\ufeff]")
# Characters of a value, and values, that a message quotes.
_SHOWN = 60
_SOME = 5
# Classes that are so many and all numbers may be amounts.
_MANY = 10
# What stands between names of classes where there are several in one label.
_BETWEEN = re.compile(r"[|,;]")

Names = list[str]
Said = TypeVar("Said")


def rows(labels: object) -> list[object]:
    """Labels as a list, one for each text, whatever holds them.

    Args:
        labels: A list, an array, a series; or a table with a column of 0 and 1 for each class.

    Raises:
        InputError: If it is something else, of which one could go through something else than
            labels: the characters of a string, names of columns, a set without an order.
    """
    odd = isinstance(labels, (str, bytes, set, frozenset)) or not isinstance(labels, Iterable)
    if odd or (isinstance(labels, Mapping) and not any(map(_is_column, labels.values()))):
        raise InputError(
            "expected labels, one for each text: a list, an array, a series, such as "
            "`train.labels`; or a table with a column of 0 and 1 for each class. "
            f"Received: {type(labels).__name__}, {_shown(labels)}"
        )
    return label_columns.labels(labels)


def _is_column(cells: object) -> bool:
    return isinstance(cells, Iterable) and not isinstance(cells, (str, bytes))


def by_row(read: Callable[[object], Said], labels: Iterable[object]) -> list[Said]:
    """What labels say, one by one.

    Args:
        read: Reads one.
        labels: Any number.

    Raises:
        RowError: If one can't be read.
    """
    found, known = list[Said](), dict[str, Said]()
    for row, label in enumerate(rows(labels)):
        try:
            # The same few words again and again; what only derives from `str` may say anything.
            said = known[label] if type(label) is str and label in known else read(label)
        except InputError as error:
            raise RowError("label", row, str(error)) from error
        if type(label) is str and isinstance(said, str):  # not a list, which may be changed
            known[label] = said
        found.append(said)
    return found


def one(label: object, known: Collection[str] = ()) -> str:
    """The one class of a label.

    A label is a name or a number; or what holds just one: a list of one, also written as text, or
    a dictionary with a 1 for the one and a 0 for every other.

    Args:
        label: As a file or a list has it.
        known: As for `name`.

    Raises:
        InputError: If it is something else.

    Example:

    >>> one(1.0), one({"ham": 0, "spam": 1})
    ('1', 'spam')
    """
    value = values.plain(label)
    if isinstance(value, str):
        value = _read(value)
    if isinstance(value, dict):
        value = flagged(value)
    if not isinstance(value, list):
        return name(value, known)
    if len(value) == 1:
        return name(value[0], known)
    if value and all(_flag(each) is not None for each in value):
        raise InputError(
            "one class for each text is expected, by name or number: of a row with a 1 in one "
            "place give the place, as `labels.argmax(axis=1)` does, or use the multi-label task. "
            f"Received: {_shown(label)}"
        )
    raise InputError(
        "one class for each text is expected; where texts have several or none, use the "
        f"multi-label task. Received: {values.kind(label)} of {len(value)}, {_shown(label)}"
    )


def _read(text: str) -> object:
    """What a string spells, or the string itself, if it isn't a list or dictionary gone wrong."""
    found = values.spelled(text)
    if found is None and len(several := values.braced(text) or []) > 1:
        return several
    if found is None and values.is_broken(text):
        raise InputError(
            "a label is a list or a dictionary that was written as text and can't be read: it is "
            "cut off, or holds more than names and numbers; write the name of a class, several as "
            f"a JSON list, or a column of 0 and 1 for each class. Received: {_shown(text)}"
        )
    return text if found is None else found


def require_names(names: Sequence[str]) -> None:
    """Raises `InputError` if most names of classes are something else, written as text.

    Args:
        names: What was learned from labels.
    """
    odd = [each for each in names if _OBJECT.fullmatch(each)]
    if len(odd) * 2 > len(names):
        raise InputError(
            "most labels are in brackets, as dictionaries written as text are, and no names of "
            "classes; write the name of each, or a column of 0 and 1 for each class. Received: "
            f"{_shown(odd[0])}"
        )


def name(value: object, known: Collection[str] = ()) -> str:
    """The name of a class.

    Args:
        value: A string, a boolean, or a number; 1.0 is spelled "1".
        known: Names of classes, of which one may be called as nothing is elsewhere, such as NA.

    Raises:
        InputError: If it is something else, missing or blank.
    """
    if values.is_nothing(value) and (values.is_blank(value) or str(value).strip() not in known):
        raise InputError(
            "a label is missing; fill it in or drop the row (a text without any class has the "
            "label [] of the multi-label task); a class that is called NA, None or null must be "
            f"among given `class_names` (`--class-names`). Received: {_shown(value)}"
        )
    is_name = isinstance(value, (str, bool, int, float, decimal.Decimal))
    is_name = is_name and value not in (math.inf, -math.inf)
    if isinstance(value, decimal.Decimal) and not value.is_finite():
        is_name = False
    elif isinstance(value, decimal.Decimal):
        value = int(value) if value == value.to_integral_value() else str(value)
    if not is_name:
        raise InputError(
            "a label must be a string or a number; give the name of the class, as `str(label)` or "
            f"the label's own `.name`. Received: {values.kind(value)}, {_shown(value)}"
        )
    return class_name(value)


def require_apart(names: Sequence[str]) -> None:
    """Raises `InputError` if classes are one to whoever reads them, and would be learned as two.

    Args:
        names: Of classes.
    """
    seen: dict[str, str] = {}
    twice = [each for each, count in collections.Counter(names).items() if count > 1 or not each]
    if twice:
        raise InputError(
            f"class names must differ, and none may be blank. Received: {twice[:_SOME]}"
        )
    for each in names:
        shape = " ".join(unicodedata.normalize("NFC", _UNSEEN.sub("", each)).split())
        other = seen.setdefault(shape, each)
        if other != each:
            raise InputError(
                "two names of classes look alike; write them alike (`unicodedata.normalize`, and "
                f"no more than one plain space between words). Received: {other!a} and "
                f"{each!a}"
            )
    lower = {each.lower() for each in names}
    truths = lower & {*_BOOLEANS}
    if truths and lower <= {*_BOOLEANS, "0", "1"} and (lower > truths or len(lower) < len(names)):
        raise InputError(
            "true and false in several ways in one column of labels: 1 and True may be one class "
            f"or two; write them alike. Received: {', '.join(names)}"
        )


def flagged(flags: Mapping[object, object]) -> Names:
    """The classes that have a 1 in a dictionary with a 0 or a 1 for each.

    Args:
        flags: By name; also booleans, and 0, 1, true, false, yes, no as text.

    Raises:
        InputError: If there is anything else in it.
    """
    # What heads a column is a class, even `NA`, which as a label would be missing.
    found = {name(key, (str(key).strip(),)): _flag(value) for key, value in flags.items()}
    odd = [(key, value) for key, value in flags.items() if _flag(value) is None]
    if odd or not found:
        raise InputError(
            "a dictionary or several label columns must say 0 or 1 for each class; make shares a 0 "
            "or a 1 first, and drop rows that nobody judged. Received: "
            f"{f'{odd[0][0]!r}: {_shown(odd[0][1])}' if odd else 'an empty dictionary'}"
        )
    return [key for key, flag in found.items() if flag]


def _flag(value: object) -> int | None:
    """0 or 1; nothing if a value stands for neither."""
    if isinstance(value, (bool, int, float)):
        return int(value) if value in (0, 1) else None
    if not isinstance(value, str):
        return None
    return label_columns.FLAGS.get(value.strip().lower())


# Several classes a text --------------------------------------------------------------------------


class Several:
    """Labels that hold any number of classes, read together, as one tells what another means.

    A label is a list, tuple, set or array of names, a string with a separator between names, a
    list written as text, a dictionary `{name: 0 or 1}`, one name or number; or a row with a 0 or a
    1 for each of the classes in their order (multi-hot), which must be known.

    Args:
        labels: As a file or a list has them.
        separator: What stands between names in a string; `|` if not given.
        known: The classes, where they are known.

    Attributes:
        rows: What each label holds: names, and booleans, which may stand for a 0 or a 1.
        declared: Classes that dictionaries name, be it with a 0.
        way: What `names` took numbers for that could be both, of two given classes: `"flags"`, a 0
            or a 1 for each, or `"places"`; `None` if there were none.

    Raises:
        InputError: If one is something else.
    """

    def __init__(
        self, labels: Sequence[object], separator: str | None, known: Sequence[str] | None
    ) -> None:
        self._known = {} if known is None else {each: i for i, each in enumerate(known)}
        plain = [values.plain(label) for label in rows(labels)]
        self._separator = separator
        strings = [label for label in plain if isinstance(label, str)]
        # One `|` anywhere says what separates; commas in other labels are parts of names then.
        self._bars = any(SEPARATOR in text for text in strings)
        self.declared: set[str] = set()
        self.way: str | None = None
        self.rows = by_row(self._items, plain)

    def _items(self, label: object) -> list[str | bool]:
        """The names of a label, or the numbers in it."""
        if isinstance(label, dict):
            self.declared.update(name(key, (str(key).strip(),)) for key in label)
            return [*flagged(label)]
        if isinstance(label, str):
            return self._split(label)
        if not isinstance(label, list):
            return [name(label, self._known)]
        blank = [isinstance(each, str) and not each.strip() for each in label]
        odd = next((each for each in label if self._is_share(each)), None)
        if odd is not None:
            raise InputError(
                "a list holds names of classes, their numbers from 0, or a 0 or a 1 for each: make "
                "shares a 0 or a 1 first, and leave out what pads a list. Received: "
                f"{_shown(odd)} in {_shown(label)}"
            )
        return [
            each if isinstance(each, bool) else name(each, self._known)
            for each, is_blank in zip(label, blank)
            if not is_blank
        ]

    def _is_share(self, value: object) -> bool:
        """Whether a number in a list is neither the number of a class nor a 0 or a 1."""
        if not isinstance(value, (int, float)) or values.is_missing(value):
            return False
        return (value < 0 or value % 1 != 0) and class_name(value) not in self._known

    def _split(self, text: str) -> list[str | bool]:
        found = _read(text)
        if not isinstance(found, str):
            return self._items(found)
        text = text.strip()
        by_comma = text not in self._known and self._separator in (None, ",")
        braced = values.braced(text) if by_comma else None
        if braced is not None and not any(sign in str(each) for each in braced for sign in "|;"):
            return self._items(braced)
        if self._separator is not None:
            return [name(part, self._known) for part in _parts(text, self._separator, self._known)]
        if text in self._known or not text:
            return [text] if text else []
        if text[0] + text[-1] in ("[]", "{}"):
            raise InputError(
                "a label is in brackets, but no list of quoted names or of numbers; quote them, or "
                f"say with `label_separator` what stands between. Received: {_shown(text)}"
            )
        if not self._bars and any(sign in text for sign in _SUSPICIOUS):
            raise InputError(
                "one name with a comma or several names? Say what stands between names with "
                "`label_separator` (`--label-separator`): ',' or ';', or '|' where names hold "
                f"commas. Received: {_shown(text)}"
            )
        return [name(part, self._known) for part in text.split(SEPARATOR) if part.strip()]

    def names(self, given: bool) -> list[Names]:
        """The names of each row's classes.

        Args:
            given: Whether the classes were given, so that their order says what numbers mean;
                otherwise they were learned.

        Raises:
            InputError: If rows of numbers can't be told from others.
        """
        flags = [_flags(row) for row in self.rows]
        spelled = [[class_name(each) for each in row] for row in self.rows]
        if not any(spelled) or not all(map(_are_numbers, spelled)):
            return spelled
        count, by_name = len(self._known), any(map(_is_number, self._known))
        fits = [found is not None and len(found) == count for found in flags]
        if given and count > 1 and all(fits) and not (by_name and count == 2):
            order = list(self._known)
            self.way = "flags" if count == 2 else None
            return [[order[i] for i, flag in enumerate(found or []) if flag] for found in flags]
        odd = next((row for row, found in zip(self.rows, flags) if _repeats(row, found)), None)
        if odd is None and not self._known and len(set(map(len, spelled))) == 1:
            # The same number of flags in every row, of which each could be a class as well.
            odd = self.rows[0] if len(self.rows[0]) > 1 and None not in flags else None
        if odd is not None:
            raise InputError(
                "rows with a 0 or a 1 for each class need its name: give the task `class_names` "
                "(`--class-names`) in the order of the columns, as many as a row has values, or "
                "the file a column for each class (`--label a,b,c`). Received: "
                f"{_shown(odd)} and {count} {'given' if given else 'learned'} classes"
            )
        twos = [len(row) == 2 for row in self.rows]
        if given and count == 2 and (all(twos) if by_name else any(twos)):
            raise InputError(
                "lists of numbers with two classes can mean two things, [0, 1] both or the second; "
                "give names that are no numbers. "
                f"Received: {_shown(next(r for r in self.rows if len(r) == 2))}"
            )
        self.way = "places" if given and count == 2 and not by_name else None
        return spelled


def _parts(text: str, separator: str, known: Collection[str]) -> Names:
    """What stands between separators, without brackets around all and quotes around each."""
    if text not in known and text[:1] + text[-1:] in ("[]", "{}"):
        text = text[1:-1]
        if separator == "," and (found := values.loose(text)) is not None:
            return [part for part in found if part.strip()]
    # Of blank separators a run counts as one, as between words.
    found = text.split(separator if separator.strip() else None)
    parts = [part.strip() for part in found if part.strip()]
    quoted = [len(part) > 1 and part[0] == part[-1] and part[0] in "\"'" for part in parts]
    return [part[1:-1] for part in parts] if all(quoted) else parts


def _flags(row: Sequence[str | bool]) -> list[int] | None:
    found = [_flag(each) for each in row]
    if None in found or not all(isinstance(each, bool) or each in ("0", "1") for each in row):
        return None
    return [flag for flag in found if flag is not None]


def _repeats(row: Sequence[str | bool], flags: list[int] | None) -> bool:
    """Whether a row of 0 and 1 has one of them twice, as lists of classes don't."""
    return flags is not None and len(set(map(str, row))) < len(row)


def _is_number(spelled: str) -> bool:
    return spelled.isascii() and spelled.isdigit()


def _number(spelled: str) -> float | None:
    try:
        return float(spelled) if math.isfinite(float(spelled)) else None
    except ValueError:
        return None


def _are_numbers(names: Names) -> bool:
    return all(_is_number(each) or each.lower() in _BOOLEANS for each in names)


# Names to places ---------------------------------------------------------------------------------


def places(
    rows: Sequence[Names], known: Sequence[str], given: bool, unknown: Callable[[Names], Exception]
) -> list[list[int]]:
    """The places of classes among those that are known.

    Numbers are places themselves where classes with other names were given in an order.

    Args:
        rows: Names of each row's classes.
        known: The classes.
        given: Whether they were given, rather than learned from labels.
        unknown: Makes what is raised of names that aren't known.

    Raises:
        InputError: If one isn't known.
    """
    index = {each: i for i, each in enumerate(known)}
    strange = sorted({each for row in rows for each in row if each not in index})
    if not strange:
        return [[index[each] for each in row] for row in rows]
    numbers = all(_are_numbers(row) for row in rows) and all(
        _number(each) is None for each in known
    )
    if numbers and not given:
        raise InputError(
            "numbers instead of names of classes: give the task `class_names` (`--class-names`) in "
            "the order of the numbers, or labels as they were in training. "
            f"Received: {strange[:_SOME]} for the classes {', '.join(known[:_SOME])}"
        )
    if not numbers:
        raise unknown(strange)
    booleans = _BOOLEANS if len(known) == 2 else {}
    found = [[booleans.get(each.lower(), _place(each)) for each in row] for row in rows]
    high = [each for row in found for each in row if not 0 <= each < len(known)]
    if high:
        raise InputError(
            f"numbers of classes go from 0 to {len(known) - 1}, by the order of `class_names`; "
            f"give as many names as there are classes. Received: {rows[0][:_SOME]} among others, "
            f"and {len(known)} names"
        )
    return found


def _place(spelled: str) -> int:
    return int(spelled) if _is_number(spelled) else -1


def unknown(kind: str, learned: bool, strange: Names, known: Sequence[str]) -> InputError:
    """What to raise of names that aren't known.

    Args:
        kind: What they name, a class or a tag.
        learned: Whether those that are known were learned from labels, rather than given.
        strange: Those that aren't.
        known: Those that are.
    """
    must = "occur in the training split; add examples of it there"
    if not learned:
        must = "be among `class_names` (`--class-names`); add it there, before the model is built"
    numbers = [_number(each) for each in (*strange, *known)]
    if None not in numbers and any(each % 1 for each in numbers if each):
        must += "; for numbers to predict use the regression task"
    more = ", ..." if len(known) > _SOME else ""
    return InputError(
        f"every {kind} must {must}, or remove the rows that have it. Received: {strange[:_SOME]}, "
        f"not among the {len(known)} known ({', '.join(known[:_SOME])}{more})"
    )


def doubts(known: Sequence[str]) -> list[str]:
    """What speaks against one class a text, as the names of classes show; one line each.

    Args:
        known: The classes.
    """
    return [*_amounts(known), *_together(known)]


def _amounts(names: Sequence[str]) -> list[str]:
    """Classes that are numbers with a fraction were hardly meant as classes."""
    if len(names) < _MANY:
        return []
    try:
        broken = [name for name in names if float(name) % 1]
    except ValueError:
        return []
    return [
        f"the {len(names)} classes are numbers such as {', '.join(broken[:3])}, and what is near "
        "counts as wrong as what is far: amounts are for the regression task"
    ][: len(broken)]


def _together(names: Sequence[str]) -> list[str]:
    """Names of classes that are names of others with a sign between were hardly meant as one."""
    parts = {name: [part.strip() for part in _BETWEEN.split(name)] for name in names}
    several = [name for name, each in parts.items() if len(each) > 1 and {*each} <= {*names}]
    if not several:
        return []
    return [
        f"{', '.join(map(repr, several[:3]))} is one class each here, made of names of others: "
        "labels that hold several are for the multi-label task"
    ]


def tags(label: object, known: Collection[str] = ()) -> Names:
    """The tags of a text's words.

    Args:
        label: A list of tags or of their numbers, also one that is written as text.
        known: As for `name`.

    Raises:
        InputError: If it is none.

    Example:

    >>> tags("['O', 'B-place']"), tags((0, 1.0))
    (['O', 'B-place'], ['0', '1'])
    """
    value = values.plain(label)
    found = value
    if isinstance(value, str):
        found = values.written(value)
        found = values.braced(value) if found is None else found
    if not isinstance(found, list):
        raise InputError(
            "expected the tags of a text's words as a list, which JSON lines and CoNLL files can "
            'hold; in CSV it is written as ["O", "B-place"]. For one class a text use the '
            f"classification task. Received: {_shown(label)}"
        )
    return [name(tag, known) for tag in found]


def weights(places_of_rows: Sequence[int], classes: int) -> dict[int, float]:
    """Weights that make every class count the same: `n / (classes that occur * n of the class)`.

    Args:
        places_of_rows: The class of each row, by its place.
        classes: How many there are; one that doesn't occur weighs 1.

    Raises:
        InputError: If there are no rows.
    """
    if not len(places_of_rows):
        raise InputError(
            "class weights need one class for each row; give the labels of the training split. "
            "Received: no labels"
        )
    counts = collections.Counter(int(each) for each in places_of_rows)
    rows = len(places_of_rows)
    # `check_class_weights` wants a weight for each class, of those that don't occur too.
    return {i: rows / (len(counts) * counts[i]) if i in counts else 1.0 for i in range(classes)}


def _shown(value: object) -> str:
    shown = repr(value)
    return shown if len(shown) <= _SHOWN else f"{shown[:_SHOWN]}…"
