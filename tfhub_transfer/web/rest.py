"""Bodies and paths of TF Serving's REST, read and written as its own server does.

Sources: tensorflow_serving/util/json_tensor.cc (bodies, messages) and
tensorflow_serving/model_servers/http_rest_api_util.cc (paths), of github.com/tensorflow/serving.
Nothing here knows a model: signatures say what their inputs are called.
"""

import base64
import dataclasses
import json
import re
import urllib.parse
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias, cast

import numpy as np
import tensorflow as tf

from tfhub_transfer.errors import one_line
from tfhub_transfer.web.refusing import Refusal

# What a request gives for one input: for each row a string, a list of them, or a number.
Rows: TypeAlias = list[Any]
Outputs: TypeAlias = Mapping[str, np.ndarray]

PREDICT, CLASSIFY, REGRESS = (
    f"tensorflow/serving/{name}" for name in ("predict", "classify", "regress")
)
_METHODS = {"classify": CLASSIFY, "regress": REGRESS, "predict": PREDICT}
_EXAMPLES = "inputs"
_DEFAULT = "serving_default"
_VERSION = "(?:(?:/versions/([0-9]+))|(?:/labels/([^/:]+)))?"
_ASKED = re.compile(rf"/v1/models/([^/:]+){_VERSION}:(classify|regress|predict)", re.IGNORECASE)
_TOLD = re.compile(rf"/v1/models(?:/([^/:]+))?{_VERSION}(?:/(metadata))?", re.IGNORECASE)
_MOST_VERSION = 2**63 - 1
_MOST_SHOWN = 200
_KINDS = {type(None): "Null", dict: "Object", list: "Array", str: "String"}


@dataclasses.dataclass(frozen=True)
class Target:
    """What a path names.

    Attributes:
        model: The model's name.
        verb: `predict`, `classify`, `regress`; `status` or `metadata` of what is only told.
        version: The model's version, if one is named.
        label: A label of it, if one is named.
    """

    model: str
    verb: str
    version: int | None = None
    label: str | None = None


@dataclasses.dataclass(frozen=True)
class Signature:
    """One of a model's signatures, as far as a request must fit it.

    Attributes:
        name: What it is called.
        method: `PREDICT`, `CLASSIFY` or `REGRESS`.
        inputs: By name how many dimensions each has, of strings, in the order of a row.
        outputs: The names of what it answers.
        counts: Answers that are padded, each with the one that says how many there are.
        together: Whether rows of several requests may be answered in one batch.
        numbers: Those of the inputs that are whole numbers instead, int32.
    """

    name: str
    method: str
    inputs: Mapping[str, int]
    outputs: tuple[str, ...] = ()
    counts: Mapping[str, str] = dataclasses.field(default_factory=dict)
    together: bool = True
    numbers: frozenset[str] = frozenset()

    def read(self, name: str, value: object, rank: int, place: str) -> Any:
        """A value of one of the inputs, or a list of such.

        Args:
            name: Which input.
            value: As JSON has it.
            rank: How many dimensions it is to have.
            place: How a message begins.

        Raises:
            Refusal: If it is none.
        """
        return _value(value, rank, place, _number if name in self.numbers else _string)


@dataclasses.dataclass(frozen=True)
class Asked:
    """What a body asks.

    Attributes:
        signature: Who is to answer.
        inputs: Rows by the names of inputs.
        rows: How many there are.
        by_row: Whether the answers are to come row by row, rather than column by column.
    """

    signature: Signature
    inputs: Mapping[str, Rows]
    rows: int
    by_row: bool = True


def target(method: str, path: str) -> Target:
    """What a request is about.

    Args:
        method: HTTP's, such as `POST`.
        path: As the client wrote it, with `%20` and its like.

    Raises:
        Refusal: If it is none of TF Serving's.
    """
    found = {"POST": _ASKED, "GET": _TOLD}.get(method, re.compile("(?!)")).fullmatch(path)
    verb = (found[4] or "status") if found else ""
    if not found or (method == "POST" and verb not in _METHODS):
        raise Refusal(400, f"Malformed request: {method} {one_line(path, _MOST_SHOWN)}")
    model, version, label = (found[1] and urllib.parse.unquote(found[1])), found[2], found[3]
    if not model:
        raise Refusal(400, "Missing model name in request.")
    if version and (len(version) > 20 or int(version) > _MOST_VERSION):
        raise Refusal(400, f"Failed to convert version: {version[:40]} to numeric.")
    named = urllib.parse.unquote(label) if label else None
    return Target(model, verb.lower(), int(version) if version else None, named)


def document(body: bytes) -> dict[str, object]:
    """The object that a body holds.

    Args:
        body: JSON in UTF-8.

    Raises:
        Refusal: If it is no JSON, or no object.
    """
    if not body:
        raise Refusal(400, "JSON Parse error: The document is empty")
    try:
        found = json.loads(body.decode("utf-8-sig"))
    except RecursionError as error:
        raise Refusal(400, "JSON Parse error: nested too deeply") from error
    except ValueError as error:
        raise Refusal(400, f"JSON Parse error: {one_line(str(error), _MOST_SHOWN)}") from error
    if not isinstance(found, dict):
        raise Refusal(400, f"JSON Value: {_shown(found)} Is not object")
    return found


def signature_name(asked: Mapping[str, object]) -> str:
    """The name of the signature that a body asks for.

    Args:
        asked: The body.

    Raises:
        Refusal: If it is no string.
    """
    name = asked.get("signature_name", "")
    if not isinstance(name, str):
        raise Refusal(
            400,
            f"JSON Value: {_shown(asked)} not formatted correctly. 'signature_name' key must be a "
            "string value.",
        )
    return name or _DEFAULT


def predict_request(asked: Mapping[str, object], signature_of: Callable[[str], Signature]) -> Asked:
    """What a body of `:predict` asks, with `instances` or with `inputs`.

    Args:
        asked: The body.
        signature_of: The signature of a name.

    Raises:
        Refusal: If it doesn't fit the signature.
    """
    signature = signature_of(signature_name(asked))
    by_row, by_column = "instances" in asked, "inputs" in asked
    if by_row and by_column:
        raise Refusal(
            400,
            f"JSON Value: {_shown(asked)} Not formatted correctly expecting only one of 'inputs' "
            "or 'instances' keys to exist ",
        )
    if not (by_row or by_column):
        raise Refusal(400, "Missing 'inputs' or 'instances' key")
    read = _by_row if by_row else _by_column
    inputs = read(asked["instances" if by_row else "inputs"], signature)
    counts = {name: len(rows) for name, rows in inputs.items()}
    if len(set(counts.values())) > 1:
        each = ", ".join(f"{name} {count}" for name, count in counts.items())
        raise Refusal(400, f"Inputs must have as many rows each, but got: {each}")
    return Asked(signature, inputs, next(iter(counts.values())), by_row)


def _by_row(given: object, signature: Signature) -> dict[str, Rows]:
    ranks = signature.inputs
    if not isinstance(given, list):
        raise Refusal(400, f"JSON Value: {_shown(given)} Excepting 'instances' to be an list/array")
    if not given:
        raise Refusal(400, "No values in 'instances' array")
    named = isinstance(given[0], dict) and not _is_base64(given[0])
    if len(ranks) > 1 and not isinstance(given[0], dict):
        raise Refusal(
            400,
            "instances is a plain list, but expecting list of objects as multiple input tensors "
            f"required as per tensorinfo_map: {', '.join(ranks)}",
        )
    inputs: dict[str, Rows] = {name: [] for name in ranks}
    for number, row in enumerate(given):
        if (isinstance(row, dict) and not _is_base64(row)) != named:
            one, other = ("object", "value/list") if named else ("value/list", "object")
            raise Refusal(400, f"Expecting {one} but got {other} at item {number} of input list")
        if named and row.keys() != ranks.keys():
            raise Refusal(
                400,
                f"Failed to process element: {number} of 'instances' list. JSON object: "
                f"{_shown(row)} keys must be equal to: {','.join(sorted(ranks))}",
            )
        for name, rank in ranks.items():
            place = f"Failed to process element: {number} key: {name} of 'instances' list. Error: "
            value = row[name] if named else row
            inputs[name].append(signature.read(name, value, rank, place))
    for name, rows in inputs.items():
        _require_even(rows, name)
    return inputs


def _by_column(given: object, signature: Signature) -> dict[str, Rows]:
    ranks = signature.inputs
    if not isinstance(given, dict) or _is_base64(given):
        if len(ranks) > 1:
            raise Refusal(
                400,
                "inputs is a plain value/list, but expecting an object as multiple input tensors "
                f"required as per tensorinfo_map: {', '.join(ranks)}",
            )
        given = dict.fromkeys(ranks, given)
    inputs: dict[str, Rows] = {}
    for name, rank in ranks.items():
        if name not in given:
            raise Refusal(400, f"Missing named input: {name} in 'inputs' object.")
        inputs[name] = signature.read(name, given[name], rank + 1, f"Input {name}: ")
        _require_even(inputs[name], name)
    return inputs


def _value(value: object, rank: int, place: str, read: Callable[[object, str], Any]) -> Any:
    """What is read of a value, or of each in a list of so many dimensions."""
    if rank == 0:
        return read(value, place)
    if not isinstance(value, list):
        raise Refusal(
            400, f"{place}JSON Value: {_shown(value)} found at incorrect level: expected a list"
        )
    return [_value(each, rank - 1, place, read) for each in value]


def _number(value: object, place: str) -> int:
    if type(value) is int and -(2**31) <= value < 2**31:  # True is none
        return value
    raise Refusal(
        400,
        f"{place}JSON Value: {_shown(value)} Type: {_kind(value)} is not of expected type: int32",
    )


def _string(value: object, place: str) -> bytes:
    try:
        if isinstance(value, str):
            return value.encode()
        if isinstance(value, dict) and _is_base64(value):
            return _decoded(str(value["b64"]))
    except UnicodeEncodeError as error:
        message = f"{place}JSON Parse error: The surrogate pair in string is invalid"
        raise Refusal(400, message) from error
    except ValueError as error:
        raise Refusal(400, f"{place}Unable to base64 decode") from error
    if isinstance(value, list):
        raise Refusal(400, f"{place}Encountered list at unexpected level: {_shown(value)}")
    if isinstance(value, dict):
        raise Refusal(
            400, f"{place}JSON Value: {_shown(value)} not formatted correctly for base64 data"
        )
    raise Refusal(
        400,
        f"{place}JSON Value: {_shown(value)} Type: {_kind(value)} is not of expected type: string",
    )


def _require_even(rows: Rows, name: str) -> None:
    """Lists in rows must be of one length: a tensor has no other."""
    sizes = {len(row) for row in rows if isinstance(row, list)}
    if len(sizes) > 1:
        first, other = sorted(sizes)[:2]
        raise Refusal(400, f"Input {name}: Expecting tensor size: {first} but got: {other}")


def _is_base64(value: Mapping[str, object]) -> bool:
    return value.keys() == {"b64"} and isinstance(value["b64"], str)


def _decoded(text: str) -> bytes:
    packed = "".join(text.split()).rstrip("=")
    return base64.b64decode(packed + "=" * (-len(packed) % 4), validate=True)


def _kind(value: object) -> str:
    if isinstance(value, bool):
        return str(value)
    return _KINDS.get(type(value), "Number")


def _shown(value: object) -> str:
    return one_line(json.dumps(value), _MOST_SHOWN)


# Examples -----------------------------------------------------------------------------------------


def examples_request(
    asked: Mapping[str, object], verb: str, signature_of: Callable[[str], Signature]
) -> Asked:
    """What a body of `:classify` or `:regress` asks, as serialized `tf.train.Example`s.

    Args:
        asked: The body, with `examples` and perhaps `context`.
        verb: `classify` or `regress`.
        signature_of: The signature of a name.

    Raises:
        Refusal: If the signature isn't one for it, or an example isn't one.
    """
    signature = signature_of(signature_name(asked))
    if signature.method != _METHODS[verb]:
        raise Refusal(
            400,
            f"Expected {verb} signature method_name to be {_METHODS[verb]}. Was: "
            f"{signature.method}",
        )
    if [*signature.inputs] != [_EXAMPLES]:
        raise Refusal(400, f"Expected {verb} signature input to be {_EXAMPLES} alone.")
    context = _features(asked["context"]) if "context" in asked else {}
    if "examples" not in asked:
        raise Refusal(
            400,
            f"JSON Value: {_shown(asked)} When method is {verb}, key 'examples' is expected and "
            "was not found",
        )
    examples = asked["examples"]
    if not isinstance(examples, list):
        raise Refusal(
            400, f"JSON Value: {_shown(asked)} Expecting 'examples' value to be an list/array"
        )
    if not examples:
        raise Refusal(400, f"JSON Value: {_shown(asked)} 'examples' value is an empty array")
    rows = [_serialized({**context, **_features(each)}) for each in examples]
    return Asked(signature, {_EXAMPLES: rows}, len(rows))


def _features(given: object) -> dict[str, tf.train.Feature]:
    if not isinstance(given, dict):
        raise Refusal(400, f"Example must be JSON object but got JSON {_kind(given)}")
    return {_name(name): _feature(name, value) for name, value in given.items()}


def _name(name: str) -> str:
    return _string(name, "").decode()


def _feature(name: str, content: object) -> tf.train.Feature:
    values = content if isinstance(content, list) else [content]
    kinds = {_family(name, value) for value in values}
    if len(kinds) > 1:
        raise Refusal(
            400,
            f"Unexpected element type in feature: {one_line(name, 60)} expecting type: "
            f"{_family(name, values[0])}",
        )
    if kinds == {"bytes"}:
        held = [_string(value, f"Feature: {one_line(name, 60)}: ") for value in values]
        return tf.train.Feature(bytes_list=tf.train.BytesList(value=held))
    if kinds == {"float"}:
        return tf.train.Feature(float_list=tf.train.FloatList(value=values))
    if kinds == {"int64"}:
        numbers = [int(cast(int, value)) for value in values]  # True is 1
        return tf.train.Feature(int64_list=tf.train.Int64List(value=numbers))
    return tf.train.Feature()


def _family(name: str, value: object) -> str:
    """The kind of list that holds a value."""
    if isinstance(value, str) or (isinstance(value, dict) and _is_base64(value)):
        return "bytes"
    if isinstance(value, float) and (value != value or abs(value) <= 3.4e38):
        return "float"
    if isinstance(value, int) and -(2**63) <= value < 2**63:
        return "int64"
    if isinstance(value, int | float):
        raise Refusal(400, f"Cannot convert JSON value: {_shown(value)} to a feature without loss.")
    raise Refusal(
        400,
        f"Feature: {one_line(name, 60)} has element with unexpected JSON type: {_kind(value)}",
    )


def _serialized(features: Mapping[str, tf.train.Feature]) -> bytes:
    made = tf.train.Example(features=tf.train.Features(feature=features))
    # In one order, so that equal examples are equal strings.
    return bytes(made.SerializeToString(deterministic=True))


# Answers ------------------------------------------------------------------------------------------


def predict_body(outputs: Outputs, by_row: bool) -> bytes:
    """The body of an answer to `:predict`; of one output alone its values without its name.

    Args:
        outputs: Each `[rows, ...]`.
        by_row: Whether they come row by row.

    Raises:
        Refusal: If a string in them isn't UTF-8, which JSON can't hold.
    """
    columns = {name: _plain(name, values) for name, values in outputs.items()}
    if len(columns) == 1:
        (only,) = columns.values()
        return _written({"predictions" if by_row else "outputs": only})
    if not by_row:
        return _written({"outputs": columns})
    rows = [dict(zip(columns, row)) for row in zip(*columns.values())]
    return _written({"predictions": rows})


def classify_body(outputs: Outputs) -> bytes:
    """The body of an answer to `:classify`: for each row pairs of class and score.

    Args:
        outputs: `classes` and `scores`, each `[rows, classes]`, or one of them.

    Raises:
        Refusal: If there is neither.
    """
    found = {n: _plain(n, outputs[n]) for n in ("classes", "scores") if n in outputs}
    if not found:
        raise Refusal(
            400,
            "Expected classify signature outputs to contain at least one of classes and scores",
        )
    rows = len(next(iter(found.values())))
    results = []
    for row in range(rows):
        held = {name: values[row] for name, values in found.items()}
        count = len(next(iter(held.values())))
        classes, scores = held.get("classes", [""] * count), held.get("scores", [0.0] * count)
        results.append([list(pair) for pair in zip(classes, scores)])
    return _written({"results": results})


def regress_body(outputs: Outputs) -> bytes:
    """The body of an answer to `:regress`: a number for each row.

    Args:
        outputs: `outputs` `[rows]` or `[rows, 1]`.

    Raises:
        Refusal: If there are no such.
    """
    if "outputs" not in outputs:
        raise Refusal(400, "Expected regress signature outputs to contain outputs")
    return _written({"results": _plain("outputs", outputs["outputs"].reshape(-1))})


def error(message: str) -> bytes:
    """The body of an answer that says why there is none.

    Args:
        message: Why.
    """
    return _written({"error": message})


def _plain(name: str, values: np.ndarray) -> list[Any]:
    if values.dtype == object:
        return _shaped(_strings(name, values), values)
    if values.dtype.kind == "f":
        # As TF Serving does, the fewest digits that are this float: 0.2, not 0.20000000298.
        return _shaped([float(digits) for digits in values.ravel().astype("U")], values)
    return list(values.tolist())


def _strings(name: str, values: np.ndarray) -> list[object]:
    if name.endswith("_bytes"):
        return [{"b64": base64.b64encode(value).decode()} for value in values.ravel()]
    try:
        return [value.decode() for value in values.ravel()]
    except UnicodeDecodeError as error:
        raise Refusal(
            400, f"The answer {name!r} isn't UTF-8, which a text wasn't either: JSON can't hold it"
        ) from error


def _shaped(flat: Sequence[object], like: np.ndarray) -> list[Any]:
    shaped = np.empty(like.size, object)
    shaped[:] = flat
    return list(shaped.reshape(like.shape).tolist())


def _written(value: object) -> bytes:
    return json.dumps(value, ensure_ascii=False).encode()
