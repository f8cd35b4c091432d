"""Handles to folders: packaged, local, cached, downloaded, converted, refused."""

import hashlib
import http.server
import io
import os
import subprocess
import sys
import tarfile
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tfhub_transfer.encoders import registry
from tfhub_transfer.errors import InputError
from tfhub_transfer.storage import downloads


def archive(folder: Path) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as tar:
        for path in sorted(folder.rglob("*")):
            tar.add(path, arcname=str(path.relative_to(folder)), recursive=False)
    return buffer.getvalue()


def evil_archive(name: str) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as tar:
        member = tarfile.TarInfo(name)
        member.size = 4
        tar.addfile(member, io.BytesIO(b"evil"))
    return buffer.getvalue()


class Server:
    """A loopback server: path to answer `(status, headers, body)`; it counts what it was asked."""

    def __init__(self) -> None:
        self.answers: dict[str, Any] = {}
        self.asked: list[str] = []
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                outer.asked.append(self.path)
                given = outer.answers.get(self.path.split("?")[0], (404, {}, b""))
                status, headers, body = given(self) if callable(given) else given
                self.send_response(status)
                for key, value in {"Content-Length": str(len(body)), **headers}.items():
                    self.send_header(key, value)
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *args: Any) -> None:
                pass

        self._http = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._http.server_address[1]}"
        self._thread = threading.Thread(target=self._http.serve_forever, daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._http.shutdown()
        self._http.server_close()
        self._thread.join()


@pytest.fixture
def server() -> Iterator[Server]:
    made = Server()
    yield made
    made.close()


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("TFHUB_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setenv("KAGGLEHUB_CACHE", str(tmp_path / "kaggle"))
    return tmp_path / "cache"


def test_known_encoders_are_many_and_described() -> None:
    known = registry.known_encoders()
    names = [encoder.name for encoder in known]
    assert len(set(names)) == len(names)
    assert len({encoder.handle for encoder in known}) == len(known)
    assert sum(name.startswith("small_bert") for name in names) == 24
    for family in (
        "nnlm-",
        "gnews-swivel-20dim",
        "bert_multi",
        "experts_",
        "albert_en",
        "electra",
        "mobilebert",
        "LaBSE",
        "universal-sentence-encoder",
    ):
        assert any(name.startswith(family) for name in names), family
    assert all(e.preprocessor for e in known if e.dialect == "bert" and not e.packaged)
    assert all(e.has_token_vectors == (e.dialect == "bert") for e in known if not e.packaged)


@pytest.mark.parametrize(
    "handle",
    [
        "small_bert_L-4_H-512_A-8",
        "https://tfhub.dev/tensorflow/small_bert/bert_en_uncased_L-4_H-512_A-8/2",
        "https://tfhub.dev/tensorflow/small_bert/bert_en_uncased_L-4_H-512_A-8/1",
        "https://tfhub.dev/tensorflow/small_bert/bert_en_uncased_L-4_H-512_A-8",
    ],
)
def test_any_spelling_is_described(handle: str) -> None:
    found = registry.describe(handle)
    assert found is not None
    assert (found.dimension, found.layers) == (512, 4)


def test_token_vectors_are_required_before_any_download(server: Server) -> None:
    registry.require_token_vectors("small_bert_L-2_H-128_A-2", "tagging")
    registry.require_token_vectors(f"{server.url}/unknown/1", "tagging")
    with pytest.raises(InputError, match="tagging with this head reads token vectors, and nnlm-en"):
        registry.require_token_vectors("https://tfhub.dev/google/nnlm-en-dim50/2", "tagging")
    assert server.asked == []


def test_a_download_is_cached_as_tensorflow_hub_would(
    server: Server, cache: Path, text_encoder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    server.answers["/encoder/1"] = (200, {}, archive(text_encoder))
    handle = f"{server.url}/encoder/1"
    folder = registry.resolve(handle)
    assert folder == cache / hashlib.sha1(handle.encode()).hexdigest()
    graph = "saved_model.pb"
    assert (folder / graph).read_bytes() == (text_encoder / graph).read_bytes()
    assert server.asked == ["/encoder/1?tf-hub-format=compressed"]
    assert registry.resolve(handle) == folder
    assert len(server.asked) == 1
    assert f"Downloading {handle}" in capsys.readouterr().err
    assert sorted(p.name for p in cache.iterdir()) == [folder.name, f"{folder.name}.descriptor.txt"]


def test_a_cache_filled_by_tensorflow_hub_is_a_hit(cache: Path, text_encoder: Path) -> None:
    handle = "https://tfhub.dev/google/nnlm-en-dim50/2"
    folder = cache / hashlib.sha1(handle.encode()).hexdigest()
    folder.parent.mkdir()
    folder.symlink_to(text_encoder)
    assert registry.resolve(handle) == folder
    assert registry.resolve("nnlm-en-dim50") == folder


def test_redirects_are_followed(server: Server, cache: Path, text_encoder: Path) -> None:
    server.answers["/old/1"] = (302, {"Location": f"{server.url}/new/1"}, b"")
    server.answers["/new/1"] = (200, {}, archive(text_encoder))
    assert (registry.resolve(f"{server.url}/old/1") / "saved_model.pb").exists()


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"not an archive", "isn't a whole SavedModel archive"),
        ("truncated", "isn't a whole SavedModel archive"),
        (evil_archive("../evil.txt"), "holds a path outside of its folder"),
        ("absolute", "isn't a SavedModel:|outside of its folder"),
        ("empty", "archive is empty"),
        (404, "server has no such encoder .404"),
    ],
)
def test_a_bad_download_leaves_nothing(
    body: Any, message: str, server: Server, cache: Path, text_encoder: Path, tmp_path: Path
) -> None:
    if body == "truncated":
        body = archive(text_encoder)
        body = body[: len(body) // 2]
    if body == "empty":
        (tmp_path / "none").mkdir()
        body = archive(tmp_path / "none")
    if body == "absolute":
        body = evil_archive(str(tmp_path / "evil.txt"))
    if body != 404:
        server.answers["/bad/1"] = (200, {}, body)
    with pytest.raises(InputError, match=message) as caught:
        registry.resolve(f"{server.url}/bad/1")
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "evil.txt").exists()
    assert not (cache / "evil.txt").exists()
    # What was unpacked inside of its folder, from an absolute path made relative, is no SavedModel.
    left = [p for p in cache.iterdir() if not p.name.endswith(".descriptor.txt")]
    assert [p.name for p in left if p.name.startswith(".")] == []
    assert not left or message.startswith("isn't a SavedModel:")


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(downloads, "_FIRST_PAUSE_SECONDS", 0.01)


def test_a_connection_that_breaks_off_is_noticed(
    server: Server, cache: Path, text_encoder: Path, quick: None
) -> None:
    body = archive(text_encoder)
    size = len(body) + 500
    server.answers["/broken/1"] = (200, {"Content-Length": str(size)}, body)
    message = f"cut after {len(body)} of {size} bytes; tried 5 times"
    with pytest.raises(InputError, match=message) as caught:
        registry.resolve(f"{server.url}/broken/1")
    assert "\n" not in str(caught.value)
    assert len(server.asked) == 5
    assert list(cache.iterdir()) == []


class Cutting:
    """A file that breaks off after a third at first; it may know how to go on from a place."""

    def __init__(self, body: bytes, version: str | None, ranges: bool = True) -> None:
        self.body, self.version, self.ranges = body, version, ranges
        self.begun: list[int] = []

    def __call__(self, request: Any) -> tuple[int, dict[str, str], bytes]:
        begin = 0
        asked = request.headers.get("Range")
        if asked and self.ranges and request.headers.get("If-Range") == self.version:
            begin = int(asked.removeprefix("bytes=").rstrip("-"))
        whole = len(self.body) - begin
        headers = {"Content-Length": str(whole)}
        if self.version:
            headers["ETag"] = self.version
        if begin:
            headers["Content-Range"] = f"bytes {begin}-{len(self.body) - 1}/{len(self.body)}"
        self.begun.append(begin)
        sent = whole if len(self.begun) == 3 else len(self.body) // 3
        return 206 if begin else 200, headers, self.body[begin : begin + sent]


@pytest.mark.parametrize(
    ("version", "ranges", "begun"),
    [('"v1"', True, [0, 1, 2]), ('"v1"', False, [0, 0, 0]), (None, True, [0, 0, 0])],
)
def test_a_cut_transfer_goes_on_where_it_stopped(
    version: str | None,
    ranges: bool,
    begun: list[int],
    server: Server,
    cache: Path,
    text_encoder: Path,
    quick: None,
) -> None:
    server.answers["/cut/1"] = cutting = Cutting(archive(text_encoder), version, ranges)
    folder = registry.resolve(f"{server.url}/cut/1")
    third = len(cutting.body) // 3
    assert cutting.begun == [third * times for times in begun]
    for path in text_encoder.rglob("*.pb"):
        assert (folder / path.relative_to(text_encoder)).read_bytes() == path.read_bytes()


def test_another_version_of_a_file_is_not_joined_to_the_first(
    server: Server, cache: Path, text_encoder: Path, quick: None
) -> None:
    cutting = Cutting(archive(text_encoder), '"v1"')

    def answer(request: Any) -> Any:
        given = cutting(request)
        cutting.version = f'"v{len(cutting.begun) + 1}"'
        return given

    server.answers["/cut/1"] = answer
    registry.resolve(f"{server.url}/cut/1")
    assert cutting.begun == [0, 0, 0]


@pytest.mark.parametrize("after", [0, 100])
def test_a_stalled_connection_says_so(
    after: int,
    server: Server,
    cache: Path,
    text_encoder: Path,
    quick: None,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(downloads, "TIMEOUT_SECONDS", 0.2)
    monkeypatch.setattr(downloads, "_ATTEMPTS", 2)
    stop = threading.Event()

    def stall(request: Any) -> Any:
        if after:
            request.send_response(200)
            request.send_header("Content-Length", "5000")
            request.end_headers()
            request.wfile.write(b"x" * after)
        stop.wait(10)
        raise ConnectionError

    server.answers["/slow/1"] = stall
    try:
        with pytest.raises(InputError, match="nothing came for .* s") as caught:
            registry.resolve(f"{server.url}/slow/1")
    finally:
        stop.set()
    assert "\n" not in str(caught.value)
    assert list(cache.iterdir()) == []


def test_no_network_is_one_line_with_two_ways_out(cache: Path) -> None:
    message = "can't be downloaded .*the packaged encoder .*or give the folder"
    with pytest.raises(InputError, match=message):
        registry.resolve("http://127.0.0.1:9/encoder/1")


FETCH = "import sys; from tfhub_transfer import registry; print(registry.resolve(sys.argv[1]))"


def test_two_processes_at_once_download_once(
    server: Server, cache: Path, text_encoder: Path
) -> None:
    server.answers["/encoder/1"] = (200, {}, archive(text_encoder))
    command = [sys.executable, "-c", FETCH, f"{server.url}/encoder/1"]
    jobs = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(3)]
    found = {job.communicate()[0].strip() for job in jobs}
    assert [job.returncode for job in jobs] == [0, 0, 0]
    assert len(found) == 1
    assert len(server.asked) == 1


HOLD = """
import os, pathlib, sys
from tfhub_transfer.storage import downloads
with downloads.one_at_a_time(pathlib.Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""


@pytest.mark.parametrize("end", ["kill", "leave"])
def test_a_lock_lives_as_long_as_its_owner(
    end: str, server: Server, cache: Path, text_encoder: Path
) -> None:
    server.answers["/encoder/1"] = (200, {}, archive(text_encoder))
    handle = f"{server.url}/encoder/1"
    cache.mkdir()
    target = cache / hashlib.sha1(handle.encode()).hexdigest()
    command = [sys.executable, "-c", HOLD, str(target)]
    owner = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert owner.stdout is not None and owner.stdin is not None
    assert owner.stdout.readline() == b"held\n"
    [lock] = cache.iterdir()
    os.utime(lock, (1, 1))  # however old it is
    found: list[Path] = []
    waiting = threading.Thread(target=lambda: found.append(registry.resolve(handle)))
    waiting.start()
    waiting.join(0.5)
    assert waiting.is_alive() and server.asked == []
    with owner:
        owner.kill() if end == "kill" else owner.stdin.close()
    waiting.join(30)
    assert found == [target]
    assert sorted(p.name for p in cache.iterdir()) == [target.name, f"{target.name}.descriptor.txt"]


@pytest.mark.parametrize(
    "handle",
    [
        "kaggle:google/nnlm/tensorFlow2/en-dim50/1",
        "https://www.kaggle.com/models/google/nnlm/tensorFlow2/en-dim50/1",
        "https://www.kaggle.com/models/google/nnlm/frameworks/tensorFlow2/variations/en-dim50/"
        "versions/1",
    ],
)
def test_kaggle_cache_works_without_its_client(
    handle: str, tmp_path: Path, cache: Path, text_encoder: Path
) -> None:
    folder = tmp_path / "kaggle/models/google/nnlm/tensorFlow2/en-dim50/1"
    folder.parent.mkdir(parents=True)
    folder.symlink_to(text_encoder)
    folder.with_name("1.complete").touch()
    assert registry.resolve(handle) == folder


@pytest.mark.parametrize(
    ("whole", "begun", "found"), [((3,), (), 3), ((9, 10, 2), (11,), 10), ((), (4,), None)]
)
def test_kaggle_without_a_version_takes_the_newest_that_is_there(
    whole: tuple[int, ...],
    begun: tuple[int, ...],
    found: int | None,
    tmp_path: Path,
    cache: Path,
    text_encoder: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "kagglehub", None)
    place = tmp_path / "kaggle/models/google/nnlm/tensorFlow2/en-dim50"
    place.mkdir(parents=True)
    for version in (*whole, *begun):
        (place / str(version)).symlink_to(text_encoder)
    for version in whole:
        (place / f"{version}.complete").touch()
    (place / "12.complete").touch()  # what it stood for was removed
    (place / ".complete").mkdir()  # for single files
    for handle in (
        "kaggle:google/nnlm/tensorFlow2/en-dim50",
        "https://www.kaggle.com/models/google/nnlm/frameworks/tensorFlow2/variations/en-dim50",
    ):
        if found is None:
            with pytest.raises(InputError, match="needs Kaggle's client"):
                registry.resolve(handle)
        else:
            assert registry.resolve(handle) == registry.find(handle) == place / str(found)


def test_kaggle_without_client_says_what_to_install(
    cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "kagglehub", None)
    with pytest.raises(InputError, match=r"pip install 'tfhub-transfer\[kaggle\]'"):
        registry.resolve("kaggle:google/nnlm/tensorFlow2/en-dim50/1")


def test_folders(tmp_path: Path, text_encoder: Path) -> None:
    assert registry.resolve(str(text_encoder)) == text_encoder
    with pytest.raises(InputError, match="isn't a SavedModel: it has no saved_model.pb"):
        registry.resolve(str(tmp_path))
    (tmp_path / "file").write_text("x")
    with pytest.raises(InputError, match="isn't a SavedModel: it is a file"):
        registry.resolve(str(tmp_path / "file"))


def test_a_hugging_face_folder_is_converted_once(
    tmp_path: Path, cache: Path, text_encoder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "hf").mkdir()
    (tmp_path / "hf" / "config.json").write_text("{}")
    calls = []

    def convert(source: Path, output: Path) -> None:
        calls.append(source)
        output.mkdir(exist_ok=True)
        (output / "saved_model.pb").write_bytes(b"made")

    monkeypatch.setitem(registry._converters, "huggingface", convert)
    first = registry.resolve(str(tmp_path / "hf"))
    assert registry.resolve(str(tmp_path / "hf")) == first
    assert len(calls) == 1
    assert list(cache.iterdir()) == [first]
    (tmp_path / "hf" / "config.json").write_text('{"changed": 1}')
    assert registry.resolve(str(tmp_path / "hf")) != first


def test_unknown_names_get_suggestions() -> None:
    with pytest.raises(InputError, match="did you mean .*small_bert_L-2_H-128_A-2"):
        registry.resolve("small_bert_L-2_H-128")


@pytest.mark.slow
def test_preprocessor_beside_the_encoder_wins(bert_with_preprocessor: Path) -> None:
    found = registry.preprocessor_path(str(bert_with_preprocessor), bert_with_preprocessor)
    assert found == bert_with_preprocessor / "preprocessor"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[" * 100_000, "readable JSON"),
        ("{}", "must say an encoder's `dialect` and `dimension`"),
        ('{"dialect": "bert", "dimension": "384"}', "'dimension' must be of type int"),
        ('{"dialect": "bert", "dimension": 4, "outputs": "all"}', "'outputs' must be of type list"),
    ],
)
def test_a_folder_whose_information_is_damaged(text: str, message: str, tmp_path: Path) -> None:
    (tmp_path / registry.INFORMATION).write_text(text)
    with pytest.raises(InputError, match=message) as caught:
        registry.describe(str(tmp_path))
    assert str(tmp_path) in str(caught.value) and "\n" not in str(caught.value)


def test_what_is_at_hand_is_found_without_asking(
    server: Server, cache: Path, text_encoder: Path, tmp_path: Path
) -> None:
    server.answers["/known/1"] = (200, {}, archive(text_encoder))
    handle = f"{server.url}/known/1"
    assert registry.find(handle) is None and server.asked == []
    folder = registry.resolve(handle)
    asked = list(server.asked)
    assert registry.find(handle) == folder and server.asked == asked
    assert registry.find(str(text_encoder)) == text_encoder
    assert registry.find("static-minilm-256") == registry.resolve("static-minilm-256")
    assert registry.find("no such name") is None
    (tmp_path / "config.json").write_text("{}")  # a Hugging Face folder, not converted yet
    assert registry.find(str(tmp_path)) is None


def test_a_file_asks_no_server(
    server: Server, cache: Path, text_encoder: Path, tmp_path: Path
) -> None:
    import tfhub_transfer as tt

    server.answers["/known/1"] = (200, {}, archive(text_encoder))
    model = tt.build_model(str(text_encoder), tt.tasks.Classification(["a", "b"]))
    model.encoder.handle = f"{server.url}/known/1"
    model.save(tmp_path / "model.keras")
    answers = model.predict_text(["good"])
    assert tt.load_model(tmp_path / "model.keras").predict_text(["good"]) == answers
    assert tt.Encoder.from_config(model.encoder.get_config()).handle == model.encoder.handle
    assert server.asked == []
