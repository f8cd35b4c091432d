"""How far a training is, noted as it goes, so that the next process goes on where one was killed.

Two files say it: one of the state between two stages, one of the stage at work, by its last epoch
or step. A stage that was under way begins again with what it does before its first step, which
changes no weight, and its `fit` takes up the rest. All that decides what comes is in these files,
or comes out the same from the data: the order of rows is a function of seed and epoch.
"""

import contextlib
import errno
import functools
import os
import time
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Protocol

from tfhub_transfer import progress
from tfhub_transfer.callbacks.own import Throughout
from tfhub_transfer.errors import InputError
from tfhub_transfer.incoming import choices
from tfhub_transfer.models.transfer import TransferModel
from tfhub_transfer.optimization import optimizers
from tfhub_transfer.runtime import cluster
from tfhub_transfer.storage import opening, scratch
from tfhub_transfer.storage.notes import Damaged, Lasting, Saved
from tfhub_transfer.training import following, identity
from tfhub_transfer.training.history import State
from tfhub_transfer.training.snapshots import Arrays, Snapshots

MODES = ("auto", "only", "never")
MINUTES = 10.0
# Raise it when what the files say changes: those of others aren't read.
VERSION = 1
# An epoch that ends sooner after the last file was written waits for the next one: a second at
# least, and ten times as long as writing takes, of which so no more than a tenth of the time goes.
LEAST_SECONDS = 1.0
_TIMES = 10
_STAGE, _EPOCH = "stage", "epoch"
# What is another one where the model has trained already, as in the next cell of a notebook.
_OF_A_TRAINED_MODEL = ("encoder changed", "optimizer changed")


class Run(Protocol):
    """What is asked of a `Training`."""

    model: TransferModel
    callbacks: Sequence[Throughout]

    def state(self) -> State:
        """What it knows between two stages."""

    def restore(self, state: State) -> None:
        """Takes up where another gave its state."""


class Checkpoint:
    """The notes of one training.

    Args:
        folder: Where they lie.
        mode: `"auto"` goes on where they are of the same training, and else begins anew, saying
            why; `"only"` refuses to begin anew, `"never"` always does.
        minutes: After so many within an epoch its state is noted too.
        facts: What the training depends on beside what `begin` is given, by names that users know.

    Attributes:
        seconds: How long earlier processes trained, as far as it wasn't lost.
        goes_on: Whether the same training would go on from them.
        has_begun: Whether the training has.
        spare: Bytes on the same disk that aren't theirs: whoever writes the output needs them.
        before_anew: Called before a training begins anew; it may refuse to.

    Raises:
        InputError: If the mode is another one.
    """

    def __init__(
        self,
        folder: Lasting,
        mode: str = "auto",
        minutes: float = MINUTES,
        facts: Mapping[str, object] | None = None,
    ) -> None:
        self.folder = folder
        self.minutes = minutes
        self.seconds = 0.0
        self.goes_on = self.has_begun = False
        self.spare = 0
        self.before_anew: Callable[[], None] | None = None
        choices.one_of("resume", mode, MODES)
        self._mode = mode
        self._facts = identity.as_json({**(facts or {}), "version of checkpoints": VERSION})
        self._known: identity.Facts = {}
        self._works, self._told = True, False
        self._within: Saved | None = None
        self._done, self._fits, self._spent = 0, 0, 0.0
        self._opened = self._began = self._written = time.perf_counter()
        self._cost = 0.0

    def check(self) -> bool:
        """Whether, for all that is known before anything is done, there is what to go on from.

        Raises:
            InputError: If it has to go on, and there is nothing it could go on from.
        """
        self.goes_on = self._found(self._facts) is not None
        return self.goes_on

    def begin(self, training: Run, facts: identity.Facts) -> str | None:
        """Takes up what is noted, or notes how it begins.

        Args:
            training: The training, before its first stage.
            facts: What its weights depend on.

        Returns:
            What is to be said of where it goes on; `None` if it begins.

        Raises:
            InputError: If it has to go on, and can't.
        """
        self._known = {**self._facts, **identity.as_json(facts)}
        self._snapshots = Snapshots(training.model)
        self._opened = self._began = time.perf_counter()
        self.goes_on = False
        found = self._of_chief(training.model)
        if found is None:
            self.settle(training)
        else:
            self._take_up(training, found)
        if not self._works:  # what the chief told it
            self._forget()
        self.goes_on = self.has_begun = True
        if found is None:
            return None
        return f"Going on after {self._place()}, {progress.lasting(self.seconds)} of training"

    def settle(self, training: Run) -> None:
        """Notes the state between two stages."""
        state = training.state()
        self._done, self._fits, self._spent, self._within = state["done"], 0, 0.0, None
        self._began = time.perf_counter()
        record = {
            "training": state,
            "knows": optimizers.places(training.model),
            "frozen": _frozen(training.model),
            "callbacks": [each.state() for each in training.callbacks],
            "seconds": self._total(),
        }
        self._write(_STAGE, record, functools.partial(self._snapshots.take, settled=True))
        self.folder.remove(_EPOCH)

    # For the fit of a stage --------------------------------------------------------------------

    def started(self) -> float:
        """When the stage at work began, by `time.perf_counter`: without the time nobody worked."""
        return self._began - self._spent

    def first_fit(self) -> bool:
        """Whether this, the next fit of the stage, is its first, which alone is noted."""
        self._fits += 1
        return self._fits == 1

    def taken_up(self) -> Saved | None:
        """What is noted of the stage at work; asked once."""
        found, self._within = self._within, None
        return found

    def is_due(self, within_epoch: bool = False) -> bool:
        """Whether it is time to note how far the stage is."""
        passed = time.perf_counter() - self._written
        if within_epoch:
            return passed >= 60 * self.minutes
        return passed >= max(LEAST_SECONDS, _TIMES * self._cost)

    @property
    def snapshots(self) -> Snapshots:
        """What takes the model's weights, and gives them back."""
        return self._snapshots

    def note(self, record: Mapping[str, object], take: Callable[[], Arrays]) -> None:
        """Notes how far the stage at work is.

        Args:
            record: What JSON can say of it.
            take: Gives weights and whatever else are numbers.
        """
        spent = self._spent + time.perf_counter() - self._began
        self._write(_EPOCH, {**record, "done": self._done, "seconds": spent}, take)

    # What there is -----------------------------------------------------------------------------

    def _found(self, known: identity.Facts) -> Saved | None:
        """What is noted between stages of a training of these facts, all that it has in common."""
        if self._mode == "never":
            self._anew("")
            return None
        reason, found = "", None
        try:
            found = self.folder.read(_STAGE)
            before = {} if found is None else found.record["facts"]
        except (Damaged, KeyError) as error:
            reason = f"its checkpoint is damaged ({error})"
        else:
            if found is None:
                reason = "" if self.folder.is_empty else "its checkpoint is not whole"
            elif known is self._facts:  # before the others are known
                reason = "; ".join(identity.changed({k: before.get(k) for k in known}, known))
            else:
                reason = "; ".join(identity.changed(before, known))
        if found is None or reason:
            self._anew(reason)
            return None
        return found

    def _of_chief(self, model: TransferModel) -> Saved | None:
        """What is found by the chief of several processes, which all go on from."""
        of = model.distribute_strategy
        following.require_alike(of, self._known)
        self._works = cluster.place(of).index == 0
        found = self._found(self._known) if self._works else None
        if not following.take_over(of, self.folder, (_STAGE, _EPOCH), found is not None):
            return None
        return found or self.folder.read(_STAGE)

    def _anew(self, reason: str) -> None:
        if self._mode == "only":
            raise InputError(
                "`--resume only` goes on with a training that was interrupted, and this one can't: "
                f"{reason or 'there is no checkpoint'}. Leave it out to train anew. "
                f"Received: {self.folder.place}"
            )
        if reason and not self._told:
            self._told = True
            trained = any(each in reason for each in _OF_A_TRAINED_MODEL)
            more = "; what goes on is a model built anew, which hasn't trained" if trained else ""
            warnings.warn(
                f"an earlier training there was interrupted, and this one doesn't go on with it: "
                f"{reason}{more}",
                stacklevel=3,
            )
        if self.before_anew is not None:
            self.before_anew()

    def _take_up(self, training: Run, found: Saved) -> None:
        record, arrays = found
        _build_optimizer(training.model, record["knows"])
        self._snapshots.give(arrays)
        training.restore(record["training"])
        training.model.encoder.freeze_to(record["frozen"])
        self._done, self.seconds = record["training"]["done"], record["seconds"]
        self._within = self._of_stage()
        if self._within is not None:
            self._spent = self._within.record["seconds"]
        self.seconds += self._spent
        for each, state in zip(training.callbacks, record["callbacks"]):  # as many as then, or more
            each.go_on(state)
            each.goes_on = self._within is not None

    def _forget(self) -> None:
        self.folder.remove(_EPOCH)
        self.folder.remove(_STAGE)

    def _of_stage(self) -> Saved | None:
        """What is noted of the stage at work; nothing, if it is of another, or damaged."""
        try:
            found = self.folder.read(_EPOCH)
            fits = found is not None and found.record["facts"] == self._known
        except (Damaged, KeyError) as error:
            warnings.warn(
                f"the checkpoint within a stage is damaged ({error}); the stage begins anew",
                stacklevel=3,
            )
            return None
        return found if fits and found and found.record["done"] == self._done else None

    def _place(self) -> str:
        stages = f"stage {self._done}" if self._done else "the start"
        if self._within is None:
            return stages
        record = self._within.record
        step = f", step {record['step']}" if record["step"] else ""
        return f"epoch {record['epoch']}{step} of stage {self._done + 1}"

    def _total(self) -> float:
        return self.seconds + time.perf_counter() - self._opened

    def _write(self, name: str, record: Mapping[str, object], take: Callable[[], Arrays]) -> None:
        if not self._works:
            return
        started = time.perf_counter()
        arrays = take()
        try:
            self._require_room(arrays)
            self.folder.write(name, {**record, "facts": self._known}, arrays)
        # `TypeError`: what a stage of one's own says may be nothing that JSON knows.
        except (OSError, TypeError, ValueError) as error:
            if scratch.ends():  # another thread ends this process; what was noted before stays
                return
            # What was learned so far needs the room more than what might be lost.
            self._works = False
            self._forget()
            reason = getattr(error, "strerror", None) or error
            warnings.warn(
                f"no checkpoint can be written ({reason}), and none will be: a "
                f"run that is killed begins anew: {self.folder.place}",
                stacklevel=3,
            )
        self._written = time.perf_counter()
        self._cost = self._written - started

    def _require_room(self, arrays: Arrays) -> None:
        """Raises `OSError` if the output would find no room beside these."""
        if self.folder.free < self.spare + sum(each.nbytes for each in arrays.values()):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def check_apart(given: str | Path | Checkpoint | None, log_dir: str | Path | None) -> None:
    """Refuses one folder for notes, which are removed, and for logs, which stay.

    Args:
        given: As for `open_for`.
        log_dir: The folder of logs, if there are any.

    Raises:
        InputError: If one is the other, or lies in it.
    """
    if given is None or log_dir is None or isinstance(given, Checkpoint):
        return
    first, second = (Path(os.path.realpath(opening.path_of(each))) for each in (given, log_dir))
    if first == second or first in second.parents or second in first.parents:
        raise InputError(
            "the folder of a checkpoint is removed in the end, that of logs stays: name two, apart "
            f"from each other. Received: {given} and {log_dir}"
        )


@contextlib.contextmanager
def open_for(given: str | Path | Checkpoint | None) -> Iterator[Checkpoint | None]:
    """The notes of a training, while the body runs; in the end they are gone.

    Args:
        given: The folder; `None` for none; or notes, which whoever opened them closes.
    """
    if given is None or isinstance(given, Checkpoint):
        yield given
        return
    folder = Lasting(opening.path_of(given))
    try:
        yield Checkpoint(folder)
        folder.discard()
    finally:
        folder.release()


@contextlib.contextmanager
def gone_with(notes: Checkpoint | None, mistake: type[Exception]) -> Iterator[None]:
    """What fails in the body as it would fail again, from the notes, takes them with it."""
    try:
        yield
    except mistake:
        if notes is not None:
            notes.folder.discard()
        raise


def _frozen(model: TransferModel) -> int:
    """How many of the encoder's groups are frozen, from the first, as `freeze_to` takes it."""
    groups = model.encoder.layer_groups
    thawed = [at for at, (_, group) in enumerate(groups) if any(v.trainable for v in group)]
    return min(thawed, default=len(groups))


def _build_optimizer(model: TransferModel, known: object) -> None:
    """Makes the optimizer know what it knew, in that order, so that its state finds its place."""
    if known is None or optimizers.places(model) == known:
        return
    if not getattr(model.optimizer, "built", False):
        optimizers.build_on(model, known)
        return
    assert isinstance(known, list)
    optimizers.extend(model, [model.weights[place] for place in known])
