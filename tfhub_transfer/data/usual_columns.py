"""Which columns of a table hold the texts and the labels.

The usual shapes are of tables and not of tasks: a table is read before there is a task, and by
commands that never have one; a task whose columns have other names says so (`Task.usual_columns`).
"""

from collections.abc import Sequence

from tfhub_transfer.data.forms import LABEL, TAGS, TEXT, TEXT_A, TEXT_B, TEXT_C, TOKENS
from tfhub_transfer.data.label_columns import Readable
from tfhub_transfer.errors import InputError

__all__ = ["LABEL", "TEXT", "TEXT_A", "TEXT_B", "TEXT_C", "choose"]

# The columns of each usual shape of data: texts, and the labels that may go with them.
_SHAPES: tuple[tuple[tuple[str, ...], tuple[str, ...]], ...] = (
    ((TEXT,), (LABEL, "score")),
    ((TEXT_A, TEXT_B), (LABEL, "score")),
    ((TOKENS,), (TAGS, "ner_tags")),
    (("question", "context"), ("answers",)),
    (("sentences",), ("summaries", "summary")),
    (("document",), ("summaries", "summary")),
    (("source",), ("target",)),
    (("turns",), ("answer",)),
)
# Tables of all kinds say what their rows come from: that is no text, unless a target is beside it.
_WITH_LABELS = (("source",),)
_LABELS = (LABEL, "score", TAGS, "answers", "summaries", "summary")


def choose(
    table: Readable, texts: tuple[str | None, ...], label: str | None, require_label: bool
) -> dict[str, str]:
    """Our names of columns with the names in the source.

    Args:
        table: A `reading.Table`.
        texts: The columns of the text, of the second and of the third, as far as they are named.
        label: The column of labels, if it is named.
        require_label: Whether there must be one.

    Raises:
        InputError: If there is none of a name.
    """
    text, pair, negative = texts
    if text is None and pair is None:
        text, pair, label = _shape(table.columns, label)
        if pair == TEXT_B and TEXT_C in table.columns and not {LABEL, "score"} & {*table.columns}:
            negative = negative or TEXT_C
    first = table.require(text or (TEXT_A if pair else TEXT), "text")
    names = {TEXT: first}
    if pair is not None:
        names = {TEXT_A: first, TEXT_B: table.require(pair, "second text")}
    if negative is not None:
        if pair is None:
            raise InputError(
                "a third text needs a second one: name the column of the second with `text_pair` "
                f"(`--text-pair`). Received: negative={negative!r}"
            )
        names[TEXT_C] = table.require(negative, "third text")
    if label is None:
        label = next((name for name in _LABELS if name in table.columns), None)
        if label is None and not require_label:
            return names
    elif not require_label and label not in table.columns:
        return names
    names[LABEL] = table.require(label or LABEL, "label")
    return names


def _shape(columns: Sequence[str], label: str | None) -> tuple[str | None, str | None, str | None]:
    """Text, second text and label of the first usual shape of data that has its columns here."""
    usual = [
        (texts, labels)
        for texts, labels in _SHAPES
        if {*texts} <= {*columns} and (texts not in _WITH_LABELS or {*labels} & {*columns})
    ]
    for texts, labels in usual:
        found = [name for name in labels if name in columns and label in (None, name)]
        if found:
            return texts[0], (texts[1] if len(texts) > 1 else None), found[0]
    if not usual:
        return None, None, label
    texts, _ = usual[0]
    return texts[0], (texts[1] if len(texts) > 1 else None), label
