import math

import pytest
import torch
from torch import nn

from nets.layers import CircularConv2d, UpsampleConv2d, circular_pad
from nets.losses import kl_divergence, reconstruction
from nets.system import Batch, build
from nets.training import Data, DivergedError, fit
from nets.vae import VAE, VAEConfig
from physics.chiral import ChiralMagnet

H = ChiralMagnet(D=1.0, B=0.2)


def some_spins(n=64, L=16):
    k = torch.linspace(0, 2 * math.pi, n)[:, None, None]
    z, phase = torch.rand(n, L, L, generator=torch.Generator().manual_seed(0)) * 0.5, k.expand(n, L, L)
    r = (1 - z * z).sqrt()
    return torch.stack((r * phase.cos(), r * phase.sin(), z), 1)


@pytest.mark.parametrize("kernel", [3, 5, 7])
def test_upsampled_convolution_is_upsampling_then_convolution(kernel):
    folded = UpsampleConv2d(4, 3, kernel).double()
    plain = CircularConv2d(4, 3, kernel).double()
    plain.load_state_dict(folded.state_dict())
    x = torch.randn(2, 4, 6, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    y, expected = folded(x), plain(nn.Upsample(scale_factor=2)(x))
    assert torch.allclose(y, expected, atol=1e-12)
    y.square().sum().backward()
    expected.square().sum().backward()
    assert torch.allclose(folded.weight.grad, plain.weight.grad, atol=1e-9)


def test_circular_convolution_commutes_with_translation():
    layer, x = CircularConv2d(3, 2, 5), torch.randn(1, 3, 8, 8)
    assert torch.allclose(layer(x.roll((3, -2), (2, 3))), layer(x).roll((3, -2), (2, 3)), atol=1e-5)


def test_padding_wraps_more_than_once():
    assert circular_pad(torch.tensor([[0.0, 1.0], [2.0, 3.0]]), 3)[3].tolist() == [1, 0, 1, 0, 1, 0, 1, 0]


@pytest.mark.parametrize("shape", [(2, 3, 4, 6), (3, 2, 2)])
@pytest.mark.parametrize("width", [0, 1, 2, 3])
def test_padding_and_its_two_derivatives_are_those_of_indexing(shape, width):
    torch.manual_seed(0)
    x = torch.randn(shape, dtype=torch.float64, requires_grad=True)
    rows, columns = (torch.arange(-width, size + width) % size for size in shape[-2:])
    padded, indexed = circular_pad(x, width), x[..., rows[:, None], columns]
    assert torch.equal(padded, indexed)
    weight = torch.randn_like(indexed)
    (mine,), (expected,) = (torch.autograd.grad((weight * y).sum(), x) for y in (padded, indexed))
    torch.testing.assert_close(mine, expected)
    assert torch.autograd.gradgradcheck(lambda y: circular_pad(y, width).square().sum(), x)


@pytest.mark.parametrize(("name", "L"), [("evae-2021", 16), ("evae-2021", 48), ("vae-2022", 32)])
def test_decoder_makes_unit_spins(name, L):
    model = VAE(VAEConfig(name=name, L=L, latent=7)).eval()
    spins = model.decode(torch.randn(3, 7))
    assert spins.shape == (3, 3, L, L)
    assert torch.allclose(spins.norm(dim=1), torch.ones(3, L, L), atol=1e-5)


def test_papers_dense_layer_has_3072_neurons():
    decoder = VAE(VAEConfig(L=128)).decoder
    assert [m.out_features for m in decoder if isinstance(m, nn.Linear)] == [512, 3072]


def test_poolings_must_divide_the_lattice():
    with pytest.raises(ValueError, match="multiple of 16"):
        VAEConfig(L=24)
    with pytest.raises(ValueError, match="multiple of 4"):
        VAEConfig(L=42, widths=(6, 12))


def test_fewer_poolings_keep_a_finer_lattice():
    model = VAE(VAEConfig(L=24, latent=5, widths=(6, 12, 24))).eval()
    assert [m.out_features for m in model.decoder if isinstance(m, nn.Linear)] == [512, 24 * 3 * 3]
    mean, _ = model.encode(torch.randn(2, 3, 24, 24))
    assert mean.shape == (2, 5)
    assert model.decode(mean).shape == (2, 3, 24, 24)


def test_losses_by_hand():
    up, tilted = torch.zeros(1, 3, 2, 2), torch.zeros(1, 3, 2, 2)
    up[:, 2], tilted[:, 0] = 1.0, 1.0
    assert reconstruction(tilted, up).item() == pytest.approx(2 / 3)
    mean, log_variance = torch.tensor([[1.0, 2.0], [0.0, 0.0]]), torch.zeros(2, 2)
    assert kl_divergence(mean, log_variance).item() == pytest.approx(0.5 * (1 + 4) / 2)
    assert kl_divergence(torch.zeros(1, 1), torch.full((1, 1), math.log(4.0))).item() == pytest.approx(
        0.5 * (4 - math.log(4) - 1)
    )


SMALL = {"L": 16, "latent": 8, "hidden": 32, "beta": 1e-4, "gamma": 0.1}


def made(**changes):
    torch.manual_seed(0)
    return build(VAEConfig(**{**SMALL, **changes}), H)


def trained(seed=3, spins=None):
    system, course = made(), []
    fit(
        system,
        Data(some_spins() if spins is None else spins),
        16,
        range(60),
        seed,
        lambda done, losses: course.append(losses),
        10,
    )
    return system.networks["vae"], course


def test_training_is_repeatable_to_the_last_bit_and_lowers_the_loss():
    (a, course), (b, _), (c, _) = trained(), trained(), trained(seed=4)
    same = [torch.equal(x, y) for x, y in zip(a.parameters(), b.parameters(), strict=True)]
    other = [torch.equal(x, y) for x, y in zip(a.parameters(), c.parameters(), strict=True)]
    assert all(same)
    assert not all(other)
    assert course[-1]["reconstruction"] < 0.75 * course[0]["reconstruction"]


def test_a_step_goes_down_the_gradient_of_equation_3():
    """RC + beta KL + gamma H, each written out from its definition, on a twin of the same weights."""
    config, spins, rng = VAEConfig(**SMALL), some_spins(8), torch.Generator()
    twin, system = made().networks["vae"], made()
    mean, log_variance = twin.encode(spins)
    output = twin.decode(mean + log_variance.exp().sqrt() * torch.randn(mean.shape, generator=rng.manual_seed(5)))
    kl = 0.5 * (log_variance.exp() + mean**2 - log_variance - 1).sum() / len(spins)
    losses = {"reconstruction": ((output - spins) ** 2).mean(), "kl": kl, "energy": H.energy(output).sum() / len(spins)}
    (losses["reconstruction"] + 1e-4 * kl + 0.1 * losses["energy"]).backward()
    found = config.step(system, Batch(spins), lambda *shape: torch.randn(shape, generator=rng.manual_seed(5)))
    assert {key: value.item() for key, value in found.items()} == pytest.approx(
        {key: value.item() for key, value in losses.items()}, rel=1e-5
    )
    for weight, expected in zip(system.networks["vae"].parameters(), twin.parameters(), strict=True):
        torch.testing.assert_close(weight.grad, expected.grad, rtol=1e-3, atol=1e-5)


def test_a_loss_that_is_not_a_number_stops_training():
    spins = some_spins()
    spins[5] = torch.nan
    with pytest.raises(DivergedError, match="reconstruction = nan"):
        trained(spins=spins)


def test_beta_rises_by_equal_factors_along_its_ramp():
    """The KL of a step without other losses moves by the beta of that moment."""
    config = VAEConfig(L=16, latent=4, hidden=8, beta=1e-2, beta_ramp=0.5)
    torch.manual_seed(0)
    system = build(config, H)
    system.networks["vae"].double()
    spins, moved = some_spins(8).double(), []
    for done in (0.0, 0.25, 0.5, 1.0):
        gradients = []
        for beta in (config.beta, 0.0):
            system.settings = config.model_copy(update={"beta": beta})
            torch.manual_seed(1)
            system.optimizers["vae"].step = lambda: None
            system.settings.step(system, Batch(spins, done=done), lambda count, width: torch.zeros(count, width))
            gradients.append(torch.cat([p.grad.flatten() for p in system.networks["vae"].parameters()]))
        moved.append((gradients[0] - gradients[1]).norm().item())
    assert moved[2] == moved[3]
    assert [m / moved[3] for m in moved[:2]] == pytest.approx([1e-4, 1e-2], rel=0.02)


@pytest.mark.parametrize(("done", "on"), [(0.0, False), (0.49, False), (0.5, True), (1.0, True)])
def test_the_energy_is_in_the_loss_after_its_share_of_the_training(done, on):
    """A step is that of a training without the Hamiltonian before it, and that of one with it from then on."""
    spins = some_spins(8)

    def stepped(**settings):
        torch.manual_seed(0)
        system = build(VAEConfig(L=16, latent=4, hidden=8, **settings), H)
        system.settings.step(system, Batch(spins, done=done), lambda count, width: torch.zeros(count, width))
        return torch.cat([weight.detach().flatten() for weight in system.networks["vae"].parameters()])

    found = stepped(gamma=100.0, gamma_after=0.5)
    assert torch.equal(found, stepped(gamma=100.0 if on else 0.0))
    assert not torch.equal(stepped(gamma=0.0), stepped(gamma=100.0))
