import json
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from orchestrator.cli import app
from orchestrator.data import interchange, shards
from orchestrator.data.interchange import ExportConfig
from orchestrator.errors import RequestError
from orchestrator.store import Store
from physics import ovf
from physics.annealing import Annealing
from physics.chiral import ChiralMagnet
from physics.states import disk

MAGNET = {"hamiltonian.D": 0.6, "hamiltonian.B": 0.2}


@pytest.fixture(scope="module")
def spins() -> np.ndarray:
    return Annealing(sweeps=20, finish=50).sample(ChiralMagnet(D=0.6, B=0.2), 16, 1, range(5)).spins


def bring_in(files: list[Path], settings: dict, store: Store) -> tuple[str, dict]:
    config, spins = interchange.read_import(files, None, None, settings)
    return interchange.import_states(config, spins, store, f"{len(files)} imported files.")


def run(*arguments: str) -> str:
    result = CliRunner().invoke(app, list(arguments))
    assert result.exit_code == 0, result.output
    return result.stdout


@pytest.mark.parametrize("form", ["npy", "text", "binary4", "binary8"])
def test_what_is_exported_comes_in_again_to_the_last_bit(form, spins, store, tmp_path):
    np.save(tmp_path / "given.npy", spins)
    name, _ = bring_in([tmp_path / "given.npy"], MAGNET, store)
    paths = interchange.export(ExportConfig(form=form, rows="1:4"), "datasets", name, store, tmp_path / "out")
    assert len(paths) == (1 if form == "npy" else 3)
    again, card = bring_in(paths, MAGNET, store)
    assert card["configurations"] == 3
    np.testing.assert_allclose(shards.read(again, store).tensor(), spins[1:4], atol=1e-7)


def test_imported_states_are_a_data_set_with_its_figures(spins, store, tmp_path):
    for i, state in enumerate(spins):
        ovf.write(tmp_path / f"{i}.ovf", 8e5 * state, "binary8")
    files = sorted(tmp_path.glob("*.ovf"))
    name, card = bring_in(files, MAGNET, store)
    assert name.startswith("import-L16-D0.6-B0.2")
    np.testing.assert_allclose(shards.read(name, store).tensor(), spins, atol=1e-6)
    assert "5 configurations" in (Path(store.folder("datasets", name)) / "report.html").read_text()
    assert bring_in(files, MAGNET, store)[1] == card


def test_spins_outside_a_mask_that_is_given_come_in_as_zero(spins, store, tmp_path):
    np.save(tmp_path / "given.npy", spins)
    name, _ = bring_in([tmp_path / "given.npy"], {**MAGNET, "hamiltonian.mask": disk(16)}, store)
    np.testing.assert_allclose(shards.read(name, store).tensor(), np.where(disk(16), spins, 0), atol=1e-7)


def test_sites_of_zero_length_become_the_mask(spins, store, tmp_path):
    y, x = np.mgrid[:16, :16] - 7.5
    disk = np.hypot(x, y) < 7
    np.save(tmp_path / "disk.npy", spins * disk)
    name, card = bring_in([tmp_path / "disk.npy"], MAGNET, store)
    hamiltonian = ChiralMagnet(**card["config"]["hamiltonian"])
    np.testing.assert_array_equal(hamiltonian.sites(16), disk)
    np.testing.assert_allclose(shards.read(name, store).tensor(), spins * disk, atol=1e-6)


def test_the_commands_print_paths_and_refuse_to_overwrite(spins, tmp_path):
    np.save(tmp_path / "states.npy", spins)
    store = str(tmp_path / "store")
    card = json.loads(run("import", str(tmp_path / "states.npy"), "--D", "0.6", "--store", store, "--json"))
    out = ["export", card["name"], "--to", str(tmp_path / "out"), "--rows", "2:4", "--store", store]
    printed = run(*out).split()
    assert [Path(path).name for path in printed] == [f"{card['name']}-{i:08d}.ovf" for i in (2, 3)]
    np.testing.assert_allclose(ovf.read(printed[0]), spins[2], atol=1e-6)
    with pytest.raises(RequestError, match="exists; expected a folder without it"):
        interchange.export(ExportConfig(rows="2:4"), "datasets", card["name"], Store(store), tmp_path / "out")


def corrupt(case, spins, folder):
    path = folder / "states.npy"
    cases = {
        "flat": spins[0].ravel(),
        "oblong": spins[..., :12],
        "not finite": np.where(np.arange(16) == 3, np.nan, spins),
        "vacancies differ": np.where(np.arange(5)[:, None, None, None] == 2, 0.0, spins),
        "odd": spins[..., :15, :15],
    }
    np.save(path, cases[case])
    return [path]


@pytest.mark.parametrize(
    ("case", "message"),
    [
        ("flat", r"states.npy: expected numbers of shape \(3, L, L\)"),
        ("oblong", r"states.npy: expected numbers of shape .* found \(5, 3, 16, 12\)"),
        ("not finite", "states.npy: expected finite numbers, found nan"),
        ("vacancies differ", "the same sites to be zero"),
        ("odd", "L: expected an even number"),
    ],
)
def test_states_that_make_no_data_set_are_refused(case, message, spins, store, tmp_path):
    with pytest.raises(RequestError, match=message):
        bring_in(corrupt(case, spins, tmp_path), MAGNET, store)
    assert store.names("datasets") == []


def test_files_that_cannot_be_read_are_named(spins, store, tmp_path):
    (tmp_path / "m.txt").write_text("")
    (tmp_path / "cut.npy").write_bytes(b"\x93NUMPY")
    (tmp_path / "old.ovf").write_text("# OOMMF: rectangular mesh v1.0\n")
    for name in ("m.txt", "cut.npy", "old.ovf", "missing.npy"):
        with pytest.raises(RequestError, match=name):
            bring_in([tmp_path / name], MAGNET, store)
    np.save(tmp_path / "a.npy", spins)
    np.save(tmp_path / "b.npy", spins[..., :8, :8])
    with pytest.raises(RequestError, match=r"b.npy: expected L = 16 as in .*a.npy, found 8"):
        bring_in([tmp_path / "a.npy", tmp_path / "b.npy"], MAGNET, store)
