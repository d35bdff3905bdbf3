"""What trains a VAE at laptop scale: held-out loss against CPU seconds, one setting changed at a time.

    python benchmarks/trained.py [--seeds 3] [VARIANT ...]

The data are those of evae.yaml, and the loss is reconstruction + beta KL at beta = 1e-3 on a tenth that is not trained
on.  The least loss of a linear VAE on the same data, in closed form, is printed above the table.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable

import torch
from torch.optim.swa_utils import AveragedModel

from nets.linear_vae import covariance_spectrum, linear_vae
from nets.system import SYSTEMS, System, build
from nets.training import Data, fit, validate
from physics.annealing import Annealing
from physics.chiral import ChiralMagnet

MODEL = ChiralMagnet(D=0.6, B=0.2)
SAMPLER = Annealing(kind="linear", T_start=1.5, T_end=0.001, sweeps=1500, overrelaxation=0, finish=20)
SYSTEM = {"name": "evae-2021", "L": 32, "widths": [6, 12, 24], "beta": 1e-3, "learning_rate": 2e-3}
TRAINING = {"batch": 50, "steps": 1000, "augment": True, "schedule": "settled"}
AVERAGED = 0.7  # share of the training after which weights are averaged
VARIANTS: dict[str, dict] = {
    "as shipped": {},
    "poolings of the paper": {"widths": []},
    "two poolings": {"widths": [6, 12]},
    "twice the widths": {"widths": [12, 24, 48]},
    "kernel 3": {"kernel": 3, "widths": [8, 16, 32]},
    "no symmetries": {"augment": False},
    "cosine": {"schedule": "cosine"},
    "constant rate": {"schedule": "constant"},
    "constant, weights averaged": {"schedule": "constant", "averaged": True},
    "beta ramped": {"beta_ramp": 0.2},
    "rate 1e-3": {"learning_rate": 1e-3},
    "rate 4e-3": {"learning_rate": 4e-3},
    "batch 100": {"batch": 100},
    "weights of He": {"he": True},
    "paper, 2,000 steps": {
        "widths": [],
        "learning_rate": 1e-3,
        "augment": False,
        "schedule": "constant",
        "steps": 2000,
    },
}


def he(system: System) -> None:
    """Weights of variance 2 / fan-in (He et al., 2015), for the leaky ReLU."""
    for network in system.networks.values():
        for layer in network.modules():
            if isinstance(layer, torch.nn.Linear | torch.nn.Conv2d):
                torch.nn.init.kaiming_normal_(layer.weight, 0.01)


def averaging(system: System, steps: int) -> tuple[AveragedModel, Callable[[int, dict], None]]:
    """An average of weights and moments, and what adds to it as training goes."""
    network = system.networks["vae"]
    average = AveragedModel(network, use_buffers=True)
    return average, lambda done, losses: average.update_parameters(network) if done > AVERAGED * steps else None


def trained(variant: dict, seed: int, spins: torch.Tensor) -> tuple[float, float, int]:
    """Held-out loss, CPU seconds and steps of one training."""
    given = dict(variant)
    averaged, he_weights = given.pop("averaged", False), given.pop("he", False)
    training = {key: given.pop(key, default) for key, default in TRAINING.items()}
    batch, steps = training.pop("batch"), training.pop("steps")
    torch.manual_seed(seed)
    system = build(SYSTEMS.parse({**SYSTEM, **given}), MODEL)
    if he_weights:
        he(system)
    data, kept, reached = Data(spins), 9 * len(spins) // 10, [0]
    average, add = averaging(system, steps) if averaged else (None, lambda done, losses: None)

    def progress(done: int, losses: dict[str, float]) -> None:
        reached.append(done)
        add(done, losses)

    started = time.process_time()
    fit(system, data.part(slice(kept)), batch, range(steps), seed, progress, 10 if averaged else 50, **training)
    seconds = time.process_time() - started
    if average is not None:
        system.networks["vae"].load_state_dict(average.module.state_dict())
    losses = validate(system, data.part(slice(kept, None)), batch, seed)
    return losses["reconstruction"] + system.settings.kl_weight * losses["kl"], seconds, reached[-1]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("variants", nargs="*", metavar="VARIANT", help=", ".join(VARIANTS))
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--configurations", type=int, default=4000)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    spins = torch.from_numpy(SAMPLER.sample(MODEL, SYSTEM["L"], 0, range(arguments.configurations)).spins)
    spectrum = covariance_spectrum(spins)
    print(f"linear VAE: {linear_vae(spectrum, SYSTEM['beta'], 100).loss:.4f}\n")
    print("| | held-out loss of each seed | CPU s | steps |\n| --- | --- | --- | --- |")
    for name in arguments.variants or VARIANTS:
        found = [trained(VARIANTS[name], seed, spins) for seed in range(arguments.seeds)]
        losses, seconds, steps = zip(*found, strict=True)
        print(
            f"| {name} | {', '.join(f'{loss:.4f}' for loss in losses)} | {statistics.mean(seconds):.0f} "
            f"| {', '.join(map(str, steps))} |",
            flush=True,
        )


if __name__ == "__main__":
    main()
