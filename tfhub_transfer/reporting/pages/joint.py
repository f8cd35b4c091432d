"""The page of several tasks: a verdict on each, what sharing is worth, and the curves."""

from urllib.parse import quote

from tfhub_transfer.incoming.wording import shown
from tfhub_transfer.reporting import standings
from tfhub_transfer.reporting.pages import markup
from tfhub_transfer.reporting.pages.markup import breakable, cell, escaped
from tfhub_transfer.reporting.pages.subjects import Several

TOGETHER = "together"
NO_BASELINE = "No baseline to compare with."


def page(report: Several, pictures: dict[str, bytes]) -> str:
    """One page with a part for each task, from which its own page is a link away.

    Args:
        report: What is shown.
        pictures: The curves of each task as PNGs, by its name, and of all as `TOGETHER`'s.
    """
    seconds = ", ".join(f"{name.replace('_', ' ')} {s:.1f}" for name, s in report.seconds.items())
    kept = [str(said) for said in report.history.get("kept", [])]
    parts = [
        "<h1>Several tasks on one encoder</h1>",
        f'<p class="soft">Encoder: {escaped(report.encoder)}</p>',
        markup.warned(report.warnings),
        "<h2>Verdicts</h2>",
        _overview(report),
        *_sharing(report),
        markup.noted(report.notes),
        *(part for name in report.reports for part in _task(report, name, pictures)),
        "<h2>All together</h2>" if kept or TOGETHER in pictures else "",
        markup.noted(kept),
        _figure("The loss of all tasks together", TOGETHER, pictures),
        "<h2>All metrics</h2>",
        _metrics(report),
        f'<p class="soft">Seconds: {escaped(seconds)}</p>' if seconds else "",
    ]
    return markup.page(f"{report.task} with {report.encoder}", parts)


def _overview(report: Several) -> str:
    """What each task is judged by, beside its baselines."""
    rows = []
    for name, own in report.reports.items():
        metric = own.judged_by() or ""
        numbers = own.metrics.get(metric)
        found = {rival: column.get(metric) for rival, column in own.baselines.items()}
        rivals = {rival: value for rival, value in found.items() if value is not None}
        best = own.standing.best(
            metric,
            [numbers, *(value for rival, value in rivals.items() if rival != standings.ORACLE)],
        )
        beside = [
            f"{escaped(own.standing.baseline_name(rival))} {_score(value, best, rival)}"
            for rival, value in rivals.items()
        ]
        counts = [own.examples.get(split) for split in ("train", "validation", "test")]
        row = [_link(report, name), breakable(metric), _score(numbers, best), own.spread(metric)]
        row.append(", ".join(beside))
        rows.append(row + ["-" if count is None else f"{count:,}" for count in counts])
    heads = ["task", "judged by", "together", "95 % interval", "baselines"]
    return markup.table([*heads, "train", "validation", "test"], rows, (0, 1, 4), stacked=True)


def _sharing(report: Several) -> list[str]:
    """What each task reached alone, by how much that is less or more, and what it cost."""
    if not report.alone:
        return []
    rows = []
    for name in report.alone:
        found = report.differences.get(name)
        seconds = report.alone_seconds.get(name)
        row = [_link(report, name)]
        if found is None:
            row += ["-"] * 5
        else:
            # What chance explains has no winner.
            told = found.better is not None
            best = found.standing.best(found.metric, [found.first, found.second] * told)
            row += [breakable(found.metric), _score(found.first, best), _score(found.second, best)]
            row += [f"{found.value:+.4f}", spread(found.interval)]
        rows.append([*row, "-" if seconds is None else f"{seconds:,.1f}"])
    heads = [
        "task",
        "judged by",
        "together",
        "alone",
        "difference",
        "95 % interval",
        "seconds alone",
    ]
    said = "".join(
        f"<li>{escaped(line)}</li>" for line in [*report.sharing().values(), *report.cost()]
    )
    return [
        "<h2>What sharing is worth</h2>",
        f'<ul class="verdict">{said}</ul>',
        markup.table(heads, rows, (0, 1), stacked=True),
    ]


def _task(report: Several, name: str, pictures: dict[str, bytes]) -> list[str]:
    """The verdict on one task, and how it was trained."""
    own = report.reports[name]
    verdict = own.verdict() or NO_BASELINE
    metric = own.judged_by()
    if metric and own.spread(metric):
        verdict += f" The 95 % interval of {metric}: {own.spread(metric)}."
    counts = [f"{n:,} {split}" for split, n in own.examples.items() if n is not None]
    return [
        f"<h2>{_link(report, name)}</h2>",
        f'<p class="soft">{escaped(own.task)}; examples: {escaped(", ".join(counts))}</p>',
        f'<p class="verdict">{escaped(verdict)}</p>',
        markup.warned(own.warnings),
        markup.noted([str(said) for said in own.history.get("kept", [])]),
        _figure("How it was trained: its head alone, then all tasks together", name, pictures),
    ]


def _metrics(report: Several) -> str:
    rows = [
        [_link(report, name), breakable(metric), shown(value), own.spread(metric)]
        + ([shown(report.alone.get(name, {}).get(metric))] if report.alone else [])
        for name, own in report.reports.items()
        for metric, value in own.metrics.items()
    ]
    heads = ["task", "metric", "learned together", "95 % interval"]
    return markup.table([*heads, *(["alone"] if report.alone else [])], rows, text=(0, 1))


def spread(interval: tuple[float, float] | None) -> str:
    """An interval of a difference as it is shown; empty where there is none."""
    return "" if interval is None else f"{interval[0]:+.3f} to {interval[1]:+.3f}"


def _score(value: float | None, best: float, rival: str = "") -> str:
    wins = value is not None and value == best and rival != standings.ORACLE
    return f'<b class="best">{shown(value)}</b>' if wins else shown(value)


def _figure(title: str, name: str, pictures: dict[str, bytes]) -> str:
    return markup.figure(title, pictures[name]) if name in pictures else ""


def _link(report: Several, name: str) -> str:
    """The name of a task, which leads to its own page."""
    return f'<a href="{quote(report.folders()[name])}/report.html">{cell(name)}</a>'
