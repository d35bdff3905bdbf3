"""What a search leaves in the store: its states with what they are worth, rivals, the page."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import NamedTuple

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from nets.sampling import decode, prior, repeated
from orchestrator.optimization.page import Shown, optimum_page
from orchestrator.optimization.request import OptimizeConfig
from orchestrator.page import drawn, origin
from orchestrator.training.trained import TrainedModel
from search.constraint import Penalised
from search.optimizer import Optimizer
from search.prior import on_shell
from search.winner import KEPT_SITES, Winner, candidates, figures_of, judged, remarks, valued

GENERATED = 100  # states of the prior that those found are held against, as many as in 2022
MILESTONES = 6  # iterations, evenly in their logarithm, whose best state is shown


class History(NamedTuple):
    """Best and mean score, wall and CPU seconds of every iteration; the best code at each of :func:`milestones`."""

    scores: list[tuple[float, float, float, float]]
    codes: list[np.ndarray]


def milestones(iterations: int) -> list[int]:
    """Iterations whose best code is kept, the first and the last among them."""
    return [int(number) for number in np.unique(np.geomspace(1, iterations, MILESTONES).round())]


class Searched(NamedTuple):
    """A search that is done, and what it is held against.

    Attributes:
        penalised: the objective with the networks that it needs, within its limits.
        observed: observables of all data.
        training: values of the objective and observables of some training data, see :func:`search.winner.ranked`.
        held_out: spins of data that were not trained on.
        cost: wall and CPU seconds of the search.
        rivals, rival_states: a row a rival, and its best state ``(n, components, L, L)``.
    """

    config: OptimizeConfig
    trained: TrainedModel
    penalised: Penalised
    search: Optimizer
    history: History
    observed: Mapping[str, pd.Series]
    training: pd.DataFrame
    held_out: Tensor
    cost: Mapping[str, float]
    rivals: pd.DataFrame
    rival_states: np.ndarray


def commit(searched: Searched) -> None:
    """Keep what a search has found."""
    config, trained, model = searched.config, searched.trained, searched.trained.model
    objective = searched.penalised.objective
    most = max(1, KEPT_SITES // trained.settings.L**2)
    codes, spins = _states(searched.search.result().codes[:most], config.free, trained)
    table, order = candidates(codes, spins, model, searched.penalised)
    codes, spins = codes[order], spins[order]
    winner = judged(figures_of(table), spins[0], model, objective, searched.held_out)
    figures = winner.figures | _beside(searched.observed, searched.training, trained)
    figures |= {"states": len(table), "states_within": int(table["within"].sum())}
    limits = ", ".join(map(str, searched.penalised.limits))
    said = remarks(figures, trained.settings.latent, figures["data_energy_max"], limits)
    passed, course = _states(np.array(searched.history.codes), config.free, trained)
    along = valued(course, model, objective).assign(iteration=milestones(config.iterations))
    name, made_from = config.name_in(trained.name), [f"models/{trained.name}"]
    card = {
        "kind": "optimum",
        "config": config.model_dump(mode="json"),
        "given": config.given(),
        "parents": made_from,
        "figures": figures | {key: round(value, 2) for key, value in searched.cost.items()},
        "rivals": searched.rivals.to_dict("records"),
        "said": said,
    }
    _, fresh = _states(prior(GENERATED, trained.settings.latent, config.seed), True, trained)
    values = {"held_out": searched.held_out, "generated": fresh}
    shown = Shown(
        winner=winner,
        spins=spins.numpy(),
        table=table,
        history=np.array(searched.history.scores)[:, :2],
        course=course.numpy(),
        along=along,
        generated=fresh.numpy(),
        figures=figures,
        said=said,
        beside={"training": searched.training, **{key: valued(at, model, objective) for key, at in values.items()}},
        rivals=searched.rivals,
        rival_states=searched.rival_states,
        limits=limits,
    )
    source = origin(trained.store, "optima", name, config, f"orch optimize --model {trained.name} --config", made_from)
    files = {
        "winner.parquet": _winner_file(winner, codes[0], trained),
        "states.parquet": table.assign(code=codes.tolist()).to_parquet(index=False),
        "course.parquet": along.assign(code=passed.tolist()).to_parquet(index=False),
        "rivals.parquet": _rivals_file(searched),
    }
    draw = partial(optimum_page, name, config, model, searched.search, shown, source)
    trained.store.commit("optima", name, card, {**files, **drawn(draw, config)})


def _states(codes: np.ndarray, free: bool, trained: TrainedModel) -> tuple[Tensor, Tensor]:
    """Codes as they are decoded, unless they are free on the shell of the prior, and their states."""
    z = torch.from_numpy(codes) if free else on_shell(torch.from_numpy(codes))
    return z, decode(trained.decoder, z, repeated(trained.labels(1), len(z)))


def _beside(observed: Mapping[str, pd.Series], training: pd.DataFrame, trained: TrainedModel) -> dict[str, float]:
    """Least, mean and largest observables of all data, and score of some; the exact ground state, where it is known."""
    figures: dict[str, float] = {"training_compared": len(training)}
    columns = {"training_score": training["score"]}
    columns |= {f"data_{name}": observed[name] for name in trained.model.observables}
    for name, values in columns.items():
        figures |= {f"{name}_{key}": float(getattr(values, key)()) for key in ("min", "mean", "max")}
    ground = trained.model.ground_state_energy(trained.settings.L)
    return figures if ground is None else {**figures, "ground_state_energy": ground}


def _winner_file(winner: Winner, code: Tensor, trained: TrainedModel) -> bytes:
    row = {**winner.figures, "code": code.tolist(), "spins": winner.spins.flatten().tolist(), "L": trained.settings.L}
    if winner.rested is not None:
        row["rested_spins"] = winner.rested.flatten().tolist()
    return pd.DataFrame([row]).to_parquet(index=False)


def _rivals_file(searched: Searched) -> bytes:
    spins = pd.Series([state.ravel().tolist() for state in searched.rival_states], dtype=object)
    return searched.rivals.assign(spins=spins).to_parquet(index=False)
