"""`.keras` files that were changed by hand: each is read right, or refused in one line."""

import io
import json
import re
import types
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import tensorflow as tf
from tensorflow.core.protobuf import config_pb2
from tensorflow.python.eager import context

import tfhub_transfer as tt
from tfhub_transfer.heads.settings import POOLINGS
from tfhub_transfer.runtime import probes
from tfhub_transfer.serving.served import ServedModel
from tfhub_transfer.tasks import Classification

CONFIG, WEIGHTS = "config.json", "model.weights.h5"
SETTINGS, VOCABULARY = "assets/preprocessor/preprocessor.json", "assets/preprocessor/vocab.txt"
TEXTS = ["a good film", "", "the worst movie"]

Members = dict[str, bytes]


@pytest.fixture(scope="module")
def saved(bert_encoder: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Any]:
    """A `.keras` file and what its model answers."""
    model = tt.build_model(str(bert_encoder), Classification(["a", "b"]))
    path = tmp_path_factory.mktemp("odd") / "model.keras"
    model.save(path)
    return path, model.predict_scores(TEXTS)


def changed(path: Path, target: Path, change: Callable[[Members], None]) -> Path:
    with zipfile.ZipFile(path) as archive:
        found = {name: archive.read(name) for name in archive.namelist()}
    change(found)
    with zipfile.ZipFile(target, "w") as archive:
        for name, data in found.items():
            archive.writestr(name, data)
    return target


def refused(path: Path, message: str) -> None:
    with pytest.raises(tt.InputError, match=message) as caught:
        tt.load_model(path)
    assert "\n" not in str(caught.value)


def length(value: int) -> Callable[[Members], None]:
    def change(found: Members) -> None:
        found[SETTINGS] = json.dumps({**json.loads(found[SETTINGS]), "sequence_length": value})

    return change  # type: ignore[return-value]


def vocabulary(found: Members) -> None:
    found[VOCABULARY] += b"qqzz\nzzqq\n"


def stored_as(dtype: str, recorded: bool) -> Callable[[Members], None]:
    """The table of word embeddings of another type, with or without the configuration."""

    def change(found: Members) -> None:
        config = json.loads(found[CONFIG])
        variables = config["config"]["encoder"]["config"]["spec"]["variables"]
        names = [re.search("word_embeddings", each["name"]) for each in variables]
        place = next(i for i, name in enumerate(names) if name)
        buffer = io.BytesIO(found[WEIGHTS])
        with h5py.File(buffer, "r+") as file:
            name = f"layers/encoder/vars/{place}"
            values = file[name][()]
            del file[name]
            file[name] = (100 * values).astype(dtype)
        found[WEIGHTS] = buffer.getvalue()
        if recorded:
            variables[place]["dtype"] = dtype
            found[CONFIG] = json.dumps(config).encode()

    return change


CHANGES = {
    "one token": (length(1), "`sequence_length` from 8 to"),
    "two tokens": (length(2), "`sequence_length` from 8 to"),
    "more positions": (length(33), "`sequence_length` must be from 8 to 32.*Received: 33"),
    "vocabulary": (
        vocabulary,
        r"more word pieces than the encoder has vectors.*Received: \d+ word",
    ),
    "int64 table": (stored_as("int64", False), "types in the file's conf.*float32, stored as int6"),
    "int64 model": (stored_as("int64", True), "a variable of float32, not int64"),
    "float64 table": (stored_as("float64", False), "types in the file's configuration aren't"),
}


@pytest.mark.filterwarnings("ignore:Skipping nested container")  # Keras' own of what fails
@pytest.mark.parametrize("kind", CHANGES)
def test_what_the_encoder_cannot_read_is_refused(kind: str, saved: Any, tmp_path: Path) -> None:
    change, message = CHANGES[kind]
    refused(changed(saved[0], tmp_path / "odd.keras", change), message)


def test_a_shorter_length_is_right(saved: Any, tmp_path: Path) -> None:
    model = tt.load_model(changed(saved[0], tmp_path / "short.keras", length(8)))
    assert model.sequence_length == 8
    np.testing.assert_allclose(model.predict_scores(TEXTS[:2]), saved[1][:2], atol=1e-6)


@pytest.mark.parametrize(
    "pooling",
    [
        "mean",
        "attention",
        *(pytest.param(p, marks=pytest.mark.slow) for p in (*POOLINGS, "max", 3, None)),
    ],
)
def test_another_pooling_is_right_or_refused(pooling: Any, saved: Any, tmp_path: Path) -> None:
    def change(found: Members) -> None:
        config = json.loads(found[CONFIG])
        config["config"]["head"]["pooling"] = pooling
        found[CONFIG] = json.dumps(config).encode()

    path = changed(saved[0], tmp_path / "pooling.keras", change)
    if pooling not in POOLINGS or pooling == "attention":  # whose weights the file doesn't have
        return refused(path, "`pooling` must be one of|Received: ")
    found = tt.load_model(path).predict_scores(TEXTS)
    assert np.isfinite(found).all()
    # What the configuration says is what the model is.
    assert np.allclose(found, saved[1], atol=1e-6) == (pooling in ("auto", "pooled_output"))


@pytest.mark.parametrize(
    "make",
    [lambda data: b"#!/bin/sh\necho hello\nexit\n" + data, lambda data: b"PK\3\4" + data],
    ids=["script", "header"],
)
def test_an_archive_is_nothing_else_too(make: Any, saved: Any, tmp_path: Path) -> None:
    path = tmp_path / "model.keras"
    path.write_bytes(make(saved[0].read_bytes()))
    refused(path, "something before or after the archive|damaged")


def test_a_comment_is_no_part_of_a_model(saved: Any, tmp_path: Path) -> None:
    path = tmp_path / "model.keras"
    path.write_bytes(saved[0].read_bytes())
    with zipfile.ZipFile(path, "a") as archive:
        archive.comment = b"<script>"
    refused(path, "something before or after the archive")


# Texts in any form --------------------------------------------------------------------------------


FORMS: list[Callable[[list[str]], Any]] = [
    iter,
    tuple,
    np.array,
    lambda texts: (text for text in texts),
    lambda texts: dict.fromkeys(texts).keys(),
]


def test_texts_may_come_from_anything_but_one_string(saved: Any) -> None:
    model = tt.load_model(saved[0])
    expected = model.predict_text(TEXTS), model.encode_text(TEXTS)
    for make in FORMS:
        assert model.predict_text(make(TEXTS)) == expected[0]
        np.testing.assert_array_equal(model.encode_text(make(TEXTS)), expected[1])
        np.testing.assert_array_equal(tt.encode_text(model, make(TEXTS)), expected[1])
    for ask in (model.predict_text, model.predict_scores, model.encode_text):
        for one in ("a good film", b"a good film", None, 3):
            with pytest.raises(tt.InputError, match="expected a list of texts"):
                ask(one)


@pytest.fixture
def served() -> Any:
    """What is loaded back of an export that answers with the length of a text, NaN for none."""

    def answer(text: tf.Tensor) -> dict[str, tf.Tensor]:
        lengths = tf.cast(tf.strings.length(text), tf.float32)
        return {"score": tf.where(lengths > 0, lengths, np.nan)}

    lengths_of = tf.function(tf.strings.length, [tf.TensorSpec([None], tf.string, "text")])
    made = ServedModel.__new__(ServedModel)
    made._loaded = types.SimpleNamespace(
        lengths_of={"serving_default": lengths_of},
        signatures={
            "serving_default": answer,
            "encode": lambda text: {"embedding": answer(text)["score"]},
        },
    )
    return made


def test_exports_take_texts_from_anything_but_one_string(served: Any) -> None:
    texts = ["a good film", "bad"]
    for make in FORMS:
        assert served.predict(make(texts))["score"].tolist() == [11.0, 3.0]
        assert served.encode(make(texts)).tolist() == [11.0, 3.0]
    for one in ("a good film", b"a good film", None, 3):
        for ask in (served.predict, served.encode):
            with pytest.raises(tt.InputError, match="expected a list of texts"):
                ask(one)
    # An answer that is no number is named by its text, which an iterator gives only once.
    with pytest.raises(tt.InputError, match="answers with NaN.*text 2, ''"):
        served.predict(iter(["a", ""]))


# The first question to an encoder -----------------------------------------------------------------


def test_an_encoder_is_probed_without_the_optimizer_of_graphs() -> None:
    """Which takes two thirds of the time, for a graph that is asked once; by this thread alone."""
    seen = []

    def is_off() -> bool:
        serialized = context.context().function_call_options.config_proto_serialized
        config = config_pb2.ConfigProto.FromString(serialized)
        return bool(config.graph_options.rewrite_options.disable_meta_optimizer)

    class Functions:
        dialect = "text"

        def answer(self, texts: Any) -> Any:
            seen.append((is_off(), tf.config.optimizer.get_experimental_options()))
            return {"default": tf.random.normal([len(texts), 2])}

    before = is_off(), tf.config.optimizer.get_experimental_options()
    probes.ask(Functions(), (), "none")
    assert seen == [(True, before[1])]
    assert (is_off(), tf.config.optimizer.get_experimental_options()) == before
