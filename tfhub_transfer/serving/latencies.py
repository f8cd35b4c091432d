"""How long an export takes to load and to answer on this machine, asked as TF Serving does."""

import dataclasses
import os
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TypeAlias

import numpy as np
import tensorflow as tf

from tfhub_transfer.serving.warm_up import BATCH_SIZES, Inputs, Ranks, batch

_SERVE = "serve"
# Tokens of a text that is measured with: a review of two sentences.
TOKENS = 32
# So long may measuring take, and so often is a batch asked at most; the last percent of fewer
# would be the slowest of all.
SECONDS, _TIMES = 1.5, 100

Answers: TypeAlias = Mapping[str, np.ndarray]


@dataclasses.dataclass(frozen=True)
class Latency:
    """How long batches of a size take.

    Attributes:
        size: Texts in a batch.
        times: How often one was asked.
        median: Seconds of half of them, at most.
        slow: Seconds of 99 of 100 of them, at most.
    """

    size: int
    times: int
    median: float
    slow: float


@dataclasses.dataclass(frozen=True)
class Measured:
    """What was measured of an export.

    Attributes:
        load: Seconds until it was loaded.
        first: Seconds of its first answer.
        memory: Bytes by which the process grew by then.
        latencies: Of each size of batch that was measured.
        tokens: How many a text had.
    """

    load: float
    first: float
    memory: int
    latencies: tuple[Latency, ...]
    tokens: int = TOKENS


class Session:
    """An export loaded as TF Serving does.

    Args:
        version: The folder of one version; it is trusted.
    """

    def __init__(self, version: Path) -> None:
        self._session = tf.compat.v1.Session(graph=tf.Graph())
        loader = tf.compat.v1.saved_model.loader
        with self._session.graph.as_default():
            self._signatures = loader.load(self._session, [_SERVE], str(version)).signature_def

    def ask(self, signature: str, inputs: Inputs) -> Answers:
        """What a signature gives.

        Args:
            signature: Its name.
            inputs: Strings, by the names of its inputs.
        """
        asked = self._signatures[signature]
        fetched = {name: tensor.name for name, tensor in asked.outputs.items()}
        given = {asked.inputs[name].name: list(values) for name, values in inputs.items()}
        answers: Answers = self._session.run(fetched, given)
        return answers

    def close(self) -> None:
        """Gives its memory back."""
        self._session.close()


def measure(version: Path, signature: str, ranks: Ranks) -> tuple[Measured, Session]:
    """Loads an export and asks one of its signatures, in under two seconds beside loading.

    Sizes of batches for which there is no time are left out, so there may be one only.

    Args:
        version: The folder of one version; it is trusted.
        signature: What to ask.
        ranks: What it takes.

    Returns:
        What was measured, and the session, which is to be closed.
    """
    before, start = _memory(), time.perf_counter()
    session = Session(version)
    loaded = time.perf_counter()
    session.ask(signature, batch(ranks, 1, TOKENS))
    answered = time.perf_counter()
    found: list[Latency] = []
    share = SECONDS / len(BATCH_SIZES)
    for size in BATCH_SIZES:
        # Every row costs at most what the first one did.
        if found and found[-1].median * size / found[-1].size > SECONDS:
            break
        found.append(_latency(session, signature, batch(ranks, size, TOKENS), size, share))
    grown = max(0, _memory() - before)
    return Measured(loaded - start, answered - loaded, grown, tuple(found)), session


def _latency(session: Session, signature: str, inputs: Inputs, size: int, share: float) -> Latency:
    session.ask(signature, inputs)  # takes memory for this size
    seconds: list[float] = []
    while not seconds or (len(seconds) < _TIMES and sum(seconds) < share):
        start = time.perf_counter()
        session.ask(signature, inputs)
        seconds.append(time.perf_counter() - start)
    return Latency(size, len(seconds), *_quantiles(seconds))


def _quantiles(seconds: Sequence[float]) -> tuple[float, float]:
    median, slow = np.quantile(seconds, [0.5, 0.99], method="higher")
    return float(median), float(slow)


def _memory() -> int:
    """Bytes that this process has in memory; 0 where nobody says."""
    try:
        pages = int(Path("/proc/self/statm").read_text("ascii").split()[1])
    except (OSError, ValueError, IndexError):  # not Linux
        return 0
    return pages * os.sysconf("SC_PAGE_SIZE")
