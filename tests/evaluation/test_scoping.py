"""How near a text lies to those of the training: in memory, files, exports, reports, commands."""

import dataclasses
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import sklearn.neighbors
import tensorflow as tf

import tfhub_transfer as tt
from tfhub_transfer import cli
from tfhub_transfer.evaluation import scoping
from tfhub_transfer.models import last_layer, scope
from tfhub_transfer.serving import checking, elsewhere, side_files

NAMES = ["bad", "fine", "good"]
TEXTS = [
    f"{text} {word}"
    for text in ("what a lovely film", "a dull and sad story", "the actor was fine", "a weak plot")
    for word in "one two three four five six seven eight nine ten".split()
]
STRANGE = ["zebra quantum bicycle", "1234 5678", ""]
KINDS: dict[str, tuple[Callable[..., Any], list[Any]]] = {
    "classes": (lambda pair: tt.tasks.Classification(NAMES, pair), NAMES),
    "labels": (lambda pair: tt.tasks.MultiLabel(NAMES, pair), [["bad"], [], ["fine", "good"]]),
    "numbers": (lambda pair: tt.tasks.Regression(2.0, 1.0, pair=pair), [1.0, 2.0, 3.5]),
    "large numbers": (lambda pair: tt.tasks.Regression(2e36, 1e36, pair=pair), [1e36, 2e36, 3e36]),
    "grades": (lambda pair: tt.tasks.OrdinalRegression(NAMES, pair), NAMES),
}


def made(
    encoder: Path, kind: str = "classes", pair: bool = False, head: tt.Head | None = None
) -> tuple[Any, tt.data.Examples, tt.data.Examples]:
    """A model that was never trained, and two splits."""
    keras.utils.set_random_seed(1)
    task, labels = KINDS[kind]
    model = tt.build_model(str(encoder), task(pair), head or tt.Head(), sequence_length=16)
    given = [labels[row % len(labels)] for row in range(len(TEXTS))]
    every = tt.data.Examples.from_lists(TEXTS, given, TEXTS[::-1] if pair else None)
    return model, every[: len(TEXTS) : 2], every[1 : len(TEXTS) : 2]


def asked(pair: bool) -> list[Any]:
    """Texts of either split and others, as a model takes them."""
    texts = [*TEXTS[::4], *STRANGE]
    return list(zip(texts, texts[::-1])) if pair else texts


def served(folder: Path, texts: list[Any]) -> Mapping[str, np.ndarray]:
    """What an export answers, through TensorFlow's own loader."""
    signature = tf.saved_model.load(str(folder / "1")).signatures["serving_default"]
    names = sorted(signature.structured_input_signature[1])
    columns = list(zip(*texts)) if len(names) > 1 else [texts]
    given = {n: tf.constant(list(column)) for n, column in zip(names, columns, strict=True)}
    return {name: value.numpy() for name, value in signature(**given).items()}


def scores(rows: list[Any]) -> np.ndarray:
    return np.array([row[scope.SCORE] for row in rows])


@pytest.mark.parametrize(
    ("encoder", "kind", "pair", "head"),
    [
        ("bert_still", "classes", False, tt.Head()),
        ("bert_still", "classes", False, tt.Head(pooling="attention", hidden_units=4)),
        ("bert_still", "labels", False, tt.Head()),
        ("bert_still", "numbers", True, tt.Head(towers=True)),
        ("bert_still", "classes", True, tt.Head()),
        ("text_encoder", "grades", False, tt.Head()),
        ("text_encoder", "large numbers", True, tt.Head()),
    ],
)
def test_it_is_said_everywhere(
    encoder: str,
    kind: str,
    pair: bool,
    head: tt.Head,
    make_encoder: Callable[[str], Path],
    tmp_path: Path,
) -> None:
    """In memory, from a file, and by an export: as computed from the vectors by themselves."""
    model, train, validation = made(make_encoder(encoder), kind, pair, head)
    before = model.predict_text(asked(pair))
    told = tt.learn_scope(model, train, validation)
    assert told == {"rows": 20, "kept": 20, "numbers": model.features.shape[-1]}
    columns = list(zip(*asked(pair))) if pair else [asked(pair)]
    rows = tt.data.Examples.from_lists(list(columns[0]), None, list(columns[1]) if pair else None)
    vectors = model.forward.run("features", model.cut(rows).examples)[0]
    wanted = model.scope.score(vectors).numpy()
    assert len({*wanted.round(4).tolist()}) >= 5
    model.save(tmp_path / "model.keras")
    again = tt.load_model(tmp_path / "model.keras")
    for each in (model, again):
        found = each.predict_text(asked(pair))
        np.testing.assert_allclose(scores(found), wanted, atol=1e-5)
        for row, own in zip(found, before):
            assert [*row] == [*own, scope.SCORE]
    tt.export_saved_model(again, tmp_path / "serving", "float32")
    answers = served(tmp_path / "serving", asked(pair))
    assert answers[scope.SCORE].dtype == np.float32
    np.testing.assert_allclose(answers[scope.SCORE], wanted, atol=1e-5)


def test_all_that_is_said_of_an_answer_is_said_together(
    make_encoder: Callable[[str], Path], tmp_path: Path
) -> None:
    model, train, validation = made(make_encoder("bert_still"))
    tt.conformalize(model, validation, coverage=0.9, abstain=0.5)
    before = model.predict_text(asked(False))
    tt.learn_scope(model, train, validation)
    for row, own in zip(model.predict_text(asked(False)), before, strict=True):
        near = row.pop(scope.SCORE)
        assert 0.0 < near <= 1.0 and [*row] == ["label", "scores", "accepted", "label_set"]
        assert row.pop("scores") == pytest.approx(own.pop("scores"), abs=1e-6) and row == own
    wanted = {"accepted", "label", "label_id", "label_names", "label_set", "scores", scope.SCORE}
    tt.export_saved_model(model, tmp_path / "serving")
    assert {*served(tmp_path / "serving", asked(False))} == wanted


def test_distances_are_those_of_other_libraries_of_the_models_own_vectors(
    make_encoder: Callable[[str], Path],
) -> None:
    model, train, validation = made(make_encoder("bert_still"))
    tt.learn_scope(model, train, validation)
    vectors, left_out, asked = (
        model.compute_features(each)
        for each in (train, validation, tt.data.Examples.from_lists(STRANGE))
    )
    fitted = sklearn.neighbors.NearestNeighbors(n_neighbors=3, metric="cosine").fit(vectors)
    known, far = (fitted.kneighbors(each)[0].mean(axis=1) for each in (left_out, asked))
    farther = (known[None] > far[:, None]).mean(axis=1)
    assert np.abs(scores(model.predict_text(STRANGE)) - farther).max() <= 1 / 20
    found = scores(model.predict_text(list(validation.texts[0])))
    assert np.argsort(found).tolist() == np.argsort(-known).tolist()
    assert np.sort(found) == pytest.approx(np.arange(0.025, 1.0, 0.05), abs=1e-3)


@pytest.mark.slow
def test_a_check_of_an_export_finds_it_alike(
    make_encoder: Callable[[str], Path], tmp_path: Path
) -> None:
    model, train, validation = made(make_encoder("bert_still"))
    tt.learn_scope(model, train, validation)
    folder = tt.export_saved_model(model, tmp_path / "serving", "float32")
    found = list(checking.check(folder, model))
    assert found and all(each.passed for each in found), found


def test_one_of_several_tasks_keeps_what_it_says(text_encoder: Path, tmp_path: Path) -> None:
    task = tt.tasks.MultiTask(
        {"kind": tt.tasks.Classification(NAMES), "price": tt.tasks.Regression(2.0, 1.0)}
    )
    model = tt.build_model(str(text_encoder), task)
    _, train, validation = made(text_encoder)
    tt.learn_scope(model.parts["kind"], train, validation)
    wanted = scores(model.predict_text({"kind": TEXTS})["kind"])
    model.save(tmp_path / "model.keras")
    again = tt.load_model(tmp_path / "model.keras")
    answers = again.predict_text({"kind": TEXTS, "price": TEXTS})
    np.testing.assert_allclose(scores(answers["kind"]), wanted, atol=1e-5)
    assert {*answers["price"][0]} == {"score"}
    tt.export_saved_model(again, tmp_path / "serving", "float32")
    loaded = tt.load_saved_model(tmp_path / "serving")
    found = loaded.predict(TEXTS, signature="kind")[scope.SCORE]
    np.testing.assert_allclose(found, wanted, atol=1e-5)
    assert scope.SCORE not in loaded.predict(TEXTS, signature="price")
    with pytest.raises(tt.InputError, match="Received: the multi-task task"):
        tt.learn_scope(model, train, validation)


def test_training_on_makes_it_void_and_others_never_have_it(
    make_encoder: Callable[[str], Path], tmp_path: Path
) -> None:
    model, train, validation = made(make_encoder("bert_still"))
    tt.learn_scope(model, train, validation)
    other = tt.build_model(str(make_encoder("bert_still")), model.task, sequence_length=16)
    assert scope.SCORE not in other.predict_text(TEXTS[:1])[0]
    assert scope.SCORE in model.predict_text(TEXTS[:1])[0]
    known = model.scope
    tt.fine_tune(model, train, validation, unfreeze=0, plan=tt.Plan(verbose=0))
    for ask in (
        lambda: tt.export_saved_model(model, tmp_path / "serving"),
        lambda: model.save(tmp_path / "model.keras"),
        lambda: model.predict_text(TEXTS[:1]),
        lambda: tt.evaluate(model, validation, baselines=False),
    ):
        model.scope = known
        ask()
        assert model.scope is None
    assert scope.SCORE not in served(tmp_path / "serving", TEXTS)
    assert tt.load_model(tmp_path / "model.keras").scope is None


# Of the second all is one table, larger than what is looked at whole.
@pytest.mark.parametrize(("kind", "small"), [("bert_still", 4096), ("text_encoder", 0)])
def test_what_trains_a_shared_encoder_makes_it_void(
    kind: str, small: int, make_encoder: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The last layer stays as it was, vectors don't; a file that knows only that layer says yes."""
    monkeypatch.setattr(last_layer, "_SMALL", small)
    model, train, validation = made(make_encoder(kind))
    told = (tt.learn_scope(model, train, validation), tt.conformalize(model, validation))
    assert told and {scope.SCORE, "label_set"} <= {*model.predict_text(TEXTS[:1])[0]}
    older = dataclasses.replace(model.scope, mark=last_layer.mark(model))
    numbers = tt.data.Examples.from_lists(TEXTS, [float(len(text)) for text in TEXTS])
    task = tt.tasks.Regression().adapt(numbers.labels)
    other = tt.build_model(model.encoder, task, sequence_length=16)
    other.encoder.freeze_to(0)
    other.fit(other.preprocess(numbers, 8), epochs=1, verbose=0)
    assert [*model.predict_text(TEXTS[:1])[0]] == ["label", "scores"]
    assert model.scope is None and model.task.limits is None
    model.scope = older
    assert scope.SCORE in model.predict_text(TEXTS[:1])[0]


def test_asked_again_it_is_of_the_vectors_that_there_are(
    make_encoder: Callable[[str], Path],
) -> None:
    """Those of a head that pools as it has learned to, which no store may keep."""
    model, train, validation = made(make_encoder("bert_still"), head=tt.Head(pooling="attention"))
    layer = model.get_layer("attention_pooling")
    for place in range(2):
        layer.set_weights([np.full_like(each, 2.0 * place) for each in layer.get_weights()])
        tt.learn_scope(model, train, validation)
        found = scores(model.predict_text(list(validation.texts[0])))
        assert np.sort(found) == pytest.approx(np.arange(0.025, 1.0, 0.05), abs=1e-3)


@pytest.mark.parametrize("pooling", ["auto", "attention"])
def test_what_answers_elsewhere_gives_scores_alone(
    pooling: str, make_encoder: Callable[[str], Path]
) -> None:
    head = tt.Head(pooling=pooling)
    model, train, validation = made(make_encoder("bert_still"), head=head)
    tt.learn_scope(model, train, validation)

    def run(ids: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        alike = np.full((len(next(iter(ids.values()))), len(NAMES)), 1 / 3, np.float32)
        return dict.fromkeys(side_files.outputs(model).values(), alike)

    with elsewhere.answering(model, run):
        assert [*model.predict_text(TEXTS[:1])[0]] == ["label", "scores"]
        assert tt.evaluate(model, validation, baselines=False).trust is None
    assert scope.SCORE in model.predict_text(TEXTS[:1])[0]
    assert model.predict_scores(TEXTS).shape == (40, 3)


def test_a_report_says_how_near_its_texts_are(make_encoder: Callable[[str], Path]) -> None:
    model, train, validation = made(make_encoder("bert_still"))
    assert tt.evaluate(model, validation, baselines=False).trust is None
    tt.learn_scope(model, train, validation)
    report = tt.evaluate(model, validation, baselines=False)
    assert report.trust == {"scope": pytest.approx([0.1] * 10), "far": 0.05, "rows": 20}
    [said] = [note for note in report.notes if "scope score" in note]
    assert said.startswith("5.0% (0.9% to 23.6%) of texts have a scope score below 0.05")
    assert said.endswith("the median is 0.50, for 0.50")
    tt.conformalize(model, validation, coverage=0.9)
    trust = tt.evaluate(model, validation, baselines=False).trust
    assert trust is not None and {"coverage", "set_size", "scope", "far"} <= {*trust}
    assert json.dumps(report.to_dict()["trust"])


def test_a_report_looks_at_few_of_its_texts_at_once(
    make_encoder: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Their cosines with all that is kept are many numbers."""
    model, train, validation = made(make_encoder("bert_still"))
    tt.learn_scope(model, train, validation)
    whole = tt.evaluate(model, validation, baselines=False).trust
    distance, seen = scope.Scope.distance, []

    def counted(own: scope.Scope, asked: np.ndarray) -> tf.Tensor:
        seen.append(len(asked))
        return distance(own, asked)

    monkeypatch.setattr(scope.Scope, "distance", counted)
    monkeypatch.setattr(scope, "_ROWS", 7)
    assert tt.evaluate(model, validation, baselines=False).trust == whole
    assert seen == [7, 7, 6]


@pytest.mark.parametrize(("rows", "asked"), [(20, 40), (40, 41), (400, 1000)])
def test_by_chance_as_many_are_far_as_in_draws(rows: int, asked: int) -> None:
    generator = np.random.default_rng(0)
    shares = (rows - np.arange(rows) - 0.5) / rows
    drawn = [
        np.interp(generator.random(asked), np.sort(generator.random(rows)), shares)
        for _ in range(4000)
    ]
    far = (np.array(drawn) < scoping.FAR).mean(axis=1)
    least, most = scoping.by_chance(rows, asked)
    assert most == pytest.approx(np.quantile(far, 0.975), abs=0.015 + 1 / asked)
    assert least == pytest.approx(np.quantile(far, 0.025), abs=0.015)
    assert ((far >= least) & (far <= most)).mean() > 0.93


class Again(tt.tasks.Classification):
    """A task that asks the model twice."""

    def answers(self, run: Any, texts: Any) -> Any:
        return self.answer(run(*texts) * 0.5 + run(*texts) * 0.5)


@pytest.mark.parametrize(
    ("task", "train", "left_out", "message"),
    [
        (None, 20, 19, "give 20 at least, by `--validation` or of more data. Received: 19"),
        (None, 0, 20, "at least one example of the training. Received: none"),
        (
            tt.tasks.Similarity(low=0.0, high=1.0),
            20,
            20,
            "leave it out. Received: the similarity task",
        ),
        (tt.tasks.TokenClassification(NAMES), 20, 20, "Received: the token-classification task"),
        (tt.tasks.QuestionAnswering(), 20, 20, "Received: the question-answering task"),
        (Again(NAMES), 20, 20, "Received: the classification task"),
    ],
)
def test_what_cant_be_said_is_one_line(
    task: Any, train: int, left_out: int, message: str, make_encoder: Callable[[str], Path]
) -> None:
    model, given, validation = made(make_encoder("bert_still"))
    if task is not None:
        model = tt.build_model(str(make_encoder("bert_still")), task, sequence_length=16)
    with pytest.raises(tt.InputError, match=message) as error:
        tt.learn_scope(model, given[:train], validation[:left_out])
    assert "\n" not in str(error.value) and model.scope is None


def test_vectors_that_are_no_numbers_are_refused(make_encoder: Callable[[str], Path]) -> None:
    model, train, validation = made(make_encoder("text_encoder_frozen"))
    model.compute_features = lambda rows: np.full((len(rows), 4), np.nan, np.float32)
    with pytest.raises(tt.InputError, match="no numbers: its training fell apart"):
        tt.learn_scope(model, train, validation)
    assert model.scope is None


def test_few_texts_will_do_to_learn_from(make_encoder: Callable[[str], Path]) -> None:
    model, train, validation = made(make_encoder("bert_still"))
    for count in (1, 2):
        assert tt.learn_scope(model, train[:count], validation)["kept"] == count
        assert np.isfinite(scores(model.predict_text([*TEXTS, *STRANGE]))).all()


def test_of_many_texts_only_those_that_are_kept_are_asked(
    make_encoder: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    model, train, validation = made(make_encoder("bert_still"))
    monkeypatch.setattr(scope, "MOST", 7)
    kept = []
    for seed in (0, 0, 1):
        assert tt.learn_scope(model, train, validation, seed)["kept"] == 7
        kept.append(model.scope.vectors)
    every = scope.learned(model.compute_features(train), model.compute_features(validation))
    near = kept[0] @ every.vectors.T
    assert near.max(axis=1) == pytest.approx(np.ones(7)) and kept[0].shape == (7, 16)
    np.testing.assert_array_equal(kept[0], kept[1])
    assert not np.array_equal(kept[0], kept[2])


def run(tmp_path: Path, encoder: Path, *more: str) -> int:
    words = {"good": "lovely fine superb", "bad": "dull weak sad"}
    rows = [
        {"text": f"a {word} story number {i}", "label": label}
        for i in range(40)
        for label, some in words.items()
        for word in some.split()
    ]
    data = tmp_path / "data.jsonl"
    data.write_text("\n".join(map(json.dumps, rows)), "utf-8")
    given = [
        "train",
        "--data",
        data,
        "--output",
        tmp_path / "out",
        "--encoder",
        encoder,
        "--text",
        "text",
        *more,
    ]
    return cli.main([str(word) for word in given])


@pytest.mark.slow
def test_a_trained_model_says_it_by_command(
    make_encoder: Callable[[str], Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    encoder = make_encoder("text_encoder")
    more = ("--task", "classification", "--scope", "--coverage", "0.8")
    assert run(tmp_path, encoder, *more) == 0
    record = json.loads((tmp_path / "out" / "training.json").read_text("utf-8"))
    assert record["scope"]["rows"] == record["limits"]["rows"] >= 20
    report = json.loads((tmp_path / "out" / "report" / "report.json").read_text("utf-8"))
    assert sum(report["trust"]["scope"]) == pytest.approx(1.0) and report["trust"]["set_size"] >= 1
    assert "have a scope score below" in capsys.readouterr().out
    text, answers = tmp_path / "asked.csv", tmp_path / "answers.csv"
    text.write_text("text\na lovely story number 3\nzebra quantum\n", "utf-8")
    assert cli.main(["predict", str(tmp_path / "out"), str(text), "--output", str(answers)]) == 0
    header, *rows = answers.read_text("utf-8").splitlines()
    place = header.split(",").index(scope.SCORE)
    near = served(tmp_path / "out" / "serving", ["a lovely story number 3", "zebra quantum"])
    found = [float(row.split(",")[place]) for row in rows]
    np.testing.assert_allclose(found, near[scope.SCORE], atol=1e-4)


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (("--refit",), "with `--refit` all rows teach, and none is left"),
        (("--task", "translation"), "Received: the translation task"),
    ],
)
def test_a_command_refuses_it_before_it_trains(
    more: tuple[str, ...],
    message: str,
    make_encoder: Callable[[str], Path],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    more = more if "--task" in more else ("--task", "classification", *more)
    assert run(tmp_path, make_encoder("text_encoder"), "--scope", *more) == 2
    assert message in " ".join(capsys.readouterr().err.split())
    assert not (tmp_path / "out").exists()
