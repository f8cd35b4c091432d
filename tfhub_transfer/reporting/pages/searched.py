"""The page of a search: what was found, by which settings, and how much of it is luck."""

import numpy as np

from tfhub_transfer.incoming.wording import shown
from tfhub_transfer.reporting import searches
from tfhub_transfer.reporting.pages import markup
from tfhub_transfer.reporting.pages.markup import breakable, cell, escaped
from tfhub_transfer.reporting.searches import Effects, Search, Setting, Trial, percent

_MANY_TRIALS = 30
_BEST_SHOWN = 10
_CHOICES_SHOWN = 8
_LONGEST_REASON = 400
_LONGEST_HEAD = 40


def page(search: Search, effects: Effects, pictures: dict[str, bytes]) -> str:
    """One page with everything in it, that can be mailed.

    Args:
        search: What was found.
        effects: How much each setting does.
        pictures: PNGs by name: `time`, `effects`, `parallel`, `spreads`, as far as there are.
    """
    names = [each.name for each in search.varied]
    parts = [
        "<h1>Search</h1>",
        f'<p class="soft">{escaped(_counts(search))}</p>',
        _tiles(search),
        f'<p class="verdict">{escaped(searches.verdict(search))}</p>',
        f'<p class="soft">Chosen by: {escaped(search.chosen_by)}</p>' if search.chosen_by else "",
        *_command(search),
        "<h2>Score against time</h2>",
        _figure("The score of each trial, and the best so far", "time", pictures, _time(search)),
        "<h2>How much is luck</h2>",
        markup.noted(searches.on_luck(search)),
        _figure(
            "The trainings of each trial, and the standard error of their mean",
            *("spreads", pictures),
            "The same numbers are in the table of all trials.",
        ),
        "<h2>What each setting does</h2>",
        f'<p class="soft">{escaped(effects.said)}</p>',
        _settings(search, effects),
        _figure(
            "The score against each setting",
            *("effects", pictures),
            f"A panel for each of {', '.join(names)}.",
        ),
        _figure(
            "All settings of all trials: the darker a line, the better its score",
            *("parallel", pictures),
            f"Lines over {', '.join(names)} and {search.objective}, a trial each.",
        ),
        *_failed(search),
        *_trials(search),
    ]
    return markup.page(f"Search by {search.objective}", parts)


def _counts(search: Search) -> str:
    count, failed = len(search.trials), len(search.failed)
    said = f"{count} trial{'s' * (count != 1)}"
    said += f", {failed} of them failed" if failed else ""
    ends = [trial.ended for trial in search.trials if trial.ended is not None]
    said += f", {_duration(max(ends))}" if ends else ""
    return f"{said}. Judged by {search.objective}: {'less' if search.low else 'more'} is better."


def _duration(seconds: float) -> str:
    if seconds >= 7200:
        return f"{seconds / 3600:.1f} hours"
    return f"{seconds / 60:.1f} minutes" if seconds >= 120 else f"{seconds:.1f} seconds"


def _tiles(search: Search) -> str:
    named = {"best": search.best, "default": search.default}
    numbers = [(name, each.score, each.error) for name, each in named.items() if each is not None]
    numbers.append(("better by", search.gain(), search.gain_error()))
    tiles = [
        f'<div class="card"><span>{name}</span><b>{shown(value)}</b>'
        f"<span>{'' if error is None else f'standard error {shown(error)}'}</span></div>"
        for name, value, error in numbers
        if value is not None
    ]
    if search.noise is not None:
        told = percent(search.noise)
        tiles.append(
            f'<div class="card"><span>noise</span><b>{told}</b>'
            "<span>of the scores' variance</span></div>"
        )
    return f'<div class="tiles">{"".join(tiles)}</div>' if tiles else ""


def _command(search: Search) -> list[str]:
    if not search.command:
        return []
    return [
        '<p class="soft">This trains it once more:</p>',
        f'<div class="card"><pre class="command">{escaped(search.command)}</pre></div>',
    ]


def _time(search: Search) -> str:
    """In words what the plot of scores shows."""
    steps = [
        f"{shown(best)} with trial {trial.name}"
        for trial, best, before in zip(
            search.trials, search.best_so_far(), [None, *search.best_so_far()]
        )
        if best is not None and best != before
    ]
    return f"The best so far: {', '.join(steps)}." if steps else "No trial has a score."


def _settings(search: Search, effects: Effects) -> str:
    """What was tried of each setting, what is best, and how much that does."""
    rows = []
    for each in ordered(search.settings, effects):
        share = effects.shares.get(each.name)
        row = [breakable(each.name)]
        if effects.shares:
            row.append("-" if share is None else percent(share))
            row.append("" if share is None else f'<meter max="1" value="{share:.3f}"></meter>')
        row += [_value(trial, each.name) for trial in (search.best, search.default) if trial]
        rows.append([*row, _tried(each)])
    if not rows:
        return ""
    heads = ["setting", *(["share", ""] if effects.shares else [])]
    heads += [name for name, trial in (("best", search.best), ("default", search.default)) if trial]
    text = (0, *range(len(heads) - (2 if search.default else 1), len(heads) + 1))
    return markup.table([*heads, "tried"], rows, text, stacked=True)


def ordered(settings: list[Setting], effects: Effects) -> list[Setting]:
    """Settings with those first that do most; as they are where nobody knows.

    Args:
        settings: The settings.
        effects: How much each does.
    """
    return sorted(settings, key=lambda each: -effects.shares.get(each.name, 0.0))


def _value(trial: Trial, name: str) -> str:
    return _number(trial.values[name]) if name in trial.values else "-"


def _number(value: float | str) -> str:
    return cell(value) if isinstance(value, str) else f"{value:.4g}"


def _tried(setting: Setting) -> str:
    if setting.choices is None:
        low, high = np.nanmin(setting.numbers), np.nanmax(setting.numbers)
        return f"{low:.3g} to {high:.3g}"
    few = [f"<span>{_number(choice)}</span>" for choice in setting.choices[:_CHOICES_SHOWN]]
    rest = len(setting.choices) - len(few)
    return ", ".join(few) + (f" and {rest} more" if rest else "")


def _failed(search: Search) -> list[str]:
    if not search.failed:
        return []
    rows = [
        [cell(trial.name), f"<div>{escaped(markup.short(trial.reason, _LONGEST_REASON))}</div>"]
        for trial in search.failed
    ]
    return ["<h2>Failed trials</h2>", markup.table(["trial", "why"], rows, text=(0, 1))]


def _trials(search: Search) -> list[str]:
    """All trials, the best first; behind a fold where there are many."""
    rows = [*search.ranked, *search.failed]
    whole = _table(search, rows)
    if len(rows) <= _MANY_TRIALS:
        return ["<h2>All trials</h2>", whole]
    few = _table(search, search.ranked[:_BEST_SHOWN])
    return [
        f"<h2>The {_BEST_SHOWN} best trials</h2>",
        few,
        markup.fold(f"All {len(rows)} trials", whole),
    ]


def _table(search: Search, trials: list[Trial]) -> str:
    names = [each.name for each in search.settings]
    spread = any(len(trial.scores) > 1 for trial in search.trials)
    timed = any(trial.seconds is not None for trial in search.trials)
    # Plain, for they stand in attributes too.
    heads = ["trial", _plain(search.objective), *(["spread", "trainings"] if spread else [])]
    heads += [*(["seconds"] if timed else []), *map(_plain, names)]
    rows = []
    for trial in trials:
        row = [_named(search, trial), _score(search, trial)]
        if spread:
            row += ["-" if trial.spread is None else shown(trial.spread)]
            row += [", ".join(f"<span>{shown(score)}</span>" for score in trial.scores) or "-"]
        if timed:
            row += ["-" if trial.seconds is None else f"{trial.seconds:,.1f}"]
        rows.append([*row, *(_value(trial, name) for name in names)])
    return markup.table(heads, rows, text=(0,))


def _plain(name: str) -> str:
    return escaped(markup.short(name, _LONGEST_HEAD))


def _named(search: Search, trial: Trial) -> str:
    roles = [
        name
        for name, other in (("best", search.best), ("default", search.default))
        if other is trial
    ]
    return cell(trial.name) + (f" ({', '.join(roles)})" if roles else "")


def _score(search: Search, trial: Trial) -> str:
    told = "-" if trial.score is None else shown(trial.score)
    return f'<b class="best">{told}</b>' if trial is search.best else told


def _figure(title: str, name: str, pictures: dict[str, bytes], says: str) -> str:
    return markup.figure(title, pictures[name], says) if name in pictures else ""
