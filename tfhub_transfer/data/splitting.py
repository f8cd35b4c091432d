"""Examples in parts, drawn at random, so that no part holds what another has seen; and together."""

import array
import collections
import dataclasses
import itertools
import math
from collections.abc import Collection, Sequence

import numpy as np

from tfhub_transfer.data import label_columns
from tfhub_transfer.data.examples import Examples, require_examples
from tfhub_transfer.errors import InputError
from tfhub_transfer.incoming import choices, ranges, usual, wording

# Of fewer rows on average sentences are no names of classes.
_ROWS_OF_A_CLASS = 4


def split(
    examples: Examples,
    fractions: Sequence[float] = usual.SPLIT,
    seed: int = 0,
    stratify: bool = True,
    together: str | None = None,
) -> tuple[Examples, ...]:
    """Splits examples at random, the same way for the same seed.

    Identical texts stay on one side, so that no part holds what another has seen. Classes keep
    their shares in every part, as far as their numbers allow.

    Args:
        examples: What to split.
        fractions: Share of each part; they add up to 1.
        seed: Seed of the draw.
        stratify: Whether to keep the classes' shares, where labels are classes. Sentences are none,
            also if some come again.
        together: A column whose equal values stay on one side, such as the context of several
            questions; all texts if not given.

    Raises:
        InputError: If the fractions don't add up, or a part would be empty.

    Example:

    >>> train, validation, test = split(examples, (0.8, 0.1, 0.1), seed=7)
    """
    given = wording.listed(fractions)
    fractions = [ranges.real_number("fractions", share, *ranges.SHARE) for share in given]
    seed = ranges.whole_number("seed", seed, *ranges.SEED)
    stratify = choices.flag("stratify", stratify)
    # Sums of tenths may miss 1 in their last digit.
    if not math.isclose(sum(fractions), 1.0, abs_tol=1e-6):
        raise InputError(f"fractions must be above 0 and add up to 1. Received: {tuple(fractions)}")
    groups = _groups(examples, stratify, together)
    generator = np.random.default_rng(seed)
    parts: list[list[int]] = [[] for _ in fractions]
    # In one order, whichever class comes first: all draw from one generator.
    for key in sorted(groups):
        texts = groups[key]
        _deal([texts[i] for i in generator.permutation(len(texts))], fractions, parts)
    if not all(parts):
        raise InputError(
            f"too few rows to split into {len(fractions)} parts; give more rows, or files for "
            f"validation and test. Received: {len(examples)} rows in {examples.source}"
        )
    # In the order of the source again: they were dealt class by class.
    return tuple(examples[sorted(part)] for part in parts)


def folds(
    examples: Examples, count: int, seed: int = 0, together: str | None = None
) -> tuple[Examples, ...]:
    """Splits examples into parts of about one size, each of which is judged by the others' model.

    What `split` keeps together stays together here, and classes keep their shares likewise.

    Args:
        examples: What to split.
        count: How many parts.
        seed: Seed of the draw.
        together: As for `split`.

    Raises:
        InputError: If a part would be empty.

    Example:

    >>> [len(part) for part in folds(examples, 3)]
    [14, 13, 13]
    """
    count = ranges.whole_number("count", count, *ranges.FOLDS)
    seed = ranges.whole_number("seed", seed, *ranges.SEED)
    groups = _groups(examples, True, together)
    generator = np.random.default_rng(seed)
    parts: list[list[int]] = [[] for _ in range(count)]
    for key in sorted(groups):
        texts = groups[key]
        drawn = [texts[i] for i in generator.permutation(len(texts))]
        of_class = [0] * count
        # The largest first, each to the part that has least: few of the class, then few of all.
        for same in sorted(drawn, key=len, reverse=True):
            least = min(range(count), key=lambda at: (of_class[at], len(parts[at])))
            parts[least] += same
            of_class[least] += len(same)
    if not all(parts):
        what = "texts that differ" if together is None else f"values of {together!r} that differ"
        raise InputError(
            f"too few {what} for {count} folds; ask for fewer, or give more rows. "
            f"Received: {sum(map(len, groups.values()))} in {examples.source}"
        )
    return tuple(examples[sorted(part)] for part in parts)


def pool(*parts: Examples) -> Examples:
    """Examples of several sources as one, with the columns that all of them have.

    Args:
        *parts: The examples.

    Raises:
        InputError: If they differ in their texts' columns, or in whether they have labels or
            weights.

    Example:

    >>> len(pool(examples[:10], examples[20:]))
    30
    """
    for each in parts:
        require_examples(each)
    forms = {(len(each.texts), each.is_pair, each.target, each.weight) for each in parts}
    if len(forms) != 1:
        raise InputError(
            "only examples of one form can be put together: as many texts a row, labels in all or "
            "in none, weights in all or in none. "
            f"Received: {'; '.join(map(repr, parts)) or 'none'}"
        )
    first = parts[0]
    shared = [name for name in first.columns if all(name in each.columns for each in parts)]
    columns = {
        name: [*itertools.chain.from_iterable(each.columns[name] for each in parts)]
        for name in shared
    }
    sources = dict.fromkeys(each.source for each in parts)
    told = [each.numbers for each in parts]
    # Numbers of rows say where one stands in a file as long as that is one.
    numbers = None
    if len(sources) == 1 and len({each.unit for each in parts}) == 1 and None not in told:
        numbers = array.array("q", itertools.chain.from_iterable(each or () for each in told))
    notes = dict.fromkeys(itertools.chain.from_iterable(each.notes for each in parts))
    made = Examples(columns, " and ".join(sources), first.target, tuple(notes), first.weight)
    return dataclasses.replace(made, numbers=numbers, unit=first.unit if numbers else "row")


def _groups(examples: Examples, stratify: bool, together: str | None) -> dict[str, list[list[int]]]:
    """Rows of identical texts, or of one value of a column, together, by class."""
    require_examples(examples)
    if together is not None and together not in examples.columns:
        raise InputError(
            f"`together` must be one of the columns {', '.join(map(repr, examples.columns))}. "
            f"Received: {together!r}"
        )
    columns = examples.texts if together is None else (examples.columns[together],)
    rows: dict[tuple[object, ...], list[int]] = collections.defaultdict(list)
    for index, texts in enumerate(zip(*columns)):
        rows[texts].append(index)
    labels = examples.columns[examples.target] if examples.target else []
    by_class = stratify and _are_classes(labels)
    groups: dict[str, list[list[int]]] = collections.defaultdict(list)
    for same in rows.values():
        # Equal texts stay together whatever their labels, so the first one's stands for all.
        groups[label_columns.spelled(labels[same[0]]) if by_class else ""].append(same)
    return groups


def _are_classes(labels: Sequence[object]) -> bool:
    if not labels or any(map(label_columns.is_several, labels)):
        return False
    distinct = {label_columns.spelled(label) for label in labels}
    if len(distinct) * _ROWS_OF_A_CLASS > len(labels) and _are_sentences(distinct):
        return False
    classes = len(distinct) <= label_columns.MOST_CLASSES
    return classes and label_columns.repeat(len(distinct), len(labels))


def _are_sentences(labels: Collection[str]) -> bool:
    """Whether most are of some words, or end as sentences do."""
    said = [len(label.split()) > 2 or label.endswith((".", "!", "?")) for label in labels]
    return 2 * sum(said) > len(said)


def _deal(texts: list[list[int]], fractions: Sequence[float], parts: list[list[int]]) -> None:
    """Gives the rows of one class to the parts; the first part comes first where there are few."""
    # The first part, what is trained on, has what rounding leaves.
    bounds = [round(len(texts) * f) for f in fractions[1:]]
    if len(texts) >= len(parts):
        bounds = [max(1, bound) for bound in bounds]
        while sum(bounds) >= len(texts):
            bounds[bounds.index(max(bounds))] -= 1  # leaves one for the first part
    start = 0
    for part, size in zip(parts[1:], bounds):
        part.extend(i for same in texts[start : start + size] for i in same)
        start += size
    parts[0].extend(i for same in texts[start:] for i in same)
