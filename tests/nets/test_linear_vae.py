"""The linear VAE against direct minimisation, against trained networks, and against the published table of numbers."""

import math

import numpy as np
import pytest
import torch

from nets.linear_vae import covariance_spectrum, critical_beta, linear_vae
from nets.losses import kl_divergence, reconstruction
from physics.annealing import Annealing
from physics.chiral import ChiralMagnet


def rng(seed=0):
    return torch.Generator().manual_seed(seed)


def some_fields(components, L, n=5):
    """Gaussian fields, correlated between components and sites, whose mean is not zero."""
    noise = torch.randn(n, components, L, L, generator=rng())
    return 0.4 + noise + 0.8 * noise.roll((1, 2), (-1, -2)).flip(1)


def translates(spins):
    """All of them, ``(n L^2, N)``."""
    L = spins.shape[-1]
    moved = [spins.roll((y, x), (-2, -1)) for y in range(L) for x in range(L)]
    return torch.cat(moved).flatten(1).double().numpy()


@pytest.mark.parametrize(("components", "L"), [(1, 4), (2, 5), (3, 4), (3, 6)])
def test_the_spectrum_is_that_of_all_translates(components, L, monkeypatch):
    monkeypatch.setattr("nets.linear_vae.BLOCK_SITES", 2 * L * L)  # blocks of two
    spins = some_fields(components, L)
    found = covariance_spectrum(spins)
    expected = np.linalg.eigvalsh(np.cov(translates(spins).T, bias=True))[::-1]
    np.testing.assert_allclose(found, expected, atol=1e-9)
    variance = (spins - spins.mean((0, 2, 3), keepdim=True)).square().sum((1, 2, 3)).mean()
    assert found.sum().item() == pytest.approx(variance.item(), rel=1e-5)


def test_the_loss_from_translates_bounds_that_of_data_that_prefer_some():
    spins = some_fields(2, 4, n=60) * torch.linspace(0, 2, 4)  # stronger to the right
    own = np.linalg.eigvalsh(np.cov(spins.flatten(1).double().numpy().T, bias=True))[::-1].copy()
    for beta in (1e-3, 1e-2, 0.1):
        assert linear_vae(torch.from_numpy(own), beta, 5).loss < linear_vae(covariance_spectrum(spins), beta, 5).loss


def expected_losses(covariance, encoder, decoder, log_variance):
    """Reconstruction and KL of linear maps on data of a covariance, in closed form."""
    N = len(covariance)
    left = torch.eye(N, dtype=torch.float64) - decoder @ encoder
    spread = (left @ covariance @ left.T).trace() + (decoder.square() * log_variance.exp()).sum()
    codes = (encoder @ covariance @ encoder.T).diagonal()
    return spread / N, 0.5 * (log_variance.exp() + codes - log_variance - 1).sum()


@pytest.mark.parametrize(("beta", "latent"), [(0.02, 6), (0.3, 6), (0.02, 2), (2.0, 3)])
def test_no_linear_maps_have_a_lower_loss_and_some_reach_it(beta, latent):
    spectrum = torch.tensor([5.0, 3.0, 1.5, 0.8, 0.3, 0.1], dtype=torch.float64)
    basis = torch.linalg.qr(torch.randn(6, 6, dtype=torch.float64, generator=rng())).Q
    covariance = basis @ spectrum.diag() @ basis.T
    shapes = (latent, 6), (6, latent), (latent,)
    weights = [0.3 * torch.randn(shape, dtype=torch.float64, generator=rng(1)) for shape in shapes]
    weights = [weight.requires_grad_() for weight in weights]
    search = torch.optim.LBFGS(weights, max_iter=500, tolerance_grad=1e-9, line_search_fn="strong_wolfe")
    course = []

    def loss():
        search.zero_grad()
        parts = expected_losses(covariance, *weights)
        total = parts[0] + beta * parts[1]
        total.backward()
        course.append(total.item())
        return total

    search.step(loss)
    found = linear_vae(spectrum, beta, latent)
    assert min(course) == pytest.approx(found.loss, abs=1e-7)
    assert min(course) > found.loss - 1e-12
    rc, kl = expected_losses(covariance, *weights)
    assert (rc.item(), kl.item()) == pytest.approx((found.reconstruction, found.kl), abs=1e-3)


def test_a_trained_linear_vae_comes_down_to_it_in_the_losses_of_training():
    data = torch.from_numpy(translates(some_fields(2, 4))).float()
    N, latent, beta = data.shape[1], 4, 0.1
    best = linear_vae(covariance_spectrum(some_fields(2, 4)), beta, latent)
    torch.manual_seed(0)
    down, up = torch.nn.Linear(N, 2 * latent), torch.nn.Linear(latent, N)
    adam = torch.optim.Adam([*down.parameters(), *up.parameters()], 1e-2)
    slower = torch.optim.lr_scheduler.CosineAnnealingLR(adam, 1500)

    def loss(spins):
        mean, log_variance = down(spins).chunk(2, dim=1)
        output = up(mean + torch.exp(0.5 * log_variance) * torch.randn(mean.shape))
        return reconstruction(output, spins) + beta * kl_divergence(mean, log_variance)

    for _ in range(1500):
        adam.zero_grad()
        loss(data).backward()
        adam.step()
        slower.step()
    with torch.no_grad():
        drawn = torch.stack([loss(data) for _ in range(400)])
    error = drawn.std().item() / math.sqrt(len(drawn))
    assert best.loss - 4 * error < drawn.mean() < 1.005 * best.loss


def test_the_posterior_collapses_at_the_critical_beta():
    spectrum = covariance_spectrum(some_fields(3, 4))
    beta_c = critical_beta(spectrum)
    assert linear_vae(spectrum, 1.0001 * beta_c, 10).kl == 0
    assert linear_vae(spectrum, 1.0001 * beta_c, 10).loss == pytest.approx(spectrum.sum().item() / len(spectrum))
    assert linear_vae(spectrum, 0.9999 * beta_c, 10).kl > 0


def test_without_a_kl_it_is_principal_component_analysis():
    spectrum = torch.tensor([4.0, 2.0, 1.0, 0.0])
    assert linear_vae(spectrum, 0.0, 2) == (0.25, math.inf, 0.25)
    assert linear_vae(spectrum, 0.0, 4).loss == 0


def test_skyrmions_have_the_figures_of_an_independent_computation():
    """L = 32, D = 0.6, B = 0.2 cooled linearly in 1,500 sweeps: beta_c = 0.0392, losses 0.066 and 0.0164.

    Four seeds of 300 configurations give 0.0415 +- 0.0016, 0.06608 +- 0.0003 and 0.01635 +- 0.0001; beta_c, a largest
    of many, comes out high of few configurations.
    """
    cooled = Annealing(kind="linear", T_start=1.5, T_end=0.001, sweeps=1500, overrelaxation=0, finish=20)
    samples = cooled.sample(ChiralMagnet(D=0.6, B=0.2), 32, 0, range(300))
    spectrum = covariance_spectrum(torch.from_numpy(samples.spins))
    strong, weak = (linear_vae(spectrum, beta, 400) for beta in (1e-3, 1e-4))
    assert critical_beta(spectrum) == pytest.approx(0.0392, abs=0.0023 + 4 * 0.0016)
    assert strong.loss == pytest.approx(0.066, abs=0.0005 + 4 * 0.0003)
    assert weak.loss == pytest.approx(0.0164, abs=0.00005 + 4 * 0.0001)
    assert (strong.reconstruction, strong.kl) == pytest.approx((0.029, 38), rel=0.05)
