"""Kenward-Roger's adjustment against pbkrtest and against n x n algebra."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_allclose

import remlax as rx
from fitted_cases import fit_case, fits_case, inference, numbers, r_order
from random_models import random_frame, random_model
from reference_cases import case_names, load_case
from remlax.errors import DataError, ModelSizeError
from remlax.inference import kenward_roger

KR_CASES = [name for name in case_names("lmm_single") if load_case(name)[0]["fits"][0].get("kenward_roger")]
F_CASES = [name for name, v in inference("ftests").items() if name != "versions" and v["kenward_roger"]]


@pytest.mark.parametrize("name", KR_CASES)
def test_coefficients_as_pbkrtest(name):
    case, fit = fit_case(name)
    reference = case["fits"][0]["kenward_roger"]
    table = fit.tidy("fixed", ddf="kenward-roger")
    order = r_order(table["term"], reference["df"])
    assert_allclose(table["df"].iloc[order], numbers(reference["df"]), rtol=1e-3)
    assert_allclose(table["std_error"].iloc[order], numbers(reference["se"]), rtol=1e-5)
    found = fit.vcov(ddf="kenward-roger").to_numpy()[np.ix_(order, order)]
    expected = np.array(reference["vcov_adj"]["matrix"], dtype=float)
    size = np.sqrt(np.outer(np.diag(expected), np.diag(expected)))
    assert_allclose(found / size, expected / size, atol=1e-5)


def test_coefficients_of_every_imputation_as_pbkrtest():
    case, fits = fits_case("studentratings_k5")
    for fit, reference in zip(fits, case["fits"], strict=True):
        expected = reference["kenward_roger"]
        table = fit.tidy("fixed", ddf="kenward-roger")
        order = r_order(table["term"], expected["df"])
        assert_allclose(table["df"].iloc[order], numbers(expected["df"]), rtol=1e-3)
        assert_allclose(table["std_error"].iloc[order], numbers(expected["se"]), rtol=1e-6)
    pooled = fits.pool(dfcom="kenward-roger")
    each = np.array([fit.tidy("fixed", ddf="kenward-roger")["df"] for fit in fits])
    errors = np.array([fit.tidy("fixed", ddf="kenward-roger")["std_error"] for fit in fits])
    assert_allclose(pooled.tidy("fixed")["dfcom"], each.mean(axis=0))
    assert_allclose(pooled.tidy("fixed")["ubar"], (errors**2).mean(axis=0))
    assert "Kenward-Roger df, then Barnard-Rubin" in str(pooled.summary())


@pytest.mark.parametrize("name", F_CASES)
def test_f_tests_as_pbkrtest(name):
    case, fit = fit_case(name)
    reference = inference("ftests")[name]
    order = r_order(fit.fixef().index, case["fits"][0]["fixef"])
    matrix = np.zeros((len(reference["L"]), len(order)))
    matrix[:, order] = reference["L"]
    row = fit.test(matrix, ddf="kenward-roger").iloc[0]
    expected = reference["kenward_roger"]
    assert row["df1"] == expected["ndf"]
    assert_allclose(row["df2"], expected["ddf"], rtol=1e-3)
    # pbkrtest's F carries the factor already
    assert_allclose(row["statistic"], expected["F"], rtol=1e-4)
    assert_allclose(row["p_value"], expected["p"], rtol=5e-3)


def dense_kenward_roger(x, y_cov, tangents):
    """Adjusted covariance, and W and P_i, written out from the paper with n x n matrices."""
    inverse = np.linalg.inv(y_cov)
    phi = np.linalg.inv(x.T @ inverse @ x)
    half = [inverse @ g for g in tangents]
    p = [-x.T @ h @ inverse @ x for h in half]
    q = [[x.T @ a @ b @ inverse @ x for b in half] for a in half]
    n = range(len(tangents))
    info = [
        [np.trace(half[i] @ half[j]) - 2 * np.trace(phi @ q[i][j]) + np.trace(phi @ p[i] @ phi @ p[j]) for j in n]
        for i in n
    ]
    w = 2 * np.linalg.inv(np.array(info))
    inner = sum(w[i, j] * (q[i][j] - p[i] @ phi @ p[j]) for i in n for j in n)
    return phi + 2 * phi @ inner @ phi, phi, w, p


@pytest.mark.filterwarnings("ignore::remlax.errors.SingularFitWarning")
@pytest.mark.parametrize(
    "structure",
    [
        pytest.param("(1 + x | b/a)", marks=pytest.mark.slow),
        pytest.param("(1 + x | g) + (1 | h)", marks=pytest.mark.slow),
        "(1 | g) + (0 + x | g)",
    ],
)
def test_every_structure_with_weights_is_the_dense_one(structure):
    frames = [random_frame(seed, n, levels=8) for seed, n in ((1, 60), (2, 55))]
    model = random_model(structure, frames[1])
    fit = rx.lmer_list(model.formula, frames, weights="w", offset="off")[1]
    stack = fit.selection.fitted
    noise = np.diag(1 / frames[1]["w"].to_numpy())
    v, tangents = fit.sigma**2 * noise, [noise]
    for t, term in enumerate(stack.model.layout.terms):
        dense = model.term(term.group, term.names)
        wide = dense.wide()
        v = v + wide @ np.kron(np.eye(dense.n_levels), stack.covariance(t)[1]) @ wide.T
        for i in range(term.q):
            for j in range(i + 1):
                unit = np.zeros((term.q, term.q))
                unit[i, j] = unit[j, i] = 1.0
                tangents.append(wide @ np.kron(np.eye(dense.n_levels), unit) @ wide.T)
    adjusted, phi, w, p = dense_kenward_roger(model.x, v, tangents)
    found = kenward_roger.adjust(fit.selection.one(1))
    assert_allclose(found.cov[0], phi, rtol=1e-6, atol=1e-10)
    assert_allclose(found.adjusted[0], adjusted, rtol=1e-6, atol=1e-8)
    table = fit.contrast(np.eye(len(phi)), ddf="kenward-roger")
    grad = np.array([[phi[k] @ one @ phi[k] for one in p] for k in range(len(phi))])
    expected = 2 * np.diag(phi) ** 2 / np.einsum("ka,ab,kb->k", grad, w, grad)
    assert_allclose(table["df"], expected, rtol=1e-5)


def test_df_do_not_depend_on_units():
    (frame,) = load_case("orthodont_sex")[1]
    formula = fit_case("orthodont_sex")[0]["formula"]
    scaled = frame.assign(distance=1000 * frame["distance"], age=frame["age"] * 1e4)
    a = fit_case("orthodont_sex")[1].tidy("fixed", ddf="kenward-roger")
    b = rx.lmer(formula, scaled).tidy("fixed", ddf="kenward-roger")
    assert_allclose(b["df"], a["df"], rtol=1e-5)
    assert_allclose(b["statistic"], a["statistic"], rtol=1e-6)


def test_where_it_is_refused(monkeypatch):
    with pytest.raises(DataError, match=r"Kenward-Roger's method is one for REML.*ddf='satterthwaite'"):
        fit_case("sleepstudy_ml")[1].tidy("fixed", ddf="kenward-roger")
    monkeypatch.setattr(kenward_roger, "available_bytes", lambda: 1000)
    with pytest.raises(ModelSizeError, match="second derivatives of every level's block in 3 variance parameters"):
        fit_case("sleepstudy_corr")[1].tidy("fixed", ddf="kenward-roger")
    with pytest.raises(ModelSizeError, match=r"a dense block of \d+ columns"):
        fit_case("penicillin_crossed")[1].tidy("fixed", ddf="kenward-roger")
