"""What a training step costs: with each choice undone in turn, split into its parts, and through Ray Train.

python benchmarks/training.py [--model hybrid] [--l 32] [--no-compiled]
"""

import contextlib
import json
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from typing import Any
from unittest import mock

import torch
import torch._functorch.config
import typer
from rich.console import Console
from rich.table import Table
from torch import Tensor
from torch.nn import functional as F

from nets import layers
from nets.layers import decided
from nets.system import SYSTEMS, Batch, System, build
from nets.training import Data, fit
from orchestrator.cluster import connect
from orchestrator.data import shards
from orchestrator.data.run import make as make_data
from orchestrator.lease import lease
from orchestrator.store import Store
from orchestrator.training import loop
from orchestrator.training.request import Resources, TrainConfig
from orchestrator.training.run import run_distributed


def plain_pad(x: Tensor, width: int) -> Tensor:
    return F.pad(x, (width,) * 4, mode="circular")


def plain_upsample(self: layers.UpsampleConv2d, x: Tensor) -> Tensor:
    reach = self.kernel_size[0] // 2
    return F.conv2d(layers.circular_pad(F.interpolate(x, scale_factor=2), reach), self.weight, self.bias)


PADDED = ("nets.layers.circular_pad", "nets.vaegan.circular_pad")
UNDONE: dict[str, dict[str, Callable]] = {
    "as it is": {},
    "upsampling not folded": {"nets.layers.UpsampleConv2d.forward": plain_upsample},
    "torch's circular padding": dict.fromkeys(PADDED, plain_pad),
}


def draw(count: int, width: int) -> Tensor:
    return torch.randn(count, width)


def bare(system: System, spins: Tensor, batch: int, steps: int) -> None:
    """Nothing but the step, on data in memory."""
    for _ in range(steps):
        system.settings.step(system, Batch(spins[torch.randint(len(spins), (batch,))]), draw)


@contextlib.contextmanager
def patched(patches: dict[str, Callable]) -> Iterator[None]:
    with contextlib.ExitStack() as stack:
        for target, new in patches.items():
            stack.enter_context(mock.patch(target, new))
        yield


def contestants(config: TrainConfig, compiled: bool) -> dict[str, tuple[System, dict[str, Callable]]]:
    """Systems, and what is patched while they step."""

    def made(**changes: Any) -> System:
        torch.manual_seed(0)
        return build(config.system.model_copy(update=changes), config.dataset.hamiltonian)

    found = {name: (made(), patches) for name, patches in UNDONE.items()}
    found["weights contiguous"] = (made(), {})
    for network in found["weights contiguous"][0].networks.values():
        network.to(memory_format=torch.contiguous_format)
    if "precision" in type(config.system).model_fields:
        found["bfloat16"] = (made(precision="bfloat16"), {})
    if compiled:
        torch._functorch.config.donated_buffer = False  # the hybrid goes back twice through one graph
        found["compiled"] = (made(), {})
        for network in found["compiled"][0].networks.values():
            network.compile()
    return found


def choices(config: TrainConfig, spins: Tensor, compiled: bool, rounds: int, steps: int) -> Table:
    made = contestants(config, compiled)
    times: dict[str, list[float]] = {name: [] for name in made}
    for _ in range(rounds + 1):
        for name, (system, patches) in made.items():
            with patched(patches):
                started = time.process_time()
                bare(system, spins, config.batch, steps)
                times[name].append((time.process_time() - started) / steps)
    medians = {name: statistics.median(seconds[1:]) for name, seconds in times.items()}
    rows = [[name, f"{1000 * s:.1f}", f"{s / medians['as it is']:.2f}"] for name, s in medians.items()]
    return table("choices, CPU time", ["", "ms a step", "times as it is"], rows)


class Timed:
    """Calls of a function, with the seconds spent in it."""

    def __init__(self, function: Callable):
        self.function, self.seconds = function, 0.0

    def __call__(self, *arguments: Any) -> Any:
        started = time.perf_counter()
        try:
            return self.function(*arguments)
        finally:
            self.seconds += time.perf_counter() - started


class Rows:
    """Configurations whose gathering is timed."""

    def __init__(self, spins: Any):
        self.spins, self.gather = spins, Timed(lambda rows: spins[rows])

    def __len__(self) -> int:
        return len(self.spins)

    def __getitem__(self, rows: Any) -> Tensor:
        return self.gather(rows)


def split(config: TrainConfig, store: Store, steps: int) -> Table:
    """Seconds of a training as the program runs it, by what they went to."""
    system, progress = loop.begin(config, store)
    rows = Rows(shards.read(config.dataset.name, store))
    step = Timed(system.settings.step)
    energy = Timed(lambda output: config.dataset.hamiltonian.energy(output).mean().backward())
    patched = mock.patch.object(type(system.settings), "step", lambda settings, *arguments: step(*arguments))
    with patched, lease(store, "models", config.name) as held:
        assert held is not None
        record = Timed(loop.Recorder(system, config, progress, {}, store, held, page=True))
        started = time.perf_counter()
        fit(system, Data(rows), config.batch, range(steps), 0, record, loop.REPORT_STEPS)
        whole = time.perf_counter() - started
    if config.system.name == "evae-2021":
        for _ in range(20):
            energy(torch.randn(config.batch, 3, config.dataset.L, config.dataset.L, requires_grad=True))
        energy.seconds *= steps / 20
    parts = {
        "data": rows.gather.seconds,
        "networks": step.seconds - energy.seconds,
        "energy": energy.seconds,
        "logging, checkpoints": record.seconds,
    }
    parts["random numbers and the rest"] = whole - sum(parts.values())
    listed = [[key, f"{1000 * s / steps:.2f}", f"{100 * s / whole:.1f} %"] for key, s in parts.items()]
    return table("a training as the program runs it", ["", "ms a step", "of the whole"], listed)


def through_ray(config: TrainConfig, store: Store, rounds: int, steps: int) -> Table:
    """The loop of a Ray Train worker, with everything it records and keeps, in turn with the bare loop."""

    def work(device: torch.device) -> None:
        system, progress = loop.begin(config, store)
        mapped = shards.read(config.dataset.name, store)
        spins, pairs = mapped.tensor(), []
        with lease(store, "models", config.name) as held:
            assert held is not None
            record = loop.Recorder(system, config, progress, {}, store, held, page=True)

            def ours(number: int) -> None:
                numbers = range(number * steps, (number + 1) * steps)
                reached = lambda done, losses: decided(lambda: record(done, losses))  # noqa: E731
                fit(system, Data(mapped), config.batch, numbers, 0, reached, loop.REPORT_STEPS)

            ways = {"bare": lambda number: bare(system, spins, config.batch, steps), "ray": ours}
            for number in range(rounds + 1):  # the first draws the first page and is left out
                seconds = {}
                for way in sorted(ways, reverse=number % 2 == 1):  # each goes first in turn
                    started = time.perf_counter()
                    ways[way](number)
                    seconds[way] = time.perf_counter() - started
                pairs.append((seconds["bare"], seconds["ray"]))
        store.write_file("seconds.json", json.dumps(pairs).encode())

    connect(1)
    started = time.perf_counter()
    for _ in run_distributed(work, store, Resources(), lambda: None, lambda: None):
        pass
    whole = time.perf_counter() - started
    pairs = json.loads(store.read_file("seconds.json") or b"")
    ratios = [plain / ray for plain, ray in pairs[1:]]
    plain, ray = (statistics.median(pair[i] for pair in pairs[1:]) for i in (0, 1))
    rows = [
        ["bare loop", f"{config.batch * steps / plain:.1f}", "1"],
        ["through Ray Train", f"{config.batch * steps / ray:.1f}", f"{statistics.median(ratios):.3f}"],
    ]
    start = whole - sum(map(sum, pairs))
    return table(f"one worker; {start:.1f} s to start and stop it", ["", "samples a second", "of bare"], rows)


def table(title: str, columns: list[str], rows: list[list[str]]) -> Table:
    made = Table(title=title, title_justify="left", box=None)
    for column in columns:
        made.add_column(column, justify="right")
    for row in rows:
        made.add_row(*row)
    return made


def main(
    model: str = "hybrid",
    l: int = 32,  # noqa: E741
    width: int = 16,
    configurations: int = 1000,
    rounds: int = 3,
    steps: int = 4,
    long: int = 50,
    compiled: bool = True,
) -> None:
    torch.set_num_threads(1)
    system = {"name": model, **({"width": width} if "width" in SYSTEMS.find(model).model_fields else {})}
    batch = 50 if "width" in system else 100
    sampler = {"sweeps": 50}
    config = TrainConfig.model_validate(
        {
            "dataset": {"L": l, "configurations": configurations, "hamiltonian": {"D": 0.6}, "sampler": sampler},
            "system": system,
            "batch": batch,
            "steps": 100 * long,
        }
    )
    console = Console()
    console.print(f"{model}, L = {l}, batch {batch}, one thread")
    with tempfile.TemporaryDirectory() as folder:
        connect(1)
        store = Store(folder)
        make_data(config.dataset, store)
        spins = shards.read(config.dataset.name, store).tensor()
        console.print(choices(config, spins, compiled, rounds, steps))
        console.print(split(config, store, 2 * long))
        console.print(through_ray(config, store, rounds, long))


if __name__ == "__main__":
    typer.run(main)
