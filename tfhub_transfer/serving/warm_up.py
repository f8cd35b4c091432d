"""Requests that TF Serving asks a version itself before it answers anybody.

The first answer of a graph takes seconds: memory is taken, kernels are chosen. TF Serving replays
`assets.extra/tf_serving_warmup_requests` when it loads a version, a TFRecord file of at most 1,000
`PredictionLog`s (tensorflow_serving/apis/prediction_log.proto), and gives the version up if one
fails. TensorFlow has no class for these, so they are written field by field.
"""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TypeAlias

import tensorflow as tf

from tfhub_transfer.graphs import wire

FILE = Path("assets.extra", "tf_serving_warmup_requests")
BATCH_SIZES = (1, 8, 32)
# Tokens of a text; more than the model reads are cut, and less than it reads are padded to.
LENGTHS = (16, 64, 256)
# What a batch may cost: a version is not there before all of them are answered.
MOST_TOKENS = 8192
# Any vocabulary has it, or takes it for one unknown token.
WORD = "text"

# Strings, by the names of a signature's inputs: a list, or of words a list of lists.
Inputs: TypeAlias = Mapping[str, Sequence[str] | Sequence[Sequence[str]]]
# How many dimensions each of a signature's inputs has: one of texts, two of lists of words.
Ranks: TypeAlias = Mapping[str, int]


def requests(signatures: Mapping[str, Ranks], most: int) -> Iterator[tuple[str, Inputs]]:
    """What to ask: of each signature one batch of each size and each length.

    Args:
        signatures: What each takes, by its name.
        most: The most tokens of a text that the model reads.

    Returns:
        Names of signatures, with their inputs.
    """
    lengths = [*(length for length in LENGTHS if length < most), most]
    for name, ranks in sorted(signatures.items()):
        for length in lengths:
            for size in BATCH_SIZES:
                if size * length <= MOST_TOKENS or size == 1:
                    yield name, batch(ranks, size, length)


def batch(ranks: Ranks, size: int, length: int) -> Inputs:
    """A batch of equal texts for a signature.

    Args:
        ranks: What it takes.
        size: How many texts.
        length: How many tokens they have together, where several are one row.
    """
    words = [WORD] * max(1, length // len(ranks))
    return {n: [words if rank == 2 else " ".join(words)] * size for n, rank in ranks.items()}


def record(signature: str, inputs: Inputs) -> bytes:
    """A request as the bytes of a `PredictionLog`.

    Its model has no name, by which TF Serving doesn't ask here.

    Args:
        signature: The name of the signature.
        inputs: What it is asked.
    """
    model = wire.field(1, wire.field(3, signature.encode()))
    given = (
        wire.field(2, wire.field(1, name.encode()) + wire.field(2, _tensor(values)))
        for name, values in sorted(inputs.items())
    )
    # predict_log.request: model_spec.signature_name, and a map of inputs.
    return wire.field(6, wire.field(1, model + b"".join(given)))


def _tensor(values: Sequence[str] | Sequence[Sequence[str]]) -> bytes:
    return tf.make_tensor_proto(values, tf.string).SerializeToString(deterministic=True)


def write(path: Path, asked: Iterator[tuple[str, Inputs]]) -> None:
    """Writes requests to a file, in their order.

    Args:
        path: The file; its folder is made if need be.
        asked: Names of signatures, with their inputs.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with tf.io.TFRecordWriter(str(path)) as writer:
        for signature, inputs in asked:
            writer.write(record(signature, inputs))
