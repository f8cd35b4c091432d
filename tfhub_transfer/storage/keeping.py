"""What was learned outlives the run: in the output folder, or wherever else there is room."""

import contextlib
import secrets
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

from tfhub_transfer.errors import one_line, visible
from tfhub_transfer.storage import atomic, signals


@contextlib.contextmanager
def kept(
    write: Callable[[Path], None],
    target: Path,
    use: str,
    unless: Callable[[BaseException], bool] = lambda error: False,
) -> Iterator[None]:
    """Whatever ends the body early, a signal or a failure: what was learned so far is written.

    Says on standard error where it lies. The first signal waits for it, the second doesn't.

    Args:
        write: Called with a path, writes there, whole or not at all.
        target: Where to write, in the output folder. If that fails, because the disk is full, say,
            a like name is tried in the current folder, the home folder and the temporary one.
        use: How to use it, with `{}` for the path.
        unless: Whether a failure is one after which there is nothing that is worth it.
    """
    try:
        with signals.told_apart():
            yield
    except (Exception, KeyboardInterrupt) as error:
        if not unless(error):
            what = "interrupted" if isinstance(error, KeyboardInterrupt) else "it failed"
            with signals.held():
                found = _write_somewhere(write, target)
                print(f"\n{what}: {_said(found, use)}", file=sys.stderr)
        raise


def _said(found: Path | list[str], use: str) -> str:
    if isinstance(found, list):
        return f"the model as trained so far could be written nowhere: {'; '.join(found)}"
    path = visible(str(found))
    return f"the model as trained so far is in {path}; {use.format(path)}"


def _write_somewhere(write: Callable[[Path], None], target: Path) -> Path | list[str]:
    """Where it was written, or what was in the way at each place."""
    failures = []
    for place in _places(target):
        try:
            write(place)
            with contextlib.suppress(OSError):  # nothing that could be lost
                if place == target:
                    atomic.mark_alone(place)
                else:  # others may look in there
                    place.chmod(0o700 if place.is_dir() else 0o600)
        # Whatever it is: another place may still take what was learned.
        except Exception as error:
            failures.append(one_line(str(error), 300))
        else:
            return place
    return failures


def _places(target: Path) -> Iterator[Path]:
    yield target
    name = f"tfhub-transfer-kept-{secrets.token_hex(4)}{target.suffix}"
    for folder in (Path.cwd, Path.home, lambda: Path(tempfile.gettempdir())):
        with contextlib.suppress(OSError, RuntimeError):  # a current folder may be gone
            yield folder() / name
