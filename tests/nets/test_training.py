"""The loop sees every row, noise that is Gaussian and new at each step, and validates in evaluation mode."""

import json

import numpy as np
import pytest
import torch
from safetensors.torch import load, save
from scipy import stats

from nets import training
from nets.layers import unit_spins
from nets.system import SYSTEMS, build
from nets.training import (
    Data,
    DivergedError,
    TrainingState,
    checkpoint,
    fit,
    restore_checkpoint,
    settled_step,
    state,
    validate,
)
from nets.vae import VAEConfig
from physics.chiral import ChiralMagnet


@pytest.fixture
def system():
    torch.manual_seed(0)
    return build(SYSTEMS.parse({"name": "vae", "L": 16, "latent": 8, "width": 2}), ChiralMagnet())


@pytest.fixture
def data():
    return Data(unit_spins(torch.randn(40, 3, 16, 16, generator=torch.Generator().manual_seed(0))))


@pytest.fixture
def drawn(system, monkeypatch):
    """The noise of every step of a training."""
    noise = []

    def step(settings, system, batch, draw):
        noise.append(draw(len(batch.spins), 500).numpy())
        return {"loss": torch.zeros(())}

    monkeypatch.setattr(type(system.settings), "step", step)
    return noise


def test_the_noise_of_a_training_is_gaussian(system, data, drawn):
    fit(system, data, 10, range(4), 3)
    numbers = np.concatenate(drawn).ravel()
    assert stats.kstest(numbers, "norm").pvalue > 1e-3
    assert stats.kstest(np.random.default_rng(0).random(len(numbers)), "norm").pvalue < 1e-6


def test_the_noise_of_two_steps_has_nothing_in_common(system, data, drawn):
    fit(system, data, 10, range(6), 3)
    correlation = np.corrcoef([step.ravel() for step in drawn])
    np.fill_diagonal(correlation, 0)
    assert np.abs(correlation).max() < 4.5 / np.sqrt(drawn[0].size)


def test_another_seed_draws_other_noise_and_the_same_seed_the_same(system, data, drawn):
    for seed in (3, 3, 4):
        fit(system, data, 10, range(1), seed)
    assert np.array_equal(drawn[0], drawn[1])
    assert abs(np.corrcoef(drawn[0].ravel(), drawn[2].ravel())[0, 1]) < 0.1


@pytest.fixture
def shown(system, data, monkeypatch):
    """``shown(steps, rank, workers)``: the batches that a worker sees in an augmented training, ``(steps, n, ...)``."""
    batches = []

    def step(settings, system, batch, draw):
        batches.append(batch.spins)
        return {"loss": torch.zeros(())}

    def make(steps, rank=0, workers=1):
        monkeypatch.setattr(training, "rank", lambda: rank)
        monkeypatch.setattr(training, "workers", lambda: workers)
        batches.clear()
        fit(system, data, 20, steps, 3, augment=True)
        return torch.stack(batches)

    monkeypatch.setattr(training, "_average", lambda tensors: None)
    monkeypatch.setattr(type(system.settings), "step", step)
    return make


def test_two_workers_see_the_augmented_batches_of_one(shown):
    one = shown(range(5))
    shares = [shown(range(5), rank, 2) for rank in (0, 1)]
    assert torch.equal(torch.stack(shares, 2).flatten(1, 2), one)


def test_augmented_batches_are_the_data_after_symmetries_that_are_new_at_each_step(shown, data, system):
    batches = shown(range(4))  # two epochs
    energy = system.model.energy(data.spins).sort().values
    for epoch in batches.split(2):
        found = system.model.energy(epoch.flatten(0, 1)).sort().values
        torch.testing.assert_close(found, energy, atol=1e-5, rtol=0)
    known = {spins.numpy().tobytes() for spins in data.spins}
    seen = [spins.numpy().tobytes() for spins in batches.flatten(0, 1)]
    assert len(set(seen)) == len(seen)
    assert len(known & set(seen)) <= 2  # of 16 x 16 x 4 x 2 elements one is the identity
    assert torch.equal(shown(range(2, 4)), batches[2:])  # continued from a checkpoint


def test_a_cosine_takes_the_rates_to_zero_and_goes_on_from_any_step(system, data, monkeypatch):
    rates = []

    def step(settings, system, batch, draw):
        rates.append([group["lr"] for o in system.optimizers.values() for group in o.param_groups])
        return {"loss": torch.zeros(())}

    monkeypatch.setattr(type(system.settings), "step", step)
    fit(system, data, 10, range(8), 3, schedule="cosine")
    rate = system.settings.learning_rate
    assert [r[0] for r in rates] == pytest.approx([rate * (1 + np.cos(np.pi * n / 8)) / 2 for n in range(8)])
    assert all(len(set(r)) == 1 for r in rates)
    whole = rates.copy()
    rates.clear()
    fit(system, data, 10, range(5, 8), 3, schedule="cosine")
    assert rates == whole[5:]


def losses_of(levels, every=50):
    return [every * (number + 1) for number in range(len(levels))], list(levels)


FALLING = [1.0, 0.5, 0.3, 0.3, 0.29, 0.29, 0.29, 0.29]  # means of three: from 0.363 to 0.29 at 350, from 0.297 at 400


@pytest.mark.parametrize(
    ("levels", "expected"),
    [
        ([1.0] + [0.1] * 4, None),  # fewer than six windows
        ([1.0 - 0.1 * n for n in range(10)], None),
        (FALLING, 400),
        ([100 * level for level in FALLING], 400),  # in any unit
        ([level - 1e3 for level in FALLING], 400),  # about any level
        ([0.3] * 9, 300),
        ([0.3 + 0.1 * n for n in range(9)], 300),  # it rises
    ],
)
def test_a_loss_has_settled_where_it_falls_by_little_of_what_it_has_fallen(levels, expected):
    assert settled_step(*losses_of(levels)) == expected


def test_a_loss_does_not_settle_while_its_weights_change():
    assert settled_step(*losses_of([0.3] * 12), first=460) == 500


@pytest.fixture
def rates(monkeypatch):
    """Learning rate of each step of a VAE, whose losses are those that a function says."""

    def trained(levels, steps, history=(), cap=None):
        system, found = build(VAEConfig(L=16, latent=2), ChiralMagnet()), []

        def step(settings, system, batch, draw):
            found.append(system.optimizers["vae"].param_groups[0]["lr"])
            level = torch.as_tensor(levels(steps.start + len(found) - 1))
            return {"reconstruction": level, "kl": torch.zeros(()), "energy": torch.zeros(())}

        monkeypatch.setattr(VAEConfig, "step", step)
        fit(system, Data(torch.zeros(20, 3, 16, 16)), 10, steps, 3, every=5, schedule="settled", history=history)
        return np.array(found)

    return trained


def test_a_settled_training_cools_its_rate_and_ends(rates):
    found = rates(lambda number: 1.0 if number < 5 else 0.1, range(1000))
    falls = 35  # the first six windows after the fall
    assert len(found) == 2 * falls
    rising = np.minimum(1, np.arange(1, 2 * falls + 1) / 50)
    assert found[:falls] == pytest.approx(1e-3 * rising[:falls])
    found /= rising
    assert found[falls:] == pytest.approx(1e-3 * (1 + np.cos(np.pi * np.arange(35) / 35)) / 2)


def test_a_training_that_does_not_settle_cools_before_its_last_step(rates):
    found = rates(lambda number: -float(number), range(200))
    assert len(found) == 200
    assert np.allclose(found[50:100], 1e-3)
    assert found[100:] == pytest.approx(1e-3 * (1 + np.cos(np.pi * np.arange(100) / 100)) / 2)


@pytest.mark.parametrize("steps", [1, 61, 399])
def test_an_odd_number_of_steps_ends_with_the_last(rates, steps, monkeypatch):
    """Also where the loss has settled by half of them, rounded up."""
    monkeypatch.setattr("nets.training.settled_step", lambda *_: (steps + 1) // 2)
    found = rates(lambda number: 1.0, range(steps))
    assert len(found) == steps
    assert np.isfinite(found).all() and (found[-1] < 1e-5 or steps == 1)


def test_a_settled_training_goes_on_from_any_window(rates):
    levels = lambda number: 1.0 if number < 5 else 0.1  # noqa: E731
    whole = rates(levels, range(1000))
    for start in (5, 25, 45):
        history = [
            {"step": n, "reconstruction": levels(n - 5), "kl": 0.0, "energy": 0.0} for n in range(5, start + 1, 5)
        ]
        assert rates(levels, range(start, 1000), history) == pytest.approx(whole[start:])


def test_validation_is_in_evaluation_mode_and_leaves_the_moments_of_batch_norm(system, data):
    fit(system, data, 10, range(3), 0)
    before = {key: value.clone() for key, value in system.networks["encoder"].state_dict().items()}
    alone = validate(system, data.part(slice(0, 10)), 10, 0)
    assert all(torch.equal(value, before[key]) for key, value in system.networks["encoder"].state_dict().items())
    system.mode(training=False)
    with torch.no_grad():
        mean, log_variance = system.networks["encoder"](data.spins[:10])
    kl = 0.5 * (log_variance.exp() + mean**2 - log_variance - 1).sum(1).mean()
    assert alone["kl"] == pytest.approx(kl.item(), rel=1e-5)


@pytest.fixture
def saved(system, data):
    """Tensors and metadata of a checkpoint after two steps."""
    fit(system, data, 10, range(2), 0)
    pictures = {2: data.spins[:2]}
    content = checkpoint(system, TrainingState(2, [{"step": 2, "loss": 1.0}], pictures))
    size = int.from_bytes(content[:8], "little")
    return load(content), json.loads(content[8 : 8 + size])["__metadata__"]


def fresh(system):
    return build(system.settings, system.model)


def test_a_checkpoint_is_put_back_whole(system, saved):
    twin = fresh(system)
    progress = restore_checkpoint(twin, save(*saved))
    assert (progress.done, progress.history, list(progress.pictures)) == (2, [{"step": 2, "loss": 1.0}], [2])
    assert all(torch.equal(value, state(system)[key]) for key, value in state(twin).items())


FIRST, MOMENT = "encoder.trunk.0.weight", "encoder.adam.0.exp_avg"
TENSORS = {
    "of another name": (lambda t: {**t, "nonsense": torch.zeros(1)}, "nonsense: expected a tensor of"),
    "of another network": (lambda t: {**t, "critic.weight": torch.zeros(1)}, "critic.weight: expected a tensor of"),
    "unknown": (lambda t: {**t, "encoder.nonsense": torch.zeros(1)}, "encoder.nonsense: unknown"),
    "missing": (lambda t: {key: value for key, value in t.items() if key != FIRST}, f"{FIRST}: missing"),
    "none": (lambda t: {}, "missing"),
    "of another shape": (lambda t: {**t, FIRST: t[FIRST][:1].clone()}, f"{FIRST}: expected torch.float32 of shape"),
    "of another type": (lambda t: {**t, FIRST: t[FIRST].double()}, "found torch.float64"),
    "of integers": (lambda t: {**t, FIRST: t[FIRST].int()}, "found torch.int32"),
    "not numbers": (lambda t: {**t, FIRST: t[FIRST] * torch.nan}, f"{FIRST}: expected numbers, found nan"),
    "moments of another shape": (lambda t: {**t, MOMENT: torch.zeros(3)}, "encoder.adam.0.exp_avg: expected"),
    "moments that are not numbers": (lambda t: {**t, MOMENT: t[MOMENT] * torch.nan}, "expected numbers, found nan"),
    "moments of no weight": (lambda t: {**t, "encoder.adam.999.step": torch.zeros(())}, "encoder.adam.999: expected"),
    "some moments": (lambda t: {key: v for key, v in t.items() if key != MOMENT}, "expected the moments of one of"),
    "pictures without a step": (lambda t: {**t, "pictures.x": torch.zeros(1, 3, 4, 4)}, "invalid literal for int"),
    "pictures of another shape": (lambda t: {**t, "pictures.4": torch.zeros(4)}, "pictures: expected spins of shape"),
}


@pytest.mark.parametrize("case", TENSORS)
def test_a_checkpoint_with_other_tensors_is_refused_in_one_line(case, system, saved):
    tensors, metadata = saved
    change, said = TENSORS[case]
    with pytest.raises(ValueError) as error:
        restore_checkpoint(fresh(system), save(change(tensors), metadata))
    assert said in str(error.value)
    assert len(str(error.value).splitlines()) == 1


@pytest.mark.parametrize(
    "change",
    [
        {"step": "two"},
        {"step": "-1"},
        {"step": "9" * 5000},
        {"history": "nonsense"},
        {"history": "3"},
        {"history": "null"},
        {"history": "[1, 2]"},
        {"history": "[{}]"},
        {"history": "[" * 100_000},
    ],
    ids=lambda change: str(change)[:30],
)
def test_a_checkpoint_with_other_metadata_is_refused_in_one_line(change, system, saved):
    with pytest.raises(ValueError) as error:
        restore_checkpoint(fresh(system), save(saved[0], {**saved[1], **change}))
    assert len(str(error.value).splitlines()) == 1


@pytest.mark.parametrize("size", [0, 7, 8, 100, -1])
def test_a_checkpoint_that_is_cut_short_is_refused(size, system, saved):
    with pytest.raises(ValueError):
        restore_checkpoint(fresh(system), save(*saved)[:size])


def test_a_checkpoint_without_metadata_is_refused(system, saved):
    with pytest.raises(ValueError, match="__metadata__"):
        restore_checkpoint(fresh(system), save(saved[0]))


def test_a_training_whose_weights_are_no_numbers_has_diverged(system, data, monkeypatch):
    """Though its losses were finite until then: no checkpoint is written that nothing could go on from."""

    def step(settings, system, batch, draw):
        with torch.no_grad():
            next(system.networks["generator"].parameters()).fill_(torch.nan)
        return {"loss": torch.zeros(())}

    monkeypatch.setattr(type(system.settings), "step", step)
    reached = []
    with pytest.raises(DivergedError, match="weights of generator are not numbers by step 1"):
        fit(system, data, 10, range(2), 0, lambda done, losses: reached.append(done), every=1)
    assert reached == []
