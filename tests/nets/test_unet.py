import pytest
import torch

from nets.losses import gradient_penalty, wasserstein_distance
from nets.system import Batch, build
from nets.unet import WGANConfig, bonds
from physics.vortices import charges, turned, vortex_field
from physics.xy import XY

L, B = 16, 8
SMALL = {"L": L, "latent": 33, "given_as": "field", "width": 4, "critic_steps": 2}


def drawing(seed=0):
    rng = torch.Generator().manual_seed(seed)
    return lambda count, width: torch.randn(count, width, generator=rng)


def labels(n=B, size=L, T=0.1):
    given = torch.zeros(n, size, size, dtype=torch.int8)
    for i in range(n):
        given[i, i % size, 3], given[i, (i + 2) % size, 7] = 1, -1
    return {"charges": given, "temperature": torch.full((n,), T)}


def made(**changes):
    torch.manual_seed(0)
    return build(WGANConfig(**SMALL | changes), XY())


def data(n=B):
    return vortex_field(labels(n)["charges"]).float()


def test_an_untrained_network_given_the_field_has_the_charges():
    network = made().decoder
    spins = network.decode(drawing()(B, 33), labels())
    assert torch.equal(charges(spins), labels()["charges"])


def test_the_first_number_of_a_code_turns_the_whole_field():
    network, z = made().decoder, drawing()(B, 33)
    other = z.clone()
    other[:, 0] = 0.3
    a, b = network.decode(z, labels()), network.decode(other, labels())
    torch.testing.assert_close(bonds(a), bonds(b), atol=1e-5, rtol=0)
    angle = torch.atan2(a[:, 1], a[:, 0])[:, 0, 0]
    assert angle.std() > 1


@pytest.mark.parametrize("given_as", ["field", "charges"])
def test_moving_the_charges_moves_the_field(given_as):
    network, z, given = made(given_as=given_as).decoder, drawing()(B, 33), labels()
    noise = z[:, 1:].view(B, -1, 4, 4)
    moved = torch.cat((z[:, :1], torch.roll(noise, (1, 2), (-2, -1)).flatten(1)), 1)
    a = network.decode(z, given)
    b = network.decode(moved, {**given, "charges": torch.roll(given["charges"], (4, 8), (-2, -1))})
    torch.testing.assert_close(bonds(b), bonds(torch.roll(a, (4, 8), (-2, -1))), atol=1e-4, rtol=0)


def test_larger_lattices_than_trained_are_made():
    network = made().decoder
    assert network.codes(L) == 33 and network.codes(32) == 129
    spins = network.decode(drawing()(2, 129), labels(2, 32))
    assert spins.shape == (2, 2, 32, 32)
    assert torch.equal(charges(spins), labels(2, 32)["charges"])


def test_the_critic_of_bonds_does_not_see_a_turn_of_all_spins_and_the_other_does():
    for invariant in (True, False):
        critic = made(invariant=invariant).networks["critic"]
        spins = data()
        same = torch.allclose(
            critic(spins, labels()), critic(turned(spins, torch.linspace(0, 3, B)), labels()), atol=1e-4
        )
        assert same is invariant


def test_the_critic_judges_by_charges_and_temperature():
    critic, spins = made().networks["critic"], data()
    here = critic(spins, labels())
    assert not torch.equal(here, critic(spins, {**labels(), "charges": -labels()["charges"]}))
    assert not torch.equal(here, critic(spins, labels(T=0.5)))


def test_a_critic_of_slope_one_has_no_penalty_and_one_of_slope_three_has_four():
    real, fake = torch.randn(5, 2, 4, 4), torch.randn(5, 2, 4, 4)
    direction = torch.randn(2, 4, 4)
    direction = direction / direction.norm()
    for slope, expected in ((1.0, 0.0), (3.0, 4.0)):
        critic = lambda spins, slope=slope: slope * (spins * direction).sum((1, 2, 3))  # noqa: E731
        assert gradient_penalty(critic, real, fake, drawing()).item() == pytest.approx(expected, abs=1e-4)
    assert wasserstein_distance(torch.tensor([3.0, 1.0]), torch.tensor([0.5])).item() == 1.5


def test_the_penalty_is_taken_between_data_and_fakes():
    """Of the critic x^2 / 2 the slope at x is x: between 1 and 3 it is 1 to 3, and its square above one 4/3."""
    real, fake = torch.full((20_000, 1), 1.0), torch.full((20_000, 1), 3.0)
    penalty = gradient_penalty(lambda x: x.square().sum(1) / 2, real, fake, drawing())
    assert penalty.item() == pytest.approx(4 / 3, rel=0.03)


def test_a_step_moves_the_scores_of_critic_and_generator_the_right_ways():
    system = made(learning_rate=1e-3, penalty=0.0, physical=0.0)
    batch = Batch(data(), labels())
    critic, generator = system.networks["critic"], system.networks["generator"]
    z = drawing(5)(B, 33)

    def distance():
        with torch.no_grad():
            return (critic(data(), labels()) - critic(generator.decode(z, labels()), labels())).mean().item()

    before = distance()
    generator_before = {k: v.clone() for k, v in generator.state_dict().items()}
    for i in range(5):
        system.settings.step(system, batch, drawing(i))
    generator_after = {k: v.clone() for k, v in generator.state_dict().items()}
    generator.load_state_dict(generator_before)
    assert distance() > before  # the critic tells data from the fakes that it began with
    behind = distance()
    generator.load_state_dict(generator_after)
    assert distance() < behind  # and the generator follows


def test_the_physical_loss_counts_after_its_share_of_the_training():
    weights = {}
    for physical, done in ((0.0, 0.5), (1e-2, 0.0), (1e-2, 0.5)):
        system = made(physical=physical)
        system.settings.step(system, Batch(data(), labels(), done), drawing())
        weights[physical, done] = next(system.networks["generator"].parameters()).detach().clone()
    assert torch.equal(weights[0.0, 0.5], weights[1e-2, 0.0])
    assert not torch.equal(weights[0.0, 0.5], weights[1e-2, 0.5])


def test_the_physical_loss_weighs_a_missing_charge_as_many_times_as_there_are_sites():
    settings, given = made().settings, labels(1)["charges"]
    aligned = torch.zeros(1, 2, L, L)
    aligned[:, 0] = 1
    assert settings._physical(aligned, given).item() == pytest.approx(2 * L * L)
    assert settings._physical(aligned, torch.zeros_like(given)).item() == 0


def test_the_decoder_is_the_average_of_the_generators_weights():
    system = made(averaging=0.75)
    averaged, generator = (system.networks[name] for name in ("averaged", "generator"))
    system.settings.step(system, Batch(data(), labels(), 0.0), drawing())
    first = [weight.detach().clone() for weight in generator.parameters()]
    assert all(map(torch.equal, first, averaged.parameters()))
    system.settings.step(system, Batch(data(), labels(), 0.5), drawing(1))
    for a, b, mean in zip(first, generator.parameters(), averaged.parameters(), strict=True):
        torch.testing.assert_close(mean, 0.75 * a + 0.25 * b)


def test_sizes_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match="multiple of 2\\^depth = 4"):
        WGANConfig(**SMALL | {"L": 18})
    with pytest.raises(ValueError, match="1 more than a multiple of 16, found 32"):
        WGANConfig(**SMALL | {"latent": 32})
