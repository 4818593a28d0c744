"""Empirical covariances, predictions, residuals, draws and comparisons, against dense algebra; and what is refused."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import jax
import numpy as np
import pandas as pd
import pytest
from mmrm_cases import dense_criterion, patients, slopes, trial

import remlax as rx
from remlax.errors import DataError, PoolingWarning, quiet
from remlax.inference.likelihood import loglik_at_means, maximum_likelihood, stacked_loglik
from remlax.inference.mmrm.choice import mmrm_fitted
from remlax.mmrm.structures import covariance

FORMULA = "y ~ x + visit + us(visit | id)"


@cache
def fit() -> rx.MmrmFit:
    return rx.mmrm(FORMULA, trial(), weights="w")


@cache
def fits(fixed: str = "x + visit", structure: str = "us") -> rx.MmrmFitList:
    data = trial(missing=0.0, n=24)
    rng = np.random.default_rng(5)
    noise = [data.assign(y=data["y"] + 0.4 * rng.normal(size=len(data)) * (data.index % 3 == 2)) for _ in range(3)]
    return rx.mmrm_list(f"y ~ {fixed} + {structure}(visit | id)", noise)


def columns(data: pd.DataFrame) -> np.ndarray:
    visit = data["visit"].to_numpy()
    return np.column_stack([np.ones(len(data)), data["x"], visit == "v2", visit == "v3"]).astype(float)


def blocks() -> list[tuple[Any, ...]]:
    """Rows, covariance and columns of every patient."""
    data, sigma, out = trial(), fit().residual_covariance().to_numpy(), []
    for _, own in data.groupby("id"):
        at = own.index.to_numpy()
        visit = np.array([int(v[1]) - 1 for v in own["visit"]])
        root = np.sqrt(own["w"].to_numpy())
        out.append((at, sigma[np.ix_(visit, visit)] / np.outer(root, root), columns(data)[at]))
    return out


def test_the_optimum_is_that_of_the_dense_criterion() -> None:
    data = trial()
    rows = patients(data, columns(data), data["w"].to_numpy())
    value, beta, cov = dense_criterion(fit().residual_covariance().to_numpy(), rows, 4, reml=True)
    np.testing.assert_allclose(fit().criterion(), value, rtol=1e-12)
    np.testing.assert_allclose(fit().fixef(), beta, rtol=1e-8)
    np.testing.assert_allclose(fit().vcov(), cov, rtol=1e-8)


@pytest.mark.parametrize("kind", ["CR0", "CR2"])
def test_empirical_covariances_are_sandwiches_over_patients(kind: str) -> None:
    residual = fit().residuals().to_numpy()
    bread = fit().vcov().to_numpy()
    meat = np.zeros((4, 4))
    for at, v, x in blocks():
        adjusted = np.eye(len(at))
        if kind == "CR2":
            root = np.linalg.cholesky(v)
            inner = root.T @ (v - x @ bread @ x.T) @ root
            size, axes = np.linalg.eigh(inner)
            adjusted = root @ (axes / np.sqrt(size)) @ axes.T @ root.T
        score = x.T @ np.linalg.solve(v, adjusted @ residual[at])
        meat += np.outer(score, score)
    np.testing.assert_allclose(fit().vcov(vcov=kind), bread @ meat @ bread, rtol=1e-6)  # type: ignore[arg-type]
    assert (fit().tidy(vcov=kind)["df"] < 35).all()  # type: ignore[arg-type]


def test_augmented_data_have_means_and_residuals_of_observed_visits() -> None:
    data = trial()
    gone = data.index[[3, 40]]
    given = data.assign(y=data["y"].mask(data.index.isin(gone)), unused=1)
    with quiet(rx.errors.DroppedRowsWarning):
        one = rx.mmrm(FORMULA, given, weights="w")
    table = one.augment()
    assert table.index.tolist() == data.index.drop(gone).tolist()
    assert table.columns[:5].tolist() == ["y", "x", "visit", "id", "w"]
    x = columns(data.drop(gone))
    np.testing.assert_allclose(table["fitted"], x @ one.fixef().to_numpy(), rtol=1e-10)
    np.testing.assert_allclose(table["std_error"] ** 2, np.diag(x @ one.vcov().to_numpy() @ x.T), rtol=1e-8)
    np.testing.assert_allclose(table["residual"], table["y"] - table["fitted"], rtol=1e-10)
    sigma = one.residual_covariance().to_numpy()
    for _, own in table.groupby("id"):
        visit = np.array([int(v[1]) - 1 for v in own["visit"]])
        v = sigma[np.ix_(visit, visit)] / np.sqrt(np.outer(own["w"], own["w"]))
        np.testing.assert_allclose(own["pearson_residual"], own["residual"] / np.sqrt(np.diag(v)), rtol=1e-8)
        whitened = np.linalg.inv(np.linalg.cholesky(v)) @ own["residual"].to_numpy()
        np.testing.assert_allclose(own["normalized_residual"], whitened, rtol=1e-8)


def test_augmented_data_of_a_pooled_model_are_means() -> None:
    pooled = fits().pool()
    table = pooled.augment(per_imputation=True)
    each = [one.augment() for one in fits()]
    np.testing.assert_allclose(table["pearson_residual"], np.mean([e["pearson_residual"] for e in each], axis=0))
    np.testing.assert_allclose(table["fitted_2"], each[1]["fitted"])
    between = np.var([e["fitted"] for e in each], axis=0, ddof=1)
    within = np.mean([e["std_error"] ** 2 for e in each], axis=0)
    np.testing.assert_allclose(table["std_error"] ** 2, within + 4 / 3 * between, rtol=1e-8)
    assert "y" not in table


def test_clusters_of_patients() -> None:
    data = trial().assign(site=lambda d: d["id"].str[2])
    own = rx.mmrm(FORMULA, data)
    residual, bread, x = own.residuals().to_numpy(), own.vcov().to_numpy(), columns(data)
    sigma = own.residual_covariance().to_numpy()
    meat = np.zeros((4, 4))
    for _, site in data.groupby("site"):
        score = np.zeros(4)
        for _, one in site.groupby("id"):
            at, visit = one.index.to_numpy(), np.array([int(v[1]) - 1 for v in one["visit"]])
            score += x[at].T @ np.linalg.solve(sigma[np.ix_(visit, visit)], residual[at])
        meat += np.outer(score, score)
    np.testing.assert_allclose(own.vcov(vcov="CR0", cluster="site"), bread @ meat @ bread, rtol=1e-7)
    with pytest.raises(DataError, match="a patient lies in several clusters of 'visit'"):
        own.vcov(vcov="CR2", cluster="visit")
    with pytest.raises(DataError, match="cluster='zzz' is neither the column of the patients"):
        own.vcov(vcov="CR2", cluster="zzz")


def test_predictions_given_the_observed_visits() -> None:
    data = trial()
    counts = data["id"].value_counts()
    lacking = data[data["id"] == counts.index[counts == 2][0]]
    missing = next(v for v in ("v1", "v2", "v3") if v not in set(lacking["visit"]))
    new = pd.concat([lacking, lacking.iloc[[0]].assign(visit=missing)], ignore_index=True)
    sigma, vcov = fit().residual_covariance(), fit().vcov().to_numpy()
    root = np.sqrt(lacking["w"].to_numpy())
    own = sigma.loc[lacking["visit"], lacking["visit"]].to_numpy() / np.outer(root, root)
    cross = sigma.loc[lacking["visit"], missing].to_numpy() / root
    weights = np.linalg.solve(own, cross)
    beta, x, at = fit().fixef().to_numpy(), columns(new)[2], columns(new)[:2]
    estimate = x @ beta + weights @ (lacking["y"] - at @ beta)
    left = sigma.loc[missing, missing] - cross @ weights
    error = x - weights @ at
    found = fit().predict(new, level="patient", interval="prediction")
    np.testing.assert_allclose(found["estimate"], [*lacking["y"], estimate], rtol=1e-8)
    np.testing.assert_allclose(found["std_error"], [0, 0, np.sqrt(error @ vcov @ error + left)], rtol=1e-8)
    mean = fit().predict(new, level="patient", interval="confidence")
    np.testing.assert_allclose(mean["std_error"][2], np.sqrt(error @ vcov @ error), rtol=1e-8)
    assert fit().predict(new, level="patient")["estimate"].tolist() == found["estimate"].tolist()
    population = fit().predict(new, interval="prediction")
    variance = np.einsum("ri,ij,rj->r", columns(new), vcov, columns(new)) + np.diag(
        sigma.loc[new["visit"], new["visit"]]
    )
    np.testing.assert_allclose(population["std_error"], np.sqrt(variance), rtol=1e-8)
    np.testing.assert_allclose(population["estimate"], columns(new) @ beta, rtol=1e-9)


def test_degrees_of_freedom_of_predictions() -> None:
    """By differences of the variance in the covariance parameters, at refits that end nowhere else."""
    data = trial()
    counts = data["id"].value_counts()
    lacking = data[data["id"] == counts.index[counts == 2][0]]
    missing = next(v for v in ("v1", "v2", "v3") if v not in set(lacking["visit"]))
    new = lacking.iloc[[0]].assign(visit=missing)
    fitted = mmrm_fitted(fit().selection)
    rows = patients(data, columns(data), data["w"].to_numpy())
    visit, root = lacking["visit"].str[1].astype(int).to_numpy() - 1, np.sqrt(lacking["w"].to_numpy())
    x, at, r = columns(new)[0], columns(lacking), int(missing[1]) - 1

    def variance(phi: np.ndarray) -> float:
        sigma = np.asarray(covariance(phi, "us", 3), float) * fitted.model.y_scale[0] ** 2
        cov = dense_criterion(sigma, rows, 4, reml=True)[2]
        weights = np.linalg.solve(sigma[np.ix_(visit, visit)] / np.outer(root, root), sigma[visit, r] / root)
        error = x - weights @ at
        return float(error @ cov @ error + sigma[r, r] - weights @ (sigma[visit, r] / root))

    with jax.enable_x64(True):
        phi = fitted.theta[0]
        gradient, value = slopes(variance, phi), variance(phi)
    cov = 2 * np.linalg.inv(np.asarray(fitted.opt.hess[0]))
    found = fit().predict(new, level="patient", interval="prediction").iloc[0]
    np.testing.assert_allclose(found["std_error"] ** 2, value, rtol=1e-7)
    np.testing.assert_allclose(found["df"], 2 * value**2 / (gradient @ cov @ gradient), rtol=1e-5)


def test_residuals() -> None:
    residual = fit().residuals().to_numpy()
    np.testing.assert_allclose(residual, trial()["y"] - fit().fitted(), rtol=1e-12)
    pearson, normalized = fit().residuals("pearson").to_numpy(), fit().residuals("normalized").to_numpy()
    for at, v, _ in blocks():
        np.testing.assert_allclose(pearson[at], residual[at] / np.sqrt(np.diag(v)), rtol=1e-9)
        np.testing.assert_allclose(normalized[at], np.linalg.solve(np.linalg.cholesky(v), residual[at]), rtol=1e-9)


def test_simulated_responses_and_refits() -> None:
    drawn = rx.simulate(fit(), 4000, seed=1).to_numpy()
    at, v, _ = max(blocks(), key=lambda block: len(block[0]))
    np.testing.assert_allclose(np.cov(drawn[at]), v, atol=0.15)
    np.testing.assert_allclose(drawn.mean(axis=1), fit().fitted(), atol=0.15)
    np.testing.assert_array_equal(rx.simulate(fit(), 2, seed=1).to_numpy(), drawn[:, :2])
    moved = rx.simulate(fit(), 2, seed=1, fixef={"x": 0.0}).to_numpy() - drawn[:, :2]
    np.testing.assert_allclose(moved[:, 0], -fit().fixef()["x"] * trial()["x"], rtol=1e-9)
    again = rx.refit(fit(), np.stack([trial()["y"], drawn[:, 0]], axis=1))
    assert isinstance(again, rx.MmrmFitList)
    np.testing.assert_allclose(again[0].criterion(), fit().criterion(), rtol=1e-10)
    alone = rx.mmrm(FORMULA, trial().assign(y=drawn[:, 0]), weights="w")
    np.testing.assert_allclose(again[1].vcov(), alone.vcov(), rtol=1e-6)
    assert {"sd__v1|id", "cor__v1.v2|id", "x"} <= set(rx.bootstrap(fit(), 3, seed=1).replicates.columns)


# -- comparisons -------------------------------------------------------------------------------------------------


def test_likelihood_ratio_tests() -> None:
    data = trial()
    large, small = rx.mmrm(FORMULA, data, reml=False), rx.mmrm("y ~ x + visit + cs(visit | id)", data, reml=False)
    table = rx.anova(large, small)
    np.testing.assert_allclose(table["statistic"][1], small.criterion() - large.criterion(), rtol=1e-8)
    assert table["df"][1] == 4
    np.testing.assert_allclose(table["aic"], [small.aic, large.aic], rtol=1e-10)
    np.testing.assert_allclose(table["bic"], [small.bic, large.bic], rtol=1e-10)
    refitted = rx.anova(rx.mmrm(FORMULA, data), rx.mmrm("y ~ x + visit + cs(visit | id)", data))
    np.testing.assert_allclose(refitted["statistic"][1], table["statistic"][1], rtol=1e-6)


@pytest.mark.parametrize(
    ("larger", "smaller", "message"),
    [
        ("csh(visit | id)", "ar1(visit | id)", "'ar1' is no special case of 'csh': compare their AIC"),
        ("us(visit | id)", "cs(visit | arm / id)", "covariance matrices by 'arm', and the larger one does not"),
    ],
)
def test_models_that_are_not_nested(larger: str, smaller: str, message: str) -> None:
    data = trial()
    with pytest.raises(DataError, match=message):
        rx.anova(rx.mmrm(f"y ~ x + {larger}", data), rx.mmrm(f"y ~ x + {smaller}", data))


def test_the_kinds_of_models_are_not_mixed() -> None:
    with pytest.raises(DataError, match="models are of different kinds"):
        rx.anova(rx.mmrm(FORMULA, trial()), rx.lmer("y ~ x + (1 | id)", trial()))


@pytest.mark.parametrize("method", ["D1", "D2", "D3", "D4"])
def test_pooled_comparisons(method: Any) -> None:
    table = rx.anova(fits(), fits("visit"), method=method)
    assert table["df1"][0] == 1
    assert np.isfinite(table["statistic"][0])
    if method == "D1":
        np.testing.assert_allclose(table["statistic"], fits().pool().test("x")["statistic"], rtol=1e-8)
    if method == "D2":
        assert table["method"][0] == "D2 (Wald)"


def test_the_stacked_likelihood_is_that_of_all_patients_together() -> None:
    ml = maximum_likelihood(fits().selection)
    data = fits().selection.rows.data
    assert data is not None
    together = pd.concat([own.assign(id=own["id"] + str(k)) for k, own in enumerate(data.frames)], ignore_index=True)
    one = rx.mmrm(FORMULA, together, reml=False)
    np.testing.assert_allclose(stacked_loglik(ml), one.loglik, rtol=1e-9)
    beta, sigma = ml.beta.mean(axis=0), mmrm_fitted(fits().selection.all_of(ml)).sigmas.mean(axis=0)[0]
    for k, own in enumerate(data.frames):
        rows = patients(own.reset_index(drop=True), columns(own))
        residual = [y - x @ beta for _, x, y, *_ in rows]
        value = sum(e @ np.linalg.solve(sigma, e) for e in residual)
        value += len(rows) * (np.linalg.slogdet(sigma)[1] + 3 * np.log(2 * np.pi))
        np.testing.assert_allclose(loglik_at_means(ml)[k], -value / 2, rtol=1e-9)


def test_the_terms_of_one_model() -> None:
    table = rx.anova(fit())
    assert table["term"].tolist() == ["x", "visit"]
    assert np.isfinite(table["df2"]).all()
    with quiet(PoolingWarning):  # of three imputations
        both = rx.anova(fits(), dfcom="satterthwaite"), rx.anova(fits())
    pd.testing.assert_frame_equal(*map(pd.DataFrame, both))


# -- what is refused ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda one: one.theta, "theta: .* no random effects; use residual_covariance"),
        (lambda one: one.varcorr(), r"varcorr\(\): .* no random effects; use residual_covariance"),
        (lambda one: one.ranef(), "no random effects"),
        (lambda one: one.icc(), "residual_correlation"),
        (lambda one: one.r2(), "no random effects"),
        (lambda one: one.sim_ranef(), "no random effects"),
        (lambda one: one.sim_fixef(), "use vcov"),
        (lambda one: one.expected_rank(), "no random effects"),
        (lambda one: one.re_quantile(), "no random effects"),
        (lambda one: one.re_impact(), "no random effects"),
        (lambda one: one.re_margins(), "no random effects"),
        (lambda one: one.predict_interval(), r"use predict\(interval=...\)"),
        (lambda one: one.sub_boot(len), "no random effects"),
        (lambda one: one.rmse(), "every visit may have its own variance"),
        (lambda one: one.tidy("ran_vals"), "effects='ran_vals'"),
        (lambda one: one.predict(level="group"), "level="),
        (lambda one: one.residuals("scaled"), "type="),
    ],
)
def test_what_has_no_sense_is_refused(call: Callable[[Any], object], message: str) -> None:
    for one in (fit(), fits().pool()):
        with pytest.raises(DataError, match=message):
            call(one)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda one: one.sigma, "sigma: every visit may have its own variance"),
        (lambda one: one.confint("score"), "method='score'"),
        (lambda one: one.criterion(reml=False), "give no argument"),
        (
            lambda one: one.predict(trial().assign(id="new"), level="patient"),
            "patient 'new', which the fit has not seen",
        ),
        (lambda one: one.predict(trial().assign(visit="v1").drop(columns="id"), level="patient"), "no column 'id'"),
        (lambda one: rx.simulate(one, 2, varcorr={"id": 1.0}), "no random effects"),
        (lambda one: rx.simulate(one, 2, given_modes=True), "no random effects to keep"),
        (lambda one: one.tidy(ddf="kenward-roger", vcov="CR2"), "a covariance of its own"),
        (lambda one: one.tidy(cluster="arm"), "belongs to an empirical covariance"),
    ],
)
def test_what_one_fit_refuses(call: Callable[[Any], object], message: str) -> None:
    with pytest.raises(DataError, match=message):
        call(fit())


def test_kenward_roger_needs_reml() -> None:
    own = rx.mmrm(FORMULA, trial(), reml=False)
    with pytest.raises(DataError, match="Kenward-Roger's method is one for REML"):
        own.tidy(ddf="kenward-roger")


def test_print_outs() -> None:
    one, many, pooled = fit(), fits(), fits().pool()
    assert "Covariance of visits: unstructured" in str(one.summary())
    assert "3 mixed models for repeated measures (unstructured)" in repr(many)
    assert "pooled by Rubin's rules" in str(pooled.summary())
    assert "patients (id) with visits v1, v2, v3" in one.report()
    assert "imputed data sets" in pooled.report()
    assert one.to_frame().loc["Model", "Estimate"].tolist()[-1] == "30"
    assert rx.model_table([one, pooled]).to_frame().shape[1] == 2
    assert one.glance()["n_patients"][0] == 30
    assert pooled.glance()["n_imputations"][0] == 3
    assert one.ngrps == {"id": 30}
    assert many.confint().shape[0] == 3 * 10
    assert many.convergence()["converged"].all()
    assert pooled.mcerror()["estimate"].notna().all()
    assert "imp" in many.glance()
