"""What an evaluation found: a table for one screen, JSON, and a page that holds its pictures."""

import dataclasses
import json
import math
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import cast

import numpy as np

from tfhub_transfer.errors import InputError, visible
from tfhub_transfer.incoming import wording
from tfhub_transfer.incoming.wording import shown
from tfhub_transfer.reporting import contents, metrics, plots, standings, weak_spots
from tfhub_transfer.reporting.contents import Interval, Numbers
from tfhub_transfer.reporting.pages.report import page
from tfhub_transfer.reporting.standings import Standing
from tfhub_transfer.shapes import Json
from tfhub_transfer.storage import atomic, opening


@dataclasses.dataclass
class Report:
    """What `evaluate` found; `str(report)` is a table for one screen.

    Attributes:
        task: The task's name.
        encoder: The encoder's handle.
        examples: Rows of `train`, `validation` and `test`, as far as they are known.
        metrics: Numbers by name; `None` where the data can't tell.
        class_names: The classes, or `None`.
        intervals: 95 % intervals `(low, high)`, Wilson's of shares of the test examples, of other
            metrics but `ece` by the bootstrap, where there are enough examples for it.
        baselines: The same numbers for `majority` (or the mean) and `tfidf_logistic_regression`
            (or ridge regression), trained on the same training split; for tags of words those of
            `usual_tag`, each word's most frequent one; for questions those of `likeliest_sentence`,
            the one with most of the question's words, and of `no_answer` to any question; for
            summaries those of `lead`, the first sentences, and of `oracle`, the best choice of
            sentences there is; for similarity those of `untrained`, the encoder before training,
            and of `tfidf_cosine`.
        per_class: Precision, recall, F1 and support of each class.
        confusion: Counts `[true][predicted]`, or `None`.
        calibration: Reliability curve and expected calibration error, or `None`.
        mistakes: The worst mistakes with their texts, the worst first; `badness` is the confidence
            of a wrong class, the distance of the worst score from its threshold, the residual, or
            how much better the best summary is.
        curves: ROC and precision-recall curves of the most frequent classes.
        history: Curves of the training, if it is known.
        seconds: Wall-clock seconds of each stage.
        texts: What was seen of the test texts: how many were `cut` and the `tokens_lost`; how many
            are `also_in` the training and validation texts, where these are known; and how the
            `vocabulary` fits them (see `vocabulary_fit.Fit`, `WordFit`).
        warnings: Why these numbers may mislead.
        notes: What was left out and why.
        threshold: From which score on a pair counts as 1, for similarity with labels 0 and 1; F1,
            precision and recall are those of the label 1.
        entities: What became of each entity: `counts` of those right, missed, spurious, of a wrong
            type or boundary, and the `confusion` of types.
        slices: Numbers by groups of examples, `{"by", "rows"}` each (see `groups.means`).
        weak_spots: Groups of examples beside all others, those first that cost most (see
            `contents.WeakSpots`).
        learning_curve: What more labels would bring (see `contents.LearningCurve`).
        thresholds: Precision and recall if answers are given from a score on (see
            `operating_points.table`), or `None`.
        trust: What became of what `conformalize` said of answers, or `None`.
        attention: Of texts that were written, what of the text given was read for each piece.
        setup: With what it was trained, as far as it is known.
        profile: The data that it was trained on, on one screen.
        predictions: The answer to each example, beside what is right (see `predictions.rows`);
            written to `predictions.jsonl`.
        pictures: PNGs by name.
        standing: How the task stands in reports, a `standings.Standing`; if not given, that of the
            task of this name.
    """

    task: str
    encoder: str
    examples: dict[str, int | None]
    metrics: Numbers
    class_names: list[str] | None = None
    intervals: dict[str, Interval] = dataclasses.field(default_factory=dict)
    baselines: dict[str, Numbers] = dataclasses.field(default_factory=dict)
    per_class: list[contents.ClassScores] = dataclasses.field(default_factory=list)
    confusion: list[list[int]] | None = None
    calibration: contents.Calibration | None = None
    mistakes: list[contents.Mistake] = dataclasses.field(default_factory=list)
    curves: list[contents.Curve] = dataclasses.field(default_factory=list)
    history: contents.History = dataclasses.field(default_factory=dict)
    seconds: dict[str, float] = dataclasses.field(default_factory=dict)
    texts: contents.TextsSeen = dataclasses.field(default_factory=contents.TextsSeen)
    warnings: list[str] = dataclasses.field(default_factory=list)
    notes: list[str] = dataclasses.field(default_factory=list)
    threshold: float | None = None
    entities: contents.Entities = dataclasses.field(default_factory=contents.Entities)
    slices: list[contents.Slice] = dataclasses.field(default_factory=list)
    weak_spots: contents.WeakSpots = dataclasses.field(default_factory=contents.WeakSpots)
    learning_curve: contents.LearningCurve = dataclasses.field(
        default_factory=contents.LearningCurve
    )
    thresholds: contents.Thresholds | None = None
    trust: contents.Trust | None = None
    attention: list[contents.Attention] = dataclasses.field(default_factory=list)
    setup: Mapping[str, object] = dataclasses.field(default_factory=dict)
    profile: str = ""
    predictions: list[contents.Prediction] = dataclasses.field(default_factory=list, repr=False)
    pictures: dict[str, bytes] = dataclasses.field(default_factory=dict, repr=False)
    standing: Standing = dataclasses.field(
        default=None,  # type: ignore[assignment]  # for `__post_init__`, which knows it
        repr=False,
    )

    def __post_init__(self) -> None:
        self.standing = self.standing or standings.of(self.task)

    def to_dict(self) -> dict[str, Json]:
        """The report as JSON, without its pictures and predictions; no NaN in it."""
        left_out = {"pictures", "predictions", "standing"}
        fields = {f.name for f in dataclasses.fields(self)} - left_out
        return {name: jsonable(getattr(self, name)) for name in sorted(fields)}

    def save(self, folder: str | Path) -> Path:
        """Writes `report.json`, `predictions.jsonl`, `report.html` (self-contained) and PNG plots.

        Args:
            folder: Where to write; made if it isn't there. An earlier report there is replaced.

        Raises:
            InputError: If it can't be written, or would replace a file that isn't ours.

        Example:

        >>> evaluate(model, test).save("out/report")
        PosixPath('out/report')
        """
        return write(self.files(), folder)

    def files(self) -> dict[str, bytes]:
        """What `save` writes, by name."""
        pictures = self._pictures()
        return {
            "report.json": as_json(self.to_dict()).encode("utf-8"),
            **{f"{name}.png": content for name, content in pictures.items()},
            "report.html": page(self, pictures).encode("utf-8"),
            **({"predictions.jsonl": as_lines(self.predictions)} if self.predictions else {}),
        }

    def verdict(self) -> str | None:
        """One sentence: whether transfer helped; `None` without a baseline to compare with."""
        rivals = self.standing.rivals(list(self.baselines))
        for rival in rivals:
            for name in self.standing.judged:
                mine, other = self.metrics.get(name), self.baselines[rival].get(name)
                if mine is not None and other is not None:
                    others = [other for other in rivals if other != rival]
                    return self._compared(name, rival) + self._besides(name, others)
        return None

    def judged_by(self) -> str | None:
        """The number that tells how good this is: the first of the task's that is known."""
        judged = self.standing.judged
        return next((name for name in judged if self.metrics.get(name) is not None), None)

    def beaten(self) -> list[str]:
        """A sentence for each baseline that is better, or as good without any learning."""
        first = self.judged_by()
        found: list[str] = []
        if self.standing.tells_winners:
            return found
        for rival, numbers in self.baselines.items():
            if first is None or rival == standings.ORACLE:
                continue
            names = dict.fromkeys((first, "macro_f1", "rmse"))
            better = [name for name in names if self._is_better(name, numbers.get(name))]
            level = self.metrics[first] == numbers.get(first) and rival == "majority"
            if better or level:
                shares = [self._beside(name, numbers[name]) for name in better or [first]]
                how = "beats this model" if better else "is as good as this model"
                named = self.standing.baseline_name(rival)
                found.append(f"{named} {how}: {', '.join(shares)}")
            elif (name := self.standing.ranking) and self._is_better(name, numbers.get(name)):
                named = self.standing.baseline_name(rival)
                found.append(f"{named} ranks better: {self._beside(name, numbers[name])}")
        return found

    def spread(self, name: str) -> str:
        """The 95 % interval of a number, as it is shown; empty where there is none."""
        interval = self.intervals.get(name)
        return f"{shown(interval[0], 3)} to {shown(interval[1], 3)}" if interval else ""

    def _is_better(self, name: str, other: float | None) -> bool:
        mine = self.metrics.get(name)
        return mine is not None and other is not None and self.standing.is_better(name, other, mine)

    def _beside(self, name: str, other: float | None) -> str:
        low, high = self.intervals.get(name, (math.inf, -math.inf))
        chance = " (within the 95 % interval)" if low <= (other or 0.0) <= high else ""
        return f"{name} {shown(other)} against {shown(self.metrics[name])}{chance}"

    def _compared(self, name: str, rival: str) -> str:
        mine, other = self.metrics[name] or 0.0, self.baselines[rival][name] or 0.0
        low, high = self.intervals.get(name, (mine, mine))
        numbers = f"{name} {shown(mine, 3)} against {shown(other, 3)}"
        named = self.standing.baseline_name(rival)
        few = metrics.LEAST_ROWS
        if (self.examples.get("test") or few) < few:
            return f"Too few examples to tell it from {named}: {numbers}."
        if low <= other <= high:
            return f"No clear difference to {named}: {numbers}, within the 95 % interval."
        better = self.standing.is_better(name, mine, other)
        return f"{'Better' if better else 'Worse'} than {named}: {numbers}."

    def _besides(self, name: str, rivals: list[str]) -> str:
        known = [(rival, self.baselines[rival].get(name)) for rival in rivals]
        named = [
            f"{self.standing.baseline_name(rival)} {shown(value, 3)}"
            for rival, value in known
            if value is not None
        ]
        return f" Beside it: {', '.join(named)}." if named else ""

    def _pictures(self) -> dict[str, bytes]:
        curve = plots.curves(self.history)
        return {**({"curves": curve} if curve else {}), **self.pictures}

    def __str__(self) -> str:
        heads = [self.standing.baseline_name(name) for name in self.baselines]
        lines = [f"{self.task} with {self.encoder}, {self.examples.get('test')} test examples"]
        wide = max([12, *(len(name) + 1 for name in self.metrics)])
        head = f"{'':<{wide}}{'this model':>12}{'95 %':>18}"
        columns = [max(16, len(each) + 2) for each in heads]
        lines.append(head + "".join(f"{h:>{column}}" for h, column in zip(heads, columns)))
        for name, value in self.metrics.items():
            others = [shown(column.get(name)) for column in self.baselines.values()]
            cells = "".join(f"{cell:>{column}}" for cell, column in zip(others, columns))
            lines.append(f"{name:<{wide}}{shown(value):>12}{self.spread(name):>18}{cells}")
        verdict = self.verdict()
        said = [verdict] if verdict else []
        said += weak_spots.of_groups(self.weak_spots)
        said += weak_spots.of_more_labels(self.learning_curve)
        said += [f"WARNING: {warning}" for warning in self.warnings]
        # What training kept was said as it went, and stands with the curves.
        kept = self.history.get("kept", [])
        said += [f"note: {note}" for note in self.notes if note not in kept]
        return visible("\n".join([*lines, *map(wording.wrapped, said)]))


def write(files: dict[str, bytes], folder: str | Path) -> Path:
    """Writes the files of a report into a folder; see `Report.save`."""
    folder = opening.path_of(folder)
    try:
        atomic.files(folder, files)
    except OSError as error:
        raise InputError(f"the report can't be written. Received: {folder} ({error})") from error
    return folder


def as_json(report: Mapping[str, Json]) -> str:
    """Indented, but lists of numbers on one line. Inside a string no line break is written bare."""
    text = json.dumps(report, indent=1, ensure_ascii=False, allow_nan=False)
    number = r"(?:-?\d[-+.\deE]*|null)"
    numbers = re.compile(rf"\[\n\s*({number}(?:,\n\s*{number})*)\n\s*\]")
    text = numbers.sub(lambda found: "[" + " ".join(found.group(1).split()) + "]", text) + "\n"
    return wording.unseen_spelled(text)


def as_lines(rows: Sequence[Mapping[str, object]]) -> bytes:
    """Rows as JSON lines."""
    return "".join(wording.json_line(jsonable(row)) + "\n" for row in rows).encode("utf-8")


def jsonable(value: object) -> Json:
    """A value as JSON can hold it: Python's own kinds, and `None` for what is no number."""
    if isinstance(value, dict):
        return {str(key): jsonable(v) for key, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [jsonable(v) for v in value]
    plain: Json = value.item() if isinstance(value, np.generic) else cast(Json, value)
    return None if isinstance(plain, float) and not math.isfinite(plain) else plain
