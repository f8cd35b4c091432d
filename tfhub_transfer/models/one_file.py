"""Models that are one `.keras` file each, with all that turns texts into what they read."""

import functools
from pathlib import Path
from typing import Any, TypeAlias

import keras

from tfhub_transfer.encoders import hub_preprocessors
from tfhub_transfer.encoders.encoder import Encoder
from tfhub_transfer.encoders.preprocessing import TextPreprocessor, load_preprocessor
from tfhub_transfer.incoming import choices
from tfhub_transfer.models import resuming
from tfhub_transfer.models.scope import Scope
from tfhub_transfer.models.seen import Seen
from tfhub_transfer.storage import opening, saving
from tfhub_transfer.tasks.layouts import Layout

# Arguments of a constructor as Keras keeps them.
Config: TypeAlias = dict[str, Any]
_PREPROCESSOR, _SEEN, _SCOPE = "preprocessor", "seen", "scope"


class InOneFile(resuming.Resumable):
    """A model whose file holds its preprocessor, vocabulary and all, and what it has seen.

    Attributes:
        encoder: The `Encoder` layer.
        seen_texts: Digests of the texts that it was trained on and judged by.
    """

    encoder: Encoder
    features: keras.KerasTensor
    scope: Scope | None
    seen_texts: Seen
    _layout: Layout

    @property
    def layout(self) -> Layout:
        """How the task's texts become rows for the encoder, and scores of rows answers."""
        return self._layout

    @property
    def preprocessor(self) -> TextPreprocessor:
        """What turns text into ids."""
        return self._layout.preprocessor

    @property
    def sequence_length(self) -> int:
        """The most tokens of a text, special tokens counted; longer ones are cut."""
        return self.preprocessor.sequence_length

    def _adopt(self, preprocessor: TextPreprocessor) -> None:
        """Takes a preprocessor into use, which is written wherever the encoder is."""
        self._layout.adopt(preprocessor)
        self.encoder.write_preprocessor = functools.partial(hub_preprocessors.write, preprocessor)

    def save(self, filepath: str | Path, overwrite: bool = True, **kwargs: Any) -> None:
        """As `keras.Model.save`; the file appears whole, or what was there stays.

        Args:
            filepath: A `.keras` file; its folder is made if need be.
            overwrite: Whether a file that is there is replaced.
            **kwargs: As for Keras.

        Raises:
            InputError: If it is named otherwise, can't be written, or would replace what isn't a
                model.
        """
        path = opening.path_of(filepath)
        saving.check(path, choices.flag("overwrite", overwrite))
        saving.save(path, functools.partial(super().save, **kwargs))

    def save_assets(self, dir_path: str) -> None:
        """Puts the preprocessor, vocabulary and all, into the `.keras` file; what was seen, too."""
        self.preprocessor.write(Path(dir_path) / _PREPROCESSOR)
        self.seen_texts.save(Path(dir_path) / _SEEN)
        if self.scope is not None:
            self.scope.save(Path(dir_path) / _SCOPE)

    def load_assets(self, dir_path: str) -> None:
        """Takes the preprocessor out of the `.keras` file."""
        self.seen_texts = Seen.load(Path(dir_path) / _SEEN)
        if (folder := Path(dir_path) / _SCOPE).is_dir():
            self.scope = Scope.load(folder, self.features.shape[-1])
        preprocessor = load_preprocessor(Path(dir_path) / _PREPROCESSOR, self.encoder.trust_code)
        preprocessor.require_fit(self.encoder)
        self._adopt(preprocessor)
