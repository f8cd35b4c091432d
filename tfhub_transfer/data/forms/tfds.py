"""TensorFlow Datasets by their names: prepared ones, or downloaded where there is a network."""

import contextlib
import socket
import threading
from collections.abc import Iterator, Sequence

from tfhub_transfer.data.forms.base import Form, Numbered
from tfhub_transfer.errors import InputError

# Without a network TFDS itself was seen to try for 204 seconds.
_LOOK_UP_SECONDS = 3


def would_download(source: object) -> bool:
    """Whether reading a source may ask the network: a data set that isn't prepared yet.

    Args:
        source: What `tfhub_transfer.data.reading.Table` takes.
    """
    if not str(source).startswith("tfds:"):
        return False
    name = str(source).removeprefix("tfds:").rpartition("/")[0]
    if ":" in name:
        return True  # of a community's, whose description alone comes from the network
    import tensorflow_datasets as tfds  # heavy, and needed for this source only

    try:
        return not tfds.builder(name).is_prepared()
    except Exception:  # no such data set, in any of the ways in which that shows
        return True


def form(source: str) -> Form:
    """Rows of a prepared or downloadable TensorFlow data set.

    Args:
        source: `tfds:NAME[/CONFIG]/SPLIT`.

    Raises:
        InputError: If there is no such data set or split, or it can't be had.
    """
    name, _, split = source.removeprefix("tfds:").rpartition("/")
    if not name or not split:
        raise InputError(
            f"expected tfds:NAME/SPLIT, such as tfds:glue/sst2/train. Received: {source}"
        )
    import tensorflow_datasets as tfds  # heavy, and needed for this source only

    try:
        builder = tfds.builder(name)
    except (
        tfds.core.registered.DatasetNotFoundError,
        AssertionError,
        ValueError,
        OSError,
    ) as error:
        reason = " ".join(str(error).split())[:200]
        raise InputError(f"no such TensorFlow data set. Received: {source} ({reason})") from error
    if not builder.is_prepared():
        _require_network(source)
        try:
            builder.download_and_prepare()
        # `AssertionError` is TFDS' word for what must be fetched by hand, among others.
        except (tfds.download.DownloadError, AssertionError, ValueError, OSError) as error:
            reason = " ".join(str(error).split())[:200]
            raise InputError(
                f"the data set can't be downloaded; give a file instead. Received: {source} "
                f"({reason})"
            ) from error
    try:
        builder.info.splits[split]  # a slice, such as train[:10%], is a split too
    except (KeyError, AssertionError, ValueError) as error:
        raise InputError(
            f"the data set has the splits {', '.join(builder.info.splits)}. Received: {source}"
        ) from error

    def rows() -> Iterator[Numbered]:
        examples = tfds.as_numpy(builder.as_dataset(split=split))
        for number, example in enumerate(examples, start=1):
            yield number, {key: named(key, plain(value)) for key, value in example.items()}

    features = builder.info.features

    def named(key: str, value: object) -> object:
        """Class labels by their names; -1, in splits whose labels are kept secret, as none."""
        if not isinstance(features[key], tfds.features.ClassLabel):
            return value
        return None if value == -1 else features[key].int2str(value)

    return Form(list(features), rows, "row")


def _require_network(source: str) -> None:
    """Without a network the download of TFDS hangs for minutes before it fails."""
    found = threading.Event()

    def look_up() -> None:
        with contextlib.suppress(OSError):
            socket.getaddrinfo("storage.googleapis.com", 443)
            found.set()

    # A look-up can't be given a time limit, so it is left behind in a thread when it is slow.
    thread = threading.Thread(target=look_up, daemon=True)
    thread.start()
    thread.join(_LOOK_UP_SECONDS)
    if not found.is_set():
        raise InputError(
            "the data set isn't prepared on this machine and there is no network to download it; "
            f"give a file instead. Received: {source}"
        )


def plain(value: object) -> object:
    """A value of arrays and bytes as lists, strings and numbers.

    Args:
        value: From NumPy or TensorFlow.
    """
    if isinstance(value, bytes):
        return _text(value)
    if hasattr(value, "tolist"):
        value = value.tolist()
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [plain(v) for v in value]
    return _text(value) if isinstance(value, bytes) else value


def _text(value: bytes) -> str | bytes:
    """What is UTF-8 as text; other bytes as they are, which no text may be."""
    try:
        return value.decode("utf-8")
    except UnicodeDecodeError:
        return value
