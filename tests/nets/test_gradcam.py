import pytest
import torch

from nets.gradcam import grad_cam
from nets.layers import unit_spins
from nets.vaegan import Discriminator, VAEGANConfig


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
