"""What lies beside a model that reads ids: vocabulary, tokenizer, names of classes."""

import itertools
import json
import re
import shutil
import warnings
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import keras
import tensorflow as tf

from tfhub_transfer.encoders import hub_format, spelling
from tfhub_transfer.encoders.preprocessing import TextPreprocessor
from tfhub_transfer.errors import InputError
from tfhub_transfer.models.transfer import TransferModel, require_model
from tfhub_transfer.serving import wordpiece
from tfhub_transfer.serving.served import SIGNATURE, labels_file
from tfhub_transfer.serving.wordpiece import Tokenizer

# What ends a line for one reader or another.
_ENDS = re.compile("[\n\r\v\f\x1c-\x1e\x85\u2028\u2029]")
DESCRIPTION, _VOCABULARY = "model.json", "vocab.txt"
# Texts that tokenizers of different habits read differently; a few are longer than encoders take.
_PROBES = (
    *("The films weren't bad!", "ÉCOLE naïve Ünder İstanbul ΣΊΣΥΦΟΣ", "日本語のテキスト 漢字"),
    *(
        "good 🙂🙂 film\u200d\u00ad",
        "a\tb\u00a0c\u3000d\x0be\u2028f",
        "",
        "$5+5=10 `x` ^~|",
        "х" * 120,
    ),
    *("\ufffd\u0000zero", "Привет, мир", "नमस्ते दुनिया", "한국어 문장", "good bad " * 300),
)


def check(model: TransferModel, runtime: str) -> None:
    """Refuses a model that a runtime without TensorFlow couldn't ask as TensorFlow does.

    Args:
        model: What is to be exported.
        runtime: Whose, to be said.

    Raises:
        InputError: If its encoder reads texts, or a task asks it again and again.
    """
    require_model(model)
    if model.encoder.dialect == "text":
        raise InputError(
            f"{runtime} reads ids, and this encoder texts, which it cuts itself; export it with "
            "`export_saved_model`, or train with an encoder of word pieces. "
            f"Received: {model.encoder.handle}"
        )
    written = [part.task.name for part in model.parts.values() if part.task.search is not None]
    if written:
        raise InputError(
            f"{runtime} would need a search for texts outside of the model; export it with "
            f"`export_saved_model`. Received: the {written[0]} task"
        )
    again = [part.task.name for part in model.parts.values() if part.task.runs_again]
    if again:
        raise InputError(
            f"{runtime} runs a model once, and this task asks it again with what it said; export "
            f"it with `export_saved_model`. Received: the {again[0]} task"
        )


def input_specs(model: TransferModel, batch: int | None) -> dict[str, tf.TensorSpec]:
    """What the exported model reads, by name: ids of any length.

    Args:
        model: What is exported.
        batch: How many rows; any number if `None`.
    """
    return {
        tensor.name: tf.TensorSpec(_shape(tensor, batch), tf.int32, name=tensor.name)
        for tensor in sorted(model.inputs, key=lambda tensor: tensor.name)
    }


def _shape(tensor: keras.KerasTensor, batch: int | None) -> list[int | None]:
    # In towers a row is two texts, of which runtimes want to know the number.
    return [batch, None] if len(tensor.shape) == 2 else [batch, 2, None]


def outputs(model: TransferModel) -> dict[str, str]:
    """What the exported model gives for each of its tasks: the output's name."""
    return {name: f"{name}_scores" if name else "scores" for name in model.parts}


def named_scores(model: TransferModel, ids: Mapping[str, tf.Tensor]) -> dict[str, tf.Tensor]:
    """What the model answers, by the names of `outputs`.

    Args:
        model: What is exported.
        ids: Its inputs.
    """
    made = model.answer(dict(ids))
    named = outputs(model)
    if isinstance(made, Mapping):
        return {named[name]: made[name] for name in model.parts}
    return {named[name]: made for name in model.parts}


def write(model: TransferModel, folder: Path, files: Mapping[str, Mapping[str, object]]) -> None:
    """Writes them.

    Args:
        model: What was exported.
        folder: Where it lies.
        files: What is said of each file of a model, by its name.
    """
    found = tokenizer(model.preprocessor, model.layout.inputs(model.encoder))
    if found is not None:
        text = "".join(f"{piece}\n" for piece in found.vocabulary)
        (folder / _VOCABULARY).write_bytes(text.encode("utf-8"))
        shutil.copyfile(wordpiece.__file__, folder / "wordpiece.py")
    else:
        warnings.warn(
            "no tokenizer lies beside the model: its preprocessor isn't BERT's word pieces, "
            "or puts a prompt before texts, so ids must come from `model.preprocess`",
            stacklevel=5,
        )
    said = {
        "files": files,
        "inputs": list(input_specs(model, None)),
        "texts_apart": is_apart(model.layout.inputs(model.encoder)),
        "tokenizer": None if found is None else _settings(found),
        "tasks": {name: _task(model, name, folder) for name in model.parts},
    }
    text = json.dumps(said, indent=1, ensure_ascii=False, default=str)
    (folder / DESCRIPTION).write_text(text + "\n", encoding="utf-8")


def tokenizer(preprocessor: TextPreprocessor, names: Mapping[str, Any]) -> Tokenizer | None:
    """The one in plain Python whose ids are those of a preprocessor; `None` if there is none.

    Args:
        preprocessor: The model's.
        names: The model's inputs.
    """
    source = getattr(preprocessor, "source", None)
    if getattr(preprocessor, "prompt", ""):
        return None  # it knows nothing that precedes texts
    for file in [] if source is None else spelling.vocabularies(source):
        pieces = hub_format.read_vocabulary(file)
        for lower, strip in itertools.product((True, False), repeat=2):
            length = preprocessor.sequence_length
            made = Tokenizer(pieces, length, lower, strip, [*names], is_apart(names))
            if _agrees(made, preprocessor):
                return made
    return None


def _agrees(made: Tokenizer, preprocessor: TextPreprocessor) -> bool:
    special = ("[CLS]", "[SEP]", "[PAD]", "[UNK]")
    if any(token not in made.known for token in special):
        return False
    plain = [made.ids(text) for text in _PROBES]
    # A copy would tell words apart, if the model's does.
    expected = preprocessor.tokenize(tf.constant(_PROBES)).to_list()
    return plain == expected


def _settings(found: Tokenizer) -> dict[str, object]:
    return {
        "vocabulary": _VOCABULARY,
        "lower_case": found.lower_case,
        "strip_accents": found.strip_accents,
        "sequence_length": found.length,
    }


def write_lines(path: Path, names: Iterable[str]) -> None:
    """Writes names of classes, one a line; in the names line ends are spelled as Python does.

    Whoever reads the file counts lines: one more would give each class behind it another's name.

    Args:
        path: The file.
        names: The names, in the order of the scores.
    """
    lines = (_ENDS.sub(lambda end: repr(end.group())[1:-1], name) for name in names)
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")


def is_apart(names: Mapping[str, Any]) -> bool:
    """Whether each text has a row of its own, beside others of its example."""
    return any(len(tensor.shape) == 3 for tensor in names.values())


def _task(model: TransferModel, name: str, folder: Path) -> dict[str, object]:
    task = model.parts[name].task
    said = {
        "task": task.name,
        "reads": list(model.parts[name].layout.signature),
        "listed": model.parts[name].layout.by_unit,
        "output": outputs(model)[name],
        "settings": task.get_config(),
    }
    if task.class_names:
        file = labels_file(name or SIGNATURE)
        write_lines(folder / file, task.class_names)
        said["labels"] = file
    return said
