"""joint(): exact posteriors by quadrature, what imputations must keep, options, and messages."""

from __future__ import annotations

import warnings
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest
from scipy import stats

from remlax.errors import ImputationError, ImputationWarning
from remlax.impute import JointPrior, JointResult, cluster_mean, emb, joint
from remlax.impute.convergence import effective_size, split_rhat
from remlax.impute.joint_result import in_units
from remlax.impute.kernels import all_patterns, joint_impute
from remlax.impute.kernels.noise import normals, uniforms


def quiet(*args: Any, **kwargs: Any) -> JointResult:
    """Run joint without warnings about short chains."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ImputationWarning)
        return joint(*args, **kwargs)


def two_level(n_clusters: int = 40, size: int = 6, seed: int = 0) -> pd.DataFrame:
    """y and x with an intraclass correlation of 0.3 each, and w of the clusters; a third of y and x missing."""
    rng = np.random.default_rng(seed)
    g = np.repeat(np.arange(n_clusters), size)
    u = rng.normal(size=(n_clusters, 3)) @ np.linalg.cholesky(0.6 * np.eye(3) + 0.4).T
    e = rng.normal(size=(len(g), 2)) @ np.linalg.cholesky(0.5 * np.eye(2) + 0.5).T
    y, x = np.sqrt(0.3) * u[g, :2].T + np.sqrt(0.7) * e.T
    frame = pd.DataFrame({"g": [f"c{k}" for k in g], "y": 10 + 2 * y, "x": x, "w": u[g, 2]})
    frame.loc[rng.random(len(g)) < 0.33, "y"] = np.nan
    frame.loc[rng.random(len(g)) < 0.33, "x"] = np.nan
    frame.loc[np.isin(g, rng.choice(n_clusters, 5, replace=False)), "w"] = np.nan
    return frame


def intraclass(frame: pd.DataFrame, column: str, group: str = "g") -> float:
    """One-way analysis of variance estimator, clusters of equal size."""
    groups = frame.groupby(group)[column]
    size = int(groups.size().iloc[0])
    between, within = size * groups.mean().var(), groups.var().mean()
    return float((between - within) / (between + (size - 1) * within))


def contextual(seed: int) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Complete and incomplete data; slope of y on x 0.49 within clusters and 0.2 between, 40 % and 24 % missing."""
    rng = np.random.default_rng(seed)
    g = np.repeat(np.arange(150), 10)
    xb, xw = np.sqrt(0.3) * rng.normal(size=150)[g], np.sqrt(0.7) * rng.normal(size=1500)
    y = 0.2 * xb + np.sqrt(0.288) * rng.normal(size=150)[g] + 0.49 * xw + np.sqrt(0.532) * rng.normal(size=1500)
    full = pd.DataFrame({"g": g, "y": y, "x": xb + xw})
    gaps = full.copy()
    # fixed numbers, so that all data sets share a program
    gaps.loc[rng.permutation(1500)[:600], "y"] = np.nan
    gaps.loc[rng.permutation(1500)[:360], "x"] = np.nan
    return full, gaps


def within_and_between(frame: pd.DataFrame) -> tuple[float, float, float]:
    """Intraclass correlation of y, slope of y on x within clusters, slope of the cluster means."""
    means = frame.groupby("g")[["y", "x"]].transform("mean")
    within, between = (part.cov() for part in (frame[["y", "x"]] - means, means.iloc[::10]))
    return (
        intraclass(frame, "y"),
        within.loc["y", "x"] / within.loc["x", "x"],
        between.loc["y", "x"] / between.loc["x", "x"],
    )


@pytest.fixture(scope="module")
def small() -> pd.DataFrame:
    return two_level()


@pytest.fixture(scope="module")
def result(small: pd.DataFrame) -> JointResult:
    return quiet(small, cluster="g", m=4, burn=100, iter=200, seed=1)


@pytest.mark.slow
def test_binary_posterior_is_that_of_quadrature() -> None:
    # probit model with a random intercept: flat intercept, variance ~ IW(1, 1)
    rng = np.random.default_rng(3)
    n_clusters, size = 25, 6
    g = np.repeat(np.arange(n_clusters), size)
    b = (0.4 + 0.8 * rng.normal(size=n_clusters)[g] + rng.normal(size=len(g)) > 0.0).astype(float)
    b[rng.random(len(g)) < 0.2] = np.nan
    frame = pd.DataFrame({"g": g, "b": b})
    found = quiet(frame, "b ~ 1 + (1 | g)", m=8, nominal=["b"], burn=300, iter=4000, seed=1).parameters
    ones = frame.groupby("g")["b"].sum().to_numpy()
    seen = frame.groupby("g")["b"].count().to_numpy()
    nodes, weights = np.polynomial.hermite_e.hermegauss(40)
    beta, log_variance = np.linspace(-1.5, 2.5, 161), np.linspace(-4.5, 3.0, 151)
    density = np.empty((len(beta), len(log_variance)))
    for j, sd in enumerate(np.exp(0.5 * log_variance)):
        z = beta[:, None] + sd * nodes[None]
        logs = ones[:, None, None] * stats.norm.logcdf(z) + (seen - ones)[:, None, None] * stats.norm.logcdf(-z)
        likelihood = np.log(np.exp(logs) @ (weights / weights.sum())).sum(axis=0)
        density[:, j] = likelihood + stats.invgamma(0.5, scale=0.5).logpdf(sd**2) + log_variance[j]
    density = np.exp(density - density.max())
    density /= density.sum()
    for name, values, mass in (
        ("b ~ Intercept", beta, density.sum(axis=1)),
        ("b:Intercept | g", np.exp(log_variance), density.sum(axis=0)),
    ):
        mean = values @ mass
        sd = np.sqrt((values - mean) ** 2 @ mass)
        row = found.loc[name]
        assert abs(row["mean"] - mean) < 4.5 * row["sd"] / np.sqrt(row["ess"])
        assert row["sd"] == pytest.approx(sd, rel=0.08)


def test_fast_normals_are_standard_normal_and_depend_on_the_key() -> None:
    with jax.enable_x64(True):
        z = np.asarray(normals(jax.random.key(1), (200_000,), jnp.dtype("float64")))
        other = np.asarray(normals(jax.random.key(2), (200_000,), jnp.dtype("float64")))
        u = np.asarray(uniforms(jax.random.key(1), (200_000,), jnp.dtype("float64")))
    assert stats.kstest(z, "norm").pvalue > 1e-3
    assert stats.kstest(u, "uniform").pvalue > 1e-3
    assert u.min() > 0.0
    assert u.max() < 1.0
    for a, b in ((z, other), (z[:-1], z[1:]), (z[:100_000], z[100_000:])):
        assert abs(np.corrcoef(a, b)[0, 1]) < 4.5 / np.sqrt(len(a))


def test_observed_cells_stay_and_levels_agree(small: pd.DataFrame, result: JointResult) -> None:
    assert result.data.K == 4
    pd.testing.assert_frame_equal(result.data.original, small)
    for frame in result.data:
        assert not frame.isna().to_numpy().any()
        for column in ("y", "x"):
            seen = small[column].notna()
            assert frame.loc[seen, column].equals(small.loc[seen, column])
        assert len(frame[["g", "w"]].drop_duplicates()) == frame["g"].nunique()
    assert len({frame["y"].sum() for frame in result.data}) == 4


@pytest.mark.slow
def test_imputation_k_depends_on_the_seed_and_k_alone(small: pd.DataFrame, result: JointResult) -> None:
    fewer = quiet(small, cluster="g", m=2, burn=100, iter=200, seed=1)
    np.testing.assert_allclose(fewer.data[1]["y"], result.data[1]["y"], rtol=1e-9)
    again = quiet(small, cluster="g", m=4, burn=100, iter=200, seed=2)
    assert not np.allclose(again.data[1]["y"], result.data[1]["y"])


def test_continue_is_the_longer_run(small: pd.DataFrame, result: JointResult) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ImputationWarning)
        longer = result.continue_(more=100)
    once = quiet(small, cluster="g", m=4, burn=100, iter=300, seed=1)
    assert longer.n_sweeps == once.n_sweeps == 400
    np.testing.assert_allclose(longer.draws, once.draws[:, 200:], rtol=1e-8)
    np.testing.assert_allclose(longer.data[0]["y"], once.data[0]["y"], rtol=1e-8)


def test_units_do_not_matter(small: pd.DataFrame, result: JointResult) -> None:
    moved = quiet(small.assign(y=5 + 3 * small["y"]), cluster="g", m=4, burn=100, iter=200, seed=1)
    np.testing.assert_allclose(moved.data[2]["y"], 5 + 3 * result.data[2]["y"], rtol=1e-8)
    table, base = moved.parameters, result.parameters
    assert table.loc["y ~ Intercept", "mean"] == pytest.approx(5 + 3 * base.loc["y ~ Intercept", "mean"])
    assert table.loc["w, y:Intercept | g", "mean"] == pytest.approx(3 * base.loc["w, y:Intercept | g", "mean"])
    assert table.loc["y", "mean"] == pytest.approx(9 * base.loc["y", "mean"])


@pytest.mark.slow
def test_random_slopes_in_units_of_the_predictor() -> None:
    # the predictor is centred inside: the covariance of intercept and slope must come back for x = 0
    frame = two_level(seed=4).assign(v=lambda d: 50.0 + np.arange(len(d)) % 7)
    one = quiet(frame, "y ~ v + (1 + v | g)", m=2, burn=20, iter=20, seed=1)
    state = one._chains.state
    names, _ = in_units(one._model, one._chains, one.draws)
    where = {name: position for position, (_, name) in enumerate(names)}
    transform = one._model.random.transform
    scale = one._model.lower.scale[0]
    z = np.column_stack([np.ones(len(frame)), frame["v"]])
    np.testing.assert_allclose(one._model.random.x, z @ transform, rtol=1e-12)
    for k in range(2):
        last = one.draws[k, -1]
        psi = np.array(
            [
                [last[where["y:Intercept | g"]], last[where["y:v, y:Intercept | g"]]],
                [last[where["y:v, y:Intercept | g"]], last[where["y:v | g"]]],
            ]
        )
        # the variance of the random part of each row is the same in both parametrisations
        inside = one._model.random.x @ np.asarray(state.psi[k]) @ one._model.random.x.T * scale**2
        np.testing.assert_allclose(np.diag(z @ psi @ z.T), np.diag(inside), rtol=1e-6)
        coef = np.array([last[where["y ~ Intercept"]], last[where["y ~ v"]]])
        fitted = one._model.fixed.x @ np.asarray(state.coef[k])[:, 0] * scale + one._model.lower.centre[0]
        np.testing.assert_allclose(z @ coef, fitted, rtol=1e-9)


@pytest.mark.slow
def test_categories_come_back_as_they_were(small: pd.DataFrame) -> None:
    rng = np.random.default_rng(5)
    x = small["x"].fillna(0.0).to_numpy()
    frame = small.assign(
        colour=pd.Categorical(np.where(x > 0.5, "red", np.where(x > -0.5, "blue", "green"))),
        grade=pd.Series(np.digitize(x + rng.normal(size=len(x)), [-1.0, 0.0, 1.0]) + 1, dtype="Int64"),
        passed=pd.Series(x > 0, dtype="boolean"),
    )
    for name in ("colour", "grade", "passed"):
        frame.loc[rng.random(len(frame)) < 0.3, name] = None
    formula = "y + colour + grade + passed ~ 1 + (1 | g)"
    found = quiet(frame, formula, m=3, nominal=["colour"], ordinal=["grade"], burn=100, iter=100, seed=1)
    for completed in found.data:
        for name in ("colour", "grade", "passed"):
            assert completed[name].dtype == frame[name].dtype
            assert set(completed[name].unique()) == set(frame[name].dropna().unique())
            assert not completed[name].isna().any()
    # colour is a function of x, of which grade is another, noisier one: imputed cells follow it
    gaps = frame["colour"].isna() & frame["grade"].notna()
    grade = frame.loc[gaps, "grade"].astype(float)
    share = np.mean(
        [[grade[c.loc[gaps, "colour"] == level].mean() for level in ("green", "red")] for c in found.data], axis=0
    )
    assert share[1] > share[0] + 0.5


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::remlax.errors.ImputationWarning")
def test_what_clusters_need_is_kept() -> None:
    # the table in docs/imputation.md
    rows = []
    for number in range(16):
        full, gaps = contextual(number)
        kept = joint(gaps, "y + x ~ 1 + (1 | g)", burn=200, iter=100, seed=number).data
        flat = emb(gaps, id_vars=["g"], seed=number).data
        rows.append([np.mean([within_and_between(f) for f in frames], axis=0) for frames in ([full], kept, flat)])
    differences = np.array(rows)[:, 1:] - np.array(rows)[:, :1]
    mean, error = differences.mean(axis=0), differences.std(axis=0, ddof=1) / 4.0
    table = np.mean(rows, axis=0)
    assert (np.abs(mean[0]) < 4.0 * error[0]).all(), (table, error)
    assert (error[0] < 0.03).all()
    # rows taken as independent: less of the variance is between clusters, and the two slopes come nearer
    assert table[2, 0] < 0.5 * table[0, 0], table
    assert (mean[1] * [-1, -1, 1] > 5.0 * error[1]).all(), (table, error)


@pytest.mark.slow
def test_kernel_over_simulated_data_sets() -> None:
    # one program for all data sets, each with gaps of its own; lanes equal single runs
    rng = np.random.default_rng(6)
    sets, n_clusters, size = 6, 12, 5
    n = n_clusters * size
    cluster = np.repeat(np.arange(n_clusters), size)
    y = rng.normal(size=(sets, n, 2)) + rng.normal(size=(sets, n_clusters, 2))[:, cluster]
    missing = rng.random((sets, n, 2)) < 0.2
    ones, patterns = np.ones((n, 1)), all_patterns(2, [0, 1])
    with jax.enable_x64(True):
        keys = jax.random.split(jax.random.key(1), sets)

        def impute(key: Any, values: Any, gaps: Any) -> Any:
            return joint_impute(key, values, gaps, jnp.asarray(ones), jnp.asarray(ones), jnp.asarray(cluster),
                                patterns, n_clusters, m=2, sweeps=30)  # fmt: skip

        batch, last = jax.jit(jax.vmap(impute))(keys, jnp.asarray(y), jnp.asarray(missing))
        single, _ = jax.jit(impute)(keys[3], jnp.asarray(y[3]), jnp.asarray(missing[3]))
    assert batch.shape == (sets, 2, n, 2)
    assert np.isfinite(np.asarray(last)).all()
    np.testing.assert_allclose(batch[3], single, rtol=1e-7)
    np.testing.assert_array_equal(np.asarray(batch)[:, 0][~missing], y[~missing])
    assert not np.allclose(np.asarray(batch)[:, 0][missing], y[missing])


def test_derived_columns_are_recomputed(small: pd.DataFrame) -> None:
    frame = small[["g", "y"]].assign(my=small.groupby("g")["y"].transform("mean"))
    found = quiet(frame, cluster="g", m=2, derive={"my": cluster_mean("y", "g")}, burn=20, iter=20)
    for completed in found.data:
        np.testing.assert_allclose(completed["my"], completed.groupby("g")["y"].transform("mean"))
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*have Rhat above", category=ImputationWarning)
        with pytest.warns(ImputationWarning, match="'my' looks like the mean of 'y' within 'g'"):
            joint(frame, level1=["y"], cluster="g", m=2, burn=20, iter=20)


def test_rhat_and_effective_size_of_known_chains() -> None:
    rng = np.random.default_rng(7)
    rho, m, length = 0.6, 4, 4000
    noise = rng.normal(size=(m, length, 1))
    chain = np.zeros_like(noise)
    for t in range(1, length):
        chain[:, t] = rho * chain[:, t - 1] + noise[:, t]
    size, lag_one = effective_size(chain)
    assert size[0] == pytest.approx(m * length * (1 - rho) / (1 + rho), rel=0.15)
    assert lag_one[0] == pytest.approx(rho, abs=0.03)
    assert split_rhat(chain)[0] == pytest.approx(1.0, abs=0.01)
    apart = chain + np.arange(m)[:, None, None] * 2.0
    # between variance of the four means 0, 2, 4, 6 against the stationary variance 1 / (1 - rho^2); split in halves
    within = 1 / (1 - rho**2)
    expected = np.sqrt(1 + np.var(np.repeat([0, 2, 4, 6], 2), ddof=1) / within)
    assert split_rhat(apart)[0] == pytest.approx(expected, rel=0.05)


def test_short_chains_warn_with_the_worst_parameter(small: pd.DataFrame) -> None:
    with pytest.warns(ImputationWarning, match=r"parameters have Rhat above 1.05 after 6 sweeps .* run longer"):
        found = joint(small, cluster="g", m=3, burn=2, iter=4)
    text = found.summary()
    assert "3 chains of 6 sweeps, the last 4 recorded" in text
    assert "240 rows in 40 clusters of 'g'" in text
    assert "Largest Rhat" in repr(found) or "largest Rhat" in repr(found)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"formula": "y ~ x + (1 | g)"}, "predictor 'x' of the fixed part has .* missing cells: make it a target"),
        ({"formula": "y ~ 1"}, "has no random term: add"),
        ({"formula": "y"}, "is no formula: write targets ~ predictors"),
        ({"formula": "log(y) ~ 1 + (1 | g)"}, "write the columns to impute, joined by"),
        ({"formula": "y ~ 1 + (1 | g) + (1 | w)"}, "one random term with one grouping column"),
        ({"formula": "y ~ offset(v) + (1 | g)"}, "has an offset"),
        ({"formula": "y ~ 1 + (1 | g)", "cluster": "w"}, "but the formula groups by 'g'"),
        ({"formula": "y ~ 1 + (1 | g)", "level1": ["x"]}, "both name the targets"),
        ({"formula": "y + y2 ~ 1 + (1 | g)"}, "formula: names 'y2'"),
        ({"formula": "y ~ 1 + (1 | g)", "level2": ["y"]}, "column 'y' is named twice"),
        ({"formula": "y ~ 1 + (1 | g)", "level2": ["x"]}, "level2= names 'x', which has several values"),
        ({"formula": "y ~ v + I(2 * v) + (1 | g)"}, "are linearly dependent: drop one"),
        ({"formula": "y ~ 1 + (1 | g)", "nominal": ["x"]}, "nominal= names 'x', which is not a target"),
        ({"formula": "v ~ 1 + (1 | g)"}, r"no target \(v\) has a missing cell"),
        ({}, "needs cluster="),
        ({"level2": ["w"], "cluster": "g"}, "no column varies within clusters"),
        ({"formula": "y ~ 1 + (1 | one)"}, "names one cluster only"),
        ({"cluster": "g", "m": 0}, "m=0 must be a whole number of at least 1"),
        ({"cluster": "g", "residual": "both"}, "residual='both' is not known: use 'common' or 'cluster'"),
        ({"formula": "y + b ~ 1 + (1 | g)", "nominal": ["b"], "residual": "cluster"}, "needs continuous targets"),
        (
            {"level1": ["y"], "cluster": "g", "priors": JointPrior(random_df=-1.0)},
            "random_df=.* gives no proper prior",
        ),
        (
            {"level1": ["y"], "cluster": "g", "priors": JointPrior(residual_scale=-1.0)},
            "residual_scale must be a positive",
        ),
        (
            {"level1": ["y"], "cluster": "g", "priors": JointPrior(coef_precision=-1.0)},
            "coef_precision=-1.0 must be 0 or more",
        ),
        ({"formula": "y + z ~ 1 + (1 | g)"}, "column 'z' holds complex numbers"),
        ({"formula": "y + z ~ 1 + (1 | g)", "nominal": ["z"]}, "column 'z' holds complex numbers"),
        ({"formula": "y ~ z + (1 | g)"}, "column 'z'.*complex"),
        ({"cluster": "g", "id_vars": ["o"]}, "column 'z' holds complex numbers"),
        ({"cluster": "g", "id_vars": ["z"]}, "column 'o' holds a list in a cell"),
        ({"cluster": "g", "level1": ["y"], "level2": ["o"]}, "column 'o' holds a list in a cell"),
        ({"formula": "y + h ~ 1 + (1 | g)"}, "column 'h' has values as large as"),
        ({"formula": "y + h ~ 1 + (1 | g)", "ordinal": ["h"]}, "more than 1000 levels: leave it continuous"),
        ({"cluster": "g", "m": "5"}, "m='5' must be a whole number of at least 1"),
        ({"cluster": "g", "burn": 4.5}, "burn=4.5 must be a whole number of at least 0"),
        ({"cluster": "g", "iter": None}, "iter=None must be a whole number of at least 4"),
        ({"cluster": "g", "seed": -1}, "seed=-1 must be a whole number of at least 0"),
        ({"formula": "y + v ~ v + (1 | g)"}, "column 'v' is a target and a predictor of the same level"),
        ({"formula": ["y"]}, "formula= is a list: write it as text"),
        ({"formula": "y ~ 1 + (1 | g)", "compatible_with": 3}, "compatible_with= is a int: write it as text"),
        ({"cluster": "g", "priors": {"a": 1}}, "priors= is a dict: give a JointPrior"),
        ({"cluster": "g", "level1": ["y"], "level2": "w ~ 1 + (1 | g)"}, "predictors of the clusters have none"),
        (
            {"cluster": "g", "level1": ["y"], "priors": JointPrior(random_df="a")},
            "priors: random_df='a' must be a finite",
        ),
        ({"cluster": "g", "level1": ["y"], "priors": JointPrior(random_scale="a")}, "random_scale must be a positive"),
        (
            {"cluster": "g", "level1": ["y"], "priors": JointPrior(coef_precision="a")},
            "coef_precision='a' must be 0 or more",
        ),
        ({"cluster": "g", "derive": {"q": "y"}}, "derive= has 'y' for 'q'"),
    ],
)
def test_errors_say_what_and_where(small: pd.DataFrame, change: dict[str, Any], message: str) -> None:
    frame = small.assign(v=np.arange(len(small)) % 5, one=1, b=np.arange(len(small)) % 2)
    frame = frame.assign(z=frame["v"] + 1j, o=[[1]] * len(small), h=frame["v"] * 1e160)
    with pytest.raises(ImputationError, match=message):
        joint(frame, **change)


def test_continue_needs_sweeps(result: JointResult) -> None:
    with pytest.raises(ImputationError, match="more=2 must be a whole number of at least 4"):
        result.continue_(more=2)


@pytest.mark.slow
def test_collinear_targets_are_an_error(small: pd.DataFrame) -> None:
    frame = small.assign(v=2 * small["x"])
    prior = JointPrior(residual_scale=1e-300, random_scale=1e-300)
    with pytest.raises(ImputationError, match="targets may be collinear"):
        quiet(frame, "v + x ~ 1 + (1 | g)", m=1, priors=prior, burn=50, iter=50)
