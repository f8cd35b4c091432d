"""Learning rates over time; `models.fitting` sizes them to a run, `planning` picks the peak."""

import keras
import tensorflow as tf

from tfhub_transfer.incoming import ranges, usual


@keras.saving.register_keras_serializable(package="tfhub_transfer")
class WarmUpLinearDecay(keras.optimizers.schedules.LearningRateSchedule):
    """Rises linearly to the peak over the warm-up, then falls linearly to zero.

    As in Devlin et al. 2019 (https://arxiv.org/abs/1810.04805). The number of steps needn't be
    known beforehand: `TransferModel.fit` sizes the schedule to each run. Until then, and when the
    number of steps can't be known, it stays at the peak after 100 steps of warm-up.

    Args:
        peak: The highest learning rate.
        warmup: Share of the steps that the warm-up takes, 0 to below 1.
        total_steps: Steps until the rate is zero, if known.
        start: The step at which the run begins.
        usual: Whether nobody chose the peak, so that `fine_tune` may.

    Raises:
        InputError: If `peak` isn't above 0 or `warmup` is out of range.

    Example:

    >>> rate = WarmUpLinearDecay(5e-5, total_steps=1000)
    >>> [round(float(rate(step)) * 1e5, 2) for step in (0, 49, 99, 549, 1000)]
    [0.05, 2.5, 5.0, 2.5, 0.0]
    """

    def __init__(
        self,
        peak: float,
        warmup: float = usual.WARMUP,
        total_steps: int | None = None,
        start: int = 0,
        usual: bool = False,
    ) -> None:
        super().__init__()
        self.usual = bool(usual)
        self.peak = ranges.real_number("peak", peak, *ranges.LEARNING_RATE)
        self.warmup = ranges.real_number("warmup", warmup, 0.0, ranges.BELOW_ONE, closed=True)
        whole, most = ranges.whole_number, ranges.MOST_STEPS
        start = whole("start", start, 0, most)
        total_steps = ranges.given(whole, "total_steps", total_steps, 0, most)
        # A variable, because a traced train step reads the size that the current run has.
        with tf.init_scope():
            self._run = tf.Variable([0.0, 0.0, 0.0], trainable=False, name="schedule_run")
        self.size(start, total_steps)

    def size(self, start: int, total_steps: int | None, peak: float | None = None) -> None:
        """Fits the schedule to a run that begins at step `start` and lasts `total_steps`."""
        self.start, self.total_steps = start, total_steps
        self.peak = self.peak if peak is None else peak
        self._run.assign([float(start), float(total_steps or 0), self.peak])

    def __call__(self, step: tf.Tensor | int) -> tf.Tensor:
        start, total, peak = self._run[0], self._run[1], self._run[2]
        # Counted from 1, lest the first step have a rate of 0 and do nothing.
        done = tf.cast(step, tf.float32) - start + 1.0
        warmup_steps = tf.where(total > 0, tf.maximum(self.warmup * total, 1.0), 100.0)
        rising = tf.minimum(done / warmup_steps, 1.0)
        # Likewise zero comes behind the last step, not at it.
        falling = (total + 1.0 - done) / tf.maximum(total + 1.0 - warmup_steps, 1.0)
        falling = tf.where(total > 0, tf.clip_by_value(falling, 0.0, 1.0), 1.0)
        return peak * tf.minimum(rising, falling)

    def get_config(self) -> dict[str, object]:
        return {
            "peak": self.peak,
            "warmup": self.warmup,
            "total_steps": self.total_steps,
            "start": self.start,
            "usual": self.usual,
        }
