"""Examples in parts, drawn at random, so that no part holds what another has seen."""

import collections
import math
from collections.abc import Sequence

import numpy as np

from tfhub_transfer.data import label_columns
from tfhub_transfer.data.examples import Examples, require_examples
from tfhub_transfer.errors import InputError
from tfhub_transfer.incoming import choices, ranges, usual, wording


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
        stratify: Whether to keep the classes' shares, where labels are classes.
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
    require_examples(examples)
    if together is not None and together not in examples.columns:
        raise InputError(
            f"`together` must be one of the columns {', '.join(map(repr, examples.columns))}. "
            f"Received: {together!r}"
        )
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


def _groups(examples: Examples, stratify: bool, together: str | None) -> dict[str, list[list[int]]]:
    """Rows of identical texts, or of one value of a column, together, by class."""
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
    classes = len(distinct) <= label_columns.MOST_CLASSES
    return classes and label_columns.repeat(len(distinct), len(labels))


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
