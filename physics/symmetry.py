"""Random symmetries of a spin model, one for each configuration: what turns one configuration into many as likely."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from physics.model import TRANSLATIONS, SpinModel, X, Y

ORDER = 4  # of a quarter turn; that of a reversal or a reflection divides it

Powers = Mapping[str, Tensor]
"""By the name of a symmetry, how many times each configuration takes it, int64 ``(n,)``."""


def is_uniform(model: SpinModel, L: int) -> bool:
    """Whether every site of the torus is like every other: whether the model lists both translations."""
    return TRANSLATIONS.keys() <= model.symmetries(L).keys()


def is_even(model: SpinModel, L: int) -> bool:
    """Whether a state and its reverse have the same energy, as in no field: tried on one random state."""
    drawn = torch.randn(1, model.components, L, L, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    spins = model.on_sites(drawn / drawn.norm(dim=1, keepdim=True))
    return torch.allclose(model.energy(spins), model.energy(-spins), rtol=0, atol=1e-9)


def draw_powers(model: SpinModel, L: int, n: int, rng: torch.Generator) -> Powers:
    """Independent and uniform: 0 to L - 1 sites of each translation, 0 to 3 times each other symmetry.

    The product is uniform over the group where the order of the other symmetries divides 4, as that of quarter turns,
    reflections and reversals does.  Of a continuous symmetry it takes four elements.
    """
    return {
        name: torch.randint(L if name in TRANSLATIONS else ORDER, (n,), generator=rng) for name in model.symmetries(L)
    }


def transformed(spins: Tensor, model: SpinModel, powers: Powers) -> Tensor:
    """Configurations ``(n, components, L, L)``, each after its powers of the model's symmetries, translations last.

    The energy of each stays as it is, see :meth:`SpinModel.symmetries`.
    """
    spins = spins.clone()
    for name, transform in model.symmetries(spins.shape[-1]).items():
        if name in TRANSLATIONS:
            continue
        for times in range(1, ORDER):
            rows = torch.nonzero(powers[name] >= times)[:, 0].to(spins.device)
            if len(rows):
                spins[rows] = transform(spins[rows])
    shifts = {axis: powers[name] for name, axis in TRANSLATIONS.items() if name in powers}
    return translated(spins, shifts) if shifts else spins


def translated(spins: Tensor, shifts: Mapping[int, Tensor]) -> Tensor:
    """Configurations ``(n, components, L, L)`` on a torus, each moved by its own number of sites ``(n,)`` along axes.

    One gather: several times faster than a roll for each configuration.
    """
    n, components, L, _ = spins.shape
    come_from = torch.arange(L).expand(n, L)
    x, y = ((come_from - shifts[axis][:, None]) % L if axis in shifts else come_from for axis in (X, Y))
    site = (L * y[:, :, None] + x[:, None, :]).flatten(1).to(spins.device)
    return spins.flatten(2).gather(2, site[:, None].expand(n, components, L * L)).view_as(spins)
