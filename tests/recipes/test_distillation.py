"""Small models from large ones: students cut out, encoders and models distilled."""

import json
import random
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

import tfhub_transfer as tt
from tfhub_transfer import cli
from tfhub_transfer.data import Examples
from tfhub_transfer.encoders import hub_format, registry
from tfhub_transfer.encoders.bert_shapes import BertShape, bert_variable_shapes
from tfhub_transfer.recipes import distillation, encoder_distillation, lessons, students
from tfhub_transfer.tasks.objective import Objective

WORDS = [a + b + c for a in "bdfgk" for b in "aeiou" for c in "lmnrst"]
LETTERS = "abcdefghijklmnopqrstuvwxyz"
PIECES = [*hub_format.SPECIAL_TOKENS, *LETTERS, *(f"##{c}" for c in LETTERS), *WORDS]
SHAPE = BertShape(
    layers=4,
    hidden=16,
    heads=4,
    intermediate=32,
    vocabulary=len(PIECES),
    positions=64,
    mean_pooling=True,
)
QUICK = encoder_distillation.Schedule(epochs=2, learning_rate=3e-3, verbose=0)


def sentences(number: int, seed: int = 0) -> list[str]:
    generator = random.Random(seed)
    return [" ".join(generator.choices(WORDS, k=generator.randint(3, 12))) for _ in range(number)]


@pytest.fixture(scope="module")
def teacher(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A BERT of 4 layers, 16 wide."""
    folder = tmp_path_factory.mktemp("teacher")
    vocab = folder / "vocab.txt"
    vocab.write_text("".join(f"{piece}\n" for piece in PIECES), encoding="utf-8")
    generator = np.random.default_rng(0)
    values = {
        name: np.ones(size, np.float32)
        if name.endswith("gamma")
        else generator.normal(scale=0.3, size=size).astype(np.float32)
        for name, size in bert_variable_shapes(SHAPE).items()
    }
    info = {"name": "tiny", "licence": "apache-2.0", "dialect": "bert", "dimension": 16}
    made = hub_format.bert_encoder(values, SHAPE, vocab, True)
    hub_format.save(made, folder / "tiny", {**info, "layers": 4, "lower_case": True})
    hub_format.save_preprocessor(folder / "tiny" / "preprocessor", vocab, True)
    return str(folder / "tiny")


@pytest.fixture(scope="module")
def start(teacher: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An untrained student of 2 layers with a part of the vocabulary."""
    folder = tmp_path_factory.mktemp("start") / "start"
    pieces = students.corpus_vocabulary(teacher, sentences(300), 140)
    students.make_student(teacher, folder, layers=2, vocabulary=pieces)
    return folder


def vectors(encoder: str, texts: list[str]) -> np.ndarray:
    model = tt.build_model(encoder, tt.tasks.Classification(["a", "b"]))
    return model.encode_text(texts)


def distance(one: np.ndarray, other: np.ndarray) -> float:
    norms = np.linalg.norm(one, axis=1) * np.linalg.norm(other, axis=1)
    return float(1 - np.mean((one * other).sum(1) / norms))


# Students ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("teacher_has", "student_has", "expected"),
    [(6, 3, [1, 3, 5]), (6, 2, [2, 5]), (6, 4, [1, 2, 4, 5]), (12, 1, [11]), (3, 3, [0, 1, 2])],
)
def test_layers_are_spread_and_the_last_is_among_them(
    teacher_has: int, student_has: int, expected: list[int]
) -> None:
    assert students.teacher_layers(teacher_has, student_has) == expected


def test_a_student_has_every_nth_layer_and_the_pieces_that_were_asked_for(
    teacher: str, start: Path
) -> None:
    large, small = tt.Encoder(teacher), tt.Encoder(str(start))
    theirs, own = large.named_weights(), small.named_weights()
    for layer in range(2):
        for part in ("self_attention/query/kernel", "output/bias", "output_layer_norm/gamma"):
            np.testing.assert_array_equal(
                own[f"transformer/layer_{layer}/{part}"].numpy(),
                theirs[f"transformer/layer_{2 * layer + 1}/{part}"].numpy(),
            )
    pieces = hub_format.read_vocabulary(start / "assets" / "vocab.txt")
    assert len(pieces) < len(PIECES)
    assert set(PIECES[: 5 + 2 * len(LETTERS)]) <= set(pieces)
    table = theirs["word_embeddings/embeddings"].numpy()
    rows = [PIECES.index(piece) for piece in pieces]
    np.testing.assert_array_equal(own["word_embeddings/embeddings"].numpy(), table[rows])
    assert [name for name, _ in small.layer_groups] == ["embeddings", "layer_0", "layer_1"]


def test_a_student_splits_any_text_without_losing_a_word(start: Path) -> None:
    model = tt.build_model(str(start), tt.tasks.Classification(["a", "b"]))
    unknown = hub_format.SPECIAL_TOKENS.index("[UNK]")
    rare = [word for word in WORDS if word not in _vocabulary(start)]
    assert rare
    ids = model.preprocessor.tokenize(tf.constant(rare))
    assert unknown not in ids.flat_values.numpy()
    assert (ids.row_lengths().numpy() == 3).all()


def _vocabulary(folder: Path) -> list[str]:
    return hub_format.read_vocabulary(folder / "assets" / "vocab.txt")


@pytest.mark.slow
def test_a_narrower_student_keeps_the_main_axes_of_the_embeddings(
    teacher: str, tmp_path: Path
) -> None:
    students.make_student(teacher, tmp_path / "narrow", layers=2, hidden=8)
    small = tt.Encoder(str(tmp_path / "narrow"))
    assert (small.dimension, small.token_dimension) == (8, 8)
    table = tt.Encoder(teacher).named_weights()["word_embeddings/embeddings"].numpy()
    own = small.named_weights()["word_embeddings/embeddings"].numpy()
    spread = np.sort(np.linalg.eigvalsh(np.cov(table.T)))[::-1]
    np.testing.assert_allclose(np.var(own, axis=0, ddof=1), spread[:8], rtol=1e-4)


def test_an_encoder_of_the_model_garden_can_be_a_teacher(
    bert_prefixed_encoder: Path, tmp_path: Path
) -> None:
    students.make_student(str(bert_prefixed_encoder), tmp_path / "small", layers=1)
    assert [n for n, _ in tt.Encoder(str(tmp_path / "small")).layer_groups] == [
        "embeddings",
        "layer_0",
        "pooler",
    ]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"layers": 0}, "from 1 to 4.*Received: 0"),
        ({"layers": 5}, "from 1 to 4.*Received: 5"),
        ({"hidden": 6}, "multiple of 4.*Received: 6"),
        ({"hidden": 32}, "up to the teacher's 16.*Received: 32"),
        ({"vocabulary": ["nosuchpiece"]}, "word pieces of the source.*nosuchpiece"),
    ],
)
def test_impossible_students_are_refused(
    teacher: str, tmp_path: Path, arguments: dict[str, Any], message: str
) -> None:
    with pytest.raises(tt.InputError, match=message):
        students.make_student(teacher, tmp_path / "student", **arguments)
    assert list(tmp_path.iterdir()) == []


def test_a_student_is_cut_out_of_a_bert_only(tmp_path: Path) -> None:
    with pytest.raises(tt.InputError, match="cut out of a BERT encoder"):
        students.make_student("static-minilm-256", tmp_path / "student", layers=1)


# Encoders ------------------------------------------------------------------------------------


@pytest.mark.slow
def test_a_student_that_is_its_teacher_has_nothing_to_learn(teacher: str, tmp_path: Path) -> None:
    students.make_student(teacher, tmp_path / "same", layers=4)
    large, small = tt.Encoder(teacher), tt.Encoder(str(tmp_path / "same"))
    losses = encoder_distillation.Losses(1.0, 1.0, 1.0, 1.0)
    student = encoder_distillation._Student(large, small, losses)
    student.compile("sgd")
    lesson = lessons.Lesson(large, small, student.wanted_layers, 64)
    found = student.evaluate(lesson.batches(sentences(64), 16), return_dict=True, verbose=0)
    # The teacher's token vectors are kept in bfloat16.
    assert found == pytest.approx(dict.fromkeys(found, 0.0), abs=1e-3)
    assert set(found) == {"loss", "sentence", "similarity", "hidden", "relations"}


@pytest.mark.slow
@pytest.mark.parametrize(
    "losses",
    [
        encoder_distillation.Losses(),
        encoder_distillation.Losses(1.0, 0.0, 1.0, 1.0),
        encoder_distillation.Losses(0.0, 1.0, 0.0, 0.0),
    ],
    ids=["text vectors", "token vectors", "similarity"],
)
def test_distillation_brings_vectors_nearer_to_the_teachers(
    teacher: str, start: Path, tmp_path: Path, losses: encoder_distillation.Losses
) -> None:
    curves = encoder_distillation.distill_encoder(
        teacher, start, sentences(600), tmp_path / "taught", losses, QUICK
    )
    assert curves["val_loss"][-1] < curves["val_loss"][0]
    fresh = sentences(60, seed=9)
    wanted = vectors(teacher, fresh)
    if losses.sentence:  # all texts are much alike to so small a teacher
        far = [distance(vectors(str(f), fresh), wanted) for f in (start, tmp_path / "taught")]
        assert far[1] < 0.5 * far[0]
    info = registry.read_information(tmp_path / "taught")
    assert info["made_by"] == "distill_encoder from tiny"
    assert (info["layers"], info["dimension"], info["licence"]) == (2, 16, "apache-2.0")


@pytest.mark.slow
def test_a_narrower_student_learns_through_projections(teacher: str, tmp_path: Path) -> None:
    students.make_student(teacher, tmp_path / "narrow", layers=2, hidden=8)
    losses = encoder_distillation.Losses(1.0, 1.0, 1.0, 0.0)
    curves = encoder_distillation.distill_encoder(
        teacher, tmp_path / "narrow", sentences(600), tmp_path / "taught", losses, QUICK
    )
    for part in ("val_sentence", "val_hidden", "val_similarity"):
        assert curves[part][-1] < curves[part][0]
    assert tt.Encoder(str(tmp_path / "taught")).dimension == 8


@pytest.mark.slow
def test_embeddings_can_stay_as_they_are(teacher: str, start: Path, tmp_path: Path) -> None:
    schedule = encoder_distillation.Schedule(embeddings=False, learning_rate=3e-3, verbose=0)
    encoder_distillation.distill_encoder(
        teacher, start, sentences(200), tmp_path / "taught", schedule=schedule
    )
    before, after = (
        tt.Encoder(str(folder)).named_weights() for folder in (start, tmp_path / "taught")
    )
    for name, weight in before.items():
        same = np.array_equal(weight.numpy(), after[name].numpy())
        assert same != name.startswith("transformer"), name


@pytest.mark.slow
def test_the_teacher_reads_each_text_once(
    teacher: str, start: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    losses = encoder_distillation.Losses(hidden=1.0)
    arguments = (teacher, start, sentences(200, seed=4))
    encoder_distillation.distill_encoder(*arguments, tmp_path / "one", losses, QUICK)

    def run(*args: Any, **kwargs: Any) -> None:
        raise AssertionError("the teacher ran again")

    monkeypatch.setattr(lessons.Lesson, "_run", run)
    encoder_distillation.distill_encoder(*arguments, tmp_path / "two", losses, QUICK)


@pytest.mark.slow
def test_without_room_on_disk_the_teacher_runs_beside(
    teacher: str, start: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    losses = encoder_distillation.Losses(0.0, 0.0, 1.0, 1.0)
    texts = sentences(200, seed=5)
    stored = encoder_distillation.distill_encoder(
        teacher, start, texts, tmp_path / "one", losses, QUICK
    )
    monkeypatch.setenv("TFHUB_TRANSFER_CACHE_BYTES", "1")
    beside = encoder_distillation.distill_encoder(
        teacher, start, texts[::-1], tmp_path / "two", losses, QUICK
    )
    assert beside["val_loss"][-1] == pytest.approx(stored["val_loss"][-1], rel=0.2)


@pytest.mark.slow
def test_texts_that_are_split_otherwise_count_for_text_vectors_only(
    teacher: str, start: Path
) -> None:
    large, small = tt.Encoder(teacher), tt.Encoder(str(start))
    rare = next(word for word in WORDS if word not in _vocabulary(start))
    common = next(word for word in WORDS if word in _vocabulary(start))
    lesson = lessons.Lesson(large, small, [3], 64)
    [(inputs, targets)] = lesson.batches([f"{common} {common}", f"{common} {rare}"], 2)
    order = np.argsort(inputs["input_mask"].numpy().sum(axis=1))
    np.testing.assert_array_equal(targets["alike"].numpy()[order], [1.0, 0.0])
    assert np.abs(targets["tokens"].numpy()[order][0]).sum() > 0
    wanted = vectors(teacher, [f"{common} {common}", f"{common} {rare}"])
    np.testing.assert_allclose(targets["sentence"].numpy()[order], wanted, atol=1e-4)


def test_too_few_texts_and_losses_without_weight_are_refused(
    teacher: str, start: Path, tmp_path: Path
) -> None:
    with pytest.raises(tt.InputError, match="at least 100 different texts. Received: 3"):
        encoder_distillation.distill_encoder(teacher, start, ["a", "b", " ", "c"], tmp_path / "o")
    with pytest.raises(tt.InputError, match="weights of `Losses`"):
        encoder_distillation.Losses(0.0, 0.0)
    students.make_student(teacher, tmp_path / "one", layers=1)
    losses = encoder_distillation.Losses(relations=1.0)
    with pytest.raises(tt.InputError, match="another below it"):
        encoder_distillation.distill_encoder(
            teacher, tmp_path / "one", sentences(100), tmp_path / "o", losses
        )
    assert not (tmp_path / "o").exists()


# Models --------------------------------------------------------------------------------------


def labelled(kind: str, factory: Any, size: int = 60, seed: int = 0) -> Examples:
    make = {
        "classification": factory.sentiment_data,
        "multi-label": factory.multi_label_data,
        "regression": factory.regression_data,
    }
    return Examples.from_lists(*make[kind](size, seed))


def built(kind: str, examples: Examples, seed: int = 0) -> tt.TransferModel:
    keras.utils.set_random_seed(seed)
    task = tt.tasks.TASKS[kind](pair=examples.is_pair).adapt(examples.labels)
    return tt.build_model("static-minilm-256", task)


PLAN = tt.Plan(verbose=0, head_epochs=10)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["classification", "multi-label", "regression"])
def test_a_student_answers_as_its_teacher_does(kind: str, factory: Any) -> None:
    train, validation = labelled(kind, factory), labelled(kind, factory, 30, 1)
    more = labelled(kind, factory, 60, 2).texts[0]
    teacher = built(kind, train)
    tt.fine_tune(teacher, train, validation, unfreeze="none", plan=PLAN)
    few, student, alone = train[:8], built(kind, train, 1), built(kind, train, 1)
    distillation.distill(teacher, student, few, validation, more, unfreeze="none", plan=PLAN)
    tt.fine_tune(alone, few, validation, unfreeze="none", plan=PLAN)
    wanted = teacher.predict_scores(validation)
    far = [np.abs(m.predict_scores(validation) - wanted).mean() for m in (student, alone)]
    assert far[0] < far[1]
    assert type(student.task) is tt.tasks.TASKS[kind]
    assert student.training_examples is few
    assert student.evaluate(student.preprocess(validation), verbose=0)


@pytest.mark.slow
def test_a_taught_student_thaws_saves_and_exports(factory: Any, tmp_path: Path) -> None:
    train, validation = (labelled("classification", factory, n, n) for n in (60, 30))
    teachers = [built("classification", train, seed) for seed in range(2)]
    for teacher in teachers:
        tt.fine_tune(teacher, train, validation, unfreeze="none", plan=PLAN)
    student = built("classification", train, 3)
    history = distillation.distill(teachers, student, train, validation, epochs=3, plan=PLAN)
    assert [count for _, count in history.thawed_groups] == [1]
    thawed = history.history["loss"][history.head_epochs :]
    assert thawed[-1] < thawed[0]
    assert {"loss", "val_loss", "accuracy", "val_accuracy"} <= set(history.history)
    student.save(tmp_path / "student.keras")
    texts = list(validation.texts[0])
    again = tt.load_model(tmp_path / "student.keras")
    np.testing.assert_array_equal(student.predict_scores(texts), again.predict_scores(texts))
    served = tt.load_saved_model(tt.export_saved_model(student, tmp_path / "serving"))
    np.testing.assert_allclose(
        served.predict(texts)["scores"], student.predict_scores(texts), atol=1e-5
    )


def test_the_distance_of_classes_is_that_of_keras_distillation() -> None:
    taught = distillation._Taught(Objective(tt.tasks.Classification(["a", "b", "c"])), 3.0)
    generator = np.random.default_rng(0)
    scores = [generator.dirichlet([1.0] * 3, size=5).astype(np.float32) for _ in range(2)]
    own = tf.reduce_mean(taught._distance(*map(tf.constant, scores)))
    loss = keras.losses.KLDivergence()  # by its name, the loss would compare logits as they are
    theirs = keras.distillation.LogitsDistillation(temperature=3.0, loss=loss).compute_loss(
        *(tf.math.log(s) for s in scores)
    )
    assert float(own) == pytest.approx(float(theirs), rel=1e-4)


def test_several_teachers_count_by_their_mean_and_are_asked_once(
    factory: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    train = labelled("classification", factory, 40, 7)
    teachers = [built("classification", train, seed) for seed in (5, 6)]
    expected = np.mean([t.predict_scores(train) for t in teachers], axis=0)
    np.testing.assert_allclose(distillation._scores(teachers, train), expected, atol=1e-6)

    def ask(*args: Any, **kwargs: Any) -> None:
        raise AssertionError("a teacher was asked again")

    monkeypatch.setattr(tt.TransferModel, "predict_scores", ask)
    np.testing.assert_allclose(distillation._scores(teachers, train), expected, atol=1e-6)


def test_teachers_of_another_task_are_refused(factory: Any) -> None:
    train = labelled("classification", factory)
    teacher, student = built("classification", train), built("classification", train)
    student.task.class_names = ["positive", "negative"]
    with pytest.raises(tt.InputError, match="same classes in the same order"):
        distillation.distill(teacher, student, train, train)
    with pytest.raises(tt.InputError, match="at least one teacher"):
        distillation.distill([], student, train, train)
    with pytest.raises(tt.InputError, match="class weights"):
        plan = tt.Plan(class_weight={0: 1.0, 1: 2.0})
        distillation.distill(teacher, teacher, train, train, plan=plan)
    with pytest.raises(tt.InputError, match="`temperature` must be a number from 1"):
        distillation.Imitation(temperature=0.5)


# The command ---------------------------------------------------------------------------------


@pytest.mark.slow
def test_the_command_distils_an_encoder(teacher: str, tmp_path: Path) -> None:
    (tmp_path / "texts.txt").write_text("\n".join(sentences(150)) + "\n", encoding="utf-8")
    arguments = ["distill", teacher, "--data", str(tmp_path / "texts.txt"), "--epochs", "1"]
    output = tmp_path / "small"
    sizes = ["--layers", "2", "--hidden", "8", "--vocabulary", "50"]
    assert cli.main([*arguments, *sizes, "--output", str(output)]) == 0
    assert tt.Encoder(str(output)).dimension == 8
    assert len(json.loads((output / "distillation.json").read_text())["loss"]) == 1
    assert registry.read_information(output)["name"] == "small"
    assert cli.main([*arguments, "--output", str(output)]) == 2
    assert sorted(p.name for p in tmp_path.iterdir()) == ["small", "texts.txt"]


@pytest.mark.slow
def test_the_command_distils_a_model(factory: Any, tmp_path: Path) -> None:
    rows = zip(*factory.sentiment_data(80, 0))
    table = "\n".join(["text,label", *(f'"{text}",{label}' for text, label in rows)])
    (tmp_path / "data.csv").write_text(table + "\n", encoding="utf-8")
    common = ["--data", str(tmp_path / "data.csv"), "--unfreeze", "none"]
    large, small = tmp_path / "large", tmp_path / "small"
    training = ["train", "--task", "classification", *common, "--output", str(large)]
    assert cli.main(training) == 0
    distilling = ["distill", str(large), *common, "--output", str(small)]
    assert cli.main([*distilling, "--unlabelled", str(tmp_path / "data.csv")]) == 0
    record = json.loads((small / "training.json").read_text())
    assert record["arguments"]["teachers"] == [str(large)]
    assert (small / "serving" / "1" / "saved_model.pb").exists()
    assert (small / "report" / "report.html").exists()
    assert (
        cli.main(["distill", str(tmp_path / "no"), *common, "--output", str(tmp_path / "o")]) == 2
    )
