"""Reads Hugging Face's folders of BERT and its like, under TensorFlow Hub's names.

Sizes, tokenizer settings and weights; nothing here needs PyTorch or transformers,
`model.safetensors` is read straight into NumPy. What the families differ in is in `families`.
"""

import dataclasses
import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeAlias, TypedDict

import numpy as np

from tfhub_transfer.encoders import hub_format, sentence_modules, tensor_files
from tfhub_transfer.encoders.bert_shapes import BertShape, bert_variable_shapes
from tfhub_transfer.encoders.families import ACTIVATIONS, FAMILIES, Family
from tfhub_transfer.encoders.sentence_modules import SentenceModules
from tfhub_transfer.encoders.tokenizers import reading
from tfhub_transfer.encoders.tokenizers.tokenizing import Tokenizer
from tfhub_transfer.errors import InputError
from tfhub_transfer.storage import records

Arrays = Mapping[str, np.ndarray]
# JSON that others wrote: what its values are is found out when they are taken.
Config: TypeAlias = dict[str, Any]

_POSITIONS = "position_embedding/embeddings"
# The deepest BERT has 48.
_MOST_LAYERS = 1000

# What `hub_format.WordPieces` does, too.
_TOKENIZER = {"tokenize_chinese_chars": True, "do_basic_tokenize": True}
# The settings of a `BertNormalizer` in tokenizer.json, by their names in tokenizer_config.json.
_NORMALIZER = {
    "do_lower_case": "lowercase",
    "strip_accents": "strip_accents",
    "tokenize_chinese_chars": "handle_chinese_chars",
}


class _Settings(TypedDict):
    lower_case: bool
    strip_accents: bool | None
    sequence_length: int | None


@dataclasses.dataclass(frozen=True)
class BertFolder:
    """What a Hugging Face folder holds.

    Attributes:
        source: The folder.
        family: Its `model_type`, one of `families.FAMILIES`.
        shape: Sizes and rates.
        values: An array for each name of `bert_variable_shapes(shape)`, float32.
        vocab: The vocabulary file of BERT's tokenizer.
        tokenizer: Any other tokenizer.
        lower_case: Whether BERT's tokenizer lower-cases.
        strip_accents: Whether it removes accents; `None` means where it lower-cases.
        sequence_length: The most tokens that the model was trained for.
        modules: What sentence-transformers' files say follows upon the layers.
        card: Name, source and licence, as far as the folder's model card tells.
    """

    source: Path
    family: str
    shape: BertShape
    values: Arrays
    vocab: Path | None
    tokenizer: Tokenizer | None
    lower_case: bool
    strip_accents: bool | None
    sequence_length: int
    modules: SentenceModules
    card: dict[str, str]

    def information(self) -> dict[str, object]:
        """What `tfhub_transfer.json` is to say of the encoder."""
        case: dict[str, object] = {
            "lower_case": self.lower_case,
            "strip_accents": self.strip_accents,
        }
        return self.card | {
            "dialect": "bert",
            "dimension": self.shape.pooled_width,
            "layers": self.shape.layers,
            "outputs": ["default", "pooled_output", "sequence_output", "encoder_outputs"],
            **({} if self.tokenizer else case),
            "sequence_length": self.sequence_length,
            "pooling": _pooling(self.shape),
            "activation": self.shape.activation,
            "made_by": self.family,
            **self.modules.information(),
        }

    def save_preprocessor(self, folder: Path) -> None:
        """Writes the preprocessor that belongs to it as a SavedModel, as a whole folder."""
        if self.tokenizer is not None:
            self.tokenizer.save(folder)
        else:
            assert self.vocab is not None  # one of both it has
            hub_format.save_preprocessor(folder, self.vocab, self.lower_case, self.strip_accents)


def _pooling(shape: BertShape) -> str:
    if shape.mean_pooling:
        return "mean"
    return "pooler" if shape.pooler else "first"


def is_bert_folder(source: Path) -> bool:
    """Whether a path looks like a Hugging Face folder, broken or not."""
    return (source / "config.json").is_file() or tensor_files.has_weights(source)


def read(source: Path, work: Path, prompt: str | None = None) -> BertFolder:
    """Reads a folder with `config.json`, `model.safetensors` and `vocab.txt`.

    Weights may lie in several files (`model.safetensors.index.json`), in half precision, too; the
    vocabulary may be in `tokenizer.json` alone. Where sentence-transformers' files say what becomes
    of the tokens (`sentence_modules`), that is `pooled_output`, and the pooler's weights, which it
    does not use, are left out. Otherwise it is the pooler's, where there is one, or the first
    token.

    Args:
        source: The folder.
        work: A folder for a vocabulary that is in `tokenizer.json` alone.
        prompt: As for `sentence_modules.read`.

    Raises:
        InputError: A file is missing, unreadable or truncated; the model is of no known family, or
            has no absolute positions or another activation; tensors are missing or don't have the
            shapes that `config.json` says.

    Example:

        folder = read(Path("all-MiniLM-L6-v2"), Path("scratch"))
        folder.shape.hidden  # 384
    """
    config = _read_config(source)
    family = FAMILIES[config["model_type"]]
    tokenizer = reading.read(source, config)
    settings = _read_settings(source, tokenizer is None)
    vocab = None if tokenizer else _read_vocabulary(_vocabulary_file(source, work), config)
    _require_rows(tokenizer, config, source)
    modules = sentence_modules.read(source, prompt)
    tensors = _plain_names(tensor_files.read_folder(source), family)
    shape = _with_modules(_bert_shape(config, family, source), modules, source)
    # A BERT that was trained for each token has no pooler.
    pooler = family.has_pooler and modules.pooling is None and _has_pooler(tensors)
    shape = dataclasses.replace(shape, pooler=pooler)
    skipped = _skipped_positions(config, family)
    values = _hub_weights(tensors, family, shape, skipped, source)
    return BertFolder(
        source=source,
        family=config["model_type"],
        shape=shape,
        values={**values, **modules.values},
        modules=modules,
        vocab=vocab,
        tokenizer=tokenizer,
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
    _require(source, "config.json")
    config = _read_json(source / "config.json")
    name = config.get("model_type")
    if not isinstance(name, str) or name not in FAMILIES:
        raise InputError(
            f"Only folders whose config.json has a model_type of {', '.join(FAMILIES)} can be "
            f"converted; take a model of such a family. Received: {name!r} in {source}"
        )
    tensor_files.require_weights(source)
    _require(source, *reading.FILES)
    for key, value in FAMILIES[name].fixed.items():
        # What config.json leaves out is transformers' default, which is the value expected here.
        found = config.get(key, value)
        if found != value:
            raise InputError(
                f"Only folders of {name} whose config.json has {key} {value!r} can be converted. "
                f"Received: {found!r} in {source}"
            )
    return config


def _require(source: Path, *names: str) -> None:
    """One of these files must be there; the first is the usual one."""
    if not any((source / name).is_file() for name in names):
        raise InputError(
            "A Hugging Face folder holds config.json, model.safetensors and vocab.txt (or "
            f"tokenizer.json, or what its tokenizer has instead); {names[0]} is missing. "
            f"Received: {source}"
        )


def _read_settings(source: Path, is_bert: bool) -> _Settings:
    """How the tokenizer was set, with the defaults of transformers."""
    paths = [source / f"{name}_config.json" for name in ("tokenizer", "sentence_bert")]
    tokenizer, sentence = (_read_json(path, needed=False) for path in paths)
    tokenizer = _normalizer_settings(source) | tokenizer
    for key, wanted in _TOKENIZER.items() if is_bert else ():
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


def _normalizer_settings(source: Path) -> Config:
    """What tokenizer.json says of case, accents and Chinese, as tokenizer_config.json calls it."""
    path = source / "tokenizer.json"
    told = records.take(_read_json(path, needed=False), "normalizer", dict, path, {})
    return {ours: told[key] for ours, key in _NORMALIZER.items() if key in told}


def _vocabulary_file(source: Path, work: Path) -> Path:
    """The folder's vocab.txt, or one made of its tokenizer.json."""
    if (source / "vocab.txt").is_file():
        return source / "vocab.txt"
    path = source / "tokenizer.json"
    model = records.take(_read_json(path), "model", dict, path, {})
    numbers = records.take(model, "vocab", dict, path, {}) if _is_word_pieces(model) else {}
    pieces = {number: piece for piece, number in numbers.items() if isinstance(number, int)}
    if not pieces or sorted(pieces) != list(range(len(numbers))):
        raise InputError(
            "Without vocab.txt, tokenizer.json must hold a WordPiece vocabulary whose numbers are "
            f"0, 1, 2 and so on. Received: {model.get('type')!r} in {path}"
        )
    made = work / "vocab.txt"
    made.write_text("".join(f"{pieces[i]}\n" for i in range(len(pieces))), encoding="utf-8")
    return made


def _is_word_pieces(model: Config) -> bool:
    return model.get("type") == "WordPiece" and model.get("continuing_subword_prefix") == "##"


def _read_vocabulary(path: Path, config: Config) -> Path:
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
    if len(pieces) > records.take(config, "vocab_size", int, path, len(pieces)):
        raise InputError(
            f"vocab.txt must not be longer than config.json's vocab_size {config['vocab_size']}. "
            f"Received: {len(pieces)} word pieces in {path}"
        )
    return path


def _require_rows(tokenizer: Tokenizer | None, config: Config, source: Path) -> None:
    rows = config.get("vocab_size")
    if tokenizer is not None and isinstance(rows, int) and len(tokenizer.pieces) > rows:
        raise InputError(
            f"A tokenizer must not have more pieces than config.json's vocab_size {rows}. "
            f"Received: {len(tokenizer.pieces)} pieces in {source}"
        )


def _has_pooler(tensors: Arrays) -> bool:
    return any(name.startswith("pooler.") for name in tensors)


def _bert_shape(config: Config, family: Family, source: Path) -> BertShape:
    config = {**family.defaults, **config}
    # The activations of transformers have more names than there are functions.
    act = str(config[family.activation])
    if act not in ACTIVATIONS:
        raise InputError(
            f"config.json's {family.activation} must be one of {', '.join(ACTIVATIONS)}. "
            f"Received: {act!r} in {source}"
        )
    try:
        sizes: Config = {ours: int(config[key]) for ours, key in family.sizes.items()}
        rates: Config = {ours: float(config[key]) for ours, key in family.rates.items()}
        sizes["positions"] -= _skipped_positions(config, family)
        # Of texts that aren't told apart nothing is embedded.
        shape = BertShape(**{"segments": 0, **sizes}, **rates, activation=ACTIVATIONS[act])
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise InputError(
            f"config.json must give BERT's sizes as numbers ({error!r}). Received: "
            f"{source / 'config.json'}"
        ) from error
    if not 1 <= shape.layers <= _MOST_LAYERS or min(sizes.values()) < 1:
        raise InputError(
            f"config.json must give BERT's sizes as numbers above 0, and up to {_MOST_LAYERS} "
            f"layers. Received: {shape} in {source}"
        )
    if shape.hidden % shape.heads:
        raise InputError(
            f"config.json's {family.sizes['hidden']} must be a multiple of "
            f"{family.sizes['heads']}. "
            f"Received: {shape.hidden} and {shape.heads} in {source}"
        )
    if shape.embedding == shape.hidden and not family.projects:
        shape = dataclasses.replace(shape, embedding=None)
    return dataclasses.replace(shape, shared=family.shares_layers, buckets=family.buckets)


def _with_modules(shape: BertShape, modules: SentenceModules, source: Path) -> BertShape:
    width = shape.hidden
    for index, layer in enumerate(modules.dense):
        reads = len(modules.values[f"pooler_dense_{index}/kernel"])
        if reads != width:
            raise InputError(
                "A Dense of sentence-transformers must read vectors as wide as those before it, "
                f"{width}. Received: {reads} in {source}"
            )
        width = layer.width
    return dataclasses.replace(
        shape,
        mean_pooling=modules.pooling == "mean",
        dense=modules.dense,
        normalized=modules.normalized,
    )


def _skipped_positions(config: Config, family: Family) -> int:
    """How many rows of the table of positions belong to no token: those up to padding's own id."""
    if family.padding is None:
        return 0
    found = int(config.get(family.padding, family.defaults[family.padding]))
    if found < 0:
        raise ValueError(f"{family.padding} {found}")
    return found + 1


def _plain_names(tensors: Arrays, family: Family) -> dict[str, np.ndarray]:
    """A model with a head has a prefix before the encoder's names; old ones say gamma and beta."""
    renamed = {}
    for name, value in tensors.items():
        name = name.removeprefix(family.prefix)
        part, dot, kind = name.rpartition(".")
        renamed[part + dot + {"gamma": "weight", "beta": "bias"}.get(kind, kind)] = value
    return renamed


def _hub_weights(
    tensors: Arrays, family: Family, shape: BertShape, skipped: int, source: Path
) -> dict[str, np.ndarray]:
    """Hugging Face's arrays under TF Hub's names, in TF Hub's shapes.

    The first token has the first position: what comes before in the table is left out, and what is
    added everywhere is added to it.
    """
    wanted = bert_variable_shapes(dataclasses.replace(shape, dense=()))
    wanted[_POSITIONS] = (shape.positions + skipped, shape.width)
    found = {
        # PyTorch keeps a dense layer's kernel as [outputs, inputs].
        ours: _fitted(tensors, family.tensor(ours), size, ours.endswith("/kernel"), source)
        for ours, size in wanted.items()
    }
    found[_POSITIONS] = found[_POSITIONS][skipped:]
    if family.everywhere is not None:
        found[_POSITIONS] = found[_POSITIONS] + _first_row(tensors, family, shape, source)
    return found


def _first_row(tensors: Arrays, family: Family, shape: BertShape, source: Path) -> np.ndarray:
    name = f"{family.everywhere}.weight"
    rows = len(tensors[name]) if name in tensors else 1
    return _fitted(tensors, name, (max(rows, 1), shape.width), False, source)[0]


def _fitted(
    tensors: Arrays, name: str, wanted: tuple[int, ...], turned: bool, source: Path
) -> np.ndarray:
    if name not in tensors:
        raise InputError(
            f"The weights have no tensor {name!r} of floating-point numbers, which an encoder with "
            f"this config.json needs. Received: {source}"
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
            f"The tensor {name!r} must have shape "
            f"{flat[::-1] if turned else flat}, as config.json says, or transformers where "
            f"it says nothing. Received: {tensors[name].shape} in {source}"
        )
    return np.ascontiguousarray(value, dtype=np.float32).reshape(wanted)
