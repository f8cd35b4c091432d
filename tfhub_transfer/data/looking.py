"""What an encoder is given of examples, to be looked at before anything trains."""

from collections.abc import Mapping
from typing import Protocol

from tfhub_transfer.data.examples import Examples, Stream
from tfhub_transfer.errors import InputError
from tfhub_transfer.incoming import usual


class Shown(Protocol):
    """A batch that prints as text, and that notebooks show."""

    def _repr_html_(self) -> str: ...


class _Model(Protocol):
    """What is asked of a model, as `TransferModel` has it."""

    def show_batch(
        self,
        examples: Examples | Stream | Mapping[str, Examples],
        rows: int = ...,
        batch_size: int = ...,
        shuffle: bool = ...,
        seed: int = ...,
    ) -> Shown: ...


def show_batch(
    model: _Model,
    examples: Examples | Stream | Mapping[str, Examples],
    rows: int = usual.SHOWN_ROWS,
    batch_size: int = usual.BATCH_SIZE,
    shuffle: bool = True,
    seed: int = 0,
) -> Shown:
    """The first batch that a model would train on, as its encoder gets it.

    Word pieces with special tokens, segments and padding; what was cut off; windows of long texts,
    and words with their pieces and labels; labels as they are given and as the loss wants them.

    Args:
        model: From `build_model`.
        examples: What it is to be trained on, or asked; of several tasks by name.
        rows: How many rows of the batch are shown.
        batch_size: Rows in a batch of average length, as for `preprocess`.
        shuffle: Whether to shuffle, as training does; if not, the first rows come first. Those of
            a `Stream` do anyway.
        seed: Seed of the shuffling.

    Returns:
        A batch that prints as text and shows as a table in notebooks; its `rows` hold what is
        shown.

    Raises:
        InputError: If the model is another kind of model, the examples don't suit it, or a number
            is out of range.

    Example:

    >>> batch = show_batch(model, train, rows=2)
    >>> batch.rows[0].read[0].pieces[0]
    '[CLS]'
    """
    show = getattr(model, "show_batch", None)
    if show is None:
        raise InputError(
            "a batch is shown of a model that `tt.build_model` made, which knows how texts become "
            f"ids; for others call `tt.Preprocessor` itself. Received: {type(model).__name__}"
        )
    found: Shown = show(examples, rows, batch_size, shuffle, seed)
    return found
