"""The excerpts of docs/python.md run one after the other, the last ones on a store."""

import re
from pathlib import Path

import torch

PAGE = Path(__file__).parents[2] / "docs" / "python.md"


def test_the_excerpts_run_in_their_order(swept, monkeypatch, capsys):
    store = swept[1]
    monkeypatch.chdir(Path(store.path).parent)
    names: dict = {}
    for excerpt in re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL):
        exec(excerpt, names)
    said = capsys.readouterr().out
    kinds = ("datasets", "models")
    assert all(name in said for kind in kinds for name in store.names(kind))
    assert names["first"].shape == (8, 3, 16, 16)
    assert names["states"].shape == (16, 3, 16, 16)
    assert torch.allclose(names["states"].norm(dim=1), torch.ones(16, 16, 16), atol=1e-5)
