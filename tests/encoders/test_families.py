"""Families of encoders: each says what its weights say by the conventions of transformers."""

import functools
import json
import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import pytest
import safetensors.numpy
import tensorflow as tf
import torch_layers

import tfhub_transfer as tt
from tfhub_transfer.encoders import conversion, families, hub_format, huggingface, tensor_files
from tfhub_transfer.encoders.bert_graphs import INPUT_KEYS
from tfhub_transfer.encoders.bert_shapes import BertShape, bert_variable_shapes
from tfhub_transfer.errors import InputError
from tfhub_transfer.recipes import students

LAYERS, HIDDEN, HEADS, WIDE, POSITIONS, NARROW = 2, 16, 2, 32, 24, 8
VOCABULARY = [*hub_format.SPECIAL_TOKENS, *"abcdefgh", "##ing", "Good", "good", "film", "é"]
BERT_SIZES: dict[str, Any] = {
    "num_hidden_layers": LAYERS,
    "hidden_size": HIDDEN,
    "num_attention_heads": HEADS,
    "intermediate_size": WIDE,
    "max_position_embeddings": POSITIONS,
    "vocab_size": len(VOCABULARY),
    "type_vocab_size": 2,
}
ROBERTA = BERT_SIZES | {"layer_norm_eps": 0.01, "pad_token_id": 1, "type_vocab_size": 1}
CONFIGS: dict[str, dict[str, Any]] = {
    "bert": {"model_type": "bert", "hidden_act": "gelu", **BERT_SIZES},
    "electra": {
        **{"model_type": "electra", "hidden_act": "gelu_new"},
        **BERT_SIZES,
        "embedding_size": NARROW,
    },
    "distilbert": {
        **{"model_type": "distilbert", "activation": "relu", "n_layers": LAYERS, "dim": HIDDEN},
        **{"n_heads": HEADS, "hidden_dim": WIDE, "max_position_embeddings": POSITIONS},
        **{"vocab_size": len(VOCABULARY), "sinusoidal_pos_embds": True},
    },
    "roberta": {"model_type": "roberta", **ROBERTA},
    "xlm-roberta": {"model_type": "xlm-roberta", **ROBERTA, "type_vocab_size": 2},
    # Padding isn't always the second piece.
    "camembert": {"model_type": "camembert", **ROBERTA, "pad_token_id": 3},
    "mpnet": {"model_type": "mpnet", **ROBERTA, "relative_attention_num_buckets": 32},
    "albert": {"model_type": "albert", **BERT_SIZES, "embedding_size": NARROW},
}
# Query, key, value, output, norm, up, down, norm.
BERT_LAYER = (
    *("attention.self.query", "attention.self.key", "attention.self.value"),
    *("attention.output.dense", "attention.output.LayerNorm"),
    *("intermediate.dense", "output.dense", "output.LayerNorm"),
)
DISTILBERT_LAYER = (
    *("attention.q_lin", "attention.k_lin", "attention.v_lin", "attention.out_lin"),
    *("sa_layer_norm", "ffn.lin1", "ffn.lin2", "output_layer_norm"),
)
MPNET_LAYER = (
    *("attention.attn.q", "attention.attn.k", "attention.attn.v", "attention.attn.o"),
    *("attention.LayerNorm", "intermediate.dense", "output.dense", "output.LayerNorm"),
)
ALBERT_LAYER = (
    *("attention.query", "attention.key", "attention.value", "attention.dense"),
    *("attention.LayerNorm", "ffn", "ffn_output", "full_layer_layer_norm"),
)
LAYER_PARTS = {"distilbert": DISTILBERT_LAYER, "mpnet": MPNET_LAYER, "albert": ALBERT_LAYER}
PREFIXES = {"xlm-roberta": "roberta", "camembert": "roberta"}
PROJECTIONS = {
    "electra": "embeddings_project",
    "albert": "encoder.embedding_hidden_mapping_in",
}
POOLERS = {
    **dict.fromkeys(("bert", "roberta", "xlm-roberta", "camembert", "mpnet"), "pooler.dense"),
    "albert": "pooler",
}
# Where the next range of distances begins, of those that are not told apart one by one.
RANGES = (12, 16, 23, 32, 46, 64, 91)


def layer_parts(family: str, index: int) -> list[str]:
    """What transformers calls the parts of a layer."""
    at = {
        "distilbert": f"transformer.layer.{index}",
        "albert": "encoder.albert_layer_groups.0.albert_layers.0",
    }.get(family, f"encoder.layer.{index}")
    return [f"{at}.{part}" for part in LAYER_PARTS.get(family, BERT_LAYER)]


def random_tensors(
    family: str, positions: int = POSITIONS, narrow: int = NARROW
) -> dict[str, np.ndarray]:
    """The tensors as transformers names and turns them."""
    width = narrow if family in PROJECTIONS else HIDDEN
    shapes: dict[str, tuple[int, ...]] = {
        "embeddings.word_embeddings.weight": (len(VOCABULARY), width),
        "embeddings.position_embeddings.weight": (positions, width),
        "embeddings.LayerNorm.weight": (width,),
        "embeddings.LayerNorm.bias": (width,),
    }
    if family not in ("distilbert", "mpnet"):
        rows = CONFIGS[family]["type_vocab_size"]
        shapes["embeddings.token_type_embeddings.weight"] = (rows, width)
    if family in PROJECTIONS:
        shapes |= {f"{PROJECTIONS[family]}.weight": (HIDDEN, narrow)}
        shapes |= {f"{PROJECTIONS[family]}.bias": (HIDDEN,)}
    if family == "mpnet":
        shapes |= {"encoder.relative_attention_bias.weight": (32, HEADS)}
    square, sizes = (HIDDEN, HIDDEN), {5: (WIDE, HIDDEN), 6: (HIDDEN, WIDE)}
    for index in range(LAYERS):
        for number, part in enumerate(layer_parts(family, index)):
            size = (HIDDEN,) if number in (4, 7) else sizes.get(number, square)
            shapes |= {f"{part}.weight": size, f"{part}.bias": size[:1]}
    generator = np.random.default_rng(5)
    return {
        name: (generator.normal(size=size) * 0.5 + is_norm(name)).astype(np.float32)
        for name, size in shapes.items()
    }


def is_norm(name: str) -> bool:
    """Whether a tensor scales what a layer norm gives."""
    return name.endswith("orm.weight")


def embedded(family: str, t: Mapping[str, np.ndarray], arrays: Mapping[str, Any]) -> np.ndarray:
    """What the first layer reads."""
    ids, mask, types = arrays.values()
    config = CONFIGS[family]
    x = t["embeddings.word_embeddings.weight"][ids]
    places = np.broadcast_to(np.arange(ids.shape[1]), ids.shape)
    if family in ("roberta", "xlm-roberta", "camembert", "mpnet"):
        # As transformers has it: from behind padding's own number on, and that for padding.
        places = np.cumsum(mask, 1) * mask + config["pad_token_id"]
        types = np.zeros_like(types)
    x = x + t["embeddings.position_embeddings.weight"][places]
    if "embeddings.token_type_embeddings.weight" in t:
        x = x + t["embeddings.token_type_embeddings.weight"][types]
    x = torch_layers.norm(t, x, "embeddings.LayerNorm", config.get("layer_norm_eps", 0.0))
    return torch_layers.linear(t, x, PROJECTIONS[family]) if family in PROJECTIONS else x


def distance_bias(t: Mapping[str, np.ndarray], length: int) -> np.ndarray:
    """What MPNet adds to scores, [heads, length, length], pair by pair."""
    table = t["encoder.relative_attention_bias.weight"]
    found = np.zeros((HEADS, length, length))
    for query, key in np.ndindex(length, length):
        away = abs(query - key)
        row = away if away < 8 else 8 + sum(away >= begin for begin in RANGES)
        found[:, query, key] = table[row + (16 if key > query else 0)]
    return found


def forward(
    family: str, arrays: Mapping[str, np.ndarray], positions: int = POSITIONS
) -> list[np.ndarray]:
    """Each layer's output, by PyTorch's conventions, one head after the other."""
    t, config = random_tensors(family, positions), CONFIGS[family]
    usual = "gelu_new" if family == "albert" else "gelu"
    act = torch_layers.ACTIVATIONS[config.get("hidden_act") or config.get("activation", usual)]
    linear = functools.partial(torch_layers.linear, t)
    norm = functools.partial(torch_layers.norm, t, epsilon=config.get("layer_norm_eps", 0.0))
    x, mask, outputs = embedded(family, t, arrays), arrays["input_mask"], []
    bias = distance_bias(t, x.shape[1]) if family == "mpnet" else np.zeros((HEADS, 1, 1))
    for index in range(LAYERS):
        query, key, value, out, first, up, down, last = layer_parts(family, index)
        q, k, v = (linear(x, part) for part in (query, key, value))
        heads = []
        for number, cut in enumerate(np.split(np.arange(HIDDEN), HEADS)):
            scores = q[..., cut] @ k[..., cut].swapaxes(1, 2) / math.sqrt(HIDDEN // HEADS)
            shares = np.exp(scores + bias[number]) * mask[:, None, :]
            heads.append(shares / shares.sum(-1, keepdims=True) @ v[..., cut])
        x = norm(x + linear(np.concatenate(heads, -1), out), first)
        x = norm(x + linear(act(linear(x, up)), down), last)
        outputs.append(x)
    return outputs


def tokenizer_json(**normalizer: Any) -> dict[str, Any]:
    """What transformers 5 writes in the place of vocab.txt."""
    vocab = {piece: number for number, piece in enumerate(VOCABULARY)}
    model = {"type": "WordPiece", "continuing_subword_prefix": "##", "vocab": vocab}
    return {"normalizer": {"type": "BertNormalizer", **normalizer}, "model": model}


def write(folder: Path, family: str, more: Mapping[str, Any] | None = None, **config: Any) -> Path:
    """A tiny random encoder as a Hugging Face folder; `more` are JSON files of it."""
    folder.mkdir()
    files = {"config.json": CONFIGS[family] | config, **(more or {})}
    for name, content in files.items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(json.dumps(content))
    safetensors.numpy.save_file(random_tensors(family), folder / "model.safetensors")
    if "tokenizer.json" not in files:
        (folder / "vocab.txt").write_text("\n".join(VOCABULARY) + "\n", encoding="utf-8")
    return folder


def with_a_head(family: str) -> dict[str, np.ndarray]:
    """As a model for a task has them, with the names of TensorFlow's norms."""
    prefix = PREFIXES.get(family, family)
    named = {f"{prefix}.{name}": value for name, value in random_tensors(family).items()}
    old = {
        name.replace("orm.weight", "orm.gamma").replace("orm.bias", "orm.beta"): value
        for name, value in named.items()
    }
    return old | {
        "classifier.weight": np.ones((2, HIDDEN), np.float32),
        f"{prefix}.embeddings.position_ids": np.arange(POSITIONS),
    }


def inputs(length: int = 7) -> dict[str, np.ndarray]:
    """Random tokens, the last row padded from its fourth on."""
    generator = np.random.default_rng(1)
    ids = generator.integers(0, len(VOCABULARY), (3, length)).astype(np.int32)
    types = generator.integers(0, 2, ids.shape).astype(np.int32)
    mask = np.ones_like(ids)
    mask[-1, 3:] = 0
    return dict(zip(INPUT_KEYS, (ids, mask, types), strict=True))


def run(encoder: Any, arrays: Mapping[str, np.ndarray], training: bool = False) -> dict[str, Any]:
    """The encoder's outputs."""
    return encoder.__call__({k: tf.constant(v) for k, v in arrays.items()}, training=training)


# Of these the graphs differ; the others are converted in `test_robertas_...`.
WHOLE = ("bert", "electra", "distilbert", "mpnet", "albert")


@pytest.fixture(scope="module")
def converted(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """An encoder of each family, converted, out of a model with a head; BERT's has a vocab.txt."""
    folder = tmp_path_factory.mktemp("families")
    for family in WHOLE:
        more = {"tokenizer.json": tokenizer_json(lowercase=False)}
        source = write(folder / f"{family}_source", family, more if family != "bert" else {})
        safetensors.numpy.save_file(with_a_head(family), source / "model.safetensors")
        conversion.convert(source, folder / family)
    return {family: folder / family for family in WHOLE}


@pytest.mark.parametrize("family", WHOLE)
def test_outputs_are_those_of_the_source(converted: dict[str, Path], family: str) -> None:
    arrays = inputs()
    found = run(tf.saved_model.load(str(converted[family])), arrays)
    present = arrays["input_mask"] == 1
    for ours, theirs in zip(found["encoder_outputs"], forward(family, arrays), strict=True):
        np.testing.assert_allclose(ours.numpy()[present], theirs[present], atol=2e-5)
    # None of these has a pooler.
    np.testing.assert_array_equal(found["pooled_output"], found["sequence_output"][:, 0])
    facts = json.loads((converted[family] / "tfhub_transfer.json").read_text())
    assert (facts["made_by"], facts["pooling"]) == (family, "first")
    pieces = (converted[family] / "assets" / "vocab.txt").read_text(encoding="utf-8").split("\n")
    assert pieces[:-1] == VOCABULARY


def test_segments_are_taken_and_ignored_where_there_are_none(converted: dict[str, Path]) -> None:
    arrays = inputs()
    others = arrays | {"input_type_ids": 1 - arrays["input_type_ids"]}
    for family in WHOLE:
        encoder = tf.saved_model.load(str(converted[family]))
        outputs = [run(encoder, each)["sequence_output"].numpy() for each in (arrays, others)]
        assert np.array_equal(*outputs) == (family not in ("bert", "electra", "albert"))


@pytest.mark.parametrize("family", ["roberta", "xlm-roberta", "camembert"])
def test_robertas_begin_behind_paddings_position(tmp_path: Path, family: str) -> None:
    source = write(tmp_path / "source", family)
    safetensors.numpy.save_file(with_a_head(family), source / "model.safetensors")
    found, arrays = read(source), inputs()
    positions = POSITIONS - CONFIGS[family]["pad_token_id"] - 1
    assert found.shape.positions == found.information()["sequence_length"] == positions
    assert len(found.values["position_embedding/embeddings"]) == positions
    encoder = hub_format.bert_encoder(found.values, found.shape, found.vocab, True)
    outputs = run(encoder, arrays)
    present = arrays["input_mask"] == 1
    for ours, theirs in zip(outputs["encoder_outputs"], forward(family, arrays), strict=True):
        np.testing.assert_allclose(ours.numpy()[present], theirs[present], atol=2e-5)
    np.testing.assert_array_equal(outputs["pooled_output"], outputs["sequence_output"][:, 0])
    # No table of types is left that a pair could be looked up in.
    assert not any("type" in name for name in found.values)


def test_distances_are_told_apart_as_far_as_they_are_in_mpnet(tmp_path: Path) -> None:
    positions, length = 145, 140
    source = write(tmp_path / "source", "mpnet", max_position_embeddings=positions)
    safetensors.numpy.save_file(random_tensors("mpnet", positions), source / "model.safetensors")
    found = read(source)
    arrays = inputs(length)
    outputs = run(hub_format.bert_encoder(found.values, found.shape, found.vocab, True), arrays)
    present = arrays["input_mask"] == 1
    expected = forward("mpnet", arrays, positions)[-1]
    np.testing.assert_allclose(
        outputs["sequence_output"].numpy()[present], expected[present], atol=5e-5
    )


@pytest.mark.parametrize("family", PROJECTIONS)
def test_albert_projects_whatever_is_as_wide_as_its_layers(tmp_path: Path, family: str) -> None:
    source = write(tmp_path / "source", family, embedding_size=HIDDEN)
    tensors = random_tensors(family, narrow=HIDDEN)
    safetensors.numpy.save_file(tensors, source / "model.safetensors")
    assert ("embedding_projection/kernel" in read(source).values) == (family == "albert")


@pytest.mark.parametrize("family", POOLERS)
def test_poolers_are_the_sources(tmp_path: Path, family: str) -> None:
    name, source = POOLERS[family], write(tmp_path / "source", family)
    generator = np.random.default_rng(2)
    pooler = {
        f"{name}.weight": generator.normal(size=(HIDDEN, HIDDEN)).astype(np.float32),
        f"{name}.bias": generator.normal(size=HIDDEN).astype(np.float32),
    }
    safetensors.numpy.save_file(random_tensors(family) | pooler, source / "model.safetensors")
    found = read(source)
    assert found.information()["pooling"] == "pooler"
    arrays = inputs()
    outputs = run(hub_format.bert_encoder(found.values, found.shape, found.vocab, True), arrays)
    first = torch_layers.linear(pooler, forward(family, arrays)[-1][:, 0], name)
    np.testing.assert_allclose(outputs["pooled_output"], np.tanh(first), atol=2e-5)


@pytest.mark.parametrize("family", ["mpnet", "albert"])
def test_frozen_layers_are_not_computed_twice(converted: dict[str, Path], family: str) -> None:
    encoder = tt.Encoder(str(converted[family]))
    encoder.freeze_to(-1)
    # The biases of distances are the layers' below and above; one shared layer has none below it.
    assert encoder.boundary() == (0 if family == "mpnet" else None)
    names = {name for name, _ in encoder.layer_groups[:1]}
    thawed = [w for w in encoder.named_weights().values() if w.trainable]
    assert names == {"embeddings"} and len(thawed) == 16


@pytest.mark.parametrize("family", WHOLE)
def test_encoders_learn(converted: dict[str, Path], family: str) -> None:
    encoder = tt.Encoder(str(converted[family]))
    assert encoder.do_lower_case == (family == "bert")
    # Layers that are one can't be told apart.
    layers = ["layers"] if family == "albert" else ["layer_0", "layer_1"]
    assert [name for name, _ in encoder.layer_groups] == ["embeddings", *layers]
    loaded = tf.saved_model.load(str(converted[family]))
    names = [variable.name for variable in loaded.trainable_variables]
    assert ("embedding_projection/kernel:0" in names) == (family in PROJECTIONS)
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(run(loaded, inputs(), training=True)["sequence_output"] ** 3)
    gradients = tape.gradient(loss, loaded.trainable_variables)
    sizes = {n: float(tf.norm(tf.convert_to_tensor(g))) for n, g in zip(names, gradients)}
    # A key's bias shifts all scores of a query alike, which softmax does not see.
    assert [n for n, size in sizes.items() if size < 1e-6 and "key/bias" not in n] == []


# --------------------------------------------------------------------------------------------------
# What a folder says


def read(source: Path) -> huggingface.BertFolder:
    """The folder; its vocabulary may be written beside it."""
    return huggingface.read(source, source.parent)


POOLINGS: dict[str, tuple[dict[str, Any], str]] = {
    "mean": ({"pooling_mode_mean_tokens": True, "pooling_mode_cls_token": False}, "mean"),
    "first": ({"pooling_mode_cls_token": True}, "first"),
    "new mean": ({"pooling_mode": "mean"}, "mean"),
    "new first": ({"pooling_mode": ["cls"]}, "first"),
    "untold": ({"word_embedding_dimension": 16}, "own"),
}


@pytest.mark.parametrize("name", POOLINGS)
def test_pooling_is_sentence_transformers(tmp_path: Path, name: str) -> None:
    told, wanted = POOLINGS[name]
    source = write(tmp_path / "source", "bert", {"1_Pooling/config.json": told})
    pooler = {"pooler.dense.weight": np.eye(HIDDEN), "pooler.dense.bias": np.ones(HIDDEN)}
    tensors = {n: v.astype(np.float32) for n, v in pooler.items()} | random_tensors("bert")
    safetensors.numpy.save_file(tensors, source / "model.safetensors")
    found = read(source)
    made = hub_format.bert_encoder(found.values, found.shape, found.vocab, True)
    arrays = inputs()
    outputs = run(made, arrays)
    tokens, present = outputs["sequence_output"].numpy(), arrays["input_mask"][..., None]
    expected = {
        "mean": (tokens * present).sum(1) / present.sum(1),
        "first": tokens[:, 0],
        "own": np.tanh(tokens[:, 0] + 1.0),
    }[wanted]
    np.testing.assert_allclose(outputs["pooled_output"], expected, atol=1e-5)


@pytest.mark.parametrize("kind", [np.float16, ml_dtypes.bfloat16, np.float64])
@pytest.mark.parametrize("parts", [1, 2])
def test_weights_of_any_precision_in_one_file_or_several(
    tmp_path: Path, kind: Any, parts: int
) -> None:
    source = write(tmp_path / "source", "distilbert")
    tensors = {name: value.astype(kind) for name, value in random_tensors("distilbert").items()}
    if parts == 1:
        safetensors.numpy.save_file(tensors, source / "model.safetensors")
    else:
        (source / "model.safetensors").unlink()
        files = {name: f"model-{i % 2}.safetensors" for i, name in enumerate(tensors)}
        for file in set(files.values()):
            own = {name: value for name, value in tensors.items() if files[name] == file}
            safetensors.numpy.save_file(own, source / file)
        (source / tensor_files.INDEX).write_text(json.dumps({"weight_map": files}))
    values = read(source).values
    assert {value.dtype for value in values.values()} == {np.dtype(np.float32)}
    expected = tensors["transformer.layer.1.ffn.lin1.weight"].astype(np.float32).T
    np.testing.assert_array_equal(values["transformer/layer_1/intermediate/kernel"], expected)


def test_settings_of_the_tokenizer_are_in_either_file(tmp_path: Path) -> None:
    whole = tokenizer_json(lowercase=False, strip_accents=True)
    source = write(tmp_path / "source", "electra", {"tokenizer.json": whole})
    found = read(source)
    assert (found.lower_case, found.strip_accents) == (False, True)
    assert hub_format.read_vocabulary(found.vocab) == VOCABULARY
    (source / "tokenizer_config.json").write_text(json.dumps({"do_lower_case": True}))
    assert read(source).lower_case


def test_students_are_cut_out_of_other_families(converted: dict[str, Path], tmp_path: Path) -> None:
    students.make_student(str(converted["distilbert"]), tmp_path / "student", layers=1)
    found = tf.saved_model.load(str(tmp_path / "student"))
    whole = tf.saved_model.load(str(converted["distilbert"]))
    values = {v.name: v.numpy() for v in whole.variables}
    assert {v.name for v in found.variables} <= set(values)
    assert "type_embeddings/embeddings:0" not in values
    outputs = run(found, inputs())
    # Pooled as its teacher, and with its activation.
    np.testing.assert_array_equal(outputs["pooled_output"], outputs["sequence_output"][:, 0])
    nodes = found.__call__.concrete_functions[0].graph.as_graph_def().node
    assert "Relu" in {node.op for node in nodes}
    with pytest.raises(InputError, match="word vectors as wide as its layers"):
        students.make_student(str(converted["electra"]), tmp_path / "other", layers=1)


def test_students_keep_what_is_said_of_distances(
    converted: dict[str, Path], tmp_path: Path
) -> None:
    name = "relative_attention_bias/embeddings"
    teacher = tt.Encoder(str(converted["mpnet"]))
    for hidden, heads in ((HIDDEN, HEADS), (HIDDEN // HEADS, 1)):
        folder = tmp_path / f"student-{hidden}"
        students.make_student(teacher, folder, layers=1, hidden=hidden)
        found = tt.Encoder(str(folder)).named_weights()[name].value.numpy()
        assert found.shape == (32, heads)
        # A narrower one has other heads, which start at random.
        kept = np.array_equal(found, teacher.named_weights()[name].value.numpy())
        assert kept == (hidden == HIDDEN)


# --------------------------------------------------------------------------------------------------
# What is refused

OTHERS = (
    *("deberta", "deberta-v2", "modernbert", "t5", "gpt2", "nomic_bert", "xlm-roberta-xl"),
    *("roberta-prelayernorm", "xlm", ["bert"], None),
)
QUERY = "encoder.layer.1.attention.self.query.weight"
Change = Callable[[Path], Any]


def json_file(name: str, content: Any) -> Change:
    """Another file of JSON in the folder."""

    def change(folder: Path) -> None:
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(json.dumps(content))

    return change


def of_family(family: str, **changes: Any) -> Change:
    """Another family's settings and tensors, without types."""

    def change(folder: Path) -> None:
        json_file("config.json", CONFIGS[family] | changes)(folder)
        tensors = {k: v for k, v in random_tensors(family).items() if "type" not in k}
        safetensors.numpy.save_file(tensors, folder / "model.safetensors")

    return change


def config(**changes: Any) -> Change:
    """Other settings."""
    return json_file("config.json", CONFIGS["electra"] | changes)


def tensors(**changes: np.ndarray | None) -> Change:
    """Other tensors, or fewer."""

    def change(folder: Path) -> None:
        kept = {k: v for k, v in (random_tensors("electra") | changes).items() if v is not None}
        safetensors.numpy.save_file(kept, folder / "model.safetensors")

    return change


def only_tokenizer(content: Any) -> Change:
    """No vocab.txt, but this tokenizer.json."""

    def change(folder: Path) -> None:
        (folder / "vocab.txt").unlink()
        json_file("tokenizer.json", content)(folder)

    return change


def only_index(content: Any) -> Change:
    """No weights, but this index of their parts."""

    def change(folder: Path) -> None:
        (folder / "model.safetensors").unlink()
        json_file(tensor_files.INDEX, content)(folder)

    return change


BPE = {"model": {"type": "BPE", "vocab": {"a": 0}}}
GAP = {"model": {**tokenizer_json()["model"], "vocab": {"[PAD]": 0, "a": 2}}}
REFUSED: dict[str, tuple[Change, str]] = {
    "several layers": (of_family("albert", num_hidden_groups=2), "albert .*num_hidden_groups 1"),
    "inner layers": (of_family("albert", inner_group_num=3), "albert .*has inner_group_num 1"),
    "other ranges": (of_family("mpnet", relative_attention_num_buckets=8), "num_buckets 32"),
    "other padding": (of_family("mpnet", pad_token_id=0), "mpnet .*has pad_token_id 1 "),
    "all positions padding": (of_family("roberta", pad_token_id=40), "numbers above 0"),
    "padding below": (of_family("roberta", pad_token_id=-3), "sizes as numbers.*pad_token_id -3"),
    "no padding": (of_family("roberta", pad_token_id=None), "sizes as numbers"),
    "no first type": (of_family("roberta"), "no tensor 'embeddings.token_type_embeddings.weight'"),
    **{
        f"type {each}": (config(model_type=each), "bert, distilbert, electra,.*can be converted")
        for each in OTHERS
    },
    "activation": (config(hidden_act="swish"), "must be one of gelu, .*Received: 'swish'"),
    "decoder": (config(is_decoder=True), "has is_decoder False"),
    "positions": (config(position_embedding_type="relative_key"), "electra .*'absolute'"),
    "no width": (config(embedding_size=0), "numbers above 0"),
    "other width": (config(embedding_size=7), r"word_embeddings.weight' must have shape"),
    "no projection": (config(embedding_size=16), r"Received: \(\d+, 8\)"),
    "no tensor": (tensors(**{QUERY: None}), f"no tensor '{QUERY}'"),
    "quantized": (
        tensors(**{QUERY: np.ones((16, 16), np.int8)}),
        f"no tensor '{QUERY}' of floating-point numbers",
    ),
    "shape": (tensors(**{QUERY: np.ones((16, 15), np.float32)}), r"Received: \(16, 15\)"),
    "no vocabulary": (lambda f: (f / "vocab.txt").unlink(), "vocab.txt is missing"),
    "byte pairs": (only_tokenizer(BPE), "this pre_tokenizer can't be converted.*Received: none"),
    "gap": (only_tokenizer(GAP), "numbers 0, 1, 2 and so on, each once"),
    "no model": (only_tokenizer({}), "this model can't be converted.*Received: None"),
    "Chinese": (
        json_file("tokenizer.json", tokenizer_json(handle_chinese_chars=False)),
        "has tokenize_chinese_chars True",
    ),
    "no part": (only_index({"weight_map": {"a": "part.safetensors"}}), "Received: part.safetens"),
    "no parts": (only_index({}), "must name files that lie beside it.*Received: nothing"),
    "elsewhere": (only_index({"weight_map": {"a": "../x"}}), "beside it.*Received: ../x"),
    **{
        f"pooling {told}": (json_file("1_Pooling/config.json", told), f"alone.*Received: {match}")
        for told, match in (
            ({"pooling_mode_max_tokens": True}, "pooling_mode_max_tokens"),
            ({"pooling_mode": "lasttoken"}, "lasttoken"),
            ({"pooling_mode": ["cls", "mean"]}, "cls and mean"),
            ({"pooling_mode_cls_token": True, "pooling_mode_mean_tokens": True}, ".* and "),
            ({"pooling_mode": {"a": 1}}, "{'a': 1}"),
        )
    },
}


@pytest.mark.parametrize("name", REFUSED)
def test_other_folders_are_refused_by_name(tmp_path: Path, name: str) -> None:
    change, match = REFUSED[name]
    source = write(tmp_path / "source", "electra")
    change(source)
    with pytest.raises(InputError, match=match) as raised:
        conversion.convert(source, tmp_path / "out", method="bert")
    assert "\n" not in str(raised.value) and "Received: " in str(raised.value)
    assert [path.name for path in tmp_path.iterdir()] == ["source"]


def test_every_family_names_all_of_an_encoders_variables() -> None:
    for family in families.FAMILIES.values():
        shape = BertShape(
            layers=1,
            hidden=8,
            heads=2,
            intermediate=16,
            segments=2 if "segments" in family.sizes else 0,
            pooler=family.has_pooler,
            embedding=4 if "embedding" in family.sizes else None,
            shared=family.shares_layers,
            buckets=family.buckets,
        )
        names = [family.tensor(each) for each in bert_variable_shapes(shape)]
        assert len(set(names)) == len(names)
