from pathlib import Path

import pytest

from orchestrator.config import PRESETS, load, read_yaml, shipped, shipped_file
from orchestrator.data.request import DatasetConfig
from orchestrator.errors import RequestError
from orchestrator.optimization.request import OptimizeConfig
from orchestrator.sweeps.request import SweepConfig
from orchestrator.training.request import TrainConfig
from physics.states import mask_named
from search.space import Range

ROOMS = {"data": DatasetConfig, "systems": TrainConfig, "sweeps": SweepConfig}


DRAWN = {"space": {"system.beta": {"log_uniform": [1e-4, 1e-2]}}, "trials": 4}


def data(name: str, scale: str | None) -> dict:
    assert name in shipped("data")
    return load(DatasetConfig, f"{name}.yaml", scale).model_dump()


def refused(kind, **settings):
    with pytest.raises(RequestError) as error:
        load(kind, settings=settings)
    return str(error.value)


@pytest.mark.parametrize(
    "preset", sorted(p for p in PRESETS.glob("*/*.yaml") if p.parent.name in ROOMS), ids=lambda path: path.name
)
def test_every_preset_is_valid_at_every_scale(preset):
    for scale in [None, *read_yaml(preset.name).get("scales", {})]:
        config = load(ROOMS[preset.parent.name], preset.name, scale, references={"dataset": data})
        if isinstance(config, DatasetConfig):
            assert config.configurations
        else:
            assert config.system.L == config.dataset.L
        if isinstance(config, SweepConfig):
            assert (config.trials is None) == (config.points() is not None)
            assert len(list(config.grid())) == len(config.points() or ()) * config.seeds
            assert config.datasets == [config.dataset]


def test_paper_scale_has_the_sizes_of_the_paper():
    config = load(SweepConfig, "evae.yaml", "paper")
    assert (config.dataset.L, config.dataset.configurations) == (128, 39_300)
    assert (config.dataset.hamiltonian.D, config.dataset.hamiltonian.B) == (0.3, 0.05)
    stage = next(config.trial.trainings(next(config.grid()).training))
    assert stage.kept == 30_000
    hybrid = load(TrainConfig, "hybrid.yaml", "paper", references={"dataset": data})
    assert hybrid.kept == 30_000
    assert hybrid.steps * hybrid.batch == 100 * hybrid.kept
    assert hybrid.system.widths == [64, 128, 256, 512, 1024]


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"hamiltonian.Dd": 1}, "hamiltonian.Dd: unknown key, did you mean D?"),
        ({"hamiltonian.D": "much"}, "hamiltonian.D: expected a number"),
        ({"hamiltonian.D": float("nan")}, "hamiltonian.D: expected a finite number"),
        ({"sampler.T_end": -1}, "sampler.T_end: expected greater than 0, found -1"),
        ({"sampler.T_start": 0.0001}, "T_end: expected at most T_start"),
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
        ({"dataset.L": 36}, "expected a multiple of 8, found 36"),
        ({"space": {"system.beta": []}}, "expected at least one value, found an empty range"),
        ({"space": {"system.beta": {"log_uniform": [1e-3, 1e-4]}}, "trials": 2}, "low < high"),
        ({"space": {"system.beta": {"log_uniform": [0, 1]}}, "trials": 2}, "log_uniform: expected low > 0"),
        ({"space": {"system.beta": {"uniform": [1e-4, 1e-3]}}}, "trials: expected a number"),
        ({"space": {"system.betta": [1e-3]}}, "space.system.betta: unknown key, did you mean beta?"),
        ({"space": {"seeds": [1]}}, "space.seeds: unknown key"),
        ({"space": {"label": ["a"]}}, "space.label: unknown key"),
        ({"space": 3}, "space: expected keys and values, found 3"),
        (
            {"space": {"seed": ["a"]}},
            "space.seed: expected an integer, unable to parse string as an integer",
        ),
        (
            {"space": {"system": [{"name": "vae-2022"}]}},
            "space.system: expected the key of a value, found that of",
        ),
        ({"space": {"system": [3]}}, "space.system: expected keys and values, found 3"),
        ({"space": {"system.L": [64]}}, "space.system.L: unknown key"),
        ({"space": {"dataset.hamiltonian": [{"D": 0.5}]}}, "expected the key of a value, found that of a section"),
        ({"space": {"batch": {"uniform": [10, 20]}}, "trials": 2}, "space.batch: expected an integer"),
        ({"space": {"dataset.L": {"integer": [16, 64]}}, "trials": 2}, "space.dataset: L: expected an even number"),
        ({"space": {"system.beta": [1e-3, float("inf")]}}, "space.system.beta: expected a finite number, found inf"),
        (
            {"space": {"system.beta": [1e-3] * 51, "seed": [1] * 100}},
            "at most 10000 points times seeds, found 10200",
        ),
        ({"space": {"system.beta": [1e-3] * 10_001}}, "space.system.beta.choice: expected at most 10000 values"),
        ({"space": {f"k{i}": list(range(1000)) for i in range(3)}}, "points times seeds, found 2000000000"),
        ({"seeds": 10**9}, "space: expected at most 10000 points times seeds, found 1000000000"),
        ({"trials": 10**9}, "trials: expected less than or equal to 10000, found 1000000000"),
        ({"dataset": 1}, "dataset: expected keys and values, found 1"),
        ({"system": []}, "system: expected keys and values, found []"),
        ({"dataset.L": []}, "dataset.L: expected an integer, found []"),
        ({"system.L": 20, "dataset.L": "20"}, "system: L: expected a multiple of 8, found 20"),
        ({"system.name": "physics.annealing:Annealing"}, "system: name: expected a kind of generative system, found"),
        ({"system.name": "nets.system:SystemSettings"}, "system: name: expected a kind of generative system, found"),
        ({"resources.gpus": 1.5}, "gpus: expected a whole number or a share of one GPU, found 1.5"),
        (
            {"resources.workers": [1, 10**12]},
            "expected numbers that divide the batch of 100, found 3",
        ),
        ({"resources.workers": list(range(1000))}, "expected a positive number or [least, most], found [0, 1, 2"),
        ({"parent": "../../elsewhere"}, "parent: expected text of the form"),
        ({"label": "a\n"}, "label: expected text without control characters"),
        ({"seed": 2**32}, "seed: expected less than 4294967296"),
        ({"steps": True}, "steps: expected a number, found True"),
        ({"system.beta": False}, "system.beta: expected a number, found False"),
        ({"trial.refine": 10**12}, "trial.refine: expected less than or equal to 100"),
        ({"space": {"batch": [1]}}, "space.batch: expected greater than or equal to 2"),
        ({"space": {"dataset.hamiltonian.D": [0.3, "much"]}}, "space.dataset.hamiltonian.D: expected a number"),
        ({"space": {"trial.gammas": [[1, 10], [10, 1]]}}, "gammas: expected rising values"),
        ({"trial.gammas": [10, 1]}, "gammas: expected rising values"),
        ({"trial.name": "colapse"}, "did you mean collapse?"),
        ({"seeds": 0}, "seeds: expected greater than 0, found 0"),
        ({"metric": "gamma_ip"}, "metric: unknown figure, did you mean gamma_up?, found 'gamma_ip'"),
        ({"mode": "least"}, "mode: expected 'min' or 'max', found 'least'"),
        ({"trials": 5}, "trials: expected none, as all points of a finite space are taken, found 5"),
        ({"search": "tpe"}, "search: expected none, as all points of a finite space are taken, found tpe"),
        ({"search": "grid"}, "search: expected 'qmc', 'random', 'tpe', 'gp', 'cmaes' or 'boundary', found 'grid'"),
        ({"level": 0.1}, "level: expected none without search: boundary, found 0.1"),
        ({**DRAWN, "search": "cmaes"}, "search: cmaes expects two ranges of numbers or more, found 1"),
        ({**DRAWN, "search": "boundary"}, "level: expected a number, found None"),
        (
            {**DRAWN, "search": "boundary", "level": 1, "space.batch": [10, 20]},
            "space.batch: expected a range of numbers for search: boundary, found a choice",
        ),
        (
            {**DRAWN, "search": "cmaes", "metric": ["gamma_crossing", "gamma_up"], "mode": ["min", "min"]},
            "search: expected qmc, random, tpe or gp for several metrics, found cmaes",
        ),
        ({"metric": ["gamma_crossing", "gamma_up"]}, "mode: expected a list of 2, one of each metric, found None"),
        (
            {"metric": ["gamma_crossing", "gamma_up"], "mode": ["min"]},
            "mode: expected a list of 2, one of each metric, found",
        ),
        ({"metric": "gamma_crossing", "mode": ["min"]}, "mode: expected 'min' or 'max', found ('min',)"),
        ({"metric": ["gamma_crossing", "gamma_crossing"]}, "metric: expected a figure, or a list of several, found"),
        ({"metric": []}, "metric: expected a figure, or a list of several, found []"),
        ({"metric": [3]}, "metric: expected the name of a figure, found [3]"),
        (
            {"pruner": "asha", "metric": ["gamma_crossing", "gamma_up"], "mode": ["min", "min"]},
            "pruner: expected none for several metrics, found asha",
        ),
        ({"pruner": "best"}, "pruner: expected 'none', 'asha', 'hyperband' or 'median', found 'best'"),
        ({"time_limit": 0}, "time_limit: expected greater than 0, found 0"),
        ({"dataset.configurations": 100}, "dataset.configurations: expected a batch of 100 to train on, found 90"),
    ],
)
def test_a_bad_sweep_is_refused(settings, said):
    with pytest.raises(RequestError) as error:
        load(SweepConfig, "evae.yaml", settings={"batch": 100, **settings})
    assert said in str(error.value)
    assert str(error.value).startswith("evae.yaml: ")
    assert "\n" not in str(error.value)


def test_a_pruner_of_single_trainings_is_refused():
    said = refused(SweepConfig, pruner="asha", space={"system.beta": [1e-3, 1e-2]})
    assert "pruner: expected none, as a trial of one training reports once, at its end; found asha" in said


def test_all_problems_are_named_at_once():
    assert len(refused(DatasetConfig, L=-1, seed=-1).splitlines()) == 2


def test_elite_must_leave_room():
    assert "elite: expected less than the population of 10, found 10" in refused(
        OptimizeConfig, **{"optimizer.name": "genetic", "optimizer.elite": 10, "optimizer.population": 10}
    )


def test_ranges_have_short_forms():
    assert Range.model_validate(3).values == (3,)
    assert Range.model_validate([1, 2]).values == (1, 2)
    assert Range.model_validate({"log_uniform": [1, 2]}).values is None


def test_points_are_the_product_with_the_last_key_fastest():
    space = {"system.beta": [1e-3, 1e-4], "batch": [10, 20]}
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


def test_only_so_many_faults_are_listed_one_by_one():
    lines = refused(DatasetConfig, **{f"key{i}": 1 for i in range(100)}).splitlines()
    assert len(lines) == 21
    assert lines[-1] == "command line: and 80 more"


def test_the_name_of_a_data_set_follows_all_that_makes_it():
    names = {
        load(DatasetConfig, settings=settings).name
        for settings in ({}, {"seed": 1}, {"sampler.sweeps": 7}, {"hamiltonian.K": 0.1}, {"configurations": 7})
    }
    assert len(names) == 5
    assert load(DatasetConfig).name == load(DatasetConfig, settings={"L": 32}).name


def test_the_sampler_of_an_old_file_is_called_its_schedule(tmp_path: Path):
    schedule = "{kind: quadratic, T_start: 1.5, sweeps: 7, overrelaxation: 0}"
    names = set()
    for key in ("schedule", "sampler"):
        file = tmp_path / f"{key}.yaml"
        file.write_text(f"L: 16\nhamiltonian: {{D: 1.0}}\n{key}: {schedule}\n")
        config = load(DatasetConfig, str(file))
        assert (config.sampler.kind, config.sampler.sweeps) == ("quadratic", 7)
        names.add(config.name)
    assert len(names) == 1
    assert names != {load(DatasetConfig, settings={"L": 16, "hamiltonian.D": 1.0}).name}


def test_a_disk_may_be_named_and_is_that_of_the_lattice():
    named = load(DatasetConfig, settings={"L": 16, "hamiltonian.mask": "disk"})
    assert named == load(DatasetConfig, settings={"L": 16, "hamiltonian.mask": mask_named("disk", 16)})
    assert "hamiltonian.mask: expected a list" in refused(DatasetConfig, **{"hamiltonian": {"mask": "disc"}})
    quick = load(SweepConfig, "confined.yaml", "quick")
    assert quick.dataset.hamiltonian.mask == load(DatasetConfig, settings={"hamiltonian.mask": "disk"}).hamiltonian.mask


def test_of_schedule_and_sampler_only_one_is_a_key():
    assert "schedule: unknown key" in refused(DatasetConfig, sampler={"sweeps": 7}, schedule={"sweeps": 8})


@pytest.mark.parametrize(
    ("settings", "name"),
    [
        ({"hamiltonian": {"D": 0.6, "B": 0.2}, "configurations": 200, "seed": 3}, "L32-D0.6-B0.2-06199b5150d1"),
        (
            {"L": 16, "hamiltonian": {"K": 0.2, "dm": "neel", "boundary": "wire"}, "configurations": 64},
            "L16-D0.6-B0-7dc86735c2ff",
        ),
        (
            {
                "L": 16,
                "hamiltonian": {"mask": mask_named("disk", 16)},
                "sampler": {"kind": "geometric", "sweeps": 50},
                "configurations": 64,
            },
            "L16-D0.6-B0-13899ddcd370",
        ),
        (
            {
                "hamiltonian": {"D": 0.6, "B": 0.2},
                "schedule": {"T_start": 1.5, "sweeps": 1500, "overrelaxation": 0, "finish": 20},
                "configurations": 4000,
            },
            "L32-D0.6-B0.2-4a5a46d00ab1",
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_data_sets_have_the_names_that_they_had_before(settings, name):
    """Of the cards that version 0.3 wrote: a name that changes is data that is made again."""
    assert load(DatasetConfig, settings=settings).name == name


SMALL = {"L": 16, "hamiltonian": {"D": 1.0}, "sampler": {"sweeps": 20, "finish": 50}, "configurations": 256}


CONSTANT = {"schedule": "constant", "augment": False}
UNSETTLED = {**CONSTANT, "system.widths": [], "system.learning_rate": 1e-3}
"""What the shipped VAEs had before they were trained until their loss settles."""
RESIDUAL = {**CONSTANT, "system.width": 16, "system.learning_rate": 5e-4, "system.betas": [0.0, 0.9]}


@pytest.mark.parametrize(
    ("source", "settings", "name"),
    [
        ("hybrid.yaml", {"seed": 1, **RESIDUAL}, "hybrid-b0.001-g0.01-s1-5a70970f0938"),
        ("gan.yaml", {"seed": 1}, "gan-s1-4b167015e823"),
        ("vae.yaml", {"seed": 1, **RESIDUAL}, "vae-b0.001-s1-6081c53cc903"),
        ("vae-2022.yaml", {"seed": 1, **UNSETTLED, "system.kernel": 5}, "vae-2022-b0.001-g0-s1-8f7339231dec"),
        ("evae-2021.yaml", {"seed": 1, **UNSETTLED, "system.beta_ramp": 0}, "evae-2021-b0.001-g100-s1-903cf8250e79"),
    ],
)
def test_models_have_the_names_that_they_had_before(source, settings, name):
    settings = {"dataset": SMALL, "batch": 16, "steps": 60, **settings}
    assert load(TrainConfig, source, settings=settings).name == name


def test_the_stages_of_a_collapse_scan_have_the_names_that_they_had_before():
    """The names hold those of the parents, so that the last one answers for all."""
    before = {
        **UNSETTLED,
        "steps": 60,
        "trial.gammas": [30, 300, 3000, 10000],
        "trial.warmup_steps": 400,
        "trial.beta_start": 1e-6,
        "trial.rate": None,
    }
    trial = next(load(SweepConfig, "evae.yaml", "quick", settings=before).grid())
    chain = trial.program.trainings(trial.training)
    stages = [next(chain)]
    losses = {"validation_reconstruction": 0.1, "validation_kl": 9.0, "validation_energy": -0.2}
    energies = {"energy_mean": -0.2, "data_energy_mean": -0.2, "data_energy_std": 0.001}
    figures = {"diversity": 1.0, "active_units": 5, "prior_reconstruction": 0.5, **losses, **energies}
    for _ in range(7):
        stages.append(chain.send({"figures": figures, "config": stages[-1].recipe()}))
    assert trial.training.dataset.name == "L32-D0.6-B0.2-8c2888a5cc52"
    assert [stage.name for stage in stages] == [
        "evae-2021-b1e-06-g0-s0-5a031e1ecb46",
        "evae-2021-b1e-05-g0-s0-2bf9434d72e2",
        "evae-2021-b0.0001-g0-s0-5c011c092dc1",
        "evae-2021-b0.001-g0-s0-ea9066020183",
        "evae-2021-b0.001-g30-s0-d9566dd5bb54",
        "evae-2021-b0.001-g300-s0-184b3aae2dce",
        "evae-2021-b0.001-g3000-s0-4c2ac70aa121",
        "evae-2021-b0.001-g10000-s0-52047cb7449d",
    ]
    assert stages[1].parent == stages[0].name


def test_a_number_that_yaml_takes_for_text_makes_the_same_sweep():
    """YAML 1.1 reads 1e-3 as text and 1.0e-3 as a number."""
    written, read = (
        load(SweepConfig, settings={"system.name": "vae", "space.system.beta": ["1e-3", value]})
        for value in ("1e-2", 0.01)
    )
    assert written.space["system.beta"].values == (1e-3, 1e-2)
    assert written.name == read.name


def test_a_system_is_not_trained_on_data_without_its_labels():
    said = refused(TrainConfig, system={"name": "toys:LinearVAE"})
    assert "dataset.sampler: expected one that labels configurations with temperature" in said
    assert "found annealing" in said


def test_a_shipped_name_is_not_shadowed_by_a_file_here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "vae.yaml").write_text("system: {name: gan}")
    assert shipped_file("systems", "vae") == str(PRESETS / "systems" / "vae.yaml")
    assert shipped_file("systems", "vae.yaml") == "vae.yaml"
    assert shipped_file("papers", "evae-2021.yaml") == str(PRESETS / "papers" / "evae-2021.yaml")
    with pytest.raises(RequestError, match="hybird: expected a shipped name or a YAML file, did you mean hybrid"):
        shipped_file("systems", "hybird")


def test_sweeps_have_the_names_that_they_had_before():
    """What was added later to a sweep is in no name until somebody sets it."""
    scan = {"system.name": "evae-2021", "system.beta": 1e-3, "trial.name": "collapse", "trials": 5}
    drawn = {**scan, "space": DRAWN["space"], "metric": "gamma_crossing", "mode": "max"}
    names = ("tpe", "sweep-f99db1ec29b8"), ("qmc", "sweep-55391527a1c6"), ("random", "sweep-65197ff47394")
    for search, name in names:
        assert load(SweepConfig, settings={**drawn, "search": search}).name == name
    assert load(SweepConfig, settings={"space": {"system.beta": [1e-4, 1e-2]}, "seeds": 2}).name == "sweep-e7b197b72f24"
