"""What needs no decoder: copies, last turns, first sentences."""

from collections.abc import Sequence

import numpy as np

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
