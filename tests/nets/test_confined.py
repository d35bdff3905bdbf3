"""Generative systems of a magnet with a mask: decoded spins are on its sites alone, for every loss and every figure."""

import pytest
import torch

from nets.layers import unit_spins
from nets.losses import reconstruction
from nets.metrics import ensemble
from nets.sampling import generate, prior
from nets.system import SYSTEMS, Batch, build, confined
from physics.chiral import ChiralMagnet
from physics.states import disk

L, N = 16, 6
MASK = torch.from_numpy(disk(L))
DISK = ChiralMagnet(D=1.0, B=0.4, boundary="open", mask=disk(L))
SIZES = {"evae-2021": {"hidden": 16, "gamma": 0.1}, **{name: {"width": 4} for name in ("vae", "gan", "hybrid")}}


@pytest.fixture(params=SIZES)
def system(request):
    torch.manual_seed(0)
    return build(SYSTEMS.parse({"name": request.param, "L": L, "latent": 4, **SIZES[request.param]}), DISK)


@pytest.fixture
def data():
    return DISK.on_sites(unit_spins(torch.randn(N, 3, L, L, generator=torch.Generator().manual_seed(0))))


def draw(count, width):
    return torch.randn(count, width, generator=torch.Generator().manual_seed(1))


def test_generated_spins_are_on_the_sites_alone(system):
    spins = generate(system, prior(N, 4, 0), {})
    assert not spins[..., ~MASK].any()
    torch.testing.assert_close(spins.norm(dim=1)[:, MASK], torch.ones(N, int(MASK.sum())))
    plain = DISK.model_copy(update={"mask": None})
    outside = confined(system.networks[system.settings.decoder], plain, L)
    assert outside is system.networks[system.settings.decoder]
    assert ensemble(spins, DISK) == ensemble(spins + torch.where(MASK, 0.0, torch.randn(L, L)), DISK)


def test_the_reconstruction_is_the_mean_over_spins_that_exist(system, data):
    if not system.settings.encoder:
        pytest.skip("it does not encode")
    system.mode(training=False)
    with torch.no_grad():
        losses = system.settings.held_out_losses(system, Batch(data), draw)
        mean, log_variance = system.networks[system.settings.encoder].encode(data)
        codes = mean + torch.exp(0.5 * log_variance) * draw(*mean.shape)
        output = system.networks[system.settings.decoder].decode(codes)
    expected = (output - data)[..., MASK].square().mean()
    torch.testing.assert_close(losses["reconstruction"], expected)


def test_no_gradient_comes_from_outside(system, data):
    output = torch.randn(N, 3, L, L, requires_grad=True)
    found = reconstruction(DISK.on_sites(output), data, DISK.filling(L)) + DISK.energy(output).mean()
    (slope,) = torch.autograd.grad(found, output)
    assert not slope[..., ~MASK].any() and slope[..., MASK].all()


def test_a_judge_is_shown_nothing_outside(system, data):
    if not system.settings.discriminator:
        pytest.skip("it does not judge")
    judge, shown = system.networks[system.settings.discriminator], []
    judge.register_forward_pre_hook(lambda _, given: shown.append(given[0].detach()))
    system.settings.step(system, Batch(data), draw)
    assert shown and all(not spins[..., ~MASK].any() for spins in shown)
