"""`train --back-translate`: what learns from what, which model is kept, what is refused."""

import bz2
import dataclasses
import gzip
import json
import lzma
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tfhub_transfer as tt
from tfhub_transfer.data import Examples
from tfhub_transfer.errors import InputError
from tfhub_transfer.jobs.options.training import TrainJob
from tfhub_transfer.jobs.three_splits import Splits
from tfhub_transfer.jobs.trainings import back_translating, training
from tfhub_transfer.tasks import Translation
from tfhub_transfer.training.history import History

SOURCES = ["good film", "bad movie", "the worst story", "a good story play"] * 6
TARGETS = ["guter Film", "böser Film", "die schlimmste Geschichte", "ein Stück"] * 6


def job_of(encoder: Path, folder: Path, **more: Any) -> TrainJob:
    (folder / "mono.de").write_text("ein Film\n\nböse Geschichte\n", "utf-8")
    given = {"back_translate": str(folder / "mono.de"), "encoder": str(encoder), **more}
    return TrainJob("translation", "train.jsonl", folder / "out", **given)


@pytest.mark.parametrize(("first", "second"), [(3.0, 4.0), (4.0, 3.0), (3.0, 3.0)])
def test_only_what_teaches_is_synthetic_and_the_better_one_is_kept(
    text_encoder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    first: float,
    second: float,
) -> None:
    job = job_of(text_encoder, tmp_path)
    train, validation = (Examples.from_lists(SOURCES[:n], TARGETS[:n]) for n in (8, 4))
    task = Translation(decoder_width=16, answer_length=8).adapt(TARGETS)
    model = tt.build_model(str(text_encoder), task)
    told: list[Any] = []

    def fit(own: tt.TransferModel, *given: Examples, **how: Any) -> History:
        told.append((own, [[list(g.texts[0]), list(g.labels)] for g in given], how))
        own.set_weights([np.full_like(w, len(told)) for w in own.get_weights()])
        own.history_ = {"loss": [float(len(told))]}
        return History(history={"loss": [float(len(told))]})

    def predict(self: object, texts: list[str]) -> list[dict[str, Any]]:
        return [{"text": text.upper()} for text in texts]

    monkeypatch.setattr(back_translating, "fine_tune", fit)
    monkeypatch.setattr(tt.TransferModel, "predict_text", predict)
    values = iter([first, second])
    monkeypatch.setattr(back_translating, "_measured", lambda *given: next(values))
    both = back_translating._Both(job, back_translating.read_targets(job))
    how = {"plan": tt.Plan(log_dir=tmp_path / "logs"), "epochs": 1, "checkpoint": "notes"}
    history = both.fit(model, train, validation, **how)

    reverse, together, alone = told
    assert reverse[1] == [[TARGETS[:8], SOURCES[:8]], [TARGETS[:4], SOURCES[:4]]]
    assert reverse[2]["unfreeze"] == "none" and "checkpoint" not in reverse[2]
    mono = ["ein Film", "böse Geschichte"]
    assert together[0] is model
    assert together[1][0] == [
        [*SOURCES[:8], *(text.upper() for text in mono)],
        [*TARGETS[:8], *mono],
    ]
    assert alone[1][0] == [SOURCES[:8], TARGETS[:8]]
    assert together[1][1] == alone[1][1] == [SOURCES[:4], TARGETS[:4]]
    assert together[2] == how
    assert "checkpoint" not in alone[2] and alone[2]["plan"].log_dir is None
    kept = 2.0 if first < second else 3.0
    assert history.history == model.history_ == {"loss": [kept]}
    assert all((w == kept).all() for w in model.get_weights())
    words = str(history.plan["back_translation"])
    assert f"perplexity {first:.4g} with 2 synthetic pairs, {second:.4g} without" in words
    assert words.endswith("kept with" if first < second else "kept without")


def test_texts_are_lines_or_a_column(tmp_path: Path) -> None:
    job = job_of(Path("auto"), tmp_path)
    assert back_translating.read_targets(job) == ["ein Film", "böse Geschichte"]
    table = tmp_path / "mono.csv"
    table.write_text("target,n\nein Film,1\n,2\n", "utf-8")
    job = dataclasses.replace(job, back_translate=str(table))
    assert back_translating.read_targets(job) == ["ein Film"]
    with pytest.raises(InputError, match="has no column 'x'"):
        back_translating.read_targets(dataclasses.replace(job, label="x"))
    with pytest.raises(InputError, match="of the training, target, or one a line") as refused:
        (tmp_path / "odd.csv").write_text("text\nein Film\n", "utf-8")
        odd = str(tmp_path / "odd.csv")
        back_translating.read_targets(dataclasses.replace(job, back_translate=odd))
    assert "--text" not in str(refused.value) and str(refused.value).count(odd) == 1
    table.write_text("target\n \n", "utf-8")
    with pytest.raises(InputError, match="expected texts of the target language.*mono.csv"):
        back_translating.read_targets(job)


def test_what_judges_is_not_learned_by_a_detour(capsys: pytest.CaptureFixture[str]) -> None:
    """The file may be the training's own, or hold it: targets of validation and test are in it."""
    judged = Examples.from_lists(SOURCES[:1], [["Guter  Film", "ein guter Film"]])
    splits = Splits(*(Examples.from_lists(SOURCES[n:], TARGETS[n:]) for n in (2, 1)), judged)
    splits = dataclasses.replace(splits, validation=splits.validation[:1])
    given = ["guter Film", "böser Film", "böser Film!", "ein guter Film", TARGETS[2]]
    assert back_translating.unjudged(given, splits) == ["böser Film!", TARGETS[2]]
    assert "Left out, as targets of validation or test: 3 texts" in capsys.readouterr().out
    with pytest.raises(InputError, match="others than the targets of.*Received: 2 of them"):
        back_translating.unjudged(given[:2], splits)


def test_no_form_of_a_table_is_taken_for_lines(tmp_path: Path) -> None:
    """A name of any other ending has lines; translation memories and packed tables have columns."""
    job = job_of(Path("auto"), tmp_path)

    def read(name: str, data: bytes) -> list[str]:
        (tmp_path / name).write_bytes(data)
        own = dataclasses.replace(job, back_translate=str(tmp_path / name))
        return back_translating.read_targets(own)

    rows = b'{"target": "ein Film"}\n{"target": ["das Haus", "ein Haus"]}\n'
    assert read("mono.jsonl.bz2", bz2.compress(rows)) == ["ein Film", "das Haus", "ein Haus"]
    assert read("mono.csv.xz", lzma.compress(b"target\nein Film\n")) == ["ein Film"]
    segments = "".join(
        f'<tuv xml:lang="{code}"><seg>{text}</seg></tuv>'
        for code, text in (("en", "a film"), ("de", "ein Film"))
    )
    memory = f'<tmx version="1.4"><header srclang="en"/><body><tu>{segments}</tu></body></tmx>'
    assert read("mono.tmx", memory.encode()) == ["ein Film"]
    assert read("mono.de.gz", gzip.compress(b"ein Film\n")) == ["ein Film"]
    with pytest.raises(InputError, match="write JSON lines|isn't read"):
        read("mono.xml", b"<p>ein Film</p>")
    with pytest.raises(InputError, match="called as that of the training"):
        read("mono.txt", b"a\tein Film\nb\tdas Haus\n")


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"refit": True}, "leave one of both out. Received: --refit"),
        ({"workers": 2}, "leave one of both out. Received: --workers"),
        ({"weight": "w"}, "leave one of both out. Received: --weight"),
        ({"task": "classification"}, "for tasks that write texts.*--task classification"),
    ],
)
def test_what_is_of_no_use_beside_it_is_refused(
    tmp_path: Path, more: dict[str, Any], message: str
) -> None:
    job = dataclasses.replace(job_of(Path("auto"), tmp_path), **more)
    with pytest.raises(InputError, match=message):
        back_translating.train(job)


def test_of_what_ends_while_the_reverse_model_learns_nothing_is_left(
    text_encoder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The model itself has learned nothing then, and is no translator."""

    def end(*given: object, **how: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(back_translating, "fine_tune", end)
    rows = [{"source": f"{n} Film", "target": f"{n} {SOURCES[n]}"} for n in range(24)]
    data = tmp_path / "train.jsonl"
    data.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    job = dataclasses.replace(job_of(text_encoder, tmp_path), data=str(data))
    with pytest.raises(KeyboardInterrupt):
        back_translating.train(job)
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
def test_the_command_leaves_both_directions(text_encoder: Path, tmp_path: Path, run: Any) -> None:
    rows = [
        {"source": f"{n} {source}", "target": f"{n} {target}"}
        for n, (source, target) in enumerate(zip(SOURCES * 2, TARGETS * 2))
    ]
    data, out = tmp_path / "train.jsonl", tmp_path / "out"
    data.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    (tmp_path / "mono.de").write_text("".join(f"{n} Film\n" for n in range(5)), "utf-8")
    words = ["--task", "translation", "--encoder", text_encoder, "--quick"]
    words += ["--data", data, "--back-translate", tmp_path / "mono.de", "--output", out]
    status, told, error = run("train", *words)
    assert status == 0, error
    record = json.loads((out / "training.json").read_text("utf-8"))
    said = record["plan"]["back_translation"]
    assert "on validation; kept with" in said and said in " ".join(told.split())
    assert json.loads((out / "report" / "report.json").read_text("utf-8"))["examples"] == {
        **{"train": 38, "validation": 5, "test": 5}
    }
    (tmp_path / "in.txt").write_text("3 Film\n", "utf-8")
    status, told, error = run("predict", out / "reverse", tmp_path / "in.txt")
    assert status == 0 and json.loads(told)["source"] == "3 Film", error
    # The folder is ours, as it would be without a reverse model.
    given = {"back_translate": str(tmp_path / "mono.de"), "overwrite": True}
    training.check_output(TrainJob("translation", str(data), out, **given))
