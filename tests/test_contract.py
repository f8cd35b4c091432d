"""What every task does with every kind of encoder that it accepts; the others it refuses."""

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

import tfhub_transfer as tt
from tfhub_transfer import fetching, tagging, tasks
from tfhub_transfer.tasks import Head

TEXTS = ["good film", "bad movie", "the worst story", "good acting"] * 4
OTHERS = ["a film", "the movie", "bad", "good good acting"] * 4


HEAD = Head(dropout=0.0)


@dataclasses.dataclass(frozen=True)
class Case:
    """A task with data to train on, texts to answer, and columns that it can't read."""

    make: Callable[[], Any]
    examples: Any
    asked: Any
    head: Head = HEAD
    tokens: bool = False


def lists(labels: Any, pair: bool = False) -> tt.data.Examples:
    return tt.data.Examples.from_lists(TEXTS, labels, OTHERS if pair else None)


def tagged() -> tt.data.Examples:
    words = [text.split() for text in TEXTS]
    tags = [["B-a" if w == "good" else "O" for w in row] for row in words]
    return tt.data.Examples.from_lists([tagging.join_words(row) for row in words], tags)


def asked() -> tt.data.Examples:
    labels = [[{"text": t.split()[-1], "answer_start": len(t) - len(t.split()[-1])}] for t in TEXTS]
    return tt.data.Examples.from_lists(OTHERS, labels, TEXTS)


def summarized() -> tt.data.Examples:
    documents = [f"{a.capitalize()}. {b.capitalize()}." for a, b in zip(TEXTS, OTHERS)]
    return tt.data.Examples.from_lists(documents, TEXTS)


CLASSES, NUMBERS = ["a", "b", "c", "b"] * 4, [0.5, 1.0, 2.0, 4.0] * 4
PAIRS = list(zip(TEXTS[:3], OTHERS[:3]))
SEVERAL = {
    "kind": lists(CLASSES),
    "pair": lists(NUMBERS, pair=True),
}


def several() -> tasks.MultiTask:
    return tasks.MultiTask({"kind": tasks.Classification(), "pair": tasks.Regression(pair=True)})


CASES = {
    "classification": Case(tasks.Classification, lists(CLASSES), TEXTS[:3]),
    "classification of pairs": Case(
        lambda: tasks.Classification(pair=True), lists(CLASSES, pair=True), PAIRS
    ),
    "classification in towers": Case(
        lambda: tasks.Classification(pair=True),
        lists(CLASSES, pair=True),
        PAIRS,
        Head(dropout=0.0, towers=True),
    ),
    "multi-label": Case(tasks.MultiLabel, lists(["a|b", "c", "", "b"] * 4), TEXTS[:3]),
    "regression": Case(tasks.Regression, lists(NUMBERS), TEXTS[:3]),
    "token-classification": Case(tasks.TokenClassification, tagged(), TEXTS[:3], tokens=True),
    "question-answering": Case(tasks.QuestionAnswering, asked(), PAIRS, tokens=True),
    "extractive-summarization": Case(
        tasks.ExtractiveSummarization,
        summarized(),
        ["Good film. Bad movie. The story."],
        tokens=True,
    ),
    "similarity": Case(tasks.Similarity, lists(NUMBERS, pair=True), PAIRS),
    "multi-task": Case(several, SEVERAL, {"kind": TEXTS[:3], "pair": PAIRS}),
}
ENCODERS = ("text_encoder", "bert_encoder", "albert_encoder")


def labels_of(examples: Any) -> Any:
    if isinstance(examples, dict):
        return {name: each.labels for name, each in examples.items()}
    return examples.labels


def build(case: Case, encoder: Path) -> Any:
    keras.utils.set_random_seed(0)
    task = case.make().adapt(labels_of(case.examples))
    return tt.build_model(str(encoder), task, case.head, optimizer=keras.optimizers.SGD(0.1))


class Snapshots(keras.callbacks.Callback):
    """The weights of encoder and head at the start of training and after each epoch."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder: list[dict[str, np.ndarray]] = []
        self.head: list[list[np.ndarray]] = []

    def take(self) -> None:
        named = self.model.encoder.named_weights()
        self.encoder.append({name: weight.value.numpy() for name, weight in named.items()})
        known = {id(weight) for weight in named.values()}
        self.head.append([w.numpy() for w in self.model.weights if id(w) not in known])

    def on_train_begin(self, logs: Any = None) -> None:
        self.take()

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        self.take()

    def moved(self, epoch: int) -> set[str]:
        """Names of the encoder's weights that an epoch changed in any bit."""
        old, new = self.encoder[epoch], self.encoder[epoch + 1]
        return {name for name in old if not np.array_equal(old[name], new[name])}


@pytest.mark.parametrize("encoder", ENCODERS)
@pytest.mark.parametrize("name", CASES)
def test_contract(name: str, encoder: str, make_encoder: Any, tmp_path: Path) -> None:
    case = CASES[name]
    if case.tokens and encoder == "text_encoder":
        with pytest.raises(tt.InputError, match="token vectors.*text_encoder"):
            build(case, make_encoder(encoder))
        return
    model = build(case, make_encoder(encoder))
    # Two steps frozen, two with the top thawed; where there is no head, all four thawed.
    has_head = model.task.has_head
    seen = Snapshots()
    thaw = tt.ProgressiveUnfreezing(start_epoch=int(has_head), num_groups=1)
    batches = model.preprocess(case.examples, 4)
    model.fit(batches.repeat(), epochs=2, steps_per_epoch=2, callbacks=[seen, thaw], verbose=0)
    top = {weight.path for weight in model.encoder.layer_groups[-1][1]}
    named = {n for n, w in model.encoder.named_weights().items() if w.path in top}
    assert seen.moved(1) and seen.moved(1) <= named
    if has_head:
        assert not seen.moved(0)
        assert any(not np.array_equal(a, b) for a, b in zip(seen.head[0], seen.head[1]))
    # Saved and loaded it answers the same, to the last bit.
    answers = model.predict_text(case.asked)
    model.save(tmp_path / "model.keras")
    assert tt.load_model(tmp_path / "model.keras").predict_text(case.asked) == answers
    # Exported too, but for rounding.
    served = tt.load_saved_model(tt.export_saved_model(model, tmp_path / "serving", "float32"))
    assert_exported_alike(served, model, case.asked)
    # What it can't read costs nothing.
    with pytest.raises(tt.InputError, match="Received: "):
        model.preprocess(unreadable(case.examples))


def assert_exported_alike(served: Any, model: Any, texts: Any) -> None:
    """The graph behind the signatures gives what `predict_text` reads its answers from."""
    if isinstance(texts, dict):
        for name, single in model.models.items():
            found = served.predict(texts[name], signature=name)
            assert_same_arrays(found, single, texts[name])
        return
    assert_same_arrays(served.predict(texts), model, texts)


def assert_same_arrays(found: dict[str, np.ndarray], model: Any, texts: Any) -> None:
    layout = model.layout
    columns = list(zip(*texts)) if isinstance(texts[0], tuple) else [texts]
    rows, state = layout.prepare(*(np.array(list(column), object) for column in columns))
    expected = layout.answer(state, model.answer(layout.batch(*rows)))
    assert set(found) == set(expected)
    for key, value in expected.items():
        dense = value.to_tensor().numpy() if hasattr(value, "to_tensor") else np.asarray(value)
        if dense.dtype.kind == "f":
            np.testing.assert_allclose(found[key], dense, atol=1e-4)
        else:
            np.testing.assert_array_equal(found[key], dense)


def unreadable(examples: Any) -> Any:
    """Pairs for those who read single texts, and the other way round."""
    if isinstance(examples, dict):
        return {"kind": examples["kind"]}
    pair = None if examples.is_pair else OTHERS
    return tt.data.Examples.from_lists(examples.texts[0], examples.labels, pair)


@pytest.mark.parametrize("name", [name for name, case in CASES.items() if case.tokens])
def test_known_encoders_without_tokens_are_refused_before_any_download(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fetch(*args: Any, **kwargs: Any) -> None:
        raise AssertionError("something was downloaded")

    for function in [n for n in vars(fetching) if callable(getattr(fetching, n))]:
        if getattr(getattr(fetching, function), "__module__", "") == fetching.__name__:
            monkeypatch.setattr(fetching, function, fetch)
    with pytest.raises(tt.InputError, match="nnlm-en-dim50"):
        build(CASES[name], Path("nnlm-en-dim50"))
