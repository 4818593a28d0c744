"""Cluster-robust standard errors against clubSandwich and against n x n algebra."""

from __future__ import annotations

import math

import numpy as np
import pytest
from numpy.testing import assert_allclose

import remlax as rx
from fitted_cases import fit_case, fits_case, inference, r_order
from random_models import random_frame, random_model
from reference_cases import load_case
from remlax.errors import DataError

CASES = [name for name in inference("robust") if name != "versions"]


def all_fits(name):
    """The case's own R names, and its fits."""
    if name == "hsb_vignette":
        case, fits = fits_case(name)
        return case, list(fits)
    case, fit = fit_case(name)
    return case, [fit]


@pytest.mark.parametrize("kind", ["CR0", "CR2"])
@pytest.mark.parametrize("name", CASES)
def test_as_clubsandwich(name, kind):
    case, fits = all_fits(name)
    for fit, reference in zip(fits, inference("robust")[name], strict=True):
        expected = reference[kind]
        table = fit.tidy("fixed", vcov=kind)
        order = r_order(table["term"], case["fits"][0]["fixef"])
        variance = np.diag(np.array(expected["vcov"]))
        assert_allclose(table["std_error"].iloc[order] ** 2, variance, rtol=1e-6)
        matrix = fit.vcov(vcov=kind).to_numpy()[np.ix_(order, order)]
        assert_allclose(
            matrix / np.sqrt(np.outer(variance, variance)),
            np.array(expected["vcov"]) / np.sqrt(np.outer(variance, variance)),
            atol=1e-6,
        )
        assert_allclose(table["df"].iloc[order], expected["df"], rtol=1e-6)
        matrix = np.zeros((len(expected["wald"]["L"]), len(order)))
        matrix[:, order] = expected["wald"]["L"]
        row = fit.test(matrix, vcov=kind).iloc[0]
        assert row["method"].startswith("Hotelling's T2 (HTZ), CR" if len(matrix) > 1 else "F, CR")
        assert_allclose(row["df2"], expected["wald"]["df2"], rtol=1e-6)
        assert_allclose(row["statistic"], expected["wald"]["F"], rtol=1e-5)
        assert_allclose(row["p_value"], expected["wald"]["p"], rtol=1e-4, atol=1e-300)


def test_pooled():
    _, fits = fits_case("hsb_vignette")
    pooled = fits.pool(vcov="CR2")
    tables = [fit.tidy("fixed", vcov="CR2") for fit in fits]
    assert_allclose(pooled.tidy("fixed")["ubar"], np.mean([t["std_error"] ** 2 for t in tables], axis=0))
    assert_allclose(pooled.tidy("fixed")["dfcom"], np.mean([t["df"] for t in tables], axis=0))
    assert "CR2 standard errors by schid, Bell-McCaffrey df, then Barnard-Rubin" in str(pooled.summary())
    # the between part has nothing to do with it
    assert_allclose(pooled.tidy("fixed")["b"], fits.pool().tidy("fixed")["b"])
    assert fits[0].test("ses", vcov="CR2")["method"].iloc[0] == "F, CR2 standard errors by schid, Bell-McCaffrey df"
    assert fits[0].test("ses", vcov="CR0")["method"].iloc[0].endswith("by schid, Satterthwaite df for the sandwich")
    joint = np.mean([fit.test(["ses", "meanses"], vcov="CR2")["df2"].iloc[0] for fit in fits])
    assert_allclose(pooled.test(["ses", "meanses"])["dfcom"], joint)
    assert np.isinf(fits.pool(math.inf, vcov="CR0").tidy("fixed")["dfcom"]).all()


@pytest.mark.parametrize("options", [{"vcov": "CR2"}, {"dfcom": "kenward-roger"}])
def test_identical_imputations_give_the_single_fit(options):
    (frame,) = load_case("orthodont_sex")[1]
    fits = rx.lmer_list(fit_case("orthodont_sex")[0]["formula"], [frame] * 2)
    table = fits.pool(**options).tidy("fixed")
    of_fit = {"ddf" if name == "dfcom" else name: value for name, value in options.items()}
    single = fits[0].tidy("fixed", **of_fit)
    assert_allclose(table["std_error"], single["std_error"], rtol=1e-10)
    assert_allclose(table["riv"], 0.0)
    nu = single["df"]
    assert_allclose(table["df"], nu * (nu + 1) / (nu + 3), rtol=1e-8)


def dense_robust(x, v, e, clusters, kind):
    """Covariance and df of every coefficient, each written with n x n matrices."""
    n, p = x.shape
    w = np.linalg.inv(v)
    m = np.linalg.inv(x.T @ w @ x)
    hat = x @ m @ x.T @ w
    total, maps = np.zeros((p, p)), []
    for c in np.unique(clusters):
        rows = clusters == c
        vj, xj = v[np.ix_(rows, rows)], x[rows]
        a = np.eye(rows.sum())
        if kind == "CR2":
            d = np.linalg.cholesky(vj).T
            rest = (np.eye(n) - hat)[rows]
            size, vectors = np.linalg.eigh(d @ rest @ v @ rest.T @ d.T)
            half = vectors @ np.diag(np.where(size > 1e-9 * size[-1], size, np.inf) ** -0.5) @ vectors.T
            a = d.T @ half @ d
        s = m @ xj.T @ np.linalg.inv(vj) @ a
        total += np.outer(s @ e[rows], s @ e[rows])
        maps.append(s @ (np.eye(n) - hat)[rows])
    df = []
    for k in range(p):
        g = np.array([one[k] for one in maps])
        cov = g @ v @ g.T
        df.append(np.trace(cov) ** 2 / np.sum(cov**2))
    return total, np.array(df)


@pytest.mark.filterwarnings("ignore::remlax.errors.SingularFitWarning")
@pytest.mark.parametrize("kind", ["CR0", "CR2"])
@pytest.mark.parametrize("structure", [pytest.param("(1 + x | b/a)", marks=pytest.mark.slow), "(1 + x | g) + (1 | h)"])
@pytest.mark.parametrize("weights", [pytest.param(None, marks=pytest.mark.slow), "w"])
def test_every_structure_is_the_dense_one(structure, kind, weights):
    frames = []
    for seed, n in ((1, 60), (2, 55)):
        frame = random_frame(seed, n, levels=8)
        # crossed factors within five sites
        site = frame["h"]
        frames.append(frame.assign(site=site, g=frame["g"] + site) if "h" in structure else frame)
    if "h" in structure:
        frames = [f.assign(h=f["site"] + np.where(np.arange(len(f)) % 2, "a", "b")) for f in frames]
    model = random_model(structure, frames[1])
    fit = rx.lmer_list(model.formula, frames, weights=weights, offset="off")[1]
    stack = fit.selection.fitted
    w = frames[1]["w"].to_numpy() if weights else np.ones(len(frames[1]))
    v = fit.sigma**2 * np.diag(1 / w)
    for t, term in enumerate(stack.model.layout.terms):
        dense = model.term(term.group, term.names)
        v = v + dense.wide() @ np.kron(np.eye(dense.n_levels), stack.covariance(t)[1]) @ dense.wide().T
    e = model.y - model.x @ fit.fixef().to_numpy()
    cluster = "site" if "h" in structure else None
    expected, df = dense_robust(model.x, v, e, frames[1]["site" if cluster else "b"].to_numpy(), kind)
    table = fit.tidy("fixed", vcov=kind, cluster=cluster)
    assert_allclose(table["std_error"] ** 2, np.diag(expected), rtol=1e-6)
    assert_allclose(table["df"], df, rtol=1e-6)


def test_robust_errors_follow_the_units():
    (frame,) = load_case("orthodont_sex")[1]
    formula = fit_case("orthodont_sex")[0]["formula"]
    a = fit_case("orthodont_sex")[1].tidy("fixed", vcov="CR2")
    b = rx.lmer(formula, frame.assign(distance=1e4 * frame["distance"])).tidy("fixed", vcov="CR2")
    assert_allclose(b["std_error"], 1e4 * a["std_error"], rtol=1e-6)
    assert_allclose(b["df"], a["df"], rtol=1e-6)


def test_clusters_that_cannot_be_used():
    _, crossed = fit_case("penicillin_crossed")
    with pytest.raises(DataError, match="'plate' and 'sample' are crossed"):
        crossed.tidy("fixed", vcov="CR2")
    with pytest.raises(DataError, match="levels of the grouping factor 'sample' lie in several clusters of 'plate'"):
        crossed.tidy("fixed", vcov="CR2", cluster="plate")
    _, fit = fit_case("sleepstudy_corr")
    with pytest.raises(DataError, match=r"cluster='school' is neither a grouping factor of the model \(Subject\)"):
        fit.tidy("fixed", vcov="CR2", cluster="school")
    with pytest.raises(DataError, match="vcov='HC3' is not known: use 'model', 'CR0' or 'CR2'"):
        fit.tidy("fixed", vcov="HC3")
    with pytest.raises(DataError, match="cluster='Subject' belongs to a robust covariance"):
        fit.tidy("fixed", cluster="Subject")
    with pytest.raises(DataError, match="Kenward-Roger's method has a covariance of its own"):
        fit.tidy("fixed", vcov="CR2", ddf="kenward-roger")
    frame = rx.datasets.sleepstudy().assign(all=1, some=lambda f: f["Subject"].where(f["Days"] > 0))
    fit = rx.lmer("Reaction ~ Days + (1 | Subject)", frame)
    with pytest.raises(DataError, match="'all' has a single cluster"):
        fit.tidy("fixed", vcov="CR0", cluster="all")
    with pytest.raises(DataError, match="'some' has 18 missing cells"):
        fit.tidy("fixed", vcov="CR0", cluster="some")


@pytest.mark.parametrize("options", [{"dfcom": "kenward-roger"}, {"vcov": "CR2"}])
def test_files_keep_the_choice(options, tmp_path):
    pooled = fits_case("studentratings_k5")[1].pool(**options)
    pooled.save(tmp_path / "pooled.remlax")
    again = rx.load(tmp_path / "pooled.remlax")
    assert_allclose(again.test("SES").iloc[0]["df2"], pooled.test("SES").iloc[0]["df2"], rtol=1e-10)
    assert again.df_rule == pooled.df_rule
