"""What a model says of how far its answers can be trusted: in memory, files, exports, reports."""

import dataclasses
import json
import re
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

import tfhub_transfer as tt
from tfhub_transfer import cli
from tfhub_transfer.reporting import plots
from tfhub_transfer.tasks import conformal
from tfhub_transfer.tasks.whole import trust

NAMES = ["bad", "fine", "good"]
TEXTS = [
    f"{text} {word}"
    for text in ("what a lovely film", "a dull and sad story", "the actor was fine", "a weak plot")
    for word in "one two three four five six seven eight nine ten".split()
]


def made(
    make_encoder: Callable[[str], Path], kind: Any = tt.tasks.Classification, pair: bool = False
) -> tuple[Any, Any]:
    """A model that was never trained, whose answers are right now and then."""
    keras.utils.set_random_seed(1)
    generator = np.random.default_rng(0)
    numbers = kind is tt.tasks.Regression
    task = kind(2.0, 1.0, pair=pair) if numbers else kind(NAMES, pair)
    head = tt.Head(towers=pair)
    model = tt.build_model(str(make_encoder("bert_still")), task, head, sequence_length=16)
    layer = model.get_layer("scores")
    layer.set_weights([generator.normal(0, 2, each.shape) for each in layer.get_weights()])
    examples = tt.data.Examples.from_lists(TEXTS, None, TEXTS[::-1] if pair else None)
    scores = model.predict_scores(examples)
    if numbers:
        labels = (scores + generator.normal(0, 0.3, len(scores))).tolist()
    else:
        wrong = generator.random(len(scores)) < 0.3 * (1 - scores.max(axis=1)) + 0.1
        places = np.where(wrong, generator.integers(0, 3, len(scores)), scores.argmax(axis=1))
        labels = [NAMES[at] for at in places]
    return model, tt.data.Examples.from_lists(TEXTS, labels, TEXTS[::-1] if pair else None)


def served(folder: Path, examples: Any) -> dict[str, np.ndarray]:
    """What an export answers, through TensorFlow's own loader."""
    signature = tf.saved_model.load(str(folder / "1")).signatures["serving_default"]
    names = sorted(signature.structured_input_signature[1])
    given = {n: tf.constant(list(column)) for n, column in zip(names, examples.texts, strict=True)}
    return {name: value.numpy() for name, value in signature(**given).items()}


@pytest.mark.parametrize("pair", [False, True])
def test_classes_are_accepted_and_have_sets_everywhere(
    pair: bool, make_encoder: Callable[[str], Path], tmp_path: Path
) -> None:
    """In memory, from a file, and by an export: as computed by hand from the scores."""
    model, examples = made(make_encoder, pair=pair)
    plain = model.predict_text(list(zip(*examples.texts)) if pair else TEXTS)
    assert {*plain[0]} == {"label", "scores"}
    told = tt.conformalize(model, examples, coverage=0.95, abstain=0.05)
    scores = model.predict_scores(examples)
    sure, truth = scores.max(axis=1), model.task.encode(examples.labels)
    accepted = sure >= told["accept_from"]
    assert 0 < accepted.sum() < len(sure) and told["accepted"] == accepted.mean()
    assert (scores.argmax(axis=1) != truth)[accepted].mean() <= 0.05
    sets = scores >= np.array(told["cutoffs"])
    sets[np.arange(len(sets)), scores.argmax(axis=1)] = True
    assert sets[np.arange(len(sets)), truth].mean() >= 0.95
    assert 1.0 < sets.sum(axis=1).mean() == told["set_size"] < 3.0 and told["rows"] == 40
    model.save(tmp_path / "model.keras")
    again = tt.load_model(tmp_path / "model.keras")
    tt.export_saved_model(again, tmp_path / "serving")
    for each in (model, again):
        found = each.predict_text(list(zip(*examples.texts)) if pair else TEXTS)
        assert [row["accepted"] for row in found] == accepted.tolist()
        for row, own, mine in zip(found, sets, scores):
            assert row["label_set"] == [NAMES[at] for at in np.argsort(-mine) if own[at]]
            assert row["label"] == row["label_set"][0]
    answers = served(tmp_path / "serving", examples)
    np.testing.assert_array_equal(answers["accepted"], accepted)
    np.testing.assert_array_equal(answers["label_set"], sets)
    assert answers["label_names"].tolist() == [[name.encode() for name in NAMES]] * len(TEXTS)


@pytest.mark.parametrize("pair", [False, True])
def test_numbers_have_intervals_everywhere(
    pair: bool, make_encoder: Callable[[str], Path], tmp_path: Path
) -> None:
    model, examples = made(make_encoder, tt.tasks.Regression, pair)
    told = tt.conformalize(model, examples, coverage=0.75)
    off = np.abs(model.predict_scores(examples) - np.array(examples.labels))
    assert told["half_width"] == pytest.approx(np.sort(off)[31 - 1], rel=1e-5)  # 0.75 of 41
    model.save(tmp_path / "model.keras")
    again = tt.load_model(tmp_path / "model.keras")
    rows = again.predict_text(list(zip(*examples.texts)) if pair else TEXTS)
    tt.export_saved_model(again, tmp_path / "serving")
    answers = served(tmp_path / "serving", examples)
    for at, row in enumerate(rows):
        for name, sign in (("lower", -1), ("upper", 1)):
            wanted = row["score"] + sign * told["half_width"]
            assert row[name] == pytest.approx(wanted, rel=1e-5)
            assert answers[name][at] == pytest.approx(wanted, rel=1e-5)


def test_ordered_classes_are_accepted_and_have_sets_without_gaps(
    make_encoder: Callable[[str], Path], tmp_path: Path
) -> None:
    """By hand from the scores: the median's own score counts, and what lies between belongs."""
    keras.utils.set_random_seed(3)
    names = ["awful", "poor", "fair", "good"]
    task = tt.tasks.OrdinalRegression(names)
    model = tt.build_model(str(make_encoder("bert_still")), task, sequence_length=16)
    model.get_layer("scores").set_weights([np.array([-0.4, 0.3, 0.1])])
    height = model.get_layer("height")
    height.set_weights([each * 4 for each in height.get_weights()])
    texts = tt.data.Examples.from_lists(TEXTS)
    scores = model.predict_scores(texts)
    median = [next(at for at in range(4) if row[: at + 1].sum() >= 0.5) for row in scores]
    truth = np.clip(np.array(median) + np.random.default_rng(1).integers(-1, 2, 40), 0, 3)
    examples = tt.data.Examples.from_lists(TEXTS, [names[at] for at in truth])
    told = tt.conformalize(model, examples, coverage=0.7, abstain=0.25)
    # The second and the fourth may be right of any text, the others of none.
    model.task.limits = dataclasses.replace(model.task.limits, cutoffs=(1.0, 0.0, 1.0, 0.0))
    own = scores[np.arange(40), median]
    assert (own != scores.max(axis=1)).any(), "the median is the likeliest class everywhere"
    accepted = own >= told["accept_from"]
    assert 0 < accepted.sum() < 40 and (np.array(median) != truth)[accepted].mean() <= 0.25
    wanted = [names[min(at, 1) :] for at in median]
    assert {len(each) for each in wanted} == {3, 4}
    model.save(tmp_path / "model.keras")
    again = tt.load_model(tmp_path / "model.keras")
    rows = again.predict_text(TEXTS)
    assert [row["accepted"] for row in rows] == accepted.tolist()
    assert [row["label_set"] for row in rows] == wanted
    tt.export_saved_model(again, tmp_path / "serving")
    answers = served(tmp_path / "serving", examples)
    np.testing.assert_array_equal(answers["accepted"], accepted)
    sets = [
        [name.decode() for name, own in zip(names, inside) if own]
        for names, inside in zip(answers["label_names"], answers["label_set"])
    ]
    assert sets == wanted
    report = tt.evaluate(model, examples, baselines=False).trust
    held = [names[at] in own for at, own in zip(truth, wanted)]
    assert report is not None and report["coverage"] == pytest.approx(np.mean(held))
    assert report["set_size"] == pytest.approx(np.mean([len(own) for own in wanted]))


def test_several_labels_have_sets_that_hold_each_so_often(
    make_encoder: Callable[[str], Path], tmp_path: Path
) -> None:
    """Of a class with 20 texts its own quantile, of a rarer one that of all; by hand."""
    model, _ = made(make_encoder, tt.tasks.MultiLabel)
    scores = model.predict_scores(tt.data.Examples.from_lists(TEXTS))
    truth = np.random.default_rng(2).random(scores.shape) < [0.7, 0.6, 0.1]
    labels = [[name for name, own in zip(NAMES, row) if own] for row in truth]
    examples = tt.data.Examples.from_lists(TEXTS, labels)
    count = truth.sum(axis=0)
    assert count[:2].min() >= 20 > count[2] > 0
    told = tt.conformalize(model, examples, coverage=0.8)
    for at, own in enumerate([scores[truth[:, 0], 0], scores[truth[:, 1], 1], scores[truth]]):
        rank = int(np.ceil(0.8 * (len(own) + 1)))
        assert told["cutoffs"][at] == pytest.approx(np.sort(own)[-rank], abs=2e-6)
        if at < 2:
            assert (scores[truth[:, at], at] >= told["cutoffs"][at]).mean() >= 0.8
    sets = (scores >= np.array(told["cutoffs"], "float32")) | (scores >= 0.5)
    assert sets.sum(axis=1).mean() == pytest.approx(told["set_size"])
    model.save(tmp_path / "model.keras")
    again = tt.load_model(tmp_path / "model.keras")
    for row, own, mine in zip(again.predict_text(TEXTS), sets, scores):
        assert row["label_set"] == [NAMES[at] for at in np.argsort(-mine) if own[at]]
        assert {*row["labels"]} <= {*row["label_set"]}
    tt.export_saved_model(again, tmp_path / "serving")
    np.testing.assert_array_equal(served(tmp_path / "serving", examples)["label_set"], sets)
    report = tt.evaluate(model, examples, baselines=False)
    assert report.trust == {
        "set_size": pytest.approx(told["set_size"]),
        "rows": 40,
        "coverage": pytest.approx(sets[truth].mean()),
    }
    [said] = [note for note in report.notes if "sets of their texts" in note]
    assert f"({(scores >= 0.5)[truth].mean():.1%} are given)" in said


def test_one_of_several_tasks_keeps_what_it_says(text_encoder: Path, tmp_path: Path) -> None:
    task = tt.tasks.MultiTask(
        {"kind": tt.tasks.Classification(NAMES), "price": tt.tasks.Regression(2.0, 1.0)}
    )
    model = tt.build_model(str(text_encoder), task)
    labels = [NAMES[row % 3] for row in range(len(TEXTS))]
    examples = tt.data.Examples.from_lists(TEXTS, labels)
    tt.conformalize(model.parts["kind"], examples, coverage=0.9, abstain=0.5)
    told = model.predict_text({"kind": TEXTS, "price": TEXTS})
    assert {"accepted", "label_set"} <= {*told["kind"][0]} and {*told["price"][0]} == {"score"}
    model.save(tmp_path / "model.keras")
    again = tt.load_model(tmp_path / "model.keras").predict_text({"kind": TEXTS})["kind"]
    kept = [(row["accepted"], row["label_set"]) for row in told["kind"]]
    assert [(row["accepted"], row["label_set"]) for row in again] == kept


def test_only_what_is_asked_for_is_said(make_encoder: Callable[[str], Path]) -> None:
    model, examples = made(make_encoder)
    told = tt.conformalize(model, examples, coverage=None, abstain=0.1)
    assert "set_size" not in told and told["cutoffs"] == ()
    assert {*model.predict_text(TEXTS[:1])[0]} == {"label", "scores", "accepted"}
    told = tt.conformalize(model, examples)
    assert "accepted" not in told and told["coverage"] == 0.9
    assert {*model.predict_text(TEXTS[:1])[0]} == {"label", "scores", "label_set"}


def test_training_on_makes_it_void_and_others_never_have_it(
    make_encoder: Callable[[str], Path], tmp_path: Path
) -> None:
    model, examples = made(make_encoder)
    task = model.task
    tt.conformalize(model, examples, abstain=0.1)
    other = tt.build_model(str(make_encoder("bert_still")), task, sequence_length=16)
    assert {*other.predict_text(TEXTS[:1])[0]} == {"label", "scores"}
    assert "accepted" in model.predict_text(TEXTS[:1])[0]
    tt.fine_tune(model, examples, examples, unfreeze=0, plan=tt.Plan(verbose=0))
    for ask in (
        lambda: tt.export_saved_model(model, tmp_path / "serving"),
        lambda: model.save(tmp_path / "model.keras"),
        lambda: model.predict_text(TEXTS[:1]),
        lambda: tt.evaluate(model, examples, baselines=False),
    ):
        limits = model.task.limits
        ask()
        assert model.task.limits is None
        model.task.limits = limits
    assert "accepted" not in served(tmp_path / "serving", examples)
    assert tt.load_model(tmp_path / "model.keras").task.limits is None


def _held(scores: np.ndarray, cutoffs: np.ndarray, truth: np.ndarray) -> float:
    """The share of rows whose set holds the truth, row by row."""
    sets = [{int(row.argmax()), *np.flatnonzero(row >= cutoffs).tolist()} for row in scores]
    return float(np.mean([right in own for right, own in zip(truth, sets)]))


def test_a_report_says_what_became_of_it(make_encoder: Callable[[str], Path]) -> None:
    model, examples = made(make_encoder)
    assert tt.evaluate(model, examples, baselines=False).trust is None
    told = tt.conformalize(model, examples, coverage=0.8, abstain=0.1)
    report = tt.evaluate(model, examples, baselines=False)
    scores, truth = model.predict_scores(examples), model.task.encode(examples.labels)
    wrong, taken = scores.argmax(axis=1) != truth, scores.max(axis=1) >= told["accept_from"]
    assert report.trust == {
        **{name: told[name] for name in ("accepted", "set_size", "rows")},
        "wrong_of_accepted": pytest.approx(wrong[taken].mean()),
        "coverage": pytest.approx(_held(scores, np.array(told["cutoffs"]), truth)),
    }
    [said] = [note for note in report.notes if "accepted" in note]
    pattern = r"(\d+) of 40 answers are accepted, of which ([\d.]+)% \(.*\) are wrong; of all (.*)%"
    found = re.match(pattern, said)
    assert found is not None
    assert int(found[1]) == taken.sum() and found[2] == f"{wrong[taken].mean():.1%}"[:-1]
    assert json.dumps(report.to_dict()["trust"])
    assert report.pictures["selective"].startswith(b"\x89PNG")
    shares, accuracy = plots.accuracy_of_surest(~wrong, scores.max(axis=1))
    at = int(np.argmin(np.abs(shares - taken.mean())))
    assert shares[at] == taken.mean() and accuracy[at] == (~wrong)[taken].mean()
    model, examples = made(make_encoder, tt.tasks.Regression)
    told = tt.conformalize(model, examples, 0.75)
    found = tt.evaluate(model, examples, baselines=False).trust
    assert found is not None and found["coverage"] >= 0.75
    assert found["half_width"] == told["half_width"]


class Own(tt.tasks.Classification):
    """A task made of another, with a last layer of its own."""

    def outputs(self, features: Any, head: Any) -> Any:
        return keras.layers.Dense(3, "softmax", name="mine")(features)


def test_a_layer_of_ones_own_is_known_by_its_weights(make_encoder: Callable[[str], Path]) -> None:
    encoder = str(make_encoder("bert_still"))
    model = tt.build_model(encoder, Own(NAMES), sequence_length=16)
    examples = tt.data.Examples.from_lists(TEXTS, (NAMES * 14)[:40])
    tt.conformalize(model, examples)
    assert "label_set" in model.predict_text(TEXTS[:1])[0]
    layer = model.get_layer("mine")
    layer.set_weights([each + 1.0 for each in layer.get_weights()])
    assert "label_set" not in model.predict_text(TEXTS[:1])[0]


class Silent(tt.tasks.Classification):
    """A task that promises nothing."""

    name = "silent"
    promises = ()


@pytest.mark.parametrize(
    ("kind", "rows", "given", "message"),
    [
        (None, 40, {"coverage": None}, "nothing is asked for; give `coverage`, `abstain` or both"),
        (
            None,
            40,
            {"coverage": 1.0},
            "`coverage` must be a number above 0, up to below 1. Received: 1.0",
        ),
        (None, 40, {"abstain": 0}, "`abstain` must be a number above 0"),
        (None, 19, {}, "give 20 at least, by `--validation` or of more data. Received: 19"),
        (None, 40, {"coverage": 0.99}, "of more data, or a lower `coverage`. Received: 40"),
        (tt.tasks.Regression, 40, {"abstain": 0.1}, "knows only `coverage`. Received: abstain"),
        (tt.tasks.MultiLabel, 40, {"abstain": 0.1}, "knows only `coverage`. Received: abstain"),
        (Silent, 40, {}, "the silent task knows neither. Received: coverage"),
    ],
)
def test_what_cant_be_said_is_one_line(
    kind: Any, rows: int, given: Any, message: str, make_encoder: Callable[[str], Path]
) -> None:
    model, examples = made(make_encoder, kind or tt.tasks.Classification)
    examples = examples[:rows]
    with pytest.raises(tt.InputError, match=message) as error:
        tt.conformalize(model, examples, **given)
    assert "\n" not in str(error.value) and model.task.limits is None


WORDS = {"good": "lovely fine superb", "bad": "dull weak sad"}


def lines(count: int) -> list[dict[str, str]]:
    return [
        {"text": f"a {word} story number {i}", "label": label if i % 7 else "bad"}
        for i in range(count)
        for label, some in WORDS.items()
        for word in some.split()
    ]


def train(tmp_path: Path, encoder: Path, *more: str, count: int = 40) -> int:
    data = tmp_path / "data.jsonl"
    data.write_text("\n".join(map(json.dumps, lines(count))), "utf-8")
    words = ["train", "--task", "classification", "--data", data, "--output", tmp_path / "out"]
    return cli.main([str(word) for word in [*words, "--encoder", encoder, *more]])


def test_where_no_answer_is_accepted_it_says_which_share_is_wrong() -> None:
    report: Any = types.SimpleNamespace(pictures={}, notes=[])
    scores = np.array([[0.6, 0.4]] * 4)
    limits = conformal.Limits(accept_from=0.9, most_wrong=0.3, rows=9)
    made = trust.Scored(scores, scores.argmax(axis=1))
    trust.describe_classes(report, limits, np.array([0, 0, 0, 1]), made)
    assert report.trust["wrong_of_accepted"] is None
    assert report.notes == [
        "0 of 4 answers are accepted; of all 25.0% are wrong, and asked for were 30.0% at most"
    ]


@pytest.mark.slow
def test_a_trained_model_says_it_by_command(
    make_encoder: Callable[[str], Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    encoder = make_encoder("text_encoder")
    assert train(tmp_path, encoder, "--coverage", "0.8", "--abstain", "0.05") == 0
    record = json.loads((tmp_path / "out" / "training.json").read_text("utf-8"))["limits"]
    report = json.loads((tmp_path / "out" / "report" / "report.json").read_text("utf-8"))
    assert record["rows"] == report["trust"]["rows"] >= 20
    assert "answers are accepted" in capsys.readouterr().out
    asked, answers = tmp_path / "asked.csv", tmp_path / "answers.csv"
    asked.write_text("text\na lovely story\na dull story\n", "utf-8")
    assert cli.main(["predict", str(tmp_path / "out"), str(asked), "--output", str(answers)]) == 0
    header, first, _ = answers.read_text("utf-8").splitlines()
    assert {"accepted", "label_set"} <= {*header.split(",")}, header
    assert "good" in first


@pytest.mark.parametrize(
    ("more", "count", "message"),
    [
        (("--coverage", "0.9", "--refit"), 30, "with `--refit` all rows teach"),
        (("--abstain", "0.1"), 10, "give 20 at least, by `--validation` or of more data. Received"),
        (("--coverage", "0.99"), 30, "99 at least, by `--validation` or of more data, or a lower"),
        (("--coverage", "0"), 30, "--coverage"),
    ],
)
def test_a_command_refuses_it_before_it_trains(
    more: tuple[str, ...],
    count: int,
    message: str,
    make_encoder: Callable[[str], Path],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert train(tmp_path, make_encoder("text_encoder"), *more, count=count) == 2
    assert message in " ".join(capsys.readouterr().err.split())
    assert not (tmp_path / "out").exists()
