"""Names of what goes from room to room, for annotations: nothing here runs.

TensorFlow and Keras bring no types that a checker can read: `tf.Tensor` in an annotation speaks to
readers. `object` stands for what a user gave and nobody has checked yet; whoever checks it hands on
one of these.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING, NewType, TypeAlias

if TYPE_CHECKING:
    import numpy as np
    import tensorflow as tf

# A name, URL, or folder of an encoder, as it was given.
Handle = NewType("Handle", str)
# A hexadecimal digest of what decides an encoder's outputs.
Fingerprint = NewType("Fingerprint", str)

# One example's cells, by column.
Row: TypeAlias = Mapping[str, object]
# What JSON can say.
Json: TypeAlias = "bool | int | float | str | list[Json] | dict[str, Json] | None"
# What an epoch left, by metric.
Logs: TypeAlias = Mapping[str, float]
# A number for each of many rows, or many numbers for each.
Array: TypeAlias = "np.ndarray"
# What a model reads, by the name of its input.
Features: TypeAlias = Mapping[str, "tf.Tensor"]
