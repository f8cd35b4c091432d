"""An export is checked as it searches for texts, whatever its model was told since."""

from pathlib import Path
from typing import Any

import pytest

import tfhub_transfer as tt
from tfhub_transfer.serving import checking, replay, searches
from tfhub_transfer.tasks import Search, Translation

HOW = Search(beams=2, max_length=6, begin="ein", glossary={"film": "Streifen"})


@pytest.fixture
def model(text_encoder: Path) -> tt.TransferModel:
    task = Translation(decoder_width=16, answer_length=8, search=Search(beams=1))
    return tt.build_model(str(text_encoder), task.adapt(["ein Film", "der Streifen"]))


def test_how_an_export_searches_is_kept_beside_it(model: tt.TransferModel, tmp_path: Path) -> None:
    models, before = {"serving_default": model}, model.task.search
    with searches.as_exported(models, tmp_path):
        assert model.task.search == before  # an older export doesn't say
    model.task.search = HOW
    searches.write(models, tmp_path)
    model.task.search = before
    with searches.as_exported(models, tmp_path):
        assert model.task.search == HOW
    assert model.task.search == before
    (tmp_path / searches.FILE).write_text("[", "utf-8")
    damaged = pytest.raises(tt.InputError, match="is damaged; export again")
    with damaged, searches.as_exported(models, tmp_path):
        pass


@pytest.mark.slow
def test_an_export_with_a_glossary_passes(model: tt.TransferModel, tmp_path: Path) -> None:
    model.task.search = HOW
    exported = tt.export_saved_model(model, tmp_path / "serving")
    model.task.search = Search()
    checking.prepare(exported, model, tmp_path / "w")
    found: list[Any] = list(replay.check(tmp_path / "w", replay.ByLoader))
    assert all(passed for passed, _ in found), found
    assert model.task.search.glossary == ()
