"""Encoders in TensorFlow Hub's SavedModel form: their graphs, variables and folders.

Three kinds are written here, and only here: a BERT encoder, a table of static word-piece vectors
that speaks the BERT dialect, and a text embedding (one string in, one vector out). Variable names,
inputs and outputs are those of the encoders on tfhub.dev, described in
https://www.tensorflow.org/hub/common_saved_model_apis/text; whatever reads those reads these. The
BERT's graph is `bert_graphs`'.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

# Loaded for its side effect too: it registers the operations that a preprocessor's graph consists
# of.
import tensorflow_text as tf_text

from tfhub_transfer.encoders.bert_graphs import INPUT_KEYS, Weights, bert_function, masked_mean
from tfhub_transfer.encoders.bert_shapes import BertShape, bert_variable_shapes
from tfhub_transfer.storage import atomic, opening
from tfhub_transfer.texts import splitting

INFO_FILE = "tfhub_transfer.json"
SPECIAL_TOKENS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")

# BERT treats a longer word as unknown; tensorflow-text counts bytes, of which a character has up to
# four.
_LONGEST_WORD = 100
# Control, format, private-use characters and U+FFFD vanish, except those that separate words.
_CONTROL = r"[\x{0}-\x{8}\x{B}\x{C}\x{E}-\x{1F}\x{7F}-\x{9F}\x{FFFD}\p{Cf}\p{Co}]"


def _static_function(weights: Weights, uncounted: Sequence[int]) -> Callable[..., dict]:
    def call(inputs: dict[str, tf.Tensor], training: bool = False) -> dict:
        del training  # nothing here differs while training
        ids, present, _ = (inputs[key] for key in INPUT_KEYS)
        table = weights["word_embeddings/embeddings"]
        tokens = tf.nn.embedding_lookup(table, ids)
        counted = tf.cast(present, tf.float32)
        for special in uncounted:
            counted *= tf.cast(tf.not_equal(ids, special), tf.float32)
        pooled = masked_mean(tokens, counted)
        return {"pooled_output": pooled, "default": pooled, "sequence_output": tokens}

    return call


def _variables(values: Mapping[str, np.ndarray]) -> dict[str, tf.Variable]:
    return {name: tf.Variable(value, name=name) for name, value in values.items()}


def _trackable(weights: Weights, function: Callable[..., object]) -> tf.train.Checkpoint:
    """What TF Hub's reusable SavedModels are: a callable with three lists beside it."""
    encoder = tf.train.Checkpoint()
    encoder.variables = list(weights.values())
    encoder.trainable_variables = list(weights.values())
    encoder.regularization_losses = []
    encoder.__call__ = function
    return encoder


def _three_inputs() -> dict[str, tf.TensorSpec]:
    return {key: tf.TensorSpec([None, None], tf.int32, name=key) for key in INPUT_KEYS}


def _token_encoder(
    weights: Weights, call: Callable[..., dict], vocab: Path | None, lower_case: bool
) -> tf.train.Checkpoint:
    function = tf.function(call, autograph=False)
    # A SavedModel can only be called as it was traced.
    for training in (True, False):
        function.get_concrete_function(_three_inputs(), training=training)
    encoder = _trackable(weights, function)
    if vocab is None:
        return encoder
    encoder.vocab_file = tf.saved_model.Asset(str(vocab))
    encoder.do_lower_case = tf.Variable(lower_case, trainable=False, name="do_lower_case")
    return encoder


def bert_encoder(
    values: Mapping[str, np.ndarray], shape: BertShape, vocab: Path | None, lower_case: bool
) -> tf.train.Checkpoint:
    """A BERT encoder with the given weights, ready for `tf.saved_model.save`.

    Args:
        values: An array for each name of `bert_variable_shapes(shape)`, in that shape.
        shape: Sizes and rates.
        vocab: File with one word piece a line; it becomes the asset `vocab.txt`. None for those
            whose pieces are others than BERT's, which their preprocessor has.
        lower_case: Whether the vocabulary was made from lower-cased text.

    Returns:
        A trackable whose `__call__(inputs, training)` takes the three int32 inputs [batch, length]
        and gives `pooled_output` and `default` [batch, pooled_width], `sequence_output` [batch,
        length, hidden] and `encoder_outputs`, a list with one [batch, length, hidden] a layer.
    """
    weights = _variables({name: values[name] for name in bert_variable_shapes(shape)})
    return _token_encoder(weights, bert_function(weights, shape), vocab, lower_case)


def static_encoder(
    table: np.ndarray, vocab: Path | None, lower_case: bool, uncounted: Sequence[int] = ()
) -> tf.train.Checkpoint:
    """A table of word-piece vectors [vocabulary, width] that speaks the BERT dialect.

    `sequence_output` holds the looked-up vectors, `pooled_output` their mean over the tokens that
    the mask does not exclude, `[CLS]` and `[SEP]` not counted; zero where there are none.

    Args:
        table: The vectors.
        vocab: As for `bert_encoder`.
        lower_case: As for `bert_encoder`.
        uncounted: Ids that aren't counted, where no vocabulary says them.
    """
    if vocab is not None:
        pieces = read_vocabulary(vocab)
        uncounted = [pieces.index(token) for token in ("[CLS]", "[SEP]")]
    weights = _variables({"word_embeddings/embeddings": table})
    return _token_encoder(weights, _static_function(weights, uncounted), vocab, lower_case)


def text_encoder(
    table: np.ndarray, splitter: "WordPieces | Words", combiner: str
) -> tf.train.Checkpoint:
    """A text embedding: strings [batch] to vectors [batch, width], by a table with a row a token.

    Args:
        table: Float32 [tokens, width]; becomes the variable `embeddings`.
        splitter: Strings [batch] to a ragged tensor of row numbers, with any number of ragged
            dimensions.
        combiner: `mean`, or `sqrtn`: the sum over the square root of the number of tokens. A text
            without tokens has a vector of zeros.
    """
    weights = _variables({"embeddings": table})

    def call(texts: tf.Tensor) -> tf.Tensor:
        ids = splitter(texts)
        ids = ids.merge_dims(1, -1) if ids.shape.rank > 2 else ids
        vectors = tf.nn.embedding_lookup(weights["embeddings"], ids.flat_values)
        # `segment_sum` would leave out texts without tokens at the end of a batch.
        total = tf.math.unsorted_segment_sum(vectors, ids.value_rowids(), ids.nrows())
        number = tf.cast(tf.maximum(ids.row_lengths(), 1), tf.float32)[:, tf.newaxis]
        return total / (tf.sqrt(number) if combiner == "sqrtn" else number)

    signature = [tf.TensorSpec([None], tf.string)]
    function = tf.function(call, input_signature=signature, autograph=False)
    encoder = _trackable(weights, function)
    encoder.splitter = splitter
    return encoder


def _cleaned(texts: tf.Tensor, lower_case: bool, strip_accents: bool) -> tf.Tensor:
    texts = tf.strings.unicode_transcode(texts, "UTF-8", "UTF-8", errors="ignore")
    texts = tf.strings.regex_replace(texts, _CONTROL, "")
    if lower_case:
        # TensorFlow's own way gives a sigma that ends a word another letter; BERT's doesn't.
        texts = tf.strings.regex_replace(texts, "Σ", "σ")
        texts = tf.strings.lower(texts, encoding="utf-8")
    if strip_accents:
        texts = tf.strings.regex_replace(tf_text.normalize_utf8(texts, "NFD"), r"\p{Mn}", "")
    return texts


class WordPieces(tf.train.Checkpoint):
    r"""Splits text as BERT does: into words and signs, those into the longest word pieces.

    The ids are those of Hugging Face's `BertTokenizer`, with one difference: `[SEP]` and its like
    *inside* a text are text, not special tokens.

    Args:
        vocab: File with one word piece a line, the five special tokens of BERT among them.
        lower_case: Whether to lower-case.
        strip_accents: Whether to remove accents; `None` does so where `lower_case` is true.

    Example:

    >>> import pathlib, tempfile
    >>> vocab = pathlib.Path(tempfile.mkdtemp()) / "vocab.txt"
    >>> _ = vocab.write_text("\n".join((*SPECIAL_TOKENS, "play", "##ed", "!")))
    >>> WordPieces(vocab, lower_case=True)(tf.constant(["Played!"])).to_list()
    [[[5, 6], [7]]]
    """

    def __init__(self, vocab: Path, lower_case: bool, strip_accents: bool | None = None) -> None:
        super().__init__()
        pieces = read_vocabulary(vocab)
        self._lower_case = lower_case
        self._strip_accents = lower_case if strip_accents is None else strip_accents
        self._special = {name: pieces.index(name) for name in SPECIAL_TOKENS if name in pieces}
        self._size = len(pieces)
        self.vocab_file = tf.saved_model.Asset(str(vocab))
        # The table wants a bucket at least; unknown pieces are the tokenizer's affair.
        self._table = _line_numbers(self.vocab_file, 1)

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string)], autograph=False)
    def __call__(self, texts: tf.Tensor) -> tf.RaggedTensor:
        """Strings [batch] to int32 word-piece ids [batch, (words), (pieces of the word)]."""
        return self.ids(texts)

    def ids(self, texts: tf.Tensor) -> tf.RaggedTensor:
        """What calling it gives, as part of another graph."""
        texts = _cleaned(texts, self._lower_case, self._strip_accents)
        words = splitting.split(texts)
        # Each word is split once, however often it occurs: that is where the time goes.
        different, places = tf.unique(words.flat_values, tf.int64)
        lengths = tf.strings.length(different, unit="UTF8_CHAR")
        short = tf.where(lengths > _LONGEST_WORD, "[UNK]", different)
        tokenizer = tf_text.WordpieceTokenizer(
            self._table, max_bytes_per_word=4 * _LONGEST_WORD, token_out_type=tf.int32
        )
        return words.with_flat_values(tf.gather(tokenizer.tokenize(short), places))

    @tf.function(input_signature=[], autograph=False)
    def get_special_tokens_dict(self) -> dict[str, tf.Tensor]:
        """Ids of the special tokens and the size of the vocabulary, int32 scalars."""
        names = {
            "padding_id": "[PAD]",
            "start_of_sequence_id": "[CLS]",
            "end_of_segment_id": "[SEP]",
            "mask_id": "[MASK]",
        }
        ids = {key: self._special[token] for key, token in names.items() if token in self._special}
        ids["vocab_size"] = self._size
        return {key: tf.constant(value, tf.int32) for key, value in ids.items()}

    def pack(
        self, segments: Sequence[tf.RaggedTensor], seq_length: tf.Tensor
    ) -> dict[str, tf.Tensor]:
        """`[CLS] a [SEP]` or `[CLS] a [SEP] b [SEP]`, cut and padded to `seq_length`.

        Args:
            segments: One or two ragged int32 tensors, [batch, (pieces)] or [batch, (words),
                (pieces)].
            seq_length: Number of tokens in every row. Where a pair is too long, its longer text is
                cut.

        Returns:
            The three inputs of a BERT encoder, int32 [batch, seq_length].
        """
        flat = [s.merge_dims(1, -1) if s.shape.rank > 2 else s for s in segments]
        length = tf.cast(seq_length, tf.int32)
        place, kept = tf.range(length)[tf.newaxis], _kept_lengths(flat, length)
        ids = tf.where(place == 0, self._special["[CLS]"], self._special["[PAD]"])
        types, start = tf.zeros_like(ids), tf.ones_like(kept[0])
        for number, (segment, keep) in enumerate(zip(flat, kept, strict=True)):
            values = segment.to_tensor(shape=tf.stack([-1, length]))
            shifted = tf.clip_by_value(place - start, 0, length - 1)
            inside = (place >= start) & (place < start + keep)
            ids = tf.where(inside, tf.gather(values, shifted, batch_dims=1), ids)
            types = tf.where((place >= start) & (place <= start + keep), number, types)
            start += keep + 1
            ids = tf.where(place == start - 1, self._special["[SEP]"], ids)
        packed = (ids, tf.cast(place < start, tf.int32), types)
        return dict(zip(INPUT_KEYS, packed, strict=True))


def _kept_lengths(segments: Sequence[tf.RaggedTensor], seq_length: tf.Tensor) -> list[tf.Tensor]:
    """How much [batch, 1] of each segment fits, special tokens beside it: the longer one is cut."""
    room = seq_length - len(segments) - 1
    lengths = [tf.cast(s.row_lengths(), tf.int32)[:, tf.newaxis] for s in segments]
    if len(segments) == 1:
        return [tf.minimum(lengths[0], room)]
    first = tf.minimum(lengths[0], tf.maximum(room - lengths[1], (room + 1) // 2))
    return [first, tf.minimum(lengths[1], room - first)]


class Words(tf.train.Checkpoint):
    r"""Splits text at spaces, as TF Hub's NNLM encoders do, once punctuation is gone.

    Args:
        tokens: File with one word a line.
        lower_case: Whether to lower-case.
        buckets: Number of hash buckets for unknown words; their ids follow those of the words.

    Example:

    >>> import pathlib, tempfile
    >>> tokens = pathlib.Path(tempfile.mkdtemp()) / "tokens.txt"
    >>> _ = tokens.write_text("well\ndone\n")
    >>> Words(tokens, lower_case=True, buckets=1)(tf.constant(["Well, well done!"])).to_list()
    [[0, 0, 1]]
    """

    def __init__(self, tokens: Path, lower_case: bool, buckets: int) -> None:
        super().__init__()
        self._lower_case = lower_case
        self.tokens_file = tf.saved_model.Asset(str(tokens))
        self._table = _line_numbers(self.tokens_file, buckets)

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string)], autograph=False)
    def __call__(self, texts: tf.Tensor) -> tf.RaggedTensor:
        """Strings [batch] to int64 ids [batch, (words)]."""
        if self._lower_case:
            texts = tf.strings.lower(texts, encoding="utf-8")
        texts = tf.strings.regex_replace(texts, r"\p{P}", "")
        return self._table.lookup(tf.strings.split(texts))


def _line_numbers(asset: tf.saved_model.Asset, buckets: int) -> tf.lookup.StaticVocabularyTable:
    lines, numbers = tf.lookup.TextFileIndex.WHOLE_LINE, tf.lookup.TextFileIndex.LINE_NUMBER
    initializer = tf.lookup.TextFileInitializer(
        asset.asset_path, tf.string, lines, tf.int64, numbers
    )
    return tf.lookup.StaticVocabularyTable(initializer, num_oov_buckets=buckets)


def preprocessor(pieces: Any, sequence_length: int = 128) -> tf.train.Checkpoint:
    """A TF Hub preprocessor: `__call__`, `tokenize` and `bert_pack_inputs`, ready to be saved.

    Args:
        pieces: The tokenizer: `WordPieces`, or what has the same four methods.
        sequence_length: Number of tokens a row that `__call__` gives, and the default of
            `bert_pack_inputs`.
    """

    def call(texts: tf.Tensor) -> dict[str, tf.Tensor]:
        return pieces.pack([pieces(texts)], sequence_length)

    def pack(inputs: list[tf.RaggedTensor], seq_length: int = sequence_length) -> dict:
        return pieces.pack(inputs, seq_length)

    packer = tf.function(pack, autograph=False)
    length = tf.TensorSpec([], tf.int32, name="seq_length")
    # What isn't traced now can't be called later: one text or two, by words or not.
    for rank in (1, 2):
        segment = tf.RaggedTensorSpec([None] * (rank + 1), tf.int32, ragged_rank=rank)
        for segments in ([segment], [segment, segment]):
            packer.get_concrete_function(segments, seq_length=length)
    root = tf.train.Checkpoint()
    root.tokenize = pieces
    root.bert_pack_inputs = packer
    signature = [tf.TensorSpec([None], tf.string)]
    root.__call__ = tf.function(call, input_signature=signature, autograph=False)
    return root


def read_vocabulary(path: Path) -> list[str]:
    """The word pieces of a `vocab.txt`, in the order of their ids.

    Raises:
        UnicodeDecodeError: The file is not UTF-8.
    """
    # Not `splitlines`: some vocabularies hold pieces such as U+2028 that it would split at.
    lines = opening.read_text(path).split("\n")
    return [line.rstrip("\r") for line in (lines[:-1] if lines[-1] == "" else lines)]


def save(
    encoder: tf.train.Checkpoint, folder: Path, info: Mapping[str, object], overwrite: bool = False
) -> None:
    """Writes an encoder's SavedModel and `tfhub_transfer.json` beside it, as a whole folder.

    Args:
        encoder: What one of the functions above made.
        folder: The folder to write; within one that is being written, it may hold other things.
        info: What the JSON file is to say.
        overwrite: Whether a folder there that this package wrote is replaced.

    Raises:
        InputError: If it can't be written, or would replace what this package didn't write.
    """
    text = json.dumps(dict(info), indent=2, ensure_ascii=False)
    with atomic.part(folder, overwrite) as scratch:
        tf.saved_model.save(encoder, str(scratch))
        (scratch / INFO_FILE).write_text(text + "\n", encoding="utf-8")


def save_preprocessor(
    folder: Path, vocab: Path, lower_case: bool, strip_accents: bool | None = None
) -> None:
    """Writes the preprocessor that belongs to a vocabulary as a SavedModel, as a whole folder.

    Raises:
        InputError: If it can't be written, or there is something already.
    """
    made = preprocessor(WordPieces(vocab, lower_case, strip_accents))
    with atomic.part(folder) as scratch:
        tf.saved_model.save(made, str(scratch))
