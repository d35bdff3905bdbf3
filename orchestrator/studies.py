"""Looking inside a trained model: latent maps, samples led by the discriminator, lines between states, inverse mapping.

Each study is an artifact with a page, its numbers beside it; each is a function of a notebook as well as a command.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from pydantic import BaseModel
from torch import Tensor

from nets.gradcam import grad_cam
from nets.sampling import decode, lead, prior
from orchestrator import interchange, models
from orchestrator.config import Inversion, InvertConfig, LineConfig, MapConfig, SampleConfig
from orchestrator.console import say
from orchestrator.errors import RequestError
from orchestrator.report import Section, embed, listed, page, png, yaml_section
from orchestrator.store import Store, digest, versions
from physics.hamiltonian import Hamiltonian
from physics.observables import magnetization, nodal_points
from physics.render import draw_spins
from search.latent import invert, line, plane, steepest_wall

COLUMNS = ("energy", "nodal_points", "mz")
STAGES = 12  # of a sampling led by the discriminator, between which it is measured
PICTURED = 5
ZOOM = 8  # sites on each side of a nodal point
DRAWN = 256  # points of a map decoded together


def study_name(kind: str, config: BaseModel, of: Sequence[str]) -> str:
    """Of a study of the models ``of``."""
    return f"{kind}-{digest({'config': config.model_dump(mode='json'), 'models': list(of)})}"


def found(kind: str, config: BaseModel, of: Sequence[str], store: Store) -> tuple[str, dict[str, Any] | None]:
    """Name and card of a study, None if it has not been made."""
    name = study_name(kind, config, of)
    card = store.card("studies", name)
    if card is not None:
        say(f"found studies/{name}")
    return name, card


def commit(
    kind: str,
    config: BaseModel,
    of: Sequence[str],
    store: Store,
    figures: dict[str, Any],
    table: pd.DataFrame,
    sections: list[Section],
    pictures: dict[str, bytes],
) -> tuple[str, dict[str, Any]]:
    """Write a study: its page of ``sections`` and figures, the table as Parquet, and the pictures by themselves."""
    name = study_name(kind, config, of)
    parquet = io.BytesIO()
    table.to_parquet(parquet, index=False)
    numbers = {key: value for key, value in figures.items() if isinstance(value, int | float)}
    sections = [*sections, Section("Figures", rows=listed(numbers)), yaml_section(config)]
    card = {
        "kind": "study",
        "config": {"study": kind, **config.model_dump(mode="json")},
        "parents": [f"models/{model}" for model in of],
        "figures": figures,
        "versions": versions(),
    }
    files = {
        "report.html": page(f"{kind} of {', '.join(of)}", "", sections),
        f"{kind}.parquet": parquet.getvalue(),
        **pictures,
    }
    return name, store.commit("studies", name, card, files)


def measure(spins: Tensor, hamiltonian: Hamiltonian) -> pd.DataFrame:
    """A row a state ``(n, 3, L, L)``: energy, nodal points and M_z."""
    nodal = nodal_points(spins, hamiltonian).sum((-2, -1))
    columns = (hamiltonian.energy(spins), nodal, magnetization(spins)[:, 2])
    return pd.DataFrame({key: column.tolist() for key, column in zip(COLUMNS, columns, strict=True)})


def latent_map(config: MapConfig, model: str, store: Store) -> tuple[str, dict[str, Any]]:
    """Energy and discriminator logit over a plane of codes, and three states across its steepest wall.

    Source: VAE-GAN hybrid (2023), figure 3.

    Raises:
        RequestError: the axes are not of the model's latent space.
    """
    name, card = found("map", config, [model], store)
    if card is not None:
        return name, card
    decoder, hamiltonian = models.load(model, store), models.dataset_config(model, store).hamiltonian
    ticks = torch.linspace(-config.reach, config.reach, config.points)
    try:
        codes = plane(torch.from_numpy(prior(1, decoder.latent_dim, config.seed))[0], config.axes, ticks).flatten(0, 1)
    except ValueError as error:
        raise RequestError(str(error)) from None
    judge = models.discriminator(model, store) if models.has(model, "discriminator", store) else None
    parts = []
    with torch.no_grad():
        for part in codes.split(DRAWN):
            spins = decode(decoder, part)
            parts.append(measure(spins, hamiltonian))
            if judge is not None:
                parts[-1]["logit"] = judge(spins).numpy()
    table = pd.concat(parts, ignore_index=True)
    for axis in (0, 1):
        table.insert(axis, f"z{config.axes[axis]}", codes[:, config.axes[axis]].numpy())
    shape = (config.points, config.points)
    energy = table["energy"].to_numpy().reshape(shape)
    wall = steepest_wall(energy, config.points // 10)
    places = [wall.before, wall.on, wall.beyond]
    states = decode(decoder, codes.view(*shape, -1)[tuple(zip(*places, strict=True))])
    across = measure(states, hamiltonian)
    slope = np.hypot(*np.gradient(energy, float(ticks[1] - ticks[0])))
    figures = {
        "wall_height": wall.height,
        **{f"nodal_points_{letter}": int(count) for letter, count in zip("klm", across["nodal_points"], strict=True)},
        "with_nodal_points": float((table["nodal_points"] > 0).mean()),
        "steepest_over_median_slope": float(slope.max() / np.median(slope)),
    }
    heat = png(_heat_maps(config, {key: table[key].to_numpy().reshape(shape) for key in table.columns[2:]}, places))
    labels = [f"{letter}: ε {energy:.4f}" for letter, energy in zip("klm", across["energy"], strict=True)]
    decoded = png(_row(states, hamiltonian, labels))
    sections = [
        Section(
            "The plane",
            f"Components {config.axes[0]} (across) and {config.axes[1]} (up) of the code, the others from the prior.",
            embed(heat),
        ),
        Section("Across its steepest wall", "At k, l and m of the map. Red circles: nodal points.", embed(decoded)),
    ]
    return commit("map", config, [model], store, figures, table, sections, {"map.png": heat, "wall.png": decoded})


def _heat_maps(config: MapConfig, maps: dict[str, np.ndarray], places: list[tuple[int, int]]) -> Figure:
    shown = {key: maps[key] for key in ("energy", "nodal_points", "logit") if key in maps}
    figure, axes = plt.subplots(1, len(shown), figsize=(4.6 * len(shown), 4), layout="constrained")
    ticks = np.linspace(-config.reach, config.reach, config.points)
    half = 0.5 * (ticks[1] - ticks[0])
    extent = (ticks[0] - half, ticks[-1] + half, ticks[0] - half, ticks[-1] + half)
    for axis, (key, values) in zip(axes, shown.items(), strict=True):
        image = axis.imshow(values, origin="lower", extent=extent, cmap="inferno", interpolation="nearest")
        axis.set(title=key.replace("_", " "), xlabel=f"z{config.axes[0]}", ylabel=f"z{config.axes[1]}")
        figure.colorbar(image, ax=axis, fraction=0.046)
        for letter, (row, column) in zip("klm", places, strict=True):
            axis.plot(ticks[column], ticks[row], "o", mfc="none", mec="cyan", ms=5)
            axis.annotate(letter, (ticks[column], ticks[row]), (4, 4), textcoords="offset points", color="cyan")
    return figure


def _circle_nodal_points(axis: Axes, spins: Tensor, hamiltonian: Hamiltonian) -> None:
    for y, x in nodal_points(spins, hamiltonian).nonzero().tolist():
        axis.plot(x, y, "o", mfc="none", mec="red", ms=10)


def _row(states: Tensor, hamiltonian: Hamiltonian, labels: list[str]) -> Figure:
    figure, axes = plt.subplots(1, len(states), figsize=(3.2 * len(states), 3.4), layout="constrained", squeeze=False)
    for axis, spins, label in zip(axes[0], states, labels, strict=True):
        draw_spins(axis, spins.numpy(), label)
        _circle_nodal_points(axis, spins, hamiltonian)
    return figure


def led_by_discriminator(config: SampleConfig, model: str, store: Store) -> tuple[str, dict[str, Any]]:
    """Samples on their way uphill in the discriminator: nodal points, energy, logit, and where Grad-CAM sees fakes.

    Source: VAE-GAN hybrid (2023), figure 4.

    Raises:
        RequestError: the model has no discriminator, or there are no steps.
    """
    if not config.steps:
        raise RequestError(f"--steps {config.steps}: expected at least 1")
    name, card = found("ddls", config, [model], store)
    if card is not None:
        return name, card
    decoder, judge = models.load(model, store), models.discriminator(model, store)
    hamiltonian = models.dataset_config(model, store).hamiltonian
    noise = torch.Generator().manual_seed(config.seed) if config.langevin else None
    z = torch.from_numpy(prior(config.n, decoder.latent_dim, config.seed))
    ends = np.unique([0, *np.geomspace(1, config.steps, STAGES).round().astype(int)])  # most happens at first
    parts, course = [], []
    chosen = 0
    for stage, (done, end) in enumerate(zip(np.append(0, ends), ends, strict=False)):
        z = lead(decoder, judge, z, int(end - done), config.step_size, noise)
        spins = decode(decoder, z)
        columns = measure(spins, hamiltonian)
        cam = grad_cam(judge, spins)
        with torch.no_grad():
            columns = columns.assign(step=end, sample=range(config.n), logit=judge(spins).numpy())
        if stage == 0:
            chosen = int(columns["nodal_points"].argmax())
            darker = _darker(cam, nodal_points(spins, hamiltonian))
        parts.append(columns)
        course.append((int(end), spins[chosen], cam[chosen]))
    table = pd.concat(parts, ignore_index=True)
    mean = table.groupby("step")[["energy", "nodal_points", "logit", "mz"]].mean()
    figures = {f"{key}_{when}": float(mean[key].iloc[i]) for key in mean for when, i in (("before", 0), ("after", -1))}
    figures["darker_than_nodal_points"] = darker
    shown = [course[i] for i in np.linspace(0, len(course) - 1, PICTURED).round().astype(int)]
    states, courses = png(_watched(shown, hamiltonian)), png(_courses(mean, "step"))
    sections = [
        Section(
            "One sample on its way",
            "The state, its surroundings of the first nodal point, and Grad-CAM: where the discriminator sees a fake.",
            embed(states),
        ),
        Section(f"Means of {config.n} samples", image=embed(courses)),
    ]
    return commit("ddls", config, [model], store, figures, table, sections, {"ddls.png": states, "course.png": courses})


def _darker(cam: Tensor, where: Tensor) -> float:
    """Share of a map's sites that are darker than one of those, mean over them all; 1/2 if it does not see them."""
    places = where.nonzero()
    here = cam[where].view(-1, 1, 1)
    maps = cam[places[:, 0]]
    return float((maps < here).float().mean() + 0.5 * (maps == here).float().mean()) if len(places) else float("nan")


def _watched(course: list[tuple[int, Tensor, Tensor]], hamiltonian: Hamiltonian) -> Figure:
    figure, axes = plt.subplots(3, len(course), figsize=(2.6 * len(course), 8), layout="constrained")
    first = nodal_points(course[0][1], hamiltonian).nonzero()
    L = course[0][1].shape[-1]
    y, x = first[0].tolist() if len(first) else (L // 2, L // 2)
    brightest = max(float(cam.max()) for _, _, cam in course) or 1.0
    for column, (step, spins, cam) in enumerate(course):
        draw_spins(axes[0, column], spins.numpy(), f"step {step}")
        _circle_nodal_points(axes[0, column], spins, hamiltonian)
        reach = min(ZOOM, L // 2)
        near = torch.roll(spins, (reach - y, reach - x), (-2, -1))[..., : 2 * reach, : 2 * reach]
        draw_spins(axes[1, column], near.numpy())
        axes[2, column].imshow(cam.numpy(), cmap="jet", vmin=0, vmax=brightest, origin="lower")
        axes[2, column].set(xticks=[], yticks=[])
    return figure


def _courses(table: pd.DataFrame, label: str) -> Figure:
    figure, axes = plt.subplots(1, table.shape[1], figsize=(3.2 * table.shape[1], 2.8), layout="constrained")
    for axis, key in zip(axes, table.columns, strict=True):
        axis.plot(table.index, table[key], "k.-", ms=4)
        axis.set(xlabel=label, title=key.replace("_", " "))
        axis.grid(alpha=0.3)
    return figure


def state(text: str, store: Store) -> Tensor:
    """Spins ``(3, L, L)`` of an artifact of the store or of an .ovf or .npy file; ``:ROW`` at the end picks a row.

    Raises:
        RequestError: there is no such artifact, file or row.
    """
    origin, colon, digits = text.rpartition(":")
    origin, row = (origin, int(digits)) if colon and digits.isdigit() else (text, 0)
    if Path(origin).suffix.lower() in (*interchange.OVF, ".npy"):
        spins = interchange.read_states(Path(origin))[row : row + 1]
    else:
        kind, name, _ = store.find(origin, "datasets", "models", "optima")
        spins = interchange.states(kind, name, store, slice(row, row + 1))
    if not len(spins):
        raise RequestError(f"{text}: has no row {row}")
    return torch.from_numpy(np.ascontiguousarray(spins[0], np.float32))


def code_of(text: str, how: Inversion, model: str, store: Store) -> Tensor:
    """The code ``(d,)`` of a state: drawn with "prior:SEED", an optimum's own if found in this model, else inverted.

    Raises:
        RequestError: there is no such state, or it is of another lattice than the model's.
    """
    decoder = models.load(model, store)
    origin, colon, seed = text.partition(":")
    if origin == "prior":
        if not seed.isdigit():
            raise RequestError(f"{text}: expected prior:SEED, such as prior:7")
        return torch.from_numpy(prior(1, decoder.latent_dim, int(seed)))[0]
    if not colon and not Path(text).suffix:
        kind, name, card = store.find(text, "datasets", "models", "optima")
        if kind == "optima" and f"models/{model}" in card["parents"]:
            winner = pd.read_parquet(io.BytesIO(store.read(kind, name, "winner.parquet"))).iloc[0]
            return torch.from_numpy(np.asarray(winner["code"], np.float32))
    return _inverted(text, how, model, store)[0]


def _inverted(text: str, how: Inversion, model: str, store: Store) -> tuple[Tensor, Tensor, Tensor]:
    """Code, losses and target of a state, from the prior and, where the model has an encoder, from its mean."""
    decoder, target = models.load(model, store), state(text, store)
    starts = torch.from_numpy(prior(how.starts, decoder.latent_dim, how.seed))
    try:
        if models.has(model, "encoder", store) and target.shape[-1] == models.lattice(model, store):
            with torch.no_grad():
                starts[0] = models.encoder(model, store)(target[None])[0][0]
        code, losses = invert(decoder, target, starts, how.iterations, how.learning_rate)
    except ValueError as error:
        raise RequestError(f"{text}: {error}") from None
    return code, losses, target


def inverse_map(config: InvertConfig, model: str, store: Store) -> tuple[str, dict[str, Any]]:
    """The code that decodes to a given state, as near as the model comes to it.

    Source: E-VAE (2021), "Inverse mapping".

    Raises:
        RequestError: there is no such state, or it is of another lattice than the model's.
    """
    name, card = found("invert", config, [model], store)
    if card is not None:
        return name, card
    hamiltonian = models.dataset_config(model, store).hamiltonian
    code, losses, target = _inverted(config.state, config, model, store)
    states = torch.stack((target, decode(models.load(model, store), code[None])[0]))
    measured = measure(states, hamiltonian)
    figures = {"reconstruction": losses[-1].item(), "code_length": code.norm().item() / len(code) ** 0.5}
    figures |= {
        f"{whose}{key}": measured[key].tolist()[i] for key in COLUMNS for i, whose in enumerate(("target_", ""))
    }
    shown = png(_row(states, hamiltonian, ["the state", f"decoded, L_RC = {figures['reconstruction']:.2g}"]))
    figure, axis = plt.subplots(figsize=(5, 3), layout="constrained")
    axis.semilogy(losses.numpy(), color="k")
    axis.set(xlabel="iteration", ylabel="L_RC, the best start")
    table = pd.DataFrame({"code": [code.tolist()], "spins": [states[1].flatten().tolist()], "L": [target.shape[-1]]})
    sections = [
        Section("The state and its decoding", "Red circles: nodal points.", embed(shown)),
        Section("On the way", image=embed(png(figure))),
    ]
    return commit("invert", config, [model], store, figures, table, sections, {"invert.png": shown})


def interpolate(config: LineConfig, model: str, store: Store) -> tuple[str, dict[str, Any]]:
    """States along straight lines between codes, with energy, nodal points and M_z, and the barrier of each line.

    Source: E-VAE (2021), figure 4; VAE-GAN hybrid (2023), figure 5.

    Raises:
        RequestError: there is no such state, or it is of another lattice than the model's.
    """
    name, card = found("interpolate", config, [model], store)
    if card is not None:
        return name, card
    decoder, hamiltonian = models.load(model, store), models.dataset_config(model, store).hamiltonian
    ends = torch.stack([code_of(text, config, model, store) for text in config.states])
    parts, sections, pictures = [], [], {}
    figures: dict[str, Any] = {}
    for number, (a, b) in enumerate(zip(config.states, config.states[1:], strict=False), 1):
        spins = decode(decoder, line(ends[number - 1 : number + 1], config.points))
        columns = measure(spins, hamiltonian)
        parts.append(columns.assign(line=number, position=np.linspace(0, 1, config.points)))
        energy = columns["energy"].to_numpy()
        figures |= {
            f"barrier_{number}": float(energy.max() - max(energy[0], energy[-1])),
            f"nodal_points_{number}": float(columns["nodal_points"].mean()),
        }
        picked = np.linspace(0, config.points - 1, PICTURED).round().astype(int)
        along = columns.set_index(np.linspace(0, 1, config.points))
        shown = png(_row(spins[picked], hamiltonian, [f"ε {energy[i]:.4f}" for i in picked]))
        pictures[f"line{number}.png"] = shown
        sections += [
            Section(f"From {a} to {b}", "Red circles: nodal points.", embed(shown)),
            Section(f"Along line {number}", image=embed(png(_courses(along, "position")))),
        ]
    return commit("interpolate", config, [model], store, figures, pd.concat(parts), sections, pictures)
