"""Texts to label as files of annotation tools, and what comes back of these."""

import csv
import dataclasses
import io
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple
from xml.sax.saxutils import quoteattr

from tfhub_transfer import data
from tfhub_transfer.data import reading
from tfhub_transfer.data.forms import LABEL, TEXT
from tfhub_transfer.errors import InputError, RowError
from tfhub_transfer.incoming import values, wording
from tfhub_transfer.jobs.labelling.label_files import (
    GIVEN,
    REASON,
    Labelled,
    cells_of,
    columns_of,
    text_of,
)
from tfhub_transfer.recipes.active_learning.linear_heads import Label
from tfhub_transfer.recipes.active_learning.pools import (
    Text,
    is_blank,
    label_of,
    names_of,
    parts,
    same,
)
from tfhub_transfer.shapes import Row
from tfhub_transfer.tasks import Task

PREDICTED, SCORE = "predicted", "score"
# Columns of labels, where none is named.
_LABELS = (LABEL, "labels")
# What Label Studio calls who predicted.
_MODEL = "tfhub-transfer"


@dataclasses.dataclass(frozen=True)
class Asked:
    """A text to label.

    Attributes:
        text: The text, or the pair.
        reason: Why it was chosen.
        predicted: What it may be, if that is known and may be told.
        score: How sure that is.
    """

    text: Text
    reason: str
    predicted: Label | None = None
    score: float | None = None

    @property
    def names(self) -> list[str]:
        """The predicted classes."""
        if self.predicted is None:
            return []
        return [self.predicted] if isinstance(self.predicted, str) else list(self.predicted)


def as_csv(asked: Sequence[Asked], several: bool) -> str:
    """A table with an empty column of labels, to be filled in.

    Args:
        asked: The texts.
        several: Whether a text may have any number of classes.
    """
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    texts = [name for each in asked[:1] for name in cells_of(each.text)] or [TEXT]
    writer.writerow([*texts, LABEL, PREDICTED, SCORE, REASON])
    for each in asked:
        score = "" if each.score is None else each.score
        writer.writerow([*parts(each.text), "", "|".join(each.names), score, each.reason])
    return file.getvalue()


def as_label_studio(asked: Sequence[Asked], several: bool) -> str:
    """Tasks of Label Studio, with predictions, which name `label` and the first text.

    Args:
        asked: The texts.
        several: Whether a text may have any number of classes.
    """
    return json.dumps([_task(each) for each in asked], ensure_ascii=False, indent=1) + "\n"


def _task(each: Asked) -> Row:
    texts = cells_of(each.text)
    made: dict[str, object] = {"data": {**texts, REASON: each.reason}}
    if each.predicted is not None:
        choice = {
            "from_name": LABEL,
            "to_name": next(iter(texts)),
            "type": "choices",
            "value": {"choices": each.names},
        }
        made["predictions"] = [{"model_version": _MODEL, "score": each.score, "result": [choice]}]
    return made


def as_doccano(asked: Sequence[Asked], several: bool) -> str:
    """JSON lines of doccano, the predicted classes filled in as labels.

    It shows one text: both of a pair, below each other. They stand beside it, too, as they are.

    Args:
        asked: The texts.
        several: Whether a text may have any number of classes.
    """
    rows = [
        {
            TEXT: "\n\n".join(parts(each.text)),
            **cells_of(each.text),
            LABEL: each.names,
            REASON: each.reason,
        }
        for each in asked
    ]
    return "".join(wording.json_line(row) + "\n" for row in rows)


# Each with how its files' names end.
FORMATS: dict[str, tuple[str, Callable[[Sequence[Asked], bool], str]]] = {
    "csv": (".csv", as_csv),
    "label-studio": (".json", as_label_studio),
    "doccano": (".jsonl", as_doccano),
}


def label_studio_config(classes: Sequence[str], several: bool, pair: bool = False) -> str:
    """What to paste into Label Studio's labelling interface, on one line.

    Args:
        classes: The names of the classes.
        several: Whether a text may have any number of classes.
        pair: Whether pairs are labelled.
    """
    choice = "multiple" if several else "single"
    listed = "".join(f"<Choice value={quoteattr(name)}/>" for name in classes)
    names = columns_of(pair)
    texts = "".join(f'<Text name="{name}" value="${name}"/>' for name in names)
    return (
        f'<View>{texts}<Choices name="{LABEL}" toName="{names[0]}" '
        f'choice="{choice}">{listed}</Choices></View>'
    )


@dataclasses.dataclass(frozen=True)
class Answers:
    """What came back.

    Attributes:
        rows: Texts with their labels, each once.
        blank: How many rows have no label.
        notes: What was decided that the file doesn't say.
    """

    rows: list[Labelled]
    blank: int
    notes: list[str] = dataclasses.field(default_factory=list)


@dataclasses.dataclass(frozen=True)
class AnswerColumns:
    """What columns of answers are called.

    Attributes:
        text: That of texts, or of the first of pairs, if it isn't `text` or `text_a`.
        text_pair: That of the second, if it isn't `text_b`.
        label: That of labels, if it isn't `label` or `labels`.
        pair: Whether there are pairs.
    """

    text: str | None = None
    text_pair: str | None = None
    label: str | None = None
    pair: bool = False

    def texts(self, table: reading.Table) -> tuple[str, ...]:
        """Those of texts in a table; the usual ones where it hasn't those that are named.

        Args:
            table: What is read.

        Raises:
            InputError: If it has neither.
        """
        named, there = (self.text, self.text_pair), table.all_columns()
        found = [
            own if own is not None and own in there else table.require(usual, "text")
            for own, usual in zip(named, columns_of(self.pair))
        ]
        return tuple(found)


def read(
    file: data.File,
    task: Task,
    columns: AnswerColumns = AnswerColumns(),
    classes: Sequence[str] | None = None,
) -> Answers:
    """Reads labels that were given elsewhere: a table, or what Label Studio or doccano export.

    A row whose label is blank, or an empty list, has not been answered.

    Args:
        file: The file.
        task: What the labels must suit.
        columns: What columns are called.
        classes: The only classes that there may be, if that is known.

    Raises:
        InputError: If it is unusable; the message names the row.
    """
    table = reading.Table(file, reading.Asked(label=columns.label))
    names = table.all_columns()
    of_texts = columns.texts(table)
    of_labels = columns.label or next((name for name in _LABELS if name in names), None)
    if of_labels is None or of_labels not in names:
        raise InputError(
            "the answers have no column of labels, `label` or `labels`; name it with `--label`. "
            f"Received: {table.source}, with {', '.join(names)}"
        )
    given = list[_Row]()
    blank = 0
    for number, row in table:
        place, cell = f"{table.source}, {table.unit} {number}", values.plain(row.get(of_labels))
        if values.is_blank(cell) or cell in ([], "[]"):
            blank += 1
            continue
        own = {n: wording.require_text(values.plain(row.get(n)), place) for n in of_texts}
        words = text_of(own, of_texts)
        if is_blank(words):
            raise InputError(f"{place}: a label without a text; drop the row. Received: {cell!r}")
        given.append(_Row(place, words, cell, str(row.get(REASON) or GIVEN)))
    labels = _labels(given, task, classes)
    return Answers(_once(given, labels), blank, list(table.notes))


class _Row(NamedTuple):
    """A row that is answered: where it stands, and what it says."""

    place: str
    text: Text
    cell: object
    reason: str


def _labels(given: list[_Row], task: Task, classes: Sequence[str] | None) -> list[Label]:
    """Labels as the task reads them, of the classes that there may be."""
    try:
        labels = task.read_labels([row.cell for row in given]) if given else []
    except RowError as error:
        raise InputError(f"{given[error.row].place}: {_for_label(error.reason)}") from error
    found = list(map(label_of, labels))
    for row, label in zip(given, found):
        if classes is not None and not set(names_of(label)) <= set(classes):
            raise InputError(
                f"{row.place}: expected one of {', '.join(classes)}; mend the row, or add the "
                f"class with `--labels`. Received: {row.cell!r}"
            )
    return found


def _for_label(reason: str) -> str:
    """What is wrong with a label, with the option that `label` names classes by."""
    return reason.replace("`class_names` (`--class-names`)", "`--labels`")


def _once(given: list[_Row], labels: list[Label]) -> list[Labelled]:
    """Each text once."""
    found: dict[Text, Labelled] = {}
    for row, label in zip(given, labels):
        new = Labelled(row.text, label, row.reason)
        if (before := found.setdefault(same(row.text), new)).label != label:
            raise InputError(
                f"{row.place}: the same text has another label above, {before.label!r}; keep one. "
                f"Received: {row.cell!r}"
            )
    return list(found.values())


def beside(output: Path, known: int, form: str) -> Path:
    """The file of a batch: named by the output, and by how many labels it was chosen by.

    Args:
        output: The file of labels.
        known: How many these are.
        form: A name of `FORMATS`.
    """
    return output.with_name(f"{output.stem}.after-{known}{FORMATS[form][0]}")
