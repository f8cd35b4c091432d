"""What jobs read: files to splits, and the task that suits them."""

import contextlib
import dataclasses
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias, TypedDict, cast

from tfhub_transfer import data, progress
from tfhub_transfer.data import reading
from tfhub_transfer.data.named_cells import OR_BLANK
from tfhub_transfer.errors import InputError, RowError, placed
from tfhub_transfer.heads.settings import Head
from tfhub_transfer.incoming import usual, values
from tfhub_transfer.jobs.options import declaring
from tfhub_transfer.jobs.options.declaring import Form
from tfhub_transfer.jobs.options.training import TrainJob
from tfhub_transfer.jobs.three_splits import JointSplits, Splits
from tfhub_transfer.models.encoding import ColumnNames, Record
from tfhub_transfer.storage import opening, records
from tfhub_transfer.tasks import TASKS, MultiTask, Task, layouts
from tfhub_transfer.tasks.several.task import check_names

# Bytes that a file of several tasks may have.
_MOST_SETTINGS = 1_000_000
# Of a file of which validation or test is given apart.
_WITHOUT_ONE = (0.9, 0.1)
# Rows that tell what form data have.
_LOOKED_AT = 100
_COLUMNS = tuple(ColumnNames.__annotations__)
_FORM = declaring.names_of(Form)
_FILES: tuple[str, ...] = ("data", "validation", "test")
# What a file of several tasks may say about each, and about all.
_SAID = ("loss", "label_separator", "class_names", "weight")
_OF_TASK = {"task", *_FILES, *_SAID, *_COLUMNS, *_FORM}
_OF_ALL = {"tasks", "weights", "alpha"}
# What of several tasks those heed that have it, and which these are.
_OWNERS = {
    "label_smoothing": "tasks of classes or texts",
    **dict.fromkeys(("decoder_layers", "vocabulary_size", "answer_length"), "tasks of texts"),
}
# What is an argument of some tasks, by the same name; and other options that only some have.
_ARGUMENTS = ("label_separator", "loss", "copies", *_OWNERS)
_OF_SOME = ("negative", "class_weights", *_ARGUMENTS)
# As a record has them.
Columns: TypeAlias = ColumnNames | Mapping[str, ColumnNames]
# What the command line can't say for several tasks at once.
_ALONE = (
    *("validation", "test", *_SAID, "class_weights", "towers"),
    *_COLUMNS,
)


class Settings(TypedDict, total=False):
    """What a file of several tasks says."""

    tasks: dict[str, dict[str, str]]
    weights: dict[str, float] | str | None
    alpha: float


@dataclasses.dataclass(frozen=True)
class Joint:
    """What the file of several tasks says, read once.

    Attributes:
        jobs: The job of each task.
        weights: How much each counts, if that is said.
        alpha: How much larger ones count more.
    """

    jobs: dict[str, TrainJob]
    weights: dict[str, float] | str | None
    alpha: float


def joint_of(job: TrainJob) -> Joint | None:
    """What the file of several tasks says; `None` of a job that has one task.

    Args:
        job: The job.

    Raises:
        InputError: If the file is unusable.
    """
    if job.task != MultiTask.name:
        return None
    settings = _settings(job.data)
    jobs = _jobs_of_tasks(job, settings["tasks"])
    return Joint(jobs, settings.get("weights"), settings.get("alpha", 1.0))


@progress.stage("Reading", final=False)
def read_splits(job: TrainJob, joint: Joint | None = None) -> tuple[Splits | JointSplits, Task]:
    """Reads a job's files, takes from the first what no other was given for, and adapts the task.

    Args:
        job: The job; of `multi-task`, whose data are a file that names those of each task.
        joint: What that file says, where it was read already.

    Raises:
        InputError: If a file or an option is unusable.
    """
    if job.task != MultiTask.name:
        _check_alone(job, 0)
        _require_one_task(job.data)
        return _read(job)
    odd = [name for name in _ALONE if getattr(job, name)]
    if odd:
        raise InputError(
            "the files and columns of several tasks are said in the JSON file, for each; class "
            "weights and towers are for one task: leave the option out. "
            f"Received: {', '.join('--' + name.replace('_', '-') for name in odd)}"
        )
    joint = joint or joint_of(job)
    assert joint is not None
    _check_alone(job, len(joint.jobs))
    read = {}
    for name, own in joint.jobs.items():
        try:
            read[name] = _read(own)
        except InputError as error:
            raise InputError(f"{name}: {error}") from error
    tasks = {name: own for name, (_, own) in read.items()}
    task = MultiTask(tasks, joint.weights, joint.alpha)
    return JointSplits.of({name: splits for name, (splits, _) in read.items()}), task


def _check_alone(job: TrainJob, tasks: int) -> None:
    """Refuses a comparison in which nothing would be compared."""
    if not job.alone:
        return
    if tasks < 2:
        said = "one" if tasks else f"--task {job.task}"
        raise InputError(
            "`--alone` trains each of several tasks alone too, to compare: it is for multi-task, "
            f"and at least two of them; leave it out. Received: {said}"
        )
    if job.unfreeze in ("none", "0"):
        raise InputError(
            "while the encoder stays frozen tasks share nothing that learns, and each is as good "
            "alone: leave one of `--alone` and `--quick`, or `--unfreeze none`, out. Received: both"
        )


@progress.stage("Reading", final=False)
def read_labelled(
    source: str | data.File, task: Task, columns: Columns
) -> data.Examples | Mapping[str, data.Examples]:
    """Reads labelled examples to measure a trained model on.

    Args:
        source: A table, or for several tasks a file that names the data of each.
        task: The model's task.
        columns: Names of columns as `columns_of` gave them.

    Raises:
        InputError: If a file is unusable or doesn't suit the task.
    """
    if task.several:
        read_so = {n: getattr(source, n) for n in _FORM} if isinstance(source, data.File) else {}
        source = str(source)
        given = _settings(source)["tasks"]
        task.apart(given)  # which refuses other names
        read = {}
        for name, own in task.parts.items():
            named = {key: value for key, value in given[name].items() if key in _COLUMNS}
            form = {**read_so, **{k: v for k, v in given[name].items() if k in _FORM}}
            file = data.File(_beside(source, given[name]["data"]), **form)
            known = cast(Mapping[str, ColumnNames], columns).get(name, {})
            read[name] = _read_labelled(file, own, cast(ColumnNames, {**known, **named}))
        return read
    return _read_labelled(source, task, cast(ColumnNames, columns))


def _read_labelled(source: str | data.File, task: Task, columns: ColumnNames) -> data.Examples:
    _require_one_task(str(source))
    examples = data.read(source, **columns, require_label=_need(task))
    layouts.find(task).check(examples)
    task.check(examples)
    return examples


def training_split(record: Record) -> data.Examples | Mapping[str, data.Examples] | None:
    """The training split again, for the baselines, if its file is still there.

    Args:
        record: What `train` recorded.
    """
    try:
        names = {field.name for field in dataclasses.fields(TrainJob)}
        given: dict[str, Any] = {k: v for k, v in record["arguments"].items() if k in names}
        # An output is asked of every job; nothing is written.
        job = TrainJob(**{**given, "output": Path()})
        joint = joint_of(job)
        if any(map(reading.would_download, sources(job, joint))):
            return None
        return read_splits(job, joint)[0].train
    except (ValueError, LookupError, TypeError, AttributeError, OSError):
        return None  # the record may be from elsewhere, where such a file was


def sources(job: TrainJob, joint: Joint | None = None) -> list[str]:
    """What a job reads: its files, those that a file of several tasks names among them.

    Args:
        job: The job.
        joint: As for `read_splits`.

    Raises:
        InputError: If a file of several tasks is unusable.
    """
    found = [job.data, *_given(job).values()]
    joint = joint or joint_of(job)
    for own in joint.jobs.values() if joint else ():
        found += [own.data, *_given(own).values()]
    return found


def columns_of(job: TrainJob, joint: Joint | None = None) -> Columns:
    """The names of columns that a job gives; of each task, if there are several.

    Args:
        job: The job.
        joint: As for `read_splits`.
    """
    joint = joint or joint_of(job)
    if joint is not None:
        return {name: _named_columns(own) for name, own in joint.jobs.items()}
    return _named_columns(job)


def _named_columns(job: TrainJob) -> ColumnNames:
    given = {name: value for name, value in _columns(job).items() if value is not None}
    return cast(ColumnNames, given)


def _settings(source: str) -> Settings:
    """Reads and checks a file of several tasks."""
    expected = (
        'expected a JSON file {"tasks": {"name": {"task": "classification", "data": "file.csv"}}}'
    )
    try:
        text = opening.read_text(opening.path_of(source))
        settings = json.loads(text, object_pairs_hook=records.once)
    except (OSError, ValueError) as error:
        raise InputError(f"{expected}. Received: {source} ({error})") from error
    tasks = settings.get("tasks") if isinstance(settings, dict) else None
    if not isinstance(tasks, dict) or not set(settings) <= _OF_ALL:
        raise InputError(f"{expected}, and `weights` and `alpha`. Received: {str(settings)[:80]}")
    check_names(tasks)
    for name, own in tasks.items():
        known = isinstance(own, dict) and {"task", "data"} <= set(own) <= _OF_TASK
        if not known or not all(isinstance(value, str) for value in own.values()):
            raise InputError(
                f"each task has `task` and `data`, and may have {', '.join(sorted(_OF_TASK))}, all "
                "of them strings. "
                f"Received: {name} with {str(own)[:80]}"
            )
    return cast(Settings, settings)


def _require_one_task(source: str) -> None:
    """Refuses a file that says where those of several tasks are, where one task's is wanted."""
    path = Path(source)
    if path.suffix != ".json" or not path.is_file() or path.stat().st_size > _MOST_SETTINGS:
        return
    try:
        _settings(source)
    # Then it may be data, as JSON is too.
    except InputError:
        return
    raise InputError(
        "this file names those of several tasks; give `--task multi-task`, or one of the files. "
        f"Received: {source}"
    )


def _jobs_of_tasks(job: TrainJob, tasks: dict[str, dict[str, str]]) -> dict[str, TrainJob]:
    """A job for each task of a file; names of files in it are beside it."""
    made = {}
    for name, own in tasks.items():
        files = {k: _beside(job.data, own[k]) for k in _FILES if k in own}
        # Of the command's own only the form of files goes for all of them.
        said: dict[str, Any] = {**dict.fromkeys(_OF_TASK - {"data", *_FORM}), **own, **files}
        # Those that have such an option heed it.
        said |= {option: None for option in _OWNERS if not _heeds(own["task"], option)}
        made[name] = dataclasses.replace(job, **said)
    for option in _OWNERS:
        heeds = any(_heeds(own["task"], option) for own in tasks.values())
        if getattr(job, option) is not None and not heeds:
            told = f"--{option.replace('_', '-')}"
            raise InputError(
                f"`{told}` is for {_OWNERS[option]}, of which there is none here; leave it out. "
                f"Received: {told} and {', '.join(own['task'] for own in tasks.values())}"
            )
    return made


def _heeds(task: str, option: str) -> bool:
    return task in TASKS and option in TASKS[task].options


def _beside(source: str, name: str) -> str:
    return name if name.startswith("tfds:") else str(Path(source).parent / name)


def _read(job: TrainJob) -> tuple[Splits, Task]:
    task = _task(job)
    columns, need = _columns(job), _need(task)
    read = data.read(file_of(job, job.data), **columns, require_label=need, weight=job.weight)
    _require_suited(read, task)
    examples = _plain(read, task)
    others = {}
    for name, source in _given(job).items():
        # Without weights: what a model is judged by and measured on counts alike.
        other = data.read(file_of(job, source), **columns, require_label=need)
        others[name] = _plain(other, task)
    splits = _split(examples, others, job)
    if task.one_row:
        task.pair = examples.is_pair
    layout = layouts.find(task, head_of(job))
    for split in vars(splits).values():
        layout.check(split)
        if task.is_adapted and task.needs_labels:
            task.check(split)  # which names rows
    if task.needs_labels:
        task.adapt(splits.train.labels)
    for split in (splits.train, splits.validation):
        task.check_training(split)
    task.check(splits.test)
    return splits, task


def _require_suited(examples: data.Examples, task: Task) -> None:
    """Refuses data of a form that another task has, which would be learned as something else."""
    if examples.target is None or examples.target not in examples.columns:
        return
    texts, labels = examples.texts[0][:_LOOKED_AT], examples.labels[:_LOOKED_AT]
    found = next((kind for kind in TASKS.values() if kind.claims(texts, labels)), None)
    if found is not None and not task.reads_like(found):
        raise InputError(
            f"these are {found.claimed}: give `--task {found.name}`, or name other columns with "
            f"`--text` and `--label`. Received: {examples.source} for --task {task.name}"
        )


def _plain(examples: data.Examples, task: Task) -> data.Examples:
    """Examples that part, count and read alike from whatever form of label they were."""
    if examples.target is None or not task.needs_labels:
        return examples
    with placed(examples):
        try:
            labels = list(task.read_labels(examples.labels))
        except RowError:
            raise
        except InputError as error:
            raise InputError(f"{examples.source}: {error}") from error
    columns = {**examples.columns, examples.target: labels}
    return dataclasses.replace(examples, columns=columns)


def file_of(job: Form, source: str) -> data.File:
    """A file of a job, with what its options say of the form.

    Args:
        job: A job with the options `quoting`, `delimiter` and `encoding`.
        source: The file's name.
    """
    return data.File(source, **{name: getattr(job, name) for name in _FORM})


@contextlib.contextmanager
def undescribed(source: str, options: Sequence[str], expected: str) -> Iterator[None]:
    """While a file is read that options of a command don't describe: none of these is advised.

    Args:
        source: The file's name.
        options: They, as `--text`.
        expected: What is said in the place of a message that names an option.

    Raises:
        InputError: If the file is unusable.
    """
    try:
        yield
    except InputError as error:
        if not any(f"`{option}" in str(error) for option in options):
            raise
        said, _, received = str(error).partition("Received: ")
        if said.startswith(source):
            place = said.partition(": ")[0].partition("; ")[0]
            received = place if received in place else f"{place}: {received}"
        elif source not in received:
            received = f"{source}: {received}"
        raise InputError(f"{expected}. Received: {received}") from error


@progress.stage("Reading", final=False)
def read_texts(source: str, pair: bool | None, job: Form, known: Mapping[str, str]) -> list[Any]:
    """The texts of a table, or of the lines of a `.txt` file; pairs as tuples.

    Args:
        source: The file's name.
        pair: Whether there are two texts to each; `None` if the table's columns tell.
        job: A job that may name columns, and with the options of `file_of`.
        known: What columns are called that the job doesn't name, if the table has them.

    Raises:
        InputError: If the file is unusable, or has other columns.
    """
    file = file_of(job, source)
    trained_on = {n: known[n] for n in ("text", "text_pair") if n in known}
    asked = {name: getattr(job, name, None) for name in ("text", "text_pair")}
    given: dict[str, str] = {n: column for n, column in asked.items() if column is not None}
    named = {**trained_on, **given}
    if reading.is_lines(file, reading.pair_columns([*named.values()]) if pair else ()):
        chunks: Iterable[Sequence[object]] = reading.line_chunks(file, bool(pair))
    else:
        table = reading.Table(file, reading.Asked(labels=False))
        has_usual = all(map(table.holds, trained_on.values()))
        columns = cast(ColumnNames, named if has_usual else given)
        read = data.stream(table, **columns, require_label=False)
        if pair is None:
            pair = read.is_pair
        if read.is_pair != pair:
            wanted = "one column of texts: name it with `--text`"
            wanted = "pairs: name both columns with `--text`, `--text-pair`" if pair else wanted
            raise InputError(f"expected {wanted}. Received: {read.source} with other columns")
        chunks = (list(zip(*c.texts)) if pair else list(c.texts[0]) for c in read)
    return [text for chunk in chunks for text in chunk]


def _task(job: TrainJob) -> Task:
    if job.task not in TASKS:
        raise InputError(f"`--task` must be one of {', '.join(TASKS)}. Received: {job.task}")
    kind = TASKS[job.task]
    names = _class_names(job, kind)
    for option in _OF_SOME:
        if getattr(job, option) not in (None, False) and option not in kind.options:
            told = f"--{option.replace('_', '-')}"
            owners = [name for name, each in TASKS.items() if option in each.options]
            of = f"{owners[0]} task" if len(owners) == 1 else f"tasks {', '.join(owners)}"
            raise InputError(
                f"`{told}` is for the {of}; leave it out. Received: {told}, --task {job.task}"
            )
    given = {"class_names": names, **{name: getattr(job, name) for name in _ARGUMENTS}}
    # Where a flag isn't said, a task without it isn't told of it.
    return kind(**{n: value for n, value in given.items() if not (value is None or value is False)})


def _class_names(job: TrainJob, kind: type[Task]) -> list[object] | None:
    """The names of classes that a job gives, in their order."""
    given = job.class_names
    if given is None:
        return None
    if "class_names" not in kind.options:
        raise InputError(
            f"the {job.task} task has no classes; leave `--class-names` out. Received: {given}"
        )
    if not isinstance(given, str):
        return list(given)
    return values.written(given) or [name.strip() for name in given.split(",")]


def _need(task: Task) -> bool | str:
    """Whether files of a task must have labels; blank is no class where there may be none."""
    return OR_BLANK if task.takes_blank else task.needs_labels


def head_of(job: TrainJob) -> Head:
    """The head that a job asks for."""
    names = ("pooling", "block", "towers", "hidden_units", "dropout", "l2")
    return Head(**{name: getattr(job, name) for name in names})


def _columns(job: TrainJob) -> ColumnNames:
    given = {name: getattr(job, name) for name in _COLUMNS}
    own = TASKS[job.task].usual_columns if job.task in TASKS else {}
    if not any(given[name] for name in own if name != "label"):
        given = {name: own.get(name) if each is None else each for name, each in given.items()}
    return cast(ColumnNames, given)


def _given(job: TrainJob) -> dict[str, str]:
    files = {"validation": job.validation, "test": job.test}
    return {name: file for name, file in files.items() if file is not None}


def _split(examples: data.Examples, others: dict[str, data.Examples], job: TrainJob) -> Splits:
    """Takes from the training file what no file was given for."""
    missing = [name for name in ("validation", "test") if name not in others]
    if not missing:
        return Splits(examples, **others)
    fractions = usual.SPLIT if len(missing) == 2 else _WITHOUT_ONE
    kept = TASKS[job.task].kept_together if job.task in TASKS else None
    together = kept if kept in examples.columns else None
    # Answers that come again, as in conversations, are no classes of which each part has a share.
    written = job.task in TASKS and TASKS[job.task].search is not None
    train_part, *parts = data.split(
        examples, fractions, seed=job.seed, stratify=not written, together=together
    )
    return Splits(train_part, **others, **dict(zip(missing, parts)))
