"""How models are made and trained, in one object: devices, precision, XLA, seed."""

import contextlib
import dataclasses
from collections.abc import Iterator

import tensorflow as tf

from tfhub_transfer.errors import InputError
from tfhub_transfer.incoming import choices, ranges
from tfhub_transfer.runtime import machine, precision_choice


@dataclasses.dataclass(frozen=True)
class Runtime:
    """How models that are built, trained and asked inside of its `scope` run.

    Attributes:
        strategy: As for `strategy`: on which devices.
        precision: As for `precision`: `"auto"`, `"float32"` or `"bfloat16"`.
        jit_compile: Whether training steps of models that are built inside are compiled with XLA;
            `"auto"` is off.
        seed: From 0 to 2**32 - 1; weights and orders are others each time if not given.

    Raises:
        InputError: If one of them is none of these.

    Example:

    >>> with Runtime(strategy="none", precision="float32", seed=7).scope():
    ...     model = build_model("auto", task)
    """

    strategy: str = "auto"
    precision: str = "auto"
    jit_compile: bool | str = "auto"
    seed: int | None = None

    def __post_init__(self) -> None:
        choices.one_of("strategy", self.strategy, machine.STRATEGIES)
        precision_choice.check_precision(self.precision)
        if not isinstance(self.jit_compile, bool) and self.jit_compile != "auto":
            raise InputError(
                f'`jit_compile` must be True, False or "auto". Received: {self.jit_compile!r}'
            )
        if self.seed is not None:
            ranges.whole_number("seed", self.seed, *ranges.SEED)

    @contextlib.contextmanager
    def scope(self) -> Iterator[tf.distribute.Strategy]:
        """Runs its body so; yields the strategy. Python, NumPy and TensorFlow are seeded."""
        strategy = machine.strategy(self.strategy)  # before TensorFlow does anything else
        if self.seed is not None:
            machine.seed_everything(self.seed)
        with contextlib.ExitStack() as held:
            held.enter_context(machine.compiled_if(self.jit_compile is True))
            if self.precision != "auto":  # which depends on the width of each encoder
                held.enter_context(precision_choice.precision(self.precision))
            held.enter_context(strategy.scope())
            yield strategy
