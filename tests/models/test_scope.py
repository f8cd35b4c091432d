"""How far vectors lie from others: as scikit-learn has it, of any number and shape."""

from pathlib import Path

import numpy as np
import pytest
import sklearn.neighbors

from tfhub_transfer.models import scope


def drawn(rows: int = 60, width: int = 8, seed: int = 0) -> np.ndarray:
    """Vectors, some of which are near each other."""
    generator = np.random.default_rng(seed)
    middles = np.random.default_rng(9).normal(0, 2, (3, width))
    return (middles[np.arange(rows) % 3] + generator.normal(size=(rows, width))).astype("float32")


def farness(vectors: np.ndarray, asked: np.ndarray) -> np.ndarray:
    """Mean cosine distances to the three nearest, by another library."""
    count = min(3, len(vectors))
    fitted = sklearn.neighbors.NearestNeighbors(n_neighbors=count, metric="cosine")
    return fitted.fit(vectors.astype("float64")).kneighbors(asked.astype("float64"))[0].mean(axis=1)


@pytest.mark.parametrize("rows", [1, 2, 60])
def test_distances_are_those_of_the_three_nearest(rows: int) -> None:
    vectors, asked = drawn(rows), drawn(40, seed=1) * 100
    found = scope.learned(vectors, asked).distance(asked).numpy()
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, farness(vectors, asked), atol=1e-6)


@pytest.mark.parametrize("chunk", [7, 2048])
def test_scores_are_shares_of_texts_that_are_farther(
    chunk: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scope, "_ROWS", chunk)
    vectors, left_out, asked = drawn(), drawn(200, seed=2), drawn(500, seed=3)
    found = scope.learned(vectors, left_out)
    known, far = farness(vectors, left_out), farness(vectors, asked)
    farther = (known[None] > far[:, None]).mean(axis=1)
    scores = found.score(asked).numpy()
    assert scores.dtype == np.float32 and ((scores > 0) & (scores <= 1)).all()
    assert np.abs(scores - farther).max() <= 1 / 200
    assert (np.diff(scores[np.argsort(far)]) <= 1e-5).all()
    np.testing.assert_allclose(found.scores_of(asked), scores, atol=1e-4)
    # Of those left out themselves each tenth holds a tenth.
    own = np.histogram(found.score(left_out), np.linspace(0, 1, 11))[0]
    np.testing.assert_array_equal(own, [20] * 10)


def test_beyond_the_farthest_what_is_farther_has_less() -> None:
    vectors = drawn()
    vectors[:, 0] = 9.0
    found = scope.learned(vectors, vectors[:20])
    away = np.eye(8, dtype="float32")[:1] * -np.arange(1, 6)[:, None] + vectors[:1] * 0.1
    far = found.score(away.astype("float32")).numpy()
    assert (far < 0.5 / 20).all() and (far > 0).all() and (np.diff(far) < 0).all()
    # What is nearer than any has no more than the nearest.
    assert found.share(np.float32([0.0])).numpy() == pytest.approx([1 - 0.5 / 20])


def test_more_distances_than_are_kept_say_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    vectors, left_out = drawn(), drawn(900, seed=2)
    whole = scope.learned(vectors, left_out).score(left_out).numpy()
    monkeypatch.setattr(scope, "_KNOTS", 90)
    thinned = scope.learned(vectors, left_out)
    assert len(thinned.distances) == 90 and thinned.rows == 900
    np.testing.assert_allclose(thinned.score(left_out), whole, atol=1 / 90)


def test_rounding_makes_no_other_score_where_texts_are_the_same() -> None:
    vectors = drawn()
    found = scope.learned(vectors, np.repeat(drawn(10, seed=2), 10, axis=0))
    assert len(found.distances) == 10
    for off in (1e-7, -1e-7):
        shares = found.share(found.distances + np.float32(off))
        np.testing.assert_allclose(shares, np.arange(0.95, 0, -0.1), atol=1e-4)
    # Also where all are the training's own, of distance 0: beyond it nothing falls at once.
    own = scope.learned(np.repeat(vectors, 3, axis=0), vectors)
    for off in (0.0, 3e-7):
        assert own.share(np.float32([off])).numpy() == pytest.approx([0.5])
    assert (own.share(np.float32([1e-4, 1e-2])).numpy() <= [5.1e-3, 5.1e-5]).all()
    # Those of the training again, three times: no farther than rounding.
    again = scope.learned(np.repeat(vectors, 3, axis=0), np.concatenate([vectors, 100 + vectors]))
    assert again.score(vectors * np.float32(0.37)).numpy() == pytest.approx(0.75, abs=1e-3)


@pytest.mark.parametrize("odd", ["constant", "zero", "one text", "the same", "huge", "one number"])
def test_odd_vectors_have_scores(odd: str) -> None:
    vectors, left_out = drawn(), drawn(30, seed=1)
    if odd == "constant":
        vectors[:, 3] = left_out[:, 3] = 7.0
    elif odd == "zero":
        vectors[0] = left_out[0] = 0.0
    elif odd == "one text":
        vectors = vectors[:1]
    elif odd == "the same":
        vectors = np.repeat(vectors[:1], 60, axis=0)
    elif odd == "huge":
        vectors *= np.float32(1e15)
    else:
        vectors, left_out = vectors[:, :1], left_out[:, :1]
    found = scope.learned(vectors, left_out)
    scores = found.score(np.concatenate([left_out, np.zeros_like(left_out[:1])])).numpy()
    assert np.isfinite(scores).all()
    assert scores[:30].mean() == pytest.approx(0.5, abs=0.01)


@pytest.mark.parametrize(("width", "kept"), [(384, 5000), (768, 5000), (3072, 1302), (10**7, 1)])
def test_a_sample_is_kept_of_many(width: int, kept: int) -> None:
    picked = scope.sampled(100_000, width, seed=0)
    assert len({*picked.tolist()}) == kept and (np.diff(picked) > 0).all()
    assert kept == 1 or picked.mean() == pytest.approx(50_000, rel=0.05)
    np.testing.assert_array_equal(scope.sampled(kept, width, 0), np.arange(kept))


def test_what_is_written_is_read_again(tmp_path: Path) -> None:
    vectors = drawn()
    found = scope.learned(vectors, vectors)
    assert scope.Scope.load(tmp_path / "none", 8) is None
    found.save(tmp_path / "scope")
    again = scope.Scope.load(tmp_path / "scope", 8)
    assert again is not None and (again.rows, again.mark) == (60, "")
    np.testing.assert_array_equal(again.score(vectors), found.score(vectors))
    with pytest.raises(FileExistsError):
        found.save(tmp_path / "scope")


@pytest.mark.parametrize("odd", ["cut", "longer", "not JSON", "shapes", "NaN", "width", "signs"])
def test_a_damaged_file_is_refused_in_one_line(odd: str, tmp_path: Path) -> None:
    vectors = drawn()
    scope.learned(vectors, vectors).save(tmp_path)
    told, arrays = tmp_path / "told.json", tmp_path / "arrays"
    content, text = arrays.read_bytes(), told.read_text("utf-8")
    if odd == "cut":
        arrays.write_bytes(content[:-4])
    elif odd == "longer":
        arrays.write_bytes(content + bytes(4))
    elif odd == "not JSON":
        told.write_text("{", "utf-8")
    elif odd in ("shapes", "signs"):
        other = "[120, 4]" if odd == "shapes" else "[-60, -8]"
        assert "[60, 8]" in text
        told.write_text(text.replace("[60, 8]", other), "utf-8")
    elif odd == "NaN":
        arrays.write_bytes(np.full(len(content) // 4, np.nan, "<f4").tobytes())
    with pytest.raises(scope.InputError, match="is damaged; take the file from its source") as err:
        scope.Scope.load(tmp_path, 9 if odd == "width" else 8)
    assert "\n" not in str(err.value)
