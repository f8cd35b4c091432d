"""What a training is made of: stages, one after the other, and what they share."""

import abc
import dataclasses
import functools
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from numbers import Real
from pathlib import Path
from typing import Any, ClassVar

import keras
import tensorflow as tf

from tfhub_transfer import progress, runtime
from tfhub_transfer.callbacks.averaged_weights import Averaged
from tfhub_transfer.callbacks.best_weights import FiniteLoss, KeepBest, KeepLast
from tfhub_transfer.callbacks.own import Throughout
from tfhub_transfer.data import Stream
from tfhub_transfer.encoders.preprocessing import Truncation
from tfhub_transfer.errors import InputError
from tfhub_transfer.incoming import choices, ranges, usual, values
from tfhub_transfer.models import counting
from tfhub_transfer.models.transfer import TransferModel
from tfhub_transfer.optimization import optimizers, planning
from tfhub_transfer.optimization.schedules import WarmUpLinearDecay
from tfhub_transfer.storage import opening
from tfhub_transfer.tasks.layouts import Rows
from tfhub_transfer.training import headlines, judging, restoring, runs, sampling
from tfhub_transfer.training.checkpoints import Checkpoint
from tfhub_transfer.training.epochs import Counted, show
from tfhub_transfer.training.history import History, State
from tfhub_transfer.training.outcome import Outcome
from tfhub_transfer.training.watching import Watch

FROZEN_BATCH = 64


class Stage(abc.ABC):
    """A part of a training: what trains, how long, and what it leaves.

    One of one's own derives from this and is put among the usual ones by `Plan(stages=...)`.

    Attributes:
        name: Of letters, digits and `_`; each stage of a training has another.
    """

    name: str

    @abc.abstractmethod
    def run(self, training: "Training") -> float | None:
        """Trains `training.model`, or a part of it.

        Args:
            training: The model, what it learns from, and what is known so far.

        Returns:
            What the model is worth now on validation, by what it is judged by (as `Training.fit`
            and `Training.judge` give it); `None` if it is to be measured when somebody asks.
        """

    def state(self) -> State:
        """What a later run must know of this stage once it is over, as JSON can say it."""
        return {}

    def restore(self, state: State) -> None:
        """Becomes what another was when it gave its state.

        Args:
            state: What `state` gave; it may have been written as JSON and read since.
        """
        return


@dataclasses.dataclass(frozen=True)
class Plan:
    """The finer settings of `fine_tune`.

    Args:
        learning_rate: Peak rate of the stage with a thawed encoder; if not given the optimizer's
            own, or what suits task and encoder where nobody chose an optimizer.
        head_learning_rate: Rate of the head on frozen features; 5e-3 if not given.
        head_epochs: Most epochs of the head on frozen features, which stop early; if not given as
            many as the rows need (see `docs/training.md`).
        unfreezing_epochs: Epochs over which the groups thaw, one after the other; all at once
            where that would leave a group fewer than 8 steps, and under XLA, which would compile
            all shapes anew for each.
        layer_decay: Factor on the learning rate for each group further down.
        patience: Epochs without improvement before a stage ends; if not given half of its epochs,
            3 at least, and of a head on stored vectors as many as make 60 steps.
        class_weight: Weight of each class, `{place in class_names: weight}`, as
            `task.class_weights(train.labels)` gives them.
        boundary: Whether layers that stay frozen throughout run once for each text, not once for
            each step (see `boundary.Boundary`).
        seed: Seed of the shuffling.
        verbose: 0 silent; 1 a line a stage, which shows on a terminal how far it is; 2 also a line
            an epoch, but for heads on stored vectors; `"auto"` 1 on a terminal and 2 elsewhere.
        stages: Gives the stages to go through, of the usual ones (`head`, `fine_tuning`): with
            others among them, or without some; the usual ones if not given.
        log_dir: A folder for TensorBoard: curves over the epochs of all stages, of training and of
            validation, and over steps; and `history.csv`, a line an epoch. They grow while it
            trains, and stay.
        ends: For where validation has taught, too, and nothing is left to judge by: the share of
            its epochs after which each stage ends, with the weights that it has then, as
            `History.ends` of a training has it that was judged. What the task settles on
            validation stays as it is.

    Raises:
        InputError: If a number is none, or out of range, or `log_dir` is no name of a folder.
    """

    learning_rate: float | None = None
    head_learning_rate: float | None = None
    head_epochs: int | None = None
    unfreezing_epochs: float = 0.3  # chosen by validation on SST-2, STS-B and SNLI
    layer_decay: float = usual.LAYER_DECAY
    patience: int | None = None
    class_weight: dict[int, float] | None = None
    boundary: bool = True
    seed: int = 0
    verbose: int | str = "auto"
    stages: Callable[[list[Stage]], Iterable[Stage]] | None = None
    log_dir: str | Path | None = None
    ends: Mapping[str, float] | None = None

    _NUMBERS: ClassVar[dict[str, tuple[Callable[..., object], tuple[float, float]]]] = {
        "learning_rate": (ranges.real_number, ranges.LEARNING_RATE),
        "head_learning_rate": (ranges.real_number, ranges.LEARNING_RATE),
        "head_epochs": (ranges.whole_number, ranges.EPOCHS),
        "unfreezing_epochs": (ranges.real_number, (0.0, ranges.EPOCHS[1])),
        "layer_decay": (ranges.real_number, (0.0, 1.0)),
        "patience": (ranges.whole_number, ranges.EPOCHS),
        "seed": (ranges.whole_number, ranges.SEED),
    }

    def __post_init__(self) -> None:
        for name, (parse, bounds) in self._NUMBERS.items():
            value = getattr(self, name)
            if value is not None:
                object.__setattr__(self, name, parse(name, value, *bounds))
        object.__setattr__(self, "boundary", choices.flag("boundary", self.boundary))
        if self.log_dir is not None:
            object.__setattr__(self, "log_dir", opening.path_of(self.log_dir))
        if self.ends is not None:
            object.__setattr__(self, "ends", _shares(self.ends))
        if self.verbose not in (0, 1, 2, "auto"):
            raise InputError(f"`verbose` must be 0, 1, 2 or 'auto'. Received: {self.verbose!r}")

    def arranged(self, usual: list[Stage]) -> list[Stage]:
        """The stages to go through.

        Args:
            usual: Those of a training for which nobody says anything.

        Raises:
            InputError: If what `stages` gives is something else, or two go by one name.
        """
        if self.stages is None:
            return self._that_run(usual)
        found: object = self.stages(list(usual)) if callable(self.stages) else self.stages
        given = list(found) if callable(self.stages) and isinstance(found, Iterable) else []
        odd = [each for each in given if not isinstance(each, Stage)]
        if odd or not given:
            raise InputError(
                "`stages` must be a function that gives stages, those that it is given and others "
                f"derived from `tt.Stage`. Received: {odd[0] if odd else found!r:.80}"
            )
        known, names = [each.name for each in usual], [getattr(each, "name", "") for each in given]
        for place, name in enumerate(names):
            # Names of one's own may be anything at all.
            good = name in known or (isinstance(name, str) and name.isidentifier())
            if name in names[:place] or not good:
                raise InputError(
                    "each stage needs a `name` of its own, of letters, digits and _. "
                    f"Received: {', '.join(map(repr, names))}"
                )
        return self._that_run(given)

    def _that_run(self, stages: list[Stage]) -> list[Stage]:
        """Without those that were in vain."""
        ends, names = self.ends, [stage.name for stage in stages]
        if ends is None:
            return stages
        if not {*ends} <= {*names}:
            raise InputError(
                "`ends` are those of a training of the same stages, as its history has them: "
                f"expected some of {', '.join(names)}. Received: {', '.join(ends)}"
            )
        return [stage for stage in stages if ends.get(stage.name, 1)]


def planned(given: object) -> Plan:
    """The finer settings that somebody gives, or the usual ones.

    Args:
        given: A `Plan`, or `None`.

    Raises:
        InputError: If it is something else.
    """
    if given is None:
        return Plan()
    if not isinstance(given, Plan):
        raise InputError(
            "`plan` must be the finer settings of a training, such as `tt.Plan(seed=1)`. "
            f"Received: {given!r:.80}"
        )
    return given


def _shares(given: object) -> dict[str, float]:
    if not isinstance(given, Mapping):
        raise InputError(
            "`ends` are shares by names of stages, as the history of a training has them. "
            f"Received: {given!r:.80}"
        )
    return {
        str(name): ranges.real_number(f"ends of {name}", share, *ranges.SHARE, closed=True)
        for name, share in given.items()
    }


@dataclasses.dataclass(frozen=True)
class Feed:
    """What `Training.run_epochs` gives to `fit`.

    Attributes:
        model: What trains: the whole model, or another one over layers of it, compiled.
        batches: Of inputs and targets, a pass over the rows.
        validation: Likewise, to judge by.
        judges: What adds numbers to those that Keras reports.
        truncation: What was cut off the texts to train on, if it was counted.
        padding: The share of padding among their tokens; `None` for a `Stream`.
        rows: How many there are in a pass, if it is known.
        steps: How many batches an epoch has, where passes follow one another without an end.
    """

    model: keras.Model
    batches: tf.data.Dataset
    validation: tf.data.Dataset
    judges: Sequence[keras.callbacks.Callback] = ()
    truncation: Truncation | None = None
    padding: float | None = None
    rows: int = 0
    steps: int | None = None


@dataclasses.dataclass(eq=False)
class Training:
    """What the stages of a training share.

    Attributes:
        model: The model. Of several tasks it is that of all; `part` is the training of one.
        train: Rows to learn from, which `model.preprocess` takes; of several tasks by name.
        validation: Rows to judge by; likewise.
        found: What they are judged by beside what Keras reports, by the task's name.
        plan: The finer settings.
        callbacks: Those of the user, for each `fit`.
        history: What was done so far.
        stages: What there is to do.
        done: How many of the stages are over.
        worth: What the model is worth on validation; `None` if nobody knows.
        checkpoint: What notes how far it is, if anything does.
        watch: What writes down each epoch.
    """

    model: TransferModel
    train: Rows | Stream
    validation: Rows
    found: dict[str, headlines.Headline]
    plan: Plan
    callbacks: Sequence[Throughout] = ()
    history: History = dataclasses.field(default_factory=History)
    stages: list[Stage] = dataclasses.field(default_factory=list)
    done: int = 0
    worth: float | None = None
    checkpoint: Checkpoint | None = None
    watch: Watch = dataclasses.field(init=False)

    def __post_init__(self) -> None:
        self.watch = Watch(self.history)

    def advance(self) -> bool:
        """Goes through the next stage; whether there was one."""
        if self.done == len(self.stages):
            return False
        with (
            progress.shown(show(self.plan.verbose) > 0),
            runtime.precision("auto", self.model.encoder.dimension),
        ):
            stage = self.stages[self.done]
            self.watch.stage(stage.name)
            self.worth = _worth(stage.name, stage.run(self))
        self.done += 1
        if self.checkpoint is not None:
            self.checkpoint.settle(self)
        return True

    def part(self, task: str) -> "Training":
        """The training of one task among several: its model, its rows, a history of its own."""
        if not self.model.task.several or task not in self.model.parts:
            raise InputError(
                "of several tasks each has a part of the training, by its name: expected one of "
                f"{', '.join(self.model.parts) or 'none'}. Received: {task!r}"
            )
        found = {"": self.found[task]} if task in self.found else {}
        rows = by_task(self.train)[task], by_task(self.validation)[task]
        own = Training(_model_of(self.model, task), *rows, found, self.plan, self.callbacks)
        own.checkpoint, own.watch = self.checkpoint, self.watch.of(task)
        return own

    # For stages ------------------------------------------------------------------------------

    def judge(self) -> float:
        """Measures what the model is worth on validation, by what it is judged by."""
        batches = self.model.preprocess(self.validation, FROZEN_BATCH, shuffle=False)
        with (
            progress.stage(
                "Measuring on validation", int(batches.cardinality()), final=False
            ) as each,
            counting.judged_without_xla(self.model),
        ):
            values = self.model.evaluate(
                batches, verbose=0, return_dict=True, callbacks=[Counted(each)]
            )
        logs = {f"val_{name}": value for name, value in values.items()}
        logs |= self._judge().values()
        name, _ = judging.monitor(self.model)
        return float(logs[name] if isinstance(name, str) else name(logs))

    def before(self) -> float:
        """What the model is worth as the stage before left it."""
        if self.worth is None:
            self.worth = self.judge()
        return self.worth

    def fit(self, stage: Stage, batches: tf.data.Dataset, epochs: int) -> float:
        """Trains the whole model, as frozen as it is, and leaves it with its best weights.

        The callbacks of the user hear of it, validation judges after each epoch, and the weights
        that the stage began with count too. Curves and outcome go into the history.

        Args:
            stage: The stage that trains, by whose name the history calls it.
            batches: What `model.preprocess` gives.
            epochs: How many passes.

        Returns:
            What the model is worth then, for `Stage.run` to return.

        Raises:
            InputError: If there are no such batches, or no end of them.
        """
        epochs = ranges.whole_number("epochs", epochs, *ranges.EPOCHS)
        _require_batches(batches)
        # Not what is known: the stage may have changed the weights since.
        started, before = self.started(), self.judge()
        keep = self.keep(stage.name, *judging.monitor(self.model), before)
        # Below 0 where tf.data doesn't know how many there are.
        steps = epochs * max(0, int(batches.cardinality()))
        patience = self.plan.patience or epochs
        planned = planning.Stage(epochs, 1, steps, patience, chosen_by={"epochs": stage.name})
        rate = planning.set_rate(self.model, self.plan.learning_rate)
        planned = self.begin(planned, stage.name, rate, keep)
        validation = self.model.preprocess(self.validation, FROZEN_BATCH)
        feed = Feed(self.model, batches, validation, self.judges())
        words = stage.name.replace("_", " ").capitalize()
        curves = self.run_epochs(feed, planned, keep, words)
        outcome = outcome_of(stage.name, keep, before, len(curves["loss"]))
        return self.end(outcome, curves, started)

    # For stages that train more than the whole model as it is ----------------------------------

    def started(self) -> float:
        """When the stage began, by `time.perf_counter`, as if nothing had interrupted it."""
        return time.perf_counter() if self.checkpoint is None else self.checkpoint.started()

    def judges(self) -> list[headlines.Judge | sampling.Sampled]:
        """What asks the whole model for whole answers after each epoch."""
        return [self._judge(), *self.samplers()]

    def _judge(self) -> headlines.Judge:
        return headlines.Judge(self.found, sizes=dict.fromkeys(self.found, 0))

    def samplers(self) -> Sequence[sampling.Sampled]:
        """Those of them that judge nothing."""
        return sampling.of(self.model, self.validation, self.plan.seed)

    def keep(self, name: str, *judge: Any) -> KeepBest:
        """What keeps the weights of a stage: those of its best epoch, or those that it ends with.

        Args:
            name: Of the stage.
            *judge: What `KeepBest` takes.
        """
        share = (self.plan.ends or {}).get(name)
        return KeepBest(*judge) if share is None else KeepLast(share, *judge)

    def begin(
        self, planned: planning.Stage, name: str, rate: tuple[float | None, str], keep: KeepBest
    ) -> planning.Stage:
        """Notes how long and how fast a stage trains, and tells it to what keeps its best epoch.

        Args:
            planned: How long.
            name: Of the stage, or of the part of it.
            rate: The peak rate, if it is known, and what chose it.
            keep: What keeps its best epoch.

        Returns:
            The same with the rate.
        """
        keep.patience, keep.start_from_epoch = planned.patience, planned.start_from_epoch
        chosen = {**planned.chosen_by, "learning_rate": rate[1]}
        planned = dataclasses.replace(planned, learning_rate=rate[0], chosen_by=chosen)
        judge = {"judged_by": _named(keep)}
        told: dict[str, object] = {**dataclasses.asdict(planned), **judge}
        self.history.plan[name] = told
        self.watch.stage(name, told)
        return planned

    def run_epochs(
        self,
        feed: Feed,
        planned: planning.Stage,
        keep: KeepBest,
        words: str,
        more: Sequence[keras.callbacks.Callback] = (),
        lines: bool = True,
    ) -> dict[str, list[float]]:
        """Trains what a stage trains.

        Args:
            feed: The model and its batches.
            planned: How long.
            keep: What keeps its best epoch.
            words: How the stage is called while it runs.
            more: Callbacks of the stage.
            lines: Whether an epoch may leave a line.

        Returns:
            The curves.
        """
        fed = functools.partial(
            self.model.layout.objective.fed, class_weight=self.plan.class_weight
        )
        with progress.stage(words, final=False) as stage:
            shown = judging.shown(self.model, stage, self.plan.verbose if lines else 1)
            # What judges stands before what reads of it.
            others = [*more, *self.callbacks, self.watch]
            told = [FiniteLoss(), Averaged(), *feed.judges, *others, keep, shown]
            given = feed.model, feed.batches, feed.validation, planned.epochs, planned.passes
            curves = runs.Run(*given, told, keep, others, fed, feed.steps).curves(self.checkpoint)
        self.watch.trained = len(curves["loss"]) * planned.passes * feed.rows
        return curves

    def end(self, outcome: Outcome, curves: dict[str, list[float]], started: float) -> float:
        """Notes what a stage left.

        Args:
            outcome: What it kept.
            curves: What `run_epochs` gave.
            started: When it began, by `time.perf_counter`.

        Returns:
            What the model is worth now.
        """
        history, spent = self.history, time.perf_counter() - started
        history.add(curves)
        history.seconds[outcome.stage] = spent
        history.outcomes.append(outcome)
        if show(self.plan.verbose):
            progress.say(outcome.lines(spent, pace=self.watch.pace()))
        return outcome.value

    # To go on later ----------------------------------------------------------------------------

    def state(self) -> State:
        """What a fresh training of the same needs to go on, as JSON can say it.

        To be asked for between two stages. The weights of model and optimizer aren't in it: a
        `.keras` file of the model holds those. Callbacks of users' own keep what they know.
        """
        schedule = optimizers.rate(self.model.optimizer)
        return {
            "stages": {stage.name: stage.state() for stage in self.stages},
            "order": [stage.name for stage in self.stages],  # which keys of JSON may lose
            "done": self.done,
            "worth": self.worth,
            "history": self.history.state(),
            "schedule": [schedule.start, schedule.total_steps, schedule.peak]
            if isinstance(schedule, WarmUpLinearDecay)
            else None,
            "past_epochs": [each.past for each in self.callbacks],
            "random": [keras.ops.convert_to_numpy(v).tolist() for v in _random(self.model)],
        }

    def restore(self, state: State) -> None:
        """Takes up where another training of the same stages gave its state.

        Args:
            state: What `state` gave; it may have been written as JSON and read since.

        Raises:
            InputError: If that was a training of other stages or another model, or a state has
                another form.
        """
        own, names = self.state(), [stage.name for stage in self.stages]
        restoring.check_form(state, own)
        if [*state["order"]] != names:
            raise InputError(
                f"a training goes on in the stages in which it began: {', '.join(names)}. "
                f"Received: a state of {', '.join(map(str, state['order']))}"
            )
        restoring.check_model(state, own)
        for stage in self.stages:
            with restoring.said_by(f"the stage {stage.name!r}"):
                stage.restore(state["stages"][stage.name])
        with restoring.said_by("its history"):
            self.history.restore(state["history"])
        self.watch.begin()
        self.done, self.worth = state["done"], state["worth"]
        if state["schedule"] is not None:
            schedule = optimizers.rate(self.model.optimizer)
            assert isinstance(schedule, WarmUpLinearDecay)  # as it was when `state` noted it
            schedule.size(*state["schedule"])
        # Callbacks that nobody had then haven't heard of the epochs that there were.
        past = state["past_epochs"] or [sum(each.epochs for each in self.history.outcomes)]
        for each, epochs in zip(self.callbacks, past):
            each.past = epochs
        for variable, value in zip(_random(self.model), state["random"]):
            variable.assign(value)


def _worth(stage: str, given: object) -> float | None:
    """What a stage says that the model is worth, as a number."""
    found = values.plain(given)
    if found is None or (isinstance(found, Real) and not isinstance(found, bool)):
        return None if found is None else values.number(found)
    raise InputError(
        "`run` of a stage returns what the model is worth, a number as `fit` of a training gives "
        f"it, or None to have it measured. Received: {given!r:.80} from the stage {stage!r}"
    )


def _require_batches(given: object) -> None:
    """Refuses what `fit` couldn't train on, or would without end."""
    if isinstance(given, tf.data.Dataset):
        count = int(given.cardinality())
        if count not in (0, tf.data.INFINITE_CARDINALITY):
            return
    raise InputError(
        "`fit` of a training takes batches of which there is an end, as `preprocess` of its model "
        f"gives them of its rows. Received: {given!r:.80}"
    )


def outcome_of(
    name: str, keep: KeepBest, before: float, epochs: int = 0, groups: int = 0
) -> Outcome:
    """What a stage kept that began with weights of known worth.

    Args:
        name: Of the stage.
        keep: What kept its best epoch.
        before: What the weights were worth that it began with.
        epochs: How many it trained.
        groups: How many of the encoder's groups thawed.
    """
    kept = None if keep.best_epoch is None else keep.best_epoch + 1
    value = before if keep.best is None else keep.best
    return Outcome(name, _named(keep), epochs, kept, value, before, keep.tried, groups)


def by_task(rows: Rows | Stream | Mapping[str, Rows]) -> Mapping[str, Rows]:
    """The rows of several tasks, by name."""
    assert isinstance(rows, Mapping)
    return rows


def _model_of(model: TransferModel, task: str) -> TransferModel:
    return model.parts[task]


def _named(keep: KeepBest) -> str:
    return keep.monitor if isinstance(keep.monitor, str) else "the tasks' mean"


def _random(model: keras.Model) -> list[keras.Variable]:
    """Where the random numbers of a model's layers come from, as of dropout."""
    others = {id(v) for v in (*model.weights, *model.metrics_variables)}
    return [v for v in model.variables if id(v) not in others]
