"""Each of several tasks trained alone too: what sharing an encoder was worth to it."""

import dataclasses
import gc
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import keras

from tfhub_transfer import runtime
from tfhub_transfer.data import Examples
from tfhub_transfer.errors import InputError, one_line, visible
from tfhub_transfer.evaluation.measuring import Report, evaluate
from tfhub_transfer.incoming.wording import wrapped
from tfhub_transfer.jobs import run_records
from tfhub_transfer.jobs.three_splits import Splits
from tfhub_transfer.models.encoding import Record
from tfhub_transfer.models.transfer import TransferModel
from tfhub_transfer.reporting.joint_reports import JointReport
from tfhub_transfer.storage import atomic, signals
from tfhub_transfer.tasks import MultiTask, Task
from tfhub_transfer.training.finetuning import History


@dataclasses.dataclass(frozen=True)
class Trainer:
    """How one task is trained alone: as all together were.

    Attributes:
        task: The tasks.
        build: Makes a model of a task, on an encoder of its own, as it was before any training.
        fit: Trains a model on training and validation examples.
        seed: What everything starts from.
    """

    task: MultiTask
    build: Callable[[Task], TransferModel]
    fit: Callable[[TransferModel, Examples, Examples], History]
    seed: int


def compare(
    report: JointReport,
    record: Record,
    splits: Mapping[str, Splits],
    trainer: Trainer,
    place: Path,
) -> None:
    """Trains each task alone, and adds to the report on all together what it reached.

    Whatever ends it early, the report has what was done by then.

    Args:
        report: The report, which is written by now, as is the model.
        record: What is remembered of the training; what there is to say of each is added.
        splits: Those of each task.
        trainer: What trains one.
        place: The file of the record. It is written anew, and `report` beside it.
    """
    told = record["alone"] = {}
    _say(f"Training each of {len(splits)} tasks alone, to compare")
    try:
        for name, found, known in _each(trainer, splits):
            told[name] = known
            if found is None:
                said = f"{name}: not trained alone: {known['failed']}"
                report.notes.append(said)
            else:
                report.compare({name: found})
                said = report.sharing()[name]
            _say(said)
    except (Exception, KeyboardInterrupt) as error:
        what = "interrupted" if isinstance(error, KeyboardInterrupt) else "it failed"
        done = ", ".join(report.alone) or "none of them"
        line = f"the model of all tasks is whole in {place.parent}; trained alone too: {done}"
        print(visible(f"\n{what}: {line}"), file=sys.stderr)
        raise
    finally:
        with signals.held():
            files = {f"report/{name}": content for name, content in report.files().items()}
            files[place.name] = run_records.as_text(record).encode("utf-8")
            atomic.files(place.parent, files)


def _each(
    trainer: Trainer, splits: Mapping[str, Splits]
) -> Iterator[tuple[str, Report | None, dict[str, object]]]:
    """The name, report and record of each task; no report if what it was given can't train it."""
    for name, single in trainer.task.tasks.items():
        _say(f"{name} alone:")
        # As all together began, whatever was trained before.
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
            "plan": history.plan,
            "outcomes": [dataclasses.asdict(outcome) for outcome in history.outcomes],
        }
        del model, history
        gc.collect()  # its graphs go in circles
        yield name, report, record


def _fresh(task: Task) -> Task:
    """The same task, apart from the one that another model is tuned with."""
    return keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(task))


def _say(text: str) -> None:
    print(visible(wrapped(text)), flush=True)
