"""Pictures: the colour wheel in the plane, black and white out of it; energy densities beside."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch

from physics.hamiltonian import Hamiltonian

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def spin_colors(spins: np.ndarray) -> np.ndarray:
    """RGB in [0, 1], ``(..., L, L, 3)``, of spins ``(..., 3, L, L)``.

    The hue is the in-plane angle (red along +x), the lightness (1 + S_z)/2: white up, black down.
    """
    x, y, z = np.moveaxis(np.asarray(spins, float), -3, 0)
    lightness = np.clip((1 + z) / 2, 0, 1)
    chroma = 1 - np.abs(2 * lightness - 1)
    sector = np.arctan2(y, x) / (np.pi / 3)
    channels = [np.clip(np.abs((sector + shift) % 6 - 3) - 1, 0, 1) for shift in (0, 4, 2)]
    return np.clip(lightness[..., None] + chroma[..., None] * (np.stack(channels, -1) - 0.5), 0, 1)


def montage(images: np.ndarray, columns: int, gap: int = 2) -> np.ndarray:
    """Pictures ``(n, L, L, 3)`` side by side on white, the first at the top left, each with y upward."""
    n, height, width, _ = images.shape
    rows = -(-n // columns)
    sheet = np.ones((rows * (height + gap) - gap, columns * (width + gap) - gap, 3))
    for i, image in enumerate(images):
        top, left = i // columns * (height + gap), i % columns * (width + gap)
        sheet[top : top + height, left : left + width] = image[::-1]
    return sheet


def draw_spins(axes: Axes, spins: np.ndarray, title: str = "") -> None:
    """A spin map with a small colour wheel in its corner."""
    axes.imshow(spin_colors(spins), origin="lower", interpolation="nearest")
    axes.set(xticks=[], yticks=[])
    axes.set_title(title)
    wheel = axes.inset_axes((0.86, 0.86, 0.13, 0.13))
    wheel.imshow(color_wheel(), origin="lower")
    wheel.axis("off")


def draw_energy_density(axes: Axes, spins: np.ndarray, hamiltonian: Hamiltonian, title: str = "") -> None:
    """The energy of each site (half of its bonds, its own field), dark where it is low.

    The scale spans at least a hundredth of J, so that rounding does not look like structure.
    """
    density = hamiltonian.energy_density(torch.as_tensor(spins)).numpy()
    middle = (density.min() + density.max()) / 2
    reach = max(np.ptp(density), 0.01 * abs(hamiltonian.J)) / 2
    limits = {"vmin": middle - reach, "vmax": middle + reach}
    image = axes.imshow(density, origin="lower", cmap="inferno", interpolation="nearest", **limits)
    axes.set(xticks=[], yticks=[])
    axes.set_title(title)
    axes.figure.colorbar(image, ax=axes, fraction=0.046, pad=0.03)


def color_wheel(size: int = 65) -> np.ndarray:
    """RGBA of a disk of spins, up at its centre and in the plane at its rim."""
    y, x = np.mgrid[-1 : 1 : size * 1j, -1 : 1 : size * 1j]
    r = np.hypot(x, y)
    spins = np.stack((x, y, np.sqrt(np.clip(1 - r**2, 0, 1))))
    return np.concatenate((spin_colors(spins), (r <= 1)[..., None]), -1)
