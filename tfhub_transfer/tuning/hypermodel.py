"""The hypermodel: trials of KerasTuner that are trained as `fine_tune` trains."""

import copy
from collections.abc import Mapping, Sequence
from typing import Any

import keras
import keras_tuner

from tfhub_transfer import runtime
from tfhub_transfer.data import Examples, Stream
from tfhub_transfer.encoders import registry
from tfhub_transfer.encoders.encoder import Encoder
from tfhub_transfer.errors import InputError
from tfhub_transfer.incoming import ranges
from tfhub_transfer.models.transfer import TransferModel
from tfhub_transfer.tasks import Task
from tfhub_transfer.training import reused_heads
from tfhub_transfer.training.stages import Plan
from tfhub_transfer.tuning import luck, repeats, shared, trials
from tfhub_transfer.tuning.making import How, Pattern
from tfhub_transfer.tuning.space import ENCODER, SETTINGS, Space, Spaces, Value, known_settings

# What of a trial's values tells which groups of the encoder a head reads.
_OF_READING = ("pooling", "block")


class TransferHyperModel(keras_tuner.HyperModel):
    """Models of one encoder and one task, for any of KerasTuner's tuners.

    Each trial is trained as `fine_tune` trains, so that a frozen encoder runs once for each text in
    the whole search, and layers that stay frozen once for each depth. All trials share one encoder,
    which begins each of them as it was at first. The first trial is the library's own defaults,
    whatever the tuner drew, and with `Hyperband` trained whole: so a search ends with nothing
    worse than no search, as validation has it. What diverges, or needs more memory than there
    is, is a failed trial with its reason.

    Call `tuner.search()` without examples, which are here; it takes `epochs`, `callbacks` and
    `verbose` as `fine_tune` and `Plan` do. To choose more, derive a class and override `build` or
    `fit`, which get KerasTuner's `hp` as ever.

    With folds or seeds a trial is several trainings: it is worth their mean, and `best` tells which
    trial to take and how much of what they differ by is luck. Hyperband, whose later rounds go on
    with the weights of one training, takes neither.

    Args:
        encoder: As for `build_model`; an `Encoder` that is given stays as it is.
        task: Likewise. Each trial has a copy of it.
        train: Examples to learn from; as for `fine_tune`.
        validation: Examples that trials are judged by. Keep those to test with out of a search.
        space: What to search, by the names in `SETTINGS`: a value, which is fixed, a list of
            values, a `Range`, or `"search"` for the usual values. What isn't named is searched if
            it is in `SEARCHED`; the rest is as the library has it.
        plan: Finer settings of each trial; its `seed` is that of all trials, and of the n-th of
            several trainings of one trial on the same examples n more.
        folds: In how many parts both splits together are judged, each after training on the others;
            1 to train on `train` and judge by `validation`. Texts that are the same stay together,
            and classes keep their shares, as `data.folds` has it.
        seeds: How many times each of these trainings is done, each with another seed.
        **build: `head`, `loss`, `preprocessor` and `sequence_length`, as for `build_model`. What
            isn't searched is as `head` and `plan` have it.

    Attributes:
        folds: `(train, validation)` of each fold.
        keeps_weights: Whether KerasTuner writes the weights of each trial, as it does unless this
            is set to false; then `get_best_models` and `Hyperband` have none to go on with.
        objective: What trials are judged by, for a tuner.
        reported: The names of all values that a trial reports, each of which may be an objective.
        space: What is searched, and what is fixed.

    Raises:
        InputError: If an argument is out of range, or one doesn't suit another.

    Example:

    >>> hypermodel = TransferHyperModel("auto", task, train, validation)
    >>> hypermodel.objective.name  # `RandomSearch(hypermodel, hypermodel.objective).search()`
    'val_accuracy'
    """

    def __init__(
        self,
        encoder: registry.Named | Encoder,
        task: Task | Mapping[str, Task],
        train: Examples | Stream | Mapping[str, Examples],
        validation: Examples | Mapping[str, Examples],
        *,
        space: Mapping[str, object] | None = None,
        plan: Plan | None = None,
        folds: int = 1,
        seeds: int = 1,
        **build: Any,
    ) -> None:
        super().__init__()
        self._pattern = Pattern(task, plan, build)
        self._task = self._pattern.task
        self._seeds = ranges.whole_number("seeds", seeds, *ranges.SEEDS)
        self.folds = repeats.folded(self._task, train, validation, folds, self._pattern.plan.seed)
        asked = dict(space or {})
        names = asked.pop(ENCODER, None)
        self._grounds = shared.grounds(encoder, names, build.get("preprocessor"))
        self._last: Any = None
        # Which execution of a trial it is, as the tuner asks for them, and which of its trainings.
        self._execution = self._training = 0
        self._heads, self.keeps_weights = reused_heads.Reused(), True
        self._depths: dict[str, trials.Depths] = {}
        self._left: frozenset[str] = frozenset()
        spaces = {name: self._space_on(name, asked) for name in self._grounds}
        self.space = Spaces(spaces) if names is not None else spaces[""]
        self._left = self.space.left
        repeats.require_losses(self._task, _losses(self.space), self.folds)
        made = self._make({ENCODER: next(iter(self._grounds))})
        self.objective = keras_tuner.Objective(*trials.judge_of(made))
        self.reported = trials.reported(made) | {self.objective.name}

    def _space_on(self, name: str, given: Mapping[str, object]) -> Space:
        """What is searched on an encoder."""
        encoder = self._make({ENCODER: name}).encoder  # which refuses what can't be built
        self._depths[name] = trials.Depths(encoder)
        head, at = self._pattern.head, len(self._depths)
        known = known_settings(encoder, self._task, head, self._pattern.plan)
        mine = {n: v for n, v in given.items() if n in known or n not in SETTINGS or at == 1}
        return Space(known, mine, f" ({at})" if at > 1 else "")

    def _ground(self, drawn: Mapping[str, Any]) -> shared.Ground:
        return self._grounds[drawn.get(ENCODER, "")]

    # What KerasTuner calls ---------------------------------------------------------------------

    def build(self, hp: Any) -> TransferModel:
        """A model of a trial's values, untrained.

        Args:
            hp: KerasTuner's `HyperParameters`.
        """
        # The same trial once more is another execution of it, which luck is to tell apart.
        if not self._training:
            self._execution = self._execution + 1 if hp is self._last else 0
        self._last = hp
        return self._make(self.space.draw(hp))

    def fit(
        self,
        hp: Any,
        model: TransferModel,
        *examples: object,
        epochs: int | None = None,
        initial_epoch: int = 0,
        callbacks: Sequence[keras.callbacks.Callback] = (),
        verbose: int | str = 0,
    ) -> dict[str, float]:
        """Trains a model of a trial, and says what it is worth on validation.

        Args:
            hp: KerasTuner's `HyperParameters`.
            model: What `build` gave.
            *examples: None, for they are here already.
            epochs: Of the thawed encoder, as `Hyperband` chooses them.
            initial_epoch: How many of these an earlier trial has had, whose weights these are.
            callbacks: The user's own, and KerasTuner's.
            verbose: As in `Plan`.

        Returns:
            All values of the validation split by the names that Keras has for them.
        """
        if examples:
            raise trials.fatal(
                "the examples are those that `TransferHyperModel` was given; call `search` without "
                f"any. Received: {len(examples)}"
            )
        own, others = trials.apart(callbacks)
        if epochs is not None and "epochs" in self.space.searched:
            raise trials.fatal(
                "epochs are chosen by the tuner here, or by `search(epochs=...)`: take them out of "
                f"the space. Received: epochs={epochs}, and a space of epochs"
            )
        if self.trainings > 1 and trials.of_hyperband(hp):
            raise trials.fatal(
                "later rounds of Hyperband go on with the weights of one training: with folds or "
                "seeds search by RandomSearch, BayesianOptimization or GridSearch. "
                f"Received: {self.trainings} trainings a trial"
            )
        judge = _judge(self, trials.judged_by(own))
        if trials.is_first(own):
            model = self._with_defaults(hp, model)
            epochs = None if trials.of_hyperband(hp) else epochs
        how = epochs, initial_epoch, verbose
        again = [copy.deepcopy(others) for _ in range(1, self.trainings)]
        with trials.told(own, model, self.keeps_weights) as tell:
            found = self._worth(hp, model, how, others)
            tell(found)
        if not again:
            return repeats.told(found, judge)
        with self._ground(self.space.draw(hp)).encoder.lent_on(model):
            more = [self._again(hp, at, how, each) for at, each in enumerate(again, 1)]
        return repeats.together([found, *more], judge)

    # How a trial is made and trained -----------------------------------------------------------

    @property
    def rows(self) -> int:
        """How many examples are trained on; of several tasks those of the largest."""
        given = self._task.apart(self.folds[0][0])
        return max(len(given[name]) for name in self._task.parts)

    @property
    def trainings(self) -> int:
        """How many trainings a trial is."""
        return len(self.folds) * self._seeds

    def best(self, tuner: Any) -> luck.Choice:
        """The trial to take, and why: see `Choice`.

        Args:
            tuner: KerasTuner's, once its search is over.

        Raises:
            InputError: If no trial came to its end.
        """
        found = self.scored(tuner)
        if not found:
            raise InputError(
                "none of the trials came to its end, so there is none to take; search lower rates, "
                f"or longer. Received: {len(tuner.oracle.trials)} trials"
            )
        return luck.choose(found, tuner.oracle.objective.direction)

    def scored(self, tuner: Any) -> list[luck.Scored]:
        """What each trial of a search that came to its end was judged by, in their order.

        Args:
            tuner: KerasTuner's.
        """
        done = trials.completed(tuner)
        depths = [int(self.space.draw(each.hyperparameters)["unfreeze"]) for each in done]
        return [
            luck.Scored(each.trial_id, trials.scores_of(each), depth)
            for each, depth in zip(done, depths, strict=True)
        ]

    def chosen(self, hp: Any) -> dict[str, Value]:
        """All that a trial's model and training are made of, by the names in `SETTINGS`.

        Args:
            hp: KerasTuner's `HyperParameters`, such as `tuner.get_best_hyperparameters()[0]`.
        """
        return self._chosen(self.space.draw(hp))

    def _chosen(
        self, drawn: Mapping[str, Value], model: TransferModel | None = None
    ) -> dict[str, Value]:
        """What was drawn, with the groups that thaw as the head of its model counts them."""
        form = tuple(drawn.get(name) for name in _OF_READING)
        depths = self._depths[str(drawn.get(ENCODER, ""))]
        if model is not None or not depths.knows(form):
            depths.note(form, (model or self._make(drawn)).encoder)
        return {**drawn, "unfreeze": depths.of(form, int(drawn["unfreeze"]))}

    @property
    def encoder(self) -> Encoder:
        """The encoder that all trials share; of several that of the library's own values."""
        return self.encoders[0]

    @property
    def encoders(self) -> list[Encoder]:
        """All encoders that trials are on."""
        return [each.encoder.encoder for each in self._grounds.values()]

    @property
    def _seed(self) -> int:
        own = self._training // len(self.folds)
        return (self._pattern.plan.seed + self._execution * self._seeds + own) % (
            ranges.SEED[1] + 1
        )

    def _worth(
        self,
        hp: Any,
        model: TransferModel,
        how: How,
        callbacks: Sequence[keras.callbacks.Callback],
    ) -> dict[str, float]:
        """What a model is worth that is trained on the fold whose turn it is."""
        fold = self.folds[self._training % len(self.folds)]
        drawn = self._chosen(self.space.draw(hp), model)
        # Where nobody chose a precision it is as the encoder's width has it.
        precision = runtime.precision("auto", model.encoder.dimension)
        shared = self._ground(drawn).used_by(model, len(self.folds))
        with precision, shared, reused_heads.among(self._heads):
            history = self._pattern.train(model, fold, drawn, how, self._seed, callbacks)
            return trials.worth(model, history, fold[1], self.objective.name, self._seed)

    def _again(self, hp: Any, training: int, *how: Any) -> dict[str, float]:
        """What another model of a trial is worth: of another fold, or with another seed."""
        self._training = training
        try:
            return self._worth(hp, self.build(hp), *how)
        except keras_tuner.errors.FailedTrialError as error:
            which = f"training {training + 1} of {self.trainings}"
            raise keras_tuner.errors.FailedTrialError(f"{which}: {error}") from error
        finally:
            self._training = 0

    def _make(self, drawn: Mapping[str, Value]) -> TransferModel:
        ground = self._ground(drawn).encoder
        model = self._pattern.model(ground.lend(self._seed), drawn, self._seed, self._left)
        ground.lent(model)
        return model

    def _with_defaults(self, hp: Any, model: TransferModel) -> TransferModel:
        """The model of the library's own values, which come in the place of those drawn."""
        found = trials.defaults(hp)
        if found == hp.values:
            return model
        hp.values, self._last = found, None
        for each in self._grounds.values():
            each.encoder.take_back()
        return self.build(hp)


def _losses(space: Space | Spaces) -> list[Value]:
    """All losses that trials may learn by, where there are several."""
    searched: Any = space.searched.get("loss", ())
    return [*searched, *(space.fixed[name] for name in ("loss",) if name in space.fixed)]


@trials.fatal_mistakes()
def _judge(made: TransferHyperModel, objective: Any) -> Any:
    """What judges the trials of a tuner: its own objective, if it is known."""
    found = objective or made.objective
    trials.require_comparable(made.space.searched, found, made.reported)
    return found
