"""What is said loudly: baselines that win, texts seen before, few, cut or foreign texts."""

import collections
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import samples
import tensorflow as tf

import tfhub_transfer as tt
from tfhub_transfer import cli
from tfhub_transfer.encoders import preprocessing, vocabulary_fit
from tfhub_transfer.evaluation import cautions
from tfhub_transfer.models import seen
from tfhub_transfer.models.seen import Seen
from tfhub_transfer.reporting.reports import Report
from tfhub_transfer.tasks import MultiTask

INDONESIAN = (
    "Film ini sangat bagus dan saya suka sekali karena ceritanya menarik.",
    "Pengiriman barang terlambat tiga hari dan pelayanan penjual kurang memuaskan.",
    "Saya sudah menunggu sejak kemarin tetapi belum ada jawaban dari petugas.",
    "Makanan di restoran itu enak, hanya saja tempatnya agak sempit dan panas.",
    "Harga tiket kereta naik lagi menjelang libur panjang akhir tahun.",
)
ENGLISH = (
    "The delivery was three days late and the seller never answered my messages.",
    "A warm, funny film whose plot keeps surprising you until the very last scene.",
    "Wall St. Bears Claw Back Into the Black (Reuters): short-sellers see green again.",
    "My card was swallowed by the machine in Leicester; can I get a replacement abroad?",
    "@anna lol that's sooo good!!! see http://t.co/x1",
)


def packaged(place: int) -> Any:
    """The tokenizer of a packaged encoder, without the encoder."""
    name = [e.name for e in tt.registry.known_encoders() if e.packaged][place]
    vocabulary = tt.registry.resolve(name) / "assets" / "vocab.txt"
    return preprocessing._from_vocabulary(vocabulary, preprocessing.Case(True), 64)


def fit(preprocessor: Any, *texts: str) -> vocabulary_fit.Fit:
    found = vocabulary_fit.measure(preprocessor, [texts])
    assert found is not None
    return found


# Vocabularies --------------------------------------------------------------------------------


@pytest.mark.parametrize("place", [0, pytest.param(1, marks=pytest.mark.slow)])
def test_an_english_vocabulary_fits_english_only(place: int) -> None:
    tokenizer = packaged(place)
    english = fit(tokenizer, *ENGLISH)
    assert not english.is_bad and english.languages == ("English",)
    assert english.own_pieces_per_word < 1.1 and english.own_unknown == 0.0
    foreign = {**vocabulary_fit._SAMPLES, "Indonesian": " ".join(INDONESIAN)}
    foreign["Thai"] = "มนุษย์ทั้งหลายเกิดมามีอิสระ และเสมอภาคกันในเกียรติศักดิ์และสิทธิ" * 3
    for language, text in foreign.items():
        assert fit(tokenizer, text, text).is_bad, language
    said = str(fit(tokenizer, *INDONESIAN))
    assert "pieces a word and 0.0% of them unknown, beside 1.0" in said and "in English" in said


def test_numbers_are_those_of_a_count_by_hand() -> None:
    """Words of plain letters, split as Devlin et al. 2019 do: the longest piece first."""
    tokenizer = packaged(0)
    known = set(Path(tokenizer.source).read_text(encoding="utf-8").split("\n"))

    def split(word: str) -> int:
        start, count = 0, 0
        while start < len(word):
            prefix = "##" if start else ""
            end = next(e for e in range(len(word), start, -1) if prefix + word[start:e] in known)
            start, count = end, count + 1
        return count

    words = [w.strip(".,").lower() for text in INDONESIAN for w in text.split()]
    found = fit(tokenizer, *(" ".join(words[i::5]) for i in range(5)))
    assert found.words == len(words)
    assert found.pieces_per_word == pytest.approx(sum(map(split, words)) / len(words))
    third = fit(tokenizer, *["good \U00013080 film"] * 40)
    assert third.unknown == pytest.approx(1 / 3) and third.is_bad


def test_the_own_language_is_what_fits_best(tmp_path: Path) -> None:
    """A vocabulary of German words and single letters."""
    german = vocabulary_fit._SAMPLES["German"].lower().replace(".", " .").split()
    letters = [chr(c) for c in (*range(97, 123), *"àâçéèêëíñóôùúü".encode("utf-32-le")[::4])]
    letters += [*"0123456789.,!?'()-%:$;"]
    pieces = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", *dict.fromkeys([*german, *letters])]
    pieces += [f"##{letter}" for letter in letters]
    (tmp_path / "vocab.txt").write_text("\n".join(pieces), encoding="utf-8")
    tokenizer = preprocessing._from_vocabulary(tmp_path / "vocab.txt", preprocessing.Case(True), 64)
    own = fit(tokenizer, *[" ".join(german)] * 3)
    assert own.languages == ("German",) and not own.is_bad
    assert fit(tokenizer, *ENGLISH).is_bad


def test_a_vocabulary_of_several_languages_fits_all_of_them(tmp_path: Path) -> None:
    """As multilingual encoders have: whole words of each, and single letters of the rest."""
    english = [word for text in vocabulary_fit._english() for word in text.lower().split()]
    others = " ".join([*vocabulary_fit._SAMPLES.values(), *ENGLISH]).lower()
    words = dict.fromkeys([*english, *re.findall(r"\w+|[^\w\s]", others)])
    letters = sorted({letter for word in words for letter in word})
    pieces = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", *words, *letters, *(f"##{c}" for c in letters)]
    (tmp_path / "vocab.txt").write_text("\n".join(dict.fromkeys(pieces)), encoding="utf-8")
    case = preprocessing.Case(True, strip_accents=False)
    tokenizer = preprocessing._from_vocabulary(tmp_path / "vocab.txt", case, 64)
    for language, text in vocabulary_fit._SAMPLES.items():
        found = fit(tokenizer, *[text] * 3)
        assert not found.is_bad, (language, found)
        assert len(found.languages) > 5 and language in found.languages
    assert not fit(tokenizer, *ENGLISH).is_bad
    assert fit(tokenizer, *INDONESIAN).is_bad
    assert fit(tokenizer, *["มนุษย์ทั้งหลายเกิดมามีอิสระ"] * 20).unknown > 0.5


def test_few_words_and_unknown_vocabularies_tell_nothing(text_encoder: Path) -> None:
    assert not fit(packaged(0), INDONESIAN[0]).is_bad
    encoder = tt.Encoder(str(text_encoder))
    assert vocabulary_fit.measure(preprocessing.make_preprocessor(encoder), [ENGLISH]) is None
    nothing = vocabulary_fit.measure(preprocessing.make_preprocessor(encoder), [[""]], text_encoder)
    assert nothing is None
    assert vocabulary_fit.measure(packaged(0), [["", " "]]) is None


def test_words_that_a_table_lacks_are_counted(
    text_encoder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By the table itself: an unknown word has the vector of every other unknown one."""
    encoder = tt.Encoder(str(text_encoder))
    preprocessor = preprocessing.make_preprocessor(encoder)
    texts = ["Good film, bad plot!", "zyx good (qqq) qqq", "", "the film"] * 20
    monkeypatch.setattr(vocabulary_fit, "_english", lambda: ("good film", "bad qqq"))
    found: Any = vocabulary_fit.measure(preprocessor, [texts], encoder.folder)
    # Which of the spellings an encoder looks up is its own; this one takes off signs alone.
    words = [w for text in texts for w in text.lower().replace("(", "").split()]
    vectors = encoder(tf.constant(words))["default"].numpy()
    unknown = np.all(vectors == encoder(tf.constant(["zyx"]))["default"].numpy(), axis=1)
    assert (found.words, found.unknown) == (len(words), unknown.mean())
    assert (found.languages, found.own_unknown) == (("English",), 0.25)
    assert found.is_bad == (unknown.mean() > 0.25 + vocabulary_fit._MANY_WORDS)
    strange: Any = vocabulary_fit.measure(preprocessor, [["qqq zyx"] * 50], encoder.folder)
    assert strange.is_bad and str(strange).startswith("100.0% of the words are unknown, beside 25")
    few: Any = vocabulary_fit.measure(preprocessor, [["qqq zyx"]], encoder.folder)
    assert not few.is_bad


@pytest.mark.data
@pytest.mark.parametrize(
    ("name", "is_bad"),
    [(n, False) for n in ("sst2", "ag_news", "banking77", "wnut17", "sib200/eng_Latn", "imdb")]
    + [(n, True) for n in ("sib200/deu_Latn", "sib200/fra_Latn")],
)
def test_real_texts_fit_or_not(name: str, is_bad: bool, data_folder: Path) -> None:
    file = next((data_folder / name).glob("test.jsonl*"))
    examples = tt.data.read(file)
    for place in (0, 1):
        found = vocabulary_fit.measure(packaged(place), examples.texts)
        assert found is not None and found.is_bad == is_bad, found


# Texts seen before ---------------------------------------------------------------------------


def test_digests_find_rows_of_texts() -> None:
    known = Seen().with_texts("train", [[["a b", "c"], ["x", "y"]], [["d"], ["z"]]])
    known = known.with_texts("validation", [[["a b"], ["x"]]])
    assert known.count([["a  b\n", "c", "c", "x"], ["x", "y", "x", "a b"]]) == {
        "train": 2,
        "validation": 1,
    }
    assert known.count([["a b"]]) == {"train": 0, "validation": 0}  # a text isn't a pair
    assert len(set(seen.digests([[f"text {i}" for i in range(10_000)]]).tolist())) == 10_000


def test_of_very_many_texts_a_sample_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(seen, "MOST", 1000)
    texts = [str(i) for i in range(20_000)]
    known = Seen().with_texts("train", ([texts[i : i + 3000]] for i in range(0, 20_000, 3000)))
    assert len(known.train) == 1000
    half = [*texts[:8000], *(f"new {i}" for i in range(8000))]
    assert known.count([half])["train"] == pytest.approx(8000, rel=0.15)


def test_each_text_is_sorted_a_few_times(monkeypatch: pytest.MonkeyPatch) -> None:
    """However many chunks a stream has; with those of an earlier training, and the same at last."""
    monkeypatch.setattr(seen, "_WAITING", 100)
    usual, counts = seen._least, list[int]()
    counted = lambda *parts: counts.append(sum(map(len, parts))) or usual(*parts)  # noqa: E731
    monkeypatch.setattr(seen, "_least", counted)
    texts = [f"text {i % 1800}" for i in range(2000)]
    known = Seen().with_texts("train", ([texts[i : i + 5]] for i in range(0, 2000, 5)))
    assert sum(counts) < 8 * len(texts) and len(counts) > 5
    every = np.unique(seen.digests([[*texts, "one more"]]))
    np.testing.assert_array_equal(known.with_texts("train", [[["one more"]]]).train, every)


def test_they_travel_with_the_model(text_encoder: Path, tmp_path: Path) -> None:
    """Also through a file, and more training adds to them."""
    texts, labels = [*samples.TEXTS[:3], "d", "e", "f"], ["a", "b"] * 3
    every = tt.data.Examples.from_lists(texts, labels)
    model = tt.build_model(str(text_encoder), tt.tasks.Classification(["a", "b"]))
    assert noted(model, every).notes[0].startswith("test texts weren't looked for in training")
    assert noted(model, every, every[:2]).texts["also_in"] == {"train": 2, "validation": 0}
    plan = tt.Plan(head_epochs=1, verbose=0)
    tt.fine_tune(model, every[:3], every[3:5], 1, unfreeze="none", plan=plan)
    model.save(tmp_path / "model.keras")
    loaded = tt.load_model(tmp_path / "model.keras")
    found = tt.evaluate(loaded, every, baselines=False)
    assert found.texts["also_in"] == {"train": 3, "validation": 2}
    said = "of 6 test texts 3 also occur in train and 2 also occur in validation"
    assert f"WARNING: {said}" in str(found) and noted(model, every).warnings[0].startswith(said)
    assert not any("occur" in warning for warning in noted(loaded, every[5:]).warnings)
    tt.fine_tune(loaded, every[5:], every[:3], 1, unfreeze="none", plan=plan)
    assert loaded.seen_texts.count(every.texts) == {"train": 4, "validation": 5}


def noted(model: Any, test: Any, train: Any = None) -> Report:
    """What is said of texts, without measuring anything."""
    found = report()
    cautions.add(found, model, test, train)
    return found


@pytest.mark.slow
def test_each_task_has_its_own(bert_encoder: Path, tmp_path: Path) -> None:
    sample = samples.ROWS[MultiTask.name]
    model = tt.build_model(str(bert_encoder), sample.task(), sequence_length=24)
    plan = tt.Plan(head_epochs=1, verbose=0)
    tt.fine_tune(model, sample.examples, sample.examples, 1, unfreeze="none", plan=plan)
    model.save(tmp_path / "model.keras")
    report = tt.evaluate(tt.load_model(tmp_path / "model.keras"), sample.examples)
    for name, own in sample.examples.items():
        found = report.reports[name].texts["also_in"]
        assert found == {"train": len(own), "validation": len(own)}
        assert any(w.startswith(f"{name}: of {len(own)} test texts") for w in report.warnings)
    assert "WARNING: kind: of" in str(report)
    assert "kind: of" in (report.save(tmp_path / "r") / "report.html").read_text("utf-8")


@pytest.mark.slow
@pytest.mark.parametrize(
    "row", ["token-classification", "question-answering", "extractive-summarization", "similarity"]
)
def test_they_are_found_in_every_layout(row: str, bert_encoder: Path) -> None:
    sample = samples.ROWS[row]
    model = tt.build_model(str(bert_encoder), sample.task(), sample.head, sequence_length=24)
    model.seen_texts = Seen().with_texts("train", [sample.examples.texts])
    report = tt.evaluate(model, sample.examples, baselines=False)
    assert report.texts["also_in"]["train"] == len(sample.examples)
    assert report.texts["cut"] == 0


# The report ----------------------------------------------------------------------------------


def report(**given: Any) -> Report:
    usual: dict[str, Any] = {"task": "classification", "encoder": "e", "examples": {"test": 100}}
    return Report(**{**usual, "metrics": {"accuracy": 0.8, "macro_f1": 0.5}, **given})


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({"majority": {"accuracy": 0.7, "macro_f1": 0.4}}, []),
        ({"majority": {"accuracy": 0.8, "macro_f1": 0.4}}, ["majority is as good as this model"]),
        ({"tfidf_logistic_regression": {"accuracy": 0.8, "macro_f1": 0.5}}, []),
        (
            {"tfidf_logistic_regression": {"accuracy": 0.9, "macro_f1": 0.6}},
            ["TF-IDF + LR beats this model: accuracy 0.9000 against 0.8000, macro_f1 0.6000"],
        ),
        (
            {"tfidf_logistic_regression": {"accuracy": 0.79, "macro_f1": 0.6}},
            ["TF-IDF + LR beats this model: macro_f1 0.6000 against 0.5000"],
        ),
        ({"oracle": {"accuracy": 1.0}, "lead": {"accuracy": None}}, []),
    ],
)
def test_a_baseline_that_wins_is_said(given: dict[str, Any], expected: list[str]) -> None:
    found = report(baselines=given).beaten()
    assert [text.startswith(start) for text, start in zip(found, expected, strict=True)] == [
        True for _ in expected
    ]


def test_lower_is_better_for_errors() -> None:
    numbers = {"task": "regression", "metrics": {"spearman": None, "rmse": 2.0}}
    found = report(**numbers, baselines={"majority": {"spearman": None, "rmse": 1.0}}).beaten()
    assert found == ["mean beats this model: rmse 1.0000 against 2.0000"]
    within = report(**numbers, intervals={"rmse": (0.5, 3.0)})
    within.baselines = {"majority": {"rmse": 1.0}}
    assert within.beaten()[0].endswith("(within the 95 % interval)")
    assert report(**numbers, baselines={"majority": {"rmse": 3.0}}).beaten() == []


def test_of_several_labels_a_baseline_that_ranks_better_is_said() -> None:
    mine = {"micro_f1": 0.25, "pr_auc": 0.16}
    silent = {"tfidf_logistic_regression": {"micro_f1": 0.0, "pr_auc": 0.25}}
    found = report(task="multi-label", metrics=mine, baselines=silent)
    assert found.beaten() == ["TF-IDF + LR ranks better: pr_auc 0.2500 against 0.1600"]
    found.metrics["pr_auc"] = 0.26
    assert found.beaten() == []


def test_no_line_on_screen_is_longer_than_120_characters() -> None:
    long = "of a (1), " * 30
    kept = "Head on the frozen encoder: kept epoch 1 of 2"
    found = report(warnings=[long], notes=[long, kept], history={"kept": [kept]})
    text = str(found)
    assert max(map(len, text.splitlines())) <= 120
    whole = " ".join(line.strip() for line in text.splitlines())
    assert f"WARNING: {long.strip()} note: {long.strip()}" in whole
    assert kept not in text


def test_warnings_are_on_screen_in_json_and_on_the_page(tmp_path: Path) -> None:
    warned = report(warnings=["of <b> 3"])
    assert "\nWARNING: of <b> 3" in str(warned)
    warned.save(tmp_path)
    assert json.loads((tmp_path / "report.json").read_text("utf-8"))["warnings"] == ["of <b> 3"]
    page = (tmp_path / "report.html").read_text("utf-8")
    assert '<div class="warnings" role="alert"><ul><li>of &lt;b&gt; 3</li>' in page
    assert (
        'role="alert"' not in report().save(tmp_path / "none").joinpath("report.html").read_text()
    )


def test_few_examples_of_a_class_and_cut_texts_are_said(bert_encoder: Path) -> None:
    texts = ["good film " * 30, *["bad movie"] * 12, "the worst"]
    examples = tt.data.Examples.from_lists(texts, ["a", *["b"] * 12, "a"])
    task = tt.tasks.Classification(["a", "b", "c"])
    model = tt.build_model(str(bert_encoder), task, sequence_length=10)
    found = report(per_class=[{"class": c, "support": n} for c, n in zip("abc", (2, 12, 0))])
    cautions.add(found, model, examples, None)
    counts = collections.Counter(examples.labels)
    named = "fewer than 10 test examples of a (2), c (0): their numbers say little"
    assert counts == {"a": 2, "b": 12} and named in found.warnings
    lost = len(texts[0].split()) - (10 - 2)
    assert found.texts["cut"] == 1 and found.texts["tokens_lost"] == lost
    assert any(w.startswith(f"1 of 14 texts were cut, {lost} tokens") for w in found.warnings)
    many = [{"class": str(i), "support": i} for i in range(20)]
    assert cautions._few(report(per_class=many), 190) == [
        "fewer than 10 test examples of 0 (0), 1 (1), 2 (2), 3 (3), 4 (4) and 5 more: their "
        "numbers say little"
    ]
    assert cautions._few(report(task="regression"), 9)[0].startswith("only 9 test examples")


@pytest.mark.parametrize(
    ("pair", "towers", "history", "said"),
    [
        (True, False, {"loss": [1.0], "thawed_groups": []}, True),
        (True, False, {"loss": [1.0], "thawed_groups": [(1.0, 2)]}, False),
        (True, False, {}, False),  # of another training, that nobody remembers
        (True, True, {"loss": [1.0]}, False),
        (False, False, {"loss": [1.0]}, False),
    ],
)
def test_pairs_that_a_frozen_encoder_reads_as_one_are_said(
    bert_encoder: Path, pair: bool, towers: bool, history: dict[str, Any], said: bool
) -> None:
    texts = ["a good film"] * 12
    examples = tt.data.Examples.from_lists(texts, ["a"] * 12, texts if pair else None)
    task = tt.tasks.Classification(["a", "b"], pair=pair)
    model = tt.build_model(str(bert_encoder), task, tt.Head(towers=towers), sequence_length=10)
    found = report(history=history)
    cautions.add(found, model, examples, None)
    assert any("try `--towers`" in line for line in found.warnings) == said


@pytest.mark.slow
def test_the_command_line_says_it_before_and_after_training(
    text_encoder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = [f"a {'good' if i % 2 else 'bad'} film {i},{i % 2}" for i in range(40)]
    (tmp_path / "a.csv").write_text("\n".join(["text,label", *rows]), encoding="utf-8")
    (tmp_path / "b.csv").write_text("\n".join(["text,label", *rows[:12]]), encoding="utf-8")
    words = ["train", "--task", "classification", "--data", tmp_path / "a.csv"]
    words += ["--test", tmp_path / "b.csv", "--encoder", text_encoder, "--unfreeze", "none"]
    assert cli.main([str(word) for word in (*words, "--output", tmp_path / "out")]) == 0
    before, after = capsys.readouterr().out.split("Head on the frozen encoder", 1)
    record = json.loads((tmp_path / "out" / "report" / "report.json").read_text("utf-8"))
    train, validation = (record["texts"]["also_in"][name] for name in ("train", "validation"))
    assert train + validation == 12
    for said in (before, after):
        assert f"WARNING: of 12 test texts {train} also occur in train" in said
    (tmp_path / "a.csv").unlink()  # what it was trained on is known without
    words = ["evaluate", tmp_path / "out", "--data", tmp_path / "b.csv", "--output"]
    assert cli.main([str(word) for word in (*words, tmp_path / "again")]) == 0
    again = json.loads((tmp_path / "again" / "report.json").read_text("utf-8"))
    assert again["texts"]["also_in"] == record["texts"]["also_in"]
    assert np.all([text in again["warnings"] for text in again["warnings"] if "occur" in text])
