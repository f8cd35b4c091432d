"""An encoder's graph and the variables that it is bound to, wherever the graph comes from.

From a handle; from a handle's files, if they are on this machine; or out of a `.keras` file, which
has the graph and its assets beside the weights.
"""

import contextlib
import contextvars
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import tensorflow as tf

from tfhub_transfer.encoders import loading, recorded, registry, variable_groups
from tfhub_transfer.errors import InputError
from tfhub_transfer.graphs.safety import SavedObject
from tfhub_transfer.runtime import probes
from tfhub_transfer.storage.scratch import temporary_folder

_FROM_FILE = contextvars.ContextVar("from_file", default=False)


class Binding(NamedTuple):
    """A SavedModel at work: where it is from, what was made of it, its call, its variables."""

    source: registry.EncoderSource
    loaded: SavedObject
    functions: loading.Functions
    variables: list[tf.Variable]

    def spec(self) -> recorded.Spec:
        """What a file is to record of it."""
        captured = self.functions.captured
        return {
            "dialect": self.functions.dialect,
            "outputs": self.functions.outputs,
            "variables": variable_groups.specs(self.variables, self.loaded, captured),
        }


@contextlib.contextmanager
def graphs_from_file() -> Iterator[None]:
    """While it is open, an encoder made from a configuration looks for no graph by its handle.

    For loading a file that holds the graph itself: it follows as `load_assets`.
    """
    token = _FROM_FILE.set(True)
    try:
        yield
    finally:
        _FROM_FILE.reset(token)


def of_handle(source: registry.EncoderSource, trust_code: bool) -> Binding:
    """Of what a handle names, fetched or converted if need be.

    Args:
        source: The handle, looked up once for all.
        trust_code: Whether it may hold operations that do more than compute.

    Raises:
        InputError: If it isn't a usable encoder, or could never be put into a file.
    """
    loaded, variables = loading.load(source.folder, trust_code=trust_code)
    loading.require_copyable(source.folder)
    functions = loading.Functions(loaded, source.folder)
    # Here, because what is raised while Keras calls a layer gets a page of explanations.
    probes.ask(functions, loading.BERT_INPUTS, source.handle)
    return Binding(source, loaded, functions, variables)


def at_hand(handle: str, variables: Sequence[recorded.VariableSpec]) -> Binding | None:
    """Of a handle's SavedModel, if it is on this machine, unchanged; nothing is ever downloaded.

    Args:
        handle: As for `Encoder`.
        variables: Those that a configuration records.
    """
    if _FROM_FILE.get():
        return None
    # What can't be loaded is as good as absent: the file has the graph itself.
    with contextlib.suppress(InputError):
        folder = registry.find(handle)
        if folder is not None:
            # Not trusted with code: nobody was asked.
            loaded, found = loading.load(folder)
            source = registry.EncoderSource(handle, folder)
            made = Binding(source, loaded, loading.Functions(loaded, folder), found)
            # Shapes alone: the values come out of the file.
            shapes = [v["shape"] for v in made.spec()["variables"]]
            return made if shapes == [v["shape"] for v in variables] else None
    return None


def of_assets(
    assets: Path,
    owner: object,
    variables: list[tf.Variable],
    spec: recorded.Spec,
    handle: str,
    trust_code: bool,
) -> Binding:
    """Of a graph out of a `.keras` file, bound to a layer's variables, which keep their values.

    Args:
        assets: What `loading.copy_graph` wrote.
        owner: Who needs the files; Keras deletes `assets` afterwards, and what is saved again later
            must find them.
        variables: The layer's, in order of creation.
        spec: What the file records of the encoder.
        handle: Its handle, for messages.
        trust_code: Whether it may hold operations that do more than compute.

    Raises:
        InputError: If the graph can't be loaded, fails, or gives something else than `spec` says.
    """
    folder = temporary_folder(owner)
    shutil.copytree(assets, folder, dirs_exist_ok=True)
    loading.mark_graph(folder)
    # The weights came before the graph, whose stub of a checkpoint holds one of the smallest.
    kept = [(v, v.numpy()) for v in loading.smallest(variables)]
    loaded, _ = loading.load(folder, variables, trust_code)
    for variable, value in kept:
        variable.assign(value)
    functions = loading.Functions(loaded, folder)
    if (functions.dialect, functions.outputs) != (spec["dialect"], spec["outputs"]):
        found = {"dialect": functions.dialect, "outputs": functions.outputs}
        raise InputError(
            "the graph in the file gives something else than its configuration says. "
            f"Received: {found}"
        )
    # Of weights that a training spoilt the answers say so; there may be other uses for them.
    probes.ask(functions, loading.BERT_INPUTS, handle, allow_nan=True)
    return Binding(registry.EncoderSource(handle, folder), loaded, functions, variables)
