"""Labels for unlabelled texts: each way by its formula, and what they are worth, recounted."""

import types

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from tfhub_transfer.recipes import contrasts, pseudo_labels
from tfhub_transfer.tasks import nearness

LABELS = pseudo_labels.Labels(np.arange(2), np.arange(2), np.ones(2))


def clouds(count: int, spread: float = 0.4, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Unit vectors of texts of three classes, as many of each, in turn."""
    random = np.random.default_rng(seed)
    classes = np.arange(count) % 3
    return nearness.unit(np.eye(8)[classes] + spread * random.normal(size=(count, 8))), classes


def test_neighbours_are_the_nearest_of_either() -> None:
    vectors, _ = clouds(40)
    cosines = vectors.astype("float64") @ vectors.T.astype("float64") - 2 * np.eye(40)
    nearest = np.argsort(-cosines, axis=1)[:, : pseudo_labels.NEIGHBOURS]
    wanted = np.zeros((40, 40))
    for row, others in enumerate(nearest):
        wanted[row, others] = wanted[others, row] = 1
    np.testing.assert_array_equal(pseudo_labels.graph(vectors).toarray(), wanted)
    assert pseudo_labels.graph(vectors[:4]).toarray().sum() == 12  # all are each other's


def test_labels_spread_as_the_formula_has_it() -> None:
    vectors, truth = clouds(60)
    near = pseudo_labels.graph(vectors)
    known = np.where(np.arange(60) < 6, truth, -1)
    found = pseudo_labels.spread(near, known)
    # Zhou et al. 2003: F = a D^-1/2 W D^-1/2 F + (1 - a) Y, again and again.
    w = near.toarray()
    scale = 1 / np.sqrt(w.sum(axis=1))
    step = scale[:, None] * w * scale
    start = (known[:, None] == np.arange(3)).astype(float)
    shares = start
    for _ in range(500):
        shares = pseudo_labels.SHARE * step @ shares + (1 - pseudo_labels.SHARE) * start
    shares /= shares.sum(axis=1, keepdims=True)
    assert found.rows.tolist() == list(range(6, 60))
    np.testing.assert_array_equal(found.classes, shares[6:].argmax(axis=1))
    # It ends after 30 steps, when little changes.
    np.testing.assert_allclose(found.confidences, shares[6:].max(axis=1), atol=0.05)
    assert (found.classes == truth[6:]).mean() > 0.9


def test_what_nothing_reaches_has_no_label() -> None:
    vectors = np.concatenate([clouds(30)[0], -clouds(30, seed=1)[0]])
    vectors = np.concatenate([vectors, np.zeros_like(vectors)], axis=1)
    vectors[30:] = np.roll(vectors[30:], 8, axis=1)  # at right angles to the others
    known = np.full(60, -1)
    known[:3] = [2, 5, 2]
    found = pseudo_labels.spread(pseudo_labels.graph(vectors), known)
    assert set(found.rows.tolist()) == set(range(3, 30))
    assert set(found.classes.tolist()) <= {2, 5}


def test_a_head_labels_what_it_is_surest_of_and_as_many_of_each_class() -> None:
    (known, classes), (vectors, truth) = clouds(9), clouds(300, 0.6, seed=1)
    kept = np.ones(9, bool)
    kept[[3, 6]] = False  # so that the labels are of one, three and three
    found = pseudo_labels.self_train(known[kept], classes[kept], vectors)
    # By hand, round by round.
    rows, given, sure = np.zeros(0, int), np.zeros(0, int), np.zeros(0)
    for share in pseudo_labels.ROUNDS:
        head = LogisticRegression(C=10.0, max_iter=1000).fit(
            np.concatenate([known[kept], vectors[rows]]),
            np.concatenate([classes[kept], given]),
            np.concatenate([np.ones(7), sure]),
        )
        scores = head.predict_proba(vectors)
        taken = []
        for name, of in enumerate((1, 3, 3)):
            own = [row for row in range(300) if scores[row].argmax() == name]
            own.sort(key=lambda row, name=name: -scores[row, name])  # type: ignore[misc]
            taken += own[: int(np.ceil(share * 300 * of / 7))]
        rows = np.sort(taken)
        given, sure = scores[rows].argmax(axis=1), scores[rows].max(axis=1)
    assert len(np.setxor1d(found.rows, rows)) <= 2  # of two that are alike up to rounding
    both = np.intersect1d(found.rows, rows, return_indices=True)
    np.testing.assert_array_equal(found.classes[both[1]], given[both[2]])
    np.testing.assert_allclose(found.confidences[both[1]], sure[both[2]], atol=1e-2)
    assert (found.classes == truth[found.rows]).mean() > 0.6
    few = found.some(20, seed=1)
    assert len(few.rows) == 20 and set(few.rows) <= set(found.rows)
    assert found.some(len(found.rows), seed=1) is found


def test_what_labels_are_worth_is_a_count_of_right_answers() -> None:
    (known, classes), (vectors, _) = clouds(12, 0.8), clouds(300, 0.5, seed=1)
    validation, calls = clouds(30, 0.5, seed=2), []
    found = pseudo_labels.judge(known, classes, vectors, validation, 3, lambda: calls.append(1))
    assert len(calls) == pseudo_labels.FOLDS + 1
    assert (found.asked, found.apart) == (42, 30)
    # Without any: logistic regression, of folds and of all.
    fold, right = contrasts.folds(classes, pseudo_labels.FOLDS, 3), 0
    for each in range(pseudo_labels.FOLDS):
        right += contrasts.right(
            known[fold != each], classes[fold != each], known[fold == each], classes[fold == each]
        ).sum()
    right += contrasts.right(known, classes, *validation).sum()
    assert found.right[""] == right
    # With: of all labels, asked by validation alone.
    alone = pseudo_labels.judge(known[:2], classes[:2], vectors, validation)
    assert alone.asked == 30  # a fold without two classes teaches nothing
    assert found.way is not None and found.right[found.way] == max(found.right.values()) > right
    assert found.labels is not None and len(found.labels.rows) > 250
    told = str(found)
    for way, words in pseudo_labels.WAYS.items():
        assert f"{found.right[way] / 42:.4f} {words}" in told
    assert told.endswith(f"kept those of {found.way}")
    assert "12 training labels left out in turn and 30 of validation" in told


def test_labels_that_bring_nothing_are_left_out() -> None:
    random = np.random.default_rng(5)
    (known, classes), noise = clouds(60, 0.2), nearness.unit(random.normal(size=(80, 8)))
    found = pseudo_labels.judge(known, classes, noise)
    assert found.right[""] == found.asked == 60  # there is nothing to gain
    assert found.way is None and found.labels is None and str(found).endswith("none kept")


def test_texts_that_are_left_out_teach_nothing() -> None:
    (known, classes), (vectors, _) = clouds(12, 0.3), clouds(60, 0.3, seed=1)
    trial = pseudo_labels._Trial(known, classes, vectors, 0)
    given = np.arange(12) >= 6
    turned = pseudo_labels._Trial(known, np.where(given, classes, 2 - classes), vectors, 0)
    for way, labels in trial.ways(given).items():
        other = turned.ways(given)[way]
        if labels is not None and other is not None:
            np.testing.assert_array_equal(labels.classes, other.classes)
            assert labels.rows.max() < 60


def test_spreading_must_gain_more_than_an_error_of_that() -> None:
    """One answer more, one changed, may be luck; four more of four not; nor must neighbours err."""
    trial = types.SimpleNamespace(ways=lambda given: {"": None, "spreading": LABELS})
    for more, changed, near, way in (
        (1, 1, 5, None),
        (4, 4, 5, "spreading"),
        (4, 16, 5, None),
        (4, 4, 4, None),
    ):
        trial.right = {"": 5, "self-training": 5, "spreading": 5 + more}
        trial.changed, trial.nearest, trial.asked = {"spreading": changed}, near, 20
        trial.ask = lambda *given: None
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(pseudo_labels, "_Trial", lambda *given, own=trial: own)
            found = pseudo_labels.judge(np.zeros((4, 2)), np.arange(4) % 2, np.zeros((4, 2)))
        assert found.way == way and found.labels is (LABELS if way else None)
