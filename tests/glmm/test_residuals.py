"""Fitted values and residuals of generalised linear mixed models against scipy's distributions."""

from __future__ import annotations

import numpy as np
import pytest
from row_fits import fit, frame
from scipy import stats

from remlax.errors import DataError

LIKELIHOODS = {
    "k-of-n": lambda mu, _: stats.binom(frame()["n"].to_numpy(), mu),
    "poisson": lambda mu, _: stats.poisson(mu),
    "negative-binomial": lambda mu, size: stats.nbinom(size, size / (size + mu)),
    "gamma": lambda mu, size: stats.gamma(size, scale=mu / size),
}
RESPONSES = {"k-of-n": "k", "poisson": "count", "negative-binomial": "over", "gamma": "positive"}


@pytest.mark.parametrize("name", LIKELIHOODS)
def test_residuals_are_those_of_the_distribution(name: str) -> None:
    found, y = fit(name), frame()[RESPONSES[name]].to_numpy(float)
    mean = found.fitted().to_numpy()
    own = LIKELIHOODS[name](mean, found.dispersion)
    trials = frame()["n"].to_numpy() if name == "k-of-n" else 1.0
    np.testing.assert_allclose(found.residuals("response") * trials, y - own.mean(), atol=1e-12)
    np.testing.assert_allclose(found.residuals("pearson"), (y - own.mean()) / own.std(), rtol=1e-9, atol=1e-12)
    density = "logpdf" if name == "gamma" else "logpmf"
    best = np.maximum(y / trials, 1e-300)
    saturated = getattr(LIKELIHOODS[name](best, found.dispersion), density)(y)
    lost = 2 * (saturated - getattr(own, density)(y))
    np.testing.assert_allclose(found.residuals("deviance") ** 2, lost, rtol=1e-8, atol=1e-9)
    assert (np.sign(found.residuals("deviance")) == np.sign(y - own.mean())).all()
    u = stats.norm.cdf(found.residuals("quantile", seed=3))
    below = own.cdf(y) if name == "gamma" else own.cdf(y - 1)
    assert (u >= below - 1e-12).all()
    assert (u <= own.cdf(y) + 1e-12).all()


def test_deviance_residuals_of_zeros_and_ones() -> None:
    found, y = fit("binary"), frame()["y"].to_numpy()
    mean = found.fitted().to_numpy()
    np.testing.assert_allclose(found.residuals() ** 2, -2 * np.where(y == 1, np.log(mean), np.log1p(-mean)), rtol=1e-12)


def test_an_ordinal_response_has_quantile_residuals_only() -> None:
    found, y = fit("ordinal"), frame()["grade"].cat.codes.to_numpy()
    each = found.predict()["estimate"].to_numpy().reshape(-1, 4)
    np.testing.assert_allclose(found.fitted(), each[np.arange(len(y)), y], rtol=1e-12)
    u = stats.norm.cdf(found.residuals("quantile", seed=1))
    cumulative = np.cumsum(each, axis=1)
    assert (u <= cumulative[np.arange(len(y)), y] + 1e-12).all()
    assert (u >= cumulative[np.arange(len(y)), y] - each[np.arange(len(y)), y] - 1e-12).all()
    with pytest.raises(DataError, match="use type='quantile'"):
        found.residuals("pearson")


def test_quantile_residuals_depend_on_the_seed_alone() -> None:
    found = fit("poisson")
    assert found.residuals("quantile", seed=1).equals(found.residuals("quantile", seed=1))
    assert not found.residuals("quantile", seed=1).equals(found.residuals("quantile", seed=2))


def test_augment_has_the_columns_of_the_model() -> None:
    found = fit("gamma").augment()
    assert list(found.columns[:3]) == ["positive", "x", "g"]
    np.testing.assert_allclose(np.exp(found["linear_predictor"]), found["fitted"], rtol=1e-12)
    np.testing.assert_allclose(found["deviance_residual"], fit("gamma").residuals("deviance"))


def test_the_root_mean_square_is_refused() -> None:
    with pytest.raises(DataError, match="linear mixed models"):
        fit("gamma").rmse()
