"""Graphs are asked by the same threads in every call."""

import gc
import threading
from concurrent import futures

import pytest
import tensorflow as tf
from tensorflow.python.eager import context

from tfhub_transfer.runtime import precision_choice, threads


def test_answers_come_in_order_from_threads_that_stay() -> None:
    seen = set()

    def ask(number: int) -> int:
        seen.add(threading.get_ident())
        return number**2

    for _ in range(3):
        assert list(threads.side_by_side(ask, range(20), 2)) == [n**2 for n in range(20)]
    assert 0 < len(seen) < 6 and threading.get_ident() not in seen
    assert list(threads.side_by_side(ask, [], 2)) == []


def test_a_call_leaves_no_object_behind() -> None:
    graph = tf.function(lambda x: x + 1.0).get_concrete_function(tf.TensorSpec([]))

    def ask(number: float) -> float:
        with precision_choice.precision("float32"):
            return float(graph(tf.constant(number)))

    def call() -> None:
        assert list(threads.side_by_side(ask, [1.0, 2.0, 3.0, 4.0], 2)) == [2.0, 3.0, 4.0, 5.0]

    def left() -> int:
        gc.collect()
        return sum(type(each).__name__ == "FunctionCallOptions" for each in gc.get_objects())

    for _ in range(2):
        call()
    before = left()
    for _ in range(20):
        call()
    # Twice as many as calls, were threads made anew; now and then one isn't idle yet.
    assert left() - before < 10


def test_threads_that_stay_hear_what_is_chosen_meanwhile() -> None:
    """As new ones would, of TensorFlow's options, which a thread keeps from its first call on."""

    def chosen(_: object) -> str:
        options = context.context().function_call_options
        return str(options.config_proto_serialized)

    before = tf.config.optimizer.get_experimental_options()
    try:
        for wanted in (True, False):
            tf.config.optimizer.set_experimental_options({"disable_meta_optimizer": wanted})
            with futures.ThreadPoolExecutor() as anew:
                fresh = anew.submit(chosen, None).result()
            assert {*threads.side_by_side(chosen, range(8), 2)} == {fresh}
    finally:
        tf.config.optimizer.set_experimental_options(before)


def test_who_leaves_by_an_exception_leaves_none_at_work() -> None:
    entered, go_on, done = threading.Event(), threading.Event(), []

    def ask(number: int) -> None:
        if number:
            entered.set()
            go_on.wait(10)
            done.append(number)
        else:
            entered.wait(10)
            threading.Timer(0.05, go_on.set).start()
            raise ValueError("the first fails")

    with pytest.raises(ValueError, match="the first fails"):
        list(threads.side_by_side(ask, range(9), 2))
    # The one that was at it has ended; the first thread may have taken up another before that.
    ended = list(done)
    assert 1 in ended and len(ended) < 8
    list(threads.side_by_side(lambda number: number, range(4), 2))
    assert done == ended
