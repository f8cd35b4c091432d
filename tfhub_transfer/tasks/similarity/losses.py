"""Losses and metrics of texts that are compared by their vectors.

All read unit vectors `[batch, texts, dimension]`: the first text of each example, the second and,
in triplets, the third. The product of two unit vectors is their cosine.
"""

from typing import Any

import keras

from tfhub_transfer.runtime.masking import NEVER

# How far apart texts are put that don't belong together: of distances, and of squared distances.
# Those of sentence-transformers' `ContrastiveLoss` and of FaceNet.
CONTRASTIVE_MARGIN, TRIPLET_MARGIN = 0.5, 0.2
# Cosines go from -1 to 1, of which a softmax can't tell anything by itself.
# As in sentence-transformers' `MultipleNegativesRankingLoss`.
SCALE = 20.0
# A variance that is less of the mean square is what float32 sums leave of none.
_ALIKE = 1e-6


def cosine(vectors: keras.KerasTensor, first: int = 0, second: int = 1) -> keras.KerasTensor:
    """Cosine of two texts of each example `[batch]`, of unit vectors `[batch, texts, d]`."""
    return keras.ops.sum(vectors[:, first] * vectors[:, second], axis=-1)


@keras.saving.register_keras_serializable(package="tfhub_transfer")
class CosineError(keras.losses.Loss):
    """Squared error of the cosine to the label's place between `low` (0) and `high` (1).

    The regression objective of Reimers and Gurevych 2019 (Sentence-BERT).

    Args:
        low: The label of texts that have nothing in common.
        high: The label of texts that mean the same.
        name: The loss' name.
    """

    def __init__(
        self, low: float = 0.0, high: float = 1.0, name: str = "loss", **kwargs: Any
    ) -> None:
        super().__init__(name=name, **kwargs)
        self.low, self.high = low, high

    def call(self, y_true: keras.KerasTensor, y_pred: keras.KerasTensor) -> keras.KerasTensor:
        wanted = (_flat(y_true, y_pred) - self.low) / (self.high - self.low)
        return keras.ops.square(cosine(y_pred) - wanted)

    def get_config(self) -> dict[str, object]:
        return {**super().get_config(), "low": self.low, "high": self.high}


@keras.saving.register_keras_serializable(package="tfhub_transfer")
class Contrastive(keras.losses.Loss):
    """Pairs that belong together (1) are drawn together, others (0) pushed `margin` apart.

    Hadsell et al. 2006, with one less the cosine as the distance.

    Args:
        margin: The distance, 0 to 2, from which pairs that don't belong together are left alone.
        name: The loss' name.
    """

    def __init__(
        self, margin: float = CONTRASTIVE_MARGIN, name: str = "loss", **kwargs: Any
    ) -> None:
        super().__init__(name=name, **kwargs)
        self.margin = margin

    def call(self, y_true: keras.KerasTensor, y_pred: keras.KerasTensor) -> keras.KerasTensor:
        together = _flat(y_true, y_pred)
        distance = 1.0 - cosine(y_pred)
        near = keras.ops.square(distance)
        apart = keras.ops.square(keras.ops.relu(self.margin - distance))
        # The half is in the paper's equation 4.
        return 0.5 * (together * near + (1.0 - together) * apart)

    def get_config(self) -> dict[str, object]:
        return {**super().get_config(), "margin": self.margin}


@keras.saving.register_keras_serializable(package="tfhub_transfer")
class Triplet(keras.losses.Loss):
    """The second text must be nearer to the first than the third is, by `margin`.

    Schroff et al. 2015 (FaceNet): squared distances of unit vectors.

    Args:
        margin: By how much, 0 to 4.
        name: The loss' name.
    """

    def __init__(self, margin: float = TRIPLET_MARGIN, name: str = "loss", **kwargs: Any) -> None:
        super().__init__(name=name, **kwargs)
        self.margin = margin

    def call(self, y_true: keras.KerasTensor, y_pred: keras.KerasTensor) -> keras.KerasTensor:
        # The squared distance of unit vectors is 2 - 2 cosine.
        return keras.ops.relu(2.0 * (cosine(y_pred, 0, 2) - cosine(y_pred)) + self.margin)

    def get_config(self) -> dict[str, object]:
        return {**super().get_config(), "margin": self.margin}


@keras.saving.register_keras_serializable(package="tfhub_transfer")
class InBatchNegatives(keras.losses.Loss):
    """The second text of a pair must be told from the second texts of the batch's other pairs.

    Cross-entropy over cosines times `scale` (Henderson et al. 2017, "multiple negatives ranking").
    Third texts, where there are any, are candidates too, and never right. Labels are numbers of
    texts `[batch, texts]`: a candidate is no negative if it is the pair's own second text once
    more, the first text itself, or a second text of an equal first one; nor if it is numbered
    below 0, as in rows that only fill up a batch.

    Args:
        scale: Factor on the cosines, the inverse of a temperature.
        name: The loss' name.
    """

    def __init__(self, scale: float = SCALE, name: str = "loss", **kwargs: Any) -> None:
        super().__init__(name=name, **kwargs)
        self.scale = scale

    def call(self, y_true: keras.KerasTensor, y_pred: keras.KerasTensor) -> keras.KerasTensor:
        logits, own = candidates(y_true, y_pred, self.scale)
        return -keras.ops.sum(keras.ops.log_softmax(logits, axis=-1) * own, axis=-1)

    def get_config(self) -> dict[str, object]:
        return {**super().get_config(), "scale": self.scale}


def candidates(
    numbers: keras.KerasTensor, vectors: keras.KerasTensor, scale: float = 1.0
) -> tuple[keras.KerasTensor, keras.KerasTensor]:
    """How near each first text is to all candidates of its batch, and which is its own.

    Args:
        numbers: Numbers of texts `[batch, texts]`, equal where the texts are.
        vectors: Unit vectors `[batch, texts, d]`.
        scale: Factor on the cosines.

    Returns:
        Float32 `[batch, batch * (texts - 1)]` twice: scaled cosines, very low for what is neither
        right nor wrong, and 1 for the pair's own second text.
    """
    # Keras hands labels over as float32, in which whole numbers are exact up to 2**24.
    numbers = keras.ops.cast(numbers, "int32")
    first, rest = numbers[:, :1], _by_column(numbers[:, 1:])[None]
    logits = scale * keras.ops.matmul(
        vectors[:, 0], keras.ops.transpose(_by_column(vectors[:, 1:]))
    )
    own = keras.ops.one_hot(
        keras.ops.arange(keras.ops.shape(numbers)[0]), keras.ops.shape(rest)[1], dtype="float32"
    )
    # Of an equal first text the second is as right as one's own; its third stays wrong.
    second = keras.ops.arange(keras.ops.shape(rest)[1]) < keras.ops.shape(numbers)[0]
    same_first = keras.ops.equal(first, _tiled(first, rest)) & second[None]
    same_second = keras.ops.equal(numbers[:, 1:2], rest)
    same = same_first | same_second | keras.ops.equal(first, rest)
    neither = (same | keras.ops.less(rest, 0)) & (own < 0.5)
    return keras.ops.where(neither, NEVER, logits), own


def _by_column(values: keras.KerasTensor) -> keras.KerasTensor:
    """`[batch, columns, ...]` to `[columns * batch, ...]`: all of the first column, then the next.

    One of each example in order, so that the number of a pair is that of its second text.
    """
    turned = keras.ops.swapaxes(values, 0, 1)
    return keras.ops.reshape(turned, (-1, *values.shape[2:]))


def _tiled(first: keras.KerasTensor, rest: keras.KerasTensor) -> keras.KerasTensor:
    """The first text's number `[batch, 1]` of the example that each candidate is from."""
    rows = keras.ops.shape(first)[0]
    places = keras.ops.arange(keras.ops.shape(rest)[1]) % rows
    return keras.ops.take(first[:, 0], places)[None]


def _flat(labels: keras.KerasTensor, vectors: keras.KerasTensor) -> keras.KerasTensor:
    return keras.ops.reshape(keras.ops.cast(labels, vectors.dtype), (-1,))


@keras.saving.register_keras_serializable(package="tfhub_transfer")
class CosineCorrelation(keras.metrics.Metric):
    """Pearson's correlation of cosines with labels `[batch]`, over all batches of a pass.

    Args:
        low: The label of texts that have nothing in common.
        high: The label of texts that mean the same.
        name: The metric's name.
    """

    def __init__(
        self, low: float = 0.0, high: float = 1.0, name: str = "pearson", **kwargs: Any
    ) -> None:
        super().__init__(name=name, **kwargs)
        self.low, self.high = low, high
        # Count, and sums of x, y, x^2, y^2, x y.
        self.sums = self.add_variable((6,), initializer="zeros", name="sums")

    def update_state(
        self,
        y_true: keras.KerasTensor,
        y_pred: keras.KerasTensor,
        sample_weight: keras.KerasTensor | None = None,
    ) -> None:
        # From 0 to 1: of large labels the squares would hide how they differ.
        x, y = cosine(y_pred), (_flat(y_true, y_pred) - self.low) / (self.high - self.low)
        weights = keras.ops.ones_like(x)
        if sample_weight is not None:
            weights = _flat(sample_weight, y_pred)
        columns = [weights, *(weights * each for each in (x, y, x * x, y * y, x * y))]
        added = keras.ops.stack([keras.ops.sum(column) for column in columns])
        self.sums.assign_add(keras.ops.cast(added, self.sums.dtype))

    def result(self) -> keras.KerasTensor:
        n, x, y, xx, yy, xy = (self.sums[i] for i in range(6))
        both, alone, other = n * xy - x * y, n * xx - x * x, n * yy - y * y
        # Of answers, or labels, that are all alike but for rounding 0, as nothing goes with them.
        differ = keras.ops.logical_and(alone > _ALIKE * n * xx, other > _ALIKE * n * yy)
        scale = keras.ops.sqrt(keras.ops.where(differ, alone * other, 1.0))
        return keras.ops.where(differ, keras.ops.clip(both / scale, -1.0, 1.0), 0.0)

    def get_config(self) -> dict[str, object]:
        return {**super().get_config(), "low": self.low, "high": self.high}


@keras.saving.register_keras_serializable(package="tfhub_transfer")
class RankedFirst(keras.metrics.Mean):
    """Share of examples whose own second text is nearest to the first, of the batch's."""

    def update_state(
        self,
        y_true: keras.KerasTensor,
        y_pred: keras.KerasTensor,
        sample_weight: keras.KerasTensor | None = None,
    ) -> None:
        logits, own = candidates(y_true, y_pred)
        best = keras.ops.max(logits * own + (1.0 - own) * NEVER, axis=-1)
        right = keras.ops.cast(best >= keras.ops.max(logits, axis=-1), "float32")
        super().update_state(right, sample_weight)


@keras.saving.register_keras_serializable(package="tfhub_transfer")
class TripletAccuracy(keras.metrics.Mean):
    """Share of triplets whose second text is nearer to the first than the third is."""

    def update_state(
        self,
        y_true: keras.KerasTensor,
        y_pred: keras.KerasTensor,
        sample_weight: keras.KerasTensor | None = None,
    ) -> None:
        right = cosine(y_pred) > cosine(y_pred, 0, 2)
        super().update_state(keras.ops.cast(right, "float32"), sample_weight)
