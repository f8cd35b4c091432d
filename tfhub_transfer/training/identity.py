"""What a training's weights depend on, by names that users know: the same in two runs, or not."""

import hashlib
import json
from collections.abc import Iterable, Mapping

from tfhub_transfer import runtime
from tfhub_transfer.data import Examples, Stream
from tfhub_transfer.models import compiling
from tfhub_transfer.models.transfer import TransferModel
from tfhub_transfer.private import keras_training
from tfhub_transfer.shapes import Json
from tfhub_transfer.storage.names import COMPUTATION
from tfhub_transfer.training import describing

# Facts by what they are called; those too long to tell are digests, which begin so.
Facts = dict[str, Json]
DIGEST = "sha256:"
# Of a plan what changes no weight, or is a fact of the stages.
_BESIDE = ("verbose", "stages", "log_dir")
_VERSIONS = ("tensorflow", "keras")
# What is longer isn't told, only that it changed.
_MOST_CHARACTERS = 60


def of_model(model: TransferModel) -> Facts:
    """What is known of a model before it trains.

    Args:
        model: The model. What its head begins with isn't among it: a checkpoint holds that.
    """
    versions = runtime.versions()
    loss = [model.loss, model.layout.objective, keras_training.loss_weights_given(model)]
    metrics = keras_training.metrics_given(model)
    return {
        **{f"version of {name}": versions[name] for name in _VERSIONS},
        "encoder": f"{DIGEST}{model.encoder.fingerprint()}",
        "preprocessor": f"{DIGEST}{model.preprocessor.fingerprint()}",
        "task": _digest(model.task),
        "head": _digest([vars(single.head) for single in model.parts.values()]),
        "optimizer": _digest(model.optimizer),
        "loss": _digest(loss),
        "metrics": _digest([[*compiling.metric_names(metrics)], metrics]),
        "steps at once": model.steps_per_execution,
        # What is computed alike in name may be other numbers in another version.
        "computation": COMPUTATION,
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
    found = _of_attributes(plan, "the plan", *_BESIDE)
    names = []
    for stage in stages:
        names.append(str(getattr(stage, "name", "")))
        found |= _of_attributes(stage, names[-1], "name")
        found |= _of_code(stage, names[-1])
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
                text = cell if isinstance(cell, str) else _text(cell)
                data = text.encode("utf-8", "surrogatepass")
                # With its length, as one might end another.
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


def _of_attributes(given: object, owner: str, *beside: str) -> Facts:
    known = {name: value for name, value in vars(given).items() if not name.startswith("_")}
    return {
        f"{name} of {owner}": _short(describing.described(value))
        for name, value in known.items()
        if name not in beside
    }


def _of_code(given: object, owner: str) -> Facts:
    code = describing.code_of(type(given))
    return {f"code of {owner}": _digest(code)} if code else {}


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


def _short(value: Json) -> Json:
    return _digest(value) if len(json.dumps(value)) > _MOST_CHARACTERS else value


def _digest(given: object) -> str:
    return f"{DIGEST}{hashlib.sha256(_text(given).encode()).hexdigest()}"


def _text(given: object) -> str:
    return json.dumps(describing.described(given), sort_keys=True)
