"""The nearest of many vectors."""

import numpy as np
import pytest

from tfhub_transfer.tasks import nearness


@pytest.mark.parametrize("cells", [10, 1_000_000])
@pytest.mark.parametrize("most", [1, 3, 50])
def test_the_nearest_are_those_of_all_pairs(
    cells: int, most: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(nearness, "_CELLS", cells)
    generator = np.random.default_rng(0)
    known, asked = generator.normal(size=(20, 5)), generator.normal(size=(13, 5))
    # Lengths don't matter, nor do vectors of nothing.
    known *= generator.uniform(0.1, 30, (20, 1))
    known[7] = asked[4] = 0
    rows, cosines = nearness.nearest(known, asked, most)
    assert rows.shape == cosines.shape == (13, min(most, 20))
    for place, vector in enumerate(asked):
        lengths = [np.linalg.norm(each) * np.linalg.norm(vector) for each in known]
        by_hand = [float(k @ vector) / n if n else 0.0 for k, n in zip(known, lengths)]
        order = sorted(range(20), key=lambda row: (-np.float32(by_hand[row]), row))[:most]
        np.testing.assert_allclose(cosines[place], [by_hand[row] for row in order], atol=1e-6)
        if place != 4:
            assert rows[place].tolist() == order
    assert nearness.nearest(known, np.zeros((0, 5)))[0].shape == (0, 1)


def test_no_cosine_is_above_1() -> None:
    vectors = np.random.default_rng(0).normal(size=(300, 64)).astype(np.float32)
    units = nearness.unit(vectors)
    assert (units @ units.T).max() > 1
    rows, cosines = nearness.nearest(vectors, vectors, 2)
    assert rows[:, 0].tolist() == [*range(300)] and cosines.max() == 1
