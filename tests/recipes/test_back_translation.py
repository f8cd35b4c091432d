"""Pairs whose sources a reverse model writes."""

from pathlib import Path
from typing import Any

import pytest

import tfhub_transfer as tt
from tfhub_transfer.data import Examples
from tfhub_transfer.errors import InputError
from tfhub_transfer.recipes import back_translation
from tfhub_transfer.tasks import Search, Translation

SOURCES = ["good film", "bad movie", "the worst"]
TARGETS = ["guter Film", "böser Film", "das schlimmste"]


def test_pairs_are_turned_round() -> None:
    pairs = Examples.from_lists(SOURCES, [TARGETS[0], [TARGETS[1], "x"], TARGETS[2]])
    found = back_translation.reversed_pairs(pairs)
    assert (list(found.texts[0]), list(found.labels)) == (TARGETS, SOURCES)
    for odd in (Examples.from_lists(SOURCES), Examples.from_lists(SOURCES, TARGETS, TARGETS)):
        with pytest.raises(InputError, match="each with the text that is to be written"):
            back_translation.reversed_pairs(odd)


def test_a_reverse_model_writes_the_sources(
    text_encoder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    task = Translation(decoder_width=16, search={"beams": 3}).adapt(SOURCES)
    model = tt.build_model(str(text_encoder), task)
    before, asked = model.task.search, []

    def predict(texts: list[str]) -> list[dict[str, Any]]:
        asked.append((model.task.search.beams, list(texts)))
        return [{"text": "" if text == "leer" else text.upper()} for text in texts]

    monkeypatch.setattr(model, "predict_text", predict)
    given = ["ein Haus", " ", "leer", "ein Haus", "Hund"]
    found = back_translation.back_translate(model, given)
    assert list(found.texts[0]) == ["EIN HAUS", "HUND"]
    assert list(found.labels) == ["ein Haus", "Hund"]
    back_translation.back_translate(model, given, Search(sample=True))
    back_translation.back_translate(model, given, Search(beams=5))
    assert [beams for beams, _ in asked] == [1, 4, 5]
    assert all(texts == ["ein Haus", "leer", "Hund"] for _, texts in asked)
    assert model.task.search == before
    with pytest.raises(InputError, match="expected texts of the target language"):
        back_translation.back_translate(model, ["", " "])
    with pytest.raises(InputError, match="expected a list of texts. Received: one string"):
        back_translation.back_translate(model, "ein Haus")
    other = tt.build_model(str(text_encoder), tt.tasks.Classification(["a", "b"]))
    with pytest.raises(InputError, match="trained model of targets to sources.*classification"):
        back_translation.back_translate(other, given)


def test_synthetic_pairs_are_marked() -> None:
    real = Examples.from_lists(SOURCES, TARGETS)
    both = back_translation.with_synthetic(real, Examples.from_lists(["x"], ["y"]))
    assert both.columns["synthetic"] == [False] * 3 + [True]
    assert list(both.texts[0]) == [*SOURCES, "x"] and list(both.labels) == [*TARGETS, "y"]
    with pytest.raises(InputError, match="leave weights out"):
        back_translation.with_synthetic(
            Examples.from_lists(SOURCES, TARGETS, weight=[1, 2, 3]), real
        )
