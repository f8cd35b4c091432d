"""Which trials `Hyperband` of KerasTuner has no further use for."""

import itertools
from typing import Any

_OVER = ("COMPLETED", "FAILED", "INVALID", "STOPPED")
# What a later trial goes on behind.
_BEFORE = "tuner/trial_id"


def may_go_on(oracle: Any) -> set[str]:
    """The names of the trials whose weights a later one goes on with, or may.

    By `HyperbandOracle.populate_space`, with KerasTuner 1.4: of a round the best go on, as many as
    the next one has, each once.

    Args:
        oracle: That of `Hyperband`.
    """
    known = oracle.trials
    behind = {name: each.hyperparameters.values.get(_BEFORE) for name, each in known.items()}
    found = {behind[name] for name, each in known.items() if each.status not in _OVER}
    gone_on = {behind[name] for name, each in known.items() if each.status in _OVER}
    for bracket in oracle._brackets:
        for at, (own, _) in enumerate(itertools.pairwise(bracket["rounds"]), 1):
            done = [known[each["id"]] for each in own if known[each["id"]].status == _OVER[0]]
            best = sorted(
                done, key=lambda each: each.score, reverse=oracle.objective.direction == "max"
            )
            most = oracle._get_size(bracket["bracket_num"], at)
            found |= {each.trial_id for each in best[:most]} - gone_on
    return found - {None}
