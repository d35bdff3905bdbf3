"""Systems on a GPU beside the CPU; skipped where there is none."""

import pytest
import torch

from nets.layers import unit_spins
from nets.sampling import ddls, noise_of
from nets.system import SYSTEMS, build
from nets.training import Data, fit
from physics.chiral import ChiralMagnet
from search.latent import survey

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
DEVICES = ("cpu", "cuda")
TOLERANCE = 1e-2  # of TensorFloat-32, in which cuDNN convolves


def made(name, device, **settings):
    torch.manual_seed(0)
    return build(SYSTEMS.parse({"name": name, "L": 16, "latent": 8, **settings}), ChiralMagnet(), device)


def first_losses(name, device):
    spins = unit_spins(torch.randn(8, 3, 16, 16, generator=noise_of(0)))
    found = {}
    fit(made(name, device), Data(spins.to(device)), 8, range(1), 0, lambda done, losses: found.update(losses))
    return found


@pytest.mark.parametrize("name", SYSTEMS.known)
def test_the_losses_of_a_step_are_the_cpus(name):
    cpu, gpu = (first_losses(name, device) for device in DEVICES)
    assert gpu == pytest.approx(cpu, rel=TOLERANCE, abs=TOLERANCE)


@pytest.mark.parametrize("langevin", [False, True])
def test_refined_codes_and_their_survey_are_the_cpus(langevin):
    codes, found = torch.randn(6, 8, generator=noise_of(1)), []
    for device in DEVICES:
        hybrid = made("hybrid", device, width=4)
        hybrid.mode(training=False)
        judge = hybrid.networks["discriminator"]
        z = ddls(hybrid.decoder, judge, codes.to(device), 3, 0.1, noise_of(2) if langevin else None)
        table = survey(hybrid.decoder, z, hybrid.model, discriminator=judge)
        found.append(torch.cat((z.cpu(), torch.tensor(table[["mz", "logit"]].to_numpy(), dtype=z.dtype)), 1))
    torch.testing.assert_close(*found, rtol=TOLERANCE, atol=TOLERANCE)
