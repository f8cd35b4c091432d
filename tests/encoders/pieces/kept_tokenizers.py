"""Writes `kept_tokenizers.json`: tiny tokenizers of each kind, and their ids of difficult texts.

    python -m pip install --target FOLDER tokenizers
    PYTHONPATH=FOLDER python tests/encoders/pieces/kept_tokenizers.py

The package itself and its tests do without `tokenizers`; the file says which version made it.
"""

import io
import json
from pathlib import Path
from typing import Any

FILE = Path(__file__).with_name("kept_tokenizers.json")
ROBERTA = ("<s>", "<pad>", "</s>", "<unk>", "<mask>")
LEARNED = (
    "the good film was good, the bad film wasn't; they'll like the good ones",
    "le film était bon, der Film war gut, фильм был хороший",
    "映画は良かった 1999 2,000",
)
# Written with escapes where an editor would show nothing, or something else.
TEXTS = (
    *(
        "",
        " ",
        "the good film",
        " the  good\n\n film \t",
        "the\u00a0good\u3000film\u2003",
        "\n\nthe",
    ),
    *("they'll 'll  'll ''ll THE'LL", "aaaa aaaaaaa", "goodgoodgoodgood" * 9, "film.good,film"),
    *("Étáit e\u0301t Фильм\u0301", "ｆｉｌｍ ﬁlm ① ½", "映画は良かった。", "zero\u200bwidth"),
    *("a\0b", "\U0001f469\u200d\U0001f467 \u263a\ufe0f", "``good'' \"film\"", "1999,2", "x\u0085y"),
)
# A table of a few replacements: two of several characters, of which one has more than five bytes.
RULES = {
    **{"\t": " ", "\n": " ", "\u00a0": " ", "\u3000": " ", "\u2003": " ", "\u200b": " "},
    **{"\u0001": "", "ﬁ": "fi", "①": "1", "½": "1\u20442", "e\u0301": "é", "が": "か"},
    **{chr(0xFF21 + n): chr(ord("A") + n) for n in range(26)},
    **{chr(0xFF41 + n): chr(ord("a") + n) for n in range(26)},
    "e\u0301\u0302\u0327": "E",
    "画\u0301": "X",
}


def table() -> bytes:
    """The table as SentencePiece writes it."""
    import tempfile

    import sentencepiece
    from sentencepiece import sentencepiece_model_pb2

    made = io.BytesIO()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "rules.tsv")
        lines = [
            "\t".join(" ".join(f"{ord(c):X}" for c in side) for side in rule) + "\n"
            for rule in RULES.items()
        ]
        path.write_text("".join(lines), encoding="ascii")
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=iter(["a b c d e f g h"] * 20),
            model_writer=made,
            vocab_size=20,
            hard_vocab_limit=False,
            normalization_rule_tsv=str(path),
            minloglevel=2,
        )
    model = sentencepiece_model_pb2.ModelProto.FromString(made.getvalue())
    return bytes(model.normalizer_spec.precompiled_charsmap)


def make() -> dict[str, Any]:
    """The tokenizers and their ids, by the installed `tokenizers`."""
    import tokenizers

    found: dict[str, Any] = {}
    for name, family, made in _all(tokenizers):
        made.encode_special_tokens = True
        pairs = made.encode_batch(list(zip(TEXTS[2:5], TEXTS[5:8])))
        found[name] = {
            "family": family,
            "tokenizer": json.loads(made.to_str()),
            "ids": [made.encode(text, add_special_tokens=False).ids for text in TEXTS],
            "pairs": [[each.ids, each.type_ids] for each in pairs],
        }
    return {"tokenizers": tokenizers.__version__, "texts": TEXTS, "found": found}


def _all(tokenizers: Any) -> Any:
    models, normalizers = tokenizers.models, tokenizers.normalizers
    cutting, processors, trainers = (
        tokenizers.pre_tokenizers,
        tokenizers.processors,
        tokenizers.trainers,
    )
    replaced = normalizers.Precompiled(table())
    meta = cutting.Metaspace("\u2581", prepend_scheme="always")
    words = cutting.Sequence([cutting.WhitespaceSplit(), meta])

    def unigram(special: Any, steps: Any, cut: Any, pair: str) -> Any:
        made = tokenizers.Tokenizer(models.Unigram())
        made.normalizer, made.pre_tokenizer = normalizers.Sequence(steps), cut
        trainer = trainers.UnigramTrainer(
            vocab_size=90, special_tokens=list(special), unk_token="<unk>", show_progress=False
        )
        made.train_from_iterator(LEARNED * 5, trainer)
        start, end = pair.split()[0], pair.split()[2].split(":")[0]
        made.post_processor = processors.TemplateProcessing(
            single=f"{start} $A {end}",
            pair=pair,
            special_tokens=[(each, made.token_to_id(each)) for each in (start, end)],
        )
        return made

    def byte_pairs(prefix: bool) -> Any:
        made = tokenizers.Tokenizer(models.BPE())
        made.pre_tokenizer = cutting.ByteLevel(add_prefix_space=prefix)
        trainer = trainers.BpeTrainer(
            vocab_size=330,
            special_tokens=list(ROBERTA),
            initial_alphabet=cutting.ByteLevel.alphabet(),
            show_progress=False,
        )
        made.train_from_iterator(LEARNED * 5, trainer)
        made.post_processor = processors.RobertaProcessing(("</s>", 2), ("<s>", 0))
        return made

    def word_pieces(normalizer: Any, cut: Any) -> Any:
        made = tokenizers.Tokenizer(models.WordPiece(unk_token="[UNK]"))
        made.normalizer, made.pre_tokenizer = normalizer, cut
        special = ["<s>", "<pad>", "</s>", "[UNK]", "<mask>"]
        trainer = trainers.WordPieceTrainer(
            vocab_size=150, special_tokens=special, show_progress=False
        )
        made.train_from_iterator(LEARNED * 5, trainer)
        made.post_processor = processors.RobertaProcessing(("</s>", 2), ("<s>", 0))
        return made

    n = normalizers
    roberta = "<s> $A </s> </s> $B </s>"
    joined = n.Replace(tokenizers.Regex(" {2,}"), " ")
    stripped = [replaced, n.Strip(left=False, right=True)]
    stripped.append(n.Replace(tokenizers.Regex(" {2,}"), "\u2581"))
    albert = [n.Replace("``", '"'), n.Replace("''", '"'), n.NFKD(), n.StripAccents()]
    albert += [n.Lowercase(), replaced]
    of_albert = ("<pad>", "<unk>", "[CLS]", "[SEP]", "[MASK]")
    pair = "[CLS] $A [SEP] $B:1 [SEP]:1"
    yield "xlmr", "xlm-roberta", unigram(ROBERTA, [replaced], words, roberta)
    yield "spaces", "xlm-roberta", unigram(ROBERTA, [replaced, joined], meta, roberta)
    yield "stripped", "xlm-roberta", unigram(ROBERTA, stripped, meta, roberta)
    yield "albert", "albert", unigram(of_albert, albert, words, pair)
    yield "plain", "camembert", unigram(ROBERTA, [n.NFC()], words, roberta)
    yield "roberta", "roberta", byte_pairs(False)
    yield "spaced", "roberta", byte_pairs(True)
    yield "mpnet", "mpnet", word_pieces(n.BertNormalizer(), cutting.BertPreTokenizer())
    chain = n.Sequence([n.NFD(), n.Lowercase(), n.StripAccents()])
    yield "pattern", "mpnet", word_pieces(chain, cutting.Whitespace())
    yield "blanks", "mpnet", word_pieces(n.NFKC(), cutting.WhitespaceSplit())


if __name__ == "__main__":
    text = json.dumps(make(), ensure_ascii=True, separators=(",", ":"))
    FILE.write_text(text + "\n", encoding="ascii")
