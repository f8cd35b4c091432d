"""Requests share batches, and none notices: order, widths, errors, bounds."""

import asyncio
import threading
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pytest

from tfhub_transfer.web.batching import Batcher, Bounds
from tfhub_transfer.web.refusing import Refusal
from tfhub_transfer.web.rest import PREDICT, Signature

PLAIN = Signature("plain", PREDICT, {"text": 0})
OTHER = Signature("other", PREDICT, {"text": 0})
# Letters of each text, padded to the longest of a batch.
WIDE = Signature("wide", PREDICT, {"text": 0}, ("letter", "count"), {"letter": "count"})
ALONE = Signature("alone", PREDICT, {"text": 0}, together=False)


class Model:
    """Answers with the texts, and their letters; notes the batches."""

    def __init__(self) -> None:
        self.batches: list[tuple[str, int]] = []
        self.begun: list[int] = []
        self.open = threading.Event()
        self.open.set()

    def __call__(self, signature: Signature, inputs: Mapping[str, list[Any]]) -> dict[str, Any]:
        texts = inputs["text"]
        self.begun.append(len(texts))
        self.open.wait(10)
        self.batches.append((signature.name, len(texts)))
        if b"broken" in texts:
            raise Refusal(400, "a broken text")
        most = max(map(len, texts), default=0)
        letters = np.full((len(texts), most), b"", object)
        for row, text in enumerate(texts):
            letters[row, : len(text)] = [text[i : i + 1] for i in range(len(text))]
        counts = np.array([len(text) for text in texts], np.int64)
        same = np.empty(len(texts), object)
        same[:] = texts
        return {"text": same, "letter": letters, "count": counts}


def run(case: Callable[[Batcher, Model], Any], **bounds: Any) -> Any:
    async def whole() -> Any:
        model = Model()
        batcher = Batcher(model, Bounds(**{"batch": 8, "seconds": 0.05, **bounds}))
        async with batcher.working():
            return await asyncio.wait_for(case(batcher, model), 20)

    return asyncio.run(whole())


def ask(batcher: Batcher, *texts: str, by: Signature = PLAIN) -> Any:
    rows = [text.encode() for text in texts]
    return asyncio.ensure_future(batcher.ask(by, {"text": rows}, len(rows)))


def test_what_comes_together_is_answered_in_one_batch() -> None:
    async def case(batcher: Batcher, model: Model) -> None:
        found = await asyncio.gather(*(ask(batcher, f"{i}", f"{i}b") for i in range(4)))
        assert [each["text"].tolist() for each in found] == [
            [f"{i}".encode(), f"{i}b".encode()] for i in range(4)
        ]
        assert model.batches == [("plain", 8)]
        assert batcher.waiting == 0

    run(case)


def test_few_rows_wait_for_more_while_others_are_computed_and_a_whole_batch_doesnt() -> None:
    async def case(batcher: Batcher, model: Model) -> None:
        model.open.clear()
        asked = [ask(batcher, "first")]
        await asyncio.sleep(0.2)
        for text in ("second", "third"):
            asked.append(ask(batcher, text))
            await asyncio.sleep(0.2)
        assert model.begun == [1]
        asked.append(ask(batcher, *"abcdef"))
        await asyncio.sleep(0.2)
        assert model.begun == [1, 8]
        asked.append(ask(batcher, "last"))
        await asyncio.sleep(0.2)
        model.open.set()
        await asyncio.gather(*asked)
        assert model.begun == [1, 8, 1]

    run(case)


def test_large_requests_are_cut_and_let_others_between() -> None:
    async def case(batcher: Batcher, model: Model) -> None:
        model.open.clear()
        large = ask(batcher, *(f"large {i}" for i in range(50)))
        await asyncio.sleep(0.2)
        small = ask(batcher, "small")
        other = ask(batcher, "other", by=OTHER)
        await asyncio.sleep(0.1)
        model.open.set()
        found = await large
        assert small.done() and other.done()
        assert found["text"].tolist() == [f"large {i}".encode() for i in range(50)]
        assert max(rows for _, rows in model.batches) == 8
        assert model.batches.index(("other", 1)) <= 4

    run(case)


def test_answers_are_as_wide_as_alone() -> None:
    async def case(batcher: Batcher, model: Model) -> None:
        texts = (["a"], ["long text"], ["", "ab"], [""], [], [f"{'x' * i}" for i in range(20)])
        together = await asyncio.gather(*(ask(batcher, *each, by=WIDE) for each in texts))
        assert len(model.batches) < 2 * len(texts)
        for each, found in zip(texts, together):
            alone = Model()(WIDE, {"text": [text.encode() for text in each]})
            for name, values in alone.items():
                assert found[name].tolist() == values.tolist(), (each, name)
                assert found[name].shape == values.shape

    run(case)


def test_large_batches_are_computed_in_parts_of_like_length() -> None:
    async def case(batcher: Batcher, model: Model) -> None:
        texts = [f"{'x' * (row * 7 % 13)}{row}" for row in range(40)]
        found = await ask(batcher, *texts, by=WIDE)
        alone = Model()(WIDE, {"text": [text.encode() for text in texts]})
        for name, values in alone.items():
            assert found[name].tolist() == values.tolist()
        rows = [rows for _, rows in model.batches]
        # As many each: every new shape takes memory.
        assert sorted(rows) == [13, 13, 14]

    run(case, batch=64)


def test_one_that_cant_be_answered_hurts_nobody_else() -> None:
    async def case(batcher: Batcher, model: Model) -> None:
        found = await asyncio.gather(
            ask(batcher, "a"), ask(batcher, "broken"), ask(batcher, "b"), return_exceptions=True
        )
        assert [found[0]["text"].tolist(), found[2]["text"].tolist()] == [[b"a"], [b"b"]]
        assert isinstance(found[1], Refusal) and found[1].message == "a broken text"
        assert model.batches[0] == ("plain", 3)

    run(case)


def test_what_tells_of_others_is_answered_alone_and_whole() -> None:
    async def case(batcher: Batcher, model: Model) -> None:
        await asyncio.gather(*(ask(batcher, *"ab" * 10, by=ALONE) for _ in range(2)))
        assert model.batches == [("alone", 20)] * 2

    run(case)


def test_too_much_that_waits_is_refused_and_who_leaves_makes_room() -> None:
    async def case(batcher: Batcher, model: Model) -> None:
        model.open.clear()
        busy = [ask(batcher, "busy") for _ in range(2)]
        await asyncio.sleep(0.2)
        waiting = [ask(batcher, *"abcdef", by=OTHER) for _ in range(2)]
        waiting += [ask(batcher, "x")]
        await asyncio.sleep(0.2)
        held = batcher.waiting
        with pytest.raises(Refusal, match="too many texts wait") as caught:
            await batcher.ask(PLAIN, {"text": [b"y"] * 20}, 20)
        assert caught.value.status == 503 and caught.value.headers["Retry-After"] == "1"
        waiting[1].cancel()
        await asyncio.sleep(0)
        assert batcher.waiting < held or held == 0
        model.open.set()
        await asyncio.gather(*busy, waiting[0], waiting[2])
        assert batcher.waiting == 0

    run(case, waiting=20, batch=1)


def test_a_hundred_clients_each_get_their_own() -> None:
    async def client(batcher: Batcher, number: int) -> None:
        for turn in range(20):
            texts = [f"{number} {turn} {i}" for i in range(number % 4)]
            by = (PLAIN, OTHER, WIDE)[turn % 3]
            found = await ask(batcher, *texts, by=by)
            assert found["text"].tolist() == [text.encode() for text in texts]

    async def case(batcher: Batcher, model: Model) -> None:
        await asyncio.gather(*(client(batcher, number) for number in range(100)))
        rows = sum(rows for _, rows in model.batches)
        assert rows == 20 * sum(number % 4 for number in range(100))
        assert len(model.batches) < rows / 2

    run(case, seconds=0.001)
