"""Numbers that lie far from the others of their column."""

from collections.abc import Sequence

import numpy as np

# So many robust spreads from the median no honest measurement lies: a slip, or a code for "none".
FAR = 50.0
# The middle half of a normal distribution, in standard deviations.
_HALF = 1.349


def far_values(numbers: Sequence[float]) -> tuple[list[float], float]:
    """The numbers that lie `FAR` robust spreads or more from the median, the farthest first.

    The spread is that of the middle half, which no single number moves however large it is: the
    distance of its ends divided by 1.349, the standard deviation of normally distributed numbers.
    Where the middle half is one number, as in counts that are mostly 0, it is the mean distance
    of the others from it, each counted at most `FAR` times the least.

    Args:
        numbers: Finite numbers.

    Returns:
        The numbers, and the distance of the first in spreads; none and 0 where nothing is far.

    Example:

    >>> far_values([1.0, 2.0, 3.0, 4.0, 1e30])
    ([1e+30], ...)
    """
    values = np.asarray(numbers, np.float64)
    if len(values) < 3:
        return [], 0.0
    low, middle, high = np.percentile(values, [25, 50, 75])
    apart = np.abs(values - middle)
    spread = (high - low) / _HALF
    if not spread > 0:
        others = apart[apart > 0]
        spread = float(np.minimum(others, FAR * others.min()).mean()) if len(others) > 1 else 0.0
    if not spread > 0:
        return [], 0.0
    order = np.argsort(-apart, kind="stable")
    far = [int(i) for i in order if apart[i] >= FAR * spread]
    return [float(values[i]) for i in far], float(apart[far[0]] / spread) if far else 0.0
