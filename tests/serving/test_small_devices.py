"""Exports that read ids: LiteRT's and ONNX's, and the tokenizer in plain Python beside them."""

import contextlib
import importlib
import json
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import hostile
import keras
import numpy as np
import pytest
import samples
import tensorflow as tf
from saved_model_factory import VOCABULARY

import tfhub_transfer as tt
from tfhub_transfer.encoders import hub_format
from tfhub_transfer.graphs import portable
from tfhub_transfer.jobs.exports import small_devices
from tfhub_transfer.serving import elsewhere, litert, onnx_files, side_files
from tfhub_transfer.serving.wordpiece import Tokenizer
from tfhub_transfer.tasks import Classification, Head
from tfhub_transfer.texts.joining import join_words

HOSTILE = [
    *("", " ", "the film wasn't good!", "good " * 60, "x" * 101, "х" * 120, "漢字とかな 한국어"),
    *(
        "ÀÉÎ ñandú İstanbul ΟΔΟΣ ΟΔΟΣ.",
        "🙂🙃 good\u200dfilm \ufe0f",
        "a\u00a0b\u3000c\u2028d\u0085e",
    ),
    *("\x00\x0b\x1f\ufffdfilm\u00ad", "$5+5=`10`|~^<>", "[CLS] good [SEP]", "ﬁlm ß ǅ ẞ", "नमस्ते דּ"),
]


def hostile_texts() -> list[str]:
    return [*HOSTILE, *hostile.texts(300)]


@pytest.mark.parametrize("lower_case", [True, False])
@pytest.mark.parametrize("strip_accents", [True, False])
def test_plain_python_finds_the_word_pieces_that_the_model_finds(
    lower_case: bool, strip_accents: bool, tmp_path: Path
) -> None:
    pieces = [*VOCABULARY, *"éñσς漢🙂ßﬁ", "##σ", "##ς", "##é", "##\u0301", "i\u0307"]
    file = tmp_path / "vocab.txt"
    file.write_text("\n".join(pieces) + "\n", encoding="utf-8")
    texts = hostile_texts()
    expected = hub_format.WordPieces(file, lower_case, strip_accents).ids(tf.constant(texts))
    made = Tokenizer(pieces, 32, lower_case, strip_accents)
    found = [made.ids(text) for text in texts]
    assert found == expected.merge_dims(1, 2).to_list()


@pytest.fixture(scope="module")
def model(bert_encoder: Path) -> tt.TransferModel:
    return tt.build_model(str(bert_encoder), Classification(["negative", "positive"]))


def plain_rows(model: tt.TransferModel, *columns: list[str]) -> list[dict[str, list]]:
    """What the model itself reads of each row, without padding."""
    layout = model.layout
    made = layout.encode_and_count([list(column) for column in columns])[0]
    return [{k: v[row].numpy().tolist() for k, v in made.items()} for row in range(len(columns[0]))]


def test_rows_are_packed_and_cut_as_the_model_does(
    model: tt.TransferModel, bert_encoder: Path
) -> None:
    texts = hostile_texts()[:40]
    found = side_files.tokenizer(model.preprocessor, model.layout.inputs(model.encoder))
    assert found is not None
    pairs = tt.build_model(str(bert_encoder), Classification(["a", "b"], pair=True))
    seconds = ["good film " * n for n in range(len(texts))]
    for columns, of in (([texts], model), ([texts, seconds], pairs)):
        for row, expected in enumerate(plain_rows(of, *columns)):
            made = found.inputs(*(column[row] for column in columns))
            for name, ids in expected.items():
                assert made[name] == [ids], (columns, row)
            assert made["input_mask"] == [[1] * len(made["input_word_ids"][0])]


def test_listed_words_are_placed_as_the_model_does(bert_encoder: Path) -> None:
    words = ["the", "films", "\u200d", "weren't", "good"]
    for name, before in (("token-classification", []), ("question-answering", ["was it good?"])):
        sample = samples.ROWS[name]
        made = tt.build_model(str(bert_encoder), sample.task())
        found = side_files.tokenizer(made.preprocessor, made.layout.inputs(made.encoder))
        assert found is not None
        [expected] = plain_rows(made, *([text] for text in before), [join_words(words)])
        ids = found.inputs(*before, words)
        for key, value in expected.items():
            assert ids[key] == [value], key
        with pytest.raises(ValueError, match="expected 1 to"):
            found.inputs(*before, words * 20)


def test_erf_is_that_of_tensorflow() -> None:
    x = tf.concat([tf.linspace(-6.0, 6.0, 2001), [0.0, -0.0, 30.0, -30.0]], axis=0)
    # A reciprocal of two roots has fewer digits.
    for form, most in ((portable.erf, 4e-7), (portable.erf_without_division, 2e-6)):
        np.testing.assert_allclose(form(x), tf.math.erf(x), atol=most)
    y = tf.constant([0.5, 3.0, 1e4])
    np.testing.assert_allclose(portable.quotient_without_division(2.0, y), 2.0 / y, rtol=1e-6)


def test_litert_answers_as_the_model_does(model: tt.TransferModel, tmp_path: Path) -> None:
    made = tt.export_litert(model, tmp_path)
    assert {"float32.tflite", "model.json", "wordpiece.py", "vocab.txt", "labels.txt"} <= {
        file.name for file in made.iterdir()
    }
    assert (made / "labels.txt").read_text("utf-8") == "negative\npositive\n"
    run = litert.load(made / "float32.tflite")
    tokenizer = Tokenizer.of(made / "model.json")
    with tt.runtime.precision("float32"):
        expected = model.predict_scores(HOSTILE)
        for text, scores in zip(HOSTILE, expected):
            ids = {k: np.array(v, np.int32) for k, v in tokenizer.inputs(text).items()}
            np.testing.assert_allclose(run(ids)["scores"][0], scores, atol=1e-5)
        with elsewhere.answering(model, run):
            np.testing.assert_allclose(model.predict_scores(HOSTILE), expected, atol=1e-5)
    said = json.loads((made / "model.json").read_text("utf-8"))
    assert said["tasks"][""]["output"] == "scores"
    assert said["tokenizer"]["sequence_length"] == model.preprocessor.sequence_length
    # What lies there is all that is needed, but for the interpreter.
    asked = "import wordpiece; print(wordpiece.Tokenizer.of('model.json').inputs('good film'))"
    done = subprocess.run(
        [sys.executable, "-S", "-c", asked], cwd=made, check=True, capture_output=True, text=True
    )
    assert done.stdout.strip() == str(tokenizer.inputs("good film"))


@pytest.mark.slow
def test_smaller_weights_answer_nearly_as_the_model_does(
    model: tt.TransferModel, tmp_path: Path
) -> None:
    texts = [text for text in HOSTILE if text.strip()]
    several = [*texts, *("a good film " * n for n in range(1, 9))]  # of many lengths
    made = tt.export_litert(model, tmp_path, "all", calibration=several)
    sizes = {}
    for name, most in (
        ("float32", 1e-5),
        ("float16", 1e-2),
        ("int8", 0.1),
        ("int8_calibrated", 0.2),
    ):
        file = made / f"{name}.tflite"
        sizes[name] = file.stat().st_size
        with tt.runtime.precision("float32"):
            expected = model.predict_scores(texts)
            with elsewhere.answering(model, litert.load(file)):
                found = model.predict_scores(texts)
        assert np.abs(found - expected).mean() < most, name
    # Of so few weights some operations more are more than what is saved.
    assert max(sizes["int8"], sizes["float16"]) < sizes["float32"]


def _scores(found: Any) -> list[np.ndarray]:
    if isinstance(found, dict):
        return [each for name in sorted(found) for each in _scores(found[name])]
    if isinstance(found, list):
        return [each for row in found for each in _scores(row)]
    return [np.asarray(found)]


@pytest.mark.slow
@pytest.mark.exhaustive
@pytest.mark.parametrize("name", samples.ROWS)
@pytest.mark.parametrize("form", ["litert", "onnx"])
def test_every_task_answers_as_the_model_does(
    name: str, form: str, bert_encoder: Path, tmp_path: Path
) -> None:
    if form == "onnx":
        pytest.importorskip("tf2onnx")
        pytest.importorskip("onnxruntime")
    sample = samples.ROWS[name]
    task = sample.task()
    head: Any = {part: Head(dropout=0.0) for part in task.tasks} if task.several else sample.head
    model = tt.build_model(str(bert_encoder), task, head=head)
    if any(part.search is not None for part in task.parts.values()):
        with pytest.raises(tt.InputError, match="would need a search for texts"):
            (tt.export_litert if form == "litert" else tt.export_onnx)(model, tmp_path)
        return
    asked = sample.asked
    if name == "extractive-summarization":
        asked = [text for text in asked if text.strip()]
    if form == "litert":
        run = litert.load(tt.export_litert(model, tmp_path) / "float32.tflite")
    else:
        run = onnx_files.load(tt.export_onnx(model, tmp_path) / onnx_files.FILE)
    with tt.runtime.precision("float32"):
        expected = _scores(model.predict_scores(asked))
        with elsewhere.answering(model, run):
            found = _scores(model.predict_scores(asked))
    assert len(found) == len(expected)
    for one, other in zip(found, expected):
        np.testing.assert_allclose(one, other, atol=1e-4)


@pytest.mark.slow
@pytest.mark.exhaustive
@pytest.mark.parametrize("block", ["cnn", "transformer", "bilstm"])
@pytest.mark.parametrize("form", ["litert", "onnx"])
def test_every_block_answers_as_the_model_does_or_is_refused(
    block: str, form: str, bert_encoder: Path, tmp_path: Path
) -> None:
    head = Head(dropout=0.0, block=block)
    model = tt.build_model(str(bert_encoder), Classification(["a", "b"]), head=head)
    if form == "onnx":
        pytest.importorskip("tf2onnx")
        pytest.importorskip("onnxruntime")
        run = onnx_files.load(tt.export_onnx(model, tmp_path) / onnx_files.FILE)
    elif block == "bilstm":
        with pytest.raises(tt.InputError, match="without loops"):
            tt.export_litert(model, tmp_path)
        return
    else:
        run = litert.load(tt.export_litert(model, tmp_path) / "float32.tflite")
    with tt.runtime.precision("float32"):
        expected = model.predict_scores(HOSTILE)
        with elsewhere.answering(model, run):
            np.testing.assert_allclose(model.predict_scores(HOSTILE), expected, atol=1e-5)


def test_what_reads_texts_is_refused(text_encoder: Path, tmp_path: Path) -> None:
    model = tt.build_model(str(text_encoder), Classification(["a", "b"]))
    for export in (tt.export_litert, tt.export_onnx):
        with pytest.raises(tt.InputError, match="reads ids, and this encoder texts"):
            export(model, tmp_path)
    assert not [*tmp_path.iterdir()]


def test_loops_and_odd_options_are_refused(
    model: tt.TransferModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(tt.InputError, match="`calibration`.*int8 or all"):
        tt.export_litert(model, tmp_path, calibration=["a"])
    with pytest.raises(tt.InputError, match="precision"):
        tt.export_litert(model, tmp_path, "bfloat16")

    def looped(*_: Any) -> None:
        raise litert.surgery.NotFlat("it holds the operation While")

    monkeypatch.setattr(litert.portable, "rewritten", looped)
    with pytest.raises(tt.InputError, match="without loops.*While"):
        tt.export_litert(model, tmp_path)
    assert not [*tmp_path.iterdir()]


def test_without_tf2onnx_the_extra_is_named(
    model: tt.TransferModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def absent(name: str) -> None:
        raise ImportError(f"No module named {name!r}")

    monkeypatch.setattr(importlib, "import_module", absent)
    with pytest.raises(tt.InputError, match=r"tfhub-transfer\[onnx\].*tf2onnx"):
        tt.export_onnx(model, tmp_path)


@pytest.mark.parametrize("lost", [0.5, 0.0])
def test_a_loss_of_more_than_a_point_is_said_loudly(
    lost: float, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    file = tmp_path / "int8.tflite"
    file.write_bytes(b"0" * 1_500_000)
    monkeypatch.setattr(small_devices.litert, "load", lambda file: None)
    monkeypatch.setattr(elsewhere, "answering", lambda model, run: contextlib.nullcontext(model))
    monkeypatch.setattr(small_devices, "_scores", lambda *_: {"": ("accuracy", 0.9 - lost)})
    small_devices._say(SimpleNamespace(), file, object(), {"": ("accuracy", 0.9)})  # type: ignore
    said = "".join(capsys.readouterr())
    assert f"int8.tflite: 1.5 MB, accuracy {0.9 - lost:.3f} (the model's 0.900)" in said
    assert ("WARNING: int8.tflite answers worse" in said) == (lost > 0)


@pytest.mark.slow
def test_converters_by_hand_take_the_model(model: tt.TransferModel, tmp_path: Path) -> None:
    ids = {name: np.asarray(value) for name, value in model.preprocessor(["a good film"]).items()}
    content = tf.lite.TFLiteConverter.from_keras_model(model).convert()
    (tmp_path / "by_hand.tflite").write_bytes(content)
    with pytest.warns(UserWarning, match="deprecated"):
        asked = tf.lite.Interpreter(str(tmp_path / "by_hand.tflite")).get_signature_runner()
    names = [tensor.name for tensor in model.inputs]
    given = dict(zip(sorted(asked.get_input_details()), (ids[name] for name in names)))
    with tt.runtime.precision("float32"):
        expected = model.predict_scores(["a good film"])
    [found] = asked(**given).values()
    np.testing.assert_allclose(found, expected, atol=2e-2)

    archive = keras.export.ExportArchive()
    archive.track(model)
    archive.track(model.preprocessor)
    archive.add_endpoint(
        "serve",
        lambda texts: model.answer(model.preprocessor(texts)),
        [tf.TensorSpec([None], tf.string)],
    )
    archive.write_out(tmp_path / "archive", verbose=False)
    served = tf.saved_model.load(tmp_path / "archive")
    found = served.serve(tf.constant(["a good film"]))
    np.testing.assert_allclose(found, expected, atol=2e-2)
