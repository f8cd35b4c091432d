"""Texts of the target language as more to learn from: a reverse model writes their sources."""

import dataclasses
from collections.abc import Sequence
from typing import Any

from tfhub_transfer.data import Examples, pool, require_examples
from tfhub_transfer.errors import InputError
from tfhub_transfer.incoming import wording
from tfhub_transfer.models.transfer import TransferModel
from tfhub_transfer.tasks import Search
from tfhub_transfer.texts import joining


def reversed_pairs(examples: Examples) -> Examples:
    """Targets as sources and the other way round, to train a reverse model on.

    Args:
        examples: Pairs of a text and the text to be written; of several right ones the first.

    Raises:
        InputError: If they aren't labelled single texts.

    Example:

    >>> pairs = tt.data.Examples.from_lists(["a house"], ["ein Haus"])
    >>> reversed_pairs(pairs).texts[0], reversed_pairs(pairs).labels
    (['ein Haus'], ['a house'])
    """
    require_examples(examples)
    if examples.is_pair or examples.target is None:
        raise InputError(
            "expected texts, each with the text that is to be written; give a label. "
            f"Received: {len(examples.texts)} text column(s) in {examples.source}, "
            f"{'with' if examples.target else 'without'} labels"
        )
    targets = [each if isinstance(each, str) else each[0] for each in examples.labels]
    return Examples.from_lists(targets, list(map(joining.spaced, examples.texts[0])))


def back_translate(
    reverse: TransferModel, targets: Sequence[str], search: Search | None = None
) -> Examples:
    """Pairs whose targets people wrote, and whose sources a reverse model did.

    As in Sennrich et al. 2016, "Improving Neural Machine Translation Models with Monolingual Data".
    Put them beside real pairs with `data.pool`, to train on alone: what judges and measures a model
    must be real.

    Args:
        reverse: A trained model of targets to sources.
        targets: Texts of the target language; blank ones are left out, and each counts once.
        search: How the reverse model searches; if not given it takes the likeliest piece each time,
            in a quarter of the time that beams take.

    Returns:
        The pairs, in the order of the targets; without those of which the reverse model made
        nothing.

    Raises:
        InputError: If it is no model that writes texts, or there are no targets.

    Example:

    >>> back_translate(Regression, ["ein Haus"])
    Traceback (most recent call last):
    tfhub_transfer.errors.InputError: expected a trained model of targets to sources, ...
    """
    if not isinstance(reverse, TransferModel) or reverse.task.search is None:
        told = getattr(getattr(reverse, "task", None), "name", type(reverse).__name__)
        raise InputError(
            "expected a trained model of targets to sources, such as one of translation; train it "
            f"on the pairs with their sides exchanged. Received: {told}"
        )
    given = enumerate(wording.listed(targets), start=1)
    read = [wording.require_text(text, f"row {n} of the targets") for n, text in given]
    kept = list(dict.fromkeys(text for text in read if text.strip()))
    if not kept:
        raise InputError(
            f"expected texts of the target language; give some. Received: {len(read)} blank texts"
        )
    before, reverse.task.search = reverse.task.search, search or Search(beams=1)
    try:
        answers = reverse.predict_text(kept)
    finally:
        reverse.task.search = before
    pairs = [(str(a["text"]), text) for a, text in zip(answers, kept) if str(a["text"]).strip()]
    return Examples.from_lists([own for own, _ in pairs], [text for _, text in pairs])


def with_synthetic(train: Examples, synthetic: Examples) -> Examples:
    """Real and synthetic pairs together; the column `synthetic` says which are which.

    Args:
        train: Real pairs, without weights.
        synthetic: As `back_translate` gives them.

    Raises:
        InputError: If the real ones have weights.

    Example:

    >>> pairs = tt.data.Examples.from_lists(["a house"], ["ein Haus"])
    >>> with_synthetic(pairs, pairs).columns["synthetic"]
    [False, True]
    """
    if train.weight is not None:
        raise InputError(
            "synthetic pairs stand beside such that all count alike; leave weights out. "
            f"Received: {train.source} with weights"
        )
    real = Examples.from_lists(list(train.texts[0]), list(train.labels))
    return pool(_marked(real, False), _marked(synthetic, True))


def _marked(examples: Examples, synthetic: bool) -> Examples:
    columns: dict[str, Any] = {**examples.columns, "synthetic": [synthetic] * len(examples)}
    return dataclasses.replace(examples, columns=columns)
