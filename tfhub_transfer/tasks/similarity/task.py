"""How near the meanings of two texts are: one vector for each text, compared by their cosine."""

from collections.abc import Callable, Sequence
from typing import Any

import keras
import numpy as np

from tfhub_transfer.data import Examples
from tfhub_transfer.errors import InputError, placed
from tfhub_transfer.heads.settings import Head
from tfhub_transfer.incoming import ranges
from tfhub_transfer.incoming.choices import one_of
from tfhub_transfer.reporting.standings import Standing
from tfhub_transfer.tasks import class_labels, scales
from tfhub_transfer.tasks.base import Task, finite
from tfhub_transfer.tasks.similarity import losses as vector_losses
from tfhub_transfer.tasks.similarity import measures
from tfhub_transfer.tasks.similarity.measures import best_threshold
from tfhub_transfer.tasks.trial import Trial

LOSSES = ("cosine", "contrastive", "in_batch_negatives", "triplet")
# Those that learn from labels of 0 and 1.
_OF_FLAGS = ("cosine", "contrastive")
_MARGINS = {
    "contrastive": vector_losses.CONTRASTIVE_MARGIN,
    "triplet": vector_losses.TRIPLET_MARGIN,
}


@keras.saving.register_keras_serializable(package="tfhub_transfer")
class Similarity(Task):
    """How near two texts are: each passes the same encoder alone, and the cosine is the answer.

    What a text's vector is doesn't depend on what it is compared with, so that any number of texts
    can be encoded once and searched with one matrix product.

    Args:
        loss: `"cosine"`: graded pairs, squared error of the cosine (Reimers and Gurevych 2019).
            `"contrastive"`: pairs that belong together, labelled 1, and others, labelled 0 (Hadsell
            et al. 2006). `"in_batch_negatives"`: pairs that belong together, without labels; the
            batch's other pairs are what they are told from (Henderson et al. 2017). `"triplet"`:
            triplets of a text, one that belongs to it and one that doesn't, without labels
            (Schroff et al. 2015).
        low: The least label of graded pairs, cosine 0; learned by `adapt` if not given.
        high: Their highest label, cosine 1; learned by `adapt` if not given.
        margin: How far apart `"contrastive"` (0.5 if not given) and `"triplet"` (0.2) put texts
            that don't belong together.
        scale: Factor on cosines in `"in_batch_negatives"`.
        threshold: From which answer on two texts belong together, where labels are 0 and 1; that
            of the highest F1 on the validation split, set by `fine_tune`.

    Raises:
        InputError: If a value is outside its range.

    Example:

    >>> Similarity().adapt([0.0, 5.0, 2.5]).get_config()["high"]
    5.0
    """

    name = "similarity"
    api = "regress"
    layout = "towers"
    learns = ("low", "high")
    has_head = False
    options = ("loss", "negative")
    standing = Standing(
        "spearman",
        rival="untrained",
        baselines={"untrained": "untrained", "tfidf_cosine": "TF-IDF cosine"},
        by_row=("recall_at_1", "accuracy", "mae"),
    )

    def __init__(
        self,
        loss: str = "cosine",
        low: float | None = None,
        high: float | None = None,
        margin: float | None = None,
        scale: float = vector_losses.SCALE,
        threshold: float | None = None,
    ) -> None:
        super().__init__(pair=True)
        one_of("loss", loss, LOSSES)
        # `loss` is the method that makes it.
        self.objective = loss
        real, most = ranges.real_number, ranges.MOST
        self.low = ranges.given(real, "low", low, -most, most)
        self.high = ranges.given(real, "high", high, -most, most)
        if self.low is not None and self.high is not None and not self.low < self.high:
            raise InputError(f"`low` must be below `high`. Received: low={low}, high={high}")
        usual = _MARGINS.get(loss)
        # Cosines, and so distances, are at most 2 apart.
        self.margin = ranges.given(real, "margin", usual if margin is None else margin, 0.0, 2.0)
        self.scale = real("scale", scale, *ranges.WEIGHT)
        self.threshold = ranges.given(real, "threshold", threshold, -most, most)
        self.needs_labels = loss in ("cosine", "contrastive")
        if self.needs_labels:
            self.monitor = ("val_pearson", "max")

    @property
    def is_graded(self) -> bool:
        """Whether labels are degrees on a scale."""
        return self.objective == "cosine"

    @property
    def losses(self) -> tuple[str, ...]:
        """Of labels of 0 and 1 there are two; what has no labels is judged by loss."""
        if not self.needs_labels or self.is_wide:
            return (self.objective,)
        return tuple(sorted(_OF_FLAGS, key=lambda each: each != self.objective))

    def with_loss(self, loss: str) -> "Similarity":
        """Such a task with the usual margin, for labels of 0 and 1.

        Args:
            loss: Its name.
        """
        made = type(self)(loss, scale=self.scale, threshold=self.threshold)
        return made.adapt([0.0, 1.0])

    @property
    def is_adapted(self) -> bool:
        return not self.is_graded or (self.low is not None and self.high is not None)

    def adapt(self, labels: Sequence[object]) -> "Similarity":
        """Learns the scale of graded labels; returns the task itself.

        Raises:
            InputError: If all are the same, or one is no number.
        """
        if not self.is_adapted:
            if not len(labels):
                raise InputError(
                    "the loss cosine needs a score for each pair; give them, or use the loss "
                    "in_batch_negatives for pairs that belong together. Received: no labels"
                )
            values = self.numbers(labels)
            self.low = min(values) if self.low is None else self.low
            self.high = max(values) if self.high is None else self.high
            if not self.low < self.high:
                raise InputError(
                    "every training pair has the same score, so there is nothing to learn; check "
                    "the label column, or use the loss in_batch_negatives for pairs that belong "
                    f"together. Received: {values[0]:g} in all {len(values)} rows"
                )
            if scales.dtype((self.low + self.high) / 2, self.high - self.low) != "float32":
                raise InputError(
                    "float32 numbers can't tell these scores apart; give each less the least, "
                    "divided by their range, so that they go from 0 to 1. "
                    f"Received: scores from {self.low!r} to {self.high!r}"
                )
        return self

    def check(self, examples: Examples) -> None:
        """Raises `InputError` if labels are missing that the loss needs, or don't suit it."""
        if not self.needs_labels:
            return
        if examples.target is None:
            raise InputError(
                f"the loss {self.objective} needs a label for each pair; name the label column, or "
                "use the loss in_batch_negatives for pairs that belong together. "
                f"Received: {examples.source} without labels"
            )
        with placed(examples):
            self.encode(examples.labels)

    def check_training(self, examples: Examples) -> None:
        """As `check`, and raises `InputError` if the loss would pass over a column or lack one."""
        self.check(examples)
        if not self.needs_labels and examples.target is not None:
            raise InputError(
                f"the loss {self.objective} takes every row as texts that belong together and "
                "reads no labels: keep the rows that do, and take the label column out of the "
                "data; or use the loss cosine or contrastive. "
                f"Received: {examples.source} with labels"
            )
        if self.objective == "triplet" and len(examples.texts) != 3:
            raise InputError(
                "the loss triplet needs three columns of texts, of which the third doesn't belong "
                "to the first: call it `text_c`, or name it with `negative` (`--negative`). "
                f"Received: {examples.source} with {len(examples.texts)}"
            )

    def check_texts(self, columns: int) -> None:
        if columns not in ((2,) if self.needs_labels else (2, 3)):
            raise InputError(
                f"the loss {self.objective} compares two texts, and reads no third column; leave "
                f"it (`negative`, `--negative`) out. Received: {columns} columns of texts"
            )

    def encode(self, labels: Sequence[object]) -> np.ndarray:
        """Labels `[n]` to what the loss wants: float32 `[n]`.

        For losses without labels these are numbers of texts, int32 `[n, texts]`, which rows have
        for labels: equal where the texts are.
        """
        self.require_adapted()
        if not self.needs_labels:
            return np.asarray(labels, "int32")
        values = np.array(self.numbers(labels), "float32")
        if self.objective == "contrastive" and not np.isin(values, (0, 1)).all():
            class_labels.by_row(_require_flag, labels)
        return values

    @staticmethod
    def numbers(labels: Sequence[object]) -> list[float]:
        """Labels `[n]` as numbers.

        Raises:
            InputError: If one is no finite number.
        """
        return class_labels.by_row(lambda label: finite(label, Similarity.name), labels)

    def outputs(self, features: keras.KerasTensor, head: Head) -> keras.KerasTensor:
        """Vectors `[batch, texts, dimension]` at unit length, so that products are cosines."""
        # Float32 whatever the policy: bfloat16 would leave 8 bits of a cosine.
        return keras.layers.UnitNormalization(axis=-1, dtype="float32", name="unit")(features)

    def loss(self) -> keras.Loss:
        if self.objective == "cosine":
            return vector_losses.CosineError(*self._scale())
        if self.objective == "in_batch_negatives":
            return vector_losses.InBatchNegatives(self.scale)
        kind = vector_losses.Triplet if self.objective == "triplet" else vector_losses.Contrastive
        return kind(self.margin or 0.0)

    def metrics(self) -> list[keras.Metric]:
        if self.needs_labels:
            return [vector_losses.CosineCorrelation(*self._scale())]
        triplets = self.objective == "triplet"
        kind = vector_losses.TripletAccuracy if triplets else vector_losses.RankedFirst
        return [kind(name="accuracy")]

    @property
    def is_wide(self) -> bool:
        """Whether degrees are on another scale than 0 to 1."""
        return self._scale() != (0.0, 1.0)

    def tune(self, examples: Examples, predict: Callable[[], list[dict[str, Any]]]) -> None:
        """Sets the threshold to that of the highest F1 on these pairs, where labels are 0 and 1."""
        if self.is_binary(examples):
            found = np.array([answer["score"] for answer in predict()])
            self.threshold = best_threshold(np.array(self.numbers(examples.labels)), found)

    def is_binary(self, examples: Examples) -> bool:
        """Whether examples are pairs that belong together or don't: labels of 1 and 0 alone."""
        if examples.target is None or self.is_wide:
            return False
        return set(self.numbers(examples.labels)) <= {0.0, 1.0}

    def score(self, cosines: keras.KerasTensor) -> keras.KerasTensor:
        """Cosines to answers: for graded labels in their units, 0 being `low` and 1 `high`.

        Texts less alike than any in training have a cosine below 0, and an answer below `low`.
        """
        low, high = self._scale()
        return low + cosines * (high - low)

    def _scale(self) -> tuple[float, float]:
        """What a cosine of 0 and of 1 stand for."""
        low, high = (self.low, self.high) if self.is_graded else (None, None)
        return (0.0 if low is None else low), (1.0 if high is None else high)

    def scores(self, vectors: keras.KerasTensor) -> keras.KerasTensor:
        """Unit vectors `[n, 2, dimension]` to answers `[n]`, as graph code or not."""
        return self.score(vector_losses.cosine(vectors))

    def answer(self, scores: keras.KerasTensor) -> dict[str, keras.KerasTensor]:
        return {"score": self.scores(scores)}

    def decode(self, scores: np.ndarray) -> list[dict[str, object]]:
        return [{"score": float(score)} for score in np.reshape(scores, (-1,))]

    def report_on(self, trial: Trial) -> None:
        measures.report_on(self, trial)

    def get_config(self) -> dict[str, object]:
        return {
            "loss": self.objective,
            "low": self.low,
            "high": self.high,
            "margin": self.margin,
            "scale": self.scale,
            "threshold": self.threshold,
        }


def _require_flag(label: object) -> None:
    """Raises `InputError` if a label is a degree."""
    if finite(label, Similarity.name) not in (0, 1):
        raise InputError(
            "the loss contrastive needs labels of 1 (belong together) or 0; for degrees use "
            f"the loss cosine. Received: {label!r}"
        )
