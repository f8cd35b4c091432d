"""Several processes that train one model: what must be alike in all, and what the chief tells them.

Each goes through the same steps with the same batches. So each has to be given the same data and
options, of the same versions; what may be otherwise, as how fast a product is in bfloat16, the
chief decides.
"""

import contextlib
import functools
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TypeVar

import numpy as np
import tensorflow as tf

from tfhub_transfer.errors import InputError
from tfhub_transfer.models.transfer import TransferModel
from tfhub_transfer.runtime import cluster
from tfhub_transfer.storage import budget, names
from tfhub_transfer.storage.notes import Lasting
from tfhub_transfer.storage.scratch import temporary
from tfhub_transfer.tasks.layouts import Rows
from tfhub_transfer.training import identity

# Of vectors between processes, in numbers: 64 MB.
_AT_ONCE = 16_000_000
# Where notes go, in whatever form.
Given = TypeVar("Given")


def require_alike(of: tf.distribute.Strategy, facts: identity.Facts) -> None:
    """Refuses, in all processes, to train with other things in some than in the chief.

    Args:
        of: The strategy, whose processes all call this.
        facts: What the weights depend on.

    Raises:
        InputError: If they differ.
    """
    if cluster.place(of).count == 1:
        return
    own = identity.as_json(facts)
    chief = json.loads(cluster.told(of, lambda: json.dumps(own).encode()))
    odd = identity.changed(chief, own)
    if cluster.everywhere(of, not odd):
        return
    found = f"here, beside the chief, {'; '.join(odd)}" if odd else "another one differs"
    raise InputError(
        "all processes of a training are given the same data, options and versions; make them "
        f"alike. Received: {found}"
    )


def take_over(of: tf.distribute.Strategy, notes: Lasting, files: Sequence[str], goes: bool) -> bool:
    """Gives all processes the chief's notes of a training.

    Args:
        of: The strategy, whose processes all call this.
        notes: The chief's own, or a folder to put them in.
        files: Their names.
        goes: Whether the chief goes on from them.

    Returns:
        Whether it does.
    """
    place = cluster.place(of)
    if place.count == 1:
        return goes
    taken = False
    for name in files:
        pack = functools.partial(notes.packed, name) if goes else bytes
        data = cluster.told(of, pack)
        taken = taken or bool(data)
        if data and place.index:
            notes.unpack(name, data)
    return taken


@contextlib.contextmanager
def own_folder(of: tf.distribute.Strategy, given: Given) -> Iterator[Given | Path]:
    """Where a process keeps notes: the chief where it is told to, others where nobody looks."""
    if not isinstance(given, (str, Path)) or cluster.place(of).index == 0:
        yield given
        return
    with temporary() as folder:
        yield folder / "notes"


def features(model: TransferModel, rows: Rows) -> np.ndarray:
    """The features of rows, of which each process computes those of some texts, and has all.

    Args:
        model: What trains.
        rows: The rows, the same in all processes.
    """
    of = model.distribute_strategy
    place = cluster.place(of)
    if place.count == 1:
        return model.compute_features(rows)
    # By text: one that comes twice is computed once, and lies in the same store next time.
    turns = names.digests(rows.examples.texts).view("u1").reshape(len(rows), -1)
    mine = np.flatnonzero(turns[:, :4].copy().view("<u4")[:, 0] % place.count == place.index)
    found = budget.array((len(rows), model.features.shape[-1]))
    found[:] = 0.0
    if len(mine):
        own = Rows(rows.examples[mine], np.arange(len(mine)), len(mine))
        found[mine] = model.compute_features(own)
    step = max(1, _AT_ONCE // found.shape[1])
    for at in range(0, len(found), step):
        found[at : at + step] = cluster.added(of, found[at : at + step])
    model.truncation = model.count_truncation(rows)  # not that of some of them
    return found
