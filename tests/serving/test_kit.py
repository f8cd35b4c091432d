"""The kit of an export: the server's own messages parse what it reads; clients are answered."""

import contextlib
import importlib.util
import io
import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import samples
import tensorflow as tf
from google.protobuf import text_format

import tfhub_transfer as tt
from tfhub_transfer.jobs.exports import exporting
from tfhub_transfer.serving import kit, latencies, operations, replay, warm_up

KIT = {
    *("models.config", "batching.txt", "monitoring.txt", "docker-compose.yml"),
    *("OPS.md", "client.py", "kit.json"),
}


@pytest.fixture(scope="module", autouse=True)
def _short() -> Iterator[None]:
    """Each size of batch is measured a few times, and copies of a version once."""
    measure, known = latencies.measure, {}

    def once_each(version: Path, *arguments: Any) -> Any:
        graph = (version / "fingerprint.pb").read_bytes()
        if graph not in known:
            known[graph] = measure(version, *arguments)
        return known[graph]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(latencies, "SECONDS", 0.03)
        patch.setattr(latencies, "measure", once_each)
        patch.setattr(replay.ByLoader, "close", lambda session: None)
        yield


@pytest.fixture(scope="module")
def trained(bert_encoder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model that need not know anything."""
    task = tt.tasks.Classification(["bad", "good"])
    path = tmp_path_factory.mktemp("trained") / "model.keras"
    tt.build_model(str(bert_encoder), task, sequence_length=24).save(path)
    return path


@pytest.fixture(scope="module")
def once(trained: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of one version with its kit."""
    folder = tmp_path_factory.mktemp("kit") / "reviews"
    kit.write(tt.export_saved_model(tt.load_model(trained), folder, "float32"))
    return folder


@pytest.fixture
def serving(once: Path, tmp_path: Path) -> Path:
    """A copy of it."""
    return shutil.copytree(once, tmp_path / "reviews")


def again(serving: Path, **options: Any) -> list[str]:
    """The next version: a copy of the newest, as exports are covered elsewhere."""
    newest = max(int(p.name) for p in serving.iterdir() if p.name.isdigit())
    version = shutil.copytree(serving / str(newest), serving / str(newest + 1))
    return kit.write(version, **options)


def stubs(module: str) -> Any:
    return pytest.importorskip(
        f"tensorflow_serving.{module}", reason="needs tensorflow-serving-api: `.[test]`"
    )


def records(version: Path) -> list[bytes]:
    return [r.numpy() for r in tf.data.TFRecordDataset(str(version / warm_up.FILE))]


# Warm-up ------------------------------------------------------------------------------------------


def test_warm_up_holds_a_request_of_each_size_and_length(once: Path) -> None:
    log = stubs("apis.prediction_log_pb2").PredictionLog
    found = [log.FromString(each) for each in records(once / "1")]
    assert [each.SerializeToString(deterministic=True) for each in found] == records(once / "1")
    # Two lengths (16, and 24 that the model reads), three sizes, two signatures; one of examples.
    assert [each.WhichOneof("log_type") for each in found] == [
        *["predict_log"] * 13,
        "classify_log",
    ]
    seen = set()
    for each in found[:12]:
        request = each.predict_log.request
        (text,) = (tf.make_ndarray(request.inputs[name]) for name in request.inputs)
        seen.add((request.model_spec.signature_name, len(text), len(text[0].split())))
    sizes = [(size, length) for size in (1, 8, 32) for length in (16, 24)]
    assert seen == {(name, *each) for name in ("encode", "serving_default") for each in sizes}
    given = found[12].predict_log.request
    (example,) = tf.make_ndarray(given.inputs["examples"])
    classify = found[13].classify_log.request
    assert given.model_spec.signature_name == "serialized"
    assert classify.model_spec.signature_name == "classify"
    assert classify.input.example_list.examples[0].SerializeToString() == example
    assert tf.train.Example.FromString(example).features.feature["text"].bytes_list.value == [
        warm_up.WORD.encode()
    ]


def test_a_warm_up_takes_seconds_not_minutes() -> None:
    asked = list(warm_up.requests({"a": {"text": 1}, "w": {"tokens": 2}}, 512))
    texts = [each.inputs["text"] for each in asked if each.signature == "a"]
    # 32 texts of 512 tokens would take as long as all others.
    sizes = {(n, t) for n in (1, 8, 32) for t in (16, 64, 256, 512)} - {(32, 512)}
    assert {(len(text), len(text[0].split())) for text in texts} == sizes
    words = [each.inputs["tokens"] for each in asked if each.signature == "w"]
    assert {(len(rows), *{len(row) for row in rows}) for rows in words} == sizes


# Configuration ------------------------------------------------------------------------------------


def config_of(serving: Path) -> Any:
    """`models.config` as the server reads it."""
    message = stubs("config.model_server_config_pb2").ModelServerConfig()
    text_format.Parse((serving / "models.config").read_text("utf-8"), message)
    (config,) = message.model_config_list.config
    return config


def test_models_config_is_the_servers(serving: Path) -> None:
    config = config_of(serving)
    assert (config.name, config.base_path) == ("reviews", "/models/reviews")
    assert config.model_platform == "tensorflow"
    assert dict(config.version_labels) == {"stable": 1, "canary": 1}
    assert config.model_version_policy.latest.num_versions == 2


def test_stable_stays_and_canary_moves(serving: Path) -> None:
    assert again(serving) == []
    assert kit.labels_of(serving) == kit.Labels("reviews", 1, 2, 3)
    assert dict(config_of(serving).version_labels) == {"stable": 1, "canary": 2}
    # Rolled out, by hand: whatever comes next, it stays.
    path = serving / "models.config"
    path.write_text(path.read_text("utf-8").replace('"stable" value: 1', '"stable" value: 2'))
    assert again(serving) == []
    assert kit.labels_of(serving) == kit.Labels("reviews", 2, 3, 3)
    # All from `stable` on are loaded when the next one comes, which is loaded beside them.
    shutil.rmtree(serving / "2")
    assert again(serving, name="films") == []
    assert kit.labels_of(serving) == kit.Labels("films", 4, 4, 2)
    assert again(serving) == []
    assert kit.labels_of(serving) == kit.Labels("films", 4, 5, 3)


def test_the_stable_version_is_never_removed(
    serving: Path, trained: Path, run: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    again(serving)
    given: list[Any] = []
    monkeypatch.setattr(
        exporting, "export_saved_model", lambda *a: given.append(a[-1]) or serving / "2"
    )
    # `stable` is 1, 2 and the next one are newer.
    for asked, kept in ((2, 3), (5, 5), (None, None)):
        more = [] if asked is None else ["--keep", asked]
        assert run("export", trained, "--output", serving, *more)[0] == 0
        assert given[-1] == kept
    assert kit.kept(serving / "nowhere", 2) == 2


def test_what_was_changed_stays(serving: Path) -> None:
    (serving / "batching.txt").write_text("max_batch_size { value: 4 }\n")
    config = (serving / "models.config").read_text("utf-8").replace("latest", "all {} #")
    (serving / "models.config").write_text(config)
    kept = again(serving)
    assert [re.sub(r"^.*/", "", each) for each in kept] == [
        "batching.txt was changed since it was written, and stays as it is",
        "models.config was changed since it was written, and stays as it is; give `canary` the "
        "value 2 there",
    ]
    assert (serving / "batching.txt").read_text() == "max_batch_size { value: 4 }\n"
    assert (serving / "models.config").read_text() == config
    assert json.loads((serving / "kit.json").read_text("utf-8"))["version"] == 2
    assert "version 2" in (serving / "OPS.md").read_text("utf-8").splitlines()[0]


def test_monitoring_and_batching_are_lists_of_known_settings(once: Path) -> None:
    """As of `monitoring_config.proto` and `session_bundle_config.proto`, which no package has."""
    monitoring = settings(once / "monitoring.txt")
    assert monitoring == {
        "prometheus_config": {"enable": "true", "path": '"/monitoring/prometheus/metrics"'}
    }
    batching = settings(once / "batching.txt")
    assert set(batching) == {
        *("max_batch_size", "enable_large_batch_splitting", "max_execution_batch_size"),
        *("batch_timeout_micros", "num_batch_threads", "max_enqueued_batches"),
    }
    numbers = {name: int(v["value"]) for name, v in batching.items() if name[0] in "mn"}
    assert numbers["max_batch_size"] == 1024
    assert 8 <= numbers["max_execution_batch_size"] <= 32
    assert numbers["num_batch_threads"] >= 1 <= numbers["max_enqueued_batches"]
    assert 0 <= int(batching["batch_timeout_micros"]["value"]) <= 5000


def settings(path: Path) -> dict[str, Any]:
    """A text of protocol buffers as dictionaries."""
    tokens = re.findall(r"\"[^\"]*\"|[{}]|[^\s{}]+", re.sub("#.*", "", path.read_text("utf-8")))

    def message() -> dict[str, Any]:
        found: dict[str, Any] = {}
        while tokens and tokens[0] != "}":
            name = tokens.pop(0)
            if tokens[0] == "{":
                tokens.pop(0)
                found[name] = message()
                assert tokens.pop(0) == "}"
            else:
                found[name.removesuffix(":")] = tokens.pop(0)
        return found

    return message()


def test_the_container_is_given_files_that_are_there(once: Path) -> None:
    text = (once / "docker-compose.yml").read_text("utf-8")
    named = set(re.findall(r"=/models/reviews/([\w.]+)", text))
    assert named == {"models.config", "batching.txt", "monitoring.txt"}
    minor = ".".join(tf.__version__.split(".")[:2])
    assert f"image: tensorflow/serving:${{TF_SERVING_VERSION:-{minor}.0}}" in text
    assert "./:/models/reviews:ro" in text and "$name" not in text


def test_notes_list_operations_of_the_graph(once: Path) -> None:
    text = (once / "OPS.md").read_text("utf-8")
    graph = operations.read(once / "1")
    # By another way: all nodes of all functions, by the full reader.
    from tensorflow.core.protobuf import saved_model_pb2

    model = saved_model_pb2.SavedModel.FromString((once / "1" / "saved_model.pb").read_bytes())
    whole = model.meta_graphs[0].graph_def
    names = [n.op for n in whole.node] + [n.op for f in whole.library.function for n in f.node_def]
    assert sum(graph.tensorflow.values()) + sum(graph.texts.values()) == len(names)
    assert set(graph.texts) == {
        *("NormalizeUTF8", "RegexSplitWithOffsets", "TFText>RoundRobinTrim"),
        "WordpieceTokenizeWithOffsets",
    }
    for name, count in {**graph.texts, **graph.tensorflow}.items():
        assert names.count(name) == count
        assert f"| `{name}` | {count} |" in text
    assert "$" not in text
    sizes = [line.split("|")[1].strip() for line in text.splitlines() if " times | " in line]
    assert sizes[0] == "1" and sizes == [*("1", "8", "32")][: len(sizes)]


@pytest.mark.slow
def test_lists_of_words_are_served_without_batches(bert_encoder: Path, tmp_path: Path) -> None:
    sample = samples.ROWS["token-classification"]
    model = tt.build_model(str(bert_encoder), sample.task(), sample.head)
    kit.write(tt.export_saved_model(model, tmp_path / "tags", "float32"))
    assert "--enable_batching=true" not in (tmp_path / "tags" / "docker-compose.yml").read_text()
    # Parts of different widths can't be put together again.
    assert "enable_large_batch_splitting" not in settings(tmp_path / "tags" / "batching.txt")
    notes = (tmp_path / "tags" / "OPS.md").read_text("utf-8")
    assert "Batching is off" in notes and "as wide as the widest" in notes
    stubs("apis.prediction_service_pb2_grpc")
    import mini_server

    versions = {1: tmp_path / "tags" / "1"}
    with mini_server.served("tags", versions, {"stable": 1}) as (_, rpc, rest):
        for where in (["--grpc", "--port", rpc], ["--port", rest]):
            assert ask(tmp_path / "tags", *where, "--smoke")[0] == 0
            texts = ["good film", "a bad , bad film"]
            status, out, _ = ask(tmp_path / "tags", *where, "--signature", "words", *texts)
            answers = json.loads(out)
            assert status == 0 and answers["word_count"] == [2, 5]
            assert answers["word"][0] == ["good", "film", "", "", ""]
            expected = model.predict_text([text.split() for text in texts])
            for row, answer in enumerate(expected):
                found = answers["tag"][row][: answers["word_count"][row]]
                assert found == [word["tag"] for word in answer["words"]]


# Other people's files -----------------------------------------------------------------------------


def test_nobody_elses_file_is_replaced(
    trained: Path, tmp_path: Path, run: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "client.py").write_text("mine")
    status, _, err = run("export", trained, "--output", tmp_path)
    assert status == 2 and "this package didn't write" in err and "client.py" in err
    assert [p.name for p in tmp_path.iterdir()] == ["client.py"]
    status, _, err = run("export", trained, "--output", tmp_path / "x", "--name", "a/b")
    assert status == 2 and "Received: name='a/b'" in err
    assert not (tmp_path / "x").exists()


def test_a_kit_that_cannot_be_written_leaves_the_version(
    trained: Path, serving: Path, run: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(exporting, "export_saved_model", lambda *_: serving / "1")
    monkeypatch.setattr(kit.atomic, "files", full)
    status, out, err = run("export", trained, "--output", serving)
    assert status == 2 and "the version is whole" in err and "No space left" in err
    assert out == f"Written to {serving / '1'}\n"


# Clients ------------------------------------------------------------------------------------------


def client_of(serving: Path) -> Any:
    spec = importlib.util.spec_from_file_location("kit_client", serving / "client.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def ask(serving: Path, *arguments: Any) -> tuple[int, str, str]:
    """Runs the client: its exit status, standard output and standard error."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        status = client_of(serving).main([str(each) for each in arguments])
    return status, out.getvalue(), err.getvalue()


@pytest.fixture(scope="module")
def two(once: Path, trained: Path, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Two versions, with a server: `stable` is 1, `canary` is 2."""
    stubs("apis.prediction_service_pb2_grpc")
    import mini_server

    folder = shutil.copytree(once, tmp_path_factory.mktemp("two") / "reviews")
    again(folder)
    labels = dict(config_of(folder).version_labels)
    versions = {1: folder / "1", 2: folder / "2"}
    with mini_server.served("reviews", versions, labels) as (server, rpc, rest):
        yield folder, server, rpc, rest


@pytest.mark.parametrize("door", ["rest", "grpc"])
def test_the_client_is_answered_as_the_model_answers(two: Any, door: str, trained: Path) -> None:
    folder, server, rpc, rest = two
    where = ["--grpc", "--port", rpc] if door == "grpc" else ["--port", rest]
    status, out, _ = ask(folder, *where, "--smoke")
    assert status == 0, out
    server.asked.clear()
    texts = ["a good film", "", "naïve 🙂"]
    status, out, _ = ask(folder, *where, *texts)
    answers, model = json.loads(out), tt.load_model(trained)
    assert status == 0
    scores = [list(a["scores"].values()) for a in model.predict_text(texts)]
    np.testing.assert_allclose(answers["scores"], scores, atol=1e-5)
    assert answers["label"] == [a["label"] for a in model.predict_text(texts)]
    status, out, _ = ask(folder, *where, "--signature", "encode", "--label", "canary", *texts)
    # Over REST a single output has no name.
    found = json.loads(out)
    found = found if isinstance(found, list) else found["embedding"]
    np.testing.assert_allclose(found, model.encode_text(texts), atol=1e-5)
    assert server.asked == [(1, "serving_default"), (2, "encode")]


@pytest.mark.parametrize("door", ["rest", "grpc"])
def test_the_client_notices_another_answer(two: Any, door: str, tmp_path: Path) -> None:
    folder, _, rpc, rest = two
    where = ["--grpc", "--port", rpc] if door == "grpc" else ["--port", rest]
    for name in ("client.py", "kit.json"):
        shutil.copy(folder / name, tmp_path)
    state = json.loads((tmp_path / "kit.json").read_text("utf-8"))
    (asked,) = (each for each in state["asked"] if each["signature"] == "serving_default")
    asked["outputs"]["scores"][1][0] += 0.01
    (tmp_path / "kit.json").write_text(json.dumps(state))
    status, out, _ = ask(tmp_path, *where, "--smoke")
    assert status == 1 and "DIFFERS serving_default scores" in out
    for more, said in (
        (["--signature", "encode", "--version", "7", "x"], "client.py: "),
        (["--model", "none", "x"], "client.py: "),
        ([], "give texts in turn for text. Received: 0"),
    ):
        status, _, err = ask(tmp_path, *where, *more)
        assert status == 2 and said in err and "Traceback" not in err
    assert ask(tmp_path, "--port", 1, "x")[0] == 2
