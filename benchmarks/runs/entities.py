"""F1 of whole entities: type and both ends right, as CoNLL's own script counts."""

from collections.abc import Sequence


def spans(tags: Sequence[str]) -> set[tuple[str, int, int]]:
    """Type, first word and the one behind the last; an `I-` without its `B-` begins an entity."""
    found: set[tuple[str, int, int]] = set()
    start, kind = 0, ""
    for place, tag in enumerate([*tags, "O"]):
        prefix, _, name = tag.partition("-")
        if kind and (prefix != "I" or name != kind):
            found.add((kind, start, place))
            kind = ""
        if name and not kind:
            start, kind = place, name
    return found


def f1(truth: Sequence[Sequence[str]], answers: Sequence[Sequence[str]]) -> float:
    """Over all sentences together."""
    both = [(spans(gold), spans(made)) for gold, made in zip(truth, answers)]
    right = sum(len(gold & made) for gold, made in both)
    wanted = sum(len(gold) for gold, _ in both)
    claimed = sum(len(made) for _, made in both)
    return 2 * right / (wanted + claimed) if right else 0.0
