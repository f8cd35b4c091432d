"""Signatures that servers ask otherwise: by serialized examples, by `classify` and `regress`."""

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from tensorflow.core.protobuf import saved_model_pb2

import tfhub_transfer as tt
from tfhub_transfer.private import tensorflow_graphs
from tfhub_transfer.serving import signatures
from tfhub_transfer.tasks import (
    Classification,
    MultiLabel,
    MultiTask,
    OrdinalRegression,
    Regression,
)

TEXTS = ["a good film", "", "the worst movie 🙂", "good " * 60]
NAMES = ["bad", "gut 🙂", "so so"]


def example(**features: Any) -> bytes:
    """A serialized `tf.Example` of strings; a list has several."""
    made = {}
    for name, value in features.items():
        values = [v.encode() for v in ([value] if isinstance(value, str) else value)]
        made[name] = tf.train.Feature(bytes_list=tf.train.BytesList(value=values))
    return tf.train.Example(features=tf.train.Features(feature=made)).SerializeToString()


@pytest.fixture(scope="module")
def model(text_encoder: Path) -> tt.TransferModel:
    """Classes with an order, labels and a number, of a text and of pairs."""
    tasks = {
        "kind": Classification(NAMES),
        "marks": MultiLabel(["funny", "sad"]),
        "stars": OrdinalRegression(["1", "2", "3"]),
        "price": Regression(2.0, 1.0),
    }
    return tt.build_model(str(text_encoder), MultiTask(tasks))


@pytest.fixture(scope="module")
def exported(model: tt.TransferModel, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tt.export_saved_model(model, tmp_path_factory.mktemp("serving"), top_k=2)


@pytest.fixture(scope="module")
def loaded(exported: Path) -> Any:
    return tf.saved_model.load(str(exported)).signatures


def definitions(folder: Path) -> Any:
    """What a server reads of an export's signatures."""
    graph = saved_model_pb2.SavedModel.FromString((folder / "saved_model.pb").read_bytes())
    return graph.meta_graphs[0].signature_def


def test_each_signature_says_by_which_request_it_is_asked(exported: Path) -> None:
    methods = {
        name: each.method_name.rpartition("/")[2] for name, each in definitions(exported).items()
    }
    assert methods.pop("__saved_model_init_op", "") == ""
    wanted = {"encode": "predict"}
    for name in ("kind", "marks", "stars", "price"):
        own = ["regress"] if name == "price" else ["classify", "top_k"]
        for kind in ("", "_serialized", *(f"_{each}" for each in own)):
            wanted[name + kind] = kind[1:] if kind[1:] in ("classify", "regress") else "predict"
    assert methods == wanted


def test_they_take_and_give_what_a_server_checks(exported: Path) -> None:
    """As `classifier.cc` and `regressor.cc` of TF Serving do, before and after they run one."""
    found = definitions(exported)
    for name in ("kind_classify", "price_regress"):
        [(key, given)] = found[name].inputs.items()
        assert (key, given.dtype) == ("inputs", tf.string.as_datatype_enum)
    answers = {key: each.dtype for key, each in found["kind_classify"].outputs.items()}
    strings, floats = tf.string.as_datatype_enum, tf.float32.as_datatype_enum
    assert answers == {"classes": strings, "scores": floats}
    assert {k: v.dtype for k, v in found["price_regress"].outputs.items()} == {"outputs": floats}


def test_examples_are_answered_as_their_texts(loaded: Any) -> None:
    examples = tf.constant([example(text=text, other="x") for text in TEXTS])
    for name in ("kind", "marks", "stars", "price"):
        plain = loaded[name](text=tf.constant(TEXTS))
        found = loaded[f"{name}_serialized"](examples=examples)
        assert found.keys() == plain.keys()
        for key, value in plain.items():
            np.testing.assert_array_equal(found[key], value)


def test_the_likeliest_come_first(model: tt.TransferModel, loaded: Any) -> None:
    scores = model.parts["kind"].predict_scores(TEXTS)
    order = np.argsort(-scores, axis=1)[:, :2]
    best = loaded["kind_top_k"](text=tf.constant(TEXTS))
    np.testing.assert_array_equal(best["label_ids"], order)
    np.testing.assert_allclose(best["scores"], np.take_along_axis(scores, order, 1), atol=1e-6)
    names = np.array([name.encode() for name in NAMES], object)
    np.testing.assert_array_equal(best["labels"], names[order])
    found = loaded["kind_classify"](inputs=tf.constant([example(text=t) for t in TEXTS]))
    np.testing.assert_array_equal(found["classes"], best["labels"])
    np.testing.assert_array_equal(found["scores"], best["scores"])


def test_requests_to_regress_get_the_number(model: tt.TransferModel, loaded: Any) -> None:
    found = loaded["price_regress"](inputs=tf.constant([example(text=t) for t in TEXTS]))
    expected = model.parts["price"].predict_scores(TEXTS)
    np.testing.assert_allclose(found["outputs"], np.reshape(expected, -1), atol=1e-5)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (example(), "Feature: text .data type: string. is required"),
        (example(other="good"), "Feature: text .data type: string. is required"),
        (example(text=["good", "bad"]), "Key: text"),
        (b"good", "Could not parse example"),
    ],
    ids=["none", "another", "two", "no example"],
)
def test_an_example_without_its_text_is_an_error_not_an_empty_text(
    given: bytes, message: str, loaded: Any
) -> None:
    with pytest.raises(tf.errors.InvalidArgumentError, match=message):
        loaded["kind_serialized"](examples=tf.constant([example(text="good"), given]))


def test_without_top_k_all_classes_are_given_in_their_order(
    text_encoder: Path, tmp_path: Path
) -> None:
    model = tt.build_model(str(text_encoder), Classification(NAMES, pair=True))
    folder = tt.export_saved_model(model, tmp_path)
    served = tt.load_saved_model(folder)
    found = tf.saved_model.load(str(folder)).signatures
    assert set(found) == {"classify", "encode", "serialized", "serving_default"}
    pairs = [("a good film", "bad"), ("", "story")]
    examples = tf.constant([example(text_a=a, text_b=b) for a, b in pairs])
    answers = found["classify"](inputs=examples)
    np.testing.assert_allclose(answers["scores"], model.predict_scores(pairs), atol=1e-6)
    assert [[n.decode() for n in row] for row in answers["classes"].numpy()] == [NAMES, NAMES]
    for name in ("serialized", "classify"):
        with pytest.raises(tt.InputError, match="answers encode, serving_default; name one"):
            served.predict(pairs, signature=name)


def test_served_models_give_the_likeliest_too(exported: Path, loaded: Any) -> None:
    found = tt.load_saved_model(exported).predict(TEXTS, signature="kind_top_k")
    for key, value in loaded["kind_top_k"](text=tf.constant(TEXTS)).items():
        np.testing.assert_array_equal(found[key], value)


def test_the_fingerprint_is_that_of_the_graph_as_it_is(exported: Path, tmp_path: Path) -> None:
    shutil.copytree(exported, tmp_path / "copy")
    tensorflow_graphs.write_fingerprint(tmp_path / "copy")
    made, again = (
        tf.saved_model.experimental.read_fingerprint(str(folder))
        for folder in (exported, tmp_path / "copy")
    )
    for name in ("saved_model_checksum", "signature_def_hash", "saved_object_graph_hash"):
        assert getattr(made, name) == getattr(again, name)


@pytest.mark.parametrize(
    ("task", "top_k", "message"),
    [
        (Regression(0.0, 1.0), 1, "for tasks that give each class a score.*Received: 1$"),
        (Classification(NAMES), 4, "`top_k` must be a whole number from 1 to 3. Received: 4"),
        (Classification(NAMES), 0, "from 1 to 3. Received: 0"),
        (Classification(NAMES), True, "Received: True"),
    ],
)
def test_classes_that_there_are_not_are_refused(
    task: Any, top_k: Any, message: str, text_encoder: Path, tmp_path: Path
) -> None:
    model = tt.build_model(str(text_encoder), task)
    with pytest.raises(tt.InputError, match=message):
        tt.export_saved_model(model, tmp_path / "new", top_k=top_k)
    assert not (tmp_path / "new").exists()


def test_two_signatures_of_one_name_are_refused() -> None:
    tasks = {"a": Classification(NAMES), "a_classify": Regression(0.0, 1.0)}
    with pytest.raises(tt.InputError, match="_serialized.*Received: a, a_classify"):
        signatures.check_names(tasks)
    signatures.check_names({"a": tasks["a"], "classify": tasks["a_classify"]})
    signatures.check_names({"serving_default": tasks["a"]})


def test_a_task_that_answers_otherwise_than_what_it_is_made_of_is_asked_by_strings_alone(
    text_encoder: Path, tmp_path: Path
) -> None:
    class Margin(Classification):
        name = "margin"

        def answer(self, scores: tf.Tensor) -> dict[str, tf.Tensor]:
            return {"scores": scores[:, :1] - scores[:, 1:2]}

    model = tt.build_model(str(text_encoder), Margin(["a", "b"]))
    folder = tt.export_saved_model(model, tmp_path)
    found = tf.saved_model.load(str(folder)).signatures
    assert set(found) == {"encode", "serialized", "serving_default"}
