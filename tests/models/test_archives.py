"""Files that others may have made: refused in one line, before they can do anything."""

import io
import json
import re
import socket
import stat
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import hostile
import keras
import numpy as np
import pytest
import tensorflow as tf

import tfhub_transfer as tt
from tfhub_transfer.encoders import recorded
from tfhub_transfer.models import archives, encoding
from tfhub_transfer.models.transfer import TransferModel
from tfhub_transfer.storage import records
from tfhub_transfer.tasks import Classification, Head

TEXTS = ["a good film", "", "the worst movie"]
CONFIG, WEIGHTS, GRAPH = "config.json", "model.weights.h5", "assets/layers/encoder/saved_model.pb"
SETTINGS = "assets/preprocessor/preprocessor.json"

Members = dict[str, bytes]


@pytest.fixture(scope="module")
def saved(text_encoder: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Any]:
    """A `.keras` file and what its model answers to `TEXTS`."""
    model = tt.build_model(
        str(text_encoder), Classification(["negative", "positive"]), Head(hidden_units=3)
    )
    path = tmp_path_factory.mktemp("saved") / "model.keras"
    model.save(path)
    return path, model.predict_scores(TEXTS)


def members(path: Path) -> Members:
    with zipfile.ZipFile(path) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def write(path: Path, found: Members) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in found.items():
            archive.writestr(name, data)
    return path


def refused(path: Path, message: str, **options: Any) -> None:
    with pytest.raises(tt.InputError, match=message) as caught:
        tt.load_model(path, **options)
    assert "\n" not in str(caught.value)
    assert re.search(f"Received: .*{re.escape(str(path))}", str(caught.value))


def in_config(*keys: str, to: Any) -> Callable[[Members], None]:
    """A change of one value of `config.json`."""

    def change(found: Members) -> None:
        config = inner = json.loads(found[CONFIG])
        for key in keys[:-1]:
            inner = inner[key]
        inner[keys[-1]] = to
        found[CONFIG] = json.dumps(config).encode()

    return change


# What may run code ------------------------------------------------------------------------------


def a_lambda(canary: Path) -> dict[str, Any]:
    layer = keras.layers.Lambda(eval(f"lambda x, *_: open({str(canary)!r}, 'w')"))
    return keras.saving.serialize_keras_object(layer)


CODE = {
    "layer as loss": lambda c: ("loss", a_lambda(c), "keras.layers.Lambda"),
    "in a list": lambda c: ("metrics", [a_lambda(c)], "keras.layers.Lambda"),
    "in another's config": lambda c: (
        "optimizer",
        {
            "module": "keras.optimizers",
            "class_name": "SGD",
            "config": {"learning_rate": a_lambda(c)},
            "registered_name": None,
        },
        "keras.layers.Lambda",
    ),
    "bare lambda": lambda c: ("loss", a_lambda(c)["config"]["function"], "__lambda__"),
    "os.system": lambda c: ("loss", call("os", "system", f"touch {c}", None), "os.system"),
    "registered": lambda c: ("loss", call("os", "system", f"touch {c}", "os>system"), "os.system"),
    "under our name": lambda c: (
        "loss",
        call("os", "system", f"touch {c}", "tfhub_transfer>Encoder"),
        "os.system",
    ),
    "function": lambda c: ("loss", call("os", "function", "system", "system"), "os.system"),
    "download": lambda c: (
        "loss",
        call("keras.utils", "function", "get_file", "get_file"),
        "keras.utils.get_file",
    ),
    "torch": lambda c: (
        "loss",
        call("keras.layers", "TorchModuleWrapper", {"module": "x"}, None),
        "TorchModuleWrapper",
    ),
}


def call(module: str, name: str, config: Any, registered: str | None) -> dict[str, Any]:
    return {
        "module": module,
        "class_name": name,
        "config": config,
        "registered_name": registered,
    }


@pytest.mark.parametrize("kind", CODE)
def test_what_may_run_code_is_refused(kind: str, saved: Any, tmp_path: Path) -> None:
    canary = tmp_path / "canary"
    key, value, named = CODE[kind](canary)
    found = members(saved[0])
    in_config("compile_config", key, to=value)(found)
    refused(write(tmp_path / "m.keras", found), f"names '[\\w.]*{named}'.*trust_code=True")
    assert not canary.exists()


def test_trust_turns_safe_mode_off(
    saved: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = members(saved[0])
    in_config("compile_config", "loss", to=a_lambda(tmp_path / "canary"))(found)
    path = write(tmp_path / "m.keras", found)
    modes: list[bool] = []
    load = keras.saving.load_model
    monkeypatch.setattr(
        keras.saving,
        "load_model",
        lambda path, safe_mode=None: modes.append(safe_mode) or load(path, safe_mode=safe_mode),
    )
    tt.load_model(path, trust_code=True)
    tt.load_model(saved[0])
    assert modes == [False, True]


def test_what_the_caller_registered_is_no_foreign_code(saved: Any, tmp_path: Path) -> None:
    @keras.saving.register_keras_serializable(package="mine")
    class Loss(keras.losses.MeanSquaredError):
        pass

    model = tt.load_model(saved[0])
    model.compile("adam", Loss(), metrics=["accuracy", keras.metrics.mean_squared_error])
    model.save(tmp_path / "mine.keras")
    assert isinstance(tt.load_model(tmp_path / "mine.keras").loss, Loss)


# No file asks the network -----------------------------------------------------------------------


def test_a_handle_in_a_file_is_never_fetched(
    saved: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = members(saved[0])
    in_config("config", "encoder", "config", "handle", to="http://127.0.0.1:9/encoder/1")(found)
    path = write(tmp_path / "m.keras", found)
    asked: list[Any] = []
    for name in ("connect", "connect_ex"):
        monkeypatch.setattr(socket.socket, name, lambda *args: asked.append(args))
    monkeypatch.setattr(socket, "getaddrinfo", lambda *args, **_: asked.append(args))
    model = tt.load_model(path)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        by_keras: Any = keras.saving.load_model(path)  # safe mode is its default
    config = json.loads(found[CONFIG])["config"]["encoder"]["config"]
    orphan = tt.Encoder.from_config({**config, "dtype": "float32"})
    again = tt.Encoder.from_config(model.encoder.get_config())
    assert asked == []
    for each in (model, by_keras):
        np.testing.assert_array_equal(each.predict_scores(TEXTS), saved[1])
    for each in (orphan, again):
        with pytest.raises(tt.InputError, match="SavedModel isn't at hand"):
            each.folder  # noqa: B018


def test_a_file_does_not_choose_a_folder_of_this_machine(
    saved: Any, text_encoder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: list[Path] = []
    load = tt.encoders.encoder.loading.load
    monkeypatch.setattr(
        tt.encoders.encoder.loading, "load", lambda to, *rest: opened.append(to) or load(to, *rest)
    )
    tt.load_model(saved[0])
    assert opened and text_encoder not in opened


# The archive ------------------------------------------------------------------------------------


def with_member(name: str, mode: int = 0, compressed: bool = False) -> Callable[[Path], None]:
    def change(path: Path) -> None:
        with zipfile.ZipFile(path, "a") as archive, warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of two members of one name
            info = zipfile.ZipInfo("x")
            info.filename = name
            info.external_attr = mode << 16
            info.compress_type = zipfile.ZIP_DEFLATED if compressed else zipfile.ZIP_STORED
            archive.writestr(info, bytes(10_000_000) if compressed else b"/etc/passwd")

    return change


def many(path: Path) -> None:
    with zipfile.ZipFile(path, "a") as archive:
        for index in range(archives._MOST_MEMBERS):
            archive.writestr(f"assets/preprocessor/{index}", b"")


def overlapping(path: Path) -> None:
    """All entries of the directory name the data of one member: a bomb without compression."""
    with zipfile.ZipFile(path, "a") as archive:
        first = archive.getinfo(WEIGHTS)
        for index in range(20):
            info = zipfile.ZipInfo(f"assets/preprocessor/{index}")
            info.header_offset, info.CRC = first.header_offset, first.CRC
            info.file_size = info.compress_size = first.file_size
            archive.filelist.append(info)
        archive._didModify = True


ARCHIVES: dict[str, tuple[Callable[[Path], Any], str]] = {
    "traversal": (with_member("assets/preprocessor/../../../x"), r"a member named '.*\.\./x'"),
    "absolute": (with_member("/tmp/x"), "a member named '/tmp/x'"),
    "backslash": (with_member("assets/preprocessor/..\\x"), "a member named"),
    "drive": (with_member("C:x"), "a member named 'C:x'"),
    "control": (with_member("assets/preprocessor/\x1bx"), "a member named"),
    "folder": (with_member("assets/preprocessor/x/"), "a member named"),
    "stray": (with_member("evil.py"), "a member named 'evil.py'"),
    "link": (with_member("assets/preprocessor/x", stat.S_IFLNK | 0o777), "no plain file"),
    "device": (with_member("assets/preprocessor/x", stat.S_IFCHR), "no plain file"),
    "duplicate": (with_member(CONFIG), "two members of one name"),
    "bomb": (with_member("assets/preprocessor/x", compressed=True), "a compressed member"),
    "many": (many, "10[0-9]+ members"),
    "overlapping": (overlapping, "members that overlap|Overlapped entries"),
    "no zip": (lambda path: path.write_bytes(b"not a zip"), "not a zip"),
    "empty": (lambda path: path.write_bytes(b""), "not a zip"),
}


@pytest.mark.parametrize("kind", ARCHIVES)
def test_hostile_archives(
    kind: str, saved: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    change, message = ARCHIVES[kind]
    path = tmp_path / "m.keras"
    path.write_bytes(saved[0].read_bytes())
    change(path)
    monkeypatch.setattr(keras.saving, "load_model", pytest.fail)  # it isn't even opened
    refused(path, message)
    refused(path, message, trust_code=True)
    assert [p.name for p in tmp_path.iterdir()] == ["m.keras"]


def test_a_plain_keras_model_is_said_to_be_one(tmp_path: Path) -> None:
    keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)]).save(tmp_path / "plain.keras")
    refused(tmp_path / "plain.keras", r"another kind of Keras model.*\(Sequential\)")


@pytest.mark.parametrize("name", [CONFIG, "metadata.json", WEIGHTS, GRAPH, SETTINGS])
def test_a_member_that_is_missing_or_changed(
    name: str, saved: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keras.saving, "load_model", pytest.fail)  # it isn't even opened
    found = members(saved[0])
    whole = saved[0].read_bytes()
    at = whole.index(found[name]) + len(found[name]) // 2
    (tmp_path / "m.keras").write_bytes(whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :])
    refused(tmp_path / "m.keras", f"damaged.*Bad CRC-32 for file '{name}'")
    del found[name]
    refused(write(tmp_path / "m.keras", found), f"damaged.*it has no {name}")


# The configuration ------------------------------------------------------------------------------

ENCODER = ("config", "encoder", "config")
WRONG: dict[str, tuple[Callable[[Members], None], str]] = {
    "deep": (lambda f: f.update({CONFIG: b"[" * 100_000}), "damaged: readable JSON"),
    "deep and valid": (
        lambda f: f.update({CONFIG: b'{"a":' * 500 + b"1" + b"}" * 500}),
        "at most 64 levels",
    ),
    "no object": (lambda f: f.update({CONFIG: b"[]"}), "an object in it"),
    "no text": (lambda f: f.update({CONFIG: b"\xff"}), "damaged: readable JSON"),
    "config": (in_config("config", to=5), "'config' must be of type dict"),
    "encoder": (in_config("config", "encoder", to=5), "recorded of the encoder as 'config'"),
    "handle": (in_config(*ENCODER, "handle", to=5), "'handle' must be of type str"),
    "trainable": (in_config(*ENCODER, "trainable", to="yes"), "'trainable' must be of type bool"),
    "thawed": (in_config(*ENCODER, "thawed", to=[5]), "'thawed' isn't what"),
    "left out": (in_config(*ENCODER, "left_out", to="all"), "'left_out' must be of type"),
    "spec": (in_config(*ENCODER, "spec", to=[]), "'spec' must be of type dict"),
    "no spec": (in_config(*ENCODER, "spec", to=None), "'spec' isn't what"),
    "dialect": (in_config(*ENCODER, "spec", "dialect", to="x"), "'dialect' isn't what"),
    "outputs": (in_config(*ENCODER, "spec", "outputs", to={"default": "8"}), "'default' isn't"),
    "no outputs": (in_config(*ENCODER, "spec", "outputs", to={}), "'outputs' isn't what"),
    "wide": (
        in_config(*ENCODER, "spec", "outputs", to={"default": [10**12]}),
        "'default' isn't what",
    ),
    "other width": (
        in_config(*ENCODER, "spec", "outputs", to={"default": [9]}),
        "isn't a model that",
    ),
    "variables": (in_config(*ENCODER, "spec", "variables", to=[{}]), "'variables' isn't what"),
    "none": (in_config(*ENCODER, "spec", "variables", to=[]), "isn't a model that"),
    "name": (in_config(*ENCODER, "name", to=5), "isn't a model that"),
    "task": (in_config("config", "task", to=5), "isn't a model that"),
    "labels": (in_config("config", "task", "config", "class_names", to=5), "isn't a model that"),
    "head": (in_config("config", "head", to=[]), "isn't a model that"),
    "dropout": (in_config("config", "head", "dropout", to="x"), "isn't a model that"),
    "units": (in_config("config", "head", "hidden_units", to=4), "isn't a model that"),
    "optimizer": (in_config("compile_config", "optimizer", to=[1]), "isn't a model that"),
    "kind": (in_config("registered_name", to=5), "another kind of Keras model"),
    "settings": (lambda f: f.update({SETTINGS: b'{"kind": 5}'}), "'kind' must be of type str"),
    "deep settings": (lambda f: f.update({SETTINGS: b"[" * 9999}), "readable JSON"),
    "length": (
        lambda f: f.update({SETTINGS: b'{"kind": "code_points", "sequence_length": 1e12}'}),
        "'sequence_length' must be of type int",
    ),
    "long": (
        lambda f: f.update({SETTINGS: b'{"kind": "code_points", "sequence_length": 9999999}'}),
        "`sequence_length` from 8 to",
    ),
    "graph": (lambda f: f.update({GRAPH: b"\x00" * 99}), "isn't a model that"),
}


@pytest.mark.parametrize("kind", WRONG)
def test_wrong_types_and_sizes(kind: str, saved: Any, tmp_path: Path) -> None:
    change, message = WRONG[kind]
    found = members(saved[0])
    change(found)
    refused(write(tmp_path / "m.keras", found), message)


def test_an_encoder_of_a_wrong_configuration(text_encoder: Path) -> None:
    config = tt.Encoder(str(text_encoder)).get_config()
    for key in ("spec", "handle", "trainable", "thawed", "left_out"):
        with pytest.raises(tt.InputError, match=f"'{key}' must be of type"):
            tt.Encoder.from_config({**config, key: 5.5})
    shape = {"name": "x", "dtype": "float32", "trainable": True, "shape": [2.5]}
    for variable in (5, {}, shape, {**shape, "shape": [True]}, {**shape, "dtype": "string"}):
        with pytest.raises(tt.InputError, match="'variables' isn't what"):
            spec = {**config["spec"], "variables": [variable]}
            recorded.check({**config, "spec": spec}, "here")


# Memory -----------------------------------------------------------------------------------------


def in_weights(change: Callable[[h5py.File], None]) -> Callable[[Members], None]:
    def changed(found: Members) -> None:
        file = io.BytesIO(found[WEIGHTS])
        with h5py.File(file, "a") as opened:
            change(opened)
        found[WEIGHTS] = file.getvalue()

    return changed


def sparse(file: h5py.File) -> None:
    group = file["layers/encoder/vars"]
    del group["0"]
    group.create_dataset("0", shape=(10**6, 10**6), dtype="float32", chunks=(1, 1))


def unwritten(file: h5py.File) -> None:
    file.create_dataset("more", shape=(10**6, 10**6), dtype="float32")


def external(file: h5py.File) -> None:
    file.create_dataset("more", (2,), "float32", external=[("/etc/passwd", 0, 8)])


def shared(file: h5py.File) -> None:
    for index in range(1000):
        file[f"layers/more_{index}"] = file["layers/encoder/vars/0"]


def circular(file: h5py.File) -> None:
    file["layers/more"] = file["layers"]


def link(file: h5py.File) -> None:
    file["layers/more"] = h5py.ExternalLink("/etc/passwd", "/")


def strings(file: h5py.File) -> None:
    file["layers/more"] = ["a", "b"]


ALL_SHAPES = ("config", "encoder", "config", "spec", "variables")
HUGE = {
    "variable": (
        in_config(
            *ALL_SHAPES,
            to=[{"name": "x", "shape": [10**6] * 2, "dtype": "float32", "trainable": True}],
        ),
        "aren't those of the weights",
    ),
    "hidden layer": (in_config("config", "head", "hidden_units", to=10**7), "ask for more memory"),
    "width": (
        in_config("config", "encoder", "config", "spec", "outputs", to={"default": [2**20]}),
        "ask for more memory",
    ),
    "sparse": (in_weights(sparse), "aren't plain arrays"),
    "unwritten": (in_weights(unwritten), "isn't stored whole"),
    "external": (in_weights(external), "aren't plain arrays"),
    "shared": (in_weights(shared), "weights are larger than the file"),
    "circular": (in_weights(circular), "weights with links"),
    "link": (in_weights(link), "weights with links"),
    "strings": (in_weights(strings), "aren't plain arrays"),
    "no h5": (lambda f: f.update({WEIGHTS: b"x" * 99}), "isn't a model that"),
}


@pytest.mark.parametrize("kind", HUGE)
def test_no_memory_that_the_file_does_not_back(
    kind: str, saved: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    change, message = HUGE[kind]
    found = members(saved[0])
    change(found)
    largest: list[int] = [0]
    zeros, glorot = tf.zeros, keras.initializers.GlorotUniform.__call__

    def counted(make: Any) -> Any:
        def made(*args: Any, **kwargs: Any) -> Any:
            value = make(*args, **kwargs)
            if hasattr(value, "numpy"):  # a tensor of a graph takes no memory
                largest.append(int(np.prod(value.shape)))
            return value

        return made

    monkeypatch.setattr(tf, "zeros", counted(zeros))
    monkeypatch.setattr(keras.initializers.GlorotUniform, "__call__", counted(glorot))
    refused(write(tmp_path / "m.keras", found), message)
    assert max(largest) < 10_000


# Damage -----------------------------------------------------------------------------------------


def test_damage_is_one_line_or_changes_nothing(saved: Any, tmp_path: Path) -> None:
    """As `benchmarks/damaged_files.py` shows for 400 files; more flips in the archive's own bytes.

    They are few, and the only ones that no checksum covers.
    """
    whole, path = saved[0].read_bytes(), tmp_path / "m.keras"
    directory = whole.index(b"PK\x01\x02")
    copies = [hostile.damaged(whole, index) for index in range(40)]
    copies += [whole[:directory] + hostile.damaged(whole[directory:], 2 * i) for i in range(30)]
    lost = 0
    for copy in copies:
        path.write_bytes(copy)
        try:
            model = tt.load_model(path)
        except tt.InputError as error:
            assert "\n" not in str(error) and str(path) in str(error)
            lost += 1
        else:
            np.testing.assert_array_equal(model.predict_scores(TEXTS), saved[1])
    assert lost >= 40


def test_checked_files_are_what_the_model_says(saved: Any) -> None:
    archive = archives.check(saved[0], TransferModel)
    with h5py.File(io.BytesIO(members(saved[0])[WEIGHTS])) as file:
        sizes: list[int] = []
        file.visititems(lambda _, item: sizes.append(getattr(item, "nbytes", 0)))
    assert archive.stored == sum(sizes)


# Other files ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (b"[" * 100_000, "damaged"),
        (b'{"precision": 5}', "'precision' must be of type str"),
        (b'{"precision": "float8"}', "float8"),
        (b'{"columns": []}', "'columns' must be of type dict"),
        (b'{"arguments": 1}', "'arguments' must be of type dict"),
        (b"[]", "an object in it"),
    ],
)
def test_the_record_of_a_training(text: bytes, message: str, tmp_path: Path) -> None:
    (tmp_path / encoding.RECORD_FILE).write_bytes(text)
    with pytest.raises(tt.InputError, match=f"record of the training is damaged.*{message}"):
        encoding.read_record(tmp_path)


def test_json_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "x.json"
    path.write_text(json.dumps({"a": {"b": [1, {"c": 2}]}}))
    assert records.read(path) == {"a": {"b": [1, {"c": 2}]}}
    monkeypatch.setattr(records, "MOST_DEPTH", 3)
    with pytest.raises(tt.InputError, match="at most 3 levels"):
        records.read(path)
    monkeypatch.setattr(records, "MOST_BYTES", 5)
    with pytest.raises(tt.InputError, match="at most 0 MB"):
        records.read(path)
    with pytest.raises(tt.InputError, match="expected a plain file"):
        records.read(tmp_path)
    assert records.take({"a": None}, "a", int, "x", 5) == 5
    with pytest.raises(tt.InputError, match="'a' must be of type int.*Received: 'True' in x"):
        records.take({"a": True}, "a", int, "x")
