import numpy as np
import pytest
import torch

from physics.chiral import ChiralMagnet


def _random_spins(*shape, seed=0, dtype=torch.float64):
    """Unit spins in random directions, ``(*shape, 3, L, L)`` for ``shape = (..., L)``."""
    *batch, L = shape
    spins = np.random.default_rng(seed).standard_normal((*batch, 3, L, L))
    return torch.tensor(spins / np.linalg.norm(spins, axis=-3, keepdims=True), dtype=dtype)


@pytest.fixture(scope="session")
def random_spins():
    return _random_spins


@pytest.fixture(scope="session")
def disk():
    """``disk(L)``: the sites within L/2 - 1 of the middle."""

    def mask(L):
        y, x = np.mgrid[:L, :L] - (L - 1) / 2
        return np.hypot(x, y) < L / 2 - 1

    return mask


@pytest.fixture(params=["bloch", "neel", "open", "wire", "easy axis", "easy plane"])
def magnet_of(request):
    """``magnet_of(L)``: a magnet of each kind, the last four with a mask."""
    kinds = {
        "bloch": {"B": 0.2},
        "neel": {"B": 0.2, "dm": "neel"},
        "open": {"B": -0.2, "boundary": "open"},
        "wire": {"D": -0.6, "dm": "neel", "boundary": "wire"},
        "easy axis": {"B": 0.1, "K": 0.7},
        "easy plane": {"B": 0.1, "K": -0.7, "boundary": "wire"},
    }

    def make(L, **changes):
        y, x = np.mgrid[:L, :L]
        mask = None if request.param in ("bloch", "neel") else (x + 2 * y) % 7 > 0
        return ChiralMagnet(**(kinds[request.param] | {"mask": mask} | changes))

    return make


@pytest.fixture(scope="session")
def energies():
    """``energies(magnet, spins)``: energy per spin of each configuration, in float64."""
    return lambda magnet, spins: magnet.energy(torch.from_numpy(spins).double()).numpy()


@pytest.fixture(scope="session")
def torques():
    """``torques(magnet, spins)``: the largest torque of each configuration."""
    return lambda magnet, spins: magnet.torque(torch.from_numpy(spins)).amax((-2, -1)).numpy()
