"""What Keras does while it saves and loads, and lets nobody have a say in."""

import tempfile
from collections.abc import Callable
from pathlib import Path

from keras.src.backend.common import global_state
from keras.src.saving import saving_lib
from keras.src.saving.serialization_lib import in_safe_mode


def trusts_file() -> bool:
    """Whether who loads a file now has said that it may run code: `safe_mode=False`.

    `keras.src.saving.serialization_lib.in_safe_mode`, with Keras 3.15.1. A layer that is made from
    a configuration isn't told by `from_config`; `keras.config` has only how to turn it off.
    """
    return in_safe_mode() is False


def is_loading() -> bool:
    """Whether Keras is making a whole model out of a file, whose weights follow.

    `shared_objects/id_to_obj_map` of `keras.src.backend.common.global_state`, with Keras 3.15.1:
    it is there while one is.
    """
    return global_state.get_global_attribute("shared_objects/id_to_obj_map") is not None


def is_saving() -> bool:
    """Whether Keras is writing a whole model into a file, optimizer and all, and not its makeup.

    By the same sign as `is_loading`, with Keras 3.15.1; `clone_model` and `to_json` have none.
    """
    return is_loading()


def gather_assets_in(chosen: Callable[[], Path | None]) -> None:
    """Gathers the assets of what is saved or loaded from now on where `chosen` says, if it does.

    `keras.src.saving.saving_lib.get_temp_dir`, with Keras 3.15.1, which is replaced; no argument
    of `save` says where.

    Args:
        chosen: The folder for who asks now; `None` for Keras' own way.
    """
    usual = saving_lib.get_temp_dir

    def folder() -> str:
        within = chosen()
        return str(usual()) if within is None else tempfile.mkdtemp(prefix="assets-", dir=within)

    saving_lib.get_temp_dir = folder
