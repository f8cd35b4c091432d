"""The notebook runs from top to bottom as a reader would run it."""

from pathlib import Path

import nbclient
import nbformat
import pytest

# As `conftest.py` has it for other tests. With what users have, `.ci/run` runs the demo.
QUICK = """
import os
os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
import tensorflow as tf
from tfhub_transfer import runtime
from tfhub_transfer.optimization import planning
tf.config.optimizer.set_experimental_options({"disable_meta_optimizer": True})
planning.HEAD_STEPS = 40
float32 = runtime.precision("float32")
float32.__enter__()
"""


@pytest.mark.slow
def test_quickstart_runs(repository: Path, tmp_path: Path) -> None:
    notebook = nbformat.read(repository / "notebooks" / "quickstart.ipynb", as_version=4)
    notebook.cells.insert(0, nbformat.v4.new_code_cell(QUICK))
    client = nbclient.NotebookClient(
        notebook, timeout=600, kernel_name="python3", resources={"metadata": {"path": tmp_path}}
    )
    client.execute()
    outputs = [o for cell in notebook.cells for o in cell.get("outputs", [])]
    assert not [o for o in outputs if o.output_type == "error"]
    assert any("image/png" in o.get("data", {}) for o in outputs)
