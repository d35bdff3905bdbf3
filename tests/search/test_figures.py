"""What is drawn of states that a search found."""

import matplotlib.pyplot as plt
import pandas as pd
import pytest
from matplotlib.patches import Polygon

from nets.words import words
from physics.chiral import ChiralMagnet
from physics.xy import XY
from search.figures import ensembles_figure


@pytest.mark.parametrize("model", [ChiralMagnet(D=0.6), XY()])
def test_every_observable_has_its_distributions_and_the_winner_is_a_star_among_the_data(model):
    names = list(model.observables)
    data, found = (
        pd.DataFrame({name: [start + place, start + 2.0 * place + 1] for place, name in enumerate(names)})
        for start in (0.0, 0.3)
    )
    figure = ensembles_figure({"training": data, "generated": data, "found": found}, model)
    *panels, plane = figure.axes
    assert [axis.get_xlabel() for axis in panels] == [words(name, model) for name in names]
    assert all(len([part for part in axis.patches if isinstance(part, Polygon)]) == 3 for axis in panels)
    assert [axis.lines[0].get_xdata()[0] for axis in panels] == found.iloc[0].tolist()
    shown, star = (line.get_xydata().tolist() for line in plane.lines)
    assert shown == data[names[-2:]].to_numpy().tolist() and star == [found[names[-2:]].iloc[0].tolist()]
    assert plane.get_xlabel() == words(names[-2], model)
    plt.close(figure)
