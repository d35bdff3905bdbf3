"""What a search leaves in the store: its states with what they are worth, rivals, the page."""

from __future__ import annotations

import io
from collections.abc import Mapping
from functools import partial
from typing import Any, NamedTuple

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
from search.winner import KEPT_SITES, candidates, figures_of, judged, remarks, valued

GENERATED = 100  # states of the prior that those found are held against, as many as in 2022
MILESTONES = 6  # iterations, evenly in their logarithm, whose best state is shown


class History(NamedTuple):
    """Best and mean score, wall and CPU seconds of every iteration; the best code at each of :func:`milestones`."""

    scores: list[tuple[float, float, float, float]]
    codes: list[np.ndarray]


def milestones(iterations: int) -> list[int]:
    """Iterations whose best code is kept, the first and the last among them."""
    return [int(number) for number in np.unique(np.geomspace(1, iterations, MILESTONES).round())]


def commit(
    config: OptimizeConfig,
    trained: TrainedModel,
    penalised: Penalised,
    search: Optimizer,
    history: History,
    observed: Mapping[str, pd.Series],
    data: Mapping[str, pd.DataFrame],
    held_out: Tensor,
    cost: Mapping[str, float],
    others: pd.DataFrame,
    parents: list[str],
) -> None:
    """Keep what a search has found.

    Args:
        penalised: the objective with the networks that it needs, within its limits.
        observed: observables of all data.
        data: values of the objective and observables of configurations of its "training" data, ranked, and of those
            "held_out".
        held_out: the latter's spins.
        cost: wall and CPU seconds of the search.
        others, parents: rivals and the data sets that they made.
    """
    model, objective = trained.model, penalised.objective
    codes, spins = _states(search.result().codes[: KEPT_SITES // trained.settings.L**2], config.free, trained)
    table, order = candidates(codes, spins, model, penalised)
    codes, spins = codes[order], spins[order]
    winner = judged(figures_of(table), spins[0], model, objective, held_out)
    _, fresh = _states(prior(GENERATED, codes.shape[1], config.seed), True, trained)
    passed, course = _states(np.array(history.codes), config.free, trained)
    along = valued(course, model, objective).assign(iteration=milestones(config.iterations))
    figures = winner.figures | _beside(observed, data["training"], trained)
    figures |= {"states": len(table), "states_within": int(table["within"].sum())}
    limits = ", ".join(map(str, penalised.limits))
    said = remarks(figures, trained.settings.latent, figures["data_energy_max"], limits)
    beside = {**data, "generated": valued(fresh, model, objective)}
    pictured = winner, spins.numpy(), table, np.array(history.scores)[:, :2], course.numpy(), along, fresh.numpy()
    shown = Shown(*pictured, figures, said, beside, others, limits)
    name, made_from = config.name_in(trained.name), [f"models/{trained.name}", *parents]
    card = {
        "kind": "optimum",
        "config": config.model_dump(mode="json"),
        "given": config.given(),
        "parents": made_from,
        "figures": figures | {key: round(value, 2) for key, value in cost.items()},
        "rivals": others.to_dict("records"),
        "said": said,
    }
    source = origin(trained.store, "optima", name, config, f"orch optimize --model {trained.name} --config", made_from)
    draw = partial(optimum_page, name, config, model, search, shown, source)
    files = {
        "winner.parquet": _winner_file(winner, codes[0], trained),
        "states.parquet": _states_file(table, codes),
        "course.parquet": _states_file(along, passed),
    }
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


def _winner_file(winner: Any, code: Tensor, trained: TrainedModel) -> bytes:
    row = {**winner.figures, "code": code.tolist(), "spins": winner.spins.flatten().tolist(), "L": trained.settings.L}
    if winner.rested is not None:
        row["rested_spins"] = winner.rested.flatten().tolist()
    return _parquet(pd.DataFrame([row]))


def _states_file(table: pd.DataFrame, codes: Tensor) -> bytes:
    return _parquet(table.assign(code=codes.tolist()))


def _parquet(table: pd.DataFrame) -> bytes:
    buffer = io.BytesIO()
    table.to_parquet(buffer, index=False)
    return buffer.getvalue()
