"""The layer groups of an encoder: which can be thawed, which learn, and who is told of changes."""

import contextlib
from collections.abc import Iterator, Sequence

import keras

from tfhub_transfer.encoders.variable_groups import Groups
from tfhub_transfer.errors import InputError
from tfhub_transfer.incoming import ranges
from tfhub_transfer.optimization import trainers
from tfhub_transfer.private import keras_saving


class LayerGroups:
    """Groups of variables that freeze and thaw; models that train them follow at their next step.

    Args:
        groups: All of them.
        handle: The encoder's, for messages.

    Attributes:
        all: What was given.
        taken_out: Those that `leave_out` took out.
        trainers: The models in whose train steps the encoder was called.
    """

    def __init__(self, groups: Groups, handle: str) -> None:
        self.all, self._handle = groups, handle
        self.taken_out: tuple[str, ...] = ()
        self.trainers = trainers.Trainers()
        self._unread = _Unread()
        self._thawed_in_file: Sequence[str] | None = None

    @property
    def names(self) -> tuple[str, ...]:
        """The names of all groups."""
        return tuple(name for name, _ in self.all)

    @property
    def unread(self) -> tuple[str, ...]:
        """Those that the head of the model at work doesn't read."""
        return self._unread.names

    @property
    def left_out(self) -> tuple[str, ...]:
        """Those that can't be thawed: taken out or unread."""
        return (*self.taken_out, *(n for n in self.unread if n not in self.taken_out))

    @property
    def listed(self) -> Groups:
        """Those that can be thawed, in lists of the caller's own."""
        return [(n, list(v)) for n, v in self.all if n not in self.left_out]

    def leave_out(self, names: Sequence[str]) -> None:
        """Takes these out, in the place of those that were, and freezes them.

        Raises:
            InputError: If a name is no group's, lest it be left in silently.
        """
        for each in names:
            if each not in self.names:
                raise InputError(
                    "groups go by their names, one after the other: "
                    f"`encoder.leave_out({', '.join(map(repr, self.names[:2]))})`; there are "
                    f"{', '.join(self.names) or 'none'}. Received: {each!r:.80}"
                )
        with self._changing():
            self.taken_out = tuple(names)
            for name, variables in self.all:
                if name in names:
                    _set_flags(variables, False)

    def mark_unread(self, names: tuple[str, ...]) -> None:
        """Freezes what a head doesn't read; what it reads again is frozen or thawed as it was."""
        if names != self.unread:
            with self._changing():
                self._unread.change(names, self.all)

    def freeze_to(self, n: int) -> bool:
        """Freezes `listed[:n]` and thaws `listed[n:]`, `n` as in a Python slice.

        Returns:
            Whether any is thawed.

        Raises:
            InputError: If `n` is outside of `-len(listed)..len(listed)`, or there is none to thaw.
        """
        n = ranges.whole_number("n", n, -ranges.LAYERS[1], ranges.LAYERS[1])
        groups = self.listed
        if abs(n) > len(groups):
            raise InputError(
                f"the encoder has {len(groups)} layer groups ({', '.join(g for g, _ in groups)}); "
                f"give a number up to {len(groups)}. Received: {n}"
            )
        if n != len(groups):
            self._require_some()
        first = n if n >= 0 else len(groups) + n
        with self._changing():
            for index, (_, variables) in enumerate(groups):
                _set_flags(variables, index >= first)
        return first < len(groups)

    def set_all(self, thawed: bool) -> None:
        """Thaws or freezes all that can be thawed.

        Raises:
            InputError: If there is none to thaw.
        """
        if thawed:
            self._require_some()
        with self._changing():
            for _, variables in self.listed:
                _set_flags(variables, thawed)

    @contextlib.contextmanager
    def kept(self) -> Iterator[None]:
        """In the end all is frozen, thawed, left out and unread as it was before."""
        flags, unread, taken_out = self._flags(), self.unread, self.taken_out
        with self.trainers.kept():
            try:
                yield
            finally:
                self._unread.change(unread, self.all)
                self.taken_out = taken_out
                variables = (variable for _, group in self.all for variable in group)
                for variable, flag in zip(variables, flags):
                    variable.trainable = flag

    def record(self) -> dict[str, list[str]]:
        """What a file says of them, for `restore`."""
        return {
            "thawed": [name for name, vs in self.all if any(v.trainable for v in vs)],
            "left_out": list(self.taken_out),
            "known": [name for name, vs in self.all if self.trainers.know(vs)],
        }

    def restore(
        self, thawed: Sequence[str], left_out: Sequence[str], known: Sequence[str] = ()
    ) -> None:
        """Freezes and thaws as was recorded.

        Args:
            thawed: The groups that learn.
            left_out: Those that were taken out; files of earlier versions may name others too.
            known: Those that the optimizer knows.
        """
        self.leave_out([name for name in self.names if name in left_out])
        self._thaw_only(thawed)
        if known and keras_saving.is_loading():
            # Keras builds the optimizer on what trains now; what is thawed is said after that.
            self._thawed_in_file = thawed
            self._thaw_only([*thawed, *known])

    def settle(self) -> None:
        """Says what is thawed, once the weights are there and so the optimizer is built."""
        if self._thawed_in_file is not None:
            self._thaw_only(self._thawed_in_file)
            self._thawed_in_file = None

    def _thaw_only(self, names: Sequence[str]) -> None:
        for name, variables in self.listed:
            _set_flags(variables, name in names)

    @contextlib.contextmanager
    def _changing(self) -> Iterator[None]:
        """What freezes or thaws here takes effect in models that have trained."""
        before = self._flags()
        yield
        if before != self._flags():
            self.trainers.update()

    def _flags(self) -> list[bool]:
        return [variable.trainable for _, variables in self.all for variable in variables]

    def _require_some(self) -> None:
        if not self.listed:
            raise InputError(
                "this SavedModel has no trainable variables and can only be used frozen; give "
                f"`trainable=False`, or another encoder. Received: handle={self._handle!r}"
            )


class _Unread:
    """The groups that a head doesn't read, frozen; they thaw again when another head reads them."""

    def __init__(self) -> None:
        self.names: tuple[str, ...] = ()
        self._flags: dict[str, list[bool]] = {}

    def change(self, names: tuple[str, ...], groups: Groups) -> None:
        """Freezes these groups, and leaves those that were among them as they were before."""
        for name, variables in groups:
            if name in names and name not in self.names:
                self._flags[name] = [variable.trainable for variable in variables]
            flags = [False] * len(variables) if name in names else self._flags.pop(name, [])
            for variable, flag in zip(variables, flags):
                variable.trainable = flag
        self.names = names


def _set_flags(variables: Sequence[keras.Variable], thawed: bool) -> None:
    for variable in variables:
        variable.trainable = thawed
