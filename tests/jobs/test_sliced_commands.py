"""`--slice` of `train`, `tune` and `evaluate`: refused at once, or in the report."""

import json
from pathlib import Path
from typing import Any

import pytest

from tfhub_transfer import cli
from tfhub_transfer.jobs.trainings import training

ROWS = [
    {
        "review": f"a {'good' if row % 2 else 'bad'} film {row}",
        "kind": ["negative", "positive"][row % 2],
        "source": ["web", "mail", ""][row % 3],
        "about": {"site": "xy"[row % 4 // 2]},
    }
    for row in range(120)
]


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory, text_encoder: Path) -> tuple[Path, list[str]]:
    """What a first look wrote, with the words that asked for it."""
    folder = tmp_path_factory.mktemp("sliced")
    (folder / "data.jsonl").write_text("".join(json.dumps(row) + "\n" for row in ROWS), "utf-8")
    words = ["--task", "classification", "--data", str(folder / "data.jsonl")]
    words += ["--text", "review", "--label", "kind", "--encoder", str(text_encoder)]
    of_train = ["train", *words, "--quick", "--output", str(folder / "out")]
    assert cli.main([*of_train, "--slice", "source,about.site"]) == 0
    return folder, words


def spots(report: Path, by: str) -> dict[str, int]:
    found = json.loads((report / "report.json").read_text("utf-8"))["weak_spots"]["rows"]
    return {row["group"]: row["count"] for row in found if row["by"] == by}


def test_a_test_split_drawn_from_one_file_keeps_its_columns(trained: Any) -> None:
    folder, _ = trained
    found = spots(folder / "out" / "report", "source")
    assert sum(found.values()) == 12
    rows = (folder / "out" / "report" / "predictions.jsonl").read_text("utf-8").splitlines()
    texts = {json.loads(line)["texts"][0] for line in rows}
    own = [row["source"] for row in ROWS if row["review"] in texts]
    rare = {name: own.count(name) for name in ("web", "mail") if own.count(name) < 5}
    expected = {name: own.count(name) for name in ("web", "mail") if name not in rare}
    if len(rare) == 2:
        expected["(other values)"] = sum(rare.values())
    elif rare:
        expected |= rare
    assert found == expected | {"(blank)": own.count("")}
    assert sum(spots(folder / "out" / "report", "about.site").values()) == 12


def test_evaluate_slices_by_columns_of_its_file(trained: Any, run: Any, tmp_path: Path) -> None:
    folder, _ = trained
    words = ["evaluate", folder / "out" / "model.keras", "--data", folder / "data.jsonl"]
    words += ["--text", "review", "--label", "kind", "--slice", "source"]
    status, _, error = run(*words, "--output", tmp_path / "report")
    assert status == 0, error
    assert spots(tmp_path / "report", "source") == {"web": 40, "mail": 40, "(blank)": 40}
    status, _, error = run(*words[:-1], "kind", "--output", tmp_path / "other")
    assert status == 2 and error.count("\n") == 1
    assert (
        "has no column 'kind' beside texts and labels; slice by one of 'source', 'about'" in error
    )
    assert not (tmp_path / "other").exists()


@pytest.mark.parametrize("command", ["train", "tune"])
def test_a_column_that_is_missing_is_said_before_any_training(
    command: str, trained: Any, run: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def never(*_: object, **__: object) -> None:
        raise AssertionError("an encoder was loaded")

    monkeypatch.setattr(training, "build_within", never)
    _, words = trained
    status, _, error = run(command, *words, "--output", tmp_path / "out", "--slice", "sauce")
    assert status == 2 and error.count("\n") == 1
    assert "has no column 'sauce' beside texts and labels" in error
    assert not (tmp_path / "out").exists()
