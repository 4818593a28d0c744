"""What a prior does to a fit: no variance of zero, a stationary penalised criterion, and what is refused."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import cache
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import remlax as rx
from remlax.errors import ConvergenceWarning, DataError

FORMULA = "y ~ x + (1 + x | g)"
GROUPS, SIZE = 12, 6


@cache
def frames(n: int = 40) -> list[pd.DataFrame]:
    """Data without any variance between groups."""
    rng = np.random.default_rng(5)
    g = np.repeat([f"g{i:02d}" for i in range(GROUPS)], SIZE)
    x = rng.normal(size=len(g))
    return [pd.DataFrame({"y": 2 + 0.4 * x + rng.normal(size=len(g)), "x": x, "g": g}) for _ in range(n)]


@cache
def fits() -> rx.LmerFitList:
    return rx.lmer_list(FORMULA, frames(), cov_prior="wishart")


def objective(fit: rx.LmerFit, theta: np.ndarray) -> float:
    """Penalised criterion at theta of the user's columns."""
    model = fit.selection.model
    assert model.penalty is not None
    return fit.criterion(theta) + float(model.penalty.value(model.inner_theta(theta[None]))[0])


def test_no_fit_to_data_without_variances_is_singular() -> None:
    with pytest.warns(rx.SingularFitWarning):
        plain = rx.lmer_list(FORMULA, frames())
    assert plain.convergence()["singular"].mean() > 0.4
    found = fits().convergence()
    assert found["converged"].all()
    assert not found["singular"].any()
    # the minimum of the penalised criterion is above that of the criterion
    assert (found["criterion"] > plain.convergence()["criterion"]).all()


def test_a_batch_has_the_fits_of_its_data_sets() -> None:
    for k in (0, 7):
        alone = rx.lmer(FORMULA, frames()[k], cov_prior="wishart")
        np.testing.assert_allclose(fits()[k].theta, alone.theta, rtol=1e-7)
        np.testing.assert_allclose(fits()[k].tidy("fixed")["df"], alone.tidy("fixed")["df"], rtol=1e-6)


@pytest.mark.parametrize(
    "prior", [rx.priors.Wishart(df=5.0, scale=0.5), rx.priors.InverseWishart(), rx.priors.InverseWishart(4.0, 0.3)]
)
@pytest.mark.parametrize("shift", [0.0, 300.0])
def test_the_penalised_criterion_is_stationary_in_the_columns_of_the_user(
    prior: rx.priors.CovPrior, shift: float
) -> None:
    data = frames()[1].assign(x=lambda d: 2.5 * d["x"] + shift)
    fit = rx.lmer(FORMULA, data, cov_prior=prior)
    if shift:
        assert fit.selection.model.units[0].turn is not None
    lowest = objective(fit, fit.theta)
    for step in np.diag(np.abs(fit.theta)) * 1e-2 / max(shift, 1.0):
        for _ in range(3):  # so far that the criterion rises by about 1e-4
            step *= np.sqrt(1e-4 / (objective(fit, fit.theta + step) - lowest))
        above = [objective(fit, fit.theta + sign * step) - lowest for sign in (-1, 1)]
        np.testing.assert_allclose(above, 1e-4, rtol=0.05)


def test_the_default_prior_does_not_depend_on_the_coding_of_columns() -> None:
    data = frames()[2]
    one, other = (
        rx.lmer(formula, data, cov_prior="wishart")
        for formula in (FORMULA, "y ~ x + (0 + I(x - 2) + I(3 * x + 1) | g)")
    )
    np.testing.assert_allclose(one.criterion(), other.criterion(), atol=1e-7)
    np.testing.assert_allclose(one.vcov(), other.vcov(), rtol=1e-5)


def test_information_is_that_of_the_penalised_criterion() -> None:
    fit = rx.lmer("y ~ x + (1 | g)", frames()[0], cov_prior="wishart")
    (inner,) = fit.selection.inner
    plain = fit.selection.model
    hess = np.asarray(fit.selection.fitted.information.hess)[0]
    unpenalised = rx.lmer("y ~ x + (1 | g)", frames()[1]).selection
    assert unpenalised.model.penalty is None
    # profiled: H + N s s' - (2 N s)^2 / 4 N is the Hessian of the penalised profiled criterion
    profiled = hess[0, 0] - hess[0, 1] ** 2 / hess[1, 1]
    step, scale = 1e-3 * inner[0], plain.theta_scale[0]
    values = [objective(fit, np.array([(inner[0] + d) / scale])) for d in (-step, 0.0, step)]
    np.testing.assert_allclose(profiled, np.diff(values, 2)[0] / step**2, rtol=1e-4)


def test_l_bfgs_ends_at_the_same_theta() -> None:
    other = rx.lmer(FORMULA, frames()[3], cov_prior="wishart", optimizer=rx.LBFGS())
    np.testing.assert_allclose(other.theta, fits()[3].theta, rtol=1e-6)


def test_files_refits_and_the_bootstrap_keep_the_prior(tmp_path: Path) -> None:
    fit, path = fits()[0], tmp_path / "fit.remlax"
    fit.save(path)
    again = rx.load(path)
    assert isinstance(again, rx.LmerFit)
    assert again.selection.model.prior == rx.priors.Wishart()
    pd.testing.assert_frame_equal(again.tidy("ran_pars"), fit.tidy("ran_pars"))
    assert str(again) == str(fit)
    refit = rx.refit(fit, frames()[1][["y"]])
    np.testing.assert_allclose(refit[0].theta, fits()[1].theta, rtol=1e-6)
    for resample in (None, "g"):
        drawn = rx.bootstrap(fit, n_sims=8, seed=1, resample=resample).replicates
        assert drawn.filter(like="sd__").min().min() > 0.01


def test_print_outs_say_that_estimates_are_penalised() -> None:
    pooled = fits()[:3].pool()
    for text in (str(fits()[0]), str(fits()), str(pooled), str(pooled.summary())):
        assert "Penalised by a prior on the covariance matrix of each random term (the criterion is without it)" in text
        assert "\n  Wishart (df = q + 2.5 for q columns, scale = inf), relative to the residual variance\n" in text
    for text in (fits()[0].report(), pooled.report(), fits()[0].to_markdown()):
        assert "stimates are penalised by a prior on the covariance matrix of each random term: Wishart" in text
    assert "enalised" not in str(rx.lmer("y ~ x + (1 | g)", frames()[1]))


def test_an_sd_of_no_use_has_a_bootstrap_and_no_profile() -> None:
    fit = rx.lmer(FORMULA, frames()[0], cov_prior=rx.priors.Wishart(df=3.02))
    (note,) = fit.tidy("ran_pars").attrs["notes"]
    assert note.endswith("of no use; confint('boot') has limits that can be used")


@pytest.mark.parametrize(
    ("what", "call"),
    [
        ("tests of likelihood ratios", lambda: rx.anova(fits()[0], smaller()[0])),
        ("tests of likelihood ratios", lambda: rx.anova(fits(), smaller(), method="D3")),
        ("tests of likelihood ratios", lambda: rx.anova(fits(), smaller(), method="D4")),
        ("tests of likelihood ratios", lambda: rx.anova(fits(), smaller(), method="D2", use="likelihood")),
        ("a profile", lambda: fits()[0].profile()),
        ("a profile", lambda: fits()[0].confint("profile")),
        ("Kenward-Roger's method", lambda: fits()[0].tidy("fixed", ddf="kenward-roger")),
    ],
)
def test_what_needs_a_likelihood_is_refused(what: str, call: Callable[[], object]) -> None:
    with pytest.raises(DataError, match=rf"^{what} .* with a prior \(cov_prior=\) maximises a penalised one: fit the"):
        call()


def test_covariance_structures_have_no_prior() -> None:
    with pytest.raises(DataError, match=r"^cov_prior= is for random terms with any covariance matrix"):
        rx.lmer("y ~ x + diag(1 + x | g)", frames()[0], cov_prior="wishart")
    plain = rx.lmer("y ~ x + us(1 + x | g)", frames()[0], cov_prior="wishart")
    np.testing.assert_allclose(plain.theta, fits()[0].theta, rtol=1e-7)


@cache
def smaller() -> rx.LmerFitList:
    return rx.lmer_list("y ~ 1 + (1 + x | g)", frames(), cov_prior="wishart")


def test_wald_tests_compare_penalised_fits() -> None:
    assert 0 < rx.anova(fits(), smaller())["p_value"].iloc[0] < 1


def test_two_groups_do_not_outweigh_the_default_prior() -> None:
    two = frames()[0].assign(g=lambda d: np.where(np.arange(len(d)) % 2, "a", "b"))
    with pytest.warns(ConvergenceWarning, match="did not converge"):
        fit = rx.lmer("y ~ x + (1 | g)", two, cov_prior="wishart")
    reason = "no maximum: too few groups for a prior of infinite scale; give a finite one, as in rx.priors.Wishart("
    assert re.search(re.escape(reason), str(fit))
    assert rx.lmer("y ~ x + (1 | g)", two, cov_prior=rx.priors.Wishart(scale=10.0)).converged


def test_generalised_fits_of_a_batch_are_not_singular_either() -> None:
    rng = np.random.default_rng(8)
    sets = [data.assign(z=(rng.random(len(data)) < 0.5).astype(int)) for data in frames()[:6]]
    with pytest.warns(rx.SingularFitWarning):
        assert rx.glmer_list("z ~ x + (1 | g)", sets).convergence()["singular"].any()
    found = rx.glmer_list("z ~ x + (1 | g)", sets, cov_prior="wishart")
    assert found.convergence()["converged"].all()
    assert not found.convergence()["singular"].any()
    alone = rx.glmer("z ~ x + (1 | g)", sets[2], cov_prior="wishart")
    np.testing.assert_allclose(found[2].theta, alone.theta, rtol=1e-6)
    assert "Penalised by a prior" in str(found[0])
    assert "the Hessian of the penalised log-likelihood" in found[0].report()
    refit = rx.refit(found[0], sets[1][["z"]])
    np.testing.assert_allclose(refit[0].theta, found[1].theta, rtol=1e-5)
    null = rx.glmer_list("z ~ 1 + (1 | g)", sets, cov_prior="wishart")
    with pytest.raises(DataError, match="tests of likelihood ratios"):
        rx.anova(found, null, method="D2", use="likelihood")


def test_many_groups_of_one_outcome_have_no_maximum_without_a_finite_scale(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    g = np.repeat(np.arange(20), 5)
    data = pd.DataFrame({"z": (rng.random(20) < 0.5)[g].astype(int), "g": g.astype(str)})
    with (
        pytest.warns(ConvergenceWarning, match="has no maximum: too few groups"),
        pytest.warns(ConvergenceWarning, match="did not converge"),
    ):
        rx.glmer("z ~ 1 + (1 | g)", data, cov_prior="wishart")
    fit = rx.glmer("z ~ 1 + (1 | g)", data, cov_prior=rx.priors.Wishart(scale=4.0))
    assert fit.converged
    fit.save(tmp_path / "fit.remlax")
    again = rx.load(tmp_path / "fit.remlax")
    assert str(again) == str(fit)
