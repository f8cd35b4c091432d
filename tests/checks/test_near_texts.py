"""Texts that are the same or nearly, other scripts, far ones: beside brute force."""

import functools
import itertools
import random

import numpy as np
import pytest
from hostile import texts as hostile_texts

from tfhub_transfer.checks import duplicates, outlying
from tfhub_transfer.texts import scripts


@functools.cache
def runs_of(text: str) -> frozenset[str]:
    width = min(duplicates.WIDTH, len(text))
    return frozenset(text[at : at + width] for at in range(len(text) - width + 1))


def by_hand(first: str, second: str) -> float:
    """Jaccard of the sets of runs, as strings."""
    one, other = runs_of(first), runs_of(second)
    return len(one & other) / len(one | other)


def changed(text: str, times: int, generator: random.Random) -> str:
    words = text.split()
    for _ in range(times):
        words[generator.randrange(len(words))] = str(generator.randrange(100))
    return " ".join(words)


def some_texts(seed: int) -> list[str]:
    """Texts, some with one to four words changed, and hostile ones."""
    generator = random.Random(seed)
    vocabulary = "".join(chr(97 + n) for n in range(26))
    words = ["".join(generator.choices(vocabulary, k=generator.randint(2, 8))) for _ in range(300)]
    base = [" ".join(generator.choices(words, k=generator.randint(1, 60))) for _ in range(30)]
    near = [changed(text, generator.randint(1, 4), generator) for text in base for _ in range(3)]
    found = [*base, *near, *hostile_texts(40, seed)]
    return list(dict.fromkeys(map(duplicates.normalized, found)))


@pytest.mark.parametrize("seed", [0, 1])
def test_near_pairs_are_those_of_brute_force(seed: int) -> None:
    texts = some_texts(seed)
    wanted = {
        (one, other)
        for one, other in itertools.combinations(range(len(texts)), 2)
        if by_hand(texts[one], texts[other]) >= duplicates.NEAR
    }
    assert len(wanted) > 20
    assert set(duplicates.near_pairs([(text,) for text in texts])) == wanted
    for one, other in list(wanted)[:20]:
        found = duplicates.likeness((texts[one],), (texts[other],))
        assert found == pytest.approx(by_hand(texts[one], texts[other]))


def test_each_text_of_a_pair_must_be_near() -> None:
    long = "it rained all day long in the old town by the river, and nobody went out to see it"
    rows = [(long, "who rained?"), (f"{long}!", "who rained?"), (long, "where was that, then?")]
    assert list(duplicates.near_pairs(rows)) == [(0, 1)]


def test_many_texts_of_one_pattern_are_one_group_without_all_pairs(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(duplicates, "_ALL_PAIRS", 5)
    text = "your order with the number {} was sent today and will be with you by tomorrow evening"
    rows = [(text.format(number),) for number in range(200)]
    pairs = list(duplicates.near_pairs(rows))
    assert set(duplicates.joined(200, pairs).tolist()) == {0}
    assert len(pairs) < 200 * duplicates._NEXT * duplicates._BANDS < 200 * 199 * 10


def test_nothing_is_near_where_there_is_nothing() -> None:
    assert list(duplicates.near_pairs([])) == list(duplicates.near_pairs([("a",)])) == []
    assert list(duplicates.near_pairs([("a b c d e f",), ("u v w x y z",)])) == []


@pytest.mark.parametrize(
    ("one", "other"),
    [("Ａ  ｂ", "a B"), ("straße", "STRASSE"), ("e\u0301", "é"), ("x\u2028y", "x y")],
)
def test_what_is_passed_over(one: str, other: str) -> None:
    assert duplicates.normalized(one) == duplicates.normalized(other)


def test_groups_are_those_of_a_search_through_pairs() -> None:
    generator = np.random.default_rng(3)
    pairs = [tuple(map(int, pair)) for pair in generator.integers(0, 60, (40, 2))]
    near: dict[int, set[int]] = {row: {row} for row in range(60)}
    for _ in range(60):
        for one, other in pairs:
            near[one] |= near[other]
            near[other] |= near[one]
    assert duplicates.joined(60, pairs).tolist() == [min(near[row]) for row in range(60)]


# Far texts ------------------------------------------------------------------------------------


@pytest.mark.parametrize("count", [3, 10, 100])
def test_distances_are_those_of_numpy(count: int) -> None:
    vectors = np.random.default_rng(0).normal(size=(40, 6)).astype("float32")
    vectors[7] = vectors[3]
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    for row, found in enumerate(outlying.distances(vectors, count)):
        others = sorted(1 - unit[row] @ unit[other] for other in range(40) if other != row)
        assert found == pytest.approx(np.mean(others[:count]), abs=1e-5)


def test_many_equal_texts_are_at_no_distance() -> None:
    assert outlying.distances(np.ones((30, 4)), 5) == pytest.approx(np.zeros(30), abs=1e-6)
    assert outlying.distances(np.ones((1, 4))).tolist() == [0.0]


def test_what_is_far_out_comes_first() -> None:
    near = np.random.default_rng(1).uniform(0.8, 1.2, 200)
    near[[17, 90]] = 4.0, 3.0
    assert outlying.far(near).tolist() == [17, 90]
    assert not len(outlying.far(np.ones(10))) and not len(outlying.far(np.zeros(0)))


# Scripts --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "script"),
    [
        ("hello", "LATIN"),
        ("Привет, world", "CYRILLIC"),
        ("日本語のテキスト", "CJK"),
        ("मुझे खेद है", "DEVANAGARI"),
        ("123 !? 🙂", None),
        ("", None),
        ("Ｆｕｌｌ", "LATIN"),
    ],
)
def test_the_script_of_a_text(text: str, script: str | None) -> None:
    assert scripts.of_text(text) == script


def test_words_of_two_scripts_that_look_alike_are_disguised() -> None:
    assert scripts.disguised("naïve Straße μm 5µg") is None
    assert scripts.disguised("Привет world") is None
    assert scripts.disguised("win a prіze") == "prіze"
    for text in hostile_texts(200):
        scripts.of_text(text)
        scripts.disguised(text)


def test_runs_of_long_texts_are_hashed_part_by_part(monkeypatch: pytest.MonkeyPatch) -> None:
    texts = ["", "abc", "some words that are longer " * 3, *hostile_texts(20)]
    whole = duplicates._signatures(texts)
    monkeypatch.setattr(duplicates, "_AT_ONCE", 7)
    assert (duplicates._signatures(texts) == whole).all()
