import numpy as np
import pytest

from physics.sampler import SAMPLERS

L = 16


def same(a, b):
    return np.array_equal(a.spins, b.spins) and all(np.array_equal(a.labels[key], b.labels[key]) for key in a.labels)


def row(samples, i):
    return type(samples)(samples.spins[i : i + 1], {name: values[i : i + 1] for name, values in samples.labels.items()})


def test_its_settings_survive_every_way_of_writing_them(sampler, check_settings):
    check_settings(SAMPLERS, sampler)


def test_a_configuration_depends_on_seed_and_index_alone(sampler, sampled_model):
    together = sampler.sample(sampled_model, L, 1, [5, 2])
    for i, index in enumerate((5, 2)):
        alone = sampler.sample(sampled_model, L, 1, [index])
        assert alone.labels.keys() == together.labels.keys()
        assert same(alone, row(together, i))
    other = sampler.sample(sampled_model, L, 2, [5]).spins
    assert not np.array_equal(together.spins[0], together.spins[1])
    assert not np.array_equal(together.spins[0], other[0])


def test_spins_are_of_unit_length_and_labels_one_a_configuration(sampler, sampled_model):
    spins, labels = sampler.sample(sampled_model, L, 1, range(3))
    assert spins.dtype == np.float32 and spins.shape == (3, sampled_model.components, L, L)
    np.testing.assert_allclose(
        np.linalg.norm(spins, axis=1), np.broadcast_to(sampled_model.sites(L), (3, L, L)), atol=1e-5
    )
    for name, values in labels.items():
        assert len(values) == 3 and np.isfinite(values).all(), name


def test_work_and_batches_are_counted(sampler):
    assert sampler.spin_updates(2 * L) > sampler.spin_updates(L) > 0
    assert sampler.batch(L) >= 1
    assert "cpu" in sampler.devices


def test_lattices_that_do_not_fit_are_refused(sampler, sampled_model):
    sampler.check(sampled_model, L)
    with pytest.raises(ValueError, match="3"):
        sampler.check(sampled_model, 3)


def test_the_labels_of_samples_are_those_that_are_declared(sampler, sampled_model):
    labels = sampler.sample(sampled_model, L, 1, range(3)).labels
    assert tuple(labels) == sampler.labels
    assert not set(labels) & set(sampled_model.observables)
