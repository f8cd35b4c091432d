"""Fixtures: tiny encoders of every dialect (written once per session), sample data, marks."""

import collections
import contextlib
import fcntl
import gc
import logging
import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

# TensorFlow reads these once, when it is first imported.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("MPLBACKEND", "Agg")

REPOSITORY = Path(__file__).resolve().parents[1]


def _data_folder() -> Path:
    return Path(os.environ.get("TFHUB_TRANSFER_DATA", REPOSITORY.parent / "shared" / "data"))


def _weights_folder() -> Path | None:
    name = os.environ.get("TFHUB_TRANSFER_WEIGHTS")
    return Path(name) if name else None


# Tables whose rows may go to different processes.
_BY_ROW = ("test_doors.py", "test_notebooks.py", "test_readme.py")
# The files that take longest: they start first, so that all processes end at about the same time.
_LONGEST = [
    *("test_notebooks.py", "test_replicas.py", "test_workers.py", "test_distillation.py"),
    "test_similarity.py",
    *("test_multitask.py", "test_filling.py", "test_stages.py", "test_checkpoints.py"),
    *("test_advice.py", "test_serving.py", "test_doors.py", "test_readme.py", "test_regression.py"),
    *("test_finetuning.py", "test_judging.py", "test_resuming.py", "test_asking.py"),
    *("test_questions.py", "test_words.py", "test_cli.py", "test_training_by_hand.py"),
]


# Among the slow ones these run as users have it: graphs optimized, heads trained to their end.
_OPTIMIZED = [f"test_{name}.py" for name in "serving graph real_data".split()]
# And with `--all`, these too.
_OPTIMIZED_WITH_ALL = ["test_doors.py"]


def pytest_addoption(parser: pytest.Parser) -> None:
    """`--all` runs what takes minutes too."""
    parser.addoption("--all", action="store_true", help="also run tests marked slow")


def _runs_all(config: pytest.Config) -> bool:
    asked = re.sub(r"not\s+slow", "", config.getoption("markexpr", ""))
    return config.getoption("--all") or "slow" in asked


def _as_users_have_it(request: pytest.FixtureRequest) -> bool:
    file, config = request.path.name, request.config
    if file in _OPTIMIZED_WITH_ALL:
        return config.getoption("--all")
    return _runs_all(config) and file in _OPTIMIZED


# Single cases that take some seconds, and long tests whose subject others cover too, as
# `--durations` shows them.
_LISTED = {
    mark: frozenset((Path(__file__).parent / f"{mark}.txt").read_text("utf-8").splitlines())
    for mark in ("slow", "exhaustive")
}


# Rows of tables that put together what others have apart.
_ROWS_OF_ALL = re.compile(r"\[(?:.*-)?translation among others\b")


def pytest_itemcollected(item: pytest.Item) -> None:
    """Marks what waits for `--all`, and what `.ci/run` leaves to it too."""
    for mark, listed in _LISTED.items():
        row = f"{item.path.name}::{item.nodeid.partition('::')[2]}"
        if row in listed or _ROWS_OF_ALL.search(row):
            item.add_marker(mark)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Skips what needs files that are not here, and slow tests that nobody asked for."""
    weights = _weights_folder()
    absent = {
        "data": (
            not _data_folder().is_dir(),
            "needs the labelled data: set TFHUB_TRANSFER_DATA to its folder",
        ),
        "weights": (
            weights is None or not weights.is_dir(),
            "needs all-MiniLM-L6-v2: set TFHUB_TRANSFER_WEIGHTS to its Hugging Face folder",
        ),
        "slow": (not _runs_all(config), "slow: give --all"),
    }
    rank = {name: place for place, name in enumerate(_LONGEST)}
    items.sort(key=lambda item: rank.get(item.path.name, len(rank)))
    for item in items:
        for name, (is_absent, reason) in absent.items():
            if is_absent and item.get_closest_marker(name):
                item.add_marker(pytest.mark.skip(reason=reason))


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Says how many tests were skipped, and why."""
    reasons = collections.Counter(
        report.longrepr[2].removeprefix("Skipped: ")
        for report in terminalreporter.stats.get("skipped", [])
    )
    for reason, count in reasons.most_common():
        terminalreporter.write_line(f"{count} skipped: {reason}")


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Gives a whole file to one process, which so makes its models once; the longest come first."""
    from xdist.scheduler import LoadScopeScheduling

    class ByFile(LoadScopeScheduling):
        """As `--dist loadfile`, but the rows of a large table can go to different processes."""

        def _split_scope(self, nodeid: str) -> str:
            file, _, test = nodeid.partition("::")
            row = test.partition("[")[2].partition("-")[0] if file.endswith(_BY_ROW) else ""
            return f"{file} {row}"

    config.option.loadscopereorder = False
    return ByFile(config, log)


@pytest.fixture(scope="session")
def repository() -> Path:
    """The folder of the checkout."""
    return REPOSITORY


@pytest.fixture(scope="session")
def data_folder() -> Path:
    """The labelled data sets; for tests marked `data`."""
    return _data_folder()


@pytest.fixture(scope="session")
def weights_folder() -> Path:
    """The Hugging Face folder of all-MiniLM-L6-v2; for tests marked `weights`."""
    folder = _weights_folder()
    assert folder is not None, "only tests marked `weights` may ask for this"
    return folder


@pytest.fixture(scope="session", autouse=True)
def own_caches(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """No test reads or fills the download caches of whoever runs it."""
    folder = tmp_path_factory.mktemp("caches")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TFHUB_CACHE_DIR", str(folder / "tfhub"))
        patch.setenv("KAGGLEHUB_CACHE", str(folder / "kaggle"))
        patch.setenv("TFDS_DATA_DIR", str(folder / "tfds"))
        patch.setenv("TFHUB_TRANSFER_CACHE_DIR", str(folder / "vectors"))
        yield folder


@pytest.fixture(scope="session", autouse=True)
def float32() -> Iterator[None]:
    """Answers are compared to many digits, on machines with and without bfloat16 units."""
    from tfhub_transfer import runtime

    with runtime.precision("float32"):
        yield


@pytest.fixture(scope="module", autouse=True)
def graph_optimizer(request: pytest.FixtureRequest) -> None:
    """TensorFlow's takes half a second for each graph, so it is on only where it is looked at."""
    _optimize(_as_users_have_it(request))


@pytest.fixture(scope="session", autouse=True)
def no_stack_for_each_operation() -> Iterator[None]:
    """TensorFlow keeps with each operation the stack that made it, and pytest's are deep.

    That was a fifteenth of the time of all tests; it serves messages of TensorFlow's own errors.
    """
    from tensorflow.python.util import tf_stack

    stack = tf_stack.extract_stack()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tf_stack, "extract_stack", lambda stacklevel=1: stack)
        yield


@pytest.fixture(scope="module", autouse=True)
def old_objects_are_left_alone() -> Iterator[None]:
    """TensorFlow keeps the graphs of a process: passing through them all takes seconds later on."""
    yield
    gc.collect()
    gc.freeze()


@pytest.fixture(autouse=True)
def graph_optimizer_for_bfloat16(request: pytest.FixtureRequest) -> Iterator[None]:
    """As users have it: what is fused to one kernel is rounded once."""
    asked = _runs_all(request.config) and "bfloat16" in request.node.name
    if asked:
        _optimize(True)
    yield
    if asked:
        _optimize(_as_users_have_it(request))


def _optimize(graphs: bool) -> None:
    import tensorflow as tf

    tf.config.optimizer.set_experimental_options({"disable_meta_optimizer": not graphs})


@pytest.fixture(scope="module", autouse=True)
def short_heads(request: pytest.FixtureRequest) -> Iterator[None]:
    """Of few rows a head makes hundreds of short epochs; with `--all` it does in some files."""
    from tfhub_transfer.optimization import planning

    with pytest.MonkeyPatch.context() as patch:
        if not _as_users_have_it(request):
            patch.setattr(planning, "HEAD_STEPS", 40)
            patch.setattr(planning, "THAWED_STEPS", 8)
        yield


@pytest.fixture(scope="session")
def factory() -> Any:
    """The module `saved_model_factory`."""
    # Imported here: it imports TensorFlow (3 s), and half of the test files do without.
    import saved_model_factory

    return saved_model_factory


@pytest.fixture(scope="session")
def encoder_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder in which the encoders of this session are written, one folder each."""
    base = tmp_path_factory.getbasetemp()
    # pytest-xdist gives each of its processes a folder of its own in the session's.
    shared = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base
    folder = shared / "encoders"
    folder.mkdir(exist_ok=True)
    return folder


@contextlib.contextmanager
def _lock(path: Path) -> Iterator[None]:
    with open(path, "w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


@pytest.fixture(scope="session")
def make_encoder(encoder_folder: Path, factory: Any) -> Callable[..., Path]:
    """Returns `make(kind)`: the folder of an encoder by its kind, written when first asked for.

    The kinds are the names of the fixtures below, so that a test can be parametrized over them.
    All processes of a session share them.
    """
    f = factory
    kinds: dict[str, Callable[[Path], Path]] = {
        "text_encoder": f.write_text_encoder,
        "text_encoder_frozen": lambda to: f.write_text_encoder(to, trainable=False),
        "bert_encoder": f.write_bert_encoder,
        "bert_still": lambda to: f.write_bert_encoder(to, dropout=0.0),
        "long_encoder": lambda to: f.write_bert_encoder(to, positions=512),
        "bert_prefixed_encoder": lambda to: f.write_bert_encoder(to, prefix="bert_encoder/"),
        "bert_slash_encoder": lambda to: f.write_bert_encoder(to, prefix="bert/encoder/"),
        "albert_encoder": lambda to: f.write_bert_encoder(to, albert=True),
        "list_style_encoder": f.write_list_style_encoder,
        "bert_without_variables": lambda to: f.write_bert_encoder(to, listing="no variables"),
        "bert_odd_variables": lambda to: f.write_bert_encoder(to, listing="odd variables"),
        "bert_without_trainable": lambda to: f.write_bert_encoder(to, listing="no trainable"),
        "bert_without_lists": lambda to: f.write_bert_encoder(to, listing="neither"),
        "bert_frozen": lambda to: f.write_bert_encoder(to, listing="frozen"),
        "v1_module": f.write_v1_module,
        "encoder_without_call": f.write_encoder_without_call,
        "vision_encoder": f.write_vision_encoder,
        "truncated_encoder": lambda to: f.truncate_variables(to, make("bert_encoder")),
        "unknown_op_encoder": lambda to: f.rename_operation(to, make("bert_encoder")),
        "preprocessor": f.write_preprocessor,
        "bert_with_preprocessor": lambda to: _with_preprocessor(f, to),
    }

    def make(kind: str) -> Path:
        folder, scratch = encoder_folder / kind, encoder_folder / f"{kind}.partial"
        with _lock(encoder_folder / f"{kind}.lock"):
            if not folder.exists():
                kinds[kind](scratch).rename(folder)
        return folder

    return make


def _with_preprocessor(factory: Any, folder: Path) -> Path:
    factory.write_bert_encoder(folder)
    factory.write_preprocessor(folder / "preprocessor")
    return folder


def _encoder_fixture(kind: str, meaning: str) -> Any:
    def fixture(make_encoder: Callable[[str], Path]) -> Path:
        return make_encoder(kind)

    fixture.__doc__ = meaning
    return pytest.fixture(fixture, scope="session", name=kind)


_text = _encoder_fixture("text_encoder", "NNLM-like: strings [n] -> [n, 8].")
_text_frozen = _encoder_fixture("text_encoder_frozen", "The same, its variable not trainable.")
_bert = _encoder_fixture("bert_encoder", "BERT, 2 layers of 16, as the Model Garden exports it.")
_still = _encoder_fixture("bert_still", "The same without dropout.")
_bert_prefixed = _encoder_fixture("bert_prefixed_encoder", "Its names start with `bert_encoder/`.")
_bert_slash = _encoder_fixture("bert_slash_encoder", "Its names start with `bert/encoder/`.")
_albert = _encoder_fixture("albert_encoder", "One block shared by 2 layers.")
_list_style = _encoder_fixture(
    "list_style_encoder", "obj([ids, mask, types]) of the first versions."
)
_no_variables = _encoder_fixture("bert_without_variables", "BERT without `.variables`.")
_odd_variables = _encoder_fixture("bert_odd_variables", "`.variables` holds None, and a bool.")
_no_trainable = _encoder_fixture("bert_without_trainable", "BERT without `.trainable_variables`.")
_no_lists = _encoder_fixture("bert_without_lists", "BERT without either list.")
_bert_frozen = _encoder_fixture("bert_frozen", "BERT with nothing that is trainable.")
_v1 = _encoder_fixture("v1_module", "A TF1 hub module.")
_no_call = _encoder_fixture("encoder_without_call", "A SavedModel that cannot be called.")
_vision = _encoder_fixture("vision_encoder", "A SavedModel that reads images.")
_truncated = _encoder_fixture("truncated_encoder", "BERT whose weights file is cut off.")
_unknown_op = _encoder_fixture("unknown_op_encoder", "BERT with an operation TensorFlow lacks.")
_preprocessor = _encoder_fixture("preprocessor", "A TF Hub BERT preprocessor, 32 positions.")
_with = _encoder_fixture(
    "bert_with_preprocessor", "BERT with its preprocessor beside, as `convert` lays it out."
)


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str, str]]:
    """Runs a command in this process: its exit status, standard output and standard error."""
    from tfhub_transfer import cli

    def call(*words: Any) -> tuple[int, str, str]:
        capsys.readouterr()
        status = cli.main([str(word) for word in words])
        out, err = capsys.readouterr()
        return status, out, err

    return call


class _Heard(logging.Handler):
    def __init__(self) -> None:
        super().__init__()
        self.said: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.said.append(record.getMessage())


@pytest.fixture
def heard(request: pytest.FixtureRequest) -> list[str]:
    """What TensorFlow's logger says, which the command line silences."""
    logger, handler = logging.getLogger("tensorflow"), _Heard()
    before = logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.WARNING)

    def undo() -> None:
        logger.removeHandler(handler)
        logger.setLevel(before)

    request.addfinalizer(undo)
    return handler.said


@pytest.fixture(scope="session")
def train_whole() -> Callable[..., Any]:
    """`train_whole(model, examples, epochs)`: all of it at once, by one trace of Keras' `fit`.

    For models that only have to know something; how `fine_tune` trains is tested elsewhere.
    """

    def train(model: Any, examples: Any, epochs: int, batch_size: int = 8) -> Any:
        model.encoder.freeze_to(0)
        model.fit(model.preprocess(examples, batch_size), epochs=epochs, verbose=0)
        model.training_examples = examples
        return model

    return train


@pytest.fixture(scope="session")
def sentiment(factory: Any) -> tuple[list[str], list[str]]:
    """40 learnable texts and their labels, "negative" and "positive"."""
    return factory.sentiment_data(40)
