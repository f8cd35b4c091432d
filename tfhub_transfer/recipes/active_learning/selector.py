"""Which texts to label next, and what the labels so far are worth."""

import dataclasses
import hashlib
import math
from collections.abc import Sequence

import numpy as np

from tfhub_transfer import progress
from tfhub_transfer.data import Examples
from tfhub_transfer.errors import InputError
from tfhub_transfer.incoming import ranges
from tfhub_transfer.models import encoding
from tfhub_transfer.models.transfer import TransferModel
from tfhub_transfer.recipes.active_learning import learning_curves, strategies
from tfhub_transfer.recipes.active_learning.learning_curves import Gain
from tfhub_transfer.recipes.active_learning.linear_heads import Label, LinearHead, learns
from tfhub_transfer.recipes.active_learning.pools import (
    Pool,
    Text,
    checked,
    names_of,
    parts,
    same,
)
from tfhub_transfer.recipes.active_learning.strategies import Candidates, Strategy
from tfhub_transfer.reporting import metrics
from tfhub_transfer.tasks import nearness

AUTO, TYPICAL, MARGIN, RANDOM = "auto", "typical", "margin", "random"
CLUSTERED = "clustered-margin"
# Why a text was chosen by `random`, where `random` says that it measures.
DRAWN = "drawn"
# Each by the name that it is asked by: its function, and the reason that it gives.
STRATEGIES: dict[str, tuple[Strategy, str]] = {
    TYPICAL: (strategies.typical, TYPICAL),
    MARGIN: (strategies.margin, MARGIN),
    CLUSTERED: (strategies.clustered_margin, MARGIN),
    RANDOM: (strategies.drawn, DRAWN),
}
# Labels for each class until which typical texts are worth more than close calls; see
# `benchmarks/README.md`, "Which texts to label".
TYPICAL_UNTIL = 4
RANDOM_SHARE = 0.1
USUAL_COUNT = 20


@dataclasses.dataclass(frozen=True)
class Selection:
    """Texts to label next.

    Attributes:
        rows: Their rows among the texts that were given, in no order that says anything.
        reasons: Why each was chosen: `typical`, `margin`, `drawn`, the name of a function of
            yours; or `random`, of those that measure and are not to be trained on till then.
        predicted: What a linear head says of each, which learned from the labels; `None` where
            none could learn, and of those that measure.
        scores: How sure it is, from 0 to 1; `None` likewise.
    """

    rows: list[int]
    reasons: list[str]
    predicted: list[Label | None]
    scores: list[float | None]

    def __len__(self) -> int:
        return len(self.rows)


@dataclasses.dataclass(frozen=True)
class Judged:
    """What labels are worth so far.

    Attributes:
        tests: How many texts measured.
        accuracy: The share of these of which a linear head says the label, which learned from the
            others alone; `None` where there is nothing to learn or to measure.
        interval: The 95 % interval of that (Wilson).
        gain: What more labels are expected to bring; `None` where there are too few to tell.
    """

    tests: int
    accuracy: float | None = None
    interval: tuple[float, float] | None = None
    gain: Gain | None = None


class Selector:
    """Chooses which of many texts to label next.

    A tenth of the texts is set aside by their own words, whatever else is in the pool: from these
    come the random ones that measure, and no strategy chooses any of them while there are others.

    Args:
        encoder: What gives texts their vectors, as for `encode_text`; pairs have those that a
            head on pairs starts from. What was encoded once is kept on disk.
        strategy: `auto`, which is `typical` until there are a few labels for each class and then
            `clustered-margin`; `typical`, `margin`, `clustered-margin`, `random`; or a function of
            `Candidates` that gives their rows.
        seed: Of all that is drawn.
        random_share: Which share of all that is asked is drawn at random, to measure.
        trust_code: As for `encode_text`.

    Raises:
        InputError: If there is no such strategy, or a number is out of range.

    Example:

    >>> selector = Selector("auto", random_share=0)
    >>> chosen = selector.select(["a film", "a movie", "the weather", "rain"], count=2)
    >>> len(chosen), chosen.reasons
    (2, ['typical', 'typical'])
    """

    def __init__(
        self,
        encoder: encoding.Encodes = "auto",
        strategy: str | Strategy = AUTO,
        seed: int = 0,
        random_share: float = RANDOM_SHARE,
        trust_code: bool = False,
    ) -> None:
        if not callable(strategy) and strategy not in (AUTO, *STRATEGIES):
            raise InputError(
                f"`strategy` must be one of {', '.join((AUTO, *STRATEGIES))}, or a function. "
                f"Received: {strategy!r}"
            )
        self._encoder, self._strategy, self._trust = encoder, strategy, trust_code
        self._seed = ranges.whole_number("seed", seed, *ranges.SEED)
        self._share = ranges.real_number(
            "random_share", random_share, 0.0, ranges.BELOW_ONE, closed=True
        )
        self._kept: tuple[list[Text], np.ndarray] | None = None
        self._models: dict[bool, TransferModel] = {}

    def select(
        self,
        texts: Sequence[Text],
        labels: Sequence[object] | None = None,
        count: int = USUAL_COUNT,
    ) -> Selection:
        """The texts to label next; fewer if there aren't as many.

        Blank texts are never chosen, nor pairs with a blank one, nor what is labelled already, in
        other rows too, and of texts that are equal but for case and blanks one.

        Args:
            texts: All that there are: single ones, or pairs `(a, b)`.
            labels: What is known: for each text its class, or a list of its classes, or `None`.
            count: How many to choose.

        Raises:
            InputError: If texts and labels don't go together, or no text is left to ask for.
        """
        count = ranges.whole_number("count", count, *ranges.SIZE)
        pool = Pool.of(texts, labels)
        free = pool.free()
        if not len(free):
            raise InputError(
                "expected texts without a label; give more, or stop here. Received: "
                f"{len(pool.texts):,} texts, none of which is left to ask for"
            )
        aside = self.measures(pool.texts)
        tests, rest = free[aside[free]], free[~aside[free]]
        asked = int(aside[list(pool.labels)].sum()) if pool.labels else 0
        due = math.ceil(self._share * (len(pool.labels) + count) - 1e-9) - asked
        random = self._in_order(pool.texts, tests)[: max(0, min(due, count))]
        known, given = pool.known
        head = LinearHead(self._vectors(pool, known), given) if learns(given) else None
        chosen, reason = self._chosen(pool, head, rest, min(count - len(random), len(rest)))
        short = min(count, len(free)) - len(random) - len(chosen)
        # In the end the rest of those set aside; they measure as well.
        random = self._in_order(pool.texts, tests)[: len(random) + short]
        reasons = [reason] * len(chosen) + [RANDOM] * len(random)
        return self._selection(pool, head, [*chosen, *random], reasons)

    def judge(
        self,
        texts: Sequence[Text],
        labels: Sequence[object],
        tests: Sequence[bool] | None = None,
        more: int = USUAL_COUNT,
    ) -> Judged:
        """What the labels so far are worth, by those of random texts, and what more would bring.

        Args:
            texts: As for `select`.
            labels: As for `select`.
            tests: Which texts measure; of `None` those that are set aside, which is right if all
                labels are of texts that `select` chose.
            more: How many labels would come.

        Raises:
            InputError: If texts and labels don't go together.
        """
        more = ranges.whole_number("more", more, *ranges.SIZE)
        pool = Pool.of(texts, labels)
        aside = self.measures(pool.texts) if tests is None else np.asarray(tests, bool)
        if aside.shape != (len(pool.texts),):
            raise InputError(
                "`tests` says of each text whether it measures. Received: "
                f"{aside.size:,} of {len(pool.texts):,} texts"
            )
        rows, known = pool.known
        if not known:
            return Judged(0)
        vectors = self._vectors(pool, rows)
        own = aside[rows]
        judged = Judged(int(own.sum()))
        train, judges = np.flatnonzero(~own), np.flatnonzero(own)
        if len(judges) and learns([known[row] for row in train]):
            share = learning_curves.accuracy(vectors, known, train, judges)
            interval = metrics.wilson(share, len(judges))
            judged = dataclasses.replace(judged, accuracy=share, interval=interval)
        curve = learning_curves.measured(vectors, known, self._seed)
        if curve is None:
            return judged
        gain = learning_curves.expected(*curve, now=len(known), more=more)
        return dataclasses.replace(judged, gain=gain)

    def measures(self, texts: Sequence[Text]) -> np.ndarray:
        """Which texts are set aside to measure, by their own words and the seed, bool `[n]`.

        Args:
            texts: Any texts, or pairs.

        Raises:
            InputError: If one is something else.
        """
        return np.array([self._place(text) < self._share for text in checked(texts)], bool)

    def _place(self, text: Text) -> float:
        """A number from 0 to 1 that nothing but the text's words and the seed decide."""
        told = "\0".join([str(self._seed), *parts(same(text))])
        found = hashlib.blake2b(told.encode(), digest_size=7).digest()
        return int.from_bytes(found) / 2**56

    def _in_order(self, texts: Sequence[Text], rows: np.ndarray) -> list[int]:
        return sorted(rows.tolist(), key=lambda row: self._place(texts[row]))

    def _chosen(
        self, pool: Pool, head: LinearHead | None, free: np.ndarray, count: int
    ) -> tuple[list[int], str]:
        """Rows that the strategy chooses, and why."""
        known, labels = pool.known
        vectors = self._vectors(pool, pool.rows)
        given = Candidates(
            vectors,
            np.searchsorted(pool.rows, known),
            np.searchsorted(pool.rows, free),
            count,
            None if head is None else closeness(head, vectors),
            len({name for label in labels for name in names_of(label)}),
            self._seed,
        )
        if not count:
            return [], ""
        strategy, reason = self._now(given)
        found = np.asarray(strategy(given))
        if found.shape != (count,) or len(np.intersect1d(found, given.free)) != count:
            raise InputError(
                f"a strategy must give {count:,} rows of `free`, each once. "
                f"Received: {found.tolist()!s:.80} of {reason}"
            )
        return pool.rows[found].tolist(), reason

    def _now(self, given: Candidates) -> tuple[Strategy, str]:
        """The strategy that is right with so many labels, and its reason."""
        if callable(self._strategy):
            return self._strategy, getattr(self._strategy, "__name__", "own")
        name = self._strategy
        if name == AUTO:
            early = len(given.labelled) < TYPICAL_UNTIL * max(given.classes, 2)
            name = TYPICAL if early else CLUSTERED
        if given.closeness is None and name in (MARGIN, CLUSTERED):
            name = TYPICAL
        return STRATEGIES[name]

    def _selection(
        self, pool: Pool, head: LinearHead | None, rows: list[int], reasons: list[str]
    ) -> Selection:
        """Mixed, so that nobody sees which measure; these have no prediction that could sway."""
        predicted: list[Label | None] = [None] * len(rows)
        sure: list[float | None] = [None] * len(rows)
        if head is not None:
            scores = head.scores(self._vectors(pool, np.array(rows, int)))
            told = zip(reasons, head.answers(scores), confidence(head, scores).tolist())
            for place, (reason, answer, share) in enumerate(told):
                if reason != RANDOM:
                    predicted[place], sure[place] = answer, round(share, 4)
        generator = np.random.default_rng((self._seed, len(pool.labels), 1))
        order = generator.permutation(len(rows)).tolist()
        return Selection(*([each[i] for i in order] for each in (rows, reasons, predicted, sure)))

    def _vectors(self, pool: Pool, rows: np.ndarray) -> np.ndarray:
        """Vectors of some rows, of length 1; all of the pool are encoded, once."""
        if self._kept is None or self._kept[0] != pool.texts:
            found = np.zeros((len(pool.texts), 0), "float32")
            if len(pool.rows):
                columns = zip(*(parts(pool.texts[row]) for row in pool.rows))
                first, *second = map(list, columns)
                examples = Examples.from_lists(first, text_pair=second[0] if second else None)
                with progress.stage("Vectors", final=False):
                    model = self._model(pool.is_pair)
                    own = nearness.unit(np.asarray(model.compute_features(examples)))
                found = np.zeros((len(pool.texts), own.shape[1]), "float32")
                found[pool.rows] = own
            self._kept = list(pool.texts), found
        return np.asarray(self._kept[1][rows])

    def _model(self, pair: bool) -> TransferModel:
        """What encodes single texts, or pairs."""
        if pair not in self._models:
            model = encoding.vector_model(self._encoder, self._trust, pair)
            if model.task.several or model.task.pair != pair or not model.task.one_row:
                what = "pairs" if pair else "single texts"
                raise InputError(
                    f"{what} are chosen by their vectors; name an encoder, or a model of one task "
                    f"that reads {what}. Received: the {model.task.name} task"
                )
            self._models[pair] = model
        return self._models[pair]


def closeness(head: LinearHead, vectors: np.ndarray) -> np.ndarray:
    """How close a call each text is, the closest the least `[n]`.

    Args:
        head: What has learned.
        vectors: Of the texts `[n, d]`.
    """
    scores = head.scores(vectors)
    return strategies.margins_of_sets(scores) if head.several else strategies.margins(scores)


def confidence(head: LinearHead, scores: np.ndarray) -> np.ndarray:
    """How sure answers are, from 0 to 1 `[n]`: of several classes of that most in doubt.

    Args:
        head: What has learned.
        scores: Its scores `[n, classes]`.
    """
    if head.several:
        return np.asarray(0.5 + strategies.margins_of_sets(scores))
    return np.asarray(scores.max(axis=1))
