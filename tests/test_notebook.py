"""The notebook of the documentation runs from its first cell to its last."""

import json
from pathlib import Path

import matplotlib.pyplot as plt
import torch

CELLS = json.loads((Path(__file__).parents[1] / "docs" / "notebooks" / "first_steps.ipynb").read_text())["cells"]


def test_the_notebook_anneals_measures_trains_and_decodes(capsys):
    run: dict = {}
    for cell in CELLS:
        if cell["cell_type"] == "code":
            exec("".join(cell["source"]), run)
    plt.close("all")
    said = capsys.readouterr().out
    assert run["spins"].shape == (20, 3, 16, 16)
    assert list(run["table"]) == ["energy", "mz", "topological_charge", "nodal_points"]
    assert float(run["magnet"].energy(run["lattice"])) <= run["table"]["energy"].min() + 1e-5
    assert torch.allclose(run["generated"].norm(dim=1), torch.ones(100, 16, 16), atol=1e-5)
    first, last = (
        float(line.split("reconstruction ")[1].split(",")[0]) for line in said.splitlines() if "step" in line
    )
    assert last < first and last < 0.15


def test_what_the_notebook_says_is_what_its_cells_print():
    """Outputs are kept with it: none is missing, and none is an error."""
    for cell in CELLS:
        if cell["cell_type"] == "code":
            kinds = [output["output_type"] for output in cell["outputs"]]
            text = "".join(cell["source"])
            assert ("stream" in kinds) == ("print(" in text), text
            assert ("display_data" in kinds) == ("figure =" in text), text
            assert "error" not in kinds
