"""What `fine_tune` did: curves, what each stage kept, how long it took."""

import copy
import dataclasses
import os
from typing import TYPE_CHECKING, Any, TypeAlias

from tfhub_transfer.encoders.preprocessing import Truncation
from tfhub_transfer.training import histories, history_table
from tfhub_transfer.training.outcome import NOTHING, Outcome, best_epoch, task_of

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# What a training must know to go on, as JSON can say it, and as it comes back from there.
State: TypeAlias = dict[str, Any]


@dataclasses.dataclass
class History:
    """What `fine_tune` did.

    Attributes:
        history: Curves, one value an epoch, the head's epochs first.
        seconds: Wall-clock seconds of each stage.
        thawed_groups: `(epoch, number of groups thawed from the top)` for the curves.
        head_epochs: How many of the epochs trained the head alone, in the stage for that.
        outcomes: What each stage kept, and what it tried in vain.
        plan: How long and how fast each stage was to train, and what chose that.
        truncation: What was cut off the training texts; `None` for a `Stream`.
        padding: The share of padding among the tokens of the second stage's batches; `None` if
            there was no such stage, or for a `Stream`.
        tasks: Of several tasks what was done for each, by name: its head's epochs first, then its
            own part of those of all together.
        rows: What is known of each epoch of all stages, the heads of several tasks among them, in
            their order, as `history.csv` has it.
    """

    history: dict[str, list[float]] = dataclasses.field(default_factory=dict)
    seconds: dict[str, float] = dataclasses.field(default_factory=dict)
    thawed_groups: list[tuple[float, int]] = dataclasses.field(default_factory=list)
    head_epochs: int = 0
    outcomes: list[Outcome] = dataclasses.field(default_factory=list)
    plan: dict[str, object] = dataclasses.field(default_factory=dict)
    truncation: Truncation | None = None
    padding: float | None = None
    tasks: dict[str, "History"] = dataclasses.field(default_factory=dict)
    rows: list[dict[str, Any]] = dataclasses.field(default_factory=list)

    @property
    def best_epoch(self) -> int | None:
        """The place in the curves, from 0, of the weights that the model ended with.

        `None` if no epoch of the curves gave them, as where the heads of several tasks, whose
        curves aren't here, were not beaten by training all together.
        """
        stages = [each for each in self.outcomes if not task_of(each.stage)]
        return best_epoch(stages, self.head_epochs)

    @property
    def epochs(self) -> int:
        """How many epochs there are in the curves."""
        return len(self.history.get("loss", ()))

    @property
    def ends(self) -> dict[str, float]:
        """The share of its epochs after which each stage had the weights that it kept, by its name.

        0 where it kept those that it began with. `Plan(ends=...)` takes them, to train once more on
        train and validation together.
        """
        planned = {name: each for name, each in self.plan.items() if isinstance(each, dict)}
        return {
            each.stage: (each.epoch or 0) / planned[each.stage]["epochs"] for each in self.outcomes
        }

    def __str__(self) -> str:
        """The curves as a table of one screen, with what was kept and the seconds."""
        marks = self.thawed_groups, self.best_epoch
        return history_table.table(
            self.history, self.head_epochs, *marks, self.outcomes, self.seconds
        )

    def plot(self, path: str | os.PathLike[str] | None = None) -> "Figure":
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
            own.outcomes += [each for each in self.outcomes if not task_of(each.stage)]

    def to_dict(self) -> histories.Curves:
        """The curves, with where groups thawed, which epoch was kept, and what there is to say."""
        found: histories.Curves = {name: [*values] for name, values in self.history.items()}
        found["thawed_groups"] = [*self.thawed_groups]
        found["best_epoch"] = [] if self.best_epoch is None else [self.best_epoch]
        found["kept"] = [str(outcome) for outcome in self.outcomes] or [NOTHING]
        return found

    def state(self) -> State:
        """All of it, as JSON can say it, for `restore`."""
        found = dataclasses.asdict(dataclasses.replace(self, tasks={}))
        return {**found, "tasks": {name: own.state() for name, own in self.tasks.items()}}

    def restore(self, state: State) -> None:
        """Becomes what another was when it gave its state.

        Args:
            state: What `state` gave; it may have been written as JSON and read since.
        """
        given = copy.deepcopy(dict(state))
        cut = given["truncation"]
        given["thawed_groups"] = [(at, count) for at, count in given["thawed_groups"]]
        given["outcomes"] = [Outcome(**each) for each in given["outcomes"]]
        given["truncation"] = None if cut is None else Truncation(**cut)
        parts = given.pop("tasks")
        given["tasks"] = {name: History() for name in parts}
        for name, part in parts.items():
            given["tasks"][name].restore(part)
        vars(self).update(given)
