"""What a model reads of a text while it writes: tables of shares, darker where it reads more."""

from collections.abc import Sequence

from tfhub_transfer.reporting.contents import Attention
from tfhub_transfer.reporting.pages import markup
from tfhub_transfer.reporting.pages.markup import escaped

# Percent from which a cell is one step darker.
_STEPS = (5, 15, 30, 60)
_SAID = (
    "Percent of the attention of the decoder's last layer, the mean of its heads: for each piece of"
    " the answer (a row) the pieces of the text (columns) that it was written by. What is below 1 %"
    " is blank."
)


def attention_tables(found: Sequence[Attention]) -> list[str]:
    """A table for each answer, behind folds but for the first; numbers say what colours show.

    Args:
        found: What was read, for each answer.
    """
    if not found:
        return []
    first, *others = (_table(each, number) for number, each in enumerate(found, start=1))
    folds = [markup.fold(f"Answer {number}", table) for number, table in enumerate(others, start=2)]
    return ["<h2>What is read while writing</h2>", f'<p class="soft">{_SAID}</p>', first, *folds]


def _table(found: Attention, number: int) -> str:
    heads = "".join(f'<th scope="col">{escaped(piece)}</th>' for piece in found["source"])
    rows = "".join(
        f'<tr><th scope="row">{escaped(piece)}</th>{"".join(map(_cell, shares))}</tr>\n'
        for piece, shares in zip(found["answer"], found["weights"])
    )
    return (
        f'<div class="card"><table class="reading"><caption class="soft">Answer {number}</caption>'
        f'<thead><tr><th scope="col">written</th>{heads}</tr></thead>\n<tbody>{rows}</tbody>'
        "</table></div>"
    )


def _cell(share: float) -> str:
    percent = round(100 * share)
    step = sum(percent >= least for least in _STEPS)
    kind = f' class="s{step}"' if step else ""
    return f"<td{kind}>{percent or ''}</td>"
