"""What needs no decoder: copies, last turns, first sentences, chosen ones."""

from collections.abc import Sequence

import numpy as np
import pytest

from tfhub_transfer.tasks import rouge
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


def documents(count: int) -> tuple[list[list[str]], dict[str, np.ndarray]]:
    """Texts of unlike sentences, and a vector for each."""
    generator = np.random.default_rng(1)
    rows = [
        [f"w{row}x{n} u{row}x{n} v{row}x{n}" for n in range(generator.integers(2, 6))]
        for row in range(count)
    ]
    return rows, {text: generator.normal(size=5) for row in rows for text in row}


@pytest.mark.parametrize("by", ["place", "vector"])
def test_sentences_are_chosen_by_what_summaries_held(by: str) -> None:
    rows, vectors = documents(60)

    def best(row: list[str]) -> str:
        told = {text: vectors[text][2] / np.linalg.norm(vectors[text]) for text in row}
        return row[-1] if by == "place" else max(row, key=told.__getitem__)

    summaries = [[best(row)] for row in rows]
    known, asked = slice(0, 45), slice(45, 60)
    encode = lambda texts: np.stack([vectors[text] for text in texts])  # noqa: E731
    found = rivals.extracted(rows[known], summaries[known], [*rows[asked], []], encode, 1)
    assert found[-1] == ""
    right = sum(a == b for a, (b,) in zip(found, summaries[asked]))
    assert right == 15 if by == "place" else right >= 12  # of the highest of several, one line


def test_sentences_are_chosen_by_the_likeliest_ridge_regression() -> None:
    """The same by the normal equations, its strength by leaving out each sentence in turn."""
    rows, vectors = documents(12)
    generator = np.random.default_rng(2)
    summaries = [[" ".join(generator.permutation(" ".join(row).split())[:4])] for row in rows]
    encode = lambda texts: np.stack([vectors[text] for text in texts])  # noqa: E731
    found = rivals.extracted(rows[:8], summaries[:8], rows[8:], encode, 2)

    def features(row: list[str]) -> np.ndarray:
        own = np.stack([vectors[text] / np.linalg.norm(vectors[text]) for text in row])
        whole = own.sum(axis=0) / np.linalg.norm(own.sum(axis=0))
        extra = [[u @ whole, at == 0, at / (len(row) - 1), np.log(4.0)] for at, u in enumerate(own)]
        return np.hstack([own, extra])

    x, y = np.concatenate([features(row) for row in rows[:8]]), []
    for row, (summary,) in zip(rows[:8], summaries[:8]):
        worth = np.array([np.mean(rouge.score(text, [summary])[:2]) for text in row])
        y += [*(worth - worth.mean())]
    target = np.array(y)

    def fit(rows_of: np.ndarray, strength: float) -> tuple[np.ndarray, float]:
        mean, level = x[rows_of].mean(axis=0), target[rows_of].mean()
        own, off = x[rows_of] - mean, target[rows_of] - level
        weights = np.linalg.solve(own.T @ own + strength * np.eye(x.shape[1]), own.T @ off)
        return weights, level - mean @ weights

    def loss(strength: float) -> float:
        errors = []
        for at in range(len(x)):
            weights, level = fit(np.delete(np.arange(len(x)), at), strength)
            errors.append((x[at] @ weights + level - target[at]) ** 2)
        return float(np.mean(errors))

    strengths = (0.1, 1.0, 10.0, 100.0)
    weights, _ = fit(np.arange(len(x)), min(strengths, key=loss))
    for row, text in zip(rows[8:], found):
        scores = features(row) @ weights
        assert text == " ".join(row[at] for at in sorted(np.argsort(-scores)[:2]))


def test_targets_have_so_many_sentences() -> None:
    assert rivals.usual_count(["One.", "One. Two. Three.", "One. Two."]) == 2
    assert rivals.usual_count([""]) == rivals.usual_count([]) == 1
