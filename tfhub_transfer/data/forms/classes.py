"""Names of classes that a data set keeps beside their numbers, as Hugging Face's do."""

import json
from collections.abc import Callable
from typing import Any

from tfhub_transfer.errors import InputError

_KEY = b"huggingface"


def of_metadata(metadata: dict[bytes, bytes] | None) -> dict[str, Any]:
    """The features that the schema of an Arrow or Parquet file says; none if it says none.

    Args:
        metadata: Of the schema.
    """
    try:
        features = json.loads((metadata or {})[_KEY])["info"]["features"]
    except (KeyError, TypeError, ValueError):
        return {}
    return features if isinstance(features, dict) else {}


def namer(features: dict[str, Any], place: str) -> Callable[[dict[str, Any]], dict[str, Any]]:
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

    def named(row: dict[str, Any]) -> dict[str, Any]:
        for key, feature in found.items():
            if key in row:
                row[key] = _named(feature, row[key], f"{place}: column {key!r}")
        return row

    return named


def has_names(feature: Any) -> bool:
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


def _named(feature: Any, value: Any, place: str) -> Any:
    if isinstance(value, dict):
        inner = feature.get("feature", feature)
        named = {key for key in value if has_names(inner.get(key))}
        return {k: _named(inner[k], v, place) if k in named else v for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        inner = feature[0] if isinstance(feature, list) else feature.get("feature", feature)
        return [_named(inner, each, place) for each in value]
    if value is None or value == -1 or isinstance(value, str):
        return None if value == -1 else value
    names = feature["names"]
    if value != value:  # not a number
        return None
    if int(value) != value or not 0 <= value < len(names):
        raise InputError(
            f"{place} has {len(names)} classes, numbered from 0. Received: {str(value)[:60]}"
        )
    return names[int(value)]
