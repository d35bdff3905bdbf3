"""What a generative model is judged by."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import NamedTuple

import numpy as np
import pandas as pd
import torch
from torch import Tensor
from torch.nn import functional as F

from nets.layers import unit_spins
from physics.model import SpinModel
from physics.observables import kspace_mse

ROWS = 1000  # of a matrix of distances, held at once
NEIGHBOURS = 5
REACH = 2.5  # of the structure's wave vectors, in wave numbers of the model
STEPS = 8  # of 2 pi / L, where the model has no wave number
CELLS = 16  # of wave vectors on each side, at most
NOISE = 0.1  # standard deviation on each component of a spin
STRUCTURE = "structure"  # the kind of features that is no local density
HELD_OUT, NOISY = "held-out data", "data with noise"  # what every table has besides systems
METRICS = ("coverage", "adagan_coverage", "precision", "recall", "density", "authenticity")


def measure(spins: Tensor, model: SpinModel) -> pd.DataFrame:
    """A row a configuration ``(n, components, L, L)``: every observable of the model, and the number of its defects."""
    columns = {name: observable.measure(spins) for name, observable in model.observables.items()}
    columns[model.defect_column] = model.count_defects(spins)
    return pd.DataFrame({name: column.tolist() for name, column in columns.items()})


def ensemble(spins: Tensor, model: SpinModel) -> dict[str, float]:
    """Figures of an ensemble of configurations ``(n, components, L, L)``, data or generated alike."""
    figures: dict[str, float] = {}
    for name, observable in model.observables.items():
        values = observable.measure(spins).double()
        figures |= {f"{name}_mean": values.mean().item(), f"{name}_std": values.std().item()}
    figures[model.defect_column] = model.count_defects(spins).double().mean().item()
    return figures | {"kspace_mse": kspace_mse(model.structure_factor(spins)).item()}


def ensemble_figures(model: SpinModel) -> list[str]:
    """Names of the figures of :func:`ensemble`."""
    names = [f"{name}_{moment}" for name in model.observables for moment in ("mean", "std")]
    return [*names, model.defect_column, "kspace_mse"]


ACTIVE = 0.01  # variance of a unit's mean over the data, above which the code says something about the input


def active_units(means: Tensor) -> int:
    """Units n of a code whose posterior mean mu_n ``(n, latent)`` varies over configurations: Var mu_n > 0.01.

    Source: Burda, Grosse and Salakhutdinov, "Importance weighted autoencoders" (2016), section 5.1.
    """
    return int((means.var(0) > ACTIVE).sum())


def prior_reconstruction(generated: Tensor, data: Tensor, filling: float = 1.0) -> float:
    r"""L_RC of a decoder that ignores its code: the mean over all pairs of a generated state s and a configuration x,

    .. math:: \langle |x - s|^2 \rangle = \langle |x|^2 \rangle + \langle |s|^2 \rangle
              - 2 \langle x \rangle \cdot \langle s \rangle.

    Args:
        generated, data: ``(n, components, L, L)``.
        filling: share of the sites that exist.
    """
    s, x = generated.double(), data.double()
    return ((s.square().mean(0) + x.square().mean(0) - 2 * s.mean(0) * x.mean(0)).mean() / filling).item()


def diversity_error(structure: Tensor) -> float:
    """Standard error of :func:`physics.observables.kspace_mse`, by the jackknife over configurations.

    Args:
        structure: ``(n, L, L)``, n > 2.
    """
    amplitude = structure.sqrt().double().flatten(1)
    n, away = len(amplitude), (amplitude - amplitude.mean(0)).square()
    without = (away.sum(0) - away * n / (n - 1)) / (n - 2)  # variance of all but one, for each
    left_out = 2 * without.mean(1)
    return ((n - 1) * left_out.var(correction=0)).sqrt().item()


def wave_reach(model: SpinModel, L: int) -> int:
    """Steps 2 pi / L within 2.5 of the model's wave numbers, or 8 where it has none; at least 1, at most L/2 - 1."""
    steps = STEPS if model.wave_number is None else round(REACH * model.wave_number * L / math.tau)
    return min(max(1, steps), L // 2 - 1)


def structure_features(structure: Tensor, reach: int) -> Tensor:
    """Square roots of the structure factor ``(n, L, L)`` at the lowest wave vectors, ``(n, c (2 c + 1) + c)``.

    The wave vectors are those up to ``reach`` steps 2 pi / L in each direction, one of each pair k, -k, without the
    uniform part.  Beyond 16 steps neighbouring ones are summed into c = 16 cells on each side.
    """
    L, cells = structure.shape[-1], min(reach, CELLS)
    steps = torch.arange(-reach, reach + 1)
    into = F.one_hot(torch.round(steps * cells / reach).long() + cells, 2 * cells + 1).to(structure)
    near = structure[..., (steps % L)[:, None], steps % L]
    amplitude = (into.T @ near @ into).sqrt()
    return torch.cat((amplitude[..., cells + 1 :].flatten(-2), amplitude[..., cells + 1 :, cells]), -1)


def features(spins: Tensor, model: SpinModel) -> dict[str, Tensor]:
    """What configurations ``(n, components, L, L)`` are compared by, by kind ``(n, f)``: equal for translates of one.

    "structure" is of :func:`structure_features`; the others are mean and standard deviation over the sites of each of
    the model's :meth:`~physics.model.SpinModel.local_densities`.
    """
    L = spins.shape[-1]
    there = torch.as_tensor(model.sites(L), device=spins.device)
    found = {STRUCTURE: structure_features(model.structure_factor(spins), wave_reach(model, L))}
    for name, density in model.local_densities(spins).items():
        on_sites = density[..., there]
        found[name] = torch.stack((on_sites.mean(-1), on_sites.std(-1, correction=0)), -1)
    return found


def scaled(found: Mapping[str, Tensor], reference: Mapping[str, Tensor]) -> Tensor:
    """All kinds of :func:`features` side by side, float64 ``(n, f)``, each in units of what the reference has of it.

    The unit is the root of the mean over the reference of the kind's squared length.  Of the structure it is the
    strength of the waves, of a local density its root mean square over all sites, sqrt(mean^2 + deviation^2): so an
    energy that is off by all that the texture gains counts as much as waves that are not there.
    """
    units = {kind: values.double().square().sum(1).mean().sqrt() for kind, values in reference.items()}
    return torch.cat([found[kind].double() / unit.clamp(min=1e-12) for kind, unit in units.items()], -1)


def noisy(spins: Tensor, model: SpinModel, generator: torch.Generator) -> Tensor:
    """Spins ``(n, components, L, L)`` with Gaussian noise of :data:`NOISE` on each component, of unit length again."""
    noise = torch.randn(spins.shape, generator=generator, dtype=spins.dtype)
    return model.on_sites(unit_spins(spins + NOISE * noise))


class Measured(NamedTuple):
    """What is kept of configurations whose spins are not.

    Attributes:
        columns: see :func:`measure`.
        features: see :func:`features`, each ``(n, f)``.
        amplitudes: sums of |F(k)| and of its square over the configurations, ``(2, L, L)``, for the k-space MSE.
        curves: the model's curves of some of them, each ``(m, points)``.
    """

    columns: pd.DataFrame
    features: dict[str, Tensor]
    amplitudes: Tensor
    curves: dict[str, Tensor]

    @classmethod
    def of(
        cls,
        spins: Tensor,
        model: SpinModel,
        checks: Mapping[str, Tensor] = MappingProxyType({}),
        curved: np.ndarray | None = None,
    ) -> Measured:
        """Of configurations ``(n, components, L, L)``.

        Args:
            checks: further columns, see :meth:`nets.system.SystemSettings.label_checks`.
            curved: bool ``(n,)``, whose curves are measured; None for none.
        """
        amplitude = model.structure_factor(spins).sqrt().double()
        sums = torch.stack((amplitude.sum(0), amplitude.square().sum(0)))
        columns = measure(spins, model).assign(**{name: values.tolist() for name, values in checks.items()})
        wanted = curved is not None and curved.any()
        curves = model.measure_curves(spins[torch.from_numpy(curved)]) if wanted else {}
        return cls(columns, features(spins, model), sums, curves)

    @classmethod
    def joined(cls, parts: Sequence[Measured]) -> Measured:
        frames, found, sums, curves = zip(*parts, strict=True)
        return cls(pd.concat(frames, ignore_index=True), joined(found), torch.stack(sums).sum(0), joined(curves))


def joined(parts: Sequence[Mapping[str, Tensor]]) -> dict[str, Tensor]:
    """Of each name the tensors of the parts that have it, one after the other."""
    names = dict.fromkeys(name for part in parts for name in part)
    return {name: torch.cat([part[name] for part in parts if name in part]) for name in names}


def judge(
    generated: Measured, held_out: Measured, training: Mapping[str, Tensor], model: SpinModel
) -> dict[str, float]:
    """Observables, defects and diversity of generated configurations, and how they cover the data.

    Distances are between :func:`scaled` features of no more samples than there are held-out configurations, since the
    metrics depend on both numbers; half of them make AdaGAN's density, the other half its threshold.

    Args:
        held_out: the reference, of data that the model was not trained on.
        training: features of data that it was trained on, for the authenticity.

    Source: VAE-GAN hybrid (2023), figure 2e.
    """
    columns, n = generated.columns, len(generated.columns)
    total, squares = generated.amplitudes
    row = {model.defect_column: columns[model.defect_column].mean()}
    for name in model.observables:
        row |= {name: columns[name].mean(), f"{name}_std": columns[name].std()}
    real, found, seen = (scaled(part, held_out.features) for part in (held_out.features, generated.features, training))
    found = found[: len(real)]
    half = len(found) // 2
    return {
        **row,
        "kspace_mse": 2 * ((squares - total.square() / n) / (n - 1)).mean().item(),
        **neighbour_metrics(real, found, NEIGHBOURS),
        "adagan_coverage": adagan_coverage(real, found[:half], found[half:]),
        "authenticity": authenticity(seen, found),
        "data_energy": held_out.columns["energy"].mean(),
    }


def neighbour_metrics(real: Tensor, generated: Tensor, k: int = NEIGHBOURS) -> dict[str, float]:
    """Precision, recall (Kynkäänniemi et al., 2019), density and coverage (Naeem et al., 2020) of features.

    A ball around each point reaches to its k-th neighbour among its own kind.  Precision: generated points inside
    some ball of the real; recall: real points inside some ball of the generated; density: real balls that a
    generated point lies in, over k; coverage: real balls with a generated point in them.

    Args:
        real, generated: ``(n, features)`` and ``(m, features)``.

    Raises:
        ValueError: no more than k points of either.
    """
    if min(len(real), len(generated)) <= k:
        raise ValueError(f"neighbour_metrics: expected more than k = {k} points, found {len(real)}, {len(generated)}")
    real_radius, generated_radius = _radii(real, k), _radii(generated, k)
    recalled, covered = torch.zeros(2, len(real), dtype=torch.bool, device=real.device)
    precise = balls = 0
    for part, radius in zip(generated.split(ROWS), generated_radius.split(ROWS), strict=True):
        apart = torch.cdist(real, part)
        in_real = apart <= real_radius[:, None]
        precise += int(in_real.any(0).sum())
        balls += int(in_real.sum())
        covered |= in_real.any(1)
        recalled |= (apart <= radius).any(1)
    return {
        "precision": precise / len(generated),
        "recall": recalled.float().mean().item(),
        "density": balls / (k * len(generated)),
        "coverage": covered.float().mean().item(),
    }


def _radii(x: Tensor, k: int) -> Tensor:
    """Distance of each point to its k-th neighbour."""
    return torch.cat([torch.cdist(part, x).kthvalue(k + 1).values for part in x.split(ROWS)])


def adagan_coverage(real: Tensor, generated: Tensor, held_out: Tensor, mass: float = 0.95) -> float:
    """Share of the data where the model's density is above t, with t such that it is for ``mass`` of the model's own.

    P_data(p_model > t) with P_model(p_model > t) = mass (Tolstikhin et al., 2017).  The density is a Gaussian kernel
    estimate on ``generated``, its width Scott's, n^(-1/(d + 4)) times the mean standard deviation; t comes from
    ``held_out``, other samples of the model, since on its own samples an estimate in many dimensions is all peaks.
    """
    n, d = generated.shape
    width = n ** (-1 / (d + 4)) * generated.std(0).mean().clamp(min=1e-12)

    def log_density(x: Tensor) -> Tensor:
        exponents = (-0.5 * (torch.cdist(part, generated) / width).square() for part in x.split(ROWS))
        return torch.cat([torch.logsumexp(exponent, 1) for exponent in exponents]) - math.log(n)

    threshold = log_density(held_out).quantile(1 - mass)
    return (log_density(real) > threshold).float().mean().item()


def authenticity(training: Tensor, generated: Tensor) -> float:
    """Share of the samples that are farther from the nearest training point than that is from any other of them.

    About one half where both are of one distribution, 0 where the samples are training points, and 1 where they lie
    outside of the data.

    Args:
        training, generated: ``(n, features)`` and ``(m, features)``.

    Source: Alaa et al., "How faithful is your synthetic data?" (2022), section 4.3.
    """
    found = [torch.cdist(part, training).min(1) for part in generated.split(ROWS)]
    near, apart = torch.cat([part.indices for part in found]), torch.cat([part.values for part in found])
    own = torch.cat([torch.cdist(training[part], training).kthvalue(2).values for part in near.split(ROWS)])
    return (apart > own).double().mean().item()


def summarised(table: pd.DataFrame, model: SpinModel) -> pd.DataFrame:
    """A row for each system and number of steps: mean and standard deviation of its trainings, as text.

    Rows of the table without a model are of data, which had none.
    """
    rows = []
    for (system, steps), group in table.groupby(["system", "steps"], sort=False):
        row = {"system": system, "steps": steps, "trainings": int((group["model"] != "").sum())}
        for key in ("energy", model.defect_column, *METRICS):
            spread = f" ± {group[key].std():.2g}" if len(group) > 1 else ""
            row[key] = f"{group[key].mean():.4g}" + spread
        rows.append(row)
    return pd.DataFrame(rows)
