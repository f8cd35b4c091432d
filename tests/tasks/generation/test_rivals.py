"""What needs no decoder: copies, last turns, first sentences."""

from tfhub_transfer.tasks.generation import rivals
from tfhub_transfer.texts.joining import join_words


def test_a_copy_is_the_text_and_the_last_turn_its_end() -> None:
    listed = join_words(["Hello!", "How are you?"])
    assert rivals.copied(["a\nb", listed]) == ["a\nb", "Hello! How are you?"]
    assert rivals.last_turns(["one", "a\r\nb c \n\n", listed, "", " \n "]) == [
        *("one", "b c", "How are you?", "", "")
    ]


def test_first_sentences_are_those_of_plain_texts_and_lists() -> None:
    plain = "It rained. Dr. Who came. Then he left."
    listed = join_words(["First.", "Second one", "Third."])
    assert rivals.lead([plain, listed, plain, ""], 2) == [
        *("It rained. Dr. Who came.", "First. Second one", "It rained. Dr. Who came.", "")
    ]
    assert rivals.lead([listed], 1) == ["First."]
    assert rivals.lead([], 1) == []


def test_targets_have_so_many_sentences() -> None:
    assert rivals.usual_count(["One.", "One. Two. Three.", "One. Two."]) == 2
    assert rivals.usual_count([""]) == rivals.usual_count([]) == 1
