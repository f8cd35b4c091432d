"""The command line: parses and calls, and holds no logic.

Only the standard library is imported here at module level, so that `--help` answers at once;
TensorFlow is imported when a command needs it, with its start-up noise silenced.
"""

import argparse
import contextlib
import dataclasses
import json
import logging
import os
import select
import signal
import sys
import traceback
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from tfhub_transfer import __version__, backend, progress, ranges, streams
from tfhub_transfer.errors import InputError, one_line, visible
from tfhub_transfer.storage import interruption
from tfhub_transfer.usage import Parser, integer, real

_TASKS = (
    "classification",
    "multi-label",
    "regression",
    "token-classification",
    "question-answering",
    "extractive-summarization",
    "similarity",
    "multi-task",
)
# Times that an encoder that is taught sees each text.
_ENCODER_EPOCHS = 4
_MODEL = "what `train` wrote, or a .keras file"
_SOURCE = "a table as for training, or texts line by line: a .txt file, or standard input (default)"
# Options of `distill` that only one of its two kinds has.
_OF_ENCODERS = ("layers", "hidden", "vocabulary")
_OF_MODELS = (
    *("unlabelled", "temperature", "share", "validation", "test", "text_pair", "label", "encoder"),
    *("preprocessor", "unfreeze", "pooling", "block", "towers", "class_weights"),
    *("precision", "jit", "strategy"),
)
_LOSSES = ("cosine", "contrastive", "in_batch_negatives", "triplet")


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one command.

    Args:
        arguments: Words of the command line; those of the process if not given.

    Returns:
        The exit status: 0 done, 2 the user's mistake, 128 + its number after a signal, also the
        one that others get whose answers go into a closed pipe (141, as in `predict | head`), 1
        anything else. What writes files does so to the end, whether or not what it says is read.
    """
    with streams.regardless("stderr"), progress.shown(True):
        return _status(arguments)


def _status(arguments: Sequence[str] | None) -> int:
    try:
        with interruption.handled(), _plain_warnings():
            lost = _standard_streams()
            options = _parsed(sys.argv[1:] if arguments is None else arguments)
            if not _answers_on_stdout(options):
                with streams.regardless("stdout"), interruption.told_apart():
                    options.run(options)
                return 0
            if lost:
                raise InputError("nobody could read the answers: standard output is closed")
            with interruption.told_apart():
                options.run(options)
            sys.stdout.flush()
    except (InputError, OSError) as error:
        if _nobody_reads(error):
            return 128 + signal.SIGPIPE
        print(f"tfhub-transfer: error: {one_line(str(error))}", file=sys.stderr)
        return 2
    except KeyboardInterrupt as error:
        print("tfhub-transfer: interrupted", file=sys.stderr)
        return 128 + getattr(error, "number", signal.SIGINT)
    except Exception:  # a bug: the traceback is what a report of it needs
        traceback.print_exc()
        return 1
    return 0


@contextlib.contextmanager
def _plain_warnings() -> Iterator[None]:
    """Prints a warning as one line, without the line of code that it comes from."""
    usual = warnings.formatwarning
    warnings.formatwarning = _as_line
    try:
        yield
    finally:
        warnings.formatwarning = usual


def _as_line(message: Warning | str, *place: Any, **more: Any) -> str:
    return f"tfhub-transfer: warning: {one_line(str(message))}\n"


def _expanded(word: str) -> str:
    """`--output=~/x` as `--output ~/x`: shells leave the first, and a folder `~` would be made."""
    option, equals, value = word.partition("=")
    if option.startswith("--") and value.startswith("~/"):
        return f"{option}{equals}{os.path.expanduser(value)}"
    return word


def _standard_streams() -> bool:
    """Makes sure that there are three; says whether standard output was closed.

    A file that is opened next would get the number of one that is closed, and whatever is printed.
    """
    lost = sys.stdout is None
    while (opened := os.open(os.devnull, os.O_RDWR)) < 3:
        pass
    os.close(opened)
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, "w"))  # noqa: SIM115  it stays open
    return lost


def _answers_on_stdout(options: argparse.Namespace) -> bool:
    """Whether a command would work for nothing without standard output."""
    return options.run is _encoders or (
        options.run in (_encode, _predict) and options.output is None
    )


def _nobody_reads(error: Exception) -> bool:
    """Whether who read standard output has gone, as `head` does once it has enough.

    Other programs die of the signal then. Python ignores it and would complain at its exit about
    what is still to be written; that goes nowhere now.
    """
    if not isinstance(error, BrokenPipeError):
        return False
    try:
        number = sys.stdout.fileno()
    except (OSError, ValueError):
        return False
    state = select.poll()
    state.register(number, select.POLLOUT)
    if not any(event & select.POLLERR for _, event in state.poll(0)):
        return False
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, number)
    os.close(nowhere)
    return True


def _parser() -> argparse.ArgumentParser:
    parser = Parser(
        prog="tfhub-transfer",
        description="Transfer learning for text with TensorFlow Hub encoders in Keras 3: trains, "
        "measures, asks and exports models. Each command has its own --help.",
    )
    parser.add_argument("--version", action="version", version=f"%(prog)s {__version__}")
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")
    _add_demo(commands)
    _add_encoders(commands)
    _add_convert(commands)
    _add_train(commands)
    _add_distill(commands)
    _add_evaluate(commands)
    _add_predict(commands)
    _add_encode(commands)
    for command in commands.choices.values():
        command.set_defaults(command=command)
    return parser


def _parsed(arguments: Sequence[str]) -> argparse.Namespace:
    """The options; what is read may also stand behind some, `predict out --output a.csv in.csv`.

    `argparse` takes a position that may be empty for empty at the first option.
    """
    parser = _parser()
    options, rest = parser.parse_known_args([_expanded(word) for word in arguments])
    if hasattr(options, "source") and options.source is None:
        alone = len(rest) == 1 and (rest[0] == "-" or not rest[0].startswith("-"))
        options.source = rest.pop() if alone else "-"
    if rest:
        options.command.refuse(rest)
    return options


def _add_demo(commands: Any) -> None:
    command = commands.add_parser("demo", help="train, evaluate, export and ask a sample model")
    folder = "default: tfhub-transfer-demo; an earlier demo there is replaced"
    usual = Path("tfhub-transfer-demo")
    command.add_argument("--output", type=Path, default=usual, metavar="DIR", help=folder)
    command.set_defaults(run=_demo)


def _add_encoders(commands: Any) -> None:
    command = commands.add_parser("encoders", help="list the encoders that are known")
    command.add_argument("--json", action="store_true", help="as JSON")
    command.set_defaults(run=_encoders)


def _add_convert(commands: Any) -> None:
    command = commands.add_parser("convert", help="make a TF Hub encoder from other weights")
    what = "the folder of a Hugging Face BERT, or a text file of word vectors"
    command.add_argument("source", type=Path, metavar="SOURCE", help=what)
    command.add_argument("--output", type=Path, required=True, metavar="DIR", help="the encoder")
    methods = ("auto", "bert", "static", "vectors")
    said = "bert: whole; static: a table of word-piece vectors; vectors: of words; default: auto"
    command.add_argument("--method", default="auto", choices=methods, help=said)
    size = integer("--dimension", ranges.SIZE)
    command.add_argument("--dimension", type=size, metavar="N", help="of a static encoder")
    command.add_argument("--overwrite", action="store_true", help="replace the output folder")
    _add_trust(command)
    command.set_defaults(run=_convert)


def _add_train(commands: Any) -> None:
    command = commands.add_parser("train", help="train, evaluate and export a model")
    add = command.add_argument
    add("--task", required=True, choices=_TASKS)
    add(
        "--data",
        required=True,
        metavar="FILE",
        help="CSV, TSV, JSONL, CoNLL, Parquet or tfds:NAME/SPLIT; a JSON file of several tasks",
    )
    add("--validation", metavar="FILE", help="default: a tenth of the data")
    add("--test", metavar="FILE", help="default: a tenth of the data")
    folder = "model.keras, serving/, report/ and training.json"
    add("--output", type=Path, required=True, metavar="DIR", help=folder)
    add("--text", metavar="COLUMN", help="default: text, or text_a and text_b")
    add("--text-pair", metavar="COLUMN", help="the second text of each pair")
    third = "a third text, which doesn't belong to the first, for --loss triplet; default text_c"
    add("--negative", metavar="COLUMN", help=third)
    add("--label", metavar="COLUMN[,COLUMN]", help="default: label, or score; several of 0 and 1")
    separator = "between names in a label of several; default |"
    add("--label-separator", metavar="TEXT", help=separator)
    weight = "numbers that say how much each row teaches; measured, all rows count alike"
    add("--weight", metavar="COLUMN", help=weight)
    names = "classes, in the order of numbers as labels; needed where one is called NA"
    add("--class-names", metavar="NAME,NAME", help=names)
    loss = "of the similarity task: cosine (default) for scores, contrastive for 0 and 1, others "
    add("--loss", choices=_LOSSES, help=f"{loss}for texts that belong together, without labels")
    add("--alone", action="store_true", help="of several tasks train each alone too, to compare")
    add("--quick", action="store_true", help="the head alone, a report, no export: a first look")
    _add_form(command)
    _add_training(command)
    command.set_defaults(run=_train)


def _add_training(command: Any) -> None:
    """What `train` and `distill` have in common."""
    add = command.add_argument
    known = "or what `train` wrote; default: auto, packaged; `tfhub-transfer encoders` lists names"
    add("--encoder", default="auto", metavar="NAME|HANDLE|DIR", help=known)
    add("--preprocessor", metavar="HANDLE|DIR", help="default: the encoder's own")
    epochs, size = integer("--epochs", ranges.EPOCHS), integer("--batch-size", ranges.BATCH_SIZE)
    thawed = (
        "with a thawed encoder, after the head's own; default: as many as the rows need, from 4; 4 "
        "of an encoder that is taught"
    )
    add("--epochs", type=epochs, metavar="N", help=thawed)
    add("--batch-size", type=size, default=32, metavar="N", help="default 32")
    rate = real("--learning-rate", ranges.LEARNING_RATE)
    add("--learning-rate", type=rate, metavar="X", help="default: by task and encoder")
    add(
        "--unfreeze",
        default="auto",
        metavar="none|N|all|auto",
        help="groups of layers from the top",
    )
    length = integer("--sequence-length", ranges.SEQUENCE_LENGTH)
    usual = "most tokens of a text; default 256 or 384"
    add("--sequence-length", type=length, metavar="N", help=usual)
    add("--pooling", default="auto", help="auto, pooled_output, mean, first or attention")
    add("--block", default="none", help="over token vectors: none, cnn, bilstm or transformer")
    add("--towers", action="store_true", help="each text of a pair passes the encoder on its own")
    add("--class-weights", action="store_true", help="weigh rare classes more")
    add("--precision", default="auto", choices=("auto", "float32", "bfloat16"))
    add("--jit", default="auto", choices=("auto", "on", "off"), help="XLA")
    add("--strategy", default="auto", choices=("auto", "none", "mirrored"))
    add("--seed", type=integer("--seed", ranges.SEED), default=0, metavar="N", help="default 0")
    add("--overwrite", action="store_true", help="replace the output folder")
    _add_trust(command)


def _add_form(command: Any) -> None:
    """What can't be told of a file by itself."""
    add = command.add_argument
    how = "of tables: auto, standard, none, backslash, escapes, or the mark around fields"
    add("--quoting", default="auto", metavar="HOW", help=how)
    add("--delimiter", metavar="C", help="between fields; tab, or a character")
    add("--encoding", metavar="NAME", help="of texts, such as cp1252; default UTF-8")


def _file(options: argparse.Namespace, source: str) -> Any:
    from tfhub_transfer import data

    return data.File(source, options.quoting, options.delimiter, options.encoding)


def _add_trust(command: Any) -> None:
    command.add_argument(
        "--trust-code",
        action="store_true",
        help="load what could do more than compute; only from makers whom you trust",
    )


def _add_distill(commands: Any) -> None:
    command = commands.add_parser(
        "distill", help="make a smaller model that imitates trained ones, or a smaller encoder"
    )
    add = command.add_argument
    add(
        "teachers",
        nargs="+",
        metavar="TEACHER",
        help="folders that `train` wrote: a model is trained to answer as they do, together; or "
        "one encoder: a smaller one is trained to give the same vectors",
    )
    add("--data", required=True, metavar="FILE", help="labelled; for an encoder any texts")
    add("--output", type=Path, required=True, metavar="DIR")
    add("--text", metavar="COLUMN", help="default: text, or text_a and text_b")
    _add_form(command)
    models = command.add_argument_group("models")
    add = models.add_argument
    add("--unlabelled", metavar="FILE", help="more texts, for the teachers to answer")
    warmth, share = real("--temperature", ranges.TEMPERATURE, True), real("--share", ranges.SHARE)
    add("--temperature", type=warmth, default=2.0, metavar="X", help="of the answers; default 2")
    add("--share", type=share, default=0.7, metavar="X", help="weight of the teachers; default 0.7")
    add("--validation", metavar="FILE", help="default: a tenth of the data")
    add("--test", metavar="FILE", help="default: a tenth of the data")
    add("--text-pair", metavar="COLUMN", help="the second text of each pair")
    add("--label", metavar="COLUMN", help="default: the teacher's")
    _add_training(models)
    encoders = command.add_argument_group("encoders")
    add = encoders.add_argument
    layers, hidden = integer("--layers", ranges.LAYERS), integer("--hidden", ranges.SIZE)
    add("--layers", type=layers, default=3, metavar="N", help="of the student; default 3")
    add("--hidden", type=hidden, metavar="N", help="width of the student; default: the teacher's")
    pieces = integer("--vocabulary", ranges.SIZE)
    add("--vocabulary", type=pieces, metavar="N", help="word pieces to keep; default: all")
    command.set_defaults(run=_distill)


def _add_evaluate(commands: Any) -> None:
    command = commands.add_parser("evaluate", help="evaluate a trained model on a labelled file")
    command.add_argument("folder", type=Path, metavar="DIR", help=_MODEL)
    labelled = "labelled, as for training"
    command.add_argument("--data", dest="source", required=True, metavar="FILE", help=labelled)
    command.add_argument("--output", type=Path, required=True, metavar="DIR", help="the report")
    _add_columns(command)
    third = "a third text, as for training"
    command.add_argument("--negative", metavar="COLUMN", help=third)
    command.add_argument("--overwrite", action="store_true", help="replace the output folder")
    _add_form(command)
    _add_trust(command)
    command.set_defaults(run=_evaluate)


def _add_predict(commands: Any) -> None:
    command = commands.add_parser("predict", help="answer texts, beside the columns of their file")
    add = command.add_argument
    add("folder", type=Path, metavar="DIR", help=_MODEL)
    add("source", nargs="?", metavar="FILE|-", help=_SOURCE)
    add("--task", metavar="NAME", help="of a model of several tasks")
    _add_columns(command)
    formats = "a .jsonl, .csv, .tsv or .parquet file; default: JSON lines on stdout"
    add("--output", type=Path, metavar="FILE", help=formats)
    add("--overwrite", action="store_true", help="replace the output file")
    _add_form(command)
    _add_trust(command)
    command.set_defaults(run=_predict)


def _add_columns(command: Any) -> None:
    """Columns of a file that a trained model is to read."""
    add = command.add_argument
    add("--text", metavar="COLUMN", help="default: the training's, else text, or text_a and text_b")
    add("--text-pair", metavar="COLUMN", help="the second text of each pair")
    add("--label", metavar="COLUMN", help="default: the training's, else label, or score")


def _add_encode(commands: Any) -> None:
    command = commands.add_parser("encode", help="texts to vectors, as JSON lines or a .npy file")
    add = command.add_argument
    add("model", metavar="DIR|ENCODER", help="what `train` wrote, or an encoder")
    add("source", nargs="?", metavar="FILE|-", help=_SOURCE)
    add("--text", metavar="COLUMN", help="of a table; default: the training's, else text")
    add("--normalize", action="store_true", help="to length 1, so that products are cosines")
    add("--output", type=Path, metavar="vectors.npy", help="default: JSON lines on stdout")
    add("--overwrite", action="store_true", help="replace a .npy file that is there")
    _add_form(command)
    _add_trust(command)
    command.set_defaults(run=_encode)


def _demo(options: argparse.Namespace) -> None:
    _jobs().demo(options.output)


def _train(options: argparse.Namespace) -> None:
    jobs = _jobs()
    names = {field.name for field in dataclasses.fields(jobs.TrainJob)}
    jobs.train(jobs.TrainJob(**{k: v for k, v in vars(options).items() if k in names}))


def _distill(options: argparse.Namespace) -> None:
    jobs = _jobs()
    given = vars(options)
    of_models = any(jobs.is_model(teacher) for teacher in options.teachers)
    _refuse_others(options, _OF_ENCODERS if of_models else _OF_MODELS)
    if of_models:
        names = {field.name for field in dataclasses.fields(jobs.DistillJob)} & set(given)
        teachers = tuple(Path(teacher) for teacher in options.teachers)
        chosen = {**{name: given[name] for name in names}, "teachers": teachers}
        jobs.distill(jobs.DistillJob(task="", **chosen))
        return
    if len(options.teachers) > 1:
        raise InputError(
            "an encoder is distilled from one; name one, or several folders that `train` wrote. "
            f"Received: {' '.join(options.teachers)}"
        )
    names = {field.name for field in dataclasses.fields(jobs.EncoderJob)} & set(given)
    usual = jobs.EncoderSchedule
    schedule = usual(
        options.epochs or _ENCODER_EPOCHS,
        options.batch_size,
        options.learning_rate or usual.learning_rate,
        options.sequence_length or usual.sequence_length,
        seed=options.seed,
        verbose=1,
    )
    chosen = {name: given[name] for name in names}
    jobs.distill_encoder(jobs.EncoderJob(options.teachers[0], schedule=schedule, **chosen))


def _refuse_others(options: argparse.Namespace, names: Sequence[str]) -> None:
    """Refuses options of `distill` that would do nothing."""
    given = [n for n in names if getattr(options, n) != options.command.get_default(n)]
    if given:
        what = "an encoder" if names is _OF_ENCODERS else "models that `train` wrote"
        raise InputError(
            f"`--{given[0].replace('_', '-')}` is for distilling {what}; leave it out. "
            f"Received: {' '.join(options.teachers)}"
        )


def _evaluate(options: argparse.Namespace) -> None:
    jobs = _jobs()
    jobs.evaluate_folder(_asked(jobs, options))


def _predict(options: argparse.Namespace) -> None:
    jobs = _jobs()
    from tfhub_transfer import wording
    from tfhub_transfer.jobs import asking

    job = _asked(jobs, options)
    if job.output is not None:
        jobs.predict_to_file(job)
        return
    answers = jobs.predict(job)
    for answer in answers if sys.stdout.isatty() else asking.shown(answers):
        print(wording.json_line(answer), flush=True)
    jobs.say_notes(answers)


def _asked(jobs: Any, options: argparse.Namespace) -> Any:
    names = {field.name for field in dataclasses.fields(jobs.AskJob)}
    given = {**vars(options), "source": _file(options, options.source)}
    return jobs.AskJob(**{k: v for k, v in given.items() if k in names})


def _encode(options: argparse.Namespace) -> None:
    jobs = _jobs()
    from tfhub_transfer import encoding, wording

    chunks = encoding.encode_file(
        options.model,
        _file(options, options.source),
        options.text,
        options.normalize,
        options.trust_code,
    )
    if options.output:
        inputs = (options.model, options.source)
        count = encoding.write_vectors(chunks, options.output, options.overwrite, inputs)
        print(visible(f"Written to {options.output}: {count} vectors"))
    else:
        for texts, vectors in chunks:
            for text, vector in zip(texts, vectors.tolist()):
                print(wording.json_line({"text": text, "embedding": vector}), flush=True)
    jobs.say_notes(chunks)


def _convert(options: argparse.Namespace) -> None:
    with _quiet():
        from tfhub_transfer import conversion
    conversion.convert(
        options.source,
        options.output,
        options.method,
        options.dimension,
        options.overwrite,
        options.trust_code,
    )
    print(visible(f"Written to {options.output}"))


def _encoders(options: argparse.Namespace) -> None:
    from tfhub_transfer import registry

    encoders = registry.known_encoders()
    if options.json:
        print(json.dumps([dataclasses.asdict(encoder) for encoder in encoders], indent=1))
        return
    print(f"{'NAME':<46}{'DIALECT':<9}{'DIM':>5}{'LAYERS':>8}  {'LANGUAGE':<10}TOKENS")
    for e in encoders:
        layers = "-" if e.layers is None else str(e.layers)
        tokens = "yes" if e.has_token_vectors else "no"
        print(f"{e.name:<46}{e.dialect:<9}{e.dimension:>5}{layers:>8}  {e.language:<10}{tokens}")
    print("\nPackaged, with speed (texts a second, all-MiniLM-L6-v2 = 1) and test scores:")
    for e in (e for e in encoders if e.packaged):
        scores = ", ".join(f"{name} {score:.3f}" for name, score in e.scores.items())
        print(f"  {e.name}: {e.size_mb} MB, speed {e.speed or '-'}; {scores}")
    print("\nUse a name, its handle, or a folder with --encoder; --json gives the handles.")


def _jobs() -> Any:
    with progress.stage("Starting TensorFlow", final=False), _quiet():
        from tfhub_transfer.jobs import training

        training.runtime.start()
    return training


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Silences what TensorFlow's C++ side prints while it starts, before it can be configured."""
    backend.require_tensorflow()
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    sys.stderr.flush()
    saved = os.dup(2)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    try:
        yield
    finally:
        os.dup2(saved, 2)
        os.close(saved)
        os.close(nowhere)
        logging.getLogger("tensorflow").setLevel(logging.ERROR)
