"""Classes by descriptions alone: the answer is the one with the highest cosine."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tfhub_transfer as tt
from tfhub_transfer.data import Examples
from tfhub_transfer.recipes import zero_shot

CLASSES = {"praise": ["good film", "good acting"], "blame": "the worst bad movie", "other": "story"}
TEXTS = ["good good film", "bad story", "the film", "movie", "acting the worst"]


@pytest.mark.parametrize("kind", ["text_encoder", "bert_still"])
def test_scores_are_the_softmax_of_cosines(kind: str, make_encoder: Any, tmp_path: Path) -> None:
    model = zero_shot.build(str(make_encoder(kind)), CLASSES, sequence_length=24)
    encoder = str(make_encoder(kind))
    vectors = {}
    lengths = []
    for name, texts in zero_shot.parsed(CLASSES).items():
        each = tt.encode_text(encoder, texts)
        lengths += [*np.linalg.norm(each, axis=1)]
        vectors[name] = (each / np.linalg.norm(each, axis=1, keepdims=True)).mean(axis=0)
    asked = tt.encode_text(encoder, TEXTS)
    cosines = np.array(
        [[u @ v / np.linalg.norm(u) / np.linalg.norm(v) for v in vectors.values()] for u in asked]
    )
    scores = model.predict_scores(TEXTS)
    assert scores.argmax(axis=1).tolist() == cosines.argmax(axis=1).tolist()
    units = np.linalg.norm(asked, axis=1, keepdims=True) / np.mean(lengths)
    logits = zero_shot.SCALE * cosines * units
    wanted = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    np.testing.assert_allclose(scores, wanted, atol=1e-4)
    # A model as any: saved, loaded, and a start to learn from.
    model.save(tmp_path / "model.keras")
    again = tt.load_model(tmp_path / "model.keras")
    assert again.predict_text(TEXTS) == model.predict_text(TEXTS)
    assert [*again.task.class_names] == [*CLASSES]


def test_it_learns_on_from_there(text_encoder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = zero_shot.build(str(text_encoder), CLASSES)
    start = model.get_layer("scores").get_weights()[0]
    examples = Examples.from_lists(TEXTS * 4, ["praise", "blame", "other", "other", "blame"] * 4)
    plan = tt.Plan(verbose=0, head_epochs=1, head_learning_rate=1e-6)
    tt.fine_tune(model, examples, examples, unfreeze="none", plan=plan)
    found = model.get_layer("scores").get_weights()[0]
    assert 0 < np.abs(found - start).max() < 1e-4


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"a": "x"}, "two classes at least.*Received: {'a': 'x'}"),
        (["a", "b"], "two classes at least"),
        ({"a": "x", "b": 3}, "list of texts. Received: 3 of 'b'"),
        ({"a": "x", "b": []}, "say something. Received: 'b'"),
        ({"a": "x", "b": " "}, "say something. Received: 'b'"),
        ({1: "x", "1": "y", "b": "z"}, "each once. Received: '1' twice"),
    ],
)
def test_what_describes_nothing_is_refused(given: Any, said: str) -> None:
    with pytest.raises(tt.InputError, match=said):
        zero_shot.build("no such encoder", given)


def test_its_head_is_given() -> None:
    with pytest.raises(tt.InputError, match="leave `head` out"):
        zero_shot.build("no such encoder", CLASSES, head=tt.Head(hidden_units=4))


def test_a_file_names_each_class_once(text_encoder: Path, run: Any, tmp_path: Path) -> None:
    told, data = tmp_path / "classes.json", tmp_path / "texts.txt"
    data.write_text("good film\n")
    told.write_text('{"a": "good film", "a": "story", "b": "bad"}')
    status, _, err = run("predict", text_encoder, data, "--descriptions", told)
    assert status == 2 and "(a more than once)" in err and err.count("\n") == 1
    # As some editors write it.
    told.write_text('\ufeff{"a": "good film", "b": "bad"}', encoding="utf-8")
    status, out, err = run("predict", text_encoder, data, "--descriptions", told)
    assert status == 0 and json.loads(out)["label"] == "a", err


def test_classes_that_cant_be_told_apart_are_refused(text_encoder: Path) -> None:
    with pytest.raises(tt.InputError, match="same vector.*'a' and 'b'"):
        zero_shot.build(str(text_encoder), {"a": "good film", "b": "good film"})


def test_the_command_answers_with_an_encoder_alone(
    text_encoder: Path, run: Any, tmp_path: Path
) -> None:
    told, data = tmp_path / "classes.json", tmp_path / "texts.txt"
    told.write_text(json.dumps(CLASSES), encoding="utf-8")
    data.write_text("\n".join(TEXTS), encoding="utf-8")
    code, out, err = run("predict", text_encoder, data, "--descriptions", told)
    assert code == 0, err
    found = [json.loads(line)["label"] for line in out.splitlines()]
    model = zero_shot.build(str(text_encoder), CLASSES)
    assert found == [each["label"] for each in model.predict_text(TEXTS)]
    told.write_text("[]", encoding="utf-8")
    code, out, err = run("predict", text_encoder, data, "--descriptions", told)
    assert code == 2 and "JSON file with an object" in err
    words = ["--data", f"{tmp_path}/*.txt", "--output", tmp_path / "answers"]
    code, out, err = run("predict", text_encoder, *words, "--descriptions", told)
    assert code == 2 and "one file at a time" in err
