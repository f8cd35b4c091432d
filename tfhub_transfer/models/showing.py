"""The first batch of a training, taken apart to be looked at."""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import numpy as np
import tensorflow as tf

from tfhub_transfer.data import Examples, Stream, weighing
from tfhub_transfer.encoders.encoder import CODE_POINTS
from tfhub_transfer.encoders.preprocessing import TextPreprocessor
from tfhub_transfer.errors import one_line
from tfhub_transfer.incoming import choices, ranges, values
from tfhub_transfer.models import batches
from tfhub_transfer.models.shown_batches import Read, Row, ShownBatch, Unit
from tfhub_transfer.tasks.layouts import Ids, Layout, Rows
from tfhub_transfer.texts.joining import WORD_STARTS, spaced, split_words

_IDS, _TYPES = "input_word_ids", "input_type_ids"
_LABEL = 120


class _Model(Protocol):
    """What of a `TransferModel` makes batches."""

    @property
    def layout(self) -> Layout: ...
    @property
    def task(self) -> Any: ...
    @property
    def parts(self) -> Mapping[str, Any]: ...
    @property
    def replicas_of_shapes(self) -> int | None: ...
    def cut(self, examples: Any) -> Any:
        """Examples in rows."""


def first_batch(
    model: _Model,
    examples: Any,
    rows: int,
    batch_size: int,
    shuffle: bool,
    seed: int,
) -> ShownBatch:
    """The first batch that `preprocess` makes of examples.

    Args:
        model: The model.
        examples: As for `preprocess`.
        rows: How many rows are shown.
        batch_size: As for `preprocess`.
        shuffle: Likewise.
        seed: Likewise.

    Raises:
        InputError: If the examples don't suit the model, or a number is out of range.
    """
    shown = ranges.whole_number("rows", rows, *ranges.BATCH_SIZE)
    shuffle = choices.flag("shuffle", shuffle)
    seed = ranges.whole_number("seed", seed, *ranges.SEED)
    if isinstance(examples, Stream):
        size = ranges.whole_number("batch_size", batch_size, *ranges.BATCH_SIZE)
        examples, shuffle = next(iter(examples))[:size], False
    how = seed if shuffle else None, None, batches.AUTO, model.replicas_of_shapes
    order = batches.Order.of(batch_size, *how)
    taught = weighing.taught(examples) if shuffle else examples
    cut, _ = order.rows(taught, model.cut, model.layout.objective.units)
    ids = model.layout.to_ids(cut)
    numbers, inputs = batches.first_of(ids, model.layout, order)
    lengths = {name: int(inputs[name].shape[-1]) for name in _keys(inputs)}
    made = _Rows(model, taught, cut, ids, lengths)
    found = tuple(made.row(int(number)) for number in numbers[:shown])
    lost = ids.lost[numbers]
    engine = model.layout.preprocessor
    return ShownBatch(
        found,
        len(numbers),
        max(lengths.values()),
        1.0 - _real(ids, numbers) / max(1, _places(inputs)),
        int(np.sum(lost > 0)),
        int(lost.sum()),
        engine.sequence_length if _IDS in ids.columns else None,
    )


def _keys(columns: Mapping[str, Any]) -> list[str]:
    """The columns that hold texts, as ids or code points."""
    return [name for name in columns if name == _IDS or name.startswith(CODE_POINTS)]


def _real(ids: Ids, numbers: np.ndarray) -> int:
    columns = [tf.gather(ids.columns[name], numbers) for name in _keys(ids.columns)]
    return sum(int(tf.size(column.flat_values)) for column in columns)


def _places(inputs: Mapping[str, tf.Tensor]) -> int:
    return sum(int(tf.size(inputs[name])) for name in _keys(inputs))


class _Rows:
    """Rows of a batch, of one task or of several behind each other."""

    def __init__(
        self, model: _Model, examples: Any, rows: Any, ids: Ids, lengths: Mapping[str, int]
    ) -> None:
        self._model, self._ids, self._lengths = model, ids, lengths
        self._examples: Mapping[str, Examples] = model.task.apart(examples)
        self._rows: Mapping[str, Rows] = model.task.apart(rows)
        self._owners = [(name, at) for name, of in self._rows.items() for at in range(len(of))]

    def row(self, number: int) -> Row:
        """What there is to see of a row, by its place among all rows."""
        name, at = self._owners[number]
        rows, examples = self._rows[name], self._examples[name]
        layout: Layout = self._model.parts[name].layout
        owner = int(rows.owners[at])
        same = np.flatnonzero(rows.owners == owner)
        texts = [column[at] for column in rows.examples.texts]
        label, target, weight = self._taught(name, number, owner, layout)
        read = self._read(number, layout, texts)
        return Row(
            place=examples.place(owner),
            task=name,
            part=(int(np.searchsorted(same, at)) + 1, len(same)),
            texts=tuple(spaced(column[owner]) for column in examples.texts),
            read=read,
            units=self._units(number, layout, rows, at, read) if layout.by_unit else (),
            lost=int(self._ids.lost[number]),
            label=label,
            target=target,
            weight=weight,
        )

    def _taught(
        self, name: str, number: int, owner: int, layout: Layout
    ) -> tuple[str | None, str | None, float | None]:
        """Label, target and weight, as far as there are such."""
        examples, labels = self._examples[name], self._ids.labels
        if labels is None:
            return None, None, None
        targets, weights = labels if isinstance(labels, tuple) else (labels, None)
        if isinstance(targets, Mapping):
            targets, weights = targets[name], weights[name] if examples.weights else None
        label = None
        if examples.target is not None:
            label = one_line(str(examples.labels[owner]), _LABEL)
        weight = None if weights is None else float(np.ravel(weights[number])[0])
        # Of units each has its own.
        target = None if layout.by_unit else _numbers(targets[number])
        return label, None if _alike(target, label) else target, weight

    def _read(self, number: int, layout: Layout, texts: Sequence[str]) -> tuple[Read, ...]:
        columns, engine = self._ids.columns, layout.preprocessor
        if _IDS not in columns:
            return self._strings(number, texts)
        ids, types, length = columns[_IDS][number], columns[_TYPES][number], self._lengths[_IDS]
        if isinstance(ids, tf.RaggedTensor):  # two towers
            pairs = zip(ids.to_list(), types.to_list(), texts)
            return tuple(_packed(engine, i, t, [text], length) for i, t, text in pairs)
        given = texts[:-1] if layout.by_unit else texts  # of units each says whether it fits
        return (_packed(engine, ids.numpy().tolist(), types.numpy().tolist(), given, length),)

    def _strings(self, number: int, texts: Sequence[str]) -> tuple[Read, ...]:
        """What an encoder gets that splits texts itself."""
        columns, lengths = self._ids.columns, self._lengths
        towers = CODE_POINTS in columns and columns[CODE_POINTS].ragged_rank > 1
        if towers:
            points, longest = columns[CODE_POINTS][number].to_list(), [lengths[CODE_POINTS]] * 2
        else:
            names = [CODE_POINTS] if len(texts) == 1 else [f"{CODE_POINTS}_{x}" for x in "ab"]
            points = [columns[name][number].numpy().tolist() for name in names]
            longest = [lengths[name] for name in names]
        strings = ["".join(map(chr, each)) for each in points]
        return tuple(
            Read(padding=length - len(string), text=string, cut=tuple(text[len(string) :]))
            for string, text, length in zip(strings, texts, longest)
        )

    def _units(
        self, number: int, layout: Layout, rows: Rows, at: int, read: Sequence[Read]
    ) -> tuple[Unit, ...]:
        words = split_words(rows.examples.texts[-1][at])
        [packed] = read
        starts = self._ids.columns[WORD_STARTS][number].numpy().tolist()
        labels: list[str | None] = [None] * len(starts)
        if rows.examples.target is not None:
            labels = [*layout.unit_labels(rows.examples.labels[at])]
        # Before the words may stand what is no word, as that there is no answer.
        more = len(starts) - len(words)
        ends = [*starts[1:], 0]
        found = [Unit("no answer", packed.pieces[:1], labels[0])] if more else []
        for word, start, end, label in zip(
            words, starts[more:], ends[more:], labels[more:], strict=True
        ):
            last = end or len(packed.pieces) - 1
            found.append(Unit(word, packed.pieces[start:last] if start else (), label))
        return tuple(found)


def _packed(
    engine: TextPreprocessor,
    ids: Sequence[int],
    types: Sequence[int],
    texts: Sequence[str],
    length: int,
) -> Read:
    special = tuple(engine.is_special(each) for each in ids)
    cut: list[str] = []
    of_texts = engine.segments(ids)
    for segment, text in enumerate(engine.prompted([tf.constant([text]) for text in texts])):
        kept = sum(t == segment and not s for t, s in zip(of_texts, special))
        whole = engine.tokenize(text).flat_values.numpy().tolist()
        cut += engine.spelled(whole[kept:]) if len(whole) > kept else []
    pieces = tuple(engine.spelled(ids))
    return Read(pieces, special, tuple(types), length - len(ids), None, tuple(cut))


def _numbers(target: Any) -> str:
    found = np.asarray(target)
    if found.ndim == 0:
        return f"{found.item():.4g}" if found.dtype.kind == "f" else str(found.item())
    whole = found.dtype.kind != "f" or bool(np.all(found == np.round(found)))
    return one_line(str((found.astype(int) if whole else found.round(4)).tolist()), _LABEL)


def _alike(target: str | None, label: str | None) -> bool:
    """Whether a target says what the label says, as of scores that nothing is done to."""
    if target is None or label is None or target == label:
        return target == label
    return values.number(label) == values.number(target)
