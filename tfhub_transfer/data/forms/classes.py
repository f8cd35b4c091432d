"""Names of classes that a data set keeps beside their numbers, as Hugging Face's do."""

import json
from collections.abc import Callable, Mapping

from tfhub_transfer.errors import InputError
from tfhub_transfer.shapes import Row

_KEY = b"huggingface"


def of_metadata(metadata: dict[bytes, bytes] | None) -> Row:
    """The features that the schema of an Arrow or Parquet file says; none if it says none.

    Args:
        metadata: Of the schema.
    """
    try:
        features = json.loads((metadata or {})[_KEY])["info"]["features"]
    except (KeyError, TypeError, ValueError):
        return {}
    return features if isinstance(features, dict) else {}


def namer(features: Row, place: str) -> Callable[[dict[str, object]], Row]:
    """What puts names in the place of numbers of classes, in rows.

    Args:
        features: As `datasets.Features.to_dict` gives them.
        place: The source, for messages.

    Example:

    >>> label = {"_type": "ClassLabel", "names": ["bad", "good"]}
    >>> namer({"label": label}, "a data set")({"text": "fine", "label": 1})
    {'text': 'fine', 'label': 'good'}
    """
    found = {key: feature for key, feature in features.items() if has_names(feature)}

    def named(row: dict[str, object]) -> Row:
        for key, feature in found.items():
            if key in row:
                row[key] = _named(feature, row[key], f"{place}: column {key!r}")
        return row

    return named


def has_names(feature: object) -> bool:
    """Whether a feature holds classes with names, at any depth.

    Args:
        feature: As `datasets.Features.to_dict` gives it, or `None`.
    """
    if isinstance(feature, list):
        return bool(feature) and has_names(feature[0])
    if not isinstance(feature, dict):
        return False
    if feature.get("_type") == "ClassLabel":
        return isinstance(feature.get("names"), list)
    if not isinstance(feature.get("_type", {}), str):
        return any(map(has_names, feature.values()))  # what has keys itself
    return "feature" in feature and has_names(feature["feature"])


def _inner(feature: object) -> object:
    """The feature of what a list holds, or of a row of what is nested."""
    if isinstance(feature, list):
        return feature[0]
    return feature.get("feature", feature) if isinstance(feature, Mapping) else None


def _named(feature: object, value: object, place: str) -> object:
    if isinstance(value, dict):
        inner = _inner(feature)
        parts = inner if isinstance(inner, Mapping) else {}
        named = {key for key in value if has_names(parts.get(key))}
        return {k: _named(parts[k], v, place) if k in named else v for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [_named(_inner(feature), each, place) for each in value]
    # -1 stands for a label that is kept secret, as in test splits of benchmarks.
    if value is None or value == -1 or isinstance(value, str):
        return None if value == -1 else value
    names = feature["names"] if isinstance(feature, Mapping) else []
    if value != value:  # not a number
        return None
    if not isinstance(value, (int, float)) or value not in range(len(names)):
        raise InputError(
            f"{place} has {len(names)} classes, numbered from 0. Received: {str(value)[:60]}"
        )
    return names[int(value)]
