"""Exported models loaded back."""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import tensorflow as tf
import tensorflow_text  # noqa: F401  registers the ops of the preprocessor

from tfhub_transfer import runtime
from tfhub_transfer.data import text_forms
from tfhub_transfer.data.batching import STREAMS, LengthBatches
from tfhub_transfer.errors import InputError
from tfhub_transfer.graphs import safety
from tfhub_transfer.incoming import wording
from tfhub_transfer.runtime import probes, threads
from tfhub_transfer.storage import opening
from tfhub_transfer.texts.joining import is_listed, padded, plain, split_words

# A text, or one as UTF-8.
Text: TypeAlias = str | bytes
# The name that TF Serving takes where none is asked for.
SIGNATURE = "serving_default"
# The one that gives vectors.
ENCODE = "encode"
# One that reads words.
WORDS = "words"
# The only input of those that read serialized `tf.Example`: in requests of any kind, and in those
# that TF Serving classifies or regresses.
EXAMPLES, INPUTS = "examples", "inputs"


def signature_of(name: str, kind: str) -> str:
    """What a signature of some kind is called, beside the one that reads texts."""
    return kind if name == SIGNATURE else f"{name}_{kind}"


def labels_file(name: str) -> str:
    """The asset of an export that has the names of classes, of the signature that reads texts."""
    return "labels.txt" if name == SIGNATURE else f"{name}_labels.txt"


def words_signature(name: str) -> str:
    """The signature that reads words, of the one that reads texts."""
    return signature_of(name, WORDS)


class ServedModel:
    """An exported model loaded back: it needs TensorFlow and tensorflow-text only.

    Args:
        folder: A version's folder, or the folder of versions, of which the newest is taken.
        trust_code: Whether it may hold operations that do more than compute.

    Raises:
        InputError: If there is no exported model, or it may not be loaded.
    """

    def __init__(self, folder: str | Path, trust_code: bool = False) -> None:
        self.folder = newest(opening.path_of(folder))
        try:
            self._loaded = safety.load_checked(self.folder, trust_code)
        except InputError:
            raise
        except Exception as error:  # TensorFlow raises a dozen kinds here, all meaning "damaged"
            reason = " ".join(str(error).split())[:200] or type(error).__name__
            raise InputError(
                f"the exported model is damaged; export it again. Received: {folder} ({reason})"
            ) from error
        if not hasattr(self._loaded, "lengths_of"):
            raise InputError(
                "the SavedModel isn't an export of a trained model; expected what "
                f"`tfhub-transfer export` or `export_saved_model` wrote. Received: {folder}"
            )

    @property
    def signatures(self) -> Mapping[str, Any]:
        """What answers, by the name of its signature: concrete functions of TensorFlow."""
        return self._loaded.signatures

    @property
    def tasks(self) -> list[str]:
        """The names of the signatures that answer texts as a task does, in an order for people."""
        return sorted(self._loaded.lengths_of)

    def inputs_of(self, signature: str) -> list[str]:
        """The names of a signature's inputs, in the order in which a row has them.

        Args:
            signature: Its name.
        """
        if signature in self._loaded.lengths_of:
            return [spec.name for spec in self._loaded.lengths_of[signature].input_signature]
        return sorted(self._loaded.signatures[signature].structured_input_signature[1])

    def answer(self, signature: str, inputs: Mapping[str, object]) -> dict[str, np.ndarray]:
        """What a server gives for one batch, as it is: neither sorted nor checked.

        Args:
            signature: The name of one of `signatures`.
            inputs: Strings by the names of its inputs, or numbers where it takes some.
        """
        function = self._loaded.signatures[signature]
        specs = function.structured_input_signature[1]
        given = {name: tf.constant(value, specs[name].dtype) for name, value in inputs.items()}
        with runtime.precision("float32"):  # what is in bfloat16 was exported so
            found = function(**given)
        return {name: value.numpy() for name, value in sorted(found.items())}

    def predict(
        self, texts: Iterable[object], batch_size: int = 64, signature: str = SIGNATURE
    ) -> dict[str, np.ndarray]:
        """What a signature gives for these texts, or pairs `(a, b)`.

        Args:
            texts: Any number of them; they are answered in batches of like length. For tags of
                words they may all be lists of words.
            batch_size: Texts in a batch.
            signature: The name of the task, for a model of several; or `encode`, or `words` (of
                several tasks `NAME_words`), which reads lists of words only, or `top_k`.

        Returns:
            Each of the signature's answers `[n, ...]`, in the order of the texts.

        Raises:
            InputError: If the batch size is below 1, there is no such signature, it takes another
                number of texts, or one is neither a string nor bytes.
        """
        if signature == ENCODE and signature in self._loaded.signatures:
            return {"embedding": self.encode(texts)}
        signature, texts = self._of_texts(signature, texts)
        lengths_of = self._lengths_of(signature)
        names = [spec.name for spec in lengths_of.input_signature]
        words = words_signature(signature)
        has_words = words in self._loaded.signatures
        found = [_checked(column) for column in text_forms.columns(texts, names, has_words)]
        given, function = {}, self._loaded.signatures[signature]
        if has_words and any(map(_is_listed, found[0])):
            function = self._loaded.signatures[words]
            given, found = (
                {"tokens": _tokens(_in_words(found[0]))},
                [[plain(text) if isinstance(text, str) else "" for text in found[0]]],
            )
        columns = [tf.constant(column, tf.string) for column in found]
        given = given or dict(zip(names, columns))

        def run(batch: np.ndarray) -> dict[str, np.ndarray]:
            asked = {n: tf.gather(c, batch) for n, c in given.items()}
            with runtime.precision("float32"):  # what is in bfloat16 was exported so
                return {key: value.numpy() for key, value in function(**asked).items()}

        lengths = lengths_of(*columns).numpy()
        batches = list(LengthBatches.in_order(lengths, batch_size))
        # Asked even of no texts, the signature says the shapes of its answers.
        batches = batches or [np.arange(0)]
        parts = list(threads.side_by_side(run, batches, STREAMS))
        place = np.argsort(np.concatenate(batches))
        answers = {key: joined([part[key] for part in parts])[place] for key in parts[0]}
        for values in answers.values():
            if values.dtype.kind == "f":
                probes.require_numbers(values, found[-1], np.arange(len(values)))
        return answers

    def _of_texts(self, signature: str, texts: Iterable[object]) -> tuple[str, Iterable[object]]:
        """The signature that reads texts, of one that reads words, for which all are lists."""
        for name in self._loaded.lengths_of:
            if words_signature(name) == signature and signature in self._loaded.signatures:
                texts = texts if hasattr(texts, "keys") else wording.listed(texts)
                if isinstance(texts, list) and any(isinstance(t, (str, bytes)) for t in texts):
                    raise InputError(
                        "the signature reads texts as lists of words. Received: a string among "
                        f"them for {signature!r}"
                    )
                return name, texts
        return signature, texts

    def _lengths_of(self, signature: str) -> tf.types.experimental.PolymorphicFunction:
        known = self._loaded.lengths_of
        if signature not in known:
            raise InputError(
                f"the exported model answers {', '.join(sorted(self._readable()))}; name "
                f"one of them as `signature`. Received: {signature!r}"
            )
        return known[signature]

    def _readable(self) -> Iterator[str]:
        """The signatures that read texts or words, and no serialized examples."""
        for name, function in self._loaded.signatures.items():
            _, inputs = function.structured_input_signature
            if not {EXAMPLES, INPUTS} & inputs.keys():
                yield name

    def encode(self, texts: Iterable[object]) -> np.ndarray:
        """The encoder's vector of each text, float32 `[n, dimension]`."""
        text = tf.constant(_checked(text_forms.columns(texts, ["text"])[0]), tf.string)
        with runtime.precision("float32"):
            return self._loaded.signatures["encode"](text=text)["embedding"].numpy()


def _checked(texts: list[object]) -> list[Text]:
    """Strings, or bytes, which are taken as UTF-8."""
    return [
        text if isinstance(text, bytes) else wording.require_text(text, f"row {row} of the texts")
        for row, text in enumerate(texts, start=1)
    ]


def _is_listed(text: Text) -> bool:
    return isinstance(text, str) and is_listed(text)


def _in_words(texts: list[Text]) -> list[list[str]]:
    """Lists of words that were put together, apart again."""
    for text in texts:
        alone = isinstance(text, str) and (len(text) == 1 or text.isalnum())
        if text and not (_is_listed(text) or alone):
            raise InputError(
                "texts must all be lists of words, or all be plain texts. Received: lists of words "
                f"and {text[:60]!r}"
            )
    return [split_words(text) if isinstance(text, str) and text else [] for text in texts]


def _tokens(rows: list[list[str]]) -> tf.Tensor:
    """Words `[n, most]` as a signature takes them."""
    for number, row in enumerate(rows, start=1):
        if len(row) and row[-1] == "":
            raise InputError(
                "the last word of a list can't be empty, which stands for no word; leave it out. "
                f"Received: {list(row)[-3:]} in row {number}"
            )
    for word in (word for row in rows for word in row):
        wording.require_text(word, "the words")
    return tf.constant(padded(rows), tf.string, shape=[len(rows), max(map(len, rows))])


def joined(parts: Sequence[np.ndarray]) -> np.ndarray:
    """One array of parts, of which some may be wider than others, as words and entities are.

    Args:
        parts: Rows `[n, ...]`; what is narrower is filled up as exports fill it up.
    """
    widest = np.max([part.shape[1:] for part in parts], axis=0)
    wide = []
    for part in parts:
        missing = [(0, 0), *((0, most - has) for most, has in zip(widest, part.shape[1:]))]
        filler: bytes | int = b"" if part.dtype == object else 0
        wide.append(np.pad(part, missing, constant_values=filler))
    return np.concatenate(wide)


def load_saved_model(folder: str | Path, trust_code: bool = False) -> ServedModel:
    """Loads what `export_saved_model` wrote.

    Args:
        folder: A version's folder, or the folder of versions, of which the newest is taken.
        trust_code: Whether it may hold operations that do more than compute: files, the network,
            Python. Only for models whose makers you trust; see `SECURITY.md`.

    Raises:
        InputError: If there is no exported model, or it holds such an operation unallowed.

    Example:

    >>> folder = export_saved_model(model, "out/reviews")
    >>> load_saved_model(folder).predict(["What a lovely film"])["scores"].shape
    (1, 2)
    """
    return ServedModel(folder, trust_code)


def newest(folder: Path) -> Path:
    """The folder of an exported version.

    Args:
        folder: It, or the folder of versions, of which the newest is taken.

    Raises:
        InputError: If there is none.
    """
    if (folder / "saved_model.pb").exists():
        return folder
    # Not by `isdigit`, for which "²" is a number: what servers take for versions.
    numbered = (p for p in folder.glob("*") if re.fullmatch("[0-9]+", p.name))
    versions = [p for p in numbered if (p / "saved_model.pb").exists()]
    if not versions:
        within = f", such as {folder / 'serving'}" if (folder / "serving").is_dir() else ""
        raise InputError(
            f"no exported model there; expected a folder that `export_saved_model` wrote{within}. "
            f"Received: {folder}"
        )
    # As numbers: version 10 is newer than 9.
    return max(versions, key=lambda p: int(p.name))
