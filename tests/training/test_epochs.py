"""What training shows while it runs, and what is left of it: lines, a table, a picture."""

import json
import random
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from samples import ROWS

import tfhub_transfer as tt
from tfhub_transfer import progress
from tfhub_transfer.callbacks.best_weights import FiniteLoss
from tfhub_transfer.training import history_table
from tfhub_transfer.training.epochs import EpochsShown
from tfhub_transfer.training.finetuning import History
from tfhub_transfer.training.outcome import Outcome


def several(bert_encoder: Path) -> tuple[Any, Any]:
    """A model of two tasks, and what it learns from."""
    sample = ROWS["multi-task"]
    model = tt.build_model(str(bert_encoder), sample.task(), sequence_length=16)
    return model, sample.examples


def at_ends(err: str) -> list[str]:
    """The lines at the ends of stages, but their times; a slow machine also reports in between."""
    lines = [
        re.sub(r" \(([\d,]+/s, )?peak memory [\d.]+ [MG]B\)$", "", x) for x in err.splitlines()
    ]
    return [re.sub(r"[\d.]+ (s|min\b.*)", "T", x) for x in lines if "  " not in x]


def test_silence_is_silence(
    text_encoder: Path, sentiment: Any, capfd: pytest.CaptureFixture[str]
) -> None:
    examples = tt.data.Examples.from_lists(*sentiment)
    model = tt.build_model(str(text_encoder), tt.tasks.Classification().adapt(examples.labels))
    for verbose, lines in ((0, 0), (1, 4), (2, 6)):
        plan = tt.Plan(head_epochs=1, verbose=verbose)
        tt.fine_tune(model, examples, examples, epochs=2, plan=plan)
        out, err = capfd.readouterr()
        unwrapped = re.sub(r"\n +", " ", out)
        assert unwrapped.count("\n") + len(at_ends(err)) == lines, out + err
        assert verbose or not err
        assert ("Features: " in err) == ("Head on the frozen" in out) == (verbose > 0)


@pytest.mark.slow
def test_several_tasks_have_one_line_an_epoch(
    bert_encoder: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    model, examples = several(bert_encoder)
    plan = tt.Plan(head_epochs=2, verbose=2)
    history = tt.fine_tune(model, examples, examples, epochs=2, unfreeze=1, plan=plan)
    out, err = capfd.readouterr()
    lines = [line for line in out.splitlines() if re.match("Top group thawed  epoch", line)]
    curves = history.history
    for number, line in enumerate(lines):
        assert line.startswith(f"Top group thawed  epoch {number + 1} of 2  ")
        for name, key in (("loss", "loss"), ("kind", "val_kind_accuracy")):
            assert f"  {name} {curves[key][number]:.4f}" in line
        assert "  pair " in line and len(line) <= 120
    assert len(lines) == 2 == len(curves["loss"])
    said = at_ends(err)
    sizes = {name: 2 * len(examples[name]) for name in ("kind", "pair")}  # both splits
    assert said == [
        *(f"{name}: Features: {size} examples in T" for name, size in sizes.items()),
        f"Token vectors: {sum(sizes.values())} rows in T",
    ]
    for name in examples:
        assert f"{name}: Head on the frozen encoder: kept epoch " in out
    assert [each.stage for each in history.outcomes] == ["kind head", "pair head", "fine_tuning"]


@pytest.mark.slow
def test_every_stage_of_a_training_has_a_line(
    text_encoder: Path, tmp_path: Path, run: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun: list[progress.Stage] = []
    begin = progress.Stage.begin

    def note(stage: progress.Stage) -> None:
        begun.append(stage)
        begin(stage)

    monkeypatch.setattr(progress.Stage, "begin", note)
    rows = [{"text": f"a {'good' if i % 2 else 'bad'} film {i}", "label": i % 2} for i in range(60)]
    (tmp_path / "a.jsonl").write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    words = ["train", "--task", "classification", "--data", tmp_path / "a.jsonl", "--epochs", "2"]
    words += ["--encoder", text_encoder, "--output", tmp_path / "out"]
    status, _, err = run(*words, "--log-dir", tmp_path / "out" / "logs")
    assert status == 2 and "outside of it" in err and not (tmp_path / "out").exists()
    words += ["--log-dir", tmp_path / "logs"]
    status, out, err = run(*words)
    assert status == 0 and "\r" not in err
    said = at_ends(err)
    assert said == [
        "Features: 54 examples in T",
        "Measuring, beside baselines: 6 test examples in T",
        "Exporting to serving/1: T",
    ]
    kept = [line.split()[0] for line in out.splitlines() if ": kept" in line]
    assert kept[:2] == ["Head", "Top"]  # and again in the report's notes
    assert out.count(" rows/s, peak memory ") == 2 and err.count("peak memory ") == 3
    tables = [(tmp_path / each / "history.csv").read_text("utf-8") for each in ("out", "logs")]
    assert tables[0] == tables[1] and tables[0].count("\n") > 2
    assert {each.name for each in (tmp_path / "logs").iterdir()} == {
        *("history.csv", "steps", "train", "validation"),
    }
    monkeypatch.setattr("sys.stderr.isatty", lambda: True, raising=False)
    monkeypatch.setenv("TERM", "xterm")
    begun.clear()
    status, out, err = run(*words, "--overwrite")
    assert status == 0
    names = [stage.name for stage in begun]
    assert names == [
        *("Starting TensorFlow", "Reading", "Loading the encoder", "Preparing"),
        *(
            "Features",
            "Head",
            "Top group thawed",
            "Settling on validation",
            "Measuring, beside baselines",
        ),
        "Exporting to serving/1",
    ]
    for name in names:
        assert f"\r{name}" in err
    assert re.search(r"\rTop group thawed  \d+ % .*epoch \d of 2", err)
    # Where answers are asked for, nothing stays on the screen but they.
    (tmp_path / "in.txt").write_text("good film\n", encoding="utf-8")
    status, out, err = run("predict", tmp_path / "out", tmp_path / "in.txt")
    assert status == 0 and json.loads(out)["label"] in ("0", "1", 0, 1)
    assert "\rLoading the model" in err and "\rAnswering" in err
    assert not any(row.strip(" \r") for row in err.split("\n")[1:])
    monkeypatch.setattr("sys.stderr.isatty", lambda: False)
    assert run("predict", tmp_path / "out", tmp_path / "in.txt")[2] == ""


@pytest.mark.filterwarnings("ignore:Your input ran out of data")  # as Keras says of any such
@pytest.mark.parametrize("at_once", [pytest.param(1, marks=pytest.mark.slow), 2])
def test_epochs_are_shares_of_a_stage(
    at_once: int, make_encoder: Callable[[str], Path], sentiment: Any
) -> None:
    examples = tt.data.Examples.from_lists(*sentiment)
    task = tt.tasks.Classification().adapt(examples.labels)
    model = tt.build_model(str(make_encoder("text_encoder")), task)
    model.compile(loss=task.loss(), metrics=task.metrics(), steps_per_execution=at_once)
    with progress.stage("Training") as stage:
        shown = EpochsShown(stage, lambda logs: {"accuracy": logs["val_accuracy"]})
        seen: list[float] = []
        tell = stage.tell
        stage.tell = lambda *told: (seen.append(stage.fraction() or 0.0), tell(*told))  # type: ignore
        train = model.preprocess(examples, 8)
        for batches in (train, train.filter(lambda *row: True)):  # the second of unknown length
            seen.clear()
            history = model.fit(
                batches,
                validation_data=model.preprocess(examples, 8, shuffle=False),
                epochs=3,
                callbacks=[FiniteLoss(), shown],
                verbose=0,
            ).history
            assert stage.fraction() == 1.0 == seen[-1] and stage.done == 3
            assert seen == sorted(seen) and len(set(seen)) > 4
            assert stage._details == (
                "epoch 3 of 3",
                f"loss {history['loss'][-1]:.4f}",
                f"accuracy {history['val_accuracy'][-1]:.4f}",
            )


def history(head: int, thawed: int, names: tuple[str, ...], **more: Any) -> History:
    chance = random.Random(0)
    curves = {name: [chance.random() for _ in range(head + thawed)] for name in names}
    marks = [(head + 0.3 * step, step + 1) for step in range(3)] if thawed else []
    return History(curves, {"features": 3.2, "head": 1.0}, marks, head, **more)


USUAL = ("loss", "accuracy", "val_loss", "val_accuracy")


@pytest.mark.parametrize(
    ("head", "thawed", "kept"), [(3, 4, 2), (61, 4, 30), (61, 400, 399), (1, 0, None), (0, 900, 5)]
)
def test_the_table_of_a_training_fits_on_a_screen(head: int, thawed: int, kept: Any) -> None:
    outcomes = [Outcome("head", "val_accuracy", head, (kept or 0) + 1, 0.8)]
    if thawed:
        place = kept - head + 1 if kept >= head else None
        last = Outcome("fine_tuning", "val_accuracy", thawed, place, 0.8, 0.8, 0.7, 3)
        outcomes.append(last)
    made = history(head, thawed, USUAL, outcomes=outcomes)
    lines = str(made).splitlines()
    assert len(lines) <= 24 and max(map(len, lines)) <= 100
    assert lines[0].split()[:5] == ["stage", "epoch", "groups", "loss", "val_loss"]
    rows = [line.split() for line in lines[1:] if line.startswith(("head ", "thawed "))]
    left_out = [line for line in lines if line.startswith("...")]
    if head + thawed <= 15:
        assert len(rows) == head + thawed and not left_out
    missing = sum(int(line.split()[1].replace(",", "")) for line in left_out)
    assert len(rows) + missing == head + thawed
    for row in rows:
        place = int(row[1]) - 1 + (head if row[0] == "thawed" else 0)
        assert float(row[3]) == pytest.approx(made.history["loss"][place], abs=1e-4)
        assert (row[-1] == "kept") == (place == made.best_epoch)
        thawed_now = max((n for at, n in made.thawed_groups if at < place + 1), default=0)
        assert int(row[2]) == thawed_now
    assert (made.best_epoch is None) or any(row[-1] == "kept" for row in rows)
    assert lines[-1] == "Seconds: features 3.2, head 1.0"


def test_a_table_of_many_tasks_has_what_fits() -> None:
    tasks = [f"task_{number}" for number in range(12)]
    names = ("loss", "val_loss", *(f"val_{task}_accuracy" for task in tasks))
    outcomes = [Outcome(f"{task} head", "val_accuracy", 9, 3, 0.81) for task in tasks]
    outcomes.append(Outcome("fine_tuning", "the tasks' mean", 4, None, 0.8, 0.8, 0.7, 4))
    made = history(0, 40, names, outcomes=outcomes)
    made.history["learning_rate"] = [0.1]  # of one stage only: of which isn't known
    lines = str(made).splitlines()
    assert len(lines) <= 24 and max(map(len, lines)) <= 100
    assert "val_task_0_accuracy" in lines[0] and "learning_rate" not in lines[0]
    assert sum(line.startswith("thawed ") for line in lines) >= 4
    odd = History({"loss": [float("nan"), 1e9, 1e-7, 0.0]})
    assert [line.split()[3] for line in str(odd).splitlines()[1:]] == [
        *("nan", "1.00e+09", "1.00e-07", "0.0000"),
    ]
    assert str(History()) == "no epochs"


def test_a_history_is_drawn(tmp_path: Path) -> None:
    outcomes = [Outcome("head", "val_accuracy", 3, 2, 0.8)]
    made = history(3, 0, USUAL, outcomes=outcomes)
    figure = made.plot()
    assert [axes.get_title(loc="left") for axes in figure.axes] == ["loss", "accuracy"]
    kept = [line for line in figure.axes[0].lines if line.get_label() == "kept"]
    assert kept[0].get_xydata().tolist() == [[2.0, made.history["val_loss"][1]]]
    assert figure._repr_png_().startswith(b"\x89PNG")
    for name, start in (("a.png", b"\x89PNG"), ("b.svg", b"<?xml"), ("c.pdf", b"%PDF")):
        made.plot(tmp_path / "new" / name)
        assert (tmp_path / "new" / name).read_bytes().startswith(start)
    with pytest.raises(tt.InputError, match=r"ends in .png, .svg or .pdf. Received: .*d.xlsx"):
        made.plot(tmp_path / "d.xlsx")
    with pytest.raises(tt.InputError, match="no epoch was trained"):
        History().plot(tmp_path / "e.png")
    assert [path.name for path in tmp_path.iterdir()] == ["new"]
    assert history_table.LINES == 24
