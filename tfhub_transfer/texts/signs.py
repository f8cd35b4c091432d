r"""What parts words in plain texts: spaces, signs of punctuation, ideographs, as BERT has them.

Patterns are for RE2, TensorFlow's regular expressions; whoever splits in Python has the ranges.
"""

# Each of these is a word of its own; kana and Hangul aren't among them, BERT leaves them in words.
IDEOGRAPHS = (
    (0x4E00, 0x9FFF),
    (0x3400, 0x4DBF),
    (0x20000, 0x2A6DF),
    (0x2A700, 0x2B73F),
    (0x2B740, 0x2B81F),
    (0x2B820, 0x2CEAF),
    (0xF900, 0xFAFF),
    (0x2F800, 0x2FA1F),
)
# `\s` of RE2 knows only ASCII, hence the classes of Unicode separators.
SPACE = r"[\s\p{Z}]+"
# `\p{P}` lacks $, +, <, =, >, ^, `, | and ~, which BERT takes for punctuation too.
_PUNCTUATION = r"[!-/]|[:-@]|[\[-`]|[{-~]|\p{P}"
_IDEOGRAPH = "".join(rf"\x{{{low:X}}}-\x{{{high:X}}}" for low, high in IDEOGRAPHS)
# A word of one character, whatever stands beside it.
SIGN = f"{_PUNCTUATION}|[{_IDEOGRAPH}]"
