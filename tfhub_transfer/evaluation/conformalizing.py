"""What a model's answers are worth, read off the validation split and said with each of them."""

import copy
import dataclasses

import numpy as np

from tfhub_transfer.data import Examples, require_examples
from tfhub_transfer.errors import InputError
from tfhub_transfer.incoming import ranges
from tfhub_transfer.models import last_layer
from tfhub_transfer.models.transfer import TransferModel, require_model
from tfhub_transfer.tasks import Task, conformal
from tfhub_transfer.tasks.temperatures import Told


def conformalize(
    model: TransferModel,
    validation: Examples,
    coverage: float | None = 0.9,
    abstain: float | None = None,
) -> Told:
    """Has a trained model say of each answer how far it can be trusted.

    With `abstain`, answers of classes have `accepted`: whether the likeliest class has a score
    from which on, on the validation split, no larger share of answers was wrong. With `coverage`,
    they have `label_set`: the classes that may be right, so many that on texts like those of the
    validation split the right one is among them so often, of each class; never none. Of ordered
    classes no set has a gap. Where a text may have several, each that it has is in its set so
    often. Numbers have `lower` and `upper` instead, likewise. All of it is in whatever is saved or
    exported. Training on makes it void. Sources: see `tasks/conformal.py`.

    Args:
        model: A trained model of classes, ordered or not, one or several a text, or of numbers.
            Scale its scores before (`calibrate`), not after.
        validation: Examples that it wasn't trained on, 20 at least.
        coverage: How often sets and intervals hold the truth, above 0 and below 1; none of them
            if `None`.
        abstain: Which share of accepted answers may be wrong, above 0 and below 1; all are
            accepted if `None`.

    Returns:
        The fields of `conformal.Limits`, and of classes `accepted`, the share of the validation
        split's answers that are, and `set_size`, the mean number of classes in a set.

    Raises:
        InputError: If the task's answers are neither, or there are too few examples.

    Example:

    >>> model = build_model("auto", task)
    >>> told = conformalize(model, examples, coverage=0.9, abstain=0.05)
    >>> sorted(model.predict_text(["What a lovely film"])[0])
    ['accepted', 'label', 'label_set', 'scores']
    """
    require_model(model)
    coverage, abstain = require_asked(model.task, coverage, abstain)
    require_examples(validation)
    require_rows(len(validation), coverage)
    model.task.check(validation)
    task: Task = copy.copy(model.task)  # others may have the same one
    task.limits, model.task = None, task
    scores = np.asarray(model.predict_scores(validation))
    truth = task.encode(validation.labels)
    found = task.limits_of(scores, truth, coverage=coverage, abstain=abstain)
    task.limits = dataclasses.replace(found, mark=last_layer.stamp(model))
    return {**dataclasses.asdict(task.limits), **task.trusted(scores)}


def require_asked(
    task: Task, coverage: object, abstain: object
) -> tuple[float | None, float | None]:
    """The shares, if the task can heed them.

    Args:
        task: The task.
        coverage: As for `conformalize`.
        abstain: Likewise.

    Raises:
        InputError: If it can't, or they are no shares.
    """
    share = ranges.real_number
    shares = {
        name: ranges.given(share, name, value, 0.0, ranges.BELOW_ONE)
        for name, value in (("coverage", coverage), ("abstain", abstain))
    }
    if coverage is None and abstain is None:
        raise InputError(
            "nothing is asked for; give `coverage`, `abstain` or both, such as coverage=0.9. "
            "Received: None"
        )
    odd = [
        name for name, value in shares.items() if value is not None and name not in task.promises
    ]
    if odd:
        known = f"only `{task.promises[0]}`" if task.promises else "neither"
        raise InputError(
            "`coverage` (`--coverage`) is for classes, one or several a text, and one number, "
            f"`abstain` (`--abstain`) for one class; the {task.name} task knows {known}. "
            f"Received: {odd[0]}"
        )
    return shares["coverage"], shares["abstain"]


def require_rows(rows: int, coverage: float | None) -> None:
    """Raises `InputError` where there are too few to say anything.

    Args:
        rows: Of the validation split.
        coverage: As for `conformalize`.
    """
    needed = conformal.rows_needed(coverage)
    if rows < needed:
        lower = ", or a lower `coverage`" if needed > conformal.LEAST else ""
        raise InputError(
            f"so few validation rows can't tell how far answers can be trusted; give {needed} at "
            f"least, by `--validation` or of more data{lower}. Received: {rows}"
        )
