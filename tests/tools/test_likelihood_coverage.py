"""The table of coverage: its densities are exact, its fractions those of 95 % intervals."""

import sys

import jax
import numpy as np
import pytest

from likelihood import log_likelihood
from sde_lib import VPSDE
from tools import likelihood_coverage


@pytest.mark.slow
def test_the_turned_gaussian_is_exact():
    """Its own density, by the flow of its own prediction; and its axes are turned."""
    data, process = likelihood_coverage.datasets()["Gaussian"], VPSDE()
    x = data.sample(jax.random.key(0), 16)
    found = log_likelihood(jax.random.key(1), process, data, x, probe="exact")
    want = likelihood_coverage.exact_density(process, data, x, found.latent)
    np.testing.assert_allclose(found.value, want, atol=6e-3)
    assert abs(np.corrcoef(np.asarray(data.sample(jax.random.key(2), 4000)).T)[0, 1:]).max() > 0.1


def test_intervals_cover():
    """Of 400 points, 5 sigma is 5.4 %."""
    data = likelihood_coverage.datasets()["Gaussian"]
    fraction, mean = likelihood_coverage.coverage(VPSDE(), data, "gaussian", 400, 32, 0)
    assert 0.89 < fraction < 1.0
    assert abs(mean) < 0.3


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--points", "0"], "points: got 0, expected at least 1"),
        (["--probes", "1"], "probes: got 1, expected at least 2"),
    ],
)
def test_bad_counts_are_refused(arguments, message, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["likelihood_coverage", *arguments])
    with pytest.raises(SystemExit):
        likelihood_coverage.run()
    assert message in capsys.readouterr().err
