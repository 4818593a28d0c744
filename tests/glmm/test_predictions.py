"""Predictions of generalised linear mixed models: brute-force integrals, finite differences, invariances."""

from __future__ import annotations

from typing import Literal

import numpy as np
import pandas as pd
import pytest
from row_fits import fit, frame
from scipy import integrate, stats

import remlax as rx
from remlax.errors import DataError
from remlax.fitting.responses.distribution import inverse_link
from remlax.predict.glmm_error import covariance_of, row_gradients
from remlax.predict.mean_response import averaged, averaged_on_link, linear
from remlax.predict.newdata import include_level, rows_of_fit

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


@pytest.mark.parametrize("link", INVERSE)
def test_links_of_averages_are_finite_where_the_averages_round_to_one(link: str) -> None:
    eta, spread = np.array([-1.2, 0.4, 1.1]), np.array([0.3, 1.5, 0.8])
    plain, found = averaged(link, eta, spread), averaged_on_link(link, eta, spread)
    slope = inverse_link(link, found.mean).d1
    np.testing.assert_allclose(inverse_link(link, found.mean).mean, plain.mean, rtol=1e-12)
    np.testing.assert_allclose(found.d1 * slope, plain.d1, rtol=1e-12)
    np.testing.assert_allclose(found.d2 * slope, plain.d2, rtol=1e-10, atol=1e-14)
    if link in ("logit", "cloglog"):
        # far in a tail the inverse link is the exponential function
        low = averaged_on_link(link, np.array([-60.0]), np.array([1.5]))
        np.testing.assert_allclose([low.mean[0], low.d1[0], low.d2[0]], [-60 + 0.75, 1.0, 0.5], rtol=1e-9)
    if link == "logit":
        high = averaged_on_link(link, np.array([60.0]), np.array([1.5]))
        np.testing.assert_allclose([high.mean[0], high.d1[0], high.d2[0]], [60 - 0.75, 1.0, -0.5], rtol=1e-9)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("name", ["binary", "ordinal"])
@pytest.mark.parametrize("level", ["average", "population"])
def test_limits_are_finite_far_from_the_data(name: str, level: Literal["average", "population"]) -> None:
    found = fit(name)
    reach = 60 / found.fixef()["x"]
    new = pd.DataFrame({"x": [-20 * reach, -reach, reach, 20 * reach], "f": "a"})
    table = found.predict(new, level=level, interval="confidence")
    limits = table[["conf_low", "estimate", "conf_high"]].to_numpy()
    assert np.isfinite(limits).all()
    assert (np.diff(limits, axis=1) >= 0).all()
    near = limits.reshape(4, -1, 3)[1, -1]  # an event, or the last category, 60 down: by its logarithm
    if level == "population" and name == "binary":
        z = stats.norm.ppf(0.975) * found.predict(new, level=level, scale="link", interval="confidence")["std_error"][1]
        np.testing.assert_allclose(np.log(near), np.log(near[1]) + np.array([-z, 0.0, z]), rtol=1e-9)
    assert 0 < near[0] < near[1] < near[2] < 1e-10


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
        eta = (rows["x"].to_numpy() - fitted.centre[0, 0]) * fitted.model.inverse[0, 0, 0] * parameters[0]
        below = INVERSE["logit"](parameters[1:] - eta[:, None])
        return np.diff(below, axis=1, prepend=0, append=1).reshape(-1)

    at = np.r_[fitted.beta[0] / fitted.model.inverse[0, 0], fitted.inner_shape(0)]
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


# glmmTMB 1.1.5, predict(m, se.fit = TRUE, type = "link") of rows 1 to 3, then of rows 1 and 2 in a new group
GLMMTMB = {
    "binary": (
        [-0.558037976959, -1.632888187557, -0.201316381633, -0.2294438469, -1.3042940575],
        [0.650778900648, 0.735510753474, 0.629580360123, 1.27263994369, 1.29233105208],
    ),
    "negative-binomial": (
        [0.781298422469, 0.520200975569, 1.057960050764, 0.690742778752, 0.429645331852],
        [0.225592637550, 0.239562940371, 0.217084203308, 0.337305779233, 0.346566211824],
    ),
    "poisson": (
        [0.570792286665, 0.421335590366, 0.729158189696, 0.499513179137, 0.216830573169],
        [0.270946350872, 0.347743613650, 0.209462946632, 0.499971802630, 0.590427385287],
    ),
}


@pytest.mark.parametrize("name", GLMMTMB)
def test_errors_are_those_of_glmmtmb(name: str) -> None:
    known = fit(name).predict(frame().head(3), scale="link", interval="confidence")
    new = fit(name).predict(frame().head(2).assign(g="?"), scale="link", interval="confidence", new_levels="draw")
    both = pd.concat([known, new])
    np.testing.assert_allclose(both["estimate"], GLMMTMB[name][0], rtol=1e-5)
    np.testing.assert_allclose(both["std_error"], GLMMTMB[name][1], rtol=1e-5)


@pytest.mark.slow
def test_errors_of_crossed_factors_are_those_of_dense_matrices() -> None:
    n = len(frame())
    rng, item = np.random.default_rng(3), np.tile(np.arange(8), n // 8)
    chance = INVERSE["logit"](frame()["x"] / 2 + rng.normal(size=8)[item] + rng.normal(size=20)[np.arange(n) // 10])
    data = frame().assign(item=[f"i{j}" for j in item], z=(rng.random(n) < chance).astype(int))
    found = rx.glmer("z ~ x + (1 | g) + (1 | item)", data)
    fitted, sd = found.selection.fitted, found.varcorr().set_index("group")["sdcor"]
    z = np.concatenate([pd.get_dummies(data[name]).to_numpy(float) * sd[name] for name in ("g", "item")], axis=1)
    mean = found.fitted().to_numpy()
    m = z.T @ ((mean * (1 - mean))[:, None] * z) + np.eye(z.shape[1])
    frame_rows = rows_of_fit(found.selection, include_level(fitted, "group")).frame(0)
    by = linear(np.zeros(n), fitted.shape[0])
    given = row_gradients(fitted, frame_rows, by, np.zeros((n, 2)), slice(0, n)).effects
    through = covariance_of(fitted, 0, given)
    own = sum(np.einsum("jlq,jlq->j", left, right) for left, right in zip(given, through, strict=True))
    np.testing.assert_allclose(own, np.einsum("ri,ri->r", z, np.linalg.solve(m, z.T).T), rtol=1e-8)
    drawn = found.predict_interval(data.head(3), n_sims=10_000, seed=1, scale="link", return_draws=True)
    table = found.predict(data.head(3), scale="link", interval="confidence")
    np.testing.assert_allclose(drawn.std(axis=1), table["std_error"], rtol=0.04)
