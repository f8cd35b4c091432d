"""Several tasks beside each task alone: differences, curves, refusals, what outlives a failure."""

import collections
import dataclasses
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.stats
from parsed_pages import Parsed
from several_samples import sentiments, splits, write

import tfhub_transfer as tt
from tfhub_transfer import cli
from tfhub_transfer.jobs import inputs, run_records
from tfhub_transfer.jobs.trainings import training
from tfhub_transfer.reporting import metrics, paired, standings
from tfhub_transfer.reporting.joint_reports import JointReport
from tfhub_transfer.reporting.reports import Report
from tfhub_transfer.storage import atomic
from tfhub_transfer.tasks.tagging import measures as word_evaluation
from tfhub_transfer.tasks.tagging import schemes
from tfhub_transfer.training import histories
from tfhub_transfer.training.finetuning import History
from tfhub_transfer.training.outcome import Outcome

# By how much one is better ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("counts", "expected"),
    [
        # Fagerland, Lydersen and Laake 2013, table on airway hyper-responsiveness.
        ((1, 1, 7, 12), (-0.507, -0.026)),
        ((0, 0, 0, 30), None),
    ],
)
def test_intervals_of_differences_of_shares_are_newcombes(counts: Any, expected: Any) -> None:
    one, other = counts[1:3]
    first = np.repeat([True, True, False, False], counts)
    second = np.repeat([True, False, True, False], counts)
    found = paired.of_shares(first, second)
    assert found is not None and (one - other) / len(first) == pytest.approx(
        first.mean() - second.mean()
    )
    if expected:
        assert [round(end, 3) for end in found] == list(expected)
    else:
        assert found[0] < 0 < found[1]
    swapped = paired.of_shares(second, first)
    assert swapped == (pytest.approx(-found[1]), pytest.approx(-found[0]))
    assert paired.of_shares(first[:1], second[:1]) is None
    assert [
        metrics.wilson(share, count)[side] for share, count, side in [(0.0, 7, 0), (1.0, 6, 1)]
    ] == [0.0, 1.0]


def test_intervals_of_differences_hold_what_is_true_as_often_as_they_say() -> None:
    generator = np.random.default_rng(0)
    held = 0
    for _ in range(1500):
        hard = generator.random(120)
        first, second = (hard + generator.normal(0, 0.25, 120) < share for share in (0.7, 0.55))
        low, high = paired.of_shares(first, second) or (0.0, 0.0)
        held += low <= TRUE <= high
    assert 0.935 < held / 1500 < 0.975


def _true_difference() -> float:
    generator = np.random.default_rng(1)
    hard = generator.random(2_000_000)
    shares = [(hard + generator.normal(0, 0.25, len(hard)) < s).mean() for s in (0.7, 0.55)]
    return float(shares[0] - shares[1])


TRUE = _true_difference()


def _tag_rows(seed: int) -> tuple[list[Any], list[Any]]:
    generator = np.random.default_rng(seed)
    draw = lambda: [  # noqa: E731
        ["B-a" if x < 0.3 else "I-a" if x < 0.4 else "O" for x in generator.random(6)]
        for _ in range(60)
    ]
    return draw(), draw()


def _rows_of(task: str, truth: list[Any], answers: list[Any], numbers: dict[str, Any]) -> Any:
    return [
        {"row": i, "texts": [f"t{i}"], "true": t, "predicted": p}
        | {name: values[i] for name, values in numbers.items()}
        for i, (t, p) in enumerate(zip(truth, answers))
    ]


def _by_hand(kind: str, truth: Any, answers: Any) -> float:
    """The number of a task, computed by another library or in plain words."""
    if kind == "regression":
        ranks = [np.argsort(np.argsort(x)) for x in (truth, answers)]
        return float(np.corrcoef(ranks)[0, 1])
    counts: collections.Counter[str] = collections.Counter()
    for own, made in zip(truth, answers):
        wanted, given = (
            set(x if kind == "multi-label" else schemes.entities(x)) for x in (own, made)
        )
        counts.update(hit=len(wanted & given), all=len(wanted) + len(given))
    return 2 * counts["hit"] / counts["all"]


def _two_models(kind: str) -> tuple[list[Any], list[list[Any]], list[dict[str, Any]]]:
    """What is right, what two models answered, and what each row contributes."""
    generator = np.random.default_rng(3)
    if kind == "regression":
        truth = generator.normal(0, 1, 60)
        made = [truth + generator.normal(0, wide, 60) for wide in (0.4, 1.2)]
        return truth.tolist(), [m.tolist() for m in made], [{}, {}]
    if kind == "multi-label":
        draw = [[[n for n in "abc" if generator.random() < 0.5] for _ in range(60)] for _ in "12"]
        half = [t if generator.random() < 0.6 else a for t, a in zip(draw[0], draw[1])]
        return draw[0], [half, draw[1]], [{}, {}]
    truth, other = _tag_rows(5)
    half = [t if i % 2 else o for i, (t, o) in enumerate(zip(truth, other))]
    numbers = [
        {k: v.tolist() for k, v in word_evaluation.contributions(truth, m).items()}
        for m in (half, other)
    ]
    return truth, [half, other], numbers


@pytest.mark.parametrize(
    ("kind", "name"),
    [("regression", "spearman"), ("multi-label", "micro_f1"), ("token-classification", "f1")],
)
def test_differences_are_those_of_the_same_rows_drawn_for_both(kind: str, name: str) -> None:
    truth, made, numbers = _two_models(kind)
    values = [_by_hand(kind, truth, m) for m in made]
    known = [{name: value} for value in values]
    rows = [_rows_of(kind, truth, m, n) for m, n in zip(made, numbers)]
    found = paired.difference(standings.of(kind), (known[0], known[1]), (rows[0], rows[1]))
    assert found is not None and found.metric == name
    assert found.value == pytest.approx(values[0] - values[1]) and found.better is True
    generator = np.random.default_rng(7)
    drawn = []
    for _ in range(1000):
        chosen = generator.integers(0, 60, 60)
        if kind == "regression":  # ranks of what is drawn: equal ones share the middle
            parts = [
                scipy.stats.spearmanr(np.array(truth)[chosen], np.array(m)[chosen])[0] for m in made
            ]
        else:
            parts = [
                _by_hand(kind, [truth[i] for i in chosen], [m[i] for i in chosen]) for m in made
            ]
        drawn.append(parts[0] - parts[1])
    low, high = np.percentile(drawn, [2.5, 97.5])
    assert found.interval == (pytest.approx(low, abs=0.03), pytest.approx(high, abs=0.03))


def test_what_the_rows_dont_bear_out_has_no_interval() -> None:
    rows = [{"accuracy": float(i % 2)} for i in range(40)]
    half = {"accuracy": 0.5}
    known = paired.difference(standings.of("classification"), (half, half), (rows, rows))
    assert known is not None and known.alike and known.better is None
    other = paired.difference(
        standings.of("classification"), ({"accuracy": 0.6}, half), (rows, rows)
    )
    assert other is not None and other.interval is None and other.value == pytest.approx(0.1)
    for odd in ([], rows[:-1], [{"accuracy": None}] * 40, [{"accuracy": "1"}] * 40):
        found = paired.difference(standings.of("classification"), (half, half), (rows, odd))
        assert found is not None and found.interval is None and found.better is None
    assert paired.difference(standings.of("classification"), ({}, half), (rows, rows)) is None
    none = {"spearman": None, "rmse": 2.0}
    error = paired.difference(standings.of("regression"), (none, {**none, "rmse": 1.0}), ([], []))
    assert error is not None and error.metric == "rmse"


def test_less_error_is_help() -> None:
    truth = [1.0] * 40
    rows = [_rows_of("regression", truth, [1.0 + e] * 40, {}) for e in (0.1, 0.5)]
    for row in rows[0][:20]:
        row["predicted"] = 1.2
    rmse = [float(np.sqrt(np.mean([(r["predicted"] - 1) ** 2 for r in own]))) for own in rows]
    found = paired.difference(
        standings.of("regression"), ({"rmse": rmse[0]}, {"rmse": rmse[1]}), (rows[0], rows[1])
    )
    assert found is not None and found.value < 0 and found.better is True


# What is said ------------------------------------------------------------------------------------


def _report(right: list[int], seconds: float | None = None, **more: Any) -> Report:
    rows = [
        {"row": i, "texts": [f"t{i}"], "true": "a", "predicted": "a" if r else "b", "accuracy": r}
        for i, r in enumerate(right)
    ]
    numbers = {"accuracy": float(np.mean(right))}
    spent = {} if seconds is None else {"training": seconds}
    return Report(
        "classification",
        "e",
        {"train": 9, "validation": 3, "test": len(right)},
        numbers,
        predictions=rows,
        seconds=spent,
        **more,
    )


@pytest.mark.parametrize(
    ("together", "alone", "said"),
    [
        (
            [1] * 90 + [0] * 10,
            [1] * 60 + [0] * 40,
            "Sharing helped: accuracy 0.900 together, 0.600",
        ),
        ([1] * 60 + [0] * 40, [1] * 90 + [0] * 10, "Sharing hurt: accuracy 0.600 together, 0.900"),
        ([1, 1, 0] * 9, [1, 0, 1] * 9, "Sharing made no clear difference: accuracy 0.667 together"),
        ([1, 1, 0] * 9, [1, 1, 0] * 9, "Sharing made no difference, example by example: accuracy"),
        ([1, 1, 1], [0, 1, 1], "Sharing made no clear difference"),
        ([1], [0], "Too little is known to tell whether sharing helped: accuracy 1.000 together"),
    ],
)
def test_a_sentence_says_whether_sharing_helped(together: Any, alone: Any, said: str) -> None:
    report = JointReport("e", {"x": _report(together)})
    report.compare({"x": _report(alone, 12.0)})
    assert report.sharing()["x"].startswith(f"x: {said}")
    found = report.to_dict()["sharing"]["x"]
    assert found["seconds"] == 12.0 and found["said"] == report.sharing()["x"]
    assert found["together"] == pytest.approx(np.mean(together))
    helped = {"Sharing helped": True, "Sharing hurt": False}.get(said.split(":")[0])
    assert found["helped"] is helped
    assert "another seed may change as much" in " ".join(str(report).split())


def test_the_page_of_several_tasks_flags_judges_and_compares(tmp_path: Path) -> None:
    weak = _report(
        [1] * 40 + [0] * 60,
        baselines={"majority": {"accuracy": 0.9}},
        intervals={"accuracy": (0.3, 0.5)},
        warnings=["majority beats this model: accuracy 0.9000 against 0.4000"],
        history={"loss": [1.0, 0.5], "val_loss": [1.0, 0.6], "kept": ["Head: kept epoch 2 of 2"]},
    )
    name = "n" * 60
    report = JointReport("e", {name: weak, "Size": _report([1, 0]), "size": _report([1, 1])})
    report.history = {"loss": [3.0], "val_loss": [2.0], f"{name}_loss": [1.0], "kept": ["<all>"]}
    report.compare({name: _report([1] * 80 + [0] * 20, 3.5)})
    report.save(tmp_path)
    page = (tmp_path / "report.html").read_text("utf-8")
    parsed = Parsed(page)
    row = parsed.rows[1]
    assert row[:4] == [name, "accuracy", "0.4000", "0.300 to 0.500"]
    assert row[4] == "majority 0.9000" and row[5:] == ["9", "3", "100"]
    [shared] = [row for row in parsed.rows if row[3:4] == ["0.8000"]]
    assert shared[4] == "-0.4000" and shared[6] == "3.5"
    assert "Sharing hurt: accuracy 0.400 together, 0.800 alone (difference -0.400" in page
    assert "Worse than majority: accuracy 0.400 against 0.900." in page
    assert "The 95 % interval of accuracy: 0.300 to 0.500." in page
    assert "examples: 9 train, 3 validation, 100 test" in page
    assert "Head: kept epoch 2 of 2" in page and "&lt;all&gt;" in page
    assert page.count("data:image/png") == 2  # one task's curves, and those of all
    # Two folders that a file system may take for one.
    assert sorted(p.name for p in tmp_path.glob("*/report.json")) == ["report.json"] * 3
    assert 'href="Size/report.html"' in page and 'href="size_/report.html"' in page
    found = json.loads((tmp_path / "report.json").read_text("utf-8"))
    assert found["sharing"][name]["helped"] is False and found["history"]["loss"] == [3.0]
    lines = (tmp_path / name / "predictions.jsonl").read_text("utf-8").splitlines()
    assert len(lines) == 100
    text = str(report)
    assert f"WARNING: {name}: majority beats this model" in " ".join(text.split())
    assert "9 train, 3 validation, 100 test examples. Worse than majority" in " ".join(text.split())


def test_reports_of_tasks_alone_are_of_the_same_examples(text_encoder: Path) -> None:
    parts = {"sentiment": sentiments(8), "other": sentiments(8, 1)}
    kinds = {n: tt.tasks.Classification().adapt(e.labels) for n, e in parts.items()}
    model = tt.build_model(str(text_encoder), kinds)
    own = tt.evaluate(model.models["sentiment"], parts["sentiment"])
    curves = {"loss": [1.0, 0.5], "best_epoch": [1], "kept": ["so"]}
    record = {"history": curves, "histories": {"other": {**curves, "loss": [3.0]}, "sentiment": 3}}
    run_records.recall(model, record)
    report = tt.evaluate(model, parts, alone={"sentiment": own})
    assert report.differences["sentiment"].alike
    assert report.history == curves == run_records.curves(model)["history"]
    assert report.reports["other"].history["loss"] == [3.0]
    assert report.reports["sentiment"].history == {}
    for alone, message in [
        ({"sentimant": own}, "names of tasks, sentiment, other. Received: 'sentimant'"),
        ({"other": own}, "other: measure the model of this task alone on the same examples"),
        ({"other": own.metrics}, "holds what `evaluate` gave.*'other' with dict"),
    ]:
        with pytest.raises(tt.InputError, match=message):
            tt.evaluate(model, parts, alone=alone)
    with pytest.raises(tt.InputError, match="for a model of several tasks.*classification task"):
        tt.evaluate(model.models["sentiment"], parts["sentiment"], alone={"sentiment": own})
    with pytest.raises(tt.InputError, match="other: expected examples to evaluate on"):
        tt.evaluate(model, {**parts, "other": parts["other"][[]]})


# Curves ------------------------------------------------------------------------------------------


def test_each_task_has_its_own_part_of_the_curves() -> None:
    head = History({"loss": [3.0, 2.0], "val_loss": [3.0, 2.5]}, head_epochs=2)
    head.outcomes = [Outcome("head", "val_loss", 2, 2, 2.5)]
    other = History({"loss": [9.0], "val_loss": [9.0]}, head_epochs=1)
    other.outcomes = [Outcome("head", "val_loss", 1, 1, 9.0)]
    both = History(tasks={"a": head, "a_b": other}, thawed_groups=[(0.5, 1)])
    both.history = {
        "loss": [7.0], "a_loss": [1.5], "val_loss": [6.0], "val_a_loss": [1.0],
        "a_b_loss": [8.0], "val_a_b_loss": [8.5], "a_b_accuracy": [0.25],
    }  # fmt: skip
    both.outcomes = [Outcome("fine_tuning", "the tasks' mean", 1, 1, 0.5, 0.4, 0.5, 1)]
    both.add_joint()
    assert head.history == {"loss": [3.0, 2.0, 1.5], "val_loss": [3.0, 2.5, 1.0]}
    assert other.history["loss"] == [9.0, 8.0] and other.history["val_loss"] == [9.0, 8.5]
    assert other.history["accuracy"] == [0.25]
    told = head.to_dict()
    assert told["thawed_groups"] == [(2.5, 1)] and told["best_epoch"] == [2]
    assert [said[:11] for said in told["kept"]] == ["Head on the", "Top group t"]
    both.outcomes[0] = dataclasses.replace(both.outcomes[0], epoch=None)
    assert histories.of_task({"loss": [1.0], "accuracy": [2.0], "a_loss": [3.0]}, "a", ["a"]) == {
        "accuracy": [2.0],
        "loss": [3.0],
    }


def test_of_a_record_only_curves_are_believed() -> None:
    good = {
        "loss": [1.0, 2], "thawed_groups": [[0.5, 1]], "best_epoch": [3], "kept": ["so"],
    }  # fmt: skip
    bad = {"a": "loss", "b": [[1]], "c": ["1"], "d": [float("nan")], "f": {"x": 1}, "g": [True]}
    odd = {"thawed_groups": [3], "best_epoch": [-1], "kept": [1]}
    assert histories.of_record({**bad, **good}) == good
    assert histories.of_record(odd) == histories.of_record("x") == histories.of_record(None) == {}


# Commands ----------------------------------------------------------------------------------------


def _job(folder: Path, **settings: Any) -> Any:
    return inputs.TrainJob(
        task="multi-task", data=str(folder / "tasks.json"), output=folder / "out", **settings
    )


def test_labels_are_smoothed_of_those_tasks_that_have_classes(tmp_path: Path) -> None:
    rows = "".join(f"text {at},{at % 2}\n" for at in range(30))
    (tmp_path / "rows.csv").write_text(f"text,label\n{rows}", "utf-8")
    named = {"a": "classification", "b": "regression"}
    tasks = {name: {"task": task, "data": "rows.csv"} for name, task in named.items()}
    (tmp_path / "tasks.json").write_text(json.dumps({"tasks": tasks}), "utf-8")
    _, task = inputs.read_splits(_job(tmp_path, label_smoothing=0.2))
    assert task.parts["a"].label_smoothing == 0.2
    assert not hasattr(task.parts["b"], "label_smoothing")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--task", "classification", "--data", "{}/a.jsonl"], "--alone.*Received: --task class"),
        (["--task", "multi-task", "--data", "{}/one.json"], "at least two of them.*Received: one"),
        (["--task", "multi-task", "--data", "{}/two.json", "--quick"], "share nothing that learns"),
        (["--task", "multi-task", "--data", "{}/two.json", "--unfreeze", "0"], "share nothing"),
        (["--task", "multi-task", "--data", "{}/space.json"], "names of tasks become signatures"),
        (
            ["--task", "multi-task", "--data", "{}/flat.json"],
            "error: f: every training example has",
        ),
        (["--task", "multi-task", "--data", "{}/val.json"], "Keras puts `val_`.*Received: val_a$"),
    ],
)
def test_what_compares_nothing_is_refused_in_one_line(
    words: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    own = {"task": "classification", "data": write(tmp_path, "a.jsonl", sentiments(40))}
    for name, names in {
        "one": ["a"], "two": ["a", "b"], "space": ["a b", "c"], "val": ["a", "val_a"],
    }.items():  # fmt: skip
        (tmp_path / f"{name}.json").write_text(json.dumps({"tasks": dict.fromkeys(names, own)}))
    rows = [{"text": f"film {i}", "score": 2.5} for i in range(40)]
    (tmp_path / "f.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    flat = {"a": own, "f": {"task": "regression", "data": "f.jsonl"}}
    (tmp_path / "flat.json").write_text(json.dumps({"tasks": flat}))
    given = [word.format(tmp_path) for word in words]
    assert cli.main(["train", *given, "--alone", "--output", str(tmp_path / "out")]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert re.search(message, error.strip())
    assert not (tmp_path / "out").exists()


@pytest.fixture
def tasks_file(tmp_path: Path, text_encoder: Path) -> Path:
    kinds = {"sentiment": "classification", "praise": "regression"}
    parts = splits(0, 80)
    tasks = {
        name: {"task": kind, "data": write(tmp_path, f"{name}.jsonl", parts[name])}
        for name, kind in kinds.items()
    }
    (tmp_path / "tasks.json").write_text(json.dumps({"tasks": tasks}))
    return tmp_path


def _fit(model: Any, train: Any, validation: Any, **settings: Any) -> Any:
    plan = dataclasses.replace(settings.pop("plan"), verbose=0, head_epochs=2)
    return tt.fine_tune(model, train, validation, **settings, plan=plan)


@pytest.mark.slow
def test_each_task_is_trained_alone_as_it_would_be_by_itself(
    tasks_file: Path, text_encoder: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    monkeypatch.setattr(training, "export_saved_model", lambda *given: None)
    job = _job(tasks_file, encoder=str(text_encoder), epochs=1, alone=True, seed=5)
    report: Any = training.train(job, _fit)
    out = capsys.readouterr().out
    assert out.index("Written to") < out.index("alone, to compare") < out.index("Added to")
    parts, task = inputs.read_splits(job)
    for name, own in parts.by_task().items():
        assert report.reports[name].examples == own.counts()
    tt.runtime.seed_everything(5)
    model = tt.build_model(str(text_encoder), task.tasks["sentiment"])
    plan = tt.Plan(verbose=0, head_epochs=2, seed=5)
    own = parts.by_task()["sentiment"]
    tt.fine_tune(model, own.train, own.validation, epochs=1, plan=plan)
    expected = tt.evaluate(model, own.test, baselines=False)
    assert report.alone["sentiment"] == pytest.approx(expected.metrics)
    written = json.loads((job.output / "report" / "report.json").read_text("utf-8"))
    assert set(written["sharing"]) == {"sentiment", "praise"}
    assert written["sharing"]["sentiment"]["seconds"] > 0 and written["history"]["loss"]
    record = json.loads((job.output / "training.json").read_text("utf-8"))
    assert record["alone"]["praise"]["metrics"] == pytest.approx(report.alone["praise"])
    assert record["alone"]["praise"]["history"]["loss"] and record["alone"]["praise"]["outcomes"]
    # All of it is ours to replace, what was added too.
    atomic.check_output(job.output, overwrite=True)
    # Head and joint epochs of each, kept ones among them.
    for name in ("sentiment", "praise"):
        own = written["tasks"][name]["history"]
        assert len(own["loss"]) == len(own["val_loss"]) == 3 and len(own["kept"]) == 2
        assert (job.output / "report" / name / "curves.png").exists()
        assert (job.output / "report" / name / "predictions.jsonl").exists()


@pytest.mark.slow
def test_what_ends_a_training_alone_leaves_the_joint_model_whole(
    tasks_file: Path, text_encoder: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    monkeypatch.setattr(training, "export_saved_model", lambda *given: None)
    job = _job(tasks_file, encoder=str(text_encoder), epochs=1, alone=True)

    def fit(model: Any, *parts: Any, **settings: Any) -> Any:
        if model.task.name == "multi-task":
            return _fit(model, *parts, **settings)
        raise tt.InputError("no number") if model.task.class_names else KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        training.train(job, fit)
    told = capsys.readouterr()
    assert f"interrupted: the model of all tasks is whole in {job.output}" in told.err
    assert "trained alone too: none of them" in told.err
    assert "sentiment: not trained alone: no number" in told.out
    written = json.loads((job.output / "report" / "report.json").read_text("utf-8"))
    assert written["alone"] == {}
    assert "sentiment: not trained alone: no number" in written["notes"]
    record = json.loads((job.output / "training.json").read_text("utf-8"))
    assert record["alone"]["sentiment"]["failed"] == "no number" and record["histories"]
    assert tt.load_model(job.output / "model.keras").predict_text({"praise": [("a", "b")]})


@pytest.mark.slow
def test_evaluating_a_folder_again_shows_how_it_was_trained(
    tmp_path: Path, text_encoder: Path
) -> None:
    data = tmp_path / write(tmp_path, "a.jsonl", sentiments(40))
    out = tmp_path / "out"
    words = ["--encoder", str(text_encoder), "--quick", "--output", str(out)]
    assert cli.main(["train", "--task", "classification", "--data", str(data), *words]) == 0
    again = ["evaluate", str(out), "--data", str(data), "--output", str(tmp_path / "again")]
    assert cli.main(again) == 0
    first, second = (
        json.loads((folder / "report.json").read_text("utf-8"))
        for folder in (out / "report", tmp_path / "again")
    )
    assert second["history"] == first["history"] and first["history"]["loss"]
    page = (tmp_path / "again" / "report.html").read_text("utf-8")
    assert "How it was trained" in page and (tmp_path / "again" / "curves.png").exists()


def test_what_trains_nothing_says_so(tmp_path: Path, text_encoder: Path, capsys: Any) -> None:
    rows = [{"text_a": "good film", "text_b": "bad film", "score": i % 5} for i in range(40)]
    for i, row in enumerate(rows):
        row["text_a"] += f" {i}"
    (tmp_path / "a.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    words = ["train", "--task", "similarity", "--data", str(tmp_path / "a.jsonl"), "--quick"]
    out = tmp_path / "out"
    assert cli.main([*words, "--encoder", str(text_encoder), "--output", str(out)]) == 0
    assert "WARNING: Nothing was trained: this task has no head" in capsys.readouterr().out
    found = json.loads((out / "report" / "report.json").read_text("utf-8"))
    assert any("Nothing was trained" in warning for warning in found["warnings"])
    assert not any("Nothing was trained" in note for note in found["notes"])
