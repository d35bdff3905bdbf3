import numpy as np
import pytest
import torch

from nets.sampling import prior
from nets.system import SYSTEMS, confined
from physics.chiral import ChiralMagnet
from search.constraint import ENERGY_OF_DATA, Limit, Penalised
from search.objectives import FunctionObjective, parse_objective
from search.prior import on_shell
from search.scoring import LARGEST, Scorer, chunk_of, shares

MAGNET = ChiralMagnet(D=0.6, B=0.2)
W = torch.randn(6, 3 * 64, generator=torch.Generator().manual_seed(0))


CHUNK = 16


class Linear:
    latent_dim = 6

    def decode(self, z, labels=None):
        return torch.nn.functional.normalize((z @ W).view(-1, 3, 8, 8), dim=1)


def scorer(objective="mz_max", **options):
    chosen = parse_objective(objective) if isinstance(objective, str) else objective
    return Scorer(Linear(), MAGNET, Penalised(chosen, [], 1.0), labels={}, chunk=CHUNK, **{"gradient": True, **options})


def test_scores_and_gradients_are_those_of_codes_in_the_shell():
    codes = prior(40, 6, 0)
    scores, gradients = scorer().evaluate(codes)
    z = torch.from_numpy(codes).requires_grad_()
    expected = Linear().decode(on_shell(z))[:, 2].mean((-2, -1))
    np.testing.assert_allclose(scores, expected.detach(), rtol=1e-5)
    np.testing.assert_allclose(gradients, torch.autograd.grad(expected.sum(), z)[0], rtol=1e-4, atol=1e-7)
    free, none = scorer(free=True, gradient=False).evaluate(codes)
    np.testing.assert_allclose(free, Linear().decode(torch.from_numpy(codes))[:, 2].mean((-2, -1)), rtol=1e-5)
    assert none is None


def test_observables_come_beside_the_score_with_their_gradients():
    codes = prior(5, 6, 0)
    values, gradients = scorer("energy_min", observables=("mz", "energy")).evaluate(codes)
    assert values.shape == (5, 3) and gradients.shape == (5, 3, 6)
    np.testing.assert_allclose(values[:, 0], -values[:, 2])
    np.testing.assert_allclose(gradients[:, 0], -gradients[:, 2], rtol=1e-5)
    np.testing.assert_allclose(values[:, 1], scorer().evaluate(codes)[0], rtol=1e-5)
    np.testing.assert_allclose(gradients[:, 1], scorer().evaluate(codes)[1], rtol=1e-4, atol=1e-7)


def test_states_are_not_kept_while_codes_are_scored():
    """No more than a chunk is ever decoded together, and nothing outlives its score."""
    alive = []

    class Counting(Linear):
        def decode(self, z, labels=None):
            alive.append(len(z))
            return super().decode(z)

    search = Scorer(Counting(), MAGNET, Penalised(parse_objective("mz_max"), [], 1.0), False, {}, CHUNK)
    search.evaluate(prior(10 * CHUNK + 3, 6, 0))
    assert max(alive) == CHUNK and len(alive) == 11


def test_runs_of_codes_are_cut_between_what_is_decoded_together():
    codes = np.arange(100)[:, None]
    for workers in (1, 2, 3, 7, 20):
        pieces = shares(codes, workers, CHUNK)
        assert np.array_equal(np.concatenate(pieces), codes)
        assert all(len(piece) % CHUNK == 0 for piece in pieces[:-1])
    many = shares(np.arange(100_000)[:, None], 2, CHUNK)
    assert max(map(len, many)) <= LARGEST * CHUNK and sum(map(len, many)) == 100_000
    assert chunk_of(32, 32) == 16 and chunk_of(100_000, 32) == 64
    assert chunk_of(100_000, 128) == 4 and chunk_of(100, 1024) == 1


def fails(spins, model):
    raise KeyError("no such spin")


UNRULY = {
    "raises": (fails, "KeyError: 'no such spin'"),
    "shape": (
        lambda spins, model: spins[:, 2].mean(-1),
        "expected 3 real numbers, found torch.float32 of shape (3, 8)",
    ),
    "complex": (lambda spins, model: torch.complex(spins, spins).mean((1, 2, 3)), "found torch.complex64 of shape"),
    "list": (lambda spins, model: [0.0] * len(spins), "found [0.0, 0.0, 0.0]"),
}


@pytest.mark.parametrize("gradient", [True, False])
@pytest.mark.parametrize("kind", UNRULY)
def test_an_objective_that_fails_is_named_with_the_code_and_what_is_expected(kind, gradient, monkeypatch):
    function, message = UNRULY[kind]
    monkeypatch.setattr("search.objectives.import_name", lambda path: function)
    codes = prior(3, 6, 0)
    with pytest.raises(ValueError, match="objective mine:f: ") as error:
        scorer(FunctionObjective(name="mine:f"), gradient=gradient).evaluate(codes)
    assert message in str(error.value) and f"at the code [{codes[0, 0]:.4g}, " in str(error.value)
    assert len(str(error.value).splitlines()) == 1


@pytest.mark.parametrize("system", ["vae", "hybrid", "evae-2021", "vae-2022"])
def test_codes_are_scored_where_the_decoder_is(system):
    """On torch's meta device, whose tensors do not mix with the CPU's, as those of a GPU do not."""
    settings = SYSTEMS.parse({"name": system, "L": 16, "latent": 4})
    magnet = ChiralMagnet(D=1.0, mask=np.hypot(*np.mgrid[-7.5:8, -7.5:8]) < 7)
    decoder = confined(settings.networks(3)[settings.decoder]().to("meta"), magnet, 16)
    penalised = Penalised(parse_objective("mz_max"), [Limit(ENERGY_OF_DATA, -0.1, 1.0)], 1.0)
    scores = Scorer(decoder, magnet, penalised, True, {}, 8, ["energy"], device="meta")
    assert scores.score(torch.zeros(3, 4, device="meta")).device.type == "meta"
