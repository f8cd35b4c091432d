"""The notebook runs from top to bottom as a reader would run it."""

from pathlib import Path

import nbclient
import nbformat
import pytest


@pytest.mark.slow
def test_quickstart_runs(repository: Path, tmp_path: Path) -> None:
    notebook = nbformat.read(repository / "notebooks" / "quickstart.ipynb", as_version=4)
    client = nbclient.NotebookClient(
        notebook, timeout=600, kernel_name="python3", resources={"metadata": {"path": tmp_path}}
    )
    client.execute()
    outputs = [o for cell in notebook.cells for o in cell.get("outputs", [])]
    assert not [o for o in outputs if o.output_type == "error"]
    assert any("image/png" in o.get("data", {}) for o in outputs)
