"""Tables in memory, by what they can do: frames, data sets of Hugging Face and of TensorFlow.

None of their libraries is imported here.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from tfhub_transfer.data.forms import classes, columnar
from tfhub_transfer.data.forms.base import LABEL, TEXT, TOKENS, Form, Numbered, of_rows
from tfhub_transfer.data.weighing import WEIGHT
from tfhub_transfer.errors import InputError
from tfhub_transfer.incoming import values, wording
from tfhub_transfer.incoming.values import Foreign
from tfhub_transfer.shapes import Row

if TYPE_CHECKING:
    import tensorflow as tf

# Rows of a frame that become lists at once: one by one each costs pandas a series.
_CHUNK = 1000
# What TensorFlow calls `INFINITE_CARDINALITY`.
_ENDLESS = -1
_KINDS = (
    "a DataFrame of pandas or polars, a pyarrow.Table, a datasets.Dataset, a tf.data.Dataset of "
    "(text, label), a dictionary of columns, or a list of rows, each a dictionary"
)
_TEXT_PAIR = ("text_a", "text_b", "text_c")


def name(source: object) -> str:
    """What to call a table in messages."""
    kind = type(source)
    return f"{kind.__module__.partition('.')[0]}.{kind.__name__}".removeprefix("builtins.")


def splits(source: object) -> Mapping[str, object]:
    """The tables of a `datasets.DatasetDict`, or of a dictionary of tables; none if it is one.

    Args:
        source: Anything.
    """
    if not isinstance(source, Mapping) or not source:
        return {}
    tables = all(_finder(each) is not None for each in source.values())
    # Lists are columns of one table, but for lists of rows.
    rows = all(
        not isinstance(v, Sequence) or (v and isinstance(v[0], Mapping)) for v in source.values()
    )
    return {str(key): each for key, each in source.items()} if tables and rows else {}


def form(source: object) -> Form:
    """The rows of a table in memory.

    Args:
        source: The table.

    Raises:
        InputError: If it is something else, or several tables.
    """
    several = splits(source)
    if several:
        key = next(iter(several))
        raise InputError(
            f"expected one table; give one of {', '.join(several)}, as in data[{key!r}], or use "
            f"`data.read_splits`. Received: {name(source)}"
        )
    found = _finder(source)
    if found is None:
        raise InputError(f"expected a file, {_KINDS}. Received: {name(source)}")
    return found()


def _finder(source: object) -> Callable[[], Form] | None:
    """What reads a table of this kind."""
    if isinstance(source, (str, bytes)):
        return None
    if hasattr(source, "element_spec") and hasattr(source, "as_numpy_iterator"):
        return lambda: _tensors(source)
    if hasattr(source, "features") and hasattr(source, "column_names"):
        return lambda: _hugging_face(source)
    if hasattr(source, "to_batches") and hasattr(source, "schema"):
        return lambda: columnar.table(source, name(source))
    if hasattr(source, "iter_rows") and hasattr(source, "columns"):
        return lambda: _polars(source)
    if hasattr(source, "iloc") and hasattr(source, "columns"):
        return lambda: _pandas(source)
    if isinstance(source, Mapping):
        return lambda: _columns(source)
    return (lambda: _list(source)) if isinstance(source, Sequence) else None


def _hugging_face(source: Foreign) -> Form:
    """A `datasets.Dataset`, or an `IterableDataset`."""
    # A function of the user's that makes the rows; other formats say of what type values are.
    made = (getattr(source, "format", None) or {}).get("type") == "custom"
    if hasattr(source, "with_format") and not made:
        source = source.with_format(None)  # as Python values, whatever it was set to
    described = source.features.to_dict() if hasattr(source.features, "to_dict") else {}
    named = classes.namer(described, name(source))

    def rows() -> Iterator[Numbered]:
        for number, row in enumerate(source, start=1):
            yield number, named({key: values.decoded(value) for key, value in row.items()})

    columns = getattr(source, "column_names", None)
    return Form(list(columns), rows, "row") if columns and not made else of_rows(rows, "row")


def _pandas(source: Foreign) -> Form:
    columns = [str(column) for column in source.columns]
    if len(set(columns)) < len(columns):
        raise InputError(
            f"each column must have its own name. Received: {name(source)} with {columns}"
        )

    def rows() -> Iterator[Numbered]:
        for start in range(0, len(source), _CHUNK):
            part = source.iloc[start : start + _CHUNK]
            # By place: a column's own name may be a number, or anything else.
            cells = [part.iloc[:, place].tolist() for place in range(len(columns))]
            for number, row in enumerate(zip(*cells), start=start + 1):
                yield number, dict(zip(columns, map(_present, row)))

    return Form(columns, rows, "row")


def _present(value: object) -> object:
    """What isn't there, in any of the ways of pandas, as None."""
    return None if type(value).__name__ in ("NAType", "NaTType") else values.decoded(value)


def _polars(source: Foreign) -> Form:
    def rows() -> Iterator[Numbered]:
        yield from enumerate(source.iter_rows(named=True), start=1)

    return Form(list(source.columns), rows, "row")


def _columns(source: Mapping[object, object]) -> Form:
    columns = {str(key): _column(str(key), each) for key, each in source.items()}
    sizes = {key: len(cells) for key, cells in columns.items()}
    if len(set(sizes.values())) != 1:
        raise InputError(
            f"a dictionary must hold columns of one length. Received: {str(sizes)[:200]}"
        )

    def rows() -> Iterator[Numbered]:
        for number, row in enumerate(zip(*columns.values()), start=1):
            yield number, dict(zip(columns, map(_present, row)))

    return Form(list(columns), rows, "row")


def _column(key: str, cells: object) -> list[object]:
    """A column's cells in their order, which sets and dictionaries don't have."""
    try:
        return wording.listed(cells)
    except InputError as error:
        raise InputError(
            f"a dictionary must hold columns of one length, each a list or an array; {key!r} is "
            f"none. Received: {type(cells).__name__}, {str(cells)[:60]}"
        ) from error


def _list(source: Sequence[object]) -> Form:
    held = [row for row in source if isinstance(row, Mapping)]
    if len(held) < len(source) or not held:
        odd = next((row for row in source if not isinstance(row, Mapping)), "an empty list")
        raise InputError(
            "each row of a list must be a dictionary with the names of its columns; "
            "`data.Examples.from_lists` takes lists of texts and of labels. "
            f"Received: {str(odd)[:60]!r}"
        )

    def rows() -> Iterator[Numbered]:
        for number, row in enumerate(held, start=1):
            yield number, {key: _present(value) for key, value in row.items()}

    return of_rows(rows, "row")


# TensorFlow -----------------------------------------------------------------------------------


def _tensors(source: "tf.data.Dataset") -> Form:
    """A `tf.data.Dataset` of texts, of (texts, labels[, weights]), or of dictionaries."""
    spec = source.element_spec
    weights = spec[2] if isinstance(spec, tuple) and len(spec) == 3 else None
    odd = weights is not None and not getattr(getattr(weights, "dtype", None), "is_floating", False)
    if odd or (isinstance(spec, tuple) and len(spec) > 3):
        raise InputError(
            "expected a tf.data.Dataset of (text, label), or (text, label, weight), a weight being "
            "a float; two texts are a tuple, ((first, second), label): map it to that. Received: "
            f"elements of {len(spec)}"
        )
    if int(source.cardinality()) == _ENDLESS:
        raise InputError(
            f"the data set repeats without end; leave `repeat` out. Received: {name(source)}"
        )
    inputs = spec[0] if isinstance(spec, tuple) and spec else spec
    words = isinstance(inputs, Mapping) and TOKENS in inputs
    first = inputs[TOKENS] if words else _first(inputs)
    kind = getattr(getattr(first, "dtype", None), "name", "nothing")
    if kind != "string" and not isinstance(inputs, Mapping):
        raise InputError(f"texts must be strings, not numbers of their words. Received: {kind}")
    ranks = [_rank(each, source) for each in (first, *_tensors_of(spec))]
    # Texts of shape [1] beside plain labels are no batch.
    batched = ranks[0] > words and min(ranks) > 0

    def rows() -> Iterator[Numbered]:
        unbatched = source.unbatch() if batched else source
        for number, element in enumerate(unbatched.as_numpy_iterator(), start=1):
            try:
                yield number, _row(element)
            except UnicodeDecodeError as error:
                raise InputError(
                    f"{name(source)}, row {number}: texts must be UTF-8. Received: {error}"
                ) from error

    return of_rows(rows, "row")


def _tensors_of(spec: object) -> "list[tf.TypeSpec]":
    """All tensors of a structure."""
    if isinstance(spec, Mapping):
        spec = tuple(spec.values())
    if isinstance(spec, (tuple, list)):
        return [tensor for each in spec for tensor in _tensors_of(each)]
    return [spec]


def _rank(tensor: "tf.TypeSpec", source: object) -> int:
    """The number of its dimensions."""
    shape = getattr(tensor, "shape", None)
    if shape is None or shape.rank is None:
        raise InputError(
            "the shapes of texts and labels must be known, or rows can't be told from batches; "
            "give `from_generator` an `output_signature`, or map with `tf.ensure_shape`. "
            f"Received: {name(source)} of {tensor}"
        )
    return int(shape.rank)


def _first(spec: object) -> "tf.TypeSpec":
    """The first tensor of a structure, which has a text: a number more of dimensions is a batch."""
    while isinstance(spec, (tuple, list, Mapping)):
        spec = next(iter(spec.values() if isinstance(spec, Mapping) else spec))
    return spec


def _row(element: object) -> Row:
    inputs, *rest = element if isinstance(element, tuple) else (element,)
    row = dict(zip((LABEL, WEIGHT), map(_decoded, rest)))
    if isinstance(inputs, Mapping):
        return {**{key: _decoded(value) for key, value in inputs.items()}, **row}
    if isinstance(inputs, (tuple, list)):
        return {**dict(zip(_TEXT_PAIR, map(_decoded, inputs))), **row}
    return {TEXT: values.alone(_decoded(inputs)), **row}


def _decoded(value: object) -> object:
    if isinstance(value, Mapping):
        return {key: _decoded(each) for key, each in value.items()}
    if hasattr(value, "to_list"):  # a ragged tensor
        value = value.to_list()
    value = value.tolist() if hasattr(value, "tolist") else value
    if isinstance(value, list):
        return [_decoded(each) for each in value]
    return value.decode("utf-8") if isinstance(value, bytes) else value
