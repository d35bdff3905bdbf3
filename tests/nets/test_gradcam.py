import pytest
import torch

from nets.gradcam import grad_cam, resolving_block
from nets.layers import unit_spins
from nets.vaegan import Discriminator, VAEGANConfig
from physics.chiral import ChiralMagnet
from physics.xy import XY


def test_grad_cam_lights_what_makes_a_discriminator_call_states_fake():
    """A discriminator taught that random spins in an upper left quarter are fake looks there and not elsewhere."""
    torch.manual_seed(0)
    judge = Discriminator(VAEGANConfig(L=16, width=8))
    rng = torch.Generator().manual_seed(1)
    optimizer = torch.optim.Adam(judge.parameters(), 2e-3)
    for _ in range(60):
        real = torch.zeros(16, 3, 16, 16)
        real[:, 2] = 1.0
        fake = real.clone()
        fake[:, :, :8, :8] = unit_spins(torch.randn(16, 3, 8, 8, generator=rng))
        loss = torch.nn.functional.softplus(torch.cat((-judge(real), judge(fake)))).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    for block in (1, 2):
        found = grad_cam(judge.eval(), fake, block)
        assert found.shape == (16, 16, 16)
        assert (found >= 0).all()
        assert found[:, 1:7, 1:7].mean() > 3 * found[:, 9:15, 9:15].mean()
    assert torch.equal(found, grad_cam(judge, fake))
    torch.testing.assert_close(grad_cam(judge, fake.roll((4, 8), (2, 3))), found.roll((4, 8), (1, 2)))
    with pytest.raises(ValueError, match="block: expected 1 to 2, found 3"):
        grad_cam(judge, fake, 3)


@pytest.mark.parametrize(
    ("L", "D", "block"),
    [(32, 0.6, 2), (128, 0.3, 3), (64, 0.6, 2), (16, 1.0, 2), (16, 0.6, 2), (16, 0.01, 2), (32, 4.0, 1)],
)
def test_the_cells_of_the_block_are_at_most_half_a_period_and_the_next_are_larger(L, D, block):
    judge, magnet = Discriminator(VAEGANConfig(L=L, width=2)), ChiralMagnet(D=D)
    found = resolving_block(judge, magnet)
    assert found == block
    spins = unit_spins(torch.randn(2, 3, L, L, generator=torch.Generator().manual_seed(0)))
    cells = [L // judge.trunk[: number + 1](spins).shape[-1] for number in range(1, len(judge.trunk) - 1)]
    assert cells[found - 1] <= magnet.period / 2 or found == 1
    assert found == len(cells) or cells[found] > magnet.period / 2


def test_without_a_period_the_last_block_is_looked_at():
    assert resolving_block(Discriminator(VAEGANConfig(L=32, width=2), 2), XY()) == 3


def test_maps_of_a_resolving_block_tell_stripes_apart():
    """Stripes of period 8 are the same in every cell of 8 sites, and not in cells of 4."""
    torch.manual_seed(0)
    magnet, judge = ChiralMagnet(D=1.0), Discriminator(VAEGANConfig(L=32, width=8)).eval()
    x = torch.arange(32)
    stripes = torch.stack((torch.sin(torch.pi * x / 4), torch.zeros(32), torch.cos(torch.pi * x / 4)))
    spins = stripes[:, None].expand(1, 3, 32, 32).contiguous()
    fine, coarse = grad_cam(judge, spins, resolving_block(judge, magnet)), grad_cam(judge, spins)
    assert coarse.std() < 1e-3 * coarse.mean()
    assert fine.std() > 0.01 * fine.mean()
