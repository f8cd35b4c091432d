"""What the site has beside the guides: the README as its first page, and the files beside it.

The guides' links lead to files of the checkout; here they are made to lead to pages of the site.
"""

import posixpath
import re
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files

_BESIDE = {
    "README.md": "index.md",
    "SECURITY.md": "security.md",
    "CONTRIBUTING.md": "contributing.md",
    "CHANGELOG.md": "changelog.md",
}
_PICTURE = "notebooks/demo_confusion.png"


def on_files(files: Files, config: Any) -> Files:
    """Adds the files that lie beside `docs/`."""
    root = Path(config.config_file_path).parent
    for name, page in _BESIDE.items():
        text = (root / name).read_text(encoding="utf-8")
        files.append(File.generated(config, page, content=text))
    files.append(File.generated(config, _PICTURE, abs_src_path=str(root / _PICTURE)))
    return files


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """The text with links to pages of the site, not to files of the checkout."""
    path = page.file.src_uri
    beside = {new: old for old, new in _BESIDE.items()}
    written = beside.get(path, f"docs/{path}")

    def lead(match: re.Match[str]) -> str:
        target, _, section = match[1].partition("#")
        if not target or "://" in target:
            return match[0]
        whole = posixpath.normpath(posixpath.join(posixpath.dirname(written), target))
        there = _BESIDE.get(whole, whole.removeprefix("docs/"))
        link = posixpath.relpath(there, posixpath.dirname(path) or ".")
        return f"]({link}{'#' + section if section else ''})"

    return re.sub(r"\]\(([^)\s]+)\)", lead, markdown)
