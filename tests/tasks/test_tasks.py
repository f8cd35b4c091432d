"""Labels to arrays, scores to answers."""

import keras
import numpy as np
import pytest

import tfhub_transfer as tt
from tfhub_transfer.tasks import TASKS, Classification, Head, MultiLabel, Regression
from tfhub_transfer.tasks.scales import ScaledSquaredError
from tfhub_transfer.tasks.whole.task import SmoothedCrossentropy


def test_classification_learns_sorted_names() -> None:
    task = Classification().adapt(["b", "a", "b"])
    assert task.class_names == ["a", "b"]
    assert task.encode(["b", "a"]).tolist() == [1, 0]
    assert task.decode(np.array([[0.25, 0.75]])) == [
        {"label": "b", "scores": {"a": 0.25, "b": 0.75}}
    ]


def test_numbers_as_labels_are_one_class_however_written() -> None:
    task = Classification().adapt([10, 9.0, "2", "10"])
    assert task.class_names == ["2", "9", "10"]
    assert task.encode(["9", 10.0]).tolist() == [1, 2]


def test_given_names_win() -> None:
    task = Classification(["x", "y"]).adapt(["y", "x", "y"])
    assert task.class_names == ["x", "y"]


def test_multi_label_reads_lists_and_strings() -> None:
    task = MultiLabel().adapt(["joy|anger", ["joy"], ""])
    assert task.class_names == ["anger", "joy"]
    assert task.encode(["joy|anger", ["joy"], ""]).tolist() == [[1, 1], [0, 1], [0, 0]]
    assert task.decode(np.array([[0.5, 0.1]]))[0]["labels"] == ["anger"]


def test_regression_standardises_and_answers_in_raw_units() -> None:
    task = Regression().adapt([1, "3", 5.0])
    assert (task.mean, task.deviation) == (3.0, pytest.approx(np.std([1, 3, 5])))
    inputs = keras.Input((4,))
    model = keras.Model(inputs, task.outputs(inputs, Head()))
    model.get_layer("scores").set_weights([np.zeros((4, 1)), np.array([2.0])])
    answer = model(np.ones((3, 4))).numpy()
    np.testing.assert_allclose(answer, np.full((3, 1), 3 + 2 * task.deviation), rtol=1e-6)
    assert task.decode(answer[:1]) == [{"score": pytest.approx(float(answer[0, 0]))}]


def test_losses_equal_their_definitions() -> None:
    scores = np.array([[0.7, 0.3], [0.4, 0.6]], "float32")
    smoothed = SmoothedCrossentropy(0.2)(np.array([0, 1]), scores).numpy()
    by_hand = -np.mean(
        [0.9 * np.log(0.7) + 0.1 * np.log(0.3), 0.1 * np.log(0.4) + 0.9 * np.log(0.6)]
    )
    assert smoothed == pytest.approx(by_hand, rel=1e-5)
    squared = ScaledSquaredError(2.0)(np.array([1.0, 3.0]), np.array([[2.0], [7.0]])).numpy()
    assert squared == pytest.approx(((1 / 2) ** 2 + (4 / 2) ** 2) / 2)


@pytest.mark.parametrize(
    "task",
    [
        Classification(["a", "b"], pair=True, label_smoothing=0.1),
        MultiLabel(["a", "b"], threshold=0.3),
        Regression(1.0, 2.0),
    ],
)
def test_config_round_trip(task: tt.tasks.Task) -> None:
    again = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(task))
    assert type(again) is type(task)
    assert again.get_config() == task.get_config()
    assert TASKS[task.name] is type(task)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: Classification().adapt(["a", "a"]), r"at least two classes .*Received: \['a'\]"),
        (lambda: Classification().adapt(range(5000)), "use the regression task"),
        (lambda: Classification(["a", "a", "b"]), "class names must differ"),
        (
            lambda: Classification(["a", "b"]).encode(["c"]),
            "every class must be among `class_names`",
        ),
        (lambda: Classification().encode(["a"]), "doesn't know its labels"),
        (lambda: Classification(label_smoothing=1.0), "`label_smoothing` must be"),
        (lambda: MultiLabel(["a", "b"], threshold=0.0), "`threshold` must be"),
        (lambda: MultiLabel(["a", "b"]).encode(["a|z"]), r"Received: \['z'\]"),
        (lambda: Regression().adapt([1, 1]), "nothing to learn"),
        (lambda: Regression().adapt(["high"]), "needs finite numbers .*Received: 'high'"),
        (lambda: Regression(0.0, 1.0).encode([float("nan")]), "needs finite numbers"),
        (lambda: Head(pooling="max"), "`pooling` must be one of"),
        (lambda: Head(block="gru"), "`block` must be one of"),
        (lambda: Head(block="cnn", pooling="pooled_output"), "a block works on token vectors"),
        (lambda: Head(dropout=1.0), "`dropout` must be a number from 0 to below 1"),
        (lambda: Head(l2=-1.0), "`l2` must be a number from 0"),
    ],
)
def test_refusals(call: object, message: str) -> None:
    with pytest.raises(tt.InputError, match=message):
        call()  # type: ignore[operator]
