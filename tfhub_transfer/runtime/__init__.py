"""How work is run: seeds, distribution strategy, XLA, precision, replicas."""

from tfhub_transfer.runtime.machine import (
    outside_of_replicas,
    seed_everything,
    start,
    strategy,
    use_jit,
    versions,
)
from tfhub_transfer.runtime.precision_choice import (
    check_precision,
    choose_precision,
    has_bfloat16,
    measured_products,
    precision,
    precision_of_all,
    rounds_products,
    was_measured,
)
from tfhub_transfer.runtime.replicas import Replicated, counted_alone
from tfhub_transfer.runtime.running import Runtime

__all__ = [
    "Replicated",
    "Runtime",
    "check_precision",
    "choose_precision",
    "counted_alone",
    "has_bfloat16",
    "measured_products",
    "outside_of_replicas",
    "precision",
    "precision_of_all",
    "rounds_products",
    "seed_everything",
    "start",
    "strategy",
    "use_jit",
    "versions",
    "was_measured",
]
