"""Texts one after the other, and what somebody says of each: labels, undone and skipped."""

import collections
import dataclasses
from collections.abc import Callable, Iterable

from tfhub_transfer.errors import visible
from tfhub_transfer.jobs.labelling.exchange import Asked
from tfhub_transfer.jobs.labelling.keys import Keys, Odd, Wish
from tfhub_transfer.jobs.labelling.label_files import Kept, Labelled, Skipped, cells_of
from tfhub_transfer.recipes.active_learning.linear_heads import Label
from tfhub_transfer.recipes.active_learning.pools import Text


@dataclasses.dataclass
class Session:
    """One sitting.

    Attributes:
        kept: Where labels go.
        keys: What can be typed.
        read: Waits for a key or a line; gives `None` where no more will come.
        say: Prints a text.
        target: How many labels there shall be in all.
        skipped: Where texts go that are skipped.
    """

    kept: Kept
    keys: Keys
    read: Callable[[], str | None]
    say: Callable[[str], None]
    target: int
    skipped: Skipped
    _done: list[tuple[Asked, bool]] = dataclasses.field(default_factory=list)

    def ask(self, batch: Iterable[Asked]) -> bool:
        """Asks for the labels of texts, each of which is kept at once.

        Args:
            batch: The texts.

        Returns:
            Whether to go on: nobody quit.
        """
        waiting = collections.deque(batch)
        while waiting:
            each = waiting.popleft()
            self._show(each, len(waiting))
            found = self._answer()
            if found is Wish.QUIT:
                return False
            if found is Wish.UNDO:
                waiting.appendleft(each)
                self._undo(waiting)
            elif found is Wish.SKIP:
                self.skipped.add(each.text)
                self._done.append((each, False))
            elif not isinstance(found, Wish):
                self.kept.add([Labelled(each.text, found, each.reason)])
                self._done.append((each, True))
        return True

    def _show(self, each: Asked, left: int) -> None:
        number = len(self.kept.rows) + 1
        more = f", {left} more before the next are chosen" if left else ""
        self.say(f"\n[{number:,} of {self.target:,}{more}]\n{_shown(each.text)}")

    def _answer(self) -> Label | Wish:
        """What is wanted of the text that is shown; help and what is odd are answered."""
        while True:
            typed = self.read()
            if typed is None:
                return Wish.QUIT
            found = self.keys.understood(typed)
            if found is Wish.HELP:
                self.say("\n".join(self.keys.help()))
            elif isinstance(found, Odd):
                self.say(found.why)
            else:
                self.say(f"  = {_told(found)}")
                return found

    def _undo(self, waiting: collections.deque[Asked]) -> None:
        """The text before comes again, without what was said of it."""
        if not self._done:
            self.say("nothing to undo since this sitting began")
            return
        before, labelled = self._done.pop()
        if labelled:
            self.kept.take_back()
        else:
            self.skipped.take_back()
        waiting.appendleft(before)


def _shown(text: Text) -> str:
    """A text as it is; of a pair each by the name of its column."""
    if isinstance(text, str):
        return visible(text)
    return "\n".join(f"{name}: {visible(str(part))}" for name, part in cells_of(text).items())


def _told(found: Label | Wish) -> str:
    if isinstance(found, Wish):
        return {Wish.UNDO: "undo", Wish.SKIP: "skipped", Wish.QUIT: "quit"}.get(found, "")
    return visible(found if isinstance(found, str) else ", ".join(found) or "none of them")
