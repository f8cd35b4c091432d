"""Texts to words as the training data has them: one rule for training, `predict_text` and exports.

BERT's own tokenizer parts a text at spaces and at every sign of punctuation. Data has other words:
"U.S.", "'s", ":)" or "e-mail" is one in some and several in others. What is one is learned from the
words that a model is trained on: of what stands between spaces the longest run of parts that they
know as one word is one word, from the left. They know it by its shape (`0,0` for "1,000", `A.A.`
for "U.S."), where more words of that shape come whole than in parts, and by itself.

What leads from a text to its words is TensorFlow, so that an exported model answers as
`predict_text` does. Offsets count Unicode code points, as Python's strings do.
"""

import collections
from collections.abc import Callable, Iterable, Iterator, Sequence

import tensorflow as tf

from tfhub_transfer.texts import joining, splitting
from tfhub_transfer.texts.joining import WORD_END, Segmentation
from tfhub_transfer.texts.signs import SIGN

Places = tuple[tf.RaggedTensor, tf.RaggedTensor, tf.RaggedTensor]
# Of what a word consists: texts with their kinds.
Parts = Sequence[tuple[str, str]]

# The most parts of a word that is learned: a graph goes through them one after the other.
_MOST_PARTS = 12
# Known words lie in the task's configuration, and sorted in every graph that answers.
_MOST_WORDS = 50_000
# The Penn Treebank and its kin part "didn't" into "did" and "n't".
_NEGATION = r"(?i:n['’]t)\b"
# So many that two words hardly share one: nothing else tells them apart.
_HASHES = 2**62


def split(texts: tf.Tensor, known: Segmentation | None = None) -> Places:
    """Texts `[n]` to words, each `[n, (words)]`: the word, its start and its end.

    Args:
        texts: Plain texts, or words that `joining.join_words` put together, which stay as they
            are; their places are those in the words with a space between them.
        known: What the training data has as one word; where nothing is known every sign of
            punctuation is one.
    """
    listed = splitting.are_listed(texts)
    words, starts, ends = _plain(tf.where(listed, "", texts), known)
    given = tf.where(listed)[:, 0]
    own = _listed(tf.gather(texts, given))
    rows = [tf.gather(given, each.value_rowids()) for each in own]
    placed = [
        tf.RaggedTensor.from_value_rowids(each.flat_values, row, words.nrows(), validate=False)
        for each, row in zip(own, rows)
    ]
    # A text has words of one kind only.
    both = [tf.concat([a, b], axis=1) for a, b in zip((words, starts, ends), placed)]
    return both[0], both[1], both[2]


def spelled(texts: tf.Tensor) -> tf.Tensor:
    """Texts `[n]` as the places of `split` count them: lists of words with spaces between."""
    spaced = tf.strings.regex_replace(splitting.without_mark(texts), WORD_END, " ")
    return tf.where(splitting.are_listed(texts), spaced, texts)


def _listed(texts: tf.Tensor) -> Places:
    words = splitting.listed(texts)
    lengths = words.with_values(tf.strings.length(words.flat_values, unit="UTF8_CHAR"))
    ends = tf.ragged.map_flat_values(tf.cumsum, lengths + 1) - 1
    # Of all texts together; each begins with its own first word.
    before = tf.gather(tf.pad(ends.flat_values + 1, [[1, 0]]), words.row_starts())
    ends = ends.with_values(ends.flat_values - tf.gather(before, words.value_rowids()))
    return words, ends - lengths, ends


def _plain(texts: tf.Tensor, known: Segmentation | None) -> Places:
    negation = f"{_NEGATION}|" if known is not None and known.negation else ""
    kept = negation + SIGN
    parts, starts, ends = splitting.split_with_places(texts, kept)
    if known is not None:
        parts, starts, ends = _together(parts, starts, ends, known)
    place = _code_points(texts)
    return parts, place(starts), place(ends)


def _code_points(texts: tf.Tensor) -> Callable[[tf.RaggedTensor], tf.RaggedTensor]:
    """What turns places counted in bytes `[n, (m)]` into places counted in code points."""
    # Where each character begins; one search for all texts and words.
    _, begins = tf.strings.unicode_decode_with_offsets(texts, "UTF-8")
    above = tf.cumsum(tf.cast(tf.strings.length(texts), tf.int64) + 1, exclusive=True)
    known = begins.flat_values + tf.gather(above, begins.value_rowids())

    def places(offsets: tf.RaggedTensor) -> tf.RaggedTensor:
        owners = offsets.value_rowids()
        before = tf.searchsorted(known, offsets.flat_values + tf.gather(above, owners))
        first = tf.cast(tf.gather(begins.row_starts(), owners), tf.int32)
        return offsets.with_values(before - first)

    return places


def _together(
    parts: tf.RaggedTensor, starts: tf.RaggedTensor, ends: tf.RaggedTensor, known: Segmentation
) -> Places:
    """Parts with their places, in bytes, to words: those that are one word become one."""
    first, last, rows = starts.flat_values, ends.flat_values, parts.value_rowids()
    apart = tf.not_equal(rows[1:], rows[:-1]) | tf.not_equal(first[1:], last[:-1])
    begins = tf.concat([tf.ones_like(rows[:1], tf.bool), apart], axis=0)
    begins = _reached(begins, _sizes(parts.flat_values, begins, known))
    word = tf.cumsum(tf.cast(begins, tf.int32)) - 1
    count = tf.reduce_max(tf.concat([word, [-1]], axis=0)) + 1
    owners = tf.boolean_mask(rows, begins)
    values = (
        tf.strings.unsorted_segment_join(parts.flat_values, word, count),
        tf.boolean_mask(first, begins),
        tf.math.unsorted_segment_max(last, word, count),
    )
    made = [
        tf.RaggedTensor.from_value_rowids(each, owners, parts.nrows(), validate=False)
        for each in values
    ]
    return made[0], made[1], made[2]


def _sizes(parts: tf.Tensor, begins: tf.Tensor, known: Segmentation) -> tf.Tensor:
    """How many parts the longest word has that begins with each part, int32 `[parts]`."""
    _, group, counts = tf.unique_with_counts(tf.cumsum(tf.cast(begins, tf.int32)))
    # Most parts are whole words, with a space on either side.
    several = tf.where(tf.gather(counts, group) > 1)
    some = tf.gather_nd(parts, several), tf.gather_nd(group, several)
    most = tf.reduce_max(tf.concat([counts, [0]], axis=0))
    return tf.tensor_scatter_nd_update(tf.ones_like(group), several, _lengths(*some, most, known))


def _lengths(parts: tf.Tensor, group: tf.Tensor, most: tf.Tensor, known: Segmentation) -> tf.Tensor:
    kinds = shape_of_each(parts)
    again = _again(kinds, group)
    is_word, is_shape, is_apart = map(_among, (known.words, known.shapes, known.apart))

    def longer(
        n: tf.Tensor, text: tf.Tensor, shape: tf.Tensor, length: tf.Tensor
    ) -> tuple[tf.Tensor, ...]:
        inside = tf.equal(_ahead(group, n, -1), group)
        text = text + _ahead(parts, n, "")
        # Of a run of one sign two are told apart, and more are as good as two.
        skipped = _ahead(again, n, False) & (n >= 2)
        shape = shape + tf.where(skipped, "", _ahead(kinds, n, ""))
        one = is_word(text) | (is_shape(shape) & ~is_apart(text))
        return n + 1, text, shape, tf.where(one & inside, n + 1, length)

    start = (tf.constant(1), parts, kinds, tf.ones_like(group))
    loop = tf.while_loop(
        lambda n, *_: n < tf.minimum(most, _MOST_PARTS),
        longer,
        start,
        shape_invariants=(tf.TensorShape([]), *[tf.TensorShape([None])] * 3),
    )
    return loop[-1]


def _again(kinds: tf.Tensor, group: tf.Tensor) -> tf.Tensor:
    """Whether a part is of the kind of both before it, bool `[parts]`."""

    def same(values: tf.Tensor) -> tf.Tensor:
        both = tf.equal(values[2:], values[1:-1]) & tf.equal(values[2:], values[:-2])
        return tf.concat([tf.zeros_like(values[:2], tf.bool), both], axis=0)

    return same(kinds) & same(group)


def _ahead(values: tf.Tensor, n: tf.Tensor, filler: str | int | bool) -> tf.Tensor:
    """The value `n` places further on; the filler beyond the last."""
    n = tf.minimum(n, tf.size(values))
    return tf.concat([values[n:], tf.fill([n], tf.constant(filler, values.dtype))], axis=0)


def _among(known: Sequence[str]) -> Callable[[tf.Tensor], tf.Tensor]:
    """What tells whether strings `[n]` are among known ones, by their hashes: it needs no table."""
    if not known:
        return lambda found: tf.zeros_like(found, tf.bool)
    ordered = tf.sort(tf.strings.to_hash_bucket_fast(tf.constant(known), _HASHES))

    def among(found: tf.Tensor) -> tf.Tensor:
        wanted = tf.strings.to_hash_bucket_fast(found, _HASHES)
        place = tf.minimum(tf.searchsorted(ordered, wanted), len(known) - 1)
        return tf.equal(tf.gather(ordered, place), wanted)

    return among


def _reached(begins: tf.Tensor, sizes: tf.Tensor) -> tf.Tensor:
    """The parts at which words begin, going from word to word, bool `[parts]`.

    Args:
        begins: Whether a part stands behind a space.
        sizes: How many parts the word has that begins with it.
    """
    count = tf.size(sizes)
    # One more place, behind the last part, where everything ends.
    jump = tf.concat([tf.range(count) + sizes, [count]], axis=0)
    found = tf.concat([tf.cast(begins, tf.int32), [0]], axis=0)

    # Jumps double in each turn: n parts take log n of them, not n.
    def double(step: tf.Tensor, jump: tf.Tensor, found: tf.Tensor) -> tuple[tf.Tensor, ...]:
        found = tf.tensor_scatter_nd_max(found, jump[:, tf.newaxis], found)
        return step * 2, tf.gather(jump, jump), found

    loop = tf.while_loop(lambda step, *_: step <= count, double, (tf.constant(1), jump, found))
    return tf.cast(loop[-1][:-1], tf.bool)


def shape_of_each(parts: tf.Tensor) -> tf.Tensor:
    """The kind of each part: a sign itself, `0` for digits, `A` for one letter, `a` for more."""
    sign = tf.strings.regex_full_match(parts, SIGN)
    digits = tf.strings.regex_full_match(parts, r"\p{Nd}+")
    single = tf.equal(tf.strings.length(parts, unit="UTF8_CHAR"), 1)
    return tf.where(sign, parts, tf.where(digits, "0", tf.where(single, "A", "a")))


def learn(sentences: Iterable[Sequence[str]]) -> Segmentation:
    """What training data has as one word that is of several parts.

    Args:
        sentences: The words of each.

    Example:

    >>> found = learn([["The", "U.S.", "won", "."]])
    >>> found.shapes
    ('A.A.',)
    >>> split(tf.constant(["In the U.K. I won."]), found)[0].to_list()[0]
    [b'In', b'the', b'U.K.', b'I', b'won', b'.']
    """
    sentences = [list(map(joining.plain, words)) for words in sentences]
    # Each different word is parted once, however often it occurs.
    vocabulary = sorted({word for words in sentences for word in words})
    negation = _parts_negation(sentences)
    kept = f"{_NEGATION}|{SIGN}" if negation else SIGN
    made = splitting.split(tf.constant(vocabulary, tf.string), kept)
    kinds = made.with_values(shape_of_each(made.flat_values)).to_list()
    known: dict[str, list[tuple[str, str]]] = {}
    for word, texts, of_texts in zip(vocabulary, made.to_list(), kinds):
        parts = [(a.decode("utf-8"), b.decode("utf-8")) for a, b in zip(texts, of_texts)]
        whole = parts and "".join(text for text, _ in parts) == word
        # A word that holds spaces, or nothing, is found in no text.
        known[word] = parts if whole else [(word, " ")]
    return _counted([[known[word] for word in words] for words in sentences], negation)


def _parts_negation(sentences: Sequence[Sequence[str]]) -> bool:
    endings = [
        len(word) for words in sentences for word in words if word[-3:].lower() in ("n't", "n’t")
    ]
    return sum(size == 3 for size in endings) > len(endings) / 2


def _counted(sentences: Sequence[Sequence[Parts]], negation: bool) -> Segmentation:
    """Counts how often words, and their shapes, come whole and in parts.

    Args:
        sentences: Of each its words, of each its parts, of each its text and its kind.
        negation: See `Segmentation`.
    """
    whole: collections.Counter[str] = collections.Counter()
    whole_shapes: collections.Counter[str] = collections.Counter()
    shape_of: dict[str, str] = {}
    for words in sentences:
        for parts in words:
            if 1 < len(parts) <= _MOST_PARTS:
                text, shape = "".join(a for a, _ in parts), shape_name(b for _, b in parts)
                whole[text] += 1
                whole_shapes[shape] += 1
                shape_of[text] = shape
    begun = {shape[:end] for shape in whole_shapes for end in range(1, len(shape) + 1)}
    apart: collections.Counter[str] = collections.Counter()
    apart_shapes: collections.Counter[str] = collections.Counter()
    for words in sentences:
        for text, shape in _runs(words, begun):
            apart[text] += text in whole
            apart_shapes[shape] += shape in whole_shapes
    usual = {shape for shape, count in whole_shapes.items() if count > apart_shapes[shape]}
    known = [text for text, count in whole.most_common(_MOST_WORDS) if count > apart[text]]
    return Segmentation(
        tuple(sorted(usual)),
        tuple(sorted(text for text in known if shape_of[text] not in usual)),
        tuple(sorted(t for t in whole if whole[t] <= apart[t] and shape_of[t] in usual)),
        negation,
    )


def _runs(words: Sequence[Parts], begun: set[str]) -> Iterator[tuple[str, str]]:
    """Texts and shapes of words that stand one behind the other, and might have been one."""
    for start, first in enumerate(words):
        parts = list(first)
        for following in words[start + 1 : start + _MOST_PARTS]:
            if len(parts) + len(following) > _MOST_PARTS:
                break
            parts += following
            shape = shape_name(kind for _, kind in parts)
            # No known word begins so: with more parts it can't become one either.
            if shape not in begun:
                break
            yield "".join(text for text, _ in parts), shape


def shape_name(kinds: Iterable[str]) -> str:
    """The shape of a word of parts of these kinds: of a run of one kind two are named.

    Example:

    >>> shape_name("A.A.."), shape_name("!!!!")
    ('A.A..', '!!')
    """
    made: list[str] = []
    for kind in kinds:
        if made[-2:] != [kind, kind]:
            made.append(kind)
    return "".join(made)
