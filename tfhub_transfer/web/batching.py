"""Requests that arrive together, answered in one batch; what waits is bounded."""

import asyncio
import collections
import contextlib
import dataclasses
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from concurrent import futures
from typing import TypeAlias

import numpy as np

from tfhub_transfer.data.batching import STREAMS
from tfhub_transfer.private import tensorflow_options
from tfhub_transfer.runtime import threads
from tfhub_transfer.serving import served
from tfhub_transfer.web.refusing import Refusal
from tfhub_transfer.web.rest import Outputs, Rows, Signature

# Answers inputs of one signature.
Run: TypeAlias = Callable[[Signature, Mapping[str, Rows]], dict[str, np.ndarray]]
# One computes rows that are all there are; the other a whole batch beside it, if so many wait.
_WORKERS = 2
# Of the seconds that the last batch took; answers are to come hardly later for it.
_MORE_TO_COME = 0.1
# The most rows that are computed at once: fewer are little work for a processor, more hold more
# padding. Parts of a batch have as many rows each: of every new shape TensorFlow keeps something,
# and with as many tokens each there were seven times as many shapes, and 100 MB more.
_PART = 16


@dataclasses.dataclass(frozen=True)
class Bounds:
    """How much is answered at once, and how much waits for it.

    Attributes:
        batch: The most rows of a batch.
        seconds: How long a row waits for others to come; longer where batches take long.
        waiting: The most rows that wait; a request that would make it more is refused.
    """

    batch: int = 64
    seconds: float = 0.002
    waiting: int = 20_000


@dataclasses.dataclass(eq=False)
class _Request:
    """Rows of one client, of which some may be answered before others."""

    signature: Signature
    inputs: Mapping[str, Rows]
    rows: int
    answer: "asyncio.Future[Outputs]"
    taken: int = 0
    parts: dict[int, Outputs] = dataclasses.field(default_factory=dict)

    @property
    def left(self) -> int:
        return self.rows - self.taken

    def add(self, first: int, outputs: Outputs) -> None:
        """Takes the answers of some rows; with the last of them it is answered."""
        self.parts[first] = outputs
        held = sum(_length(part) for part in self.parts.values())
        if held == self.rows and not self.answer.done():
            parts = [self.parts[first] for first in sorted(self.parts)]
            self.answer.set_result(_joined(parts))


@dataclasses.dataclass(frozen=True)
class _Piece:
    """Rows of a request that are in a batch."""

    request: _Request
    first: int
    rows: int

    def column(self, name: str) -> Rows:
        return self.request.inputs[name][self.first : self.first + self.rows]


class Batcher:
    """Answers requests in batches, in the order of their coming; large ones let others between.

    A request is answered as if it were alone: who shares its batch shows neither in the shapes of
    its answers nor in an error.

    Args:
        run: Answers inputs of one signature; it is called in threads.
        bounds: How much is answered at once.
        watch: Is told the rows of each batch and the seconds that it took.
    """

    def __init__(
        self, run: Run, bounds: Bounds, watch: Callable[[int, float], None] = lambda *_: None
    ) -> None:
        self._run, self._bounds, self._watch = run, bounds, watch
        self._waiting: collections.deque[_Request] = collections.deque()
        self._rows = 0
        self._some = asyncio.Event()
        self._full = asyncio.Event()
        self._computing, self._took = 0, 0.0
        self._idle = asyncio.Event()
        self._idle.set()

    @property
    def waiting(self) -> int:
        """How many rows wait."""
        return self._rows

    @contextlib.asynccontextmanager
    async def working(self) -> AsyncIterator[None]:
        """While the body runs, requests are answered."""
        start = tensorflow_options.as_in_a_new_thread
        with futures.ThreadPoolExecutor(_WORKERS, "answers", start) as executor:
            workers = [asyncio.create_task(self._work(executor)) for _ in range(_WORKERS)]
            try:
                yield
            finally:
                for worker in workers:
                    worker.cancel()
                await asyncio.gather(*workers, return_exceptions=True)

    async def ask(self, signature: Signature, inputs: Mapping[str, Rows], rows: int) -> Outputs:
        """The answers to some rows; whoever stops waiting takes along what isn't answered yet.

        Args:
            signature: Who answers.
            inputs: Rows by the names of its inputs.
            rows: How many there are.

        Raises:
            Refusal: If too many wait already, or they can't be answered.
        """
        if self._waiting and self._rows + rows > self._bounds.waiting:
            raise Refusal(
                503,
                f"too many texts wait to be answered; try again later. Received: {rows} more than "
                f"the {self._rows} that wait, of at most {self._bounds.waiting}",
                {"Retry-After": "1"},
            )
        answer = asyncio.get_running_loop().create_future()
        request = _Request(signature, inputs, rows, answer)
        self._waiting.append(request)
        self._count(rows)
        try:
            return await answer
        finally:
            if request in self._waiting:  # nobody waits for the rest of it
                self._waiting.remove(request)
                self._count(-request.left)

    def _count(self, rows: int) -> None:
        self._rows += rows
        for event, least in ((self._some, 1), (self._full, self._bounds.batch)):
            # A request of no rows is to be answered too.
            reached = self._rows >= least or (least == 1 and self._waiting)
            event.set() if reached else event.clear()

    async def _work(self, executor: futures.Executor) -> None:
        loop = asyncio.get_running_loop()
        while True:
            await self._enough()
            if not (pieces := self._take()):
                continue
            began = time.perf_counter()
            with self._counted():
                found = await loop.run_in_executor(executor, self._answers, pieces)
            self._took = time.perf_counter() - began
            self._watch(sum(piece.rows for piece in pieces), self._took)
            for piece, answer in zip(pieces, found):
                _deliver(piece, answer)

    async def _enough(self) -> None:
        """Waits for a whole batch, or for what came meanwhile once nothing else is computed.

        Few rows hold more padding, and beside others would take the processors from them: they
        wait for more of their kind instead. Who was answered a moment ago may ask again; after a
        batch that took long it is worth to wait for that, too.
        """
        while True:
            await self._some.wait()
            seconds = max(self._bounds.seconds, _MORE_TO_COME * self._took)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._full.wait(), seconds)
            if self._full.is_set() or not self._computing:
                return
            waits = [asyncio.ensure_future(each.wait()) for each in (self._full, self._idle)]
            try:
                await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for each in waits:
                    each.cancel()

    @contextlib.contextmanager
    def _counted(self) -> Iterator[None]:
        """While the body runs, a batch is computed."""
        self._computing += 1
        self._idle.clear()
        try:
            yield
        finally:
            self._computing -= 1
            if not self._computing:
                self._idle.set()

    def _take(self) -> list[_Piece]:
        """The next batch: rows of the signature of who waits longest."""
        pieces: list[_Piece] = []
        passed, begun, room = [], [], self._bounds.batch
        for request in self._waiting:
            if not _fits(request, pieces, room):
                passed.append(request)
                continue
            rows = min(room, request.left) if request.signature.together else request.left
            pieces.append(_Piece(request, request.taken, rows))
            request.taken += rows
            room -= rows
            if request.left:
                begun.append(request)
        # Others come before the rest of what has had its turn.
        self._waiting = collections.deque([*passed, *begun])
        self._count(-sum(piece.rows for piece in pieces))
        return pieces

    def _answers(self, pieces: Sequence[_Piece]) -> list[Outputs | Exception]:
        signature = pieces[0].request.signature
        columns = {
            name: [row for piece in pieces for row in piece.column(name)]
            for name in signature.inputs
        }
        try:
            outputs = self._computed(signature, columns)
        except Exception as error:
            if len(pieces) == 1:
                return [error]
            # One of them may be at fault, and the others aren't to suffer from it.
            return [answer for piece in pieces for answer in self._answers([piece])]
        ends = np.cumsum([piece.rows for piece in pieces])
        spans = zip(ends - [piece.rows for piece in pieces], ends)
        return [_cut(outputs, signature.counts, slice(*span)) for span in spans]

    def _computed(self, signature: Signature, columns: Mapping[str, Rows]) -> Outputs:
        """Answers of a batch; a large one in parts of like length, so that little is padding."""
        sizes = [sum(map(_size, row)) for row in zip(*columns.values())]
        if len(sizes) <= _PART or not signature.together:
            return self._run(signature, columns)
        longest_first = np.argsort(sizes, kind="stable")[::-1]
        parts = np.array_split(longest_first, -(-len(sizes) // _PART))

        def run(part: np.ndarray) -> Outputs:
            return self._run(signature, {n: [c[row] for row in part] for n, c in columns.items()})

        found = _joined(list(threads.side_by_side(run, parts, STREAMS)))
        place = np.argsort(np.concatenate(parts))
        return {name: values[place] for name, values in found.items()}


def _size(text: bytes | Sequence[bytes] | int) -> int:
    """Of a text or of a list of words, in bytes: as many tokens, nearly enough for an order.

    A number beside them has none.
    """
    if isinstance(text, int):
        return 0
    return len(text) if isinstance(text, bytes) else sum(len(word) + 1 for word in text)


def _fits(request: _Request, pieces: Sequence[_Piece], room: int) -> bool:
    """Whether a request may share a batch with those that are in it."""
    signature = request.signature
    first = pieces[0].request.signature if pieces else None
    return first is None or (room > 0 and signature.together and signature == first)


def _deliver(piece: _Piece, answer: Outputs | Exception) -> None:
    future = piece.request.answer
    if not isinstance(answer, Exception):
        piece.request.add(piece.first, answer)
    elif not future.done():
        future.set_exception(answer)


def _cut(outputs: Outputs, counts: Mapping[str, str], rows: slice) -> Outputs:
    """Some rows, as wide as if they were alone."""
    found = {name: values[rows] for name, values in outputs.items()}
    for name, count in counts.items():
        found[name] = found[name][:, : int(found[count].max(initial=0))]
    return found


def _joined(parts: Sequence[Outputs]) -> Outputs:
    """Rows below each other."""
    if len(parts) == 1:
        return parts[0]
    return {name: served.joined([part[name] for part in parts]) for name in parts[0]}


def _length(outputs: Outputs) -> int:
    return len(next(iter(outputs.values())))
