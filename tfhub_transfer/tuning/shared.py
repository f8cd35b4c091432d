"""What trials share: an encoder, as it was at first when each begins; texts as ids, made once."""

import contextlib
import functools
import gc
import hashlib
import weakref
from collections.abc import Callable, Hashable, Iterator, Sequence
from typing import Any, TypeAlias

import keras
import numpy as np
import tensorflow as tf

from tfhub_transfer.encoders import registry
from tfhub_transfer.encoders.encoder import Encoder
from tfhub_transfer.errors import InputError
from tfhub_transfer.models.boundary import (
    Boundary,
    Columns,
    JoinedTokens,
    StoredTokens,
    singles,
)
from tfhub_transfer.models.transfer import TransferModel
from tfhub_transfer.private import tensorflow_buffers
from tfhub_transfer.storage import names
from tfhub_transfer.tasks.layouts import Ids as RowIds

# Rows whose ids are kept; a stream may have any number of them.
_MOST_ROWS = 2_000_000
# The ids of rows by name, and how many tokens each lost.
Ids: TypeAlias = "tuple[dict[str, tf.RaggedTensor], np.ndarray]"
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
        start: dict[str, Any] = {}
        self._held: weakref.ref[keras.Model] | None = None
        self._fingerprint = ""
        self.encoder = self._load()
        (given or self.encoder).save_own_variables(start)
        self._first_random = start.pop(_RANDOM)
        # As tensors, whose memory the encoder has as long as it isn't trained.
        self._start = {name: tf.constant(value) for name, value in start.items()}

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
        state = np.array([seed, 0], self._first_random.dtype)
        encoder.load_own_variables({**self._start, _RANDOM: state})
        return encoder

    @contextlib.contextmanager
    def known_again(self, encoder: Encoder) -> Iterator[None]:
        """While the body runs, an encoder isn't read through for each fingerprint.

        Args:
            encoder: What was lent. Once it has learned, its fingerprint is computed as ever.
        """
        usual = functools.partial(type(encoder).fingerprint, encoder)

        def fingerprint() -> str:
            if not self._is_as_at_first(encoder):
                return usual()
            self._fingerprint = self._fingerprint or usual()
            return self._fingerprint

        with _in_place(encoder, "fingerprint", fingerprint):
            yield

    def _is_as_at_first(self, encoder: Encoder) -> bool:
        weights = [*encoder.named_weights().values()]  # without those that share a name
        if len(weights) != len(self._start):
            return False
        return all(
            # A table of embeddings is another place in memory each time that it is read.
            tensorflow_buffers.is_shared(value, now := weight.value.value())
            or bool(tf.reduce_all(tf.equal(value, now)))
            for weight, value in zip(weights, self._start.values(), strict=True)
        )

    def lent(self, model: keras.Model) -> None:
        """Notes whose it is now.

        Args:
            model: The model.
        """
        self._held = weakref.ref(model)

    def take_back(self) -> None:
        """Lends the encoder on though a model has it, which nobody will ask any more."""
        self._held = None

    @contextlib.contextmanager
    def lent_on(self, model: keras.Model) -> Iterator[None]:
        """Lends a model's encoder on while the body runs; it comes back as the model left it.

        Args:
            model: The model that has it.
        """
        if model.encoder is not self.encoder:
            # It is the model's alone; what is lent on is another one, whose model may be waiting.
            yield
            return
        encoder, left = model.encoder, dict[str, Any]()
        thawed = sum(any(v.trainable for v in group) for _, group in encoder.layer_groups)
        encoder.save_own_variables(left)
        # What it learned, and no more: an encoder is large.
        learned = {_RANDOM: left.pop(_RANDOM)}
        learned |= {n: v for n, v in left.items() if not np.array_equal(v, self._start[n])}
        del left
        self.take_back()
        try:
            yield
        finally:
            encoder.load_own_variables({**self._start, **learned})
            encoder.mark_unread(*model.unread_groups)
            encoder.freeze_to(-thawed or len(encoder.layer_groups))
            self.lent(model)

    def _load(self) -> Encoder:
        made = Encoder(self._source, trust_code=self._trust_code)
        made.leave_out(*self._left_out)
        return made


class SharedIds:
    """Texts as ids, row by row, kept from one model to the next."""

    def __init__(self) -> None:
        self._known: dict[Hashable, _Known] = {}

    @contextlib.contextmanager
    def used_by(self, model: TransferModel) -> Iterator[None]:
        """While the body runs, the model's texts become ids once for all models that come here.

        Args:
            model: The model; all have the same preprocessor.
        """
        layouts = [each.layout for each in model.parts.values()]
        for layout in layouts:
            make = functools.partial(self._ids, layout.ids_depend_on, layout.encode_and_count)
            vars(layout)["encode_and_count"] = make
        try:
            yield
        finally:
            for layout in layouts:
                del vars(layout)["encode_and_count"]

    def _ids(
        self, layout: Hashable, make: Callable[..., Ids], texts: Sequence[Sequence[str]]
    ) -> Ids:
        # Texts of one column may be other ids than the same ones of two.
        known = self._known.setdefault((layout, len(texts)), _Known())
        return known.ids(make, texts)


class _Known:
    """The ids of rows that there were, which folds ask for in other orders."""

    def __init__(self) -> None:
        self._places: dict[bytes, int] = {}
        self._columns: dict[str, tf.RaggedTensor] = {}
        self._lost = np.empty(0, "int32")

    def ids(self, make: Callable[..., Ids], texts: Sequence[Sequence[str]]) -> Ids:
        """The ids of rows, and what each lost.

        Args:
            make: Makes those of rows that there weren't.
            texts: The columns.
        """
        digests = names.digests(texts)
        new = [at for at, name in enumerate(digests) if name not in self._places]
        if len(new) + len(self._places) > _MOST_ROWS:
            return make(texts)
        if new:
            self._add(digests[new], *make([[column[at] for at in new] for column in texts]))
        rows = np.array([self._places[name] for name in digests])
        columns = {name: tf.gather(each, rows) for name, each in self._columns.items()}
        return columns, self._lost[rows]

    def _add(self, digests: np.ndarray, columns: dict[str, Any], lost: np.ndarray) -> None:
        # The same row twice has two places, of which either will do.
        for at, name in enumerate(digests, len(self._lost)):
            self._places[name] = at
        self._lost = np.concatenate([self._lost, lost])
        old = self._columns or {name: each[:0] for name, each in columns.items()}
        self._columns = {
            name: tf.concat([old[name], each], axis=0) for name, each in columns.items()
        }


class SharedTokens:
    """What frozen layers gave, text by text, in whatever folds the texts come.

    Texts that no fold had before go into a store of their own, which later folds, and later trials
    of the same depth, open again.
    """

    def __init__(self) -> None:
        self._known: dict[str, _Texts] = {}

    @contextlib.contextmanager
    def used_by(self, model: TransferModel) -> Iterator[None]:
        """While the body runs, the model's frozen layers run once for each text of all folds.

        Args:
            model: The model; all have the same preprocessor.
        """
        models = [model, *(each for each in model.parts.values() if each is not model)]
        with contextlib.ExitStack() as open_till_then:
            for each in models:
                own = functools.partial(self._boundary, each.boundary)
                open_till_then.enter_context(_in_place(each, "boundary", own))
            yield

    def _boundary(self, usual: Callable[[], Boundary | None]) -> Boundary | None:
        found = usual()
        if found is not None:
            vars(found)["store"] = functools.partial(self._store, found)
        return found

    def _store(self, boundary: Boundary, ids: RowIds) -> StoredTokens | None:
        known = self._known.setdefault(f"{boundary.key} {boundary.layer}", _Texts())
        tokens = known.tokens(boundary, singles(ids))
        return None if tokens is None else StoredTokens(boundary, ids, tokens)


@contextlib.contextmanager
def _in_place(owner: object, name: str, own: Callable[..., object]) -> Iterator[None]:
    """While the body runs, one object has a method of its own."""
    # Past Keras, which would look for what to save in it.
    object.__setattr__(owner, name, own)
    try:
        yield
    finally:
        object.__delattr__(owner, name)


class _Texts:
    """Which texts lie in which stores of one depth."""

    def __init__(self) -> None:
        self._parts: list[tuple[Columns, bytes]] = []
        self._places: dict[bytes, tuple[int, int]] = {}

    def tokens(self, boundary: Boundary, single: Columns) -> JoinedTokens | None:
        """The token vectors of texts.

        Args:
            boundary: What makes those that there aren't.
            single: Their ids.
        """
        digests = _digests(single)
        new = {name: at for at, name in enumerate(digests) if name not in self._places}
        if new:
            part = {name: tf.gather(each, [*new.values()]) for name, each in single.items()}
            self._places |= {name: (len(self._parts), at) for at, name in enumerate(new)}
            self._parts.append((part, b"".join(new)))
        where = np.array([self._places[name] for name in digests])
        # Others may have made room meanwhile: each is opened, or made, as at first.
        numbers, files = np.unique(where[:, 0], return_inverse=True)
        stores = [boundary.tokens(*self._parts[number]) for number in numbers]
        there = [each for each in stores if each is not None]
        return JoinedTokens(there, files, where[:, 1]) if len(there) == len(stores) else None


def _digests(single: Columns) -> list[bytes]:
    """What tells texts from one another: all of their ids."""
    found = [hashlib.blake2b(digest_size=16) for _ in range(int(single["input_word_ids"].nrows()))]
    for name in sorted(single):
        values, splits = single[name].values.numpy(), single[name].row_splits.numpy()
        for digest, first, last in zip(found, splits, splits[1:]):
            digest.update(int(last - first).to_bytes(8, "little") + values[first:last].tobytes())
    return [digest.digest() for digest in found]


class Ground:
    """What trials on one encoder share.

    Args:
        encoder: As for `SharedEncoder`.

    Attributes:
        encoder: What lends it.
        ids: Texts as ids, by its preprocessor.
        tokens: What its frozen layers gave.
    """

    def __init__(self, encoder: registry.Named | Encoder) -> None:
        self.encoder, self.ids, self.tokens = SharedEncoder(encoder), SharedIds(), SharedTokens()

    @contextlib.contextmanager
    def used_by(self, model: TransferModel, folds: int) -> Iterator[None]:
        """While the body runs, a model shares all that it can with others.

        Args:
            model: The model.
            folds: In how many the rows come. Those of one are stored as `fine_tune` stores them.
        """
        with contextlib.ExitStack() as open_till_then:
            open_till_then.enter_context(self.ids.used_by(model))
            open_till_then.enter_context(self.encoder.known_again(model.encoder))
            if folds > 1:
                open_till_then.enter_context(self.tokens.used_by(model))
            yield


def grounds(
    encoder: registry.Named | Encoder, names: object, preprocessor: object
) -> dict[str, Ground]:
    """What trials on each of several encoders share, by the names that a user has for them.

    Args:
        encoder: That of the library's own values.
        names: Names of several, that one among them; `None` if there are no others.
        preprocessor: What a user gives as such, if anything.

    Raises:
        InputError: If there are no such names.
    """
    if names is None:
        return {"": Ground(encoder)}
    listed = list(names) if isinstance(names, Sequence) and not isinstance(names, str) else []
    handle = encoder.handle if isinstance(encoder, Encoder) else registry.source_of(encoder).handle
    of = {str(name): registry.source_of(str(name)).handle for name in listed}
    if handle not in of.values() or len({*of.values()}) < max(2, len(listed)):
        raise InputError(
            "`encoder` is searched among at least two names or folders, that of the encoder that "
            f"is given among them, as defaults come first: {handle}. Received: {names!r:.80}"
        )
    if preprocessor is not None:
        raise InputError(
            "of several encoders each has a preprocessor of its own; leave `preprocessor` out, or "
            f"search on one. Received: {preprocessor!r:.80}"
        )
    trusted = isinstance(encoder, Encoder) and encoder.trust_code
    found = {}
    for name in sorted(of, key=lambda each: of[each] != handle):  # its own comes first
        other = Encoder(name, trust_code=True) if trusted else name
        found[name] = Ground(encoder if of[name] == handle else other)
    return found


def _taken_out(encoder: Encoder) -> list[str]:
    """The groups that `leave_out` took out, rather than a head that doesn't read them."""
    return [name for name in encoder.left_out if name not in encoder.unread]
