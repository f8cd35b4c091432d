"""What each stage of training left in a model, and what it tried in vain."""

import dataclasses
import math
from collections.abc import Sequence

from tfhub_transfer.incoming import wording


@dataclasses.dataclass(frozen=True)
class Outcome:
    """Which weights a stage of `fine_tune` ended with.

    Attributes:
        stage: `"head"` or `"fine_tuning"`, or the name of a stage of one's own; before `head` that
            of the task, where there are several.
        metric: What the stage is told by, such as `"val_accuracy"`.
        epochs: How many epochs it trained.
        epoch: The epoch whose weights were kept, from 1; `None` if those were kept that the stage
            began with, because no epoch was better.
        value: The metric of the weights that were kept.
        before: The metric of the weights that the stage began with; `None` if nothing asked.
        tried: The best that the metric was after any of the stage's own epochs.
        groups: How many layer groups of the encoder it thawed.
    """

    stage: str
    metric: str
    epochs: int
    epoch: int | None
    value: float
    before: float | None = None
    tried: float | None = None
    groups: int = 0

    def __str__(self) -> str:
        return self._told("")

    def lines(self, seconds: float, before: str = "", pace: str = "") -> str:
        """What is said of it on a screen, in lines of at most 120 characters.

        Args:
            seconds: How long the stage took.
            before: What to begin with, such as `"topic: "`.
            pace: What to say behind the seconds.
        """
        return wording.wrapped(f"{before}{self._told(f', {seconds:.1f} s{pace}')}")

    def _told(self, spent: str) -> str:
        if self.stage == FEW_SHOT:
            return f"Texts of a class drawn together: {self._of_few()}{spent}"
        task = task_of(self.stage)
        subject = f"{task}: {HEAD}" if task else _SUBJECTS.get(self.stage, self.stage)
        subject = thawed_words(self.groups) if self.groups else subject
        if self.epoch is not None:
            was = "" if self.before is None else f" (before {self.before:.4f})"
            kept = f"kept epoch {self.epoch} of {self.epochs}"
            return f"{subject}: {kept}, {self.metric} {self.value:.4f}{was}{spent}"
        return (
            f"{subject}: kept none of {self.epochs} epochs, because none was better than "
            f"{self.metric} {self.value:.4f} before them (best {_number(self.tried)}){spent}. "
            f"{_advice(self.groups)}"
        )

    def _of_few(self) -> str:
        """Both numbers of a stage that is kept or not as a whole; where nothing judged, its own."""
        if self.before is None or self.tried is None:
            return f"{self.metric} {self.value:.4f}, not judged"
        kept = "without" if self.epoch is None else "with"
        numbers = f"{self.metric} {self.tried:.4f} with, {self.before:.4f} without"
        return f"{numbers}, by cross-validation on the training labels; kept {kept}"


FEW_SHOT = "few_shot"
HEAD = "Head on the frozen encoder"
_SUBJECTS = {"head": HEAD, "fine_tuning": HEAD}
NOTHING = (
    "Nothing was trained: this task has no head of its own, and the encoder stayed frozen. Thaw "
    "some of it (`--unfreeze auto`), or take the numbers for those of the encoder as it is."
)


def _advice(groups: int) -> str:
    """What to try where thawing lost: fewer groups only where there are fewer."""
    rate = "a lower `--learning-rate` (`Plan(learning_rate=...)`)"
    if groups > 1:
        return f"Try {rate}, more `--epochs`, or fewer groups (`--unfreeze 1`)."
    return f"Try {rate}, or more `--epochs`."


def thawed_words(groups: int) -> str:
    """How a stage is called in which so many groups thaw."""
    return "Top group thawed" if groups == 1 else f"Top {groups} groups thawed"


def task_of(stage: str) -> str:
    """The task whose head alone a stage trained, among several; empty for any other stage."""
    task, _, rest = stage.partition(" ")
    return task if rest == "head" else ""


def best_epoch(outcomes: Sequence[Outcome], head_epochs: int) -> int | None:
    """Where in the curves the weights stand that a model ended with.

    Args:
        outcomes: The stages whose curves there are, in their order.
        head_epochs: How many of the curves' epochs the head alone trained.

    Returns:
        The place in the curves, from 0 as Keras counts; `None` if the model ended with weights
        that no epoch of the curves gave it.
    """
    found, past = None, 0
    for outcome in outcomes:
        past = max(past, head_epochs) if outcome.stage == "fine_tuning" else past
        if outcome.epoch is not None:
            found = past + outcome.epoch - 1
        past += outcome.epochs
    return found


def _number(value: float | None) -> str:
    return "no number" if value is None or math.isnan(value) else f"{value:.4f}"
