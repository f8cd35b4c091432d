"""`python -m tfhub_transfer` is the command `tfhub-transfer`."""

import signal
import sys
from typing import NoReturn

from tfhub_transfer.storage import signals


def run() -> NoReturn:
    """The process of a command: from its first moment to its last a signal ends it cleanly."""
    signals.to_the_end()
    try:
        # Here, so that signals during the import are caught, too.
        from tfhub_transfer.cli import main

        status = main()
    except KeyboardInterrupt as error:  # before the command began, or when it was over
        status = signals.exit_status(getattr(error, "number", signal.SIGINT))
    sys.exit(status)


if __name__ == "__main__":
    run()
