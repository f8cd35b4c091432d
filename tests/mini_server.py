"""TF Serving's two doors over its session loader, on loopback, with the real stubs.

There is no `tensorflow_model_server` to be had here. This one does what a client of it can see of
`Predict`, by its protocol buffers (`tensorflow-serving-api`) and by its REST API: `inputs` and
`instances`, versions and labels, outputs without a name where there is one, errors.
"""

import contextlib
import json
import re
import threading
from collections.abc import Iterator, Mapping
from concurrent import futures
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import tensorflow as tf
from tensorflow_serving.apis import predict_pb2, prediction_service_pb2_grpc

_PATH = re.compile(r"/v1/models/([^/:]+)(?:/versions/(\d+)|/labels/(\w+))?:predict")


class Served:
    """One version, as the server loads it."""

    def __init__(self, version: Path) -> None:
        self.session = tf.compat.v1.Session(graph=tf.Graph())
        with self.session.graph.as_default():
            loaded = tf.compat.v1.saved_model.loader.load(self.session, ["serve"], str(version))
        self.signatures = loaded.signature_def

    def predict(self, name: str, inputs: Mapping[str, Any]) -> dict[str, np.ndarray]:
        signature = self.signatures[name or "serving_default"]
        if set(inputs) != set(signature.inputs):
            raise ValueError(f"input names: {sorted(inputs)}, not {sorted(signature.inputs)}")
        fetched = {key: tensor.name for key, tensor in signature.outputs.items()}
        given = {signature.inputs[key].name: value for key, value in inputs.items()}
        return self.session.run(fetched, given)


class Server(prediction_service_pb2_grpc.PredictionServiceServicer):
    """Versions by number, of one model, with labels."""

    def __init__(self, model: str, versions: Mapping[int, Path], labels: Mapping[str, int]) -> None:
        self.model, self.labels = model, labels
        self.versions = {number: Served(path) for number, path in versions.items()}
        self.asked: list[tuple[int, str]] = []

    def predict(self, model: str, version: Any, label: Any, name: str, inputs: Any) -> Any:
        if model != self.model:
            raise KeyError(f"Servable not found for request: Latest({model})")
        number = self.labels[label] if label else int(version or max(self.versions))
        self.asked.append((number, name))
        return self.versions[number].predict(name, inputs)

    def Predict(self, request: Any, context: Any) -> Any:
        spec = request.model_spec
        try:
            found = self.predict(
                spec.name,
                spec.version.value if spec.HasField("version") else None,
                spec.version_label,
                spec.signature_name,
                {key: tf.make_ndarray(tensor) for key, tensor in request.inputs.items()},
            )
        except Exception as error:
            context.abort(grpc.StatusCode.INVALID_ARGUMENT, str(error)[:300])
        response = predict_pb2.PredictResponse()
        for key, value in found.items():
            response.outputs[key].CopyFrom(tf.make_tensor_proto(value))
        return response

    def rest(self, path: str, body: bytes) -> dict[str, Any]:
        model, version, label = _PATH.fullmatch(path).groups()
        asked = json.loads(body)
        name = asked.get("signature_name", "serving_default")
        names = list(next(iter(self.versions.values())).signatures[name].inputs)
        rows = asked.get("instances")
        if rows is None:
            columns = asked["inputs"]
            inputs = columns if isinstance(columns, dict) else {names[0]: columns}
        else:
            rows = [row if isinstance(row, dict) else {names[0]: row} for row in rows]
            inputs = {key: [row[key] for row in rows] for key in rows[0]}
        arrays = {key: np.array(value, object) for key, value in inputs.items()}
        found = self.predict(model, version, label, name, arrays)
        plain = {key: _plain(value) for key, value in found.items()}
        only = next(iter(plain.values())) if len(plain) == 1 else None
        if rows is None:
            return {"outputs": plain if only is None else only}
        each = [{key: value[row] for key, value in plain.items()} for row in range(len(rows))]
        return {"predictions": each if only is None else only}


def _plain(array: np.ndarray) -> Any:
    if array.dtype == object:
        array = np.vectorize(lambda each: each.decode("utf-8"), [object])(array)
    return array.tolist()


@contextlib.contextmanager
def served(
    model: str, versions: Mapping[int, Path], labels: Mapping[str, int]
) -> Iterator[tuple[Server, int, int]]:
    """Gives the server, and its ports of gRPC and REST."""
    server = Server(model, versions, labels)

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            try:
                status, made = 200, server.rest(self.path, body)
            except Exception as error:
                status, made = 400, {"error": str(error)[:300]}
            data = json.dumps(made).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *_: Any) -> None:
            pass

    rpc = grpc.server(futures.ThreadPoolExecutor(2))
    prediction_service_pb2_grpc.add_PredictionServiceServicer_to_server(server, rpc)
    port = rpc.add_insecure_port("127.0.0.1:0")
    rpc.start()
    web = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=web.serve_forever, daemon=True).start()
    try:
        yield server, port, web.server_address[1]
    finally:
        web.shutdown()
        web.server_close()
        rpc.stop(None).wait()
