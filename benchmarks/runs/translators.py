"""A translator of what people use today: encoder-decoder and Seq2SeqTrainer of Hugging Face.

Needs torch, transformers, accelerate and sentencepiece. Both start from the weights of one BERT, as
ours do: the encoder from all of them, the decoder's layers from the encoder's top ones. Prints one
JSON line, with the answers to the test split by the likeliest piece and by beams.
"""

import argparse
import json
import os
import re
import tempfile
import time
from pathlib import Path
from typing import Any

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
# Threads that wait for others would take their time.
os.environ.setdefault("GOMP_SPINCOUNT", "20000")

import numpy as np
import sentencepiece
import torch
from transformers import (
    AutoConfig,
    AutoModel,
    AutoTokenizer,
    BertLMHeadModel,
    EncoderDecoderModel,
    Seq2SeqTrainer,
    Seq2SeqTrainingArguments,
    set_seed,
)

PAD, BOS, EOS = 0, 2, 3
_PROBED = 40


def main() -> None:
    """Trains, translates, prints."""
    options = _options()
    corpus = Path(options.corpus)
    tokenizer = AutoTokenizer.from_pretrained(options.weights)
    pieces = sentencepiece.SentencePieceProcessor(model_file=options.vocabulary)
    train = _rows(corpus, "train", tokenizer, pieces, options)
    steps, speed = options.steps, 0.0
    if not steps:
        speed = _trained(_model(options, pieces), train, _PROBED, options)["cpu_seconds"] / _PROBED
        steps = int(60 * options.cpu_minutes / speed)
    model = _model(options, pieces)
    found = _trained(model, train, steps, options)
    if options.keep:
        model.save_pretrained(options.keep)
    texts = (corpus / "test.en").read_text("utf-8").strip("\n").split("\n")
    found |= {"steps": steps, "epochs": round(steps * options.batch / len(train), 2)}
    for name, beams in (("greedy", 1), ("beam", 4)):
        found[name] = _answers(model, tokenizer, pieces, texts, beams, options.answer_length)
    print(json.dumps(found))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--corpus", required=True, help="train.en, train.de, test.en")
    parser.add_argument("--weights", required=True, help="a BERT in Hugging Face's form")
    parser.add_argument("--vocabulary", required=True, help="a SentencePiece model")
    parser.add_argument("--answer-length", type=int, default=64)
    parser.add_argument("--layers", type=int, default=2)
    parser.add_argument("--cpu-minutes", type=float, default=10.0)
    parser.add_argument("--steps", type=int, help="not as many as those minutes allow")
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--rate", type=float, default=5e-4)
    parser.add_argument("--encoder-rate", type=float, help="if another")
    parser.add_argument("--dropout", type=float, default=0.1)
    parser.add_argument("--rows", type=int)
    parser.add_argument("--precision", choices=("float32", "bfloat16"), default="float32")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--keep", help="a folder")
    return parser.parse_args()


def _rows(
    corpus: Path, split: str, tokenizer: Any, pieces: Any, options: argparse.Namespace
) -> list[dict[str, Any]]:
    sides = [(corpus / f"{split}.{x}").read_text("utf-8").split("\n") for x in ("en", "de")]
    pairs = [pair for pair in zip(*sides) if all(pair)][: options.rows]
    ids = tokenizer([source for source, _ in pairs], truncation=True, max_length=64)
    most = options.answer_length
    made = []
    for row, (_, target) in enumerate(pairs):
        labels = [*pieces.encode(f" {target}"), EOS][:most]
        made.append({"input_ids": ids["input_ids"][row], "labels": labels})
    return made


def _model(options: argparse.Namespace, pieces: Any) -> EncoderDecoderModel:
    """The encoder, and a decoder whose layers are its top ones, with new embeddings."""
    set_seed(options.seed)
    encoder = AutoModel.from_pretrained(options.weights, add_pooling_layer=False)
    config = AutoConfig.from_pretrained(options.weights)
    config.update(
        {
            "is_decoder": True,
            "add_cross_attention": True,
            "num_hidden_layers": options.layers,
            "vocab_size": pieces.get_piece_size(),
            "hidden_dropout_prob": options.dropout,
            "attention_probs_dropout_prob": options.dropout,
            "bos_token_id": BOS,
            "eos_token_id": EOS,
            "pad_token_id": PAD,
        }
    )
    decoder = BertLMHeadModel(config)
    left_out = decoder.bert.load_state_dict(_of_the_top(encoder, options.layers), strict=False)
    assert not left_out.unexpected_keys
    assert all("crossattention" in k or "word_emb" in k for k in left_out.missing_keys), left_out
    model = EncoderDecoderModel(encoder=encoder, decoder=decoder)
    for each in (model.config, model.generation_config):
        each.decoder_start_token_id, each.eos_token_id, each.pad_token_id = BOS, EOS, PAD
    return model


def _of_the_top(encoder: Any, layers: int) -> dict[str, Any]:
    below, found = encoder.config.num_hidden_layers - layers, {}
    for name, value in encoder.state_dict().items():
        number = re.match(r"encoder\.layer\.(\d+)\.", name)
        if number is None and "word_embeddings" not in name:
            found[name] = value
        elif number is not None and int(number[1]) >= below:
            place = int(number[1]) - below
            found[re.sub(r"layer\.\d+", f"layer.{place}", name, count=1)] = value
    return found


def _collated(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Rows as tensors, padded to the longest of a batch."""

    def padded(name: str, value: int) -> Any:
        most = max(len(row[name]) for row in rows)
        return torch.tensor([row[name] + [value] * (most - len(row[name])) for row in rows])

    labels = padded("labels", -100)
    read = torch.where(labels < 0, PAD, labels)[:, :-1]
    begun = torch.cat([torch.full((len(rows), 1), BOS), read], 1)
    ids = padded("input_ids", PAD)
    # What is padding is behind all that counts: a decoder that looks back needs no mask.
    return {
        "input_ids": ids,
        "attention_mask": (torch.arange(ids.shape[1]) < _lengths(rows)).long(),
        "decoder_input_ids": begun,
        "labels": labels,
    }


def _lengths(rows: list[dict[str, Any]]) -> Any:
    return torch.tensor([len(row["input_ids"]) for row in rows])[:, None]


def _trained(
    model: Any, rows: list[dict[str, Any]], steps: int, options: argparse.Namespace
) -> dict[str, float]:
    """Seconds of CPU time and by the clock."""
    with tempfile.TemporaryDirectory() as scratch:
        settings = Seq2SeqTrainingArguments(
            scratch,
            max_steps=steps,
            per_device_train_batch_size=options.batch,
            learning_rate=options.rate,
            warmup_steps=0.1,
            weight_decay=0.01,
            label_smoothing_factor=0.1,
            save_strategy="no",
            logging_steps=max(1, steps // 20),
            report_to=[],
            use_cpu=True,
            bf16=options.precision == "bfloat16",
            seed=options.seed,
            disable_tqdm=True,
            dataloader_pin_memory=False,
            train_sampling_strategy="group_by_length",
        )
        encoder = [*model.encoder.parameters()]
        own = {id(each) for each in encoder}
        others = [each for each in model.parameters() if id(each) not in own]
        groups = [
            {"params": encoder, "lr": options.encoder_rate or options.rate},
            {"params": others, "lr": options.rate},
        ]
        optimizer = torch.optim.AdamW(groups, weight_decay=0.01)
        trainer = Seq2SeqTrainer(
            model,
            settings,
            data_collator=_collated,
            train_dataset=rows,
            optimizers=(optimizer, None),
        )
        begun = time.process_time(), time.perf_counter()
        trainer.train()
        spent = time.process_time() - begun[0], time.perf_counter() - begun[1]
    return {"cpu_seconds": spent[0], "seconds": spent[1]}


@torch.inference_mode()
def _answers(
    model: Any, tokenizer: Any, pieces: Any, texts: list[str], beams: int, most: int
) -> list[str]:
    model.eval()
    found = [""] * len(texts)
    order = np.argsort([len(text) for text in texts])
    for start in range(0, len(order), 64):
        some = order[start : start + 64]
        given = tokenizer([texts[row] for row in some], padding=True, return_tensors="pt")
        made = model.generate(
            given["input_ids"],
            attention_mask=given["attention_mask"],
            num_beams=beams,
            do_sample=False,
            max_new_tokens=most,
            length_penalty=1.0,
        )
        for row, ids in zip(some, made.tolist()):
            kept = [each for each in ids if each not in (PAD, BOS, EOS)]
            found[row] = pieces.decode(kept).removeprefix(" ")
    return found


if __name__ == "__main__":
    main()
