import json
import subprocess

import pytest
from driving import orch


def run(*arguments: str) -> subprocess.CompletedProcess:
    return subprocess.run(orch(*arguments), capture_output=True, text=True)


@pytest.mark.parametrize(
    "arguments",
    [
        ["anneal", "--L", "abc"],
        ["anneal", "--T-end", "-1"],
        ["sweep", "--set", "scan.bta=3"],
        ["sweep", "--space", "nope.yaml"],
        ["sweep", "--quick", "--scale", "paper"],
        ["optimize", "--objective", "nope"],
        ["optimize", "--model", "nope"],
        ["list", "--store", "/usr"],
        ["list", "frogs"],
        ["show", "nope"],
        ["frobnicate"],
    ],
    ids=" ".join,
)
def test_a_wrong_request_is_one_line_and_exit_code_2(arguments, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    result = run(*arguments)
    assert result.returncode == 2
    assert len(result.stderr.strip().splitlines()) == 1
    assert "Traceback" not in result.stderr
    assert not list(tmp_path.iterdir())


def test_show_prints_the_line_of_descent(swept):
    config, store = swept
    name = next(name for _, name, card in store.cards("models") if card["config"]["model"]["gamma"] == 1)
    result = run("show", name, "--store", store.root)
    assert result.returncode == 0
    assert f"datasets/{config.dataset.name}" in result.stdout
    assert "models/evae-2021-b1e-05-g0-s0" in result.stdout


def test_list_is_json_on_request(swept):
    _, store = swept
    result = run("list", "models", "--json", "--store", store.root)
    assert {entry["kind"] for entry in json.loads(result.stdout)} == {"models"}


def test_a_dry_run_makes_nothing(tiny, tmp_path):
    result = run("sweep", "--space", str(tiny), "--dry-run", "--store", str(tmp_path / "store"))
    assert result.returncode == 0
    assert "256 to anneal" in result.stdout
    assert not (tmp_path / "store").exists()
