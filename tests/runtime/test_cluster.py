"""What `TF_CONFIG` says of processes; what they do together is in `test_workers`."""

import json
import signal
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

import tfhub_transfer as tt
from tfhub_transfer.errors import InputError
from tfhub_transfer.runtime import cluster, machine, metric_states

HOSTS = ["one:2222", "two:2222"]
FIRST = {"type": "worker", "index": 0}


def config(task: Any = FIRST, **jobs: Any) -> str:
    return json.dumps({"cluster": jobs or {"worker": HOSTS}, "task": task})


@pytest.mark.parametrize(
    ("text", "place"),
    [
        (None, cluster.Place(0, 1)),
        (" ", cluster.Place(0, 1)),
        (config(), cluster.Place(0, 2)),
        (config({"type": "worker", "index": 1}), cluster.Place(1, 2)),
        (config({"type": "worker", "index": 1}, chief=["c:1"], worker=HOSTS), cluster.Place(2, 3)),
        (config({"type": "chief", "index": 0}, chief=["c:1"], worker=HOSTS), cluster.Place(0, 3)),
        (config(worker=["[::1]:2222"]), cluster.Place(0, 1)),
    ],
)
def test_each_process_knows_its_place(
    monkeypatch: pytest.MonkeyPatch, text: str | None, place: cluster.Place
) -> None:
    monkeypatch.delenv("TF_CONFIG", raising=False)
    if text is not None:
        monkeypatch.setenv("TF_CONFIG", text)
    assert cluster.configured() == place


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("{", "it is no JSON"),
        ("[]", "it has no `cluster`"),
        ('{"cluster": {}}', "it has no `cluster`"),
        (config(worker=[]), "`worker` must be a list of addresses"),
        (config(worker="one:1"), "`worker` must be a list of addresses"),
        (config(worker=["one"]), "an address is host:port, which 'one' isn't"),
        (config(worker=["one..two:1"]), "'one..two' is no name of a machine"),
        (config(worker=["one:x"]), "an address is host:port, which 'one:x' isn't"),
        (config(worker=["one:70000"]), "an address is host:port, which 'one:70000' isn't"),
        (config(worker=[":1"]), "an address is host:port, which ':1' isn't"),
        (config(worker=[3]), "an address is host:port, which 3 isn't"),
        (config(worker=["one:1"] * 2), "an address of its own, and one:1 is there twice"),
        (config(chief=["a:1"], worker=["a:1"]), "an address of its own, and a:1 is there twice"),
        (config(chief=["a:1", "b:1"], worker=HOSTS), "there is one chief"),
        (config(ps=["a:1"], worker=HOSTS), "only chief and worker take part in training, not ps"),
        (config(evaluator=["a:1"], worker=HOSTS), "take part in training, not evaluator"),
        (config(None), "`task` must have a `type`, one of worker"),
        (config({"type": "chief", "index": 0}), "`task` must have a `type`, one of worker"),
        (config({"type": "worker"}), "`task` must have an `index` from 0 to 1"),
        (config({"type": "worker", "index": 2}), "`task` must have an `index` from 0 to 1"),
        (config({"type": "worker", "index": -1}), "`task` must have an `index` from 0 to 1"),
        (config({"type": "worker", "index": True}), "`task` must have an `index` from 0 to 1"),
        (config({"type": "worker", "index": "0"}), "`task` must have an `index` from 0 to 1"),
    ],
)
def test_what_tells_nothing_of_them_is_refused(
    monkeypatch: pytest.MonkeyPatch, text: str, reason: str
) -> None:
    monkeypatch.setenv("TF_CONFIG", text)
    for ask in (cluster.configured, cluster.strategy, lambda: machine.strategy("auto")):
        with pytest.raises(InputError) as caught:
            ask()
        assert reason in str(caught.value) and "Received: " in str(caught.value)


@pytest.mark.parametrize(
    ("text", "named"), [(None, "none"), (config(worker=["one:1"]), "one alone")]
)
def test_one_alone_has_no_others_to_meet(
    monkeypatch: pytest.MonkeyPatch, text: str | None, named: str
) -> None:
    monkeypatch.delenv("TF_CONFIG", raising=False)
    if text is not None:
        monkeypatch.setenv("TF_CONFIG", text)
    with pytest.raises(InputError, match=f"for several processes, and TF_CONFIG names {named}:"):
        tt.runtime.strategy("multiworker")
    assert tt.runtime.strategy("auto").num_replicas_in_sync == 1


def test_processes_meet_first_of_all(monkeypatch: pytest.MonkeyPatch) -> None:
    tf.constant(0)  # TensorFlow has begun
    monkeypatch.setenv("TF_CONFIG", config())
    with pytest.raises(InputError, match="make the strategy first of all. Received: multiworker"):
        tt.runtime.strategy("multiworker")


def test_a_signal_ends_what_waits_for_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    """As the system does it; and afterwards again as before."""
    monkeypatch.setenv("TF_CONFIG", config())
    monkeypatch.setattr(cluster, "_made", [])
    monkeypatch.setattr(cluster.tensorflow_cluster, "has_begun", lambda: False)
    waited = []
    monkeypatch.setattr(cluster.meeting, "wait", lambda *given: waited.append(given))
    met, numbers = [], (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

    def meet() -> str:
        met.extend(map(signal.getsignal, numbers))
        return "all"

    def heard(*_: object) -> None: ...

    monkeypatch.setattr(cluster.tf.distribute, "MultiWorkerMirroredStrategy", meet)
    by = heard, heard, signal.SIG_IGN
    usual = [signal.signal(*pair) for pair in zip(numbers, by, strict=True)]
    try:
        assert cluster.to_meet() == HOSTS[1:]
        assert cluster.strategy() == "all"
        assert waited == [("one:2222", HOSTS[1:])]
        assert met == [signal.SIG_DFL, signal.SIG_DFL, signal.SIG_IGN]
        assert tuple(map(signal.getsignal, numbers)) == by
        assert cluster.to_meet() == []
    finally:
        for pair in zip(numbers, usual, strict=True):
            signal.signal(*pair)


def test_one_alone_decides_for_itself() -> None:
    of = tf.distribute.get_strategy()
    assert cluster.place(of) == cluster.place() == cluster.Place(0, 1) and cluster.is_chief()
    assert cluster.decided(of, lambda: 0.1) == 0.1
    assert cluster.everywhere(of, True) and not cluster.everywhere(of, False)
    assert cluster.told(of, lambda: b"what it says") == b"what it says"
    assert cluster.told(of, bytes) == b""
    np.testing.assert_array_equal(cluster.added(of, np.arange(3.0)), [0, 1, 2])
    cluster.together(of)
    assert list(cluster.others_answer(1.0)) == []


def test_counts_come_back() -> None:
    import keras

    of, metric = tf.distribute.get_strategy(), keras.metrics.Mean()
    metric.update_state([1.0, 2.0])
    [total, count] = metric.variables
    assert metric_states.of_first(of, total) == 3.0
    metric_states.give(of, count, np.float32(6.0))
    assert float(metric.result()) == 0.5
