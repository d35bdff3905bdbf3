import colorsys
import math

import numpy as np
import pytest
from matplotlib.figure import Figure

from physics.chiral import ChiralMagnet
from physics.render import color_wheel, draw_energy_density, draw_spins, montage, spin_colors


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
    np.testing.assert_array_equal(sheet[4], 1)


def test_color_wheel_is_a_disk_white_in_the_middle_and_red_at_the_right():
    wheel = color_wheel(65)
    np.testing.assert_allclose(wheel[32, 32], 1)
    np.testing.assert_allclose(wheel[32, -1], (1, 0, 0, 1), atol=1e-12)
    assert wheel[0, 0, 3] == 0


def test_drawn_pictures_show_the_colors_and_the_energies(random_spins):
    magnet, spins = ChiralMagnet(B=0.3), random_spins(8).numpy()
    left, right = Figure().subplots(1, 2)
    draw_spins(left, spins, magnet, "spins")
    draw_energy_density(right, spins, magnet)
    np.testing.assert_array_equal(left.images[0].get_array(), spin_colors(spins))
    np.testing.assert_array_equal(right.images[0].get_array(), magnet.energy_density(spins).numpy())
    assert left.images[0].origin == right.images[0].origin == "lower"
