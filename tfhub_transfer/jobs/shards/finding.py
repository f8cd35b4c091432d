"""Shards: which files a command goes through, and what the files of their answers are called."""

import dataclasses
import fnmatch
import glob
import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path, PurePosixPath

from tfhub_transfer.data import forms
from tfhub_transfer.errors import InputError
from tfhub_transfer.storage import opening

# As Spark, Hive and Arrow have it: what begins so is no part of a table.
_HIDDEN = ("_", ".")
_MAGIC = re.compile(r"[*?\[]")
# File systems take 255; half-written bad rows are called `.NAME.jsonl.partial-` and eight more.
_MOST_BYTES = 255 - len("..jsonl.partial-") - 8
# Forms of files that are written as they were read; all others become lines of JSON.
_KEPT = {
    **{ending: ending for ending in (".csv", ".tsv", ".jsonl", ".parquet")},
    **dict.fromkeys((".arrow", ".feather", ".ipc", ".arrows"), ".parquet"),
    ".tab": ".tsv",
}


@dataclasses.dataclass(frozen=True)
class Shard:
    """One file of many.

    Attributes:
        source: The file.
        name: What the file of its answers is called below the output folder.
    """

    source: str
    name: str


def find(word: str, output: Path, form: str | None = None) -> list[Shard]:
    """The shards that a word stands for, by their names; folders keep theirs.

    What lies in a folder, or is matched by a pattern, is passed over if its name begins with `_` or
    a full stop, and so is all that lies in folders of such names.

    Args:
        word: A pattern as `glob` has them, a folder, or a file.
        output: The folder of the answers, which none of them may lie in.
        form: The ending of the answers' files; by that of each shard if not given.

    Raises:
        InputError: If there is none, one has a name of no form that is read or too long a one, two
            would have the same name, or one that of a folder of others, or answers would lie among
            what is read.
    """
    found: dict[str, Shard] = {}
    for path, below in _named(word, output):
        if Path(os.path.realpath(output)) in Path(os.path.realpath(path)).parents:
            raise InputError(
                "the output must lie apart from what is read; name another folder. "
                f"Received: {output}, in which {path} lies"
            )
        name = _answered(below, form)
        other = found.setdefault(name, Shard(str(path), name))
        if other.source != str(path):
            raise InputError(
                f"the answers of two shards would both be {name}; give a pattern that leaves out "
                f"one, or rename it. Received: {other.source} and {path}"
            )
    _require_places(found)
    return sorted(found.values(), key=lambda shard: shard.name)


def _require_places(found: Mapping[str, Shard]) -> None:
    """Refuses answers that would be a file where others need a folder, or whose names are too long.

    A packed `a.csv.gz` beside a folder `a.csv`, as Spark calls its own, would be `a.csv` too.
    """
    for name, shard in found.items():
        for around in PurePosixPath(name).parents:
            if (other := found.get(str(around))) is not None:
                raise InputError(
                    f"the answers of a shard would be the file {around}, in which others are to "
                    "lie; give a pattern that leaves out one, or rename it. "
                    f"Received: {other.source} and {shard.source}"
                )
        if any(len(os.fsencode(part)) > _MOST_BYTES for part in PurePosixPath(name).parts):
            raise InputError(
                f"the name of a shard has more than {_MOST_BYTES} bytes, and files beside its "
                f"answers have longer ones; rename it. Received: {shard.source}"
            )


def _answered(name: str, form: str | None) -> str:
    """The name of a shard's answers: that of the shard, with the ending of their form."""
    bare, ending = os.path.splitext(name)
    if ending.lower() in forms.opening.PACKED:
        bare, ending = os.path.splitext(bare)
    # A name may have no other ending than that of its packing.
    return f"{bare}.{form}" if form else f"{bare}{_KEPT.get(ending.lower(), '.jsonl')}"


def _named(word: str, output: Path) -> Iterator[tuple[Path, str]]:
    """The files that a word stands for, each with its name below what the word fixes."""
    path = opening.path_of(word)
    if path.is_dir():
        _require_apart(word, path, ("**",), output)
        found = _below(path)
        base = path
    elif path.exists() or not _MAGIC.search(word):
        if not path.is_file():
            raise InputError(
                "no such shard; expected a file, a folder, or a pattern in quotes, such as "
                f"'part-*.parquet'. Received: {word}"
            )
        _require_named(path)
        yield path, path.name
        return
    else:
        base, pattern = _divided(path)
        _require_apart(word, base, pattern, output)
        found = _matched(path, base, any(part.startswith(_HIDDEN) for part in pattern))
    some = False
    for each in found:
        _require_named(each)
        some = True
        yield each, each.relative_to(base).as_posix()
    if not some:
        raise InputError(
            "there is no shard; expected files whose names don't begin with `_` or a full stop. "
            f"Received: {word}"
        )


def _divided(path: Path) -> tuple[Path, tuple[str, ...]]:
    """What a pattern fixes, and the parts of the rest."""
    first = next(place for place, part in enumerate(path.parts) if _MAGIC.search(part))
    return Path(*path.parts[:first]), path.parts[first:]


def _matched(path: Path, base: Path, hidden: bool) -> Iterator[Path]:
    deep, seen = "**" in path.parts, set[str]()
    found = map(Path, glob.glob(str(path), recursive=True))
    for match in sorted(found, key=lambda match: (len(match.parts), match)):
        parts = match.relative_to(base).parts
        # Links of folders may lead `**` round in a circle.
        real = os.path.realpath(match)
        if deep and real in seen:
            continue
        seen.add(real)
        if not hidden and any(part.startswith(_HIDDEN) for part in parts):
            continue
        if match.is_dir():
            # `**` matches the folders on the way too, whose files it also matches.
            if not deep:
                yield from _below(match)
        else:
            forms.require_no_versions(match.parent)
            yield match


def _below(folder: Path) -> Iterator[Path]:
    """The files in a folder at any depth, in order; a link to a folder around itself is no way."""
    seen = set()
    for root, folders, files in os.walk(folder, followlinks=True):
        state = os.stat(root)
        if (state.st_dev, state.st_ino) in seen:
            folders.clear()
            continue
        seen.add((state.st_dev, state.st_ino))
        _require_plain(Path(root))
        folders[:] = sorted(name for name in folders if not name.startswith(_HIDDEN))
        yield from (Path(root, name) for name in sorted(files) if not name.startswith(_HIDDEN))


def _require_plain(folder: Path) -> None:
    forms.require_no_versions(folder)
    if forms.is_saved(folder):
        raise InputError(
            "a folder of Hugging Face's datasets holds other files, too; name its shards alone, as "
            f"in '{folder}/*.arrow'. Received: {folder}"
        )


def _require_named(path: Path) -> None:
    if not forms.is_named(path):
        raise InputError(
            "the name of a shard tells no form that is read; give a pattern that leaves it out, "
            f"such as '*.parquet' ({forms.KNOWN}). Received: {path}"
        )


def _require_apart(word: str, base: Path, pattern: tuple[str, ...], output: Path) -> None:
    """Refuses an output that would be among what is read once the command goes on."""
    place, around = (Path(os.path.realpath(os.path.expanduser(each))) for each in (output, base))
    if around != place and around not in place.parents:
        return
    for part, wanted in zip(place.relative_to(around).parts, pattern):
        if wanted == "**":
            break
        if not fnmatch.fnmatch(part, wanted):
            return
    raise InputError(
        f"answers would lie among the shards that {word} stands for; name an output folder apart "
        f"from them. Received: {output}"
    )
