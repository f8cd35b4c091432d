"""A trained model's encoder is an encoder: written, loaded, trained again."""

import copy
import json
import pickle
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

import tfhub_transfer as tt
from tfhub_transfer.encoders import registry
from tfhub_transfer.graphs import safety

TEXTS = ["good film", "what a bad, boring movie!", "", "the Worst of all stories"]


def tuned(folder: Path, preprocessor: Path | None = None) -> Any:
    """A model whose encoder isn't what it was."""
    task = tt.tasks.Classification(["a", "b"])
    given = None if preprocessor is None else str(preprocessor)
    model = tt.build_model(str(folder), task, preprocessor=given, sequence_length=24)
    rng = np.random.default_rng(0)
    for weight in model.encoder.trainable_variables or model.encoder.weights:
        if weight.dtype == "float32":
            weight.assign(weight.numpy() + rng.normal(0, 0.1, weight.shape))
    return model


def again(encoder: tt.Encoder, **settings: Any) -> Any:
    settings = {"sequence_length": 24, **settings}
    return tt.build_model(encoder, tt.tasks.Classification(["a", "b"]), **settings)


def groups(encoder: tt.Encoder) -> list[Any]:
    return [(name, [v.shape for v in variables]) for name, variables in encoder.layer_groups]


def check_same(model: Any, encoder: tt.Encoder) -> Any:
    """The same vectors of the same texts, without a word about a preprocessor; trainable."""
    made = again(encoder)
    wanted = model.encode_text(TEXTS)
    np.testing.assert_allclose(made.encode_text(TEXTS), wanted, atol=1e-6)
    assert groups(encoder) == groups(model.encoder)
    assert encoder.do_lower_case == model.encoder.do_lower_case
    for name, weight in model.encoder.named_weights().items():
        np.testing.assert_array_equal(weight.numpy(), encoder.named_weights()[name].numpy())
    encoder.freeze_to(-1)
    made.compile(keras.optimizers.SGD(0.5), made.task.loss())
    examples = tt.data.Examples.from_lists(TEXTS[:2], ["a", "b"])
    made.fit(made.preprocess(examples, 4), epochs=2, verbose=0)
    assert np.abs(made.encode_text(TEXTS) - wanted).max() > 1e-6
    return made


LONG = [pytest.mark.slow, pytest.mark.exhaustive]
KINDS = [
    "text_encoder",
    pytest.param("albert_encoder", marks=pytest.mark.slow),
    pytest.param("list_style_encoder", marks=pytest.mark.slow),
    *(
        pytest.param(kind, marks=LONG)
        for kind in ("bert_encoder", "bert_slash_encoder", "bert_without_lists")
    ),
]


@pytest.mark.parametrize("kind", KINDS)
def test_an_encoder_is_written_as_one(kind: str, make_encoder: Any, tmp_path: Path) -> None:
    model, folder = tuned(make_encoder(kind)), tmp_path / "made"
    model.encoder.save(folder)
    safety.check_saved_model(folder)
    encoder = tt.Encoder(str(folder))
    check_same(model, encoder)
    assert registry.provenance(folder) == {"tuned_from": str(make_encoder(kind))}
    assert registry.describe(str(folder)).dimension == encoder.dimension
    beside = folder / "preprocessor"
    assert beside.exists() == (kind != "text_encoder")
    if beside.exists():  # for who loads it without this package
        found = tf.saved_model.load(str(beside))(tf.constant(TEXTS))
        made = model.preprocessor(TEXTS)["input_word_ids"]
        ids = found["input_word_ids"][:, : made.shape[1]]
        np.testing.assert_array_equal(ids, made)
    # The graph is that of before, to the byte; and it is read by its names in the checkpoint.
    assert (folder / "saved_model.pb").read_bytes() == (
        make_encoder(kind) / "saved_model.pb"
    ).read_bytes()
    keys = [
        sorted(key for key, _ in tf.train.list_variables(str(each / "variables/variables")))
        for each in (folder, make_encoder(kind))
    ]
    assert set(keys[0]) == set(keys[1])


def test_what_lies_beside_a_loaded_graph_is_no_encoder(text_encoder: Path, tmp_path: Path) -> None:
    """Of its weights the file alone has what they have become."""
    tuned(text_encoder).save(tmp_path / "model.keras")
    encoder = tt.load_model(tmp_path / "model.keras").encoder
    for given in (encoder.source, encoder.folder):
        with pytest.raises(tt.InputError, match="weights are in that: give the file, the encoder"):
            tt.Encoder(given)
    encoder.save(tmp_path / "written")
    for made in (tt.Encoder(tmp_path / "written"), tt.Encoder(tmp_path / "model.keras")):
        assert made.fingerprint() == encoder.fingerprint()


def test_a_source_may_go_to_another_process(text_encoder: Path) -> None:
    source = registry.EncoderSource(str(text_encoder))
    wanted = source.fingerprint([b"1"])
    for again in (pickle.loads(pickle.dumps(source)), copy.deepcopy(source)):
        assert again.fingerprint([b"1"]) == wanted and again.folder == source.folder
    # A folder may be given as text.
    named = registry.EncoderSource("own", str(text_encoder))  # type: ignore[arg-type]
    assert named.fingerprint([b"1"]) == wanted and named.handle == "own"


def test_xla_is_left_to_encoders_without_strings(text_encoder: Path, bert_still: Path) -> None:
    """Keras chooses it by itself where there is a GPU."""
    assert not tt.Encoder(str(text_encoder)).supports_jit
    assert tt.Encoder(str(bert_still)).supports_jit


def test_nothing_of_others_is_replaced(text_encoder: Path, tmp_path: Path) -> None:
    encoder = tuned(text_encoder).encoder
    (tmp_path / "a.txt").write_text("mine", encoding="utf-8")
    with pytest.raises(tt.InputError):
        encoder.save(tmp_path)
    encoder.save(tmp_path / "made")
    with pytest.raises(tt.InputError, match="overwrite"):
        encoder.save(tmp_path / "made")
    encoder.save(tmp_path / "made", overwrite=True)


@pytest.mark.parametrize(
    "kind", ["text_encoder", pytest.param("bert_encoder", marks=pytest.mark.slow)]
)
def test_what_training_wrote_is_an_encoder(
    kind: str, make_encoder: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The folder, or the file; the encoder is made of it once, and anew when it has changed."""
    monkeypatch.setenv("TFHUB_CACHE_DIR", str(tmp_path / "cache"))
    model, out = tuned(make_encoder(kind)), tmp_path / "out"
    model.save(out / "model.keras")
    for given in (out, out / "model.keras"):
        encoder = tt.Encoder(str(given))
        assert encoder.handle == str(given)
    assert len([*(tmp_path / "cache").glob("converted-*")]) == 1
    assert registry.provenance(encoder.folder) == {"tuned_from": str(make_encoder(kind))}
    assert registry.find(str(out)) == encoder.folder
    made = check_same(model, encoder)
    # And so on.
    made.save(out / "model.keras")
    third = tt.build_model(str(out), tt.tasks.Regression(0.0, 1.0), sequence_length=24)
    np.testing.assert_allclose(third.encode_text(TEXTS), made.encode_text(TEXTS), atol=1e-6)
    assert registry.provenance(third.encoder.folder) == {
        "tuned_from": str(out / "model.keras"),
        "tuned_before_from": str(make_encoder(kind)),
    }
    third.save(tmp_path / "third.keras")
    loaded = tt.load_model(tmp_path / "third.keras")
    np.testing.assert_allclose(loaded.encode_text(TEXTS), made.encode_text(TEXTS), atol=1e-6)


@pytest.mark.slow
def test_the_preprocessor_of_the_training_goes_along(
    bert_encoder: Path, preprocessor: Path, tmp_path: Path
) -> None:
    """One that was given, which isn't what the encoder's own vocabulary would make."""
    model = tuned(bert_encoder, preprocessor)
    assert model.preprocessor.source.is_dir()
    model.encoder.save(tmp_path / "made")
    made = again(tt.Encoder(str(tmp_path / "made")))
    assert made.preprocessor.source.is_dir()
    assert made.preprocessor.fingerprint() == model.preprocessor.fingerprint()
    check_same(model, made.encoder)


@pytest.mark.slow
@pytest.mark.exhaustive
def test_an_encoder_without_a_model_is_written_with_what_lies_beside_it(
    bert_with_preprocessor: Path, tmp_path: Path
) -> None:
    encoder = tt.Encoder(str(bert_with_preprocessor))
    encoder.save(tmp_path / "made")
    model = again(tt.Encoder(str(bert_with_preprocessor)))
    check_same(model, tt.Encoder(str(tmp_path / "made")))


def test_a_damaged_file_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "model.keras").write_bytes(b"PK no")
    with pytest.raises(tt.InputError, match="the file is damaged"):
        tt.Encoder(str(tmp_path))


@pytest.mark.slow
def test_the_commands_take_a_training_for_an_encoder(
    text_encoder: Path, sentiment: Any, run: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TFHUB_CACHE_DIR", str(tmp_path / "cache"))
    data, out = tmp_path / "data.jsonl", tmp_path / "out"
    rows = [{"text": text, "label": label} for text, label in zip(*sentiment)]
    data.write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    words = ["train", "--task", "classification", "--data", data]
    more = ["--epochs", 1, "--learning-rate", 0.1]
    status, _, err = run(*words, "--encoder", text_encoder, "--output", out, *more)
    assert status == 0, err
    status, _, err = run(*words, "--encoder", out, "--quick", "--output", tmp_path / "more")
    assert status == 0, err
    record = json.loads((tmp_path / "more/training.json").read_text(encoding="utf-8"))
    assert record["encoder"]["handle"] == str(out)
    assert record["encoder"]["tuned_from"] == str(text_encoder)
    first, second = (tt.load_model(each / "model.keras") for each in (out, tmp_path / "more"))
    np.testing.assert_allclose(first.encode_text(TEXTS), second.encode_text(TEXTS), atol=1e-6)
