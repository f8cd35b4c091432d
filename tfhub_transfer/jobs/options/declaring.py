"""Options of commands as fields of dataclasses: what each is called, takes and is for, said once.

Command line, help, completion and the table in `docs/options.md` are made from them. Whatever holds
options imports the standard library and numbers' ranges alone, so that help is there at once.
"""

import dataclasses
import types
import typing
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tfhub_transfer.incoming import ranges

if TYPE_CHECKING:
    from tfhub_transfer.models.encoding import ColumnNames

_KEY = "option"


@dataclasses.dataclass(frozen=True)
class Option:
    """What is known of an option beside its name, type and default, which its field has.

    Attributes:
        help: What it is for, in a few words; `%(default)s` is its default.
        metavar: What its value is called.
        choices: The values that it may have, if there are few.
        within: The range of a number: of a whole one the least and the most, of another what it is
            above and the most.
        closed: Whether the lower end belongs to the range of a number that isn't whole.
        position: Whether it is told by its place, rather than by its name.
        file: Whether it is the name of a file or a folder, if its type and metavar don't say so.
        sides: Whether two files may be given, of texts and of what is to be written, which then are
            one value, `{one,other}`, as of a shell that leaves braces alone.
    """

    help: str = ""
    metavar: str | None = None
    choices: tuple[str, ...] | None = None
    within: tuple[float, float] | None = None
    closed: bool = False
    position: bool = False
    file: bool = False
    sides: bool = False


def option(default: object = dataclasses.MISSING, help: str = "", **said: Any) -> Any:
    """A field that is an option; one with a default is given by keyword in Python, too.

    Args:
        default: Its value if not given; one without must be given.
        help: As of `Option`.
        **said: Others of `Option`, by name.
    """
    metadata = {_KEY: Option(help, **said)}
    if default is dataclasses.MISSING:
        return dataclasses.field(metadata=metadata)
    return dataclasses.field(default=default, kw_only=True, metadata=metadata)


def argument(default: object = dataclasses.MISSING, help: str = "", **said: Any) -> Any:
    """A field that is told by its place on the command line, and may be in Python.

    Args:
        default: As of `option`.
        help: As of `Option`.
        **said: Others of `Option`, by name.
    """
    metadata = {_KEY: Option(help, position=True, **said)}
    return dataclasses.field(default=default, metadata=metadata)


def of(job: type) -> dict[dataclasses.Field[object], Option]:
    """The options of a command: its own first, then those of the sections that it is made of.

    Args:
        job: A dataclass of options.
    """
    fields = {field.name: field for field in dataclasses.fields(job)}
    order = (name for each in job.__mro__ for name in vars(each).get("__annotations__", ()))
    found = [fields[name] for name in dict.fromkeys(order) if name in fields]
    return {field: field.metadata[_KEY] for field in found if _KEY in field.metadata}


def names_of(job: type) -> tuple[str, ...]:
    """The names of a command's options, in their order.

    Args:
        job: A dataclass of options.
    """
    return tuple(field.name for field in of(job))


def spelled(field: dataclasses.Field[object]) -> str:
    """How an option is written on the command line.

    Args:
        field: The option.
    """
    return f"--{field.name.replace('_', '-')}"


def kind(field: dataclasses.Field[object]) -> type:
    """The type of an option's value, if it is given; `tuple` of one that takes several.

    Args:
        field: The option.

    Example:

    >>> [kind(field).__name__ for field in of(Form)]
    ['str', 'str', 'str']
    """
    hint: Any = field.type
    if isinstance(hint, types.UnionType):
        hint = typing.get_args(hint)[0]
    return typing.get_origin(hint) or hint


def is_file(field: dataclasses.Field[object]) -> bool:
    """Whether an option's value is the name of a file or of a folder.

    Args:
        field: The option.
    """
    said: Option = field.metadata[_KEY]
    named = any(word in (said.metavar or "") for word in ("FILE", "DIR"))
    return said.file or named or kind(field) is Path


# Sections, which commands inherit from. Nothing is ever made of one alone, and the methods that are
# left out would take time before each help.


@dataclasses.dataclass(frozen=True, init=False, repr=False, eq=False)
class Form:
    """What can't be told of a file by itself."""

    quoting: str = option(
        "auto",
        "of tables: auto, standard, none, backslash, escapes, or the mark around fields",
        metavar="HOW",
    )
    delimiter: str | None = option(None, "between fields; tab, or a character", metavar="C")
    encoding: str | None = option(None, "of texts, such as cp1252; default UTF-8", metavar="NAME")


@dataclasses.dataclass(frozen=True, init=False, repr=False, eq=False)
class Trust:
    """Whether the makers of a model are trusted."""

    trust_code: bool = option(
        False, "load what could do more than compute; only from makers whom you trust"
    )


@dataclasses.dataclass(frozen=True, init=False, repr=False, eq=False)
class Sharded:
    """Many files in the place of one, each answered by itself."""

    data: str | None = option(
        None,
        "shards in the place of a file: a pattern in quotes, or a folder; --output is a folder",
        metavar="SHARDS",
        file=True,
    )
    form: str | None = option(
        None,
        "of the shards written; default: as they were read, else jsonl",
        choices=("jsonl", "csv", "tsv", "parquet"),
    )
    runner: str = option(
        "local", "what goes through shards: this process, or Apache Beam", choices=("local", "beam")
    )
    runner_options: str | None = option(None, "of Beam, in quotes", metavar="OPTIONS")


@dataclasses.dataclass(frozen=True, init=False, repr=False, eq=False)
class Searched:
    """How answers that are texts are searched for; the model's own way where nobody says."""

    beams: int | None = option(
        None,
        "answers that are texts: followed side by side; default 4",
        metavar="N",
        within=ranges.BEAMS,
    )
    n_best: int | None = option(None, "of them, given; default 1", metavar="N", within=ranges.BEAMS)
    length_penalty: float | None = option(
        None,
        "by how much long ones are spared; default 1",
        metavar="X",
        within=ranges.LENGTH_PENALTY,
        closed=True,
    )
    min_length: int | None = option(
        None, "their fewest pieces", metavar="N", within=(0, ranges.ANSWER[1])
    )
    max_length: int | None = option(None, "their most", metavar="N", within=ranges.ANSWER)
    no_repeat: int | None = option(
        None, "runs of N pieces come once in each", metavar="N", within=(0, ranges.ANSWER[1])
    )
    begin: str | None = option(None, "what all begin with", metavar="TEXT")
    glossary: str | None = option(
        None,
        "columns source, target: where a text has a source, its answer has the target",
        metavar="FILE",
    )
    coverage_penalty: float | None = option(
        None,
        "by how much they lose that leave parts of a text unread; default 0",
        metavar="X",
        within=ranges.COVERAGE_PENALTY,
        closed=True,
    )


@dataclasses.dataclass(frozen=True, init=False, repr=False, eq=False)
class Drawn(Searched):
    """Likewise, where pieces may be drawn by chance."""

    sample: bool = option(False, "draw their pieces by chance")
    temperature: float | None = option(
        None, "below 1 for less chance", metavar="X", within=ranges.DRAWING_TEMPERATURE, closed=True
    )
    top_k: int | None = option(
        None, "draw from the K likeliest", metavar="K", within=(0, ranges.SIZE[1])
    )
    top_p: float | None = option(
        None, "draw from those that are so likely together", metavar="X", within=ranges.SHARE
    )
    seed: int | None = option(None, "of what is drawn", metavar="N", within=ranges.SEED)


FOLDER = "replace the output folder"
SLICE = "of the test file, by whose values the report looks for weak spots, such as source,language"
PAIR = "the second text of each pair"


@dataclasses.dataclass(frozen=True, init=False, repr=False, eq=False)
class Columns:
    """Columns of a file that a trained model is to read."""

    text: str | None = option(
        None, "default: the training's, else text, or text_a and text_b", metavar="COLUMN"
    )
    text_pair: str | None = option(None, PAIR, metavar="COLUMN")
    label: str | Sequence[str] | None = option(
        None, "default: the training's, else label, or score", metavar="COLUMN"
    )

    def columns(self, known: "ColumnNames") -> "ColumnNames":
        """Names of columns: those of the training, but where others are given.

        Args:
            known: Those of the training.
        """
        named = ("text", "text_pair", "label", "negative")
        given = {name: getattr(self, name, None) for name in named}
        given = {name: column for name, column in given.items() if column is not None}
        return typing.cast("ColumnNames", {**known, **given})
