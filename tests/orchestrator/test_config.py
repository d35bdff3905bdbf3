from pathlib import Path

import pytest
import yaml

from nets.collapse import Stage
from orchestrator.config import SPACES, DatasetConfig, OptimizeConfig, Range, SweepConfig, TrainConfig, load
from orchestrator.errors import RequestError


def refused(kind, **settings):
    with pytest.raises(RequestError) as error:
        load(kind, settings=settings)
    return str(error.value)


@pytest.mark.parametrize("space", sorted(SPACES.glob("*.yaml")), ids=lambda path: path.name)
def test_every_shipped_space_is_valid_at_every_scale(space):
    content = yaml.safe_load(space.read_text())
    for scale in [None, *content.get("scales", {})]:
        if "scan" in content:
            assert load(SweepConfig, space.name, scale).points()
        elif "system" in content:
            dataset = load(DatasetConfig, "labyrinth.yaml", scale)
            assert load(TrainConfig, space.name, scale, {"dataset": dataset.model_dump()}).system.L == dataset.L
        else:
            assert load(DatasetConfig, space.name, scale).configurations


def test_paper_scale_has_the_sizes_of_the_paper():
    config = load(SweepConfig, "evae.yaml", "paper")
    assert (config.dataset.L, config.dataset.configurations) == (128, 39_300)
    assert (config.dataset.hamiltonian.D, config.dataset.hamiltonian.B) == (0.3, 0.05)
    stage = config.stage(0, Stage(1e-3, 1.0, None), None)
    assert stage.kept == pytest.approx(34_300, abs=20)
    hybrid = load(
        TrainConfig, "hybrid.yaml", "paper", {"dataset": load(DatasetConfig, "labyrinth.yaml", "paper").model_dump()}
    )
    assert hybrid.kept == 30_000
    assert hybrid.steps * hybrid.batch == 100 * hybrid.kept
    assert hybrid.system.widths == [64, 128, 256, 512, 1024]


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"hamiltonian.Dd": 1}, "hamiltonian.Dd: unknown key, did you mean D?"),
        ({"hamiltonian.D": "much"}, "hamiltonian.D: expected a number"),
        ({"hamiltonian.D": float("nan")}, "hamiltonian.D: expected a finite number"),
        ({"schedule.T_end": -1}, "schedule.T_end: expected greater than 0, found -1"),
        ({"schedule.T_start": 0.0001}, "T_end: expected at most T_start"),
        ({"L": 33}, "L: expected an even number of at least 4, found 33"),
        ({"configurations": 0}, "configurations: expected greater than 0, found 0"),
        ({"hamiltonian.mask": ["10", "01"]}, "mask of 2 x 2 sites on a lattice of 32 x 32"),
    ],
)
def test_a_bad_data_set_is_one_line_with_key_value_and_expectation(settings, said):
    message = refused(DatasetConfig, **settings)
    assert said in message
    assert "\n" not in message


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"dataset.L": 40}, "expected a multiple of 16, found 40"),
        ({"space": {"scan.beta": []}}, "expected at least one value, found an empty range"),
        ({"space": {"scan.beta": {"log_uniform": [1e-3, 1e-4]}}, "trials": 2}, "low < high"),
        ({"space": {"scan.beta": {"log_uniform": [0, 1]}}, "trials": 2}, "log_uniform: expected low > 0"),
        ({"space": {"scan.beta": {"uniform": [1e-4, 1e-3]}}}, "trials: expected a number"),
        ({"space": {"scan.betta": [1e-3]}}, "space.scan.betta: unknown key, did you mean beta?"),
        ({"space": {"dataset.L": [32]}}, "space.dataset.L: expected a key of model, training or scan"),
        ({"space": {"training.batch": [1]}}, "space.training.batch: expected greater than or equal to 2"),
        ({"scan.gammas": [10, 1]}, "gammas: expected rising values"),
        ({"seeds": []}, "seeds"),
        ({"dataset.configurations": 100}, "dataset.configurations: expected at least two batches of 100, found 100"),
    ],
)
def test_a_bad_sweep_is_refused(settings, said):
    assert said in refused(SweepConfig, **settings)


def test_all_problems_are_named_at_once():
    assert len(refused(DatasetConfig, L=-1, seed=-1).splitlines()) == 2


def test_elite_must_leave_room():
    assert "elite: expected less than the population of 10, found 10" in refused(
        OptimizeConfig, elite=10, population=10
    )


def test_ranges_have_short_forms():
    assert Range.model_validate(3).values == (3,)
    assert Range.model_validate([1, 2]).values == (1, 2)
    assert Range.model_validate({"log_uniform": [1, 2]}).values is None


def test_points_are_the_product_with_the_last_key_fastest():
    space = {"scan.beta": [1e-3, 1e-4], "training.batch": [10, 20]}
    points = load(SweepConfig, settings={"space": space}).points()
    assert [tuple(point.values()) for point in points] == [(1e-3, 10), (1e-3, 20), (1e-4, 10), (1e-4, 20)]


def test_a_scale_is_laid_over_the_file_and_settings_over_both(tmp_path: Path):
    file = tmp_path / "a.yaml"
    file.write_text("L: 8\nseed: 1\nconfigurations: 5\nscales: {large: {L: 64, seed: 2}}\n")
    config = load(DatasetConfig, str(file), "large", {"seed": 3})
    assert (config.L, config.seed, config.configurations) == (64, 3, 5)
    with pytest.raises(RequestError, match="scale 'huge': expected one of large"):
        load(DatasetConfig, str(file), "huge")


def test_broken_yaml_names_file_and_line(tmp_path: Path):
    file = tmp_path / "broken.yaml"
    file.write_text("L: 8\nseed: [1\n")
    with pytest.raises(RequestError, match=r"broken.yaml: not readable as YAML at line"):
        load(DatasetConfig, str(file))


def test_the_name_of_a_data_set_follows_all_that_makes_it():
    names = {
        load(DatasetConfig, settings=settings).name
        for settings in ({}, {"seed": 1}, {"schedule.sweeps": 7}, {"hamiltonian.K": 0.1}, {"configurations": 7})
    }
    assert len(names) == 5
    assert load(DatasetConfig).name == load(DatasetConfig, settings={"L": 32}).name
