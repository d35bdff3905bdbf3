"""What figures are called for a reader: words or a symbol with a unit, by the names that cards and tables have."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from physics.model import SpinModel


class Word(NamedTuple):
    """What a figure is called, and the unit of its values, "" for a pure number."""

    text: str
    unit: str = ""


ENERGY = "J per spin"
WORDS = {
    # observables and responses of the spin models, which tables without a model may have
    "energy": Word("ε", ENERGY),
    "mz": Word("M_z"),
    "topological_charge": Word("W"),
    "magnetization": Word("|M|"),
    "current_squared": Word("N⟨j²⟩", "J²"),
    "heat_capacity": Word("C_v"),
    "susceptibility": Word("χ"),
    "helicity_modulus": Word("Υ", "J"),
    "temperature": Word("temperature", "J"),
    "distance": Word("distance", "sites"),
    "wasserstein_distance": Word("Wasserstein distance"),
    "charge": Word("W"),
    "energy_exact": Word("ε, exact lowest", ENERGY),
    "ground_state_energy": Word("ε of the ground state, exact", ENERGY),
    "kspace_mse": Word("k-space MSE"),
    "diversity": Word("diversity (data: 1)"),
    # losses and what a network has learnt
    "beta": Word("β"),
    "gamma": Word("γ"),
    "rate": Word("learning rate"),
    "reconstruction": Word("L_RC"),
    "kl": Word("L_KL"),
    "validation_energy": Word("L_H, held out", ENERGY),
    "train_energy": Word("L_H, training", ENERGY),
    "validation_loss": Word("L_RC + β L_KL, held out"),
    "linear_vae_loss": Word("least loss of a linear VAE"),
    "prior_reconstruction": Word("L_RC of a decoder without a code"),
    "active_units": Word("active units of the code"),
    "logit": Word("logit of the discriminator"),
    "beta_c": Word("β_c"),
    "gamma_crossing": Word("γ_×"),
    "gamma_up": Word("γ_up"),
    "gamma_down": Word("γ_down"),
    "gamma_cold": Word("γ_cold"),
    "gamma_ground": Word("γ_ground"),
    "mse_fall_in_a_decade": Word("fall of the k-space MSE in a decade of γ"),
    "collapsed_energy": Word("ε of the collapsed state", ENERGY),
    "angle": Word("angle", "degrees"),
    "angle_modulo": Word("angle modulo", "degrees"),
    "gap": Word("gap", "%"),
    # of samples beside data
    "adagan_coverage": Word("coverage (AdaGAN)"),
    "coverage": Word("coverage (k nearest)"),
    "r_squared": Word("R²"),
    "largest_difference_in_errors": Word("largest difference", "standard errors"),
    "median_angle": Word("median angle", "degrees"),
    "angle_95": Word("angle that 95 % are below", "degrees"),
    "charges_kept": Word("share with the charges asked"),
    "code_length": Word("|z|/√d"),
    "barrier": Word("barrier", ENERGY),
    "barrier_height": Word("height of the barrier", ENERGY),
    "width": Word("width of the peak", "steps"),
    "steepest_over_median_slope": Word("steepest slope over the median slope"),
    # of an optimum
    "code_norm": Word("|z|/√d"),
    "site_energy_max": Word("highest energy of a site", "J"),
    "nearest_data": Word("distance from the nearest of the data"),
    "rested_torque": Word("largest torque, at rest", "J"),
    "moved": Word("distance from the state at rest"),
    "uniform": Word("length of the mean spin"),
    "training_compared": Word("training configurations it is compared with"),
    "states_within": Word("states that keep the limits"),
    "within": Word("keeps the limits"),
    "share": Word("relative cost"),
    "seconds": Word("time", "s"),
    "cpu_seconds": Word("CPU time", "s"),
    "gpu_seconds": Word("GPU time", "s"),
}
PREFIXES = {
    "validation_": "held out",
    "training_": "of the training data",
    "train_": "training",
    "data_": "of the data",
    "rested_": "at rest",
    "target_": "of the given state",
}
SUFFIXES = {
    "_mean": "mean",
    "_std": "standard deviation",
    "_min": "least",
    "_max": "largest",
    "_error": "standard error",
    "_low": "95 % from",
    "_high": "95 % to",
    "_lower": "from",
    "_upper": "to",
    "_before": "before",
    "_after": "after",
    "_at_rest": "at rest",
}
SETTINGS = ("beta", "gamma", "rate", "temperature")  # which a person gives, however small they are


def is_setting(name: str) -> bool:
    """Whether a column has what a person gave, by a dotted key or by one of :data:`SETTINGS`, or a critical value."""
    return "." in name or name.partition("_")[0] in SETTINGS


def words(name: str, model: SpinModel | None = None) -> str:
    """What a figure is called: its word, where or how it was measured, its unit, as in "ε, mean (J per spin)".

    A dotted key is called by its last part.  A name that is not known is said with blanks.

    Args:
        model: whose observables and responses have labels of their own.

    >>> words("energy_std"), words("rested_mz"), words("system.learning_rate")
    ('ε, standard deviation (J per spin)', 'M_z, at rest', 'learning rate')
    """
    known = dict(WORDS)
    if model is not None:
        known |= {key: Word(found.label, found.unit) for key, found in model.observables.items()}
        known |= {key: Word(found.label, found.unit) for key, found in model.responses.items()}
    head, blank, rest = name.partition(" ")  # of a figure that is of one model of several, which stands behind it
    if not re.match("[a-z]", head) or (blank and not re.fullmatch(r"\w+_\w+", head)):
        return name  # a symbol, or words
    of = re.sub(r"[a-z_]+(?= )", lambda key: known[key[0]].text if key[0] in known else key[0], rest.strip("()"))
    base, said = head if head in known else head.rpartition(".")[2], [of] if blank else []
    while base not in known:
        line = re.fullmatch(r"(.+)_(\d+)", base)
        if line:
            base, said = line[1], [f"line {line[2]}", *said]
            continue
        for mark, text in (PREFIXES | SUFFIXES).items():
            rest = base.removesuffix(mark) if mark in SUFFIXES else base.removeprefix(mark)
            if rest and rest != base:
                base, said = rest, [text, *said] if mark in SUFFIXES else [*said, text]
                break
        else:
            break
    word = known.get(base) or Word(base.replace("_", " "))
    text = ", ".join([word.text, *said])
    return f"{text} ({word.unit})" if word.unit else text
