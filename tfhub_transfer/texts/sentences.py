"""Plain texts to sentences with their places, by rules that are TensorFlow operations.

So that an exported model splits a document as `predict_text` does. tensorflow-text's
`StateBasedSentenceBreaker` ends a sentence at every full stop, inside "3.14", "e.g." and "Dr. X"
too, and begins the next with the quotation mark that closes this one; hence rules of our own, after
those that Kiss and Strunk 2006 (https://aclanthology.org/J06-4003) found to matter: what follows a
stop, and whether the word before it is an abbreviation or an initial.
"""

import tensorflow as tf

_SPACE = r"[\s\p{Z}]"
_CLOSING = r"[\"'”’»)\]}\p{Pe}\p{Pf}]*"
_OPENING = r"[\"'“‘«¿¡(\[{\p{Ps}\p{Pi}]*"
# A stop of scripts that write no space after it; and one of scripts that do.
_FULL_STOP, _STOP = r"[。！？｡．]", r"[.!?…।॥؟۔։]"
# Signs that begin a sentence: capitals, numbers, letters of scripts that know no capitals.
_BEGINNING = r"[\p{Lu}\p{Lt}\p{Lo}\p{N}]"
# After these a sentence goes on, whatever follows. No word that also ends sentences is among them,
# such as "apps", "max" or "no"; nor "etc.", which more often than not ends one before a capital.
_ABBREVIATIONS = (
    "al|approx|assoc|bros|ca|capt|cf|comdr|dept|dr|drs|eds|eqn?s?|esp|figs?|gov|hon|hrsg|incl|"
    "lt|maj|messrs|mme|mlle|mrs?|nos|nr|pp|profs?|refs?|resp|rev|sec|sect|sgt|sr|sra|srta|st|str|"
    "univ|viz|vols?|vs|w\\.r\\.t|wrt|bzw|ggf|inkl|vgl"
)
# "J." and "J. K."; "e.g.", "i.e.", "z. B." and "U.S.": letters with a stop each.
_LETTERS = r"\p{Lu}|(?:\p{L}\.[\s\p{Z}]?)+\p{L}"


def split(texts: tf.Tensor, mark: str) -> tuple[tf.RaggedTensor, tf.RaggedTensor, tf.RaggedTensor]:
    """Plain texts `[n]` to sentences, each `[n, (sentences)]`: the sentence, its start, its end.

    A sentence ends at a stop with whatever closes behind it, where a space and a capital, a number
    or a letter without case follow (any letter, in a text without capitals), and the word before
    isn't an abbreviation or an initial; at a stop of scripts without spaces; and at an empty line.
    Sentences have no space around them; a blank text has none.

    Args:
        texts: Strings in UTF-8.
        mark: A single character. A text that holds it is split there and nowhere else.

    Returns:
        Strings, and int32 places of their first code points and of those behind their last ones.
    """
    given = tf.strings.regex_full_match(texts, f"(?s).*{mark}.*")
    marked = tf.where(given, texts, _marked(texts, mark))
    pieces = tf.strings.split(marked, mark)
    rows = pieces.value_rowids()
    # A mark that was there takes a place in the text, one that was put there doesn't.
    lengths = tf.strings.length(pieces.flat_values, unit="UTF8_CHAR")
    taken = lengths + tf.cast(tf.gather(given, rows), tf.int32)
    before = tf.cumsum(taken, exclusive=True)
    first = tf.gather(tf.pad(before, [[0, 1]]), pieces.row_starts())
    no_space = tf.strings.regex_replace(pieces.flat_values, f"^{_SPACE}+", "")
    starts = before - tf.gather(first, rows)
    starts += lengths - tf.strings.length(no_space, unit="UTF8_CHAR")
    sentences = tf.strings.regex_replace(no_space, f"{_SPACE}+$", "")
    ends = starts + tf.strings.length(sentences, unit="UTF8_CHAR")
    spoken = pieces.with_values(tf.not_equal(sentences, ""))
    found, starts, ends = (
        tf.ragged.boolean_mask(pieces.with_values(each), spoken)
        for each in (sentences, starts, ends)
    )
    return found, starts, ends


def _marked(texts: tf.Tensor, mark: str) -> tf.Tensor:
    """Texts with a mark where a sentence ends."""
    stop = rf"({_STOP}+{_CLOSING})({_SPACE}+{_OPENING}"
    capitals = tf.strings.regex_full_match(texts, r"(?s).*\p{Lu}.*")
    replace = tf.strings.regex_replace
    made = tf.where(
        capitals,
        replace(texts, rf"{stop}{_BEGINNING})", rf"\1{mark}\2"),
        replace(texts, rf"{stop}[\p{{L}}\p{{N}}])", rf"\1{mark}\2"),
    )
    # RE2 knows no lookbehind: marks behind abbreviations are taken away again.
    not_ends = (
        rf"((?:^|[^\p{{L}}\p{{N}}])(?i:{_ABBREVIATIONS}|{_LETTERS})\.){mark}",
        rf"((?:^|[^\p{{L}}\p{{N}}])[Nn]o\.){mark}({_SPACE}*\p{{N}})",
        rf"((?:^|\n|{mark}){_SPACE}*\p{{N}}{{1,3}}\.){mark}",  # the number of an item
    )
    for pattern, kept in zip(not_ends, (r"\1", r"\1\2", r"\1")):
        made = replace(made, pattern, kept)
    made = replace(made, rf"({_FULL_STOP}+{_CLOSING})", rf"\1{mark}")
    return replace(made, r"(\n[\s\p{Z}]*\n)", rf"{mark}\1")
