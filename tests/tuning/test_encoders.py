"""An encoder out of a list as one of the settings."""

from pathlib import Path
from typing import Any

import keras_tuner
import numpy as np
import pytest

import tfhub_transfer as tt
from tfhub_transfer.tuning import TransferHyperModel
from tfhub_transfer.tuning.space import SEARCHED

OTHERS = dict.fromkeys((*SEARCHED, "epochs"))


def task() -> Any:
    return tt.tasks.Classification(["negative", "positive"])


def hypermodel(encoders: list[Path], splits: Any, **space: Any) -> TransferHyperModel:
    names = [str(each) for each in encoders]
    given = {**OTHERS, "encoder": names[::-1], **space}
    plan = tt.Plan(head_epochs=3)
    return TransferHyperModel(names[0], task(), *splits, space=given, plan=plan, sequence_length=24)


def test_each_encoder_has_values_of_its_own(
    text_encoder: Path, bert_encoder: Path, splits: Any, tmp_path: Path, monkeypatch: Any
) -> None:
    made = hypermodel(
        [text_encoder, bert_encoder], splits, unfreeze=[0, 1], learning_rate=[1e-3, 1e-2]
    )
    assert [each.dialect for each in made.encoders] == ["text", "bert"]
    drawn: list[Any] = []

    def worth(hp: Any, model: Any, *how: Any) -> dict[str, float]:
        drawn.append({**made.chosen(hp), "dialect": model.encoder.dialect})
        return {"val_accuracy": 1.0, "val_loss": 1.0}

    monkeypatch.setattr(made, "_worth", worth)
    tuner = keras_tuner.GridSearch(made, made.objective, directory=tmp_path, project_name="s")
    tuner.search(verbose=0)
    names = ("encoder", "dialect", "unfreeze", "learning_rate")
    found = [tuple(each.get(name) for name in names) for each in drawn]
    own = [(0, None), (1, 1e-3), (1, 1e-2)]
    known = ((str(text_encoder), "text"), (str(bert_encoder), "bert"))
    assert sorted(map(str, found)) == sorted(str((*e, *v)) for e in known for v in own)
    # The defaults, or what is next to them: of embeddings that is the higher rate.
    assert found[0] == (str(text_encoder), "text", 1, 1e-2)


@pytest.mark.slow
def test_a_trial_is_trained_on_the_encoder_that_was_drawn(
    text_encoder: Path, bert_encoder: Path, splits: Any
) -> None:
    made = hypermodel([text_encoder, bert_encoder], splits, unfreeze=0, dropout=[0.1, 0.2])
    hp = keras_tuner.HyperParameters()
    hp.values = {"encoder": str(bert_encoder), "dropout (2)": 0.2}
    model = made.build(hp)
    found = made.fit(hp, model)
    tt.runtime.seed_everything(0)
    encoder = tt.Encoder(str(bert_encoder))
    alone = tt.build_model(encoder, task(), tt.Head(dropout=0.2), sequence_length=24)
    history = tt.fine_tune(alone, *splits, unfreeze=0, plan=tt.Plan(head_epochs=3, verbose=0))
    assert found["val_accuracy"] == history.outcomes[-1].value
    for mine, its in zip(model.get_weights(), alone.get_weights()):
        np.testing.assert_array_equal(mine, its)


def test_encoders_that_cant_be_searched_are_one_line(
    text_encoder: Path, bert_encoder: Path, splits: Any
) -> None:
    for given in ("search", [str(text_encoder)], [str(bert_encoder)] * 2, [str(bert_encoder), "a"]):
        with pytest.raises(tt.InputError, match="at least two names or folders") as error:
            hypermodel([text_encoder], splits, encoder=given)
        assert "\n" not in str(error.value)
    with pytest.raises(tt.InputError, match="has a preprocessor of its own"):
        names = [str(text_encoder), str(bert_encoder)]
        space = {"encoder": names}
        TransferHyperModel(names[0], task(), *splits, space=space, preprocessor="bert")
