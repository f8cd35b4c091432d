"""The doors over real exports: equal to what the export answers, bounded, closed to other sites."""

import json
import re
import socket
import tarfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import numpy as np
import pytest
from web_client import Client, client

import tfhub_transfer as tt
from tfhub_transfer.serving.served import ServedModel
from tfhub_transfer.web.app import About, Limits, hosts_of
from tfhub_transfer.web.batching import Bounds
from tfhub_transfer.web.rest import Signature
from tfhub_transfer.web.servable import Servable

KEPT = Path(__file__).resolve().parents[1] / "kept"
TEXTS = ["a good film", "bad", "", "the film was bad. good acting! 🙂 " * 3, "<b>good</b>"]
MODEL = "/v1/models/m"
PREDICT = f"{MODEL}:predict"


@pytest.fixture(scope="module")
def export(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], ServedModel]:
    """An export that is kept, by the name of its task."""
    made: dict[str, ServedModel] = {}

    def find(name: str) -> ServedModel:
        if name not in made:
            folder = tmp_path_factory.mktemp(name)
            with tarfile.open(KEPT / f"{name}.tar.xz") as files:
                files.extractall(folder, filter="data")
            made[name] = ServedModel(folder / "serving")
        return made[name]

    return find


@pytest.fixture(scope="module")
def several(export: Callable[[str], ServedModel]) -> Iterator[Client]:
    """Of classes, of tags and of questions."""
    with client(export("multi-task")) as found:
        yield found


def column(found: Any) -> Any:
    return [each.decode() for each in found] if found.dtype == object else found.tolist()


def read_as(expected: dict[str, np.ndarray], said: Any) -> dict[str, np.ndarray]:
    """What a body says, in the types of the answer that it is; one output comes without name."""
    named = said if len(expected) > 1 else {next(iter(expected)): said}
    assert named.keys() == expected.keys()
    found = {}
    for name, values in expected.items():
        given = np.array(named[name], values.dtype)
        strings = values.dtype == object and given.size
        found[name] = np.vectorize(str.encode, [object])(given) if strings else given
    return found


RARE = [pytest.mark.slow, pytest.mark.exhaustive]
KINDS = [
    ("multi-label", "serving_default"),
    pytest.param("ordinal-regression", "serving_default", marks=RARE),
    pytest.param("similarity", "serving_default", marks=RARE),
    pytest.param("extractive-summarization", "serving_default", marks=pytest.mark.slow),
    pytest.param("multi-task", "classification", marks=RARE),
    ("multi-task", "token"),
    ("multi-task", "question"),
    ("multi-task", "encode"),
]


@pytest.mark.parametrize(("name", "signature"), KINDS, ids=str)
def test_rest_answers_as_the_export(
    name: str, signature: str, export: Callable[[str], ServedModel]
) -> None:
    served = export(name)
    names = served.inputs_of(signature)
    rows = [dict(zip(names, (text, TEXTS[-1 - row]))) for row, text in enumerate(TEXTS)]
    columns = {n: [row[n] for row in rows] for n in names}
    expected = served.answer(signature, columns)
    with client(served) as web:

        def ask(**how: Any) -> Any:
            found = web.post(PREDICT, {"signature_name": signature, **how}).json()
            return found.get("outputs") or found["predictions"]

        by_column, by_row = ask(inputs=columns), ask(instances=rows)
        for key, values in read_as(expected, by_column).items():
            assert values.shape == expected[key].shape
            assert values.tolist() == expected[key].tolist()
            named = by_column if len(expected) == 1 else by_column[key]
            assert [row if len(expected) == 1 else row[key] for row in by_row] == named
        # Each alone, as the export answers it alone: as wide, and equal but for rounding.
        for row in rows:
            alone = {n: [row[n]] for n in names}
            mine, own = ask(inputs=alone), served.answer(signature, alone)
            for key, values in read_as(own, mine).items():
                assert values.shape == own[key].shape
                if values.dtype.kind == "f":
                    np.testing.assert_allclose(values, own[key], rtol=1e-6)
                else:
                    assert values.tolist() == own[key].tolist()


def test_what_trained_models_say_is_what_rest_says(text_encoder: Path, tmp_path: Path) -> None:
    model = tt.build_model(str(text_encoder), tt.tasks.Classification(["bad", "good"]))
    served = ServedModel(tt.export_saved_model(model, tmp_path / "3"))
    expected = model.predict_text(TEXTS)
    examples = [{"text": text} for text in TEXTS]
    with client(served) as web:
        found = web.post(PREDICT, {"instances": TEXTS}).json()["predictions"]
        asked = {"signature_name": "classify", "examples": examples}
        classes = web.post(f"{MODEL}/versions/1:classify", asked).json()["results"]
        # A text of a context stands for those that are missing.
        asked = {**asked, "context": {"text": TEXTS[0]}, "examples": [{}]}
        (of_context,) = web.post(f"{MODEL}:classify", asked).json()["results"]
        missing = web.post(f"{MODEL}:classify", {**asked, "context": {}})
        default = web.post(f"{MODEL}:classify", {"examples": examples})
    for mine, pairs, answer in zip(found, classes, expected):
        assert mine["label"] == answer["label"]
        np.testing.assert_allclose(mine["scores"], list(answer["scores"].values()), atol=1e-6)
        assert dict(map(tuple, pairs)) == pytest.approx(answer["scores"], abs=1e-6)
    assert of_context == classes[0]
    assert missing.status == 400 and "text" in missing.error and "\n" not in missing.error
    assert default.status == 400 and "Was: tensorflow/serving/predict" in default.error


def test_numbers_are_regressed(text_encoder: Path, tmp_path: Path) -> None:
    model = tt.build_model(str(text_encoder), tt.tasks.Regression(2.0, 3.0))
    with client(ServedModel(tt.export_saved_model(model, tmp_path))) as web:
        asked = {"signature_name": "regress", "examples": [{"text": [text]} for text in TEXTS]}
        found = web.post(f"{MODEL}:regress", asked).json()["results"]
    expected = [answer["score"] for answer in model.predict_text(TEXTS)]
    assert found == pytest.approx(expected, abs=1e-5)


def test_how_long_each_answer_may_be_is_a_number(bert_encoder: Path, tmp_path: Path) -> None:
    """Of more rows than are computed at once, as the export answers them all together."""
    task = tt.tasks.Translation(decoder_width=16, search={"beams": 1}).adapt(["ein Film", "gut"])
    model = tt.build_model(str(bert_encoder), task, sequence_length=16)
    served = ServedModel(tt.export_saved_model(model, tmp_path / "1"))
    texts = ["film " * (row % 5) for row in range(20)]
    columns = {"text": texts, "max_length": [row % 4 for row in range(20)]}
    expected = [text.decode() for text in served.answer("max_length", columns)["text"]]
    assert len({*expected}) > 2
    rows = [dict(zip(columns, row)) for row in zip(*columns.values())]
    with client(served) as web:
        for asked, place in (
            ({"inputs": columns}, "outputs"),
            ({"instances": rows}, "predictions"),
        ):
            found = web.post(PREDICT, {"signature_name": "max_length", **asked}).json()[place]
            given = found["text"] if place == "outputs" else [row["text"] for row in found]
            assert given == expected
        odd = web.post(PREDICT, {"signature_name": "max_length", "instances": rows[:1] * 2})
        assert odd.json()["predictions"][0] == found[0]
        odd = web.post(PREDICT, {"signature_name": "max_length", "instances": texts[:1]})
        assert odd.status == 400 and "list of objects as multiple input tensors" in odd.error


def test_words_of_several_clients_are_padded_apart(several: Client) -> None:
    rows = [["good", "film"], ["the", "film", "was", "bad"]]
    asked = {"signature_name": "token_words"}
    alone = [several.post(PREDICT, {**asked, "inputs": [row]}).json() for row in rows]
    found: dict[int, Any] = {}

    def ask(place: int) -> None:
        found[place] = several.post(PREDICT, {**asked, "inputs": [rows[place]]}).json()

    threads = [threading.Thread(target=ask, args=(place,)) for place in (0, 1)]
    [thread.start() for thread in threads]
    [thread.join() for thread in threads]
    for place, each in enumerate(alone):
        assert each["outputs"]["word"] == [rows[place]] == found[place]["outputs"]["word"]
        assert found[place]["outputs"]["tag"] == each["outputs"]["tag"]


def test_status_and_metadata_are_tf_servings(several: Client) -> None:
    fine = {"error_code": "OK", "error_message": ""}
    told = {"version": "1", "state": "AVAILABLE", "status": fine}
    for path in (MODEL, f"{MODEL}/versions/1"):
        assert several.get(path).json() == {"model_version_status": [told]}
    found = several.get(f"{MODEL}/metadata").json()
    assert found["model_spec"] == {"name": "m", "signature_name": "", "version": "1"}
    signature = found["metadata"]["signature_def"]["signature_def"]["question"]
    assert signature["method_name"] == "tensorflow/serving/predict"
    assert signature["inputs"].keys() == {"question", "context"}
    assert signature["inputs"]["context"]["dtype"] == "DT_STRING"
    dim = signature["inputs"]["context"]["tensor_shape"]["dim"]
    assert dim == [{"size": "-1", "name": ""}]


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "message"),
    [
        ("POST", "/v1/models/x:predict", {}, 404, "Servable not found for request: Latest(x)"),
        ("POST", f"{MODEL}/versions/2:predict", {}, 404, "Servable not found for request: Spec"),
        ("GET", "/v1/models/x", None, 404, "Could not find any versions of model x"),
        ("GET", f"{MODEL}/versions/7", None, 404, "versions of model m with version 7"),
        ("GET", f"{MODEL}/labels/stable", None, 400, "Unrecognized servable version label: stable"),
        ("POST", PREDICT, {"instances": ["a"]}, 400, 'name: "serving_default" not found'),
        ("POST", PREDICT, {"signature_name": "x", "inputs": []}, 400, 'name: "x" not found'),
        ("POST", f"{MODEL}:classify", {"signature_name": "token"}, 400, "Expected classify"),
        ("POST", f"{MODEL}:regress", {"signature_name": "token"}, 400, "Expected regress"),
        ("DELETE", PREDICT, None, 400, "Malformed request: DELETE"),
        ("GET", "/v1/else", None, 400, "Malformed request: GET /v1/else"),
        ("GET", "/else", None, 404, "Not found: /else"),
        ("GET", "/%2e%2e/%2e%2e/etc/passwd", None, 404, "Not found"),
        ("GET", "/page/page.html", None, 404, "Not found"),
        ("POST", "/rows?signature=x&name=a.csv", {}, 400, "not found in signature def"),
        ("POST", "/rows?signature=token&name=a.parquet", {}, 400, "expected a file whose name"),
    ],
)
def test_errors_are_json_with_tf_servings_codes(
    method: str, path: str, body: Any, status: int, message: str, several: Client
) -> None:
    found = several.ask(method, path, json.dumps(body).encode())
    assert found.status == status
    assert message in found.error and found.headers["content-type"] == "application/json"


class Slow(Servable):
    """A model that waits until it is let go."""

    go = threading.Event()

    def answer(self, signature: Signature, inputs: Any) -> dict[str, np.ndarray]:
        """Late."""
        self.go.wait(20)
        return {"x": np.zeros(len(next(iter(inputs.values()))), np.float32)}


def test_body_rows_time_and_queue_are_bounded(export: Callable[[str], ServedModel]) -> None:
    servable = Slow(export("multi-label"), "m")
    limits = Limits(body=2000, rows=50, seconds=0.4)
    with client(servable, limits=limits, bounds=Bounds(batch=2, waiting=30)) as web:
        found = web.post(PREDICT, {"instances": ["x" * 2000]})
        assert found.status == 413 and "may hold 2000 bytes" in found.error

        def chunks() -> Iterator[bytes]:
            yield from [b"x" * 500] * 10

        assert web.ask("POST", PREDICT, chunks()).status == 413
        found = web.post(PREDICT, {"instances": ["x"] * 51})
        assert found.status == 413 and "may hold 50 rows" in found.error
        found = web.post(PREDICT, b"x", **{"Content-Encoding": "gzip"})
        assert found.status == 415
        codes: list[tuple[int, str | None]] = []

        def ask() -> None:
            got = web.post(PREDICT, {"instances": ["x"] * 20})
            codes.append((got.status, got.headers.get("retry-after")))

        threads = [threading.Thread(target=ask) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert sorted(set(codes), key=str) == [(503, "1"), (504, None)]
        servable.go.set()
        # Nothing of it is left in the way.
        deadline = time.monotonic() + 10
        while web.post(PREDICT, {"instances": ["x"]}).status != 200:
            assert time.monotonic() < deadline
        assert "tfhub_transfer_waiting_rows 0.0" in web.get("/metrics").text


def test_a_fault_of_ours_is_500_and_no_traceback_for_the_client(
    export: Callable[[str], ServedModel],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def broken(self: Any, *given: Any) -> Any:
        raise ZeroDivisionError("no")

    monkeypatch.setattr(Servable, "answer", broken)
    with client(export("multi-label")) as web:
        found = web.post(PREDICT, {"instances": ["x"]})
        assert (found.status, found.json()) == (500, {"error": "ZeroDivisionError: no"})
    assert "Traceback" in capsys.readouterr().err


def test_other_sites_are_kept_out(export: Callable[[str], ServedModel]) -> None:
    served = export("multi-label")
    assert hosts_of("0.0.0.0") == hosts_of("::") == hosts_of("example.org") == frozenset()
    with client(served, About(hosts=hosts_of("127.0.0.1"))) as web:
        for host in ("localhost:8501", "127.0.0.1", "[::1]:1"):
            assert web.get("/healthz", Host=host).status == 200
        with socket.create_connection(web.address.removeprefix("http://").split(":")) as line:
            line.sendall(b"GET /healthz HTTP/1.0\r\n\r\n")  # which had no names yet
            assert b" 200 " in line.recv(100)
        for host in ("evil.example", "evil.example:8501", "localhost.evil.example", "[", ""):
            assert web.get("/healthz", Host=host).status == 403
        asked = {"instances": ["x"]}
        for origin, code in (
            (web.address, 200),
            ("http://evil.example", 403),
            ("null", 403),
        ):
            assert web.post(PREDICT, asked, Origin=origin).status == code
        # Words of HTTP are the same in capitals.
        for coding, code in (("Identity", 200), ("gzip", 415)):
            assert web.post(PREDICT, asked, **{"Content-Encoding": coding}).status == code
    with client(served, About(hosts=hosts_of("0.0.0.0"))) as web:
        assert web.get("/healthz", Host="any.example").status == 200


def test_the_page_and_its_parts_come_with_a_policy(several: Client) -> None:
    for path, kind in (("/", "text/html"), ("/page.css", "text/css"), ("/page.js", "text/java")):
        found = several.get(path)
        assert found.status == 200 and found.headers["content-type"].startswith(kind)
        policy = found.headers["content-security-policy"]
        assert policy.startswith("default-src 'none'; script-src 'self'")
        assert "unsafe" not in policy
        assert found.headers["x-content-type-options"] == "nosniff"
        # Nothing comes from elsewhere, and nothing is made of strings.
        assert not any(
            w in found.text for w in ("//cdn", "https://", "innerHTML", "eval(", "style=")
        )
    told = several.get("/about.json").json()
    assert [task["signature"] for task in told["tasks"]] == [
        *("classification", "question", "token", "encode")
    ]
    assert told["tasks"][0]["classes"] == ["negative", "positive"]
    assert told["tasks"][1]["inputs"] == ["question", "context"]


def test_metrics_count_requests_and_batches(export: Callable[[str], ServedModel]) -> None:
    with client(export("multi-label")) as web:
        for texts in (["a"], ["b", "c"]):
            web.post(PREDICT, {"instances": texts})
        web.post(PREDICT, b"x")
        found = web.get("/metrics")
    assert found.headers["content-type"].startswith("text/plain")
    for line in (
        'tfhub_transfer_requests_total{code="200",verb="predict"} 2.0',
        'tfhub_transfer_requests_total{code="400",verb="predict"} 1.0',
        'tfhub_transfer_request_seconds_count{verb="predict"} 3.0',
        "tfhub_transfer_batch_rows_sum 3.0",
        "tfhub_transfer_batch_rows_count 2.0",
        "tfhub_transfer_waiting_rows 0.0",
    ):
        assert line in found.text.splitlines()


FILES: list[tuple[str, bytes, str, list[list[str]], list[str]]] = [
    (
        "a.csv",
        b'id,text\r\n1,"good, bad"\r\n2,film\r\n',
        "token",
        [["good, bad"], ["film"]],
        ["id", "text"],
    ),
    ("a.txt", "good\nfilm 🙂\n".encode(), "token", [["good"], ["film 🙂"]], ["text"]),
    ("../../a.JSONL", b'{"text": "good", "n": 1}\n', "classification", [["good"]], ["text", "n"]),
    (
        "a.tsv",
        b"question\tcontext\nWho?\tAnna.\n",
        "question",
        [["Who?", "Anna."]],
        ["question", "context"],
    ),
    ("a.txt", b"Who?\tAnna.\n", "question", [["Who?", "Anna."]], ["question", "context"]),
]


@pytest.mark.parametrize(("name", "content", "signature", "texts", "columns"), FILES)
def test_files_are_read_as_by_predict(
    name: str,
    content: bytes,
    signature: str,
    texts: list[list[str]],
    columns: list[str],
    several: Client,
) -> None:
    given = {"signature": signature, "name": name}
    found = several.post(f"/rows?{urlencode(given)}", content).json()
    assert (found["texts"], found["columns"]) == (texts, columns)
    assert [len(row) for row in found["rows"]] == [len(columns)] * len(texts)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.csv", b"", "empty|no rows|nothing"),
        ("a.csv", b"id,review\n1,x\n", "expected a column 'text'. Received: id, review"),
        ("a.csv", b"id,text\n7,x,y\n", "line 2: expected 2 fields .* predict.* Received: 3 fields"),
        ("a.csv", b'id,text\n1,"x"y\n', "a quote isn't closed"),
        ("a.csv", b"id,text\n1,caf\xe9\n", "isn't UTF-8; mend it.* 0xe9"),
        ("a.txt", b"caf\xe9\n", "isn't UTF-8; mend it"),
        ("a.csv", "text\nx\n".encode("utf-16-le"), "UTF-16 as it seems; mend it"),
        ("a.csv", b"text_a,text_b\nx,y\n", "expected a column 'text'. Received: text_a, text_b"),
        ("a.jsonl", b'{"text": "x"\n', "line 1"),
        ("a.jsonl", b'{"tokens": ["a", "b"]}\n', "not lists of words"),
        ("a.csv", b"\xff\xfe\x00", "."),
        ("a.txt", b"x\n" * 10_001, "up to 10,000 rows"),
        ("a.csv.gz", b"x", "expected a file whose name ends in"),
    ],
)
def test_other_files_are_refused(name: str, content: bytes, message: str, several: Client) -> None:
    given = {"signature": "token", "name": name}
    found = several.post(f"/rows?{urlencode(given)}", content)
    error = found.error
    assert found.status == 400
    assert re.search(message, error) and "/tmp" not in error and "`--" not in error


def test_a_browser_reads_numbers_that_json_lacks_by_name(several: Client) -> None:
    found = several.post("/rows?name=a.jsonl&signature=token", b'{"text": "x", "n": [NaN]}\n')
    assert found.json()["rows"] == [["x", ["NaN"]]]


def test_columns_of_the_training_are_found(export: Callable[[str], ServedModel]) -> None:
    about = About(columns={"serving_default": {"text": "review"}})
    with client(export("multi-label"), about) as web:
        given = {"signature": "serving_default", "name": "a.csv"}
        found = web.post(f"/rows?{urlencode(given)}", b"review,id\ngood,1\n")
        assert found.json()["texts"] == [["good"]]


def test_many_clients_get_their_own_answers(export: Callable[[str], ServedModel]) -> None:
    served = export("multi-label")
    words = ["good", "bad", "film", "movie", "acting", "story"]
    texts = [" ".join(words[(i * k) % 6] for k in range(1 + i % 9)) for i in range(40)]
    expected = dict(zip(texts, served.answer("serving_default", {"text": texts})["scores"]))
    wrong: list[object] = []
    with client(served) as web:

        def ask(number: int) -> None:
            for turn in range(6):
                own = [texts[(number * 7 + turn * 3 + i) % 40] for i in range(1 + turn % 3)]
                got = web.post(PREDICT, {"instances": own})
                for text, each in zip(own, got.json().get("predictions", [])):
                    if not np.allclose(each["scores"], expected[text], atol=1e-6):
                        wrong.append((text, each))
                if got.status != 200:
                    wrong.append(got.text)

        threads = [threading.Thread(target=ask, args=(number,)) for number in range(24)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        text = web.get("/metrics").text
    assert not wrong
    count = float(text.split("tfhub_transfer_batch_rows_count ")[1].split()[0])
    rows = float(text.split("tfhub_transfer_batch_rows_sum ")[1].split()[0])
    assert rows == 24 * 12 and count < 24 * 6
