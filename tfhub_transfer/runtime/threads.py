"""Threads that ask graphs side by side: the same ones in every call."""

import collections
import functools
import os
from collections.abc import Callable, Iterable, Iterator
from concurrent import futures
from typing import TypeVar

from tfhub_transfer.private import tensorflow_options

Asked = TypeVar("Asked")
Made = TypeVar("Made")
# Of all calls that are under way: as many threads as were ever needed at once, at most these.
_MOST = 64


def side_by_side(
    function: Callable[[Asked], Made], items: Iterable[Asked], count: int
) -> Iterator[Made]:
    """What a function gives for each, in their order; some are computed at a time.

    Of each thread that ever called a graph TensorFlow keeps two objects for good, so threads are
    kept too. Whoever leaves early, or by an exception, leaves nothing at work.

    Args:
        function: It sets what it needs, such as a precision, in its own thread.
        items: All of them are read at once.
        count: How many are computed at a time.
    """
    waiting = collections.deque((item, futures.Future[Made]()) for item in items)
    made = [future for _, future in waiting]

    def work() -> None:
        tensorflow_options.as_in_a_new_thread()
        while waiting:
            try:
                item, future = waiting.popleft()
            except IndexError:  # another thread took the last
                return
            try:
                future.set_result(function(item))
            except BaseException as error:  # whoever asks for it is told
                future.set_exception(error)

    threads = [_threads(os.getpid()).submit(work) for _ in range(min(count, len(made)))]
    try:
        for each in made:
            yield each.result()
    finally:
        waiting.clear()
        futures.wait(threads)


@functools.cache
def _threads(process: int) -> futures.ThreadPoolExecutor:
    # By process: a fork has none of its parent's threads.
    return futures.ThreadPoolExecutor(_MOST, "side by side")
