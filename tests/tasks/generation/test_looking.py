"""What is read while an answer is written: its shares, and what a report shows of them."""

from html.parser import HTMLParser
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

import tfhub_transfer as tt
from tfhub_transfer.heads.decoder import Decoder
from tfhub_transfer.heads.settings import DecoderForm
from tfhub_transfer.reporting.contents import Attention
from tfhub_transfer.reporting.pages import reading
from tfhub_transfer.tasks import AbstractiveSummarization, TargetVocabulary
from tfhub_transfer.tasks.generation import looking
from tfhub_transfer.tasks.generation.vocabulary import BOS

DOCUMENTS = ["Good film. Bad movie <b>here</b>. The story.", "The worst story. Good play."] * 4
SUMMARIES = ["Good film.", "Bad play <i>&"] * 4


def test_shares_are_those_of_the_whole_text() -> None:
    keras.utils.set_random_seed(0)
    form = DecoderForm(width=8, layers=2, heads=2, inner_units=8, dropout=0.0)
    decoder = Decoder(9, 6, form)
    decoder.build((None, None, 8))
    generator = np.random.default_rng(0)
    memory = tf.constant(generator.normal(size=(2, 4, 8)).astype(np.float32))
    present = tf.constant([[1, 1, 1, 1], [1, 1, 0, 0]])
    ids = generator.integers(4, 9, (2, 5)).astype(np.int32)
    state = decoder.start(memory, present)
    found = looking.read_shares(decoder, state, ids)
    # All places at once, as in training.
    given = np.concatenate([np.full((2, 1), BOS, np.int32), ids[:, :-1]], axis=1)
    vectors = decoder._embedded(tf.constant(given), decoder.positions[:5], False)
    ahead = (1.0 - np.tril(np.ones((5, 5), np.float32))) * -1e9
    for layer, cross in zip(decoder.layers, state.cross):
        own = layer.own.keys_values(vectors, tf.constant(2))
        vectors, weights = layer.with_weights(vectors, own, ahead, cross, state.bias)
    np.testing.assert_allclose(found, np.asarray(weights).mean(axis=1), atol=1e-6)
    np.testing.assert_allclose(found.sum(axis=-1), 1.0, atol=1e-6)
    assert not found[1, :, 2:].any()


def test_the_pieces_that_are_read_most_are_shown_in_their_order() -> None:
    vocabulary = TargetVocabulary.learn(["ab ab ab"] * 3)
    [ids] = vocabulary.tokenize(["ab"]).to_list()
    source = [f"s{place}" for place in range(30)]
    read = np.zeros((1, len(ids) + 1, 40))
    read[0, 0, [29, 3]], read[0, -1, 5] = [0.7, 0.3], 1.0
    [found] = looking.pictures(vocabulary, [source], [ids], read)
    assert found["answer"] == [*vocabulary.pieces(ids), "(end)"]
    assert len(found["source"]) == 24 and found["source"][-1] == "s29"
    assert {"s3", "s5"} <= {*found["source"]}
    assert found["source"] == sorted(found["source"], key=lambda each: int(each[1:]))
    assert found["weights"][0][-1] == 0.7 and sum(found["weights"][-1]) == 1.0


class Cells(HTMLParser):
    """Rows of cells, each its kind, scope and text."""

    def __init__(self) -> None:
        super().__init__()
        self.rows: list[list[tuple[str, str | None, str]]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        assert "style" not in given  # which the page's own policy forbids
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th"):
            self.rows[-1].append((tag, given.get("scope") or given.get("class"), ""))

    def handle_data(self, data: str) -> None:
        if self.rows and self.rows[-1]:
            kind, scope, text = self.rows[-1][-1]
            self.rows[-1][-1] = (kind, scope, text + data.strip())


def test_a_table_says_what_its_colours_show() -> None:
    one: Attention = {
        "source": ["<b>", "film"],
        "answer": ["a&b", "(end)"],
        "weights": [[0.999, 0.001], [0.1, 0.34]],
    }
    parts = reading.attention_tables([one, one])
    assert sum("<details>" in part for part in parts) == 1
    cells = Cells()
    cells.feed(parts[2])
    assert cells.rows == [
        [("th", "col", "written"), ("th", "col", "<b>"), ("th", "col", "film")],
        [("th", "row", "a&b"), ("td", "s4", "100"), ("td", None, "")],
        [("th", "row", "(end)"), ("td", "s1", "10"), ("td", "s3", "34")],
    ]
    assert reading.attention_tables([]) == []


def test_a_report_of_summaries_shows_it_beside_extractive_rivals(bert_encoder: Path) -> None:
    keras.utils.set_random_seed(0)
    task = AbstractiveSummarization(decoder_width=16, copies=True).adapt(SUMMARIES)
    model = tt.build_model(str(bert_encoder), task, sequence_length=16)
    examples = tt.data.Examples.from_lists(DOCUMENTS, SUMMARIES)
    report = tt.evaluate(model, examples, train=examples)
    assert list(report.baselines) == ["copy", "lead", "central", "nearest"]
    assert len(report.attention) == 3
    for found in report.attention:
        assert found["source"][0] == "[CLS]" and found["answer"][-1] == "(end)"
        assert all(0.99 < sum(row) < 1.01 for row in found["weights"])
    page = report.files()["report.html"].decode("utf-8")
    assert page.count('<table class="reading">') == 3
    assert any(note.startswith("most central sentences") for note in report.notes)


def test_one_vector_has_nothing_to_choose_from(text_encoder: Path) -> None:
    task = AbstractiveSummarization(decoder_width=16).adapt(SUMMARIES)
    model = tt.build_model(str(text_encoder), task)
    assert model.layout.looked_at(model, DOCUMENTS[:1], SUMMARIES[:1]) == []
