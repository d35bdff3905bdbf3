import numpy as np
import torch
from scipy import stats

from nets.sampling import ddls, decode, prior
from nets.vae import VAE, VAEConfig

SIGMAS = 4


class Identity:
    latent_dim = 2

    def decode(self, z, labels=None):
        return z


def bowl(z):
    """A logit with its maximum at (2, -1), curvature 3 and 1."""
    return -1.5 * (z[:, 0] - 2) ** 2 - 0.5 * (z[:, 1] + 1) ** 2


def test_ascent_goes_to_the_maximum_of_the_logit_at_the_rate_of_its_curvature():
    start = torch.tensor([[0.0, 0.0], [5.0, -4.0]])
    once = ddls(Identity(), bowl, start, 1, 0.1)
    torch.testing.assert_close(once, start + 0.1 * torch.tensor([[6.0, -1.0], [-9.0, 3.0]]))
    torch.testing.assert_close(ddls(Identity(), bowl, start, 500, 0.1), torch.tensor([[2.0, -1.0]] * 2))


def test_langevin_samples_prior_times_odds():
    """exp(logit) N(z; 0, 1) is a Gaussian of precisions 1 + 3 and 1 + 1 and means 3 * 2/4 and -1/2."""
    rng = torch.Generator().manual_seed(0)
    z = ddls(Identity(), bowl, torch.zeros(4000, 2), 600, 0.01, rng, chunk=4000).numpy()
    for axis, (mean, variance) in enumerate(((1.5, 0.25), (-0.5, 0.5))):
        assert abs(z[:, axis].mean() - mean) < SIGMAS * stats.sem(z[:, axis])
        assert abs(z[:, axis].var() / variance - 1) < SIGMAS * np.sqrt(2 / len(z)) + 0.02  # the step's own bias


def test_ascent_does_not_depend_on_the_chunks():
    start = torch.randn(10, 2, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(ddls(Identity(), bowl, start, 5, 0.1, chunk=3), ddls(Identity(), bowl, start, 5, 0.1))


class Labelled:
    """A code and a label of its own, side by side."""

    latent_dim = 2

    def decode(self, z, labels=None):
        return torch.cat((z, labels["T"][:, None]), 1)


def test_labels_go_with_their_codes_through_the_chunks():
    codes, labels = torch.arange(14.0).view(7, 2), {"T": torch.arange(7.0)}
    assert torch.equal(decode(Labelled(), codes, labels, chunk=3), torch.cat((codes, labels["T"][:, None]), 1))
    led = ddls(Labelled(), lambda x: x[:, 0] * x[:, 2], codes, 1, 1.0, labels=labels, chunk=3)
    assert torch.equal(led - codes, torch.stack((labels["T"], torch.zeros(7)), 1))


def test_chunks_decode_as_the_whole():
    model = VAE(VAEConfig(L=16, latent=8)).eval()
    codes = prior(37, 8, 0)
    assert torch.allclose(decode(model, codes), decode(model, codes, chunk=37), atol=1e-6)
