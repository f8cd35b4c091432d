"""How `GridSearch` of KerasTuner goes through its values."""

from typing import Any


def next_combination(oracle: Any, values: dict[str, Any]) -> dict[str, Any] | None:
    """The values that come behind others; none behind the last.

    `GridSearchOracle._get_next_combination`, with KerasTuner 1.4. What calls it there gives the
    next values only once those before have been tried, so that a second process has nothing to do,
    and forgets where it was when it is loaded again.

    Args:
        oracle: That of `GridSearch`.
        values: Those of a trial.
    """
    found: dict[str, Any] | None = oracle._get_next_combination(values)
    return found
