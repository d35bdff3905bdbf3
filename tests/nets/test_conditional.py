import numpy as np
import pandas as pd
import pytest
import torch

from nets.conditional import (
    CURVED,
    accuracies,
    among,
    averages,
    curve_accuracies,
    grouped,
    mean_curves,
    r_squared,
    within,
)
from nets.metrics import Measured
from physics.xy import XY

T, D = np.repeat([0.1, 0.2], 60), np.tile([0.0, 1.0, 2.0], 40)
LABELS = {"temperature": torch.tensor(T), "distance": torch.tensor(D), "charges": torch.zeros(120, 4, 4)}


def columns(shift=0.0, seed=0):
    rng = np.random.default_rng(seed)
    names = ("energy", "magnetization", "current_squared")
    return pd.DataFrame({name: D + 10 * T + shift + 0.01 * rng.standard_normal(120) for name in names})


def test_equations_4_and_5():
    real = np.array([1.0, 2.0, 4.0])
    assert r_squared(real, real) == 1
    assert r_squared(real, np.full(3, real.mean())) == pytest.approx(0)
    assert r_squared(real, np.array([1.0, 2.0, 3.0])) == pytest.approx(1 - 1 / real.var() / 3)
    assert np.isnan(r_squared(np.ones(3), real))
    assert within(real, np.array([1.1, 2.19, 4.25]), 0.05) == pytest.approx(2 / 3)


def test_groups_are_of_equal_labels_and_averages_of_their_members():
    groups = grouped(LABELS)
    assert len(groups.labels) == 6 and set(groups.labels) == {"temperature", "distance"}
    table = averages(columns(), groups, XY(), 16)
    for number, label in groups.labels.iterrows():
        here = (table["temperature"] == label["temperature"]) & (table["distance"] == label["distance"])
        assert table[here & (table["figure"] == "energy")]["value"].item() == pytest.approx(
            columns()["energy"][groups.member == number].mean()
        )
    assert set(table["figure"]) >= {"energy", "heat_capacity", "helicity_modulus"}


def test_a_heat_capacity_is_taken_at_the_temperature_of_its_group():
    table = averages(columns(), grouped(LABELS), XY(), 16)
    capacity = table[table["figure"] == "heat_capacity"]
    for _, row in capacity.iterrows():
        member = (row["temperature"] == T) & (row["distance"] == D)
        variance = columns()["energy"][member].var(ddof=1)
        assert row["value"] == pytest.approx(16 * variance / row["temperature"] ** 2, rel=0.1)


def test_accuracy_is_one_for_the_data_and_falls_for_what_is_off():
    groups = grouped(LABELS)
    data, near, far = (averages(columns(shift, 1), groups, XY(), 16) for shift in (0.0, 0.05, 2.0))
    score = {name: accuracies(data, table).set_index("figure") for name, table in (("near", near), ("far", far))}
    assert accuracies(data, data)["r_squared"].min() == 1
    assert score["near"]["r_squared"]["energy"] > 0.98 > 0 > score["far"]["r_squared"]["energy"]
    assert score["far"]["largest_difference_in_errors"]["energy"] > 100


def test_curves_are_held_against_each_other_group_by_group():
    model, groups = XY(), grouped(LABELS)
    found = {name: torch.rand(120, len(curve.at)) for name, curve in model.curves(4).items()}
    means = mean_curves(found, groups)
    torch.testing.assert_close(means["area"][2], found["area"][torch.from_numpy(groups.member == 2)].mean(0))
    assert set(curve_accuracies(means, means, model, 4).values()) == {1.0}
    off = {name: values + 1 for name, values in means.items()}
    assert max(curve_accuracies(means, off, model, 4).values()) <= 0


def test_parts_of_the_configurations_are_in_the_same_groups():
    """The last 60 have the higher temperature alone, so half of the groups have no curve, and count for nothing."""
    model, groups = XY(), grouped(LABELS)
    part = among(groups, slice(60, None))
    assert part.labels is groups.labels and set(part.member) == {3, 4, 5}
    found = {name: torch.rand(120, len(curve.at)) for name, curve in model.curves(4).items()}
    whole = mean_curves(found, groups)
    later = mean_curves({name: values[60:] for name, values in found.items()}, part)
    assert later["area"][:3].isnan().all()
    torch.testing.assert_close(later["area"][3:], whole["area"][3:])
    assert set(curve_accuracies(whole, later, model, 4).values()) == {1.0}
    many = among(grouped({"temperature": torch.zeros(300)}), slice(150, None))
    assert many.curved.sum() == CURVED and many.curved[:CURVED].all()


def test_blocks_without_configurations_whose_curves_are_taken_are_joined():
    spins = torch.nn.functional.normalize(torch.randn(12, 2, 8, 8, generator=torch.Generator().manual_seed(0)), dim=1)
    curved = np.arange(12) < 5
    whole = Measured.of(spins, XY(), curved=curved)
    parts = [Measured.of(spins[i : i + 6], XY(), curved=curved[i : i + 6]) for i in (0, 6)]
    joined = Measured.joined(parts)
    assert parts[1].curves == {} and len(joined.columns) == 12
    assert all(torch.equal(joined.curves[name], values) for name, values in whole.curves.items())
    assert whole.curves["area"].shape[0] == 5
