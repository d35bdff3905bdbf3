r"""Where the E-VAE is expected to collapse, from the data alone: three branches of its loss and where they cross.

.. math:: L(\beta, \gamma) = L_{RC} + \beta L_{KL} + \gamma \varepsilon

- diverse: reconstruction and KL of the best linear VAE, at the energy of the data;
- uniform: the posterior has collapsed and the decoder makes the data's mean spin, normalised;
- ground: it has collapsed and the decoder makes the state of lowest energy.

A theory that nobody has measured yet.  Without a mean spin (B = 0) the uniform branch is nothing special.
"""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor

from nets.linear_vae import critical_beta, linear_vae
from physics.model import SpinModel


class Branch(NamedTuple):
    """Reconstruction and energy per spin of a decoder that makes one state."""

    reconstruction: float
    energy: float


class Phases(NamedTuple):
    """The three branches.

    Attributes:
        spectrum: of the data's covariance, see :func:`nets.linear_vae.covariance_spectrum`.
        latent: dimension of the code.
        energy: per spin, of the data.
    """

    spectrum: Tensor
    latent: int
    energy: float
    uniform: Branch
    ground: Branch

    @property
    def beta_c(self) -> float:
        """Above it the linear VAE encodes nothing: the diverse branch ends at the uniform one."""
        return critical_beta(self.spectrum)

    @property
    def gamma_u(self) -> float:
        """Where the uniform branch gives way to the ground state, whatever beta is."""
        return _crossing(self.uniform.reconstruction, self.uniform.energy, self.ground)

    def gamma_x(self, beta: float) -> float:
        """Where the diverse branch gives way to the ground state."""
        return _crossing(linear_vae(self.spectrum, beta, self.latent).loss, self.energy, self.ground)


def _crossing(loss: float, energy: float, ground: Branch) -> float:
    """The gamma at which loss + gamma energy is that of the ground state; infinite if they do not meet."""
    above = energy - ground.energy
    return max(0.0, (ground.reconstruction - loss) / above) if above > 0 else float("inf")


def phases(spins: Tensor, spectrum: Tensor, model: SpinModel, latent: int) -> Phases:
    """The branches for data on a torus, any translate of which is as likely.

    A fixed state s has the reconstruction 2 (1 - m <s>) / components, with the mean spin m of the data and that of s.

    Args:
        spins: ``(n, components, L, L)``; the one of lowest energy stands for the ground state.
    """
    energies = model.observables["energy"].measure(spins).double()
    mean = spins.double().mean((0, 2, 3))
    lowest = spins[int(energies.argmin())]
    direction = mean / mean.norm()
    uniform = direction.to(spins.dtype)[:, None, None].expand_as(lowest)

    def branch(state: Tensor) -> Branch:
        overlap = float(mean @ state.double().mean((1, 2)))
        return Branch(2 * (1 - overlap) / len(mean), float(model.observables["energy"].measure(state[None])[0]))

    return Phases(spectrum, latent, float(energies.mean()), branch(uniform), branch(lowest))
