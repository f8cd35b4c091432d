"""Labels in doubt and what gives them away: beside the definitions, row by row."""

import itertools

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import average_precision_score

from tfhub_transfer.checks import confident, cross_validation, giveaways, guessing
from tfhub_transfer.recipes.active_learning.linear_heads import LinearHead


def drawn(rows: int, classes: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Probabilities, of some classes higher than of others, and labels that mostly follow them."""
    generator = np.random.default_rng(seed)
    told = generator.dirichlet(np.linspace(0.2, 3.0, classes), rows)
    labels = np.array([generator.choice(classes, p=row) for row in told])
    return told, labels


@pytest.mark.parametrize(("classes", "seed"), [(2, 0), (3, 1), (7, 2)])
def test_confident_learning_is_that_of_the_paper(classes: int, seed: int) -> None:
    told, labels = drawn(200, classes, seed)
    sure_from = [
        float(np.mean([told[i, j] for i in range(200) if labels[i] == j])) for j in range(classes)
    ]
    assert confident.thresholds(told, labels) == pytest.approx(sure_from)
    # Equation 1: counts of examples labelled i that are confidently of class j.
    counts = np.zeros((classes, classes))
    doubted = []
    for i in range(200):
        above = [j for j in range(classes) if told[i, j] >= sure_from[j] - 1e-12]
        if above:
            best = max(above, key=lambda j: told[i, j])
            counts[labels[i], best] += 1
            if best != labels[i] and told[i].argmax() != labels[i]:
                doubted.append(i)
    assert np.flatnonzero(confident.in_doubt(told, labels)).tolist() == doubted
    # The likeliest class isn't always one that is sure, nor always another than is given.
    counted, likeliest = confident.counted(told, labels), told.argmax(axis=1)
    assert ((counted >= 0) & (counted != likeliest)).any()
    assert ((counted >= 0) & (counted != labels) & (likeliest == labels)).any()
    # Equation 3: calibrated to the counts of given labels, then normalised.
    scaled = np.array([row / row.sum() * (labels == i).sum() for i, row in enumerate(counts)])
    joint = scaled / scaled.sum()
    assert confident.joint_shares(told, labels) == pytest.approx(joint)
    off = sum(joint[i, j] for i, j in itertools.product(range(classes), repeat=2) if i != j)
    assert confident.wrong(told, labels) == pytest.approx(off)


def test_a_class_that_nobody_gives_is_never_sure() -> None:
    told, labels = np.array([[0.7, 0.0, 0.3], [0.1, 0.0, 0.9]]), np.array([0, 2])
    assert confident.thresholds(told, labels).tolist() == [0.7, np.inf, 0.9]
    assert not confident.in_doubt(told, labels).any()
    assert confident.wrong(told, labels) == pytest.approx(0)


def test_classes_are_alike_by_the_rows_of_both() -> None:
    given, answered = np.array([0, 0, 0, 1, 1, 2]), np.array([0, 1, 1, 0, 1, 2])
    found = confident.alike(given, answered, 3)
    assert found[0, 1] == 3 / 5 and found.sum() == 3 / 5


def test_numbers_are_apart_by_robust_spreads() -> None:
    residuals = np.random.default_rng(0).normal(3, 2, 5000)
    residuals[7] = 43
    found = confident.spreads(residuals)
    assert found.argmax() == 7 and found[7] == pytest.approx(20, rel=0.05)
    assert not confident.spreads(np.ones(4)).any()


# Cross-validation -----------------------------------------------------------------------------


def blobs(rows: int, classes: int, seed: int) -> tuple[np.ndarray, list[str]]:
    generator = np.random.default_rng(seed)
    own = np.arange(rows) % classes
    made = 1.2 * np.eye(classes, 12)[own] + generator.normal(0, 0.25, (rows, 12))
    made /= np.linalg.norm(made, axis=1, keepdims=True)
    return made.astype("float32"), [f"c{each}" for each in own]


def test_each_row_is_answered_by_what_learned_from_other_groups() -> None:
    vectors, labels = blobs(90, 3, 0)
    groups = np.arange(90) // 2
    parts = cross_validation.folds(groups, labels, 1)
    assert parts is not None and sorted(np.concatenate(parts).tolist()) == [*range(90)]
    for part in parts:
        assert not {*groups[part]} & {*np.delete(groups, part)}
    told = []
    judged = cross_validation.of_classes(vectors, labels, parts, lambda: told.append(1))
    assert len(told) == cross_validation.FOLDS and judged.classes == ("c0", "c1", "c2")
    part = parts[2]
    known = np.setdiff1d(np.arange(90), part)
    head = LogisticRegression(C=cross_validation.STRENGTH, max_iter=300)
    head.fit(vectors[known], [labels[row] for row in known])
    assert judged.answers[part] == pytest.approx(head.predict_proba(vectors[part]), abs=1e-4)


def test_rows_of_classes_that_are_in_one_fold_alone_are_not_judged() -> None:
    vectors, labels = blobs(60, 3, 0)
    labels[5] = "rare"
    parts = cross_validation.folds(np.arange(60), labels, 0)
    assert parts is not None
    judged = cross_validation.of_classes(vectors, labels, parts, lambda: None)
    assert np.setdiff1d(np.arange(60), judged.rows).tolist() == [5]
    assert judged.answers.shape == (59, 4)


def test_too_few_rows_or_groups_have_no_folds() -> None:
    assert cross_validation.folds(np.arange(19), ["a", "b"] * 9 + ["a"], 0) is None
    assert cross_validation.folds(np.zeros(40, int), ["a", "b"] * 20, 0) is None


def test_flipped_labels_stand_first() -> None:
    vectors, labels = blobs(400, 4, 3)
    wrong = np.random.default_rng(1).permutation(400)[:20]
    for row in wrong:
        labels[row] = f"c{(int(labels[row][1]) + 1) % 4}"
    parts = cross_validation.folds(np.arange(400), labels, 0)
    assert parts is not None
    judged = cross_validation.of_classes(vectors, labels, parts, lambda: None)
    given = np.array([judged.classes.index(label) for label in labels])
    truth = np.isin(np.arange(400), wrong)
    score = confident.suspicion(judged.answers, given)
    assert average_precision_score(truth, score) > 0.9  # 0.05 by chance
    doubted = confident.in_doubt(judged.answers, given)
    assert truth[doubted].mean() > 0.7 and doubted[truth].mean() > 0.7


def test_sets_of_classes_and_numbers_are_answered_too() -> None:
    vectors, labels = blobs(60, 3, 4)
    sets = [(label, "all") if row % 2 else (label,) for row, label in enumerate(labels)]
    parts = cross_validation.folds(np.arange(60), sets, 0)
    assert parts is not None
    judged = cross_validation.of_classes(vectors, sets, parts, lambda: None)
    assert judged.classes == ("all", "c0", "c1", "c2") and len(judged.rows) == 60
    right = [
        f"c{row % 3}" == judged.classes[1 + own[1:].argmax()]
        for row, own in enumerate(judged.answers)
    ]
    assert np.mean(right) > 0.9
    numbers = vectors[:, 0].astype(float) * 3
    judged = cross_validation.of_numbers(vectors, numbers, parts, lambda: None)
    assert np.corrcoef(judged.answers, numbers)[0, 1] > 0.9


def test_a_head_may_be_held_back_more() -> None:
    vectors, labels = blobs(60, 3, 5)
    strong, weak = (LinearHead(vectors, labels, each).scores(vectors) for each in (10.0, 0.1))
    assert strong.max(axis=1).mean() > weak.max(axis=1).mean() + 0.2


# What gives labels away -----------------------------------------------------------------------

LABELS = [f"c{n}" for n in np.random.default_rng(7).integers(0, 3, 300)]
HALF = giveaways.halves(np.arange(300), 0)
COLUMNS = {
    "ids that begin with the class": ([f"{c}x-{n}" for n, c in enumerate(LABELS)], "their order"),
    "dates by class": (
        [f"20{10 + int(c[1])}-{n % 12 + 1:02d}-{n % 28 + 1:02d}" for n, c in enumerate(LABELS)],
        "their order",
    ),
    "truth": ([c == "c1" for c in LABELS], None),
    "truth and numbers": ([True if c == "c1" else int(c[1]) for c in LABELS], "its values"),
    "ids by class": ([f"{'abc'[int(c[1])]}-{n}" for n, c in enumerate(LABELS)], "how they begin"),
    "numbers in the order of classes": (
        [str(row) for row in np.argsort(np.argsort(LABELS, kind="stable"))],
        "their order",
    ),
    "another name": ([f"topic {c[1]}" for c in LABELS], "its values"),
    "ids": ([f"row-{n}" for n in range(300)], None),
    "numbers": ([*range(300)], None),
    "chance": ([f"v{n}" for n in np.random.default_rng(8).integers(0, 9, 300)], None),
    "blank": ([""] * 300, None),
    "no numbers": ([float("nan")] * 300, None),
}


@pytest.mark.parametrize("name", COLUMNS)
def test_columns_that_give_labels_away(name: str) -> None:
    cells, by = COLUMNS[name]
    found = giveaways.of_column(name, cells, LABELS, HALF)
    assert (found and found.by) == by
    assert found is None or (found.what == name and found.saved > 0.9)


@pytest.mark.parametrize("rows", [30, 60, 300])
def test_rows_that_are_sorted_by_class_are_told_of_few_as_of_many(rows: int) -> None:
    labels = sorted(LABELS[:rows])
    half = giveaways.halves(np.arange(rows), 0)
    for cells in ([*range(rows)], [f"{n:05d}x" for n in range(rows)]):
        found = giveaways.of_column("id", cells, labels, half)
        assert found is not None and found.by == "their order"
    assert giveaways.of_column("flag", [True, False] * (rows // 2), labels, half) is None


def test_what_is_saved_is_counted_on_the_other_half() -> None:
    keys, labels = list("aabbaabb"), list("xxyyxyyy")
    half = np.array([True] * 4 + [False] * 4)
    # By the first half a is x and b is y, by the second a is x or y and b is y; y is most frequent
    # in the second half, x in the first.
    wrong, usual = 0, 0
    for asked, key_of, most in (
        (range(4, 8), {"a": "x", "b": "y"}, "x"),
        (range(4), {"a": "x", "b": "y"}, "y"),
    ):
        wrong += sum(key_of[keys[row]] != labels[row] for row in asked)
        usual += sum(most != labels[row] for row in asked)
    assert giveaways.saved(keys, labels, half) == 1 - wrong / usual
    assert giveaways.saved(keys, ["x"] * 8, half) == 0.0


def test_a_word_that_gives_a_class_away() -> None:
    generator = np.random.default_rng(0)
    words = [f"w{n}" for n in range(40)]
    texts = [" ".join(generator.choice(words, 12)) for _ in LABELS]
    members = np.array([[own == c for c in ("c0", "c1", "c2")] for own in LABELS])
    assert giveaways.of_words(texts, members, ("c0", "c1", "c2"), HALF) == []
    marked = [f"{t} [ad]" if c == "c1" else t for t, c in zip(texts, LABELS)]
    [found] = giveaways.of_words(marked, members, ("c0", "c1", "c2"), HALF)
    assert found.label == "c1" and found.what in ("[", "ad", "]") and found.saved == 1
    # In one half alone.
    once = [t if here else texts[n] for n, (t, here) in enumerate(zip(marked, HALF))]
    assert giveaways.of_words(once, members, ("c0", "c1", "c2"), HALF) == []
    # In every fifth text of the class it isn't any longer.
    some = [t if n % 3 else texts[n] for n, t in enumerate(marked)]
    assert giveaways.of_words(some, members, ("c0", "c1", "c2"), HALF) == []
    assert giveaways.of_words(["a"] * 3, members[:3], ("c0", "c1", "c2"), HALF[:3]) == []


def test_groups_lie_in_one_half() -> None:
    groups = np.random.default_rng(0).integers(0, 50, 200)
    half = giveaways.halves(groups, 1)
    assert (
        all(len({*half[groups == each]}) == 1 for each in np.unique(groups))
        and 60 < half.sum() < 140
    )


# Which task -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("labels", "name"),
    [
        (["a", "b", "a"], "classification"),
        ([1, 2, 5, 4], "classification"),
        ([0.5, 2.25, 1.0], "regression"),
        ([*range(50)], "regression"),
        ([["a"], [], ["b", "c"]], "multi-label"),
        (["a|b", "c", "b"], "multi-label"),
        (["a/b: c", *["x", "y"] * 40, "b|c"], "classification"),
        ([[{"text": "a", "answer_start": 0}]], "question-answering"),
        ([[f"The sentence number {n}."] for n in range(30)], "extractive-summarization"),
    ],
)
def test_labels_tell_their_task(labels: list[object], name: str) -> None:
    assert guessing.task_of(["a text"] * len(labels), labels).name == name
