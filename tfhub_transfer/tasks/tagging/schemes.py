"""Tags of words and the entities that they spell: schemes, checks, scores, valid sequences.

Schemes, after Ramshaw and Marcus 1995 (https://aclanthology.org/W95-0107) and their successors:
IOB2 begins every entity with `B-`; IOB1 only one that follows another of its type; BIOES also
marks ends (`E-`) and entities of a single word (`S-`). BILOU, BMES and BMEWO are BIOES in other
letters: L and E mark ends, U, W and S single words, M and I what is inside. Tags without such
prefixes, as parts of speech are, have no scheme.
"""

import collections
import re
from collections.abc import Iterable, Sequence

import numpy as np

from tfhub_transfer.errors import InputError

OUTSIDE = "O"
SCHEMES = ("IOB1", "IOB2", "BIOES")
# What the letters before a type mean, in those of BIOES; and which letters go together.
_MEANINGS = {**{letter: letter for letter in "BIES"}, "L": "E", "U": "S", "M": "I", "W": "S"}
_LETTERS = (set("BIES"), set("BILU"), set("BMES"), set("BMEW"))
# Tags that mean a scheme and aren't written so.
_ODD = (
    re.compile(r"([bieslumw])[-_:/|].+"),
    re.compile(r"([BIESLUMW])[_:/|.].+"),
    re.compile(r".+[-_:/|.]([BIESLUMW])"),
    re.compile(r"([BIESLUMW])"),
)


Entity = tuple[str, int, int]


def split_tag(tag: str) -> tuple[str, str]:
    """Prefix and type of a tag, the prefix in letters of BIOES; without one it is all type.

    Example:

    >>> split_tag("B-person"), split_tag("U-person"), split_tag("O")
    (('B', 'person'), ('S', 'person'), ('O', ''))
    """
    if tag == OUTSIDE:
        return OUTSIDE, ""
    prefix, separator, kind = tag.partition("-")
    return (_MEANINGS[prefix], kind) if separator and prefix in _MEANINGS and kind else ("", tag)


def find_scheme(sequences: Iterable[Sequence[str]]) -> str | None:
    """Which scheme tags follow; `None` if they are tags of single words.

    Args:
        sequences: The tags of each sentence.

    Raises:
        InputError: If tags with and without prefixes are mixed, no scheme allows them, or they are
            written in another way than schemes are.

    Example:

    >>> find_scheme([["B-person", "I-person", "O"]])
    'IOB2'
    """
    sequences = [list(tags) for tags in sequences]
    letters = _letters({tag for tags in sequences for tag in tags})
    if not letters:
        return None
    counts = collections.Counter(split_tag(tag)[0] for tags in sequences for tag in tags)
    if "" in counts:
        plain = next(t for tags in sequences for t in tags if not split_tag(t)[0])
        raise InputError(
            "tags must all have a prefix (B-, I-, E-, S-) or be O, or none may have one. "
            f"Received: {plain!r} among tags with prefixes"
        )
    if not any(letters <= together for together in _LETTERS):
        raise InputError(
            "the prefixes of tags must be those of one scheme: IOB, BIOES, BILOU, BMES or BMEWO. "
            f"Received: {', '.join(sorted(letters))}"
        )
    if letters - set("BI"):
        return "BIOES"
    # An entity that begins with I- is all that tells the two apart for sure.
    return "IOB2" if not any(map(_begins_inside, sequences)) else "IOB1"


def _letters(tags: set[str]) -> set[str]:
    """The prefixes of tags; none if they are tags of single words."""
    nothing = next((t for t in sorted(tags) if t[:-1] in _MEANINGS and t[-1] == "-"), None)
    if nothing is not None:
        raise InputError(
            f"a tag must name its type behind the prefix, as B-person does. Received: {nothing!r}"
        )
    prefixed = {tag[0] for tag in tags if split_tag(tag)[0] not in ("", OUTSIDE)}
    plain = {tag for tag in tags if not split_tag(tag)[0]}
    if prefixed:
        return prefixed if prefixed & set("BIES") or not plain else set()
    for odd in _ODD:
        found = [match for tag in sorted(plain - {"o"}) if (match := odd.fullmatch(tag))]
        marks = {match.group(1).upper() for match in found}
        known = "B" in marks and ("I" in marks or bool({OUTSIDE, "o"} & tags))
        if known and len(found) == len(plain - {"o"}):
            raise InputError(
                "tags of entities are written B-person, I-person and O: a capital, a hyphen and "
                f"the type; rename them. Received: {found[0].group()!r}"
            )
    return set()


def _begins_inside(tags: Sequence[str]) -> bool:
    """Whether an entity begins with `I-`."""
    before = (OUTSIDE, "")
    for tag in map(split_tag, tags):
        if tag[0] == "I" and (before[0] == OUTSIDE or before[1] != tag[1]):
            return True
        before = tag
    return False


def entities(tags: Sequence[str]) -> list[Entity]:
    """The entities of a sentence, as the script of CoNLL-2000 reads them, whatever the scheme.

    A sequence that no scheme allows is read kindly, as `conlleval` and seqeval's default do: an
    entity also begins where its type changes, and ends where the next doesn't continue it.

    Args:
        tags: One tag for each word.

    Returns:
        Type, first word and the word after the last of each.

    Example:

    >>> entities(["B-person", "I-person", "O", "S-place"])
    [('person', 0, 2), ('place', 3, 4)]
    """
    found: list[Entity] = []
    start, before = 0, (OUTSIDE, "")
    for place, tag in enumerate([*map(split_tag, tags), (OUTSIDE, "")]):
        if _ends(before, tag):
            found.append((before[1], start, place))
        if _starts(before, tag):
            start = place
        before = tag
    return found


def _ends(before: tuple[str, str], tag: tuple[str, str]) -> bool:
    if before[0] == OUTSIDE:
        return False
    return before[0] in "ES" or tag[0] in ("B", "S", OUTSIDE) or before[1] != tag[1]


def _starts(before: tuple[str, str], tag: tuple[str, str]) -> bool:
    if tag[0] == OUTSIDE:
        return False
    return tag[0] in "BS" or before[0] in ("E", "S", OUTSIDE) or before[1] != tag[1]


def entity_scores(
    truth: Sequence[Sequence[str]], predicted: Sequence[Sequence[str]]
) -> dict[str, dict[str, float]]:
    """Precision, recall, F1 and support of entities: exact type and exact extent, or wrong.

    Args:
        truth: The tags of each sentence.
        predicted: The tags that a model gave, as many.

    Returns:
        Those numbers for each type, and for `micro` over all entities. A share of nothing is 0.

    Example:

    >>> entity_scores([["B-a", "O"]], [["B-a", "B-a"]])["micro"]["precision"]
    0.5
    """
    counts: dict[str, list[int]] = collections.defaultdict(lambda: [0, 0, 0])
    for own, made in zip(truth, predicted, strict=True):
        wanted, given = set(entities(own)), set(entities(made))
        for column, group in enumerate((wanted & given, wanted, given)):
            for kind, _, _ in group:
                counts[kind][column] += 1
    total = [sum(column) for column in zip(*counts.values())] or [0, 0, 0]
    return {name: _rates(*counts[name]) for name in sorted(counts)} | {"micro": _rates(*total)}


def _rates(right: int, wanted: int, given: int) -> dict[str, float]:
    precision, recall = right / given if given else 0.0, right / wanted if wanted else 0.0
    both = precision + recall
    f1 = 2 * precision * recall / both if both else 0.0
    return {"precision": precision, "recall": recall, "f1": f1, "support": wanted}


def allowed_steps(names: Sequence[str], scheme: str | None) -> np.ndarray:
    """Which tag may follow which, bool `[tags + 2, tags + 2]`.

    The last two rows and columns are the sentence's start and end.

    Args:
        names: All tags.
        scheme: One of `SCHEMES`, or `None`: then any tag may follow any.
    """
    tags = [*map(split_tag, names), ("start", ""), ("end", "")]
    steps = np.array([[_may_follow(a, b, scheme) for b in tags] for a in tags])
    steps[:, -2] = steps[-1] = False
    return steps


def _may_follow(before: tuple[str, str], after: tuple[str, str], scheme: str | None) -> bool:
    if scheme is None:
        return True
    inside = before[1] == after[1] and before[0] in ("B", "I")
    if scheme == "IOB2":
        return inside if after[0] == "I" else True
    if scheme == "IOB1":
        return before[1] == after[1] and before[0] in "BI" if after[0] == "B" else True
    if before[0] in ("B", "I"):  # BIOES: what has begun must end
        return after[0] in ("I", "E") and inside
    return after[0] not in ("I", "E")
