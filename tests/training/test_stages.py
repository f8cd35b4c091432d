"""A training is a list of stages: own ones among them, and each may be the first of a later run."""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

import tfhub_transfer as tt
from tfhub_transfer.models import compiling
from tfhub_transfer.optimization import optimizers
from tfhub_transfer.tasks.objective import Objective
from tfhub_transfer.training import finetuning, judging
from tfhub_transfer.training.stages import Training


@pytest.fixture(scope="module")
def splits(sentiment: Any) -> tuple[Any, Any]:
    examples = tt.data.Examples.from_lists(*sentiment)
    return examples[:28], examples[28:]


def build(folder: Path, several: bool = False, **head: Any) -> Any:
    tt.runtime.seed_everything(7)
    task: Any = tt.tasks.Classification(["negative", "positive"])
    if several:
        task = {"one": task, "two": tt.tasks.Classification(["negative", "positive"])}
    return tt.build_model(str(folder), task, tt.Head(**head), sequence_length=24)


def given(model: Any, splits: Any) -> Any:
    if isinstance(model, tt.MultiTaskModel):
        return [{"one": split, "two": split[::2]} for split in splits]
    return splits


PLAN = tt.Plan(verbose=0, seed=3, head_epochs=3, unfreezing_epochs=1.0)


class Polishing(tt.Stage):
    """Trains the head once more."""

    name = "polishing"

    def run(self, training: Training) -> float:
        training.model.encoder.trainable = False
        batches = training.model.preprocess(training.train, 8, seed=1)
        return training.fit(self, batches, epochs=2)


class Ruining(tt.Stage):
    """Leaves other weights than it found, and doesn't say what they are worth."""

    name = "ruining"

    def run(self, training: Training) -> None:
        for weight in training.model.trainable_weights:
            weight.assign(-weight.value)


class Noting(tt.Stage):
    """Looks at the model between two stages."""

    def __init__(self, name: str) -> None:
        self.name = name

    def run(self, training: Training) -> float:
        self.found = training.judge()
        self.history = [outcome.stage for outcome in training.history.outcomes]
        return self.found


class Counting(keras.callbacks.Callback):
    """The epochs that it is told of."""

    def __init__(self) -> None:
        super().__init__()
        self.epochs: list[int] = []

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        self.epochs.append(epoch)


# To go on later ----------------------------------------------------------------------------------


def prepared(model: Any, splits: Any, counting: Counting) -> Training:
    usual = [*finetuning.usual_stages(model, 1, 3, 8), Polishing()]
    return finetuning.prepare(model, *given(model, splits), PLAN, usual, counting)


def arrays(model: Any) -> list[np.ndarray]:
    every = (*model.weights, *model.optimizer.variables)
    return [keras.ops.convert_to_numpy(v.value) for v in every]


@pytest.mark.parametrize(
    ("kind", "several", "pooling"),
    [
        ("text_encoder", False, "auto"),
        pytest.param("bert_still", False, "attention", marks=pytest.mark.slow),
        pytest.param("bert_still", True, "auto", marks=pytest.mark.slow),
    ],
)
def test_each_stage_in_a_fresh_training_is_the_whole_to_the_bit(
    kind: str, several: bool, pooling: str, make_encoder: Any, splits: Any, tmp_path: Path
) -> None:
    """With dropout in the head, whose random numbers go on; as a killed run goes on from files."""

    def start() -> Any:
        return build(make_encoder(kind), several, dropout=0.3, pooling=pooling)

    heard = Counting()
    whole = prepared(start(), splits, heard)
    while whole.advance():
        pass
    model, state = start(), None
    told: list[int] = []
    for place in range(len(whole.stages)):
        counting = Counting()
        training = prepared(model, splits, counting)
        if state is not None:
            training.restore(state)
        assert training.done == place and training.advance()
        written = json.dumps(training.state())
        state = json.loads(written)
        model.save(tmp_path / f"{place}.keras")
        model = tt.load_model(tmp_path / f"{place}.keras")
        told += counting.epochs
    assert not training.advance()
    for one, other in zip(arrays(whole.model), arrays(model), strict=True):
        np.testing.assert_array_equal(one, other)
    assert told == heard.epochs == list(range(len(heard.epochs)))
    assert training.worth == whole.worth is not None
    for name in ("history", "outcomes", "thawed_groups", "plan", "best_epoch", "truncation"):
        assert getattr(training.history, name) == getattr(whole.history, name), name
    assert [*training.history.tasks] == (["one", "two"] if several else [])
    spent = training.history.seconds
    assert spent.keys() == whole.history.seconds.keys() and min(spent.values()) > 0


def test_callbacks_that_come_later_count_on(text_encoder: Path, splits: Any) -> None:
    first = finetuning.prepare(build(text_encoder), *splits, PLAN, [*usual(text_encoder)])
    assert first.advance()
    again = prepared_alike(text_encoder, splits, counting := Counting())
    again.restore(json.loads(json.dumps(first.state())))
    again.advance()
    assert counting.epochs == [3, 4, 5]


def usual(folder: Path) -> list[tt.Stage]:
    return finetuning.usual_stages(build(folder), 1, 3, 8)


def prepared_alike(folder: Path, splits: Any, callbacks: Any = None, **head: Any) -> Training:
    model = build(folder, **head)
    return finetuning.prepare(model, *splits, PLAN, usual(folder), callbacks)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda state: state.pop("worth"), "Received: it, with or without worth"),
        (lambda state: state.update(newer=1), "Received: it, with or without newer"),
        (lambda state: state.update(done=3), "Received: how many stages are over, 3"),
        (lambda state: state.update(done=True), "Received: how many stages are over, True"),
        (lambda state: state.update(worth="a"), "Received: what the model is worth, a"),
        (lambda state: state.update(stages=["head"]), "Received: its stages"),
        (lambda state: state.update(past_epochs=None), "Received: its epochs, None"),
        (lambda state: state.update(schedule=[1]), r"Received: its schedule, \[1\]"),
        (lambda state: state.update(random="x"), "Received: its random numbers, x"),
        (lambda state: state["history"].pop("outcomes"), "its history, with or without outcomes"),
        (lambda state: state["history"]["outcomes"][0].update(a=1), "one of its outcomes, with"),
        (lambda state: state["stages"].update(head={}), "Received: what the stage 'head' left"),
        (lambda state: state.update(schedule=None), "of one with a rate by warm-up: False, not"),
        (lambda state: state.update(random=[]), r"of one with random layers: \[\], not \[\(2"),
        (
            lambda state: state["history"]["plan"].update(judged_by={"metric": "val_loss"}),
            "a state of one judged by: {'metric': 'val_loss'}, not {'metric': 'val_acc",
        ),
        (
            lambda state: state.update(order=state["order"][::-1]),
            "head, fine_tuning. Received: a state of fine_tuning, head",
        ),
        (lambda state: state.update(order=None), "Received: the order of its stages, None"),
        (lambda state: state["history"].update(plan=[]), r"the plan of its history, \[\]"),
        (lambda state: state["history"].update(truncation=3), "what its history left, TypeError"),
        (lambda state: state.update(random=[[[1], [1, 2]]]), "what the random numbers left"),
    ],
)
def test_what_is_no_state_of_such_a_training_is_refused_in_one_line(
    change: Any, message: str, text_encoder: Path, splits: Any, trained_head: Any
) -> None:
    training, state = trained_head
    given = json.loads(state)
    change(given)
    with pytest.raises(tt.InputError, match=message) as caught:
        training.restore(given)
    assert "\n" not in str(caught.value)
    with pytest.raises(tt.InputError, match="gave, or train anew. Received: it, None"):
        training.restore(None)
    assert (training.done, training.worth, training.history.outcomes) == (0, None, [])


@pytest.fixture(scope="module")
def trained_head(make_encoder: Any, splits: Any) -> tuple[Training, str]:
    """A training that hasn't begun, and the state of one after its head."""
    folder = make_encoder("text_encoder")
    first, second = (prepared_alike(folder, splits, dropout=0.3) for _ in range(2))
    first.advance()
    return second, json.dumps(first.state())


def test_what_a_training_is_worth_goes_on(text_encoder: Path, splits: Any) -> None:
    first = prepared(build(text_encoder), splits, Counting())
    first.advance()
    again = prepared(build(text_encoder), splits, Counting())
    # The order of stages isn't that of keys.
    again.restore(json.loads(json.dumps(first.state(), sort_keys=True)))
    assert again.worth == first.worth is not None
    assert again.history.outcomes == first.history.outcomes
    drawn = first.state()["random"]
    assert again.state()["random"] == drawn and any(step for _, step in drawn)
    first.advance()
    again.restore(first.state())
    sizes = [optimizers.rate(each.model.optimizer).get_config() for each in (first, again)]
    assert sizes[0] == sizes[1] and sizes[0]["total_steps"] > 0


# Stages of one's own -----------------------------------------------------------------------------


def trained(model: Any, splits: Any, stages: Any, **more: Any) -> Any:
    plan = tt.Plan(verbose=0, seed=3, head_epochs=3, stages=stages)
    return tt.fine_tune(model, *given(model, splits), 3, 1, plan=plan, **more)


@pytest.mark.slow
def test_a_stage_that_does_nothing_changes_nothing(text_encoder: Path, splits: Any) -> None:
    models = [build(text_encoder) for _ in range(2)]

    def among(usual: list[tt.Stage]) -> Iterable[tt.Stage]:
        assert [stage.name for stage in usual] == ["head", "fine_tuning"]
        yield from (Noting("first"), usual[0], Noting("second"), usual[1], Noting("last"))

    plain, other = (trained(m, splits, s) for m, s in zip(models, (None, among)))
    for one, another in zip(*(m.get_weights() for m in models), strict=True):
        np.testing.assert_array_equal(one, another)
    assert plain.history == other.history and plain.outcomes == other.outcomes


def test_a_stage_of_ones_own_is_as_the_usual_ones(
    text_encoder: Path, splits: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    model, counting = build(text_encoder, dropout=0.0), Counting()
    plan = tt.Plan(verbose=1, head_epochs=3, stages=lambda usual: [*usual, Polishing()])
    history = tt.fine_tune(model, *splits, 3, 1, plan=plan, callbacks=counting)
    assert counting.epochs == list(range(3 + 3 + 2))
    assert {len(values) for values in history.history.values()} == {8}
    last = history.outcomes[-1]
    assert (last.stage, last.epochs, last.before) == ("polishing", 2, history.outcomes[-2].value)
    assert last.value >= last.before
    assert "polishing" in history.seconds and history.plan["polishing"]["epochs"] == 2
    said = capsys.readouterr().out
    assert "polishing: kept " in " ".join(said.split())
    rows = [line.split()[:2] for line in str(history).splitlines()]
    rows = [row for row in rows if row[-1].isdigit()]
    assert rows[3:] == [
        *(["thawed", str(number)] for number in (1, 2, 3)),
        *(["polishing", str(number)] for number in (1, 2)),
    ]
    if last.epoch is not None:
        assert history.best_epoch == 3 + 3 + last.epoch - 1
    found = model.evaluate(model.preprocess(splits[1], shuffle=False), verbose=0, return_dict=True)
    assert found["accuracy"] == pytest.approx(history.history["val_accuracy"][history.best_epoch])


@pytest.mark.parametrize("several", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_what_a_stage_leaves_is_measured_before_the_next(
    several: bool, text_encoder: Path, splits: Any
) -> None:
    """Also between the heads of several tasks and what tells their mean."""
    model, look = build(text_encoder, several), Noting("look")

    def among(usual: list[tt.Stage]) -> list[tt.Stage]:
        heads = 2 if several else 1
        return [*usual[:heads], Ruining(), *usual[heads:-1], usual[-1]]

    history = trained(model, splits, among)
    *heads, thawed = history.outcomes
    value = np.mean([outcome.value for outcome in heads])
    # Of two classes the wrong answers are now the right ones.
    assert thawed.stage == "fine_tuning" and thawed.before == pytest.approx(1 - value)
    assert thawed.value >= thawed.before
    trained(build(text_encoder, several), splits, lambda usual: [*among(usual)[:-1], look])
    assert look.found == thawed.before


class Telling(tt.Stage):
    """Says what it is told to say."""

    name = "telling"

    def __init__(self, said: Any) -> None:
        self.said = said

    def run(self, training: Training) -> Any:
        return self.said(training, self) if callable(self.said) else self.said


@pytest.mark.parametrize("said", [0.5, np.float32(0.5), np.array(0.5), keras.ops.array(0.5)])
def test_what_a_stage_says_is_a_number(said: Any, text_encoder: Path, splits: Any) -> None:
    training = finetuning.prepare(build(text_encoder), *splits, PLAN, [Telling(said)])
    training.advance()
    assert (
        type(training.worth) is float and json.loads(json.dumps(training.state()))["worth"] == 0.5
    )


def batches(training: Training) -> Any:
    return training.model.preprocess(training.train, 8)


@pytest.mark.parametrize(
    ("said", "message"),
    [
        (
            "0.5",
            "a number as `fit` of a training gives it.*Received: '0.5' from the stage 'telling'",
        ),
        (True, "Received: True from the stage 'telling'"),
        ([0.5], r"Received: \[0.5\] from"),
        (lambda training, stage: training.fit(stage, batches(training), 0), "`epochs` must be a"),
        (lambda training, stage: training.fit(stage, training.train, 1), "Received: Rows"),
        (
            lambda training, stage: training.fit(stage, batches(training).repeat(), 1),
            "batches of which there is an end",
        ),
        (
            lambda training, stage: training.fit(stage, batches(training).take(0), 1),
            "batches of which there is an end",
        ),
        (lambda training, stage: training.part("one"), "of several tasks each has a part"),
    ],
)
def test_what_a_stage_does_wrong_is_said_in_one_line(
    said: Any, message: str, text_encoder: Path, splits: Any
) -> None:
    training = finetuning.prepare(build(text_encoder), *splits, PLAN, [Telling(said)])
    with pytest.raises(tt.InputError, match=message) as caught:
        training.advance()
    assert "\n" not in str(caught.value) and training.done == 0


def test_a_usual_stage_may_be_left_out(text_encoder: Path, splits: Any) -> None:
    model = build(text_encoder)
    before = model.evaluate(model.preprocess(splits[1], shuffle=False), verbose=0, return_dict=True)
    history = trained(model, splits, lambda usual: usual[1:])
    [only] = history.outcomes
    assert only.stage == "fine_tuning" and only.before == pytest.approx(before["accuracy"])
    assert history.head_epochs == 0 and len(history.history["loss"]) == 3


def test_stages_are_stages_with_names(text_encoder: Path, splits: Any) -> None:
    model = build(text_encoder)
    for stages, message in (
        (lambda usual: [*usual, *usual], "each stage needs a `name` of its own.*'head', 'fine_tun"),
        (lambda usual: [Noting("a b")], "each stage needs a `name` of its own.*Received: 'a b'"),
        (lambda usual: [Noting(3)], "each stage needs a `name` of its own.*Received: 3"),  # type: ignore[arg-type]
        (lambda usual: [Noting], "`stages` must be a function that gives stages.*Received: <class"),
        (lambda usual: [], "`stages` must be a function that gives stages"),
        (lambda usual: None, "`stages` must be a function that gives stages.*Received: None"),
        ([Noting("look")], "`stages` must be a function that gives stages"),
    ):
        with pytest.raises(tt.InputError, match=message):
            trained(model, splits, stages)
    training = prepared(model, splits, Counting())
    other = finetuning.prepare(model, *splits, PLAN, [Noting("look")])
    with pytest.raises(
        tt.InputError, match="head, fine_tuning, polishing. Received: a state of look"
    ):
        training.restore(other.state())


# What is learned ---------------------------------------------------------------------------------


class Inverted(Objective):
    """Learns the opposite."""

    def encode(self, labels: Any) -> np.ndarray:
        return 1 - np.asarray(super().encode(labels))


def test_a_recipe_wraps_the_objective(text_encoder: Path, splits: Any) -> None:
    model = build(text_encoder)
    loss, monitor = type(model.loss), judging.monitor(model)
    with compiling.learning(model, Inverted(model.task)):
        assert judging.monitor(model) == monitor
        history = trained(model, splits, None)
    assert type(model.layout.objective) is Objective and type(model.loss) is loss
    found = model.evaluate(model.preprocess(splits[1], shuffle=False), verbose=0, return_dict=True)
    # What was right to it is wrong to the task.
    assert found["accuracy"] == pytest.approx(1 - history.outcomes[-1].value)
