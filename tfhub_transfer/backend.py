"""Which backend Keras computes with: this package's encoders are TensorFlow's graphs."""

import os
import sys
from pathlib import Path

from tfhub_transfer.errors import InputError

NAME = "tensorflow"


def require_tensorflow() -> None:
    """Refuses another backend before Keras is imported, which would fail in many words.

    Raises:
        InputError: If Keras computes, or is going to compute, with another one.
    """
    # Not imported to be asked: that would begin with what is to be refused.
    keras = sys.modules.get("keras")
    name, where = _asked_for() if keras is None else (keras.config.backend(), "in this process")
    if name != NAME:
        raise InputError(
            "encoders of TensorFlow Hub are TensorFlow graphs, so Keras must compute with "
            f"TensorFlow: set KERAS_BACKEND={NAME} before Keras is imported. "
            f"Received: the backend {name!r}, {where}"
        )


def _asked_for() -> tuple[str, str]:
    """The backend that Keras will take and who says so, by Keras' own rule."""
    import json  # late, because each command and each import of the package comes by here

    if name := os.environ.get("KERAS_BACKEND"):
        return name, "from KERAS_BACKEND"
    folder = os.environ.get("KERAS_HOME") or Path(os.path.expanduser("~")) / ".keras"
    file = Path(folder) / "keras.json"
    try:
        settings = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return NAME, "by default"
    named = settings.get("backend") if isinstance(settings, dict) else None
    return str(named or NAME), f"from {file}"
