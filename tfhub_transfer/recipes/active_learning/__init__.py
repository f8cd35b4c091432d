"""Which texts to label next: typical ones, close calls, and random ones that measure."""

from tfhub_transfer.recipes.active_learning.learning_curves import Gain
from tfhub_transfer.recipes.active_learning.selector import Judged, Selection, Selector
from tfhub_transfer.recipes.active_learning.strategies import (
    Candidates,
    Strategy,
    clustered_margin,
    drawn,
    margin,
    margins,
    margins_of_sets,
    typical,
    typicality,
)

__all__ = [
    "Candidates",
    "Gain",
    "Judged",
    "Selection",
    "Selector",
    "Strategy",
    "clustered_margin",
    "drawn",
    "margin",
    "margins",
    "margins_of_sets",
    "typical",
    "typicality",
]
