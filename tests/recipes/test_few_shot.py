"""Few labels: texts of a class drawn together, judged by cross-validation; and none at all."""

import dataclasses
import json
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

import tfhub_transfer as tt
from tfhub_transfer.data import Examples
from tfhub_transfer.optimization import planning
from tfhub_transfer.recipes import contrasts, few_shot
from tfhub_transfer.training import finetuning


@pytest.fixture(scope="module", autouse=True)
def short() -> Any:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(few_shot, "FEWEST_STEPS", 6)
        patch.setattr(few_shot, "STEPS", 6)
        patch.setattr(planning, "EMBEDDING_RATE", 3e-2)
        yield


@pytest.fixture(scope="module")
def splits(sentiment: Any) -> tuple[Any, Any]:
    examples = Examples.from_lists(*sentiment)
    return examples[:28], examples[28:]


def build(folder: Path, task: Any = None, **head: Any) -> Any:
    tt.runtime.seed_everything(7)
    task = task or tt.tasks.Classification(["negative", "positive"])
    return tt.build_model(str(folder), task, tt.Head(**head), sequence_length=24)


PLAN = tt.Plan(verbose=0, seed=3, head_epochs=3)


def tuned(model: Any, splits: Any, mode: str = "auto", **more: Any) -> Any:
    plan = dataclasses.replace(PLAN, stages=few_shot.first(mode), **more)
    return tt.fine_tune(model, *splits, unfreeze="none", plan=plan)


def arrays(model: Any) -> list[np.ndarray]:
    return [keras.ops.convert_to_numpy(each) for each in model.variables]


# The loss ----------------------------------------------------------------------------------------


def by_hand(classes: Any, vectors: np.ndarray, temperature: float = 0.1) -> float:
    """Khosla et al. 2020, equation 2, text by text."""
    losses = []
    for i in range(len(classes)):
        others = [a for a in range(len(classes)) if a != i]
        near = {a: float(vectors[i] @ vectors[a]) / temperature for a in others}
        whole = np.log(sum(np.exp(value) for value in near.values()))
        own = [whole - near[a] for a in others if classes[a] == classes[i]]
        losses += [sum(own) / len(own)] if own else []
    return float(np.mean(losses))


@pytest.mark.parametrize("classes", [[0, 0, 1, 1, 2, 2], [5, 5, 5, 1, 2, 1], [0, 1, 1, 1, 1, 1]])
def test_the_loss_is_that_of_the_paper_text_by_text(classes: list[int]) -> None:
    """A text that is alone in its class is told from, and tells nothing."""
    drawn = np.random.default_rng(1).normal(size=(6, 4))
    vectors = drawn / np.linalg.norm(drawn, axis=1, keepdims=True)
    for temperature in (0.1, 0.5):
        loss = contrasts.SupervisedContrastive(temperature)
        found = float(loss(np.array(classes, "float32"), vectors.astype("float32")))
        np.testing.assert_allclose(found, by_hand(classes, vectors, temperature), rtol=1e-5)
        again = contrasts.SupervisedContrastive.from_config(loss.get_config())
        assert again.temperature == temperature


def test_the_gradient_is_what_differences_say() -> None:
    vectors = tf.Variable(np.random.default_rng(2).normal(size=(6, 3)))
    classes = tf.constant([0, 1, 0, 1, 2, 0])
    loss = contrasts.SupervisedContrastive(0.5, dtype="float64")

    def at() -> tf.Tensor:
        return loss(classes, tf.math.l2_normalize(vectors, -1))

    with tf.GradientTape() as tape:
        value = at()
    found = tape.gradient(value, vectors).numpy()
    start = vectors.numpy()
    for place in np.ndindex(*start.shape):
        sides = []
        for step in (1e-5, -1e-5):
            moved = start.copy()
            moved[place] += step
            vectors.assign(moved)
            sides.append(float(at()))
        np.testing.assert_allclose(found[place], (sides[0] - sides[1]) / 2e-5, atol=1e-6)


def test_texts_that_are_all_alone_teach_nothing() -> None:
    assert float(contrasts.SupervisedContrastive()(np.arange(3.0), np.eye(3, dtype="f"))) == 0.0


# Batches and folds -------------------------------------------------------------------------------


def test_a_batch_has_some_classes_with_some_texts_of_each() -> None:
    classes = np.repeat(np.arange(20), 10)
    found = list(contrasts.draws(classes, 5, 1))
    assert len(found) == 5
    for rows in found:
        assert len({*rows.tolist()}) == len(rows) == contrasts.BATCH
        assert [*np.unique(classes[rows], return_counts=True)[1]] == [contrasts.OF_CLASS] * 8
    # Each class once in two batches and a half, before any comes again.
    seen = np.concatenate([np.unique(classes[rows]) for rows in found])
    assert np.bincount(seen).tolist() == [2] * 20
    again = list(contrasts.draws(classes, 5, 1))
    assert all(np.array_equal(*pair) for pair in zip(found, again))
    assert not np.array_equal(found[0], next(contrasts.draws(classes, 5, 2)))


def test_two_classes_share_a_batch_and_a_small_one_gives_what_it_has() -> None:
    classes = np.array([0] * 30 + [1] * 3)
    rows = next(contrasts.draws(classes, 1, 0))
    assert np.bincount(classes[rows]).tolist() == [16, 3]


def test_folds_have_as_many_of_each_class_or_one_more() -> None:
    classes = np.array([0] * 9 + [1] * 7 + [2])
    found = contrasts.folds(classes, 4, 3)
    for each, most in enumerate((3, 2, 1)):
        counts = np.bincount(found[classes == each], minlength=4)
        assert counts.max() == most and counts.max() - counts.min() <= 1
    assert np.ptp(np.bincount(found)) <= 1
    assert not np.array_equal(found, contrasts.folds(classes, 4, 4))


# The stage ---------------------------------------------------------------------------------------


def apart(model: Any, examples: Any) -> float:
    """How much nearer texts of one class are than those of two, by cosine."""
    vectors = model.encode_text(examples.texts[0], normalize=True)
    classes = model.task.encode(examples.labels)
    near, alike = vectors @ vectors.T, classes[:, None] == classes[None]
    others = ~np.eye(len(classes), dtype=bool)
    return float(near[alike & others].mean() - near[~alike].mean())


@pytest.fixture(scope="module")
def drawn(text_encoder: Path, splits: Any) -> tuple[Any, Any, float]:
    """A model after the stage, its history, and how far classes were apart before."""
    model = build(text_encoder)
    before = apart(model, splits[0])
    return model, tuned(model, splits, "on"), before


def test_texts_of_a_class_are_nearer_after_it(drawn: Any, splits: Any) -> None:
    model, history, before = drawn
    assert apart(model, splits[0]) > before + 0.05
    assert not any(v.trainable for _, group in model.encoder.layer_groups for v in group)
    told = history.outcomes[0]
    assert (told.stage, told.epoch, told.before) == ("few_shot", 1, None)
    assert "not judged" in str(told) and history.plan["few_shot"]["steps"] == 6
    # The curves are those of the head alone.
    assert history.best_epoch is not None and history.epochs == history.head_epochs
    assert history.ends["few_shot"] == 1.0
    assert str(history)


@pytest.mark.slow
def test_of_a_bert_all_layers_learn_but_its_embeddings(
    bert_encoder: Path, splits: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(planning, "SMALL_BERT_RATE", 1e-3)
    monkeypatch.setattr(few_shot, "FEWEST_STEPS", 20)
    monkeypatch.setattr(few_shot, "STEPS", 20)
    model, (train, _) = build(bert_encoder), splits
    groups = model.encoder.layer_groups
    start = [[each.numpy() for each in group] for _, group in groups]
    made = few_shot.Contrast(model, model.cut(train), 1)

    def loss() -> float:
        vectors = model.encode_text(train.texts[0], normalize=True)
        return by_hand(model.task.encode(train.labels), vectors)

    before, told = loss(), made.train(np.arange(28))
    assert loss() < before - 1.0
    for (name, group), old in zip(groups, start):
        moved = [not np.array_equal(v.numpy(), o) for v, o in zip(group, old)]
        assert any(moved) == (name != "embeddings"), name
    # Nothing is left behind, of dropout's random numbers and the optimizer neither.
    made.reset()
    assert loss() == before and made.train(np.arange(28)) == told


def test_the_head_learns_from_vectors_of_the_encoder_as_it_is_then(drawn: Any, splits: Any) -> None:
    """Stored ones of the encoder as it was would be another's."""
    model, _, _ = drawn
    direct = keras.Model(model.inputs, model.features)
    batches = model.preprocess(splits[0], shuffle=False)
    computed = direct.predict(batches.map(lambda x, y: x), verbose=0)
    np.testing.assert_allclose(model.compute_features(splits[0]), computed, atol=1e-5)


def test_the_same_seed_makes_the_same_model(drawn: Any, text_encoder: Path, splits: Any) -> None:
    other = build(text_encoder)
    tuned(other, splits, "on")
    for one, two in zip(arrays(drawn[0]), arrays(other), strict=True):
        np.testing.assert_array_equal(one, two)


def judging_by(monkeypatch: pytest.MonkeyPatch, first: int, second: int) -> None:
    """Cross-validation that finds so many of each fold's 14 right without and with."""
    values = iter([first, second] * few_shot.FOLDS)
    monkeypatch.setattr(contrasts, "right", lambda *given: np.arange(14) < next(values))


def test_what_is_worse_leaves_no_trace(
    text_encoder: Path, splits: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    judging_by(monkeypatch, 7, 6)
    tried, plain = build(text_encoder, dropout=0.2), build(text_encoder, dropout=0.2)
    history = tuned(tried, splits, "auto")
    tuned(plain, splits, "off")
    for one, two in zip(arrays(tried), arrays(plain), strict=True):
        np.testing.assert_array_equal(one, two)
    told = str(history.outcomes[0])
    assert "accuracy 0.4286 with, 0.5000 without, by cross-validation" in told
    assert "kept without" in told and history.ends["few_shot"] == 0.0


def test_one_standard_error_says_nothing() -> None:
    """Of 100 texts 4 lost and 1 won: -.03 of an error of .0223; 4 lost and 2 won: -.02, .0245."""
    for lost, won, worse in ((4, 1, True), (4, 2, False), (2, 1, False), (0, 0, False), (1, 9, 0)):
        without, tried = np.zeros((2, 100), bool)
        without[:lost], tried[90 : 90 + won] = True, True
        error = np.sqrt((lost + won - (won - lost) ** 2 / 100) / 99 / 100)
        assert contrasts.surely_worse(without, tried) == worse == (lost - won > 100 * error)


def test_more_texts_take_more_and_shorter_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(few_shot, "FEWEST_STEPS", 8)
    monkeypatch.setattr(few_shot, "STEPS", 40)
    found = [few_shot.steps(count) for count in (2, 32, 33, 128, 160, 161, 10**6)]
    assert found == [8, 8, 9, 32, 40, 40, 40]
    assert few_shot._longer(40) == 1.0 and few_shot._longer(10) == 2.0


def test_what_is_no_worse_is_what_on_makes(
    drawn: Any, text_encoder: Path, splits: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Folds that were trained before leave nothing behind, nor does their order."""
    judging_by(monkeypatch, 7, 7)  # no better either
    model = build(text_encoder)
    history = tuned(model, splits, "auto")
    assert "kept with" in str(history.outcomes[0])
    for one, two in zip(arrays(drawn[0]), arrays(model), strict=True):
        np.testing.assert_array_equal(one, two)
    # Once more on all, as far as it was kept: nothing is judged again.
    again = build(text_encoder)
    plan = dataclasses.replace(PLAN, stages=few_shot.first("auto"), ends=history.ends)
    tt.fine_tune(again, *splits, unfreeze="none", plan=plan)
    np.testing.assert_array_equal(again.encode_text(["good"]), model.encode_text(["good"]))


def test_no_fold_is_judged_by_what_the_encoder_has_seen(
    text_encoder: Path, splits: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, seen = build(text_encoder), list[set[int]]()
    made = few_shot.Contrast(model, model.cut(splits[0]), 1)

    def train(rows: np.ndarray, stage: Any) -> None:
        seen.append({*rows.tolist()})

    def right(known: np.ndarray, classes: Any, asked: np.ndarray, truth: Any) -> np.ndarray:
        assert len(known) == len(seen[-1]) and len(known) + len(asked) == 28
        return np.full(len(asked), True)

    monkeypatch.setattr(made, "train", train)
    monkeypatch.setattr(contrasts, "right", right)
    assert np.array_equal(made.cross_validated(None), np.full((2, 28), True))
    left = [{*range(28)} - each for each in seen]
    assert sorted(row for each in left for row in each) == [*range(28)]


def test_a_killed_run_goes_on_behind_it(
    drawn: Any, text_encoder: Path, splits: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Killed(Exception):
        pass

    def kill(*given: Any) -> None:
        raise Killed

    def run() -> Any:
        model = build(text_encoder)
        plan = dataclasses.replace(PLAN, stages=few_shot.first("on"))
        tt.fine_tune(model, *splits, unfreeze="none", plan=plan, checkpoint=tmp_path / "notes")
        return model

    with pytest.MonkeyPatch.context() as patch, pytest.raises(Killed):
        patch.setattr(finetuning.Head, "run", kill)
        run()
    # What it drew together isn't drawn once more.
    monkeypatch.setattr(few_shot, "Contrast", kill)
    for one, two in zip(arrays(drawn[0]), arrays(run()), strict=True):
        np.testing.assert_array_equal(one, two)


def test_long_texts_are_cut_where_few_are_as_long(bert_still: Path) -> None:
    texts = ["good film bad"] * 39 + ["good film bad movie " * 5]
    examples = Examples.from_lists(texts, ["a", "b"] * 20)
    model = build(bert_still, tt.tasks.Classification(["a", "b"]))
    made = few_shot.Contrast(model, model.cut(examples), 0)
    ids = made._cut()["input_word_ids"]
    lengths = ids.row_lengths().numpy()
    assert lengths.max() == few_shot._LEAST_LENGTH
    whole, _ = model.preprocessor.encode_and_count(examples.texts)
    assert ids[-1][-1] == whole["input_word_ids"][-1][-1]  # [SEP] is still there
    assert model.sequence_length == 24


def test_several_labels_heads_that_read_tokens_and_still_encoders_are_refused(
    text_encoder: Path, text_encoder_frozen: Path, bert_still: Path, splits: Any
) -> None:
    still = build(text_encoder_frozen)
    with pytest.raises(tt.InputError, match="trains the encoder; leave.*nothing can be"):
        few_shot.require(still, splits[0])
    several = build(text_encoder, tt.tasks.MultiLabel(["negative", "positive"]))
    with pytest.raises(tt.InputError, match="one class for each text; leave.*multi-label task"):
        few_shot.require(several, splits[0])
    reading = build(bert_still, pooling="attention")
    with pytest.raises(tt.InputError, match="own vectors of texts; leave.*pooling='attention'"):
        few_shot.require(reading, splits[0])


def test_pairs_streams_and_classes_of_one_are_refused(text_encoder: Path, splits: Any) -> None:
    pairs = Examples.from_lists(["a", "b"], ["x", "y"], ["c", "d"])
    model = build(text_encoder, tt.tasks.Classification(["x", "y"], pair=True))
    with pytest.raises(tt.InputError, match="single texts.*pairs"):
        few_shot.require(model, pairs)
    single = build(text_encoder, tt.tasks.Classification(["x", "y"]))
    for labels, told in (("xy", "2 classes, 1 at most"), ("xx", "1 class, 2 at most")):
        with pytest.raises(tt.InputError, match=told):
            few_shot.require(single, Examples.from_lists(["a", "b"], [*labels]))


def test_enough_texts_leave_it_out_with_a_word(
    text_encoder: Path,
    splits: Any,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(few_shot, "FEW", 14)
    history = tuned(build(text_encoder), splits, "auto", verbose=1)
    assert "left out: it is for fewer than 14 training texts a class. Received: 14" in (
        capsys.readouterr().out
    )
    assert "few_shot" not in history.plan
    with pytest.raises(tt.InputError, match="must be one of auto, on, off"):
        few_shot.first("yes")


@pytest.mark.slow
@pytest.mark.exhaustive  # the guide has such a command, which is tried
def test_the_command_names_both_numbers(
    text_encoder: Path, splits: Any, run: Any, tmp_path: Path
) -> None:
    data = tmp_path / "data.jsonl"
    rows = zip([*splits[0].texts[0], *splits[1].texts[0]], [*splits[0].labels, *splits[1].labels])
    data.write_text("".join(json.dumps({"text": t, "label": y}) + "\n" for t, y in rows))
    words = ["train", "--task", "classification", "--data", data, "--encoder", text_encoder]
    words += ["--output", tmp_path / "out", "--unfreeze", "none", "--few-shot"]
    code, out, err = run(*words, "auto")
    assert code == 0, err
    # On a screen it is wrapped.
    assert "by cross-validation on the training labels; kept with" in " ".join(out.split())
    record = json.loads((tmp_path / "out" / "training.json").read_text())
    assert record["arguments"]["few_shot"] == "auto"
    assert record["outcomes"][0]["stage"] == "few_shot"
    page = (tmp_path / "out" / "report" / "report.html").read_text()
    assert "by cross-validation on the training labels" in page
    code, out, err = run(*words, "on", "--quick", "--overwrite")
    assert code == 2 and "--quick and --few-shot on" in err
