"""How an export searches for texts: kept beside its graph, which doesn't tell, for who checks it.

`assets.extra/search.json` has the arguments of each task's search. TF Serving passes it over.
"""

import contextlib
import dataclasses
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from tfhub_transfer.errors import InputError
from tfhub_transfer.models.transfer import TransferModel

FILE = Path("assets.extra", "search.json")


def write(models: Mapping[str, TransferModel], folder: Path) -> None:
    """Keeps how tasks search for texts; nothing, if none does.

    Args:
        models: By the name of its signature.
        folder: Of a version.
    """
    found = {
        name: dataclasses.asdict(each.task.search)
        for name, each in models.items()
        if each.task.search is not None
    }
    if found:
        path = folder / FILE
        path.parent.mkdir(exist_ok=True)
        path.write_text(json.dumps(found, ensure_ascii=False), encoding="utf-8")


@contextlib.contextmanager
def as_exported(models: Mapping[str, TransferModel], folder: Path) -> Iterator[None]:
    """While models search as an export does; of one that doesn't say how, as they are.

    Args:
        models: By the name of its signature.
        folder: Of a version.

    Raises:
        InputError: If it can't be read.
    """
    before = {name: each.task.search for name, each in models.items()}
    try:
        for name, how in _read(folder / FILE).items():
            if before.get(name) is not None:
                models[name].task.search = how
        yield
    finally:
        for name, each in models.items():
            if before[name] is not None:
                each.task.search = before[name]


def _read(path: Path) -> Mapping[str, Mapping[str, Any]]:
    if not path.exists():
        return {}
    try:
        found = json.loads(path.read_text("utf-8"))
        if isinstance(found, dict) and all(isinstance(each, dict) for each in found.values()):
            return found
    except (OSError, ValueError):
        pass
    raise InputError(
        "the file that says how an export searches for texts is damaged; export again. "
        f"Received: {path}"
    )
