"""The best of many trainings, trained, measured and exported into a folder, as `tune` does."""

import dataclasses
import functools
import gc
import json
import shlex
import time
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import keras_tuner

from tfhub_transfer import progress, runtime
from tfhub_transfer.callbacks.best_weights import direction
from tfhub_transfer.data import weighing
from tfhub_transfer.encoders import registry
from tfhub_transfer.encoders.encoder import Encoder
from tfhub_transfer.errors import InputError
from tfhub_transfer.heads.settings import Head
from tfhub_transfer.jobs.inputs import joint_of, read_splits
from tfhub_transfer.jobs.options import declaring
from tfhub_transfer.jobs.options.training import TrainJob
from tfhub_transfer.jobs.options.tuning import TuneJob
from tfhub_transfer.jobs.processes import launching, roles
from tfhub_transfer.jobs.saying import say
from tfhub_transfer.jobs.searches import limits, tuners
from tfhub_transfer.jobs.searches.chief import Chief, opened
from tfhub_transfer.jobs.searches.notes import TrialNotes, noted, shared_place
from tfhub_transfer.jobs.searches.worker import Remote, joined
from tfhub_transfer.jobs.three_splits import JointSplits, Splits
from tfhub_transfer.jobs.trainings import continuing, refitting, trusting
from tfhub_transfer.jobs.trainings.training import (
    check_output,
    require_columns,
    require_told,
    say_of_texts,
    train,
)
from tfhub_transfer.reporting import search_reports, searches
from tfhub_transfer.serving.exporting import require_exportable
from tfhub_transfer.storage import scratch
from tfhub_transfer.tasks import Task
from tfhub_transfer.training import identity
from tfhub_transfer.training.stages import Plan
from tfhub_transfer.tuning import (
    SEARCHED,
    SETTINGS,
    Range,
    TransferHyperModel,
    luck,
    reports,
    trials,
)
from tfhub_transfer.tuning.space import AS_NEEDED, SEARCH, YES

TRIALS_FILE, BEST_FILE, TUNING_FILE = "trials.jsonl", "best.json", "tuning.html"
# What changes no trial.
_BESIDE = (
    *("output", "overwrite", "trials", "minutes", "trust_code", "data", "validation", "test"),
    *("refit", "workers", "slice", "calibration", "coverage", "abstain", "scope"),
)
# Rows that are asked to see how long a row takes.
_ASKED = 128
# What two machines may call differently; its weights themselves are compared.
_BY_MACHINE = ("encoder",)


def tune(job: TuneJob) -> None:
    """Searches for what trains best by the validation split, and trains, measures and exports that.

    The test split is measured once, at the end. Where KerasTuner's variables make this process one
    of several, the chief does all this, but for the trials, which the workers train.

    Args:
        job: What to do.

    Raises:
        InputError: If a file, an option, a variable or the output folder is unusable, or no trial
            came to an end.
        Ended: If this is a worker, whose chief has ended.
    """
    times = job.asked_at, time.monotonic()
    space = asked(job)
    _require_repeatable(job)
    if job.workers > 1:
        raise InputError(
            "processes are started by the command `tfhub-transfer tune --workers N`, not from "
            f"Python; see docs/tuning.md. Received: workers={job.workers}"
        )
    place = roles.place_here()
    with roles.unseen():
        if place is None or place.is_chief:
            with opened(place) as chief:
                _tune(job, space, chief, times)
        else:
            _work(job, space, place)


def _tune(
    job: TuneJob,
    space: Mapping[str, object],
    chief: Chief | None,
    times: tuple[float, float],
) -> None:
    plain = _plain(job)
    joint = joint_of(plain)
    check_output(plain, joint, continuing.is_replaced(job.output))
    with noted(job.output) as notes:
        try:
            runtime.seed_everything(job.seed)
            splits, task = read_splits(plain, joint)
            # Each refuses now what it would after hours.
            require_columns(plain, splits)
            require_told(plain, task, splits)
            trusting.require_tellable(plain, task, splits)
            if job.refit:
                refitting.pooled(splits)
            if job.folds:
                refitting.require_weights_in_both(splits)
            hypermodel = _hypermodel(job, space, splits, task)
            best = _search(job, hypermodel, splits, notes, times, chief)
        except KeyboardInterrupt:
            if notes.trials:
                say(f"the same command goes on behind {len(notes.trials)} trials")
            raise
        launching.say_alone()
        found = dataclasses.replace(plain, **best.pop("arguments"))
        del splits, task
        gc.collect()  # what trials held goes in circles
        best["command"] = command_of(found)
        # With the rest, whole or not at all: an output without them would say nothing of a search.
        train(found, beside=_files(notes, best))
    say(_conclusion(best, job))


def _files(notes: TrialNotes, best: Mapping[str, Any]) -> dict[str, str]:
    """What a search writes beside a training, by name."""
    return {
        TRIALS_FILE: "".join(f"{json.dumps(each)}\n" for each in notes.trials),
        BEST_FILE: f"{json.dumps(best, indent=1)}\n",
        TUNING_FILE: search_reports.of_records(notes.trials, best).html(),
    }


def _work(job: TuneJob, space: Mapping[str, object], place: roles.Place) -> None:
    """Trains what the chief deals out; writes nothing that stays."""
    plain = _plain(job)
    runtime.seed_everything(job.seed)
    splits, task = read_splits(plain, joint_of(plain))
    hypermodel = _hypermodel(job, space, splits, task)
    objective = _objective(job, hypermodel)
    found = joined(place, _alike(_facts(job, hypermodel, splits)))
    if found is None:
        return
    lines, welcome = found
    remote = Remote(lines, objective)
    with (
        remote.alive(),
        progress.shown(False),
        scratch.temporary() as folder,
        _precision(str(welcome["precision"]), hypermodel.encoders),
    ):
        shared = shared_place(job.output, str(welcome["token"]))
        if shared is None and job.tuner == "hyperband":
            raise InputError(
                "trials of `--tuner hyperband` go on with each other's weights, so all processes "
                "must see the folder of `--output`; put it where they do, or take another tuner. "
                f"Received: {job.output}"
            )
        tuners.work(job, hypermodel, remote, folder, shared)


def asked(job: TuneJob) -> dict[str, object]:
    """What a search is to look through, as `TransferHyperModel` takes it.

    Args:
        job: What to do.

    Raises:
        InputError: If an option has another form, or names a setting twice.
    """
    said: dict[str, object] = {}
    for option, parse in (("range", _range), ("choice", _choice), ("fix", _value)):
        for each in getattr(job, option) or ():
            name, equals, text = each.partition("=")
            name = name.replace("-", "_")
            if not (equals and text) or name not in SETTINGS:
                raise InputError(
                    f"`--{option}` takes the name of a setting and what it may be, such as "
                    f"{_EXAMPLES[option]}; there are {', '.join(SETTINGS)}. Received: {each!r}"
                )
            if name in said:
                raise InputError(
                    f"a setting is said once; leave one of both out. Received: {name} twice"
                )
            said[name] = parse(option, each, text)
    if job.search is None:
        return said
    names = [name.strip().replace("-", "_") for name in job.search.split(",")]
    odd = [name for name in names if name not in SETTINGS]
    if odd:
        raise InputError(
            f"`--search` takes names with commas, of {', '.join(SETTINGS)}. Received: {odd[0]!r}"
        )
    fixed = [name for name in names if name in said and not isinstance(said[name], (list, Range))]
    if fixed:
        raise InputError(
            "what has one value isn't searched; leave it out of `--search` or of `--fix`. "
            f"Received: {fixed[0]}"
        )
    usual = dict.fromkeys(names, SEARCH) | {name: None for name in SEARCHED if name not in names}
    return {**usual, **said}


_EXAMPLES = {
    "range": "learning_rate=1e-5:1e-3:log",
    "choice": "pooling=mean,first",
    "fix": "dropout=0.1",
}


def _range(option: str, given: str, text: str) -> Range:
    low, _, rest = text.partition(":")
    high, _, more = rest.partition(":")
    try:
        step = float(more) if more and more != "log" else None
        return Range(float(low), float(high), more == "log", step)
    except InputError:
        raise
    except ValueError as error:
        raise InputError(
            f"`--{option}` takes a name and two numbers, and `log` or a step, such as "
            f"{_EXAMPLES[option]}. Received: {given!r}"
        ) from error


def _choice(option: str, given: str, text: str) -> list[str]:
    return [each.strip() for each in text.split(",")]


def _value(option: str, given: str, text: str) -> str:
    found = text.strip()
    if found == SEARCH:
        raise InputError(
            f"`--{option}` takes one value, such as {_EXAMPLES[option]}; what is to be searched is "
            f"named by `--search`. Received: {given!r}"
        )
    return found


def _plain(job: TuneJob) -> TrainJob:
    """The training that there would be without a search."""
    shared = {*declaring.names_of(TuneJob)} & {*declaring.names_of(TrainJob)}
    return TrainJob(**{name: getattr(job, name) for name in shared}, strategy="none")


def _require_repeatable(job: TuneJob) -> None:
    if job.tuner == "hyperband" and (job.folds or job.seeds > 1):
        said = "--folds" if job.folds else "--seeds"
        raise InputError(
            "later rounds of `--tuner hyperband` go on with the weights of one training; with "
            "folds or seeds take bayesian, random or grid, or leave both out. "
            f"Received: --tuner hyperband and {said}"
        )


def _search(
    job: TuneJob,
    hypermodel: TransferHyperModel,
    splits: Splits | JointSplits,
    notes: TrialNotes,
    times: tuple[float, float],
    chief: Chief | None,
) -> dict[str, Any]:
    """Searches; what is told of the best trial, with the options of its training."""
    objective = _objective(job, hypermodel)
    facts = _facts(job, hypermodel, splits)
    said = notes.begin(facts)
    if said:
        say(said)
    with _precision(job.precision, hypermodel.encoders) as precision:
        ending, apart = _ending(job, hypermodel, splits)
        times = times[0], times[1] + apart  # no training does it once more
        serve = None
        if chief is not None:
            welcome = {"precision": precision, "token": notes.token()}
            serve = functools.partial(chief.serve, welcome, _alike(facts))
        tuner = tuners.search(job, hypermodel, objective, notes, times, ending, serve)
    return _best(hypermodel, tuner, notes)


def _ending(
    job: TuneJob, hypermodel: TransferHyperModel, splits: Splits | JointSplits
) -> tuple[limits.Ending, float]:
    """Says what splits hold; how long measuring the test split takes, and seconds to see that."""
    # Gone behind this: trials have the one encoder, unless somebody keeps a model.
    model = hypermodel.build(keras_tuner.HyperParameters())
    require_exportable(model)
    say_of_texts(model, splits)  # before the trials; the last training says it once more
    own = [*splits.by_task().values()]
    seen = sum(len(each.train) + len(each.validation) for each in own)
    measured = sum(len(each.test) for each in own) / seen
    began = time.monotonic()
    seconds = _measuring(model, own[0]) if job.minutes else 0.0
    return limits.Ending(measured=measured, measuring=seconds), time.monotonic() - began


def _measuring(model: Any, splits: Splits) -> float:
    """Seconds that the test split takes through the whole model, as rows tell that teach.

    Of whole texts alone, whose vectors an earlier command may have stored.
    """
    if not model.has_fixed_features:
        return 0.0
    rows = splits.train[:_ASKED]
    model.predict_scores(rows)  # compiles
    began = time.monotonic()
    model.predict_scores(rows)
    return (time.monotonic() - began) * len(splits.test) / len(rows)


def _precision(name: str, encoders: Sequence[Encoder]) -> AbstractContextManager[str]:
    """The precision of all trials; of several encoders each may have its own."""
    if name == "auto" and len(encoders) > 1:
        return nullcontext(name)
    return runtime.precision(name, encoders[0].dimension)


def _best(hypermodel: TransferHyperModel, tuner: Any, notes: TrialNotes) -> dict[str, Any]:
    """What is told of the trial that is taken, with the options of its training."""
    choice = hypermodel.best(tuner)
    taken = tuner.oracle.get_trial(choice.trial)
    drawn = hypermodel.chosen(taken.hyperparameters)
    if epochs := trials.epochs_of(tuner.oracle, taken):
        drawn["epochs"] = epochs
    known = {each["trial"]: each for each in notes.trials if each["status"] == "COMPLETED"}
    own = known[choice.trial]
    default = next((each for name, each in known.items() if searches.is_first(name)), {})
    return {
        "objective": tuner.oracle.objective.name,
        "direction": tuner.oracle.objective.direction,
        **{name: own[name] for name in ("score", "spread", "standard_error")},
        "default": default.get("score"),
        "default_spread": default.get("spread"),
        "noise": luck.noise([each["scores"] for each in known.values()]),
        "chosen_by": choice.reason,
        "trial": choice.trial,
        "trials": len(notes.trials),
        "values": dict(drawn),
        "log": reports.logarithmic(tuner),
        "arguments": _as_options(drawn),
    }


def _hypermodel(
    job: TuneJob, space: Mapping[str, object], splits: Splits | JointSplits, task: Task
) -> TransferHyperModel:
    source = registry.source_of(job.encoder)
    weights = None
    if job.class_weights:  # of what teaches; several tasks have none
        [own] = splits.by_task().values()
        weights = task.class_weights(weighing.taught(own.train).labels)
    given: Any = Encoder(source, trust_code=True) if job.trust_code else source
    head = Head(towers=job.towers)
    return TransferHyperModel(
        *(given, task, splits.train, splits.validation),
        space=space,
        plan=Plan(class_weight=weights, seed=job.seed, verbose=0),
        folds=job.folds or 1,
        seeds=job.seeds,
        head=head,
        preprocessor=job.preprocessor,
        sequence_length=job.sequence_length,
    )


def _objective(job: TuneJob, hypermodel: TransferHyperModel) -> keras_tuner.Objective:
    found = _named_objective(job.objective, hypermodel)
    trials.require_comparable(hypermodel.space.searched, found, hypermodel.reported)
    return found


def _named_objective(name: str | None, hypermodel: TransferHyperModel) -> keras_tuner.Objective:
    # Its direction is the task's own: of several tasks' mean the name tells none.
    if name in (None, hypermodel.objective.name):
        return hypermodel.objective
    if name not in hypermodel.reported:
        raise InputError(
            "`--objective` is a value that Keras reports of the validation split: expected one of "
            f"{', '.join(sorted(hypermodel.reported))}. Received: {name!r}"
        )
    return keras_tuner.Objective(name, direction("auto", name))


def _facts(
    job: TuneJob, hypermodel: TransferHyperModel, splits: Splits | JointSplits
) -> dict[str, object]:
    """What trials depend on, as JSON can say it."""
    found = {
        **{name: v for name, v in _told(job).items() if name not in _BESIDE},
        "space": repr(hypermodel.space),
        "fingerprint": [each.fingerprint() for each in hypermodel.encoders],
        **runtime.versions(),
        **identity.of_examples("train", splits.train),
        **identity.of_examples("validation", splits.validation),
    }
    as_json: dict[str, object] = json.loads(json.dumps(found))
    return as_json


def _alike(facts: Mapping[str, object]) -> dict[str, object]:
    """What is the same in all processes of a search."""
    return {name: value for name, value in facts.items() if name not in _BY_MACHINE}


def _told(job: TuneJob) -> dict[str, object]:
    return json.loads(json.dumps(dataclasses.asdict(job), default=str))


def _as_options(drawn: Mapping[str, Any]) -> dict[str, object]:
    """The options of `train` that say the values of a trial."""
    found = dict(drawn)
    found["unfreeze"] = str(drawn["unfreeze"]) if drawn["unfreeze"] else "none"
    if found.get("epochs") == AS_NEEDED:
        del found["epochs"]
    if "towers" in found:
        found["towers"] = found["towers"] == YES
    return found


def command_of(job: TrainJob) -> str:
    """The command that does what a job says, for a shell.

    Args:
        job: The job.
    """
    words = ["tfhub-transfer", "train"]
    for field, _ in declaring.of(TrainJob).items():
        value = getattr(job, field.name)
        if value == field.default or value is None:
            continue
        if declaring.kind(field) is bool:
            words.append(declaring.spelled(field))
        else:
            text = ",".join(map(str, value)) if isinstance(value, (list, tuple)) else str(value)
            name = declaring.spelled(field)
            # Apart, what begins with a dash would be read as another option.
            words += [f"{name}={text}"] if text.startswith("-") else [name, text]
    return shlex.join(words)


def _conclusion(best: Mapping[str, Any], job: TuneJob) -> str:
    judge, default = best["objective"], best["default"]
    told = f"Trial {best['trial']} of {best['trials']} was taken: {judge} {tuners.scored(best)}"
    if default is not None:
        its = {"score": default, "spread": best["default_spread"]}
        told += f", the defaults {tuners.scored(its)}"
    told += f"\nWhy: {best['chosen_by']}"
    if best["noise"] is not None:
        told += f"\nOf what the trials' means differ by, {best['noise']:.0%} is luck (variance)"
    added = ", ".join((TRIALS_FILE, BEST_FILE, TUNING_FILE))
    return f"{told}\n{best['command']}\nAdded to {job.output}: {added}"
