"""Every system is trained by the optimizer of its paper."""

import pytest

from nets.system import SYSTEMS, build
from physics.chiral import ChiralMagnet


@pytest.mark.parametrize(
    ("name", "betas"),
    [
        ("evae-2021", (0.9, 0.999)),
        ("vae-2022", (0.9, 0.999)),
        ("vae", (0.0, 0.9)),
        ("gan", (0.0, 0.9)),
        ("hybrid", (0.0, 0.9)),
    ],
)
def test_adam_has_the_moments_of_the_paper(name, betas):
    size = {"width": 2} if name in ("vae", "gan", "hybrid") else {"hidden": 8}
    settings = SYSTEMS.parse({"name": name, "L": 16, "latent": 4, "learning_rate": 7e-4, **size})
    for optimizer in build(settings, ChiralMagnet()).optimizers.values():
        (group,) = optimizer.param_groups
        assert group["betas"] == betas
        assert group["lr"] == 7e-4
