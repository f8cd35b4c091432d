"""What reports consist of, part by part, as `report.json` has it: for annotations, nothing runs.

Numbers are shares of 1 where their names don't say otherwise; `None` is what the data can't tell.
"""

from collections.abc import Mapping, Sequence
from typing import TypeAlias, TypedDict

# Numbers of a report, by name.
Numbers: TypeAlias = dict[str, float | None]
# Of a number: the ends of its 95 % interval.
Interval: TypeAlias = tuple[float, float]
# Curves of a training by name, `val_` before those of validation: one number an epoch. Beside them
# stand `thawed_groups`, `best_epoch` and `kept` (see `plots.curves`).
History: TypeAlias = Mapping[str, Sequence[object]]
# The answer to an example: `row`, `texts`, `true`, `predicted`, and its share in numbers by name.
Prediction: TypeAlias = dict[str, object]


class Mark(TypedDict):
    """A place in a text: from its first character to behind its last.

    `side` is `"true"` or `"predicted"`, `kind` what became of it, `label` what stands behind it.
    """

    start: int
    end: int
    side: str
    kind: str
    label: str


class Mistake(TypedDict, total=False):
    """A wrong answer: `row` of the test examples, and how bad it is by its task.

    The rest as tasks have it: `passage` is shown in the place of `text`, with `marks` in it.
    """

    row: int
    text: str
    true: object
    predicted: object
    badness: float
    question: str
    passage: str
    marks: list[Mark]
    kinds: list[str]


# How well a class is told: `support` is how many examples are of it.
ClassScores = TypedDict(
    "ClassScores",
    {"class": str, "precision": float, "recall": float, "f1": float, "support": int},
)

# One class against the rest: `number` is its place, the four lists are points of its two curves.
Curve = TypedDict(
    "Curve",
    {
        "class": str,
        "number": int,
        "roc_auc": float | None,
        "pr_auc": float | None,
        "false_positive_rate": list[float],
        "true_positive_rate": list[float],
        "recall": list[float],
        "precision": list[float],
    },
)


class Bins(TypedDict):
    """Accuracy by confidence: a number for each bin, `low` and `high` its interval's ends."""

    confidence: list[float]
    accuracy: list[float]
    low: list[float]
    high: list[float]
    count: list[int]


class Reliability(TypedDict):
    """The expected calibration error, and each bin's numbers; nothing of bins that are empty."""

    ece: float
    confidence: list[float]
    accuracy: list[float]
    count: list[int]


class Calibration(Reliability, total=False):
    """As `Reliability`, with bins that hold enough to tell; of scaled scores, what was `before`."""

    pooled: Bins
    before: "Calibration"


class Trust(TypedDict, total=False):
    """What became of what `conformalize` said of answers; `rows` is off how many it was read.

    `accepted` is the share of answers that are, `wrong_of_accepted` which share of those is wrong;
    `coverage` is how often a set or interval holds the truth, `set_size` the mean number of classes
    in a set, `half_width` that of an interval, in the units of the scores. Of `learn_scope`:
    `scope` is the share of texts whose scope score lies in each tenth from 0 to 1, a tenth each if
    they are like those of the validation split, and `far` the share with one below 0.05.
    """

    accepted: float
    wrong_of_accepted: float | None
    coverage: float
    set_size: float
    half_width: float | None
    scope: list[float]
    far: float
    rows: int


class OperatingPoint(TypedDict):
    """What comes of answering from a score on; `given` is how many answers that are."""

    threshold: float
    precision: float | None
    recall: float | None
    f1: float | None
    given: int


class Thresholds(TypedDict):
    """Points by rising threshold: of what, and which one the model has now."""

    of: str
    own: float | None
    points: list[OperatingPoint]


# Of a group: its name, `count`, numbers by name, and ends `low` and `high` of the first's interval.
GroupRow: TypeAlias = dict[str, str | float | None]


class Slice(TypedDict):
    """Numbers by groups of examples."""

    by: str
    rows: list[GroupRow]


class WeakSpot(TypedDict):
    """A group of examples beside all others.

    `value` is its number and `low` to `high` the 95 % interval, `rest` the number of the others,
    `below` how far it is worse than that, in the number's units. `harm` is the share of all errors
    that there would be less of if it were as good as the others: what is above 0 costs. `p` is how
    likely chance alone makes a group of its size as bad, `p_corrected` the same for one of all that
    were looked at, words apart from others and each of both at half the level (Holm 1979), and
    `beyond_chance` whether that is below 0.05.
    """

    by: str
    group: str
    count: int
    value: float
    low: float | None
    high: float | None
    rest: float
    below: float
    harm: float
    p: float
    p_corrected: float
    beyond_chance: bool


class WeakSpots(TypedDict, total=False):
    """Groups of test examples, those that cost most first.

    `number` is the name of the number, `whole` that of all examples, `looked_at` how many groups
    were: of words only the worst are among the `rows`. Nothing is in it where there are no groups.
    """

    number: str
    whole: float
    looked_at: int
    rows: list[WeakSpot]


class LearningCurve(TypedDict, total=False):
    """What more labels would bring, by heads that learned from fewer; nothing where nobody asked.

    `labels` are how many taught and `accuracy` how many others these heads got right, on average,
    of `sets` of classes all of them;
    `gain` is by how much the accuracy would rise with `more` labels beside those of `now`, and
    `error` one standard error of that.
    """

    labels: list[int]
    sets: bool
    accuracy: list[float]
    now: int
    more: int
    gain: float
    error: float


class Taken(TypedDict):
    """How often a type was taken for which; `None` is nothing."""

    true: str | None
    predicted: str | None
    count: int


class Entities(TypedDict, total=False):
    """What became of entities, or `of` words: how many by outcome, and of each pair of types.

    Nothing is in it for tasks that have none.
    """

    of: str
    counts: dict[str, int]
    confusion: list[Taken]


class Attention(TypedDict):
    """What of a text is read while an answer is written: shares `weights[answer][source]` of 1.

    Pieces of the source that are hardly read at all are left out.
    """

    source: list[str]
    answer: list[str]
    weights: list[list[float]]


class TextsSeen(TypedDict, total=False):
    """What was seen of test texts: how many were `cut`, and are `also_in` another split."""

    cut: int
    tokens_lost: int
    also_in: dict[str, int]
    vocabulary: Mapping[str, object]
