"""OVF 2.0, the vector-field format of OOMMF and mumax3: text, binary 4 and binary 8, one layer of spins.

Values run with x fastest, then y, then z.  Binary data are little-endian and begin with a check value.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Literal

import numpy as np

from physics.registry import cut, reason

Form = Literal["text", "binary4", "binary8"]
FORMS = {"text": "Text", "binary4": "Binary 4", "binary8": "Binary 8"}
CHECKS = {"binary4": np.array(1234567.0, "<f4"), "binary8": np.array(123456789012345.0, "<f8")}
BEGIN_DATA = re.compile(rb"^#\s*begin:\s*data\s+(text|binary 4|binary 8)[ \t]*\r?\n", re.I | re.M)


def write(path: str | Path, spins: np.ndarray, form: Form = "binary4", cell: float = 1e-9, title: str = "m") -> None:
    """Write spins ``(3, L_y, L_x)`` as one layer of cubic cells of edge ``cell`` in metres."""
    _, ny, nx = spins.shape
    header = {
        "Title": title, "meshtype": "rectangular", "meshunit": "m",
        "xmin": 0, "ymin": 0, "zmin": 0, "xmax": nx * cell, "ymax": ny * cell, "zmax": cell,
        "valuedim": 3, "valuelabels": "m_x m_y m_z", "valueunits": "1 1 1",
        "xbase": cell / 2, "ybase": cell / 2, "zbase": cell / 2,
        "xnodes": nx, "ynodes": ny, "znodes": 1,
        "xstepsize": cell, "ystepsize": cell, "zstepsize": cell,
    }  # fmt: skip
    lines = ["# OOMMF OVF 2.0", "# Segment count: 1", "# Begin: Segment", "# Begin: Header"]
    lines += [f"# {key}: {value}" for key, value in header.items()]
    lines += ["# End: Header", f"# Begin: Data {FORMS[form]}"]
    values = np.moveaxis(spins, 0, -1).reshape(-1, 3)
    if form == "text":
        data = "\n".join(" ".join(np.format_float_scientific(v, unique=True) for v in row) for row in values).encode()
    else:
        data = CHECKS[form].tobytes() + values.astype(CHECKS[form].dtype).tobytes()
    end = f"\n# End: Data {FORMS[form]}\n# End: Segment\n"
    Path(path).write_bytes("\n".join(lines).encode() + b"\n" + data + end.encode())


def read(path: str | Path) -> np.ndarray:
    """Values of the first segment, float64 ``(3, L_y, L_x)``, as they are in the file.

    Raises:
        ValueError: a file that cannot be read, not OVF 2.0, a mesh other than one rectangular layer of 3-component
            values, or data that are cut short or fail their check value.
    """
    try:
        content = Path(path).read_bytes()
    except (OSError, ValueError) as error:
        raise ValueError(f"{path}: {reason(error)}") from None
    if not re.match(rb"#\s*OOMMF\s+OVF\s+2", content, re.I):
        raise ValueError(f"{path}: expected OVF 2.0, found {content[:24].splitlines()[:1]!r}")
    begin = BEGIN_DATA.search(content)
    if begin is None:
        raise ValueError(f"{path}: no '# Begin: Data' with Text, Binary 4 or Binary 8")
    header = _header(content[: begin.start()].decode("utf-8", "replace"))
    for key, expected in {"meshtype": "rectangular", "valuedim": "3", "znodes": "1"}.items():
        if header.get(key, "").lower() != expected:
            raise ValueError(f"{path}: {key}: expected {expected}, found {cut(header.get(key, 'none'))}")
    try:
        nx, ny = int(header["xnodes"]), int(header["ynodes"])
    except (KeyError, ValueError):
        raise ValueError(f"{path}: xnodes, ynodes: expected whole numbers") from None
    if nx < 1 or ny < 1:
        raise ValueError(f"{path}: xnodes, ynodes: expected at least 1, found {nx} and {ny}")
    form = begin[1].decode().lower().replace(" ", "")
    try:
        values = _text(content[begin.end() :]) if form == "text" else _binary(content[begin.end() :], form, 3 * nx * ny)
    except ValueError as error:
        raise ValueError(f"{path}: {form} data: {reason(error)}") from None
    if len(values) != 3 * nx * ny:
        raise ValueError(f"{path}: {form} data: expected {3 * nx * ny} numbers, found {len(values)}")
    return np.moveaxis(values.reshape(ny, nx, 3), -1, 0).astype(np.float64)


def _header(text: str) -> dict[str, str]:
    fields = {}
    for line in text.splitlines():
        key, colon, value = line.partition("##")[0].lstrip("# \t").partition(":")
        if colon:
            fields[key.strip().lower()] = value.strip()
    return fields


def _text(data: bytes) -> np.ndarray:
    end = re.search(rb"^#\s*end:\s*data", data, re.I | re.M)
    if end is None:
        raise ValueError("cut short, no '# End: Data'")
    rows = (line for line in data[: end.start()].split(b"\n") if not line.lstrip().startswith(b"#"))
    return np.array(b" ".join(rows).split(), np.float64)


def _binary(data: bytes, form: str, count: int) -> np.ndarray:
    check = CHECKS[form]
    if data[: check.nbytes] != check.tobytes():
        raise ValueError(f"wrong check value, expected {check.item():.0f}, little-endian")
    end = check.nbytes * (1 + count)
    if not re.match(rb"\s*#\s*end:\s*data", data[end:], re.I):
        raise ValueError(f"cut short or too long, no '# End: Data' after {count} numbers")
    return np.frombuffer(data[check.nbytes : end], check.dtype)
