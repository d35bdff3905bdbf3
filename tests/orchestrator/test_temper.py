import pandas as pd
import pytest
from driving import contents

from orchestrator import temper
from orchestrator.config import TemperConfig
from orchestrator.store import Store

CONFIG = TemperConfig.model_validate(
    {
        "L": 8,
        "hamiltonian": {"D": 1.0},
        "ladder": {"temperatures": 12, "rounds": 300, "T_min": 0.1, "T_max": 1.0},
        "runs": 4,
    }
)


def test_runs_find_the_exact_energy_and_are_kept(on_ray, tmp_path):
    store = Store(str(tmp_path / "store"))
    name, card = temper.run(CONFIG, store)
    figures = card["figures"]
    assert figures["runs_at_the_exact_energy"] == figures["runs_within_1e-4_of_the_lowest"] == 4
    assert figures["energy"] == pytest.approx(figures["exact_energy"], abs=1e-5)
    runs = pd.read_parquet(f"{store.folder('optima', name)}/runs.parquet")
    assert len(runs) == 4
    assert runs["energy"].min() == pytest.approx(-figures["score"])


def test_runs_that_are_there_are_not_made_again(on_ray, tmp_path):
    whole, cut = Store(str(tmp_path / "whole")), Store(str(tmp_path / "cut"))
    _, card = temper.run(CONFIG, whole)
    runs = {path: content for path, content in contents(whole, "optima").items() if path.endswith(".npz")}
    assert len(runs) == 4
    kept = sorted(runs)[:2]
    for path in kept:
        cut.write_file(f"optima/{path}", runs[path])
    times = {path: (tmp_path / "cut" / "optima" / path).stat().st_mtime_ns for path in kept}
    assert temper.plan(CONFIG, cut)[0].startswith("2 of 4 runs found; 2 to make")
    _, again = temper.run(CONFIG, cut)
    assert {path: (tmp_path / "cut" / "optima" / path).stat().st_mtime_ns for path in kept} == times
    assert again["figures"] | {"seconds": 0} == card["figures"] | {"seconds": 0}
    assert {path: c for path, c in contents(cut, "optima").items() if path.endswith(".npz")} == runs
