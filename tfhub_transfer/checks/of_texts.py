"""Findings of texts alone: blank, repeated, leaked and cut ones, other scripts and languages."""

import collections
from collections.abc import Iterable

import numpy as np

from tfhub_transfer.checks import duplicates
from tfhub_transfer.checks.gathered import NUMBERS, Gathered
from tfhub_transfer.incoming.wording import counted
from tfhub_transfer.reporting.findings import Finding, Found, spelled
from tfhub_transfer.texts import languages, scripts

# How suspicious a row is of which only that is known: it counts twice, or is like no other.
REPEATED, ODD = 0.1, 0.25
# Rows whose language is told.
_MOST_TOLD = 100_000
_MADE_FOR = (
    "an encoder knows the languages that it was made for: take one for all of these, or drop the "
    "rows"
)
# Standard deviations by which numbers of nearly the same text may differ.
_APART = 1.0
# Rows of a group that one is compared with, and what is at most said of texts that differ.
_COMPARED, _ALMOST = 50, 0.999


def blank(data: Gathered) -> Finding:
    """Rows without a text.

    Args:
        data: All rows.
    """
    rows = [Found(row, 1.0, "a text is blank") for row in np.flatnonzero(data.blank).tolist()]
    return Finding(
        "blank texts",
        len(rows),
        f"{counted(len(rows), 'row')} with a blank text" if rows else "every row has its texts",
        "fill them in, or drop the rows: a model learns from their labels that nothing means that",
        rows,
    )


def unlabelled(data: Gathered) -> Finding:
    """Rows without a label, where others have one.

    Args:
        data: All rows, of which some have a label.
    """
    rows = [Found(i, 1.0, "no label") for i, row in enumerate(data.rows) if row.label is None]
    return Finding(
        "missing labels",
        len(rows),
        f"{counted(len(rows), 'row')} without a label" if rows else "every row has a label",
        "fill them in, or drop the rows; `train` refuses them",
        rows,
    )


def repeated(data: Gathered) -> Finding:
    """Rows with the texts and the label of an earlier row of their split.

    Args:
        data: All rows.
    """
    found, groups = [], set[int]()
    for members in _groups(data.same, ~data.blank):
        first: dict[tuple[str, str], int] = {}
        for row in members:
            own = data.rows[row]
            earlier = first.setdefault((own.split, spelled(own.label)), row)
            if earlier != row:
                groups.add(earlier)
                why = f"the same as row {data.rows[earlier].number}"
                found.append(Found(row, REPEATED, why, group=members[0] + 1))
    return Finding(
        "duplicates",
        len(found),
        f"{counted(len(found), 'row')} repeating {counted(len(groups), 'other')} of their split"
        if found
        else "no row repeats another of its split",
        "one of each is enough: a text that is there twice counts twice; case, blanks and forms of "
        "Unicode are passed over",
        found,
    )


def near(data: Gathered) -> Finding:
    """Rows with nearly the texts of another row of their split.

    Args:
        data: All rows.
    """
    found, count = [], 0
    for members in _groups(data.near, ~data.blank):
        for split in dict.fromkeys(data.rows[row].split for row in members):
            inside = [row for row in members if data.rows[row].split == split]
            if len({int(data.same[row]) for row in inside}) < 2:
                continue
            count += 1
            why = f"nearly the same as {len(inside) - 1:,} other{'s' * (len(inside) > 2)}"
            shown = f"{why} (row {data.rows[inside[0]].number} and on)"
            found += [Found(row, REPEATED, shown, group=members[0] + 1) for row in inside]
    return Finding(
        "near duplicates",
        len(found),
        f"{len(found):,} rows in {counted(count, 'group')} of nearly the same texts"
        if found
        else "no texts of a split are nearly the same",
        "keep one of each where they say the same; where only a number or a name differs, the "
        "model sees less variety than the number of rows says",
        found,
        suspicious=False,
    )


def leaked(data: Gathered) -> Finding:
    """Rows of validation or test whose texts, or nearly these, are in a split before.

    Args:
        data: All rows.
    """
    found: list[Found] = []
    for members in _groups(data.near, ~data.blank):
        if len({data.rows[row].split for row in members}) > 1:
            found += _leaks(data, members)
    found.sort(key=lambda each: (-each.score, each.row))
    exact = sum(each.score == 1 for each in found)
    rows = counted(len(found), "row")
    said = f"{rows} of validation or test that an earlier split has, too ({exact:,} the "
    return Finding(
        "leakage",
        len(found),
        f"{said}same, {len(found) - exact:,} nearly)"
        if found
        else "no text of one split is in another",
        "drop these rows: what was seen in training is answered better, so the numbers are too "
        "good",
        found,
    )


def _leaks(data: Gathered, members: list[int]) -> Iterable[Found]:
    """Rows of a group that an earlier split has, too."""
    order = list(data.splits)
    for row in members:
        own = data.rows[row]
        before = [
            other
            for other in members
            if order.index(data.rows[other].split) < order.index(own.split)
        ]
        shares = {other: _share(data, row, other) for other in before[:_COMPARED]}
        if shares:
            nearest = max(shares, key=lambda other: (shares[other], -other))
            place = f"row {data.rows[nearest].number} of {data.rows[nearest].split}"
            how = "the same as" if shares[nearest] == 1 else "nearly the same as"
            yield Found(row, shares[nearest], f"{how} {place}", group=members[0] + 1)


def _share(data: Gathered, row: int, other: int) -> float:
    """How much of two rows is the same: 1 of what differs in nothing that is compared."""
    if data.same[row] == data.same[other]:
        return 1.0
    # The same runs in another order are not the same text.
    return min(_ALMOST, duplicates.likeness(data.normalized[row], data.normalized[other]))


def torn(data: Gathered) -> Finding:
    """Rows of the same or nearly the same texts whose labels differ.

    Args:
        data: All rows, with labels that are classes, sets of them, or numbers.
    """
    known = np.array([row.label is not None for row in data.rows])
    found, groups = [], 0
    apart = _spread(data) if data.kind == NUMBERS else 0.0
    for members in _groups(data.near, known & ~data.blank):
        labels = [data.rows[row].label for row in members]
        inside = (
            list(_torn_by_number(members, labels, apart))
            if data.kind == NUMBERS
            else list(_torn_by_class(members, labels))
        )
        found += inside
        groups += bool(inside)
    found.sort(key=lambda each: (-each.score, each.group, each.row))
    return Finding(
        "contradictions",
        len(found),
        f"{len(found):,} rows in {counted(groups, 'group')} of the same or nearly the same texts "
        "whose labels differ"
        if found
        else "the same texts have the same labels",
        "look which label is right; where both may be, the text alone doesn't tell them apart",
        found,
    )


def _torn_by_class(members: list[int], labels: list[object]) -> Iterable[Found]:
    counts = collections.Counter(labels)
    if len(counts) < 2:
        return
    most, times = counts.most_common(1)[0]
    for row, label in zip(members, labels):
        other = 1 - counts[label] / len(labels)
        # Of labels that come equally often neither is more likely.
        better = most if label != most and times > counts[label] else None
        named = ", ".join(f"{spelled(each)} ({n:,})" for each, n in counts.most_common(3))
        why = f"the same text, or nearly, has the labels {named}"
        yield Found(row, other, why, better, members[0] + 1)


def _torn_by_number(members: list[int], labels: list[object], apart: float) -> Iterable[Found]:
    numbers = np.array(labels, float)
    if len(numbers) < 2 or numbers.max() - numbers.min() <= apart:
        return
    middle = float(np.median(numbers))
    for row, number in zip(members, numbers.tolist()):
        away = abs(number - middle) / (abs(number - middle) + apart)
        why = f"the same text, or nearly, has numbers from {numbers.min():g} to {numbers.max():g}"
        yield Found(row, away, why, middle if number != middle else None, members[0] + 1)


def _spread(data: Gathered) -> float:
    return _APART * float(np.std([float(str(data.rows[row].label)) for row in data.labelled]))


def cut(data: Gathered, lost: np.ndarray, length: int) -> Finding:
    """Rows of which the encoder doesn't read the end.

    Args:
        data: All rows.
        lost: How many tokens each loses, int `[n]`.
        length: How many a text has at most.
    """
    order = np.argsort(-lost, kind="stable")
    rows = [Found(i, 0.0, f"{lost[i]:,} tokens lost") for i in order.tolist() if lost[i] > 0]
    return Finding(
        "cut texts",
        len(rows),
        f"{counted(len(rows), 'row')} longer than the {length:,} tokens that are read; "
        f"{int(lost.sum()):,} tokens are lost"
        if rows
        else f"all are read whole: none is longer than {length:,} tokens",
        "give a larger `--sequence-length`, as far as the encoder goes, or say what matters first",
        rows,
        suspicious=False,
    )


def other_scripts(data: Gathered) -> Finding:
    """Rows that are written in another script than most, or with letters that look like others.

    Args:
        data: All rows.
    """
    own = [scripts.of_text(" ".join(row.texts)) for row in data.rows]
    counts = collections.Counter(name for name in own if name is not None)
    usual = counts.most_common(1)[0][0] if counts else None
    found = []
    for place, row in enumerate(data.rows):
        word = next(filter(None, map(scripts.disguised, row.texts)), None)
        if own[place] is None and not data.blank[place]:
            found.append(Found(place, ODD, "no letters at all"))
        elif own[place] not in (usual, None):
            found.append(Found(place, 0.0, f"mostly {_named(str(own[place]))} letters"))
        elif word is not None:
            found.append(Found(place, ODD, f"letters of two scripts in one word: {word}"))
    found.sort(key=lambda each: -each.score)
    shares = ", ".join(
        f"{_named(name)} {count / len(own):.1%}" for name, count in counts.most_common(5)
    )
    return Finding(
        "scripts",
        len(found),
        f"{counted(len(found), 'row')} written otherwise than most; by rows: {shares}"
        if found
        else f"all rows are in one script: {_named(usual)}"
        if usual
        else "no text has letters",
        _MADE_FOR,
        found,
        suspicious=False,
    )


def mixed_languages(data: Gathered) -> Finding:
    """Rows that are in another language than most, as far as that is certain.

    Args:
        data: All rows.
    """
    # Of very many rows some at even distances, as telling takes a tenth of a millisecond.
    places = range(0, len(data.rows), -(-len(data.rows) // _MOST_TOLD))
    own = [languages.of_text(" ".join(data.rows[place].texts)) for place in places]
    counts = collections.Counter(name for name in own if name is not None)
    usual = counts.most_common(1)[0][0] if counts else None
    found = [
        Found(place, 0.0, f"in {name}")
        for place, name in zip(places, own)
        if name not in (usual, None)
    ]
    told = sum(counts.values())
    of = f"of {told:,} rows of which that is certain"
    of += f", of {len(own):,} that were looked at" if len(own) < len(data.rows) else ""
    shares = ", ".join(f"{name} {count / told:.1%}" for name, count in counts.most_common(5))
    return Finding(
        "languages",
        len(found),
        f"{counted(len(found), 'row')} in another language than most, {of}: {shares}"
        if found
        else f"all are in one language, {usual}, {of}"
        if usual
        else "of no row it is certain which language it is in",
        _MADE_FOR,
        found,
        suspicious=False,
    )


def _named(script: str | None) -> str:
    return {"CJK": "Chinese or Japanese", None: "none"}.get(script, str(script).capitalize())


def _groups(own: np.ndarray, kept: np.ndarray) -> Iterable[list[int]]:
    """Rows of each group of two or more, group by group in the order of their first rows."""
    rows = np.flatnonzero(kept)
    order = rows[np.argsort(own[rows], kind="stable")]
    ends = np.flatnonzero(np.diff(own[order])) + 1
    return (part.tolist() for part in np.split(order, ends) if len(part) > 1)
