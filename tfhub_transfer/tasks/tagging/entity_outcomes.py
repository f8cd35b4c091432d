"""What became of each entity: found, missed, made up, of another type, cut elsewhere."""

import collections
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

from tfhub_transfer.reporting.contents import GroupRow, Mark, Slice, Taken
from tfhub_transfer.tasks.tagging import schemes
from tfhub_transfer.tasks.tagging.schemes import Entity

Tags = Sequence[Sequence[str]]
RIGHT, MISSED, SPURIOUS = "right", "missed", "spurious"
TYPE, BOUNDARY, BOTH = "wrong type", "wrong boundary", "wrong type and boundary"
KINDS = (RIGHT, MISSED, SPURIOUS, TYPE, BOUNDARY, BOTH)


class Outcome(NamedTuple):
    """An entity, what the model made of it, and how that is called.

    Attributes:
        kind: One of `KINDS`.
        true: The entity, or `None` where there is none.
        given: What the model gave, or `None`.
    """

    kind: str
    true: Entity | None
    given: Entity | None


def outcomes(own: Sequence[str], made: Sequence[str], scheme: str | None) -> list[Outcome]:
    """What became of the entities of one sentence, each in one outcome, in the text's order.

    Of entities that overlap, those go together that are most alike: of one extent and type, of one
    extent, of one type, of neither; and of these the pair that shares most words.

    Args:
        own: The tags.
        made: As many that a model gave.
        scheme: The tags' scheme; without one every word is an entity of its tag's type.

    Example:

    >>> outcomes(["B-a", "I-a", "B-b"], ["B-a", "O", "B-a"], "IOB2")[0]
    Outcome(kind='wrong boundary', true=('a', 0, 2), given=('a', 0, 1))
    """
    true, given = found(own, scheme), found(made, scheme)
    taken: set[tuple[str, Entity]] = set()
    rows = []
    for _, one, other in sorted(_overlaps(true, given)):
        if {("true", one), ("given", other)} & taken:
            continue
        taken |= {("true", one), ("given", other)}
        rows.append(Outcome(_kind(one, other), one, other))
    rows += [Outcome(MISSED, one, None) for one in true if ("true", one) not in taken]
    rows += [Outcome(SPURIOUS, None, one) for one in given if ("given", one) not in taken]
    return sorted(rows, key=lambda row: min(one[1] for one in row[1:] if one is not None))


def found(tags: Sequence[str], scheme: str | None) -> list[Entity]:
    """The entities of a sentence, in its order; every word's tag where there is no scheme."""
    if scheme is None:
        return [(tag, place, place + 1) for place, tag in enumerate(tags)]
    return schemes.entities(tags)


def _overlaps(
    true: Sequence[Entity], given: Sequence[Entity]
) -> Iterable[tuple[tuple[int, int], Entity, Entity]]:
    """Pairs that share a word, with what they are sorted by."""
    first = 0
    for one in true:
        # Both are in the text's order: what ends before this one ends before all later ones.
        while first < len(given) and given[first][2] <= one[1]:
            first += 1
        place = first
        while place < len(given) and given[place][1] < one[2]:
            other = given[place]
            shared = min(one[2], other[2]) - max(one[1], other[1])
            yield (_LIKENESS[_kind(one, other)], -shared), one, other
            place += 1


_LIKENESS = {RIGHT: 0, TYPE: 1, BOUNDARY: 2, BOTH: 3}


def _kind(one: Entity, other: Entity) -> str:
    if one[1:] == other[1:]:
        return RIGHT if one[0] == other[0] else TYPE
    return BOUNDARY if one[0] == other[0] else BOTH


def counts(rows: Iterable[Outcome]) -> dict[str, int]:
    """How many there are of each kind."""
    number = collections.Counter(row.kind for row in rows)
    return {kind: number[kind] for kind in KINDS}


def confusion(rows: Iterable[Outcome]) -> list[Taken]:
    """How often each type was taken for which, the most frequent first.

    Args:
        rows: Outcomes of all sentences.

    Returns:
        `true`, `predicted` and `count`, where either may be `None`: there was nothing.
    """
    number = collections.Counter(
        (row.true and row.true[0], row.given and row.given[0]) for row in rows
    )
    order = sorted(number.items(), key=lambda pair: (-pair[1], str(pair[0])))
    return [{"true": true, "predicted": made, "count": count} for (true, made), count in order]


def scores_by(
    by: str, rows: Iterable[tuple[int, Outcome]], group: Callable[[int, Entity], str]
) -> list[Slice]:
    """Precision, recall and F1 of entities, group by group.

    An entity and what a model gave are each in a group of their own, so that the counts of all
    groups add up to those of all entities.

    Args:
        by: What tells the groups apart.
        rows: Number of the sentence, and an outcome in it.
        group: The group of an entity in a sentence; groups are sorted by their names.

    Returns:
        As `groups.means`, with `count` the entities that there are and `given` those of the model.
    """
    tally: dict[str, list[int]] = collections.defaultdict(lambda: [0, 0, 0])
    for sentence, row in rows:
        if row.true is not None:
            tally[group(sentence, row.true)][1] += 1
        if row.given is not None:
            tally[group(sentence, row.given)][2] += 1
            tally[group(sentence, row.given)][0] += row.kind == RIGHT
    # One group would repeat what all entities say.
    if len(tally) < 2:
        return []
    return [{"by": by, "rows": [_scores(name, *tally[name]) for name in sorted(tally)]}]


def _scores(name: str, hits: int, wanted: int, given: int) -> GroupRow:
    return {
        "group": name,
        "count": wanted,
        "given": given,
        "precision": hits / given if given else None,
        "recall": hits / wanted if wanted else None,
        "f1": 2 * hits / (wanted + given),
    }


def length(sentence: int, entity: Entity) -> str:
    """The group of an entity by its words."""
    words = entity[2] - entity[1]
    return f"{words} word{'s' if words > 1 else ''}" if words < 4 else "4 words or more"


def spelled(words: Sequence[str], entity: Entity) -> str:
    """An entity's words as one text that doesn't tell capitals apart."""
    return " ".join(words[entity[1] : entity[2]]).casefold()


def highlights(words: Sequence[str], rows: Iterable[Outcome]) -> list[Mark]:
    """Outcomes as places in the words joined by single spaces.

    Args:
        words: The words of the sentence.
        rows: Outcomes; right ones too.

    Returns:
        For each entity and each that was given `start`, `end` in characters, its `side`, `"true"`
        or `"predicted"`, its `kind`, and a `label` behind it.
    """
    starts = [0]
    for word in words:
        starts.append(starts[-1] + len(word) + 1)
    found: list[Mark] = []
    for row in rows:
        pair = [("true", row.true), ("predicted", row.given)]
        named = _label(row)
        last = max((one for _, one in pair if one is not None), key=lambda one: one[2])
        for side, one in pair:
            if one is not None:
                start, end = starts[one[1]], starts[one[2]] - 1
                label = named if one is last else ""
                mark: Mark = {
                    "start": start,
                    "end": end,
                    "side": side,
                    "kind": row.kind,
                    "label": label,
                }
                found.append(mark)
    return found


def _label(row: Outcome) -> str:
    """What to say behind an entity: both types where they differ."""
    true, given = row.true and row.true[0], row.given and row.given[0]
    if true and given:
        return true if true == given else f"{given}, is {true}"
    return str(true or given)
