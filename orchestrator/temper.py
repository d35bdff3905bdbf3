"""Ground states by parallel tempering: independent runs as Ray tasks, each kept as it ends, the lowest the winner."""

from __future__ import annotations

import io
import time
from typing import Any

import numpy as np
import pandas as pd
import ray
import torch

from orchestrator import report
from orchestrator.cluster import connect
from orchestrator.config import TemperConfig
from orchestrator.console import progress, say
from orchestrator.store import Store, versions
from physics.observables import magnetization, nodal_points, topological_charge
from physics.tempering import Tempered, temper
from physics.textures import ground_state_energy


def _path(config: TemperConfig, run: int) -> str:
    return f"optima/{config.name}/run-{run:04d}.npz"


@ray.remote(num_cpus=1, max_retries=-1)
def _run(config: TemperConfig, run: int, store: Store) -> int:
    torch.set_num_threads(1)
    found = temper(config.hamiltonian, config.ladder, config.L, config.seed, run)
    buffer = io.BytesIO()
    np.savez(buffer, **found._asdict())
    store.write_file(_path(config, run), buffer.getvalue())
    return run


def _load(config: TemperConfig, run: int, store: Store) -> Tempered:
    with np.load(io.BytesIO(store.fs.cat_file(f"{store.path}/{_path(config, run)}")), allow_pickle=False) as saved:
        return Tempered(saved["spins"], saved["acceptance"], saved["energy"], int(saved["round_trips"]))


def _missing(config: TemperConfig, store: Store) -> list[int]:
    return [i for i in range(config.runs) if not store.fs.exists(f"{store.path}/{_path(config, i)}")]


def plan(config: TemperConfig, store: Store) -> list[str]:
    """What is found and what would be made, line by line."""
    ladder, left = config.ladder, len(_missing(config, store))
    updates = left * ladder.rounds * (1 + ladder.overrelaxation) * ladder.temperatures * config.L**2
    return [
        f"{config.runs - left} of {config.runs} runs found; {left} to make, {updates:.2g} spin updates",
        f"result: optima/{config.name}",
    ]


def run(config: TemperConfig, store: Store) -> tuple[str, dict[str, Any]]:
    """Name and card of the ground state found, searched for if it is not in the store."""
    name = config.name
    if (card := store.card("optima", name)) is not None:
        say(f"found optima/{name}")
        return name, card
    missing = _missing(config, store)
    connect()
    say(
        f"parallel tempering of L = {config.L}: {len(missing)} of {config.runs} runs, "
        f"{config.ladder.temperatures} temperatures, {config.ladder.rounds} rounds"
    )
    started = time.monotonic()
    waiting = [_run.remote(config, i, store) for i in missing]
    with progress() as bar:
        task = bar.add_task("runs", total=config.runs, completed=config.runs - len(missing), note="")
        while waiting:
            done, waiting = ray.wait(waiting)
            ray.get(done)
            bar.update(task, advance=len(done))
    found = [_load(config, i, store) for i in range(config.runs)]
    return name, _commit(config, store, found, time.monotonic() - started)


def _commit(config: TemperConfig, store: Store, found: list[Tempered], seconds: float) -> dict[str, Any]:
    hamiltonian = config.hamiltonian
    spins = torch.from_numpy(np.stack([run.spins for run in found]))
    energies = hamiltonian.energy(spins.double())
    order = energies.argsort()
    winner = spins[order[0]]
    bound = ground_state_energy(hamiltonian, config.L)
    runs = pd.DataFrame(
        {
            "run": range(config.runs),
            "energy": energies.numpy(),
            "above_the_lowest": (energies - energies.min()).numpy(),
            "mz": magnetization(spins)[:, 2].numpy(),
            "topological_charge": topological_charge(spins, hamiltonian).numpy(),
            "largest_torque": hamiltonian.torque(spins).amax((-2, -1)).numpy(),
            "lowest_acceptance": [run.acceptance.min() for run in found],
            "round_trips": [run.round_trips for run in found],
        }
    )
    figures = {
        "score": -energies.min().item(),
        "energy": energies.min().item(),
        **({"exact_energy": bound, "runs_at_the_exact_energy": int((energies - bound < 1e-4).sum())} if bound else {}),
        "runs_within_1e-4_of_the_lowest": int((runs["above_the_lowest"] < 1e-4).sum()),
        "runs": config.runs,
        "mz": magnetization(winner)[2].item(),
        "topological_charge": topological_charge(winner, hamiltonian).item(),
        "nodal_points": int(nodal_points(winner, hamiltonian).sum()),
        "seconds": round(seconds, 2),
    }
    tables = {
        "runs": runs,
        "winner": pd.DataFrame([{**figures, "spins": winner.numpy().ravel().tolist(), "L": config.L}]),
    }
    files = {f"{name}.parquet": table.to_parquet(index=False) for name, table in tables.items()}
    files |= report.ground_state(config, winner.numpy(), figures, runs, found)
    return store.commit(
        "optima",
        config.name,
        {
            "kind": "optimum",
            "config": config.model_dump(mode="json"),
            "parents": [],
            "figures": figures,
            "versions": versions(),
        },
        files,
    )
