"""Bodies and paths of TF Serving's REST: what is read, what is refused and with which words."""

import json
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from tfhub_transfer.web import rest
from tfhub_transfer.web.refusing import Refusal
from tfhub_transfer.web.rest import CLASSIFY, PREDICT, REGRESS, Signature, Target

SIGNATURES = {
    "serving_default": Signature("serving_default", PREDICT, {"text": 0}),
    "pair": Signature("pair", PREDICT, {"question": 0, "context": 0}),
    "words": Signature("words", PREDICT, {"tokens": 1}),
    "classes": Signature("classes", CLASSIFY, {"inputs": 0}),
    "number": Signature("number", REGRESS, {"inputs": 0}),
    "max_length": Signature(
        "max_length", PREDICT, {"text": 0, "max_length": 0}, numbers=frozenset({"max_length"})
    ),
}


def asked(body: Any) -> rest.Asked:
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    return rest.predict_request(rest.document(data), SIGNATURES.__getitem__)


@pytest.mark.parametrize(
    ("method", "path", "expected"),
    [
        ("POST", "/v1/models/m:predict", Target("m", "predict")),
        ("POST", "/V1/Models/m/versions/12:classify", Target("m", "classify", 12)),
        ("POST", "/v1/models/a%2Fb/labels/stable%20one:regress", None),
        ("GET", "/v1/models/m", Target("m", "status")),
        ("GET", "/v1/models/m/versions/3/metadata", Target("m", "metadata", 3)),
        ("GET", "/v1/models/m/labels/x", Target("m", "status", None, "x")),
    ],
)
def test_paths_name_model_version_and_label(
    method: str, path: str, expected: Target | None
) -> None:
    expected = expected or Target("a/b", "regress", None, "stable one")
    assert rest.target(method, path) == expected


@pytest.mark.parametrize(
    ("method", "path", "message"),
    [
        ("GET", "/v1/models/m:predict", "Malformed request: GET /v1/models/m:predict"),
        ("POST", "/v1/models/m", "Malformed request: POST"),
        ("POST", "/v1/models/m:PREDICT", "Malformed request: POST"),
        ("PUT", "/v1/models/m:predict", "Malformed request: PUT"),
        ("POST", "/v1/models/m/versions/1/labels/x:predict", "Malformed request"),
        ("POST", "/v1/models/../../etc/passwd:predict", "Malformed request"),
        ("POST", "/v1/models/m/versions/٣:predict", "Malformed request"),
        ("GET", "/v1/models", "Missing model name in request."),
        ("GET", f"/v1/models/m/versions/{2**63}", "Failed to convert version: 9223372036854775808"),
    ],
)
def test_other_paths_are_refused(method: str, path: str, message: str) -> None:
    with pytest.raises(Refusal, match=message) as caught:
        rest.target(method, path)
    assert caught.value.status == 400


@pytest.mark.parametrize(
    ("body", "inputs", "by_row"),
    [
        ({"instances": ["a", "ü🙂\0"]}, {"text": [b"a", "ü🙂\0".encode()]}, True),
        ({"instances": [{"text": "a"}]}, {"text": [b"a"]}, True),
        ({"instances": [{"b64": "/w=="}, "a"]}, {"text": [b"\xff", b"a"]}, True),
        ({"instances": [{"text": {"b64": "YQ"}}]}, {"text": [b"a"]}, True),
        ({"inputs": ["a", "b"]}, {"text": [b"a", b"b"]}, False),
        ({"inputs": {"text": ["a"]}, "more": 1}, {"text": [b"a"]}, False),
        ({"inputs": []}, {"text": []}, False),
        (
            {"signature_name": "pair", "instances": [{"context": "c", "question": "q"}]},
            {"question": [b"q"], "context": [b"c"]},
            True,
        ),
        (
            {"signature_name": "pair", "inputs": {"context": ["c"], "question": ["q"]}},
            {"question": [b"q"], "context": [b"c"]},
            False,
        ),
        (
            {"signature_name": "words", "instances": [["a", "b"], ["c", ""]]},
            {"tokens": [[b"a", b"b"], [b"c", b""]]},
            True,
        ),
        ({"signature_name": "words", "inputs": [["a"]]}, {"tokens": [[b"a"]]}, False),
        (
            {"signature_name": "max_length", "instances": [{"text": "a", "max_length": 3}]},
            {"text": [b"a"], "max_length": [3]},
            True,
        ),
        (
            {"signature_name": "max_length", "inputs": {"text": ["a"], "max_length": [-1]}},
            {"text": [b"a"], "max_length": [-1]},
            False,
        ),
        ("\ufeff".encode() + b'{"signature_name": "", "instances": ["a"]}', {"text": [b"a"]}, True),
    ],
)
def test_rows_and_columns_become_inputs(body: Any, inputs: Any, by_row: bool) -> None:
    found = asked(body)
    assert (dict(found.inputs), found.by_row) == (inputs, by_row)
    assert found.rows == len(next(iter(inputs.values())))


PAIR, WORDS, MOST = ({"signature_name": name} for name in ("pair", "words", "max_length"))
BAD: list[tuple[Any, str]] = [
    (b"", "JSON Parse error: The document is empty"),
    (b"{", "JSON Parse error: Expecting property name"),
    (b"\xff\xfe", "JSON Parse error: 'utf-8' codec can't decode"),
    ('{"instances": ["a"]}'.encode("utf-16"), "JSON Parse error"),
    (b"[" * 100_000, "JSON Parse error: nested too deeply"),
    (b'{"instances": ' + b"[" * 90_000 + b"]" * 90_000 + b"}", "nested too deeply"),
    (b'{"instances": [' + b"9" * 5000 + b"]}", "JSON Parse error: Exceeds the limit"),
    ([1], r"JSON Value: \[1\] Is not object"),
    ({}, "Missing 'inputs' or 'instances' key"),
    ({"instances": ["a"], "inputs": ["a"]}, "expecting only one of 'inputs' or 'instances'"),
    ({"instances": []}, "No values in 'instances' array"),
    ({"instances": {"text": "a"}}, "Excepting 'instances' to be an list/array"),
    ({"instances": None}, "Excepting 'instances'"),
    ({"instances": ["a"], "signature_name": 1}, "'signature_name' key must be a string value"),
    ({"instances": [1]}, "JSON Value: 1 Type: Number is not of expected type: string"),
    ({"instances": [None]}, "JSON Value: null Type: Null is not of expected type: string"),
    ({"instances": [True]}, "Type: True is not"),
    ({"instances": [float("nan")]}, "JSON Value: NaN Type: Number"),
    ({"instances": [["a"]]}, "Encountered list at unexpected level"),
    ({"instances": ["a", {"text": "b"}]}, "Expecting value/list but got object at item 1"),
    ({"instances": [{"text": "b"}, "a"]}, "Expecting object but got value/list at item 1"),
    ({"instances": [{"texts": "b"}]}, "element: 0 .* keys must be equal to: text"),
    ({"instances": [{"text": "b", "x": 1}]}, "keys must be equal to: text"),
    ({"instances": [{"text": {"b64": 1}}]}, "not formatted correctly for base64 data"),
    ({"instances": [{"b64": "a"}]}, "Unable to base64 decode"),
    ({"instances": [{"b64": "é"}]}, "Unable to base64 decode"),
    ({"instances": ["\ud83d"]}, "The surrogate pair in string is invalid"),
    ({"inputs": "a"}, 'Input text: JSON Value: "a" found at incorrect level'),
    ({"inputs": {"b64": "YQ=="}}, "found at incorrect level"),
    ({"inputs": {}}, "Missing named input: text in 'inputs' object."),
    ({**PAIR, "instances": ["a"]}, "instances is a plain list, but expecting list of objects"),
    ({**PAIR, "inputs": ["a"]}, "inputs is a plain value/list, but expecting an object"),
    ({**PAIR, "inputs": {"question": ["a"]}}, "Missing named input: context"),
    (
        {**PAIR, "inputs": {"question": ["a"], "context": []}},
        "as many rows each, but got: question 1, context 0",
    ),
    ({**WORDS, "instances": [["a"], ["b", "c"]]}, "Expecting tensor size: 1 but got: 2"),
    ({**MOST, "instances": [{"text": "a"}]}, "keys must be equal to: max_length,text"),
    (
        {**MOST, "inputs": {"text": ["a"], "max_length": 3}},
        "JSON Value: 3 found at incorrect level",
    ),
    *(
        ({**MOST, "instances": [{"text": "a", "max_length": odd}]}, "not of expected type: int32")
        for odd in (2.0, True, "3", None, [3], 2**31, -(2**31) - 1)
    ),
    ({**WORDS, "instances": ["a"]}, "found at incorrect level"),
    ({"instances": [{"x" * 10_000: 1}]}, "keys must be equal to: text"),
]


@pytest.mark.parametrize(("body", "message"), BAD, ids=range(len(BAD)))
def test_other_bodies_are_refused_in_one_short_line(body: Any, message: str) -> None:
    with pytest.raises(Refusal, match=message) as caught:
        asked(body)
    assert caught.value.status == 400 and "\n" not in caught.value.message
    assert len(caught.value.message) < 600 and json.loads(rest.error(caught.value.message))


def test_answers_come_by_row_or_by_column_and_one_output_alone_without_its_name() -> None:
    outputs = {
        "label": np.array([b"a", "ü".encode()], object),
        "scores": np.array([[0.2, np.nan], [1 / 3, np.inf]], np.float32),
        "raw_bytes": np.array([[b"\xff"], [b""]], object),
        "hit": np.array([[True], [False]]),
    }
    columns = {
        "label": ["a", "ü"],
        "scores": [[0.2, "NaN"], [0.33333334, "Infinity"]],
        "raw_bytes": [[{"b64": "/w=="}], [{"b64": ""}]],
        "hit": [[True], [False]],
    }

    def read(body: bytes) -> Any:
        return json.loads(body, parse_constant=str)

    assert read(rest.predict_body(outputs, False)) == {"outputs": columns}
    rows = [{name: values[row] for name, values in columns.items()} for row in (0, 1)]
    assert read(rest.predict_body(outputs, True)) == {"predictions": rows}
    only = {"scores": outputs["scores"]}
    assert read(rest.predict_body(only, True)) == {"predictions": columns["scores"]}
    assert read(rest.predict_body(only, False)) == {"outputs": columns["scores"]}
    with pytest.raises(Refusal, match="'label' isn't UTF-8"):
        rest.predict_body({"label": np.array([b"\xff"], object)}, True)


def test_numbers_are_the_same_float_and_no_longer_than_it_is() -> None:
    values = np.random.default_rng(0).standard_normal(1000).astype(np.float32)
    found = json.loads(rest.predict_body({"x": values}, True))["predictions"]
    np.testing.assert_array_equal(np.array(found, np.float32), values)
    assert max(len(repr(each)) for each in found) <= 17


def test_examples_become_protocol_buffers_with_their_context() -> None:
    body = {
        "signature_name": "classes",
        "context": {"lang": "en", "text": "replaced"},
        "examples": [{"text": "a", "n": [1, True], "x": 0.5}, {"text": [{"b64": "/w=="}], "e": []}],
    }
    found = rest.examples_request(body, "classify", SIGNATURES.__getitem__)
    first, second = map(tf.train.Example.FromString, found.inputs["inputs"])
    features = first.features.feature
    assert list(features["text"].bytes_list.value) == [b"a"]
    assert list(features["lang"].bytes_list.value) == [b"en"]
    assert list(features["n"].int64_list.value) == [1, 1]
    assert list(features["x"].float_list.value) == [0.5]
    assert list(second.features.feature["text"].bytes_list.value) == [b"\xff"]
    assert second.features.feature["e"].WhichOneof("kind") is None
    # What TensorFlow itself reads of them.
    spec = {"text": tf.io.FixedLenFeature([], tf.string)}
    parsed = tf.io.parse_example(found.inputs["inputs"], spec)
    assert parsed["text"].numpy().tolist() == [b"a", b"\xff"]


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ({}, "method_name to be tensorflow/serving/classify. Was: tensorflow/serving/predict"),
        ({"signature_name": "number"}, "Was: tensorflow/serving/regress"),
        ({"signature_name": "classes"}, "key 'examples' is expected and was not found"),
        ({"signature_name": "classes", "examples": {}}, "Expecting 'examples' value"),
        ({"signature_name": "classes", "examples": []}, "'examples' value is an empty array"),
        ({"signature_name": "classes", "examples": ["a"]}, "Example must be JSON object but got"),
        ({"signature_name": "classes", "examples": [{"a": None}]}, "unexpected JSON type: Null"),
        ({"signature_name": "classes", "examples": [{"a": [["x"]]}]}, "unexpected JSON type: Arr"),
        ({"signature_name": "classes", "examples": [{"a": ["x", 1]}]}, "Unexpected element type"),
        ({"signature_name": "classes", "examples": [{"a": 2**63}]}, "without loss"),
        ({"signature_name": "classes", "examples": [{"\ud800": 1}]}, "surrogate"),
        ({"signature_name": "classes", "context": 1, "examples": [{}]}, "must be JSON object"),
    ],
)
def test_other_examples_are_refused(body: Any, message: str) -> None:
    with pytest.raises(Refusal, match=message):
        rest.examples_request(body, "classify", SIGNATURES.__getitem__)


def test_classes_and_numbers() -> None:
    classes = np.array([[b"a", b"b"]], object)
    scores = np.array([[0.75, 0.25]], np.float32)
    both = {"classes": classes, "scores": scores}
    for outputs, expected in (
        (both, [[["a", 0.75], ["b", 0.25]]]),
        ({"classes": classes}, [[["a", 0.0], ["b", 0.0]]]),
        ({"scores": scores}, [[["", 0.75], ["", 0.25]]]),
    ):
        assert json.loads(rest.classify_body(outputs)) == {"results": expected}
    for shape in ((2,), (2, 1)):
        outputs = {"outputs": np.reshape(np.float32([1.5, 2]), shape)}
        assert json.loads(rest.regress_body(outputs)) == {"results": [1.5, 2.0]}
    for write in (rest.classify_body, rest.regress_body):
        with pytest.raises(Refusal, match="Expected .* signature outputs to contain"):
            write({"other": scores})
