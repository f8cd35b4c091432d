"""What a search found: a few lines for a screen, and a page that holds its pictures."""

import dataclasses
import functools
from collections.abc import Mapping, Sequence
from pathlib import Path

from matplotlib.figure import Figure

from tfhub_transfer.errors import InputError, visible
from tfhub_transfer.incoming import wording
from tfhub_transfer.reporting import search_plots, searches
from tfhub_transfer.reporting.pages import searched
from tfhub_transfer.reporting.searches import Effects, Record, Search, Trial
from tfhub_transfer.storage import atomic, opening


@dataclasses.dataclass(frozen=True)
class SearchReport:
    """What a search found; `str(report)` says it in a few lines, and notebooks show its plots.

    Attributes:
        search: The trials, the best and the default of them, and what is known of luck.
    """

    search: Search

    @property
    def best(self) -> Trial | None:
        """The trial that was chosen; `None` if all failed."""
        return self.search.best

    @property
    def default(self) -> Trial | None:
        """The trial of what would be without a search; `None` if there is none."""
        return self.search.default

    @functools.cached_property
    def effects(self) -> Effects:
        """How much of the differences between trials goes with which setting."""
        return searches.effects(self.search)

    def html(self) -> str:
        """The page, with everything in it."""
        settings = searched.ordered(self.search.varied, self.effects)
        pictures = {
            "time": search_plots.over_time(self.search),
            "effects": search_plots.effects(self.search, settings, self.effects),
            "parallel": search_plots.parallel(self.search, self.search.varied),
            "spreads": search_plots.spreads(self.search),
        }
        known = {name: content for name, content in pictures.items() if content is not None}
        return searched.page(self.search, self.effects, known)

    def save(self, path: str | Path) -> Path:
        """Writes the page as one file that needs no other, such as `tuning.html`.

        Args:
            path: The file; one that is there is replaced.

        Returns:
            The file.

        Raises:
            InputError: If it can't be written.
        """
        target = opening.path_of(path)
        try:
            atomic.write_text(target, self.html())
        except OSError as error:
            raise InputError(
                f"the page of a search can't be written; name another file. Received: {target} "
                f"({error})"
            ) from error
        return target

    def plot(self) -> Figure:
        """Scores against time, as a figure."""
        return search_plots.over_time_figure(self.search)

    def plot_effects(self) -> Figure:
        """Scores against each setting, as a figure; of a search that varies none it has nothing."""
        settings = searched.ordered(self.search.varied, self.effects)
        return search_plots.effects_figure(self.search, settings, self.effects)

    def __str__(self) -> str:
        lines = [searches.verdict(self.search), *searches.on_luck(self.search), self.effects.said]
        shares = sorted(self.effects.shares.items(), key=lambda each: -each[1])
        if shares:
            lines.append(", ".join(f"{name} {searches.percent(share)}" for name, share in shares))
        return visible("\n".join(map(wording.wrapped, lines)))


def of_records(records: Sequence[Record], told: Mapping[str, object]) -> SearchReport:
    """The report of a search, out of what was noted of it; see `searches.read`."""
    return SearchReport(searches.read(records, told))
