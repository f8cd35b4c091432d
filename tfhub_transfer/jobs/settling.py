"""How a trained model is to search for its answers, where these are texts."""

import dataclasses

from tfhub_transfer.errors import InputError
from tfhub_transfer.jobs.options.declaring import Drawn, Searched, names_of
from tfhub_transfer.models.transfer import TransferModel


def said(job: Searched) -> dict[str, object]:
    """What a job says of it, by the names of arguments of `Search`.

    Args:
        job: The job.
    """
    kind = Drawn if isinstance(job, Drawn) else Searched
    given = {name: getattr(job, name) for name in names_of(kind)}
    return {
        name: value for name, value in given.items() if value is not None and value is not False
    }


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
