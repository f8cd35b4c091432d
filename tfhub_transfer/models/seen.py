"""Which texts a model has learned from: 64-bit digests, kept with it, to find them in a test."""

import dataclasses
import hashlib
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

SPLITS = ("train", "validation")
# Digests that are kept of a split, 16 MB: of more, the least ones, which are a fair sample.
MOST = 2_000_000
# So many rows wait at least to be sorted among those that are known, or a quarter of these: sorted
# chunk by chunk, rows would take time by their square.
_WAITING = 50_000
_NOTHING = np.zeros(0, np.uint64)


@dataclasses.dataclass(frozen=True, eq=False)
class Seen:
    """Digests of the texts that a model was trained on and judged by, each sorted.

    Two texts of one digest are taken for one: of a million texts it happens by chance to one in
    ten million million. Spaces and line ends don't count.

    Attributes:
        train: Those that it learned from, uint64 `[n]`.
        validation: Those that its best weights were chosen by.
    """

    train: np.ndarray = dataclasses.field(default_factory=lambda: _NOTHING)
    validation: np.ndarray = dataclasses.field(default_factory=lambda: _NOTHING)

    def __bool__(self) -> bool:
        return bool(len(self.train) or len(self.validation))

    def with_texts(self, split: str, columns: Iterable[Sequence[Sequence[str]]]) -> "Seen":
        """This and further texts.

        Args:
            split: `"train"` or `"validation"`.
            columns: Columns of texts, chunk by chunk.
        """
        known: np.ndarray = getattr(self, split)
        waiting: list[np.ndarray] = []
        count = 0
        for chunk in columns:
            waiting.append(digests(chunk))
            count += len(waiting[-1])
            if count >= max(_WAITING, len(known) // 4):
                known, waiting, count = _least(known, *waiting), [], 0
        return dataclasses.replace(self, **{split: _least(known, *waiting)})

    def count(self, columns: Sequence[Sequence[str]]) -> dict[str, int]:
        """How many rows of texts each split held; estimated where only a sample is known.

        Example:

        >>> seen = Seen().with_texts("train", [[["one", "two"]]])
        >>> seen.count([["two", "three"]])
        {'train': 1, 'validation': 0}
        """
        asked = digests(columns)
        found = {}
        for split in SPLITS:
            known = getattr(self, split)
            # A sample holds the least digests, so only what is as low can be found in it.
            among = asked[asked <= known[-1]] if len(known) == MOST else asked
            hits = int(np.isin(among, known).sum())
            found[split] = round(hits * len(asked) / len(among)) if len(among) else 0
        return found

    def save(self, folder: Path) -> None:
        """Writes the digests, a file for each split, over nothing.

        Raises:
            FileExistsError: If there is a file of such a name.
        """
        folder.mkdir(parents=True, exist_ok=True)
        for split in SPLITS:
            with (folder / split).open("xb") as file:
                getattr(self, split).astype("<u8").tofile(file)

    @classmethod
    def load(cls, folder: Path) -> "Seen":
        """Reads what `save` wrote; nothing is known where there is nothing."""
        read = {}
        for split in SPLITS:
            content = (folder / split).read_bytes() if (folder / split).is_file() else b""
            whole = np.frombuffer(content[: len(content) // 8 * 8], "<u8")
            # Anew, as a file may come from elsewhere and `count` relies on order and number.
            read[split] = np.unique(whole.astype(np.uint64))[:MOST]
        return cls(**read)


def _least(*parts: np.ndarray) -> np.ndarray:
    """The least digests of several arrays, sorted, each once; all, if they aren't too many."""
    return np.unique(np.concatenate(parts))[:MOST]


def digests(columns: Sequence[Sequence[str]]) -> np.ndarray:
    """A digest of each row of texts, uint64 `[n]`.

    Args:
        columns: One column of texts, or several.
    """
    made = np.empty(len(columns[0]), np.uint64)
    for row, texts in enumerate(zip(*columns)):
        digest = hashlib.blake2b(digest_size=8)
        for text in texts:
            data = " ".join(text.split()).encode("utf-8", "surrogatepass")
            # With lengths, or "ab", "c" and "a", "bc" would be one.
            digest.update(len(data).to_bytes(8, "little") + data)
        made[row] = int.from_bytes(digest.digest(), "little")
    return made
