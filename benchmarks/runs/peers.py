"""One measurement of what people use today; prints one JSON line. Run by the peers' own Python.

Needs torch, transformers, sentence-transformers, accelerate and scikit-learn (frozen, fine-tune,
predict, latency), or tf_keras beside TensorFlow (tutorial).
"""

import argparse
import gzip
import json
import os
import resource
import tempfile
import time
from pathlib import Path
from typing import Any

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

import entities
import numpy as np


def read_rows(options: argparse.Namespace, split: str) -> list[dict[str, Any]]:
    """The rows of a split."""
    folder = Path(options.data_folder) / options.dataset
    path = next(folder.glob(f"{split}.jsonl*"))
    data = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    return [json.loads(line) for line in data.decode("utf-8").strip().split("\n")]


def read(options: argparse.Namespace, split: str) -> tuple[list[str], list[int]]:
    """Texts and label numbers of a split."""
    rows = read_rows(options, split)
    names = sorted({row["label"] for row in rows})
    rows = rows[:: options.every]
    return [row["text"] for row in rows], [names.index(row["label"]) for row in rows]


def frozen(options: argparse.Namespace) -> dict[str, Any]:
    """sentence-transformers, and scikit-learn's logistic regression on its vectors."""
    import torch
    from sentence_transformers import SentenceTransformer
    from sklearn.linear_model import LogisticRegression

    model = SentenceTransformer(options.weights, device="cpu", local_files_only=True)
    (train, labels), (test, truth) = read(options, "train"), read(options, "test")

    def encode(texts: list[str]) -> np.ndarray:
        with torch.autocast("cpu", torch.bfloat16, enabled=options.precision == "bfloat16"):
            return model.encode(texts, batch_size=32, show_progress_bar=False)

    started = time.perf_counter()
    head = LogisticRegression(max_iter=2000).fit(encode(train), labels)
    seconds = time.perf_counter() - started
    return {"seconds": seconds, "accuracy": float(head.score(encode(test), truth))}


def fine_tune(options: argparse.Namespace) -> dict[str, Any]:
    """Hugging Face Trainer, batches of 32 grouped by length, rate 5e-5."""
    import torch
    from transformers import (
        AutoModelForSequenceClassification,
        AutoTokenizer,
        DataCollatorWithPadding,
        set_seed,
    )

    set_seed(options.seed)
    tokenizer = AutoTokenizer.from_pretrained(options.weights)

    class Rows(torch.utils.data.Dataset):  # type: ignore[misc]
        def __init__(self, split: str) -> None:
            texts, self.labels = read(options, split)
            self.ids = tokenizer(texts, truncation=True, max_length=128)

        def __len__(self) -> int:
            return len(self.labels)

        def __getitem__(self, row: int) -> dict[str, Any]:
            return {**{k: v[row] for k, v in self.ids.items()}, "labels": self.labels[row]}

    model = AutoModelForSequenceClassification.from_pretrained(options.weights, num_labels=2)
    started = time.perf_counter()
    splits = {"train_dataset": Rows("train"), "eval_dataset": Rows("validation")}
    with tempfile.TemporaryDirectory() as scratch:
        collate = DataCollatorWithPadding(tokenizer)
        trainer, epochs = _trainer(options, scratch, model, collate, **splits)
        trainer.train()
        seconds = time.perf_counter() - started
        predicted = trainer.predict(Rows("test"))
    accuracy = float((predicted.predictions.argmax(-1) == predicted.label_ids).mean())
    return {"seconds": seconds, "epoch_seconds": epochs, "accuracy": accuracy}


def tag(options: argparse.Namespace) -> dict[str, Any]:
    """Epochs of Hugging Face's token classification, as its documentation has it."""
    from transformers import AutoModelForTokenClassification, DataCollatorForTokenClassification

    rows = read_rows(options, "train")
    tokenizer, names = _tagging(options, rows)
    made = _tagged_ids(options, tokenizer, names, rows[:: options.every])
    model = AutoModelForTokenClassification.from_pretrained(options.weights, num_labels=len(names))
    return _epochs(options, model, made, DataCollatorForTokenClassification(tokenizer))


def _tagging(options: argparse.Namespace, rows: list[dict[str, Any]]) -> tuple[Any, list[str]]:
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(options.weights)
    return tokenizer, sorted({name for row in rows for name in row["tags"]})


def _tagged_ids(
    options: argparse.Namespace, tokenizer: Any, names: list[str], rows: list[dict[str, Any]]
) -> list[dict[str, Any]]:
    """Ids of rows, and the tag of each word on its first piece."""
    words = [row["tokens"] for row in rows]
    limit = options.sequence_length
    ids = tokenizer(words, is_split_into_words=True, truncation=True, max_length=limit)
    made = []
    for number, row in enumerate(rows):
        owners = ids.word_ids(number)
        first = [
            word is not None and word != before for word, before in zip(owners, [None, *owners])
        ]
        labels = [names.index(row["tags"][w]) if f else -100 for w, f in zip(owners, first)]
        made.append({**{k: v[number] for k, v in ids.items()}, "labels": labels})
    return made


def small_tags(options: argparse.Namespace) -> dict[str, Any]:
    """The Trainer on few sentences; the epoch that is best on the validation split comes back."""
    from transformers import (
        AutoModelForTokenClassification,
        DataCollatorForTokenClassification,
        set_seed,
    )

    set_seed(options.seed)
    rows = {split: read_rows(options, split) for split in ("train", "validation", "test")}
    tokenizer, names = _tagging(options, rows["train"])
    for split, count in (("train", options.rows), ("validation", options.validation_rows)):
        order = np.random.default_rng(options.seed).permutation(len(rows[split]))
        rows[split] = [rows[split][row] for row in order[:count]]
    started, worked = time.perf_counter(), time.process_time()
    ids = {k: _tagged_ids(options, tokenizer, names, v) for k, v in rows.items()}
    model = AutoModelForTokenClassification.from_pretrained(options.weights, num_labels=len(names))
    with tempfile.TemporaryDirectory() as scratch:
        collate = DataCollatorForTokenClassification(tokenizer)
        splits = {"train_dataset": ids["train"], "eval_dataset": ids["validation"]}
        trainer, _ = _trainer(options, scratch, model, collate, **splits)
        trainer.compute_metrics = lambda found: {"f1": _entity_f1(*found, names)}
        trainer.train()
        seconds, work = time.perf_counter() - started, time.process_time() - worked
        trainer.args.train_sampling_strategy = "random"  # or rows come back by their length
        found = trainer.predict(ids["test"])
    score = _entity_f1(found.predictions, found.label_ids, names)
    return {"seconds": seconds, "cpu_seconds": work, "f1": score}


def _entity_f1(scores: Any, labels: Any, names: list[str]) -> float:
    kept = labels != -100
    rows = [(labels[n][k], scores[n].argmax(-1)[k]) for n, k in enumerate(kept)]
    truth, answers = ([[names[t] for t in row] for row in side] for side in zip(*rows))
    return entities.f1(truth, answers)


def answer(options: argparse.Namespace) -> dict[str, Any]:
    """Epochs of Hugging Face's question answering: windows that overlap by 128 tokens."""
    from transformers import AutoModelForQuestionAnswering, AutoTokenizer, DataCollatorWithPadding

    tokenizer = AutoTokenizer.from_pretrained(options.weights)
    rows = read_rows(options, "train")[:: options.every]
    ids = tokenizer(
        [row["question"] for row in rows],
        [row["context"] for row in rows],
        truncation="only_second",
        max_length=options.sequence_length,
        stride=128,
        return_overflowing_tokens=True,
    )
    owners = ids.pop("overflow_to_sample_mapping")
    made = []
    for number, owner in enumerate(owners):
        found = rows[owner]["answers"][0]
        ends = found["answer_start"], found["answer_start"] + len(found["text"]) - 1
        places = [ids.char_to_token(number, place, sequence_index=1) for place in ends]
        start, end = (0, 0) if None in places else places
        fields = {k: v[number] for k, v in ids.items()}
        made.append({**fields, "start_positions": start, "end_positions": end})
    model = AutoModelForQuestionAnswering.from_pretrained(options.weights)
    return _epochs(options, model, made, DataCollatorWithPadding(tokenizer))


def _epochs(
    options: argparse.Namespace, model: Any, rows: list[Any], collate: Any
) -> dict[str, Any]:
    """Seconds of epochs of the Trainer, without evaluation."""
    with tempfile.TemporaryDirectory() as scratch:
        trainer, epochs = _trainer(options, scratch, model, collate, train_dataset=rows)
        trainer.train()
    tokens = sum(len(row["input_ids"]) for row in rows)
    return {"seconds": min(epochs), "epoch_seconds": epochs, "rows": len(rows), "tokens": tokens}


def _trainer(
    options: argparse.Namespace, scratch: str, model: Any, collate: Any, **splits: Any
) -> tuple[Any, list[float]]:
    """The Trainer, batches of 32 grouped by length, and the seconds of its epochs."""
    from transformers import Trainer, TrainerCallback, TrainingArguments

    epochs: list[float] = []
    keeps = options.job == "small-tags"

    class Clock(TrainerCallback):  # type: ignore[misc]
        def on_epoch_begin(self, *args: Any, **kwargs: Any) -> None:
            epochs.append(-time.perf_counter())

        def on_epoch_end(self, *args: Any, **kwargs: Any) -> None:
            epochs[-1] += time.perf_counter()

    settings = TrainingArguments(
        scratch,
        num_train_epochs=options.epochs,
        per_device_train_batch_size=32,
        per_device_eval_batch_size=64,
        learning_rate=options.learning_rate,
        warmup_steps=0.1 if keeps else 0,
        eval_strategy="epoch" if "eval_dataset" in splits else "no",
        save_strategy="epoch" if keeps else "no",
        save_total_limit=1 if keeps else None,
        load_best_model_at_end=keeps,
        metric_for_best_model="f1" if keeps else None,
        logging_strategy="no",
        report_to=[],
        use_cpu=True,
        bf16=options.precision == "bfloat16",
        seed=options.seed,
        disable_tqdm=True,
        dataloader_pin_memory=False,
        train_sampling_strategy="group_by_length",
    )
    made = Trainer(model, settings, data_collator=collate, callbacks=[Clock()], **splits)
    return made, epochs


def predict(options: argparse.Namespace) -> dict[str, Any]:
    """Texts a second, sorted by length: a Hugging Face classifier and sentence-transformers."""
    run, encode, texts = _predictors(options)
    rates = {}
    for name, function in (("transformers", run), ("sentence-transformers", encode)):
        function(texts[:64])
        times = [_timed(lambda f=function: f(texts)) for _ in range(2)]
        rates[name] = len(texts) / min(times)
    return {"rates": rates, "seconds": len(texts) / max(rates.values())}


def latency(options: argparse.Namespace) -> dict[str, Any]:
    """Seconds of one request at a time: a Hugging Face classifier bare, and by its pipeline."""
    from transformers import AutoTokenizer, pipeline

    run, _, texts = _predictors(options)
    model, tokenizer = _classifier(options), AutoTokenizer.from_pretrained(options.weights)
    ask = pipeline("text-classification", model=model, tokenizer=tokenizer, device="cpu")
    found = {}
    for name, once in (("bare", lambda: run(texts[:1])), ("pipeline", lambda: ask(texts[0]))):
        for _ in range(30):
            once()
        times = sorted(_timed(once) for _ in range(500))
        found[name] = {"p50": times[250], "p99": times[495]}
    return {**found, "seconds": found["pipeline"]["p50"]}


def _classifier(options: argparse.Namespace) -> Any:
    import torch
    from transformers import AutoModelForSequenceClassification

    model = AutoModelForSequenceClassification.from_pretrained(options.weights, num_labels=2)
    return model.eval().to(torch.bfloat16 if options.precision == "bfloat16" else torch.float32)


def _predictors(options: argparse.Namespace) -> tuple[Any, Any, list[str]]:
    import torch
    from sentence_transformers import SentenceTransformer
    from transformers import AutoTokenizer

    texts, _ = read(options, "test")
    tokenizer = AutoTokenizer.from_pretrained(options.weights)
    model, kind = _classifier(options), torch.float32
    if options.precision == "bfloat16":
        kind = torch.bfloat16
    sentences = SentenceTransformer(options.weights, device="cpu", local_files_only=True).to(kind)
    sentences.max_seq_length = options.sequence_length

    def run(rows: list[str]) -> np.ndarray:
        limit = options.sequence_length
        ids = tokenizer(rows, truncation=True, max_length=limit, return_token_type_ids=False)
        order = np.argsort([len(row) for row in ids["input_ids"]])[::-1]
        labels = np.empty(len(rows), int)
        with torch.inference_mode():
            for start in range(0, len(order), 64):
                some = order[start : start + 64]
                picked = {k: [v[row] for row in some] for k, v in ids.items()}
                batch = tokenizer.pad(picked, return_tensors="pt")
                labels[some] = model(**batch).logits.argmax(-1).numpy()
        return labels

    return run, lambda rows: sentences.encode(rows, batch_size=64, show_progress_bar=False), texts


def tutorial(options: argparse.Namespace) -> dict[str, Any]:
    """One epoch of TensorFlow's tutorial: tf_keras, frozen hub.KerasLayer, padded to 128."""
    os.environ["TF_USE_LEGACY_KERAS"] = "1"
    import tensorflow as tf
    import tensorflow_hub as hub
    import tf_keras

    from tfhub_transfer import Encoder
    from tfhub_transfer.encoders import preprocessing
    from tfhub_transfer.encoders.preprocessing import BertPreprocessor  # noqa: F401  registers the ops

    made = preprocessing.make_preprocessor(Encoder(options.weights), None, 128)
    texts, labels = read(options, "train")
    started = time.perf_counter()
    encoded, _ = made.encode_all([texts])
    inputs = made.pad(encoded, np.array([128]))
    ids = {k: tf_keras.Input((128,), dtype="int32", name=k) for k in inputs}
    pooled = hub.KerasLayer(options.weights, trainable=False)(ids)["pooled_output"]
    answer = tf_keras.layers.Dense(2)(tf_keras.layers.Dropout(0.1)(pooled))
    model = tf_keras.Model(ids, answer)
    loss = tf_keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(tf_keras.optimizers.Adam(1e-3), loss)
    model.fit(tf.nest.map_structure(np.asarray, inputs), np.array(labels), 32, 1, verbose=0)
    return {"seconds": time.perf_counter() - started}


def _timed(function: Any) -> float:
    started = time.perf_counter()
    function()
    return time.perf_counter() - started


JOBS = {
    "frozen": frozen,
    "fine-tune": fine_tune,
    "predict": predict,
    "latency": latency,
    "tutorial": tutorial,
    "tag": tag,
    "small-tags": small_tags,
    "answer": answer,
}


def main() -> None:
    """Runs one job."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("job", choices=JOBS)
    parser.add_argument("--data-folder", required=True)
    parser.add_argument("--weights", required=True)
    parser.add_argument("--dataset", default="sst2")
    parser.add_argument("--every", type=int, default=1, help="take every n-th row")
    parser.add_argument("--rows", type=int, default=0, help="train on so many")
    parser.add_argument("--validation-rows", type=int, default=300)
    parser.add_argument("--learning-rate", type=float, default=5e-5)
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--precision", default="bfloat16")
    parser.add_argument("--sequence-length", type=int, default=128)
    options = parser.parse_args()
    found = JOBS[options.job](options)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps({**found, "peak_mb": round(peak), "load": os.getloadavg()[0]}))


if __name__ == "__main__":
    main()
