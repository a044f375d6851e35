"""The tutorial runs from top to bottom, offline."""

from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

TUTORIAL = Path(__file__).resolve().parents[2] / "analyses" / "tutorial.ipynb"
MOST_LINES = 10


@pytest.mark.filterwarnings("ignore")  # what the kernel and its sockets say is not ours
def test_the_tutorial_runs(tmp_path):
    notebook = nbformat.read(TUTORIAL, as_version=4)
    NotebookClient(notebook, timeout=300, resources={"metadata": {"path": str(tmp_path)}}).execute()
    outputs = [cell.outputs for cell in notebook.cells if cell.cell_type == "code"]
    shown = [output.get("data", {}) for cell in outputs for output in cell]
    assert any("image/png" in data for data in shown)
    assert any("<table>" in data.get("text/html", "") for data in shown)


def test_the_tutorial_is_kept_without_outputs_and_comes_to_a_figure_in_ten_lines():
    notebook = nbformat.read(TUTORIAL, as_version=4)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert not any(cell.outputs for cell in code)
    lines = [line for line in code[0].source.splitlines() if line and not line.startswith(("import", "from", "%"))]
    assert len(lines) <= MOST_LINES
    assert "figures.profile" in lines[-1]
