"""Text to encoder inputs, on the host: tokens, packing, truncation, padding."""

import dataclasses
import json
import re
import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TypedDict

import numpy as np
import tensorflow as tf

from tfhub_transfer.encoders import calls, hub_format, registry, spelling
from tfhub_transfer.encoders.encoder import CODE_POINTS, Encoder
from tfhub_transfer.encoders.token_counts import (
    Truncation,
    most_pieces,
    padded_length,
    pieces_before,
    to_dense,
)
from tfhub_transfer.encoders.tokenizers import packing
from tfhub_transfer.errors import InputError
from tfhub_transfer.graphs import safety
from tfhub_transfer.incoming import ranges, usual
from tfhub_transfer.storage import atomic, names, opening, records
from tfhub_transfer.storage.scratch import temporary, temporary_folder
from tfhub_transfer.texts import splitting
from tfhub_transfer.texts.joining import WORD_STARTS

_MAX_CHARACTERS = 100_000
SETTINGS = "preprocessor.json"
# The table with a row for each word piece, by its name in the encoders of TF Hub.
_WORDS = re.compile(r"word_embeddings/embeddings")
_KINDS = ("code_points", "vocabulary", "saved_model")
# Texts that are encoded at a time, of any number of them.
_CHUNK = 4096


class TextPreprocessor(tf.Module):
    """Turns texts into what an encoder reads. Make one with `make_preprocessor`.

    Users have it as a Keras layer, `tt.Preprocessor`.

    Everything is TensorFlow operations, so the same object runs in tf.data and inside an exported
    SavedModel. Rows keep their own lengths until `pad` makes a batch of them.

    Args:
        sequence_length: The most tokens that a text, or a packed pair, may have.
    """

    dialect = ""

    by_word = False

    def __init__(self, sequence_length: int) -> None:
        super().__init__()
        self.sequence_length = sequence_length

    def encode(self, texts: Sequence[tf.Tensor]) -> dict[str, tf.RaggedTensor]:
        """One string tensor `[batch]`, or two, to ragged int32 features `[batch, (length)]`."""
        raise NotImplementedError

    def lengths(self, texts: Sequence[tf.Tensor]) -> tf.Tensor:
        """The number of tokens `[batch]` that each text would have without truncation."""
        raise NotImplementedError

    def pad(
        self, encoded: dict[str, tf.RaggedTensor], lengths: np.ndarray | None = None
    ) -> dict[str, tf.Tensor]:
        """Ragged features to dense int32 `[batch, length]`.

        Args:
            encoded: What `encode` gives.
            lengths: Ascending lengths, of which the batch gets the least that holds its rows; if
                not given, it gets its own, rounded up a little.
        """
        raise NotImplementedError

    def __call__(self, *texts: object, lengths: np.ndarray | None = None) -> dict[str, tf.Tensor]:
        """Texts, or firsts and seconds of pairs, to one padded batch of encoder inputs.

        Args:
            *texts: The columns.
            lengths: What to pad to, as for `pad`.
        """
        columns = [tf.reshape(calls.as_texts(column), [-1]) for column in texts]
        return self.pad(self.encode(columns), lengths)

    def encode_all(
        self, texts: Sequence[Sequence[str]]
    ) -> tuple[dict[str, tf.RaggedTensor], Truncation]:
        """Encodes whole columns chunk by chunk and counts what truncation cost.

        Args:
            texts: One column of texts, or two for pairs, each of the same number of rows.
        """
        encoded, lost = self.encode_and_count(texts)
        return encoded, Truncation.count(lost)

    def encode_and_count(
        self, texts: Sequence[Sequence[str]]
    ) -> tuple[dict[str, tf.RaggedTensor], np.ndarray]:
        """As `encode_all`, with the number of tokens that each text lost, int `[n]`."""
        chunks, lost = [], []
        for start in range(0, len(texts[0]), _CHUNK):
            chunk = [tf.constant(list(t[start : start + _CHUNK]), tf.string) for t in texts]
            encoded, over = self._encode_and_count(chunk)
            chunks.append(encoded)
            lost.append(over)
        joined = {key: tf.concat([c[key] for c in chunks], axis=0) for key in chunks[0]}
        return joined, np.concatenate(lost)

    def fingerprint(self) -> str:
        """SHA-256 of everything that ids depend on: settings, vocabulary, graph."""
        with temporary() as scratch:
            self.write(scratch)
            files = sorted(p for p in scratch.rglob("*") if p.is_file())
            named = [(str(p.relative_to(scratch)), p.read_bytes()) for p in files]
        return names.key(*[part for pair in named for part in pair])

    def _encode_and_count(
        self, chunk: list[tf.Tensor]
    ) -> tuple[dict[str, tf.RaggedTensor], np.ndarray]:
        encoded = self.encode(chunk)
        over = self.lengths(chunk).numpy() - self.room(len(chunk))
        return encoded, np.maximum(over, 0)

    def room(self, columns: int) -> int:
        """How much of one text, or of two, fits beside what stands around them."""
        return self.sequence_length

    def require_fit(self, encoder: Encoder) -> None:
        """Refuses an encoder that can't read what this gives; both may come out of a file.

        Raises:
            InputError: If it reads something else, has fewer positions, or vectors for fewer word
                pieces: looked up all the same, they would be an error on one device and zeros on
                another.
        """
        if self.dialect != encoder.dialect:
            raise InputError(
                f"the file's preprocessor is one for {self.dialect} encoders, its encoder another. "
                f"Received: {encoder.dialect}"
            )
        checked_length(self.sequence_length, encoder.max_sequence_length)

    def save(self, folder: str | Path, overwrite: bool = False) -> None:
        """Writes the preprocessor as a folder, for `load_preprocessor`; it appears whole.

        Args:
            folder: The folder to write.
            overwrite: Whether a folder there that this package wrote is replaced.

        Raises:
            InputError: If it can't be written, or would replace what this package didn't write.
        """
        with atomic.part(opening.path_of(folder), overwrite) as scratch:
            self.write(scratch)

    def write(self, folder: Path) -> None:
        """Writes what `save` does into an empty folder."""
        raise NotImplementedError


class CodePointPreprocessor(TextPreprocessor):
    """For text-embedding encoders, which split texts themselves: Unicode code points.

    Numbers instead of strings let the Keras model batch, cache and distribute like any other;
    the encoder joins them to strings again. A text is cut at 100,000 characters; NUL characters,
    which stand for padding, become spaces.
    """

    dialect = "text"

    def encode(self, texts: Sequence[tf.Tensor]) -> dict[str, tf.RaggedTensor]:
        names = (CODE_POINTS,) if len(texts) == 1 else (f"{CODE_POINTS}_a", f"{CODE_POINTS}_b")
        return {name: _code_points(text) for name, text in zip(names, texts)}

    def lengths(self, texts: Sequence[tf.Tensor]) -> tf.Tensor:
        return tf.reduce_max([tf.strings.length(t, "UTF8_CHAR") for t in texts], axis=0)

    def room(self, columns: int) -> int:
        return _MAX_CHARACTERS

    def pad(
        self, encoded: dict[str, tf.RaggedTensor], lengths: np.ndarray | None = None
    ) -> dict[str, tf.Tensor]:
        return {
            key: to_dense(value, padded_length(value, lengths, _MAX_CHARACTERS))
            for key, value in encoded.items()
        }

    def write(self, folder: Path) -> None:
        _write_settings(folder, {"kind": "code_points", "sequence_length": self.sequence_length})


@dataclasses.dataclass(frozen=True)
class Case:
    """How a tokenizer treats case and accents.

    Attributes:
        lower_case: Whether it lower-cases; `None` if nothing says so.
        strip_accents: Whether it removes accents; `None` does so where it lower-cases.
    """

    lower_case: bool | None
    strip_accents: bool | None = None


class BertPreprocessor(TextPreprocessor):
    """For the BERT dialect: pieces of texts, `[CLS] a [SEP]` or `[CLS] a [SEP] b [SEP]`.

    Other families have other special tokens, which their preprocessors name (`pieces.packing`).

    Args:
        tokenizer: Texts `[batch]` to ragged int32 word-piece ids `[batch, (words), (pieces)]`.
        special: Ids of `start_of_sequence_id` and what else `pieces.packing` knows.
        sequence_length: The most word pieces, special tokens counted.
        source: What `save` writes: a vocabulary file or a TF Hub preprocessor's folder.
        case: How the tokenizer treats case and accents; only recorded for a vocabulary file.

    Attributes:
        prompt: What precedes a text that is by itself, not one of a pair and not told by words.
    """

    dialect = "bert"
    prompt = ""

    def __init__(
        self,
        tokenizer: Callable[[tf.Tensor], tf.RaggedTensor],
        special: dict[str, int],
        sequence_length: int,
        source: Path,
        case: Case | None = None,
    ) -> None:
        super().__init__(sequence_length)
        self._tokenizer = tokenizer
        self._special = special
        self.source = source
        self._case = case or Case(None)

    def require_fit(self, encoder: Encoder) -> None:
        super().require_fit(encoder)
        tables = [w for n, w in encoder.named_weights().items() if _WORDS.search(n)]
        for file in spelling.vocabularies(self.source):
            if not tables:
                return  # of an encoder with other names nothing is known
            pieces, rows = len(hub_format.read_vocabulary(file)), int(tables[0].shape[0])
            if pieces > rows:
                raise InputError(
                    "the vocabulary has more word pieces than the encoder has vectors; it belongs "
                    f"to another encoder. Received: {pieces} word pieces and {rows} vectors"
                )

    def tokenize(self, texts: tf.Tensor) -> tf.RaggedTensor:
        """Strings `[batch]` to word-piece ids `[batch, (length)]`, no special tokens added."""
        return tf.cast(self.in_words(texts).merge_dims(1, -1), tf.int32)

    def spelled(self, ids: Sequence[int]) -> list[str]:
        """Ids as the word pieces that they stand for; as `#17` if no vocabulary is known."""
        return spelling.pieces(self.source, ids)

    def is_special(self, piece_id: int) -> bool:
        """Whether an id is one that packing adds."""
        return piece_id in packing.ids(self._special)

    @property
    def unknown_id(self) -> int | None:
        """The id of unknown pieces, if the preprocessor says it."""
        return self._special.get(packing.UNKNOWN)

    @property
    def reads_spaces(self) -> bool:
        """Whether a word has other pieces behind a space than at the beginning of a text."""
        return packing.are_spaced(self._special)

    def segments(self, ids: Sequence[int]) -> list[int]:
        """Of each token of a row the text that it belongs to, 0 or 1, as what ends texts says."""
        ends = [place for place, each in enumerate(ids) if each == self._special[packing.END]]
        return [int(place > ends[0]) if ends else 0 for place in range(len(ids))]

    def in_words(self, texts: tf.Tensor) -> tf.RaggedTensor:
        """As `tokenize`, by word `[batch, (words), (pieces)]` if the tokenizer knows words."""
        return self._tokenizer(tf.strings.substr(texts, 0, _MAX_CHARACTERS, unit="UTF8_CHAR"))

    def prompted(self, texts: Sequence[tf.Tensor]) -> Sequence[tf.Tensor]:
        """Columns of texts as they are read: one that is alone has the prompt before it."""
        alone = len(texts) == 1 and not self.by_word
        return [self.prompt + texts[0]] if alone and self.prompt else texts

    def encode(self, texts: Sequence[tf.Tensor]) -> dict[str, tf.RaggedTensor]:
        if not self.by_word:
            return self.pack([self.tokenize(text) for text in self.prompted(texts)])
        return self._pack_words([self.tokenize(t) for t in texts[:-1]], self.words(texts[-1]))

    def _pack_words(
        self, before: list[tf.RaggedTensor], pieces: tf.RaggedTensor
    ) -> dict[str, tf.RaggedTensor]:
        """Packs plain segments and a last one whose words are to be told apart."""
        if before:
            # As `pack` would cut; but here it must be known where words stand, and that of two
            # windows that overlap by half one has the whole word.
            room = self.room(len(before) + 1)
            before = [before[0][:, : room - room // 2]]
            pieces = pieces.with_values(pieces.values[:, : most_pieces(room)])
        counts = pieces.with_values(pieces.values.row_lengths(axis=1))
        packed = self.pack([*before, pieces.merge_dims(1, 2)])
        if not before:
            return {**packed, WORD_STARTS: self._starts(counts, 1)}
        around = 1 + packing.separators(self._special)  # [CLS] and [SEP]
        starts = self._starts(counts, before[0].row_lengths() + around)
        nothing = tf.zeros([starts.nrows(), 1], tf.int32)  # [CLS], which stands for none of them
        return {**packed, WORD_STARTS: tf.concat([nothing, starts], axis=1)}

    def words(self, texts: tf.Tensor) -> tf.RaggedTensor:
        """Texts of joined words `[batch]` to int32 word pieces `[batch, (words), (pieces)]`.

        A word of which nothing is left, such as a control character alone, has one piece, padding.
        """
        words = splitting.listed(texts)
        return words.with_values(self.pieces(words.flat_values))

    def pieces(self, words: tf.Tensor) -> tf.RaggedTensor:
        """Single words `[n]` to their word pieces, at least one, int32 `[n, (pieces)]`."""
        pieces = self.tokenize(" " + words if self.reads_spaces else words)
        empty = tf.cast(tf.equal(pieces.row_lengths(), 0), tf.int64)
        filler = tf.fill([tf.reduce_sum(empty)], self._special["padding_id"])
        fillers = tf.RaggedTensor.from_row_lengths(filler, empty, validate=False)
        return tf.concat([pieces, fillers], axis=1)

    def _starts(self, counts: tf.RaggedTensor, first: int | tf.Tensor) -> tf.RaggedTensor:
        """Where the first piece of each word stands `[batch, (words)]`; 0 if it doesn't fit.

        Args:
            counts: Word pieces of each word `[batch, (words)]`.
            first: The place of the first word, in all rows or in each `[batch]`.
        """
        first = tf.broadcast_to(tf.cast(first, counts.dtype), [counts.nrows()])
        places = pieces_before(counts) + tf.gather(first, counts.value_rowids())
        fits = places < self.sequence_length - 1  # the last place is that of [SEP]
        return counts.with_values(tf.cast(tf.where(fits, places, 0), tf.int32))

    def pack(self, segments: list[tf.RaggedTensor]) -> dict[str, tf.RaggedTensor]:
        """Word-piece ids of each segment `[batch, (length)]` to one packed row each, cut to fit."""
        ids, types = packing.packed(segments, self.room(len(segments)), self._special)
        return {"input_word_ids": ids, "input_type_ids": types}

    def lengths(self, texts: Sequence[tf.Tensor]) -> tf.Tensor:
        counts = [self.tokenize(text).row_lengths() for text in self.prompted(texts)]
        return tf.cast(tf.add_n(counts), tf.int32)

    def _encode_and_count(
        self, chunk: list[tf.Tensor]
    ) -> tuple[dict[str, tf.RaggedTensor], np.ndarray]:
        # Tokenizing is the dear part: once for both.
        plain = chunk[:-1] if self.by_word else self.prompted(chunk)
        segments = [self.tokenize(text) for text in plain]
        total = sum(segment.row_lengths().numpy() for segment in segments)
        if not self.by_word:
            return self.pack(segments), np.maximum(total - self.room(len(chunk)), 0)
        pieces = self.words(chunk[-1])
        total = total + pieces.merge_dims(1, 2).row_lengths().numpy()
        packed = self._pack_words(segments, pieces)
        return packed, np.maximum(total - self.room(len(chunk)), 0)

    def room(self, columns: int) -> int:
        return packing.room(self.sequence_length, columns, self._special)

    def pad(
        self, encoded: dict[str, tf.RaggedTensor], lengths: np.ndarray | None = None
    ) -> dict[str, tf.Tensor]:
        ids = encoded["input_word_ids"]
        length = padded_length(ids, lengths, self.sequence_length)
        made = {
            "input_word_ids": to_dense(ids, length, self._special["padding_id"]),
            "input_mask": to_dense(tf.ones_like(ids), length),
            "input_type_ids": to_dense(encoded["input_type_ids"], length),
        }
        if WORD_STARTS in encoded:
            made[WORD_STARTS] = to_dense(encoded[WORD_STARTS], length)
        return made

    def write(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        kind = "vocabulary" if self.source.is_file() else "saved_model"
        if kind == "vocabulary":
            shutil.copyfile(self.source, folder / "vocab.txt")
        else:
            shutil.copytree(self.source, folder / "saved_model", dirs_exist_ok=True)
        _write_settings(
            folder,
            {
                "kind": kind,
                "sequence_length": self.sequence_length,
                **dataclasses.asdict(self._case),
                "by_word": self.by_word,
                # Without one, the file and its fingerprint are those of versions that knew none.
                **({"prompt": self.prompt} if self.prompt else {}),
            },
        )


def make_preprocessor(
    encoder: Encoder, preprocessor: str | None = None, sequence_length: int | None = None
) -> TextPreprocessor:
    """Makes the preprocessor that belongs to an encoder.

    A text-embedding encoder needs none of its own. For the BERT dialect it is made from the
    vocabulary in the encoder's assets where that says how to treat case; otherwise the TF Hub
    preprocessor that belongs to the handle is fetched.

    Args:
        encoder: The encoder to feed.
        preprocessor: Handle or folder of a TF Hub BERT preprocessor, to use that one. It is trusted
            with code where the encoder is.
        sequence_length: The most tokens of a text; 256 if not given, or what the encoder can take.

    Raises:
        InputError: If none can be found, or `sequence_length` doesn't suit the encoder.

    Example:

    >>> batch = make_preprocessor(encoder, sequence_length=64)(["What a lovely film"])
    >>> sorted(batch)
    ['input_mask', 'input_type_ids', 'input_word_ids']
    """
    length = checked_length(sequence_length, encoder.max_sequence_length)
    made = _make(encoder, preprocessor, length)
    made.require_fit(encoder)
    if isinstance(made, BertPreprocessor):
        made.prompt = encoder.source.information.get("prompt", "")
    return made


def _make(encoder: Encoder, preprocessor: str | None, length: int) -> TextPreprocessor:
    if encoder.dialect == "text":
        return CodePointPreprocessor(length)
    if preprocessor is not None:
        return _from_saved_model(registry.resolve(preprocessor), length, encoder.trust_code)
    vocabulary, case = _vocabulary_of(encoder)
    if vocabulary is not None and case.lower_case is not None:
        return _from_vocabulary(vocabulary, case, length)
    found = encoder.source.preprocessor
    if found is not None:
        return _from_saved_model(found, length, encoder.trust_code)
    if vocabulary is not None:
        case = Case(_looks_lower_case(vocabulary), case.strip_accents)
        return _from_vocabulary(vocabulary, case, length)
    raise InputError(
        "no preprocessor is known for this encoder and it holds no vocabulary; give one with "
        f"`preprocessor=` (`--preprocessor`). Received: {encoder.handle}"
    )


def of_saved_model(folder: Path, sequence_length: int | None, trust_code: bool) -> TextPreprocessor:
    """A TF Hub preprocessor, for an encoder of which nothing is known (see `make_preprocessor`)."""
    return _from_saved_model(folder, checked_length(sequence_length, None), trust_code)


def load_preprocessor(folder: Path, trust_code: bool = False) -> TextPreprocessor:
    """Reads what `TextPreprocessor.save` wrote; the folder may go afterwards.

    Args:
        folder: The folder that `save` wrote.
        trust_code: Whether a SavedModel in it may do more than compute.

    Raises:
        InputError: If it may not be loaded.
    """
    settings = _read_settings(folder / SETTINGS)
    length = settings["sequence_length"]
    if settings["kind"] == "code_points":
        return CodePointPreprocessor(length)
    # From files of its own: it may be saved again, or exported, when `folder` has gone.
    keeper = _Keeper()
    own = temporary_folder(keeper)
    shutil.copytree(folder, own, dirs_exist_ok=True)
    if settings["kind"] == "vocabulary":
        case = Case(settings["lower_case"], settings["strip_accents"])
        made = _from_vocabulary(own / "vocab.txt", case, length)
    else:
        made = _from_saved_model(own / "saved_model", length, trust_code)
    made.by_word, made.prompt = settings["by_word"], settings["prompt"]
    made.keeper = keeper
    return made


class _Settings(TypedDict):
    kind: str | None
    sequence_length: int
    lower_case: bool | None
    strip_accents: bool | None
    by_word: bool
    prompt: str


def _read_settings(path: Path) -> _Settings:
    """What `save` wrote into a file that may have been changed since."""
    given = records.read(path)
    settings: _Settings = {
        "kind": records.take(given, "kind", str, path),
        "sequence_length": records.take(given, "sequence_length", int, path, 0),
        "lower_case": records.take(given, "lower_case", bool, path),
        "strip_accents": records.take(given, "strip_accents", bool, path),
        "by_word": records.take(given, "by_word", bool, path, False),
        "prompt": records.take(given, "prompt", str, path, ""),
    }
    least, most = ranges.SEQUENCE_LENGTH
    if settings["kind"] not in _KINDS or not least <= settings["sequence_length"] <= most:
        raise InputError(
            f"a preprocessor's settings have a `kind` of {', '.join(_KINDS)} and a "
            f"`sequence_length` from {least} to {most}; the file is damaged. "
            f"Received: {settings} in {path}"
        )
    return settings


class _Keeper:
    """Owns a folder for as long as a preprocessor, or a copy of it, needs the files there."""


def _from_vocabulary(path: Path, case: Case, sequence_length: int) -> BertPreprocessor:
    ids = {word: index for index, word in enumerate(hub_format.read_vocabulary(path))}
    missing = [token for token in ("[CLS]", "[SEP]", "[PAD]", "[UNK]") if token not in ids]
    if missing:
        raise InputError(
            f"the vocabulary lacks {', '.join(missing)}; expected one word piece a line, as BERT "
            f"writes it. Received: {path}"
        )
    # Not tensorflow-text's `BertTokenizer`: it removes accents wherever it lower-cases.
    tokenizer = hub_format.WordPieces(path, bool(case.lower_case), case.strip_accents)
    special = {
        "start_of_sequence_id": ids["[CLS]"],
        "end_of_segment_id": ids["[SEP]"],
        "padding_id": ids["[PAD]"],
    }
    made = BertPreprocessor(tokenizer.ids, special, sequence_length, path, case)
    # An attribute of the module, so that its table lives and is exported with it.
    made._pieces = tokenizer
    return made


def _from_saved_model(folder: Path, sequence_length: int, trust_code: bool) -> BertPreprocessor:
    loaded = safety.load_checked(folder, trust_code)
    tokenize = getattr(loaded, "tokenize", None)
    if tokenize is None or not hasattr(tokenize, "get_special_tokens_dict"):
        raise InputError(
            "the SavedModel isn't a TF Hub BERT preprocessor: expected `tokenize` with "
            f"`get_special_tokens_dict`. Received: {folder}"
        )
    special = {key: int(value) for key, value in tokenize.get_special_tokens_dict().items()}
    made = BertPreprocessor(tokenize, special, sequence_length, folder)
    # Likewise: the SavedModel holds the tables.
    made._loaded = loaded
    return made


def _vocabulary_of(encoder: Encoder) -> tuple[Path | None, Case]:
    """The vocabulary in the encoder's assets, and what the encoder says of case and accents."""
    files = sorted((encoder.folder / "assets").glob("*vocab*.txt"))
    case = Case(encoder.do_lower_case)
    if (encoder.folder / registry.INFORMATION).exists():
        facts = encoder.source.information
        case = Case(facts.get("lower_case"), facts.get("strip_accents"))
    return (files[0] if files else None), case


def _looks_lower_case(vocabulary: Path) -> bool:
    words = opening.read_text(vocabulary).split("\n")
    # Special tokens, `[CLS]` and the like, have capitals in any vocabulary.
    return not any(w != w.lower() for w in words if not w.startswith("["))


def checked_length(wanted: int | None, limit: int | None) -> int:
    """A `sequence_length` that an encoder of so many positions can take, or the usual one."""
    if wanted is None:
        return min(usual.SEQUENCE_LENGTH, limit or usual.SEQUENCE_LENGTH)
    least, most = ranges.SEQUENCE_LENGTH
    wanted = ranges.whole_number("sequence_length", wanted, 1, most)
    if not least <= wanted <= (limit or most):
        raise InputError(
            f"`sequence_length` must be from {least} to {limit or most}, the most positions that "
            f"this encoder has. Received: {wanted}"
        )
    return wanted


def _code_points(texts: tf.Tensor) -> tf.RaggedTensor:
    texts = tf.strings.substr(texts, 0, _MAX_CHARACTERS, unit="UTF8_CHAR")
    points = tf.strings.unicode_decode(texts, "UTF-8")
    return tf.ragged.map_flat_values(lambda v: tf.where(v == 0, ord(" "), v), points)


def _write_settings(folder: Path, settings: Mapping[str, object]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / SETTINGS).write_text(json.dumps(settings, indent=1) + "\n", encoding="utf-8")
