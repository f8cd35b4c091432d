"""What is declared, what travels in the wheel, and that nothing heavy is imported at the start."""

import ast
import configparser
import json
import re
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

# Each takes a noticeable part of a second to import, TensorFlow three.
HEAVY = "h5py keras keras_tuner matplotlib numpy pandas pyarrow scipy sklearn tensorflow".split()


@pytest.fixture(scope="module")
def setup_cfg(repository: Path) -> configparser.ConfigParser:
    config = configparser.ConfigParser()
    config.read(repository / "setup.cfg", encoding="utf-8")
    return config


def _requirements(config: configparser.ConfigParser) -> dict[str, str]:
    lines = config["options"]["install_requires"].splitlines()
    lines = [line.strip() for line in lines if line.strip() and not line.startswith("#")]
    return dict(re.match(r"([\w-]+)(.*)", line).groups() for line in lines)


def test_the_version_is_the_same_everywhere(
    repository: Path, setup_cfg: configparser.ConfigParser
) -> None:
    tree = ast.parse((repository / "tfhub_transfer" / "__init__.py").read_text(encoding="utf-8"))
    versions = [
        ast.literal_eval(node.value)
        for node in tree.body
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__version__"
    ]
    assert versions == [setup_cfg["metadata"]["version"]]
    changes = (repository / "CHANGELOG.md").read_text(encoding="utf-8")
    assert re.findall(r"^## \[(\d[^]]*)\]", changes, re.MULTILINE)[0] == versions[0]


def test_every_folder_of_the_package_is_found(repository: Path) -> None:
    folders = {path.parent for path in (repository / "tfhub_transfer").rglob("*.py")}
    without = [folder for folder in folders if not (folder / "__init__.py").is_file()]
    assert not without, "setuptools finds folders with an `__init__.py` only"
    names = {folder.relative_to(repository).as_posix().replace("/", ".") for folder in folders}
    ask = [sys.executable, "setup.py", "-q", "--name"]
    code = "import setuptools; setuptools.setup = lambda packages: print(*packages); import setup"
    done = subprocess.run(
        [ask[0], "-c", code], cwd=repository, capture_output=True, text=True, check=True
    )
    assert set(done.stdout.split()) == names | {"tfhub_transfer.saved_models"}


def test_known_traps_of_the_dependencies(setup_cfg: configparser.ConfigParser) -> None:
    needed = _requirements(setup_cfg)
    assert needed["tensorflow-text"] == needed["tensorflow"]
    assert needed["setuptools"].endswith("<82")
    assert {"tensorboard", "importlib_resources"} <= needed.keys()


def test_the_entry_point_exists(repository: Path, setup_cfg: configparser.ConfigParser) -> None:
    scripts = setup_cfg["options.entry_points"]["console_scripts"]
    assert scripts.strip() == "tfhub-transfer = tfhub_transfer.__main__:run"
    tree = ast.parse((repository / "tfhub_transfer" / "cli.py").read_text(encoding="utf-8"))
    assert any(isinstance(node, ast.FunctionDef) and node.name == "main" for node in tree.body)


@pytest.mark.parametrize("arguments", [["--help"], ["train", "--help"], ["encoders", "--json"]])
def test_starts_without_heavy_imports(repository: Path, arguments: list[str]) -> None:
    code = f"""
import json, runpy, sys
sys.argv = ["tfhub-transfer", *{arguments!r}]
try:
    runpy.run_module("tfhub_transfer", run_name="__main__")
except SystemExit as stop:
    status = stop.code or 0
else:
    status = 0
print(json.dumps([status, sorted(set({HEAVY!r}) & set(sys.modules))]), file=sys.stderr)
"""
    answer = subprocess.run(
        [sys.executable, "-c", code], cwd=repository, capture_output=True, text=True, check=True
    )
    assert json.loads(answer.stderr.splitlines()[-1]) == [0, []]
    assert answer.stdout.startswith("[" if "--json" in arguments else "usage: tfhub-transfer")


def test_the_facade_offers_what_it_lists(repository: Path) -> None:
    code = """
import sys
import tfhub_transfer as tt
assert "tensorflow" not in sys.modules, "importing the package imports TensorFlow"
missing = [name for name in tt.__all__ if not hasattr(tt, name)]
assert not missing, missing
assert set(tt.__all__) <= set(dir(tt))
"""
    command = [sys.executable, "-c", code]
    answer = subprocess.run(command, cwd=repository, capture_output=True, text=True, check=False)
    assert answer.returncode == 0, answer.stderr


def test_quick_start_is_two_commands(repository: Path) -> None:
    readme = (repository / "README.md").read_text(encoding="utf-8")
    (section,) = re.findall(r"^## Quick start\n(.*?)(?=^## |\Z)", readme, re.DOTALL | re.MULTILINE)
    fences = re.findall(r"^```(\w*)\n(.*?)^```$", section, re.DOTALL | re.MULTILINE)
    assert [language for language, _ in fences] == ["bash", "bash"]
    commands = [text.strip().splitlines() for _, text in fences]
    assert [len(lines) for lines in commands] == [1, 1]
    assert "tfhub-transfer demo" in commands[0][0]
    assert "[test]" in commands[1][0] and "pytest" in commands[1][0]


def test_the_readme_names_the_right_python(
    repository: Path, setup_cfg: configparser.ConfigParser
) -> None:
    supported = setup_cfg["options"]["python_requires"]
    low, high = re.fullmatch(r">=3\.(\d+),<3\.(\d+)", supported).groups()
    readme = (repository / "README.md").read_text(encoding="utf-8")
    assert f"Python 3.{low} to 3.{int(high) - 1}" in readme


def _build(tree: Path, kind: str, output: Path) -> Path:
    code = f"import sys, setuptools.build_meta as b; print(b.build_{kind}(sys.argv[1]))"
    output.mkdir()
    command = [sys.executable, "-c", code, str(output)]
    answer = subprocess.run(command, cwd=tree, capture_output=True, text=True, check=False)
    assert answer.returncode == 0, answer.stderr
    return output / answer.stdout.splitlines()[-1]


@pytest.fixture(scope="module")
def source_tree(repository: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of what the build reads: building in place would leave files in the checkout."""
    folder = tmp_path_factory.mktemp("tree") / "tfhub-transfer"
    leave_out = shutil.ignore_patterns(".*", "__pycache__", "build", "dist", "*.egg-info", "out")
    shutil.copytree(repository, folder, ignore=leave_out)
    return folder


def _shipped(tree: Path) -> set[str]:
    package = [
        p
        for p in (tree / "tfhub_transfer").rglob("*")
        if p.is_file() and p.suffix not in (".pyc", ".typed")
    ]
    modules = {path.relative_to(tree).as_posix() for path in package}
    encoders = [path for path in (tree / "saved_models").rglob("*") if path.is_file()]
    return modules | {f"tfhub_transfer/{p.relative_to(tree).as_posix()}" for p in encoders}


@pytest.mark.slow
def test_the_wheel_holds_the_package_and_its_encoders(source_tree: Path, tmp_path: Path) -> None:
    wheel = zipfile.ZipFile(_build(source_tree, "wheel", tmp_path / "wheel"))
    names = {name for name in wheel.namelist() if ".dist-info/" not in name}
    assert names - {"tfhub_transfer/py.typed"} == _shipped(source_tree)
    (scripts,) = [name for name in wheel.namelist() if name.endswith("entry_points.txt")]
    assert b"tfhub-transfer = tfhub_transfer.__main__:run" in wheel.read(scripts)
    assert any(name.endswith("/LICENSE") for name in wheel.namelist())


@pytest.mark.slow
def test_the_wheel_of_the_source_archive_is_the_same(source_tree: Path, tmp_path: Path) -> None:
    with tarfile.open(_build(source_tree, "sdist", tmp_path / "sdist")) as archive:
        archive.extractall(tmp_path / "unpacked", filter="data")
    (tree,) = (tmp_path / "unpacked").iterdir()
    assert _shipped(tree) == _shipped(source_tree)
    for name in ("tests/saved_model_factory.py", "mkdocs.yml", "docs/site/pages.py"):
        assert (tree / name).is_file(), name
    wheel = zipfile.ZipFile(_build(tree, "wheel", tmp_path / "wheel"))
    assert _shipped(source_tree) <= set(wheel.namelist())
