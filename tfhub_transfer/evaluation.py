"""Honest measurement: metrics with intervals, beside baselines on the same split, with mistakes."""

import base64
import dataclasses
import html
import json
import math
import time
import warnings
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.dummy import DummyClassifier, DummyRegressor
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.multiclass import OneVsRestClassifier
from sklearn.pipeline import make_pipeline

from tfhub_transfer import metrics, plots
from tfhub_transfer.builders import TransferModel
from tfhub_transfer.data import Examples
from tfhub_transfer.errors import InputError
from tfhub_transfer.metrics import Numbers

MISTAKES = 20
_BEST_LOW = {"mse", "rmse", "mae", "ece"}
_NAMES = {"majority": "majority", "tfidf_logistic_regression": "TF-IDF + LR"}


@dataclasses.dataclass
class Report:
    """What `evaluate` found; `str(report)` is a table for one screen.

    Attributes:
        task: The task's name.
        encoder: The encoder's handle.
        examples: Rows of `train`, `validation` and `test`, as far as they are known.
        metrics: Numbers by name; `None` where the data can't tell.
        intervals: 95 % bootstrap intervals `(low, high)` of the main numbers.
        baselines: The same numbers for the majority class (or mean) and for TF-IDF with logistic
            (or ridge) regression, trained on the same training split.
        per_class: Precision, recall, F1 and support of each class.
        confusion: Counts `[true][predicted]`, or `None`.
        calibration: Reliability curve and expected calibration error, or `None`.
        mistakes: The worst mistakes with their texts.
        history: Curves of the training, if it is known.
        seconds: Wall-clock seconds of each stage.
        notes: What was left out and why.
    """

    task: str
    encoder: str
    examples: dict[str, int | None]
    metrics: Numbers
    class_names: list[str] | None = None
    intervals: dict[str, tuple[float, float]] = dataclasses.field(default_factory=dict)
    baselines: dict[str, Numbers] = dataclasses.field(default_factory=dict)
    per_class: list[dict[str, Any]] = dataclasses.field(default_factory=list)
    confusion: list[list[int]] | None = None
    calibration: dict[str, Any] | None = None
    mistakes: list[dict[str, Any]] = dataclasses.field(default_factory=list)
    history: dict[str, list[Any]] = dataclasses.field(default_factory=dict)
    seconds: dict[str, float] = dataclasses.field(default_factory=dict)
    notes: list[str] = dataclasses.field(default_factory=list)
    pictures: dict[str, bytes] = dataclasses.field(default_factory=dict, repr=False)

    def to_dict(self) -> dict[str, Any]:
        """The report as JSON, without its pictures; no NaN in it."""
        fields = {f.name for f in dataclasses.fields(self)} - {"pictures"}
        return _jsonable({name: getattr(self, name) for name in sorted(fields)})

    def save(self, folder: str | Path) -> Path:
        """Writes `report.json`, `report.html` (self-contained) and the plots as PNG.

        Args:
            folder: Where to write; made if it isn't there.

        Raises:
            InputError: If it can't be written.
        """
        folder = Path(folder)
        try:
            folder.mkdir(parents=True, exist_ok=True)
            text = json.dumps(self.to_dict(), indent=1, ensure_ascii=False, allow_nan=False)
            (folder / "report.json").write_text(text + "\n", encoding="utf-8")
            pictures = self._pictures()
            for name, content in pictures.items():
                (folder / f"{name}.png").write_bytes(content)
            (folder / "report.html").write_text(_page(self, pictures), encoding="utf-8")
        except OSError as error:
            raise InputError(
                f"the report can't be written. Received: {folder} ({error})"
            ) from error
        return folder

    def _pictures(self) -> dict[str, bytes]:
        curve = plots.curves(self.history)
        return {**self.pictures, **({"curves": curve} if curve else {})}

    def __str__(self) -> str:
        rows = self.examples.get("test")
        columns = [self.metrics, *self.baselines.values()]
        heads = ["this model", *(_NAMES[name] for name in self.baselines)]
        lines = [f"{self.task} with {self.encoder}, {rows} test examples"]
        lines.append(f"{'':<12}{heads[0]:>12}{'95 %':>18}" + "".join(f"{h:>14}" for h in heads[1:]))
        for name in self.metrics:
            interval = self.intervals.get(name)
            spread = f"{interval[0]:.3f} to {interval[1]:.3f}" if interval else ""
            cells = [_shown(column.get(name)) for column in columns]
            others = "".join(f"{cell:>14}" for cell in cells[1:])
            lines.append(f"{name:<12}{cells[0]:>12}{spread:>18}{others}")
        return "\n".join([*lines, *(f"note: {note}" for note in self.notes)])


def evaluate(
    model: TransferModel,
    examples: Examples,
    train: Examples | None = None,
    baselines: bool = True,
    seed: int = 0,
) -> Report:
    """Measures a model on examples that it hasn't seen, beside two baselines.

    Args:
        model: A trained model.
        examples: The test split.
        train: What to train the baselines on; what `fine_tune` trained on, if not given.
        baselines: Whether to train and measure the baselines.
        seed: Seed of the bootstrap.

    Raises:
        InputError: If there are no examples, or a label is unknown to the task.

    Example:

    >>> report = evaluate(model, test)
    >>> report.save("out/report")
    """
    if not len(examples):
        raise InputError("expected at least one example to evaluate on. Received: none")
    task, started = model.task, time.perf_counter()
    labels = task.encode(examples.labels)
    scores = model.predict_scores(examples)
    train = model.training_examples if train is None else train
    report = Report(
        task=task.name,
        encoder=str(model.encoder.handle),
        examples={
            "train": None if train is None else len(train),
            "validation": None,
            "test": len(examples),
        },
        metrics=_measure(task, labels, scores),
        class_names=task.class_names,
        history=dict(model.history_),
        seconds={"prediction": time.perf_counter() - started},
    )
    _add_details(report, task, labels, scores, seed)
    report.mistakes = _mistakes(task, examples, labels, scores)
    _add_baselines(report, task, (train if baselines else None, examples), baselines)
    return report


def _measure(task: Any, labels: np.ndarray, scores: np.ndarray) -> Numbers:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what a degenerate split can't tell is left out anyway
        if task.name == "regression":
            return metrics.regression(labels, scores)
        if task.name == "multi-label":
            return metrics.multi_label(labels, scores, task.threshold)
        return metrics.classification(labels, scores)


def _add_details(
    report: Report, task: Any, labels: np.ndarray, scores: np.ndarray, seed: int
) -> None:
    missing = sorted(name for name, value in report.metrics.items() if value is None)
    if missing:
        report.notes.append(f"{', '.join(missing)}: not defined on this split")
    if task.name == "regression":
        report.intervals = metrics.intervals(
            metrics.regression, labels, scores, tuple(report.metrics), seed
        )
        report.pictures["scatter"] = plots.scatter(labels, scores)
    elif task.name == "multi-label":
        _add_multi_label(report, labels.astype(int), scores, task.threshold, seed)
    else:
        _add_classification(report, labels, scores, seed)


def _add_classification(report: Report, labels: np.ndarray, scores: np.ndarray, seed: int) -> None:
    names = report.class_names or []
    predicted, classes = scores.argmax(axis=1), len(names)
    matrix = np.bincount(labels * classes + predicted, minlength=classes**2)
    report.confusion = matrix.reshape(classes, classes).tolist()
    report.calibration = metrics.calibration(labels == predicted, scores.max(axis=1))
    truth = np.eye(classes, dtype=int)[labels]
    report.per_class = metrics.per_class(truth, np.eye(classes, dtype=int)[predicted], names)
    report.intervals = metrics.intervals(
        metrics.quick_classification, labels, predicted, ("accuracy", "macro_f1"), seed
    )
    report.pictures["confusion"] = plots.confusion(np.array(report.confusion), names)
    report.pictures["reliability"] = plots.reliability(report.calibration)
    _add_roc(report, truth, scores, names)


def _add_multi_label(
    report: Report, truth: np.ndarray, scores: np.ndarray, threshold: float, seed: int
) -> None:
    names = report.class_names or []
    predicted = (scores >= threshold).astype(int)
    report.per_class = metrics.per_class(truth, predicted, names)
    report.calibration = metrics.calibration(truth.ravel() == 1, scores.ravel())
    report.intervals = metrics.intervals(
        metrics.quick_multi_label, truth, predicted, ("accuracy", "micro_f1", "macro_f1"), seed
    )
    report.pictures["reliability"] = plots.reliability(report.calibration)
    _add_roc(report, truth, scores, names)


def _add_roc(report: Report, truth: np.ndarray, scores: np.ndarray, names: list[str]) -> None:
    picture = plots.roc_and_pr(truth, scores, names)
    if picture:
        report.pictures["roc_pr"] = picture


def _mistakes(
    task: Any, examples: Examples, labels: np.ndarray, scores: np.ndarray
) -> list[dict[str, Any]]:
    """The most confident wrong answers, or the largest errors."""
    if task.name == "regression":
        badness = np.abs(scores - labels)
    elif task.name == "multi-label":
        wrong = (scores >= task.threshold) != (labels > 0.5)
        badness = (np.abs(scores - task.threshold) * wrong).max(axis=1)
    else:
        badness = scores.max(axis=1) * (scores.argmax(axis=1) != labels)
    worst = [int(i) for i in np.argsort(-badness, kind="stable")[:MISTAKES] if badness[i] > 0]
    answers = task.decode(scores[worst]) if worst else []
    return [
        {
            "text": " | ".join(column[row] for column in examples.texts),
            "true": examples.labels[row],
            "predicted": answer.get("label", answer.get("labels", answer.get("score"))),
            "badness": float(badness[row]),
        }
        for row, answer in zip(worst, answers)
    ]


def _add_baselines(
    report: Report, task: Any, splits: tuple[Examples | None, Examples], wanted: bool
) -> None:
    train, test = splits
    if train is None:
        if wanted:
            report.notes.append("no baselines: the training split isn't at hand")
        return
    started = time.perf_counter()
    rows = [[" ".join(texts) for texts in zip(*part.texts)] for part in (train, test)]
    labels, truth = task.encode(train.labels), task.encode(test.labels)
    for name, pipeline in _pipelines(task).items():
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                pipeline.fit(rows[0], labels)
            except ValueError as error:  # such as a vocabulary of nothing
                report.notes.append(f"no baseline {name}: {error}")
                continue
            scores = _baseline_scores(task, pipeline, rows[1])
        report.baselines[name] = _measure(task, truth, scores)
    report.seconds["baselines"] = time.perf_counter() - started


def _pipelines(task: Any) -> dict[str, Any]:
    words = TfidfVectorizer(
        ngram_range=(1, 2), sublinear_tf=True, token_pattern=r"(?u)\b\w+\b|[^\w\s]"
    )
    plain: Any = DummyRegressor() if task.name == "regression" else DummyClassifier()
    linear: Any = LogisticRegression(max_iter=1000)
    if task.name == "regression":
        linear = Ridge()
    elif task.name == "multi-label":
        plain, linear = OneVsRestClassifier(plain), OneVsRestClassifier(linear)
    return {
        "majority": make_pipeline(words, plain),
        "tfidf_logistic_regression": make_pipeline(words, linear),
    }


def _baseline_scores(task: Any, pipeline: Any, rows: list[str]) -> np.ndarray:
    if task.name == "regression":
        return np.asarray(pipeline.predict(rows), dtype="float64")
    found = np.asarray(pipeline.predict_proba(rows))
    if task.name == "multi-label":
        return found
    scores = np.zeros((len(rows), len(task.class_names)))
    scores[:, pipeline[-1].classes_] = found  # a class may be missing from the training split
    return scores


def _shown(value: float | None) -> str:
    return "-" if value is None else f"{value:.4f}"


def _jsonable(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(key): _jsonable(v) for key, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [_jsonable(v) for v in value]
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


_STYLE = """
:root{color-scheme:light dark}
body{font:16px/1.5 system-ui,sans-serif;max-width:1000px;margin:2rem auto;padding:0 1rem}
h1{font-size:1.5rem}h2{font-size:1.15rem;margin-top:2.2rem}
table{border-collapse:collapse;margin:.6rem 0;font-size:.92rem}
th,td{padding:.3rem .8rem;border-bottom:1px solid #8884;text-align:right;vertical-align:top}
th:first-child,td:first-child{text-align:left}
td.text{text-align:left;max-width:36rem;overflow-wrap:anywhere}
img{max-width:100%;background:#fff;border-radius:6px;margin:.4rem 0}
.best{font-weight:700}.note{color:#888}
"""


def _page(report: Report, pictures: dict[str, bytes]) -> str:
    """One page with everything in it, that can be mailed."""
    examples = ", ".join(f"{n} {split}" for split, n in report.examples.items() if n is not None)
    parts = [
        f"<h1>{html.escape(report.task)} with {html.escape(report.encoder)}</h1>",
        f"<p>Examples: {examples}.</p>",
        _metrics_table(report),
        *(f'<p class="note">{html.escape(note)}</p>' for note in report.notes),
    ]
    for name, content in pictures.items():
        data = base64.b64encode(content).decode("ascii")
        parts.append(f'<img alt="{name}" src="data:image/png;base64,{data}">')
    if report.per_class:
        measured = ("class", "precision", "recall", "f1", "support")
        classes = [[row[key] for key in measured] for row in report.per_class]
        parts += ["<h2>Classes</h2>", _table(measured, classes)]
    if report.mistakes:
        keys = ("text", "true", "predicted")
        rows = [[_short(m["text"]), m["true"], m["predicted"]] for m in report.mistakes]
        parts += ["<h2>Worst mistakes</h2>", _table(keys, rows)]
    body = "\n".join(parts)
    return (
        '<!doctype html><html lang="en"><meta charset="utf-8"><title>tfhub-transfer report</title>'
        f'<meta name="viewport" content="width=device-width"><style>{_STYLE}</style>{body}</html>\n'
    )


def _metrics_table(report: Report) -> str:
    columns = {"this model": report.metrics, **{_NAMES[k]: v for k, v in report.baselines.items()}}
    rows = []
    for name in report.metrics:
        values = [column.get(name) for column in columns.values()]
        best = _best(name, values)
        cells = [
            f'<td class="{"best" if i == best else ""}">{_shown(v)}</td>'
            for i, v in enumerate(values)
        ]
        low, high = report.intervals.get(name, (None, None))
        spread = f"{low:.3f} to {high:.3f}" if low is not None else ""
        rows.append(f"<tr><td>{name}</td>{cells[0]}<td>{spread}</td>{''.join(cells[1:])}</tr>")
    heads = list(columns)
    header = "".join(f"<th>{h}</th>" for h in ["", heads[0], "95 %", *heads[1:]])
    return f"<table><tr>{header}</tr>{''.join(rows)}</table>"


def _best(name: str, values: list[float | None]) -> int | None:
    known = [(v, i) for i, v in enumerate(values) if v is not None]
    if not known:
        return None
    return (min(known) if name in _BEST_LOW else max(known, key=lambda x: (x[0], -x[1])))[1]


def _table(keys: tuple[str, ...], rows: list[list[Any]]) -> str:
    header = "".join(f"<th>{key}</th>" for key in keys)
    body = "".join(
        "<tr>" + "".join(f'<td class="{_kind(v)}">{_cell(v)}</td>' for v in row) + "</tr>"
        for row in rows
    )
    return f"<table><tr>{header}</tr>{body}</table>"


def _kind(value: Any) -> str:
    return "text" if isinstance(value, str) else ""


def _cell(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.3f}"
    return html.escape(", ".join(map(str, value)) if isinstance(value, list) else str(value))


def _short(text: str, most: int = 400) -> str:
    return text if len(text) <= most else text[: most - 1] + "…"
