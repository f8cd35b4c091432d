"""The nested JSON files of SQuAD 1.1 and 2.0, as rows: one question each."""

from collections.abc import Iterator
from typing import TypeVar

from tfhub_transfer.errors import InputError
from tfhub_transfer.shapes import Row

_T = TypeVar("_T")

COLUMNS = ["id", "title", "question", "context", "answers"]


def articles(whole: Row) -> list[object] | None:
    """The articles of a SQuAD file; `None` if an object is something else.

    Args:
        whole: What the file holds.

    Example:

    >>> articles({"version": "1.1", "data": []})
    []
    """
    data = whole.get("data")
    if not isinstance(data, list):
        return None
    known = any(isinstance(article, dict) and "paragraphs" in article for article in data)
    return data if known or (not data and set(whole) <= {"data", "version"}) else None


def rows(data: list[object], path: object) -> Iterator[tuple[int, Row]]:
    """Rows of articles, numbered from 1; a question that `is_impossible` has no answers.

    Args:
        data: What `articles` found.
        path: The file, for messages.

    Raises:
        InputError: If an article, paragraph or question isn't as SQuAD has it.
    """
    number = 0
    for a, article in enumerate(data):
        paragraphs = _part(article, "paragraphs", list, path, f"data[{a}]")
        title = article.get("title") if isinstance(article, dict) else None
        for p, paragraph in enumerate(paragraphs):
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
                yield number, {**row, "title": title, "context": context}


def _part(whole: object, key: str, kind: type[_T], path: object, place: str) -> _T:
    found: object = whole.get(key) if isinstance(whole, dict) else None
    if not isinstance(found, kind):
        raise InputError(
            f"{path}, {place}: expected {key!r} with {'a list' if kind is list else 'a text'}, as "
            f"in SQuAD's files. Received: {str(whole)[:60]}"
        )
    return found
