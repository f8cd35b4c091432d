"""Numbers of a report on texts that were written, beside what needs no decoder."""

import dataclasses
import time
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from tfhub_transfer.data import Examples
from tfhub_transfer.incoming.wording import shown
from tfhub_transfer.reporting import groups, metrics, paired
from tfhub_transfer.reporting.contents import GroupRow, Mistake, Prediction, Slice
from tfhub_transfer.reporting.standings import Faults, Parts, Standing
from tfhub_transfer.tasks import nearness
from tfhub_transfer.tasks.generation import rivals, scoring
from tfhub_transfer.tasks.generation.scoring import Judge, Scored
from tfhub_transfer.tasks.trial import Trial, worst

Texts = Sequence[str]
# Labels to the texts that are right, one or more for each.
Right = Callable[[Sequence[object]], Sequence[Texts]]

# Of more training texts some are drawn, whose vectors take minutes on a CPU.
_MOST_KNOWN = 20_000
# Documents that a model of their sentences learns from; 1,000 have some 7,000 sentences.
_MOST_LEARNED, _FEWEST_LEARNED = 1000, 10
_WINS = " WINS: "
_BASELINES = {
    "copy": "copying the text",
    "last_turn": "repeating the last turn",
    "lead": "first sentences",
    "central": "most central sentences",
    "extractive": "sentences that a linear model chose",
    "nearest": "nearest training example",
}


@dataclasses.dataclass(frozen=True)
class Kind:
    """What a kind of text is judged by.

    Attributes:
        names: Numbers, as `scoring.Judge` takes them; the first one judges.
        leads: Whether sentences of a text are a rival, the first ones and those that are most like
            all of it: it is a document.
        turns: Whether a text is turns of a conversation, so that copying takes the last one.
    """

    names: tuple[str, ...]
    leads: bool = False
    turns: bool = False

    def standing(self) -> Standing:
        """How a task of this kind stands in reports."""
        return Standing(
            self.names[0],
            low={"repetition": True},
            rival="lead" if self.leads else "nearest",
            baselines=_BASELINES,
            badness="chrF lacks",
            without_interval=frozenset(scoring.VARIETY),
            parts=parts,
            faults=faults_of_texts,
            tells_winners=True,
            tiles=("chrf", "rouge1", "rouge2", "rougeL", "exact_match", "distinct_2", "repetition"),
        )


TEXT = Kind(("bleu", "chrf", "rougeL", "exact_match"))
TRANSLATION = Kind(("bleu", "chrf", "exact_match"))
SUMMARY = Kind(("rouge1", "rouge2", "rougeL", "chrf"), leads=True)
DIALOGUE = Kind(
    ("bleu", "chrf", "rougeL", "distinct_1", "distinct_2", "repetition"),
    turns=True,
)


def parts(name: str, rows: Sequence[Prediction]) -> Parts | None:
    """What rows of predictions contribute to a number, for `Standing`.

    Args:
        name: Of the number.
        rows: As `predictions.rows` has them: `true` is a text or a list of them.
    """
    known = all(isinstance(row["predicted"], str) and row["true"] for row in rows)
    if not known or name in scoring.VARIETY:
        return None
    found = Judge(list(map(_true, rows)), (name,)).score([str(row["predicted"]) for row in rows])
    if name not in found.parts:
        return paired.means(name, rows)
    return Parts(found.parts[name], lambda weights: found.resampled(weights)[name])


def faults_of_texts(rows: Sequence[Prediction]) -> Faults | None:
    """What rows lack of the best number that each has by itself, for `Standing`.

    Args:
        rows: As `predictions.rows` has them.
    """
    for name, best in (("rouge1", 1.0), (_of_row("chrf"), 100.0), ("rougeL", 1.0)):
        column = paired.numbers_of(rows, (name,))
        if column is not None:
            return Faults(name, best - column[:, 0], np.ones(len(rows)), best)
    return None


def _true(row: Prediction) -> list[str]:
    true = row["true"]
    return list(map(str, true)) if isinstance(true, list) else [str(true)]


def report_on(trial: Trial, right: Right, kind: Kind = TEXT) -> None:
    """Fills a report on texts that were written; see `Task.report_on`.

    Args:
        trial: The report, the model, and what is put to it; answers have `text`.
        right: Makes texts of labels, one or more of each.
        kind: What the texts are.
    """
    report, examples = trial.report, trial.examples
    answers = [str(a["text"]) for a in trial.timed(lambda: trial.model.predict_text(examples))]
    written = [list(texts) for texts in right(examples.labels)]
    judge = Judge(written, (*kind.names, *({"chrf"} - {*kind.names})))
    every = judge.score(answers)
    found = _asked(every, kind)
    report.metrics = found.numbers()
    report.intervals = scoring.intervals(found, trial.seed)
    report.notes += [
        f"{name} is sacreBLEU's, from 0 to 100: {how}" for name, how in judge.signatures().items()
    ]
    report.mistakes = mistakes(trial, written, answers, every.each("chrf"))
    report.slices = slices(rivals.copied(examples.texts[0]), found, trial.seed)
    trial.note_answers(
        [texts[0] if len(texts) == 1 else texts for texts in written],
        answers,
        {_of_row(name): found.each(name) for name in found.parts},
    )
    started = time.perf_counter()
    scored = {name: judge.score(texts) for name, texts in _rivals(trial, right, kind).items()}
    report.seconds["baselines"] = time.perf_counter() - started
    report.baselines |= {name: _asked(own, kind).numbers() for name, own in scored.items()}
    told = beside(kind, every, scored, trial.seed)
    report.warnings += [each for each in told if _WINS in each]
    report.notes += [each for each in told if _WINS not in each]


def _asked(found: Scored, kind: Kind) -> Scored:
    """Without what is only for mistakes."""
    return Scored({n: found.parts[n] for n in kind.names if n in found.parts}, found.fixed)


def _of_row(name: str) -> str:
    """What a row's own number is called, where that of all is no mean of it."""
    return f"sentence_{name}" if name in ("bleu", "chrf") else name


def mistakes(
    trial: Trial, written: Sequence[Texts], answers: Texts, gained: np.ndarray
) -> list[Mistake]:
    """The answers that have least in common with what is right.

    Args:
        trial: Whose examples they answer.
        written: The texts that are right.
        answers: Those that were given.
        gained: chrF of each answer alone `[n]`.
    """
    exact = np.array([scoring.is_exact(*pair) for pair in zip(answers, written)], bool)
    lacks = np.where(exact, 0.0, 100.0 - gained)
    return [
        trial.mistake(row, " | ".join(written[row]), answers[row], float(lacks[row]))
        for row in worst(lacks)
    ]


def slices(texts: Texts, found: Scored, seed: int = 0) -> list[Slice]:
    """Numbers by the length of the text that was given.

    Args:
        texts: What was asked.
        found: What the answers are worth.
        seed: Seed of the bootstrap.
    """
    keys, order = groups.lengths(texts)
    first = next(iter(found.parts))
    rows: list[GroupRow] = []
    for group in order:
        mine = np.array(keys, dtype=object) == group
        if mine.any():
            own = found.of(mine)
            interval = metrics.intervals(own.resampled, own.count, seed).get(first)
            ends = {"low": interval[0], "high": interval[1]} if interval else {}
            rows.append({"group": group, "count": own.count, **own.numbers(), **ends})
    return [{"by": "length of the text", "rows": rows}] if len(rows) > 1 else []


def _rivals(trial: Trial, right: Right, kind: Kind) -> dict[str, list[str]]:
    """What needs no decoder would answer, by name."""
    texts = trial.examples.texts[0]
    found = {"last_turn": rivals.last_turns(texts)} if kind.turns else {}
    if not kind.turns:
        found["copy"] = rivals.copied(texts)
    if kind.leads:
        known = (trial.train or trial.examples).labels
        most = rivals.usual_count([own[0] for own in right(known)])
        found["lead"] = rivals.lead(texts, most)
        rows = rivals.in_sentences(texts)
        found["central"] = rivals.central(rows, lambda s: trial.model.encode_text(s), most)
    if trial.train is not None:
        found["nearest"] = _nearest(trial, trial.train, right)
        if kind.leads:
            found |= _extracted(trial, trial.train, right, rows, most)
    return found


def _extracted(
    trial: Trial, train: Examples, right: Right, rows: list[list[str]], most: int
) -> dict[str, list[str]]:
    """What a model of sentences chooses; nothing, where training texts have too few to learn of."""
    drawn = _drawn(trial, "extractive", len(train), _MOST_LEARNED)
    known = rivals.in_sentences([train.texts[0][row] for row in drawn])
    labels = right([train.labels[row] for row in drawn])
    several = [at for at, own in enumerate(known) if len(own) > 1]
    if len(several) < _FEWEST_LEARNED:
        return {}
    learned = [known[at] for at in several], [labels[at] for at in several]
    return {"extractive": rivals.extracted(*learned, rows, trial.model.encode_text, most)}


def _drawn(trial: Trial, name: str, count: int, most: int) -> np.ndarray:
    """Which training examples a baseline has; where it hasn't all that is said."""
    if count <= most:
        return np.arange(count)
    trial.report.notes.append(
        f"baseline {name}: of {count:,} training examples {most:,} were drawn"
    )
    return np.sort(np.random.default_rng(trial.seed).permutation(count)[:most])


def _nearest(trial: Trial, train: Examples, right: Right) -> list[str]:
    """The right answer to the training text that is nearest to each text."""
    rows = _drawn(trial, "nearest", len(train), _MOST_KNOWN)
    texts = train.texts[0]
    encode = trial.model.encode_text
    known, asked = encode([texts[row] for row in rows]), encode(trial.examples.texts[0])
    places = nearness.nearest(np.asarray(known), np.asarray(asked))[0][:, 0]
    labels = train.labels
    return [own[0] for own in right([labels[rows[place]] for place in places])]


def beside(kind: Kind, found: Scored, scored: Mapping[str, Scored], seed: int) -> list[str]:
    """A sentence for each baseline: which one wins, by how much, and whether chance may do that.

    Args:
        kind: What is compared by.
        found: What the model's answers are worth.
        scored: What those of baselines are worth.
        seed: Seed of the bootstrap.
    """
    return [
        _compared(
            _BASELINES[name], scoring.compared(kind.standing(), (found, own), kind.names[0], seed)
        )
        for name, own in scored.items()
    ]


def _compared(name: str, difference: paired.Difference) -> str:
    mine, other = shown(difference.first, 3), shown(difference.second, 3)
    numbers = f"{difference.metric} {mine} against {other}"
    if difference.interval is None:
        told = "all answers are as good" if difference.alike else "too few examples to tell"
        return f"{name}: {numbers} ({told})"
    low, high = (shown(end, 3) for end in difference.interval)
    by = f"{numbers}, a difference of {shown(difference.value, 3)} ({low} to {high}, 95 %)"
    if difference.better is None:
        return f"{name}: no clear difference, {by}"
    if difference.better:
        return f"{name}: this model wins, {by}"
    return f"{name}{_WINS}{by}"
