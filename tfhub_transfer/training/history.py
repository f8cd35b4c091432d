"""What `fine_tune` did: curves, what each stage kept, how long it took."""

import dataclasses
import os
from typing import Any

from tfhub_transfer.encoders.preprocessing import Truncation
from tfhub_transfer.training import histories, history_table
from tfhub_transfer.training.stages import NOTHING, Outcome, best_epoch


@dataclasses.dataclass
class History:
    """What `fine_tune` did.

    Attributes:
        history: Curves, one value an epoch, the head's epochs first.
        seconds: Wall-clock seconds of each stage.
        thawed_groups: `(epoch, number of groups thawed from the top)` for the curves.
        head_epochs: How many of the epochs trained the head alone.
        outcomes: What each stage kept, and what it tried in vain.
        plan: How long and how fast each stage was to train, and what chose that.
        truncation: What was cut off the training texts; `None` for a `Stream`.
        padding: The share of padding among the tokens of the second stage's batches; `None` if
            there was no such stage, or for a `Stream`.
        tasks: Of several tasks what was done for each, by name: its head's epochs first, then its
            own part of those of all together.
    """

    history: dict[str, list[float]] = dataclasses.field(default_factory=dict)
    seconds: dict[str, float] = dataclasses.field(default_factory=dict)
    thawed_groups: list[tuple[float, int]] = dataclasses.field(default_factory=list)
    head_epochs: int = 0
    outcomes: list[Outcome] = dataclasses.field(default_factory=list)
    plan: dict[str, Any] = dataclasses.field(default_factory=dict)
    truncation: Truncation | None = None
    padding: float | None = None
    tasks: dict[str, "History"] = dataclasses.field(default_factory=dict)

    @property
    def best_epoch(self) -> int | None:
        """The place in the curves, from 0, of the weights that the model ended with.

        `None` if no epoch of the curves gave them, as where the heads of several tasks, whose
        curves aren't here, were not beaten by training all together.
        """
        stages = [each for each in self.outcomes if each.stage in ("head", "fine_tuning")]
        return best_epoch(stages, self.head_epochs)

    def __str__(self) -> str:
        """The curves as a table of one screen, with what was kept and the seconds."""
        marks = self.thawed_groups, self.best_epoch
        return history_table.table(
            self.history, self.head_epochs, *marks, self.outcomes, self.seconds
        )

    def plot(self, path: str | os.PathLike[str] | None = None) -> Any:
        """Draws the curves, marked where groups thawed and which epoch was kept.

        Args:
            path: Where to write the picture, in the form that the name's end says, such as `.png`.

        Returns:
            The matplotlib figure.

        Raises:
            InputError: If nothing was trained, or the picture can't be written.

        Example:

        >>> History({"loss": [0.7, 0.4]}).plot("curves.png").axes[0].get_title(loc="left")
        'loss'
        """
        return history_table.draw(self.to_dict(), path)

    def add(self, curves: dict[str, list[float]]) -> None:
        """Appends the curves of one stage."""
        for key, values in curves.items():
            self.history.setdefault(key, []).extend(float(v) for v in values)

    def add_joint(self) -> None:
        """Adds to the history of each task its own part of what all did together."""
        for name, own in self.tasks.items():
            own.add(histories.of_task(self.history, name, self.tasks))
            own.thawed_groups = [(own.head_epochs + at, n) for at, n in self.thawed_groups]
            own.outcomes += [each for each in self.outcomes if each.stage == "fine_tuning"]

    def to_dict(self) -> dict[str, list[Any]]:
        """The curves, with where groups thawed, which epoch was kept, and what there is to say."""
        return {
            **self.history,
            "thawed_groups": self.thawed_groups,
            "best_epoch": [] if self.best_epoch is None else [self.best_epoch],
            "kept": [str(outcome) for outcome in self.outcomes] or [NOTHING],
        }
