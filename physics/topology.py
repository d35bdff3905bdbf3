"""Topology of XY fields against a filtration: what is joined by neighbours whose angles differ by at most Theta.

A field gives a complex for each Theta: all of its sites, the bonds with a turn of at most Theta, and the plaquettes all
of whose bonds are in.

Source: XY reconstruction (2024), "Results" and figure 4c.
"""

from __future__ import annotations

import numpy as np
import torch
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from torch import Tensor

from physics.model import X, Y
from physics.vortices import turns

FILTRATION = np.linspace(0, np.pi, 25)  # values of Theta


def filtration(spins: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Theta at which each bond to the right, each bond up, and each plaquette comes in, ``(..., L, L)`` each."""
    right, up = turns(spins, X).abs(), turns(spins, Y).abs()
    bonds = (right, torch.roll(right, -1, Y), up, torch.roll(up, -1, X))
    return right, up, torch.stack(bonds).amax(0)


def minkowski(spins: Tensor) -> dict[str, Tensor]:
    """Area, perimeter and Euler characteristic of each configuration against Theta, ``(n, points)`` each.

    With V sites, E bonds and P plaquettes: P, the 2E - 4P sides of bonds that no plaquette covers, and V - E + P.

    Source: Michielsen and De Raedt (2001).
    """
    right, up, plaquettes = (part.flatten(1) for part in filtration(spins))
    theta = torch.as_tensor(FILTRATION, dtype=right.dtype)[:, None, None]
    E = ((right <= theta).sum(-1) + (up <= theta).sum(-1)).T.double()
    P = (plaquettes <= theta).sum(-1).T.double()
    return {"area": P, "perimeter": 2 * E - 4 * P, "euler_characteristic": right.shape[1] - E + P}


def _indices(L: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Numbers of the sites, of their neighbours to the right, and of those above, each ``(L * L,)``."""
    site = np.arange(L * L).reshape(L, L)
    return site.ravel(), np.roll(site, -1, X).ravel(), np.roll(site, -1, Y).ravel()


def graph_reach(spins: Tensor) -> dict[str, Tensor]:
    """Radius and diameter, in bonds, of the largest cluster of the graph of bonds, ``(n, points)`` each.

    They are the least and the greatest, over its sites, of the distance to the farthest other.
    """
    found = np.zeros((2, len(spins), len(FILTRATION)))
    for i, state in enumerate(spins):
        right, up = (part.numpy() for part in filtration(state)[:2])
        before = -1
        for j, theta in enumerate(FILTRATION):
            bonds = (right <= theta).sum() + (up <= theta).sum()
            found[:, i, j] = found[:, i, j - 1] if bonds == before else _reach(right <= theta, up <= theta)
            before = bonds
    return dict(zip(("radius", "diameter"), torch.from_numpy(found), strict=True))


def _reach(right: np.ndarray, up: np.ndarray) -> tuple[int, int]:
    """Radius and diameter of the largest cluster of the bonds that are there, bool ``(L, L)`` each.

    From all of its sites at once, sites that are reached spread by a bond at a time until nothing is new; a site has a
    bit for each of those that reached it.
    """
    L = len(right)
    site, beside, above = _indices(L)
    begin = np.concatenate((site[right.ravel()], site[up.ravel()]))
    end = np.concatenate((beside[right.ravel()], above[up.ravel()]))
    graph = coo_array((np.ones(len(begin)), (begin, end)), shape=(L * L, L * L))
    cluster = connected_components(graph, directed=False)[1]
    start = np.flatnonzero(cluster == np.bincount(cluster).argmax())
    reached = np.packbits(site[:, None] == start, axis=1).reshape(L, L, -1)
    along, upward = (np.where(inside, 255, 0).astype(np.uint8)[..., None] for inside in (right, up))
    farthest = np.zeros(len(start), int)
    while True:
        spread = reached | np.roll(reached & along, 1, 1) | np.roll(reached & upward, 1, 0)
        spread |= (np.roll(reached, -1, 1) & along) | (np.roll(reached, -1, 0) & upward)
        new = np.bitwise_or.reduce(spread ^ reached, (0, 1))
        if not new.any():
            return int(farthest.min()), int(farthest.max())
        farthest += np.unpackbits(new)[: len(start)]
        reached = spread


def betti_numbers(spins: Tensor) -> dict[str, Tensor]:
    """Components and loops of the complex of each configuration against Theta, ``(n, points)`` each, by persistence.

    A plaquette is two triangles, whose diagonal comes in with it.
    """
    import gudhi

    L = spins.shape[-1]
    site, right, up = _indices(L)
    across = up[right]
    found = np.zeros((2, len(spins), len(FILTRATION)))
    for i, state in enumerate(spins):
        along, upward, plaquette = (part.flatten().double().numpy() for part in filtration(state))
        tree = gudhi.SimplexTree()
        tree.insert_batch(site[None], np.zeros(L * L))
        for corners, come in (
            ((site, right), along),
            ((site, up), upward),
            ((site, across), plaquette),
            ((site, right, across), plaquette),
            ((site, up, across), plaquette),
        ):
            tree.insert_batch(np.stack(corners), come)
        tree.compute_persistence(homology_coeff_field=2, persistence_dim_max=False)
        for dimension in (0, 1):
            life = tree.persistence_intervals_in_dimension(dimension).reshape(-1, 2)
            alive = (life[:, :1] <= FILTRATION) & (life[:, 1:] > FILTRATION)
            found[dimension, i] = alive.sum(0)
    return dict(zip(("components", "loops"), torch.from_numpy(found), strict=True))
