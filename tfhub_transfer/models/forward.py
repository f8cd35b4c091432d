"""Rows through the graphs of a model, sorted by length; answers in the rows' own order."""

from collections.abc import Callable, Hashable, Mapping
from typing import Protocol, TypeAlias

import numpy as np
import tensorflow as tf

from tfhub_transfer import progress, runtime
from tfhub_transfer.data import Examples
from tfhub_transfer.data.batching import STREAMS, LengthBatches, longest
from tfhub_transfer.encoders.encoder import Encoder
from tfhub_transfer.encoders.preprocessing import TextPreprocessor, Truncation
from tfhub_transfer.errors import InputError
from tfhub_transfer.runtime import precision_choice, threads
from tfhub_transfer.tasks import layouts
from tfhub_transfer.tasks.layouts import Layout
from tfhub_transfer.texts.joining import WORD_STARTS

EVALUATION_BATCH = 128
ANSWER, VECTOR, FEATURES = "answer", "vector", "features"
# As `ANSWER`, with a number behind the scores of each row: how near it is to what was trained on.
SCOPED = "scoped answer"
# What a graph made of each row: one array, or where rows have units one for each row.
Made: TypeAlias = np.ndarray | list[np.ndarray]
# Of a graph: its name, its precision, and what the layout says that it depends on.
_Key: TypeAlias = tuple[str, str, Hashable]


class Forward:
    """One graph for each thing that can be asked of a model, whatever the batch's shape.

    Args:
        encoder: The model's encoder.
        layout: What turns rows into ids.
        functions: By name what gives `answer`, `vector` or `features` of a batch of ids.
    """

    def __init__(
        self,
        encoder: Encoder,
        layout: Layout,
        functions: Mapping[str, Callable[[dict[str, tf.Tensor]], tf.Tensor]],
    ) -> None:
        self._encoder, self._layout, self._functions = encoder, layout, functions
        self._graphs: dict[_Key, tf.types.experimental.ConcreteFunction] = {}

    def run(
        self, name: str, examples: Examples, batch_size: int = EVALUATION_BATCH
    ) -> tuple[Made, np.ndarray]:
        """What a graph makes of rows.

        Args:
            name: Which graph.
            examples: The rows.
            batch_size: How many of average length are in a batch.

        Returns:
            An array `[rows, ...]`; of units answers as a list of `[units, ...]`. And how many
            tokens each row lost, int `[rows]`.

        Raises:
            InputError: If there are no rows.
        """
        if not len(examples):
            raise InputError("expected at least one text. Received: none")
        # Vectors are those of single texts, whatever the task.
        reader: Layout | TextPreprocessor
        reader = self._layout.preprocessor if name == VECTOR else self._layout
        encoded, lost = reader.encode_and_count(examples.texts)
        if name in (ANSWER, SCOPED):
            batch_size = self._layout.rows_at_once(self._encoder, batch_size)
        batches = LengthBatches.in_order(longest(encoded), batch_size)
        with (
            progress.part(f"{name.removesuffix('s')}s", len(batches)) as steps,
            runtime.precision("auto", self._encoder.dimension) as precision,
        ):
            graph = self.graph(name, precision)

            def run(rows: np.ndarray) -> np.ndarray:
                picked = {key: tf.gather(value, rows) for key, value in encoded.items()}
                padded = reader.pad(picked, batches.buckets)
                with runtime.precision(precision):  # of this thread
                    return graph({key: padded[key] for key in wanted}).numpy()

            order, wanted = list(batches), graph.structured_input_signature[0][0]
            parts = []
            for part in threads.side_by_side(run, order, STREAMS):
                parts.append(part)
                steps.add()
        if name == ANSWER and self._layout.by_unit:
            return _of_units(order, parts, encoded[WORD_STARTS].row_lengths().numpy()), lost
        return _in_order(order, parts), lost

    def can(self, name: str) -> bool:
        """Whether that can be asked.

        Args:
            name: Which graph.
        """
        return name in self._functions

    def forget(self, name: str) -> None:
        """Has a graph traced anew when it is asked for next, since it is another by now.

        Args:
            name: Which graph.
        """
        self._graphs = {key: graph for key, graph in self._graphs.items() if key[0] != name}

    def graph(self, name: str, precision: str) -> tf.types.experimental.ConcreteFunction:
        """The graph of one thing at one precision, traced when it is asked for first.

        Args:
            name: Which graph.
            precision: What `runtime.precision` gave.
        """
        # What is traced keeps the precision that it was traced at.
        key = name, precision, self._layout.asked_how
        if key not in self._graphs:
            make = layouts.encoder_inputs if name == VECTOR else self._layout.asked_inputs
            spec = {
                key: tf.TensorSpec(tensor.shape, tensor.dtype)
                for key, tensor in make(self._encoder).items()
            }
            made = tf.function(self._functions[name], input_signature=[spec], autograph=False)
            # TensorFlow warns of retracing when one line of code is traced for several models.
            with precision_choice.without_gradients():
                self._graphs[key] = made.get_concrete_function()
        return self._graphs[key]


def _in_order(order: list[np.ndarray], parts: list[np.ndarray]) -> np.ndarray:
    joined = np.concatenate(parts)
    answers = np.empty_like(joined)
    answers[np.concatenate(order)] = joined
    return answers


def _of_units(
    order: list[np.ndarray], parts: list[np.ndarray], counts: np.ndarray
) -> list[np.ndarray]:
    """Each row's answers, in the rows' own order, without those of padding."""
    made = {row: answer for rows, part in zip(order, parts) for row, answer in zip(rows, part)}
    return [made[row][:count] for row, count in enumerate(counts)]


class Asked(Protocol):
    """What of a model asks and is told."""

    forward: Forward
    truncation: Truncation | None


def run(model: Asked, name: str, examples: Examples, batch_size: int = EVALUATION_BATCH) -> Made:
    """As `Forward.run`, and tells the model what was cut off.

    Args:
        model: A `TransferModel`.
        name: Which graph.
        examples: The rows.
        batch_size: How many of average length are in a batch.
    """
    answers, lost = model.forward.run(name, examples, batch_size)
    model.truncation = Truncation.count(lost)
    return answers
