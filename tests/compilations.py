"""How often XLA compiles something, as TensorFlow's own profiler tells."""

import contextlib
import dataclasses
import tempfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import tensorflow as tf
from tensorflow.tsl.profiler.protobuf import xplane_pb2

# What XLA calls the making of one executable on a CPU.
_EVENT = "CpuCompiler::RunBackend"


@dataclasses.dataclass
class Compilations:
    """What was compiled while `counted` was open.

    Attributes:
        count: How many executables.
    """

    count: int = 0


@contextlib.contextmanager
def counted() -> Iterator[Compilations]:
    """Counts what XLA compiles in the body."""
    found = Compilations()
    with tempfile.TemporaryDirectory() as folder:
        options = tf.profiler.experimental.ProfilerOptions(
            host_tracer_level=1, python_tracer_level=0, device_tracer_level=0
        )
        tf.profiler.experimental.start(folder, options)
        try:
            yield found
        finally:
            tf.profiler.experimental.stop()
            events: Counter[str] = Counter()
            for path in Path(folder).rglob("*.xplane.pb"):
                events += _events(path)
            found.count = events[_EVENT]


def _events(path: Path) -> "Counter[str]":
    space = xplane_pb2.XSpace.FromString(path.read_bytes())
    return Counter(
        plane.event_metadata[event.metadata_id].name
        for plane in space.planes
        for line in plane.lines
        for event in line.events
    )
