"""Sentences of plain texts with their places."""

import pytest
import tensorflow as tf

from tfhub_transfer.texts import sentences
from tfhub_transfer.texts.joining import WORD_END


def split(text: str) -> list[str]:
    """The sentences of one text; each stands where its places say."""
    found, starts, ends = (v.to_list()[0] for v in sentences.split(tf.constant([text]), WORD_END))
    texts = [sentence.decode("utf-8") for sentence in found]
    assert [text[a:b] for a, b in zip(starts, ends)] == texts
    return texts


@pytest.mark.parametrize(
    "wanted",
    [
        ["No stop at the end"],
        ["It works.", "It does!", "Really?!", "Yes…", "Well."],
        ["We use e.g. BERT, i.e. a Transformer.", "They work."],
        ["Dr. Smith and Mrs. O'Hara met Prof. Ü. Öz at 5 p.m. on Monday.", "He slept."],
        ["As Lee et al. (2019) and Kim et al. Kim say, it works (cf. Fig. 3 and Sec. 4).", "Ok."],
        ["Pi is 3.14.", "Version 2.0 came in 2019.", "12 people saw it."],
        ["J. K. Rowling and W.E.B. Du Bois wrote.", "I read!"],
        ["See No. 5.", "The answer is no.", "It was made of art.", "I used apps, etc.", "Max."],
        ['He said "Stop!" and left.', '"Why?" she asked.', "(A note.)", "[1] Ref."],
        ["“Why?”", "She left.", "‘Who?’", "«Oui.»", "Non."],
        ["これは文です。", "次の文です！", "「本当？」", "はい。", "3.5です。"],
        ["¿Qué?", "¡Sí!", "Ça va.", "Élan.", "Это так.", "हिन्दी वाक्य।", "दूसरा वाक्य।"],
        ["1. First of all.", "2. Then.", "10. Last."],
        ["all in small letters.", "nobody shifts, e.g. here.", "ok?", "ok"],
        ["Hello... world.", "A 😀 face.", "Ünïcode e\u0301."],
        ["We count.Next is glued, as in example.Com."],
    ],
)
def test_sentences_end_where_people_end_them(wanted: list[str]) -> None:
    spaces = "" if wanted[0].endswith("。") else " "
    assert split(spaces.join(wanted)) == wanted
    assert split("\n ".join(wanted) + " \n") == wanted


def test_an_empty_line_ends_a_sentence_and_one_line_break_does_not() -> None:
    assert split("A title\n\nIt goes\non.\n \n\t\nDone") == ["A title", "It goes\non.", "Done"]


@pytest.mark.parametrize("text", ["", "  ", "\n\n \u3000", WORD_END])
def test_blank_texts_have_no_sentences(text: str) -> None:
    assert split(text) == []


def test_a_text_with_marks_is_split_there_alone() -> None:
    text = f" One. Two.{WORD_END}\nthree{WORD_END} {WORD_END}Ü. "
    assert split(text) == ["One. Two.", "three", "Ü."]
    together = tf.constant(["It. B c. D", text, "", "Yes. No."])
    found = sentences.split(together, WORD_END)[0].to_list()
    assert [len(row) for row in found] == [2, 3, 0, 2]


def test_texts_of_one_mark_only_and_long_ones_are_split_at_once() -> None:
    text = "The cat sat on the mat again. " * 8000
    found, starts, ends = sentences.split(tf.constant([text]), WORD_END)
    assert found.row_lengths().numpy().tolist() == [8000]
    assert (starts.numpy()[0, -1], ends.numpy()[0, -1]) == (30 * 7999, 30 * 8000 - 1)


def test_bytes_that_are_no_text_do_not_stop_it() -> None:
    found = sentences.split(tf.constant([b"A b\xff. C \xc3. D"]), WORD_END)[0]
    assert b" ".join(found.to_list()[0]) == b"A b\xff. C \xc3. D"
