"""A figure knows where its panels can be cut apart, and what is cut is all of it."""

import io

import numpy as np
import pytest
from matplotlib import pyplot as plt
from PIL import Image

from physics.chiral import ChiralMagnet
from physics.panels import parted, png
from physics.render import figure_of, strips_figure


def pixels(content: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(content)).convert("RGB"))


def coloured(rows: int, columns: int, **options):
    """Panels that are filled with one grey each, with labels and a colour bar."""
    figure, axes = figure_of(rows, columns, (3 * columns, 2.5 * rows), squeeze=False, **options)
    for number, axis in enumerate(axes.flat):
        image = axis.imshow(np.full((2, 2), number), vmin=-1, vmax=rows * columns, cmap="gray")
        axis.set(xlabel="a label", ylabel="another", title="a title")
        figure.colorbar(image, ax=axis, label="values")
    return figure


SHAPES = [((1, 1), (2, 3)), ((2, 1), (1, 3)), ((1, 3), (2, 1)), ((2, 3), (1, 1))]


@pytest.mark.parametrize(("together", "shape"), SHAPES)
def test_panels_put_together_are_the_picture(together, shape):
    content = png(coloured(2, 3, together=together))
    plt.close("all")
    rows = parted(content)
    assert (len(rows), *{len(row) for row in rows}) == shape
    assert all(width == pixels(panel).shape[1] for row in rows for width, panel in row)
    joined = np.concatenate([np.concatenate([pixels(panel) for _, panel in row], 1) for row in rows])
    np.testing.assert_array_equal(joined, pixels(content))


def test_no_cut_goes_through_what_is_drawn():
    content = png(coloured(2, 3))
    plt.close("all")
    for row in parted(content):
        for _, panel in row:
            shown = pixels(panel)
            edges = np.concatenate((shown[0], shown[-1], shown[:, 0], shown[:, -1]))
            np.testing.assert_array_equal(edges, 255)


def test_a_picture_that_says_nothing_is_one_panel():
    buffer = io.BytesIO()
    Image.new("RGB", (30, 20)).save(buffer, "PNG")
    assert parted(buffer.getvalue()) == [[(30, buffer.getvalue())]]


def test_strips_of_states_are_cut_into_halves_under_their_label():
    spins = np.zeros((16, 3, 8, 8), np.float32)
    content = png(strips_figure([("first", spins[:8]), ("a heading", None), ("second", spins[8:])], ChiralMagnet()))
    plt.close("all")
    assert [len(row) for row in parted(content)] == [2, 2, 2]
