"""The answer to each example beside what is right: what two reports can be compared by."""

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

from tfhub_transfer.reporting.contents import Prediction
from tfhub_transfer.texts import joining


def rows(
    texts: Sequence[Sequence[str]],
    true: Sequence[object],
    predicted: Sequence[object],
    numbers: Mapping[str, npt.ArrayLike],
) -> list[Prediction]:
    """A row for each example, in the order of the data.

    Args:
        texts: Columns of texts.
        true: What is right, `None` where nothing says it.
        predicted: What a model answered, as `predict_text` says it.
        numbers: By name what each example contributes to a number of the report, `[n]`: the
            number is its mean, of tags a ratio of sums. Some may be `[n, classes]`.

    Returns:
        `row`, from 0; its `texts`; `true`, `predicted`, and the numbers.
    """
    columns = {name: _plain(values) for name, values in numbers.items()}
    found: list[Prediction] = []
    for row, (own, made) in enumerate(zip(true, predicted, strict=True)):
        given = [joining.spaced(column[row]) for column in texts]
        mine = {name: values[row] for name, values in columns.items()}
        found.append({"row": row, "texts": given, "true": own, "predicted": made, **mine})
    return found


def _plain(values: npt.ArrayLike) -> list[object]:
    """Numbers as Python's; of single precision all that they say, and no more."""
    array = np.asarray(values)
    if array.dtype.kind != "f":
        return list(array.tolist())
    if array.ndim > 1:
        return [_plain(row) for row in array]
    return [float(f"{value:.8g}") for value in array.tolist()]
