"""Numbers that guides, help and docstrings name are those of the code, and each has one place."""

import ast
import collections
import inspect
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import tfhub_transfer as tt
from tfhub_transfer.data import outliers
from tfhub_transfer.encoders import preprocessing
from tfhub_transfer.evaluation import cautions
from tfhub_transfer.incoming import ranges, usual, wording
from tfhub_transfer.models import building
from tfhub_transfer.optimization import planning
from tfhub_transfer.recipes import encoder_distillation
from tfhub_transfer.reporting import confidence_bins, metrics
from tfhub_transfer.storage import budget, signals
from tfhub_transfer.tasks.questions import layout as windows
from tfhub_transfer.tasks.similarity import losses
from tfhub_transfer.training import headlines

REPOSITORY = Path(__file__).parents[1]
PACKAGE = REPOSITORY / "tfhub_transfer"
IN_WORDS = {"three": 3.0, "four": 4.0, "fiftieth": 1 / 50}
BY_TOKENS = planning.HEAD_STEPS // planning.THROUGH_ENCODER

GUIDES = {
    r"heads get (\S+) steps at least \((\S+) where each runs": (planning.HEAD_STEPS, BY_TOKENS),
    r"a thawed encoder (\S+) \(some (\S+) passes at most": (
        planning.THAWED_STEPS,
        planning.MOST_PASSES,
    ),
    r"passes at most, and at least (\S+) epochs\)": (planning.THAWED_EPOCHS,),
    r"of up to (\S+) validation examples": (headlines.MOST_EXAMPLES,),
    r"span of words over all of them, at most (\S+) ": (
        tt.tasks.QuestionAnswering().max_answer_words,
    ),
    r"(-\S+) where a context has no word": (windows.NO_MARGIN,),
    r"`--batch-size N` \| default (\S+) ": (usual.BATCH_SIZE,),
    r"most tokens of a text; default (\S+) or (\S+) ": (
        usual.SEQUENCE_LENGTH,
        usual.QUESTION_LENGTH,
    ),
    r"`--temperature X` \| of the answers; default (\S+) ": (usual.TEMPERATURE,),
    r"`--share X` \| weight of the teachers; default (\S+) ": (usual.TEACHERS_SHARE,),
    r"`--layers N` \| of the student; default (\S+) ": (usual.STUDENT_LAYERS,),
    r"as many as the rows need, from (\S+);": (planning.THAWED_EPOCHS,),
    r"`TFHUB_TRANSFER_CACHE_BYTES` \((\S+) GB": (budget.MOST_BYTES / 1e9,),
    r"(\S+) \+ its number after a signal": (signals.exit_status(0),),
    r"a class has under (\S+) examples": (cautions.FEW,),
    r"labels that lie (\S+) robust spreads": (outliers.FAR,),
    r"labels of more than (\S+) characters": (wording.LONGEST_NAME,),
}
DOCSTRINGS = {
    (tt.Preprocessor, r"tokens counted; (\S+)\s+if not given"): (usual.SEQUENCE_LENGTH,),
    (preprocessing.make_preprocessor, r"of a text; (\S+) if not given"): (usual.SEQUENCE_LENGTH,),
    (preprocessing.CodePointPreprocessor, r"is cut at (\S+) characters"): (
        ranges.SEQUENCE_LENGTH[1],
    ),
    (building.build_model, r"not given (\S+) \((\S+) for questions\)"): (
        usual.SEQUENCE_LENGTH,
        usual.QUESTION_LENGTH,
    ),
    (
        building.default_optimizer,
        r"usual: (\S+) for a BERT up to (\S+) wide, (\S+) for a wider one, (\S+) for embeddings",
    ): (
        planning.SMALL_BERT_RATE,
        planning.SMALL_BERT_DIMENSION,
        planning.LARGE_BERT_RATE,
        planning.EMBEDDING_RATE,
    ),
    (metrics.calibration, r"over (\S+) equal bins"): (metrics.BINS,),
    (confidence_bins.pooled, r"the (\S+) equal bins"): (metrics.BINS,),
    (metrics.intervals, r"draws the rows anew (\S+) times"): (metrics.RESAMPLES,),
    (tt.tasks.Similarity, r"\"contrastive\"` \((\S+) if not given\) and `\"triplet\"` \((\S+)\)"): (
        losses.CONTRASTIVE_MARGIN,
        losses.TRIPLET_MARGIN,
    ),
    (encoder_distillation.distill_encoder, r"a\s+(\S+) of the texts \((\S+) at most\)"): (
        encoder_distillation.VALIDATION,
        encoder_distillation.MOST_VALIDATION,
    ),
}
# Defaults of one name that are the same number by chance: each is about something else.
BY_CHANCE = {"batch_size 64", "dropout 0.1", "sequence_length 128"}


def number(text: str) -> float:
    text = text.rstrip(".,;:)").replace(",", "")
    return IN_WORDS[text] if text in IN_WORDS else float(text)


def found(pattern: str, text: str) -> list[tuple[float, ...]]:
    spaced = pattern.replace(" ", r"\s+")
    return [tuple(map(number, match.groups())) for match in re.finditer(spaced, text)]


@pytest.mark.parametrize("pattern", GUIDES)
def test_guides_name_the_numbers_of_the_code(pattern: str) -> None:
    guides = (*REPOSITORY.glob("*.md"), *(REPOSITORY / "docs").rglob("*.md"))
    told = [each for path in guides for each in found(pattern, path.read_text("utf-8"))]
    assert told, "no guide says so any longer: mend the pattern"
    assert set(told) == {GUIDES[pattern]}


@pytest.mark.parametrize("about", DOCSTRINGS, ids=lambda about: about[0].__name__)
def test_docstrings_name_the_numbers_of_the_code(about: tuple[Any, str]) -> None:
    told = found(about[1], inspect.getdoc(about[0]) or "")
    assert told, "the docstring doesn't say so any longer: mend the pattern"
    assert set(told) == {DOCSTRINGS[about]}


def value(node: ast.expr | None) -> float | None:
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
        inner = value(node.operand)
        return None if inner is None else -inner
    told = node.value if isinstance(node, ast.Constant) else None
    return told if isinstance(told, int | float) and not isinstance(told, bool) else None


def defaults(tree: ast.Module) -> Iterator[tuple[str, float]]:
    """Names and numbers of what arguments and fields of a module are where nobody says."""
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef):
            said = node.args
            last = (said.posonlyargs + said.args)[::-1]
            given = [*zip(last, said.defaults[::-1]), *zip(said.kwonlyargs, said.kw_defaults)]
            pairs = [(argument.arg, default) for argument, default in given]
        elif isinstance(node, ast.ClassDef):
            fields = (each for each in node.body if isinstance(each, ast.AnnAssign))
            pairs = [(ast.unparse(each.target), each.value) for each in fields]
        else:
            continue
        found = ((name, value(default)) for name, default in pairs)
        yield from ((name, each) for name, each in found if each is not None)


def test_a_default_has_one_place() -> None:
    places: dict[str, set[str]] = collections.defaultdict(set)
    for path in PACKAGE.rglob("*.py"):
        for name, each in defaults(ast.parse(path.read_text("utf-8"))):
            if abs(each) not in (0, 1):  # which say nothing
                places[f"{name} {each}"].add(path.relative_to(PACKAGE).as_posix())
    several = {told for told, modules in places.items() if len(modules) > 1}
    assert several <= BY_CHANCE, "give it a name in `incoming.usual`, or where it is made"


def test_there_is_one_score_of_what_must_not_be_chosen() -> None:
    low: dict[str, set[float]] = collections.defaultdict(set)
    for path in PACKAGE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            each = value(node) if isinstance(node, ast.UnaryOp) else None
            if each is not None and each <= -10_000:
                low[path.relative_to(PACKAGE).as_posix()].add(each)
    # Encoders may compute in float16, which ends at -65,504.
    assert low == {"runtime/masking.py": {-1e9}, "encoders/bert_graphs.py": {-30000.0}}
