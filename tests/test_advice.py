"""What errors advise helps: each mistake is made, and then literally what its message says.

What messages name between backquotes exists: arguments, options of commands, names of the package.
"""

import argparse
import ast
import functools
import inspect
import re
import types
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from mistakes import ELSEWHERE, HELD, MISTAKES, Kit, Mistake

import tfhub_transfer as tt
from tfhub_transfer import cli, tasks
from tfhub_transfer.tasks import (
    AbstractiveSummarization,
    Classification,
    Dialogue,
    ExtractiveSummarization,
    MultiLabel,
    MultiTask,
    OrdinalRegression,
    Regression,
    Similarity,
    TextGeneration,
    TokenClassification,
    Translation,
)

PACKAGE = Path(tt.__file__).parent


@pytest.fixture(scope="module")
def kit(make_encoder: Callable[[str], Path], tmp_path_factory: pytest.TempPathFactory) -> Kit:
    return Kit(make_encoder, tmp_path_factory.mktemp("advice"))


@pytest.mark.parametrize("row", MISTAKES, ids=lambda row: row.says[:40])
def test_what_an_error_advises_helps(row: Mistake, kit: Kit) -> None:
    with pytest.raises(tt.InputError) as caught:
        row.wrong(kit)
    pattern = ".+".join(map(re.escape, row.says.split("{}")))
    assert re.search(pattern, str(caught.value)) and "Received: " in str(caught.value)
    for mended in row.mended:
        mended(kit)


WRITERS = (Translation, AbstractiveSummarization, Dialogue, TextGeneration)
WORDS = tasks.TargetVocabulary.learn(["ein Haus", "zwei Bäume"])
LEARNED: list[tuple[Any, dict[str, Any], list[Any]]] = [
    (Classification, {"class_names": ["a", "b"]}, ["a", "b"]),
    (MultiLabel, {"class_names": ["a", "b"]}, [["a"], ["a", "b"]]),
    (OrdinalRegression, {"class_names": ["low", "high"]}, [1, 2]),
    (TokenClassification, {"class_names": ["O", "B-x"]}, [["O", "B-x"]]),
    (Regression, {"mean": 0.0, "deviation": 1.0}, [0.0, 1.0]),
    (Similarity, {"low": 0.0, "high": 1.0}, [0.0, 1.0]),
    (ExtractiveSummarization, {"sentences": 1}, ["a"]),
    *((kind, {"vocabulary": WORDS, "answer_length": 8}, ["ein Haus"]) for kind in WRITERS),
]


@pytest.mark.parametrize(("kind", "given", "labels"), LEARNED, ids=lambda x: getattr(x, "name", ""))
def test_a_task_asks_for_its_own_arguments(kind: Any, given: Any, labels: Any) -> None:
    assert {each[0] for each in LEARNED} == {k for k in tasks.TASKS.values() if not k().is_adapted}
    with pytest.raises(tt.InputError, match=f"the {kind.name} task doesn't know its") as caught:
        tt.build_model("auto", kind())
    assert set(re.findall(r"`(\w+)=\.\.\.`", str(caught.value))) == set(given)
    assert "`task.adapt(train.labels)`" in str(caught.value)
    assert str(caught.value).endswith(f"Received: {kind.__name__}()")
    kind(**given).require_adapted()
    kind().adapt(labels).require_adapted()
    with pytest.raises(tt.InputError, match=f"task 'one': the {kind.name} task doesn't know its"):
        MultiTask.require_adapted(types.SimpleNamespace(tasks={"one": kind()}))  # type: ignore[arg-type]


def test_half_of_what_a_task_must_know_is_said() -> None:
    with pytest.raises(tt.InputError, match=re.escape("Received: Regression(mean=2.0)")):
        tt.build_model("auto", Regression(mean=2.0))


# What messages name -------------------------------------------------------------------------------


@functools.cache
def _tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text("utf-8"))


def _written(node: ast.AST) -> str:
    """A string of a source, with `{}` for what is filled in."""
    if isinstance(node, ast.Constant):
        return node.value if isinstance(node.value, str) else ""
    if isinstance(node, ast.JoinedStr):
        return "".join(_written(part) for part in node.values)
    return "{}" if isinstance(node, ast.FormattedValue) else ""


def _calls(pattern: str) -> Iterator[tuple[str, str]]:
    """Every `InputError` of some modules: its place, and its message."""
    for path in sorted(PACKAGE.glob(pattern)):
        for node in ast.walk(_tree(path)):
            if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "InputError":
                place = f"{path.relative_to(PACKAGE)}:{node.lineno}"
                yield place, "".join(map(_written, node.args))


def test_every_error_has_a_row() -> None:
    said = [row.says for row in MISTAKES]
    missing = [
        f"{place}: {text}"
        for pattern in HELD
        for place, text in _calls(pattern)
        if not any(each in text for each in (*said, *ELSEWHERE))
        and re.sub(r"Received: |label|task|row|of|\W", "", text)  # passes on what another says
    ]
    assert not missing, "\n".join(missing)
    texts = [text for pattern in HELD for _, text in _calls(pattern)]
    unused = [each for each in (*said, *ELSEWHERE) if not any(each in text for text in texts)]
    assert not unused, "no such errors any more"


# What a message may name that is none of this package's: of data, of files, of other libraries.
FOREIGN = {
    *("keras.optimizers.AdamW(1e-4)", "preprocessor(tuple(examples.texts))"),
    *("keras.metrics.BinaryAccuracy()", "scope_score"),
    *("_", "-", "*?[]", "root", "assets", "kind", "negation", "alpha", "tasks", "data", "tokens"),
    *("train.{en,de}", "tmx", "tu", "tuv", "xml:lang"),
    *("tags", "text_a", "text_b", "text_c", "question", "context", "serving_default", "_words"),
    *("is_impossible", "dialect", "__call__", "tokenize", "get_special_tokens_dict", "name"),
    *("repeat", "from_generator", "output_signature", "tf.ensure_shape", "tf.data.Dataset"),
    *(
        "tf.saved_model.save",
        "keras.saving.load_model",
        "gradient_accumulation_steps",
        "to_feather",
        "search",  # of KerasTuner's tuners
        "search(epochs=...)",
    ),
    *("safe_mode=False", 'to_json(orient="records", lines=True)', "to_parquet", "write.csv"),
    *(
        "Doc.to_json()",
        '" ".join(words)',
        "unicodedata.normalize",
        "str(label)",
        "list(zip(first, second))",
    ),
    *("labels.argmax(axis=1)", "git lfs pull", "iconv -t UTF-8", "ulimit -f"),
    *("pip install 'tfhub-transfer[kaggle]'", "pip install 'tfhub-transfer[completion]'"),
    *("python -m pip install pyarrow", "pip install 'tfhub-transfer[beam]'"),
    *("pip install 'tfhub-transfer[serve]'", "_{}"),
    "pip install 'tfhub-transfer[onnx]'",
    *("cluster", "type", "index", 'pip install "tfhub-transfer[tpu]"'),
    'pip install --force-reinstall --no-deps "tensorflow-tpu==2.20.*"',
    *("zip -0 -r ../model.keras .", "{name: task}", "encode", "pooled_output", "train"),
    *(":]*: (?=", "{} --help"),  # of patterns, and of any command
    *(".csv", ".json", ".jsonl", ".conll", ".keras", ".npy", ".tsv", ".name"),
    *("val_", "history.history", "save_best_only", ".str.decode('utf-8')", "COLUMN.{}", "tf.stack"),
    "restore_best_weights",
    *("(firsts, seconds)", "preprocessor((firsts, seconds))", "dataset.map(preprocessor)"),
    'keras.Input((), dtype="string")',
    *("pyarrow.Table", 'pyarrow.dataset.dataset(path, partitioning="hive")'),
}


def _said() -> Iterator[tuple[str, str, set[str]]]:
    """What stands between backquotes in strings of the package.

    Yields:
        Its place, the text, and names of what the module has for users of its own.
    """
    for path in sorted(PACKAGE.rglob("*.py")):
        tree = _tree(path)
        parts = {
            id(part)
            for node in ast.walk(tree)
            if isinstance(node, ast.JoinedStr)
            for part in ast.walk(node)
            if part is not node
        }
        docs = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
        beside = [path] if path.parent == PACKAGE else path.parent.glob("*.py")
        own = {name for each in beside for name in _public_names(each)}
        for node in ast.walk(tree):
            if isinstance(node, ast.Constant | ast.JoinedStr) and id(node) not in parts | docs:
                for text in re.findall(r"`([^`\\]+)`", _written(node)):
                    yield f"{path.relative_to(PACKAGE)}:{node.lineno}", text, own


@functools.cache
def _public_names(path: Path) -> frozenset[str]:
    """Names of a module's functions, their arguments, and fields of classes."""
    found: set[str] = set()
    for node in ast.walk(_tree(path)):
        if isinstance(node, ast.FunctionDef | ast.ClassDef) and not node.name.startswith("_"):
            found.add(node.name)
            if isinstance(node, ast.FunctionDef):
                found |= {each.arg for each in (*node.args.args, *node.args.kwonlyargs)}
            else:
                fields = [each for each in node.body if isinstance(each, ast.AnnAssign)]
                found |= {ast.unparse(each.target) for each in fields}
    return frozenset(found)


@functools.cache
def _commands() -> dict[str, argparse.ArgumentParser]:
    actions = cli._parser()._actions
    [found] = [a for a in actions if isinstance(a, argparse._SubParsersAction)]
    return dict(found.choices)


@functools.cache
def _signatures() -> str:
    return (Path(__file__).parent / "public_api.txt").read_text("utf-8")


def _is_argument(name: str) -> bool:
    """Whether something public takes an argument of this name, or is called so."""
    return bool(re.search(rf"[(, ]{name}[=,)]|\.{name}\b", _signatures()))


def _takes(option: str, value: str, command: argparse.ArgumentParser) -> bool:
    action = command._option_string_actions.get(option)
    if action is None or not value:
        return action is not None
    return action.nargs != 0 and (not action.choices or value in (*action.choices, "{}"))


def _is_call(text: str) -> bool:
    """Whether a name of the package, or a call of one, could be written so."""
    owners = {"model": tt.TransferModel, "task": tasks.Task, "train": tt.data.Examples}
    owners |= {"encoder": tt.Encoder}
    name, bracket, arguments = text.removeprefix("tt.").partition("(")
    first, *rest = name.split(".")
    found: Any = {**owners, "tfhub_transfer": tt}.get(first) or getattr(tt, first, None)
    for part in rest:
        found = getattr(found, part, None)
    if found is None or not bracket:
        return found is not None
    # Of calls within calls the outer one's names come after the inner ones are gone.
    while (alone := re.sub(r"\w[\w.]*\([^()]*\)", "x", arguments)) != arguments:
        arguments = alone
    given = re.findall(r"(\w+)=", arguments.partition(")")[0])
    takes = inspect.signature(found).parameters
    anything = any(each.kind is each.VAR_KEYWORD for each in takes.values())
    return anything or set(given) <= set(takes)


def _exists(text: str, own: set[str]) -> bool:
    if text in FOREIGN | own | {*_commands()} or not text.replace("{}", "").strip("-=.[]() "):
        return True
    option, _, value = text.partition(" ")
    if text.startswith("--"):
        return any(_takes(option, value, command) for command in _commands().values())
    if text.startswith("tfhub-transfer "):
        command, *words = value.split()
        options = [word for word in words if word.startswith("--")]
        return command in _commands() and all(_takes(o, "", _commands()[command]) for o in options)
    name, equals, _ = text.partition("=")
    return (
        _is_argument(name) if name.isidentifier() and (equals or name == text) else _is_call(text)
    )


def test_what_messages_name_exists() -> None:
    strange = [f"{place}: `{text}`" for place, text, own in _said() if not _exists(text, own)]
    assert not strange, "\n".join(strange)
    for text in ("--foo", "tfhub-transfer trane", "data.reed(file)", "odd=True"):
        assert not _exists(text, set())


def test_every_message_says_what_was_received() -> None:
    passes_on = ("{}: {}", "label {}: {}", "task {}: {}", "row {} of {}: {}", "{}, row {}: {}", "")
    others = ("standard output is closed", "lists what there is", "file itself ({})")
    silent = [
        f"{place}: {text}"
        for place, text in _calls("**/*.py")
        if "Received: " not in text and text not in passes_on and not text.endswith(others)
    ]
    assert not silent, "\n".join(silent)
