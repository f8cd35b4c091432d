"""How far a text's vector lies from those that a model was trained on, as a share of others.

The distance is that to the nearest training vectors, all being of length 1 (Sun et al. 2022,
"Out-of-Distribution Detection with Deep Nearest Neighbors", https://arxiv.org/abs/2204.06507; they
take the k-th nearest, here it is the mean of the first few). Of many training vectors a sample is
kept. How far is far, texts say that the model wasn't trained on: the share of them that lie
farther away. `benchmarks/scope.py` has why it is no other distance.
"""

import dataclasses
import json
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import tensorflow as tf

from tfhub_transfer.errors import InputError

# What answers call it.
SCORE = "scope_score"
# How many of the nearest count: of 1 to 10, the best over many classes and few, many texts and few.
NEAREST = 3
# Vectors that are kept at most, and numbers of all of them: 16 MB.
MOST, _MOST_NUMBERS = 5000, 4_000_000
# Rows that are looked at once.
_ROWS = 2048
# Of distances so many are kept at most, evenly by rank.
_KNOTS = 1000
# Distances that differ by less, as a share of the middle one, or by rounding, are one: between two
# that hardly differ the share would fall so steeply that rounding makes another answer.
_ALIKE, _ROUNDING = 2e-4, 1e-6
_ARRAYS = ("vectors", "distances", "shares")
_FILE, _TOLD = "arrays", "told.json"


@dataclasses.dataclass(frozen=True, eq=False)
class Scope:
    """What tells how far vectors `[n, d]` lie from those of training texts.

    Attributes:
        vectors: Training vectors of length 1, float32 `[kept, d]`.
        distances: Distances that rise, float32 `[knots]`.
        shares: Of texts left out, which share lies farther than each, falling, float32 `[knots]`.
        rows: How many texts were left out.
        mark: Of the weights whose vectors these are; of others it says nothing.
    """

    vectors: np.ndarray
    distances: np.ndarray
    shares: np.ndarray
    rows: int
    mark: str = ""

    def distance(self, asked: tf.Tensor) -> tf.Tensor:
        """How far vectors are from training vectors, float32 `[n]`, as graph code.

        It is 1 less the mean cosine with the `NEAREST` nearest, so from 0 to 2; with all, where
        there are fewer.

        Args:
            asked: `[n, d]`.
        """
        cosines = tf.matmul(_unit(asked), tf.constant(self.vectors), transpose_b=True)
        nearest = tf.math.top_k(cosines, min(NEAREST, len(self.vectors))).values
        return tf.maximum(1.0 - tf.reduce_mean(nearest, axis=-1), 0.0)

    def score(self, asked: tf.Tensor) -> tf.Tensor:
        """The share of texts left out that lie farther away, float32 `[n]`, as graph code.

        Args:
            asked: Vectors `[n, d]`.
        """
        return self.share(self.distance(asked))

    def scores_of(self, asked: np.ndarray) -> np.ndarray:
        """The same of any number of vectors, float32 `[n]`: few are looked at at once.

        Args:
            asked: Vectors `[n, d]`, `n` at least 1.
        """
        return _in_parts(self.score, asked)

    def share(self, distances: tf.Tensor) -> tf.Tensor:
        """The share of texts left out that lie farther than these, as graph code.

        Straight between two that are known, and that of the nearest for what is nearer. Beyond the
        farthest it falls as the distance grows, so that what is farther still has less.

        Args:
            distances: Float32 `[n]`, 0 or more.
        """
        known, shares = tf.constant(self.distances), tf.constant(self.shares)
        last = len(self.distances) - 1
        below = tf.searchsorted(known, distances, side="right") - 1
        low, high = tf.clip_by_value(below, 0, last), tf.clip_by_value(below + 1, 0, last)
        start, end = tf.gather(known, low), tf.gather(known, high)
        part = tf.clip_by_value((distances - start) / tf.maximum(end - start, 1e-30), 0.0, 1.0)
        first = tf.gather(shares, low)
        between = first + part * (tf.gather(shares, high) - first)
        beyond = tf.maximum(known[-1], _ROUNDING) / tf.maximum(distances, _ROUNDING)
        return tf.where(distances > known[-1], shares[-1] * beyond, between)

    def save(self, folder: Path) -> None:
        """Writes it into a folder, over nothing.

        Raises:
            FileExistsError: If there is a file of such a name.
        """
        folder.mkdir(parents=True, exist_ok=True)
        arrays = [np.asarray(getattr(self, name), "<f4") for name in _ARRAYS]
        told = {"shapes": [list(each.shape) for each in arrays], "rows": self.rows}
        with (folder / _FILE).open("xb") as file:
            np.concatenate([each.ravel() for each in arrays]).tofile(file)
        with (folder / _TOLD).open("x", encoding="utf-8") as file:
            json.dump({**told, "mark": self.mark}, file)

    @classmethod
    def load(cls, folder: Path, width: int) -> "Scope | None":
        """Reads what `save` wrote; `None` where there is nothing.

        Args:
            folder: The folder.
            width: Of the vectors that it is to be asked about.

        Raises:
            InputError: If it is damaged, or of other vectors.
        """
        if not (folder / _TOLD).is_file():
            return None
        try:
            told = json.loads((folder / _TOLD).read_text("utf-8"))
            flat = np.frombuffer((folder / _FILE).read_bytes(), "<f4")
            arrays = dict(zip(_ARRAYS, _apart(flat, told["shapes"]), strict=True))
            found = cls(**arrays, rows=int(told["rows"]), mark=str(told["mark"]))
            found.check(width)
        except (KeyError, OSError, TypeError, ValueError) as error:
            raise InputError(
                "what tells how far texts lie from those of the training is damaged; take the file "
                f"from its source again. Received: {' '.join(str(error).split())[:200]}"
            ) from error
        return found

    def check(self, width: int) -> None:
        """Raises `ValueError` unless its arrays are those of vectors so wide.

        Args:
            width: Of the vectors.
        """
        shapes = tuple(getattr(self, name).shape for name in _ARRAYS)
        kept, knots = len(self.vectors), len(self.distances)
        if shapes != ((kept, width), (knots,), (knots,)) or not kept or not knots:
            raise ValueError(f"shapes {shapes} for vectors of {width} numbers")
        if not all(np.isfinite(getattr(self, name)).all() for name in _ARRAYS):
            raise ValueError("values that are no numbers")


def apart(scope: Scope | None, made: tf.Tensor) -> tuple[tf.Tensor, dict[str, tf.Tensor]]:
    """What `TransferModel.scoped_answer` gave as scores, and what stands beside them by its name.

    Args:
        scope: The model's, if it has one.
        made: `[n, ...]`.
    """
    if scope is None:
        return made, {}
    return made[:, :-1], {SCORE: tf.cast(made[:, -1], tf.float32)}


def sampled(rows: int, width: int, seed: int) -> np.ndarray:
    """Which training vectors are kept, in their order: all, unless there are too many.

    Args:
        rows: How many there are.
        width: How many numbers each has.
        seed: Of chance.
    """
    most = max(1, min(MOST, _MOST_NUMBERS // width))
    if rows <= most:
        return np.arange(rows)
    return np.sort(np.random.default_rng(seed).permutation(rows)[:most])


def learned(vectors: np.ndarray, left_out: np.ndarray) -> Scope:
    """What training vectors, and those of texts left out, say of others.

    Args:
        vectors: Of the training texts that are kept `[n, d]`, `n` at least 1.
        left_out: Vectors of texts that the model wasn't trained on `[m, d]`, `m` at least 1.
    """
    one = np.ones(1, "float32")
    plain = Scope(_unit(vectors).numpy(), one, one, rows=len(left_out))
    distances, shares = _knots(np.sort(_in_parts(plain.distance, left_out).astype("float64")))
    return dataclasses.replace(plain, distances=distances, shares=shares)


def _unit(vectors: tf.Tensor) -> tf.Tensor:
    """The same of length 1; of length 0 they stay."""
    wide = tf.cast(vectors, tf.float32)
    return wide / tf.maximum(tf.norm(wide, axis=-1, keepdims=True), 1e-30)


def _knots(ordered: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Distances, each farther than the one before, and the share of all that is farther."""
    count = len(ordered)
    # Of one that is there itself half counts as farther.
    shares = (count - np.arange(count) - 0.5) / count
    starts = _starts(ordered)
    sizes = np.diff([*starts, count])
    known, farther = (np.add.reduceat(each, starts) / sizes for each in (ordered, shares))
    picked = np.unique(np.linspace(0, len(known) - 1, min(len(known), _KNOTS)).round().astype(int))
    return known[picked].astype("float32"), farther[picked].astype("float32")


def _starts(ordered: np.ndarray) -> list[int]:
    """Where values begin that are more than rounding above those before."""
    starts, alike = [0], max(_ROUNDING, _ALIKE * float(np.median(ordered)))
    for place, value in enumerate(ordered):
        if value > ordered[starts[-1]] + alike:
            starts.append(place)
    return starts


def _in_parts(ask: Callable[[np.ndarray], tf.Tensor], vectors: np.ndarray) -> np.ndarray:
    """What is asked of vectors `[n, d]`, so few at once that their cosines find room, `[n]`."""
    starts = range(0, len(vectors), _ROWS)
    return np.concatenate([ask(vectors[at : at + _ROWS]).numpy() for at in starts])


def _apart(flat: np.ndarray, shapes: list[list[int]]) -> Iterator[np.ndarray]:
    """Arrays of these shapes that lie one behind the other."""
    ends = np.cumsum([int(np.prod(shape)) for shape in shapes])
    if any(size < 0 for shape in shapes for size in shape) or ends[-1] != len(flat):
        raise ValueError(f"{len(flat)} numbers for shapes {shapes}")
    return (part.reshape(shape) for part, shape in zip(np.split(flat, ends[:-1]), shapes))
