"""Edits that make the science wrong, each of which the tests must catch.

``make mutants`` applies them one at a time to a copy of the repository and runs the tests named beside each; a mutant
that passes is a hole in the tests.  ``python tests/mutants/mutants.py WORD`` runs those whose name holds the word.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[2]


class Mutant(NamedTuple):
    """One edit: in ``file`` the text ``old``, which stands there once, becomes ``new``; ``tests`` must then fail."""

    name: str
    file: str
    old: str
    new: str
    tests: str


MUTANTS = [
    Mutant(
        "gradients of each worker by themselves",
        "nets/training.py",
        "        distributed.all_reduce(flat)\n        flat /= workers()",
        "        flat *= 1.0",
        "tests/conformance/test_systems.py::test_two_workers_with_half_the_batch_each_follow_one",
    ),
    Mutant(
        "batch norm over a worker's share",
        "nets/layers.py",
        "if not self.training or workers() == 1:",
        "if not self.training or workers() >= 1:",
        "tests/conformance/test_systems.py::test_two_workers_with_half_the_batch_each_follow_one",
    ),
    Mutant(
        "checkpoints however long they take",
        "orchestrator/training/loop.py",
        "max(asked, CHECKPOINT_SHARE * self.saved_in)",
        "asked",
        "tests/orchestrator/test_loop.py",
    ),
    Mutant(
        "any store at the address",
        "orchestrator/cluster.py",
        "store.sent in (None, store.identity())",
        "store.sent not in ()",
        "tests/orchestrator/test_pool.py",
    ),
    Mutant(
        "minus sign of the GAN generator's loss",
        "nets/vaegan.py",
        'update(system, (losses["generator"], ["generator"]))',
        'update(system, (-losses["generator"], ["generator"]))',
        "tests/nets/test_vaegan.py",
    ),
    Mutant(
        "minus sign in the generator's loss",
        "nets/losses.py",
        "softplus(-fake).mean() for",
        "softplus(fake).mean() for",
        "tests/nets/test_vaegan.py",
    ),
    Mutant(
        "discriminator never shown reconstructions",
        "nets/vaegan.py",
        "real, *shown = D(torch.cat([spins, *fakes]).detach())",
        "real, *shown = D(torch.cat([spins, *fakes[:1]]).detach())",
        "tests/nets/test_vaegan.py",
    ),
    Mutant(
        "the same noise at every step",
        "nets/training.py",
        "_noise(_generator(seed, 1, number), system.device)",
        "_noise(_generator(seed, 1, 0), system.device)",
        "tests/nets/test_training.py",
    ),
    Mutant(
        "uniform instead of Gaussian noise",
        "nets/training.py",
        "return torch.randn(shares * count, width, generator=generator)",
        "return torch.rand(shares * count, width, generator=generator)",
        "tests/nets/test_training.py",
    ),
    Mutant(
        "prior halved",
        "nets/sampling.py",
        "return np.random.default_rng(seed).standard_normal((count, latent_dim), np.float32)",
        "return 0.5 * np.random.default_rng(seed).standard_normal((count, latent_dim), np.float32)",
        "tests/nets/test_sampling.py",
    ),
    Mutant(
        "validation in training mode",
        "nets/training.py",
        "    system.mode(training=False)\n    noise",
        "    system.mode(training=True)\n    noise",
        "tests/nets/test_training.py",
    ),
    Mutant(
        "correlation over a step of L",
        "search/objectives.py",
        "return correlation(spins, self.a)",
        "return correlation(spins, (spins.shape[-1], 0))",
        "tests/search/test_objectives.py",
    ),
    Mutant(
        "no crossover",
        "search/genetic.py",
        "rng.random(part.shape, np.float32) < 0.5, mother",
        "rng.random(part.shape, np.float32) < 2, mother",
        "tests/search/test_genetic.py",
    ),
    Mutant(
        "resets from N(0, 5)",
        "search/genetic.py",
        "part[reset] = rng.standard",
        "part[reset] = 5 * rng.standard",
        "tests/search/test_genetic.py",
    ),
    Mutant(
        "selection pressure 2",
        "search/genetic.py",
        "pressure: PositiveFloat = 8.0",
        "pressure: PositiveFloat = 2.0",
        "tests/search/test_genetic.py",
    ),
    Mutant(
        "Adam's moments of the 2023 systems as of 2021",
        "nets/vaegan.py",
        "return adam(networks, self.learning_rate, self.betas)",
        "return adam(networks, self.learning_rate, (0.9, 0.999))",
        "tests/nets/test_system.py",
    ),
    Mutant(
        "Adam's moments of 2021 as of the 2023 systems",
        "nets/system.py",
        "return adam(networks, self.learning_rate, (0.9, 0.999))",
        "return adam(networks, self.learning_rate, (0.0, 0.9))",
        "tests/nets/test_system.py",
    ),
    *(
        Mutant(f"--scale paper: {name}", f"orchestrator/presets/{file}", old, new, "tests/orchestrator/test_papers.py")
        for name, file, old, new in (
            ("configurations of 2021", "sweeps/evae.yaml", "39300", "39000"),
            ("steps of 2021", "sweeps/evae.yaml", "    steps: 30000", "    steps: 3000"),
            ("field of 2021", "sweeps/evae.yaml", "D: 0.3, B: 0.05", "D: 0.3, B: 0.5"),
            ("betas of 2021", "sweeps/evae.yaml", "[1.0e-3, 1.0e-4]", "[1.0e-3]"),
            ("labyrinths", "data/labyrinth.yaml", "configurations: 40000", "configurations: 4000"),
            ("width of the hybrid", "systems/hybrid.yaml", "width: 64", "width: 32"),
            ("gamma of the hybrid", "systems/hybrid.yaml", "gamma: 1.0e-3", "gamma: 1.0e-2"),
            ("rate of the GAN", "systems/gan.yaml", "learning_rate: 2.0e-4", "learning_rate: 1.0e-3"),
            ("steps of the VAE", "systems/vae.yaml", "steps: 60000", "steps: 6000"),
            ("latent of 2022", "systems/vae-2022.yaml", "latent: 100", "latent: 64"),
            ("batch of 2022", "systems/vae-2022.yaml", "batch: 100", "batch: 50"),
        )
    ),
    Mutant(
        "widths of 2021 all 8",
        "nets/vae.py",
        '"evae-2021": (6, 12, 24, 48)',
        '"evae-2021": (8, 8, 8, 8)',
        "tests/nets/test_vae.py tests/orchestrator/test_papers.py",
    ),
    Mutant(
        "mean instead of sum pooling in the discriminator",
        "nets/vaegan.py",
        "return self.judge(features.sum((-2, -1)))",
        "return self.judge(features.mean((-2, -1)))",
        "tests/nets/test_vaegan.py",
    ),
    Mutant(
        "weights of the parent not loaded",
        "orchestrator/training/loop.py",
        "if config.parent and not progress.done:",
        "if config.parent and progress.done:",
        "tests/orchestrator/test_loop.py",
    ),
    Mutant(
        "collapsed inverted",
        "nets/collapse.py",
        "if not diversity < COLLAPSED:",
        "if diversity < COLLAPSED:",
        "tests/orchestrator/test_programs.py",
    ),
    Mutant(
        "training rows in an evaluation",
        "orchestrator/evaluation/run.py",
        "NOISY: -2 * n}.get(self.source, -n)",
        "NOISY: -2 * n}.get(self.source, 0)",
        "tests/orchestrator/test_loop.py",
    ),
    Mutant(
        "the reference as its own ceiling",
        "orchestrator/evaluation/run.py",
        "HELD_OUT: -2 * n",
        "HELD_OUT: -n",
        "tests/orchestrator/test_loop.py",
    ),
    *(
        Mutant(f"features: {name}", file, old, new, tests)
        for name, file, old, new, tests in (
            (
                "waves alone",
                "nets/metrics.py",
                "in model.local_densities(spins).items():",
                "in {}.items():",
                "tests/nets/test_ensembles.py",
            ),
            (
                "chirality of either sense",
                "physics/chiral.py",
                '"chirality": self.chirality(spins)}',
                '"chirality": self.chirality(spins).abs()}',
                "tests/nets/test_metrics.py",
            ),
            (
                "eight steps on every lattice",
                "nets/metrics.py",
                "STEPS if model.wave_number is None else",
                "STEPS if True else",
                "tests/nets/test_metrics.py",
            ),
            (
                "kinds in their own units",
                "nets/metrics.py",
                "found[kind].double() / unit.clamp(min=1e-12)",
                "found[kind].double() / unit.clamp(min=1.0, max=1.0)",
                "tests/nets/test_metrics.py",
            ),
            (
                "sites that do not exist",
                "nets/metrics.py",
                "on_sites = density[..., there]",
                "on_sites = density.flatten(-2)",
                "tests/nets/test_metrics.py",
            ),
            (
                "energy from that of no spin",
                "physics/chiral.py",
                '{"energy": self.site_energy(spins), ',
                '{"energy": self.energy_density(spins), ',
                "tests/nets/test_metrics.py",
            ),
        )
    ),
    Mutant(
        "noise of twice the size",
        "nets/metrics.py",
        "spins + NOISE * noise",
        "spins + 2 * NOISE * noise",
        "tests/nets/test_metrics.py",
    ),
    Mutant(
        "copies taken for authentic",
        "nets/metrics.py",
        "(apart > own).double()",
        "(apart >= 0).double()",
        "tests/nets/test_ensembles.py",
    ),
    Mutant(
        "more samples than held-out data",
        "nets/metrics.py",
        "    found = found[: len(real)]\n",
        "",
        "tests/nets/test_metrics.py",
    ),
    Mutant(
        "Grad-CAM of cells of a period",
        "nets/gradcam.py",
        "math.log2(math.pi / model.wave_number)",
        "math.log2(math.tau / model.wave_number)",
        "tests/nets/test_gradcam.py",
    ),
    Mutant(
        "one half of the samples for both density and threshold",
        "nets/metrics.py",
        "adagan_coverage(real, found[:half], found[half:])",
        "adagan_coverage(real, found[:half], found[:half])",
        "tests/nets/test_metrics.py",
    ),
    Mutant(
        "best takes the worst",
        "orchestrator/training/trained.py",
        'return min(alike, key=lambda entry: generation_error(entry[1]["figures"]))[0]',
        'return max(alike, key=lambda entry: generation_error(entry[1]["figures"]))[0]',
        "tests/orchestrator/test_loop.py",
    ),
    Mutant(
        "the linear VAE with twice its noise",
        "nets/linear_vae.py",
        "s = beta * N / 2",
        "s = beta * N",
        "tests/nets/test_linear_vae.py",
    ),
    Mutant(
        "mean not removed from the covariance",
        "nets/linear_vae.py",
        "covariance[0, 0] -= torch.outer(mean, mean.conj())",
        "covariance[0, 0] -= 0 * torch.outer(mean, mean.conj())",
        "tests/nets/test_linear_vae.py",
    ),
    Mutant(
        "every worker draws the symmetries of the first",
        "nets/training.py",
        "times[rank() :: workers()] for name, times",
        "times[: len(spins)] for name, times",
        "tests/nets/test_training.py",
    ),
    Mutant(
        "the same symmetries at every step",
        "nets/training.py",
        "_generator(seed, 3, number)",
        "_generator(seed, 3, 0)",
        "tests/nets/test_training.py",
    ),
    Mutant(
        "translations that never reach the last site",
        "physics/symmetry.py",
        "torch.randint(L if name",
        "torch.randint(L - 1 if name",
        "tests/physics/test_symmetry.py",
    ),
]


MUTANTS += [
    Mutant(
        "a file made by another is replaced",
        "orchestrator/files.py",
        "os.link(temporary, self.at(path))",
        "temporary.replace(self.at(path))",
        "tests/orchestrator/test_lease.py",
    ),
    Mutant(
        "a lease is taken while its holder lives",
        "orchestrator/lease.py",
        'if newest.get("state") != RUNNING or',
        "if newest or",
        "tests/orchestrator/test_lease.py",
    ),
    Mutant(
        "an artifact is renamed over another",
        "orchestrator/store.py",
        "mine = self._rename(stage, kind, name)",
        'mine = bool(self.fs.mv(f"{self.path}/{stage}", self.folder(kind, name), recursive=True)) or True',
        "tests/orchestrator/test_store.py",
    ),
    Mutant(
        "every worker decides by itself",
        "nets/layers.py",
        "if workers() == 1:\n        return decide()",
        "if True:\n        return decide()",
        "tests/orchestrator/test_group.py",
    ),
    Mutant(
        "gamma_up is 0 where the first gamma collapses",
        "nets/collapse.py",
        "if self.lower > 0 else math.nan",
        "",
        "tests/nets/test_collapse.py",
    ),
    Mutant(
        "the losses of the worst models cross",
        "nets/collapse.py",
        "losses = [(branch @ (1.0, gamma)).min()",
        "losses = [(branch @ (1.0, gamma)).max()",
        "tests/nets/test_collapse.py",
    ),
    Mutant(
        "the crossing without the KL divergence",
        "nets/collapse.py",
        'figures["beta"] * figures["validation_kl"]',
        "0",
        "tests/nets/test_collapse.py",
    ),
    Mutant(
        "a collapsed model by what it makes of its input",
        "nets/collapse.py",
        'figures.get("prior_reconstruction", math.nan)',
        "math.nan",
        "tests/nets/test_collapse.py",
    ),
    Mutant(
        "a loop that never comes back",
        "nets/collapse.py",
        'before["gamma"] > row["gamma"]',
        'before["gamma"] < row["gamma"]',
        "tests/nets/test_collapse.py",
    ),
    Mutant(
        "units that say nothing are active",
        "nets/metrics.py",
        "means.var(0) > ACTIVE",
        "means.var(0) < ACTIVE",
        "tests/nets/test_metrics.py",
    ),
    Mutant(
        "a loss has settled while it falls",
        "nets/training.py",
        "before - recent <= SETTLED * max(losses[0] - recent, 0.0)",
        "before - recent <= 0.5 * max(losses[0] - recent, 0.0)",
        "tests/nets/test_training.py",
    ),
    Mutant(
        "the best model across data sets",
        "orchestrator/training/trained.py",
        'return min(alike, key=lambda entry: generation_error(entry[1]["figures"]))[0]',
        'return min(diverse, key=lambda entry: generation_error(entry[1]["figures"]))[0]',
        "tests/orchestrator/test_loop.py",
    ),
]


XY_TESTS = "tests/physics/test_xy.py tests/physics/test_vortices.py"
MUTANTS += [
    Mutant(
        "vortices held on three sides",
        "physics/kernels/planar.py",
        "        + _passes(x, y, nx, ny, right[0][k], right[1][k])\n",
        "",
        XY_TESTS,
    ),
    Mutant(
        "two antipodes passed are as none",
        "physics/kernels/planar.py",
        "(passed == i32(0)) | (passed == i32(4))",
        "(passed == i32(0)) | (passed == i32(2))",
        XY_TESTS,
    ),
    Mutant(
        "Metropolis at twice the temperature",
        "physics/kernels/planar.py",
        "exp_neg(max(f32(0.0), rise * inverse_T[k]))",
        "exp_neg(max(f32(0.0), f32(0.5) * rise * inverse_T[k]))",
        XY_TESTS,
    ),
    Mutant(
        "over-relaxation about another field",
        "physics/kernels/planar.py",
        "nx = scale * hx - x if reflect",
        "nx = scale * hx + x if reflect",
        XY_TESTS,
    ),
    Mutant(
        "proposals to one side",
        "physics/kernels/planar.py",
        "width[k] * f32(i32(phase)) * f32(2.0**-31)",
        "width[k] * abs(f32(i32(phase))) * f32(2.0**-31)",
        XY_TESTS,
    ),
    Mutant(
        "the winding sector of most energy",
        "physics/vortices.py",
        "torch.ceil(around / TAU - 0.5 - 1e-9)",
        "torch.ceil(around / TAU + 0.5 - 1e-9)",
        XY_TESTS,
    ),
    Mutant(
        "susceptibility at the wrong temperature",
        "physics/xy.py",
        "lambda T: 1 / T)",
        "lambda T: 1 / T**2)",
        XY_TESTS,
    ),
    Mutant(
        "minus sign of the WGAN generator's loss",
        "nets/unet.py",
        "weight * physical - C(fake, here).mean()",
        "weight * physical + C(fake, here).mean()",
        "tests/nets/test_unet.py",
    ),
    Mutant(
        "minus sign of the Wasserstein distance",
        "nets/losses.py",
        "return real.mean() - fake.mean()",
        "return fake.mean() - real.mean()",
        "tests/nets/test_unet.py",
    ),
    Mutant(
        "a penalty of any slope",
        "nets/losses.py",
        "(slope.flatten(1).norm(dim=1) - 1).square()",
        "slope.flatten(1).norm(dim=1).square()",
        "tests/nets/test_unet.py",
    ),
    Mutant(
        "the physical loss from the start",
        "nets/unet.py",
        "batch.done >= self.physical_after",
        "batch.done >= 0",
        "tests/nets/test_unet.py",
    ),
    Mutant(
        "no average of the generator's weights",
        "nets/unet.py",
        "mean.lerp_(weight, share)",
        "mean.lerp_(weight, 1.0)",
        "tests/nets/test_unet.py",
    ),
    Mutant(
        "the critic is not told the charges",
        "nets/unet.py",
        'labels["charges"][:, None].to(spins)), 1)',
        '0 * labels["charges"][:, None].to(spins)), 1)',
        "tests/nets/test_unet.py",
    ),
    Mutant(
        "charge of spins outside the mask",
        "physics/observables.py",
        "corner = magnet.on_sites(corner) if magnet else corner",
        "corner = corner if magnet else corner",
        "tests/physics/test_confined.py",
    ),
    Mutant(
        "M_z over sites that do not exist",
        "physics/chiral.py",
        "magnetization(spins)[..., 2] / self.filling(spins.shape[-1])",
        "magnetization(spins)[..., 2]",
        "tests/physics/test_confined.py",
    ),
    Mutant(
        "edges taken for nodal points",
        "physics/observables.py",
        "parallel = 0.5 * magnet.J * magnet.neighbours(L).to(density)",
        "parallel = 2 * magnet.J",
        "tests/physics/test_confined.py",
    ),
    Mutant(
        "structure factor of spins outside the mask",
        "physics/chiral.py",
        "        spins = self.on_sites(torch.as_tensor(spins))\n        return structure_factor",
        "        spins = torch.as_tensor(spins)\n        return structure_factor",
        "tests/physics/test_confined.py",
    ),
    Mutant(
        "decoded spins outside the mask",
        "nets/system.py",
        "return self.model.on_sites(self.unconfined.decode(z, labels))",
        "return self.unconfined.decode(z, labels)",
        "tests/nets/test_confined.py",
    ),
    Mutant(
        "reconstruction over sites that do not exist",
        "nets/losses.py",
        "return (output - spins).square().mean() / filling",
        "return (output - spins).square().mean()",
        "tests/nets/test_confined.py",
    ),
    Mutant(
        "a collapsed state that is not relaxed",
        "physics/ground_state.py",
        "states = torch.stack((spins.cpu(), rested)).double()",
        "states = torch.stack((spins.cpu(), spins.cpu())).double()",
        "tests/physics/test_ground_state.py",
    ),
    Mutant(
        "x and y of a wave vector exchanged",
        "physics/observables.py",
        "torch.atan2(ky.double(), kx.double())",
        "torch.atan2(kx.double(), ky.double())",
        "tests/physics/test_ground_state.py",
    ),
    Mutant(
        "the collapsed model of highest energy",
        "orchestrator/sweeps/collapsed_state.py",
        'fallen.groupby("trial")["energy_mean"].idxmin()',
        'fallen.groupby("trial")["energy_mean"].idxmax()',
        "tests/orchestrator/test_collapsed_state.py",
    ),
    Mutant(
        "angle to the field from its length",
        "physics/observables.py",
        "return torch.atan2(model.torque(spins), along)",
        "return torch.asin((model.torque(spins) / model.effective_field(spins).norm(dim=-3)).clamp(max=1))",
        "tests/physics/test_observables.py",
    ),
    Mutant(
        "highest of the skyrmion lattices",
        "physics/lattices.py",
        "best = int(energies.argmin())",
        "best = int(np.where(whole, energies, -np.inf).argmax())",
        "tests/physics/test_lattices.py",
    ),
    Mutant(
        "reconstructed from the mean alone",
        "nets/alignment.py",
        "mean + torch.exp(0.5 * log_variance) * drawn",
        "mean",
        "tests/nets/test_alignment.py",
    ),
    Mutant(
        "a peak measured from the lower end",
        "search/latent.py",
        "base, peak = max(energy[0], energy[-1])",
        "base, peak = min(energy[0], energy[-1])",
        "tests/search/test_latent.py",
    ),
    Mutant(
        "the energy in the loss from the first step",
        "nets/vae.py",
        "self.gamma if batch.done >= self.gamma_after else 0.0",
        "self.gamma",
        "tests/nets/test_vae.py",
    ),
    Mutant(
        "a collapsed model followed upward falls there",
        "nets/collapse.py",
        'else "collapsed")',
        'else "up")',
        "tests/nets/test_collapse.py",
    ),
    Mutant(
        "a key that varies whatever its condition",
        "search/space.py",
        "return all(point.get(key) in values for key, values in (self.when or {}).items())",
        "return True",
        "tests/orchestrator/test_proposals.py",
    ),
    Mutant(
        "a boundary goes back to points without a value",
        "orchestrator/sweeps/boundary.py",
        "if other.number != trial.number and (other.value is None or not np.isfinite(other.value))",
        "if other.number != trial.number and other.state == TrialState.RUNNING",
        "tests/orchestrator/test_proposals.py",
    ),
    Mutant(
        "each trial meets its own collapsed state as the ground state",
        "orchestrator/sweeps/collapsed_state.py",
        'best = lowest.loc[[lowest["energy_mean"].idxmin()]].assign(energy_mean=_ground_energy(rows))',
        "best = lowest",
        "tests/orchestrator/test_collapsed_state.py",
    ),
    Mutant(
        "a winner at rest that is the winner",
        "search/winner.py",
        "rested = torch.from_numpy(relaxed)",
        "rested = found",
        "tests/search/test_winner.py",
    ),
    Mutant(
        "a lattice that ignores a field downward",
        "physics/lattices.py",
        "return -made if magnet.B < 0 else made",
        "return made",
        "tests/physics/test_lattices.py",
    ),
]


MUTANTS += [
    Mutant(
        "the linear wheel without its least slot",
        "search/genetic.py",
        "slot = above / span + 1 / (pressure - 1) if",
        "slot = above / span + 1 / pressure if",
        "tests/search/test_genetic.py",
    ),
    Mutant(
        "the linear wheel by rank",
        "search/genetic.py",
        "slot = above / span + 1 / (pressure - 1) if",
        "slot = np.linspace(1, 0, len(scores)) + 1 / (pressure - 1) if",
        "tests/search/test_genetic.py",
    ),
    Mutant(
        "the exponential wheel over n ranks",
        "search/genetic.py",
        "np.arange(len(scores)) / (len(scores) - 1))",
        "np.arange(len(scores)) / (2 * len(scores) - 1))",
        "tests/search/test_genetic.py",
    ),
    Mutant(
        "parents without a score",
        "search/genetic.py",
        "    slot = np.where(known, slot, 0.0)\n",
        "",
        "tests/search/test_genetic.py",
    ),
    Mutant(
        "twice as many resets",
        "search/genetic.py",
        "rng.random(part.shape, np.float32) < mutation",
        "rng.random(part.shape, np.float32) < 2 * mutation",
        "tests/search/test_genetic.py",
    ),
    Mutant(
        "a reset of whole codes",
        "search/genetic.py",
        "rng.random(part.shape, np.float32) < mutation",
        "np.repeat(rng.random((len(part), 1)), part.shape[1], 1) < mutation",
        "tests/search/test_genetic.py",
    ),
    Mutant(
        "infinite scores are numbers",
        "search/optimizer.py",
        "np.where(np.isfinite(scores), scores, -np.inf)",
        "np.nan_to_num(scores, nan=-np.inf)",
        "tests/search/test_genetic.py",
    ),
    Mutant(
        "the KL weight's decade of e",
        "search/stochastic.py",
        "10.0 ** (-self._told",
        "np.e ** (-self._told",
        "tests/search/test_stochastic.py",
    ),
    Mutant(
        "the KL divergence drives away from the prior",
        "search/stochastic.py",
        "- self.kl_weight * kl_slope",
        "+ self.kl_weight * kl_slope",
        "tests/search/test_stochastic.py",
    ),
    Mutant(
        "the score drives the distribution downhill",
        "search/stochastic.py",
        "up = np.stack((slope.mean(0), (slope * away).mean(0)))",
        "up = -np.stack((slope.mean(0), (slope * away).mean(0)))",
        "tests/search/test_stochastic.py",
    ),
    Mutant(
        "the slope of sigma without the draw",
        "search/stochastic.py",
        "(slope * away).mean(0)",
        "slope.mean(0)",
        "tests/search/test_stochastic.py",
    ),
    Mutant(
        "the slope of sigma in place of that of its logarithm",
        "search/stochastic.py",
        "codes[known] - self.mean  #",
        "(codes[known] - self.mean) / self.sigma  #",
        "tests/search/test_stochastic.py",
    ),
    Mutant(
        "the KL slope of sigma in place of that of its logarithm",
        "search/stochastic.py",
        "self.sigma**2 - 1",
        "self.sigma - 1 / self.sigma",
        "tests/search/test_stochastic.py",
    ),
    Mutant(
        "the best of a search is forgotten",
        "search/optimizer.py",
        "if not len(scores) or self.score <= scores[0]:",
        "if True:",
        "tests/search/test_stochastic.py tests/search/test_genetic.py",
    ),
    Mutant(
        "children replace the best",
        "search/memetic.py",
        "worst = order[len(order) - int(settings.replaced * len(order)) :]",
        "worst = order[: int(settings.replaced * len(order))]",
        "tests/search/test_memetic.py",
    ),
    Mutant(
        "children of any code",
        "search/memetic.py",
        'settings.pressure, "exponential")',
        '1e-9, "exponential")',
        "tests/search/test_memetic.py",
    ),
    Mutant(
        "parents lend where they are and not where they were best",
        "search/memetic.py",
        "offspring(self._rng, self._best[order], drawn",
        "offspring(self._rng, self._codes[order], drawn",
        "tests/search/test_memetic.py",
    ),
    Mutant(
        "children keep the moments of those they replace",
        "search/memetic.py",
        "        self._adam.forget(worst)\n",
        "",
        "tests/search/test_memetic.py",
    ),
    Mutant(
        "children keep the score of those they replace",
        "search/memetic.py",
        "        self._best_scores[worst] = -np.inf\n",
        "",
        "tests/search/test_memetic.py",
    ),
    Mutant(
        "Adam without the bias correction of the slope",
        "search/adam.py",
        "mean, square = self._first / (1 - first**steps)",
        "mean, square = self._first",
        "tests/search/test_adam.py",
    ),
    Mutant(
        "Adam without the bias correction of the square",
        "search/adam.py",
        "self._second / (1 - second**steps)",
        "self._second",
        "tests/search/test_adam.py",
    ),
    Mutant(
        "Adam of the papers' systems in a search",
        "search/adam.py",
        "BETAS, EPSILON = (0.9, 0.999)",
        "BETAS, EPSILON = (0.5, 0.999)",
        "tests/search/test_adam.py",
    ),
    Mutant(
        "rows of Adam count one another's steps",
        "search/adam.py",
        "        self._steps += known[:, 0]\n",
        "        self._steps += known.any()\n",
        "tests/search/test_adam.py",
    ),
    Mutant(
        "the archive keeps the worse of a cell",
        "search/archive.py",
        "-values[:, 0], cells))",
        "values[:, 0], cells))",
        "tests/search/test_archive.py",
    ),
    Mutant(
        "a climb goes on at the worst",
        "search/archive.py",
        "np.lexsort(-gains[own].T[::-1])",
        "np.lexsort(gains[own].T[::-1])",
        "tests/search/test_archive.py",
    ),
    Mutant(
        "gradient steps by the gradients' length",
        "search/climb.py",
        "self._slopes / np.maximum(np.linalg.norm(self._slopes, axis=1, keepdims=True), 1e-12)",
        "self._slopes",
        "tests/search/test_climb.py",
    ),
    Mutant(
        "a climb forgets what it has learned",
        "search/climb.py",
        "        self._strategy.tell([(c, float(rank)) for c, rank in zip(self._asked, ranks, strict=True)])\n",
        "",
        "tests/search/test_climb.py",
    ),
    Mutant(
        "a migrant goes back to its own island",
        "search/islands.py",
        "[found[-1], *found[:-1]]",
        "found",
        "tests/search/test_islands.py",
    ),
    Mutant(
        "a migrant takes the place of the best",
        "search/genetic.py",
        "self.codes[:stay], codes)), np.concatenate((self.scores[:stay], scores))",
        "self.codes[-stay:], codes)), np.concatenate((self.scores[-stay:], scores))",
        "tests/search/test_islands.py",
    ),
    Mutant(
        "islands with one seed",
        "search/islands.py",
        "for own in seeds]",
        "for own in 0 * seeds]",
        "tests/search/test_islands.py",
    ),
    Mutant(
        "codes of a front climb the mean of their scores",
        "search/pareto.py",
        "self._weights * (worst + AUGMENTED)",
        "(0 * worst + 1)",
        "tests/search/test_pareto.py",
    ),
    Mutant(
        "the other values of a front the wrong way round",
        "search/pareto.py",
        'endswith("_max") else -1',
        'endswith("_min") else -1',
        "tests/search/test_pareto.py",
    ),
    Mutant(
        "the least crowded leave a front",
        "search/pareto.py",
        "np.argmin(room)",
        "np.argmax(room)",
        "tests/search/test_pareto.py",
    ),
    Mutant(
        "lines away from the other code",
        "search/archive.py",
        "along * (toward - z)",
        "along * toward",
        "tests/search/test_archive.py",
    ),
    Mutant(
        "the axes of the map exchanged",
        "search/archive.py",
        "place, 0) @ (1, size)",
        "place, 0) @ (size, 1)",
        "tests/search/test_archive.py",
    ),
    Mutant(
        "limits on the other side",
        "search/constraint.py",
        'beyond if relation == "<" else -beyond',
        '-beyond if relation == "<" else beyond',
        "tests/search/test_constraint.py",
    ),
    Mutant(
        "a margin outside of the limit",
        "search/constraint.py",
        ") + margin).clamp(min=0)",
        ") - margin).clamp(min=0)",
        "tests/search/test_constraint.py",
    ),
    Mutant(
        "no margin within a limit",
        "search/constraint.py",
        '0.0 if limit.constraint.relation == "=" else MARGIN',
        "0.0",
        "tests/search/test_constraint.py",
    ),
    Mutant(
        "a reward for breaking limits",
        "search/constraint.py",
        "score = score - STIFFNESS",
        "score = score + STIFFNESS",
        "tests/search/test_constraint.py",
    ),
    Mutant(
        "a penalty in units of one",
        "search/constraint.py",
        "STIFFNESS * self.spread *",
        "STIFFNESS *",
        "tests/search/test_constraint.py",
    ),
    Mutant(
        "a limit by the best of the data",
        "search/constraint.py",
        "worst = values.max() if",
        "worst = values.min() if",
        "tests/search/test_constraint.py",
    ),
    Mutant(
        "a state without a number keeps all limits",
        "search/constraint.py",
        "~(limit.violation(spins, model) <= 1e-6)",
        "(limit.violation(spins, model) > 1e-6)",
        "tests/search/test_constraint.py",
    ),
    Mutant(
        "an equality from one side",
        "search/constraint.py",
        "return beyond.abs()",
        "return beyond.clamp(min=0)",
        "tests/search/test_constraint.py",
    ),
    Mutant(
        "a shell of half the width",
        "search/prior.py",
        "DEVIATIONS = 3.0",
        "DEVIATIONS = 1.5",
        "tests/search/test_prior.py",
    ),
    Mutant(
        "a shell of twice the width",
        "search/prior.py",
        "DEVIATIONS = 3.0",
        "DEVIATIONS = 6.0",
        "tests/search/test_prior.py",
    ),
    Mutant(
        "a shell as wide in any dimension",
        "search/prior.py",
        "min(0.9, DEVIATIONS / math.sqrt(2 * latent_dim))",
        "0.9",
        "tests/search/test_prior.py",
    ),
    Mutant(
        "C(a) of x and y exchanged",
        "physics/observables.py",
        "k[None, :] * a[0] + k[:, None] * a[1]",
        "k[:, None] * a[0] + k[None, :] * a[1]",
        "tests/search/test_objectives.py",
    ),
    Mutant(
        "C(a) with one phase for both axes",
        "physics/observables.py",
        "k[None, :] * a[0] + k[:, None] * a[1]",
        "k[None, :] * a[0] - k[:, None] * a[1]",
        "tests/search/test_objectives.py",
    ),
    Mutant(
        "a boundary strip of a site beside its middle",
        "search/given.py",
        "<= max(0.5, 0.5 * WIDTH * L)",
        "<= max(0.5, 2 * WIDTH * L)",
        "tests/search/test_given.py",
    ),
    Mutant(
        "a ring that is a square",
        "search/given.py",
        "np.hypot(x, y)",
        "np.maximum(x, y)",
        "tests/search/test_given.py",
    ),
    Mutant(
        "a boundary map by its square",
        "search/given.py",
        "wanted.norm(dim=0).sum()",
        "wanted.square().sum()",
        "tests/search/test_given.py",
    ),
    Mutant(
        "distance without its normalisation",
        "search/given.py",
        "/ (4 * there)",
        "/ (2 * there)",
        "tests/search/test_given.py",
    ),
    Mutant(
        "distance over sites that do not exist",
        "search/given.py",
        "/ (4 * there)",
        "/ (4 * spins.shape[-1] ** 2)",
        "tests/search/test_given.py",
    ),
    Mutant(
        "the known state of the first model that was asked for",
        "search/given.py",
        "        return np.asarray(model.known_states(L)[self.state](), np.float32)\n",
        "        self._state = np.asarray(model.known_states(L)[self.state](), np.float32)\n"
        "        return self._state\n",
        "tests/search/test_given.py",
    ),
    Mutant(
        "scores of codes that are free",
        "search/scoring.py",
        "z if self.free else on_shell(z)",
        "z",
        "tests/search/test_scoring.py",
    ),
    Mutant(
        "observables in the place of the score",
        "search/scoring.py",
        "torch.stack([score, *measured], 1)",
        "torch.stack([*measured, score], 1)",
        "tests/search/test_scoring.py",
    ),
    Mutant(
        "states that break limits come first",
        "search/winner.py",
        '~table["within"]))',
        'table["within"]))',
        "tests/search/test_winner.py",
    ),
    Mutant(
        "the worst states come first",
        "search/winner.py",
        'sign = 1 if penalised.objective.direction == "min" else -1',
        'sign = -1 if penalised.objective.direction == "min" else 1',
        "tests/search/test_winner.py",
    ),
    Mutant(
        "code norms in the order of the codes",
        "search/winner.py",
        "(codes[order].norm(dim=1)",
        "(codes.norm(dim=1)",
        "tests/search/test_winner.py",
    ),
    Mutant(
        "every magnet is in no field",
        "physics/symmetry.py",
        "model.energy(-spins), rtol=0, atol=1e-9)",
        "model.energy(-spins), rtol=0, atol=1.0)",
        "tests/physics/test_symmetry.py",
    ),
    Mutant(
        "no magnet is in no field",
        "physics/symmetry.py",
        "torch.allclose(model.energy(spins), model.energy(-spins)",
        "torch.allclose(model.energy(spins), -model.energy(-spins)",
        "tests/physics/test_symmetry.py",
    ),
    Mutant(
        "generated energies in no unit",
        "orchestrator/training/trained.py",
        'return apart / max(figures.get("data_energy_std", 0.0), 1e-6) +',
        "return apart +",
        "tests/orchestrator/test_loop.py",
    ),
    Mutant(
        "any diversity is as good",
        "orchestrator/training/trained.py",
        ' + abs(math.log(max(figures["diversity"], 1e-6)))',
        "",
        "tests/orchestrator/test_loop.py",
    ),
    Mutant(
        "the best of the oldest data",
        "orchestrator/training/trained.py",
        "dataset = max(diverse,",
        "dataset = min(diverse,",
        "tests/orchestrator/test_loop.py",
    ),
    Mutant(
        "a collapsed model may be the best",
        "orchestrator/training/trained.py",
        "if _is_diverse(card) and suits(name, card)",
        "if suits(name, card)",
        "tests/orchestrator/test_loop.py",
    ),
    Mutant(
        "two threads make the first call of a root",
        "physics/model.py",
        "for _name in (*ANGLES, *POWERS):",
        "for _name in ANGLES[:0]:",
        "tests/physics/test_first_call.py",
    ),
    Mutant(
        "an analysis is named by its settings alone",
        "orchestrator/analysis/artifact.py",
        "{'config': config.recipe(),",
        "{'config': config.model_dump(mode='json'),",
        "tests/orchestrator/test_optimize.py::test_searches_for_an_edited_function_are_others",
    ),
    Mutant(
        "a sum is what its own class says",
        "search/objectives.py",
        "return [source for _, objective in self.terms for source in objective.defined_by()]",
        "return []",
        "tests/search/test_objectives.py",
    ),
    Mutant(
        "a front keeps what is worse than another",
        "search/front.py",
        "left = left[(rest < best).any(1)]",
        "left = left[(rest != best).any(1)]",
        "tests/search/test_front.py",
    ),
    Mutant(
        "what another process fetches is thrown out",
        "orchestrator/data/mapping.py",
        "            return False\n        path.unlink(missing_ok=True)\n    return True",
        "            pass\n        path.unlink(missing_ok=True)\n    return True",
        "tests/faults/test_cache.py::test_what_another_process_fetches_is_not_thrown_out",
    ),
    Mutant(
        "Ctrl-C in a callback dropped",
        "orchestrator/cli.py",
        "threading.Timer(AGAIN, os.kill, (os.getpid(), signal.SIGINT)).start()",
        "return",
        "tests/orchestrator/test_interrupt.py",
    ),
]

UNCHANGED = Mutant("nothing", "nets/losses.py", "", "", " ".join(sorted({m.tests for m in MUTANTS})))
"""The control, which must pass."""


def caught(mutant: Mutant) -> bool:
    """Whether the tests fail on a copy of the repository with the edit."""
    with tempfile.TemporaryDirectory(prefix="mutant-") as folder:
        copy = Path(folder) / "copy"
        ignored = shutil.ignore_patterns(".git", ".venv", "store", "__pycache__", "*.egg-info", ".*_cache")
        shutil.copytree(ROOT, copy, ignore=ignored)
        path = copy / mutant.file
        text = path.read_text()
        if mutant.old and text.count(mutant.old) != 1:
            raise ValueError(f"{mutant.name}: expected the text once in {mutant.file}, found {text.count(mutant.old)}")
        path.write_text(text.replace(mutant.old, mutant.new) if mutant.old else text)
        command = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", *mutant.tests.split()]
        environment = {**os.environ, "PYTHONPATH": str(copy)}
        return subprocess.run(command, cwd=copy, env=environment, capture_output=True).returncode == 1


def main(word: str = "") -> None:
    chosen = [mutant for mutant in MUTANTS if word in mutant.name]
    if caught(UNCHANGED):
        sys.exit("the tests fail without any edit: mend that first")
    missed = []
    for mutant in chosen:
        started = time.monotonic()
        found = caught(mutant)
        missed += [] if found else [mutant.name]
        print(f"{'caught' if found else 'MISSED'}  {time.monotonic() - started:5.1f} s  {mutant.name}", flush=True)
    print(f"{len(chosen) - len(missed)} of {len(chosen)} mutants caught")
    sys.exit(1 if missed or not chosen else 0)


if __name__ == "__main__":
    main(*sys.argv[1:])
