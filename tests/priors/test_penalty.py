"""Penalties of priors: values against dense densities in the user's columns, derivatives against finite differences."""

from __future__ import annotations

from typing import Any

import jax
import numpy as np
import pytest
from scipy import stats

from remlax import priors
from remlax.engine.programs import float64
from remlax.errors import DataError
from remlax.kernels.theta import ThetaMap, reversed_theta
from remlax.priors.distributions import PRIORS, read_cov_prior
from remlax.priors.penalty import Penalty, TermPenalty

# a factor with a term of two columns and one of one, and a factor of one column
MAP = ThetaMap((3, 1), (0, 0, 0, 0, 1), (0, 1, 1, 2, 0), (0, 0, 1, 2, 0))
OUTSIDE = np.array([[0.7, -1.3], [0.0, 2.1]])
THETA = np.array([[0.8, -0.4, 0.6, 0.3, 1.7], [-0.8, 0.4, 0.6, 0.3, -1.7]])
SEVERAL: dict[str, priors.CovPrior] = {
    "wishart": priors.Wishart(),
    "wishart-scale": priors.Wishart(df=5.0, scale=1.7),
    "invwishart": priors.InverseWishart(),
    "invwishart-scale": priors.InverseWishart(df=4.0, scale=0.6),
}
SINGLE: dict[str, priors.CovPrior] = {
    "gamma": priors.Gamma(),
    "gamma-rate": priors.Gamma(shape=3.0, rate=0.8),
    "gamma-var": priors.Gamma(shape=2.0, rate=0.5, posterior_scale="var"),
}


def term(prior: priors.CovPrior, factor: int, start: int, outside: np.ndarray) -> TermPenalty:
    q = len(outside)
    factors = prior.factors(q, "(x | g)", has_sigma=True)
    return TermPenalty.of((factor, start, q), factors, outside, np.linalg.inv(outside))


def penalty(prior: priors.CovPrior) -> Penalty:
    last = (term(prior, 0, 2, np.array([[1.4]])), term(prior, 1, 0, np.array([[0.2]])))
    return Penalty(MAP, last if isinstance(prior, priors.Gamma) else (term(prior, 0, 0, OUTSIDE), *last))


def covariances(theta: np.ndarray) -> list[np.ndarray]:
    """Covariance matrices of the user's effects, term by term."""
    lam = np.array([[theta[0], 0.0], [theta[1], theta[2]]])
    return [OUTSIDE @ lam @ lam.T @ OUTSIDE.T, np.array([[(1.4 * theta[3]) ** 2]]), np.array([[(0.2 * theta[4]) ** 2]])]


def log_density(prior: priors.CovPrior, cov: np.ndarray) -> float:
    """Log density, by SciPy where it is proper."""
    q = len(cov)
    if isinstance(prior, priors.Gamma):
        value = np.sqrt(cov[0, 0]) if prior.posterior_scale == "sd" else cov[0, 0]
        if not prior.rate:
            return float((prior.shape - 1) * np.log(value))
        return float(stats.gamma.logpdf(value, prior.shape, scale=1 / prior.rate))
    if isinstance(prior, priors.InverseWishart):
        df = q - 0.998 if prior.df is None else prior.df
        scale = df + 0.1 if prior.scale is None else prior.scale
        # scipy has df >= q only: a density without constants
        return float(-(df + q + 1) / 2 * np.linalg.slogdet(cov)[1] - scale * np.trace(np.linalg.inv(cov)) / 2)
    if np.isinf(prior.scale):
        df = q + 2.5 if prior.df is None else prior.df
        return float((df - q - 1) / 2 * np.linalg.slogdet(cov)[1])
    return float(stats.wishart.logpdf(cov, prior.df, prior.scale * np.eye(q)))


@pytest.mark.parametrize("name", [*SEVERAL, *SINGLE])
def test_differences_are_those_of_the_density_in_the_columns_of_the_user(name: str) -> None:
    prior = {**SEVERAL, **SINGLE}[name]
    other = np.array([0.5, 0.3, 1.2, 0.9, 0.4])
    skipped = isinstance(prior, priors.Gamma)
    expected = [-2 * sum(log_density(prior, c) for c in covariances(at)[skipped:]) for at in (THETA[0], other)]
    found = penalty(prior).value(np.stack([THETA[0], other]))
    np.testing.assert_allclose(found[1] - found[0], expected[1] - expected[0], rtol=1e-12)


@pytest.mark.parametrize("name", [*SEVERAL, *SINGLE])
def test_derivatives_are_those_of_finite_differences(name: str) -> None:
    own = penalty({**SEVERAL, **SINGLE}[name])
    steps = np.eye(5) * 1e-5
    for at in THETA:
        with float64():
            derivatives = jax.jit(own.derivatives)
            found = derivatives(at)
            grads = np.stack([derivatives(at + step).grad - derivatives(at - step).grad for step in steps])
        np.testing.assert_allclose(found.value, own.value(at), rtol=1e-12)
        slope = (own.value(at + steps) - own.value(at - steps)) / 2e-5
        np.testing.assert_allclose(found.grad, slope, rtol=1e-7, atol=1e-7)
        np.testing.assert_allclose(found.hess, grads / 2e-5, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("name", list(SEVERAL))
def test_columns_in_the_opposite_order_are_the_same_prior(name: str) -> None:
    own = penalty(SEVERAL[name])
    there = own.reversed().value(reversed_theta(THETA, MAP))
    np.testing.assert_allclose(there - there[0], own.value(THETA) - own.value(THETA)[0], atol=1e-12)
    other = np.array([[0.5, 0.3, 1.2, 0.9, 0.4]])
    rise = own.reversed().value(reversed_theta(other, MAP)) - there[0]
    np.testing.assert_allclose(rise, own.value(other) - own.value(THETA)[0], rtol=1e-12)


def test_the_default_of_blme_is_minus_three_log_theta() -> None:
    own = Penalty(MAP, (term(priors.Wishart(), 0, 0, OUTSIDE), term(priors.Gamma(), 1, 0, np.eye(1))))
    np.testing.assert_allclose(own.value(THETA), -3 * np.log(np.abs(THETA[:, [0, 2, 4]])).sum(axis=1), rtol=1e-14)


def test_names_stand_for_the_defaults() -> None:
    assert [read_cov_prior(name) for name in PRIORS] == [priors.Wishart(), priors.InverseWishart(), priors.Gamma()]
    assert read_cov_prior(None) is None
    assert read_cov_prior(priors.Wishart(4.0)) == priors.Wishart(df=4.0)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: read_cov_prior("flat"), "cov_prior='flat' is not known: use 'wishart', 'invwishart', 'gamma', or"),  # type: ignore[arg-type]
        (lambda: read_cov_prior(3), "cov_prior=3 is not known"),  # type: ignore[arg-type]
        (lambda: priors.Wishart(df=-1.0), r"df=-1\.0 must be a positive number"),
        (lambda: priors.Wishart(scale=0.0), r"scale=0\.0 must be a positive number"),
        (lambda: priors.InverseWishart(scale=np.inf), "scale=inf must be a finite number"),
        (lambda: priors.Gamma(shape=1.0), r"shape=1\.0 must be above 1"),
        (lambda: priors.Gamma(rate=-1.0), r"rate=-1\.0 must be 0 or more|rate=-1\.0 must be"),
        (lambda: priors.Gamma(posterior_scale="cov"), "posterior_scale='cov' is not known: use 'sd' or 'var'"),  # type: ignore[arg-type]
        (lambda: priors.Gamma().factors(2, "(x | g)", has_sigma=True), r"gamma prior .* \(x \| g\) has 2"),
        (lambda: priors.Wishart(df=3.0).factors(2, "(x | g)", has_sigma=True), "df=3, .* above 3 only"),
        (lambda: priors.InverseWishart(df=1.0).factors(2, "(x | g)", has_sigma=True), "df=1, .* above 1"),
    ],
)
def test_other_parameters_are_refused(make: Any, message: str) -> None:
    with pytest.raises(DataError, match=message):
        make()
