"""A training's curves as files of events, which TensorBoard reads."""

import itertools
import os
import socket
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import tensorflow as tf

_VERSION = "brain.Event:2"
_NUMBERS = itertools.count()


class EventFile:
    """A file of events in a folder, beside those of earlier processes.

    Args:
        folder: The folder; made if need be. TensorBoard shows it as a run of its name.
        step: What other files there hold from this step on was lost, or is of another training:
            TensorBoard passes it over.

    Raises:
        OSError: If it can't be written.
    """

    def __init__(self, folder: Path, step: int) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        now, host = f"{time.time():010.0f}", socket.gethostname()
        path = folder / f"events.out.tfevents.{now}.{host}.{os.getpid()}.{next(_NUMBERS)}"
        path.touch()  # what TensorFlow raises is no `OSError`
        self._writer = tf.io.TFRecordWriter(str(path))
        self._write(0, file_version=_VERSION)
        begun = tf.compat.v1.SessionLog(status=tf.compat.v1.SessionLog.START)
        self._write(step, session_log=begun)

    def scalars(self, values: Mapping[str, float], step: int) -> None:
        """Adds points of curves.

        Args:
            values: By the names of the curves.
            step: Where they stand.

        Raises:
            OSError: If it can't be written.
        """
        summary = tf.compat.v1.Summary()
        for name, value in values.items():
            summary.value.add(tag=name, simple_value=value)
        self._write(step, summary=summary)

    def text(self, name: str, markdown: str, step: int) -> None:
        """Adds a text.

        Args:
            name: Its name.
            markdown: The text.
            step: Where it stands.

        Raises:
            OSError: If it can't be written.
        """
        plugin = tf.compat.v1.SummaryMetadata.PluginData(plugin_name="text")
        tensor = tf.make_tensor_proto(np.array([markdown.encode("utf-8")], object), tf.string)
        summary = tf.compat.v1.Summary()
        metadata = tf.compat.v1.SummaryMetadata(plugin_data=plugin)
        summary.value.add(tag=name, tensor=tensor, metadata=metadata)
        self._write(step, summary=summary)

    def _write(self, step: int, **event: object) -> None:
        made = tf.compat.v1.Event(wall_time=time.time(), step=step, **event)
        self._tell(lambda: self._writer.write(made.SerializeToString()))
        self._tell(self._writer.flush)

    def _tell(self, write: Callable[[], None]) -> None:
        try:
            write()
        except tf.errors.OpError as error:
            raise OSError(error.message) from error
