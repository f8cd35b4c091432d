"""The reference holds all that users script against, and the site's list of pages all guides."""

import importlib
import re
from pathlib import Path

import tfhub_transfer as tt

REPOSITORY = Path(__file__).resolve().parents[1]
DOCS = REPOSITORY / "docs"


def described() -> list[str]:
    """What the pages of the reference name, without the package's own name."""
    text = "\n".join(page.read_text("utf-8") for page in DOCS.glob("api/*.md"))
    return re.findall(r"^::: tfhub_transfer\.(\S+)$", text, re.MULTILINE)


def test_the_reference_has_every_public_name() -> None:
    names = described()
    assert len(names) == len(set(names))
    rooms = {"registry": "encoders.registry", "runtime": "runtime"}
    wanted = {rooms.get(name, name) for name in tt.__all__} - {"__version__", "data", "tasks"}
    wanted |= {f"data.{name}" for name in tt.data.__all__}
    wanted |= {f"tasks.{kind.__name__}" for kind in tt.tasks.TASKS.values()}
    wanted |= {"tasks.Task", "tasks.register"}
    assert wanted - {"data.require_examples", "data.class_weights"} <= set(names)
    for name in names:
        room, _, last = name.rpartition(".")
        try:
            found = getattr(importlib.import_module(f"tfhub_transfer.{room}".rstrip(".")), last)
        except AttributeError:
            found = importlib.import_module(f"tfhub_transfer.{name}")
        assert found.__doc__, name


def test_every_page_has_its_place() -> None:
    listed = set(re.findall(r"^ +- (?:\w+: )?(\S+\.md)$", _settings(), re.MULTILINE))
    pages = {page.relative_to(DOCS).as_posix() for page in DOCS.rglob("*.md")}
    beside = {"index.md", "security.md", "contributing.md", "changelog.md"}
    assert listed == pages | beside


def _settings() -> str:
    return (REPOSITORY / "mkdocs.yml").read_text("utf-8")
