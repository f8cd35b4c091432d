"""One segmentation of words: in training data, asked as texts, asked as lists, and served."""

import dataclasses
import json
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

import tfhub_transfer as tt
from tfhub_transfer import cli
from tfhub_transfer.tasks import TokenClassification, segmentation
from tfhub_transfer.tasks.tagging import schemes
from tfhub_transfer.texts import joining, splitting
from tfhub_transfer.texts.joining import ALONE, WORD_END, Segmentation

# Of a newspaper's kind: abbreviations, numbers, possessives, negations, faces; hyphens part words.
SENTENCES = [
    "The U.S. did n't pay $ 3.50 , but 1,000 did .",
    "Mr. Smith 's well - known dog is n't in the U.K. now .",
    "I love it :) and so do they !!!",
    "In the U.S. Mr. Jones has a three - part plan .",
    "It has 2.5 parts .",
]
TAGS = {"U.S.": "B-place", "U.K.": "B-place", "Mr.": "B-name", "Smith": "I-name", "Jones": "I-name"}


def examples(number: int = 80) -> tt.data.Examples:
    words = [SENTENCES[row % len(SENTENCES)].split() for row in range(number)]
    tags = [[TAGS.get(word, "O") for word in row] for row in words]
    return tt.data.Examples.from_lists(words, tags)


def split(texts: list[str], known: Segmentation | None = None) -> list[list[str]]:
    found, starts, ends = (v.to_list() for v in segmentation.split(tf.constant(texts), known))
    shown = [text.decode() for text in segmentation.spelled(tf.constant(texts)).numpy()]
    for text, row, a, b in zip(shown, found, starts, ends):
        assert [text[i:j] for i, j in zip(a, b)] == [word.decode() for word in row]
    return [[word.decode() for word in row] for row in found]


@pytest.fixture(scope="module")
def known() -> Segmentation:
    return segmentation.learn(text.split() for text in SENTENCES)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("The U.S. didn't pay $3.50, but 1,000 did.", SENTENCES[0]),
        ("Mr. Smith's well-known dog isn't in the U.K. now.", SENTENCES[1]),
        ("I love it :) and so do they!!!", SENTENCES[2]),
        ("In the E.U., 7.25 (or 9,999) count:)", "In the E.U. , 7.25 ( or 9,999 ) count :)"),
        ("Ünïcode's \U0001f642 :)", "Ünïcode 's \U0001f642 :)"),
        ("", ""),
        ("   ", ""),
        ("!!!!!!!", "!!!!!!!"),
    ],
)
def test_plain_texts_have_the_words_of_the_data(text: str, words: str, known: Segmentation) -> None:
    assert_split(text, words.split(), known)


def assert_split(text: str, wanted: list[str], known: Segmentation) -> None:
    assert split([text], known) == [wanted]
    # Also among others, and however they are spaced.
    assert split(["a.b", text, "", f"  {text}\t"], known)[1::2] == [wanted, wanted]


def test_what_is_parted_more_often_than_not_is_parted() -> None:
    hyphens = segmentation.learn([["e-mail"], ["a", "-", "b"], ["c", "-", "dd"], ["ee", "-", "f"]])
    assert split(["e-mail me a-c gg-hh"], hyphens) == [
        ["e-mail", "me", "a", "-", "c", "gg", "-", "hh"]
    ]
    usual = segmentation.learn([["e-mail"], ["well-known"], ["up-to-date"], ["x", "-", "ray"]])
    assert split(["well-meant up-to-here x-ray"], usual) == [
        ["well-meant", "up-to-here", "x", "-", "ray"]
    ]
    kept = segmentation.learn([["shouldn't"], ["don't"]])
    assert split(["don't can't"], kept) == [["don't", "can't"]]
    assert not kept.negation
    spaced = segmentation.learn([["New York", ""], ["a - b"], ["a", "-", "b"]])
    assert split(["a-b New York"], spaced) == [["a", "-", "b", "New", "York"]]


def test_scripts_without_spaces_have_the_longest_known_words() -> None:
    known = segmentation.learn([["東京", "と", "大阪"], ["大阪", "人"], ["東", "西"]])
    assert split(["東京と大阪人東西"], known) == [["東京", "と", "大阪", "人", "東", "西"]]


def by_hand(text: str, known: Segmentation) -> list[str]:
    """The longest known word first, a part at a time."""
    words = []
    for chunk in text.split():
        parts = split([chunk])[0]
        kinds = [kind.decode() for kind in segmentation.shape_of_each(tf.constant(parts)).numpy()]
        while parts:
            size = 1
            for end in range(2, min(len(parts), 12) + 1):
                word, shape = "".join(parts[:end]), segmentation.shape_name(kinds[:end])
                usual = shape in known.shapes and word not in known.apart
                size = end if word in known.words or usual else size
            words.append("".join(parts[:size]))
            parts, kinds = parts[size:], kinds[size:]
    return words


def test_many_texts_at_once_are_parted_as_each_by_hand() -> None:
    generator = np.random.default_rng(0)
    letters = [*"aab1.,-'!", "  "]
    rows = ["".join(generator.choice(letters, 24)) for _ in range(12)]
    known = segmentation.learn(["".join(generator.choice(letters, 9)).split() for _ in range(40)])
    assert len(known.shapes) > 9
    known = dataclasses.replace(known, words=("a-b.", "1!"), apart=("b.1", known.shapes[0]))
    assert split(rows, known) == [by_hand(row, known) for row in rows]


def test_nothing_known_is_every_sign() -> None:
    assert split(["The U.S. didn't"]) == [["The", "U", ".", "S", ".", "didn", "'", "t"]]


@pytest.mark.parametrize(
    "words", [["U.S."], ["a"], ["U.S.", "wins"], ["New York", "won"], [":)"], ["Ü", "", "東京"], []]
)
def test_lists_of_words_stay_as_they_are(words: list[str], known: Segmentation) -> None:
    text = joining.join_words(words)
    assert split([text, "a.b"], known)[0] == words
    padded = tf.constant([[*words, "", ""], ["x"] * (len(words) + 2)])
    assert splitting.joined(padded)[0].numpy().decode() in (text, text + ALONE)
    if words:
        assert joining.split_words(text) == words


# A model ------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def model(bert_encoder: Path) -> tt.TransferModel:
    """Its head isn't trained, so that it finds entities everywhere."""
    keras.utils.set_random_seed(0)
    train = examples()
    made = tt.build_model(str(bert_encoder), TokenClassification().adapt(train.labels))
    made.preprocess(train)
    return made


ASKED = ["The U.S. didn't pay $3.50", "Mr. Jones is here.", "U.S.", "", "good film " * 20]


def lists(rows: list[str]) -> list[list[str]]:
    return [row.split() for row in rows]


def measured_by_hand(answers: list[dict[str, Any]], rows: tt.data.Examples) -> dict[str, float]:
    """The numbers of a report, of readable answers."""
    made = [[word["tag"] for word in answer["words"]] for answer in answers]
    right = [a == b for tags, own in zip(made, rows.labels) for a, b in zip(tags, own)]
    found, wanted = ([set(schemes.entities(t)) for t in each] for each in (made, rows.labels))
    hits = sum(len(a & b) for a, b in zip(found, wanted))
    precision, recall = (hits / sum(map(len, each)) for each in (found, wanted))
    both = {"precision": precision, "recall": recall}
    f1 = 2 * precision * recall / (precision + recall) if hits else 0.0
    return {"accuracy": sum(right) / len(right), **both, "f1": f1}


def half_right(rows: tt.data.Examples, answers: list[dict[str, Any]]) -> tt.data.Examples:
    """With every other label what an untrained model answers."""
    own = [[word["tag"] for word in answer["words"]] for answer in answers]
    labels = [a if row % 2 else b for row, (a, b) in enumerate(zip(own, rows.labels))]
    return tt.data.Examples.from_lists(rows.texts[0], labels)


def words_of(answers: list[dict[str, Any]]) -> list[list[str]]:
    return [[word["text"] for word in answer["words"]] for answer in answers]


def test_asked_with_its_own_words_it_answers_what_the_report_measures(
    model: tt.TransferModel,
) -> None:
    answers = model.predict_text(lists(SENTENCES))
    assert words_of(answers) == lists(SENTENCES)
    rows = half_right(examples(len(SENTENCES)), answers)
    report = tt.evaluate(model, rows, baselines=False)
    assert measured_by_hand(answers, rows) == {
        n: v for n, v in report.metrics.items() if n != "ece"
    }
    assert 0 < report.metrics["f1"] < 1
    for text, answer in zip(SENTENCES, answers):
        assert all(text[e["start"] : e["end"]] == e["text"] for e in answer["entities"])
    # And with texts that are spelled as people spell them.
    plain = ["The U.S. didn't pay $3.50, but 1,000 did.", "I love it :) and so do they!!!"]
    asked = model.predict_text(plain)
    assert words_of(asked) == [SENTENCES[0].split(), SENTENCES[2].split()]
    for text, answer in zip(plain, asked):
        assert all(text[w["start"] : w["end"]] == w["text"] for w in answer["words"])


@pytest.mark.parametrize("form", [list, tuple, np.array])
def test_lists_of_words_in_several_forms(model: tt.TransferModel, form: Any) -> None:
    rows = [form(["Mr.", "Smith"]), form(["U.S."]), "U.S."]
    found = model.predict_text(rows)
    assert words_of(found) == [["Mr.", "Smith"], ["U.S."], ["U.S."]]
    scores = model.predict_scores(rows)
    assert [len(row) for row in scores] == [2, 1, 1]
    assert len(model.predict_scores(["Mr. Smith didn't."])[0]) == 5
    assert [w["score"] for w in found[0]["words"]] == pytest.approx(scores[0].max(axis=1), abs=1e-5)
    # A separator in a text isn't one between words, nor in an export's.
    [plain] = model.layout.plain(tf.constant([f"a{WORD_END}b{ALONE}"]))
    assert plain.numpy().tolist() == [b"a b "]
    assert words_of(model.predict_text([f"I love{WORD_END}it", f"U.S.{ALONE}"])) == [
        ["I", "love", "it"],
        ["U.S."],
    ]


def test_what_is_no_list_of_words_is_refused(model: tt.TransferModel) -> None:
    for row in ([1, 2], [["a"]], {"a": 1}, None):
        with pytest.raises(tt.InputError, match="every text must be a string|there is none"):
            model.predict_text([row])


def test_a_saved_model_knows_the_words(model: tt.TransferModel, tmp_path: Path) -> None:
    model.save(tmp_path / "model.keras")
    again = tt.load_model(tmp_path / "model.keras")
    assert again.task.segmentation == model.task.segmentation
    assert again.predict_text(ASKED) == model.predict_text(ASKED)


@pytest.mark.slow
def test_exports_take_texts_and_words(model: tt.TransferModel, tmp_path: Path) -> None:
    served = tt.load_saved_model(tt.export_saved_model(model, tmp_path, "float32"))
    separated = [f"I love{WORD_END}it", f"U.S.{ALONE}"]
    asked: list[Any] = [*ASKED, *separated]
    for rows in (asked, [*lists(ASKED), ["New York"], ["Mr.", "", "Smith"]]):
        found, expected = served.predict(rows, batch_size=2), model.predict_text(rows)
        for row, answer in enumerate(expected):
            count = found["word_count"][row]
            for name, key in (("word", "text"), ("tag", "tag")):
                own = [word.decode() for word in found[name][row, :count]]
                assert own == [word[key] for word in answer["words"]]
            for name in ("start", "end"):
                own = found[name][row, :count].tolist()
                assert own == [word[name] for word in answer["words"]]
            entities = found["entity"][row, : found["entity_count"][row]]
            assert [e.decode() for e in entities] == [e["text"] for e in answer["entities"]]
    with pytest.raises(tt.InputError, match="the last word of a list can't be empty"):
        served.predict([["a", ""]])


def test_a_segmentation_out_of_a_file_is_checked() -> None:
    with pytest.raises(tt.InputError, match="`segmentation` has lists of strings.*'shapes': 'a'"):
        TokenClassification(["a", "b"], segmentation={"shapes": "a"})
    with pytest.raises(tt.InputError, match="`segmentation` has lists of strings"):
        TokenClassification(["a", "b"], segmentation={"rules": []})


@pytest.mark.slow
def test_the_command_answers_in_the_words_of_a_file(
    model: tt.TransferModel, tmp_path: Path, capsys: Any
) -> None:
    model.save(tmp_path / "model.keras")
    rows = [["Mr.", "Smith"], ["U.S."]]
    file = tmp_path / "words.jsonl"
    file.write_text("".join(json.dumps({"tokens": row}) + "\n" for row in rows), encoding="utf-8")
    assert cli.main(["predict", str(tmp_path / "model.keras"), str(file)]) == 0
    found = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [row["tokens"] for row in found] == rows and words_of(found) == rows


# Real data ----------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.data
@pytest.mark.parametrize("name", ["wnut17", "ud_english_ewt"])
def test_real_words_give_the_report_to_the_last_digit(name: str, data_folder: Path) -> None:
    train, test = (
        tt.data.read(next((data_folder / name).glob(f"{part}.jsonl*")))
        for part in ("train", "test")
    )
    train, test = train[:400], test[:200]
    known = set(TokenClassification().adapt(train.labels).class_names or [])
    test = test[[set(tags) <= known for tags in test.labels]]
    keras.utils.set_random_seed(0)
    model = tt.build_model("auto", TokenClassification().adapt(train.labels))
    answers = model.predict_text([joining.split_words(text) for text in test.texts[0]])
    test = half_right(test, answers)
    report = tt.evaluate(model, test, baselines=False)
    assert words_of(answers) == [joining.split_words(text) for text in test.texts[0]]
    numbers = measured_by_hand(answers, test)
    assert {name: numbers[name] for name in set(report.metrics) & set(numbers)} == {
        name: value for name, value in report.metrics.items() if name in numbers
    }
    assert 0.5 < report.metrics["accuracy"] < 1


@pytest.mark.data
def test_texts_of_a_treebank_have_its_words(data_folder: Path) -> None:
    """Of its raw texts that were never seen: words right without knowledge, and with it."""
    folder = data_folder / "ud_english_ewt"
    train = tt.data.read(folder / "train.jsonl.gz")[:2000]
    rows = [json.loads(line) for line in (folder / "test.jsonl").read_text("utf-8").splitlines()]
    known = segmentation.learn(map(joining.split_words, train.texts[0]))
    shares = []
    for each in (None, known):
        found = split([row["text"] for row in rows], each)
        shares.append(np.mean([a == row["tokens"] for a, row in zip(found, rows)]))
    assert shares[0] < 0.7 and shares[1] > 0.85
