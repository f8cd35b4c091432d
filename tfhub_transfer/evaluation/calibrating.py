"""A model's scores made to mean what they say, by the validation split."""

from collections.abc import Mapping
from typing import Any

from tfhub_transfer.data import Examples, require_examples
from tfhub_transfer.incoming import choices, ranges
from tfhub_transfer.models import scaling
from tfhub_transfer.models.transfer import TransferModel, require_model
from tfhub_transfer.tasks.temperatures import Told


def calibrate(
    model: TransferModel,
    validation: Examples | Mapping[str, Examples],
    seed: int = 0,
    biases: bool = True,
) -> Told:
    """Scales a trained model's scores so that they mean what they say, where that is seen to help.

    Fits one temperature to the validation split (Guo et al. 2017), and one number for each class
    beside it (Alexandari et al. 2020), judges both and none by five-fold cross-validation on that
    split, and keeps the best. It is kept in the weights of the last layers, so in whatever is saved
    or exported. A temperature changes no answer; biases are kept only if no fewer answers are
    right.

    Tags of words and ordered classes have a temperature alone; folds of tags are of sentences.
    That of answers to questions is the likeliest given which of them match a right one exactly,
    and folds are of contexts; what an answer's margin is compared with is divided along. Of several
    labels a text it then chooses thresholds by the same folds: one for all classes, or one for
    each, if the micro F1 of rows left out is higher than without.

    Args:
        model: A trained model; of several tasks each whose scores are chances.
        validation: Examples that it wasn't trained on; `{name: examples}` of several tasks.
        seed: Seed of the folds.
        biases: Whether classes may have numbers of their own; not, where `class_weight` was meant
            to have rare ones given more often than they occur.

    Returns:
        `kept` (`"none"`, `"temperature"` or `"temperature and bias"`), `temperature`, `bias`,
        `losses` (the negative log-likelihood of each way on rows left out, in nats), `examples`,
        and of several labels a text `thresholds` (`kept`, `thresholds` by class, `micro_f1`);
        `why`, where answers to questions are all right or all wrong; empty for a task whose scores
        are no chances, or with last layers of its own.
        Of several tasks all that by name.

    Raises:
        InputError: If the examples don't suit the task.

    Example:

    >>> told = calibrate(model, validation)
    >>> told["kept"] in ("none", "temperature", "temperature and bias")
    True
    """
    require_model(model)
    seed = ranges.whole_number("seed", seed, *ranges.SEED)
    biases = choices.flag("biases", biases)
    given = model.task.apart(validation)
    told = {name: _one(model.parts[name], each, seed, biases) for name, each in given.items()}
    return told if model.task.several else told[""]


def as_another(model: TransferModel, judged: TransferModel) -> None:
    """Calibrates a model as another is, with which it has a task in common but no validation split.

    Args:
        model: The model, never scaled yet.
        judged: The other one.
    """
    for name, part in model.parts.items():
        found = scaling.current(judged.parts[name])
        part.task.calibration = None  # its task may be a copy
        if found is not None:
            scaling.put(part, found)
        # Behind that: what was chosen is of scores that are scaled already.
        part.task.take_choices(judged.parts[name].task)


def _one(model: TransferModel, examples: Any, seed: int, biases: bool) -> Told:
    task = model.task
    if task.calibrated_by is None or not scaling.can_be_put(model):
        return {}
    require_examples(examples)
    scaling.take_back(model)
    task.check(examples)
    given = model.predict_scores(examples)
    found = task.fit_scaling(model.layout, given, examples, seed, biases)
    if found.scaling is not None:
        scaling.put(model, found.scaling)
    chosen = task.calibrate_answers(given, examples.labels, found.scaling, seed)
    return {**found.told(), **chosen}
