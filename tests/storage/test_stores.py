"""What is kept on disk: found again, never stale, never more than allowed, whole or not at all."""

import contextlib
import errno
import hashlib
import os
import shutil
import subprocess
import sys
import time
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tfhub_transfer as tt
from tfhub_transfer.storage import budget, names, scratch, stores
from tfhub_transfer.storage.stores import TokenStore, VectorStore
from tfhub_transfer.tasks import Classification


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv(budget.FOLDER_VARIABLE, str(tmp_path))
    return tmp_path / "vectors"


def store(name: str) -> str:
    """A name of 64 digits, as `names.key` gives them."""
    return hashlib.sha256(name.encode()).hexdigest()


class Asked:
    """A store that is asked for texts; the vector of a text is made of its length."""

    def __init__(self, name: str = "k", width: int = 2) -> None:
        self.store = VectorStore(store(name), width)

    def __call__(self, *texts: str) -> list[str]:
        """Checks all vectors; gives the texts that had to be computed."""
        vectors = np.full((len(texts), self.store.width), -1, "float32")
        lost, computed = np.full(len(texts), -1, "int32"), []
        sizes = np.array([len(text) for text in texts])

        def compute(rows: np.ndarray) -> Any:
            computed.extend(texts[row] for row in rows)
            made = np.repeat(sizes[rows, None], self.store.width, axis=1)
            return made.astype("float32"), (10 * sizes[rows]).astype("int32")

        count = self.store.complete(names.digests([texts]), vectors, lost, compute)
        assert count == len(computed)
        np.testing.assert_array_equal(vectors, np.repeat(sizes[:, None], vectors.shape[1], 1))
        np.testing.assert_array_equal(lost, 10 * sizes)
        return computed


def test_vectors_are_found_by_text_also_when_opened_again() -> None:
    first = Asked()
    assert first("bb", "a", "bb", "ccc") == ["bb", "a", "ccc"]  # two are equal
    assert first("a", "ccc") == []
    assert Asked()("dddd", "ccc", "a", "bb") == ["dddd"]
    assert Asked("other")("a") == ["a"]


def test_two_writers_lose_nothing() -> None:
    one, other = Asked(), Asked()
    one("a")
    other("bb")
    assert one("bb") == other("a") == Asked()("a", "bb") == []


def test_many_small_files_become_one(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stores, "_MOST_SEGMENTS", 3)
    reader = Asked()
    reader("x")
    for number in range(1, 8):
        assert Asked()("y" * (number + 1)) == ["y" * (number + 1)]
        assert len(list((cache / store("k")).iterdir())) <= 3
    assert reader("x", *("y" * (number + 1) for number in range(1, 8))) == []


def test_rows_are_computed_in_parts(monkeypatch: pytest.MonkeyPatch, cache: Path) -> None:
    monkeypatch.setattr(stores, "ROWS_AT_ONCE", 3)
    texts = ["a" * n for n in range(1, 9)]
    assert Asked()(*texts) == texts
    assert len(list((cache / store("k")).iterdir())) == 3
    assert Asked()(*texts) == []


@pytest.mark.parametrize("place", ["header", "record", "row", "end", "cut", "empty"])
def test_what_is_damaged_is_set_aside_and_computed_again(place: str, cache: Path) -> None:
    Asked()("a", "bb", "ccc")
    [file] = (cache / store("k")).iterdir()
    content = bytearray(file.read_bytes())
    at = {"header": 9, "record": 30, "row": -7, "end": -1}
    if place in at:
        content[at[place]] ^= 4
    file.write_bytes({"cut": content[:-3], "empty": b""}.get(place, content))
    again = Asked()
    with pytest.warns(UserWarning, match="damaged .* was set aside"):
        assert "a" in again("ccc", "a", "bb")
    assert Asked()("a", "bb", "ccc") == []
    assert [path.name for path in (cache / store("k")).glob("*.damaged")] == [
        f"{file.name}.damaged"
    ]


def test_a_store_may_be_evicted_while_it_is_read(cache: Path) -> None:
    reader = Asked()
    reader("a", "bb")
    segment = next(iter(reader.store._segments.values()), None)
    assert segment is None  # it is opened when it is looked for
    assert reader("a") == []
    shutil.rmtree(cache / store("k"))
    assert reader("a") == ["a"]
    assert reader("a") == []


def test_what_a_dying_process_left_is_removed(cache: Path) -> None:
    Asked()("a")
    handle, held = scratch.new_file(cache / store("k"))
    (cache / store("k") / "new-0123").write_bytes(b"half")
    assert Asked()("bb") == ["bb"]
    assert [p.name for p in (cache / store("k")).glob("new-*")] == [held.name]
    os.close(handle)


def test_the_least_recently_used_give_way(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(budget.SIZE_VARIABLE, "1000")
    for age, name in ((50, "newer"), (100, "old")):
        Asked(name, 100)("a")
        then = time.time() - age
        os.utime(cache / store(name), (then, then))
    Asked("third", 100)("a")
    assert {p.name for p in cache.iterdir()} == {store("newer"), store("third")}
    assert Asked("large", 400)("a") == ["a"]
    assert Asked("large", 400)("a") == ["a"]


def test_a_store_that_is_asked_is_not_the_oldest(
    cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(budget.SIZE_VARIABLE, "1000")
    for name in ("first", "second"):
        Asked(name, 100)("a")
        then = time.time() - 100
        os.utime(cache / store(name), (then, then))
    os.utime(cache / store("first"), (then - 50, then - 50))
    assert Asked("first", 100)("a") == []
    Asked("third", 100)("a")
    assert {p.name for p in cache.iterdir()} == {store("first"), store("third")}


def test_a_budget_that_is_no_number_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(budget.SIZE_VARIABLE, "4 GB")
    with pytest.raises(tt.InputError, match="TFHUB_TRANSFER_CACHE_BYTES must be a number of bytes"):
        Asked()("a")


def test_a_cache_that_cannot_be_written_is_off_with_one_warning(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv(budget.FOLDER_VARIABLE, str(tmp_path / "file"))
    with pytest.warns(UserWarning, match="the cache is off.*name another place") as warned:
        assert Asked()("a") == Asked()("a") == ["a"]
    assert len(warned) == 1


def test_a_file_system_without_locks_makes_nobody_wait(
    cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_locks(*args: Any) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(scratch.fcntl, "flock", no_locks)
    monkeypatch.setattr(scratch.time, "sleep", lambda seconds: pytest.fail("it waited"))
    (cache / store("k")).mkdir(parents=True)
    (cache / store("k") / "new-0123").touch()  # perhaps of a living process
    assert Asked()("a") == ["a"]
    assert Asked()("a") == []
    assert (cache / store("k") / "new-0123").exists()


SHARE = """
import hashlib, sys, time, numpy as np
from tfhub_transfer.storage import stores
stores.ROWS_AT_ONCE = 50
# As `names.digests`, but without TensorFlow, so at once.
names = np.array([hashlib.blake2b(b"%d" % n, digest_size=8).hexdigest() for n in range(400)], "S16")
sizes = np.arange(400, dtype="float32")
vectors, lost = np.empty((400, 8), "float32"), np.empty(400, "int32")
log = open(sys.argv[1], "a")
print("ready", flush=True)
sys.stdin.readline()
def compute(rows):
    log.write("".join(f"{row}\\n" for row in rows)); log.flush(); time.sleep(0.05)
    return np.repeat(sizes[rows, None], 8, 1), rows
for turn in range(3):
    stores.VectorStore(64 * "0", 8).complete(names, vectors, lost, compute)
    assert (vectors == sizes[:, None]).all() and (lost == np.arange(400)).all()
    # Other stores come and must make room.
    other = stores.VectorStore(f"{sys.argv[2]}{turn}".rjust(64, "f"), 8)
    zeros = lambda rows: (np.zeros((len(rows), 8)), rows)
    other.complete(names, vectors, lost, zeros)
"""


@pytest.mark.parametrize("evicted", [False, True])
def test_processes_share_the_work(
    evicted: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if evicted:
        monkeypatch.setenv(budget.SIZE_VARIABLE, "60000")  # three stores of 22 kB don't fit
    log, pipe = tmp_path / "log", subprocess.PIPE
    command = [sys.executable, "-c", SHARE, str(log)]
    jobs = [
        subprocess.Popen([*command, str(n)], stdin=pipe, stdout=pipe, stderr=pipe, text=True)
        for n in range(3)
    ]
    for job in jobs:
        assert job.stdout is not None and job.stdout.readline() == "ready\n"
    for job in jobs:
        assert job.stdin is not None
        job.stdin.write("\n")
        job.stdin.flush()
    errors = [job.communicate()[1] for job in jobs]
    assert [job.returncode for job in jobs] == [0, 0, 0], errors
    rows = sorted(int(row) for row in log.read_text().split())
    assert set(rows) == set(range(400))
    assert evicted or rows == list(range(400))


def test_only_stores_give_way(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(budget.SIZE_VARIABLE, "1000")
    (cache / "glove").mkdir(parents=True)
    (cache / "glove" / "words.txt").write_bytes(b"x" * 2000)
    os.utime(cache / "glove", (1, 1))
    assert Asked("new", 100)("a") == ["a"]
    assert (cache / "glove" / "words.txt").exists()


def test_an_empty_variable_keeps_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(budget.FOLDER_VARIABLE, "")
    assert Asked()("a") == Asked()("a") == ["a"]
    assert not TokenStore("k", np.array([1]), 2).fill(lambda rows: iter(()))
    assert not list(tmp_path.iterdir())


def test_a_pair_is_not_its_texts_run_together() -> None:
    [one] = names.digests([["ab"], ["c"]])
    [other] = names.digests([["a"], ["bc"]])
    [turned] = names.digests([["c"], ["ab"]])
    assert len({one, other, turned}) == 3


def token_batches(rows: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    for some in ([2, 0], [1]):
        wanted = np.array([row for row in some if row in rows], int)
        yield wanted, np.repeat(np.array([5.0, 6.0, 7.0])[wanted], 6).reshape(-1, 3, 2)


def test_tokens_come_back_padded_with_zeros() -> None:
    lengths = np.array([2, 1, 3])
    store = TokenStore("t", lengths, 2)
    assert store.size == 6 * 2 * 2 + 3 * 4
    assert store.fill(token_batches)
    padded = store.padded(np.array([1, 0]), 4).astype("float32")
    assert padded[..., 0].tolist() == [[6, 0, 0, 0], [5, 5, 0, 0]]
    again = TokenStore("t", lengths, 2)
    assert again.fill(lambda rows: pytest.fail("it is there"))
    np.testing.assert_array_equal(
        again.padded(np.array([2]), 3).astype("float32"), np.full((1, 3, 2), 7)
    )


def test_half_written_tokens_are_not_there() -> None:
    def broken(rows: np.ndarray) -> Iterator[Any]:
        yield from list(token_batches(rows))[:1]
        raise OSError(28, "No space left on device")

    lengths = np.array([2, 1, 3])
    with pytest.warns(UserWarning, match="the cache is off, .*No space left"):
        assert not TokenStore("t", lengths, 2).fill(broken)
    whole = TokenStore("t", lengths, 2)
    assert whole.fill(token_batches)
    padded = whole.padded(np.arange(3), 3).astype("float32")
    assert padded[..., 0].tolist() == [[5, 5, 0], [6, 0, 0], [7, 7, 7]]


@pytest.mark.parametrize("place", [0, 5, 11, -1])
def test_a_damaged_row_of_tokens_is_computed_again(place: int, cache: Path) -> None:
    lengths = np.array([2, 0, 4])
    store = TokenStore("t", lengths, 1)

    def compute(rows: np.ndarray) -> Iterator[Any]:
        for row in rows:
            yield np.array([row]), np.full((1, 4, 1), row + 1)

    assert store.fill(compute)
    with open(cache / "t" / "tokens", "r+b") as file:
        file.seek(place, 2 if place < 0 else 0)
        file.write(b"X")
    again = TokenStore("t", lengths, 1)
    assert again.fill(compute)
    with pytest.warns(UserWarning, match="damaged and its rows are computed again"):
        padded = again.padded(np.array([2, 1, 0]), 5).astype("float32")
    assert padded[..., 0].tolist() == [[3, 3, 3, 3, 0], [0] * 5, [1, 1, 0, 0, 0]]
    assert not (cache / "t" / "tokens").exists()


@pytest.mark.parametrize("enough", [True, False])
def test_what_everybody_needs_of_the_disk_stays_free(
    enough: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    free = 12 + budget._SPARE_BYTES + int(enough)
    monkeypatch.setattr(budget.shutil, "disk_usage", lambda path: types.SimpleNamespace(free=free))
    warned = contextlib.nullcontext() if enough else pytest.warns(UserWarning, match="1 GB left")
    with warned:
        Asked(width=3)("a")
    assert (Asked(width=3)("a") == []) is enough
    tokens = TokenStore("t", np.array([2]), 2)
    assert tokens.size == 12
    made = (np.array([0]), np.ones((1, 2, 2)))
    assert tokens.fill(lambda rows: iter([made])) is enough


class Counted:
    """Models on one encoder, with the number of texts that passed it since it was asked last."""

    def __init__(self, encoder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.encoder, self._seen = tt.Encoder(str(encoder)), 0
        run = tt.TransferModel._run_and_count

        def counted(model: Any, name: str, examples: Any, *rest: Any) -> Any:
            self._seen += len(examples)
            return run(model, name, examples, *rest)

        monkeypatch.setattr(tt.TransferModel, "_run_and_count", counted)

    def model(self, length: int = 16, pair: bool = False, **head: Any) -> tt.TransferModel:
        task = Classification(["n", "p"], pair=pair)
        return tt.build_model(self.encoder, task, tt.Head(**head), sequence_length=length)

    def passed(self) -> int:
        seen, self._seen = self._seen, 0
        return seen


@pytest.fixture
def counted(bert_encoder: Path, monkeypatch: pytest.MonkeyPatch) -> Counted:
    return Counted(bert_encoder, monkeypatch)


ROWS = tt.data.Examples.from_lists(["good", "bad film", "good", "the worst"])


def test_features_pass_the_encoder_once(counted: Counted) -> None:
    first = counted.model().compute_features(ROWS)
    assert counted.passed() == 3  # two are equal
    np.testing.assert_array_equal(first[0], first[2])
    again = counted.model().compute_features(ROWS[::-1])
    assert counted.passed() == 0
    np.testing.assert_array_equal(again[::-1], first)
    more = tt.data.Examples.from_lists(["bad film", "new", "good"])
    found = counted.model().compute_features(more)
    assert counted.passed() == 1
    np.testing.assert_array_equal(found[[0, 2]], first[[1, 0]])


@pytest.mark.parametrize(
    "other",
    [
        {"length": 12},
        {"pooling": "mean"},
        {"pooling": "first"},
        {"pooling": "mean", "towers": True},
    ],
    ids=str,
)
def test_another_model_never_reads_stored_features(
    counted: Counted, other: dict[str, Any], cache: Path
) -> None:
    pair = "towers" in other
    texts = ROWS.texts[0]
    rows = tt.data.Examples.from_lists(texts, None, texts[::-1]) if pair else ROWS
    plain = {key: value for key, value in other.items() if pair and key != "towers"}
    before = counted.model(pair=pair, **plain).compute_features(rows)
    counted.passed()
    model = counted.model(pair=pair, **other)
    found = model.compute_features(rows)
    assert counted.passed() == len(set(zip(*rows.texts)))
    shutil.rmtree(cache)
    np.testing.assert_array_equal(found, model.compute_features(rows))
    assert "length" in other or not np.array_equal(found, before)


@pytest.mark.parametrize(
    "within", ["assets", pytest.param("preprocessor/assets", marks=pytest.mark.slow)]
)
def test_another_vocabulary_is_another_store(
    within: str, bert_with_preprocessor: Path, tmp_path: Path
) -> None:
    """The same graph and weights, but other words for the ids, inside or beside the encoder."""
    shutil.copytree(bert_with_preprocessor, tmp_path / "encoder")

    def key() -> str:
        given = str(tmp_path / "encoder" / "preprocessor") if "/" in within else None
        encoder = tt.Encoder(str(tmp_path / "encoder"))
        return tt.build_model(
            encoder, Classification(["n", "p"]), preprocessor=given
        )._features_key()

    before = key()
    assert key() == before
    [file] = (tmp_path / "encoder" / within).iterdir()
    file.write_bytes(file.read_bytes().replace(b"\nfilm\n", b"\nzebra\n"))
    assert key() != before


@pytest.mark.parametrize("what", ["names.COMPUTATION", "names.tf", "names.tensorflow_text"])
def test_another_version_is_another_store(what: str, monkeypatch: pytest.MonkeyPatch) -> None:
    before = names.key("a", "b")
    assert names.key("a", "b") == before != names.key("ab", "")
    other = -1 if what.endswith("COMPUTATION") else types.SimpleNamespace(__version__="9")
    monkeypatch.setattr(f"tfhub_transfer.storage.{what}", other)
    assert names.key("a", "b") != before


def test_features_of_another_precision_are_computed_anew(counted: Counted) -> None:
    for precision in ("float32", "bfloat16", "float32", "bfloat16"):
        with tt.runtime.precision(precision):
            counted.model().compute_features(ROWS)
    assert counted.passed() == 6


def test_features_of_an_encoder_that_has_learned_are_computed_anew(counted: Counted) -> None:
    model = counted.model()
    first = model.compute_features(ROWS)
    weight = model.encoder.layer_groups[1][1][0]
    weight.assign(weight.value + 0.1)
    assert np.abs(model.compute_features(ROWS) - first).max() > 1e-4
    assert counted.passed() == 6


def test_features_beyond_the_memory_budget_train_from_a_file(
    bert_encoder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(budget, "MOST_MEMORY", 100)
    task = Classification(["n", "p"])
    rows = tt.data.Examples.from_lists([f"good {'film ' * n}" for n in range(20)], ["n", "p"] * 10)
    model = tt.build_model(str(bert_encoder), task, sequence_length=16)
    assert isinstance(model.compute_features(rows), np.memmap)
    plan = tt.Plan(head_epochs=2, verbose=0)
    history = tt.fine_tune(model, rows, rows, unfreeze="none", plan=plan)
    assert len(history.history["loss"]) == 2
