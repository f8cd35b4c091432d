"""What a model is asked and answers, in as many runs as its task needs."""

from collections.abc import Mapping, Sequence
from typing import Protocol

import numpy as np
import tensorflow as tf

from tfhub_transfer.data import Examples
from tfhub_transfer.encoders.preprocessing import Truncation
from tfhub_transfer.runtime import probes
from tfhub_transfer.tasks import layouts
from tfhub_transfer.tasks.layouts import Layout


class Asked(Protocol):
    """A `TransferModel`, as far as it is asked here."""

    truncation: Truncation | None

    @property
    def layout(self) -> Layout:
        """How texts become rows, and scores answers."""

    @property
    def output_shape(self) -> tuple[int | None, ...]:
        """Of its scores."""

    def _run(self, name: str, examples: Examples, batch_size: int) -> tf.Tensor: ...


def found(
    model: Asked, texts: Sequence[Sequence[str]], batch_size: int, allow_nan: bool = False
) -> Mapping[str, tf.Tensor]:
    """Texts to answers by name, as the model's layout has them.

    Afterwards the model's `truncation` is that of the texts themselves, whatever else was asked.

    Args:
        model: What answers.
        texts: Columns of texts `[n]`, at least one row.
        batch_size: Rows in a batch.
        allow_nan: Whether scores may be no numbers.

    Raises:
        InputError: If they are, and may not.
    """
    layout = model.layout
    cuts = []

    def run(*columns: Sequence[str] | tf.Tensor) -> tf.Tensor:
        given = [tf.convert_to_tensor(column, tf.string).numpy() for column in columns]
        if not len(given[0]):
            return np.zeros((0, *model.output_shape[1:]), np.float32)
        plain = [[text.decode("utf-8") for text in column] for column in given]
        scores = model._run("answer", layouts.of_rows(plain), batch_size)
        cuts.append(model.truncation)
        if not allow_nan:
            whole = len(plain[0]) == len(texts[0])
            owners = np.arange(len(scores)) if whole else None
            probes.require_numbers(scores, plain[-1], owners)
        if not layout.by_unit:
            return scores
        return tf.RaggedTensor.from_row_lengths(np.concatenate(scores), list(map(len, scores)))

    asked = [tf.constant(column, tf.string) for column in texts]
    rows, state = layout.prepare_again(*asked) if layout.by_unit else layout.prepare(*asked)
    answers = layout.answers(run, rows, state)
    model.truncation = cuts[0] if cuts else None
    return answers
