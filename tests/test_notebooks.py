"""The notebooks run from top to bottom as a reader would run them.

With `--all` it is with the packaged encoder; else "auto" is a tiny one, as in `test_readme.py`.
"""

from collections.abc import Callable
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
planning.HEAD_STEPS, planning.THAWED_STEPS = 40, 8
float32 = runtime.precision("float32")
float32.__enter__()
"""
TINY = """
from tfhub_transfer.encoders import registry
registry.DEFAULT_ENCODER = {!r}
"""

NOTEBOOKS = sorted((Path(__file__).parents[1] / "notebooks").glob("*.ipynb"))


@pytest.mark.slow
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_runs(
    path: Path,
    tmp_path: Path,
    make_encoder: Callable[[str], Path],
    pytestconfig: pytest.Config,
) -> None:
    notebook = nbformat.read(path, as_version=4)
    tiny = "" if pytestconfig.getoption("--all") else TINY.format(str(make_encoder("long_encoder")))
    notebook.cells.insert(0, nbformat.v4.new_code_cell(QUICK + tiny))
    client = nbclient.NotebookClient(
        notebook, timeout=600, kernel_name="python3", resources={"metadata": {"path": tmp_path}}
    )
    client.execute()
    outputs = [o for cell in notebook.cells for o in cell.get("outputs", [])]
    assert not [o for o in outputs if o.output_type == "error"]
    shown = {kind for output in outputs for kind in output.get("data", {})}
    assert {"image/png", "text/html"} & shown
    assert not [cell for cell in nbformat.read(path, as_version=4).cells if cell.get("outputs")]
