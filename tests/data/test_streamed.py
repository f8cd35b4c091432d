"""Streams that training reads: what is wrong with a row comes out as one line that names it."""

from pathlib import Path

import pytest

import tfhub_transfer as tt

ROWS = [f"good film {i},{'ab'[i % 2]}" for i in range(40)]


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("good film,c", r"x.csv, line 34: every class must be among.*Received: \[.c.\]"),
        ("good film", "x.csv, line 34: expected 2 fields"),
        ("good film, ", "x.csv, line 34: column 'label' must hold a label"),
    ],
)
def test_a_mistake_in_a_stream_is_one_line(
    row: str, message: str, text_encoder: Path, tmp_path: Path
) -> None:
    path = tmp_path / "x.csv"
    path.write_text("\n".join(["text,label", *ROWS, ""]), encoding="utf-8")
    stream = tt.data.stream(path, chunk_rows=10)
    assert len(stream) == 40
    path.write_text("\n".join(["text,label", *ROWS[:32], row, *ROWS[33:], ""]), encoding="utf-8")
    model = tt.build_model(str(text_encoder), tt.tasks.Classification(["a", "b"]))
    batches = model.preprocess(stream, 8, shuffle=False)
    for train in (
        lambda: model.fit(batches, verbose=0),
        lambda: model.evaluate(batches, verbose=0),
        lambda: tt.fine_tune(model, stream, tt.data.Examples.from_lists(["a"], ["a"]), epochs=1),
    ):
        with pytest.raises(tt.InputError, match=message) as caught:
            train()
        assert "\n" not in str(caught.value)
