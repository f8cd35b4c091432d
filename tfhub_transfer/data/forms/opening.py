"""Files to bytes and lines of text: compression, archives, encodings, byte order marks."""

import bz2
import contextlib
import gzip
import io
import lzma
import os
import re
import zipfile
import zlib
from collections.abc import Generator, Iterator
from pathlib import Path, PurePosixPath
from typing import IO, Any, TypeAlias

from tfhub_transfer import progress
from tfhub_transfer.data.forms.base import File, Tolerant, is_utf8
from tfhub_transfer.errors import InputError
from tfhub_transfer.storage import opening as plain_files

# What is read like a file that holds bytes.
_Bytes: TypeAlias = IO[bytes] | gzip.GzipFile

PACKED = (".gz", ".bz2", ".xz", ".lzma", ".zst", ".zip")
# How files begin that have the wrong name.
_DISGUISES = {
    b"\x1f\x8b": "the file is gzipped; give its name the ending .gz",
    b"BZh": "the file is compressed by bzip2; give its name the ending .bz2",
    b"\xfd7zXZ": "the file is compressed by xz; give its name the ending .xz",
    b"\x28\xb5\x2f\xfd": "the file is compressed by zstd; give its name the ending .zst",
    b"PK\x03\x04": "the file is a zip archive or a spreadsheet; export it as CSV in UTF-8",
    b"PAR1": "the file is Parquet; give its name the ending .parquet",
    b"ARROW1": "the file is Arrow; give its name the ending .arrow",
}
# UTF-32's first: it begins as UTF-16's does.
_MARKS = {
    b"\xff\xfe\x00\x00": "utf-32",
    b"\x00\x00\xfe\xff": "utf-32",
    b"\xff\xfe": "utf-16",
    b"\xfe\xff": "utf-16",
}
_POINTER, _PAGES = b"version https://git-lfs", (b"<!doctype html", b"<html")
# Bytes of a file's start that hold each of these.
_START = 64
# `Path` has made one slash of two.
_ADDRESS = re.compile(r"[a-z][a-z0-9+]+:/", re.I)
_BOM = b"\xef\xbb\xbf"
# How Python lets bytes pass that it can't decode: as halves of characters.
_HALVES = "surrogateescape"
# Characters that are decoded at once, and bytes in which there must be the end of a line.
PIECE = _PEEKED = 1 << 16
# What reading a damaged file raises, of all ways to compress one.
# `RuntimeError` is of archives with a password.
DAMAGES = (EOFError, zlib.error, lzma.LZMAError, zipfile.BadZipFile, RuntimeError, OSError)


def unpacked_name(path: Path) -> str:
    """A file's name without the ending of its compression; of an archive, its member's.

    Args:
        path: The file.

    Raises:
        InputError: If it is an archive that doesn't hold one file.
    """
    if path.suffix.lower() == ".zip":
        return PurePosixPath(_member(path, None)).name
    return path.stem if path.suffix.lower() in PACKED else path.name


def in_archive(path: Path) -> bool:
    """Whether a path goes on inside an archive, as `data.zip/train.csv` does."""
    return any(parent.suffix.lower() == ".zip" and parent.is_file() for parent in path.parents)


def check(path: Path, expected: str, is_text: bool) -> None:
    """Refuses what can't be read, or is something else than its name says.

    Args:
        path: The file.
        expected: The forms that there are, for the message.
        is_text: Whether the name says that it is text, and isn't compressed.

    Raises:
        InputError: If so.
    """
    try:
        if not path.exists() and _ADDRESS.match(str(path)):
            raise InputError(f"an address isn't read; download its file first. Received: {path}")
        if not path.exists():
            raise InputError(f"no such file; expected {expected}. Received: {path}")
        if path.is_dir():
            raise InputError(f"expected a file ({expected}). Received: {path}, which is a folder")
        with plain_files.open_file(path) as file:
            first = file.read(_START)
    except OSError as error:
        raise InputError(f"the file can't be read. Received: {path} ({error})") from error
    if not first:
        raise InputError(f"the file is empty; expected a header and rows. Received: {path}")
    if first.startswith(_POINTER):
        raise InputError(
            f"the file is a pointer of Git LFS; fetch what it means, as `git lfs pull` does. "
            f"Received: {path}"
        )
    if is_text and first.lstrip().lower().startswith(_PAGES):
        raise InputError(f"the file is a web page; download the data. Received: {path}")
    for start, advice in _DISGUISES.items():
        if is_text and first.startswith(start):
            raise InputError(f"{advice}. Received: {path}")


@contextlib.contextmanager
def opened(path: Path) -> Iterator[_Bytes]:
    """The bytes of a file, unpacked on the way.

    Args:
        path: The file; it may lie in an archive.

    Raises:
        InputError: If an archive doesn't hold it, or holds several files and none is named.
    """
    with contextlib.ExitStack() as stack:
        yield _opened(path, stack)


def _opened(path: Path, stack: contextlib.ExitStack) -> _Bytes:
    if in_archive(path):
        archive = next(p for p in path.parents if p.suffix.lower() == ".zip" and p.is_file())
        member = _member(archive, path.relative_to(archive).as_posix())
        return stack.enter_context(stack.enter_context(zipfile.ZipFile(archive)).open(member))
    kind = path.suffix.lower()
    if kind == ".zip":
        member = _member(path, None)
        return stack.enter_context(stack.enter_context(zipfile.ZipFile(path)).open(member))
    if kind == ".zst":
        import pyarrow  # heavy, and needed for this compression only

        source = stack.enter_context(pyarrow.OSFile(str(path)))
        return io.BufferedReader(pyarrow.CompressedInputStream(source, "zstd"))
    handle = plain_files.descriptor(path)
    steps = stack.enter_context(progress.beside(os.fstat(handle).st_size))
    file = stack.enter_context(io.BufferedReader(_Counted(handle, steps), PIECE))
    if kind == ".gz":
        return stack.enter_context(gzip.open(file, "rb"))
    if kind == ".bz2":
        return stack.enter_context(bz2.open(file, "rb"))
    if kind in (".xz", ".lzma"):
        return stack.enter_context(lzma.open(file, "rb"))
    return file


class _Counted(io.FileIO):
    """A file that counts the bytes that were read; of one that is compressed, those on the disk."""

    def __init__(self, handle: int, steps: progress.Counter) -> None:
        super().__init__(handle, "rb")
        self._steps = steps

    def readinto(self, buffer: Any, /) -> int | None:
        size = super().readinto(buffer)
        self._steps.add(size or 0)
        return size

    def readall(self) -> bytes:
        data = super().readall()
        self._steps.add(len(data))
        return data


def _member(archive: Path, name: str | None) -> str:
    """The one file of an archive, or the one of that name."""
    try:
        with zipfile.ZipFile(archive) as file:
            names = [n for n in file.namelist() if not n.endswith("/") and not _is_hidden(n)]
    except DAMAGES as error:
        raise InputError(f"the file can't be read. Received: {archive} ({error})") from error
    chosen = [n for n in names if name in (None, n)]
    if len(chosen) != 1:
        raise InputError(
            "an archive must hold one file; name one of several, as in "
            f"{archive.name}/{(names or ['train.csv'])[0]}. "
            f"Received: {archive if name is None else archive / name} with "
            f"{', '.join(names[:10]) or 'none'}"
        )
    return chosen[0]


def _is_hidden(name: str) -> bool:
    """What systems put into archives beside the files of their users."""
    return any(part.startswith((".", "__MACOSX")) for part in PurePosixPath(name).parts)


def encoding_of(file: File) -> str:
    """A text file's encoding: the one that was given, else by its byte order mark, else UTF-8.

    Args:
        file: The file.

    Raises:
        InputError: If it is UTF-16 without a mark.
    """
    if file.encoding is not None:
        return file.encoding
    first = _peek(file, 4)
    for mark, name in _MARKS.items():
        if first.startswith(mark):
            return name
    # In UTF-16 every other byte of ASCII's characters is 0.
    if len(first) == 4 and (first[0] == 0) != (first[1] == 0) and first[0:2] != first[2:4]:
        order = "le" if first[1] == 0 else "be"
        raise InputError(
            f"the file isn't UTF-8, but UTF-16 as it seems; give `--encoding utf-16-{order}` "
            f"(in Python `data.File(path, encoding=...)`). Received: {file}"
        )
    return "utf-8"


def _peek(file: File, size: int) -> bytes:
    try:
        with opened(Path(file.path)) as source:
            return source.read(size)
    except DAMAGES as error:
        raise _damaged(file, error) from error


def lines(file: File) -> Generator[str, None, None]:
    r"""Lines as text with their ends; a byte that isn't of the encoding is named with its place.

    Lines end with `\n`, or, where there is none of it, with `\r`, as in files of old Macs.

    Args:
        file: The file.

    Raises:
        InputError: If it can't be read.
    """
    name, start = encoding_of(file), _peek(file, _PEEKED)
    is_old = b"\n" not in start and b"\r" in start.strip(b"\r\0")
    with contextlib.ExitStack() as stack:
        try:
            source = _opened(Path(file.path), stack)
            if is_utf8(name) and not is_old:
                yield from _utf8(source, file)
            else:
                yield from _decoded(source, name, "\r" if is_old else "\n", file)
        except DAMAGES as error:
            raise _damaged(file, error) from error


def pieces(file: File) -> Iterator[str]:
    """The text of a file in pieces that don't end with its lines, of `PIECE` characters.

    Args:
        file: The file.

    Raises:
        InputError: If it can't be read.
    """
    name = encoding_of(file)
    with contextlib.ExitStack() as stack:
        try:
            source = _opened(Path(file.path), stack)
            halves = _HALVES if isinstance(file, Tolerant) and is_utf8(name) else None
            text = io.TextIOWrapper(source, "utf-8-sig" if is_utf8(name) else name, halves)
            while piece := text.read(PIECE):
                yield piece
        except UnicodeError as error:
            raise _foreign(file, name, error) from error
        except DAMAGES as error:
            raise _damaged(file, error) from error


def _utf8(source: _Bytes, file: File) -> Iterator[str]:
    # Not by `TextIOWrapper`: it decodes far ahead, and couldn't say in which line a byte is wrong.
    offset = 0
    for number, raw in enumerate(source, start=1):
        if number == 1 and raw.startswith(_BOM):
            raw, offset = raw[len(_BOM) :], len(_BOM)
        try:
            line = raw.decode("utf-8")
        except UnicodeDecodeError as error:
            if isinstance(file, Tolerant):
                yield raw.decode("utf-8", _HALVES)
                continue
            raise InputError(
                "the file isn't UTF-8; name its encoding, as with `--encoding cp1252` (in Python "
                "`data.File(path, encoding=...)`), or convert it, as with `iconv -t UTF-8`. "
                f"Received: {file} with byte "
                f"0x{raw[error.start]:02x} at offset {offset + error.start}, in line {number}"
            ) from error
        offset += len(raw)
        yield line


def _decoded(source: _Bytes, name: str, end: str, file: File) -> Iterator[str]:
    text = io.TextIOWrapper(source, encoding=name, newline=end)
    try:
        for number, line in enumerate(text, start=1):
            yield line.removeprefix("\ufeff") if number == 1 else line
    except UnicodeError as error:
        raise _foreign(file, name, error) from error
    finally:
        # Else it would close the file when it goes, which is the stack's to close.
        with contextlib.suppress(*DAMAGES):
            text.detach()


def _foreign(file: File, name: str, error: UnicodeError) -> InputError:
    return InputError(
        f"the file isn't {name.upper()}; name its encoding, as with `--encoding cp1252` (in "
        "Python `data.File(path, encoding=...)`). "
        f"Received: {file} ({str(error)[:200]})"
    )


def _damaged(file: File, error: BaseException) -> InputError:
    return InputError(f"the file can't be read. Received: {file} ({error})")
