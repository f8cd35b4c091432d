"""What `tokenizers` make of texts: trains a tokenizer of each kind on them, and counts with it.

    PYTHON benchmarks/runs/tokenizers_ids.py FOLDER TEXTS.json [FOLDER_OF_TOKENIZERS]

Writes a folder for each, as Hugging Face has it, with `ids.json` beside: ids of each text alone and
of pairs. It runs in the peers' environment, which alone has `tokenizers` and `sentencepiece`.
"""

import json
import shutil
import sys
from pathlib import Path

import sentencepiece
from tokenizers import (
    Regex,
    Tokenizer,
    models,
    normalizers,
    pre_tokenizers,
    processors,
    trainers,
)

ROBERTA = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]
SIZE = 6000


def main() -> None:
    """Trains, counts and writes."""
    folder = Path(sys.argv[1])
    given = json.loads(Path(sys.argv[2]).read_text("utf-8"))
    learned = [text for text in given["texts"] if text.strip()]
    table = charsmap(folder)
    for name, family, made in [
        ("XLM-R's kind", "xlm-roberta", unigram(learned, table, "words")),
        ("bge's kind", "xlm-roberta", unigram(learned, table, "spaces")),
        ("ALBERT's kind", "albert", unigram(learned, table, "albert")),
        ("RoBERTa's kind", "roberta", byte_pairs(learned, False)),
        ("RoBERTa's kind, space before", "roberta", byte_pairs(learned, True)),
        ("MPNet's kind", "mpnet", word_pieces(learned, "bert")),
        ("words by pattern", "mpnet", word_pieces(learned, "pattern")),
    ]:
        write(folder / name, made, family, given)
    for each in sorted(Path(sys.argv[3]).iterdir()) if len(sys.argv) > 3 else []:
        shutil.copytree(each, folder / each.name)
        made = Tokenizer.from_file(str(each / "tokenizer.json"))
        write(folder / each.name, made, None, given)


def write(folder: Path, made: Tokenizer, family: str | None, given: dict) -> None:
    """One tokenizer's folder; in texts the names of special tokens are text."""
    folder.mkdir(exist_ok=True)
    made.no_truncation()
    made.no_padding()
    if family:
        made.save(str(folder / "tokenizer.json"))
        (folder / "config.json").write_text(json.dumps({"model_type": family}))
    made.encode_special_tokens = True
    ids = {
        key: [found.ids for found in made.encode_batch(texts, add_special_tokens=False)]
        for key, texts in given.items()
    }
    some = given["texts"][:400]
    pairs = made.encode_batch(list(zip(some[::2], some[1::2])))
    ids["pairs"] = [[found.ids, found.type_ids] for found in pairs]
    (folder / "ids.json").write_text(json.dumps(ids))


def charsmap(folder: Path) -> bytes:
    """SentencePiece's usual table of replaced characters, which XLM-R and ALBERT have."""
    from sentencepiece import sentencepiece_model_pb2

    path = folder / "small"
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(["a b c d e f g h"] * 20),
        model_prefix=str(path),
        vocab_size=20,
        hard_vocab_limit=False,
        minloglevel=2,
    )
    model = path.with_suffix(".model")
    read = sentencepiece_model_pb2.ModelProto.FromString(model.read_bytes())
    for each in (model, path.with_suffix(".vocab")):
        each.unlink()
    return read.normalizer_spec.precompiled_charsmap


def unigram(texts: list[str], table: bytes, kind: str) -> Tokenizer:
    """SentencePiece's Unigram, as three families have it."""
    made = Tokenizer(models.Unigram())
    of_albert = kind == "albert"
    special = ["<pad>", "<unk>", "[CLS]", "[SEP]", "[MASK]"] if of_albert else ROBERTA
    steps = [normalizers.Precompiled(table)]
    if of_albert:
        n = normalizers
        steps = [n.Replace("``", '"'), n.Replace("''", '"'), n.NFKD(), n.StripAccents()]
        steps += [n.Lowercase(), normalizers.Precompiled(table)]
    elif kind == "spaces":
        steps.append(normalizers.Replace(Regex(" {2,}"), " "))
    made.normalizer = normalizers.Sequence(steps)
    meta = pre_tokenizers.Metaspace("\u2581", prepend_scheme="always")
    words = pre_tokenizers.Sequence([pre_tokenizers.WhitespaceSplit(), meta])
    made.pre_tokenizer = meta if kind == "spaces" else words
    trainer = trainers.UnigramTrainer(
        vocab_size=SIZE, special_tokens=special, unk_token="<unk>", show_progress=False
    )
    made.train_from_iterator(texts, trainer)
    start, end = ("[CLS]", "[SEP]") if of_albert else ("<s>", "</s>")
    pair = f"{start} $A {end} $B:1 {end}:1" if of_albert else f"{start} $A {end} {end} $B {end}"
    made.post_processor = processors.TemplateProcessing(
        single=f"{start} $A {end}",
        pair=pair,
        special_tokens=[(each, made.token_to_id(each)) for each in (start, end)],
    )
    return made


def byte_pairs(texts: list[str], prefix: bool) -> Tokenizer:
    """Byte-level BPE, as RoBERTa and GPT-2 have it."""
    made = Tokenizer(models.BPE())
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=prefix)
    made.train_from_iterator(
        texts,
        trainers.BpeTrainer(
            vocab_size=SIZE,
            special_tokens=ROBERTA,
            initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
            show_progress=False,
        ),
    )
    made.post_processor = processors.RobertaProcessing(("</s>", 2), ("<s>", 0), True, prefix)
    return made


def word_pieces(texts: list[str], kind: str) -> Tokenizer:
    """Word pieces between MPNet's special tokens."""
    made = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    made.normalizer = normalizers.BertNormalizer(lowercase=True)
    made.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    if kind == "pattern":
        n = normalizers
        made.normalizer = n.Sequence([n.NFD(), n.Lowercase(), n.StripAccents()])
        made.pre_tokenizer = pre_tokenizers.Whitespace()
    special = ["<s>", "<pad>", "</s>", "[UNK]", "<mask>"]
    made.train_from_iterator(
        texts,
        trainers.WordPieceTrainer(vocab_size=SIZE, special_tokens=special, show_progress=False),
    )
    made.post_processor = processors.RobertaProcessing(("</s>", 2), ("<s>", 0))
    return made


if __name__ == "__main__":
    main()
