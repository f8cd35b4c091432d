"""The examples in docstrings run, and give what they say."""

import doctest
import importlib
import pkgutil
from collections.abc import Iterator
from typing import Any

import keras_tuner
import numpy as np
import pytest
import tensorflow as tf

import tfhub_transfer as tt
from tfhub_transfer.recipes import students
from tfhub_transfer.storage import names as names_of_storage

_FLAGS = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE


def _found() -> dict[str, doctest.DocTest]:
    modules = [m.name for m in pkgutil.walk_packages(tt.__path__, "tfhub_transfer.")]
    found: dict[str, doctest.DocTest] = {}
    for name in modules:
        if not name.endswith(("__main__", "saved_models")):
            tests = doctest.DocTestFinder(exclude_empty=True).find(importlib.import_module(name))
            found |= {test.name: test for test in tests if test.examples}
    return found


FOUND = _found()
# They train or export.
LONG = """fine_tune ProgressiveUnfreezing distill distill_encoder precision export_saved_model
export_litert load_saved_model make_student""".split()
NAMES = [
    pytest.param(name, marks=pytest.mark.slow) if name.rpartition(".")[2] in LONG else name
    for name in FOUND
]


class _Quick(keras_tuner.RandomSearch):
    """A tuner whose trials train nothing."""

    def run_trial(self, trial: Any, *given: Any, **more: Any) -> float:
        return float(trial.hyperparameters.values["dropout"])


def _searched() -> keras_tuner.Tuner:
    objective = keras_tuner.Objective("val_accuracy", "max")
    tuner = _Quick(lambda hp: hp.Float("dropout", 0.0, 0.5), objective, 2, directory="search")
    tuner.search(verbose=0)
    return tuner


@pytest.fixture(scope="module")
def names(sentiment: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Any]]:
    """What examples take for granted: a model, splits, files in the current folder."""
    folder = tmp_path_factory.mktemp("docstrings")
    texts, labels = sentiment
    lines = [f'"{text}",{label}' for text, label in zip(texts, labels)]
    (folder / "reviews.csv").write_text("\n".join(["review,sentiment", *lines]), encoding="utf-8")
    (folder / "encoders").mkdir()
    (folder / "encoders" / "minilm").symlink_to(tt.registry.resolve("auto"))
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        examples = tt.data.read("reviews.csv", text="review", label="sentiment")
        train, validation, test = tt.data.split(examples, seed=7)
        task = tt.tasks.Classification().adapt(train.labels)
        model = tt.build_model("auto", task)
        (folder / "out").mkdir()
        model.save("out/model.keras")
        public = {name: getattr(tt, name) for name in tt.__all__ if name != "__version__"}
        yield {
            **{name: getattr(tt.tasks, name) for name in tt.tasks.__all__},
            **public,
            "names": names_of_storage,
            **{"tt": tt, "np": np, "tf": tf, "students": students},
            **{"examples": examples, "train": train, "validation": validation, "test": test},
            **{"task": task, "model": model, "encoder": model.encoder},
            **{"large": model, "small": tt.build_model("auto", task), "more_texts": texts[:4]},
            "tuner": _searched(),
            "texts": [f"{text} {number}" for text in texts for number in range(3)],
        }


class _ProgressAside(doctest.OutputChecker):
    """What training shows on the way needn't stand in an example."""

    def check_output(self, want: str, got: str, optionflags: int) -> bool:
        return not want or super().check_output(want, got, optionflags)


# What an example needs that isn't there without an extra.
EXTRAS = {"export_onnx": "tf2onnx"}


@pytest.mark.parametrize("name", NAMES)
def test_examples_give_what_they_say(name: str, names: dict[str, Any]) -> None:
    if needed := EXTRAS.get(name.rpartition(".")[2]):
        pytest.importorskip(needed, reason=f"needs {needed}: an extra")
    test, report = FOUND[name], []
    test.globs = {**names, **test.globs}
    checker = _ProgressAside() if name.rpartition(".")[2] in LONG else None
    runner = doctest.DocTestRunner(checker, verbose=False, optionflags=_FLAGS)
    result = runner.run(test, out=report.append)
    assert result.attempted and not result.failed, "".join(report)


def test_there_are_many() -> None:
    assert len(FOUND) > 50
