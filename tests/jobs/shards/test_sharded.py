"""Many files answered one by one: names, bad rows, what goes on, what is refused."""

import bz2
import csv
import functools
import gzip
import json
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow
import pyarrow.feather
import pyarrow.parquet
import pytest

import tfhub_transfer as tt
from tfhub_transfer.data import writing
from tfhub_transfer.jobs import asking, folders, predicting
from tfhub_transfer.jobs.options.asking import PredictJob
from tfhub_transfer.jobs.shards import beam, finding, records, running

TEXTS = [f"a film of {'good ' * (i % 4)}words, {i}" for i in range(12)]


@pytest.fixture(scope="module")
def classifier(text_encoder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model that need not know anything."""
    task = tt.tasks.Classification(["bad", "good"])
    path = tmp_path_factory.mktemp("classifier") / "model.keras"
    tt.build_model(str(text_encoder), task).save(path)
    return path


@pytest.fixture(scope="module", autouse=True)
def loaded_once() -> Iterator[None]:
    """Loading takes longest of a command here."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(folders, "load", functools.cache(folders.load))
        yield


@pytest.fixture(scope="module")
def expected(classifier: Path) -> list[dict[str, Any]]:
    """What the model answers to `TEXTS`, asked from Python."""
    return list(tt.load_model(classifier).predict_text(TEXTS))


def rows(numbers: range) -> list[dict[str, Any]]:
    return [{"id": i, "text": TEXTS[i]} for i in numbers]


def lines_of(given: list[dict[str, Any]]) -> str:
    return "".join(f"{json.dumps(row)}\n" for row in given)


def jsonl(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text("utf-8").splitlines()]


def files(folder: Path) -> list[str]:
    """All that somebody sees there who passes over what is hidden."""
    found = (p.relative_to(folder) for p in folder.rglob("*") if p.is_file())
    return sorted(str(p) for p in found if not any(x.startswith(("_", ".")) for x in p.parts))


def summary(folder: Path) -> dict[str, Any]:
    return json.loads((folder / "_summary.json").read_text("utf-8"))


def same(row: dict[str, Any], number: int, answers: list[dict[str, Any]]) -> None:
    """A row that came back is the one that was given, with its own answer."""
    assert (int(row["id"]), row["text"]) == (number, TEXTS[number])
    assert row["label"] == answers[number]["label"]
    assert row["scores"] == pytest.approx(answers[number]["scores"], abs=1e-6)


def test_each_form_comes_back_in_its_own_with_its_names(
    classifier: Path, expected: Any, tmp_path: Path, run: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Packed or not, below folders that hold a column, beside what is no shard."""
    monkeypatch.setattr(asking, "CHUNK", 2)
    data = tmp_path / "data"
    for day in "day=1", "day=2", "_temporary":
        (data / day).mkdir(parents=True)
    table = pyarrow.table({"id": pyarrow.array(range(3), pyarrow.int16()), "text": TEXTS[:3]})
    pyarrow.parquet.write_table(table, data / "day=1" / "part-0.parquet")
    pyarrow.feather.write_feather(table, str(data / "day=2" / "part-0.arrow"))
    text = lines_of(rows(range(3, 6)))
    (data / "day=2" / "part-1.jsonl.gz").write_bytes(gzip.compress(text.encode()))
    listed = json.dumps(rows(range(6, 8))).encode()
    (data / "part.v2.json.bz2").write_bytes(bz2.compress(listed))
    with (data / "last.csv").open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([["id", "text"], *([i, TEXTS[i]] for i in range(8, 12))])
    for name in ("_SUCCESS", ".last.csv.crc", "_temporary/half.csv"):
        (data / name).write_text("no shard", encoding="utf-8")
    (data / "day=1" / "empty.jsonl").touch()
    status, out, err = run("predict", classifier, "--data", data, "--output", tmp_path / "out")
    assert status == 0, err
    assert out.startswith(f"Written to {tmp_path / 'out'}: 6 of 6 shards, 15 answers; "), out
    assert files(tmp_path / "out") == [
        "day=1/part-0.parquet",
        "day=2/part-0.parquet",
        "day=2/part-1.jsonl",
        "last.csv",
        "part.v2.jsonl",
    ]
    for day in "day=1", "day=2":
        read = pyarrow.parquet.ParquetFile(tmp_path / "out" / day / "part-0.parquet").read()
        assert read.schema.field("id").type == pyarrow.int16()
        for number, row in enumerate(read.to_pylist()):
            same(row, number, expected)
    found = jsonl(tmp_path / "out/day=2/part-1.jsonl") + jsonl(tmp_path / "out/part.v2.jsonl")
    for number, row in enumerate(found, start=3):
        same(row, number, expected)
    with (tmp_path / "out" / "last.csv").open(encoding="utf-8", newline="") as file:
        for number, row in enumerate(csv.DictReader(file), start=8):
            scores = {key: float(row.pop(f"scores.{key}")) for key in ("bad", "good")}
            same({**row, "scores": scores}, number, expected)
    told = summary(tmp_path / "out")
    assert (told["shards"], told["answered"], told["empty"], told["answers"]) == (6, 5, 1, 15)
    assert not (tmp_path / "out" / "_bad").exists()


def test_bad_rows_lie_beside_with_their_place_and_reason(
    classifier: Path, expected: Any, tmp_path: Path, run: Any
) -> None:
    """And every other row of their shard is answered, in every form that tells rows apart."""
    good = lines_of(rows(range(2))).splitlines()
    lines = [
        good[0].encode(),
        b'{"id": 7, "text": "cut o',
        b'{"id": 8, "text": "caf\xe9"}',
        b"[1, 2]",
        b'{"id": 9, "text": {"a": 1}}',
        b'{"id": 10}',
        rb'{"id": 11, "text": "half \ud83d"}',
        b'{"id": 12, "text": null}',
        b'{"id": 13, "text": "a", "n": 1e400}',
        b"",
        good[1].encode(),
    ]
    data = tmp_path / "in"
    data.mkdir()
    (data / "a.jsonl").write_bytes(b"\n".join(lines) + b"\n")
    table = [b"id,text", b"0," + csv_text(0), b"1,two,three", b"2,caf\xe9", b"1," + csv_text(1)]
    (data / "b.csv").write_bytes(b"\n".join(table) + b"\n")
    wrong = ['{"id": 1', '{"id": 2, "text": [7]}', "\n"]
    (data / "c.jsonl").write_text("\n".join(wrong), encoding="utf-8")
    status, out, err = run("predict", classifier, "--data", data, "--output", tmp_path / "out")
    assert status == 0, err
    bad = tmp_path / "out" / "_bad"
    assert f"3 of 3 shards, 4 answers, 12 bad rows in {bad}" in out
    for number, row in enumerate(jsonl(tmp_path / "out" / "a.jsonl")):
        same(row, number, expected)
    with (tmp_path / "out" / "b.csv").open(encoding="utf-8", newline="") as file:
        assert [row["id"] for row in csv.DictReader(file)] == ["0", "1"]
    assert files(tmp_path / "out") == ["a.jsonl", "b.csv"]
    found = jsonl(bad / "a.jsonl.jsonl")
    assert {row["file"] for row in found} == {str(data / "a.jsonl")}
    assert [row["row"] for row in found] == [2, 3, 4, 5, 6, 7, 8, 9]
    byte = "a byte that isn't UTF-8, 0xe9; mend it, or name the file's encoding"
    reasons = ["expected one JSON", byte, "a JSON object", "must hold a text"]
    reasons += ["lacks 'text'", "half a character", "column 'text' has no text", "1e400"]
    for row, reason in zip(found, reasons, strict=True):
        assert reason in row["reason"]
    assert found[0]["given"] == lines[1].decode() and found[3]["given"]["text"] == {"a": 1}
    assert [(row["row"], row["given"]) for row in jsonl(bad / "b.csv.jsonl")] == [
        (3, ["1", "two", "three"]),
        (4, ["2", "caf\udce9"]),
    ]
    assert byte in jsonl(bad / "b.csv.jsonl")[1]["reason"]
    assert [row["row"] for row in jsonl(bad / "c.jsonl.jsonl")] == [1, 2]
    told = summary(tmp_path / "out")
    assert (told["bad_rows"], told["answered"], told["empty"]) == (12, 2, 1)
    # Of one file alone such a row is refused, as ever.
    assert run("predict", classifier, data / "a.jsonl")[0] == 2
    status, _, err = run(
        *("predict", classifier, "--data", data / "c.jsonl", "--output", tmp_path / "none")
    )
    assert status == 2 and "no row could be answered" in err and "Received: 2 rows" in err


def test_names_that_differ_between_shards_are_said_loudly(
    classifier: Path, tmp_path: Path, run: Any
) -> None:
    """A `label` that is the answer here and the truth there is none, once both are one table."""
    for name, label in (("a", {"label": "good"}), ("b", {})):
        given = lines_of([{**row, **label} for row in rows(range(2))])
        (tmp_path / f"{name}.jsonl").write_text(given, "utf-8")
    for pattern, warned in (("*.jsonl", True), ("a.jsonl", False), ("b.jsonl", False)):
        out = tmp_path / f"out{warned}{pattern[0].replace('*', 'x')}"
        shown = ["--data", str(tmp_path / pattern), "--output", str(out)]
        status, _, err = run("predict", str(classifier), *shown)
        assert (status, "WARNING: only some shards have" in err) == (0, warned)


def csv_text(number: int) -> bytes:
    return f'"{TEXTS[number]}"'.encode()


def three(folder: Path) -> list[Path]:
    folder.mkdir(exist_ok=True)
    paths = [folder / f"s-{i}.jsonl" for i in range(3)]
    for i, path in enumerate(paths):
        path.write_text(lines_of(rows(range(4 * i, 4 * i + 4))), encoding="utf-8")
    return paths


def test_the_same_command_goes_on_with_what_is_missing(
    classifier: Path, tmp_path: Path, run: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After a kill in the middle of a shard, and after a shard was changed or lost."""
    paths = three(tmp_path / "in")
    out = tmp_path / "out"
    words = ["predict", classifier, "--data", tmp_path / "in" / "s-*.jsonl", "--output", out]
    keep = running.Work._keep

    def killed(work: Any, shard: Any, *rest: Any) -> None:
        if shard.name == "s-1.jsonl":
            raise KeyboardInterrupt
        keep(work, shard, *rest)

    with monkeypatch.context() as patch:
        patch.setattr(running.Work, "_keep", killed)
        status, _, err = run(*words)
    assert status == 130 and "1 of 3 shards were answered; the same command goes on" in err
    # Its answers are whole, but nobody knows that of a shard without a record.
    assert (out / "s-1.jsonl").exists() and not (out / "_records" / "s-1.jsonl.json").exists()
    asked: list[str] = []
    answer = running.Work.answer

    def counted(work: Any, ask: Any, shard: Any) -> Any:
        asked.append(shard.name)
        return answer(work, ask, shard)

    monkeypatch.setattr(running.Work, "answer", counted)
    status, said, err = run(*words)
    assert (status, asked) == (0, ["s-1.jsonl", "s-2.jsonl"]), err
    assert "3 of 3 shards (1 done before), 12 answers" in said
    for i, path in enumerate(paths):
        assert [row["id"] for row in jsonl(out / path.name)] == list(range(4 * i, 4 * i + 4))
    asked.clear()
    assert run(*words)[0] == 0 and not asked
    # A shard that was changed, two whose answers have gone or are others, and one that is new.
    paths[0].write_text(lines_of(rows(range(7, 9))), encoding="utf-8")
    (out / "s-1.jsonl").unlink()
    (out / "s-2.jsonl").write_text("half", encoding="utf-8")
    (tmp_path / "in" / "s-3.jsonl").write_text(lines_of(rows(range(1))), encoding="utf-8")
    status, said, err = run(*words)
    assert (status, asked) == (0, [f"s-{i}.jsonl" for i in range(4)]), err
    assert f"{paths[0]} was changed: answered anew" in err
    assert [row["id"] for row in jsonl(out / "s-0.jsonl")] == [7, 8]
    assert not list(out.rglob("*.partial-*")) and not (out / ".tfhub-transfer.lock").exists()
    asked.clear()
    # What is moved as it was is done.
    (tmp_path / "in").rename(tmp_path / "moved")
    words[3] = tmp_path / "moved"
    assert run(*words)[0] == 0 and not asked


def test_a_glossary_is_told_by_its_bytes(
    classifier: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same command goes on, whatever form its terms have in the JSON that is kept of it."""
    told: list[dict[str, Any]] = []
    monkeypatch.setattr(running, "answer", lambda work, about, inputs: told.append(about))
    terms = tmp_path / "terms.csv"
    for text in ("source,target\nfilm,Streifen\n", "source,target\nfilm,Film\n"):
        terms.write_text(text, "utf-8")
        given = {"data": "in", "output": tmp_path / "out", "glossary": str(terms)}
        predicting.answer(PredictJob(classifier, **given))
    assert [own["glossary"] for own in told] == [str(terms)] * 2
    assert told[0] == json.loads(json.dumps(told[0])) and told[0] != told[1]
    output = records.Output(tmp_path / "out")
    job = {"columns": ("a", "b")}
    with output.held(job, [], overwrite=False):
        pass
    output.check(job, [], False, [])
    with pytest.raises(tt.InputError, match="other values of columns"):
        output.check({"columns": ("a",)}, [], False, [])


def test_other_options_another_model_or_other_shards_are_refused(
    classifier: Path, tmp_path: Path, run: Any
) -> None:
    """Answers of two kinds in one folder could not be told apart; `--overwrite` begins anew."""
    three(tmp_path / "in")
    out = tmp_path / "out"
    words = ["predict", classifier, "--data", tmp_path / "in", "--output", out]
    assert run(*words)[0] == 0
    before = (out / "s-2.jsonl").read_bytes()
    status, _, err = run(*words, "--form", "csv")
    assert status == 2 and "begun with other values of form; name another folder" in err
    other = tmp_path / "other.keras"
    model = tt.load_model(classifier)
    model.set_weights([weight + 1 for weight in model.get_weights()])
    model.save(other)
    status, _, err = run("predict", other, *words[2:])
    assert status == 2 and "other values of model" in err
    status, _, err = run("encode", classifier, *words[2:])
    assert status == 2 and "other values of command" in err
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "s-0.jsonl").write_text(lines_of(rows(range(1))), encoding="utf-8")
    status, _, err = run(*words[:3], tmp_path / "elsewhere", *words[4:])
    assert status == 2 and "s-0.jsonl in the output is of another shard" in err
    assert (out / "s-2.jsonl").read_bytes() == before
    (out / "s-3.csv").write_text("mine", encoding="utf-8")
    (tmp_path / "in" / "s-3.csv").write_text("id,text\n1,a\n", encoding="utf-8")
    status, _, err = run(*words)
    assert status == 2 and "a file that this package didn't write" in err
    (out / "s-3.csv").unlink()
    (tmp_path / "in" / "s-3.csv").unlink()
    (tmp_path / "in" / "s-1.jsonl").unlink()
    assert run(*words, "--form", "csv", "--overwrite")[0] == 0
    assert files(out) == ["s-0.csv", "s-2.csv"]  # nothing of what was there is left
    (out / "mine.txt").write_text("mine", encoding="utf-8")
    status, _, err = run(*words, "--overwrite")
    assert status == 2 and "mine.txt" in err and (out / "s-0.csv").exists()


def test_a_shard_that_cannot_be_read_ends_no_other(
    classifier: Path, tmp_path: Path, run: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its reason is said, the status is that of a mistake, and mended it is gone on with."""
    paths = three(tmp_path / "in")
    whole = gzip.compress(lines_of(rows(range(4, 8))).encode())
    broken = tmp_path / "in" / "s-1.jsonl.gz"
    paths[1].unlink()
    broken.write_bytes(whole[:-12])
    (tmp_path / "in" / "s-4.csv").write_text("id,words\n1,a\n", encoding="utf-8")
    (tmp_path / "in" / "s-5.parquet").write_bytes(b"PAR1 and no more")
    # Of arrays and of tables in one object nobody could tell the row.
    (tmp_path / "in" / "s-6.json").write_bytes(b'[{"text": "a"}, {"text": "b", "c": "\xe9"}]')
    (tmp_path / "in" / "s-7.json").write_bytes(b'{"data": [{"text": "b", "c": "\xe9"}, {}]}')
    words = ["predict", classifier, "--data", tmp_path / "in", "--output", tmp_path / "out"]
    status, said, err = run(*words)
    assert status == 2 and "2 of 7 shards, 8 answers" in said
    assert "s-4.csv has no column 'text'" in err and "not a Parquet file" in err
    assert "error: 5 of 7 shards couldn't be read; mend them and give the same command" in err
    assert files(tmp_path / "out") == ["s-0.jsonl", "s-2.jsonl"]
    broken_too = ["s-4.csv", "s-5.parquet", "s-6.jsonl", "s-7.jsonl"]
    assert sorted(summary(tmp_path / "out")["failed"]) == ["s-1.jsonl", *broken_too]
    [line] = jsonl(tmp_path / "out" / "_bad" / "s-4.csv.jsonl")
    assert line["row"] is None and line["file"] == str(tmp_path / "in" / "s-4.csv")
    # It may have been the disk: the same files are gone through again.
    asked: list[str] = []
    answer = running.Work.answer
    monkeypatch.setattr(
        running.Work, "answer", lambda *given: asked.append(given[2].name) or answer(*given)
    )
    assert run(*words)[0] == 2 and asked == ["s-1.jsonl", *broken_too]
    broken.write_bytes(whole)
    for path in (tmp_path / "in").glob("s-[4-7].*"):
        path.unlink()
    status, said, err = run(*words)
    assert status == 0 and "3 of 3 shards (2 done before), 12 answers" in said, err
    assert [row["id"] for row in jsonl(tmp_path / "out" / "s-1.jsonl")] == [4, 5, 6, 7]
    assert not (tmp_path / "out" / "_bad" / "s-1.jsonl.jsonl").exists()


def test_vectors_stand_beside_the_columns_too(
    text_encoder: Path, tmp_path: Path, run: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In Parquet as float32 of their width, whatever the shards are; bad rows lie beside."""
    monkeypatch.setattr(asking, "CHUNK", 3)
    vectors = tt.encode_text(str(text_encoder), TEXTS, normalize=True)
    lines = [*lines_of(rows(range(12))).splitlines(), '{"id": 1, "text": []}']
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.jsonl").write_text("\n".join(lines), encoding="utf-8")
    (tmp_path / "in" / "b.txt").write_text("\n".join(TEXTS[:2]), encoding="utf-8")
    words = ["encode", text_encoder, "--data", tmp_path / "in", "--normalize", "--output"]
    status, out, err = run(*words, tmp_path / "out")
    assert status == 0 and "2 of 2 shards, 14 answers, 1 bad row in" in out, err
    read = pyarrow.parquet.read_table(tmp_path / "out" / "a.parquet")
    assert read.schema.field("embedding").type == pyarrow.list_(pyarrow.float32(), 8)
    assert read.column_names == ["id", "text", "embedding"]
    np.testing.assert_allclose(np.array(read["embedding"].to_pylist()), vectors, atol=1e-6)
    status, _, err = run(*words, tmp_path / "lines", "--form", "jsonl")
    assert status == 0, err
    found = jsonl(tmp_path / "lines" / "b.jsonl")
    assert [row["text"] for row in found] == TEXTS[:2]
    np.testing.assert_allclose([row["embedding"] for row in found], vectors[:2], atol=1e-6)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (["--data", "nothing-*.csv"], "there is no shard; expected files"),
        (["--data", "none.csv"], "no such shard; expected a file, a folder, or a pattern"),
        (["--data", "-"], "no such shard"),
        (["--data", "hidden"], "there is no shard"),
        (["--data", "in/readme.md"], "the name of a shard tells no form that is read"),
        (["--data", "in/a.csv*"], "answers of two shards would both be a.csv"),
        (["--data", "spark"], "would be the file a.csv, in which others are to lie"),
        (["--data", "long"], "has more than 231 bytes"),
        (["--data", "in/a.csv", "deep/a.csv"], "put patterns in quotes. Received: deep/a.csv"),
        (["--data", "."], "would lie among the shards that . stands for"),
        (["--data", "*"], "would lie among the shards"),
        (["--data", "**/*.csv"], "would lie among the shards"),
        (["--data", "delta"], "a table of Delta Lake"),
        (["--data", "saved"], "'saved/*.arrow'"),
        (["in/a.csv", "--data", "deep"], "shards stand in the place of a file"),
        (["--data", "deep", "--runner-options=--x"], "give `--runner beam`, too"),
        (["in/a.csv", "--runner", "beam"], "`--runner` is for shards; name these with `--data`"),
        (["in/a.csv", "--form", "csv"], "`--form` is for shards"),
    ],
)
def test_what_is_refused_before_any_work(
    given: list[str], said: str, tmp_path: Path, run: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("in", "deep", "hidden/_x", "delta/_delta_log", "saved", "spark/a.csv", "long"):
        Path(name).mkdir(parents=True)
    for name in ("in/a.csv", "deep/a.csv", "delta/a.csv", "saved/data.csv", "in/readme.md"):
        Path(name).write_text("text\na\n", encoding="utf-8")
    Path("in/a.csv.gz").write_bytes(gzip.compress(b"text\na\n"))
    # As Spark calls a folder, beside an older file that was packed.
    Path("spark/a.csv/part-0.csv").write_text("text\na\n", encoding="utf-8")
    Path("spark/a.csv.gz").write_bytes(gzip.compress(b"text\na\n"))
    Path("long", f"{'é' * 114}.csv").write_text("text\na\n", encoding="utf-8")
    Path("saved/state.json").write_text("{}", encoding="utf-8")
    Path("hidden/_x/a.csv").write_text("text\na\n", encoding="utf-8")
    Path("model.keras").touch()
    status, _, err = run("predict", "model.keras", *given, "--output", "out")
    assert status == 2 and said in err and err.count("\n") == 1, err
    assert not Path("out").exists()


def test_names_are_told_by_what_a_pattern_fixes(tmp_path: Path) -> None:
    """However many shards there are; a link to a folder is a way, but not around in a circle."""
    for name in ("a/x.csv", "b/x.csv", "b/c/y.csv"):
        (tmp_path / "in" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "in" / name).write_text("text\na\n", encoding="utf-8")
    (tmp_path / "in" / "b" / "round").symlink_to(tmp_path / "in")
    (tmp_path / "far").mkdir()
    (tmp_path / "far" / "z.csv").write_text("text\na\n", encoding="utf-8")
    (tmp_path / "in" / "far").symlink_to(tmp_path / "far")

    def names(word: str, form: str | None = None) -> list[str]:
        found = finding.find(str(tmp_path / word), tmp_path / "out", form)
        return [shard.name for shard in found]

    assert names("in") == ["a/x.csv", "b/c/y.csv", "b/x.csv", "far/z.csv"]
    assert names("in/*/x.csv") == ["a/x.csv", "b/x.csv"]
    assert names("in/[b]/*.csv", form="jsonl") == ["b/x.jsonl"]
    assert names("in/**/y.csv") == ["b/c/y.csv"]
    assert names("in/a/x.csv") == ["x.csv"]
    os.symlink(tmp_path / "in", tmp_path / "link")
    with pytest.raises(tt.InputError, match="the output must lie apart from what is read"):
        finding.find(str(tmp_path / "link" / "a" / "x.csv"), tmp_path / "in")


def test_two_at_once_and_a_full_disk(
    classifier: Path, tmp_path: Path, run: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither is taken for a shard that can't be read."""
    three(tmp_path / "in")
    words = ["predict", classifier, "--data", tmp_path / "in", "--output", tmp_path / "out"]
    found = finding.find(str(tmp_path / "in"), tmp_path / "out")
    output = records.Output(tmp_path / "out")
    with output.held({}, found, False):
        status, _, err = run(*words)
        assert status == 2 and "other values of" in err
        with pytest.raises(tt.InputError, match="another process writes there at this moment"):
            output.held({}, found, False).__enter__()
    shutil.rmtree(tmp_path / "out")

    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(writing, "_json_lines", full)
    monkeypatch.setitem(writing._WRITERS, ".jsonl", full)
    status, _, err = run(*words)
    assert status == 2 and "the file can't be written" in err and "No space left" in err
    assert not (tmp_path / "out" / "_records").exists()


def test_beam_is_asked_for_by_name(
    classifier: Path, tmp_path: Path, run: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    find_spec: Callable[..., Any] = beam.importlib.util.find_spec
    monkeypatch.setattr(
        beam.importlib.util,
        "find_spec",
        lambda name, *rest: None if name == "apache_beam" else find_spec(name, *rest),
    )
    three(tmp_path / "in")
    words = ["predict", classifier, "--data", tmp_path / "in", "--output", tmp_path / "out"]
    status, _, err = run(*words, "--runner", "beam")
    assert (
        status == 2 and "Apache Beam isn't installed: `pip install 'tfhub-transfer[beam]'`" in err
    )
    assert not (tmp_path / "out").exists()


TWO = "--direct_running_mode multi_processing --direct_num_workers 2"


@pytest.mark.slow
@pytest.mark.parametrize(
    "words", [(), pytest.param((f"--runner-options={TWO}",), marks=pytest.mark.exhaustive)]
)
def test_beam_writes_the_same_files(
    words: tuple[str, ...], classifier: Path, tmp_path: Path, run: Any
) -> None:
    """To the byte, bad rows and records too; and goes on, as the other way does."""
    pytest.importorskip("apache_beam", reason="the extra [beam] isn't installed")
    three(tmp_path / "in")
    with (tmp_path / "in" / "s-1.jsonl").open("a", encoding="utf-8") as file:
        file.write('{"id": 3\n')
    (tmp_path / "in" / "s-3.csv").write_text("id,words\n1,a\n", encoding="utf-8")
    given = ["predict", classifier, "--data", tmp_path / "in", "--output"]
    assert run(*given, tmp_path / "local")[0] == 2
    by_beam = [*given, tmp_path / "beam", "--runner", "beam", *words]
    status, out, err = run(*by_beam)
    assert status == 2 and "3 of 4 shards, 12 answers, 1 bad row in" in out
    assert "answers: 12\n" in err and "bad_rows: 1\n" in err and "failed_shards: 1\n" in err
    names = [*files(tmp_path / "local"), "_bad/s-1.jsonl.jsonl", "_bad/s-3.csv.jsonl"]
    assert files(tmp_path / "beam") == files(tmp_path / "local")
    for name in names:
        assert (tmp_path / "beam" / name).read_bytes() == (tmp_path / "local" / name).read_bytes()
    (tmp_path / "in" / "s-3.csv").write_text("id,text\n1,a\n", encoding="utf-8")
    before = (tmp_path / "beam" / "s-0.jsonl").stat().st_mtime_ns
    status, out, err = run(*by_beam)
    assert status == 0 and "4 of 4 shards (3 done before), 13 answers, 1 bad row in" in out, err
    assert "answers: 1\n" in err
    assert (tmp_path / "beam" / "s-0.jsonl").stat().st_mtime_ns == before


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("--no_such_option 3", "Beam has no such option. Received: --no_such_option in"),
        ("--direct_running_mode multi_threading", "threads would wait for one another"),
        ('--project "x', "the runner's options can't be read: No closing quotation"),
    ],
)
def test_options_of_beam_are_read_before_any_work(words: str, said: str) -> None:
    pytest.importorskip("apache_beam", reason="the extra [beam] isn't installed")
    with pytest.raises(tt.InputError, match=said):
        beam.check(words)
