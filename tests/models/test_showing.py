"""What is shown of a batch is what the encoder gets."""

import html
import re
from pathlib import Path
from typing import Any

import hostile
import pytest
import samples

import tfhub_transfer as tt
from tfhub_transfer.data import show_batch

lists = tt.data.Examples.from_lists
TASK = tt.tasks.Classification(["a", "b"])
ODD = [
    "",
    "  ",
    "good 🙂 film",
    "فيلم جيد",
    "good film " * 200,
    "Café [SEP] acting!",
    "a\u202egood",
]


def build(folder: Path, task: Any = TASK, head: Any = None, length: int = 16) -> Any:
    return tt.build_model(str(folder), task, head, sequence_length=length)


def by_hand(folder: Path, text: str) -> list[str]:
    """Word pieces of a plain text in Python: at each place the longest piece that there is."""
    [file] = (folder / "assets").glob("*vocab*.txt")
    known = set(file.read_text("utf-8").splitlines())
    found = []
    for word in re.findall(r"\w+|[^\w\s]", text.lower()):
        pieces, start = [], 0
        while start < len(word):
            parts = [
                ("##" if start else "") + word[start:end] for end in range(len(word), start, -1)
            ]
            part = next((each for each in parts if each in known), None)
            if part is None:
                pieces = ["[UNK]"]
                break
            pieces.append(part)
            start += len(part.removeprefix("##") if start else part)
        found += pieces
    return found


def shown_tokens(row: Any) -> list[str]:
    return [p for read in row.read for p, special in zip(read.pieces, read.special) if not special]


def test_pieces_are_those_of_the_text_and_cuts_what_is_missing(bert_encoder: Path) -> None:
    texts = ["Good acting, good film", "worst", "", "the worst film of all zz " * 5]
    model = build(bert_encoder)
    batch = show_batch(model, lists(texts, ["a", "b", "a", "b"]), shuffle=False)
    assert [row.texts for row in batch.rows] == [(text,) for text in texts]
    for row, text in zip(batch.rows, texts):
        [read] = row.read
        whole = by_hand(bert_encoder, text)
        assert shown_tokens(row) == whole[:14]
        assert read.pieces == ("[CLS]", *whole[:14], "[SEP]")
        assert [*read.cut] == whole[14:] and row.lost == len(whole[14:])
        assert read.length + read.padding == batch.length == 16
    assert (batch.count, batch.cut) == (4, 1) and batch.lost == batch.rows[3].lost > 0
    lengths = [row.read[0].length for row in batch.rows]
    assert batch.padding == pytest.approx(1 - sum(lengths) / (4 * 16))
    assert [(row.label, row.target) for row in batch.rows[:2]] == [("a", "0"), ("b", "1")]
    assert [row.place for row in batch.rows[:2]] == ["lists, row 1", "lists, row 2"]


ALL = [pytest.mark.slow, pytest.mark.exhaustive]
QUICK = ("classification", "question-answering", "multi-task")


@pytest.mark.parametrize(
    "row", [name if name in QUICK else pytest.param(name, marks=ALL) for name in samples.ROWS]
)
def test_it_is_the_first_batch_of_every_task(row: str, bert_encoder: Path) -> None:
    sample = samples.ROWS[row]
    model = build(bert_encoder, sample.task(), sample.head)
    examples = samples.of_lengths(sample.examples)
    batch = show_batch(model, examples, rows=100, batch_size=8, seed=4)
    inputs, *_ = next(iter(model.preprocess(examples, 8, seed=4)))
    ids = inputs["input_word_ids"].numpy()
    assert len(batch.rows) == batch.count == len(ids) and ids.shape[-1] == batch.length
    engine = model.layout.preprocessor
    for shown, of_row in zip(batch.rows, ids.reshape(batch.count, -1, batch.length)):
        for read, padded in zip(shown.read, of_row, strict=True):
            assert [*read.pieces] == engine.spelled(padded[: read.length].tolist())
            assert not padded[read.length :].any()
            if not shown.units:
                kept = sum(not each for each in read.special)
                whole = sum(len(by_hand(bert_encoder, text)) for text in shown.texts)
                assert len(shown.read) > 1 or kept + len(read.cut) == whole
        if shown.units:
            kept = [p for unit in shown.units for p in unit.pieces if unit.text != "no answer"]
            assert kept == shown_tokens(shown)[-len(kept) :]
        else:
            assert sum(len(read.cut) for read in shown.read) == shown.lost
    given = model.task.apart(examples)
    for shown in batch.rows:
        number = int(shown.place.rpartition(" ")[2]) - 1
        own = given[shown.task]
        words = [text.replace("\u2028", " ") for text in (c[number] for c in own.texts)]
        assert [*shown.texts] == words and shown.label == str(own.labels[number])
    assert str(batch) == repr(batch) and batch._repr_html_().count("<tr>") == batch.count + 1


def test_words_stand_beside_their_labels(bert_encoder: Path) -> None:
    words, tags = [["good", "acting", "film"], ["film"] * 30], [["B-x", "O", "O"], ["O"] * 30]
    task = tt.tasks.TokenClassification(["O", "B-x"])
    batch = show_batch(build(bert_encoder, task), lists(words, tags), shuffle=False)
    first = batch.rows[0]
    assert [(u.text, u.label) for u in first.units] == [*zip(words[0], tags[0])]
    assert [" ".join(u.pieces) for u in first.units] == ["good", "a ##c ##t ##ing", "film"]
    # Of a long sentence there are several rows, which have all of its words.
    assert [row.part for row in batch.rows[1:]] == [(n + 1, 5) for n in range(5)]
    assert sum(len(row.units) for row in batch.rows[1:]) == 30
    assert "units: good [good] = B-x | acting [a ##c ##t ##ing] = O" in str(batch)


def test_windows_say_where_the_answer_is(bert_encoder: Path) -> None:
    context = "the film good acting " + "film " * 12 + "bad story"
    answers = [{"text": "bad story", "answer_start": context.index("bad")}]
    examples = lists(["the film"], [answers], text_pair=[context])
    batch = show_batch(
        build(bert_encoder, tt.tasks.QuestionAnswering()), examples, rows=20, shuffle=False
    )
    assert len(batch.rows) == batch.rows[0].part[1] > 1
    told = [{unit.text: unit.label for unit in row.units if unit.label} for row in batch.rows]
    with_it = [each for each in told if "no answer" not in each]
    assert {"bad": "start", "story": "end"} in with_it
    assert {"no answer": "start and end"} in told
    for row in batch.rows:
        assert row.read[0].pieces[:4] == ("[CLS]", "the", *by_hand(bert_encoder, "film"), "[SEP]")


def test_an_encoder_of_strings_gets_the_texts(text_encoder: Path) -> None:
    examples = lists([*ODD, "z" * 100_003], ["a", "b"] * 4)
    batch = show_batch(build(text_encoder, length=None), examples, shuffle=False)
    assert [row.read[0].text for row in batch.rows] == [*ODD, "z" * 100_000]
    assert batch.rows[-1].read[0].cut == ("z",) * 3 and batch.rows[-1].lost == 3
    said = " ".join(str(batch).split())
    assert "100000 signs each" in said and "the encoder gets the texts themselves" in said
    pairs = lists(["good"], ["a"], text_pair=["bad film"])
    task = tt.tasks.Classification(["a", "b"], pair=True)
    [row] = show_batch(build(text_encoder, task, length=None), pairs).rows
    assert [read.text for read in row.read] == ["good", "bad film"]


def test_odd_texts_labels_and_weights(bert_encoder: Path, tmp_path: Path) -> None:
    examples = lists(ODD, [0, 1, 0, 1, 0, 1, 0], weight=[1, 3, 1, 3, 1, 3, 1])
    batch = show_batch(build(bert_encoder), examples, rows=3, shuffle=False)
    text = str(batch)
    assert "label 0 | weight 0.538" in text and text.endswith("... and 4 more rows")
    assert batch.rows[0].read[0].pieces == ("[CLS]", "[SEP]")
    whole = str(show_batch(build(bert_encoder), examples, shuffle=False))
    assert "unknown piece" in whole and "\u202e" not in whole
    assert max(map(len, whole.splitlines())) <= 100
    [one] = show_batch(build(bert_encoder), lists(["good film"])).rows
    assert (one.label, one.target, one.weight) == (None, None, None)
    (tmp_path / "rows.csv").write_text("text,label\n" + "good film,a\nbad,b\n" * 9, "utf-8")
    stream = tt.data.stream(tmp_path / "rows.csv", chunk_rows=4)
    read, read_from = show_batch(build(bert_encoder), stream, batch_size=3), stream.source
    assert [row.place for row in read.rows] == [f"{read_from}, line {n}" for n in (2, 3, 4)]
    assert [row.texts for row in read.rows] == [("good film",), ("bad",), ("good film",)]


def test_html_runs_nothing_of_the_texts(bert_encoder: Path, text_encoder: Path) -> None:
    texts = [*hostile.texts(60), "<script>alert(1)</script>", "</td></table><img onerror=y>"]
    words = [[text or "-"] for text in texts]
    task = tt.tasks.TokenClassification(["O", "B-<i>"])
    for batch in (
        show_batch(build(text_encoder, length=None), lists(texts, ["a"] * len(texts)), 99, 99),
        show_batch(build(bert_encoder, task), lists(words, [["B-<i>"]] * len(texts)), 99, 99),
    ):
        page = batch._repr_html_()
        tags = set(re.findall(r"<\s*/?\s*([a-zA-Z]+)", page))
        assert tags <= {*"div p table tr th td br bdi small s".split()}, tags
        assert "onerror" not in re.sub(r">[^<]*<", "><", page)
        assert "script" in html.unescape(page)


def test_what_is_refused(bert_encoder: Path) -> None:
    model = build(bert_encoder)
    with pytest.raises(tt.InputError, match="that `tt.build_model` made"):
        show_batch(object(), lists(["a"]))  # type: ignore[arg-type]
    with pytest.raises(tt.InputError, match="rows"):
        show_batch(model, lists(["a"]), rows=0)
    with pytest.raises(tt.InputError, match="batch_size"):
        show_batch(model, lists(["a"]), batch_size=0)
    with pytest.raises(tt.InputError, match="built for single texts"):
        show_batch(model, lists(["a"], text_pair=["b"]))
    with pytest.raises(tt.InputError, match="at least one"):
        show_batch(model, lists(["a"], ["a"])[:0])


def test_nothing_of_the_model_changes(bert_encoder: Path) -> None:
    task = tt.tasks.TokenClassification(["O", "B-x"])
    model = build(bert_encoder, task)
    before = (dict(vars(task)), model.truncation, model.padding)
    show_batch(model, lists([["good", "film"]], [["O", "B-x"]]))
    assert (dict(vars(task)), model.truncation, model.padding) == before
