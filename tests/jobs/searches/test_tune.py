"""`tune`: searches by the validation split, then trains, measures and exports the best."""

import errno
import html
import json
import math
import os
import re
import shlex
import signal
import socket
import statistics
import subprocess
import sys
import time
import types
from pathlib import Path
from typing import Any
from unittest import mock

import keras_tuner
import numpy as np
import pytest
import tensorflow as tf

from tfhub_transfer import usage
from tfhub_transfer.data import Examples
from tfhub_transfer.errors import InputError
from tfhub_transfer.jobs.options.training import TrainJob
from tfhub_transfer.jobs.options.tuning import TuneJob
from tfhub_transfer.jobs.searches import tuners, tuning
from tfhub_transfer.jobs.searches.limits import Ending
from tfhub_transfer.jobs.searches.notes import TrialNotes, noted
from tfhub_transfer.jobs.searches.tuners import longest
from tfhub_transfer.optimization import planning
from tfhub_transfer.tuning import SEARCHED, Range, luck, records
from tfhub_transfer.tuning.space import SEARCH

ROWS = "text,label\n" + "".join(
    f"a good film {i},positive\nthe worst movie {i},negative\n" for i in range(30)
)
EXAMPLES = Examples.from_lists(["good", "bad"], ["positive", "negative"])
# What keeps trials of a text encoder short.
FIXED = ("--fix", "unfreeze=none")


@pytest.fixture
def data(tmp_path: Path) -> Path:
    path = tmp_path / "rows.csv"
    path.write_text(ROWS, encoding="utf-8")
    return path


def words_of(data: Path, encoder: Path, output: Path, *more: Any) -> list[str]:
    words = ["tune", "--task", "classification", "--data", data, "--encoder", encoder]
    return [str(word) for word in [*words, "--output", output, *FIXED, *more]]


def trials_of(output: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (output / "trials.jsonl").read_text("utf-8").splitlines()]


def weights(output: Path) -> list[Any]:
    import tfhub_transfer as tt

    return tt.load_model(output / "model.keras").get_weights()


@pytest.mark.slow
def test_what_is_found_is_what_the_train_command_gives(
    text_encoder: Path, data: Path, tmp_path: Path, run: Any
) -> None:
    output = tmp_path / "out"
    more = ("--tuner", "random", "--trials", "3", "--search", "dropout,hidden-units")
    status, out, error = run(*words_of(data, text_encoder, output, *more))
    assert status == 0, error
    names = {path.name for path in output.iterdir()}
    train = {"model.keras", "serving", "report", "history.csv", "training.json"}
    assert names == train | {"trials.jsonl", "best.json", "tuning.html", ".tfhub-transfer"}
    trials = trials_of(output)
    assert len(trials) == 3 and "Trial 0, the defaults: val_accuracy" in out
    # Nothing but what was asked for is searched, and the library's own values come first.
    assert trials[0]["values"] == {"hidden_units": 0, "dropout": 0.1}
    assert all({*trial["values"]} == {"dropout", "hidden_units"} for trial in trials)
    best = json.loads((output / "best.json").read_text("utf-8"))
    assert best["score"] == max(trial["score"] for trial in trials)
    assert best["default"] == trials[0]["score"] and best["trials"] == 3
    assert best["values"]["unfreeze"] == 0
    page = (output / "tuning.html").read_text("utf-8")
    assert f"<b>{best['score']:.4f}</b>" in page and html.escape(best["command"]) in page
    # Nothing is left beside it.
    assert not [p for p in tmp_path.iterdir() if p.name.startswith(".")]
    # The command that is told trains the same model, to the bit.
    command = shlex.split(best["command"])
    place = command.index("--output") + 1
    command[place] = str(tmp_path / "again")
    assert command[:2] == ["tfhub-transfer", "train"]
    status, _, error = run(*command[1:])
    assert status == 0, error
    for mine, its in zip(weights(output), weights(tmp_path / "again")):
        assert (mine == its).all()
    report, again = (
        json.loads((folder / "report" / "report.json").read_text("utf-8"))
        for folder in (output, tmp_path / "again")
    )
    assert report["metrics"] == again["metrics"]
    record = json.loads((output / "training.json").read_text("utf-8"))
    place = record["history"]["best_epoch"][0]
    assert record["history"]["val_accuracy"][place] == best["score"]


def _beside_alone(job: TrainJob, beside: dict[str, str]) -> None:
    """In place of the last training: what the search itself writes."""
    job.output.mkdir()
    for name, text in beside.items():
        (job.output / name).write_text(text, "utf-8")


@pytest.mark.slow
def test_folds_are_kept_of_each_trial_and_say_which_is_taken(
    text_encoder: Path, data: Path, tmp_path: Path, run: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tuning, "train", _beside_alone)
    output = tmp_path / "out"
    more = ("--trials", "2", "--tuner", "random", "--search", "dropout", "--folds", "2")
    status, out, error = run(*words_of(data, text_encoder, output, *more))
    assert status == 0, error
    trials, best = trials_of(output), json.loads((output / "best.json").read_text("utf-8"))
    for trial in trials:
        scores = trial["scores"]
        assert len(scores) == 2 and trial["score"] == pytest.approx(statistics.fmean(scores))
        assert trial["spread"] == pytest.approx(statistics.stdev(scores))
        assert trial["standard_error"] == pytest.approx(statistics.stdev(scores) / 2**0.5)
        assert {*trial["metrics"]} == {"val_accuracy", "val_loss"}
    ended = [trial["ended"] for trial in trials]
    assert ended == sorted(ended) and ended[0] > trials[0]["seconds"]
    bounds = {t["trial"]: t["score"] - t["standard_error"] for t in trials}
    assert best["trial"] == max(bounds, key=lambda name: bounds[name])
    assert best["default"] == trials[0]["score"]
    assert best["default_spread"] == trials[0]["spread"]
    assert best["noise"] == luck.noise([trial["scores"] for trial in trials])
    assert best["chosen_by"] in out
    command = shlex.split(best["command"])
    assert "--folds" not in command


@pytest.mark.parametrize("more", [("--folds", "3"), ("--seeds", "2")])
def test_hyperband_has_no_repeats(
    text_encoder: Path, data: Path, tmp_path: Path, run: Any, more: Any
) -> None:
    words = words_of(data, text_encoder, tmp_path / "out", "--tuner", "hyperband", *more)
    status, out, error = run(*words)
    assert status == 2 and error.count("\n") == 1 and "Trial" not in out
    received = f"Received: --tuner hyperband and {more[0]}\n"
    assert error.endswith(f"take bayesian, random or grid, or leave both out. {received}")


@pytest.mark.exhaustive
@pytest.mark.slow
def test_a_search_that_was_killed_goes_on_behind_the_trials_that_there_are(
    text_encoder: Path, data: Path, tmp_path: Path
) -> None:
    output = tmp_path / "out"
    more = ("--tuner", "random", "--trials", "5", "--search", "dropout,hidden_units")
    words = [sys.executable, "-m", "tfhub_transfer", *words_of(data, text_encoder, output, *more)]
    whole = tmp_path / "whole"
    undisturbed = [str(whole) if word == str(output) else word for word in words]
    subprocess.run(undisturbed, check=True, capture_output=True)
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if line.startswith("Trial 1:"):
                time.sleep(0.3)  # in the middle of the next one
                process.send_signal(signal.SIGKILL)
                break
    assert not output.exists()
    done = subprocess.run(words, check=True, capture_output=True, text=True)
    assert "goes on behind 2 trials" in done.stdout and "Trial 1:" not in done.stdout
    found, wanted = trials_of(output), trials_of(whole)
    for name in ("trial", "values", "score", "status"):
        assert [trial[name] for trial in found] == [trial[name] for trial in wanted]
    for mine, its in zip(weights(output), weights(whole)):
        assert (mine == its).all()
    assert not [p for p in tmp_path.iterdir() if p.name.startswith(".")]


GRID = ("--tuner", "grid", "--search", "dropout,hidden_units", "--seed", "3")
CHOICES = ("--choice", "dropout=0.1,0.0,0.3,0.5", "hidden_units=0,8,16")
# The command in another process, as tests have it in this one: see `conftest.py`.
AS_HERE = """
import sys
import tensorflow as tf
from tfhub_transfer import cli, runtime
from tfhub_transfer.optimization import planning
tf.config.optimizer.set_experimental_options({"disable_meta_optimizer": True})
planning.HEAD_STEPS = 40
with runtime.precision("float32"):
    sys.exit(cli.main())
"""


class Party:
    """Processes of one search, each started by hand."""

    def __init__(self, words: list[str]) -> None:
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", 0))
            port = str(taken.getsockname()[1])
        self.words = [sys.executable, "-c", AS_HERE, *words]
        self.place = {"KERASTUNER_ORACLE_IP": "127.0.0.1", "KERASTUNER_ORACLE_PORT": port}
        self.running = list[subprocess.Popen[str]]()

    def start(self, name: str) -> subprocess.Popen[str]:
        pipe, env = subprocess.PIPE, {**os.environ, **self.place, "KERASTUNER_TUNER_ID": name}
        made = subprocess.Popen(self.words, stdout=pipe, stderr=pipe, text=True, env=env)
        self.running.append(made)
        return made

    def end(self) -> None:
        for each in self.running:
            each.kill()
            each.communicate()


@pytest.fixture
def parties() -> Any:
    made: list[Party] = []

    def make(words: list[str]) -> Party:
        made.append(Party(words))
        return made[-1]

    yield make
    for each in made:
        each.end()


def told(output: Path) -> list[Any]:
    """What doesn't depend on the time that a search took."""
    names = ("trial", "status", "values", "score", "metrics")
    found = sorted(trials_of(output), key=lambda trial: str(trial["trial"]))
    return [{name: trial[name] for name in names} for trial in found]


@pytest.mark.slow
def test_a_chief_and_workers_find_what_one_process_finds(
    text_encoder: Path,
    data: Path,
    tmp_path: Path,
    run: Any,
    parties: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """To the digit; and what is trained in the end, to the bit."""
    alone, several = tmp_path / "alone", tmp_path / "several"
    status, _, error = run(*words_of(data, text_encoder, alone, *GRID, *CHOICES))
    assert status == 0, error
    words = words_of(data, text_encoder, several, *GRID, *CHOICES)
    party = parties(words)
    workers = [party.start(name) for name in ("one", "two")]
    for name, value in {**party.place, "KERASTUNER_TUNER_ID": "chief"}.items():
        monkeypatch.setenv(name, value)
    status, _, error = run(*words)
    assert status == 0, error
    for each in workers:
        said = each.communicate(timeout=60)
        assert each.returncode == 0 and said[0] == "", said
    assert "waiting for workers at 127.0.0.1:" in error
    assert "worker one is there" in error and "worker two is there" in error
    assert len(told(alone)) == 12 and told(several) == told(alone)
    assert all(0 < trial["seconds"] <= trial["ended"] for trial in trials_of(several))
    for mine, its in zip(weights(alone), weights(several)):
        assert (mine == its).all()
    best, same = (json.loads((each / "best.json").read_text("utf-8")) for each in (alone, several))
    assert {**same, "command": best["command"]} == best
    assert {p.name for p in tmp_path.iterdir()} == {"rows.csv", "alone", "several"}


@pytest.mark.exhaustive
@pytest.mark.slow
def test_the_search_outlives_its_workers_and_goes_on_without_its_chief(
    text_encoder: Path, data: Path, tmp_path: Path, run: Any, parties: Any
) -> None:
    """Random draws, whose values are those of one process in the end."""
    output = tmp_path / "out"
    random = ("--tuner", "random", "--trials", "8", "--search", "dropout,hidden_units")
    party = parties(words_of(data, text_encoder, output, *random))

    def until(process: subprocess.Popen[str], begins: str) -> None:
        assert process.stdout is not None
        assert any(line.startswith(begins) for line in process.stdout)

    chief, first, second = map(party.start, ("chief", "one", "two"))
    until(chief, "Trial ")
    first.send_signal(signal.SIGKILL)
    until(chief, "Trial ")
    chief.send_signal(signal.SIGKILL)
    _, said = second.communicate(timeout=60)
    assert second.returncode == 75 and "the chief of this search has ended" in said
    assert not output.exists()
    chief, second = map(party.start, ("chief", "two"))
    out, said = chief.communicate(timeout=200)
    assert chief.returncode == 0, said
    assert re.search(r"goes on behind \d trials", out)
    out, said = second.communicate(timeout=30)
    assert second.returncode == 0 and out == "", said
    whole = tmp_path / "whole"
    status, _, error = run(*words_of(data, text_encoder, whole, *random))
    assert status == 0, error
    assert len(told(whole)) == 8 and told(output) == told(whole)


@pytest.mark.slow
@pytest.mark.parametrize("place", ["trial", pytest.param("notes", marks=pytest.mark.exhaustive)])
def test_a_full_disk_ends_the_search_with_what_mends_it(
    text_encoder: Path,
    data: Path,
    tmp_path: Path,
    run: Any,
    monkeypatch: pytest.MonkeyPatch,
    place: str,
) -> None:
    """Nothing trains. To KerasTuner it would be a trial that failed, and the others after it."""
    trained: list[str] = []
    last: list[TrainJob] = []

    def fit(own: Any, hp: Any, *given: Any, **more: Any) -> dict[str, float]:
        trained.append("trial")
        if trained == ["trial", "trial"] and place == "trial":
            raise tf.errors.ResourceExhaustedError(None, None, "weights; No space left on device")
        return {"val_accuracy": abs(hp.values["dropout"] - 0.1), "val_loss": 1.0}

    def train(job: TrainJob, beside: dict[str, str]) -> None:
        last.append(job)
        _beside_alone(job, beside)

    def note(notes: TrialNotes, trial: Any) -> None:
        if len(trained) == 2 and place == "notes":
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        keep(notes, trial)

    keep = TrialNotes.note
    monkeypatch.setattr(tuning, "train", train)
    monkeypatch.setattr(tuning.TransferHyperModel, "fit", fit)
    monkeypatch.setattr(TrialNotes, "note", note)
    more = ("--tuner", "random", "--trials", "3", "--search", "dropout")
    words = words_of(data, text_encoder, tmp_path / "out", *more)
    status, out, error = run(*words)
    assert status == 2 and error.count("\n") == 1 and out.count("\nTrial ") == 1
    assert "no space is left on the disk" in error and ".out.tune.partial-training\n" in error
    status, out, error = run(*words)
    assert status == 0 and "goes on behind 1 trials" in out, error
    found = trials_of(tmp_path / "out")
    assert [each["status"] for each in found] == ["COMPLETED"] * 3
    # What is trained in the end is the best of them, which the defaults can't be here.
    [job] = last
    best = max(found, key=lambda each: each["score"])
    assert job.dropout == best["values"]["dropout"] != 0.1 and job.unfreeze == "none"


def test_trials_of_another_search_are_not_taken_for_these(tmp_path: Path) -> None:
    facts = {"seed": 1, "names": ("a", "b")}
    with pytest.raises(KeyboardInterrupt), noted(tmp_path / "out") as notes:
        assert notes.begin(facts) is None
        (notes.project / "trial_0").mkdir(parents=True)
        (notes.project / "trial_0" / "trial.json").write_text("{}", "utf-8")
        notes.note({"trial": "0", "ended": 1.0})
        with pytest.raises(InputError, match="another process searches there at this moment"):
            TrialNotes(tmp_path / "out")
        # Half of what a kill leaves.
        (notes.project / "trial_0" / "trial.json").write_text("{", "utf-8")
        (notes.project / "trial_1").mkdir()
        (notes.project / "trial_1" / "trial.json").write_text("", "utf-8")
        raise KeyboardInterrupt
    with pytest.raises(KeyboardInterrupt), noted(tmp_path / "out") as notes:
        said = notes.begin(facts)
        assert said is not None and said.startswith("goes on behind 1 trials")
        assert notes.trials == [{"trial": "0", "ended": 1.0}]
        assert [p.read_text("utf-8") for p in notes.project.rglob("*.json")] == ["{}"]
        raise KeyboardInterrupt
    with noted(tmp_path / "out") as notes:
        assert "begins anew" in str(notes.begin({**facts, "seed": 2}))
        assert not notes.trials and not notes.project.exists()
    assert not [*tmp_path.iterdir()]


def test_a_search_that_another_replaced_for_no_trial_has_its_weights(tmp_path: Path) -> None:
    """Which later rounds of Hyperband go on with."""

    def search(seed: int, *trials: str) -> list[str]:
        """The weights that a search finds that is interrupted behind these trials."""
        with pytest.raises(KeyboardInterrupt), noted(tmp_path / "out") as notes:
            notes.begin({"seed": seed})
            found = sorted(p.read_text("utf-8") for p in notes.project.rglob("*.h5"))
            for name in [*trials, "last"]:
                folder = notes.project / f"trial_{name}"
                folder.mkdir(parents=True, exist_ok=True)
                (folder / "own.weights.h5").write_text(f"{name} of {seed}", "utf-8")
                if name != "last":
                    notes.note({"trial": name})
            raise KeyboardInterrupt
        return found

    assert search(1, "0") == []
    # Twice, and each leaves the weights of a trial that isn't over.
    assert search(2) == search(3) == []
    assert search(1) == ["0 of 1", "last of 1"]
    # Once a trial of another one is over, it is that which is noted.
    assert search(2, "0") == []
    assert search(1) == []
    assert search(2) == ["0 of 2", "last of 2"]


@pytest.mark.filterwarnings("ignore:All-NaN axis encountered")
@pytest.mark.parametrize(
    ("status", "score"), [("FAILED", math.nan), ("COMPLETED", math.inf), ("COMPLETED", 0.5)]
)
def test_a_line_of_a_trial_is_json_whatever_it_is_worth(status: str, score: float) -> None:
    """As Pearson's correlation is none, where all answers are the same."""
    hp = keras_tuner.HyperParameters()
    trial = keras_tuner.engine.trial.Trial(hp, "0", status)
    for name, value in (("val_pearson", score), ("val_loss", math.nan)):
        trial.metrics.register(name, "max")
        trial.metrics.update(name, value, step=0)
    trial.score = score
    found = json.loads(json.dumps(records.of_trial(trial), allow_nan=False))
    if score == 0.5:
        assert (found["status"], found["score"], found["scores"]) == ("COMPLETED", 0.5, [0.5])
        assert found["metrics"] == {"val_pearson": 0.5, "val_loss": None} and "reason" not in found
    else:
        assert (found["status"], found["score"], found["metrics"]) == ("FAILED", None, {})
        assert found["reason"] == f"its score is no number: {score}"


def job(**more: Any) -> TuneJob:
    return TuneJob("classification", "rows.csv", Path("out"), **more)


def test_what_is_searched_is_read_off_the_options() -> None:
    assert tuning.asked(job()) == {}
    found = tuning.asked(
        job(
            search="dropout, learning-rate",
            range=("learning_rate=1e-5:1e-3:log", "layer-decay=0.5:1:0.25"),
            choice=("pooling=mean, first",),
            fix=("batch_size=16",),
        )
    )
    left = dict.fromkeys(set(SEARCHED) - {"dropout", "learning_rate"})
    assert found == left | {
        "dropout": SEARCH,
        "learning_rate": Range(1e-5, 1e-3, log=True),
        "layer_decay": Range(0.5, 1.0, step=0.25),
        **{"pooling": ["mean", "first"], "batch_size": "16"},
    }


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"fix": ("droput=1",)}, "`--fix` takes the name of a setting .*Received: 'droput=1'"),
        ({"choice": ("pooling",)}, "`--choice` takes the name .*pooling=mean,first.*'pooling'"),
        ({"range": ("dropout=0-1",)}, "`--range` takes a name and two numbers, .*'dropout=0-1'"),
        ({"range": ("dropout=1:0",)}, "a range goes from a number to a larger one"),
        ({"fix": ("l2=0", "l2=1")}, "a setting is said once.*Received: l2 twice"),
        ({"search": "dropout,odd"}, "`--search` takes names with commas.*'odd'"),
        ({"search": "dropout", "fix": ("dropout=0",)}, "what has one value isn't searched"),
        ({"fix": ("dropout=search",)}, "`--fix` takes one value, .*Received: 'dropout=search'"),
    ],
)
def test_options_that_say_nothing_searchable_are_one_line(more: Any, message: str) -> None:
    with pytest.raises(InputError, match=message) as error:
        tuning.asked(job(**more))
    assert "\n" not in str(error.value)


def test_an_objective_that_nobody_reports_is_refused_before_any_trial(
    text_encoder: Path, data: Path, tmp_path: Path, run: Any
) -> None:
    words = words_of(data, text_encoder, tmp_path / "out", "--objective", "val_acuracy")
    status, out, error = run(*words)
    assert status == 2 and error.count("\n") == 1 and "Trial" not in out
    assert "expected one of val_accuracy, val_loss" in error and "'val_acuracy'" in error
    assert [path.name for path in tmp_path.iterdir()] == ["rows.csv"]


def test_what_answers_are_to_say_is_for_the_last_training_and_changes_no_trial() -> None:
    """A search that was killed goes on, whatever is asked for by then."""
    asked = {"scope": True, "coverage": 0.8, "abstain": 0.05, "calibration": "off"}
    plain = tuning._plain(job(**asked))
    assert {name: getattr(plain, name) for name in asked} == asked
    words = shlex.split(tuning.command_of(plain))
    assert "--scope" in words and words[words.index("--coverage") + 1] == "0.8"
    rows: Any = types.SimpleNamespace(**dict.fromkeys(("train", "validation"), EXAMPLES))
    searched: Any = types.SimpleNamespace(space=None, encoders=[])
    before, after = (tuning._facts(each, searched, rows) for each in (job(), job(**asked)))
    assert before == after != tuning._facts(job(seed=1), searched, rows)


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (("--coverage", "0.9"), "so few validation rows can't tell how far answers can be trusted"),
        (("--abstain", "0.1", "--refit"), "Received: --refit and --abstain\n"),
    ],
)
def test_what_cant_be_told_in_the_end_is_refused_before_any_trial(
    text_encoder: Path, data: Path, tmp_path: Path, run: Any, more: Any, message: str
) -> None:
    words = words_of(data, text_encoder, tmp_path / "out", "--trials", "1", *more)
    status, out, error = run(*words)
    assert status == 2 and error.count("\n") == 1 and message in error
    assert "Trial" not in out and [path.name for path in tmp_path.iterdir()] == ["rows.csv"]


def test_tasks_that_no_export_has_names_for_are_refused_before_any_trial(
    text_encoder: Path, data: Path, tmp_path: Path, run: Any
) -> None:
    one = {"task": "classification", "data": data.name}
    tasks = tmp_path / "tasks.json"
    tasks.write_text(json.dumps({"tasks": {"a": one, "a_classify": one}}), "utf-8")
    words = ["tune", "--task", "multi-task", "--data", tasks, "--encoder", text_encoder]
    status, out, error = run(*words, *FIXED, "--output", tmp_path / "out", "--trials", "1")
    assert status == 2 and error.count("\n") == 1 and "Trial" not in out
    assert error.endswith("name one of the tasks otherwise. Received: a, a_classify\n")


@pytest.mark.parametrize(
    ("name", "direction"),
    [("val_mean", "max"), ("val_loss", "min"), ("val_top_target", "max"), (None, "max")],
)
def test_an_objective_by_its_name_has_the_direction_of_what_it_is(
    name: str | None, direction: str
) -> None:
    own = keras_tuner.Objective("val_mean", "max")
    reported = {"val_mean", "val_loss", "val_top_target"}
    hypermodel: Any = types.SimpleNamespace(objective=own, reported=reported)
    found = tuning._named_objective(name, hypermodel)
    assert (found.name, found.direction) == (name or "val_mean", direction)


def test_what_is_wrong_with_texts_is_said_before_any_trial(
    text_encoder: Path, data: Path, tmp_path: Path, run: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    stopped = mock.Mock(side_effect=InputError("here trials would begin"))
    monkeypatch.setattr(tuning.tuners, "search", stopped)
    words = words_of(data, text_encoder, tmp_path / "out", "--test", data)
    status, out, error = run(*words)
    assert status == 2 and "here trials would begin" in error
    assert (
        re.search(r"^train +54 ", out, re.M)
        and "WARNING: of 60 test texts 54 also occur in train" in out
    )


@pytest.mark.parametrize(("seed", "taken"), [(0, 1), (2**32 - 2, 2**32 - 1), (2**32 - 1, 1)])
def test_any_seed_is_one_for_the_tuner(tmp_path: Path, seed: int, taken: int) -> None:
    class Kind:
        def __init__(self, *given: Any, **more: Any) -> None:
            self.seed, self.oracle = more["seed"], types.SimpleNamespace(populate_space=None)

    objective = keras_tuner.Objective("val_loss", "min")
    hypermodel: Any = types.SimpleNamespace(keeps_weights=True)
    with mock.patch.dict(tuners.KINDS, bayesian=Kind):
        made = tuners._tuner(
            type("Own", (), {}), job(seed=seed), hypermodel, objective, tmp_path, 3
        )
    assert made.seed == taken
    np.random.RandomState(made.seed)  # as KerasTuner draws


def bayesian(place: Path, *choices: float, trials: int | None = 20) -> keras_tuner.Tuner:
    """A Bayesian tuner as `tune` makes it, over one setting that is best in its middle."""

    def build(hp: keras_tuner.HyperParameters) -> None:
        if choices:
            hp.Choice("rate", [*choices])
        else:
            hp.Float("rate", 0.0, 1.0)

    objective = keras_tuner.Objective("val_loss", "min")
    made: keras_tuner.Tuner = tuners._tuner(
        *(tuners._Apart, job(tuner="bayesian"), build, objective, place, trials)  # type: ignore[arg-type]
    )
    made.oracle.verbose = 0
    return made


def through(tuner: keras_tuner.Tuner, count: int) -> list[float]:
    """What so many trials drew, each of which comes to its end before the next begins."""
    drawn = []
    for _ in range(count):
        trial = tuner.oracle.create_trial("one")
        if trial.status != "RUNNING":
            break
        drawn.append(float(trial.hyperparameters.values["rate"]))
        tuner.oracle.update_trial(trial.trial_id, {"val_loss": (drawn[-1] - 0.5) ** 2})
        trial.status = "COMPLETED"
        tuner.oracle.end_trial(trial)
    return drawn


@pytest.mark.parametrize(("trials", "random"), [(20, 5), (None, 5), (9, 3), (1, 1)])
def test_a_quarter_of_a_bayesian_search_is_drawn_at_random(
    tmp_path: Path, trials: int | None, random: int
) -> None:
    assert bayesian(tmp_path, trials=trials).oracle.num_initial_points == random


@pytest.mark.filterwarnings("ignore:The optimal value found for")
def test_a_bayesian_search_looks_where_trials_were_good(tmp_path: Path) -> None:
    drawn = through(bayesian(tmp_path), 12)
    assert len(drawn) == 12
    best = np.abs(np.subtract(drawn, 0.5))
    assert best[7:].max() < best[1:5].min()  # the first is the default, 0


def test_a_bayesian_search_goes_on_as_this_version_draws(tmp_path: Path) -> None:
    """What an older version noted of its draws isn't what this one draws by."""
    began = bayesian(tmp_path)
    began.oracle.num_initial_points = None
    through(began, 1)
    began.save()
    on = bayesian(tmp_path, trials=12)
    assert len(on.oracle.trials) == 1 and on.oracle.num_initial_points == 3


@pytest.mark.filterwarnings("ignore:The optimal value found for")
def test_a_bayesian_search_tries_nothing_twice(tmp_path: Path) -> None:
    choices = (0.1, 0.3, 0.5, 0.7, 0.9)
    drawn = through(bayesian(tmp_path, *choices), 20)
    assert sorted(drawn) == [*choices]  # and ends, as nothing is left


@pytest.mark.parametrize("direction", ["max", "min"])
@pytest.mark.parametrize("at_once", [1, 3])
def test_hyperband_keeps_the_weights_that_it_goes_on_with_and_no_others(
    tmp_path: Path, direction: str, at_once: int
) -> None:
    """Through all its brackets, by one process and by several, where a trial fails now and then."""
    objective = keras_tuner.Objective("val_x", direction)
    hypermodel: Any = Searched()
    with mock.patch.object(tuners, "longest", lambda rows: 9), noted(tmp_path / "out") as notes:
        made: Any = tuners._tuner(
            *(tuners._Noted, job(tuner="hyperband"), hypermodel, objective, notes.place, None)
        )
        notes.begin({})
        made.notes, made.limits, made.stage = notes, Forever(), mock.Mock()
        made.oracle.verbose, running, kept = 0, list[Any](), set[str]()
        for count in range(80):
            while len(running) < at_once:
                trial = made.oracle.create_trial(str(count) + str(len(running)))
                before = trial.hyperparameters.values.get("tuner/trial_id")
                # Its weights are there, and may be read as long as it trains.
                assert before is None or before in kept
                running.append(trial)
            trial = running.pop(count % at_once)
            folder = Path(made.get_trial_dir(trial.trial_id))
            folder.mkdir(parents=True, exist_ok=True)
            (folder / "checkpoint.weights.h5").write_text("")
            trial.status = "FAILED" if count % 17 == 5 else "COMPLETED"
            made.oracle.update_trial(trial.trial_id, {"val_x": math.sin(count)})
            made.oracle.end_trial(trial)
            made.over(trial.trial_id, 1.0)
            found = {path.parent.name for path in notes.project.rglob("*.weights.h5")}
            kept = {name.removeprefix("trial_") for name in found}
            behind = {t.hyperparameters.values.get("tuner/trial_id") for t in running} - {None}
            # Of 9, 3 and 1, or 5 and 2: those for the next round, of two brackets.
            assert behind <= kept and len(kept) <= 4 * 2 + len(behind)
        later = [
            t for t in made.oracle.trials.values() if "tuner/trial_id" in t.hyperparameters.values
        ]
        assert len(later) >= 10


class Searched(keras_tuner.HyperModel):
    """A hypermodel of one setting, that no one trains."""

    keeps_weights, rows = True, 1

    def best(self, tuner: Any) -> luck.Choice:
        return luck.Choice("none", "")

    def build(self, hp: keras_tuner.HyperParameters) -> None:
        hp.Float("rate", 0.0, 1.0)


class Forever:
    """No limit."""

    taken, elapsed = None, 0.0

    def minutes_at_least(self, over: Any) -> None:
        return None

    def leaves_time(self, over: Any) -> bool:
        return True


@pytest.mark.parametrize(
    ("more", "most"),
    [
        ({}, 20),
        ({"trials": 3}, 3),
        ({"minutes": 1.0}, None),
        ({"trials": 3, "minutes": 1.0}, 3),
    ],
)
def test_so_many_trials_there_are_at_most(
    more: dict[str, Any], most: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = mock.Mock(side_effect=InputError("here trials would begin"))
    monkeypatch.setattr(tuners, "_tuner", made)
    hypermodel: Any = types.SimpleNamespace(trainings=1)
    notes: Any = types.SimpleNamespace(trials=[], place=Path("notes"))
    with pytest.raises(InputError, match="here trials would begin"):
        tuners.search(job(**more), hypermodel, mock.Mock(), notes, (0.0, 0.0), Ending())
    assert made.call_args.args[-1] == most


def test_how_long_the_test_split_takes_is_told_by_rows_that_teach(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Vectors of all trials may be stored already, so that no trial tells it."""
    clock, asked = [0.0], list[int]()
    monkeypatch.setattr(time, "monotonic", lambda: clock[0])

    class Model:
        has_fixed_features = True

        def predict_scores(self, rows: list[str]) -> None:
            asked.append(len(rows))
            clock[0] += 9.0 if len(asked) == 1 else 2.0  # the first compiles

    splits: Any = types.SimpleNamespace(train=["a"] * 500, test=["b"] * 1280)
    assert tuning._measuring(Model(), splits) == pytest.approx(20.0) and asked == [128, 128]
    assert tuning._measuring(types.SimpleNamespace(has_fixed_features=False), splits) == 0.0


def test_the_longest_trials_of_hyperband_are_as_long_as_a_training() -> None:
    with mock.patch.object(planning, "THAWED_STEPS", 300):
        # 10,000 rows are 313 steps, four epochs; 960 are 30, of which 300 steps are ten.
        assert [longest(rows) for rows in (10_000, 960, 10)] == [4, 10, 40]


def test_a_command_says_what_differs_from_the_defaults() -> None:
    plain = tuning._plain(job(text="a b", class_names=("x", "y"), towers=True))
    found = tuning.command_of(plain)
    assert found == (
        "tfhub-transfer train --task classification --data rows.csv --output out --text 'a b' "
        "--class-names x,y --towers --strategy none"
    )
    assert os.linesep not in found
    # A column that is called like an option comes back as a column.
    words = shlex.split(tuning.command_of(tuning._plain(job(text="-text"))))[1:]
    read: Any = usage.read(usage.parser("0"), words)[1]
    assert read.text == "-text"
