"""A translator that learns from texts of the target language too, as `--back-translate` asks."""

import copy
import dataclasses
from pathlib import Path
from typing import Any

from tfhub_transfer import data, progress, runtime
from tfhub_transfer.data import reading
from tfhub_transfer.encoders import registry
from tfhub_transfer.errors import InputError
from tfhub_transfer.evaluation.measuring import Report
from tfhub_transfer.incoming import wording
from tfhub_transfer.jobs.inputs import file_of, read_splits, undescribed
from tfhub_transfer.jobs.options.training import TrainJob
from tfhub_transfer.jobs.saying import say
from tfhub_transfer.jobs.three_splits import Splits
from tfhub_transfer.jobs.trainings import training
from tfhub_transfer.models.encoding import MODEL_FILE
from tfhub_transfer.models.transfer import TransferModel
from tfhub_transfer.recipes import back_translation
from tfhub_transfer.recipes.active_learning.pools import same
from tfhub_transfer.reporting.joint_reports import JointReport
from tfhub_transfer.runtime import cluster
from tfhub_transfer.tasks import TASKS, Task
from tfhub_transfer.training.finetuning import History, fine_tune

# The reverse model's folder, in that of the output.
REVERSE = "reverse"


def train(job: TrainJob) -> Report | JointReport | None:
    """As `training.train`; with synthetic pairs among those that teach, where a job asks for them.

    A reverse model, of targets to sources, learns from the training split, with the encoder frozen,
    and writes a source for each text of the file. Two models are trained then, with these pairs and
    without: the better one by the validation split is kept. Nothing synthetic judges or is measured
    on, and texts of the file are left out that are targets of validation or test.

    Args:
        job: What to do.

    Raises:
        InputError: As `training.train`; if the task writes no texts, the file has none, or an
            option is no use beside this.
    """
    if job.back_translate is None:
        return training.train(job)
    _require_possible(job)
    splits, _ = read_splits(job)
    assert isinstance(splits, Splits)
    both = _Both(job, unjudged(read_targets(job), splits))
    return training.train(job, both.fit, {REVERSE: both.write})


def _require_possible(job: TrainJob) -> None:
    kind = TASKS.get(job.task)
    if kind is None or kind.search is None:
        raise InputError(
            "`--back-translate` is for tasks that write texts, such as translation; leave it out. "
            f"Received: --back-translate {job.back_translate}, --task {job.task}"
        )
    odd = {"--refit": job.refit, "--weight": job.weight, "--workers": job.workers > 1}
    odd["several processes"] = cluster.place().count > 1
    for option, given in odd.items():
        if given:
            raise InputError(
                "`--back-translate` trains several models one after the other, in one process, on "
                f"pairs that count alike; leave one of both out. Received: {option}"
            )


@progress.stage("Reading texts of the target language", final=False)
def read_targets(job: TrainJob) -> list[str]:
    """The texts that a reverse model is to write sources of: of lines, or of a table's column.

    Args:
        job: What names the file, and the column of targets.

    Raises:
        InputError: If there are none.
    """
    assert job.back_translate is not None
    file = file_of(job, job.back_translate)
    if reading.may_be_lines(file):
        found: list[object] = [text for chunk in reading.line_chunks(file) for text in chunk]
    else:
        found = _column(job, file)
    texts = [text for text in found if isinstance(text, str) and text.strip()]
    if not texts:
        raise InputError(
            "expected texts of the target language, one a line, or in a table's column of targets. "
            f"Received: {job.back_translate} without any"
        )
    return texts


def unjudged(targets: list[str], splits: Splits) -> list[str]:
    """The texts that no example of validation or test has as a target: those it would know by then.

    Args:
        targets: Texts of the target language.
        splits: What is judged by and measured on.

    Raises:
        InputError: If all of them are such.
    """
    judged: set[str] = set()
    for label in (*splits.validation.labels, *splits.test.labels):
        judged.update(map(_folded, [label] if isinstance(label, str) else label))
    kept = [text for text in targets if _folded(text) not in judged]
    if not kept:
        raise InputError(
            "texts of the target language are to be others than the targets of validation and "
            f"test, which a model may not have seen; give more. Received: {len(targets):,} of them"
        )
    if left := len(targets) - len(kept):
        say(wording.wrapped(f"Left out, as targets of validation or test: {left:,} texts"))
    return kept


def _folded(text: object) -> str:
    return same(str(text))


def _column(job: TrainJob, file: data.File) -> list[object]:
    label = job.label if isinstance(job.label, str) else None
    usual = label or TASKS[job.task].usual_columns["label"]
    expected = (
        f"texts of the target language stand in a column called as that of the training, {usual}, "
        "or one a line of a file of another name, such as more.txt"
    )
    with undescribed(str(file), ("--text", "--label"), expected):
        table = reading.Table(file, reading.Asked(labels=False))
        column = table.require(usual, "texts of the target language")
        cells = [row.get(column) for _, row in table]
    # As a label may be a list of texts that are all right.
    return [text for cell in cells for text in (cell if isinstance(cell, list) else [cell])]


@dataclasses.dataclass
class _Both:
    """Trains with synthetic pairs and without.

    Attributes:
        job: What to do.
        targets: Texts of the target language.
        reverse: What wrote their sources, once it did.
    """

    job: TrainJob
    targets: list[str]
    reverse: TransferModel | None = None

    def fit(
        self,
        model: TransferModel,
        train: data.Examples,
        validation: data.Examples,
        **how: Any,
    ) -> History:
        """As `fine_tune`: leaves the better one's weights in the model."""
        plan = dataclasses.replace(how["plan"], log_dir=None)
        self.reverse = self._reversed(model.task, train, validation, plan)
        with progress.stage("Writing sources", len(self.targets), final=False):
            synthetic = back_translation.back_translate(self.reverse, self.targets)
        together = back_translation.with_synthetic(train, synthetic)
        say(f"With {len(synthetic):,} synthetic pairs beside {len(train):,}:")
        runtime.seed_everything(plan.seed)
        history = fine_tune(model, together, validation, **how)
        say("Without them, to compare:")
        other = self._another(copy.deepcopy(model.task), plan.seed)
        alone = {name: each for name, each in how.items() if name != "checkpoint"}
        without = fine_tune(other, train, validation, **{**alone, "plan": plan})
        return self._better((model, history), (other, without), validation, len(synthetic))

    def write(self, folder: Path) -> None:
        """Writes the reverse model as a folder that `predict` takes."""
        assert self.reverse is not None
        folder.mkdir()
        self.reverse.save(folder / MODEL_FILE)

    def _another(self, task: Task, seed: int) -> TransferModel:
        runtime.seed_everything(seed)
        return training.build_within(self.job, task, registry.source_of(self.job.encoder))

    def _reversed(
        self, task: Any, train: data.Examples, validation: data.Examples, plan: Any
    ) -> TransferModel:
        pairs, judged = map(back_translation.reversed_pairs, (train, validation))
        said = {"decoder_layers": task.decoder_layers, "label_smoothing": task.label_smoothing}
        own = type(task)(vocabulary_size=task.vocabulary_size, **said).adapt(pairs.labels)
        model = self._another(own, plan.seed)
        say("The reverse model, of targets to sources:")
        fine_tune(model, pairs, judged, unfreeze="none", batch_size=self.job.batch_size, plan=plan)
        return model

    def _better(
        self,
        synthetic: tuple[TransferModel, History],
        real: tuple[TransferModel, History],
        validation: data.Examples,
        count: int,
    ) -> History:
        """The history of the better one, whose weights the first model has then."""
        name = synthetic[0].task.monitor[0].removeprefix("val_")
        first, second = (_measured(model, validation, name) for model, _ in (synthetic, real))
        # Of two that are alike the one that needs nothing else.
        won = first < second if synthetic[0].task.monitor[1] == "min" else first > second
        numbers = f"{name} {first:.4g} with {count:,} synthetic pairs, {second:.4g} without"
        told = f"back-translation: {numbers}, on validation; kept {'with' if won else 'without'}"
        say(wording.wrapped(told))
        model, history = synthetic if won else real
        if not won:
            _take_over(synthetic[0], model)
        history.plan["back_translation"] = told
        return history


def _measured(model: TransferModel, validation: data.Examples, name: str) -> float:
    found = model.evaluate(model.preprocess(validation, shuffle=False), return_dict=True, verbose=0)
    return float(found[name])


def _take_over(model: TransferModel, other: TransferModel) -> None:
    """Gives a model what another of the same form has learned, and what it knows of that."""
    model.set_weights(other.get_weights())
    for name in ("training_examples", "seen_texts", "history_", "truncation", "padding"):
        setattr(model, name, getattr(other, name))
