"""Small labelled data for any task, also for one that has only just been registered.

`ROWS` has a row for every task in `tasks.TASKS`, and some for variants, so a new task gets its row
by being registered: its layout says what texts it reads, and of the labels that suit that layout it
is given the first that it accepts. `LABELS` has exceptions.
"""

import dataclasses
from collections.abc import Callable
from typing import Any

import tfhub_transfer as tt
from tfhub_transfer import tasks
from tfhub_transfer.tasks import Head, MultiTask
from tfhub_transfer.texts.joining import is_listed, join_words, split_words

# All of one length, so that shares of a batch have as many tokens each.
TEXTS = ["good film", "bad movie", "the worst", "good acting"] * 10
OTHERS = ["a film", "the movie", "bad story", "good good"] * 10

NAMES = ["a", "b", "c", "b"] * 10
NUMBERS = [0.5, 1.0, 2.0, 4.0] * 10
TAGS = [["B-a" if word == "good" else "O" for word in text.split()] for text in TEXTS]
ANSWERS = [[{"text": t.split()[-1], "answer_start": len(t) - len(t.split()[-1])}] for t in TEXTS]
# Of tasks to which another's labels would do, but wouldn't show all that they can.
LABELS: dict[str, list[Any]] = {
    "multi-label": ["a|b", "c", "", "b"] * 10,
    "ordinal-regression": ["1", "3", "2", "1"] * 10,
}


# Those that do what another does, `translation`, and differ in names.
ALIKE = ("text-generation", "abstractive-summarization")
AMONG_OTHERS = "translation among others"


@dataclasses.dataclass(frozen=True)
class Sample:
    """A task with data to train on, and texts to answer.

    Attributes:
        make: Makes the task, which doesn't know its labels yet.
        examples: What it is trained on; by name, for several tasks.
        asked: What it is to answer; by name, for several tasks.
        head: Its head.
    """

    make: Callable[[], Any]
    examples: Any
    asked: Any
    head: Head = dataclasses.field(default_factory=lambda: Head(dropout=0.0))

    def task(self) -> Any:
        """The task, which knows its labels."""
        several = isinstance(self.examples, dict)
        labels = {name: each.labels for name, each in self.examples.items()} if several else None
        return self.make().adapt(self.examples.labels if labels is None else labels)


def rows() -> dict[str, Sample]:
    """A sample for each row of the table of tasks, by its name."""
    found: dict[str, Sample] = {}
    for name, kind in tasks.TASKS.items():
        if name not in ALIKE:
            found[name] = _sample(kind)
    found["classification of pairs"] = _sample(tasks.Classification, pair=True)
    found["classification in towers"] = dataclasses.replace(
        found["classification of pairs"], head=Head(dropout=0.0, towers=True)
    )
    pair = _sample(tasks.Regression, pair=True)
    found[MultiTask.name] = _several({"kind": found["classification"], "pair": pair})
    # Written texts among others: only in `--all`, but for a few.
    found[AMONG_OTHERS] = _several(
        {"kind": found["classification"], "german": found["translation"]}
    )
    return found


def _several(parts: dict[str, Sample]) -> Sample:
    return Sample(
        lambda: MultiTask({part: sample.make() for part, sample in parts.items()}),
        {part: sample.examples for part, sample in parts.items()},
        {part: sample.asked for part, sample in parts.items()},
    )


def _sample(kind: type[tasks.Task], pair: bool = False) -> Sample:
    def make() -> Any:
        return kind(pair=True) if pair else kind()

    layout = "pairs" if pair else kind.layout
    if layout not in _TABLE:
        raise NotImplementedError(
            f"tests/samples.py has no texts for the layout {layout!r} of the task {kind.name!r}"
        )
    texts, candidates, asked = _TABLE[layout]
    for labels in (LABELS[kind.name],) if kind.name in LABELS else candidates:
        examples = tt.data.Examples.from_lists(texts[0], labels, *texts[1:])
        if _suits(make(), examples):
            return Sample(make, examples, asked)
    raise NotImplementedError(f"tests/samples.py has no labels for the task {kind.name!r}")


# Beside usual ones an empty text, a single word, and one that is longer than encoders can take.
ASKED = [*TEXTS[:3], "", "film", "good film bad movie " * 20]
_PAIRS = list(zip(ASKED, [*OTHERS[:3], "film", "good film " * 30, "bad movie, good film. " * 20]))
_STORIES = ["Good film. Bad movie. The story.", "Good film acting. " * 30 + "Bad movie."]
_DOCUMENTS = [f"{a.capitalize()}. {b.capitalize()}." for a, b in zip(TEXTS, OTHERS)]
_TURNS = [f"{a}\n{b}" for a, b in zip(TEXTS, OTHERS)]
_WORDS = [text.split() for text in TEXTS]
_ONE_OF = (NAMES, NUMBERS)
# By layout: columns of texts, labels of which a task is given the first that suit, what to ask.
_TABLE: dict[str, tuple[tuple[list[Any], ...], tuple[list[Any], ...], list[Any]]] = {
    "whole": ((TEXTS,), _ONE_OF, ASKED),
    "pairs": ((TEXTS, OTHERS), _ONE_OF, _PAIRS),
    "towers": ((TEXTS, OTHERS), (NUMBERS,), _PAIRS),
    "words": ((_WORDS,), (TAGS,), ASKED),
    "windows": ((OTHERS, TEXTS), (ANSWERS,), _PAIRS),
    "sentences": ((_DOCUMENTS,), (TEXTS,), [*_STORIES, *ASKED]),
    "written": ((TEXTS,), (OTHERS,), ASKED),
    "turns": ((_TURNS,), (OTHERS,), [*ASKED, "good film\nbad movie\nthe worst " * 10]),
}


def of_lengths(examples: Any) -> Any:
    """The same with texts of many lengths; of words added to one, each has a tag.

    Args:
        examples: Of a sample; by name, for several tasks.
    """
    if isinstance(examples, dict):
        return {name: of_lengths(each) for name, each in examples.items()}
    more = [row * 7 % 13 for row in range(len(examples))]
    columns, target = dict(examples.columns), examples.target
    for name in columns:
        if (
            name == target
            and isinstance(columns[name][0], list)
            and is_listed(examples.texts[0][0])
        ):
            columns[name] = [[*tags, *["O"] * n] for tags, n in zip(columns[name], more)]
        elif name != target:
            columns[name] = [_longer(text, n) for text, n in zip(columns[name], more)]
    return dataclasses.replace(examples, columns=columns)


def _longer(text: str, words: int) -> str:
    listed = is_listed(text)
    more = ["film"] * words
    return join_words([*split_words(text), *more]) if listed else " ".join([text, *more])


def _suits(task: Any, examples: tt.data.Examples) -> bool:
    try:
        task.adapt(examples.labels)
        task.check(examples)
    except (tt.InputError, TypeError):
        return False
    return True


ROWS = rows()
