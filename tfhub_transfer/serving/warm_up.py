"""Requests that TF Serving asks a version itself before it answers anybody.

The first answer of a graph takes seconds: memory is taken, kernels are chosen. TF Serving replays
`assets.extra/tf_serving_warmup_requests` when it loads a version, a TFRecord file of at most 1,000
`PredictionLog`s (tensorflow_serving/apis/prediction_log.proto), and gives the version up if one
fails. TensorFlow has no class for these, so they are written field by field.
"""

import dataclasses
from collections.abc import Iterable, Iterator, Mapping, Sequence
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

# What a signature may be asked by: the fields of a `PredictionLog` for these (`log_type`).
CLASSIFY, REGRESS, PREDICT = 2, 3, 6

# Strings, by the names of a signature's inputs: a list, or of words a list of lists.
Inputs: TypeAlias = Mapping[str, Sequence[str] | Sequence[bytes] | Sequence[Sequence[str]]]
# How many dimensions each of a signature's inputs has: one of texts, two of lists of words.
Ranks: TypeAlias = Mapping[str, int]


@dataclasses.dataclass(frozen=True)
class Request:
    """One request.

    Attributes:
        signature: The name of the signature.
        inputs: What it is asked; of `CLASSIFY` and `REGRESS` examples, as the only input.
        api: By which of the server's APIs.
    """

    signature: str
    inputs: Inputs
    api: int = PREDICT


def requests(signatures: Mapping[str, Ranks], most: int) -> Iterator[Request]:
    """What to ask: of each signature one batch of each size and each length.

    Args:
        signatures: What each takes, by its name.
        most: The most tokens of a text that the model reads.
    """
    lengths = [*(length for length in LENGTHS if length < most), most]
    for name, ranks in sorted(signatures.items()):
        for length in lengths:
            for size in BATCH_SIZES:
                if size * length <= MOST_TOKENS or size == 1:
                    yield Request(name, batch(ranks, size, length))


def of_examples(signature: str, api: int, given: str, features: Sequence[str]) -> Request:
    """The request of a signature that reads serialized `tf.Example`.

    One is enough: it calls the function of one that reads strings.

    Args:
        signature: Its name.
        api: By which of the server's APIs it is asked.
        given: The name of its input.
        features: The names of an example's features.
    """
    value = tf.train.Feature(bytes_list=tf.train.BytesList(value=[WORD.encode()]))
    example = tf.train.Example(features=tf.train.Features(feature=dict.fromkeys(features, value)))
    return Request(signature, {given: [example.SerializeToString(deterministic=True)]}, api)


def batch(ranks: Ranks, size: int, length: int) -> Inputs:
    """A batch of equal texts for a signature.

    Args:
        ranks: What it takes.
        size: How many texts.
        length: How many tokens they have together, where several are one row.
    """
    words = [WORD] * max(1, length // len(ranks))
    return {n: [words if rank == 2 else " ".join(words)] * size for n, rank in ranks.items()}


def record(asked: Request) -> bytes:
    """A request as the bytes of a `PredictionLog`.

    Its model has no name, by which TF Serving doesn't ask here.

    Args:
        asked: The request.
    """
    model = wire.field(1, wire.field(3, asked.signature.encode()))
    if asked.api == PREDICT:
        given = (
            wire.field(2, wire.field(1, name.encode()) + wire.field(2, _tensor(values)))
            for name, values in sorted(asked.inputs.items())
        )
        # A map: each entry a key and a value.
        content = b"".join(given)
    else:
        (examples,) = asked.inputs.values()
        # input.example_list.examples
        listed = b"".join(wire.field(1, each) for each in examples if isinstance(each, bytes))
        content = wire.field(2, wire.field(1, listed))
    return wire.field(asked.api, wire.field(1, model + content))


def _tensor(values: object) -> bytes:
    return tf.make_tensor_proto(values, tf.string).SerializeToString(deterministic=True)


def write(path: Path, asked: Iterable[Request]) -> None:
    """Writes requests to a file, in their order.

    Args:
        path: The file; its folder is made if need be.
        asked: The requests.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with tf.io.TFRecordWriter(str(path)) as writer:
        for each in asked:
            writer.write(record(each))
