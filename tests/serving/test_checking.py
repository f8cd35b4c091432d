"""`check-export`: exports of every task answer as their models, and what doesn't is said."""

import shutil
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import samples
import tensorflow as tf

import tfhub_transfer as tt
from tfhub_transfer.serving import checking, replay, warm_up


@pytest.fixture(scope="module")
def model(bert_encoder: Path) -> tt.TransferModel:
    keras.utils.set_random_seed(1)
    task = tt.tasks.Classification(["bad", "good"])
    return tt.build_model(str(bert_encoder), task, sequence_length=24)


@pytest.fixture(scope="module")
def exported(model: tt.TransferModel, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tt.export_saved_model(model, tmp_path_factory.mktemp("serving"), "float32", top_k=1)


def session_checks(place: Path) -> list[tuple[bool, str]]:
    """What the process of the session loader would say, in this one."""
    return list(replay.check(place, replay.ByLoader))


def test_an_export_passes(model: tt.TransferModel, exported: Path, tmp_path: Path) -> None:
    (known,) = checking.prepare(exported.parent, model, tmp_path / "w")
    assert known.passed and "RegexSplitWithOffsets" in known.text
    found = session_checks(tmp_path / "w")
    assert all(passed for passed, _ in found)
    said = [text.partition(", numbers")[0] for _, text in found]
    assert said[1:] == [
        "session loader: odd texts: 3 requests answered as by the model",
        "session loader: warm-up: 20 requests answered as by the model",
    ]


def test_requests_are_read_as_they_were_written(tmp_path: Path) -> None:
    asked = [
        warm_up.Request("a", {"text": ["x", "", "é" * 300]}),
        warm_up.Request("words", {"tokens": [["b", ""], ["c", "d"]]}),
        warm_up.Request("b", {"x": ["s"] * 5, "y": ["s", "t", "", "", ""]}),
        warm_up.of_examples("c", warm_up.CLASSIFY, "inputs", ["text_a", "text_b"]),
    ]
    warm_up.write(tmp_path / "r", asked)
    for record, each in zip(replay.records_of(tmp_path / "r"), asked, strict=True):
        signature, found = replay.request(record)
        assert signature == each.signature and set(found) == set(each.inputs)
        for name, values in each.inputs.items():
            np.testing.assert_array_equal(
                found[name].astype(bytes),
                np.char.encode(values, "utf-8")
                if isinstance(values[0], (str, list))
                else np.array(values),
            )


@pytest.mark.parametrize(
    "edit", [lambda b: b[:-7], lambda b: b[:60] + b"\xff" + b[61:], lambda b: b"\xff" * 50]
)
def test_damaged_requests_are_a_check_that_fails(
    edit: Any, model: tt.TransferModel, exported: Path, tmp_path: Path
) -> None:
    """A server would not load the version."""
    shutil.copytree(exported, tmp_path / "1")
    file = tmp_path / "1" / warm_up.FILE
    file.write_bytes(edit(file.read_bytes()))
    _, found = checking.prepare(tmp_path / "1", model, tmp_path / "w")
    assert not found.passed and found.text.startswith("warm-up: the requests are damaged")
    assert not (tmp_path / "w" / "warm-up.records").exists()


def test_an_export_without_the_models_signatures_is_refused(
    model: tt.TransferModel, tmp_path: Path
) -> None:
    tf.saved_model.save(tf.Module(), str(tmp_path / "1"))
    with pytest.raises(tt.InputError, match="isn't of this model.*no signature"):
        checking.prepare(tmp_path / "1", model, tmp_path / "w")


def test_another_models_answers_are_noticed(
    model: tt.TransferModel, exported: Path, bert_encoder: Path, tmp_path: Path
) -> None:
    keras.utils.set_random_seed(2)
    other = tt.build_model(str(bert_encoder), model.task, sequence_length=24)
    checking.prepare(exported, other, tmp_path / "w")
    found = session_checks(tmp_path / "w")
    assert [passed for passed, _ in found] == [True, False, False]
    assert "request 2, serving_default: scores differs by" in found[1][1]
    with pytest.raises(tt.InputError, match="isn't of this model.*'serving_default'"):
        parts = {
            "a": tt.tasks.Classification(["x", "y"]),
            "b": tt.tasks.Regression(mean=0.0, deviation=1.0),
        }
        several = tt.build_model(str(bert_encoder), parts)
        checking.prepare(exported, several, tmp_path / "v")


LABELS = np.array([b"x"])


def test_what_does_not_load_or_answer_is_said(
    model: tt.TransferModel, exported: Path, tmp_path: Path
) -> None:
    checking.prepare(exported, model, tmp_path / "w")
    (tmp_path / "w" / "warm-up.records").write_bytes(b"")
    asked = [warm_up.Request("encode", {"other": ["x"]})]
    warm_up.write(tmp_path / "w" / "odd texts.records", asked)
    (_, (odd, why), empty) = session_checks(tmp_path / "w")
    assert not odd and "odd texts: request 1 isn't answered (" in why
    assert empty == (False, "session loader: warm-up: there are none")
    shutil.rmtree(tmp_path / "w" / "version" / "variables")
    ((loaded, why),) = session_checks(tmp_path / "w")
    assert not loaded and why.startswith("session loader: doesn't load (")


@pytest.mark.parametrize(
    ("found", "said"),
    [
        ({"a": np.zeros(2, np.float32)}, r"gives \['a'\], not \['a', 'b'\]"),
        ({"a": np.zeros(3, np.float32), "b": np.array([b"x", b"y"], object)}, "a is .3,., not .2,"),
        ({"a": np.array([0, 0.1]), "b": np.array([b"x", b"y"], object)}, "a differs by 0.1"),
        ({"a": np.array([0, np.nan]), "b": np.array([b"x", b"y"], object)}, "a differs by nan"),
        ({"a": np.zeros(2), "b": np.array([b"x", b"yes"], object)}, "b is b'yes', not b'y'"),
    ],
)
def test_what_differs_is_said(found: dict[str, Any], said: str) -> None:
    wanted = {"a": np.zeros(2, np.float32), "b": np.array([b"x", b"y"])}
    good = {"a": np.full(2, 1e-5), "b": np.array([b"x", b"y"], object)}
    assert replay.difference(good, wanted, 1e-4) == pytest.approx(1e-5)
    with pytest.raises(ValueError, match=said):
        replay.difference(found, wanted, 1e-4)


def test_rounding_is_measured_by_how_large_an_outputs_numbers_are() -> None:
    """A small margin is the difference of large logits, as those of other texts show."""
    expected = {"1/margin": np.array([0.2, -8]), "2/margin": np.array([0.1]), "2/label": LABELS}
    of = replay.sizes(expected)
    assert of == {"margin": 8}
    wanted, found = {"margin": np.array([0.1])}, {"margin": np.array([0.5])}
    assert replay.difference(found, wanted, 0.1, of) == pytest.approx(0.05)
    with pytest.raises(ValueError, match="margin differs by 0.4"):
        replay.difference(found, wanted, 0.1)
    with pytest.raises(ValueError, match="margin differs by 0.11"):
        replay.difference({"margin": np.array([1.0])}, wanted, 0.1, of)
    assert replay.sizes({"1/score": np.array([0.2])}) == {"score": 1}


def test_with_few_digits_few_labels_may_differ() -> None:
    labels = np.array([b"a"] * 40)
    found = labels.astype(object)
    found[:2] = b"b"
    assert replay.difference({"l": found}, {"l": labels}, 0.1) == 0
    for most, count in ((0.1, 3), (1e-4, 1)):
        found = labels.astype(object)
        found[:count] = b"b"
        with pytest.raises(ValueError, match="l is"):
            replay.difference({"l": found}, {"l": labels}, most)


def test_with_few_digits_one_text_may_have_the_other_of_two_answers() -> None:
    """A request may hold one text alone, many times: what each answer is worth is alike."""
    batch = {"question": np.array([b"q"] * 4, object), "context": np.array([*b"xxyy"], object)}
    texts = replay._texts(batch)
    assert texts[0] == texts[1] != texts[2] == texts[3]
    wanted = {"answer": np.array([b"a"] * 4), "score": np.full(4, 0.5)}

    def compared(answers: list[bytes], worth: float = 0.51, most: float = 0.1) -> float:
        found = {"answer": np.array(answers, object), "score": np.full(4, worth)}
        return replay.difference(found, wanted, most, None, texts)

    assert compared([b"b", b"b", b"a", b"a"]) == pytest.approx(0.01)
    for given in (([b"b", b"a", b"b", b"a"],), ([b"b", b"b", b"a", b"a"], 0.5, 1e-4)):
        with pytest.raises(ValueError, match="answer is b'b', not b'a'"):
            compared(*given)
    with pytest.raises(ValueError, match="score differs by 0.2"):
        compared([b"b", b"b", b"a", b"a"], 0.7)


@pytest.mark.slow
@pytest.mark.exhaustive
def test_questions_in_int8_pass(tmp_path: Path) -> None:
    """Of a head that knows nothing the best span of one word, many times, is anyone's."""
    keras.utils.set_random_seed(1)
    model = tt.build_model("auto", tt.tasks.QuestionAnswering())
    version = tt.export_saved_model(model, tmp_path / "serving", "int8")
    checking.prepare(version, model, tmp_path / "w")
    found = session_checks(tmp_path / "w")
    assert len(found) == 3 and all(passed for passed, _ in found), found


def _expects_what_is_predicted(model: tt.TransferModel, place: Path) -> None:
    """Odd texts are written as `predict_text` writes them, so the export is, too."""
    expected = np.load(place / f"{checking.ODD}.npz")
    (key,) = [key for key in expected if key.endswith("/text")]
    wanted = [text.decode("utf-8") for text in expected[key].tolist()]
    texts = list(checking.ODD_TEXTS)
    assert [each["text"] for each in model.predict_text(texts)] == wanted


# Each signature takes a second to optimize.
QUICK = ("classification", "question-answering")
# Loops, and strings that are made.
WRITTEN = ("translation", "dialogue")
REST = [name for name in samples.ROWS if name not in (*QUICK, *WRITTEN)]


@pytest.mark.slow
@pytest.mark.parametrize(
    "rows", [QUICK, *(pytest.param(each, marks=pytest.mark.exhaustive) for each in (WRITTEN, REST))]
)
def test_tasks_pass_in_fresh_processes(rows: list[str], bert_encoder: Path, tmp_path: Path) -> None:
    """By the C interface; by the session loader one, as `test_doors.py` has all of them."""
    places = []
    for name in rows:
        keras.utils.set_random_seed(3)
        sample = samples.ROWS[name]
        model = tt.build_model(str(bert_encoder), sample.task(), sample.head)
        version = tt.export_saved_model(model, tmp_path / f"{name} serving", "float32")
        places.append(tmp_path / name)
        assert all(c.passed for c in checking.prepare(version, model, places[-1])), name
        if name in WRITTEN:
            _expects_what_is_predicted(model, places[-1])
        # What is asked is a copy elsewhere.
        shutil.rmtree(version.parent)
    ways = {"C interface": (checking.NATIVE, places)}
    ways |= {"session loader": (checking.SESSION, places[1:2])}
    for called, (how, asked) in ways.items():
        found = list(checking.run(asked, [how]))
        failed = [f"{each.folder.name}: {each.text}" for each in found if not each.passed]
        assert not failed, "\n".join(failed)
        starts = ("loads in", "odd texts: ", "warm-up: ", "without this package")
        for place in asked:
            said = [each.text for each in found if each.folder == place]
            assert [text.partition(": ")[0] for text in said] == [called] * 4
            assert all(f": {start}" in text for text, start in zip(said, starts, strict=True))


def test_by_command(
    model: tt.TransferModel,
    exported: Path,
    bert_encoder: Path,
    tmp_path: Path,
    run: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """In this process; `test_every_task_passes_in_fresh_processes` has others."""

    def here(places: list[Path], *_: Any) -> Any:
        return (checking.Check(p, *each) for p in places for each in session_checks(p))

    monkeypatch.setattr(checking, "run", here)
    model.save(tmp_path / "model.keras")
    other_weights = tmp_path / "other.keras"
    tt.build_model(str(bert_encoder), model.task, sequence_length=24).save(other_weights)
    status, out, err = run("check-export", exported, "--model", tmp_path / "model.keras")
    assert status == 0 and not err
    assert [line[:7] for line in out.splitlines()] == ["ok     "] * 4
    status, out, err = run("check-export", exported, "--model", other_weights)
    assert status == 1 and "FAILED session loader: odd texts: request" in out
    assert err == "tfhub-transfer: error: 2 of 4 checks failed\n"
    status, _, err = run("check-export", exported)
    assert status == 2 and "name that with `--model`" in err
    status, _, err = run("check-export", tmp_path, "--model", tmp_path / "model.keras")
    assert status == 2 and "no exported model there" in err
