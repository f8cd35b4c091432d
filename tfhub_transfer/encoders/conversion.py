"""Makes encoders in TensorFlow Hub's form: from other weights, or by distilling to static vectors.

What is written is a folder that `Encoder` reads like one from tfhub.dev. Every conversion is
written beside its destination and moved there when it is whole, so that a failure leaves nothing
behind.
"""

import contextlib
import dataclasses
import errno
import os
import re
import string
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TypeAlias

import numpy as np
import tensorflow as tf

from tfhub_transfer.encoders import hub_format, huggingface, registry
from tfhub_transfer.encoders.bert_graphs import INPUT_KEYS
from tfhub_transfer.encoders.bert_reference import reference_outputs
from tfhub_transfer.encoders.families import FAMILIES
from tfhub_transfer.encoders.tokenizers.tokenizing import Tokenizer
from tfhub_transfer.encoders.vector_files import read_word_vectors
from tfhub_transfer.errors import InputError
from tfhub_transfer.graphs import safety
from tfhub_transfer.graphs.safety import SavedObject
from tfhub_transfer.incoming import choices, ranges
from tfhub_transfer.storage import atomic, opening
from tfhub_transfer.storage.scratch import temporary

# What `tfhub_transfer.json` says of an encoder.
Information: TypeAlias = dict[str, object]

METHODS = ("auto", "bert", "static", "vectors")

_TOLERANCE = 1e-4
_STATIC_DIMENSION = 256
# Word pieces that go through the encoder at a time while it is distilled.
_CHUNK = 1024
# The `a` of smooth inverse frequency, a / (a + p), as Arora et al. recommend it.
_SMOOTHING = 1e-4
_OOV_BUCKETS = 100
# What is said of BERT's word pieces alone.
_CASE = ("lower_case", "strip_accents")


def convert(
    source: str | os.PathLike,
    output: str | os.PathLike,
    method: str = "auto",
    dimension: int | None = None,
    overwrite: bool = False,
    trust_code: bool = False,
    prompt: str | None = None,
) -> None:
    """Writes an encoder in TF Hub's form, made from whatever `source` is.

    Args:
        source: A Hugging Face folder of a BERT or one of its like (`families.FAMILIES`), a text
            file of word vectors, or, for `static`, also an encoder of the BERT dialect with its
            vocabulary in `assets/vocab.txt`.
        output: Folder to write; it must be empty or not exist yet.
        method: `bert` (a Hugging Face folder), `vectors`, `static`, or `auto`: by what `source` is,
            never `static`.
        dimension: Width of the vectors, for `static` alone (256 if not given).
        overwrite: Replace what is at `output`.
        trust_code: Whether a SavedModel may hold operations that do more than compute.
        prompt: For `bert` alone, what precedes a text by itself: the name of one of a
            sentence-transformers folder's prompts, or any text, also none, `""`. If not given, its
            `default_prompt_name`, or else its `query`, or nothing.

    Raises:
        InputError: `source` is missing, broken or of no known kind, `output` is occupied, or the
            arguments contradict each other. Nothing is left at `output` then.

    Example:

        convert("all-MiniLM-L6-v2", "encoders/minilm")
        convert("all-MiniLM-L6-v2", "encoders/minilm-static", method="static", dimension=128)
        convert("glove.6B.100d.txt", "encoders/glove")
    """
    origin, target = opening.path_of(source), opening.path_of(output)
    if method not in METHODS:
        raise InputError(f"`method` must be one of {', '.join(METHODS)}. Received: {method!r}")
    if not origin.exists():
        raise InputError(f"There is no such file or folder to convert. Received: {origin}")
    method = _method_for(origin) if method == "auto" else method
    dimension = ranges.given(ranges.whole_number, "dimension", dimension, *ranges.SIZE)
    if dimension is not None and method != "static":
        raise InputError(
            f"`dimension` can be chosen for method 'static' only, {method!r} keeps its source's. "
            f"Received: dimension={dimension}"
        )
    if prompt is not None and method != "bert":
        raise InputError(
            "`prompt` can be chosen for a Hugging Face folder that is converted whole (method "
            f"'bert') only. Received: prompt={prompt!r} with method {method!r}"
        )
    if method == "static":
        width = _STATIC_DIMENSION if dimension is None else dimension
        distill_static(origin, target, width, overwrite=overwrite, trust_code=trust_code)
    elif method == "vectors":
        convert_word_vectors(origin, target, overwrite=overwrite)
    else:
        convert_huggingface(origin, target, overwrite=overwrite, prompt=prompt)


def _method_for(source: Path) -> str:
    if not source.is_dir():
        return "vectors"
    if (source / "saved_model.pb").is_file():
        raise InputError(
            "This folder is an encoder in TF Hub's form already; use it as it is, or distil it "
            f"with method 'static' (`--method static`). Received: {source}"
        )
    if huggingface.is_bert_folder(source):
        return "bert"
    raise InputError(
        "A folder to convert must hold config.json, model.safetensors and vocab.txt of a Hugging "
        f"Face model ({', '.join(FAMILIES)}). Received: {source}"
    )


@contextlib.contextmanager
def whole_or_nothing(output: Path, overwrite: bool, *inputs: object) -> Iterator[Path]:
    """Gives an empty folder on the same disk; afterwards that folder is `output`, or gone.

    Args:
        output: The folder to write.
        overwrite: Whether a folder there that this package wrote is replaced.
        inputs: What is read: folders, handles, encoders.

    Raises:
        InputError: If the output is occupied, is part of an input, or can't be written.
    """
    output, overwrite = opening.path_of(output), choices.flag("overwrite", overwrite)
    atomic.check_output(output, overwrite, [str(getattr(i, "handle", i)) for i in inputs])
    try:
        with atomic.folder(output, overwrite) as folder:
            yield folder
    except (OSError, tf.errors.OpError) as error:
        full = isinstance(error, tf.errors.ResourceExhaustedError)
        full = full or getattr(error, "errno", None) == errno.ENOSPC
        reason = "no space left on the disk" if full else str(error)
        raise InputError(
            f"The encoder could not be written: {reason}. Received: {output}"
        ) from error


# --------------------------------------------------------------------------------------------------
# From Hugging Face


def convert_huggingface(
    source: Path, output: Path, overwrite: bool = False, prompt: str | None = None
) -> None:
    """Converts a Hugging Face folder to a TF Hub encoder with its preprocessor beside it.

    BERT and its like are known (`families.FAMILIES`). A sentence-transformers folder becomes an
    encoder whose `pooled_output` is the mean of the tokens or the first one, and what dense layers
    make of it, as its modules say; `default` is that too, of length 1 where they say so. Any other
    folder's has its own pooler, or the first token where there is none. An encoder without segments
    takes `input_type_ids` and ignores them. The result is loaded again and compared with a NumPy
    forward pass of the source's weights.

    Args:
        source: Folder with `config.json`, `model.safetensors` (or parts of it, and their index) and
            `vocab.txt` (or `tokenizer.json`).
        output: Folder to write; it must be empty or not exist yet.
        overwrite: Replace what is at `output`.
        prompt: As for `convert`.

    Raises:
        InputError: A file is missing or broken, the model is of another family, the output is
            occupied, or the converted encoder's outputs differ from the reference by more than
            1e-4.

    Example:

        convert_huggingface(Path("all-MiniLM-L6-v2"), Path("encoders/minilm"))
    """
    with temporary() as work:
        found = huggingface.read(opening.path_of(source), work, prompt)
        with whole_or_nothing(Path(output), overwrite, source) as folder:
            _write_bert(found, folder)
            found.save_preprocessor(folder / "preprocessor")


def _write_bert(found: huggingface.BertFolder, folder: Path) -> None:
    encoder = hub_format.bert_encoder(found.values, found.shape, found.vocab, found.lower_case)
    hub_format.save(encoder, folder, found.information())
    difference = _largest_difference(folder, found)
    if not difference <= _TOLERANCE:
        raise InputError(
            f"The converted encoder must agree with the source's weights to {_TOLERANCE}; are they "
            f"finite? Nothing was written. Received: difference {difference:.2g} for "
            f"{found.source}"
        )


def _largest_difference(folder: Path, found: huggingface.BertFolder) -> float:
    """Between the written encoder and the reference, over all tokens that are not padding."""
    generator, shape = np.random.default_rng(0), found.shape
    length = min(16, shape.positions)
    ids = generator.integers(0, shape.vocabulary, (2, length))
    mask = np.ones_like(ids)
    # Padding in one row, so that masking is compared, too.
    mask[1, (length + 1) // 2 :] = 0
    types = generator.integers(0, max(shape.segments, 1), ids.shape)
    outputs = _run(safety.load_checked(folder), ids, mask, types)
    tokens, pooled = reference_outputs(found.values, shape, ids, mask, types)
    difference = np.abs(outputs["sequence_output"].numpy() - tokens)[mask == 1].max()
    # Not `max`, which would let NaN pass.
    return float(np.maximum(difference, np.abs(outputs["pooled_output"].numpy() - pooled).max()))


def _run(
    encoder: SavedObject, ids: np.ndarray, mask: np.ndarray, types: np.ndarray
) -> dict[str, tf.Tensor]:
    """Calls an encoder of the BERT dialect, without dropout, on integers [batch, length]."""
    arrays = zip(INPUT_KEYS, (ids, mask, types), strict=True)
    return encoder({key: tf.constant(value, tf.int32) for key, value in arrays}, training=False)


# --------------------------------------------------------------------------------------------------
# To static vectors


def distill_static(
    source: Path,
    output: Path,
    dimension: int = _STATIC_DIMENSION,
    vocabulary: Sequence[str] | None = None,
    dialect: str = "bert",
    overwrite: bool = False,
    trust_code: bool = False,
) -> None:
    """Distils a BERT encoder to a table of one vector per word piece.

    The method is Model2Vec's (Tulkens and van Dongen 2024, "Model2Vec: Fast State-of-the-Art Static
    Embeddings", https://github.com/MinishLab/model2vec): every word piece goes through the encoder
    alone, the vectors are reduced by principal component analysis and weighted by smooth inverse
    frequency (Arora et al. 2017, "A Simple but Tough-to-Beat Baseline for Sentence Embeddings"),
    where a piece's frequency follows from its rank in the vocabulary by Zipf's law. Here a piece's
    vector is the average of its own states over the word-embedding table and all layers, each
    centred and normalised, which classifies better than the last layer's mean. The special tokens'
    vectors are zero.

    Args:
        source: Hugging Face folder, or an encoder of the BERT dialect with `assets/vocab.txt`.
        output: Folder to write; it must be empty or not exist yet.
        dimension: Width of the vectors.
        vocabulary: Word pieces to keep, of those that the source has. Special tokens, single
            characters and their continuations (`##a`) are kept always, so that any text can be
            split. By default all are kept but `[unused...]` and words with letters that aren't
            Latin.
        dialect: `bert` (three id inputs, token vectors) or `text` (one string in, one vector out).
        overwrite: Replace what is at `output`.
        trust_code: Whether the source may hold operations that do more than compute.

    Raises:
        InputError: The source isn't a usable encoder, `dimension` exceeds its width, `vocabulary`
            names pieces that it does not have, or the output is occupied.

    Example:

        distill_static(Path("all-MiniLM-L6-v2"), Path("encoders/static"), dimension=128)
    """
    if dialect not in ("bert", "text"):
        raise InputError(f"`dialect` must be 'bert' or 'text'. Received: {dialect!r}")
    source = opening.path_of(source)
    dimension = ranges.whole_number("dimension", dimension, *ranges.SIZE)
    with (
        whole_or_nothing(Path(output), overwrite, source) as folder,
        _as_encoder(source, trust_code) as teacher,
    ):
        if not 1 <= dimension <= teacher.width:
            raise InputError(
                f"`dimension` must be between 1 and the encoder's width {teacher.width}. "
                f"Received: dimension={dimension}"
            )
        info = _static_info(teacher, Path(output).name, dialect, dimension)
        if teacher.tokenizer is not None:
            _distill_all(teacher, folder, vocabulary, info)
            return
        kept = kept_pieces(teacher.pieces, vocabulary)
        states = _piece_states(teacher, kept)
        words = [teacher.pieces[index] for index in kept]
        table = _static_table(states, words, dimension)
        _write_static(folder, table, words, info)


def _distill_all(
    teacher: "_Teacher", folder: Path, vocabulary: Sequence[str] | None, info: Information
) -> None:
    """Of a tokenizer that isn't BERT's all pieces stay: its graph knows their numbers."""
    if vocabulary is not None or info["dialect"] != "bert":
        raise InputError(
            "only BERT's word pieces can be distilled to some of them, or to a text embedding: "
            "leave `vocabulary` and `dialect` out. Received: a model with another tokenizer"
        )
    tokenizer = teacher.tokenizer
    assert tokenizer is not None  # or it had a vocabulary of word pieces
    packing, dimension = tokenizer.packing, info["dimension"]
    assert isinstance(dimension, int)
    every = range(len(teacher.pieces))
    table = _static_table(_piece_states(teacher, every), teacher.words, dimension)
    made = hub_format.static_encoder(table, None, False, (packing.start, packing.end))
    hub_format.save(made, folder, {k: v for k, v in info.items() if k not in _CASE})
    # The vectors of a pair are taken apart by their types.
    apart = dataclasses.replace(packing, segments=2)
    dataclasses.replace(tokenizer, packing=apart).save(folder / "preprocessor")


@dataclasses.dataclass(frozen=True)
class _Teacher:
    encoder: SavedObject
    pieces: list[str]
    width: int
    info: Mapping[str, object]
    tokenizer: Tokenizer | None = None

    @property
    def words(self) -> list[str]:
        """The pieces as BERT would write them, so that it is seen which are words."""
        special = self.tokenizer.packing.special(0, False).values() if self.tokenizer else ()
        return [
            "[PAD]" if index in special else piece.lstrip("▁Ġ") or piece
            for index, piece in enumerate(self.pieces)
        ]


@contextlib.contextmanager
def _as_encoder(source: Path, trust_code: bool) -> Iterator[_Teacher]:
    """The source as a loaded encoder, by way of a temporary conversion if need be."""
    with temporary() as work:
        folder, tokenizer = source, None
        if huggingface.is_bert_folder(source):
            folder, found = work / "encoder", huggingface.read(source, work)
            tokenizer = found.tokenizer
            _write_bert(found, folder)
        yield _load_teacher(folder, trust_code, tokenizer)


def _load_teacher(folder: Path, trust_code: bool, tokenizer: Tokenizer | None) -> _Teacher:
    vocab = folder / "assets" / "vocab.txt"
    if not (folder / "saved_model.pb").is_file() or not (tokenizer or vocab.is_file()):
        raise InputError(
            "Distilling needs a Hugging Face folder or a TF Hub BERT encoder with "
            "assets/vocab.txt. "
            f"Received: {folder}"
        )
    try:
        encoder = safety.load_checked(folder, trust_code)
        one = np.ones((1, 3), np.int32)
        width = int(_run(encoder, one, one, one * 0)["sequence_output"].shape[-1])
    except InputError:
        raise
    except Exception as error:  # loading and calling a foreign graph can fail in any way
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise InputError(
            f"Distilling needs an encoder of the BERT dialect ({reason}). Received: {folder}"
        ) from error
    known = registry.read_information(folder)
    if "lower_case" not in known:
        known["lower_case"] = bool(getattr(encoder, "do_lower_case", True))
    pieces = [*tokenizer.pieces] if tokenizer else hub_format.read_vocabulary(vocab)
    return _Teacher(encoder, pieces, width, known, tokenizer)


def _is_character(piece: str) -> bool:
    return len(piece.removeprefix("##")) == 1


def _is_latin(piece: str) -> bool:
    letters = (character for character in piece if character.isalpha())
    return all(unicodedata.name(letter, "").startswith("LATIN") for letter in letters)


def kept_pieces(pieces: Sequence[str], vocabulary: Sequence[str] | None) -> list[int]:
    """Which pieces of a vocabulary stay when it is pruned.

    Args:
        pieces: The vocabulary.
        vocabulary: The pieces to keep; special tokens, single characters and their continuations
            stay too. If not given, all but `[unused...]` and words with letters that aren't Latin.

    Returns:
        Their indices, in their order.

    Raises:
        InputError: If `vocabulary` names a piece that isn't there.
    """
    unknown = sorted(set(vocabulary or ()) - set(pieces))
    if unknown:
        raise InputError(
            f"`vocabulary` must name word pieces of the source. Received: {unknown[0]!r}, which it "
            "has not"
        )
    chosen = None if vocabulary is None else set(vocabulary)

    def stays(piece: str) -> bool:
        if piece in hub_format.SPECIAL_TOKENS or _is_character(piece):
            return True
        if chosen is not None:
            return piece in chosen
        return not re.fullmatch(r"\[unused\d+\]", piece) and _is_latin(piece)

    return [index for index, piece in enumerate(pieces) if stays(piece)]


def _piece_states(teacher: _Teacher, kept: Sequence[int]) -> list[np.ndarray]:
    """For the word embeddings and each layer the pieces' states [pieces, width]."""
    if teacher.tokenizer is None:
        first, last = (teacher.pieces.index(token) for token in ("[CLS]", "[SEP]"))
    else:
        first, last = teacher.tokenizer.packing.start, teacher.tokenizer.packing.end
    layers: list[list[np.ndarray]] = []
    for start in range(0, len(kept), _CHUNK):
        chunk = np.asarray(kept[start : start + _CHUNK])
        ids = np.stack([np.full_like(chunk, first), chunk, np.full_like(chunk, last)], axis=1)
        outputs = _run(teacher.encoder, ids, np.ones_like(ids), np.zeros_like(ids))
        found = outputs.get("encoder_outputs") or [outputs["sequence_output"]]
        layers.append([layer[:, 1].numpy() for layer in found])
    states = [np.concatenate(states) for states in zip(*layers, strict=True)]
    tables = [v for v in teacher.encoder.variables if "word_embeddings/embeddings" in v.name]
    # Not tables of ALBERT and its like, which are narrower than the states.
    return [
        table.numpy()[list(kept)] for table in tables if table.shape[-1] == teacher.width
    ] + states


def _static_table(states: Sequence[np.ndarray], words: Sequence[str], dimension: int) -> np.ndarray:
    """[pieces, dimension]; a typical row has a mean square of one, as a layer-normed state has."""
    proper = np.array([not _is_character(w) and w not in hub_format.SPECIAL_TOKENS for w in words])
    if proper.sum() < dimension:
        raise InputError(
            "Principal component analysis needs at least as many whole words as dimensions. "
            f"Received: {proper.sum()} words, dimension={dimension}"
        )
    average = np.mean([_normalised(layer, proper) for layer in states], axis=0)
    reduced = _principal_components(average, proper, dimension)
    table = reduced * _frequency_weights(words, proper)[:, np.newaxis]
    table[[word in hub_format.SPECIAL_TOKENS for word in words]] = 0.0
    return (table / np.sqrt(np.mean(table[proper] ** 2))).astype(np.float32)


def _normalised(layer: np.ndarray, proper: np.ndarray) -> np.ndarray:
    centred = layer.astype(np.float64) - layer[proper].mean(axis=0)
    return centred / np.maximum(np.linalg.norm(centred, axis=1, keepdims=True), 1e-12)


def _principal_components(vectors: np.ndarray, proper: np.ndarray, dimension: int) -> np.ndarray:
    centred = vectors - vectors[proper].mean(axis=0)
    _, axes = np.linalg.eigh(centred[proper].T @ centred[proper])
    axes = axes[:, ::-1][:, :dimension]
    # An axis may point either way; fixed, so that every machine writes the same table.
    axes = axes * np.sign(axes[np.abs(axes).argmax(axis=0), np.arange(dimension)])
    return centred @ axes


def _frequency_weights(words: Sequence[str], proper: np.ndarray) -> np.ndarray:
    """Smooth inverse frequency by Zipf's law, the words' ranks being their order in the vocabulary.

    Characters come first in BERT's vocabularies whatever their frequency: those of ASCII are taken
    to be as frequent as the first word, the others as the middle one.
    """
    ranks = np.where(proper, np.cumsum(proper) - 1, int(proper.sum()) // 2)
    ascii_signs = set(string.ascii_lowercase + string.digits + string.punctuation)
    ranks[[word in ascii_signs for word in words]] = 0
    share = 1.0 / (ranks + 2.0)  # the first rank is 2, as Model2Vec has it
    share /= share[proper].sum()
    return _SMOOTHING / (_SMOOTHING + share)


def _static_info(teacher: _Teacher, name: str, dialect: str, dimension: int) -> Information:
    bert = dialect == "bert"
    return {
        "name": name,
        "licence": teacher.info.get("licence", "unknown"),
        "source": teacher.info.get("source", "unknown"),
        "dialect": dialect,
        "dimension": dimension,
        "layers": 0,
        "outputs": ["default", "pooled_output", "sequence_output"] if bert else ["default"],
        "lower_case": teacher.info["lower_case"],
        "strip_accents": teacher.info.get("strip_accents"),
        # Nothing in a table limits the length; this keeps batches within bounds.
        "sequence_length": 512,
        "pooling": "mean",
        "made_by": "static",
    }


def _write_static(folder: Path, table: np.ndarray, words: Sequence[str], info: Information) -> None:
    lower_case, accents = bool(info["lower_case"]), info["strip_accents"]
    assert accents is None or isinstance(accents, bool)  # by `registry.read_information`
    with temporary() as work:
        vocab = work / "vocab.txt"
        vocab.write_text("".join(f"{word}\n" for word in words), encoding="utf-8")
        if info["dialect"] == "text":
            pieces = hub_format.WordPieces(vocab, lower_case, accents)
            hub_format.save(hub_format.text_encoder(table, pieces, "mean"), folder, info)
        else:
            hub_format.save(hub_format.static_encoder(table, vocab, lower_case), folder, info)
            hub_format.save_preprocessor(folder / "preprocessor", vocab, lower_case, accents)


# --------------------------------------------------------------------------------------------------
# From word vectors


def convert_word_vectors(
    source: Path,
    output: Path,
    lower_case: bool | None = None,
    max_words: int | None = None,
    oov_buckets: int = _OOV_BUCKETS,
    overwrite: bool = False,
) -> None:
    """Converts word vectors in GloVe, word2vec or fastText text format to a TF Hub text embedding.

    Text is treated as by TF Hub's NNLM encoders: punctuation is removed, words are split at spaces,
    their vectors summed and divided by the square root of their number. Unknown words fall into
    hash buckets whose vectors are zero until they are trained. The one variable is called
    `embeddings`.

    Args:
        source: Text file, also gzipped: a word and its numbers on each line, with or without the
            first line of word2vec that gives both counts. A word that comes twice keeps its first
            vector.
        output: Folder to write; it must be empty or not exist yet.
        lower_case: Whether texts are lower-cased; `None` does so when no word has a capital letter.
        max_words: Read only the first so many words, the most frequent ones in the usual files.
        oov_buckets: Number of hash buckets, at least one.
        overwrite: Replace what is at `output`.

    Raises:
        InputError: A line is malformed (the message has its number), the file is empty or ends
            early, a number is out of range, or the output is occupied.

    Example:

        convert_word_vectors(Path("glove.6B.100d.txt"), Path("encoders/glove"), max_words=100_000)
    """
    source = opening.path_of(source)
    oov_buckets = ranges.whole_number("oov_buckets", oov_buckets, *ranges.SIZE)
    max_words = ranges.given(ranges.whole_number, "max_words", max_words, *ranges.SIZE)
    words, vectors = read_word_vectors(source, max_words)
    if lower_case is None:
        lower_case = not any(word != word.lower() for word in words)
    table = np.concatenate([vectors, np.zeros((oov_buckets, vectors.shape[1]), np.float32)])
    info = {
        "name": source.name.removesuffix(".gz").removesuffix(".txt").removesuffix(".vec"),
        "licence": "unknown",
        "source": source.name,
        "dialect": "text",
        "dimension": int(table.shape[1]),
        "layers": 0,
        "outputs": ["default"],
        "lower_case": lower_case,
        "pooling": "sqrtn",
        "made_by": "vectors",
    }
    with (
        whole_or_nothing(Path(output), overwrite, source) as folder,
        temporary() as work,
    ):
        tokens = work / "tokens.txt"
        tokens.write_text("".join(f"{word}\n" for word in words), encoding="utf-8")
        splitter = hub_format.Words(tokens, lower_case, oov_buckets)
        hub_format.save(hub_format.text_encoder(table, splitter, "sqrtn"), folder, info)


registry.register_converter("huggingface", convert_huggingface)
