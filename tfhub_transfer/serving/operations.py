"""Of which operations an export consists, and whose they are, read from its graph."""

import collections
import dataclasses
from collections.abc import Iterator
from pathlib import Path

from tensorflow.core.framework import node_def_pb2, types_pb2
from tensorflow.core.protobuf import meta_graph_pb2

from tfhub_transfer.graphs import safety, wire
from tfhub_transfer.private import tensorflow_texts
from tfhub_transfer.serving.served import EXAMPLES, INPUTS

# Types that hold fewer digits than the model was trained in.
_REDUCED = frozenset({types_pb2.DT_BFLOAT16, types_pb2.DT_HALF, types_pb2.DT_INT8})
_SERVE = "serve"


@dataclasses.dataclass(frozen=True)
class Graph:
    """What a server must know of an export's graph.

    Attributes:
        tensorflow: How often it has each of TensorFlow's own operations.
        texts: How often each of tensorflow-text's, which the server must link.
        inputs: The types and shapes of each signature's inputs: `{signature: {input: ...}}`.
        outputs: The same of its outputs.
        version: Of the TensorFlow that wrote it.
        reduced: Whether it has numbers of fewer digits than float32.
    """

    tensorflow: dict[str, int]
    texts: dict[str, int]
    inputs: dict[str, dict[str, meta_graph_pb2.TensorInfo]]
    outputs: dict[str, dict[str, meta_graph_pb2.TensorInfo]]
    version: str
    reduced: bool

    @property
    def ranks(self) -> dict[str, dict[str, int]]:
        """How many dimensions the inputs of each signature have."""
        return {
            name: {key: len(each.tensor_shape.dim) for key, each in inputs.items()}
            for name, inputs in self.inputs.items()
        }

    @property
    def of_strings(self) -> dict[str, dict[str, int]]:
        """The same, without those that read serialized examples, or numbers."""
        only = ({EXAMPLES}, {INPUTS})
        return {
            name: ranks
            for name, ranks in self.ranks.items()
            if set(ranks) not in only and self._reads_strings(name)
        }

    def _reads_strings(self, signature: str) -> bool:
        inputs = self.inputs[signature].values()
        return all(each.dtype == types_pb2.DT_STRING for each in inputs)

    def width(self, signature: str, output: str) -> int | None:
        """The last dimension of an output; nothing, where there is no such output.

        Args:
            signature: The name of its signature.
            output: Its name.
        """
        tensor = self.outputs.get(signature, {}).get(output)
        return tensor.tensor_shape.dim[-1].size if tensor is not None else None

    @property
    def has_words(self) -> bool:
        """Whether some signature takes lists of words, which only merge if they are as long."""
        return any(_open(each) for inputs in self.inputs.values() for each in inputs.values())

    @property
    def has_padded(self) -> bool:
        """Whether some answers are as wide as the widest of their batch."""
        return any(_open(each) for outputs in self.outputs.values() for each in outputs.values())


def read(version: Path) -> Graph:
    """Reads the graph of an export, without its numbers.

    Args:
        version: The folder of one version.

    Raises:
        OSError: If it can't be read.
        ValueError: If it is damaged, or has no graph for servers.
    """
    model = wire.read_saved_model(version / safety.GRAPH_FILE)
    (graph,) = (g for g in model.meta_graphs if _SERVE in g.meta_info_def.tags)
    own = {function.signature.name for function in graph.graph_def.library.function}
    nodes = list(_nodes(graph))
    counts = collections.Counter(node.op for node in nodes if node.op not in own)
    texts = tensorflow_texts.names_of_operations()
    signatures = {n: s for n, s in graph.signature_def.items() if s.inputs}
    return Graph(
        {name: counts[name] for name in sorted(set(counts) - texts)},
        {name: counts[name] for name in sorted(set(counts) & texts)},
        {name: dict(sorted(each.inputs.items())) for name, each in sorted(signatures.items())},
        {name: dict(sorted(each.outputs.items())) for name, each in sorted(signatures.items())},
        graph.meta_info_def.tensorflow_version,
        any(node.attr[a].type in _REDUCED for node in nodes for a in ("T", "dtype", "SrcT")),
    )


def _nodes(graph: meta_graph_pb2.MetaGraphDef) -> Iterator[node_def_pb2.NodeDef]:
    yield from graph.graph_def.node
    for function in graph.graph_def.library.function:
        yield from function.node_def


def _open(tensor: meta_graph_pb2.TensorInfo) -> bool:
    """Whether more than the first dimension differs from request to request."""
    shape = tensor.tensor_shape
    return shape.unknown_rank or any(each.size < 0 for each in shape.dim[1:])
