"""Workers that train together, in processes of this test without Ray: the first decides for all."""

import os
import socket
import time

import pytest
import torch
from torch import multiprocessing as mp

from nets.layers import decided, keep_waiting, rank
from orchestrator.data.run import make_here
from orchestrator.lease import lease
from orchestrator.store import Store
from orchestrator.training import loop
from orchestrator.training.request import TrainConfig

CONFIG = TrainConfig.model_validate(
    {
        "dataset": {"L": 16, "hamiltonian": {"D": 1.0}, "sampler": {"sweeps": 5, "finish": 20}, "configurations": 64},
        "system": {"name": "vae", "width": 2, "latent": 4},
        "batch": 8,
        "steps": 120,
        "checkpoint_seconds": 0,
    }
)
SECONDS = 60


def group(work, *arguments) -> None:
    """Run ``work`` in two workers; whoever waits for the other for ever is a failure."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    context = mp.start_processes(member, (port, work, arguments), nprocs=2, start_method="fork", join=False)
    deadline = time.monotonic() + SECONDS
    try:
        while not context.join(timeout=1):
            assert time.monotonic() < deadline, "a worker waits for ever"
    finally:
        for process in context.processes:
            process.kill()


def member(number, port, work, arguments) -> None:
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    torch.set_num_threads(1)
    torch.distributed.init_process_group("gloo", rank=number, world_size=2)
    work(*arguments)
    torch.distributed.destroy_process_group()


class Blind(Store):
    """A store of which the second worker sees neither cards of models nor checkpoints, as it may be for a while."""

    def card(self, kind, name):
        return None if rank() and kind == "models" else super().card(kind, name)

    def read_file(self, path):
        return None if rank() and "checkpoint" in path else super().read_file(path)


def train(path, folder):
    name, card = loop.make(CONFIG, Blind(path))
    torch.save((name, card["history"]), f"{folder}/{rank()}.pt")


def stop_at_the_second_report(path):
    store = Store(path)
    losses = loop.Recorder.__call__

    def stopping(self, done, means):
        losses(self, done, means)
        if done >= 100:
            raise OSError(28, "No space left on device")

    loop.Recorder.__call__ = stopping
    with pytest.raises(OSError, match="No space left on device"):
        loop.make(CONFIG, store)


@pytest.fixture
def data(store):
    make_here(CONFIG.dataset, store)
    return store


@pytest.mark.slow
def test_what_one_worker_alone_finds_all_go_by(data, tmp_path):
    """A checkpoint, then a card, that the other does not see; an error of the first ends both."""
    group(stop_at_the_second_report, data.path)
    assert loop.steps_done(CONFIG, data) >= 50
    for _ in range(2):
        group(train, data.path, str(tmp_path))
        (one, history), other = (torch.load(tmp_path / f"{number}.pt", weights_only=False) for number in (0, 1))
        assert (one, history) == other == (CONFIG.name, data.card("models", CONFIG.name)["history"])
        assert [entry["step"] for entry in history] == [25, 50, 75, 100, 120]


def decide(folder):
    for number in range(3):
        keep_waiting() if rank() == 0 else None
        assert decided(lambda number=number: number) == number
    with pytest.raises(ZeroDivisionError):
        decided(lambda: 1 / 0)


def test_the_first_decides_and_its_errors_are_raised_in_all(tmp_path):
    group(decide, str(tmp_path))


def wait_for_the_lease(path, folder):
    loop.make(CONFIG, Store(path))
    torch.save(time.time(), f"{folder}/{rank()}.pt")


@pytest.mark.slow
def test_a_group_waits_for_a_lease_together(data, tmp_path):
    with lease(data, "models", CONFIG.name):
        process = mp.get_context("fork").Process(target=group, args=(wait_for_the_lease, data.path, str(tmp_path)))
        process.start()
        time.sleep(5)
        assert not list(tmp_path.glob("*.pt"))
        freed = time.time()
    process.join(SECONDS)
    assert process.exitcode == 0
    assert all(torch.load(tmp_path / f"{number}.pt", weights_only=False) > freed for number in (0, 1))
