"""The tutorial runs from top to bottom, offline, and is kept with the outputs that it has now.

``python -m tests.analyses.test_tutorial`` runs it and keeps its outputs.
"""

import re
import tempfile
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

TUTORIAL = Path(__file__).resolve().parents[2] / "analyses" / "tutorial.ipynb"
MOST_LINES = 10
MOST_BYTES = 150_000
NUMBER = re.compile(r"[-−+]?\d[\d,]*(\.\d+)?(e-?\d+)?")


def execute(folder: Path) -> nbformat.NotebookNode:
    notebook = nbformat.read(TUTORIAL, as_version=4)
    NotebookClient(notebook, timeout=300, resources={"metadata": {"path": str(folder)}}).execute()
    for cell in notebook.cells:
        cell.metadata = {}  # says when it ran
        if cell.cell_type == "code":
            cell.outputs = [output for output in cell.outputs if output.get("name") != "stderr"]
            for output in cell.outputs:
                if "text/html" in output.get("data", {}):
                    output.data.pop("text/plain", None)  # shown by nobody, and names folders of this machine
    return notebook


def told(notebook: nbformat.NotebookNode) -> list[list[dict[str, str]]]:
    """What cells put out, words and kinds of data; numbers may differ in their last digit between processors."""
    return [
        [{kind: _words(kind, text) for kind, text in output.get("data", {}).items()} for output in cell.outputs]
        for cell in notebook.cells
        if cell.cell_type == "code"
    ]


def _words(kind: str, text: str) -> str:
    return "" if kind.startswith("image") else " ".join(NUMBER.sub("#", text).split())


@pytest.mark.filterwarnings("ignore")  # what the kernel and its sockets say is not ours
def test_the_tutorial_runs_and_says_what_it_is_kept_with(tmp_path):
    kept, now = told(nbformat.read(TUTORIAL, as_version=4)), told(execute(tmp_path))
    assert now == kept, "run `python -m tests.analyses.test_tutorial`"
    assert any("image/png" in data for cell in now for data in cell)
    assert any("<table>" in data.get("text/html", "") for cell in now for data in cell)


def test_the_tutorial_is_small_and_comes_to_a_figure_in_ten_lines():
    notebook = nbformat.read(TUTORIAL, as_version=4)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    lines = [line for line in code[0].source.splitlines() if line and not line.startswith(("import", "from", "%"))]
    assert len(lines) <= MOST_LINES
    assert "figures.profile" in lines[-1]
    assert TUTORIAL.stat().st_size < MOST_BYTES


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as place:
        nbformat.write(execute(Path(place)), TUTORIAL)
