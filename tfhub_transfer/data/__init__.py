"""Examples out of whatever people have: read, split, profiled, written, put into batches."""

from tfhub_transfer.data.examples import (
    Examples,
    Stream,
    class_weights,
    read,
    read_splits,
    require_examples,
    stream,
)
from tfhub_transfer.data.looking import show_batch
from tfhub_transfer.data.profiling import profile
from tfhub_transfer.data.reading import File
from tfhub_transfer.data.splitting import folds, pool, split

__all__ = [
    "Examples",
    "File",
    "Stream",
    "class_weights",
    "folds",
    "pool",
    "profile",
    "read",
    "read_splits",
    "require_examples",
    "show_batch",
    "split",
    "stream",
]
