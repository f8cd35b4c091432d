"""What is typed beside a text, understood: classes, and what else can be wished for."""

import dataclasses
import enum
from collections.abc import Sequence

from tfhub_transfer.errors import InputError, one_line
from tfhub_transfer.incoming import wording
from tfhub_transfer.recipes.active_learning.linear_heads import Label

# With more classes a number may have two digits, and ends with Enter.
MOST_KEYS = 9
_NONE = "-"


class Wish(enum.Enum):
    """What isn't a label."""

    UNDO = "u"
    SKIP = "s"
    QUIT = "q"
    HELP = "?"


@dataclasses.dataclass(frozen=True)
class Odd:
    """What can't be understood.

    Attributes:
        why: What to say of it.
    """

    why: str


_WISHES = {wish.value: wish for wish in Wish}


class Keys:
    """Which keys stand for which classes.

    Args:
        classes: The names of the classes, in the order in which they are shown.
        several: Whether a text may have any number of classes.
        closed: Whether there may be no others.

    Attributes:
        classes: All names so far.
    """

    def __init__(self, classes: Sequence[str], several: bool, closed: bool) -> None:
        self.classes, self._several, self._closed = list(classes), several, closed

    @property
    def single(self) -> bool:
        """Whether one key is enough, without Enter."""
        few = self._closed and not self._several and len(self.classes) <= MOST_KEYS
        return few and (not self._by_name or all(len(name) == 1 for name in self.classes))

    @property
    def _by_name(self) -> bool:
        """Whether numbers are names of classes, and none of places then."""
        return any(name.isdigit() for name in self.classes)

    def shown(self) -> list[str]:
        """Each class with its key."""
        if self._by_name:
            return list(self.classes)
        return [f"{number} {name}" for number, name in enumerate(self.classes, 1)]

    def help(self) -> list[str]:
        """What can be typed, in lines."""
        how = "one key" if self.single else "its number, or how its name begins, and Enter"
        lines = [f"Classes ({how}): " + ", ".join(map(one_line, self.shown()))]
        if self._several:
            lines.append(f"Several: with commas between. None of them: {_NONE}")
        if not self._closed:
            lines.append("A new class: + and its name")
        lines.append("u undo, s skip, q quit and go on later, ? this")
        return lines

    def understood(self, typed: str) -> Label | Wish | Odd:
        """A label, a wish, or why it is neither.

        Args:
            typed: A key, or a line.
        """
        word = typed.strip()
        if word in _WISHES and not (self._by_name and word in self.classes):
            return _WISHES[word]
        if not word:
            return Odd("type a class, or ? for what there is")
        if not self._several:
            return self._one(word)
        if word == _NONE:
            return ()
        found = [self._one(part.strip()) for part in word.split(",") if part.strip()]
        if not found:
            return Odd(f"type classes, or {_NONE} for none of them. Received: {one_line(word)}")
        odd = next((each for each in found if isinstance(each, Odd)), None)
        return odd or tuple(sorted({each for each in found if isinstance(each, str)}))

    def _one(self, word: str) -> str | Odd:
        if word.startswith("+"):
            return self._added(word[1:])
        if not self._by_name and word.isascii() and word.isdigit():
            place = int(word) - 1
            if 0 <= place < len(self.classes):
                return self.classes[place]
            return Odd(f"there are {len(self.classes)} classes. Received: {word}")
        if word in self.classes:
            return word
        near = [name for name in self.classes if name.casefold().startswith(word.casefold())]
        if len(near) == 1 and len(word) > 1:
            return near[0]
        if near:
            few = ", ".join(map(one_line, near[:5]))
            return Odd(f"type more of the name, or the number: {few}. Received: {one_line(word)}")
        more = "" if self._closed else f", or +{one_line(word)} for a new one"
        return Odd(f"no class begins so; ? lists them{more}. Received: {one_line(word)}")

    def _added(self, name: str) -> str | Odd:
        if self._closed:
            return Odd("the classes are those of `--labels`; add it there. Received: +" + name)
        try:
            name = wording.class_name(name)
        except InputError as error:
            return Odd(str(error))
        if not name:
            return Odd("a class needs a name. Received: +")
        if name not in self.classes:
            self.classes.append(name)
        return name
