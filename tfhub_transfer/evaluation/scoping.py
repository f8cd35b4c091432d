"""How near a text lies to those that a model was trained on, said with each of its answers."""

import dataclasses

import numpy as np
import scipy.stats

from tfhub_transfer.data import Examples, require_examples
from tfhub_transfer.errors import InputError
from tfhub_transfer.evaluation import conformalizing
from tfhub_transfer.incoming import ranges
from tfhub_transfer.models import last_layer, scope
from tfhub_transfer.models.forward import FEATURES, SCOPED
from tfhub_transfer.models.transfer import TransferModel, require_model
from tfhub_transfer.reporting import contents, metrics
from tfhub_transfer.reporting.reports import Report
from tfhub_transfer.tasks import Task
from tfhub_transfer.tasks.temperatures import Told

# A text is far if fewer of those left out are farther.
FAR = 0.05


def learn_scope(model: TransferModel, train: Examples, validation: Examples, seed: int = 0) -> Told:
    """Has a trained model say of each text how near it lies to those of the training.

    Answers have `scope_score` from then on, float32: the share of the validation split's texts that
    lie farther from the training's than this one. Of texts like these it is anything from 0 to 1,
    one as often as the other; below 0.05 only one text in twenty. It compares what the head starts
    from, by the mean cosine with the three nearest of at most 5,000 training texts (after Sun et
    al. 2022, https://arxiv.org/abs/2204.06507), and says nothing of the answer. It is in whatever
    is saved or exported. Training on makes it void.

    Args:
        model: A trained model of whole texts or pairs: of classes, several labels, ordered classes
            or numbers. Scale its scores before (`calibrate`), not after.
        train: What it was trained on; labels aren't looked at.
        validation: Examples that it wasn't trained on, 20 at least; none that `train` has too, or
            texts seem nearer than they are.
        seed: Of which training texts are kept, if there are more.

    Returns:
        `rows`, how many texts it is measured by, `kept`, how many training texts it holds, and
        `numbers`, how many a text's vector has.

    Raises:
        InputError: If the task has no such vectors, there are too few examples, or the model
            fell apart.

    Example:

    >>> model = build_model("auto", task)
    >>> told = learn_scope(model, train, examples)
    >>> 0.0 <= model.predict_text(["What a lovely film"])[0]["scope_score"] <= 1.0
    True
    """
    require_model(model)
    seed = ranges.whole_number("seed", seed, *ranges.SEED)
    require_scope(model.task)
    for examples in (train, validation):
        require_examples(examples)
    if not len(train):
        raise InputError("expected at least one example of the training. Received: none")
    conformalizing.require_rows(len(validation), None)
    kept = train[scope.sampled(len(train), model.features.shape[-1], seed)]
    known, others = (_vectors(model, each) for each in (kept, validation))
    if not (np.isfinite(known).all() and np.isfinite(others).all()):
        raise InputError(
            "the model gives vectors that are no numbers: its training fell apart; train it anew, "
            f"with a lower `learning_rate`. Received: {model.encoder.handle}"
        )
    model.scope = dataclasses.replace(scope.learned(known, others), mark=last_layer.stamp(model))
    return {"rows": len(others), "kept": len(known), "numbers": known.shape[1]}


def has_scope(task: Task) -> bool:
    """Whether a task has a vector of a whole text, or pair, to be near to others.

    Args:
        task: The task.
    """
    return not (task.several or task.runs_again) and task.scoped


def require_scope(task: Task) -> None:
    """Raises `InputError` if a task has no vector of a whole text, or pair, to be near to others.

    Args:
        task: The task.
    """
    if not has_scope(task):
        raise InputError(
            "how near a text lies to those of the training (`--scope`) is said with classes, "
            "several labels, ordered classes and numbers of whole texts; leave it out. "
            f"Received: the {task.name} task"
        )


def describe(report: Report, model: TransferModel, examples: Examples) -> None:
    """Adds to a report how near its texts lie to those of the training, if the model says so.

    Args:
        report: The report.
        model: The model.
        examples: The test split.
    """
    # Where another runtime answers, it gives scores alone.
    if model.scope is None or not model.forward.can(SCOPED):
        return
    found = model.scope.scores_of(_vectors(model, examples))
    counts, _ = np.histogram(found, bins=np.linspace(0.0, 1.0, 11))
    far = float((found < FAR).mean())
    trust: contents.Trust = report.trust or {}
    trust["scope"] = [float(share) for share in counts / len(found)]
    report.trust = {**trust, "far": far, "rows": model.scope.rows}
    low, high = metrics.wilson(far, len(found))
    least, most = by_chance(model.scope.rows, len(found))
    report.notes.append(
        f"{far:.1%} ({low:.1%} to {high:.1%}) of texts have a scope score below {FAR:g}, as "
        f"{FAR:.1%} of texts like those of the validation split would, by chance {least:.1%} to "
        f"{most:.1%}; the median is {float(np.median(found)):.2f}, for 0.50"
    )


def by_chance(rows: int, asked: int) -> tuple[float, float]:
    """Between which shares of texts lie below `FAR` 95 of 100 times, though they are like others.

    Of the validation split's texts so few are as far that which they are is chance, too: the share
    of others that is farther than the k-th of `rows` has a beta distribution.

    Args:
        rows: How many texts of the validation split said what is far.
        asked: Of how many texts the share is.
    """
    place = FAR * rows + 0.5
    among = scipy.stats.betabinom(asked, place, rows + 1 - place)
    least, most = among.interval(0.95)
    return float(least / asked), float(most / asked)


def _vectors(model: TransferModel, examples: Examples) -> np.ndarray:
    """What the head starts from, `[n, d]`."""
    rows = model.cut(examples)
    if model.has_fixed_features:
        return model.compute_features(rows)
    found, _ = model.forward.run(FEATURES, rows.examples)
    return np.asarray(found)
