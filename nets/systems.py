"""Every generative system that can be trained: its configuration and how it is built, one line each."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, get_args

import torch
from pydantic import Field

from nets import vae, vaegan
from nets.training import System
from physics.hamiltonian import Hamiltonian

SystemConfig = Annotated[vae.VAEConfig | vaegan.VAEGANConfig, Field(discriminator="name")]
"""Told apart by ``name``."""

BUILDERS: dict[type[vae.VAEConfig | vaegan.VAEGANConfig], Callable[..., System]] = {
    vae.VAEConfig: vae.build,
    vaegan.VAEGANConfig: vaegan.build,
}
SYSTEMS = {name: kind for kind in BUILDERS for name in get_args(kind.model_fields["name"].annotation)}


def build(config: SystemConfig, hamiltonian: Hamiltonian, device: torch.device | str = "cpu") -> System:
    """A system with weights drawn from torch's global generator; the Hamiltonian is its data's."""
    return BUILDERS[type(config)](config, hamiltonian, device)
