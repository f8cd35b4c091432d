"""No labels: classes told by descriptions, of which each text is given the nearest."""

from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np

from tfhub_transfer.encoders import registry
from tfhub_transfer.encoders.encoder import Encoder
from tfhub_transfer.errors import InputError
from tfhub_transfer.incoming import wording
from tfhub_transfer.models import last_layer
from tfhub_transfer.models.building import build_model
from tfhub_transfer.models.transfer import TransferModel
from tfhub_transfer.tasks import Classification, nearness

# One text or several by the name of each class.
Descriptions: TypeAlias = Mapping[str, str | Sequence[str]]
# Cosines go from -1 to 1, of which a softmax can't tell anything by itself.
SCALE = 20.0


def build(
    encoder: registry.Named | Encoder, descriptions: Descriptions, **building: Any
) -> TransferModel:
    """A model of classes that nobody has labelled texts of yet, by what describes them.

    A class has the mean of its descriptions' unit vectors, again of length 1; these are the weights
    of the head, so that the answer is the class whose vector has the highest cosine with the
    text's. Scores are the softmax of 20 times the cosines (of an encoder whose vectors differ in
    length: times that length, in units of the descriptions' mean). It is a model as any: it is
    saved, measured, exported, served, and learns on by `fine_tune`, where it begins then.

    Args:
        encoder: As for `build_model`.
        descriptions: A text or several for each class, by its name: in words as those of the texts
            that are to be answered, or the name itself.
        **building: Others of `build_model`, but no head, whose weights these are.

    Raises:
        InputError: If there are fewer than two classes, a class has no description, or the encoder
            gives two classes the same vector.

    Example:

    >>> model = build("auto", {"food": "cooking and eating", "sport": ["football", "tennis"]})
    >>> model.predict_text(["How long does the soup have to boil?"])[0]["label"]
    'food'
    """
    texts = parsed(descriptions)
    if "head" in building:
        raise InputError(
            "the vectors of descriptions are the head; leave `head` out, or train one with "
            f"`fine_tune`. Received: {building['head']!r:.60}"
        )
    task = Classification([*texts])
    model = build_model(encoder, task, **building)
    vectors = model.encode_text([text for each in texts.values() for text in each])
    length = float(np.linalg.norm(vectors, axis=1).mean())
    ends = np.cumsum([len(each) for each in texts.values()])[:-1]
    means = [part.mean(axis=0) for part in np.split(nearness.unit(vectors), ends)]
    kernel = nearness.unit(np.array(means)).T * (SCALE / length)
    _require_apart(kernel, [*texts])
    model.get_layer(last_layer.NAME).set_weights([kernel, np.zeros(len(texts), "float32")])
    return model


def parsed(given: object) -> dict[str, list[str]]:
    """Descriptions, checked: texts by the name of each class.

    Args:
        given: What a user gives, or a file of JSON has.

    Raises:
        InputError: If it is something else.
    """
    wanted = 'expected a description of each of two classes at least, {"class": "text", ...}'
    if not isinstance(given, Mapping) or len(given) < 2:
        raise InputError(f"{wanted}. Received: {given!r:.80}")
    found: dict[str, list[str]] = {}
    for name, each in given.items():
        texts = [each] if isinstance(each, str) else each
        if not isinstance(texts, Sequence) or not all(isinstance(t, str) for t in texts):
            raise InputError(f"{wanted}, or a list of texts. Received: {each!r:.80} of {name!r}")
        if str(name) in found:
            raise InputError(f"{wanted}, each once. Received: {name!r:.60} twice")
        found[str(name)] = [wording.require_text(t, f"the description of {name!r}") for t in texts]
        if not any(text.strip() for text in texts) or not all(text.strip() for text in texts):
            raise InputError(
                f"{wanted}; give texts that say something. Received: {name!r}: {each!r:.60}"
            )
    return found


def _require_apart(kernel: np.ndarray, names: Sequence[str]) -> None:
    """Refuses classes that have the same vector, of which one would never be answered."""
    found: dict[bytes, str] = {}
    for column, name in zip(kernel.T, names):
        if not column.any():
            raise InputError(
                "the encoder knows nothing of a description; say it in other words. "
                f"Received: that of {name!r}"
            )
        other = found.setdefault(column.tobytes(), name)
        if other != name:
            raise InputError(
                "two classes have the same vector; describe them in other words. "
                f"Received: those of {other!r} and {name!r}"
            )
