"""States from files and by name: OVF and NumPy in, unit spins out; masks of the sites that exist."""

from __future__ import annotations

import stat
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.lib.format import open_memmap

from physics import ovf
from physics.masks import disk
from physics.registry import cut, reason
from physics.vortices import charges_at

OVF = (".ovf", ".omf", ".ohf")


def check_file(path: Path) -> None:
    """Raise ValueError unless there is such a file, and not a folder, a pipe or a device, which may never end."""
    try:
        if not stat.S_ISREG(path.stat().st_mode):
            raise ValueError(f"{path}: expected a file, found a folder or a device")
    except OSError as error:
        raise ValueError(f"{path}: {reason(error)}") from None


def read_array(path: Path) -> np.ndarray:
    """The real numbers of a .npy file; one whose header claims more than the file holds takes no memory.

    Raises:
        ValueError: it is missing, damaged, empty, or of something else.
    """
    check_file(path)
    try:
        with np.errstate(over="ignore"):  # in the size that a header claims
            mapped = open_memmap(path, mode="r")
    except Exception as error:  # NumPy and the file system have many of their own
        what = "" if isinstance(error, OSError) else "not a whole array of NumPy: "
        raise ValueError(f"{path}: {what}{reason(error)}") from None
    if mapped.dtype.kind not in "biuf" or not mapped.size:
        raise ValueError(f"{path}: expected real numbers, found {mapped.dtype} of shape {mapped.shape}")
    return np.array(mapped)


def read_states(path: Path) -> np.ndarray:
    """Spins ``(n, components, L, L)`` of one OVF or .npy file, as they are in the file.

    Raises:
        ValueError: it is missing, damaged, of another shape, or holds what is no finite number.
    """
    suffix = path.suffix.lower()
    if suffix not in (*OVF, ".npy"):
        raise ValueError(f"{path}: expected {', '.join(OVF)} or .npy")
    if suffix == ".npy":
        spins = read_array(path)
    else:
        check_file(path)
        spins = ovf.read(path)
    if spins.dtype.kind != "f":
        raise ValueError(f"{path}: expected floating-point numbers, found {spins.dtype}")
    if spins.ndim not in (3, 4) or not 1 <= spins.shape[-3] <= 3 or spins.shape[-2] != spins.shape[-1]:
        raise ValueError(f"{path}: expected numbers of shape (3, L, L) or (n, 3, L, L), found {spins.shape}")
    if not np.isfinite(spins).all():
        raise ValueError(f"{path}: expected finite numbers, found {spins[~np.isfinite(spins)][0]}")
    return spins[None] if spins.ndim == 3 else spins


def read_together(paths: Sequence[Path]) -> tuple[np.ndarray, np.ndarray]:
    """Unit spins ``(n, components, L, L)`` of several files in their order, and the sites that exist ``(L, L)``.

    A site does not exist where all spins have length zero.

    Raises:
        ValueError: a file that is not read, states of different shapes or vacancies.
    """
    parts = [read_states(path) for path in paths]
    for path, part in zip(paths, parts, strict=True):
        if part.shape[1:] != parts[0].shape[1:]:
            L = parts[0].shape[-1]
            raise ValueError(f"{path}: expected L = {L} as in {paths[0]}, found {part.shape[-1]}")
    spins = np.concatenate(parts)
    with np.errstate(over="ignore"):
        length = np.linalg.norm(spins.astype(np.float64), axis=1)
    if not np.isfinite(length).all():
        raise ValueError(f"{paths[0]}: expected numbers whose squares are finite, found {np.abs(spins).max():g}")
    present = length > 1e-6 * length.max()
    if not present[0].any() or (present != present[0]).any():
        raise ValueError("states to import: expected the same sites to be zero in all of them, and not all sites")
    unit = spins / np.where(present, length, 1)[:, None] * present[:, None]
    return unit.astype(np.float32), present[0]


def read_charges(path: Path, L: int) -> list[tuple[int, int, int]]:
    """Vortices of a file as (x, y, charge): of the plaquettes whose lower left corners are the sites (x, y).

    A CSV file has a line for each, with the columns x, y and charge.  A PNG image of L x L pixels, y upward, has red
    pixels for +1 and blue ones for -1.

    Raises:
        ValueError: it is neither, a vortex lies outside the lattice or on another, has another charge than 1 and -1, or
            they do not add up to zero.
    """
    check_file(path)
    found = _charges_of_image(path, L) if path.suffix.lower() == ".png" else _charges_of_table(path)
    charges_at(found, L)
    return found


def _charges_of_table(path: Path) -> list[tuple[int, int, int]]:
    try:
        table = pd.read_csv(path, skipinitialspace=True)
    except Exception as error:  # pandas has many of its own
        raise ValueError(f"expected a CSV file of x, y, charge: {reason(error)}") from None
    if missing := {"x", "y", "charge"} - set(table):
        raise ValueError(f"expected the columns x, y and charge, found no {min(missing)}")
    try:
        numbers = table[["x", "y", "charge"]].apply(pd.to_numeric, errors="coerce").to_numpy(float)
        whole = np.equal(np.mod(numbers, 1), 0).all()  # what is no number is not equal
    except OverflowError:  # of hundreds of digits
        whole = False
    if not whole:
        raise ValueError("expected whole numbers in every line of x, y and charge")
    return [(int(x), int(y), int(charge)) for x, y, charge in numbers]


def _charges_of_image(path: Path, L: int) -> list[tuple[int, int, int]]:
    from matplotlib.image import imread

    try:
        pixels = imread(path)[::-1]
    except Exception as error:
        raise ValueError(f"expected a PNG image: {reason(error)}") from None
    if pixels.ndim != 3 or pixels.shape[:2] != (L, L):
        raise ValueError(f"expected a coloured image of {L} x {L} pixels, found {' x '.join(map(str, pixels.shape))}")
    red, green, blue = np.moveaxis(pixels[..., :3], -1, 0) > 0.5
    charge = (red & ~blue & ~green).astype(int) - (blue & ~red & ~green)
    return [(int(x), int(y), int(charge[y, x])) for y, x in np.argwhere(charge)]


def mask_named(text: str, L: int) -> np.ndarray:
    """Sites that exist, bool ``(L, L)``: of a "disk", or from a .npy file.

    Raises:
        ValueError: neither.
    """
    if text == "disk":
        return disk(L)
    if not text.endswith(".npy"):
        raise ValueError(f"mask {cut(text)}: expected disk or an existing .npy file")
    try:
        values = read_array(Path(text))
    except ValueError as error:
        raise ValueError(f"mask {error}") from None
    if values.shape != (L, L) or not np.isin(values, (0, 1)).all():
        raise ValueError(f"mask {text}: expected 0 and 1 of shape {(L, L)}, found {values.dtype} of {values.shape}")
    return values.astype(bool)
