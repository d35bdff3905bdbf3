"""Pictures of spins: a colour for every direction; energies, defects, structure factors."""

from __future__ import annotations

import os
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
ABSENT, GAP = 0.5, 0.75  # greys: where there is no site, and between configurations
DEFECTS = {1: "#d62728", -1: "#1f5fd6"}  # rings around defects, by the sign of their charge
VARIABLE = "ORCH_COLORS"  # of the environment, which chooses the palette


def spin_colors(spins: np.ndarray, palette: str | None = None) -> np.ndarray:
    """RGB in [0, 1], ``(..., L, L, 3)``, of spins ``(..., components, L, L)`` with one (z), two (x, y) or three.

    Where there is no site, and spins have length zero, it is grey.

    Args:
        palette: one of :data:`PALETTES`; by default that which the variable ORCH_COLORS of the environment names,
            else "wheel".

    Raises:
        ValueError: there is no such palette.
    """
    spins = np.moveaxis(np.asarray(spins, float), -3, 0)
    there = np.any(spins, 0)[..., None]
    return np.where(there, PALETTES[palette_name(palette)](spins), ABSENT)


def palette_name(given: str | None = None) -> str:
    """The palette that is given, else that of the environment, else "wheel"."""
    name = given or os.environ.get(VARIABLE) or "wheel"
    if name not in PALETTES:
        raise ValueError(f"{VARIABLE}: expected one of {', '.join(PALETTES)}, found {name!r}")
    return name


def _wheel(spins: np.ndarray) -> np.ndarray:
    """The hue is the in-plane angle (red along +x), the lightness (1 + S_z)/2: white up, black down."""
    vector = np.zeros((3, *spins.shape[1:]))
    vector[{1: [2], 2: [0, 1], 3: [0, 1, 2]}[len(spins)]] = spins
    x, y, z = vector
    lightness = np.clip((1 + z) / 2, 0, 1)
    chroma = 1 - np.abs(2 * lightness - 1)
    sector = np.arctan2(y, x) / (np.pi / 3)
    channels = [np.clip(np.abs((sector + shift) % 6 - 3) - 1, 0, 1) for shift in (0, 4, 2)]
    return np.clip(lightness[..., None] + chroma[..., None] * (np.stack(channels, -1) - 0.5), 0, 1)


TO_RGB = np.array([[3.2406, -1.5372, -0.4986], [-0.9689, 1.8758, 0.0415], [0.0557, -0.2040, 1.0570]])  # linear, of XYZ
WHITE = np.array([0.9505, 1.0, 1.089])  # D65


def _safe(spins: np.ndarray) -> np.ndarray:
    """Told apart without red and green: S_z is the lightness of CIELAB, S_x goes from blue to yellow.

    Of planar spins S_y is the lightness, and no two directions look alike.  Of spins with three components S_y goes
    from green to red, at most, and is lost on a reader who does not see these.
    """
    zero = np.zeros(spins.shape[1:])
    x, y, z = {1: (zero, zero, spins[0]), 2: (spins[0], zero, spins[-1]), 3: tuple(spins)}[len(spins)]
    lightness, a, b = 50 + 45 * z, 35 * y, 50 * x
    f = (lightness + 16) / 116 + np.stack((a / 500, 0 * a, -b / 200))
    xyz = np.where(f > 6 / 29, f**3, (f - 4 / 29) * 3 * (6 / 29) ** 2)
    linear = np.clip(np.einsum("rc,c,c...->...r", TO_RGB, WHITE, xyz), 0, 1)
    return np.where(linear > 0.0031308, 1.055 * linear ** (1 / 2.4) - 0.055, 12.92 * linear)


PALETTES = {"wheel": _wheel, "safe": _safe}
"""By name, colours ``(..., L, L, 3)`` of spins ``(components, ..., L, L)``."""


COLORS_SAID = {
    ("wheel", 1): "White spins are up, black ones down.",
    ("wheel", 2): "The colour is the direction of a spin: red along +x, and on around the wheel.",
    ("wheel", 3): "White spins are up, black ones down; the colour is the direction in the plane, red along +x.",
    ("safe", 1): "Light spins are up, dark ones down.",
    ("safe", 2): "Light spins point along +y, dark ones along -y, yellow ones along +x, blue ones along -x.",
    ("safe", 3): "Light spins are up, dark ones down; yellow ones lean along +x, blue ones along -x.",
}


def colors_text(model: SpinModel) -> str:
    """What the colours of spins mean."""
    return f"{COLORS_SAID[palette_name(), model.components]} Grey: no site."


def rings_text(model: SpinModel) -> str:
    """What the rings of :func:`circle_defects` mean."""
    return f"Rings mark {model.defect}, blue ones those of negative charge."


def montage(images: np.ndarray, columns: int, gap: int = 2) -> np.ndarray:
    """Pictures ``(n, L, L, 3)`` side by side, grey between them, the first at the top left, each with y upward."""
    n, height, width, _ = images.shape
    rows = -(-n // columns)
    sheet = np.ones((rows * (height + gap) - gap, columns * (width + gap) - gap, 3))
    for i, image in enumerate(images):
        top, left = i // columns * (height + gap), i % columns * (width + gap)
        sheet[max(top - gap, 0) : top + height + gap, max(left - gap, 0) : left + width + gap] = GAP
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
    """The energy of each site (half of its bonds, its own field) from parallel spins on, dark where it is low.

    The scale spans at least a hundredth of the model's energy scale, so that rounding does not look like structure.
    Where there is no site it is grey.
    """
    density = model.site_energy(torch.as_tensor(spins)).numpy()
    there = model.sites(density.shape[-1])
    lowest, highest = density[there].min(), density[there].max()
    density = np.where(there, density, np.nan)
    middle = (lowest + highest) / 2
    reach = max(highest - lowest, 0.01 * model.energy_scale) / 2
    limits = {"vmin": middle - reach, "vmax": middle + reach}
    image = axes.imshow(density, origin="lower", cmap="inferno", interpolation="nearest", **limits)
    axes.set(xticks=[], yticks=[])
    axes.set_title(title)
    axes.set_facecolor(str(ABSENT))
    unit = axis_label("energy of a site, from parallel spins on", model.observables["energy"].unit.partition(" ")[0])
    axes.figure.colorbar(image, ax=axes, fraction=0.046, pad=0.03, label=unit)


def circle_defects(axes: Axes, spins: np.ndarray, model: SpinModel) -> None:
    """A ring around each defect of a map, red, and blue where its charge is negative; white on both sides."""
    charge = model.defects(torch.as_tensor(spins))
    for y, x in charge.nonzero().tolist():
        at, color = (x + model.defect_at, y + model.defect_at), DEFECTS[1 if charge[y, x] > 0 else -1]
        axes.plot(*at, "o", mfc="none", mec="white", mew=4, ms=10)
        axes.plot(*at, "o", mfc="none", mec=color, mew=1.8, ms=10)


def state_figure(spins: np.ndarray, model: SpinModel, title: str) -> Figure:
    """One configuration and the energy of each of its sites, its defects circled."""
    figure, (left, right) = figure_of(1, 2, (10, 4.6))
    draw_spins(left, spins, model, title)
    draw_energy_density(right, spins, model)
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


def strip(spins: np.ndarray, model: SpinModel, columns: int = COLUMNS) -> np.ndarray:
    """Configurations ``(n, components, L, L)`` side by side as one image ``(height, width, 3)``."""
    return montage(model.colors(spins), columns)


def evenly(count: int, most: int) -> list[int]:
    """At most so many of ``count`` places, the first and the last among them, at even distances."""
    return sorted({round(place) for place in np.linspace(0, max(0, count - 1), min(count, most))})


def strips_figure(rows: Sequence[tuple[str, np.ndarray | None]], model: SpinModel) -> Figure:
    """Rows of configurations with a label beside each; a label with no configurations is a heading."""
    half = COLUMNS // 2
    heights = [1.55 if spins is not None else 0.4 for _, spins in rows]
    figure, axes = figure_of(len(rows), 2, (10, sum(heights)), squeeze=False, height_ratios=heights)
    figure.set_layout_engine("constrained", wspace=0, w_pad=0.01)
    for pair, (label, spins) in zip(axes, rows, strict=True):
        pair[0].set_title(label, loc="left", fontsize=10 if spins is not None else 13)
        for axis, first in zip(pair, (0, half), strict=True):
            axis.set(xticks=[], yticks=[])
            axis.spines[:].set_edgecolor(str(GAP))
            if spins is None or len(spins) <= first:
                axis.axis("off")
            else:
                axis.imshow(strip(spins[first : first + half], model, half), interpolation="nearest")
    return figure


def curves_figure(table: pd.DataFrame, label: str) -> Figure:
    """Every column of a table against its index."""
    figure, axes = figure_of(1, table.shape[1], (3.2 * table.shape[1], 2.8))
    for axis, key in zip(np.atleast_1d(axes), table.columns, strict=True):
        axis.plot(table.index, table[key], "k.-", ms=4, lw=1)
        axis.set(xlabel=label, title=key)
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
    a = "radians a site"
    left.set(xlim=(-reach, reach), ylim=(-reach, reach), xlabel=axis_label("k_x", a), ylabel=axis_label("k_y", a))
    figure.colorbar(image, ax=left, fraction=0.046, label="structure factor S(k)")
    length = np.hypot(k[:, None], k[None, :])
    bins = np.arange(0.5, L // 2) * 2 * np.pi / L
    where = np.digitize(length.ravel(), bins)
    count = np.maximum(np.bincount(where, minlength=len(bins) + 1), 1)
    radial = np.bincount(where, density.ravel(), len(bins) + 1) / count
    right.plot(2 * np.pi / L * np.arange(1, len(bins)), radial[1:-1], "o-", ms=3, color="k")
    if model.wave_number:
        right.axvline(model.wave_number, color="red", ls=":")
    right.set(xlim=(0, reach), xlabel=axis_label("|k|", a), ylabel="S(k), mean over directions")
    return figure


def figure_of(rows: int, columns: int, size: tuple[float, float], **options: Any) -> tuple[Figure, Any]:
    """A figure with its axes, laid out so that nothing overlaps; see :class:`physics.panels.Panels`."""
    import matplotlib.pyplot as plt  # slow to import, and not needed to sample or train

    from physics.panels import Panels

    return plt.subplots(rows, columns, figsize=size, layout="constrained", FigureClass=Panels, **options)


def axis_label(label: str, unit: str) -> str:
    """A symbol or words with the unit behind them, if there is one."""
    return f"{label} ({unit})" if unit else label


def color_wheel(size: int = 65) -> np.ndarray:
    """RGBA of a disk of spins, up at its centre and in the plane at its rim."""
    y, x = np.mgrid[-1 : 1 : size * 1j, -1 : 1 : size * 1j]
    r = np.hypot(x, y)
    spins = np.stack((x, y, np.sqrt(np.clip(1 - r**2, 0, 1))))
    return np.concatenate((spin_colors(spins), (r <= 1)[..., None]), -1)
