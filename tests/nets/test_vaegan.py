import math

import pytest
import torch
from pydantic import ValidationError
from torch.nn import functional as F

from nets.layers import CircularConv2d, unit_spins
from nets.losses import discriminator_loss, generator_loss, kl_divergence, reconstruction
from nets.system import Batch, build
from nets.training import Data, DivergedError, fit, restore, state
from nets.vae import VAEConfig
from nets.vaegan import Discriminator, Encoder, Generator, Halving, VAEGANConfig
from physics.chiral import ChiralMagnet

SMALL = {"L": 16, "latent": 8, "width": 4}
NAMES = ("vae", "gan", "hybrid")
SYSTEMS = (*NAMES, "evae-2021")


def batch(n=6, L=16, seed=0):
    return unit_spins(torch.randn(n, 3, L, L, generator=torch.Generator().manual_seed(seed)))


def made(name="hybrid", **changes):
    torch.manual_seed(0)
    if name in NAMES:
        return build(VAEGANConfig(**{**SMALL, "name": name, **changes}), ChiralMagnet())
    return build(VAEConfig(name=name, L=16, latent=8, hidden=32, gamma=0.1, **changes), ChiralMagnet(D=1.0))


def drawing(seed):
    rng = torch.Generator().manual_seed(seed)
    return lambda count, width: torch.randn(count, width, generator=rng)


def step(system, spins, draw):
    return system.settings.step(system, Batch(spins), draw)


def weights(network):
    return torch.cat([p.detach().flatten() for p in network.parameters()])


def test_losses_of_the_discriminator_and_generator_by_hand():
    """D = 1/2, 3/4 and 1/4 are logits 0, ln 3 and -ln 3."""
    logits = torch.tensor([0.0, math.log(3)])
    fake = torch.tensor([math.log(3), -math.log(3)])
    real_term = (math.log(2) + math.log(4 / 3)) / 2
    fake_term = (math.log(4) + math.log(4 / 3)) / 2
    assert discriminator_loss(logits, [fake]).item() == pytest.approx(real_term + fake_term)
    fooled_term = (math.log(4 / 3) + math.log(4)) / 2
    assert generator_loss([fake]).item() == pytest.approx(fooled_term)
    second = torch.zeros(2)
    half = (fake_term + math.log(2)) / 2
    assert discriminator_loss(logits, [fake, second]).item() == pytest.approx(real_term + half)
    assert generator_loss([fake, second]).item() == pytest.approx(
        ((math.log(4 / 3) + math.log(4)) / 2 + math.log(2)) / 2
    )


@pytest.mark.parametrize("L", [16, 32, 128])
def test_shapes_and_unit_spins_at_every_size(L):
    config = VAEGANConfig(L=L, latent=6, width=2)
    spins = Generator(config).eval()(torch.randn(2, 6))
    assert spins.shape == (2, 3, L, L)
    torch.testing.assert_close(spins.norm(dim=1), torch.ones(2, L, L))
    assert [part.shape for part in Encoder(config).eval()(spins)] == [(2, 6), (2, 6)]
    assert Discriminator(config).eval()(spins).shape == (2,)
    assert config.widths == [2, 4, 8, 16, 32][: int(math.log2(L)) - 2]


def test_widths_stop_at_sixteen_times_the_finest():
    assert VAEGANConfig(L=256, width=64).widths == [64, 128, 256, 512, 1024, 1024]


def test_halving_and_convolution_are_periodic():
    torch.manual_seed(0)
    x = torch.randn(1, 3, 8, 8)
    for layer, stride in ((Halving(3, 2), 2), (CircularConv2d(3, 2, 3), 1)):
        moved = layer(torch.roll(x, (2, 4), (2, 3)))
        torch.testing.assert_close(moved, torch.roll(layer(x), (2 // stride, 4 // stride), (2, 3)))
    by_hand = F.conv2d(F.pad(x, (1, 1, 1, 1), mode="circular"), torch.ones(1, 3, 4, 4), stride=2)
    layer = Halving(3, 1)
    torch.nn.init.ones_(layer.weight)
    torch.nn.init.zeros_(layer.bias)
    torch.testing.assert_close(layer(x), by_hand)


def test_translations_by_the_coarsest_cell_do_not_change_the_verdict():
    torch.manual_seed(0)
    judge, spins = Discriminator(VAEGANConfig(**SMALL)).eval(), batch()
    torch.testing.assert_close(judge(torch.roll(spins, (4, 8), (2, 3))), judge(spins))


def test_the_discriminator_is_spectrally_normalised():
    torch.manual_seed(0)
    judge, spins = Discriminator(VAEGANConfig(**SMALL)), batch()
    for _ in range(50):
        judge(spins)  # power iterations
    found = 0
    for name, module in judge.named_modules():
        if isinstance(module, torch.nn.Conv2d | torch.nn.Linear):
            assert torch.linalg.matrix_norm(module.weight.flatten(1), 2).item() == pytest.approx(1, abs=0.02), name
            found += 1
        assert not isinstance(module, torch.nn.BatchNorm2d)
    assert found == 2 + 3 * 2


@pytest.mark.parametrize("name", NAMES)
def test_each_system_has_and_updates_the_networks_of_its_equation(name):
    system = made(name)
    expected = {"vae": {"generator", "encoder"}, "gan": {"generator", "discriminator"}}
    assert set(system.networks) == expected.get(name, {"generator", "encoder", "discriminator"})
    before = {key: weights(network) for key, network in system.networks.items()}
    losses = step(system, batch(), drawing(1))
    for key, network in system.networks.items():
        assert not torch.equal(before[key], weights(network)), key
    variational, adversarial = {"reconstruction", "kl"}, {"discriminator", "generator"}
    assert set(losses) == {"vae": variational, "gan": adversarial}.get(name, variational | adversarial)


@pytest.mark.parametrize("name", NAMES)
def test_bfloat16_trains_as_float32_does_to_its_precision(name):
    runs = {}
    for precision in ("float32", "bfloat16"):
        system, draw = made(name, precision=precision), drawing(1)
        runs[precision] = [step(system, batch(16), draw) for _ in range(5)]
        assert all(p.dtype == torch.float32 for network in system.networks.values() for p in network.parameters())
    for full, mixed in zip(*runs.values(), strict=True):
        assert all(loss.dtype == torch.float32 for loss in mixed.values())
        for key in full:
            assert mixed[key].item() == pytest.approx(full[key].item(), rel=0.05), key
    assert runs["bfloat16"][-1] != runs["float32"][-1]  # it did compute in fewer digits


def by_definition(system, spins, seed):
    """Losses of equations (1) to (3) and the gradients that each network should get, with nothing shared."""
    G, E, D = (system.networks[name] for name in ("generator", "encoder", "discriminator"))
    config = VAEGANConfig(**SMALL, gamma=0.7)
    rng = torch.Generator().manual_seed(seed)
    x_p = G(torch.randn(len(spins), config.latent, generator=rng))
    mean, log_variance = E(spins)
    x_t = G(mean + torch.exp(0.5 * log_variance) * torch.randn(mean.shape, generator=rng))
    vae = reconstruction(x_t, spins) + config.beta * kl_divergence(mean, log_variance)
    D.eval()  # one power iteration more or less would change the logits
    adversarial = -0.5 * torch.log(torch.sigmoid(D(x_p))).mean() - 0.5 * torch.log(torch.sigmoid(D(x_t))).mean()
    encoder = torch.autograd.grad(vae, list(E.parameters()), retain_graph=True)
    generator = torch.autograd.grad(vae + config.gamma * adversarial, list(G.parameters()))
    return encoder, generator


def test_encoder_and_generator_of_the_hybrid_get_the_gradients_of_equation_3(monkeypatch):
    system, spins = made(gamma=0.7), batch()
    for _ in range(30):
        system.networks["discriminator"](spins)
    twin = made(gamma=0.7)
    for name, network in twin.networks.items():
        network.load_state_dict(system.networks[name].state_dict())
    encoder, generator = by_definition(twin, spins, 3)
    system.networks["discriminator"].eval()
    monkeypatch.setattr(system.networks["discriminator"], "train", lambda mode=True: system.networks["discriminator"])
    system.optimizers["discriminator"].param_groups[0]["lr"] = 0.0  # so that the generator meets the same judge
    step(system, spins, drawing(3))
    for expected, network in ((encoder, system.networks["encoder"]), (generator, system.networks["generator"])):
        for gradient, weight in zip(expected, network.parameters(), strict=True):
            torch.testing.assert_close(weight.grad, gradient, rtol=2e-4, atol=1e-6)


@pytest.fixture
def fixed_discriminator(monkeypatch):
    """``fixed_discriminator(name)``: a system whose discriminator neither learns nor changes its spectral norms."""

    def make(name):
        system, spins = made(name), batch()
        judge = system.networks["discriminator"]
        for _ in range(30):
            judge(spins)
        judge.eval()
        monkeypatch.setattr(judge, "train", lambda mode=True: judge)
        system.optimizers["discriminator"].param_groups[0]["lr"] = 0.0
        return system, spins

    return make


def test_the_generator_of_the_gan_goes_down_minus_the_log_of_d(fixed_discriminator):
    system, spins = fixed_discriminator("gan")
    G, D = system.networks["generator"], system.networks["discriminator"]
    loss = -torch.log(torch.sigmoid(D(G(drawing(3)(6, 8))))).mean()
    expected = torch.autograd.grad(loss, list(G.parameters()))
    before = [weight.detach().clone() for weight in G.parameters()]
    step(system, spins, drawing(3))
    for gradient, old, weight in zip(expected, before, G.parameters(), strict=True):
        torch.testing.assert_close(weight.grad, gradient, rtol=2e-4, atol=1e-6)
        moved = (weight.detach() - old)[gradient.abs() > 1e-3]
        assert (moved * gradient[gradient.abs() > 1e-3] < 0).all()  # Adam's first step is against the sign


def test_the_discriminator_of_the_hybrid_is_shown_samples_and_reconstructions(fixed_discriminator):
    system, spins = fixed_discriminator("hybrid")
    G, E, D = (system.networks[name] for name in ("generator", "encoder", "discriminator"))
    draw = drawing(3)
    with torch.no_grad():
        sampled = D(G(draw(6, 8)))
        mean, log_variance = E(spins)
        reconstructed = D(G(mean + torch.exp(0.5 * log_variance) * draw(6, 8)))
        real = D(spins)
    assert not torch.allclose(sampled.mean(), reconstructed.mean(), atol=1e-4)
    expected = discriminator_loss(real, [sampled, reconstructed])
    for network in (G, E):  # batch norm has counted the batches of the definition
        network.load_state_dict(made("hybrid").networks["generator" if network is G else "encoder"].state_dict())
    loss = step(system, spins, drawing(3))["discriminator"]
    torch.testing.assert_close(loss.detach(), expected, rtol=1e-4, atol=1e-6)


def test_the_discriminator_adds_up_what_it_finds_at_each_site():
    torch.manual_seed(0)
    D, spins = Discriminator(VAEGANConfig(**SMALL)).eval(), batch()
    features = D.trunk(spins)
    assert features.shape[-2:] == (4, 4)
    torch.testing.assert_close(D(spins), D.judge(features.sum((-2, -1))).squeeze(1))
    assert not torch.allclose(D(spins), D.judge(features.mean((-2, -1))).squeeze(1), rtol=1e-2)


def test_gamma_reaches_the_generator_and_not_the_encoder():
    grads = {}
    for gamma in (0.0, 5.0):
        system = made(gamma=gamma)
        step(system, batch(), drawing(2))
        grads[gamma] = [
            torch.cat([p.grad.flatten() for p in network.parameters()])
            for network in (system.networks["encoder"], system.networks["generator"])
        ]
    torch.testing.assert_close(grads[0.0][0], grads[5.0][0])
    assert not torch.allclose(grads[0.0][1], grads[5.0][1], rtol=1e-2)


@pytest.mark.parametrize("name", SYSTEMS)
def test_training_is_a_function_of_its_seeds(name):
    found = []
    for _ in range(2):
        system, rng = made(name), drawing(5)
        for seed in range(3):
            step(system, batch(seed=seed), rng)
        found.append(torch.cat([weights(network) for network in system.networks.values()]))
    assert torch.equal(*found)


def test_a_vae_learns_to_reconstruct_one_batch():
    system, spins, rng = made("vae", beta=1e-6, learning_rate=2e-3, width=8), batch(8), drawing(0)
    spins = unit_spins(F.interpolate(spins[..., ::8, ::8], scale_factor=8, mode="bicubic"))
    course = [step(system, spins, rng)["reconstruction"].item() for _ in range(60)]
    assert course[-1] < 0.25 * course[0]


def test_a_discriminator_learns_to_tell_data_apart():
    system, rng = made("gan"), drawing(0)
    system.optimizers["generator"].param_groups[0]["lr"] = 0.0
    spins = torch.zeros(8, 3, 16, 16)
    spins[:, 2] = 1.0
    course = [step(system, spins, rng)["discriminator"].item() for _ in range(40)]
    assert course[-1] < 0.5 * course[0]


@pytest.mark.parametrize(
    "wrong",
    [{"L": 24}, {"L": 8}, {"name": "wgan"}, {"latent": 0}, {"betas": (1.0, 0.9)}, {"learning_rate": 0}],
    ids=str,
)
def test_sizes_that_make_no_sense_are_refused(wrong):
    with pytest.raises(ValidationError, match=next(iter(wrong))):
        VAEGANConfig(**wrong)


@pytest.mark.parametrize("name", SYSTEMS)
def test_training_goes_on_from_its_state_to_the_last_bit(name):
    spins = batch(20)
    whole = made(name)
    fit(whole, Data(spins), 6, range(8), seed=4)
    first = made(name)
    fit(first, Data(spins), 6, range(5), seed=4)
    second = made(name)
    restore(second, {key: value.clone() for key, value in state(first).items()})
    fit(second, Data(spins), 6, range(5, 8), seed=4)
    expected, found = state(whole), state(second)
    assert expected.keys() == found.keys()
    assert all(torch.equal(expected[key], found[key]) for key in expected)
    assert any("adam" in key for key in expected)


def test_every_row_is_met_once_an_epoch_and_progress_is_reported():
    class Counted:
        def __init__(self, spins):
            self.spins, self.rows = spins, []

        def __len__(self):
            return len(self.spins)

        def __getitem__(self, rows):
            self.rows.append(rows.tolist())
            return self.spins[rows]

    spins, told = Counted(batch(12)), []
    fit(made("vae"), Data(spins), 4, range(6), 0, lambda done, losses: told.append((done, set(losses))), every=4)
    epochs = [sorted(row for rows in spins.rows[i : i + 3] for row in rows) for i in (0, 3)]
    assert epochs == [list(range(12))] * 2
    assert spins.rows[:3] != spins.rows[3:]
    assert told == [(4, {"reconstruction", "kl"}), (6, {"reconstruction", "kl"})]


def test_a_loss_that_is_not_finite_stops_training_at_once():
    system = made("vae")
    with torch.no_grad():
        system.networks["generator"].trunk[0].weight.fill_(math.nan)
    with pytest.raises(DivergedError, match="not finite by step 2: reconstruction = nan"):
        fit(system, Data(batch(12)), 4, range(6), 0, every=2)


def test_batches_that_cannot_be_made_are_refused():
    with pytest.raises(ValueError, match="at most 12, found 13"):
        fit(made("vae"), Data(batch(12)), 13, range(1), 0)
