"""Pictures of spins: the colour wheel in the plane, black and white out of it; energies, defects, structure factors."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from physics.model import SpinModel

COLUMNS = 8  # configurations side by side


def spin_colors(spins: np.ndarray) -> np.ndarray:
    """RGB in [0, 1], ``(..., L, L, 3)``, of spins ``(..., components, L, L)`` with one (z), two (x, y) or three.

    The hue is the in-plane angle (red along +x), the lightness (1 + S_z)/2: white up, black down.  Where there is no
    site, and spins have length zero, it is grey.
    """
    spins = np.moveaxis(np.asarray(spins, float), -3, 0)
    vector = np.zeros((3, *spins.shape[1:]))
    vector[{1: [2], 2: [0, 1], 3: [0, 1, 2]}[len(spins)]] = spins
    x, y, z = vector
    lightness = np.clip((1 + z) / 2, 0, 1)
    chroma = (1 - np.abs(2 * lightness - 1)) * vector.any(0)
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


def draw_spins(axes: Axes, spins: np.ndarray, model: SpinModel, title: str = "") -> None:
    """A spin map with a small colour wheel in its corner."""
    axes.imshow(model.colors(spins), origin="lower", interpolation="nearest")
    axes.set(xticks=[], yticks=[])
    axes.set_title(title)
    wheel = axes.inset_axes((0.86, 0.86, 0.13, 0.13))
    wheel.imshow(color_wheel(), origin="lower")
    wheel.axis("off")


def draw_energy_density(axes: Axes, spins: np.ndarray, model: SpinModel, title: str = "") -> None:
    """The energy of each site (half of its bonds, its own field), dark where it is low.

    The scale spans at least a hundredth of the model's energy scale, so that rounding does not look like structure.
    """
    density = model.energy_density(torch.as_tensor(spins)).numpy()
    there = model.sites(density.shape[-1])
    lowest, highest = density[there].min(), density[there].max()
    density = np.where(there, density, np.nan)
    middle = (lowest + highest) / 2
    reach = max(highest - lowest, 0.01 * model.energy_scale) / 2
    limits = {"vmin": middle - reach, "vmax": middle + reach}
    image = axes.imshow(density, origin="lower", cmap="inferno", interpolation="nearest", **limits)
    axes.set(xticks=[], yticks=[])
    axes.set_title(title)
    axes.figure.colorbar(image, ax=axes, fraction=0.046, pad=0.03)


def circle_defects(axes: Axes, spins: np.ndarray, model: SpinModel) -> None:
    """A circle around each defect of a map, red, and blue where its charge is negative."""
    charge = model.defects(torch.as_tensor(spins))
    for y, x in charge.nonzero().tolist():
        color = "red" if charge[y, x] > 0 else "blue"
        axes.plot(x + model.defect_at, y + model.defect_at, "o", mfc="none", mec=color, ms=10)


def state_figure(spins: np.ndarray, model: SpinModel, title: str) -> Figure:
    """One configuration and the energy of each of its sites, its defects circled."""
    figure, (left, right) = figure_of(1, 2, (10, 4.6))
    figure.suptitle(title)
    draw_spins(left, spins, model)
    draw_energy_density(right, spins, model, "energy of each site")
    for axes in (left, right):
        circle_defects(axes, spins, model)
    return figure


def row_figure(states: np.ndarray, model: SpinModel, titles: list[str]) -> Figure:
    """Configurations ``(n, components, L, L)`` side by side, their defects circled."""
    figure, axes = figure_of(1, len(states), (3.2 * len(states), 3.4))
    for axis, spins, title in zip(np.atleast_1d(axes), states, titles, strict=True):
        draw_spins(axis, spins, model, title)
        circle_defects(axis, spins, model)
    return figure


def arrows_figure(states: np.ndarray, model: SpinModel, titles: Sequence[str], columns: int = 4) -> Figure:
    """Planar spins ``(n, 2, L, L)`` as arrows, coloured by their angle, with their defects circled."""
    rows = -(-len(states) // columns)
    figure, axes = figure_of(rows, columns, (3.6 * columns, 3.8 * rows), squeeze=False)
    for axis in axes.flat[len(states) :]:
        axis.axis("off")
    for axis, spins, title in zip(axes.flat, states, titles, strict=False):
        colors = model.colors(spins).reshape(-1, 3)
        axis.quiver(spins[0], spins[1], color=colors, pivot="mid", scale=1, scale_units="xy", width=0.009, headwidth=4)
        circle_defects(axis, spins, model)
        axis.set(xticks=[], yticks=[], aspect="equal", title=title)
    return figure


def strip(spins: np.ndarray, model: SpinModel) -> np.ndarray:
    """Configurations ``(n, components, L, L)`` side by side as one image ``(height, width, 3)``."""
    return montage(model.colors(spins), COLUMNS)


def strips_figure(rows: Sequence[tuple[str, np.ndarray | None]], model: SpinModel) -> Figure:
    """Rows of configurations with a label beside each; a label with no configurations is a heading."""
    figure, axes = figure_of(len(rows), 1, (10, 1.25 * len(rows)))
    for axis, (label, spins) in zip(np.atleast_1d(axes), rows, strict=True):
        if spins is None:
            axis.axis("off")
            axis.text(0, 0.2, label, fontsize=12)
            continue
        axis.imshow(strip(spins[:COLUMNS], model), interpolation="nearest")
        axis.set(xticks=[], yticks=[])
        axis.set_ylabel(label, rotation=0, ha="right", va="center", fontsize=8)
    return figure


def curves_figure(table: pd.DataFrame, label: str) -> Figure:
    """Every column of a table against its index."""
    figure, axes = figure_of(1, table.shape[1], (3.2 * table.shape[1], 2.8))
    for axis, key in zip(np.atleast_1d(axes), table.columns, strict=True):
        axis.plot(table.index, table[key], "k.-", ms=4, lw=1)
        axis.set(xlabel=label, title=key.replace("_", " "))
        axis.grid(alpha=0.3)
    return figure


def histograms_figure(columns: Mapping[str, np.ndarray], marks: Mapping[str, float]) -> Figure:
    """A histogram of each column, with a red line at its mark, if it has one."""
    figure, axes = figure_of(1, len(columns), (3.25 * len(columns), 3))
    for axis, (name, values) in zip(np.atleast_1d(axes), columns.items(), strict=True):
        centre, reach = (values.min() + values.max()) / 2, np.ptp(values) / 2
        reach = max(reach, 1e-4 * max(1.0, abs(centre)))  # so that bins of equal numbers have a width
        axis.hist(
            np.clip(values.astype(float), centre - reach, centre + reach), 40, range=(centre - reach, centre + reach)
        )
        axis.set_xlabel(name)
        axis.locator_params(axis="x", nbins=4)
        if name in marks:
            axis.axvline(marks[name], color="red", ls="--", label=f"{marks[name]:.5g}")
            axis.legend()
    return figure


def structure_figure(spins: torch.Tensor, model: SpinModel) -> Figure:
    """The mean structure factor of ``(n, components, L, L)``, and its mean by the length of k.

    Dotted: the model's wave number, where it has one.
    """
    L = spins.shape[-1]
    density = torch.fft.fftshift(model.structure_factor(spins).mean(0)).numpy()
    density[L // 2, L // 2] = 0  # the uniform part, shown by the magnetization
    k = 2 * np.pi * np.fft.fftshift(np.fft.fftfreq(L))
    figure, (left, right) = figure_of(1, 2, (10, 4))
    edge = np.pi / L  # half a pixel
    extent = (k[0] - edge, k[-1] + edge, k[0] - edge, k[-1] + edge)
    reach = min(np.pi, 3 * model.wave_number) if model.wave_number else np.pi
    image = left.imshow(density, origin="lower", extent=extent, cmap="magma", interpolation="nearest")
    left.set(xlim=(-reach, reach), ylim=(-reach, reach), xlabel="k_x", ylabel="k_y")
    figure.colorbar(image, ax=left, fraction=0.046)
    length = np.hypot(k[:, None], k[None, :])
    bins = np.arange(0.5, L // 2) * 2 * np.pi / L
    where = np.digitize(length.ravel(), bins)
    count = np.maximum(np.bincount(where, minlength=len(bins) + 1), 1)
    radial = np.bincount(where, density.ravel(), len(bins) + 1) / count
    right.plot(2 * np.pi / L * np.arange(1, len(bins)), radial[1:-1], "o-", ms=3, color="k")
    if model.wave_number:
        right.axvline(model.wave_number, color="red", ls=":")
    right.set(xlim=(0, reach), xlabel="|k|", ylabel="S(k)")
    return figure


def figure_of(rows: int, columns: int, size: tuple[float, float], **options: Any) -> tuple[Figure, Any]:
    """A figure with its axes, laid out so that nothing overlaps."""
    import matplotlib.pyplot as plt  # slow to import, and not needed to sample or train

    return plt.subplots(rows, columns, figsize=size, layout="constrained", **options)


def color_wheel(size: int = 65) -> np.ndarray:
    """RGBA of a disk of spins, up at its centre and in the plane at its rim."""
    y, x = np.mgrid[-1 : 1 : size * 1j, -1 : 1 : size * 1j]
    r = np.hypot(x, y)
    spins = np.stack((x, y, np.sqrt(np.clip(1 - r**2, 0, 1))))
    return np.concatenate((spin_colors(spins), (r <= 1)[..., None]), -1)
