"""The linear VAE beside a trained one: the least loss of linear networks on the same data, at the same beta."""

from __future__ import annotations

import math
from collections.abc import Mapping

from nets.linear_vae import linear_vae
from orchestrator.data import spectrum
from orchestrator.store import Store
from orchestrator.training.request import TrainConfig
from physics.symmetry import is_uniform

REFERENCE = (
    "L_RC + β L_KL on data that were not trained on, and the least that a VAE of linear networks can have on these "
    "data at this β. A VAE that was trained long enough lies below it, unless other terms of its loss hold it up."
)


def above_linear(figures: Mapping[str, float]) -> list[str]:
    """A sentence if the held-out loss is above that of the best linear VAE."""
    loss, least = (figures.get(name, math.nan) for name in ("validation_loss", "linear_vae_loss"))
    if not loss > least:
        return []
    return [
        f"Its held-out loss of {loss:.4g} is above the {least:.4g} that linear networks can have at this β: more "
        "steps, a larger network, or another learning rate may help, unless other terms of its loss hold it up."
    ]


def reference(config: TrainConfig, validation: Mapping[str, float], store: Store) -> dict[str, float]:
    """The figures :func:`reference_figures` of a training.

    Args:
        validation: means of the held-out losses by name.
    """
    beta = config.system.kl_weight
    if beta is None:
        return {}
    figures = {"validation_loss": validation["reconstruction"] + beta * validation["kl"]}
    known = spectrum.read(config.dataset, store)
    if known is not None:
        figures["linear_vae_loss"] = linear_vae(known, beta, config.system.latent).loss
    return figures


def reference_figures(config: TrainConfig) -> list[str]:
    """Names of the figures of :func:`reference`: none of a system that is no VAE, the first where sites differ."""
    if config.system.kl_weight is None:
        return []
    known = is_uniform(config.dataset.hamiltonian, config.dataset.L)
    return ["validation_loss", *(["linear_vae_loss"] if known else [])]
