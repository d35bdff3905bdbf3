from types import SimpleNamespace

import pytest
from driving import HYBRID

from orchestrator.errors import RequestError
from orchestrator.training.selection import alike, chosen, one, told_apart
from orchestrator.training.trained import TrainedModel


def weights(names, store):
    return [[TrainedModel(name, store).card["config"]["model"][key] for key in ("beta", "gamma")] for name in names]


def test_trainings_of_a_sweep_are_chosen_by_what_tells_them_apart(swept):
    config, store = swept
    found = chosen([f"{config.name}:beta=1e-4,gamma=0,gamma=100,seed=1"], store)
    assert weights(found, store) == [[1e-4, 0], [1e-4, 100]]
    assert {TrainedModel(name, store).card["config"]["seed"] for name in found} == {1}
    every = chosen([f"{config.name}:"], store)
    assert len(every) == len(store.names("models"))
    assert chosen([f"{config.name}:gamma=100,seed=1", every[0]], store) == [found[1], every[0]]
    assert one(f"{config.label}-:gamma=100,seed=1", store) == found[1]
    assert chosen([found[0], found[0][-6:]], store) == found[:1]


@pytest.mark.parametrize(
    ("conditions", "said"),
    [
        ("gama=1", "gama: unknown key, did you mean gamma?"),
        ("gamma", "expected SWEEP:KEY=VALUE,..., found gamma"),
        ("gamma=7", "gamma: expected one of 0, 1, 10, .*found 7"),
        ("gamma=1,gamma=7,gamma=10", "gamma: expected one of 0, 1, 10, .*found 7$"),
        ("seed=0,gamma=x", "gamma: expected one of 0, .*, found x"),
        ("model=x", "model: unknown key"),
        ("gamma={", "gamma={: not readable as YAML"),
    ],
)
def test_conditions_that_no_training_meets_are_one_line(conditions, said, swept):
    config, store = swept
    with pytest.raises(RequestError, match=said) as error:
        chosen([f"{config.name}:{conditions}"], store)
    assert "\n" not in str(error.value)


def test_one_model_is_expected_where_there_may_be_one(swept):
    config, store = swept
    with pytest.raises(RequestError, match="expected one model, found 2, such as evae-2021"):
        one(f"{config.name}:gamma=1", store)
    with pytest.raises(RequestError, match="nope: no such sweep"):
        one("nope:gamma=1", store)


def test_models_are_told_apart_by_the_settings_that_differ(swept):
    config, store = swept
    models = alike(chosen([f"{config.name}:beta=1e-4,gamma=0,gamma=100,seed=1"], store), store)
    assert told_apart(models) == ["gamma 0", "gamma 100"]
    models = alike(chosen([f"{config.name}:gamma=100,gamma=1"], store), store)
    assert {"gamma 1, seed 0", "gamma 100, seed 1"} <= {*told_apart(models)}
    assert told_apart([models[0], models[0]]) == [models[0].name] * 2


def test_models_of_several_systems_are_told_apart_by_their_names():
    def like(name, seed):
        return SimpleNamespace(name=f"{name}-{seed}", card={"config": {"model": {"name": name, name: 1}, "seed": seed}})

    assert told_apart([like("vae", 0), like("gan", 0)]) == ["vae", "gan"]
    models = [like("vae", 0), like("vae", 1), like("gan", 0)]
    assert told_apart(models) == ["vae, seed 0", "vae, seed 1", "gan"]


def test_models_of_other_data_are_refused(swept, trained):
    _, store = swept
    assert alike([HYBRID.name], trained)[0].name == HYBRID.name
    with pytest.raises(RequestError, match="no model"):
        alike([store.names("models")[0], HYBRID.name], store)
