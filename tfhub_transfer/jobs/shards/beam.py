"""Shards under Apache Beam: one model in each of its processes, a shard at a time in each.

A shard is what Beam deals out, not a row: so each keeps its name and the order of its rows, is
written whole or not at all, and isn't done again after a failure; and answers are the same to the
bit as without Beam. Within a shard the model makes batches by length, as always.
"""

import contextlib
import importlib.util
import logging
import os
import re
import shlex
import sys
import threading
from collections.abc import Iterator, Sequence
from typing import Any, Protocol

from tfhub_transfer.errors import InputError
from tfhub_transfer.jobs.shards.finding import Shard

# Named, for what Beam takes by itself looks for another program, which it would download.
_RUNNER = "FnApiRunner"
_NAMESPACE = "tfhub_transfer"
_SEVERAL = "--direct_running_mode multi_processing --direct_num_workers 2"
# How it quotes what a process raised.
_QUOTED = re.compile(rf"\b{InputError.__name__}: (.+)")
# One shard at a time in a process: TensorFlow uses all of its cores for one.
_turn = threading.Lock()


class Outcome(Protocol):
    """What became of a shard."""

    @property
    def answers(self) -> int: ...
    @property
    def bad(self) -> int: ...
    @property
    def failed(self) -> str: ...


class Work(Protocol):
    """What answers shards, and can be sent to another process."""

    @property
    def job(self) -> Any: ...
    @property
    def load(self) -> Any: ...

    def answer(self, ask: Any, shard: Shard) -> Outcome:
        """Answers a shard and writes it."""


def check(words: str | None) -> None:
    """Refuses, before any work, what Beam can't run.

    Args:
        words: Options of the runner, as on a command line.

    Raises:
        InputError: If Beam isn't installed, or an option isn't known, or would do harm.
    """
    if importlib.util.find_spec("apache_beam") is None:
        raise InputError(
            "Apache Beam isn't installed: `pip install 'tfhub-transfer[beam]'`, or leave "
            "`--runner` out. Received: --runner beam"
        )
    _options(words)


def _options(words: str | None) -> Any:
    with _quiet():
        from apache_beam.options import pipeline_options  # heavy, for this runner only

    try:
        given = shlex.split(words or "")
    except ValueError as error:
        raise InputError(
            f"the runner's options can't be read: {error}. Received: {words}"
        ) from error
    with _quiet():
        made = pipeline_options.PipelineOptions(given)
        known = made.get_all_options()
        unknown = made.get_all_options(retain_unknown_options=True).keys() - known.keys()
    odd = [word for word in given if word.startswith("-") and _name(word) in unknown]
    if odd:
        raise InputError(f"Beam has no such option. Received: {odd[0]} in {words}")
    if known.get("direct_running_mode") == "multi_threading":
        raise InputError(
            "threads would wait for one another, as TensorFlow uses all cores for each; give "
            f"`--runner-options '{_SEVERAL}'`. Received: {words}"
        )
    if not known.get("runner"):
        made.view_as(pipeline_options.StandardOptions).runner = _RUNNER
    return made


def _name(word: str) -> str:
    return word.lstrip("-").partition("=")[0].replace("-", "_")


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Silences Beam's remarks, of which there are dozens, but for errors."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        yield
    finally:
        logging.disable(before)


def run(work: Work, left: Sequence[Shard], words: str | None) -> None:
    """Answers shards by Beam's processes; what became of each stands in its record.

    Args:
        work: What answers a shard.
        left: The shards.
        words: Options of the runner.

    Raises:
        InputError: If something can't be written.
    """
    import apache_beam as beam
    from apache_beam.ml.inference.base import RunInference

    made = _options(words)
    known = made.get_all_options()
    # Other machines say by such lines where to look; here they are of Beam's own doings.
    quiet = known["runner"] == _RUNNER
    handler = _handler(work, _threads(known), quiet)
    pipeline = beam.Pipeline(options=made)
    (
        pipeline
        | "shards" >> beam.Create([[shard] for shard in left])  # each a batch of its own
        # Else one process would be dealt all of them.
        | beam.Reshuffle()
        | "answer" >> RunInference(handler.with_no_batching())
    )
    try:
        with _quiet() if quiet else contextlib.nullcontext():
            result = pipeline.run()
            result.wait_until_finish()
    except Exception as error:
        # Of another process Beam gives the text only.
        if quoted := _QUOTED.search(str(error)):
            raise InputError(quoted[1].strip()) from error
        raise
    for counter in result.metrics().query()["counters"]:
        if counter.key.metric.namespace == _NAMESPACE:
            value = counter.committed if counter.committed is not None else counter.attempted
            print(f"{counter.key.metric.name}: {value:,}", file=sys.stderr)


def _threads(known: dict[str, Any]) -> int:
    """Threads of TensorFlow in each process of this machine; 0 where nobody knows."""
    if known.get("direct_running_mode") != "multi_processing":
        return 0
    count = known.get("direct_num_workers") or os.cpu_count() or 1
    return max(1, (os.cpu_count() or 1) // count)


def _in_turn(work: Work, ask: Any, shard: Shard) -> Outcome:
    # Sent by name, as the lock can't be sent.
    with _turn:
        return work.answer(ask, shard)


def _handler(work: Work, threads: int, quiet: bool) -> Any:
    """What loads the model once in a process, and answers shards with it."""
    from apache_beam.metrics import Metrics
    from apache_beam.ml.inference.base import ModelHandler

    main = os.getpid()

    # Here, as its base is there only once Beam is imported; it is sent by value.
    class Answering(ModelHandler):
        def load_model(self) -> Any:
            import tensorflow as tf

            if quiet and os.getpid() != main:  # one of its own
                logging.disable(logging.WARNING)
            if threads:
                tf.config.threading.set_intra_op_parallelism_threads(threads)
                tf.config.threading.set_inter_op_parallelism_threads(threads)
            return work.load(work.job)

        def run_inference(
            self, batch: Sequence[Shard], model: Any, inference_args: Any = None
        ) -> Iterator[str]:
            for shard in batch:
                found = _in_turn(work, model, shard)
                for name, count in (
                    ("shards", 1),
                    ("answers", found.answers),
                    ("bad_rows", found.bad),
                    ("failed_shards", int(bool(found.failed))),
                ):
                    Metrics.counter(_NAMESPACE, name).inc(count)
                yield shard.name

    return Answering()
