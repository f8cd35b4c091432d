"""Whether an export answers as its model does: moved, in fresh processes, without this package."""

import contextlib
import dataclasses
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
import tensorflow as tf
from tensorflow.core.protobuf import meta_graph_pb2

from tfhub_transfer import runtime
from tfhub_transfer.errors import InputError, one_line
from tfhub_transfer.graphs import safety
from tfhub_transfer.models import scope
from tfhub_transfer.models.transfer import TransferModel, require_model
from tfhub_transfer.serving import operations, replay, searches, warm_up
from tfhub_transfer.serving.exporting import models_of
from tfhub_transfer.serving.served import ENCODE, WORDS, newest, signature_of
from tfhub_transfer.serving.signatures import CLASSIFY, REGRESS, SERIALIZED, TOP_K
from tfhub_transfer.storage import scratch
from tfhub_transfer.texts import joining, splitting

# How far answers may be from the model's, in float32 and with fewer digits.
_MOST, _MOST_REDUCED = 1e-4, 0.1
# How often a model is asked with other rounding.
_SHAKEN = 3
WARM_UP, ODD = "warm-up", "odd texts"
# Empty, short, of other scripts, with signs that separate words elsewhere, longer than is read.
ODD_TEXTS = (
    *("", " ", "a", "Good film, bad movie!", "naïve Café 🙂 中文", "a\tb\nc\x1fd", "?!,.;"),
    "one two three four five " * 200,
)
# How a fresh process loads an export (`replay`).
SESSION, NATIVE = "session", "native"


@dataclasses.dataclass(frozen=True)
class Check:
    """One check.

    Attributes:
        folder: What was prepared for it.
        passed: Whether all was as it should be.
        text: What was seen, a line.
    """

    folder: Path
    passed: bool
    text: str


def check(folder: str | Path, model: TransferModel, trust_code: bool = False) -> Iterator[Check]:
    """Checks an export, one thing after another.

    Args:
        folder: A version's folder, or the folder of versions, of which the newest is taken.
        model: The trained model that was exported.
        trust_code: Whether the export may hold operations that do more than compute.

    Raises:
        InputError: If there is no export, or it may not be loaded.
    """
    with scratch.temporary() as place:
        yield from prepare(folder, model, place / "check", trust_code)
        yield from run([place / "check"])


def prepare(
    folder: str | Path, model: TransferModel, place: Path, trust_code: bool = False
) -> list[Check]:
    """Copies an export, and writes beside what to ask it, with what the model answers.

    Args:
        folder: As of `check`.
        model: As of `check`.
        place: A new folder.
        trust_code: As of `check`.

    Returns:
        What is known before the export is loaded.

    Raises:
        InputError: As `check`.
    """
    require_model(model)
    version = newest(Path(folder))
    safety.check_saved_model(version, trust_code)
    shutil.copytree(version, place / "version")
    graph = operations.read(version)
    _require_of(model, graph)
    names = {
        name: {"inputs": _tensors(inputs), "outputs": _tensors(graph.outputs[name])}
        for name, inputs in graph.inputs.items()
    }
    told = {"signatures": names, "most": _MOST_REDUCED if graph.reduced else _MOST}
    (place / "signatures.json").write_text(json.dumps(told), encoding="utf-8")
    with searches.as_exported(models_of(model), version):
        return _asked_all(version, model, graph, place)


def _asked_all(
    version: Path, model: TransferModel, graph: operations.Graph, place: Path
) -> list[Check]:
    odd = list(_odd(graph.of_strings))
    warm_up.write(place / f"{ODD}.records", odd)
    _expect(place / ODD, model, graph, odd)
    found = [Check(place, True, f"operations: {_listed(graph)}")]
    if not (version / warm_up.FILE).exists():  # TF Serving does without
        return [*found, Check(place, True, f"{WARM_UP}: none, as of older exports")]
    return [*found, *_warm_up(version / warm_up.FILE, model, graph, place)]


def _require_of(model: TransferModel, graph: operations.Graph) -> None:
    """Refuses what lacks a signature that the model's exports have: nothing would be compared."""
    for name, each in models_of(model).items():
        found = graph.of_strings.get(name, {})
        if sorted(found) != sorted(each.layout.signature) or {*found.values()} != {1}:
            raise InputError(
                f"the export isn't of this model, whose exports have a signature {name!r} of "
                f"{', '.join(each.layout.signature)}; name its own with `--model`. "
                f"Received: {one_line(', '.join(map(repr, graph.inputs)), 100) or 'no signature'}"
            )


def _warm_up(
    file: Path, model: TransferModel, graph: operations.Graph, place: Path
) -> Iterator[Check]:
    """Writes what to ask of an export's own requests, unless they are damaged."""
    try:
        # A server refuses a version whose requests have another checksum, and so does this reader.
        asked = [_asked(record.numpy()) for record in tf.data.TFRecordDataset(str(file))]
    except (tf.errors.OpError, OSError, LookupError, ValueError) as error:
        yield Check(place, False, f"{WARM_UP}: the requests are damaged ({one_line(str(error))})")
        return
    _expect(place / WARM_UP, model, graph, asked)
    shutil.copyfile(file, place / f"{WARM_UP}.records")


def run(places: Sequence[Path], ways: Sequence[str] = (SESSION, NATIVE)) -> Iterator[Check]:
    """Runs the checks of what was prepared, in one fresh process for each way to load it.

    Args:
        places: Folders that `prepare` filled.
        ways: How they are loaded.
    """
    for how in ways:
        command = [sys.executable, "-I", replay.__file__, how, *map(str, places)]
        # Neither an environment nor a folder that could lend it anything.
        kept = {n: v for n, v in os.environ.items() if not n.startswith("PYTHON")}
        done = subprocess.run(
            command,
            capture_output=True,
            text=True,
            check=False,
            cwd=places[0],
            env={**kept, "TF_CPP_MIN_LOG_LEVEL": "3"},
        )
        for line in done.stdout.splitlines():
            folder, passed, text = json.loads(line)
            yield Check(Path(folder), passed, text)
        if done.returncode:
            said = one_line(done.stderr, 500)
            yield Check(places[0], False, f"{how}: ended with status {done.returncode} ({said})")


def _listed(graph: operations.Graph) -> str:
    texts = ", ".join(graph.texts) or "none"
    return f"{len(graph.tensorflow)} of TensorFlow; of tensorflow-text: {texts}"


def _tensors(infos: Mapping[str, meta_graph_pb2.TensorInfo]) -> dict[str, str]:
    return {name: info.name for name, info in infos.items()}


def _odd(signatures: Mapping[str, warm_up.Ranks]) -> Iterator[warm_up.Request]:
    """Odd texts for each signature; several inputs of a row get others."""
    words = joining.padded([text.split()[:40] for text in ODD_TEXTS])
    for name, ranks in sorted(signatures.items()):
        texts = [(*ODD_TEXTS[place:], *ODD_TEXTS[:place]) for place in range(len(ranks))]
        given = {n: words if r == 2 else t for (n, r), t in zip(ranks.items(), texts)}
        yield warm_up.Request(name, given)


def _asked(record: bytes) -> warm_up.Request:
    """A request of a file, with bytes for strings."""
    signature, inputs = replay.request(record)
    return warm_up.Request(signature, {name: a.tolist() for name, a in inputs.items()})


def _expect(
    path: Path, model: TransferModel, graph: operations.Graph, asked: Sequence[warm_up.Request]
) -> None:
    """Writes what the model answers to requests."""
    expected = {
        f"{number}/{name}": value
        for number, each in enumerate(asked, start=1)
        for name, value in answered(model, each, graph).items()
    }
    unsteady = _unsteady(model, graph, asked, expected)
    np.savez(path.with_suffix(".npz"), **expected, **unsteady)  # type: ignore[arg-type]


def _unsteady(
    model: TransferModel,
    graph: operations.Graph,
    asked: Sequence[warm_up.Request],
    expected: Mapping[str, np.ndarray],
) -> dict[str, np.ndarray]:
    """Rows of requests whose texts the model itself writes otherwise when rounding is otherwise."""
    found: dict[str, np.ndarray] = {}
    for seed in range(_SHAKEN):
        with contextlib.ExitStack() as stack:
            shaken = [
                stack.enter_context(each.layout.shaken(each, _MOST, seed))
                for each in models_of(model).values()
            ]
            if not any(shaken):
                return {}
            for number, request in enumerate(asked, start=1):
                for name, value in answered(model, request, graph).items():
                    wanted, key = expected[f"{number}/{name}"], f"{replay.UNSTEADY}/{number}"
                    if wanted.dtype.kind == "S":
                        other = np.reshape(value != wanted, (len(wanted), -1)).any(axis=1)
                        found[key] = other | found.get(key, np.zeros_like(other))
    return {key: rows for key, rows in found.items() if rows.any()}


def answered(
    model: TransferModel, asked: warm_up.Request, graph: operations.Graph
) -> dict[str, np.ndarray]:
    """What the model gives where the export is asked: nothing of that is exported.

    Args:
        model: The trained model.
        asked: The request.
        graph: What is known of the export.

    Raises:
        InputError: If its export would have no such signature.
    """
    given = {n: tf.constant(list(values), tf.string) for n, values in asked.inputs.items()}
    with runtime.precision("float32"):
        if asked.signature == ENCODE:
            texts = [text.decode() for text in given["text"].numpy()]
            return {"embedding": model.encode_text(texts)}
        for name, each in models_of(model).items():
            most = graph.width(signature_of(name, TOP_K), "labels")
            found = _of_task(name, each, asked.signature, given, most)
            if found is not None:
                return found
    raise InputError(
        f"the export isn't of this model, whose exports answer {', '.join(models_of(model))}; name "
        f"its own with `--model`. Received: a signature {asked.signature!r}"
    )


def _of_task(
    name: str, model: TransferModel, signature: str, given: dict[str, tf.Tensor], most: int | None
) -> dict[str, np.ndarray] | None:
    """Answers of one task, its `most` likeliest; nothing, if the signature is none of its own."""
    layout = model.layout
    if layout.takes_words and signature == signature_of(name, WORDS):
        return _arrays(model, [splitting.joined(given["tokens"])])
    kinds = (SERIALIZED, TOP_K, CLASSIFY, REGRESS)
    (kind,) = [k for k in kinds if signature == signature_of(name, k)] or [""]
    if not kind and signature != name:
        return None
    if kind and kind != TOP_K:
        (examples,) = given.values()
        parsed = [tf.train.Example.FromString(each) for each in examples.numpy()]
        given = {n: [_feature(each, n) for each in parsed] for n in layout.signature}
    found = _arrays(model, layout.plain(*(given[each] for each in layout.signature)))
    return _as(kind, found, np.array([n.encode() for n in model.task.class_names or ()]), most)


def _feature(example: tf.train.Example, name: str) -> bytes:
    (value,) = example.features.feature[name].bytes_list.value
    return bytes(value)


def _as(
    kind: str, found: dict[str, np.ndarray], names: np.ndarray, most: int | None
) -> dict[str, np.ndarray]:
    """Answers as a signature of some kind has them."""
    if kind == REGRESS:
        return {"outputs": found["score"]}
    if kind not in (CLASSIFY, TOP_K):
        return found
    scores = found["scores"]
    if most is None:
        return {"classes": np.tile(names, (len(scores), 1)), "scores": scores}
    best = np.argsort(-scores, axis=1, kind="stable")[:, :most]
    picked = np.take_along_axis(scores, best, 1)
    if kind == CLASSIFY:
        return {"classes": names[best], "scores": picked}
    return {"labels": names[best], "label_ids": best, "scores": picked}


def _arrays(model: TransferModel, texts: Sequence[tf.Tensor]) -> dict[str, np.ndarray]:
    layout = model.layout
    rows, state = layout.prepare(*texts)
    beside: dict[str, tf.Tensor] = {}

    def run(*rows: tf.Tensor) -> tf.Tensor:
        scores, told = scope.apart(model.scope, model.scoped_answer(layout.batch(*rows)))
        beside.update(told)
        return scores

    found = {**layout.answers(run, rows, state), **beside}
    return {key: _array(value) for key, value in found.items()}


def _array(value: tf.Tensor) -> np.ndarray:
    """As NumPy stores it: bytes rather than objects."""
    dense = value.to_tensor() if isinstance(value, tf.RaggedTensor) else value
    array: np.ndarray = dense.numpy()
    return array.astype(bytes) if array.dtype == object else array
