"""Terms of texts, found as a search by hand in Python finds them; their pieces; what is refused."""

import itertools
import re
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from tfhub_transfer.errors import InputError
from tfhub_transfer.tasks.generation import glossary
from tfhub_transfer.tasks.generation.glossary import Finder, Glossary, read_pairs
from tfhub_transfer.tasks.generation.vocabulary import TargetVocabulary

TARGETS = ["Ein Hund, der bellt.", "Die Katze schläft.", "Zwei Hunde im Schnee", "C++ für alle"]


@pytest.fixture(scope="module")
def vocabulary() -> TargetVocabulary:
    return TargetVocabulary.learn(TARGETS)


def found(finder: Finder, texts: list[str]) -> list[list[int]]:
    rows: list[list[int]] = finder.find(tf.constant(texts)).to_list()
    return rows


def test_whole_words_are_found_and_case_counts_where_a_term_has_some() -> None:
    finder = Finder(["dog", "Apple", "New York", "c++", "öl", "US", "us"])
    texts = ["A Dog, dogs, a DOG!", "apple Apple", "in new york", "In New  York.", "C++ and c", ""]
    assert found(finder, texts) == [[0, 0], [1], [], [2], [3], []]
    assert found(finder, ["Öl ist ölig", "US us Us", "hot-dog", "dog's"]) == [
        [4],
        [5, 6, 6],
        [0],
        [0],
    ]
    assert found(Finder(["dog"], exact=True), ["Dog dog"]) == [[0]]


def test_of_two_the_longer_one_counts() -> None:
    finder = Finder(["data", "data base", "base of data", "base"])
    texts = ["data base", "base of data", "the data", "data base of data base", "base data"]
    # Those that overlap without one inside of the other are both there.
    assert found(finder, texts) == [[1], [2], [0], [1, 2, 1], [3, 0]]
    every = finder.find_all(tf.constant(texts[:1])).to_list()
    assert sorted(every[0]) == [0, 1, 3]


def test_scripts_without_spaces_have_words_of_one_sign() -> None:
    finder = Finder(["猫", "ねこ", "แมว"])
    assert found(finder, ["我爱猫。", "白いねこです", "รักแมวมาก", "ね"]) == [[0], [1], [2], []]


def test_many_terms_are_found_as_by_hand(monkeypatch: pytest.MonkeyPatch) -> None:
    generator = np.random.default_rng(0)
    words = list("abcdefg")
    terms = list({" ".join(generator.choice(words, generator.integers(1, 4))) for _ in range(60)})
    texts = [" ".join(generator.choice(words, generator.integers(0, 9))) for _ in range(50)]

    def by_hand(text: str) -> list[int]:
        given = text.split()
        here: list[tuple[int, int, int]] = []
        for at in range(len(given)):
            own = [
                (len(term.split()), number)
                for number, term in enumerate(terms)
                if given[at : at + len(term.split())] == term.split()
            ]
            here += [(at, at + size, number) for size, number in sorted(own)[-1:]]
        return [
            number for at, end, number in here if not any(a < at and e >= end for a, e, _ in here)
        ]

    assert found(Finder(terms), texts) == [by_hand(text) for text in texts]


def test_what_stands_for_terms_is_looked_for_in_answers(vocabulary: TargetVocabulary) -> None:
    pairs = [("dog", "Hund"), ("hound", "Hund"), ("cat", "Katze"), ("big cat", "große Katze")]
    known = Glossary(read_pairs(pairs), vocabulary)
    texts = tf.constant(["dog hound", "Cat dog cat", "big cat, cat", "none"])
    assert known.targets == ["Hund", "Katze", "große Katze"]
    assert known.find(texts).to_list() == [[1], [2, 1], [3, 2], []]
    answers = tf.constant(["Hunde", "Hund, katze", "große Katze", ""])
    lacks = [[t.decode("utf-8") for t in row if t] for row in known.missing(texts, answers).numpy()]
    assert lacks == [["Hund"], ["Katze"], [], []]
    many = [(f"t{n}", f"T{n}") for n in range(20)]
    rows = Glossary(many, vocabulary).find(tf.constant([" ".join(t for t, _ in many)])).to_list()
    assert rows == [list(range(1, glossary.MOST_TERMS + 1))]


def test_pieces_are_those_of_a_word_of_its_own(vocabulary: TargetVocabulary) -> None:
    known = Glossary(read_pairs({"a": "Hund", "b": "C++", "c": "猫"}), vocabulary)
    for row, target in enumerate([" Hund", " C++", "猫"]):
        ids = [int(each) for each in known.pieces[row] if each]
        text = "".join(vocabulary.pieces(ids)).replace("\u2581", " ")
        spelled = vocabulary.detokenize(tf.constant([[*vocabulary.inside("x"), *ids]])).numpy()[0]
        assert spelled.decode("utf-8").lstrip("x") == target, text
    assert known.closed.tolist() == [True, False, False]
    pieces = vocabulary.pieces(range(vocabulary.size))
    for piece, goes_on in itertools.islice(zip(pieces, known.goes_on), 4, None):
        assert goes_on == bool(re.match(r"\w|<0x..>$|[^\x00-\x7f\u2581]", piece)), piece


@pytest.mark.parametrize("odd", [5, "a,b", [("a",)], {"a": ""}, [("a", " ")], [("a", 1)]])
def test_what_is_no_glossary_is_refused(odd: Any) -> None:
    with pytest.raises(InputError, match="a glossary is a dictionary of terms"):
        read_pairs(odd)


def test_a_term_stands_for_one_thing_that_is_not_too_long(vocabulary: TargetVocabulary) -> None:
    assert read_pairs([("a ", "b"), ("a", " b")]) == (("a", "b"),)
    with pytest.raises(InputError, match="stands for one thing.*'a' for 'b' and 'c'"):
        read_pairs([("a", "b"), ("a", "c")])
    with pytest.raises(InputError, match="row 2 of a glossary: half a character"):
        read_pairs({"a": "b", "c": "\ud83d"})
    with pytest.raises(InputError, match="24 pieces at most.*Received: 'xyz"):
        Glossary((("a", "xyz" * 20),), vocabulary)
    with pytest.raises(InputError, match="has a word at least"):
        Finder(["dog", " "])


def test_terms_of_the_same_words_are_one(vocabulary: TargetVocabulary) -> None:
    """Spaces and the way of writing an accent make no other term, nor another answer."""
    for one, other in (("a  b", "a b"), ("a-b", "a - b"), ("caf\u00e9", "cafe\u0301")):
        with pytest.raises(InputError, match="stands for one thing.*'x' and 'y'"):
            Glossary(read_pairs({one: "x", other: "y"}), vocabulary)
        assert Glossary(read_pairs({one: "x", other: "x"}), vocabulary).targets == ["x"]
    known = Glossary(read_pairs({"caf\u00e9": "Hund"}), vocabulary)
    assert known.find(tf.constant(["cafe\u0301", "Caf\u00e9", "cafe"])).to_list() == [[1], [1], []]
    known = Glossary(read_pairs({"a": "x-y", "b": "x - y", "c": "x"}), vocabulary)
    lacks = known.missing(tf.constant(["a", "b", "c a"]), tf.constant(["x - y", "x-y", "x"]))
    assert lacks.numpy().tolist() == [[b""], [b""], [b"x-y"]]
