"""Descriptions of classes: what they count for, and what judges them."""

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from tfhub_transfer.recipes import class_descriptions, contrasts
from tfhub_transfer.recipes.class_descriptions import Judged
from tfhub_transfer.tasks import nearness


def drawn(each: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Unit vectors around three centres that few of them tell, and their classes."""
    generator = np.random.default_rng(seed)
    classes = np.repeat(np.arange(3), each)
    return nearness.unit(
        np.eye(3, 12)[classes] + generator.normal(0, 0.5, (len(classes), 12))
    ), classes


DESCRIBED = np.eye(3, 12), np.arange(3)


def right(
    known: list[np.ndarray], weights: list[float], asked: tuple[np.ndarray, np.ndarray]
) -> int:
    head = LogisticRegression(C=10.0, max_iter=200).fit(*known, sample_weight=weights)
    return int((head.predict(asked[0]) == asked[1]).sum())


def test_it_is_judged_by_what_no_head_has_learned_from() -> None:
    (vectors, classes), validation = drawn(4, 1), drawn(5, 2)
    fold, expected = contrasts.folds(classes, 3, 7), [0, 0]
    rounds = [(fold != n, (vectors[fold == n], classes[fold == n])) for n in range(3)]
    rounds.append((np.ones(12, bool), validation))
    for given, asked in rounds:
        own = [vectors[given], classes[given]]
        count = int(given.sum())
        expected[0] += right(own, [1.0] * count, asked)
        both = [np.concatenate(pair) for pair in zip(own, DESCRIBED)]
        expected[1] += right(both, [1.0] * count + [4.0] * 3, asked)
    told: list[int] = []
    found = class_descriptions.judge(
        (vectors, classes), DESCRIBED, validation, 7, lambda: told.append(1)
    )
    assert found == Judged(*expected, 27, 15) and len(told) == 4
    assert found.right > found.without and found.kept


def test_nobody_is_asked_for_a_class_that_no_label_is_left_of() -> None:
    known, validation = drawn(1, 1), drawn(5, 2)
    assert class_descriptions.judge(known, DESCRIBED, validation).asked == 15
    void = (np.zeros((0, 12)), np.zeros(0, int))
    found = class_descriptions.judge(known, DESCRIBED, void)
    assert found == Judged(0, 0, 0, 0) and not found.kept


def test_descriptions_of_other_classes_are_not_kept() -> None:
    swapped = DESCRIBED[0][[1, 2, 0]], DESCRIBED[1]
    found = class_descriptions.judge(drawn(4, 1), swapped, drawn(5, 2))
    assert found.right < found.without and not found.kept


@pytest.mark.parametrize(
    ("judged", "right", "judges"),
    [
        (Judged(5, 6, 10, 4), "0.6000", "6 training labels left out in turn and 4 of validation; "),
        (Judged(5, 5, 10, 0), "0.5000", "10 training labels left out in turn; not "),
    ],
)
def test_both_numbers_are_said(judged: Judged, right: str, judges: str) -> None:
    ways = f"accuracy 0.5000 without, {right} with them"
    assert str(judged) == f"descriptions of classes: {ways}; on {judges}kept"
