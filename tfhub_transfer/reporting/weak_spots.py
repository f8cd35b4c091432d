"""What would make a model better, in words: weak spots to look at, more labels."""

from tfhub_transfer.incoming.wording import counted, shown
from tfhub_transfer.reporting.contents import LearningCurve, WeakSpot, WeakSpots

# What a screen shows, and characters of a name; the page has all.
_MOST, _LONGEST = 3, 60


def of_groups(found: WeakSpots) -> list[str]:
    """The worst weak spots that are more than chance, a sentence each.

    Args:
        found: As a report has them.
    """
    spots = [spot for spot in found.get("rows", []) if is_weak(spot)]
    return [_sentence(spot, found["number"]) for spot in spots[:_MOST]]


def is_weak(spot: WeakSpot) -> bool:
    """Whether a group is worse than the others, and not by chance.

    Args:
        spot: The group.
    """
    return spot["beyond_chance"] and spot["harm"] > 0


def verdict(spot: WeakSpot) -> str:
    """What is to be thought of a group, in a few words.

    Args:
        spot: The group.
    """
    if spot["harm"] <= 0:
        return "not worse"
    return "weak" if spot["beyond_chance"] else "no more than chance"


def _sentence(spot: WeakSpot, number: str) -> str:
    by, group = (each[:_LONGEST] for each in (spot["by"], spot["group"]))
    return (
        f"Weak spot: {by} {group}, {counted(spot['count'], 'example')}: {number} "
        f"{shown(spot['value'], 3)} against {shown(spot['rest'], 3)} of the others; as good as "
        f"they, it would spare {100 * spot['harm']:.1f} % of all errors."
    )


def of_more_labels(found: LearningCurve) -> list[str]:
    """What more labels are expected to bring, as a sentence; none where nobody asked.

    Args:
        found: As a report has it.
    """
    if not found:
        return []
    whole = found["now"] + found["more"]
    # Reports of a former release don't say it.
    number = "texts with all labels right" if found.get("sets") else "accuracy"
    return [
        f"With {whole:,} training labels instead of {found['now']:,} expect "
        f"{100 * found['gain']:+.1f} ± {100 * found['error']:.1f} points of {number}, as heads on "
        f"{found['labels'][0]:,} to {found['labels'][-1]:,} labels say, on the encoder as it was "
        "before training."
    ]
