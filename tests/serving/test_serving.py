"""Exports answer plain strings, equal to `predict_text`, wherever they are loaded."""

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

import tfhub_transfer as tt
from tfhub_transfer.serving import side_files
from tfhub_transfer.serving.served import newest
from tfhub_transfer.tasks import Classification, MultiLabel, Regression

TEXTS = ["a good film", "", "the worst movie 🙂", "good " * 60]


@pytest.fixture(scope="module")
def model(bert_encoder: Path) -> tt.TransferModel:
    return tt.build_model(str(bert_encoder), Classification(["negative", "positive"]))


@pytest.fixture(scope="module")
def exported(model: tt.TransferModel, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tt.export_saved_model(model, tmp_path_factory.mktemp("serving"))


@pytest.mark.slow
def test_versions_count_up_and_nothing_else_is_left(
    model: tt.TransferModel, tmp_path: Path
) -> None:
    assert tt.export_saved_model(model, tmp_path).name == "1"
    (tmp_path / "7").mkdir()
    assert tt.export_saved_model(model, tmp_path).name == "8"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["1", "7", "8"]
    assert tt.load_saved_model(tmp_path).folder.name == "8"


def test_a_failed_export_leaves_nothing(
    model: tt.TransferModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*args: Any, **kwargs: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(tf.saved_model, "save", full)
    with pytest.raises(tt.InputError, match="the export failed.*No space left"):
        tt.export_saved_model(model, tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_answers_equal_predict_text(model: tt.TransferModel, exported: Path) -> None:
    served = tt.load_saved_model(exported.parent)
    answers = served.predict(TEXTS)
    expected = model.predict_text(TEXTS)
    for row, answer in enumerate(expected):
        np.testing.assert_allclose(
            answers["scores"][row], list(answer["scores"].values()), atol=1e-5
        )
        assert answers["label"][row].decode() == answer["label"]
        assert answers["label_id"][row] == ["negative", "positive"].index(answer["label"])
        one = served.predict([TEXTS[row]])
        np.testing.assert_allclose(one["scores"][0], answers["scores"][row], atol=1e-5)
    np.testing.assert_allclose(served.encode(TEXTS), model.encode_text(TEXTS), atol=1e-5)
    vectors = served.predict(TEXTS, signature="encode")["embedding"]
    np.testing.assert_array_equal(vectors, served.encode(TEXTS))
    for name in ("words", "other"):
        with pytest.raises(tt.InputError, match="answers encode, serving_default; name one"):
            served.predict(TEXTS, signature=name)


def test_many_texts_of_any_length_are_answered_in_their_order(
    model: tt.TransferModel, exported: Path
) -> None:
    served = tt.load_saved_model(exported.parent)
    texts = [" ".join(["good"] * (7 * i % 23) + ["film"] * (i % 5) + [str(i)]) for i in range(50)]
    expected = model.predict_scores(texts)
    for batch_size in (4, 64):
        scores = served.predict(texts, batch_size)["scores"]
        np.testing.assert_allclose(scores, expected, atol=1e-5)
    assert len(served.predict([])["scores"]) == 0
    with pytest.raises(tt.InputError, match="batch_size"):
        served.predict(texts, 0)


def test_assets_hold_labels_and_vocabulary(exported: Path) -> None:
    assets = {p.name for p in (exported / "assets").iterdir()}
    assert {"labels.txt", "vocab.txt"} <= assets
    lines = (exported / "assets" / "labels.txt").read_text(encoding="utf-8").splitlines()
    assert lines == ["negative", "positive"]


def test_a_name_of_a_class_is_one_line(tmp_path: Path) -> None:
    names = ["a\nb", "c\u2028d", "e\x85", "naïve 🙂", "\r"]
    side_files.write_lines(tmp_path / "labels.txt", names)
    lines = (tmp_path / "labels.txt").read_text(encoding="utf-8").splitlines()
    assert lines == ["a\\nb", "c\\u2028d", "e\\x85", "naïve 🙂", "\\r"]


def test_versions_are_what_servers_take_for_numbers(tmp_path: Path) -> None:
    for name in ("9", "10", "²", "１１"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "saved_model.pb").touch()
    assert newest(tmp_path).name == "10"


SESSION = """
import json, sys
import tensorflow as tf, tensorflow_text
folder, texts = sys.argv[1], json.loads(sys.argv[2])
loaded = tf.saved_model.load(folder)
eager = loaded.signatures["serving_default"](text=tf.constant(texts))["scores"].numpy().tolist()
with tf.Graph().as_default(), tf.compat.v1.Session() as session:
    meta = tf.compat.v1.saved_model.loader.load(session, ["serve"], folder)
    signature = meta.signature_def["serving_default"]
    feed = {signature.inputs["text"].name: texts}
    fetch = {k: v.name for k, v in signature.outputs.items()}
    found = session.run(fetch, feed)
    encode = meta.signature_def["encode"]
    vectors = session.run(encode.outputs["embedding"].name, {encode.inputs["text"].name: texts})
assert not any(m.startswith("tfhub_transfer") for m in sys.modules)
print(json.dumps([eager, found["scores"].tolist(), [x.decode() for x in found["label"]],
                  vectors.tolist()]))
"""


@pytest.mark.slow
def test_loads_in_a_fresh_process_from_a_moved_folder_and_by_session(
    model: tt.TransferModel, exported: Path, tmp_path: Path
) -> None:
    moved = tmp_path / "moved"
    shutil.copytree(exported, moved)
    command = [sys.executable, "-c", SESSION, str(moved), json.dumps(TEXTS)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    eager, by_session, labels, vectors = json.loads(done.stdout.splitlines()[-1])
    expected = model.predict_scores(TEXTS)
    np.testing.assert_allclose(eager, expected, atol=1e-5)
    np.testing.assert_allclose(by_session, expected, atol=1e-5)
    np.testing.assert_allclose(vectors, model.encode_text(TEXTS), atol=1e-5)
    assert labels == [a["label"] for a in model.predict_text(TEXTS)]


@pytest.mark.parametrize(
    "kind",
    [
        *(pytest.param(k, marks=pytest.mark.slow) for k in ("bert_encoder", "static")),
        "text_encoder",
    ],
)
def test_pairs(kind: str, make_encoder: Any, tmp_path: Path) -> None:
    task = Classification(["no", "yes"], pair=True)
    model = tt.build_model(
        "static-minilm-256" if kind == "static" else str(make_encoder(kind)), task
    )
    pairs = [("a good film", "bad"), ("", "story")]
    served = tt.load_saved_model(tt.export_saved_model(model, tmp_path))
    np.testing.assert_allclose(
        served.predict(pairs)["scores"], model.predict_scores(pairs), atol=1e-5
    )


def test_multi_label_and_regression(text_encoder: Path, tmp_path: Path) -> None:
    multi = tt.build_model(str(text_encoder), MultiLabel(["funny", "sad"]))
    served = tt.load_saved_model(tt.export_saved_model(multi, tmp_path / "m")).predict(TEXTS)
    expected = multi.predict_scores(TEXTS)
    np.testing.assert_allclose(served["scores"], expected, atol=1e-5)
    np.testing.assert_array_equal(served["predicted"], expected >= 0.5)
    assert served["label_names"][0].tolist() == [b"funny", b"sad"]
    number = tt.build_model(str(text_encoder), Regression(2.0, 1.0))
    served = tt.load_saved_model(tt.export_saved_model(number, tmp_path / "r")).predict(TEXTS)
    np.testing.assert_allclose(served["score"], number.predict_scores(TEXTS), atol=1e-5)


def test_what_is_no_export_is_refused(tmp_path: Path) -> None:
    with pytest.raises(tt.InputError, match="no exported model there"):
        tt.load_saved_model(tmp_path)


@pytest.mark.slow
@pytest.mark.skipif(not tt.runtime.has_bfloat16(), reason="this machine has no bfloat16 units")
def test_bfloat16_exports_hold_each_weight_once_and_answer_alike(
    model: tt.TransferModel, exported: Path, tmp_path: Path
) -> None:
    folder = tt.export_saved_model(model, tmp_path, precision="bfloat16")
    served, plain = tt.load_saved_model(folder), tt.load_saved_model(exported)
    answers = served.predict(TEXTS)
    np.testing.assert_allclose(answers["scores"], plain.predict(TEXTS)["scores"], atol=0.02)
    assert answers["scores"].dtype == np.float32
    np.testing.assert_allclose(served.encode(TEXTS), plain.encode(TEXTS), atol=0.1)
    stored = tf.train.list_variables(str(folder / "variables" / "variables"))
    # Words, positions and the head; each of the others is a constant once, whoever asks for it.
    assert len([name for name, shape in stored if len(shape) > 1]) == 3
    nodes = _nodes((folder / "saved_model.pb").read_bytes())
    values = [n.attr["value"].tensor for n in nodes if n.op == "Const"]
    low = [v for v in values if v.dtype == tf.bfloat16 and len(v.tensor_shape.dim) > 1]
    assert len(low) == 14
    types = [n.attr["T"].type for n in nodes if n.op == "MatMul"]
    assert tf.bfloat16.as_datatype_enum in types


@pytest.mark.slow
def test_int8_exports_are_small_and_answer_alike(
    model: tt.TransferModel, exported: Path, tmp_path: Path
) -> None:
    folder = tt.export_saved_model(model, tmp_path, precision="int8")
    served, plain = tt.load_saved_model(folder), tt.load_saved_model(exported)
    answers = served.predict(TEXTS)
    np.testing.assert_allclose(answers["scores"], plain.predict(TEXTS)["scores"], atol=0.02)
    np.testing.assert_allclose(served.encode(TEXTS), plain.encode(TEXTS), atol=0.1)
    assert not np.array_equal(answers["scores"], plain.predict(TEXTS)["scores"])
    for row, text in enumerate(TEXTS):
        alone = served.predict([text])["scores"][0]
        np.testing.assert_allclose(alone, answers["scores"][row], atol=1e-5)
    nodes = _nodes((folder / "saved_model.pb").read_bytes())
    stored = {v.dtype for n in nodes if n.op == "Const" for v in [n.attr["value"].tensor]}
    assert tf.int8.as_datatype_enum in stored
    kinds = dict(tf.train.list_variables(f"{folder}/variables/variables"))
    # Words and positions as bytes, and the head.
    assert len([shape for shape in kinds.values() if len(shape) > 1]) == 3


def test_int8_without_products_is_refused(text_encoder: Path, tmp_path: Path) -> None:
    model = tt.build_model(str(text_encoder), Classification(["negative", "positive"]))
    with pytest.raises(tt.InputError, match="multiplies with weights.*Received: .*text_encoder"):
        tt.export_saved_model(model, tmp_path, precision="int8")
    assert list(tmp_path.iterdir()) == []


def _nodes(graph: bytes) -> list[Any]:
    from tensorflow.core.protobuf import saved_model_pb2

    found = saved_model_pb2.SavedModel.FromString(graph).meta_graphs[0].graph_def
    return [node for function in found.library.function for node in function.node_def]


def test_precision_of_an_export_is_checked(model: tt.TransferModel, tmp_path: Path) -> None:
    with pytest.raises(tt.InputError, match="`precision` must be one of.*Received: 'int4'"):
        tt.export_saved_model(model, tmp_path, precision="int4")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "kind", ["bert_encoder", pytest.param("bert_with_preprocessor", marks=pytest.mark.slow)]
)
def test_a_model_that_was_loaded_can_be_exported(
    kind: str, make_encoder: Any, tmp_path: Path
) -> None:
    """Its vocabulary came out of a `.keras` file, of which Keras deletes what it unpacked."""
    model = tt.build_model(str(make_encoder(kind)), Classification(["negative", "positive"]))
    model.save(tmp_path / "model.keras")
    loaded = tt.load_model(tmp_path / "model.keras")
    served = tt.load_saved_model(tt.export_saved_model(loaded, tmp_path / "serving"))
    expected = model.predict_scores(TEXTS)
    np.testing.assert_allclose(served.predict(TEXTS)["scores"], expected, atol=1e-5)
