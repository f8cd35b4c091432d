"""Which texts to label next: strategies beside brute force, curves beside known ones."""

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.stats
from sklearn.cluster import KMeans

import tfhub_transfer as tt
from tfhub_transfer.models import stored_features
from tfhub_transfer.recipes import active_learning
from tfhub_transfer.recipes.active_learning import (
    Candidates,
    Gain,
    Selector,
    learning_curves,
    linear_heads,
    selector,
    strategies,
)
from tfhub_transfer.reporting import metrics


def blobs(sizes: list[int], seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Vectors around so many centres far from each other, and to which each belongs."""
    generator = np.random.default_rng(seed)
    own = np.repeat(np.arange(len(sizes)), sizes)
    centres = 10 * np.eye(len(sizes), 8)
    return (centres[own] + generator.normal(0, 0.3, (len(own), 8))).astype("float32"), own


def given(vectors: np.ndarray, labelled: Any = (), **more: Any) -> Candidates:
    rows = np.arange(len(vectors))
    labelled = np.array(labelled, int)
    free = more.pop("free", np.setdiff1d(rows, labelled))
    return Candidates(vectors, labelled, free, more.pop("count", 3), **more)


# Strategies -----------------------------------------------------------------------------------


@pytest.mark.parametrize("cells", [1 << 20, 100])
@pytest.mark.parametrize("count", [1, 2, 15, 60])
def test_typicality_is_that_of_the_paper(
    count: int, cells: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(strategies, "_CELLS", cells)
    vectors = np.random.default_rng(1).normal(size=(count, 5))
    expected = []
    for row in range(count):
        far = sorted(
            math.dist(vectors[row], vectors[other]) for other in range(count) if other != row
        )
        nearest = far[: min(20, count - 1)]
        expected.append(1 / np.mean(nearest) if nearest else 1.0)
    assert strategies.typicality(vectors) == pytest.approx(expected)


def test_texts_that_are_equal_are_as_typical_as_each_other() -> None:
    assert len({*strategies.typicality(np.ones((4, 2)))}) == 1


def test_typical_texts_are_of_the_largest_clusters_without_a_label() -> None:
    vectors, own = blobs([30, 20, 10, 25])
    # Two clusters have a label; with two more there are four clusters, and two without one.
    labelled = [int(np.flatnonzero(own == 3)[0]), int(np.flatnonzero(own == 1)[0])]
    chosen = strategies.typical(given(vectors, labelled, count=2))
    assert own[chosen].tolist() == [0, 2]
    for row in chosen:
        inside = np.flatnonzero(own == own[row])
        assert row == inside[strategies.typicality(vectors[inside]).argmax()]


def test_small_clusters_wait_and_rows_that_arent_free_are_never_chosen() -> None:
    vectors, own = blobs([3, 20, 20])
    free = np.flatnonzero(own != 1)
    chosen = strategies.typical(given(vectors, free=free, count=3))
    assert own[chosen[0]] == 2  # the one of three texts has too few
    assert set(chosen) <= set(free) and len(set(chosen)) == 3
    every = strategies.typical(given(vectors, free=free, count=len(free)))
    assert sorted(every) == free.tolist()


def test_many_texts_are_clustered_by_a_sample(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(strategies, "MOST_TEXTS", 20)
    vectors, _ = blobs([30, 30])
    chosen = strategies.typical(given(vectors, [0, 40], count=4))
    assert len(set(chosen)) == 4 and not {0, 40} & set(chosen.tolist())


@pytest.mark.parametrize("count", [5, 60])  # k-means of all, and by parts
def test_clusters_are_as_tight_as_those_of_scikit_learn(count: int) -> None:
    vectors = np.random.default_rng(0).normal(size=(400, 6))
    own = strategies.clusters(vectors, count, seed=3)
    centres = np.array([vectors[own == each].mean(axis=0) for each in np.unique(own)])
    spread = ((vectors[:, None] - centres) ** 2).sum(axis=2).min(axis=1).sum()
    assert spread < 1.15 * KMeans(count, n_init=1, random_state=0).fit(vectors).inertia_
    assert strategies.clusters(vectors[:4], 9, seed=0).tolist() == [0, 1, 2, 3]


def test_margins_by_hand() -> None:
    scores = np.array([[0.4, 0.35, 0.25], [0.9, 0.05, 0.05], [0.1, 0.5, 0.4]])
    closeness = strategies.margins(scores)
    assert closeness == pytest.approx([0.05, 0.85, 0.1])
    vectors = np.eye(3, dtype="float32")
    assert strategies.margin(given(vectors, count=2, closeness=closeness)).tolist() == [0, 2]
    assert strategies.margin(given(vectors, [0], count=1, closeness=closeness)).tolist() == [2]
    sets = strategies.margins_of_sets(np.array([[0.9, 0.4], [0.2, 0.95]]))
    assert sets == pytest.approx([0.1, 0.3])


def test_a_batch_of_close_calls_isnt_twenty_times_the_same() -> None:
    vectors, own = blobs([30, 30, 30])
    # The closest calls are all of the first group.
    closeness = own + np.linspace(0, 0.5, len(own))
    chosen = given(vectors, count=3, closeness=closeness)
    assert own[strategies.margin(chosen)].tolist() == [0, 0, 0]
    spread = strategies.clustered_margin(given(vectors, count=9, closeness=closeness))
    assert set(own[spread]) == {0, 1, 2} and spread[0] == 0 and len(set(spread)) == 9
    few = given(vectors, free=np.arange(4), count=4, closeness=closeness)
    assert strategies.clustered_margin(few).tolist() == [0, 1, 2, 3]


def test_any_texts_are_others_with_more_labels() -> None:
    vectors, _ = blobs([40])
    first = strategies.drawn(given(vectors, count=5))
    assert first.tolist() == strategies.drawn(given(vectors, count=5)).tolist()
    assert set(strategies.drawn(given(vectors, first, count=5))).isdisjoint(first)


# Curves ---------------------------------------------------------------------------------------


def at(labels: float, power: float, top: float = 0.9, drop: float = 2.0) -> float:
    return float(top - drop * labels**-power)


@pytest.mark.parametrize("power", [0.5, 0.2, 1.3])
def test_a_known_rise_is_found(power: float) -> None:
    sizes = [20, 40, 70, 100, 200]
    plain = np.array([[at(size, power) for size in sizes]] * 6)
    found = learning_curves.expected(sizes, plain, now=220, more=220)
    # Powers stand 0.05 apart, and without noise one of them counts alone.
    assert found.value == pytest.approx(at(440, power) - at(220, power), abs=1e-5)
    assert found.error == pytest.approx(0, abs=1e-4)


def test_no_rise_is_below_0_or_passes_1() -> None:
    falling = np.array([[0.9, 0.8, 0.7]] * 6)
    assert learning_curves.expected([20, 40, 80], falling, now=80, more=80).value == 0
    steep = np.array([[0.5, 0.8, 1.0]] * 6)
    assert learning_curves.expected([20, 40, 80], steep, now=80, more=80).value == 0


def test_what_more_labels_bring_is_the_mean_of_curves_with_its_error() -> None:
    sizes = np.array([30, 60, 90, 120])
    plain = np.array([[at(size, 0.5) for size in sizes]] * 6)
    noisy = plain + np.random.default_rng(0).normal(0, 0.02, plain.shape)
    found = learning_curves.expected(sizes.tolist(), noisy, now=150, more=50)
    rises, variances, likely = [], [], []
    wider = 1 + 6 * 0.2 / 0.8  # Nadeau and Bengio's
    beside = noisy - noisy.mean(axis=1, keepdims=True)
    noise = wider * np.var(beside, axis=0, ddof=1).sum() / 3 / 6
    for power in learning_curves.POWERS:

        def bent(labels: Any, power: float = power) -> Any:
            return np.log(labels) if abs(power) < 1e-9 else -(labels**-power) * np.sign(power)

        own = [np.polyfit(bent(sizes), row, 1) for row in noisy]
        curve = np.polyfit(bent(sizes), noisy.mean(axis=0), 1)
        rises.append(np.polyval(curve, bent(200)) - np.polyval(curve, bent(150)))
        of_splits = [np.polyval(each, bent(200)) - np.polyval(each, bent(150)) for each in own]
        variances.append(wider * np.var(of_splits, ddof=1) / 6)
        missed = noisy.mean(axis=0) - np.polyval(curve, bent(sizes))
        likely.append(scipy.stats.norm(0, math.sqrt(noise)).logpdf(missed).sum())
    share = np.exp(np.array(likely) - max(likely))
    share /= share.sum()
    value = share @ rises
    error = math.sqrt(share @ (np.array(variances) + (np.array(rises) - value) ** 2))
    assert found == Gain(pytest.approx(value, rel=1e-4), pytest.approx(error, rel=1e-4))


def test_what_comes_is_within_two_errors_nearly_always() -> None:
    generator, within = np.random.default_rng(0), []
    sizes = [60, 90, 120, 160, 200]
    for power in (0.2, 0.5, 1.0):
        rise = at(440, power, drop=0.8) - at(220, power, drop=0.8)
        for _ in range(40):
            right = [[at(size, power, drop=0.8) for size in sizes]] * 6
            found = learning_curves.expected(
                sizes, generator.binomial(50, right) / 50, now=220, more=220
            )
            within.append(abs(found.value - rise) <= 2 * found.error)
    assert np.mean(within) > 0.9


def test_where_nothing_is_known_no_rise_is_not_said_for_certain() -> None:
    # Six judges a split, as of 30 labels; the accuracies happen to fall.
    wins = np.random.default_rng(1).binomial(6, [0.3, 0.3, 0.28, 0.25, 0.22], size=(6, 5))
    found = learning_curves.expected([8, 11, 15, 19, 24], wins / 6, now=30, more=30)
    assert found.value == 0 and found.error > 0.02
    # Nor where the last of them happens to be low (SST-2 with 512 labels, where 2.5 points came).
    means = np.array([0.751, 0.767, 0.781, 0.783, 0.757])
    splits = means + np.random.default_rng(0).normal(0, 0.025, (6, 5))
    found = learning_curves.expected([138, 207, 276, 369, 461], splits, now=512, more=512)
    assert found.value > 0.003 and found.error > 0.005


def test_accuracies_are_of_others_than_those_that_learned() -> None:
    vectors, own = blobs([30, 30])
    labels = [("a", "b")[each] for each in own]
    found = learning_curves.measured(vectors, labels)
    assert found is not None
    sizes, accuracies = found
    assert sizes == [14, 22, 29, 38, 48] and accuracies.shape == (6, 5)
    assert accuracies.min() > 0.95
    # Labels that mean nothing are not learned by heart.
    luck = np.random.default_rng(0).normal(size=(60, 200))
    measured = learning_curves.measured(luck, labels)
    assert measured is not None and measured[1].mean() < 0.75
    assert learning_curves.accuracy(luck, labels, np.arange(60), np.arange(60)) > 0.95
    assert learning_curves.measured(vectors[:19], labels[:19]) is None
    assert learning_curves.measured(vectors[:25], labels[:25]) is None  # one class


def test_a_head_of_several_classes_answers_sets() -> None:
    vectors, own = blobs([20, 20, 20])
    labels = [((), ("a",), ("a", "b"))[each] for each in own]
    head = linear_heads.LinearHead(vectors, labels)
    assert head.classes == ["a", "b"] and head.several
    assert head.answers(head.scores(vectors)) == labels
    scores = np.array([[0.6, 0.5], [0.4, 0.49], [0.2, 0.7]])
    assert head.answers(scores) == [("a", "b"), (), ("b",)]


# The selector ---------------------------------------------------------------------------------

TEXTS = [f"a {kind} film {i}" for i in range(30) for kind in ("good", "bad")]


@pytest.fixture
def chooser(text_encoder: Path) -> Any:
    return lambda *given, **more: Selector(str(text_encoder), *given, **more)


def test_texts_are_typical_then_close_calls_with_random_ones_among_them(chooser: Any) -> None:
    choose = chooser(seed=1)
    labels: list[Any] = [None] * len(TEXTS)
    seen = []
    for _ in range(4):
        found = choose.select(TEXTS, labels, count=10)
        assert len(found) == len(set(found.rows)) == 10
        aside = choose.measures(TEXTS)
        for row, reason, predicted in zip(found.rows, found.reasons, found.predicted):
            assert labels[row] is None and (reason == "random") == aside[row]
            assert predicted is None or reason != "random"
            labels[row] = TEXTS[row].split()[1]
        seen += found.reasons
    assert seen[:10].count("random") == 1 and seen.count("random") == 4
    assert set(seen[:10]) == {"typical", "random"} and set(seen[20:]) == {"margin", "random"}
    again = choose.select(TEXTS, labels, count=10)
    assert again == chooser(seed=1).select(TEXTS, labels, count=10)


def test_what_measures_is_told_by_its_words_alone(chooser: Any) -> None:
    choose = chooser(seed=1)
    aside = choose.measures(TEXTS)
    assert 0 < aside.sum() < 15
    assert (choose.measures(TEXTS[::-1]) == aside[::-1]).all()
    assert (choose.measures([f"  {text.upper()}" for text in TEXTS]) == aside).all()
    assert (chooser(seed=2).measures(TEXTS) != aside).any()
    assert not chooser(random_share=0).measures(TEXTS).any()


def test_blank_texts_and_repeats_of_what_is_labelled_arent_asked(chooser: Any) -> None:
    texts = ["a film", "A  FILM", "", " ", "rain", "rain", "snow"]
    found = chooser().select(texts, [None, "x", None, None, None, None, None], count=9)
    assert sorted(found.rows) == [4, 6]
    with pytest.raises(tt.InputError, match="expected texts without a label"):
        chooser().select(texts[:4], ["x", None, None, None])


def test_a_second_call_encodes_nothing_again(chooser: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    chooser().select(TEXTS[:20], count=2)
    made = []
    run = stored_features.compute
    monkeypatch.setattr(stored_features, "compute", lambda *a: made.append(a) or run(*a))
    monkeypatch.setattr(tt.models.forward.Forward, "run", None)  # type: ignore[attr-defined]
    choose = chooser()
    first = choose.select(TEXTS[:20], count=2)
    assert choose.select(TEXTS[:20], count=2) == first and len(made) == 1


def test_only_texts_that_the_head_never_saw_measure_it(
    chooser: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    choose, learned = chooser(seed=1), []
    aside = choose.measures(TEXTS)
    labels = [text.split()[1] for text in TEXTS]
    head = linear_heads.LinearHead

    class Noted(head):  # type: ignore[valid-type,misc]
        def __init__(self, vectors: np.ndarray, known: Any) -> None:
            learned.append(len(known))
            super().__init__(vectors, known)

    monkeypatch.setattr(learning_curves, "LinearHead", Noted)
    found = choose.judge(TEXTS, labels)
    assert learned[0] == (~aside).sum() and found.tests == aside.sum()
    assert found.accuracy is not None and found.gain is not None
    assert found.interval == metrics.wilson(found.accuracy, found.tests)
    none = choose.judge(TEXTS, [None, *labels[1:3], *[None] * 57], tests=[False] * 60)
    assert none == active_learning.Judged(0)


def test_several_classes_a_text(chooser: Any) -> None:
    labels = [["x"], ["x", "y"], [], *[None] * 57]
    found = chooser(strategy="margin").select(TEXTS, labels, count=5)
    assert all(isinstance(each, tuple | None) for each in found.predicted)
    assert any(each is not None for each in found.predicted)


def test_pairs_are_chosen_by_vectors_of_pairs(chooser: Any, text_encoder: Path) -> None:
    firsts, seconds = TEXTS[:20], [f"it is {text.split()[1]}" for text in TEXTS[20:40]]
    pairs = list(zip(firsts, seconds))
    model = tt.build_model(str(text_encoder), tt.tasks.Classification(["x", "y"], pair=True))
    vectors = model.compute_features(tt.data.Examples.from_lists(firsts, text_pair=seconds))
    vectors = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    expected = strategies.typical(given(vectors, count=5))
    choose = chooser("typical", random_share=0)
    assert sorted(choose.select(pairs, count=5).rows) == sorted(expected)
    # Both texts of a pair tell it from others.
    assert sorted(choose.select([("a", "b"), ("A", " b"), ("b", "a"), ("a", " ")]).rows) == [0, 2]
    aside = chooser(random_share=0.5).measures([("a", "b c"), ("a b", "c"), ("A", " b  c")])
    assert aside[0] == aside[2]
    places = [chooser()._place(each) for each in (("a", "b c"), ("a b", "c"))]
    assert places[0] != places[1]


def test_a_model_reads_what_it_chooses_among(text_encoder: Path) -> None:
    for pair, texts in ((True, ["a", "b"]), (False, [("a", "b"), ("c", "d")])):
        task = tt.tasks.Classification(["x", "y"], pair=pair)
        choose = Selector(tt.build_model(str(text_encoder), task), random_share=0)
        what = "single texts" if pair else "pairs"
        with pytest.raises(tt.InputError, match=f"a model of one task that reads {what}"):
            choose.select(texts)


def test_a_strategy_of_ones_own(chooser: Any) -> None:
    def first(given: Candidates) -> np.ndarray:
        return given.free[: given.count]

    found = chooser(first, random_share=0).select(TEXTS, count=2)
    assert sorted(found.rows) == [0, 1] and found.reasons == ["first", "first"]
    with pytest.raises(tt.InputError, match="a strategy must give 2 rows of `free`"):
        chooser(lambda given: given.free[:1], random_share=0).select(TEXTS, count=2)
    for odd in (lambda given: None, lambda given: given.free[:2, None]):
        with pytest.raises(tt.InputError, match="a strategy must give 2 rows of `free`"):
            chooser(odd, random_share=0).select(TEXTS, count=2)


@pytest.mark.parametrize("odd", [5, "one text", None, ["a", 5]])
def test_what_measures_is_texts(odd: Any, chooser: Any) -> None:
    with pytest.raises(tt.InputError, match="Received: "):
        chooser().measures(odd)


def test_all_is_asked_in_the_end(chooser: Any) -> None:
    for name in ("auto", *selector.STRATEGIES):
        found = chooser(name).select(TEXTS, count=100)
        assert sorted(found.rows) == list(range(60))
    assert set(chooser("random").select(TEXTS, count=9).reasons) == {"drawn", "random"}


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (lambda make: make("entropy"), "`strategy` must be one of auto, typical"),
        (lambda make: make(random_share=1), "`random_share` must be a number from 0"),
        (lambda make: make().select(TEXTS, ["a"]), "a label for each text.*60 texts, 1 labels"),
        (
            lambda make: make().select(["a", "b"], ["x", ["y"]]),
            "one class for each text, or a list",
        ),
        (lambda make: make().select("a text"), "expected a list of texts"),
        (lambda make: make().judge(TEXTS, [None] * 60, [True]), "`tests` says of each text"),
        (lambda make: make().select(["a", 3]), "row 2 of the texts"),
        (lambda make: make().select([("a", "b"), "c"]), "row 2 of the texts: expected a pair"),
        (lambda make: make().select([("a", "b", "c")]), "row 1 of the texts: expected a pair"),
        (lambda make: make().select([("a", None)]), "row 1 of the texts: every text must be"),
    ],
)
def test_mistakes(wrong: Any, message: str, chooser: Any) -> None:
    with pytest.raises(tt.InputError, match=message):
        wrong(chooser)
