import math
import os
import socket
from typing import ClassVar

import pytest
import torch
from torch import multiprocessing as mp

from nets.layers import unit_spins
from nets.system import SYSTEMS, Batch, build
from nets.training import Data, fit, restore, state, validate
from physics.model import Observable, SpinModel

L = 16
N = 8


class Exchange(SpinModel):
    """Parallel neighbours, for spins of any number of components."""

    label: ClassVar[str] = "exchange"

    @property
    def observables(self):
        return {"energy": Observable(self.energy, "energy")}

    def check(self, L):
        pass

    def energy(self, spins):
        return 2 + self.energy_density(spins).mean((-2, -1))

    def energy_density(self, spins):
        return -0.5 * (spins * self.effective_field(spins)).sum(-3)

    def effective_field(self, spins):
        return sum(torch.roll(spins, step, axis) for step in (1, -1) for axis in (-1, -2))

    def defects(self, spins):
        return (self.energy_density(spins) > 0).to(torch.int8)


class Signs(Exchange):
    components: ClassVar[int] = 1


class Planar(Exchange):
    components: ClassVar[int] = 2


class Vectors(Exchange):
    components: ClassVar[int] = 3


@pytest.fixture(params=[Signs, Planar, Vectors], ids=lambda kind: f"{kind.components} components")
def system(request, settings):
    model = request.param()
    try:
        settings.check(model)
    except ValueError:
        pytest.skip(f"it makes no spins of {model.components} components")
    return made(settings, model)


def made(settings, model, seed=0):
    torch.manual_seed(seed)
    return build(settings, model)


@pytest.fixture
def data(labels_of):
    """``data(system, n)``: random spins with the labels that the system wants."""

    def make(system, n=N):
        spins = unit_spins(torch.randn(n, system.model.components, L, L, generator=torch.Generator().manual_seed(0)))
        return Data(spins, labels_of(system.settings.labels, n))

    return make


class StoppedError(Exception):
    """Ends a training where it is."""


def stop_at(steps):
    def progress(done, losses):
        if done == steps:
            raise StoppedError

    return progress


def draw(count, width):
    return torch.randn(count, width, generator=torch.Generator().manual_seed(1))


def test_its_settings_survive_every_way_of_writing_them(settings, check_settings):
    check_settings(SYSTEMS, settings)
    assert settings.label


def test_its_networks_are_those_that_it_names(system, data):
    settings = system.settings
    named = {settings.decoder, settings.encoder, settings.discriminator} - {None}
    assert named <= system.networks.keys() == system.optimizers.keys()
    assert system.decoder.latent_dim == settings.latent
    spins = data(system).spins
    system.mode(training=False)
    if settings.encoder:
        assert [part.shape for part in system.networks[settings.encoder].encode(spins)] == [(N, settings.latent)] * 2
    if settings.discriminator:
        assert system.networks[settings.discriminator](spins).shape == (N,)


def test_codes_decode_to_unit_spins_each_for_itself(system, data):
    labels = data(system).labels
    system.mode(training=False)
    codes = draw(N, system.settings.latent).requires_grad_()
    spins = system.decoder.decode(codes, labels)
    assert spins.shape == (N, system.model.components, L, L)
    torch.testing.assert_close(spins.norm(dim=1), torch.ones(N, L, L))
    alone = system.decoder.decode(codes[3:4], {name: values[3:4] for name, values in labels.items()})
    torch.testing.assert_close(alone[0], spins[3], atol=1e-4, rtol=0)
    (slope,) = torch.autograd.grad(spins.sum((1, 2, 3)).square().sum(), codes)
    assert slope.isfinite().all()
    assert slope.abs().max() > 1e-3  # training and search need more than rounding to follow


def test_a_step_changes_every_network_and_returns_finite_losses(system, data):
    batch = Batch(*data(system))
    before = {name: [p.detach().clone() for p in network.parameters()] for name, network in system.networks.items()}
    losses = system.settings.step(system, batch, draw)
    assert losses and all(loss.shape == () and loss.isfinite() for loss in losses.values())
    for name, network in system.networks.items():
        assert any(not torch.equal(old, new) for old, new in zip(before[name], network.parameters(), strict=True)), name


def test_held_out_losses_are_those_that_it_names(system, data):
    found = validate(system, data(system), 3, seed=0)
    assert tuple(found) == tuple(system.settings.held_out)
    assert all(map(math.isfinite, found.values()))
    assert found == validate(system, data(system), 3, seed=0)


def test_training_goes_on_from_its_state_to_the_last_bit(system, data):
    settings, model = system.settings, system.model
    rows = data(system, 3 * N)
    first, second = made(settings, model), made(settings, model, seed=1)
    fit(system, rows, N, range(5), seed=4)
    with pytest.raises(StoppedError):
        fit(first, rows, N, range(5), 4, stop_at(2), every=1)
    kept = {key: value.clone() for key, value in state(first).items()}
    assert any("adam" in key for key in kept)
    restore(second, kept)
    fit(second, rows, N, range(2, 5), seed=4)
    expected, found = state(system), state(second)
    assert expected.keys() == found.keys()
    assert all(torch.equal(expected[key], found[key]) for key in expected)


def train_share(rank, count, settings, rows, port, folder):
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    torch.set_num_threads(1)
    torch.distributed.init_process_group("gloo", rank=rank, world_size=count)
    system, course = made(settings, Planar()), []
    for steps in (range(1), range(1, 6)):
        fit(system, rows, N, steps, 7, lambda done, losses: course.append(losses), every=1)
        if steps[0] == 0:
            running = {key: value.clone() for key, value in state(system).items() if "running" in key}
    if rank == 0:
        torch.save((course, running), f"{folder}/{count}.pt")
    torch.distributed.destroy_process_group()


def test_two_workers_with_half_the_batch_each_follow_one(settings, data, tmp_path):
    """Losses within 1e-5 before the first step, 1 % after it and 20 % after six: sums are taken in another order, and
    Adam makes full strides of gradients that are nothing but rounding, of more of them on some processors.  Running
    means of batch norm are the same after a step."""
    rows = data(made(settings, Planar()), 3 * N)
    for count in (1, 2):
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        arguments = (count, settings, rows, port, str(tmp_path))
        mp.start_processes(train_share, arguments, nprocs=count, start_method="fork")
    (one, means), (two, others) = (torch.load(tmp_path / f"{count}.pt") for count in (1, 2))
    for a, b, within in zip(one, two, (1e-5, 1e-2, *[0.2] * 4), strict=True):
        assert a == pytest.approx(b, rel=within, abs=max(1e-5, within / 100))
    for key in means:
        torch.testing.assert_close(others[key], means[key], rtol=1e-3, atol=1e-5)
