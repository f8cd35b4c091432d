"""Byte pairs merged all at once are merged as one after the other."""

import itertools
import random

import pytest
import tensorflow as tf

from tfhub_transfer.encoders.pieces import byte_pairs
from tfhub_transfer.encoders.pieces.byte_pairs import BytePairs, byte_signs
from tfhub_transfer.errors import InputError

Pairs = list[tuple[str, str]]


def one_by_one(word: str, ranks: dict[tuple[str, str], int]) -> list[str]:
    """The pieces of a word: of all pairs the first learned is merged, the first of them, again."""
    pieces = list(word)
    while True:
        pairs = [
            (ranks.get(pair, len(ranks)), place)
            for place, pair in enumerate(itertools.pairwise(pieces))
        ]
        rank, place = min(pairs, default=(len(ranks), 0))
        if rank == len(ranks):
            return pieces
        pieces[place : place + 2] = ["".join(pieces[place : place + 2])]


def vocabulary(merges: Pairs) -> dict[str, int]:
    """All bytes and what is made of them."""
    pieces = [*byte_signs(), *dict.fromkeys(a + b for a, b in merges)]
    return {piece: number for number, piece in enumerate(pieces)}


def learned(generator: random.Random, count: int, in_order: bool) -> Pairs:
    """Merges of letters: each of parts that those before it made, in an order or in none."""
    parts, merges = ["a", "b", "c"], []
    while len(merges) < count:
        pair = (generator.choice(parts), generator.choice(parts))
        made = "".join(pair)
        if len(made) < 9 and pair not in merges and not (in_order and made in parts):
            merges.append(pair)
            parts.append(made)
    if not in_order:
        generator.shuffle(merges)
    return merges


@pytest.mark.parametrize("in_order", [True, False])
def test_words_are_merged_as_one_pair_after_the_other(in_order: bool) -> None:
    generator = random.Random(23)
    for _ in range(2):
        merges = learned(generator, 40, in_order)
        numbers = vocabulary(merges)
        split = BytePairs(numbers, merges)
        ranks = {pair: rank for rank, pair in enumerate(merges)}
        assert byte_pairs._are_in_order(merges) == in_order
        # Some so long that they are merged at several places at once.
        sizes = [1, 2, 3, 5, 8, 13, 40, 64, 65, 150, 400]
        words = ["".join(generator.choices("aabc", k=size)) for size in sizes for _ in range(4)]
        words += ["a" * 9, "a" * 100, "abab" * 40]
        graph = tf.function(split.ids, autograph=False)
        found = graph(tf.constant(words)).to_list()
        for word, ids in zip(words, found, strict=True):
            assert ids == [numbers[piece] for piece in one_by_one(word, ranks)], word


def test_a_pair_that_no_merge_names_stays_two_pieces() -> None:
    # "abc" is a piece, made of "ab" and "c"; SentencePiece would make it of "a" and "bc", too.
    merges = [("b", "c"), ("a", "b"), ("ab", "c")]
    numbers = vocabulary(merges)
    split = BytePairs(numbers, merges)
    assert split.ids(tf.constant(["abc"])).to_list() == [[numbers["a"], numbers["bc"]]]


def test_joined_words_are_read_with_spaces_between() -> None:
    numbers = vocabulary([])
    split = BytePairs(numbers, [])
    joined, spaced = split.ids(tf.constant(["a\u2028b\u2029", "a b"])).to_list()
    assert joined == spaced == [numbers["a"], numbers["Ġ"], numbers["b"]]


def test_every_byte_needs_a_piece() -> None:
    lacking = {piece: number for piece, number in vocabulary([]).items() if piece != "Ġ"}
    with pytest.raises(InputError, match="a piece for each of the 256.*Received: none for 'Ġ'"):
        BytePairs(lacking, [])


def test_where_a_long_run_begins_decides_which_of_its_pairs_are_merged() -> None:
    # Far from "ba" nothing waits for it; but which of "aaaa" are pairs its first one says.
    merges = [("b", "a"), ("a", "a")]
    numbers = vocabulary(merges)
    word = "ba" + "a" * 299
    wanted = one_by_one(word, {pair: rank for rank, pair in enumerate(merges)})
    found = BytePairs(numbers, merges).ids(tf.constant([word]))
    assert found.to_list() == [[numbers[piece] for piece in wanted]]
