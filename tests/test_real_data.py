"""The packaged encoder on real texts, as users will have them."""

from pathlib import Path

import numpy as np
import pytest

import tfhub_transfer as tt

PACKAGED = [e.name for e in tt.registry.known_encoders() if e.packaged]


@pytest.fixture(scope="module")
def sst2(data_folder: Path) -> tt.data.Examples:
    return tt.data.read(data_folder / "sst2" / "test.jsonl")[:500]


@pytest.mark.slow
@pytest.mark.data
def test_exported_answers_equal_predict_text(sst2: tt.data.Examples, tmp_path: Path) -> None:
    task = tt.tasks.Classification().adapt(sst2.labels)
    model = tt.build_model("auto", task)
    texts = sst2.texts[0]
    served = tt.load_saved_model(tt.export_saved_model(model, tmp_path))
    expected = model.predict_text(texts)
    together = served.predict(texts)
    alone = [served.predict([text]) for text in texts]
    for row, answer in enumerate(expected):
        scores = list(answer["scores"].values())
        np.testing.assert_allclose(together["scores"][row], scores, atol=1e-5)
        np.testing.assert_allclose(alone[row]["scores"][0], scores, atol=1e-5)
        assert alone[row]["label"][0].decode() == answer["label"]


@pytest.mark.slow
@pytest.mark.data
def test_few_rows_are_enough_to_beat_the_majority(sst2: tt.data.Examples) -> None:
    train, test = sst2[:400], sst2[400:]
    tt.runtime.seed_everything(0)
    model = tt.build_model("auto", tt.tasks.Classification().adapt(train.labels))
    tt.fine_tune(model, train, test, unfreeze="none", plan=tt.Plan(verbose=0))
    report = tt.evaluate(model, test)
    majority = report.baselines["majority"]["accuracy"]
    assert report.metrics["accuracy"] > majority + 0.1


@pytest.mark.parametrize("name", PACKAGED)
def test_the_packaged_encoders_serve_every_sample_task(name: str) -> None:
    for label, task in (
        ("topic", tt.tasks.Classification()),
        ("sentiment", tt.tasks.Classification()),
        ("tags", tt.tasks.MultiLabel()),
        ("urgency", tt.tasks.Regression()),
    ):
        examples = tt.data.read(tt.registry.samples_path(), label=label)
        model = tt.build_model(name, task.adapt(examples.labels))
        assert len(model.predict_text(examples.texts[0][:3])) == 3
    assert len(set(examples.texts[0])) == len(examples) >= 200


@pytest.mark.parametrize(("name", "most"), [(PACKAGED[0], 48e6), (PACKAGED[1], 32e6)])
def test_the_packaged_encoders_are_small_and_cover_any_text(name: str, most: float) -> None:
    folder = tt.registry.resolve(name)
    size = sum(p.stat().st_size for p in folder.rglob("*") if p.is_file())
    assert size <= most
    encoder = tt.Encoder(name)
    assert {"sequence_output", "pooled_output"} <= set(encoder.output_names)
    model = tt.build_model(encoder, tt.tasks.Classification(["a", "b"]))
    batch = model.preprocessor(["naïve café unaffordablenessless"])
    pieces = (folder / "assets" / "vocab.txt").read_text(encoding="utf-8").split("\n")
    assert pieces.index("[UNK]") not in batch["input_word_ids"].numpy()
