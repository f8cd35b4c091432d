"""Every task through every door: trained, thawed, measured, saved, exported, asked, replicated.

The rows are those of `samples.ROWS`: a new task gets its row by being registered.
"""

import collections
import functools
import math
import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import hostile
import keras
import numpy as np
import pytest
import sacrebleu
import samples
import tensorflow as tf

import tfhub_transfer as tt
from tfhub_transfer.callbacks.best_weights import KeepBest
from tfhub_transfer.encoders import conversion, fetching
from tfhub_transfer.serving.exporting import models_of
from tfhub_transfer.serving.served import SIGNATURE
from tfhub_transfer.tasks import MultiTask, layouts
from tfhub_transfer.texts import joining

ROWS = samples.ROWS
# One of each kind is enough in passing; `--all` takes every row.
QUICK_ROWS = ("classification", "token-classification")
TOKENS = [name for name, sample in ROWS.items() if sample.task().needs_tokens]
SEED = 3


def build(row: str, encoder: Path, optimizer: Any = None) -> Any:
    keras.utils.set_random_seed(SEED)
    sample = ROWS[row]
    optimizer = optimizer or keras.optimizers.SGD(0.1)
    return tt.build_model(str(encoder), sample.task(), sample.head, optimizer=optimizer)


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


def train(model: Any, examples: Any) -> Snapshots:
    """Two steps frozen, two with the top thawed; where there is no head, all four thawed."""
    seen = Snapshots()
    thaw = tt.ProgressiveUnfreezing(start_epoch=int(model.task.has_head), num_groups=1)
    batches = model.preprocess(examples, 4)
    model.fit(batches.repeat(), epochs=2, steps_per_epoch=2, callbacks=[seen, thaw], verbose=0)
    return seen


class Trained:
    """A model of one row, trained, with what was seen on the way; its export, when asked for."""

    def __init__(self, row: str, encoder: Path, folder: Path) -> None:
        self.sample, self._folder = ROWS[row], folder
        self.model = build(row, encoder)
        self.seen = train(self.model, self.sample.examples)

    @functools.cached_property
    def served(self) -> Any:
        """The model exported and loaded back."""
        return tt.load_saved_model(tt.export_saved_model(self.model, self._folder, "float32"))


_made: dict[str, Trained] = {}


@pytest.fixture(
    params=[r if r in QUICK_ROWS else pytest.param(r, marks=pytest.mark.slow) for r in ROWS]
)
def row(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture
def trained(row: str, bert_encoder: Path, tmp_path_factory: pytest.TempPathFactory) -> Trained:
    """One model for all doors of a row. Doors leave it as they found it."""
    if row not in _made:
        _made[row] = Trained(row, bert_encoder, tmp_path_factory.mktemp("doors"))
    return _made[row]


@pytest.fixture(scope="module", autouse=True)
def _forget() -> Iterator[None]:
    yield
    _made.clear()


# Trained ------------------------------------------------------------------------------------------


def check_training(model: Any, seen: Snapshots) -> None:
    """Frozen weights stay identical to the bit, thawed ones and those of the head move."""
    top = {weight.path for weight in model.encoder.layer_groups[-1][1]}
    named = {n for n, w in model.encoder.named_weights().items() if w.path in top}
    assert seen.moved(1) and seen.moved(1) <= named
    if model.task.has_head:
        assert not seen.moved(0)
        assert any(not np.array_equal(a, b) for a, b in zip(seen.head[0], seen.head[1]))


def test_trains_frozen_then_thawed(trained: Trained) -> None:
    check_training(trained.model, trained.seen)


def test_reports(trained: Trained, tmp_path: Path) -> None:
    report = tt.evaluate(trained.model, trained.sample.examples, trained.sample.examples)
    assert report.metrics
    assert all(value is None or math.isfinite(value) for value in report.metrics.values())
    assert (report.save(tmp_path) / "report.html").exists()
    for single, examples, name in singles(trained.model, trained.sample.examples):
        key = f"{name}_" if name else ""
        for metric, expected in by_hand(single, examples).items():
            assert report.metrics[key + metric] == pytest.approx(expected, abs=1e-5), metric


def singles(model: Any, examples: Any) -> list[tuple[Any, Any, str]]:
    """The model of each task, with its examples and its name."""
    if not isinstance(examples, dict):
        return [(model, examples, "")]
    return [(model.models[name], each, name) for name, each in examples.items()]


def by_hand(model: Any, examples: Any) -> dict[str, float]:
    """Numbers of a report, computed from readable answers."""
    texts = list(zip(*examples.texts)) if model.task.pair else examples.texts[0]
    if model.layout.by_unit and model.task.layout == "words":
        texts = [text.replace(joining.WORD_END, " ") for text in texts]
    answers, labels = model.predict_text(texts), examples.labels
    first = answers[0]
    if "label" in first:
        return {"accuracy": np.mean([a["label"] == y for a, y in zip(answers, labels)])}
    if "labels" in first:
        wanted = [set(filter(None, y.split("|"))) for y in labels]
        return {"accuracy": np.mean([set(a["labels"]) == y for a, y in zip(answers, wanted)])}
    if "words" in first:
        found = [[word["tag"] for word in a["words"]] for a in answers]
        return {"accuracy": np.mean([x == y for a, b in zip(found, labels) for x, y in zip(a, b)])}
    if "answer" in first:
        # As SQuAD's scripts have it, articles don't count.
        found = [re.sub(r"\b(a|the) ", "", a["answer"].lower()) for a in answers]
        return {"exact_match": np.mean([a == y[0]["text"] for a, y in zip(found, labels)])}
    if "summary" in first:
        # One word each: ROUGE-1 by counting.
        return {"rouge1": np.mean([unigram_f1(a["summary"], y) for a, y in zip(answers, labels)])}
    if "text" in first:
        written = [a["text"] for a in answers]
        return {"chrf": sacrebleu.corpus_chrf(written, [labels]).score}
    scores = np.array([a["score"] for a in answers])
    return {"rmse": np.sqrt(np.mean((scores - np.array(labels)) ** 2))}


def unigram_f1(summary: str, reference: str) -> float:
    words = [collections.Counter(re.findall(r"[a-z]+", x.lower())) for x in (summary, reference)]
    same = sum((words[0] & words[1]).values())
    return 2 * same / sum(sum(counts.values()) for counts in words)


# Asked --------------------------------------------------------------------------------------------


def numbers(value: Any) -> Any:
    """Readable answers with floats that compare but for rounding."""
    if isinstance(value, dict):
        return {key: numbers(each) for key, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [numbers(each) for each in value]
    return pytest.approx(value, abs=1e-5) if isinstance(value, float) else value


def test_answers_alone_as_among_others(trained: Trained) -> None:
    together = trained.model.predict_text(trained.sample.asked)
    if not isinstance(together, dict):
        alone = [a for text in trained.sample.asked for a in trained.model.predict_text([text])]
        assert alone == numbers(together)
        return
    for name, single in trained.model.models.items():
        assert single.predict_text(trained.sample.asked[name]) == numbers(together[name])


@pytest.mark.slow
def test_answers_from_many_threads(trained: Trained) -> None:
    asked, served = trained.sample.asked, trained.served
    expected = trained.model.predict_text(asked)
    names = asked if isinstance(asked, dict) else {SIGNATURE: asked}
    wanted = {name: served.predict(texts, signature=name) for name, texts in names.items()}

    def ask(number: int) -> None:
        with tt.runtime.precision("float32"):  # of this thread, as that of the others is theirs
            assert trained.model.predict_text(asked) == numbers(expected)
        for name, texts in names.items():
            assert_same(served.predict(texts, signature=name), wanted[name])

    with ThreadPoolExecutor(4) as threads:
        list(threads.map(ask, range(8)))


@pytest.mark.slow
def test_hostile_texts_are_answered_alike(trained: Trained, request: pytest.FixtureRequest) -> None:
    """Those that `predict_text` answers an export answers too, with the same words and scores."""
    whole = request.config.getoption("--all")
    # Sequences of tags are found word by word, so that a text of 20,000 words takes a minute.
    texts = hostile.texts(300) if whole else [text[:200] for text in hostile.texts(30)]
    pairs = list(zip(texts, reversed(texts)))
    for signature, single in models_of(trained.model).items():
        asked: list[Any] = pairs if single.task.pair else texts
        assert not hostile.differences(single, trained.served, asked, signature)


# Saved and exported -------------------------------------------------------------------------------


def test_saves_and_loads_to_the_bit(trained: Trained, tmp_path: Path) -> None:
    trained.model.save(tmp_path / "model.keras")
    again = tt.load_model(tmp_path / "model.keras")
    asked = trained.sample.asked
    assert again.predict_text(asked) == trained.model.predict_text(asked)


def expected_arrays(model: Any, texts: Any) -> dict[str, np.ndarray]:
    """What the graph behind a signature is to give: that from which `predict_text` reads."""
    layout = model.layout
    columns = list(zip(*texts)) if isinstance(texts[0], tuple) else [texts]
    rows, state = layout.prepare(*(np.array(list(column), object) for column in columns))
    found = layout.answer(state, model.answer(layout.batch(*rows)))
    return {
        key: value.to_tensor().numpy() if hasattr(value, "to_tensor") else np.asarray(value)
        for key, value in found.items()
    }


def assert_same(found: dict[str, np.ndarray], expected: dict[str, np.ndarray]) -> None:
    assert set(found) == set(expected)
    for key, value in expected.items():
        if value.dtype.kind == "f":
            np.testing.assert_allclose(found[key], value, atol=1e-5)
        else:
            np.testing.assert_array_equal(found[key], value)


def check_export(model: Any, served: Any, asked: Any) -> None:
    if not isinstance(asked, dict):
        assert_same(served.predict(asked), expected_arrays(model, asked))
        return
    for name, single in model.models.items():
        found = served.predict(asked[name], signature=name)
        assert_same(found, expected_arrays(single, asked[name]))


def test_exports(trained: Trained) -> None:
    check_export(trained.model, trained.served, trained.sample.asked)


def test_the_session_loader_answers_alike(trained: Trained) -> None:
    """As TF Serving loads it."""
    asked, v1 = trained.sample.asked, tf.compat.v1
    names = asked if isinstance(asked, dict) else {SIGNATURE: asked}
    found = {}
    # Before the graph: no door may have exported the model yet, and exporting is eager.
    folder = str(trained.served.folder)
    with tf.Graph().as_default(), v1.Session() as session:
        meta = v1.saved_model.loader.load(session, ["serve"], folder)
        for name, texts in names.items():
            signature = meta.signature_def[name]
            columns = list(zip(*texts)) if isinstance(texts[0], tuple) else [texts]
            layout = models_of(trained.model)[name].layout
            pairs = zip(layout.signature, columns, strict=True)
            feed = {signature.inputs[key].name: list(column) for key, column in pairs}
            fetched = {key: value.name for key, value in signature.outputs.items()}
            found[name] = session.run(fetched, feed)
    for name, texts in names.items():
        assert_same(found[name], trained.served.predict(texts, signature=name))


# Fine-tuned ---------------------------------------------------------------------------------------


def test_fine_tune_moves_the_head_and_what_has_thawed(
    row: str, bert_encoder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Whichever weights are best on validation, the last are those to look at.
    monkeypatch.setattr(KeepBest, "restore", lambda self: None)
    model, examples = build(row, bert_encoder), ROWS[row].examples
    below = {name: [v.numpy() for v in vs] for name, vs in model.encoder.layer_groups}
    known = {id(weight) for weight in model.encoder.named_weights().values()}
    head = [(w, w.numpy()) for w in model.trainable_weights if id(w) not in known]
    plan = tt.Plan(learning_rate=0.1, head_epochs=1, verbose=0)
    tt.fine_tune(model, examples, examples, epochs=1, unfreeze=1, batch_size=20, plan=plan)
    moved = [
        name
        for name, variables in model.encoder.layer_groups
        if any((a != v.numpy()).any() for a, v in zip(below[name], variables))
    ]
    assert moved == [model.encoder.layer_groups[-1][0]]
    assert bool(head) == model.task.has_head
    assert all((w.numpy() != old).any() for w, old in head if w.name == "kernel")


# Other encoders -----------------------------------------------------------------------------------


def check_whole(row: str, encoder: Path, folder: Path) -> None:
    """Through all doors at once."""
    sample, model = ROWS[row], build(row, encoder)
    check_training(model, train(model, sample.examples))
    answers = model.predict_text(sample.asked)
    model.save(folder / "model.keras")
    assert tt.load_model(folder / "model.keras").predict_text(sample.asked) == answers
    exported = tt.export_saved_model(model, folder / "serving", "float32")
    check_export(model, tt.load_saved_model(exported), sample.asked)


def test_on_text_embeddings(row: str, text_encoder: Path, tmp_path: Path) -> None:
    if row in TOKENS:
        with pytest.raises(tt.InputError, match="token vectors.*text_encoder"):
            build(row, text_encoder)
    else:
        check_whole(row, text_encoder, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("row", (*QUICK_ROWS, "similarity"))  # several tasks: `test_multitask`
def test_on_an_encoder_of_shared_layers(row: str, albert_encoder: Path, tmp_path: Path) -> None:
    check_whole(row, albert_encoder, tmp_path)


@pytest.fixture
def on_word_vectors(tmp_path: Path) -> Any:
    source = tmp_path / "vectors.txt"
    words = sorted({word for text in samples.TEXTS for word in text.split()})
    lines = [f"{word} {number} {number % 2} 1.0" for number, word in enumerate(words)]
    source.write_text("\n".join(lines) + "\n", encoding="utf-8")
    conversion.convert_word_vectors(source, tmp_path / "encoder")
    return build("classification", tmp_path / "encoder")


def test_a_model_on_word_vectors_answers(on_word_vectors: Any) -> None:
    answers = on_word_vectors.predict_text(samples.TEXTS[:3])
    assert all(sum(answer["scores"].values()) == pytest.approx(1) for answer in answers)


def test_a_model_on_word_vectors_saves_and_loads(on_word_vectors: Any, tmp_path: Path) -> None:
    model, answers = on_word_vectors, on_word_vectors.predict_text(samples.TEXTS[:3])
    model.save(tmp_path / "model.keras")
    assert tt.load_model(tmp_path / "model.keras").predict_text(samples.TEXTS[:3]) == answers


# Refused ------------------------------------------------------------------------------------------


def test_other_columns_are_refused(trained: Trained) -> None:
    cause = (
        "built for (pairs|single texts)|two columns, `question`|compares two|by name of each task"
    )
    with pytest.raises(tt.InputError, match=cause):
        trained.model.preprocess(unreadable(trained.sample.examples))


def unreadable(examples: Any) -> Any:
    """Pairs for those who read single texts, and the other way round."""
    if isinstance(examples, dict):
        return {"kind": examples["kind"]}
    pair = None if examples.is_pair else examples.texts[0][::-1]
    return tt.data.Examples.from_lists(examples.texts[0], examples.labels, pair)


@pytest.mark.parametrize("row", TOKENS)
def test_known_encoders_without_tokens_are_refused_before_any_download(
    row: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fetch(*args: Any, **kwargs: Any) -> None:
        raise AssertionError("something was downloaded")

    for function in [n for n in vars(fetching) if callable(getattr(fetching, n))]:
        if getattr(getattr(fetching, function), "__module__", "") == fetching.__name__:
            monkeypatch.setattr(fetching, function, fetch)
    with pytest.raises(tt.InputError, match="nnlm-en-dim50"):
        build(row, Path("nnlm-en-dim50"))


def test_rows_are_of_every_layout() -> None:
    found = {sample.task().layout for sample in ROWS.values()}
    assert found == {*layouts.LAYOUTS, MultiTask.layout}
    assert set(QUICK_ROWS) <= set(ROWS)
