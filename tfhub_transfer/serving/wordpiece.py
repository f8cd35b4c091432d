"""Texts to what an exported model reads: its word pieces, in plain Python.

This file lies beside the model, and needs neither TensorFlow nor anything else that isn't Python's
own. It is short, to be written again in another language: its ids are those of the model.

    tokenizer = Tokenizer.of("model.json")
    tokenizer.inputs("What a lovely film")  # {"input_word_ids": [[101, 2054, ...]], ...}
"""

import json
import pathlib
import unicodedata
from collections.abc import Sequence
from typing import Any

_MOST_CHARACTERS, _LONGEST_WORD = 100_000, 100
_SPACES = "\t\n\x0c\r "
_NAMES = ("input_word_ids", "input_mask", "input_type_ids")
# Each of these is a word of its own.
_IDEOGRAPHS = (
    *((0x4E00, 0x9FFF), (0x3400, 0x4DBF), (0x20000, 0x2A6DF), (0x2A700, 0x2B73F)),
    *((0x2B740, 0x2B81F), (0x2B820, 0x2CEAF), (0xF900, 0xFAFF), (0x2F800, 0x2FA1F)),
)


class Tokenizer:
    """Texts to ids.

    Args:
        vocabulary: The word pieces, in the order of their ids.
        length: The most tokens that the model reads.
        lower_case: Whether to lower-case.
        strip_accents: Whether to remove accents.
        names: The model's inputs.
        apart: Whether each text has a row of its own.
    """

    def __init__(
        self,
        vocabulary: Sequence[str],
        length: int,
        lower_case: bool,
        strip_accents: bool,
        names: Sequence[str] = _NAMES,
        apart: bool = False,
    ) -> None:
        self.vocabulary = list(vocabulary)
        self.known = {piece: number for number, piece in enumerate(vocabulary)}
        self.length, self.lower_case, self.strip_accents = length, lower_case, strip_accents
        self.names, self.apart = names, apart

    @classmethod
    def of(cls, file: str | pathlib.Path) -> "Tokenizer":
        """The tokenizer that a `model.json` describes, with the vocabulary beside it."""
        path = pathlib.Path(file)
        said = json.loads(path.read_text("utf-8"))
        own = said["tokenizer"]
        text = (path.parent / own["vocabulary"]).read_bytes().decode("utf-8")
        pieces = [line.removesuffix("\r") for line in text.removesuffix("\n").split("\n")]
        case = own["lower_case"], own["strip_accents"]
        return cls(pieces, own["sequence_length"], *case, [*said["inputs"]], said["texts_apart"])

    def inputs(self, *texts: str | Sequence[str]) -> dict[str, list[list[Any]]]:
        """Texts to a batch of one row.

        Args:
            *texts: A text, or two; the last may be a list of its words or sentences.

        Raises:
            ValueError: If listed words don't fit: give fewer at a time.
        """
        made: dict[str, Any]
        if self.apart:
            rows = [self._packed([self.ids(str(text))], []) for text in texts]
            most = max(len(row[_NAMES[0]]) for row in rows)
            pad = {_NAMES[0]: self.known["[PAD]"]}
            made = {
                name: [row[name] + [pad.get(name, 0)] * (most - len(row[name])) for row in rows]
                for name in _NAMES
            }
        elif isinstance(texts[-1], str):
            made = self._packed([self.ids(str(text)) for text in texts], [])
        else:
            made = self._listed([self.ids(str(text)) for text in texts[:-1]], texts[-1])
        # What only another task of the same model reads is empty.
        return {n: [made[n] if n in made else [0] * len(made[_NAMES[0]])] for n in self.names}

    def ids(self, text: str) -> list[int]:
        """A text to its word pieces, as many as there are."""
        return [number for word in self.words(text) for number in self._pieces(word)]

    def words(self, text: str) -> list[str]:
        """A text to its words and signs, cleaned."""
        text = "".join(c for c in text[:_MOST_CHARACTERS] if not _is_control(c))
        if self.lower_case:
            text = text.replace("\u03a3", "\u03c3").lower()  # sigma, whatever follows it
        if self.strip_accents:
            plain = unicodedata.normalize("NFD", text)
            text = "".join(c for c in plain if unicodedata.category(c) != "Mn")
        parted = (f" {c} " if _is_sign(c) else " " if _is_space(c) else c for c in text)
        return "".join(parted).split(" ")

    def _pieces(self, word: str) -> list[int]:
        """The longest piece that a word begins with, then the longest of the rest."""
        found, start = [], 0
        while start < len(word) <= _LONGEST_WORD:
            mark = "##" if start else ""
            ends = range(len(word), start, -1)
            end = next((end for end in ends if mark + word[start:end] in self.known), None)
            if end is None:
                return [self.known["[UNK]"]]
            found.append(self.known[mark + word[start:end]])
            start = end
        return found or [self.known["[UNK]"]] * bool(word)

    def _listed(self, before: list[list[int]], words: Sequence[str]) -> dict[str, list[int]]:
        room = self.length - len(before) - 2
        pieces = [self.ids(word) or [self.known["[PAD]"]] for word in words]
        if before:
            before = [before[0][: room - room // 2]]
            pieces = [each[: max(1, room // 4)] for each in pieces]
        flat = [number for each in pieces for number in each]
        if len(flat) + sum(map(len, before)) > room or not flat:
            raise ValueError(f"expected 1 to {room} word pieces; cut the list. Received: {words!r}")
        place = sum(map(len, before)) + 1 + len(before)
        starts = [0] * len(before)  # a context's first place stands for no answer
        for each in pieces:
            starts, place = [*starts, place], place + len(each)
        return self._packed([*before, flat], starts)

    def _packed(self, segments: list[list[int]], starts: list[int]) -> dict[str, list[int]]:
        """`[CLS] a [SEP]` or `[CLS] a [SEP] b [SEP]`; of what is too long the longer one is cut."""
        room = self.length - len(segments) - 1
        if len(segments) == 1:
            segments = [segments[0][:room]]
        else:
            first = segments[0][: max(room - len(segments[1]), (room + 1) // 2)]
            segments = [first, segments[1][: room - len(first)]]
        ids, types = [self.known["[CLS]"]], [0]
        for number, segment in enumerate(segments):
            ids += [*segment, self.known["[SEP]"]]
            types += [number] * (len(segment) + 1)
        made = {_NAMES[0]: ids, _NAMES[1]: [1] * len(ids), _NAMES[2]: types}
        return {**made, "word_starts": starts} if starts else made


def _is_control(c: str) -> bool:
    """What vanishes: it neither shows nor parts words."""
    if unicodedata.category(c) == "Cc":
        return c not in "\t\n\r"
    return c == "\ufffd" or unicodedata.category(c) in ("Cf", "Co", "Cs")


def _is_space(c: str) -> bool:
    return c in _SPACES or unicodedata.category(c).startswith("Z")


def _is_sign(c: str) -> bool:
    if c.isascii():
        return c.isprintable() and not c.isalnum() and c != " "
    ideograph = any(first <= ord(c) <= last for first, last in _IDEOGRAPHS)
    return ideograph or unicodedata.category(c).startswith("P")
