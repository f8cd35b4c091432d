"""The options of `train` and `demo`, and those that every training has."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path

from tfhub_transfer.incoming import ranges, usual
from tfhub_transfer.jobs.options.declaring import FOLDER, PAIR, SLICE, Form, Trust, option

# What may be chosen is known where it is done, too: but that imports TensorFlow. A test holds both
# together.
TASKS = (
    "classification",
    "multi-label",
    "regression",
    "ordinal-regression",
    "token-classification",
    "question-answering",
    "extractive-summarization",
    "similarity",
    "translation",
    "abstractive-summarization",
    "dialogue",
    "text-generation",
    "multi-task",
)
LOSSES = ("cosine", "contrastive", "in_batch_negatives", "triplet")
OPTIMIZERS = ("adamw", "lamb", "lars", "lion", "adafactor", "nadam", "rmsprop", "sgd")
RESUME = ("auto", "only", "never")
# Times that an encoder that is taught sees each text.
ENCODER_EPOCHS = 4
TENTH = "default: a tenth of the data"


@dataclasses.dataclass(frozen=True, init=False, repr=False, eq=False)
class Start:
    """What a model begins with."""

    encoder: str = option(
        "auto",
        "or what `train` wrote; default: %(default)s, packaged; `tfhub-transfer encoders` lists "
        "names",
        metavar="NAME|HANDLE|DIR",
    )
    preprocessor: str | None = option(None, "default: the encoder's own", metavar="HANDLE|DIR")


@dataclasses.dataclass(frozen=True, init=False, repr=False, eq=False)
class Thawed:
    """How long and how fast an encoder trains that thaws, and how its vectors become one."""

    epochs: int | None = option(
        None,
        "with a thawed encoder, after the head's own; default: as many as the rows need, from 4; "
        f"{ENCODER_EPOCHS} of an encoder that is taught",
        metavar="N",
        within=ranges.EPOCHS,
    )
    batch_size: int = option(
        usual.BATCH_SIZE, "default %(default)s", metavar="N", within=ranges.BATCH_SIZE
    )
    learning_rate: float | None = option(
        None, "default: by task and encoder", metavar="X", within=ranges.LEARNING_RATE
    )
    unfreeze: str = option("auto", "groups of layers from the top", metavar="none|N|all|auto")
    pooling: str = option("auto", "auto, pooled_output, mean, first or attention")
    block: str = option("none", "over token vectors: none, cnn, bilstm or transformer")


@dataclasses.dataclass(frozen=True, init=False, repr=False, eq=False)
class Settled:
    """What is no matter of degree, and where it is written."""

    sequence_length: int | None = option(
        None,
        f"most tokens of a text; default {usual.SEQUENCE_LENGTH} or {usual.QUESTION_LENGTH}",
        metavar="N",
        within=ranges.SEQUENCE_LENGTH,
    )
    towers: bool = option(False, "each text of a pair passes the encoder on its own")
    class_weights: bool = option(False, "weigh rare classes more")
    precision: str = option("auto", choices=("auto", "float32", "bfloat16"))
    calibration: str = option(
        "auto",
        "scores of classes, tags, answers scaled to mean what they say, if validation gains",
        choices=("auto", "off"),
    )
    coverage: float | None = option(
        None,
        "answers with a set of classes, or an interval, that holds the truth so often, such as 0.9",
        metavar="X",
        within=(0.0, ranges.BELOW_ONE),
    )
    abstain: float | None = option(
        None,
        "answers say whether they are sure enough: of those at most this share is wrong, such as "
        "0.05",
        metavar="X",
        within=(0.0, ranges.BELOW_ONE),
    )
    scope: bool = option(
        False, "answers say how near a text lies to those of the training (`scope_score`)"
    )
    seed: int = option(0, "default %(default)s", metavar="N", within=ranges.SEED)
    overwrite: bool = option(False, FOLDER)


@dataclasses.dataclass(frozen=True, init=False, repr=False, eq=False)
class Devices:
    """On what a training runs."""

    jit: str = option("auto", "XLA", choices=("auto", "on", "off"))
    strategy: str = option(
        "auto",
        "devices and processes that train: see docs/scaling.md",
        choices=("auto", "none", "mirrored", "multiworker", "tpu"),
    )


@dataclasses.dataclass(frozen=True, init=False, repr=False, eq=False)
class Training(Start, Thawed, Settled, Devices, Trust):
    """What every training of a model has."""


@dataclasses.dataclass(frozen=True, init=False, repr=False, eq=False)
class Labelled:
    """Labelled data, and what is made of them."""

    task: str = option(choices=TASKS)
    data: str = option(
        help="CSV, TSV, JSONL, CoNLL, Parquet or tfds:NAME/SPLIT; two files of lines; a JSON file "
        "of several tasks",
        metavar="FILE",
        sides=True,
    )
    validation: str | None = option(None, TENTH, metavar="FILE", sides=True)
    test: str | None = option(None, TENTH, metavar="FILE", sides=True)
    output: Path = option(
        help="model.keras, serving/, report/, history.csv and training.json", metavar="DIR"
    )
    text: str | None = option(None, "default: text, or text_a and text_b", metavar="COLUMN")
    text_pair: str | None = option(None, PAIR, metavar="COLUMN")
    negative: str | None = option(
        None,
        "a third text, which doesn't belong to the first, for --loss triplet; default text_c",
        metavar="COLUMN",
    )
    label: str | Sequence[str] | None = option(
        None, "default: label, or score; several of 0 and 1", metavar="COLUMN[,COLUMN]"
    )
    label_separator: str | None = option(
        None, "between names in a label of several; default |", metavar="TEXT"
    )
    weight: str | None = option(
        None,
        "numbers that say how much each row teaches; measured, all rows count alike",
        metavar="COLUMN",
    )
    slice: str | Sequence[str] | None = option(None, SLICE, metavar="COLUMN[,COLUMN]")
    class_names: str | Sequence[str] | None = option(
        None,
        "classes, in the order of numbers as labels, those of ordinal-regression from the lowest; "
        "needed where one is called NA",
        metavar="NAME,NAME",
    )
    loss: str | None = option(
        None,
        "of the similarity task: cosine (default) for scores, contrastive for 0 and 1, others for "
        "texts that belong together, without labels",
        choices=LOSSES,
    )


@dataclasses.dataclass(frozen=True, init=False, repr=False, eq=False)
class Finer:
    """The finer settings, as `tune` finds them."""

    optimizer: str = option(
        OPTIMIZERS[0], "of a thawed encoder; default %(default)s", choices=OPTIMIZERS
    )
    warmup: float = option(
        usual.WARMUP,
        "share of the steps in which the rate rises; default %(default)g",
        metavar="X",
        within=(0.0, ranges.BELOW_ONE),
        closed=True,
    )
    layer_decay: float = option(
        usual.LAYER_DECAY,
        "times the rate, for each group further down; default %(default)g",
        metavar="X",
        within=ranges.SHARE,
    )
    head_learning_rate: float | None = option(
        None,
        "of the head on a frozen encoder; default: the usual",
        metavar="X",
        within=ranges.LEARNING_RATE,
    )
    hidden_units: int = option(
        0,
        "of a hidden layer in the head; default %(default)s, none",
        metavar="N",
        within=(0, ranges.SIZE[1]),
    )
    dropout: float = option(
        usual.DROPOUT,
        "in the head; default %(default)g",
        metavar="X",
        within=(0.0, ranges.BELOW_ONE),
        closed=True,
    )
    l2: float = option(
        0.0,
        "penalty on the head's weights; default %(default)g",
        metavar="X",
        within=ranges.WEIGHT,
        closed=True,
    )
    label_smoothing: float | None = option(
        None,
        "share of a label that goes to all classes; default 0",
        metavar="X",
        within=(0.0, ranges.BELOW_ONE),
        closed=True,
    )


@dataclasses.dataclass(frozen=True, init=False, repr=False, eq=False)
class Writing:
    """What writes answers that are texts, of the tasks that have such."""

    decoder_layers: int | None = option(
        None,
        "of the decoder, where answers are texts; default 1",
        metavar="N",
        within=ranges.DECODER_LAYERS,
    )
    vocabulary_size: int | None = option(
        None, "pieces of such texts; default: by the data", metavar="N", within=ranges.PIECES
    )
    answer_length: int | None = option(
        None,
        "most pieces of an answer; default: a quarter more than the longest has",
        metavar="N",
        within=ranges.ANSWER,
    )
    copies: bool = option(False, "pieces of the text may be copied into the answer")


@dataclasses.dataclass(frozen=True, init=False, repr=False, eq=False)
class Running:
    """How a training goes on, and what it leaves beside the model."""

    alone: bool = option(False, "of several tasks train each alone too, to compare")
    quick: bool = option(False, "the head alone, a report, no export: a first look")
    resume: str = option(
        "auto",
        "a training that was interrupted: auto goes on if it is the same, only does or refuses, "
        "never begins anew",
        choices=RESUME,
    )
    checkpoint_minutes: float = option(
        10.0, "within an epoch; default %(default)s", metavar="X", within=ranges.MINUTES
    )
    workers: int = option(
        1,
        "on this machine, training as one, to try it: see docs/scaling.md; default %(default)s",
        metavar="N",
        within=ranges.WORKERS,
    )
    log_dir: Path | None = option(
        None, "curves for TensorBoard, and history.csv, while it trains", metavar="DIR"
    )


@dataclasses.dataclass(frozen=True, init=False, repr=False, eq=False)
class Refitted:
    """Whether what judged teaches too, in the end."""

    refit: bool = option(
        False,
        "train once more in the end, on training and validation split together, for as long as "
        "the validation split held for best",
    )


@dataclasses.dataclass(frozen=True, init=False, repr=False, eq=False)
class FewLabels:
    """What helps where there are few labelled texts."""

    few_shot: str = option(
        "off",
        "before the head learns, the encoder draws texts of a class together; auto: of fewer than "
        "64 training texts a class, kept unless cross-validation on them is worse with it",
        choices=("auto", "on", "off"),
    )
    unlabelled: str | None = option(
        None,
        "more texts, without labels: they get such from the nearest labelled ones, or from a head, "
        "where answers left out say that it helps",
        metavar="FILE",
    )
    descriptions: Path | None = option(
        None,
        "what describes each class, in JSON, a text or several by class: texts to learn from, too, "
        "where answers left out say that it helps",
        metavar="FILE",
    )
    learning_curve: bool = option(
        False,
        "the report says what twice the labels would bring, by heads that learn from fewer, on the "
        "encoder as it was",
    )


@dataclasses.dataclass(frozen=True, init=False, repr=False, eq=False)
class Monolingual:
    """Texts without sources, of the tasks that write texts."""

    back_translate: str | None = option(
        None,
        "texts of the targets' language, of which a reverse model writes sources to learn from; "
        "kept where validation is better with them",
        metavar="FILE",
    )


@dataclasses.dataclass(frozen=True)
class TrainJob(Labelled, FewLabels, Finer, Writing, Monolingual, Refitted, Running, Form, Training):
    """The options of `train`; see `tfhub-transfer train --help`."""


@dataclasses.dataclass(frozen=True)
class DemoJob:
    """The options of `demo`."""

    output: Path = option(
        Path("tfhub-transfer-demo"),
        "default: %(default)s; an earlier demo there is replaced",
        metavar="DIR",
    )
