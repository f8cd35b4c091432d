"""Files of earlier versions load, answer and train on as they did: those in `tests/kept/`."""

import json
import re
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import kept_models as kept
import pytest
import samples

import tfhub_transfer as tt
from tfhub_transfer import cli, tasks
from tfhub_transfer.graphs import safety
from tfhub_transfer.jobs import run_records
from tfhub_transfer.models import encoding
from tfhub_transfer.reporting import paired

# These are small; `--all` takes every one.
QUICK = ("regression", "run-multi-task")
TOLD = {
    name: json.loads((kept.FOLDER / f"{name}.json").read_text("utf-8")) for name in kept.names()
}


def of_kind(kind: str) -> list[Any]:
    return [
        name if name in QUICK else pytest.param(name, marks=pytest.mark.slow)
        for name, told in TOLD.items()
        if told["kind"] == kind
    ]


@pytest.fixture(scope="module")
def unpacked(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], kept.Kept]:
    """What is kept by a name, unpacked once."""
    found: dict[str, kept.Kept] = {}

    def unpack(name: str) -> kept.Kept:
        if name not in found:
            found[name] = kept.unpack(name, tmp_path_factory.mktemp("kept") / name)
        return found[name]

    return unpack


def test_every_task_is_kept() -> None:
    """A new task gets a model of the first version that has it; see `make_kept_models.py`."""
    wanted = {*tasks.TASKS, tasks.MultiTask.name} - {*samples.ALIKE}
    assert wanted <= {told["task"] for told in TOLD.values() if told["kind"] == "model"}
    assert all(re.fullmatch("[0-9a-f]{40}", told["made_by"]["commit"]) for told in TOLD.values())


def test_what_is_kept_is_small_and_names_no_machine(unpacked: Any) -> None:
    # Preprocessors that we write have a table by the name of a temporary folder of ours.
    pattern = re.compile(rb"/(?:tmp/(?!tfhub_transfer_)|home/|root/|Users/|var/|mnt/|work/)[a-z]")
    for name in TOLD:
        for path in unpacked(name).folder.rglob("*"):
            found = path.is_file() and pattern.search(path.read_bytes())
            assert not found, f"{name}, {path.name}: {found and found.group()}"
    assert sum(path.stat().st_size for path in kept.FOLDER.iterdir()) < 3_000_000


@pytest.mark.parametrize("name", of_kind("model"))
def test_a_model_answers_and_trains_as_ever(name: str, unpacked: Any, tmp_path: Path) -> None:
    """As it is, then out of a file that today's code wrote of it, by one step more."""
    folder, told = unpacked(name)
    with warnings.catch_warnings():
        warnings.filterwarnings("error", "Skipping variable loading")
        model = tt.load_model(folder / "model.keras")
        assert kept.answers(model, told) == kept.near(told["answers"])
        model.save(tmp_path / "again.keras")
        again = tt.load_model(tmp_path / "again.keras")
    for each in (model, again):
        assert int(each.optimizer.iterations) == told["iterations"]
    assert kept.next_step(again, told) == kept.near(told["next"], kept.AFTER_A_STEP)
    assert int(again.optimizer.iterations) == told["iterations"] + 1


@pytest.mark.parametrize("name", of_kind("model"))
def test_an_export_answers_as_ever(name: str, unpacked: Any) -> None:
    folder, told = unpacked(name)
    found = kept.served_answers(folder / "serving", told["served"])
    for each, answers in zip(told["served"], found, strict=True):
        assert answers == kept.near(each["answers"]), each["signature"]


@pytest.mark.parametrize("name", of_kind("strings"))
def test_a_model_of_strings_answers_as_ever(name: str, unpacked: Any) -> None:
    """Loaded by Keras, which finds the layers by the names that they are registered under."""
    folder, told = unpacked(name)
    assert kept.of_strings(folder / "own.keras", told["asked"]) == kept.near(told["answers"])


@pytest.mark.parametrize("name", of_kind("encoders"))
def test_encoders_give_the_same_vectors(name: str, unpacked: Any) -> None:
    folder, told = unpacked(name)
    found = kept.of_encoders(folder, told)
    assert found == kept.near({key: told[key] for key in found})
    assert "Einsum" in operations(folder / "hub")  # as TF Hub's are, which we write no longer
    assert tt.Encoder(str(folder / "trained")).layer_groups


def operations(folder: Path) -> set[str]:
    from tensorflow.core.protobuf import saved_model_pb2

    safety.check_saved_model(folder)
    content = (folder / "saved_model.pb").read_bytes()
    [graph] = saved_model_pb2.SavedModel.FromString(content).meta_graphs
    return {node.op for part in graph.graph_def.library.function for node in part.node_def}


# Records ------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("name", of_kind("run"))
def test_a_run_is_read_and_measured_as_ever(
    name: str, unpacked: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its model on its test data gives its report again; what it recorded comes along."""
    folder, told = unpacked(name)
    monkeypatch.chdir(folder)
    words = ["evaluate", "out", "--data", told["evaluated"], "--output", str(tmp_path / "report")]
    assert cli.main(words) == 0
    for path in Path("out/report").rglob("report.json"):
        new = tmp_path / "report" / path.relative_to("out/report")
        before, now = (json.loads(each.read_text("utf-8")) for each in (path, new))
        assert set(before) <= set(now)
        assert now["metrics"] == kept.near(before["metrics"])
        assert now.get("history") == before.get("history")
        if "setup" in before:
            known = {key: value for key, value in before["setup"].items() if value is not None}
            assert now["setup"] == known
            check_predictions(before, path.parent, new.parent)


def check_predictions(report: dict[str, Any], one: Path, other: Path) -> None:
    """Answers that were recorded are told to be those of the same model to the same texts."""
    rows = [
        [json.loads(line) for line in (each / "predictions.jsonl").read_text("utf-8").splitlines()]
        for each in (one, other)
    ]
    assert paired.are_of(rows[0], list(zip(*(row["texts"] for row in rows[1]))))
    metrics = report["metrics"]
    standing = tt.tasks.TASKS[report["task"]].standing
    found = paired.difference(standing, (metrics, metrics), (rows[0], rows[1]))
    # Scores differ by rounding, answers don't.
    assert found is not None and (found.alike or report["task"] == "regression")
    assert [row["predicted"] for row in rows[1]] == kept.near([row["predicted"] for row in rows[0]])


@pytest.mark.parametrize("name", of_kind("run"))
def test_what_a_run_recorded_is_given_back(name: str, unpacked: Any) -> None:
    folder = unpacked(name).folder / "out"
    record = encoding.read_record(folder)
    model = tt.load_model(folder / "model.keras")
    run_records.recall(model, record)
    assert model.history_ == record["history"] and model.history_["val_loss"]
    several = model.models if isinstance(model, tt.MultiTaskModel) else {}
    for task, single in several.items():
        assert single.history_ == record["histories"][task] and single.history_["val_loss"]
    assert record["precision"] == "float32" and record["arguments"]["encoder"] == "encoders/text"
