"""Rooms on floors, size budgets, names, docstrings: read from the source, nothing is imported."""

import ast
import re
import statistics
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[1]
PACKAGE = REPOSITORY / "tfhub_transfer"

# A room is a module or a folder of the package. It may import rooms on lower floors only, and rooms
# on one floor never import each other. A new module needs a line here: choose its floor first.
FLOORS = {
    "errors": 0,
    "backend": 1,
    "catalogue": 2,
    "fetching": 2,
    "data": 4,
    "graph": 1,
    "products": 1,
    "optimizers": 2,
    "metrics": 2,
    "outliers": 2,
    "plots": 2,
    "answers": 3,
    "answer_evaluation": 4,
    "forms": 2,
    "reading": 3,
    "named_cells": 3,
    "registry": 3,
    "served": 4,
    "rewriting": 2,
    "runtime": 2,
    "resuming": 3,
    "compiling": 3,
    "trainers": 3,
    "judging": 9,
    "headlines": 7,
    "planning": 9,
    "full_precision": 3,
    "schedules": 2,
    "tagging": 2,
    "sentences": 2,
    "selection": 2,
    "rouge": 2,
    "similarity_evaluation": 3,
    "word_evaluation": 4,
    "summary_evaluation": 4,
    "reports": 4,
    "histories": 1,
    "paired": 3,
    "joint_reports": 5,
    "tasks": 4,
    "batching": 2,
    "storage": 1,
    "saving": 2,
    "hub_format": 3,
    "huggingface": 4,
    "loading": 3,
    "encoder": 4,
    "heads": 5,
    "preprocessing": 5,
    "streamed": 5,
    "boundary": 7,
    "layouts": 6,
    "models": 8,
    "callbacks": 5,
    "own_callbacks": 6,
    "hub_preprocessors": 6,
    "fitting": 7,
    "stages": 5,
    "conversion": 8,
    "multitask": 9,
    "builders": 10,
    "encoding": 11,
    "evaluation": 10,
    "finetuning": 10,
    "serving": 10,
    "recipes": 11,
    "tuning": 11,
    "jobs": 12,
    "__init__": 13,
    "usage": 13,
    "cli": 14,
    "__main__": 15,
    "wire": 1,
    "savers": 1,
    "safety": 2,
    "records": 2,
    "recorded": 3,
    "probes": 3,
    "variable_groups": 3,
    "encoder_calls": 2,
    "given_texts": 3,
    "preprocessor_layer": 6,
    "archives": 4,
    "ranges": 1,
    "selecting": 1,
    "wording": 1,
    "weighing": 1,
    "usual_columns": 3,
    "writing": 2,
    "seen": 1,
    "vocabulary_fit": 6,
    "cautions": 9,
    "values": 0,
    "text_forms": 3,
    "streams": 0,
    "progress": 0,
    "epochs": 5,
    "history_table": 6,
    "training_history": 9,
    "tracing": 1,
    "label_columns": 2,
    "profiling": 3,
    "standings": 1,
    "operating_points": 2,
    "confidence_bins": 2,
    "groups": 3,
    "entity_outcomes": 3,
    "predictions": 3,
    "particulars": 9,
    "pages": 3,
}
# The floors inside a folder; a folder that is not here has all its modules on one floor (recipes
# never know one another), and its `__init__` above them.
INNER_FLOORS = {
    "storage": {
        "names": 0,
        "opening": 0,
        "scratch": 0,
        "interruption": 1,
        "marks": 1,
        "budget": 1,
        "segments": 1,
        "atomic": 2,
        "stores": 2,
        "downloads": 2,
        "keeping": 3,
        "__init__": 4,
    },
    "forms": {
        "base": 0,
        "words": 0,
        "quoting": 0,
        "squad": 0,
        "classes": 0,
        "tfds": 1,
        "opening": 1,
        "spans": 1,
        "columnar": 1,
        "marks": 1,
        "delimited": 2,
        "conll": 2,
        "fasttext": 2,
        "annotations": 2,
        "objects": 2,
        "cells": 3,
        "json_rows": 3,
        "__init__": 4,
    },
    "tasks": {
        "reportable": 0,
        "whole_measure": 0,
        "divergences": 0,
        "class_labels": 0,
        "vector_losses": 0,
        "base": 1,
        "scales": 1,
        "sequence_level": 2,
        "similarity": 2,
        "token_level": 2,
        "span_level": 2,
        "sentence_level": 2,
        "multi": 2,
        "ordinal": 3,
        "__init__": 4,
    },
    "layouts": {
        "segmentation": 0,
        "base": 1,
        "whole": 2,
        "towers": 2,
        "units": 2,
        "spans": 2,
        "words": 3,
        "sentences": 3,
        "joint": 3,
        "windows": 4,
        "__init__": 5,
    },
    "pages": {
        "markup": 0,
        "passages": 1,
        "report": 2,
        "joint": 2,
        "__init__": 3,
    },
    "jobs": {
        "options": 0,
        "saying": 0,
        "folders": 0,
        "asking": 0,
        "run_records": 0,
        "training_options": 1,
        "asking_options": 1,
        "encoder_options": 1,
        "sharing": 1,
        "distilling_options": 2,
        "inputs": 2,
        "listing": 2,
        "converting": 2,
        "commands": 3,
        "training": 3,
        "measuring": 3,
        "predicting": 3,
        "vectors": 3,
        "distilling": 4,
        "demonstration": 4,
        "__init__": 5,
    },
    "recipes": {
        "students": 0,
        "lessons": 1,
        "encoder_distillation": 2,
        "distillation": 2,
        "__init__": 3,
    },
}

# These may import late: the facade and the command line have to be quick to import.
LATE_IMPORTERS = {"__init__", "cli", "__main__"}

FORBIDDEN_NAMES = {"utils", "util", "common", "helpers", "helper", "core", "misc"}

MODULE_LINES = 600
MEDIAN_MODULE_LINES = 250
# Lines of code: a docstring is not counted, nobody should save on it.
FUNCTION_LINES = 60
MEDIAN_FUNCTION_LINES = 12
PUBLIC_ARGUMENTS = 7
# What has one more, because who knows the interface that it follows looks for it there.
MORE_ARGUMENTS = {
    "finetuning fine_tune": "`callbacks`, as Keras' `fit`",
    "data stream": "as `read`",
}

# Methods of Keras' and TensorFlow's own interfaces: what they are for is documented there.
INHERITED_METHODS = {
    "apply",
    "build",
    "build_from_config",
    "call",
    "compile",
    "compute_mask",
    "compute_output_shape",
    "compute_output_spec",
    "from_config",
    "get_build_config",
    "get_config",
    "get_compile_config",
    "load_assets",
    "load_own_variables",
    "on_batch_end",
    "on_epoch_begin",
    "on_epoch_end",
    "on_test_begin",
    "on_test_end",
    "on_train_batch_begin",
    "on_test_batch_end",
    "on_train_batch_end",
    "on_train_begin",
    "on_train_end",
    "reset_state",
    "result",
    "save_assets",
    "save_own_variables",
    "test_step",
    "train_step",
    "trainable",
    "update_state",
    "update_step",
}

Function = ast.FunctionDef | ast.AsyncFunctionDef

MODULES = sorted(PACKAGE.rglob("*.py"))
TREES = {path: ast.parse(path.read_text(encoding="utf-8"), str(path)) for path in MODULES}


def _name(path: Path) -> str:
    return path.relative_to(PACKAGE).with_suffix("").as_posix()


def _room(name: str) -> str:
    """The room of a dotted name: of `tfhub_transfer.tasks.base` it is `tasks`."""
    words = name.split(".")
    return words[1] if len(words) > 1 else "__init__"


def _imported_names(node: ast.AST) -> Iterator[str]:
    """The dotted names of what one node of a tree imports from this package."""
    if isinstance(node, ast.Import):
        names = [alias.name for alias in node.names]
    elif isinstance(node, ast.ImportFrom) and node.module:
        names = [f"{node.module}.{alias.name}" for alias in node.names]
        if node.module == "tfhub_transfer":
            rooms = {alias.name for alias in node.names if alias.name in FLOORS}
            names = [
                f"tfhub_transfer.{alias.name}" if alias.name in rooms else "tfhub_transfer"
                for alias in node.names
            ]
    elif isinstance(node, ast.Call) and "import_module" in ast.unparse(node.func):
        first = node.args[0] if node.args else None
        names = [str(first.value)] if isinstance(first, ast.Constant) else []
    else:
        names = []
    return (name for name in names if re.match(r"tfhub_transfer(\.|$)", name))


def _functions(tree: ast.AST) -> list[Function]:
    return [node for node in ast.walk(tree) if isinstance(node, Function)]


def _public(tree: ast.Module) -> Iterator[tuple[str, Function | ast.ClassDef]]:
    """Public functions and classes of a module, and public methods of public classes."""
    for node in tree.body:
        if isinstance(node, Function | ast.ClassDef) and not node.name.startswith("_"):
            yield node.name, node
            for inner in node.body if isinstance(node, ast.ClassDef) else []:
                if isinstance(inner, Function) and not inner.name.startswith("_"):
                    yield f"{node.name}.{inner.name}", inner


def _documented_by_a_base(name: str) -> bool:
    """Whether the method `Class.method` overrides one that a base class here documents."""
    classes = {
        node.name: node
        for tree in TREES.values()
        for node in tree.body
        if isinstance(node, ast.ClassDef)
    }
    owner, _, method = name.partition(".")
    todo = list(classes[owner].bases)
    while todo:
        base = classes.get(ast.unparse(todo.pop()).rpartition(".")[2])
        for node in base.body if base else []:
            if isinstance(node, Function) and node.name == method and ast.get_docstring(node):
                return True
        todo += base.bases if base else []
    return False


def _lines(function: Function) -> int:
    assert function.end_lineno is not None
    lines = function.end_lineno - function.lineno + 1
    first = function.body[0]
    if ast.get_docstring(function) is not None:
        assert first.end_lineno is not None
        lines -= first.end_lineno - first.lineno + 1
    return lines


def _import_errors(name: str, tree: ast.Module) -> list[str]:
    room, _, inner = name.partition("/")
    errors = []
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.level:
            errors.append(f"{name}:{node.lineno} imports relatively; name the whole module")
        for target in _imported_names(node):
            other = _room(target)
            if other == room and inner:
                errors += _inner_error(name, node, target)
            elif other not in FLOORS:
                errors.append(f"{name}:{node.lineno} imports {target}, which has no floor")
            elif FLOORS[other] >= FLOORS[room]:
                errors.append(
                    f"{name}:{node.lineno} is on floor {FLOORS[room]} and imports {target} of floor"
                    f" {FLOORS[other]}; imports go down only"
                )
    return errors


def _inner_error(name: str, node: ast.AST, target: str) -> list[str]:
    room, _, inner = name.partition("/")
    other = [*target.split("."), "__init__"][2]
    floors = INNER_FLOORS.get(room, {})

    def floor(module: str) -> int:
        return floors.get(module, int(module == "__init__"))

    # A name that is no module of the folder comes from the folder's `__init__`.
    other = other if (PACKAGE / room / f"{other}.py").exists() else "__init__"
    if floor(other) < floor(inner):
        return []
    return [f"{name}:{getattr(node, 'lineno', 0)} imports {target}, which is no lower in {room}/"]


def test_every_module_has_a_floor() -> None:
    rooms = {_name(path).split("/")[0] for path in MODULES}
    unknown = sorted(rooms - set(FLOORS))
    assert not unknown, f"give these a floor in FLOORS of {Path(__file__).name}: {unknown}"


@pytest.mark.parametrize("path", MODULES, ids=_name)
def test_imports_go_down_only(path: Path) -> None:
    errors = _import_errors(_name(path), TREES[path])
    assert not errors, "\n".join(errors)


@pytest.mark.parametrize(
    ("name", "source", "message"),
    [
        (
            "batching",
            "from tfhub_transfer import registry",
            "floor 2 and imports tfhub_transfer.reg",
        ),
        ("data", "def f():\n  from tfhub_transfer.cli import main", "imports tfhub_transfer.cli"),
        ("data", "import importlib as i\ni.import_module('tfhub_transfer.cli')", "transfer.cli of"),
        ("data", "import tfhub_transfer as tt", "of floor 13"),
        ("data", "from tfhub_transfer import __version__", "of floor 13"),
        ("data", "from .errors import InputError", "imports relatively"),
        ("data", "from tfhub_transfer.attic import box", "has no floor"),
        ("tasks/base", "from tfhub_transfer.tasks.sequence_level import X", "no lower in tasks/"),
        ("tasks/base", "from tfhub_transfer.tasks import TASKS", "no lower in tasks/"),
        ("recipes/a", "from tfhub_transfer.recipes.b import distill", "no lower in recipes/"),
    ],
)
def test_the_check_of_imports_notices(name: str, source: str, message: str) -> None:
    (error,) = _import_errors(name, ast.parse(source))
    assert message in error


def test_imports_downward_are_fine() -> None:
    source = "from tfhub_transfer import data, registry\nfrom tfhub_transfer.errors import X"
    assert not _import_errors("heads", ast.parse(source))
    source = "from tfhub_transfer.tasks.base import Head"
    assert not _import_errors("tasks/sequence_level", ast.parse(source))


@pytest.mark.parametrize("path", MODULES, ids=_name)
def test_no_import_inside_a_function_dodges_a_cycle(path: Path) -> None:
    if _name(path) in LATE_IMPORTERS:
        return
    late = [
        f"{_name(path)}:{node.lineno}"
        for function in _functions(TREES[path])
        for node in ast.walk(function)
        if isinstance(node, ast.Import | ast.ImportFrom) and any(_imported_names(node))
    ]
    assert not late, f"import rooms at the top of the module: {late}"


def test_modules_are_short() -> None:
    lines = {_name(path): len(path.read_text(encoding="utf-8").splitlines()) for path in MODULES}
    long = {name: count for name, count in lines.items() if count > MODULE_LINES}
    assert not long, f"over {MODULE_LINES} lines: {long}"
    assert statistics.median(lines.values()) <= MEDIAN_MODULE_LINES, lines


def test_functions_are_short() -> None:
    lines = {
        f"{_name(path)}:{function.lineno} {function.name}": _lines(function)
        for path, tree in TREES.items()
        for function in _functions(tree)
    }
    long = {name: count for name, count in lines.items() if count > FUNCTION_LINES}
    assert not long, f"over {FUNCTION_LINES} lines of code: {long}"
    median = statistics.median(lines.values())
    assert median <= MEDIAN_FUNCTION_LINES, f"the median function has {median} lines of code"


@pytest.mark.parametrize("path", MODULES, ids=_name)
def test_public_functions_take_few_arguments(path: Path) -> None:
    many = []
    for node in TREES[path].body:
        public = isinstance(node, Function | ast.ClassDef) and not node.name.startswith("_")
        for function in _functions(node) if public else []:
            if function.name.startswith("_") and function.name != "__init__":
                continue
            arguments = function.args
            names = [a.arg for a in arguments.posonlyargs + arguments.args + arguments.kwonlyargs]
            count = len([name for name in names if name not in ("self", "cls")])
            if count > PUBLIC_ARGUMENTS + (f"{_name(path)} {function.name}" in MORE_ARGUMENTS):
                many.append(f"{_name(path)}:{function.lineno} {function.name} takes {count}")
    assert not many, f"more than {PUBLIC_ARGUMENTS} arguments: {many}"


@pytest.mark.parametrize("path", MODULES, ids=_name)
def test_what_is_public_is_documented(path: Path) -> None:
    assert ast.get_docstring(TREES[path]), f"{_name(path)} has no docstring"
    bare = [
        f"{_name(path)}:{node.lineno} {name}"
        for name, node in _public(TREES[path])
        if not ast.get_docstring(node)
        and not ("." in name and name.rpartition(".")[2] in INHERITED_METHODS)
        and not ("." in name and _documented_by_a_base(name))
    ]
    assert not bare, f"no docstring: {bare}"


# What runs a SavedModel. It stands behind a check in one module, and every other one calls that.
LOADERS = re.compile(
    r"saved_model\.load(_v2)?$|\bhub\.load$|KerasLayer$|TFSMLayer$|import_meta_graph$"
)


def test_savedmodels_are_loaded_behind_the_check_only() -> None:
    found = [
        f"{_name(path)}: {ast.unparse(node)}"
        for path, tree in TREES.items()
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute | ast.Name) and LOADERS.search(ast.unparse(node))
    ]
    assert found == ["safety: tf.saved_model.load"], "use `safety.load_checked`"


def test_no_drawer_for_odds_and_ends() -> None:
    parts = {part for path in MODULES for part in _name(path).split("/")}
    assert not parts & FORBIDDEN_NAMES, f"name it for what it does: {parts & FORBIDDEN_NAMES}"


def test_no_module_shares_a_name_with_a_public_function() -> None:
    modules = {path.stem if path.stem != "__init__" else path.parent.name for path in MODULES}
    functions = {
        name
        for tree in TREES.values()
        for name, node in _public(tree)
        if isinstance(node, Function) and "." not in name
    }
    assert not modules & functions, f"both a module and a function: {modules & functions}"


def _tracked_files() -> list[Path]:
    listing = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"]
    answer = subprocess.run(listing, cwd=REPOSITORY, capture_output=True, text=True, check=False)
    if answer.returncode:
        pytest.skip("not a git checkout")
    files = [REPOSITORY / name for name in answer.stdout.split("\0") if name]
    return [file for file in files if file.is_file()]


def test_no_path_of_some_machine() -> None:
    # Put together here, so that this file does not match; SavedModels are searched as well.
    folders = rb"|".join([b"work", b"home", b"Users"])
    pattern = re.compile(rb"(?<![A-Za-z0-9_.:~}-])/(?:" + folders + rb")/[a-z]")
    found = [
        f"{file.relative_to(REPOSITORY)}: {match.group().decode()}..."
        for file in _tracked_files()
        if (match := pattern.search(file.read_bytes()))
    ]
    assert not found, f"paths that exist on one machine only: {found}"
