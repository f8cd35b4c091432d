"""Options of commands: said once, in fields of dataclasses, and the same wherever they are told.

`docs/options.md` is written from them: python tests/test_options.py
"""

import argparse
import ast
import dataclasses
import shutil
import subprocess
import sys
import types
from pathlib import Path
from typing import Any

import pytest

from tfhub_transfer import cli, usage
from tfhub_transfer.incoming import ranges
from tfhub_transfer.incoming import usual as usual_numbers
from tfhub_transfer.jobs import saying
from tfhub_transfer.jobs.commands import COMMANDS, Command
from tfhub_transfer.jobs.options import declaring
from tfhub_transfer.jobs.options import training as training_options
from tfhub_transfer.jobs.options import tuning as tuning_options
from tfhub_transfer.jobs.options.asking import PredictJob
from tfhub_transfer.jobs.options.distilling import DistillJob, Teaching
from tfhub_transfer.jobs.options.encoders import ConvertJob
from tfhub_transfer.jobs.options.training import TrainJob

REPOSITORY = Path(__file__).resolve().parents[1]
PAGE = REPOSITORY / "docs" / "options.md"
HEAD = """# Options

Of every command, written by `make options` from the code: `tfhub-transfer COMMAND --help` says
the same, but for ranges. [README.md](../README.md) shows the usual ones at work.
"""


def name_of(command: Command) -> str:
    return command.name


def page() -> str:
    """What `docs/options.md` has to be."""
    return HEAD + "".join(map(_section, COMMANDS))


def _section(command: Command) -> str:
    words = ["tfhub-transfer", command.name]
    rows = []
    for field, said in declaring.of(command.job).items():
        name = _called(field, said)
        if field.default is dataclasses.MISSING:
            words.append(name)
        told = said.help % {"default": field.default}
        cells = (f"`{name}`", told, _allowed(field, said), _default(field))
        rows.append("|".join(f" {cell} ".replace("  ", " ") for cell in map(_in_cell, cells)))
    does = f"{command.help[0].upper()}{command.help[1:]}"
    return (
        f"\n## {' '.join(words[:2])}\n\n{does}: `{' '.join(words)}`, and any other of these.\n\n"
        "| option | what it is | values | default |\n|---|---|---|---|\n"
        + "".join(f"|{row}|\n" for row in rows)
    )


def _in_cell(text: str) -> str:
    return text.replace("|", "\\|")


def _called(field: Any, said: declaring.Option) -> str:
    if declaring.kind(field) is bool:
        return declaring.spelled(field)
    value = said.metavar or field.name.upper()
    return value if said.position else f"{declaring.spelled(field)} {value}"


def _allowed(field: Any, said: declaring.Option) -> str:
    if said.choices:
        return ", ".join(said.choices)
    if said.within is None:
        return ""
    low, high = said.within
    if declaring.kind(field) is int:
        return f"{low:,} to {high:,}"
    return f"{f'{low:g}' if said.closed else f'above {low:g}, up'} to {high:g}"


def _default(field: Any) -> str:
    told = not any(field.default is none for none in (dataclasses.MISSING, None, False))
    return f"{field.default}" if told else ""


def test_the_page_of_options_is_what_the_code_says() -> None:
    assert PAGE.read_text("utf-8") == page(), "run `make options`"


# Of each kind of option a value that isn't its default, as words and as what they become.
OTHER: dict[type, tuple[list[str], Any]] = {
    bool: ([], True),
    str: (["other"], "other"),
    Path: (["some/where"], Path("some/where")),
    tuple: (["one", "two"], ("one", "two")),
}


def given(field: Any, said: declaring.Option) -> tuple[list[str], Any]:
    """Words that give an option a value, and the value."""
    words, value = OTHER.get(declaring.kind(field), ([], None))
    if said.choices:
        value = next(each for each in reversed(said.choices) if each != field.default)
        words = [value]
    elif said.within is not None:
        value = declaring.kind(field)(said.within[1])
        words = [str(value)]
    return (words if said.position else [declaring.spelled(field), *words]), value


def needed(job: type) -> tuple[list[str], dict[str, Any]]:
    """Words that a command doesn't work without, and what they become."""
    words: list[str] = []
    values = {}
    for field, said in declaring.of(job).items():
        if field.default is dataclasses.MISSING:
            more, values[field.name] = given(field, said)
            words += more
    return words, values


@pytest.mark.parametrize("command", COMMANDS, ids=name_of)
def test_a_command_line_is_its_dataclass(command: Command) -> None:
    """Alone, what isn't given is as in Python; and each option changes its own field, no other."""
    words, values = needed(command.job)
    reader = usage.parser("0")
    found, plain = usage.read(reader, [command.name, *words])
    assert (found, plain) == (command, command.job(**values))
    for field, said in declaring.of(command.job).items():
        more, value = given(field, said)
        if field.name in values:
            continue
        assert value != field.default, field.name
        _, job = usage.read(reader, [command.name, *words, *more])
        assert job == dataclasses.replace(plain, **{field.name: value}), field.name
        # Words in another order, and `=` between option and value.
        joined = ["=".join(more)] if len(more) == 2 else more
        if not said.position:
            assert usage.read(reader, [command.name, *joined, *words])[1] == job


@pytest.mark.parametrize("command", COMMANDS, ids=name_of)
def test_a_parser_has_the_options_of_its_dataclass_and_no_other(command: Command) -> None:
    reader = usage.parser("0")
    [commands] = [a for a in reader._actions if isinstance(a, argparse._SubParsersAction)]
    actions = commands.choices[command.name]._actions
    assert [action.dest for action in actions] == ["help", *declaring.names_of(command.job)]
    assert {field.name for field in dataclasses.fields(command.job)} == {
        *declaring.names_of(command.job)
    }
    for action, (field, said) in zip(actions[1:], declaring.of(command.job).items()):
        spelled = [] if said.position else [f"--{field.name.replace('_', '-')}"]
        assert list(action.option_strings) == spelled
        assert action.choices == said.choices and (action.help or "") == said.help
        if not said.position:
            must = field.default is dataclasses.MISSING
            assert action.required == must
            assert action.default == (None if must else field.default)


@pytest.mark.parametrize("command", COMMANDS, ids=name_of)
def test_numbers_have_ranges_and_hold_their_own_defaults(command: Command) -> None:
    for field, said in declaring.of(command.job).items():
        if declaring.kind(field) not in (int, float):
            assert said.within is None
            continue
        assert said.within is not None, field.name
        if field.default is not None:
            low, high = said.within
            assert low <= field.default <= high
            assert "%(default)" in said.help or field.name == "layers", field.name
    groups = getattr(command.job, "GROUPS", {})
    assert {name for names in groups.values() for name in names} <= {
        *declaring.names_of(command.job)
    }


def test_an_option_of_distill_does_something_or_is_refused() -> None:
    """Each is for both of its kinds, which this lists, or stands in a group."""
    both = {"teachers", "data", "output", "text", "overwrite", "trust_code", "seed"}
    both |= {"epochs", "batch_size", "learning_rate", "sequence_length"}
    both |= {*declaring.names_of(declaring.Form)}
    groups = [*DistillJob.GROUPS.values()]
    grouped = [name for names in groups for name in names]
    assert sorted([*both, *grouped]) == sorted(declaring.names_of(DistillJob))


def refused(words: list[str], run: Any) -> str:
    status, out, err = run(*words)
    assert (status, out, err.count("\n")) == (2, "", 1), err
    assert err.startswith("tfhub-transfer: error: ") and len(err) < 420
    return err


@pytest.mark.parametrize("command", COMMANDS, ids=name_of)
def test_words_that_no_command_has_are_one_line(command: Command, run: Any) -> None:
    words, _ = needed(command.job)
    assert "there is no option `--odd`" in refused([command.name, *words, "--odd"], run)
    if words:  # though others are missing, too
        assert "there is no option `--odd`" in refused([command.name, "--odd"], run)
    assert "nothing else to name here" in refused([command.name, *words, "a", "b", "c"], run)
    for field, said in declaring.of(command.job).items():
        name = declaring.spelled(field)
        if said.choices:
            wrong = refused([command.name, *words, name, "odd"], run)
            assert f"`{name}` must be one of {', '.join(said.choices)}. Received: 'odd'" in wrong
        if said.within:
            wrong = refused([command.name, *words, name, "1e9"], run)
            assert f"`{name}` must be a " in wrong and "Received: '1e9'" in wrong
        if not said.position and declaring.kind(field) is not bool:
            assert f"`{name}` needs a value" in refused([command.name, *words, name], run)
    if words:
        assert "required" in refused([command.name], run)


def test_a_command_that_there_is_not_is_one_line(run: Any) -> None:
    listed = ", ".join(command.name for command in COMMANDS)
    said = refused(["enocde"], run)
    assert f"`COMMAND` must be one of {listed}; did you mean encode? Received: 'enocde'" in said


@pytest.mark.parametrize("command", COMMANDS, ids=name_of)
def test_what_runs_a_command_is_there(command: Command) -> None:
    *modules, name = command.run.split(".")
    path = REPOSITORY.joinpath("tfhub_transfer", "jobs", *modules).with_suffix(".py")
    [function] = [
        node
        for node in ast.parse(path.read_text("utf-8")).body
        if isinstance(node, ast.FunctionDef) and node.name == name
    ]
    assert ast.unparse(function.args.args[0].annotation or function) == command.job.__name__
    assert len(function.args.args) - len(function.args.defaults) == 1


def test_what_may_be_chosen_is_what_there_is() -> None:
    """And numbers that help names are those of the code that takes them."""
    from tfhub_transfer import tasks, tuning
    from tfhub_transfer.encoders import conversion
    from tfhub_transfer.heads import settings
    from tfhub_transfer.jobs.searches import tuners
    from tfhub_transfer.models import building
    from tfhub_transfer.optimization import planning
    from tfhub_transfer.recipes.distillation import Imitation
    from tfhub_transfer.runtime.machine import STRATEGIES
    from tfhub_transfer.runtime.precision_choice import PRECISIONS
    from tfhub_transfer.tasks.similarity import task as similarity
    from tfhub_transfer.training import checkpoints

    def told(job: type, name: str) -> declaring.Option:
        return {field.name: said for field, said in declaring.of(job).items()}[name]

    assert (*tasks.TASKS, tasks.MultiTask.name) == training_options.TASKS
    assert training_options.LOSSES == similarity.LOSSES
    assert told(TrainJob, "precision").choices == PRECISIONS
    assert told(TrainJob, "strategy").choices == STRATEGIES
    assert told(TrainJob, "resume").choices == checkpoints.MODES
    assert TrainJob.checkpoint_minutes == checkpoints.MINUTES
    assert training_options.OPTIMIZERS == building.OPTIMIZERS
    assert told(TrainJob, "optimizer").choices == building.OPTIMIZERS
    assert {*tuners.KINDS} == {*tuning_options.TUNERS}
    assert {*tuning.SETTINGS} <= {*declaring.names_of(TrainJob)}
    searched = told(tuning_options.TuneJob, "search").help
    assert all(name in searched for name in tuning.SEARCHED)
    assert told(ConvertJob, "method").choices == conversion.METHODS
    for name, words in (("pooling", settings.POOLINGS), ("block", settings.BLOCKS)):
        listed = told(TrainJob, name).help.rpartition(": ")[2].replace(" or ", ", ")
        assert tuple(listed.split(", ")) == words
    usual = {field.name: field.default for field in dataclasses.fields(Teaching)}
    assert {**usual, "unlabelled": None} == {**vars(Imitation()), "unlabelled": None}
    assert f"need, from {planning.THAWED_EPOCHS};" in told(TrainJob, "epochs").help
    assert usual_numbers.SPLIT[1:] == (0.1, 0.1) and "tenth" in training_options.TENTH
    assert told(TrainJob, "epochs").within == ranges.EPOCHS


def test_what_a_model_is_asked_of_stands_behind_options_too() -> None:
    reader = usage.parser("0")
    job = PredictJob(Path("out"), "a.csv", text="x")
    for words in ("out a.csv --text x", "out --text x a.csv", "--text x out a.csv"):
        assert usage.read(reader, ["predict", *words.split()])[1] == job
    assert usage.read(reader, ["predict", "out", "--text", "x"])[1].source == "-"
    assert usage.read(reader, ["predict", "out", "-"])[1].source == "-"


def test_positions_are_positions_in_python_and_others_are_named() -> None:
    assert TrainJob("regression", "a.csv", Path("out")).output == Path("out")
    assert DistillJob(("a", "b"), "a.csv", Path("out")).teachers == ("a", "b")
    with pytest.raises(TypeError, match="positional"):
        TrainJob("regression", "a.csv", Path("out"), "auto")  # type: ignore[misc]


def test_what_was_decided_is_said_of_each_source(capsys: pytest.CaptureFixture[str]) -> None:
    read = types.SimpleNamespace(source="-", notes=["fields quote"])
    table = types.SimpleNamespace(source="a\x1b.csv", notes=["one", "two"])
    saying.say_notes({"a": read, "b": table})
    told = capsys.readouterr()
    assert told.out == "" and "\x1b" not in told.err
    first, *rest = told.err.splitlines()
    assert first == "standard input: fields quote"
    assert [line[-3:] for line in rest] == ["one", "two"]


# Completion ---------------------------------------------------------------------------------------


def test_without_its_library_completion_is_one_line(
    run: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "shtab", None)
    said = refused(["--print-completion", "bash"], run)
    assert "`pip install 'tfhub-transfer[completion]'`. Received: --print-completion bash" in said


COMPLETED = [
    ("tr", {"train"}),
    ("train --ta", {"--task"}),
    ("train --task re", {"regression"}),
    ("convert x --method st", {"static"}),
    ("predict out --qu", {"--quoting"}),
    ("train --data rev", {"reviews.csv"}),
    ("predict out rev", {"reviews.csv"}),
    ("distill rev", {"reviews.csv"}),
]


def test_a_shell_completes_commands_options_and_choices(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    pytest.importorskip("shtab", reason="needs shtab")
    bash = shutil.which("bash")
    if bash is None:
        pytest.skip("needs bash")
    with pytest.raises(SystemExit) as end:
        cli.main(["--print-completion", "bash"])
    assert end.value.code == 0
    (tmp_path / "reviews.csv").touch()
    script = tmp_path / "completion.sh"
    script.write_text(capsys.readouterr().out, encoding="utf-8")
    for line, expected in COMPLETED:
        words = ["tfhub-transfer", *line.split()]
        code = f"""
source {script}
COMP_WORDS=({" ".join(words)}); COMP_CWORD={len(words) - 1}
"$(complete -p tfhub-transfer | sed 's/.*-F \\([^ ]*\\).*/\\1/')" tfhub-transfer {words[-1]}
printf '%s\\n' "${{COMPREPLY[@]}}"
"""
        done = subprocess.run(
            [bash, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True
        )
        assert {word.strip() for word in done.stdout.split()} == expected, line


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
