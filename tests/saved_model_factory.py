"""Writes tiny SavedModels that speak every dialect of the TensorFlow Hub text encoders.

The genuine encoders are hundreds of megabytes and need a network; these have the same calling
conventions, variable names, attributes, assets and graph forms (Einsum + AddV2, the Pow form of
GELU, layer normalisation out of moments), but only a few thousand parameters. Every function takes
the folder to write into, is deterministic by `seed`, and returns the folder.

The BERT names follow the Model Garden exporter that made the TensorFlow Hub collection
(https://github.com/tensorflow/models/tree/master/official/nlp/tools).
"""

import math
import random
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
import tensorflow_text
from tensorflow.core.protobuf import saved_model_pb2

HIDDEN = 16
HEADS = 2
INTERMEDIATE = 32
LAYERS = 2
POSITIONS = 32
ALBERT_EMBEDDING = 8
TEXT_DIMENSION = 8
DROPOUT = 0.1

POSITIVE_WORDS = (
    "good great lovely wonderful happy bright brilliant charming fine funny warm fresh superb vivid"
).split()
NEGATIVE_WORDS = (
    "bad awful boring terrible sad dull dreadful clumsy poor tired cold stale weak lifeless"
).split()
SUBJECTS = "film movie book story play plot song show actor cast scene ending music script".split()
_OTHER_WORDS = (
    "a an the this that what is was are were it i we you they he she and or but not no very so too "
    "really quite of in on at to for with from by as my our your there here one two more most all "
    "some have has had do did can will would like watch read think feel every time again much un"
).split()
_SUFFIXES = "##ed ##ing ##ly ##er ##est ##ness ##ful ##less".split()
_LETTERS = "abcdefghijklmnopqrstuvwxyz"
_DIGITS = "0123456789"
_SPECIAL = ["[PAD]", "[unused0]", "[unused1]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]

#: Word pieces of the BERT encoders and of the preprocessor: any lower-case Latin text can be cut
#: into them. The special tokens are deliberately not at the places (100 to 103) where the
#: well-known vocabularies have them.
VOCABULARY: list[str] = [
    *_SPECIAL,
    *".,!?'-:;()",
    *_DIGITS,
    *(f"##{digit}" for digit in _DIGITS),
    *_LETTERS,
    *(f"##{letter}" for letter in _LETTERS),
    *(word for word in _OTHER_WORDS if len(word) > 1),
    *SUBJECTS,
    *POSITIVE_WORDS,
    *NEGATIVE_WORDS,
    *_SUFFIXES,
]

#: Words of the text-embedding encoders.
WORDS: list[str] = [*_OTHER_WORDS, *SUBJECTS, *POSITIVE_WORDS, *NEGATIVE_WORDS]

#: What `obj.variables` and `obj.trainable_variables` offer; real encoders differ in this.
LISTINGS = (
    "all",  # both lists, as the exporter writes them; `variables` ends with `do_lower_case`
    "no variables",  # `variables` is missing
    "odd variables",  # `variables` holds None where an untrackable value stood when it was saved
    "no trainable",  # `trainable_variables` is missing
    "neither",  # both are missing; the variables can only be found by walking the object
    "frozen",  # nothing is trainable, and `trainable_variables` is empty
)


# --- labelled data ------------------------------------------------------------------------------


def _sentence(rng: random.Random, words: Sequence[str]) -> str:
    subject, word, other = rng.choice(SUBJECTS), rng.choice(words), rng.choice(words)
    return rng.choice(
        [
            f"the {subject} was {word}",
            f"what a {word} {subject}",
            f"this is a {word} and {other} {subject}",
            f"I think the {subject} was very {word}, really {other}!",
        ]
    )


def sentiment_data(size: int = 40, seed: int = 0) -> tuple[list[str], list[str]]:
    """Returns `size` short texts and their labels ("negative", "positive"), half of each."""
    rng = random.Random(seed)
    labels = ["negative" if row % 2 == 0 else "positive" for row in range(size)]
    rng.shuffle(labels)
    words = {"negative": NEGATIVE_WORDS, "positive": POSITIVE_WORDS}
    return [_sentence(rng, words[label]) for label in labels], labels


def multi_label_data(size: int = 40, seed: int = 0) -> tuple[list[str], list[list[str]]]:
    """Returns texts with none, one or both of the labels "praise" and "blame"."""
    rng = random.Random(seed)
    texts, labels = [], []
    for row in range(size):
        wanted = [["praise"], ["blame"], ["praise", "blame"], []][row % 4]
        parts = [f"the {rng.choice(SUBJECTS)} was {rng.choice(POSITIVE_WORDS)}"] * (
            "praise" in wanted
        ) + [f"the {rng.choice(SUBJECTS)} was {rng.choice(NEGATIVE_WORDS)}"] * ("blame" in wanted)
        texts.append(" but ".join(parts) or f"this is a {rng.choice(SUBJECTS)}")
        labels.append(wanted)
    return texts, labels


def regression_data(size: int = 40, seed: int = 0) -> tuple[list[str], list[float]]:
    """Returns texts and how positive they are: the share of positive words, 0.0 to 1.0."""
    rng = random.Random(seed)
    texts, scores = [], []
    for row in range(size):
        positive = row % 5
        words = rng.choices(POSITIVE_WORDS, k=positive)
        words += rng.choices(NEGATIVE_WORDS, k=4 - positive)
        rng.shuffle(words)
        texts.append(f"the {rng.choice(SUBJECTS)} was " + " and ".join(words))
        scores.append(positive / 4)
    return texts, scores


def pair_data(size: int = 40, seed: int = 0) -> tuple[list[str], list[str], list[str]]:
    """Returns first texts, second texts and whether they agree ("same" or "different")."""
    firsts, first_labels = sentiment_data(size, seed)
    seconds, second_labels = sentiment_data(size, seed + 1)
    labels = [
        "same" if first == second else "different"
        for first, second in zip(first_labels, second_labels, strict=True)
    ]
    return firsts, seconds, labels


# --- the pieces of an encoder -------------------------------------------------------------------


class Tracked(tf.__internal__.tracking.AutoTrackable):
    """What an exporter saves: attributes are tracked, and only those set on it are restored.

    `tf.Module` would not do: it has a `variables` property, which a SavedModel does not keep.
    """


class _Weights:
    """Makes the named variables of one encoder, in order of creation."""

    def __init__(
        self,
        prefix: str,
        seed: int,
        trainable: bool,
        dropout: float = DROPOUT,
        positions: int = POSITIONS,
    ) -> None:
        self.prefix = prefix
        self.dropout, self.positions = dropout, positions
        self.trainable = trainable
        self.rng = np.random.default_rng(seed)
        self.variables: list[tf.Variable] = []

    def normal(self, name: str, shape: Sequence[int], scale: float | None = None) -> tf.Variable:
        scale = 1 / math.sqrt(shape[0]) if scale is None else scale
        return self._add(name, self.rng.normal(0, scale, shape))

    def constant(self, name: str, shape: Sequence[int], value: float) -> tf.Variable:
        # A little noise, so that a test notices when two biases or two norms were exchanged.
        return self._add(name, value + self.rng.normal(0, 0.02, shape))

    def _add(self, name: str, value: np.ndarray) -> tf.Variable:
        variable = tf.Variable(
            value.astype(np.float32), name=self.prefix + name, trainable=self.trainable
        )
        self.variables.append(variable)
        return variable


def _dense(weights: _Weights, name: str, equation: str, kernel: list[int], bias: list[int]) -> Any:
    """Keras' EinsumDense as the Model Garden uses it: Einsum, then AddV2."""
    kernel_variable = weights.normal(f"{name}/kernel", kernel)
    bias_variable = weights.constant(f"{name}/bias", bias, 0.0)
    return lambda x: tf.einsum(equation, x, kernel_variable) + bias_variable


def _layer_norm(weights: _Weights, name: str, width: int) -> Callable[[tf.Tensor], tf.Tensor]:
    gamma = weights.constant(f"{name}/gamma", [width], 1.0)
    beta = weights.constant(f"{name}/beta", [width], 0.0)

    def normalize(x: tf.Tensor) -> tf.Tensor:
        mean, variance = tf.nn.moments(x, axes=[-1], keepdims=True)
        return tf.nn.batch_normalization(x, mean, variance, beta, gamma, 1e-12)

    return normalize


def _gelu(x: tf.Tensor) -> tf.Tensor:
    """The tanh approximation with `tf.pow`, as the TensorFlow Hub graphs have it."""
    return 0.5 * x * (1.0 + tf.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * tf.pow(x, 3))))


def _dropout(x: tf.Tensor, rate: float, training: bool) -> tf.Tensor:
    return tf.nn.dropout(x, rate) if training and rate else x


def _embeddings(
    weights: _Weights, width: int, names: tuple[str, str, str, str]
) -> Callable[[tf.Tensor, tf.Tensor, bool], tf.Tensor]:
    word = weights.normal(names[0], [len(VOCABULARY), width], 0.5)
    position = weights.normal(names[1], [weights.positions, width], 0.1)
    kind = weights.normal(names[2], [2, width], 0.1)
    norm = _layer_norm(weights, names[3], width)

    def embed(ids: tf.Tensor, types: tf.Tensor, training: bool) -> tf.Tensor:
        # Past the last position the addition fails, as it does in the genuine encoders.
        x = tf.gather(word, ids) + position[tf.newaxis, : tf.shape(ids)[1], :]
        x += tf.einsum("abc,cd->abd", tf.one_hot(types, 2), kind)
        return _dropout(norm(x), weights.dropout, training)

    return embed


def _block(
    weights: _Weights, name: str, attention_output: str
) -> Callable[[tf.Tensor, tf.Tensor, bool], tf.Tensor]:
    """One Transformer block (post-norm), with 16 variables."""
    size = HIDDEN // HEADS
    heads = ([HIDDEN, HEADS, size], [HEADS, size])
    query = _dense(weights, f"{name}/self_attention/query", "abc,cde->abde", *heads)
    key = _dense(weights, f"{name}/self_attention/key", "abc,cde->abde", *heads)
    value = _dense(weights, f"{name}/self_attention/value", "abc,cde->abde", *heads)
    merge = _dense(
        weights, f"{name}/{attention_output}", "abcd,cde->abe", [HEADS, size, HIDDEN], [HIDDEN]
    )
    attention_norm = _layer_norm(weights, f"{name}/self_attention_layer_norm", HIDDEN)
    widen = _dense(
        weights, f"{name}/intermediate", "abc,cd->abd", [HIDDEN, INTERMEDIATE], [INTERMEDIATE]
    )
    narrow = _dense(weights, f"{name}/output", "abc,cd->abd", [INTERMEDIATE, HIDDEN], [HIDDEN])
    output_norm = _layer_norm(weights, f"{name}/output_layer_norm", HIDDEN)

    def block(x: tf.Tensor, adder: tf.Tensor, training: bool) -> tf.Tensor:
        scores = tf.einsum("aecd,abcd->acbe", key(x), query(x) * (1 / math.sqrt(size)))
        probabilities = _dropout(tf.nn.softmax(scores + adder), weights.dropout, training)
        attended = merge(tf.einsum("acbe,aecd->abcd", probabilities, value(x)))
        x = attention_norm(x + _dropout(attended, weights.dropout, training))
        return output_norm(x + _dropout(narrow(_gelu(widen(x))), weights.dropout, training))

    return block


def _pooler(weights: _Weights) -> Callable[[tf.Tensor], tf.Tensor]:
    kernel = weights.normal("pooler_transform/kernel", [HIDDEN, HIDDEN])
    bias = weights.constant("pooler_transform/bias", [HIDDEN], 0.0)
    return lambda x: tf.tanh(tf.matmul(x[:, 0, :], kernel) + bias)


def _mask_adder(mask: tf.Tensor) -> tf.Tensor:
    return (1.0 - tf.cast(mask, tf.float32))[:, tf.newaxis, tf.newaxis, :] * -10000.0


_NAMES = (
    "word_embeddings/embeddings",
    "position_embedding/embeddings",
    "type_embeddings/embeddings",
    "embeddings/layer_norm",
)
# The collection's first versions (.../bert_en_uncased_L-12_H-768_A-12/1 and /2).
_OLD_NAMES = (
    "word_embeddings/embeddings",
    "embedding_postprocessor/position_embeddings",
    "embedding_postprocessor/type_embeddings",
    "embedding_postprocessor/layer_norm",
)


def _bert(weights: _Weights, old: bool) -> Callable[..., dict[str, Any]]:
    embed = _embeddings(weights, HIDDEN, _OLD_NAMES if old else _NAMES)
    stack = "encoder" if old else "transformer"
    attention_output = "self_attention_output" if old else "self_attention/attention_output"
    blocks = [
        _block(weights, f"{stack}/layer_{number}", attention_output) for number in range(LAYERS)
    ]
    return _forward(embed, lambda x: x, blocks, _pooler(weights))


def _albert(weights: _Weights) -> Callable[..., dict[str, Any]]:
    embed = _embeddings(weights, ALBERT_EMBEDDING, _NAMES)
    project = _dense(
        weights, "embedding_projection", "abc,cd->abd", [ALBERT_EMBEDDING, HIDDEN], [HIDDEN]
    )
    shared = _block(weights, "transformer", "self_attention/attention_output")
    return _forward(embed, project, [shared] * LAYERS, _pooler(weights))


def _forward(
    embed: Any, project: Any, blocks: list[Any], pool: Any
) -> Callable[[tf.Tensor, tf.Tensor, tf.Tensor, bool], dict[str, Any]]:
    def forward(
        ids: tf.Tensor, mask: tf.Tensor, types: tf.Tensor, training: bool
    ) -> dict[str, Any]:
        x, adder, outputs = project(embed(ids, types, training)), _mask_adder(mask), []
        for block in blocks:
            x = block(x, adder, training)
            # The genuine graphs have an Identity behind every output of theirs, too.
            outputs.append(tf.identity(x))
        pooled = pool(x)
        return {
            "pooled_output": pooled,
            "sequence_output": outputs[-1],
            "encoder_outputs": outputs,
            "default": pooled,
        }

    return forward


# --- writing encoders ---------------------------------------------------------------------------


def _write_lines(path: Path, lines: Sequence[str]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def _save(root: Tracked, folder: Path) -> Path:
    """Saves `root`; the asset files it names lie in `<folder>-sources` until they are copied."""
    tf.saved_model.save(root, str(folder))
    shutil.rmtree(_sources(folder), ignore_errors=True)
    return folder


def _sources(folder: Path) -> Path:
    return folder.with_name(folder.name + "-sources")


def _table(vocabulary: Path) -> Any:
    """A lookup table whose vocabulary, one entry a line, becomes an asset of the SavedModel."""
    whole_line, number = tf.lookup.TextFileIndex.WHOLE_LINE, tf.lookup.TextFileIndex.LINE_NUMBER
    initializer = tf.lookup.TextFileInitializer(
        str(vocabulary), tf.string, whole_line, tf.int64, number
    )
    return tf.lookup.StaticVocabularyTable(initializer, num_oov_buckets=1)


def _ids(name: str) -> tf.TensorSpec:
    return tf.TensorSpec([None, None], tf.int32, name=name)


_INPUT_SPEC = {
    "input_word_ids": _ids("input_word_ids"),
    "input_mask": _ids("input_mask"),
    "input_type_ids": _ids("input_type_ids"),
}


def _list_variables(root: Tracked, variables: list[tf.Variable], listing: str) -> None:
    """Sets `root.variables` and `root.trainable_variables`; see `LISTINGS`."""
    if listing not in LISTINGS:
        raise ValueError(f"`listing` must be one of {LISTINGS}. Received: {listing!r}")
    root.do_lower_case = tf.Variable(True, trainable=False)
    listed: list[Any] = [*variables, root.do_lower_case]
    if listing == "odd variables":
        # Neither value can be tracked, so that the restored list has None in both places.
        listed = [*variables[:2], True, *variables[2:], None, root.do_lower_case]
    if listing not in ("no variables", "neither"):
        root.variables = listed
    if listing not in ("no trainable", "neither"):
        root.trainable_variables = [] if listing == "frozen" else list(variables)
    if listing in ("neither", "no variables"):
        root._layers_of_the_model = {str(place): v for place, v in enumerate(variables)}


def _l2(variable: tf.Variable) -> Callable[[], tf.Tensor]:
    return tf.function(lambda: 1e-4 * tf.nn.l2_loss(variable), input_signature=[])


def write_bert_encoder(
    folder: Path,
    prefix: str = "",
    listing: str = "all",
    albert: bool = False,
    seed: int = 0,
    dropout: float = DROPOUT,
    positions: int = POSITIONS,
) -> Path:
    """Writes a BERT encoder: 2 layers of 16, 2 heads, 32 positions, dictionaries in and out.

    Args:
        folder: Where to write it; must not exist.
        prefix: Stands before every variable's name, `bert_encoder/` or `bert/encoder/`.
        listing: What the object's lists of variables offer, one of `LISTINGS`.
        albert: One block shared by all layers, and a factorised embedding of 8.
        seed: Of the weights.
        dropout: The share that is dropped while training.
        positions: The most tokens of a text.
    """
    weights = _Weights(prefix, seed, listing != "frozen", dropout, positions)
    forward = _albert(weights) if albert else _bert(weights, old=False)

    def call(inputs: dict[str, tf.Tensor], training: bool = False, mask: None = None) -> Any:
        names = ("input_word_ids", "input_mask", "input_type_ids")
        return forward(*(inputs[name] for name in names), training)

    root = Tracked()
    root.__call__ = tf.function(call, autograph=False)
    for training in (True, False):
        root.__call__.get_concrete_function(_INPUT_SPEC, training, None)
    _list_variables(root, weights.variables, listing)
    kernel = next(v for v in weights.variables if v.name.endswith("query/kernel:0"))
    root.regularization_losses = [_l2(kernel)]
    root.vocab_file = tf.saved_model.Asset(
        str(_write_lines(_sources(folder) / "vocab.txt", VOCABULARY))
    )
    return _save(root, folder)


def write_list_style_encoder(folder: Path, seed: int = 0) -> Path:
    """Writes BERT as the first versions were: `obj([ids, mask, types])` -> [pooled, sequence]."""
    weights = _Weights("bert_model/", seed, trainable=True)
    forward = _bert(weights, old=True)

    def call(inputs: list[tf.Tensor], training: bool = False) -> list[tf.Tensor]:
        outputs = forward(*inputs, training)
        return [outputs["pooled_output"], outputs["sequence_output"]]

    root = Tracked()
    root.__call__ = tf.function(call, autograph=False)
    for training in (True, False):
        root.__call__.get_concrete_function(list(_INPUT_SPEC.values()), training)
    _list_variables(root, weights.variables, "all")
    root.regularization_losses = []
    root.vocab_file = tf.saved_model.Asset(
        str(_write_lines(_sources(folder) / "vocab.txt", VOCABULARY))
    )
    return _save(root, folder)


def write_text_encoder(folder: Path, trainable: bool = True, seed: int = 0) -> Path:
    """Writes a text embedding of the NNLM and Swivel kind: `obj(strings [n])` -> [n, 8].

    Splits at spaces once punctuation is gone, looks the words up in a hash table whose vocabulary
    is an asset (one bucket for the unknown), and combines by sqrt(n). One unnamed variable,
    no `training` argument.
    """
    table = np.random.default_rng(seed).normal(0, 0.5, [len(WORDS) + 1, TEXT_DIMENSION])
    embeddings = tf.Variable(table.astype(np.float32), trainable=trainable)
    root = Tracked()
    root.lookup = _table(_write_lines(_sources(folder) / "tokens.txt", WORDS))

    def call(sentences: tf.Tensor) -> tf.Tensor:
        words = tf.strings.split(tf.strings.regex_replace(sentences, r"\pP", ""), " ")
        # An empty text has no word; the lookup below gives it zeros.
        words = tf.ragged.boolean_mask(words, words != "")
        sparse = tf.RaggedTensor.to_sparse(words.with_values(root.lookup.lookup(words.values)))
        return tf.nn.safe_embedding_lookup_sparse(embeddings, sparse, combiner="sqrtn")

    strings = [tf.TensorSpec([None], tf.string)]
    root.__call__ = tf.function(call, strings, autograph=False)
    root.embeddings = embeddings
    root.variables = [embeddings]
    root.trainable_variables = [embeddings] if trainable else []
    return _save(root, folder)


# --- what is no usable encoder ------------------------------------------------------------------


def write_v1_module(folder: Path, seed: int = 0) -> Path:
    """Writes a TF1 hub module: a v1 SavedModel without tags, beside `tfhub_module.pb`."""
    table = np.random.default_rng(seed).normal(size=[len(WORDS), TEXT_DIMENSION])
    with tf.Graph().as_default() as graph, tf.compat.v1.Session(graph=graph) as session:
        text = tf.compat.v1.placeholder(tf.string, [None], name="text")
        embeddings = tf.compat.v1.get_variable(
            "embeddings", initializer=table.astype(np.float32), use_resource=False
        )
        buckets = tf.strings.to_hash_bucket_fast(text, len(WORDS))
        vectors = tf.nn.embedding_lookup(embeddings, buckets)
        session.run(tf.compat.v1.global_variables_initializer())
        v1 = tf.compat.v1.saved_model
        signature = v1.build_signature_def(
            {"text": v1.build_tensor_info(text)}, {"default": v1.build_tensor_info(vectors)}
        )
        builder = v1.Builder(str(folder))
        builder.add_meta_graph_and_variables(session, [], {"default": signature})
        builder.save()
    # The message tensorflow_hub.ModuleDef with its only required field: format = 3.
    (folder / "tfhub_module.pb").write_bytes(b"\x08\x03")
    return folder


def write_encoder_without_call(folder: Path) -> Path:
    """Writes a SavedModel that has a signature but cannot be called."""
    root = Tracked()
    root.embeddings = tf.Variable(np.eye(4, dtype=np.float32))
    root.variables = [root.embeddings]
    root.embed = tf.function(
        lambda ids: {"vectors": tf.gather(root.embeddings, ids)},
        input_signature=[tf.TensorSpec([None], tf.int32)],
    )
    tf.saved_model.save(root, str(folder), signatures={"serving_default": root.embed})
    return folder


def write_vision_encoder(folder: Path) -> Path:
    """Writes a SavedModel of TF Hub's image kind: it can be called, but reads no text."""
    root = Tracked()
    root.kernel = tf.Variable(np.ones([3, 4], np.float32))
    root.variables = [root.kernel]
    root.trainable_variables = [root.kernel]
    root.__call__ = tf.function(
        lambda image: tf.reduce_mean(image, [1, 2]) @ root.kernel,
        input_signature=[tf.TensorSpec([None, None, None, 3], tf.float32)],
    )
    tf.saved_model.save(root, str(folder))
    return folder


def truncate_variables(folder: Path, source: Path) -> Path:
    """Copies the SavedModel `source` and cuts its weights off in the middle."""
    shutil.copytree(source, folder)
    (data,) = (folder / "variables").glob("variables.data-*")
    data.write_bytes(data.read_bytes()[: data.stat().st_size // 2])
    return folder


def rename_operation(folder: Path, source: Path, old: str = "Tanh", new: str = "TanhV9") -> Path:
    """Copies the SavedModel `source` so that it needs an operation TensorFlow does not have."""
    shutil.copytree(source, folder)
    path = folder / "saved_model.pb"
    model = saved_model_pb2.SavedModel.FromString(path.read_bytes())
    graph = model.meta_graphs[0].graph_def
    nodes = [node for function in graph.library.function for node in function.node_def]
    for node in (node for node in [*nodes, *graph.node] if node.op == old):
        node.op = new
    path.write_bytes(model.SerializeToString())
    return folder


# --- the preprocessor ---------------------------------------------------------------------------


def _tokenizer(vocabulary: Path) -> Tracked:
    table = _table(vocabulary)
    bert = tensorflow_text.BertTokenizer(table, lower_case=True, token_out_type=tf.int32)
    special = {
        "vocab_size": len(VOCABULARY),
        "start_of_sequence_id": VOCABULARY.index("[CLS]"),
        "end_of_segment_id": VOCABULARY.index("[SEP]"),
        "padding_id": VOCABULARY.index("[PAD]"),
        "mask_id": VOCABULARY.index("[MASK]"),
    }
    tokenize = Tracked()
    tokenize.table = table
    strings = [tf.TensorSpec([None], tf.string)]
    tokenize.__call__ = tf.function(bert.tokenize, strings, autograph=False)
    tokenize.get_special_tokens_dict = tf.function(
        lambda: {name: tf.constant(value, tf.int32) for name, value in special.items()},
        [],
        autograph=False,
    )
    return tokenize


def _pack(segments: list[tf.RaggedTensor], seq_length: tf.Tensor) -> dict[str, tf.Tensor]:
    flat = [s.merge_dims(1, -1) if s.ragged_rank > 1 else s for s in segments]
    trimmed = tensorflow_text.RoundRobinTrimmer(seq_length - len(flat) - 1).trim(flat)
    combined, types = tensorflow_text.combine_segments(
        trimmed, VOCABULARY.index("[CLS]"), VOCABULARY.index("[SEP]")
    )
    ids, mask = tensorflow_text.pad_model_inputs(combined, seq_length)
    types, _ = tensorflow_text.pad_model_inputs(types, seq_length)
    return {
        "input_word_ids": tf.cast(ids, tf.int32),
        "input_mask": tf.cast(mask, tf.int32),
        "input_type_ids": tf.cast(types, tf.int32),
    }


def write_preprocessor(folder: Path, sequence_length: int = POSITIONS) -> Path:
    """Writes a TF Hub BERT preprocessor over `VOCABULARY`.

    `obj(strings [n])` gives the three encoder inputs [n, sequence_length]; `obj.tokenize(strings)`
    the ragged word pieces [n, (words), (pieces)]; `obj.tokenize.get_special_tokens_dict()` the ids
    of the special tokens; `obj.bert_pack_inputs(segments, seq_length)` packs one or two segments.
    """
    root = Tracked()
    root.tokenize = _tokenizer(_write_lines(_sources(folder) / "vocab.txt", VOCABULARY))
    pack = tf.function(
        lambda segments, seq_length=sequence_length: _pack(segments, seq_length),  # for its default
        autograph=False,
    )
    # The genuine ones also take flat tokens, and no length; each trace takes a second to write.
    tokens = tf.RaggedTensorSpec([None, None, None], tf.int32, ragged_rank=2)
    for segments in ([tokens], [tokens, tokens]):
        pack.get_concrete_function(segments, tf.TensorSpec([], tf.int32))
    root.bert_pack_inputs = Tracked()
    root.bert_pack_inputs.__call__ = pack
    root.__call__ = tf.function(
        lambda inputs: _pack([root.tokenize.__call__(inputs)], tf.constant(sequence_length)),
        input_signature=[tf.TensorSpec([None], tf.string)],
        autograph=False,
    )
    return _save(root, folder)
