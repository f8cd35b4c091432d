"""The list of mutants fits the source as it is; `make mutants` tries them."""

from pathlib import Path
from typing import Any

import mutants
import pytest

PACKAGE = Path(mutants.REPOSITORY, "tfhub_transfer")
MUTANTS = mutants.read()
# They hold no code to break.
NO_CODE = {"errors.py", "shapes.py", "__main__.py"}


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda m: f"{m['file']}: {m['breaks']}")
def test_a_mutant_applies_and_its_tests_exist(mutant: dict[str, Any]) -> None:
    source = (PACKAGE / mutant["file"]).read_text(encoding="utf-8")
    broken = mutants.mutated(source, mutant)
    assert broken != source
    compile(broken, mutant["file"], "exec")
    assert mutant["tests"]
    for name in mutant["tests"]:
        assert list(Path(__file__).parent.rglob(f"test_{name}.py")), name


def test_every_module_has_a_mutant() -> None:
    modules = {path.relative_to(PACKAGE).as_posix() for path in PACKAGE.rglob("*.py")}
    modules = {name for name in modules if not name.endswith("__init__.py")}
    assert modules - NO_CODE <= {mutant["file"] for mutant in MUTANTS}


def test_a_piece_that_is_gone_or_comes_twice_is_refused() -> None:
    mutant = {"file": "a.py", "breaks": "it", "old": "x", "new": "y"}
    with pytest.raises(ValueError, match="`old` must occur once. Received: 0 times"):
        mutants.mutated("z", mutant)
    with pytest.raises(ValueError, match="Received: 2 times"):
        mutants.mutated("x x", mutant)
