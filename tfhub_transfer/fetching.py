"""SavedModels from the network into the caches that users already have, whole or not at all."""

import contextlib
import datetime
import hashlib
import os
import re
import shutil
import socket
import sys
import tarfile
import tempfile
import time
import urllib.error
import urllib.request
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

from tfhub_transfer.errors import InputError

TIMEOUT_SECONDS = 20
_STALE_LOCK_SECONDS = 600
_CHUNK = 1 << 20
_KAGGLE = re.compile(
    r"(?:kaggle:|https?://(?:www\.)?kaggle\.com/models/)"
    r"(?P<owner>[^/]+)/(?P<model>[^/]+)/(?:frameworks/)?(?P<framework>[^/]+)/"
    r"(?:variations/)?(?P<variation>[^/]+)(?:/(?:versions/)?(?P<version>\d+))?/?$",
    re.IGNORECASE,
)


def cache_folder() -> Path:
    """Where tensorflow_hub keeps what it downloads: `TFHUB_CACHE_DIR`, or its default."""
    return Path(os.environ.get("TFHUB_CACHE_DIR") or Path(tempfile.gettempdir()) / "tfhub_modules")


def fetch(handle: str) -> Path:
    """Returns the folder of a handle, from the cache or, if it isn't there, from the network.

    tensorflow_hub's own layout, `<cache>/<sha1 of the handle>/`, so that what either downloads is
    found by both (https://www.tensorflow.org/hub/caching).

    Args:
        handle: An `http://` or `https://` address of a SavedModel archive, such as a TF Hub
            handle, or a Kaggle one.

    Raises:
        InputError: If it can be neither found nor downloaded.
    """
    kaggle = _KAGGLE.match(handle)
    return _from_kaggle(handle, kaggle) if kaggle else _from_web(handle)


def cached(handle: str) -> Path | None:
    """The folder of a remote handle, if it is in the cache; the network isn't asked.

    Args:
        handle: As for `fetch`.
    """
    kaggle = _KAGGLE.match(handle)
    if kaggle:
        return _in_kaggle_cache(kaggle)
    target = _place_of(handle)
    return target if _is_filled(target) else None


def is_remote(handle: str) -> bool:
    """Whether a handle names something on the network."""
    return handle.startswith(("http://", "https://", "kaggle:"))


def _from_web(handle: str) -> Path:
    target = _place_of(handle)
    if _is_filled(target):
        return target
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with _lock(target) as must_download:
            if must_download:
                _download(handle, target)
    except OSError as error:
        raise InputError(
            "the download can't be stored; mend that, or name another cache with TFHUB_CACHE_DIR. "
            f"Received: {handle} ({error})"
        ) from error
    return target


def _place_of(handle: str) -> Path:
    return cache_folder() / hashlib.sha1(handle.encode("utf-8")).hexdigest()


def _is_filled(folder: Path) -> bool:
    return folder.is_dir() and any(folder.iterdir())


@contextlib.contextmanager
def _lock(target: Path) -> Iterator[bool]:
    """Lets one process download; the others wait and find it. Yields whether it is this one's."""
    lock = target.with_name(target.name + ".lock")
    while True:
        try:
            handle = os.open(lock, os.O_CREAT | os.O_EXCL | os.O_WRONLY)
            break
        except FileExistsError:
            _wait_for(lock)
    try:
        os.write(handle, f"{socket.gethostname()}.{os.getpid()}.{uuid.uuid4().hex}".encode())
        os.close(handle)
        yield not _is_filled(target)
    finally:
        lock.unlink(missing_ok=True)


def _wait_for(lock: Path) -> None:
    with contextlib.suppress(FileNotFoundError):
        if time.time() - lock.stat().st_mtime > _STALE_LOCK_SECONDS:
            lock.unlink()  # whoever held it is gone
            return
    time.sleep(0.2)


def _download(handle: str, target: Path) -> None:
    scratch = Path(tempfile.mkdtemp(prefix=f"{target.name}.", suffix=".tmp", dir=target.parent))
    try:
        with _open(handle) as response:
            _unpack(_Progress(response, handle), scratch, handle)
        if not any(scratch.iterdir()):
            raise InputError(f"the downloaded archive is empty. Received: {handle}")
        shutil.rmtree(target, ignore_errors=True)
        os.replace(scratch, target)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    stamp = f"Module: {handle}\nDownload Time: {datetime.datetime.now()}\n"
    target.with_name(f"{target.name}.descriptor.txt").write_text(stamp, encoding="utf-8")


def _open(handle: str) -> Any:
    separator = "&" if "?" in handle else "?"
    try:
        return urllib.request.urlopen(
            f"{handle}{separator}tf-hub-format=compressed", timeout=TIMEOUT_SECONDS
        )
    except urllib.error.HTTPError as error:
        error.close()  # it holds the connection
        raise InputError(
            f"the server has no such encoder ({error.code} {error.reason}); check the handle and "
            f"its version. Received: {handle}"
        ) from error
    except (OSError, ValueError) as error:
        reason = getattr(error, "reason", error)
        raise InputError(
            f"the encoder isn't in the cache and can't be downloaded ({reason}); without a network "
            'use the packaged encoder ("auto"), or give the folder of a SavedModel. '
            f"Received: {handle}"
        ) from error


def _unpack(stream: "_Progress", folder: Path, handle: str) -> None:
    try:
        with tarfile.open(fileobj=cast(Any, stream), mode="r|*") as archive:
            # The filter refuses members outside the folder, links out of it, and devices.
            archive.extractall(folder, filter="data")
        stream.require_whole()
    except tarfile.FilterError as error:
        raise InputError(
            f"the archive holds a path outside of its folder and was refused. Received: {handle} "
            f"({error})"
        ) from error
    except (tarfile.TarError, EOFError, urllib.error.URLError, ConnectionError) as error:
        raise InputError(
            f"the download is broken off or isn't a SavedModel archive; try again. Received: "
            f"{handle} ({error})"
        ) from error


class _Progress:
    """A stream that shows on a terminal how much has come through; elsewhere one plain line."""

    def __init__(self, response: Any, handle: str) -> None:
        self._response, self._done, self._shown = response, 0, 0.0
        self._total = int(response.headers.get("Content-Length") or 0)
        self._terminal = sys.stderr.isatty()
        if not self._terminal:
            print(f"Downloading {handle}", file=sys.stderr)

    def read(self, size: int = _CHUNK) -> bytes:
        """Reads on, as `tarfile` asks for it."""
        data = self._response.read(size)
        self._done += len(data)
        if self._terminal and (not data or time.monotonic() - self._shown > 0.1):
            self._show(end="\n" if not data else "")
        return data

    def require_whole(self) -> None:
        """Raises `EOFError` if the connection broke off: an archive can end early unnoticed."""
        while self.read():
            pass
        if self._done < self._total:
            raise EOFError(f"{self._done} of {self._total} bytes came")

    def _show(self, end: str) -> None:
        self._shown = time.monotonic()
        share = min(1.0, self._done / self._total) if self._total else 0.0
        bar = ("#" * int(30 * share)).ljust(30)
        sys.stderr.write(f"\rDownloading [{bar}] {self._done / 1e6:7.1f} MB{end}")
        sys.stderr.flush()


def _from_kaggle(handle: str, parts: re.Match[str]) -> Path:
    found = _in_kaggle_cache(parts)
    if found is not None:
        return found
    try:
        import kagglehub  # an extra: only Kaggle handles need it
    except ImportError as error:
        raise InputError(
            "a Kaggle handle needs Kaggle's client: `pip install 'tfhub-transfer[kaggle]'`, or "
            f"give the folder of a SavedModel. Received: {handle}"
        ) from error
    name = "/".join(filter(None, parts.groups()))
    try:
        return Path(kagglehub.model_download(name))
    except Exception as error:  # the client passes on errors of several libraries
        reason = " ".join(str(error).split())[:200]
        raise InputError(
            f"the encoder isn't in Kaggle's cache and can't be downloaded ({reason}); without a "
            'network use the packaged encoder ("auto"), or give the folder of a SavedModel. '
            f"Received: {handle}"
        ) from error


def _in_kaggle_cache(parts: re.Match[str]) -> Path | None:
    """The folder in the cache of Kaggle's client; only an explicit version can be looked up."""
    root = Path(os.environ.get("KAGGLEHUB_CACHE") or Path.home() / ".cache" / "kagglehub")
    folder = root.joinpath("models", *(part for part in parts.groups() if part))
    complete = folder.with_name(folder.name + ".complete")
    return folder if parts["version"] and complete.exists() and folder.is_dir() else None
