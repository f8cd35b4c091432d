"""What a training's weights depend on, by names that users know: the same in two runs, or not."""

import hashlib
import json
from collections.abc import Iterable, Mapping

import keras

from tfhub_transfer import runtime
from tfhub_transfer.data import Examples, Stream
from tfhub_transfer.models.transfer import TransferModel
from tfhub_transfer.shapes import Json

# Facts by what they are called; those too long to tell are digests, which begin so.
Facts = dict[str, Json]
DIGEST = "sha256:"
# Of a plan what changes no weight, or is a fact of the stages.
_BESIDE = ("verbose", "stages")
_VERSIONS = ("tensorflow", "keras")


def of_model(model: TransferModel) -> Facts:
    """What is known of a model before it trains.

    Args:
        model: The model. What its head begins with isn't among it: a checkpoint holds that.
    """
    serialize = keras.saving.serialize_keras_object
    versions = runtime.versions()
    return {
        **{f"version of {name}": versions[name] for name in _VERSIONS},
        "encoder": f"{DIGEST}{model.encoder.fingerprint()}",
        "preprocessor": f"{DIGEST}{model.preprocessor.fingerprint()}",
        "task": _digest([serialize(model.task)]),
        "head": _digest([_plain(single.head.__dict__) for single in model.parts.values()]),
        "optimizer": _digest([type(model.optimizer).__name__, _of_optimizer(model.optimizer)]),
        "loss": _digest([str(type(each).__name__) for each in _all(model.loss)]),
        "precision": runtime.choose_precision("auto", model.encoder.dimension),
        "XLA": bool(model.jit_compile),
        "replicas": model.distribute_strategy.num_replicas_in_sync,
    }


def of_plan(plan: object, stages: Iterable[object]) -> Facts:
    """What is to be done.

    Args:
        plan: A `Plan`.
        stages: The stages, before they have begun.
    """
    found: Facts = {f"{name} of the plan": _plain(value) for name, value in vars(plan).items()}
    for name in _BESIDE:
        found.pop(f"{name} of the plan", None)
    names = []
    for stage in stages:
        names.append(str(getattr(stage, "name", "")))
        known = {name: value for name, value in vars(stage).items() if not name.startswith("_")}
        own = {name: value for name, value in known.items() if _is_plain(value) and name != "name"}
        found |= {f"{name} of {names[-1]}": _plain(value) for name, value in own.items()}
    return {**found, "stages": ", ".join(names)}


def of_examples(name: str, given: object) -> Facts:
    """What is learned from, or judged by: every text, label and weight.

    Args:
        name: What it is called.
        given: `Examples` or a `Stream`; by name of several tasks.
    """
    if isinstance(given, Mapping):
        parts = [of_examples(f"{name} of {task}", each) for task, each in given.items()]
        return {key: value for part in parts for key, value in part.items()}
    digest = hashlib.sha256()
    for chunk in given if isinstance(given, Stream) else [given]:
        assert isinstance(chunk, Examples)
        for column in _columns(chunk):
            for cell in column:
                # Of texts and numbers it says all; with its length, as one might end another.
                data = (cell if isinstance(cell, str) else repr(cell)).encode(
                    "utf-8", "surrogatepass"
                )
                digest.update(len(data).to_bytes(8, "little") + data)
    return {name: f"{DIGEST}{digest.hexdigest()}"}


def changed(before: Mapping[str, Json], now: Mapping[str, Json]) -> list[str]:
    """What differs between two, as users are told it.

    Args:
        before: The facts of an earlier run.
        now: Those of this one.
    """
    names = dict.fromkeys([*now, *before])
    return [_told(n, before.get(n), now.get(n)) for n in names if before.get(n) != now.get(n)]


def as_json(facts: Mapping[str, object]) -> Facts:
    """Facts as they come back from a file."""
    found: Facts = json.loads(json.dumps(dict(facts), default=str))
    return found


def _of_optimizer(optimizer: keras.optimizers.Optimizer) -> dict[str, object]:
    """Its configuration, but its name, which is another in each process; of one in another, too."""
    config = {**optimizer.get_config(), "name": ""}
    inner = getattr(optimizer, "inner_optimizer", None)
    return config if inner is None else {**config, "inner_optimizer": _of_optimizer(inner)}


def _told(name: str, before: Json, now: Json) -> str:
    if any(str(value).startswith(DIGEST) for value in (before, now)):
        return f"{name} changed"
    return f"{name} was {_value(before)} and is {_value(now)}"


def _value(value: Json) -> str:
    return "not given" if value is None else f"{value}"


def _columns(examples: Examples) -> list[Iterable[object]]:
    found: list[Iterable[object]] = [*examples.texts]
    labels = examples.labels if examples.target is not None else []
    return [*found, labels or [], examples.weights if examples.weights is not None else []]


def _all(given: object) -> list[object]:
    return [*given.values()] if isinstance(given, Mapping) else [given]


def _is_plain(value: object) -> bool:
    return value is None or isinstance(value, bool | int | float | str)


def _plain(value: object) -> Json:
    found: Json = json.loads(json.dumps(value, default=str))
    return found


def _digest(given: object) -> str:
    text = json.dumps(given, sort_keys=True, default=str)
    return f"{DIGEST}{hashlib.sha256(text.encode()).hexdigest()}"
