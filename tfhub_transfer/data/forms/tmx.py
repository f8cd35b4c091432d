"""Translation memories: TMX, the XML that tools of translators exchange.

https://www.gala-global.org/tmx-14b. It is read as a stream, and nothing in it can name anything
else: a document with entities of its own, of which a few can grow to gigabytes or hold other files
(Steuck 2002), is refused, and no other file is ever opened.
"""

import collections
import dataclasses
from collections.abc import Iterator
from pathlib import Path
from xml.parsers import expat

from tfhub_transfer.data.forms import aligned, opening
from tfhub_transfer.data.forms.aligned import SOURCE, TARGET
from tfhub_transfer.data.forms.base import Asked, File, Form, Numbered
from tfhub_transfer.errors import InputError

SUFFIXES = (".tmx",)
_PIECE = 1 << 16
# What is in these is markup of the file that was translated, not its text.
_MARKUP = ("bpt", "ept", "ph", "it", "ut")
_EVERY = "*all*"
# Units that are looked at for the languages that there are.
_LOOK = 1000
_DEEPEST = 100


@dataclasses.dataclass
class _Unit:
    """A unit: its number, and the text of each language, of several the first."""

    number: int
    texts: dict[str, str] = dataclasses.field(default_factory=dict)
    twice: bool = False


def form(file: File, asked: Asked) -> Form:
    """Units as rows, with a column for each language, as `en` or `de-AT`, beside two more.

    `source` is the language that the file names as its source's, else the first; `target` is the
    first other one. Columns that were asked for may be languages in either case of letters. Units
    that lack one of the two sides are left out.

    Args:
        file: The file.
        asked: What it is read for; it may name languages.

    Raises:
        InputError: If it isn't TMX, has entities, or no unit has two languages.
    """
    languages, named = _languages(file)
    if len(languages) < 2:
        raise InputError(
            "a translation memory must have texts of two languages; expected units (`tu`) with a "
            f"`tuv` of each. Received: {file} with {', '.join(languages) or 'none'}"
        )
    first = named if named in languages else languages[0]
    other = next(each for each in languages if each != first)
    columns = {SOURCE: first, TARGET: other, **{each: each for each in languages}}
    # As somebody wrote it who doesn't know whether it is `en-us` or `en-US` here.
    lower = {each.lower(): each for each in languages}
    for name in (asked.text, asked.label):
        if name and name not in columns and name.lower() in lower:
            columns[name] = lower[name.lower()]
    sides = tuple(
        name if name in columns else usual
        for name, usual in ((asked.text or "", SOURCE), (asked.label or "", TARGET))
    )
    notes = [f"source is {first}, target is {other}; the file has {', '.join(languages)}"]

    def rows() -> Iterator[Numbered]:
        twice = 0

        def every() -> Iterator[Numbered]:
            nonlocal twice
            for unit in _units(file):
                twice += unit.twice
                yield unit.number, {n: unit.texts.get(each, "") for n, each in columns.items()}

        yield from aligned.whole_pairs(every(), (sides[0], sides[1]), notes, asked)
        said = "units have a language twice, and its first text counts"
        notes[:] = [note for note in notes if not note.endswith(said)]
        if twice:
            notes.append(f"{twice:,} {said}")

    return Form(list(columns), rows, "row", notes)


def _languages(file: File) -> tuple[list[str], str]:
    """The languages of the first units, the most frequent first, and that of the source."""
    counts: collections.Counter[str] = collections.Counter()
    reader = _Reader(file)
    for unit in reader.units():
        counts.update(list(unit.texts))
        if unit.number >= _LOOK:
            break
    return [language for language, _ in counts.most_common()], reader.source


def _units(file: File) -> Iterator[_Unit]:
    return _Reader(file).units()


class _Reader:
    """What the parser tells, put together to units.

    Attributes:
        source: The language that the header names, or an empty string.
    """

    def __init__(self, file: File) -> None:
        self.source = ""
        self._file, self._number = file, 0
        self._done: list[_Unit] = []
        self._unit: _Unit | None = None
        self._language = ""
        # The text of a segment, and how deep the parser is in markup.
        self._text: list[str] | None = None
        self._markup = 0
        self._open: list[str] = []
        # One spelling for each language: the first.
        self._spelled: dict[str, str] = {}

    def units(self) -> Iterator[_Unit]:
        """Units, as far as they are read.

        Raises:
            InputError: If it isn't TMX, or not safe.
        """
        parser = self._parser()
        try:
            with opening.opened(Path(self._file.path)) as source:
                while piece := source.read(_PIECE):
                    parser.Parse(piece, False)
                    yield from self._done
                    self._done = []
                parser.Parse(b"", True)
                yield from self._done
        except expat.ExpatError as error:
            raise self._refused(
                "it is no XML that can be read; export it again", str(error)
            ) from error
        except opening.DAMAGES as error:
            raise self._refused("the file can't be read", str(error)) from error

    def _parser(self) -> expat.XMLParserType:
        parser = expat.ParserCreate(self._file.encoding)
        parser.buffer_text = True
        parser.StartElementHandler = self._start
        parser.EndElementHandler = self._end
        parser.CharacterDataHandler = self._said
        parser.EntityDeclHandler = self._entity
        parser.SkippedEntityHandler = self._entity
        parser.ExternalEntityRefHandler = self._entity
        return parser

    def _refused(self, why: str, what: str) -> InputError:
        return InputError(
            f"a translation memory is expected: {why}. Received: {self._file} ({what})"
        )

    def _entity(self, name: str | None, *_: object) -> int:
        raise self._refused(
            "it declares or uses entities of its own, which could name files or grow without end; "
            "write their texts in their place",
            str(name)[:40],
        )

    def _start(self, name: str, attributes: dict[str, str]) -> None:
        if not self._open and name != "tmx":
            raise self._refused("the outermost element must be `tmx`", name[:40])
        self._open.append(name)
        if len(self._open) > _DEEPEST:
            raise self._refused(f"elements lie more than {_DEEPEST} deep", name[:40])
        if name == "header":
            said = attributes.get("srclang", "")
            self.source = "" if said.lower() == _EVERY else self._spelling(said)
        elif name == "tu":
            self._number += 1
            self._unit = _Unit(self._number)
        elif name == "tuv":
            said = attributes.get("xml:lang") or attributes.get("lang") or ""
            self._language = self._spelling(said)
        elif name == "seg" and self._unit is not None and "note" not in self._open:
            self._text = []
        elif name in _MARKUP and self._text is not None:
            self._markup += 1

    def _spelling(self, language: str) -> str:
        language = language.strip()
        return self._spelled.setdefault(language.lower(), language) if language else ""

    def _said(self, text: str) -> None:
        if self._text is not None and not self._markup:
            self._text.append(text)

    def _end(self, name: str) -> None:
        self._open.pop()
        unit = self._unit
        if name == "tu" and unit is not None:
            self._done.append(unit)
            self._unit = None
        elif name == "seg" and self._text is not None and unit is not None:
            if not self._language:
                raise self._refused(
                    f"unit {unit.number} has a text without language; give its `tuv` an `xml:lang`",
                    "".join(self._text)[:40],
                )
            unit.twice |= self._language in unit.texts
            unit.texts.setdefault(self._language, "".join(self._text).strip())
            self._text = None
        elif name in _MARKUP and self._text is not None:
            self._markup -= 1
