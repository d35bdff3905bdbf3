"""States from files and by name: OVF and NumPy in, unit spins out; masks of the sites that exist."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from physics import ovf

OVF = (".ovf", ".omf", ".ohf")


def read_states(path: Path) -> np.ndarray:
    """Spins ``(n, components, L, L)`` of one OVF or .npy file, as they are in the file.

    Raises:
        ValueError: it is missing, damaged, or of another shape.
    """
    try:
        if path.suffix.lower() in OVF:
            spins = ovf.read(path)
        elif path.suffix.lower() == ".npy":
            spins = np.load(path, allow_pickle=False)
        else:
            raise ValueError(f"expected {', '.join(OVF)} or .npy")
    except FileNotFoundError:
        raise ValueError(f"{path}: no such file") from None
    except (ValueError, EOFError, IsADirectoryError) as error:
        text = str(error)
        raise ValueError(text if text.startswith(str(path)) else f"{path}: {text}") from None
    spins = spins[None] if spins.ndim == 3 else spins
    if spins.ndim != 4 or spins.shape[1] > 3 or spins.shape[2] != spins.shape[3] or spins.dtype.kind != "f":
        raise ValueError(f"{path}: expected numbers of shape (3, L, L) or (n, 3, L, L), found {spins.shape}")
    return spins


def read_together(paths: Sequence[Path]) -> tuple[np.ndarray, np.ndarray]:
    """Unit spins ``(n, components, L, L)`` of several files in their order, and the sites that exist ``(L, L)``.

    A site does not exist where all spins have length zero.

    Raises:
        ValueError: a file that is not read, states of different shapes or vacancies, numbers that are not finite.
    """
    parts = [read_states(path) for path in paths]
    for path, part in zip(paths, parts, strict=True):
        if part.shape[1:] != parts[0].shape[1:]:
            L = parts[0].shape[-1]
            raise ValueError(f"{path}: expected L = {L} as in {paths[0]}, found {part.shape[-1]}")
    spins = np.concatenate(parts)
    length = np.linalg.norm(spins, axis=1)
    if not np.isfinite(length).all():
        raise ValueError(f"{paths[0]}: states hold values that are not finite numbers")
    present = length > 1e-6 * length.max()
    if not present[0].any() or (present != present[0]).any():
        raise ValueError("states to import: expected the same sites to be zero in all of them, and not all sites")
    unit = spins / np.where(present, length, 1)[:, None] * present[:, None]
    return unit.astype(np.float32), present[0]


def mask_named(text: str, L: int) -> np.ndarray:
    """Sites that exist, bool ``(L, L)``: of a "disk", or from a .npy file.

    Raises:
        ValueError: neither.
    """
    if text == "disk":
        y, x = np.mgrid[:L, :L] - (L - 1) / 2
        return np.hypot(x, y) <= L / 2
    path = Path(text)
    if path.suffix != ".npy" or not path.is_file():
        raise ValueError(f"mask {text}: expected disk or an existing .npy file")
    try:
        return np.load(path, allow_pickle=False)
    except ValueError:
        raise ValueError(f"mask {text}: not a NumPy array of numbers") from None
