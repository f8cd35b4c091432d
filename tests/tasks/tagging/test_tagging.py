"""Tags: schemes, entities, scores, valid sequences."""

import itertools
import random

import numpy as np
import pytest
import seqeval.metrics
import tensorflow as tf

import tfhub_transfer as tt
from tfhub_transfer.tasks import TokenClassification
from tfhub_transfer.tasks.tagging import measures, schemes, viterbi
from tfhub_transfer.tasks.tagging import task as tagging_task

TAGS = {
    "IOB1": ["O", "I-a", "B-a", "I-b", "B-b"],
    "IOB2": ["O", "I-a", "B-a", "I-b", "B-b"],
    "BIOES": ["O", "B-a", "I-a", "E-a", "S-a", "B-b", "I-b", "E-b", "S-b"],
}


@pytest.mark.parametrize("kind", ["IOB2", "BIOES"])
def test_scores_are_those_of_seqeval_on_any_sequence(kind: str) -> None:
    generator = random.Random(0)
    for _ in range(200):
        lengths = [generator.randint(1, 12) for _ in range(5)]
        truth, made = ([generator.choices(TAGS[kind], k=n) for n in lengths] for _ in range(2))
        found = schemes.entity_scores(truth, made)
        expected = seqeval.metrics.classification_report(
            truth, made, output_dict=True, zero_division=0
        )
        for name, theirs in (("micro", "micro avg"), ("a", "a"), ("b", "b")):
            if name in found:
                own = [found[name][k] for k in ("precision", "recall", "f1", "support")]
                keys = ("precision", "recall", "f1-score", "support")
                assert own == pytest.approx([expected[theirs][k] for k in keys])
        told = measures.measure(truth, made, kind)
        numbers = [expected["micro avg"][k] for k in ("precision", "recall", "f1-score")]
        assert [told[k] for k in ("precision", "recall", "f1")] == pytest.approx(numbers)


@pytest.mark.parametrize(
    ("tags", "scheme"),
    [
        (["B-a", "I-a", "O", "B-b"], "IOB2"),
        (["I-a", "I-a", "B-a", "O"], "IOB1"),
        (["B-a", "I-b"], "IOB1"),
        (["S-a", "O", "B-b", "E-b"], "BIOES"),
        (["B-a", "L-a", "O", "U-b"], "BIOES"),
        (["U-a", "O"], "BIOES"),
        (["B-a", "M-a", "E-a", "S-b"], "BIOES"),
        (["B-a", "M-a", "E-a", "W-b", "O"], "BIOES"),
        (["NOUN", "X-RAY", "O"], None),
        (["U-turn", "straight"], None),
        (["A", "B", "E", "I", "S"], None),
        (["-LRB-", "ES-x", "NN"], None),
        (["O", "O"], None),
    ],
)
def test_schemes_are_told_apart(tags: list[str], scheme: str | None) -> None:
    assert schemes.find_scheme([["O"], tags]) == scheme


@pytest.mark.parametrize("letters", ["BIES", "BILU", "BMES", "BMEW"])
def test_schemes_in_other_letters_mean_the_same(letters: str) -> None:
    begin, inside, end, single = letters
    names = [f"{letter}-a" for letter in letters] + ["O"]
    tags = [f"{begin}-a", f"{inside}-a", f"{end}-a", "O", f"{single}-a"]
    assert schemes.find_scheme([tags]) == "BIOES"
    assert schemes.entities(tags) == [("a", 0, 3), ("a", 4, 5)]
    usual = schemes.allowed_steps(["B-a", "I-a", "E-a", "S-a", "O"], "BIOES")
    assert (schemes.allowed_steps(names, "BIOES") == usual).all()


@pytest.mark.parametrize(
    ("tags", "message"),
    [
        (["B_per", "I_per", "O"], "are written B-person.* Received: 'B_per'"),
        (["per-B", "per-I", "O"], "are written B-person.* Received: 'per-B'"),
        (["b-per", "i-per", "o"], "are written B-person.* Received: 'b-per'"),
        (["B:per", "O"], "are written B-person.* Received: 'B:per'"),
        (["B", "I", "O"], "are written B-person.* Received: 'B'"),
        (["B-per", "I-per", "o"], "'o' among tags with prefixes"),
        (["B-", "O"], "a tag must name its type behind the prefix.*'B-'"),
        (["B-per", "I-", "O"], "a tag must name its type behind the prefix.*'I-'"),
        (["B-per", "L-per", "E-per"], "must be those of one scheme.*Received: B, E, L"),
    ],
)
def test_odd_prefixes_are_named(tags: list[str], message: str) -> None:
    with pytest.raises(tt.InputError, match=message):
        schemes.find_scheme([tags])


def test_mixed_tags_are_refused() -> None:
    with pytest.raises(tt.InputError, match="'person' among tags with prefixes"):
        schemes.find_scheme([["B-a", "person"]])


@pytest.mark.parametrize(
    ("tags", "expected"),
    [
        ([], []),
        (["B-a", "B-a", "I-a"], [("a", 0, 1), ("a", 1, 3)]),
        (["I-a", "I-b", "I-b"], [("a", 0, 1), ("b", 1, 3)]),
        (["B-a", "E-a", "I-a"], [("a", 0, 2), ("a", 2, 3)]),
        (["S-a", "S-a"], [("a", 0, 1), ("a", 1, 2)]),
    ],
)
def test_entities(tags: list[str], expected: list[schemes.Entity]) -> None:
    assert schemes.entities(tags) == expected


def valid(tags: tuple[str, ...], scheme: str) -> bool:
    """By the definitions, not by steps: written from its entities, a sequence is the same."""
    written = ["O"] * len(tags)
    before_end, before_kind = -1, ""
    for kind, start, end in schemes.entities(tags):
        for place in range(start, end):
            written[place] = f"I-{kind}"
        touching = start == before_end and kind == before_kind
        if scheme != "IOB1" or touching:
            written[start] = f"B-{kind}"
        if scheme == "BIOES":
            written[end - 1] = f"E-{kind}" if end - start > 1 else f"S-{kind}"
        before_end, before_kind = end, kind
    return list(tags) == written


@pytest.mark.parametrize("scheme", schemes.SCHEMES)
def test_steps_allow_exactly_the_valid_sequences(scheme: str) -> None:
    names = TAGS[scheme]
    steps = schemes.allowed_steps(names, scheme)
    for numbers in itertools.product(range(len(names)), repeat=3):
        path = [len(names), *numbers, len(names) + 1]
        allowed = all(steps[a, b] for a, b in itertools.pairwise(path))
        assert allowed == valid(tuple(names[n] for n in numbers), scheme)


@pytest.mark.parametrize("scheme", [*schemes.SCHEMES, None])
def test_the_best_sequence_is_the_best_of_all(scheme: str | None) -> None:
    names = TAGS[scheme or "IOB2"][:5]
    steps = schemes.allowed_steps(names, scheme)
    generator = np.random.default_rng(0)
    shares = generator.dirichlet(np.ones(5), size=(20, 4)).astype(np.float32)
    together = viterbi.best_tags(tf.RaggedTensor.from_tensor(shares, ragged_rank=1), steps)
    for scores, found in zip(np.log(shares), together.numpy().reshape(20, 4)):
        best, reached = -np.inf, None
        for numbers in itertools.product(range(5), repeat=4):
            path = [5, *numbers, 6]
            total = scores[range(4), numbers].sum()
            if total > best and all(steps[a, b] for a, b in itertools.pairwise(path)):
                best, reached = total, numbers
        assert reached == tuple(found)
    nothing = tf.RaggedTensor.from_row_lengths(shares[0, :0], [0])
    assert viterbi.best_tags(nothing, steps).shape == (0,)


def test_many_sentences_and_many_tags_are_decoded_some_at_a_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    task = TokenClassification(class_names=["O", "B-a", "I-a"])
    scores = list(np.random.default_rng(0).dirichlet(np.ones(3), (9, 4)))
    wanted = task.sequences(scores)
    monkeypatch.setattr(tagging_task, "_MOST_WAYS", 2 * 3**2)
    assert task.sequences(scores) == wanted
    monkeypatch.setattr(tagging_task, "_MOST_WAYS", 0)
    assert task.sequences(scores) == wanted
