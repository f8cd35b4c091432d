"""Mistakes, what is said of them, and what that advises, to be done literally.

`MISTAKES` has a row for every error of the modules in `HELD`, which `test_advice.py` sees to.
"""

import contextlib
import dataclasses
import json
import unicodedata
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest import mock

import keras
import numpy as np

import tfhub_transfer as tt
from tfhub_transfer.data import Examples, label_columns, profiling, selecting, text_forms
from tfhub_transfer.heads.settings import DecoderForm
from tfhub_transfer.jobs import data_checks, inputs
from tfhub_transfer.jobs.options.checking import CheckJob
from tfhub_transfer.models import encoding
from tfhub_transfer.tasks import (
    Classification,
    ExtractiveSummarization,
    Head,
    MultiLabel,
    MultiTask,
    OrdinalRegression,
    QuestionAnswering,
    Regression,
    Search,
    Similarity,
    Task,
    TokenClassification,
    Translation,
    layouts,
)
from tfhub_transfer.training import finetuning, stages, unfreezing

# Modules whose errors all have a row.
HELD = (
    *(
        "incoming/choices.py",
        "tasks/*.py",
        "tasks/whole/*.py",
        "tasks/*/task.py",
        "tasks/*/layout.py",
        "tasks/questions/spans.py",
        "data/label_columns.py",
        "models/building.py",
        "training/judging.py",
        "heads/*.py",
    ),
    *(
        "training/finetuning.py",
        "training/stages.py",
        "training/unfreezing.py",
        "evaluation/measuring.py",
        "data/text_forms.py",
        "jobs/inputs.py",
        "data/selecting.py",
        "checks/*.py",
        "jobs/data_checks.py",
    ),
    *("data/profiling.py", "models/multitask.py", "models/encoding.py"),
    *("models/batches.py", "models/filling.py", "models/shares.py"),
)
lists = Examples.from_lists


def _own(kind: Any, **more: Any) -> Any:
    """A task of one's own."""
    return type("Own", (kind,), {"name": "own", **more})


def _in_all(y_true: Any, y_pred: Any) -> Any:
    return keras.ops.mean(y_pred)


def _measured_on(k: Any, metrics: list[Any], **how: Any) -> Any:
    """A model of one's own metrics on three rows, two a batch."""
    model = k.build(Classification(["a", "b"]))
    model.compile("adam", "sparse_categorical_crossentropy", metrics=metrics, jit_compile=False)
    batches = model.preprocess(lists(["a", "b", "a"], ["a", "b", "a"]), 2, False, **how)
    return model.evaluate(batches, verbose=0)


def _asks(task: Any, run: Any, texts: Any) -> Any:
    """Answers in two runs."""
    return task.answer(run(*texts) + run(*texts))


def _batches_of(k: Any, encode: Any) -> Any:
    """Batches of a task of one's own."""
    model = k.build(_own(Regression, encode=encode)(0.0, 1.0))
    return model.preprocess(lists(["a", "b"], [1.0, 2.0]))


def _answered(k: Any, decode: Any) -> Any:
    """Answers of a task of one's own."""
    return k.build(_own(Regression, decode=decode)(0.0, 1.0)).predict_text(["a", "b"])


def _reported(k: Any, report_on: Any) -> Any:
    """A report on a task of one's own, of words."""
    task = _own(TokenClassification, report_on=report_on)(["O", "B-x"])
    return tt.evaluate(k.build(task), lists([["a", "b"]], [["O", "B-x"]]))


def _measured(metric: Any) -> Any:
    """What a task of one's own with this metric measures."""
    own = {"name": "own", "metrics": lambda self: [metric], "loss": lambda self: "mse"}
    task = type("Own", (Regression,), {**own, "measure": Task.measure})()
    return task.measure(np.ones(2, "float32"), np.ones((2, 1), "float32"))


@dataclasses.dataclass(frozen=True)
class Mistake:
    """A mistake, what is said of it, and everything that is advised.

    Attributes:
        says: A part of the message that is literally in the source.
        wrong: Makes the mistake, given the `Kit`.
        mended: What the message advises, one way after the other.
    """

    says: str
    wrong: Callable[[Any], Any]
    mended: tuple[Callable[[Any], Any], ...]


def mistake(says: str, wrong: Callable[[Any], Any], *mended: Callable[[Any], Any]) -> Mistake:
    return Mistake(says, wrong, mended)


class Kit:
    """Tiny models and files for the mistakes that need them."""

    def __init__(self, make_encoder: Callable[[str], Path], folder: Path) -> None:
        self.make_encoder, self.folder = make_encoder, folder
        self._models: dict[str, Any] = {}

    def encoder(self, kind: str = "bert_encoder") -> str:
        """The name of an encoder."""
        return str(self.make_encoder(kind))

    def build(self, task: Any, head: Any = None, kind: str = "bert_encoder", **more: Any) -> Any:
        """A model, not trained."""
        return tt.build_model(self.encoder(kind), task, head, **more)

    def model(self, name: str) -> Any:
        """The model of a task in `MODELS`, made once."""
        if name not in self._models:
            self._models[name] = self.build(MODELS[name]())
        return self._models[name]

    def file(self, name: str, rows: Any) -> str:
        """A file of JSON lines, or of one object."""
        path = self.folder / name
        lines = [rows] if isinstance(rows, dict) else rows
        path.write_text("".join(json.dumps(row) + "\n" for row in lines), encoding="utf-8")
        return str(path)

    def job(self, task: str, rows: Any = (), **more: Any) -> Any:
        """What `train` reads, of rows."""
        given = self.file(f"data-{task}.json{'' if isinstance(rows, dict) else 'l'}", rows)
        job = inputs.TrainJob(task, given, self.folder / "out", **more)
        return inputs.read_splits(job)


def _written() -> Any:
    """A task whose answers are texts."""
    return Translation(decoder_width=16).adapt(["gut", "schlecht"])


def _searching(**how: Any) -> None:
    """That task, told how to search."""
    _written().search = Search(**how)


MODELS: dict[str, Callable[[], Any]] = {
    "classes": lambda: Classification(["a", "b"]),
    "tags": lambda: TokenClassification(["O", "B-x"], "IOB2"),
    "several": lambda: {"one": Classification(["a", "b"]), "two": Regression(0.0, 1.0)},
}
TRIPLETS = lists(["a"], None, ["b"], ["c"])
ANSWERS = [[{"text": "a", "answer_start": 0}]]


class _Colour:
    name = "red"

    def __str__(self) -> str:
        return "red"


class Odd(tt.Stage):
    """A stage that does nothing, but for what it is told to."""

    def __init__(self, name: str = "odd", does: Callable[[Any, Any], Any] | None = None) -> None:
        self.name, self._does = name, does

    def run(self, training: Any) -> Any:
        return None if self._does is None else self._does(training, self)


def _training(k: Any, name: str) -> Any:
    train, model = lists(["a", "b"] * 4, ["a", "b"] * 4), k.model("classes")
    return finetuning.prepare(model, train, train, tt.Plan(verbose=0), [Odd(name)])


def _in_stage(k: Any, does: Callable[[Any, Any], Any], name: str = "classes") -> None:
    """What a stage does."""
    train: Any = lists(["a", "b"] * 4, ["a", "b"] * 4)
    if name == "several":
        train = {"one": train, "two": lists(["a", "b"] * 4, [0.0, 1.0] * 4)}
    plan = tt.Plan(verbose=0)
    finetuning.prepare(k.model(name), train, train, plan, [Odd("odd", does)]).advance()


class _TrainsError(Exception):
    """Nothing was refused."""


def _fit(model: Any, train: Any = None, validation: Any = None) -> None:
    """Trains, up to where it would begin."""

    def begin(*args: Any) -> None:
        raise _TrainsError

    train = lists(["a", "b"] * 4, ["a", "b"] * 4) if train is None else train
    with (
        mock.patch.object(stages.Training, "advance", begin),
        contextlib.suppress(_TrainsError),
    ):
        tt.fine_tune(model, train, train if validation is None else validation)
        raise AssertionError("it doesn't train")


OF_LABELS = [
    mistake(
        "needs finite numbers as labels; mend or drop the row",
        lambda k: Regression().adapt([1.0, 2.0, "a"]),
        lambda k: Regression().adapt([1.0, 2.0, 3.0]),
        lambda k: Regression().adapt([1.0, 2.0]),
        lambda k: Classification().adapt([1.0, 2.0, "a"]),
    ),
    mistake(
        "divide all labels by a power of ten",
        lambda k: Regression(0.0, 1.0).encode([1e39, 1.0]),
        lambda k: Regression(0.0, 1.0).encode([1e36, 1e-3]),
    ),
    mistake(
        "class weights are for tasks where each text has one class",
        lambda k: MultiLabel(["a", "b"]).class_weights(["a"]),
        lambda k: Classification(["a", "b"]).class_weights(["a"]),
    ),
    mistake(
        "class weights go by the place of each class",
        lambda k: Classification(["a", "b"]).check_class_weights({"a": 1.0, "b": 2.0}),
        lambda k: _weighted(Classification(["a", "b"])),
    ),
    mistake(
        "class weights must be finite numbers, at least 0",
        lambda k: Classification(["a", "b"]).check_class_weights({0: 1.0, 1: -1.0}),
        lambda k: Classification(["a", "b"]).check_class_weights({0: 1.0, 1: 0.0}),
        lambda k: _weighted(Classification(["a", "b"])),
    ),
    mistake(
        "class weights need one class for each row",
        lambda k: Classification(["a", "b"]).class_weights([]),
        lambda k: Classification(["a", "b"]).class_weights(["b", "a"]),
    ),
    mistake(
        "at least two classes are needed",
        lambda k: Classification(["a"]),
        lambda k: Classification(["a", "b"]),
    ),
    mistake(
        "at least two classes are needed",
        lambda k: k.job("classification", [{"text": f"t{i}", "label": "a"} for i in range(20)]),
        lambda k: k.job(
            "classification",
            [{"text": f"t{i}", "label": "a", "kind": "xy"[i % 2]} for i in range(20)],
            label="kind",
        ),
    ),
    mistake(
        "for a number to predict use the regression",
        lambda k: Classification().adapt(list(range(1001))),
        lambda k: Regression().adapt(list(range(1001))),
    ),
    mistake(
        "or remove the rows that have it",
        lambda k: Classification(["a", "b"]).encode(["a", "c"]),
        lambda k: Classification(["a", "b", "c"]).encode(["a", "c"]),
        lambda k: Classification(["a", "b"]).encode(["a"]),
    ),
    mistake(
        "or remove the rows that have it",
        lambda k: Classification().adapt(["a", "b"]).encode(["a", "c"]),
        lambda k: Classification().adapt(["a", "b", "c"]).encode(["a", "c"]),
        lambda k: Classification().adapt(["a", "b"]).encode(["a"]),
    ),
    mistake(
        "thresholds are one for each class",
        lambda k: MultiLabel.from_config({"class_names": ["a", "b"], "thresholds": [0.5]}),
        lambda k: MultiLabel.from_config({"class_names": ["a", "b"], "thresholds": [0.5, 0.4]}),
    ),
    mistake(
        "must be what stands between names",
        lambda k: MultiLabel(label_separator=""),
        lambda k: MultiLabel(label_separator=","),
    ),
    mistake(
        "lists of numbers were taken for places of classes in one part",
        lambda k: _in_turn(MultiLabel(["a", "b"]), [[0, 1], [1, 1]], [[0], [1]]),
        lambda k: _in_turn(MultiLabel(["a", "b"]), [["b"], ["a", "b"]], [["a"], ["b"]]),
    ),
    mistake(
        "expected labels, one for each text",
        lambda k: Classification().adapt("ab"),
        lambda k: Classification().adapt(["a", "b"]),
        lambda k: Classification().adapt(np.array(["a", "b"])),
        lambda k: Classification().adapt({"a": [0, 1], "b": [1, 0]}),
    ),
    mistake(
        "place give the place, as `labels.argmax(axis=1)` does",
        lambda k: Classification().adapt([[0, 1], [1, 0]]),
        lambda k: Classification().adapt(np.array([[0, 1], [1, 0]]).argmax(axis=1)),
        lambda k: MultiLabel(["a", "b"]).adapt([[0, 1], [1, 0]]),
    ),
    mistake(
        "where texts have several or none, use the",
        lambda k: Classification().adapt([["x", "y"], ["x"], []]),
        lambda k: MultiLabel().adapt([["x", "y"], ["x"], []]),
    ),
    mistake(
        "a label is a list or a dictionary that was written as text and can't be read",
        lambda k: Classification().adapt(["['x', 'y", "z"]),
        lambda k: Classification().adapt(["x", "z"]),
        lambda k: MultiLabel().adapt(['["x", "y"]', "z"]),
        lambda k: MultiLabel().adapt({"x": [1, 0], "y": [1, 0], "z": [0, 1]}),
    ),
    mistake(
        "most labels are in brackets",
        lambda k: Classification().adapt(["{joy=1, anger=0}", "{joy=0, anger=1}"]),
        lambda k: Classification().adapt(["joy", "anger"]),
        lambda k: Classification().adapt({"joy": [1, 0], "anger": [0, 1]}),
    ),
    mistake(
        "a label is missing; fill it in or drop the row",
        lambda k: Classification().adapt(["a", "b", None]),
        lambda k: Classification().adapt(["a", "b", "b"]),
        lambda k: Classification().adapt(["a", "b"]),
        lambda k: MultiLabel().adapt(["a", "b", []]),
    ),
    mistake(
        "a label must be a string or a number",
        lambda k: Classification().adapt(["blue", _Colour()]),
        lambda k: Classification().adapt(["blue", str(_Colour())]),
        lambda k: Classification().adapt(["blue", _Colour().name]),
    ),
    mistake(
        "class names must differ, and none may be blank",
        lambda k: Classification(["a", "a"]),
        lambda k: Classification(["a", "b"]),
    ),
    mistake(
        "two names of classes look alike",
        lambda k: Classification().adapt(["caf\u00e9", "cafe\u0301", "bar"]),
        lambda k: Classification().adapt(
            [unicodedata.normalize("NFC", each) for each in ("caf\u00e9", "cafe\u0301", "bar")]
        ),
    ),
    mistake(
        "true and false in several ways",
        lambda k: Classification().adapt([True, "1", "false"]),
        lambda k: Classification().adapt([True, True, False]),
    ),
    mistake(
        "a dictionary or several label columns must say 0 or 1",
        lambda k: MultiLabel().adapt([{"a": 0.7, "b": 0.3}, {"a": None, "b": 1}, {"a": 1, "b": 0}]),
        lambda k: MultiLabel().adapt([{"a": 1, "b": 0}, {"a": 1, "b": 0}]),
    ),
    mistake(
        "a list holds names of classes, their numbers from 0",
        lambda k: MultiLabel(["a", "b"]).adapt([[0.7, 0.3]]).encode([[0.7, 0.3]]),
        lambda k: MultiLabel(["a", "b"]).encode([[1, 0]]),
    ),
    mistake(
        "a list holds names of classes, their numbers from 0",
        lambda k: MultiLabel(["a", "b", "c"]).encode([[0, 2], [1, -1]]),
        lambda k: MultiLabel(["a", "b", "c"]).encode([[0, 2], [1]]),
    ),
    mistake(
        "a label is in brackets, but no list of quoted names",
        lambda k: MultiLabel().adapt(["[joy; anger]", "joy"]),
        lambda k: MultiLabel().adapt(['["joy", "anger"]', "joy"]),
        lambda k: MultiLabel(label_separator=";").adapt(["[joy; anger]", "joy"]),
    ),
    mistake(
        "one name with a comma or several names?",
        lambda k: MultiLabel().adapt(["joy,anger", "joy"]),
        lambda k: MultiLabel(label_separator=",").adapt(["joy,anger", "joy"]),
        lambda k: MultiLabel(label_separator="|").adapt(["joy,anger", "joy"]),
    ),
    mistake(
        "rows with a 0 or a 1 for each class need its name",
        lambda k: MultiLabel().adapt([[0, 1, 1], [1, 0, 0]]),
        lambda k: MultiLabel(class_names=["a", "b", "c"]).encode([[0, 1, 1], [1, 0, 0]]),
        lambda k: k.job(
            "multi-label",
            [{"text": f"t{i}", "a": i % 2, "b": 1 - i % 2, "c": 1} for i in range(20)],
            label="a,b,c",
        ),
    ),
    mistake(
        "lists of numbers with two classes can mean two things",
        lambda k: MultiLabel(["a", "b"]).encode([[0, 1], [0]]),
        lambda k: MultiLabel(["a", "b"]).encode([["a", "b"], ["a"]]),
    ),
    mistake(
        "lists of numbers with two classes can mean two things",
        lambda k: MultiLabel(["0", "1"]).encode([[0, 1], [1, 0]]),
        lambda k: MultiLabel(["no", "yes"]).encode([["no", "yes"], ["yes"]]),
    ),
    mistake(
        "numbers instead of names of classes",
        lambda k: Classification().adapt(["a", "b"]).encode([0, 1]),
        lambda k: Classification(class_names=["a", "b"]).encode([0, 1]),
        lambda k: Classification().adapt(["a", "b"]).encode(["a", "b"]),
    ),
    mistake(
        "give as many names as there are classes",
        lambda k: Classification(["a", "b"]).encode([0, 2]),
        lambda k: Classification(["a", "b", "c"]).encode([0, 2]),
    ),
    mistake(
        "expected the tags of a text's words as a list",
        lambda k: TokenClassification().adapt(["O B-x"]),
        lambda k: TokenClassification().adapt([["O", "B-x"]]),
        lambda k: TokenClassification().adapt(['["O", "B-place"]']),
    ),
    mistake(
        "at least two tags are needed",
        lambda k: TokenClassification().adapt([["O", "O"]]),
        lambda k: TokenClassification().adapt([["O", "B-x"]]),
    ),
    mistake(
        "every word must have a tag; mend the row",
        lambda k: TokenClassification(["O", "B"]).check(lists([["a", "b"]], [["O"]])),
        lambda k: TokenClassification(["O", "B"]).check(lists([["a", "b"]], [["O", "B"]])),
    ),
    mistake(
        "or remove the rows that have it",
        lambda k: TokenClassification(["O", "B-x"]).encode([["O", "B-y"]]),
        lambda k: TokenClassification(["O", "B-x", "B-y"]).encode([["O", "B-y"]]),
        lambda k: TokenClassification(["O", "B-x"]).encode([]),
    ),
    mistake(
        "must be one of",
        lambda k: TokenClassification(scheme="IOB3"),
        lambda k: TokenClassification(scheme="IOB2"),
        lambda k: TokenClassification(scheme=None),
    ),
    mistake(
        "`segmentation` has lists of strings",
        lambda k: TokenClassification(segmentation={"words": "a"}),
        lambda k: TokenClassification(segmentation={"words": ["a"], "shapes": [], "apart": []}),
    ),
    mistake(
        "expected a score for each text",
        lambda k: Regression().adapt([]),
        lambda k: Regression().adapt([1.0, 2.0]),
    ),
    mistake(
        "every training example has the same score",
        lambda k: Regression().adapt([1.0, 1.0]),
        lambda k: Regression().adapt([1.0, 2.0]),
    ),
    mistake(
        "give them in other units, such ",
        lambda k: Regression().adapt([1e-160, 2e-160]),
        lambda k: Regression().adapt([1.0, 2.0]),
    ),
    mistake(
        "scores must not lie closer together than",
        lambda k: Regression().adapt([1e15, 1e15 + 1]),
        lambda k: Regression().adapt([0.0, 1.0]),
    ),
    mistake(
        "the loss cosine needs a score for each pair",
        lambda k: Similarity().adapt([]),
        lambda k: Similarity().adapt([1.0, 2.0]),
        lambda k: Similarity(loss="in_batch_negatives").require_adapted(),
    ),
    mistake(
        "every training pair has the same score",
        lambda k: Similarity().adapt([1.0, 1.0]),
        lambda k: Similarity().adapt([1.0, 2.0]),
        lambda k: Similarity(loss="in_batch_negatives").require_adapted(),
    ),
    mistake(
        "float32 numbers can't tell these scores apart",
        lambda k: Similarity().adapt([1e9, 1e9 + 1]),
        lambda k: Similarity().adapt([0.0, 1.0]),
    ),
    mistake(
        "`low` must be below `high`",
        lambda k: Similarity(low=1.0, high=0.0),
        lambda k: Similarity(low=0.0, high=1.0),
    ),
    mistake(
        "needs a label for each pair; name the label column",
        lambda k: Similarity("contrastive").check(lists(["a"], None, ["b"])),
        lambda k: Similarity("contrastive").check(lists(["a"], [1], ["b"])),
        lambda k: Similarity("in_batch_negatives").check(lists(["a"], None, ["b"])),
    ),
    mistake(
        "takes every row as texts that belong together",
        lambda k: Similarity("in_batch_negatives").check_training(lists(["a"], [1], ["b"])),
        lambda k: Similarity("in_batch_negatives").check_training(lists(["a"], None, ["b"])),
        lambda k: Similarity("cosine", 0.0, 1.0).check_training(lists(["a"], [1], ["b"])),
        lambda k: Similarity("contrastive").check_training(lists(["a"], [1], ["b"])),
    ),
    mistake(
        "call it `text_c`, or name it with",
        lambda k: Similarity("triplet").check_training(lists(["a"], None, ["b"])),
        lambda k: Similarity("triplet").check_training(lists(["a"], None, ["b"], negative=["c"])),
        lambda k: Similarity("triplet").check_training(
            tt.data.read({"text_a": ["a"], "text_b": ["b"], "text_c": ["c"]}, require_label=False)
        ),
        lambda k: k.job(
            "similarity",
            [{"text_a": f"a{i}", "text_b": f"b{i}", "other": f"c{i}"} for i in range(20)],
            loss="triplet",
            text="text_a",
            text_pair="text_b",
            negative="other",
        ),
    ),
    mistake(
        "compares two texts, and reads no third column",
        lambda k: Similarity("contrastive").check_texts(3),
        lambda k: Similarity("contrastive").check_texts(2),
    ),
    mistake(
        "the loss contrastive needs labels of 1",
        lambda k: Similarity("contrastive").encode([0.5, 1]),
        lambda k: Similarity("contrastive").encode([0, 1]),
        lambda k: Similarity("cosine").adapt([0.5, 1]).encode([0.5, 1]),
    ),
    mistake(
        "expected a summary, or a list of summaries",
        lambda k: ExtractiveSummarization().adapt(["a", " "]),
        lambda k: ExtractiveSummarization().adapt(["a", "b"]),
        lambda k: ExtractiveSummarization().adapt(["a", ["b", "c"]]),
    ),
    mistake(
        "must be one of",
        lambda k: ExtractiveSummarization(targets="bleu"),
        lambda k: ExtractiveSummarization(targets="rouge"),
        lambda k: ExtractiveSummarization(targets="oracle"),
    ),
    mistake(
        "the {} is blank; expected a text",
        lambda k: QuestionAnswering().check(lists(["q", "q"], ANSWERS * 2, ["a", " "])),
        lambda k: QuestionAnswering().check(lists(["q", "q"], ANSWERS * 2, ["a", "a b"])),
        lambda k: QuestionAnswering().check(lists(["q"], ANSWERS, ["a"])),
    ),
    mistake(
        "expected labels. Received: a table without columns",
        lambda k: label_columns.labels({}),
        lambda k: label_columns.labels({"a": ["x"]}),
    ),
    mistake(
        "label columns must be of one length",
        lambda k: label_columns.labels({"a": [0, 1], "b": [0]}),
        lambda k: label_columns.labels({"a": [0, 1], "b": [0, 1]}),
    ),
    mistake(
        "must say 0 or 1, as each of several label columns",
        lambda k: label_columns.labels({"a": [0, 1], "b": [0.5, 1]}),
        lambda k: label_columns.labels({"a": [0, 1], "b": [0, 1]}),
        lambda k: label_columns.labels({"a": [1], "b": [1]}),
    ),
    mistake(
        "label columns must differ",
        lambda k: tt.data.read({"text": ["x"], "a": [1]}, label="a,a"),
        lambda k: tt.data.read({"text": ["x"], "a": [1], "b": [0]}, label="a,b"),
    ),
]


def _weighted(task: Any) -> None:
    train = lists(["x", "y"], ["a", "b"])
    task.check_class_weights(task.class_weights(train.labels))


def _in_turn(task: Any, *labels: Any) -> None:
    for each in labels:
        task.read_labels(each)


def _register(kind: Any) -> None:
    with mock.patch.dict(tt.tasks.TASKS):
        tt.tasks.register(kind)


OF_TASKS = [
    mistake(
        "expected a text to be written, or a list of texts that are all right",
        lambda k: Translation().adapt(["gut", ""]),
        lambda k: Translation().adapt(["gut", "schlecht"]),
        lambda k: Translation().adapt([["gut", "fein"], "schlecht"]),
    ),
    mistake(
        "a list is of texts that are all right, and these look like the words of one",
        lambda k: Translation().adapt([["Zwei", "Hunde", "spielen", "."]] * 2),
        lambda k: Translation().adapt(["Zwei Hunde spielen ."] * 2),
    ),
    mistake(
        "where answers are texts a decoder is the head",
        lambda k: k.build(_written(), Head(hidden_units=4)),
        lambda k: k.build(_written(), Head(dropout=0.2)),
        lambda k: k.build(Translation(decoder_layers=2, decoder_width=16).adapt(["gut", "fein"])),
    ),
    mistake(
        "`heads` part `width` evenly",
        lambda k: DecoderForm(width=8, heads=3),
        *(lambda k, n=heads: DecoderForm(width=8, heads=n) for heads in (1, 2, 4, 8)),
    ),
    mistake(
        "a block works on token vectors",
        lambda k: Head(block="cnn", pooling="pooled_output"),
        *(lambda k, p=pooling: Head(block="cnn", pooling=p) for pooling in ("mean", "first")),
        lambda k: Head(block="cnn", pooling="attention"),
    ),
    mistake(
        "must be one of",
        lambda k: Head(pooling="max"),
        lambda k: [
            Head(pooling=p) for p in ("auto", "pooled_output", "mean", "first", "attention")
        ],
    ),
    mistake(
        "must be True or False",
        lambda k: Head(towers="no"),
        lambda k: [Head(towers=True), Head(towers=False)],
    ),
    mistake(
        "compares two texts; leave the third",
        lambda k: layouts.find(Classification(["a", "b"], pair=True), Head(towers=True)).check(
            TRIPLETS
        ),
        lambda k: layouts.find(Classification(["a", "b"], pair=True), Head(towers=True)).check(
            lists(["a"], None, ["b"])
        ),
    ),
    mistake(
        "names of classes don't say which is higher",
        lambda k: OrdinalRegression().adapt(["bad", "good", "bad"]),
        lambda k: OrdinalRegression(["bad", "good"]).adapt(["bad", "good", "bad"]),
        lambda k: OrdinalRegression().adapt([1, 2, 1]),
    ),
    mistake(
        "classes of the ordinal-regression task go from the lowest to the highest",
        lambda k: OrdinalRegression([1, 3, 2]),
        lambda k: OrdinalRegression([1, 2, 3]),
    ),
    mistake(
        "a number is one class, however it is written",
        lambda k: OrdinalRegression().adapt(["1", "01", "2"]),
        lambda k: OrdinalRegression().adapt(["01", "01", "2"]),
        lambda k: OrdinalRegression().adapt(["1", "1", "2"]),
    ),
    mistake(
        "different numbers are amounts rather than classes",
        lambda k: OrdinalRegression().adapt([i / 10 for i in range(100)]),
        lambda k: Regression().adapt([i / 10 for i in range(100)]),
        lambda k: OrdinalRegression().adapt([i // 10 for i in range(100)]),
    ),
    mistake(
        "`search` must be a `tasks.Search`",
        lambda k: Translation(search={"beam": 2}),
        lambda k: Translation(search={"beams": 2}),
        lambda k: Translation(search=Search(beams=2)),
    ),
    mistake(
        "texts begin with pieces, whose ids are",
        lambda k: _searching(begin=(3,)),
        lambda k: _searching(begin=(4,)),
        lambda k: _searching(begin="gu"),
    ),
    mistake(
        "`register` takes a subclass of `tasks.Task`",
        lambda k: _register(object),
        lambda k: _register(type("Own", (Classification,), {"name": "own"})),
    ),
    mistake(
        "a task has all methods of `tasks.Task`",
        lambda k: _register(type("Own", (tt.tasks.Task,), {"name": "own"})),
        lambda k: _register(type("Own", (Classification,), {"name": "own"})),
    ),
    mistake(
        "a task of one's own has a `name`",
        lambda k: _register(type("Own", (Classification,), {})),
        lambda k: _register(type("Own", (Classification,), {"name": "own"})),
    ),
    mistake(
        "task must give `scores`, or `score`",
        lambda k: Classification(["a", "b"]).readable({"chances": np.ones((1, 2))}),
        lambda k: Classification(["a", "b"]).readable({"scores": np.ones((1, 2))}),
    ),
    mistake(
        "which of Keras' metrics that is depends on the loss; give the object",
        lambda k: _measured("accuracy"),
        lambda k: _measured(keras.metrics.BinaryAccuracy()),
    ),
    mistake(
        "say how far one answer is from another",
        lambda k: ExtractiveSummarization().divergence(1.0, 1.0, 1.0),
        lambda k: Classification(["a", "b"]).divergence([[0.5, 0.5]], [[0.5, 0.5]], 1.0),
    ),
    mistake(
        "expected at least one task",
        lambda k: MultiTask({}),
        lambda k: MultiTask({"one": Regression()}),
    ),
    mistake(
        "names of tasks become signatures",
        lambda k: MultiTask({"my task": Regression()}),
        lambda k: MultiTask({"my_task": Regression()}),
    ),
    mistake(
        "Keras puts `val_` before what it reports",
        lambda k: MultiTask({"a": Regression(), "val_a": Regression()}),
        lambda k: MultiTask({"a": Regression(), "b": Regression()}),
    ),
    mistake(
        "expected tasks, such as Classification()",
        lambda k: MultiTask({"one": "classification"}),
        lambda k: MultiTask({"one": Classification()}),
    ),
    mistake(
        "a task is alone, its only part, which has no name",
        lambda k: k.build(_own(Classification, several=True)(["a", "b"])),
        lambda k: k.build(_own(Classification, several=False)(["a", "b"])),
        lambda k: k.build(MultiTask({"a": Classification(["a", "b"])})),
    ),
    mistake(
        "tasks that learn together read one text or one packed pair",
        lambda k: MultiTask({"one": Similarity()}),
        lambda k: MultiTask({"one": Regression(pair=True)}),
    ),
    mistake(
        "a task that copies pieces of the text learns alone",
        lambda k: MultiTask({"one": Translation(copies=True)}),
        lambda k: MultiTask({"one": Translation()}),
    ),
    mistake(
        "a task of tags has a second signature",
        lambda k: MultiTask({"a": TokenClassification(), "a_words": Regression()}),
        lambda k: MultiTask({"a": TokenClassification(), "b": Regression()}),
    ),
    mistake(
        "`alpha` must be a number from 0 to 1",
        lambda k: MultiTask({"a": Regression()}, alpha=2),
        lambda k: MultiTask({"a": Regression()}, alpha=1),
    ),
    mistake(
        "or a number by name of",
        lambda k: MultiTask({"a": Regression()}, weights={"b": 1.0}),
        lambda k: MultiTask({"a": Regression()}, weights={"a": 1.0}),
        lambda k: MultiTask({"a": Regression()}, weights="uncertainty"),
    ),
    mistake(
        "weights must be finite numbers, at least 0",
        lambda k: MultiTask({"a": Regression()}, weights={"a": 0.0}),
        lambda k: MultiTask({"a": Regression()}, weights={"a": 0.5}),
    ),
    mistake(
        ", as in {",
        lambda k: k.model("several").predict_text(["a"]),
        lambda k: k.model("several").predict_text({"one": ["a"], "two": ["a"]}),
        lambda k: k.model("several").predict_text({"two": ["a"]}),
    ),
    mistake(
        ", as in {",
        lambda k: tt.evaluate(k.model("several"), {"one": lists(["a"], ["a"])}),
        lambda k: k.model("several").layout.check(
            {"one": lists(["a"], ["a"]), "two": lists(["a"], [1.0])}
        ),
    ),
    mistake(
        "the `layout` of a task is one of",
        lambda k: layouts.find(_own(Classification, layout="wholes")(["a", "b"])),
        lambda k: layouts.find(_own(Classification, layout="whole")(["a", "b"])),
    ),
    mistake(
        "can't answer in several runs itself",
        lambda k: layouts.find(_own(TokenClassification, answers=_asks)(["O", "B-x"])),
        lambda k: layouts.find(_own(Classification, answers=_asks)(["a", "b"])),
    ),
    mistake(
        "asks the model more than once: an export can only if",
        lambda k: layouts.find(_own(Classification, answers=_asks)(["a", "b"])).require_servable(),
        lambda k: layouts.find(
            _own(Classification, answers=_asks, served=_asks)(["a", "b"])
        ).require_servable(),
    ),
    mistake(
        "`encode` of a task makes one of each label",
        lambda k: _batches_of(k, lambda self, labels: np.ones(1, "float32")),
        lambda k: _batches_of(k, lambda self, labels: np.ones(len(labels), "float32")),
    ),
    mistake(
        "`decode` of a task gives one answer to each text",
        lambda k: _answered(k, lambda self, scores: [{"score": 1.0}]),
        lambda k: _answered(k, lambda self, scores: [{"score": 1.0}] * len(scores)),
    ),
    mistake(
        "only the task can say what answers are worth that have units",
        lambda k: _reported(k, Task.report_on),
        lambda k: _reported(k, TokenClassification.report_on),
    ),
    mistake(
        "distillation answers whole texts so far",
        lambda k: TokenClassification(["O", "B-x"]).require_imitable(),
        lambda k: Classification(["a", "b"]).require_imitable(),
    ),
    mistake(
        "distillation computes in float32, which can't hold these scores",
        lambda k: Regression(0.0, 1e-40).require_imitable(),
        lambda k: Regression(0.0, 1.0).require_imitable(),
    ),
    mistake(
        "teachers and student must have the same task",
        lambda k: Classification(["a", "b"]).require_like(Classification(["b", "a"])),
        lambda k: Classification(["a", "b"]).require_like(Classification(["a", "b"])),
    ),
    mistake(
        "each share must have a row",
        lambda k: k.model("classes").preprocess(lists(["a"], ["a"]), shard=(1, 2)),
        lambda k: k.model("classes").preprocess(lists(["a"], ["a"]), shard=(0, 1)),
    ),
    mistake(
        "`shard` must be two whole numbers",
        lambda k: k.model("classes").preprocess(lists(["a"], ["a"]), shard=1),
        lambda k: k.model("classes").preprocess(lists(["a"], ["a"]), shard=(0, 1)),
    ),
    mistake(
        "answers would hold some to rows that only fill up batches",
        lambda k: k.model("classes").predict(
            k.model("classes").preprocess(lists(["a"], ["a"]), 2, False, static_batches=True)
        ),
        lambda k: k.model("classes").predict_scores(lists(["a"])),
        lambda k: k.model("classes").predict(
            k.model("classes").preprocess(lists(["a"]), shuffle=False), verbose=0
        ),
    ),
    mistake(
        "has no number for each row, so it can't leave out those that only",
        lambda k: _measured_on(k, [_in_all], static_batches=True),
        lambda k: _measured_on(k, ["accuracy"], static_batches=True),
        lambda k: _measured_on(k, [_in_all]),
    ),
    mistake(
        "two towers answer for whole texts",
        lambda k: layouts.find(TokenClassification(), Head(towers=True)),
        lambda k: layouts.find(TokenClassification(), Head()),
    ),
    mistake(
        "two towers read pairs of texts",
        lambda k: layouts.find(Classification(["a", "b"]), Head(towers=True)),
        lambda k: layouts.find(Classification(["a", "b"], pair=True), Head(towers=True)),
        lambda k: layouts.find(Classification(["a", "b"]), Head()),
        lambda k: k.job(
            "classification",
            [{"text": f"a{i}", "other": "b", "label": "xy"[i % 2]} for i in range(20)],
            text="text",
            text_pair="other",
            towers=True,
        ),
    ),
    mistake(
        "the model has no preprocessor",
        lambda k: layouts.find(Regression()).preprocessor,
        lambda k: tt.load_model(_saved(k)).preprocessor,
    ),
    mistake(
        " text column(s) in ",
        lambda k: layouts.find(Classification()).check(lists(["a"], None, ["b"])),
        lambda k: layouts.find(Classification()).check(lists(text=["a"])),
        lambda k: layouts.find(Classification()).check(
            tt.data.read({"text_a": ["a"], "text_b": ["b"]}, text="text_a", require_label=False)
        ),
        lambda k: layouts.find(Classification(pair=True)).check(lists(["a"], None, ["b"])),
    ),
    mistake(
        " text column(s) in ",
        lambda k: layouts.find(Similarity()).check(lists(["a"])),
        lambda k: layouts.find(Similarity()).check(lists(["a"], text_pair=["b"])),
        lambda k: layouts.find(Similarity()).check(
            tt.data.read({"text_a": ["a"], "text_b": ["b"]}, require_label=False)
        ),
        lambda k: layouts.find(Similarity()).check(
            tt.data.read({"x": ["a"], "y": ["b"]}, text="x", text_pair="y", require_label=False)
        ),
    ),
    mistake(
        "task reads texts, not lists of words",
        lambda k: layouts.find(Classification()).check(lists([["a", "b"]])),
        lambda k: layouts.find(Classification()).check(lists([" ".join(["a", "b"])])),
    ),
    mistake(
        "all columns must be of one length",
        lambda k: layouts.asked([["a"], ["b", "c"]]),
        lambda k: layouts.asked([["a", "b"], ["b", "c"]]),
    ),
    mistake(
        "task reads questions with their contexts",
        lambda k: layouts.find(QuestionAnswering()).check(lists(["a"])),
        lambda k: layouts.find(QuestionAnswering()).check(
            tt.data.read({"question": ["q"], "context": ["c"]}, require_label=False)
        ),
        lambda k: layouts.find(QuestionAnswering()).check(
            tt.data.read({"x": ["q"], "y": ["c"]}, text="x", text_pair="y", require_label=False)
        ),
    ),
    mistake(
        "a question has one context",
        lambda k: layouts.find(QuestionAnswering()).check(TRIPLETS),
        lambda k: layouts.find(QuestionAnswering()).check(lists(["a"], None, ["b"])),
    ),
    mistake(
        "or places in it mean nothing",
        lambda k: layouts.find(QuestionAnswering()).check(lists(["q"], None, [["a", "b"]])),
        lambda k: layouts.find(QuestionAnswering()).check(lists(["q"], None, ["a b"])),
    ),
    mistake(
        "every document must have a sentence",
        lambda k: layouts.documents(lists(["One. Two.", " "])),
        lambda k: layouts.documents(lists(["One. Two."])),
    ),
    mistake(
        "every document has one sentence only",
        lambda k: layouts.documents(lists(["one two"], ["one"])),
        lambda k: layouts.documents(lists(["One. Two."], ["one"])),
        lambda k: layouts.documents(lists([["one", "two"]], ["one"])),
    ),
    mistake(
        "every word must have a tag; mend the row. Received: ",
        lambda k: k.model("tags").cut(lists([["a", "b"]], [["O"]])),
        lambda k: k.model("tags").cut(lists([["a", "b"]], [["O", "O"]])),
    ),
    mistake(
        "expected examples, as `data.read(file)` gives",
        lambda k: profiling.profile([{"text": "a"}]),
        lambda k: profiling.profile(tt.data.read([{"text": "a", "label": "x"}])),
    ),
    mistake(
        "rows are chosen by a slice",
        lambda k: selecting.row_numbers([True], 2),
        lambda k: selecting.row_numbers([True, False], 2),
        lambda k: selecting.row_numbers([0, 1], 2),
        lambda k: lists(["a", "b"])[0:1],
    ),
]


def _saved(kit: Kit) -> Path:
    path = kit.folder / "saved.keras"
    kit.model("classes").save(path)
    return path


def texts(given: Any, *signature: str) -> Any:
    return text_forms.columns(given, signature or ("text",))


PAIR = ("text_a", "text_b")
OF_TEXTS = [
    mistake(
        "of the texts lacks",
        lambda k: texts([{"text": "a"}, {"other": "b"}]),
        lambda k: texts([{"text": "a"}, {"text": "b"}]),
        lambda k: texts([{"text": "a"}]),
    ),
    mistake(
        ": expected a list of ",
        lambda k: texts(["a", "b"], *PAIR),
        lambda k: texts([("a", "b")], *PAIR),
        lambda k: texts({"text_a": ["a"], "text_b": ["b"]}, *PAIR),
    ),
    mistake(
        ", and there is none; rename the column",
        lambda k: texts({"review": ["a"]}),
        lambda k: texts({"text": ["a"]}),
        lambda k: texts(["a"]),
    ),
    mistake(
        ", and there is none; rename the column",
        lambda k: texts({"text_a": ["a"], "review": ["b"]}, *PAIR),
        lambda k: texts({"text_a": ["a"], "text_b": ["b"]}, *PAIR),
        lambda k: texts([("a", "b")], *PAIR),
    ),
    mistake(
        ", and there is none; rename the column",
        lambda k: texts([{"question": "a", "passage": "b"}], "question", "context"),
        lambda k: texts([{"question": "a", "context": "b"}], "question", "context"),
        lambda k: texts([("a", "b")], "question", "context"),
    ),
    mistake(
        "put a single one in brackets",
        lambda k: texts("a"),
        lambda k: texts(["a"]),
    ),
    mistake(
        "expected a list of texts; give one",
        lambda k: texts(5),
        lambda k: texts(["5"]),
    ),
    mistake(
        "a set has no order in which to answer",
        lambda k: texts({"a", "b"}),
        lambda k: texts(["a", "b"]),
    ),
    mistake(
        "two lists in a tuple could be two columns or two rows",
        lambda k: texts((["a", "b"], ["c", "d"]), *PAIR),
        lambda k: texts(list(zip(["a", "b"], ["c", "d"])), *PAIR),
    ),
    mistake(
        "the model reads single texts: ",
        lambda k: texts([["a", "b"]]),
        lambda k: texts([" ".join(["a", "b"])]),
    ),
]
NAMED = [{"text": f"t{i}", "label": "xy"[i % 2]} for i in range(20)]
SCORED = [{"text": f"t{i}", "score": i} for i in range(20)]
TAGGED = [
    {"tokens": [f"w{i}", "b"], "tags": ["O", "B-x"], "id": f"t{i}", "kind": "xy"[i % 2]}
    for i in range(20)
]
ASKED = [
    {"question": f"q{i}", "context": f"a {i}", "answers": ANSWERS[0], "kind": "xy"[i % 2]}
    for i in range(20)
]
ONE = {"task": "classification", "data": "data-classification.jsonl"}
SCORE = {"task": "regression", "data": "data-regression.jsonl", "label": "score"}


def _several(kit: Kit, settings: Any, **more: Any) -> Any:
    kit.file("data-classification.jsonl", NAMED)
    kit.file("data-regression.jsonl", SCORED)
    return kit.job("multi-task", settings, **more)


OF_JOBS = [
    mistake(
        "the files and columns of several tasks are said in the JSON file",
        lambda k: _several(k, {"tasks": {"one": ONE}}, text="text"),
        lambda k: _several(k, {"tasks": {"one": {**ONE, "text": "text"}}}),
    ),
    mistake(
        ", and `weights` and `alpha`",
        lambda k: _several(k, {"one": ONE}),
        lambda k: _several(k, {"tasks": {"one": ONE}, "weights": "uncertainty", "alpha": 0.5}),
    ),
    mistake(
        "each task has `task` and `data`, and may have",
        lambda k: _several(k, {"tasks": {"one": {"data": ONE["data"]}}}),
        lambda k: _several(k, {"tasks": {"one": ONE}}),
    ),
    mistake(
        "` is for {}, of which there is none here; leave it out",
        lambda k: _several(k, {"tasks": {"one": SCORE}}, label_smoothing=0.1),
        lambda k: _several(k, {"tasks": {"one": SCORE}}),
        lambda k: _several(k, {"tasks": {"one": ONE, "two": SCORE}}, label_smoothing=0.1),
    ),
    mistake(
        "it is for multi-task, and at least two of them; leave it out",
        lambda k: k.job("classification", NAMED, alone=True),
        lambda k: k.job("classification", NAMED),
        lambda k: _several(k, {"tasks": {"one": ONE, "two": ONE}}, alone=True),
    ),
    mistake(
        "alone: leave one of `--alone` and `--quick`, or `--unfreeze none`, out",
        lambda k: _several(k, {"tasks": {"a": ONE, "b": ONE}}, alone=True, unfreeze="none"),
        lambda k: _several(k, {"tasks": {"a": ONE, "b": ONE}}, unfreeze="none"),
        lambda k: _several(k, {"tasks": {"a": ONE, "b": ONE}}, alone=True),
    ),
    mistake(
        "task has no classes; leave `--class-names` out",
        lambda k: k.job("regression", SCORED, class_names="a,b"),
        lambda k: k.job("regression", SCORED),
    ),
    mistake(
        "this file names those of several tasks",
        lambda k: k.job("classification", {"tasks": {"one": ONE}}),
        lambda k: _several(k, {"tasks": {"one": ONE}}),
        lambda k: k.job("classification", NAMED),
    ),
    mistake(
        "or name other columns with ",
        lambda k: k.job("multi-label", TAGGED),
        lambda k: k.job("token-classification", TAGGED),
        lambda k: k.job("classification", TAGGED, text="id", label="kind"),
    ),
    mistake(
        "or name other columns with ",
        lambda k: k.job("classification", ASKED),
        lambda k: k.job("question-answering", ASKED),
        lambda k: k.job("classification", ASKED, text="question", label="kind"),
    ),
    mistake(
        "`--task` must be one of ",
        lambda k: k.job("ner", NAMED),
        lambda k: k.job("classification", NAMED),
    ),
    mistake(
        "`{}` is for the {}; leave it out. Received: {}, --task",
        lambda k: k.job("classification", NAMED, negative="label"),
        lambda k: k.job("classification", NAMED),
    ),
    mistake(
        "`{}` is for the {}; leave it out. Received: {}, --task",
        lambda k: k.job("multi-label", NAMED, class_weights=True),
        lambda k: k.job("classification", NAMED, class_weights=True),
        lambda k: k.job("multi-label", NAMED),
    ),
    mistake(
        "`{}` is for the {}; leave it out. Received: {}, --task",
        lambda k: k.job("classification", NAMED, label_separator=","),
        lambda k: k.job("multi-label", NAMED, label_separator=","),
        lambda k: k.job("classification", NAMED),
    ),
    mistake(
        "`{}` is for the {}; leave it out. Received: {}, --task",
        lambda k: k.job("classification", NAMED, loss="cosine"),
        lambda k: k.job("classification", NAMED),
    ),
]


def _model(loss: Any = None, **settings: Any) -> Callable[[Kit], Any]:
    """Trains a model that was compiled anew."""

    def train(kit: Kit) -> None:
        model = kit.build(Classification(["a", "b"]), kind="text_encoder")
        model.compile(keras.optimizers.SGD(0.1), loss, **settings)
        _fit(model)

    return train


def _compiled(kit: Any, kind: str, jit: bool) -> Any:
    with tt.runtime.Runtime(jit_compile=jit).scope():
        return kit.build(Classification(["a", "b"]), kind=kind)


CROSSENTROPY = "sparse_categorical_crossentropy"
OF_MODELS = [
    mistake(
        "expected a task, such as `tasks.Classification(class_names=[...])`",
        lambda k: tt.build_model("auto", Classification),
        lambda k: k.build(tt.tasks.Classification(class_names=["a", "b"])),
        lambda k: k.build({"name": Regression(0.0, 1.0)}),
    ),
    mistake(
        "give `--jit off`, or use a BERT-like encoder",
        lambda k: _compiled(k, "text_encoder", True),
        lambda k: _compiled(k, "text_encoder", False),
        lambda k: _compiled(k, "bert_encoder", True),
    ),
    mistake(
        "expected a head, such as `Head(pooling='mean')`",
        lambda k: tt.build_model("auto", Regression(0.0, 1.0), "mean"),
        lambda k: k.build(Regression(0.0, 1.0), Head(pooling="mean")),
    ),
    mistake(
        "tasks that learn together read a pair as one",
        lambda k: k.build({"one": Regression(0.0, 1.0, pair=True)}, Head(towers=True)),
        lambda k: k.build(Regression(0.0, 1.0, pair=True), Head(towers=True)),
    ),
    mistake(
        "heads go by the names of several tasks",
        lambda k: k.build({"one": Regression(0.0, 1.0)}, {"two": Head()}),
        lambda k: k.build({"one": Regression(0.0, 1.0)}, {"one": Head()}),
    ),
    mistake(
        "heads go by the names of several tasks",
        lambda k: k.build(Regression(0.0, 1.0), {"two": Head()}),
        lambda k: k.build(Regression(0.0, 1.0), Head()),
    ),
    mistake(
        "; expected a `.keras` file",
        lambda k: tt.load_model(_saved(k).parent),
        lambda k: tt.load_model(_saved(k)),
    ),
    mistake(
        "where texts are compared by their vectors these are the encoder's own",
        lambda k: k.build(Similarity(low=0, high=1), Head(block="cnn")),
        lambda k: k.build(Similarity(low=0, high=1), Head(block="none")),
    ),
    mistake(
        "a word has the vector of its first word piece",
        lambda k: k.build(QuestionAnswering(), Head(pooling="attention")),
        lambda k: k.build(QuestionAnswering(), Head(pooling="auto")),
    ),
    mistake(
        "the vector of a sentence is the mean of its tokens'",
        lambda k: k.build(ExtractiveSummarization(sentences=1), Head(pooling="attention")),
        lambda k: k.build(ExtractiveSummarization(sentences=1), Head(pooling="mean")),
        lambda k: k.build(ExtractiveSummarization(sentences=1), Head(pooling="first")),
    ),
    mistake(
        "need token vectors, but this encoder gives only whole-text",
        lambda k: k.build(TokenClassification(["O", "B-x"]), kind="text_encoder"),
        lambda k: k.build(TokenClassification(["O", "B-x"])),
    ),
    mistake(
        "reads token vectors, but this encoder gives only whole-text ",
        lambda k: k.build(Regression(0.0, 1.0), Head(pooling="mean"), kind="text_encoder"),
        lambda k: k.build(Regression(0.0, 1.0), Head(pooling="mean")),
        lambda k: k.build(Regression(0.0, 1.0), Head(), kind="text_encoder"),
    ),
    mistake(
        "expected rows to make batches of, at least one",
        lambda k: k.model("classes").preprocess(lists(["a"], ["a"])[:0]),
        lambda k: k.model("classes").preprocess(lists(["a"], ["a"])[:1]),
    ),
    mistake(
        "is trained from memory: read the file with `data.read`",
        lambda k: _fit(
            k.model("tags"),
            tt.data.stream([{"tokens": ["a", "b"], "tags": ["O", "B-x"]}]),
            lists([["a", "b"]], [["O", "B-x"]]),
        ),
        lambda k: _fit(
            k.model("tags"), tt.data.read([{"tokens": ["a", "b"], "tags": ["O", "B-x"]}] * 4)
        ),
    ),
    mistake(
        "expected examples to train on and to judge by",
        lambda k: _fit(k.model("classes"), validation=lists(["a"], ["a"])[:0]),
        lambda k: _fit(k.model("classes"), validation=lists(["a"], ["a"])),
    ),
    mistake(
        "`unfreeze` must be none, auto, all or a number up to",
        lambda k: unfreezing.groups_to_thaw(k.model("classes").encoder, 99),
        *(
            lambda k, n=n: unfreezing.groups_to_thaw(k.model("classes").encoder, n)
            for n in ("none", "auto", "all", 1)
        ),
    ),
    mistake(
        "must be a function that gives stages, those that it is given and others",
        lambda k: tt.Plan(stages=lambda usual: [*usual, Odd]).arranged([Odd()]),
        lambda k: tt.Plan(stages=lambda usual: [*usual, Odd("more")]).arranged([Odd()]),
    ),
    mistake(
        "each stage needs a `name` of its own",
        lambda k: tt.Plan(stages=lambda usual: [*usual, *usual]).arranged([Odd()]),
        lambda k: tt.Plan(stages=lambda usual: [*usual, Odd("more")]).arranged([Odd()]),
    ),
    mistake(
        "`plan` must be the finer settings of a training",
        lambda k: stages.planned(3),
        lambda k: [stages.planned(each) for each in (None, tt.Plan())],
    ),
    mistake(
        "`ends` are shares by names of stages",
        lambda k: tt.Plan(ends=0.5),
        lambda k: tt.Plan(ends={"head": 0.5}),
    ),
    mistake(
        "`ends` are those of a training of the same stages",
        lambda k: tt.Plan(ends={"haed": 0.5}).arranged([Odd("head")]),
        lambda k: tt.Plan(ends={"head": 0.5}).arranged([Odd("head")]),
    ),
    mistake(
        "`verbose` must be 0, 1, 2 or 'auto'",
        lambda k: tt.Plan(verbose="no"),
        lambda k: [tt.Plan(verbose=each) for each in (0, 1, 2, "auto")],
    ),
    mistake(
        "`run` of a stage returns what the model is worth",
        lambda k: _in_stage(k, lambda training, stage: "good"),
        lambda k: _in_stage(k, lambda training, stage: None),
        lambda k: _in_stage(k, lambda training, stage: 0.5),
    ),
    mistake(
        "`fit` of a training takes batches of which there is an end",
        lambda k: _in_stage(k, lambda training, stage: training.fit(stage, training.train, 1)),
        lambda k: _in_stage(
            k,
            lambda training, stage: training.fit(
                stage, training.model.preprocess(training.train), 1
            ),
        ),
    ),
    mistake(
        "of several tasks each has a part of the training",
        lambda k: _in_stage(k, lambda training, stage: training.part("three"), "several"),
        lambda k: _in_stage(k, lambda training, stage: float(training.part("one").done), "several"),
    ),
    mistake(
        "a training goes on in the stages in which it began",
        lambda k: _training(k, "odd").restore(_training(k, "other").state()),
        lambda k: _training(k, "odd").restore(_training(k, "odd").state()),
    ),
    mistake(
        "don't take what the",
        _model("mse"),
        _model(CROSSENTROPY),
        lambda k: _fit(k.build(Classification(["a", "b"]), kind="text_encoder")),
    ),
    mistake(
        "another metric by such a name would be taken for that",
        _model(CROSSENTROPY, metrics=[keras.metrics.MeanMetricWrapper(_in_all, name="accuracy")]),
        _model(CROSSENTROPY, metrics=[keras.metrics.MeanMetricWrapper(_in_all, name="sure")]),
    ),
    mistake(
        "`alone` is for a model of several tasks",
        lambda k: tt.evaluate(k.model("classes"), lists(["a"], ["a"]), alone={"one": None}),
        lambda k: tt.evaluate(k.model("classes"), lists(["a"], ["a"]), baselines=False),
    ),
    mistake(
        "expected at least one example to evaluate on",
        lambda k: tt.evaluate(k.model("classes"), lists([], [])),
        lambda k: tt.evaluate(k.model("classes"), lists(["a"], ["a"]), baselines=False),
    ),
    mistake(
        "the output must be a `.npy` file",
        lambda k: encoding.write_vectors([(["a"], np.zeros((1, 2)))], k.folder / "a.csv"),
        lambda k: encoding.write_vectors([(["a"], np.zeros((1, 2)))], k.folder / "a.npy"),
    ),
    mistake(
        "one column of texts is encoded: name it with",
        lambda k: _encoded(k, {"text_a": "a", "text_b": "b"}),
        lambda k: _encoded(k, {"text_a": "a", "text_b": "b"}, text="text_a"),
    ),
]


def _encoded(kit: Kit, row: Any, **more: Any) -> list[Any]:
    file = kit.file("a.jsonl", [row])
    return list(encoding.encode_file(kit.encoder("text_encoder"), file, **more))


def _checked(kit: Kit, examples: Any, **more: Any) -> Any:
    return tt.check(examples, encoder=kit.encoder("text_encoder"), **more)


def _check(kit: Kit, **more: Any) -> None:
    """What the command `check` writes."""
    encoder = kit.encoder("text_encoder")
    given = {"output": kit.folder / "checked", "overwrite": True, "encoder": encoder, **more}
    data_checks.check_data(CheckJob(kit.file("checked.jsonl", NAMED), **given))


_TRIPLES = {"train": lists(["a", "b"], ["x", "y"]), "test": lists(["a"], ["x"], ["b"])}
_PAIRED = {"train": lists(["a", "b"], ["x", "y"]), "test": lists(["a"], ["x"])}
OF_CHECKS = [
    mistake(
        "expected examples, or a mapping of {} to such",
        lambda k: _checked(k, {"dev": lists(["a"], ["x"])}),
        lambda k: _checked(k, {"validation": lists(["a"], ["x"])}),
        lambda k: _checked(k, lists(["a"], ["x"])),
    ),
    mistake(
        "the splits must have rows, and as many texts a row; name their columns alike",
        lambda k: _checked(k, _TRIPLES),
        lambda k: _checked(k, _PAIRED),
    ),
    mistake(
        "`task` must be one task, such as `tasks.Classification()`, or be left out",
        lambda k: _checked(k, lists(["a"], ["x"]), task="classification"),
        lambda k: _checked(k, lists(["a"], ["x"]), task=Classification()),
        lambda k: _checked(k, lists(["a"], ["x"])),
    ),
    mistake(
        "a model's answers are compared with labels that are classes",
        lambda k: _checked(k, lists(["a", "b"], [0.5, 1.5]), model=k.model("tags")),
        lambda k: _checked(k, lists(["a", "b"], [0.5, 1.5])),
    ),
    mistake(
        "the model must answer data of this form, one class or sets of them",
        lambda k: _checked(k, lists(["a"], ["a"], ["b"]), model=k.model("classes")),
        lambda k: _checked(k, lists(["a"], ["a"]), model=k.model("classes")),
        lambda k: _checked(k, lists(["a"], ["a"], ["b"])),
    ),
    mistake(
        "` is of a task's labels; say which with `--task`, too",
        lambda k: _check(k, class_names="x,y"),
        lambda k: _check(k, class_names="x,y", task="classification"),
    ),
    mistake(
        "no row has a label in that column; name another with",
        lambda k: _check(k, label="gone"),
        lambda k: _check(k, label="label"),
        _check,
    ),
    mistake(
        "` is of other tasks; leave it out",
        lambda k: _check(k, label_separator="|", task="classification"),
        lambda k: _check(k, task="classification"),
    ),
]

MISTAKES = [*OF_LABELS, *OF_TASKS, *OF_TEXTS, *OF_JOBS, *OF_MODELS, *OF_CHECKS]

# Errors without a row: of files and folders that are damaged, and what other tests provoke.
ELSEWHERE = (
    "this is a `.keras` file that was unpacked",
    "this encoder gives token vectors only",
    "the record of the training is damaged",
    "doesn't know its labels",
    "; expected a folder that `tfhub-transfer train` wrote",
    "; the model is in {}: give that",
    "a column's name is expected",
    "the optimizer's learning rate follows a schedule of its own",
    "expected at least one text",
    "the file can't be written",
    "an encoder is made without asking of what is safe alone",
    ": expected examples to evaluate on",
    "with other columns",
)
