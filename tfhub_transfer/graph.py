"""Surgery on SavedModel graphs. Knows TensorFlow's graphs, knows no BERT."""

import shutil
from pathlib import Path

from tensorflow.core.framework import node_def_pb2
from tensorflow.core.protobuf import saved_model_pb2

GRAPH_FILE = "saved_model.pb"
_RANDOM_OPS = frozenset(
    {"RandomUniform", "RandomStandardNormal", "TruncatedNormal", "RandomUniformInt"}
)


def write_seeded(source: Path, target: Path, seed: int) -> bool:
    """Copies a SavedModel with seeds given to its unseeded random operations.

    Dropout inside a SavedModel was traced when the model was exported, so
    `tf.random.set_seed` doesn't reach it; unseeded, it differs from run to run.

    Args:
        source: The SavedModel's folder.
        target: An existing empty folder; weights and assets are linked there, not copied.
        seed: The seed. Every operation gets its own stream.

    Returns:
        Whether there was anything to seed; if not, nothing is written.
    """
    model = saved_model_pb2.SavedModel.FromString((source / GRAPH_FILE).read_bytes())
    unseeded = [node for node in _nodes(model) if _is_unseeded(node)]
    for stream, node in enumerate(unseeded, start=1):
        node.attr["seed"].i, node.attr["seed2"].i = seed, stream
    if not unseeded:
        return False
    (target / GRAPH_FILE).write_bytes(model.SerializeToString())
    for item in source.iterdir():
        if item.name != GRAPH_FILE and item.name in ("variables", "assets"):
            _link(item, target / item.name)
    return True


def _nodes(model: saved_model_pb2.SavedModel) -> list[node_def_pb2.NodeDef]:
    graphs = [meta.graph_def for meta in model.meta_graphs]
    inner = [
        n for graph in graphs for function in graph.library.function for n in function.node_def
    ]
    return inner + [node for graph in graphs for node in graph.node]


def _is_unseeded(node: node_def_pb2.NodeDef) -> bool:
    if node.op not in _RANDOM_OPS:
        return False
    return node.attr["seed"].i == 0 and node.attr["seed2"].i == 0


def _link(source: Path, target: Path) -> None:
    try:
        target.symlink_to(source.absolute(), target_is_directory=True)
    except OSError:  # where links need rights that the user lacks
        shutil.copytree(source, target)
