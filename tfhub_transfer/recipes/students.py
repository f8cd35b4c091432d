"""Small encoders cut out of a larger one: fewer layers, narrower, with fewer word pieces."""

import dataclasses
import math
import os
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np

from tfhub_transfer.encoders import conversion, hub_format
from tfhub_transfer.encoders.bert_shapes import BertShape, PooledDense, bert_variable_shapes
from tfhub_transfer.encoders.encoder import Encoder
from tfhub_transfer.encoders.families import ACTIVATIONS
from tfhub_transfer.encoders.preprocessing import make_preprocessor
from tfhub_transfer.errors import InputError
from tfhub_transfer.incoming import ranges, usual
from tfhub_transfer.storage.scratch import temporary

# The spread of BERT's own initial weights.
_SPREAD = 0.02
# Texts whose word pieces are counted at once.
_CHUNK = 2000
_WORDS = "word_embeddings/embeddings"
_DISTANCES = "relative_attention_bias/embeddings"


@dataclasses.dataclass(frozen=True)
class Anatomy:
    """What a BERT encoder in TF Hub's form consists of.

    Args:
        values: Its variables by name, as in `bert_variable_shapes`.
        shape: Its sizes.
        pieces: Its vocabulary.
        lower_case: Whether it wants lower-cased text.
        info: What its `tfhub_transfer.json` says.
    """

    values: Mapping[str, np.ndarray]
    shape: BertShape
    pieces: list[str]
    lower_case: bool
    info: Mapping[str, Any]

    @classmethod
    def of(cls, encoder: Encoder) -> "Anatomy":
        """Reads an encoder with its weights as they are now.

        Raises:
            InputError: If its variables aren't those of TF Hub's BERT, or it has no vocabulary.
        """
        values = {name: weight.value.numpy() for name, weight in bert_weights(encoder).items()}
        vocab = encoder.folder / "assets" / "vocab.txt"
        info = encoder.source.information
        shape = _shape(values, info)
        if shape is None or not vocab.is_file():
            raise InputError(
                "a student is cut out of a BERT encoder with TF Hub's names of variables, "
                "assets/vocab.txt and word vectors as wide as its layers, such as `tfhub-transfer "
                f"convert` writes of most. Received: {encoder.handle}"
            )
        lower_case = info.get("lower_case", encoder.do_lower_case)
        pieces = hub_format.read_vocabulary(vocab)
        return cls(values, shape, pieces, bool(lower_case is not False), info)

    def write(self, folder: Path, more: Mapping[str, object]) -> None:
        """Writes encoder, preprocessor and information into a folder.

        Args:
            folder: An empty folder.
            more: What is to be added to the information.
        """
        accents = self.info.get("strip_accents")
        with temporary() as work:
            vocab = work / "vocab.txt"
            vocab.write_text("".join(f"{piece}\n" for piece in self.pieces), encoding="utf-8")
            made = hub_format.bert_encoder(self.values, self.shape, vocab, self.lower_case)
            hub_format.save(made, folder, {**self.info, **more})
            hub_format.save_preprocessor(folder / "preprocessor", vocab, self.lower_case, accents)


def bert_weights(encoder: Encoder) -> dict[str, keras.Variable]:
    """A BERT's weights by their names in `bert_variable_shapes`, whatever precedes."""
    found = encoder.named_weights()
    prefix = next((n.removesuffix(_WORDS) for n in found if n.endswith(_WORDS)), "")
    return {name.removeprefix(prefix): weight for name, weight in found.items()}


def teacher_layers(teacher: int, student: int) -> list[int]:
    """For each layer of a student the teacher's that it stands for: the last, and evenly below.

    Example:

    >>> teacher_layers(6, 3)
    [1, 3, 5]
    """
    return [math.ceil((index + 1) * teacher / student) - 1 for index in range(student)]


def corpus_vocabulary(teacher: str | Encoder, texts: Sequence[str], size: int) -> list[str]:
    """The word pieces that a corpus uses most.

    Args:
        teacher: The encoder whose pieces are counted.
        texts: The corpus.
        size: How many to keep at most. Characters and special tokens aren't counted here, since
            `make_student` keeps them always.
    """
    size = ranges.whole_number("size", size, *ranges.SIZE)
    encoder = teacher if isinstance(teacher, Encoder) else Encoder(teacher)
    preprocessor = make_preprocessor(encoder, sequence_length=encoder.max_sequence_length)
    counts: Counter[int] = Counter()
    for start in range(0, len(texts), _CHUNK):
        encoded, _ = preprocessor.encode_and_count([texts[start : start + _CHUNK]])
        counts.update(encoded["input_word_ids"].flat_values.numpy().tolist())
    pieces = Anatomy.of(encoder).pieces
    words = (pieces[index] for index, _ in counts.most_common())
    return [word for word in words if len(word.removeprefix("##")) > 1][:size]


def make_student(
    teacher: str | Encoder,
    output: str | os.PathLike[str],
    layers: int = usual.STUDENT_LAYERS,
    hidden: int | None = None,
    vocabulary: Sequence[str] | None = None,
    overwrite: bool = False,
    seed: int = 0,
) -> None:
    """Writes an untrained student: a TF Hub encoder that is a part of its teacher.

    It has the teacher's every n-th layer, the last among them (Sanh et al. 2019, DistilBERT,
    https://arxiv.org/abs/1910.01108). A narrower student can't have its layers: its embeddings are
    the teacher's, projected on their principal components, and its layers start at random (Jiao et
    al. 2020, TinyBERT, https://arxiv.org/abs/1909.10351). `distill_encoder` trains it.

    Args:
        teacher: A BERT encoder in TF Hub's form, or what `Encoder` makes one of.
        output: Folder to write; it must be empty or not exist yet.
        layers: Number of layers, up to the teacher's.
        hidden: Width, a multiple of the width of one attention head; the teacher's if not given.
        vocabulary: Word pieces of the teacher to keep; special tokens and single characters are
            kept always, so that any text can be split. All but unused ones if not given.
        overwrite: Replace what is at `output`.
        seed: Seed of what starts at random.

    Raises:
        InputError: If the teacher isn't such an encoder, a size is out of range, or the output is
            occupied.

    Example:

    >>> make_student("encoders/minilm", "encoders/student", layers=2)
    """
    seed = ranges.whole_number("seed", seed, *ranges.SEED)
    hidden = ranges.given(ranges.whole_number, "hidden", hidden, 0, ranges.SIZE[1])
    layers = ranges.whole_number("layers", layers, 0, ranges.LAYERS[1])
    encoder = teacher if isinstance(teacher, Encoder) else Encoder(teacher)
    whole = Anatomy.of(encoder)
    width = whole.shape.hidden if hidden is None else hidden
    _check(whole.shape, layers, width)
    kept = conversion.kept_pieces(whole.pieces, vocabulary)
    small = dataclasses.replace(
        whole.shape,
        layers=layers,
        hidden=width,
        heads=width // whole.shape.head_size,
        intermediate=whole.shape.intermediate * width // whole.shape.hidden,
        vocabulary=len(kept),
    )
    values = _cut(whole, small, kept) if width == whole.shape.hidden else {}
    values = values or _narrowed(whole, small, kept, np.random.default_rng(seed))
    student = dataclasses.replace(
        whole, values=values, shape=small, pieces=[whole.pieces[index] for index in kept]
    )
    name = whole.info.get("name", Path(encoder.handle).name)
    more = {
        "dimension": small.pooled_width,
        "layers": layers,
        "made_by": f"students.make_student of {name}",
    }
    with conversion.whole_or_nothing(Path(output), overwrite, teacher) as folder:
        student.write(folder, {"name": Path(output).name, **more})


def _check(teacher: BertShape, layers: int, hidden: int) -> None:
    ranges.whole_number("layers", layers, 1, teacher.layers)
    if (
        not isinstance(hidden, int)
        or not 1 <= hidden <= teacher.hidden
        or hidden % teacher.head_size
    ):
        raise InputError(
            f"`hidden` must be a multiple of {teacher.head_size}, the width of one attention head, "
            f"up to the teacher's {teacher.hidden}. Received: {hidden}"
        )


def _shape(values: Mapping[str, np.ndarray], info: Mapping[str, Any]) -> BertShape | None:
    """The sizes, told by the variables; `None` if these aren't the ones of a BERT."""
    pooler = "pooler_transform/kernel" in values
    try:
        layers = sum(name.endswith("self_attention/query/kernel") for name in values)
        hidden, heads, _ = values["transformer/layer_0/self_attention/query/kernel"].shape
        shape = BertShape(
            layers=layers,
            hidden=hidden,
            heads=heads,
            intermediate=values["transformer/layer_0/intermediate/kernel"].shape[1],
            vocabulary=len(values[_WORDS]),
            positions=len(values["position_embedding/embeddings"]),
            segments=len(values.get("type_embeddings/embeddings", ())),
            # No variable tells the first token from the mean, nor one activation from another.
            mean_pooling=not pooler and info.get("pooling") != "first",
            pooler=pooler,
            activation=ACTIVATIONS.get(str(info.get("activation")), "gelu"),
            buckets=len(values.get(_DISTANCES, ())),
            dense=_dense(values, info),
            normalized=bool(info.get("normalized")),
        )
    except (KeyError, ValueError):
        return None
    expected = bert_variable_shapes(shape)
    found = {name: values[name].shape for name in expected if name in values}
    return shape if found == expected else None


def _dense(values: Mapping[str, np.ndarray], info: Mapping[str, Any]) -> tuple[PooledDense, ...]:
    """What follows upon the pooling; no variable tells its activation."""
    told = enumerate(info.get("dense") or ())
    return tuple(
        PooledDense(values[f"pooler_dense_{index}/kernel"].shape[1], str(each))
        for index, each in told
    )


def _cut(whole: Anatomy, small: BertShape, kept: Sequence[int]) -> dict[str, np.ndarray]:
    """Some of the teacher's layers and word pieces, as they are."""
    values = {}
    source = teacher_layers(whole.shape.layers, small.layers)
    for name in bert_variable_shapes(small):
        start, _, rest = name.partition("/layer_")
        index, _, end = rest.partition("/")
        of_teacher = f"{start}/layer_{source[int(index)]}/{end}" if index.isdigit() else name
        values[name] = whole.values[of_teacher]
    values[_WORDS] = values[_WORDS][kept]
    return values


def _narrowed(
    whole: Anatomy, small: BertShape, kept: Sequence[int], random: np.random.Generator
) -> dict[str, np.ndarray]:
    """Embeddings on the principal components of the teacher's; everything else at random."""
    table = whole.values[_WORDS][kept]
    # Of the covariance, width by width, not of a table of all word pieces.
    axes = np.linalg.svd(np.cov(table.T))[0][:, : small.hidden]
    values = {}
    for name, shape in bert_variable_shapes(small).items():
        if name.endswith("/embeddings") and name != _DISTANCES:
            source = table if name.startswith("word") else whole.values[name]
            made = source @ axes
        elif name.endswith("/gamma"):
            made = np.ones(shape)
        elif name.endswith(("/beta", "/bias")):
            made = np.zeros(shape)
        else:
            made = random.normal(scale=_SPREAD, size=shape)
        values[name] = made.astype(np.float32)
    return values
