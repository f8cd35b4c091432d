"""Random and hostile texts and damaged files, the same for a seed; whether two answers agree.

Strings that Python can hold and UTF-8 can spell: everything but lone surrogates.
"""

import random
import sys
from collections.abc import Callable
from typing import Any

_SPACES = (
    " \t\n\r\x0b\x0c\x1c\x1d\x1e\x1f\x85\xa0\u1680\u2000\u2003\u200a\u2028\u2029\u202f\u205f\u3000"
)
_MARKS = (
    "\u200b\u200c\u200d\u200e\u200f\u202a\u202e\u2066\u2069\ufeff\u061c\u00ad\ufe0f\ufffd\uffff"
)
_EMOJI = ["👩‍👩‍👧‍👦", "🏳️‍🌈", "🇩🇪", "👍🏽", "🧑🏿‍🚀", "🙂", "❤️", "🏴󠁧󠁢󠁥󠁮󠁧󠁿"]
_WORDS = (
    "good film bad movie the worst acting story naïve Straße ﬁne İstanbul ΑΣ कहानी 電影 영화 "
    "مرحبا שלום ภาษา ǅ ŉ ß Å Å e\u0301 ½ ² Ⅷ ａｂｃ 𝒜 𐍈 don't U.S.A. e.g. 3.14 -1e309"
).split()
_CODE = [
    "</script><script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "<svg/onload=alert(1)>",
    "%s%n%x{0}{}{{}}${x}#{x}",
    "{'a': [1, 2",
    "\\ud83d \\x00 \\u202e \\",
    "'; DROP TABLE texts; --",
    "../../etc/passwd",
    "[CLS] [SEP] [PAD] [MASK] [UNK] ##ing",
    "\x1b[31mred\x1b[0m\x07\x08",
    "$\\frac{1}{0}$",
    "NaN",
    "None",
    "-0",
]


def texts(count: int, seed: int = 0) -> list[str]:
    """So many texts, of all kinds in turn.

    Args:
        count: How many.
        seed: Seed of the draw.
    """
    random_ = random.Random(seed)
    made = [kind(random_) for kind in _RARE]
    while len(made) < count:
        made.append(random_.choice(_KINDS)(random_))
    return made[:count]


def rare() -> int:
    """How many of the first texts are of kinds that come once only, very long ones among them."""
    return len(_RARE)


def _any_character(r: random.Random) -> str:
    code = r.randrange(sys.maxunicode + 1 - 0x800)
    return chr(code if code < 0xD800 else code + 0x800)


def _planes(r: random.Random) -> str:
    return "".join(_any_character(r) for _ in range(r.randrange(1, 60)))


def _basic(r: random.Random) -> str:
    return "".join(chr(r.randrange(0xD800)) for _ in range(r.randrange(1, 60)))


def _latin(r: random.Random) -> str:
    return "".join(chr(r.randrange(0x250)) for _ in range(r.randrange(1, 80)))


def _storm(r: random.Random) -> str:
    marks = "".join(chr(r.randrange(0x300, 0x370)) for _ in range(r.randrange(1, 200)))
    return f"{r.choice(_WORDS)}{marks} {r.choice(_WORDS)}{marks[:9]}"


def _sentence(r: random.Random) -> str:
    words = r.choices(_WORDS, k=r.randrange(1, 30))
    return "".join(word + r.choice([" ", " ", ". ", "! ", ", ", "-", ""]) for word in words)


def _spaced(r: random.Random) -> str:
    return "".join(w + "".join(r.choices(_SPACES, k=2)) for w in r.choices(_WORDS, k=6))


def _marked(r: random.Random) -> str:
    return "".join(w + r.choice(_MARKS) for w in r.choices(_WORDS, k=8))


def _controls(r: random.Random) -> str:
    return "".join(chr(r.randrange(32)) + r.choice(_WORDS) for _ in range(r.randrange(1, 9)))


def _emoji(r: random.Random) -> str:
    return "".join(r.choice(_EMOJI) + r.choice(["", " ", "\u200d"]) for _ in range(9))


def _code(r: random.Random) -> str:
    return " ".join(r.choices(_CODE, k=r.randrange(1, 4)))


def _marks_only(r: random.Random) -> str:
    return "".join(r.choices("!?.,;:-–—…'\"()[]{}«»„“”¿¡。、！？", k=r.randrange(1, 40)))


def _blank(r: random.Random) -> str:
    return "".join(r.choices(_SPACES, k=r.randrange(0, 6)))


_KINDS: list[Callable[[random.Random], str]] = [
    _planes, _basic, _latin, _storm, _sentence, _sentence, _spaced, _marked, _controls, _emoji,
    _code, _marks_only, _blank,
]  # fmt: skip
# One of each, first of all: long ones cost much.
_RARE: list[Callable[[random.Random], str]] = [
    lambda r: "",
    lambda r: "\0",
    lambda r: "\u2028",
    lambda r: "a\u2028b",
    lambda r: "\ufeff",
    lambda r: "x" * 100_000,
    lambda r: "é" * 50_000,
    lambda r: "🙂" * 20_000,
    lambda r: "." * 20_000,
    lambda r: "good film. " * 3_000,
    lambda r: "e" + "\u0301" * 20_000,
    *(_KINDS),
]


def differences(
    model: Any, served: Any, asked: list[Any], signature: str = "serving_default"
) -> list[str]:
    """Where `predict_text` and an export disagree, as lines; none if nowhere.

    Args:
        model: A model of one task.
        served: Its export, loaded back.
        asked: Texts or pairs.
        signature: The task's name in the export.
    """
    answers, found = model.predict_text(asked), served.predict(asked, signature=signature)
    lines = []
    for row, answer in enumerate(answers):
        own = _of_export(model, {key: value[row] for key, value in found.items()})
        if not _alike({key: answer[key] for key in own}, own):
            lines.append(f"{asked[row]!r:.200}: {answer!r:.300} and {own!r:.300}")
    return lines if len(answers) == len(asked) else ["another number of answers"]


def _of_export(model: Any, row: dict[str, Any]) -> dict[str, Any]:
    """What an export answers to one text, as `predict_text` would say it."""
    names = model.task.class_names
    kind = model.task.name
    if kind == "classification":
        return {"label": _text(row["label"]), "scores": dict(zip(names, row["scores"]))}
    if kind == "multi-label":
        chosen = [n for n, yes in zip(names, row["predicted"]) if yes]
        return {"labels": chosen, "scores": dict(zip(names, row["scores"]))}
    if kind in ("regression", "similarity"):
        return {"score": row["score"]}
    if kind == "question-answering":
        same = {key: row[key] for key in ("score", "start", "end")}
        return {"answer": _text(row["answer"]), **same}
    return _of_lists(kind, row)


# How the parts of a longer answer are called in an export: their names there, their own names.
_PARTS = {
    "words": ("word_count", {"word": "text", "tag": "tag"}),
    "entities": ("entity_count", {"entity": "text", "type": "type"}),
    "sentences": ("sentence_count", {"sentence": "text"}),
}


def _of_lists(kind: str, row: dict[str, Any]) -> dict[str, Any]:
    """Words, entities or sentences, each with its place."""
    found = {}
    for part, (count, names) in _PARTS.items():
        if count in row:
            prefix = "entity_" if part == "entities" else ""
            numbers = {f"{prefix}{name}": name for name in ("score", "start", "end")}
            found[part] = [
                {own: _text(row[name][i]) for name, own in names.items()}
                | {own: row[name][i] for name, own in numbers.items()}
                for i in range(int(row[count]))
            ]
    if kind == "extractive-summarization":
        found["summary"] = " ".join(sentence["text"] for sentence in found["sentences"])
    return found


def _text(value: Any) -> str:
    return value.decode("utf-8")


def _alike(a: Any, b: Any) -> bool:
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(_alike(a[key], b[key]) for key in a)
    if isinstance(a, (list, tuple)):
        return len(a) == len(b) and all(map(_alike, a, b))
    if isinstance(a, str):
        return bool(a == b)
    return bool(abs(float(a) - float(b)) <= 1e-5)


def damaged(whole: bytes, index: int) -> bytes:
    """A copy of a file with one bit flipped at random, or, if `index` is odd, cut off at random."""
    chance = random.Random(index)
    at = chance.randrange(len(whole))
    if index % 2:
        return whole[:at]
    return whole[:at] + bytes([whole[at] ^ 1 << chance.randrange(8)]) + whole[at + 1 :]
