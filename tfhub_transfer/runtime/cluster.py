"""Several processes that train one model: who there is, what the first one decides, their end.

Each process is told of all by the variable `TF_CONFIG`, as TensorFlow has it: a list of addresses,
and which of them is its own. The chief alone writes, and decides where computers might differ in
the last bit; the others learn of it here.
"""

import contextlib
import dataclasses
import functools
import json
import os
import signal
import threading
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
import tensorflow as tf

from tfhub_transfer.errors import InputError, one_line
from tfhub_transfer.private import tensorflow_cluster, tensorflow_graphs
from tfhub_transfer.runtime import meeting

VARIABLE = "TF_CONFIG"
_CHIEF, _WORKER = "chief", "worker"
_EXAMPLE = (
    '{"cluster": {"worker": ["host0:2222", "host1:2222"]}, "task": {"type": "worker", "index": 0}}'
)
_MOST_REASON = 200
_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
# Of a message between processes, in floats: 32 MB.
_AT_ONCE = 8_000_000


@dataclasses.dataclass(frozen=True)
class Place:
    """Which of several processes this is.

    Attributes:
        index: Its number, from 0, which is the chief's.
        count: How many there are.
    """

    index: int = 0
    count: int = 1


def configured() -> Place:
    """What `TF_CONFIG` says; one process alone, where there is no such variable.

    Raises:
        InputError: If it isn't what TensorFlow wants, or has tasks that take no part in training.
    """
    return _told()[0]


def to_meet() -> list[str]:
    """The addresses of the other processes, for which `strategy()` waits; none once they have met.

    Raises:
        InputError: As `configured`.
    """
    here, addresses = _told()
    return [] if _made else [each for at, each in enumerate(addresses) if at != here.index]


def _told() -> tuple[Place, list[str]]:
    """Which process this is, and the addresses of all."""
    text = os.environ.get(VARIABLE, "").strip()
    if not text:
        return Place(), []
    try:
        given = json.loads(text)
    except ValueError as error:
        raise _unusable(f"it is no JSON ({error})", text) from error
    cluster = given.get("cluster") if isinstance(given, dict) else None
    if not isinstance(cluster, dict) or not cluster:
        raise _unusable("it has no `cluster` of lists of addresses", text)
    jobs = _jobs(cluster, text)
    return _place(given.get("task"), jobs, text), [each for some in jobs.values() for each in some]


def _jobs(cluster: Mapping[str, object], text: str) -> dict[str, list[str]]:
    """The addresses of each kind of task, the chief's first."""
    others = sorted(set(cluster) - {_CHIEF, _WORKER})
    if others:
        raise _unusable(f"only chief and worker take part in training, not {others[0]}", text)
    found: dict[str, list[str]] = {}
    for job in filter(cluster.__contains__, (_CHIEF, _WORKER)):
        listed = cluster[job]
        if not isinstance(listed, list) or not listed:
            raise _unusable(f"`{job}` must be a list of addresses", text)
        found[job] = listed
    addresses = [each for listed in found.values() for each in listed]
    for each in addresses:
        host, _, port = each.rpartition(":") if isinstance(each, str) else ("", "", "")
        if not host or not port.isdecimal() or not 0 < int(port) < 65536:
            raise _unusable(f"an address is host:port, which {each!r} isn't", text)
        try:
            host.encode("idna")
        except UnicodeError:  # which would be told of when it is looked for
            raise _unusable(f"{host!r} is no name of a machine", text) from None
        if addresses.count(each) > 1:
            raise _unusable(f"each task has an address of its own, and {each} is there twice", text)
    if len(found.get(_CHIEF, [])) > 1:
        raise _unusable("there is one chief", text)
    return found


def _place(task: Any, jobs: Mapping[str, list[str]], text: str) -> Place:
    """Which of the tasks this one is."""
    kind = str(task.get("type")) if isinstance(task, dict) else ""
    index = task.get("index") if isinstance(task, dict) else None
    if kind not in jobs:
        raise _unusable(f"`task` must have a `type`, one of {', '.join(jobs)}", text)
    if isinstance(index, bool) or not isinstance(index, int) or not 0 <= index < len(jobs[kind]):
        most = len(jobs[kind]) - 1
        raise _unusable(f"`task` must have an `index` from 0 to {most}, of {kind}", text)
    before = len(jobs.get(_CHIEF, [])) if kind == _WORKER else 0
    return Place(before + index, sum(map(len, jobs.values())))


def _unusable(reason: str, text: str) -> InputError:
    return InputError(
        f"{VARIABLE} tells each process of a training of all of them: {reason}; set it as "
        f"{_EXAMPLE}, with another index in each. Received: {text}"
    )


def strategy() -> tf.distribute.Strategy:
    """That of all processes; the same each time.

    Raises:
        InputError: If there aren't several, or TensorFlow has begun already.
    """
    if configured().count == 1:
        given = os.environ.get(VARIABLE, "").strip()
        raise InputError(
            f"the strategy multiworker is for several processes, and {VARIABLE} names "
            f"{'one alone' if given else 'none'}: set it in each, as {_EXAMPLE}, or give "
            f"`--workers N` to try it on this machine. Received: {given or 'no ' + VARIABLE}"
        )
    if not _made:
        if tensorflow_cluster.has_begun():
            raise InputError(
                "processes have to meet before TensorFlow does anything else: make the strategy "
                "first of all. Received: multiworker, after TensorFlow had begun"
            )
        here, addresses = _told()
        meeting.wait(addresses[here.index], to_meet())
        try:
            with _mortal():
                _made.append(tf.distribute.MultiWorkerMirroredStrategy())
        except tf.errors.OpError as error:
            raise InputError(
                f"the processes that {VARIABLE} names didn't meet; start all of them at about the "
                "same time, each with an address that the others reach and a port that is free. "
                f"Received: {os.environ[VARIABLE]}, and {one_line(str(error), _MOST_REASON)}"
            ) from error
    return _made[0]


@contextlib.contextmanager
def _mortal() -> Iterator[None]:
    """Signals end the process at once, which has nothing to clean up yet.

    Python's own handlers run between its steps, and what is left of waiting for the others, once
    all are there, is a single one.
    """
    usual = {}
    if threading.current_thread() is threading.main_thread():
        usual = {number: signal.getsignal(number) for number in _SIGNALS}
    # What is ignored stays so; what wasn't installed from Python couldn't be put back.
    usual = {number: by for number, by in usual.items() if by not in (None, signal.SIG_IGN)}
    for number in usual:
        signal.signal(number, signal.SIG_DFL)
    try:
        yield
    finally:
        for number, by in usual.items():
            signal.signal(number, by)


# Processes meet once: TensorFlow can't leave one cluster for another.
_made: list[tf.distribute.Strategy] = []


def place(of: tf.distribute.Strategy | None = None) -> Place:
    """Which process this is, under a strategy.

    Args:
        of: The strategy; that of `strategy()`, if it was made, where none is given.
    """
    found = of or (_made[0] if _made else None)
    resolver = getattr(found, "cluster_resolver", None)
    if resolver is None or not isinstance(found, tf.distribute.MultiWorkerMirroredStrategy):
        return Place()
    jobs = resolver.cluster_spec().as_dict()
    if not jobs:
        return Place()
    before = len(jobs.get(_CHIEF, [])) if resolver.task_type == _WORKER else 0
    return Place(before + resolver.task_id, sum(map(len, jobs.values())))


def is_chief() -> bool:
    """Whether this process writes, of those of `strategy()`; one that is alone does."""
    return place().index == 0


# What one knows, and all learn --------------------------------------------------------------------


def decided(of: tf.distribute.Strategy, decide: Callable[[], float]) -> float:
    """A number that the chief decides, and all processes go by.

    Args:
        of: The strategy, whose processes all ask.
        decide: What the chief does.
    """
    if place(of).count == 1:
        return decide()
    return float(json.loads(told(of, lambda: json.dumps(decide()).encode())))


def told(of: tf.distribute.Strategy, say: Callable[[], bytes]) -> bytes:
    """What the chief says to all processes.

    Args:
        of: The strategy, whose processes all listen.
        say: Gives it; called by the chief alone.
    """
    first = place(of).index == 0
    given = say() if first else b""
    size = int(_of_chief(of, np.array([len(given)], "<u8").view("<u2")).view("<u8")[0])
    halves = np.zeros(-(-size // 2), "<u2")
    if first:
        halves.view("u1")[:size] = np.frombuffer(given, "u1")
    ends = range(0, len(halves), _AT_ONCE)
    parts = [_of_chief(of, halves[end : end + _AT_ONCE]).tobytes() for end in ends]
    return b"".join(parts)[:size]


def everywhere(of: tf.distribute.Strategy, done: bool) -> bool:
    """Whether all processes have done something.

    Args:
        of: The strategy, whose processes all ask.
        done: Whether this one has.
    """
    count = place(of).count
    return done if count == 1 else int(added(of, np.array([done], "float32"))[0]) == count


def together(of: tf.distribute.Strategy | None = None) -> None:
    """Returns once all processes have come here.

    Args:
        of: Their strategy; that of `strategy()` if none is given.
    """
    if place(of).count > 1:
        added(of or _made[0], np.ones(1, "float32"))


def others_answer(seconds: float) -> Iterator[bool]:
    """Whether each of the other processes answers.

    Args:
        seconds: How long it has.
    """
    resolver = _made[0].cluster_resolver if _made else None
    if resolver is not None:
        own = resolver.task_type, resolver.task_id
        for job, tasks in resolver.cluster_spec().as_dict().items():
            for index in range(len(tasks)):
                if (job, index) != own:
                    yield tensorflow_cluster.does_answer(job, index, seconds)


def give_up() -> None:
    """Ends what waits for other processes, and all that is done together from now on."""
    tensorflow_cluster.give_up("another process has ended")


def _of_chief(of: tf.distribute.Strategy, halves: np.ndarray) -> np.ndarray:
    """What the chief has of numbers of 16 bits, which float32 holds exactly; others bring zeros."""
    return added(of, halves.astype("float32")).astype("<u2")


def added(of: tf.distribute.Strategy, values: np.ndarray) -> np.ndarray:
    """The sum over processes of float32 numbers, all of one shape.

    Args:
        of: The strategy, whose processes all bring some.
        values: What this one brings.
    """
    return np.asarray(_add(of, values.shape)(tf.constant(values, tf.float32)))


@functools.cache
def _add(of: tf.distribute.Strategy, shape: tuple[int, ...]) -> Callable[[tf.Tensor], tf.Tensor]:
    """What adds up arrays of a shape: of one function for all TensorFlow warns as of a mistake."""
    each = of.num_replicas_in_sync // place(of).count

    def own(values: tf.Tensor) -> tf.Tensor:
        context = tf.distribute.get_replica_context()
        # One of a process' replicas speaks for it.
        speaks = tf.equal(tf.convert_to_tensor(context.replica_id_in_sync_group) % each, 0)
        brought = tf.where(speaks, values, tf.zeros_like(values))
        return context.all_reduce(tf.distribute.ReduceOp.SUM, brought)

    @tf.function(autograph=False)
    def add(values: tf.Tensor) -> tf.Tensor:
        return of.experimental_local_results(of.run(own, (values,)))[0]

    tensorflow_graphs.count_alone(add)
    return add
