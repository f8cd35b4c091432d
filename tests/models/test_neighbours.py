"""The nearest labelled texts beside an answer, against all cosines computed one by one."""

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tfhub_transfer as tt
from tfhub_transfer.data import Examples
from tfhub_transfer.errors import InputError

KNOWN = ["a good film", "the bad movie", "good", "worst story", "film", "a good film"]
LABELS = ["good", "bad", "good", "bad", "good", "bad"]
ASKED = ["good film", "the worst movie", "a good film", ""]


@pytest.fixture(scope="module")
def model(encoder_folder: Path, make_encoder: Any) -> tt.TransferModel:
    task = tt.tasks.Classification(["bad", "good"])
    return tt.build_model(str(make_encoder("text_encoder")), task)


def by_hand(model: tt.TransferModel, text: str) -> list[tuple[str, str, float]]:
    [vector] = model.encode_text([text])
    found = []
    for own, label, other in zip(KNOWN, LABELS, model.encode_text(KNOWN)):
        lengths = float(np.linalg.norm(vector) * np.linalg.norm(other))
        found.append((own, label, float(vector @ other) / lengths if lengths else 0.0))
    return sorted(found, key=lambda each: -round(each[2], 5))


def test_neighbours_are_those_of_all_cosines(model: tt.TransferModel) -> None:
    near = tt.Neighbours(model, Examples.from_lists(KNOWN, LABELS), count=3).of(ASKED)
    for text, own in zip(ASKED, near, strict=True):
        expected = by_hand(model, text)[:3]
        assert [(each["text"], each["label"]) for each in own] == [each[:2] for each in expected]
        np.testing.assert_allclose(
            [each["cosine"] for each in own], [each[2] for each in expected], atol=1e-5
        )
    # The same text twice: the first one first, whatever their labels.
    assert [each["label"] for each in near[2][:2]] == ["good", "bad"]
    assert near[2][0]["cosine"] == pytest.approx(1.0)
    few = tt.Neighbours(model, Examples.from_lists(KNOWN[:2], LABELS[:2])).of(ASKED[:1])
    assert len(few[0]) == 2


def test_who_reads_pairs_has_none(text_encoder: Path, model: tt.TransferModel) -> None:
    pairs = tt.build_model(
        str(text_encoder), tt.tasks.Regression(mean=0.0, deviation=1.0, pair=True)
    )
    examples = Examples.from_lists(KNOWN, LABELS)
    with pytest.raises(InputError, match="are those of single texts"):
        tt.Neighbours(pairs, examples)
    for odd in (Examples.from_lists(KNOWN), examples[:0]):
        with pytest.raises(InputError, match="expected labelled single texts|expected at least"):
            tt.Neighbours(model, odd)
    with pytest.raises(InputError, match="neighbours"):
        tt.Neighbours(model, examples, count=0)
    near, odd_texts = tt.Neighbours(model, examples), ["film", [5], [["a", "film"]], ["\ud800"]]
    for given in odd_texts:
        with pytest.raises(InputError, match="expected a list of texts|row 1 of the texts"):
            near.of(given)  # type: ignore[arg-type]
    with pytest.raises(InputError, match="expected a model.*Received: str"):
        tt.Neighbours("out", examples)  # type: ignore[arg-type]


def test_the_command_gives_them_beside_answers(
    model: tt.TransferModel, tmp_path: Path, run: Any
) -> None:
    model.save(tmp_path / "model.keras")
    known, asked = tmp_path / "known.csv", tmp_path / "asked.csv"
    rows = [f"{text},{label}" for text, label in zip(KNOWN, LABELS)]
    known.write_text("\n".join(["text,label", *rows]) + "\n", "utf-8")
    # A column of that name is the user's own.
    asked.write_text("text,neighbours\ngood film,mine\nfilm,\n", "utf-8")
    words = ["predict", tmp_path / "model.keras", asked, "--neighbours", 2]
    status, out, told = run(*words, "--neighbours-from", known)
    assert status == 0, told
    found = [json.loads(line) for line in out.splitlines()]
    for row in found:
        near = row["predicted_neighbours"]
        expected = by_hand(model, row["text"])[:2]
        assert [(each["text"], each["label"]) for each in near] == [e[:2] for e in expected]
    plain = [json.loads(line) for line in run(*words[:3])[1].splitlines()]
    for row, own in zip(found, plain, strict=True):
        row.pop("predicted_neighbours")
        assert row == own
    odd = tmp_path / "odd.csv"
    odd.write_text("review,label\nfine,good\n", "utf-8")
    status, _, told = run(*words, "--neighbours-from", odd)
    # Which options there are name the columns of what is asked.
    assert status == 2 and "the columns of the training, text and label; call them so" in told
    assert told.count(str(odd)) == 1 and "name one of" not in told
    status, _, told = run(*words)
    assert status == 2 and "give labelled texts with `--neighbours-from`" in told


def test_the_training_is_looked_at_where_it_still_is(
    model: tt.TransferModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tfhub_transfer.jobs import predicting
    from tfhub_transfer.jobs.options.asking import PredictJob

    examples = Examples.from_lists(KNOWN, LABELS)
    monkeypatch.setattr(predicting, "training_split", lambda record: examples)
    model.save(tmp_path / "model.keras")
    (tmp_path / "in.txt").write_text("good film\n" + "film " * 600 + "\n", "utf-8")
    job = PredictJob(tmp_path / "model.keras", str(tmp_path / "in.txt"), neighbours=1)
    answers = predicting.predict(job)
    assert [each["neighbours"][0]["text"] for each in answers] == [  # type: ignore[index]
        by_hand(model, "good film")[0][0],
        by_hand(model, "film " * 600)[0][0],
    ]
    alone = predicting.predict(dataclasses.replace(job, neighbours=None))
    list(alone)
    assert alone.cut == answers.cut
