import colorsys
import math

import numpy as np
import pytest
import torch
from matplotlib.figure import Figure

from physics.chiral import ChiralMagnet
from physics.masks import disk
from physics.render import (
    ABSENT,
    GAP,
    PALETTES,
    circle_defects,
    color_wheel,
    draw_energy_density,
    draw_spins,
    montage,
    spin_colors,
)


def color(x, y, z):
    return spin_colors(np.array([x, y, z], float)[:, None, None])[0, 0]


@pytest.mark.parametrize(
    ("spin", "rgb"),
    [
        ((0, 0, 1), (1, 1, 1)),
        ((0, 0, -1), (0, 0, 0)),
        ((1, 0, 0), (1, 0, 0)),
        ((0, 1, 0), (0.5, 1, 0)),
        ((-1, 0, 0), (0, 1, 1)),
        ((0, -1, 0), (0.5, 0, 1)),
    ],
    ids=["up white", "down black", "+x red", "+y yellow-green", "-x cyan", "-y violet"],
)
def test_colors_of_the_axes(spin, rgb):
    np.testing.assert_allclose(color(*spin), rgb, atol=1e-12)


def test_colors_are_hue_and_lightness(random_spins):
    spins = random_spins(6).numpy()
    colors = spin_colors(spins)
    for y, x in np.ndindex(6, 6):
        sx, sy, sz = spins[:, y, x]
        hue = math.atan2(sy, sx) / (2 * math.pi) % 1
        np.testing.assert_allclose(colors[y, x], colorsys.hls_to_rgb(hue, (1 + sz) / 2, 1), atol=1e-12)


def test_colors_keep_the_batch_and_put_channels_last(random_spins):
    spins = random_spins(2, 5, 6).numpy()
    colors = spin_colors(spins)
    assert colors.shape == (2, 5, 6, 6, 3)
    np.testing.assert_array_equal(colors[1, 3], spin_colors(spins[1, 3]))


def test_spins_beyond_unit_length_stay_in_gamut():
    assert color(0, 0, 1.01).max() == 1
    assert color(0, 0, -1.01).min() == 0


def test_montage_fills_rows_from_the_top_left_with_y_upward():
    images = np.random.default_rng(0).random((3, 4, 5, 3))
    sheet = montage(images, columns=2, gap=1)
    assert sheet.shape == (9, 11, 3)
    for image, (top, left) in zip(images, ((0, 0), (0, 6), (5, 0)), strict=True):
        np.testing.assert_array_equal(sheet[top : top + 4, left : left + 5], image[::-1])
    np.testing.assert_array_equal(sheet[5:, 6:], 1)
    np.testing.assert_array_equal(sheet[4], GAP)
    np.testing.assert_array_equal(sheet[:4, 5], GAP)


def test_color_wheel_is_a_disk_white_in_the_middle_and_red_at_the_right():
    wheel = color_wheel(65)
    np.testing.assert_allclose(wheel[32, 32], 1)
    np.testing.assert_allclose(wheel[32, -1], (1, 0, 0, 1), atol=1e-12)
    assert wheel[0, 0, 3] == 0


def test_drawn_pictures_show_the_colors_and_the_energies_whose_mean_is_that_per_spin(random_spins):
    magnet, spins = ChiralMagnet(B=0.3), random_spins(8).numpy()
    left, right = Figure().subplots(1, 2)
    draw_spins(left, spins, magnet, "spins")
    draw_energy_density(right, spins, magnet)
    np.testing.assert_array_equal(left.images[0].get_array(), spin_colors(spins))
    shown = right.images[0].get_array()
    np.testing.assert_allclose(shown.mean(), magnet.energy(spins), rtol=1e-5)
    np.testing.assert_allclose(np.ptp(shown), np.ptp(magnet.energy_density(spins).numpy()), rtol=1e-5)
    assert left.images[0].origin == right.images[0].origin == "lower"


def seen_without(colors):
    """What a reader without the cones for green sees of RGB ``(n, 3)``: Machado et al. (2009), in linear light."""
    linear = np.where(colors > 0.04045, ((colors + 0.055) / 1.055) ** 2.4, colors / 12.92)
    deuteranopia = np.array(
        [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]]
    )
    seen = np.clip(linear @ deuteranopia.T, 0, 1)
    return np.where(seen > 0.0031308, 1.055 * seen ** (1 / 2.4) - 0.055, 12.92 * seen)


def least_difference(spins, palette):
    """Between any two of spins ``(n, components)``, as it is seen without green."""
    colors = seen_without(spin_colors(spins.T[:, :, None], palette)[:, 0])
    apart = np.linalg.norm(colors[:, None] - colors, axis=-1)
    return apart[~np.eye(len(spins), dtype=bool)].min()


def test_directions_in_the_plane_are_told_apart_without_green_in_the_safe_palette_alone():
    angles = np.arange(12) * math.tau / 12
    planar = np.stack((np.cos(angles), np.sin(angles)), 1)
    assert least_difference(planar, "safe") > 0.1 > 2 * least_difference(planar, "wheel")


def test_up_and_down_and_both_ways_along_x_are_told_apart_without_green_in_the_safe_palette():
    axes = np.array([[0, 0, 1], [0, 0, -1], [1, 0, 0], [-1, 0, 0]], float)
    assert least_difference(axes, "safe") > 0.3


@pytest.mark.parametrize("palette", PALETTES)
@pytest.mark.parametrize("components", [1, 2, 3])
def test_every_palette_has_colors_of_spins_and_grey_where_there_is_no_site(palette, components):
    spins = np.random.default_rng(0).normal(size=(components, 4, 4))
    spins /= np.linalg.norm(spins, axis=0)
    spins[:, 1, 2] = 0
    colors = spin_colors(spins, palette)
    assert colors.min() >= 0 and colors.max() <= 1
    np.testing.assert_array_equal(colors[1, 2], ABSENT)


def test_the_environment_chooses_the_palette_and_a_wrong_one_is_refused(random_spins, monkeypatch):
    spins = random_spins(4).numpy()
    monkeypatch.setenv("ORCH_COLORS", "safe")
    np.testing.assert_array_equal(spin_colors(spins), spin_colors(spins, "safe"))
    assert not np.array_equal(spin_colors(spins), spin_colors(spins, "wheel"))
    monkeypatch.setenv("ORCH_COLORS", "rainbow")
    with pytest.raises(ValueError, match="ORCH_COLORS: expected one of wheel, safe, found 'rainbow'"):
        spin_colors(spins)


def test_rings_around_nodal_points_are_seen_on_every_color():
    """White inside and outside of a coloured ring: one of them differs from whatever lies below."""
    spins = np.zeros((3, 8, 8), np.float32)
    spins[2] = 1
    spins[2, 3, 4] = -1
    axes = Figure().subplots()
    circle_defects(axes, spins, ChiralMagnet())
    colors = [line.get_markeredgecolor() for line in axes.lines]
    assert len(colors) >= 2 and len(colors) % 2 == 0
    assert set(colors[::2]) == {"white"} and "white" not in colors[1::2]
    assert axes.lines[0].get_markeredgewidth() > axes.lines[1].get_markeredgewidth() + 1


def test_sites_that_do_not_exist_are_grey_in_the_map_of_energies_and_have_no_value():
    magnet = ChiralMagnet(boundary="open", mask=disk(8))
    spins = magnet.on_sites(torch.ones(3, 8, 8) / math.sqrt(3)).numpy()
    axes = Figure().subplots()
    draw_energy_density(axes, spins, magnet)
    shown = np.ma.filled(axes.images[0].get_array(), np.nan)
    np.testing.assert_array_equal(np.isfinite(shown), magnet.sites(8))
    np.testing.assert_allclose(shown[magnet.sites(8)], 0, atol=1e-6)
    assert axes.get_facecolor() == (ABSENT, ABSENT, ABSENT, 1)
