"""Numbers in every form that people give them: right, or one line."""

import dataclasses
import decimal
import inspect
import math
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tfhub_transfer as tt
from tfhub_transfer import cli
from tfhub_transfer.callbacks import best_weights
from tfhub_transfer.encoders import conversion
from tfhub_transfer.incoming import ranges
from tfhub_transfer.optimization import schedules
from tfhub_transfer.recipes import distillation, encoder_distillation, students
from tfhub_transfer.recipes.encoder_distillation import Schedule as EncoderSchedule
from tfhub_transfer.training import stages

ODD = [True, None, "", "x", "²", "٣", "3.0", "1_0", "0x3", 1.5, 3.0, math.nan, math.inf, [3], b"3"]
HUGE = ["999999999999999999999", "9" * 5000, 10**400, -1, 0, "-1", np.int64(-5)]


@pytest.mark.parametrize("value", [*ODD, *HUGE], ids=lambda value: repr(value)[:24])
def test_what_is_no_whole_number_in_range_is_refused(value: Any) -> None:
    with pytest.raises(tt.InputError, match="`epochs` must be a whole number from 1 to 100,000"):
        ranges.whole_number("epochs", value, *ranges.EPOCHS)


@pytest.mark.parametrize("value", [3, np.int32(3), np.uint8(3), "3", " 3 ", "+3", "03"])
def test_a_whole_number_in_any_form_is_an_int(value: Any) -> None:
    found = ranges.whole_number("epochs", value, *ranges.EPOCHS)
    assert (found, type(found)) == (3, int)


@pytest.mark.parametrize(
    "value",
    ["inf", "nan", "-1", "0", "1e30", "1e400", "x", "", True, None, 10**400, 1001, [1.0], 1j],
    ids=lambda value: repr(value)[:24],
)
def test_what_is_no_rate_is_refused(value: Any) -> None:
    with pytest.raises(tt.InputError, match="`rate` must be a number above 0, up to 1000"):
        ranges.real_number("rate", value, *ranges.LEARNING_RATE)


@pytest.mark.parametrize("value", [0.5, "0.5", "5e-1", np.float32(0.5), np.float64(0.5)])
def test_a_rate_in_any_form_is_a_float(value: Any) -> None:
    found = ranges.real_number("rate", value, *ranges.LEARNING_RATE)
    assert (found, type(found)) == (0.5, float)


def test_a_bound_may_belong_to_its_range() -> None:
    assert ranges.real_number("temperature", 1, *ranges.TEMPERATURE, closed=True) == 1.0
    with pytest.raises(tt.InputError, match="from 1 to 1000"):
        ranges.real_number("temperature", 0.99, *ranges.TEMPERATURE, closed=True)
    with pytest.raises(tt.InputError, match="must be a number"):
        ranges.real_number("temperature", decimal.Decimal("nan"), *ranges.TEMPERATURE)


TRAIN = ("train", "--task", "classification", "--data", "none.csv", "--output", "out")
DISTILL = ("distill", "teacher", "--data", "none.csv", "--output", "out")


@pytest.mark.parametrize(
    ("words", "option", "value"),
    [
        (TRAIN, "--epochs", "999999999999999999999"),
        (TRAIN, "--epochs", "1.5"),
        (TRAIN, "--batch-size", "²"),
        (TRAIN, "--learning-rate", "inf"),
        (TRAIN, "--learning-rate", "1e30"),
        (TRAIN, "--sequence-length", "1000000000"),
        (TRAIN, "--seed", "18446744073709551616"),
        (DISTILL, "--temperature", "nan"),
        (DISTILL, "--share", "0"),
        (DISTILL, "--layers", "0"),
        (DISTILL, "--hidden", "-1"),
        (DISTILL, "--vocabulary", "1e5"),
        (("convert", "x", "--output", "out"), "--dimension", "0"),
    ],
)
def test_options_are_read_in_one_line(
    words: tuple[str, ...], option: str, value: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main([*words, option, value]) == 2
    error = capsys.readouterr().err
    assert error.startswith(f"tfhub-transfer: error: `{option}` must be a ")
    assert f"Received: '{value}'" in error
    assert error.count("\n") == 1


def test_a_command_line_that_cannot_be_read_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["train", "--task", "\x1b[31m"]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1 and "\x1b" not in error
    assert "`tfhub-transfer train --help` lists what there is" in error


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: tt.Plan(learning_rate=math.inf), "`learning_rate`"),
        (lambda: tt.Plan(head_learning_rate="0"), "`head_learning_rate`"),
        (lambda: tt.Plan(head_epochs=0), "`head_epochs`"),
        (lambda: tt.Plan(patience=True), "`patience`"),
        (lambda: tt.Plan(unfreezing_epochs=0), "`unfreezing_epochs`"),
        (lambda: tt.Plan(layer_decay=1.1), "`layer_decay`"),
        (lambda: tt.Plan(seed=2**64), "`seed`"),
        (lambda: tt.ProgressiveUnfreezing(epochs_per_group=math.nan), "`epochs_per_group`"),
        (lambda: tt.ProgressiveUnfreezing(num_groups=1.5), "`num_groups`"),
        (lambda: tt.ProgressiveUnfreezing(start_epoch="a"), "`start_epoch`"),
        (lambda: distillation.Imitation(temperature=math.inf), "`temperature`"),
        (lambda: distillation.Imitation(share=math.nan), "`share`"),
        (lambda: encoder_distillation.Losses(sentence=math.nan), "`sentence`"),
        (lambda: EncoderSchedule(epochs=10**21), "`epochs`"),
        (lambda: EncoderSchedule(learning_rate=math.nan), "`learning_rate`"),
        (lambda: tt.runtime.seed_everything(1.5), "`seed`"),
        (lambda: tt.data.split(_examples(), (math.nan, 0.5)), "`fractions`"),
        (lambda: tt.data.split(_examples(), ("x", 0.5)), "`fractions`"),
        (lambda: tt.data.split(_examples(), 0.5), "expected a list"),
        (lambda: tt.data.stream("none.csv", chunk_rows=0), "`chunk_rows`"),
    ],
)
def test_settings_are_checked_when_they_are_made(make: Callable[[], Any], message: str) -> None:
    with pytest.raises(tt.InputError, match=message):
        make()


# Whatever of the public interface is made of plain settings; what else it must be given.
MADE: list[tuple[Callable[..., Any], dict[str, Any]]] = [
    (tt.Head, {}),
    (tt.Plan, {}),
    (tt.ProgressiveUnfreezing, {}),
    *((task, {}) for name, task in tt.tasks.TASKS.items() if name != "multi-task"),
    (tt.tasks.MultiTask, {"tasks": {"a": tt.tasks.Classification(["x", "y"])}}),
    (distillation.Imitation, {}),
    (encoder_distillation.Losses, {}),
    (EncoderSchedule, {}),
    (schedules.WarmUpLinearDecay, {"peak": 0.1}),
    (tt.convert, {"source": ".", "output": "out", "method": "static"}),
    (conversion.distill_static, {"source": ".", "output": "out"}),
    (conversion.convert_word_vectors, {"source": ".", "output": "out"}),
    (students.make_student, {"teacher": "none", "output": "out"}),
    (students.corpus_vocabulary, {"teacher": "none", "texts": ["a"]}),
    (tt.evaluate, {"model": None, "examples": None}),
    (tt.data.split, {"examples": None}),
    (tt.data.stream, {"source": "none.csv"}),
    (tt.runtime.seed_everything, {}),
]
NUMBERS = [
    (make, more, name)
    for make, more in MADE
    for name, parameter in inspect.signature(make).parameters.items()
    if re.search(r"\b(int|float)\b", str(parameter.annotation))
    and not re.search(r"[Mm]apping|dict|str|Sequence", str(parameter.annotation))
]


@pytest.mark.parametrize(
    ("make", "more", "name"), NUMBERS, ids=lambda value: getattr(value, "__name__", str(value)[:24])
)
def test_every_number_is_parsed(make: Any, more: dict[str, Any], name: str) -> None:
    for odd in ("x", "", True, math.nan, math.inf, [1], 10**400, "²", 1j, b"1"):
        with pytest.raises(tt.InputError, match=f"`{name}` must be a (whole )?number.* Received: "):
            make(**{**more, name: odd})


def test_the_numbers_that_were_open_are_found() -> None:
    found = {name for _, _, name in NUMBERS}
    assert {
        "dimension", "oov_buckets", "max_words", "size", "low", "high", "margin", "scale",
        "max_answer_words", "threshold", "label_smoothing", "dropout", "l2", "sentences",
    } <= found  # fmt: skip


def _examples() -> tt.data.Examples:
    return tt.data.Examples.from_lists(["a", "b"] * 10, ["x", "y"] * 10)


def test_settings_in_other_forms_are_plain_numbers() -> None:
    plan = tt.Plan(learning_rate=np.float32(0.5), head_epochs=np.int64(3), seed="7")
    assert [type(v) for v in (plan.learning_rate, plan.head_epochs, plan.seed)] == [float, int, int]
    assert dataclasses.replace(plan, seed=8).seed == 8


@pytest.fixture(scope="module")
def model(text_encoder: Path) -> Any:
    return tt.build_model(str(text_encoder), tt.tasks.Classification(["x", "y"]))


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"epochs": 1.5}, "`epochs` must be"),
        ({"epochs": True}, "`epochs` must be"),
        ({"batch_size": True}, "`batch_size` must be"),
        ({"batch_size": 8.0}, "`batch_size` must be"),
        ({"unfreeze": "²"}, "`unfreeze` must be none, auto, all or a number up to 1"),
        ({"unfreeze": True}, "`unfreeze` must be none"),
        ({"unfreeze": -1}, "`unfreeze` must be none"),
        ({"unfreeze": None}, "`unfreeze` must be none"),
    ],
)
def test_fine_tuning_takes_numbers(
    given: dict[str, Any], message: str, model: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stages.Training, "advance", lambda *args: pytest.fail("it trains"))
    with pytest.raises(tt.InputError, match=message):
        tt.fine_tune(model, _examples(), _examples(), **given)


def test_batch_sizes_of_answers_are_numbers(model: Any) -> None:
    for wrong in (0, True, "x", 1.5):
        with pytest.raises(tt.InputError, match="`batch_size` must be"):
            model.predict_scores(["a"], wrong)
        with pytest.raises(tt.InputError, match="`batch_size` must be"):
            model.preprocess(_examples(), wrong, shuffle=False)
    assert len(model.predict_scores(["a"], np.int64(1))) == 1


# A loss that is no number --------------------------------------------------------------------


def test_a_loss_that_is_no_number_stops_training_at_once() -> None:
    watch = best_weights.FiniteLoss()
    watch.on_train_begin()
    watch.on_epoch_begin(1)
    watch.on_train_batch_end(0, {"loss": 1.0})
    watch.on_epoch_end(0, {"loss": 1.0, "val_loss": 2.0})
    watch.on_epoch_end(0, {})
    with pytest.raises(tt.InputError, match="by step 4 of epoch 2.*lower the learning rate"):
        watch.on_train_batch_end(3, {"loss": math.nan})
    with pytest.raises(tt.InputError, match="at the end of epoch 1.*val_loss=inf"):
        watch.on_epoch_end(0, {"loss": 1.0, "val_loss": math.inf})


def test_a_gpu_is_seldom_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(best_weights.tf.config, "list_physical_devices", lambda kind: ["GPU"])
    watch = best_weights.FiniteLoss()
    watch.on_train_begin()
    watch.on_train_batch_end(15, {"loss": math.nan})
    with pytest.raises(tt.InputError, match="by step 17"):
        watch.on_train_batch_end(16, {"loss": math.nan})
