"""Makes `tests/kept/`: models, exports, encoders and records as the code of today writes them.

    python tests/make_kept_models.py [NAME...]

What is kept stands for files that people have, so nothing is ever made again: what is there is left
alone, whoever asks. Only a new task, head or form of file gets a kept one of its own, from the
first version that writes it. All was made on made-up texts with the tiny encoders of
`saved_model_factory.py`; each `.json` says by which version, commit and day.
"""

import contextlib
import datetime
import json
import os
import re
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import kept_models as kept
import keras
import numpy as np
import saved_model_factory as factory
import tensorflow as tf

import tfhub_transfer as tt
from tfhub_transfer import cli, runtime
from tfhub_transfer.graphs import safety
from tfhub_transfer.optimization import planning
from tfhub_transfer.recipes import students
from tfhub_transfer.tasks import Head

SEED = 5
ROWS = 12
TEXTS, LABELS = factory.sentiment_data(ROWS, SEED)
OTHERS, _ = factory.sentiment_data(ROWS, SEED + 1)
ASKED = [
    "a lovely film",
    "what a bad, boring movie!",
    "",
    "I think the Worst of all stories was very dull, really sad. " * 3,
]
PAIRS = [[text, other] for text, other in zip(ASKED, [*OTHERS[:3], "a fine book"])]
WORDS = [text.split() for text in TEXTS]
TAGS = [
    ["B-praise" if w in factory.POSITIVE_WORDS else "B-subject" if w in factory.SUBJECTS else "O"
     for w in row]
    for row in WORDS
]  # fmt: skip
DOCUMENTS = [f"{a}. {b}. Nothing more to say." for a, b in zip(TEXTS, OTHERS)]

ENCODERS: dict[str, Callable[[Path], Path]] = {
    "text": factory.write_text_encoder,
    "bert": lambda to: factory.write_bert_encoder(to, dropout=0.0),
    "prefixed": lambda to: factory.write_bert_encoder(to, prefix="bert_encoder/", dropout=0.0),
    "albert": lambda to: factory.write_bert_encoder(to, albert=True, dropout=0.0),
    "list-style": factory.write_list_style_encoder,
}

MULTI_LABEL_TEXTS, MULTI_LABELS = factory.multi_label_data(ROWS, SEED)
SCORED, SCORES = factory.regression_data(ROWS, SEED)
ANSWERS = [[{"text": t.split()[-1], "answer_start": len(t) - len(t.split()[-1])}] for t in TEXTS]
# By task: columns of texts, labels, and what is asked.
DATA: dict[str, tuple[list[Any], list[Any], list[Any]]] = {
    "classification": ([TEXTS], LABELS, ASKED),
    "multi-label": ([MULTI_LABEL_TEXTS], MULTI_LABELS, ASKED),
    "regression": ([SCORED], SCORES, ASKED),
    "ordinal-regression": ([SCORED], [1 + round(score) % 3 for score in SCORES], ASKED),
    "pairs": ([TEXTS, OTHERS], LABELS, PAIRS),
    "token-classification": ([WORDS], TAGS, ASKED),
    "question-answering": ([["what was it"] * ROWS, TEXTS], ANSWERS, PAIRS),
    "extractive-summarization": ([DOCUMENTS], TEXTS, [*DOCUMENTS[:2], *ASKED[1:]]),
    "similarity": ([TEXTS, OTHERS], SCORES, PAIRS),
    "translation": ([TEXTS], OTHERS, ASKED),
    "dialogue": ([[f"{a}\n{b}" for a, b in zip(TEXTS, OTHERS)]], OTHERS, [*ASKED, "one\ntwo"]),
}
# A decoder of the encoder's own width is large for a file that is kept.
WRITTEN = {"decoder_width": 16, "answer_length": 12, "vocabulary_size": 512}


def task(name: str) -> Any:
    kinds = {**tt.tasks.TASKS, "pairs": lambda: tt.tasks.Classification(pair=True)}
    given = WRITTEN if name in ("translation", "dialogue") else {}
    return kinds[name](**given).adapt(DATA[name][1])


def single(
    name: str, encoder: str, head: Head | None = None, thaw: bool = True, optimizer: Any = None
) -> Callable[[], Any]:
    """A model of one task, and what is told of it, when called."""

    def make() -> Any:
        texts, labels, asked = DATA[name]
        given = head or Head(dropout=0.0)
        model = tt.build_model(f"encoders/{encoder}", task(name), given, optimizer)
        return model, {"asked": asked, "examples": {"texts": texts, "labels": labels}}, thaw

    return make


def several() -> Any:
    names = ("classification", "token-classification", "question-answering")
    tasks = {name.partition("-")[0]: task(name) for name in names}
    heads = {
        "classification": Head(pooling="first", dropout=0.0),
        "token": Head(dropout=0.0),
        "question": Head(dropout=0.0),
    }
    model = tt.build_model("encoders/prefixed", tasks, heads)
    data = {name.partition("-")[0]: DATA[name] for name in names}
    told = {
        "asked": {name: asked for name, (_, _, asked) in data.items()},
        "examples": {
            n: {"texts": texts, "labels": labels} for n, (texts, labels, _) in data.items()
        },
    }
    return model, told, True


def compiled_by_hand() -> Any:
    model, told, thaw = single("classification", "text", Head(hidden_units=4, dropout=0.0))()
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=False)
    model.compile(keras.optimizers.SGD(0.1, momentum=0.9), loss, metrics=["accuracy"])
    return model, told, thaw


def thick(block: str, **more: Any) -> Head:
    return Head(block=block, block_units=4, dropout=0.0, **more)


MODELS: dict[str, Callable[[], Any]] = {
    # The usual optimizer, which knows what has thawed.
    "classification": single("classification", "bert"),
    "multi-label": single("multi-label", "albert", thick("cnn")),
    "regression": single(
        "regression", "text", Head(hidden_units=4, l2=1e-4, dropout=0.0), optimizer="lamb"
    ),
    "ordinal-regression": single("ordinal-regression", "text", Head(dropout=0.0)),
    "pairs": single("pairs", "list-style", Head(pooling="attention", dropout=0.0), thaw=False),
    "towers": single("pairs", "text", Head(towers=True, dropout=0.0)),
    "token-classification": single("token-classification", "prefixed", thick("bilstm")),
    "question-answering": single("question-answering", "bert"),
    "extractive-summarization": single(
        "extractive-summarization", "bert", thick("transformer"), thaw=False
    ),
    "similarity": single("similarity", "bert"),
    "translation": single("translation", "bert"),
    "dialogue": single("dialogue", "text", thaw=False),
    "multi-task": several,
    "compiled-by-hand": compiled_by_hand,
}


def train(model: Any, told: dict[str, Any], thaw: bool) -> None:
    """Two steps of the head, then two with the top group of the encoder, where it is to thaw."""
    callbacks = [tt.ProgressiveUnfreezing(start_epoch=1, num_groups=1)] if thaw else []
    batches = model.preprocess(kept.examples_of(told["examples"]), 4, shuffle=False)
    model.fit(batches.repeat(), epochs=2, steps_per_epoch=2, callbacks=callbacks, verbose=0)


def make_model(name: str, folder: Path) -> dict[str, Any]:
    """A trained model as `.keras`, its export, and all that they answer."""
    model, told, thaw = MODELS[name]()
    train(model, told, thaw)
    told = {"kind": "model", "task": model.task.name, **told}
    model.save(folder / "model.keras")
    tt.export_saved_model(model, folder / "serving", "float32")
    loaded = tt.load_model(folder / "model.keras")
    told["iterations"] = int(loaded.optimizer.iterations)
    told["answers"] = kept.answers(loaded, told)
    told["next"] = kept.next_step(loaded, told)
    told["served"] = questions(told)
    found = kept.served_answers(folder / "serving", told["served"])
    for each, answers in zip(told["served"], found, strict=True):
        each["answers"] = answers
    require_clear_answers(folder / "model.keras", told)
    return told


def questions(told: dict[str, Any]) -> list[dict[str, Any]]:
    """What each signature of an export is asked."""
    asked = told["asked"] if isinstance(told["asked"], dict) else {"serving_default": told["asked"]}
    found = [{"signature": name, "texts": texts} for name, texts in asked.items()]
    found.append({"signature": "encode", "texts": ASKED})
    words = {"token-classification": "words", "multi-task": "token_words"}.get(told["task"])
    return [
        *found,
        *([{"signature": words, "texts": [["a", "fine", "film"], ["bad"]]}] * bool(words)),
    ]


def require_clear_answers(path: Path, told: dict[str, Any]) -> None:
    """Fails where an error of rounding would change a label: answers are those of any machine."""
    rng = np.random.default_rng(0)
    model = tt.load_model(path)
    for weight in model.weights:
        value = weight.numpy()
        if value.dtype == np.float32:
            weight.assign(value * (1 + 2e-6 * rng.normal(size=value.shape)).astype(np.float32))
    assert kept.answers(model, told) == kept.near(told["answers"], 10), "not clear enough"
    found = kept.next_step(model, told)
    assert found == kept.near(told["next"], kept.AFTER_A_STEP), "the next step isn't clear enough"


def make_model_of_strings(folder: Path) -> dict[str, Any]:
    """A Keras model of one's own, with `tt.Preprocessor` and `tt.Encoder` in it."""
    encoder = tt.Encoder("encoders/bert")
    text = keras.Input((), dtype="string", name="text")
    vector = encoder(tt.Preprocessor(encoder, sequence_length=16, name="reads")(text))
    scores = keras.layers.Dense(2, name="scores")(vector["pooled_output"])
    keras.Model(text, scores).save(folder / "own.keras")
    return {
        "kind": "strings",
        "asked": ASKED,
        "answers": kept.of_strings(folder / "own.keras", ASKED),
    }


def make_encoders(folder: Path) -> dict[str, Any]:
    """Encoders as folders: TF Hub's own form (Einsum) with its preprocessor, and what we write."""
    with contextlib.chdir(folder):  # the paths of vocabularies are names of tables
        factory.write_bert_encoder(Path("hub"))
        factory.write_preprocessor(Path("hub/preprocessor"))
    model, told, _ = MODELS["classification"]()
    train(model, told, True)
    model.encoder.save(folder / "trained")
    pieces = students.corpus_vocabulary(model.encoder, TEXTS, 40)
    students.make_student(model.encoder, folder / "student", layers=1, vocabulary=pieces)
    tt.Preprocessor(model.encoder, sequence_length=16).save(folder / "preprocessor")
    told = {"kind": "encoders", "asked": ASKED, "encoders": ["hub", "trained", "student"]}
    return {**told, **kept.of_encoders(folder, told)}


def make_run(folder: Path) -> dict[str, Any]:
    """What `train` writes of one task."""
    write_table(folder / "reviews.csv", "text,label", zip(*factory.sentiment_data(60, SEED)))
    write_table(folder / "test.csv", "text,label", zip(*factory.sentiment_data(16, SEED + 2)))
    words = ["--data", "reviews.csv", "--test", "test.csv", "--encoder", "encoders/text"]
    command(folder, "train", "--task", "classification", *words)
    return {"kind": "run", "evaluated": "test.csv"}


def make_distilled_run(folder: Path) -> dict[str, Any]:
    """What `distill` writes of a teacher that was trained."""
    told = make_run(folder)
    (folder / "out").rename(folder / "teacher")
    words = ["--data", "reviews.csv", "--test", "test.csv", "--encoder", "encoders/text"]
    command(folder, "distill", "teacher", *words)
    return told


def make_joint_run(folder: Path) -> dict[str, Any]:
    """What `train` writes of several tasks."""
    parts = {
        "feeling": ("classification", factory.sentiment_data),
        "degree": ("regression", factory.regression_data),
    }
    for name, rows, seed in (("train", 60, SEED), ("test", 16, SEED + 2)):
        tasks = {}
        for part, (kind, data) in parts.items():
            write_table(folder / f"{part}_{name}.csv", "text,label", zip(*data(rows, seed)))
            tasks[part] = {"task": kind, "data": f"{part}_{name}.csv"}
            if name == "train":
                tasks[part]["test"] = f"{part}_test.csv"
        (folder / f"{name}.json").write_text(json.dumps({"tasks": tasks}), "utf-8")
    words = ["--data", "train.json", "--encoder", "encoders/text"]
    command(folder, "train", "--task", "multi-task", *words)
    return {"kind": "run", "evaluated": "test.json"}


def write_table(path: Path, head: str, rows: Any) -> None:
    lines = [head, *(f'"{text}",{label}' for text, label in rows)]
    path.write_text("\n".join(lines) + "\n", "utf-8")


def command(folder: Path, *words: str) -> None:
    """Runs a command in a folder, and leaves there what is read of a run again."""
    short = ["--output", "out", "--epochs", "1", "--precision", "float32", "--unfreeze", "1"]
    with contextlib.chdir(folder):
        Path("encoders").symlink_to(Path("../../encoders"))
        try:
            assert cli.main([*words, *short]) == 0
        finally:
            Path("encoders").unlink()
    for path in [*(folder / "out").rglob("*")]:
        read = path.name in ("model.keras", "training.json", "report.json", "predictions.jsonl")
        if path.is_file() and not read:
            path.unlink()


THINGS: dict[str, Callable[[Path], dict[str, Any]]] = {
    **{name: lambda to, name=name: make_model(name, to) for name in MODELS},
    "model-of-strings": make_model_of_strings,
    "encoders": make_encoders,
    "run": make_run,
    "run-distilled": make_distilled_run,
    "run-multi-task": make_joint_run,
}


def made_by() -> dict[str, str]:
    """Which code it was."""
    root = kept.FOLDER.parents[1]
    told = ["git", "-C", str(root), "log", "-1", "--format=%H", "--", "tfhub_transfer"]
    commit = subprocess.run(told, capture_output=True, text=True, check=True).stdout.strip()
    changed = ["git", "-C", str(root), "status", "--porcelain", "tfhub_transfer"]
    assert not subprocess.run(changed, capture_output=True, text=True, check=True).stdout
    versions = {"tensorflow": tf.__version__, "keras": keras.__version__}
    today = datetime.date.today().isoformat()
    return {"version": tt.__version__, "commit": commit, "day": today, **versions}


def pack(name: str, folder: Path, told: dict[str, Any]) -> None:
    """Writes the archive and what is told of it, unless a path of this machine is in a file."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    here = re.compile(b"|".join(re.escape(os.fsencode(p)) for p in (Path.cwd(), folder)))
    for path in files:
        assert not here.search(path.read_bytes()), f"a path of this machine in {path}"
    with tarfile.open(kept.FOLDER / f"{name}{kept.SUFFIX}", "x:xz", preset=9) as archive:
        for path in files:
            member = tarfile.TarInfo(path.relative_to(folder).as_posix())
            member.size = path.stat().st_size
            with path.open("rb") as content:
                archive.addfile(member, content)
    text = json.dumps({"made_by": made_by(), **told}, ensure_ascii=False) + "\n"
    (kept.FOLDER / f"{name}.json").write_text(text, "utf-8")


@contextlib.contextmanager
def workplace() -> Iterator[Path]:
    """A folder with the encoders, in which everything runs: handles are relative to it."""
    with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):
        os.environ["TFHUB_CACHE_DIR"] = os.environ["TFHUB_TRANSFER_CACHE_DIR"] = f"{folder}/cache"
        for name, write in ENCODERS.items():
            safety.check_saved_model(write(Path("encoders") / name))
        yield Path(folder)


def main(wanted: list[str]) -> None:
    planning.HEAD_STEPS, planning.THAWED_STEPS = 40, 8
    missing = [n for n in wanted or THINGS if not (kept.FOLDER / f"{n}{kept.SUFFIX}").exists()]
    with workplace() as here, runtime.precision("float32"):
        for name in missing:
            keras.utils.set_random_seed(SEED)
            folder = here / "made" / name
            folder.mkdir(parents=True)
            pack(name, folder, THINGS[name](folder))
            print(name, (kept.FOLDER / f"{name}{kept.SUFFIX}").stat().st_size, flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
