"""Run by tests of several processes that train as one, which are forked from this one.

Each process of its own, because processes meet before TensorFlow begins; forked from one that has
only imported it, which takes longer than most cases.

    python tests/runtime/workers_job.py  # reads lines, each a JSON list of CASE, COUNT and what the
        # case takes; answers with the processes' ids, and when all have ended with their statuses
"""

import contextlib
import json
import os
import sys
import traceback
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

import tfhub_transfer as tt
from tfhub_transfer.callbacks.best_weights import KeepBest
from tfhub_transfer.jobs.processes import launching
from tfhub_transfer.runtime import cluster

PLAN = tt.Plan(learning_rate=1e-2, head_epochs=1, verbose=0)


def floats(model: Any) -> list[np.ndarray]:
    """All weights but flags."""
    return [w.numpy() for w in model.weights if w.dtype.startswith("float")]


def built(where: tf.distribute.Strategy, encoder: str, row: str) -> tuple[Any, Any]:
    """A model and its examples, by SGD, whose steps show gradients as they are.

    Steps of a size by which losses shrink: where they grow, as those of numbers did to 52 at 0.1,
    the last bit grows with them, to 1e-5.
    """
    import samples  # it starts TensorFlow

    sample = samples.ROWS[row]
    tt.runtime.seed_everything(3)
    with where.scope():
        optimizer = keras.optimizers.SGD(0.01)
        return tt.build_model(encoder, sample.task(), sample.head, optimizer), sample.examples


def tuned(where: tf.distribute.Strategy, encoder: str, row: str) -> list[np.ndarray]:
    """What a head and then a thawed group learn."""
    model, examples = built(where, encoder, row)
    tt.fine_tune(model, examples, examples, 1, unfreeze=1, batch_size=7, plan=PLAN)
    answers = model.predict(model.preprocess(examples, 7, shuffle=False), verbose=0)
    return [*floats(model), *map(np.asarray, tf.nest.flatten(answers))]


def by_hand(where: tf.distribute.Strategy, encoder: str, row: str) -> list[np.ndarray]:
    """What Keras' own loop learns while groups thaw, and what it measures and predicts."""
    model, examples = built(where, encoder, row)
    thawing = tt.ProgressiveUnfreezing(start_epoch=0, epochs_per_group=1, num_groups=2)
    batches = model.preprocess(examples, 7)
    losses: list[float] = []
    told = keras.callbacks.LambdaCallback(
        on_train_batch_end=lambda at, logs: losses.append(logs["loss"])
    )
    history = model.fit(batches, epochs=2, callbacks=[thawing, told], verbose=0)
    measured = model.evaluate(
        model.preprocess(examples, 7, shuffle=False), return_dict=True, verbose=0
    )
    scores = model.predict_scores(examples)
    curves = [np.array(values) for _, values in sorted(history.history.items())]
    return [
        *floats(model),
        *curves,
        np.array(losses),
        np.array(sorted(measured.values())),
        *map(np.asarray, tf.nest.flatten(scores)),
    ]


def learn(output: str, encoder: str, *cases: str) -> None:
    """Trains with the others; the first then alone, as it would without them.

    Args:
        output: A folder for what was learned, `INDEX.npz` and `alone.npz`.
        encoder: Of the models.
        cases: Of what, each `FUNCTION ROW`.
    """
    strategy = tt.runtime.strategy("multiworker")
    place = cluster.place()
    cluster._AT_ONCE = 300  # what they tell each other comes in several pieces
    # Each sees its own number, and all hear of the chief's.
    assert cluster.decided(strategy, lambda: place.index + 0.5) == 0.5
    assert not cluster.everywhere(strategy, place.index == 0) and all(cluster.others_answer(60.0))
    # As in the other tests where it isn't looked at: half a second for each graph.
    tf.config.optimizer.set_experimental_options({"disable_meta_optimizer": True})
    # Which makes nothing out of gradients that are 0 but for their last bit, as those of a bias
    # that all candidates of a softmax share.
    keras.optimizers.Adam = keras.optimizers.SGD
    # Whichever weights are best on validation, the last are those to look at.
    KeepBest.restore = lambda self: None
    wheres = {str(place.index): strategy}
    if place.index == 0:
        wheres["alone"] = tt.runtime.strategy("none")
    for name, where in wheres.items():
        learned: dict[str, np.ndarray] = {}
        for case in cases:
            function, _, row = case.partition(" ")
            # What is done by hand stands in the scope of the strategy, as users may have it.
            scope = where.scope() if function == "by_hand" else contextlib.nullcontext()
            with tt.runtime.precision("float32"), scope:
                made = {"tuned": tuned, "by_hand": by_hand}[function](where, encoder, row)
            learned |= {f"{case} {place}": each for place, each in enumerate(made)}
        np.savez(Path(output) / f"{name}.npz", **learned)
    cluster.together()
    if any(case.startswith("by_hand") for case in cases):
        refused(strategy, encoder, place)


def refused(strategy: tf.distribute.Strategy, encoder: str, place: cluster.Place) -> None:
    """That batches which differ are, in all processes; after it they can't go on together."""
    with strategy.scope():
        model, examples = built(strategy, encoder, "classification")
    shard = (place.index, place.count)
    with contextlib.suppress(tt.InputError):
        model.fit(model.preprocess(examples, 7, shard=shard), verbose=0)
        raise AssertionError("processes train on batches that differ")


def command(output: str, *words: str) -> int:
    """Runs a command; what it says is in `INDEX.txt` of a folder."""
    from tfhub_transfer import cli
    from tfhub_transfer.training import checkpoints

    checkpoints.LEAST_SECONDS = 0.0
    checkpoints._TIMES = 0
    with open(Path(output) / f"{cluster.configured().index}.txt", "a", 1) as said:
        os.dup2(said.fileno(), 1)
        os.dup2(said.fileno(), 2)
        # Files of which each process has its own.
        status = cli.main([w.replace("INDEX", str(cluster.configured().index)) for w in words])
        sys.stdout.flush()
    return status


def forked(case: str, output: str, *given: str) -> int:
    """The id of a process that runs a case; its traceback is in `error-INDEX.txt`."""
    child = os.fork()
    if child:
        return child
    status = 1
    try:
        status = {"learn": learn, "command": command}[case](output, *given) or 0
    except BaseException:
        error = Path(output, f"error-{cluster.configured().index}.txt")
        error.write_text(traceback.format_exc(), encoding="utf-8")
    finally:
        os._exit(status)


if __name__ == "__main__":
    for line in sys.stdin:
        case, count, *given = json.loads(line)
        children = []
        for os.environ["TF_CONFIG"] in launching._configs(count):
            children.append(forked(case, *given))
        print(json.dumps(children), flush=True)
        statuses = [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children]
        print(json.dumps(statuses), flush=True)
