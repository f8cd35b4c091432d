"""The nested JSON files of SQuAD 1.1 and 2.0, as rows: one question each."""

import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from tfhub_transfer.errors import InputError

COLUMNS = ["id", "title", "question", "context", "answers"]


def articles(lines: Iterable[str]) -> list[Any] | None:
    """The articles of a SQuAD file; `None` if the lines are something else, as JSON lines are.

    No more than the first line is read if that alone shows what the file is.

    Args:
        lines: The file's lines.

    Raises:
        InputError: If something follows a SQuAD object.

    Example:

    >>> articles(['{"version": "1.1",', '"data": []}'])
    []
    """
    rest = iter(lines)
    first = next((line for line in rest if line.strip()), "")
    found = _parsed(first)
    if found is None and first.lstrip().startswith("{"):
        found = _parsed(first + "".join(rest))
    data = found.get("data") if isinstance(found, dict) else None
    if not isinstance(data, list):
        return None
    if any(line.strip() for line in rest):
        raise InputError(
            "a file of SQuAD holds one JSON object; put every other one in a file of its own. "
            "Received: more lines after it"
        )
    return data


def _parsed(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


def questions(data: list[Any], path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """Rows of articles, numbered from 1; a question that `is_impossible` has no answers.

    Args:
        data: What `articles` found.
        path: The file, for messages.

    Raises:
        InputError: If an article, paragraph or question isn't as SQuAD has it.
    """
    number = 0
    for a, article in enumerate(data):
        for p, paragraph in enumerate(_part(article, "paragraphs", list, path, f"data[{a}]")):
            place = f"data[{a}].paragraphs[{p}]"
            context = _part(paragraph, "context", str, path, place)
            for q, asked in enumerate(_part(paragraph, "qas", list, path, place)):
                number += 1
                _part(asked, "question", str, path, f"{place}.qas[{q}]")
                row = {key: asked[key] for key in COLUMNS if key in asked}
                if not isinstance(asked.get("is_impossible", False), bool):
                    raise InputError(
                        f"{path}, {place}.qas[{q}]: `is_impossible` must be true or false. "
                        f"Received: {asked['is_impossible']!r}"
                    )
                if asked.get("is_impossible"):
                    row["answers"] = []  # what it has are only plausible ones
                yield number, {**row, "title": article.get("title"), "context": context}


def _part(whole: Any, key: str, kind: type, path: Path, place: str) -> Any:
    found = whole.get(key) if isinstance(whole, dict) else None
    if not isinstance(found, kind):
        raise InputError(
            f"{path}, {place}: expected {key!r} with {'a list' if kind is list else 'a text'}, as "
            f"in SQuAD's files. Received: {str(whole)[:60]}"
        )
    return found
