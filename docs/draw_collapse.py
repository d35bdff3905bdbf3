"""Draws the collapse of an E-VAE from a store: generated states along gamma, and energy and diversity on both ways.

python docs/draw_collapse.py STORE SWEEP FOLDER   # leaves data.png, collapse.png and loop.png in the folder
"""

from __future__ import annotations

import io
import sys
from pathlib import Path

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

from orchestrator.data import shards
from orchestrator.store import Store
from orchestrator.training.trained import TrainedModel, generated
from physics.model import SpinModel
from physics.render import montage

GAMMAS = (0, 100, 400, 1600, 3200, 6400)
CODES = 4


def read_chain(store: Store, sweep: str) -> pd.DataFrame:
    """The stages of the first trial at the last of its beta, in their order."""
    table = pd.read_parquet(io.BytesIO(store.read("sweeps", sweep, "stages.parquet")))
    first = table[table["trial"] == 0]
    return first[first["beta"] == first["system.beta"]].sort_values("order")


def states_figure(store: Store, chain: pd.DataFrame, model: SpinModel) -> plt.Figure:
    """States of the same codes, one below the other, at each gamma on the way up."""
    stages = chain.drop_duplicates("gamma").set_index("gamma")
    figure, axes = plt.subplots(1, len(GAMMAS), figsize=(9.6, 6.75), layout="constrained")
    for axis, gamma in zip(axes, GAMMAS, strict=True):
        states = generated(stages.loc[gamma, "model"], store)[:CODES]
        axis.imshow(montage(model.colors(states), 1, gap=3), interpolation="nearest")
        axis.set(xticks=[], yticks=[])
        axis.set_title(f"γ = {gamma:,}", fontsize=13)
        axis.set_xlabel(f"ε = {stages.loc[gamma, 'energy_mean']:.4f}", fontsize=11)
        axis.spines[:].set_visible(False)
    axes[0].set_ylabel(f"decoded from {CODES} latent codes", fontsize=13)
    return figure


def loop_figure(chain: pd.DataFrame) -> plt.Figure:
    """Energy of generated states, and the k-space MSE among them, against gamma on its way up and down."""
    chain = chain[chain["gamma"] > 0]
    top = int(np.argmax(chain["gamma"]))
    figure, axes = plt.subplots(1, 2, figsize=(9, 3.2), layout="constrained")
    for axis, column, label in zip(
        axes, ("energy_mean", "kspace_mse"), ("ε of generated states", "k-space MSE among them"), strict=True
    ):
        axis.plot(chain["gamma"][: top + 1], chain[column][: top + 1], "o-", label="γ rises")
        axis.plot(chain["gamma"][top:], chain[column][top:], "s--", label="γ falls")
        axis.set(xscale="log", xlabel="γ", ylabel=label)
        axis.grid(alpha=0.3)
    axes[0].axhline(chain["data_energy_mean"].iloc[0], color="black", ls=":", label="data")
    axes[1].axhline(chain["data_kspace_mse"].iloc[0], color="black", ls=":", label="data")
    axes[1].set_yscale("log")
    axes[0].legend()
    return figure


if __name__ == "__main__":
    store, folder = Store(sys.argv[1]), Path(sys.argv[3])
    chain = read_chain(store, sys.argv[2])
    trained = TrainedModel(chain["model"].iloc[0], store)
    data = np.asarray(shards.read(trained.dataset.name, store)[:16])
    plt.imsave(folder / "data.png", montage(trained.model.colors(data), 8).repeat(4, 0).repeat(4, 1))
    states_figure(store, chain, trained.model).savefig(folder / "collapse.png", dpi=110)
    loop_figure(chain).savefig(folder / "loop.png", dpi=110)
