"""Predictions of generalised linear mixed models: brute-force integrals, finite differences, invariances."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from row_fits import fit, frame
from scipy import integrate, stats

from remlax.errors import DataError
from remlax.predict.mean_response import averaged

INVERSE = {
    "logit": lambda e: 1 / (1 + np.exp(-e)),
    "probit": stats.norm.cdf,
    "cloglog": lambda e: -np.expm1(-np.exp(e)),
    "log": np.exp,
}


@pytest.mark.parametrize("link", INVERSE)
@pytest.mark.parametrize("spread", [0.3, 1.5])
def test_averages_over_random_effects_are_integrals(link: str, spread: float) -> None:
    def mean(eta: float, v: float) -> float:
        def inside(z: float) -> float:
            return float(INVERSE[link](eta + np.sqrt(v) * z) * stats.norm.pdf(z))

        return integrate.quad(inside, -9, 9, epsabs=1e-13, epsrel=1e-12)[0]

    for eta in (-1.2, 0.4):
        found = averaged(link, np.array([eta]), np.array([spread]))
        assert found.mean[0] == pytest.approx(mean(eta, spread), rel=2e-6)
        step = 1e-3
        by_eta = (mean(eta + step, spread) - mean(eta - step, spread)) / (2 * step)
        by_spread = (mean(eta, spread + step) - mean(eta, spread - step)) / (2 * step)
        assert found.d1[0] == pytest.approx(by_eta, rel=2e-5)
        assert found.d2[0] == pytest.approx(by_spread, rel=2e-4, abs=1e-6)


def test_predictions_are_the_fitted_values() -> None:
    for name in ("binary", "poisson", "gamma"):
        np.testing.assert_allclose(fit(name).predict()["estimate"], fit(name).fitted(), rtol=1e-12)
        again = fit(name).predict(frame().sample(frac=1, random_state=1)).loc[frame().index]
        np.testing.assert_allclose(again["estimate"], fit(name).fitted(), rtol=1e-12)


def test_the_link_scale_is_the_linear_combination() -> None:
    found = fit("poisson")
    new = pd.DataFrame({"x": [0.0, 2.0], "g": ["g03", "g07"]})
    beta, b = found.fixef(), found.ranef()["g"]
    eta = [beta["Intercept"] + b.loc["g03", "Intercept"]]
    eta.append(beta["Intercept"] + 2 * beta["x"] + b.loc["g07", "Intercept"] + 2 * b.loc["g07", "x"])
    np.testing.assert_allclose(found.predict(new, scale="link")["estimate"], eta, rtol=1e-12)
    np.testing.assert_allclose(found.predict(new)["estimate"], np.exp(eta), rtol=1e-12)


def test_population_errors_are_those_of_the_coefficients() -> None:
    found = fit("binary")
    table = found.predict(frame().head(5), level="population", scale="link", interval="confidence")
    f = frame()["f"].head(5)
    x = np.column_stack([np.ones(5), frame()["x"].head(5), f == "b", f == "c"])
    error = np.sqrt(np.einsum("ri,ij,rj->r", x, found.vcov().to_numpy(), x))
    np.testing.assert_allclose(table["std_error"], error, rtol=1e-10)
    np.testing.assert_allclose(table["conf_high"], table["estimate"] + stats.norm.ppf(0.975) * error, rtol=1e-10)
    back = found.predict(frame().head(5), level="population", interval="confidence")
    np.testing.assert_allclose(back["conf_high"], INVERSE["logit"](table["conf_high"]), rtol=1e-12)


def log_posterior(b: np.ndarray, eta: np.ndarray, y: np.ndarray, sd: float) -> np.ndarray:
    """Log-likelihood of one group's zeros and ones and the density of its effect, at effects (m,)."""
    at = eta[:, None] + b
    return (y[:, None] * at - np.logaddexp(0, at)).sum(axis=0) - b**2 / (2 * sd**2)


def mode_of(eta: np.ndarray, y: np.ndarray, sd: float) -> float:
    """Conditional mode by Newton's method."""
    b = 0.0
    for _ in range(50):
        mu = INVERSE["logit"](eta + b)
        b += ((y - mu).sum() - b / sd**2) / ((mu * (1 - mu)).sum() + 1 / sd**2)
    return b


def test_conditional_errors_count_the_modes_and_how_they_move() -> None:
    """The delta method by finite differences of modes that are found here."""
    found = fit("binary")
    fitted, f = found.selection.fitted, frame()["f"]
    x = np.column_stack([np.ones(len(f)), frame()["x"], f == "b", f == "c"])
    group = (frame()["g"] == "g05").to_numpy()
    y = frame()["y"].to_numpy()[group]
    sd, beta = float(found.theta[0]), found.fixef().to_numpy()

    def prediction(parameters: np.ndarray) -> float:
        own = x[group] @ parameters[1:]
        return float(own[0] + mode_of(own, y, parameters[0]))

    at, step = np.r_[sd, beta], 1e-5
    gradient = [(prediction(at + step * e) - prediction(at - step * e)) / (2 * step) for e in np.eye(5)]
    root = np.zeros((5, 5))
    root[0, 0] = sd / fitted.inner[0, 0]
    root[1:, 1:] = fitted.model.inverse[0]
    joint = root @ fitted.joint[0] @ root.T
    mu = INVERSE["logit"](x[group] @ beta + mode_of(x[group] @ beta, y, sd))
    own = 1 / ((mu * (1 - mu)).sum() + 1 / sd**2)
    table = found.predict(frame()[group].head(1), scale="link", interval="confidence")
    assert table["estimate"].iloc[0] == pytest.approx(prediction(at), rel=1e-8)
    assert table["std_error"].iloc[0] ** 2 == pytest.approx(gradient @ joint @ gradient + own, rel=1e-6)


@pytest.mark.parametrize("name", ["binary", "k-of-n", "poisson"])
def test_average_errors_are_by_the_delta_method_over_theta_and_beta(name: str) -> None:
    found = fit(name)
    fitted, k = found.selection.fitted, 0
    rows = frame().head(3)
    table = found.predict(rows.drop(columns="g"), level="average", interval="confidence")
    x = np.column_stack([np.ones(3), rows["x"], *([rows["f"] == "b", rows["f"] == "c"] if name == "binary" else [])])
    z = x[:, :2] if name == "poisson" else x[:, :1]
    d = fitted.theta_map.n_theta

    def mean(parameters: np.ndarray) -> np.ndarray:
        root = np.zeros((z.shape[1], z.shape[1]))
        root[tuple(reversed(np.triu_indices(len(root))))] = fitted.model.outer_theta(parameters[None, :d])[0]
        eta, v = x @ fitted.model.inverse[k] @ parameters[d:], ((z @ root) ** 2).sum(axis=1)
        return averaged(found.link, eta, v).mean

    at = np.r_[fitted.inner[k], np.linalg.solve(fitted.model.inverse[k], fitted.beta[k])]
    np.testing.assert_allclose(table["estimate"], mean(at), rtol=1e-10)
    step = 1e-5
    gradient = np.stack([(mean(at + step * e) - mean(at - step * e)) / (2 * step) for e in np.eye(len(at))], axis=1)
    error = np.sqrt(np.einsum("ri,ij,rj->r", gradient, fitted.joint[k], gradient))
    np.testing.assert_allclose(table["std_error"], error, rtol=1e-6)


def test_new_groups_add_the_variance_of_their_effects() -> None:
    found = fit("binary")
    new = frame().head(2).assign(g="new")
    with pytest.raises(DataError, match="new_levels='mean'"):
        found.predict(new)
    mean = found.predict(new, scale="link", new_levels="mean", interval="confidence")
    drawn = found.predict(new, scale="link", new_levels="draw", interval="confidence")
    np.testing.assert_allclose(drawn["std_error"] ** 2 - mean["std_error"] ** 2, found.theta[0] ** 2, rtol=1e-10)
    np.testing.assert_allclose(drawn["estimate"], mean["estimate"])


def test_probabilities_of_categories_add_up() -> None:
    found = fit("ordinal")
    for level in ("group", "population", "average"):
        table = found.predict(frame().head(4), level=level, interval="confidence")
        assert table.index.tolist() == np.repeat(range(4), 4).tolist()
        assert table["category"].tolist() == ["low", "fair", "good", "best"] * 4
        np.testing.assert_allclose(table["estimate"].to_numpy().reshape(4, 4).sum(axis=1), 1.0, rtol=1e-12)
        assert ((table["conf_low"] < table["estimate"]) & (table["estimate"] < table["conf_high"])).all()


def test_errors_of_probabilities_are_by_the_delta_method_over_thresholds() -> None:
    found = fit("ordinal")
    fitted, rows = found.selection.fitted, frame().head(3)
    table = found.predict(rows, level="population", interval="confidence")

    def probabilities(parameters: np.ndarray) -> np.ndarray:
        eta = rows["x"].to_numpy() * fitted.model.inverse[0, 0, 0] * parameters[0]
        below = INVERSE["logit"](parameters[1:] - eta[:, None])
        return np.diff(below, axis=1, prepend=0, append=1).reshape(-1)

    at = np.r_[fitted.beta[0] / fitted.model.inverse[0, 0], fitted.shape[0]]
    np.testing.assert_allclose(table["estimate"], probabilities(at), rtol=1e-10)
    step = 1e-5
    gradient = np.stack(
        [(probabilities(at + step * e) - probabilities(at - step * e)) / (2 * step) for e in np.eye(4)], axis=1
    )
    error = np.sqrt(np.einsum("ri,ij,rj->r", gradient, fitted.joint[0][1:, 1:], gradient))
    np.testing.assert_allclose(table["std_error"], error, rtol=1e-6)


def test_simulated_intervals_agree_with_the_formulas() -> None:
    found = fit("poisson")
    drawn = found.predict_interval(frame().head(4), n_sims=20_000, seed=1)
    exact = found.predict(frame().head(4), interval="confidence")
    np.testing.assert_allclose(drawn["estimate"], exact["estimate"], rtol=0.02)
    np.testing.assert_allclose(
        np.log(drawn[["conf_low", "conf_high"]]), np.log(exact[["conf_low", "conf_high"]]), atol=0.03
    )
    link = found.predict_interval(frame().head(4), n_sims=50, seed=1, scale="link")
    once = found.predict_interval(frame().head(4), n_sims=50, seed=1, return_draws=True)
    np.testing.assert_allclose(np.exp(link["estimate"]), once.median(axis=1), rtol=0.05)


def test_draws_of_coefficients_have_their_covariance() -> None:
    found = fit("binary")
    drawn = found.sim_fixef(n_sims=20_000, seed=1).set_index("term")
    np.testing.assert_allclose(drawn["sd"], np.sqrt(np.diag(found.vcov())), rtol=0.03)
    ratios = found.sim_fixef(n_sims=20_000, seed=1, exponentiate=True).set_index("term")
    np.testing.assert_allclose(ratios["median"], np.exp(drawn["median"]), rtol=1e-3)
    with pytest.raises(DataError, match="no logarithms"):
        fit("k-of-n").sim_fixef(exponentiate=True)


def test_what_has_no_meaning_is_refused() -> None:
    with pytest.raises(DataError, match=r"rx\.simulate"):
        fit("binary").predict(interval="prediction")
    with pytest.raises(DataError, match="averages probabilities"):
        fit("ordinal").predict(level="average", scale="link")
    with pytest.raises(DataError, match="scale="):
        fit("binary").predict(scale="odds")
