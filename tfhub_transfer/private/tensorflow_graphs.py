"""What TensorFlow does with graphs, and has no public name for."""

from pathlib import Path

import tensorflow as tf
from tensorflow.core.framework import graph_pb2, op_def_pb2
from tensorflow.python.framework import convert_to_constants, op_def_registry
from tensorflow.python.ops import control_flow_util
from tensorflow.python.saved_model import fingerprinting_utils


def knows(operation: str) -> bool:
    """Whether this process has an operation of that name.

    As `definition`; `tf.raw_ops` has neither those of libraries nor all of TensorFlow's.
    """
    return op_def_registry.get(operation) is not None


def definition(operation: str) -> op_def_pb2.OpDef:
    """How an operation of this process is defined: its inputs, outputs and attributes.

    `tensorflow.python.framework.op_def_registry.get`, with TensorFlow 2.21: the functions of
    `tf.raw_ops` don't tell inputs from attributes, nor lists of inputs from several.
    """
    return op_def_registry.get(operation)


def inlined(function: tf.types.experimental.ConcreteFunction) -> graph_pb2.GraphDef:
    """A graph in which every function that it calls is written out.

    `tensorflow.python.framework.convert_to_constants._run_inline_graph_optimization`, with
    TensorFlow 2.21, which inlines all calls only where it makes constants of variables.
    """
    # `lower_control_flow=False`: a loop stays one operation, by which a flat graph is refused.
    # `aggressive_inlining=True`: also calls with effects, which `surgery` refuses then.
    return convert_to_constants._run_inline_graph_optimization(function, False, True)


def write_fingerprint(folder: Path) -> None:
    """Writes `fingerprint.pb` of a SavedModel anew, after its `saved_model.pb` was changed.

    `tensorflow.python.saved_model.fingerprinting_utils.write_fingerprint`, with TensorFlow 2.21,
    which else only `tf.saved_model.save` calls.
    """
    fingerprinting_utils.write_fingerprint(str(folder))


def node() -> tf.Module:
    """An object without attributes of its own, for a checkpoint's tree of objects.

    `tf.__internal__.tracking.AutoTrackable`, with TensorFlow 2.21. A `tf.Module` has `name` and
    `variables`, a `tf.train.Checkpoint` a `save_counter`: parts of a checkpoint may be called so.
    """
    return tf.__internal__.tracking.AutoTrackable()


def compiled() -> bool:
    """Whether what is traced here is for XLA, with all that is around it.

    `tensorflow.python.ops.control_flow_util.GraphOrParentsInXlaContext`, with TensorFlow 2.21,
    which TensorFlow's own layers and gradients ask.
    """
    graph = tf.compat.v1.get_default_graph()
    return bool(control_flow_util.GraphOrParentsInXlaContext(graph))


def count_alone(function: tf.types.experimental.PolymorphicFunction) -> None:
    """Lets TensorFlow count the tracings of a `tf.function` by itself.

    `_key_for_call_stats`, with TensorFlow 2.21, which is the line of code that it was made in; it
    has no effect where there is none.
    """
    function._key_for_call_stats = function
