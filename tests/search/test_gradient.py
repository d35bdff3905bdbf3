import numpy as np
import pytest
import torch

from nets.vae import VAE, VAEConfig
from physics.chiral import ChiralMagnet
from search.gradient import Gradient, with_gradient
from search.objectives import parse_objective
from search.optimizer import advance

H = ChiralMagnet(D=0.6, B=0.2)


def ascend(score, codes, iterations, learning_rate):
    """The best of each code's way in the order of ``codes``, and the scores along it, ``(iterations + 1, n)``."""
    search = Gradient(codes.numpy(), learning_rate)
    history = np.stack([advance(search, with_gradient(score)) for _ in range(iterations + 1)])
    return torch.from_numpy(search.state()["best"]), torch.from_numpy(history), search.result()


def test_ascent_reaches_the_optimum_and_codes_do_not_see_each_other():
    goal = torch.tensor([1.0, -2.0])
    score = lambda z: -(z - goal).square().sum(1)  # noqa: E731
    start = torch.randn(5, 2, generator=torch.Generator().manual_seed(0))
    together, history, _ = ascend(score, start, 600, 0.05)
    alone, _, _ = ascend(score, start[2:3], 600, 0.05)
    assert torch.allclose(together, goal.expand(5, 2), atol=1e-2)
    assert torch.allclose(together[2:3], alone, atol=1e-5)
    assert history.shape == (601, 5)


def test_ascent_returns_the_best_it_passed():
    _, history, result = ascend(lambda z: -z.square().sum(1), torch.full((1, 1), 0.05), 30, 0.5)
    assert -np.square(result.codes).sum() == result.scores[0] == history.max()


def test_the_best_codes_come_first():
    score = lambda z: -z.square().sum(1)  # noqa: E731
    best, history, result = ascend(score, torch.tensor([[3.0], [1.0], [2.0]]), 4, 0.1)
    assert result.scores.tolist() == sorted(history.max(0).values.tolist(), reverse=True)
    assert torch.equal(torch.from_numpy(result.codes), best[[1, 2, 0]])


def test_scores_without_gradients_are_refused():
    search = Gradient(np.zeros((2, 3), np.float32), 0.1)
    with pytest.raises(ValueError, match="expected gradients of the scores, found none"):
        search.tell(search.ask(), np.zeros(2))


def test_ascent_lowers_the_energy_of_decoded_states():
    torch.manual_seed(0)
    model, energy = VAE(VAEConfig(L=16, latent=8)).eval().requires_grad_(False), parse_objective("energy_min")
    _, history, _ = ascend(lambda z: energy.score(model.decode(z), H), torch.randn(4, 8), 20, 0.05)
    assert (history.max(0).values > history[0] + 1e-3).all()
