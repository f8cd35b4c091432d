"""A model for small devices: size, test accuracy and time of a text, by format and precision.

    python benchmarks/small_devices.py --model DIR --data-folder DATA [--rows 1821]

`DIR` is what `train` wrote, of SST-2; it is exported for LiteRT at each precision, calibrated by
texts of the training split, for ONNX Runtime, and as a SavedModel of float32. All are asked text by
text in turns, two threads each, so that other work on the machine falls on all alike; time is from
the text on, so cutting it into word pieces counts. Writes `benchmarks/small_devices.json`.
"""

import argparse
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import harness
import numpy as np

_THREADS = 2


def main() -> None:
    """Exports, asks, writes."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", required=True)
    parser.add_argument("--data-folder", required=True)
    parser.add_argument("--rows", type=int, default=1821)
    options = parser.parse_args()
    import tfhub_transfer as tt

    model = tt.load_model(Path(options.model) / "model.keras")
    files = f"{options.data_folder}/sst2"
    test = tt.data.read(f"{files}/test.jsonl")[: options.rows]
    train = tt.data.read(f"{files}/train.jsonl")[:400]
    with tempfile.TemporaryDirectory() as folder:
        asked = _exports(tt, model, train.texts[0], Path(folder))
        found = _ask(asked, list(test.texts[0]))
        sizes = {name: size for name, (size, _) in asked.items()}
    right = np.array([model.task.class_names.index(label) for label in test.labels])
    rows = []
    base = float(np.median(found["LiteRT float32"][1]))
    for name, (scores, seconds) in found.items():
        accuracy = float((np.argmax(scores, axis=1) == right).mean())
        median = float(np.median(seconds))
        row = (
            f"{sizes[name]:.1f}",
            f"{accuracy:.4f}",
            f"{1e3 * median:.1f}",
            f"{median / base:.2f}",
        )
        rows.append([name, *row])
    header = ("", "MB", "test accuracy", "ms a text, median", "beside LiteRT float32")
    harness.report("small_devices", header, rows, {"rows": rows, "machine": harness.machine()})


def _exports(
    tt: Any, model: Any, texts: Any, folder: Path
) -> dict[str, tuple[float, Callable[[str], np.ndarray]]]:
    """By name: megabytes, and what gives the scores of a text."""
    import tensorflow as tf

    from tfhub_transfer.serving.wordpiece import Tokenizer

    lite = tt.export_litert(model, folder / "litert", "all", calibration=list(texts))
    onnx = tt.export_onnx(model, folder / "onnx")
    saved = tt.export_saved_model(model, folder / "saved", "float32")
    tokenizer = Tokenizer.of(lite / "model.json")

    def ids(text: str) -> dict[str, np.ndarray]:
        return {k: np.array(v, np.int32) for k, v in tokenizer.inputs(text).items()}

    def of_lite(file: Path) -> Callable[[str], np.ndarray]:
        run = tf.lite.Interpreter(str(file), num_threads=_THREADS).get_signature_runner()
        return lambda text: run(**ids(text))["scores"][0].copy()

    def of_onnx(file: Path) -> Callable[[str], np.ndarray]:
        import onnxruntime

        settings = onnxruntime.SessionOptions()
        settings.intra_op_num_threads = _THREADS
        session = onnxruntime.InferenceSession(str(file), settings)
        return lambda text: session.run(None, ids(text))[0][0]

    served = tf.saved_model.load(str(saved)).signatures["serving_default"]
    size = sum(file.stat().st_size for file in saved.rglob("*") if file.is_file())
    made = {
        f"LiteRT {file.stem}": (file.stat().st_size / 1e6, of_lite(file))
        for file in sorted(lite.glob("*.tflite"))
    }
    one = onnx / "model.onnx"
    made["ONNX Runtime"] = one.stat().st_size / 1e6, of_onnx(one)
    made["SavedModel float32"] = (
        size / 1e6,
        lambda text: served(text=tf.constant([text]))["scores"].numpy()[0],
    )
    return made


def _ask(asked: dict[str, Any], texts: list[str]) -> dict[str, tuple[np.ndarray, list[float]]]:
    """Scores of all texts and seconds of each, all formats taking turns."""
    scores: dict[str, list[np.ndarray]] = {name: [] for name in asked}
    seconds: dict[str, list[float]] = {name: [] for name in asked}
    for text in texts:
        for name, (_, run) in asked.items():
            start = time.perf_counter()
            scores[name].append(run(text))
            seconds[name].append(time.perf_counter() - start)
    return {name: (np.array(scores[name]), seconds[name]) for name in asked}


if __name__ == "__main__":
    main()
