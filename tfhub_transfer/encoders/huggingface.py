"""Reads Hugging Face BERT folders, under TensorFlow Hub's names.

Sizes, tokenizer settings and weights; nothing here needs PyTorch or transformers,
`model.safetensors` is read straight into NumPy. The module also holds BERT's forward pass in NumPy,
against which converted encoders are checked.
"""

import dataclasses
import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeAlias, TypedDict

import numpy as np
import safetensors
import safetensors.numpy
import scipy.special

from tfhub_transfer.encoders import hub_format
from tfhub_transfer.errors import InputError
from tfhub_transfer.storage import opening, records

Arrays = Mapping[str, np.ndarray]
# JSON that others wrote: what its values are is found out when they are taken.
Config: TypeAlias = dict[str, Any]

# The deepest BERT has 48.
_MOST_LAYERS = 1000

_HUGGING_FACE_FILES = ("config.json", "model.safetensors", "vocab.txt")
# What `hub_format.WordPieces` does, too.
_TOKENIZER = {"tokenize_chinese_chars": True, "do_basic_tokenize": True}
# From the names of transformers' `BertModel` to TF Hub's, and what its array goes through on the
# way: PyTorch keeps a dense layer's kernel as [outputs, inputs].
_NAMES: tuple[tuple[str, str, bool], ...] = (
    ("embeddings.word_embeddings.weight", "word_embeddings/embeddings", False),
    ("embeddings.position_embeddings.weight", "position_embedding/embeddings", False),
    ("embeddings.token_type_embeddings.weight", "type_embeddings/embeddings", False),
    ("embeddings.LayerNorm.weight", "embeddings/layer_norm/gamma", False),
    ("embeddings.LayerNorm.bias", "embeddings/layer_norm/beta", False),
    ("pooler.dense.weight", "pooler_transform/kernel", True),
    ("pooler.dense.bias", "pooler_transform/bias", False),
)
_LAYER_NAMES: tuple[tuple[str, str, bool], ...] = (
    ("attention.self.query.weight", "self_attention/query/kernel", True),
    ("attention.self.query.bias", "self_attention/query/bias", False),
    ("attention.self.key.weight", "self_attention/key/kernel", True),
    ("attention.self.key.bias", "self_attention/key/bias", False),
    ("attention.self.value.weight", "self_attention/value/kernel", True),
    ("attention.self.value.bias", "self_attention/value/bias", False),
    ("attention.output.dense.weight", "self_attention/attention_output/kernel", True),
    ("attention.output.dense.bias", "self_attention/attention_output/bias", False),
    ("attention.output.LayerNorm.weight", "self_attention_layer_norm/gamma", False),
    ("attention.output.LayerNorm.bias", "self_attention_layer_norm/beta", False),
    ("intermediate.dense.weight", "intermediate/kernel", True),
    ("intermediate.dense.bias", "intermediate/bias", False),
    ("output.dense.weight", "output/kernel", True),
    ("output.dense.bias", "output/bias", False),
    ("output.LayerNorm.weight", "output_layer_norm/gamma", False),
    ("output.LayerNorm.bias", "output_layer_norm/beta", False),
)


class _Settings(TypedDict):
    lower_case: bool
    strip_accents: bool | None
    sequence_length: int | None


@dataclasses.dataclass(frozen=True)
class BertFolder:
    """What a Hugging Face BERT folder holds.

    Attributes:
        shape: Sizes and rates.
        values: An array for each name of `hub_format.bert_variable_shapes(shape)`, float32.
        vocab: The vocabulary file.
        lower_case: Whether the tokenizer lower-cases.
        strip_accents: Whether it removes accents; `None` means where it lower-cases.
        sequence_length: The most tokens that the model was trained for.
        card: Name, source and licence, as far as the folder's model card tells.
    """

    shape: hub_format.BertShape
    values: Arrays
    vocab: Path
    lower_case: bool
    strip_accents: bool | None
    sequence_length: int
    card: dict[str, str]


def is_bert_folder(source: Path) -> bool:
    """Whether a path looks like a Hugging Face folder, broken or not."""
    return (source / "config.json").is_file() or (source / "model.safetensors").is_file()


def read(source: Path) -> BertFolder:
    """Reads a folder with `config.json`, `model.safetensors` and `vocab.txt`.

    A `1_Pooling/config.json` that asks for the mean of the tokens sets `shape.mean_pooling`, and
    the pooler's weights, which sentence-transformers does not use, are left out.

    Raises:
        InputError: A file is missing, unreadable or truncated; the model is no BERT with absolute
            positions and GELU; tensors are missing or don't have the shapes that `config.json`
            says.

    Example:

        folder = read(Path("all-MiniLM-L6-v2"))
        folder.shape.hidden  # 384
    """
    config = _read_config(source)
    settings = _read_settings(source)
    vocab = _read_vocabulary(source, config)
    shape = _bert_shape(config, _pools_by_mean(source), source)
    return BertFolder(
        shape=shape,
        values=_hub_weights(_read_tensors(source / "model.safetensors"), shape, source),
        vocab=vocab,
        lower_case=settings["lower_case"],
        strip_accents=settings["strip_accents"],
        sequence_length=min(settings["sequence_length"] or shape.positions, shape.positions),
        card=_describe_source(source),
    )


def _describe_source(source: Path) -> dict[str, str]:
    """Name and licence, from the model card where there is one."""
    card = source / "README.md"
    text = card.read_text(encoding="utf-8", errors="replace") if card.is_file() else ""
    licence = re.search(r"^license:\s*(\S+)", text, re.MULTILINE)
    title = re.search(r"^#\s+(\S+)\s*$", text, re.MULTILINE)
    name = title[1] if title else source.resolve().name
    return {"name": name, "licence": licence[1] if licence else "unknown", "source": name}


def _read_json(path: Path, needed: bool = True) -> Config:
    if not needed and not path.is_file():
        return {}
    return records.read(path)


def _read_config(source: Path) -> Config:
    missing = [name for name in _HUGGING_FACE_FILES if not (source / name).is_file()]
    if missing:
        raise InputError(
            f"A Hugging Face BERT folder holds {', '.join(_HUGGING_FACE_FILES)}; {missing[0]} is "
            "missing. "
            f"Received: {source}"
        )
    config = _read_json(source / "config.json")
    expected = {
        "model_type": "bert",
        "hidden_act": "gelu",
        "position_embedding_type": "absolute",
    }
    for key, value in expected.items():
        # What config.json leaves out is transformers' default, which is the value expected here.
        found = config.get(key, None if key == "model_type" else value)
        if found != value:
            raise InputError(
                f"Only BERT folders whose config.json has {key} {value!r} can be converted. "
                f"Received: {found!r} in {source}"
            )
    return config


def _read_settings(source: Path) -> _Settings:
    """How the tokenizer was set, with the defaults of transformers."""
    paths = [source / f"{name}_config.json" for name in ("tokenizer", "sentence_bert")]
    tokenizer, sentence = (_read_json(path, needed=False) for path in paths)
    for key, wanted in _TOKENIZER.items():
        found = records.take(tokenizer, key, type(wanted), paths[0], wanted)
        if found != wanted:
            raise InputError(
                f"Only tokenizers whose {paths[0].name} has {key} {wanted!r} give the same word "
                f"pieces here. Received: {found!r} in {source}"
            )
    if "Japanese" in str(tokenizer.get("tokenizer_class")):
        raise InputError(
            "A tokenizer that finds Japanese words by a dictionary can't be converted. "
            f"Received: {tokenizer['tokenizer_class']} in {source}"
        )
    length = records.take(sentence, "max_seq_length", int | float, paths[1], 0) or records.take(
        tokenizer, "model_max_length", int | float, paths[0]
    )
    return {
        "lower_case": records.take(tokenizer, "do_lower_case", bool, paths[0], True),
        "strip_accents": records.take(tokenizer, "strip_accents", bool, paths[0]),
        # Transformers writes 1e30 where it does not know the length.
        "sequence_length": int(length) if length and length < 1e6 else None,
    }


def _read_vocabulary(source: Path, config: Config) -> Path:
    path = source / "vocab.txt"
    try:
        pieces = hub_format.read_vocabulary(path)
    except UnicodeDecodeError as error:
        raise InputError(f"vocab.txt must be UTF-8 ({error}). Received: {path}") from error
    for token in ("[PAD]", "[UNK]", "[CLS]", "[SEP]"):
        if token not in pieces:
            raise InputError(f"vocab.txt must hold the special token {token}. Received: {path}")
    if len(set(pieces)) < len(pieces):
        twice = next(piece for number, piece in enumerate(pieces) if piece in pieces[:number])
        raise InputError(
            f"vocab.txt must hold each piece once. Received: {twice!r} twice in {path}"
        )
    if len(pieces) > records.take(config, "vocab_size", int, source, len(pieces)):
        raise InputError(
            f"vocab.txt must not be longer than config.json's vocab_size {config['vocab_size']}. "
            f"Received: {len(pieces)} word pieces in {path}"
        )
    return path


def _pools_by_mean(source: Path) -> bool:
    """Whether the folder's `pooled_output` is the mean of its tokens."""
    pooling = _read_json(source / "1_Pooling" / "config.json", needed=False)
    return bool(pooling.get("pooling_mode_mean_tokens", False))


def _bert_shape(config: Config, mean: bool, source: Path) -> hub_format.BertShape:
    try:
        shape = hub_format.BertShape(
            layers=int(config["num_hidden_layers"]),
            hidden=int(config["hidden_size"]),
            heads=int(config["num_attention_heads"]),
            intermediate=int(config["intermediate_size"]),
            vocabulary=int(config["vocab_size"]),
            positions=int(config["max_position_embeddings"]),
            segments=int(config.get("type_vocab_size", 2)),
            epsilon=float(config.get("layer_norm_eps", 1e-12)),
            dropout=float(config.get("hidden_dropout_prob", 0.1)),
            attention_dropout=float(config.get("attention_probs_dropout_prob", 0.1)),
            mean_pooling=mean,
        )
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise InputError(
            f"config.json must give BERT's sizes as numbers ({error!r}). Received: "
            f"{source / 'config.json'}"
        ) from error
    sizes = (shape.hidden, shape.intermediate, shape.vocabulary, shape.positions, shape.segments)
    if not 1 <= shape.layers <= _MOST_LAYERS or min(sizes) < 1:
        raise InputError(
            f"config.json must give BERT's sizes as numbers above 0, and up to {_MOST_LAYERS} "
            f"layers. Received: {shape} in {source}"
        )
    if shape.heads < 1 or shape.hidden % shape.heads:
        raise InputError(
            "config.json's hidden_size must be a multiple of num_attention_heads. "
            f"Received: {shape.hidden} and {shape.heads} in {source}"
        )
    return shape


def _read_tensors(path: Path) -> dict[str, np.ndarray]:
    opening.require(path)
    try:
        tensors = safetensors.numpy.load_file(path)
    except (safetensors.SafetensorError, OSError, ValueError, TypeError, KeyError) as error:
        raise InputError(
            f"model.safetensors can't be read, it may be truncated ({error}). Received: {path}"
        ) from error
    # A model with a head keeps the encoder under "bert."; old ones say gamma and beta.
    renamed = {}
    for name, value in tensors.items():
        name = name.removeprefix("bert.")
        name = name.replace("LayerNorm.gamma", "LayerNorm.weight")
        renamed[name.replace("LayerNorm.beta", "LayerNorm.bias")] = value
    return renamed


def _hub_weights(
    tensors: Arrays, shape: hub_format.BertShape, source: Path
) -> dict[str, np.ndarray]:
    """Hugging Face's arrays under TF Hub's names, in TF Hub's shapes."""
    names = list(_NAMES)
    for index in range(shape.layers):
        at = (f"encoder.layer.{index}.", f"transformer/layer_{index}/")
        names += [(at[0] + theirs, at[1] + ours, turned) for theirs, ours, turned in _LAYER_NAMES]
    values, wanted = {}, hub_format.bert_variable_shapes(shape)
    for theirs, ours, turned in names:
        if ours in wanted:
            values[ours] = _fitted(tensors, theirs, wanted[ours], turned, source)
    return values


def _fitted(
    tensors: Arrays, name: str, wanted: tuple[int, ...], turned: bool, source: Path
) -> np.ndarray:
    if name not in tensors:
        raise InputError(
            f"model.safetensors has no tensor {name!r}, which a BERT encoder with this config.json "
            "needs. "
            f"Received: {source}"
        )
    value = tensors[name].T if turned else tensors[name]
    # TF Hub keeps the attention heads apart, PyTorch has them in one axis.
    flat = wanted
    if name.endswith("weight") and len(wanted) == 3:
        flat = (math.isqrt(math.prod(wanted)),) * 2
    elif name.endswith("bias"):
        flat = (math.prod(wanted),)
    if value.shape != flat:
        raise InputError(
            f"The tensor {name!r} of model.safetensors must have shape "
            f"{flat[::-1] if turned else flat}, "
            f"as config.json says. Received: {tensors[name].shape} in {source}"
        )
    return np.ascontiguousarray(value, dtype=np.float32).reshape(wanted)


def reference_outputs(
    values: Arrays,
    shape: hub_format.BertShape,
    ids: np.ndarray,
    mask: np.ndarray,
    types: np.ndarray,
) -> tuple[np.ndarray, np.ndarray]:
    """BERT's forward pass (Devlin et al. 2019, https://arxiv.org/abs/1810.04805) in float64.

    Args:
        values: Weights under TF Hub's names.
        shape: Sizes.
        ids: Integers [batch, length].
        mask: One for tokens and zero for padding, [batch, length].
        types: Segment numbers [batch, length].

    Returns:
        The last layer's outputs [batch, length, hidden] and the pooled output [batch, hidden].
    """
    # Not the word vectors, the largest table by far: of them only the rows looked up are cast.
    w = {name: value.astype(np.float64) for name, value in values.items() if "word" not in name}
    x = values["word_embeddings/embeddings"][ids].astype(np.float64)
    x = x + w["position_embedding/embeddings"][: ids.shape[1]]
    x = x + w["type_embeddings/embeddings"][types]
    x = _reference_norm(x, w, "embeddings/layer_norm", shape)
    for index in range(shape.layers):
        at = f"transformer/layer_{index}"
        x = x + _reference_attention(x, mask, w, f"{at}/self_attention")
        x = _reference_norm(x, w, f"{at}/self_attention_layer_norm", shape)
        wide = x @ w[f"{at}/intermediate/kernel"] + w[f"{at}/intermediate/bias"]
        # GELU by its definition: x times the share of a normal distribution below x.
        wide = wide * scipy.special.ndtr(wide)
        x = x + wide @ w[f"{at}/output/kernel"] + w[f"{at}/output/bias"]
        x = _reference_norm(x, w, f"{at}/output_layer_norm", shape)
    if shape.mean_pooling:
        return x, (x * mask[..., None]).sum(1) / mask.sum(1, keepdims=True)
    return x, np.tanh(x[:, 0] @ w["pooler_transform/kernel"] + w["pooler_transform/bias"])


def _reference_norm(x: np.ndarray, w: Arrays, at: str, shape: hub_format.BertShape) -> np.ndarray:
    scaled = (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + shape.epsilon)
    return scaled * w[f"{at}/gamma"] + w[f"{at}/beta"]


def _reference_attention(x: np.ndarray, mask: np.ndarray, w: Arrays, at: str) -> np.ndarray:
    query, key, value = (
        np.einsum("bld,dhs->bhls", x, w[f"{at}/{part}/kernel"])
        + w[f"{at}/{part}/bias"][None, :, None, :]
        for part in ("query", "key", "value")
    )
    scores = query @ key.swapaxes(-1, -2) / math.sqrt(query.shape[-1])
    shares = scipy.special.softmax(np.where(mask[:, None, None, :] == 1, scores, -np.inf), axis=-1)
    mixed = np.einsum("bhls,hsd->bld", shares @ value, w[f"{at}/attention_output/kernel"])
    return mixed + w[f"{at}/attention_output/bias"]
