"""Processes that train as one learn what one alone learns."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import processes
import pytest
import samples

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module", autouse=True)
def _end() -> Iterator[None]:
    yield
    processes.end()


def learned(output: Path, name: str) -> dict[str, np.ndarray]:
    with np.load(output / f"{name}.npz") as found:
        return dict(found)


def require_alike(output: Path, count: int) -> None:
    """That processes learned the same, to the bit, and nearly what one alone does."""
    first, alone = learned(output, "0"), learned(output, "alone")
    assert first.keys() == alone.keys() and first
    for index in range(1, count):
        other = learned(output, str(index))
        assert all(np.array_equal(first[key], other[key]) for key in alone)
    far = {key: float(np.abs(first[key] - alone[key]).max()) for key in alone}
    assert max(far.values()) < 1e-6, far


def test_two_learn_what_one_does(bert_encoder: Path, tmp_path: Path) -> None:
    """A head on stored vectors and above the boundary; by hand, thawing group by group."""
    cases = "tuned classification", "by_hand token-classification"
    processes.run("learn", 2, tmp_path, bert_encoder, *cases)
    require_alike(tmp_path, 2)


@pytest.mark.exhaustive
@pytest.mark.parametrize("row", samples.ROWS)
@pytest.mark.parametrize("function", ["tuned", "by_hand"])
def test_three_learn_what_one_does(
    function: str, row: str, bert_still: Path, tmp_path: Path
) -> None:
    processes.run("learn", 3, tmp_path, bert_still, f"{function} {row}")
    require_alike(tmp_path, 3)
