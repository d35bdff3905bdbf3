import numpy as np
import pytest
import torch
from PIL import Image

from physics.chiral import ChiralMagnet
from physics.states import mask_named
from search.given import EDGE, WIDTH, strip
from search.objectives import parse_objective

MAGNET = ChiralMagnet(D=0.6, B=0.2)
UP = torch.zeros(1, 3, 32, 32).index_fill_(1, torch.tensor(2), 1.0)


@pytest.mark.parametrize("shape", ["ring", "square", "wire"])
def test_spins_up_on_the_strip_have_the_largest_correlation_whatever_the_others_do(shape):
    objective = parse_objective({"name": "boundary_max", "shape": shape})
    there = torch.from_numpy(strip(shape, 32))
    assert 0.05 < there.float().mean() < 0.3
    assert objective.score(torch.where(there, UP, -UP), MAGNET) == 1
    assert objective.score(torch.where(there, -UP, UP), MAGNET) == -1


def test_a_ring_is_round_and_a_wire_has_two_edges():
    ring, wire = strip("ring", 64), strip("wire", 64)
    assert np.array_equal(ring, np.rot90(ring)) and not ring[32, 32] and not ring[0, 0]
    assert wire.all(1).sum() == wire.any(1).sum() == 2 * wire[:32].any(1).sum() > 0


def test_a_strip_is_as_long_as_its_shape_is_round():
    areas = {shape: strip(shape, 200).mean() / (EDGE * WIDTH) for shape in ("ring", "square", "wire")}
    assert areas == pytest.approx({"ring": 2 * np.pi, "square": 8, "wire": 2 / EDGE}, rel=0.05)


def test_a_picture_is_a_map_white_up_black_down_and_nothing_where_it_is_transparent(tmp_path):
    picture = np.zeros((32, 32, 4), np.uint8)
    picture[:8] = 255, 255, 255, 255  # its upper rows are the last of the lattice
    picture[8:16] = 0, 0, 0, 255
    Image.fromarray(picture).save(tmp_path / "map.png")
    objective = parse_objective({"name": "boundary_max", "shape": str(tmp_path / "map.png")})
    wanted = torch.zeros(1, 3, 32, 32)
    wanted[:, 2, 24:], wanted[:, 2, 16:24] = 1, -1
    assert objective.score(wanted, MAGNET).item() == pytest.approx(1)
    assert objective.score(UP, MAGNET).item() == pytest.approx(0)


def test_of_a_map_the_numbers_are_weights(tmp_path):
    weights = np.zeros((32, 32))
    weights[0], weights[1] = 0.5, -1.5
    np.save(tmp_path / "map.npy", weights)
    objective = parse_objective({"name": "boundary_max", "shape": str(tmp_path / "map.npy")})
    assert objective.value(UP, MAGNET).item() == pytest.approx((0.5 - 1.5) / (0.5 + 1.5))


def test_the_distance_is_that_from_the_given_state(tmp_path):
    np.save(tmp_path / "up.npy", UP[0].numpy())
    objective = parse_objective({"name": "distance_min", "state": str(tmp_path / "up.npy")})
    assert objective.direction == "min"
    assert objective.value(UP, MAGNET) == 0 and objective.value(-UP, MAGNET) == 1
    lattice = torch.from_numpy(MAGNET.known_states(32)["lattice"]())[None]
    assert parse_objective("distance_min").value(lattice, MAGNET).item() == pytest.approx(0, abs=1e-6)


def test_a_file_counts_by_its_content(tmp_path, monkeypatch):
    path = tmp_path / "state.npy"
    np.save(path, UP[0].numpy())
    monkeypatch.chdir(tmp_path)
    first = parse_objective({"name": "distance_min", "state": "state.npy"})
    assert first.state == str(path)  # from wherever the request is given again
    np.save(tmp_path / "same.npy", UP[0].numpy())
    assert parse_objective({"name": "distance_min", "state": "same.npy"}).recipe() == first.recipe()
    np.save(path, -UP[0].numpy())
    assert parse_objective({"name": "distance_min", "state": "state.npy"}).recipe() != first.recipe()
    with pytest.raises(ValueError, match="expected the file that was searched with"):
        parse_objective(first.model_dump())


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"name": "boundary_max", "shape": "circle"}, "shape: expected a file"),
        ({"name": "distance_min", "state": "none.npy"}, "state: expected a file"),
        ({"name": "distance_min", "state": "nope"}, "state: expected lattice or interstitial or a file"),
    ],
)
def test_what_is_not_there_is_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        parse_objective(settings).check(MAGNET)


@pytest.mark.parametrize("shape", [(3, 32, 32), (1, 16, 16), (2, 16, 16), (4, 3, 16)])
def test_a_state_of_another_lattice_or_with_other_components_is_refused(tmp_path, shape):
    np.save(tmp_path / "up.npy", np.ones(shape))
    with pytest.raises(ValueError, match="expected 3 components or one on 16 x 16 sites"):
        parse_objective({"name": "distance_min", "state": str(tmp_path / "up.npy")}).check_lattice(MAGNET, 16)


def test_a_map_that_is_zero_everywhere_is_refused(tmp_path):
    np.save(tmp_path / "none.npy", np.zeros((32, 32)))
    with pytest.raises(ValueError, match="shape: expected numbers, found zeros alone"):
        parse_objective({"name": "boundary_max", "shape": str(tmp_path / "none.npy")})


def test_a_known_state_is_that_of_the_model_and_lattice_whatever_was_asked_before():
    objective, downward = parse_objective("distance_min"), ChiralMagnet(D=0.6, B=-0.2)
    for model, L in ((MAGNET, 32), (downward, 32), (MAGNET, 48), (MAGNET, 32)):
        objective.check_lattice(model, L)
        lattice = torch.from_numpy(model.known_states(L)["lattice"]())[None]
        assert objective.value(lattice, model).item() == pytest.approx(0, abs=1e-6)


def test_sites_that_do_not_exist_are_no_distance(tmp_path):
    disk = ChiralMagnet(D=0.6, B=0.2, boundary="open", mask=mask_named("disk", 32))
    np.save(tmp_path / "up.npy", disk.on_sites(UP[0]).numpy())
    objective = parse_objective({"name": "distance_min", "state": str(tmp_path / "up.npy")})
    assert objective.value(disk.on_sites(-UP), disk).item() == pytest.approx(1)
