"""What grows while a training runs: a line an epoch through all stages, whatever interrupts it."""

import csv
import shutil
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

import tfhub_transfer as tt
from tfhub_transfer import progress
from tfhub_transfer.storage.marks import MARK
from tfhub_transfer.training import checkpoints, watching
from tfhub_transfer.training.checkpoints import Checkpoint
from tfhub_transfer.training.history import History
from tfhub_transfer.training.outcome import Outcome
from tfhub_transfer.training.watching import COLUMNS, FILE, CsvFile, Watch

PLAN: dict[str, Any] = {"verbose": 0, "seed": 3, "head_epochs": 3, "unfreezing_epochs": 1.0}
HEAD, THAWED = "head", "fine_tuning"


@pytest.fixture(scope="module")
def splits(sentiment: Any) -> tuple[Any, Any]:
    examples = tt.data.Examples.from_lists(*sentiment)
    return examples[:28], examples[28:]


@pytest.fixture(autouse=True)
def every_epoch_is_noted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checkpoints, "LEAST_SECONDS", 0.0)
    monkeypatch.setattr(checkpoints, "_TIMES", 0)


def tune(folder: Path, splits: Any, log_dir: Path | None = None, **more: Any) -> Any:
    tt.runtime.seed_everything(7)
    task = tt.tasks.Classification(["negative", "positive"])
    model = tt.build_model(str(folder), task, sequence_length=24)
    plan = tt.Plan(log_dir=log_dir, **PLAN)
    how = {"epochs": 3, "unfreeze": 1, "batch_size": 8, "plan": plan, **more}
    return tt.fine_tune(model, *splits, **how)


def table(path: Path) -> list[dict[str, str]]:
    with open(path, encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def curve(folder: Path, name: str) -> list[tuple[int, float]]:
    found = EventAccumulator(str(folder))
    found.Reload()
    return [(each.step, each.value) for each in found.Scalars(name)]


def check(log_dir: Path, rows: list[dict[str, Any]]) -> None:
    """Whether both forms hold these rows, each once."""
    read = table(log_dir / FILE)
    assert [{k: v for k, v in row.items() if v} for row in read] == [
        {name: str(value) for name, value in row.items()} for row in rows
    ]
    for name, part in (("loss", "train"), ("learning_rate", "train"), ("val_loss", "validation")):
        points = curve(log_dir / part, f"epoch_{name.removeprefix('val_')}")
        assert [step for step, _ in points] == [row["epoch"] for row in rows]
        wanted = [row[name] for row in rows]
        np.testing.assert_allclose([value for _, value in points], wanted, rtol=1e-6)


def alike(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{name: v for name, v in row.items() if name != "seconds"} for row in rows]


class Reader(keras.callbacks.Callback):
    """Reads the table while it grows, and the learning rates as Keras has them."""

    def __init__(self, file: Path) -> None:
        super().__init__()
        self.file = file
        self.lines, self.rates, self.steps = list[int](), list[float](), list[int]()

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        self.lines.append(len(table(self.file)) if self.file.exists() else 0)
        self.steps.append(0)

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        self.steps[-1] = batch + 1

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        self.rates.append(float(self.model.optimizer.learning_rate))


@pytest.fixture(scope="module")
def whole(text_encoder: Path, splits: Any, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A training that nothing interrupts: its folder, its history, and who read along."""
    folder = tmp_path_factory.mktemp("logs") / "new" / "logs"
    reader = Reader(folder / FILE)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(watching, "BATCH_SECONDS", 0.0)
        history = tune(text_encoder, splits, folder, callbacks=reader)
    return folder, history, reader


def test_all_stages_are_one_curve(whole: Any) -> None:
    folder, history, reader = whole
    rows, count = history.rows, history.epochs
    assert reader.lines == list(range(count)) and count == len(rows) == 6
    assert [row["epoch"] for row in rows] == [1, 2, 3, 4, 5, 6]
    assert [row["stage"] for row in rows] == 3 * [HEAD] + 3 * [THAWED]
    assert [row["stage_epoch"] for row in rows] == [1, 2, 3, 1, 2, 3]
    assert [row["steps"] for row in rows] == np.cumsum(reader.steps).tolist()
    assert [row["learning_rate"] for row in rows] == reader.rates
    for name, values in history.history.items():
        assert [row[name] for row in rows] == values
    total = history.seconds["head"] + history.seconds["fine_tuning"]
    assert 0 < sum(row["seconds"] for row in rows) <= total
    check(folder, rows)
    points = curve(folder / "steps", "batch_loss")
    assert [step for step, _ in points] == sorted({step for step, _ in points})
    assert points[-1] == (rows[-1]["steps"], pytest.approx(rows[-1]["loss"], rel=1e-6))
    assert points[0][0] <= rows[0]["steps"]
    found = EventAccumulator(str(folder / "train"))
    found.Reload()
    texts = [event.tensor_proto.string_val[0].decode() for event in found.Tensors("stage")]
    assert [text.split()[1] for text in texts] == [HEAD, THAWED]
    assert "| learning_rate | 0.005 |" in texts[0]


class Killed(BaseException):
    """What nothing in the package catches."""


class Kill(keras.callbacks.Callback):
    def __init__(self, epoch: int, batch: int) -> None:
        super().__init__()
        self.at, self.now = (epoch, batch), 0

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        self.now = epoch

    def on_train_batch_begin(self, batch: int, logs: Any = None) -> None:
        if (self.now, batch) == self.at:
            raise Killed


@pytest.mark.slow
def test_no_epoch_is_there_twice_after_kills(
    whole: Any, text_encoder: Path, splits: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows, logs = whole[1].rows, tmp_path / "logs"
    notes = tmp_path / "notes"
    for kill, written, is_noted in (((2, 0), 2, True), ((5, 0), 5, False), ((4, 2), 4, True)):
        given = Checkpoint(checkpoints.Lasting(notes), minutes=0.0)
        with monkeypatch.context() as patch, pytest.raises(Killed):
            if not is_noted:  # epochs that are lost, and trained again
                patch.setattr(given, "is_due", lambda *_, **__: False)
                patch.setattr(given, "settle", lambda *_: None)
            tune(text_encoder, splits, logs, checkpoint=given, callbacks=Kill(*kill))
        given.folder.release()
        assert len(table(logs / FILE)) == written == len(curve(logs / "train", "epoch_loss"))
        assert alike(table(notes / FILE)) == alike(table(logs / FILE))
    history = tune(text_encoder, splits, logs, checkpoint=notes)
    assert alike(history.rows) == alike(rows)
    check(logs, history.rows)
    assert not notes.exists()
    # Another training in the same folder takes the place of this one.
    tune(text_encoder, splits, logs, unfreeze=0)
    assert len(curve(logs / "train", "epoch_loss")) == 3 == len(table(logs / FILE))


def test_what_cannot_be_written_any_longer_ends_no_training(
    text_encoder: Path, splits: Any, tmp_path: Path
) -> None:
    class Remove(keras.callbacks.Callback):
        def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
            if epoch == 2:
                shutil.rmtree(tmp_path / "logs")

    with pytest.warns(UserWarning, match=r"curves can't be written any longer .*history.csv"):
        history = tune(text_encoder, splits, tmp_path / "logs", unfreeze=0, callbacks=Remove())
    assert len(history.rows) == 3 and not (tmp_path / "logs" / FILE).exists()


def test_columns_may_come_later(tmp_path: Path) -> None:
    class Model:
        class optimizer:
            learning_rate = 0.5

    watch = Watch(History())
    watch.set_model(Model())
    watch.write(CsvFile(tmp_path / FILE))
    for task, logs in (("", {"loss": 1.0, "seconds": 9.0}), ("a, b", {"loss": 2.0, "val_f1": 0.5})):
        each = watch.of(task) if task else watch
        each.set_model(Model())
        each.stage("head")
        each.on_train_begin()
        each.on_epoch_begin(0)
        each.on_train_batch_end(3, logs)
        each.on_epoch_end(0, logs)
    first, second = table(tmp_path / FILE)
    assert [*second] == [*COLUMNS, "loss", "a, b_loss", "val_a, b_f1"]
    assert (second["stage"], second["val_a, b_f1"], second["loss"]) == ("a, b head", "0.5", "")
    assert (first["loss"], first["val_a, b_f1"], first["steps"], second["steps"]) == (
        *("1.0", "", "4", "8"),
    )
    assert float(first["seconds"]) < 9.0


def test_folders_that_cannot_be_meant_are_refused(
    text_encoder: Path, splits: Any, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("x", "utf-8")
    for name, file, text in (("own", FILE, "epoch,loss\n1,2\n"), ("out", MARK, "")):
        (tmp_path / name).mkdir()
        (tmp_path / name / file).write_text(text, "utf-8")
    for log_dir, more, said in (
        ("file", {}, "`log_dir` is a folder.*file, which is a file"),
        ("own", {}, "a file of another kind, which is never replaced.*history.csv"),
        ("out", {}, "what another training or report wrote.*out"),
        ("a/b", {"checkpoint": tmp_path / "a"}, "name two, apart from each other"),
        ("a", {"checkpoint": tmp_path / "a" / "b"}, "name two, apart from each other"),
    ):
        with pytest.raises(tt.InputError, match=said):
            tune(text_encoder, splits, tmp_path / log_dir, **more)
    with pytest.raises(tt.InputError, match="outside of it. Received: .*out/logs in"):
        watching.check(tmp_path / "out" / "logs", tmp_path / "out")
    with pytest.raises(tt.InputError, match="holds nothing else.*history.csv"):
        tune(text_encoder, splits, checkpoint=tmp_path / "own")
    assert (tmp_path / "own" / FILE).read_text("utf-8") == "epoch,loss\n1,2\n"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "out", "own"]


def test_two_runs_write_no_table_together(tmp_path: Path) -> None:
    rows = [{**dict.fromkeys(COLUMNS, 1), "loss": 0.5}]
    ours, theirs = CsvFile(tmp_path / FILE), CsvFile(tmp_path / FILE)
    ours.begin([])
    ours.add(rows, {})
    theirs.begin([])
    with pytest.raises(OSError, match="another run writes there"):
        ours.add(2 * rows, {})
    theirs.add(rows, {})
    assert len(table(tmp_path / FILE)) == 1


def test_the_rate_of_an_epoch_is_the_one_it_had() -> None:
    model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)])
    model.compile(keras.optimizers.SGD(0.5), "mse")
    held = History()
    lower = keras.callbacks.ReduceLROnPlateau("loss", patience=0, min_delta=1e9)
    given = np.zeros((2, 1))
    model.fit(given, given, epochs=3, verbose=0, callbacks=[lower, Watch(held, "topic")])
    assert [row["learning_rate"] for row in held.rows] == pytest.approx([0.5, 0.5, 0.05])
    assert [*held.rows[0]] == [*COLUMNS, "topic_loss"]


def test_a_stage_tells_rows_a_second_and_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "peak_memory", lambda: 1_234_567_890)
    held = History(rows=[{"seconds": 1000.0}])
    watch = Watch(held)
    watch.on_train_begin()
    held.rows += [{"seconds": 0.5}, {"seconds": 1.5}]
    watch.trained = 2 * 28
    assert watch.pace() == " (28 rows/s, peak memory 1.2 GB)"
    said = Outcome("head", "val_accuracy", 3, 2, 0.5).lines(2.5, pace=watch.pace())
    assert said.replace("\n ", "").endswith("0.5000, 2.5 s (28 rows/s, peak memory 1.2 GB)")
