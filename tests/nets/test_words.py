"""What figures are called for a reader."""

import pytest

from nets.words import is_setting, words
from physics.chiral import ChiralMagnet
from physics.model import Observable
from physics.xy import XY


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("energy", "ε (J per spin)"),
        ("energy_std", "ε, standard deviation (J per spin)"),
        ("rested_mz", "M_z, at rest"),
        ("data_energy_mean", "ε, mean, of the data (J per spin)"),
        ("validation_reconstruction", "L_RC, held out"),
        ("validation_energy", "L_H, held out (J per spin)"),
        ("charge_at_rest", "W, at rest"),
        ("gamma_up_lower", "γ_up, from"),
        ("system.learning_rate", "learning rate"),
        ("system.beta", "β"),
        ("nodal_points", "nodal points"),
        ("barrier_2", "barrier, line 2 (J per spin)"),
        ("barrier_1 (hybrid-b0.001)", "barrier, line 1, hybrid-b0.001 (J per spin)"),
        ("barrier_1 (gamma 100, seed 0)", "barrier, line 1, γ 100, seed 0 (J per spin)"),
        ("within 1e-4 of the lowest", "within 1e-4 of the lowest"),
        ("M_z, largest", "M_z, largest"),
        ("L_RC first", "L_RC first"),
    ],
)
def test_names_are_said_in_words_with_units(name, said):
    assert words(name) == said


@pytest.mark.parametrize("model", [ChiralMagnet(), XY()])
def test_observables_and_responses_are_called_as_their_model_says_and_have_words_without_it(model):
    for name, known in {**model.observables, **model.responses}.items():
        assert words(name, model) == (f"{known.label} ({known.unit})" if known.unit else known.label)
    for name, known in model.observables.items():
        assert known.words and words(name) == words(name, model)


def test_what_is_not_known_is_said_with_blanks_and_a_model_of_ones_own_names_its_own():
    class Own(ChiralMagnet):
        @property
        def observables(self):
            return {**super().observables, "bond_order": Observable(self.energy, "Ψ", "rad")}

    assert words("bond_order") == "bond order"
    assert words("bond_order_mean", Own()) == "Ψ, mean (rad)"


def test_what_a_person_gave_is_told_from_what_was_measured():
    assert all(map(is_setting, ("system.latent", "beta", "gamma_up", "rate")))
    assert not any(map(is_setting, ("energy", "topological_charge", "validation_kl")))
