"""What annotation tools export as JSON, as plain rows: spans to words and tags, choices to labels.

Known by the shape of their rows: doccano, Prodigy, spaCy (documents, training tuples, its format of
version 2), Label Studio (whole and JSON-MIN), and any row with a `text` and a list of spans.
"""

import dataclasses
import functools
from collections.abc import Callable, Collection, Iterator
from typing import Any, TypeAlias, TypedDict

from tfhub_transfer.data.forms import spans, words
from tfhub_transfer.data.forms.base import (
    LABEL,
    TAGS,
    TEXT,
    TEXT_A,
    TEXT_B,
    TOKENS,
    Asked,
    Form,
    Numbered,
    of_rows,
)
from tfhub_transfer.errors import InputError
from tfhub_transfer.incoming import wording
from tfhub_transfer.shapes import Row

# What a tool wrote, of the shape that its reader is annotated with: `_read` says so if it is not.
Written: TypeAlias = Any
# Begins to read rows with their numbers, as JSON has them: a row may also be a list.
Rows: TypeAlias = Callable[[], Iterator[tuple[int, Written]]]
# Keys of texts, and of spans in them.
TEXTS = (TEXT, "content", "sentence", "document")
SPANS = ("spans", "ents", "entities", LABEL, "labels", "annotations")
# What reading a row of another shape raises.
_ODD = (TypeError, KeyError, ValueError, AttributeError, IndexError)
# What Prodigy adds to every row, which says nothing of the text.
_OF_PRODIGY = (
    "_input_hash",
    "_task_hash",
    "_is_binary",
    "_session_id",
    "_annotator_id",
    "_view_id",
)


@dataclasses.dataclass
class _Item:
    """A row on its way: what it says besides its text, and its spans, if it has any."""

    row: dict[str, object]
    text: str = ""
    found: list[object] | None = None
    key: str = TEXT
    disputed: bool = False


_Reader: TypeAlias = Callable[[Written], _Item]


def is_row(value: Row) -> bool:
    """Whether an object is a row itself, rather than a file of rows.

    Args:
        value: An object from JSON.
    """
    return isinstance(value.get(_text_key(value)), str) or _is_label_studio(value)


def text_of(columns: Collection[str], asked: Asked) -> str | None:
    """The column of texts that spans may be places in; `None` if there is none.

    Args:
        columns: The names of all.
        asked: What the table is read for.
    """
    if asked.text is not None and asked.text != TOKENS:
        own = asked.text in columns and (asked.text in TEXTS or asked.label is not None)
        return asked.text if own else None
    return next((key for key in TEXTS if key in columns), None)


def keys_of(columns: Collection[str], asked: Asked) -> list[str]:
    """The columns that may hold spans.

    Args:
        columns: The names of all.
        asked: What the table is read for.
    """
    named = (asked.label,) if asked.label not in (None, TAGS, *SPANS) else ()
    return [key for key in (*SPANS, *named) if key in columns and asked.is_label(key)]


def form(
    rows: Rows, place: str, unit: str, said: list[str], asked: Asked | None = None
) -> Form | None:
    """The rows of an annotation tool; `None` if the rows are others.

    Args:
        rows: Begins to read the rows of a file.
        place: The file, for messages.
        unit: What their numbers count.
        said: Notes on the file.
        asked: What it is read for; for whatever it holds, if not given.

    Raises:
        InputError: If a row isn't as the tool writes it.
    """
    asked = asked or Asked()
    first = next(rows(), (0, None))[1]
    for name, is_it, make in _TOOLS:
        if is_it(first) and (asked.labels or name != "Prodigy"):  # whose rows have texts anyway
            wanted = asked.labels and (asked.label in (None, TAGS, *SPANS))
            read = _reader(make, rows, name, _Place(place, unit))
            return _form(rows, read, name, _Place(place, unit), said, wanted)
    key = _spans_key(rows, asked) if isinstance(first, dict) else None
    if key is None or first is None:
        return None
    text = text_of([*first], asked) or _text_key(first)
    return of_column(rows, place, unit, said, (text, key, asked.text or TEXT))


def of_column(
    rows: Rows, place: str, unit: str, said: list[str], columns: tuple[str, str, str]
) -> Form:
    """The rows of a table with a column of spans.

    Args:
        rows: Begins to read the rows.
        place: The source, for messages.
        unit: What their numbers count.
        said: Notes on the source.
        columns: The names of the columns of texts and of spans, and what the first becomes.
    """
    first: Row = next(rows(), (0, {}))[1]
    name = "Prodigy" if "_input_hash" in first or _is_judged(first) else f"{columns[1]!r}"
    read = functools.partial(_of_key, *columns)
    return dataclasses.replace(
        _form(rows, read, name, _Place(place, unit), said), spans=(columns[2], columns[1])
    )


@dataclasses.dataclass(frozen=True)
class _Place:
    """Names rows in messages."""

    file: str
    unit: str

    def of(self, number: int) -> str:
        return f"{self.file}, {self.unit} {number}"


def _form(
    rows: Rows,
    read: _Reader,
    name: str,
    place: _Place,
    said: list[str],
    wanted: bool = True,
) -> Form:
    """Rows with words and tags in the place of spans, where these are wanted."""
    notes = list(said)

    def converted() -> Iterator[Numbered]:
        tally, left, disputed, has_spans = spans.Tally(), 0, 0, False
        for number, raw in rows():
            item = _read(read, raw, place.of(number), name)
            disputed += item.disputed
            if name == "Prodigy" and item.row.pop("answer", "accept") != "accept":
                left += 1
                continue
            row = {k: v for k, v in item.row.items() if k not in _OF_PRODIGY}
            if not wanted and item.found is not None:
                row = {TEXT: item.text, **row, "spans": item.found}
            elif not wanted and TAGS in row and row[TAGS] is None:
                row = {key: value for key, value in row.items() if key not in (TOKENS, TAGS)}
            elif item.found is not None:
                has_spans = True
                row |= _tagged(item, place.of(number), tally)
            yield number, row
        # In place: the form has handed this list out, and only now is known what to say.
        notes[:] = [*said, *_said(name, has_spans, left, disputed), *tally.note()]

    return of_rows(converted, place.unit, notes)


def _reader(make: Callable[[Rows], _Reader], rows: Rows, name: str, place: _Place) -> _Reader:
    """What reads a tool's rows; some are read by what there is in any of them."""
    seen: tuple[int, Written] = (0, None)

    def noted() -> Iterator[tuple[int, Written]]:
        nonlocal seen
        for row in rows():
            seen = row
            yield row

    try:
        return make(noted)
    except _ODD as error:
        # It is a `ValueError` itself.
        if isinstance(error, InputError):
            raise
        raise _unlike(seen[1], place.of(seen[0]), name) from error


def _read(read: _Reader, raw: Written, place: str, name: str) -> _Item:
    try:
        return read(raw)
    except _ODD as error:
        if isinstance(error, InputError):
            raise
        raise _unlike(raw, place, name) from error


def _unlike(raw: Written, place: str, name: str) -> InputError:
    return InputError(
        f"{place}: expected a row as the ones before, {name}. Received: {str(raw)[:60]}"
    )


def _said(name: str, has_spans: bool, left: int, disputed: int) -> list[str]:
    texts = wording.counted(disputed, "text")
    told = {
        f"spans of {name} are read as words and tags, IOB2": has_spans,
        f"left out, as not accepted: {wording.counted(left, 'row')}": left,
        f"of {texts} annotators say different things; the first one's word holds": disputed,
    }
    return [line for line, holds in told.items() if holds]


def _tagged(item: _Item, place: str, tally: spans.Tally) -> dict[str, object]:
    found = []
    for given in item.found or []:
        span = spans.of(given)
        if span is None:
            raise InputError(
                f"{place}: expected spans with a start, an end and a label. "
                f"Received: {str(given)[:60]}"
            )
        found.append(span)
    return {item.key: item.text, **spans.tagged(item.text, found, place, tally)}


# Any rows with spans --------------------------------------------------------------------------


def _spans_key(rows: Rows, asked: Asked) -> str | None:
    """The key of spans: of the first list that holds some, in rows that have a text."""
    for _, row in rows():
        if not isinstance(row, dict) or not isinstance(row.get(text_of(row, asked) or ""), str):
            return None
        lists = [key for key in keys_of(row, asked) if isinstance(row[key], list)]
        if not lists or (TOKENS in row and TAGS in row) or _is_named(row.get(LABEL)):
            return None
        for key in lists:
            if row[key] and all(map(spans.is_span, row[key])):
                return key
        if any(row[key] for key in lists if key != "spans"):
            return None
    return None


def _is_named(label: object) -> bool:
    """Whether a label is a class, in which case other columns aren't asked for."""
    return isinstance(label, (str, int, float)) and label != ""


def _text_key(row: Row) -> str:
    return next((key for key in TEXTS if key in row), TEXT)


def _of_key(text: str, key: str, name: str, row: Row) -> _Item:
    others = {k: v for k, v in row.items() if k not in (key, text, TOKENS, TAGS)}
    return _spanned(others, row[text], row.get(key, []), name)


def _spanned(row: dict[str, object], text: object, found: object, key: str = TEXT) -> _Item:
    if not isinstance(text, str) or not isinstance(found, list):
        raise TypeError("no text, or no list of spans")
    return _Item(row, text, found, key)


# Prodigy without spans ------------------------------------------------------------------------


class _Choices(TypedDict, total=False):
    """What somebody chose for a text, and whether that was accepted."""

    accept: list[str]
    answer: str


def _is_prodigy(row: object) -> bool:
    if not isinstance(row, dict) or "spans" in row or "answer" not in row:
        return False
    return "_input_hash" in row or _is_judged(row)


def _is_judged(row: Row) -> bool:
    """Whether a row says how its label was judged, as those without their hashes still do."""
    judged = {LABEL, "accept", "spans"} & {*row}  # an answer alone may be anybody's
    return TEXT in row and bool(judged) and row.get("answer") in ("accept", "reject", "ignore")


def _prodigy(rows: Rows) -> _Reader:
    """Rows of choices: what was accepted is the label; several are a list."""
    # One form for all of a file: labels are lists in each row where they must be in one.
    several = any(len(row.get("accept", [""])) != 1 for _, row in rows())

    def read(row: _Choices) -> _Item:
        item = _Item({k: v for k, v in row.items() if k not in ("options", "config", "accept")})
        if "accept" in row:
            item.row[LABEL] = list(row["accept"]) if several else row["accept"][0]
        return item

    return read


# spaCy ----------------------------------------------------------------------------------------


class _Token(TypedDict, total=False):
    """A word: by its characters from `start` to before `end`, or in version 2 as it is, `orth`."""

    start: int
    end: int
    orth: str
    tag: str
    pos: str
    ner: str


class _Document(TypedDict, total=False):
    """What `Doc.to_json` gives; `cats` are the shares of classes."""

    text: str
    tokens: list[_Token]
    ents: list[object]
    cats: dict[str, float]


class _Sentence(TypedDict):
    tokens: list[_Token]


class _Paragraph(TypedDict):
    sentences: list[_Sentence]


class _Paragraphs(TypedDict):
    """A document of version 2."""

    paragraphs: list[_Paragraph]


def _is_tuple(row: object) -> bool:
    return (
        isinstance(row, list)
        and len(row) == 2
        and isinstance(row[1], dict)
        and "entities" in row[1]
    )


def _tuples(rows: Rows) -> _Reader:
    def read(row: tuple[str, Row]) -> _Item:
        return _spanned({}, row[0], row[1]["entities"])

    return read


def _is_document(row: object) -> bool:
    """What `Doc.to_json` gives: tokens without texts, by their places."""
    tokens = row.get("tokens") if isinstance(row, dict) and isinstance(row.get(TEXT), str) else None
    return (
        isinstance(tokens, list)
        and bool(tokens)
        and isinstance(tokens[0], dict)
        and {"id", "start", "end"} == {*tokens[0]} & {"id", "start", "end", "text"}
    )


def _documents(rows: Rows) -> _Reader:
    has_spans = any(row.get("ents") for _, row in rows())

    def read(row: _Document) -> _Item:
        text = row["text"]
        own = [text[token["start"] : token["end"]] for token in row["tokens"]]
        more = {key: [token.get(key) for token in row["tokens"]] for key in ("tag", "pos")}
        named = {key: values for key, values in more.items() if all(values)}
        # spaCy's own cut-off for a class to count as given.
        classes = [name for name, share in row.get("cats", {}).items() if share >= 0.5]
        label: dict[str, object] = {LABEL: classes} if row.get("cats") else {}
        if has_spans:
            return _spanned(label, text, row.get("ents", []))
        tags = named.get("tag") or named.get("pos")
        return _Item({TEXT: text, **({TOKENS: own, TAGS: tags} if tags else {}), **label, **named})

    return read


def _is_version_2(row: object) -> bool:
    inner = row.get("paragraphs") if isinstance(row, dict) else None
    first = inner[0] if isinstance(inner, list) and inner else None
    return isinstance(first, dict) and "sentences" in first


def _version_2(rows: Rows) -> _Reader:
    def read(row: _Paragraphs) -> _Item:
        tokens = [t for p in row["paragraphs"] for s in p["sentences"] for t in s["tokens"]]
        own = [token["orth"] for token in tokens]
        tags = [token.get("ner", token.get("tag")) for token in tokens]
        # `-` is spaCy's sign for a word that nobody annotated; `O` says that it is none.
        return _Item({TOKENS: own, TAGS: [None if tag == "-" else tag for tag in tags]})

    return read


# Label Studio ---------------------------------------------------------------------------------


class _Value(TypedDict, total=False):
    """A span, or what was chosen."""

    start: int
    choices: list[str]


class _Result(TypedDict, total=False):
    """One thing that was found; `from_name` is what had been asked."""

    from_name: str
    value: _Value


class _Annotation(TypedDict, total=False):
    """All that one person found in a text."""

    was_cancelled: bool
    result: list[_Result]


class _Annotated(TypedDict, total=False):
    """A text with what people found in it; `completions` is what older versions call that."""

    id: int
    data: dict[str, object]
    annotations: list[_Annotation]
    completions: list[_Annotation]


def _is_label_studio(row: object) -> bool:
    if not isinstance(row, dict) or not isinstance(row.get("data"), dict):
        return False
    return isinstance(row.get("annotations", row.get("completions")), list)


def _is_short(row: object) -> bool:
    """JSON-MIN: the data's own keys, and a key for each thing that was asked."""
    return isinstance(row, dict) and {"annotator", "annotation_id", "lead_time"} <= set(row)


def _label_studio(rows: Rows) -> _Reader:
    several = any(len(choice) != 1 for _, row in rows() for choice in _choices(row).values())
    has_spans = any(_is_region(r) for _, row in rows() for r in _results(row) or [])

    def read(row: _Annotated) -> _Item:
        data, results = row["data"], _results(row)
        texts = [key for key, value in data.items() if isinstance(value, str)]
        key = TEXT if TEXT in data or not texts else texts[0]
        made = {k: (v if several else v[0]) for k, v in _choices(row).items()}
        own: dict[str, object] = {
            "id": row.get("id"),
            **{k: v for k, v in data.items() if k != key},
            **made,
        }
        disputed = _is_disputed(row)
        if not has_spans and TEXT not in data and {TEXT_A, TEXT_B} <= set(data):
            return _Item({"id": row.get("id"), **data, **made}, disputed=disputed)
        if not has_spans:
            return _Item({TEXT: data[key], **own}, disputed=disputed)
        if results is None:  # nobody has looked at it, which isn't to say that there is nothing
            item = _spanned(own, data[key], [])
            cut = [item.text[a:b] for a, b in words.places(item.text)]
            return _Item({TEXT: item.text, TOKENS: cut, TAGS: None, **own})
        found = [r["value"] for r in results if _is_region(r)]
        return dataclasses.replace(_spanned(own, data[key], found), disputed=disputed)

    return read


def _results(row: _Annotated) -> list[_Result] | None:
    """What the first annotation found that wasn't cancelled."""
    kept = _kept(row)
    return kept[0]["result"] if kept else None


def _kept(row: _Annotated) -> list[_Annotation]:
    """The annotations that weren't cancelled."""
    given = row["annotations"] if "annotations" in row else row["completions"]
    return [each for each in given if not each.get("was_cancelled")]


def _is_disputed(row: _Annotated) -> bool:
    """Whether annotations say different things of a text, in whatever order."""
    said = [sorted(str(r.get("value")) for r in each.get("result") or []) for each in _kept(row)]
    return any(each != said[0] for each in said)


def _is_region(result: _Result) -> bool:
    return isinstance(result.get("value"), dict) and "start" in result["value"]


def _choices(row: _Annotated) -> dict[str, list[str]]:
    return {
        result["from_name"]: result["value"]["choices"]
        for result in _results(row) or []
        if "choices" in result.get("value", {})
    }


def _short(rows: Rows) -> _Reader:
    keys = {
        key
        for _, row in rows()
        for key, value in row.items()
        if isinstance(value, list) and value and all(map(spans.is_span, value))
    }
    if len(keys) > 1:
        raise InputError(f"one kind of spans is read. Received: {', '.join(sorted(keys))}")
    key = next(iter(keys), None)

    def read(row: Row) -> _Item:
        texts = [k for k in TEXTS if k in row] or [k for k, v in row.items() if isinstance(v, str)]
        others = {
            k: v["choices"] if isinstance(v, dict) and "choices" in v else v
            for k, v in row.items()
            if k not in (key, texts[0])
        }
        if key is None and texts[0] == TEXT_A and TEXT_B in texts:
            return _Item({TEXT_A: row[TEXT_A], **others})
        if key is None:
            return _Item({TEXT: row[texts[0]], **others})
        return _spanned(others, row[texts[0]], row.get(key, []))

    return read


_TOOLS: tuple[tuple[str, Callable[[object], bool], Callable[[Rows], _Reader]], ...] = (
    ("spaCy", _is_tuple, _tuples),
    ("spaCy", _is_document, _documents),
    ("spaCy", _is_version_2, _version_2),
    ("Label Studio", _is_label_studio, _label_studio),
    ("Label Studio", _is_short, _short),
    ("Prodigy", _is_prodigy, _prodigy),
)
