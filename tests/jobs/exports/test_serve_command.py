"""The command `serve`: what it serves, what it refuses before any work, how a signal ends it."""

import builtins
import contextlib
import importlib
import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
import types
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import kept_models as kept
import pytest

import tfhub_transfer as tt
from tfhub_transfer.errors import InputError
from tfhub_transfer.jobs.exports import serving
from tfhub_transfer.serving.served import ServedModel
from tfhub_transfer.web import running
from tfhub_transfer.web.app import About
from tfhub_transfer.web.refusing import Refusal
from tfhub_transfer.web.rest import Target


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """What would be served; nothing is."""
    found: dict[str, Any] = {}

    @contextlib.contextmanager
    def answering(app: Any, listening: socket.socket, seconds: float) -> Iterator[Any]:
        found.update(app=app, address=running.address_of(listening), seconds=seconds)
        yield lambda: None

    def application(servable: Any, about: About, *given: Any) -> str:
        found.update(servable=servable, about=about, given=given)
        return "app"

    monkeypatch.setattr(running, "answering", answering)
    monkeypatch.setattr(serving, "application", application)
    return found


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What `train` wrote once, without an export."""
    return kept.unpack("run", tmp_path_factory.mktemp("run")).folder / "out"


def test_a_trained_folder_is_exported_and_its_report_gives_examples(
    trained: Path, asked: dict[str, Any], run: Any
) -> None:
    status, out, _ = run("serve", trained, "--port", "0", "--name", "reviews", "--timeout", "5")
    address = asked["address"]
    said = f"Serving {trained}: {address} in a browser, {address}/v1/models/reviews:predict\n"
    assert (status, out, asked["seconds"]) == (0, said, 5.0)
    assert asked["servable"].name == "reviews" and address.startswith("http://127.0.0.1:")
    rows = map(json.loads, (trained / "report" / "predictions.jsonl").read_text().splitlines())
    expected = [row["texts"] for row in rows][:6]
    assert asked["about"].examples["serving_default"] == expected
    assert asked["about"].hosts == {"localhost", "127.0.0.1", "::1"}
    answers = tt.load_model(trained / "model.keras").predict_text(["what a brilliant song"])
    # The temporary export has been loaded, and is gone.
    assert not asked["servable"]._served.folder.exists()
    found = asked["servable"]._served.predict(["what a brilliant song"])
    assert found["label"][0].decode() == answers[0]["label"]


def test_exports_are_served_as_they_are(
    tmp_path: Path, asked: dict[str, Any], run: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "serving" / "1").mkdir(parents=True)
    loaded: list[Path] = []
    servable = types.SimpleNamespace(signatures={}, name="model")
    monkeypatch.setattr(serving, "_loaded", lambda export, trust: loaded.append(export))
    monkeypatch.setattr(serving, "Servable", lambda *given: servable)
    for given in (tmp_path, tmp_path / "serving", tmp_path / "serving" / "1"):
        assert run("serve", given, "--port", "0")[0] == 0
    assert loaded == [tmp_path / "serving", tmp_path / "serving", tmp_path / "serving" / "1"]


def test_mistakes_are_said_before_any_work(
    tmp_path: Path, run: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def never(*given: Any) -> None:
        raise AssertionError("loaded all the same")

    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        monkeypatch.setattr(serving, "_loaded", never)
        for words, message in (
            (("--port", port), f"name another `--port`.*127.0.0.1:{port}"),
            (("--host", "no.such.host.invalid"), "`--host` is an address of this machine"),
            (("--host", "192.0.2.1"), "can't listen there"),
            (("--name", "a/b"), "`--name` stands in paths"),
            (("--port", "70000"), "--port"),
            (("--timeout", "0"), "--timeout"),
        ):
            status, _, err = run("serve", tmp_path, *words)
            assert status == 2 and re.search(message, err), (words, err)
    monkeypatch.undo()
    status, _, err = run("serve", tmp_path, "--port", "0")
    assert status == 2 and "no exported model there" in err


def test_without_the_extra_one_line_names_it(monkeypatch: pytest.MonkeyPatch) -> None:
    usual = builtins.__import__

    def absent(name: str, *given: Any, **more: Any) -> Any:
        if name.partition(".")[0] == "uvicorn":
            raise ImportError("no", name="uvicorn")
        return usual(name, *given, **more)

    with monkeypatch.context() as patch:
        patch.setattr(builtins, "__import__", absent)
        with pytest.raises(InputError, match=r"pip install 'tfhub-transfer\[serve\]'.*uvicorn"):
            importlib.reload(running)
    importlib.reload(running)


@pytest.mark.slow
def test_a_signal_lets_what_was_accepted_end(tmp_path: Path) -> None:
    folder = kept.unpack("multi-label", tmp_path / "x").folder
    command = [sys.executable, "-m", "tfhub_transfer", "serve", str(folder), "--port", "0"]
    expected = ServedModel(folder / "serving").predict(["good"])["scores"][0]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    with subprocess.Popen(command, env=os.environ, **pipes) as process:  # type: ignore[call-overload]
        line = process.stdout.readline()
        url = line.split(" in a browser, ")[1].strip()
        found: list[Any] = []

        def ask() -> None:
            body = json.dumps({"instances": ["good"] * 8000}).encode()
            with urllib.request.urlopen(url, body, 60) as answer:
                found.append(json.load(answer)["predictions"])

        threads = [threading.Thread(target=ask) for _ in range(2)]
        for thread in threads:
            thread.start()
        metrics = url.partition("/v1")[0] + "/metrics"
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            text = urllib.request.urlopen(metrics).read().decode()
            if "tfhub_transfer_waiting_rows 0.0" not in text.splitlines():
                break
        process.send_signal(signal.SIGTERM)
        for thread in threads:
            thread.join()
        assert process.wait(60) == 128 + signal.SIGTERM
        assert process.stderr.read().splitlines()[-1] == "tfhub-transfer: interrupted"
    assert [len(each) for each in found] == [8000, 8000]
    for each in found:
        assert each[-1]["scores"] == pytest.approx(expected.tolist(), abs=1e-6)


def test_a_kit_names_the_model_and_its_versions(
    trained: Path, asked: dict[str, Any], run: Any, tmp_path: Path
) -> None:
    served = tmp_path / "reviews"
    for _ in range(2):
        assert run("export", trained, "--output", served, "--precision", "float32")[0] == 0
    assert run("serve", served, "--port", "0")[0] == 0
    servable = asked["servable"]
    assert (servable.name, servable.version) == ("reviews", 2)
    servable.require(Target("reviews", "predict", label="canary"))
    with pytest.raises(Refusal, match=r"Specific\(reviews, 1\)"):
        servable.require(Target("reviews", "predict", label="stable"))
    with pytest.raises(Refusal, match="Unrecognized servable version label: newest"):
        servable.require(Target("reviews", "predict", label="newest"))
