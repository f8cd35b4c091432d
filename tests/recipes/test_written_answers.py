"""What teachers write, as what a student learns."""

from pathlib import Path
from typing import Any

import keras
import pytest
from several_samples import sentiments

import tfhub_transfer as tt
from tfhub_transfer.recipes import distillation, written_answers
from tfhub_transfer.tasks import Head, Translation

TARGETS = ["guter Film", "böser Film", "die Geschichte", "ein Stück"]
SOURCES = ["good film", "bad movie", "the story", "a play"]
TRAIN = tt.data.Examples.from_lists(SOURCES, [*TARGETS[:3], [TARGETS[3], "Stück"]])


def build(encoder: Path) -> tt.TransferModel:
    keras.utils.set_random_seed(1)
    task = Translation(decoder_width=16, search={"beams": 2, "max_length": 8})
    return tt.build_model(str(encoder), task.adapt(TARGETS), Head(dropout=0.0))


class Teacher:
    """What writes the same whatever it is asked."""

    task = Translation()

    def __init__(self, *answers: list[str]) -> None:
        self.answers = list(answers)


def taught(teachers: Any, share: float, more: Any = None, train: Any = TRAIN) -> Any:
    found = written_answers.with_answers(teachers, train, more, share)
    assert found.target and found.weights
    return list(zip(found.texts[0], found.labels, found.weights))


@pytest.fixture(autouse=True)
def _answers(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> None:
    if "bert_encoder" not in request.fixturenames:
        monkeypatch.setattr(written_answers, "_written", lambda teacher, _: teacher.answers.pop(0))


def test_a_text_comes_with_its_label_and_with_what_each_teacher_writes() -> None:
    one = Teacher(["gut", "böser Film", "  ", "Spiel"])
    other = Teacher(["guter", "böser Film", "x", "Spiel"])
    found = taught([one, other], 0.5)
    assert found == [
        ("good film", "guter Film", 0.5),
        ("good film", "gut", 0.25),
        ("good film", "guter", 0.25),
        ("bad movie", "böser Film", 1.0),
        ("the story", "die Geschichte", 0.75),
        ("the story", "x", 0.25),
        ("a play", "ein Stück", 0.5),
        ("a play", "Spiel", 0.5),
    ]


def test_teachers_alone_and_texts_without_labels() -> None:
    more = tt.data.Examples.from_lists(["more", "nothing"])
    teacher = Teacher(["a", "b", "", "d"], ["e", ""])
    weighed = tt.data.Examples.from_lists(SOURCES, TARGETS, weight=[1, 2, 3, 0])
    assert taught([teacher], 1.0, more, weighed) == [
        ("good film", "a", 1.0),
        ("bad movie", "b", 2.0),
        ("the story", "die Geschichte", 3.0),
        ("a play", "ein Stück", 0.0),
        ("a play", "d", 0.0),
        ("more", "e", 1.5),
    ]


def test_teachers_write_what_they_answer_once(bert_encoder: Path, monkeypatch: Any) -> None:
    teacher = build(bert_encoder)
    texts = sentiments(6, 5).texts[0]
    expected = [answer["text"] for answer in teacher.predict_text(texts)]
    examples = tt.data.Examples.from_lists(texts)
    assert written_answers._written(teacher, examples) == expected
    monkeypatch.setattr(written_answers.forward, "run", None)
    assert written_answers._written(teacher, examples) == expected


@pytest.mark.slow
def test_a_student_learns_what_its_teacher_writes(bert_encoder: Path, text_encoder: Path) -> None:
    teacher, student = build(bert_encoder), build(text_encoder)
    plan = tt.Plan(verbose=0, head_epochs=3, head_learning_rate=0.01)
    before = student.evaluate(student.preprocess(TRAIN), return_dict=True, verbose=0)
    imitation = distillation.Imitation(share=1.0)
    history = distillation.distill(
        teacher, student, TRAIN, TRAIN, SOURCES, imitation, unfreeze="none", plan=plan
    )
    assert history.history["loss"][-1] < history.history["loss"][0]
    wanted = [answer["text"] or "x" for answer in teacher.predict_text(SOURCES)]
    own = tt.data.Examples.from_lists(SOURCES, wanted)
    after = student.evaluate(student.preprocess(own), return_dict=True, verbose=0)
    assert after["loss"] < before["loss"]
    assert student.training_examples is TRAIN
    with pytest.raises(tt.InputError, match="a temperature is of scores"):
        distillation.distill(
            teacher, student, TRAIN, TRAIN, imitation=distillation.Imitation(temperature=4.0)
        )
