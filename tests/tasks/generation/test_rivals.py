"""What needs no decoder: copies, last turns, first sentences, the nearest example."""

from collections.abc import Sequence

import numpy as np
import pytest

from tfhub_transfer.tasks.generation import rivals
from tfhub_transfer.texts.joining import join_words


def test_a_copy_is_the_text_and_the_last_turn_its_end() -> None:
    listed = join_words(["Hello!", "How are you?"])
    assert rivals.copied(["a\nb", listed]) == ["a\nb", "Hello! How are you?"]
    assert rivals.last_turns(["one", "a\r\nb c \n\n", listed, "", " \n "]) == [
        *("one", "b c", "How are you?", "", "")
    ]


def test_first_sentences_are_those_of_plain_texts_and_lists() -> None:
    plain = "It rained. Dr. Who came. Then he left."
    listed = join_words(["First.", "Second one", "Third."])
    assert rivals.lead([plain, listed, plain, ""], 2) == [
        *("It rained. Dr. Who came.", "First. Second one", "It rained. Dr. Who came.", "")
    ]
    assert rivals.lead([listed], 1) == ["First."]
    assert rivals.lead([], 1) == []


def test_central_sentences_are_those_nearest_to_the_mean_of_all() -> None:
    generator = np.random.default_rng(0)
    rows = [[f"{row} {n}" for n in range(count)] for row, count in enumerate((5, 1, 0, 4))]
    known = {text: generator.normal(size=6) * 3 for row in rows for text in row}
    asked: list[int] = []

    def encode(texts: Sequence[str]) -> np.ndarray:
        asked.append(len(texts))
        return np.stack([known[text] for text in texts])

    found = rivals.central(rows, encode, 2)
    assert asked == [10]  # all at once
    for row, text in zip(rows, found):
        units = [known[each] / np.linalg.norm(known[each]) for each in row]
        near = [float(unit @ np.mean(units, axis=0)) for unit in units]
        best = sorted(sorted(range(len(row)), key=lambda n: -near[n])[:2])
        assert text == " ".join(row[n] for n in best)
    assert rivals.central([[]], encode, 1) == [""]


def test_targets_have_so_many_sentences() -> None:
    assert rivals.usual_count(["One.", "One. Two. Three.", "One. Two."]) == 2
    assert rivals.usual_count([""]) == rivals.usual_count([]) == 1


@pytest.mark.parametrize("cells", [10, 1_000_000])
@pytest.mark.parametrize("most", [1, 3, 50])
def test_the_nearest_are_those_of_all_pairs(
    cells: int, most: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rivals, "_CELLS", cells)
    generator = np.random.default_rng(0)
    known, asked = generator.normal(size=(20, 5)), generator.normal(size=(13, 5))
    # Lengths don't matter, nor do vectors of nothing.
    known *= generator.uniform(0.1, 30, (20, 1))
    known[7] = asked[4] = 0
    rows, cosines = rivals.nearest(known, asked, most)
    assert rows.shape == cosines.shape == (13, min(most, 20))
    for place, vector in enumerate(asked):
        lengths = [np.linalg.norm(each) * np.linalg.norm(vector) for each in known]
        by_hand = [float(k @ vector) / n if n else 0.0 for k, n in zip(known, lengths)]
        order = sorted(range(20), key=lambda row: (-np.float32(by_hand[row]), row))[:most]
        np.testing.assert_allclose(cosines[place], [by_hand[row] for row in order], atol=1e-6)
        if place != 4:
            assert rows[place].tolist() == order
    assert rivals.nearest(known, np.zeros((0, 5)))[0].shape == (0, 1)
