"""Normal and t priors on coefficients: against blmer, dense densities, and limits; what is refused."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy.optimize import minimize, minimize_scalar

import remlax as rx
from reference_cases import REFERENCE
from remlax.errors import DataError
from remlax.priors import Normal, StudentT
from remlax.priors.coefficients import read_fixef_prior

FORMULA = "y ~ x + (1 | g)"
CASES: list[dict[str, Any]] = json.loads((REFERENCE / "next" / "blme_fixef.json").read_text())


@cache
def frames() -> list[pd.DataFrame]:
    rng = np.random.default_rng(11)
    g = np.repeat([f"g{i:02d}" for i in range(12)], 6)
    out = []
    for _ in range(3):
        x = rng.normal(size=len(g)) + 1.0
        y = 7 + 0.6 * x + 2 * rng.normal(size=len(g)) + 1.5 * np.repeat(rng.normal(size=12), 6)
        out.append(pd.DataFrame({"y": y, "x": x, "g": g, "w": rng.uniform(0.5, 2.0, len(g))}))
    return out


@cache
def fits() -> rx.LmerFitList:
    return rx.lmer_list(FORMULA, frames(), fixef_prior="normal")


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case['formula']}-{case['reml']}-{case['sd']}")
def test_estimates_are_those_of_blmer(case: dict[str, Any]) -> None:
    data = rx.datasets.sleepstudy()
    fit = rx.lmer(
        case["formula"], data, reml=case["reml"], cov_prior=case["cov_prior"], fixef_prior=Normal(sd=case["sd"])
    )
    assert fit.converged
    np.testing.assert_allclose(fit.theta, case["theta"], rtol=1e-6, atol=2e-6)
    np.testing.assert_allclose(fit.fixef(), case["fixef"], rtol=1e-6)
    np.testing.assert_allclose(np.sqrt(np.diag(fit.vcov())), case["se"], rtol=2e-6)
    np.testing.assert_allclose(fit.sigma, case["sigma"], rtol=2e-7)
    np.testing.assert_allclose(fit.criterion(), case["criterion"], atol=2e-6)
    np.testing.assert_allclose(fit.criterion(fit.theta), fit.criterion(), rtol=1e-12)


def design(data: pd.DataFrame) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    return np.column_stack([np.ones(len(data)), data["x"]]), pd.get_dummies(data["g"]).to_numpy(float), data["y"].values


def test_reml_is_the_marginal_likelihood_of_coefficients_with_a_prior() -> None:
    """Where all coefficients have one, y is normal of mean 0, and REML loses no degrees of freedom."""
    for k, data in enumerate(frames()):
        x, z, y = design(data)
        noise = np.eye(len(y)) + x @ np.diag([100.0, 6.25]) @ x.T

        def criterion(theta: float, y: np.ndarray = y, z: np.ndarray = z, noise: np.ndarray = noise) -> float:
            v = noise + theta**2 * z @ z.T
            return float(np.linalg.slogdet(v)[1] + len(y) * np.log(y @ np.linalg.solve(v, y)))

        theta = minimize_scalar(criterion, bracket=(0.3, 1.0), options={"xtol": 1e-10}).x
        np.testing.assert_allclose(fits()[k].theta, [abs(theta)], rtol=1e-6)
        v = noise + fits()[k].theta[0] ** 2 * z @ z.T
        np.testing.assert_allclose(fits()[k].sigma, np.sqrt(y @ np.linalg.solve(v, y) / len(y)), rtol=1e-9)


@pytest.mark.parametrize("reml", [True, False])
def test_coefficients_are_those_of_penalised_least_squares(reml: bool) -> None:
    data = frames()[0]
    fit = rx.lmer(FORMULA, data, reml=reml, weights="w", fixef_prior=Normal(sd={"x": 0.2}))
    x, z, y = design(data)
    v = np.diag(1 / data["w"]) + fit.theta[0] ** 2 * z @ z.T
    precision = np.diag([0.0, 25.0])
    a = x.T @ np.linalg.solve(v, x) + precision
    beta = np.linalg.solve(a, x.T @ np.linalg.solve(v, y))
    rest = y - x @ beta
    quadratic = rest @ np.linalg.solve(v, rest)
    n = len(y) + 1 - 2 * reml
    sigma2 = (quadratic + beta @ precision @ beta) / n
    np.testing.assert_allclose(fit.fixef(), beta, rtol=1e-9)
    np.testing.assert_allclose(fit.vcov(), sigma2 * np.linalg.inv(a), rtol=1e-9)
    np.testing.assert_allclose(fit.sigma**2, sigma2, rtol=1e-9)
    logs = np.linalg.slogdet(v)[1] + reml * np.linalg.slogdet(a)[1]
    expected = logs + (n - 1) * np.log(2 * np.pi * sigma2) + quadratic / sigma2
    np.testing.assert_allclose(fit.criterion(), expected, rtol=1e-10)


def test_an_infinite_sd_is_no_prior() -> None:
    plain, fit = (rx.lmer(FORMULA, frames()[0], fixef_prior=prior) for prior in (None, Normal(sd=np.inf)))
    np.testing.assert_allclose(fit.theta, plain.theta, rtol=1e-12)
    np.testing.assert_allclose(fit.vcov(), plain.vcov(), rtol=1e-12)
    np.testing.assert_allclose(fit.criterion(), plain.criterion(), rtol=1e-12)


def test_a_wide_prior_adds_degrees_of_freedom_only() -> None:
    """As its SD is relative to sigma, its density falls with sigma however wide it is."""
    x, z, y = design(frames()[0])
    fit = rx.lmer(FORMULA, frames()[0], fixef_prior=Normal(sd=1e7))

    def parts(theta: float) -> tuple[float, np.ndarray, float]:
        v = np.eye(len(y)) + theta**2 * z @ z.T
        a, b = x.T @ np.linalg.solve(v, x), x.T @ np.linalg.solve(v, y)
        beta = np.linalg.solve(a, b)
        r2 = y @ np.linalg.solve(v, y) - b @ beta
        return float(np.linalg.slogdet(v)[1] + np.linalg.slogdet(a)[1] + len(y) * np.log(r2)), beta, float(r2)

    theta = abs(minimize_scalar(lambda at: parts(at)[0], bracket=(0.3, 1.0), options={"xtol": 1e-10}).x)
    np.testing.assert_allclose(fit.theta, [theta], rtol=1e-6)
    np.testing.assert_allclose(fit.fixef(), parts(fit.theta[0])[1], rtol=1e-9)
    np.testing.assert_allclose(fit.sigma**2, parts(fit.theta[0])[2] / len(y), rtol=1e-9)


def test_a_data_set_alone_is_as_in_the_batch() -> None:
    alone = rx.lmer(FORMULA, frames()[1], fixef_prior="normal")
    np.testing.assert_allclose(alone.theta, fits()[1].theta, rtol=1e-9)
    np.testing.assert_allclose(alone.vcov(), fits()[1].vcov(), rtol=1e-9)
    pd.testing.assert_frame_equal(alone.tidy("fixed"), fits()[1].tidy("fixed"), rtol=1e-6)


def test_units_and_origins_are_free() -> None:
    """SDs are relative to the residual SD, and a column far from zero is centred inside."""
    prior = Normal(sd={"x": 0.1})
    fit = rx.lmer(FORMULA, frames()[0], fixef_prior=prior)
    moved = frames()[0].assign(y=lambda d: 1000 * d["y"], x=lambda d: d["x"] + 1e5)
    other = rx.lmer(FORMULA, moved, fixef_prior=prior)
    assert other.selection.model.fixed_turn is not None
    np.testing.assert_allclose(other.fixef()["x"], 1000 * fit.fixef()["x"], rtol=1e-6)
    np.testing.assert_allclose(other.theta, fit.theta, rtol=1e-6)


def test_files_refits_and_the_bootstrap_keep_the_prior(tmp_path: Path) -> None:
    prior = Normal(sd={"x": 0.05})
    both = rx.lmer_list(FORMULA, frames(), cov_prior="wishart", fixef_prior=prior)
    fit, path = both[0], tmp_path / "fit.remlax"
    fit.save(path)
    again = rx.load(path)
    assert isinstance(again, rx.LmerFit)
    assert again.selection.model.fixef_prior == prior
    pd.testing.assert_frame_equal(again.tidy("ran_pars"), fit.tidy("ran_pars"))
    assert str(again) == str(fit)
    response = frames()[0][["y"]] * 1.3 + frames()[1][["y"]]
    fresh = rx.lmer(FORMULA, frames()[0].assign(y=response), cov_prior="wishart", fixef_prior=prior)
    refit = rx.refit(fit, response)
    np.testing.assert_allclose(refit[0].theta, fresh.theta, rtol=1e-6)
    np.testing.assert_allclose(refit[0].vcov(), fresh.vcov(), rtol=1e-6)
    np.testing.assert_allclose(refit[0].criterion(), fresh.criterion(), rtol=1e-9)
    plain = rx.lmer(FORMULA, frames()[0])
    for resample in (None, "g"):
        drawn = [rx.bootstrap(one, n_sims=8, seed=1, resample=resample).replicates for one in (fit, plain)]
        slopes = [one.filter(regex="^x$|fixed.*x").abs().mean().iloc[0] for one in drawn]
        assert slopes[0] < 0.6 * slopes[1]


def test_print_outs_name_the_prior() -> None:
    pooled = fits().pool()
    for text in (str(fits()[0]), str(fits()), str(pooled), str(pooled.summary())):
        assert "Penalised by a prior on the coefficients (the criterion is without it):\n  normal (mean = 0" in text
    assert "SD = 10 for the intercept, 2.5 for the others), relative to the residual SD" in str(pooled)
    for text in (fits()[0].report(), pooled.report(), fits()[0].to_markdown()):
        assert "stimates are penalised by a prior on the coefficients: normal" in text
    assert [Normal(1.0).text(), Normal((1.0, 2.0, 3.0)).text()] == [
        "normal (mean = 0, SD = 1)",
        "normal (mean = 0, SD = 1, 2, 3)",
    ]


def test_sds_of_coefficients() -> None:
    names = ["Intercept", "x", "z"]
    for sd, expected in (
        (2.0, [2, 2, 2]),
        ((10.0, 2.5), [10, 2.5, 2.5]),
        ([1, 2, np.inf], [1, 2, np.inf]),
        ({"z": 0.5}, [np.inf, np.inf, 0.5]),
    ):
        np.testing.assert_array_equal(Normal(sd=sd).scales(names), expected)
    np.testing.assert_array_equal(Normal().scales(["a", "b"]), [2.5, 2.5])
    assert read_fixef_prior("normal") == Normal()


T_CASES: list[dict[str, Any]] = json.loads((REFERENCE / "next" / "blme_t.json").read_text())


@pytest.mark.parametrize("case", T_CASES, ids=lambda case: f"{case['formula']}-{case['df']}")
def test_estimates_under_a_t_prior_are_those_of_blmer(case: dict[str, Any]) -> None:
    """Its numbers are those of nlminb, which ends within 1e-5 of the optimum, with no lower a penalised criterion."""
    scale = [np.inf if one is None else one for one in case["scale"]]
    prior = StudentT(case["df"], scale)
    fit = rx.lmer(case["formula"], rx.datasets.sleepstudy(), reml=False, cov_prior=case["cov_prior"], fixef_prior=prior)
    assert fit.converged
    np.testing.assert_allclose(fit.theta, case["theta"], rtol=1e-5, atol=1e-7)
    np.testing.assert_allclose(fit.fixef(), case["fixef"], rtol=1e-6)
    np.testing.assert_allclose(fit.sigma, case["sigma"], rtol=1e-6)
    np.testing.assert_allclose(fit.criterion(), case["criterion"], atol=5e-6)

    def objective(criterion: float, theta: np.ndarray, beta: np.ndarray, sigma: float) -> float:
        d = int(np.isfinite(scale).sum())
        own = criterion + 2 * d * np.log(sigma) + prior.density(np.sum((beta / sigma / scale) ** 2), d)
        return float(own - (3 * np.log(theta[[0, 2]]).sum() if case["cov_prior"] else 0.0))

    ours = objective(fit.criterion(), fit.theta, fit.fixef().to_numpy(), fit.sigma)
    theirs = objective(case["criterion"], *(np.array(case[name]) for name in ("theta", "fixef", "sigma")))
    assert ours < theirs + 1e-9


T_PRIOR = StudentT(df=2.0, scale={"Intercept": 0.3, "x": 0.1})


@cache
def t_fits() -> rx.LmerFitList:
    return rx.lmer_list(FORMULA, frames(), reml=False, fixef_prior=T_PRIOR)


def t_criterion(at: np.ndarray, data: pd.DataFrame, prior: StudentT) -> float:
    """-2 log of likelihood times t density at theta, log sigma and coefficients, n x n."""
    x, z, y = design(data)
    v = np.eye(len(y)) + at[0] ** 2 * z @ z.T
    rest, s2 = y - x @ at[2:], np.exp(2 * at[1])
    value = np.linalg.slogdet(v)[1] + len(y) * at[1] * 2 + rest @ np.linalg.solve(v, rest) / s2
    distance = np.sum((at[2:] / prior.scales(["Intercept", "x"])) ** 2) / s2
    return float(value + 4 * at[1] + (prior.df + 2) * np.log1p(distance / prior.df))


def parameters(fit: rx.LmerFit) -> np.ndarray:
    return np.array([fit.theta[0], np.log(fit.sigma), *fit.fixef()])


def test_a_t_prior_is_maximised_with_the_likelihood() -> None:
    """Against a dense minimisation from several starts, which has at most a value as low."""
    for fit, data in zip(t_fits(), frames(), strict=True):
        at = parameters(fit)
        found = [
            minimize(t_criterion, start, (data, T_PRIOR), method="BFGS", options={"gtol": 1e-8})
            for start in (at * 1.1, np.array([0.5, 2.0, 0.0, 0.0]))
        ]
        best = min(found, key=lambda one: float(one.fun))
        assert t_criterion(at, data, T_PRIOR) <= best.fun + 1e-9
        np.testing.assert_allclose(at, best.x, rtol=2e-5, atol=2e-6)


def test_the_better_of_two_modes_is_taken() -> None:
    """Where the prior contradicts the data, an intercept of 0 with large random effects is a mode as well."""
    data = frames()[0]
    for scale in (0.02, 0.2):
        prior = StudentT(df=1.0, scale=scale)
        at = parameters(rx.lmer(FORMULA, data, reml=False, fixef_prior=prior))
        starts = [np.array([4.0, 0.7, 0.01, 0.001]), np.array([0.6, 0.7, 7.0, 0.7])]
        options = {"xatol": 1e-9, "fatol": 1e-10, "maxfev": 1500}
        values = [minimize(t_criterion, one, (data, prior), "Nelder-Mead", options=options).fun for one in starts]
        assert t_criterion(at, data, prior) <= min(values) + 1e-7


def test_many_degrees_of_freedom_are_a_normal_prior() -> None:
    t, normal = (rx.lmer(FORMULA, frames()[0], reml=False, fixef_prior=prior) for prior in (StudentT(1e12), Normal()))
    np.testing.assert_allclose(t.theta, normal.theta, rtol=1e-8)
    np.testing.assert_allclose(t.vcov(), normal.vcov(), rtol=1e-8)


def test_files_refits_and_single_fits_keep_a_t_prior(tmp_path: Path) -> None:
    fit, alone = t_fits()[1], rx.lmer(FORMULA, frames()[1], reml=False, fixef_prior=T_PRIOR)
    for other in (alone, rx.refit(alone, frames()[1][["y"]])[0]):
        np.testing.assert_allclose(other.theta, fit.theta, rtol=1e-7)
        np.testing.assert_allclose(other.vcov(), fit.vcov(), rtol=1e-7)
    t_fits().save(tmp_path / "fits.remlax")
    again = rx.load(tmp_path / "fits.remlax")
    assert isinstance(again, rx.LmerFitList)
    assert again.selection.model.fixef_prior == T_PRIOR
    assert str(again[1]) == str(fit)
    np.testing.assert_allclose(again[1].criterion(fit.theta), fit.criterion(), rtol=1e-12)
    np.testing.assert_allclose(again[1].confint()["conf_low"], fit.confint()["conf_low"], rtol=1e-9)
    assert "t (df = 2, location = 0, scale = 0.3 for Intercept, 0.1 for x), relative to the residual SD" in str(fit)
    assert np.isfinite(rx.bootstrap(fit, n_sims=4, seed=1).replicates.to_numpy()).all()
    assert len(t_fits().pool().tidy("fixed")) == 2


@cache
def null() -> rx.LmerFitList:
    return rx.lmer_list("y ~ 1 + (1 | g)", frames(), fixef_prior="normal")


@pytest.mark.parametrize(
    ("what", "call"),
    [
        ("tests of likelihood ratios", lambda: rx.anova(fits()[0], null()[0])),
        ("tests of likelihood ratios", lambda: rx.anova(fits(), null(), method="D4")),
        ("a profile", lambda: fits()[0].profile()),
        ("Kenward-Roger's method", lambda: fits()[0].tidy("fixed", ddf="kenward-roger")),
        ("a cluster-robust covariance", lambda: fits()[0].vcov(vcov="CR2")),
        ("reductions of variance", lambda: fits()[0].r2(n_sims=4)),
    ],
)
def test_what_needs_a_likelihood_is_refused(what: str, call: Callable[[], object]) -> None:
    with pytest.raises(DataError, match=rf"^{what} .* with a prior \(fixef_prior=\) maximises a penalised one"):
        call()


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: read_fixef_prior("cauchy"), "'cauchy' is not known: use 'normal', 't', or such as rx.priors.Normal"),  # type: ignore[arg-type]
        (lambda: StudentT(df=0.0), r"df=0\.0 must be a positive number"),
        (lambda: StudentT(scale=[1.0, 2.0, 3.0]).scales(["Intercept", "x"]), "3 scales for 2 coefficients"),
        (lambda: rx.lmer(FORMULA, frames()[0], fixef_prior="t"), r"no REML criterion, .*: give reml=False"),
        (lambda: Normal(sd=-1.0), r"sd=-1\.0 must be a positive number"),
        (lambda: Normal(sd="wide"), "sd='wide' must be"),  # type: ignore[arg-type]
        (lambda: Normal(sd=(1.0, np.nan)), "sd=nan must be"),
        (lambda: Normal(sd={"q": 1.0}).scales(["Intercept", "x"]), "names 'q', and the coefficients are Intercept, x"),
        (lambda: Normal(sd=(1.0, 1.0, 1.0)).scales(["Intercept", "x"]), r"3 SDs for 2 coefficients \(Intercept, x\)"),
        (lambda: rx.lmer(FORMULA, frames()[0], fixef_prior=Normal(sd=1e-300)), "holds the coefficient of 'Intercept'"),
    ],
)
def test_other_parameters_are_refused(make: Callable[[], object], message: str) -> None:
    with pytest.raises(DataError, match=message):
        make()
