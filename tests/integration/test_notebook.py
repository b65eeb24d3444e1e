"""The notebook of the examples, from top to bottom, in a kernel of its own beside a real stack."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import nbformat
import pytest
from nbclient import NotebookClient

from examples.petrol.train import train as train_petrol
from tests.live_stack import ROOT, Api, live_stack

NOTEBOOK = ROOT / "examples/client.ipynb"


@pytest.fixture(scope="module")
def stack(run_directory: Path) -> Iterator[Api]:
    train_petrol(run_directory / "notebook-models")
    models_dir = run_directory / "notebook-models"
    with live_stack(run_directory / "notebook", models_dir) as api:
        yield api


@pytest.fixture
def executed(stack: Api, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """The cells by their ids, with what they gave."""
    for name in ("HOME", "IPYTHONDIR", "JUPYTER_RUNTIME_DIR", "JUPYTER_CONFIG_DIR"):
        monkeypatch.setenv(name, str(tmp_path))
    monkeypatch.setenv("ROWMILL_URL", stack.url)
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.setenv("PYTHONWARNINGS", "error:::rowmill")
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    NotebookClient(
        notebook, timeout=60, resources={"metadata": {"path": str(NOTEBOOK.parent)}}
    ).execute()
    return {cell.id: cell for cell in notebook.cells}


def text_of(cell: Any) -> str:
    """What a cell's value looks like."""
    return "".join(
        output.data["text/plain"] for output in cell.outputs if output.output_type != "stream"
    )


@pytest.mark.timeout(180)
def test_the_notebook_does_what_it_says(executed: dict[str, Any]) -> None:
    outputs = [output for cell in executed.values() for output in cell.get("outputs", [])]

    assert not [output for output in outputs if output.output_type in ("stream", "error")]
    assert "petrol" in text_of(executed["client"])
    assert "prediction" in text_of(executed["table"])
    assert executed["join"].outputs[0].data["text/html"].count("<tr") == 6
    assert "48/48 rows" in text_of(executed["handle"])
    assert "<progress" in executed["handle"].outputs[0].data["text/html"]
    assert "48.0" in text_of(executed["results"])
    assert "not_a_number" in text_of(executed["errors"])
    assert "petrol_tax" in text_of(executed["row-errors"])


def test_the_notebook_is_kept_without_outputs() -> None:
    cells = [c for c in nbformat.read(NOTEBOOK, as_version=4).cells if c.cell_type == "code"]

    assert not any(cell.outputs or cell.execution_count for cell in cells)
