"""Which texts to label next, asked in a terminal or through files, as `label` does."""

from collections.abc import Callable

from tfhub_transfer.data import reading
from tfhub_transfer.errors import InputError
from tfhub_transfer.incoming import wording
from tfhub_transfer.jobs.inputs import file_of, read_texts
from tfhub_transfer.jobs.labelling import exchange, terminals
from tfhub_transfer.jobs.labelling.exchange import FORMATS, AnswerColumns, Asked
from tfhub_transfer.jobs.labelling.keys import Keys
from tfhub_transfer.jobs.labelling.label_files import Kept, Skipped, beginning_of
from tfhub_transfer.jobs.labelling.sessions import Session
from tfhub_transfer.jobs.options.labelling import LabelJob
from tfhub_transfer.jobs.saying import say
from tfhub_transfer.recipes.active_learning.linear_heads import Label
from tfhub_transfer.recipes.active_learning.pools import Text, is_blank, names_of, same
from tfhub_transfer.recipes.active_learning.selector import RANDOM, Judged, Selector
from tfhub_transfer.storage import atomic, opening
from tfhub_transfer.tasks import TASKS, Task


def label(job: LabelJob) -> None:
    """Asks which texts of a file have which labels, those first that teach most.

    Args:
        job: What to do.

    Raises:
        InputError: If a file or an option is unusable, or nobody could be asked.
    """
    work = _Work(job)
    if job.answers is not None:
        work.take(job.answers)
    if job.format is not None:
        work.write()
    elif job.answers is None:
        work.ask()


class _Work:
    """A job, its texts and what is known of them."""

    def __init__(self, job: LabelJob) -> None:
        if job.format is None and job.answers is None:
            terminals.require()
        if job.label is not None and job.answers is None:
            raise InputError(
                "`--label` names a column of the answers; give `--answers`, or leave it out. "
                f"Received: --label {job.label}"
            )
        self._job, self._task = job, _task(job)
        self._closed = _classes(job)
        self._selector = Selector(
            job.encoder, job.strategy, job.seed, job.random_share, job.trust_code
        )
        self._texts, left = _asked(job)
        self._pair = not isinstance(self._texts[0], str)
        inputs = [job.data, *([job.answers] if job.answers else [])]
        output = opening.path_of(job.output)
        self.kept = Kept(output, self._task.takes_blank, inputs, self._pair)
        self._skipped = Skipped(self.kept.path, self._pair)
        self._require_known()
        if left:
            every = left + len(self._texts)
            say(f"{job.data}: {left:,} of {every:,} {self._what} are blank or come again")

    @property
    def _what(self) -> str:
        return "pairs" if self._pair else "texts"

    def _require_known(self) -> None:
        """Refuses labels of the output that `--labels` doesn't name."""
        for row in self.kept.rows if self._closed is not None else []:
            if not set(names_of(row.label)) <= set(self._closed or ()):
                raise InputError(
                    f"the output has a class that `--labels` lacks; add it there, or mend the row "
                    f"of the text {wording.json_line(beginning_of(row.text))}. "
                    f"Received: {self.kept.path} with {', '.join(names_of(row.label))}"
                )

    def take(self, answers: str) -> None:
        """Reads labels that were given elsewhere."""
        job = self._job
        file = file_of(job, answers)
        columns = AnswerColumns(job.text, job.text_pair, job.label, self._pair)
        found = exchange.read(file, self._task, columns, self._closed)
        known = [self.kept.of(row.text) for row in found.rows]
        new = [row for row, own in zip(found.rows, known) if own is None]
        odd = [row for row, own in zip(found.rows, known) if own and own.label != row.label]
        if new:
            self.kept.add(new)
        say(f"{answers}: {_are(len(new), 'label')} new, {len(found.rows) - len(new):,} known")
        for note in found.notes:
            say(f"{answers}: {note}")
        if found.blank:
            say(f"{answers}: {wording.counted(found.blank, 'row')} without a label yet")
        if odd:
            texts = wording.counted(len(odd), "text")
            say(
                f"{answers}: {texts} with another label in {self.kept.path}, which "
                f"stays, such as {wording.json_line(beginning_of(odd[0].text))}"
            )
        self._report()

    def write(self) -> None:
        """Writes the next batch to a file for an annotation tool."""
        job = self._job
        assert job.format is not None
        batch = self._next()
        if not batch:
            return
        target = exchange.beside(self.kept.path, len(self.kept.rows), job.format)
        content = FORMATS[job.format][1](batch, self._task.takes_blank)
        if not (
            target.exists() and opening.read_bytes(target, len(content) * 4) == content.encode()
        ):
            if target.is_file():
                raise InputError(
                    "such a batch is there and may be filled in already; give it with `--answers`, "
                    f"or move it away. Received: {target}"
                )
            atomic.check_file(target, b"", False, (job.data, job.output))
            atomic.write_text(target, content)
        texts = wording.counted(len(batch), self._what.removesuffix("s"))
        say(f"Written to {target}: {texts} to label; then the same with `--answers`")
        if job.format == "label-studio":
            several = self._task.takes_blank
            say(exchange.label_studio_config(self._names(), several, self._pair))
        elif job.format == "doccano":
            say("Labels filled in are predictions: export what is approved only")

    def ask(self) -> None:
        """Asks at the terminal, batch by batch, until all is labelled or somebody quits."""
        keys = Keys(self._names(), self._task.takes_blank, self._closed is not None)
        read = terminals.key if keys.single else terminals.line
        session = Session(self.kept, keys, read, say, self._target(), self._skipped)
        if self.kept.rows:
            say(f"{self.kept.path}: {_are(len(self.kept.rows), 'label')} there; going on")
        say("\n".join(keys.help()))
        with terminals.by_keys(keys.single):
            while batch := self._next():
                terminals.forget()
                if not session.ask(batch):
                    break
                self._report()
        if self.kept.rows:
            known = wording.counted(len(self.kept.rows), "label")
            say(f"\n{self.kept.path}: {known}; {self._more()} goes on")

    def _more(self) -> str:
        """The command that asks for more labels, in words."""
        spent = self._job.budget is not None and len(self.kept.rows) >= self._job.budget
        return "the same command with a larger `--budget`" if spent else "the same command"

    def _target(self) -> int:
        """How many labels there shall be in all."""
        every = len(self._everything()[0])
        return every if self._job.budget is None else min(self._job.budget, every)

    def _names(self) -> list[str]:
        """The classes as they are shown: as given, else those that occur."""
        if self._closed is not None:
            return self._closed
        return sorted({name for row in self.kept.rows for name in names_of(row.label)})

    def _everything(self) -> tuple[list[Text], list[Label | None]]:
        """The pool's texts, and behind them labelled ones that it hasn't, with what is known."""
        here = set(map(same, self._texts))
        others = [row.text for row in self.kept.rows if same(row.text) not in here]
        texts = [*self._texts, *others]
        known = map(self.kept.of, texts)
        return texts, [None if own is None else own.label for own in known]

    def _next(self) -> list[Asked]:
        """The texts to ask for now; none where there are enough labels, or no more texts."""
        texts, labels = self._everything()
        left = set(map(same, self._skipped.texts))
        rows = [row for row, text in enumerate(texts) if same(text) not in left]
        free = sum(labels[row] is None for row in rows)
        count = min(self._job.batch, self._target() - len(self.kept.rows), free)
        if count < 1:
            self._say_why_none(free, len(left))
            return []
        known = [labels[row] for row in rows]
        chosen = self._selector.select([texts[row] for row in rows], known, count)
        found = zip(chosen.rows, chosen.reasons, chosen.predicted, chosen.scores)
        return [
            Asked(texts[rows[row]], reason, predicted, score)
            for row, reason, predicted, score in found
        ]

    def _say_why_none(self, free: int, skipped: int) -> None:
        """Says why nothing is asked: as many labels are there as were wanted, or all texts are."""
        if free:
            said = f"`--budget {self._job.budget}` is reached"
        else:
            said = "there is nothing left to ask" + (f", {skipped:,} were skipped" * bool(skipped))
        say(f"{self.kept.path}: {said}")

    def _report(self) -> None:
        """Says how good a model of these labels would be, and what more of them would bring."""
        texts, labels = self._everything()
        tests = [own is not None and own.reason == RANDOM for own in map(self.kept.of, texts)]
        say(
            "\n".join(
                told(self._selector.judge(texts, labels, tests, self._job.batch), self._job.batch)
            )
        )


def told(judged: Judged, batch: int) -> list[str]:
    r"""What labels are worth, in lines.

    Args:
        judged: As `Selector.judge` gives it.
        batch: How many labels would come.

    Example:

    >>> from tfhub_transfer.recipes.active_learning import Gain
    >>> print(*told(Judged(12, 0.75, (0.47, 0.91), Gain(0.012, 0.02)), 20), sep="\n")
    By the 12 random texts: accuracy 0.750 (95 %: 0.470 to 0.910)
    20 more labels: expected +1.2 points of accuracy, +- 2.0
    """
    lines = []
    if judged.accuracy is not None and judged.interval is not None:
        low, high = judged.interval
        texts = wording.counted(judged.tests, "random text")
        lines.append(
            f"By the {texts}: accuracy {judged.accuracy:.3f} (95 %: {low:.3f} to {high:.3f})"
        )
    else:
        lines.append("Accuracy: not known yet; it needs two classes, and random texts")
    if judged.gain is None:
        lines.append("What more labels would bring: not known yet")
    else:
        lines.append(
            f"{wording.counted(batch, 'more label')}: expected "
            f"{100 * judged.gain.value:+.1f} points of accuracy, "
            f"+- {100 * judged.gain.error:.1f}"
        )
    return lines


def _asked(job: LabelJob) -> tuple[list[Text], int]:
    """The texts of a job, or its pairs, each once, and how many are left out."""
    named = [name for name in (job.text, job.text_pair) if name is not None]
    if named and job.answers is None and reading.is_lines(file_of(job, job.data)):
        reading.refuse_columns(named, job.data)
    texts: list[Text] = read_texts(job.data, None, job, {})
    first = {same(text): text for text in reversed(texts) if not is_blank(text)}
    if not first:
        raise InputError(f"every text is blank; give some. Received: {job.data}")
    return [*reversed(first.values())], len(texts) - len(first)


def _are(count: int, one: str) -> str:
    """So many of something are, in words."""
    return f"{wording.counted(count, one)} {'is' if count == 1 else 'are'}"


def _classes(job: LabelJob) -> list[str] | None:
    """The classes that a job names, in their order; `None` where any may come."""
    if job.labels is None:
        return None
    names = [wording.class_name(name) for name in job.labels.split(",") if name.strip()]
    if len(names) < 2 or len(set(names)) < len(names):
        raise InputError(
            "`--labels` takes at least two classes that differ, with commas between. "
            f"Received: {job.labels}"
        )
    return names


def _task(job: LabelJob) -> Task:
    """The task that reads labels, which knows the classes if they are named."""
    if job.task not in TASKS:
        raise InputError(f"`--task` must be one of {', '.join(TASKS)}. Received: {job.task}")
    names = _classes(job)
    kind: Callable[..., Task] = TASKS[job.task]
    return kind(class_names=names) if names else kind()
