"""Whether a training can go on from what another said of itself, which may have been in a file."""

import contextlib
import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from numbers import Real

import numpy as np

from tfhub_transfer.errors import InputError
from tfhub_transfer.training.history import State
from tfhub_transfer.training.outcome import Outcome

_OUTCOME = {field.name for field in dataclasses.fields(Outcome)}


def check_form(state: object, own: State) -> None:
    """Raises `InputError` unless a state has the form that this version gives it.

    Args:
        state: What is to be restored.
        own: What the training that is to go on says of itself.
    """
    given = _keys(state, "it", {*own})
    past = _keys(given["history"], "its history", {*own["history"]})
    for name in ("plan", "tasks"):
        _require(isinstance(past[name], Mapping), f"the {name} of its history", past[name])
    _require(_is_listed(past["outcomes"]), "its outcomes", past["outcomes"])
    rows = past["rows"]
    _require(_is_listed(rows) and all(isinstance(e, Mapping) for e in rows), "its rows", rows)
    for each in past["outcomes"]:
        _keys(each, "one of its outcomes", _OUTCOME)
    _require(isinstance(given["stages"], Mapping), "its stages", given["stages"])
    _require(_is_listed(given["order"]), "the order of its stages", given["order"])
    done, worth = given["done"], given["worth"]
    # By `type`, for `True` is an `int` to `isinstance`.
    right = type(done) is int and 0 <= done <= len(own["stages"])
    _require(right, "how many stages are over", done)
    _require(worth is None or _is_number(worth), "what the model is worth", worth)
    epochs, schedule = given["past_epochs"], given["schedule"]
    _require(_is_listed(epochs) and all(type(e) is int for e in epochs), "its epochs", epochs)
    sized = _is_listed(schedule) and len(schedule) == 3
    # Before the encoder has trained nobody has said for how many steps.
    numbers = sized and all(each is None or _is_number(each) for each in schedule)
    _require(schedule is None or numbers, "its schedule", schedule)
    _require(_is_listed(given["random"]), "its random numbers", given["random"])
    with said_by("the random numbers"):
        [*map(np.shape, given["random"])]


def check_model(state: State, own: State) -> None:
    """Raises `InputError` if a state is of the training of another model.

    Args:
        state: What is to be restored, of the right form.
        own: What the training that is to go on says of itself.
    """
    sides = state, own
    compared = {
        "judged by": [side["history"]["plan"].get("judged_by") for side in sides],
        "with a rate by warm-up": [side["schedule"] is not None for side in sides],
        "with random layers": [[*map(np.shape, side["random"])] for side in sides],
    }
    for name, (theirs, ours) in compared.items():
        if theirs != ours:
            raise InputError(
                "a training goes on with the model, the data and the optimizer with which it "
                f"began. Received: a state of one {name}: {_shown(theirs)}, not {_shown(ours)}"
            )


@contextlib.contextmanager
def said_by(who: str) -> Iterator[None]:
    """Raises `InputError` where what is restored doesn't find what it needs in its state.

    Args:
        who: What it is, as in "the stage 'head'".
    """
    try:
        yield
    except (AttributeError, LookupError, TypeError, ValueError) as error:
        _require(False, f"what {who} left", f"{type(error).__name__}: {error}")


def _keys(given: object, name: str, wanted: set[str]) -> State:
    _require(isinstance(given, Mapping), name, given)
    assert isinstance(given, Mapping)
    odd = {*given} ^ wanted
    _require(not odd, name, f"with or without {', '.join(sorted(map(str, odd)))}")
    return {**given}


def _require(right: bool, name: str, found: object) -> None:
    if not right:
        raise InputError(
            "no training of this version left such a state: give what `state` of one gave, or "
            f"train anew. Received: {name}, {_shown(found)}"
        )


def _is_listed(value: object) -> bool:
    return isinstance(value, Sequence) and not isinstance(value, (str, bytes))


def _is_number(value: object) -> bool:
    return isinstance(value, Real) and not isinstance(value, bool)


def _shown(value: object) -> str:
    return " ".join(str(value).split())[:80]
