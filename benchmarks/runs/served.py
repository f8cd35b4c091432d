"""Something that answers texts, asked as a server asks it; prints one JSON line.

Run by whichever Python has what it needs: TensorFlow, onnxruntime, or torch and transformers.
Each kind cuts its texts into word pieces itself, so the time of a request is from the text on.
"""

import argparse
import json
import os
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeAlias

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

# Texts to their labels; to nothing where a head was never trained.
Ask: TypeAlias = Callable[[Sequence[str]], Sequence[str]]
_TEXT = "it was a very good film with a surprising end and fine actors , though slow in places"
_CALLS = {1: 150, 32: 20}
_BATCH = 64
_THREADS = 2


def saved_model(folder: Path) -> Callable[[], Ask]:
    """An export, by TensorFlow's session loader, as TF Serving loads it."""
    import tensorflow as tf
    import tensorflow_text  # noqa: F401  registers its operations

    def load() -> Ask:
        v1 = tf.compat.v1
        session = v1.Session(graph=tf.Graph())
        with session.graph.as_default():
            meta = v1.saved_model.loader.load(session, ["serve"], str(folder))
        signature = meta.signature_def["serving_default"]
        label, text = signature.outputs["label"].name, signature.inputs["text"].name
        return lambda texts: [name.decode() for name in session.run(label, {text: [*texts]})]

    return load


def litert(file: Path) -> Callable[[], Ask]:
    """A file for small devices, which answers one text at a time."""
    import numpy as np
    import tensorflow as tf

    def load() -> Ask:
        tokenizer, names = _tokenizer(file.parent)
        run = tf.lite.Interpreter(str(file), num_threads=_THREADS).get_signature_runner()

        def one(text: str) -> str:
            ids = {k: np.array(v, np.int32) for k, v in tokenizer.inputs(text).items()}
            return names[int(np.argmax(run(**ids)["scores"]))]

        return lambda texts: [one(text) for text in texts]

    return load


def onnx(file: Path) -> Callable[[], Ask]:
    """Our ONNX file by ONNX Runtime, with our tokenizer in plain Python."""
    import numpy as np

    session_of = _onnx_runtime()

    def load() -> Ask:
        tokenizer, names = _tokenizer(file.parent)
        session = session_of(file)

        def ask(texts: Sequence[str]) -> Sequence[str]:
            rows = [tokenizer.inputs(text) for text in texts]
            ids = {key: _padded([row[key][0] for row in rows]) for key in rows[0]}
            return [names[best] for best in np.argmax(session.run(None, ids)[0], axis=-1)]

        return ask

    return load


def pipeline(folder: Path) -> Callable[[], Ask]:
    """Hugging Face's pipeline, in the precision that its files have."""
    import torch
    from transformers import AutoModelForSequenceClassification, AutoTokenizer
    from transformers import pipeline as make

    def load() -> Ask:
        model = AutoModelForSequenceClassification.from_pretrained(folder, dtype="auto").eval()
        tokenizer = AutoTokenizer.from_pretrained(folder)
        run = make("text-classification", model=model, tokenizer=tokenizer, device="cpu")

        def ask(texts: Sequence[str]) -> Sequence[str]:
            with torch.inference_mode():
                run([*texts], batch_size=len(texts), truncation=True, max_length=128)
            return []

        return ask

    return load


def onnx_runtime(file: Path) -> Callable[[], Ask]:
    """The ONNX file that torch wrote, by ONNX Runtime, with Hugging Face's tokenizer in Rust."""
    from tokenizers import Tokenizer

    session_of = _onnx_runtime()

    def load() -> Ask:
        tokenizer = Tokenizer.from_file(str(file.parent / "tokenizer.json"))
        tokenizer.enable_truncation(128)
        tokenizer.no_padding()
        session = session_of(file)

        def ask(texts: Sequence[str]) -> Sequence[str]:
            rows = tokenizer.encode_batch([*texts])
            ids = _padded([row.ids for row in rows], "int64")
            mask = _padded([row.attention_mask for row in rows], "int64")
            session.run(None, {"input_ids": ids, "attention_mask": mask})
            return []

        return ask

    return load


def write_peers(weights: Path, folder: Path) -> dict[str, Any]:
    """What the peers load, of the weights as Hugging Face has them, with a head of random numbers.

    Args:
        weights: Hugging Face's folder.
        folder: Where to write.

    Returns:
        Megabytes, by name.
    """
    import torch
    from onnxruntime.quantization import quantize_dynamic
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    torch.manual_seed(0)
    tokenizer = AutoTokenizer.from_pretrained(weights)
    model = AutoModelForSequenceClassification.from_pretrained(weights, num_labels=2).eval()
    named = {"float32": torch.float32, "bfloat16": torch.bfloat16}
    for name, dtype in reversed(named.items()):
        made = model.to(dtype)
        made.save_pretrained(folder / name)
        tokenizer.save_pretrained(folder / name)
        if dtype is torch.bfloat16:
            model = AutoModelForSequenceClassification.from_pretrained(weights, num_labels=2).eval()
    files = folder / "onnx"
    tokenizer.save_pretrained(files)
    ids = tokenizer([_TEXT, "short"], padding=True, return_tensors="pt")
    axes = {0: "batch", 1: "length"}
    torch.onnx.export(
        model,
        (ids["input_ids"], ids["attention_mask"]),
        str(files / "model.onnx"),
        input_names=["input_ids", "attention_mask"],
        output_names=["logits"],
        dynamic_axes={"input_ids": axes, "attention_mask": axes, "logits": {0: "batch"}},
        dynamo=False,
    )
    quantize_dynamic(str(files / "model.onnx"), str(files / "int8.onnx"))
    sizes = {name: megabytes(folder / name / "model.safetensors") for name in named}
    return {**sizes, **{name: megabytes(files / name) for name in ("model.onnx", "int8.onnx")}}


def megabytes(path: Path) -> float:
    """Of a file, or of all in a folder."""
    files = [path] if path.is_file() else [file for file in path.rglob("*") if file.is_file()]
    return sum(file.stat().st_size for file in files) / 1e6


def measure(kind: str, path: Path, data: str, every: int) -> dict[str, float]:
    """Loads it, asks it a first time, single texts, batches, and the test split of SST-2.

    Args:
        kind: A name in `KINDS`.
        path: What it loads.
        data: The data sets.
        every: Of how many texts of the split one is asked.
    """
    import numpy as np

    make = KINDS[kind](path)
    began = time.process_time()
    ask = make()
    ask([_TEXT])
    found = {"cold s": _age(), "load CPU s": time.process_time() - began}
    for size, calls in _CALLS.items():
        for _ in range(3):
            ask([_TEXT] * size)
        clocks, before = [], time.process_time()
        for _ in range(calls):
            clock = time.perf_counter()
            ask([_TEXT] * size)
            clocks.append(time.perf_counter() - clock)
        for share in (50, 99):
            found[f"p{share} ms, batch {size}"] = 1e3 * float(np.percentile(clocks, share))
        found[f"CPU ms, batch {size}"] = 1e3 * (time.process_time() - before) / calls
    lines = Path(data, "sst2", "test.jsonl").read_text("utf-8").splitlines()[::every]
    rows = sorted(map(json.loads, lines), key=lambda row: len(row["text"]))
    right, told = 0, 0
    clock, before = time.perf_counter(), time.process_time()
    for start in range(0, len(rows), _BATCH):
        batch = rows[start : start + _BATCH]
        labels = ask([row["text"] for row in batch])
        right += sum(a == str(row["label"]) for a, row in zip(labels, batch))
        told += len(labels)
    found["texts/s"] = len(rows) / (time.perf_counter() - clock)
    found["texts a CPU second"] = len(rows) / (time.process_time() - before)
    if told:
        found["accuracy"] = right / told
    return found


KINDS = {
    "saved_model": saved_model,
    "litert": litert,
    "onnx": onnx,
    "pipeline": pipeline,
    "onnx_runtime": onnx_runtime,
}


def _tokenizer(folder: Path) -> tuple[Any, list[str]]:
    """The word pieces that lie beside a file, and the names of its classes."""
    import sys

    sys.path.insert(0, str(folder))
    from wordpiece import Tokenizer

    names = (folder / "labels.txt").read_text("utf-8").splitlines()
    return Tokenizer.of(folder / "model.json"), names


def _onnx_runtime() -> Callable[[Path], Any]:
    import onnxruntime

    def session_of(file: Path) -> Any:
        settings = onnxruntime.SessionOptions()
        settings.intra_op_num_threads = _THREADS
        return onnxruntime.InferenceSession(str(file), settings, providers=["CPUExecutionProvider"])

    return session_of


def _padded(rows: Sequence[Sequence[int]], kind: str = "int32") -> Any:
    import numpy as np

    made = np.zeros((len(rows), max(map(len, rows))), kind)
    for place, row in enumerate(rows):
        made[place, : len(row)] = row
    return made


def _age() -> float:
    """Seconds since this process was started, imports and all."""
    began = float(Path("/proc/self/stat").read_text().rpartition(")")[2].split()[19])
    up = float(Path("/proc/uptime").read_text().split()[0])
    return up - began / os.sysconf("SC_CLK_TCK")


def main() -> None:
    """One measurement, or what is to be measured written."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("kind", choices=[*KINDS, "write"])
    parser.add_argument("path", type=Path)
    parser.add_argument("--weights", type=Path)
    parser.add_argument("--data-folder")
    parser.add_argument("--every", type=int, default=1)
    options = parser.parse_args()
    if options.kind == "write":
        print(json.dumps(write_peers(options.weights, options.path)))
    else:
        found = measure(options.kind, options.path, options.data_folder, options.every)
        print(json.dumps(found))


if __name__ == "__main__":
    main()
