"""The page of a report: what was found, beside what, and where it goes wrong."""

import json
from collections.abc import Mapping, Sequence
from typing import Literal

import numpy as np

from tfhub_transfer.incoming import wording
from tfhub_transfer.reporting import metrics, standings
from tfhub_transfer.reporting.contents import GroupRow, Mistake, Taken
from tfhub_transfer.reporting.pages import markup, passages, reading, weaknesses
from tfhub_transfer.reporting.pages.markup import cell, escaped
from tfhub_transfer.reporting.pages.subjects import Single

_PAIRS = 10
_MANY_CLASSES = 30
_EXCERPT = 400
_FEW_TYPES = 9
_PICTURES = {
    "curves": "How it was trained",
    "confusion": "What is taken for what",
    "roc_pr": "How well each class is ranked",
    "thresholds": "What a threshold brings",
    "reliability": "Whether its confidence can be believed",
    "selective": "How right the surest answers are",
    "scatter": "How far it is off",
}
# These stand beside the numbers that they show.
_ELSEWHERE = ("curves", "thresholds")
_SIDES = {"missed": "true", "gold": "true", "spurious": "predicted", "given": "predicted"}
_NAMES = {"f1": "F1"}
_RATES: tuple[Literal["precision", "recall", "f1"], ...] = ("precision", "recall", "f1")


def page(report: Single, pictures: dict[str, bytes]) -> str:
    """One page with everything in it, that can be mailed.

    Args:
        report: What is shown.
        pictures: PNGs by name.
    """
    rows = ", ".join(
        f"{n:,} {escaped(split)}" for split, n in report.examples.items() if n is not None
    )
    verdict = report.verdict()
    seconds = ", ".join(f"{name.replace('_', ' ')} {s:.1f}" for name, s in report.seconds.items())
    parts = [
        f"<h1>{escaped(report.task.capitalize())}</h1>",
        f'<p class="soft">Encoder: {escaped(report.encoder)}</p>',
        f'<p class="soft">Examples: {rows}</p>',
        markup.warned(report.warnings),
        _tiles(report),
        f'<p class="verdict">{escaped(verdict)}</p>' if verdict else "",
        "<h2>Metrics</h2>",
        _metrics_table(report),
        # What training kept stands where its curves do.
        markup.noted([note for note in report.notes if note not in report.history.get("kept", [])]),
        *_entities(report),
        *_mistakes(report),
        *_slices(report),
        *weaknesses.sections(report.weak_spots),
        *weaknesses.curve_section(report.learning_curve),
        *reading.attention_tables(report.attention),
        *_thresholds(report, pictures),
        *_classes(report),
        *_confused(report),
        "<h2>Plots</h2>" if set(pictures) - set(_ELSEWHERE) else "",
        *(
            _figure(name, pictures, report.standing.pictures)
            for name in pictures
            if name not in _ELSEWHERE
        ),
        *_training(report, pictures),
        f'<p class="soft">Seconds: {escaped(seconds)}</p>' if seconds else "",
    ]
    return markup.page(f"{report.task} with {report.encoder}", parts)


def _tiles(report: Single) -> str:
    wanted = (report.standing.judged[0], *report.standing.tiles)
    values = {name: report.metrics.get(name) for name in wanted}
    tiles = [
        f'<div class="card"><span>{escaped(name)}</span><b>{wording.shown(value, 3)}</b>'
        f"<span>{report.spread(name)}</span></div>"
        for name, value in values.items()
        if value is not None
    ]
    return f'<div class="tiles">{"".join(tiles)}</div>' if tiles else ""


def _metrics_table(report: Single) -> str:
    """The winner of each row stands out; who knows the answers doesn't compete."""
    rows = []
    for name, mine in report.metrics.items():
        others = [(rival, column.get(name)) for rival, column in report.baselines.items()]
        competing = [value for rival, value in others if rival != standings.ORACLE]
        best = report.standing.best(name, [mine, *competing])
        cells = [_score(mine, best), report.spread(name)]
        cells += [_score(v, best if rival != standings.ORACLE else None) for rival, v in others]
        rows.append([markup.breakable(name), *cells])
    heads = [escaped(report.standing.baseline_name(name)) for name in report.baselines]
    return markup.table(["", "this model", "95 % interval", *heads], rows, text=(0,))


def _score(value: float | None, best: float | None) -> str:
    shown = wording.shown(value)
    return f'<b class="best">{shown}</b>' if value is not None and value == best else shown


def _entities(report: Single) -> list[str]:
    """How many entities came out how, and what type was taken for which."""
    if not report.entities:
        return []
    counts = report.entities["counts"]
    items = "".join(
        f'<li><mark class="{_sides(kind)} {kind.replace(" ", "-")}">{kind}</mark> '
        f"<b>{count:,}</b></li>"
        for kind, count in counts.items()
    )
    of = escaped(report.entities["of"])
    return [
        f"<h2>{of.capitalize()}</h2>",
        f'<ul class="legend">{items}</ul>',
        _types(report.entities["confusion"], of),
    ]


def _types(confusion: Sequence[Taken], of: str) -> str:
    """Which type was taken for which: all of few types, else what is confused most."""
    count = {(row["true"], row["predicted"]): row["count"] for row in confusion}
    names = sorted({name for pair in count for name in pair if name is not None})
    if not 1 < len(names) <= _FEW_TYPES:
        rows = [
            [cell(true or "nothing"), cell(given or "nothing"), f"{number:,}"]
            for (true, given), number in count.items()
            if true != given
        ]
        heads = ["true type", "taken for", of]
        return markup.table(heads, rows[: 2 * _PAIRS], text=(0, 1)) if rows else ""
    ends: list[str | None] = [*names, *([None] if {a for p in count for a in p} - {*names} else [])]
    rows = [
        [f"<b>{cell(true or 'nothing')}</b>"]
        + [_cross(count.get((true, given), 0), true == given) for given in ends]
        for true in ends
    ]
    heads = ["true, taken for", *(cell(given or "nothing") for given in ends)]
    return markup.table(heads, rows, text=(0,))


def _cross(count: int, right: bool) -> str:
    shown = f"{count:,}" if count else ""
    return f'<b class="best">{shown}</b>' if right and count else shown


def _sides(kind: str) -> str:
    return _SIDES.get(kind, "true predicted")


def _slices(report: Single) -> list[str]:
    parts = []
    for found in report.slices:
        names = list(dict.fromkeys(key for row in found["rows"] for key in row))
        names = [name for name in names if name not in ("group", "low", "high")]
        interval = any("low" in row for row in found["rows"])
        rows = [
            [cell(row["group"]), *(_number(row.get(name)) for name in names)]
            + [_interval(row)] * interval
            for row in found["rows"]
        ]
        heads = ["", *(_NAMES.get(name, name.replace("_", " ")) for name in names)]
        # The interval is that of the first number behind the count.
        heads += [f"95 % of {heads[2]}"] * interval
        parts += [f"<h2>By {escaped(found['by'])}</h2>", markup.table(heads, rows, text=(0,))]
    return parts


def _number(value: object) -> str:
    return f"{value:,}" if isinstance(value, int) else cell(value)


def _figure(name: str, pictures: dict[str, bytes], own: Mapping[str, str] | None = None) -> str:
    titles = {**_PICTURES, **(own or {})}
    return markup.figure(titles.get(name, name), pictures[name]) if name in pictures else ""


def _thresholds(report: Single, pictures: dict[str, bytes]) -> list[str]:
    if not report.thresholds:
        return []
    own = report.thresholds["own"]
    rows = [
        [
            f"{point['threshold']:.4g}" + (" (now)" if point["threshold"] == own else ""),
            *(cell(point[name]) for name in _RATES),
            f"{point['given']:,}",
        ]
        for point in report.thresholds["points"]
    ]
    of = escaped(report.thresholds["of"])
    said = (
        f"What comes of answering only from a score on: {of}. To choose a threshold, use other "
        "examples than these, or the numbers above are too good."
    )
    inside = markup.table(["from", "precision", "recall", "F1", "given"], rows, text=())
    return [
        "<h2>Precision and recall by threshold</h2>",
        f'<p class="soft">{said}</p>',
        _figure("thresholds", pictures),
        markup.fold("Table", inside),
    ]


def _classes(report: Single) -> list[str]:
    """All classes; behind a fold where there are many."""
    if not report.per_class:
        return []
    rows = [
        [
            f"#{number}",
            cell(row["class"]),
            *(f"{row[name]:.3f}" for name in _RATES),
            f'<meter max="1" value="{row["f1"]:.3f}"></meter>',
            f"{row['support']:,}",
        ]
        for number, row in enumerate(report.per_class)
    ]
    heads = ["", "class", "precision", "recall", "F1", "", "support"]
    whole = markup.table(heads, rows, text=(0, 1))
    if len(rows) <= _MANY_CLASSES:
        return ["<h2>Classes</h2>", whole]
    order = sorted(range(len(rows)), key=lambda i: report.per_class[i]["f1"])
    weakest = markup.table(heads, [rows[i] for i in order[:10]], text=(0, 1))
    return [
        "<h2>The ten weakest classes</h2>",
        weakest,
        markup.fold(f"All {len(rows)} classes", whole),
    ]


def _confused(report: Single) -> list[str]:
    names = report.class_names or []
    if not report.confusion or len(names) < 3:
        return []
    pairs = metrics.most_confused(np.array(report.confusion), _PAIRS)
    rows = [[cell(names[true]), cell(names[guess]), str(n)] for true, guess, n in pairs]
    heads = ["true", "taken for", "texts"]
    return ["<h2>Confused most</h2>", markup.table(heads, rows, text=(0, 1))] if rows else []


def _mistakes(report: Single) -> list[str]:
    if not report.mistakes:
        return []
    badness = report.standing.badness
    heads = [*report.standing.columns, badness, "text"]
    pick = tuple(range(len(heads) - 2)) if report.standing.picked else ()
    columns = {"true": "true", "predicted": "predicted", "kinds": "kinds", badness: "badness"}
    counted = {head for head in heads[:-1] if _are_counts(report.mistakes, columns.get(head, head))}
    rows = [
        [
            *(_whole(mistake.get(columns.get(h, h)), h in counted) for h in heads[:-1]),
            _text(mistake),
        ]
        for mistake in report.mistakes
    ]
    text = tuple(i for i, head in enumerate(heads) if head != badness)
    title = f"The {len(rows)} worst mistakes" if len(rows) > 1 else "The worst mistake"
    return [
        f"<h2>{title}</h2>",
        _legend(report),
        markup.table([escaped(head) for head in heads], rows, text, pick),
    ]


def _are_counts(rows: Sequence[Mistake], name: str) -> bool:
    """Whether a column holds whole numbers, and not just shares that are 0 or 1."""
    found = [row.get(name) for row in rows]
    numbers = [value for value in found if isinstance(value, float) and value.is_integer()]
    return len(numbers) == len(found) and any(value > 1 for value in numbers)


def _whole(value: object, is_count: bool) -> str:
    if isinstance(value, str) and len(value) > markup.LONGEST_CELL:  # a cell would hide its end
        return _excerpt(value)
    return f"{value:,.0f}" if is_count and isinstance(value, float) else cell(value)


def _text(mistake: Mistake) -> str:
    if "passage" not in mistake:
        return _excerpt(mistake["text"])
    asked = ""
    if mistake.get("question"):
        question = escaped(markup.short(mistake["question"], _EXCERPT))
        asked = f'<div class="question" dir="auto">{question}</div>'
    shown = passages.marked(mistake["passage"], mistake["marks"])
    return f'{asked}<div class="passage" dir="auto">{shown}</div>'


def _excerpt(text: str) -> str:
    """How a text begins, with more of it to unfold."""
    shown = f'<div dir="auto">{escaped(markup.short(text, _EXCERPT))}</div>'
    if len(text) <= _EXCERPT:
        return shown
    whole = f'<div dir="auto">{escaped(markup.short(text, passages.MOST))}</div>'
    return shown + markup.fold("more of it", whole)


def _legend(report: Single) -> str:
    """What the marks mean, where there are any that the counts of entities don't explain."""
    items = "".join(
        f'<li><mark class="{_sides(kind)} {kind}">{said}</mark></li>'
        for kind, said in report.standing.legend.items()
    )
    return f'<ul class="legend">{items}</ul>' if items else ""


def _training(report: Single, pictures: dict[str, bytes]) -> list[str]:
    """How it was trained, with what, and on what."""
    kept = [str(said) for said in report.history.get("kept", [])]
    parts = [markup.noted(kept), _figure("curves", pictures)]
    if report.setup:
        rows = [[markup.breakable(n), _setting(v)] for n, v in _flat(report.setup).items()]
        parts.append(markup.fold("Setup", markup.table(["", ""], rows, text=(0, 1))))
    if report.profile:
        parts.append("<h2>Data</h2>")
        parts.append(f'<div class="card"><pre>{escaped(report.profile)}</pre></div>')
    return ["<h2>Training</h2>", *parts] if any(parts) else []


def _flat(values: Mapping[str, object], before: str = "") -> dict[str, object]:
    """Settings inside settings by their whole names."""
    found: dict[str, object] = {}
    for name, value in values.items():
        whole = f"{before}{name}"
        found |= _flat(value, f"{whole}: ") if isinstance(value, dict) else {whole: value}
    return found


def _setting(value: object) -> str:
    shown = value if isinstance(value, str) else json.dumps(value, default=str)
    return escaped(markup.short(shown, _EXCERPT))


def _interval(row: GroupRow) -> str:
    if "low" not in row:
        return ""
    return f"{cell(row['low'])} to {cell(row['high'])}"
