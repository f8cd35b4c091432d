"""What trials share: an encoder, as it was at first when each begins; texts as ids, made once."""

import contextlib
import functools
import gc
import weakref
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import keras
import numpy as np

from tfhub_transfer.encoders import registry
from tfhub_transfer.encoders.encoder import Encoder
from tfhub_transfer.models.transfer import TransferModel
from tfhub_transfer.storage import names

# Columns of texts whose ids are kept: those to learn from and to judge by, of some tasks.
_MOST_COLUMNS = 16
# Where a layer's file has the seed and step of its dropout.
_RANDOM = "random_state"


class SharedEncoder:
    """Lends an encoder, as it was at first, to one model after the other.

    A model that somebody still holds when the next one asks keeps its encoder, whose weights are
    that model's; the next one gets another, loaded anew.

    Args:
        encoder: A handle, or an `Encoder`, which stays as it is: a copy of it is lent.
    """

    def __init__(self, encoder: registry.Named | Encoder) -> None:
        given = encoder if isinstance(encoder, Encoder) else None
        self._source = registry.source_of(encoder) if given is None else given.source
        self._trust_code = given is not None and given.trust_code
        self._left_out = [] if given is None else _taken_out(given)
        self._start: dict[str, Any] = {}
        self._held: weakref.ref[keras.Model] | None = None
        self.encoder = self._load()
        (given or self.encoder).save_own_variables(self._start)

    def lend(self, seed: int) -> Encoder:
        """The encoder as it was at first, frozen; its dropout as if it were loaded anew.

        Args:
            seed: Of its dropout.
        """
        if self._held is not None and self._held() is not None:
            gc.collect()  # a model goes in circles
        if self._held is not None and self._held() is not None:
            self.encoder, self._held = self._load(), None
        encoder = self.encoder
        encoder.trainable = False
        state = np.array([seed, 0], self._start[_RANDOM].dtype)
        encoder.load_own_variables({**self._start, _RANDOM: state})
        return encoder

    def lent(self, model: keras.Model) -> None:
        """Notes whose it is now.

        Args:
            model: The model.
        """
        self._held = weakref.ref(model)

    def take_back(self) -> None:
        """Lends the encoder on though a model has it, which nobody will ask any more."""
        self._held = None

    def _load(self) -> Encoder:
        made = Encoder(self._source, trust_code=self._trust_code)
        made.leave_out(*self._left_out)
        return made


class SharedIds:
    """Texts as ids, kept from one model to the next."""

    def __init__(self) -> None:
        self._known: dict[str, Any] = {}

    @contextlib.contextmanager
    def used_by(self, model: TransferModel) -> Iterator[None]:
        """While the body runs, the model's texts become ids once for all models that come here.

        Args:
            model: The model; all have the same preprocessor.
        """
        layouts = [each.layout for each in model.parts.values()]
        for layout in layouts:
            make = functools.partial(self._ids, type(layout).__name__, layout.encode_and_count)
            vars(layout)["encode_and_count"] = make
        try:
            yield
        finally:
            for layout in layouts:
                del vars(layout)["encode_and_count"]

    def _ids(
        self, layout: str, make: Callable[..., Any], texts: Sequence[Sequence[str]]
    ) -> tuple[dict[str, Any], np.ndarray]:
        key = names.key(layout, names.digests(texts).tobytes())
        found = self._known.get(key) or make(texts)
        if len(self._known) < _MOST_COLUMNS:
            self._known[key] = found
        columns, lost = found
        return dict(columns), lost  # a layout may add some of its own


def _taken_out(encoder: Encoder) -> list[str]:
    """The groups that `leave_out` took out, rather than a head that doesn't read them."""
    return [name for name in encoder.left_out if name not in encoder.unread]
