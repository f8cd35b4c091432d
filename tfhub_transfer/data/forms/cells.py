"""Cells of tables that hold what a table can't: spans and choices, as values or written as text."""

import dataclasses
from collections.abc import Iterator

from tfhub_transfer.data.forms import annotations, spans
from tfhub_transfer.data.forms.base import LABEL, TAGS, TEXT, TOKENS, Asked, Form, Numbered
from tfhub_transfer.errors import InputError
from tfhub_transfer.incoming import values

# Rows that are looked at for the first that has a span.
_LOOK = 200
# How Label Studio writes several choices.
_CHOICES = '{"choices"'


def read(form: Form, place: str, asked: Asked) -> Form:
    """A table whose spans are words and tags, and whose choices are lists, where they are labels.

    Spans are `[start, end, kind]`, objects with such keys, or an object of lists of each; as JSON
    or as Python writes them, if they are text.

    Args:
        form: The table.
        place: The source, for messages.
        asked: What the table is read for.

    Raises:
        InputError: If a row's spans can't be read, or don't suit its text.
    """
    if not asked.labels:
        return form
    chosen = dataclasses.replace(form, rows=lambda: _with_choices(form, asked))
    text = annotations.text_of(form.columns, asked)
    key = _key(form, asked)
    if key is None or text is None:
        return chosen

    def rows() -> Iterator[Numbered]:
        for number, row in chosen.rows():
            found = _spans(row.get(key))
            if found is None:
                raise InputError(
                    f"{place}, {form.unit} {number}: column {key!r} must hold a list of spans, as "
                    'in rows before, such as [[0, 4, "person"]]; the cell may be cut off. '
                    f"Received: {str(row.get(key))[:60]}"
                )
            yield number, {**row, key: found}

    return annotations.of_column(
        rows, place, form.unit, form.notes, (text, key, asked.text or TEXT)
    )


def _with_choices(form: Form, asked: Asked) -> Iterator[Numbered]:
    for number, row in form.rows():
        for column, cell in row.items():
            chosen = _choices(cell)
            if chosen is not None and asked.is_label(column):
                row = {**row, column: chosen}
        yield number, row


def _choices(cell: object) -> list[object] | None:
    """What was chosen, if a cell is Label Studio's."""
    made: object = None
    if isinstance(cell, str) and cell.startswith(_CHOICES):
        made = values.literal(cell)
    elif isinstance(cell, dict) and cell.keys() == {"choices"}:
        made = cell
    found = made.get("choices") if isinstance(made, dict) else None
    return found if isinstance(found, list) else None


def _key(form: Form, asked: Asked) -> str | None:
    """The column of spans: the first cell that isn't empty holds some."""
    keys = annotations.keys_of(form.columns, asked)
    if LABEL in keys:
        keys = [LABEL]  # what else a table of labelled texts holds isn't asked for
    if {TOKENS, TAGS} <= {*form.columns}:
        return None
    for count, (_, row) in enumerate(form.rows()):
        for key in keys:
            cell = row.get(key)
            found = None if isinstance(cell, dict) and not cell else _spans(cell)
            if found:
                return key
            if found is None:
                keys = [each for each in keys if each != key]
        if not keys or count >= _LOOK:
            break
    return None


def _spans(cell: object) -> list[object] | None:
    """The spans of a cell, of which there may be none; `None` if it is something else."""
    if values.is_missing(cell) or (isinstance(cell, str) and not cell.strip()):
        return []
    value = values.literal(cell) if isinstance(cell, str) else values.plain(cell)
    if isinstance(value, dict) and value and all(isinstance(v, list) for v in value.values()):
        value = [dict(zip(value, row)) for row in zip(*value.values())]
    return value if isinstance(value, list) and all(map(spans.is_span, value)) else None
