"""Two reports on the same examples: what differs, how surely, and which answers changed."""

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np
import scipy.stats

from tfhub_transfer.errors import InputError
from tfhub_transfer.reporting import paired, standings
from tfhub_transfer.reporting.contents import Prediction
from tfhub_transfer.reporting.metrics import Numbers
from tfhub_transfer.reporting.paired import Difference


@dataclasses.dataclass(frozen=True)
class Measured:
    """What a report says that another can be compared with.

    Attributes:
        task: The task's name.
        metrics: Its numbers.
        rows: The answer to each example, as `predictions.rows` has them.
    """

    task: str
    metrics: Numbers
    rows: Sequence[Prediction]


@dataclasses.dataclass(frozen=True)
class Changed:
    """An example that two models answered otherwise.

    Attributes:
        first: The answer of the one, with the numbers that it contributes.
        second: That of the other.
        gain: By how much the second is better, of the number that tells: below 0 worse, 0 where
            both are as good; `None` where no number tells.
    """

    first: Prediction
    second: Prediction
    gain: float | None


@dataclasses.dataclass(frozen=True)
class Comparison:
    """Two reports compared.

    Attributes:
        differences: By each number that both know, the one that judges first.
        changed: Examples that were answered otherwise, those first that got worse by most.
        counts: Of a number, no error, that is 0 or 1 for each example how many both have, only the
            first, only the second, neither; else nothing.
        p_value: Of McNemar's exact test, where there are counts: how likely so uneven a change is
            if neither is better.
        by: What the order of `changed` and the counts are of.
        examples: How many examples there are.
    """

    differences: list[Difference]
    changed: list[Changed]
    counts: tuple[int, int, int, int] | None
    p_value: float | None
    by: str | None
    examples: int


def compare(first: Measured, second: Measured, seed: int = 0) -> Comparison:
    """Compares two reports on the same examples, in whatever order.

    Args:
        first: The one.
        second: The other.
        seed: Seed of the bootstrap.

    Raises:
        InputError: If they are of other tasks, other examples or other labels.
    """
    if first.task != second.task:
        raise InputError(
            f"two reports of one task can be compared. Received: {first.task} and {second.task}"
        )
    rows = first.rows, _in_order(first.rows, second.rows)
    _require_one_truth(*rows)
    standing, numbers = standings.of(first.task), (first.metrics, second.metrics)
    both = [name for name, value in first.metrics.items() if value is not None]
    both = [name for name in both if second.metrics.get(name) is not None]
    judged = [name for name in standing.judged if name in both][:1]
    order = [*judged, *(name for name in both if name not in judged)]
    differences = [paired.of_number(name, standing, numbers, rows, seed) for name in order]
    by = next((name for name in order if _column(rows, name) is not None), None)
    columns = None if by is None else _column(rows, by)
    low = by is not None and standing.less_is_better(by)
    # Of errors, as by how many grades answers are off, 1 is nothing right.
    counts = None if columns is None or low else _counts(*columns)
    return Comparison(
        differences=differences,
        changed=_changed(rows, columns, low),
        counts=counts,
        p_value=None if counts is None else mcnemar(counts[1], counts[2]),
        by=by,
        examples=len(first.rows),
    )


def mcnemar(only_first: int, only_second: int) -> float:
    """How likely so uneven a change is, if each way were as likely (McNemar 1947; exact).

    Args:
        only_first: Examples that the first alone has right.
        only_second: Those that the second alone has right.

    Example:

    >>> round(mcnemar(1, 7), 4)
    0.0703
    """
    count = only_first + only_second
    return float(scipy.stats.binomtest(only_first, count).pvalue) if count else 1.0


def _in_order(first: Sequence[Prediction], second: Sequence[Prediction]) -> list[Prediction]:
    """The rows of the second, in the order of the first."""
    texts, others = ([_texts(row) for row in rows] for rows in (first, second))
    # Equal texts of two labels are told apart by these, where both reports know the same.
    known, told = ([(*_texts(row), _truth(row)) for row in rows] for rows in (first, second))
    if sorted(known) == sorted(told):
        texts, others = known, told
    if texts == others:
        return list(second)
    places: dict[Any, list[int]] = {}
    for at, each in enumerate(others):
        places.setdefault(each, []).append(at)
    lacking = [each for each in texts if each not in places]
    if lacking or sorted(texts) != sorted(others):
        alone = len([each for each in others if each not in set(texts)])
        raise InputError(
            "two reports can be compared that are on the same examples; evaluate both models on "
            f"one file. Received: {len(texts)} and {len(others)} examples, of which {len(lacking)} "
            f"and {alone} are of one alone"
        )
    # Equal texts stay in the order that they have among themselves.
    return [second[places[each].pop(0)] for each in texts]


def _texts(row: Prediction) -> tuple[str, ...]:
    found: Any = row["texts"]
    return tuple(map(str, found))


def _truth(row: Prediction) -> str:
    return repr(row["true"])


def _require_one_truth(first: Sequence[Prediction], second: Sequence[Prediction]) -> None:
    odd = [at for at, (a, b) in enumerate(zip(first, second)) if a["true"] != b["true"]]
    if odd:
        at = odd[0]
        raise InputError(
            "two reports can be compared that know the same labels; evaluate both models on one "
            f"file. Received: {len(odd)} other labels, first of row {at}: "
            f"{str(first[at]['true'])[:40]!r} and {str(second[at]['true'])[:40]!r}"
        )


def _column(
    rows: tuple[Sequence[Prediction], Sequence[Prediction]], name: str
) -> tuple[np.ndarray, np.ndarray] | None:
    """What each example contributes to a number, of both; `None` if they don't say."""
    found = [paired.numbers_of(own, (name,)) if own else None for own in rows]
    first, second = found
    return None if first is None or second is None else (first[:, 0], second[:, 0])


def _counts(first: np.ndarray, second: np.ndarray) -> tuple[int, int, int, int] | None:
    if not np.isin(np.concatenate([first, second]), (0, 1)).all():
        return None
    one, other = first == 1, second == 1
    ways = (one & other, one & ~other, ~one & other, ~one & ~other)
    both, only_first, only_second, neither = (int(way.sum()) for way in ways)
    return both, only_first, only_second, neither


def _changed(
    rows: tuple[Sequence[Prediction], Sequence[Prediction]],
    columns: tuple[np.ndarray, np.ndarray] | None,
    low: bool,
) -> list[Changed]:
    gains: list[float | None] = [None] * len(rows[0])
    if columns is not None:
        made = columns[1] - columns[0]
        gains = [float(each) for each in (-made if low else made)]
    found = [
        Changed(one, other, gain)
        for one, other, gain in zip(*rows, gains)
        if one["predicted"] != other["predicted"]
    ]
    return sorted(found, key=lambda each: each.gain or 0.0)
