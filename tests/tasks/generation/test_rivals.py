"""What needs no decoder: copies, last turns, first sentences, the nearest example."""

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
