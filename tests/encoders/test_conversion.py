"""Conversion: what is written says what the source said; a broken source leaves nothing behind."""

import errno
import functools
import gzip
import json
import math
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.numpy
import tensorflow as tf
import torch_layers

from tfhub_transfer.encoders import conversion, hub_format, registry
from tfhub_transfer.encoders.bert_graphs import INPUT_KEYS
from tfhub_transfer.errors import InputError

HIDDEN, HEADS, LAYERS, WIDE, POSITIONS = 16, 2, 2, 32, 24
SPECIAL = ["[PAD]", "[unused0]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "[unused1]"]
SIGNS = [*"abcdefghijklmnopqrstuvwxyz0123456789.,!?$'", "中", "文"]
PARTS = [f"##{sign}" for sign in "abcdefghijklmnopqrstuvwxyz"]
WORDS = """the of good bad film was not very play ##ing ##ed plot actor scene music story she he it
    they слово boring moving funny lovely clever dull long short cafe naive strasse""".split()
VOCABULARY = SPECIAL + SIGNS + PARTS + WORDS
CONFIG = {
    "model_type": "bert",
    "hidden_act": "gelu",
    "hidden_size": HIDDEN,
    "num_attention_heads": HEADS,
    "num_hidden_layers": LAYERS,
    "intermediate_size": WIDE,
    "max_position_embeddings": POSITIONS,
    "type_vocab_size": 2,
    "vocab_size": len(VOCABULARY),
    "layer_norm_eps": 1e-12,
    "hidden_dropout_prob": 0.1,
    "attention_probs_dropout_prob": 0.2,
}


def random_tensors() -> dict[str, np.ndarray]:
    """A BERT's tensors as transformers saves them."""
    shapes = {
        "embeddings.word_embeddings.weight": (len(VOCABULARY), HIDDEN),
        "embeddings.position_embeddings.weight": (POSITIONS, HIDDEN),
        "embeddings.token_type_embeddings.weight": (2, HIDDEN),
        "pooler.dense.weight": (HIDDEN, HIDDEN),
        "pooler.dense.bias": (HIDDEN,),
    }
    norms = ["embeddings.LayerNorm"]
    for index in range(LAYERS):
        at = f"encoder.layer.{index}."
        sizes = {"intermediate.dense": (WIDE, HIDDEN), "output.dense": (HIDDEN, WIDE)}
        for part in ("self.query", "self.key", "self.value", "output.dense"):
            sizes[f"attention.{part}"] = (HIDDEN, HIDDEN)
        for name, size in sizes.items():
            shapes |= {f"{at}{name}.weight": size, f"{at}{name}.bias": size[:1]}
        norms += [f"{at}attention.output.LayerNorm", f"{at}output.LayerNorm"]
    for name in norms:
        shapes |= {f"{name}.weight": (HIDDEN,), f"{name}.bias": (HIDDEN,)}
    generator = np.random.default_rng(3)
    return {
        name: (generator.normal(size=size) * 0.5 + name.endswith("Norm.weight")).astype(np.float32)
        for name, size in shapes.items()
    }


def write_source(folder: Path, mean: bool = False, **changes: Any) -> Path:
    """A tiny random BERT as a Hugging Face folder; `changes` are for its config."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps(CONFIG | changes))
    safetensors.numpy.save_file(random_tensors(), folder / "model.safetensors")
    (folder / "vocab.txt").write_text("\n".join(VOCABULARY) + "\n", encoding="utf-8")
    (folder / "README.md").write_text("---\nlicense: mit\n---\n\n# tiny-bert\n")
    if mean:
        (folder / "1_Pooling").mkdir()
        pooling = {"pooling_mode_cls_token": False, "pooling_mode_mean_tokens": True}
        (folder / "1_Pooling" / "config.json").write_text(json.dumps(pooling))
    return folder


def forward(ids: np.ndarray, mask: np.ndarray, types: np.ndarray) -> list[np.ndarray]:
    """Each layer's output by PyTorch's conventions, one token row after the other."""
    t = random_tensors()
    linear, norm = (functools.partial(each, t) for each in (torch_layers.linear, torch_layers.norm))
    gelu = torch_layers.ACTIVATIONS["gelu"]

    x = t["embeddings.word_embeddings.weight"][ids]
    x = x + t["embeddings.position_embeddings.weight"][: ids.shape[1]]
    x = norm(x + t["embeddings.token_type_embeddings.weight"][types], "embeddings.LayerNorm")
    outputs = []
    for index in range(LAYERS):
        at = f"encoder.layer.{index}"
        q, k, v = (linear(x, f"{at}.attention.self.{part}") for part in ("query", "key", "value"))
        context = np.zeros_like(x)
        for row in range(len(ids)):
            for head in range(HEADS):
                cut = slice(head * HIDDEN // HEADS, (head + 1) * HIDDEN // HEADS)
                scores = q[row, :, cut] @ k[row, :, cut].T / math.sqrt(HIDDEN // HEADS)
                shares = np.exp(scores) * mask[row]
                shares /= shares.sum(-1, keepdims=True)
                context[row, :, cut] = shares @ v[row, :, cut]
        attended = linear(context, f"{at}.attention.output.dense")
        x = norm(x + attended, f"{at}.attention.output.LayerNorm")
        wide = gelu(linear(x, f"{at}.intermediate.dense"))
        x = norm(x + linear(wide, f"{at}.output.dense"), f"{at}.output.LayerNorm")
        outputs.append(x)
    return outputs


def inputs(batch: int = 3, length: int = 7) -> dict[str, np.ndarray]:
    """Random tokens, the last row padded from its fourth on."""
    generator = np.random.default_rng(batch * length)
    mask = np.ones((batch, length), np.int32)
    mask[-1, 3:] = 0
    ids = generator.integers(0, len(VOCABULARY), (batch, length)).astype(np.int32)
    types = generator.integers(0, 2, (batch, length)).astype(np.int32)
    return dict(zip(INPUT_KEYS, (ids, mask, types), strict=True))


def run(encoder: Any, arrays: dict[str, np.ndarray], training: bool = False) -> dict[str, Any]:
    """The encoder's outputs."""
    return encoder({k: tf.constant(v) for k, v in arrays.items()}, training=training)


def load(folder: Path) -> Any:
    """The SavedModel in a folder."""
    return tf.saved_model.load(str(folder))


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("sources")
    return {name: write_source(folder / name, mean=name == "mean") for name in ("mean", "pooler")}


@pytest.fixture(scope="module")
def converted(
    sources: dict[str, Path], tmp_path_factory: pytest.TempPathFactory
) -> dict[str, Path]:
    """The tiny BERT with mean pooling and with its own pooler, converted."""
    folder = tmp_path_factory.mktemp("converted")
    for name, source in sources.items():
        conversion.convert(source, folder / name)
    return {name: folder / name for name in sources}


@pytest.fixture(scope="module")
def static(sources: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny BERT distilled to 8 dimensions."""
    folder = tmp_path_factory.mktemp("static") / "tiny-static"
    conversion.convert(sources["mean"], folder, method="static", dimension=8)
    return folder


@pytest.mark.parametrize("kind", ["mean", "pooler"])
def test_outputs_are_those_of_the_source(converted: dict[str, Path], kind: str) -> None:
    arrays = inputs()
    layers = forward(*arrays.values())
    found = run(load(converted[kind]), arrays)
    present = arrays["input_mask"] == 1

    assert len(found["encoder_outputs"]) == LAYERS
    for ours, theirs in zip(found["encoder_outputs"], layers, strict=True):
        np.testing.assert_allclose(ours.numpy()[present], theirs[present], atol=1e-5)
    np.testing.assert_array_equal(found["sequence_output"], found["encoder_outputs"][-1])
    if kind == "mean":
        rows = zip(layers[-1], present, strict=True)
        pooled = np.stack([tokens[here].mean(0) for tokens, here in rows])
    else:
        t = random_tensors()
        pooled = np.tanh(layers[-1][:, 0] @ t["pooler.dense.weight"].T + t["pooler.dense.bias"])
    np.testing.assert_allclose(found["pooled_output"], pooled, atol=1e-5)
    np.testing.assert_array_equal(found["pooled_output"], found["default"])


@pytest.mark.parametrize("kind", ["mean", "pooler"])
def test_variables_are_tf_hubs_and_all_get_gradients(converted: dict[str, Path], kind: str) -> None:
    encoder = load(converted[kind])
    names = [variable.name for variable in encoder.trainable_variables]
    assert names[:2] == ["word_embeddings/embeddings:0", "position_embedding/embeddings:0"]
    assert "transformer/layer_1/self_attention/attention_output/kernel:0" in names
    assert sum(name.startswith("transformer/layer_0/") for name in names) == 16
    assert ("pooler_transform/kernel:0" in names) == (kind == "pooler")
    assert [variable.name for variable in encoder.variables] == names
    query = next(v for v in encoder.variables if "layer_0/self_attention/query/kernel" in v.name)
    assert query.shape == (HIDDEN, HEADS, HIDDEN // HEADS)

    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(run(encoder, inputs(), training=True)["pooled_output"] ** 3)
    gradients = tape.gradient(loss, encoder.trainable_variables)
    assert all(gradient is not None for gradient in gradients)
    sizes = {n: float(tf.norm(tf.convert_to_tensor(g))) for n, g in zip(names, gradients)}
    # A key's bias shifts all scores of a query alike, which softmax does not see.
    assert [n for n, size in sizes.items() if size < 1e-6 and "key/bias" not in n] == []


@pytest.mark.slow
def test_training_means_dropout(converted: dict[str, Path], tmp_path: Path) -> None:
    encoder, arrays = load(converted["mean"]), inputs()
    runs = [run(encoder, arrays, training=True)["pooled_output"].numpy() for _ in range(2)]
    assert np.abs(runs[0] - runs[1]).max() > 1e-3

    rates: dict[str, Any] = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
    conversion.convert(write_source(tmp_path / "source", **rates), tmp_path / "dry")
    outputs = [run(load(tmp_path / "dry"), arrays, training=t) for t in (True, False)]
    np.testing.assert_allclose(outputs[0]["pooled_output"], outputs[1]["pooled_output"], atol=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize(("batch", "length"), [(1, 1), (2, POSITIONS), (5, 9)])
def test_any_shape_also_under_xla(converted: dict[str, Path], batch: int, length: int) -> None:
    encoder = load(converted["mean"])
    arrays = {key: tf.constant(value) for key, value in inputs(batch, length).items()}
    compiled = tf.function(lambda x: encoder(x, training=False), jit_compile=True)(arrays)
    plain = encoder(arrays, training=False)
    assert plain["sequence_output"].shape == (batch, length, HIDDEN)
    np.testing.assert_allclose(compiled["pooled_output"], plain["pooled_output"], atol=1e-5)


def test_rows_without_any_token_stay_finite(converted: dict[str, Path]) -> None:
    arrays = inputs()
    arrays["input_mask"][:] = 0
    assert np.isfinite(run(load(converted["mean"]), arrays)["sequence_output"]).all()


def test_graph_is_in_the_form_that_fuses(converted: dict[str, Path]) -> None:
    encoder = load(converted["mean"])
    specs = {key: tf.TensorSpec([None, None], tf.int32) for key in INPUT_KEYS}
    traced = tf.function(lambda x: encoder(x, training=False)).get_concrete_function(specs)
    functions = traced.graph.as_graph_def().library.function
    operations = [node.op for function in functions for node in function.node_def]
    # For each layer query, key, value, the attention's output and the two halves of the block.
    assert operations.count("BiasAdd") == 6 * LAYERS
    assert operations.count("Erf") == LAYERS
    assert not {"Einsum", "Erfc", "Pow"} & set(operations)


def test_layers_ask_only_the_layer_below(converted: dict[str, Path]) -> None:
    """What lies above a layer's output needs that output and the mask, not ids or segments."""
    encoder = load(converted["mean"])
    function = next(
        f
        for f in encoder.__call__.concrete_functions
        if not any(node.op == "RandomUniform" for node in f.graph.as_graph_def().node)
    )
    nodes = {node.name: node for node in function.graph.as_graph_def().node}
    boundary = next(name for name in nodes if name.endswith("layer_0_output"))
    # Outputs come in the order of their keys, `default` first.
    seen, todo = set(), [function.outputs[0].op.name]
    while todo:
        name = todo.pop()
        if name not in seen and name != boundary:
            seen.add(name)
            todo += [i.split(":")[0] for i in nodes[name].input if not i.startswith("^")]
    asked = {node.name for node in map(nodes.get, seen) if node and node.op == "Placeholder"}
    assert {name for name in asked if name.startswith("input")} == {"input_mask"}


def test_folder_describes_itself(converted: dict[str, Path], static: Path) -> None:
    facts = json.loads((converted["mean"] / "tfhub_transfer.json").read_text())
    assert facts["name"] == "tiny-bert" and facts["licence"] == "mit"
    assert (facts["dimension"], facts["layers"], facts["pooling"]) == (HIDDEN, LAYERS, "mean")
    assert facts["sequence_length"] == POSITIONS
    assert (converted["mean"] / "assets" / "vocab.txt").read_text().split() == VOCABULARY
    information = registry.describe(str(static))
    assert information is not None
    assert (information.name, information.dimension, information.layers) == ("tiny-static", 8, 0)
    assert information.has_token_vectors


@pytest.mark.slow
def test_registry_converts_hugging_face_folders(sources: dict[str, Path]) -> None:
    folder = registry.resolve(sources["mean"])
    assert (folder / "saved_model.pb").is_file()
    assert run(load(folder), inputs())["pooled_output"].shape == (3, HIDDEN)


@pytest.mark.slow
def test_older_names_of_tensors(tmp_path: Path, converted: dict[str, Path]) -> None:
    """A model with a head keeps its encoder under `bert.`; TensorFlow's names lived on for long."""
    source = write_source(tmp_path / "source")
    renamed = {
        "bert." + name.replace("Norm.weight", "Norm.gamma").replace("Norm.bias", "Norm.beta"): value
        for name, value in random_tensors().items()
    }
    safetensors.numpy.save_file(renamed, source / "model.safetensors")
    conversion.convert(source, tmp_path / "out")
    outputs = [run(load(folder), inputs()) for folder in (tmp_path / "out", converted["pooler"])]
    np.testing.assert_array_equal(outputs[0]["pooled_output"], outputs[1]["pooled_output"])


# --------------------------------------------------------------------------------------------------
# The preprocessor

TEXTS = {
    "The film was GOOD!": ["the", "film", "was", "good", "!"],
    "playing, played": ["play", "##ing", ",", "play", "##ed"],
    "naïve café": ["naive", "cafe"],
    "a\u0000b\u200bc": ["a", "##b", "##c"],
    "the\u3000of\tgood\r\nbad\u2028it": ["the", "of", "good", "bad", "it"],
    "中文good": ["中", "文", "good"],
    "$5.0": ["$", "5", ".", "0"],
    "☃ good": ["[UNK]", "good"],
    "a" * 100: ["a"] + ["##a"] * 99,
    "a" * 101: ["[UNK]"],
    "[SEP]": ["[UNK]", "s", "##e", "##p", "[UNK]"],
    "": [],
    " \n": [],
}


def test_text_is_split_as_by_bert(converted: dict[str, Path]) -> None:
    tokenize = load(converted["mean"] / "preprocessor").tokenize
    found = tokenize(tf.constant(list(TEXTS))).merge_dims(1, -1).to_list()
    assert [[VOCABULARY[i] for i in row] for row in found] == list(TEXTS.values())


def test_cased_text_keeps_case_and_accents(tmp_path: Path) -> None:
    source = write_source(tmp_path / "source")
    words = [*SPECIAL, "Good", "good", "é", "e", "##é"]
    words += [f"filler{n}" for n in range(len(VOCABULARY) - len(words))]
    (source / "vocab.txt").write_text("\n".join(words), encoding="utf-8")
    (source / "tokenizer_config.json").write_text(json.dumps({"do_lower_case": False}))
    conversion.convert(source, tmp_path / "cased")
    tokenize = load(tmp_path / "cased" / "preprocessor").tokenize
    found = tokenize(tf.constant(["Good good é É"])).merge_dims(1, -1).to_list()[0]
    assert [words[i] for i in found] == ["Good", "good", "é", "[UNK]"]
    assert not bool(load(tmp_path / "cased").do_lower_case)


def test_preprocessor_packs_like_tf_hubs(converted: dict[str, Path]) -> None:
    preprocessor = load(converted["mean"] / "preprocessor")
    special = {k: int(v) for k, v in preprocessor.tokenize.get_special_tokens_dict().items()}
    cls, sep = VOCABULARY.index("[CLS]"), VOCABULARY.index("[SEP]")
    assert special == {
        "padding_id": 0,
        "start_of_sequence_id": cls,
        "end_of_segment_id": sep,
        "mask_id": VOCABULARY.index("[MASK]"),
        "vocab_size": len(VOCABULARY),
    }
    packed = preprocessor(tf.constant(["good film", ""]))
    assert set(packed) == set(INPUT_KEYS)
    assert {(*v.shape, v.dtype) for v in packed.values()} == {(2, 128, tf.int32)}
    good, film = VOCABULARY.index("good"), VOCABULARY.index("film")
    assert packed["input_word_ids"][0, :5].numpy().tolist() == [cls, good, film, sep, 0]
    assert tf.reduce_sum(packed["input_mask"], axis=1).numpy().tolist() == [4, 2]

    words = preprocessor.tokenize(tf.constant(["good " * 9]))
    for segment in (words, words.merge_dims(1, -1)):
        pair = preprocessor.bert_pack_inputs([segment, segment[:, :2]], seq_length=8)
        assert pair["input_word_ids"].numpy().tolist() == [
            [cls, good, good, good, sep, good, good, sep]
        ]
        assert pair["input_type_ids"].numpy().tolist() == [[0] * 5 + [1] * 3]
        single = preprocessor.bert_pack_inputs([segment], seq_length=tf.constant(5))
        assert single["input_word_ids"].numpy().tolist() == [[cls, good, good, good, sep]]
    assert preprocessor.bert_pack_inputs([words])["input_mask"].shape == (1, 128)


# --------------------------------------------------------------------------------------------------
# Bad sources

Damage = Callable[[Path], Any]


def set_config(**changes: Any) -> Damage:
    """Damage to a folder: other entries in its `config.json`; `None` removes one."""
    config = {k: v for k, v in (CONFIG | changes).items() if v is not None}
    return lambda folder: (folder / "config.json").write_text(json.dumps(config))


def set_tensor(name: str, value: np.ndarray | None) -> Damage:
    """Damage to a folder: a tensor replaced or, for `None`, removed."""

    def damage(folder: Path) -> None:
        tensors = random_tensors() | ({} if value is None else {name: value})
        if value is None:
            del tensors[name]
        safetensors.numpy.save_file(tensors, folder / "model.safetensors")

    return damage


def set_vocabulary(content: bytes) -> Damage:
    """Damage to a folder: another `vocab.txt`."""
    return lambda folder: (folder / "vocab.txt").write_bytes(content)


def truncate(folder: Path) -> None:
    """Damage to a folder: the second half of the weights is gone."""
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def set_header(size: int | None, header: bytes) -> Damage:
    """Damage to a folder: weights that are a header alone, of its size or of a claimed one."""
    length = (len(header) if size is None else size).to_bytes(8, "little")
    return lambda folder: (folder / "model.safetensors").write_bytes(length + header)


def set_json(name: str, **values: Any) -> Damage:
    """Damage to a folder: another file of settings."""
    return lambda folder: (folder / name).write_text(json.dumps(values))


QUERY = "encoder.layer.1.attention.self.query.weight"
ALL = "\n".join(VOCABULARY)
BAD_FOLDERS: dict[str, tuple[Damage, str]] = {
    "no vocabulary": (lambda f: (f / "vocab.txt").unlink(), "vocab.txt is missing"),
    "no weights": (lambda f: (f / "model.safetensors").unlink(), "model.safetensors is missing"),
    "no config": (lambda f: (f / "config.json").unlink(), "config.json is missing"),
    "config no JSON": (lambda f: (f / "config.json").write_text("{"), "readable JSON is expected"),
    "config a list": (lambda f: (f / "config.json").write_text("[]"), "an object in it"),
    "deberta": (set_config(model_type="deberta"), "bert, distilbert, electra.*Received: 'deberta'"),
    "no model type": (set_config(model_type=None), "bert, distilbert, electra.*Received: None"),
    "silu": (set_config(hidden_act="silu"), "hidden_act must be one of gelu,.*Received: 'silu'"),
    "relative": (set_config(position_embedding_type="relative_key"), "'absolute'"),
    "no size": (
        set_config(hidden_size=None),
        r"must have shape \(\d+, 768\), as config.json says, or transformers",
    ),
    "size a word": (set_config(num_hidden_layers="two"), "sizes as numbers"),
    "deep": (lambda f: (f / "config.json").write_text("[" * 100_000), "readable JSON"),
    "deep and valid": (set_config(more=json.loads("[" * 80 + "]" * 80)), "at most 64 levels"),
    "layers without end": (set_config(num_hidden_layers=10**9), "up to 1000 layers"),
    "size infinite": (set_config(hidden_size=1e999), "sizes as numbers"),
    "negative size": (set_config(vocab_size=-1, hidden_size=-16), "numbers above 0|longer than"),
    "huge size": (set_config(intermediate_size=10**12), r"must have shape \(1000000000000, 16\)"),
    "header beyond the file": (set_header(2**62, b"{}"), "model.safetensors can't be read"),
    "deep header": (set_header(None, b"[" * 100_000), "model.safetensors can't be read"),
    "huge tensor": (
        set_header(
            None,
            b'{"x":{"dtype":"F32","shape":[1000000,1000000],"data_offsets":[0,4000000000000]}}',
        ),
        "model.safetensors can't be read",
    ),
    "wrong length": (set_json("sentence_bert_config.json", max_seq_length="x"), "of type int"),
    "wrong case": (set_json("tokenizer_config.json", do_lower_case=5), "of type bool"),
    "Chinese together": (
        set_json("tokenizer_config.json", tokenize_chinese_chars=False),
        "tokenize_chinese_chars True.*Received: False",
    ),
    "Japanese words": (
        set_json("tokenizer_config.json", tokenizer_class="BertJapaneseTokenizer"),
        "by a dictionary.*Received: BertJapaneseTokenizer",
    ),
    "odd heads": (set_config(num_attention_heads=3), "multiple of num_attention_heads"),
    "other size": (set_config(intermediate_size=31), r"must have shape \(31, 16\)"),
    "more layers": (set_config(num_hidden_layers=3), "no tensor 'encoder.layer.2"),
    "truncated": (truncate, "model.safetensors can't be read"),
    "empty weights": (lambda f: (f / "model.safetensors").write_bytes(b""), "can't be read"),
    "no tensor": (set_tensor(QUERY, None), f"no tensor '{QUERY}'"),
    "other shape": (set_tensor(QUERY, np.zeros((16, 15), np.float32)), r"Received: \(16, 15\)"),
    "not finite": (set_tensor(QUERY, np.full((16, 16), np.nan, np.float32)), "Nothing was written"),
    "no [SEP]": (set_vocabulary(ALL.replace("[SEP]", "x").encode()), r"special token \[SEP\]"),
    "twice": (set_vocabulary(ALL.replace("dull", "good").encode()), "'good' twice"),
    "too long": (set_vocabulary((ALL + "\nmore").encode()), "must not be longer"),
    "latin-1": (set_vocabulary(ALL.encode() + b"\n\xe9"), "must be UTF-8"),
}


def refused(source: Path, output: Path, match: str, **arguments: Any) -> None:
    """The conversion fails with one line and leaves nothing where it was to write."""
    before = sorted(output.parent.iterdir())
    with pytest.raises(InputError, match=match) as raised:
        conversion.convert(source, output, **arguments)
    assert "\n" not in str(raised.value) and "Received: " in str(raised.value)
    assert sorted(output.parent.iterdir()) == before


@pytest.mark.parametrize("name", BAD_FOLDERS)
def test_bad_folder_is_refused(tmp_path: Path, name: str) -> None:
    damage, match = BAD_FOLDERS[name]
    source = write_source(tmp_path / "source")
    damage(source)
    refused(source, tmp_path / "out", match, method="bert")


def test_other_sources_and_arguments_are_refused(
    tmp_path: Path, sources: dict[str, Path], converted: dict[str, Path]
) -> None:
    output, good = tmp_path / "out", sources["mean"]
    (tmp_path / "empty").mkdir()
    refused(tmp_path / "nowhere", output, "no such file or folder")
    refused(tmp_path / "empty", output, "must hold config.json")
    refused(converted["mean"], output, "is an encoder in TF Hub's form already")
    refused(good, output, "`method` must be one of auto, bert", method="magic")
    refused(good, output, "`dimension` can be chosen for method 'static'", dimension=4)
    for wrong, message in (
        (0, "`dimension` must be a whole number from 1 to .* Received: 0"),
        (17, "`dimension` must be between 1 and .* Received: dimension=17"),
    ):
        refused(converted["mean"], output, message, method="static", dimension=wrong)
    refused(tmp_path / "empty", output, "Distilling needs a Hugging Face", method="static")


@pytest.mark.slow
def test_occupied_output_is_refused_or_replaced(tmp_path: Path, sources: dict[str, Path]) -> None:
    output = tmp_path / "out"
    output.mkdir()
    conversion.convert(sources["mean"], output)  # empty: as if it were not there
    (output / "mine.txt").write_text("keep")
    refused(sources["mean"], output, "exists and isn't empty")
    refused(sources["mean"], output / "mine.txt", "must be a folder")
    assert (output / "mine.txt").read_text() == "keep"

    bad = write_source(tmp_path / "bad", intermediate_size=31)
    refused(sources["mean"], output, "this package didn't write", overwrite=True)
    assert (output / "mine.txt").exists()
    (output / "mine.txt").unlink()
    refused(bad, output, "must have shape", overwrite=True)
    assert (output / "saved_model.pb").exists()
    conversion.convert(sources["pooler"], output, overwrite=True)
    refused(sources["mean"], sources["mean"], "apart from what is read", overwrite=True)


@pytest.mark.slow
def test_missing_parents_are_made(tmp_path: Path, sources: dict[str, Path]) -> None:
    conversion.convert(sources["mean"], tmp_path / "a" / "b" / "out")
    assert [path.name for path in tmp_path.iterdir()] == ["a"]
    assert run(load(tmp_path / "a" / "b" / "out"), inputs())["default"].shape == (3, HIDDEN)


@pytest.mark.parametrize(
    "error",
    [OSError(errno.ENOSPC, "full"), tf.errors.ResourceExhaustedError(None, None, "full")],
    ids=["python", "tensorflow"],
)
def test_full_disk(
    tmp_path: Path, sources: dict[str, Path], monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def save(folder: Path, *_: Any) -> None:
        folder.mkdir()
        raise error

    monkeypatch.setattr(hub_format, "save_preprocessor", save)
    refused(sources["mean"], tmp_path / "out", "no space left on the disk")


# --------------------------------------------------------------------------------------------------
# Static vectors


def rows(folder: Path) -> dict[str, np.ndarray]:
    """The static table, by word piece."""
    pieces = (folder / "assets" / "vocab.txt").read_text(encoding="utf-8").split("\n")[:-1]
    table = load(folder).variables[0]
    assert table.name == "word_embeddings/embeddings:0"
    return dict(zip(pieces, table.numpy(), strict=True))


def test_static_outputs_are_rows_and_their_mean(static: Path) -> None:
    encoder, table = load(static), rows(static)
    packed = load(static / "preprocessor")(tf.constant(["good film!", "playing", ""]))
    found = encoder(packed, training=False)
    np.testing.assert_array_equal(found["sequence_output"][0, 2], table["film"])
    expected = [
        np.mean([table["good"], table["film"], table["!"]], axis=0),
        np.mean([table["play"], table["##ing"]], axis=0),
        np.zeros(8),
    ]
    np.testing.assert_allclose(found["pooled_output"], expected, atol=1e-6)
    np.testing.assert_array_equal(found["default"], found["pooled_output"])
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(encoder(packed, training=True)["pooled_output"])
    gradient = tape.gradient(loss, encoder.trainable_variables)[0]
    touched = np.abs(tf.convert_to_tensor(gradient).numpy()).sum(1) > 0
    assert {p for p, t in zip(table, touched) if t} == {"good", "film", "!", "play", "##ing"}


def test_static_vocabulary_is_pruned_but_splits_any_text(static: Path) -> None:
    pieces = set(rows(static))
    assert pieces == set(VOCABULARY) - {"[unused0]", "[unused1]", "слово"}
    tokenize = load(static / "preprocessor").tokenize
    found = tokenize(tf.constant(["unheard of 中"])).merge_dims(1, -1).to_list()[0]
    assert len(found) == len("unheard") + 2


def test_static_table_is_weighted_components_of_averaged_states(
    sources: dict[str, Path], static: Path
) -> None:
    table = rows(static)
    pieces = list(table)
    ids = np.array([[VOCABULARY.index(p) for p in ("[CLS]", piece, "[SEP]")] for piece in pieces])
    layers = [random_tensors()["embeddings.word_embeddings.weight"][ids[:, 1]]]
    layers += [out[:, 1] for out in forward(ids, np.ones_like(ids), np.zeros_like(ids))]
    words = [len(p.removeprefix("##")) > 1 and p not in SPECIAL for p in pieces]
    average = np.zeros_like(layers[0])
    for layer in layers:
        centred = layer - layer[words].mean(0)
        average = average + centred / np.linalg.norm(centred, axis=1, keepdims=True)
    average = average - average[words].mean(0)
    axes = np.linalg.svd(average[words], full_matrices=False)[2][:8]
    ranks = {p: rank for rank, p in enumerate(p for p, word in zip(pieces, words) if word)}
    total = sum(1 / (rank + 2) for rank in ranks.values())
    number = [ranks.get(p, 0 if p in SIGNS[:-2] else len(ranks) // 2) for p in pieces]
    weights = 1e-4 / (1e-4 + 1 / (np.array(number) + 2) / total)
    expected = average @ axes.T * weights[:, None]
    expected[[p in SPECIAL for p in pieces]] = 0
    expected /= np.sqrt((expected[words] ** 2).mean())
    found = np.stack(list(table.values()))
    # Products of rows do not depend on the axes' signs.
    np.testing.assert_allclose(found @ found.T, expected @ expected.T, atol=1e-3)
    assert np.isclose((found[words] ** 2).mean(), 1.0, atol=1e-5)


@pytest.mark.slow
def test_static_of_a_hub_encoder_is_that_of_its_source(
    converted: dict[str, Path], static: Path, tmp_path: Path
) -> None:
    conversion.convert(converted["mean"], tmp_path / "again", method="static", dimension=8)
    for piece, row in rows(tmp_path / "again").items():
        np.testing.assert_array_equal(row, rows(static)[piece])


def test_static_text_dialect_gives_the_same_vectors(
    converted: dict[str, Path], static: Path, tmp_path: Path
) -> None:
    conversion.distill_static(converted["mean"], tmp_path / "text", 8, dialect="text")
    texts = tf.constant(["Good film!", "", "playing the 中"])
    encoder = load(tmp_path / "text")
    assert [variable.name for variable in encoder.trainable_variables] == ["embeddings:0"]
    expected = load(static)(load(static / "preprocessor")(texts), training=False)["default"]
    np.testing.assert_allclose(encoder(texts), expected, atol=1e-6)
    information = registry.describe(str(tmp_path / "text"))
    assert information is not None and not information.has_token_vectors


def test_static_keeps_a_chosen_vocabulary(converted: dict[str, Path], tmp_path: Path) -> None:
    chosen = ["good", "bad", "film", "##ing"]
    conversion.distill_static(converted["mean"], tmp_path / "few", 4, vocabulary=chosen)
    always = [p for p in VOCABULARY if len(p.removeprefix("##")) == 1 or p in SPECIAL]
    kept = set(always) - {"[unused0]", "[unused1]"} | set(chosen)
    assert set(rows(tmp_path / "few")) == kept


def test_static_bad_arguments(converted: dict[str, Path], tmp_path: Path) -> None:
    bad: dict[str, dict[str, Any]] = {
        "`vocabulary` must name word pieces.*Received: 'quark'": {"vocabulary": ["quark"]},
        "at least as many whole words as dimensions": {"vocabulary": ["good"]},
        "`dialect` must be 'bert' or 'text'": {"dialect": "french"},
    }
    for match, arguments in bad.items():
        with pytest.raises(InputError, match=match):
            conversion.distill_static(converted["mean"], tmp_path / "out", 8, **arguments)
    assert list(tmp_path.iterdir()) == []


def test_static_of_a_text_encoder_is_refused(static: Path, tmp_path: Path) -> None:
    conversion.convert_word_vectors(write_vectors(tmp_path / "vectors.txt"), tmp_path / "text")
    refused(tmp_path / "text", tmp_path / "out", "assets/vocab.txt", method="static")
    shutil.copy(static / "assets" / "vocab.txt", tmp_path / "text" / "assets")
    refused(tmp_path / "text", tmp_path / "out", "of the BERT dialect", method="static")


# --------------------------------------------------------------------------------------------------
# Word vectors

VECTORS = "the 1 2 3\ngood 4 5 6\nfilm -1 0.5 1e-1\n"


def write_vectors(path: Path, content: str | bytes = VECTORS) -> Path:
    """A file of word vectors, gzipped if its name says so."""
    data = content if isinstance(content, bytes) else content.encode()
    path.write_bytes(gzip.compress(data) if path.suffix == ".gz" else data)
    return path


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("glove.txt", VECTORS),
        ("glove.txt.gz", VECTORS),
        ("fasttext.vec", "3 3\n" + VECTORS.replace("\n", " \n")),
        ("twice.txt", VECTORS + "good 9 9 9\n"),
        ("windows.txt", VECTORS.replace("\n", "\r\n")),
        ("unended.txt", VECTORS.rstrip()),
    ],
)
def test_word_vectors_are_combined_as_by_nnlm(tmp_path: Path, name: str, content: str) -> None:
    conversion.convert(write_vectors(tmp_path / name, content), tmp_path / "out")
    encoder = load(tmp_path / "out")
    texts = tf.constant(["The good, film!", "good good", "good xyzzy", "", "?!"])
    the, good, film = np.array([[1, 2, 3], [4, 5, 6], [-1, 0.5, 0.1]])
    expected = [(the + good + film) / 3**0.5, good * 2**0.5, good / 2**0.5, 0 * good, 0 * good]
    np.testing.assert_allclose(encoder(texts), expected, atol=1e-6)
    facts = json.loads((tmp_path / "out" / "tfhub_transfer.json").read_text())
    assert facts["dialect"] == "text" and facts["dimension"] == 3
    assert facts["name"] == name.split(".")[0]


def test_word_vectors_train_with_buckets_for_unknown_words(tmp_path: Path) -> None:
    source = write_vectors(tmp_path / "v.txt")
    conversion.convert_word_vectors(source, tmp_path / "out", oov_buckets=7)
    encoder = load(tmp_path / "out")
    (table,) = encoder.trainable_variables
    assert (table.name, table.shape) == ("embeddings:0", (3 + 7, 3))
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(encoder(tf.constant(["good xyzzy"])))
    gradient = tf.convert_to_tensor(tape.gradient(loss, table)).numpy().sum(1)
    assert gradient[1] > 0 and np.count_nonzero(gradient[3:]) == 1 and not gradient[[0, 2]].any()


def test_word_vectors_options(tmp_path: Path) -> None:
    cased = write_vectors(tmp_path / "cased.txt", "The 1 2\nthe 3 4\nnew york 5 6\n\u2028x 7 8\n")
    conversion.convert_word_vectors(cased, tmp_path / "cased")
    np.testing.assert_allclose(load(tmp_path / "cased")(tf.constant(["The"])), [[1, 2]])
    conversion.convert_word_vectors(cased, tmp_path / "lower", lower_case=True, max_words=3)
    np.testing.assert_allclose(load(tmp_path / "lower")(tf.constant(["The"])), [[3, 4]])
    tokens = (tmp_path / "lower" / "assets" / "tokens.txt").read_text()
    assert tokens == "The\nthe\nnew york\n"
    for name in ("oov_buckets", "max_words"):
        with pytest.raises(InputError, match=f"`{name}` must be a whole number from 1"):
            arguments: dict[str, Any] = {name: 0}
            conversion.convert_word_vectors(cased, tmp_path / "out", **arguments)


@pytest.mark.parametrize(
    ("content", "match"),
    [
        ("", "at least one. Received: "),
        ("the 1 2\ngood 1\n", "2 finite numbers.*at line 2 of"),
        ("the 1 2\n\ngood 1 2\n", "Received: '' at line 2 of"),
        ("the 1 2\ngood 1 x\n", "'good 1 x' at line 2"),
        ("the 1 nan\n", "finite numbers.*line 1"),
        ("2 2\nthe 1 2\ngood 1 2 \nbad 1 inf\n", "line 4"),
        ("the 1 1e99\n", "finite numbers.*line 1"),
        ("just some prose\n", "finite numbers.*line 1"),
        ("word\n", "1 finite numbers.*line 1"),
        ("5 2\nthe 1 2\n", "promises 5 words.*Received: 1 words"),
        (b"the 1 2\n\xff\xfe 1 2\n", "must be UTF-8 text.*Received: line 2"),
    ],
)
@pytest.mark.filterwarnings("error")
def test_bad_word_vectors_are_refused(tmp_path: Path, content: str | bytes, match: str) -> None:
    refused(write_vectors(tmp_path / "v.txt", content), tmp_path / "out", match)


def test_unreadable_gzip_is_refused(tmp_path: Path) -> None:
    whole = gzip.compress((VECTORS * 1000).encode())
    for name, data in (("cut.gz", whole[:-20]), ("plain.gz", VECTORS.encode())):
        (tmp_path / name).write_bytes(data)
        refused(tmp_path / name, tmp_path / "out", f"can't be read to the end.*{name} after line")


# --------------------------------------------------------------------------------------------------
# The real thing


@pytest.mark.weights
@pytest.mark.slow
def test_minilm_gives_what_transformers_gives(weights_folder: Path, tmp_path: Path) -> None:
    conversion.convert(weights_folder, tmp_path / "minilm")
    preprocessor, encoder = load(tmp_path / "minilm" / "preprocessor"), load(tmp_path / "minilm")
    texts = tf.constant(["A man is eating food.", "Ein naïves café costs $5!"])
    packed = preprocessor(texts)
    ids = [101, 16417, 15743, 2015, 7668, 5366, 1002, 1019, 999, 102]
    assert packed["input_word_ids"][1, :10].numpy().tolist() == ids
    pooled = encoder(packed, training=False)["pooled_output"]
    # Computed with transformers 5.23 and torch 2.13, masked mean of the last hidden state.
    expected = [
        [0.1872391, 0.0248177, -0.0353562, 0.2725016, -0.7812651, -0.1893560],
        [0.2179497, 0.3753411, -0.0488351, 0.4260435, 0.2203955, 0.0821360],
    ]
    np.testing.assert_allclose(pooled[:, :6], expected, atol=1e-5)


def test_packaged_static_encoder_is_small_documented_and_sensible() -> None:
    folder = registry.resolve("static-minilm-256")
    files = [path for path in folder.rglob("*") if path.is_file()]
    assert sum(path.stat().st_size for path in files) <= 32_000_000
    card = (folder / "README.md").read_text(encoding="utf-8")
    assert "license: apache-2.0" in card and "tfhub-transfer convert FOLDER --method static" in card
    assert "Apache License" in (folder / "LICENSE").read_text()

    texts = ["The cat sat on the mat.", "A kitten was sitting on a rug.", "Shares fell on Monday."]
    packed = load(folder / "preprocessor")(tf.constant(texts))
    pooled = load(folder)(packed, training=False)["pooled_output"].numpy()
    unit = pooled / np.linalg.norm(pooled, axis=1, keepdims=True)
    alike, unlike, other = (unit @ unit.T)[[0, 0, 1], [1, 2, 2]]
    assert alike > 0.4 and alike > 2 * max(unlike, other)
