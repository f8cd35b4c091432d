"""Numbers of reports on hostile inputs equal their definitions, counted out one by one."""

import collections
import itertools
import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
import seqeval.metrics

from tfhub_transfer.reporting import metrics
from tfhub_transfer.tasks import rouge
from tfhub_transfer.tasks.summaries import measures as summary_evaluation
from tfhub_transfer.tasks.tagging import measures as word_evaluation

# Definitions ---------------------------------------------------------------------------------


def share(above: float, below: float) -> float:
    return above / below if below else 0.0


def rates(truth: Sequence[bool], given: Sequence[bool]) -> tuple[float, float, float]:
    """Precision, recall and F1."""
    hits = sum(a and b for a, b in zip(truth, given))
    precision, recall = share(hits, sum(given)), share(hits, sum(truth))
    return precision, recall, share(2 * precision * recall, precision + recall)


def roc_area(truth: Sequence[bool], scores: Sequence[float]) -> float:
    """How often one of the class is above one that isn't; equal ones count half."""
    pairs = [(a, b) for a, x in zip(scores, truth) if x for b, y in zip(scores, truth) if not y]
    return sum(1.0 if a > b else 0.5 if a == b else 0.0 for a, b in pairs) / len(pairs)


def average_precision(truth: Sequence[bool], scores: Sequence[float]) -> float:
    """The sum over thresholds of the precision times what the recall rises by."""
    total, before = 0.0, 0.0
    for threshold in sorted(set(scores), reverse=True):
        precision, recall, _ = rates(truth, [s >= threshold for s in scores])
        total, before = total + precision * (recall - before), recall
    return total


def areas(columns: list[tuple[Any, Any]]) -> tuple[float | None, float | None]:
    usable = [(t.tolist(), s.tolist()) for t, s in columns if 0 < sum(t) < len(t)]
    if not usable:
        return None, None
    kinds: list[Callable[..., float]] = [roc_area, average_precision]
    roc, pr = ([kind(*column) for column in usable] for kind in kinds)
    return sum(roc) / len(roc), sum(pr) / len(pr)


def expected_calibration_error(right: Sequence[bool], confidence: Sequence[float]) -> float:
    bins = collections.defaultdict(list)
    for hit, sure in zip(right, confidence):
        bins[min(int(sure * 15), 14)].append((hit, sure))
    gaps = [abs(sum(hit for hit, _ in b) - sum(sure for _, sure in b)) for b in bins.values()]
    return sum(gaps) / len(right)


def ranks(values: Sequence[float]) -> list[float]:
    return [
        sum(other < own for other in values) + (sum(other == own for other in values) + 1) / 2
        for own in values
    ]


def pearson(x: Sequence[float], y: Sequence[float]) -> float:
    a, b = (math.fsum(each) / len(each) for each in (x, y))
    u, v = [each - a for each in x], [each - b for each in y]
    u, v = ([each / max(map(abs, w)) for each in w] for w in (u, v))
    both = math.fsum(p * q for p, q in zip(u, v))
    return both / math.sqrt(math.fsum(p * p for p in u)) / math.sqrt(math.fsum(q * q for q in v))


def same(found: dict[str, Any], expected: dict[str, Any]) -> None:
    assert set(found) == set(expected)
    for name, value in expected.items():
        close = None if value is None else pytest.approx(value, rel=1e-9, abs=1e-9 * abs(value))
        assert found[name] == close, name


# Classes -------------------------------------------------------------------------------------


def classified() -> dict[str, tuple[np.ndarray, np.ndarray]]:
    generator = np.random.default_rng(0)
    found: dict[str, tuple[np.ndarray, np.ndarray]] = {}
    for rows, classes in itertools.product((1, 2, 3, 40), (2, 3, 5)):
        labels = generator.integers(0, classes, rows)
        scores = generator.dirichlet(np.full(classes, 0.5), rows)
        found[f"{rows} of {classes}"] = labels, scores
        found[f"{rows} of {classes}, ties"] = labels, scores.round(1)
        found[f"{rows} of {classes}, a class absent"] = np.minimum(labels, classes - 2), scores
        found[f"{rows} of {classes}, one class"] = np.full(rows, classes - 1), scores
        found[f"{rows} of {classes}, constant"] = labels, np.full((rows, classes), 1 / classes)
        found[f"{rows} of {classes}, all wrong"] = labels, np.eye(classes)[(labels + 1) % classes]
        found[f"{rows} of {classes}, all right"] = labels, np.eye(classes)[labels]
        found[f"{rows} of {classes}, zeros"] = labels, np.zeros((rows, classes))
    return found


CLASSIFIED = classified()


def test_classification() -> None:
    for labels, scores in CLASSIFIED.values():
        classes = scores.shape[1]
        given = [row.index(max(row)) for row in scores.tolist()]
        occurring = sorted({*labels.tolist(), *given})
        each = [rates((labels == c).tolist(), [g == c for g in given]) for c in occurring]
        accuracy = sum(a == b for a, b in zip(labels, given)) / len(labels)
        measured = [1] if classes == 2 else range(classes)
        roc, pr = areas([((labels == c).astype(int), scores[:, c]) for c in measured])
        right = [bool(a == b) for a, b in zip(labels, given)]
        means = [sum(column) / len(each) for column in zip(*each)]
        expected = dict(zip(("precision", "recall", "macro_f1"), means))
        expected |= {"accuracy": accuracy, "micro_f1": accuracy, "roc_auc": roc, "pr_auc": pr}
        expected["ece"] = expected_calibration_error(right, scores.max(axis=1).tolist())
        same(metrics.classification(labels, scores), expected)
        rows = metrics.per_class(
            np.eye(classes, dtype=int)[labels],
            np.eye(classes, dtype=int)[given],
            list("abcde"[:classes]),
        )
        for place, row in enumerate(rows):
            precision, recall, f1 = rates((labels == place).tolist(), [g == place for g in given])
            wanted = {"precision": precision, "recall": recall, "f1": f1}
            wanted |= {"class": "abcde"[place], "support": int((labels == place).sum())}
            assert row == pytest.approx(wanted)


def test_multi_label() -> None:
    generator = np.random.default_rng(1)
    for rows, classes in itertools.product((1, 2, 30), (1, 2, 4)):
        some = generator.integers(0, 2, (rows, classes))
        scores = generator.random((rows, classes)).round(1)
        for truth, made in (
            (some, scores),
            (some * 0, scores),  # no text has a label
            (some, scores * 0),  # nothing is answered
            (some, 1.0 - some),  # everything wrong
            (some, some.astype(float)),
            (some, np.full_like(scores, 0.5)),  # on the threshold
            (some * 0, scores * 0),
        ):
            given = [[s >= 0.5 for s in row] for row in made.tolist()]
            wanted = [[x == 1 for x in row] for row in truth.tolist()]
            columns = [(list(a), list(b)) for a, b in zip(zip(*wanted), zip(*given))]
            every = [each for row in wanted for each in row], [e for row in given for e in row]
            precision, recall, micro = rates(*every)
            roc, pr = areas([(truth[:, c], made[:, c]) for c in range(classes)])
            same(
                metrics.multi_label(truth, made, 0.5),
                {
                    "accuracy": sum(a == b for a, b in zip(wanted, given)) / rows,
                    "macro_f1": sum(rates(*column)[2] for column in columns) / classes,
                    "micro_f1": micro,
                    "precision": precision,
                    "recall": recall,
                    "roc_auc": roc,
                    "pr_auc": pr,
                },
            )


# Numbers -------------------------------------------------------------------------------------


def test_regression_of_any_size() -> None:
    generator = np.random.default_rng(2)
    for rows, unit in itertools.product((1, 2, 3, 50), (1e-120, 1e-40, 1e-6, 1.0, 1e30, 1e120)):
        x, y = generator.normal(0, 1, (2, rows))
        for labels, scores in (
            (x * unit, (x + y) * unit),
            ((x.round() + 0.0) * unit, y.round() * unit),  # ties
            ((1e5 + x) * unit, (1e5 + y) * unit),
            (np.full(rows, unit), y * unit),
            (x * unit, np.full(rows, -unit)),
            (x * unit, -x * unit),
        ):
            errors = [a / unit - b / unit for a, b in zip(scores.tolist(), labels.tolist())]
            mse = math.fsum(e * e for e in errors) / rows
            mae = math.fsum(map(abs, errors)) / rows
            varied = min(len(set(labels.tolist())), len(set(scores.tolist()))) > 1
            found = metrics.regression(labels, scores)
            assert found["mse"] == pytest.approx(mse * unit * unit, rel=1e-9)
            assert found["rmse"] == pytest.approx(math.sqrt(mse) * unit, rel=1e-9)
            assert found["mae"] == pytest.approx(mae * unit, rel=1e-9)
            if not varied:
                assert found["pearson"] is None and found["spearman"] is None
                continue
            assert found["pearson"] == pytest.approx(
                pearson(labels.tolist(), scores.tolist()), abs=1e-9
            )
            expected = pearson(ranks(labels.tolist()), ranks(scores.tolist()))
            assert found["spearman"] == pytest.approx(expected, abs=1e-9)
            weights = np.ones((2, rows))
            for name, values in metrics.resampled_regression(weights, labels, scores).items():
                assert values.tolist() == pytest.approx([found[name]] * 2, rel=1e-6), name
    nothing = metrics.regression(np.array([1.0, 2.0]), np.array([1.0, np.nan]))
    assert set(nothing.values()) == {None}


def test_a_narrow_spread_around_a_large_number_is_correlated() -> None:
    x = np.arange(20.0)
    found = metrics.regression(1e9 + 1e-3 * x, 1e9 + 2e-3 * x)
    assert found["pearson"] == pytest.approx(1.0, abs=1e-6) and found["spearman"] == 1.0


def test_intervals_hold_the_true_number_as_often_as_they_say() -> None:
    generator, held = np.random.default_rng(3), 0
    for seed in range(100):
        right = generator.random(100) < 0.8
        low, high = metrics.intervals(lambda w: {"x": w @ right / 100}, 100, seed)["x"]  # noqa: B023
        held += low <= 0.8 <= high
    assert 88 <= held <= 99


# Words ---------------------------------------------------------------------------------------

TAGS = ["O", "B-1st class", "I-1st class", "B-2", "I-2"]


@pytest.mark.filterwarnings("ignore")  # seqeval's of shares of nothing
def test_tags_of_words() -> None:
    generator = np.random.default_rng(4)

    def drawn(names: list[str], lengths: list[int]) -> list[list[str]]:
        return [generator.choice(names, length).tolist() for length in lengths]

    for lengths in ([1], [2], [3, 1, 4, 2, 6], [5] * 20):
        for truth, given in (
            (drawn(TAGS, lengths), drawn(TAGS, lengths)),
            (drawn(TAGS, lengths), drawn(["O"], lengths)),  # nothing is found
            (drawn(["O"], lengths), drawn(TAGS, lengths)),  # there is nothing
            (drawn(["O"], lengths), drawn(["O"], lengths)),
            (drawn(TAGS[:3], lengths), drawn(TAGS[3:], lengths)),  # all wrong
        ):
            right = [a == b for x, y in zip(truth, given) for a, b in zip(x, y)]
            found = word_evaluation.measure(truth, given, "IOB2")
            assert found == {
                "accuracy": pytest.approx(sum(right) / len(right)),
                "precision": pytest.approx(seqeval.metrics.precision_score(truth, given)),
                "recall": pytest.approx(seqeval.metrics.recall_score(truth, given)),
                "f1": pytest.approx(seqeval.metrics.f1_score(truth, given)),
            }
            plain = word_evaluation.measure(truth, given, None)
            names = sorted({tag for row in [*truth, *given] for tag in row})
            flat = [[tag for row in rows for tag in row] for rows in (truth, given)]
            each = [rates(*([t == name for t in tags] for tags in flat))[2] for name in names]
            assert plain["macro_f1"] == pytest.approx(sum(each) / len(each))


def test_resampled_tags_are_those_of_the_drawn_sentences(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where a resample holds no entity, or none that was found."""
    truth = [["B-2", "O"], ["O"], ["B-2", "I-2", "O"], ["O", "O"]]
    given = [["O", "O"], ["O"], ["B-2", "I-2", "O"], ["B-2", "O"]]
    weights = np.random.default_rng(5).multinomial(4, [0.25] * 4, size=200).astype(float)
    seen: dict[str, Any] = {}

    def intervals(measure: Any, rows: int, seed: int) -> dict[str, Any]:
        assert (rows, seed) == (4, 7)
        seen.update(measure(weights))
        return {}

    monkeypatch.setattr(metrics, "intervals", intervals)
    word_evaluation.intervals(truth, given, "IOB2", 7)
    for number, row in enumerate(weights.astype(int)):
        picked = [i for i, times in enumerate(row) for _ in range(times)]
        parts = ([rows[i] for i in picked] for rows in (truth, given))
        for name, value in word_evaluation.measure(*parts, "IOB2").items():
            assert seen[name][number] == pytest.approx(value), name


def test_sentences_without_words_are_measured_as_nothing() -> None:
    assert word_evaluation.measure([[]], [[]], "IOB2")["accuracy"] is None
    assert word_evaluation.measure([[], ["O"]], [[], ["O"]], "IOB2")["accuracy"] == 1.0
    assert word_evaluation.intervals([[]], [[]], "IOB2", 0) == {}


# Summaries -----------------------------------------------------------------------------------


def common(a: Sequence[str], b: Sequence[str]) -> int:
    """The length of the longest common subsequence, of all subsequences of the shorter one."""
    for length in range(len(a), 0, -1):
        for part in itertools.combinations(a, length):
            rest = iter(b)
            if all(word in rest for word in part):
                return length
    return 0


def f1(hits: int, made: int, wanted: int) -> float:
    return share(2 * hits, made + wanted)


def test_rouge_by_its_definition() -> None:
    generator = np.random.default_rng(6)
    for _ in range(60):
        # Of three letters, so that nothing is stemmed.
        texts = [
            generator.choice(["cat", "sat", "mat", "the"], n) for n in generator.integers(0, 7, 3)
        ]
        made, *references = [[str(word) for word in text] for text in texts]
        wanted = []
        for n in (1, 2):
            grams = [
                collections.Counter(zip(*(t[i:] for i in range(n)))) for t in (made, *references)
            ]
            totals = [sum(each.values()) for each in grams]
            hits = [sum((grams[0] & each).values()) for each in grams[1:]]
            wanted.append(max(f1(h, totals[0], t) for h, t in zip(hits, totals[1:])))
        wanted.append(max(f1(common(made, r), len(made), len(r)) for r in references))
        said = " ".join(made).upper() + "!", [", ".join(r) for r in references]
        assert rouge.score(*said) == pytest.approx(wanted)
        scores = summary_evaluation.scores([said[0]], [said[1]])
        assert list(summary_evaluation.measure(scores).values()) == pytest.approx(wanted)
