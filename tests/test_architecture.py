"""Rooms on floors, size budgets, names, docstrings: read from the source, nothing is imported."""

import ast
import functools
import re
import statistics
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[1]
PACKAGE = REPOSITORY / "tfhub_transfer"

# A room is a module or a folder of the package. It may import rooms on lower floors only, and rooms
# on one floor never import each other. A new room needs a place here: choose its floor first.
FLOORS = [
    ["errors", "private", "progress", "shapes", "streams"],
    ["backend", "incoming", "storage"],
    ["texts", "optimization"],
    ["runtime", "reporting", "data"],
    ["graphs"],
    ["encoders"],
    ["heads", "callbacks"],
    ["tasks"],
    ["models"],
    ["training"],
    ["evaluation", "serving", "recipes", "tuning"],
    ["checks", "web"],
    ["jobs"],
    ["__init__", "usage"],
    ["cli"],
    ["__main__"],
]
# The same inside of folders. A folder that is not here has all its modules on one floor (recipes
# never know one another), and its `__init__` above them.
INNER_FLOORS = {
    "callbacks": [
        ["averaged_weights", "best_weights"],
        ["thawing"],
        ["own"],
        ["__init__"],
    ],
    "checks": [
        ["confident", "cross_validation", "duplicates", "giveaways", "guessing", "outlying"],
        ["gathered"],
        ["of_labels", "of_texts"],
        ["checking"],
        ["__init__"],
    ],
    "data": [
        [
            *("batching", "label_columns", "outliers", "passes", "selecting", "text_forms"),
            *("weighing", "writing"),
        ],
        ["forms", "profiling"],
        ["named_cells", "reading", "usual_columns"],
        ["examples"],
        ["looking", "splitting", "streamed"],
        ["__init__"],
    ],
    "data/forms": [
        ["base", "classes", "quoting", "squad", "words"],
        ["columnar", "marks", "opening", "spans", "tfds"],
        ["aligned", "annotations", "conll", "delimited", "fasttext", "objects"],
        ["cells", "json_rows", "tmx"],
        ["__init__"],
    ],
    "encoders": [
        [
            *("bert_shapes", "calls", "catalogue", "families", "fetching", "recorded"),
            *("tensor_files", "token_counts", "vector_files"),
        ],
        ["bert_graphs", "bert_reference", "sentence_modules"],
        ["hub_format"],
        ["tokenizers"],
        ["given_texts", "huggingface", "loading", "registry", "variable_groups"],
        ["binding", "conversion", "flat_graphs", "interface", "layer_groups", "spelling"],
        ["encoder"],
        ["preprocessing"],
        ["hub_preprocessors", "preprocessor_layer", "vocabulary_fit"],
        ["__init__"],
    ],
    "encoders/tokenizers": [
        ["charsmaps", "normalizing", "packing"],
        ["byte_pairs", "naming", "sentence_pieces", "tokenizing", "word_pieces"],
        ["reading"],
        ["__init__"],
    ],
    "evaluation": [
        ["calibrating", "cautions", "conformalizing", "slicing"],
        ["scoping", "weakness"],
        ["measuring"],
        ["__init__"],
    ],
    "graphs": [
        ["savers", "surgery", "wire"],
        ["portable", "quantizing", "randomness", "rewriting", "rounding", "safety"],
        ["folding"],
        ["__init__"],
    ],
    "heads": [
        ["copying", "settings"],
        ["decoder", "layers"],
        ["warm_start"],
        ["__init__"],
    ],
    "incoming": [
        ["choices", "ranges", "usual", "values"],
        ["wording"],
        ["__init__"],
    ],
    "jobs": [
        ["asking", "folders", "options", "run_records", "saying", "three_splits"],
        ["commands", "converting", "inputs", "listing", "processes", "shards"],
        ["settling"],
        [
            *("comparing", "data_checks", "exports", "labelling", "measuring", "predicting"),
            *("trainings", "vectors"),
        ],
        ["searches"],
        ["__init__"],
    ],
    "jobs/exports": [
        ["checking", "serving", "small_devices"],
        ["exporting"],
        ["__init__"],
    ],
    "jobs/labelling": [
        ["keys", "label_files", "terminals"],
        ["exchange"],
        ["sessions"],
        ["labelling"],
        ["__init__"],
    ],
    "jobs/options": [
        ["declaring"],
        ["asking", "comparing", "encoders", "exporting", "labelling", "serving", "training"],
        ["checking", "distilling", "tuning"],
        ["__init__"],
    ],
    "jobs/processes": [
        ["roles"],
        ["launching"],
        ["workers"],
        ["__init__"],
    ],
    "jobs/searches": [
        ["chief", "limits", "notes", "worker"],
        ["tuners"],
        ["tuning"],
        ["__init__"],
    ],
    "jobs/shards": [
        ["finding"],
        ["beam", "records"],
        ["running"],
        ["__init__"],
    ],
    "jobs/trainings": [
        ["continuing", "more_labels", "refitting", "sharing", "trusting"],
        ["training"],
        ["back_translating", "demonstration", "distilling"],
        ["pseudo_labelling"],
        ["described_classes"],
        ["__init__"],
    ],
    "models": [
        [
            *("archives", "compiling", "filling", "fitting", "forward", "scope", "seen"),
            *("shares", "shown_batches"),
        ],
        ["batches", "counting", "last_layer", "stored_features"],
        ["answers"],
        ["boundary", "resuming", "showing"],
        ["one_file"],
        ["given_ids"],
        ["wiring"],
        ["transfer"],
        ["multitask", "neighbours", "scaling"],
        ["building"],
        ["encoding"],
        ["__init__"],
    ],
    "optimization": [
        ["optimizers", "schedules"],
        ["planning", "trainers"],
        ["__init__"],
    ],
    "recipes": [
        [
            "active_learning",
            "back_translation",
            "contrasts",
            "students",
            "written_answers",
            "zero_shot",
        ],
        ["distillation", "few_shot", "lessons", "pseudo_labels"],
        ["class_descriptions", "encoder_distillation"],
        ["__init__"],
    ],
    "recipes/active_learning": [
        ["linear_heads", "strategies"],
        ["learning_curves", "pools"],
        ["selector"],
        ["__init__"],
    ],
    "reporting": [
        ["contents"],
        [
            *("findings", "metrics", "operating_points", "plots", "predictions", "searches"),
            *("standings", "weak_spots"),
        ],
        ["confidence_bins", "groups", "pages", "paired", "search_plots"],
        ["comparisons", "data_reports", "reports", "search_reports"],
        ["joint_reports"],
        ["__init__"],
    ],
    "reporting/pages": [
        ["markup", "subjects"],
        ["faults", "joint", "passages", "reading", "searched", "weaknesses"],
        ["report"],
        ["__init__"],
    ],
    "runtime": [
        [
            *("allocation", "dropout", "full_precision", "gathering", "masking", "meeting"),
            *("products", "threads", "tpus"),
        ],
        ["cluster"],
        ["machine", "metric_states", "precision_choice", "tracing"],
        ["probes", "replicas", "running"],
        ["__init__"],
    ],
    "serving": [
        ["replay", "searches", "served", "warm_up", "wordpiece"],
        ["latencies", "operations", "side_files", "signatures"],
        ["elsewhere"],
        ["litert"],
        ["onnx_files"],
        ["exporting"],
        ["checking", "kit"],
        ["__init__"],
    ],
    "storage": [
        ["aliases", "budget", "names", "opening", "scratch"],
        ["downloads", "marks", "records", "segments", "signals"],
        ["atomic", "stores"],
        ["keeping", "notes", "retention", "saving"],
        ["__init__"],
    ],
    "tasks": [
        [
            *("class_labels", "conformal", "divergences", "nearness", "rouge", "scales"),
            *("segmentation", "temperatures", "trial"),
        ],
        ["sharpness"],
        ["reportable"],
        ["base"],
        ["objective"],
        ["layout"],
        ["several", "towers", "units", "whole"],
        ["generation", "questions", "similarity", "summaries", "tagging"],
        ["layouts"],
        ["__init__"],
    ],
    "tasks/generation": [
        ["fresh_runs", "narrowing", "rivals", "scoring", "vocabulary"],
        ["glossary", "looking", "measures", "pointers"],
        ["searching"],
        ["constrained", "coverage", "task"],
        ["instructions"],
        ["layout"],
        ["__init__"],
    ],
    "tasks/questions": [
        ["answers", "spans"],
        ["certainty"],
        ["measures"],
        ["task"],
        ["layout"],
        ["__init__"],
    ],
    "tasks/several": [
        ["task"],
        ["layout"],
        ["__init__"],
    ],
    "tasks/similarity": [
        ["losses", "measures"],
        ["task"],
        ["__init__"],
    ],
    "tasks/summaries": [
        ["selection"],
        ["layout"],
        ["measures"],
        ["task"],
        ["__init__"],
    ],
    "tasks/tagging": [
        ["schemes", "viterbi"],
        ["entity_outcomes", "layout"],
        ["certainty"],
        ["measures"],
        ["task"],
        ["__init__"],
    ],
    "tasks/whole": [
        ["cuts", "layout", "measures", "trust"],
        ["amounts", "task"],
        ["ordinal"],
        ["__init__"],
    ],
    "texts": [
        ["joining", "scripts", "sentences", "signs"],
        ["languages"],
        ["splitting"],
        ["__init__"],
    ],
    "tuning": [
        ["found_rates", "luck", "repeats", "shared", "space"],
        ["trials"],
        ["making", "range_tests", "records"],
        ["hypermodel"],
        ["reports"],
        ["__init__"],
    ],
    "web": [
        ["metrics", "refusing", "running", "tables"],
        ["rest"],
        ["batching", "servable"],
        ["app"],
        ["__init__"],
    ],
    "training": [
        [
            *("describing", "epochs", "event_files", "headlines", "histories", "outcome"),
            *("sampling", "snapshots"),
        ],
        ["history_table", "identity", "judging", "watching"],
        ["following", "history"],
        ["restoring"],
        ["checkpoints"],
        ["runs"],
        ["stages"],
        ["feeding"],
        ["reused_heads"],
        ["heads", "unfreezing"],
        ["finetuning"],
        ["__init__"],
    ],
}

# These may import late: the facade and the command line have to be quick to import.
LATE_IMPORTERS = {"__init__", "cli", "__main__"}

FORBIDDEN_NAMES = {"utils", "util", "common", "helpers", "helper", "core", "misc"}

MODULE_LINES = 600
MEDIAN_MODULE_LINES = 200
# Lines of code: a docstring is not counted, nobody should save on it.
FUNCTION_LINES = 60
MEDIAN_FUNCTION_LINES = 10
CLASS_LINES = 250
PUBLIC_ARGUMENTS = 7
# What has more, because who knows the interface that it follows looks for it there.
MORE_ARGUMENTS = {
    # Each is an option of the command, by the same name.
    "tasks/generation/task __init__": ("copies",),
    # Keras has `callbacks` in `fit`, and a backup among them.
    "training/finetuning fine_tune": ("callbacks", "checkpoint"),
    "data/examples stream": ("as `read`",),
    # How often a trial is trained, which its examples alone don't say.
    "tuning/hypermodel __init__": ("folds", "seeds"),
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


def _imported_names(node: ast.AST) -> Iterator[str]:
    """The dotted names of what one node of a tree imports from this package."""
    if isinstance(node, ast.Import):
        names = [alias.name for alias in node.names]
    elif isinstance(node, ast.ImportFrom) and node.module:
        names = [f"{node.module}.{alias.name}" for alias in node.names]
    elif isinstance(node, ast.Call) and "import_module" in ast.unparse(node.func):
        first = node.args[0] if node.args else None
        names = [str(first.value)] if isinstance(first, ast.Constant) else []
    else:
        names = []
    return (name for name in names if re.match(r"tfhub_transfer(\.|$)", name))


def _module(dotted: str) -> tuple[str, ...]:
    """The path of the module that a dotted name is of: a folder's `__init__` if of none in it."""
    below = dotted.split(".")[1:]
    for count in range(len(below), 0, -1):
        path = PACKAGE.joinpath(*below[:count])
        if path.with_name(f"{path.name}.py").is_file():
            return tuple(below[:count])
        if path.is_dir():
            return (*below[:count], "__init__")
    # Of the facade, or of a module that isn't there.
    facade = {name for node in ast.walk(TREES[PACKAGE / "__init__.py"]) for name in _bound(node)}
    return (below[0],) if below and below[0] not in facade else ("__init__",)


def _bound(node: ast.AST) -> list[str]:
    if isinstance(node, ast.Constant):
        return [str(node.value)]
    return [node.id] if isinstance(node, ast.Name) else []


def _floor(folder: tuple[str, ...], child: str) -> int | None:
    """The floor of a module or a folder inside of a folder."""
    if not folder:
        return next((floor for floor, rooms in enumerate(FLOORS) if child in rooms), None)
    floors = INNER_FLOORS.get("/".join(folder))
    if floors is None:
        return int(child == "__init__")
    return next((floor for floor, rooms in enumerate(floors) if child in rooms), None)


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


def _lines(node: Function | ast.ClassDef) -> int:
    """Lines of code: without docstrings, of a class those of its methods too."""
    assert node.end_lineno is not None
    lines = node.end_lineno - node.lineno + 1
    inner = _functions(node) if isinstance(node, ast.ClassDef) else []
    for documented in (node, *inner):
        first = documented.body[0]
        if ast.get_docstring(documented) is not None:
            assert first.end_lineno is not None
            lines -= first.end_lineno - first.lineno + 1
    return lines


def _import_errors(name: str, tree: ast.Module) -> list[str]:
    """What is wrong with imports: of two modules the folders count in which they part ways."""
    mine = tuple(name.split("/"))
    errors = []
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.level:
            errors.append(f"{name}:{node.lineno} imports relatively; name the whole module")
        for target in _imported_names(node):
            other = _module(target)
            if other == mine:
                errors.append(f"{name}:{getattr(node, 'lineno', 0)} imports {target}: itself")
                continue
            common = next(
                place for place in range(len(mine)) if mine[: place + 1] != other[: place + 1]
            )
            folder = mine[:common]
            here, there = _floor(folder, mine[common]), _floor(folder, other[common])
            where = f"{name}:{getattr(node, 'lineno', 0)}"
            if here is None or there is None:
                errors.append(f"{where} imports {target}, and one of the two has no floor")
            elif there >= here:
                errors.append(
                    f"{where} is on floor {here} and imports {target} of floor {there} of "
                    f"{'/'.join(('tfhub_transfer', *folder))}/; imports go down only"
                )
    return errors


def _listed(floors: list[list[str]]) -> list[str]:
    return [room for floor in floors for room in floor]


def test_every_module_has_one_floor() -> None:
    for folder, floors in {"": FLOORS, **INNER_FLOORS}.items():
        there = {path.stem for path in (PACKAGE / folder).glob("*.py")}
        there |= {path.parent.name for path in (PACKAGE / folder).glob("*/__init__.py")}
        listed = _listed(floors)
        assert len(listed) == len(set(listed)), f"twice: {sorted(listed)}"
        unknown = sorted(there - set(listed))
        assert not unknown, f"give these of `{folder}` a floor in {Path(__file__).name}: {unknown}"
        assert set(listed) <= there, f"not there: {sorted(set(listed) - there)}"


@pytest.mark.parametrize("path", MODULES, ids=_name)
def test_imports_go_down_only(path: Path) -> None:
    errors = _import_errors(_name(path), TREES[path])
    assert not errors, "\n".join(errors)


@pytest.mark.parametrize(
    ("name", "source", "message"),
    [
        ("errors", "from tfhub_transfer import cli", "imports tfhub_transfer.cli of"),
        (
            "storage/x",
            "def f():\n  from tfhub_transfer.cli import main",
            "imports tfhub_transfer.cl",
        ),
        (
            "storage/x",
            "import importlib as i\ni.import_module('tfhub_transfer.cli')",
            "transfer.cli",
        ),
        ("tasks/base", "import tfhub_transfer as tt", "imports tfhub_transfer of floor"),
        ("tasks/base", "from tfhub_transfer import __version__", "__version__ of floor"),
        ("storage/atomic", "from .errors import InputError", "imports relatively"),
        ("storage/atomic", "from tfhub_transfer.attic import box", "has no floor"),
        (
            "storage/opening",
            "from tfhub_transfer.storage import atomic",
            "of tfhub_transfer/storage/",
        ),
        ("storage/marks", "from tfhub_transfer.storage import X", "of tfhub_transfer/storage/"),
        ("tasks/base", "from tfhub_transfer.tasks import TASKS", "of tfhub_transfer/tasks/"),
        ("errors", "from tfhub_transfer import errors", "itself"),
    ],
)
def test_the_check_of_imports_notices(name: str, source: str, message: str) -> None:
    (error,) = _import_errors(name, ast.parse(source))
    assert message in error


def test_imports_downward_are_fine() -> None:
    source = "from tfhub_transfer import errors\nfrom tfhub_transfer.storage.atomic import X"
    assert not _import_errors("jobs", ast.parse(source))
    source = "from tfhub_transfer.storage.opening import X"
    assert not _import_errors("storage/atomic", ast.parse(source))


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


def test_classes_are_short() -> None:
    lines = {
        f"{_name(path)} {node.name}": _lines(node)
        for path, tree in TREES.items()
        for node in ast.walk(tree)
        if isinstance(node, ast.ClassDef)
    }
    long = {name: count for name, count in lines.items() if count > CLASS_LINES}
    assert not long, f"over {CLASS_LINES} lines of code: {long}"


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
            more = MORE_ARGUMENTS.get(f"{_name(path)} {function.name}", ())
            if count > PUBLIC_ARGUMENTS + len(more):
                many.append(f"{_name(path)}:{function.lineno} {function.name} takes {count}")
    assert not many, f"more than {PUBLIC_ARGUMENTS} arguments: {many}"


def _is_stub(node: Function | ast.ClassDef) -> bool:
    """Whether it is `...`: a type of what is documented elsewhere, of a protocol or an overload."""
    return len(node.body) == 1 and ast.unparse(node.body[0]) == "..."


@pytest.mark.parametrize("path", MODULES, ids=_name)
def test_what_is_public_is_documented(path: Path) -> None:
    assert ast.get_docstring(TREES[path]), f"{_name(path)} has no docstring"
    bare = [
        f"{_name(path)}:{node.lineno} {name}"
        for name, node in _public(TREES[path])
        if not ast.get_docstring(node)
        and not _is_stub(node)
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
    assert found == ["graphs/safety: tf.saved_model.load"], "use `safety.load_checked`"


# Private parts of Keras and TensorFlow stand in one room. What is private elsewhere is ours, as
# something here defines it, or one of these.
OF_PYTHON = frozenset(
    {"_replace", "_asdict", "_fields"}  # of named tuples
    | {"_exit"}  # of `os`: without what is done at exit
    | {"_actions", "_option_string_actions", "_SubParsersAction"}  # of `argparse`, for completion
)
PRIVATE_MODULES = re.compile(r"(keras(_tuner)?\.src|tensorflow(_text)?\.python)\b|__internal__")


def _private(name: str) -> bool:
    return name.startswith("_") and not name.startswith("__")


@functools.cache
def _private_uses(tree: ast.AST) -> list[tuple[int, str]]:
    """Private names that are asked of some object, and private modules that are imported."""
    return list(_found_private_uses(tree))


def _found_private_uses(tree: ast.AST) -> Iterator[tuple[int, str]]:
    plain = (each for each in ast.walk(tree) if isinstance(each, ast.ClassDef) and not each.bases)
    inside = {id(node) for each in plain for node in ast.walk(each)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute):
            if id(node) in inside and ast.unparse(node.value) == "self":
                continue  # such a class is nobody else's
            names = [node.attr]
        elif isinstance(node, ast.Call) and ast.unparse(node.func).endswith("attr"):
            names = [str(each.value) for each in node.args if isinstance(each, ast.Constant)]
        elif isinstance(node, ast.Import | ast.ImportFrom):
            module = getattr(node, "module", None)
            names = [".".join(filter(None, (module, each.name))) for each in node.names]
        else:
            continue
        line = getattr(node, "lineno", 0)
        yield from ((line, n) for n in names if _private(n) or PRIVATE_MODULES.match(n))


@functools.cache
def _own_private_names(tree: ast.AST) -> frozenset[str]:
    """Private names of functions, classes, variables, and attributes of `self`."""
    return frozenset(_names_given(tree))


def _names_given(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, Function | ast.ClassDef):
            yield node.name
        elif isinstance(node, ast.Name):
            yield node.id
        elif isinstance(node, ast.Attribute) and ast.unparse(node.value) in ("self", "cls"):
            yield from [node.attr] * isinstance(node.ctx, ast.Store)


def _foreign_private_uses() -> list[str]:
    room = {path: tree for path, tree in TREES.items() if path.parent.name == "private"}
    others = {path: tree for path, tree in TREES.items() if path not in room}
    ours = {name for tree in others.values() for name in _own_private_names(tree)} | OF_PYTHON
    ours -= {name for tree in room.values() for _, name in _private_uses(tree)}
    return [
        f"{_name(path)}:{line} {name}"
        for path, tree in others.items()
        for line, name in _private_uses(tree)
        if name not in ours
    ]


def test_private_parts_of_keras_and_tensorflow_stand_in_one_room() -> None:
    found = _foreign_private_uses()
    assert not found, f"give these a function each in `private/`, and call that: {found}"


@pytest.mark.parametrize(
    "source",
    [
        "from keras.src.utils import naming",
        "import tensorflow.python.eager as eager",
        "node = tf.__internal__.tracking.AutoTrackable()",
        "layers = model._flatten_layers()",
        "self._convert_input_args = False",
        "getattr(model, '_compile_loss', None)",
        "optimizer._nobody_has_this",
    ],
)
def test_the_check_of_private_parts_notices(source: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(TREES, PACKAGE / "tasks" / "x.py", ast.parse(source))
    (found,) = _foreign_private_uses()
    assert found.startswith("tasks/x:1 ")


# What a task is called, for who must name one. Everyone else asks the task itself.
NAMES_OF_TASKS = {
    "jobs/options/labelling": "what `--task` takes, of tasks of classes",
    "jobs/options/training": "what `--task` takes: `--help` may not import the tasks",
    "jobs/trainings/demonstration": "the demo trains a task",
    "reporting/joint_reports": "what the page of several tasks is called",
}


def _kinds() -> dict[str, str | None]:
    """The classes of tasks, and of models of several, with the names that these tasks have."""
    found: dict[str, str | None] = {"MultiTaskModel": None}
    classes = [
        node
        for path, tree in TREES.items()
        if _name(path).startswith("tasks/")
        for node in ast.walk(tree)
        if isinstance(node, ast.ClassDef)
    ]
    for _ in classes:  # until whoever derives from one is found
        for node in classes:
            if {ast.unparse(base) for base in node.bases} & {"Task", *found}:
                values = {ast.unparse(e.targets[0]): e.value for e in node.body if _is_name(e)}
                name = values.get("name")
                found[node.name] = name.value if isinstance(name, ast.Constant) else None
    return found


def _is_name(node: ast.AST) -> bool:
    return isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "name"


def _keyed(tree: ast.Module, kinds: dict[str, str | None]) -> Iterator[str]:
    """Where a module decides by the kind, the name or the layout of a task."""
    names = {name for name in kinds.values() if name is not None}
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and node.value in names:
            yield f"{node.lineno} names {node.value!r}"
        elif isinstance(node, ast.Call) and ast.unparse(node.func) in ("isinstance", "issubclass"):
            asked = {n.id for n in ast.walk(node.args[1]) if isinstance(n, ast.Name)}
            asked |= {n.attr for n in ast.walk(node.args[1]) if isinstance(n, ast.Attribute)}
            for kind in sorted(asked & set(kinds)):
                yield f"{node.lineno} asks whether something is a {kind}"
        elif isinstance(node, ast.Compare):
            sides = [node.left, *node.comparators]
            told = any(isinstance(n, ast.Constant) for side in sides for n in ast.walk(side))
            if told and any(ast.unparse(side).endswith((".layout", "task.name")) for side in sides):
                yield f"{node.lineno} compares {ast.unparse(node)}"


def test_everyone_asks_the_task() -> None:
    kinds = _kinds()
    assert {"classification", "ordinal-regression", "multi-task"} <= set(kinds.values())
    found = {
        name: list(_keyed(tree, kinds))
        for path, tree in TREES.items()
        if not (name := _name(path)).startswith("tasks/") and name not in NAMES_OF_TASKS
    }
    keyed = [f"{name}:{place}" for name, places in found.items() for place in places]
    assert not keyed, f"let the task say it, by a method or an attribute: {keyed}"
    idle = [
        name for name in NAMES_OF_TASKS if not list(_keyed(TREES[PACKAGE / f"{name}.py"], kinds))
    ]
    assert not idle, f"name no task any longer: {idle}"


@pytest.mark.parametrize(
    "source",
    [
        "def f(task): return task.kind == 'classification'",
        "TABLE = {'ordinal-regression': 1}",
        "def f(x): return isinstance(x, tasks.MultiTask)",
        "def f(x): return isinstance(x, (str, Regression))",
        "def f(model): return model.task.layout in ('whole', 'words')",
        "def f(task): return 'own' == task.name",
    ],
)
def test_the_check_of_kinds_notices(source: str) -> None:
    assert list(_keyed(ast.parse(source), _kinds()))


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
    folders = [b"/" + name + b"/" for name in (b"work", b"home", b"Users")]
    pattern = re.compile(rb"(?<![A-Za-z0-9_.:~}-])(?:" + b"|".join(folders) + rb")[a-z]")
    found = [
        f"{file.relative_to(REPOSITORY)}: {match.group().decode()}..."
        for file in _tracked_files()
        for content in [file.read_bytes()]
        # Looked for first, which is many times as fast.
        if any(map(content.__contains__, folders)) and (match := pattern.search(content))
    ]
    assert not found, f"paths that exist on one machine only: {found}"
