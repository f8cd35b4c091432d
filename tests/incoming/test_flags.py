"""What is on or off: said in words it is refused, since Python takes every word for true."""

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tfhub_transfer as tt
from tfhub_transfer.graphs import safety
from tfhub_transfer.incoming import choices
from tfhub_transfer.recipes import encoder_distillation

ROWS = tt.data.Examples.from_lists(["x", "y"], ["a", "b"])


@functools.cache
def made(encoder: str) -> Any:
    return tt.build_model(encoder, tt.tasks.Classification(["a", "b"]))


def thawed(encoder: str, flag: Any) -> bool:
    made(encoder).encoder.trainable = flag
    return bool(made(encoder).encoder.trainable)


FLAGS: dict[str, Callable[[Any, str, Path], Any]] = {
    "pair": lambda flag, encoder, folder: tt.tasks.Classification(["a", "b"], pair=flag),
    "towers": lambda flag, encoder, folder: tt.Head(towers=flag),
    "boundary": lambda flag, encoder, folder: tt.Plan(boundary=flag),
    "words": lambda flag, encoder, folder: tt.Preprocessor(encoder, words=flag),
    "trust_code": lambda flag, encoder, folder: safety.check_saved_model(Path(encoder), flag),
    "overwrite": lambda flag, encoder, folder: tt.Encoder(encoder).save(folder / "out", flag),
    "stratify": lambda flag, encoder, folder: tt.data.split(ROWS, (0.5, 0.5), stratify=flag),
    "trainable": lambda flag, encoder, folder: tt.Encoder(encoder, trainable=flag),
    "trainable ": lambda flag, encoder, folder: thawed(encoder, flag),
    "pairs": lambda flag, encoder, folder: tt.Preprocessor(encoder).inputs(pairs=flag),
    "embeddings": lambda flag, encoder, folder: encoder_distillation.Schedule(embeddings=flag),
    "shuffle": lambda flag, encoder, folder: made(encoder).preprocess(ROWS, shuffle=flag),
    "static_batches": lambda flag, encoder, folder: made(encoder).preprocess(
        ROWS, static_batches=flag
    ),
    "allow_nan": lambda flag, encoder, folder: made(encoder).predict_scores([], allow_nan=flag),
    "normalize": lambda flag, encoder, folder: made(encoder).encode_text([], normalize=flag),
    "verbose": lambda flag, encoder, folder: made(encoder).compute_features(ROWS, verbose=flag),
}


@pytest.mark.parametrize("value", ["no", "False", "", None, 2, 0.0, [], [True]], ids=repr)
@pytest.mark.parametrize("name", FLAGS)
def test_what_is_neither_on_nor_off_is_refused(
    name: str, value: Any, bert_encoder: Path, tmp_path: Path
) -> None:
    wanted = f"`{name.strip()}` must be True or False. Received: "
    with pytest.raises(tt.InputError, match=wanted):
        FLAGS[name](value, str(bert_encoder), tmp_path)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("value", [True, 1, np.True_, np.int64(1)], ids=repr)
def test_python_and_numpy_say_yes(value: Any) -> None:
    assert choices.flag("pair", value) is True
    assert tt.tasks.Regression(pair=value).get_config()["pair"] is True


@pytest.mark.parametrize("value", [False, 0, np.False_, np.uint8(0)], ids=repr)
def test_python_and_numpy_say_no(value: Any) -> None:
    assert choices.flag("pair", value) is False
    assert tt.Head(towers=value).towers is False


def test_whether_questions_go_without_answers_may_be_unknown() -> None:
    assert tt.tasks.QuestionAnswering().unanswerable is None
    assert tt.tasks.QuestionAnswering(unanswerable=np.False_).unanswerable is False
    with pytest.raises(tt.InputError, match="`unanswerable` must be True or False"):
        tt.tasks.QuestionAnswering(unanswerable="no")  # type: ignore[arg-type]


def test_a_file_is_not_trusted_by_a_word(bert_encoder: Path, tmp_path: Path) -> None:
    model = tt.build_model(str(bert_encoder), tt.tasks.Classification(["a", "b"]))
    model.save(tmp_path / "model.keras")
    with pytest.raises(tt.InputError, match="`trust_code` must be True or False"):
        tt.load_model(tmp_path / "model.keras", trust_code="no")
    with pytest.raises(tt.InputError, match="`baselines` must be True or False"):
        tt.evaluate(model, tt.data.Examples.from_lists(["x"], ["a"]), baselines="no")
