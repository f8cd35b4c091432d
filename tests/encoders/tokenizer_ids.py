"""Writes `tokenizer_ids.json`: what Hugging Face's `tokenizers` makes of difficult texts.

    python -m pip install --target FOLDER tokenizers
    PYTHONPATH=FOLDER python tests/encoders/tokenizer_ids.py

The package itself and its tests do without `tokenizers`; the file says which version made it.
"""

import json
import unicodedata
from pathlib import Path
from typing import Any

FILE = Path(__file__).with_name("tokenizer_ids.json")
SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
# Written with escapes where an editor would show nothing, or something else.
TEXTS = (
    "Café CAFÉ cafe\u0301 CAFE\u0301 naïve Ünïcöde",
    "São Paulo, Málaga; Ångström Å\u212b Ω\u2126",
    "İstanbul ISTANBUL ıspanak",
    "Straße STRASSE ẞ ﬁne Ǆ ǅ",
    "ΟΔΟΣ Οδυσσεύς ΣΑΣ",
    "Tiếng Việt TIẾNG VIỆT",
    "Ёлка ёлка Йод й",
    "हिन्दी में किताब",
    "مرحبا بِكُمْ",
    "한국어 국",
    "ｆｕｌｌ ＷＩＤＴＨ！",
    "東京と大阪へ行く ひらがな カタカナ ガ",
    "价格是100元。thank you谢谢",
    "㐀\U00020000\U0002a700\U0002f800豈",
    "a\u0000b c\ufffdd e\u0001f g\u007fh",
    "tab\there line\nfeed return\rhere form\x0cfeed vertical\x0btab next\u0085line",
    "soft\u00adhyphen zero\u200bwidth joi\u200dner mark\u200e\u202eright bom\ufefftext",
    "nbsp\u00a0here em\u2003space ideographic\u3000space line\u2028end para\u2029end",
    "private\ue000use unassigned\u0378here nonchar\ufdd0x",
    "\u0301 \u0301a a\u0301\u0302\u0327b \u20dd",
    "U.S. don't e-mail @user #tag http://t.co/aB1 $5.00 50% a+b=c <b> ^ ` | ~",
    "«quoted» „low“ it’s… dash—here – ‐ 1·2 ¿qué? ¡sí!",
    "° € ™ © ½ ² ₂ № ∑ →",
    "🙂 🤣 👍🏽 👩‍👧 🇩🇪 ☺\ufe0f",
    "w" * 100 + " " + "w" * 101 + " " + "é" * 100 + " " + "e\u0301" * 60,
    "[CLS ] [sep  mask",
    "",
    " \u00a0 \t",
)
# In no vocabulary, so that whole words become [UNK].
_UNKNOWN = set("☺豈🇩Ǆﬁ№")


def vocabulary() -> list[str]:
    """Every character that any treatment of the texts may leave, alone and inside of a word."""
    text = "".join(TEXTS)
    every = text + text.lower() + unicodedata.normalize("NFD", text + text.lower())
    letters = sorted({c for c in every if not c.isspace() and c not in _UNKNOWN})
    # No control characters: `tokenizers` and `vocab.txt` would have to agree on their lines.
    letters = [c for c in letters if unicodedata.category(c) not in ("Cc", "Cs")]
    words = ["cafe", "café", "CAFÉ", "straße", "tab", "##feed", "東京", "don", "##n't"]
    return [*SPECIAL, *letters, *(f"##{c}" for c in letters), *words]


def make() -> dict[str, Any]:
    """The ids of each text for each setting, by the installed `tokenizers`."""
    import tokenizers
    from tokenizers.models import WordPiece
    from tokenizers.normalizers import BertNormalizer
    from tokenizers.pre_tokenizers import BertPreTokenizer

    words = vocabulary()
    ids = {}
    for lower_case in (False, True):
        for strip in (False, True):
            model = WordPiece({w: i for i, w in enumerate(words)}, unk_token="[UNK]")
            tokenizer = tokenizers.Tokenizer(model)
            tokenizer.normalizer = BertNormalizer(
                clean_text=True,
                handle_chinese_chars=True,
                strip_accents=strip,
                lowercase=lower_case,
            )
            tokenizer.pre_tokenizer = BertPreTokenizer()
            found = [tokenizer.encode(text, add_special_tokens=False).ids for text in TEXTS]
            ids[f"lower_case={lower_case} strip_accents={strip}"] = found
    return {"made_by": f"tokenizers {tokenizers.__version__}", "vocabulary": words, "ids": ids}


if __name__ == "__main__":
    FILE.write_text(json.dumps(make(), indent=None) + "\n", encoding="utf-8")
