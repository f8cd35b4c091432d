"""Sentence-transformers' folders: what follows upon an encoder's layers, what precedes texts."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.numpy
import tensorflow as tf

import tfhub_transfer as tt
from tfhub_transfer.encoders import conversion, preprocessing, sentence_modules
from tfhub_transfer.encoders.bert_shapes import PooledDense
from tfhub_transfer.errors import InputError
from tfhub_transfer.models import encoding

HIDDEN, WIDE = 8, 5
PIECES = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "query", "passage", ":", "good", "bad"]
CONFIG = {
    **{"model_type": "roberta", "num_hidden_layers": 1, "hidden_size": HIDDEN},
    **{"num_attention_heads": 2, "intermediate_size": 12, "max_position_embeddings": 20},
    **{"vocab_size": len(PIECES), "type_vocab_size": 1, "pad_token_id": 0},
}
PROMPTS = {"query": "query: ", "passage": "passage: ", "document": ""}


def module(index: int, kind: str, path: str) -> dict[str, Any]:
    """A row of modules.json."""
    return {"idx": index, "name": str(index), "path": path, "type": f"sentence_transformers.{kind}"}


MODULES = [
    module(0, "base.modules.transformer.Transformer", ""),
    module(1, "models.Pooling", "1_Pooling"),
    module(2, "models.Dense", "2_Dense"),
    module(3, "models.Dropout", "3_Dropout"),
    module(4, "models.Dense", "4_Dense"),
    module(5, "models.Normalize", "5_Normalize"),
]
POOLING = {"word_embedding_dimension": HIDDEN, "pooling_mode_mean_tokens": True}
DENSE = {"in_features": HIDDEN, "out_features": WIDE, "bias": True}
ACTIVATION = "torch.nn.modules."
FILES: dict[str, Any] = {
    "config.json": CONFIG,
    "modules.json": MODULES,
    "1_Pooling/config.json": POOLING,
    "2_Dense/config.json": DENSE | {"activation_function": ACTIVATION + "activation.Tanh"},
    "4_Dense/config.json": {
        **{"in_features": WIDE, "out_features": 3, "bias": False},
        "activation_function": ACTIVATION + "linear.Identity",
    },
    "config_sentence_transformers.json": {"prompts": PROMPTS, "default_prompt_name": None},
}


def random(*size: int) -> np.ndarray:
    """Numbers that differ by size."""
    return np.random.default_rng(sum(size)).normal(size=size).astype(np.float32)


WEIGHTS = {
    "2_Dense": {"linear.weight": random(WIDE, HIDDEN), "linear.bias": random(WIDE)},
    "4_Dense": {"linear.weight": random(3, WIDE)},
}


def tensors() -> dict[str, np.ndarray]:
    """Those of a RoBERTa of one layer."""
    sizes: dict[str, tuple[int, ...]] = {
        "embeddings.word_embeddings.weight": (len(PIECES), HIDDEN),
        "embeddings.position_embeddings.weight": (20, HIDDEN),
        "embeddings.token_type_embeddings.weight": (1, HIDDEN),
    }
    layer = "encoder.layer.0"
    dense = {f"attention.self.{part}": (HIDDEN, HIDDEN) for part in ("query", "key", "value")}
    dense |= {"attention.output.dense": (HIDDEN, HIDDEN)}
    dense |= {"intermediate.dense": (12, HIDDEN), "output.dense": (HIDDEN, 12)}
    for part, size in dense.items():
        sizes |= {f"{layer}.{part}.weight": size, f"{layer}.{part}.bias": size[:1]}
    norms = ["embeddings", f"{layer}.attention.output", f"{layer}.output"]
    for at in norms:
        sizes |= {f"{at}.LayerNorm.{kind}": (HIDDEN,) for kind in ("weight", "bias")}
    return {name: random(*size) for name, size in sizes.items()}


def write(folder: Path, files: dict[str, Any] | None = None) -> Path:
    """The folder, with these files of JSON in the place of its own."""
    folder.mkdir()
    for name, content in (FILES | (files or {})).items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(json.dumps(content))
    (folder / "vocab.txt").write_text("\n".join(PIECES) + "\n")
    safetensors.numpy.save_file(tensors(), folder / "model.safetensors")
    for name, own in WEIGHTS.items():
        safetensors.numpy.save_file(own, folder / name / "model.safetensors")
    return folder


@pytest.fixture(scope="module")
def converted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder with all modules, converted."""
    folder = tmp_path_factory.mktemp("sentences")
    conversion.convert(write(folder / "source"), folder / "encoder")
    return folder / "encoder"


def test_vectors_are_what_the_modules_make(converted: Path) -> None:
    encoder = tt.Encoder(str(converted))
    outputs = encoder(tt.Preprocessor(encoder)(["good bad", "bad"]))
    tokens = outputs["sequence_output"].numpy()
    lengths = (7, 6)  # [CLS] query : good bad [SEP]
    mean = np.stack([row[: n - 1].mean(0) for row, n in zip(tokens, lengths)])
    first, last = (WEIGHTS[name]["linear.weight"] for name in ("2_Dense", "4_Dense"))
    expected = np.tanh(mean @ first.T + WEIGHTS["2_Dense"]["linear.bias"]) @ last.T
    np.testing.assert_allclose(outputs["pooled_output"], expected, atol=1e-5)
    unit = expected / np.linalg.norm(expected, axis=1, keepdims=True)
    np.testing.assert_allclose(outputs["default"], unit, atol=1e-5)
    assert encoder.dimension == 3
    assert [name for name, _ in encoder.layer_groups] == ["embeddings", "layer_0", "pooler"]
    # Vectors for others are as the makers give them.
    found = encoding.encode_text(str(converted), ["good bad", "bad"])
    np.testing.assert_allclose(found, unit, atol=1e-5)


def ids(encoder: Path, *texts: Any) -> list[list[int]]:
    """Those of a batch, without padding."""
    found = tt.Preprocessor(str(encoder))(*texts)
    rows = found["input_word_ids"].numpy()
    return [row[mask == 1].tolist() for row, mask in zip(rows, found["input_mask"].numpy())]


def test_a_text_by_itself_has_the_prompt_before_it(converted: Path, tmp_path: Path) -> None:
    facts = json.loads((converted / "tfhub_transfer.json").read_text())
    assert facts["prompt"] == "query: "
    assert facts["prompts"] == {"query": "query: ", "passage": "passage: "}
    assert ids(converted, ["good"]) == [[2, 5, 7, 8, 3]]
    # A pair is no text by itself.
    assert ids(converted, (["good"], ["bad"])) == [[2, 8, 3, 9, 3]]
    made = preprocessing.make_preprocessor(tt.Encoder(str(converted)), sequence_length=8)
    assert made.lengths([tf.constant(["good bad"])]).numpy().tolist() == [4]
    encoded, lost = made.encode_and_count([["good" + " bad" * 4]])
    assert encoded["input_word_ids"].to_list() == [[2, 5, 7, 8, 9, 9, 9, 3]] and lost.tolist() == [
        1
    ]
    # In a graph, as in exports.
    traced = tf.function(lambda texts: made.encode([texts]))(tf.constant(["bad"]))
    assert traced["input_word_ids"].to_list() == [[2, 5, 7, 9, 3]]
    # It is kept with whatever is trained.
    made.save(tmp_path / "saved")
    again = preprocessing.load_preprocessor(tmp_path / "saved")
    assert again.encode([tf.constant(["bad"])])["input_word_ids"].to_list() == [[2, 5, 7, 9, 3]]
    words = tt.Preprocessor(str(converted), words=True)([["good", "bad"]])
    assert words["input_word_ids"].numpy()[0, :4].tolist() == [2, 8, 9, 3]


CHOSEN: dict[str, tuple[str | None, str | None, str]] = {
    "its query": (None, None, "query: "),
    "its default": ("passage", None, "passage: "),
    "by name": ("passage", "query", "query: "),
    "a text": (None, "q ", "q "),
    "none": ("passage", "", ""),
    "an empty one": ("document", None, ""),
}


@pytest.mark.parametrize("name", CHOSEN)
def test_prompts_are_chosen(tmp_path: Path, name: str) -> None:
    usual, asked, wanted = CHOSEN[name]
    told = {"prompts": PROMPTS, "default_prompt_name": usual}
    source = write(tmp_path / "source", {"config_sentence_transformers.json": told})
    assert sentence_modules.read(source, asked).prompt == wanted


def test_a_folder_without_modules_tells_nothing(tmp_path: Path) -> None:
    assert sentence_modules.read(tmp_path) == sentence_modules.SentenceModules(None)
    (tmp_path / "1_Pooling").mkdir()
    (tmp_path / "1_Pooling" / "config.json").write_text(json.dumps(POOLING))
    assert sentence_modules.read(tmp_path).pooling == "mean"


def test_dense_layers_are_read(tmp_path: Path) -> None:
    found = sentence_modules.read(write(tmp_path / "source"))
    assert found.dense == (PooledDense(WIDE, "tanh"), PooledDense(3, "linear"))
    assert found.normalized
    np.testing.assert_array_equal(found.values["pooler_dense_1/bias"], np.zeros(3, np.float32))


def modules(*rows: Any) -> dict[str, Any]:
    """Other modules."""
    return {"modules.json": list(rows)}


TRANSFORMER, MEAN, TANH, _, _, UNIT = MODULES
DENSE_FILE, SETTINGS = "2_Dense/config.json", "config_sentence_transformers.json"
REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "sparse": (modules(TRANSFORMER, module(1, "models.SpladePooling", "1")), "'SpladePooling'"),
    "a list": (modules(TRANSFORMER, "x"), "Received: 'no type'"),
    "no order": (modules(TRANSFORMER, TANH, MEAN), "in this order.*Received: 'Dense'"),
    "unit before": (modules(TRANSFORMER, MEAN, UNIT, TANH), "Received: 'Dense'"),
    "twice": (modules(TRANSFORMER, MEAN, MEAN), "Received: 'Pooling'"),
    "elsewhere": (modules(module(0, "models.Transformer", "0_Transformer")), "'Transformer'"),
    "outside": (modules(module(0, "models.Transformer", "../x")), "lie beside it.*'../x'"),
    "no modules": ({"modules.json": {}}, "with a list in it is expected"),
    "no path": (modules({"type": "a.Pooling", "path": 3}), "lie beside it.*Received: 3"),
    "pooling": ({"1_Pooling/config.json": {"pooling_mode": "max"}}, "alone.*Received: max"),
    "prompts out": (
        {"1_Pooling/config.json": POOLING | {"include_prompt": False}},
        r"\(include_prompt\). Received: False",
    ),
    "activation": (
        {DENSE_FILE: DENSE | {"activation_function": "torch.nn.Mish"}},
        "one of Tanh, .*Received: 'torch.nn.Mish'",
    ),
    "residual": ({DENSE_FILE: DENSE | {"use_residual": True}}, "use_residual False"),
    "of tokens": (
        {DENSE_FILE: DENSE | {"module_input_name": "token_embeddings"}},
        "'sentence_embedding'. Received: 'token_embeddings'",
    ),
    "widths": (modules(TRANSFORMER, MEAN, MODULES[4]), "those before it, 8. Received: 5"),
    "prompt": ({SETTINGS: {"prompts": {"query": 3}}}, "must be a text. Received: 3 as 'query'"),
    "prompts": ({SETTINGS: {"prompts": ["x"]}}, "of type dict"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_other_modules_are_refused_by_name(tmp_path: Path, name: str) -> None:
    files, match = REFUSED[name]
    source = write(tmp_path / "source", files)
    with pytest.raises(InputError, match=match) as raised:
        conversion.convert(source, tmp_path / "out")
    assert "\n" not in str(raised.value) and "Received: " in str(raised.value)
    assert [path.name for path in tmp_path.iterdir()] == ["source"]


def without_weights(folder: Path) -> None:
    """Weights as PyTorch writes them."""
    path = folder / "model.safetensors"
    path.rename(folder / "pytorch_model.bin")


def of_vectors(folder: Path) -> None:
    """A bias in the place of a kernel."""
    path = folder / "2_Dense" / "model.safetensors"
    safetensors.numpy.save_file({"linear.weight": random(5)}, path)


DAMAGE: dict[str, tuple[Callable[[Path], Any], str]] = {
    "pytorch": (without_weights, "save_pretrained.*source with pytorch_model.bin"),
    "pytorch dense": (lambda f: without_weights(f / "2_Dense"), "2_Dense with pytorch_model.bin"),
    "vectors": (of_vectors, r"linear.weight \[outputs, inputs\].*Received: \(5,\) and \(5,\)"),
}


@pytest.mark.parametrize("name", DAMAGE)
def test_other_weights_are_refused(tmp_path: Path, name: str) -> None:
    damage, match = DAMAGE[name]
    source = write(tmp_path / "source")
    damage(source)
    with pytest.raises(InputError, match=match):
        conversion.convert(source, tmp_path / "out")
    assert [path.name for path in tmp_path.iterdir()] == ["source"]


def test_a_prompt_is_for_whole_encoders(tmp_path: Path) -> None:
    source = write(tmp_path / "source")
    with pytest.raises(InputError, match="converted whole.*Received: prompt='x' with method 'sta"):
        conversion.convert(source, tmp_path / "out", method="static", prompt="x")
