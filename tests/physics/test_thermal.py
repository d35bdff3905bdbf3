import numpy as np
import pytest

from physics import thermal


def test_a_fluctuation_of_normal_numbers_is_their_variance_and_its_error_that_of_repetitions():
    response = thermal.fluctuation("e", "C", lambda T: T**-2)
    rng = np.random.default_rng(1)
    found = [thermal.jackknife(response, {"e": 5 + 0.1 * rng.standard_normal(1000)}, 0.5, 64) for _ in range(300)]
    values, errors = np.array(found).T
    assert values.mean() == pytest.approx(64 * 0.01 / 0.25, abs=4 * values.std() / 300**0.5)
    assert errors.mean() == pytest.approx(values.std(), rel=0.1)


def test_the_jackknife_takes_the_bias_of_a_square_away():
    square = thermal.Response(lambda columns, T, N: float(columns["x"].mean() ** 2), ("x",), "")
    x = np.random.default_rng(2).standard_normal((400, 40))
    found = [thermal.jackknife(square, {"x": row}, 1.0, 1).value for row in x]
    plain = (x.mean(1) ** 2).mean()
    assert abs(np.mean(found)) < 0.2 * plain


@pytest.mark.parametrize("memory", [0.0, 0.5, 0.9])
def test_the_correlation_time_of_an_autoregressive_chain(memory):
    rng = np.random.default_rng(3)
    chain = np.zeros((4000, 16))
    for t in range(1, len(chain)):
        chain[t] = memory * chain[t - 1] + rng.standard_normal(16)
    expected = 0.5 * (1 + memory) / (1 - memory)
    assert thermal.autocorrelation_time(chain[200:]) == pytest.approx(expected, rel=0.1)
