"""How a trained model is to search for its answers, where these are texts."""

import dataclasses
from collections.abc import Iterator

from tfhub_transfer.data import reading
from tfhub_transfer.errors import InputError
from tfhub_transfer.jobs.inputs import undescribed
from tfhub_transfer.jobs.options.declaring import Drawn, Searched, names_of
from tfhub_transfer.models.transfer import TransferModel

_COLUMNS = ("source", "target")


def said(job: Searched) -> dict[str, object]:
    """What a job says of it, by the names of arguments of `Search`.

    Args:
        job: The job.
    """
    kind = Drawn if isinstance(job, Drawn) else Searched
    given = {name: getattr(job, name) for name in names_of(kind)}
    found = {name: each for name, each in given.items() if each is not None and each is not False}
    if job.glossary is not None:
        found["glossary"] = _glossary(job.glossary)
    return found


def _glossary(source: str) -> list[tuple[str, str]]:
    """The terms of a table, and what stands for each."""
    expected = (
        "a glossary is a table in UTF-8, as CSV with quotes around fields that hold a comma; "
        "convert it: `--encoding`, `--delimiter` and `--quoting` are of the texts"
    )
    with undescribed(source, ("--encoding", "--delimiter", "--quoting"), expected):
        return list(_pairs(source))


def _pairs(source: str) -> Iterator[tuple[str, str]]:
    table = reading.Table(source, reading.Asked(labels=False))
    if not all(map(table.holds, _COLUMNS)):
        raise InputError(
            "a glossary has the columns `source`, of terms, and `target`, of what stands for them; "
            f"call them so in {source}. Received: {', '.join(map(repr, table.columns)) or 'none'}"
        )
    number = None
    for number, row in table:
        pair = [row.get(name) for name in _COLUMNS]
        if not all(isinstance(each, str) and each.strip() for each in pair):
            raise InputError(
                f"{source}, {table.unit} {number}: a glossary has a term and what stands for it in "
                f"each row, as texts; fill both in, or drop the row. Received: {pair}"
            )
        yield str(pair[0]), str(pair[1])
    if number is None:
        raise InputError(f"the glossary has no terms; give rows of them. Received: {source}")


def settle(model: TransferModel, job: Searched) -> None:
    """Lets a model search for texts as a job says.

    Args:
        model: The model; of several tasks those that write texts search so.
        job: What was said.

    Raises:
        InputError: If no task writes texts, or what was said doesn't go together.
    """
    given = said(job)
    writing = [part.task for part in model.parts.values() if part.task.search is not None]
    if given and not writing:
        told = ", ".join(f"--{name.replace('_', '-')}" for name in given)
        raise InputError(
            "how texts are searched for is said of tasks that write some, such as translation; "
            f"leave it out. Received: {told}, and the {model.task.name} task"
        )
    for task in writing:
        task.search = dataclasses.replace(task.search, **given)
        if "seed" in given and not task.search.sample:
            raise InputError(
                "`--seed` is of pieces that are drawn; give `--sample` too. "
                f"Received: --seed {given['seed']}"
            )
