"""How the command line reads its words, and says in one line which of them it can't read.

What it knows of commands and their options it has from the dataclasses of these.
"""

import argparse
import dataclasses
import itertools
import re
from collections.abc import Callable, Sequence
from typing import Any, NoReturn, TypeVar

from tfhub_transfer.errors import InputError
from tfhub_transfer.incoming import ranges
from tfhub_transfer.jobs.commands import COMMANDS, Command
from tfhub_transfer.jobs.options import declaring
from tfhub_transfer.jobs.options.declaring import Option

Number = TypeVar("Number", int, float)

# How like two words must be, of 1, for one to be a slip of the finger for the other.
_LIKE = 0.75
_SHELLS = ("bash", "zsh", "tcsh")
# As `argparse` writes it.
_CHOICE = re.compile(r"^argument ([^:]*): invalid choice: (.*) \(choose from (.*)\)")


class Parser(argparse.ArgumentParser):
    """Says what is wrong in one line, as everything here does."""

    _words: Sequence[str] = ()

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        """As `argparse` does; what was read is known if an error comes."""
        self._words = args or ()
        return super().parse_known_args(args, namespace)

    def error(self, message: str) -> NoReturn:
        """Raises `InputError` with what `argparse` found, in the words of this package.

        Args:
            message: As `argparse` says it.
        """
        if " are required: " in message:
            self._refuse_misspelled()
        # A message of ours names the option already.
        message = re.sub(r"^argument [^`:]*: (?=`)", "", message)
        message = _CHOICE.sub(_of_choices, message)
        message = re.sub(
            r"^argument ([^:]*): expected (?:at least )?one argument",
            r"`\1` needs a value",
            message,
        )
        raise InputError(f"{message}; `{self.prog} --help` lists what there is")

    def _refuse_misspelled(self) -> None:
        """Refuses an option that nothing is known by, which may be the one that is missed."""
        # Behind `--` nothing is an option.
        words = itertools.takewhile(lambda word: word != "--", self._words)
        spelled = [word.partition("=")[0] for word in words if word.startswith("--")]
        known = tuple(self._option_string_actions)
        odd = [word for word in spelled if not any(each.startswith(word) for each in known)]
        if odd:
            self.refuse(odd)

    def refuse(self, words: Sequence[str]) -> NoReturn:
        """Raises `InputError` of words that nothing is known by.

        Args:
            words: What is left of the command line.
        """
        option = next((word.split("=")[0] for word in words if word.startswith("-")), None)
        given = f"Received: {' '.join(words)}"
        if option is None:
            self.error(f"there is nothing else to name here; leave it out. {given}")
        known = re.findall(r"--[a-z-]+", self.format_usage())
        hint = _elsewhere(option) + _meant(option, known)
        self.error(f"there is no option `{option}`{hint} {given}")


def parser(version: str) -> Parser:
    """What reads a command line: a parser for each command, made from its options.

    Args:
        version: What `--version` says.
    """
    made = Parser(
        prog="tfhub-transfer",
        description="Transfer learning for text with TensorFlow Hub encoders in Keras 3: trains, "
        "measures, asks and exports models. Each command has its own --help.",
    )
    made.add_argument("--version", action="version", version=f"%(prog)s {version}")
    made.add_argument(
        "--print-completion",
        action=_Completion,
        choices=_SHELLS,
        metavar="SHELL",
        help=f"what it completes words by, {', '.join(_SHELLS[:-1])} or {_SHELLS[-1]}; needs shtab",
    )
    commands = made.add_subparsers(title="commands", required=True, metavar="COMMAND")
    for command in COMMANDS:
        own = commands.add_parser(command.name, help=command.help)
        own.set_defaults(of_command=command, of_parser=own)
        _add_options(own, command.job)
    return made


def read(reader: Parser, words: Sequence[str]) -> tuple[Command, object]:
    """The command that is asked for, and its options.

    What is read may also stand behind some, `predict out --output a.csv in.csv`: `argparse` takes a
    position that may be empty for empty at the first option.

    Args:
        reader: As `parser` makes it.
        words: The command line.

    Raises:
        InputError: If a word can't be read.
    """
    found, rest = reader.parse_known_args(words)
    given = {}
    for field, said in declaring.of(found.of_command.job).items():
        value = getattr(found, field.name)
        if said.position and value is None:
            alone = len(rest) == 1 and (rest[0] == "-" or not rest[0].startswith("-"))
            value = rest.pop() if alone else field.default
        given[field.name] = tuple(value) if isinstance(value, list) else value
    if rest:
        found.of_parser.refuse(rest)
    return found.of_command, found.of_command.job(**given)


def _add_options(reader: argparse.ArgumentParser, job: type) -> None:
    groups: dict[str, tuple[str, ...]] = getattr(job, "GROUPS", {})
    titled = {title: reader.add_argument_group(title) for title in groups}
    places = {name: titled[title] for title, names in groups.items() for name in names}
    for field, said in declaring.of(job).items():
        names, settings = _settings(field, said)
        action = places.get(field.name, reader).add_argument(*names, **settings)
        action.is_file = declaring.is_file(field)  # type: ignore[attr-defined]


def _settings(field: dataclasses.Field[object], said: Option) -> tuple[list[str], dict[str, Any]]:
    """What `argparse` is told of an option."""
    name = declaring.spelled(field)
    kind = declaring.kind(field)
    settings: dict[str, Any] = {"help": said.help or None}
    if kind is bool:
        return [name], {**settings, "action": "store_true"}
    settings |= {
        "metavar": said.metavar,
        "choices": said.choices,
        "type": _reader(name, kind, said),
    }
    must = field.default is dataclasses.MISSING
    if kind is tuple and not said.position:
        return [name], {**settings, "nargs": "+", "action": "extend", "default": field.default}
    if said.sides:
        settings |= {"nargs": "+", "action": _Sides}
    if said.position:
        several = "+" if kind is tuple else None
        return [field.name], {**settings, "nargs": several if must else "?"}
    return [name], {**settings, **({"required": True} if must else {"default": field.default})}


def _reader(name: str, kind: type, said: Option) -> Callable[[str], object]:
    """What reads the value of an option."""
    if said.within is None:
        return str if kind is tuple else kind
    if kind is int:
        return integer(name, said.within)
    return real(name, said.within, said.closed)


class _Sides(argparse.Action):
    """Takes one file, or two that belong together, line by line."""

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: str | Sequence[object] | None,
        option_string: str | None = None,
    ) -> None:
        """As `argparse` calls it."""
        given = [*map(str, values or ())]
        if len(given) > 2 or (len(given) == 2 and any(set("{},") & set(name) for name in given)):
            raise InputError(
                f"`{option_string}` takes a file, or two of lines that belong together, texts and "
                "what is to be written, with no braces or commas in their names. "
                f"Received: {' '.join(given)}"
            )
        value = given[0] if len(given) == 1 else f"{{{','.join(given)}}}"
        setattr(namespace, self.dest, value)


class _Completion(argparse.Action):
    """Prints what a shell completes by; the library that writes it is asked for only then."""

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: str | Sequence[object] | None,
        option_string: str | None = None,
    ) -> None:
        try:
            import shtab
        except ImportError as error:
            raise InputError(
                "completion is written by shtab: `pip install 'tfhub-transfer[completion]'`. "
                f"Received: {option_string} {values}"
            ) from error
        for action in _actions(parser):
            if getattr(action, "is_file", False):
                action.complete = shtab.FILE  # type: ignore[attr-defined]
        print(shtab.complete(parser, values))
        parser.exit()


def _actions(reader: argparse.ArgumentParser) -> list[argparse.Action]:
    """All options of all commands."""
    [commands] = [a for a in reader._actions if isinstance(a, argparse._SubParsersAction)]
    return [action for own in commands.choices.values() for action in own._actions]


def _of_choices(found: re.Match[str]) -> str:
    """Of a value that is none of its choices."""
    name, value, listed = found.groups()
    choices = [each.strip("' ") for each in listed.split(",")]
    hint = _meant(value.strip("'"), choices)
    return f"`{name}` must be one of {', '.join(choices)}{hint} Received: {value}"


def _elsewhere(option: str) -> str:
    """Which commands have an option that another hasn't; nothing if none has."""
    having = []
    for command in COMMANDS:
        options = declaring.of(command.job).items()
        if option in [declaring.spelled(field) for field, said in options if not said.position]:
            having.append(command.name)
    verb = "has" if len(having) == 1 else "have"
    return f" here; {', '.join(having)} {verb} one" if having else ""


def _meant(word: str, known: Sequence[str]) -> str:
    """The end of a sentence: what may be meant by a word, if it is like one that is known."""
    import difflib  # which takes a fifth of the time that help does

    near = difflib.get_close_matches(word, known, n=1, cutoff=_LIKE)
    return f"; did you mean {near[0]}?" if near else "."


def integer(name: str, bounds: tuple[float, float]) -> Callable[[str], int]:
    """What reads the value of an option that is a whole number.

    Args:
        name: The option.
        bounds: The smallest and the largest that is allowed.
    """

    def read(text: str) -> int:
        return _said(ranges.whole_number, name, text, *bounds)

    return read


def real(name: str, bounds: tuple[float, float], closed: bool = False) -> Callable[[str], float]:
    """What reads the value of an option that is a number.

    Args:
        name: The option.
        bounds: What it must be above, and the largest that is allowed.
        closed: Whether the lower bound itself is allowed too.
    """

    def read(text: str) -> float:
        return _said(ranges.real_number, name, text, *bounds, closed)

    return read


def _said(parse: Callable[..., Number], *given: object) -> Number:
    try:
        return parse(*given)
    except InputError as error:
        raise argparse.ArgumentTypeError(str(error)) from error
