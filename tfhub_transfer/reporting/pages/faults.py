"""The page of checked data: what was found, which rows that is, and what to do about it."""

from collections.abc import Mapping, Sequence

from tfhub_transfer.incoming.wording import shown
from tfhub_transfer.reporting.findings import Finding, Row, spelled
from tfhub_transfer.reporting.pages import markup
from tfhub_transfer.reporting.pages.markup import breakable, escaped, short

# Rows of a finding that the page shows, and characters of a text; the files have all.
MOST_ROWS = 200
_LONGEST_TEXT = 300
_LONGEST_LABEL = 80


def page(
    told: tuple[str, str | None, Sequence[str]],
    rows: Sequence[Row],
    findings: Sequence[Finding],
    not_looked_at: Mapping[str, str],
) -> str:
    """One page with everything in it, that can be mailed.

    Args:
        told: Where the data come from, the task, and what was decided on the way.
        rows: All rows.
        findings: What was looked for.
        not_looked_at: What wasn't, and why.
    """
    source, task, notes = told
    found = [each for each in findings if each.count]
    taken = f"Taken for data of the {task} task." if task else "Without labels."
    parts = [
        f"<h1>Check of {breakable(short(source, _LONGEST_TEXT))}</h1>",
        f'<p class="soft">{escaped(taken)} Nothing was changed: what is here is ranked, and you '
        "decide.</p>",
        _tiles(rows, found),
        markup.noted(notes),
        "<h2>What was looked for</h2>",
        _overview(findings),
        *(part for each in found for part in _section(each, rows)),
    ]
    if not_looked_at:
        cells = [[escaped(what), escaped(why)] for what, why in not_looked_at.items()]
        parts += ["<h2>Not looked at</h2>", markup.table(["what", "why"], cells, text=(0, 1))]
    return markup.page(f"Check of {short(source, _LONGEST_LABEL)}", parts)


def _tiles(rows: Sequence[Row], found: Sequence[Finding]) -> str:
    counts: dict[str, int] = {}
    for row in rows:
        counts[row.split] = counts.get(row.split, 0) + 1
    suspects = {each.row for finding in found if finding.suspicious for each in finding.rows}
    numbers = {f"{name} rows": count for name, count in counts.items()}
    numbers["rows to look at"] = len(suspects)
    tiles = [
        f'<div class="card"><span>{escaped(name)}</span><b>{count:,}</b></div>'
        for name, count in numbers.items()
    ]
    return f'<div class="tiles">{"".join(tiles)}</div>'


def _overview(findings: Sequence[Finding]) -> str:
    cells = [[escaped(f.name), f"{f.count:,}", f"<div>{escaped(f.says)}</div>"] for f in findings]
    return markup.table(["what", "found", "in words"], cells, text=(0, 2), stacked=True)


def _section(finding: Finding, rows: Sequence[Row]) -> list[str]:
    title = f"{finding.name[0].upper()}{finding.name[1:]}"
    parts = [
        f"<h2>{escaped(title)}: {finding.count:,}</h2>",
        f'<p class="verdict">{escaped(finding.says)}</p>',
        f'<p class="soft">What to do: {escaped(finding.advice)}</p>',
    ]
    if finding.cells:
        cells = [list(map(_cell, each)) for each in finding.cells[:MOST_ROWS]]
        words = tuple(i for i, each in enumerate(finding.cells[0]) if isinstance(each, str))
        parts.append(markup.table(list(map(escaped, finding.heads)), cells, words, stacked=True))
    if finding.rows:
        parts.append(_rows(finding, rows))
    left = max(len(finding.rows), len(finding.cells)) - MOST_ROWS
    if left > 0:
        parts.append(f'<p class="soft">And {left:,} more, in check.json.</p>')
    return parts


def _rows(finding: Finding, rows: Sequence[Row]) -> str:
    shown_rows = finding.rows[:MOST_ROWS]
    grouped = any(each.group is not None for each in shown_rows)
    suggests = any(each.suggested is not None for each in shown_rows)
    heads = [*(["group"] if grouped else []), "split", "row", "text", "label"]
    heads += [*(["suggested"] if suggests else []), "score", "why"]
    cells = []
    for each in shown_rows:
        own = rows[each.row]
        texts = " | ".join(own.texts)
        row = [f"{each.group:,}" if each.group is not None else "-"] if grouped else []
        row += [escaped(own.split), f"{own.number:,}", f"<div>{_text(texts)}</div>"]
        row.append(_label(own.label))
        row += [_label(each.suggested)] if suggests else []
        cells.append([*row, shown(each.score, 3), f"<div>{breakable(each.why)}</div>"])
    at = {name: place for place, name in enumerate(heads)}
    words = ("split", "text", "label", "suggested", "why")
    text = tuple(at[name] for name in words if name in at)
    return markup.table(heads, cells, text, pick=(at["split"], at["label"]))


def _text(text: str) -> str:
    return breakable(short(text, _LONGEST_TEXT)) or "(empty)"


def _label(label: object) -> str:
    return "-" if label is None else breakable(short(spelled(label), _LONGEST_LABEL))


def _cell(value: object) -> str:
    if isinstance(value, int):
        return f"{value:,}"
    return shown(value, 3) if isinstance(value, float) else _label(value)
