"""SavedModels that do more than compute are refused before anything of them runs."""

import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import allowed_operations
import numpy as np
import pytest
import saved_model_zoo
import tensorflow as tf

import tfhub_transfer as tt
from tfhub_transfer.encoders import preprocessing, registry
from tfhub_transfer.graphs import safety, wire

UNTOUCHED = "untouched\n"


@pytest.fixture(scope="module")
def zoo(tmp_path_factory: pytest.TempPathFactory, text_encoder: Path) -> Callable[[str], Path]:
    """Returns `zoo(kind)`: a folder with `model`, the SavedModel, and `canary`, what it touches."""
    made: dict[str, Path] = {}

    def folder(kind: str) -> Path:
        if kind not in made:
            made[kind] = tmp_path_factory.mktemp("zoo")
            saved_model_zoo.write(kind, made[kind], text_encoder)
        return made[kind]

    return folder


@pytest.fixture
def never_loaded(monkeypatch: pytest.MonkeyPatch) -> None:
    def load(*_: Any, **__: Any) -> None:
        raise AssertionError("tf.saved_model.load was called")

    monkeypatch.setattr(tf.saved_model, "load", load)


@pytest.mark.parametrize("kind", saved_model_zoo.KINDS)
def test_a_model_that_does_more_than_compute_is_refused_before_it_does(
    kind: str, zoo: Callable[[str], Path], never_loaded: None
) -> None:
    folder = zoo(kind)
    with pytest.raises(tt.InputError, match=saved_model_zoo.KINDS[kind]) as caught:
        tt.Encoder(str(folder / "model"))
    assert "\n" not in str(caught.value)
    assert "`trust_code=True`" in str(caught.value) or "TensorFlow 1" in str(caught.value)
    assert (folder / "canary").read_text() == UNTOUCHED


@pytest.mark.parametrize("kind", [kind for kind in saved_model_zoo.KINDS if "WriteFile in" in kind])
def test_a_model_that_is_trusted_runs_and_so_would_have_done_harm(
    kind: str, zoo: Callable[[str], Path], tmp_path: Path
) -> None:
    folder = zoo(kind)
    encoder = tt.Encoder(str(folder / "model"), trust_code=True)
    encoder(tf.constant(["a text", "another"]))
    if "gradient" in kind:
        x = tf.constant(1.0)
        with tf.GradientTape() as tape:
            tape.watch(x)
            y = encoder.saved_model.scaled(x)
        tape.gradient(y, x)
    assert (folder / "canary").read_text() == saved_model_zoo.CHANGED
    (folder / "canary").write_text(UNTOUCHED)


# --- genuine models ------------------------------------------------------------------------------


GENUINE = (
    "text_encoder",
    "bert_encoder",
    "albert_encoder",
    "list_style_encoder",
    "preprocessor",
    "encoder_without_call",
)


@pytest.mark.parametrize("kind", GENUINE)
def test_genuine_models_pass(kind: str, make_encoder: Callable[[str], Path]) -> None:
    safety.check_saved_model(make_encoder(kind))


def test_packaged_encoders_and_their_preprocessors_pass() -> None:
    found = sorted(registry.packaged_folder().rglob("saved_model.pb"))
    assert len(found) == 4
    for path in found:
        safety.check_saved_model(path.parent)


def test_a_model_saved_loaded_and_saved_again_passes(text_encoder: Path, tmp_path: Path) -> None:
    # Its tables are filled by functions that call those of the first file, with its asset.
    again = tf.saved_model.load(str(text_encoder))
    tf.saved_model.save(again, str(tmp_path / "again"))
    safety.check_saved_model(tmp_path / "again")


def test_a_keras_model_with_the_state_of_its_optimizer_passes(tmp_path: Path) -> None:
    import keras

    model = keras.Sequential([keras.Input([3]), keras.layers.Dense(1)])
    model.compile("adam", "mse")
    model.fit(np.ones([2, 3]), np.ones([2]), verbose=0)
    tf.saved_model.save(model, str(tmp_path / "keras"))
    safety.check_saved_model(tmp_path / "keras")


# --- links ---------------------------------------------------------------------------------------


def test_a_cache_of_links_into_a_store_is_resolved(text_encoder: Path, tmp_path: Path) -> None:
    # As Hugging Face's cache: snapshots/REVISION/FILE is a link to ../../blobs/HASH.
    snapshot, blobs = tmp_path / "snapshots" / "1f2e", tmp_path / "blobs"
    blobs.mkdir()
    for file in sorted(p for p in text_encoder.rglob("*") if p.is_file()):
        path = snapshot / file.relative_to(text_encoder)
        path.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(file, blobs / f"{len(list(blobs.iterdir()))}")
        path.symlink_to(blobs / f"{len(list(blobs.iterdir())) - 1}")
    (tmp_path / "link").symlink_to(snapshot)
    assert tt.Encoder(str(tmp_path / "link")).dimension == 8
    (tmp_path / "blobs-of-others").touch()
    (snapshot / "secret").symlink_to(tmp_path / "blobs-of-others")
    with pytest.raises(tt.InputError, match="a link that leads out of its folder, 'secret'"):
        safety.check_saved_model(snapshot)


def test_a_folder_that_was_installed_link_by_link_is_fine(
    text_encoder: Path, tmp_path: Path
) -> None:
    for file in (p for p in text_encoder.rglob("*") if p.is_file()):
        path = tmp_path / "model" / file.relative_to(text_encoder)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.symlink_to(file)
    safety.check_saved_model(tmp_path / "model")
    [asset] = (tmp_path / "model" / "assets").iterdir()
    asset.unlink()
    asset.symlink_to(text_encoder / "saved_model.pb")
    with pytest.raises(tt.InputError, match="a link that leads out of its folder, 'assets/"):
        safety.check_saved_model(tmp_path / "model")


def test_links_inside_of_the_folder_are_fine(text_encoder: Path, tmp_path: Path) -> None:
    shutil.copytree(text_encoder, tmp_path / "model")
    [asset] = (tmp_path / "model" / "assets").iterdir()
    asset.rename(tmp_path / "model" / "tokens")
    asset.symlink_to("../tokens")
    safety.check_saved_model(tmp_path / "model")


# --- damaged files -------------------------------------------------------------------------------


def test_trust_is_no_advice_for_what_is_damaged(text_encoder: Path, tmp_path: Path) -> None:
    """It mends no half of a download."""
    shutil.copytree(text_encoder, tmp_path / "model")
    [asset] = (tmp_path / "model" / "assets").iterdir()
    graph = tmp_path / "model" / "saved_model.pb"
    whole = graph.read_bytes()
    told = []

    def refused() -> None:
        with pytest.raises(tt.InputError) as caught:
            safety.check_saved_model(tmp_path / "model")
        told.append(str(caught.value))

    for share in range(40):
        graph.write_bytes(whole[: len(whole) * share // 40])
        refused()
    graph.write_bytes(whole)
    asset.unlink()
    refused()
    assert f"the asset {asset.name!r} is missing" in told[-1]
    asset.symlink_to("nowhere")
    refused()
    assert f"a link that leads nowhere, 'assets/{asset.name}'" in told[-1]
    for each in told:
        assert "damaged or incomplete; download or convert it again" in each
        assert "trust-code" not in each


@pytest.mark.parametrize(
    "data", [b"", b"\x12", b"\xff" * 40, b"\x12\x05\x12\x03\x0a\x09a", b"\x0b"]
)
def test_what_is_no_protocol_buffer_gets_one_line(data: bytes, tmp_path: Path) -> None:
    (tmp_path / "saved_model.pb").write_bytes(data)
    with pytest.raises(tt.InputError, match="damaged or incomplete") as caught:
        safety.check_saved_model(tmp_path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("seed", range(4))
def test_flipped_bytes_end_in_one_line_and_are_read_as_tensorflow_reads_them(
    seed: int, text_encoder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tensorflow.core.protobuf import saved_model_pb2

    monkeypatch.setattr(wire, "_LONG", 8)  # so that nearly every message is looked into
    rng = np.random.default_rng(seed)
    shutil.copytree(text_encoder, tmp_path / "model")
    path = tmp_path / "model" / "saved_model.pb"
    whole = path.read_bytes()
    for _ in range(30):
        data = bytearray(whole)
        for place in rng.integers(len(data), size=rng.choice([1, 2, 8])):
            data[place] = rng.integers(256)
        path.write_bytes(data[: rng.choice([len(data), len(data) // 2])])
        try:
            safety.check_saved_model(path.parent)
        except tt.InputError as error:
            assert "\n" not in str(error)
            if "damaged" in str(error):
                continue
        told, held = (
            wire.read_saved_model(path),
            saved_model_pb2.SavedModel.FromString(path.read_bytes()),
        )
        assert _without_numbers(told) == _without_numbers(held)


def _without_numbers(model: Any) -> Any:
    graphs = [meta.graph_def for meta in model.meta_graphs]
    functions = [f.node_def for graph in graphs for f in graph.library.function]
    for nodes in (*(graph.node for graph in graphs), *functions):
        for value in (value for node in nodes for value in node.attr.values()):
            kept = list(value.tensor.string_val)
            if value.WhichOneof("value") == "tensor":
                value.tensor.CopyFrom(type(value.tensor)(dtype=value.tensor.dtype))
                value.tensor.string_val.extend(kept)
    return model


def test_names_out_of_a_file_do_not_reach_the_terminal_as_they_are(
    text_encoder: Path, tmp_path: Path
) -> None:
    def rename(model: Any) -> None:
        function = saved_model_zoo.function_with(model.meta_graphs[0], "StaticRegexReplace")
        node = function.node_def.add(name="call", op="PartitionedCall")
        node.attr["f"].func.name = "\x1b[2J\n\u202e" + "x" * 500

    shutil.copytree(text_encoder, tmp_path / "model")
    saved_model_zoo.change(tmp_path / "model", rename)
    with pytest.raises(tt.InputError, match=re.escape(r"'\x1b[2J\n\u202exxx")) as caught:
        safety.check_saved_model(tmp_path / "model")
    assert len(str(caught.value)) < 500


def test_long_tensors_are_left_out_and_nothing_else(tmp_path: Path) -> None:
    from tensorflow.core.protobuf import saved_model_pb2

    model = saved_model_pb2.SavedModel()
    graph = model.meta_graphs.add().graph_def
    function = graph.library.function.add()
    function.signature.name = "f" * 3000
    for nodes in (graph.node, function.node_def):
        for name in ("short", "long"):
            node = nodes.add(name=name, op="Const")
            values = np.zeros([4 if name == "short" else 9000], np.float32)
            node.attr["value"].tensor.CopyFrom(tf.make_tensor_proto(values))
            node.attr["text"].s = b"t" * 5000
            node.attr["names"].tensor.string_val.extend([b"s" * 3000])
    (tmp_path / "saved_model.pb").write_bytes(model.SerializeToString())
    read = wire.read_saved_model(tmp_path / "saved_model.pb")
    for nodes in (graph.node, function.node_def):
        nodes[1].attr["value"].tensor.tensor_content = b""
    assert read == model


# --- the list ------------------------------------------------------------------------------------


def test_every_operation_of_this_tensorflow_is_on_one_of_the_lists() -> None:
    allowed = safety.allowed_operations()
    kinds = allowed_operations.denied()
    denied = {name for names in kinds.values() for name in names}
    known = allowed_operations.registered()
    new = sorted(name for name in known.keys() - allowed - denied)
    assert not new, f"new operations: read what they do, then `make operations`: {new}"
    assert not allowed & denied


def test_the_script_makes_the_lists_as_they_are() -> None:
    found = {
        name: allowed_operations.kind(op) for name, op in allowed_operations.registered().items()
    }
    listed: dict[str, str | None] = dict.fromkeys(safety.allowed_operations())
    listed |= {n: kind for kind, names in allowed_operations.denied().items() for n in names}
    if not _is_newest():
        listed = {name: kind for name, kind in listed.items() if name in found}
    assert found == listed


def _is_newest() -> bool:
    """Whether this is the newest TensorFlow that is allowed, whose operations are listed."""
    text = (Path(__file__).parents[2] / "setup.cfg").read_text("utf-8")
    [below] = re.findall(r"^ *tensorflow>=[\d.]+,<([\d.]+)$", text, re.MULTILINE)
    major, minor, *_ = tf.__version__.split(".")
    return bool(below == f"{major}.{int(minor) + 1}")


@pytest.mark.parametrize(
    "operation",
    "ReadFile WriteFile MatchingFiles PyFunc PyFuncStateless EagerPyFunc DebugIdentity PrintV2 "
    "ImmutableConst EncodeProto DecodeProtoV2 GenerateVocabRemapping Abort SaveV2 RestoreV2 "
    "MergeV2Checkpoints InitializeTableFromTextFileV2 TextLineDataset RpcServer RemoteCall "
    "XlaCallModule IteratorGetNext Recv SendTPUEmbeddingGradients SymbolicGradient QueueEnqueueV2 "
    "WriteSummary InplaceUpdate SaveDatasetV2 LoadDataset CSVDataset HashTable Variable".split(),
)
def test_what_does_more_than_compute_is_not_allowed(operation: str) -> None:
    assert operation in allowed_operations.registered()
    assert operation not in safety.allowed_operations()


# --- tables by name ------------------------------------------------------------------------------


def test_two_models_do_not_share_a_table_of_one_name(tmp_path: Path) -> None:
    # TensorFlow's resources have names for a whole process; loading makes each its own.
    def write(folder: Path, value: int) -> Path:
        root = tf.Module()
        keys = tf.lookup.KeyValueTensorInitializer(["a"], [value], tf.string, tf.int64)
        root.table = tf.lookup.StaticHashTable(keys, 0)
        root.ask = tf.function(root.table.lookup, [tf.TensorSpec([None], tf.string)])
        tf.saved_model.save(root, str(folder))

        def same_name(model: Any) -> None:
            graph = model.meta_graphs[0].graph_def
            bodies = [graph.node, *(f.node_def for f in graph.library.function)]
            for node in (n for nodes in bodies for n in nodes if n.op == "HashTableV2"):
                node.attr["shared_name"].s = b"the_same"

        saved_model_zoo.change(folder, same_name)
        return folder

    loaded = [safety.load_checked(write(tmp_path / str(value), value)) for value in (1, 2)]
    assert [int(model.ask(tf.constant(["a"]))[0]) for model in loaded] == [1, 2]


# --- doors ---------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def evil(tmp_path_factory: pytest.TempPathFactory, bert_encoder: Path) -> Path:
    """A folder with an encoder, an export and a preprocessor that would write the canary."""
    folder = tmp_path_factory.mktemp("evil")
    canary = saved_model_zoo.write("WriteFile in the call", folder)

    def write_file(model: Any) -> None:
        for function in model.meta_graphs[0].graph_def.library.function:
            node = function.node_def.add(name="write", op="WriteFile")
            for name, text in (("a", str(canary)), ("b", saved_model_zoo.CHANGED)):
                constant = function.node_def.add(name=f"write_{name}", op="Const")
                constant.attr["dtype"].type = tf.string.as_datatype_enum
                constant.attr["value"].tensor.CopyFrom(tf.make_tensor_proto(text))
                node.input.append(f"write_{name}:output:0")

    shutil.copytree(bert_encoder, folder / "bert")
    saved_model_zoo.change(folder / "bert", write_file)
    (folder / "texts.txt").write_text("a text\n" * 3)
    return folder


_TASK = tt.tasks.Regression(mean=0.0, deviation=1.0)

DOORS: dict[str, Callable[[Path, Path], Any]] = {
    "build_model": lambda evil, _: tt.build_model(str(evil / "bert"), _TASK),
    "make_preprocessor": lambda evil, bert: preprocessing.make_preprocessor(
        tt.Encoder(str(bert)), str(evil / "bert")
    ),
    "load_saved_model": lambda evil, _: tt.load_saved_model(evil / "model"),
    "encode_text": lambda evil, _: tt.encode_text(str(evil / "model"), ["a text"]),
    "convert": lambda evil, _: _convert(evil / "bert", evil / "static"),
    "student": lambda evil, _: _student(evil / "bert", evil / "student"),
}


def _convert(source: Path, target: Path) -> None:
    from tfhub_transfer.encoders import conversion

    conversion.convert(source, target, method="static", dimension=4)


def _student(teacher: Path, target: Path) -> None:
    from tfhub_transfer.recipes import students

    students.make_student(str(teacher), target, layers=1)


@pytest.mark.parametrize("door", DOORS)
def test_every_door_refuses_in_one_line(door: str, evil: Path, bert_encoder: Path) -> None:
    with pytest.raises(tt.InputError, match="`WriteFile` in the function.*`--trust-code`"):
        DOORS[door](evil, bert_encoder)
    assert (evil / "canary").read_text() == UNTOUCHED
    assert not (evil / "static").exists() and not (evil / "student").exists()


COMMANDS = {
    "train": "train --task classification --data {data} --encoder {evil} --output {out}",
    "distill": "distill {evil} --data {texts} --output {out}",
    "encode": "encode {evil} {texts} --output {out}.npy",
    "convert": "convert {evil} --method static --dimension 4 --output {out}",
}


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_refuses_with_status_2_and_writes_nothing(
    command: str, evil: Path, tmp_path: Path, capfd: pytest.CaptureFixture
) -> None:
    from tfhub_transfer import cli

    out, data = tmp_path / "out", tmp_path / "data.csv"
    data.write_text("text,label\n" + "".join(f"text {i},{'ab'[i % 2]}\n" for i in range(60)))
    names = {"evil": evil / "bert", "texts": evil / "texts.txt", "data": data, "out": out}
    assert cli.main(COMMANDS[command].format(**names).split()) == 2
    said = capfd.readouterr().err.strip().splitlines()[-1]
    assert "`WriteFile` in the function" in said and "`--trust-code`" in said
    assert (evil / "canary").read_text() == UNTOUCHED
    assert [p.name for p in tmp_path.iterdir()] == ["data.csv"]


def test_encode_runs_what_is_trusted(evil: Path, tmp_path: Path) -> None:
    from tfhub_transfer import cli

    words = f"encode {evil / 'model'} {evil / 'texts.txt'} --output {tmp_path / 'x.npy'}"
    assert cli.main([*words.split(), "--trust-code"]) == 0
    assert np.load(tmp_path / "x.npy").shape == (3, 2)
    assert (evil / "canary").read_text() == saved_model_zoo.CHANGED
    (evil / "canary").write_text(UNTOUCHED)


@pytest.mark.filterwarnings("ignore:Skipping")
def test_predict_runs_a_file_that_is_trusted(
    evil: Path, evil_file: Path, capfd: pytest.CaptureFixture
) -> None:
    from tfhub_transfer import cli

    words = ["predict", str(evil_file), str(evil / "texts.txt")]
    assert cli.main(words) == 2
    assert "`WriteFile` in the function" in capfd.readouterr().err
    assert (evil / "canary").read_text() == UNTOUCHED
    assert cli.main([*words, "--trust-code"]) == 0
    assert len(capfd.readouterr().out.splitlines()) == 3
    assert (evil / "canary").read_text() == saved_model_zoo.CHANGED
    (evil / "canary").write_text(UNTOUCHED)


@pytest.fixture(scope="module")
def evil_file(evil: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A `.keras` file with that encoder in it; the encoder itself has gone."""
    folder = tmp_path_factory.mktemp("file")
    shutil.copytree(evil / "model", folder / "gone")
    model = tt.build_model(tt.Encoder(str(folder / "gone"), trust_code=True), _TASK)
    model.save(folder / "model.keras")
    shutil.rmtree(folder / "gone")
    (evil / "canary").write_text(UNTOUCHED)
    return folder / "model.keras"


# Keras warns of each container that held what failed, then raises.
@pytest.mark.filterwarnings("ignore:Skipping")
def test_a_keras_file_is_refused_unless_safe_mode_is_off(evil: Path, evil_file: Path) -> None:
    import keras

    for load in (keras.saving.load_model, tt.load_model):
        with pytest.raises(ValueError, match="`WriteFile` in the function"):
            load(evil_file)
    assert (evil / "canary").read_text() == UNTOUCHED
    model = keras.saving.load_model(evil_file, safe_mode=False)
    assert model.encoder.trust_code
    model = tt.load_model(evil_file, trust_code=True)
    model.predict_text(["a text"])
    assert (evil / "canary").read_text() == saved_model_zoo.CHANGED
    (evil / "canary").write_text(UNTOUCHED)


def test_a_preprocessor_in_a_keras_file_is_checked_too(evil: Path, tmp_path: Path) -> None:
    shutil.copytree(evil / "bert", tmp_path / "saved_model")
    (tmp_path / "preprocessor.json").write_text('{"kind": "saved_model", "sequence_length": 9}')
    with pytest.raises(tt.InputError, match="`WriteFile` in the function"):
        preprocessing.load_preprocessor(tmp_path)
    with pytest.raises(tt.InputError, match="isn't a TF Hub BERT preprocessor"):
        preprocessing.load_preprocessor(tmp_path, trust_code=True)
    assert (evil / "canary").read_text() == UNTOUCHED


def test_a_configuration_does_not_vouch_for_itself(evil: Path) -> None:
    trusted = tt.Encoder(str(evil / "model"), trust_code=True)
    config = trusted.get_config()
    (evil / "canary").write_text(UNTOUCHED)  # it was looked at, so it ran
    assert "trust_code" not in config
    assert not tt.Encoder.from_config(config | {"trust_code": True}).trust_code
    assert (evil / "canary").read_text() == UNTOUCHED
