"""Honest measurement: metrics with intervals, beside baselines on the same split, with mistakes."""

from collections.abc import Mapping, Sequence
from typing import Any

from tfhub_transfer.data import Examples, require_examples
from tfhub_transfer.encoders.encoder import Encoder
from tfhub_transfer.errors import InputError
from tfhub_transfer.evaluation import cautions, scoping, slicing, weakness
from tfhub_transfer.evaluation.slicing import Asked
from tfhub_transfer.incoming import choices, ranges
from tfhub_transfer.models import last_layer, scaling
from tfhub_transfer.models.transfer import TransferModel, require_model
from tfhub_transfer.reporting import joint_reports, metrics
from tfhub_transfer.reporting.joint_reports import JointReport
from tfhub_transfer.reporting.reports import Report
from tfhub_transfer.tasks import is_ours
from tfhub_transfer.tasks.trial import Trial

__all__ = ["Report", "evaluate", "require_slices"]


def evaluate(
    model: TransferModel,
    examples: Examples | Mapping[str, Examples],
    train: Examples | Mapping[str, Examples] | None = None,
    baselines: bool = True,
    seed: int = 0,
    alone: Mapping[str, Report] | None = None,
    slices: Asked = None,
) -> Any:
    """Measures a model on examples that it hasn't seen, beside two baselines.

    The baselines are the majority class (the mean, for regression) and TF-IDF of words and pairs
    of words with logistic regression (ridge regression; one for each class of multi-label data).
    They are trained on the training split and measured on the same examples. For similarity they
    are the encoder as it was before training, and the cosine of TF-IDF vectors.

    Args:
        model: A trained model.
        examples: The test split; that of each task, `{name: examples}`, for a model of several.
        train: What to train the baselines on; what `fine_tune` trained on, if not given.
        baselines: Whether to train and measure the baselines.
        seed: Seed of the bootstrap.
        alone: For a model of several tasks, `{name: report}` of models that learned one task alone,
            on the same examples, to be compared with.
        slices: What to look for weak spots by, beside length, script and words of the texts: names
            of columns that the examples have, or `{name: values}`, a value for each example.

    Returns:
        A `Report`, or a `JointReport` of several.

    Raises:
        InputError: If there are no examples, or a label is unknown to the task; if reports of
            tasks alone are of other tasks or examples; or if there is no column to slice by.

    Example:

    >>> report = evaluate(model, test)
    >>> report.save("out/report")
    PosixPath('out/report')
    """
    seed = ranges.whole_number("seed", seed, *ranges.SEED)
    baselines = choices.flag("baselines", baselines)
    require_model(model)
    if model.task.several:
        return _evaluate_tasks(model, examples, train, (baselines, slices), seed, alone or {})
    if alone:
        raise InputError(
            "`alone` is for a model of several tasks, whose reports of each alone it holds; leave "
            "it out. "
            f"Received: the {model.task.name} task"
        )
    known = {} if train is None else model.task.apart(train)
    tested = model.task.apart(examples)[""]
    require_examples(tested)
    given = slicing.columns(tested, slices)
    return _evaluate_task(model, tested, known.get(""), (baselines, given), seed)


def require_slices(
    model: TransferModel, examples: Mapping[str, Examples], slices: Asked = None
) -> None:
    """Refuses what no report could be sliced by, before much is spent on it.

    Args:
        model: What is to be measured, trained or not. Of a task of one's own an example is asked,
            as only its answers tell what rows say of themselves.
        examples: The test split of each task, by name; that of one alone has none.
        slices: Names of columns, as of `evaluate`.

    Raises:
        InputError: If no task has such a column, or none of its rows tells a number.
    """
    for name, given in slicing.columns_of_tasks(examples, slices).items():
        if given and len(examples[name]) and not is_ours(model.parts[name].task):
            some = {column: cells[:1] for column, cells in given.items()}
            evaluate(model.parts[name], examples[name][:1], baselines=False, slices=some)


def _evaluate_task(
    model: TransferModel,
    examples: Examples,
    train: Examples | None,
    asked: tuple[bool, Mapping[str, Sequence[object]]],
    seed: int,
) -> Report:
    task, (baselines, slices) = model.task, asked
    require_examples(examples)
    if not len(examples):
        raise InputError("expected at least one example to evaluate on. Received: none")
    train = model.training_examples if train is None else train
    if train is not None:
        require_examples(train)
    model.layout.check(examples)
    task.check(examples)
    task.calibration = scaling.current(model)  # nothing, where it was trained on since
    last_layer.forget_void(model)
    report = Report(
        task=task.name,
        encoder=str(model.encoder.handle),
        examples={
            "train": None if train is None else len(train),
            "validation": None,
            "test": len(examples),
        },
        metrics={},
        class_names=task.class_names,
        history=dict(model.history_),
        standing=task.standing,
    )
    # Cautions look for test texts in training, with baselines or without.
    known = train
    if not baselines:
        train = None
    elif train is None and task.learned_baselines:
        report.notes.append("no baselines: the training split isn't at hand")
    # A function of the untrained model, since most tasks never ask and it loads an encoder.
    task.report_on(Trial(report, model, examples, train, seed, lambda: _untrained(model)))
    if task.calibration is not None:
        report.notes.append(f"calibration: {task.calibration}")
    scoping.describe(report, model, examples)
    _note_intervals(report, len(examples))
    weakness.add(report, examples, slices, seed)
    cautions.add(report, model, examples, known)
    return report


def _evaluate_tasks(
    model: TransferModel,
    examples: Any,
    train: object,
    asked: tuple[bool, Asked],
    seed: int,
    alone: Mapping[str, Report],
) -> JointReport:
    model.layout.check(examples)
    tested = model.task.apart(examples)
    for name, own in tested.items():
        if not len(own):
            raise InputError(f"{name}: expected examples to evaluate on. Received: none")
    joint_reports.check_alone(alone, {name: own.texts for name, own in tested.items()})
    baselines, slices = asked
    given = slicing.columns_of_tasks(tested, slices)
    train = model.training_examples if train is None else train
    known = model.task.apart(train) if train else {}
    reports = {
        name: _evaluate_task(single, tested[name], known.get(name), (baselines, given[name]), seed)
        for name, single in model.parts.items()
    }
    report = JointReport(str(model.encoder.handle), reports, history=dict(model.history_))
    report.compare(alone, seed)
    return report


def _untrained(model: TransferModel) -> TransferModel:
    """The model with its encoder as it was before training."""
    encoder = Encoder(model.encoder.handle, trust_code=model.encoder.trust_code)
    return TransferModel(encoder, model.task, model.head, model.preprocessor)


def _note_intervals(report: Report, rows: int) -> None:
    """Says what has no interval, and why; `ece` never has one, as resampling biases it."""
    never = report.standing.without_interval
    known = {name for name, value in report.metrics.items() if value is not None} - never
    without = sorted(known - set(report.intervals))
    if without:
        large = rows * len(report.class_names or []) > metrics.MOST_CELLS_FOR_AREAS
        reason = "too many rows and classes to resample" if large else "these rows can't tell them"
        if rows < metrics.LEAST_ROWS:
            reason = f"fewer than {metrics.LEAST_ROWS} examples look more certain than they are"
        report.notes.append(f"no interval for {', '.join(without)}: {reason}")
