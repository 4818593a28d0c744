"""What follows from a fit with a covariance structure: equal models, n x n algebra, boundaries, pooling, files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import scipy

import remlax as rx
from remlax.errors import DataError, IdentifiabilityWarning, SingularFitWarning
from structured_cases import VISITS, correlations, fits, frame, heterogeneous, imputed, moments


def numbers(fit: rx.LmerFit) -> np.ndarray:
    """SDs, correlation and sigma."""
    return fit.tidy("ran_pars")["estimate"].to_numpy()


def test_structures_that_are_none():
    """us is (x | g), and diag is (x || g)."""
    data = frame()
    assert rx.lmer("y ~ us(1 + x | g)", data).criterion() == rx.lmer("y ~ (1 + x | g)", data).criterion()
    apart, diag = rx.lmer("y ~ (1 + x || g)", data), rx.lmer("y ~ diag(1 + x | g)", data)
    assert diag.criterion() == pytest.approx(apart.criterion(), abs=1e-9)
    np.testing.assert_allclose(diag.tidy()["df"], apart.tidy()["df"], rtol=1e-6)
    assert diag.n_parameters == apart.n_parameters


@pytest.mark.parametrize("ddf", ["satterthwaite", "kenward-roger"])
def test_equal_correlations_are_nested_intercepts(ddf):
    """cs with one SD and a positive correlation is (1 | g) + (1 | g:t): all inference is the same."""
    cs = rx.lmer("y ~ x + cs(0 + t | g, hom = TRUE)", frame())
    nested = rx.lmer("y ~ x + (1 | g) + (1 | g:t)", frame())
    assert cs.criterion() == pytest.approx(nested.criterion(), abs=1e-9)
    one, other = cs.tidy("fixed", ddf=ddf), nested.tidy("fixed", ddf=ddf)
    np.testing.assert_allclose(one[["std_error", "df"]], other[["std_error", "df"]], rtol=1e-7)
    sd_cell, sd_group, _ = numbers(nested)
    rho = sd_group**2 / (sd_group**2 + sd_cell**2)
    np.testing.assert_allclose(numbers(cs)[:2], [np.hypot(sd_cell, sd_group), rho], rtol=1e-6)


def test_satterthwaite_and_errors_of_parameters():
    """Against differences of the n x n likelihood in (SDs, correlation, sigma)."""
    fit, data, h = heterogeneous(), frame(), 1e-3
    at = numbers(fit)

    def found(p):
        return moments(data, correlations("ar1", p[VISITS]) * np.outer(p[:VISITS], p[:VISITS]), p[-1])

    value, beta, vcov = found(at)
    assert fit.criterion() == pytest.approx(value, abs=1e-8)
    np.testing.assert_allclose(fit.fixef(), beta, rtol=1e-8)
    np.testing.assert_allclose(fit.vcov(), vcov, rtol=1e-6)
    steps = h * np.eye(len(at))
    bent = [[(found(at + a + b)[0] - found(at + a - b)[0] - found(at - a + b)[0] + found(at - a - b)[0]) / (4 * h * h)
             for a in steps] for b in steps]  # fmt: skip
    cov = 2 * np.linalg.inv(np.array(bent))
    np.testing.assert_allclose(fit.tidy("ran_pars")["std_error"], np.sqrt(np.diag(cov)), rtol=1e-4)
    slope = np.array([(np.diag(found(at + e)[2]) - np.diag(found(at - e)[2])) / (2 * h) for e in steps])
    df = 2 * np.diag(vcov) ** 2 / np.einsum("ai,ab,bi->i", slope, cov, slope)
    np.testing.assert_allclose(fit.tidy()["df"], df, rtol=1e-4)


def test_kenward_roger_by_matrices():
    """Phi + 2 Phi sum W_ij (Q_ij - P_i Phi P_j) Phi, with the expected information and without second derivatives."""
    fit, data = heterogeneous(), frame()
    at, h = numbers(fit), 1e-4

    def v(p):
        z = np.zeros((len(data), 15, VISITS))
        z[np.arange(len(data)), data["g"].str[1:].astype(int), data["t"].str[1:].astype(int)] = 1
        cov = correlations("ar1", p[VISITS]) * np.outer(p[:VISITS], p[:VISITS])
        return p[-1] ** 2 * np.eye(len(data)) + np.einsum("igs,st,jgt->ij", z, cov, z, optimize=True)

    x, inverse = np.column_stack([np.ones(len(data)), data["x"]]), np.linalg.inv(v(at))
    moved = [(v(at + e) - v(at - e)) / (2 * h) for e in h * np.eye(len(at))]
    phi = np.linalg.inv(x.T @ inverse @ x)
    project = inverse - inverse @ x @ phi @ x.T @ inverse
    weights = np.linalg.inv([[np.trace(project @ a @ project @ b) / 2 for a in moved] for b in moved])
    p = [-x.T @ inverse @ a @ inverse @ x for a in moved]
    q = [[x.T @ inverse @ a @ inverse @ b @ inverse @ x for a in moved] for b in moved]
    pairs = [(i, j) for i in range(len(at)) for j in range(len(at))]
    added = sum(weights[i, j] * (q[i][j] - p[i] @ phi @ p[j]) for i, j in pairs)
    adjusted = phi + 2 * phi @ added @ phi
    slope = np.array([np.diag(phi @ one @ phi) for one in p])
    df = 2 * np.diag(phi) ** 2 / np.einsum("ai,ab,bi->i", slope, weights, slope)
    table = fit.tidy("fixed", ddf="kenward-roger")
    np.testing.assert_allclose(table["std_error"], np.sqrt(np.diag(adjusted)), rtol=1e-6)
    np.testing.assert_allclose(table["df"], df, rtol=1e-5)


def boundary_data() -> list[pd.DataFrame]:
    """Two visits vary little, so that SDs end at zero and correlations at their limits."""
    out = []
    for seed in (2, 5, 9):
        rng, data = np.random.default_rng(seed), frame()
        effects = rng.normal(size=(15, VISITS)) * [0.0, 0.3, 0.9]
        cell = effects[data["g"].str[1:].astype(int), data["t"].str[1:].astype(int)]
        out.append(data.assign(y=0.5 * data["x"] + cell + rng.normal(size=len(data))))
    return out


@pytest.mark.parametrize("kind", ["cs", "ar1"])
def test_boundaries_are_found(kind):
    """No bounded search of the n x n likelihood from several starts ends lower; what is on a boundary is singular."""
    data = boundary_data()
    with pytest.warns(SingularFitWarning, match="a variance is estimated as 0 or a correlation is at its limit"):
        found = rx.lmer_list(f"y ~ x + {kind}(0 + t | g, hom = FALSE)", data)
    assert found.convergence()["converged"].all()
    least = -1 / (VISITS - 1) if kind == "cs" else -1.0

    def value(p, k):
        return moments(data[k], correlations(kind, p[3]) * np.outer(p[:3], p[:3]), p[4])[0]

    singular = 0
    for k, fit in enumerate(found):
        bounds = [(0, 5)] * 3 + [(least, 1), (0.1, 5)]
        for rho in (-0.3, 0.5):
            start = np.array([0.5, 0.5, 0.5, rho, 1.0])
            best = scipy.optimize.minimize(value, start, (k,), "L-BFGS-B", bounds=bounds)
            assert fit.criterion() < best.fun + 1e-6
        sd = np.sqrt(np.diag(fit.selection.fitted.covariance(0)[k]))
        rho = fit.tidy("ran_pars")["estimate"].to_numpy()[3]
        edge = (sd < 1e-4).any() or rho > 1 - 1e-8 or rho < least + 1e-8
        assert fit.is_singular == edge
        singular += edge
    assert singular


def test_many_data_sets_are_single_fits():
    """A list is fitted in one batch, of padded arrays."""
    one = rx.lmer("y ~ x + ar1(0 + t | g, hom = FALSE)", imputed()[1])
    assert fits()[1].criterion() == pytest.approx(one.criterion(), abs=1e-10)
    np.testing.assert_allclose(fits()[1].theta, one.theta, rtol=1e-8)
    np.testing.assert_allclose(fits()[1].tidy()["df"], one.tidy()["df"], rtol=1e-7)


def test_pooled_correlation():
    """By Rubin's rules on the Fisher-z scale, the SDs on the log scale."""
    table = fits().pool().tidy("ran_pars").set_index("term")
    own = np.array([numbers(fit) for fit in fits()])
    assert list(table["scale"]) == ["log"] * 3 + ["fisher_z", "log"]
    assert table.loc["cor__ar1", "estimate"] == pytest.approx(np.tanh(np.arctanh(own[:, 3]).mean()))
    assert table.loc["sd__t[t1]", "estimate"] == pytest.approx(np.exp(np.log(own[:, 1]).mean()))


def test_tables_and_print():
    """varcorr has the whole matrix, tidy the parameters, and the print-out names the structure."""
    fit = heterogeneous()
    assert list(fit.tidy("ran_pars")["term"]) == [*(f"sd__t[t{i}]" for i in range(3)), "cor__ar1", "sd__Observation"]
    table = fit.varcorr()
    assert list(table["structure"]) == ["ar1"] * 6 + [""]
    rho = table["sdcor"].to_numpy()[3:6]
    np.testing.assert_allclose(rho, numbers(fit)[3] ** np.array([1, 2, 1]), rtol=1e-10)
    assert "Structure" in str(fit)
    assert "ar1" in str(fits().pool())
    diag = rx.lmer("y ~ x + diag(0 + t | g, hom = TRUE)", frame())
    assert list(diag.tidy("ran_pars")["term"]) == ["sd__diag", "sd__Observation"]
    assert list(diag.varcorr()["var2"].notna()) == [False] * 4
    assert "structure" not in rx.lmer("y ~ x + (1 | g)", frame()).varcorr()


def test_file(tmp_path: Path):
    """Everything comes back, the information about the parameters too."""
    fits().pool().save(tmp_path / "pooled.remlax")
    again = rx.load(tmp_path / "pooled.remlax")
    assert str(again) == str(fits().pool())
    pd.testing.assert_frame_equal(again.tidy("ran_pars"), fits().pool().tidy("ran_pars"))


def test_simulated_responses_and_refits():
    """Refits are the fits of the responses; the bootstrap names the parameters as tidy does."""
    fit = heterogeneous()
    ys = rx.simulate(fit, 2, seed=1, varcorr=fit.varcorr())
    single = rx.lmer("y ~ x + ar1(0 + t | g, hom = FALSE)", frame().assign(y=ys["sim_2"].to_numpy()))
    assert rx.refit(fit, ys)[1].criterion() == pytest.approx(single.criterion(), abs=1e-9)
    names = list(rx.bootstrap(fit, n_sims=2, seed=1).estimates.columns)
    assert names[2:] == ["sd__t[t0]|g", "sd__t[t1]|g", "sd__t[t2]|g", "cor__ar1|g", "sigma"]


def test_modes_and_predictions():
    """Conditional modes against Sigma Z'V^-1 (y - X beta)."""
    fit, data = heterogeneous(), frame()
    cov, sigma = fit.selection.fitted.covariance(0)[0], fit.sigma
    z = np.zeros((len(data), 15, VISITS))
    z[np.arange(len(data)), data["g"].str[1:].astype(int), data["t"].str[1:].astype(int)] = 1
    v = sigma**2 * np.eye(len(data)) + np.einsum("igs,st,jgt->ij", z, cov, z, optimize=True)
    rest = data["y"] - fit.fixef()["Intercept"] - fit.fixef()["x"] * data["x"]
    modes = np.einsum("st,igt,i->gs", cov, z, np.linalg.solve(v, rest))
    np.testing.assert_allclose(fit.ranef()["g"], modes, atol=1e-7)
    wanted = data["y"] - rest + np.einsum("igs,gs->i", z, modes)
    np.testing.assert_allclose(fit.predict(data)["estimate"], wanted, atol=1e-7)


def test_comparison_of_models():
    """Structures are within others, or not."""
    data = frame()
    hom = rx.lmer("y ~ x + ar1(0 + t | g)", data, reml=False)
    het = rx.lmer("y ~ x + ar1(0 + t | g, hom = FALSE)", data, reml=False)
    us = rx.lmer("y ~ x + (0 + t | g)", data, reml=False)
    table = rx.anova(hom, het, us)
    assert list(table["n_parameters"]) == [5, 7, 9]
    np.testing.assert_allclose(table["statistic"][1:], [hom.criterion() - het.criterion(),
                                                        het.criterion() - us.criterion()], rtol=1e-8)  # fmt: skip
    wanted = scipy.stats.chi2.sf(table["statistic"][1:], [2, 2])
    np.testing.assert_allclose(table["p_value"][1:], wanted, rtol=1e-8)
    with pytest.raises(DataError, match=r"not nested.*cs"):
        rx.anova(rx.lmer("y ~ x + cs(0 + t | g, hom = TRUE)", data), het)


def test_parameters_that_one_row_a_cell_leaves_open():
    """Equal or free variances without a second row repeat the residual; cs with one row a cell does not."""
    data = frame().drop_duplicates(["g", "t"])
    for term in ("cs(0 + t | g, hom = TRUE)", "diag(0 + t | g)"):
        with pytest.warns(IdentifiabilityWarning, match=r"and the residual repeat each other.*\(1 \| g\)"):
            fit = rx.lmer(f"y ~ x + {term}", data)
        assert fit.tidy("ran_pars")["std_error"].isna().any()
    fit = rx.lmer("y ~ x + ar1(0 + t | g)", data)
    assert fit.n_parameters == 5


def test_what_is_not_available():
    """Each with a sentence that names what to use."""
    small = rx.lmer_list("y ~ 1 + ar1(0 + t | g, hom = FALSE)", imputed())
    with pytest.raises(DataError, match="profiles are not available for random terms with a covariance structure"):
        heterogeneous().confint("profile")
    with pytest.raises(DataError, match="D3 and D4 need common covariance matrices"):
        rx.anova(fits(), small, method="D3")
    assert rx.anova(fits(), small, method="D2", use="likelihood")["p_value"][0] < 1
