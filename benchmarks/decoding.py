"""How fast a decoder writes: pieces a second and milliseconds of one text, without its encoder.

    python benchmarks/decoding.py [--width 384] [--vocabulary 8000] [--threads 1] [--places]

Every text is as long as it may be, so a batch does what it says. `--places` measures
caches that have all places from the beginning, as XLA needs them. Prints a table; see
`generation.py` for whole models.
"""

import argparse
import time
from typing import Any

import numpy as np
import tensorflow as tf

from tfhub_transfer.heads.decoder import Decoder
from tfhub_transfer.heads.settings import DecoderForm
from tfhub_transfer.tasks.generation import searching
from tfhub_transfer.tasks.generation.searching import Search, Signs

# Texts in a batch, and pieces of each.
_SIZES = ((1, 12), (32, 12), (32, 40))
_SOURCE, _MOST, _REPEATS = 20, 64, 5


def main() -> None:
    """Measures, and prints."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--width", type=int, default=384)
    parser.add_argument("--vocabulary", type=int, default=8000)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--places", action="store_true")
    options = parser.parse_args()
    tf.config.threading.set_intra_op_parallelism_threads(options.threads)
    tf.config.threading.set_inter_op_parallelism_threads(options.threads)
    form = DecoderForm(width=options.width, inner_units=4 * options.width)
    decoder = Decoder(options.vocabulary, _MOST, form)
    decoder.build((None, None, options.width))
    for beams in (1, 4):
        find = _search(decoder, beams, _MOST + 1 if options.places else None)
        for batch, words in _SIZES:
            seconds, pieces = _measured(find, batch, words, options.width)
            row = f"{beams} beams, {batch:2} texts of {words}: {1e3 * seconds:7.1f} ms"
            print(f"{row}, {pieces / seconds:6.0f} pieces/s", flush=True)


def _search(decoder: Decoder, beams: int, places: int | None) -> Any:
    how = Search(beams=beams, max_length=_MOST, min_length=_MOST, thorough=True)

    @tf.function
    def find(memory: tf.Tensor, most: tf.Tensor) -> tf.Tensor:
        batch = tf.shape(memory)[0]
        state = decoder.start(memory, tf.ones(tf.shape(memory)[:2]), places=places)

        def step(ids: tf.Tensor, place: tf.Tensor, cache: Any) -> Any:
            return decoder.step(ids, place, cache, state)

        def empty(rows: tf.Tensor) -> Any:
            return decoder.empty(rows, state)

        return searching.find(step, empty, batch, Signs(2, 3), how, most=most).lengths

    return find


def _measured(find: Any, batch: int, words: int, width: int) -> tuple[float, int]:
    """The fastest of some runs, and how many pieces it wrote, ends included."""
    memory = tf.random.normal((batch, _SOURCE, width))
    pieces = int(np.sum(find(memory, tf.constant(words)) + 1))
    times = []
    for _ in range(_REPEATS):
        begun = time.perf_counter()
        find(memory, tf.constant(words)).numpy()
        times.append(time.perf_counter() - begun)
    return min(times), pieces


if __name__ == "__main__":
    main()
