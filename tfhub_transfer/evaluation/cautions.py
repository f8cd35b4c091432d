"""What the reader of a report must know before believing its numbers."""

import dataclasses
from typing import Protocol

from tfhub_transfer.data import Examples
from tfhub_transfer.encoders import vocabulary_fit
from tfhub_transfer.encoders.vocabulary_fit import Fit, WordFit
from tfhub_transfer.models.seen import Seen
from tfhub_transfer.models.transfer import TransferModel
from tfhub_transfer.reporting.reports import Report
from tfhub_transfer.training.outcome import NOTHING

# Of a class; fewer test examples say little about it.
FEW = 10
# Of them, that a warning names.
_NAMED = 5


class Splits(Protocol):
    """The three splits that a model of one task is trained and measured on."""

    @property
    def train(self) -> Examples:
        """What it learns from."""

    @property
    def validation(self) -> Examples:
        """What it is judged by meanwhile."""

    @property
    def test(self) -> Examples:
        """What it is measured on."""


def add(report: Report, model: TransferModel, test: Examples, train: Examples | None) -> None:
    """Adds to a finished report what was seen of its texts, and its warnings.

    Args:
        report: The report on `test`.
        model: The model that it is of.
        test: What it was measured on.
        train: What it was trained on, if given.
    """
    # Without labels, of which summaries would make targets sentence by sentence.
    cut = model.count_truncation(dataclasses.replace(test, target=None))
    fit = _fit(model, test)
    seen = model.seen_texts
    if train is not None:
        seen = seen.with_texts("train", [train.texts])
    report.texts = {"cut": cut.texts, "tokens_lost": cut.tokens}
    if fit is not None:
        report.texts["vocabulary"] = dataclasses.asdict(fit)
    elif model.encoder.dialect == "text" and len(test):
        report.notes.append(
            "how well the encoder's vocabulary fits the texts wasn't measured: it can't be read"
        )
    kept = [str(said) for said in report.history.get("kept", [])]
    report.notes += [said for said in kept if said != NOTHING]
    report.warnings += [said for said in kept if said == NOTHING]
    report.warnings += [*report.beaten(), *_never_compared(report, model)]
    if seen:
        report.texts["also_in"] = seen.count(test.texts)
        report.warnings += _seen_before(report.texts["also_in"], len(test))
    else:
        report.notes.append(
            "test texts weren't looked for in training, of which the model knows nothing"
        )
    report.warnings += [*_few(report, len(test)), *_fits_badly(fit)]
    if cut.texts:
        report.warnings.append(
            f"{cut}: the model reads {model.sequence_length} tokens of a text at most"
        )


def before_training(model: TransferModel, splits: Splits) -> list[str]:
    """What is wrong with the texts, while nothing has been spent on them yet.

    Args:
        model: The model that is to be trained.
        splits: `train`, `validation` and `test` examples.
    """
    seen = Seen().with_texts("train", [splits.train.texts])
    seen = seen.with_texts("validation", [splits.validation.texts])
    shared = _seen_before(seen.count(splits.test.texts), len(splits.test))
    fit = _fit(model, splits.train)
    return [*shared, *_fits_badly(fit), *model.task.doubts()]


def _fit(model: TransferModel, examples: Examples) -> Fit | WordFit | None:
    folder = model.encoder.folder if model.encoder.dialect == "text" else None
    return vocabulary_fit.measure(model.preprocessor, examples.texts, folder)


def _seen_before(found: dict[str, int], rows: int) -> list[str]:
    shared = [f"{count} also occur in {split}" for split, count in found.items() if count]
    if not shared:
        return []
    return [
        f"of {rows} test texts {' and '.join(shared)}: what was seen before is answered better, "
        "so the numbers are too good; drop these rows"
    ]


def _never_compared(report: Report, model: TransferModel) -> list[str]:
    """What a frozen encoder was never taught: to compare two texts that it reads as one."""
    pairs = model.task.one_row and model.task.pair
    packed = pairs and model.encoder.dialect != "text" and not model.head.towers
    if not packed or not report.history or report.history.get("thawed_groups"):
        return []
    return [
        "a frozen encoder reads both texts of a pair as one, which hardly any was taught to "
        "compare; try `--towers` (`Head(towers=True)`), or let it thaw (`--unfreeze`)"
    ]


def _few(report: Report, rows: int) -> list[str]:
    few = [(row["class"], row["support"]) for row in report.per_class if row["support"] < FEW]
    if few:
        named = ", ".join(f"{name} ({count})" for name, count in few[:_NAMED])
        more = f" and {len(few) - _NAMED} more" if len(few) > _NAMED else ""
        return [f"fewer than {FEW} test examples of {named}{more}: their numbers say little"]
    return [f"only {rows} test examples: the numbers say little"] if rows < FEW else []


def _fits_badly(fit: Fit | WordFit | None) -> list[str]:
    if fit is None or not fit.is_bad:
        return []
    return [
        f"the encoder's vocabulary fits these texts badly ({fit}); an encoder for their language "
        "will do better"
    ]
