"""The labelled texts that are nearest to a text: evidence beside an answer."""

from collections.abc import Iterable
from typing import TypeAlias

import numpy as np

from tfhub_transfer.data import Examples, require_examples
from tfhub_transfer.data.usual_columns import LABEL, TEXT
from tfhub_transfer.errors import InputError
from tfhub_transfer.incoming import ranges, values, wording
from tfhub_transfer.models.transfer import TransferModel, require_model
from tfhub_transfer.tasks import nearness
from tfhub_transfer.texts import joining

# A labelled text with its label, by the names that the task has for them, and how near it is.
Neighbour: TypeAlias = dict[str, object]
COSINE = "cosine"
USUAL = 5


class Neighbours:
    """The labelled texts whose vectors are most like a text's, by cosine.

    What is held are their texts, labels and vectors, four bytes a number: 150 MB of a hundred
    thousand texts whose vectors have 384.

    Args:
        model: Whose encoder gives the vectors, as `encode_text` does.
        examples: The labelled texts, the training's usually.
        count: How many to give of each text; fewer if there aren't as many.

    Raises:
        InputError: If the model answers pairs, or several tasks at once; if there are no labelled
            texts, or `count` is out of range.

    Example:

    >>> near = Neighbours(model, train, count=1)
    >>> sorted(near.of(["a film that is a joy"])[0][0])
    ['cosine', 'label', 'text']
    """

    def __init__(self, model: TransferModel, examples: Examples, count: int = USUAL) -> None:
        self._count = ranges.whole_number("neighbours", count, *ranges.NEIGHBOURS)
        require_examples(examples)
        require_model(model)
        if model.task.several or model.task.pair:
            raise InputError(
                "the nearest labelled texts are those of single texts; ask a model of one task "
                "that reads one text (of several, name it with `--task`), or leave `--neighbours` "
                f"out. Received: the {model.task.name} task"
            )
        if examples.target is None or not len(examples) or examples.is_pair:
            raise InputError(
                "expected labelled single texts to look for the nearest among; give a file as for "
                f"training. Received: {len(examples):,} examples of {examples.source}"
            )
        self._model = model
        self._texts = list(map(joining.spaced, examples.texts[0]))
        self._labels = [values.plain(label) for label in examples.labels]
        self._vectors = nearness.unit(self._encoded(self._texts))
        usual = model.task.usual_columns
        self._names = usual.get("text", TEXT), usual.get("label", LABEL)

    def of(self, texts: Iterable[str]) -> list[list[Neighbour]]:
        """The nearest of each text, the nearest first; of equally near ones the first.

        Args:
            texts: Single texts.

        Returns:
            For each a list of dictionaries: the labelled text and its label, by the names that the
            task has for such columns, and `cosine`, that of both vectors. A text that is
            among the labelled ones is nearest to itself.

        Raises:
            InputError: If there are no texts, or something else than texts.
        """
        given = enumerate(wording.listed(texts), start=1)
        read = [wording.require_text(text, f"row {n} of the texts") for n, text in given]
        rows, near = nearness.nearest(
            self._vectors, self._encoded(list(map(joining.spaced, read))), self._count
        )
        return [list(map(self._one, *each)) for each in zip(rows.tolist(), near.tolist())]

    def _one(self, row: int, near: float) -> Neighbour:
        text, label = self._names
        return {text: self._texts[row], label: self._labels[row], COSINE: near}

    def _encoded(self, texts: list[str]) -> np.ndarray:
        model = self._model
        # What the model says of its last answers is of those.
        cut = model.truncation
        try:
            return np.asarray(model.encode_text(texts))
        finally:
            model.truncation = cut
