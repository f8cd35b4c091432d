"""Files from the network: by one process at a time, whole, and from where a connection was cut."""

import contextlib
import http.client
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

from tfhub_transfer import progress
from tfhub_transfer.errors import visible
from tfhub_transfer.storage.scratch import locked

# Of connecting, and of each wait for more.
TIMEOUT_SECONDS = 20.0
_ATTEMPTS = 5
# Before the second attempt; doubled before each further one.
_FIRST_PAUSE_SECONDS = 1.0
_CHUNK = 1 << 18


class Refused(Exception):
    """The server answered that it doesn't have what was asked for, or not for us."""


class Failed(Exception):
    """The transfer didn't come to its end, however often it was tried."""


@contextlib.contextmanager
def one_at_a_time(target: Path) -> Iterator[None]:
    """Lets one process make a target while others wait; a process that dies lets go.

    Args:
        target: What is made; look again whether it is there once the body runs.
    """
    path = target.with_name(f".{target.name}.tfhub-transfer.lock")
    path.parent.mkdir(parents=True, exist_ok=True)
    with locked(path):
        yield


def download(address: str, target: Path, what: str) -> None:
    """Downloads a file, as a stage of the work that is always shown (see `progress`).

    A transfer that is cut, or stalls for `TIMEOUT_SECONDS`, is tried again five times in all: from
    where it stopped if the server can (RFC 9110, section 14) and the file is still the same, else
    from its start.

    Args:
        address: An address of HTTP.
        target: The file to write.
        what: How to call it on the screen.

    Raises:
        Refused: If the server answers with a status from 400 to 499.
        Failed: If no attempt came to its end.
        OSError: If the file can't be written.
    """
    with progress.stage(f"Downloading {visible(what)}", always=True) as stage:
        transfer = _Transfer(address, target, stage)
        for attempt in range(_ATTEMPTS):
            if attempt:
                time.sleep(_FIRST_PAUSE_SECONDS * 2 ** (attempt - 1))
            try:
                transfer.run()
                return
            except _Cut as error:
                reason = str(error)
        raise Failed(f"{reason}; tried {_ATTEMPTS} times")


class _Cut(Exception):
    """One attempt failed and another may not."""


class _Transfer:
    """The state of a download between attempts."""

    def __init__(self, address: str, target: Path, stage: progress.Stage) -> None:
        self._address, self._target, self._stage = address, target, stage
        self._version: str | None = None
        self._done, self._answered = 0, False

    def run(self) -> None:
        """One attempt."""
        with contextlib.closing(self._open()) as response:
            whole = self._begin(response)
            with open(self._target, "r+b" if self._done else "wb") as file:
                file.seek(self._done)
                for data in _chunks(response):
                    file.write(data)
                    self._done += len(data)
                    self._show(whole)
            if whole is not None and self._done < whole:
                raise _Cut(f"the connection was cut after {self._done} of {whole} bytes")
        self._stage.result = _megabytes(self._done)

    def _show(self, whole: int | None) -> None:
        self._stage.done, self._stage.total = self._done, whole
        of = f" of {_megabytes(whole)}" if whole else ""
        self._stage.tell(f"{_megabytes(self._done)}{of}")

    def _open(self) -> http.client.HTTPResponse:
        request = urllib.request.Request(self._address)
        if self._done and self._version:
            request.add_header("Range", f"bytes={self._done}-")
            request.add_header("If-Range", self._version)
        try:
            response: http.client.HTTPResponse = urllib.request.urlopen(
                request, timeout=TIMEOUT_SECONDS
            )
            return response
        except urllib.error.HTTPError as error:
            error.close()  # it holds the connection
            if error.code == 416:  # the file has become shorter
                self._done = 0
                raise _Cut("the file on the server has changed") from error
            # It would say the same again; from 500 on it may be a matter of the moment.
            if error.code < 500:
                raise Refused(f"{error.code} {error.reason}") from error
            raise _Cut(f"the server answered {error.code} {error.reason}") from error
        except (urllib.error.URLError, ValueError) as error:
            if self._answered:
                raise _Cut(_reason(error)) from error
            # No network, no such host, no such address: another attempt would only take time.
            raise Failed(_reason(error)) from error
        except (OSError, http.client.HTTPException) as error:
            raise _Cut(_reason(error)) from error

    def _begin(self, response: http.client.HTTPResponse) -> int | None:
        """Where to go on, and how many bytes there are in all, if the server says."""
        headers, self._answered = response.headers, True
        if response.status != 206 or not _begins_at(headers.get("Content-Range"), self._done):
            self._done = 0
        strong = headers.get("ETag") or ""
        # `If-Range` takes no weak tag (RFC 9110, section 13.1.5).
        self._version = headers.get("Last-Modified") if strong[:2] in ("", "W/") else strong
        length = headers.get("Content-Length") or ""
        # Not by `isdigit` alone, for which "²" is a digit.
        return self._done + int(length) if length.isascii() and length.isdigit() else None


def _begins_at(content_range: str | None, place: int) -> bool:
    return (content_range or "").startswith(f"bytes {place}-")


def _chunks(response: http.client.HTTPResponse) -> Iterator[bytes]:
    while True:
        try:
            data = response.read(_CHUNK)
        except (OSError, http.client.HTTPException) as error:
            raise _Cut(_reason(error)) from error
        if not data:
            return
        yield data


def _reason(error: Exception) -> str:
    reason = getattr(error, "reason", error)
    if isinstance(reason, TimeoutError):
        return f"nothing came for {TIMEOUT_SECONDS:.0f} s"
    return str(reason) or type(reason).__name__


def _megabytes(size: int) -> str:
    return f"{size / 1e6:,.1f} MB"
