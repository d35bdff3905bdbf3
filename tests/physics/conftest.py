import numpy as np
import pytest
import torch


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
