"""Which number judges a task, whether more of it is better, and what it is compared with."""

import math
from collections.abc import Sequence

# A number whose name ends so is an error; what stands before is what it is of, as a task's name.
_LOW_IS_GOOD = (
    *("mse", "rmse", "mae", "ece", "loss", "brier", "brier_score"),
    *("error", "error_rate", "perplexity"),
)
_FIRST = {
    "classification": "accuracy",
    "multi-label": "micro_f1",
    "regression": "spearman",
    "token-classification": "f1",
    "question-answering": "f1",
    "extractive-summarization": "rouge1",
    "similarity": "spearman",
}
_BASELINES = {
    "usual_tag": "usual tags",
    "likeliest_sentence": "likely sentence",
    "no_answer": "no answer",
    "lead": "first sentences",
    "oracle": "best choice",
    "untrained": "untrained",
    "tfidf_cosine": "TF-IDF cosine",
}
# The baseline that a report's one sentence compares with, where it isn't TF-IDF.
_RIVALS = {
    "token-classification": "usual_tag",
    "question-answering": "likeliest_sentence",
    "extractive-summarization": "lead",
    "similarity": "untrained",
}
# It knows the answers: a limit, and nobody's rival.
ORACLE = "oracle"


def less_is_better(name: str) -> bool:
    """Whether a number is an error.

    Example:

    >>> less_is_better("size_rmse"), less_is_better("error_type_accuracy")
    (True, False)
    """
    return f"_{name}".endswith(tuple(f"_{error}" for error in _LOW_IS_GOOD))


def is_better(name: str, mine: float, other: float) -> bool:
    """Whether the first of two different numbers wins."""
    return mine != other and (mine < other) == less_is_better(name)


def best(name: str, values: Sequence[float | None]) -> float:
    """The best value; NaN, which equals nothing, where there is nothing to compare.

    Args:
        name: Of the number.
        values: Those of the model and of its rivals, as far as they are known.
    """
    known = [value for value in values if value is not None]
    if len(known) < 2:
        return math.nan
    return min(known) if less_is_better(name) else max(known)


def first(task: str) -> str:
    """The number that a task is judged by, where the data can tell it."""
    return _FIRST[task]


def judged(task: str) -> tuple[str, ...]:
    """The numbers that a task is judged by: the first of them that is known."""
    return _FIRST[task], "roc_auc", "recall_at_1", "accuracy", "rmse"


def rivals(task: str, baselines: Sequence[str]) -> list[str]:
    """Baselines to compare a model with, the one that says most first.

    Args:
        task: The task's name.
        baselines: Those that were measured.
    """
    chosen = _RIVALS.get(task, "tfidf_logistic_regression")
    named = [name for name in baselines if name != ORACLE]
    return sorted(named, key=lambda name: name != chosen)


def baseline_name(task: str, name: str) -> str:
    """A baseline as people call it."""
    if name in _BASELINES:
        return _BASELINES[name]
    if name == "majority":
        return "mean" if task == "regression" else "majority"
    return "TF-IDF + ridge" if task == "regression" else "TF-IDF + LR"
