"""Each of several tasks trained alone too: what sharing an encoder was worth to it."""

import dataclasses
import gc
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import keras

from tfhub_transfer import runtime
from tfhub_transfer.errors import InputError, one_line, visible
from tfhub_transfer.evaluation import Report, evaluate
from tfhub_transfer.finetuning import History
from tfhub_transfer.joint_reports import JointReport
from tfhub_transfer.models import TransferModel
from tfhub_transfer.storage import interruption
from tfhub_transfer.tasks import MultiTask, Task


@dataclasses.dataclass(frozen=True)
class Trainer:
    """How one task is trained alone: as all together were.

    Attributes:
        build: Makes a model of a task, on an encoder of its own, as it was before any training.
        fit: Trains a model on training and validation examples.
        seed: What everything starts from.
    """

    build: Callable[[Task], TransferModel]
    fit: Callable[[TransferModel, Any, Any], History]
    seed: int


def compare(
    report: JointReport,
    task: MultiTask,
    splits: Mapping[str, Any],
    trainer: Trainer,
    place: Path,
    save: Callable[[dict[str, Any]], None],
) -> None:
    """Trains each task alone, and adds to the report on all together what it reached.

    Whatever ends it early, the report has what was done by then.

    Args:
        report: The report, which is written by now, as is the model.
        task: The tasks.
        splits: For each name `train`, `validation` and `test` examples.
        trainer: What trains one.
        place: The folder of the model.
        save: Writes the report there anew, and what there is to remember of each task, by name.
    """
    told: dict[str, Any] = {}
    _say(f"Training each of {len(splits)} tasks alone, to compare")
    try:
        for name, found, record in _each(task, splits, trainer):
            told[name] = record
            if found is None:
                report.notes.append(f"{name}: not trained alone: {record['failed']}")
            else:
                report.compare({name: found})
            _say(report.sharing().get(name, report.notes[-1]))
    except (Exception, KeyboardInterrupt) as error:
        what = "interrupted" if isinstance(error, KeyboardInterrupt) else "it failed"
        done = ", ".join(report.alone) or "none of them"
        line = f"the model of all tasks is whole in {place}; trained alone too: {done}"
        print(visible(f"\n{what}: {line}"), file=sys.stderr)
        raise
    finally:
        with interruption.held():
            save(told)


def _each(
    task: MultiTask, splits: Mapping[str, Any], trainer: Trainer
) -> Iterator[tuple[str, Report | None, dict[str, Any]]]:
    """The name, report and record of each task; no report if what it was given can't train it."""
    for name, single in task.tasks.items():
        _say(f"{name} alone:")
        runtime.seed_everything(trainer.seed)
        started = time.perf_counter()
        try:
            model = trainer.build(_fresh(single))
            started = time.perf_counter()  # as the time of all together: without the building
            history = trainer.fit(model, splits[name].train, splits[name].validation)
        except InputError as error:
            spent = time.perf_counter() - started
            yield name, None, {"seconds": spent, "failed": one_line(str(error))}
            continue
        spent = time.perf_counter() - started
        report = evaluate(model, splits[name].test, train=splits[name].train, baselines=False)
        report.seconds["training"] = spent
        record = {
            "seconds": spent,
            "metrics": report.metrics,
            "history": model.history_,
            "outcomes": [dataclasses.asdict(outcome) for outcome in history.outcomes],
        }
        del model, history
        gc.collect()  # its graphs go in circles
        yield name, report, record


def _fresh(task: Task) -> Any:
    """The same task, apart from the one that another model is tuned with."""
    return keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(task))


def _say(text: str) -> None:
    print(visible(text), flush=True)
