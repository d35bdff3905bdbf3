"""One toy of each kind that can be added, in one file and with no line elsewhere.

A request names them as ``toys:Ising``.  What ships with the program is registered by a line in the registry of its
protocol instead, and is otherwise made the same way.
"""

# --8<-- [start:imports]
from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from typing import ClassVar

import numpy as np
import pandas as pd
import torch
from pydantic import NonNegativeFloat, PositiveFloat, PositiveInt
from torch import Tensor, nn

from nets.layers import unit_spins
from nets.losses import kl_divergence, reconstruction
from nets.system import Batch, Draw, Labels, System, SystemSettings
from nets.training import update
from orchestrator.sweeps.program import Card, Mode, TrialProgram
from orchestrator.training.request import TrainConfig
from physics.model import Observable, SpinModel, Transformation, X, Y, check_checkerboard, quarter_turn, translations
from physics.sampler import Device, Sampler, Samples, check_kind
from search.objectives import Objective
from search.optimizer import Candidates, Optimizer, OptimizerSettings, State, finite_or_last, numbers

# --8<-- [end:imports]


# --8<-- [start:spin_model]
class Ising(SpinModel):
    """E = -J sum_<ij> s_i s_j - B sum_i s_i on a torus, spins up or down: one component."""

    components: ClassVar[int] = 1
    defect: ClassVar[str] = "lone spins"

    J: float = 1.0
    B: float = 0.0

    @property
    def label(self) -> str:
        return f"ising-J{self.J:g}-B{self.B:g}"

    def check(self, L: int) -> None:
        check_checkerboard(L)

    def energy(self, spins: Tensor) -> Tensor:
        return self.energy_density(spins).mean((-2, -1)) + 2 * self.J

    def energy_density(self, spins: Tensor) -> Tensor:
        s = torch.as_tensor(spins)[..., 0, :, :]
        return -0.5 * self.J * s * _neighbours(s) - self.B * s

    def effective_field(self, spins: Tensor) -> Tensor:
        return self.J * _neighbours(torch.as_tensor(spins)) + self.B

    @property
    def observables(self) -> dict[str, Observable]:
        return {
            "energy": Observable(self.energy, "ε", "J per spin"),
            "m": Observable(lambda spins: spins.mean((-3, -2, -1)), "m"),
        }

    def defects(self, spins: Tensor) -> Tensor:
        s = torch.as_tensor(spins)[..., 0, :, :]
        return (s * _neighbours(s) < -3.5).to(torch.int8)

    def symmetries(self, L: int) -> dict[str, Transformation]:
        return {**translations(L), "quarter turn": quarter_turn}

    def ground_state_energy(self, L: int) -> float | None:
        return -abs(self.B) if self.J > 0 else None


def _neighbours(s: Tensor) -> Tensor:
    return sum(torch.roll(s, step, axis) for axis in (X, Y) for step in (1, -1))


# --8<-- [end:spin_model]


# --8<-- [start:sampler]
class Glauber(Sampler):
    """Heat bath from all spins up, ``sweeps`` of them, each configuration at one of the temperatures in turn."""

    temperatures: tuple[PositiveFloat, ...] = (2.0, 3.0)
    sweeps: PositiveInt = 10
    labels: ClassVar[tuple[str, ...]] = ("temperature",)

    def check(self, model: SpinModel, L: int) -> None:
        check_kind(self, model, Ising)
        model.check(L)

    def spin_updates(self, L: int) -> float:
        return self.sweeps * L**2

    def sample(self, model: SpinModel, L: int, seed: int, indices: Sequence[int], device: Device = "cpu") -> Samples:
        T = np.array([self.temperatures[index % len(self.temperatures)] for index in indices], np.float32)
        states = [
            self._one(model, L, np.random.default_rng([seed, index]), t) for index, t in zip(indices, T, strict=True)
        ]
        return Samples(np.stack(states), {"temperature": T})

    def _one(self, model: SpinModel, L: int, rng: np.random.Generator, T: float) -> np.ndarray:
        spins = torch.ones(1, L, L)
        colour = (torch.arange(L)[:, None] + torch.arange(L)) % 2
        for half in range(2 * self.sweeps):
            up = torch.sigmoid(2 * model.effective_field(spins) / T)
            drawn = torch.where(torch.from_numpy(rng.random((1, L, L))) < up, 1.0, -1.0)
            spins = torch.where(colour == half % 2, drawn, spins)
        return spins.numpy().astype(np.float32)


# --8<-- [end:sampler]


# --8<-- [start:system]
class Line(nn.Module):
    """A linear encoder and decoder; the decoder sees the temperature."""

    def __init__(self, L: int, latent: int, components: int):
        super().__init__()
        self.latent_dim, self.shape = latent, (components, L, L)
        self.down = nn.Linear(components * L * L, 2 * latent)
        self.up = nn.Linear(latent + 1, components * L * L)

    def encode(self, spins: Tensor) -> tuple[Tensor, Tensor]:
        mean, log_variance = self.down(spins.flatten(1)).chunk(2, dim=1)
        return mean, log_variance

    def decode(self, z: Tensor, labels: Labels | None = None) -> Tensor:
        T = torch.cat((z, (labels or {})["temperature"].view(-1, 1).to(z)), 1)
        return unit_spins(self.up(T).view(-1, *self.shape))


class LinearVAE(SystemSettings):
    """A VAE of two linear maps, conditioned on the temperature."""

    labels: ClassVar[tuple[str, ...]] = ("temperature",)
    L: PositiveInt = 16
    latent: PositiveInt = 4
    beta: NonNegativeFloat = 1e-2
    learning_rate: PositiveFloat = 1e-2

    @property
    def label(self) -> str:
        return f"linear-b{self.beta:g}"

    @property
    def decoder(self) -> str:
        return "line"

    @property
    def encoder(self) -> str:
        return "line"

    def networks(self, components: int) -> dict[str, Callable[[], nn.Module]]:
        return {"line": lambda: Line(self.L, self.latent, components)}

    @property
    def held_out(self) -> tuple[str, ...]:
        return "reconstruction", "kl"

    def held_out_losses(self, system: System, batch: Batch, draw: Draw) -> dict[str, Tensor]:
        line = system.networks["line"]
        mean, log_variance = line.encode(batch.spins)
        output = line.decode(mean + torch.exp(0.5 * log_variance) * draw(*mean.shape), batch.labels)
        return {"reconstruction": reconstruction(output, batch.spins), "kl": kl_divergence(mean, log_variance)}

    def step(self, system: System, batch: Batch, draw: Draw) -> dict[str, Tensor]:
        losses = self.held_out_losses(system, batch, draw)
        update(system, (losses["reconstruction"] + self.beta * losses["kl"], ["line"]))
        return losses


# --8<-- [end:system]


# --8<-- [start:optimizer]
class HillClimbingSettings(OptimizerSettings):
    """The best code so far, with Gaussian steps from it."""

    width: PositiveFloat = 0.3

    def start(self, latent_dim: int, seed: int) -> HillClimbing:
        return HillClimbing(self, latent_dim, seed)


class HillClimbing(Optimizer):
    def __init__(self, settings: HillClimbingSettings, latent_dim: int, seed: int):
        self.settings, self.key = settings, [seed, 0]
        self.best, self.score = np.zeros((1, latent_dim), np.float32), np.full(1, -np.inf)

    def ask(self) -> np.ndarray:
        rng = np.random.default_rng(self.key)
        steps = rng.standard_normal((self.settings.population, self.best.shape[1]), np.float32)
        return self.best + np.float32(self.settings.width) * steps

    def tell(self, codes: np.ndarray, scores: np.ndarray, gradients: np.ndarray | None = None) -> None:
        self.key[1] += 1
        scores = finite_or_last(scores)
        if scores.max() > self.score[0]:
            winner = scores.argmax(keepdims=True)
            self.best, self.score = codes[winner], scores[winner]

    def result(self) -> Candidates:
        return Candidates(self.best, self.score)

    def state(self) -> State:
        return {"best": self.best.copy(), "score": self.score.copy(), "key": np.array(self.key)}

    def restore(self, state: State) -> None:
        best, score = numbers(state, "best", self.best.shape), numbers(state, "score", (1,), float)
        self.best, self.score, self.key = best, score, numbers(state, "key", (2,), int).tolist()


# --8<-- [end:optimizer]


# --8<-- [start:objective]
class Order(Objective):
    """m^2, the square of the mean spin."""

    def value(self, spins: Tensor, model: SpinModel) -> Tensor:
        return spins.mean((-2, -1)).square().sum(-1)


# --8<-- [end:objective]


# --8<-- [start:trial_program]
class Twice(TrialProgram):
    """A training, and a second one from the weights of the first; it reports how much the second gains."""

    def check(self, training: TrainConfig) -> None:
        if not training.system.held_out:
            raise ValueError(f"trial twice: expected a system that encodes, found {training.system.name}")

    def trainings(self, training: TrainConfig) -> Generator[TrainConfig, Card, None]:
        yield training
        yield training.model_copy(update={"parent": training.name})

    def length(self, training: TrainConfig) -> int:
        return 2

    def max_steps(self, training: TrainConfig) -> int:
        return 2 * training.steps

    def metric(self, training: TrainConfig) -> tuple[str, Mode]:
        return "gain", "max"

    def reported(self, training: TrainConfig) -> list[str]:
        return ["gain"]

    def report(self, stages: pd.DataFrame) -> dict[str, float]:
        loss = stages["validation_reconstruction"]
        return {"gain": float(loss.iloc[0] - loss.iloc[-1]) if len(loss) == 2 else float("nan")}


# --8<-- [end:trial_program]
