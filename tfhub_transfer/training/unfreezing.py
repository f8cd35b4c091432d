"""The last stage: the encoder's groups thaw from the top, and train together with the head."""

from typing import cast

from tfhub_transfer import progress
from tfhub_transfer.callbacks.thawing import ProgressiveUnfreezing
from tfhub_transfer.data import Stream
from tfhub_transfer.encoders.encoder import Encoder
from tfhub_transfer.errors import InputError
from tfhub_transfer.incoming import ranges
from tfhub_transfer.models.fitting import size_schedule
from tfhub_transfer.optimization import planning
from tfhub_transfer.tasks.layouts import Rows, balance
from tfhub_transfer.training import feeding, judging
from tfhub_transfer.training.epochs import show
from tfhub_transfer.training.history import State
from tfhub_transfer.training.outcome import thawed_words
from tfhub_transfer.training.stages import Stage, Training, by_task, outcome_of

# Each thawing traces the train step anew, which costs as much as many steps.
STAGE_STEPS = 8


def groups_to_thaw(encoder: Encoder, unfreeze: object) -> int:
    """How many of the encoder's groups `unfreeze` means.

    Args:
        encoder: The encoder.
        unfreeze: `"none"`, `"auto"`, `"all"`, or a number, also as a string.

    Raises:
        InputError: If it is none of these, or more than the encoder has.
    """
    names = [name for name, _ in encoder.layer_groups]
    if unfreeze == "none":
        return 0
    if unfreeze == "all":
        return len(names)
    if unfreeze == "auto":
        # An encoder that is embeddings alone has nothing else to thaw.
        return sum(name != "embeddings" for name in names) or len(names)
    try:
        return ranges.whole_number("unfreeze", unfreeze, 0, len(names))
    except InputError as error:
        raise InputError(
            f"`unfreeze` must be none, auto, all or a number up to {len(names)}, the layer groups "
            f"of this encoder ({', '.join(names) or 'none can be trained'}). Received: {unfreeze!r}"
        ) from error


class Thawing(Stage):
    """Thaws groups from the top, and ends with the best weights, those before it included.

    Args:
        groups: How many groups.
        epochs: How many epochs; if not given as many as the rows need.
        batch_size: Rows in a batch.

    Attributes:
        value: What the model was worth after its best epoch, or before it all.
    """

    name = "fine_tuning"

    def __init__(self, groups: int, epochs: int | None, batch_size: int) -> None:
        self.groups, self.epochs, self.batch_size = groups, epochs, batch_size
        self.value: float | None = None

    def run(self, training: Training) -> float | None:
        """As `Stage.run`."""
        started, before = training.started(), training.before()
        model, plan, history = training.model, training.plan, training.history
        rate = planning.set_rate(model, plan.learning_rate)
        # First as far as it will go: what stays frozen below that runs once for each text.
        model.encoder.freeze_to(-self.groups)
        rows = _together(training)
        feed = feeding.above_boundary(training, rows, self.batch_size)
        feed = feed or feeding.through_encoder(training, rows, self.batch_size)
        history.padding = feed.padding
        keep = training.keep(self.name, *judging.monitor(model), before)
        steps = int(feed.batches.cardinality())
        planned = planning.thawed(steps, self.epochs, plan.patience)
        planned = training.begin(planned, self.name, rate, keep)
        if show(plan.verbose):
            progress.say(f"Top {self.groups} of the encoder's groups: {planned}")
        unfreezing = self._unfreezing(training, steps * planned.passes)
        size_schedule(model.optimizer, planned.steps)
        words = thawed_words(self.groups)
        curves = training.run_epochs(feed, planned, keep, words, [unfreezing])
        past = history.epochs
        history.thawed_groups += [(past + at, count) for at, count in unfreezing.thawed_at]
        outcome = outcome_of(self.name, keep, before, len(curves["loss"]), self.groups)
        self.value = training.end(outcome, curves, started)
        return self.value

    def state(self) -> State:
        return {"value": self.value}

    def restore(self, state: State) -> None:
        self.value = state["value"]

    def _unfreezing(self, training: Training, steps: int) -> ProgressiveUnfreezing:
        """What thaws in an epoch of so many steps; all groups at once where each had too few."""
        pace = training.plan.unfreezing_epochs / self.groups
        made = ProgressiveUnfreezing(
            start_epoch=0,
            epochs_per_group=pace,
            num_groups=self.groups,
            layer_decay=training.plan.layer_decay,
        )
        made.head_factor = training.model.task.head_factor
        # XLA would compile every shape anew for each.
        if pace * steps < STAGE_STEPS or training.model.replicas_of_shapes:
            # Not a little more than 0: the first step would be one, traced for itself.
            made.epochs_per_group = 0.0
        return made


def _together(training: Training) -> Rows | Stream:
    """The rows to train on; of several tasks in the shares that they are to have."""
    if not training.model.task.several:
        return training.train
    alpha = training.model.task.alpha
    shares = balance(by_task(training.train), alpha, training.plan.seed)
    return cast(Rows, shares)  # by name, as `TransferModel.cut` gives them too
