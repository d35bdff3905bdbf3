"""Draws the packages of this repository: rooms with their lines of code, arrows where one imports another.

python docs/draw_house.py docs/house.png              # the working tree
python docs/draw_house.py docs/house-0.3.png 5e5a6f2  # a commit
"""

from __future__ import annotations

import ast
import collections
import subprocess
import sys
from pathlib import Path

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt

LAYERS = ("orchestrator", "search", "nets", "physics")
COLORS = dict(zip(LAYERS, ("#d9e6f2", "#dcefdc", "#f7ecd2", "#f3dcd9"), strict=True))
ROOT = Path(__file__).parents[1]


def sources(commit: str | None) -> dict[str, str]:
    """Module names and their text."""
    if commit is None:
        paths = [path.relative_to(ROOT) for layer in LAYERS for path in sorted((ROOT / layer).rglob("*.py"))]
        texts = {path: (ROOT / path).read_text() for path in paths}
    else:
        listed = _git("ls-tree", "-r", "--name-only", commit, *LAYERS).splitlines()
        texts = {Path(path): _git("show", f"{commit}:{path}") for path in listed if path.endswith(".py")}
    return {".".join(path.with_suffix("").parts).removesuffix(".__init__"): text for path, text in texts.items()}


def _git(*arguments: str) -> str:
    return subprocess.run(["git", *arguments], cwd=ROOT, check=True, capture_output=True, text=True).stdout


def room_of(module: str) -> str:
    """The folder of a module inside its layer, or for a file right in the layer, the file."""
    return ".".join(module.split(".")[:2])


def imports(module: str, text: str, modules: set[str]) -> set[str]:
    """Modules of these packages that a module imports, wherever it does."""
    found = set()
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.ImportFrom) and node.module:
            found |= {node.module, *(f"{node.module}.{name.name}" for name in node.names)}
        elif isinstance(node, ast.Import):
            found |= {name.name for name in node.names}
    return (found & modules) - {module}


def draw(texts: dict[str, str], title: str) -> plt.Figure:
    modules = set(texts)
    lines: collections.Counter[str] = collections.Counter()
    arrows: collections.Counter[tuple[str, str]] = collections.Counter()
    for module, text in texts.items():
        room = room_of(module)
        lines[room] += text.count("\n")
        for other in imports(module, text, modules):
            arrows[room, room_of(other)] += 1
    rooms = [room for room in lines if lines[room] and room not in LAYERS]
    total = sum(lines.values())
    figure, axes = plt.subplots(figsize=(15, 10), layout="constrained")
    places = {}
    for row, layer in enumerate(LAYERS):
        mine = sorted((room for room in rooms if room.startswith(f"{layer}.")), key=lambda room: -lines[room])
        share = sum(lines[room] for room in mine)
        axes.text(-0.3, -row, f"{layer}\n{share} lines\n{share / total:.0%}", ha="right", va="center", fontsize=12)
        width = 16 / max(len(mine), 1)
        for column, room in enumerate(mine):
            places[room] = ((column + 0.5) * width, -row)
            label = f"{room.split('.', 1)[1]}\n{lines[room]}"
            box = {"boxstyle": "round,pad=0.35", "fc": COLORS[layer], "ec": "0.4"}
            y = -row + 0.22 * ((column % 3) - 1)
            places[room] = (places[room][0], y)
            axes.text(places[room][0], y, label, ha="center", va="center", fontsize=8, bbox=box, zorder=3)
    for (a, b), count in arrows.items():
        if a in places and b in places and a != b:
            up = LAYERS.index(a.split(".")[0]) > LAYERS.index(b.split(".")[0])
            style = {"arrowstyle": "-|>", "color": "red" if up else "0.45", "lw": 0.3 + 0.25 * count, "alpha": 0.5}
            axes.annotate("", places[b], places[a], arrowprops={**style, "shrinkA": 14, "shrinkB": 14}, zorder=1)
    layer_of = {room: LAYERS.index(room.split(".")[0]) for pair in arrows for room in pair}
    between = sum(count for (a, b), count in arrows.items() if layer_of[a] != layer_of[b])
    upward = sum(count for (a, b), count in arrows.items() if layer_of[a] > layer_of[b])
    axes.set(xlim=(-2.6, 16), ylim=(-3.6, 0.6))
    axes.axis("off")
    axes.set_title(f"{title}: {total} lines in {len(modules)} files, {between} imports between layers, {upward} upward")
    return figure


if __name__ == "__main__":
    commit = sys.argv[2] if len(sys.argv) > 2 else None
    draw(sources(commit), commit or "working tree").savefig(sys.argv[1], dpi=90)
