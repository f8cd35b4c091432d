"""Ids as the word pieces that they stand for."""

from collections.abc import Sequence
from pathlib import Path

from tfhub_transfer.encoders import hub_format


def vocabularies(source: Path) -> list[Path]:
    """The files of a preprocessor with one word piece a line.

    Args:
        source: Such a file, or the folder of a TF Hub preprocessor, which may have none.
    """
    if source.is_file():
        return [source]
    return sorted((source / "assets").glob("*vocab*.txt"))


def pieces(source: Path, ids: Sequence[int]) -> list[str]:
    """Ids as word pieces; as `#17` where no file says what they stand for.

    Args:
        source: As for `vocabularies`.
        ids: The ids.
    """
    known = [
        piece for file in vocabularies(source)[:1] for piece in hub_format.read_vocabulary(file)
    ]
    return [known[each] if 0 <= each < len(known) else f"#{each}" for each in ids]
