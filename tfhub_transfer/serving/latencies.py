"""How long an export takes to load and to answer on this machine, asked as TF Serving does."""

import dataclasses
import os
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from tfhub_transfer.serving.replay import ByLoader
from tfhub_transfer.serving.warm_up import BATCH_SIZES, Inputs, Ranks, batch

# Tokens of a text that is measured with: a review of two sentences.
TOKENS = 32
# So long may measuring take, and so often is a batch asked at most; the last percent of fewer
# would be the slowest of all.
SECONDS, _TIMES = 1.5, 100


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


def measure(version: Path, signature: str, ranks: Ranks) -> tuple[Measured, ByLoader]:
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
    session = ByLoader(version)
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


def _latency(session: ByLoader, signature: str, inputs: Inputs, size: int, share: float) -> Latency:
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
