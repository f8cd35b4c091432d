"""Forms in which people have their data: one module a form, each to rows of Python values.

A row is a dictionary of a column's name to a value: a string, a number, a list. Numbers of classes
whose names the source knows come as these names.
"""

from collections.abc import Callable, Collection, Mapping
from pathlib import Path

from tfhub_transfer.data.forms import (
    aligned,
    cells,
    columnar,
    conll,
    delimited,
    fasttext,
    json_rows,
    objects,
    opening,
    tfds,
    tmx,
)
from tfhub_transfer.data.forms.base import (
    LABEL,
    TAGS,
    TEXT,
    TEXT_A,
    TEXT_B,
    TEXT_C,
    TOKENS,
    Asked,
    File,
    Form,
    Numbered,
    Tolerant,
    Unread,
)
from tfhub_transfer.data.forms.columnar import require_no_versions
from tfhub_transfer.errors import InputError
from tfhub_transfer.storage import opening as plain_files

__all__ = [
    "KNOWN",
    "LABEL",
    "TAGS",
    "TEXT",
    "TEXT_A",
    "TEXT_B",
    "TEXT_C",
    "TOKENS",
    "Asked",
    "File",
    "Form",
    "Numbered",
    "Tolerant",
    "Unread",
    "find",
    "has_no_header",
    "is_lines",
    "is_named",
    "is_saved",
    "may_be_lines",
    "require_no_versions",
    "splits",
]

KNOWN = (
    ".csv, .tsv, .json, .jsonl, .conll, .conllu, .tmx (each also with .gz, .bz2, .xz, .zst or in "
    "a .zip), .parquet, .arrow, .feather, fastText's, two files of lines as `train.{en,de}`, or "
    "tfds:NAME/SPLIT"
)
# What isn't read, and how it becomes something that is.
_REMEDIES = {
    (".xlsx", ".xls", ".ods", ".numbers"): "save the sheet as CSV in UTF-8",
    (".spacy",): "write its documents as JSON, with `Doc.to_json()`",
    (".ann",): "export the project of brat as CoNLL",
    (".pkl", ".pickle"): "a pickle can run code; write it with pandas' `to_parquet`",
    (".npy", ".npz", ".h5", ".hdf5", ".mat"): "arrays hold no texts; write a table",
    (".xml", ".html", ".htm", ".yml", ".yaml", ".toml", ".ipynb"): "write JSON lines",
    (".db", ".sqlite", ".sqlite3", ".sql", ".mdb", ".accdb"): "write the table's rows as CSV",
    (".rds", ".rdata", ".rda"): "write a table with R's `write.csv`",
    (".orc", ".avro"): "write the table as Parquet or CSV",
    (".dta", ".sav", ".por", ".sas7bdat", ".xpt"): "write the table as Parquet or CSV",
    (
        ".docx",
        ".doc",
        ".odt",
        ".rtf",
        ".pdf",
        ".md",
        ".tex",
        ".pptx",
    ): "write a table, a row a text",
    (".tfrecord", ".tfrecords"): "read it by tf.data and give the `tf.data.Dataset`",
    (".7z", ".rar", ".tar", ".tgz", ".tar.gz", ".tar.bz2", ".tar.xz", ".tar.zst"): "unpack it",
}
_LINES = ".txt"
# Each form of text: endings of names, and what reads it.
_FORMS: tuple[tuple[tuple[str, ...], Callable[[File, Asked], Form]], ...] = (
    (json_rows.SUFFIXES, lambda file, asked: _json(file, asked)),
    (conll.SUFFIXES, lambda file, _: conll.form(file)),
    (conll.UNIVERSAL, lambda file, _: conll.universal(file)),
    ((".ft", ".fasttext"), lambda file, _: fasttext.form(file)),
    (tmx.SUFFIXES, lambda file, asked: tmx.form(file, asked)),
)


def _json(file: File, asked: Asked) -> Form:
    return cells.read(json_rows.form(file, asked), str(file), asked)


def find(source: object, asked: Asked | None = None) -> Form:
    """The rows of a source.

    Args:
        source: A path, a `File`, `tfds:NAME/SPLIT`, or a table in memory.
        asked: What it is read for; for whatever it holds, if not given.

    Raises:
        InputError: If there is no such source, or its form isn't known.
    """
    asked = asked or Asked()
    if not isinstance(source, (str, Path, File)):
        return cells.read(objects.form(source), objects.name(source), asked)
    file = source if isinstance(source, File) else File(source)
    if str(file).startswith("tfds:"):
        return tfds.form(str(file))
    if str(file) == "-" or plain_files.is_open_already(str(file)):
        raise InputError(
            "a table is read more than once, so it can't come through a pipe; write it to a "
            f"file, which may be compressed ({KNOWN}). Received: {file}"
        )
    both = aligned.files_of(file)
    if both is not None:
        return aligned.two_files(both, asked)
    path = plain_files.path_of(file.path)
    if is_saved(path):
        return cells.read(columnar.folder(path), str(path), asked)
    # Before `parts`: folders of Delta Lake and Hudi consist of Parquet files, too.
    require_no_versions(path)
    columnar.require_no_partitions(path)
    if columnar.parts(path):
        return cells.read(columnar.parquet(path), str(path), asked)
    suffix = _checked_suffix(path)
    if suffix == ".parquet" or suffix in columnar.ARROW:
        if path.suffix.lower() in opening.PACKED or opening.in_archive(path):
            raise InputError(
                f"unpack a {suffix} file, which is compressed itself. Received: {path}"
            )
        read = columnar.parquet if suffix == ".parquet" else columnar.arrow
        return cells.read(read(path), str(path), asked)
    for suffixes, read_text in _FORMS:
        if suffix in suffixes:
            return read_text(file, asked)
    return _by_content(file, suffix, asked)


def is_saved(path: Path) -> bool:
    """Whether it is a folder that `save_to_disk` of Hugging Face's `datasets` wrote.

    Args:
        path: A folder, or a file.
    """
    try:
        return path.is_dir() and columnar.is_folder(path)
    except OSError:
        return False


def is_named(path: Path) -> bool:
    """Whether a file's name alone says that it may be read; what it holds is another matter.

    Args:
        path: The file.
    """
    bare = path.with_suffix("") if path.suffix.lower() in opening.PACKED else path
    # The one file in an archive has a name of its own.
    known = (".parquet", _LINES, *columnar.ARROW, *delimited.SEPARATORS)
    known += tuple(suffix for suffixes, _ in _FORMS for suffix in suffixes)
    return path.suffix.lower() == ".zip" or bare.suffix.lower() in known


def may_be_lines(source: File) -> bool:
    """Whether a file may hold texts line by line: also if its name ends as no form's does.

    As `news.de` does; what is known to be no text, `news.docx`, is none.

    Args:
        source: The file, or a pipe.
    """
    path = Path(str(source))
    suffix = delimited.suffix_of(path)
    if suffix == _LINES:
        return is_lines(source)
    remedied = any(suffix in endings for endings in _REMEDIES)
    named = is_named(path.with_suffix(suffix) if suffix else path)
    return not (named or remedied or path.is_dir() or str(source).startswith("tfds:"))


def _checked_suffix(path: Path) -> str:
    """The ending that tells a file's form; the file is there, and is what its name says."""
    packed = path.suffix.lower() in opening.PACKED
    outer = path.suffix.lower()
    name = path.name.lower()
    # By the end of the whole name, as of `.tar.gz` the suffix is `.gz`.
    remedy = next((text for endings, text in _REMEDIES.items() if name.endswith(endings)), None)
    if opening.in_archive(path):
        return delimited.suffix_of(Path(path.name))
    is_text = not packed and outer not in (".parquet", *columnar.ARROW) and remedy is None
    opening.check(path, KNOWN, is_text)
    if remedy is not None:
        raise InputError(f"the format of the file isn't read; {remedy}. Received: {path}")
    return delimited.suffix_of(path)


def _by_content(file: File, suffix: str, asked: Asked) -> Form:
    """Tables, and texts of whatever name."""
    if aligned.has_no_header(file, suffix, asked):
        return aligned.tabbed(file, asked)
    if suffix != ".csv" and fasttext.looks_like(file):
        return fasttext.form(file)
    if suffix != ".csv" and conll.looks_like(file):
        return conll.form(file)
    if suffix == _LINES and file.delimiter is None and json_rows.looks_like(file):
        return _json(file, asked)
    if (
        suffix in delimited.SEPARATORS
        or file.delimiter
        or (suffix == _LINES and delimited.of_text(file) is not None)
    ):
        return cells.read(delimited.form(file, suffix), str(file), asked)
    raise InputError(
        f"the format of the file isn't known by its name; expected {KNOWN}. Received: {file}"
    )


def has_no_header(source: object, asked: Asked) -> bool:
    """Whether the lines of a `.txt` file are texts with tabs between, as `find` reads them.

    Args:
        source: As for `is_lines`.
        asked: What it is read for.
    """
    if not isinstance(source, (str, Path, File)) or plain_files.is_open_already(str(source)):
        return False
    file = source if isinstance(source, File) else File(source)
    path = Path(str(file))
    known = path.is_file() and delimited.suffix_of(path) == _LINES
    return known and aligned.has_no_header(file, _LINES, asked)


def is_lines(source: object, pair: Collection[str] = ()) -> bool:
    """Whether a source is to be asked line by line: a `.txt` file of texts, or a pipe.

    A `.txt` file that `find` takes for a table is none (see `delimited.of_text`); but where pairs
    are asked for, and its first line doesn't name their columns, its lines are pairs.

    Args:
        source: As for `find`, `-`, `/dev/stdin`, or what the shell makes of `<(command)`.
        pair: Names that the two columns of a table of pairs may have; none for single texts.
    """
    if not isinstance(source, (str, Path, File)):
        return False
    name = str(source)
    if name == "-" or plain_files.is_open_already(name):
        return True
    if isinstance(source, File) and source.delimiter is not None:
        return False
    path = Path(name)
    # There is none, so only its name says what it would be; whoever reads it complains.
    if not path.is_file() and not opening.in_archive(path):
        return path.suffix.lower() == _LINES
    file = source if isinstance(source, File) else File(source)
    others = (fasttext.looks_like, conll.looks_like, json_rows.looks_like)
    if delimited.suffix_of(path) != _LINES or any(is_it(file) for is_it in others):
        return False
    found = delimited.of_text(file)
    if found is None:
        return True
    delimiter, header = found
    named = {*header} & {*pair, *delimited.USUAL}
    return delimiter == "\t" and bool(pair) and len(header) == 2 and not named


def splits(source: object) -> Mapping[str, object]:
    """The sources in one that holds several, by their names; none if it holds one.

    Args:
        source: A folder that `DatasetDict.save_to_disk` wrote, a `datasets.DatasetDict`, or a
            dictionary of tables.
    """
    if not isinstance(source, (str, Path, File)):
        return objects.splits(source)
    path = Path(str(source))
    return {name: path / name for name in columnar.splits(path)} if is_saved(path) else {}
