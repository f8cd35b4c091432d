"""SavedModels from the network into the caches that users already have, whole or not at all."""

import datetime
import hashlib
import os
import re
import tarfile
import tempfile
import zlib
from pathlib import Path

from tfhub_transfer.errors import InputError
from tfhub_transfer.storage import atomic, downloads
from tfhub_transfer.storage.scratch import temporary

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
        with downloads.one_at_a_time(target):
            if not _is_filled(target):  # or another process was quicker
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


def _download(handle: str, target: Path) -> None:
    # So a TF Hub server gives the archive, and not the page about it.
    separator = "&" if "?" in handle else "?"
    address = f"{handle}{separator}tf-hub-format=compressed"
    with atomic.folder(target) as scratch, temporary() as work:
        archive = work / "archive"
        try:
            downloads.download(address, archive, what=handle)
        except downloads.Refused as error:
            raise InputError(
                f"the server has no such encoder ({error}); check the handle and its version. "
                f"Received: {handle}"
            ) from error
        except downloads.Failed as error:
            raise InputError(
                f"the encoder isn't in the cache and can't be downloaded ({error}); without a "
                'network use the packaged encoder ("auto"), or give the folder of a SavedModel. '
                f"Received: {handle}"
            ) from error
        _unpack(archive, scratch, handle)
        if not any(scratch.iterdir()):
            raise InputError(f"the downloaded archive is empty. Received: {handle}")
    # As tensorflow_hub leaves it beside each folder of the cache.
    stamp = f"Module: {handle}\nDownload Time: {datetime.datetime.now()}\n"
    atomic.write_text(target.with_name(f"{target.name}.descriptor.txt"), stamp)


def _unpack(archive: Path, folder: Path, handle: str) -> None:
    try:
        with tarfile.open(archive, mode="r:*") as opened:
            # The filter refuses members outside the folder, links out of it, and devices.
            opened.extractall(folder, filter="data")
    except tarfile.FilterError as error:
        raise InputError(
            f"the archive holds a path outside of its folder and was refused. Received: {handle} "
            f"({error})"
        ) from error
    except (tarfile.TarError, EOFError, zlib.error) as error:
        raise InputError(
            "the download isn't a whole SavedModel archive; check the handle. Received: "
            f"{handle} ({' '.join(str(error).split())[:200]})"
        ) from error


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
    """The folder in the cache of Kaggle's client; without a version the newest that is there.

    Kaggle's client asks the server which one is the newest, which takes a network.
    """
    root = Path(
        os.environ.get("KAGGLEHUB_CACHE") or Path(os.path.expanduser("~")) / ".cache" / "kagglehub"
    )
    names = parts.groupdict()
    version = names.pop("version")
    folder = root.joinpath("models", *names.values())
    # Kaggle's client writes the marker when all files are there.
    whole = [
        marker.with_suffix("")
        for marker in folder.glob(f"{version or '*'}.complete")
        if marker.stem.isdecimal() and marker.with_suffix("").is_dir()
    ]
    return max(whole, key=lambda each: int(each.name), default=None)
