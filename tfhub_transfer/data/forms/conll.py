"""Words with their tags, a line for each: CoNLL files of all years, and CoNLL-U."""

import collections
import dataclasses
import itertools
import re
from collections.abc import Iterator

from tfhub_transfer.data.forms import opening
from tfhub_transfer.data.forms.base import TAGS, TEXT, TOKENS, File, Form, Numbered, of_rows
from tfhub_transfer.errors import InputError

SUFFIXES = (".conll", ".iob", ".iob2", ".bio", ".bio2", ".bioes", ".bilou", ".bmes", ".conll2003")
UNIVERSAL = (".conllu", ".conllup")
_FIELDS = "id form lemma upos xpos feats head deprel deps misc".split()
_GLOBAL = "# global.columns ="
# The prefixes of all schemes: IOB, BIOES, BILOU, BMES, BMEWO.
_TAG = re.compile(r"O|[BIESLUMW](-\S+)?")
_BARE = re.compile(r"[BIOESLUMW]")
_DOCUMENT = ("-DOCSTART-", "-DOCEND-")
_DOCUMENTS = ("#begin document", "#end document")
_BEGIN = re.compile(r"#begin document \((.+)\);")
# Lines by which the fields are told apart; tags are counted over all of a file.
_PEEKED = 2000
# Lines of the first document that tell what stands in front of them.
_FEW = 2


@dataclasses.dataclass
class _Layout:
    """How the lines of one file are read.

    Attributes:
        by_tab: Whether fields end at tabs only.
        count: Fields of a line.
        word: Which of them is the word.
        tag: Which of them is the tag.
        tags: All tags of lines that can't be comments.
        kind: The name of what entities are, where tags don't say it.
    """

    by_tab: bool
    count: int
    word: int = 0
    tag: int = -1
    tags: set[str] = dataclasses.field(default_factory=set)
    kind: str = ""

    def fields(self, line: str) -> list[str]:
        line = line.strip("\r\n")
        if self.by_tab and "\t" in line:
            return [field.strip(" ") for field in line.split("\t")]
        return line.split()

    def is_comment(self, line: str, begins: bool) -> bool:
        """Whether a line before a sentence says something about it."""
        if line.startswith(_DOCUMENTS):
            return True
        if not line.startswith("#") or not begins:
            return False
        fields = self.fields(line)
        if not 1 < len(fields) <= self.count:
            return True
        said = fields[self.tag] not in self.tags and not _TAG.fullmatch(fields[self.tag])
        return said and line.startswith("# ")  # else a hashtag, or the sign itself

    def fits(self, fields: list[str], sentence: list[list[str]]) -> bool:
        """Whether a line has as many fields as most, or fewer in all of its sentence."""
        if len(fields) == self.count:
            return not sentence or len(sentence[0]) == self.count
        simple = self.tag == -1 and self.word == 0 and 1 < len(fields) < self.count
        return simple and (not sentence or len(sentence[0]) == len(fields))


def form(file: File) -> Form:
    """Sentences of a CoNLL file; the first field is the word, the last its tag.

    A field before the words that numbers them is passed over. Where tags of a scheme stand in
    another field than the last, that is taken.

    Args:
        file: The file.

    Raises:
        InputError: If no line has a word and a tag.
    """
    layout, notes = _survey(file)
    return of_rows(lambda: _sentences(file, layout), "line", notes)


def looks_like(file: File) -> bool:
    """Whether a text has a word and a tag of a scheme a line, and empty lines between sentences.

    Args:
        file: The file.
    """
    lines = [line.strip("\r\n") for line in itertools.islice(opening.lines(file), _PEEKED)]
    while lines and not lines[-1].strip():
        lines.pop()
    said = [line for line in lines if line.strip() and not line.startswith(("#", *_DOCUMENT))]
    counts = collections.Counter(len(line.split()) for line in said)
    if len(said) == len(lines) or not said or len(counts) > 1 or max(counts) < 2:
        return False
    return all(_TAG.fullmatch(line.split()[-1]) for line in said)


def _survey(file: File) -> tuple[_Layout, list[str]]:
    """Reads a file once for how it is laid out."""
    lines = [line for line in itertools.islice(opening.lines(file), _PEEKED) if line.strip()]
    said = [line for line in lines if not line.startswith(("#", *_DOCUMENT))] or lines
    if said and all("|" in word.strip("|") for word in said[0].split()):
        raise InputError(
            f"{file}: expected a word and its tag a line; where they stand as word|tag, a sentence "
            f"a line, write each on a line of its own. Received: {said[0].strip()[:60]!r}"
        )
    begin = next(filter(None, map(_BEGIN.match, lines)), None)
    if begin and all(line.split()[0] == begin[1] for line in said[:_FEW]):
        raise InputError(
            f"{file}: each line begins with the document, as those of CoNLL-2012 do, whose words "
            "are the fourth field; write the word and its tag alone. "
            f"Received: {said[0].strip()[:60]!r}"
        )
    by_tab = any("\t" in line for line in said)
    layout = _Layout(by_tab, 0)
    counts = collections.Counter(len(layout.fields(line)) for line in said)
    layout.count = counts.most_common(1)[0][0] if counts else 0
    alike = [fields for fields in map(layout.fields, said) if len(fields) == layout.count]
    notes = _choose_fields(layout, alike, lines)
    values: collections.Counter[str] = collections.Counter()
    for line in opening.lines(file):
        fields = layout.fields(line)
        if len(fields) == layout.count and not line.startswith(("#", *_DOCUMENT)):
            values[fields[layout.tag]] += 1
    # Of all lines: they tell a word `#` with its tag from a comment.
    layout.tags = set(values)
    if {"B", "O"} <= layout.tags and all(map(_BARE.fullmatch, layout.tags)):
        layout.kind = "entity"
        notes.append(
            f"tags name no kind: {', '.join(sorted(layout.tags))} are read as B-entity ..."
        )
    if layout.tags == {"_"}:
        raise InputError(
            f"{file}: every tag is `_`, which means none; put the tags in the last field. "
            "Received: no other"
        )
    return layout, notes


def _choose_fields(layout: _Layout, alike: list[list[str]], lines: list[str]) -> list[str]:
    """Which fields are word and tag, where it isn't first and last."""
    if layout.count < 3:
        return []
    numbered = _is_numbered(layout, lines)
    layout.word = int(numbered and layout.count > 2)
    columns = list(zip(*alike))
    schemed = [
        i
        for i in range(layout.word + 1, layout.count)
        if all(map(_TAG.fullmatch, columns[i])) and any(v != "O" for v in columns[i])
    ]
    last = layout.count - 1
    if schemed and last not in schemed:
        layout.tag = schemed[0]
    notes = ["words stand in field 2, behind their numbers"] * numbered
    if layout.tag != -1:
        notes.append(f"tags stand in field {layout.tag + 1} of {layout.count}, not in the last")
    elif len(schemed) > 1:
        notes.append(f"tags are those of the last of {len(schemed)} fields that hold some")
    return notes


def _is_numbered(layout: _Layout, lines: list[str]) -> bool:
    """Whether the first field counts the words of each sentence."""
    before, seen = 0, 0
    for line in lines:
        fields = layout.fields(line)
        if line.startswith(("#", *_DOCUMENT)) or len(fields) != layout.count:
            continue
        if fields[0] not in ("1", str(before + 1)):
            return False
        before, seen = int(fields[0]), seen + 1
    # A single 1 may be a word.
    return seen > 1


def _sentences(file: File, layout: _Layout) -> Iterator[Numbered]:
    """Words and tags of each sentence, with the number of its first line."""
    sentence: list[list[str]] = []
    first = 0
    for number, line in enumerate(opening.lines(file), start=1):
        if not line.strip():
            if sentence:
                yield first, _row(sentence, layout)
            sentence = []
            continue
        fields = layout.fields(line)
        if fields[0] in _DOCUMENT or layout.is_comment(line, not sentence):
            continue
        _check(fields, layout, f"{file}, line {number}", sentence)
        first = first if sentence else number
        sentence.append(fields)
    if sentence:
        yield first, _row(sentence, layout)


def _check(fields: list[str], layout: _Layout, place: str, sentence: list[list[str]]) -> None:
    line = " ".join(fields)
    if len(fields) < 2 or not fields[layout.word]:
        raise InputError(
            f"{place}: expected a word and its tag, with space between, or an empty line after a "
            f"sentence. Received: {line[:60]!r}"
        )
    if not layout.fits(fields, sentence):
        raise InputError(
            f"{place}: expected {layout.count} fields, as in most lines; a word must hold no "
            f"space. Received: {len(fields)}, {line[:60]!r}"
        )
    if " " in fields[layout.word]:
        raise InputError(
            f"{place}: a word must hold no space; give each part a line and a tag. "
            f"Received: {fields[layout.word]!r}"
        )


def _row(sentence: list[list[str]], layout: _Layout) -> dict[str, list[str]]:
    columns = [list(column) for column in zip(*sentence)]
    tags = columns[layout.tag]
    if layout.kind:
        tags = [tag if tag == "O" else f"{tag}-{layout.kind}" for tag in tags]
    row = {TOKENS: columns[layout.word], TAGS: tags}
    for place, column in enumerate(columns[:-1], start=1):
        if place - 1 not in (layout.word, layout.tag):
            row[f"field_{place}"] = column
    return row


# CoNLL-U --------------------------------------------------------------------------------------


def universal(file: File) -> Form:
    """Sentences of a CoNLL-U file: every field of its words by its name, `tags` is `upos`.

    Words may hold spaces, as those of Vietnamese do. Words of several tokens (`1-2`) and words that
    aren't there (`1.1`) are passed over. A field that a word doesn't have, `_`, is None, but for
    `feats`, where it is the name of no features.

    Args:
        file: The file; of CoNLL-U Plus, whose first line names its columns.

    Raises:
        InputError: If a line doesn't have the columns.
    """
    first = next(opening.lines(file), "")
    names = first[len(_GLOBAL) :].lower().split() if first.startswith(_GLOBAL) else _FIELDS
    if "form" not in names:
        raise InputError(f"{file}: one of the columns must be FORM. Received: {', '.join(names)}")
    found = of_rows(lambda: _universal_sentences(file, names))
    found.spaced = True
    return found


def _universal_sentences(file: File, names: list[str]) -> Iterator[Numbered]:
    words: list[list[str]] = []
    said: dict[str, str] = {}
    first = 0
    # With an empty line at its end, which not every file has behind the last sentence.
    for number, line in enumerate(itertools.chain(opening.lines(file), ["\n"]), start=1):
        text = line.rstrip("\r\n")
        if not text.strip():
            if words:
                yield first, _universal_row(words, names, said)
            words, said = [], {}
        elif text.startswith("#") and not words:
            key, equals, value = text[1:].partition("=")
            if equals and key.strip() in (TEXT, "sent_id"):
                said[key.strip()] = value.strip()
        else:
            fields = text.split("\t")
            if len(fields) != len(names):
                raise InputError(
                    f"{file}, line {number}: expected {len(names)} fields with tabs between: "
                    f"{', '.join(names)}. Received: {len(fields)}, {text[:60]!r}"
                )
            first = first if words else number
            if "id" not in names or fields[names.index("id")].isdigit():
                words.append(fields)


def _universal_row(
    words: list[list[str]], names: list[str], said: dict[str, str]
) -> dict[str, object]:
    # As word and lemma `_` may also be the sign itself.
    columns: dict[str, list[str | None]] = {
        name: [None if v == "_" and name not in ("form", "feats", "lemma") else v for v in values]
        for name, values in zip(names, zip(*words))
    }
    tags = {TAGS: columns["upos"]} if "upos" in columns else {}
    others = {name: values for name, values in columns.items() if name not in ("id", "form")}
    return {TOKENS: columns["form"], **tags, **others, **said}
