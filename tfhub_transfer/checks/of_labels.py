"""Findings of labels: classes that are too small or too alike, suspects, what gives them away."""

import collections
import datetime
import decimal
import itertools
from collections.abc import Sequence
from typing import TypeAlias

import numpy as np
from scipy.stats import rankdata

from tfhub_transfer.checks import confident, giveaways
from tfhub_transfer.checks.cross_validation import FOLDS, Judged
from tfhub_transfer.checks.gathered import CLASSES, NUMBERS, SETS, Gathered, names_of
from tfhub_transfer.checks.giveaways import Giveaway
from tfhub_transfer.data.usual_columns import LABEL, TEXT, TEXT_A, TEXT_B, TEXT_C
from tfhub_transfer.incoming.wording import counted
from tfhub_transfer.reporting.findings import Finding, Found, spelled

# Of all rows of two classes, the share that is taken for the other, from which they are alike.
ALIKE = 0.25
# Models that give fewer of the labels say little.
_WEAK = 0.6
# Classes whose words are looked at, and rows of each at least.
_MOST_TOLD, _TOLD = 200, 2 * giveaways.LEAST
# What a column may hold that is looked at: no lists and no bytes.
_PLAIN = (str, int, float, np.number, np.bool_, datetime.date, decimal.Decimal)
_Doubts: TypeAlias = tuple[list[Found], float, float]


def class_count(data: Gathered) -> int:
    """How many classes there are.

    Args:
        data: All rows, with labels that are classes or sets of them.
    """
    return len(_counts(data, data.labelled))


def _counts(data: Gathered, rows: np.ndarray) -> collections.Counter[str]:
    """How many of some rows each class has."""
    names = (names_of(data.rows[row].label) or () for row in rows.tolist())
    return collections.Counter(itertools.chain.from_iterable(names))


def small_classes(data: Gathered) -> Finding:
    """Classes of fewer rows than there are folds.

    Args:
        data: All rows, with labels that are classes or sets of them.
    """
    counts = _counts(data, data.labelled)
    few = sorted((n, name) for name, n in counts.items() if n < FOLDS)
    alone = [f"{name} ({n})" for n, name in few[:5]]
    said = f"{len(few):,} of {len(counts):,} classes have fewer than {FOLDS} rows, as "
    if len(counts) == 1:
        few = [(n, name) for name, n in counts.items()]
        said, alone = "all rows have one class, ", [next(iter(counts))]
    return Finding(
        "small classes",
        len(few),
        said + ", ".join(alone)
        if few
        else f"each of {len(counts):,} classes has {min(counts.values()):,} rows or more",
        "give more texts of them, or put them into one; of a class with one row nothing is learned "
        "that could be measured",
        heads=("class", "rows"),
        cells=[(name, n) for n, name in few],
    )


def _given(data: Gathered, judged: Judged) -> np.ndarray:
    """Places of the given labels among the classes of what was judged, int `[n]`."""
    place = {name: at for at, name in enumerate(judged.classes)}
    return np.array([place[str(data.rows[row].label)] for row in judged.rows], int)


def learned(data: Gathered, judged: Judged) -> bool:
    """Whether models give more labels than the most frequent class, by two standard errors.

    Of sets, whether each class' rows stand above others (Mann and Whitney 1947), all together.

    Args:
        data: All rows, with labels that are classes or sets of them.
        judged: What models said of rows that they hadn't seen.
    """
    if data.kind == SETS:
        return _ranks(membership(data, judged.rows, judged.classes), judged.answers)
    given = _given(data, judged)
    if not len(given):
        return False
    most = np.bincount(given).max() / len(given)
    share = float((judged.answers.argmax(axis=1) == given).mean())
    return bool(share > most + 2 * np.sqrt(most * (1 - most) / len(given)))


def _ranks(members: np.ndarray, answers: np.ndarray) -> bool:
    """Whether answers rank members of classes higher than chance, by two standard errors."""
    above = []
    for own, told in zip(members.T, answers.T):
        there, others = int(own.sum()), int((~own).sum())
        if there and others:
            more = rankdata(told)[own].sum() - there * (there + 1) / 2 - there * others / 2
            above.append(more / np.sqrt(there * others * (len(own) + 1) / 12))
    return bool(above and np.sum(above) > 2 * np.sqrt(len(above)))


def alike_classes(data: Gathered, judged: Judged) -> Finding:
    """Classes that are taken for each other.

    Args:
        data: All rows, with labels that are classes.
        judged: What models said of rows that they hadn't seen.
    """
    given = _given(data, judged)
    shares = confident.alike(given, judged.answers.argmax(axis=1), len(judged.classes))
    pairs = [
        (judged.classes[one], judged.classes[other], float(shares[one, other]))
        for one, other in zip(*np.nonzero(shares >= ALIKE))
    ]
    pairs.sort(key=lambda each: -each[2])
    right = float((judged.answers.argmax(axis=1) == given).mean())
    return Finding(
        "classes alike",
        len(pairs),
        f"{counted(len(pairs), 'pair')} of classes taken for each other in {ALIKE:.0%} of their "
        f"rows or more, first {pairs[0][0]} and {pairs[0][1]}"
        if pairs
        else f"no two classes are taken for each other often; {right:.1%} of all rows are right by "
        "cross-validation",
        "say in writing what tells them apart, or put them into one; look at their suspect labels "
        "first",
        heads=("class", "and", "taken for each other"),
        cells=pairs,
    )


def suspects(data: Gathered, judged: Sequence[Judged]) -> Finding:
    """Rows whose label a model that hasn't seen them is sure is another.

    Args:
        data: All rows, with labels that are classes, sets of them, or numbers.
        judged: What models said of rows that they hadn't seen, each of its own rows.
    """
    made = {CLASSES: _by_class, SETS: _by_set, NUMBERS: _by_number}[str(data.kind)]
    found: list[Found] = []
    facts, agreed = [], 0.0
    for own, who in zip(judged, ("cross-validation", "the model")):
        if len(own.rows):
            more, agree, wrong = made(data, own)
            found += more
            agreed += agree * len(own.rows)
            facts.append((who, len(own.rows), len(more), agree, wrong))
    found.sort(key=lambda each: (-each.score, each.row))
    rows = sum(each[1] for each in facts)
    doubted = f"{len(found):,} of {rows:,} labels are in doubt"
    if data.kind == NUMBERS:
        about = (
            f"{confident.FAR:g} robust spreads or more from what models say that haven't seen them"
        )
    else:
        share = agreed / rows if rows else 0.0
        about = f"by models that haven't seen them; {share:.1%} of all labels are what these say"
        if share < _WEAK:
            about += ": that is little, so their doubts say little, too"
    return Finding(
        "suspect labels",
        len(found),
        f"{doubted}, {about}",
        "look at them from the top, as far as most are wrong; that a model doubts a label doesn't "
        "make it wrong",
        found,
        heads=("judged by", "rows", "in doubt", "labels it agrees with", "wrong, if it is right"),
        cells=[each if data.kind != NUMBERS else each[:3] for each in facts],
    )


def _by_class(data: Gathered, judged: Judged) -> _Doubts:
    """Rows in doubt, the share of labels that are given, and that estimated to be wrong."""
    given = _given(data, judged)
    told = judged.answers
    score = confident.suspicion(told, given)
    found = []
    for at in np.flatnonzero(confident.in_doubt(told, given)).tolist():
        best = int(told[at].argmax())
        why = (
            f"a model that hasn't seen it gives {judged.classes[best]} {told[at, best]:.0%} and "
            f"{judged.classes[given[at]]} {told[at, given[at]]:.0%}"
        )
        found.append(Found(int(judged.rows[at]), float(score[at]), why, judged.classes[best]))
    return found, float((told.argmax(axis=1) == given).mean()), confident.wrong(told, given)


def _by_set(data: Gathered, judged: Judged) -> _Doubts:
    members = membership(data, judged.rows, judged.classes)
    doubted = np.zeros(members.shape, bool)
    score, wrong = np.zeros(members.shape), 0.0
    for at in range(len(judged.classes)):
        both = np.stack([1 - judged.answers[:, at], judged.answers[:, at]], axis=1)
        own = members[:, at].astype(int)
        doubted[:, at] = confident.in_doubt(both, own)
        score[:, at] = confident.suspicion(both, own)
        wrong += confident.wrong(both, own) / len(judged.classes)
    found = []
    names = np.array(judged.classes, object)
    for at in np.flatnonzero(doubted.any(axis=1)).tolist():
        better = tuple(sorted(names[members[at] ^ doubted[at]]))
        said = [
            f"{'not ' if members[at, c] else ''}{names[c]} {score[at, c]:.0%}"
            for c in np.flatnonzero(doubted[at])
        ]
        worst = float(score[at][doubted[at]].max())
        why = f"a model that hasn't seen it says {', '.join(said)}"
        found.append(Found(int(judged.rows[at]), worst, why, better))
    return found, float(((judged.answers >= 0.5) == members).mean()), wrong


def _by_number(data: Gathered, judged: Judged) -> _Doubts:
    given = np.array([float(str(data.rows[row].label)) for row in judged.rows])
    apart = confident.spreads(given - judged.answers)
    found = []
    for at in np.flatnonzero(apart >= confident.FAR).tolist():
        said = float(judged.answers[at])
        why = f"a model that hasn't seen it says {said:.3g}, {apart[at]:.1f} robust spreads away"
        score = float(apart[at] / (1 + apart[at]))
        found.append(Found(int(judged.rows[at]), score, why, round(said, 3)))
    return found, 0.0, 0.0


def membership(data: Gathered, rows: np.ndarray, classes: Sequence[str]) -> np.ndarray:
    """Whether rows are of classes, bool `[n, classes]`.

    Args:
        data: All rows, with labels that are classes or sets of them.
        rows: Places of some of them.
        classes: Names of classes.
    """
    place = {name: at for at, name in enumerate(classes)}
    found = np.zeros((len(rows), len(classes)), bool)
    for at, row in enumerate(rows.tolist()):
        for name in names_of(data.rows[row].label) or ():
            if name in place:
                found[at, place[name]] = True
    return found


def given_away(data: Gathered, seed: int) -> Finding:
    """Columns and words that predict labels nearly alone.

    Args:
        data: All rows, with labels that are classes or sets of them.
        seed: Of the halves.
    """
    # Of one split, since another may come from elsewhere, and have other columns.
    split = next(name for name in data.splits if data.of(name)[data.labelled].any())
    rows = data.labelled[data.of(split)[data.labelled]]
    offset = int(np.flatnonzero(data.of(split))[0])
    half = giveaways.halves(data.near[rows], seed)
    labels = [spelled(data.rows[row].label) for row in rows.tolist()]
    found = []
    for name, cells in _columns(data, split, (rows - offset).tolist()):
        told = giveaways.of_column(name, cells, labels, half)
        found += [told] if told is not None else []
    texts = ["\n".join(data.normalized[row]) for row in rows.tolist()]
    # Rare ones can't be told in each half; of very many classes words would take too much memory.
    classes = [n for n, count in _counts(data, rows).most_common(_MOST_TOLD) if count >= _TOLD]
    found += giveaways.of_words(texts, membership(data, rows, classes), classes, half)
    return _told(found)


def _columns(data: Gathered, split: str, rows: list[int]) -> list[tuple[str, list[object]]]:
    """The columns beside texts and labels that hold something plain, their cells of some rows."""
    examples = data.splits[split]
    own = {TEXT, TEXT_A, TEXT_B, TEXT_C, LABEL, examples.target, examples.weight}
    found = []
    for name in examples.columns:
        cells = [examples.columns[name][row] for row in rows] if name not in own else []
        cells = ["" if cell is None else cell for cell in cells]
        if cells and all(isinstance(cell, _PLAIN) for cell in cells):
            found.append((name, cells))
    return found


def _told(found: Sequence[Giveaway]) -> Finding:
    cells = [(each.what, each.by, each.label or "all", each.saved) for each in found]
    first = found[0] if found else None
    return Finding(
        "giveaways",
        len(found),
        f"{len(found):,} of columns and words: a label is told by {first.what!r} alone ({first.by}"
        f"{f', of {first.label}' if first.label else ''})"
        if first
        else "no column and no word gives a label away by itself",
        "a column is harmless as long as no text is made of it. Where a word is there because of "
        "how rows were collected, take it out: a model would learn it and nothing else. Where the "
        "class is about that word, all is well",
        heads=("what", "by", "class", "mistakes saved"),
        cells=cells,
    )
