"""Whether this Keras and this TensorFlow have the private parts that `private/` uses."""

import ast
import functools
import importlib
import inspect
import pkgutil
import re
import sys
import types
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from unittest import mock

import keras
import keras_tuner
import numpy as np
import pytest
import tensorflow as tf
import tensorflow_text
from keras.src.saving import saving_lib
from tensorflow.core.protobuf import config_pb2
from tensorflow.python.framework import ops

import tfhub_transfer
from tfhub_transfer.private import (
    keras_layers,
    keras_optimizers,
    keras_saving,
    keras_training,
    keras_tuner_grid,
    tensorflow_buffers,
    tensorflow_data,
    tensorflow_gradients,
    tensorflow_graphs,
    tensorflow_options,
    tensorflow_texts,
)

KERAS, TENSORFLOW = f"Keras {keras.__version__}", f"TensorFlow {tf.__version__}"
KERAS_TUNER = f"KerasTuner {keras_tuner.__version__}"
ROOM = Path(keras_layers.__file__).parent
X, Y = np.ones((4, 3), "float32"), np.zeros((4, 1), "float32")


def trained(optimizer: Any, **compiled: Any) -> keras.Model:
    """A model of two layers, one of them in another, after three steps."""
    inputs = keras.Input((3,))
    inner = keras.Sequential([keras.layers.Dense(2, name="inner")], name="nested")
    model = keras.Model(inputs, keras.layers.Dense(1, name="outer")(inner(inputs)))
    model.compile(optimizer, **{"loss": "mse", **compiled})
    model.fit(X, Y, epochs=3, verbose=0)
    return model


@functools.cache
def looked_at() -> keras.Model:
    """A model whose parts are looked at, no more."""
    return trained(keras_optimizers.OpenAdamW(use_ema=True), metrics=["mae"])


def of_attention() -> keras.layers.MultiHeadAttention:
    attention = keras.layers.MultiHeadAttention(2, 2, dropout=0.5)
    attention.build((None, 3, 4), (None, 3, 4))
    return attention


def of_call_options() -> Any:
    from tensorflow.python.eager import context

    return context.context()


def of_a_strategy(dataset: tf.data.Dataset) -> Any:
    return tf.distribute.MirroredStrategy(["cpu:0"]).experimental_distribute_dataset(dataset)


def of_an_iterator() -> object:
    from keras.src.backend.tensorflow.trainer import TFEpochIterator

    return TFEpochIterator(tf.distribute.get_strategy(), np.zeros((2, 1)))


def of_a_graph_with_python() -> tf.Graph:
    graph = tf.Graph()
    with graph.as_default():
        tf.numpy_function(lambda: np.int64(1), [], tf.int64)
    return graph


# Whose it is, what to call it, and where it is looked for: an object, or a module by its name.
PARTS: list[tuple[str, str, Callable[[], Any] | str]] = [
    *(
        (KERAS, f"Optimizer.{name}", lambda: looked_at().optimizer)
        for name in (
            *("_var_key", "_trainable_variables", "_get_variable_index", "_untrack_variable"),
            *("_variables", "_model_variables_moving_average", "_learning_rate", "_iterations"),
            *("_use_weight_decay", "_apply_weight_decay", "_clip_gradients"),
            *("_momentums", "_velocities", "_all_reduce_sum_gradients"),
        )
    ),
    (KERAS, "Layer._flatten_layers", lambda: keras.layers.Dense(1)),
    (KERAS, "MultiHeadAttention._dropout_layer", of_attention),
    (KERAS, "Layer._convert_input_args", lambda: keras.layers.Dense(1)),
    (KERAS, "Layer._allow_non_tensor_positional_args", lambda: keras.layers.Dense(1)),
    *(
        (KERAS, f"Model.{name}", looked_at)
        for name in (
            *("_initial_epoch", "_compile_metrics", "_compile_loss", "_loss_tracker"),
            *("_maybe_symbolic_build", "_symbolic_build", "_distribute_strategy"),
            "_loss_tracker",
        )
    ),
    *(
        (KERAS, f"TFEpochIterator.{name}", of_an_iterator)
        for name in ("data_adapter", "_distributed_dataset")
    ),
    (KERAS, "loss.scale_loss_for_distribution", "keras.src.losses.loss"),
    (KERAS, "loss.unscale_loss_for_distribution", "keras.src.losses.loss"),
    (KERAS, "losses.loss", "keras.src.losses"),
    (
        KERAS,
        "optimizer.filter_empty_gradients",
        "keras.src.backend.tensorflow.optimizer",
    ),
    *(
        (KERAS, f"CompileMetrics.{name}", lambda: looked_at()._compile_metrics)
        for name in ("_user_metrics", "_user_weighted_metrics")
    ),
    (KERAS, "CompileLoss._user_loss_weights", lambda: looked_at()._compile_loss),
    (KERAS, "global_state.get_global_attribute", "keras.src.backend.common.global_state"),
    (KERAS, "saving_lib.get_temp_dir", "keras.src.saving.saving_lib"),
    (KERAS, "serialization_lib.in_safe_mode", "keras.src.saving.serialization_lib"),
    (KERAS, "losses.LossFunctionWrapper", "keras.src.losses.losses"),
    (KERAS, "naming.to_snake_case", "keras.src.utils.naming"),
    (TENSORFLOW, "op_def_registry.get", "tensorflow.python.framework.op_def_registry"),
    (
        TENSORFLOW,
        "convert_to_constants._run_inline_graph_optimization",
        "tensorflow.python.framework.convert_to_constants",
    ),
    (
        TENSORFLOW,
        "fingerprinting_utils.write_fingerprint",
        "tensorflow.python.saved_model.fingerprinting_utils",
    ),
    (TENSORFLOW, "tracking.AutoTrackable", lambda: tf.__internal__.tracking),
    (TENSORFLOW, "Function._key_for_call_stats", lambda: tf.function(lambda: 1)),
    *(
        (TENSORFLOW, f"List.{name}", lambda: looked_at().optimizer._variables)
        for name in (
            "_non_append_mutation",
            "_external_modification",
            "_last_wrapped_list_snapshot",
        )
    ),
    (TENSORFLOW, "Dataset._inputs", lambda: tf.data.Dataset.range(1)),
    (
        TENSORFLOW,
        "DistributedDataset._original_dataset",
        lambda: of_a_strategy(tf.data.Dataset.range(1)),
    ),
    (TENSORFLOW, "ops.gradient_registry", "tensorflow.python.framework.ops"),
    (TENSORFLOW, "Registry._registry", lambda: ops.gradient_registry),
    (TENSORFLOW, "Graph._py_funcs_used_in_graph", of_a_graph_with_python),
    (
        TENSORFLOW,
        "control_flow_util.GraphOrParentsInXlaContext",
        "tensorflow.python.ops.control_flow_util",
    ),
    (TENSORFLOW, "context.FunctionCallOptions", "tensorflow.python.eager.context"),
    (TENSORFLOW, "Context.function_call_options", of_call_options),
    (TENSORFLOW, "Context.check_collective_ops_peer_health", of_call_options),
    (TENSORFLOW, "Context._context_handle", of_call_options),
    (TENSORFLOW, "Context.abort_collective_ops", of_call_options),
    (TENSORFLOW, "context.global_seed", "tensorflow.python.eager.context"),
    (KERAS_TUNER, "GridSearchOracle._get_next_combination", keras_tuner.oracles.GridSearchOracle),
    *(
        (
            KERAS_TUNER,
            f"HyperbandOracle.{name}",
            lambda: keras_tuner.oracles.HyperbandOracle("val_loss"),
        )
        for name in ("_brackets", "_get_size")
    ),
    (
        "tensorflow-text",
        "regex_split_ops.gen_regex_split_ops",
        "tensorflow_text.python.ops.regex_split_ops",
    ),
]


@pytest.mark.parametrize(("whose", "name", "where"), PARTS, ids=[name for _, name, _ in PARTS])
def test_it_is_still_there(whose: str, name: str, where: Callable[[], Any] | str) -> None:
    owner = importlib.import_module(where) if isinstance(where, str) else where()
    missing = f"{whose} no longer has {name}: mend what uses it in {ROOM.name}/"
    assert hasattr(owner, name.rpartition(".")[2]), missing


def _used() -> Iterator[str]:
    """All private names that the room uses, and what it takes from private modules."""
    for path in ROOM.glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Attribute):
                if re.match(r"_[a-z]", node.attr):
                    yield node.attr
            elif isinstance(node, ast.Constant) and re.fullmatch(r"_[a-z_]+", str(node.value)):
                yield node.value
            elif isinstance(node, ast.ImportFrom) and re.match(
                r"keras(_tuner)?\.src|tensorflow(_text)?\.python", node.module or ""
            ):
                yield from (each.name for each in node.names)


def test_no_part_is_left_out_of_the_table() -> None:
    known = {part for _, name, _ in PARTS for part in name.split(".")}
    assert set(_used()) - known == set()


def test_nothing_of_ours_replaces_a_private_method_of_theirs_unawares() -> None:
    for module in pkgutil.walk_packages(tfhub_transfer.__path__, "tfhub_transfer."):
        if not module.name.endswith("__main__"):
            importlib.import_module(module.name)
    ours = {
        each
        for name, module in list(sys.modules.items())
        if name.startswith("tfhub_transfer.") and not name.startswith("tfhub_transfer.private")
        for each in vars(module).values()
        if inspect.isclass(each) and each.__module__ == name
    }
    replaced = [
        f"{each.__qualname__}.{name}"
        for each in ours
        for name, value in vars(each).items()
        if re.match(r"_[a-z]", name) and inspect.isfunction(value)
        for base in each.__mro__
        if base.__module__.split(".")[0] in ("keras", "keras_tuner", "tensorflow")
        and name in vars(base)
    ]
    assert not replaced, (
        f"{KERAS}, {TENSORFLOW} or {KERAS_TUNER} has methods of these names: {replaced}"
    )


# Optimizers ------------------------------------------------------------------------------------


def test_an_optimizer_knows_the_variables_of_its_model() -> None:
    model = trained("adam")
    optimizer, weights = model.optimizer, model.trainable_variables
    assert [v.path for v in keras_optimizers.known(optimizer)] == [v.path for v in weights]
    assert [keras_optimizers.place(optimizer, v) for v in weights] == [0, 1, 2, 3]
    keys = [keras_optimizers.key_of(optimizer, v) for v in weights]
    assert len(set(keys)) == 4
    assert keys == [keras_optimizers.key_of(optimizer, v.value) for v in weights]


def test_slots_are_all_that_an_optimizer_keeps_of_each_variable() -> None:
    optimizer = trained("adam").optimizer
    slots = keras_optimizers.slots(optimizer)
    found = {id(v) for values in slots.values() for v in values}
    assert found == {id(v) for v in optimizer.variables[2:]}, "beside the steps and the rate"
    shapes = [v.shape for v in keras_optimizers.known(optimizer)]
    assert all([v.shape for v in values] == shapes for values in slots.values())


def test_what_is_forgotten_can_be_made_anew() -> None:
    optimizer = trained("adam").optimizer
    known = keras_optimizers.known(optimizer)
    states = [v for values in keras_optimizers.slots(optimizer).values() for v in values]
    count = len(optimizer.variables)
    for state in states:
        keras_optimizers.forget(optimizer, state)
    assert len(optimizer.variables) == count - len(states) == 2, "the steps and the rate"
    lost = f"{TENSORFLOW} takes the list for one that lost elements, and won't export it"
    assert not optimizer._variables._non_append_mutation, lost
    optimizer.built = False
    optimizer.build(known)
    assert len(optimizer.variables) == count


def test_steps_are_counted_each_where_gradients_accumulate() -> None:
    optimizer = trained(keras.optimizers.Adam(gradient_accumulation_steps=3)).optimizer
    assert int(keras_optimizers.steps(optimizer)) == 3 and int(optimizer.iterations) == 1


def test_a_rate_is_what_it_was_given_as() -> None:
    schedule = keras.optimizers.schedules.ExponentialDecay(0.1, 2, 0.5)
    assert keras_optimizers.rate(keras.optimizers.SGD(schedule)) is schedule
    assert float(keras_optimizers.rate(keras.optimizers.SGD(0.5))) == 0.5


def test_averages_are_those_that_the_model_gets_at_the_end() -> None:
    optimizer = trained(keras_optimizers.OpenAdamW(use_ema=True)).optimizer
    averages = [average.numpy() for average in keras_optimizers.averages(optimizer)]
    optimizer.finalize_variable_values(keras_optimizers.known(optimizer))
    for average, weight in zip(averages, keras_optimizers.known(optimizer)):
        np.testing.assert_array_equal(average, weight.numpy())


def test_an_open_optimizer_asks_its_subclass() -> None:
    class Own(keras_optimizers.OpenAdamW):
        def clipped(self, gradients: Any) -> Any:
            return [gradient * 0.0 for gradient in gradients]

    optimizer = Own(0.5, weight_decay=0.5)
    optimizer.exclude_from_weight_decay(var_names=["bias"])
    weight, bias = keras.Variable([1.0, 2.0], name="kernel"), keras.Variable([3.0], name="bias")
    optimizer.build([weight, bias])
    assert optimizer.decays(weight) and not optimizer.decays(bias)
    optimizer.apply([tf.constant([1.0, 1.0]), tf.constant([1.0])])
    np.testing.assert_array_equal(weight.numpy(), [1.0, 2.0])  # neither decayed nor moved
    assert [tuple(each.shape) for each in optimizer.moments(bias)] == [(1,), (1,)]
    usual = keras_optimizers.OpenAdamW(global_clipnorm=1.0)
    [halved] = usual.clipped([tf.constant([0.0, 2.0])])
    np.testing.assert_allclose(halved, [0.0, 1.0])


# Layers, training, saving ----------------------------------------------------------------------


class Holds(keras.layers.Layer):
    """A layer in which another is, and which says who called it."""

    callers: list[Any]

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.inside = keras.layers.Dense(2, name="held")
        Holds.callers = []

    def call(self, inputs: Any) -> Any:
        self.callers.append(keras_layers.caller())
        return self.inside(inputs)


def test_layers_at_any_depth_and_who_calls_them() -> None:
    layer = Holds(name="holds")
    model = keras.Sequential([keras.Sequential([layer])])
    model(X)
    assert layer.callers[-1] is model and keras_layers.caller() is None
    names = [each.name for each in keras_layers.layers_of(model)]
    assert names[0] == model.name and {"holds", "held"} <= set(names)


def test_a_layer_takes_strings_as_they_are() -> None:
    class Tells(keras.layers.Layer):
        def call(self, inputs: Any) -> Any:
            self.given = inputs
            return tf.zeros((1,))

    layer = Tells(dtype="int32")
    keras_layers.take_strings(layer)
    layer("a text")
    assert layer.given == "a text"


def test_attention_drops_as_it_is_told() -> None:
    class Own(keras.layers.Dropout):
        def call(self, inputs: Any, training: bool = False) -> Any:
            return inputs * 0.0

    attention = of_attention()
    keras_layers.drop_by(attention, Own)
    vectors = np.ones((1, 3, 4), "float32")
    assert not np.asarray(attention(vectors, vectors, training=True)).any()


def test_what_a_model_was_compiled_with_comes_as_it_was_given() -> None:
    metric = keras.metrics.MeanAbsoluteError(name="own")
    model = trained("adam", metrics=[metric], loss_weights=[0.5])
    assert keras_training.metrics_given(model) == {"metrics": [metric], "weighted_metrics": None}
    assert keras_training.loss_weights_given(model) == [0.5]
    bare = trained("adam")
    assert keras_training.metrics_given(bare)["metrics"] is None
    assert keras_training.loss_weights_given(bare) is None
    assert keras_training.loss_weights_given(keras.Sequential()) is None


def test_fit_begins_where_it_is_told(tmp_path: Path) -> None:
    model = trained("adam")
    model._initial_epoch = 2
    assert model.fit(X, Y, epochs=3, verbose=0).epoch == [2], f"{KERAS}: Model._initial_epoch"
    keras_training.begin_anew(model)
    assert model.fit(X, Y, epochs=3, verbose=0).epoch == [0, 1, 2]


def test_what_a_step_needs_is_made_before_it_is_traced() -> None:
    model = trained("adam", metrics=["mae"])
    model.compile("adam", "mse", metrics=["mae"])
    model.make_train_function()
    step, made, told = model.train_function, list[tuple[bool, int]](), list[object]()

    def spied(iterator: Any) -> object:
        made.append((model.optimizer.built, len(model.metrics[1].variables)))
        return step(iterator)

    model.train_function = spied
    keras_training.build_first(model, "train_function", told.append)
    batches = tf.data.Dataset.from_tensor_slices((X, Y)).batch(2)
    model.train_function(iter(batches))
    model.train_function(iter(batches))
    assert made == [(True, 2)] * 2, f"{KERAS}: Model._compile_metrics"
    assert [each.shape.rank for each in told] == [2]


@pytest.mark.parametrize("unknown", ["no dataset", "four parts", "no labels", "any rank"])
def test_of_what_else_a_step_is_given_nothing_is_known(unknown: str) -> None:
    model, told = trained("adam", metrics=["mae"]), list[object]()
    model.train_function = lambda iterator: None
    keras_training.build_first(model, "train_function", told.append)
    rows: Any = tf.data.Dataset.from_tensor_slices((X, Y))
    given = {
        "no dataset": lambda: [(X, Y)],
        "four parts": lambda: rows.map(lambda x, y: (x, y, y, y)),
        "no labels": lambda: rows.map(lambda x, y: (x, tf.experimental.Optional.empty(y))),
        "any rank": lambda: tf.data.Dataset.from_generator(
            lambda: iter([(X, Y)]), output_types=(tf.float32, tf.float32)
        ),
    }[unknown]()
    model.train_function(iter(given))
    assert told == []


def test_losses_and_names_are_as_compile_makes_them() -> None:
    mean = keras_training.as_loss(keras.losses.mean_absolute_error, "sum")
    assert float(mean(Y, Y + 2.0)) == 8.0
    each = keras_training.as_loss(keras.losses.mean_absolute_error, None)
    np.testing.assert_array_equal(each(Y, Y + 2.0), [2.0] * 4)
    usual = keras.metrics.MeanAbsoluteError().name
    assert keras_training.spelled("MeanAbsoluteError") == usual


@keras.saving.register_keras_serializable(package="test_private")
class Asks(keras.layers.Layer):
    """A layer with an asset, which asks what is going on while it is made."""

    told: tuple[bool, bool]
    folder: str

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> "Asks":
        cls.told = keras_saving.trusts_file(), keras_saving.is_loading()
        return cls(**config)

    def call(self, inputs: Any) -> Any:
        return inputs

    def save_assets(self, folder: str) -> None:
        Path(folder, "asset.txt").write_text("it")
        Asks.folder = str(folder)

    def load_assets(self, folder: str) -> None:
        Asks.folder = str(folder)


def test_what_goes_on_while_a_file_is_saved_and_loaded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(saving_lib, "get_temp_dir", saving_lib.get_temp_dir)
    chosen: list[Path] = []
    keras_saving.gather_assets_in(lambda: chosen[0] if chosen else None)
    model = keras.Sequential([keras.Input((3,)), Asks()])
    path = tmp_path / "model.keras"
    model.save(path)
    assert not Path(Asks.folder).is_relative_to(tmp_path)
    chosen.append(tmp_path)
    model.save(path)
    assert Path(Asks.folder).is_relative_to(tmp_path), f"{KERAS}: saving_lib.get_temp_dir"
    for safe_mode in (False, True):
        keras.saving.load_model(path, safe_mode=safe_mode)
        assert Asks.told == (not safe_mode, True)
    Asks.from_config({})
    assert Asks.told == (False, False)


# Graphs ----------------------------------------------------------------------------------------


def test_graphs_are_written_out() -> None:
    variable = tf.Variable([2.0, 3.0])
    inner = tf.function(lambda x: x * variable)
    function = tf.function(lambda x: inner(x) + 1.0).get_concrete_function(tf.TensorSpec([2]))
    calls = {node.op for node in function.graph.as_graph_def().node}
    assert any("PartitionedCall" in each for each in calls)
    inlined = {node.op for node in tensorflow_graphs.inlined(function).node}
    assert not any("PartitionedCall" in each for each in inlined) and "Mul" in inlined


def test_operations_are_known_by_name() -> None:
    assert tensorflow_graphs.knows("MatMul") and not tensorflow_graphs.knows("NoSuchOperation")
    found = tensorflow_graphs.definition("MatMul")
    assert [each.name for each in found.input_arg] == ["a", "b"]


def test_a_node_of_a_checkpoint_has_nothing_but_what_it_is_given(tmp_path: Path) -> None:
    node = tensorflow_graphs.node()
    for name in ("name", "variables", "save_counter"):
        setattr(node, name, tf.Variable(1.0))
    tf.train.Checkpoint(node).write(str(tmp_path / "variables"))
    names = [name for name, _ in tf.train.list_variables(str(tmp_path / "variables"))]
    values = {name.split("/")[0] for name in names if "VARIABLE_VALUE" in name}
    assert values == {"name", "variables", "save_counter"}


def test_tracings_are_counted_for_each_function(monkeypatch: pytest.MonkeyPatch) -> None:
    from tensorflow.python.eager.polymorphic_function import polymorphic_function

    counted: list[object] = []
    detector = types.SimpleNamespace(called_with_tracing=lambda key, *_: counted.append(key))
    monkeypatch.setattr(polymorphic_function, "_frequent_tracing_detector_manager", detector)
    function = tf.function(lambda: tf.constant(1))
    tensorflow_graphs.count_alone(function)
    function()
    assert counted == [function], f"{TENSORFLOW} counts by another name"


def test_a_dataset_knows_what_it_was_made_from() -> None:
    source = tf.data.Dataset.range(3)
    for made in (source.map(lambda x: x), source.take(1), source.prefetch(1), source.repeat()):
        (found,) = tensorflow_data.parents(made)
        assert found is source
    assert tensorflow_data.parents(source) == []
    batches = source.batch(2)
    (found,) = tensorflow_data.parents(of_a_strategy(batches))
    assert found is batches


def test_what_was_written_to_is_another_buffer() -> None:
    """A variable's own is shared with what was read, until any kind of write."""
    first, deltas = tf.constant([1.0, 2.0, 3.0]), tf.IndexedSlices(tf.ones([1]), [0], [3])
    variable = tf.Variable(tf.zeros([3]))
    writes = (
        lambda: variable.assign_add([0.0, 0.0, 1.0]),
        lambda: variable.assign([1.0, 2.0, 3.0]),
        lambda: variable.scatter_add(deltas),
        lambda: keras.optimizers.Adam(0.1).apply_gradients([(tf.ones([3]), variable)]),
    )
    for write in writes:
        variable = tf.Variable(tf.zeros([3]))
        variable.assign(first)
        assert tensorflow_buffers.is_shared(first, variable.value())
        write()
        assert not tensorflow_buffers.is_shared(first, variable.value())
        np.testing.assert_array_equal(first, [1.0, 2.0, 3.0])
    assert not tensorflow_buffers.is_shared(tf.constant(["a"]), tf.constant(["a"]))


def test_gradients_of_sums_over_replicas_are_forgotten() -> None:
    registry = ops.gradient_registry._registry

    def step() -> None:
        context = tf.distribute.get_replica_context()
        with tensorflow_gradients.forgotten():
            context.all_reduce("sum", tf.custom_gradient(lambda x: (x, lambda dy: dy))(1.0))

    before = {*registry}
    tf.function(step)()
    (left,) = registry.keys() - before  # the layer's own
    registry.pop(left)
    with tf.Graph().as_default():
        tf.distribute.get_replica_context().all_reduce("sum", tf.constant(1.0))
    sums = registry.keys() - before
    assert sums, f"{TENSORFLOW} sums in another way"
    for name in sums:
        registry.pop(name)


def test_options_hold_inside_and_no_longer() -> None:
    def chosen() -> bool:
        serialized = of_call_options().function_call_options.config_proto_serialized
        config = config_pb2.ConfigProto.FromString(serialized)
        return config.graph_options.rewrite_options.disable_meta_optimizer

    before = chosen()
    with tensorflow_options.optimized(disable_meta_optimizer=not before):
        assert chosen() is not before
        with tensorflow_options.optimized(min_graph_nodes=3):  # leaves the other as it is
            assert chosen() is not before
    assert chosen() is before


def test_what_is_for_xla() -> None:
    seen: list[bool] = []

    def look(x: tf.Tensor) -> tf.Tensor:
        seen.append(tensorflow_graphs.compiled())
        return x + 1.0

    one = tf.constant(1.0)
    tf.function(look, autograph=False)(one)
    inner = tf.function(look, autograph=False)
    tf.function(lambda x: inner(x), jit_compile=True, autograph=False)(one)
    look(one)
    assert seen == [False, True, False]


def test_losses_are_whole_inside_and_in_this_thread_alone() -> None:
    loss = importlib.import_module("keras.src.losses.loss")
    with keras_training.undivided(), keras_training.undivided():
        pass  # puts what asks in place
    replicas = mock.Mock(num_replicas_in_sync=2)
    for name, usual in (("scale", 3.0), ("unscale", 12.0)):
        asked = getattr(loss, f"{name}_loss_for_distribution")
        value = tf.constant(6.0)
        with mock.patch.object(tf.distribute, "get_strategy", lambda: replicas):
            assert float(asked(value)) == usual
            with keras_training.undivided():
                with ThreadPoolExecutor(1) as thread:
                    assert float(thread.submit(asked, value).result()) == usual
                assert float(asked(value)) == 6.0
            assert float(asked(value)) == usual


def test_an_optimizer_takes_sums_as_they_are_inside() -> None:
    model, replicas = trained("adam"), []

    def summed(pairs: Any) -> Any:
        replicas.append(1)
        return list(pairs)

    weights = model.trainable_weights
    gradients = [tf.ones_like(weight.value) for weight in weights]
    with mock.patch.object(model.optimizer, "_all_reduce_sum_gradients", summed):
        model.optimizer.apply(gradients, weights)
        assert replicas == [1]
    with keras_optimizers.given_sums(model.optimizer):
        found = model.optimizer._all_reduce_sum_gradients(zip(gradients, weights))
        assert [each is given for (each, _), given in zip(found, gradients)] == [True] * len(
            weights
        )
    assert "_all_reduce_sum_gradients" not in vars(model.optimizer)
    with keras_optimizers.given_sums(None):
        pass


def test_texts_are_split_as_tensorflow_text_splits_them() -> None:
    texts, space, sign = tf.constant(["It's  5 km!", "", " ", "東 é"]), r"\s", r"[!']"
    *found, splits = tensorflow_texts.split(texts, f"{space}|{sign}", sign)
    public = tensorflow_text.regex_split_with_offsets(texts, f"{space}|{sign}", sign)
    for mine, theirs in zip(found, public, strict=True):
        np.testing.assert_array_equal(mine, theirs.flat_values)
        np.testing.assert_array_equal(splits, theirs.row_splits)


# Searches --------------------------------------------------------------------------------------


def test_a_grid_knows_what_comes_behind_a_combination() -> None:
    hp = keras_tuner.HyperParameters()
    hp.Choice("units", [0, 8], default=8)
    with hp.conditional_scope("units", [0]):
        hp.Choice("rate", [0.1, 0.2])
    oracle = keras_tuner.oracles.GridSearchOracle(hyperparameters=hp)
    found, values = [], {"units": 8}
    while values is not None:
        found.append(values)
        values = keras_tuner_grid.next_combination(oracle, values)
    assert found == [{"units": 8}, {"units": 0, "rate": 0.1}, {"units": 0, "rate": 0.2}]
