"""What an evaluation found: a table for one screen, JSON, and a page that holds its pictures."""

import base64
import dataclasses
import html
import json
import math
import re
from pathlib import Path
from typing import Any

import numpy as np

from tfhub_transfer import metrics, plots, wording
from tfhub_transfer.errors import InputError, visible
from tfhub_transfer.metrics import Numbers
from tfhub_transfer.storage import atomic, opening

_PAIRS = 10
_MANY_CLASSES = 30
_LOW_IS_GOOD = {"mse", "rmse", "mae", "ece"}
_FIRST = {
    "classification": "accuracy",
    "multi-label": "micro_f1",
    "regression": "spearman",
    "token-classification": "f1",
    "question-answering": "f1",
    "extractive-summarization": "rouge1",
    "similarity": "spearman",
}
_BASELINES = {
    "usual_tag": "usual tags",
    "likeliest_sentence": "likely sentence",
    "no_answer": "no answer",
    "lead": "first sentences",
    "oracle": "best choice",
    "untrained": "untrained",
    "tfidf_cosine": "TF-IDF cosine",
}
# The baseline that a report's one sentence compares with, where it isn't TF-IDF.
_RIVALS = {
    "token-classification": "usual_tag",
    "question-answering": "likeliest_sentence",
    "extractive-summarization": "lead",
    "similarity": "untrained",
}
_PICTURES = {
    "curves": "How it was trained",
    "confusion": "What is taken for what",
    "roc_pr": "How well each class is ranked",
    "reliability": "Whether its confidence can be believed",
    "scatter": "How far it is off",
}


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
            `vocabulary` fits them (see `vocabulary_fit.Fit`).
        warnings: Why these numbers may mislead.
        notes: What was left out and why.
        threshold: From which score on a pair counts as 1, for similarity with labels 0 and 1; F1,
            precision and recall are those of the label 1.
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
    curves: list[dict[str, Any]] = dataclasses.field(default_factory=list)
    history: dict[str, list[Any]] = dataclasses.field(default_factory=dict)
    seconds: dict[str, float] = dataclasses.field(default_factory=dict)
    texts: dict[str, Any] = dataclasses.field(default_factory=dict)
    warnings: list[str] = dataclasses.field(default_factory=list)
    notes: list[str] = dataclasses.field(default_factory=list)
    threshold: float | None = None
    pictures: dict[str, bytes] = dataclasses.field(default_factory=dict, repr=False)

    def to_dict(self) -> dict[str, Any]:
        """The report as JSON, without its pictures; no NaN in it."""
        fields = {f.name for f in dataclasses.fields(self)} - {"pictures"}
        return _jsonable({name: getattr(self, name) for name in sorted(fields)})

    def save(self, folder: str | Path) -> Path:
        """Writes `report.json`, `report.html` (self-contained) and the plots as PNG.

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
            "report.html": _page(self, pictures).encode("utf-8"),
        }

    def verdict(self) -> str | None:
        """One sentence: whether transfer helped; `None` without a baseline to compare with."""
        baseline = self.baselines.get(self._rival, {})
        for name in self._judged():
            mine, other = self.metrics.get(name), baseline.get(name)
            if mine is not None and other is not None:
                return self._compared(name, mine, other)
        return None

    def beaten(self) -> list[str]:
        """A sentence for each baseline that is better, or as good without any learning."""
        first = next((name for name in self._judged() if self.metrics.get(name) is not None), None)
        found = []
        for rival, numbers in self.baselines.items():
            if first is None or rival == "oracle":  # which knows the answers
                continue
            names = dict.fromkeys((first, "macro_f1", "rmse"))
            better = [name for name in names if self._is_better(name, numbers.get(name))]
            level = self.metrics[first] == numbers.get(first) and rival == "majority"
            if better or level:
                shares = [self._beside(name, numbers[name]) for name in better or [first]]
                how = "beats this model" if better else "is as good as this model"
                found.append(f"{_baseline_name(self.task, rival)} {how}: {', '.join(shares)}")
        return found

    def _judged(self) -> tuple[str, ...]:
        return _FIRST[self.task], "roc_auc", "recall_at_1", "accuracy", "rmse"

    def _is_better(self, name: str, other: float | None) -> bool:
        mine = self.metrics.get(name)
        if mine is None or other is None or mine == other:
            return False
        return (other < mine) == (name in _LOW_IS_GOOD)

    def _beside(self, name: str, other: float | None) -> str:
        low, high = self.intervals.get(name, (math.inf, -math.inf))
        chance = " (within the 95 % interval)" if low <= (other or 0.0) <= high else ""
        return f"{name} {shown(other)} against {shown(self.metrics[name])}{chance}"

    @property
    def _rival(self) -> str:
        return _RIVALS.get(self.task, "tfidf_logistic_regression")

    def _compared(self, name: str, mine: float, other: float) -> str:
        low, high = self.intervals.get(name, (mine, mine))
        numbers = f"{name} {mine:.3f} against {other:.3f}"
        rival = _baseline_name(self.task, self._rival)
        few = metrics.LEAST_ROWS
        if name not in self.intervals and (self.examples.get("test") or few) < few:
            return f"Too few examples to tell it from {rival}: {numbers}."
        if low <= other <= high:
            return f"No clear difference to {rival}: {numbers}, within the 95 % interval."
        better = (mine < other) == (name in _LOW_IS_GOOD)
        return f"{'Better' if better else 'Worse'} than {rival}: {numbers}."

    def _pictures(self) -> dict[str, bytes]:
        curve = plots.curves(self.history)
        return {**({"curves": curve} if curve else {}), **self.pictures}

    def __str__(self) -> str:
        heads = [_baseline_name(self.task, name) for name in self.baselines]
        lines = [f"{self.task} with {self.encoder}, {self.examples.get('test')} test examples"]
        wide = max([12, *(len(name) + 1 for name in self.metrics)])
        head = f"{'':<{wide}}{'this model':>12}{'95 %':>18}"
        lines.append(head + "".join(f"{h:>16}" for h in heads))
        for name, value in self.metrics.items():
            others = [shown(column.get(name)) for column in self.baselines.values()]
            cells = "".join(f"{cell:>16}" for cell in others)
            lines.append(f"{name:<{wide}}{shown(value):>12}{_spread(self, name):>18}{cells}")
        verdict = self.verdict()
        lines += [verdict] if verdict else []
        lines += [f"WARNING: {warning}" for warning in self.warnings]
        return visible("\n".join([*lines, *(f"note: {note}" for note in self.notes)]))


def _baseline_name(task: str, name: str) -> str:
    if name in _BASELINES:
        return _BASELINES[name]
    if name == "majority":
        return "mean" if task == "regression" else "majority"
    return "TF-IDF + ridge" if task == "regression" else "TF-IDF + LR"


def write(files: dict[str, bytes], folder: str | Path) -> Path:
    """Writes the files of a report into a folder; see `Report.save`."""
    folder = opening.path_of(folder)
    try:
        atomic.files(folder, files)
    except OSError as error:
        raise InputError(f"the report can't be written. Received: {folder} ({error})") from error
    return folder


def shown(value: float | None) -> str:
    """A number as reports show it."""
    return "-" if value is None else f"{value:.4f}"


def _spread(report: Report, name: str) -> str:
    interval = report.intervals.get(name)
    return f"{interval[0]:.3f} to {interval[1]:.3f}" if interval else ""


def as_json(report: dict[str, Any]) -> str:
    """Indented, but lists of numbers on one line. Inside a string no line break is written bare."""
    text = json.dumps(report, indent=1, ensure_ascii=False, allow_nan=False)
    number = r"(?:-?\d[-+.\deE]*|null)"
    numbers = re.compile(rf"\[\n\s*({number}(?:,\n\s*{number})*)\n\s*\]")
    text = numbers.sub(lambda found: "[" + " ".join(found.group(1).split()) + "]", text) + "\n"
    return wording.unseen_spelled(text)


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
:root{color-scheme:light dark;--page:#f5f6f8;--card:#fff;--ink:#1f2430;--soft:#667085;
--line:#e3e6eb;--blue:#2563a8;--wash:#eaf1f9}
@media (prefers-color-scheme:dark){:root{--page:#14171c;--card:#1d2129;--ink:#e6e9ef;
--soft:#98a2b3;--line:#313743;--blue:#7fb2e8;--wash:#223044}}
*{box-sizing:border-box}
body{font:16px/1.5 system-ui,-apple-system,"Segoe UI",Roboto,sans-serif;margin:0;
background:var(--page);color:var(--ink)}
main{max-width:1080px;margin:0 auto;padding:2.2rem 1.2rem 3rem}
h1{font-size:1.7rem;line-height:1.25;margin:0 0 .3rem;overflow-wrap:anywhere}
h2{font-size:1.15rem;margin:2.4rem 0 .7rem}
.soft{color:var(--soft)}p.soft{margin:.2rem 0;overflow-wrap:anywhere}
.tiles{display:flex;flex-wrap:wrap;gap:.8rem;margin:1.4rem 0 1rem}.tiles .card{flex:1 1 150px}
.card,figure{background:var(--card);border:1px solid var(--line);border-radius:12px}
.card{padding:.9rem 1.1rem;overflow-x:auto}
.tiles b{display:block;font-size:1.75rem;line-height:1.2;font-variant-numeric:tabular-nums}
.tiles span{font-size:.82rem;color:var(--soft)}
.warnings{background:var(--card);border:2px solid #c62828;border-left-width:8px;
border-radius:8px;padding:.7rem 1rem;margin:1rem 0;font-weight:600}
.warnings ul{margin:0;padding-left:1.2rem}
.verdict{background:var(--wash);border-left:4px solid var(--blue);border-radius:8px;
padding:.7rem 1rem;margin:1rem 0}
table{border-collapse:collapse;width:100%;font-size:.92rem;font-variant-numeric:tabular-nums}
th{font-weight:600;color:var(--soft);font-size:.82rem}
th,td{padding:.38rem .7rem;border-bottom:1px solid var(--line);text-align:right;
vertical-align:top}
tr:last-child td{border-bottom:0}
th.text,td.text{text-align:left;overflow-wrap:anywhere}
.best{font-weight:700;color:var(--blue)}
figure{margin:0 0 1rem;padding:1rem}
figcaption{font-weight:600;margin-bottom:.6rem}
figure img{display:block;max-width:100%;margin:auto;background:#fff;border-radius:8px}
meter{width:7rem;height:.7rem;vertical-align:middle}
summary{cursor:pointer;color:var(--blue);margin:.6rem 0}
ul.soft{margin:.6rem 0;padding-left:1.2rem;font-size:.92rem}
@media print{body{background:#fff}figure,tr{break-inside:avoid}}
"""


def _page(report: Report, pictures: dict[str, bytes]) -> str:
    """One page with everything in it, that can be mailed; no script, nothing fetched."""
    rows = ", ".join(
        f"{n:,} {escaped(split)}" for split, n in report.examples.items() if n is not None
    )
    verdict = report.verdict()
    seconds = ", ".join(f"{name.replace('_', ' ')} {s:.1f}" for name, s in report.seconds.items())
    parts = [
        f"<h1>{escaped(report.task.capitalize())}</h1>",
        f'<p class="soft">Encoder: {escaped(report.encoder)}</p>',
        f'<p class="soft">Examples: {rows}</p>',
        warned(report.warnings),
        _tiles(report),
        f'<p class="verdict">{escaped(verdict)}</p>' if verdict else "",
        "<h2>Metrics</h2>",
        _metrics_table(report),
        _notes(report.notes),
        "<h2>Plots</h2>" if pictures else "",
        *(_figure(name, content) for name, content in pictures.items()),
        *_classes(report),
        *_confused(report),
        *_mistakes_table(report),
        f'<p class="soft">Seconds: {escaped(seconds)}</p>' if seconds else "",
    ]
    return page(f"{report.task} with {report.encoder}", parts)


def escaped(text: str) -> str:
    """A text from data as HTML that shows it, and nothing that it might ask for."""
    return html.escape(visible(text))


def page(title: str, parts: list[str]) -> str:
    """A page of parts that are HTML already; empty ones are left out."""
    title = escaped(title)
    return (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>{title}</title>'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<style>{_STYLE}</style></head>\n<body><main>\n"
        + "\n".join(part for part in parts if part)
        + "\n</main></body></html>\n"
    )


def _tiles(report: Report) -> str:
    first = _FIRST[report.task]
    more = ("exact_match", "accuracy", "macro_f1", "recall_at_1", "mrr", "roc_auc", "pr_auc")
    wanted = (first, *more, "pearson", "rmse", "mae", "ece")
    values = {name: report.metrics.get(name) for name in wanted}
    tiles = [
        f'<div class="card"><span>{escaped(name)}</span><b>{value:.3f}</b>'
        f"<span>{_spread(report, name)}</span></div>"
        for name, value in values.items()
        if value is not None
    ]
    return f'<div class="tiles">{"".join(tiles)}</div>' if tiles else ""


def _metrics_table(report: Report) -> str:
    columns = [report.metrics, *report.baselines.values()]
    rows = []
    for name in report.metrics:
        values = [column.get(name) for column in columns]
        best = _best(name, values)
        cells = [f'<b class="best">{shown(v)}</b>' if v == best else shown(v) for v in values]
        rows.append([escaped(name), cells[0], _spread(report, name), *cells[1:]])
    others = [_baseline_name(report.task, name) for name in report.baselines]
    return table(["", "this model", "95 % interval", *others], rows, text=(0,))


def _best(name: str, values: list[float | None]) -> float:
    """The best value; NaN, which equals nothing, where there is nothing to compare."""
    known = [value for value in values if value is not None]
    if len(values) < 2 or not known:
        return math.nan
    return min(known) if name in _LOW_IS_GOOD else max(known)


def warned(warnings: list[str]) -> str:
    """A box that can't be overlooked."""
    items = "".join(f"<li>{escaped(warning)}</li>" for warning in warnings)
    return f'<div class="warnings" role="alert"><ul>{items}</ul></div>' if warnings else ""


def _notes(notes: list[str]) -> str:
    items = "".join(f"<li>{escaped(note)}</li>" for note in notes)
    return f'<ul class="soft">{items}</ul>' if notes else ""


def _figure(name: str, content: bytes) -> str:
    data, title = base64.b64encode(content).decode("ascii"), escaped(_PICTURES.get(name, name))
    return (
        f"<figure><figcaption>{title}</figcaption>"
        f'<img alt="{title}" src="data:image/png;base64,{data}"></figure>'
    )


def _classes(report: Report) -> list[str]:
    """All classes; behind a fold where there are many."""
    if not report.per_class:
        return []
    rows = [
        [
            f"#{number}",
            _cell(row["class"]),
            *(f"{row[key]:.3f}" for key in ("precision", "recall", "f1")),
            f'<meter max="1" value="{row["f1"]:.3f}"></meter>',
            f"{row['support']:,}",
        ]
        for number, row in enumerate(report.per_class)
    ]
    heads = ["", "class", "precision", "recall", "F1", "", "support"]
    whole = table(heads, rows, text=(0, 1))
    if len(rows) <= _MANY_CLASSES:
        return ["<h2>Classes</h2>", whole]
    order = sorted(range(len(rows)), key=lambda i: report.per_class[i]["f1"])
    weakest = table(heads, [rows[i] for i in order[:10]], text=(0, 1))
    fold = f"<details><summary>All {len(rows)} classes</summary>{whole}</details>"
    return ["<h2>The ten weakest classes</h2>", weakest, fold]


def _confused(report: Report) -> list[str]:
    names = report.class_names or []
    if not report.confusion or len(names) < 3:
        return []
    pairs = metrics.most_confused(np.array(report.confusion), _PAIRS)
    rows = [[_cell(names[true]), _cell(names[guess]), str(n)] for true, guess, n in pairs]
    heads = ["true", "taken for", "texts"]
    return ["<h2>Confused most</h2>", table(heads, rows, text=(0, 1))] if rows else []


def _mistakes_table(report: Report) -> list[str]:
    if not report.mistakes:
        return []
    kinds = {
        "classification": "confidence",
        "multi-label": "off by",
        "similarity": "off by",
        "question-answering": "score",
    }
    badness = kinds.get(report.task, "residual")
    rows = [
        [
            *(_cell(mistake[key]) for key in ("true", "predicted", "badness")),
            f'<div dir="auto">{escaped(_short(mistake["text"]))}</div>',
        ]
        for mistake in report.mistakes
    ]
    heads = ["true", "predicted", badness, "text"]
    title = f"The {len(rows)} worst mistakes" if len(rows) > 1 else "The worst mistake"
    return [f"<h2>{title}</h2>", table(heads, rows, text=(0, 1, 3))]


def table(heads: list[str], rows: list[list[str]], text: tuple[int, ...]) -> str:
    """A table of cells that are HTML already; `text` are the columns that aren't numbers."""
    kinds = [' class="text"' if column in text else "" for column in range(len(heads))]
    header = "".join(f"<th{kind}>{head}</th>" for kind, head in zip(kinds, heads))
    body = "".join(
        "<tr>" + "".join(f"<td{kind}>{cell}</td>" for kind, cell in zip(kinds, row)) + "</tr>\n"
        for row in rows
    )
    return f'<div class="card"><table><tr>{header}</tr>\n{body}</table></div>'


def _cell(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.3f}"
    if isinstance(value, (list, tuple)):
        value = ", ".join(map(str, value)) or "none"
    return escaped(_short(str(value), 80))


def _short(text: str, most: int = 400) -> str:
    return text if len(text) <= most else text[: most - 1] + "…"
