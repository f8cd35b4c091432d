"""What stands beside versions for who runs TF Serving: configuration, a client, notes.

The texts lie in `kit_texts/`. TF Serving takes subfolders for versions if their names are numbers,
and passes over everything else (sources/storage_path/file_system_storage_path_source.cc).
"""

import dataclasses
import hashlib
import json
import platform
import re
import string
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow_text

from tfhub_transfer.errors import InputError
from tfhub_transfer.graphs import safety
from tfhub_transfer.incoming import usual
from tfhub_transfer.serving import latencies, operations
from tfhub_transfer.serving.latencies import Latency, Measured
from tfhub_transfer.serving.replay import ByLoader
from tfhub_transfer.serving.served import ENCODE, SIGNATURE
from tfhub_transfer.serving.warm_up import Inputs
from tfhub_transfer.storage import atomic, opening, retention
from tfhub_transfer.texts import joining

STATE = "kit.json"
MODELS = "models.config"
# By name in the kit, with what each is made of.
_FILES = {
    MODELS: "models.config",
    "batching.txt": "batching.txt",
    "monitoring.txt": "monitoring.txt",
    "docker-compose.yml": "docker-compose.yml",
    "OPS.md": "OPS.md",
    "client.py": "client.py.txt",
}
_TEXTS = Path(__file__).with_name("kit_texts")
# What the smoke test asks; several inputs of one row get the same.
_ASKED = ("text", "A longer text, with signs & naïve words 🙂.", "")
# An export's answers are the same on another machine but for rounding.
_TOLERANCE, _REDUCED_TOLERANCE = 1e-4, 0.05
# Larger batches must make a text cheaper by a tenth, or the next request had better not wait.
_WORTH, _LEAST_BATCH, _LONGEST_WAIT = 0.9, 8, 5e-3
# Requests of more texts are cut where answers are as wide in each part.
_MOST_ROWS = 1024


@dataclasses.dataclass(frozen=True)
class Labels:
    """What `models.config` says.

    Attributes:
        name: What the server calls the model.
        stable: The version that is asked by the label `stable`.
        canary: The one asked by `canary`.
        loaded: How many versions are loaded.
    """

    name: str
    stable: int
    canary: int
    loaded: int


def check(serving: Path, name: str | None) -> None:
    """Refuses a place, before any work, where the kit would replace somebody else's file.

    Args:
        serving: The folder of versions; there may be none.
        name: What the server is to call the model.

    Raises:
        InputError: If a file is there that this package didn't write, a version of another format,
            or the name won't do.
    """
    if name is not None and not re.fullmatch(r"[A-Za-z0-9_.-]+", name):
        raise InputError(
            "`name` is part of the addresses at which a server answers; use letters, digits, `_`, "
            f"`.` and `-`. Received: name={name!r}"
        )
    retention.require_alike(serving, safety.GRAPH_FILE)
    atomic.check_files(serving, [*_FILES, STATE])


def write(version: Path, name: str | None = None) -> list[str]:
    """Writes the kit of a version that is there, beside it; it is loaded and asked for that.

    Files of the kit that were changed by others stay as they are. Of `models.config`, the label
    `canary` goes to this version; `stable` stays where it is as long as that version is there.

    Args:
        version: The folder of the version, which is trusted.
        name: What the server calls the model; if not given as before, or as the folder.

    Returns:
        What a user must know of it, a line each.

    Raises:
        InputError: If it would replace a file that this package didn't write.
        OSError: If it can't be written.
    """
    serving = version.parent
    before = _state(serving)
    graph = operations.read(version)
    labels, ours = _labels(serving, int(version.name), name or before.get("model"))
    signatures = graph.of_strings
    signature = SIGNATURE if SIGNATURE in signatures else _first(signatures)
    measured, session = latencies.measure(version, signature, signatures[signature])
    try:
        asked = [_asked(session, each, ranks) for each, ranks in signatures.items()]
    finally:
        session.close()
    values = _values(version, labels, graph, measured, signature)
    contents = {each: _filled(each, values).encode() for each in _FILES}
    kept = _changed(serving, before, {MODELS} if ours else set())
    written = {each: content for each, content in contents.items() if each not in kept}
    digests = {**before.get("files", {}), **{e: _digest(c) for e, c in written.items()}}
    state = {
        "model": labels.name,
        "version": labels.canary,
        "signature": signature,
        "inputs": signatures,
        "tolerance": _REDUCED_TOLERANCE if graph.reduced else _TOLERANCE,
        "asked": asked,
        "files": digests,
    }
    # First what the server doesn't read; the labels last, for what they name is there.
    written = {STATE: _json(state), **{k: v for k, v in written.items() if k != MODELS}, **written}
    atomic.files(serving, written)
    return [_advice(serving / each, labels) for each in sorted(kept)]


def _first(signatures: Iterable[str]) -> str:
    """Of several tasks the first, rather than vectors."""
    return min(signatures, key=lambda name: (name == ENCODE, name))


def _advice(path: Path, labels: Labels) -> str:
    more = f"; give `canary` the value {labels.canary} there" if path.name == MODELS else ""
    return f"{path} was changed since it was written, and stays as it is{more}"


# What was written before --------------------------------------------------------------------------


def _state(serving: Path) -> dict[str, Any]:
    """What the kit that is there says of itself; nothing, where there is none."""
    try:
        found = json.loads(opening.read_bytes(serving / STATE, 1 << 26))
    except (OSError, ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) and isinstance(found.get("files"), dict) else {}


def _changed(serving: Path, before: Mapping[str, Any], passed: set[str]) -> set[str]:
    """Files of the kit that are no longer as they were written."""
    known, found = before.get("files", {}), set()
    for name in set(_FILES) - passed:
        path = serving / name
        if path.exists() and name in known:
            found |= {name} if _digest(path.read_bytes()) != known[name] else set()
    return found


def labels_of(serving: Path) -> Labels | None:
    """What `models.config` says, if it is as `write` writes it but for its numbers.

    Args:
        serving: The folder of versions.
    """
    try:
        text = (serving / MODELS).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        return None
    pattern = re.escape((_TEXTS / MODELS).read_text(encoding="utf-8"))
    first = "(?P<name>[A-Za-z0-9_.-]+)"
    pattern = pattern.replace(re.escape("$name"), first, 1).replace(re.escape("$name"), "(?P=name)")
    for each in ("loaded", "stable", "canary"):
        pattern = pattern.replace(re.escape(f"${each}"), rf"(?P<{each}>[0-9]+)")
    found = re.fullmatch(pattern, text)
    if found is None:
        return None
    numbers = (int(found[each]) for each in ("stable", "canary", "loaded"))
    return Labels(found["name"], *numbers)


def kept(serving: Path, keep: int | None) -> int | None:
    """How many versions the next export is to keep, so that the one labelled `stable` stays.

    Args:
        serving: The folder of versions; there may be none.
        keep: How many were asked for; all, if nobody said.
    """
    before = labels_of(serving)
    if keep is None or before is None:
        return keep
    numbers = _numbers(serving)
    newer = [number for number in numbers if number >= before.stable]
    return max(keep, len(newer) + 1) if before.stable in numbers else keep


def _numbers(serving: Path) -> list[int]:
    return [int(p.name) for p in serving.iterdir() if re.fullmatch("[0-9]+", p.name)]


def _labels(serving: Path, version: int, name: object) -> tuple[Labels, bool]:
    """What `models.config` is to say, and whether what it says now is only that."""
    before = labels_of(serving)
    numbers = _numbers(serving)
    # A model whose first version this is has no other; nor has one whose stable one was removed.
    stable = before.stable if before and before.stable in numbers else version
    loaded = len([number for number in numbers if number >= stable]) + 1
    called = str(name or re.sub(r"[^A-Za-z0-9_.-]", "_", serving.resolve().name) or "model")
    return Labels(called, stable, version, loaded), before is not None


# What is asked, and what is said of it ------------------------------------------------------------


def _asked(session: ByLoader, signature: str, ranks: Mapping[str, int]) -> dict[str, object]:
    """A request for the smoke test, with the answers."""
    words = joining.padded([text.split() for text in _ASKED])
    inputs: Inputs = {n: words if rank == 2 else list(_ASKED) for n, rank in ranks.items()}
    found = session.ask(signature, inputs)
    outputs = {name: _plain(array) for name, array in sorted(found.items())}
    return {"signature": signature, "inputs": inputs, "outputs": outputs}


def _plain(array: np.ndarray) -> Any:
    if array.dtype == object:
        array = np.vectorize(lambda each: each.decode("utf-8", "replace"), [object])(array)
    return array.tolist()


def _values(
    version: Path, labels: Labels, graph: operations.Graph, measured: Measured, signature: str
) -> dict[str, object]:
    """What the texts of the kit leave open."""
    release = ".".join(graph.version.split(".")[:2])
    inputs = sorted(graph.ranks[signature])
    return {
        **dataclasses.asdict(labels),
        **_batching(labels.name, graph, measured),
        "service": labels.name.replace(".", "-"),
        "version": labels.canary,
        "machine": f"{platform.machine()}, {usual.cores()} CPU cores",
        "tensorflow": graph.version,
        "text": tensorflow_text.__version__,
        "minor": release,
        "image": f"{release}.0",
        "example": '" "'.join(f"A {name}" for name in inputs),
        "text_table": _table(graph.texts),
        "table": _table(graph.tensorflow),
        "files": f"{_size(version) / 1e6:.1f}",
        "memory": f"{measured.memory / 1e6:.0f}",
        "load": f"{measured.load:.2f}",
        "first": f"{measured.first:.2f}",
        "signature": signature,
        "tokens": measured.tokens,
        "latencies": "\n".join(map(_row, measured.latencies)),
        "remarks": "\n".join(_remarks(graph)),
    }


def _row(each: Latency) -> str:
    rate = each.size / each.median
    times = f"{each.median * 1e3:.1f} ms | {each.slow * 1e3:.1f} ms"
    return f"| {each.size} | {each.times} times | {times} | {rate:,.0f} |"


def _table(counts: Mapping[str, int]) -> str:
    rows = "\n".join(f"| `{name}` | {count} |" for name, count in counts.items())
    return f"| operation | times |\n|---|---|\n{rows}" if counts else "none"


def _remarks(graph: operations.Graph) -> list[str]:
    """Where batches of a server don't suit what the signatures take and give."""
    found = []
    if graph.has_words:
        found.append(
            "Batching is off in docker-compose.yml: lists of words differ in length, and the "
            "server merges requests of one length only (to fill up it would repeat the first word)."
        )
    if graph.has_padded:
        found.append(
            "Answers are as wide as the widest of their batch, filled up with zeros and empty "
            "texts, and a batching server refuses requests of more texts than max_batch_size."
        )
    return found


def _batching(name: str, graph: operations.Graph, measured: Measured) -> dict[str, object]:
    """Settings of batches, of what was measured."""
    best = measured.latencies[0]
    for each in measured.latencies[1:]:
        if each.median / each.size < _WORTH * best.median / best.size:
            best = each
    rows, threads = max(_LEAST_BATCH, best.size), usual.cores()
    sizes = [f"max_batch_size {{ value: {rows} }}"]
    if not graph.has_padded:  # parts of equal width can be put together again
        sizes = [
            f"max_batch_size {{ value: {_MOST_ROWS} }}",
            "enable_large_batch_splitting { value: true }",
            f"max_execution_batch_size {{ value: {rows} }}",
        ]
    wait = min(measured.latencies[0].median / 2, _LONGEST_WAIT)
    seconds = best.median * rows / best.size
    flags = [
        "      - --enable_batching=true",
        f"      - --batching_parameters_file=/models/{name}/batching.txt",
    ]
    off = ["      # No --enable_batching: lists of words of different lengths can't be merged."]
    return {
        "sizes": "\n".join(sizes),
        "wait": round(wait * 1e6 / 100) * 100,
        "threads": threads,
        "waiting": max(threads, min(1000, int(threads / seconds))),
        "batching": "\n".join(off if graph.has_words else flags),
    }


def _filled(name: str, values: Mapping[str, object]) -> str:
    """A text of the kit with what it leaves open."""
    text = (_TEXTS / _FILES[name]).read_text(encoding="utf-8")
    return string.Template(text).substitute(values)


def _size(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _json(value: object) -> bytes:
    return (json.dumps(value, ensure_ascii=False, indent=1) + "\n").encode()
