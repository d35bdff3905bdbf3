"""Which sites of a lattice exist: masks by name, and what a person is told of one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np


def disk(L: int) -> np.ndarray:
    """The sites within L/2 of the middle, bool ``(L, L)``."""
    import numpy as np  # which lists of a store do without

    y, x = np.mgrid[:L, :L] - (L - 1) / 2
    return np.hypot(x, y) <= L / 2


def is_mask(value: Any) -> bool:
    """Whether a setting is a mask as requests and cards have it: L rows of L characters, 0 or 1."""
    return (
        isinstance(value, list | tuple)
        and len(value) > 0
        and all(isinstance(row, str) and len(row) == len(value) and not set(row) - {"0", "1"} for row in value)
    )


def sites_text(mask: np.ndarray | Sequence[str]) -> str:
    """How many sites exist, and the name of their shape if it has one: "disk, 812 sites", "500 of 1,024 sites".

    Args:
        mask: bool ``(L, L)``, or rows of "0" and "1".
    """
    import numpy as np

    sites = mask if isinstance(mask, np.ndarray) else np.array([[letter == "1" for letter in row] for row in mask])
    if (sites == disk(len(sites))).all():
        return f"disk, {sites.sum():,} sites"
    return f"{sites.sum():,} of {sites.size:,} sites"
