"""Imputation compatible with a mixed model that has random slopes and squares of an incomplete covariate."""

from __future__ import annotations

import json
import warnings
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest
from scipy import stats
from test_joint_geweke import make_cells

import remlax as rx
from remlax.data import ImputedData
from remlax.errors import ImputationError, ImputationWarning
from remlax.impute import joint
from remlax.impute.joint_model import build_model, read_formulas
from remlax.impute.joint_result import make_result
from remlax.impute.joint_run import JointPrior, run_sweeps, start
from remlax.impute.kernels.compatible import (
    CompatibleState,
    Monomials,
    OutcomeArrays,
    compatible_sweep,
    outcome_design,
    outcome_mean,
    outcome_parameters,
)
from remlax.impute.kernels.joint import Hyper, JointState, Tuning, sweep_noise
from remlax.impute.kernels.joint_chain import parameters
from remlax.impute.kernels.joint_data import JointPriors, JointSpec, reduce_rows

N, SWEEPS, CLUSTERS, ROWS = 4000, 12, 5, 3


def slopes(seed: int = 1, n_clusters: int = 120, size: int = 10) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Complete and incomplete data: y with a random slope of x, SD 0.6; 40 % of x and 10 % of y missing."""
    rng = np.random.default_rng(seed)
    g = np.repeat(np.arange(n_clusters), size)
    x = 0.6 * rng.normal(size=n_clusters)[g] + 0.8 * rng.normal(size=len(g))
    b = rng.normal(size=(n_clusters, 2)) * [0.7, 0.6]
    z = rng.normal(size=len(g))
    y = 1 + 0.5 * x + 0.3 * z + 0.4 * x * z + b[g, 0] + b[g, 1] * x + rng.normal(size=len(g))
    full = pd.DataFrame({"g": g, "y": y, "x": x, "z": z})
    gaps = full.copy()
    gaps.loc[rng.random(len(g)) < 0.4, "x"] = np.nan
    gaps.loc[rng.random(len(g)) < 0.1, "y"] = np.nan
    return full, gaps


def slope_variance(table: pd.DataFrame) -> float:
    """Mean variance of the slope over the fits of a table of variance components."""
    return float(table.loc[(table["var1"] == "x") & table["var2"].isna(), "vcov"].mean())


@pytest.mark.slow
def test_sweeps_keep_the_prior() -> None:
    rng = np.random.default_rng(2)
    n = CLUSTERS * ROWS
    cluster = np.repeat(np.arange(CLUSTERS), ROWS)
    law = JointPriors(*(np.asarray(v, float) for v in (9, 6 * np.eye(1), 9, 4 * np.eye(1), 1, 50)))
    outcome_law = JointPriors(*(np.asarray(v, float) for v in (9, 6 * np.eye(1), 11, 4 * np.eye(2), 1, 50)))
    missing = rng.random((n, 1)) < 0.5
    # fixed part 1 + u + u^2, random part 1 + u
    fixed = np.tile(np.eye(3), (n, 1, 1))
    random = np.tile(np.eye(3)[:2], (n, 1, 1))
    terms, spec = Monomials((0,), ((0,), (1,), (2,))), JointSpec()

    def state() -> CompatibleState:
        def scalar(prior: JointPriors) -> np.ndarray:
            return stats.invgamma(float(prior.residual_df) / 2, scale=prior.residual_scale[0, 0] / 2).rvs(
                size=(1, 1, 1), random_state=rng
            )

        psi = stats.invgamma(float(law.random_df) / 2, scale=law.random_scale[0, 0] / 2).rvs(
            size=(1, 1), random_state=rng
        )
        psi_y = stats.invwishart(float(outcome_law.random_df), outcome_law.random_scale).rvs(random_state=rng)
        inner = JointState(
            np.zeros((n, 1)), rng.normal(size=(1, 1)), np.sqrt(psi) * rng.normal(size=(CLUSTERS, 1, 1)), scalar(law),
            psi, np.zeros((CLUSTERS, 0)), np.zeros((1, 0)), (), (), Hyper(np.float64(9), np.eye(1)),
            Tuning((), (), np.float64(0)),
        )  # fmt: skip
        effects = rng.normal(size=(CLUSTERS, 2)) @ np.linalg.cholesky(psi_y).T
        return CompatibleState(
            inner, np.zeros(n), rng.normal(size=(3, 1)), effects[:, None, :], scalar(outcome_law), psi_y
        )

    states = [state() for _ in range(N)]
    with jax.enable_x64(True):
        ones = jnp.ones((n, 1))
        upper = (jnp.zeros((CLUSTERS, 0)), jnp.ones((CLUSTERS, 1)), make_cells(np.zeros((CLUSTERS, 0), bool), 0))
        cells = make_cells(missing, 0)
        data = reduce_rows(
            jnp.zeros((n, 1)),
            ones,
            ones,
            jnp.asarray(cluster),
            jnp.ones(n),
            jnp.arange(n),
            cells,
            CLUSTERS,
            False,
            upper,
        )
        outcome = OutcomeArrays(
            jnp.zeros(n), jnp.asarray(rng.random(n) < 0.2), jnp.asarray(fixed), jnp.asarray(random),
            jnp.zeros((n, 1)), jnp.arange(n), jnp.asarray(cluster), jax.tree.map(jnp.asarray, outcome_law),
        )  # fmt: skip
        priors = jax.tree.map(jnp.asarray, law)

        def step(key: Any, now: CompatibleState) -> CompatibleState:
            keys = jax.random.split(key, 4)
            inner = now.joint
            noise = jnp.sqrt(inner.residual[0]) * jax.random.normal(keys[0], (n, 1))
            y = ones @ inner.coef + inner.random[data.cluster][:, :, 0] + noise
            x, z = outcome_design(y, outcome, terms)
            mean = outcome_mean(x, z, now.coef, now.random, data.cluster)
            drawn = mean + jnp.sqrt(now.residual[0, 0, 0]) * jax.random.normal(keys[1], (n,))
            now = now._replace(joint=inner._replace(y=y), outcome=drawn)
            return compatible_sweep(
                keys[2], sweep_noise(keys[3], data), now, data, outcome, spec, terms, priors, jnp.zeros(())
            )

        def rows(now: CompatibleState) -> Any:
            return jax.vmap(lambda s: jnp.concatenate([parameters(s.joint, spec), outcome_parameters(s)]))(now)

        @jax.jit
        def run(now: CompatibleState) -> tuple[Any, Any]:
            keys = jax.random.split(jax.random.key(3), (SWEEPS, N))
            last, _ = jax.lax.scan(lambda s, row: (jax.vmap(step)(row, s), None), now, keys)
            return rows(now), rows(last)

        before, after = (np.asarray(r) for r in run(jax.tree.map(lambda *a: jnp.asarray(np.stack(a)), *states)))
    for transform in (np.asarray, np.square, lambda v: np.log1p(np.abs(v))):
        a, b = transform(before), transform(after)
        z = (a.mean(axis=0) - b.mean(axis=0)) / np.sqrt((a.var(axis=0) + b.var(axis=0)) / N)
        assert np.abs(z).max() < 4.2, np.round(z, 1)


@pytest.mark.slow
def test_slope_variance_and_interaction_are_kept() -> None:
    full, gaps = slopes()
    model = "y ~ x * z + (1 + x | g)"
    truth = rx.lmer(model, full)
    found = joint(gaps, "x ~ z + (1 | g)", m=10, compatible_with=model, burn=500, iter=500, seed=1)
    assert not any(frame.isna().to_numpy().any() for frame in found.data)
    fits = rx.lmer_list(model, found.data)
    slope, expected = slope_variance(fits.varcorr()), slope_variance(truth.varcorr())
    assert slope == pytest.approx(expected, rel=0.2)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ImputationWarning)
        flat = joint(gaps, "x + y ~ z + (1 | g)", m=10, burn=500, iter=500, seed=1)
    shrunk = slope_variance(rx.lmer_list(model, flat.data).varcorr())
    assert shrunk < 0.75 * expected
    pooled = fits.pool().tidy().set_index("term")
    for name, value in truth.fixef().items():
        row = pooled.loc[name]
        assert abs(row["estimate"] - value) < 3.0 * row["std_error"]
    table = found.parameters
    row = table.loc["y ~ x:z"]
    assert abs(row["mean"] - truth.fixef()["x:z"]) < 3.0 * row["sd"]


def study(seed: int) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Complete and incomplete data; the 40 % of x that are missing are those of large outcomes, by a logistic score."""
    rng = np.random.default_rng(seed)
    g = np.repeat(np.arange(100), 8)
    x = np.sqrt(0.3) * rng.normal(size=100)[g] + np.sqrt(0.7) * rng.normal(size=800)
    z = 0.5 * x + np.sqrt(0.75) * rng.normal(size=800)
    b = rng.normal(size=(100, 2)) * [0.7, 0.6]
    y = 0.5 * x + 0.3 * z + 0.4 * x * z + b[g, 0] + b[g, 1] * x + rng.normal(size=800)
    full = pd.DataFrame({"g": g, "y": y, "x": x, "z": z})
    score = 0.8 * y / y.std() + rng.logistic(size=800)
    gaps = full.copy()
    # a fixed number, so that all data sets share a program
    gaps.loc[np.argsort(score)[-320:], "x"] = np.nan
    return full, gaps


def interaction_and_slope(frames: Sequence[pd.DataFrame] | ImputedData) -> list[float]:
    """Coefficient of x:z and variance of the slope, means over the data sets."""
    fits = rx.lmer_list("y ~ x * z + (1 + x | g)", frames)
    return [float(np.mean([fit.fixef()["x:z"] for fit in fits])), slope_variance(fits.varcorr())]


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::remlax.errors.ImputationWarning")
def test_bias_that_the_joint_model_has_and_the_compatible_one_has_not() -> None:
    differences = []
    for seed in range(30):
        full, gaps = study(seed)
        joined = joint(gaps, "x + y ~ z + (1 | g)", burn=200, iter=200, seed=seed)
        fitting = joint(
            gaps, "x ~ z + (1 | g)", compatible_with="y ~ x * z + (1 + x | g)", burn=300, iter=200, seed=seed
        )
        complete = interaction_and_slope([full])
        differences.append([np.subtract(interaction_and_slope(r.data), complete) for r in (joined, fitting)])
    mean, error = np.mean(differences, axis=0), np.std(differences, axis=0, ddof=1) / np.sqrt(30)
    # 0.4 and 0.36 are true. 60 data sets: -0.106 (0.003) and -0.180 (0.006) for the joint model
    assert (mean[0] < [-0.08, -0.14]).all(), mean
    # 0.002 (0.003) and 0.011 (0.007) for the compatible one
    assert (np.abs(mean[1]) < 3.5 * error[1]).all(), (mean, error)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::remlax.errors.ImputationWarning")
def test_posterior_is_that_of_jomo(reference: Path) -> None:
    data = pd.read_csv(reference / "impute" / "joint_compatible.csv")
    expected = json.loads((reference / "impute" / "joint_compatible.json").read_text())
    formula = "y ~ x * z + (1 + x | g)"
    roles: dict[str, tuple[str, ...]] = dict.fromkeys(("nominal", "ordinal", "log", "sqrt", "logistic"), ())
    model = build_model(data, read_formulas(data, "x + z ~ 1 + (1 | g)", (), (), None, ()), roles, formula)
    # jomo's prior scales of the outcome's variances are their estimates in the complete rows
    fit = rx.lmer(formula, data.dropna())
    rows = fit.varcorr()["vcov"]
    chains = start(model, 8, 500, JointPrior(), False, 1)
    assert chains.outcome is not None
    with jax.enable_x64(True):
        law = chains.outcome.priors._replace(
            random_scale=jnp.array([[rows[0], rows[2]], [rows[2], rows[1]]]), residual_scale=jnp.array([[rows[3]]])
        )
        chains = replace(chains, outcome=chains.outcome._replace(priors=law))
    chains, _ = run_sweeps(chains, 500, lambda count: None)
    table = make_result(model, *run_sweeps(chains, 3000, lambda count: None), data, None).parameters
    lower = [0, 1, 3]
    order = ("covariates", "covariates_residual", "covariates_random", "fixed", "residual", "random")
    mean, sd, error = (
        np.concatenate(
            [np.array(expected[part][key])[lower if len(expected[part][key]) == 4 and part != "fixed" else slice(None)]
             for part in order]
        )
        for key in ("mean", "sd", "mcse")
    )  # fmt: skip
    off = np.abs(table["mean"] - mean)
    noise = np.hypot(table["sd"] / np.sqrt(table["ess"]), error)
    own = table["part"].str.startswith("outcome")
    assert own.sum() == 8
    assert (off[own] < 4 * noise[own]).all(), off / noise
    # jomo's residual covariance of z, which is complete, is 0.6 % larger (two or three degrees of freedom less)
    assert (off < np.maximum(4 * noise, 0.2 * sd)).all(), off / sd
    np.testing.assert_allclose(table["sd"], sd, rtol=0.06)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"compatible_with": "y ~ x + (1 | z)"}, "groups by 'z'"),
        ({"compatible_with": "y ~ z + (1 | g)"}, "uses no incomplete target"),
        ({"compatible_with": "y ~ exp(x) + (1 | g)"}, "as they are, in products and squared"),
        (
            {"compatible_with": "y ~ x + (1 | g)", "formula": "x ~ y + (1 | g)"},
            "outcome 'y' must not be in",
        ),
        ({"compatible_with": "log(y) ~ x + (1 | g)"}, "the outcome must be a numeric column"),
        ({"compatible_with": "y ~ x + w + (1 | g)"}, "'w' .* has missing cells and is no continuous target"),
        ({"compatible_with": "y ~ x + (1 | g)", "residual": "cluster"}, "compatible_with= needs residual='common'"),
        ({"compatible_with": "y ~ x + (1 | g)", "ordinal": ["x"]}, "compatible_with= needs continuous targets"),
    ],
)
def test_errors_say_what_and_where(change: dict[str, Any], message: str) -> None:
    gaps = slopes(n_clusters=6, size=5)[1].assign(y=1.0 * np.arange(30), w=lambda d: d["x"])
    if "ordinal" in change:
        gaps["x"] = np.round(gaps["x"])
    with pytest.raises(ImputationError, match=message):
        joint(gaps, **{"formula": "x ~ z + (1 | g)", **change})
