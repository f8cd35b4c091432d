"""The options of `distill`: of models, which imitate trained ones, and of encoders."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

from tfhub_transfer.incoming import ranges, usual
from tfhub_transfer.jobs.options.declaring import PAIR, Form, argument, option
from tfhub_transfer.jobs.options.training import TENTH, Training, Writing


@dataclasses.dataclass(frozen=True, init=False, repr=False, eq=False)
class Teaching:
    """How teachers are heeded."""

    unlabelled: str | None = option(None, "more texts, for the teachers to answer", metavar="FILE")
    temperature: float = option(
        usual.TEMPERATURE,
        "of the answers; default %(default)g",
        metavar="X",
        within=ranges.TEMPERATURE,
        closed=True,
    )
    share: float = option(
        usual.TEACHERS_SHARE,
        "weight of the teachers; default %(default)g",
        metavar="X",
        within=ranges.SHARE,
    )


@dataclasses.dataclass(frozen=True)
class DistillJob(Form, Teaching, Writing, Training):
    """The options of `distill`; see `tfhub-transfer distill --help`.

    Attributes:
        GROUPS: Those that do something for one of its two kinds only.
    """

    GROUPS: ClassVar[dict[str, tuple[str, ...]]] = {
        "models": (
            *("unlabelled", "temperature", "share", "validation", "test", "text_pair", "label"),
            *("encoder", "preprocessor", "unfreeze", "pooling", "block", "towers"),
            *("class_weights", "precision", "jit", "strategy"),
            *("calibration", "coverage", "abstain", "scope"),
            *("decoder_layers", "vocabulary_size", "answer_length", "copies"),
        ),
        "encoders": ("layers", "hidden", "vocabulary"),
    }

    teachers: tuple[str, ...] = argument(
        help="folders that `train` wrote: a model is trained to answer as they do, together; or "
        "one encoder: a smaller one is trained to give the same vectors",
        metavar="TEACHER",
        file=True,
    )
    data: str = option(help="labelled; for an encoder any texts", metavar="FILE")
    output: Path = option(metavar="DIR")
    text: str | None = option(None, "default: text, or text_a and text_b", metavar="COLUMN")
    validation: str | None = option(None, TENTH, metavar="FILE")
    test: str | None = option(None, TENTH, metavar="FILE")
    text_pair: str | None = option(None, PAIR, metavar="COLUMN")
    label: str | Sequence[str] | None = option(None, "default: the teacher's", metavar="COLUMN")
    layers: int = option(
        usual.STUDENT_LAYERS,
        "of the student; default %(default)s",
        metavar="N",
        within=ranges.LAYERS,
    )
    hidden: int | None = option(
        None, "width of the student; default: the teacher's", metavar="N", within=ranges.SIZE
    )
    vocabulary: int | None = option(
        None, "word pieces to keep; default: all", metavar="N", within=ranges.SIZE
    )
